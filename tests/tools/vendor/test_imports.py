"""What a file imports, and what follows: functions, checkers, guards, packages."""
import ast

import pytest

from icey.tools.vendor import imports


@pytest.mark.parametrize("source, found", [
    ("import os", [(0, "os", (), "")]),
    ("import os.path, sys", [(0, "os.path", (), ""), (0, "sys", (), "")]),
    ("from ..a.b import c, d as e", [(2, "a.b", ("c", "d"), "")]),
    ("from . import x", [(1, "", ("x",), "")]),
    ("def f():\n    import os", [(0, "os", (), "later")]),
    ("class A:\n    def f(self):\n        return lambda: __import__('os')\n    import os", [(0, "os", (), "")]),
    ("if TYPE_CHECKING:\n    import os\nelse:\n    import sys", [(0, "os", (), "checking"), (0, "sys", (), "")]),
    ("if not TYPE_CHECKING:\n    import os\nelse:\n    import sys", [(0, "os", (), ""), (0, "sys", (), "checking")]),
    ("if x:\n    import os", [(0, "os", (), "")]),
    ("try:\n    import ssl\nexcept ImportError:\n    import os\nelse:\n    import sys\nfinally:\n    import io",
     [(0, "ssl", (), "guarded"), (0, "sys", (), ""), (0, "io", (), ""), (0, "os", (), "")]),
    ("try:\n    import a\nexcept ValueError:\n    pass", [(0, "a", (), "")]),
    ("try:\n    import a\nexcept:\n    pass", [(0, "a", (), "")]),
    ("try:\n    from .a import b\nexcept ModuleNotFoundError:\n    pass", [(1, "a", ("b",), "guarded apart")]),
    ("try:\n    from .a import b\nexcept (OSError, ModuleNotFoundError) as exc:\n    pass",
     [(1, "a", ("b",), "guarded apart")]),
])
def test_the_imports_of_a_file(source, found):
    def told(one):
        return one.level, one.module, one.names, " ".join(
            name for name in ("checking", "later", "guarded", "apart") if getattr(one, name))

    assert [told(one) for one in imports.imports(ast.parse(source))] == found


KNOWN = {"__init__.py", "a.py", "p/__init__.py", "p/b.py", "p/q/__init__.py", "p/q/c.py"}


@pytest.mark.parametrize("path, source, reached", [
    ("a.py", "import os", []),
    ("a.py", "from . import p", ["p/__init__.py"]),
    ("a.py", "from .p import b, q", ["p/b.py", "p/q/__init__.py"]),
    ("a.py", "from .p.b import x, y", ["p/b.py"]),
    ("p/b.py", "from .. import a", ["a.py"]),
    ("p/b.py", "from .. import __version__", ["__init__.py"]),
    ("p/q/c.py", "from ...a import x", ["a.py"]),
    ("p/q/c.py", "from .... import x", [None]),
    ("p/q/__init__.py", "from .c import x", ["p/q/c.py"]),
    ("p/b.py", "from .gone import x", ["p/gone.py"]),
])
def test_the_files_that_an_import_reaches(path, source, reached):
    assert imports.targets(path, imports.imports(ast.parse(source))[0], KNOWN) == reached


def graph(**files):
    contents = {name.replace("__", "/") + ".py": text.encode() for name, text in files.items()}
    contents.setdefault("__init__.py", b"")
    return imports.Graph(contents.__getitem__, contents)


def test_what_files_need_in_their_turn():
    made = graph(a="from .b import x\ndef f():\n    from .c import y", b="", c="from . import d", d="from .a import z", e="")
    assert made.needed(["a.py"]) == ["__init__.py", "a.py", "b.py", "c.py", "d.py"]
    assert made.needed(["a.py"], at_once=True) == ["__init__.py", "a.py", "b.py"]
    assert made.needed(["nowhere.py"]) == []


def test_a_part_is_not_followed_and_is_told():
    made = graph(a="try:\n    from .b import x\nexcept ModuleNotFoundError:\n    pass", b="")
    assert made.needed(["a.py"]) == ["__init__.py", "a.py"]
    assert made.apart(["a.py"]) == {"b.py"} and made.apart(["a.py", "b.py"]) == set()


def test_what_takes_a_loop_needs_the_loop():
    contents = {"__init__.py": b"", "base/__init__.py": b"", "base/loop.py": b"",
                "a.py": b"if TYPE_CHECKING:\n    from .base.loop import Loop\n    from .b import x", "b.py": b""}
    made = imports.Graph(contents.__getitem__, contents)
    assert made.needed(["a.py"]) == ["__init__.py", "a.py", "base/__init__.py", "base/loop.py"]


def test_the_modules_of_the_standard_library():
    made = graph(a="from __future__ import annotations\nimport os\nfrom json import x\ntry:\n    import ssl\n"
                   "except ImportError:\n    pass\ndef f():\n    import os, zlib")
    assert made.stdlib(["a.py"]) == (["json", "os"], ["ssl", "zlib"])
