"""What importing icey drags in, seen from a bare `python -S -I`.

`import icey` reads one file. Touching every public name of base and net brings no module that some targets lack or that
is dear to import (the list is below). How long that takes is told by tests/bench/startup.py: a time is no test.
"""
import ast
import json
import os
import subprocess
import sys

import pytest

import icey
from tests.support import ROOT, lacks

# Including everything below them; `http` is the standard library's.
FORBIDDEN = ("asyncio", "concurrent", "ctypes", "dataclasses", "email", "http", "inspect", "logging", "multiprocessing",
             "queue", "signal", "socketserver", "ssl", "subprocess", "threading", "typing", "urllib.request", "zlib")
# The public names that are one of these modules' front by nature.
BEHIND = {
    "AsyncPacketQueue": "threading",
    "TLSSocket": "ssl", "start_tls": "ssl", "tls": "ssl", "wsgi": "threading",
}
OTHER_LAYERS = ("http", "tools")
BASE_AND_NET = [name for name in icey.__all__ if name not in OTHER_LAYERS and name not in BEHIND]

PROBE = """
import sys
start = set(sys.modules)
sys.path.insert(0, %r)
import icey
steps = [("import icey", sorted(set(sys.modules) - start))]
for name in %r:
    known = set(sys.modules)
    getattr(icey, name)
    steps.append((name, sorted(set(sys.modules) - known)))
import json
print(json.dumps(steps))
"""


@pytest.fixture(scope="module")
def steps():
    """What each step of the probe newly imported: [("import icey", [modules]), (name, [modules]), ...]."""
    # -S: no site, hence no .pth files and no coverage; -I: nothing from the environment.
    done = subprocess.run([sys.executable, "-S", "-I", "-W", "error", "-c", PROBE % (ROOT, BASE_AND_NET)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.decode())


def test_importing_icey_imports_the_lookup_of_names_and_nothing_else_of_it(steps):
    step, brought = steps[0]
    assert step == "import icey"
    assert [name for name in brought if name.split(".")[0] == "icey"] == ["icey", "icey.base", "icey.base.lazy"]


def test_base_and_net_drag_in_no_forbidden_module(steps):
    assert [(step, name) for step, brought in steps for name in brought
            if any(name == bad or name.startswith(bad + ".") for bad in FORBIDDEN)] == []


@pytest.mark.parametrize("name", sorted(icey.__all__))
def test_every_lazy_name_resolves(name):
    reason = name in BEHIND and lacks(BEHIND[name])
    if reason:
        pytest.skip(reason)
    assert getattr(icey, name) is not None
    assert name in dir(icey)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        icey.no_such_name


def test_lazy_names_stand_in_plain_imports_too():
    """For type checkers and freezers, which do not run `__getattr__`: under TYPE_CHECKING, in icey/__init__.py."""
    with open(os.path.join(ROOT, "icey", "__init__.py"), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    bound = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign):
            bound.update(target.id for target in node.targets if isinstance(target, ast.Name))
    assert sorted(set(icey.__all__) - bound) == []
