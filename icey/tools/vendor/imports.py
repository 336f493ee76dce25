"""What the files of a package import, read from their source, and what they need because of it.

A file is named by its path inside the package, with slashes: "base/loop.py". Nothing is imported or run.

Rules
- An import inside a function counts: it is done when the function runs. One under `if TYPE_CHECKING:` does not.
- An import in a `try:` that catches ModuleNotFoundError by this name is of a part that may be left out of a copy: the code
  goes on without it, and says so. It is not followed. (`except ImportError` is for what a Python may lack: it is followed.)
- What names `Loop` for type checkers works on a loop: it needs base/loop.py, though it imports none.
- Whoever needs a file needs the `__init__.py` of its folder, and of those around it.
"""

from __future__ import annotations

import ast

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Callable, Collection, Dict, FrozenSet, Iterable, Iterator, List, Optional, Set, Tuple


LOOP = "base/loop.py"


class Import:
    """One import of a file.

    `line`. `level`: the dots before its name, 0: absolute. `module`: the name, without the dots. `names`: what is taken from
    the module, () of `import module`. `checking`: type checkers alone see it. `later`: inside a function. `guarded`: the file
    goes on where it fails. `apart`: of a part that may be left out.
    """

    __slots__ = ("line", "level", "module", "names", "checking", "later", "guarded", "apart")

    def __init__(
        self, line: int, level: int, module: str, names: Tuple[str, ...], checking: bool, later: bool, guarded: bool,
        apart: bool,
    ) -> None:
        self.line: int = line
        self.level: int = level
        self.module: str = module
        self.names: Tuple[str, ...] = names
        self.checking: bool = checking
        self.later: bool = later
        self.guarded: bool = guarded
        self.apart: bool = apart


def imports(tree: ast.AST) -> List[Import]:
    """The imports of a file, given as its syntax tree."""
    return list(_walk(tree, False, False, False, False))


def _walk(node: ast.AST, checking: bool, later: bool, guarded: bool, apart: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(child.lineno, 0, alias.name, (), checking, later, guarded, apart)
        elif isinstance(child, ast.ImportFrom):
            yield Import(child.lineno, child.level, child.module or "", tuple(alias.name for alias in child.names),
                         checking, later, guarded, apart)
        elif isinstance(child, ast.If) and _asks_for_checking(child.test):
            inverted = isinstance(child.test, ast.UnaryOp)
            yield from _walk(_block(child.body), checking or not inverted, later, guarded, apart)
            yield from _walk(_block(child.orelse), checking or inverted, later, guarded, apart)
        elif isinstance(child, ast.Try):
            caught = {name for handler in child.handlers for name in _caught(handler.type)}
            yield from _walk(_block(child.body), checking, later,
                             guarded or bool(caught & {"ImportError", "ModuleNotFoundError", "Exception"}),
                             apart or "ModuleNotFoundError" in caught)
            for block in (child.orelse, child.finalbody, *[handler.body for handler in child.handlers]):
                yield from _walk(_block(block), checking, later, guarded, apart)
        else:
            inside = isinstance(child, (ast.FunctionDef, ast.Lambda))
            yield from _walk(child, checking, later or inside, guarded, apart)


def _block(statements: List[ast.stmt]) -> ast.AST:
    return ast.Module(body=statements, type_ignores=[])


def _asks_for_checking(test: ast.expr) -> bool:
    inner = test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else test
    return isinstance(inner, ast.Name) and inner.id == "TYPE_CHECKING"


def _caught(kind: Optional[ast.expr]) -> List[str]:
    """The names in an `except` clause."""
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return [one.id for one in kinds if isinstance(one, ast.Name)]


def folder_of(path: str) -> str:
    """The folder that a file lies in, "" for the package's own files."""
    return path.rpartition("/")[0]


def targets(path: str, found: Import, known: Collection[str]) -> List[Optional[str]]:
    """The files, of those in `known`, that a relative import of the file `path` reaches; a package stands for its
    `__init__.py`. [] of an absolute import; None stands for what is outside of the package. A file that is not in `known` (a
    part that was left out) is named all the same, as that of a module."""
    if not found.level:
        return []
    parts = folder_of(path).split("/") if folder_of(path) else []
    if found.level - 1 > len(parts):
        return [None]
    base = parts[:len(parts) - (found.level - 1)] + (found.module.split(".") if found.module else [])
    own = "/".join(base)
    if own + ".py" in known:
        return [own + ".py"]
    reached: List[Optional[str]] = []
    package = own + "/__init__.py" if own else "__init__.py"
    for name in found.names:
        inner = "/".join(base + [name])
        if inner + ".py" in known:
            reached.append(inner + ".py")
        elif inner + "/__init__.py" in known:
            reached.append(inner + "/__init__.py")
        else:
            reached.append(package if package in known else own + ".py")
    return reached


class Graph:
    """What the files of a package need. `read`: gives a file's source by its path. `known`: the paths of its Python files.

    A file is parsed when it is first asked for.
    """

    def __init__(self, read: Callable[[str], bytes], known: Iterable[str]) -> None:
        self.read = read
        self.known: FrozenSet[str] = frozenset(known)
        self._imports: Dict[str, List[Import]] = {}

    def imports(self, path: str) -> List[Import]:
        """The imports of a file, but those that type checkers alone see, and that of Loop. SyntaxError: it is no Python."""
        if path not in self._imports:
            tree = ast.parse(self.read(path), path)
            self._imports[path] = [found for found in imports(tree)
                                   if not found.checking or (
                                       targets(path, found, self.known) == [LOOP] and not path.endswith("__init__.py"))]
        return self._imports[path]

    def needed(self, paths: Iterable[str], at_once: bool = False) -> List[str]:
        """These files, and all that they need, sorted. at_once: only what is imported when they are, not what functions
        import."""
        seen: Set[str] = set()
        left = list(paths)
        while left:
            path = left.pop()
            if path in seen or path not in self.known:
                continue
            seen.add(path)
            left += around(path)
            for found in self.imports(path):
                if not found.apart and not (at_once and found.later):
                    left += [target for target in targets(path, found, self.known) if target is not None]
        return sorted(seen)

    def apart(self, paths: Iterable[str]) -> Set[str]:
        """The parts that these files can use and do without, which are none of them."""
        own = set(paths)
        return {target for path in own for found in self.imports(path) if found.apart
                for target in targets(path, found, self.known) if target is not None and target not in own}

    def stdlib(self, paths: Iterable[str]) -> Tuple[List[str], List[str]]:
        """The modules of the standard library that these files import: (those that they need to be imported, others: what is
        imported by a function that runs, or where the file goes on without)."""
        needed: Set[str] = set()
        others: Set[str] = set()
        for path in paths:
            for found in self.imports(path):
                if not found.level and found.module != "__future__":
                    (others if found.later or found.guarded else needed).add(found.module)
        return sorted(needed), sorted(others - needed)


def around(path: str) -> List[str]:
    """The `__init__.py` of the folders around a file."""
    found = ["__init__.py"]
    folder = folder_of(path)
    while folder:
        found.append(folder + "/__init__.py")
        folder = folder_of(folder)
    return found
