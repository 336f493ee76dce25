"""Stream, reading: when it starts and pauses, what the kernel may answer, and how much a turn reads."""
import pytest

import icey
from icey.base.buffer import READ_SIZE
from icey.tools.testing import AGAIN, END, INTERRUPTED, ScriptedSocket, again_storm, byte_at_a_time, chunked
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


def test_one_read_is_at_most_64_kib(loop):
    stream, sock = make(loop, bytes(READ_SIZE + 1), END)
    sizes = []
    stream.on_recv += lambda stream, view: sizes.append(len(view))
    loop.run()
    assert sizes == [READ_SIZE, 1]


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
