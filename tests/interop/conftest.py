"""Servers for foreign clients to talk to, each in a process of its own that is ended with the test."""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

import pytest

from tests.support import ROOT

APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "app.py")


class Server:
    """A process whose first line on stdout holds its URL. What it writes to stderr (the access log) goes to a file."""

    def __init__(self, command, folder, **options):
        self.log_path = os.path.join(folder, "stderr")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                            universal_newlines=True, **options)
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        if not found:
            self.kill()
            pytest.fail("the server did not start: %r, %s" % (line, self.log()))
        self.url, self.port = found.group(), int(found.group(1))

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
                   if not line.endswith("ms") and not line.startswith("Stopping: ")]
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
def free_port():
    """A port nobody listens on, for programs that cannot pick one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
