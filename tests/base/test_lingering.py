"""Watchdog: one timer for a deadline that moves, and that looks before it falls. LingeringClose: the last words of a stream."""
import pytest

import icey
from icey.base.lingering import LingeringClose
from icey.base.watchdog import NEVER, Watchdog
from icey.tools.testing import END, STALL, ScriptedSocket
from tests.support.streams import clock, debug, loop, reports, turn, watch  # noqa: F401


def make(loop, reads=(), writes=()):
    sock = ScriptedSocket(reads, writes)
    return icey.Stream(loop, sock), sock


class Deadline:
    """A deadline to be moved by a test, and what became of it."""

    def __init__(self, loop, seconds):
        self.loop, self.due, self.seen = loop, loop.now + seconds, []
        self.dog = Watchdog(loop, lambda: self.due, lambda: self.seen.append(("fell", loop.now)), self.look)

    def look(self):
        self.seen.append(("looked", self.loop.now))


def names(deadline):
    return [name for name, _ in deadline.seen]


@pytest.fixture
def until(loop, clock):
    """Has the loop run until a time, counted from the test's beginning."""
    start = clock()

    def until(seconds):
        loop.call_later(max(0.0, start + seconds - clock()), loop.stop)
        loop.run()
    return until


def test_it_looks_and_then_it_falls_once(loop, until):
    deadline = Deadline(loop, 5.0)
    deadline.dog.watch()
    assert deadline.dog.watching
    until(4.9)
    assert deadline.seen == []
    until(30.0)
    assert names(deadline) == ["looked", "fell"] and not deadline.dog.watching and deadline.dog.at == NEVER


def test_a_deadline_that_has_moved_on_costs_no_look_and_no_timer_a_move(loop, until):
    deadline = Deadline(loop, 5.0)
    deadline.dog.watch()
    timers = len(loop._timers)
    for _ in range(10):
        until(4.0)
        deadline.due = loop.now + 5.0
        deadline.dog.watch()
        assert len(loop._timers) <= timers + 2
    assert deadline.seen == []


def test_what_looking_finds_moves_the_deadline(loop, until):
    deadline = Deadline(loop, 5.0)

    def look():
        deadline.seen.append(("looked", loop.now))
        if len(deadline.seen) < 3:
            deadline.due = loop.now + 5.0
    deadline.look = look
    deadline.dog = Watchdog(loop, lambda: deadline.due, lambda: deadline.seen.append(("fell", loop.now)), look)
    deadline.dog.watch()
    until(60.0)
    assert [(name, round(when - deadline.seen[0][1], 3)) for name, when in deadline.seen] == [
        ("looked", 0.0), ("looked", 5.0), ("looked", 10.0), ("fell", 10.0)]


def test_a_deadline_that_is_none_when_it_was_due_is_forgotten(loop, until):
    deadline = Deadline(loop, 5.0)
    deadline.dog.watch()
    deadline.due = None
    until(30.0)
    assert deadline.seen == []


def test_looking_may_end_it(loop, until):
    deadline = Deadline(loop, 5.0)
    deadline.dog = Watchdog(loop, lambda: deadline.due, lambda: deadline.seen.append(("fell", 0)), lambda: deadline.dog.stop()
                            or setattr(deadline, "due", None))
    deadline.dog.watch()
    until(30.0)
    assert deadline.seen == []


def test_an_earlier_deadline_is_met(loop, until):
    deadline = Deadline(loop, 50.0)
    deadline.dog.watch()
    deadline.due = loop.now + 5.0
    deadline.dog.wake_by(deadline.due)
    until(6.0)
    assert names(deadline) == ["looked", "fell"]


def test_what_was_posted_before_the_deadline_is_called_before_it_falls(loop, clock, until):
    """A resolver's answer waits in the loop's calls; a timer comes first in a turn."""
    deadline = Deadline(loop, 5.0)
    deadline.dog.watch()
    turn(loop)
    clock.advance(5.0)
    loop.post(lambda: setattr(deadline, "due", None))
    until(30.0)
    assert deadline.seen == [] or names(deadline) == ["looked"]


def test_time_in_which_a_slot_held_the_loop_is_given_back(loop, clock, until):
    deadline = Deadline(loop, 5.0)
    deadline.dog.watch()
    loop.call_soon(clock.advance, 60.0)
    until(61.0)
    assert "fell" not in names(deadline)
    until(70.0)
    assert names(deadline)[-1] == "fell" and deadline.seen[-1][1] - loop.now == pytest.approx(-5.0, abs=0.5)


def test_a_watchdog_keeps_no_loop_running(loop, clock):
    Deadline(loop, 50.0).dog.watch()
    start = clock()
    loop.run()
    assert clock() == start


# what progress is

def test_the_peer_moved_where_the_system_holds_less(loop, clock, until, send_queues):
    stream, sock = make(loop, (), [STALL])
    send_queues[None] = 1000
    stream.send(bytes(100))
    first = stream.last_taken()
    until(3.0)
    assert stream.last_taken() == first
    send_queues[None] = 999
    assert stream.last_taken() == loop.now > first


def test_what_the_kernel_takes_while_it_is_looked_at_is_not_the_peers_doing(loop, clock, until, send_queues):
    """Its buffers stretch a little for a peer that takes nothing; where the system tells what it holds, that counts."""
    stream, sock = make(loop, (), [STALL, 10, STALL])
    send_queues[None] = 1000
    stream.send(bytes(100))
    first = stream.last_taken()
    until(3.0)
    send_queues[None] = 1010
    sock.unstall()
    stream.look()
    assert (stream.queued, stream.last_taken()) == (90, first)


def test_where_the_system_tells_nothing_what_the_kernel_takes_is_progress(loop, clock, until):
    stream, sock = make(loop, (), [STALL, 10, STALL])
    stream.send(bytes(100))
    first = stream.last_taken()
    until(3.0)
    sock.unstall()
    stream.look()
    assert stream.queued == 90 and stream.last_taken() == loop.now > first


def test_a_close_waits_for_a_peer_that_reads_though_nothing_is_writable(loop, clock, until, send_queues):
    stream, sock = make(loop, (), [STALL])
    stream.close_timeout = 5.0
    send_queues[None] = 100000
    seen = watch(stream, "error", "close")
    stream.send(bytes(100))
    stream.close()
    for second in range(1, 60):
        until(second)
        send_queues[None] -= 1  # one byte a second
    assert seen == []
    until(75.0)
    assert [event[0] for event in seen] == ["error", "close"] and isinstance(seen[0][1], icey.Deadline)


def test_a_close_flushes_once_more_before_its_deadline_falls(loop, clock, until):
    stream, sock = make(loop, (), [STALL])
    stream.close_timeout = 5.0
    seen = watch(stream, "error", "close")
    stream.send(bytes(100))
    stream.close()
    until(4.0)
    sock._stalled = False  # there is room, but nobody says so
    until(6.0)
    assert [event[0] for event in seen] == ["close"] and len(sock.sent) == 100


# the last words

@pytest.fixture
def closing(loop):
    """(stream, sock, ended): a stream that lingers, whose end is noted."""
    stream, sock = make(loop, (), ())
    return stream, sock, []


def test_our_side_is_shut_what_comes_is_dropped_and_the_peers_end_is_the_end(loop, closing):
    stream, sock, ended = closing
    LingeringClose(stream, 5.0, lambda: ended.append(loop.now))
    sock.feed(b"more", b"and more", END)
    loop.run()
    assert ended and ("shutdown", 1) in sock.calls and not stream.queued


def test_a_peer_that_says_nothing_is_waited_for_so_long(loop, clock, until, closing):
    stream, sock, ended = closing
    LingeringClose(stream, 5.0, lambda: ended.append(True))
    until(4.9)
    assert not ended
    until(5.2)
    assert ended and stream.complete


@pytest.mark.parametrize("most, lives", [(0, False), (100, True)])
def test_what_still_comes_gives_time_within_a_bound(loop, until, closing, most, lives):
    stream, sock, ended = closing
    LingeringClose(stream, 5.0, lambda: ended.append(True), most=most)
    until(4.0)
    sock.feed(bytes(60))
    until(8.0)
    assert bool(ended) is not lives
    if lives:
        sock.feed(bytes(60))  # past the bound
    until(9.5)
    assert ended


def test_what_is_on_its_way_is_under_write_timeout_and_then_close_timeout_begins(loop, until, send_queues):
    stream, sock = make(loop, (), [STALL])
    ended = []
    send_queues[None] = 1000
    stream.send(bytes(100))
    LingeringClose(stream, 5.0, lambda: ended.append(True), write_timeout=30.0)
    until(29.0)
    assert not ended
    send_queues[None] = 0
    sock.unstall()
    until(33.0)
    assert not ended and len(sock.sent) == 100
    until(36.0)
    assert ended and stream.complete


def test_a_peer_that_takes_nothing_is_given_up_and_does_not_get_a_clean_end(loop, until, send_queues):
    stream, sock = make(loop, (), [STALL])
    ended = []
    send_queues[None] = 1000
    stream.send(bytes(100))
    LingeringClose(stream, 5.0, lambda: ended.append(True), write_timeout=30.0)
    until(31.0)
    assert ended and not stream.complete


def test_what_is_on_its_way_when_the_peer_says_its_end_is_under_write_timeout_too(loop, until, send_queues):
    stream, sock = make(loop, (), [STALL])
    ended = []
    send_queues[None] = 1000
    stream.send(bytes(100))
    LingeringClose(stream, 5.0, lambda: ended.append(loop.now), write_timeout=30.0)
    sock.feed(END)
    until(29.0)
    assert not ended
    send_queues[None] = 0
    sock.unstall()
    until(29.5)
    assert ended and stream.complete and len(sock.sent) == 100
