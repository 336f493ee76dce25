"""What the loop asks of the operating system: which descriptors are ready, and whom to call.

All pollers keep `ready`, a dict fd -> the bound method to call with the event mask, so that a turn builds no key
object per event (measured: epoll.poll 149 ns a ready descriptor, selectors.select 291).

Masks: READ and WRITE are asked for; what comes back is tested with CAN_READ and CAN_WRITE, which also hold epoll's bits
for output (4), error (8) and hang-up (16): whoever reads or writes then meets the error itself.
"""

from __future__ import annotations

import errno
import os
import select
import selectors
import sys
from time import monotonic, sleep

from .errors import StateError

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    Ready = Callable[[int], object]

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
CAN_READ = 1 | 8 | 16
CAN_WRITE = 2 | 4 | 8 | 16

SLICE = 0.02  # seconds of one wait, where the system cannot wait or the loop cannot be woken

_EPOLL_MASK = (0, 1, 4, 5)
_CLOSED = (errno.EBADF, getattr(errno, "WSAENOTSOCK", errno.EBADF))
_SELECT_MOST = 512 if os.name == "nt" else 1024


class SelectorPoller:
    """Over any selector of the standard library: the portable form, and the one for a selector handed in."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.ready: Dict[int, Ready] = {}
        self._selector = selector
        self._bounded = isinstance(selector, selectors.SelectSelector)

    def require_room(self, fd: int) -> None:
        """OSError(EMFILE) where select() cannot take `fd`."""
        if self._bounded and (fd if os.name != "nt" else len(self.ready)) >= _SELECT_MOST:
            raise OSError(errno.EMFILE, "select() takes no more than %d descriptors" % _SELECT_MOST)

    def register(self, fd: int, events: int, fn: Ready) -> None:
        """Watches `fd`; OSError as of `require_room`."""
        self.require_room(fd)
        self._selector.register(fd, events)
        self.ready[fd] = fn

    def modify(self, fd: int, events: int, fn: Ready) -> None:
        """Changes what `fd` is watched for."""
        self._selector.modify(fd, events)
        self.ready[fd] = fn

    def unregister(self, fd: int) -> None:
        """Stops watching `fd`: an event of it that is already gathered is not delivered."""
        if self.ready.pop(fd, None) is not None:
            self._selector.unregister(fd)

    def wait(self, timeout: Optional[float]) -> List[Tuple[int, int]]:
        """(fd, mask) of the ready ones, after at most `timeout` seconds (None: until there is one)."""
        try:
            return [(key.fd, mask) for key, mask in self._selector.select(timeout)]
        except OSError as exc:
            if exc.errno not in _CLOSED:
                raise
        for fd in tuple(self.ready):  # select() refuses all for one that was closed behind our back
            try:
                select.select([fd], (), (), 0)
            except OSError:
                self.unregister(fd)
        return []

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to do; StateError where the selector has none."""
        try:
            return int(self._selector.fileno())  # type: ignore[attr-defined]
        except AttributeError:
            raise StateError(
                "this loop's selector (%s) has no descriptor" % type(self._selector).__name__,
                "call run_once(0) from a timer of the outer loop, at least every timeout() seconds",
                "embedding",
            ) from None

    def close(self) -> None:
        """Frees the selector."""
        self.ready.clear()
        self._selector.close()


class PatientPoller(SelectorPoller):
    """Over a selector whose select() does not wait (Emscripten's returns at once), or which nothing can wake (see waker.py).

    A wait ends after SLICE seconds at the latest, ready or not: the next turn of the loop goes on with it.
    """

    def wait(self, timeout: Optional[float]) -> List[Tuple[int, int]]:
        """As SelectorPoller.wait, with SLICE for the longest timeout."""
        rest = SLICE if timeout is None or timeout > SLICE else timeout
        began = monotonic()
        found = super().wait(rest)
        if not found:
            rest -= monotonic() - began
            if rest > 0:
                sleep(rest)
        return found


class EpollPoller:
    """Straight over epoll, where the system has it."""

    def __init__(self) -> None:
        self.ready: Dict[int, Ready] = {}
        self._epoll = select.epoll()
        self.fileno: Callable[[], int] = self._epoll.fileno
        # as SelectorPoller.wait
        self.wait: Callable[[Optional[float]], List[Tuple[int, int]]] = self._epoll.poll
        if sys.implementation.name == "pypy":  # whose poll takes -1 alone for "until there is one"
            poll = self._epoll.poll
            self.wait = lambda timeout: poll(-1 if timeout is None else timeout)

    def require_room(self, fd: int) -> None:
        """There is."""

    def register(self, fd: int, events: int, fn: Ready) -> None:
        """Watches `fd`."""
        try:
            self._epoll.register(fd, _EPOLL_MASK[events])
        except FileExistsError:  # an interrupt struck behind the line above, once
            self._epoll.modify(fd, _EPOLL_MASK[events])
        self.ready[fd] = fn

    def modify(self, fd: int, events: int, fn: Ready) -> None:
        """Changes what `fd` is watched for."""
        self._epoll.modify(fd, _EPOLL_MASK[events])
        self.ready[fd] = fn

    def unregister(self, fd: int) -> None:
        """As SelectorPoller.unregister."""
        if self.ready.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:  # closed behind our back: epoll has forgotten it
                pass

    def close(self) -> None:
        """Frees the epoll descriptor."""
        self.ready.clear()
        self._epoll.close()


def best_poller(wakes: bool = True) -> SelectorPoller | EpollPoller:
    """The fastest poller this system has. wakes: False for a loop that nothing can wake from outside."""
    if not wakes or sys.platform == "emscripten":
        return PatientPoller(selectors.DefaultSelector())
    if hasattr(select, "epoll") and hasattr(selectors, "EpollSelector"):
        return EpollPoller()
    return SelectorPoller(selectors.DefaultSelector())
