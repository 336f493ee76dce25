"""The application that MODULE:APP names on the command line.

    load("shop.web:app")                APP: a name, with dots perhaps
    load("shop.web:create_app(True)")   a call of a function that makes the application, with literals
    load("shop.web")                    without APP: application, or app

Rules: what is wrong with the words is a Trouble in one line, with the name that was meant perhaps. What is wrong in the
application's own code is shown as its traceback, without our frames, before the Trouble.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
import traceback

from ..cli.console import Trouble
from ..cli.failures import OTHER, USAGE
from ..cli.serving import tell

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Dict, Iterable, List, Optional, Tuple

USUAL = ("application", "app")  # names that are tried where none is given


def load(text: str) -> Any:
    """The application. Trouble where there is none by that name, or where its module, or the call, fails."""
    module, colon, expression = text.partition(":")
    if not all(part.isidentifier() for part in module.split(".")) or (module.endswith(".py") and os.path.isfile(module)):
        named = os.path.normpath(module)[:-3].replace(os.sep, ".")
        hint = "; of this file the module is %s" % named if module.endswith(".py") else ""
        raise Trouble(USAGE, "MODULE:APP begins with a module's name, such as shop.web:app, not with %r%s" % (module, hint))
    names, call = _parsed(expression) if colon else ([], None)
    found: Any = _imported(module)
    if not colon:
        names = [next((name for name in USUAL if hasattr(found, name)), "")]
        if not names[0]:
            raise Trouble(USAGE, "%s has neither %s: say which with %s:NAME" % (module, " nor ".join(USUAL), module))
    shown = module
    for name in names:
        found, shown = _attribute(found, name, shown), "%s.%s" % (shown, name)
    if call is not None:
        try:
            found = found(*call[0], **call[1])
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            raise _failed("%s() failed" % shown, exc) from None
        shown += "()"
    if not callable(found):
        raise Trouble(USAGE, "%s is %s, which cannot be called: it is no WSGI application" % (shown, _kind(found)))
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(getattr(found, "__call__", None)):  # noqa: B004
        raise Trouble(USAGE, "%s is a coroutine function, an ASGI application perhaps; here WSGI is served" % shown)
    return found


def _parsed(expression: str) -> Tuple[List[str], Optional[Tuple[List[Any], Dict[str, Any]]]]:
    """The names of an APP, and what it is called with, None where it is no call."""
    call: Optional[Tuple[List[Any], Dict[str, Any]]] = None
    try:
        node = ast.parse(expression, mode="eval").body
        if isinstance(node, ast.Call):
            call = ([ast.literal_eval(one) for one in node.args],
                    {str(one.arg): ast.literal_eval(one.value) for one in node.keywords if one.arg is not None})
            if len(call[1]) == len(node.keywords):
                return _chain(node.func), call
        else:
            return _chain(node), None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    raise Trouble(USAGE, "APP is a name, or a call with literals, such as app or create_app(), not %r" % expression)


def _chain(node: Any) -> List[str]:
    """The names of "one.two.three"; ValueError for anything else."""
    names: List[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ValueError("no name")
    names.append(node.id)
    return names[::-1]


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as exc:
        missing = exc.name or ""
        if not (module + ".").startswith(missing + "."):
            raise _failed("%s does not import" % module, exc) from None
        folder, _, name = missing.rpartition(".")
        raise Trouble(OTHER, "there is no module %r%s%s" % (
            missing, " in %s" % os.getcwd() if not folder else "", "" if folder else _meant(name, _modules()))) from None
    except BaseException as exc:  # SystemExit, too: of a script that runs when it is imported
        raise _failed("%s does not import" % module, exc) from None


def _modules() -> List[str]:
    """The modules in the current folder."""
    try:
        with os.scandir() as entries:
            return [entry.name[:-3] if entry.name.endswith(".py") else entry.name for entry in entries
                    if entry.name.endswith(".py") or entry.is_dir()]
    except OSError:
        return []


def _attribute(found: Any, name: str, shown: str) -> Any:
    try:
        return getattr(found, name)
    except AttributeError:
        raise Trouble(USAGE, "%s has no %r%s" % (shown, name, _meant(name, dir(found)))) from None


def _meant(name: str, names: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, 1)
    return "; did you mean %r?" % close[0] if close else ""


def _kind(thing: Any) -> str:
    return "None" if thing is None else "of type %s" % type(thing).__name__


def _failed(what: str, exc: BaseException) -> Trouble:
    """Shows the traceback of `exc`, from where the application's own code begins."""
    own: Optional[TracebackType] = exc.__traceback__
    while own is not None and _is_ours(own.tb_frame.f_code.co_filename):
        own = own.tb_next
    tell("".join(traceback.format_exception(type(exc), exc, own)).rstrip("\n"))
    if isinstance(exc, SystemExit):
        return Trouble(OTHER, "%s: it ends the program (does it start a server of its own?)" % what)
    return Trouble(OTHER, "%s: %s" % (what, traceback.format_exception_only(type(exc), exc)[-1].strip()))


def _is_ours(path: str) -> bool:
    return path == __file__ or path == importlib.__file__ or (path[:1] == "<" and "importlib" in path)  # of PyPy: <builtin>/


def place(folder: Optional[str]) -> None:
    """Makes `folder`, None for the current one, the current folder, and the first one that modules are looked for in."""
    if folder is not None:
        try:
            os.chdir(folder)
        except OSError as exc:
            raise Trouble(USAGE, "cannot change to %r: %s" % (folder, exc.strerror)) from None
    current = here()
    if current not in sys.path[:1]:
        sys.path.insert(0, current)


def here() -> str:
    """The current folder; Trouble where that was removed."""
    try:
        return os.getcwd()
    except OSError:
        raise Trouble(OTHER, "the current folder was removed: go to one that is there") from None
