"""Loops for the tests: one in each mode, a clock that stands still until told, and work done by another thread.

A test module imports the fixtures it uses: `from tests.support.loops import clock, debug, loop  # noqa: F401`.
"""
import threading

import pytest

from icey import Loop
from icey.tools.testing import VirtualClock
from tests.support import MODES


class Clock(VirtualClock):
    """A clock that goes on when a test says so, and counts how often it was read."""

    def __init__(self, start=1000.0):
        super().__init__(start)
        self.reads = 0

    def __call__(self):
        self.reads += 1
        return super().__call__()


@pytest.fixture(params=MODES)
def debug(request):
    """Debug mode: off, then on."""
    return request.param


@pytest.fixture
def clock():
    """The clock of `loop`."""
    return Clock()


@pytest.fixture
def loop(debug, clock):
    """A loop in release and in debug mode, closed at the end: in debug mode that fails if sockets were left open."""
    loop = Loop(debug, clock=clock)
    yield loop
    loop.close()


def turns(loop, most=100):
    """Turns `loop` until nothing is left to do, without sleeping; fails when that does not come."""
    for _ in range(most):
        if not loop.run_once(0):
            return
    pytest.fail("still alive after %d turns: %r" % (most, loop.handles))


def in_thread(fn, *args):
    """Calls `fn(*args)` in a thread of its own; returns or raises what it did."""
    outcome = []

    def work():
        try:
            outcome.append((fn(*args), None))
        except BaseException as exc:
            outcome.append((None, exc))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert outcome, "%r has not returned" % fn
    result, exc = outcome.pop()
    if exc is not None:
        raise exc
    return result
