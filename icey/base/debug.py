"""The debug switch, creation sites, and the words in which a violation is reported.

Rules: debug mode is chosen when a loop is made (`Loop(debug=True)` or ICEY_DEBUG=1) and by picking methods or
classes there, never by an `if` on each call, so release mode pays nothing.

Not here: the checks themselves. Each stands in the file whose contract it guards.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, List, Optional

# As code objects spell it: an absolute or normal form need not be a prefix of theirs.
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
    """Names the slot an exception came from: "function (file:line)" of its outermost frame outside the package.

    A slot that cannot take what it is called with has no frame: the calling frame tells which one it was.
    """
    trace = exc.__traceback__
    if trace is None:
        return "a callback"
    while trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    if isinstance(exc, TypeError) and code.co_filename.startswith(_PACKAGE):
        refused = _refused(str(exc), trace.tb_frame)
        if refused is not None:
            return place(refused)
    return "%s (%s:%d)" % (code.co_name, code.co_filename, trace.tb_lineno)


def struck_inside(exc: BaseException) -> bool:
    """Whether `exc` was raised by a frame of ours, and not by a slot or callback."""
    frames: List[FrameType] = []
    trace = exc.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    while len(frames) > 1 and _is_handler(frames[-1]):
        frames.pop()
    return bool(frames) and frames[-1].f_code.co_filename.startswith(_PACKAGE)


def _is_handler(frame: FrameType) -> bool:
    """Whether it is that of a signal's handler: such a function has been given the frame that the signal struck."""
    struck = frame.f_back
    return any(value is struck or (isinstance(value, tuple) and any(part is struck for part in value))
               for value in frame.f_locals.values()) and struck is not None


def place(fn: Any) -> str:
    """Names a slot for a report: function, or class of the object, and file and line if any.

    No repr, and no argument of a partial: they may hold what is nobody else's business. An object of ours that calls functions
    of others says by `stands_for` which.
    """
    inner = _inner(fn)
    code = code_of(fn)
    name = getattr(inner, "__qualname__", None) or getattr(inner, "stands_for", None) or type(inner).__qualname__ + " object"
    if not hasattr(code, "co_filename"):  # as of what is built into PyPy
        return str(name)
    return "%s (%s:%d)" % (name, code.co_filename, code.co_firstlineno)


def code_of(fn: Any) -> Any:
    """The code object that a call of `fn` runs, through partials, methods and `__call__`; None where there is none."""
    inner = _inner(fn)
    code = getattr(inner, "__code__", None)
    if code is None and not isinstance(inner, type):
        code = getattr(getattr(type(inner), "__call__", None), "__code__", None)  # noqa: B004
    return code


def _inner(fn: Any) -> Any:
    """The function behind partials and methods."""
    while True:
        inner = fn.func if type(fn).__name__ == "partial" else getattr(fn, "__func__", None)
        if inner is None:
            return fn
        fn = inner


def _refused(text: str, frame: FrameType) -> Any:
    """What a frame of ours tried to call when it met the TypeError `text` ("name() takes ..."), None if that is unclear."""
    name = text.partition("(")[0].rpartition(".")[2]
    found: List[Any] = []
    for value in frame.f_locals.values():
        found.append(value)
        found += [getattr(value, attribute, None) for attribute in ("fn", "_done")]  # timers, lookups
        slots = getattr(value, "slots", value if isinstance(value, tuple) else ())
        found += [slot.fn for slot in slots if hasattr(slot, "was")]
        signals = getattr(value, "signals", None)  # of an emitter: its events
        for signal in signals.values() if isinstance(signals, dict) else ():
            found += [slot.fn for slot in signal.slots]
    for fn in found:
        inner = _inner(getattr(fn, "fn", fn))
        if callable(inner) and name and getattr(inner, "__name__", "") == name:
            return inner
    return None


def unclosed(handle: Any) -> None:
    """Warns of a handle, or a loop, that is collected open, and closes its sockets.

    For `__del__`, as a default of a parameter: at the interpreter's end a module may have lost its names.
    """
    try:
        named = repr(handle) if hasattr(handle, "sock") else "a Loop"
        text = "%s was collected without close()%s" % (named, ", made at\n%s" % handle.site if handle.site else "")
        import warnings
    except Exception:  # the interpreter ends
        return
    finally:  # before the warning: that may be an error
        if hasattr(handle, "sock"):
            handle.sock.close()
        else:
            handle.free()
    warnings.warn(text, ResourceWarning, 2, handle)
