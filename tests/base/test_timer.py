"""Timer and Idler: once, again and again, without drift and without bursts; and cheap to cancel."""
import gc
import weakref
from functools import partial

import pytest

from icey import Loop, StateError, Timer
from tests.support import seeds
from tests.support.loops import Clock, clock, debug, loop  # noqa: F401


@pytest.fixture
def at(loop, clock):
    """Goes to a time (seconds after the start) and lends the loop a turn there."""
    def go(when):
        clock.advance(1000 + when - clock())
        return loop.run_once(0)
    return go


def test_a_timer_is_made_stopped(loop, at):
    seen = []
    timer = Timer(loop, 0, seen.append)
    assert not timer.active and timer.count == 0
    assert at(100) is False
    assert seen == []


def test_it_calls_fn_with_the_timer_then_emits_on_timeout(loop, at):
    seen = []
    timer = Timer(loop, 2, lambda timer: seen.append(("fn", timer)))
    timer.on_timeout += lambda timer: seen.append(("slot", timer))
    assert timer.start() is timer
    assert timer.active
    at(1.99)
    assert seen == []
    assert at(2) is False
    assert seen == [("fn", timer), ("slot", timer)]
    assert timer.count == 1 and not timer.active and not timer.closing


def test_fn_is_optional(loop, at):
    timer = Timer(loop, 1).start()
    at(1)
    assert timer.count == 1


def test_timers_fire_in_the_order_of_their_times_equals_in_that_of_their_starts(loop, at):
    seen = []
    for delay, name in [(3, "e"), (1, "a"), (2, "c"), (1, "b"), (2, "d")]:
        loop.call_later(delay, seen.append, name)
    at(10)
    assert "".join(seen) == "abcde"


def test_start_again_counts_anew(loop, at):
    timer = Timer(loop, 2).start()
    at(1)
    timer.start()
    at(2)
    assert timer.count == 0
    at(3)
    assert timer.count == 1
    timer.start()
    at(5)
    assert timer.count == 2


def test_stop_and_start(loop, at):
    timer = Timer(loop, 1).start()
    timer.stop()
    timer.stop()
    assert not timer.active
    assert at(5) is False
    assert timer.count == 0
    timer.start()
    at(6)
    assert timer.count == 1


def test_again_counts_the_interval_and_where_there_is_none_the_delay(loop, at):
    beat, single = Timer(loop, 1, interval=5).start(), Timer(loop, 1).start()
    beat.again()
    single.again()
    at(1)
    assert (beat.count, single.count) == (0, 1)
    at(5)
    assert beat.count == 1
    beat.stop()


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf")])
def test_delay_and_interval_are_finite_seconds_of_at_least_0(loop, delay):
    with pytest.raises(ValueError, match="delay must be a finite number of seconds"):
        Timer(loop, delay)
    with pytest.raises(ValueError, match="interval must be"):
        Timer(loop, 0, interval=delay)
    with pytest.raises(ValueError):
        loop.call_later(delay, int)
    with pytest.raises(TypeError):
        Timer(loop, "soon")


# intervals

def test_an_interval_keeps_its_beat_without_drift(loop, at):
    fired = []
    timer = Timer(loop, 1, lambda timer: fired.append(loop.now - 1000), interval=2).start()
    for when in (1.25, 3.5, 5.75, 7.25, 9.0):
        at(when)
        at(when + 0.125)
    assert fired == [1.25, 3.5, 5.75, 7.25, 9.0]
    assert loop.timeout() == 11 - 9.125
    timer.stop()


def test_beats_missed_while_the_loop_was_held_are_skipped_not_made_up_for(loop, at):
    timer = Timer(loop, 1, interval=1).start()
    at(1)
    at(7.5)
    at(7.75)
    assert timer.count == 2
    at(8)
    assert timer.count == 3
    timer.stop()


def test_a_beat_that_is_a_whole_number_of_intervals_late_is_one_beat(loop, at):
    timer = Timer(loop, 1, interval=1).start()
    at(4)
    at(4)
    assert timer.count == 1
    at(5)
    assert timer.count == 2
    timer.stop()


def test_an_interval_of_0_fires_once_a_turn(loop, at):
    timer = Timer(loop, 0, interval=0).start()
    for turn in range(1, 4):
        at(turn)
        assert timer.count == turn
    timer.stop()


def test_an_interval_below_the_clocks_precision_fires_once_a_turn(loop, at):
    timer = Timer(loop, 0, interval=1e-300).start()
    at(1)
    at(1)
    assert timer.count == 2
    timer.stop()


@pytest.mark.parametrize("interval", [1e-320, 5e-324, 1e-307])
def test_an_interval_that_goes_into_the_time_missed_more_often_than_a_float_can_tell_fires_once_a_turn(loop, clock, interval):
    timer = Timer(loop, 0, interval=interval).start()
    for count in (1, 2, 3):
        clock.advance(1000.0)
        loop.run_once(0)
        assert timer.count == count
    timer.close()
    loop.run()


def test_stop_from_within_the_callback_ends_an_interval(loop, at):
    timer = Timer(loop, 1, Timer.stop, interval=1).start()
    at(1)
    assert at(2) is False
    assert timer.count == 1


def test_start_from_within_the_callback_counts_the_delay(loop, at):
    timer = Timer(loop, 3, Timer.start, interval=1).start()
    at(3)
    at(5)
    assert timer.count == 1
    at(6)
    assert timer.count == 2
    timer.stop()


def test_close_from_within_fn_keeps_on_timeout_silent(loop, at):
    seen = []
    timer = Timer(loop, 1, Timer.close, interval=1)
    timer.on_timeout += seen.append
    timer.on_close += lambda timer: seen.append("closed")
    timer.start()
    at(5)
    assert seen == ["closed"]


# closing

def test_close_stops_and_emits_on_close_once(loop, at):
    closed = []
    timer = Timer(loop, 1, print).start()
    timer.on_close += closed.append
    timer.close()
    assert timer.closing and not timer.closed and not timer.active
    timer.close()
    timer.abort()
    timer.stop()
    assert at(5) is False
    assert closed == [timer] and timer.closed


@pytest.mark.parametrize("verb", ["start", "again"])
def test_start_after_close_is_StateError(loop, at, verb):
    timer = Timer(loop, 1)
    timer.close()
    with pytest.raises(StateError, match=verb + r"\(\) on a Timer that is closing"):
        getattr(timer, verb)()
    at(0)
    with pytest.raises(StateError, match=verb + r"\(\) on a Timer that is closed"):
        getattr(timer, verb)()


# many

def test_timers_never_leak(loop, at):
    gone = []
    for delay in (1, 2):
        timer = Timer(loop, delay, lambda timer: None).start()
        gone.append(weakref.ref(timer))
        if delay == 2:
            timer.stop()
    timer = None
    at(5)
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert loop.handles == ()


@pytest.mark.parametrize("thousands", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_thousands_of_cancelled_timers_are_swept(loop, at, thousands):
    living = loop.call_later(1, int)
    for _ in range(thousands):
        for timer in [loop.call_later(1000, int) for _ in range(1000)]:
            timer.stop()
        assert len(loop._timers) < 2200
    assert len(loop._timers) < 200
    assert loop.handles == (living,)
    at(1)
    assert living.count == 1


def test_restarting_one_timer_for_ever_keeps_the_heap_small(loop, at):
    timer = Timer(loop, 10)
    for _ in range(10000):
        timer.start()
    assert len(loop._timers) < 200
    at(10)
    assert timer.count == 1 and loop._timers == [] and loop._dead_timers == 0


def test_timers_cancelled_by_one_of_their_turn_leave_the_account_right(loop, at):
    others = []
    loop.call_later(1, lambda: [timer.stop() for timer in others])
    others += [loop.call_later(1, others.clear) for _ in range(200)]
    at(1)
    assert loop._timers == [] and loop._dead_timers == 0


class Model:
    """Timers in the plainest words: a list, and the smallest first."""

    def __init__(self):
        self.entries = []
        self.started = 0

    def start(self, who, when):
        self.stop(who)
        self.started += 1
        self.entries.append((when, self.started, who))

    def stop(self, who):
        self.entries = [entry for entry in self.entries if entry[2] != who]

    def fire(self, now, intervals):
        fired = []
        last = self.started
        for entry in sorted(self.entries):
            when, number, who = entry
            if when <= now and number <= last:
                self.stop(who)
                if intervals[who] is not None:
                    while when <= now:
                        when += intervals[who]
                    self.start(who, when)
                fired.append(who)
        return fired


def test_random_starts_stops_and_times_are_those_of_a_naive_model():
    dice = seeds.rng()
    for _ in range(30):
        clock, fired, model = Clock(0), [], Model()
        intervals = [dice.choice([None, None, 0.25, 0.5, 2]) for _ in range(100)]
        delays = [dice.randrange(12) / 4 for _ in range(100)]

        def fire(who, timer, fired=fired):
            fired.append(who)

        with Loop(False, clock=clock) as loop:
            timers = [Timer(loop, delays[who], partial(fire, who), interval=intervals[who])
                      for who in range(100)]
            for _ in range(300):
                who, what = dice.randrange(100), dice.random()
                if what < 0.6:
                    timers[who].start()
                    model.start(who, clock() + delays[who])
                elif what < 0.85:
                    timers[who].stop()
                    model.stop(who)
                elif what < 0.9:
                    timers[who].again()
                    model.start(who, clock() + (delays[who] if intervals[who] is None else intervals[who]))
                else:
                    clock.advance(dice.randrange(8) / 4)
                    loop.run_once(0)
                    assert fired == model.fire(clock(), intervals)
                    del fired[:]
                    assert {timer for timer in timers if timer.active} == set(loop.handles)
                    assert len(loop.handles) == len(model.entries)
