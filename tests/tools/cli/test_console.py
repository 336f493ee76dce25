"""The console of the commands: lines, what is drawn in place, and the process's own stdout and stderr."""
import io
import os
import sys
import threading

import pytest

from icey.tools.cli import console
from icey.tools.cli.console import Console, Parser, Trouble, columns


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(act, **options):
    err = io.StringIO()
    act(Console("PROG", None, err, **options))
    return err.getvalue()


def test_trouble_and_notes_are_lines():
    assert shown(lambda console: console.trouble("it broke")) == "PROG: it broke\n"
    assert shown(lambda console: console.note("by the way")) == "by the way\n"


def test_quiet_leaves_the_notes_out():
    def act(console):
        console.quiet = True
        console.note("by the way")
        console.trouble("it broke")

    assert shown(act) == "PROG: it broke\n"


def test_what_is_drawn_is_overdrawn_and_wiped():
    def act(console):
        console.draw("abcdef")
        console.draw("xyz")
        console.draw("\u65e5\u672c")
        console.show("line")
        console.wipe()

    assert shown(act) == "\rabcdef\rxyz   \r\u65e5\u672c\r    \rline\n"


@pytest.mark.parametrize("text, out", [
    ("plain \u20ac", "plain \u20ac"), ("two\nlines", r"two\nlines"), ("\x1b[31m\x9b", r"\x1b[31m\x9b"),
    ("\u202egnp", r"\u202egnp"), ("", ""),
])
def test_what_is_said_is_printable(text, out):
    assert console.printable(text) == out


def test_reasons():
    assert console.reason(OSError(2, "No such file")) == "No such file"
    assert console.reason(OSError(2, "")) == os.strerror(2)
    assert console.reason(OSError("why")) == "why"
    assert console.reason(ValueError()) == "ValueError"


@pytest.mark.parametrize("err", [None, io.StringIO()], ids=["none", "closed"])
def test_nobody_reads_it(err):
    if err is not None:
        err.close()
    screen = Console("PROG", None, err)
    screen.trouble("it broke")
    screen.draw("abc")
    screen.wipe()


def test_the_process_s_own(monkeypatch):
    out, err = io.TextIOWrapper(io.BytesIO()), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    screen = Console.of_process("PROG")
    assert (screen.out, screen.err, screen.out_terminal, screen.err_terminal) == (out.buffer, err, False, True)
    assert screen.columns() == 80
    monkeypatch.setenv("TERM", "dumb")
    assert not Console.of_process("PROG").err_terminal
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    screen = Console.of_process("PROG")
    assert (screen.out, screen.err, screen.out_terminal, screen.err_terminal) == (None, None, False, False)


def test_a_terminal_s_width(monkeypatch):
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((132, 50)))
    with open(os.devnull) as file:
        monkeypatch.setattr(sys, "stderr", file)
        assert Console.of_process("PROG").columns() == 132
        monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((0, 0)))
        assert Console.of_process("PROG").columns() == 80


@pytest.mark.parametrize("text, width", [
    ("plain", 5), ("\xe9\u0416\u05d0", 3), ("\u4e2d\u6587", 4), ("\uff21\uff71", 3), ("\uac00", 2), ("\U0001f600", 2),
    ("\U00020000", 2), ("\u3042a", 3), ("", 0),
])
@pytest.mark.parametrize("light", [False, True])
def test_columns_of_a_text(text, width, light, monkeypatch):
    """Some Pythons come without unicodedata: wide characters are told by their blocks there."""
    if light:
        monkeypatch.setitem(sys.modules, "unicodedata", None)
    assert columns(text) == width


def test_what_stdout_has_no_bytes_for_is_escaped():
    with io.TextIOWrapper(io.BytesIO(), "ascii", "strict") as out:
        assert console.print_out("PROG", "caf\xe9 \udcff\n", out) == 0
        assert out.buffer.getvalue() == b"caf\\xe9 \\udcff" + os.linesep.encode()


def test_an_abandoned_stdout_takes_everything(tmp_path):
    with open(str(tmp_path / "out"), "w+b") as out:
        out.write(b"before")
        out.flush()
        Console("PROG", out, None).abandon_out()
        out.write(b"after")
        out.flush()
    assert (tmp_path / "out").read_bytes() == b"before"
    Console("PROG", None, None).abandon_out()
    Console("PROG", io.BytesIO(), None).abandon_out()


@pytest.mark.parametrize("blocks", [True, False], ids=["takes less at a time", "takes nothing now"])
def test_a_text_that_an_unbuffered_stdout_does_not_take_at_once_is_written_whole(blocks):
    """That of python3 -u, which TextIOWrapper does not ask how much it has taken."""
    class Raw(io.FileIO):
        def write(self, data):
            return super().write(data[:10000])

    text, received, (read, write) = "caf\u00e9\n" * 50000, [], os.pipe()
    os.set_blocking(write, blocks)
    with open(read, "rb") as reader:
        with io.TextIOWrapper(Raw(write, "w"), encoding="utf-8", write_through=True) as out:
            thread = threading.Thread(target=lambda: received.append(reader.read()))
            thread.start()
            status = console.print_out("PROG", text, out)
        thread.join(20)
    assert (status, received) == (0, [text.replace("\n", os.linesep).encode("utf-8")])


def test_a_wrong_flag_is_one_line(capsys):
    with pytest.raises(SystemExit) as left:
        Parser(prog="PROG").parse_args(["--a\nb"])
    assert left.value.code == 2
    assert capsys.readouterr().err == "PROG: unrecognized arguments: --a\\nb (--help tells more)\n"


def test_trouble_knows_its_status():
    trouble = Trouble(7, "it broke")
    assert (trouble.status, str(trouble)) == (7, "it broke")
