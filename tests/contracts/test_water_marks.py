"""What a sender is told, on every transport: queued, high and low water, QueueFull, on_drain, done, and when it fails.

`queued` counts what waits for the kernel, encrypted or not yet; both marks and the cap are for all of it together.
"""
import pytest

import icey
from tests.support import streams, transports
from tests.support.streams import names, turn, watch
from tests.support.transports import hold, sip, until

debug, clock, reports = streams.debug, streams.clock, streams.reports
loop, transport = transports.loop, transports.transport

BIG = bytes(range(256)) * 4096  # a MiB


# done

@pytest.mark.parametrize("send", ["send", "send_owned"])
@pytest.mark.parametrize("size", [0, 1, 100, 20000, len(BIG)])
def test_done_comes_once_from_the_loop_never_inside_send(loop, transport, send, size):
    stream, far, _ = transport()
    done = []
    getattr(stream, send)(BIG[:size], lambda: done.append(stream.queued))
    assert done == []
    assert far.read(size) == BIG[:size]
    turn(loop, 2)
    assert done == [0]


@pytest.mark.parametrize("size", [1, 20000, 200000])
def test_done_comes_only_when_the_kernel_has_the_last_byte(loop, transport, size):
    stream, far, kernel = transport()
    done = []
    kernel.stall()
    stream.send(BIG[:size], lambda: done.append(kernel.taken))

    def all_but_a_byte_of_what_there_is():  # where it is encrypted in parts more follows
        assert done == []
        kernel.allow(stream.queued - 1)
        turn(loop, 2)
        sip(far)
        return stream.queued == 1

    until(loop, all_but_a_byte_of_what_there_is)
    turn(loop, 3)
    assert done == []
    kernel.allow(1)
    turn(loop, 3)
    assert done == [kernel.taken] and stream.queued == 0


def test_dones_come_in_the_order_of_the_sends(loop, transport):
    stream, far, kernel = transport()
    done = []
    stream.send(b"at once", lambda: done.append("at once"))
    kernel.stall()
    sends = [b"a", b"", bytearray(b"bc"), [b"d", bytearray(100000)], b"", b"e" * 70000, b"f"]
    for number, data in enumerate(sends):
        stream.send(data, lambda number=number: done.append(number))
    turn(loop, 2)
    assert done == ["at once"]
    kernel.unstall()
    far.read(7 + 4 + 100000 + 70000 + 1)
    turn(loop, 2)
    assert done == ["at once", *range(len(sends))]


@pytest.mark.parametrize("shutdown", [False, True])
def test_dones_come_before_on_close(loop, transport, shutdown):
    stream, far, kernel = transport()
    seen = watch(stream, "close")
    kernel.stall()
    stream.send(b"hello", lambda: seen.append(("done",)))
    if shutdown:
        stream.shutdown()
    stream.close()
    kernel.unstall()
    assert far.read_all() == b"hello"
    far.close()
    until(loop, lambda: stream.closed)
    assert names(seen) == ["done", "close"]


@pytest.mark.parametrize("held", [True, False], ids=["held", "on its way"])
def test_done_does_not_come_if_the_stream_dies_first(loop, transport, held):
    stream, _, kernel = transport()
    seen = watch(stream, "error", "close")
    hold(stream, kernel) if held else kernel.stall()
    stream.send(b"hello", lambda: seen.append(("done",)))
    kernel.fail(BrokenPipeError)
    until(loop, lambda: stream.closed)
    assert names(seen) == ["error", "close"]


def test_a_done_that_sends_more(loop, transport):
    stream, far, _ = transport()
    left = list(range(20))

    def more():
        if left:
            stream.send(b"%02d" % left.pop(0), more)

    more()
    assert far.read(40) == b"".join(b"%02d" % number for number in range(20))


# queued, and the marks

def test_queued_counts_down_as_the_kernel_takes_and_is_zero_when_all_is_out(loop, transport):
    stream, far, kernel = transport()
    assert stream.queued == 0
    kernel.stall()
    stream.send(b"hello")
    first = stream.queued
    assert 5 <= first <= 5 + 40  # a record's head and tag
    stream.send_owned(bytes(100))
    assert first + 100 <= stream.queued <= first + 140
    before = stream.queued
    for _ in range(3):
        kernel.allow(1)
        turn(loop, 2)
    assert stream.queued == before - 3
    kernel.unstall()
    assert far.read(105) == b"hello" + bytes(100)
    assert stream.queued == 0


def test_send_is_true_below_high_water_and_false_from_it_on(transport):
    stream, _, kernel = transport()
    stream.high_water = 1000
    kernel.stall()
    assert stream.send(bytes(900)) is True
    record = stream.queued - 900  # what a send costs besides
    assert stream.send(bytes(99 - 2 * record)) is True
    assert stream.queued == 999
    assert stream.send(b"x") is False


def test_what_goes_out_at_once_is_true_however_much_it_is(transport):
    transport.needs("room")
    stream, far, _ = transport()
    stream.high_water, stream.low_water = 1000, 0
    assert stream.send(bytes(20000)) is True
    assert far.read(20000) == bytes(20000)


@pytest.mark.parametrize("high, low, size", [
    (1000, 400, 2000), (1000, 0, 2000), (65536, 16384, 100000), (65536, 50000, 200000), (300000, 100000, 400000)])
def test_on_drain_comes_at_low_water_neither_before_nor_later(loop, transport, high, low, size):
    stream, far, kernel = transport()
    stream.high_water, stream.low_water = high, low
    seen = watch(stream, "drain")
    kernel.stall()
    assert stream.send(BIG[:size]) is False

    def down_to_a_byte_above():
        assert seen == [] and stream.queued > low
        kernel.allow(min(stream.queued - low - 1, 10000))
        turn(loop, 2)
        sip(far)
        return stream.queued == low + 1

    until(loop, down_to_a_byte_above)
    assert seen == []
    kernel.allow(1)
    turn(loop, 2)
    assert (seen, stream.queued) == ([("drain",)], low)
    kernel.unstall()
    assert far.read(size) == BIG[:size]
    turn(loop, 2)
    assert (seen, stream.queued) == ([("drain",)], 0)


def test_without_a_false_there_is_no_on_drain(loop, transport):
    stream, far, kernel = transport()
    seen = watch(stream, "drain")
    kernel.stall()
    assert stream.send(b"hello") is True
    kernel.unstall()
    assert far.read(5) == b"hello"
    turn(loop, 3)
    assert seen == []


def test_a_sender_that_heeds_it_never_queues_much_and_all_arrives(loop, transport):
    stream, far, _ = transport()
    stream.high_water, stream.low_water = 30000, 10000
    pieces = [BIG[at:at + 5000] for at in range(0, len(BIG), 5000)]
    most = []

    def pour(stream):
        while pieces:
            if not stream.send(pieces.pop(0)):
                break
            most.append(stream.queued)
        most.append(stream.queued)

    stream.on_drain += pour
    pour(stream)
    assert far.read(len(BIG)) == BIG
    assert max(most) < 30000 + 5000 + 200


@pytest.mark.parametrize("close_in_it", [False, True])
def test_one_large_send_is_taken_whole_and_told_when_it_is_out(loop, transport, close_in_it):
    stream, far, kernel = transport()
    stream.max_queue = 1000
    seen = []
    stream.on_drain += lambda stream: seen.append(stream.queued <= stream.low_water)
    if close_in_it:
        stream.on_drain += lambda stream: stream.close()
    kernel.stall()
    assert stream.send(BIG) is False
    kernel.unstall()
    assert far.read(len(BIG)) == BIG
    turn(loop, 2)
    assert seen == [True] and stream.closing is close_in_it


# QueueFull

@pytest.mark.parametrize("held", [True, False], ids=["held", "on its way"])
def test_queue_full_takes_nothing_and_the_stream_lives(loop, transport, held):
    stream, far, kernel = transport()
    stream.max_queue = 1000
    seen = watch(stream, "drain", "error", "close")
    hold(stream, kernel) if held else kernel.stall()
    stream.send(bytes(900))
    before, done = stream.queued, []
    for data in (bytes(101), [bytes(50), bytearray(51)], memoryview(bytes(101))):
        text = "^%d bytes queued, 101 more would pass max_queue 1000: wait for on_drain" % before
        with pytest.raises(icey.QueueFull, match=text):
            stream.send(data, lambda: done.append(1))
    assert stream.queued == before
    kernel.unstall()
    assert far.read(900 + held) == b"-" * held + bytes(900)
    turn(loop, 3)
    assert (names(seen), done) == (["drain"], [])
    stream.send(b"again")
    assert far.read(5) == b"again"


def test_up_to_the_cap_there_is_room(transport):
    stream, far, kernel = transport()
    stream.max_queue = 1000
    kernel.stall()
    stream.send(bytes(500))
    overhead = stream.queued - 500
    stream.send(bytes(500 - 2 * overhead))
    assert stream.queued <= 1000
    with pytest.raises(icey.QueueFull):
        stream.send(bytes(1001 - stream.queued))
    kernel.unstall()
    assert far.read(1000 - 2 * overhead) == bytes(1000 - 2 * overhead)


# failures

def test_between_an_error_and_on_close_sends_are_discarded(loop, transport):
    stream, _, kernel = transport()
    seen = watch(stream, "error", "close", "drain")
    answers = []
    stream.on_error += lambda stream, exc: answers.append(stream.send(b"in on_error"))
    kernel.fail(BrokenPipeError)
    answers.append(stream.send(b"meets it"))
    answers.append(stream.send(b"behind it", lambda: seen.append(("done",))))
    assert seen == []  # from the loop
    until(loop, lambda: stream.closed)
    assert (names(seen), answers) == (["error", "close"], [False, False, False])
    assert type(seen[0][1]) is BrokenPipeError


def test_a_failure_while_it_waits_is_told_once(loop, transport):
    stream, far, kernel = transport()
    stream.on_recv += lambda stream, view: None
    seen = watch(stream, "error", "close")
    kernel.stall()
    stream.send(b"hello")
    kernel.fail(ConnectionResetError)
    far.send(b"x")
    until(loop, lambda: stream.closed)
    assert names(seen) == ["error", "close"] and loop.handles == ()


# before it is connected

def test_what_is_sent_while_it_connects_goes_out_in_order_once_it_has(loop, transport):
    stream, sock = transport.connect()
    done = []
    seen = watch(stream, "connect")
    assert stream.send(bytearray(b"one "), lambda: done.append(1)) is True
    assert stream.send_owned([b"two ", b"three"], lambda: done.append(2)) is True
    assert stream.queued == 13 and done == []
    far = transport.peer(sock)
    assert far.read(13) == b"one two three"
    until(loop, lambda: len(done) == 2)
    assert (done, seen, stream.queued) == ([1, 2], [("connect",)], 0)


def test_the_marks_and_the_cap_hold_while_it_connects(loop, transport):
    stream, sock = transport.connect()
    stream.high_water, stream.low_water, stream.max_queue = 10, 5, 20
    seen = watch(stream, "drain")
    assert stream.send(b"123456789") is True
    assert stream.send(b"0") is False
    with pytest.raises(icey.QueueFull):
        stream.send(b"12345678901")
    assert seen == []
    far = transport.peer(sock)
    assert far.read(10) == b"1234567890"
    turn(loop, 3)
    assert seen == [("drain",)]
