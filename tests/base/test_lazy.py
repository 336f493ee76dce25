"""What looks names up, and what says that a copy of icey was made without something."""
import pydoc
import re

import pytest

import icey
from icey.base.lazy import lazy, left_out

COMMAND = "python3 -m icey vendor DEST --only tcp http.%s"


def test_a_name_is_imported_when_it_is_first_used_and_kept():
    namespace = {"__name__": "icey.base", "__package__": "icey.base", "__path__": __import__("icey.base").base.__path__}
    look_up, names = lazy(namespace, {"lazy": "lazy left_out", "": "errors"})
    public = look_up("__all__")
    assert public == ["errors", "lazy", "left_out"] and "lazy" not in namespace and "__all__" not in namespace
    assert look_up("lazy") is lazy and namespace["lazy"] is lazy
    assert look_up("errors").__name__ == "icey.base.errors"
    assert set(names()) == {*namespace, *public}


@pytest.mark.parametrize("name, told", [
    ("nothing", "module 'p' has no attribute 'nothing'"),
    ("Client", "module 'p' has no attribute 'Client': this copy of icey was made without it. To add it, with a whole icey: "
               "python3 -m icey vendor DEST --only tcp http.Client"),
])
def test_a_name_that_was_left_out_says_how_to_add_it(name, told):
    look_up, names = lazy({"__name__": "p"}, {}, {COMMAND: "Call Client"})
    with pytest.raises(AttributeError) as failed:
        look_up(name)
    assert str(failed.value) == told and name not in names() and name not in look_up("__all__")


@pytest.mark.parametrize("package, lines", [pytest.param(icey, 50, marks=pytest.mark.needs("ssl")), (icey.http, 40)])
def test_help_of_a_package_is_its_head_with_names_that_are_there_and_not_thousands_of_lines(package, lines):
    text = pydoc.plain(pydoc.render_doc(package))
    assert text.count("\n") <= lines
    named = re.findall(r"\b[A-Za-z]\w+", "\n".join(re.findall(r"^ {8}(\S.*?) {3,}", text, re.M)))
    assert len(named) > 20 and [name for name in named if name not in dir(package)] == []


def test_a_star_import_takes_the_public_names():
    namespace = {}
    exec("from icey.http import *", namespace)
    assert namespace["Server"] is icey.http.Server and "_HOME" not in namespace


def test_python_may_say_what_was_meant():
    with pytest.raises(AttributeError) as failed:
        icey.TCPSoket
    assert failed.value.name == "TCPSoket" and "TCPSocket" in dir(failed.value.obj)


def test_a_part_that_was_left_out_says_how_to_add_it():
    assert left_out(ModuleNotFoundError("", name="icey.net.tls"), "net.tls", "tls") == (
        "this copy of icey was made without tls. To add it, with a whole icey: python3 -m icey vendor DEST --only ... tls")


@pytest.mark.parametrize("name", ["ssl", "icey.net.tlsengine", "other.net.tls", None])
def test_what_else_is_missing_is_told_as_it_is(name):
    missing = ModuleNotFoundError("as it is", name=name)
    with pytest.raises(ModuleNotFoundError) as failed:
        left_out(missing, "net.tls", "tls")
    assert failed.value is missing
