"""Contract 3, receive buffers are borrowed: a view is revoked when its slots return, and what was kept is found."""
import struct

import pytest

import icey
from icey.tools.testing import END, STALL, ScriptedSocket
from tests.support import streams
from tests.support.streams import PYPY, collect, names, turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

tells = pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")


class ByStream:
    """The view that an on_recv slot gets."""

    @staticmethod
    def read(stream, slot):
        stream.on_recv += lambda stream, view: slot(view)


class ByAdapter:
    """The view that an adapter gets, which is lent under the same rule."""

    @staticmethod
    def read(stream, slot):
        class Calls(icey.Adapter):
            def on_data(self, view):
                slot(view)
        Calls().use(stream)


both = pytest.mark.parametrize("by", [ByStream, ByAdapter])


def make(loop, *reads):
    sock = ScriptedSocket(reads)
    return icey.Stream(loop, sock), sock


@both
def test_a_stashed_view_raises_at_once(loop, by):
    stream, _ = make(loop, b"hello", END)
    stashed = []
    by.read(stream, stashed.append)
    loop.run()
    for use in (bytes, len, lambda view: view[0], lambda view: view[:2], memoryview):
        with pytest.raises(ValueError, match="released"):
            use(stashed[0])


@both
def test_copies_outlive_the_callback(loop, by):
    stream, _ = make(loop, b"hello", END)
    kept = []
    by.read(stream, lambda view: kept.extend([bytes(view), bytearray(view[1:]), view.tobytes(), struct.unpack("5s", view)]))
    loop.run()
    assert kept == [b"hello", b"ello", b"hello", (b"hello",)]


@both
def test_slices_that_die_with_the_callback_are_no_violation(loop, by):
    stream, _ = make(loop, b"hello", END)
    seen = []

    def slot(view):
        head, tail = view[:2], view[2:]
        signed = view.cast("b")
        seen.append((bytes(head), bytes(tail), signed[0]))

    by.read(stream, slot)
    loop.run()
    assert seen == [(b"he", b"llo", 104)]


@both
def test_a_slot_may_release_its_view_itself(loop, by):
    stream, _ = make(loop, b"hello", END)

    def slot(view):
        with view:
            pass

    by.read(stream, slot)
    loop.run()
    assert stream.closed


@both
def test_the_view_is_read_only(loop, by):
    stream, _ = make(loop, b"hello", END)
    by.read(stream, lambda view: pytest.raises(TypeError, view.__setitem__, 0, 1))
    loop.run()
    assert stream.closed


def test_the_view_is_revoked_after_the_last_of_several_slots(loop):
    stream, _ = make(loop, b"hello", END)
    seen = []
    for _ in range(3):
        stream.on_recv += lambda stream, view: seen.append(bytes(view))
    loop.run()
    assert seen == [b"hello"] * 3


def test_the_view_is_revoked_when_a_slot_raises(loop, reports):
    stream, _ = make(loop, b"hello", END)
    stashed = []

    def slot(stream, view):
        stashed.append(view)
        raise ValueError

    stream.on_recv += slot
    loop.run()
    reports.take(ValueError)
    with pytest.raises(ValueError, match="released"):
        bytes(stashed[0])


# A C-level export: BorrowError, the buffer is replaced, and the reactor goes on, in release mode too

@tells
@both
def test_a_c_level_export_is_a_borrow_error_in_release_too(loop, reports, by):
    stream, sock = make(loop, b"hello", b"more")
    other, _ = make(loop, b"other", END)
    exports = []

    def slot(view):
        exports.append(struct.iter_unpack("B", view))

    seen = watch(stream, "close")
    theirs = watch(other, "recv", "close")
    by.read(stream, slot)
    loop.run()
    assert reports[0][1] is stream
    text = str(reports.take(icey.BorrowError)[0])
    assert "outlived its callback" in text
    assert "test_borrowed_receive.py" in text
    assert "Contract: receive buffers are borrowed." in text
    assert "bytes(view)" in text
    assert names(seen) == ["close"]
    assert theirs == [("recv", b"other"), ("close",)]


@tells
def test_after_a_c_level_export_the_buffer_is_replaced(loop, reports):
    stream, _ = make(loop, b"hello")
    exports = []
    stream.on_recv += lambda stream, view: exports.append(struct.iter_unpack("B", view))
    loop.run()
    reports.take(icey.BorrowError)
    later, _ = make(loop, b"HELLO", END)
    seen = watch(later, "recv", "close")
    loop.run()
    assert seen[0] == ("recv", b"HELLO")
    assert bytes(value for value, in exports[0]) == b"hello"  # what was kept was not written over


@tells
def test_a_c_level_export_and_an_exception_are_both_reported(loop, reports):
    stream, _ = make(loop, b"hello")
    exports = []

    def slot(stream, view):
        exports.append(struct.iter_unpack("B", view))
        raise ValueError

    stream.on_recv += slot
    loop.run()
    reports.take(ValueError, icey.BorrowError)


def test_a_borrow_error_aborts_the_stream(loop, reports):
    stream = icey.Stream(loop, ScriptedSocket([b"x"], [STALL]))
    stream.send(b"never sent")
    seen = watch(stream, "error", "close")

    def slot(stream, view):
        raise icey.BorrowError("in a slot")

    stream.on_recv += slot
    sock = stream.sock
    loop.run()
    reports.take(icey.BorrowError)
    assert names(seen) == ["close"]
    assert sock.sent == b""


# Debug mode: slices and casts that escaped

KEPT = {
    "slice": lambda view: view[1:3],
    "cast": lambda view: view.cast("b"),
    "slice of a slice": lambda view: view[1:][1:],
    "another view": memoryview,
}


@tells
@pytest.mark.parametrize("keep", KEPT.values(), ids=KEPT)
@both
def test_debug_finds_what_escaped_and_names_the_slot(reports, by, keep):
    loop, _ = icey.tools.testing.virtual_loop(True)
    loop.on_error += reports.note
    stream, _ = make(loop, b"hello", b"more")
    stashed = []

    def a_slot_that_keeps(view):
        stashed.append(keep(view))

    by.read(stream, a_slot_that_keeps)
    seen = watch(stream, "close")
    loop.run()
    loop.close()
    assert "test_borrowed_receive.py" in str(reports.take(icey.BorrowError)[0])
    assert names(seen) == ["close"]
    assert bytes(stashed[0][:1]) in (b"e", b"h", b"l")  # a buffer of its own: what was kept keeps its content


@tells
def test_debug_names_the_slot_by_name_and_line(reports):
    loop, _ = icey.tools.testing.virtual_loop(True)
    loop.on_error += reports.note
    stream, _ = make(loop, b"hello")
    stashed = []

    def the_culprit(stream, view):
        stashed.append(view[:1])

    stream.on_recv += the_culprit
    loop.run()
    loop.close()
    line = the_culprit.__code__.co_firstlineno
    assert "the_culprit (%s:%d)" % (__file__, line) in str(reports.take(icey.BorrowError)[0])


@tells
def test_debug_names_a_slot_that_is_detached_by_now(reports):
    loop, _ = icey.tools.testing.virtual_loop(True)
    loop.on_error += reports.note
    stream, _ = make(loop, b"hello")
    stashed = []

    def slot(stream, view):
        stashed.append(view[:1])
        stream.on_recv -= slot

    stream.on_recv += slot
    loop.run()
    loop.close()
    line = slot.__code__.co_firstlineno
    assert "slot (%s:%d)" % (__file__, line) in str(reports.take(icey.BorrowError)[0])


def test_what_only_waits_for_the_collector_is_not_blamed(loop):
    stream, _ = make(loop, b"hello", END)

    class Cycle:
        pass

    def slot(stream, view):
        cycle = Cycle()
        cycle.itself, cycle.slice = cycle, view[:1]

    stream.on_recv += slot
    loop.run()
    assert stream.closed


@pytest.mark.skipif(not PYPY, reason="CPython tells by a failing resize")
def test_on_pypy_debug_poisons_what_escaped():
    loop, _ = icey.tools.testing.virtual_loop(True)
    stream, _ = make(loop, b"hello", END)
    stashed = []
    stream.on_recv += lambda stream, view: stashed.append(view[:3])
    loop.run()
    loop.close()
    assert bytes(stashed[0]) == b"\xdd" * 3


def test_release_pays_for_no_probe():
    loop, _ = icey.tools.testing.virtual_loop(False)
    stream, sock = make(loop, b"hello", b"HELLO", END)
    stashed = []
    stream.on_recv += lambda stream, view: stashed.append(view[:])
    loop.run()
    loop.close()
    collect()
    # One shared buffer, which the next read writes over: what a stashed slice shows then is why this is a contract.
    assert [bytes(kept) for kept in stashed] == [b"HELLO", b"HELLO"]


# A lent view given to send()

@pytest.mark.parametrize("data", [lambda view: view, lambda view: view[1:], lambda view: [b"x", view.cast("b")]])
def test_a_lent_view_given_to_send_is_a_borrow_error_at_once_in_debug(reports, data):
    loop, _ = icey.tools.testing.virtual_loop(True)
    loop.on_error += reports.note
    stream, sock = make(loop, b"hello")

    def slot(stream, view):
        with pytest.raises(icey.BorrowError, match=r"send_owned\(view\)"):
            stream.send(data(view))

    stream.on_recv += slot
    turn(loop)
    assert sock.sent == b""
    stream.abort()
    loop.run()
    loop.close()


def test_a_lent_view_given_to_send_of_an_adapter_is_a_borrow_error_at_once_in_debug(reports):
    loop, _ = icey.tools.testing.virtual_loop(True)
    stream, sock = make(loop, b"hello")
    loop.on_error += reports.note

    class Echo(icey.Adapter):
        def on_data(self, view):
            self.send(view)

    Echo().use(stream)
    loop.run()
    loop.close()
    reports.take(icey.BorrowError)


@pytest.mark.parametrize("taken", [[], [2, 0], [0]], ids=["all at once", "a part", "nothing"])
@both
def test_a_lent_view_given_to_send_in_release_is_copied_where_the_kernel_did_not_take_it(taken, by):
    loop, _ = icey.tools.testing.virtual_loop(False)
    sock = ScriptedSocket([b"hello", b"HELLO", END], taken)
    stream = icey.Stream(loop, sock)
    by.read(stream, lambda view: stream.send(view[:]))
    loop.run()
    loop.close()
    assert sock.sent == b"helloHELLO"


@both
def test_a_lent_view_given_to_send_owned_is_fine(loop, by):
    sock = ScriptedSocket([b"hello", b"HELLO", END], [2, 0, 1])
    stream = icey.Stream(loop, sock)
    by.read(stream, stream.send_owned)
    loop.run()
    assert sock.sent == b"helloHELLO"
