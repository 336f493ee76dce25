"""A request's body: where its bytes come from, and how they are framed.

    given to start()                     framing
    None                                 none; "Content-Length: 0" where the method wants a body; send() makes it chunked
    bytes-like                           Content-Length, the number of bytes
    a binary file                        Content-Length, what is left of the file, where that is known; else chunked
    an iterable of bytes                 chunked
    any of these, and a Content-Length   that Content-Length; StateError where the body has more or fewer bytes
    an object with `length` and pieces   Content-Length (MultipartEncoder)

Rules: a source is asked for more only while the connection is below high water. A source that can `rewind` may be sent again:
after a redirect, with credentials, on a new connection. A generator is closed when the rest of it is not wanted; a file is not
closed, it belongs to the caller.

Not here: the request's head (requesthead.py), when the body may go (client/requestwriter.py).
"""

from __future__ import annotations

from types import GeneratorType

from ...base.buffer import flat, own
from ...base.errors import StateError

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Iterator, List, Optional

    from ...base.buffer import Data
    from ..semantics.headers import Headers

PIECE = 65536
WANT_BODY = frozenset(["POST", "PUT", "PATCH"])


class Body:
    """Where the bytes of a body come from. `length`: how many, None where that is not known."""

    length: Optional[int] = None

    def next(self) -> Optional[Data]:
        """The next piece, bytes-like and not empty; None at the end."""
        raise NotImplementedError

    def rewind(self) -> bool:
        """Goes back to the beginning; False where that is not possible."""
        return False

    def close(self) -> None:
        """The rest is not wanted."""


class Whole(Body):
    """Bytes in memory: kept, copied if they are mutable."""

    def __init__(self, data: Any) -> None:
        self.data: bytes = own(flat(data))
        self._given = False
        self.length: int = len(self.data)

    def next(self) -> Optional[Data]:
        """All bytes, once."""
        if self._given or not self.data:
            return None
        self._given = True
        return self.data

    def rewind(self) -> bool:
        """Always possible."""
        self._given = False
        return True


class File(Body):
    """What is left of an open binary file: as much as there is now, though the file may grow. The caller closes the file."""

    def __init__(self, file: Any) -> None:
        if hasattr(file, "encoding"):
            raise TypeError("a body is bytes: open the file in binary mode")
        self._file = file
        self._start: Optional[int] = None
        try:
            if file.seekable():
                self._start = file.tell()
                self.length = max(0, file.seek(0, 2) - self._start)
                file.seek(self._start)
        except (AttributeError, OSError):  # a pipe; something that only reads
            self._start = self.length = None
        self._left = self.length

    def next(self) -> Optional[Data]:
        """Up to 64 KiB."""
        if self._left == 0:
            return None
        piece = self._file.read(PIECE if self._left is None else min(PIECE, self._left))
        if piece is None:
            raise BlockingIOError("a body's file has to be one that blocks: read() had nothing and no end")
        if not piece:
            return None
        data = flat(piece) if not isinstance(piece, str) else _refuse_text()
        if self._left is not None:
            self._left -= len(data)
        return data

    def rewind(self) -> bool:
        """Possible where the file can seek."""
        if self._start is None:
            return False
        self._file.seek(self._start)
        self._left = self.length
        return True


class Pieces(Body):
    """An iterable of bytes; one that is its own iterator can be read once."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces
        self._iterator: Iterator[Any] = iter(pieces)
        self._began = False
        length = getattr(pieces, "length", None)
        self.length: Optional[int] = length if isinstance(length, int) else None

    def next(self) -> Optional[Data]:
        """The next piece that is not empty, None at the end."""
        self._began = True
        for piece in self._iterator:
            data = own(flat(piece)) if not isinstance(piece, str) else _refuse_text()
            if data:
                return data
        return None

    def rewind(self) -> bool:
        """Possible where iterating again starts anew."""
        if self._began:
            if self._iterator is self._pieces or not getattr(self._pieces, "rewindable", True):
                return False
            self.close()
            self._iterator = iter(self._pieces)
            self._began = False
        return True

    def close(self) -> None:
        """Closes a generator, unless it runs just now."""
        iterator = self._iterator
        if isinstance(iterator, GeneratorType) and not iterator.gi_running:
            iterator.close()


def _refuse_text() -> bytes:
    raise TypeError("a body is bytes: encode the str first, or open the file in binary mode")


def body_of(body: Any) -> Optional[Body]:
    """The source for what `start` was given, None for None; TypeError for anything that cannot be a body."""
    if body is None or isinstance(body, Body):
        return body
    if isinstance(body, str) or hasattr(body, "keys"):
        raise TypeError("a body is bytes: encode the str first, body.encode(), or the form, urlencode(fields)")
    if hasattr(body, "read"):
        return File(body)
    try:
        return Whole(body)
    except TypeError:  # no buffer
        pass
    try:
        return Pieces(body)
    except TypeError:
        raise TypeError("a body is bytes-like, a binary file or an iterable of bytes, not %s" % type(body).__name__) from None


class BodyFraming:
    """How the body of one request goes out. `length`: bytes that were promised, None: chunked. `sent`: bytes so far."""

    __slots__ = ("length", "sent")

    def __init__(self, length: Optional[int]) -> None:
        self.length: Optional[int] = length
        self.sent: int = 0

    @property
    def full(self) -> bool:
        """Whether all promised bytes were sent."""
        return self.sent == self.length

    def wrap(self, parts: List[Data], size: int) -> List[Data]:
        """What goes out for `parts`, which have `size` bytes. StateError beyond the length: nothing is counted then."""
        if not size:
            return []
        if self.length is None:
            parts = [b"%x\r\n" % size, *parts, b"\r\n"]
        elif self.sent + size > self.length:
            raise StateError("a body %d bytes beyond its Content-Length" % (self.sent + size - self.length),
                             "send what was promised, or give no Content-Length", "the engine frames")
        self.sent += size
        return parts

    def require_all(self) -> None:
        """StateError where fewer bytes were sent than promised."""
        if self.length is not None and self.sent < self.length:
            raise StateError("a body %d bytes short of its Content-Length" % (self.length - self.sent),
                             "send all of it, or give no Content-Length", "the engine frames")


def framing_of(headers: Headers, source: Optional[Body]) -> Optional[BodyFraming]:
    """How a request with these headers frames `source`, or a body that is still to come; None for no body.

    ValueError: Transfer-Encoding or Content-Length that are malformed, contradict each other, or do not fit `source`.
    """
    coding = given = None
    for name, value in headers.items():
        key = name.lower()
        if key == "transfer-encoding":
            if coding is not None:
                raise ValueError("more than one Transfer-Encoding")
            coding = value
        elif key == "content-length":
            if given is not None:
                raise ValueError("more than one Content-Length")
            given = value
    if coding is not None:
        if coding.lower() != "chunked" or given is not None:
            raise ValueError("a request's body is chunked or has a Content-Length: %r" % coding)
        return BodyFraming(None)
    if given is None:
        return None if source is None else BodyFraming(source.length)
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise ValueError("Content-Length is a number of bytes, not %r" % given)
    if source is not None and source.length is not None and source.length != int(given):
        raise ValueError("Content-Length says %s, the body has %d bytes" % (given, source.length))
    return BodyFraming(int(given))
