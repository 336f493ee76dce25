"""Contract 3 of a client: the views of on_payload, of a connection and of a call, are lent under the same rule as on_recv's."""
import gzip
import struct

import pytest

import icey
from tests.support import lacks, rawserver
from tests.support.rawserver import answer, chunked
from tests.support.streams import PYPY

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

tells = pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")
FORMS = {"length": answer(b"Hello"), "chunked": chunked(b"Hello"), "close": answer(b"Hello", length=False)}
if not lacks("zlib"):
    FORMS["gzip"] = answer(gzip.compress(b"Hello"), "Content-Encoding: gzip")


@pytest.fixture(params=["connection", "call"])
def made(request, raw):
    """A connection or a call, not yet answered."""
    return raw.connection() if request.param == "connection" else raw.get()


def serve(raw, made, data=FORMS["length"]):
    """Answers it by `data`; once it is over, what became of it: "complete", or the error."""
    if not isinstance(made, rawserver.Asking):
        made.start()
    server = raw.accept()
    server.request()
    try:
        server.send(data)
        server.half_close()
    except OSError:
        pass
    if isinstance(made, rawserver.Asking):
        return "complete" if made.result()[1] is None else made.result()[1]
    raw.rest(made)
    errors = [rest[0] for name, *rest in made.seen if name == "error"]
    return errors[0] if errors else "complete" if ("complete",) in made.seen else "closed"


each_form = pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)


@each_form
def test_a_stashed_view_raises_at_once(raw, made, data):
    stashed = []
    made.on_payload += lambda made, view: stashed.append(view)
    assert serve(raw, made, data) == "complete" and stashed
    for use in (bytes, len, lambda view: view[0], lambda view: view[:2], memoryview):
        with pytest.raises(ValueError, match="released"):
            use(stashed[0])


@each_form
def test_the_view_is_read_only_and_copies_live(raw, made, data):
    kept = []

    def slot(made, view):
        assert view.readonly
        kept.extend([bytes(view), bytearray(view[1:]), view.tobytes()])

    made.on_payload += slot
    assert serve(raw, made, data) == "complete"
    if len(kept) == 3 and len(kept[0]) == 5:
        assert kept == [b"Hello", b"ello", b"Hello"]
    assert b"".join(kept[::3]) in (b"Hello", data[-len(kept[0]):])


def test_the_view_is_released_after_the_last_of_several_slots(raw, made):
    seen, stashed = [], []
    for _ in range(3):
        made.on_payload += lambda made, view: (seen.append(bytes(view)), stashed.append(view))
    assert serve(raw, made) == "complete" and seen == [b"Hello"] * 3
    for view in stashed:
        with pytest.raises(ValueError):
            bytes(view)


def test_the_view_is_released_when_a_slot_raises(raw, made, reports):
    stashed = []

    def slot(made, view):
        stashed.append(view)
        raise KeyError("in the slot")

    made.on_payload += slot
    assert serve(raw, made) != "complete"
    reports.take(KeyError)
    with pytest.raises(ValueError, match="released"):
        bytes(stashed[0])


@tells
def test_a_c_level_export_that_escapes_is_a_borrow_error_in_release_mode_too(raw, made, reports):
    escaped = []
    made.on_payload += lambda made, view: escaped.append(struct.Struct("5s").iter_unpack(view))
    assert serve(raw, made) != "complete"
    error, = reports.take(icey.BorrowError)
    assert "test_client_borrowed_payload.py" in str(error)
    del escaped[:]


def test_in_debug_mode_a_slice_that_escapes_is_found_or_poisoned(raw, made, reports, debug):
    escaped = []
    made.on_payload += lambda made, view: escaped.append(view[:2])
    outcome = serve(raw, made)
    if debug and not PYPY:
        assert outcome != "complete"
        error, = reports.take(icey.BorrowError)
        assert "outlived its callback" in str(error) and "test_client_borrowed_payload.py" in str(error)
    else:
        assert outcome == "complete"
        if debug:
            assert bytes(escaped[0]) == b"\xdd\xdd"
    del escaped[:]


def test_a_file_may_keep_what_it_is_given(raw, made):
    """save_to() writes what is nobody's but the parser's: no copy, and no rule."""
    class Keeping:
        def __init__(self):
            self.views = []

        def write(self, data):
            self.views.append(data)
            return len(data)

    file = Keeping()
    made.save_to(file)
    assert serve(raw, made) == "complete"
    assert b"".join(map(bytes, file.views)) == b"Hello"
