"""What reloads lose: icey.workers under load, beside gunicorn (gthread) and uvicorn, alone and behind HAProxy and nginx.

    python tests/bench/reload.py                     # 100 reloads of icey, some four minutes with its peers
    python tests/bench/reload.py --quick             # 16 reloads: a look of a minute, and not a result
    python tests/bench/reload.py --subject icey --load wrk

Each subject runs two workers that answer "Hello, World!", and gets a SIGHUP every 0.8 s while it is under load:

    ab         a connection for each request
    wrk        32 connections that are kept
    haproxy    wrk asks HAProxy, which keeps connections to the workers and tries nothing again
    nginx      wrk asks nginx, the same

Lost is a request that was sent, or whose connection was begun, and has no whole answer of status 200. Reloads are counted where
they are done: by READY=1 on a notify socket for icey; for the others, which do not tell, it is the signals that are counted.

Goals: icey loses 0 of at least 300 000 requests in 100 reloads, and answers at least 5 times as many as gunicorn under wrk.

Rules: the subjects take turns within a load. Nothing is pinned: two workers and what asks them share the cores, so rates are
for comparison inside one run alone. It needs Linux, wrk, ab (Debian: wrk, apache2-utils), HAProxy and nginx for their loads,
and gunicorn and uvicorn from PyPI; what is missing is left out. A shared machine makes rates smaller, and losses neither way.
"""

import argparse
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import harness

EVERY = 0.8  # seconds between two SIGHUPs
RELOADS, QUICK = 100, 16
WANTED = 300000  # requests
TIMES = 5.0  # gunicorn's rate
CONNECTIONS = 32
LOADS = ("ab", "wrk", "haproxy", "nginx")
SUBJECTS = ("icey", "gunicorn", "uvicorn")
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

APP = """
BODY = b"Hello, World!"

def serve(loop, listeners):
    import icey
    server = icey.http.Server(loop, listeners[0])
    server.on_request += lambda exchange: exchange.respond(200, BODY, "text/plain")
    return server.start()

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [BODY]

async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")]})
        await send({"type": "http.response.body", "body": BODY})
"""

MAIN = """
import sys
sys.path[0] = %r
import icey
sys.path.append(%r)
sys.exit(icey.workers.run("reload_app:serve", ["127.0.0.1:%d"], count=2))
"""

NGINX = """\
daemon off;
%(user)s
worker_processes 1;
pid %(folder)s/nginx.pid;
error_log %(folder)s/nginx.log warn;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path %(folder)s/body;
    proxy_temp_path %(folder)s/proxy;
    fastcgi_temp_path %(folder)s/fastcgi;
    uwsgi_temp_path %(folder)s/uwsgi;
    scgi_temp_path %(folder)s/scgi;
    keepalive_requests 100000000;
    upstream workers {
        server 127.0.0.1:%(workers)d max_fails=0;
        keepalive 64;
        keepalive_requests 100000000;
    }
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            proxy_pass http://workers;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream off;
        }
    }
}
"""

HAPROXY = """\
global
    maxconn 512
    nbthread 1
defaults
    mode http
    retries 0
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend here
    bind 127.0.0.1:%(port)d
    default_backend workers
backend workers
    server one 127.0.0.1:%(workers)d
"""

# wrk counts a connection that ends while it waits for an answer as a read error, and tells statuses other than 2xx and 3xx.
LUA = """
function done(summary)
  local e = summary.errors
  print(string.format("RESULT %d %d %d %d %d %d %d", summary.requests, summary.duration,
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def until_it_answers(port, process, what):
    overdue = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
                if sock.recv(100).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > overdue:
            raise harness.BenchError("%s did not start" % what)
        time.sleep(0.05)


class Started:
    """A child with what it wrote in a file: with Started(name, command, port): it answers there."""

    def __init__(self, name, command, port, folder, cwd=None):
        self.name, self.port = name, port
        self._log = open(os.path.join(folder, name + ".log"), "ab")
        self.process = harness.spawn(command, None, cwd=cwd, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)

    def __enter__(self):
        try:
            until_it_answers(self.port, self.process, self.name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        try:
            harness.end(self.process, 20)
        finally:
            self._log.close()


class Notified:
    """systemd's end of a notify socket."""

    def __init__(self, folder):
        self._path = os.path.join(folder, "notify")
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(self._path)
        self._sock.setblocking(False)
        self._ready = 0
        os.environ["NOTIFY_SOCKET"] = self._path

    def ready(self):
        """How often READY=1 came; to be asked often, the socket keeps ten messages."""
        while True:
            try:
                said = self._sock.recv(1000)
            except BlockingIOError:
                return self._ready
            self._ready += said.startswith(b"READY=1") and b"failed" not in said

    def close(self):
        del os.environ["NOTIFY_SOCKET"]
        self._sock.close()
        os.unlink(self._path)


def command_of(subject, port, folder, root):
    """What starts it."""
    if subject == "icey":
        path = os.path.join(folder, "main.py")
        with open(path, "w") as out:
            out.write(MAIN % (root, folder, port))
        return [sys.executable, path]
    if subject == "gunicorn":
        return [sys.executable, "-m", "gunicorn", "-w", "2", "-k", "gthread", "--threads", "4", "--keep-alive", "30",
                "--bind", "127.0.0.1:%d" % port, "--log-level", "error", "reload_app:wsgi"]
    return [sys.executable, "-m", "uvicorn", "--workers", "2", "--port", str(port), "--no-access-log", "--log-level", "error",
            "--timeout-keep-alive", "30", "reload_app:asgi"]


def proxy_of(load, workers, folder):
    """(command, port) of the proxy in front, None for none."""
    if load not in ("haproxy", "nginx"):
        return None, workers
    port = free_port()
    path = os.path.join(folder, load + ".conf")
    with open(path, "w") as out:
        out.write({"haproxy": HAPROXY, "nginx": NGINX}[load] % {
            "port": port, "workers": workers, "folder": folder, "user": "user root;" if os.getuid() == 0 else ""})
    program = shutil.which(load, path=PATH)
    return [program, "-db", "-f", path] if load == "haproxy" else [program, "-p", folder, "-c", path], port


def load_command(load, port, seconds, folder):
    url = "http://127.0.0.1:%d/" % port
    if load == "ab":  # -n behind -t, which sets it
        return ["ab", "-q", "-r", "-s", "10", "-t", "%d" % seconds, "-n", "100000000", "-c", "16", url]
    path = os.path.join(folder, "count.lua")
    with open(path, "w") as out:
        out.write(LUA)
    return ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", "%ds" % seconds, "--timeout", "10s", "-s", path, url]


def told_by(load, text):
    """{"answered", "lost", "rate", "how"} by what the load generator wrote."""
    if load == "ab":
        def number(pattern):
            found = re.search(pattern, text, re.M)
            return float(found.group(1)) if found else 0.0

        failed, other = number(r"^Failed requests: +(\d+)"), number(r"^Non-2xx responses: +(\d+)")
        complete = number(r"^Complete requests: +(\d+)")
        if not complete:
            raise harness.BenchError("ab broke off: %s" % text[-500:])
        kinds = re.search(r"\((Connect: .*)\)", text)
        return {"answered": complete - failed - other, "lost": failed + other,
                "rate": number(r"^Requests per second: +([\d.]+)"), "how": kinds.group(1) if kinds else ""}
    found = re.search(r"^RESULT (.*)$", text, re.M)
    if not found:
        raise harness.BenchError("wrk broke off: %s" % text[-500:])
    requests, duration, connect, read, write, status, timeout = map(int, found.group(1).split())
    errors = {"connect": connect, "read": read, "write": write, "status": status, "timeout": timeout}
    return {"answered": requests - status, "lost": sum(errors.values()), "rate": requests / duration * 1e6,
            "how": ", ".join("%s: %d" % item for item in errors.items() if item[1])}


def reload_under(load, subject, reloads, options, folder):
    """One subject under one load, with its reloads."""
    port = free_port()
    seconds = int(reloads * EVERY + 1)
    notified = Notified(folder) if subject == "icey" else None
    try:
        with Started(subject, command_of(subject, port, folder, options.root), port, folder, cwd=folder) as server:
            command, asked = proxy_of(load, port, folder)
            if command is None:
                return under_load(load, server, asked, seconds, reloads, notified, folder)
            with Started(load, command, asked, folder):
                return under_load(load, server, asked, seconds, reloads, notified, folder)
    finally:
        if notified is not None:
            notified.close()


def under_load(load, server, port, seconds, reloads, notified, folder):
    while notified is not None and not notified.ready():  # one worker answers, the other is not there yet
        time.sleep(0.01)
    before = notified.ready() if notified is not None else 0
    process = harness.spawn(load_command(load, port, seconds, folder), None, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, universal_newlines=True)
    try:
        sent, begun = 0, time.monotonic()
        while process.poll() is None and sent < reloads:
            left = begun + EVERY * (sent + 0.5) - time.monotonic()
            if left > 0:
                time.sleep(left)
            if notified is not None:
                notified.ready()
            server.process.send_signal(signal.SIGHUP)
            sent += 1
        output = process.communicate(timeout=seconds + 60)[0]
    except subprocess.TimeoutExpired:
        raise harness.BenchError("%s did not end" % load) from None
    finally:
        harness.end(process)
        process.stdout.close()
    if server.process.poll() is not None:
        raise harness.BenchError("%s ended by itself" % server.name)
    return dict(told_by(load, output), reloads=sent if notified is None else notified.ready() - before)


def present(options):
    """The subjects and loads that can be measured here; says which cannot."""
    subjects = [name for name in options.subject or SUBJECTS
                if name == "icey" or importlib.util.find_spec(name) is not None]
    loads = [name for name in options.load or LOADS
             if shutil.which(name, path=PATH) and (name == "ab" or shutil.which("wrk", path=PATH))]
    for wanted, there in ((options.subject or SUBJECTS, subjects), (options.load or LOADS, loads)):
        for name in wanted:
            if name not in there:
                print("left out: %s is not installed" % name, file=sys.stderr)
    return subjects, loads


def measure(subjects, loads, options, folder):
    reloads = (QUICK if options.quick else options.reloads) // max(1, len(loads))
    results = {}
    for load in loads:
        for subject in subjects:
            ours = subject == "icey"
            results.setdefault(load, {})[subject] = one = reload_under(
                load, subject, reloads if ours else max(4, reloads // 3), options, folder)
            print("%s, %s: %d answered, %d lost" % (load, subject, one["answered"], one["lost"]), file=sys.stderr, flush=True)
    return results


def show(results):
    rows = [[load, subject, "%d" % one["reloads"], "%d" % one["answered"], "%d" % one["lost"], "%.0f/s" % one["rate"],
             one["how"]] for load, subjects in results.items() for subject, one in subjects.items()]
    harness.print_table(["load", "server", "reloads", "answered", "lost", "rate", "how"], rows)


def judge(results):
    """(what, value, goal, met) of what is promised."""
    ours = [subjects["icey"] for subjects in results.values() if "icey" in subjects]
    promises = []
    if ours:
        for what, goal in (("lost", 0), ("answered", WANTED), ("reloads", RELOADS)):
            value = sum(one[what] for one in ours)
            promises.append(("icey: %s in all" % what, value, goal, value == 0 if what == "lost" else value >= goal))
    wrk = results.get("wrk", {})
    if "icey" in wrk and "gunicorn" in wrk:
        times = wrk["icey"]["rate"] / max(wrk["gunicorn"]["rate"], 1e-9)
        promises.append(("icey under wrk, x gunicorn's rate", times, TIMES, times >= TIMES))
    return promises


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="%d reloads: a look, and not a result" % QUICK)
    parser.add_argument("--reloads", type=int, default=RELOADS + len(LOADS), metavar="N", help="of icey, over all loads")
    parser.add_argument("--load", action="append", choices=LOADS, help="this load only; may be given several times")
    parser.add_argument("--subject", action="append", choices=SUBJECTS, help="this server only; may be given several times")
    parser.add_argument("--root", default=harness.ROOT, type=os.path.abspath, help="the checkout to measure (this one)")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--driven", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    harness.die_on_sigterm()
    if not options.driven:  # who sends the signals needs the priority of those that get them
        process = harness.spawn([sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--driven"], None)
        try:
            return process.wait()
        finally:
            harness.end(process, 30)
    with tempfile.TemporaryDirectory(prefix="icey-") as folder:
        with open(os.path.join(folder, "reload_app.py"), "w") as out:
            out.write(APP)
        try:
            results = measure(*present(options), options, folder)
        except harness.BenchError as error:
            print("reload: %s" % error, file=sys.stderr)
            for name in sorted(os.listdir(folder)):
                if name.endswith(".log"):
                    with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as log:
                        print("--- %s\n%s" % (name, log.read()[-2000:]), file=sys.stderr)
            return 2
    print("\n%s; a SIGHUP every %g s, load %.1f before" % (harness.machine(), EVERY, os.getloadavg()[0]))
    show(results)
    promises = judge(results)
    for what, value, goal, met in promises:
        print("%-36s %10.6g, goal %6g: %s" % (what, value, goal, "met" if met else "NOT MET"))
    harness.report({"bench": "reload", "machine": harness.machine(), "results": results,
                    "promises": [list(one) for one in promises]}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
