"""PacketStream, the chain: order of stages, what reaches the output, loans and boundaries, nested writes, sources."""
import gc
import struct
import weakref

import pytest

from icey import (
    AsyncPacketQueue,
    BorrowError,
    FlagPacket,
    GraphError,
    PacketProcessor,
    PacketStream,
    PacketStreamAdapter,
    RawPacket,
    Signal,
    StateError,
    SyncPacketQueue,
    ThreadSignal,
)
from tests.support import packets
from tests.support.loops import clock, debug, loop, turns  # noqa: F401
from tests.support.packets import (
    Boom,
    Cloned,
    Do,
    Each,
    Pass,
    Retained,
    closing,
    events,
    needs_threads,
    output,
    wait,
)
from tests.support.streams import PYPY, collect, exports  # noqa: F401

no_thread_stays = packets.no_thread_stays


def started(*stages, **options):
    stream = PacketStream(**options)
    for stage in stages:
        stream.attach(stage)
    stream.start()
    return stream


# order

def test_stages_run_in_ascending_order_equals_as_attached():
    seen, stream = [], PacketStream()
    for order, name in [(0, "c"), (101, "g"), (-1, "a"), (0, "d"), (100, "f"), (-1, "b"), (7, "e")]:
        assert type(stream.attach(Pass(name, seen), order)) is Pass
    assert [stage.name for stage in stream.processors] == list("abcdefg")
    stream.start()
    stream.write(b"x")
    assert "".join(seen) == "abcdefg"


@pytest.mark.parametrize("order", [-2, 102, 1.5, None, "1", True])
def test_other_orders_are_ValueError(order):
    stream = PacketStream()
    with pytest.raises(ValueError, match="an order is -1 to 101"):
        stream.attach(Pass(), order)
    assert stream.processors == []


def test_what_is_no_processor_is_TypeError():
    for thing in (None, print, PacketStreamAdapter(), PacketStream()):
        with pytest.raises(TypeError, match="a stage is a PacketProcessor"):
            PacketStream().attach(thing)


def test_a_stage_is_in_a_stream_once():
    stream, stage = PacketStream(), Pass()
    stream.attach(stage)
    with pytest.raises(GraphError, match="Pass is in this stream already"):
        stream.attach(stage, 5)


def test_a_stage_of_a_running_stream_cannot_run_in_another():
    stage = Pass()
    stream = started(stage)
    other = PacketStream()
    other.attach(stage)
    with pytest.raises(GraphError, match="in another stream that runs"):
        other.start()
    stream.stop()
    other.start()
    other.write(b"x")
    assert stage.seen == [b"x"] and stream.dropped == 0


def test_detach_takes_a_stage_out():
    stream, stage = PacketStream(), Pass()
    stream.attach(stage)
    assert stream.detach(stage) is True and stream.detach(stage) is False
    stream.start()
    stream.write(b"x")
    assert stage.seen == []


def test_a_stage_detached_from_a_stopped_stream_emits_to_nobody():
    stage = Pass()
    stream = started(stage)
    stream.stop()
    stream.detach(stage)
    stage.emit(b"x")
    assert stream.dropped == 0


# output

def test_without_stages_and_slots_it_is_a_sink():
    stream = started()
    stream.write(b"x")
    assert stream.active


@pytest.mark.parametrize("data", [b"x", bytearray(b"x"), memoryview(b"x"), RawPacket(b"x")], ids=lambda x: type(x).__name__)
def test_write_takes_packets_and_bytes(data):
    stream = started()
    came = output(stream)
    stream.write(data)
    assert came == [b"x"]


def test_write_adds_flags():
    stream = started()
    flags = []
    stream.on_packet += lambda packet: flags.append(packet.flags)
    stream.write(b"x", 256)
    stream.write(FlagPacket(512), flags=256)
    assert flags == [256, 768]


def test_write_of_anything_else_is_TypeError_and_no_error_of_the_stream():
    stream = started()
    for data in ("text", None, 5):
        with pytest.raises(TypeError):
            stream.write(data)
    assert stream.active and stream.error is None


def test_slots_may_come_and_go_while_it_runs():
    stream, came = started(), []
    stream.write(b"unheard")
    stream.on_packet += came.append
    packet = RawPacket(b"x")
    stream.write(packet)
    stream.on_packet -= came.append
    stream.write(b"y")
    stream.on_packet.attach(came.append, once=True)
    stream.write(packet)
    stream.write(packet)
    assert came == [packet, packet]


def test_a_stage_may_emit_nothing_or_much():
    stream = started(Each(), Do(lambda packet: None))
    came = output(stream)
    stream.write(b"abc")
    stream.write(b"")
    assert came == [b"a", b"b", b"c"]


def test_the_same_packet_goes_all_the_way_through():
    stream, packet, came = started(*[Pass() for _ in range(5)]), RawPacket(b"x"), []
    stream.on_packet += came.append
    stream.write(packet)
    assert came == [packet]


def test_a_packet_that_nobody_accepts_comes_out_as_it_went_in():
    class Never(PacketProcessor):
        def accepts(self, packet):
            return False

        def process(self, packet):
            raise AssertionError

    stream, came = started(Never(), Never()), []
    stream.on_packet += came.append
    packet = RawPacket(bytearray(b"x"))
    stream.write(packet)
    assert came == [packet]


def test_a_stage_has_slots_of_its_own():
    seen, stage = [], Pass()
    stream = started(stage, Do(lambda packet: seen.append("next")))
    stage.on_packet += lambda packet: seen.append("slot")
    stream.write(b"x")
    assert seen == ["next", "slot"]


def test_a_nested_write_is_a_write():
    stream = PacketStream()
    came = output(stream)
    stream.attach(Do(lambda packet: stream.write(packet.data[1:]) if packet.size > 1 else None))
    stream.start()
    stream.write(bytearray(b"abc"))
    assert came == [b"c", b"bc", b"abc"]


def test_a_stage_may_emit_by_itself_between_writes():
    stage = Pass()
    stream = started(stage, Pass())
    came = output(stream)
    stage.emit(b"tick")
    stage.emit(bytearray(b"tock"))
    assert came == [b"tick", b"tock"]
    stream.close()
    stage.emit(b"late")
    assert came == [b"tick", b"tock"] and stream.dropped == 1


# loans

def test_a_revoked_packet_that_is_written_again_and_not_looked_at_is_nothing():
    stream, seen, packet = started(), [], RawPacket(bytearray(b"abc"))
    stream.on_packet += seen.append
    for _ in range(3):
        stream.write(packet)
    assert len(seen) == 3 and all(one is packet for one in seen) and not stream.closed


def test_a_borrowed_packet_is_revoked_when_write_returns():
    stream, kept = started(Pass(), Pass()), []
    stream.on_packet += lambda packet: kept.append((packet, packet.data))
    stream.write(bytearray(b"x"))
    packet, view = kept[0]
    with pytest.raises(BorrowError, match="after the write.. or emit.. that lent it returned"):
        packet.data
    with pytest.raises(ValueError):
        bytes(view)


def test_the_writers_own_packet_is_revoked_too():
    stream, packet = started(), RawPacket(bytearray(b"x"))
    stream.write(packet)
    with pytest.raises(BorrowError):
        packet.data


def test_a_revoked_packet_written_again_is_the_streams_error():
    stream, packet = started(Cloned()), RawPacket(bytearray(b"x"))
    seen = events(stream)
    stream.write(packet)
    stream.write(packet)
    assert ("error", "BorrowError") in seen and stream.closed


def test_an_owned_packet_may_be_written_again_and_again():
    stream, packet = started(Pass()), RawPacket(b"x")
    came = output(stream)
    for _ in range(3):
        stream.write(packet)
    assert came == [b"x"] * 3


def test_a_nested_write_of_the_lent_packet_revokes_nothing():
    inner, came = started(), []
    outer = started(Do(lambda packet: inner.write(packet)), Do(lambda packet: came.append(bytes(packet.data))))
    outer.write(bytearray(b"x"))
    assert came == [b"x"]


def test_what_a_stage_lends_lives_until_its_emit_returns():
    kept = []

    class Lends(PacketProcessor):
        def process(self, packet):
            mine = RawPacket(bytearray(b"mine"))
            self.emit(mine)
            with pytest.raises(BorrowError):
                mine.data
            kept.append(bytes(packet.data))
            self.emit(packet)

    stream = started(Lends())
    came = output(stream)
    stream.write(bytearray(b"x"))
    assert came == [b"mine", b"x"] and kept == [b"x"]


@pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")
def test_a_C_level_export_of_a_lent_packet_is_the_streams_error(exports):
    stream = started()
    stream.on_packet += lambda packet: exports.append(struct.iter_unpack("B", packet.data))
    errors = []
    stream.on_error += lambda stream, exc: errors.append(exc)
    stream.write(bytearray(b"x"))
    assert type(errors[0]) is BorrowError and "outlived the write" in str(errors[0]) and stream.closed


@pytest.mark.parametrize("stage", [Cloned, Retained])
def test_behind_a_boundary_packets_may_be_kept(stage):
    stream, kept, memory = started(Pass(), stage(), Pass()), [], bytearray(b"x")
    stream.on_packet += kept.append
    stream.write(memory)
    memory[:] = b"y"
    assert kept[0].data == b"x"


def test_before_a_boundary_they_may_not():
    kept = []
    stream = started(Do(kept.append), Cloned())
    came = output(stream)
    stream.write(bytearray(b"x"))
    assert came == [b"x"]
    with pytest.raises(BorrowError):
        kept[0].data


def test_a_queue_clones_and_the_original_stays_borrowed(loop):
    kept, borrowed = [], []
    stream = started(Do(kept.append), SyncPacketQueue(loop), Do(lambda packet: borrowed.append(packet.borrowed)))
    packet = RawPacket(bytearray(b"x"))
    stream.write(packet)
    with pytest.raises(BorrowError):
        kept[0].data
    stream.close()
    turns(loop)
    assert borrowed == [False]


def test_boundary_is_the_first_that_clones_or_retains(loop):
    stream = PacketStream()
    assert stream.boundary is None
    stream.attach(Pass())
    assert stream.boundary is None
    cloned, retained, queue = Cloned(), Retained(), SyncPacketQueue(loop)
    for stage, order in ((queue, 9), (cloned, 7), (retained, 5)):
        stream.attach(stage, order)
        assert stream.boundary is stage


# sources

class Source(PacketStreamAdapter):
    """Counts how it is started and stopped."""

    def __init__(self, calls=None, name=""):
        self.calls = [] if calls is None else calls
        self.name = name

    def start(self):
        self.calls.append(self.name + "start")

    def stop(self):
        self.calls.append(self.name + "stop")


@pytest.mark.parametrize("make, bring", [
    (Signal, lambda source, packet: source.emit(packet)),
    (ThreadSignal, lambda source, packet: source.emit(packet)),
    (PacketStreamAdapter, lambda source, packet: source.emit(packet)),
    (started, lambda source, packet: source.write(packet)),
], ids=["signal", "thread signal", "adapter", "stream"])
def test_signals_adapters_and_streams_are_sources(make, bring):
    source, stream = make(), PacketStream()
    came = output(stream)
    assert stream.attach_source(source) is source
    assert stream.sources == [source]
    bring(source, b"early")
    stream.start()
    bring(source, b"x")
    bring(source, bytearray(b"y"))
    stream.stop()
    bring(source, b"late")
    assert came == [b"x", b"y"] and stream.dropped == 2
    assert stream.detach_source(source) is True and stream.detach_source(source) is False
    bring(source, b"gone")
    assert stream.dropped == 2


def test_several_sources_are_merged():
    sources, stream = [Source() for _ in range(3)], PacketStream()
    came = output(stream)
    for source in sources:
        stream.attach_source(source)
    stream.start()
    for number, source in enumerate(sources):
        source.emit(b"%d" % number)
    assert came == [b"0", b"1", b"2"]


def test_what_is_no_source_is_TypeError():
    for thing in (None, print, b"x", Pass):
        if thing is not Pass:
            with pytest.raises(TypeError, match="a source is a signal, an adapter or a PacketStream"):
                PacketStream().attach_source(thing)


def test_a_source_is_attached_once():
    stream, source = PacketStream(), Source()
    stream.attach_source(source)
    with pytest.raises(GraphError, match="Source is a source of this stream already"):
        stream.attach_source(source)


def test_a_stream_is_not_its_own_source_through_others_neither():
    a, b, c = PacketStream("a"), PacketStream("b"), PacketStream("c")
    b.attach_source(a)
    c.attach_source(b)
    for stream in (a, b, c):
        with pytest.raises(GraphError, match="cannot be its own source"):
            a.attach_source(stream)
    b.detach_source(a)
    a.attach_source(c)


def test_sync_state_sources_start_last_and_stop_in_reverse():
    calls, stream = [], PacketStream()
    for name in "ab":
        stream.attach_source(Source(calls, name), sync_state=True)
    stream.attach_source(Source(calls, "c"))
    stream.on_state += lambda stream, new, old: calls.append(new.name)
    stream.start()
    stream.pause()
    stream.resume()
    stream.stop()
    stream.start()
    stream.close()
    run = ["STOPPING", "bstop", "astop", "STOPPED"]
    assert calls == ["ACTIVE", "astart", "bstart", "PAUSED", "ACTIVE", *run, "ACTIVE", "astart", "bstart", *run, "CLOSED"]


def test_sync_state_needs_start_and_stop():
    with pytest.raises(TypeError, match="sync_state needs a source with start"):
        PacketStream().attach_source(Signal(), sync_state=True)


def test_a_stream_may_be_a_source_that_is_started_and_stopped():
    source, stream = PacketStream("source"), PacketStream()
    stream.attach_source(source, sync_state=True)
    stream.start()
    assert source.active
    stream.close()
    assert source.stopped and not source.closed


def test_what_the_start_of_a_source_raises_stops_the_stream_and_comes_out():
    class Refuses(Source):
        def start(self):
            super().start()
            raise OSError("no such file")

    calls, stream = [], PacketStream()
    stream.attach_source(Source(calls, "a"), sync_state=True)
    stream.attach_source(Refuses(calls, "b"), sync_state=True)
    with pytest.raises(OSError, match="no such file"):
        stream.start()
    assert stream.stopped and calls == ["astart", "bstart", "bstop", "astop"]


def test_a_source_that_fails_after_it_ended_the_stream():
    class Ends(Source):
        def start(self):
            stream.close()
            raise OSError

    stream = PacketStream()
    stream.attach_source(Ends(), sync_state=True)
    with pytest.raises(OSError):
        stream.start()
    assert stream.closed


def test_what_the_stop_of_a_source_raises_is_logged(caplog):
    class Refuses(Source):
        def stop(self):
            raise OSError("no")

    packets.needs("logging")
    calls, stream = [], PacketStream("named")
    stream.attach_source(Source(calls), sync_state=True)
    stream.attach_source(Refuses(), sync_state=True)
    stream.start()
    stream.close()
    assert stream.closed and calls == ["start", "stop"]
    assert caplog.records[0].getMessage().startswith("named: stopping")


# starting may fail

def test_a_queue_whose_loop_is_closed_refuses_to_start(loop):
    stream = PacketStream()
    early = stream.attach(SyncPacketQueue(loop))
    stream.attach(SyncPacketQueue(loop), 1)
    loop.close()
    with pytest.raises(StateError, match="the loop of a SyncPacketQueue is closed"):
        stream.start()
    assert stream.state.name == "NONE" and early.depth == 0


@needs_threads
def test_what_was_opened_before_is_shut_again(loop):
    stream = PacketStream()
    stream.attach(AsyncPacketQueue(), 0)
    stream.attach(SyncPacketQueue(loop), 1)
    loop.close()
    with pytest.raises(StateError):
        stream.start()
    stream.reset()
    stream.start()
    stream.close()


@needs_threads
def test_a_system_without_another_thread(monkeypatch):
    import threading

    def refuse(self):
        raise RuntimeError("can't start new thread")

    stream = PacketStream()
    stream.attach(AsyncPacketQueue())
    closed = closing(stream)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            stream.start()
    assert stream.state.name == "NONE"
    stream.start()
    stream.close()
    wait(closed)


# what is left behind

def test_nothing_is_left_of_a_stream_that_nobody_holds():
    stream, source = PacketStream(), PacketStreamAdapter()
    stream.attach_source(source)
    stream.attach(Boom())
    output(stream)
    stream.start()
    stream.write(b"x")
    stream.close()
    stream.detach_source(source)
    gone = weakref.ref(stream)
    del stream
    collect()
    gc.collect()
    assert gone() is None


# who watches packets

def test_who_watches_packets_sees_each_before_the_stages_until_no_more():
    stream, seen, also, came = PacketStream(), [], [], []
    stream.on_packet += lambda packet: came.append(bytes(packet.data))

    def watch(packet):
        assert len(came) == len(seen)
        seen.append(bytes(packet.data))

    def watch_too(packet):
        also.append(bytes(packet.data))

    stream.watch_packets(watch)
    stream.start()
    stream.write(b"0")
    stream.watch_packets(watch_too)
    stream.write(bytearray(b"1"))
    stream.stop()
    stream.start()
    stream.write(b"2")
    stream.unwatch_packets(watch)
    stream.unwatch_packets(watch)
    stream.unwatch_packets(print)
    stream.write(b"3")
    stream.unwatch_packets(watch_too)
    stream.write(b"4")
    stream.close()
    assert (seen, also) == ([b"0", b"1", b"2"], [b"1", b"2", b"3"]) and came == [b"0", b"1", b"2", b"3", b"4"]


def test_watching_packets_is_no_slot_and_no_sink_and_what_comes_late_is_none():
    source, stream, seen = PacketStream(), PacketStream(), []
    stream.attach_source(source)
    stream.watch_packets(seen.append)
    stream.start()
    source.start()
    assert len(stream.on_packet) == 0 and stream.lint() == []
    stream.close()
    source.write(b"late")
    stream.unwatch_packets(seen.append)
    source.write(b"late")
    assert stream.dropped == 2 and seen == []


def test_what_a_watcher_raises_fails_the_stream():
    stream, failed = PacketStream(), []
    stream.on_error += lambda stream, exc: failed.append(exc)
    stream.watch_packets(lambda packet: 1 / 0)
    stream.start()
    stream.write(b"0")
    assert [type(exc) for exc in failed] == [ZeroDivisionError] and stream.closed


def test_a_stream_that_is_watched_dies_with_its_last_reference():
    stream, seen = PacketStream(), []
    stream.watch_packets(seen.append)
    stream.start()
    stream.write(b"0")
    gone = weakref.ref(stream)
    stream.stop()
    del stream
    collect()
    assert gone() is None and len(seen) == 1
