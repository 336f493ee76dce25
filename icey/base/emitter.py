"""Emitter: what has events and lives on a loop: affinity, signals made on first touch, slots that are guarded.

Handles are emitters; so is what has events but no life of its own on the loop, like an exchange or a source of packets.
A subclass has slots `loop` and `signals` (None until a signal is touched).
"""

from __future__ import annotations

import sys
from _thread import get_ident

from . import debug
from .errors import AffinityError

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, NoReturn, Optional

    from .errors import BorrowError
    from .loop import Loop
    from .signal import Signal


class Emitter:
    """`loop`: the loop it belongs to. `signals`: name -> Signal of those that were touched, None for none."""

    __slots__ = ()

    if TYPE_CHECKING:
        loop: Loop
        signals: Optional[Dict[str, Signal]]

    # the extension interface: for whoever writes a class that has events; the loop's thread

    def check_thread(self) -> None:
        """AffinityError where this is not the loop's thread: stands at the head of every public method."""
        if get_ident() != self.loop.thread:
            wrong_thread(self)

    def emit(self, name: str, *args: Any) -> None:
        """Emits the event `name`, each slot guarded: what one raises goes to `slot_failed`, the others are still called."""
        signals = self.signals
        if signals is not None and name in signals:
            signal = signals[name]
            for slot in signal.slots:
                fn = slot.fn
                if fn is not None:
                    if slot.once:
                        slot.fn = None
                        signal.keep_living()
                    try:
                        fn(*args)
                    except Exception as exc:
                        self.slot_failed(exc)

    def slot_failed(self, exc: Exception) -> None:
        """A slot raised: told to the loop. A stream also closes, an exchange answers 500."""
        self.loop.report(exc, self)

    def borrow_broken(self, exc: BorrowError) -> None:
        """A slot kept the view that it was lent: told to the loop. A stream also closes at once."""
        self.loop.report(exc, self)

    def slots_changed(self, name: str, signal: Signal) -> None:
        """A slot was attached to, or detached from, the signal `name`."""


def wrong_thread(thing: Any) -> NoReturn:
    """Raises AffinityError for `thing`, a loop or something on one; in debug with both stacks."""
    loop = getattr(thing, "loop", thing)
    name = type(thing).__name__
    if isinstance(loop, type):
        require_loop(name, loop)
    if loop.forked:
        raise AffinityError(
            "%s belongs to a loop that this process inherited by fork" % name,
            "build a new Loop in the child; close() the inherited one to let go of its descriptors",
        )
    what = "%s was touched from thread %s, its loop belongs to thread %s" % (name, _named(get_ident()), _named(loop.thread))
    if loop.debug:
        what += "\nmade at:\n%s\ntouched at:\n%s\n" % (getattr(thing, "site", None) or "  (unknown)", debug.stack())
    raise AffinityError(what, "hop to its thread with loop.post(fn, *args)")


def require_loop(what: str, loop: Any) -> None:
    """TypeError where `loop`, the first argument of `what`, is no Loop: it was forgotten, or the arguments are swapped."""
    if not hasattr(loop, "thread") or isinstance(loop, type):
        raise TypeError("%s(loop, ...): the first argument is a Loop, not %r" % (what, loop))


def _named(ident: int) -> str:
    """A thread in a report: its id, and its name where `threading` knows it."""
    threading = sys.modules.get("threading")
    for thread in threading.enumerate() if threading is not None else ():
        if thread.ident == ident:
            return "%d (%s)" % (ident, thread.name)
    return str(ident)
