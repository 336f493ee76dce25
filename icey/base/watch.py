"""Debug mode: a callback that holds its loop longer than `loop.slow_limit` is logged, with its place.

How: a debug loop keeps its calls and its descriptors' methods in containers that hand them out watched, and timers and idlers
made on it watch their function. A release loop has plain ones, and pays nothing.
"""

from __future__ import annotations

import weakref
from collections import deque

from . import debug, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, Iterator, Tuple

    from .loop import Loop

    Call = Tuple[Callable[..., Any], Tuple[Any, ...]]


class Watched:
    """A callable that looks at the clock before and after."""

    __slots__ = ("fn", "_loop")

    def __init__(self, loop: Loop, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self._loop = loop

    @property
    def __self__(self) -> Any:  # the loop asks for the handle that a method belongs to
        return getattr(self.fn, "__self__", None)

    def __call__(self, *args: Any) -> Any:
        loop = self._loop
        limit = loop.slow_limit
        began = loop._clock()
        try:
            return self.fn(*args)
        finally:
            held = loop._clock() - began
            if held > limit:
                log.warning("loop", "%s held the loop for %.3f s; split the work, or give it to a thread", _who(self), held)


class WatchedCalls(deque if not TYPE_CHECKING else Deque[Call]):  # type: ignore[misc]
    """The calls of a debug loop."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = weakref.proxy(loop)

    def popleft(self) -> Call:
        """The next call, watched."""
        fn, args = super().popleft()
        return Watched(self._loop, fn), args


class WatchedReady(dict if not TYPE_CHECKING else Dict[int, Callable[[int], Any]]):  # type: ignore[misc]
    """fd -> method, of a debug loop's poller."""

    def __init__(self, loop: Loop, before: Dict[int, Callable[[int], Any]]) -> None:
        super().__init__(before)
        self._loop = weakref.proxy(loop)

    def get(self, fd: int, default: Any = None) -> Any:
        """The method for `fd`, watched."""
        fn = super().get(fd)
        return default if fn is None else Watched(self._loop, fn)


def _who(watched: Watched) -> str:
    """The program's own function where that is known: the callback, or the slots behind a handle's method."""
    owner = watched.__self__
    slots = ["%s: %s" % (name, debug.place(fn)) for name, fn in _slots(owner)]
    if slots:
        return "%r (%s)" % (owner, ", ".join(slots))
    return debug.place(watched.fn)


def _slots(owner: Any) -> Iterator[Tuple[str, Any]]:
    sink = getattr(owner, "_sink", None)
    server = getattr(sink, "server", None)
    for thing in (owner, server):
        for name, signal in (getattr(thing, "_signals", None) or {}).items():
            for fn in signal:
                yield name, fn
