"""python3 -m icey ws --listen: the echo server, its log, its end. On one loop with its clients."""
import errno
import io
import os
import re
import sys

import pytest

import icey
from icey.http import WebSocket
from icey.tools.cli import listening
from icey.tools.cli.console import Console, Trouble
from icey.tools.ws import command as ws, echo as wsecho
from tests.support import streams
from tests.support.websocket import noted

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

with_signals = pytest.mark.needs("signal")


class Hall:
    """`ws --listen 0` on a loop. `status`, `out`, `err`: of the last time; `url`: where it listens."""

    def __init__(self, loop):
        self.loop = loop
        self.url = self.server = None
        self.out = self.err = self.status = None

    def listen(self, visit, *arguments, out=None, port="0"):
        """The exit status. visit: called with the hall once it listens."""
        out = io.BytesIO() if out is None else out
        err = io.StringIO()
        console = Console("ws", out, err)
        options = ws.parse(["--listen", port, *arguments], "ws")
        announce = wsecho.Echo._announce

        def announced(echo):
            announce(echo)
            self.server = echo.server
            self.url = "ws%s://%s/" % ("s" if options.tls else "", echo.server.address)
            visit(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wsecho.Echo, "_announce", announced)
            ws.prepare(options, {})
            self.status = ws.run(self.loop, options, console, None)
        streams.turn(self.loop, 5)  # the guests see its end
        self.out, self.err = out, re.sub(r"127\.0\.0\.1:\d+ ", "PEER ", err.getvalue())
        return self.status

    def guest(self, **options):
        return WebSocket.connect(self.loop, self.url, **options)

    def signal(self, name="SIGTERM", after=0.0):
        import signal
        self.loop.call_later(after, os.kill, os.getpid(), getattr(signal, name))


@pytest.fixture
def hall(loop):
    return Hall(loop)


def says(messages, heard):
    """A visit: sends these, gathers what comes, closes, and ends the server."""
    def visit(hall):
        def came(ws, data):
            heard.append(data if isinstance(data, str) else bytes(data))
            if len(heard) == len(messages):
                ws.close(1000, "thanks")

        ws = hall.guest()
        ws.on_connect += lambda ws: [ws.send(data) for data in messages]
        ws.on_message += came
        ws.on_close += lambda ws, *end: (heard.append(end), hall.signal())
    return visit


@with_signals
def test_each_message_comes_back_as_it_was(hall):
    messages = ["text", "", "Grüße\n", b"", b"\0\xff", "x" * 70000, b"y" * 200000]
    heard = []
    assert hall.listen(says(messages, heard)) == 0
    assert heard == [*messages, (1000, "")]
    assert hall.out.getvalue().decode() == "Echoing at %s (Ctrl-C ends it)\n" % hall.url
    assert hall.err == "PEER opened /\nPEER closed 1000 (normal closure): thanks\n"


@with_signals
def test_quiet_logs_nothing(hall):
    assert hall.listen(says(["a"], []), "-q") == 0
    assert hall.err == ""


@with_signals
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_closes_the_connections_with_1001(hall, name):
    events = []

    def visit(hall):
        for number in range(3):
            ws = hall.guest(subprotocols=("chat",), compression=not number)
            noted(ws, events, but=("drain",))
        hall.signal(name, after=1)

    assert hall.listen(visit, "-s", "chat") == 0
    assert events == [("connect",)] * 3 + [("close", 1001, "the server stops")] * 3
    assert sorted(hall.err.splitlines()) == [
        *["PEER closed 1001 (going away)"] * 3, *["PEER opened /, subprotocol chat"] * 3,
        "Stopping: 3 connections are being closed, at most 10 s (Ctrl-C again: now)"]


@with_signals
def test_a_second_signal_ends_it_at_once(hall, loop):
    def visit(hall):
        hall.guest().on_connect += lambda ws: ws.pause()  # it does not answer the goodbye
        hall.signal("SIGINT", after=1)
        hall.signal("SIGINT", after=2)

    assert hall.listen(visit) == 130
    assert loop.now == pytest.approx(1002, abs=0.1)


@with_signals
def test_who_does_not_read_is_not_read(hall, loop):
    sent, heard, held = [], [], []

    def visit(hall):
        ws = hall.guest(compression=False)
        ws.on_message += lambda ws, data: heard.append(len(data))
        ws.on_close += lambda ws, *end: hall.signal()

        def send(ws):
            while ws.send(b"x" * 50000):
                sent.append(50000)
            sent.append(50000)

        def check():
            held.extend(guest.queued for guest in ws_of(hall))
            ws.on_drain.detach(send)
            ws.on_message += lambda ws, data: len(heard) == len(sent) and ws.close()
            ws.resume()

        ws.on_connect += lambda ws: (ws.pause(), send(ws))
        ws.on_drain += send
        loop.call_later(2, check)

    def ws_of(hall):
        guests, = [slot.__self__ for slot in hall.server.on_shutdown if hasattr(getattr(slot, "__self__", None), "there")]
        return list(guests.there)

    assert hall.listen(visit, "--no-compression") == 0
    assert len(sent) > 3 and heard == sent
    assert len(held) == 1 and 0 < held[0] < 200000  # of the server, with no end of messages before it


@with_signals
def test_what_is_no_websocket(hall, loop):
    answers = []

    def visit(hall):
        client = icey.http.Client(loop)
        client.request("GET", hall.url.replace("ws", "http", 1), done=lambda answer, error: (
            answers.append(answer.status), client.close(), hall.signal()))

    assert hall.listen(visit) == 0
    assert answers == [426] and hall.err == ""


@with_signals
def test_a_peer_that_breaks_the_protocol(hall, loop):
    def visit(hall):
        ws = hall.guest()
        ws.on_connect += lambda ws: ws.stream.send(b"\x83\0")
        ws.on_close += lambda ws, *end: hall.signal()

    assert hall.listen(visit) == 0
    assert re.fullmatch("PEER opened /\nPEER failed: 1002 .+\nPEER closed 1006 .+\n", hall.err)


@with_signals
def test_the_largest_message(hall):
    events = []

    def visit(hall):
        ws = hall.guest()
        noted(ws, events)
        ws.on_connect += lambda ws: ws.send("x" * 11)
        ws.on_close += lambda ws, *end: hall.signal()

    assert hall.listen(visit, "--max-message", "10") == 0
    assert events[-1][:2] == ("close", 1009)


@with_signals
@pytest.mark.needs("ssl")
def test_tls(hall, tmp_path):
    from icey.net import tls
    from icey.tools.cli.certificate import self_signed_files

    cert, key = self_signed_files(str(tmp_path), ["127.0.0.1"])
    events = []

    def visit(hall):
        ws = hall.guest(tls=tls.client_context(ca=cert))
        noted(ws, events)
        ws.on_connect += lambda ws: ws.send("hi")
        ws.on_message += lambda ws, data: ws.close()
        ws.on_close += lambda ws, *end: hall.signal()

    assert hall.listen(visit, "--cert", cert, "--key", key) == 0
    assert events == [("connect",), ("message", "hi"), ("close", 1000, "")]
    assert hall.out.getvalue().startswith(b"Echoing at wss://127.0.0.1:")


# -- odd surroundings ------------------------------------------------------------------------------------------------

class Closed(io.BytesIO):
    def write(self, data):
        raise OSError(errno.EPIPE, "gone")


@with_signals
def test_nobody_reads_the_first_line(hall):
    assert hall.listen(lambda hall: hall.signal(), out=Closed()) == 0


def test_a_keyboard_interrupt_out_of_the_loop(hall, monkeypatch):
    def run(loop, server):
        loop.run_once(0)
        raise KeyboardInterrupt

    monkeypatch.setattr(wsecho, "run", run)
    monkeypatch.setitem(sys.modules, "signal", None)
    assert hall.listen(lambda hall: None) == 0


def test_a_loop_that_ends_by_itself(hall, monkeypatch):
    monkeypatch.setattr(wsecho, "run", lambda loop, server: loop.run_once(0) and None)
    assert hall.listen(lambda hall: None) == 128


def test_a_port_that_is_taken(hall, loop):
    with icey.TCPListener(loop, icey.Address("127.0.0.1", 0)) as taken:
        with pytest.raises(Trouble) as refused:
            hall.listen(lambda hall: None, port=str(taken.address.port))
    assert str(refused.value) == "%s is taken: another program listens there; --listen 0 picks a free port" % taken.address
    with pytest.raises(Trouble, match="the port goes into --listen"):
        listening.addresses_of("nosuch host:80", 0, "--listen")
