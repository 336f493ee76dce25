"""MultipartReader: bodies in, events out, however they are cut."""

import pytest

import icey
from icey.base.state import watched
from icey.http.semantics import multipart
from icey.http.semantics.multipart import MultipartReader, boundary_of
from tests.support import seeds


class Events(list):
    """An observer that notes (headers, data) of each part; data is None while it is not complete."""

    def on_part(self, headers):
        self.append((headers, None))
        self.pieces = []

    def on_data(self, view):
        assert type(view) is memoryview and len(view)
        self.pieces.append(bytes(view))

    def on_part_end(self):
        self[-1] = (self[-1][0], b"".join(self.pieces))


def read(*pieces, boundary=b"b", **limits):
    """What the reader makes of `pieces`: the events, and the error at the end or None."""
    events = Events()
    reader = watched(MultipartReader)(boundary, events, **limits)  # each move is checked against its table
    try:
        for piece in pieces:
            reader.feed(piece)
        reader.end()
    except icey.HttpError as exc:
        return list(events), exc
    return list(events), None


def part(name, data):
    return ([("content-disposition", name)], data)


GOOD = [
    (b"--b--", []),
    (b"--b--\r\n", []),
    (b"--b-- \t\r\n", []),
    (b"--b--\t", []),
    (b"--b--\r\nepilogue\n--b\r\n--b--", []),
    (b"preamble\r\n--b--", []),
    (b"pre\r--b\n--b\r\n\r\n--b--", []),
    (b"\r\n--b--", []),
    (b"x--b\r\n--b--", []),
    (b"--b\r\nContent-Disposition: x\r\n\r\ndata\r\n--b--\r\n", [part("x", b"data")]),
    (b"--b \t \r\nCONTENT-disposition:x \t\r\n\r\ndata\r\n--b \r\ncontent-disposition: y\r\n\r\n\r\n--b--",
     [part("x", b"data"), part("y", b"")]),
    (b"--b\r\n\r\ndata\r\n--b--", [([], b"data")]),
    (b"--b\r\n\r\n--b--", [([], b"")]),  # the blank line's end is the delimiter's beginning
    (b"--b\r\na: b\r\n\r\n--b\r\n\r\n\r\n--b--", [([("a", "b")], b""), ([], b"")]),
    (b"--b\r\n\r\n\r\n\r\n--b--", [([], b"\r\n")]),
    (b"--b\r\n\r\n-\r\n-\r\n--\r\n-b\r\n\r\n--c\r\n--B--\r\r\n--b--", [([], b"-\r\n-\r\n--\r\n-b\r\n\r\n--c\r\n--B--\r")]),
    (b"--b\r\n\r\na--b\r\n--b--", [([], b"a--b")]),
    (b"--b\r\n\r\n\n--b\r\n\r--b\r\n--b--", [([], b"\n--b\r\n\r--b")]),
    (b"--b\r\na: \xc3\xa4\r\na:\r\n\r\n\0\xff\r\n--b--", [([("a", "\xc3\xa4"), ("a", "")], b"\0\xff")]),
]

BAD = [
    (b"", icey.IncompleteBody, []),
    (b"nothing", icey.IncompleteBody, []),
    (b"--b", icey.IncompleteBody, []),
    (b"--b-", icey.IncompleteBody, []),
    (b"--b--\r", icey.IncompleteBody, []),
    (b"--b\r\n", icey.IncompleteBody, []),
    (b"--b\r\na: b\r\n", icey.IncompleteBody, []),
    (b"--b\r\na: b\r\n\r\ndata", icey.IncompleteBody, [([("a", "b")], None)]),
    (b"--b\r\n\r\ndata\r\n--b", icey.IncompleteBody, [([], b"data")]),
    (b"--b\r\n\r\ndata\r\n--b\r\n", icey.IncompleteBody, [([], b"data")]),
    (b"--bb\r\n\r\ndata\r\n--b--", icey.BadRequest, []),
    (b"--b x\r\n\r\ndata\r\n--b--", icey.BadRequest, []),
    (b"--b\r\n\r\ndata\r\n--b---", icey.IncompleteBody, [([], b"data")]),
    (b"--b\r\n\r\ndata\r\n--b---\r\n", icey.BadRequest, [([], b"data")]),
    (b"--b\r\n\r\ndata\r\n--b--x\r\n", icey.BadRequest, [([], b"data")]),
    (b"--b--\n", icey.BadRequest, []),
    (b"--b\n\r\ndata\r\n--b--", icey.BadRequest, []),
    (b"--b\r\r\n\r\ndata\r\n--b--", icey.BadRequest, []),
    (b"--b\r\na: b\n\r\n--b--", icey.BadRequest, []),
    (b"--b\r\na: b\r\n\n--b--", icey.BadRequest, []),
    (b"--b\r\na: b\r\r\n\r\n--b--", icey.BadRequest, []),
    (b"--b\r\na: b\r\n c\r\n\r\n--b--", icey.BadRequest, []),
    (b"--b\r\n a: b\r\n\r\n--b--", icey.BadRequest, []),
    (b"--b\r\na : b\r\n\r\n--b--", icey.BadRequest, []),
    (b"--b\r\na\r\n\r\n--b--", icey.BadRequest, []),
    (b"--b\r\n: b\r\n\r\n--b--", icey.BadRequest, []),
    (b"--b\r\na: \0\r\n\r\n--b--", icey.BadRequest, []),
    (b"--b\r\n\xe4: b\r\n\r\n--b--", icey.BadRequest, []),
    (b"--b \x0b\r\n\r\n--b--", icey.BadRequest, []),
]


@pytest.mark.parametrize("body, events", GOOD)
def test_what_is_read(body, events):
    assert read(body) == (events, None)


@pytest.mark.parametrize("body, error, events", BAD)
def test_what_is_refused(body, error, events):
    found, exc = read(body)
    assert type(exc) is error and exc.status == 400 and found == events


@pytest.mark.parametrize("body, error, events", [(body, type(None), events) for body, events in GOOD] + BAD)
def test_split_anywhere_the_events_are_the_same(body, error, events):
    for first in range(len(body) + 1):
        for second in range(first, min(first + 12, len(body)) + 1):
            found, exc = read(body[:first], body[first:second], b"", body[second:])
            assert type(exc) is error and found == events, (first, second)
    found, exc = read(*(body[at:at + 1] for at in range(len(body))))
    assert type(exc) is error and found == events


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_can_be_fed(kind):
    body, events = GOOD[10]
    assert read(kind(body[:20]), kind(body[20:])) == (events, None)


def test_at_random():
    rng = seeds.rng()
    for _ in range(300):
        boundary = bytes(rng.choice(b"-b'=") for _ in range(rng.randrange(1, 8)))
        delimiter = b"\r\n--" + boundary
        expected, body = [], b""
        for number in range(rng.randrange(4)):
            pool = [b"\r", b"\n", b"-", b"--", b"\r\n", b"b", b"x", delimiter[:rng.randrange(len(delimiter))]]
            data = b"".join(rng.choice(pool) for _ in range(rng.randrange(30)))
            if delimiter in b"\r\n" + data + delimiter[:-1]:
                continue
            body += b"--" + boundary + b"\r\nn: %d\r\n\r\n%s\r\n" % (number, data)
            expected.append(([("n", str(number))], data))
        body += b"--" + boundary + b"--\r\n"
        pieces = []
        while body:
            size = rng.randrange(1, 12)
            pieces.append(body[:size])
            body = body[size:]
        assert read(*pieces, boundary=boundary) == (expected, None)


# limits

def test_max_head_is_inclusive():
    for size, fits in ((100, True), (101, False)):
        head = b"a: " + b"x" * (size - 7) + b"\r\n\r\n"
        assert len(head) == size
        body = b"--b\r\n" + head + b"data\r\n--b\r\n" + head + b"\r\n--b--"
        for pieces in ((body,), tuple(body[at:at + 1] for at in range(len(body)))):
            events, exc = read(*pieces, max_head=100)
            assert (len(events), type(exc)) == ((2, type(None)) if fits else (0, icey.TooLarge))


def test_a_head_without_end_is_refused_as_it_comes():
    events = Events()
    reader = MultipartReader(b"b", events)
    reader.feed(b"--b\r\na: ")
    with pytest.raises(icey.TooLarge, match="head of a part is over 16384 bytes"):
        for _ in range(17):
            reader.feed(b"x" * 1024)


@pytest.mark.parametrize("count, fits", [(multipart.MOST_HEADERS, True), (multipart.MOST_HEADERS + 1, False)])
def test_the_header_lines_of_a_part_are_counted(count, fits):
    one = b"--b\r\n" + b"a: b\r\n" * count + b"\r\n\r\n"
    events, exc = read(one + one + b"--b--")
    assert (len(events), type(exc)) == ((2, type(None)) if fits else (0, icey.TooLarge))


@pytest.mark.parametrize("step", [1, 1000, 100000])
@pytest.mark.parametrize("size, fits", [(multipart.MOST_AROUND, True), (multipart.MOST_AROUND + 1, False)])
def test_preamble_and_epilogue_are_bounded(size, fits, step):
    for body in (b"x" * size + b"\r\n--b--", b"--b--\r\n" + b"x" * size):
        _, exc = read(*(body[at:at + step] for at in range(0, len(body), step)))
        assert type(exc) is (type(None) if fits else icey.TooLarge)


def test_padding_is_bounded():
    assert read(b"--b" + b" " * 254 + b"\r\n\r\n\r\n--b--")[1] is None
    assert type(read(b"--b" + b" " * 255 + b"\r\n\r\n\r\n--b--")[1]) is icey.BadRequest
    assert type(read(b"--b" + b" " * 257)[1]) is icey.BadRequest


# the end is the end

def test_after_the_end_and_after_an_error_nothing_is_taken():
    reader = MultipartReader(b"b", Events())
    reader.feed(b"--b--")
    reader.end()
    for call in (lambda: reader.feed(b""), reader.end):
        with pytest.raises(icey.StateError):
            call()
    reader = MultipartReader(b"b", Events())
    with pytest.raises(icey.BadRequest):
        reader.feed(b"--b\n")
    for call in (lambda: reader.feed(b""), reader.end):
        with pytest.raises(icey.StateError):
            call()


def test_what_the_observer_raises_is_final():
    class Refuses(Events):
        def on_part(self, headers):
            raise KeyError("no")

    reader = MultipartReader(b"b", Refuses())
    with pytest.raises(KeyError):
        reader.feed(b"--b\r\n\r\n")
    with pytest.raises(icey.StateError):
        reader.feed(b"x")


# views are lent

@pytest.mark.parametrize("pieces", [[b"--b\r\n\r\nHello\r\n--b--"], [b"--b\r\n\r\nHel", b"lo\r\n-", b"-", b"x\r\n--b--"]])
def test_views_are_released(pieces):
    stashed = []

    class Stashes(Events):
        def on_data(self, view):
            stashed.append(view)

    reader = MultipartReader(b"b", Stashes())
    for piece in pieces:
        reader.feed(piece)
    assert stashed
    for view in stashed:
        with pytest.raises(ValueError, match="released"):
            bytes(view)


def test_what_is_lent_is_the_callers_memory():
    """Nothing is copied to be lent, so that debug mode can find what escapes."""
    fed = bytearray(b"--b\r\n\r\nHello\r\n--b--")
    seen = []

    class Looks(Events):
        def on_data(self, view):
            seen.append(view.obj is fed)

    MultipartReader(b"b", Looks()).feed(fed)
    assert seen == [True]
    fed += b"resized: nothing exports it any more"


# boundaries

@pytest.mark.parametrize("boundary", ["b", "-" * 70, "a b", "0'()+_,-./:=?9", "----WebKitFormBoundaryAbC0"])
def test_boundaries(boundary):
    assert boundary_of({"boundary": boundary}) == boundary.encode()
    body = ("--%s\r\n\r\nx\r\n--%s--" % (boundary, boundary)).encode()
    assert read(body, boundary=boundary.encode()) == ([([], b"x")], None)


@pytest.mark.parametrize("boundary", ["", "-" * 71, "a ", " ", "a;b", "a\tb", "\xe4", 'a"b', "a\\b", "a\nb", "a*b"])
def test_what_is_no_boundary(boundary):
    with pytest.raises(icey.BadRequest, match="boundary of 1 to 70"):
        boundary_of({"boundary": boundary})


def test_no_boundary_at_all():
    with pytest.raises(icey.BadRequest, match="boundary of 1 to 70"):
        boundary_of({})


# the work is linear

class Counting(MultipartReader):
    """Counts the bytes that are joined, searched and gathered."""

    work = 0

    def _feed(self, view, data):
        self.work += len(self._held) + len(data)
        super()._feed(view, data)
        assert len(self._held) < len(self._delimiter)
        assert len(self._line) <= self._max_head

    def _search(self, view, text, at, ahead):
        end = super()._search(view, text, at, ahead)
        self.work += end - at + len(self._delimiter)
        return end

    def _take_line(self, text, at):
        end = super()._take_line(text, at)
        self.work += end - at
        return end


BOUNDARY = b"-" * 70
HOSTILE = {
    "nothing but CR": b"--" + BOUNDARY + b"\r\n\r\n" + b"\r" * 100000,
    "nothing but CRLF": b"--" + BOUNDARY + b"\r\n\r\n" + b"\r\n" * 50000,
    "nothing but almost delimiters": b"--" + BOUNDARY + b"\r\n\r\n" + (b"\r\n--" + BOUNDARY[:-1]) * 1400,
    "nothing but dashes": b"--" + BOUNDARY + b"\r\n\r\nx" + b"-" * 100000,
    "nothing but parts": (b"--" + BOUNDARY + b"\r\n\r\n\r\n") * 1300,
    "a long head": b"--" + BOUNDARY + b"\r\na: " + b"x" * 16000,
    "a long preamble": b"x" * 4000,
}


@pytest.mark.parametrize("step", [1, 2, 73, 74, 75, 1000, 65536])
@pytest.mark.parametrize("body", HOSTILE.values(), ids=list(HOSTILE))
def test_the_work_is_linear(body, step):
    reader = Counting(BOUNDARY, Events())
    if step < 100:
        body = body[:2000]
    for at in range(0, len(body), step):
        reader.feed(body[at:at + step])
    held = len(BOUNDARY) + 4  # joined with each piece, at most
    assert reader.work <= 4 * len(body) + (len(body) // step + 1) * 2 * held + 2 * body.count(BOUNDARY) * held
