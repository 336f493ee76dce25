"""A file that is written beside the one whose place it takes once it is whole.

Not here: who writes it (packets/filesink.py, http/client/download.py).
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import BinaryIO


def open_beside(path: str, part: str, buffering: int) -> BinaryIO:
    """The new file `part`, open for writing, for the same people as `path`, if that is there: what was private stays so.

    FileExistsError where `part` is there already.
    """
    try:
        old = os.stat(path)
    except OSError:  # it is not there
        return open(part, "xb", buffering)
    file = open(part, "xb", buffering, opener=lambda name, flags: os.open(name, flags, 0o600))
    try:
        if hasattr(os, "fchown"):
            try:
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            except OSError:  # somebody else's: it becomes ours, as any file that we make
                pass
        os.chmod(part, stat.S_IMODE(old.st_mode) & 0o777)  # nobody else's rights with what came from outside
    except OSError:  # a file system without modes
        pass
    return file
