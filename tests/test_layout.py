"""The house rules, read from the source of icey/: rooms, imports, seams, sizes, and what may lie beside it.

`base <- net <- packets <- {mqtt, http} <- {hosts, workers} <- tools`, and inside http
`semantics <- http1 <- {server, client} <- websocket <- streaming`: a room imports only itself and what is left of it, what
only type checkers see included. Everything inside is imported relatively, so that the package works under any parent. What
some targets lack or what is dear to import is imported in the one file that may, and the rest works without.
"""
import ast
import fnmatch
import os

import pytest

from tests.support import ROOT, package

# room -> the rooms it may import from, beside itself; the first part of the name of a room in tools/ stands for all of them
BASE, NET, PACKETS = ("base",), ("base", "net"), ("base", "net", "packets")
HTTP1 = ("base", "http/semantics")
SIDE = PACKETS + ("http/semantics", "http/http1")
WEBSOCKET = SIDE + ("http/server", "http/client")
HTTP = WEBSOCKET + ("http", "http/websocket", "http/streaming")
LIBRARY = HTTP + ("mqtt", "hosts", "workers")
ALLOWED = {
    "base": (), "net": BASE, "packets": NET, "mqtt": PACKETS,
    "http/semantics": BASE, "http/http1": HTTP1, "http/server": SIDE, "http/client": SIDE,
    "http/websocket": WEBSOCKET, "http/streaming": WEBSOCKET + ("http/websocket",), "http": HTTP,
    "hosts": HTTP + ("mqtt",), "workers": HTTP + ("mqtt",),
    "tools/cli": LIBRARY, "tools/serve": LIBRARY + ("tools/cli",), "tools/get": LIBRARY + ("tools/cli",),
    "tools/ws": LIBRARY + ("tools/cli",), "tools/bench": LIBRARY + ("tools/cli",), "tools/vendor": LIBRARY + ("tools/cli",),
    "tools": LIBRARY, "tools/testing": LIBRARY, "tools/doctor": LIBRARY + ("tools/cli", "tools/vendor"),
    "tools/wsgi": LIBRARY + ("tools/cli", "tools/serve"), "tools/inspect": LIBRARY + ("tools/cli",),
    "": LIBRARY + ("tools", "tools/cli", "tools/serve", "tools/get", "tools/ws", "tools/bench", "tools/doctor", "tools/vendor",
                   "tools/wsgi", "tools/testing", "tools/inspect"),
}
MOST_LINES = 800  # of a file: cut by meaning, not by a count, but nobody reads more than that in one go
MOST_REACHES = 0  # underscore names that a file reaches into of another one of its room
TOP_LEVEL = {"pyproject.toml", "tox.ini", "icey", "tests", "examples", "README.md", "CHANGELOG.md", "LICENSE"}
# What a build, an editor or a package manager leaves behind, ignored by git.
LEFT_OVERS = ("__pycache__", "build", "dist", "*.egg-info", "*.pyc", "node_modules")

# Nobody imports these, `typing` only for type checkers.
NEVER = ("concurrent", "ctypes", "dataclasses", "decimal", "email", "http", "multiprocessing", "socketserver", "typing",
         "unittest", "urllib", "uuid", "xml")
# These may be missing on a target or are dear: only these files import them, and everything else works without.
ONLY_IN = {
    "asyncio": ("hosts/asynciohost.py",),
    "logging": ("base/log.py",),
    "ssl": ("net/tls.py", "net/tlsengine.py"),
    "threading": ("packets/queue.py", "base/threadpool.py", "base/threads.py", "hosts/threadhost.py", "workers/*.py"),
    "queue": ("packets/queue.py", "base/threadpool.py", "workers/*.py"),
    "signal": ("base/application.py", "tools/ws/terminal.py", "workers/*.py"),
    "mimetypes": ("http/semantics/mediatypes.py",),
    "unicodedata": ("tools/cli/console.py",),
    "zlib": ("http/client/decoding.py", "http/server/compression.py", "http/websocket/deflate.py"),
    "subprocess": ("base/process.py", "tools/*.py", "workers/*.py"),
    "inspect": ("tools/*.py",),
}
# Rooms of pure logic: bytes and values in, bytes and values out.
SANS_IO = ("http/semantics", "http/http1")
INPUT_AND_OUTPUT = ("base/loop.py", "base/handle.py", "base/stream.py", "base/poll.py", "base/poller.py", "base/timer.py",
                    "base/synchronizer.py")

FILES = package.files()


def within(module, names):
    return any(module == name or module.startswith(name + ".") for name in names)


def forbidden(path, tree):
    """What the file imports from the standard library that it may not, as "line: module"."""
    for line, level, module, names, checking in package.imports(tree):
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
    for line, level, module, _, _ in package.imports(tree):
        if level == 0 and within(module, ("icey",)):
            yield "%d: %s" % (line, module)


def misplaced(path, tree):
    """Imports of what is not left of the file's own room, or out of the package, as "line: file"."""
    here = package.room(path)
    for line, target, _ in package.reached(path, tree):
        if target is None:
            yield "%d: out of the package" % line
            continue
        there = package.room(target)
        if there != here and there not in ALLOWED[here] and (there or path == "__main__.py" or target != "__init__.py"):
            yield "%d: %s" % (line, target)


def of_all(rule):
    """What `rule(path, tree)` finds in all files, as "path:line: what"."""
    return ["%s:%s" % (path, fault) for path in FILES for fault in rule(path, package.tree(path))]


def test_a_room_imports_only_what_is_left_of_it():
    assert of_all(misplaced) == []


def test_imports_inside_the_package_are_relative():
    assert of_all(lambda path, tree: absolute(tree)) == []


def test_no_forbidden_module_is_imported():
    assert of_all(forbidden) == []


def test_no_character_is_written_by_its_name():
    """The compiler looks names of characters up in `unicodedata`, which some Pythons come without: a SyntaxError there."""
    assert [path for path in FILES if "\\N{" in package.text(path)] == []


def test_a_file_says_at_its_head_what_it_is_for():
    assert [path for path in FILES if not ast.get_docstring(package.tree(path))] == []


def test_no_file_is_longer_than_a_sitting():
    assert [path for path in FILES if package.text(path).count("\n") > MOST_LINES] == []


def test_every_room_has_its_place():
    assert sorted({package.room(path) for path in FILES} - set(ALLOWED)) == []


def test_no_circle_between_rooms():
    """What only type checkers see counts; the tables of lazy names, which name everything, do not."""
    edges = {}
    for path in FILES:
        if path not in ("__init__.py", "http/__init__.py"):
            here = package.room(path)
            edges.setdefault(here, set()).update(
                package.room(target) for _, target, _ in package.reached(path)
                if package.room(target) != here and target != "__init__.py")
    assert package.cycle(edges) is None


@pytest.mark.parametrize("path", [path for path in FILES if package.room(path) in SANS_IO])
def test_rooms_of_pure_logic_import_no_socket_and_no_loop(path):
    tree = package.tree(path)
    assert [module for _, level, module, _, _ in package.imports(tree)
            if not level and module in ("socket", "selectors", "select", "ssl")] == []
    assert [target for _, target, _ in package.reached(path) if target in INPUT_AND_OUTPUT] == []


def test_no_underscore_name_crosses_a_room_and_few_cross_a_file():
    """A ratchet: what one file calls in another is a public name of a documented interface."""
    trees = {path: package.tree(path) for path in FILES}
    across_files = list(package.reaches(trees))
    across_rooms = ["%s:%d: %s" % (path, line, name) for path, line, name, owners in across_files
                    if all(package.room(owner) != package.room(path) for owner in owners)]
    assert across_rooms == []
    assert len(across_files) <= MOST_REACHES


def test_the_top_level_holds_nothing_else():
    found = {name for name in os.listdir(ROOT) if not name.startswith(".")}
    assert sorted(name for name in found - TOP_LEVEL
                  if not any(fnmatch.fnmatchcase(name, pattern) for pattern in LEFT_OVERS)) == []


def test_type_checking_is_a_name_that_completion_engines_do_not_take_for_false():
    """`TYPE_CHECKING = bool()`: type checkers know the name, and jedi reads the branch (behind False it would not)."""
    assigned = [(path, ast.unparse(node.value) if hasattr(ast, "unparse") else "bool()") for path in FILES
                for node in package.tree(path).body if isinstance(node, ast.Assign)
                and any(getattr(target, "id", "") == "TYPE_CHECKING" for target in node.targets)]
    assert len(assigned) > 100
    assert [(path, value) for path, value in assigned if value != "bool()"] == []


def test_every_event_says_what_its_slots_are_called_with():
    untyped, differing, told = [], [], {}
    for path in FILES:
        for node in [node for cls in ast.walk(package.tree(path)) if isinstance(cls, ast.ClassDef) for node in cls.body]:
            if isinstance(node, ast.Assign) and any(getattr(target, "id", "").startswith("on_") for target in node.targets):
                untyped.append("%s: %d" % (path, node.lineno))
            elif isinstance(node, ast.AnnAssign) and node.target.id.startswith("on_") and isinstance(node.value, ast.Call):
                text = "".join(one.value for one in ast.walk(node.value) if isinstance(getattr(one, "value", None), str))
                said = text[text.index("(") + 1:text.index(")")].split(", ")
                taken = [one for one in ast.walk(node.annotation) if isinstance(one, ast.List)][0].elts
                told.setdefault(node.target.id, set()).add(len(taken))
                if len(said) != len(taken):
                    differing.append("%s: %d" % (path, node.lineno))
    for path in FILES:  # no type checker looks at what is emitted
        for node in ast.walk(package.tree(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "emit" and node.args:
                name, given = getattr(node.args[0], "value", None), node.args[1:]
                if name in told and not any(isinstance(one, ast.Starred) for one in given) and len(given) not in told[name]:
                    differing.append("%s: %d" % (path, node.lineno))
    assert len(told) > 20
    assert (untyped, differing) == ([], [])


def test_the_version_is_a_literal():
    values = [node.value for node in package.tree("__init__.py").body if isinstance(node, ast.Assign)
              and any(isinstance(target, ast.Name) and target.id == "__version__" for target in node.targets)]
    assert len(values) == 1
    assert isinstance(ast.literal_eval(values[0]), str)


# the rules themselves

@pytest.mark.parametrize("path, source, faults", [
    ("base/loop.py", "import asyncio", ["1: asyncio"]),
    ("hosts/host.py", "import asyncio", ["1: asyncio"]),
    ("hosts/asynciohost.py", "def f():\n    import asyncio", []),
    ("base/loop.py", "from http import client", ["1: http"]),
    ("http/semantics/url.py", "import urllibx", []),
    ("http/semantics/url.py", "from urllib import parse", ["1: urllib"]),
    ("base/loop.py", "def f():\n    import ssl", ["2: ssl"]),
    ("net/tls.py", "import ssl", []),
    ("base/loop.py", "from . import signal", []),
    ("base/loop.py", "TYPE_CHECKING = bool()\nif TYPE_CHECKING:\n    import typing", []),
    ("base/loop.py", "if not_typing:\n    import typing", ["2: typing"]),
    ("http/server/server.py", "import subprocess", ["1: subprocess"]),
    ("tools/bench/command.py", "import subprocess", []),
])
def test_the_rule_on_forbidden_modules_itself(path, source, faults):
    assert list(forbidden(path, ast.parse(source))) == faults


@pytest.mark.parametrize("path, source, faults", [
    ("base/loop.py", "from ..net import tcp", ["1: net/tcp.py"]),
    ("base/loop.py", "from .. import http", ["1: http/__init__.py"]),
    ("base/loop.py", "if TYPE_CHECKING:\n    from ..net.tcp import TCPSocket", ["2: net/tcp.py"]),
    ("http/server/server.py", "from ...base.loop import Loop", []),
    ("http/server/server.py", "from ..client.client import Client", ["1: http/client/client.py"]),
    ("http/client/client.py", "from ..server.server import Server", ["1: http/server/server.py"]),
    ("http/server/server.py", "from ...tools.bench import load", ["1: tools/bench/load.py"]),
    ("http/server/server.py", "from .... import hostapp", ["1: out of the package"]),
    ("__init__.py", "from .http.server import server", []),
    ("net/tcp.py", "from . import address", []),
])
def test_the_rule_on_rooms_itself(path, source, faults):
    assert list(misplaced(path, ast.parse(source))) == faults


@pytest.mark.parametrize("edges, found", [
    ({"a": {"b"}, "b": {"c"}}, None),
    ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, ["a", "b", "c", "a"]),
    ({"a": {"a"}}, ["a", "a"]),
])
def test_the_rule_on_circles_itself(edges, found):
    assert package.cycle(edges) == found


@pytest.mark.parametrize("here, there, names", [
    ("one._x", "class A:\n    def _x(self): pass", ["_x"]),
    ("one._x\ndef _x(): pass", "def _x(): pass", []),
    ("self._x", "def _x(): pass", []),
    ("one.__x__", "def __x__(): pass", []),
    ("from .b import _x", "_x = 1", ["_x"]),
    ("one._x", "class A:\n    __slots__ = ('_x',)", ["_x"]),
    ("one._x", "class A:\n    def __init__(self):\n        self._x = 1", ["_x"]),
    ("one.x", "x = 1", []),
])
def test_the_rule_on_underscores_itself(here, there, names):
    assert [name for _, _, name, _ in package.reaches({"a.py": ast.parse(here), "b.py": ast.parse(there)})] == names
