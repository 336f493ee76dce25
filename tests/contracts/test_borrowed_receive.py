"""Contract 3, receive buffers are borrowed: a view is revoked when its slots return, and what was kept is found.

On every transport (see tests/support/transports.py).
"""
import struct

import pytest

import icey
from tests.support import streams, transports
from tests.support.streams import PYPY, collect, names, watch
from tests.support.transports import only_debug, only_release, until

debug, clock, reports, exports = streams.debug, streams.clock, streams.reports, streams.exports
loop, transport = transports.loop, transports.transport

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


def hear(loop, link, data=b"hello"):
    """The stream's slots get `data`, then the end, and it closes."""
    stream, far, _ = link
    gone = watch(stream, "close")
    far.send(data)
    try:
        far.half_close()
    except OSError:  # the slot has ended it already
        pass
    until(loop, lambda: gone)


@both
def test_a_stashed_view_raises_at_once(loop, transport, by):
    link = transport()
    stashed = []
    by.read(link.stream, stashed.append)
    hear(loop, link)
    for use in (bytes, len, lambda view: view[0], lambda view: view[:2], memoryview):
        with pytest.raises(ValueError, match="released"):
            use(stashed[0])


@both
def test_copies_outlive_the_callback(loop, transport, by):
    link = transport()
    kept = []
    by.read(link.stream,
            lambda view: kept.extend([bytes(view), bytearray(view[1:]), view.tobytes(), struct.unpack("5s", view)]))
    hear(loop, link)
    assert kept == [b"hello", b"ello", b"hello", (b"hello",)]


@both
def test_slices_that_die_with_the_callback_are_no_violation(loop, transport, by):
    link = transport()
    seen = []

    def slot(view):
        head, tail = view[:2], view[2:]
        signed = view.cast("b")
        seen.append((bytes(head), bytes(tail), signed[0]))

    by.read(link.stream, slot)
    hear(loop, link)
    assert seen == [(b"he", b"llo", 104)]


@both
def test_a_slot_may_release_its_view_itself(loop, transport, by):
    link = transport()

    def slot(view):
        with view:
            pass

    by.read(link.stream, slot)
    hear(loop, link)


@both
def test_the_view_is_read_only(loop, transport, by):
    link = transport()
    refused = []
    by.read(link.stream, lambda view: refused.append(pytest.raises(TypeError, view.__setitem__, 0, 1)))
    hear(loop, link)
    assert len(refused) == 1


def test_the_view_is_revoked_after_the_last_of_several_slots(loop, transport):
    link = transport()
    seen = []
    for _ in range(3):
        link.stream.on_recv += lambda stream, view: seen.append(bytes(view))
    hear(loop, link)
    assert seen == [b"hello"] * 3


def test_the_view_is_revoked_when_a_slot_raises(loop, reports, transport):
    link = transport()
    stashed = []

    def slot(stream, view):
        stashed.append(view)
        raise ValueError

    link.stream.on_recv += slot
    hear(loop, link)
    reports.take(ValueError)
    with pytest.raises(ValueError, match="released"):
        bytes(stashed[0])


# A C-level export: BorrowError, the buffer is replaced, and the reactor goes on, in release mode too

@tells
@both
def test_a_c_level_export_is_a_borrow_error_in_release_too(loop, reports, exports, transport, by):
    link, other = transport(), transport()

    def slot(view):
        exports.append(struct.iter_unpack("B", view))

    seen = watch(link.stream, "error", "close")
    theirs = watch(other.stream, "recv", "close")
    by.read(link.stream, slot)
    link.far.send(b"hello")
    until(loop, lambda: reports)
    assert reports[0][1] is link.stream
    text = str(reports.take(icey.BorrowError)[0])
    assert "outlived its callback" in text
    assert "test_borrowed_receive.py" in text
    assert "Contract: receive buffers are borrowed." in text
    assert "bytes(view)" in text
    hear(loop, other, b"other")
    assert names(seen) == ["close"] and link.kernel.closed
    assert theirs == [("recv", b"other"), ("close",)]


@tells
def test_after_a_c_level_export_the_buffer_is_replaced(loop, reports, exports, transport):
    link, later = transport(), transport()
    link.stream.on_recv += lambda stream, view: exports.append(struct.iter_unpack("B", view))
    hear(loop, link)
    reports.take(icey.BorrowError)
    seen = watch(later.stream, "recv")
    hear(loop, later, b"HELLO")
    assert seen == [("recv", b"HELLO")]
    assert bytes(value for value, in exports[0]) == b"hello"  # what was kept was not written over


@tells
def test_a_c_level_export_and_an_exception_are_both_reported(loop, reports, exports, transport):
    link = transport()

    def slot(stream, view):
        exports.append(struct.iter_unpack("B", view))
        raise ValueError

    link.stream.on_recv += slot
    hear(loop, link)
    reports.take(ValueError, icey.BorrowError)


def test_a_borrow_error_aborts_the_stream(loop, reports, transport):
    link = transport()
    link.kernel.stall()
    link.stream.send(b"never sent")
    seen = watch(link.stream, "error")

    def slot(stream, view):
        raise icey.BorrowError("in a slot")

    link.stream.on_recv += slot
    hear(loop, link)
    reports.take(icey.BorrowError)
    assert (seen, link.kernel.taken) == ([], 0)


# Debug mode: slices and casts that escaped

KEPT = {
    "slice": lambda view: view[1:3],
    "cast": lambda view: view.cast("b"),
    "slice of a slice": lambda view: view[1:][1:],
    "another view": memoryview,
}


@tells
@only_debug
@pytest.mark.parametrize("keep", KEPT.values(), ids=KEPT)
@both
def test_debug_finds_what_escaped_and_names_the_slot(loop, reports, transport, by, keep):
    link = transport()
    stashed = []

    def a_slot_that_keeps(view):
        stashed.append(keep(view))

    by.read(link.stream, a_slot_that_keeps)
    hear(loop, link)
    assert "test_borrowed_receive.py" in str(reports.take(icey.BorrowError)[0])
    assert bytes(stashed[0][:1]) in (b"e", b"h", b"l")  # a buffer of its own: what was kept keeps its content


@tells
@only_debug
@pytest.mark.parametrize("detaches", [False, True], ids=["attached", "detached by then"])
def test_debug_names_the_slot_by_name_and_line(loop, reports, transport, detaches):
    link = transport()
    stashed = []

    def the_culprit(stream, view):
        stashed.append(view[:1])
        if detaches:
            stream.on_recv -= the_culprit

    link.stream.on_recv += the_culprit
    hear(loop, link)
    line = the_culprit.__code__.co_firstlineno
    assert "the_culprit (%s:%d)" % (__file__, line) in str(reports.take(icey.BorrowError)[0])


@tells
@only_debug
@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("outer", [False, True])
def test_debug_tells_who_keeps_where_one_lends_inside_of_another(loop, reports, transport, inner, outer):
    """An adapter over an adapter: what the inner one does with its view is not the outer one's, and the other way round."""
    link = transport()
    stashed = []

    class Inner(icey.Adapter):
        def on_data(self, view):
            if inner:
                stashed.append(view[1:3])

    class Outer(icey.Adapter):
        def on_data(self, view):
            if outer:
                stashed.append(view[1:3])
            above.on_bytes(bytes(view).upper())

    above = Inner()
    above.stream = link.stream
    Outer().use(link.stream)
    hear(loop, link)
    told = [str(exc) for exc in reports.take(*[icey.BorrowError] * (inner + outer))]
    assert ["Inner.on_data" in text for text in told] == [True] * inner + [False] * outer
    assert ["Outer.on_data" in text for text in told] == [False] * inner + [True] * outer


@only_debug
def test_a_view_of_who_lends_outside_is_known_to_be_lent(loop, reports, transport):
    transport.needs("two ways")
    link = transport()

    class Outer(icey.Adapter):
        def on_data(self, view):
            above.on_bytes(b"x")
            self.send(view)

    above = icey.Adapter()
    above.stream = link.stream
    Outer().use(link.stream)
    hear(loop, link)
    assert "send() was given a lent receive view" in str(reports.take(icey.BorrowError)[0])


@tells
@only_debug
@pytest.mark.parametrize("keep", [None, lambda view: view, lambda view: [view]])
def test_what_an_exception_holds_that_somebody_keeps_is_not_blamed(loop, reports, transport, keep):
    """As `reports` does here: the traceback has the slot's frame, and that its variables."""
    link = transport()
    stashed = []

    def slot(stream, view):
        head = view[:2]
        if keep is not None:
            stashed.append(keep(head))
        raise ValueError(bytes(head))

    link.stream.on_recv += slot
    hear(loop, link)
    reports.take(ValueError, *[icey.BorrowError] * (keep is not None))


def raises_with_parts(stream, view):
    parts = [view[:2], {"rest": view[2:]}]
    raise ValueError(len(parts))


def raises_in_a_generator(stream, view):
    def parser():
        head = view[:2]
        yield head
        raise ValueError

    for head in parser():
        del head


def raises_beside_a_generator(stream, view):
    def parser():
        head = view[:2]
        yield head[0]

    waits = parser()
    raise ValueError(next(waits))


def raises_and_shows_its_variables(stream, view):
    head = view[:2]
    try:
        raise ValueError(head[0])
    except ValueError as exc:
        repr(exc.__traceback__.tb_frame.f_locals)
        raise


@tells
@only_debug
@pytest.mark.parametrize("slot", [raises_with_parts, raises_in_a_generator, raises_beside_a_generator,
                                  raises_and_shows_its_variables])
def test_nor_is_what_such_an_exception_holds_in_turn(loop, reports, transport, slot):
    link = transport()
    link.stream.on_recv += slot
    hear(loop, link)
    reports.take(ValueError)


@tells
@only_debug
@pytest.mark.parametrize("asynchronous", ["coroutine", "generator"])
def test_a_coroutine_that_has_not_begun_and_keeps_a_slice_is_found(loop, reports, transport, asynchronous):
    async def later(head):
        return bytes(head)

    async def piecewise(head):
        yield bytes(head)

    link = transport()
    stashed = []
    link.stream.on_recv += lambda stream, view: stashed.append((later if asynchronous == "coroutine" else piecewise)(view[:2]))
    hear(loop, link)
    reports.take(icey.BorrowError)
    if asynchronous == "coroutine":
        stashed[0].close()


@tells
@only_debug
def test_a_generator_that_keeps_a_slice_is_found(loop, reports, transport):
    link = transport()
    stashed = []

    def parser(view):
        head = view[:2]
        yield
        yield head

    def slot(stream, view):
        stashed.append(parser(view))
        next(stashed[0])

    link.stream.on_recv += slot
    hear(loop, link)
    reports.take(icey.BorrowError)


def test_what_only_waits_for_the_collector_is_not_blamed(loop, transport):
    link = transport()

    class Cycle:
        pass

    def slot(stream, view):
        cycle = Cycle()
        cycle.itself, cycle.slice = cycle, view[:1]

    link.stream.on_recv += slot
    hear(loop, link)


@pytest.mark.skipif(not PYPY, reason="CPython tells by a failing resize")
@only_debug
def test_on_pypy_debug_poisons_what_escaped(loop, transport):
    link = transport()
    stashed = []
    link.stream.on_recv += lambda stream, view: stashed.append(view[:3])
    hear(loop, link)
    assert bytes(stashed[0]) == b"\xdd" * 3


@only_release
def test_release_pays_for_no_probe(loop, transport):
    link = transport()
    stashed = []
    link.stream.on_recv += lambda stream, view: stashed.append(view[:])
    link.far.send(b"hello")
    until(loop, lambda: stashed)
    hear(loop, link, b"HELLO")
    collect()
    # One shared buffer, which the next read writes over: what a stashed slice shows then is why this is a contract.
    assert [bytes(kept) for kept in stashed] == [b"HELLO", b"HELLO"]


# A lent view given to send()

@only_debug
@pytest.mark.parametrize("data", [lambda view: view, lambda view: view[1:], lambda view: [b"x", view.cast("b")]],
                         ids=["view", "slice", "in a list"])
def test_a_lent_view_given_to_send_is_a_borrow_error_at_once_in_debug(loop, transport, data):
    transport.needs("two ways")
    link = transport()
    refused = []

    def slot(stream, view):
        with pytest.raises(icey.BorrowError, match=r"send_owned\(view\)"):
            stream.send(data(view))
        refused.append(link.kernel.taken)

    link.stream.on_recv += slot
    hear(loop, link)
    assert refused == [0]


@only_debug
def test_a_lent_view_given_to_send_of_an_adapter_is_a_borrow_error_at_once_in_debug(loop, reports, transport):
    transport.needs("two ways")
    link = transport()

    class Echo(icey.Adapter):
        def on_data(self, view):
            self.send(view)

    Echo().use(link.stream)
    hear(loop, link)
    reports.take(icey.BorrowError)


@only_release
@pytest.mark.parametrize("taken", [None, 2, 0], ids=["all at once", "a part", "nothing"])
@both
def test_a_lent_view_given_to_send_in_release_is_copied_where_the_kernel_did_not_take_it(loop, transport, taken, by):
    transport.needs("two ways")
    stream, far, kernel = transport()
    heard = []
    by.read(stream, lambda view: heard.append(bytes(view)) or stream.send(view[:]))
    if taken is not None:
        kernel.allow(taken)
    far.send(b"hello")
    until(loop, lambda: heard)
    far.send(b"HELLO")
    until(loop, lambda: len(heard) == 2)
    kernel.unstall()
    assert far.read(10) == b"helloHELLO"


@both
def test_a_lent_view_given_to_send_owned_is_fine(loop, transport, by):
    transport.needs("two ways")
    stream, far, kernel = transport()
    heard = []
    by.read(stream, lambda view: heard.append(bytes(view)) or stream.send_owned(view))
    kernel.allow(2)
    far.send(b"hello")
    until(loop, lambda: heard)
    far.send(b"HELLO")
    until(loop, lambda: len(heard) == 2)
    kernel.unstall()
    assert far.read(10) == b"helloHELLO"
