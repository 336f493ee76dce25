"""ThreadPool: blocking work on threads, what comes of it on the loop; bounds, cancelling, ends.

What threads do that are stuck, or whose loop is collected or forked: tests/net/test_dns.py, since the resolver is a pool.
"""
import errno
import sys
import threading
from functools import partial

import pytest

import icey
from icey.base import threadpool
from tests.support import out_of_descriptors, streams
from tests.support.loops import in_thread
from tests.support.packets import LONG, turn_until, wait_for
from tests.support.streams import names, turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

pytestmark = pytest.mark.needs("threading")


def pool_threads():
    return [thread for thread in threading.enumerate() if thread.name == "icey pool"]


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    for thread in pool_threads():
        thread.join(LONG)
    assert pool_threads() == []


@pytest.fixture
def gate():
    """Work that waits: gate.work(value) returns `value` once gate.open() was called; gate.begun lists the values."""
    gate = Gate()
    yield gate
    gate.open()


class Gate:
    def __init__(self):
        self.begun = []
        self._event = threading.Event()
        self.open = self._event.set

    def work(self, value):
        self.begun.append(value)
        assert self._event.wait(LONG)
        return value


def holds(items, count):
    return len(items) == count


def told(came):
    """A `done` that keeps what it is told, and by which thread."""
    return lambda result, error: came.append((result, error, threading.get_ident()))


# results

def test_a_result_is_told_on_the_loop_once_then_on_close(loop):
    came, threads = [], []
    pool = icey.ThreadPool(loop)
    job = pool.submit(lambda *args: (threads.append(threading.get_ident()), args)[1], 1, "two", done=told(came))
    seen = watch(job, "close")
    assert came == []
    loop.run()
    assert came == [((1, "two"), None, threading.get_ident())]
    assert threads != [threading.get_ident()] and names(seen) == ["close"]
    assert (pool.running, pool.pending) == (0, 0)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_an_error_of_any_kind_is_told_and_ends_no_thread(loop, error):
    def fail():
        raise error

    came = []
    pool = icey.ThreadPool(loop, 1)
    pool.submit(fail, done=told(came))
    loop.run()
    pool.submit(str, 5, done=told(came))
    loop.run()
    assert [answer[:2] for answer in came] == [(None, error), ("5", None)]
    assert len(pool_threads()) == 1


def test_without_a_done_a_result_is_dropped_and_an_error_reported_with_the_job(loop, reports):
    pool = icey.ThreadPool(loop)
    pool.submit(str, 5)
    loop.run()
    assert reports == []
    job = pool.submit(int, "five")
    loop.run()
    assert [of for _, of in reports] == [job]
    reports.take(ValueError)


def test_an_exception_in_done_is_reported_and_the_job_closes(loop, reports):
    def done(result, error):
        raise RuntimeError("of done")

    job = icey.ThreadPool(loop).submit(str, 5, done=done)
    loop.run()
    assert [of for _, of in reports] == [job] and job.closed
    reports.take(RuntimeError)


def test_work_that_touches_a_handle_is_told_the_rule(loop):
    came = []
    timer = icey.Timer(loop, 1.0)
    icey.ThreadPool(loop).submit(timer.start, done=told(came))
    loop.run()
    assert isinstance(came[0][1], icey.AffinityError)


def test_what_done_submits_meets_an_idle_thread(loop):
    pool, came = icey.ThreadPool(loop), []

    def again(result, error):
        came.append(result)
        if result < 20:
            pool.submit(lambda: result + 1, done=again)

    again(0, None)
    loop.run()
    assert came == list(range(21)) and len(pool_threads()) == 1


# bounds

def test_threads_are_started_while_all_are_busy_and_no_more_than_there_may_be(loop, gate):
    pool = icey.ThreadPool(loop, 3)
    for n, begun in enumerate((1, 2, 3, 3, 3, 3, 3), 1):
        pool.submit(gate.work, n)
        wait_for(partial(holds, gate.begun, begun))
        assert len(pool_threads()) == begun
    assert (pool.running, pool.pending) == (3, 4)
    gate.open()
    loop.run()
    assert sorted(gate.begun) == list(range(1, 8))


@pytest.mark.parametrize("most", [0, 2])
def test_more_than_max_pending_is_queue_full_and_nothing_is_taken(loop, gate, most):
    pool = icey.ThreadPool(loop, 1, max_pending=most)
    for n in range(1 + most):
        pool.submit(gate.work, n)
    with pytest.raises(icey.QueueFull, match="%d jobs wait for 1 threads" % most):
        pool.submit(gate.work, "too many")
    gate.open()
    loop.run()
    assert gate.begun == list(range(1 + most))
    pool.submit(gate.work, "again")
    loop.run()


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": "4"}, {"threads": 1.5}, {"max_pending": -1}])
def test_what_is_no_number_is_value_error(loop, options):
    with pytest.raises(ValueError):
        icey.ThreadPool(loop, **options)


async def coroutine():
    pass


@pytest.mark.parametrize("fn, done", [(None, None), (5, None), (str, 5), (coroutine, None), (str, coroutine)])
def test_what_cannot_be_called_is_type_error_at_once(loop, fn, done):
    with pytest.raises(TypeError):
        icey.ThreadPool(loop).submit(fn, done=done)


def test_another_thread_gets_affinity_error(loop):
    pool = icey.ThreadPool(loop)
    with pytest.raises(icey.AffinityError):
        in_thread(pool.submit, str)


def test_what_goes_on_goes_before_what_is_new(loop, gate):
    done, pool = [], icey.ThreadPool(loop, 1)
    pool.submit(gate.work, 0)
    wait_for(lambda: gate.begun)
    for n in (1, 2):
        pool.submit(done.append, n)
    for n in (3, 4):
        pool.give(threadpool.Job(loop, None), done.append, (n,), first=True)
    gate.open()
    loop.run()
    assert done == [3, 4, 1, 2]


# cancelling, and what keeps a loop running

def test_a_job_cancelled_before_its_turn_is_not_done_and_lets_go_of_its_work(loop, gate):
    came, pool = [], icey.ThreadPool(loop, 1)
    pool.submit(gate.work, 1, done=told(came))
    job = pool.submit(gate.work, 2, done=told(came))
    seen = watch(job, "close")
    job.close()
    assert job.work is None and job.done is None
    gate.open()
    loop.run()
    pool.submit(str, 3, done=told(came))
    loop.run()
    assert gate.begun == [1] and names(seen) == ["close"]
    assert [result for result, _, _ in came] == [1, "3"]


def test_a_job_cancelled_while_it_is_done_drops_the_result(loop, gate):
    came, pool = [], icey.ThreadPool(loop)
    job = pool.submit(gate.work, 1, done=told(came))
    wait_for(lambda: gate.begun)
    job.close()
    loop.run()
    gate.open()
    turn_until(loop, lambda: not pool.running)
    assert came == [] and job.closed


def test_a_job_keeps_the_loop_running_unless_it_is_unrefd_and_a_pool_does_not(loop, gate):
    pool = icey.ThreadPool(loop)
    loop.run()
    pool.submit(gate.work, 1).unref()
    loop.run()
    came = []
    pool.submit(str, 2, done=told(came))
    loop.run()
    assert came


# the end

def test_close_works_off_what_waits_then_tells(loop, gate):
    came, pool = [], icey.ThreadPool(loop, 1)
    seen = watch(pool, "close")
    for n in range(3):
        pool.submit(gate.work, n, done=told(came))
    pool.close()
    with pytest.raises(icey.StateError):
        pool.submit(str, 5)
    turn(loop, 3)
    assert (seen, pool.closing) == ([], True)
    gate.open()
    loop.run()
    assert [result for result, _, _ in came] == [0, 1, 2] and names(seen) == ["close"]


def test_an_idle_pool_closes_at_once_and_its_threads_end(loop):
    with icey.ThreadPool(loop) as pool:
        pass
    turn(loop, 2)
    assert pool.closed
    with icey.ThreadPool(loop) as pool:
        pool.submit(str, 5)
    loop.run()
    assert pool.closed


def test_abort_aborts_what_waits_and_drops_what_is_under_way(loop, gate):
    came, closed, pool = [], [], icey.ThreadPool(loop, 1)
    for n in range(3):
        pool.submit(gate.work, n, done=told(came)).on_close += closed.append
    wait_for(lambda: gate.begun)
    pool.abort()
    loop.run()
    assert (came, len(closed), pool.closed) == ([], 3, True)
    gate.open()
    for thread in pool_threads():
        thread.join(LONG)
    assert gate.begun == [0]


def test_closing_the_loop_ends_and_joins_the_threads(debug):
    loop = icey.Loop(debug)
    pool = icey.ThreadPool(loop)
    pool.submit(str, 5)
    loop.run()
    threads = pool_threads()
    loop.close()
    assert threads and not any(thread.is_alive() for thread in threads)


def test_closing_the_loop_waits_a_second_and_leaves_the_stuck_ones(debug, gate, monkeypatch):
    monkeypatch.setattr(threadpool, "JOIN", 0.0)
    loop = icey.Loop(debug)
    came = []
    icey.ThreadPool(loop).submit(gate.work, 1, done=told(came))
    wait_for(lambda: gate.begun)
    loop.close()
    gate.open()
    assert came == []


# without threads

@pytest.fixture
def unthreaded(monkeypatch):
    """A Python without `threading`; what is logged."""
    said = []
    monkeypatch.setitem(sys.modules, "threading", None)
    monkeypatch.setattr(threadpool.log, "warning", lambda area, text, *args: said.append(text % args))
    return said


def test_without_a_descriptor_to_read_a_module_through_a_job_is_told_so_and_the_next_one_is_done(loop, monkeypatch):
    came = []
    pool = icey.ThreadPool(loop)
    with monkeypatch.context() as out:
        out_of_descriptors(out, "queue")
        job = pool.submit(int, "5", done=lambda result, error: came.append((result, error.errno)))
        turn(loop, 2)
    assert came == [(None, errno.EMFILE)] and job.closed
    pool.submit(int, "5", done=lambda result, error: came.append((result, error)))
    pool.close()
    loop.run()
    assert came[1:] == [(5, None)] and pool.closed


# in a sub-interpreter, whose end no thread may outlive; here as if this were one (tests/test_subinterpreters.py has real ones)

@pytest.fixture
def in_a_sub_interpreter(monkeypatch):
    monkeypatch.setattr(threadpool, "in_main_interpreter", lambda: False)


def test_there_a_thread_leaves_when_there_is_nothing_to_do_and_another_comes_for_what_is_next(loop, in_a_sub_interpreter):
    came, daemons = [], []
    pool = icey.ThreadPool(loop, 2)

    def work(value):
        daemons.append(threading.current_thread().daemon)
        return value

    for values in ([1, 2, 3, 4, 5], [6]):
        for value in values:
            pool.submit(work, value, done=lambda result, error: came.append(result))
        turn_until(loop, partial(all_came, came, values[-1]))
        turn_until(loop, lambda: not pool_threads())
    assert sorted(came) == [1, 2, 3, 4, 5, 6] and daemons == [False] * 6


def test_there_work_that_comes_while_the_last_thread_leaves_is_done(loop, in_a_sub_interpreter, monkeypatch):
    came = []
    pool = icey.ThreadPool(loop, 1)
    pool.submit(int, done=lambda result, error: came.append("first"))
    wait_for(lambda: not any(thread.is_alive() for thread in pool_threads()))  # it has left, and the loop has not heard of it
    pool.submit(int, done=lambda result, error: came.append("second"))
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    turn_until(loop, lambda: len(came) == 2)
    assert came == ["first", "second"], "done on the loop, where no thread can be had"


def all_came(came, number):
    return len(came) == number


def no_thread(thread):
    raise RuntimeError("can't start new thread")


def test_there_a_thread_whose_pool_is_gone_ends(loop, in_a_sub_interpreter, gate):
    pool = icey.ThreadPool(loop, 1)
    pool.submit(gate.work, 1, done=None)
    turn_until(loop, lambda: gate.begun)
    pool.abort()
    turn(loop)
    gate.open()  # no_thread_stays


def test_without_threading_the_work_is_done_on_the_loop_which_says_so_once(loop, unthreaded):
    came, pool = [], icey.ThreadPool(loop)
    for n in range(3):
        pool.submit(str, n, done=told(came))
    pool.submit(int, "x", done=told(came))
    assert came == []
    loop.run()
    assert [result for result, _, _ in came] == ["0", "1", "2", None] and type(came[3][1]) is ValueError
    assert unthreaded == ["`threading` is missing here, so that Job is done on the loop, which stands still meanwhile"
                          " (said once a pool)"]


def test_without_threading_an_interrupt_passes_through_and_is_told(loop, unthreaded):
    def interrupted():
        raise KeyboardInterrupt

    came = []
    icey.ThreadPool(loop).submit(interrupted, done=told(came))
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    loop.run()
    assert [type(error) for _, error, _ in came] == [KeyboardInterrupt]
