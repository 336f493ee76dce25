"""application: icey.run, until SIGINT or SIGTERM, an orderly end, and a second signal that means now."""
import builtins
import os
import signal
import subprocess
import sys
import threading

import pytest

import icey
from icey.tools.testing import STALL, ScriptedSocket
from tests.support import streams
from tests.support.streams import names, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

signals = pytest.mark.needs("signal")
SIGNALS = [signal.SIGINT, signal.SIGTERM]
each_signal = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


class Drains(icey.Handle):
    """A closable with the stop() of a server: done `lasts` seconds later."""

    def __init__(self, loop, lasts=1.0):
        super().__init__(loop)
        self.drains = []
        self.lasts = lasts
        self._activate()

    def stop(self, drain=10.0):
        self.drains.append(drain)
        self.loop.call_later(self.lasts, self.close)


# without a signal

def test_run_ends_when_nothing_keeps_the_loop_alive(loop):
    seen = []
    loop.call_later(1.0, seen.append, "timer")
    assert icey.run(loop) is None
    assert seen == ["timer"]


def test_run_ends_by_loop_stop(loop):
    server = Drains(loop)
    loop.call_later(1.0, loop.stop)
    assert icey.run(loop, server) is None
    assert server.drains == []


@signals
def test_handlers_and_wakeup_fd_are_set_only_then_and_restored_after(loop):
    before = handlers()
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    during = []

    def look():
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd)
        during.append((handlers(), fd))

    loop.call_soon(look)
    icey.run(loop)
    assert during[0][1] == loop._waker.write_fileno()
    assert not set(during[0][0]) & set(before)
    assert handlers() == before
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    assert fd == wakeup


@signals
def test_handlers_are_restored_when_run_raises(loop):
    before = handlers()

    def interrupt():
        raise KeyboardInterrupt

    loop.call_soon(interrupt)
    with pytest.raises(KeyboardInterrupt):
        icey.run(loop)
    assert handlers() == before


@signals
def test_a_closed_loop_is_state_error_and_leaves_the_handlers(loop):
    before = handlers()
    loop.close()
    with pytest.raises(icey.StateError):
        icey.run(loop)
    assert handlers() == before


# a signal, from the same process

def send_in(loop, delay, number):
    loop.call_later(delay, signal.raise_signal, number).unref()


@signals
@each_signal
def test_a_signal_stops_with_grace_each_closable_that_can_and_closes_the_others(loop, number):
    server = Drains(loop)
    stream = icey.Stream(loop, ScriptedSocket())
    seen = watch(stream, "close")
    send_in(loop, 1.0, number)
    assert icey.run(loop, server, stream, grace=7.5) == number
    assert server.drains == [7.5]
    assert (server.closed, stream.closed, names(seen)) == (True, True, ["close"])


@signals
def test_what_closes_drains_first(loop, clock):
    sock = ScriptedSocket((), [STALL])
    stream = icey.Stream(loop, sock)
    stream.send(b"the last words")
    send_in(loop, 1.0, signal.SIGINT)
    loop.call_later(3.0, sock.unstall)
    icey.run(loop, stream)
    assert sock.sent == b"the last words"


@signals
def test_a_stop_that_takes_no_drain_is_not_called(loop):
    seen = []

    class Plain:
        def stop(self):
            seen.append("stop")

        def close(self):
            seen.append("close")

    icey.Synchronizer(loop, int)
    send_in(loop, 1.0, signal.SIGINT)
    icey.run(loop, Plain())
    assert seen == ["close"]


@signals
def test_without_closables_a_signal_ends_the_loop(loop):
    icey.Synchronizer(loop, int)
    send_in(loop, 1.0, signal.SIGTERM)
    assert icey.run(loop) == signal.SIGTERM


@signals
def test_a_closable_that_is_closed_already_is_not_waited_for(loop):
    stream = icey.Stream(loop, ScriptedSocket())
    stream.close()
    icey.Synchronizer(loop, int)
    send_in(loop, 1.0, signal.SIGINT)
    assert icey.run(loop, stream) == signal.SIGINT


@signals
def test_the_loop_ends_when_the_closables_are_closed_whatever_else_is_open(loop, clock):
    icey.Synchronizer(loop, int)
    started = clock()
    send_in(loop, 1.0, signal.SIGINT)
    icey.run(loop, Drains(loop, 2.0), Drains(loop, 3.0))
    assert clock() - started == pytest.approx(4.0)


@signals
def test_a_second_signal_stops_now(loop, clock):
    server = Drains(loop, 3600.0)
    started = clock()
    send_in(loop, 1.0, signal.SIGINT)
    send_in(loop, 2.0, signal.SIGTERM)
    assert icey.run(loop, server) == signal.SIGINT
    assert clock() - started == pytest.approx(2.0)
    assert not server.closed


@signals
def test_a_closable_that_never_closes_is_given_up_after_grace(loop, clock):
    server = Drains(loop, 3600.0)
    started = clock()
    send_in(loop, 1.0, signal.SIGINT)
    icey.run(loop, server, grace=5.0)
    assert clock() - started <= 1.0 + 5.0 + 1.0
    assert not server.closed


@signals
def test_an_exception_of_one_closable_does_not_keep_the_others_open(loop, reports):
    class Broken:
        def close(self):
            raise ValueError

    broken, stream = Broken(), icey.Stream(loop, ScriptedSocket())
    send_in(loop, 1.0, signal.SIGINT)
    icey.run(loop, broken, stream)
    assert reports[0][1] is broken
    reports.take(ValueError)
    assert stream.closed


# where signals are not ours

def test_not_in_the_main_thread_it_simply_runs(loop):
    before = handlers()
    results = []
    loop.call_soon(lambda: results.append(handlers() == before))
    thread = threading.Thread(target=lambda: results.append(icey.run(loop)))
    thread.start()
    thread.join(30)
    assert results == [True, None]
    loop.close()


def test_without_the_signal_module_it_simply_runs(loop, monkeypatch):
    before = handlers()
    seen = []
    real = builtins.__import__

    def without(name, globals=None, locals=None, fromlist=(), level=0):
        if name == "signal" and (globals or {}).get("__name__", "").startswith("icey."):
            raise ImportError(name)
        return real(name, globals, locals, fromlist, level)
    monkeypatch.setattr(builtins, "__import__", without)
    loop.call_soon(lambda: seen.append(handlers() == before))
    assert icey.run(loop) is None
    assert seen == [True]


@signals
def test_a_handler_that_python_did_not_set_is_put_back_as_the_default(loop, monkeypatch):
    real = signal.signal
    monkeypatch.setattr(signal, "signal", lambda number, handler: real(number, handler) and None)
    before = handlers()
    icey.run(loop)
    during = handlers()
    for number, handler in zip(SIGNALS, before):
        real(number, handler)
    assert during == [signal.SIG_DFL] * 2


# real signals, to a process of its own

PROGRAM = """
import sys, icey
loop = icey.Loop(debug=%r)

class Server(icey.Handle):
    def __init__(self):
        super().__init__(loop)
        self._activate()
    def stop(self, drain=0):
        print("stop", drain, flush=True)
        if %r:
            self.close()

server = Server()
loop.call_soon(lambda: print("ready", flush=True))
print("ended by", icey.run(loop, server, grace=30.0), server.closed, flush=True)
server.abort()
loop.run()
loop.close()
"""

processes = pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")


@pytest.fixture
def start():
    started = []

    def start(debug, closes):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM % (debug, closes)], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, universal_newlines=True)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process
    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@signals
@processes
@each_signal
def test_a_real_signal_ends_a_process_in_order(start, debug, number):
    process = start(debug, True)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert output == "stop 30.0\nended by %d True\n" % number
    assert process.returncode == 0


@signals
@processes
@each_signal
def test_a_second_real_signal_ends_a_process_now(start, number):
    process = start(False, False)
    process.send_signal(number)
    assert process.stdout.readline() == "stop 30.0\n"
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert output == "ended by %d False\n" % number
    assert process.returncode == 0
