"""Timer: something to do later, once or again and again.

Rules: a timer is made stopped; `start()` puts it in its loop's heap. Stopping leaves the heap entry behind, without the timer:
the loop skips it, and sweeps between turns when half of the heap is such, within a turn when seven eighths are. An interval is
kept on its own beat (no drift); beats that were missed while the loop was held are skipped, not made up for.
"""

from __future__ import annotations

from _thread import get_ident

from .emitter import wrong_thread
from .handle import CLOSED, Handle
from .signal import Event, require_callable

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple

    from typing_extensions import Self

    from .loop import Loop

    Entry = List[Any]  # of a loop's heap: the time, the number of its start, the timer, or STOPPED

FOREVER = float("inf")
MOST_BEATS = 2.0 ** 53  # missed ones: past it an interval is nothing beside the clock


def seconds(value: float, name: str) -> float:
    """`value` if it is a time span, else ValueError, or TypeError where it is no number."""
    if not isinstance(value, (int, float)) and not hasattr(value, "__float__"):
        raise TypeError("%s must be a number of seconds, not %r" % (name, value))
    if not value >= 0 or value == FOREVER:
        raise ValueError("%s must be a finite number of seconds, 0 or more, not %r" % (name, value))
    return value


class _Stopped:
    """Stands in the heap for a timer that was stopped, so that this is not kept. An entry lives while its timer has it."""

    entry = None
    phase = CLOSED


STOPPED = _Stopped()


class Timer(Handle):
    """Calls `fn(timer)` and emits `on_timeout(timer)` `delay` seconds after `start()`, then every `interval` seconds.

    interval None: once. `count` says how often it fired; `fn`: as given. An exception does not stop an interval.
    """

    __slots__ = ("delay", "interval", "count", "fn", "args", "entry")

    on_timeout: Event[Callable[[Self], Any]] = Event("on_timeout(timer): the time has come")

    def __init__(
        self, loop: Loop, delay: float, fn: Optional[Callable[..., Any]] = None, *, interval: Optional[float] = None
    ) -> None:
        Handle.__init__(self, loop)  # not by way of super(): timers are made by the thousand
        self.delay: float = delay if type(delay) is float and 0.0 <= delay < FOREVER else seconds(delay, "delay")
        self.interval: Optional[float] = None if interval is None else seconds(interval, "interval")
        self.count: int = 0
        if fn is not None:
            require_callable(fn, "a timer's function")
        self.fn: Optional[Callable[..., Any]] = fn
        self.args: Optional[Tuple[Any, ...]] = None  # None: the timer itself
        self.entry: Optional[Entry] = None

    @property
    def active(self) -> bool:
        """Started, and not yet fired for the last time."""
        return self.entry is not None

    def start(self) -> Timer:
        """Starts, or starts anew, counting `delay` from now. StateError once closed. Returns the timer."""
        loop = self.loop
        if get_ident() != loop.thread:
            wrong_thread(self)
        self.require_open("start")
        if self.registered or self.entry is not None:
            self._unschedule()
        loop.add_timer(loop.clock() + self.delay, self)
        return self

    def stop(self) -> None:
        """Stops; `start()` may follow."""
        loop = self.loop
        if get_ident() != loop.thread:
            wrong_thread(self)
        entry = self.entry
        if entry is not None:  # as _unschedule, a call less: most timers are deadlines, and stopped
            self.entry, entry[2] = None, STOPPED
            loop.timer_left()
        if self.registered:
            self.registered = False
            loop.refs -= self.counts

    def again(self) -> None:
        """Starts anew, counting the interval (the delay where there is none) from now."""
        self.check_thread()
        self.require_open("again")
        self._unschedule()
        self.loop.add_timer(self.loop.clock() + (self.delay if self.interval is None else self.interval), self)

    def _unschedule(self) -> None:
        entry = self.entry
        if entry is not None:
            self.entry, entry[2] = None, STOPPED
            self.loop.timer_left()
        if self.registered:
            self.registered: bool = False
            self.loop.refs -= self.counts

    def due(self, now: float) -> None:
        """Called by the loop, which has taken the entry out of its heap."""
        entry, self.entry = self.entry, None
        if self.interval is None or entry is None:
            self._unschedule()
        else:
            self.loop.add_timer(self._next_beat(entry[0], now), self)
        self.loop.firing, self.count = None, self.count + 1
        if self.fn is not None:
            try:
                if self.args is None:
                    self.fn(self)
                else:
                    self.fn(*self.args)
            except Exception as exc:
                self.slot_failed(exc)
        if self.signals is not None and self.phase == 0:
            self.emit("on_timeout", self)

    def _next_beat(self, last: float, now: float) -> float:
        interval = self.interval or 0.0
        following = last + interval
        if following <= now and interval:
            beats = (now - following) / interval
            following = now if beats > MOST_BEATS else following + interval * (int(beats) + 1)
        return max(following, now)

    def silence(self) -> None:
        self._unschedule()

    def free(self) -> None:
        self.fn = self.args = None  # who keeps the timer does not keep what it would have called

    def deactivate(self) -> None:
        self._unschedule()
