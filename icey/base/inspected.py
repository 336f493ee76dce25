"""What icey.run begins where it is asked for, by `inspect=` or ICEY_INSPECT: an Inspector of its loop.

The inspector stands above all that is here (tools/inspect), so no import says that it is asked for: a copy of icey that has
this file has it too, or says how to add it.
"""

from __future__ import annotations

from . import log
from .lazy import left_out

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional

    from .handle import Handle
    from .loop import Loop

_ICEY = __name__.rpartition(".base.")[0]
_ROOM = "tools.inspect"


def begin(loop: Loop, where: Any) -> Any:
    """An inspector of `loop` at `where`, HOST:PORT. ValueError, OSError: it cannot be there; ModuleNotFoundError, which says
    how to add it: this copy was made without; ImportError: Python lacks what it needs."""
    try:
        namespace = {"__package__": _ICEY, "__name__": __name__}
        module: Any = __import__(_ROOM + ".inspector", namespace, None, ("",), 1)
    except ModuleNotFoundError as exc:
        if not ("%s.%s.inspector." % (_ICEY, _ROOM)).startswith("%s." % exc.name):  # neither it nor a folder that it is in
            raise
        exc.name = "%s.%s" % (_ICEY, _ROOM)
        raise ModuleNotFoundError(left_out(exc, _ROOM, "inspect"), name=exc.name) from None
    return module.begin(loop, where)


def inspected(loop: Loop, where: Optional[str], asked: bool) -> Optional[Handle]:
    """The same for icey.run: the log says its URL. Where it cannot be, and the program has not asked for it itself, None: the
    log says why."""
    try:
        inspector = begin(loop, where)
    except (ImportError, OSError, ValueError) as exc:
        if asked:
            raise
        log.warning("inspect", "ICEY_INSPECT=%s: %s", where, exc)
        return None
    log.warning("inspect", "this loop is shown on %s", inspector.url)
    return inspector  # type: ignore[no-any-return]
