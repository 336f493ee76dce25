"""More than one core: several processes that share a port, are replaced when they die, and take a new program without a loss.

    python3 examples/workers.py [--port 8000] [--count 2]     then: curl http://127.0.0.1:8000/
    kill -HUP PID                  new workers import this file anew; the old ones end when the new ones serve

Each worker has a loop of its own, and nothing in common with the others but the port. `/health` and `/ready` are for what looks
after the service from outside. What a worker counts is its own: the /metrics of each has a port of its own, told at its start.
--check starts the service, asks it, kills a worker, has all of them replaced, and ends it, with a request or two at each step.

As a service of systemd (before 253: Type=notify, and ExecReload=/bin/kill -HUP $MAINPID); with a .socket unit beside it the
port is the one that systemd opened, and the service may be restarted, too, without a refused connection:

    [Service]
    Type=notify-reload
    ExecStart=/usr/bin/python3 /srv/workers.py
    WatchdogSec=30
    TimeoutStopSec=20

(POSIX: it needs fork.)
"""
import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey


def hello(exchange):
    exchange.respond(200, b"Hello from worker %d\n" % os.getpid(), "text/plain; charset=utf-8")


def serve(loop, listeners):
    """What each worker does, in its own process. What it returns is stopped at the end."""
    server = icey.http.Server(loop, listeners[0])
    server.on_request += icey.http.Health()
    server.on_request += hello
    operations = icey.http.Server(loop, "127.0.0.1", 0)
    operations.on_request += icey.http.Metrics(server)
    operations.start()
    sys.stdout.write("worker %d counts at http://%s/metrics\n" % (os.getpid(), operations.address))  # whole: others write, too
    sys.stdout.flush()
    return [server.start(), operations]


def ask(port, path="/"):
    """(status, body) of a request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"GET %s HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n" % path.encode())
        with sock.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def check():
    folder = tempfile.mkdtemp()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:  # as systemd is told how the service is
        told.bind(os.path.join(folder, "notify"))
        told.settimeout(60)
        try:
            check_service(told)
        finally:
            shutil.rmtree(folder)
    print("OK: two workers, one that was killed and replaced, two of the next generation")


def check_service(told):
    with socket.socket() as sock:  # as systemd would open it: its port is known before anybody listens
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        service = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--fd", str(sock.fileno())],
                                   pass_fds=[sock.fileno()], stdout=subprocess.PIPE, universal_newlines=True,
                                   env=dict(os.environ, NOTIFY_SOCKET=told.getsockname()))

    said = service.stdout
    assert said is not None

    def counting():
        """The process id of one worker more, and the port of its metrics."""
        words = said.readline().split()
        return int(words[1]), int(words[-1].rpartition(":")[2].partition("/")[0])

    def ready():
        """Waits until all workers of a generation serve: what befalls one before is a start that failed."""
        while b"READY=1" not in told.recv(4096):
            pass

    try:
        first = dict(counting() for _ in range(2))
        ready()
        assert int(ask(port)[1].split()[-1]) in first
        assert ask(port, "/ready") == (200, "ready\n")
        assert all("icey_http_requests_total" in ask(each, "/metrics")[1] for each in first.values())
        os.kill(min(first), signal.SIGKILL)
        pid, _ = counting()
        assert pid not in first, "another takes its place"
        service.send_signal(signal.SIGHUP)
        second = dict(counting() for _ in range(2))
        ready()
        while int(ask(port)[1].split()[-1]) not in second:
            pass  # an old one, for a moment
        service.terminate()
        assert service.wait(20) == 0
    finally:
        service.kill()
        service.communicate()


def main():
    options = argparse.ArgumentParser(description="Several processes on one port.")
    options.add_argument("--port", type=int, default=8000, help="the port to listen on")
    options.add_argument("--count", type=int, default=2, help="how many workers (default: 2)")
    options.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    options.add_argument("--check", action="store_true", help="start it, ask it, replace its workers, then exit")
    chosen = options.parse_args()
    if chosen.check:
        check()
        return 0
    if chosen.fd is not None:  # what systemd says of sockets that it passes; it begins with the descriptor 3
        os.dup2(chosen.fd, 3)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    else:
        print("process %d: Ctrl-C ends it, SIGHUP takes a new program" % os.getpid(), flush=True)
    return icey.workers.run("workers:serve", ["127.0.0.1:%d" % chosen.port], count=chosen.count)


if __name__ == "__main__":
    sys.exit(main())
