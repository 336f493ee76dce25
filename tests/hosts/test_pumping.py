"""pump: turns until nothing is ready, or the budget is gone; it never waits."""
import socket

import pytest

from icey import Idler, Stream
from icey.hosts import pump
from tests.support.loops import clock, debug, loop  # noqa: F401


def test_all_that_is_ready_is_done(loop):
    seen = []

    def again(left):
        seen.append(left)
        if left:
            loop.call_soon(again, left - 1)

    loop.call_soon(again, 5)
    assert pump(loop) is False
    assert seen == [5, 4, 3, 2, 1, 0]


def test_what_comes_in_by_descriptors_counts_as_ready(loop):
    near, far = socket.socketpair()
    with far:
        stream = Stream(loop, near)
        seen = []
        stream.on_recv += lambda stream, view: (seen.append(bytes(view)), far.send(b"more") if len(seen) < 5 else None)
        far.send(b"some")
        assert pump(loop) is True
        assert seen == [b"some"] + [b"more"] * 4
        stream.close()
        assert pump(loop) is False


def test_it_does_not_wait(loop, clock):
    fired = []
    loop.call_later(5, fired.append, 1)
    assert pump(loop) is True
    clock.advance(5)
    assert pump(loop) is False
    assert fired == [1]


def test_the_budget_ends_it(loop, clock):
    turns = []
    idler = Idler(loop, lambda idler: (turns.append(1), clock.advance(0.0015))).start()
    assert pump(loop) is True
    assert len(turns) == 2
    assert pump(loop, budget=0.1) is True
    assert len(turns) == 2 + 67
    idler.close()
    assert pump(loop) is False


def test_no_budget_is_one_turn(loop):
    seen = []
    loop.call_soon(lambda: loop.call_soon(seen.append, 2))
    assert pump(loop, 0) is True
    assert seen == []


@pytest.mark.parametrize("budget, error", [(-1, ValueError), ("2", TypeError)])
def test_what_is_no_time_is_refused(loop, budget, error):
    with pytest.raises(error, match="budget"):
        pump(loop, budget)


def test_what_is_no_loop_is_refused(loop):
    for wrong in (None, 0.002, Stream):
        with pytest.raises(TypeError, match=r"pump\(loop, \.\.\.\): the first argument is a Loop"):
            pump(wrong)
