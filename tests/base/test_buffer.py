"""buffer: flat parts, the read buffer and its loans, the write queue by itself."""
import array
import struct

import pytest

from icey.base.buffer import (
    BLOCK,
    CALM,
    ENTRY,
    FEW,
    JOIN_BELOW,
    LARGE_READ_SIZE,
    MOST_SEGMENTS,
    READ_SIZE,
    DebugReadBuffer,
    DebugWriteQueue,
    ReadBuffer,
    WriteQueue,
    flat,
    own,
    retain,
    send_parts,
)
from icey.base.errors import BorrowError
from icey.tools.testing import AGAIN, INTERRUPTED, ScriptedSocket
from tests.support.streams import PYPY

each_buffer = pytest.mark.parametrize("kind", [ReadBuffer, DebugReadBuffer])
each_queue = pytest.mark.parametrize("kind", [WriteQueue, DebugWriteQueue])


@pytest.fixture
def scripted():
    made = []

    def make(*writes, **options):
        made.append(ScriptedSocket((), writes, **options))
        return made[-1]
    yield make
    for sock in made:
        sock.close()


# flat and own

def test_flat_leaves_bytes_and_views_of_bytes_as_they_are():
    data = b"hello"
    assert flat(data) is data
    view = flat(bytearray(b"hello"))
    assert (type(view), view.format, bytes(view)) == (memoryview, "B", b"hello")


@pytest.mark.parametrize("data", [array.array("I", [1, 2]), memoryview(b"abcdef").cast("B", (2, 3)),
                                  memoryview(b"abc").cast("b")])
def test_flat_casts_the_rest_to_bytes(data):
    view = flat(data)
    assert (view.format, view.ndim, bytes(view)) == ("B", 1, memoryview(data).tobytes())


def test_flat_makes_bytes_of_what_is_empty():
    assert bytes(flat(array.array("d"))) == b""


def test_flat_refuses_what_is_not_contiguous_and_says_what_to_do():
    with pytest.raises(ValueError, match=r"bytes\(data\)"):
        flat(memoryview(b"abcd")[::2])


def test_own_copies_what_is_mutable_only():
    data = b"hello"
    assert own(data) is data
    mutable = bytearray(b"hello")
    copy = own(memoryview(mutable))
    mutable[0] = 0
    assert copy == b"hello"


# the read buffer

class Peer:
    """A socket that has these to read, one a read."""

    def __init__(self, *reads):
        self.reads = list(reads)
        self.room = []

    def recv_into(self, room):
        data = self.reads.pop(0)
        self.room.append(len(room))
        room[:len(data)] = data
        return len(data)


@each_buffer
def test_a_loan_is_a_read_only_view_of_what_was_read(kind):
    buffer, peer = kind(), Peer(b"hello")
    view = buffer.receive(peer)
    assert peer.room == [READ_SIZE]
    assert (bytes(view), view.readonly) == (b"hello", True)
    assert buffer.take_back(view, ()) is None
    with pytest.raises(ValueError):
        bytes(view)


@each_buffer
def test_bytes_are_lent_under_the_same_rule(kind):
    buffer = kind()
    view = buffer.lend_bytes(b"hello")
    assert (bytes(view), view.readonly) == (b"hello", True)
    assert buffer.take_back(view, ()) is None
    with pytest.raises(ValueError):
        bytes(view)


def test_release_lends_the_same_memory_each_time_and_debug_a_fresh_one():
    for kind, same in ((ReadBuffer, True), (DebugReadBuffer, False)):
        buffer, peer = kind(), Peer(b"one", b"two")
        stores = []
        for _ in range(2):
            view = buffer.receive(peer)
            stores.append(view.obj)
            assert view.obj is buffer.store and buffer.take_back(view, ()) is None
        assert (stores[0] is stores[1]) is same


@each_buffer
def test_the_end_of_input_lends_nothing(kind):
    buffer, peer = kind(), Peer(b"", bytes(READ_SIZE), b"", b"x")
    assert buffer.receive(peer) is None
    buffer.take_back(buffer.receive(peer), ())
    assert buffer.receive(peer) is None, "large"
    assert bytes(buffer.receive(peer)) == b"x"


@each_buffer
def test_growing_and_shrinking_moves_what_was_read(kind):
    big = bytes(range(256)) * (LARGE_READ_SIZE // 256)
    buffer, peer = kind(), Peer(big[:READ_SIZE], big, big[:READ_SIZE], *[b"x"] * (CALM - 1), b"the last", b"y")
    for data in tuple(peer.reads):
        view = buffer.receive(peer)
        assert bytes(view) == data and buffer.take_back(view, ()) is None
    assert peer.room == [READ_SIZE] + [LARGE_READ_SIZE] * (CALM + 2) + [READ_SIZE]


@each_buffer
def test_a_view_that_is_kept_costs_the_buffer_and_not_its_size(kind):
    buffer, peer = kind(), Peer(bytes(READ_SIZE), b"kept", b"x")
    buffer.take_back(buffer.receive(peer), ())
    view = buffer.receive(peer)
    keeps = struct.iter_unpack("B", view)
    assert PYPY or type(buffer.take_back(view, ())) is BorrowError
    buffer.receive(peer)
    assert PYPY or bytes(part[0] for part in keeps) == b"kept", "memory that nobody reads into any more"
    assert peer.room[-1] == LARGE_READ_SIZE


@pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")
def test_debug_finds_a_slice_and_release_does_not():
    for kind, found in ((ReadBuffer, False), (DebugReadBuffer, True)):
        buffer = kind()
        view = buffer.receive(Peer(b"hello"))
        kept = view[:2]
        error = buffer.take_back(view, [test_debug_finds_a_slice_and_release_does_not])
        assert (type(error) is BorrowError) is found
        assert not found or "test_debug_finds_a_slice_and_release_does_not" in str(error)
        kept.release()


@each_buffer
def test_parts_are_flat_and_without_empty_ones(kind):
    buffer = kind()
    assert buffer.parts(b"ab", True) == [b"ab"]
    assert buffer.parts((b"ab", b"", bytearray(b"cd")), True) == [b"ab", b"cd"]
    assert buffer.parts([], False) == []


def test_keep_copies_what_is_lent_only():
    buffer = ReadBuffer()
    view = buffer.receive(Peer(b"hello"))
    kept = buffer.keep(flat(view[1:]))
    assert (type(kept), kept) == (bytes, b"ello")
    other = memoryview(bytearray(b"other"))
    assert buffer.keep(other) is other


# send_parts

def test_one_part_is_sent_as_it_is(scripted):
    sock = scripted()
    assert send_parts(sock, [b"hello"]) == 5
    assert sock.calls == [("send", 5)]


@pytest.mark.parametrize("sizes, call", [
    ([5, 6], ("send", 11)), ([5, JOIN_BELOW], ("sendmsg", [5, JOIN_BELOW])),
    ([JOIN_BELOW] * 65, ("sendmsg", [JOIN_BELOW] * MOST_SEGMENTS))], ids=["joined", "vectored", "bounded"])
def test_several_parts_are_one_call(scripted, sizes, call):
    sock = scripted()
    send_parts(sock, [bytes(size) for size in sizes])
    assert sock.calls == [call]


def test_without_sendmsg_the_first_part_goes(scripted):
    sock = scripted(sendmsg=False)
    assert send_parts(sock, [b"x" * JOIN_BELOW, b"y"]) == JOIN_BELOW


# the write queue

def add(queue, *parts, done=None, borrowed=True):
    queue.add(list(parts), done, borrowed)


@each_queue
def test_a_queue_counts_its_bytes_and_is_false_when_empty(kind, scripted):
    queue = kind()
    assert (bool(queue), queue.size) == (False, 0)
    add(queue, b"abc", bytearray(b"de"))
    assert (bool(queue), queue.size) == (True, 5)
    assert queue.flush(scripted()) == 5
    assert (bool(queue), queue.size) == (False, 0)


@each_queue
@pytest.mark.parametrize("writes", [[1] * 12, [3, 3, 3], [11, 0]])
def test_a_queue_is_flushed_in_order(kind, scripted, writes):
    queue = kind()
    add(queue, b"abc", bytearray(b"defg"))
    add(queue, b"hij", b"kl", borrowed=False)
    sock = scripted(*writes)
    total = 0
    while queue:
        total += queue.flush(sock)
    assert (total, sock.sent) == (12, b"abcdefghijkl")


@each_queue
@pytest.mark.parametrize("stop", [AGAIN, INTERRUPTED, 0])
def test_a_flush_ends_where_the_kernel_takes_no_more(kind, scripted, stop):
    queue = kind()
    add(queue, b"abc")
    sock = scripted(2, stop)
    assert queue.flush(sock) == 2
    assert queue.flush(sock) == 0
    assert queue.size == 1
    assert queue.flush(sock) == 1


@each_queue
def test_an_error_keeps_the_dones_of_what_is_out(kind, scripted):
    queue = kind()
    add(queue, b"abc", done="first")
    add(queue, b"def", done="second")
    sock = scripted(4 if kind is WriteQueue else 3, ConnectionResetError)
    with pytest.raises(ConnectionResetError):
        queue.flush(sock)
        queue.flush(sock)
    assert queue.finished == ["first"]


@each_queue
def test_done_is_on_the_last_part_of_its_send(kind, scripted):
    queue = kind()
    add(queue, b"abc", b"def", done="whole")
    sock = scripted(3, 0)
    queue.flush(sock)
    assert queue.finished == []
    queue.flush(sock)
    queue.flush(sock)
    assert queue.finished == ["whole"]


@each_queue
@pytest.mark.parametrize("parts", [[b""], [b"", b"abc"], [b"abc", b""], [b"", b"", b"abc", b"", b""]])
def test_an_empty_part_is_out_when_its_turn_comes(kind, scripted, parts):
    queue = kind()
    for part in parts:
        add(queue, part, done=part)
    sock = scripted()
    queue.flush(sock)
    assert (queue.finished, bool(queue), sock.sent) == (parts, False, b"".join(parts))


@each_queue
def test_clear_lets_go_of_everything(kind, scripted):
    queue = kind()
    data = bytearray(2 * BLOCK)
    add(queue, data, done="never")
    queue.clear()
    assert (bool(queue), queue.size, queue.finished) == (False, 0, [])
    assert queue.flush(scripted()) == 0
    data.append(1)


# what a queue costs

class Sink:
    """Takes `room` bytes at a time."""

    def __init__(self, room):
        self.room, self.got = room, bytearray()

    def send(self, data):
        with memoryview(data) as view:
            taken = min(self.room, len(view))
            self.got += view[:taken]
        return taken


@pytest.mark.parametrize("queue", [WriteQueue, DebugWriteQueue])
@pytest.mark.parametrize("borrowed", [False, True])
def test_many_small_parts_gather_and_leave_in_order(queue, borrowed):
    waiting, sink, expected, done = queue(), Sink(1000), b"", []
    for number in range(5000):
        part = b"%d," % number
        expected += part
        waiting.add([part], (lambda number=number: done.append(number)) if number % 1000 == 0 else None, borrowed)
    assert waiting.size == len(expected) and len(waiting._segments) < 2 * FEW
    assert waiting.cost < waiting.size + FEW * ENTRY
    while waiting:
        waiting.flush(sink)
        waiting.add([b"+"], None, borrowed) if waiting and len(sink.got) == 2000 else None
    assert bytes(sink.got).replace(b"+", b"") == expected and waiting.size == 0
    for call in waiting.finished:
        call()
    assert done == [0, 1000, 2000, 3000, 4000]


def test_a_gathered_segment_that_has_begun_to_leave_grows_no_more():
    waiting, sink = WriteQueue(), Sink(3)
    for _ in range(FEW):
        waiting.add([b""], None, False)
    for part in (b"one", b"two"):
        waiting.add([part], None, False)
    sink.room = 4
    waiting.flush(sink)
    assert bytes(sink.got) == b"onet"
    waiting.add([b"three"], None, False)  # would be a BufferError in the segment that a view shows
    sink.room = 100
    waiting.flush(sink)
    assert bytes(sink.got) == b"onetwothree" and not waiting


def test_what_many_entries_cost_counts():
    waiting = WriteQueue()
    for _ in range(10 * FEW):
        waiting.add([bytes(2000)], None, False)
    assert waiting.cost == waiting.size + 9 * FEW * ENTRY


def test_large_rests_of_immutable_memory_are_kept_by_reference():
    body = bytes(1 << 20)
    rest = memoryview(body)[900000:]
    assert type(retain(rest)) is memoryview and retain(rest).obj is body
    assert type(retain(memoryview(body)[-100:])) is bytes
