"""What names mean, what they need, and the tables of a copy that has a part. On a small package that stands for icey."""
import ast

import pytest

from icey.tools import vendor
from icey.tools.vendor import plans, sources
from tests.support import vendoring

toy = vendoring.toy
BASE = ["LICENSE", "__init__.py", "base/__init__.py", "base/debug.py", "base/lazy.py", "base/loop.py", "py.typed"]
TCP = sorted([*BASE, "net/__init__.py", "net/tcp.py"])


@pytest.mark.parametrize("names, files", [
    (["Loop"], BASE),
    (["TCPSocket"], TCP),
    (["TCPListener", "Loop"], TCP),
    (["tls"], sorted([*TCP, "net/tls.py"])),
    (["http.Server"], sorted([*TCP, "http/__init__.py", "http/server.py"])),
    (["http.Client"], sorted([*TCP, "http/__init__.py", "http/client.py", "net/tls.py"])),
    (["http"], sorted([*TCP, "http/__init__.py", "http/client.py", "http/server.py", "net/tls.py"])),
    (["serve"], sorted([*TCP, "__main__.py", "http/__init__.py", "http/server.py", "tools/__init__.py", "tools/serve.py"])),
])
def test_the_files_that_names_need(names, files, toy):
    assert toy.plan(names).files == files


def test_the_whole_library_and_its_tools(toy):
    library = {path for path in vendoring.TOY if path != "notes.txt"}
    assert toy.plan(tools=True).files == sorted(library)
    assert toy.plan().files == sorted(path for path in library if not path.startswith("tools/") and path != "__main__.py")
    assert toy.plan(["Loop"], tools=True).files == sorted(library)


def test_a_plan_tells_its_size_and_what_it_needs_of_python(toy):
    plan = toy.plan(["Loop"])
    source = [plan.read(path) for path in plan.files if path.endswith(".py")]
    assert plan.size == sum(map(len, source)) and plan.lines == sum(text.count(b"\n") for text in source)
    assert plan.version == "9.8" and plan.names == ["Loop"] and not plan.tools
    assert plan.stdlib == ["os"] and set(plan.optional) == {"weakref", "zlib"} and "gzip" in plan.optional["zlib"]
    assert repr(plan) == "<Plan of Loop: 7 files, %d bytes of source>" % plan.size
    assert repr(toy.plan()).startswith("<Plan of the library: ")
    with pytest.raises(KeyError):
        plan.read("net/tcp.py")


@pytest.mark.parametrize("name, meant", [
    ("TCPSoket", "did you mean TCPSocket"), ("Server", "did you mean http.Server"), ("http.client", "did you mean http.Client"),
    ("tcpsocket", "did you mean TCPSocket"), ("xyzzy", r"no name of icey: 'xyzzy' \(vendor --list"),
    ("net/tcp.py", "no name of icey"), ("", "no name of icey"), ("../x", "no name of icey"),
])
def test_an_unknown_name_says_what_was_meant(name, meant, toy):
    with pytest.raises(vendor.UnknownName, match=meant):
        toy.plan(["Loop", name])


def test_no_name_at_all_is_an_error(toy):
    with pytest.raises(vendor.UnknownName):
        toy.plan([])


# the tables of a part

def test_the_tables_have_what_is_there_and_tell_what_is_not(toy):
    plan = toy.plan(["http.Server", "serve"])
    text = plan.read("__init__.py").decode()
    assert '"": "http",\n' in text and '"net.tcp": "TCPListener"\n    " TCPSocket",' in text
    assert text.endswith('''_LEFT_OUT: "dict[str, str]" = {
    "python3 -m icey vendor DEST --only http.Server serve %s":
        "tls",
}
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(globals(), _HOME, _LEFT_OUT)
''')
    assert plan.read("http/__init__.py").decode() == '''_HOME = {
    "server": "Server",
}
_LEFT_OUT = {
    "python3 -m icey vendor DEST --only http.Server serve http.%s":
        "Client",
}
'''
    program = plan.read("__main__.py").decode()
    assert '"serve": (' in program and '"get": (' not in program
    assert ('LEFT_OUT: Dict[str, str] = {\n    "python3 -m icey vendor DEST --only http.Server serve %s":\n'
            '        "get",\n}') in program


def test_checkers_see_what_is_there(toy):
    text = toy.plan(["Loop"]).read("__init__.py").decode()
    block = next(node for node in ast.parse(text).body if isinstance(node, ast.If))
    assert [alias.name for node in block.body for alias in node.names] == ["Loop"]


def test_a_block_of_which_nothing_is_left_can_still_be_parsed(toy):
    from icey.tools.vendor.tables import Table
    source = (b"if TYPE_CHECKING:\n    from .a import x\n    from .b import (\n        y,\n    )\n"
              b"_HOME = {\n}\n_LEFT_OUT = {}\n")
    made = Table("p/__init__.py", source, {"p/__init__.py", "p/a.py", "p/b.py"})
    assert made.trimmed(["p/__init__.py"], "again %s").startswith(b"if TYPE_CHECKING:\n    pass\n_HOME = {")


def test_of_an_import_the_names_stay_that_are_there(toy):
    from icey.tools.vendor.tables import Table
    source = (b"if TYPE_CHECKING:\n    from . import (\n        a as a,\n        b as b,\n        c as d,\n    )\n"
              b"_HOME = {\n}\n_LEFT_OUT = {}\n")
    made = Table("p/__init__.py", source, {"p/__init__.py", "p/a.py", "p/b.py", "p/c.py"})
    assert made.trimmed(["p/__init__.py", "p/a.py", "p/c.py"], "again %s").startswith(
        b"if TYPE_CHECKING:\n    from . import a as a, c as d\n_HOME = {")


def test_a_whole_copy_has_the_files_as_they_are(toy):
    plan = toy.plan(tools=True)
    assert all(plan.read(path).decode() == vendoring.TOY[path] for path in plan.files)


def test_a_copy_of_a_whole_copy_is_whole(toy, tmp_path):
    place = vendor.copy(toy.plan(tools=True), str(tmp_path / "one"))
    there = plans.Library(sources.Folder(place))
    assert there.partial and there.names is None and there.plan().names is None
    assert vendoring.contents(vendor.copy(there.plan(tools=True), str(tmp_path / "two"))) == vendoring.contents(place)


def test_a_copy_of_a_copy_has_no_more_and_says_so(toy, tmp_path):
    place = vendor.copy(toy.plan(["http.Server"]), str(tmp_path / "one"))
    part = plans.Library(sources.Folder(place))
    assert part.partial
    again = vendor.copy(part.plan(["http.Server"]), str(tmp_path / "two"))
    assert vendoring.contents(again) == vendoring.contents(place)
    with pytest.raises(vendor.UnknownName, match="'http.Client' is not in this copy"):
        part.plan(["http.Client"])
    assert part.names == part.plan().names == ["http.Server"]  # nor is a part called the whole
    assert vendoring.contents(vendor.copy(part.plan(), str(tmp_path / "three"))) == vendoring.contents(place)
    less = part.plan(["Loop"])
    text = less.read("__init__.py").decode()
    assert less.files == BASE and '--only Loop %s":\n        "TCPListener TCPSocket http tls",' in text
