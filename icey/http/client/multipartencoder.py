"""MultipartEncoder: a form with files, as a client sends it: multipart/form-data (RFC 7578, WHATWG HTML 4.10.21.8).

    form = MultipartEncoder([("title", "Hello"), ("upload", FilePart("/tmp/photo.jpg"))])
    form.content_type, form.length
    for piece in form: ...                      # bytes, at most 64 KiB each

Rules
- A file is opened when its turn comes, and closed again; a file object that was given stays open.
- The length of a file is taken once, when its FilePart is made, and is a promise: what is longer is cut, what has become
  shorter is NetError. Without a length (a pipe) a file is read to its end, and once only.
- In names a quote and line ends are %22, %0D and %0A, as browsers write them. A backslash stays as it is; it is doubled only
  where a reader of quoted strings would take it for an escape: before another backslash, or at the end.

Not here: reading such a form (semantics/multipart.py and, on a server, server/forms.py).
"""

from __future__ import annotations

import os
import re
from stat import S_ISREG

from ...base.errors import NetError, StateError
from ..semantics.grammar import BAD_VALUE, TOKEN
from ..semantics.headers import check_field, pairs_of
from ..semantics.mediatypes import type_of
from ..semantics.multipart import boundary_of
from ..semantics.urlencoding import octets_of

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Generator, Iterator, List, Optional, Tuple, Union

    from ..semantics.urlencoding import Fields

    Content = Union[bytes, "FilePart"]

PIECE = 65536

_ESCAPES = {'"': "%22", "\r": "%0D", "\n": "%0A"}


class FilePart:
    """A file to send: `FilePart(path_or_file, filename=None, content_type=None)`.

    path_or_file: a path, or an object with `read`, open in binary mode, which is sent from its current position. OSError
    where the file is missing.

    `filename`: as given, else the last part of the file's own name, else "blob". `content_type`: as given, else what the
    suffix of the filename says. `size`: bytes to send, None where that is not known. `rewindable`: whether the file can be
    sent again.
    """

    __slots__ = ("filename", "content_type", "size", "_path", "_file", "_start")

    def __init__(
        self, path_or_file: Union[str, os.PathLike[str], BinaryIO], filename: Optional[str] = None,
        content_type: Optional[str] = None,
    ) -> None:
        self._path: Optional[str] = None
        self._file: Any = None
        self._start: Optional[int] = None  # where the file object stands; None: it cannot be told, nor set
        self.size: Optional[int]
        if hasattr(path_or_file, "read"):
            self._file = path_or_file
            self.size = self._measure()
            own = getattr(path_or_file, "name", None)
        else:
            self._path = own = os.fspath(path_or_file)
            found = os.stat(self._path)
            self.size = found.st_size if S_ISREG(found.st_mode) else None
        own = os.path.basename(own) if isinstance(own, str) else ""
        self.filename: str = (own or "blob") if filename is None else filename
        self.content_type: str = type_of(self.filename) if content_type is None else content_type
        check_field("Content-Type", self.content_type)

    @property
    def rewindable(self) -> bool:
        """Whether the file can be sent again."""
        return self._start is not None or (self._path is not None and self.size is not None)

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the file, at most 64 KiB at a time. NetError where the file has become shorter."""
        if self._path is not None:
            with open(self._path, "rb") as file:
                yield from self._read(file)
        else:
            if self._start is not None:
                self._file.seek(self._start)
            yield from self._read(self._file)

    def _read(self, file: Any) -> Iterator[bytes]:
        left = self.size
        while left is None or left:
            piece = file.read(PIECE if left is None else min(left, PIECE))
            if not piece:
                if left:
                    raise NetError("%s ended %d bytes before what it had when its form was made" % (self.filename, left))
                return
            if not isinstance(piece, bytes):
                raise TypeError("a form's file is read in binary: open it with \"rb\"")
            if left is not None:
                left -= len(piece)
            yield piece

    def _measure(self) -> Optional[int]:
        try:
            start = self._file.tell()
            size: int = self._file.seek(0, os.SEEK_END) - start
            self._file.seek(start)
        except (OSError, AttributeError):  # a pipe, or not quite a file
            return None
        self._start = start
        return max(0, size)

    def __repr__(self) -> str:
        return "FilePart(%r)" % self.filename


class MultipartEncoder:
    """The body of a form, as an iterable of bytes.

    fields: pairs or a mapping of names to str, bytes, int, or a FilePart; TypeError for others. boundary: 1 to 70 characters
    that occur in none of the values, chosen at random if None; ValueError for a wrong one, or for a name that cannot be sent.

    `content_type`: the Content-Type to send the form with. `length`: bytes of the whole form, None where a file's size is not
    known. `boundary`: str. `rewindable`: whether the form can be iterated again; if not, a second time is StateError.
    """

    __slots__ = ("boundary", "rewindable", "_parts", "_tail", "_spent")

    def __init__(self, fields: Fields, *, boundary: Optional[str] = None) -> None:
        named = [(name, value if isinstance(value, FilePart) else octets_of(value)) for name, value in pairs_of(fields)]
        contents = [value for _, value in named if isinstance(value, bytes)]
        if boundary is None:
            boundary = _unused(contents)
        mark = b"--" + boundary_of({"boundary": boundary})
        if any(mark in content for content in contents):
            raise ValueError("the boundary %r occurs in a value: leave its choice to the encoder" % boundary)
        self.boundary: str = boundary
        self._parts: List[Tuple[bytes, Content]] = [(mark + b"\r\n" + _head(name, value), value) for name, value in named]
        self._tail = mark + b"--\r\n"
        self.rewindable: bool = all(not isinstance(value, FilePart) or value.rewindable for _, value in named)
        self._spent = False

    @property
    def content_type(self) -> str:
        """The Content-Type to send the form with."""
        return "multipart/form-data; boundary=" + (self.boundary if TOKEN(self.boundary) else '"%s"' % self.boundary)

    @property
    def length(self) -> Optional[int]:
        """Bytes of the whole form; None where the size of a file is not known."""
        total = len(self._tail)
        for head, content in self._parts:
            size = content.size if isinstance(content, FilePart) else len(content)
            if size is None:
                return None
            total += len(head) + size + 2
        return total

    def __iter__(self) -> Iterator[bytes]:
        return _gathered(self._pieces())

    def _pieces(self) -> Generator[bytes, None, None]:
        if self._spent and not self.rewindable:
            raise StateError("a form was read twice, and one of its files cannot be rewound", "make the form anew")
        self._spent = True
        for head, content in self._parts:
            yield from _cut(head)
            yield from content.pieces() if isinstance(content, FilePart) else _cut(content)
            yield b"\r\n"
        yield self._tail

    def __repr__(self) -> str:
        return "<MultipartEncoder of %d parts>" % len(self._parts)


def _cut(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), PIECE):
        yield content[start:start + PIECE]


def _gathered(pieces: Generator[bytes, None, None]) -> Iterator[bytes]:
    """The same bytes, small pieces joined."""
    waiting: List[bytes] = []
    size = 0
    try:
        for piece in pieces:
            if size + len(piece) > PIECE:
                yield b"".join(waiting)
                waiting, size = [], 0
            waiting.append(piece)
            size += len(piece)
        yield b"".join(waiting)
    finally:
        pieces.close()  # and with it the file at hand, if nobody wants the rest


def _unused(contents: List[bytes]) -> str:
    while True:
        boundary = "icey-" + os.urandom(16).hex()
        if not any(boundary.encode("ascii") in content for content in contents):
            return boundary


def _head(name: str, value: Content) -> bytes:
    head = 'Content-Disposition: form-data; name="%s"' % _escaped(name)
    if isinstance(value, FilePart):
        head += '; filename="%s"\r\nContent-Type: %s' % (_escaped(value.filename), value.content_type)
    return (head + "\r\n\r\n").encode("utf-8")


def _escaped(name: str) -> str:
    """A name as it stands between quotes; ValueError for control characters."""
    text = re.sub('["\r\n]', lambda match: _ESCAPES[match.group()], name)
    if BAD_VALUE(text.encode("utf-8").decode("latin-1")):
        raise ValueError("a form's name has no control characters: %r" % name)
    return re.sub(r"\\{2,}|\\\Z", lambda match: match.group() * 2, text)
