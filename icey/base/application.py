"""(opt signal) icey.run: a loop until SIGINT or SIGTERM, an orderly end, and a second signal that means now.

Rules
- Signal handlers and the wake-up descriptor are set only while `run` runs, only in the main thread and only where the `signal`
  module exists; before it returns they are what they were. Elsewhere it simply runs the loop.
- A signal that the process ignores (what nohup and `command &` of a script set) stays ignored.
- A signal that comes while the one before it still waits for a slot that does not return is taken as if there were no loop:
  Ctrl-C then raises KeyboardInterrupt inside that slot.
- In a forked child the signals act as if there were no loop: the handlers and the wake-up descriptor are put back there.
- ICEY_INSPECT=HOST:PORT in the environment has an inspector show the loop while `run` runs (tools/inspect). Where that cannot
  be, a line in the log says why, and the program runs as ever; what the program itself asks for (`inspect=`) raises then.
"""

from __future__ import annotations

import os

from . import log
from .emitter import require_loop
from .handle import Handle
from .lazy import left_out
from .timer import seconds

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Dict, List, Optional

    from .loop import Loop

_restores: List[Callable[[], None]] = []  # of each `run` under way: nested ones, each with a loop of its own
_watches_forks = False


def run(loop: Loop, *closables: Any, grace: float = 10.0, inspect: Optional[str] = None) -> Optional[int]:
    """Runs `loop` until nothing keeps it alive, `loop.stop()`, or SIGINT or SIGTERM; returns the signal's number or None.

    On the first signal each of `closables` gets `stop(drain=grace)` if it has a `stop` that takes it, else `close()`, and the
    loop ends when those that tell by `on_close` (handles, PacketStreams) have, a second after `grace` at the latest. Others are
    not waited for, nor is what was not given: the connections of a TCPListener are yours; close them, and `loop.run()` again.
    A second signal ends it now: at once, by the handler that was there before (KeyboardInterrupt), where a slot holds the loop
    since the one before.
    inspect: "HOST:PORT", or a port of loopback, at which a page shows what the loop does meanwhile; its URL is logged. OSError:
    it cannot listen there; ValueError: that is no address; ImportError: the inspector, or what it needs, is not here.
    TypeError: something among `closables` cannot be closed; TypeError or ValueError: `grace` is no time.
    """
    require_loop("icey.run", loop)
    for closable in closables:
        if not (callable(getattr(closable, "close", None)) or takes(getattr(type(closable), "stop", None), "drain")):
            raise TypeError("icey.run(loop, *closables): what is to be closed has a close(), unlike %r" % (closable,))
    ending = Ending(loop, closables, seconds(grace, "grace"))
    inspector = _inspected(loop, inspect)
    restore = _catch(loop, ending)
    try:
        loop.run()
    finally:
        restore()
        ending.over = True
        if inspector is not None and not loop.closed:
            inspector.abort()
            inspector.closed_now()  # the port is free at once
    return ending.waiting if ending.signal is None else ending.signal  # the first one may have come in the last turn


def _inspected(loop: Loop, asked: Optional[str]) -> Optional[Handle]:
    """The inspector that `run` was asked for, else the one that ICEY_INSPECT asks for."""
    where = os.environ.get("ICEY_INSPECT") if asked is None else asked
    if asked is None and not where:
        return None
    try:
        from .inspected import inspected
    except ModuleNotFoundError as exc:
        missing = left_out(exc, "base.inspected", "inspect")
        if asked is not None:
            raise ModuleNotFoundError(missing, name=exc.name) from None
        log.warning("inspect", missing)
        return None
    return inspected(loop, where, asked is not None)


def takes_signals() -> bool:
    """Whether `run`, in the main thread, takes the signals: a KeyboardInterrupt that leaves it is then the second Ctrl-C."""
    try:
        import signal  # noqa: F401
    except ImportError:
        return False
    return True


class Ending:
    """What a signal sets going: `begin`. linger: as of Server.stop, None for its own.

    `signal`: the first signal, once the loop has taken it. `waiting`: the last signal that the loop has not taken yet.
    """

    def __init__(self, loop: Loop, closables: Any, grace: float, linger: Optional[float] = None) -> None:
        self.loop = loop
        self.closables: List[Any] = list(closables)
        self.grace = grace
        self.linger = linger
        self.signal: Optional[int] = None
        self.waiting: Optional[int] = None
        self.over = False
        self._left = 0

    def begin(self, number: int) -> None:
        """On the loop: the first signal closes, the second stops."""
        self.waiting = None
        if self.over:  # posted in the last turn
            return
        if self.signal is not None:
            self.loop.stop()
            return
        self.signal = number
        held = False
        for closable in self.closables:
            if isinstance(closable, Handle):
                if not closable.closed:
                    self._left += 1
                    closable.on_close += self._one_closed
            elif hasattr(getattr(closable, "on_close", None), "attach") and not closable.closed:
                self._left += 1
                held = True  # a PacketStream keeps no loop running, and may be flushed by a thread of its own
                closable.on_close.attach(self._elsewhere_closed)
        for closable in self.closables:
            try:
                self._close(closable)
            except Exception as exc:  # the others are closed all the same
                self.loop.report(exc, closable)
        if self._left:
            late = self.loop.call_later(self.grace + 1.0, self.loop.stop)
            if not held:
                late.unref()
        else:
            self.loop.stop()

    def _close(self, closable: Any) -> None:
        stop = getattr(type(closable), "stop", None)
        if stop is not None and self.linger is not None and takes(stop, "linger"):
            closable.stop(drain=self.grace, linger=self.linger)
        elif stop is not None and takes(stop, "drain"):
            closable.stop(drain=self.grace)
        else:
            closable.close()

    def _one_closed(self, handle: Any, *more: Any) -> None:  # a WebSocket tells its code and reason, too
        self._left -= 1
        if not self._left:
            self.loop.stop()

    def _elsewhere_closed(self, *closed: Any) -> None:
        self.loop.post(self._one_closed, None)


def takes(stop: Any, name: str) -> bool:
    """Whether `stop`, a class's method, takes the parameter `name`, as a server's does "drain" and "linger"."""
    code = getattr(stop, "__code__", None)
    return code is not None and name in code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]


def _catch(loop: Loop, ending: Ending) -> Any:
    """Installs the handlers where that is possible; returns the function that puts the old ones back."""
    try:
        import signal
    except ImportError:
        return _nothing
    process = os.getpid()
    before: Dict[int, Any] = {}

    def caught(number: int, frame: Optional[FrameType]) -> None:
        if os.getpid() != process:  # a child, before its hook has run
            restore()
        elif ending.waiting is None:
            ending.waiting = number
            loop.post(ending.begin, number)
            return
        handler = before.get(number)
        if callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def restore() -> None:
        if restore in _restores:
            _restores.remove(restore)
        signal.set_wakeup_fd(wakeup)
        for number in reversed(tuple(before)):  # SIGINT last: a KeyboardInterrupt leaves none of them behind
            handler = before[number]
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    try:
        wakeup = signal.set_wakeup_fd(loop.waker.write_fileno(), warn_on_full_buffer=False)
    except ValueError:  # not the main thread: signals are not ours to take
        return _nothing
    _watch_forks()
    _restores.append(restore)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, caught)
    return restore


def _watch_forks() -> None:
    global _watches_forks
    if not _watches_forks and hasattr(os, "register_at_fork"):
        _watches_forks = True
        os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    """In a child: the signals act as if there were no loop, and its bytes wake no loop of the parent."""
    for restore in reversed(tuple(_restores)):
        restore()


def _nothing() -> None:
    pass
