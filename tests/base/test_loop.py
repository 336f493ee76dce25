"""Loop: running, stopping, the order of a turn, and the three ways to have something called."""
import selectors
import socket

import pytest

from icey import Idler, Loop, Poll, StateError, Stream, Synchronizer, TCPListener, Timer
from icey.base import log
from tests.support.loops import clock, debug, loop  # noqa: F401


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


# run

def test_run_goes_on_until_nothing_keeps_the_loop_alive(loop):
    seen = []

    def count_down(left):
        seen.append(left)
        if left:
            loop.call_soon(count_down, left - 1)

    loop.call_soon(count_down, 3)
    loop.run()
    assert seen == [3, 2, 1, 0]


def test_run_returns_at_once_where_nothing_keeps_the_loop_alive(loop, clock):
    reads = clock.reads
    loop.run()
    assert clock.reads == reads, "not one turn"


def test_run_can_be_called_again(loop):
    seen = []
    for number in range(3):
        loop.call_soon(seen.append, number)
        loop.run()
    assert seen == [0, 1, 2]


KEEPERS = {
    "started timer": lambda loop, sock: Timer(loop, 1).start(),
    "started idler": lambda loop, sock: Idler(loop, lambda idler: None).start(),
    "open socket": lambda loop, sock: Stream(loop, sock.dup()),
    "listener": lambda loop, sock: TCPListener(loop, ("127.0.0.1", 0)),
    "Synchronizer": lambda loop, sock: Synchronizer(loop, lambda: None),
}


@pytest.mark.parametrize("kind", KEEPERS)
def test_what_is_held_by_the_loop_keeps_it_alive_and_unref_takes_it_out(loop, pair, kind):
    handle = KEEPERS[kind](loop, pair[0])
    assert loop.run_once(0)
    assert handle.has_ref and handle in loop.handles
    handle.unref()
    assert not handle.has_ref
    assert not loop.run_once(0)
    loop.run()
    handle.unref()
    handle.ref()
    handle.ref()
    assert handle.has_ref
    assert loop.run_once(0)
    handle.close()
    assert loop.run_once(0) is False
    assert handle.closed and loop.handles == ()


def test_a_watching_poll_keeps_the_loop_alive(loop, pair):
    poll = Poll(loop, pair[0])
    assert not loop.run_once(0)
    poll.on_readable += print
    assert loop.run_once(0)
    poll.on_readable -= print
    assert not loop.run_once(0)


def test_posted_and_soon_calls_keep_the_loop_alive(loop):
    seen = []
    loop.post(seen.append, "posted")
    loop.run()
    loop.call_soon(seen.append, "soon")
    loop.run()
    assert seen == ["posted", "soon"]


def test_a_closing_handle_keeps_the_loop_alive_until_its_on_close(loop):
    closed = []
    timer = Timer(loop, 1)
    timer.on_close += closed.append
    timer.close()
    loop.run()
    assert closed == [timer]


def test_unref_before_the_start_counts_too(loop):
    timer = Timer(loop, 1)
    timer.unref()
    timer.start()
    loop.run()
    timer.ref()
    assert loop.run_once(0)
    timer.stop()


def test_unrefd_work_is_done_while_something_else_keeps_the_loop_alive(loop, clock):
    seen = []
    loop.call_later(1, seen.append, "beside").unref()
    loop.call_later(2, seen.append, "main")
    clock.advance(2)
    loop.run()
    assert seen == ["beside", "main"]


# stop

def test_stop_ends_run_after_this_turn(loop):
    seen = []
    Idler(loop, lambda idler: seen.append("idle")).start()
    loop.call_soon(loop.stop)
    loop.call_soon(seen.append, "the rest of the turn")
    loop.run()
    assert seen == ["the rest of the turn", "idle"]


def test_stop_on_a_loop_that_does_not_run_makes_the_next_run_return_after_one_turn(loop):
    count = []
    idler = Idler(loop, count.append).start()
    loop.stop()
    loop.run()
    assert len(count) == 1
    loop.call_soon(lambda: loop.call_soon(loop.stop))
    loop.run()
    assert len(count) == 3, "the stop before was used up"
    idler.close()


def test_a_stopped_run_does_not_sleep(loop):
    timer = loop.call_later(3600, print)
    loop.stop()
    loop.run()
    assert timer.active
    timer.stop()


# nested runs

@pytest.mark.parametrize("outer", ["run", "run_once"])
@pytest.mark.parametrize("inner", ["run", "run_once"])
def test_a_nested_run_is_StateError(loop, outer, inner):
    caught = []

    def nest():
        with pytest.raises(StateError, match=inner + r"\(\) inside a running loop") as info:
            getattr(loop, inner)()
        caught.append(info.value)
        assert loop.running

    loop.call_soon(nest)
    getattr(loop, outer)()
    assert len(caught) == 1
    assert not loop.running


def test_running_says_whether_it_is_inside_run_or_run_once(loop):
    seen = []
    loop.call_soon(lambda: seen.append(loop.running))
    loop.run_once(0)
    loop.call_soon(lambda: seen.append(loop.running))
    loop.run()
    assert seen == [True, True]
    assert not loop.running


# run_once

def test_run_once_is_true_while_something_is_left_to_do(loop):
    assert loop.run_once(0) is False
    loop.call_soon(loop.call_soon, int)
    assert loop.run_once() is True
    assert loop.run_once() is False


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), -0.001])
def test_run_once_refuses_a_timeout_that_is_no_time_span(loop, timeout):
    with pytest.raises(ValueError, match="timeout"):
        loop.run_once(timeout)


class Recording(selectors.SelectSelector):
    """Remembers the timeouts it was asked for; waits for nothing."""

    def __init__(self):
        super().__init__()
        self.timeouts = []

    def select(self, timeout=None):
        self.timeouts.append(timeout)
        return super().select(0)


@pytest.fixture
def recorded(debug, clock):
    selector = Recording()
    loop = Loop(debug, clock=clock, selector=selector)
    yield loop, selector.timeouts
    loop.close()


def test_run_once_waits_at_most_its_timeout_and_not_past_the_next_timer(recorded, clock):
    loop, timeouts = recorded
    timer = loop.call_later(2, int)
    for timeout in (None, 5, 1.5, 0):
        loop.run_once(timeout)
    clock.advance(3)
    loop.call_later(9, int).unref()
    timer.stop()
    loop.run_once(None)
    assert timeouts == [2, 2, 1.5, 0, 9]


def test_a_late_timer_is_not_waited_for(recorded, clock):
    loop, timeouts = recorded
    loop.call_later(2, int)
    clock.advance(3)
    loop.run_once(None)
    assert timeouts == [0]


def test_the_loop_does_not_sleep_while_calls_or_idlers_wait(recorded):
    loop, timeouts = recorded
    loop.call_soon(int)
    loop.run_once(None)
    idler = Idler(loop, lambda idler: None).start()
    loop.run_once(None)
    idler.close()
    loop.run_once(None)
    loop.run_once(None)
    assert timeouts == [0, 0, 0, None]


def test_a_wait_is_never_longer_than_the_system_can_count(recorded):
    loop, timeouts = recorded
    loop.run_once(1e12)
    timer = loop.call_later(1e12, int)
    loop.run_once()
    assert timeouts == [86400, 86400]
    timer.stop()


def test_a_timer_in_thirty_years_does_not_overflow_the_wait(loop, pair):
    loop.call_later(1e9, int)
    poll = Poll(loop, pair[0])
    poll.on_writable += lambda poll: loop.stop()
    loop.run()
    poll.close()


# a turn

def test_a_turn_runs_timers_calls_ready_descriptors_idlers_and_closing_in_this_order(loop, pair):
    seen = []
    poll = Poll(loop, pair[0])
    idler = Idler(loop, lambda idler: seen.append("idler"))
    closing = Timer(loop, 1)
    closing.on_close += lambda timer: seen.append("closing")
    closing.close()
    idler.start()
    poll.on_writable += lambda poll: seen.append("descriptor")
    loop.call_soon(seen.append, "soon")
    loop.post(seen.append, "posted")
    loop.call_later(0, seen.append, "timer")
    loop.run_once(0)
    assert seen == ["timer", "soon", "posted", "descriptor", "idler", "closing"]
    poll.close()
    idler.close()


def test_a_call_made_by_a_timer_runs_in_the_same_turn_one_made_by_a_call_in_the_next(loop):
    seen = []
    loop.call_later(0, loop.call_soon, loop.call_soon, seen.append, "next")
    loop.call_later(0, loop.call_soon, seen.append, "this")
    loop.run_once(0)
    assert seen == ["this"]
    loop.run_once(0)
    assert seen == ["this", "next"]


def test_a_timer_started_by_a_timer_waits_for_the_next_turn(loop):
    seen = []
    loop.call_later(0, loop.call_later, 0, seen.append, "second")
    loop.call_later(0, seen.append, "first")
    loop.run_once(0)
    assert seen == ["first"]
    loop.run_once(0)
    assert seen == ["first", "second"]


def test_the_clock_is_read_twice_a_turn_and_now_stands_still_in_it(loop, clock):
    def look():
        seen.append(loop.now)
        clock.advance(1)

    seen = []
    loop.call_soon(look)
    loop.call_soon(look)
    reads = clock.reads
    loop.run_once(0)
    if not loop.debug:  # there callbacks are watched, by the same clock
        assert clock.reads == reads + 2  # when it wakes; and at its end, to know of a slot that held it
    assert seen == [1000, 1000]
    loop.run_once(0)
    assert loop.now == 1002


def test_a_handle_closed_earlier_in_the_turn_is_not_called_any_more(loop, pair):
    polls = [Poll(loop, sock) for sock in pair]
    called = []

    def close_the_other(poll):
        called.append(poll)
        polls[polls.index(poll) - 1].close()

    for poll in polls:
        poll.on_writable += close_the_other
    loop.run_once(0)
    assert len(called) == 1
    called[0].close()


def test_an_idler_stopped_earlier_in_the_turn_is_not_called_any_more(loop):
    seen = []

    def first_one(idler):
        seen.append("first")
        second.stop()

    first = Idler(loop, first_one).start()
    second = Idler(loop, lambda idler: seen.append("second")).start()
    loop.run_once(0)
    assert seen == ["first"]
    first.stop()


def test_a_timer_stopped_by_an_earlier_one_of_the_turn_is_not_called_any_more(loop):
    seen = []
    loop.call_later(0, lambda: second.stop())
    second = loop.call_later(0, seen.append, "second")
    loop.call_later(0, seen.append, "third")
    loop.run_once(0)
    assert seen == ["third"]


# callbacks

@pytest.mark.parametrize("verb", ["call_soon", "post", "call_later"])
def test_call_later_call_soon_and_post_call_fn_with_their_arguments(loop, verb):
    seen = []
    before = (0,) if verb == "call_later" else ()
    getattr(loop, verb)(*before, lambda *args: seen.append(args))
    getattr(loop, verb)(*before, lambda *args: seen.append(args), 1, "two", None)
    loop.run_once(0)
    assert seen == [(), (1, "two", None)]


def test_call_later_returns_a_started_timer_whose_stop_cancels(loop):
    seen = []
    timer = loop.call_later(0, seen.append, "never")
    assert isinstance(timer, Timer) and timer.active
    timer.stop()
    assert loop.run_once(0) is False
    assert seen == []


# state and making

def test_handles_are_those_open_and_active(loop, pair):
    waiting, started = Timer(loop, 1), Timer(loop, 1).start()
    again = Timer(loop, 1).start()
    again.start()
    poll = Poll(loop, pair[0])
    assert set(loop.handles) == {started, again} and len(loop.handles) == 2
    poll.on_readable += print
    assert set(loop.handles) == {started, again, poll}
    poll.close()
    started.stop()
    again.close()
    loop.run()
    assert loop.handles == ()
    assert not waiting.active


def test_repr_tells_the_state(debug):
    with Loop(debug) as loop:
        seen = []
        loop.call_soon(lambda: seen.append(repr(loop)))
        assert repr(loop) == "<Loop idle, 0 handles>"
        loop.run()
        assert seen == ["<Loop running, 0 handles>"]
    assert repr(loop) == "<Loop closed, 0 handles>"


@pytest.mark.parametrize("value, debug", [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
def test_debug_None_asks_the_environment(monkeypatch, value, debug):
    monkeypatch.delenv("ICEY_DEBUG", raising=False)
    if value is not None:
        monkeypatch.setenv("ICEY_DEBUG", value)
    with Loop() as loop:
        assert loop.debug is debug
    with Loop(not debug) as loop:
        assert loop.debug is not debug


def test_the_selector_handed_in_is_used_and_owned(debug):
    selector = selectors.SelectSelector()
    with Loop(debug, selector=selector) as loop:
        assert len(selector.get_map()) == 1
        loop.call_soon(int)
        loop.run()
    assert selector.get_map() is None


class Refusing(selectors.SelectSelector):
    def register(self, fileobj, events, data=None):
        raise OSError("no room")


def test_a_loop_that_cannot_be_made_leaves_nothing_open():
    with pytest.raises(OSError, match="no room"):
        Loop(selector=Refusing())


def test_a_loop_that_was_refused_its_arguments_is_collected_in_silence(capsys):
    with pytest.raises(TypeError):
        Loop(True, "a second argument")
    assert capsys.readouterr().err == ""


def test_two_loops_live_side_by_side(debug):
    seen = []
    with Loop(debug) as one, Loop(debug) as other:
        one.call_soon(seen.append, "one")
        other.call_soon(seen.append, "other")
        one.call_soon(other.run)
        one.run()
    assert seen == ["one", "other"]


# watch_turns()

def test_who_watches_turns_is_told_how_long_each_took(loop, clock):
    told = []
    loop.watch_turns(told.append)
    loop.call_soon(clock.advance, 0.25)
    loop.run_once(0)
    loop.run_once(0)
    loop.unwatch_turns(told.append)
    loop.unwatch_turns(told.append)
    loop.run_once(0)
    assert told == [0.25, 0.0]


def test_a_watcher_that_raises_is_reported_and_ends_no_turn(loop):
    def fail(seconds):
        raise ValueError(seconds)

    reports = []
    loop.on_error += lambda loop, exc, handle: reports.append(type(exc))
    loop.watch_turns(fail)
    loop.run_once(0)
    loop.unwatch_turns(fail)
    assert reports == [ValueError]


# watch_calls(), watch_reports()

def test_who_watches_calls_is_told_of_each_callback_what_it_was_and_how_long_it_took(loop, clock):
    told = []

    def watch(on, callback, seconds):
        assert on is loop
        told.append((getattr(callback, "__self__", callback), seconds))

    def work(*args):
        clock.advance(0.25)

    timer, idler = Timer(loop, 0, work).start(), Idler(loop, work).start()
    loop.call_soon(work)
    loop.watch_calls(watch)
    loop.run_once(0)
    idler.close()
    loop.run_once(0)
    assert told == [(timer, 0.25), (work, 0.25), (idler, 0.25), (idler, 0.0)], "in the order of a turn; last the idler's end"
    loop.unwatch_calls(watch)
    loop.unwatch_calls(watch)
    loop.call_soon(work)
    loop.run_once(0)
    assert len(told) == 4


def test_who_watches_long_calls_is_told_of_no_other(loop, clock):
    long, longer, every = [], [], []
    watchers = [(lambda loop, callback, seconds, told=told: told.append(round(seconds, 3))) for told in (long, longer, every)]
    for watch, over in zip(watchers, (0.19, 0.29, 0.0)):
        loop.watch_calls(watch, over)
    for seconds in (0.1, 0.25, 0.0, 0.3):
        loop.call_soon(clock.advance, seconds)
    near, far = socket.socketpair()
    poll = Poll(loop, far.fileno())
    poll.on_readable += lambda poll: (clock.advance(0.5), far.recv(1))
    near.send(b"x")
    loop.run_once(0)
    assert (long, longer, every) == ([0.25, 0.3, 0.5], [0.3, 0.5], [0.1, 0.25, 0.0, 0.3, 0.5])
    loop.unwatch_calls(watchers[2])
    for seconds in (0.1, 0.2):
        loop.call_soon(clock.advance, seconds)
    loop.run_once(0)
    assert (long[3:], longer[2:], every[5:]) == ([0.2], [], [])
    for watch in watchers:
        loop.unwatch_calls(watch)
    poll.abort()
    loop.run_once(0)
    near.close()
    far.close()


def test_a_turn_that_is_watched_does_the_same_as_one_that_is_not(debug):
    """What was made in a turn waits for the next; what raises ends nothing."""
    def played(watched):
        seen, reports = [], []
        with Loop(debug) as loop:
            loop.on_error += lambda loop, exc, handle: reports.append((type(exc), type(handle).__name__))
            if watched:
                loop.watch_calls(lambda loop, callback, seconds: None)

            def again(*args):
                seen.append("call")
                loop.call_soon(seen.append, "made by a call")
                loop.call_later(0, seen.append, "timer made by a call")
                raise KeyError("of a call")

            def of_timer(timer):
                seen.append("timer")
                loop.call_later(0, seen.append, "timer made by a timer")
                raise ValueError("of a timer")

            def of_idler(idler):
                seen.append("idler")
                idler.on_close += lambda idler: seen.append("idler closed")
                idler.close()
                raise IndexError("of an idler")

            timer, stopped = Timer(loop, 0, of_timer).start(), Timer(loop, 0, of_timer).start()
            stopped.stop()
            Idler(loop, of_idler).start()
            loop.call_soon(again)
            for turn in range(4):
                seen.append(turn)
                loop.run_once(0)
            assert timer.count == 1
        return seen, reports

    assert played(True) == played(False)
    assert played(True)[1] == [(ValueError, "Timer"), (KeyError, "NoneType"), (IndexError, "Idler")]


def test_a_watcher_of_calls_that_raises_is_reported_and_ends_no_turn(loop):
    seen, reports = [], []

    def fail(loop, callback, seconds):
        raise ValueError(seconds)

    loop.on_error += lambda loop, exc, handle: reports.append(type(exc))
    loop.watch_calls(fail)
    loop.call_soon(seen.append, 1)
    loop.call_soon(seen.append, 2)
    loop.run_once(0)
    loop.unwatch_calls(fail)
    assert (seen, reports) == ([1, 2], [ValueError, ValueError])


def test_who_watches_reports_hears_of_each_and_takes_none_away(loop, monkeypatch):
    heard, logged = [], []
    monkeypatch.setattr(log, "_write", lambda level, area, text, args, exc: logged.append(type(exc)))

    def watch(on, exc, handle):
        heard.append((on is loop, type(exc), handle))
        raise TypeError("of the watcher")

    loop.watch_reports(watch)
    loop.call_soon(fail_with, KeyError)
    loop.run_once(0)
    assert heard == [(True, KeyError, None)]
    assert logged == [TypeError, KeyError], "nobody is attached to on_error: it is logged as ever"
    loop.unwatch_reports(watch)
    loop.unwatch_reports(watch)
    loop.call_soon(fail_with, KeyError)
    loop.run_once(0)
    assert len(heard) == 1


def fail_with(error):
    raise error()
