"""Who held the loop: `slow`, with which debug mode watches the calls of its loops, and `who`, which names a callback."""

from __future__ import annotations

from . import debug, log

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Tuple

    from .loop import Loop


def slow(loop: Loop, callback: Callable[..., Any], spent: float) -> None:
    """Logs a callback that held `loop` for more than its `slow_limit`, in seconds, with its place."""
    if spent > loop.slow_limit:
        log.warning("loop", "%s held the loop for %.3f s; split the work, or give it to a thread", who(callback), spent)


def who(callback: Callable[..., Any]) -> str:
    """The program's own function where that is known: the callback, or the slots behind a handle's method."""
    owner = getattr(callback, "__self__", None)
    fn = getattr(owner, "fn", None)
    if fn is not None:  # of a timer or an idler
        callback, owner = fn, getattr(fn, "__self__", None)
    slots = ["%s: %s" % (name, debug.place(fn)) for name, fn in slots_behind(owner)]
    if slots:
        return "%r (%s)" % (owner, ", ".join(slots))
    return debug.place(callback)


def slots_behind(owner: Any) -> Iterator[Tuple[str, Any]]:
    """(event, slot) of what a handle, or the server whose connection its protocol is, tells."""
    for thing in (owner, getattr(getattr(owner, "protocol", None), "server", None)):
        signals = getattr(thing, "signals", None)
        for name, signal in signals.items() if isinstance(signals, dict) else ():  # of others: anything
            for fn in signal:
                yield name, fn
