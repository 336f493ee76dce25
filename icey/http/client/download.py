"""Download: an answer's body on its way into a file.

Rules
- Under its name the file is there whole or not at all: the bytes go into a temporary file beside it, which is renamed when the
  answer is complete, and removed when the answer fails. It has the mode, and where that is allowed the owner, of the
  file that it replaces: what was private stays so.
- A symbolic link is followed. Where the name is that of no plain file (a device, a pipe), the bytes are written there directly.
- A file object is written to directly, and it stays with its owner, who closes it.
"""

from __future__ import annotations

import os

from ...base.besides import open_beside

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Optional

# Bytes of a file's buffer. Not Python's own choice: from 3.14 on that is 128 KiB, and so much of what has come would be in no
# file yet when the program is killed, or when somebody looks how far it is. What is larger than this is written at once.
WRITE_BUFFER = 8192


class Download:
    """Writes into `target`: a path or a binary file. OSError where that cannot be written. `file`: the file that is written
    to."""

    def __init__(self, target: Any) -> None:
        self._path: Optional[str] = None  # None: a file object, which its owner closes
        self._part: Optional[str] = None  # the temporary file
        self.file: BinaryIO
        if hasattr(target, "write"):
            self.file = target
            return
        path = os.fsdecode(target)
        self._path = os.path.realpath(path)
        if os.path.isdir(self._path) or not os.path.basename(path):
            raise IsADirectoryError("%r is a folder, a file's name is needed" % self._path)
        if os.path.exists(self._path) and not os.path.isfile(self._path):
            self.file = open(self._path, "wb", WRITE_BUFFER)
            return
        folder, name = os.path.split(self._path)
        self._part = os.path.join(folder, ".%s.%s.part" % (name[:60], os.urandom(4).hex()))  # 60: of 4 bytes each, at the worst
        self.file = open_beside(self._path, self._part, WRITE_BUFFER)

    def write(self, data: Any) -> None:
        """Writes a piece."""
        left = len(data)
        while left:
            taken = self.file.write(data[-left:])
            if taken is None:  # it does not say: all
                return
            if taken <= 0:
                raise OSError("write() took nothing of %d bytes of an answer" % left)
            left -= taken  # an unbuffered file may take less than all

    def commit(self) -> None:
        """The answer is complete: the file gets its name."""
        if self._path is None:
            flush = getattr(self.file, "flush", None)
            if flush is not None:
                flush()
            return
        if self._part is None:
            self.file.close()
            return
        part, self._part = self._part, None
        try:
            self.file.close()
            os.replace(part, self._path)
        except BaseException:
            os.unlink(part)
            raise

    def keep(self, path: str) -> None:
        """What has come stays, as the file `path`, though it is not all: whoever asks for the rest goes on with it."""
        part, self._part = self._part, None
        self.file.close()
        if part is not None:
            os.replace(part, path)

    def discard(self) -> None:
        """The answer failed: the temporary file is removed."""
        part, self._part = self._part, None
        try:
            if self._path is not None:
                self.file.close()
        except OSError:  # buffered bytes could not be written, and they are not wanted
            pass
        finally:
            if part is not None:
                os.unlink(part)
