"""A service of several workers in processes of its own, for the tests of icey.workers and those beside real proxies.

    from tests.support.service import service        # the fixture
    running = service(app=APP, grace=5.0)            # listens; running.ask("/"), pids(), signal(number), wait()
"""
import os
import socket
import sys
import time

import pytest

from tests.support import ROOT
from tests.support.programs import Program

APP = """
import os, sys, time, icey
thinking = []
def serve(loop, listeners):
    def slot(exchange):
        path = exchange.request.path
        if path == "/hang":
            time.sleep(3600)
        if path == "/stream":
            exchange.send(b"begun")
            exchange.begin_streaming()
            thinking.append(exchange)
        elif path == "/think":
            thinking.append(exchange)
        elif path == "/slow":
            exchange.loop.call_later(0.3, exchange.respond, 200, b"slow")
        else:
            exchange.respond(200, b"%d %d" % (VERSION, os.getpid()))
    server = icey.http.Server(loop, listeners[0])
    server.on_request += slot
    return server.start()
VERSION = 1
"""
MAIN = """
import sys, icey
from icey.workers.supervisor import supervise
def told(supervisor):
    print("listening on", supervisor.listeners[0].address.port, flush=True)
sys.exit(supervise("app:serve", lambda loop: [icey.TCPListener(loop, "127.0.0.1:0")], count=2, grace=%(grace)r, linger=1.5,
                   ready=told))
"""


class Service:
    """A service of two workers in `folder`, whose app.py serves and main.py runs. environ: more of its environment.

    `port`; `ask(path)`: an answer of a connection of its own, as text.
    """

    def __init__(self, folder, grace=5.0, app=APP, main=MAIN, pass_fds=(), **environ):
        self.folder = folder
        self.write(app)
        (folder / "main.py").write_text(main % {"grace": grace})
        environ = dict(os.environ, PYTHONPATH=os.pathsep.join([ROOT, str(folder)]), PYTHONDONTWRITEBYTECODE="1", **environ)
        self.program = Program(sys.executable, "-W", "error", "main.py", cwd=str(folder), env=environ, pass_fds=pass_fds)
        self.pid = self.program.process.pid

    def listening(self):
        self.port = int(self.program.expect(r"listening on (\d+)").group(1))
        return self

    def write(self, text):
        (self.folder / "app.py").write_text(text)

    def signal(self, number):
        os.kill(self.pid, number)

    def ask(self, path="/"):
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
            sock.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
            answer = b""
            while True:
                data = sock.recv(65536)
                if not data:
                    return answer.partition(b"\r\n\r\n")[2].decode()
                answer += data

    def until(self, met):
        """Asks until the answer is as it is to be; all answers were."""
        overdue = time.monotonic() + 20
        while True:
            answer = self.ask()
            if met(answer):
                return answer
            assert time.monotonic() < overdue, answer

    def until_refused(self):
        """Waits until nobody listens any more."""
        overdue = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=20).close()
            except ConnectionRefusedError:
                return
            except ConnectionResetError:  # at the moment at which the last of them goes
                pass
            assert time.monotonic() < overdue

    def pids(self):
        """The workers' process ids, by what answers."""
        found = {int(self.ask().split()[1])}
        while len(found) < 2:
            time.sleep(0.002)  # the other one may still be starting, and needs the processor
            found.add(int(self.ask().split()[1]))
        return found

    def wait(self):
        return self.program.wait()


@pytest.fixture
def service(tmp_path):
    made = []

    def make(listening=True, **options):
        made.append(Service(tmp_path, **options))
        return made[-1].listening() if listening else made[-1]

    yield make
    for one in made:
        one.program.kill()
        one.program.end()


def gone(pid):
    """Waits until there is no such process."""
    overdue = time.monotonic() + 20
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        assert time.monotonic() < overdue, pid
