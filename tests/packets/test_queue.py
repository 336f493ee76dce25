"""SyncPacketQueue and AsyncPacketQueue: policies with exact counts, order, flushing, what they refuse."""
import threading

import pytest

from icey import AsyncPacketQueue, PacketRetention, PacketStream, QueueFull, RawPacket, SyncPacketQueue
from icey.packets import queue as packetqueue
from tests.support import packets
from tests.support.loops import clock, debug, loop, turns  # noqa: F401
from tests.support.packets import Do, Thread, closing, data_of, events, needs_threads, output, wait

no_thread_stays = packets.no_thread_stays


class OnALoop:
    """A stream with a SyncPacketQueue that has packets in it, because its loop does not turn."""

    policies = ("oldest", "newest", "error")

    def __init__(self, loop, *options):
        self.loop = loop
        self.queue = SyncPacketQueue(loop, *options)
        self.stream = PacketStream()
        self.stream.attach(self.queue)
        self.came = output(self.stream)
        self.stream.start()

    def flush(self):
        self.stream.close()
        turns(self.loop)


class OnAThread:
    """A stream with an AsyncPacketQueue that has packets in it, because its thread waits in the slot."""

    policies = ("oldest", "newest", "error", "block")

    def __init__(self, loop, *options):
        packets.needs("threading")
        self.queue = AsyncPacketQueue(*options)
        self.stream = PacketStream()
        self.came = []
        self._gate, entered = threading.Event(), threading.Event()

        def slot(packet):
            if packet.flags == 512:
                entered.set()
                wait(self._gate)
            else:
                self.came.append(data_of(packet))

        self.stream.attach(self.queue)
        self.stream.on_packet += slot
        self._closed = closing(self.stream)
        self.stream.start()
        self.stream.write(b"plug", 512)
        wait(entered)

    def flush(self):
        self.stream.close()
        self._gate.set()
        wait(self._closed)


both = pytest.mark.parametrize("kind", [OnALoop, OnAThread])


def numbers(*wanted):
    return [b"%d" % number for number in wanted]


# making one

@pytest.mark.parametrize("maxsize", [0, -1, 1.5, None, True, "10"])
def test_maxsize_is_1_or_more(loop, maxsize):
    with pytest.raises(ValueError, match="maxsize is 1 or more"):
        SyncPacketQueue(loop, maxsize)


def test_policies(loop):
    for drop in ("oldest", "newest", "error"):
        assert SyncPacketQueue(loop, drop=drop).drop == drop
    for drop in ("block", "", None, "OLDEST"):
        with pytest.raises(ValueError, match="drop is one of oldest, newest, error, not"):
            SyncPacketQueue(loop, drop=drop)


@needs_threads
def test_only_an_AsyncPacketQueue_blocks():
    assert AsyncPacketQueue(drop="block").drop == "block"
    with pytest.raises(ValueError, match="drop is one of oldest, newest, error, block, not"):
        AsyncPacketQueue(drop="wait")


def test_defaults(loop):
    queue = SyncPacketQueue(loop)
    assert (queue.maxsize, queue.drop, queue.depth, queue.dropped, queue.loop) == (1024, "oldest", 0, 0, loop)
    assert queue.retention is PacketRetention.CLONED and queue.deferred


@needs_threads
def test_defaults_of_the_other():
    queue = AsyncPacketQueue()
    assert (queue.maxsize, queue.drop, queue.depth, queue.dropped, queue.loop) == (1024, "oldest", 0, 0, None)


# policies

@both
@pytest.mark.parametrize("drop, left", [("oldest", (2, 3, 4)), ("newest", (0, 1, 2))])
def test_a_full_queue_drops_by_policy_and_counts(loop, kind, drop, left):
    run = kind(loop, 3, drop)
    for number in range(5):
        run.stream.write(b"%d" % number)
        assert (run.queue.depth, run.queue.dropped) == (min(number + 1, 3), max(0, number - 2))
    run.flush()
    assert run.came == numbers(*left)
    assert (run.queue.depth, run.queue.dropped) == (0, 2)


@both
def test_drop_error_raises_QueueFull_into_the_stream(loop, kind):
    run = kind(loop, 2, "error")
    told = []
    run.stream.on_error += lambda stream, exc: told.append(exc)
    for number in range(3):
        run.stream.write(b"%d" % number)
    assert run.stream.state.name == "ERROR"
    run.flush()
    assert type(told[0]) is QueueFull and str(told[0]) == "%s holds 2 packets" % type(run.queue).__name__
    assert run.came == [] and run.queue.dropped == 2, "what was in it was dropped by the error"


@both
def test_a_queue_of_one(loop, kind):
    run = kind(loop, 1, "oldest")
    for number in range(5):
        run.stream.write(b"%d" % number)
    run.flush()
    assert run.came == numbers(4) and run.queue.dropped == 4


@both
def test_everything_that_is_in_it_is_flushed_in_order_by_close(loop, kind):
    run = kind(loop, 1000)
    for number in range(500):
        run.stream.write(b"%d" % number)
    assert run.queue.depth == 500
    run.flush()
    assert run.came == numbers(*range(500)) and run.queue.dropped == 0


@both
def test_what_comes_behind_the_end_mark_is_dropped_and_counted(loop, kind):
    run = kind(loop)
    run.stream.write(b"0")
    run.stream.stop()
    for _ in range(3):
        run.queue.process(RawPacket(b"late"))
    assert run.queue.dropped == 3
    run.flush()
    run.queue.process(RawPacket(b"later"))
    assert run.came == numbers(0) and run.queue.dropped == 4


def test_a_queue_that_is_in_no_running_stream_drops(loop):
    queue = SyncPacketQueue(loop)
    queue.process(RawPacket(b"x"))
    assert (queue.depth, queue.dropped) == (0, 1)


@both
def test_the_oldest_packet_goes_not_a_mark_before_it(loop, kind):
    run = kind(loop, 1, "oldest")
    called = []
    run.queue.call(lambda: called.append(1))
    run.stream.write(b"0")
    run.stream.write(b"1")
    run.flush()
    assert run.came == numbers(1) and called == [1] and run.queue.dropped == 1


# of a loop

def test_one_turn_delivers_what_was_there_when_it_began(loop):
    stream = PacketStream()
    stream.attach(SyncPacketQueue(loop))
    came = output(stream)
    stream.attach(Do(lambda packet: stream.write(packet.data + b"'") if packet.size < 4 else None), -1) and None
    stream.start()
    stream.write(b"x")
    loop.run_once(0)
    loop.run_once(0)
    assert sorted(came) == [b"x", b"x'", b"x''", b"x'''"]
    stream.close()
    turns(loop)


def test_a_long_queue_has_its_share_of_a_turn_and_is_flushed_all_the_same(loop, monkeypatch):
    monkeypatch.setattr(packetqueue, "SHARE", 4)
    queued = OnALoop(loop, 100)
    for number in range(10):
        queued.stream.write(b"%d" % number)
    queued.stream.close()
    counts = []
    while not queued.stream.closed:
        loop.run_once(0)
        counts.append(len(queued.came))
    assert counts[:3] == [4, 8, 10] and queued.came == numbers(*range(10)) and queued.queue.dropped == 0


def test_a_slot_that_writes_waits_for_the_next_turn(loop):
    run = OnALoop(loop)
    run.stream.on_packet += lambda packet: run.stream.write(b"again") if len(run.came) < 3 else None
    run.stream.write(b"x")
    loop.run_once(0)
    counts = [len(run.came)]
    loop.run_once(0)
    counts.append(len(run.came))
    assert counts == [1, 2]
    loop.run_once(0)
    run.flush()


def test_an_unheard_exception_does_not_lose_the_rest(loop):
    told = []
    loop.on_error += lambda loop, exc, handle: told.append(type(exc))
    stream = PacketStream(close_on_error=False)
    queue = stream.attach(SyncPacketQueue(loop))
    stream.on_packet += lambda packet: 1 // 0
    stream.start()
    for _ in range(3):
        stream.write(b"x")
    turns_left = 5
    while turns_left and loop.run_once(0):
        turns_left -= 1
    assert told == [ZeroDivisionError] and stream.state.name == "ERROR"
    assert queue.dropped == 2 and queue.depth == 0
    stream.close()
    turns(loop)
    assert stream.closed


def test_it_lets_its_loop_go_when_the_stream_has_stopped(loop):
    run = OnALoop(loop)
    assert loop.run_once(0) is True
    run.stream.stop()
    turns(loop)
    assert loop.run_once(0) is False and run.stream.stopped
    run.stream.start()
    assert loop.run_once(0) is True
    run.flush()


def test_a_call_that_came_when_the_queue_was_over_finds_nothing(loop):
    run = OnALoop(loop)
    loop.post(run.queue._drain)
    loop.post(run.queue._drain)
    run.stream.write(b"x")
    run.flush()
    assert run.came == [b"x"]


def test_a_drain_that_overtakes_another_finds_the_queue_empty(loop):
    run = OnALoop(loop)
    run.stream.on_packet += lambda packet: run.queue._drain()
    run.stream.write(b"a")
    run.stream.write(b"b")
    loop.run_once(0)
    assert run.came == [b"a", b"b"]
    run.flush()


def test_what_is_to_come_first_comes_before_the_packets_or_not_at_all_when_it_is_over(loop):
    run, order = OnALoop(loop), []
    run.stream.on_packet += lambda packet: order.append("packet")
    run.stream.write(b"x")
    assert run.queue.call_first(lambda: order.append("call")) is True
    run.flush()
    assert order == ["call", "packet"]
    assert run.queue.call_first(order.clear) is False


def test_the_base_does_not_know_where_to_deliver():
    from icey.packets.queue import PacketQueue

    with pytest.raises(NotImplementedError):
        PacketQueue()._wake()


# of a thread

@needs_threads
def test_its_thread_lives_while_the_stream_runs():
    before = threading.active_count()
    stream = PacketStream()
    stream.attach(AsyncPacketQueue())
    assert threading.active_count() == before
    stream.start()
    workers = packets.workers()
    assert len(workers) == 1 and workers[0].daemon
    stream.stop()
    workers[0].join(packets.LONG)
    assert not workers[0].is_alive() and threading.active_count() == before


@needs_threads
def test_one_ring_too_many_is_harmless():
    """A thread that is awake was rung for, or an interrupt came between the ring and its note: it looks, and sleeps again."""
    stream = PacketStream()
    queue = stream.attach(AsyncPacketQueue())
    came, closed = output(stream), closing(stream)
    stream.start()
    for number in range(100):
        stream.write(b"%d" % number)
        for _ in range(number % 3):
            queue._wake()
    packets.wait_for(lambda: len(came) == 100)
    packets.wait_for(lambda: queue._sleeps)
    queue._sleeps = True
    stream.write(b"100")
    stream.close()
    wait(closed)
    assert came == numbers(*range(101)) and queue.dropped == 0


@needs_threads
def test_no_lock_is_held_while_it_delivers():
    stream = PacketStream()
    queue = stream.attach(AsyncPacketQueue(4))
    depths = []

    def slot(packet):
        depths.append(Thread(lambda: (queue.depth, queue.process(RawPacket(b"x")) if len(depths) < 2 else None)).join()[0])

    stream.on_packet += slot
    seen, closed = events(stream), closing(stream)
    stream.start()
    stream.write(b"x")
    packets.wait_for(lambda: len(depths) == 3)
    stream.close()
    wait(closed)
    assert len(depths) == 3 and seen[-1] == ("close",)


@needs_threads
def test_in_a_sub_interpreter_its_thread_is_joined_at_the_end_and_delivers_no_more(monkeypatch):
    """Here as if this were one: tests/test_subinterpreters.py has real ones."""
    ends, gate = [], threading.Event()
    monkeypatch.setattr(packetqueue, "in_main_interpreter", lambda: False)
    monkeypatch.setattr(packetqueue, "at_end", ends.append)
    monkeypatch.setattr(packetqueue, "_queues", None)
    stream, other = PacketStream(), PacketStream()
    queue = stream.attach(AsyncPacketQueue(4, "block"))
    other.attach(AsyncPacketQueue())
    came = []
    stream.on_packet += lambda packet: (came.append(bytes(packet.data)), gate.wait(packets.LONG))
    stream.start()
    other.start()
    other.close()
    thread, = (thread for thread in packets.workers() if thread.is_alive() and thread is queue._thread)
    assert len(ends) == 1, "one for all queues"
    for number in range(5):  # the first is being delivered, the others fill the queue
        stream.write(b"%d" % number)
    packets.wait_for(lambda: came == [b"0"])
    threading.Timer(0.01, gate.set).start()
    ends[0]()
    assert not thread.is_alive() and came == [b"0"]
    stream.write(b"5")
    ends[0]()
    closed = closing(stream)
    stream.close()
    wait(closed)
    assert came == [b"0"] and queue.dropped == 5
