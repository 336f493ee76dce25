"""Driver: turns a loop for a test that waits for something, and lets what slots raise out of the test's own call.

Rules
- Time passes only inside a wait, and only where nothing else is to be done (clock.py).
- A wait that the virtual deadline ends is Deadline, and says what it waited for. One in which the loop never comes to rest, so
  that no time can pass, is StateError after some real seconds.
- What a slot raised leaves the call that turned the loop, with its own traceback. Where a turn brings several, the first leaves
  this call, each other one the next call.
"""

from __future__ import annotations

import time

from ...base.errors import Deadline, StateError
from .clock import VirtualClock

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    from ...base.loop import Loop

RESTLESS = 10.0  # real seconds in which no virtual time passes, and nothing comes
MOST_TURNS = 1000  # that something which is due at once may take


class Driver:
    """Turns `loop`. raises: whether what slots raise leaves the call.

    `loop`, `clock`; `timeout`: virtual seconds of a wait that says none; `raises`; `errors`: what slots raised, where they do
    not leave the call; `each_turn`: functions to be called behind each turn, as the keys of a dict.
    """

    def __init__(self, loop: Loop, timeout: float, raises: bool) -> None:
        if not isinstance(loop.clock, VirtualClock):
            raise StateError("the loop of what is tested has a real clock",
                             "make it by virtual_loop() of icey.tools.testing: loop, clock = virtual_loop(debug=True)",
                             "a test waits in virtual time")
        self.loop: Loop = loop
        self.clock: VirtualClock = loop.clock
        self.timeout: float = timeout
        self.raises: bool = raises
        self.errors: List[Exception] = []
        self.each_turn: Dict[Callable[[], Any], None] = {}
        loop.on_error += self._failed

    def release(self) -> None:
        """Listens no more."""
        if not self.loop.closed:
            self.loop.on_error -= self._failed
        self.each_turn.clear()

    def _failed(self, loop: Loop, exc: Exception, handle: Any) -> None:
        if not self.raises:
            exc.__traceback__ = None  # it would keep all that its frames hold
        self.errors.append(exc)

    def turn(self, due: float) -> None:
        """One turn, which waits until `due` at most, in the loop's time."""
        self.loop.run_once(max(0.0, due - self.clock()))
        for fn in list(self.each_turn):
            fn()
        self.raise_first()

    def raise_first(self) -> None:
        """Raises what a slot has raised; the first of several."""
        if self.raises and self.errors:
            exc = self.errors.pop(0)
            try:
                raise exc
            finally:
                del exc  # its traceback holds this frame

    def until(self, done: Callable[[], Any], what: Callable[[], str], timeout: Optional[float] = None) -> Any:
        """Turns the loop until `done()` is true, and returns that. what: says what was waited for, for the Deadline."""
        seconds = self.timeout if timeout is None else timeout
        found = self._go(done, self.clock() + seconds, what)
        if not found:
            raise Deadline("waited %g s of the loop's time for %s" % (seconds, what()))
        return found

    def advance(self, seconds: float) -> None:
        """Has `seconds` pass, and happen what is due by then."""
        if not seconds >= 0:
            raise ValueError("a clock goes forward: advance() takes 0 seconds or more, not %r" % (seconds,))
        self._go(lambda: False, self.clock() + seconds, lambda: "%g s to pass" % seconds)
        self.settle()

    def _go(self, done: Callable[[], Any], due: float, what: Callable[[], str]) -> Any:
        """Turns the loop until `done()`, which it returns, or until it is `due`."""
        at, since = self.clock(), time.monotonic()
        found = done()
        while not found and self.clock() < due:
            self.turn(due)
            if self.clock() != at:
                at, since = self.clock(), time.monotonic()
            elif time.monotonic() - since > RESTLESS:
                raise StateError(
                    "the loop has turned for %g s of real time, and always had something to do at once, so that no virtual time"
                    " passed; waited for %s" % (RESTLESS, what()),
                    "look for an Idler, a call_soon that calls itself again, or a descriptor that is ready and not read",
                    "virtual time passes while nothing is to be done")
            found = done()
        return found

    def settle(self) -> None:
        """Turns the loop until nothing is to be done at once; no time passes."""
        for _ in range(MOST_TURNS):
            before = self.clock()
            self.turn(before)
            if self.loop.timeout() != 0 and not self.loop.poller.wait(0):
                return
