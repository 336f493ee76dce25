"""Watchdog: one timer for a deadline that moves. It looks when the deadline is due, and sleeps on if that has moved."""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from .loop import Loop
    from .timer import Timer

NEVER = float("inf")


class Watchdog:
    """Calls `fall()` once the deadline has passed that `due()` tells: a time of the loop's clock, or None for none.

    It looks when the deadline was due as it was told last, so a deadline that moves on at every byte costs no timer a byte.
    Before it falls `look()` is called, if given: it takes what has come, or gives what can go, and the deadline is asked for
    once more. Time in which a slot held the loop, since the deadline moved on last, is added to it: that does not count against
    the peer. A watchdog never keeps its loop running. After `fall()` it sleeps until `watch()`.

    `at`: when it looks next, in the loop's time; NEVER while nothing is waited for. Who knows an earlier deadline calls
    `wake_by(due)`.
    """

    __slots__ = ("loop", "at", "_due", "_fall", "_look", "_timer", "_told", "_held", "_held_then", "_judging")

    def __init__(
        self, loop: Loop, due: Callable[[], Optional[float]], fall: Callable[[], Any],
        look: Optional[Callable[[], Any]] = None,
    ) -> None:
        self.loop: Loop = loop
        self._due = due
        self._fall = fall
        self._look = look
        self.at: float = NEVER
        self._timer: Optional[Timer] = None
        self._judging = False
        self._told: Optional[float] = None  # the deadline as it was told last
        self._held = self._held_then = loop.held  # what does not count against it; the same as of when it was told last

    def watch(self) -> None:
        """Begins, or begins anew with a deadline that may be earlier than before."""
        due = self._told = self._due()
        self._held = self._held_then = self.loop.held
        if due is None:
            self.stop()
        else:
            self.wake_by(due)

    def wake_by(self, due: float) -> None:
        """Looks at `due`, or before: a timer that comes earlier stays."""
        if due < self.at:
            self.stop()
            self._sleep(due)

    @property
    def watching(self) -> bool:
        """Whether a deadline is being waited for."""
        return self._timer is not None or self._judging

    def stop(self) -> None:
        """Waits for nothing any more; `watch()` may follow."""
        self._judging = False
        if self._timer is not None:
            self._timer.abort()
            self._timer = None
            self.at = NEVER

    def release(self) -> None:
        """Stops for good, and lets go of whom it watches for: the two would hold each other until the collector comes."""
        self.stop()
        self._due = self._fall = _never
        self._look = None

    def _sleep(self, due: float) -> None:
        self.at = due
        self._timer = self.loop.call_later(max(0.0, due - self.loop.now), self._wake)
        self._timer.unref()

    def _wake(self) -> None:
        self._timer = None
        self.at = NEVER
        due = self._due()
        if due is None:
            return
        self._moved(due)  # before looking, which may move it
        if due > self.loop.now:
            self._sleep(due)
        else:  # it is judged behind the calls of this turn: what a thread has found out may be among them
            self._judging = True
            self.loop.soon(self._judge)

    def _judge(self) -> None:
        """The deadline has passed, as it seems."""
        if not self._judging:
            return
        self._judging = False
        if self._look is not None:
            self._look()
            if self.watching:  # looking has begun to watch anew
                return
        due, now = self._due(), self.loop.now
        if due is None:
            return
        self._moved(due)
        due += self.loop.held - self._held
        if due > now:
            self._sleep(due)
        else:
            self._fall()

    def _moved(self, due: float) -> None:
        """Notes the deadline as it is told now: what held the loop before that does not count."""
        if due != self._told:  # it has moved on since it was told last, but not before
            self._told, self._held = due, self._held_then
        self._held_then = self.loop.held


def _never() -> None:
    """Nothing is due."""
