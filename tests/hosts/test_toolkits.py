"""The hosts of Tk, Qt and GLib on stand-ins for these: what each is asked for, and what happens where it is missing or gone.

With the real ones, and their real loops: tests/interop/test_hosts.py.
"""
import gc
import sys
import types

import pytest

import icey
from icey.hosts import GLibHost, QtHost, TkHost
from tests.support import needs
from tests.support.loops import clock, debug, loop  # noqa: F401

needs("selectors")  # a host waits on the loop's descriptor

# GLib

class Source:
    def __init__(self):
        self.context, self.polls, self.ready = "none", [], -1

    def attach(self, context):
        self.context = context

    def destroy(self):
        self.context = "gone"

    def add_poll(self, polled):
        self.polls.append(polled)

    def remove_poll(self, polled):
        self.polls.remove(polled)

    def set_ready_time(self, at):
        self.ready = at

    def get_ready_time(self):
        return self.ready


@pytest.fixture
def glib(monkeypatch, clock):
    made = types.ModuleType("gi.repository.GLib")
    made.sources = []

    class Kept(Source):
        def __init__(self):
            super().__init__()
            made.sources.append(self)

    made.Source = Kept
    made.IOCondition = types.SimpleNamespace(IN=1)
    made.PollFD = lambda fd, condition: types.SimpleNamespace(fd=fd, revents=0)
    made.get_monotonic_time = lambda: int(clock() * 1e6)
    monkeypatch.setitem(sys.modules, "gi.repository.GLib", made)
    return made


def iterate(glib):
    """What GLib does of its loop; whether anything was dispatched."""
    source = glib.sources[-1]
    source.prepare()
    for polled in source.polls:
        polled.revents = 1
    if source.check() or 0 <= source.ready <= glib.get_monotonic_time():
        return source.dispatch(None, None)
    return False


def test_glib_turns_the_loop_when_its_descriptor_is_readable_or_its_time_has_come(glib, loop, clock):
    host, seen = GLibHost(loop, "a context").start(), []
    source, = glib.sources
    assert source.context == "a context" and [polled.fd for polled in source.polls] == [loop.fileno()]
    loop.call_soon(seen.append, "soon")
    assert iterate(glib) is True and seen == ["soon"]
    loop.call_later(0.5, seen.append, "later")
    while source.ready < 0:
        iterate(glib)
    clock.advance(0.6)
    for polled in source.polls:
        polled.revents = 0
    assert source.dispatch(None, None) is True and seen == ["soon", "later"]
    host.stop()
    assert source.context == "gone"


def test_glib_drops_a_source_that_an_interrupt_left_and_gets_another(glib, loop):
    def interrupted():
        raise KeyboardInterrupt

    host, seen = GLibHost(loop).start(), []
    loop.call_soon(interrupted)
    with pytest.raises(KeyboardInterrupt):
        iterate(glib)
    first, second = glib.sources
    assert (first.context, second.context) == ("gone", None)
    loop.call_soon(seen.append, "after it")
    for _ in range(3):
        iterate(glib)
    assert seen == ["after it"]
    host.stop()


def test_glib_is_imported_when_the_host_is_made(monkeypatch, loop):
    monkeypatch.setitem(sys.modules, "gi.repository.GLib", None)
    with pytest.raises(ImportError):
        GLibHost(loop)


# Qt

class Connected:
    def __init__(self):
        self.fn = None

    def connect(self, fn):
        self.fn = fn


class QTimer:
    def __init__(self):
        self.timeout, self.at = Connected(), None

    def setSingleShot(self, on):
        assert on

    def setTimerType(self, kind):
        assert kind == "precise"

    def start(self, milliseconds):
        self.at = milliseconds

    def stop(self):
        self.at = None


class QSocketNotifier:
    Read = "read"
    over = False

    def __init__(self, fd, kind):
        self.activated, self.on = Connected(), False

    def setEnabled(self, on):
        if self.over:
            raise RuntimeError("the C++ object has been deleted")
        self.on = on


@pytest.fixture
def qt(monkeypatch):
    core = types.ModuleType("PyQt5.QtCore")
    core.QTimer, core.Qt = QTimer, types.SimpleNamespace(PreciseTimer="precise")
    core.QSocketNotifier = type("QSocketNotifier", (QSocketNotifier,), {})
    core.QCoreApplication = types.SimpleNamespace(instance=lambda: core.application)
    core.application = "the application"
    for binding in ("PySide6", "PyQt6", "PySide2", "PyQt5"):
        monkeypatch.delitem(sys.modules, binding + ".QtCore", raising=False)
    monkeypatch.setitem(sys.modules, "PyQt5.QtCore", core)
    return core


def test_qt_turns_the_loop_when_its_descriptor_is_readable_or_its_time_has_come(qt, loop, clock):
    host, seen = QtHost(loop).start(), []
    assert host._notifier.on
    loop.call_soon(seen.append, "soon")
    host._notifier.activated.fn(7)
    assert seen == ["soon"]
    loop.call_later(0.5, seen.append, "later")
    for _ in range(3):
        host._notifier.activated.fn()
    assert host._timer.at == 500
    clock.advance(0.6)
    host._timer.timeout.fn()
    assert seen == ["soon", "later"]
    host.stop()
    assert not host._notifier.on


def test_qt_may_have_ended_before_the_host_stops(qt, loop):
    host = QtHost(loop).start()
    qt.QSocketNotifier.over = True
    host.stop()


def test_qt_is_to_be_there_with_an_application(qt, monkeypatch, loop):
    qt.application = None
    with pytest.raises(icey.StateError, match="make the QApplication first"):
        QtHost(loop).start()
    monkeypatch.delitem(sys.modules, "PyQt5.QtCore")
    with pytest.raises(icey.StateError, match="import one of PySide6, PyQt6, PySide2, PyQt5 first"):
        QtHost(loop).start()


# Tk

class Widget:
    def __init__(self, **handlers):
        self.tk = types.SimpleNamespace(**handlers)
        self.bound, self.timers = [], {}

    def bind(self, event, fn, add):
        assert (event, add) == ("<Destroy>", "+")
        self.bound.append(fn)

    def after(self, milliseconds, fn):
        self.timers["after#1"] = (milliseconds, lambda: (self.timers.clear(), fn()))
        return "after#1"

    def after_cancel(self, name):
        del self.timers[name]


@pytest.fixture
def widget():
    watched = {}
    made = Widget(createfilehandler=lambda fd, mask, fn: watched.update({fd: fn}), deletefilehandler=watched.pop)
    made.watched = watched
    return made


def test_tk_turns_the_loop_when_its_descriptor_is_readable_or_its_time_has_come(widget, loop, clock):
    host, seen = TkHost(loop, widget).start(), []
    turn = widget.watched[loop.fileno()]
    loop.call_soon(seen.append, "soon")
    turn()
    assert seen == ["soon"]
    loop.call_later(0.5, seen.append, "later")
    for _ in range(3):
        turn()
    milliseconds, due = widget.timers["after#1"]
    assert milliseconds == 500
    clock.advance(0.6)
    due()
    assert seen == ["soon", "later"]
    timer = loop.call_later(0.5, seen.append, "never")
    turn()
    timer.close()
    turn()
    turn()
    host.stop()
    assert widget.watched == widget.timers == {}


def test_tk_stops_the_host_when_its_own_widget_is_destroyed_and_is_bound_once(widget, loop):
    host = TkHost(loop, widget).start()
    host.stop()
    host.start()
    destroyed, = widget.bound
    destroyed(types.SimpleNamespace(widget="a child"))
    assert host.started
    destroyed(types.SimpleNamespace(widget=widget))
    assert not host.started and widget.watched == {}
    del host
    gc.collect()
    destroyed(types.SimpleNamespace(widget=widget))


def test_tk_without_file_handlers_says_what_serves_there(loop):
    with pytest.raises(icey.StateError, match="ThreadHost"):
        TkHost(loop, Widget()).start()
