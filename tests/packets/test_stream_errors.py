"""PacketStream, errors: from each place, heard or not, told once and in the right place; what is under way is counted."""
import pytest

from icey import AsyncPacketQueue, PacketProcessor, PacketStream, PacketStreamAdapter, QueueFull, StateError, SyncPacketQueue
from tests.support import packets
from tests.support.loops import clock, debug, loop, turns  # noqa: F401
from tests.support.packets import Boom, Pass, Thread, closing, events, needs_threads, output, wait

no_thread_stays = packets.no_thread_stays
END = [("ERROR", "CLOSED"), ("close",)]


def built(*stages, **options):
    stream = PacketStream(**options)
    for order, stage in enumerate(stages):
        stream.attach(stage, order)
    return stream


# in the writer's thread

def test_a_processors_exception_goes_to_on_error_once_and_closes():
    stream = built(Pass(), Boom())
    seen = events(stream)
    came = output(stream)
    stream.start()
    stream.write(b"fine")
    del seen[:]
    stream.write(b"boom")
    assert seen == [("ACTIVE", "ERROR"), ("error", "ZeroDivisionError")] + END
    assert came == [b"fine"] and type(stream.error) is ZeroDivisionError
    with pytest.raises(StateError):
        stream.write(b"more")


def test_on_error_gets_the_stream_and_the_exception():
    stream, got = built(Boom()), []
    stream.on_error += lambda *args: got.append(args)
    stream.start()
    stream.write(b"boom")
    assert got == [(stream, stream.error)]


def test_nobody_attached_it_is_raised_after_closing():
    stream, states = built(Boom()), []
    stream.on_close += lambda stream: states.append("closed")
    stream.start()
    with pytest.raises(ZeroDivisionError):
        stream.write(b"boom")
    assert stream.closed and states == ["closed"] and type(stream.error) is ZeroDivisionError


def test_nobody_attached_any_more_counts_as_nobody():
    stream, slot = built(Boom()), print
    stream.on_error += slot
    stream.on_error -= slot
    stream.start()
    with pytest.raises(ZeroDivisionError):
        stream.write(b"boom")


def test_close_on_error_False_stays_in_ERROR():
    stream = built(Boom(), close_on_error=False)
    seen = events(stream)
    stream.start()
    stream.write(b"boom")
    assert stream.state.name == "ERROR" and ("close",) not in seen
    with pytest.raises(StateError, match="that is ERROR"):
        stream.write(b"x")
    with pytest.raises(StateError, match="that is ERROR.*Instead: close"):
        stream.stop()
    stream.close()
    assert seen[-2:] == END


def test_close_on_error_False_and_nobody_attached():
    stream = built(Boom(), close_on_error=False)
    stream.start()
    with pytest.raises(ZeroDivisionError):
        stream.write(b"boom")
    assert stream.state.name == "ERROR"
    stream.close()
    assert stream.closed


def test_an_exception_of_accepts_counts_the_same():
    class Picky(PacketProcessor):
        def accepts(self, packet):
            raise KeyError("what is it")

    stream = built(Picky())
    seen = events(stream)
    stream.start()
    stream.write(b"x")
    assert ("error", "KeyError") in seen


def test_an_exception_of_an_on_packet_slot_counts_the_same():
    stream = built(Pass())
    stream.on_packet += lambda packet: 1 // 0
    seen = events(stream)
    stream.start()
    stream.write(b"x")
    assert seen[1:] == [("ACTIVE", "ERROR"), ("error", "ZeroDivisionError")] + END


def test_an_exception_of_a_stages_own_slot_counts_the_same():
    stage = Pass()
    stage.on_packet += lambda packet: 1 // 0
    stream = built(stage)
    seen = events(stream)
    stream.start()
    stream.write(b"x")
    assert ("error", "ZeroDivisionError") in seen


def test_KeyboardInterrupt_and_SystemExit_pass_through():
    for error in (KeyboardInterrupt, SystemExit):
        stream = built(Boom(error=error))
        seen = events(stream)
        stream.start()
        with pytest.raises(error):
            stream.write(b"boom")
        assert stream.active and len(seen) == 1
        stream.write(b"x")
        stream.close()
        assert stream.closed, "a write that was interrupted is over"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", ["on_state", "stop"])
def test_one_that_strikes_while_the_stream_ends_keeps_nothing_from_its_end(place, error):
    """Else it would be stopping for ever, a source that runs with it would go on, and no close() would help."""
    class Source(PacketStreamAdapter):
        started = False

        def start(self):
            self.started = True

        def stop(self):
            self.started = False
            if place == "stop":
                raise error

    def told(stream, new, old):
        if place == "on_state" and new.name == "STOPPING":
            raise error

    source, stream, closed = Source(), PacketStream(), []
    stream.attach_source(source, sync_state=True)
    stream.on_state += told
    stream.on_close += closed.append
    stream.start()
    with pytest.raises(error):
        stream.close()
    assert stream.closed and closed == [stream] and not source.started


def test_what_an_on_error_slot_raises_is_logged_and_the_stream_closes(caplog):
    packets.needs("logging")
    stream, told = built(Boom()), []
    stream.on_error += lambda stream, exc: 1 // 0
    stream.on_error += lambda stream, exc: told.append(exc)
    stream.start()
    stream.write(b"boom")
    assert stream.closed and told == [stream.error]
    assert [record.getMessage() for record in caplog.records] == ["a slot of on_error"]


def test_an_on_error_slot_may_close():
    stream = built(Boom(), close_on_error=False)
    stream.on_error += lambda stream, exc: stream.close()
    seen = events(stream)
    stream.start()
    stream.write(b"boom")
    assert stream.closed and seen.count(("close",)) == 1


def test_a_nested_write_that_fails_is_told_once():
    class Nests(PacketProcessor):
        def process(self, packet):
            if packet.data == b"outer":
                stream.write(b"boom")
            self.emit(packet)

    stream = built(Nests(), Boom())
    seen = events(stream)
    came = output(stream)
    stream.start()
    stream.write(b"outer")
    assert seen.count(("error", "ZeroDivisionError")) == 1 and seen.count(("close",)) == 1
    assert came == [] and stream.dropped == 1


def test_a_second_exception_on_the_way_out_is_logged(caplog):
    class Worse(PacketProcessor):
        def process(self, packet):
            if packet.data == b"outer":
                stream.write(b"boom")
                raise KeyError("when it was over")
            self.emit(packet)

    packets.needs("logging")
    stream = built(Worse(), Boom(), name="named")
    seen = events(stream)
    stream.start()
    stream.write(b"outer")
    assert [one for one in seen if one[0] == "error"] == [("error", "ZeroDivisionError")]
    assert [record.getMessage() for record in caplog.records] == ["named: raised when it was over"]


def test_an_exception_while_it_stops(loop):
    stream = built(SyncPacketQueue(loop), Boom())
    seen = events(stream)
    came = output(stream)
    stream.start()
    for data in (b"a", b"boom", b"c"):
        stream.write(data)
    stream.stop()
    turns(loop)
    assert came == [b"a"] and stream.closed
    assert seen == [("NONE", "ACTIVE"), ("ACTIVE", "STOPPING"), ("STOPPING", "ERROR"), ("error", "ZeroDivisionError")] + END


def test_an_exception_while_it_stops_and_stays_in_ERROR(loop):
    stream = built(SyncPacketQueue(loop), Boom(), close_on_error=False)
    seen = events(stream)
    stream.start()
    stream.write(b"boom")
    stream.stop()
    turns(loop)
    assert stream.state.name == "ERROR"
    stream.close()
    assert ("close",) not in seen, "it comes on the loop"
    turns(loop)
    assert seen[-2:] == END


def test_a_source_that_brings_the_packet_sees_nothing_of_a_heard_error():
    source = PacketStreamAdapter()
    stream = built(Boom())
    stream.attach_source(source)
    seen = events(stream)
    stream.start()
    source.emit(b"boom")
    source.emit(b"late")
    assert ("error", "ZeroDivisionError") in seen and stream.dropped == 1


def test_a_source_gets_an_error_that_nobody_hears():
    source = PacketStreamAdapter()
    stream = built(Boom())
    stream.attach_source(source)
    stream.start()
    with pytest.raises(ZeroDivisionError):
        source.emit(b"boom")
    assert stream.closed


def test_sync_state_sources_are_stopped():
    class Source(PacketStreamAdapter):
        running = False

        def start(self):
            self.running = True

        def stop(self):
            self.running = False

    for close in (True, False):
        source, stream = Source(), built(Boom(), close_on_error=close)
        stream.on_error += lambda stream, exc: None
        stream.attach_source(source, sync_state=True)
        stream.start()
        assert source.running
        stream.write(b"boom")
        assert not source.running


# with queues

def test_before_a_queue_what_it_holds_is_dropped_and_counted(loop):
    queue = SyncPacketQueue(loop)
    stream = built(Boom(), queue)
    seen = events(stream)
    came = output(stream)
    stream.start()
    for data in (b"a", b"b", b"boom"):
        stream.write(data)
    assert seen[-1] == ("ACTIVE", "ERROR"), "on_error comes on the loop"
    turns(loop)
    assert seen[-3:] == [("error", "ZeroDivisionError")] + END
    assert came == [] and queue.dropped == 2 and queue.depth == 0


def test_behind_a_queue_it_is_told_on_the_loop_and_not_raised_there(loop):
    queue = SyncPacketQueue(loop)
    stream = built(queue, Boom())
    seen = events(stream)
    came = output(stream)
    stream.start()
    for data in (b"a", b"boom", b"b", b"c"):
        stream.write(data)
    turns(loop)
    assert came == [b"a"] and queue.dropped == 2 and seen[-3:] == [("error", "ZeroDivisionError")] + END


def test_behind_a_queue_unheard_it_goes_to_the_loops_on_error(loop):
    queue, told = SyncPacketQueue(loop), []
    loop.on_error += lambda loop, exc, handle: told.append(type(exc))
    stream = built(queue, Boom())
    closed = closing(stream)
    stream.start()
    for data in (b"boom", b"b"):
        stream.write(data)
    turns(loop)
    assert told == [ZeroDivisionError] and closed.is_set() and queue.dropped == 1


def test_between_two_queues_of_one_loop(loop):
    first, second = SyncPacketQueue(loop), SyncPacketQueue(loop)
    stream = built(first, Boom(), second)
    seen = events(stream)
    came = output(stream)
    stream.start()
    for data in (b"a", b"boom", b"b"):
        stream.write(data)
    turns(loop)
    assert came == [] and (first.dropped, second.dropped) == (1, 1)
    assert seen[-3:] == [("error", "ZeroDivisionError")] + END


def test_QueueFull_of_drop_error_is_the_streams_error(loop):
    queue = SyncPacketQueue(loop, 2, "error")
    stream = built(queue)
    seen = events(stream)
    stream.start()
    for _ in range(3):
        stream.write(b"x")
    assert type(stream.error) is QueueFull and "SyncPacketQueue holds 2 packets" in str(stream.error)
    turns(loop)
    assert seen[-3:] == [("error", "QueueFull")] + END and queue.dropped == 2


@needs_threads
@pytest.mark.parametrize("close_on_error", [True, False])
def test_behind_an_AsyncPacketQueue_it_is_told_in_its_thread(close_on_error):
    queue = AsyncPacketQueue()
    stream = built(queue, Boom(), close_on_error=close_on_error)
    threads, failed = [], packets.threading.Event()
    stream.on_packet += lambda packet: threads.append(packets.threading.get_ident())

    def heard(stream, exc):
        threads.append(packets.threading.get_ident())
        failed.set()

    stream.on_error += heard
    stream.on_close += lambda stream: threads.append(packets.threading.get_ident())
    closed = closing(stream)
    stream.start()
    stream.write(b"fine")
    stream.write(b"boom")
    wait(failed)
    stream.close()
    wait(closed)
    assert len(threads) == 3 and len(set(threads)) == 1 and threads[0] != packets.threading.get_ident()


@needs_threads
def test_before_an_AsyncPacketQueue_it_is_told_in_the_queues_thread_too():
    stream = built(Boom(), AsyncPacketQueue())
    threads = []
    stream.on_error += lambda stream, exc: threads.append(packets.threading.get_ident())
    closed = closing(stream)
    stream.start()
    stream.write(b"boom")
    wait(closed)
    assert len(threads) == 1 and threads[0] != packets.threading.get_ident()


@needs_threads
def test_with_synchronized_output_it_is_told_on_that_loop_wherever_it_was_raised(loop):
    for stages in ([Boom(), AsyncPacketQueue()], [AsyncPacketQueue(), Boom()]):
        stream = built(*stages)
        stream.synchronize_output(loop)
        seen = []
        stream.on_error += lambda stream, exc, seen=seen: seen.append(("error", packets.threading.get_ident()))
        stream.on_close += lambda stream, seen=seen: seen.append(("close", packets.threading.get_ident()))
        stream.start()
        stream.write(b"boom")
        loop.run()
        me = packets.threading.get_ident()
        assert seen == [("error", me), ("close", me)]


@needs_threads
def test_behind_an_AsyncPacketQueue_unheard_it_ends_that_thread_loudly(monkeypatch):
    loud = []
    monkeypatch.setattr(packets.threading, "excepthook", lambda args: loud.append(args.exc_type))
    queue = AsyncPacketQueue()
    stream = built(queue, Boom())
    closed = closing(stream)
    stream.start()
    stream.write(b"boom")
    wait(closed)
    for thread in packets.workers():
        thread.join(packets.LONG)
    assert loud == [ZeroDivisionError] and stream.closed


@needs_threads
def test_on_error_comes_once_though_both_sides_of_a_queue_fail():
    packets.needs("logging")
    gate = packets.threading.Event()
    stream = built(Boom(b"before"), AsyncPacketQueue())
    errors = []

    def slot(packet):
        wait(gate)
        raise KeyError

    stream.on_packet += slot
    stream.on_error += lambda stream, exc: errors.append(type(exc).__name__)
    closed = closing(stream)
    stream.start()
    stream.write(b"x")
    stream.write(b"before")
    gate.set()
    wait(closed)
    assert errors == ["ZeroDivisionError"]


# branches

def branch_of(trunk, *stages):
    branch = built(*stages)
    branch.attach_source(trunk)
    branch.start()
    return branch


@pytest.mark.parametrize("which", [0, 1])
def test_who_takes_from_a_stage_fails_with_its_stream(which):
    stages = [Pass(), Boom()]
    trunk = built(*stages)
    branch = PacketStream()
    branch.attach_source(stages[which])
    seen = events(branch)
    branch.start()
    trunk.on_error += lambda stream, exc: None
    trunk.start()
    trunk.write(b"boom")
    assert trunk.closed and branch.closed and branch.error is trunk.error is not None
    assert [event[0] for event in seen].count("error") == 1


def test_a_branch_that_fails_and_is_heard_leaves_the_others_alone():
    trunk = built(Pass())
    bad, good = branch_of(trunk, Boom()), branch_of(trunk, Pass())
    seen = events(bad)
    came = output(good)
    trunk.start()
    for data in (b"a", b"boom", b"b"):
        trunk.write(data)
    assert came == [b"a", b"boom", b"b"] and trunk.active and good.active
    assert bad.closed and ("error", "ZeroDivisionError") in seen and bad.dropped == 1


def test_a_branch_that_fails_unheard_is_its_sources_error():
    trunk = built(Pass())
    bad = branch_of(trunk, Boom())
    seen = events(trunk)
    trunk.start()
    trunk.write(b"boom")
    assert bad.closed and trunk.closed and ("error", "ZeroDivisionError") in seen


@needs_threads
def test_a_branch_that_fails_behind_its_queue_leaves_the_others_alone():
    trunk = built(Pass())
    bad, good = branch_of(trunk, AsyncPacketQueue(), Boom()), branch_of(trunk, AsyncPacketQueue(), Pass())
    seen = events(bad)
    came = output(good)
    closed, finished = closing(bad), closing(good)
    trunk.start()
    for data in (b"a", b"boom", b"b"):
        trunk.write(data)
    wait(closed)
    trunk.write(b"c")
    good.close()
    wait(finished)
    assert came == [b"a", b"boom", b"b", b"c"] and trunk.active
    assert ("error", "ZeroDivisionError") in seen


def test_an_error_in_another_thread_than_the_builders():
    stream = built(Boom())
    threads = []
    stream.on_error += lambda stream, exc: threads.append(packets.threading.get_ident())
    stream.start()
    writer = Thread(stream.write, b"boom")
    writer.join()
    assert threads == [writer.ident] and stream.closed
