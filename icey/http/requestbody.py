"""A request's body: where its bytes come from, and how they are framed.

    given to start()                     framing
    None                                 none; "Content-Length: 0" where the method wants a body; send() makes it chunked
    bytes-like                           its length
    a binary file                        what is left of it, where that can be told; else chunked
    an iterable of bytes                 chunked
    a Content-Length of yours            held to it, whatever the source
    an object with `length` and pieces   its length (MultipartEncoder)

Rules: a source is asked for more only while the connection is below high water. What can be had again (`rewind`) may be sent
again: after a redirect, with credentials, on a new connection.

Not here: the request's head, and when the body may go (client.py).
"""

from __future__ import annotations

from ..base.buffer import flat, own
from ..base.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Optional

    from ..base.buffer import Data

PIECE = 65536
WANT_BODY = frozenset(["POST", "PUT", "PATCH"])


class Body:
    """A source of pieces. `length`: bytes, None where that is not known."""

    length: Optional[int] = None

    def next(self) -> Optional[Data]:
        """The next piece, None at the end."""
        raise NotImplementedError

    def rewind(self) -> bool:
        """Goes back to the beginning; False where that cannot be."""
        return False


class Whole(Body):
    """Bytes in memory, kept (copied if they are mutable)."""

    def __init__(self, data: Any) -> None:
        self.data = own(flat(data))
        self._given = False
        self.length = len(self.data)

    def next(self) -> Optional[Data]:
        """All of it, once."""
        if self._given or not self.data:
            return None
        self._given = True
        return self.data

    def rewind(self) -> bool:
        """Always."""
        self._given = False
        return True


class File(Body):
    """What is left of an open binary file; it stays the caller's to close."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._start: Optional[int] = None
        try:
            if file.seekable():
                self._start = file.tell()
                self.length = file.seek(0, 2) - self._start
                file.seek(self._start)
        except (AttributeError, OSError):  # a pipe; something that only reads
            self._start = self.length = None

    def next(self) -> Optional[Data]:
        """Up to 64 KiB."""
        piece = self._file.read(PIECE)
        if isinstance(piece, str):
            raise TypeError("a body is bytes: open the file in binary mode")
        return piece or None

    def rewind(self) -> bool:
        """Where the file can seek."""
        if self._start is None:
            return False
        self._file.seek(self._start)
        return True


class Pieces(Body):
    """An iterable of bytes; one that is its own iterator can be had once."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces
        self._iterator: Iterator[Any] = iter(pieces)
        self._began = False
        self.length = getattr(pieces, "length", None)

    def next(self) -> Optional[Data]:
        """The next piece that is not empty."""
        self._began = True
        for piece in self._iterator:
            if isinstance(piece, str):
                raise TypeError("a body is bytes: encode the str first")
            data = own(flat(piece))
            if data:
                return data
        return None

    def rewind(self) -> bool:
        """Where iterating again starts anew."""
        if self._began and (self._iterator is self._pieces or not getattr(self._pieces, "rewindable", True)):
            return False
        self._iterator = iter(self._pieces)
        self._began = False
        return True


def body_of(body: Any) -> Optional[Body]:
    """The source for what `start` was given; TypeError for what is none."""
    if body is None or isinstance(body, Body):
        return body
    if isinstance(body, str):
        raise TypeError("a body is bytes: encode the str first, body.encode()")
    if hasattr(body, "read"):
        return File(body)
    if isinstance(body, (bytes, bytearray, memoryview)):
        return Whole(body)
    try:
        return Pieces(body)
    except TypeError:
        return Whole(body)  # array.array and the like: a buffer, or TypeError


class Framing:
    """How one request's body goes out. length None: chunked; else it is held to that."""

    __slots__ = ("length", "left", "sent")

    def __init__(self, length: Optional[int]) -> None:
        self.length = length
        self.left = length or 0
        self.sent = 0

    @property
    def full(self) -> bool:
        """Whether a given length is reached."""
        return self.length is not None and not self.left

    def wrap(self, data: Any) -> Any:
        """What goes out for a piece, parts not empty; StateError beyond the length."""
        parts = [flat(part) for part in (data if isinstance(data, (list, tuple)) else (data,))]
        size = sum(map(len, parts))
        if not size:
            return []
        if self.length is not None:
            if size > self.left:
                raise StateError("a body %d bytes beyond its Content-Length" % (size - self.left),
                                 "send what was promised, or give no Content-Length", "the engine frames")
            self.left -= size
        else:
            parts = [b"%x\r\n" % size, *parts, b"\r\n"]
        self.sent += size
        return parts

    def end(self) -> bytes:
        """What goes out at the end; StateError short of the length."""
        if self.left:
            raise StateError("a body %d bytes short of its Content-Length" % self.left,
                             "send all of it, or give no Content-Length", "the engine frames")
        return b"0\r\n\r\n" if self.length is None else b""
