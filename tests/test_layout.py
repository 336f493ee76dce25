"""The house rules, read from the source of icey/: layers, imports, sizes, and what may lie beside it.

`base <- net <- http <- tools`: a layer imports only itself and what is left of it. Everything inside is imported
relatively, so that the package works under any parent. What some targets lack or what is dear to import is imported
in the one file that may, and the rest works without.
"""
import ast
import fnmatch
import functools
import os

import pytest

from tests.support import ROOT

LAYERS = ("base", "net", "http", "tools")
MAX_LINES = 500
TOP_LEVEL = {"pyproject.toml", "tox.ini", "icey", "tests", "examples", "README.md", "CHANGELOG.md", "LICENSE"}
# What a build, an editor or a package manager leaves behind, ignored by git.
LEFT_OVERS = ("__pycache__", "build", "dist", "*.egg-info", "*.pyc", "node_modules")

# Nobody imports these, `typing` only for type checkers.
NEVER = ("asyncio", "concurrent", "ctypes", "dataclasses", "email", "http", "multiprocessing", "socketserver", "typing",
         "urllib.request", "urllib.error")
# These may be missing on a target or are dear: only these files import them, and everything else works without.
ONLY_IN = {
    "logging": ("base/log.py",),
    "ssl": ("net/tls.py", "net/tlsengine.py"),
    "threading": ("base/packetqueue.py", "net/dns.py", "http/wsgi.py", "*/workers.py"),
    "queue": ("base/packetqueue.py", "net/dns.py", "http/wsgi.py", "*/workers.py"),
    "signal": ("base/application.py", "*/workers.py"),
    "zlib": ("http/decoding.py", "http/deflate.py"),
    "subprocess": ("tools/*.py", "*/workers.py"),
    "inspect": ("tools/*.py",),
}


def sources():
    """(path inside icey with slashes, absolute path) of every Python file of the package."""
    package = os.path.join(ROOT, "icey")
    for folder, folders, files in os.walk(package):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                yield os.path.relpath(path, package).replace(os.sep, "/"), path


@functools.lru_cache(maxsize=None)
def parse(path):
    """(text, syntax tree) of a file."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return text, ast.parse(text, path)


def imports(tree):
    """(line, level, module, names, checking) of each import; `checking`: under `if TYPE_CHECKING`."""
    def walk(node, checking):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield child.lineno, 0, alias.name, (), checking
            elif isinstance(child, ast.ImportFrom):
                yield child.lineno, child.level, child.module or "", tuple(a.name for a in child.names), checking
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for inner in child.body:
                    yield from walk(ast.Module(body=[inner], type_ignores=[]), True)
                for inner in child.orelse:
                    yield from walk(ast.Module(body=[inner], type_ignores=[]), checking)
            else:
                yield from walk(child, checking)
    return walk(tree, False)


def within(module, names):
    return any(module == name or module.startswith(name + ".") for name in names)


def forbidden(path, tree):
    """What the file imports from the standard library that it may not, as "line: module"."""
    for line, level, module, names, checking in imports(tree):
        if level or checking:
            continue
        for name in [module] + [module + "." + name for name in names]:
            owners = next((files for owned, files in ONLY_IN.items() if within(name, (owned,))), None)
            if owners is not None:
                if not any(fnmatch.fnmatchcase(path, pattern) for pattern in owners):
                    yield "%d: %s" % (line, name)
                    break
            elif within(name, NEVER):
                yield "%d: %s" % (line, name)
                break


def absolute(tree):
    """Imports of icey by name, as "line: module"."""
    for line, level, module, _, _ in imports(tree):
        if level == 0 and within(module, ("icey",)):
            yield "%d: %s" % (line, module)


def upward(path, tree):
    """Relative imports that reach to the right of the file's own layer or out of the package, as "line: target"."""
    parts = path.split("/")[:-1]
    layer = LAYERS.index(parts[0]) if parts and parts[0] in LAYERS else len(LAYERS)
    for line, level, module, names, checking in imports(tree):
        if level == 0 or checking:
            continue
        if level - 1 > len(parts):
            yield "%d: out of the package" % line
            continue
        base = parts[:len(parts) - (level - 1)] + (module.split(".") if module else [])
        for target in [base] if base else [[name] for name in names]:
            if target[0] in LAYERS and LAYERS.index(target[0]) > layer:
                yield "%d: %s" % (line, ".".join(target))


FILES = dict(sources())
each_file = pytest.mark.parametrize("path", sorted(FILES))


@each_file
def test_layers_import_only_what_is_left_of_them(path):
    assert list(upward(path, parse(FILES[path])[1])) == []


@each_file
def test_imports_inside_the_package_are_relative(path):
    assert list(absolute(parse(FILES[path])[1])) == []


@each_file
def test_no_forbidden_module_is_imported(path):
    assert list(forbidden(path, parse(FILES[path])[1])) == []


@each_file
def test_a_file_says_at_its_head_what_it_is_for(path):
    assert ast.get_docstring(parse(FILES[path])[1])


@each_file
def test_no_file_is_longer_than_a_sitting(path):
    assert parse(FILES[path])[0].count("\n") <= MAX_LINES


def test_the_top_level_holds_nothing_else():
    found = {name for name in os.listdir(ROOT) if not name.startswith(".")}
    assert sorted(name for name in found - TOP_LEVEL
                  if not any(fnmatch.fnmatchcase(name, pattern) for pattern in LEFT_OVERS)) == []


def test_every_layer_is_there():
    assert [layer for layer in LAYERS if not any(path.startswith(layer + "/") for path in FILES)] == []


def test_the_version_is_a_literal():
    tree = parse(FILES["__init__.py"])[1]
    values = [node.value for node in tree.body if isinstance(node, ast.Assign)
              and any(isinstance(target, ast.Name) and target.id == "__version__" for target in node.targets)]
    assert len(values) == 1
    assert isinstance(ast.literal_eval(values[0]), str)


@pytest.mark.parametrize("path, source, faults", [
    ("base/loop.py", "import asyncio", ["1: asyncio"]),
    ("base/loop.py", "from http import client", ["1: http"]),
    ("http/url.py", "import urllib.parse", []),
    ("http/url.py", "from urllib import request", ["1: urllib.request"]),
    ("base/loop.py", "def f():\n    import ssl", ["2: ssl"]),
    ("net/tls.py", "import ssl", []),
    ("base/loop.py", "from . import signal", []),
    ("base/loop.py", "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import typing", []),
    ("base/loop.py", "if not_typing:\n    import typing", ["2: typing"]),
    ("http/server.py", "import subprocess", ["1: subprocess"]),
    ("tools/bench.py", "import subprocess", []),
])
def test_the_rule_on_forbidden_modules_itself(path, source, faults):
    assert list(forbidden(path, ast.parse(source))) == faults


@pytest.mark.parametrize("path, source, faults", [
    ("base/loop.py", "from ..net import tcp", ["1: net"]),
    ("base/loop.py", "from .. import http", ["1: http"]),
    ("http/server.py", "from ..base.loop import Loop", []),
    ("http/server.py", "from ..tools import bench", ["1: tools"]),
    ("http/server.py", "from ... import hostapp", ["1: out of the package"]),
    ("__init__.py", "from .http import server", []),
    ("net/tcp.py", "from . import address", []),
])
def test_the_rule_on_layers_itself(path, source, faults):
    assert list(upward(path, ast.parse(source))) == faults
