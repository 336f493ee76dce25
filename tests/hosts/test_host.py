"""What all hosts have in common, shown with a main loop that is driven by hand, on a clock that stands still."""
import select
from socket import socketpair

import pytest

from icey import AffinityError, Idler, Loop, Poll, StateError, Timer
from icey.hosts import Host
from tests.support import needs
from tests.support.loops import clock, debug, in_thread, loop  # noqa: F401

needs("selectors")


class HandHost(Host):
    """`watched`: the descriptor, None for none. `delay`: of the timer, None for none. `said`: what was asked for, in order."""

    def __init__(self, loop):
        super().__init__(loop)
        self.watched = self.delay = None
        self.said = []

    def begin(self):
        self.said.append("begin")

    def end(self):
        self.said.append("end")

    def watch(self, fd):
        assert self.watched is None
        self.watched = fd
        self.said.append("watch")

    def unwatch(self):
        assert self.watched is not None
        self.watched = None
        self.said.append("unwatch")

    def arm(self, delay):
        assert self.delay is None
        self.delay = delay
        self.said.append(delay)

    def disarm(self):
        assert self.delay is not None
        self.delay = None
        self.said.append("disarm")

    # the main loop

    @property
    def readable(self):
        return self.watched is not None and bool(select.select([self.watched], [], [], 0)[0])

    def go_on(self, most=100):
        """The main loop, until it would sleep: returns how often it woke."""
        for wakes in range(most):
            if self.readable:
                self.turn()
            elif self.delay == 0:
                self.time_comes()
            else:
                return wakes
        pytest.fail("it does not sleep: %r" % self.said)

    def time_comes(self):
        self.delay = None
        self.due()


@pytest.fixture
def host(loop):
    with HandHost(loop) as host:
        yield host


def test_a_started_host_waits_for_the_descriptor_and_sets_no_timer(host, loop):
    assert host.said == ["begin", "watch"]
    assert host.watched == loop.fileno()
    assert host.go_on() == 0
    assert host.started and repr(host) == "<HandHost, started>"


def test_a_timer_is_set_for_the_loops_next_one_and_taken_back_with_it(host, loop):
    timer = loop.call_later(5, int)
    assert host.go_on() == 1
    assert host.delay == 5
    sooner = loop.call_later(2, int)
    assert host.go_on() == 1
    assert host.delay == 2
    sooner.stop()
    timer.stop()
    loop.call_soon(int)
    host.go_on()
    assert host.delay is None


def test_a_timer_of_the_loop_fires_by_the_hosts_timer(host, loop, clock):
    fired = []
    loop.call_later(5, fired.append, 1)
    host.go_on()
    clock.advance(5)
    host.time_comes()
    assert fired == [1]
    assert host.delay is None and host.go_on() == 0


def test_a_timer_that_stays_is_not_set_anew_in_each_turn(host, loop):
    loop.call_later(5, int)
    host.go_on()
    before = list(host.said)
    for _ in range(10):
        loop.call_soon(int)
        assert host.go_on() == 1
    assert host.said == before


def test_what_was_there_before_the_start_is_done(loop):
    seen = []
    loop.call_soon(seen.append, "soon")
    with HandHost(loop) as host:
        assert seen == [], "not inside of start()"
        host.go_on()
    assert seen == ["soon"]


def test_a_far_timer_is_within_what_main_loops_can_count(host, loop):
    loop.call_later(10.0 ** 9, int)
    host.go_on()
    assert host.delay == 86400


def test_many_turns_in_a_row_let_the_main_loop_breathe(host, loop):
    idler = Idler(loop, int).start()
    for _ in range(8):
        assert host.readable or host.delay is not None
        if host.readable:
            host.turn()
        else:
            host.time_comes()
    assert {0, HandHost.breath} <= set(host.said)
    idler.close()
    host.go_on()


@pytest.fixture
def flood(loop, clock):
    """A descriptor that is always readable, and a slot that takes 3 ms of each turn."""
    near, far = socketpair()
    with near, far:
        far.send(b"x")
        poll = Poll(loop, near.fileno())
        poll.on_readable += lambda poll: clock.advance(0.003)
        yield poll
        if not loop.closed:
            poll.close()
            loop.run()


def test_where_more_comes_in_than_can_be_done_the_main_loop_has_breaths_without_anything_to_watch(host, flood, clock):
    host.said.clear()
    for _ in range(4):
        assert host.readable
        host.turn()
    assert host.said == ["unwatch", HandHost.breath] and host.watched is None
    then = clock()
    host.turn()  # the main loop had found it readable before
    assert clock() == then and host.said == ["unwatch", HandHost.breath]
    clock.advance(HandHost.breath)
    host.time_comes()
    assert host.readable and host.delay is None
    for _ in range(3):
        host.turn()
    assert host.said == ["unwatch", HandHost.breath, "watch", "unwatch", HandHost.breath]
    flood.close()
    clock.advance(HandHost.breath)
    host.time_comes()
    host.go_on()
    assert host.watched is not None and host.delay is None


def test_a_main_loop_that_comes_to_rest_gets_no_breaths(host, loop, flood, clock):
    host.said.clear()
    for _ in range(20):
        host.turn()
        clock.advance(0.01)  # it slept, or did something else
    for _ in range(20):
        loop.call_soon(clock.advance, 0.02)
        loop.call_soon(flood.on_readable.detach_all)  # from here on nothing is ready behind a turn
        host.turn()
    assert "unwatch" not in host.said


def test_stop_in_a_breath(loop, flood):
    host = HandHost(loop).start()
    while host.watched is not None:
        host.turn()
    host.stop()
    assert host.watched is None and host.delay is None
    with host:
        assert host.watched is not None
        while host.watched is not None:
            host.turn()
        loop.close()
        assert host.watched is None and host.delay is None


def test_a_post_from_another_thread_wakes_the_main_loop(host, loop):
    seen = []
    in_thread(loop.post, seen.append, 1)
    assert host.go_on() == 1
    assert seen == [1]


# re-entrance

def test_a_turn_that_is_wanted_within_a_slot_waits_and_nothing_is_watched_meanwhile(host, loop):
    seen = []

    def dialog():
        loop.call_soon(seen.append, "later")
        in_thread(loop.post, seen.append, "posted")
        host.turn()  # the main loop of the dialog found the descriptor readable
        host.turn()  # or had it found already
        host.due()
        assert host.watched is None and host.delay is None
        assert seen == []
        seen.append("dialog closed")

    loop.call_soon(dialog)
    host.go_on()
    assert seen == ["dialog closed", "later", "posted"]
    assert host.watched is not None


def test_a_host_whose_main_loop_runs_inside_of_run_goes_on_behind_the_slot(host, loop):
    seen = []

    def dialog():
        loop.call_later(5, loop.stop)
        host.turn()
        assert host.watched is None
        seen.append("dialog closed")
        loop.call_soon(lambda: seen.append(host.watched is not None))
        loop.call_soon(loop.stop)

    loop.call_soon(dialog)
    loop.run()
    assert seen == ["dialog closed", True]
    host.go_on()
    assert host.delay == 5


@pytest.mark.parametrize("by_hand", [lambda loop: loop.run_once(0), lambda loop: (loop.stop(), loop.run())])
def test_a_dialog_within_the_last_turn_by_another_hand_leaves_a_host_that_goes_on(host, loop, by_hand):
    seen = []

    def dialog():
        loop.call_soon(seen.append, "later")
        host.turn()
        assert host.watched is None and host.delay is None
        host.turn()

    loop.call_soon(dialog)
    by_hand(loop)  # in a callback of the main loop
    assert host.watched is not None and seen == []
    host.go_on()
    loop.call_soon(seen.append, "later still")
    host.go_on()
    assert seen == ["later", "later still"]


def test_stop_within_a_dialog_within_a_slot(loop):
    host = HandHost(loop).start()

    def dialog():
        host.turn()
        host.stop()

    loop.call_soon(dialog)
    host.go_on()
    assert host.said == ["begin", "watch", "unwatch", "end"]
    assert host.watched is None and host.delay is None


# the end

def test_stop_lets_go_and_leaves_the_loop_as_it_is(loop, clock):
    host = HandHost(loop).start()
    fired = []
    loop.call_later(5, fired.append, 1)
    host.go_on()
    host.stop()
    host.stop()
    assert host.said[-3:] == ["unwatch", "disarm", "end"]
    assert not host.started and loop.handles and not loop.closed
    assert host.turn() is False, "one that was under way"
    clock.advance(5)
    loop.run()
    assert fired == [1]


def test_stop_inside_a_callback(loop):
    host = HandHost(loop).start()
    seen = []
    loop.call_soon(host.stop)
    loop.call_soon(seen.append, "the turn comes to its end")
    host.go_on()
    assert not host.started and host.watched is None and host.delay is None
    assert seen == ["the turn comes to its end"]


def test_a_host_starts_again(loop):
    host = HandHost(loop).start()
    host.stop()
    seen = []
    with host:
        loop.call_soon(seen.append, 1)
        host.go_on()
    assert seen == [1]


def test_stop_and_start_in_one_callback(host, loop):
    seen = []
    loop.call_soon(lambda: (host.stop(), host.start()))
    host.go_on()
    assert host.started
    loop.call_soon(seen.append, 1)
    host.go_on()
    assert seen == [1]


def test_a_loop_that_closes_first_stops_its_host_while_the_descriptor_is_open(debug):
    loop = Loop(debug)
    host = HandHost(loop).start()
    host.unwatch = lambda: host.said.append(select.select([host.watched], [], [], 0) and "unwatch")
    loop.call_later(60, int)
    loop.close()
    assert host.said[-2:] == ["unwatch", "end"]
    assert not host.started
    assert host.turn() is False


def test_a_host_keeps_no_loop_running(host, loop):
    loop.run()
    assert host.started


def test_starting_twice_is_StateError_that_teaches(host):
    with pytest.raises(StateError, match=r"start\(\) of a HandHost that is started.*Instead: start it once"):
        host.start()
    assert host.go_on() == 0


def test_a_second_host_for_one_loop_is_StateError(host, loop):
    with pytest.raises(StateError, match="that a HandHost drives.*stop\\(\\) that one"):
        HandHost(loop).start()
    host.stop()
    HandHost(loop).start().stop()


def test_a_host_for_a_closed_loop_is_StateError(debug):
    loop = Loop(debug)
    loop.close()
    with pytest.raises(StateError, match="closed loop"):
        HandHost(loop).start()


def test_a_start_that_fails_leaves_nothing_behind(loop, monkeypatch):
    host = HandHost(loop)
    for name in ("watch", "arm"):
        loop.call_soon(int)

        def fails(*args):
            raise RuntimeError("no")

        with monkeypatch.context() as patch:
            patch.setattr(host, name, fails)
            with pytest.raises(RuntimeError, match="no"):
                host.start()
        assert not host.started and host.watched is None
    assert loop.handles == ()
    host.start().stop()


def test_a_loop_is_the_first_argument():
    with pytest.raises(TypeError, match=r"HandHost\(loop, ...\)"):
        HandHost(None)


def test_another_thread_is_AffinityError(host):
    for fn in (host.start, host.stop):
        with pytest.raises(AffinityError):
            in_thread(fn)


# exceptions

def test_what_a_slot_raises_goes_to_on_error_and_the_host_goes_on(host, loop):
    told, seen = [], []
    loop.on_error += lambda loop, exc, handle: told.append(repr(exc))
    loop.call_soon(lambda: 1 // 0)
    loop.call_soon(seen.append, 1)
    host.go_on()
    assert len(told) == 1 and "ZeroDivisionError" in told[0]
    assert seen == [1]


def test_a_KeyboardInterrupt_passes_and_the_host_goes_on(host, loop, clock):
    def interrupted():
        raise KeyboardInterrupt

    seen = []
    Timer(loop, 5, lambda timer: seen.append("timer")).start()
    loop.call_soon(interrupted)
    loop.call_soon(seen.append, "behind it")
    with pytest.raises(KeyboardInterrupt):
        host.go_on()
    host.go_on()
    assert seen == ["behind it"]
    assert host.delay == 5
    clock.advance(5)
    host.time_comes()
    assert seen == ["behind it", "timer"]


def test_the_methods_of_a_toolkit_are_to_be_overridden(loop):
    host = Host(loop)
    for fn in (lambda: host.watch(0), host.unwatch, lambda: host.arm(0), host.disarm):
        with pytest.raises(NotImplementedError):
            fn()
