"""PacketStream across threads: stop and close from any of them, at any moment, without a deadlock and without a late packet."""
import threading

import pytest

from icey import AsyncPacketQueue, PacketStream, PacketStreamAdapter, SyncPacketQueue, TimerSource
from tests.support import packets, seeds
from tests.support.loops import clock, debug, loop, turns  # noqa: F401
from tests.support.packets import (
    LONG,
    Boom,
    Do,
    Pass,
    Thread,
    closing,
    data_of,
    events,
    needs_threads,
    output,
    stopping,
    turn_until,
    wait,
)

no_thread_stays = packets.no_thread_stays
pytestmark = needs_threads


def built(*stages, **options):
    stream = PacketStream(**options)
    for order, stage in enumerate(stages):
        stream.attach(stage, order)
    return stream


def numbers(count):
    return [b"%d" % number for number in range(count)]


# where things come

def test_behind_an_AsyncPacketQueue_everything_comes_in_its_one_thread():
    stream = built(AsyncPacketQueue(), Do(lambda packet: threads.append(threading.get_ident())))
    threads = []
    stream.on_packet += lambda packet: threads.append(threading.get_ident())
    stream.on_close += lambda stream: threads.append(threading.get_ident())
    closed = closing(stream)
    stream.start()
    for data in numbers(10):
        stream.write(data)
    stream.close()
    wait(closed)
    assert len(threads) == 21 and len(set(threads)) == 1 and threads[0] != threading.get_ident()


def test_with_synchronized_output_everything_comes_on_the_loop(loop):
    stream = built(AsyncPacketQueue())
    stream.synchronize_output(loop)
    threads = []
    stream.on_packet += lambda packet: threads.append(threading.get_ident())
    stream.on_close += lambda stream: threads.append(threading.get_ident())
    came = output(stream)
    stream.start()
    for data in numbers(10):
        stream.write(data)
    stream.close()
    loop.run()
    assert came == numbers(10) and set(threads) == {threading.get_ident()} and len(threads) == 11


def test_without_queues_in_the_thread_that_calls(loop):
    stream, threads = PacketStream(), []
    stream.on_packet += lambda packet: threads.append(threading.get_ident())
    stream.on_close += lambda stream: threads.append(threading.get_ident())
    stream.start()
    writer = Thread(stream.write, b"x")
    writer.join()
    closer = Thread(stream.close)
    closer.join()
    assert threads == [writer.ident, closer.ident]


def test_a_SyncPacketQueue_carries_packets_from_a_thread_to_the_loop(loop):
    stream = PacketStream()
    stream.synchronize_output(loop)
    came = output(stream)

    def work():
        stream.start()
        for data in numbers(200):
            stream.write(data)
        stream.close()

    closed = closing(stream)
    worker = Thread(work)
    turn_until(loop, closed.is_set)
    worker.join()
    turns(loop)
    assert came == numbers(200)


def test_a_stream_with_a_SyncPacketQueue_keeps_its_loop_running(loop):
    stream = PacketStream()
    stream.synchronize_output(loop)
    stream.start()
    closer = []
    loop.call_soon(lambda: closer.append(Thread(stream.close)))
    loop.run()
    assert stream.closed
    closer[0].join()
    turns(loop)


@pytest.mark.parametrize("builder", ["here", "elsewhere"])
def test_it_may_be_started_in_another_thread_than_the_loops(loop, builder):
    loop.run_once(0)
    stream = PacketStream()
    stream.synchronize_output(loop)
    closed = closing(stream)
    came = output(stream)
    if builder == "here":
        stream.start()
        Thread(stream.write, b"x").join()
    else:
        Thread(stream.start).join()
        stream.write(b"x")
    Thread(stream.close).join()
    turn_until(loop, closed.is_set)
    turns(loop)
    assert came == [b"x"]


# stop and close from inside

@pytest.mark.parametrize("verb", ["stop", "close"])
@pytest.mark.parametrize("place", ["processor before", "processor behind", "slot"])
def test_ending_from_inside(verb, place):
    queue = AsyncPacketQueue()
    before, behind = Do(lambda packet: None), Do(lambda packet: None)
    stream = built(before, queue, behind)
    came = output(stream)

    def end(packet):
        if data_of(packet) == b"3":
            getattr(stream, verb)()

    if place == "slot":
        stream.on_packet += end
    else:
        (before if place == "processor before" else behind).fn = end
    ended = closing(stream) if verb == "close" else stopping(stream)
    seen = events(stream)
    stream.start()
    written = 0
    for data in numbers(6):
        if stream.active:
            try:
                stream.write(data)
            except packets.StateError:  # it ended between the two lines
                break
            written += 1
    wait(ended)
    dropped = queue.dropped + stream.dropped
    assert came == numbers(len(came)) and len(came) + dropped == written, (came, dropped, written)
    assert seen.count(("close",)) == (verb == "close")
    if place == "processor before":
        assert came == numbers(3) and dropped == 1
    stream.close()


def test_ending_from_on_error_in_the_queues_thread():
    stream = built(AsyncPacketQueue(), Boom(), close_on_error=False)
    stream.on_error += lambda stream, exc: stream.close()
    closed = closing(stream)
    stream.start()
    stream.write(b"boom")
    wait(closed)
    assert stream.closed


def test_ending_from_on_close_itself():
    stream = built(AsyncPacketQueue())
    seen = events(stream)
    stream.on_close += lambda stream: (stream.close(), stream.stop())
    closed = closing(stream)
    stream.start()
    stream.close()
    wait(closed)
    assert seen.count(("close",)) == 1


# from a third thread

def test_close_while_a_writer_waits_for_room():
    gate, entered = threading.Event(), threading.Event()
    queue = AsyncPacketQueue(2, "block")
    stream = built(queue)
    came = []

    def slow(packet):
        entered.set()
        wait(gate)
        came.append(data_of(packet))

    stream.on_packet += slow
    closed = closing(stream)
    stream.start()
    stream.write(b"0")
    wait(entered)
    stream.write(b"1")
    stream.write(b"2")
    waits = threading.Event()
    writer = Thread(lambda: (waits.set(), stream.write(b"3")))
    wait(waits)
    Thread(stream.close).join()
    writer.join()  # although nothing has been delivered yet
    assert came == [] and not stream.closed
    gate.set()
    wait(closed)
    assert came == [b"0", b"1", b"2"] and queue.dropped == 1


def test_a_writer_that_waits_goes_on_when_there_is_room():
    gate = threading.Event()
    queue = AsyncPacketQueue(1, "block")
    stream = built(queue)
    came = []
    stream.on_packet += lambda packet: (wait(gate), came.append(data_of(packet)))
    closed = closing(stream)
    stream.start()
    writer = Thread(lambda: [stream.write(data) for data in numbers(50)])
    gate.set()
    writer.join()
    stream.close()
    wait(closed)
    assert came == numbers(50) and queue.dropped == 0


def test_close_while_a_writer_is_in_a_processor_without_queues():
    inside, gate = threading.Event(), threading.Event()
    stream = built(Do(lambda packet: (inside.set(), wait(gate))))
    came, threads = output(stream), []
    stream.on_close += lambda stream: threads.append(threading.get_ident())
    stream.start()
    writer = Thread(stream.write, b"x")
    wait(inside)
    stream.close()
    assert stream.state.name == "STOPPING" and threads == []
    gate.set()
    writer.join()
    assert stream.closed and threads == [writer.ident] and came == [] and stream.dropped == 1


def test_close_while_a_slot_runs_waits_for_it_without_blocking():
    inside, gate, seen = threading.Event(), threading.Event(), []
    stream = PacketStream()
    stream.on_packet += lambda packet: (inside.set(), wait(gate), seen.append("packet"))
    stream.on_close += lambda stream: seen.append("close")
    stream.start()
    writer = Thread(stream.write, b"x")
    wait(inside)
    Thread(stream.close).join()
    gate.set()
    writer.join()
    assert seen == ["packet", "close"]


@pytest.mark.parametrize("trials", [range(0, 60, 20), pytest.param(range(60), marks=pytest.mark.slow)], ids=["some", "all"])
@pytest.mark.parametrize("kind", ["direct", "async", "block"])
def test_nothing_is_delivered_behind_on_close_wherever_it_strikes(kind, trials):
    for trial in trials:
        stream, seen = PacketStream(), []
        if kind != "direct":
            stream.attach(AsyncPacketQueue(4, "oldest" if kind == "async" else "block"))
        stream.attach(Pass(), 1)
        stream.on_packet += lambda packet, seen=seen: seen.append(int(data_of(packet)))
        stream.on_close += lambda stream, seen=seen: seen.append("close")
        closed, reached = closing(stream), threading.Event()
        stream.start()

        def write(stream=stream, reached=reached, trial=trial):
            written = 0
            try:
                while stream.active and written < 100000:
                    if written == trial * 5:
                        reached.set()
                    stream.write(b"%d" % written)
                    written += 1
            except packets.StateError:
                pass
            reached.set()
            return written

        writer = Thread(write)
        wait(reached)
        stream.close()
        wait(closed)
        writer.join()
        assert seen[-1] == "close" and seen.count("close") == 1
        assert seen[:-1] == sorted(set(seen[:-1])), "in order, none twice"


def test_many_closers_close_once():
    for _ in range(30):
        stream = built(AsyncPacketQueue())
        seen = events(stream)
        closed = closing(stream)
        stream.start()
        stream.write(b"x")
        barrier = threading.Barrier(4)

        def close(stream=stream, barrier=barrier, verb="close"):
            barrier.wait(LONG)
            getattr(stream, verb)()

        closers = [Thread(close) for _ in range(3)]
        barrier.wait(LONG)
        stream.close()
        for closer in closers:
            closer.join()
        wait(closed)
        assert seen.count(("close",)) == 1


def test_stop_from_another_thread_while_packets_are_in_flight():
    for _ in range(seeds.rounds(10, 30)):
        queue = AsyncPacketQueue(1 << 30)
        stream = built(Pass(), queue)
        came = output(stream)
        stopped = stopping(stream)
        stream.start()

        def write(stream=stream):
            written = 0
            try:
                while True:
                    stream.write(b"%d" % written)
                    written += 1
            except packets.StateError:
                return written

        writer = Thread(write)
        stream.stop()
        written = writer.join()
        wait(stopped)
        assert came == numbers(len(came))
        assert len(came) + queue.dropped + stream.dropped == written
        stream.close()


def test_a_source_in_another_thread_never_gets_an_error_by_a_close():
    for _ in range(20):
        source, stream = PacketStreamAdapter(), PacketStream()
        came = output(stream)
        stream.attach_source(source)
        stream.start()
        brought = threading.Event()

        def bring(source=source, brought=brought):
            for number in range(2000):
                source.emit(b"%d" % number)
                brought.set()

        worker = Thread(bring)
        wait(brought)
        stream.close()
        worker.join()
        assert len(came) + stream.dropped == 2000 and came == numbers(len(came))


# sources of a loop

def test_a_close_from_another_thread_stops_the_sources_on_their_loop(loop, clock):
    source = TimerSource(loop, 1.0, lambda count: b"%d" % count)
    stream = PacketStream()
    stream.attach_source(source, sync_state=True)
    stream.start()
    assert loop.handles
    Thread(stream.close).join()
    turns(loop)
    assert stream.closed and loop.handles == ()


def test_a_stop_that_arrives_after_a_restart_does_not_stop_the_source(loop, clock):
    source = TimerSource(loop, 1.0, lambda count: b"%d" % count)
    stream = PacketStream()
    came = output(stream)
    stream.attach_source(source, sync_state=True)
    stream.start()
    Thread(stream.stop).join()
    stream.start()
    loop.run_once(0)
    clock.advance(1.0)
    loop.run_once(0)
    assert came == [b"0"]
    stream.close()
    turns(loop)


def test_an_error_in_a_queues_thread_stops_the_sources_on_their_loop(loop, clock):
    source = TimerSource(loop, 1.0, lambda count: b"boom")
    stream = built(AsyncPacketQueue(), Boom())
    seen = events(stream)
    closed = closing(stream)
    stream.attach_source(source, sync_state=True)
    stream.start()
    clock.advance(1.0)
    loop.run_once(0)
    wait(closed)
    turns(loop)
    assert ("error", "ZeroDivisionError") in seen and loop.handles == ()


# a loop that is gone

def test_a_loop_closed_before_the_stream_drops_and_counts(loop):
    stream = PacketStream()
    queue = stream.synchronize_output(loop)
    came, seen = output(stream), events(stream)
    stream.start()
    stream.write(b"a")
    loop.run_once(0)
    stream.write(b"b")
    loop.close()
    stream.write(b"c")
    assert came == [b"a"] and queue.dropped == 2
    stream.close()
    assert stream.closed and seen[-1] == ("close",)


def test_a_loop_closed_while_the_stream_closes_ends_it(loop):
    stream = PacketStream()
    queue = stream.synchronize_output(loop)
    came, seen = output(stream), events(stream)
    stream.start()
    stream.write(b"a")
    stream.close()
    assert stream.state.name == "STOPPING"
    loop.close()
    assert stream.closed and seen[-1] == ("close",) and came == [] and queue.dropped == 1


def test_a_loop_closed_before_it_heard_of_the_stream_at_all(loop):
    loop.run_once(0)
    stream = PacketStream()
    queue = stream.synchronize_output(loop)
    Thread(stream.start).join()
    stream.write(b"a")
    loop.close()
    stream.close()
    assert stream.closed and queue.dropped == 1


def test_a_stopped_stream_whose_loop_is_closed_closes_too(loop):
    stream = PacketStream()
    stream.synchronize_output(loop)
    stream.start()
    stream.stop()
    turns(loop)
    loop.close()
    stream.close()
    assert stream.closed


def test_the_error_of_a_stream_whose_loop_is_closed_is_told_here(loop):
    stream = built(Boom(), SyncPacketQueue(loop))
    seen = events(stream)
    stream.start()
    loop.close()
    stream.write(b"boom")
    assert seen[-1] == ("close",) and ("error", "ZeroDivisionError") in seen


# two queues

def test_two_threads_in_a_row_keep_the_order():
    stream = built(AsyncPacketQueue(), Pass(), AsyncPacketQueue(8, "block"), Pass())
    came = output(stream)
    closed = closing(stream)
    stream.start()
    for data in numbers(500):
        stream.write(data)
    stream.close()
    wait(closed)
    assert came == numbers(500)


def test_writing_to_ones_own_blocking_queue_when_it_is_full_is_QueueFull():
    stream = built(AsyncPacketQueue(1, "block"))
    errors = []
    stream.on_packet += lambda packet: [stream.write(b"again") for _ in range(2)]
    stream.on_error += lambda stream, exc: errors.append(str(exc))
    closed = closing(stream)
    stream.start()
    stream.write(b"x")
    wait(closed)
    assert errors == ["an AsyncPacketQueue that blocks was written to from its own thread"]


def test_a_stream_that_feeds_itself_through_its_queue():
    stream = built(AsyncPacketQueue())
    came = output(stream)
    done = threading.Event()

    def again(packet):
        if len(came) < 100:
            stream.write(b"%d" % len(came))
        else:
            done.set()

    stream.on_packet += again
    closed = closing(stream)
    stream.start()
    stream.write(b"0")
    wait(done)
    stream.close()
    wait(closed)
    assert came == numbers(100)
