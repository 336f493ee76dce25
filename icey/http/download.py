"""Download: an answer's body on its way into a file.

Rule: under its name the file is there whole or not at all: the bytes go into a temporary file beside it, which is renamed when
the answer is complete, and removed when it fails. A link is followed. What is there and is no plain file (a device, a pipe) is
written to as it is; so is a file object, which stays its owner's to close.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Optional


class Download:
    """Into `target`: a path or a binary file. OSError where that cannot be written."""

    def __init__(self, target: Any) -> None:
        self._path: Optional[str] = None  # None: not ours to close
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
            self.file = open(self._path, "wb")
            return
        folder, name = os.path.split(self._path)
        self._part = os.path.join(folder, ".%s.%s.part" % (name[:60], os.urandom(4).hex()))  # 60: of 4 bytes each, at the worst
        self.file = open(self._part, "xb")

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
        """All is there: it gets its name."""
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

    def discard(self) -> None:
        """It failed: nothing is left behind."""
        part, self._part = self._part, None
        try:
            if self._path is not None:
                self.file.close()
        except OSError:  # what it held back could not be written, nor is it wanted
            pass
        finally:
            if part is not None:
                os.unlink(part)
