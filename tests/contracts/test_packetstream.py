"""Contract 5, PacketStream is zero-copy until a boundary: borrowed packets are revoked, and graphs that run do not change."""
import pytest

from icey import (
    AsyncPacketQueue,
    BorrowError,
    GraphError,
    Loop,
    PacketProcessor,
    PacketRetention,
    PacketStream,
    PacketStreamAdapter,
    RawPacket,
    SyncPacketQueue,
)
from tests.support import packets
from tests.support.loops import clock, debug, loop, turns  # noqa: F401
from tests.support.packets import Do, Pass, closing, needs_threads, output, stopping, wait

no_thread_stays = packets.no_thread_stays
RETENTIONS = [PacketRetention.CLONED, PacketRetention.RETAINED]


class Keeps(PacketProcessor):
    """Keeps what it gets, and passes it on."""

    def __init__(self, retention=PacketRetention.BORROWED):
        self.retention = retention
        self.kept = []

    def process(self, packet):
        self.kept.append(packet)
        self.emit(packet)


def built(*stages):
    stream = PacketStream()
    for order, stage in enumerate(stages):
        stream.attach(stage, order)
    return stream


def dead(packet):
    with pytest.raises(BorrowError) as info:
        packet.data
    text = str(info.value)
    assert text.startswith("a borrowed packet was used after the write() or emit() that lent it returned. Contract: "
                           "PacketStream is zero-copy until a boundary. Instead: packet.clone() or packet.retain()")
    return True


# zero copies, until a boundary

def test_nothing_is_copied_before_a_boundary():
    memory, seen = bytearray(b"frame"), []

    class Marks(PacketProcessor):
        def process(self, packet):
            seen.append(bytes(packet.data))
            memory[0] += 1  # every stage sees it, for it is the same memory
            self.emit(packet)

    stream = built(Marks(), Marks(), Marks())
    stream.start()
    stream.write(memory)
    assert seen == [b"frame", b"grame", b"hrame"]


@pytest.mark.parametrize("retention", RETENTIONS)
def test_behind_a_boundary_the_writer_may_use_its_memory_again(retention):
    memory, keeps = bytearray(b"one"), Keeps(retention)
    stream = built(Pass(), keeps, Keeps())
    stream.start()
    for data in (b"one", b"two"):
        memory[:] = data
        stream.write(memory)
    assert [packet.data for packet in keeps.kept] == [b"one", b"two"]


def test_bytes_are_never_copied_nor_revoked():
    data, keeps = b"immutable", Keeps()
    stream = built(keeps)
    stream.start()
    stream.write(data)
    assert keeps.kept[0].data is data


# revoked when the outermost write or emit returns

@pytest.mark.parametrize("how", ["write", "emit", "signal of a stage", "nested stream"])
def test_a_borrowed_packet_dies_when_the_call_that_lent_it_returns(how):
    keeps, source = Keeps(), PacketStreamAdapter()
    stream = built(keeps)
    if how == "write":
        stream.start()
        stream.write(bytearray(b"x"))
    elif how == "emit":
        stream.attach_source(source)
        stream.start()
        source.emit(bytearray(b"x"))
    elif how == "signal of a stage":
        source.on_packet += keeps.kept.append
        source.emit(bytearray(b"x"))
    else:
        outer = built(Do(lambda packet: (stream.write(packet), bytes(packet.data))))
        stream.start()
        outer.start()
        outer.write(bytearray(b"x"))
    assert dead(keeps.kept[0])


def test_it_dies_when_a_stage_raised_too():
    keeps = Keeps()
    stream = built(keeps, Do(lambda packet: 1 // 0))
    stream.on_error += lambda stream, exc: None
    stream.start()
    stream.write(bytearray(b"x"))
    assert dead(keeps.kept[0])


def test_revocation_belongs_to_the_outermost_call_branches_share_it_until_then():
    keeps, seen = Keeps(), []
    trunk, first, second = built(), built(keeps), built(Do(lambda packet: seen.append(bytes(packet.data))))
    for stream in (first, second):
        stream.attach_source(trunk)
        stream.start()
    trunk.start()
    trunk.write(bytearray(b"x"))
    assert seen == [b"x"] and dead(keeps.kept[0])


def test_a_queue_takes_a_clone_and_the_original_dies(loop):
    keeps, behind = Keeps(), Keeps()
    stream = built(keeps, SyncPacketQueue(loop), behind)
    stream.start()
    stream.write(bytearray(b"x"))
    assert dead(keeps.kept[0])
    stream.close()
    turns(loop)
    assert behind.kept[0].data == b"x"


def test_retain_is_the_same_object_clone_another():
    kept = []
    stream = built(Do(lambda packet: kept.extend([packet.clone(), packet.retain(), packet])))
    stream.start()
    stream.write(bytearray(b"x"))
    clone, retained, packet = kept
    assert retained is packet and clone is not packet and clone.data == packet.data == b"x"


# live graphs do not change

def changes(stream, loop):
    stage = stream.processors[0]
    return [lambda: stream.attach(Pass()), lambda: stream.detach(stage), lambda: stream.attach_source(PacketStreamAdapter()),
            lambda: stream.detach_source(None), lambda: stream.synchronize_output(loop)]


@pytest.mark.parametrize("state", ["ACTIVE", "PAUSED", "STOPPING", "ERROR"])
def test_a_graph_that_runs_does_not_change(loop, state):
    stream = PacketStream(close_on_error=False)
    stream.on_error += lambda stream, exc: None
    stream.attach(Do(lambda packet: 1 // 0))
    if state == "STOPPING":
        stream.synchronize_output(loop)
    stream.start()
    {"ACTIVE": lambda: None, "PAUSED": stream.pause, "STOPPING": stream.stop, "ERROR": lambda: stream.write(b"x")}[state]()
    drawn = stream.describe()
    for change in changes(stream, loop):
        with pytest.raises(GraphError, match="on a PacketStream that is %s" % state):
            change()
    assert stream.describe() == drawn
    stream.close()
    turns(loop)


def test_nor_from_inside_a_processor():
    errors = []
    stream = PacketStream()
    stream.attach(Do(lambda packet: stream.attach(Pass(), 5)))
    stream.on_error += lambda stream, exc: errors.append(exc)
    stream.start()
    stream.write(b"x")
    assert type(errors[0]) is GraphError and len(stream.processors) == 1


def test_a_stopped_graph_changes_and_starts_again():
    stream = built(Pass())
    stream.start()
    stream.stop()
    for change in changes(stream, None)[:4]:
        change()
    stream.start()


def test_branches_and_slots_may_come_to_a_running_source():
    trunk, branch = built(Pass()), built(Pass())
    trunk.start()
    came = output(trunk)
    branch.attach_source(trunk)
    branch.start()
    theirs = output(branch)
    trunk.write(b"x")
    assert came == theirs == [b"x"]


# unsound graphs do not start

@pytest.mark.parametrize("fault", ["deferred", "loops", "packets"])
def test_an_unsound_graph_is_refused_with_the_graph_drawn(loop, debug, fault):
    stage = Pass()
    with Loop(debug) as other:
        stream = PacketStream("unsound")
        if fault == "deferred":
            stage.deferred = True
        elif fault == "loops":
            first = stream.attach(Pass(), -1)
            first.loop, stage.loop = loop, other
        else:
            first = stream.attach(Pass(), -1)
            first.emits, stage.takes = RawPacket, type("Frame", (PacketStreamAdapter,), {})
        stream.attach(stage)
        assert len(stream.lint()) == 1
        with pytest.raises(GraphError) as info:
            stream.start()
    text = str(info.value)
    assert stream.lint()[0] in text and stream.describe() in text and "PacketStream unsound NONE" in text
    assert info.value.contract == "PacketStream is zero-copy until a boundary"


# close ends the queues and tells once

@pytest.mark.parametrize("kind", ["none", "loop", pytest.param("thread", marks=needs_threads)])
def test_close_flushes_what_is_queued_and_emits_on_close_once(loop, kind):
    stream = PacketStream()
    if kind != "none":
        stream.attach(SyncPacketQueue(loop) if kind == "loop" else AsyncPacketQueue())
    came, closes = output(stream), []
    stream.on_close += lambda stream: closes.append(len(came))
    closed = closing(stream)
    stream.start()
    for number in range(5):
        stream.write(bytearray(b"%d" % number))
    stream.close()
    stream.close()
    turns(loop)
    wait(closed)
    assert came == [b"0", b"1", b"2", b"3", b"4"] and closes == [5]


@needs_threads
def test_a_boundary_makes_a_thread_hop_safe():
    stream, memory = built(AsyncPacketQueue()), bytearray(1)
    came, stopped = output(stream), stopping(stream)
    stream.start()
    for number in range(200):
        memory[0] = number
        stream.write(memory)
    stream.stop()
    wait(stopped)
    assert came == [bytes([number]) for number in range(200)]
