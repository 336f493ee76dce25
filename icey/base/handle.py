"""Handle: what everything that lives on a loop has in common: affinity, ref and unref, asynchronous close.

Rules
- A handle belongs to its loop, the loop to one thread; `_check()` stands at the head of every public entry.
- An *active* handle is held by its loop, and while it has its ref it keeps `run()` going.
- `close()` moves OPEN -> CLOSING; the loop's closing phase frees the resources, moves to CLOSED and emits `on_close`,
  once, never inside the call. `abort()` is the same without waiting for anything.

A subclass overrides `_begin_close` (drain first, then call `_finish`), `_free` (let go of the resources) and
`_slots_changed`.
"""

from __future__ import annotations

from _thread import get_ident

from . import debug
from .errors import AffinityError, StateError
from .signal import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, NoReturn, Optional

    from .loop import Loop
    from .signal import Signal

OPEN, CLOSING, FINISHING, CLOSED = range(4)


class Handle:
    """Base of timers, sockets, listeners, servers. Use as a context manager to request its close at the block's end."""

    __slots__ = ("loop", "_phase", "_active", "_ref", "_signals", "_site", "__weakref__")

    on_close = Event("on_close(handle): closed; once, from the loop")

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        if get_ident() != loop._thread:
            wrong_thread(loop)
        if loop._closed:
            raise StateError("%s was made on a closed loop" % type(self).__name__, "make it on an open one")
        self._phase = OPEN
        self._active = False
        self._ref = True
        self._signals: Optional[Dict[str, Signal]] = None
        self._site: Optional[str] = debug.stack() if loop.debug else None

    @property
    def closed(self) -> bool:
        """`on_close` is being emitted, or has been."""
        return self._phase == CLOSED

    @property
    def closing(self) -> bool:
        """True from `close()` on, and for ever."""
        return self._phase != OPEN

    @property
    def has_ref(self) -> bool:
        """Whether the handle, while active, keeps its loop running."""
        return self._ref

    def ref(self) -> None:
        """Has the handle keep its loop running while it is active: the default."""
        self._check()
        if not self._ref:
            self._ref = True
            self.loop._refs += self._active

    def unref(self) -> None:
        """Lets the loop end although the handle is active."""
        self._check()
        if self._ref:
            self._ref = False
            self.loop._refs -= self._active

    def close(self) -> None:
        """Takes no new work, finishes what is queued, then closes: `on_close` tells."""
        self._check()
        if self._phase == OPEN:
            self._phase = CLOSING
            self._begin_close()

    def abort(self) -> None:
        """Closes without waiting for anything; `on_close` comes from the loop all the same."""
        self._check()
        self._finish()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    # for the classes of icey

    def _check(self) -> None:
        if get_ident() != self.loop._thread:
            wrong_thread(self)

    def _require_open(self, verb: str) -> None:
        if self._phase != OPEN or self.loop._closed:
            state = "closing" if CLOSING <= self._phase < CLOSED else "closed"
            raise StateError(
                "%s() on a %s that is %s" % (verb, type(self).__name__, state),
                "make a new one; `closing` tells, and on_close says when the old one is gone",
                "close is asynchronous",
            )

    def _activate(self) -> None:
        if not self._active:
            self._active = True
            self.loop._refs += self._ref
            self.loop._open.add(self)

    def _deactivate(self) -> None:
        if self._active:
            self._active = False
            self.loop._refs -= self._ref
            self.loop._open.discard(self)

    def _begin_close(self) -> None:
        self._finish()

    def _finish(self) -> None:
        """Lets go of everything and has the loop's closing phase emit `on_close`."""
        if self._phase < FINISHING:
            self._phase = FINISHING
            self._silence()
            self.loop._finishing.append(self)

    def _silence(self) -> None:
        """Stops events at once: nothing is delivered after this but on_error and on_close."""

    def _mute(self) -> None:
        """Nothing is delivered any more but on_error and on_close."""
        for name, signal in (self._signals or {}).items():
            if name not in ("on_error", "on_close"):
                for slot in signal._slots:
                    slot.fn = None

    def _free(self) -> None:
        """Gives the resources back; called once, by the loop's closing phase."""

    def _closed_now(self) -> None:
        """The loop's closing phase: the last thing that happens to a handle."""
        try:
            self._free()
        except Exception as exc:  # its descriptor was closed behind our back
            self.loop._report(exc, self)
        self._phase = CLOSED
        self._deactivate()
        self._emit("on_close", self)
        self._signals = None  # breaks the cycle handle -> signal -> handle

    def _emit(self, name: str, *args: Any) -> None:
        """Emits an event, each slot guarded. The hot events have call sites of their own."""
        signals = self._signals
        if signals is not None and name in signals:
            signal = signals[name]
            for slot in signal._slots:
                fn = slot.fn
                if fn is not None:
                    if slot.once:
                        slot.fn = None
                        signal._keep_living()
                    try:
                        fn(*args)
                    except Exception as exc:
                        self._slot_failed(exc)

    def _slot_failed(self, exc: Exception) -> None:
        """A slot of this handle raised: told to the loop; a stream also closes."""
        self.loop._report(exc, self)

    def _slots_changed(self, name: str, signal: Signal) -> None:
        """A slot was attached to or detached from one of this handle's signals."""

    def _name(self) -> str:
        """The handle in a report: its class and what tells it from its like."""
        return type(self).__name__

    def __repr__(self) -> str:
        return "<%s %s>" % (self._name(), ("open", "closing", "closing", "closed")[self._phase])


def on_loop(loop: Loop, fn: Callable[..., Any], *args: Any) -> None:
    """Calls `fn(*args)`: at once on the loop's thread, posted from another."""
    if get_ident() == loop._thread:
        fn(*args)
    else:
        loop.post(fn, *args)


def wrong_thread(thing: Any) -> NoReturn:
    """Raises AffinityError for `thing`, a loop or something on one; in debug with both stacks."""
    loop = getattr(thing, "loop", thing)
    name = type(thing).__name__
    if loop._forked:
        raise AffinityError(
            "%s belongs to a loop that this process inherited by fork" % name,
            "build a new Loop in the child; close() the inherited one to let go of its descriptors",
        )
    what = "%s was touched from thread %d, its loop belongs to thread %d" % (name, get_ident(), loop._thread)
    if loop.debug:
        what += "\nmade at:\n%s\ntouched at:\n%s\n" % (getattr(thing, "_site", None) or "  (unknown)", debug.stack())
    raise AffinityError(what, "hop to its thread with loop.post(fn, *args)")
