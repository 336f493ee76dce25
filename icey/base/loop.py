"""Loop: the reactor. One thread, one selector, and everything that happens happens in a turn of it.

A turn: wait for descriptors, then
    1. timers that are due     2. posted and soon calls     3. ready descriptors     4. idlers     5. closing handles

Rules
- A loop belongs to the thread that runs it (until it first runs: to the one that built it). `post` is the only method
  for other threads. There is no global loop.
- The clock is read once a turn, after the wait: `now`.
- Nothing a callback raises ends the loop: it goes to `on_error`. KeyboardInterrupt and SystemExit pass through.
- Before each callback the handle is looked up again: an earlier callback of the turn may have closed it. Descriptors
  are closed in phase 5, so that none is reused within a turn.

Not here: what the descriptors are (poller.py), what a handle is (handle.py), signals of the process (application.py).
"""

from __future__ import annotations

import os
import time
import warnings
from _thread import get_ident
from collections import deque
from heapq import heapify, heappop, heappush

from . import debug as debugging
from . import log
from .buffer import DebugReadBuffer, ReadBuffer
from .errors import StateError
from .handle import OPEN, Handle, wrong_thread
from .poller import READ, SelectorPoller, best_poller
from .signal import Event
from .synchronizer import Waker
from .timer import Timer, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    import selectors
    import weakref
    from typing import Any, Callable, Deque, Dict, List, Optional, Set, Tuple

    from .signal import Signal
    from .timer import Idler

SLOW = 0.1  # seconds
LONGEST = 86400.0  # seconds of one wait: the system's calls overflow at some 24 days

_loops: Optional[weakref.WeakSet[Loop]] = None  # made with the first loop: those that a fork must disown


class Loop:
    """The reactor.

    debug: True or False; None asks the ICEY_DEBUG environment variable.
    clock: a function returning seconds that never go back. selector: a `selectors` selector to use (and own).
    """

    __slots__ = (
        "now", "debug", "_clock", "_poller", "_waker", "_read_buffer", "_calls", "_timers", "_timer_count",
        "_dead_timers", "_idlers", "_finishing", "_open", "_refs", "_thread", "_adopted", "_running", "_stopping",
        "_closed", "_forked", "slow_limit", "_services", "_signals", "_site", "__weakref__",
    )

    on_error = Event("on_error(loop, exc, handle_or_None): a slot or callback raised")

    def __init__(
        self,
        debug: Optional[bool] = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        selector: Optional[selectors.BaseSelector] = None,
    ) -> None:
        self._closed = True  # until everything below exists: __del__ may come early
        self._forked = False
        self.debug = debugging.switched_on(debug)
        self._site: Optional[str] = debugging.stack() if self.debug else None
        self._clock = clock
        self.now = clock()
        self.slow_limit = SLOW  # debug: a callback that takes longer is logged
        self._calls: Deque[Tuple[Callable[..., Any], Tuple[Any, ...]]] = deque()
        self._timers: List[Tuple[float, int, Timer]] = []
        self._timer_count = 0
        self._dead_timers = 0
        self._idlers: List[Idler] = []
        self._finishing: Deque[Handle] = deque()
        self._open: Set[Handle] = set()
        self._refs = 0
        self._services: Dict[str, Handle] = {}  # what there is one of a loop, made on first use: the resolver's pool
        self._thread = get_ident()
        self._adopted = False
        self._running = False
        self._stopping = False
        self._signals: Optional[Dict[str, Signal]] = None
        self._read_buffer: ReadBuffer = DebugReadBuffer() if self.debug else ReadBuffer()
        self._waker = Waker()
        try:
            self._poller = best_poller() if selector is None else SelectorPoller(selector)
            if self.debug:
                self._watch()
            self._poller.register(self._waker.fileno(), READ, self._waker.drain)
        except BaseException:
            self._waker.close()
            raise
        self._closed = False
        _watch_forks(self)

    def _watch(self) -> None:
        """Debug: callbacks that hold the loop are logged."""
        from .watch import WatchedCalls, WatchedReady

        self._calls = WatchedCalls(self)
        self._poller.ready = WatchedReady(self, self._poller.ready)

    # running: the owner's thread

    def run(self) -> None:
        """Turns until nothing keeps the loop alive or `stop()` is called. A nested run is StateError."""
        self._enter("run")
        try:
            while self._alive():
                self._turn(None)
                if self._stopping:
                    break
        finally:
            self._running = False  # here, not in a call: a KeyboardInterrupt would find time before that
            self._leave()
        if self._forked:
            wrong_thread(self)

    def run_once(self, timeout: Optional[float] = None) -> bool:
        """One turn, waiting at most `timeout` seconds (None: as long as need be). True while there is more to do."""
        if timeout is not None:
            timeout = min(seconds(timeout, "timeout"), LONGEST)
        self._enter("run_once")
        try:
            self._turn(timeout)
        finally:
            self._running = False  # here, not in a call: a KeyboardInterrupt would find time before that
            self._leave()
        if self._forked:
            wrong_thread(self)
        return self._alive()

    def stop(self) -> None:
        """Ends `run()` after this turn; on a loop that does not run, the next `run()` after one turn."""
        self._check()
        self._stopping = True

    def close(self) -> None:
        """Aborts what is open, emits each `on_close`, frees everything. Inside `run()` it is StateError.

        A loop that does not run may be closed from any thread. Calls posted and not yet run are dropped. In debug mode
        one ResourceWarning lists the sockets that were open.
        """
        if self._closed:
            return
        if self._running:
            self._check()
            raise StateError("close() of a loop that is running", "stop() it, and close it when run() has returned",
                             "close is asynchronous")
        if self._forked:
            self._disown()
            return
        self._thread, self._adopted = get_ident(), True
        left = self.handles
        unclosed = _open_sockets(left) if self.debug else ""
        self._closed = True  # nothing new from here on, not from an on_close slot either
        try:
            while left or self._finishing:
                for handle in left:
                    handle.abort()
                self._close_handles()
                left = self.handles
        finally:  # KeyboardInterrupt passes through, and leaves no descriptor behind
            self._disown()
        if unclosed:
            warnings.warn("loop.close() found still open: " + unclosed, ResourceWarning, stacklevel=2)

    def call_soon(self, fn: Callable[..., Any], *args: Any) -> None:
        """Calls `fn(*args)` in the next turn (in this one, if the turn has not come to its calls yet)."""
        self._check()
        self._require_open("call_soon")
        self._calls.append((fn, args))

    def call_later(self, delay: float, fn: Callable[..., Any], *args: Any) -> Timer:
        """Calls `fn(*args)` in `delay` seconds; returns the started Timer, whose `stop()` cancels."""
        timer = Timer(self, delay, fn)
        timer._args = args
        return timer.start()

    # embedding: another main loop waits for us

    def fileno(self) -> int:
        """A descriptor that turns readable when the loop has something to do (StateError: the selector has none)."""
        self._check()
        self._require_open("fileno")
        return self._poller.fileno()

    def timeout(self) -> Optional[float]:
        """Seconds until the loop wants its next turn by itself, 0 for at once, None for never."""
        self._check()
        if self._calls or self._idlers or self._finishing or self._stopping:
            return 0
        self._drop_dead_timers()
        return max(0.0, self._timers[0][0] - self._clock()) if self._timers else None

    # any thread

    def post(self, fn: Callable[..., Any], *args: Any) -> bool:
        """Calls `fn(*args)` on the loop's thread. Thread-safe, takes no lock; False once the loop is closed."""
        if self._closed:
            return False
        if self._forked:
            wrong_thread(self)
        call = (fn, args)
        self._calls.append(call)
        if self._waker.asleep:
            self._waker.wake()
        if self._closed:  # it closed in between: say so, unless the call was taken
            try:
                self._calls.remove(call)
            except ValueError:
                return True
            return False
        return True

    # state

    @property
    def running(self) -> bool:
        """Inside `run()` or `run_once()`."""
        return self._running

    @property
    def closed(self) -> bool:
        """`close()` was called."""
        return self._closed

    @property
    def handles(self) -> Tuple[Handle, ...]:
        """The handles that are open and active: sockets, listeners, started timers and so on."""
        self._check()
        return tuple(self._open) + tuple(entry[2] for entry in self._timers if entry[2]._entry is entry)

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self._running else "idle"
        return "<Loop %s, %d handles>" % (state, len(self._open))

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and not self._forked:  # getattr: __init__ may have been refused
            self._free()  # first: the warning may be an error
            text = "a Loop was collected without close()%s" % _made_at(self._site)
            warnings.warn(text, ResourceWarning, stacklevel=2, source=self)

    # the turn

    def _enter(self, verb: str) -> None:
        me = get_ident()
        if me != self._thread:
            if self._adopted or self._forked:
                wrong_thread(self)
            self._thread = me
        self._require_open(verb)
        if self._running:
            raise StateError("%s() inside a running loop" % verb, "return to the loop that runs, it goes on by itself",
                             "one turn at a time")
        self._adopted = True
        self._running = True

    def _leave(self) -> None:
        self._stopping = False
        self._waker.asleep = True  # an outer loop waits on fileno() now

    def _alive(self) -> bool:
        return bool(self._refs > 0 or self._calls or self._finishing)

    def _turn(self, timeout: Optional[float]) -> None:
        waker = self._waker
        waker.asleep = True  # before the look at _calls: a post from now on is seen, or wakes
        if self._calls or self._stopping or self._idlers or self._finishing:
            timeout = 0
        elif self._timers:
            self._drop_dead_timers()
            if self._timers:
                rest = self._timers[0][0] - self._clock()
                if timeout is None or rest < timeout:
                    timeout = 0 if rest <= 0 else rest if rest < LONGEST else LONGEST
        events = self._poller.wait(timeout)
        waker.asleep = False
        now = self.now = self._clock()
        if self._timers and self._timers[0][0] <= now:
            self._run_timers(now)
        if self._calls:
            self._run_calls()
        ready = self._poller.ready
        for fd, mask in events:
            fn = ready.get(fd)
            if fn is not None:
                try:
                    fn(mask)
                except Exception as exc:
                    self._report(exc, _owner(fn))
        if self._idlers:
            for idler in tuple(self._idlers):
                if idler._active:
                    try:
                        idler._turn()
                    except Exception as exc:
                        self._report(exc, idler)
        if self._finishing:
            self._close_handles()

    def _run_timers(self, now: float) -> None:
        timers = self._timers
        last = self._timer_count  # a timer started by one of them has a higher number, and waits for the next turn
        while timers and timers[0][0] <= now and timers[0][1] <= last:
            entry = heappop(timers)
            if entry[2]._entry is entry:
                entry[2]._due(now)
            else:
                self._dead_timers -= 1

    def _run_calls(self) -> None:
        calls = self._calls
        for _ in range(len(calls)):  # those made meanwhile wait for the next turn, so that I/O is not starved
            fn, args = calls.popleft()
            try:
                fn(*args)
            except Exception as exc:
                self._report(exc, _owner(fn))

    def _close_handles(self) -> None:
        finishing = self._finishing
        for _ in range(len(finishing)):
            finishing.popleft()._closed_now()

    # for handles

    def _check(self) -> None:
        if get_ident() != self._thread:
            wrong_thread(self)

    def _require_open(self, verb: str) -> None:
        if self._closed:
            raise StateError("%s() on a closed loop" % verb, "build a new Loop", "close is asynchronous")

    def _slots_changed(self, name: str, signal: Signal) -> None:
        pass

    def _add_timer(self, when: float, timer: Timer) -> Tuple[float, int, Timer]:
        self._timer_count += 1
        entry = (when, self._timer_count, timer)
        heappush(self._timers, entry)
        return entry

    def _timer_left(self) -> None:
        """A timer stopped: its entry is dead from now on."""
        self._dead_timers += 1
        if self._dead_timers > 64 and self._dead_timers * 2 > len(self._timers):
            self._timers[:] = [entry for entry in self._timers if entry[2]._entry is entry]
            heapify(self._timers)
            self._dead_timers = 0

    def _drop_dead_timers(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._entry is not timers[0]:
            heappop(timers)
            self._dead_timers -= 1

    def _report(self, exc: Exception, handle: Any) -> None:
        """What a callback raised: to `on_error`, or to the log where nobody is attached."""
        signals = self._signals
        if signals is not None and len(signals["on_error"]):
            try:
                signals["on_error"].emit(self, exc, handle)
                return
            except Exception as second:
                log.error("loop", "on_error itself raised", exc=second)
        of = " of %r" % (handle,) if handle else ""
        log.error("loop", "%s in %s%s", type(exc).__name__, debugging.raised_in(exc), of, exc=exc)

    # the end

    def _disown(self) -> None:
        """Frees what is open without a word to anybody: in a forked child the parent goes on with its own."""
        for handle in tuple(self._open):
            handle._free()
        self._free()

    def _free(self) -> None:
        self._closed = True
        self._poller.close()
        self._waker.close()
        self._calls.clear()
        self._timers.clear()
        self._open.clear()
        self._signals = None


def _owner(fn: Callable[..., Any]) -> Optional[Handle]:
    handle = getattr(fn, "__self__", None)
    return handle if isinstance(handle, Handle) else None


def _open_sockets(handles: Tuple[Handle, ...]) -> str:
    sockets = [h for h in handles if h._phase == OPEN and getattr(h, "sock", None) is not None]
    return "; ".join(sorted(h._name() + _made_at(h._site) for h in sockets))


def _made_at(site: Optional[str]) -> str:
    return ", made at\n%s" % site if site else ""


def _watch_forks(loop: Loop) -> None:
    """Has a forked child disown `loop`: it shares descriptors with the parent's, running it would steal events."""
    global _loops
    if _loops is None:
        import weakref

        _loops = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forked)
    _loops.add(loop)


def _forked() -> None:
    for loop in tuple(_loops or ()):
        loop._forked = True
        loop._thread = 0
        loop._running = False
        loop._stopping = True  # forked by a callback of a turn: the turn reads no more, run() ends with AffinityError
        loop._poller.ready.clear()
