"""Download: an answer's body on its way into a file.

Rule: under its name the file is there whole or not at all: the bytes go into a temporary file beside it, which is renamed when
the answer is complete, and removed when it fails. A file object is written to as it is, and stays its owner's to close.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Optional


class Download:
    """Into `target`: a path or a binary file. OSError where that cannot be written."""

    def __init__(self, target: Any) -> None:
        self._path: Optional[str] = None
        self._part: Optional[str] = None
        self.file: BinaryIO
        if hasattr(target, "write"):
            self.file = target
            return
        self._path = os.fsdecode(target)
        if os.path.isdir(self._path):
            raise IsADirectoryError("%r is a folder, a file's name is needed" % self._path)
        folder, name = os.path.split(self._path)
        self._part = os.path.join(folder, ".%s.%s.part" % (name[:200], os.urandom(4).hex()))
        self.file = open(self._part, "xb")

    def write(self, data: Any) -> None:
        """Writes a piece."""
        written = self.file.write(data)
        while written is not None and written < len(data):  # an unbuffered file may take less
            data = data[written:]
            written = self.file.write(data)

    def commit(self) -> None:
        """All is there: it gets its name."""
        if self._path is None or self._part is None:
            self.file.flush()
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
        if self._part is not None:
            part, self._part = self._part, None
            self.file.close()
            os.unlink(part)
