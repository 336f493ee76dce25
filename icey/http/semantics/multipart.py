"""MultipartReader: the parts of a multipart body (RFC 2046 section 5.1.1) out of bytes, sans-I/O.

    reader = MultipartReader(boundary_of(content_type_parameters), observer)     # a PartObserver
    reader.feed(data) ... reader.end()

Rules
- The states and the moves between them are the table MOVES. LINE is the rest of a delimiter's line, which says whether another
  part follows. FAILED is final.
- A delimiter is "--" and the boundary at the start of a line. What follows on its line is white space, or "--" for the last
  delimiter; anything else is malformed, since the boundary must not occur in a part.
- Lines end with CRLF. Header lines follow the rules of HTTP's (grammar.py): no folding, no control characters.
- Preamble and epilogue are dropped, and bounded. Input that ends before the last delimiter is IncompleteBody.
- Split anywhere, the input gives the same events, but for where on_data cuts.

How it is fast, and stays so: a chunk is searched for the delimiter as a whole, once. Only what may be the beginning of a
delimiter, less than one delimiter, is held back and joined with the next chunk; lines are gathered apart. So no byte is looked
at more than a few times, however the input is cut.

Not here: what a form makes of the parts (server/forms.py), writing parts (client/multipartencoder.py).
"""

from __future__ import annotations

import re

from ...base.errors import BadRequest, IncompleteBody, StateError, TooLarge
from ...base.state import transitions
from .grammar import BAD_LINE, field

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, List, Tuple, Union

    Octets = Union[bytes, bytearray, memoryview]

PREAMBLE, LINE, HEAD, DATA, EPILOGUE, ENDED, FAILED = range(7)
MOVES = transitions({
    PREAMBLE: (LINE, FAILED),
    LINE: (HEAD, EPILOGUE, ENDED, FAILED),
    HEAD: (DATA, FAILED),
    DATA: (LINE, FAILED),
    EPILOGUE: (ENDED, FAILED),
    ENDED: (),
    FAILED: (),
}, names=("PREAMBLE", "LINE", "HEAD", "DATA", "EPILOGUE", "ENDED", "FAILED"))

MOST_AROUND = 4096  # bytes of a preamble, or an epilogue
MOST_PADDING = 256  # bytes behind a boundary
MOST_HEADERS = 32  # header lines of a part

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]").fullmatch
_REST = re.compile(rb"(--)?[ \t]*").fullmatch


def boundary_of(parameters: Dict[str, str]) -> bytes:
    """The boundary among a content type's parameters; BadRequest where it is missing or malformed."""
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY(boundary):
        raise BadRequest("multipart needs a boundary of 1 to 70 characters (RFC 2046 section 5.1.1)")
    return boundary.encode("ascii")


class PartObserver:
    """What a MultipartReader calls, in this order for each part; ignores everything, a subclass overrides what it needs."""

    __slots__ = ()

    def on_part(self, headers: List[Tuple[str, str]]) -> None:
        """A part's head is complete: (lower-case name, value) pairs."""

    def on_data(self, view: memoryview) -> None:
        """A piece of the part's body: a view of what was fed, lent until this returns."""

    def on_part_end(self) -> None:
        """The part is complete."""


class MultipartReader:
    """Reads the parts between delimiters of `boundary`. max_head: bytes of one part's header lines; TooLarge past it.

    `observer`: who is told; may be replaced between two feeds.
    """

    __slots__ = ("observer", "_delimiter", "_max_head", "_state", "_held", "_virtual", "_line", "_spent", "_headers")

    MOVES = MOVES

    def __init__(self, boundary: bytes, observer: PartObserver, *, max_head: int = 16384) -> None:
        self.observer: PartObserver = observer
        self._delimiter = b"\r\n--" + boundary
        self._max_head = max_head
        self._state = PREAMBLE
        self._held = b"\r\n"  # may begin a delimiter; here the line end that the first one need not have before it
        self._virtual = 2  # bytes at the start of what is searched next that are no content: such a line end
        self._line = bytearray()  # of a line that goes on
        self._spent = 0  # bytes of preamble, head or epilogue so far
        self._headers: List[Tuple[str, str]] = []

    def feed(self, data: Octets) -> None:
        """Takes the next bytes. BadRequest, TooLarge, or what the observer raises: final, a further call is StateError."""
        if self._state >= ENDED:
            raise StateError("feed() on a form that has ended or failed", "make a new reader")
        try:
            with memoryview(data) as view:
                self._feed(view, data if type(data) is bytes else bytes(view))
        except BaseException:
            self._state = FAILED
            raise

    def end(self) -> None:
        """The input has ended. IncompleteBody: the last delimiter has not come."""
        if self._state >= ENDED:
            raise StateError("end() on a form that has ended or failed", "make a new reader")
        rest = _REST(self._line) if self._state == LINE else None
        if self._state != EPILOGUE and (rest is None or rest.group(1) is None):
            self._state = FAILED
            raise IncompleteBody("the form ended before its last boundary")
        self._state = ENDED

    def _feed(self, view: memoryview, data: bytes) -> None:
        """`view` and `data` are the same bytes: the view is lent, the data searched."""
        text, ahead, at = data, 0, 0  # text[ahead:] is data
        if self._held:
            text, ahead = self._held + data, len(self._held)
            self._held = b""
        while at < len(text):
            if self._state == DATA or self._state == PREAMBLE:
                at = self._search(view, text, at, ahead)
            elif self._state == EPILOGUE:
                self._around(len(text) - at)
                return
            else:
                at = self._take_line(text, at)
                if self._state == DATA:  # the blank line's end may be the delimiter's beginning: a part without a body
                    self._virtual = 2
                    if at < 2:  # it began in an earlier chunk
                        self._held = b"\r\n"
                        with view[at:] as rest:
                            self._feed(rest, text[at:])
                        return
                    at -= 2

    def _search(self, view: memoryview, text: bytes, at: int, ahead: int) -> int:
        """Looks for the delimiter from `at` on, and tells of the content before it. Returns where to go on."""
        delimiter = self._delimiter
        stop = text.find(delimiter, at)
        found = stop >= 0
        if not found:
            stop = len(text)
            mark = text.rfind(b"\r", max(at, stop - len(delimiter) + 1))  # a delimiter has one CR, its first byte
            if mark >= 0 and delimiter.startswith(text[mark:]):
                self._held, stop = text[mark:], mark
        if stop > at:
            start = at + self._virtual
            self._virtual = 0
            if self._state == PREAMBLE:
                self._around(stop - start)
            else:
                self._give(view, text, start, stop, ahead)
        if not found:
            return len(text)
        self._virtual = 0
        if self._state == DATA:
            self.observer.on_part_end()
        self._state = LINE
        self._spent = 0
        return stop + len(delimiter)

    def _give(self, view: memoryview, text: bytes, start: int, stop: int, ahead: int) -> None:
        if start < ahead:  # held back before
            with memoryview(text) as whole, whole[start:min(stop, ahead)] as piece:
                self.observer.on_data(piece)
            start = ahead
        if start < stop:
            with view[start - ahead:stop - ahead] as piece:
                self.observer.on_data(piece)

    def _around(self, size: int) -> None:
        self._spent += size
        if self._spent > MOST_AROUND:
            raise TooLarge("more than %d bytes before the first boundary, or behind the last" % MOST_AROUND)

    # lines

    def _take_line(self, text: bytes, at: int) -> int:
        """Takes the line at `at`, or its beginning. Returns where to go on."""
        stop = text.find(b"\n", at) + 1
        size = (stop or len(text)) - at
        self._spent += size
        if self._state == HEAD and self._spent > self._max_head:
            raise TooLarge("the head of a part is over %d bytes" % self._max_head)
        if self._state == LINE and self._spent > MOST_PADDING:
            raise BadRequest("more than %d bytes stand behind a boundary" % MOST_PADDING)
        self._line += text[at:at + size]
        if stop:
            line, self._line = bytes(self._line), bytearray()
            if line[-2:] != b"\r\n":
                raise BadRequest("a line of a multipart body ends with LF alone")
            if self._state == HEAD:
                self._header_line(line[:-2])
            else:
                self._delimiter_line(line[:-2])
        return at + size

    def _delimiter_line(self, rest: bytes) -> None:
        match = _REST(rest)
        if match is None:
            raise BadRequest("the boundary occurs in a part, or something stands behind it")
        self._state = HEAD if match.group(1) is None else EPILOGUE
        self._spent = 0

    def _header_line(self, line: bytes) -> None:
        if line:
            if BAD_LINE(line):
                raise BadRequest("control character in a part's head")
            if len(self._headers) == MOST_HEADERS:
                raise TooLarge("a part has more than %d header lines" % MOST_HEADERS)
            self._headers.append(field(line.decode("latin-1")))
            return
        headers, self._headers = self._headers, []
        self._spent = 0
        self._state = DATA
        self.observer.on_part(headers)
