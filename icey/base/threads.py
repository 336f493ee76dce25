"""Threads beside the loop's, and the end of the interpreter that they live in.

Rules
- In the main interpreter a thread that may be stuck in the system is a daemon: no program waits for that when it ends.
- In a sub-interpreter no thread outlives the interpreter: Python refuses daemons there, or ends the whole process because of
  them. A thread there ends by itself, or is told to before `threading` waits for it.

Not here: the threads themselves (net/dns.py, packets/queue.py, hosts/threadhost.py).
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional

_is_main: Optional[bool] = None  # once somebody asked
_ends: List[Callable[[], Any]] = []


def in_main_interpreter() -> bool:
    """Whether this is the interpreter that the process began with. True where Python has no others."""
    global _is_main
    if _is_main is None:
        _is_main = _ask()
    return _is_main


def ends_before_waiting() -> bool:
    """Whether what `at_end` was given is called before `threading` waits for its threads.

    On Python 3.8 it comes afterwards, as exit handlers do: there the threads that it ends have to be daemons.
    """
    import threading

    return hasattr(threading, "_register_atexit")


def at_end(fn: Callable[[], Any], *, first: bool = False) -> None:
    """Has the end of this interpreter call `fn()`, which ends threads and joins them; `first`: before what is there already.

    RuntimeError: it is ending now.
    """
    import threading

    if not _ends:
        register: Any = getattr(threading, "_register_atexit", None)
        if register is None:
            import atexit

            register = atexit.register
        register(_end)
    _ends.insert(0 if first else len(_ends), fn)


def _ask() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):  # from 3.13 on; before
        try:
            module = __import__(name)
            return bool(module.get_current() == module.get_main())
        except (ImportError, AttributeError):
            pass
    return True


def _end() -> None:
    for fn in tuple(_ends):
        fn()
