"""ThreadSignal: the signal that any thread may attach to, detach from and emit. The local ones are in signal.py."""

from __future__ import annotations

from _thread import RLock

from .errors import StateError
from .signal import Attached, S, meant, require_callable

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Generic, Tuple

    from typing_extensions import Self

    from .signal import F
else:
    from .signal import Generic


class ThreadSignal(Generic[S]):
    """A signal that any thread may attach to, detach from and emit.

    The slots of an emit are those attached when it began; no lock is held while they run. `attach(fn, loop=loop)` has
    `fn` run on that loop (by `loop.post`), the others run in the emitting thread. `stoppable`, `slots`: as of a Signal.
    """

    __slots__ = ("stoppable", "_lock", "slots")

    def __init__(self, *, stoppable: bool = False) -> None:
        self.stoppable: bool = stoppable
        self._lock = RLock()  # re-entrant: a finalizer may strike inside
        self.slots: Tuple[Attached, ...] = ()

    def attach(self: ThreadSignal[F], fn: F, *, priority: int = 0, once: bool = False, loop: Any = None) -> F:
        """Adds a slot and returns it. loop: the loop to run it on; with one it cannot stop the emit."""
        require_callable(fn, "a slot")
        if loop is not None and loop.closed:
            raise StateError("attach(loop=...) got a closed loop", "attach to a loop that is open")
        new = Attached(fn, priority, once, loop)
        with self._lock:
            index = len(self.slots)
            while index and self.slots[index - 1].priority < priority:
                index -= 1
            self.slots = self.slots[:index] + (new,) + self.slots[index:]
        return fn

    def detach(self, fn: Any) -> bool:
        """Takes slots out as Signal.detach does; calls not yet begun, on a loop too, do not happen any more."""
        with self._lock:
            found = meant(self.slots, fn)
            for slot in found:
                slot.fn = None
            self.slots = tuple(slot for slot in self.slots if slot not in found)
        return bool(found)

    def detach_all(self) -> None:
        """Takes every slot out."""
        with self._lock:
            for slot in self.slots:
                slot.fn = None
            self.slots = ()

    def emit(self, *args: Any) -> bool:
        """Calls or posts each slot; True if a slot of a stoppable signal, run in this thread, stopped it."""
        for slot in self.slots:
            if slot.loop is not None:
                slot.loop.post(self._deliver, slot, args)
            elif self._deliver(slot, args) is True and self.stoppable:
                return True
        return False

    def _deliver(self, slot: Attached, args: Tuple[Any, ...]) -> Any:
        if slot.once:
            with self._lock:
                fn, slot.fn = slot.fn, None
                self.slots = tuple(other for other in self.slots if other is not slot)
        else:
            fn = slot.fn
        return fn(*args) if fn is not None else None

    def __iadd__(self, fn: S) -> Self:
        self.attach(fn)
        return self

    def __isub__(self, fn: Any) -> Self:
        self.detach(fn)
        return self

    def __len__(self) -> int:
        return len(self.slots)

    def __bool__(self) -> bool:
        return True
