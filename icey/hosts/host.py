"""Host: has another main loop drive a Loop. All that does not depend on which main loop it is.

Rules
- The other main loop waits for one descriptor, `loop.fileno()`, and for one timer, set by `loop.timeout()`. When either is due,
  the loop gets one turn, `run_once(0)`, and `timeout()` is asked anew. No thread, no polling: an idle loop wakes nobody.
- Everything belongs to the thread of the other main loop: build the Loop there, start and stop the host there.
- A slot may run the other main loop (a modal dialog). A turn that is wanted meanwhile waits until that slot has returned, and
  nothing is watched until then, because the descriptor would stay readable.
- What ends first ends alone. `loop.close()` stops the host before the descriptors go. When the other main loop ends, the loop
  merely gets no more turns: `run()`, `close()` and `stop()` work, and so does another `start()`.
- What a slot raises goes to `loop.on_error`, as ever; KeyboardInterrupt and SystemExit pass to the other main loop, and if that
  one goes on, the host does.
- Turns by another hand (`loop.run_once()` in a callback of the host) are seen at the host's next turn only. `loop.run()` is
  noticed when it returns.

A host for another toolkit overrides `watch`, `unwatch`, `arm`, `disarm`, and `begin` and `end` where there is something to
prepare. It has `turn` called when the descriptor is readable, and `due` when the timer is.

Not here: a loop on a thread of its own (threadhost.py), turns without a main loop (pumping.py).
"""

from __future__ import annotations

from ..base.emitter import require_loop
from ..base.errors import StateError
from ..base.handle import Handle

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional

    from ..base.loop import Loop

LONGEST = 86400.0  # seconds of one timer: milliseconds of 32 bits overflow at some 24 days
SAME = 0.0001  # seconds: a timer that is set so near to what is wanted is let be
IN_A_ROW = 4  # turns at once, then one after a breath
BUSY = 0.01  # seconds of turns behind each other, then a breath, where there is still something ready


class Host:
    """Has another main loop drive `loop`. `started`: between `start()` and `stop()`. As a context manager it starts and stops.

    For whoever writes a host: `breath`, the seconds that every fourth of many turns in a row waits, and in which nothing is
    watched while more comes in than can be done at once, because most toolkits draw only when nothing else is due. 0: none.
    """

    breath: float = 0.001

    def __init__(self, loop: Loop) -> None:
        require_loop(type(self).__name__, loop)
        self.loop = loop
        self._seat: Optional[_Seat] = None
        self._fd = -1
        self._armed: Optional[float] = None  # the loop's time for which the timer is set
        self._turning = False
        self._held = False  # a turn was wanted within a turn: nothing is watched until that one ends
        self._resting = False  # nothing is watched until `due`
        self._in_a_row = 0
        self._busy = self._ended = 0.0  # the loop's times: since when there is no rest; the end of the last turn

    @property
    def started(self) -> bool:
        """Whether the other main loop drives the loop."""
        return self._seat is not None

    def start(self) -> Any:
        """From now on the other main loop drives the loop. Returns the host.

        StateError: it is started, or the loop has another host, is closed, or has no descriptor to wait for. A host whose main
        loop is known to have ended counts as stopped.
        """
        loop = self.loop
        loop.check_thread()
        other = loop.services.get("host")
        if isinstance(other, _Seat) and other.registered and other.host._gone():
            other.host.stop()
        if self._seat is not None:
            raise StateError("start() of a %s that is started" % type(self).__name__, "start it once; stop() ends it",
                             "one host drives a loop")
        if isinstance(other, _Seat) and other.registered:
            raise StateError("start() of a %s for a loop that a %s drives" % (type(self).__name__, type(other.host).__name__),
                             "stop() that one first, or make a loop for each", "one host drives a loop")
        self._fd = loop.fileno()
        seat = _Seat(loop, self)
        self.begin()
        try:
            self.watch(self._fd)
        except BaseException:
            self.end()
            raise
        self._seat = loop.services["host"] = seat
        seat.activate()
        try:
            self._arrange()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """The other main loop drives the loop no more. The loop stays open, and what is under way on it stays as it is.

        In a callback of the loop, too: the turn comes to its end. A host that is not started is left alone.
        """
        self.loop.check_thread()
        seat = self._seat
        if seat is not None:
            self._leave()
            seat.deactivate()

    def __enter__(self) -> Any:
        return self if self.started and not self._gone() else self.start()

    def __exit__(self, *exc_info: Any) -> None:
        self.stop()

    def __repr__(self) -> str:
        return "<%s, %s>" % (type(self).__name__, "started" if self.started else "stopped")

    # what the other main loop calls

    def turn(self, *_: Any) -> bool:
        """A turn of the loop, if there can be one now: the descriptor is readable. True: goes on watching."""
        loop = self.loop
        if self._seat is None:
            return False
        if self._resting:
            return True
        if loop.running or self._turning:
            self._hold()
            return True
        began = loop.clock()
        if began - self._ended > self.breath:
            self._busy = began
        self._turning = True
        try:
            loop.run_once(0)
        finally:  # an interrupt passes; the next turn mends what it cut short
            self._turning = False
            if self._held:
                self._resume()
            elif self._seat is not None:
                self._ended = ended = loop.clock()
                if ended - self._busy > BUSY and self.breath:
                    self._rest()
                self._arrange()
        return True

    def due(self, *_: Any) -> bool:
        """As `turn`: the time has come. False: the timer is spent."""
        self._armed = None
        if self._resting:
            self._resting = False
            self.watch(self._fd)
        self.turn()
        return False

    # what a host for a toolkit overrides

    def begin(self) -> None:
        """Called by `start()`, before the first `watch`."""

    def end(self) -> None:
        """Called by `stop()`, behind `unwatch` and `disarm`."""

    def watch(self, fd: int) -> None:
        """Has `turn` called whenever `fd` is readable (level-triggered), until `unwatch`."""
        raise NotImplementedError

    def unwatch(self) -> None:
        """Undoes `watch`. The other main loop may have ended."""
        raise NotImplementedError

    def arm(self, delay: float) -> None:
        """Has `due` called once, `delay` seconds from now or a little later; no other timer is set."""
        raise NotImplementedError

    def disarm(self) -> None:
        """Undoes `arm`. The other main loop may have ended."""
        raise NotImplementedError

    # private

    def _gone(self) -> bool:
        """Whether the main loop that a started host has is known to have ended for ever."""
        return False

    def _leave(self) -> None:
        """Lets go of the other main loop: stopped, or the loop is about to close."""
        self._seat = None
        unwatched, self._held, self._resting = self._held or self._resting, False, False
        try:
            if not unwatched:
                self.unwatch()
            self._disarm()
        finally:
            self.end()

    def _arrange(self) -> None:
        """Sets the timer to what the loop wants."""
        if self._resting:
            return
        rest = self.loop.timeout()
        if rest is None:
            self._in_a_row = 0
            self._disarm()
            return
        if rest:
            self._in_a_row = 0
        else:
            self._in_a_row += 1
            if self._in_a_row % IN_A_ROW == 0:
                rest = self.breath
        rest = min(rest, LONGEST)
        when = self.loop.clock() + rest
        armed = self._armed
        if armed is not None:
            if abs(when - armed) < SAME or (armed < when and not rest):
                return  # most turns leave the next timer as it is
            self._disarm()
        self.arm(rest)
        self._armed = when

    def _rest(self) -> None:
        """Has the main loop come to what it does when nothing else is due, if it cannot by itself."""
        self._busy = self._ended
        if self.loop.poller.wait(0):  # a look: what is ready stays ready
            self._resting = True
            self.unwatch()
            self._disarm()
            self.arm(self.breath)
            self._armed = self._ended + self.breath

    def _disarm(self) -> None:
        if self._armed is not None:
            self._armed = None
            self.disarm()

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self.unwatch()
            self._disarm()
            if not self._turning:  # within a turn by another hand, which may be the last one
                self.loop.watch_turns(self._resume)

    def _resume(self, *_: Any) -> None:
        self.loop.unwatch_turns(self._resume)
        if self._held and self._seat is not None:
            self._held = False
            self.watch(self._fd)
            self._arrange()


class _Seat(Handle):
    """A host's place on its loop: a loop that closes tells it, before its descriptors are gone. It keeps no loop running."""

    __slots__ = ("host",)

    def __init__(self, loop: Loop, host: Host) -> None:
        super().__init__(loop)
        self.host = host
        self.unref()

    def silence(self) -> None:
        if self.host.started:
            self.host._leave()

    def title(self) -> str:
        return type(self.host).__name__
