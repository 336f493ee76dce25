"""Stream, sending: what send returns, the queue and its marks, partial and zero writes, EAGAIN, EINTR, done."""
import array

import pytest

import icey
from icey.base.buffer import JOIN_BELOW, MOST_SEGMENTS, TURN_BYTES
from icey.tools.testing import AGAIN, END, INTERRUPTED, STALL, ScriptedSocket
from tests.support import streams
from tests.support.streams import names, turn, verbs, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

SENDS = ("send", "sendmsg")


def make(loop, *writes, **options):
    sock = ScriptedSocket((), writes, **options)
    return icey.Stream(loop, sock), sock


def narrow(loop, *writes, high=8, low=4, most=16):
    stream, sock = make(loop, *writes)
    stream.high_water, stream.low_water, stream.max_queue = high, low, most
    return stream, sock


# True: below high water. False: queued, wait for on_drain. QueueFull: nothing is taken

def test_send_tries_the_kernel_at_once(loop):
    stream, sock = make(loop)
    assert stream.send(b"hello") is True
    assert (sock.sent, stream.queued) == (b"hello", 0)


def test_send_returns_true_below_high_water(loop):
    stream, sock = narrow(loop, AGAIN)
    assert stream.send(b"1234567") is True
    assert stream.queued == 7


def test_send_returns_false_from_high_water_on(loop):
    stream, sock = narrow(loop, AGAIN)
    assert stream.send(b"1234567") is True
    assert stream.send(b"8") is False
    assert stream.send(b"9") is False
    assert stream.queued == 9


def test_on_drain_comes_at_low_water_after_false(loop):
    stream, sock = narrow(loop, AGAIN, 3, 2, 4)
    drained = []
    stream.on_drain += lambda stream: drained.append(stream.queued)
    assert stream.send(b"123456789") is False
    turn(loop)
    assert (stream.queued, drained) == (6, [])
    turn(loop)
    assert (stream.queued, drained) == (4, [4])
    turn(loop, 3)
    assert drained == [4]


def test_on_drain_comes_only_after_false(loop):
    stream, sock = narrow(loop, AGAIN, 3)
    seen = watch(stream, "drain")
    assert stream.send(b"1234567") is True
    turn(loop, 4)
    assert (seen, stream.queued) == ([], 0)


def test_on_drain_comes_when_the_queue_empties_at_once(loop):
    stream, sock = narrow(loop, AGAIN)
    seen = watch(stream, "drain")
    assert stream.send(b"123456789") is False
    turn(loop, 3)
    assert names(seen) == ["drain"]


def test_a_slot_of_on_drain_may_send(loop):
    stream, sock = narrow(loop, AGAIN, 9, AGAIN)
    left = [b"abcdefghi", b"end"]
    results = []
    stream.on_drain += lambda stream: results.append(stream.send(left.pop(0)))
    assert stream.send(b"123456789") is False
    turn(loop, 6)
    assert results == [False, True]
    assert sock.sent == b"123456789abcdefghiend"


def test_queue_full_takes_nothing_and_the_stream_lives(loop):
    stream, sock = narrow(loop, AGAIN)
    done = []
    assert stream.send(b"1234567890") is False
    with pytest.raises(icey.QueueFull, match="max_queue 16"):
        stream.send([b"123456", b"7"], lambda: done.append(1))
    assert stream.queued == 10
    assert stream.send(b"123456") is False
    turn(loop, 3)
    assert (sock.sent, done, stream.closing) == (b"1234567890123456", [], False)


def test_on_drain_comes_after_queue_full_too(loop):
    stream, sock = narrow(loop, AGAIN, high=100, low=1)
    seen = watch(stream, "drain")
    assert stream.send(b"1234567890") is True
    with pytest.raises(icey.QueueFull):
        stream.send(b"1234567")
    turn(loop, 3)
    assert names(seen) == ["drain"]


def test_an_empty_queue_takes_any_one_send_whole(loop):
    stream, sock = narrow(loop, AGAIN)
    assert stream.send(bytes(1000)) is False
    assert stream.queued == 1000
    turn(loop, 3)
    assert len(sock.sent) == 1000


def test_what_the_kernel_took_of_a_send_does_not_count(loop):
    stream, sock = narrow(loop, 990)
    assert stream.send(bytes(1000)) is False
    assert stream.queued == 10


def test_max_queue_none_is_no_cap(loop):
    stream, sock = narrow(loop, AGAIN, most=None)
    stream.send(bytes(1000))
    assert stream.send(bytes(1 << 20)) is False


# bytes-like, or a list of them

@pytest.mark.parametrize("data", [
    b"hello", bytearray(b"hello"), memoryview(b"hello"), memoryview(b"xhellox")[1:-1], array.array("B", b"hello"),
    [b"hel", bytearray(b"lo")], (b"h", b"", memoryview(b"ello"))], ids=lambda data: type(data).__name__)
@pytest.mark.parametrize("writes", [[], [AGAIN], [2, AGAIN, 1]], ids=["at once", "queued", "in pieces"])
@pytest.mark.parametrize("verb", ["send", "send_owned"])
def test_data_is_bytes_like_or_a_list_of_them(loop, data, writes, verb):
    stream, sock = make(loop, *writes)
    assert getattr(stream, verb)(data) is True
    turn(loop, 5)
    assert sock.sent == b"hello"


def test_data_of_wider_items_is_sent_as_its_bytes(loop):
    words = array.array("H", [1, 2, 3])
    stream, sock = make(loop, 1, AGAIN, 2)
    stream.send(words)
    turn(loop, 4)
    assert sock.sent == words.tobytes()


def test_of_wider_items_the_kernel_takes_bytes_not_items(loop):
    stream, sock = make(loop, 4)  # as many bytes as there are items
    data = array.array("I", [1, 2, 3, 4])
    assert stream.send(memoryview(data)) is True
    assert stream.queued == 12
    turn(loop)
    assert sock.sent == data.tobytes()


def test_data_of_more_dimensions_is_sent_as_its_bytes(loop):
    stream, sock = make(loop)
    stream.send(memoryview(b"abcdef").cast("B", (2, 3)))
    assert sock.sent == b"abcdef"


@pytest.mark.parametrize("verb", ["send", "send_owned"])
@pytest.mark.parametrize("data", [memoryview(b"abcdef")[::2], [b"ab", memoryview(b"abcdef")[::-1]]])
def test_non_contiguous_data_is_value_error_and_nothing_is_taken(loop, verb, data):
    stream, sock = make(loop)
    with pytest.raises(ValueError, match="contiguous"):
        getattr(stream, verb)(data)
    assert sock.sent == b""


@pytest.mark.parametrize("data", ["text", 5, None, [b"a", "text"]])
def test_anything_else_is_type_error_and_nothing_is_taken(loop, data):
    stream, sock = make(loop)
    with pytest.raises(TypeError):
        stream.send(data)
    assert sock.sent == b""


@pytest.mark.parametrize("data", [b"", bytearray(), [], [b"", bytearray()], array.array("I")], ids=repr)
@pytest.mark.parametrize("queued", [False, True])
def test_an_empty_send_is_done_when_those_before_it_are(loop, data, queued):
    stream, sock = make(loop, *([AGAIN, AGAIN] if queued else []))
    done = []
    stream.send(b"x", lambda: done.append("x"))
    stream.send(data, lambda: done.append("empty"))
    stream.send(b"y", lambda: done.append("y"))
    assert done == []
    turn(loop, 5)
    assert done == ["x", "empty", "y"]
    assert (sock.sent, stream.queued) == (b"xy", 0)


# partial and zero writes, EAGAIN, EINTR

@pytest.mark.parametrize("writes", [
    [1, 1, 1, 1], [0, 0, 0, 5], [AGAIN] * 20, [INTERRUPTED] * 5, [1, AGAIN, 0, INTERRUPTED, 2, AGAIN, AGAIN, 0, 1],
], ids=["partial", "zero", "EAGAIN storm", "EINTR", "all of it"])
@pytest.mark.parametrize("verb", ["send", "send_owned"])
def test_bytes_leave_whole_and_in_order(loop, writes, verb):
    stream, sock = make(loop, *writes)
    done = []
    for word in (b"some", b" ", b"bytes"):
        getattr(stream, verb)(word, lambda word=word: done.append(word))
    turn(loop, 40)
    assert sock.sent == b"some bytes"
    assert done == [b"some", b" ", b"bytes"]


def test_writability_is_asked_for_only_while_something_is_queued(loop):
    stream, sock = make(loop, AGAIN)
    stream.send(b"a")
    turn(loop)
    count = len(sock.calls)
    turn(loop, 5)
    assert (len(sock.calls), sock.sent) == (count, b"a")


def test_a_stalled_kernel_is_not_asked_again(loop):
    stream, sock = make(loop, STALL)
    stream.send(b"a")
    count = len(sock.calls)
    turn(loop, 5)
    assert len(sock.calls) == count
    sock.unstall()
    turn(loop)
    assert sock.sent == b"a"


def test_small_parts_are_joined_into_one_send(loop):
    stream, sock = make(loop)
    stream.send([b"head", b"body"])
    assert verbs(sock, *SENDS) == ["send"]
    assert sock.sent == b"headbody"


def test_large_parts_go_by_sendmsg_uncopied(loop):
    stream, sock = make(loop)
    stream.send([b"head", bytes(JOIN_BELOW)])
    assert sock.calls[-1] == ("sendmsg", [4, JOIN_BELOW])


def test_sendmsg_gets_at_most_64_segments(loop):
    stream, sock = make(loop)
    parts = [bytes([i]) * 1000 for i in range(100)]
    stream.send(parts)
    turn(loop, 3)
    assert sock.sent == b"".join(parts)
    assert max(len(call[1]) for call in sock.calls if call[0] == "sendmsg") == MOST_SEGMENTS == 64


def test_queued_segments_are_vectored_in_release():
    loop, _ = icey.tools.testing.virtual_loop(False)
    stream, sock = make(loop, AGAIN)
    for _ in range(100):
        stream.send(bytes(1024))
    turn(loop)
    streams.finish(loop)
    sends = [call for call in sock.calls if call[0].startswith("send")]
    assert sends[-3:] == [("send", 1024), ("sendmsg", [1024] * 64), ("sendmsg", [1024] * 36)]


def test_where_sendmsg_is_missing_parts_go_one_by_one(loop):
    stream, sock = make(loop, sendmsg=False)
    parts = [bytes([i]) * JOIN_BELOW for i in range(4)]
    stream.send(parts)
    turn(loop, 6)
    assert sock.sent == b"".join(parts)
    assert verbs(sock, *SENDS) == ["send"] * 4


def test_one_stream_gets_a_share_of_a_turn(loop):
    stream, sock = make(loop, AGAIN)
    total = 5 * TURN_BYTES
    for _ in range(total // 32768):
        stream.send(bytes(32768))
    turn(loop)
    first = len(sock.sent)
    assert TURN_BYTES <= first < total
    turn(loop, 5)
    assert len(sock.sent) == total


# done() comes from the loop once the kernel has it all

@pytest.mark.parametrize("verb", ["send", "send_owned"])
def test_done_is_never_called_inside_send(loop, verb):
    stream, sock = make(loop)
    done = []
    getattr(stream, verb)(b"a", lambda: done.append(1))
    assert (sock.sent, done) == (b"a", [])
    turn(loop)
    assert done == [1]


def test_done_comes_once_the_kernel_has_all_of_it(loop):
    stream, sock = make(loop, 1, STALL)
    done = []
    stream.send([b"ab", b"cd"], lambda: done.append(bytes(sock.sent)))
    turn(loop, 3)
    assert done == []
    sock.allow(2, 1)
    sock.unstall()
    turn(loop, 4)
    assert done == [b"abcd"]


def test_dones_come_in_the_order_of_the_sends(loop):
    stream, sock = make(loop, 1, AGAIN, 2, AGAIN, 3, 0)
    done = []
    for number in range(8):
        stream.send(b"%d" % number, lambda number=number: done.append(number))
    turn(loop, 12)
    assert done == list(range(8))


def test_done_of_what_the_kernel_had_comes_before_on_close(loop):
    stream, sock = make(loop)
    seen = watch(stream, "close")
    stream.send(b"a", lambda: seen.append(("done",)))
    stream.abort()
    loop.run()
    assert names(seen) == ["done", "close"]


def test_done_does_not_come_if_the_stream_dies(loop):
    stream, sock = make(loop, 1, STALL)
    seen = watch(stream, "close")
    stream.send(b"ab", lambda: seen.append(("done",)))
    stream.abort()
    loop.run()
    assert names(seen) == ["close"]


def test_done_may_send_again(loop):
    stream, sock = make(loop, 1, AGAIN)
    stream.send(b"ab", lambda: stream.send(b"cd", lambda: stream.close()))
    loop.run()
    assert sock.sent == b"abcd"


def test_a_send_in_on_recv_is_answered_at_once(loop):
    sock = ScriptedSocket([b"ask", END])
    stream = icey.Stream(loop, sock)
    stream.on_recv += lambda stream, view: stream.send_owned([b"re: ", view])
    loop.run()
    assert sock.sent == b"re: ask"


def test_an_empty_send_behind_others_does_not_grow_the_queue(loop):
    stream, sock = make(loop, STALL)
    stream.send(b"waits")
    for _ in range(1000):
        assert stream.send(b"") and stream.send_owned([])
    assert len(stream.queue._segments) == 1
    done = []
    stream.send(b"", lambda: done.append(True))  # who wants to be told has its place
    sock.unstall()
    turn(loop, 3)
    assert sock.sent == b"waits" and done == [True]


def test_ten_bytes_a_send_cost_about_ten_bytes(loop):
    stream, sock = make(loop, STALL)
    for _ in range(10000):
        stream.send_owned(b"ten bytes.")
    assert stream.queued == 100000 and len(stream.queue._segments) < 100
    sock.unstall()
    turn(loop, 5)
    assert sock.sent == b"ten bytes." * 10000
