"""python3 -m icey ws at a terminal that can be edited on: a pty, one loop with the server, and a model of the screen.

The kernel hands on what goes through a pty when it comes to that: a step is followed by what is to be seen before the next one.
"""
import io
import os
import select
import time

import pytest

from icey.tools.cli.console import Console
from icey.tools.ws import keyboard as wskeyboard
from icey.tools.ws.keyboard import Keyboard
from icey.tools.ws.stdio import LineObserver
from icey.tools.ws.terminal import Terminal, terminal_of
from tests.support import lacks, streams, talking
from tests.tools.ws.test_lineeditor import LEFT, UP, Screen

pytestmark = pytest.mark.skipif(not hasattr(os, "openpty") or bool(lacks("termios")), reason="needs pseudo-terminals")

debug, clock, reports, loop, booth = streams.debug, streams.clock, streams.reports, streams.loop, talking.booth
with_signals = pytest.mark.needs("signal")


def local_modes(fd):
    import termios
    return termios.tcgetattr(fd)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)


class Desk:
    """A terminal of 40 columns, and `ws` at it. `type` sends keys; `screen` is what is seen."""

    def __init__(self, booth):
        self.booth = booth
        self.master, self.slave = os.openpty()
        booth.fds += (self.master, self.slave)
        os.set_blocking(self.master, False)
        self.before = local_modes(self.slave)
        self.screen = Screen()
        self.modes = []

    def type(self, keys):
        os.write(self.master, keys)

    def look(self):
        """The rows of the screen, with what has come."""
        while True:
            try:
                data = os.read(self.master, 65536)
            except (BlockingIOError, OSError):
                break
            self.screen.write(data.replace(b"\r\n", b"\n"), wraps=True)
        self.modes.append(local_modes(self.slave))
        return self.screen.lines

    def sees(self, *lines):
        """Waits until these are the last rows."""
        while self.look()[-len(lines):] != list(lines):
            assert select.select([self.master], [], [], 20)[0], self.screen.lines

    def do(self, *steps):
        """Does each step, a function, when what stands before it is true: a row of the screen, or a function."""
        left = list(steps)

        def look():
            rows = self.look()
            if left[0]() if callable(left[0]) else left[0] in rows:
                del left[0]
                left.pop(0)()
            if left:
                time.sleep(0.001)
                self.booth.loop.call_later(0.001, look)

        self.booth.loop.call_later(0.001, look)

    def talk(self, *arguments):
        with open(os.dup(self.slave), "wb", buffering=0) as out:
            self.status = self.booth.talk(*arguments, stdin=self.slave, environ={"TERM": "xterm"}, out=out, out_terminal=True)
        assert local_modes(self.slave) == self.before
        return self.status


@pytest.fixture
def desk(booth):
    return Desk(booth)


def test_what_comes_does_not_stand_in_what_is_typed(booth, desk):
    booth.serve()
    desk.do(">", lambda: desk.type(b"hel" + LEFT), "> hel", lambda: booth.sockets[0].send("news"),
            lambda: desk.screen.lines == ["< news", "> hel"] and desk.screen.column == 4, lambda: desk.type(b"\x05p\r"),
            "< help", lambda: desk.type(UP + b"!\r/ping\r"), "< help!", lambda: desk.type(b"\x04"))
    assert desk.talk() == 0
    assert booth.heard == ["help", "help!"]
    desk.sees("")
    assert desk.screen.lines in (["< news", "> help", "< help", "> help!", *rest, ""] for rest in (
        ["> /ping", "< help!"], ["< help!", "> /ping"]))
    assert desk.modes[0] != desk.before and desk.modes[-1] == desk.before
    assert booth.settle() == [(1000, "")]


def test_notes_stand_above_it_too(booth, desk, monkeypatch):
    monkeypatch.setattr(Terminal, "same", lambda terminal, file: True)
    booth.serve()
    desk.do(">", lambda: desk.type(b"/ping\rhalf"), lambda: any(line.startswith('pong "1" ') for line in desk.screen.lines),
            lambda: desk.type(b"\x15/nick\r/help\rx"), "> x", lambda: booth.sockets[0].close(1001))
    assert desk.talk() == 0
    desk.sees("> x", "")  # what was typed stays, and the code comes below
    assert booth.err == "closed by the server: 1001 (going away)\n"
    rest = "\n".join(desk.screen.lines)
    assert rest.startswith("connected to ws://127.0.0.1:") and "> /ping\n" in rest and "Ctrl-A" in rest
    assert "> /nick\nws: there is no command /nick" in rest


def test_a_paste_goes_line_by_line_as_the_server_takes_it(booth, desk):
    lines = [b"%04d" % number + b"x" * 30 for number in range(50)]
    booth.serve(lambda ws: None)
    desk.do(">", lambda: desk.type(b"\r".join(lines[:25]) + b"\r"), lambda: len(booth.heard) == 25,
            lambda: desk.type(b"\n".join(lines[25:]) + b"\n"), lambda: len(booth.heard) == 50, lambda: desk.type(b"\x04"))
    assert desk.talk() == 0
    assert booth.heard == [line.decode() for line in lines]
    desk.sees(*["> " + line.decode() for line in lines], "")


@pytest.mark.parametrize("keys, text", [(b"\xffa\r", "ws: line 1 is not UTF-8, see its byte 1"),
                                        (b"x" * 60 + b"\r", "ws: line 1 is longer than 50 bytes")])
def test_a_line_that_cannot_be_sent_is_told(booth, desk, keys, text):
    booth.serve()
    desk.do(">", lambda: desk.type(keys + b"b\r"), "< b", lambda: desk.type(b"\x04"))
    assert desk.talk("--max-message", "50") == 0
    assert booth.heard == ["b"] and text in booth.err


@with_signals
@pytest.mark.parametrize("name, status", [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_leaves_the_terminal_as_it_was(booth, desk, name, status):
    import signal

    number = getattr(signal, name)
    before = signal.getsignal(number), signal.getsignal(signal.SIGTSTP)
    booth.serve(lambda ws: ws.pause())
    desk.do(">", lambda: desk.type(b"half"), "> half", lambda: signal.raise_signal(number), lambda: True,
            lambda: signal.raise_signal(number))
    assert desk.talk() == status
    assert desk.modes[0] != desk.before
    desk.sees("> half", "")
    assert (signal.getsignal(number), signal.getsignal(signal.SIGTSTP)) == before


def test_an_interrupt_leaves_the_terminal_as_it_was(booth, desk):
    def fail():
        raise KeyboardInterrupt

    booth.serve()
    desk.do(">", lambda: desk.type(b"half"), "> half", fail)
    assert desk.talk() == 130
    assert desk.modes[0] != desk.before


def test_the_end_of_the_terminal(booth, desk):
    master = desk.master
    booth.serve()

    def close():
        desk.look = lambda: []
        booth.close_fd(master)

    desk.do(">", close)
    with open(os.dup(desk.slave), "wb", buffering=0) as out:
        status = booth.talk(stdin=desk.slave, environ={"TERM": "xterm"}, out=out, out_terminal=True)
    assert status in (0, 1) and booth.heard == []  # reading tells of it, or writing


def test_a_terminal_that_is_dumb_or_not_on_both_sides_is_left_alone(booth, desk):
    def prepare(ws):
        ws.on_message += lambda ws, data: (desk.modes.append(local_modes(desk.slave)), ws.close())

    booth.serve(prepare)
    for environ, terminal in (({"TERM": "dumb"}, True), ({}, True), ({"TERM": "xterm"}, False)):
        desk.type(b"hello\n")
        with open(os.dup(desk.slave) if terminal else os.dup(booth.pipe()[1]), "wb", buffering=0) as out:
            assert booth.talk(stdin=desk.slave, environ=environ, out=out, out_terminal=terminal) == 0
    assert desk.modes == [desk.before] * 3 and booth.heard == ["hello"] * 3


# -- the parts -------------------------------------------------------------------------------------------------------

def test_what_is_no_terminal(desk, booth, tmp_path):
    with open(str(tmp_path / "file"), "wb") as file, open(os.dup(desk.slave), "wb", buffering=0) as out:
        assert terminal_of(desk.slave, file) is None and terminal_of(file.fileno(), out) is None
        assert terminal_of(None, out) is terminal_of(desk.slave, None) is terminal_of(desk.slave, io.BytesIO()) is None
        terminal = terminal_of(desk.slave, out)
        assert terminal.same(out) and not terminal.same(file) and not terminal.same(None)
    assert terminal.columns() > 0 and Terminal(-1, -1).columns() == 80


def test_modes_that_somebody_changed_meanwhile_are_set_again(desk):
    import termios

    terminal = Terminal(desk.slave, desk.slave)
    terminal.leave()
    terminal.enter()
    inside = local_modes(desk.slave)
    terminal.enter()
    assert local_modes(desk.slave) == inside != desk.before
    modes = termios.tcgetattr(desk.slave)
    modes[3] |= termios.ICANON | termios.ECHO  # as a shell does at fg
    termios.tcsetattr(desk.slave, termios.TCSANOW, modes)
    terminal.enter()
    assert local_modes(desk.slave) == inside
    terminal.close()
    assert local_modes(desk.slave) == desk.before


class Heard(LineObserver):
    def __init__(self):
        self.lines, self.then = [], lambda: None

    def on_line(self, line):
        self.lines.append(line)
        self.then()

    def on_lines_error(self, exc):
        self.lines.append(exc)


def test_while_it_is_paused_nothing_is_read(desk, loop, monkeypatch):
    written, heard = [], Heard()
    keyboard = Keyboard(loop, Terminal(desk.slave, desk.slave), 100, heard, lambda data: written.append(data) or True)
    heard.then = keyboard.pause
    keyboard.resume()
    keyboard.resume()
    streams.turn(loop, 2)
    desk.type(b"one\rtwo\rthree")
    assert select.select([desk.slave], [], [], 20)[0]
    streams.turn(loop, 3)
    assert heard.lines == [b"one"] and keyboard.left == 9 and keyboard.number == 2
    keyboard.resume()
    streams.turn(loop, 3)
    assert heard.lines == [b"one", b"two"]
    heard.then = keyboard.close
    monkeypatch.setattr(wskeyboard.os, "read", lambda fd, size: 1 / 0)
    keyboard.resume()
    keyboard.close()
    keyboard.close()
    keyboard.redraw()
    streams.turn(loop, 3)
    count = len(written)
    assert keyboard.print(b"later\n") and written[count:] == [b"later\n"]
    Terminal(desk.slave, desk.slave).close()
    keyboard._terminal.close()


def test_what_cannot_be_read_is_told(desk, loop, monkeypatch):
    heard = Heard()
    keyboard = Keyboard(loop, Terminal(desk.slave, desk.slave), 100, heard, lambda data: True)
    errors = [BlockingIOError(11, "again"), OSError(5, "Input/output error")]
    keyboard.resume()
    streams.turn(loop, 2)

    def read(fd, size):
        raise errors.pop(0)

    monkeypatch.setattr(wskeyboard.os, "read", read)
    desk.type(b"x")
    assert select.select([desk.slave], [], [], 20)[0]
    streams.turn(loop, 5)
    assert [str(exc) for exc in heard.lines] == ["[Errno 5] Input/output error"] and errors == []
    keyboard._terminal.close()


def test_a_console_takes_text_for_the_screen():
    told = []

    class Above:
        def write(self, text):
            told.append(text)

        def flush(self):
            pass

    Console("ws", None, Above()).note("a\x1b[2J")
    assert told == ["a\\x1b[2J\n"]
