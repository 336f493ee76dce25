"""Across threads: Synchronizer, and the pair of sockets that wakes a sleeping loop.

Rule: `Synchronizer.post` is thread-safe and takes no lock; so are `Waker.wake` and `Waker.asleep`. The rest is for the
loop's thread.
"""

from __future__ import annotations

import socket

from .handle import CLOSED, OPEN, Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .loop import Loop


class Synchronizer(Handle):
    """Calls `fn()` on the loop after `post()` from any thread; several posts before the call make one call.

    It keeps its loop running until it is closed (or unref'd).
    """

    __slots__ = ("_fn", "_pending")

    def __init__(self, loop: Loop, fn: Callable[[], Any]) -> None:
        super().__init__(loop)
        self._fn = fn
        self._pending = False
        self._activate()

    def post(self) -> bool:
        """Has `fn` called on the loop, soon. Thread-safe. False, and no call, once closing."""
        if self._phase != OPEN:
            return False
        if not self._pending:
            self._pending = True
            return self.loop.post(self._deliver)
        return True

    def _deliver(self) -> None:
        self._pending = False  # before the call: a post from within it makes another call
        if self._phase == OPEN:
            self._fn()

    def _free(self) -> None:
        self._phase = CLOSED


class Waker:
    """A socket pair whose one end the loop watches: a byte in it ends the loop's sleep."""

    __slots__ = ("asleep", "_read", "_write")

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self.asleep = True  # whether a post has to send a byte; the first that does clears it

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._read.fileno()

    def write_fileno(self) -> int:
        """The descriptor for signal.set_wakeup_fd."""
        return self._write.fileno()

    def wake(self) -> None:
        """Sends the byte, unless one is on its way. From any thread, a signal handler or `__del__`."""
        if self.asleep:
            self.asleep = False
            try:
                self._write.send(b"\0")
            except OSError:  # full: there is a byte already; closed: there is nobody to wake
                pass

    def drain(self, mask: int) -> None:
        """Takes the bytes out again."""
        try:
            while len(self._read.recv(4096)) == 4096:
                pass
        except OSError:  # empty
            pass

    def close(self) -> None:
        """Closes both ends."""
        self._read.close()
        self._write.close()
