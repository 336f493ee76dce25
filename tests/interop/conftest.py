"""Servers for foreign clients to talk to, and foreign servers, each in a process of its own that is ended with the test."""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import icey
from tests.interop.devtools import Browser, DevTools
from tests.interop.talk import Talk
from tests.support import ROOT, programs, streams, tls

certs = tls.certs

APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "app.py")


class Server:
    """A process whose first line on stdout holds its URL. What it writes to stderr (the access log) goes to a file."""

    def __init__(self, command, folder, **options):
        self.log_path = os.path.join(folder, "stderr")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                            universal_newlines=True, **options)
        line = self.process.stdout.readline()
        found = re.search(r"(https?)://127\.0\.0\.1:(\d+)\b", line)
        if not found:
            self.kill()
            pytest.fail("the server did not start: %r, %s" % (line, self.log()))
        self.url, self.port = found.group() + "/", int(found.group(2))

    def log(self):
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()

    def logged(self, target):
        """The statuses with which `target` was answered, by the short log."""
        return [int(status) for status in re.findall(r" %s (\d+) \d+ [\d.]+ms$" % re.escape(target), self.log(), re.M)]

    def end(self):
        """Ends it in order: status 0, and nothing but the access log was said."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert self.process.returncode == 0, self.log()
        strange = [line for line in self.log().splitlines()
                   if not re.search(r" [\d.]+ms( cut)?( closed.*| cut, .*)?$", line) and not line.startswith("Stopping: ")]
        assert strange == []

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder():
    """A folder with a short path: some of it goes into Unix socket names and configurations."""
    path = tempfile.mkdtemp(prefix="icey-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(folder):
    """start(*command) runs a Server; all that were started are ended in order after the test."""
    servers = []

    def start(*command, **options):
        place = tempfile.mkdtemp(dir=folder)
        servers.append(Server(command, place, **options))
        return servers[-1]

    yield start
    try:
        for server in servers:
            server.end()
    finally:
        for server in servers:
            server.kill()


@pytest.fixture
def site(folder):
    """A folder to serve: a small file, one that goes out in pieces, a folder."""
    root = os.path.join(folder, "site")
    os.makedirs(os.path.join(root, "sub"))
    for name, data in (("hello.txt", b"hello, world\n"), ("big.bin", bytes(range(256)) * 4096), ("sub/x.txt", b"x")):
        with open(os.path.join(root, name), "wb") as file:
            file.write(data)
    return root


@pytest.fixture
def serve(start, site):
    """`python3 -m icey serve` on `site`."""
    return start(sys.executable, "-m", "icey", "serve", site, "--port", "0", cwd=ROOT)


@pytest.fixture
def app(start):
    """The server of app.py."""
    return start(sys.executable, APP, cwd=ROOT)


@pytest.fixture
def secured(start, certs):
    """secured(name, *flags) -> the server of app.py, over TLS with the certificate of that name."""
    def secured(name="localhost", *flags):
        cert, key = certs.cert(name)
        return start(sys.executable, APP, "--cert", cert, "--key", key, *flags, cwd=ROOT)

    return secured


# icey as the client, in the test's own process

@pytest.fixture
def loop():
    """A loop on real time; what is reported to it fails the test."""
    loop, reports = icey.Loop(), []
    loop.on_error += lambda loop, exc, handle: reports.append(exc)
    yield loop
    streams.finish(loop)
    assert reports == []


@pytest.fixture
def until(loop):
    """until(met) turns the loop until `met()`."""
    def until(met):
        overdue = time.monotonic() + programs.PATIENCE
        while not met():
            assert time.monotonic() < overdue, "waited for %s" % met
            loop.run_once(0.05)

    return until


@pytest.fixture
def aside(loop, until):
    """aside(fn, *arguments) calls in a thread what blocks, while the loop turns: what it returns, or raises."""
    threads = ThreadPoolExecutor(1)

    def aside(fn, *arguments, **options):
        called = threads.submit(fn, *arguments, **options)
        called.add_done_callback(lambda called: loop.post(int))  # only to wake it
        until(called.done)
        return called.result()

    yield aside
    threads.shutdown(wait=False)


@pytest.fixture
def talk(loop):
    """talk(prepare=echo, **options) -> a Talk: icey as the WebSocket server, in the test's own process."""
    return lambda *prepare, **options: Talk(loop, *prepare, **options)


@pytest.fixture
def hosts(monkeypatch):
    """Every name under .test is this machine."""
    lookup = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **options: lookup(
        "127.0.0.1" if (host if isinstance(host, str) else bytes(host).decode()).endswith(".test") else host, *rest, **options))


@pytest.fixture
def dead_port():
    """A port that is taken, and nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# foreign programs

@pytest.fixture
def program():
    """program(name, *arguments) runs a Program, which is ended with the test."""
    running = []

    def program(*command, **options):
        running.append(programs.Program(*command, **options))
        return running[-1]

    yield program
    for each in running:
        each.end()


@pytest.fixture(scope="session")
def browser(tmp_path_factory, certs):
    """A Chromium for all the tests that drive it."""
    browser = Browser(str(tmp_path_factory.mktemp("browser")), certs.ca)
    yield browser
    browser.end()


@pytest.fixture
def window(loop, browser):
    """window() -> a Page of the browser, a new one."""
    devtools = DevTools(loop, browser.url)
    yield devtools.page
    devtools.close()


@pytest.fixture
def browse(folder):
    """A Chromium: browse(*arguments) -> what it writes to stdout."""
    return programs.Chromium(folder)


NGINX = """\
daemon off;
%(user)s
worker_processes 1;
pid %(folder)s/nginx.pid;
error_log %(folder)s/error.log warn;
events { worker_connections 512; }
http {
    access_log off;
    client_max_body_size 16m;
    client_body_temp_path %(folder)s/body;
    proxy_temp_path %(folder)s/proxy;
    fastcgi_temp_path %(folder)s/fastcgi;
    uwsgi_temp_path %(folder)s/uwsgi;
    scgi_temp_path %(folder)s/scgi;
    %(http)s
}
"""


class Nginx:
    """An nginx; `ports`: what it listens on; `folder`: its own."""

    def __init__(self, program, folder, http, ports, values):
        listening = [socket.create_server(("127.0.0.1", 0), backlog=511) for _ in range(ports)]
        self.ports = [each.getsockname()[1] for each in listening]
        self.port = self.ports[0]
        self.folder = folder
        self._error_log = os.path.join(folder, "error.log")
        values = dict(values, folder=folder, port=self.port, **{"port%d" % n: port for n, port in enumerate(self.ports)})
        values["user"] = "user root;" if os.getuid() == 0 else ""  # the worker has to see the test's folder
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(NGINX % dict(values, http=http % values))
        # It inherits its sockets, as when one nginx takes over from another: nobody can take the port meanwhile, and who
        # connects before it is ready waits.
        inherited = [each.fileno() for each in listening]
        self.program = program("nginx", "-p", folder, "-c", path, "-e", "stderr", pass_fds=inherited,
                               env=dict(os.environ, NGINX="".join("%d;" % fd for fd in inherited)))
        for each in listening:
            each.close()

    @property
    def errors(self):
        """Its error log."""
        with open(self._error_log, encoding="utf-8") as file:
            return file.read()

    def kill(self):
        """Cuts all its connections."""
        self.program.kill()

    def end(self):
        """Ends it in order, unless it was killed."""
        if self.program.process.poll() is None:
            self.program.process.terminate()
            assert self.program.wait() == 0, self.program.said


@pytest.fixture
def nginx(folder, program):
    """nginx(http, ports=1, **values) runs an Nginx. http: what its http block says; in it, %(port)d (or port0, port1, ... of
    several), %(folder)s and the values are replaced."""
    running = []

    def nginx(http, ports=1, **values):
        place = tempfile.mkdtemp(dir=folder)
        running.append(Nginx(program, place, http, ports, values))
        return running[-1]

    yield nginx
    for each in running:
        each.end()
