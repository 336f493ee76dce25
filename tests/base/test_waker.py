"""Waker: a pair of sockets, or a pipe, or nothing; and a loop over each of them."""
import errno
import os
import select
import socket
import sys
import threading
import time

import pytest

import icey
from icey.base import poller, waker
from icey.base.poller import PatientPoller
from icey.base.waker import PipeEnd, Waker
from tests.support.loops import clock, debug  # noqa: F401


class Absent:
    """A module without some of its names."""

    def __init__(self, module, *names):
        self._module, self._names = module, names

    def __getattr__(self, name):
        if name in self._names:
            raise AttributeError("module has no attribute %r" % name)
        return getattr(self._module, name)


def no_socketpair(monkeypatch, failure=AttributeError):
    def refused(*arguments):
        raise failure

    monkeypatch.setattr(waker, "socket", Absent(socket, "socketpair"))
    if failure is not AttributeError:
        monkeypatch.setattr(waker.socket, "socketpair", refused, raising=False)


def no_pipe(monkeypatch):
    no_socketpair(monkeypatch)
    monkeypatch.setattr(waker, "os", Absent(os, "pipe"))


def as_it_is(monkeypatch):
    pass


@pytest.fixture(params=[as_it_is, no_socketpair], ids=["as it is", "pipe"])
def pair(request, monkeypatch):
    """A Waker with a pair: the system's, and a pipe's."""
    request.param(monkeypatch)
    pair = Waker()
    if pair.fileno() < 0:
        pytest.skip("this system has no pair that wakes")
    yield pair
    pair.close()


@pytest.fixture(params=[as_it_is, no_socketpair, no_pipe], ids=["as it is", "pipe", "nothing"])
def loop(request, monkeypatch, clock, debug):
    """A loop over each kind of waker, in both modes."""
    request.param(monkeypatch)
    with icey.Loop(debug, clock=clock) as loop:
        yield loop


def waits(fd):
    """Whether there is something to read."""
    return select.select([fd], [], [], 0)[0] == [fd]


needs_pipe = pytest.mark.skipif(os.name == "nt", reason="select() takes no pipes here")


def test_a_byte_shows_until_it_is_drained(pair):
    assert not waits(pair.fileno())
    pair.wake()
    assert waits(pair.fileno()) and pair.asleep is False
    pair.drain(1)
    assert not waits(pair.fileno())


def test_a_wake_up_of_a_closed_pair_is_nothing(pair):
    assert pair.fileno() != pair.write_fileno()
    pair.close()
    pair.wake()
    assert pair.asleep is False
    pair.drain(1)
    pair.close()
    assert (pair.fileno(), pair.write_fileno()) == (-1, -1)


def test_one_that_is_awake_is_sent_no_byte(pair):
    pair.asleep = False
    pair.wake()
    assert not waits(pair.fileno())


def test_draining_takes_many_bytes_and_none(pair):
    pair._write.send(b"\0" * 8192)
    pair.drain(1)
    assert not waits(pair.fileno())
    pair.drain(1)


def test_a_full_pair_is_no_error(pair):
    try:
        for _ in range(1000):  # a pipe of Emscripten is never full
            pair._write.send(b"\0" * 65536)
    except BlockingIOError:
        pass
    pair.wake()
    assert pair.asleep is False


def test_a_wake_up_that_an_interrupt_cut_short_is_none(pair):
    """Else a loop that sleeps in another thread would hear of no post any more."""
    class Interrupted:
        def send(self, data):
            raise KeyboardInterrupt

    pair._write, write = Interrupted(), pair._write
    with pytest.raises(KeyboardInterrupt):
        pair.wake()
    pair._write = write
    pair.wake()
    assert waits(pair.fileno())


@needs_pipe
@pytest.mark.parametrize("failure", [AttributeError, OSError(errno.EINVAL, "Invalid argument"), PermissionError()])
def test_where_there_is_no_socketpair_it_is_a_pipe(monkeypatch, failure):
    no_socketpair(monkeypatch, failure)
    pair = Waker()
    assert type(pair._read) is type(pair._write) is PipeEnd
    if sys.platform != "emscripten":  # where nothing inherits
        assert not os.get_inheritable(pair.fileno()) and not os.get_inheritable(pair.write_fileno())
    pair.close()


@needs_pipe
def test_a_pipe_that_is_forgotten_gives_its_descriptors_back(monkeypatch):
    no_socketpair(monkeypatch)
    ends = Waker()._read, Waker()._write
    fds = [end.fileno() for end in ends]
    del ends
    import gc
    gc.collect()
    for fd in fds:
        with pytest.raises(OSError):
            os.fstat(fd)


def test_too_many_descriptors_are_not_taken_for_a_system_without_pipes(monkeypatch):
    no_socketpair(monkeypatch, OSError(errno.EMFILE, "Too many open files"))

    def refused():
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(waker, "os", Absent(os, "pipe"))
    monkeypatch.setattr(waker.os, "pipe", refused, raising=False)
    with pytest.raises(OSError) as caught:
        icey.Loop()
    assert caught.value.errno == errno.EMFILE


def test_on_windows_what_socketpair_raises_comes_out(monkeypatch):
    no_socketpair(monkeypatch, OSError(errno.EACCES, "forbidden"))
    monkeypatch.setattr(waker, "os", Absent(os))
    monkeypatch.setattr(waker.os, "name", "nt", raising=False)
    with pytest.raises(OSError, match="forbidden"):
        Waker()


def test_with_nothing_a_wake_up_is_noted_and_that_is_all(monkeypatch):
    no_pipe(monkeypatch)
    pair = Waker()
    assert (pair.fileno(), pair.write_fileno()) == (-1, -1)
    pair.wake()
    assert pair.asleep is False
    pair.drain(1)
    pair.close()


def test_timers_calls_and_posts_work_over_each(loop, clock):
    seen = []
    loop.call_later(5, seen.append, "timer")
    loop.call_soon(seen.append, "soon")
    loop.post(seen.append, "post")
    assert loop.run_once(0) is True
    clock.advance(5)
    assert loop.run_once(0) is False
    assert seen == ["soon", "post", "timer"]


@pytest.mark.needs("threads")
def test_a_post_of_another_thread_arrives_over_each(loop):
    ended = threading.Event()
    loop.call_later(3600, int)
    thread = threading.Thread(target=lambda: (ended.wait(60), loop.post(loop.stop)))
    thread.start()
    loop.call_soon(ended.set)
    loop.run()
    thread.join()


@pytest.mark.needs("signal")
def test_run_takes_signals_over_each(loop):
    import signal
    loop.call_soon(signal.raise_signal, signal.SIGTERM)
    loop.call_later(3600, int)
    before = signal.getsignal(signal.SIGTERM)
    assert icey.run(loop) == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("timeout, slept", [(None, poller.SLICE), (3600, poller.SLICE), (0.01, 0.01), (0, None)])
def test_a_patient_poller_sleeps_out_a_wait_that_returns_at_once_in_slices(monkeypatch, timeout, slept):
    class Hasty(poller.selectors.SelectSelector):
        def select(self, timeout=None):
            asked.append(timeout)
            return super().select(0)

    asked, sleeps = [], []
    monkeypatch.setattr(poller, "monotonic", lambda: 0.0)
    monkeypatch.setattr(poller, "sleep", sleeps.append)
    reading, writing = os.pipe()
    patient = PatientPoller(Hasty())
    patient.register(reading, poller.READ, print)
    assert patient.wait(timeout) == []
    assert asked == [slept or 0] and sleeps == ([slept] if slept else [])
    os.write(writing, b"x")
    assert patient.wait(timeout) == [(reading, poller.READ)]
    assert len(sleeps) == bool(slept)  # what is ready is not slept over
    patient.close()
    os.close(reading)
    os.close(writing)


def test_a_patient_poller_sleeps_no_longer_than_the_wait_that_waited(monkeypatch):
    times = iter([0.0, poller.SLICE])
    monkeypatch.setattr(poller, "monotonic", lambda: next(times))
    monkeypatch.setattr(poller, "sleep", lambda seconds: pytest.fail("it slept again"))
    patient = PatientPoller(poller.selectors.DefaultSelector())
    patient._selector.select = lambda timeout: []
    assert patient.wait(None) == []
    patient.close()


def test_a_loop_that_nothing_wakes_and_one_on_emscripten_are_patient(monkeypatch):
    monkeypatch.setattr(poller.sys, "platform", "emscripten")
    with icey.Loop() as loop:
        assert type(loop.poller) is PatientPoller
    monkeypatch.undo()
    no_pipe(monkeypatch)
    with icey.Loop() as loop:
        assert type(loop.poller) is PatientPoller
        began = time.monotonic()
        loop.call_later(0.05, loop.stop)
        loop.run()
        assert time.monotonic() - began >= 0.05
