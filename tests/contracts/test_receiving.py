"""What a receiver is told, on every transport: pieces in order, pause and resume, slots that come and go, and the end.

Nothing is read that nobody asked for: it waits in the kernel, and then at the peer, whose sends block.
"""
import pytest

import icey
from icey.base.buffer import LARGE_READ_SIZE, READ_SIZE
from tests.support import streams, transports
from tests.support.streams import names, turn, watch
from tests.support.transports import flood, until

debug, clock, reports = streams.debug, streams.clock, streams.reports
loop, transport = transports.loop, transports.transport

BIG = bytes(range(256)) * 4096  # a MiB
SOME = BIG[:100000]  # a kernel takes it at once, a stream reads it in two
MOST = 4 << 20  # bytes that two kernels take


def received(stream):
    """A bytearray that gets what `stream` receives."""
    got = bytearray()
    stream.on_recv += lambda stream, view: got.extend(view)
    return got


@pytest.mark.parametrize("size", [1, 100, READ_SIZE, READ_SIZE + 1, len(BIG)])
def test_all_arrives_in_order_in_pieces_of_bounded_size(loop, transport, size):
    stream, far, _ = transport()
    got, sizes = bytearray(), []
    stream.on_recv += lambda stream, view: got.extend(view) or sizes.append(len(view))
    far.send(BIG[:size])
    until(loop, lambda: len(got) >= size)
    turn(loop, 2)
    assert got == BIG[:size] and 0 not in sizes
    assert sizes[0] <= READ_SIZE and max(sizes) <= LARGE_READ_SIZE  # more than 64 KiB once a read has been filled


def test_both_ways_at_once(loop, transport):
    stream, far, _ = transport()
    stream.on_recv += lambda stream, view: stream.send_owned(view)
    stream.max_queue = None
    far.send(BIG)
    assert far.read(len(BIG)) == BIG


# nobody asks

HOLDS = {
    "no slot": lambda stream: None,
    "paused": lambda stream: stream.pause(),
    "paused, with a slot": lambda stream: (received(stream), stream.pause()),
    "paused, with an adapter": lambda stream: (icey.Adapter().use(stream), stream.pause()),
    "a slot come and gone": lambda stream: (stream.on_recv.attach(print), stream.on_recv.detach(print)),
    "a slot come and gone while it discarded": lambda stream: (
        stream.resume(), stream.on_recv.attach(print), stream.on_recv.detach(print)),
}


@pytest.mark.parametrize("how", HOLDS.values(), ids=HOLDS)
def test_while_nobody_asks_the_kernels_fill_and_the_peer_s_sends_block(loop, transport, how):
    stream, far, kernel = transport()
    how(stream)
    turn(loop, 2)
    before = kernel.given
    sent, rest = flood(far)
    turn(loop, 20)
    assert kernel.given == before and 0 < len(sent) < MOST
    stream.use_protocol(None)  # the adapter
    stream.on_recv.detach_all()
    got = received(stream)
    stream.resume()
    rest()
    until(loop, lambda: len(got) >= len(sent))
    assert got == sent


def test_resume_without_a_slot_discards(loop, transport):
    stream, far, kernel = transport()
    stream.resume()
    far.send(BIG)
    turn(loop, 3)
    got = received(stream)
    far.send(b"heard")
    until(loop, lambda: got.endswith(b"heard"))
    assert len(got) < len(BIG)


# pause and resume

def test_a_pause_in_the_slot_holds_at_once(loop, transport):
    stream, far, _ = transport()
    got = received(stream)
    stream.on_recv += lambda stream, view: stream.pause()
    transport.needs("room")
    far.send(SOME)
    turn(loop, 20)
    assert 0 < len(got) <= READ_SIZE
    first = len(got)
    stream.resume()
    turn(loop, 20)
    assert first < len(got) <= first + READ_SIZE
    until(loop, lambda: stream.resume() or len(got) == len(SOME))
    assert got == SOME


def test_what_waits_is_delivered_on_resume_without_more_from_the_peer(loop, transport):
    stream, far, _ = transport()
    got = received(stream)
    for piece in (b"one ", b"two ", b"three"):
        stream.pause()
        far.send(piece)
        turn(loop, 5)
        stream.resume()
        until(loop, lambda piece=piece: got.endswith(piece))
    assert got == b"one two three"


def test_pause_and_resume_as_often_as_one_likes(loop, transport):
    stream, far, _ = transport()
    got = received(stream)
    for call in ("pause", "pause", "resume", "resume", "pause", "resume"):
        getattr(stream, call)()
        turn(loop)
    far.send(b"x")
    until(loop, lambda: got)
    assert got == b"x"


def test_while_paused_it_still_sends(loop, transport):
    stream, far, kernel = transport()
    received(stream)
    stream.pause()
    kernel.stall()
    stream.send(b"hello")
    kernel.unstall()
    assert far.read(5) == b"hello"


def test_the_end_waits_while_paused(loop, transport):
    stream, far, _ = transport()
    got = received(stream)
    seen = watch(stream, "end", "close")
    stream.pause()
    far.send(b"x")
    far.half_close()
    turn(loop, 10)
    assert (got, seen) == (b"", [])
    stream.resume()
    until(loop, lambda: seen)
    assert (got, seen[0]) == (b"x", ("end",))
    assert stream.closed or names(seen) == ["end"]  # a reading end has nothing else to do


# slots that come and go

def test_detaching_the_last_slot_pauses_and_a_new_one_reads_on_where_it_was(loop, transport):
    stream, far, _ = transport()
    got = bytearray()

    def slot(stream, view):
        got.extend(view)
        stream.on_recv -= slot

    stream.on_recv += slot
    transport.needs("room")
    far.send(SOME)
    turn(loop, 20)
    first = len(got)
    assert 0 < first <= READ_SIZE

    def again():
        if not len(stream.on_recv):
            stream.on_recv += slot
        return len(got) == len(SOME)

    until(loop, again)
    assert got == SOME


def test_a_second_slot_keeps_it_reading(loop, transport):
    stream, far, _ = transport()
    got = received(stream)
    stream.on_recv += print
    stream.on_recv -= print
    far.send(b"x")
    until(loop, lambda: got)


# the end

def test_the_peer_s_end_closes_where_nobody_asks_to_hear_of_it(loop, transport):
    stream, far, kernel = transport()
    got = received(stream)
    seen = watch(stream, "error", "close")
    far.send(b"last")
    far.half_close()
    assert far.read_all() == b""
    until(loop, lambda: seen)
    assert (got, names(seen), kernel.closed) == (b"last", ["close"], True)


def test_with_an_on_end_slot_it_stays_half_open(loop, transport):
    transport.needs("two ways")
    stream, far, _ = transport()
    got = received(stream)
    seen = watch(stream, "end", "error", "close")
    far.send(b"question")
    far.half_close()
    until(loop, lambda: seen)
    turn(loop, 10)
    assert (got, names(seen), stream.closing) == (b"question", ["end"], False)
    stream.max_queue = None
    stream.send(BIG)
    assert far.read(len(BIG)) == BIG
    turn(loop, 5)
    assert names(seen) == ["end"]
    stream.close()
    assert far.read_all() == b""
    until(loop, lambda: stream.closed)
    assert names(seen) == ["end", "close"]


def test_what_is_queued_goes_out_behind_the_peer_s_end(loop, transport):
    stream, far, kernel = transport()
    received(stream)
    kernel.stall()
    stream.send(b"answer")
    far.half_close()
    turn(loop, 10)
    assert stream.closing and not stream.closed
    kernel.unstall()
    assert far.read_all() == b"answer"


def test_shutdown_tells_the_peer_and_receiving_goes_on(loop, transport):
    transport.needs("two ways", "halves")
    stream, far, kernel = transport()
    got = received(stream)
    seen = watch(stream, "end", "error", "close")
    kernel.stall()
    stream.send(b"question")
    stream.shutdown()
    stream.shutdown()
    turn(loop, 3)
    kernel.unstall()
    assert far.read_all() == b"question"
    with pytest.raises(icey.StateError, match=r"send\(\) after shutdown\(\)"):
        stream.send(b"more")
    far.send(BIG)
    until(loop, lambda: len(got) == len(BIG))
    assert (got, seen) == (BIG, [])
    far.half_close()
    until(loop, lambda: stream.closed)
    assert names(seen) == ["end", "close"]


def test_both_ends_shut_down_close_it(loop, transport):
    transport.needs("two ways", "halves")
    stream, far, _ = transport()
    received(stream)
    seen = watch(stream, "end", "close")
    far.half_close()
    until(loop, lambda: seen)
    stream.send(b"answer")
    stream.shutdown()
    assert far.read_all() == b"answer"
    until(loop, lambda: stream.closed)
    assert names(seen) == ["end", "close"]


def test_a_reset_is_an_error_then_on_close(loop, transport):
    stream, far, kernel = transport()
    seen = watch(stream, "recv", "end", "error", "close")
    far.send(b"x")
    kernel.fail(ConnectionResetError)
    until(loop, lambda: stream.closed)
    assert names(seen) == ["error", "close"]
    assert type(seen[0][1]) is ConnectionResetError


# an adapter stands on any of them

def test_an_adapter_hears_all_of_it(loop, transport):
    stream, far, kernel = transport()
    seen = []

    class Notes(icey.Adapter):
        def on_data(self, view):
            seen.append(bytes(view))

        def on_end(self):
            seen.append("end")
            self.send(b"answer")

        def on_close(self):
            seen.append("close")

    Notes().use(stream)
    far.send(b"question")
    until(loop, lambda: seen)
    far.half_close()
    assert far.read(6) == b"answer"
    stream.close()
    assert far.read_all() == b""
    until(loop, lambda: stream.closed)
    assert seen == [b"question", "end", "close"]
