"""Waker: what ends a loop's sleep from outside of it: from another thread, a signal handler, a finalizer.

A byte is sent, and the loop, which watches the other end, wakes. The byte travels through the first of these that the
system gives:

1. a pair of sockets. Everywhere but below; on Windows Python makes one over the loopback
2. a pipe. Emscripten (Pyodide), and sandboxes that forbid sockets. Not on Windows, whose select() takes no pipes
3. nothing, where there is no pipe either (WASI): the loop sleeps in short slices (PatientPoller in poller.py) and looks

Rule: `wake` and `asleep` are thread-safe and take no lock. The rest is for the loop's thread.
"""

from __future__ import annotations

import os
import socket

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Optional, Tuple, Union

    End = Union[socket.socket, "PipeEnd"]


class PipeEnd:
    """One end of a pipe, with the methods of a socket that a Waker needs. It does not block."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._fd

    def send(self, data: bytes) -> int:
        """As socket.send."""
        return os.write(self._fd, data)

    def recv(self, size: int) -> bytes:
        """As socket.recv."""
        return os.read(self._fd, size)

    def close(self) -> None:
        """As socket.close: again is nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


class Waker:
    """A pair of ends, the one watched by the loop: a byte in it ends the loop's sleep."""

    __slots__ = ("asleep", "_read", "_write")

    def __init__(self) -> None:
        self._read: Optional[End]
        self._write: Optional[End]
        self._read, self._write = _pair() or (None, None)
        self.asleep: bool = True  # whether a post has to send a byte; the first that does clears it

    def fileno(self) -> int:
        """The descriptor to watch; -1 where there is none."""
        return self._read.fileno() if self._read is not None else -1

    def write_fileno(self) -> int:
        """The descriptor for signal.set_wakeup_fd, to which -1 is none."""
        return self._write.fileno() if self._write is not None else -1

    def wake(self) -> None:
        """Sends the byte, unless one is on its way. From any thread, a signal handler or `__del__`."""
        if self.asleep:
            try:
                self.asleep = False
                if self._write is not None:
                    self._write.send(b"\0")
            except OSError:  # full: there is a byte already; closed: there is nobody to wake
                pass
            except BaseException:  # an interrupt, maybe before the byte
                self.asleep = True
                raise

    def drain(self, mask: int) -> None:
        """Takes the bytes out again."""
        try:
            while self._read is not None and len(self._read.recv(4096)) == 4096:
                pass
        except OSError:  # empty
            pass

    def close(self) -> None:
        """Closes both ends."""
        for end in (self._read, self._write):
            if end is not None:
                end.close()


def _pair() -> Optional[Tuple[End, End]]:
    """(the end to watch, the end to write to), nonblocking; None where the system has no such pair."""
    try:
        near, far = socket.socketpair()
    except (AttributeError, OSError):  # also where Python has to make one, and finds no listen() to do it with
        if os.name == "nt":
            raise
    else:
        near.setblocking(False)
        far.setblocking(False)
        return near, far
    try:
        reading, writing = os.pipe()
    except AttributeError:
        return None
    return PipeEnd(reading), PipeEnd(writing)
