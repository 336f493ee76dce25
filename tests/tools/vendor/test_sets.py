"""The sets of `vendor --list`: what each needs and does without, how large it is, and that a copy of it alone works.

Here a few of them are copied and run, in debug mode; tests/support/relocated.py, and with it the matrix, runs them all.
"""
import ast
import os
import shutil
import subprocess
import sys

import pytest

from icey.tools import vendor
from icey.tools.vendor import features, imports, plans
from tests.support import ROOT, package, relocated

CLIENT = "http/client/"
ROOMS = ("packets/", "http/", "hosts/", "tools/")
# what is asked for, and folders and files that it must do without
WITHOUT = [
    (["Loop"], ("net/", *ROOMS)),
    (["Loop", "TCPSocket", "TCPListener"], ("net/dns.py", "net/happyeyeballs.py", "net/tls", "net/udp.py", *ROOMS)),
    (["UDPSocket"], ("net/tcp.py", "net/dns.py", *ROOMS)),
    (["PacketStream", "AsyncPacketQueue", "SyncPacketQueue", "RawPacket"], ("net/", "http/", "tools/")),
    (["http.Server"], ("net/tls", "net/dns.py", "packets/", CLIENT, "http/websocket/", "http/streaming/",
                       "http/semantics/url.py")),
    (["http.Server", "http.StaticFiles", "http.WebSocket"], ("net/tls", "packets/", CLIENT, "http/streaming/")),
    (["http.Client"], ("packets/", "http/server/", "http/websocket/", "http/streaming/")),
    (["http.URL"], ("net/", "packets/", "base/loop.py", "http/server/", CLIENT)),
    (["client"], ("http/server/", "http/websocket/", "packets/")),
    (["client-packets"], ("http/server/", "http/websocket/")),
    (["websocket-client"], ("packets/",)),
    (["mqtt.Client"], ("packets/", "http/", "hosts/", "tools/", "net/tls", "net/dns.py", "mqtt/ends.py")),
    (["mqtt"], ("packets/", "http/", "hosts/", "tools/")),
]
# bytes of source, at most: where one grows past it, cut imports before you raise it
SIZES = [(["Loop", "TCPSocket"], 190_000), (["tcp"], 210_000), (["http.Server", "http.StaticFiles", "http.WebSocket"], 520_000),
         (["server", "static", "websocket"], 535_000)]


@pytest.fixture(scope="module")
def library():
    return plans.Library()


@pytest.fixture(scope="module")
def sets(library):
    """word -> its Plan."""
    return {word: library.plan([word]) for word in library.words}


@pytest.mark.parametrize("word, module", [("workers", "signal"), ("tls", "ssl")])
def test_what_a_word_is_nothing_without_is_among_its_needs(word, module, library):
    plan = library.plan([word])
    assert module in plan.stdlib and module not in plan.optional
    assert module in library.plan(["client" if module == "ssl" else "server"]).optional


@pytest.mark.parametrize("names, without", WITHOUT, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_it_needs_nothing_of_what_it_is_not(names, without, library):
    assert [path for path in library.plan(names).files if path.startswith(without)] == []


@pytest.mark.parametrize("names, most", SIZES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_it_is_no_larger_than_that(names, most, library):
    assert library.plan(names).size <= most


def test_every_word_names_what_there_is(library):
    missing = {word for word in features.FEATURES if word not in library.words}
    assert missing == {word for word in ("mqtt", "workers") if not os.path.isdir(os.path.join(package.PACKAGE, word))}


def test_what_a_file_of_a_set_imports_is_in_the_set(sets):
    known = frozenset(package.files())
    reached = {path: {target for found in package.found(package.tree(path)) if not found.checking and not found.apart
                      for target in imports.targets(path, found, known)} for path in known}
    for word, plan in sets.items():
        there = {path for path in plan.files if path.endswith(".py")}
        assert {path: reached[path] - there for path in there if reached[path] - there} == {}, word


def test_the_tables_of_a_set_name_what_is_there_and_can_be_parsed(sets):
    for word, plan in sets.items():
        for path in ("__init__.py", "http/__init__.py", "mqtt/__init__.py", "hosts/__init__.py"):
            if path in plan.files:
                for node in ast.parse(plan.read(path)).body:
                    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_HOME":
                        for module, names in ast.literal_eval(node.value).items():
                            for one in [module] if module else names.split():
                                base = path[:-len("__init__.py")] + one.replace(".", "/")
                                assert {base + ".py", base + "/__init__.py"} & set(plan.files), (word, one)


def test_every_table_of_names_can_tell_what_was_left_out():
    for path in package.files():
        if "\n_HOME = {" in package.text(path) and not path.startswith("tools/"):
            assert '\n_LEFT_OUT: "dict[str, str]" = {}\n' in package.text(path), path
            assert "_lazy(globals(), _HOME, _LEFT_OUT)" in package.text(path), path


def test_every_set_has_its_part_of_the_smoke_tests(library):
    with open(os.path.join(ROOT, "tests", "smoke", "test_parts.py"), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    parts = {one.value for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "part"
             for one in node.args if isinstance(one, ast.Constant)}
    parts |= {name for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "COMMANDS"
              for name in ast.literal_eval(node.value)}
    assert sorted(set(library.words) - parts) == []


def test_every_file_is_in_a_set(library, sets):
    in_sets = {path for plan in sets.values() for path in plan.files}
    assert set(library.plan(tools=True).files) - in_sets == {"README.md"}


def test_each_module_that_can_be_lacking_is_imported_by_somebody(sets, library):
    imported = {module for plan in [*sets.values(), library.plan(tools=True)] for module in plan.optional}
    assert sorted(set(features.LOST) - imported) == []


@pytest.mark.parametrize("kind, word", [
    ("vendored", "websocket"), *[pytest.param(kind, word, marks=pytest.mark.slow) for kind, word in (
        ("zip", "tcp"), ("vendored", "loop"), ("vendored", "server"), ("vendored", "packets"), ("vendored", "client"))]])
def test_a_copy_of_it_alone_passes_its_part_of_the_smoke_tests(kind, word, tmp_path, monkeypatch):
    place = relocated.Place(kind, str(tmp_path), ROOT)
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(os.path.join(ROOT, "tests", "smoke", "test_parts.py"), str(run))
    name, path, where = place.copied(word)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ICEY_", "COV"))}
    environ.update(ICEY_PACKAGE=name, ICEY_WHERE=os.path.realpath(where), PYTHONPATH=os.path.realpath(path), ICEY_SET=word,
                   ICEY_DEBUG="1", PYTHONWARNINGS="error")
    if "ICEY_MINIMAL" in os.environ:
        pytest.skip("what takes modules away is on the path")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_parts.py"], cwd=str(run),
                          env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_a_plan_takes_no_str():
    with pytest.raises(TypeError, match=r"\['tcp'\]"):
        vendor.plan("tcp")
