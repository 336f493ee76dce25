"""Where the body of a download goes: stdout, a file, the rest of a file; JSON is laid out on its way.

    outlet.write(data)     takes a piece; Trouble where that cannot be
    outlet.commit()        the body is complete
    outlet.date(seconds)   then: the file gets this time, where it is a file
    outlet.discard()       the download failed, or was cut short
    outlet.keep(response)  the user stopped it: where it can be resumed, what has come stays, and its path is told

Rules
- A file appears under its name when it is complete (http/client/download.py). A file that is resumed is written to in place:
  what has come stays there, for the next time. What Ctrl-C stops stays in NAME.part, and NAME is resumed from there.
- The rest of a file is appended only where the server says that it begins where the file ends (RFC 9110 section 14.4). The ETag
  or Last-Modified of what the file is a part of is remembered beside the file, in NAME.resume, and sent along as If-Range
  (section 13.1.5): where the server's file has changed, all of it comes anew.
- Writing to stdout waits for the program that reads it.
"""

from __future__ import annotations

import os
import re
from stat import S_ISREG

from ...http.client.download import WRITE_BUFFER, Download
from ...http.semantics.grammar import BAD_VALUE
from ..cli.console import Trouble, put, reason, tame
from ..cli.failures import OTHER, PROTOCOL, STATUS, told_status

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import IO, Any, List, Optional, Tuple

    from ...http.semantics.message import Response
    from ..cli.console import Console

BINARY = "the body is binary and stdout is a terminal: -o FILE saves it, -o - shows it all the same"
MOST_GATHERED = 16 << 20
REMEMBERED = ".resume"
PART = ".part"


class ReaderGone(Exception):
    """Nobody reads stdout any more: a reason to end, not to complain."""


class Outlet:
    """Where a body goes. `into_file`: the file's path, None for stdout. `have`: bytes that were there before."""

    into_file: Optional[str] = None
    have = 0

    def head(self, data: bytes) -> None:
        """The answer's head, which comes before the body."""
        self.write(data)

    def keep(self, response: Response) -> Optional[str]:
        """The user has stopped the download of `response`. The path of what has come, None where nothing was kept."""
        self.discard()
        return None

    def write(self, data: Any) -> None:
        """Takes a piece of the body, bytes-like, lent until this returns."""
        raise NotImplementedError

    def commit(self) -> None:
        """The body is complete."""

    def date(self, modified: float) -> None:
        """Behind `commit`: has the file be as old as what was downloaded. modified: seconds since the epoch. OSError,
        OverflowError, ValueError where that cannot be; a device, a pipe, and stdout have no such time."""
        path = self.into_file
        if path is not None and os.path.isfile(path):
            os.utime(path, (os.stat(path).st_atime, modified))

    def discard(self) -> None:
        """The body will not be complete."""


class Standard(Outlet):
    """stdout. binary: True if a terminal gets binary data too."""

    def __init__(self, console: Console, binary: bool) -> None:
        self._console = console
        self._out = console.out
        self._guarded = console.out_terminal and not binary

    def head(self, data: bytes) -> None:
        """On a terminal nothing in it steers the terminal."""
        if self._console.out_terminal:
            lines = data.decode("utf-8", "backslashreplace").split("\r\n")
            data = "\r\n".join(map(tame, lines)).encode("utf-8", "backslashreplace")
        self.write(data)

    def write(self, data: Any) -> None:
        """Returns when `data` is out."""
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
    """The file `path`: it is there when it is complete, and not before."""

    def __init__(self, path: str) -> None:
        self.into_file: Optional[str] = path
        try:
            self._download = Download(path)
        except (OSError, ValueError) as exc:
            raise _unwritable(path, exc) from exc

    def write(self, data: Any) -> None:
        """Writes to the temporary file."""
        try:
            self._download.write(data)
        except OSError as exc:
            raise _unwritable(str(self.into_file), exc) from exc

    def commit(self) -> None:
        """Gives the file its name."""
        try:
            self._download.commit()
        except OSError as exc:
            raise _unwritable(str(self.into_file), exc) from exc

    def discard(self) -> None:
        """Removes the temporary file."""
        self._download.discard()

    def keep(self, response: Response) -> Optional[str]:
        """Keeps what has come in NAME.part, with what the rest of it is asked for by."""
        part = str(self.into_file) + PART
        try:
            self._download.keep(part)
            remember(part, response)
        except OSError:
            self._download.discard()
            return None
        return part


class Indented(Outlet):
    """Gathers JSON, and hands it to `inner` laid out. What is not JSON, or too large, is handed on as it came."""

    def __init__(self, inner: Outlet, console: Console) -> None:
        self.into_file: Optional[str] = inner.into_file
        self._inner = inner
        self._console = console
        self._pieces: Optional[List[bytes]] = []  # None: the body is too large
        self._size = 0

    def head(self, data: bytes) -> None:
        """Handed on as it is."""
        self._inner.head(data)

    def write(self, data: Any) -> None:
        """Keeps `data` until all is there."""
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
        """Lays the JSON out, and hands it on."""
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
        """Shows nothing."""
        self._inner.discard()


class Resumed(Outlet):
    """The file `path`, of which a part may be there: `fields` ask for the rest of it, `open` looks at the answer.

    Where there is a NAME.part, that is the part, and gets the name when it is complete. `changed`: what the server has is not
    what the part is of, as far as it tells.
    """

    def __init__(self, path: str) -> None:
        self.into_file: Optional[str] = path
        self.changed: bool = False
        if os.path.isfile(path + PART):
            path += PART
        self._path = path  # what is written to
        self._file: Optional[IO[bytes]] = None
        self._left: Optional[int] = None  # bytes to come, None: the server did not say
        self._beyond = False  # the server has more than it sends now
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as exc:
            raise _unwritable(path, exc) from exc
        if not S_ISREG(found.st_mode):
            raise Trouble(OTHER, "%s is no plain file, it cannot be resumed" % path)
        self.have: int = found.st_size

    def fields(self) -> List[Tuple[str, str]]:
        """What the request says of the part that is there."""
        if not self.have:
            return []
        validator = self._remembered()
        return [("Range", "bytes=%d-" % self.have)] + ([("If-Range", validator)] if validator else [])

    def open(self, response: Response) -> bool:
        """Prepares for the body of `response`. False: the file is complete already. Trouble: this is not what was asked for."""
        status, told = response.status, response.headers.get("content-range", "")
        if status == 416 and self.have and told == "bytes */%d" % self.have:
            self._complete()
            return False
        if status == 206 and self.have:
            self._check_rest(told, response)
            self._begin("r+b", response)
        elif status == 200:
            known, now = self._remembered(), validator_of(response)
            self.changed = known is not None and now is not None and known != now
            self.have = 0
            self._begin("wb", response)
        else:
            raise Trouble(STATUS, "%s: nothing that %s could go on with" % (told_status(response), self.into_file))
        return True

    def write(self, data: Any) -> None:
        """Appends `data`."""
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
        """Closes the file. Trouble: the server has more."""
        assert self._file is not None
        try:
            self._file.close()
        except OSError as exc:
            raise _unwritable(str(self.into_file), exc) from exc
        if self._left or self._beyond:
            raise Trouble(PROTOCOL, "the server sent less than the rest of %s: try again" % self.into_file)
        self._complete()

    def discard(self) -> None:
        """Closes the file, and keeps what has come."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError:  # its last bytes come again the next time
                pass

    def keep(self, response: Response) -> Optional[str]:
        """Closes the file, as when the download fails."""
        self.discard()
        return None if self._file is None else self._path

    def _complete(self) -> None:
        """All of the file is there: it gets its name."""
        self._forget()
        if self._path != self.into_file:
            try:
                os.replace(self._path, str(self.into_file))
            except OSError as exc:
                raise _unwritable(str(self.into_file), exc) from exc

    def _check_rest(self, told: str, response: Response) -> None:
        """Checks that this is the rest of the same file; Trouble if not."""
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
        path = self._path
        try:
            remember(path, response)
            self._file = file = open(path, mode, WRITE_BUFFER)
            if file.seek(0, os.SEEK_END) != self.have:
                raise OSError("it has changed since the request")
        except (OSError, ValueError) as exc:
            raise _unwritable(path, exc) from exc

    # the validator of what the file is a part of

    def _remembered(self) -> Optional[str]:
        try:
            with open(self._path + REMEMBERED, encoding="latin-1", newline="") as file:
                match = re.fullmatch("If-Range: ([^\n]+)\n", file.read(4096))
        except OSError:
            return None
        return match.group(1) if match is not None and not BAD_VALUE(match.group(1)) else None

    def _forget(self) -> None:
        forget(self._path)


def validator_of(response: Response) -> Optional[str]:
    """What the rest of this body can be asked for by: its ETag, unless that is a weak one, else its Last-Modified."""
    etag: str = response.headers.get("etag", "")
    return etag if etag.startswith('"') else response.headers.get("last-modified")


def remember(path: str, response: Response) -> None:
    """Notes the validator for the next time; at the beginning, since a process that is killed writes nothing at its end."""
    validator = validator_of(response)
    if validator is None:
        forget(path)
    else:
        with open(path + REMEMBERED, "w", encoding="latin-1", newline="") as file:
            file.write("If-Range: %s\n" % validator)


def forget(path: str) -> None:
    """What `remember` noted is wanted no more."""
    try:
        os.unlink(path + REMEMBERED)
    except OSError:  # there was none
        pass


def _unwritable(path: str, exc: BaseException) -> Trouble:
    return Trouble(OTHER, "cannot write %s: %s" % (path, reason(exc)))
