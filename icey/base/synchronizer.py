"""Synchronizer: has a function called on its loop, from any thread.

Rule: `post` is thread-safe and takes no lock. The rest is for the loop's thread.
"""

from __future__ import annotations

from .handle import OPEN, Handle
from .signal import require_callable

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable

    from .loop import Loop


class Synchronizer(Handle):
    """Calls `fn()` on the loop after `post()` from any thread; several posts before the call make one call.

    It keeps its loop running until it is closed (or unref'd). `fn`: as given.
    """

    __slots__ = ("fn", "_pending")

    def __init__(self, loop: Loop, fn: Callable[[], Any]) -> None:
        super().__init__(loop)
        require_callable(fn, "a Synchronizer's function")
        self.fn: Callable[[], Any] = fn
        self._pending = False
        self.activate()

    def post(self) -> bool:
        """Has `fn` called on the loop, soon. Thread-safe. False, and no call, once closing."""
        if self.phase != OPEN:
            return False
        if not self._pending:
            posted = False
            try:
                self._pending = True
                posted = self.loop.post(self._deliver)
            finally:
                if not posted:  # the loop is closed, or an interrupt came first: the next post tries again
                    self._pending = False
            return posted
        return True

    def _deliver(self) -> None:
        if self._pending:
            self._pending = False  # before the call: a post from within it makes another call
            if self.phase == OPEN:
                self.fn()

    def mend(self) -> None:
        if self._pending:  # its call may have been taken and not made; one too many does nothing
            self.loop.soon(self._deliver)
