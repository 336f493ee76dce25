"""What the system still holds of what was sent: bytes that the peer has not acknowledged, where the system tells.

Linux says that a socket is writable only when a third of its send buffer is free, so "not writable" is not "the peer took
nothing". A deadline that is about to fall asks here instead: TIOCOUTQ on Linux (tcp(7), unix(7)), FIONWRITE on the BSDs and
macOS. Of a pipe it is what its reader has not read (FIONREAD): one is writable again only when a page of it is free. Elsewhere
the answer is None: then only what the kernel takes from us counts as progress.
"""

from __future__ import annotations

import os
import stat
import sys

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

_FIONWRITE = 0x40046677  # sys/filio.h: _IOR('f', 119, int)

_ask: Optional[Callable[[int], int]] = None
_asked = False


def unacknowledged(fd: int) -> Optional[int]:
    """Bytes sent on the socket, or into the pipe, `fd` that its peer has not taken, None where that cannot be known."""
    global _ask, _asked
    if not _asked:
        _asked, _ask = True, _asker()
    if _ask is None or fd < 0:
        return None
    try:
        return _ask(fd)
    except (OSError, ValueError):
        return None


def _asker() -> Optional[Callable[[int], int]]:
    """Imported at the first question: most programs end without one."""
    try:
        import fcntl
        import termios
    except ImportError:
        return None
    request: Any = getattr(termios, "TIOCOUTQ", None) if sys.platform.startswith("linux") else _FIONWRITE
    if request is None:
        return None
    ioctl, order = fcntl.ioctl, sys.byteorder
    unread: Any = getattr(termios, "FIONREAD", request)

    def ask(fd: int) -> int:
        try:
            return int.from_bytes(ioctl(fd, request, b"\0\0\0\0"), order)
        except OSError:  # no socket and no terminal
            if not stat.S_ISFIFO(os.fstat(fd).st_mode):
                raise
            return int.from_bytes(ioctl(fd, unread, b"\0\0\0\0"), order)

    return ask
