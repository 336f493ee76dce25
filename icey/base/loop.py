"""Loop: the reactor. One thread, one selector, and everything that happens happens in a turn of it.

A turn: wait for descriptors, then
    1. timers that are due     2. posted and soon calls     3. ready descriptors     4. idlers     5. closing handles

Rules
- A loop belongs to the thread that runs it (until it first runs: to the one that built it). `post` is the only method
  for other threads. There is no global loop.
- The clock is read once a turn, after the wait: `now`.
- Nothing a callback raises ends the loop: it goes to `on_error`. KeyboardInterrupt and SystemExit pass through.
- A KeyboardInterrupt may strike at any line. What it can cut short is ordered so that it can be mended, and the next `run`,
  `run_once` or `close` mends it first: no handle is forgotten, none is counted twice, no timer is lost.
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

from . import debug as debugging, log
from .buffer import DebugReadBuffer, ReadBuffer
from .emitter import wrong_thread
from .errors import StateError
from .handle import CLOSED, CLOSING, FINISHING, OPEN, Handle
from .poller import READ, SelectorPoller, best_poller
from .signal import Event, require_callable
from .streamprotocol import StreamProtocol
from .timer import STOPPED, Timer, seconds
from .waker import Waker

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    import selectors
    import weakref
    from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Set, Tuple, Union

    from typing_extensions import Self

    from .idler import Idler
    from .poller import EpollPoller
    from .signal import Signal
    from .timer import Entry

SLOW = 0.1  # seconds
HOLD = 0.05  # seconds of a turn: a longer one held the loop, and is no time that a peer was late
FEW_DEAD = 64  # entries of stopped timers that are let lie in the heap
LONGEST = 86400.0  # seconds of one wait: the system's calls overflow at some 24 days

_loops: Optional[weakref.WeakSet[Loop]] = None  # made with the first loop: those that a fork must disown


class Loop:
    """The reactor.

    debug: True or False; None asks the ICEY_DEBUG environment variable.
    clock: a function returning seconds that never go back. selector: a `selectors` selector to use (and own). `debug`, `clock`:
    as given; `now`: what the clock said when this turn began; `site`: where it was made, in debug mode; `signals`: its events.
    """

    __slots__ = (
        "now", "debug", "clock", "poller", "waker", "read_buffer", "_calls", "_timers", "_timer_count",
        "_dead_timers", "idlers", "finishing", "active", "refs", "thread", "_adopted", "_running", "_stopping",
        "_closed", "_freed", "_ending", "_whole", "_cut", "_asked", "firing", "forked", "held", "slow_limit", "services",
        "_notice", "_turn_watchers", "_call_watchers", "_call_notice", "_report_watchers", "signals", "site", "__weakref__",
    )

    on_error: Event[Callable[[Self, Exception, Any], Any]] = Event(
        "on_error(loop, exc, handle_or_None): a slot or callback raised")

    def __init__(
        self,
        debug: Optional[bool] = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        selector: Optional[selectors.BaseSelector] = None,
    ) -> None:
        self._closed = self._freed = True  # until everything below exists: __del__ may come early
        self._ending = False  # close() is under way
        self._asked = False  # fileno() was: an outer loop may wait on it
        self._whole = True  # no run was left by an exception since the loop was mended last
        self._cut: List[Callable[[], Any]] = []  # what mends those in the midst of which that exception struck
        self.firing: Optional[Entry] = None  # taken out of the heap, its function not yet called
        self.forked: bool = False
        self.debug: bool = debugging.switched_on(debug)
        self.site: Optional[str] = debugging.stack() if self.debug else None
        self.clock: Callable[[], float] = clock
        self.now: float = clock()
        self.held: float = 0.0  # seconds, of all turns that were longer than HOLD
        self._notice = HOLD  # seconds of a turn from which on somebody wants to know
        self._turn_watchers: List[Callable[[float], Any]] = []
        self._call_watchers: List[Tuple[Callable[[Loop, Callable[..., Any], float], Any], float]] = []
        self._call_notice = 0.0  # seconds of a callback from which on one of them wants to know
        self._report_watchers: List[Callable[[Loop, BaseException, Any], Any]] = []
        self.slow_limit: float = SLOW  # debug: a callback that takes longer is logged
        self._calls: Deque[Tuple[Callable[..., Any], Tuple[Any, ...]]] = deque()
        self._timers: List[Entry] = []
        self._timer_count = 0
        self._dead_timers = 0
        self.idlers: List[Idler] = []
        self.finishing: Deque[Handle] = deque()
        self.active: Set[Handle] = set()
        self.refs: int = 0
        self.services: Dict[str, Handle] = {}  # what there is one of a loop, made on first use: the resolver's pool
        self.thread: int = get_ident()
        self._adopted = False
        self._running = False
        self._stopping = False
        self.signals: Optional[Dict[str, Signal]] = None
        self.read_buffer: ReadBuffer = DebugReadBuffer() if self.debug else ReadBuffer()
        self.waker: Waker = Waker()
        try:
            wakes = self.waker.fileno() >= 0
            self.poller: Union[SelectorPoller, EpollPoller] = (
                best_poller(wakes) if selector is None else SelectorPoller(selector))
            if self.debug:
                from .watch import slow

                self.watch_calls(slow)
            if wakes:
                self.poller.register(self.waker.fileno(), READ, self.waker.drain)
        except BaseException:
            self.waker.close()
            raise
        self._closed = self._freed = False
        _watch_forks(self)

    # running: the owner's thread

    def run(self) -> None:
        """Turns until nothing keeps the loop alive or `stop()` is called. A nested run is StateError."""
        self._work("run", None, False)

    def run_once(self, timeout: Optional[float] = None) -> bool:
        """One turn, waiting at most `timeout` seconds (None: as long as need be). True while there is more to do."""
        if timeout is not None:
            timeout = min(seconds(timeout, "timeout"), LONGEST)
        self._work("run_once", timeout, True)
        return self._alive()

    def _work(self, verb: str, timeout: Optional[float], once: bool) -> None:
        self._enter(verb)
        try:
            try:
                self._running, self._whole = True, False
                while once or self._alive():
                    self._turn(timeout)
                    if once or self._stopping:
                        break
                self._whole = True
            except BaseException as exc:
                self._cut_short(exc)
                raise
            finally:
                self._running = self._stopping = False
        finally:  # once more: a KeyboardInterrupt may strike in the one before
            self._running, self.waker.asleep = False, True  # an outer loop waits on fileno() now
            if self._asked and not (once or self.forked):
                self.waker.wake()  # it knows nothing of the timers that were started meanwhile
        if self.forked:
            wrong_thread(self)

    def stop(self) -> None:
        """Ends `run()` after this turn; on a loop that does not run, the next `run()` after one turn.

        Also from a signal handler: a loop that sleeps wakes.
        """
        self.check_thread()
        self._stopping = True
        if self.waker.asleep:
            self.work_came()

    def close(self) -> None:
        """Aborts what is open, emits each `on_close`, frees everything. Inside `run()` it is StateError.

        A loop that does not run may be closed from any thread. Calls posted and not yet run are dropped. In debug mode
        one ResourceWarning lists the sockets that were open. The loop's own threads (of the resolver) are ended and joined,
        within a second. A `with` block that an exception leaves closes the loop without that warning: the exception says why.
        """
        self._close(True)

    def _close(self, tell: bool) -> None:
        if self._freed or self._ending:
            return
        if self._running:
            self.check_thread()
            raise StateError("close() of a loop that is running", "stop() it, and close it when run() has returned",
                             "close is asynchronous")
        if self.forked:
            self._disown()
            return
        self.thread, self._adopted = get_ident(), True
        unclosed = ""
        try:
            try:
                self._ending = True
                if tell and self.debug and not self._closed:
                    unclosed = _open_sockets(self.handles)
                self._end()
            finally:  # KeyboardInterrupt passes through, and leaves no descriptor behind
                self._disown()
        finally:
            self._ending = False
        if unclosed:
            warnings.warn("loop.close() found still open: " + unclosed, ResourceWarning, stacklevel=3)

    def call_soon(self, fn: Callable[..., Any], *args: Any) -> None:
        """Calls `fn(*args)` in the next turn (in this one, if the turn has not come to its calls yet)."""
        self.check_thread()
        self.require_open("call_soon")
        require_callable(fn, "what call_soon() calls")
        self._calls.append((fn, args))
        if self.waker.asleep:
            self.work_came()

    def call_later(self, delay: float, fn: Callable[..., Any], *args: Any) -> Timer:
        """Calls `fn(*args)` in `delay` seconds; returns the started Timer, whose `stop()` cancels."""
        if fn is None:
            require_callable(fn, "what call_later() calls")
        timer = Timer(self, delay, fn)  # refuses another thread, a closed loop, and what is no time
        timer.args = args
        self._timer_count = number = self._timer_count + 1  # as add_timer, a call less
        entry: Entry = [self.clock() + delay, number, timer]
        heappush(self._timers, entry)
        timer.entry = entry
        timer.registered = True
        self.refs += 1
        if self.waker.asleep and self._timers[0] is entry:
            self.work_came()
        return timer

    def soon(self, fn: Callable[..., Any], *args: Any) -> None:
        """As `call_soon`, without its checks: for handles and protocols, on the loop's thread."""
        self._calls.append((fn, args))
        if self.waker.asleep:
            self.work_came()

    def work_came(self) -> None:
        """Outside of a turn there is something to do: wakes a loop that sleeps while a signal handler runs, or an outer one."""
        if self._running or self._asked:
            self.waker.wake()

    # embedding: another main loop waits for us

    def fileno(self) -> int:
        """A descriptor that turns readable when the loop has something to do (StateError: the selector has none)."""
        self.check_thread()
        self.require_open("fileno")
        self._asked = True
        return self.poller.fileno()

    def timeout(self) -> Optional[float]:
        """Seconds until the loop wants its next turn by itself, 0 for at once, None for never."""
        self.check_thread()
        if self._calls or self.idlers or self.finishing or self._stopping:
            return 0
        if not self._whole and not self._running:
            return 0  # an interrupt cut the last turn short: the next one mends, and knows
        self._drop_dead_timers()
        return max(0.0, self._timers[0][0] - self.clock()) if self._timers else None

    # any thread

    def post(self, fn: Callable[..., Any], *args: Any) -> bool:
        """Calls `fn(*args)` on the loop's thread. Thread-safe, takes no lock; False once the loop is closed."""
        if self._closed:
            return False
        if self.forked:
            wrong_thread(self)
        if not callable(fn):
            require_callable(fn, "what post() calls")
        calls, call = self._calls, (fn, args)
        calls.append(call)
        if self.waker.asleep:
            self.waker.wake()
        if self._closed:  # it closed in between: say so, unless it was taken. `is`: `==` is anybody's
            return calls.maxlen != 0 and not any(other is call for other in calls.copy())
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
        self.check_thread()
        return tuple(self.active) + tuple(self._started())

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._close(not any(exc_info))

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self._running else "idle"
        return "<Loop %s, %d handles>" % (state, len(self.active))

    def __del__(self, unclosed: Callable[[Any], None] = debugging.unclosed, getattr: Any = getattr) -> None:
        # getattr: __init__ may have been refused. As an argument: where an interpreter ends, the builtins may be gone already.
        if not getattr(self, "_freed", True) and not self.forked:
            unclosed(self)

    # the turn

    def _enter(self, verb: str) -> None:
        me = get_ident()
        if me != self.thread:
            if self._adopted or self.forked:
                wrong_thread(self)
            self.thread = me
        self.require_open(verb)
        if self._running:
            raise StateError("%s() inside a running loop" % verb, "return to the loop that runs, it goes on by itself",
                             "one turn at a time")
        self._adopted = True
        if not self._whole:
            self._mend()

    def _alive(self) -> bool:
        return bool(self.refs > 0 or self._calls or self.finishing)

    def _turn(self, timeout: Optional[float]) -> None:
        waker = self.waker
        waker.asleep = True  # before the look at _calls: a post from now on is seen, or wakes
        if self._calls or self._stopping or self.idlers or self.finishing:
            timeout = 0
        elif self._timers:
            self._drop_dead_timers()
            if self._timers:
                rest = self._timers[0][0] - self.clock()
                if timeout is None or rest < timeout:
                    timeout = 0 if rest <= 0 else rest if rest < LONGEST else LONGEST
        events = self.poller.wait(timeout)
        waker.asleep = False
        now = self.now = self.clock()
        if self._call_watchers:
            self._work_watched(events, now)
        else:
            if self._timers and self._timers[0][0] <= now:
                self._run_timers(now)
            if self._calls:
                self._run_calls()
            ready = self.poller.ready
            for fd, mask in events:
                fn = ready.get(fd)
                if fn is not None:
                    try:
                        fn(mask)
                    except Exception as exc:
                        self.report(exc, _owner(fn))
            if self.idlers:
                for idler in tuple(self.idlers):
                    if idler.registered:
                        try:
                            idler.turn()
                        except Exception as exc:
                            self.report(exc, idler)
            if self.finishing:
                self._close_handles()
        spent = self.clock() - now
        if spent > self._notice:
            if spent > HOLD:
                self.held += spent
            for fn in self._turn_watchers:
                try:
                    fn(spent)
                except Exception as exc:
                    self.report(exc, None)

    def _run_timers(self, now: float) -> None:
        timers = self._timers
        last = self._timer_count  # a timer started by one of them has a higher number, and waits for the next turn
        while timers and timers[0][0] <= now and timers[0][1] <= last:
            entry = timers[0]
            if entry[2].entry is entry:
                self.firing = entry
                heappop(timers)
                entry[2].due(now)
            else:
                heappop(timers)
                self._dead_timers -= 1

    def _run_calls(self) -> None:
        calls = self._calls
        for _ in range(len(calls)):  # those made meanwhile wait for the next turn, so that I/O is not starved
            fn, args = calls.popleft()
            try:
                fn(*args)
            except Exception as exc:
                self.report(exc, _owner(fn))

    def _close_handles(self) -> None:
        finishing = self.finishing
        for _ in range(len(finishing)):
            try:
                finishing[0].closed_now()
            except Exception as exc:
                self.report(exc, finishing[0])
            finishing.popleft()  # behind it: what an interrupt cuts short is called again

    def _work_watched(self, events: Sequence[Tuple[int, int]], now: float) -> None:
        """The work of a turn, as `_turn` does it where nobody watches the calls."""
        timers, calls, ready, finishing = self._timers, self._calls, self.poller.ready, self.finishing
        last, then = self._timer_count, now
        while timers and timers[0][0] <= now and timers[0][1] <= last:
            entry = timers[0]
            if entry[2].entry is entry:
                self.firing = entry
                heappop(timers)
                then = self._call_watched(then, entry[2].due, (now,))
            else:
                heappop(timers)
                self._dead_timers -= 1
        for _ in range(len(calls)):
            then = self._call_watched(then, *calls.popleft())
        clock, notice = self.clock, self._call_notice
        for fd, mask in events:
            fn = ready.get(fd)
            if fn is not None:  # as _call_watched, a call less: that is most of what watching costs
                try:
                    fn(mask)
                except Exception as exc:
                    self.report(exc, _owner(fn))
                began, then = then, clock()
                if then - began >= notice:
                    then = self._tell_watchers(fn, then - began, then)
        for idler in tuple(self.idlers):
            if idler.registered:
                then = self._call_watched(then, idler.turn, ())
        for _ in range(len(finishing)):
            then = self._call_watched(then, finishing[0].closed_now, ())
            finishing.popleft()

    def _call_watched(self, began: float, fn: Callable[..., Any], args: Tuple[Any, ...]) -> float:
        """Calls `fn`, which begins where the one before ended: `began`. Returns when it has ended."""
        try:
            fn(*args)
        except Exception as exc:
            self.report(exc, _owner(fn))
        ended = self.clock()
        return self._tell_watchers(fn, ended - began, ended) if ended - began >= self._call_notice else ended

    def _tell_watchers(self, fn: Callable[..., Any], spent: float, ended: float) -> float:
        """Returns when the next one begins: who watches may have logged this one, which takes long."""
        for watch, over in self._call_watchers:
            if spent >= over:
                try:
                    watch(self, fn, spent)
                except Exception as exc:
                    self.report(exc, None)
        return ended if spent < self.slow_limit else self.clock()

    # for handles

    def check_thread(self) -> None:
        if get_ident() != self.thread:
            wrong_thread(self)

    def require_open(self, verb: str) -> None:
        if self._closed:
            raise StateError("%s() on a closed loop" % verb, "build a new Loop", "close is asynchronous")

    def slots_changed(self, name: str, signal: Signal) -> None:
        pass

    def add_timer(self, when: float, timer: Timer) -> None:
        """`timer`, which is not started, is due at `when`, and keeps the loop running while it has its ref."""
        self._timer_count = number = self._timer_count + 1
        entry: Entry = [when, number, timer]
        heappush(self._timers, entry)  # first: an entry that its timer does not know is dead
        timer.entry = entry
        if not timer.registered:
            timer.registered = True
            self.refs += timer.counts
        if self.waker.asleep and self._timers[0] is entry:
            self.work_came()

    def timer_left(self) -> None:
        """A timer stopped: its entry is dead from now on, and holds it no more."""
        self._dead_timers = dead = self._dead_timers + 1
        if dead > FEW_DEAD and dead * 8 > len(self._timers) * 7:  # where many are stopped, most of them are: not at the half
            self._sweep_timers()

    def _sweep_timers(self) -> None:
        self._timers[:] = [entry for entry in self._timers if entry[2] is not STOPPED]
        heapify(self._timers)
        self._dead_timers = 0

    def _drop_dead_timers(self) -> None:
        timers = self._timers
        if self._dead_timers > FEW_DEAD and self._dead_timers * 2 > len(timers):
            self._sweep_timers()
        while timers and timers[0][2].entry is not timers[0]:
            heappop(timers)
            self._dead_timers -= 1

    def _started(self) -> List[Timer]:
        return [entry[2] for entry in self._timers if entry[2].entry is entry]

    def watch_turns(self, fn: Callable[[float], Any]) -> None:
        """Has `fn(seconds)` called behind each turn: the time that it took, its wait not counted."""
        self._turn_watchers = [*self._turn_watchers, fn]
        self._notice = -1.0

    def unwatch_turns(self, fn: Callable[[float], Any]) -> None:
        """Ends that; one that does not watch is no error."""
        self._turn_watchers = [other for other in self._turn_watchers if other != fn]
        self._notice = -1.0 if self._turn_watchers else HOLD

    def watch_calls(self, fn: Callable[[Loop, Callable[..., Any], float], Any], over: float = 0.0) -> None:
        """Has `fn(loop, callback, seconds)` called behind each callback that took `over` seconds or more: these seconds."""
        self._call_watchers = [*self._call_watchers, (fn, over)]
        self._call_notice = min(over for _, over in self._call_watchers)

    def unwatch_calls(self, fn: Callable[[Loop, Callable[..., Any], float], Any]) -> None:
        """Ends that; one that does not watch is no error."""
        self._call_watchers = [other for other in self._call_watchers if other[0] != fn]
        self._call_notice = min([over for _, over in self._call_watchers], default=0.0)

    def watch_reports(self, fn: Callable[[Loop, BaseException, Any], Any]) -> None:
        """Has `fn(loop, exc, handle_or_None)` called before each report; beside a slot of `on_error` it keeps none from the
        log. The exception holds the frames that it passed: do not keep it."""
        self._report_watchers = [*self._report_watchers, fn]

    def unwatch_reports(self, fn: Callable[[Loop, BaseException, Any], Any]) -> None:
        """Ends that; one that does not watch is no error."""
        self._report_watchers = [other for other in self._report_watchers if other != fn]

    def report(self, exc: BaseException, handle: Any) -> None:
        """What a callback raised: to `on_error`, or to the log where nobody is attached."""
        for fn in self._report_watchers:
            try:
                fn(self, exc, handle)
            except Exception as second:
                log.error("loop", "a function that watches reports raised", exc=second)
        signals = self.signals
        if signals is not None and len(signals["on_error"]):
            try:
                signals["on_error"].emit(self, exc, handle)
                return
            except Exception as second:
                log.error("loop", "on_error itself raised", exc=second)
        of = " of %r" % (handle,) if handle else ""
        log.error("loop", "%s in %s%s", type(exc).__name__, debugging.raised_in(exc), of, exc=exc)

    # the end

    def _end(self) -> None:
        """Aborts all handles and closes them, until there are none."""
        if not self._whole:
            self._mend()
        self._closed = True  # nothing new from here on, not from an on_close slot either
        left = self.handles
        while left or self.finishing:
            for handle in left:
                handle.abort()
            for handle in left if not self.finishing else ():  # it waits for what an interrupt took
                handle.finish()
            if not self.finishing:
                break
            self._close_handles()
            left = self.handles

    def _cut_short(self, exc: BaseException) -> None:
        """Streams in whose own frames an interrupt struck are cut: what was read or sent there may be lost.

        Where it struck in a slot, the protocols that called it are told, when the loop is mended.
        """
        inside = debugging.struck_inside(exc)
        trace = exc.__traceback__ and exc.__traceback__.tb_next  # `_work`'s f_locals would keep it
        while trace is not None:
            who = trace.tb_frame.f_locals.get("self")
            if inside and isinstance(who, Handle) and hasattr(who, "close_timeout"):  # a stream, not a half-made one
                self._cut.append(who.abort)
            elif not inside and isinstance(who, StreamProtocol) and who.interrupted not in self._cut:
                self._cut.append(who.interrupted)
            trace = trace.tb_next

    def _mend(self) -> None:
        """The last run was left by an exception: what that cut short is made whole, and counted anew."""
        entry = self.firing
        if entry is not None and entry[2].phase == OPEN and entry[2].entry in (None, entry):
            self.add_timer(entry[0], entry[2])
        self.firing = None
        self._timers[:] = [entry for entry in self._timers if entry[2].entry is entry]
        heapify(self._timers)
        self._dead_timers = 0
        while self._cut:
            self._mend_one(self._cut[-1], _owner(self._cut[-1]))
            self._cut.pop()
        for handle in tuple(self.finishing):
            if handle.phase < FINISHING:
                handle.phase = FINISHING
            if handle.phase < CLOSED:
                self._mend_one(handle.silence, handle)
        for handle in tuple(self.active):
            handle.registered = True
            if handle.phase >= FINISHING and handle not in self.finishing:
                self.finishing.append(handle)
            elif handle.phase < FINISHING:
                self._mend_one(handle.mend, handle)
        for handle in self.handles:
            if handle.phase == CLOSING and type(handle).close is Handle.close:
                self._mend_one(handle.begin_close, handle)
        self._count()
        self._whole = True

    def _mend_one(self, mend: Callable[[], Any], handle: Optional[Handle]) -> None:
        try:
            mend()
        except Exception as exc:
            self.report(exc, handle)

    def _count(self) -> None:
        timers = self._started()
        for timer in timers:
            timer.registered = True
        self.refs = sum(handle.counts for handle in self.active) + sum(timer.counts for timer in timers)

    def _disown(self) -> None:
        """Frees what is open, and tells nobody: in a forked child the parent goes on with its own."""
        for handle in tuple(self.active):
            handle.free()
        self.free()

    def free(self) -> None:
        self._closed = True
        self.poller.close()
        self.waker.close()
        self._calls = deque((), 0)  # which keeps nothing: a post() may have the old one in hand
        self._timers.clear()
        self.active.clear()
        self.finishing.clear()
        self.signals = None
        self._freed = True


def _owner(fn: Callable[..., Any]) -> Optional[Handle]:
    handle = getattr(fn, "__self__", None)
    return handle if isinstance(handle, Handle) else None


def _open_sockets(handles: Tuple[Handle, ...]) -> str:
    sockets = [h for h in handles if h.phase == OPEN and getattr(h, "sock", None) is not None]
    return "; ".join(sorted(h.title() + _made_at(h.site) for h in sockets))


def _made_at(site: Optional[str]) -> str:
    return ", made at\n%s" % site if site else ""


def _watch_forks(loop: Loop) -> None:
    """Has a forked child disown `loop`: it shares descriptors with the parent's, running it would steal events."""
    global _loops
    if _loops is None:
        import weakref

        _loops = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_in_child)
    _loops.add(loop)


def _in_child() -> None:
    for loop in tuple(_loops or ()):
        loop.forked = True
        loop.thread = 0
        loop._running = False
        loop._stopping = True  # forked by a callback of a turn: the turn reads no more, run() ends with AffinityError
        loop.poller.ready.clear()
