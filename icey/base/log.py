"""(opt logging) What icey has to say when nobody is attached to hear it: through `logging`, or stderr without it.

Rules: `logging` is imported when the first line is logged, not before (it costs 16 ms). Where it is missing, the lines
go to stderr. Nothing here configures logging: handlers and levels are the program's.

Not here: the HTTP access log (http/accesslog.py), which is output, not a diagnosis.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional


def warning(area: str, message: str, *args: Any) -> None:
    """Logs a warning under the logger `icey.<area>`; `args` fill `message` by %."""
    _write("warning", area, message, args, None)


def error(area: str, message: str, *args: Any, exc: Optional[BaseException] = None) -> None:
    """Logs an error, with the traceback of `exc` where there is one."""
    _write("error", area, message, args, exc)


def _write(level: str, area: str, message: str, args: Any, exc: Optional[BaseException]) -> None:
    try:
        import logging

        logging.getLogger("icey." + area).log(getattr(logging, level.upper()), message, *args, exc_info=exc)
    except Exception:  # it is missing; no descriptor is left to read it with; what the program has it write to is closed
        _stderr(area, message % args if args else message, exc)


def _stderr(area: str, text: str, exc: Optional[BaseException]) -> None:
    if sys.stderr is None:  # a windowed program has none
        return
    try:
        sys.stderr.write("icey.%s: %s\n" % (area, text))
        if exc is not None:
            sys.excepthook(type(exc), exc, exc.__traceback__)
    except (OSError, ValueError):  # closed, or nobody reads it: saying nothing beats ending the loop
        pass
