"""The source of icey/ as syntax trees: its files, what each imports, its rooms, and what one file reaches into of another.

A file is named by its path inside icey/, with slashes: "base/loop.py". A room is a folder: "base", "http/server".
"""
import ast
import functools
import os

from icey.tools.vendor import imports as vendor
from tests.support import ROOT

PACKAGE = os.path.join(ROOT, "icey")


def files(package=PACKAGE):
    """The Python files of the package, sorted."""
    found = []
    for folder, folders, names in os.walk(package):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        found += [os.path.relpath(os.path.join(folder, name), package).replace(os.sep, "/")
                  for name in sorted(names) if name.endswith(".py")]
    return sorted(found)


@functools.lru_cache(maxsize=None)
def text(path):
    """A file as text."""
    with open(os.path.join(PACKAGE, *path.split("/")), encoding="utf-8") as file:
        return file.read()


@functools.lru_cache(maxsize=None)
def tree(path):
    """A file's syntax tree."""
    return ast.parse(text(path), path)


def room(path):
    """The folder a file lies in, "" for the package's own files."""
    return path.rpartition("/")[0]


@functools.lru_cache(maxsize=None)
def found(tree):
    """The imports of a file as `icey.tools.vendor` tells them."""
    return tuple(vendor.imports(tree))


@functools.lru_cache(maxsize=None)
def imports(tree):
    """(line, level, module, names, checking) of each import; `checking`: under `if TYPE_CHECKING`."""
    return tuple((one.line, one.level, one.module, one.names, one.checking) for one in found(tree))


@functools.lru_cache(maxsize=None)
def _known():
    return frozenset(files())


def reached(path, parsed=None, known=None):
    """(line, file, checking) of each relative import of a file: a package's folder counts as its `__init__.py`."""
    known = _known() if known is None else known
    for one in found(tree(path) if parsed is None else parsed):
        for target in vendor.targets(path, one, known):
            yield one.line, target, one.checking


def closure(paths):
    """The files that these files need: by their imports, those inside functions included, those for type checkers not."""
    return _graph().needed(paths)


@functools.lru_cache(maxsize=None)
def _graph():
    return vendor.Graph(tree, _known())  # a tree is parsed to itself: each file is parsed once in all tests


def cycle(edges):
    """A circle in a graph given as {node: set of nodes}, as a list of nodes, or None."""
    state = {}

    def visit(node, path):
        state[node] = 1
        for other in sorted(edges.get(node, ())):
            if state.get(other) == 1:
                return path[path.index(other):] + [other]
            if other not in state:
                found = visit(other, path + [other])
                if found:
                    return found
        state[node] = 2
        return None

    for node in sorted(edges):
        if node not in state:
            found = visit(node, [node])
            if found:
                return found
    return None


# names that begin with one underscore

def _private(name):
    return name.startswith("_") and not name.startswith("__")


def _defined(parsed):
    """The underscore names that a file defines: functions, classes, variables, slots, what it sets on self or cls."""
    found = set()
    for node in ast.walk(parsed):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.Assign) and any(getattr(one, "id", "") == "__slots__" for one in node.targets):
            found.update(one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant))
    return {name for name in found if isinstance(name, str) and _private(name)}


def _is_self(node):
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def reaches(parsed_files):
    """Where a file reaches into another's underscore names: (path, line, name, the files that define it).

    Counted are attributes that begin with one underscore, not on self or cls, and imported names that do, where this file
    does not define the name and another one does.
    """
    defined, owned = {path: _defined(parsed) for path, parsed in parsed_files.items()}, {}
    for path in sorted(defined):
        for name in defined[path]:
            owned.setdefault(name, []).append(path)
    for path, parsed in parsed_files.items():
        used = []
        for node in ast.walk(parsed):
            if isinstance(node, ast.Attribute) and _private(node.attr) and not _is_self(node.value):
                used.append((node.lineno, node.attr))
            elif isinstance(node, ast.ImportFrom) and node.level:
                used += [(node.lineno, alias.name) for alias in node.names if _private(alias.name)]
        for line, name in used:
            if name not in defined[path] and name in owned:
                yield path, line, name, owned[name]
