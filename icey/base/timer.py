"""Timer: something to do later, once or again and again. Idler: something to do in every turn.

Rules: a timer is made stopped; `start()` puts it in its loop's heap. Stopping leaves the heap entry behind, marked: the
loop skips it, and sweeps when more than half of the heap is such. An interval is kept on its own beat (no drift); beats
that were missed while the loop was held are skipped, not made up for.
"""

from __future__ import annotations

from .handle import Handle
from .signal import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Tuple

    from .loop import Loop


def seconds(value: float, name: str) -> float:
    """`value` if it is a time span, else ValueError."""
    if not value >= 0 or value == float("inf"):
        raise ValueError("%s must be a finite number of seconds, 0 or more, not %r" % (name, value))
    return value


class Timer(Handle):
    """Calls `fn(timer)` and emits `on_timeout(timer)` `delay` seconds after `start()`, then every `interval` seconds.

    interval None: once. `count` says how often it fired. An exception does not stop an interval.
    """

    __slots__ = ("delay", "interval", "count", "_fn", "_args", "_entry")

    on_timeout = Event("on_timeout(timer): the time has come")

    def __init__(
        self, loop: Loop, delay: float, fn: Optional[Callable[..., Any]] = None, *, interval: Optional[float] = None
    ) -> None:
        super().__init__(loop)
        self.delay = seconds(delay, "delay")
        self.interval = None if interval is None else seconds(interval, "interval")
        self.count = 0
        self._fn = watched(loop, fn) if fn is not None and loop.debug else fn
        self._args: Optional[Tuple[Any, ...]] = None  # None: the timer itself
        self._entry: Optional[Tuple[float, int, Timer]] = None

    @property
    def active(self) -> bool:
        """Started, and not yet fired for the last time."""
        return self._entry is not None

    def start(self) -> Timer:
        """Starts, or starts anew, counting `delay` from now. StateError once closed. Returns the timer."""
        self._check()
        self._require_open("start")
        self._schedule(self.loop._clock() + self.delay)
        return self

    def stop(self) -> None:
        """Stops; `start()` may follow."""
        self._check()
        self._unschedule()

    def again(self) -> None:
        """Starts anew, counting the interval (the delay where there is none) from now."""
        self._check()
        self._require_open("again")
        self._schedule(self.loop._clock() + (self.delay if self.interval is None else self.interval))

    def _schedule(self, when: float) -> None:
        self._unschedule()
        self._entry = self.loop._add_timer(when, self)
        self._active = True
        self.loop._refs += self._ref

    def _unschedule(self) -> None:
        if self._entry is not None:
            self._entry = None
            self.loop._timer_left()
        if self._active:
            self._active = False
            self.loop._refs -= self._ref

    def _due(self, now: float) -> None:
        """Called by the loop, which has taken the entry out of its heap."""
        entry, self._entry = self._entry, None
        if self.interval is None or entry is None:
            self._unschedule()
        else:
            self._entry = self.loop._add_timer(self._next_beat(entry[0], now), self)
        self.count += 1
        if self._fn is not None:
            try:
                if self._args is None:
                    self._fn(self)
                else:
                    self._fn(*self._args)
            except Exception as exc:
                self._slot_failed(exc)
        if self._signals is not None and self._phase == 0:
            self._emit("on_timeout", self)

    def _next_beat(self, last: float, now: float) -> float:
        interval = self.interval or 0.0
        following = last + interval
        if following <= now and interval:
            following += interval * (int((now - following) / interval) + 1)
        return max(following, now)

    def _silence(self) -> None:
        self._unschedule()

    def _free(self) -> None:
        self._fn = self._args = None  # the entry in the heap may stay for a while, what it would have called need not

    def _deactivate(self) -> None:
        self._unschedule()


class Idler(Handle):
    """Calls `fn(idler)` in every turn between `start()` and `stop()`; the loop does not sleep meanwhile."""

    __slots__ = ("_fn",)

    def __init__(self, loop: Loop, fn: Callable[[Idler], Any]) -> None:
        super().__init__(loop)
        self._fn = watched(loop, fn) if loop.debug else fn

    @property
    def active(self) -> bool:
        """Started and not stopped."""
        return self._active

    def start(self) -> Idler:
        """Starts; StateError once closed. Returns the idler."""
        self._check()
        self._require_open("start")
        if not self._active:
            self._activate()
            self.loop._idlers.append(self)
        return self

    def stop(self) -> None:
        """Stops; `start()` may follow."""
        self._check()
        self._silence()

    def _silence(self) -> None:
        if self._active:
            self._deactivate()
            self.loop._idlers.remove(self)

    def _turn(self) -> None:
        self._fn(self)


def watched(loop: Loop, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Debug: `fn`, which is logged if it holds the loop."""
    from .watch import Watched

    return Watched(loop, fn)
