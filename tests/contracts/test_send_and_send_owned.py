"""Contract 4, send() borrows and send_owned() retains: what is queued without a copy, and how a change is found.

On every transport (see tests/support/transports.py); `hold` has what is sent wait as it was given. On TLS what there is room
for is encrypted at once, and the memory is the caller's again when that is out: like everywhere, when `done` says so.
"""
import contextlib
import sys

import pytest

import icey
from icey.base.buffer import BLOCK
from icey.tools.testing import AGAIN, STALL, ScriptedSocket
from tests.support import streams, transports
from tests.support.streams import PYPY, names, turn, verbs, watch
from tests.support.transports import hold, only_debug, only_release, sip, until

debug, clock, reports = streams.debug, streams.clock, streams.reports
loop, transport = transports.loop, transports.transport


def queued_memory(stream):
    """The object behind the segment that was queued last."""
    return memoryview(stream.queue._segments[-1].data).obj


def test_send_queues_a_view_no_copy(transport):
    stream, _, kernel = transport()
    data = bytearray(b"hello")
    hold(stream, kernel)
    stream.send(data)
    assert queued_memory(stream) is data


def test_send_borrows_the_rest_of_what_went_out_at_once(transport):
    transport.needs("room")
    stream, _, kernel = transport()
    data = bytearray(200000)
    kernel.allow(50000)
    stream.send(data)
    assert kernel.taken == 50000 and queued_memory(stream) is data
    assert 150000 <= stream.queued < 152000  # those among them that are encrypted are a few more


@pytest.mark.skipif(PYPY, reason="PyPy lets an exported bytearray be resized")
def test_what_is_lent_to_send_cannot_be_resized_until_done(loop, transport):
    stream, _, kernel = transport()
    data, done = bytearray(b"hello"), []
    hold(stream, kernel)
    stream.send(data, lambda: done.append(1))
    with pytest.raises(BufferError):
        data.append(1)
    kernel.unstall()
    until(loop, lambda: done)
    data.append(1)


def test_after_done_the_buffer_is_the_callers_again(loop, transport):
    stream, far, kernel = transport()
    data = bytearray(b"one")
    kernel.stall()
    stream.send(data, lambda: data.__setitem__(slice(None), b"TWO"))
    turn(loop, 3)
    assert data == b"one"
    kernel.unstall()
    turn(loop, 3)
    assert (far.read(3), data) == (b"one", b"TWO")


def test_after_on_drain_the_buffer_is_the_callers_again(loop, transport):
    stream, far, kernel = transport()
    kernel.stall()
    stream.high_water, stream.low_water = 3, 0
    data = bytearray(b"one")
    drained = []

    def refill(stream):
        drained.append(1)
        data[:] = b"TWO"
        if len(drained) == 1:
            stream.send(data)

    stream.on_drain += refill
    assert stream.send(data) is False
    kernel.unstall()
    assert far.read(6) == b"oneTWO"


@pytest.mark.parametrize("parts", [1, 3])
def test_on_drain_gives_back_what_still_waits_too(loop, transport, parts):
    """At low water there may be 16 KiB in the queue: they are the stream's own by then."""
    stream, far, kernel = transport()
    kernel.stall()
    lent = [bytearray(b"a" * 80000) for _ in range(parts)]
    waiting = []

    def refill(stream):
        waiting.append(stream.queued)
        for data in lent:
            data[:] = b"b" * len(data)
            if not PYPY:
                data.clear()  # nothing exports it any more

    stream.on_drain += refill
    assert stream.send(lent if parts > 1 else lent[0]) is False

    def drained():
        kernel.allow(5000)
        turn(loop, 2)
        sip(far)
        return waiting

    until(loop, drained)
    assert 0 < waiting[0] <= 16384
    stream.send(b"end")
    kernel.unstall()
    assert far.read(80000 * parts + 3) == b"a" * 80000 * parts + b"end"


@only_debug
def test_what_was_changed_before_on_drain_is_found_behind_it(loop, reports, transport):
    stream, far, kernel = transport()
    hold(stream, kernel)
    stream.low_water = stream.high_water = 3
    data = bytearray(b"ab")
    stream.send(data)
    stream.send(b"cd")
    data[:] = b"AB"
    stream.tell_drain()
    kernel.unstall()
    until(loop, lambda: stream.closed)
    assert "was changed before the kernel" in str(reports.take(icey.BorrowError)[0])


@pytest.mark.skipif(PYPY, reason="counts references")
@pytest.mark.parametrize("end", ["abort", "reset"])
def test_if_the_stream_dies_on_close_frees_the_buffer(loop, transport, end):
    stream, _, kernel = transport()
    data = bytearray(b"hello")
    before = sys.getrefcount(data)
    seen = watch(stream, "close")
    stream.on_close += lambda stream: data.append(33)
    hold(stream, kernel)
    stream.send(data, lambda: seen.append(("done",)))
    stream.abort() if end == "abort" else kernel.fail(ConnectionResetError)
    loop.run()
    assert names(seen) == ["close"]
    assert (sys.getrefcount(data), data) == (before, b"hello!")


def test_send_owned_keeps_bytes_by_reference(transport):
    stream, _, kernel = transport()
    data = bytes(100)
    hold(stream, kernel)
    stream.send_owned(data)
    assert queued_memory(stream) is data


@pytest.mark.parametrize("wrap", [bytearray, lambda data: memoryview(bytearray(data)), lambda data: [bytearray(data)]],
                         ids=["bytearray", "memoryview", "list"])
def test_send_owned_copies_anything_mutable_once(transport, wrap):
    stream, far, kernel = transport()
    hold(stream, kernel)
    data = wrap(b"hello")
    stream.send_owned(data)
    whole = data[0] if isinstance(data, list) else data
    whole[:] = b"XXXXX"
    kernel.unstall()
    assert far.read(6) == b"-hello"


def test_send_owned_copies_nothing_that_goes_out_at_once(transport):
    stream, far, _ = transport()
    data = bytearray(b"hello")
    stream.send_owned(data)
    data.append(1)
    assert stream.queue is None
    assert far.read(5) == b"hello"


# Debug mode: a changed buffer is found before it is sent

@only_debug
def test_debug_finds_a_buffer_changed_in_flight_and_shows_the_stack_of_the_send(loop, reports, transport):
    stream, _, kernel = transport()
    data = bytearray(b"hello")
    seen = watch(stream, "error", "close")

    def the_sender():
        stream.send(data, lambda: seen.append(("done",)))

    hold(stream, kernel)
    the_sender()
    data[0] = 0
    kernel.unstall()
    loop.run()
    assert reports[0][1] is stream
    text = str(reports.take(icey.BorrowError)[0])
    assert "%s:%d in the_sender" % (__file__, the_sender.__code__.co_firstlineno + 1) in text
    assert "send_owned" in text
    assert "Contract: send borrows." in text
    assert names(seen) == ["close"]


@only_debug
def test_debug_finds_a_change_in_the_part_that_already_left(loop, reports, transport):
    stream, far, kernel = transport()
    data = bytearray(50000)
    hold(stream, kernel)
    stream.send(data)
    kernel.allow(17000)  # a record of TLS and more
    assert far.read(6) == b"-" + bytes(5)
    data[0] = 1
    kernel.unstall()
    with contextlib.suppress(OSError):  # it is cut
        far.read_all()  # a terminal is not writable again until that is taken
    loop.run()
    reports.take(icey.BorrowError)


@only_debug
def test_debug_lets_through_what_is_unchanged(loop, transport):
    stream, far, kernel = transport()
    first, second = bytearray(b"hello "), bytearray(b"world")
    hold(stream, kernel)
    stream.send([first, second])
    for size in (1, 2, 3, 20, 1):
        kernel.allow(size)
        turn(loop, 2)
    kernel.unstall()
    stream.close()
    assert far.read_all() == b"-hello world"


@only_debug
def test_debug_sees_a_change_undone_in_time_as_none(transport):
    stream, far, kernel = transport()
    hold(stream, kernel)
    data = bytearray(b"hello")
    stream.send(data)
    data[0] ^= 1
    data[0] ^= 1
    kernel.unstall()
    stream.close()
    assert far.read_all() == b"-hello"


@only_debug
def test_debug_takes_no_checksum_of_bytes_and_owned_data(transport):
    stream, far, kernel = transport()
    hold(stream, kernel)
    data = bytearray(b"hello")
    stream.send_owned(data)
    stream.send(b"bytes")
    data[:] = b"XXXXX"
    assert [type(segment).__name__ for segment in stream.queue._segments][-2:] == ["Segment", "Segment"]
    kernel.unstall()
    stream.close()
    assert far.read_all() == b"-hellobytes"


@only_release
def test_release_sends_what_the_buffer_holds_by_then(transport):
    stream, far, kernel = transport()
    hold(stream, kernel)
    data = bytearray(b"hello")
    stream.send(data)
    data[:] = b"HELLO"  # the violation that debug mode is for
    kernel.unstall()
    stream.close()
    assert far.read_all() == b"-HELLO"


# How much one call is given, and how much of it the kernel takes: a scripted socket, which is Stream's alone

def scripted(loop, *writes):
    sock = ScriptedSocket((), writes)
    stream = icey.Stream(loop, sock)
    stream.max_queue = None
    return stream, sock


@only_debug
def test_debug_checks_block_by_block(loop, reports):
    stream, sock = scripted(loop, STALL)
    data = bytearray(3 * BLOCK + 5)
    stream.send(data)
    data[2 * BLOCK] = 1  # in the third block: the first two are sound, and go
    sock.unstall()
    loop.run()
    reports.take(icey.BorrowError)
    assert len(sock.sent) == 2 * BLOCK


@only_debug
def test_debug_counts_a_long_send_done_once_its_last_block_is_out(loop):
    stream, sock = scripted(loop, AGAIN, BLOCK, BLOCK, STALL)
    done = []
    data = bytearray(2 * BLOCK + 5)
    stream.send(data, lambda: done.append(len(sock.sent)))
    turn(loop, 4)
    assert (done, stream.queued) == ([], 5)
    sock.unstall()
    turn(loop, 3)
    assert done == [2 * BLOCK + 5]


@only_release
def test_release_takes_no_checksum(loop):
    stream, sock = scripted(loop, STALL)
    stream.send(bytearray(3 * BLOCK))
    assert len(stream.queue._segments) == 1
    assert verbs(sock, "send") == ["send"]
