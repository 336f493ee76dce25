"""python3 -m icey doctor: its table, its JSON, its exit status, and the odd places in which it is run."""
import io
import json
import os
import subprocess
import sys

import pytest

from icey.tools import doctor
from icey.tools.doctor import command
from tests.support import ROOT


def row(state="ok", text="there", do="", value=True):
    return {"state": state, "value": value, "text": text, "do": do}


def made(ok=True, **rows):
    return {"ok": ok, "version": "1.2", "package": "icey", "path": "/lib/icey", "python": {
        "implementation": "cpython", "version": "3.13.1", "executable": "/usr/bin/python3", "platform": "linux",
        "machine": "mips", "optimized": 0, "thread": "main"}, "checks": rows, "trial": {"tcp": dict(row(), seconds=0.1)}}


@pytest.fixture
def told(monkeypatch):
    """told(**as made): what `report()` will return."""
    return lambda *args, **rows: monkeypatch.setattr(doctor, "report", lambda: made(*args, **rows))


def run(*flags, code="", stdout=subprocess.PIPE, **options):
    """(exit status, stdout, stderr) of the command in a Python of its own, warnings being errors; code: what runs before."""
    source = "import sys\n%s\nfrom icey.__main__ import main\nsys.exit(main(['doctor', *sys.argv[1:]]))" % code
    done = subprocess.run([sys.executable, "-W", "error", "-c", source, *flags], stdout=stdout, stderr=subprocess.PIPE,
                          timeout=120, **options)
    return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()


PATIENT = "from icey.tools.doctor import trials; trials.WAIT = 30.0"


# the table

def test_the_table_has_a_row_each_and_a_verdict():
    assert command.table(made(sendfile=row("less", "not here"), ssl=row())).splitlines() == [
        "icey 1.2 in /lib/icey",
        "cpython 3.13.1 (/usr/bin/python3) on linux mips",
        "",
        "what is there",
        "  sendfile     less     not here",
        "  ssl          ok       there",
        "",
        "what works on loopback",
        "  TCP          ok       there",
        "",
        "All that icey needs works here; there is less of: sendfile.",
    ]


def test_what_is_wrong_is_named_with_what_to_do():
    lines = command.table(made(False, ipv4=row("failed", "no", "yes"), zlib=row("less", "none"))).splitlines()
    assert "  IPv4         FAILED   no" in lines
    assert "                        -> yes" in lines
    assert lines[-1] == "icey does not work here as it should: IPv4."


def test_no_line_is_wider_than_a_terminal_and_none_can_steer_it():
    long = "word " * 60 + "/" + "x" * 200 + "\33[2J\n"
    found = made(False, ssl=row("failed", long, long), copy=row("less", long))
    found["path"] = found["python"]["executable"] = long
    text = command.table(found)
    assert max(map(len, text.splitlines())) <= 79
    assert "\33" not in text


def test_colours_take_no_room():
    found = made(ssl=row("failed", "x"), zlib=row("less", "x"), ipv4=row())
    plain, coloured = command.table(found), command.table(found, True)
    assert coloured != plain
    assert coloured.replace("\33[1;31m", "").replace("\33[33m", "").replace("\33[0m", "") == plain


@pytest.mark.parametrize("terminal, environment, colours", [
    (True, {"TERM": "xterm"}, os.name != "nt"), (False, {"TERM": "xterm"}, False), (True, {"TERM": "dumb"}, False),
    (True, {}, False), (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
])
def test_colours_are_for_terminals(terminal, environment, colours, monkeypatch):
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = io.StringIO()
    out.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stdout", out)
    assert command._colourful() is colours
    monkeypatch.setattr(sys, "stdout", None)
    assert command._colourful() is False


@pytest.mark.parametrize("ok, status", [(True, 0), (False, 1)])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_exit_status_is_the_verdict(ok, status, flags, told, capsys):
    told(ok, ssl=row())
    assert command.main(flags) == status
    out, err = capsys.readouterr()
    assert err == "" and out.endswith("\n")
    if flags:
        assert json.loads(out) == made(ok, ssl=row())


def test_an_encoding_that_lacks_a_letter(told, monkeypatch):
    told(True, ssl=row(text="\xe9\u4e2d"))
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", out)
    assert command.main([]) == 0
    assert b"\\xe9\\u4e2d" in out.buffer.getvalue()


@pytest.mark.parametrize("encoding", ["no-such", None])
def test_an_encoding_that_nobody_knows(encoding, told, monkeypatch):
    class Out(io.StringIO):
        pass

    Out.encoding = encoding
    told(True, ssl=row(text="\xe9"))
    monkeypatch.setattr(sys, "stdout", Out())
    assert command.main([]) == 0
    assert "\\xe9" in sys.stdout.getvalue()


def test_a_wrong_flag_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["--frob"], "PROG")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "PROG: unrecognized arguments: --frob (--help tells more)\n"


# where it is run

def test_in_a_process_of_its_own():
    status, out, err = run("--json", code=PATIENT)
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["ok"] is True and told["path"] == os.path.join(ROOT, "icey")


def test_with_next_to_nothing_around_it():
    """No HOME, no PATH, stdin, stdout and stderr closed, no site-packages."""
    code = "import sys\nsys.path.insert(0, %r)\n%s\nfrom icey.__main__ import main\nsys.exit(main(['doctor']))"
    done = subprocess.run([sys.executable, "-I", "-S", "-O", "-W", "error", "-c", code % (ROOT, PATIENT)], env=SYSTEM,
                          timeout=120, preexec_fn=close_standard if os.name == "posix" else None)
    assert done.returncode == 0


# Windows has no sockets without this one
SYSTEM = {name: value for name, value in os.environ.items() if name.upper() in ("SYSTEMROOT", "LD_LIBRARY_PATH")}


def close_standard():
    for fd in (0, 1, 2):
        os.close(fd)


REFUSED = """
import errno, os, socket
def refused(*arguments, **options):
    raise PermissionError(errno.EPERM, "Operation not permitted")
class Socket(socket.socket):
    __init__ = refused
socket.socket, socket.socketpair, os.pipe = Socket, refused, refused
"""


def test_inside_a_sandbox_without_sockets():
    status, out, err = run(code=REFUSED)
    assert (status, err) == (1, "")
    assert "  loop         FAILED   [Errno 1] Operation not permitted\n" in out and "sandbox" in out


@pytest.mark.skipif(os.name != "posix", reason="needs limits")
@pytest.mark.parametrize("limit", [8, *(pytest.param(limit, marks=pytest.mark.slow) for limit in (5, 6, 7, 9, 10))])
def test_with_few_descriptors(limit):
    """Whatever is short of them, it is told; from some number on all works."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (%d, %d))" % (limit, limit)
    status, out, err = run(code=code, stdin=subprocess.DEVNULL)
    assert "Traceback" not in err
    assert out.splitlines()[-1].startswith("All that icey needs" if status == 0 else "icey does not work here")
    assert (status == 0) != ("Too many open files" in out)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_report_that_cannot_be_written():
    with open("/dev/full", "wb") as full:
        status, _, err = run(stdout=full, code=PATIENT)
    assert status == 1 and err.endswith("cannot write to stdout: No space left on device\n")
