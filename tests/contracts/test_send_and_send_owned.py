"""Contract 4, send() borrows and send_owned() retains: what is queued without a copy, and how a change is found."""
import sys

import pytest

import icey
from icey.base.buffer import BLOCK
from icey.tools.testing import AGAIN, STALL, ScriptedSocket, virtual_loop
from tests.support import streams
from tests.support.streams import PYPY, names, turn, verbs, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop


def make(loop, *writes):
    sock = ScriptedSocket((), writes)
    return icey.Stream(loop, sock), sock


def queued_memory(stream):
    """The objects behind the queued segments."""
    return [memoryview(segment.data).obj for segment in stream._queue._segments]


def test_send_queues_a_view_no_copy(loop):
    stream, sock = make(loop, STALL)
    data = bytearray(b"hello")
    stream.send(data)
    assert queued_memory(stream)[0] is data


def test_send_borrows_the_rest_of_what_the_kernel_took(loop):
    stream, sock = make(loop, 2, STALL)
    data = bytearray(b"hello")
    stream.send(data)
    assert queued_memory(stream)[0] is data
    assert stream.queued == 3


@pytest.mark.skipif(PYPY, reason="PyPy lets an exported bytearray be resized")
def test_what_is_lent_to_send_cannot_be_resized_until_done(loop):
    stream, sock = make(loop, STALL)
    data = bytearray(b"hello")
    stream.send(data)
    with pytest.raises(BufferError):
        data.append(1)
    sock.unstall()
    turn(loop)
    data.append(1)


def test_after_done_the_buffer_is_the_callers_again(loop):
    stream, sock = make(loop, AGAIN)
    data = bytearray(b"one")
    stream.send(data, lambda: data.__setitem__(slice(None), b"TWO"))
    turn(loop, 3)
    assert (sock.sent, data) == (b"one", b"TWO")


def test_after_on_drain_the_buffer_is_the_callers_again(loop):
    stream, sock = make(loop, AGAIN, 3, AGAIN)
    stream.high_water, stream.low_water = 3, 0
    data = bytearray(b"one")

    def refill(stream):
        data[:] = b"TWO"
        if len(sock.sent) == 3:
            stream.send(data)

    stream.on_drain += refill
    assert stream.send(data) is False
    turn(loop, 5)
    assert sock.sent == b"oneTWO"


@pytest.mark.skipif(PYPY, reason="counts references")
@pytest.mark.parametrize("end", [lambda stream: stream.abort(), lambda stream: stream.sock.allow(ConnectionResetError)])
def test_if_the_stream_dies_on_close_frees_the_buffer(loop, end):
    stream, sock = make(loop, STALL)
    data = bytearray(b"hello")
    before = sys.getrefcount(data)
    seen = watch(stream, "close")
    stream.on_close += lambda stream: data.append(33)
    stream.send(data, lambda: seen.append(("done",)))
    end(stream)
    sock.unstall()
    loop.run()
    assert names(seen) == ["close"]
    assert (sys.getrefcount(data), data) == (before, b"hello!")


def test_send_owned_keeps_bytes_by_reference(loop):
    stream, sock = make(loop, STALL)
    data = bytes(100)
    stream.send_owned(data)
    assert queued_memory(stream)[0] is data


@pytest.mark.parametrize("wrap", [bytearray, lambda data: memoryview(bytearray(data)), lambda data: [bytearray(data)]])
def test_send_owned_copies_anything_mutable_once(loop, wrap):
    stream, sock = make(loop, STALL)
    data = wrap(b"hello")
    stream.send_owned(data)
    whole = data[0] if isinstance(data, list) else data
    whole[:] = b"XXXXX"
    sock.unstall()
    turn(loop)
    assert sock.sent == b"hello"


def test_send_owned_copies_nothing_that_the_kernel_takes_at_once(loop):
    stream, sock = make(loop)
    data = bytearray(b"hello")
    stream.send_owned(data)
    data.append(1)
    assert (sock.sent, stream._queue) == (b"hello", None)


# Debug mode: a changed buffer is found before it is sent

def debugged(reports, *writes):
    loop, _ = virtual_loop(True)
    loop.on_error += reports.note
    stream, sock = make(loop, *writes)
    stream.max_queue = None
    return loop, stream, sock


def test_debug_finds_a_buffer_changed_in_flight_and_shows_the_stack_of_the_send(reports):
    loop, stream, sock = debugged(reports, STALL)
    data = bytearray(b"hello")
    seen = watch(stream, "error", "close")

    def the_sender():
        stream.send(data, lambda: seen.append(("done",)))

    the_sender()
    data[0] = 0
    sock.unstall()
    loop.run()
    loop.close()
    assert reports[0][1] is stream
    text = str(reports.take(icey.BorrowError)[0])
    assert "%s:%d in the_sender" % (__file__, the_sender.__code__.co_firstlineno + 1) in text
    assert "send_owned" in text
    assert "Contract: send borrows." in text
    assert sock.sent == b""
    assert names(seen) == ["close"]


def test_debug_finds_a_change_in_the_part_that_already_left(reports):
    loop, stream, sock = debugged(reports, AGAIN, 2, STALL)
    data = bytearray(b"hello")
    stream.send(data)
    turn(loop, 3)
    assert sock.sent == b"he"
    data[0] = 0
    sock.unstall()
    loop.run()
    loop.close()
    reports.take(icey.BorrowError)


def test_debug_checks_block_by_block(reports):
    loop, stream, sock = debugged(reports, STALL)
    data = bytearray(3 * BLOCK + 5)
    stream.send(data)
    data[2 * BLOCK] = 1  # in the third block: the first two are sound, and go
    sock.unstall()
    loop.run()
    loop.close()
    reports.take(icey.BorrowError)
    assert len(sock.sent) == 2 * BLOCK


def test_debug_counts_a_long_send_done_once_its_last_block_is_out(reports):
    loop, stream, sock = debugged(reports, AGAIN, BLOCK, BLOCK, STALL)
    done = []
    data = bytearray(2 * BLOCK + 5)
    stream.send(data, lambda: done.append(len(sock.sent)))
    turn(loop, 4)
    assert (done, stream.queued) == ([], 5)
    sock.unstall()
    turn(loop, 3)
    assert done == [2 * BLOCK + 5]
    stream.close()
    loop.run()
    loop.close()


def test_debug_lets_through_what_is_unchanged(reports):
    loop, stream, sock = debugged(reports, 1, AGAIN, 2, 0, AGAIN)
    first, second = bytearray(b"hello "), bytearray(b"world")
    stream.send([first, second])
    turn(loop, 8)
    stream.close()
    loop.run()
    loop.close()
    assert sock.sent == b"hello world"


def test_debug_sees_a_change_undone_in_time_as_none(reports):
    loop, stream, sock = debugged(reports, STALL)
    data = bytearray(b"hello")
    stream.send(data)
    data[0] ^= 1
    data[0] ^= 1
    sock.unstall()
    stream.close()
    loop.run()
    loop.close()
    assert sock.sent == b"hello"


def test_debug_takes_no_checksum_of_bytes_and_owned_data(reports):
    loop, stream, sock = debugged(reports, STALL)
    data = bytearray(b"hello")
    stream.send_owned(data)
    stream.send(b"bytes")
    data[:] = b"XXXXX"
    assert [type(segment).__name__ for segment in stream._queue._segments] == ["_Segment", "_Segment"]
    sock.unstall()
    stream.close()
    loop.run()
    loop.close()
    assert sock.sent == b"hellobytes"


def test_release_sends_what_the_buffer_holds_by_then():
    loop, _ = virtual_loop(False)
    stream, sock = make(loop, STALL)
    data = bytearray(b"hello")
    stream.send(data)
    data[:] = b"HELLO"  # the violation that debug mode is for
    sock.unstall()
    stream.close()
    loop.run()
    loop.close()
    assert sock.sent == b"HELLO"


def test_release_takes_no_checksum():
    loop, _ = virtual_loop(False)
    stream, sock = make(loop, STALL)
    stream.send(bytearray(3 * BLOCK))
    assert len(stream._queue._segments) == 1
    assert verbs(sock, "send") == ["send"]
    stream.abort()
    loop.run()
    loop.close()
