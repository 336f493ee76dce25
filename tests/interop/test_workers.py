"""Workers as they are run: killed one by one under load, started by systemd's socket activation, behind nginx and HAProxy."""
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from tests.support import ROOT, tool
from tests.support.programs import PATIENCE
from tests.support.service import APP, MAIN, gone, service  # noqa: F401

EXAMPLE = os.path.join(ROOT, "examples", "behind_nginx.py")


class Caller(threading.Thread):
    """Asks again and again on a connection that it keeps. `failed`: (which worker had answered on it before, why)."""

    def __init__(self, port):
        super().__init__()
        self.port = port
        self.failed = []
        self.answered = []  # process ids
        self.over = False

    def run(self):
        sock, pid = None, None
        while not self.over:
            if sock is None:
                sock, pid = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE), None
            try:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                answer = sock.recv(65536)
            except OSError as exc:
                answer, why = b"", repr(exc)
            else:
                why = "end"
            if answer.startswith(b"HTTP/1.1 200 OK\r\n"):
                pid = int(answer.split()[-1])
                self.answered.append(pid)
            else:
                self.failed.append((pid, why))
            if not answer or b"\r\nConnection: close" in answer:
                sock.close()
                sock = None
        if sock is not None:
            sock.close()


def test_of_each_that_is_killed_only_what_was_on_it_fails_and_another_is_there_in_a_moment(service):
    running = service()
    before = running.pids()
    callers = [Caller(running.port) for _ in range(8)]
    for caller in callers:
        caller.start()
    known, took = set(before), []
    try:
        for pid in before:
            failed = [len(caller.failed) for caller in callers]
            begun = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            while not {int(running.ask().split()[1])} - known:
                assert time.monotonic() < begun + PATIENCE
            took.append(time.monotonic() - begun)
            known |= running.pids()
            for caller, already in zip(callers, failed):
                # one at most: the request that was on its way to this worker; None: it was the first of its connection
                assert [one for one, _ in caller.failed[already:]] in ([], [pid], [None]), caller.failed
    finally:
        for caller in callers:
            caller.over = True
        for caller in callers:
            caller.join()
    assert len(known) == 4 and min(took) < 1.0, took
    assert all(len(caller.answered) > 10 for caller in callers)
    assert running.program.said.count("was killed by SIGKILL; another takes its place") == 2
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


# systemd

@pytest.fixture
def systemd(tmp_path):
    """A socket that hears what systemd is told: systemd(word) waits for it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE)

        def hear(word):
            while True:
                said = sock.recv(1000).decode()
                if said.startswith(word) or not said.startswith("WATCHDOG=1"):
                    assert said.startswith(word), said
                    return said

        yield hear


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def ask(port, path="/"):
    """The answer's body, as soon as there is one."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    overdue = time.monotonic() + PATIENCE
    while True:
        try:
            with opener.open("http://127.0.0.1:%d%s" % (port, path), timeout=PATIENCE) as answer:
                return answer.read().decode()
        except OSError:
            if time.monotonic() > overdue:
                raise
            time.sleep(0.02)


@pytest.mark.tool("systemd-socket-activate")
def test_started_by_the_first_connection_to_a_socket_of_systemd(tmp_path, program, systemd):
    """The program's own address is taken by nobody: it listens where systemd does."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "main.py").write_text(MAIN % {"grace": 5.0})
    port = free_port()
    values = {"PYTHONPATH": os.pathsep.join([ROOT, str(tmp_path)]), "NOTIFY_SOCKET": str(tmp_path / "notify"),
              "WATCHDOG_USEC": "200000"}
    started = program("systemd-socket-activate", "-l", "127.0.0.1:%d" % port,
                      *["--setenv=%s=%s" % item for item in values.items()],
                      sys.executable, "-W", "error", str(tmp_path / "main.py"))
    started.expect("Listening on")
    assert "listening on" not in started.said
    assert re.match(r"1 \d+$", ask(port))
    systemd("READY=1")
    started.expect("listening on %d" % port)
    os.kill(started.process.pid, signal.SIGHUP)
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", systemd("RELOADING=1"))
    systemd("READY=1")
    systemd("WATCHDOG=1")
    assert re.match(r"1 \d+$", ask(port))
    os.kill(started.process.pid, signal.SIGTERM)
    systemd("STOPPING=1")
    assert started.wait() == 0


@pytest.mark.tool("systemd-socket-activate", "curl")
def test_two_sockets_of_systemd_one_of_them_a_file(program, site, tmp_path):
    port, path = free_port(), str(tmp_path / "socket")
    started = program("systemd-socket-activate", "-l", "127.0.0.1:%d" % port, "-l", path, "--setenv=PYTHONPATH=" + ROOT,
                      sys.executable, "-W", "error", "-m", "icey", "serve", site, "--workers", "2", "-q")
    started.expect("Listening on")
    assert ask(port, "/hello.txt") == "hello, world\n"
    told = subprocess.run([tool("curl"), "-sS", "--unix-socket", path, "http://localhost/hello.txt"], stdout=subprocess.PIPE,
                          timeout=PATIENCE)
    assert told.stdout == b"hello, world\n"
    os.kill(started.process.pid, signal.SIGTERM)
    assert started.wait() == 0
    assert os.path.exists(path)  # it is systemd's


# behind proxies

def commands(folder):
    return {"nginx": ["nginx", "-p", folder, "-c", os.path.join(folder, "nginx.conf"), "-e", "stderr"],
            "haproxy": ["haproxy", "-db", "-f", os.path.join(folder, "haproxy.cfg")]}


@pytest.mark.tool("nginx", "haproxy", "wrk")
@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_behind_a_proxy_by_the_configuration_of_the_example_reloads_lose_nothing(folder, program, name):
    port, front = free_port(), free_port()
    workers = program(sys.executable, "-W", "error", EXAMPLE, "--port", str(port))
    for _ in range(2):
        workers.expect("worker [0-9]+ serves on 127.0.0.1:%d" % port)
    subprocess.run([sys.executable, EXAMPLE, "--write", folder, "--port", str(port), "--front", str(front)], check=True,
                   stdout=subprocess.DEVNULL, timeout=PATIENCE)
    proxy = program(*commands(folder)[name])
    asked = urllib.request.Request("http://127.0.0.1:%d/here" % front, headers={
        "Host": "a.test", "X-Forwarded-For": "192.0.2.9", "X-Forwarded-Host": "b.test", "Forwarded": "for=192.0.2.8"})
    ask(front)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=PATIENCE) as answer:
        assert re.fullmatch(r"worker \d+: 127\.0\.0\.1 asked for http://a\.test/here\n", answer.read().decode())
    load = subprocess.Popen([tool("wrk"), "-t", "1", "-c", "16", "-d", "4", "--timeout", "10", "http://127.0.0.1:%d/" % front],
                            stdout=subprocess.PIPE, universal_newlines=True)
    try:
        for _ in range(3):
            pid = ask(front).split()[1].rstrip(":")
            os.kill(workers.process.pid, signal.SIGHUP)
            assert gone(int(pid))
        said = load.communicate(timeout=PATIENCE)[0]
    finally:
        load.kill()
        load.communicate()
    assert "Socket errors" not in said and "Non-2xx" not in said
    assert int(re.search(r"(\d+) requests in", said).group(1)) > 100
    assert proxy.process.poll() is None
    workers.process.terminate()
    assert workers.wait() == 0
