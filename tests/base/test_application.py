"""application: icey.run, until SIGINT or SIGTERM, an orderly end, and a second signal that means now."""
import builtins
import os
import signal
import subprocess
import sys
import threading
import time

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
        self.activate()

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
    assert during[0][1] == loop.waker.write_fileno()
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
@pytest.mark.needs("threading")
def test_a_packet_stream_is_waited_for_wherever_its_queues_deliver():
    with icey.Loop() as loop:  # a real one: a virtual clock knows nothing of a queue's thread
        told, threads = [], []
        stream = icey.PacketStream("closable")
        stream.attach(icey.AsyncPacketQueue(8))
        stream.on_packet += lambda packet: (time.sleep(0.01), told.append(bytes(packet.data)))
        stream.on_close += lambda stream: threads.append(threading.get_ident())
        stream.start()
        for word in (b"all", b"of", b"it"):
            stream.write(word)
        icey.Synchronizer(loop, int)  # keeps the loop running, until it is told to stop
        send_in(loop, 0.0, signal.SIGINT)
        assert icey.run(loop, stream) == signal.SIGINT
        assert (stream.closed, told) == (True, [b"all", b"of", b"it"])
        assert threads != [threading.get_ident()]


@signals
def test_a_packet_stream_whose_packets_come_on_the_loop_is_flushed(loop):
    told = []
    stream = icey.PacketStream("closable")
    stream.attach(icey.SyncPacketQueue(loop, 8))
    stream.on_packet += lambda packet: told.append(bytes(packet.data))
    stream.start()

    def begin():
        signal.raise_signal(signal.SIGINT)
        stream.write(b"late")

    loop.call_later(1.0, begin)
    icey.run(loop, stream)
    assert (stream.closed, told) == (True, [b"late"])


@signals
def test_a_packet_stream_that_is_over_is_not_waited_for(loop, clock):
    over, unused = icey.PacketStream("over"), icey.PacketStream("unused")
    over.close()
    icey.Synchronizer(loop, int)
    started = clock()
    send_in(loop, 1.0, signal.SIGINT)
    icey.run(loop, over, unused)
    assert unused.closed and clock() - started == pytest.approx(1.0)


@signals
def test_a_packet_stream_that_does_not_end_is_given_up_after_grace(loop, clock):
    class Endless:
        """What has an on_close, as a PacketStream has, and never tells."""

        closed = False

        def __init__(self):
            self.on_close = icey.Signal()

        def close(self):
            pass

    started = clock()
    loop.call_later(1.0, signal.raise_signal, signal.SIGINT)
    icey.run(loop, Endless(), grace=5.0)
    assert clock() - started == pytest.approx(7.0)


@signals
def test_a_second_signal_stops_now(loop, clock):
    server = Drains(loop, 3600.0)
    started = clock()
    send_in(loop, 1.0, signal.SIGINT)
    send_in(loop, 2.0, signal.SIGTERM)
    assert icey.run(loop, server) == signal.SIGINT
    assert clock() - started == pytest.approx(2.0)
    assert not server.closed


@pytest.mark.parametrize("grace, kind", [
    (float("inf"), ValueError), (float("nan"), ValueError), (-1, ValueError), ("5", TypeError)])
def test_a_grace_that_is_no_time_is_refused_before_a_signal_needs_it(loop, grace, kind):
    with pytest.raises(kind, match="grace must be a"):
        icey.run(loop, grace=grace)


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
        self.activate()
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


# signals that the loop does not come to

def interrupts_by(number, times):
    def slot():
        for _ in range(times):
            signal.raise_signal(number)
    return slot


@signals
def test_a_second_signal_ends_a_slot_that_does_not_return_as_if_there_were_no_loop(loop):
    seen = []

    def slot():
        signal.raise_signal(signal.SIGINT)
        seen.append("the first waits for the loop")
        signal.raise_signal(signal.SIGINT)
        seen.append("not reached")

    loop.call_soon(slot)
    with pytest.raises(KeyboardInterrupt):
        icey.run(loop)
    assert seen == ["the first waits for the loop"]


@signals
def test_a_second_one_goes_to_the_handler_that_was_there_before(loop):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        loop.call_soon(interrupts_by(signal.SIGTERM, 3))
        assert icey.run(loop) == signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM] * 2


@signals
def test_a_signal_in_the_last_turn_is_told_and_sets_nothing_going_later(loop):
    server = Drains(loop)

    def last():
        loop.stop()
        signal.raise_signal(signal.SIGTERM)

    loop.call_soon(last)
    assert icey.run(loop, server) == signal.SIGTERM
    loop.run_once(0)
    assert server.drains == []


@signals
@each_signal
def test_a_signal_that_is_ignored_stays_ignored(loop, number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        during = []
        loop.call_soon(lambda: during.append(signal.getsignal(number)))
        send_in(loop, 1.0, number)
        loop.call_later(2.0, int)
        assert icey.run(loop) is None
        assert during == [signal.SIG_IGN] and signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


WAKES = {
    "stop": lambda loop, keeper: loop.stop(),
    "call_soon": lambda loop, keeper: loop.call_soon(loop.stop),
    "call_later": lambda loop, keeper: loop.call_later(0, loop.stop),
    "close": lambda loop, keeper: keeper.close(),
    "an idler": lambda loop, keeper: icey.Idler(loop, lambda idler: loop.stop()).start(),
}


@pytest.mark.parametrize("what", WAKES)
def test_what_a_signal_handler_asks_of_a_loop_that_sleeps_wakes_it(debug, what):
    """The handler runs inside of the wait, which goes on by itself behind it (PEP 475)."""
    with icey.Loop(debug) as loop:
        keeper, wait, waits = icey.Synchronizer(loop, int), loop.poller.wait, []

        def interrupted(timeout):
            waits.append(timeout)
            if len(waits) == 1:
                WAKES[what](loop, keeper)
            return wait(60 if timeout is None else timeout)

        loop.poller.wait = interrupted
        loop.call_later(50, waits.append, "it slept on").unref()
        loop.run()
        assert "it slept on" not in waits


@processes
@pytest.mark.needs("fork")
@signals
def test_in_a_forked_child_the_signals_are_as_they_were_before(loop):
    before, read, write = handlers(), *os.pipe()
    children = []

    def fork():
        child = os.fork()
        if not child:
            wakeup = signal.set_wakeup_fd(-1)
            os.write(write, b"as before" if (handlers(), wakeup) == (before, -1) else b"%r" % wakeup)
            os._exit(0)
        children.append(child)

    loop.call_soon(fork)
    icey.run(loop)
    os.waitpid(children[0], 0)
    os.close(write)
    with open(read, "rb") as pipe:
        assert pipe.read() == b"as before"


@signals
def test_a_child_that_its_hook_has_not_reached_yet_takes_a_signal_as_if_there_were_no_loop(loop, monkeypatch):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    process = os.getpid()
    try:
        def in_the_child():
            monkeypatch.setattr(os, "getpid", lambda: process + 1)
            signal.raise_signal(signal.SIGTERM)
            monkeypatch.undo()

        loop.call_soon(in_the_child)
        assert icey.run(loop) is None
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


@pytest.mark.parametrize("wrong", [None, [], 8000, icey.Loop.close])
def test_what_cannot_be_closed_is_told(loop, wrong):
    with pytest.raises(TypeError, match="what is to be closed has a close"):
        icey.run(loop, loop, wrong)


def test_a_forgotten_loop_is_told(loop):
    server = Drains(loop)
    with pytest.raises(TypeError, match=r"icey.run\(loop, ...\): the first argument is a Loop, not <Drains"):
        icey.run(server)
    with pytest.raises(TypeError, match="is a Loop, not <class"):
        icey.run(icey.Loop)
    server.close()
    loop.run()
