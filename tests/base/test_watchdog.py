"""Watchdog: one timer for a deadline that moves, and what does not count against it."""
import pytest

from icey.base.watchdog import Watchdog
from tests.support import streams
from tests.support.streams import Turning

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop


class Watched(Turning):
    """A deadline that a test moves: `due` seconds from the beginning. Looking moves it to `seen`. `events`: when what came."""

    def __init__(self, loop, clock):
        self.loop, self.clock, self._began = loop, clock, loop.now
        self.due, self.seen, self.events = 5.0, None, []
        self.dog = Watchdog(loop, lambda: None if self.due is None else self._began + self.due, self._fall, self._look)
        self.dog.watch()
        loop.call_later(1e6, self.turn)  # something keeps the loop running

    def _note(self, what):
        self.events.append((what, round(self.loop.now - self._began, 3)))

    def _fall(self):
        self._note("fall")

    def _look(self):
        self._note("look")
        if self.seen is not None:
            self.due, self.seen = self.seen, None

    def holds(self, seconds):
        self.loop.call_soon(self.clock.advance, seconds)
        self.turn()


@pytest.fixture
def watched(loop, clock):
    return Watched(loop, clock)


def test_it_looks_and_falls(watched):
    watched.wait(20.0)
    assert watched.events == [("look", 5.0), ("fall", 5.0)] and not watched.dog.watching


def test_a_deadline_that_moved_on_is_not_looked_at(watched):
    watched.wait(4.0)
    watched.due = 9.0
    watched.wait(20.0)
    assert watched.events == [("look", 9.0), ("fall", 9.0)]


def test_looking_may_move_it_on_or_end_it(watched):
    watched.seen = 8.0
    watched.wait(7.0)
    watched.due = None
    watched.wait(20.0)
    assert watched.events == [("look", 5.0)] and not watched.dog.watching


def test_time_in_which_the_loop_was_held_is_added(watched):
    watched.wait(1.0)
    watched.holds(60.0)
    watched.wait(20.0)
    assert watched.events == [("look", 61.0), ("look", 65.0), ("fall", 65.0)]


def test_and_all_of_it_however_often(watched):
    watched.wait(1.0)
    watched.holds(60.0)
    watched.wait(1.0)
    watched.holds(10.0)
    watched.wait(20.0)
    assert watched.events == [("look", 61.0), ("look", 72.0), ("look", 75.0), ("fall", 75.0)]


def test_what_held_the_loop_before_it_moved_on_is_forgotten(watched):
    watched.wait(1.0)
    watched.holds(3.0)
    watched.due = 9.0
    watched.wait(2.0)  # told at 5.0: it has moved on
    watched.due = 12.0
    watched.wait(20.0)
    assert watched.events == [("look", 12.0), ("fall", 12.0)]


def test_what_looking_brings_is_later_than_what_held_the_loop(watched):
    watched.wait(1.0)
    watched.seen = 70.0
    watched.holds(60.0)
    watched.wait(200.0)
    assert watched.events == [("look", 61.0), ("look", 70.0), ("fall", 70.0)]


def test_short_turns_count(watched):
    for _ in range(10):
        watched.holds(0.04)
    watched.wait(20.0)
    assert watched.events == [("look", 5.0), ("fall", 5.0)]
