"""Synchronizer: a call on the loop, asked for from any thread, several at once making one."""
import threading

import pytest

from icey import AffinityError, Loop, Synchronizer
from tests.support.loops import clock, debug, in_thread, loop, turns  # noqa: F401


@pytest.fixture
def seen():
    return []


@pytest.fixture
def synchronizer(loop, seen):
    synchronizer = Synchronizer(loop, lambda: seen.append(threading.get_ident()))
    yield synchronizer
    synchronizer.close()
    loop.run_once(0)


def test_several_posts_coalesce_into_one_call_of_fn_without_arguments(loop, synchronizer, seen):
    assert [synchronizer.post() for _ in range(10)] == [True] * 10
    loop.run_once(0)
    loop.run_once(0)
    assert seen == [threading.get_ident()]
    synchronizer.post()
    loop.run_once(0)
    assert len(seen) == 2


def test_posts_come_from_any_thread_and_the_call_on_the_loops(loop, synchronizer, seen):
    threads = [threading.Thread(target=synchronizer.post) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loop.run_once(0)
    assert seen == [threading.get_ident()]


def test_a_post_from_within_the_call_makes_another_call(loop, seen):
    def again():
        seen.append(1)
        if len(seen) < 3:
            synchronizer.post()

    synchronizer = Synchronizer(loop, again)
    synchronizer.post()
    for _ in range(5):
        loop.run_once(0)
    assert len(seen) == 3
    synchronizer.close()


def test_a_call_that_raised_does_not_hold_up_the_next_post(loop, seen):
    synchronizer = Synchronizer(loop, lambda: 1 // 0)
    loop.on_error += lambda loop, exc, handle: seen.append(handle)
    for _ in range(2):
        synchronizer.post()
        loop.run_once(0)
    assert seen == [synchronizer, synchronizer]
    synchronizer.close()


def test_once_closing_post_returns_False_and_there_is_no_call(loop, seen):
    synchronizer = Synchronizer(loop, lambda: seen.append("called"))
    synchronizer.post()
    synchronizer.close()
    assert synchronizer.post() is False
    turns(loop)
    assert synchronizer.post() is False
    assert in_thread(synchronizer.post) is False
    assert seen == []


def test_once_its_loop_is_closed_post_returns_False(debug):
    loop = Loop(debug)
    synchronizer = Synchronizer(loop, print)
    loop.close()
    assert synchronizer.post() is False


def test_it_is_made_and_closed_on_its_loops_thread(loop, synchronizer):
    with pytest.raises(AffinityError):
        in_thread(Synchronizer, loop, print)
    with pytest.raises(AffinityError):
        in_thread(synchronizer.close)
