"""PacketSocket and its framings: cutting at every byte, both ways, what is malformed, stopping in between."""
import array

import pytest

import icey
from icey import BorrowError, Delimited, Fixed, FlagPacket, LengthPrefixed, PacketFlags, PacketSocket, PacketStream, RawPacket
from icey.packets.socket import SHARE
from icey.tools.testing import END, STALL, ScriptedSocket
from tests.support import packets, streams
from tests.support.packets import events, output
from tests.support.streams import turn, watch

no_thread_stays = packets.no_thread_stays
debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

WIRE = {
    LengthPrefixed(1): b"\x03one\x00\x05three",
    LengthPrefixed(2): b"\x00\x03one\x00\x00\x00\x05three",
    LengthPrefixed(): b"\x00\x00\x00\x03one\x00\x00\x00\x00\x00\x00\x00\x05three",
    LengthPrefixed(8): b"\0\0\0\0\0\0\0\x03one\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05three",
    Delimited(): b"one\n\nthree\n",
    Delimited(b"\r\n"): b"one\r\n\r\nthree\r\n",
}
framings = pytest.mark.parametrize("framing, wire", list(WIRE.items()), ids=[
    "1 byte", "2 bytes", "4 bytes", "8 bytes", "line", "CRLF"])
PACKETS = [b"one", b"", b"three"]


def make(loop, *reads, writes=()):
    sock = ScriptedSocket(reads, writes)
    return icey.Stream(loop, sock), sock


def reading(loop, framing, *reads):
    """(packet socket, what came, flags, stream's events)"""
    stream, _ = make(loop, *reads)
    source, came, flags = PacketSocket(stream, framing), [], []
    source.on_packet += lambda packet: came.append(bytes(packet.data)) if isinstance(packet, RawPacket) else None
    source.on_packet += lambda packet: flags.append(packet.flags)
    seen = watch(stream, "error", "close")
    source.start()
    return source, came, flags, seen


# reading

@framings
def test_packets_are_cut_wherever_the_reads_end(loop, framing, wire):
    for at in range(len(wire) + 1):
        source, came, flags, seen = reading(loop, framing, *[part for part in (wire[:at], wire[at:]) if part], END)
        turn(loop, 4)
        assert came == PACKETS and flags == [0, 0, 0, PacketFlags.FINAL] and seen == [("close",)]


@framings
def test_byte_by_byte(loop, framing, wire):
    _, came, _, _ = reading(loop, framing, *[wire[at:at + 1] for at in range(len(wire))], END)
    turn(loop, len(wire) + 2)
    assert came == PACKETS


def test_fixed(loop):
    for reads in ([b"abcdef"], [b"a", b"bcd", b"ef"], [b"abcd", b"ef"]):
        source, came, _, seen = reading(loop, Fixed(2), *reads, END)
        turn(loop, 5)
        assert came == [b"ab", b"cd", b"ef"] and seen == [("close",)]


def test_received_packets_are_lent(loop):
    stream, _ = make(loop, b"one\ntwo\n")
    source, kept = PacketSocket(stream, Delimited()), []
    source.on_packet += lambda packet: kept.append((packet, packet.data))
    source.start()
    turn(loop)
    for packet, view in kept:
        with pytest.raises(BorrowError):
            packet.data
        with pytest.raises(ValueError):
            bytes(view)
    assert len(kept) == 2


def test_a_large_packet_of_many_reads(loop):
    data = bytes(range(256)) * 4096
    wire = len(data).to_bytes(4, "big") + data + b"\0\0\0\1x"
    _, came, _, _ = reading(loop, LengthPrefixed(), *[wire[at:at + 50000] for at in range(0, len(wire), 50000)], END)
    turn(loop, 30)
    assert came == [data, b"x"]


@pytest.mark.parametrize("framing, wire, says", [
    (LengthPrefixed(most=4), b"\0\0\0\1a\0\0\0\5abcde", "malformed packets: a packet of 5 bytes, more than 4"),
    (Delimited(most=4), b"a\nabcde\n", "malformed packets: no delimiter in 4 bytes"),
    (Delimited(b"--", most=2), b"a--abc-", "malformed packets: no delimiter in 2 bytes"),
])
@pytest.mark.parametrize("split", [False, True])
def test_one_past_most_breaks_the_stream(loop, framing, wire, says, split):
    reads = [wire[at:at + 1] for at in range(len(wire))] if split else [wire]
    _, came, flags, seen = reading(loop, framing, *reads, b"\nb\n")
    turn(loop, len(wire) + 3)
    assert came == [b"a"] and flags == [0], "what is malformed has no end"
    assert [event[0] for event in seen] == ["error", "close"]
    assert type(seen[0][1]) is icey.PeerClosed and str(seen[0][1]) == says


@pytest.mark.parametrize("framing, wire", [(LengthPrefixed(most=4), b"\0\0\0\4abcd"), (Delimited(most=4), b"abcd\n"),
                                           (Delimited(b"--", most=4), b"abcd--")])
def test_most_is_inclusive(loop, framing, wire):
    _, came, _, seen = reading(loop, framing, *[wire[at:at + 1] for at in range(len(wire))], END)
    turn(loop, len(wire) + 2)
    assert came == [b"abcd"] and seen == [("close",)]


@pytest.mark.parametrize("framing, wire", [(LengthPrefixed(), b"\0\0\0\4abc"), (LengthPrefixed(), b"\0\0"),
                                           (Delimited(), b"x\nabc"), (Fixed(4), b"abc")])
def test_input_that_ends_inside_a_packet_is_an_error(loop, framing, wire):
    _, came, flags, seen = reading(loop, framing, wire, END)
    turn(loop, 4)
    assert PacketFlags.FINAL not in flags
    assert [event[0] for event in seen] == ["error", "close"] and "the input ended inside a packet" in str(seen[0][1])


def test_a_reset_is_the_streams_error_and_no_end(loop):
    _, came, flags, seen = reading(loop, Delimited(), b"one\n", ConnectionResetError)
    turn(loop, 4)
    assert came == [b"one"] and flags == [0]
    assert [event[0] for event in seen] == ["error", "close"]


def test_a_slot_that_stops_it_keeps_the_rest_for_the_next_start(loop):
    source, came, _, _ = reading(loop, Delimited(), b"one\ntwo\nthree\nfo", b"ur\n", END)
    source.on_packet += lambda packet: source.stop() if came == [b"one"] else None
    turn(loop, 3)
    assert came == [b"one"]
    source.start()
    source.start()
    turn(loop, 4)
    assert came == [b"one", b"two", b"three", b"four"]


def test_stopped_again_before_the_rest_was_looked_at(loop):
    source, came, _, _ = reading(loop, Delimited(), b"one\ntwo\n")
    source.on_packet += lambda packet: source.stop() if came == [b"one"] else None
    turn(loop)
    source.start()
    source.stop()
    source.stop()
    turn(loop, 2)
    assert came == [b"one"]


def test_an_exception_of_a_slot_closes_the_stream_and_loses_no_other_packet(loop, reports):
    source, came, flags, _ = reading(loop, Delimited(), b"one\ntwo\n")
    source.on_packet += lambda packet: 1 // 0 if packet.size else None
    turn(loop, 3)
    reports.take(ZeroDivisionError)
    assert came == [b"one"] and flags == [0] and source.stream.closed


def test_a_protocol_error_of_a_slot_is_not_the_peers(loop, reports):
    source, came, _, seen = reading(loop, Delimited(), b"one\n")

    def slot(packet):
        if packet.size:
            raise icey.ProtocolError("mine")

    source.on_packet += slot
    turn(loop, 3)
    assert str(reports.take(icey.ProtocolError)[0]) == "mine"
    assert [event[0] for event in seen] == ["close"]


# sending

@framings
def test_send_frames(loop, framing, wire):
    stream, script = make(loop)
    socket = PacketSocket(stream, framing)
    assert socket.send(RawPacket(b"one")) is True
    assert socket.send(b"") is True
    assert socket.send(bytearray(b"three")) is True
    turn(loop)
    assert script.sent == wire


def test_send_keeps_its_own(loop):
    stream, script = make(loop, writes=[STALL])
    memory = bytearray(b"one")
    PacketSocket(stream, Delimited()).send(RawPacket(memory))
    memory[:] = b"two"
    script.unstall()
    turn(loop, 2)
    assert script.sent == b"one\n"


def test_send_counts_bytes_whatever_the_items(loop):
    stream, script = make(loop)
    PacketSocket(stream, LengthPrefixed(1)).send(array.array("H", [1, 1]))
    turn(loop)
    assert script.sent[:1] == b"\4" and len(script.sent) == 5


def test_send_returns_and_raises_as_the_stream_does(loop):
    stream, script = make(loop, writes=[STALL])
    stream.high_water, stream.max_queue = 4, 8
    socket = PacketSocket(stream, Delimited())
    assert socket.send(b"12345") is False
    with pytest.raises(icey.QueueFull):
        socket.send(b"12345")
    stream.close()
    with pytest.raises(icey.StateError):
        socket.send(b"1")


@pytest.mark.parametrize("framing, data, says", [
    (LengthPrefixed(1), b"x" * 256, "256 bytes, more than 255"),
    (LengthPrefixed(most=3), b"four", "4 bytes, more than 3"),
    (Delimited(most=3), b"four", "4 bytes, more than 3"),
    (Delimited(), b"a\nb", "holds the delimiter"),
    (Delimited(b"aa"), b"xa", "holds the delimiter"),
    (Fixed(3), b"four", "packets have 3 bytes here, this one 4"),
    (Fixed(3), b"", "packets have 3 bytes here, this one 0"),
])
def test_what_a_framing_cannot_carry_is_ValueError(loop, framing, data, says):
    stream, script = make(loop)
    for packet in (data, RawPacket(data), bytearray(data)):
        with pytest.raises(ValueError, match=says):
            PacketSocket(stream, framing).send(packet)
    assert script.sent == b""


@pytest.mark.parametrize("make_it", [lambda: LengthPrefixed(3), lambda: Delimited(b""), lambda: Fixed(0)])
def test_framings_that_cannot_be(make_it):
    with pytest.raises(ValueError):
        make_it()


def test_a_sink_is_a_stage_that_sends_and_passes_on(loop):
    stream, script = make(loop)
    sink = PacketSocket(stream, Delimited()).sink()
    packet_stream = PacketStream()
    packet_stream.attach(sink)
    came = output(packet_stream)
    packet_stream.start()
    for packet in (b"one", bytearray(b""), FlagPacket(256)):
        packet_stream.write(packet)
    turn(loop)
    assert script.sent == b"one\n\n" and came == [b"one", b"", b""]
    stream.close()
    packet_stream.write(b"late")
    assert sink.dropped == 1 and packet_stream.active


def test_what_a_sink_cannot_frame_is_the_streams_error(loop):
    stream, _ = make(loop)
    packet_stream = PacketStream()
    packet_stream.attach(PacketSocket(stream, Fixed(3)).sink())
    seen = events(packet_stream)
    packet_stream.start()
    packet_stream.write(b"four")
    assert ("error", "ValueError") in seen


# both ways, over real sockets

@pytest.mark.parametrize("framing", [LengthPrefixed(2), Delimited(), Fixed(5)], ids=["length", "line", "fixed"])
def test_packets_go_to_and_fro(debug, framing):
    sent = [b"%05d" % number for number in range(300)]
    came = []
    with icey.Loop(debug) as loop:
        listener = icey.TCPListener(loop, ("127.0.0.1", 0))

        def accepted(listener, sock):
            listener.close()
            echo = PacketStream("echo")
            socket = PacketSocket(sock, framing)
            echo.attach_source(socket, sync_state=True)
            echo.attach(socket.sink())
            echo.on_state += lambda stream, new, old: sock.close() if stream.stopped else None
            echo.start()

        def connected(sock):
            for data in sent:
                client.send(data)
            sock.shutdown()

        listener.on_accept += accepted
        sock = icey.TCPSocket(loop)
        client = PacketSocket(sock, framing)
        back = PacketStream("back")
        back.attach_source(client, sync_state=True)
        back.on_packet += lambda packet: came.append(bytes(packet.data)) if packet.size else sock.close()
        back.start()
        sock.on_connect += connected
        sock.connect(listener.address)
        loop.run()
        assert back.stopped
        back.close()
    assert came == sent


# a turn's share

MANY = [b"%d" % number for number in range(3 * SHARE)]
LINES = b"".join(line + b"\n" for line in MANY)


def counted(loop, came, turns):
    """How many packets came in each of so many turns."""
    seen = []
    for _ in range(turns):
        before = len(came)
        loop.run_once(0)
        seen.append(len(came) - before)
    return seen


def test_thousands_of_tiny_packets_wait_for_the_others_turn(loop):
    source, came, flags, seen = reading(loop, Delimited(), LINES, b"more\n", END)
    assert max(counted(loop, came, 10)) <= SHARE
    assert came == MANY + [b"more"] and flags[-1] == PacketFlags.FINAL and seen == [("close",)]


def test_what_waits_for_its_turn_is_told_before_a_reset(loop):
    source, came, flags, seen = reading(loop, Delimited(), LINES, ConnectionResetError(104, "gone"))
    turn(loop, 10)
    assert came == MANY and PacketFlags.FINAL not in flags
    assert [event[0] for event in seen] == ["error", "close"]


def test_stopped_while_it_waits_for_its_turn(loop):
    source, came, flags, seen = reading(loop, Delimited(), LINES, END)
    while not came:
        loop.run_once(0)
    source.stop()
    turn(loop, 5)
    assert came == MANY[:SHARE] and not source.stream.paused
    source.start()
    turn(loop, 8)
    assert came == MANY and flags[-1] == PacketFlags.FINAL


def test_a_stream_paused_meanwhile_stays_paused(loop):
    source, came, flags, seen = reading(loop, Delimited(), LINES, b"more\n", END)
    while not came:
        loop.run_once(0)
    source.stream.pause()
    turn(loop, 8)
    assert came == MANY and source.stream.paused
    source.stream.resume()
    turn(loop, 4)
    assert came[-1] == b"more" and flags[-1] == PacketFlags.FINAL


def test_a_slot_that_raises_in_a_later_turn_closes_the_stream_as_one_in_the_first(loop, reports):
    source, came, flags, seen = reading(loop, Delimited(), LINES, b"more\n", END)
    source.on_packet += lambda packet: 1 // 0 if len(came) == SHARE + 1 else None
    turn(loop, 10)
    assert came == MANY[:SHARE + 1] and not source.stream.rests
    assert PacketFlags.FINAL not in flags and seen == [("close",)]
    reports.take(ZeroDivisionError)


def test_a_packet_stream_paused_meanwhile(loop):
    stream, _ = make(loop, LINES, END)
    source, pipe, came = PacketSocket(stream, Delimited()), PacketStream(), []
    pipe.attach_source(source, sync_state=True)
    pipe.on_packet += lambda packet: came.append(bytes(packet.data)) if isinstance(packet, RawPacket) else None
    pipe.start()
    while not came:
        loop.run_once(0)
    pipe.pause()
    turn(loop, 5)
    assert came == MANY[:SHARE]
    pipe.resume()
    assert max(counted(loop, came, 8)) <= SHARE
    assert came == MANY and stream.closed


@pytest.mark.parametrize("unterminated", [False, True])
def test_the_last_line_of_a_stream_that_closed_while_its_packet_stream_was_paused(loop, unterminated):
    stream, _ = make(loop, b"one\ntwo", END)
    pipe, came, errors = PacketStream(), [], []
    pipe.attach_source(PacketSocket(stream, Delimited(unterminated=unterminated)), sync_state=True)
    pipe.on_packet += lambda packet: came.append(packet.flags or bytes(packet.data))
    pipe.on_packet += lambda packet: pipe.pause() if len(came) == 1 else None
    pipe.on_error += lambda pipe, exc: errors.append(str(exc))
    stream.on_end += lambda stream: stream.close()  # the stream's end comes before the PacketStream may be told
    pipe.start()
    turn(loop, 4)
    stream.resume()
    turn(loop, 4)
    assert stream.closed and came == [b"one"]
    pipe.resume()
    turn(loop, 4)
    if unterminated:
        assert came == [b"one", b"two", PacketFlags.FINAL] and errors == []
    else:
        assert came == [b"one"] and errors == ["the input ended inside a packet, 3 bytes of it are here"]


def test_closed_while_it_waits_for_its_turn(loop):
    source, came, flags, seen = reading(loop, Delimited(), LINES)
    while not came:
        loop.run_once(0)
    source.stream.close()
    turn(loop, 10)
    assert came == MANY and seen[-1] == ("close",)


def test_a_transport_that_breaks_while_it_waits_for_its_turn(loop):
    source, came, flags, seen = reading(loop, Delimited(), LINES, b"more\n")
    while not came:
        loop.run_once(0)
    source.stream.fail(ConnectionResetError(104, "gone"))
    turn(loop, 3)
    assert came == MANY + [b"more"] and PacketFlags.FINAL not in flags
    assert [event[0] for event in seen] == ["error", "close"]


def test_a_stream_that_is_aborted_while_it_waits_for_its_turn(loop):
    source, came, flags, seen = reading(loop, Delimited(), LINES)
    while not came:
        loop.run_once(0)
    source.stream.abort()
    turn(loop, 5)
    assert came == MANY[:SHARE] and PacketFlags.FINAL not in flags and seen == [("close",)]


def test_aborted_by_a_slot_of_on_error_while_it_waits_for_its_turn(loop):
    stream, _ = make(loop, LINES)
    stream.on_error += lambda stream, exc: stream.abort()
    source, came = PacketSocket(stream, Delimited()), []
    source.on_packet += lambda packet: came.append(packet.flags)
    source.start()
    while not came:
        loop.run_once(0)
    stream.fail(ConnectionResetError(104, "gone"))
    turn(loop, 5)
    assert came == [0] * len(MANY) and stream.closed  # what came before is told all the same
