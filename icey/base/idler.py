"""Idler: something to do in every turn of the loop."""

from __future__ import annotations

from .handle import Handle
from .signal import require_callable

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable

    from .loop import Loop


class Idler(Handle):
    """Calls `fn(idler)` in every turn between `start()` and `stop()`; the loop does not sleep meanwhile. `fn`: as given."""

    __slots__ = ("fn",)

    def __init__(self, loop: Loop, fn: Callable[[Idler], Any]) -> None:
        super().__init__(loop)
        require_callable(fn, "an idler's function")
        self.fn: Callable[[Idler], Any] = fn

    @property
    def active(self) -> bool:
        """Started and not stopped."""
        return self.registered

    def start(self) -> Idler:
        """Starts; StateError once closed. Returns the idler."""
        self.check_thread()
        self.require_open("start")
        if not self.registered:
            self.activate()
            self.loop.idlers.append(self)
            if self.loop.waker.asleep:
                self.loop.work_came()
        return self

    def stop(self) -> None:
        """Stops; `start()` may follow."""
        self.check_thread()
        self.silence()

    def silence(self) -> None:
        if self in self.loop.idlers:
            self.loop.idlers.remove(self)
        self.deactivate()

    def mend(self) -> None:
        if self.phase == 0 and self not in self.loop.idlers:
            self.deactivate()

    def turn(self) -> None:
        """Called by the loop, in every turn."""
        self.fn(self)
