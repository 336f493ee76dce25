"""What surrounds workers: what they print, sockets' files, certificates, threads, the program that imports them, idleness."""
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest

from tests.support import ROOT
from tests.support.programs import without_slowness
from tests.support.service import APP, MAIN, gone, service  # noqa: F401

pytestmark = pytest.mark.needs("fork", "signal", "unix", "threading")


def test_what_was_printed_before_is_printed_once(service):
    main = MAIN.replace("import sys, icey\n", "import sys, icey\nprint('before', end='')\nsys.stderr.write('and')\n")
    running = service(main=main)
    running.pids()
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert running.program.said.count("before") == running.program.said.count("and") == 1


def test_in_debug_mode_nothing_is_said(service):
    running = service(ICEY_DEBUG="1")
    before = running.pids()
    running.signal(signal.SIGHUP)
    assert all(map(gone, before))
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert without_slowness(running.program.said) == "listening on %d\n" % running.port


FLOOD = APP.replace("    def slot(exchange):\n", """    def slot(exchange):
        if exchange.request.path == "/flood":
            while True: os.write(1, b"x" * 65536)
""")


@pytest.mark.slow
def test_one_that_writes_what_nobody_reads_is_replaced_and_the_parent_goes_on(tmp_path, service):
    """Its pipe is full: it waits for ever, as one that loops. The parent writes elsewhere."""
    read, write = os.pipe()
    try:
        # before the workers are: they have the pipe as their stdout
        main = MAIN.replace("import sys, icey\n", "import os, sys, icey\nos.dup2(%d, 1)\n" % write).replace(
            "flush=True", "file=sys.stderr")
        running = service(app=FLOOD, main=main, grace=1.0, pass_fds=[write])
        before = running.pids()
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as sock:
            sock.sendall(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
            pid = int(running.program.expect(r"worker (\d+) has not turned its loop for 1 s, and was killed").group(1))
        assert pid in before and pid not in running.pids()
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    finally:
        os.close(read)
        os.close(write)


UNIX = MAIN.replace('icey.TCPListener(loop, "127.0.0.1:0")', 'icey.TCPListener(loop, "unix:here")').replace(
    "listeners[0].address.port", "listeners[0].address, 1")


def test_a_unix_sockets_file_stays_over_a_reload_and_goes_at_the_end(service):
    running = service(main=UNIX, listening=False)
    path = running.folder / "here"
    running.program.expect("listening on")

    def pid():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(path))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return int(sock.makefile("rb").read().split()[-1])

    before = set()
    while len(before) < 2:
        before.add(pid())
    file = path.stat().st_ino
    running.signal(signal.SIGHUP)
    assert all(map(gone, before))
    assert pid() not in before and path.stat().st_ino == file
    os.kill(pid(), signal.SIGKILL)
    running.program.expect("another takes its place")
    assert pid() and path.stat().st_ino == file
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert not path.exists()


BLOCKING = MAIN.replace("import sys, icey\n", """import signal, sys, icey
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
""").replace("sys.exit(", "status = (") + """print("blocked", signal.SIGCHLD in signal.pthread_sigmask(signal.SIG_BLOCK, []))
sys.exit(status)
"""


def test_who_has_started_it_with_sigchld_blocked(service):
    """As some programs leave it to what they run: the ends of workers are heard of all the same."""
    running = service(main=BLOCKING)
    pid = sorted(running.pids())[0]
    os.kill(pid, signal.SIGKILL)
    running.program.expect("worker %d was killed by SIGKILL; another takes its place" % pid)
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert "blocked True" in running.program.said


@pytest.mark.slow  # the short form is that of `serve --workers --cert`
@pytest.mark.needs("ssl")
def test_a_renewed_certificate_is_that_of_the_next_generation(service, tmp_path):
    from icey.tools.cli.certificate import self_signed_files

    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    pair = self_signed_files(str(first), ["localhost"])
    renewed = self_signed_files(str(second), ["localhost"])
    secure = APP.replace("icey.http.Server(loop, listeners[0])",
                         "icey.http.Server(loop, listeners[0], tls=icey.tls.server_context(%r, %r))" % pair)
    running = service(app=secure)

    def shown():
        return ssl.get_server_certificate(("127.0.0.1", running.port))

    def is_of(pem):
        with open(pem) as file:
            return ssl.PEM_cert_to_DER_cert(shown()) == ssl.PEM_cert_to_DER_cert(file.read())

    assert is_of(pair[0]) and not is_of(renewed[0])
    for old, new in zip(pair, renewed):
        os.replace(new, old)
    running.signal(signal.SIGHUP)
    overdue = time.monotonic() + 20
    while not is_of(pair[0]):
        assert time.monotonic() < overdue
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="Linux: threads are seen in /proc")
def test_the_parent_has_one_thread_and_sleeps(service):
    running = service(grace=20.0)
    running.pids()
    place = "/proc/%d/" % running.pid
    assert len(os.listdir(place + "task")) == 1

    def spent():
        with open(place + "stat") as file:
            return sum(map(int, file.read().rpartition(")")[2].split()[11:13]))

    before = spent()
    for _ in range(200):
        running.ask()
    assert spent() - before <= 2  # ticks of 10 ms: requests are no business of the parent's


UNGUARDED = """
import icey
def serve(loop, listeners):
    pass
icey.workers.run("app:serve", ["127.0.0.1:0"], count=1)
"""


def test_a_program_that_is_its_own_module_is_told_what_to_do(tmp_path):
    (tmp_path / "app.py").write_text(UNGUARDED)
    done = subprocess.run([sys.executable, "-W", "error", "app.py"], cwd=str(tmp_path), stdout=subprocess.PIPE, timeout=60,
                          stderr=subprocess.STDOUT, env=dict(os.environ, PYTHONPATH=ROOT), universal_newlines=True)
    assert 'icey.workers.run() in a worker' in done.stdout and 'if __name__ == "__main__"' in done.stdout
    assert "nothing is served" in done.stdout and done.returncode == 0


@pytest.mark.slow
def test_a_slow_start_is_waited_for_and_meanwhile_the_old_ones_serve(service):
    running = service()
    before = running.pids()
    running.write("import os\nwhile not os.path.exists('go'): pass\n" + APP.replace("VERSION = 1", "VERSION = 22"))
    running.signal(signal.SIGHUP)
    assert running.pids() == before
    (running.folder / "go").write_text("")
    running.until(lambda answer: answer.startswith("22 "))
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
