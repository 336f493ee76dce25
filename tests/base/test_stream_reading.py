"""Stream, reading: when it starts and pauses, what the kernel may answer, and how much a turn reads."""
import errno

import pytest

import icey
from icey.base.buffer import CALM, LARGE_READ_SIZE, READ_SIZE, RECEIVE_SIZE
from icey.base.streamprotocol import StreamProtocol
from icey.tools.testing import AGAIN, END, INTERRUPTED, ScriptedSocket, Stall, again_storm, byte_at_a_time, chunked
from tests.support import streams
from tests.support.streams import turn, verbs, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

READS = ("recv", "recv_into")


def make(loop, *reads):
    sock = ScriptedSocket(reads)
    return icey.Stream(loop, sock), sock


# Starts with the first on_recv slot; detaching the last pauses; resume() without a slot discards

def test_reading_starts_with_the_first_on_recv_slot(loop):
    stream, sock = make(loop, b"early")
    turn(loop, 3)
    assert verbs(sock, *READS) == []
    seen = watch(stream, "recv")
    turn(loop)
    assert seen == [("recv", b"early")]


def test_earlier_bytes_wait_in_the_kernel_none_is_lost(loop):
    stream, sock = make(loop, b"one", b"two")
    turn(loop, 3)
    sock.feed(b"three", END)
    seen = watch(stream, "recv", "close")
    loop.run()
    assert b"".join(event[1] for event in seen if event[0] == "recv") == b"onetwothree"


def test_detaching_the_last_slot_pauses(loop):
    stream, sock = make(loop, b"one", b"two")
    seen = []
    slots = [stream.on_recv.attach(lambda stream, view: seen.append(bytes(view))) for _ in range(2)]
    stream.on_recv -= slots[0]
    turn(loop)
    stream.on_recv -= slots[1]
    turn(loop, 3)
    assert seen == [b"one"]
    stream.on_recv += slots[0]
    turn(loop)
    assert seen == [b"one", b"two"]


def test_detaching_the_last_slot_within_it_pauses(loop):
    stream, sock = make(loop, b"one", b"two")
    seen = []

    def slot(stream, view):
        seen.append(bytes(view))
        stream.on_recv -= slot

    stream.on_recv += slot
    turn(loop, 3)
    assert seen == [b"one"]


def test_a_slot_attached_for_once_pauses_after_its_call(loop):
    stream, sock = make(loop, b"one", b"two", b"three")
    seen = []
    stream.on_recv.attach(lambda stream, view: seen.append(bytes(view)), once=True)
    turn(loop, 3)
    assert seen == [b"one"]
    stream.on_recv.attach(lambda stream, view: seen.append(bytes(view)), once=True)
    turn(loop, 3)
    assert seen == [b"one", b"two"]


def test_detach_all_pauses(loop):
    stream, sock = make(loop, b"one")
    watch(stream, "recv")
    stream.on_recv.detach_all()
    turn(loop, 3)
    assert verbs(sock, *READS) == []


def test_pause_leaves_bytes_in_the_kernel_and_resume_reads_on(loop):
    stream, sock = make(loop, b"one", b"two")
    seen = watch(stream, "recv")
    turn(loop)
    stream.pause()
    stream.pause()
    turn(loop, 3)
    assert seen == [("recv", b"one")]
    stream.resume()
    stream.resume()
    turn(loop, 3)
    assert seen == [("recv", b"one"), ("recv", b"two")]


def test_paused_in_its_slot_the_stream_reads_no_more(loop):
    stream, sock = make(loop, b"one", b"two")
    seen = watch(stream, "recv")
    stream.on_recv += lambda stream, view: stream.pause()
    turn(loop, 3)
    assert seen == [("recv", b"one")]


def test_pause_holds_for_slots_attached_later(loop):
    stream, sock = make(loop, b"one")
    stream.pause()
    seen = watch(stream, "recv")
    turn(loop, 3)
    assert seen == []
    stream.resume()
    turn(loop)
    assert seen == [("recv", b"one")]


def test_resume_without_a_slot_discards(loop):
    stream, sock = make(loop, b"one", AGAIN, b"two", INTERRUPTED)
    stream.resume()
    turn(loop, 5)
    sock.feed(b"three")
    seen = watch(stream, "recv")
    turn(loop)
    assert seen == [("recv", b"three")]


def test_a_stream_that_discards_meets_the_end_of_input(loop):
    stream, sock = make(loop, b"one", END)
    stream.resume()
    loop.run()
    assert stream.closed


def test_a_stream_that_discards_meets_a_transport_error(loop):
    stream, sock = make(loop, b"one", ConnectionResetError)
    seen = watch(stream, "error", "close")
    stream.resume()
    loop.run()
    assert [event[0] for event in seen] == ["error", "close"]


def test_after_discarding_detaching_the_last_slot_pauses_again(loop):
    stream, sock = make(loop)
    stream.resume()
    seen = watch(stream, "recv")
    stream.on_recv.detach_all()
    sock.feed(b"one")
    turn(loop, 3)
    assert (seen, verbs(sock, *READS)) == ([], [])


@pytest.mark.parametrize("stop", [lambda stream: stream.pause(), lambda stream: None])
def test_a_stream_that_does_not_read_does_not_see_the_end_of_input(loop, stop):
    stream, sock = make(loop, END)
    seen = watch(stream, "end", "close")
    stop(stream)
    turn(loop, 5)
    assert seen == []
    assert not stream.closing


def test_every_slot_gets_the_same_bytes_by_priority(loop):
    stream, sock = make(loop, b"one")
    seen = []
    stream.on_recv.attach(lambda stream, view: seen.append(("low", bytes(view))))
    stream.on_recv.attach(lambda stream, view: seen.append(("high", bytes(view))), priority=1)
    turn(loop)
    assert seen == [("high", b"one"), ("low", b"one")]


def test_what_arrives_is_a_read_only_memoryview_of_bytes(loop):
    stream, sock = make(loop, b"one")
    kinds = []
    stream.on_recv += lambda stream, view: kinds.append((type(view), view.readonly, view.format, view.ndim, len(view)))
    turn(loop)
    assert kinds == [(memoryview, True, "B", 1, 3)]


# What the kernel may answer

def test_a_readable_event_reads_once(loop):
    stream, sock = make(loop, b"one", b"two")
    watch(stream, "recv")
    turn(loop)
    assert verbs(sock, *READS) == ["recv_into"]


def lengths(stream):
    """A list that gets the length of each view."""
    sizes = []
    stream.on_recv += lambda stream, view: sizes.append(len(view))
    return sizes


def test_one_read_is_at_most_64_kib_and_256_once_one_was_filled(loop):
    data = bytes(range(256)) * 2048
    stream, sock = make(loop, data, data[:READ_SIZE - 1], END)
    got = bytearray()
    sizes = lengths(stream)
    stream.on_recv += lambda stream, view: got.extend(view)
    loop.run()
    assert sizes == [READ_SIZE, LARGE_READ_SIZE, len(data) - READ_SIZE - LARGE_READ_SIZE, READ_SIZE - 1]
    assert got == data + data[:READ_SIZE - 1]


def test_a_read_that_is_not_filled_grows_nothing(loop):
    stream, sock = make(loop, *[bytes(READ_SIZE - 1)] * 5, bytes(READ_SIZE), END)
    lengths(stream)
    turn(loop, 5)
    assert not loop.read_buffer.large
    turn(loop)
    assert loop.read_buffer.large


def asked(sock):
    """The sizes that the reads asked for."""
    return [call[1] for call in sock.calls if call[0] == "recv_into"]


def test_the_buffer_is_small_again_once_reads_are(loop):
    stream, sock = make(loop, bytes(READ_SIZE), *[b"x"] * CALM)
    lengths(stream)
    turn(loop, CALM)
    assert loop.read_buffer.large
    turn(loop)
    assert not loop.read_buffer.large
    sock.feed(b"y")
    turn(loop)
    assert asked(sock) == [READ_SIZE] + [LARGE_READ_SIZE] * CALM + [READ_SIZE]


def test_it_stays_large_while_a_stream_among_others_fills_it(loop):
    quick, quick_sock = make(loop)
    slow, slow_sock = make(loop)
    lengths(quick), lengths(slow)
    for _ in range(3):
        quick_sock.feed(bytes(READ_SIZE))
        slow_sock.feed(*[b"x"] * (CALM - 1))
        turn(loop, CALM)
        assert loop.read_buffer.large
    assert set(asked(slow_sock)[1:]) == {LARGE_READ_SIZE}, "the buffer is the loop's"


def test_the_buffer_is_small_again_once_the_stream_that_filled_it_is_closed(loop):
    quick, quick_sock = make(loop, bytes(READ_SIZE))
    other, other_sock = make(loop, b"x")
    lengths(quick), lengths(other)
    turn(loop, 2)
    other.close()
    turn(loop, 2)
    assert other.closed and loop.read_buffer.large
    quick.abort()
    turn(loop, 2)
    assert quick.closed and not loop.read_buffer.large and len(loop.read_buffer.store) < LARGE_READ_SIZE, "without another read"


def test_what_a_slot_sends_on_of_a_large_view_is_its_own(loop):
    data = bytes(range(256)) * 2048
    stream, sock = make(loop, data, b"z" * READ_SIZE)
    there = ScriptedSocket((), [Stall()])
    other = icey.Stream(loop, there)
    other.max_queue = None
    stream.on_recv += lambda stream, view: other.send_owned(view)
    turn(loop, 4)
    assert other.queued == len(data) + READ_SIZE
    there.unstall()
    turn(loop, 3)
    assert there.sent == data + b"z" * READ_SIZE
    other.abort()


def test_a_protocol_gets_64_KiB_and_a_head_in_one_read(loop):
    class Sizes(StreamProtocol):
        def __init__(self):
            self.sizes = []

        def on_bytes(self, data):
            self.sizes.append(len(data))

    stream, sock = make(loop, bytes(READ_SIZE + 4096), bytes(RECEIVE_SIZE + 1))
    protocol = Sizes()
    stream.use_protocol(protocol)
    turn(loop, 3)
    assert protocol.sizes == [READ_SIZE + 4096, RECEIVE_SIZE, 1]
    stream.abort()


@pytest.mark.parametrize("reads", [
    byte_at_a_time(b"some bytes"),
    again_storm(b"some bytes", 5),
    chunked(b"some bytes", [1, 3]),
    [INTERRUPTED, b"some", INTERRUPTED, INTERRUPTED, b" bytes"],
], ids=["byte at a time", "EAGAIN storm", "pieces", "EINTR"])
def test_bytes_arrive_whole_and_in_order(loop, reads):
    stream, sock = make(loop, *reads, END)
    seen = watch(stream, "recv", "close")
    loop.run()
    assert b"".join(event[1] for event in seen[:-1]) == b"some bytes"
    assert seen[-1] == ("close",)


def test_a_false_alarm_is_no_event(loop):
    stream, sock = make(loop, AGAIN, INTERRUPTED, AGAIN)
    seen = watch(stream, "recv", "end", "error", "close")
    turn(loop, 5)
    assert seen == []


def test_a_stream_closed_by_another_in_the_same_turn_hears_nothing(loop):
    streams_ = [make(loop, b"x")[0] for _ in range(2)]
    seen = []

    def slot(stream, view):
        seen.append(stream)
        for other in streams_:
            if other is not stream:
                other.close()

    for stream in streams_:
        stream.on_recv += slot
    turn(loop)
    assert len(seen) == 1


def test_a_stream_paused_by_another_in_the_same_turn_hears_nothing(loop):
    streams_ = [make(loop, b"x")[0] for _ in range(2)]
    seen = []

    def slot(stream, view):
        seen.append(stream)
        for other in streams_:
            if other is not stream:
                other.pause()

    for stream in streams_:
        stream.on_recv += slot
    turn(loop, 3)
    assert len(seen) == 1


def test_reading_and_flushing_go_on_side_by_side(loop):
    sock = ScriptedSocket([b"a", b"b", b"c", END], [0, 1, AGAIN, 1])
    stream = icey.Stream(loop, sock)
    seen = watch(stream, "recv", "close")
    stream.send(b"xyz")
    loop.run()
    assert [event[-1] for event in seen[:-1]] == [b"a", b"b", b"c"]
    assert sock.sent == b"xyz"


def test_where_the_poller_has_no_place_for_it_any_more_it_fails_and_tells(loop, reports, monkeypatch):
    """While it was paused, others have taken the last of select()'s: what has come is told, then the error."""
    def register(fd, events, fn):
        raise OSError(errno.EMFILE, "select() takes no more")

    stream, sock = make(loop, b"one", b"two")
    seen = watch(stream, "recv", "error", "close")
    turn(loop)
    stream.pause()
    monkeypatch.setattr(loop.poller, "register", register)
    stream.resume()
    assert seen == [("recv", b"one")]
    turn(loop, 2)
    assert [event[0] for event in seen] == ["recv", "recv", "error", "close"]
    assert (seen[1][1], seen[2][1].errno) == (b"two", errno.EMFILE)
    assert reports == []
