"""What a copy of icey has, and what it was made without.

    lazy       names that a package looks up when they are first used (PEP 562): for the packages that offer public names
    left_out   what to say where a file wants a part that this copy was made without
"""

import sys

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple


def lazy(
    namespace: "Dict[str, object]", homes: "Dict[str, str]", left_out: "Optional[Dict[str, str]]" = None
) -> "Tuple[Callable[[str], object], Callable[[], List[str]]]":
    """`__getattr__`, which also knows `__all__`, and `__dir__` of the package whose globals() are `namespace`.

    `homes`: module (below the package, dotted): the names that live in it, with spaces between; those of "" are modules
    themselves, each called by its last part. What was found once is kept in `namespace`. `left_out`: of a copy that has a part
    of icey: the command that adds a name, %s in its place: the names that are not here.
    """
    home = {name: module for module, names in homes.items() if module for name in names.split()}
    modules = {module.rpartition(".")[2]: module for module in homes.get("", "").split()}

    def __getattr__(name: str) -> object:
        found: object
        if name in home:
            found = getattr(__import__(home[name], namespace, None, ("",), 1), name)
        elif name in modules:
            found = __import__(modules[name], namespace, None, ("",), 1)
        elif name == "__all__" and sys._getframe(1).f_globals.get("__name__") != "pydoc":  # help() would print all of it, whole
            found = sorted({*home, *modules, *(["__version__"] if "__version__" in namespace else [])})
            return found
        else:
            text = "module %r has no attribute %r" % (namespace["__name__"], name)
            for command, names in (left_out or {}).items():
                if name in names.split():
                    text += ": this copy of icey was made without it. To add it, with a whole icey: " + command % name + _NAMED
            wrong = AttributeError(text)
            wrong.name, wrong.obj = name, sys.modules.get(str(namespace["__name__"]))  # Python says what may be meant
            raise wrong
        namespace[name] = found
        return found

    def __dir__() -> "List[str]":
        return sorted({*namespace, *home, *modules})

    return __getattr__, __dir__


_FOLDER = __name__.rpartition(".base.")[0].rpartition(".")[2]
_NAMED = "" if _FOLDER == "icey" else " --name " + _FOLDER  # a copy may have another name


def left_out(exc: ImportError, module: str, word: str) -> str:
    """The text for `exc`, raised by importing `module` (below icey, dotted), where this copy of icey was made without it.

    word: what `--only` calls it. Anything else that is missing is raised as it is.
    """
    if exc.name != "%s.%s" % (__name__.rpartition(".base.")[0], module):
        raise exc
    return ("this copy of icey was made without %s. To add it, with a whole icey: %s"
            % (word, "python3 -m icey vendor DEST --only ... %s%s" % (word, _NAMED)))
