"""buffer: flat parts, the read buffer and its loans, the write queue by itself."""
import array

import pytest

from icey.base.buffer import (
    BLOCK,
    JOIN_BELOW,
    MOST_SEGMENTS,
    READ_SIZE,
    DebugReadBuffer,
    DebugWriteQueue,
    ReadBuffer,
    WriteQueue,
    flat,
    own,
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

@each_buffer
def test_a_loan_is_a_read_only_view_of_what_was_read(kind):
    buffer = kind()
    store = buffer.fresh()
    assert len(store) == READ_SIZE
    store[:5] = b"hello"
    view = buffer.lend(5)
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
    buffer = ReadBuffer()
    assert buffer.fresh() is buffer.fresh()
    buffer = DebugReadBuffer()
    assert buffer.fresh() is not buffer.fresh()


@pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")
def test_debug_finds_a_slice_and_release_does_not():
    for kind, found in ((ReadBuffer, False), (DebugReadBuffer, True)):
        buffer = kind()
        buffer.fresh()
        view = buffer.lend(5)
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
    buffer.fresh()[:5] = b"hello"
    view = buffer.lend(5)
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
