"""A loop inside another main loop: fileno() and timeout() say when, run_once(0) does it."""
import select
import selectors
import socket

import pytest

from icey import Idler, Loop, Poll, StateError, Timer
from tests.support.loops import clock, debug, in_thread, loop  # noqa: F401


def outer_turn(loop):
    """What a foreign main loop does: waits for the descriptor as long as timeout() says, then lends a turn."""
    readable, _, _ = select.select([loop.fileno()], [], [], loop.timeout())
    return loop.run_once(0), bool(readable)


@pytest.mark.needs("selectors")
def test_an_outer_select_loop_drives_timers_calls_descriptors_and_posts(debug):
    near, far = socket.socketpair()
    seen = []
    with near, far, Loop(debug) as loop:
        poll = Poll(loop, near)
        poll.on_readable += lambda poll: (seen.append(near.recv(10)), poll.close())
        loop.call_soon(seen.append, "soon")
        assert outer_turn(loop) == (True, False)
        far.send(b"descriptor")
        assert outer_turn(loop) == (False, True)
        in_thread(loop.post, seen.append, "posted")
        assert outer_turn(loop) == (False, True)
        loop.call_later(0.001, seen.append, "timer")
        while outer_turn(loop)[0]:
            pass
    assert seen == ["soon", b"descriptor", "posted", "timer"]


@pytest.mark.needs("selectors")
def test_a_post_between_two_turns_makes_the_descriptor_readable(loop):
    assert select.select([loop.fileno()], [], [], 0)[0] == []
    loop.run_once(0)
    in_thread(loop.post, int)
    assert select.select([loop.fileno()], [], [], 60)[0] == [loop.fileno()]
    loop.run_once(0)
    assert select.select([loop.fileno()], [], [], 0)[0] == []


def test_timeout_is_None_when_the_loop_wants_no_turn_by_itself(loop):
    assert loop.timeout() is None


def test_timeout_is_0_when_there_is_something_to_do_at_once(loop):
    loop.call_soon(int)
    assert loop.timeout() == 0
    loop.run_once(0)
    assert loop.timeout() is None
    idler = Idler(loop, int).start()
    assert loop.timeout() == 0
    idler.close()
    assert loop.timeout() == 0, "the closing phase"
    loop.run_once(0)
    assert loop.timeout() is None
    loop.stop()
    assert loop.timeout() == 0


def test_timeout_is_the_time_to_the_next_living_timer(loop, clock):
    first, second = Timer(loop, 2).start(), Timer(loop, 5).start()
    assert loop.timeout() == 2
    clock.advance(1)
    assert loop.timeout() == 1
    first.stop()
    assert loop.timeout() == 4
    clock.advance(100)
    assert loop.timeout() == 0
    second.stop()
    assert loop.timeout() is None


@pytest.mark.parametrize("kind", [getattr(selectors, name) for name in ("SelectSelector", "PollSelector")
                                  if hasattr(selectors, name)])
def test_a_selector_without_a_descriptor_is_StateError_that_says_what_to_do(debug, kind):
    with Loop(debug, selector=kind()) as loop:
        with pytest.raises(StateError, match=r"%s.*run_once\(0\)" % kind.__name__):
            loop.fileno()
        assert loop.timeout() is None


@pytest.mark.skipif(not hasattr(selectors, "EpollSelector"), reason="this platform has no epoll")
def test_a_selector_handed_in_lends_its_own_descriptor(debug):
    selector = selectors.EpollSelector()
    with Loop(debug, selector=selector) as loop:
        assert loop.fileno() == selector.fileno()


def test_fileno_of_a_closed_loop_is_StateError(debug):
    loop = Loop(debug)
    loop.close()
    with pytest.raises(StateError, match=r"fileno\(\) on a closed loop"):
        loop.fileno()
