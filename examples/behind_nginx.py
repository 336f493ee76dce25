"""Behind nginx, or HAProxy: workers, and the configuration of the proxy in front of them.

    python3 examples/behind_nginx.py --write FOLDER           writes nginx.conf and haproxy.cfg there
    python3 examples/behind_nginx.py                          the workers, on 127.0.0.1:8000
    nginx -p FOLDER -c FOLDER/nginx.conf                      or: haproxy -db -f FOLDER/haproxy.cfg; then ask port 8080

Three things make it lossless, also while the workers are replaced (SIGHUP):

- Who sends the requests ends idle connections, not who answers them. nginx keeps its own to the workers for 60 seconds at most,
  and the workers keep them for 75 (icey's default is 30). The other way round a worker may close a connection at the moment at
  which the proxy sends a request on it, and that request is lost: the proxy cannot know whether it was read. HAProxy has no
  such time: every 5 seconds it ends half of the idle connections that it does not need. One that it left alone for 75 seconds
  is the last that it would take, and a GET on it is sent again.
- Workers that stop answer what is on its way with `Connection: close` for `linger` seconds, and all workers share a listener
  that their parent holds open.
- Who the client is comes from the proxy alone: it replaces X-Forwarded-For, and that is believed of 127.0.0.1 only.

--check starts the workers and asks them as a proxy would.
"""
import argparse
import os
import signal
import socket
import subprocess
import sys
import time

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

PROXY_KEEPS = 60  # seconds that nginx keeps an idle connection to a worker, by default too
WORKERS_KEEP = 75  # seconds that a worker keeps it: more, see above
PROXIES = icey.Networks(["127.0.0.1"])

NGINX = """\
daemon off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream workers {
        server 127.0.0.1:%(workers)d max_fails=0;  # one address for all workers: never taken for dead
        keepalive 64;
        keepalive_timeout %(keep)ds;
    }
    map $http_upgrade $connection_upgrade {
        default upgrade;
        ""      "";
    }
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            proxy_pass http://workers;
            proxy_http_version 1.1;
            proxy_set_header Connection $connection_upgrade;  # "": kept; WebSockets: upgrade
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header Forwarded "";
        }
    }
}
"""

HAPROXY = """\
global
    maxconn 1024
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 30s
    timeout tunnel 1h
frontend front
    bind 127.0.0.1:%(port)d
    http-request set-header X-Forwarded-For %%[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %%[req.hdr(host)]
    http-request del-header Forwarded
    default_backend workers
backend workers
    http-reuse safe
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless { method GET HEAD }  # others may have been done
    server workers 127.0.0.1:%(workers)d pool-purge-delay 5s
"""


def hello(exchange):
    asked = icey.http.forwarded(exchange, PROXIES, form="x-forwarded")
    text = "worker %d: %s asked for %s://%s%s\n" % (
        os.getpid(), asked.client.host if asked.client else "somebody", asked.proto, asked.host, exchange.request.path)
    exchange.respond(200, text.encode(), "text/plain; charset=utf-8")


def serve(loop, listeners):
    server = icey.http.Server(loop, listeners[0], limits=icey.Limits(keep_alive_timeout=WORKERS_KEEP))
    server.on_request += icey.http.Health()
    server.on_request += hello
    sys.stdout.write("worker %d serves on %s\n" % (os.getpid(), listeners[0].address))  # whole: others write there, too
    sys.stdout.flush()
    return server.start()


def write(folder, workers, port):
    """Writes both configurations: for workers on this port, and a proxy that listens on that one."""
    values = {"workers": workers, "port": port, "keep": PROXY_KEEPS}
    for name, text in (("nginx.conf", NGINX), ("haproxy.cfg", HAPROXY)):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text % values)
        print("written:", path)


def connected(port):
    """A connection; it is tried again for a while, as a proxy does."""
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise SystemExit("nobody listens on port %d" % port)


def check():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--port", str(port)], stdout=subprocess.PIPE,
                               universal_newlines=True)
    said = service.stdout
    try:
        assert said is not None and said.readline().startswith("worker ")
        with connected(port) as proxy:
            answers = proxy.makefile("rb")
            for number in range(3):  # on one connection, as a proxy does
                proxy.sendall(b"GET /%d HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
                              b"X-Forwarded-Host: a.test\r\n\r\n" % number)
                head = [answers.readline() for _ in range(6)]
                length = [int(line.split()[1]) for line in head if line.startswith(b"Content-Length")][0]
                while head[-1] != b"\r\n":
                    head.append(answers.readline())
                told = answers.read(length).decode()
                assert told.endswith("192.0.2.7 asked for https://a.test/%d\n" % number), told
            answers.close()
        service.send_signal(signal.SIGTERM)
        assert service.wait(20) == 0
    finally:
        service.kill()
        service.communicate()
    print("OK: three requests on one connection, of a client behind a proxy")


def main():
    options = argparse.ArgumentParser(description="Workers behind nginx or HAProxy.")
    options.add_argument("--port", type=int, default=8000, help="the port of the workers (default: 8000)")
    options.add_argument("--front", type=int, default=8080, help="the port of the proxy, for --write (default: 8080)")
    options.add_argument("--write", metavar="FOLDER", help="write nginx.conf and haproxy.cfg there, then exit")
    options.add_argument("--check", action="store_true", help="run them, ask as a proxy does, then exit")
    chosen = options.parse_args()
    if chosen.check:
        check()
    elif chosen.write:
        write(chosen.write, chosen.port, chosen.front)
    else:
        return icey.workers.run("behind_nginx:serve", ["127.0.0.1:%d" % chosen.port], count=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
