"""Where the body of a download goes: stdout, a file, the rest of a file; JSON is laid out on its way.

    outlet.write(data)     a piece; Trouble where it cannot be taken
    outlet.commit()        that was all of it
    outlet.discard()       it failed, or was cut short

Rules
- A file appears under its name when it is complete (http/download.py). One that is resumed is written to as it is: what has
  come stays there, for the next time.
- A rest is appended only where the server says that it begins where we end (RFC 9110 section 14.4). What the file is a part
  of, its ETag or Last-Modified, is remembered beside it, in NAME.resume, and sent along as If-Range (section 13.1.5): of a file
  that has changed since, all comes anew.
- Writing to stdout waits for whoever reads it.
"""

from __future__ import annotations

import os
import re
import select
from stat import S_ISREG

from ..http.download import Download
from ..http.grammar import BAD_VALUE
from ..http.message import REASONS
from .console import Trouble, reason
from .failures import OTHER, PROTOCOL, STATUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, BinaryIO, List, Optional, Tuple

    from ..http.message import Response
    from .console import Console

BINARY = "the body is binary and stdout is a terminal: -o FILE saves it, -o - shows it all the same"
MOST_GATHERED = 16 << 20
REMEMBERED = ".resume"


class ReaderGone(Exception):
    """Nobody reads stdout any more: a reason to end, not to complain."""


class Outlet:
    """Where a body goes. `into_file`: what it is called; `have`: bytes that were there before."""

    into_file: Optional[str] = None
    have = 0

    def head(self, data: bytes) -> None:
        """The answer's head, which comes before the body."""
        self.write(data)

    def write(self, data: Any) -> None:
        """A piece of the body, a bytes-like that is ours only now."""
        raise NotImplementedError

    def commit(self) -> None:
        """The body is complete."""

    def discard(self) -> None:
        """The body will not be complete."""


class Standard(Outlet):
    """stdout. binary: whether a terminal gets everything."""

    def __init__(self, console: Console, binary: bool) -> None:
        self._console = console
        self._out = console.out
        self._guarded = console.out_terminal and not binary

    def write(self, data: Any) -> None:
        """Returns when it is out."""
        if self._out is None:
            raise Trouble(OTHER, "there is no stdout: -o FILE saves the body")
        if self._guarded and b"\0" in bytes(data):
            raise Trouble(OTHER, BINARY)
        try:
            put(self._out, data)
        except BrokenPipeError:
            self._console.abandon_out()
            raise ReaderGone from None
        except (OSError, ValueError) as exc:
            self._console.abandon_out()
            raise Trouble(OTHER, "cannot write to stdout: %s" % reason(exc)) from exc


class Saved(Outlet):
    """The file `path`, complete or not at all."""

    def __init__(self, path: str) -> None:
        self.into_file = path
        try:
            self._download = Download(path)
        except (OSError, ValueError) as exc:
            raise _unwritable(path, exc) from exc

    def write(self, data: Any) -> None:
        """Into the temporary file."""
        try:
            self._download.write(data)
        except OSError as exc:
            raise _unwritable(str(self.into_file), exc) from exc

    def commit(self) -> None:
        """It gets its name."""
        try:
            self._download.commit()
        except OSError as exc:
            raise _unwritable(str(self.into_file), exc) from exc

    def discard(self) -> None:
        """Nothing is left."""
        self._download.discard()


class Indented(Outlet):
    """Gathers JSON, and hands it to `inner` laid out; what is none, or too large, as it came."""

    def __init__(self, inner: Outlet, console: Console) -> None:
        self.into_file = inner.into_file
        self._inner = inner
        self._console = console
        self._pieces: Optional[List[bytes]] = []  # None: it is too large
        self._size = 0

    def head(self, data: bytes) -> None:
        """As it is."""
        self._inner.head(data)

    def write(self, data: Any) -> None:
        """Kept until all is there."""
        if self._pieces is None:
            self._inner.write(data)
            return
        self._pieces.append(bytes(data))
        self._size += len(data)
        if self._size > MOST_GATHERED:
            pieces, self._pieces = self._pieces, None
            self._console.note("over %d MiB of JSON are not laid out: they come as they are" % (MOST_GATHERED >> 20))
            for piece in pieces:
                self._inner.write(piece)

    def commit(self) -> None:
        """Lays it out."""
        if self._pieces:
            self._lay_out(b"".join(self._pieces))
        self._inner.commit()

    def _lay_out(self, body: bytes) -> None:
        from .jsontext import indented

        try:
            pieces = indented(body)
        except ValueError as exc:
            self._console.note("the body is no JSON, it comes as it is: %s" % exc)
            pieces = iter([body])
        for piece in pieces:
            self._inner.write(piece)

    def discard(self) -> None:
        """Nothing of it is shown."""
        self._inner.discard()


class Resumed(Outlet):
    """The file `path`, of which a part may be there: `fields` ask for the rest of it, `open` looks at the answer."""

    def __init__(self, path: str) -> None:
        self.into_file = path
        self._file: Optional[IO[bytes]] = None
        self._left: Optional[int] = None  # bytes to come, None: not told
        self._beyond = False  # the server will still have more
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as exc:
            raise _unwritable(path, exc) from exc
        if not S_ISREG(found.st_mode):
            raise Trouble(OTHER, "%s is no plain file, it cannot be resumed" % path)
        self.have = found.st_size

    def fields(self) -> List[Tuple[str, str]]:
        """What the request says of the part that is there."""
        if not self.have:
            return []
        validator = self._remembered()
        return [("Range", "bytes=%d-" % self.have)] + ([("If-Range", validator)] if validator else [])

    def open(self, response: Response) -> bool:
        """Gets ready for the body of `response`; False: all of it is there already. Trouble: it is not what was asked for."""
        status, told = response.status, response.headers.get("content-range", "")
        if status == 416 and self.have and told == "bytes */%d" % self.have:
            self._forget()
            return False
        if status == 206 and self.have:
            self._check_rest(told, response)
            self._begin("r+b", response)
        elif status == 200:
            self.have = 0
            self._begin("wb", response)
        else:
            raise Trouble(STATUS, "%s: nothing that %s could go on with" % (told_status(response), self.into_file))
        return True

    def write(self, data: Any) -> None:
        """Behind what is there."""
        assert self._file is not None
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise Trouble(PROTOCOL, "the server sends more than its Content-Range says")
        try:
            self._file.write(data)
        except OSError as exc:
            raise _unwritable(str(self.into_file), exc) from exc

    def commit(self) -> None:
        """All is there, if that was all that the server has."""
        assert self._file is not None
        try:
            self._file.close()
        except OSError as exc:
            raise _unwritable(str(self.into_file), exc) from exc
        if self._left or self._beyond:
            raise Trouble(PROTOCOL, "the server sent less than the rest of %s: try again" % self.into_file)
        self._forget()

    def discard(self) -> None:
        """What has come stays."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError:  # its last bytes come again the next time
                pass

    def _check_rest(self, told: str, response: Response) -> None:
        """That this is the rest, of the same file."""
        match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", told)
        first, last = (int(match.group(1)), int(match.group(2))) if match else (-1, -1)
        total = last + 1 if match is None or match.group(3) == "*" else int(match.group(3))
        if first != self.have or not first <= last < total:
            raise Trouble(PROTOCOL, "the server was asked for bytes from %d on and sends %r: nothing was written"
                          % (self.have, told))
        known, etag = self._remembered(), response.headers.get("etag")
        if known is not None and known.startswith('"') and etag is not None and etag != known:
            raise Trouble(PROTOCOL, "%s has changed on the server, which ignores If-Range: remove it to begin anew"
                          % self.into_file)
        self._left = last + 1 - first
        self._beyond = last + 1 < total

    def _begin(self, mode: str, response: Response) -> None:
        path = str(self.into_file)
        try:
            self._remember(response)
            self._file = file = open(path, mode)
            if file.seek(0, os.SEEK_END) != self.have:
                raise OSError("it has changed since the request")
        except (OSError, ValueError) as exc:
            raise _unwritable(path, exc) from exc

    # what it is a part of

    def _remember(self, response: Response) -> None:
        """For the next time, from the beginning on: who is killed writes nothing any more."""
        etag = response.headers.get("etag", "")
        validator = etag if etag.startswith('"') else response.headers.get("last-modified")
        if validator is None:
            self._forget()
        else:
            with open(str(self.into_file) + REMEMBERED, "w", encoding="latin-1", newline="") as file:
                file.write("If-Range: %s\n" % validator)

    def _remembered(self) -> Optional[str]:
        try:
            with open(str(self.into_file) + REMEMBERED, encoding="latin-1", newline="") as file:
                match = re.fullmatch("If-Range: ([^\n]+)\n", file.read(4096))
        except OSError:
            return None
        return match.group(1) if match is not None and not BAD_VALUE(match.group(1)) else None

    def _forget(self) -> None:
        try:
            os.unlink(str(self.into_file) + REMEMBERED)
        except OSError:  # there was none
            pass


def told_status(response: Response) -> str:
    """As in "404 Not Found"."""
    return ("%d %s" % (response.status, response.reason or REASONS.get(response.status, ""))).rstrip()


def put(file: BinaryIO, data: Any) -> None:
    """Writes all of `data` now, also where somebody has made the descriptor nonblocking."""
    left = memoryview(data)
    while True:
        try:
            if left:
                left = left[file.write(left):]
            file.flush()
            return
        except BlockingIOError as exc:
            left = left[exc.characters_written:]
            select.select([], [file], [])


def _unwritable(path: str, exc: BaseException) -> Trouble:
    return Trouble(OTHER, "cannot write %s: %s" % (path, reason(exc)))
