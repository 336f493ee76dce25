"""The debug switch, creation sites, and the words in which a violation is reported.

Rules: debug mode is chosen when a loop is made (`Loop(debug=True)` or ICEY_DEBUG=1) and by picking methods or
classes there, never by an `if` on each call, so release mode pays nothing.

Not here: the checks themselves. Each stands in the file whose contract it guards.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, List, Optional

# As the code objects spell it: an absolute or normal form of it need not be a prefix of theirs.
_PACKAGE = os.path.dirname(os.path.dirname(sys._getframe().f_code.co_filename)) + os.sep


def switched_on(debug: Optional[bool]) -> bool:
    """What a loop's `debug` argument means: itself, or for None the ICEY_DEBUG environment variable."""
    if debug is None:
        return os.environ.get("ICEY_DEBUG", "") not in ("", "0")
    return bool(debug)


def stack() -> str:
    """The stack of the call into icey, frames of the package left out, the nearest last."""
    lines: List[str] = []
    frame: Optional[FrameType] = sys._getframe(1)
    while frame is not None and len(lines) < 12:
        code = frame.f_code
        if not code.co_filename.startswith(_PACKAGE):
            lines.append("  %s:%d in %s" % (code.co_filename, frame.f_lineno, code.co_name))
        frame = frame.f_back
    return "\n".join(reversed(lines))


def raised_in(exc: BaseException) -> str:
    """Names the slot an exception came from: "function (file:line)" of its outermost frame outside the package."""
    trace = exc.__traceback__
    if trace is None:
        return "a callback"
    while trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return "%s (%s:%d)" % (code.co_name, code.co_filename, trace.tb_lineno)


def place(fn: Any) -> str:
    """Names a slot for a report: function, file and line where there are any, else its repr."""
    inner = fn
    while hasattr(inner, "func"):  # functools.partial
        inner = inner.func
    inner = getattr(inner, "__func__", inner)
    code = getattr(inner, "__code__", None)
    if code is None:
        code = getattr(getattr(type(inner), "__call__", None), "__code__", None)  # noqa: B004
    name = getattr(inner, "__qualname__", None) or repr(fn)
    if code is None:
        return name
    return "%s (%s:%d)" % (name, code.co_filename, code.co_firstlineno)


def unclosed(handle: Any) -> None:
    """Warns of a handle that is collected with its socket open, and closes that."""
    text = "%r was collected without close()%s" % (handle, ", made at\n%s" % handle._site if handle._site else "")
    handle.sock.close()  # first: the warning may be an error
    try:
        import warnings
    except ImportError:  # the interpreter ends
        return
    warnings.warn(text, ResourceWarning, 2, handle)
