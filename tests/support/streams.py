"""Fixtures and helpers for tests of what sends and receives: a virtual clock, and nothing reported goes unseen.

A test module takes the fixtures by assignment (`loop = streams.loop`, and the ones it needs: `debug`, `clock`, `reports`);
its tests then run in release and in debug mode. What is reported to `loop.on_error` has to be taken by the test
(`reports.take(ValueError)`): the fixture fails it otherwise. Other loops: loops.py.
"""
import gc
import socket
import sys
import time

import pytest

from icey.base.loop import Loop
from icey.tools.testing import VirtualClock, VirtualSelector
from tests.support import MODES

PYPY = sys.implementation.name == "pypy"


class Reports(list):
    """(exception, handle) pairs, as they came to `loop.on_error`."""

    def note(self, loop, exc, handle):
        exc.__traceback__ = None  # would keep the locals of the slot alive
        self.append((exc, handle))

    def take(self, *kinds):
        """The exceptions reported until now, which are of these kinds; they are forgotten."""
        found = [exc for exc, _ in self]
        assert [type(exc) for exc in found] == list(kinds), found
        self.clear()
        return found


def tcp_pair():
    """Two connected TCP sockets of the system's."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far


@pytest.fixture
def tcp_ends():
    """The same, closed at the end."""
    near, far = tcp_pair()
    with near, far:
        yield near, far


@pytest.fixture(params=MODES)
def debug(request):
    return request.param


@pytest.fixture
def clock():
    return VirtualClock(1000.0)


@pytest.fixture
def reports():
    reports = Reports()
    yield reports
    assert not reports


@pytest.fixture
def exports():
    """A list for iterators over views. Not left to the collector: before 3.13 it crashes where such a thing is in a cycle."""
    made = []
    yield made
    made.clear()


@pytest.fixture
def loop(debug, clock, reports):
    loop = Loop(debug, clock=clock, selector=VirtualSelector(clock))
    loop.on_error += reports.note
    yield loop
    finish(loop)


def finish(loop):
    """Aborts what is open and closes the loop, without the warning that close() gives in debug mode."""
    if not loop.closed:
        for handle in loop.handles:
            handle.abort()
        loop.run_once(0)
        loop.close()


def turn(loop, times=1):
    for _ in range(times):
        loop.run_once(0)


class Turning:
    """Turns a `loop` on a virtual `clock`, for what has both."""

    def turn(self, times=1):
        turn(self.loop, times)

    def until(self, met, patience=20.0):
        """Turns the loop until `met()`; no virtual time passes."""
        end = time.monotonic() + patience
        while not met():
            assert time.monotonic() < end, "waited for %s" % met
            self.loop.run_once(0)

    def wait(self, seconds):
        """Virtual seconds pass, each timer at its time."""
        end = self.clock() + seconds
        while self.clock() < end:
            self.loop.run_once(end - self.clock())
        self.turn(2)


def watch(handle, *events):
    """A list that gets (event, ...) for each of `events` ("recv", "error", "close", ...), in the order they come."""
    seen = []

    def slot(event):
        def note(_, *rest):
            seen.append((event, *(bytes(arg) if type(arg) is memoryview else arg for arg in rest)))
        return note

    for event in events:
        getattr(handle, "on_" + event).attach(slot(event))
    return seen


def names(seen):
    return [event[0] for event in seen]


def verbs(sock, *of):
    """The names of the calls a scripted socket met, those among `of` only."""
    return [call[0] for call in sock.calls if call[0] in of]


def collect():
    """Has everything collected that can be: PyPy needs more than one pass."""
    for _ in range(3):
        gc.collect()
