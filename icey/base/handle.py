"""Handle: what everything that lives on a loop has in common: affinity, ref and unref, asynchronous close.

Rules
- A handle belongs to its loop, the loop to one thread; `check_thread()` stands at the head of every public entry.
- An *active* handle is held by its loop, and while it has its ref it keeps `run()` going.
- `close()` moves OPEN -> CLOSING; the loop's closing phase frees the resources, moves to CLOSED and emits `on_close`,
  once, never inside the call. `abort()` is the same without waiting for anything.

A subclass calls `activate` when it has something to wait for, `emit` to tell its slots, `finish` when it is over, and
overrides `begin_close` (to drain first, then call `finish`), `silence` (to stop its events), `free` (to let go of its
resources), `slots_changed` and `title`.
"""

from __future__ import annotations

from _thread import get_ident

from . import debug
from .emitter import Emitter, require_loop, wrong_thread
from .errors import StateError
from .signal import Event
from .state import transitions, watch_states

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional

    from typing_extensions import Self

    from .loop import Loop
    from .signal import Signal

OPEN, CLOSING, FINISHING, CLOSED = range(4)
PHASES = transitions({OPEN: (CLOSING, FINISHING), CLOSING: (FINISHING,), FINISHING: (CLOSED,), CLOSED: ()},
                     names=("OPEN", "CLOSING", "FINISHING", "CLOSED"))


class Handle(Emitter):
    """Base of timers, sockets, listeners, servers. Use as a context manager to request its close at the block's end.

    `loop`: the loop it belongs to. `data`: free for the application's own use, None at first. For whoever writes a handle:
    `phase`, OPEN, CLOSING (draining), FINISHING (the loop is about to free it) or CLOSED; `registered`: the loop holds it;
    `counts`: it has its ref; `site`: where it was made, in debug mode.
    """

    __slots__ = ("loop", "phase", "registered", "counts", "signals", "site", "data", "__weakref__")

    STATES = {"phase": PHASES}

    on_close: Event[Callable[[Self], Any]] = Event("on_close(handle): closed; once, from the loop")

    def __init__(self, loop: Loop) -> None:
        try:
            owner = loop.thread
        except AttributeError:
            require_loop(type(self).__name__, loop)
            raise
        self.loop: Loop = loop
        if get_ident() != owner:
            wrong_thread(loop)
        if loop.closed:
            raise StateError("%s was made on a closed loop" % type(self).__name__, "make it on an open one")
        self.phase: int = OPEN
        self.registered: bool = False
        self.counts: bool = True
        self.signals: Optional[Dict[str, Signal]] = None
        self.data: Any = None
        self.site: Optional[str] = None
        if loop.debug:
            self.site = debug.stack()
            watch_states(self)

    @property
    def closed(self) -> bool:
        """`on_close` is being emitted, or has been."""
        return self.phase == CLOSED

    @property
    def closing(self) -> bool:
        """True from `close()` on, and for ever."""
        return self.phase != OPEN

    @property
    def has_ref(self) -> bool:
        """Whether the handle, while active, keeps its loop running."""
        return self.counts

    def ref(self) -> None:
        """Has the handle keep its loop running while it is active: the default."""
        self.check_thread()
        if not self.counts:
            self.counts = True
            self.loop.refs += self.registered

    def unref(self) -> None:
        """Lets the loop end although the handle is active."""
        self.check_thread()
        if self.counts:
            self.counts = False
            self.loop.refs -= self.registered

    def close(self) -> None:
        """Takes no new work, finishes what is queued, then closes: `on_close` tells."""
        self.check_thread()
        if self.phase == OPEN:
            self.phase = CLOSING
            self.begin_close()

    def abort(self) -> None:
        """Closes without waiting for anything; `on_close` comes from the loop all the same."""
        self.check_thread()
        self.finish()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    # the extension interface: for whoever writes a handle; the loop's thread

    def require_open(self, verb: str) -> None:
        """StateError for `verb`, the name of a method, once the handle is closing or its loop is closed."""
        if self.phase != OPEN or self.loop.closed:
            state = "closing" if CLOSING <= self.phase < CLOSED else "closed"
            raise StateError(
                "%s() on a %s that is %s" % (verb, type(self).__name__, state),
                "make a new one; `closing` tells, and on_close says when the old one is gone",
                "close is asynchronous",
            )

    def activate(self) -> None:
        """Has the loop hold the handle, which keeps the loop running while it has its ref."""
        if not self.registered:
            self.loop.active.add(self)  # first: what an interrupt cuts short here, the loop mends
            self.registered = True
            self.loop.refs += self.counts

    def deactivate(self) -> None:
        """The loop lets go of the handle; closing does that by itself."""
        if self.registered:
            self.registered = False
            self.loop.refs -= self.counts
            self.loop.active.discard(self)

    def begin_close(self) -> None:
        """What `close()` begins: finishes what is under way, then calls `finish()`. Override to drain first."""
        self.finish()

    def finish(self) -> None:
        """Lets go of everything and has the loop's closing phase emit `on_close`."""
        if self.phase < FINISHING:
            self.loop.finishing.append(self)  # first: an interrupt behind it leaves no handle that nobody frees
            self.phase = FINISHING
            self.silence()
            if self.loop.waker.asleep:
                self.loop.work_came()

    def silence(self) -> None:
        """Stops events at once: nothing is delivered after this but on_error and on_close. It may be called twice."""

    def mend(self) -> None:
        """Override: a KeyboardInterrupt ended the loop's run; whatever it may have cut short of this handle is made whole."""

    def mute(self) -> None:
        """Nothing is delivered any more but on_error and on_close."""
        for name, signal in (self.signals or {}).items():
            if name not in ("on_error", "on_close"):
                for slot in signal.slots:
                    slot.fn = None

    def free(self) -> None:
        """Gives the resources back; called once, by the loop's closing phase."""

    def closed_now(self) -> None:
        """The loop's closing phase: the last thing that happens to a handle. Called again where an interrupt cut it short."""
        if self.phase < FINISHING:
            self.phase = FINISHING
            self.silence()
        if self.phase == FINISHING:
            try:
                self.free()
            except Exception as exc:  # its descriptor was closed behind our back
                self.loop.report(exc, self)
            self.phase = CLOSED
        self.deactivate()
        signals = self.signals
        if signals is not None and "on_close" in signals:
            for slot in signals["on_close"].slots:
                fn, slot.fn = slot.fn, None  # once
                if fn is not None:
                    try:
                        fn(self)
                    except Exception as exc:
                        self.slot_failed(exc)
        self.signals = None  # breaks the cycle handle -> signal -> handle

    def title(self) -> str:
        """The handle in a report: its class and what tells it from its like."""
        return type(self).__name__

    def __repr__(self) -> str:
        return "<%s %s>" % (self.title(), ("open", "closing", "closing", "closed")[self.phase])


def on_loop(loop: Loop, fn: Callable[..., Any], *args: Any) -> None:
    """Calls `fn(*args)`: at once on the loop's thread, posted from another."""
    if get_ident() == loop.thread:
        fn(*args)
    else:
        loop.post(fn, *args)
