"""Which interpreter this is, and what is called at its end, also as Pythons tell it that are not this one.

With real sub-interpreters: tests/test_subinterpreters.py.
"""
import atexit
import sys
import threading
import types

import pytest

from icey.base import threads

pytestmark = pytest.mark.needs("threading")


def interpreters(current, main):
    made = types.ModuleType("interpreters")
    made.get_current, made.get_main = lambda: current, lambda: main
    return made


@pytest.mark.parametrize("name, other", [("_interpreters", "_xxsubinterpreters"), ("_xxsubinterpreters", "_interpreters")])
def test_the_module_that_there_is_says_which_one_this_is(monkeypatch, name, other):
    monkeypatch.setitem(sys.modules, other, None)
    for module, told in ((interpreters(0, 0), True), (interpreters(1, 0), False), (None, True),
                         (types.ModuleType("with nothing in it"), True)):
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(threads, "_is_main", None)
        assert threads.in_main_interpreter() is told
        monkeypatch.setitem(sys.modules, name, None)
        assert threads.in_main_interpreter() is told, "asked once"


@pytest.mark.parametrize("module, name", [(threading, "_register_atexit"), (atexit, "register")])
def test_the_end_is_registered_once_where_it_can_be(monkeypatch, module, name):
    registered, called = [], []
    monkeypatch.setattr(threads, "_ends", [])
    monkeypatch.setattr(threading, "_register_atexit", None, raising=False)
    monkeypatch.setattr(module, name, registered.append, raising=False)
    threads.at_end(lambda: called.append("second"))
    threads.at_end(lambda: called.append("third"))
    threads.at_end(lambda: called.append("first"), first=True)
    end, = registered
    end()
    assert called == ["first", "second", "third"]


def test_whether_the_end_comes_before_threads_are_waited_for(monkeypatch):
    monkeypatch.setattr(threading, "_register_atexit", None, raising=False)
    assert threads.ends_before_waiting()
    monkeypatch.delattr(threading, "_register_atexit")
    assert not threads.ends_before_waiting()
