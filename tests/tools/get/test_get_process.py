"""python3 -m icey get as a process: bytes, exit statuses, signals, pipes. What it fetches is test_get.py's."""
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import icey
from icey.tools.get import command as get, progress

BIG = os.urandom(1 << 20) * 10
HALF = bytes(20000)

# No proxy; and release mode: in debug mode a machine that is busy has slow callbacks logged, between the lines looked at here.
UNWANTED = [name for name in os.environ if name.lower().endswith("_proxy") or name == "ICEY_DEBUG"]
ENVIRON = {name: value for name, value in os.environ.items() if name not in UNWANTED}


class Live:
    """A server in a thread of its own."""

    def __init__(self):
        self.loop = icey.Loop()
        self.server = icey.http.Server(self.loop, "127.0.0.1", 0)
        self.server.on_request += self.answer
        self.server.start()
        self.url = "http://%s" % self.server.address
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def answer(self, exchange):
        path = exchange.request.path
        if path == "/big":
            exchange.respond(200, BIG)
        elif path == "/half":
            exchange.response.headers["Content-Length"] = str(2 * len(HALF))
            exchange.send_owned(HALF)
        elif path == "/missing":
            exchange.respond(404, b"missing")
        else:
            exchange.collect(lambda exchange, body: exchange.respond(200, b"Hello" + body))

    def end(self):
        self.loop.post(self.server.close)
        self.thread.join(20)
        self.loop.close()


@pytest.fixture(autouse=True)
def environ(monkeypatch):
    for name in UNWANTED:
        monkeypatch.delenv(name)


@pytest.fixture
def live():
    live = Live()
    yield live
    live.end()


def start(*arguments, cwd=None, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-m", "icey", "get", *map(str, arguments)], stderr=subprocess.PIPE,
                            cwd=None if cwd is None else str(cwd), env=ENVIRON, **options)


def run(*arguments, input=None, **options):
    """(exit status, stdout, stderr)."""
    with start(*arguments, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE, **options) as process:
        out, err = process.communicate(input, timeout=60)
    return process.returncode, out, err.decode()


def test_stdout_is_the_body_byte_for_byte(live):
    assert run(live.url + "/big") == (0, BIG, "")


def test_a_file(live, tmp_path):
    status, out, err = run("-O", live.url + "/big", cwd=tmp_path)
    assert (status, out) == (0, b"")
    assert err.splitlines()[-1].startswith("big: 10.0 MiB")
    assert os.listdir(str(tmp_path)) == ["big"]
    assert (tmp_path / "big").read_bytes() == BIG


def test_stdin_is_sent(live):
    assert run("-d", "@-", live.url, input=b" you\n") == (0, b"Hello you\n", "")


def test_failures_have_their_statuses(live):
    assert run("--fail", live.url + "/missing") == (8, b"", "python3 -m icey get: %s/missing: 404 Not Found\n" % live.url)
    status, out, _ = run("--timeout", "0.2", "-o", "-", live.url + "/half")
    assert status == 6 and out in (HALF, b"")  # nothing yet, where the machine is busy
    assert run("--redirects", "x", live.url)[:2] == (2, b"")


def test_nobody_listens():
    import socket
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        where = "127.0.0.1:%d" % sock.getsockname()[1]
        assert run(where) == (4, b"", "python3 -m icey get: cannot connect to %s: Connection refused\n" % where)


def test_a_reader_that_has_enough(live):
    with start(live.url + "/big") as process:
        assert process.stdout.read(10) == BIG[:10]
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_stdout_that_is_full(live):
    with open("/dev/full", "wb") as full:
        assert run(live.url, stdout=full) == (
            1, None, "python3 -m icey get: cannot write to stdout: No space left on device\n")


def interrupt_its_writing(process, folder):
    """Ctrl-C once something is in its file: between open() and the first byte nobody but the interpreter may hold the file."""
    until = time.monotonic() + 60
    while not any(os.path.getsize(str(path)) for path in folder.iterdir()):
        assert process.poll() is None and time.monotonic() < until
    process.send_signal(signal.SIGINT)


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
@pytest.mark.parametrize("resume", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "resume"])
def test_ctrl_c_is_130_and_keeps_the_part_and_says_how_to_go_on(live, tmp_path, resume):
    with start("-o", "file", live.url + "/half", *["--resume"] * resume, cwd=tmp_path) as process:
        interrupt_its_writing(process, tmp_path)
        out, err = process.communicate(timeout=60)
    part = "file" if resume else "file.part"
    assert (process.returncode, out) == (130, b"") and os.listdir(str(tmp_path)) == [part]
    assert err.decode() == part + ": 19.5 of 39.1 KiB stay there; the same with --resume goes on\n"
    assert (tmp_path / part).read_bytes() == HALF


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
@pytest.mark.parametrize("flag", [pytest.param("--compressed", marks=[pytest.mark.needs("zlib"), pytest.mark.slow]), "-i"])
def test_ctrl_c_leaves_nothing_of_what_cannot_be_gone_on_with(live, tmp_path, flag):
    with start("-o", "file", flag, live.url + "/half", cwd=tmp_path) as process:
        interrupt_its_writing(process, tmp_path)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"") and os.listdir(str(tmp_path)) == []


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs terminals")
def test_a_terminal_is_asked_for_its_width(live, tmp_path):
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
        source = ("import sys; from icey.tools.get import command, progress; progress.REDRAWN = 0; "
                  "sys.exit(command.main(sys.argv[1:], 'get'))")
        process = subprocess.Popen([sys.executable, "-c", source, "-o", "file", live.url + "/big"], cwd=str(tmp_path),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
                                   env=dict(ENVIRON, TERM="xterm"))
        os.close(theirs)
        theirs = None
        shown = bytearray()
        try:
            while True:
                piece = os.read(ours, 65536)
                shown += piece
                if not piece:
                    break
        except OSError:  # the other side is closed
            pass
        process.stdout.close()
        assert process.wait(60) == 0
    finally:
        os.close(ours)
        if theirs is not None:
            os.close(theirs)
    drawn = shown.decode().split("\r")
    assert any("10.0 MiB" in text for text in drawn[:-2])
    assert max(len(text) for text in drawn[:-2]) <= 39
    assert drawn[-2].startswith("file: 10.0 MiB")


# -- main, in this process -------------------------------------------------------------------------------------------

def test_main_fetches(live, capfdbinary):
    assert get.main([live.url], "PROG") == 0
    assert capfdbinary.readouterr() == (b"Hello", b"")


def test_a_mistake_is_one_line(capsys):
    assert get.main(["-O", "http://127.0.0.1/"], "PROG") == 2
    assert capsys.readouterr() == ("", "PROG: http://127.0.0.1/ has no file name that -O could take: -o FILE\n")


@pytest.mark.needs("threading")
def test_a_name_nobody_knows(monkeypatch, capsys):
    import socket

    def getaddrinfo(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert get.main(["http://nosuch.test/"], "PROG") == 3
    assert capsys.readouterr() == ("", "PROG: cannot resolve 'nosuch.test': Name or service not known\n")


def test_ctrl_c_in_this_process(live, capsys, monkeypatch):
    def interrupted(self, received):
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.Progress, "advance", interrupted)
    assert get.main([live.url], "PROG") == 130
    assert capsys.readouterr().err == ""
