"""post: the door for other threads, signal handlers and finalizers; and the byte that wakes a sleeping loop."""
import gc
import os
import selectors
import socket
import threading

import pytest

from icey import Loop, Poll, Timer
from tests.support.loops import clock, debug, in_thread, loop, turns  # noqa: F401


def wake_bytes(loop):
    """How many bytes are on their way to wake `loop`: taken out, and sent again."""
    try:
        data = loop.waker._read.recv(1 << 16)
    except BlockingIOError:
        return 0
    loop.waker._write.send(data)
    return len(data)


class Gated(selectors.SelectSelector):
    """Tells when the loop goes to sleep, and has it sleep until the gate opens."""

    def __init__(self):
        super().__init__()
        self.asleep = threading.Event()
        self.gate = threading.Event()

    def select(self, timeout=None):
        if timeout is None or timeout > 0:
            self.asleep.set()
            assert self.gate.wait(60)
        return super().select(timeout)


def sleeping(debug):
    """A loop asleep in a thread of its own: (loop, its gate, the thread)."""
    selector = Gated()
    loop = Loop(debug, selector=selector)
    loop.call_later(3600, int)
    thread = threading.Thread(target=loop.run)
    thread.start()
    assert selector.asleep.wait(60)
    return loop, selector.gate, thread


def test_post_wakes_a_sleeping_loop_once_however_many_posts_came(debug):
    loop, gate, thread = sleeping(debug)
    seen = []
    for number in range(1000):
        assert loop.post(seen.append, number) is True
    loop.post(loop.stop)
    assert wake_bytes(loop) == 1
    gate.set()
    thread.join(60)
    assert seen == list(range(1000))
    loop.close()


def test_posts_of_many_threads_all_arrive_and_each_threads_in_order(debug):
    loop, gate, thread = sleeping(debug)
    seen = []

    def work(name):
        for number in range(500):
            loop.post(seen.append, (name, number))

    workers = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    loop.post(loop.stop)
    assert 1 <= wake_bytes(loop) <= len(workers), "each may at most see the loop asleep once"
    gate.set()
    thread.join(60)
    assert len(seen) == 3000
    for name in range(6):
        assert [number for who, number in seen if who == name] == list(range(500))
    loop.close()


def test_a_loop_at_work_is_not_woken(loop):
    woken = []
    loop.call_soon(lambda: woken.append((loop.post(int), wake_bytes(loop))))
    loop.run_once(0)
    assert woken == [(True, 0)]
    assert loop.timeout() == 0
    turns(loop)


def test_the_wake_byte_is_taken_out_again(loop):
    loop.post(int)
    assert wake_bytes(loop) == 1
    loop.run_once(0)
    assert wake_bytes(loop) == 0
    loop.post(int)
    assert wake_bytes(loop) == 1
    loop.run()


def test_a_wake_up_that_finds_the_pair_full_is_no_error(loop):
    try:
        for _ in range(1000):  # a pipe of Emscripten is never full
            loop.waker._write.send(b"\0" * 65536)
    except BlockingIOError:
        pass
    seen = []
    assert loop.post(seen.append, 1)
    loop.run_once(0)
    assert seen == [1]
    for _ in range(10000):  # where the pair is one over TCP its bytes come bit by bit
        loop.run_once(0)
    assert wake_bytes(loop) == 0


@pytest.mark.needs("signal")
def test_a_signal_handler_may_post_and_wakes_the_loop_from_its_sleep(loop):
    import signal
    if not hasattr(signal, "SIGUSR1"):
        pytest.skip("this platform has no SIGUSR1")
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: (loop.post(seen.append, number), loop.post(loop.stop)))
    guard = loop.call_later(3600, int)
    try:
        loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
        loop.run()
        thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1))
        loop.call_soon(thread.start)
        loop.run()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1] * 2
    guard.stop()


def test_a_finalizer_may_post(loop):
    class Last:
        def __del__(self):
            loop.post(seen.append, "gone")

    seen = []
    last = Last()
    last.me = last
    del last
    loop.call_soon(gc.collect)
    loop.run()
    assert seen == ["gone"]


def test_post_returns_False_once_the_loop_is_closed(debug):
    loop = Loop(debug)
    loop.close()
    assert loop.post(print) is False
    assert in_thread(loop.post, print) is False


def test_calls_posted_and_not_yet_run_are_dropped_by_close(debug):
    seen = []
    loop = Loop(debug)
    assert loop.post(seen.append, 1) is True
    loop.close()
    assert seen == []


class Racing:
    """A waker in whose wake-up something happens: what another thread does between two lines of post()."""

    asleep = True

    def __init__(self, happens):
        self.wake = happens


class Odd:
    """What is compared to it raises, as two arrays do."""

    def __eq__(self, other):
        raise AssertionError("somebody asked whether two calls are equal")

    __hash__ = None


@pytest.mark.parametrize("when", ["taken", "closed", "freed"])
def test_a_post_that_races_with_close_is_True_only_if_the_call_was_taken(debug, when):
    loop = Loop(debug)
    waker = loop.waker
    loop.post(print, Odd())

    def closes():
        if when == "taken":
            loop._calls.pop()
        loop.waker = waker
        if when == "freed":
            loop.close()
        else:
            loop._closed = True

    loop.waker = Racing(closes)
    assert loop.post(print, Odd()) is (when == "taken")
    loop._closed = False
    loop.close()
    assert not loop._calls


def test_a_post_that_comes_between_the_last_two_steps_of_close_is_False_and_leaves_nothing(debug):
    loop = Loop(debug)
    loop.close()
    loop._closed = False  # what post() saw before it was held up
    loop.waker = Racing(lambda: setattr(loop, "_closed", True))
    assert loop.post(print, Odd()) is False
    assert not loop._calls


# whose loop it is

def test_until_it_first_runs_a_loop_belongs_to_the_thread_that_built_it_then_to_the_one_that_runs_it(debug):
    from icey import AffinityError
    loop = in_thread(Loop, debug)
    with pytest.raises(AffinityError):
        loop.call_soon(int)
    loop.run_once(0)
    loop.call_soon(int)
    with pytest.raises(AffinityError):
        in_thread(loop.run_once, 0)
    loop.run()
    loop.close()


def test_a_loop_first_run_by_another_thread_takes_along_every_object_already_built_on_it(debug):
    from icey import AffinityError
    near, far = socket.socketpair()
    loop = Loop(debug)
    timer, poll = Timer(loop, 3600), Poll(loop, near)
    closed = []

    def work():
        loop.run_once(0)
        timer.start()
        poll.on_readable += print
        timer.on_close += closed.append
        timer.close()
        poll.close()
        loop.run()

    in_thread(work)
    assert closed == [timer]
    with pytest.raises(AffinityError):
        poll.close()
    loop.close()
    near.close(), far.close()


def test_a_loop_that_is_not_running_may_be_closed_from_any_thread(debug):
    loop = Loop(debug)
    closed = []
    timer = Timer(loop, 1).start()
    timer.on_close += lambda timer: closed.append(threading.get_ident())
    loop.run_once(0)
    in_thread(loop.close)
    assert loop.closed and timer.closed
    assert closed and closed[0] != threading.get_ident()


def test_the_thread_that_closed_a_loop_that_never_ran_may_touch_its_handles(debug):
    loop = Loop(debug)
    timer = Timer(loop, 1).start()

    def work():
        loop.close()
        timer.stop()
        timer.close()

    in_thread(work)
    assert timer.closed
