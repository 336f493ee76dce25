"""icey.workers with real processes: several answer, are replaced, reloaded and stopped under load, and none is left behind."""
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.support import ROOT
from tests.support.service import APP, MAIN, gone, service  # noqa: F401

pytestmark = pytest.mark.needs("fork", "signal", "unix", "threading")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_answer_and_end_in_order(service, number):
    running = service()
    pids = running.pids()
    slow = []
    asking = threading.Thread(target=lambda: slow.append(running.ask("/slow")))
    asking.start()
    running.until(lambda answer: True)
    time.sleep(0.05)  # it is asked by now; if not, it is in the backlog
    running.signal(number)
    assert running.wait() == 0
    asking.join()
    assert slow == ["slow"]
    assert all(map(gone, pids))
    assert "Traceback" not in running.program.said


def test_a_signal_to_all_of_the_group_is_in_order_too(service):
    """As systemd sends it: each worker hears it twice."""
    running = service()
    running.pids()
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(65536)  # it is this worker's
        sock.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        os.killpg(running.pid, signal.SIGTERM)
        assert sock.recv(65536).endswith(b"slow")
    assert running.wait() == 0
    assert "Traceback" not in running.program.said


def test_one_that_is_killed_is_replaced(service):
    running = service()
    for pid in running.pids():
        os.kill(pid, signal.SIGKILL)
        running.program.expect("worker %d was killed by SIGKILL; another takes its place" % pid)
        assert pid not in running.pids()
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


def test_one_that_hangs_is_replaced(service):
    running = service(grace=3.0)  # a healthy one may be without a processor for a second
    pids = running.pids()
    hanging = threading.Thread(target=hang, args=(running,))
    hanging.start()
    pid = int(running.program.expect(r"worker (\d+) has not turned its loop for 3 s, and was killed; another").group(1))
    hanging.join()
    assert pid in pids and pid not in running.pids()


def hang(running):
    try:
        running.ask("/hang")
    except ConnectionResetError:
        pass


def test_sighup_brings_the_new_program_and_loses_nothing(service):
    running = service()
    before = running.pids()
    lost, asked, kept, over = [], [], [], threading.Event()

    def ask():
        while not over.is_set():
            try:
                asked.append(running.ask())
            except OSError as exc:
                lost.append(exc)

    def ask_on():
        """Keeps its connection for as long as the answers do not say that it ends."""
        sock = None
        while not over.is_set():
            if sock is None:
                sock = socket.create_connection(("127.0.0.1", running.port), timeout=20)
            try:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                answer = sock.recv(65536)
            except OSError as exc:
                answer = repr(exc).encode()
            if not answer.startswith(b"HTTP/1.1 200 OK\r\n"):
                lost.append(answer)
            kept.append(b"\r\nConnection: close\r\n" not in answer)
            if not kept[-1]:
                sock.close()
                sock = None
        if sock is not None:
            sock.close()

    clients = [threading.Thread(target=target) for target in (ask, ask, ask_on, ask_on)]
    for client in clients:
        client.start()
    for version in (2, 3):
        running.write(APP.replace("VERSION = 1", "VERSION = %d" % version + "0" * version))  # another size: another program
        running.signal(signal.SIGHUP)
        running.until(lambda answer: answer.startswith("%d" % version))  # noqa: B023 - it is called here
    assert all(map(gone, before))  # one of the new ones may answer long before the last of the old ones is told to go
    over.set()
    for client in clients:
        client.join()
    assert lost == [] and "" not in asked and len(asked) > 20
    assert kept.count(True) > 20 and False in kept
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


def test_a_program_that_is_broken_is_not_taken(service):
    running = service()
    before = running.pids()
    running.write("this is no program")
    running.signal(signal.SIGHUP)
    running.program.expect("before all were ready: the old workers go on")
    assert "SyntaxError" in running.program.said
    assert running.pids() == before


def test_where_nothing_can_be_started_the_status_says_so(service):
    running = service(listening=False, app="raise ValueError('as it is')")
    assert running.wait() == 1
    assert "ValueError: as it is" in running.program.said
    assert "nothing is served" in running.program.said


def test_when_the_parent_is_killed_the_workers_end(service):
    running = service()
    running.pids()
    running.signal(signal.SIGKILL)
    running.until_refused()


def test_a_second_signal_is_now(service):
    running = service(grace=60.0)
    pids = running.pids()
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as sock:
        sock.sendall(b"GET /think HTTP/1.1\r\nHost: a\r\n\r\n")
        running.signal(signal.SIGTERM)
        running.until_refused()
        running.signal(signal.SIGTERM)
        assert running.wait() == 128 + signal.SIGTERM  # the patience of wait() ends before the grace
    assert all(map(gone, pids))


def test_what_a_second_signal_cuts_looks_cut(service):
    running = service(grace=60.0)
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as sock:
        sock.sendall(b"GET /stream HTTP/1.0\r\n\r\n")  # it would last until the end
        heard = b""
        while not heard.endswith(b"begun"):
            heard += sock.recv(65536)
        running.signal(signal.SIGINT)
        running.until_refused()
        running.signal(signal.SIGINT)
        with pytest.raises(ConnectionResetError):
            sock.recv(65536)
    assert running.wait() == 128 + signal.SIGINT
    assert "Traceback" not in running.program.said


def test_a_server_that_serve_did_not_return_is_stopped_in_order(service):
    running = service(app=APP.replace("    return server.start()", "    server.start()"))
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(65536)
        sock.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        running.signal(signal.SIGTERM)
        assert sock.recv(65536).endswith(b"slow")
    assert running.wait() == 0


PASSED = """
import os, socket, sys
sock = socket.socket()
sock.bind(("127.0.0.1", 0))
sock.listen()
print("passing", sock.getsockname()[1], flush=True)
if sock.fileno() != 3:
    os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "main.py"])
"""


def test_systemd_passes_a_socket_and_hears_of_all(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "main.py").write_text(MAIN % {"grace": 5.0})
    environ = dict(os.environ, PYTHONPATH=os.pathsep.join([ROOT, str(tmp_path)]), PYTHONDONTWRITEBYTECODE="1",
                   NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="100000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        process = subprocess.Popen([sys.executable, "-c", PASSED], cwd=str(tmp_path), env=environ, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, universal_newlines=True)
        try:
            def hear(word):
                overdue = time.monotonic() + 20
                while True:
                    assert time.monotonic() < overdue, word  # the watchdog's go on for ever
                    said = systemd.recv(1000).decode()
                    if not said.startswith("WATCHDOG=1") or word == "WATCHDOG=1":
                        assert said.startswith(word), said
                        return said

            port = int(process.stdout.readline().split()[1])
            hear("READY=1")
            assert "listening on %d" % port in process.stdout.readline()
            with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK")
            process.send_signal(signal.SIGHUP)
            assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", hear("RELOADING=1"))
            hear("READY=1")
            hear("WATCHDOG=1")
            process.send_signal(signal.SIGTERM)
            hear("STOPPING=1")
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.communicate()


OFF_MAIN = """
import icey, threading
def run():
    try:
        icey.workers.run(print, ["127.0.0.1:0"])
    except icey.StateError as exc:
        print(exc)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def test_off_the_main_thread_it_says_so(tmp_path):
    done = subprocess.run([sys.executable, "-W", "error", "-c", OFF_MAIN], cwd=str(tmp_path), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=dict(os.environ, PYTHONPATH=ROOT), universal_newlines=True, timeout=60)
    assert done.stdout.startswith("icey.workers.run() off the main thread"), done.stdout
