"""Packets: what they hold, who owns it, and what a loan means."""
import array

import pytest

from icey import BorrowError, FlagPacket, Packet, PacketFlags, RawPacket
from icey.packets.packet import packet_of


def test_a_raw_packet_of_bytes_owns_them():
    data = b"hello"
    packet = RawPacket(data, 256)
    assert packet.data is data and not packet.borrowed
    assert (packet.size, packet.flags) == (5, 256)


@pytest.mark.parametrize("data", [bytearray(b"hello"), memoryview(b"hello"), array.array("B", b"hello")])
def test_a_raw_packet_of_anything_mutable_borrows(data):
    packet = RawPacket(data)
    assert packet.borrowed and type(packet.data) is memoryview
    assert bytes(packet.data) == b"hello" and packet.size == 5


def test_a_borrowed_packet_shows_the_memory_itself():
    memory = bytearray(b"hello")
    packet = RawPacket(memory)
    memory[0:1] = b"j"
    assert bytes(packet.data) == b"jello"


def test_items_wider_than_a_byte_count_as_bytes():
    packet = RawPacket(array.array("I", [1, 2]))
    assert packet.size == 8


@pytest.mark.parametrize("data", [b"", bytearray(), memoryview(b""), array.array("I")])
def test_a_packet_may_be_empty(data):
    packet = RawPacket(data)
    assert packet.size == 0 and bytes(packet.data) == b""
    assert packet.clone().data == b""


def test_what_is_not_bytes_like_is_TypeError():
    for data in ("text", 5, None, [b"x"]):
        with pytest.raises(TypeError):
            RawPacket(data)


def test_what_is_not_contiguous_is_ValueError():
    with pytest.raises(ValueError):
        RawPacket(memoryview(b"abcdef")[::2])


# clone and retain

def test_clone_is_another_packet_that_owns():
    memory = bytearray(b"hello")
    packet = RawPacket(memory, 512)
    copy = packet.clone()
    memory[:] = b"other"
    assert copy is not packet and copy.data == b"hello" and not copy.borrowed and copy.flags == 512
    assert packet.borrowed, "the original stays borrowed"


def test_the_clone_of_an_owned_packet_shares_what_cannot_change():
    packet = RawPacket(b"hello")
    assert packet.clone().data is packet.data


def test_the_clone_of_a_subclass_is_one_too():
    class Frame(RawPacket):
        __slots__ = ()

    class End(FlagPacket):
        __slots__ = ()

    assert type(Frame(b"x").clone()) is Frame
    assert type(End(PacketFlags.FINAL).clone()) is End


def test_retain_is_the_same_packet_made_owned_copied_once():
    memory = bytearray(b"hello")
    packet = RawPacket(memory)
    assert packet.retain() is packet
    memory[:] = b"other"
    data = packet.data
    assert data == b"hello" and type(data) is bytes and not packet.borrowed
    assert packet.retain().data is data


def test_retain_of_an_owned_packet_changes_nothing():
    packet = RawPacket(b"hello")
    data = packet.data
    assert packet.retain().data is data


def test_a_flag_packet_has_flags_and_nothing_else():
    packet = FlagPacket(PacketFlags.FINAL)
    assert (packet.flags, packet.size, packet.data, packet.borrowed) == (1, 0, b"", False)
    copy = packet.clone()
    assert copy is not packet and copy.flags == 1
    assert packet.retain() is packet


def test_a_class_without_clone_is_told_so():
    class Mine(Packet):
        pass

    with pytest.raises(NotImplementedError, match="Mine needs a clone"):
        Mine().clone()


def test_reprs():
    assert repr(RawPacket(b"abc")) == "<RawPacket of 3 bytes>"
    assert repr(FlagPacket(1)) == "<FlagPacket of 0 bytes, flags 0x1>"
    packet = RawPacket(bytearray(b"x"))
    packet.take_back(packet.lend())
    assert repr(packet) == "<RawPacket, revoked>"


# loans

def test_what_was_taken_back_is_BorrowError_and_its_view_dead():
    packet = RawPacket(bytearray(b"hello"))
    view = packet.data
    assert packet.take_back(packet.lend()) is True
    for use in (lambda: packet.data, lambda: packet.size, packet.clone, packet.retain):
        with pytest.raises(BorrowError, match="after the write"):
            use()
    with pytest.raises(ValueError, match="released"):
        bytes(view)
    assert packet.take_back(packet.lend()) is True, "a second time is nothing"


def test_the_memory_is_free_to_be_resized_when_the_packet_was_taken_back():
    memory = bytearray(b"hello")
    packet = RawPacket(memory)
    packet.take_back(packet.lend())
    memory.append(0)


def test_what_was_retained_meanwhile_stays_and_the_view_dies():
    packet = RawPacket(bytearray(b"hello"))
    loan = packet.lend()
    view = packet.data
    packet.retain()
    packet.take_back(loan)
    assert packet.data == b"hello"
    with pytest.raises(ValueError):
        bytes(view)


def test_an_owned_packet_and_a_packet_of_a_users_class_can_be_lent_too():
    packet = RawPacket(b"x").retain()
    assert packet.take_back(None) is True and packet.data == b"x"
    mine = Packet(3)
    assert mine.lent is False
    assert mine.take_back(mine.lend()) is True and mine.lent is False


# packet_of

def test_packet_of_takes_packets_as_they_are_and_adds_the_flags():
    packet = FlagPacket(2)
    assert packet_of(packet, 1) is packet and packet.flags == 3


def test_packet_of_makes_raw_packets_of_bytes():
    packet = packet_of(bytearray(b"x"), 1)
    assert type(packet) is RawPacket and packet.flags == 1 and packet.borrowed
