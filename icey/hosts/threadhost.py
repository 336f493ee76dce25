"""(opt threading) ThreadHost: a loop on a thread of its own, for programs whose main loop can wait for no socket: Kodi,
Blender, a debugger, a program that blocks.

Rules
- The loop belongs to that thread. Other threads have `call` (waits for the result) and `post` (does not), from start() to
  stop(). `loop.stop()`, and a KeyboardInterrupt or SystemExit in a slot, end the thread at once, what is open is aborted.
- stop() ends in order: servers stop with what is in flight; streams, listeners, datagram sockets, WebSockets, event streams and
  child processes close; requests and names under way come to their end, timers fire while any of that lasts. After `grace`
  seconds the rest is aborted. Then the thread is joined.
- No thread outlives the interpreter: what was not stopped is stopped when the program ends, with a second of grace.
- No call is left waiting: one that the loop does not come to is StateError.

Not here: several loops that share work (the application posts from one to the other).
"""

from __future__ import annotations

import sys
import threading
import weakref
from _thread import get_ident

from ..base.application import takes
from ..base.errors import StateError
from ..base.handle import Handle
from ..base.idler import Idler
from ..base.loop import Loop
from ..base.poll import Poll
from ..base.signal import require_callable
from ..base.stream import Stream
from ..base.synchronizer import Synchronizer
from ..base.threads import at_end, ends_before_waiting
from ..base.timer import Timer, seconds
from ..net.adapter import Adapter

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Set, Tuple

LAST_GRACE = 1.0  # seconds, of a host that the end of the program stops
AFTER_GRACE = 2.5  # seconds until the thread is joined, behind the grace: closing a loop may wait a second for its own threads
# Events of what ends only by close(): listeners, datagram sockets, WebSockets, event streams, child processes. Requests and
# names end by themselves.
ENDLESS = ("on_accept", "on_recv", "on_message", "on_event", "on_exit")

_hosts: weakref.WeakSet[ThreadHost] = weakref.WeakSet()  # those that the end of the program stops
_watched = False


class ThreadHost:
    """A loop on a thread of its own. `setup(loop)` runs on it first. As a context manager it starts and stops.

    setup: makes the servers and clients; None for nothing. debug: as of Loop. name: of the thread. `loop`: the Loop, from
    start() on, which belongs to that thread. `alive`: whether the thread lives.
    """

    def __init__(self, setup: Optional[Callable[[Loop], Any]] = None, *, debug: Optional[bool] = None,
                 name: str = "icey") -> None:
        if setup is not None:
            require_callable(setup, "setup")
        self.name = name
        self._setup, self._debug = setup, debug
        self._thread: Optional[threading.Thread] = None
        self._begun = threading.Lock()  # held from the first start() on
        self._loop: Optional[Loop] = None
        self._ready = threading.Event()
        self._failed: Optional[BaseException] = None
        self._alone = False  # start() does not wait any more
        self._keeper: Optional[Handle] = None  # what keeps the loop running
        self._deadline: Optional[Timer] = None
        self._grace: Optional[float] = None  # once stop() was asked for
        self._calls: Set[_Call] = set()
        self._over = threading.Event()  # the thread has nothing left to do
        self._joins = threading.Lock()  # PyPy 3.9 cannot join a thread twice at a time

    # any thread

    @property
    def loop(self) -> Loop:
        """The Loop; StateError before start()."""
        if self._loop is None:
            raise StateError("the loop of a ThreadHost that has not started", "start() it first")
        return self._loop

    @property
    def alive(self) -> bool:
        """Whether the thread lives."""
        return self._thread is not None and not self._over.is_set() and self._thread.is_alive()

    def start(self) -> ThreadHost:
        """Starts the thread, and returns once `setup` has returned; what that raises comes out of here. Returns the host."""
        if not self._begun.acquire(False):
            raise StateError("start() of a ThreadHost that was started", "start it once; for another loop make another host",
                             "one host drives a loop")
        try:
            daemon = _watch_the_end()
            self._thread = thread = threading.Thread(target=self._main, name=self.name, daemon=daemon)  # setup may ask for it
            _hosts.add(self)
            thread.start()
        except RuntimeError:  # the system has no thread left
            self._thread = None
            self._begun.release()
            raise
        try:
            self._ready.wait()
        except BaseException:  # Ctrl-C while setup is at work: the thread ends behind it
            self._alone = True
            self._begin_stop(0.0)
            raise
        if self._failed is not None:
            self._join(None)
            exc, self._failed = self._failed, None
            try:
                raise exc
            finally:
                del exc  # its traceback has this frame
        return self

    def call(self, fn: Callable[..., Any], *args: Any, timeout: Optional[float] = None) -> Any:
        """Calls `fn(*args)` on the loop's thread, and returns or raises what it does. On that thread: at once.

        timeout: seconds to wait (None: as long as it takes), then TimeoutError. A call that nobody waits for any more, also
        because of a KeyboardInterrupt, is not begun; one that has begun goes on. StateError: not started, or stopped.
        """
        require_callable(fn, "what call() calls")
        if timeout is not None:
            timeout = seconds(timeout, "timeout")
        loop = self.loop
        if self.alive and get_ident() == loop.thread:
            return fn(*args)
        call = _Call(fn, args)
        self._calls.add(call)  # first: what the loop drops when it closes is found here
        try:
            if not self.alive or not loop.post(call.begin):
                raise _over("call")
            if not call.over.wait(_waitable(timeout)) and call.claim():
                raise TimeoutError("call: %r has not returned within %g s" % (fn, timeout or 0.0))
            call.over.wait()
        finally:
            call.wanted = False
            call.claim()
            self._calls.discard(call)
        try:
            if call.error is not None:
                raise call.error
            return call.result
        finally:
            del call  # its error's traceback has this frame

    def post(self, fn: Callable[..., Any], *args: Any) -> bool:
        """Has `fn(*args)` called on the loop's thread, and does not wait. False once the loop is closed, or before start()."""
        require_callable(fn, "what post() calls")
        return self._loop is not None and self._loop.post(fn, *args)

    def stop(self, grace: float = 10.0) -> None:
        """Ends the loop in order, within `grace` seconds, and joins the thread. In a call or a slot it only begins the end.

        TimeoutError, with the place: a slot held the thread for longer. A host that does not run is left alone.
        """
        seconds(grace, "grace")
        thread = self._thread
        if thread is None or not (self.alive or self._over.is_set()):
            return
        self._begin_stop(grace)
        if get_ident() == thread.ident and not self._over.is_set():  # else another thread has its number by now
            return
        if not self._join(grace + AFTER_GRACE):
            frame = sys._current_frames().get(thread.ident or 0)  # of CPython and PyPy, to say where
            where = " in %s, line %d" % (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ""
            raise TimeoutError("stop: the thread %r has not ended within %g s, it is%s" % (
                self.name, grace + AFTER_GRACE, where))

    def __enter__(self) -> ThreadHost:
        return self if self._thread is not None else self.start()

    def __exit__(self, *exc_info: Any) -> None:
        self.stop()

    def __repr__(self) -> str:
        return "<ThreadHost %r, %s>" % (self.name, "alive" if self.alive else "over" if self._thread else "not started")

    # private: any thread

    def _join(self, timeout: Optional[float]) -> bool:
        """False: the thread has not ended within `timeout` seconds."""
        thread = self._thread
        if self.alive and not self._over.wait(_waitable(timeout)):
            return False
        with self._joins:
            if thread is not None:
                thread.join()
        return True

    def _begin_stop(self, grace: float) -> None:
        self._grace = grace if self._grace is None else min(grace, self._grace)
        if self._loop is not None:  # else the thread sees it as soon as there is one
            self._loop.post(self._end)

    # private: the loop's thread

    def _main(self) -> None:
        try:
            try:
                self._loop = loop = Loop(self._debug)
                self._keeper = Handle(loop)
                self._keeper.activate()
                if self._setup is not None:
                    self._setup(loop)
            except BaseException as exc:
                self._failed = exc
                if self._alone:
                    raise
                return
            if self._grace is not None:
                self._begin_stop(self._grace)
            self._ready.set()
            loop.run()
        finally:
            try:
                self._close()
            finally:
                self._keeper = self._deadline = self._setup = None
                for call in tuple(self._calls):
                    call.refuse(_over("call"))
                self._ready.set()
                self._over.set()

    def _end(self) -> None:
        """stop() was asked for, for the first time or once more."""
        loop, grace = self.loop, self._grace or 0.0
        keeper = self._keeper
        if keeper is not None and not keeper.closing:
            keeper.close()
            for handle in loop.handles:
                try:
                    _wind_down(handle, grace)
                except Exception as exc:  # the others are ended all the same
                    loop.report(exc, handle)
        if self._deadline is not None:
            self._deadline.close()
        self._deadline = loop.call_later(grace, loop.stop)
        self._deadline.unref()

    def _close(self) -> None:
        """Aborts what is left, and frees the loop."""
        loop = self._loop
        if loop is not None and not loop.closed:
            for handle in loop.handles:
                handle.abort()  # it is known that they are open: no ResourceWarning
            loop.close()


class _Call:
    """A call from another thread. `wanted`: begin it. `over`: there is an outcome, `result` or `error`."""

    __slots__ = ("fn", "args", "wanted", "over", "result", "error", "_outcome")

    def __init__(self, fn: Callable[..., Any], args: Tuple[Any, ...]) -> None:
        self.fn, self.args = fn, args
        self.wanted = True
        self.over = threading.Event()
        self.result: Any = None
        self.error: Optional[BaseException] = None
        self._outcome = threading.Lock()

    def claim(self) -> bool:
        """Decides who has the outcome, once: the caller while it waits, else the loop, which reports an exception."""
        return self._outcome.acquire(False)

    def begin(self) -> None:
        """On the loop's thread."""
        if not self.wanted:
            return
        try:
            result = self.fn(*self.args)
        except BaseException as exc:  # KeyboardInterrupt and SystemExit, too: they are the caller's
            if not self.claim():
                raise
            self.error = exc
        else:
            if self.claim():
                self.result = result
        self.over.set()

    def refuse(self, exc: StateError) -> None:
        """The loop is closed, and will not come to it."""
        if self.claim():
            self.error = exc
            self.over.set()


def _wind_down(handle: Handle, grace: float) -> None:
    """Ends what would not end by itself; the rest goes on while the loop does, and keeps it from ending if it has an end."""
    kind = type(handle)
    if handle.closing:
        return
    if takes(getattr(kind, "stop", None), "drain"):
        handle.stop(drain=grace)  # type: ignore[attr-defined]
    elif isinstance(handle, Stream):
        if handle.protocol is None or isinstance(handle.protocol, Adapter):
            handle.close()  # else it is a server's, a client's, TLS's
    elif isinstance(handle, (Timer, Idler, Synchronizer, Poll)) or kind is Handle:
        handle.unref()
    elif getattr(handle, "reusable", False) or any(hasattr(kind, event) for event in ENDLESS):
        handle.close()  # `reusable`: a client's connection that is idle


def _waitable(timeout: Optional[float]) -> Optional[float]:
    """What a lock can wait for at most, where that is less: on Windows 49 days."""
    return None if timeout is None else min(timeout, threading.TIMEOUT_MAX)


def _over(verb: str) -> StateError:
    return StateError("%s() on a ThreadHost that does not run" % verb, "start() comes first, and nothing after stop()")


def _watch_the_end() -> bool:
    """Has the end of the program stop all hosts; returns whether their threads are to be daemons.

    Where `threading` calls us before it waits for its threads, they are none. On Python 3.8 it does not: there they are
    daemons, and an exit handler, which comes after that wait, ends and joins them.
    """
    global _watched
    if not _watched:
        at_end(_stop_all, first=True)  # what ends behind them, their slots may need until then
        _watched = True
    return not ends_before_waiting()


def _stop_all() -> None:
    left = [host for host in _hosts if host.alive]  # not those of the process that forked this one
    for host in left:
        host._begin_stop(LAST_GRACE)
    for host in left:
        host._join(None)
