"""A transport and a protocol of a user's own, on public names alone: a stream over two pipes, lines over any stream.

The transport is the one of examples/custom_transport.py. What holds of every stream holds of it.
"""
import ast
import importlib.util
import os
import socket

import pytest

import icey
from icey.base.streamprotocol import StreamProtocol
from icey.tools.testing import Peer
from tests.support import ROOT, streams
from tests.support.streams import finish, names, watch

clock, debug, loop, reports = streams.clock, streams.debug, streams.loop, streams.reports

EXAMPLE = os.path.join(ROOT, "examples", "custom_transport.py")
spec = importlib.util.spec_from_file_location("custom_transport", EXAMPLE)
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)

pytestmark = pytest.mark.skipif(not hasattr(os, "readv"), reason="pipes cannot be polled here")


class Far:
    """The other side of the pipes, in the test's hand."""

    def __init__(self, reading, writing):
        self.reading, self.writing = reading, writing
        os.set_blocking(reading, False)

    def write(self, data):
        os.write(self.writing, data)

    def read(self):
        """What has come; b"" at the end, None where there is nothing yet."""
        try:
            return os.read(self.reading, 1 << 20)
        except BlockingIOError:
            return None

    def stop_writing(self):
        self.writing = os.close(self.writing)

    def stop_reading(self):
        self.reading = os.close(self.reading)

    def close(self):
        for fd in (self.reading, self.writing):
            if fd is not None:
                os.close(fd)


@pytest.fixture
def pipes(loop):
    """(our stream, the other side)"""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    stream, far = example.PipeStream(loop, ours_in, ours_out), Far(theirs_in, theirs_out)
    yield stream, far
    if not loop.closed:
        stream.abort()
        finish(loop)
    far.close()


def until(loop, met):
    for _ in range(1000):
        if met():
            return
        loop.run_once(0)
    raise AssertionError("it did not come")


def read_all(loop, far, size):
    """`size` bytes of the other side, or what comes before the end."""
    got = bytearray()
    while len(got) < size:
        data = far.read()
        if data == b"":
            break
        got += data or b""
        loop.run_once(0)
    return bytes(got)


# the transport

def test_bytes_go_both_ways_and_views_are_lent(loop, pipes):
    stream, far = pipes
    got, kept = [], []
    stream.on_recv += lambda stream, view: (got.append(bytes(view)), kept.append(view))
    far.write(b"hello")
    until(loop, lambda: got)
    assert got == [b"hello"]
    with pytest.raises(ValueError):
        kept[0][0]
    assert stream.send(b"world") is True
    assert far.read() == b"world"


def test_what_the_pipe_refuses_is_queued_and_on_drain_comes(loop, pipes):
    stream, far = pipes
    drained = []
    stream.on_drain += lambda stream: drained.append(stream.queued)
    data, dones = os.urandom(1 << 20), []
    assert stream.send(data, lambda: dones.append(True)) is False
    assert stream.unsent and not dones
    assert read_all(loop, far, len(data)) == data
    until(loop, lambda: dones)
    assert not stream.unsent
    assert len(drained) == 1 and drained[0] <= stream.low_water


def test_a_cap_on_the_queue_holds(loop, pipes):
    stream, far = pipes
    stream.max_queue = 1 << 20
    stream.send(bytes(1 << 20))
    with pytest.raises(icey.QueueFull):
        stream.send(bytes(1 << 20))


def test_paused_it_reads_nothing(loop, pipes):
    stream, far = pipes
    got = []
    stream.on_recv += lambda stream, view: got.append(bytes(view))
    stream.pause()
    far.write(b"a")
    streams.turn(loop, 3)
    assert got == []
    stream.resume()
    until(loop, lambda: got)


def test_half_closed_the_other_side_meets_the_end_behind_the_last_byte_and_can_answer(loop, pipes):
    stream, far = pipes
    got = []
    stream.on_recv += lambda stream, view: got.append(bytes(view))
    data = bytes(300000)
    stream.send(data)
    stream.shutdown()
    assert read_all(loop, far, len(data) + 1) == data  # and then the end
    far.write(b"answer")
    until(loop, lambda: got)
    with pytest.raises(icey.StateError):
        stream.send(b"more")


def test_the_end_of_the_other_side_is_an_event_and_sending_goes_on(loop, pipes):
    stream, far = pipes
    seen = watch(stream, "recv", "end", "close")
    far.write(b"last")
    far.stop_writing()
    until(loop, lambda: "end" in names(seen))
    assert names(seen) == ["recv", "end"]
    stream.send(b"still")
    assert far.read() == b"still"


def test_close_drains_and_closes_once_with_no_descriptor_left(loop, pipes):
    stream, far = pipes
    seen = watch(stream, "error", "close")
    data = bytes(500000)
    ends = stream.ends
    stream.send(data)
    stream.close()
    assert seen == [] and stream.closing
    assert read_all(loop, far, len(data) + 1) == data
    until(loop, lambda: stream.closed)
    assert names(seen) == ["close"]
    for fd in ends:
        with pytest.raises(OSError):
            os.fstat(fd)


def test_a_close_that_nobody_lets_drain_ends_at_its_deadline(loop, clock, pipes):
    stream, far = pipes
    seen = watch(stream, "error", "close")
    stream.close_timeout = 5.0
    stream.send(bytes(500000))
    stream.close()
    loop.run()
    assert names(seen) == ["error", "close"] and isinstance(seen[0][1], icey.Deadline)


def test_a_broken_pipe_is_on_error_then_on_close(loop, pipes):
    stream, far = pipes
    seen = watch(stream, "error", "close")
    far.stop_reading()
    stream.send(b"into nothing")
    until(loop, lambda: stream.closed)
    assert names(seen) == ["error", "close"] and isinstance(seen[0][1], BrokenPipeError)


def test_broken_while_something_is_queued(loop, pipes):
    stream, far = pipes
    seen = watch(stream, "error", "close")
    stream.send(bytes(500000))
    far.stop_reading()
    until(loop, lambda: stream.closed)
    assert names(seen) == ["error", "close"]


def test_a_region_of_a_file(loop, pipes, tmp_path):
    stream, far = pipes
    (tmp_path / "file").write_bytes(bytes(range(256)) * 1000)
    stream.send(b"<")
    stream.write_file(open(str(tmp_path / "file"), "rb"), 256, 200000)
    stream.send(b">")
    assert read_all(loop, far, 200002) == b"<" + (bytes(range(256)) * 1000)[256:200256] + b">"


def test_changing_what_is_in_flight_is_told_in_debug_mode(loop, debug, pipes, reports):
    if not debug:
        pytest.skip("checked in debug mode")
    stream, far = pipes
    data = bytearray(500000)
    stream.send(data)
    data[-1] = 1
    while not stream.closed:
        far.read()
        loop.run_once(0)
    reports.take(icey.BorrowError)


# the protocol

class Lines(StreamProtocol):
    """Keeps what comes, in order; `held`: reads no further after so many lines."""

    def __init__(self, stream, held=None):
        self.stream, self.held, self.rest, self.seen = stream, held, b"", []
        stream.use_protocol(self)

    def on_bytes(self, data):
        assert type(data) is bytes and data
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.seen += lines
        if self.held is not None and len(self.seen) >= self.held:
            self.stream.hold(True)

    def on_end(self):
        self.seen.append("end")

    def on_drain(self):
        self.seen.append("drain")

    def on_error(self, exc):
        self.seen.append(type(exc))

    def on_close(self):
        self.seen.append("close")


class Wired:
    """A TCP connection with the face of `Far`."""

    def __init__(self, peer):
        self.peer = peer
        self.write, self.stop_writing, self.close = peer.send, peer.half_close, peer.close

    def read(self):
        return self.peer.read(1)


@pytest.fixture(params=["pipes", "tcp"])
def line(request, loop):
    """(a stream, the other side), over each transport."""
    if request.param == "pipes":
        yield request.getfixturevalue("pipes")
        return
    listener, accepted = icey.TCPListener(loop, icey.Address("127.0.0.1", 0)), []
    listener.on_accept += lambda listener, sock: accepted.append(sock)
    peer = Peer.connect(loop, listener.address)
    until(loop, lambda: accepted)
    yield accepted[0], Wired(peer)
    peer.close()
    if not loop.closed:
        listener.abort()
        accepted[0].abort()
        finish(loop)


def test_a_protocol_gets_bytes_the_end_and_the_close_in_this_order(loop, line):
    stream, far = line
    lines = Lines(stream)
    far.write(b"one\ntw")
    until(loop, lambda: lines.seen)
    far.write(b"o\n")
    far.stop_writing()
    until(loop, lambda: "end" in lines.seen)
    stream.close()
    until(loop, lambda: stream.closed)
    assert lines.seen == [b"one", b"two", "end", "close"]


def test_a_protocol_that_asks_for_it_is_told_of_a_drained_queue(loop, line):
    stream, far = line
    lines = Lines(stream)
    stream.pause()
    stream.write(bytes(1 << 22), None, False)  # more than any buffer has
    assert stream.unsent
    stream.want_drain()
    for _ in range(5000):
        if "drain" in lines.seen:
            break
        far.read() if isinstance(far, Far) else far.peer.read(1 << 16)
        loop.run_once(0)
    assert lines.seen == ["drain"]


def test_a_protocol_holds_its_stream_and_reads_on(loop, line):
    stream, far = line
    lines = Lines(stream, held=1)
    far.write(b"one\n")
    until(loop, lambda: lines.seen)
    assert stream.paused
    far.write(b"two\n")
    streams.turn(loop, 3)
    assert lines.seen == [b"one"]
    lines.held = None
    stream.hold(False)
    until(loop, lambda: len(lines.seen) == 2)


def test_what_a_protocol_raises_is_reported_and_closes_the_stream(loop, line, reports):
    stream, far = line
    lines = Lines(stream)
    lines.on_bytes = lambda data: 1 // 0
    far.write(b"x")
    until(loop, lambda: stream.closed)
    reports.take(ZeroDivisionError)
    assert lines.seen == ["close"]


def test_slots_get_nothing_beside_a_protocol_but_the_close(loop, line):
    stream, far = line
    seen = watch(stream, "recv", "end", "close")
    lines = Lines(stream)
    far.write(b"one\n")
    far.stop_writing()
    until(loop, lambda: "end" in lines.seen)
    stream.close()
    until(loop, lambda: stream.closed)
    assert names(seen) == ["close"]


@pytest.mark.parametrize("path", [EXAMPLE, __file__], ids=["example", "test"])
def test_no_name_with_an_underscore_is_used_of_icey(path):
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    used = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used += [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert [name for name in used if name.startswith("_") and not name.startswith("__")] == []


def test_a_stream_over_what_has_a_socket_s_methods_is_enough_for_one_descriptor(loop):
    """One of a socket pair, behind an object that is no socket."""

    class Wrapped:
        def __init__(self, sock):
            self.sock = sock
            for name in ("recv", "recv_into", "send", "shutdown", "setblocking", "fileno", "close"):
                setattr(self, name, getattr(sock, name))

    ours, theirs = socket.socketpair()
    stream = icey.Stream(loop, Wrapped(ours))
    got = []
    stream.on_recv += lambda stream, view: got.append(bytes(view))
    theirs.sendall(b"hello")
    until(loop, lambda: got)
    stream.send([b"a", b"b"])
    assert theirs.recv(10) == b"ab"
    stream.close()
    until(loop, lambda: stream.closed)
    theirs.close()
