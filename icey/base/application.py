"""(opt signal) icey.run: a loop until SIGINT or SIGTERM, an orderly end, and a second signal that means now.

Rules: signal handlers and the wake-up descriptor are set only while `run` runs, only in the main thread and only where
the `signal` module exists; before it returns they are what they were. Elsewhere it simply runs the loop.
"""

from __future__ import annotations

from .handle import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Dict, List, Optional

    from .loop import Loop


def run(loop: Loop, *closables: Any, grace: float = 10.0) -> Optional[int]:
    """Runs `loop` until nothing keeps it alive, `loop.stop()`, or SIGINT or SIGTERM; returns the signal's number or None.

    On the first signal each of `closables` gets `stop(drain=grace)` if it has a `stop` that takes it, else `close()`, and the
    loop ends when they are closed, a second after `grace` at the latest. A second signal ends it now.
    """
    ending = _Ending(loop, closables, grace)
    restore = _catch(loop, ending)
    try:
        loop.run()
    finally:
        restore()
    return ending.signal


class _Ending:
    """What a signal sets going."""

    def __init__(self, loop: Loop, closables: Any, grace: float) -> None:
        self.loop = loop
        self.closables: List[Any] = list(closables)
        self.grace = grace
        self.signal: Optional[int] = None
        self._left = 0

    def begin(self, number: int) -> None:
        """On the loop: the first signal closes, the second stops."""
        if self.signal is not None:
            self.loop.stop()
            return
        self.signal = number
        for closable in self.closables:
            if isinstance(closable, Handle) and not closable.closed:
                self._left += 1
                closable.on_close += self._one_closed
        for closable in self.closables:
            try:
                self._close(closable)
            except Exception as exc:  # the others are closed all the same
                self.loop._report(exc, closable)
        if self._left:
            self.loop.call_later(self.grace + 1.0, self.loop.stop).unref()
        else:
            self.loop.stop()

    def _close(self, closable: Any) -> None:
        stop = getattr(type(closable), "stop", None)
        if stop is not None and _takes_drain(stop):
            closable.stop(drain=self.grace)
        else:
            closable.close()

    def _one_closed(self, handle: Any, *more: Any) -> None:  # a WebSocket tells its code and reason, too
        self._left -= 1
        if not self._left:
            self.loop.stop()


def _takes_drain(stop: Any) -> bool:
    code = getattr(stop, "__code__", None)
    return code is not None and "drain" in code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]


def _catch(loop: Loop, ending: _Ending) -> Any:
    """Installs the handlers where that is possible; returns the function that puts the old ones back."""
    try:
        import signal
    except ImportError:
        return _nothing

    def caught(number: int, frame: Optional[FrameType]) -> None:
        loop.post(ending.begin, number)

    before: Dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, caught)
        wakeup = signal.set_wakeup_fd(loop._waker.write_fileno(), warn_on_full_buffer=False)
    except ValueError:  # not the main thread: signals are not ours to take
        return _nothing

    def restore() -> None:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    return restore


def _nothing() -> None:
    pass
