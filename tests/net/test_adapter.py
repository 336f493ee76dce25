"""Adapter: what stands between a stream and its user. That its views are lent: contracts/test_borrowed_receive.py."""
import pytest

import icey
from icey.tools.testing import AGAIN, END, STALL, ScriptedSocket
from tests.support import streams
from tests.support.streams import turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop


class Notes(icey.Adapter):
    """Notes every event."""

    def __init__(self, raising=()):
        self.seen = []
        self.raising = raising

    def note(self, *event):
        self.seen.append(event)
        if event[0] in self.raising:
            raise ValueError(event[0])

    def on_attach(self):
        self.note("attach", self.stream is not None)

    def on_data(self, view):
        self.note("data", bytes(view))

    def on_end(self):
        self.note("end")
        super().on_end()

    def on_drain(self):
        self.note("drain")

    def on_error(self, exc):
        self.note("error", type(exc))

    def on_close(self):
        self.note("close")


def make(loop, reads=(), writes=()):
    sock = ScriptedSocket(reads, writes)
    return icey.Stream(loop, sock), sock


def test_an_adapter_gets_every_event_of_its_stream(loop):
    stream, sock = make(loop, [b"one", b"two"], [STALL])
    stream.high_water = stream.low_water = 1
    adapter = Notes()
    assert adapter.use(stream) is adapter
    adapter.send(b"x")
    turn(loop, 3)
    sock.unstall()
    turn(loop)
    sock.feed(END)
    loop.run()
    assert adapter.seen == [("attach", True), ("data", b"one"), ("data", b"two"), ("drain",), ("end",), ("close",)]


def test_an_adapter_gets_the_transport_error_then_on_close(loop):
    stream, sock = make(loop, [ConnectionResetError])
    adapter = Notes().use(stream)
    loop.run()
    assert adapter.seen[1:] == [("error", ConnectionResetError), ("close",)]


def test_an_adapter_takes_all_that_its_stream_receives(loop):
    stream, sock = make(loop, [b"one", END])
    seen = watch(stream, "recv", "end", "close")
    adapter = Notes().use(stream)
    loop.run()
    assert ("data", b"one") in adapter.seen
    assert seen == [("close",)]


def test_an_adapter_that_overrides_nothing_discards_and_closes_at_the_end(loop):
    stream, sock = make(loop, [b"one", END], [STALL])
    stream.high_water = stream.low_water = 1
    icey.Adapter().use(stream)
    stream.send(b"x")
    turn(loop, 2)
    sock.unstall()
    loop.run()
    assert stream.closed
    stream, sock = make(loop, [ConnectionResetError])
    icey.Adapter().use(stream)
    loop.run()
    assert stream.closed


def test_send_borrows_and_send_owned_retains(loop):
    stream, sock = make(loop, [], [STALL])
    adapter = icey.Adapter().use(stream)
    done = []
    borrowed, owned = bytearray(b"borrowed "), bytearray(b"owned")
    assert adapter.send(borrowed, lambda: done.append("borrowed")) is True
    assert adapter.send_owned(owned, lambda: done.append("owned")) is True
    assert memoryview(stream.queue._segments[0].data).obj is borrowed
    owned[:] = b"XXXXX"
    sock.unstall()
    turn(loop, 2)
    assert (sock.sent, done) == (b"borrowed owned", ["borrowed", "owned"])


def test_close_drains(loop):
    stream, sock = make(loop, [], [AGAIN, 1, AGAIN])
    adapter = Notes().use(stream)
    adapter.send(b"hello")
    adapter.close()
    loop.run()
    assert (sock.sent, adapter.seen[-1]) == (b"hello", ("close",))


def test_an_adapter_not_in_use_cannot_send(loop):
    adapter = icey.Adapter()
    for send in (adapter.send, adapter.send_owned):
        with pytest.raises(icey.StateError, match=r"adapter.use\(stream\) first"):
            send(b"x")
    adapter.close()
    adapter.on_end()


def test_an_adapter_is_not_used_on_a_stream_that_closes(loop):
    stream, sock = make(loop)
    stream.close()
    with pytest.raises(icey.StateError):
        icey.Adapter().use(stream)


def test_an_adapter_is_replaceable_on_a_live_connection(loop):
    stream, sock = make(loop, [b"one"])
    first, second = Notes().use(stream), Notes()
    turn(loop)
    second.use(stream)
    sock.feed(b"two", END)
    loop.run()
    assert first.seen == [("attach", True), ("data", b"one")]
    assert second.seen == [("attach", True), ("data", b"two"), ("end",), ("close",)]


def test_an_adapter_is_replaceable_from_within(loop):
    stream, sock = make(loop, [b"upgrade", b"two", END])
    second = Notes()

    class First(icey.Adapter):
        def on_data(self, view):
            second.use(self.stream)

    First().use(stream)
    loop.run()
    assert second.seen == [("attach", True), ("data", b"two"), ("end",), ("close",)]


@pytest.mark.parametrize("event, reads", [("data", [b"x", b"y"]), ("end", [END]), ("close", [ConnectionResetError])])
def test_an_exception_in_an_adapter_is_reported_and_closes_the_stream(loop, reports, event, reads):
    stream, sock = make(loop, reads)
    adapter = Notes([event])
    adapter.use(stream)
    loop.run()
    assert reports[0][1] is stream
    reports.take(ValueError)
    assert (sock.closed, adapter.seen[-1]) == (True, ("close",))
    assert len([seen for seen in adapter.seen if seen[0] == event]) == 1


def test_pause_and_resume_hold_for_an_adapter(loop):
    stream, sock = make(loop, [b"one", b"two"])
    adapter = Notes().use(stream)
    turn(loop)
    stream.pause()
    turn(loop, 3)
    assert adapter.seen[1:] == [("data", b"one")]
    stream.resume()
    turn(loop)
    assert adapter.seen[1:] == [("data", b"one"), ("data", b"two")]
