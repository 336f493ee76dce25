"""PacketSocket over a UDPSocket: a datagram is a packet, with the address of its sender; and DatagramPacket itself."""
import pytest

import icey
from icey import (
    Address,
    BorrowError,
    DatagramPacket,
    Delimited,
    FlagPacket,
    PacketFlags,
    PacketProcessor,
    PacketRetention,
    PacketSocket,
    PacketStream,
    RawPacket,
)
from icey.tools.testing import STALL, ScriptedSocket
from tests.support import packets, streams
from tests.support.datagrams import OTHER, PEER, bound, failed, scripted, sent, until
from tests.support.packets import turn_until
from tests.support.streams import names, turn, watch

no_thread_stays = packets.no_thread_stays
debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop


# the packet

def test_a_datagram_packet_is_a_raw_packet_with_an_address():
    packet = DatagramPacket(b"data", 256, PEER)
    assert (packet.data, packet.flags, packet.address, packet.borrowed, packet.size) == (b"data", 256, PEER, False, 4)
    assert isinstance(packet, RawPacket)
    assert DatagramPacket(b"x").address is None


def test_a_clone_and_what_is_retained_keep_the_address():
    packet = DatagramPacket(bytearray(b"data"), 256, PEER)
    clone = packet.clone()
    assert (type(clone), clone.data, clone.flags, clone.address, clone.borrowed) == (DatagramPacket, b"data", 256, PEER, False)
    assert packet.retain() is packet and (packet.address, packet.borrowed) == (PEER, False)


def test_other_packets_have_none():
    assert RawPacket(b"x").address is None and FlagPacket(0).address is None


# receiving

def receiving(loop, *reads):
    """(packet socket, its packets as (type, bytes, address), the UDPSocket's errors and close)"""
    udp, _ = scripted(loop, reads)
    source, came = PacketSocket(udp), []
    source.on_packet += lambda packet: came.append((type(packet), bytes(packet.data), packet.address))
    seen = watch(udp, "error", "close")
    source.start()
    return source, came, seen


def test_each_datagram_is_a_packet_an_empty_one_too(loop):
    _, came, seen = receiving(loop, (b"one", PEER), (b"", OTHER), (b"three", PEER))
    turn(loop, 4)
    assert came == [(DatagramPacket, b"one", Address(*PEER)), (DatagramPacket, b"", Address(*OTHER)),
                    (DatagramPacket, b"three", Address(*PEER))]
    assert seen == []


def test_received_packets_are_lent(loop):
    udp, _ = scripted(loop, [(b"one", PEER)])
    source, kept = PacketSocket(udp), []
    source.on_packet += lambda packet: kept.append((packet, packet.data))
    source.start()
    turn(loop)
    (packet, view), = kept
    assert packet.address == Address(*PEER)
    with pytest.raises(BorrowError):
        packet.data
    with pytest.raises(ValueError):
        bytes(view)


def test_a_slot_that_raises_is_told_and_the_next_packet_comes(loop, reports):
    source, came, seen = receiving(loop, (b"one", PEER), (b"two", PEER))
    source.on_packet += lambda packet: 1 // 0 if packet.size else None
    turn(loop, 2)
    reports.take(ZeroDivisionError, ZeroDivisionError)
    assert [data for _, data, _ in came] == [b"one", b"two"] and seen == []


def test_a_truncated_datagram_is_an_error_and_no_packet(loop):
    source, came, seen = receiving(loop, (b"123456", PEER), (b"12345", PEER))
    source.stream.max_size = 5
    turn(loop, 2)
    assert [data for _, data, _ in came] == [b"12345"] and source.stream.truncated_count == 1
    (_, exc), = seen
    assert type(exc) is icey.NetError
    assert str(exc) == "a datagram from 192.0.2.7:7 was longer than max_size 5: no packet was made of it"


def test_the_end_is_the_close(loop):
    source, came, seen = receiving(loop, (b"one", PEER))
    flags = []
    source.on_packet += lambda packet: flags.append(packet.flags)
    turn(loop)
    source.stream.close()
    turn(loop, 2)
    assert flags == [0, PacketFlags.FINAL] and names(seen) == ["close"]


def test_an_error_of_the_socket_is_no_end(loop):
    _, came, seen = receiving(loop, failed("ECONNREFUSED"), (b"one", PEER))
    turn(loop, 2)
    assert len(came) == 1 and names(seen) == ["error"]


def test_stop_and_start(loop):
    source, came, _ = receiving(loop, (b"one", PEER), (b"two", PEER))
    source.on_packet.attach(lambda packet: source.stop() or source.stop(), once=True)
    turn(loop)
    turn(loop, 2)
    assert len(came) == 1
    source.start()
    source.start()
    turn(loop, 2)
    assert len(came) == 2


# framing

def test_datagrams_have_no_framing_and_streams_need_one(loop):
    udp, _ = scripted(loop)
    with pytest.raises(ValueError, match="leave the framing out"):
        PacketSocket(udp, Delimited())
    stream = icey.Stream(loop, ScriptedSocket())
    with pytest.raises(ValueError, match="a stream needs a framing"):
        PacketSocket(stream)
    with pytest.raises(ValueError, match="a packet on a stream goes to the peer"):
        PacketSocket(stream, Delimited()).send(b"x", PEER)


# sending

@pytest.mark.parametrize("peer, packet, address, wanted", [
    (None, b"x", PEER, PEER),
    (None, RawPacket(b"x"), PEER, PEER),
    (None, DatagramPacket(b"x"), PEER, PEER),
    (None, DatagramPacket(b"x", 0, OTHER), None, OTHER),
    (None, DatagramPacket(b"x", 0, OTHER), PEER, OTHER),
    (PEER, b"x", None, None),
    (PEER, DatagramPacket(b"x", 0, OTHER), None, None),
])
def test_where_a_packet_goes(loop, peer, packet, address, wanted):
    udp, sock = scripted(loop, peer=peer)
    assert PacketSocket(udp).send(packet, address) is True
    assert sock.taken == [(b"x", wanted)]


def test_a_packet_without_an_address_goes_nowhere(loop):
    udp, sock = scripted(loop)
    for packet in (b"x", RawPacket(b"x"), DatagramPacket(b"x")):
        with pytest.raises(icey.StateError, match="without an address"):
            PacketSocket(udp).send(packet)
    connected, _ = scripted(loop, peer=PEER)
    with pytest.raises(icey.StateError, match="with an address"):
        PacketSocket(connected).send(b"x", OTHER)


def test_send_keeps_its_own_and_raises_as_the_socket_does(loop):
    udp, sock = scripted(loop, (), [STALL])
    udp.high_water, udp.max_queue = 3, 5
    memory = bytearray(b"one")
    source = PacketSocket(udp)
    assert source.send(RawPacket(memory), PEER) is False
    memory[:] = b"two"
    with pytest.raises(icey.QueueFull):
        source.send(memory, PEER)
    sock.unstall()
    turn(loop)
    assert sent(sock) == [b"one"]


# in a PacketStream

def test_an_echo_is_a_source_and_a_sink(loop):
    server, client = bound(loop), bound(loop)
    socket = PacketSocket(server)
    echo = PacketStream("echo")
    echo.attach_source(socket, sync_state=True)
    echo.attach(socket.sink())
    echo.start()
    back = PacketSocket(client)
    came = []
    back.on_packet += lambda packet: came.append((bytes(packet.data), packet.address))
    back.start()
    for number in range(20):
        back.send(b"%d" % number, server.local)
    until(loop, came, 20)
    assert came == [(b"%d" % number, server.local) for number in range(20)]
    server.close()
    turn_until(loop, lambda: echo.stopped)
    echo.close()


def test_a_boundary_keeps_the_address(loop):
    class Hold(PacketProcessor):
        retention = PacketRetention.CLONED
        deferred = True
        held = None

        def process(self, packet):
            self.held = packet

    udp, _ = scripted(loop, [(b"one", PEER)])
    stream, hold = PacketStream(), Hold()
    stream.attach_source(PacketSocket(udp), sync_state=True)
    stream.attach(hold)
    stream.start()
    turn(loop)
    assert (hold.held.data, hold.held.address) == (b"one", Address(*PEER))
    stream.close()


def test_what_comes_to_a_sink_after_close_is_counted(loop):
    udp, sock = scripted(loop, peer=PEER)
    sink = PacketSocket(udp).sink()
    stream = PacketStream()
    stream.attach(sink)
    stream.start()
    stream.write(b"one")
    udp.close()
    stream.write(b"late")
    assert (sent(sock), sink.dropped) == ([b"one"], 1)
    stream.close()
