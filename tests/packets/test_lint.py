"""What lint() finds in a graph, what describe() draws of it, and that start() refuses what lint() finds."""
import pytest

from icey import (
    AsyncPacketQueue,
    FlagPacket,
    GraphError,
    Loop,
    Packet,
    PacketProcessor,
    PacketRetention,
    PacketStream,
    PacketStreamAdapter,
    RawPacket,
    Signal,
    SyncPacketQueue,
)
from tests.support import packets
from tests.support.loops import clock, debug, loop, turns  # noqa: F401
from tests.support.packets import Cloned, Pass, Retained, needs_threads, output

no_thread_stays = packets.no_thread_stays


@pytest.fixture
def other(debug):
    with Loop(debug) as other:
        yield other


def source_on(loop=None, emits=None):
    source = PacketStreamAdapter()
    source.loop, source.emits = loop, emits
    return source


def stage_on(loop=None, takes=None, emits=None, **attributes):
    stage = type("Stage", (PacketProcessor,), attributes)()
    stage.loop, stage.takes, stage.emits = loop, takes, emits
    return stage


def graph(*stages, sources=()):
    stream = PacketStream("graph")
    for source in sources:
        stream.attach_source(source)
    for order, stage in enumerate(stages):
        stream.attach(stage, order)
    return stream


def fault(stream):
    """The one fault of a graph, which is refused with the graph drawn."""
    found = stream.lint()
    assert len(found) == 1, found
    with pytest.raises(GraphError) as info:
        stream.start()
    text = str(info.value)
    assert text.startswith("cannot start: %s\n%s. Contract: " % (found[0], stream.describe()))
    assert text.endswith("Instead: build the graph so that lint() finds nothing.")
    assert stream.state.name == "NONE"
    return found[0]


def test_an_empty_graph_is_sound():
    assert PacketStream().lint() == []


# deferring

def test_a_stage_that_defers_without_a_retention_of_its_own():
    assert fault(graph(Pass(), stage_on(deferred=True))) == (
        "Stage uses packets after process() returned, but its retention is BORROWED (declare it CLONED or RETAINED)")


@pytest.mark.parametrize("retention", [PacketRetention.CLONED, PacketRetention.RETAINED])
def test_with_one_it_may(retention):
    assert graph(stage_on(deferred=True, retention=retention)).lint() == []


def test_the_queues_defer_and_clone(loop):
    kinds = [SyncPacketQueue] if packets.lacks("threading") else [SyncPacketQueue, AsyncPacketQueue]
    for kind in kinds:
        assert kind.deferred and kind.retention is PacketRetention.CLONED
    assert graph(SyncPacketQueue(loop)).lint() == []


# loops

def test_a_source_and_a_stage_on_one_loop(loop):
    assert graph(stage_on(loop), stage_on(), stage_on(loop), sources=[source_on(loop)]).lint() == []


def test_a_source_and_a_stage_on_two_loops(loop, other):
    said = fault(graph(stage_on(other), sources=[source_on(loop)]))
    assert said == ("Stage works on a loop, but what is before it on another loop, and nothing hops between them"
                    " (put a SyncPacketQueue of its loop there)")


def test_two_stages_on_two_loops(loop, other):
    assert "on another loop" in fault(graph(stage_on(loop), stage_on(), stage_on(other)))


def test_a_hop_between_them_mends_it(loop, other):
    assert graph(stage_on(loop), SyncPacketQueue(other), stage_on(other), sources=[source_on(loop)]).lint() == []
    assert "on another loop" in fault(graph(SyncPacketQueue(other), stage_on(loop), sources=[source_on(loop)]))


def test_two_sources_on_two_loops(loop, other):
    said = fault(graph(sources=[source_on(loop), source_on(other)]))
    assert said.startswith("the sources PacketStreamAdapter and PacketStreamAdapter do not run on one loop")
    assert graph(sources=[source_on(loop), source_on(loop), source_on()]).lint() == []


@needs_threads
def test_a_stage_of_a_loop_in_the_thread_of_an_AsyncPacketQueue(loop):
    said = fault(graph(AsyncPacketQueue(), stage_on(loop), sources=[source_on(loop)]))
    assert "what is before it on the thread of an AsyncPacketQueue" in said
    assert graph(AsyncPacketQueue(), SyncPacketQueue(loop), stage_on(loop), sources=[source_on(loop)]).lint() == []


def test_the_loop_of_a_stream_that_is_a_source(loop, other):
    trunk = graph(sources=[source_on(other)])
    trunk.synchronize_output(loop)
    assert graph(stage_on(loop), sources=[trunk]).lint() == []
    assert "on another loop" in fault(graph(stage_on(other), sources=[trunk]))
    assert "on another loop" in fault(graph(stage_on(loop), sources=[graph(sources=[source_on(other)])]))


# classes of packets

class Frame(RawPacket):
    pass


def test_a_stage_that_takes_nothing_of_what_comes():
    said = fault(graph(stage_on(takes=FlagPacket), sources=[source_on(emits=RawPacket)]))
    assert said == "Stage takes FlagPacket, but what comes is RawPacket (convert in between)"


@pytest.mark.parametrize("emits, takes", [(Frame, RawPacket), (RawPacket, Frame), (RawPacket, Packet), (Packet, Frame),
                                          (None, Frame), (Frame, None)])
def test_a_stage_that_may_take_some(emits, takes):
    assert graph(stage_on(takes=takes), sources=[source_on(emits=emits)]).lint() == []


def test_what_the_stage_before_emits_counts(loop):
    assert "takes FlagPacket" in fault(graph(stage_on(emits=Frame), SyncPacketQueue(loop), stage_on(takes=FlagPacket)))
    unknown = graph(stage_on(), stage_on(takes=FlagPacket), sources=[source_on(emits=RawPacket)])
    assert unknown.lint() == [], "nobody knows what the first one emits"


def test_what_one_of_several_sources_emits_is_not_what_comes():
    assert graph(stage_on(takes=FlagPacket), sources=[source_on(emits=Frame), source_on(emits=FlagPacket)]).lint() == []
    assert graph(stage_on(takes=FlagPacket), sources=[Signal()]).lint() == []


def test_what_a_stream_emits_that_is_a_source():
    trunk = graph(stage_on(emits=Frame))
    assert "takes FlagPacket" in fault(graph(stage_on(takes=FlagPacket), sources=[trunk]))


def test_every_fault_is_listed(loop, other):
    stream = graph(stage_on(loop, deferred=True), stage_on(other, takes=FlagPacket),
                   sources=[source_on(other, emits=RawPacket)])
    assert len(stream.lint()) == 3
    with pytest.raises(GraphError) as info:
        stream.start()
    assert all(line in str(info.value) for line in stream.lint())


# drawing

def test_describe_names_stages_orders_retentions_queues_and_the_boundary(loop):
    trunk, source = PacketStream("trunk"), source_on()
    stream = PacketStream("front")
    stream.attach_source(trunk, sync_state=True)
    stream.attach_source(source)
    stream.attach_source(Signal())
    stream.attach(Pass(), -1)
    stream.attach(Retained(), 3)
    queue = stream.attach(SyncPacketQueue(loop, 2, "newest"), 7)
    output(stream)
    stream.start()
    for _ in range(3):
        stream.write(b"x")
    assert stream.describe().split("\n") == [
        "PacketStream front ACTIVE",
        "  source      PacketStream trunk  (started and stopped with it)",
        "  source      PacketStreamAdapter",
        "  source      Signal",
        "  order   -1  Pass                 BORROWED",
        "  order    3  Retained             RETAINED  <- boundary",
        "  order    7  SyncPacketQueue      CLONED  depth 2 of 2, dropped 1 (newest)",
        "  output      1 slot",
    ]
    stream.close()
    turns(loop)
    source.emit(b"late")
    assert "SyncPacketQueue      CLONED  depth 0 of 2, dropped 1 (newest)" in stream.describe()
    assert stream.describe().endswith("\n  dropped     1, that came too late or too early")
    assert queue.depth == 0


def test_describe_without_a_boundary():
    assert PacketStream().describe() == (
        "PacketStream (unnamed) NONE\n  output      0 slots, packets borrowed all the way")


def test_describe_marks_the_first_boundary_only():
    text = graph(Cloned(), Cloned()).describe()
    assert text.count("<- boundary") == 1 and text.split("\n")[1].endswith("<- boundary")
