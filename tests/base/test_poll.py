"""Poll: readiness of any descriptor, watched for what has a slot."""
import os
import selectors
import socket

import pytest

from icey import Loop, Poll
from tests.support.loops import clock, debug  # noqa: F401


@pytest.fixture(params=["the best", selectors.SelectSelector], ids=["best", "select"])
def loop(request, debug, clock):
    loop = Loop(debug, clock=clock, selector=None if request.param == "the best" else request.param())
    yield loop
    loop.close()


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture
def seen():
    return []


def test_on_readable_and_on_writable_tell_what_the_descriptor_is_ready_for(loop, pair, seen):
    near, far = pair
    poll = Poll(loop, near)
    poll.on_readable += lambda poll: seen.append(("readable", poll))
    loop.run_once(0)
    assert seen == []
    far.send(b"x")
    loop.run_once(0)
    assert seen == [("readable", poll)]
    poll.on_writable += lambda poll: seen.append(("writable", poll))
    loop.run_once(0)
    assert seen[1:] == [("readable", poll), ("writable", poll)]
    near.recv(1)
    loop.run_once(0)
    assert seen[3:] == [("writable", poll)]
    poll.close()


def test_it_is_level_triggered(loop, pair, seen):
    near, far = pair
    poll = Poll(loop, near)
    poll.on_readable += seen.append
    far.send(b"xy")
    for _ in range(3):
        loop.run_once(0)
    assert len(seen) == 3
    poll.close()


def test_what_has_no_slot_is_not_watched(loop, pair, seen):
    poll = Poll(loop, pair[0])
    poll.on_writable += seen.append
    loop.run_once(0)
    poll.on_writable -= seen.append
    loop.run_once(0)
    assert len(seen) == 1 and loop.handles == ()
    poll.on_writable += seen.append
    poll.on_readable += print
    poll.on_writable.detach_all()
    loop.run_once(0)
    assert len(seen) == 1 and loop.handles == (poll,)
    poll.close()


def test_a_second_slot_of_the_same_event_changes_nothing_in_the_watching(loop, pair, seen):
    poll = Poll(loop, pair[0])
    poll.on_writable += seen.append
    poll.on_writable += repr
    poll.on_writable -= repr
    loop.run_once(0)
    assert seen == [poll]
    poll.on_close += seen.append
    poll.close()
    loop.run_once(0)
    assert seen == [poll, poll]


def test_the_end_of_input_is_readable(loop, pair, seen):
    near, far = pair
    poll = Poll(loop, near)
    poll.on_readable += lambda poll: seen.append(near.recv(10))
    far.close()
    loop.run_once(0)
    assert seen == [b""]
    poll.close()


def test_a_poll_closed_by_its_on_readable_slot_does_not_tell_on_writable(loop, pair, seen):
    near, far = pair
    poll = Poll(loop, near)
    poll.on_readable += lambda poll: poll.close()
    poll.on_writable += seen.append
    far.send(b"x")
    loop.run_once(0)
    assert seen == []


def test_any_descriptor_a_pipe_by_its_number(loop, seen):
    read, write = os.pipe()
    poll = Poll(loop, read)
    assert poll.fd == read
    poll.on_readable += lambda poll: seen.append(os.read(read, 10))
    os.write(write, b"pipe")
    loop.run_once(0)
    assert seen == [b"pipe"]
    poll.close()
    loop.run_once(0)
    os.close(read), os.close(write)


def test_closing_leaves_the_descriptor_open_and_stops_the_watching(loop, pair, seen):
    near, far = pair
    poll = Poll(loop, near)
    poll.on_readable += seen.append
    poll.on_close += lambda poll: seen.append("closed")
    far.send(b"x")
    poll.close()
    loop.run_once(0)
    assert seen == ["closed"]
    assert near.recv(1) == b"x"


def test_a_slot_attached_after_close_is_not_called(loop, pair, seen):
    poll = Poll(loop, pair[0])
    poll.close()
    poll.on_writable += seen.append
    assert loop.run_once(0) is False
    poll.on_writable += seen.append
    assert loop.run_once(0) is False
    assert seen == []


def test_one_that_was_never_a_descriptor_is_refused(loop, pair):
    with pytest.raises(ValueError, match="0 or more, not -1"):
        Poll(loop, -1)
    sock = pair[0].dup()
    sock.close()
    with pytest.raises(ValueError):
        Poll(loop, sock)
    with pytest.raises(AttributeError):
        Poll(loop, "a name")


def test_a_descriptor_closed_too_early_does_not_crash_the_close(loop, seen):
    read, write = os.pipe()
    poll = Poll(loop, read)
    poll.on_readable += print
    poll.on_close += seen.append
    os.close(read), os.close(write)
    poll.close()
    loop.run_once(0)
    assert seen == [poll]
