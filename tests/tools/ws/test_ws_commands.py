"""python3 -m icey ws: the commands, a terminal, and signals. On one loop with its server; see talking.py."""
import os
import re

import pytest

from icey.tools.ws import talk as wsclient
from tests.fuzz.frames import PING, PONG, TEXT, closing as closing_frame, frame, read_frames
from tests.support import streams, talking

debug, clock, reports, loop, booth = streams.debug, streams.clock, streams.reports, streams.loop, talking.booth

with_signals = pytest.mark.needs("signal")
with_pty = pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")


# -- commands --------------------------------------------------------------------------------------------------------

def test_ping_tells_the_time_it_took(booth, loop):
    answers = frame(PONG, b"two words") + frame(PONG, b"no") + closing_frame(1000)
    booth.raw(lambda sock: loop.call_later(0.25, sock.send_owned, answers))
    assert booth.talk("--commands", "-v", "-n1", stdin=b"/ping\n/ping two words\n/ping\nx") == 7
    assert [found[2:4] for found in read_frames(booth.received)][:4] == [
        (PING, b"1"), (PING, b"two words"), (PING, b"3"), (TEXT, b"x")]
    assert booth.err.splitlines()[1:] == [
        'pong "two words" after 250.0 ms', 'pong "no"', "closed by the server: 1000 (normal closure)",
        "ws: the server closed after 0 of 1 messages"]


@pytest.mark.parametrize("line, end", [
    (b"/close", (1000, "")), (b"/close 4000", (4000, "")), (b"/close 1001 good bye ", (1001, "good bye"))])
def test_close(booth, line, end):
    booth.serve()
    assert booth.talk("--commands", stdin=b"x\n" + line + b"\r\nnot sent\n") == 0
    assert booth.settle() == [end] and booth.heard == ["x"] and booth.err == ""


@pytest.mark.parametrize("line, text", [
    (b"/close x", "ws: /close: the code is a number, not 'x'"), (b"/close 1006", "ws: /close: "),
    (b"/ping " + b"x" * 126, "ws: /ping: "), (b"/nick bob", "ws: there is no command /nick: /help tells which there are")])
def test_a_command_that_is_none(booth, line, text):
    booth.serve()
    assert booth.talk("--commands", stdin=line + b"\n//nick bob\n") == 1
    assert booth.err.startswith(text) and booth.err.count("\n") == 1
    assert booth.out == b"/nick bob\n"


def test_help_tells_the_commands(booth):
    booth.serve()
    assert booth.talk("--commands", stdin=b"/help\n") == 0
    assert "/ping [TEXT]" in booth.err and booth.out == b""


# -- a terminal ------------------------------------------------------------------------------------------------------

@pytest.fixture
def terminal(booth):
    """(master, slave), without the echo of what is typed."""
    import termios

    master, slave = os.openpty()
    booth.fds += (master, slave)
    modes = termios.tcgetattr(slave)
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    return master, slave


@with_pty
def test_at_a_terminal(booth, loop, terminal):
    master, slave = terminal

    def heard(ws, data):
        if data != "more":
            ws.send(data)
        if data == "/slash":
            loop.call_later(0.5, os.write, master, b"more\n\x04")

    def prepare(ws):
        os.write(master, b"hi\n/ping\n/nope\n//slash\n")
        ws.on_message += heard

    booth.serve(prepare, ping_interval=None)
    assert booth.talk("--ping-interval", "0", stdin=slave, out_terminal=True) == 0
    assert booth.heard == ["hi", "/slash", "more"]
    assert booth.out == b"< hi\n< /slash\n"  # Ctrl-D does not wait
    assert re.sub(r"[\d.]+ ms", "N ms", booth.err).splitlines() == [
        "connected to %s (/help tells the commands)" % booth.url,
        "ws: there is no command /nope: /help tells which there are, //... sends such a line",
        'pong "1" after N ms', "closed: 1000 (normal closure)"]


# -- signals ---------------------------------------------------------------------------------------------------------

@with_signals
@pytest.mark.parametrize("name, status", [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_says_goodbye(booth, loop, name, status):
    import signal
    stdin, writing = booth.pipe()
    booth.serve(lambda ws: (ws.send("one"), loop.call_later(1, os.kill, os.getpid(), getattr(signal, name))))
    assert booth.talk(stdin=stdin) == status
    assert (booth.out, booth.err) == (b"one\n", "")
    assert booth.settle() == [(1000, "")]


@with_signals
def test_a_second_one_ends_it_at_once(booth, loop):
    import signal
    stdin, writing = booth.pipe()
    booth.raw()
    loop.call_later(1, os.kill, os.getpid(), signal.SIGINT)
    loop.call_later(2, os.kill, os.getpid(), signal.SIGINT)
    assert booth.talk(stdin=stdin) == 130
    assert loop.now == pytest.approx(1002, abs=0.1)


@with_signals
def test_before_there_is_a_connection(booth, loop):
    import signal
    booth.raw(head=b"")
    loop.call_later(1, os.kill, os.getpid(), signal.SIGINT)
    assert booth.talk() == 130
    assert booth.err == ""


@with_signals
def test_what_has_come_is_written_as_far_as_stdout_takes_it(booth, loop):
    import signal
    stdin, _ = booth.pipe()
    reading, writing = booth.pipe()

    def prepare(ws):
        ws.send("x" * 200000)
        loop.call_later(1, os.kill, os.getpid(), signal.SIGINT)

    booth.serve(prepare)
    with open(writing, "wb", buffering=0) as out:
        booth.fds.remove(writing)
        assert booth.talk(stdin=stdin, out=out) == 130


def test_a_keyboard_interrupt_out_of_the_loop(booth, loop, monkeypatch):
    def run(loop, ws):
        ws.on_connect += lambda ws: loop.stop()
        loop.run()
        raise KeyboardInterrupt

    monkeypatch.setattr(wsclient, "run", run)
    booth.serve()
    assert booth.talk() == 130
