"""PacketStreamAdapter and PacketProcessor by themselves: emitting, slots, loans, binding."""
import struct

import pytest

from icey import (
    BorrowError,
    FlagPacket,
    GraphError,
    Packet,
    PacketProcessor,
    PacketRetention,
    PacketStreamAdapter,
    RawPacket,
    Signal,
)
from icey.packets.adapter import chain
from tests.support.packets import Cloned, Pass, Retained
from tests.support.streams import PYPY, exports  # noqa: F401


def test_what_an_adapter_is_by_default():
    for cls in (PacketStreamAdapter, PacketProcessor):
        assert (cls.retention, cls.deferred, cls.loop, cls.emits) == (PacketRetention.BORROWED, False, None, None)
    assert PacketProcessor.takes is None
    assert PacketProcessor().accepts(FlagPacket(0)) is True
    assert PacketStreamAdapter().on_stream_state(None) is None


def test_a_source_emits_packets_and_bytes_to_its_slots():
    source, came = PacketStreamAdapter(), []
    assert source.emit(b"nobody listens") is None
    source.on_packet += lambda packet: came.append((bytes(packet.data), packet.flags))
    source.emit(RawPacket(b"one"), 2)
    source.emit(b"two", flags=1)
    source.emit(bytearray(b"three"))
    assert came == [(b"one", 2), (b"two", 1), (b"three", 0)]


def test_on_packet_is_one_signal_and_cannot_be_replaced():
    source = PacketStreamAdapter()
    assert source.on_packet is source.on_packet
    source.on_packet = source.on_packet
    with pytest.raises(TypeError, match="do not assign"):
        source.on_packet = Signal()


def test_a_processor_passes_on_unless_told_otherwise():
    stage, came = PacketProcessor(), []
    stage.on_packet += came.append
    packet = RawPacket(b"x")
    stage.process(packet)
    assert came == [packet]


# loans

def test_a_borrowed_packet_is_revoked_when_the_emit_returns():
    source, kept = PacketStreamAdapter(), []
    source.on_packet += lambda packet: kept.append((packet, packet.data))
    source.emit(bytearray(b"hello"))
    packet, view = kept[0]
    with pytest.raises(BorrowError):
        packet.data
    with pytest.raises(ValueError):
        bytes(view)


def test_all_slots_share_it_until_then():
    source, came = PacketStreamAdapter(), []
    for _ in range(3):
        source.on_packet += lambda packet: came.append(bytes(packet.data))
    source.emit(bytearray(b"x"))
    assert came == [b"x"] * 3


def test_the_outermost_emit_revokes_not_the_nested_one():
    outer, inner, came = PacketStreamAdapter(), PacketStreamAdapter(), []

    def slot(packet):
        inner.emit(packet)
        came.append(bytes(packet.data))

    outer.on_packet += slot
    outer.emit(bytearray(b"x"))
    assert came == [b"x"]


def test_the_nested_emit_revokes_what_it_lent_itself():
    outer, inner, kept = PacketStreamAdapter(), PacketStreamAdapter(), []

    def slot(packet):
        inner.emit(RawPacket(packet.data))
        with pytest.raises(BorrowError):
            kept[0].data
        kept.append(bytes(packet.data))

    inner.on_packet += kept.append
    outer.on_packet += slot
    outer.emit(bytearray(b"x"))
    assert kept[1] == b"x"


def test_an_exception_revokes_too():
    source, kept = PacketStreamAdapter(), []
    source.on_packet += kept.append
    source.on_packet += lambda packet: 1 // 0
    with pytest.raises(ZeroDivisionError):
        source.emit(bytearray(b"x"))
    with pytest.raises(BorrowError):
        kept[0].data


@pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")
def test_a_C_level_export_that_outlives_the_emit_is_BorrowError(exports):
    source = PacketStreamAdapter()
    source.on_packet += lambda packet: exports.append(struct.iter_unpack("B", packet.data))
    with pytest.raises(BorrowError, match="outlived the write") as info:
        source.emit(bytearray(b"x"))
    assert "Contract: PacketStream is zero-copy until a boundary. Instead: copy what you keep" in str(info.value)


def test_an_export_that_the_traceback_of_an_exception_holds_does_not_hide_the_exception():
    source = PacketStreamAdapter()

    def slot(packet):
        items = struct.iter_unpack("B", packet.data)
        raise ValueError("first is %r" % next(items))

    source.on_packet += slot
    with pytest.raises(ValueError, match="first is"):
        source.emit(bytearray(b"x"))


def test_a_users_borrowed_packet_is_told_when_it_is_taken_back():
    class Frame(Packet):
        borrowed = True
        seen = ()

        def take_back(self, loan):
            self.seen += ("back",)
            return super().take_back(loan)

    source, frame = PacketStreamAdapter(), Frame()
    source.on_packet += lambda packet: source2.emit(packet)
    source2 = PacketStreamAdapter()
    source.emit(frame)
    assert frame.seen == ("back",)


# chains

def out_of(came):
    return lambda packet: came.append(bytes(packet.data))


def test_a_chain_binds_each_stage_to_the_next():
    came, seen = [], []
    stages = [Pass("a", seen), Pass("b", seen), Pass("c", seen)]
    chain(stages, out_of(came), "stream")(RawPacket(b"x"))
    assert (seen, came) == (["a", "b", "c"], [b"x"])


def test_an_empty_chain_is_its_end():
    came = []
    out = out_of(came)
    assert chain([], out, "stream") is out


def test_a_bound_stage_emits_bytes_flags_and_loans_as_well():
    came = []

    class Speaks(PacketProcessor):
        def process(self, packet):
            self.emit(b"bytes", 4)
            self.emit(bytearray(b"lent"))
            self.emit(packet, 8)
            self.emit(packet)

    stage = Speaks()
    chain([stage], lambda packet: came.append((bytes(packet.data), packet.flags, packet.lent)), "stream")
    stage.process(RawPacket(b"own"))
    assert came == [(b"bytes", 4, False), (b"lent", 0, True), (b"own", 8, False), (b"own", 8, False)]


def test_a_bound_stage_with_slots_of_its_own_serves_both():
    came, seen = [], []
    stage = Pass()
    stage.on_packet += lambda packet: seen.append(bytes(packet.data))
    chain([stage], out_of(came), "stream")(RawPacket(b"x"))
    assert (came, seen) == ([b"x"], [b"x"])


def test_a_slot_attached_to_a_bound_stage_is_served_from_then_on():
    came, seen = [], []
    stage = Pass()
    first = chain([stage], out_of(came), "stream")
    first(RawPacket(b"x"))
    stage.on_packet += lambda packet: seen.append(bytes(packet.data))
    first(RawPacket(b"y"))
    assert (came, seen) == ([b"x", b"y"], [b"y"])


def test_a_subclass_with_an_emit_of_its_own_keeps_it():
    came = []

    class Doubles(Pass):
        def emit(self, packet, flags=0):
            super().emit(packet, flags)
            super().emit(packet, flags)

    chain([Doubles()], out_of(came), "stream")(RawPacket(b"x"))
    assert came == [b"x", b"x"]


def test_a_stage_unbound_emits_to_its_slots_only():
    came, seen = [], []
    stage = Pass()
    chain([stage], out_of(came), "stream")
    stage.bind(None)
    stage.on_packet += lambda packet: seen.append(bytes(packet.data))
    stage.emit(b"x")
    stage.bind(None)
    stage.emit(b"y")
    assert (came, seen) == ([], [b"x", b"y"])


def test_a_cloned_stage_is_handed_a_clone_a_retained_one_the_packet_itself():
    memory, got = bytearray(b"x"), []

    class Keeps(PacketProcessor):
        def process(self, packet):
            got.append(packet)

    class KeepsClones(Keeps):
        retention = PacketRetention.CLONED

    class KeepsOwn(Keeps):
        retention = PacketRetention.RETAINED

    packet = RawPacket(memory)
    chain([KeepsClones()], None, "stream")(packet)
    assert got[0] is not packet and not got[0].borrowed and packet.borrowed
    chain([KeepsOwn()], None, "stream")(packet)
    assert got[1] is packet and not packet.borrowed
    memory[:] = b"y"
    assert (got[0].data, got[1].data) == (b"x", b"x")


def test_a_packet_that_a_stage_does_not_accept_goes_past_it():
    came = []

    class Picky(Pass):
        def accepts(self, packet):
            return packet.flags != 0

    picky, cloned = Picky(), Cloned()
    first = chain([picky, cloned, Retained()], out_of(came), "stream")
    first(RawPacket(b"plain"))
    first(RawPacket(b"flagged", 2))
    assert picky.seen == [b"flagged"]
    assert cloned.seen == came == [b"plain", b"flagged"]


def test_a_stage_is_in_one_running_stream_at_a_time():
    stage = Pass()
    chain([stage], out_of([]), "stream")
    with pytest.raises(GraphError, match="Pass is in another stream that runs.*make one for each"):
        chain([stage], out_of([]), "other")
    stage.bind(None)
    chain([stage], out_of([]), "other")
