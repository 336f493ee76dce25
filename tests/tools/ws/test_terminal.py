"""Terminal: the terminal is put back, whatever ends or stops the program; here by signals of our own, on a terminal of our own.

What a real program does at Ctrl-Z, fg and SIGHUP: test_ws_process.py.
"""
import os
import sys
import threading

import pytest

from tests.support import needs

needs("signal")
fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")

import signal  # noqa: E402
import struct  # noqa: E402

from icey.tools.ws import terminal as terminals  # noqa: E402
from icey.tools.ws.terminal import EIGHTY, LFLAG, Terminal, terminal_of  # noqa: E402

SIGNALS = (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@pytest.fixture
def pty():
    ours, theirs = os.openpty()
    yield theirs
    for fd in (ours, theirs):
        try:
            os.close(fd)
        except OSError:  # the test has
            pass


@pytest.fixture
def heard():
    """The signals that reached who had them before, each a handler that is put back."""
    seen = []
    before = {number: signal.signal(number, lambda number, frame: seen.append(number)) for number in SIGNALS}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def terminal(pty, heard):
    made = Terminal(pty, pty)
    yield made
    made.close()


def is_raw(fd):
    return not termios.tcgetattr(fd)[LFLAG] & (termios.ICANON | termios.ECHO)


def test_keys_come_one_by_one_from_enter_to_leave(terminal, pty):
    before = termios.tcgetattr(pty)
    for _ in range(2):
        terminal.enter()
        terminal.enter()
        assert is_raw(pty)
        terminal.leave()
        terminal.leave()
        assert termios.tcgetattr(pty) == before


def test_what_was_raw_already_is_left_so(terminal, pty):
    modes = termios.tcgetattr(pty)
    modes[LFLAG] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(pty, termios.TCSANOW, modes)
    terminal.enter()
    terminal.leave()
    assert is_raw(pty)


def test_signals_find_the_terminal_as_it_was_and_reach_who_had_them(terminal, pty, heard):
    drawn = []
    terminal.open(lambda: drawn.append(is_raw(pty)))
    for number in (signal.SIGTSTP, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        terminal.enter()
        signal.raise_signal(number)
        assert heard[-1] == number and not is_raw(pty) and drawn == []
    signal.raise_signal(signal.SIGCONT)
    assert heard[-1] == signal.SIGCONT and is_raw(pty) and drawn == [True]
    signal.raise_signal(signal.SIGWINCH)
    assert heard[-1] == signal.SIGWINCH and drawn == [True, True]
    terminal.close()
    assert not is_raw(pty)
    signal.raise_signal(signal.SIGWINCH)
    assert heard[-1] == signal.SIGWINCH and drawn == [True, True], "it takes none any more"


@pytest.mark.parametrize("number, again", [(signal.SIGTERM, True), (signal.SIGTSTP, True), (signal.SIGCONT, False),
                                           (signal.SIGWINCH, False)])
def test_a_signal_that_nobody_had_does_what_it_does_by_default(terminal, monkeypatch, number, again):
    raised = []
    signal.signal(number, signal.SIG_DFL)
    terminal.open(lambda: None)
    ours = signal.getsignal(number)
    monkeypatch.setattr(signal, "raise_signal", lambda number: raised.append((number, signal.getsignal(number))))
    ours(number, None)
    assert raised == [(number, signal.SIG_DFL)] * again and signal.getsignal(number) == ours


def test_what_the_process_ignores_it_goes_on_to_ignore(terminal):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    terminal.open(lambda: None)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.needs("threading")
def test_another_thread_sets_no_handlers_and_works(terminal, pty, heard):
    before = [signal.getsignal(number) for number in SIGNALS]
    thread = threading.Thread(target=terminal.open, args=(print,))
    thread.start()
    thread.join()
    assert [signal.getsignal(number) for number in SIGNALS] == before
    terminal.enter()
    assert is_raw(pty)


def test_without_the_module_signal_the_rest_works(terminal, pty, monkeypatch):
    monkeypatch.setitem(sys.modules, "signal", None)
    terminal.open(print)
    terminal.enter()
    assert is_raw(pty)
    terminal.close()
    assert not is_raw(pty)


def test_a_terminal_of_another_program_is_left_alone(terminal, pty, monkeypatch):
    monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp() + 1)
    terminal.enter()
    assert not is_raw(pty)


def test_one_that_is_gone_is_no_error(terminal, pty):
    terminal.enter()
    os.close(pty)
    terminal.leave()
    terminal.enter()
    assert terminal.columns() == EIGHTY


def test_its_width(terminal, pty):
    fcntl.ioctl(pty, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    assert terminal.columns() == 40
    fcntl.ioctl(pty, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    assert terminal.columns() == EIGHTY


def test_what_is_the_same_terminal(terminal, pty, tmp_path):
    class File:
        def __init__(self, fd):
            self.fileno = lambda: fd

    with open(str(tmp_path / "file"), "wb") as other:
        assert terminal.same(File(pty)) and not terminal.same(other)
        assert not terminal.same(None)


def test_only_a_pair_of_terminals_is_one(pty, tmp_path, monkeypatch):
    class Out:
        def fileno(self):
            return pty

    with open(str(tmp_path / "file"), "wb") as file:
        assert terminal_of(pty, Out()) is not None
        assert [terminal_of(*pair) for pair in ((None, Out()), (pty, None), (pty, file), (file.fileno(), Out()))] == [None] * 4
        assert terminal_of(pty, object()) is None, "what has no descriptor"
    monkeypatch.setattr(terminals, "termios", None)
    assert terminal_of(pty, Out()) is None
