"""StreamSource, StreamSink, FileSource, TimerSource: what they read and send, how they end, how they are started."""
import io

import pytest

import icey
from icey import (
    BorrowError,
    FileSource,
    PacketFlags,
    PacketStream,
    RawPacket,
    StreamSink,
    StreamSource,
    TimerSource,
)
from icey.tools.testing import END, STALL, ScriptedSocket
from tests.support import packets, streams
from tests.support.loops import in_thread
from tests.support.packets import events, output
from tests.support.streams import turn

no_thread_stays = packets.no_thread_stays
debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def make(loop, reads=(), writes=()):
    sock = ScriptedSocket(reads, writes)
    return icey.Stream(loop, sock), sock


def fed_by(source, *stages, sync=True):
    """A started stream with this source; (stream, what came, their flags)."""
    stream = PacketStream()
    stream.attach_source(source, sync_state=sync)
    for order, stage in enumerate(stages):
        stream.attach(stage, order)
    came, flags = output(stream), []
    stream.on_packet += lambda packet: flags.append(packet.flags)
    stream.start()
    return stream, came, flags


# StreamSource

def test_what_a_stream_receives_comes_as_packets_then_FINAL(loop):
    sock, _ = make(loop, [b"one", b"two", END])
    stream, came, flags = fed_by(StreamSource(sock))
    turn(loop, 5)
    assert came == [b"one", b"two", b""] and flags == [0, 0, PacketFlags.FINAL]
    assert stream.stopped and not sock.closing


def test_its_packets_are_lent(loop):
    sock, _ = make(loop, [b"one"])
    source, kept = StreamSource(sock), []
    source.on_packet += lambda packet: kept.append((packet, packet.data))
    source.start()
    turn(loop)
    packet, view = kept[0]
    with pytest.raises(BorrowError):
        packet.data
    with pytest.raises(ValueError):
        bytes(view)


def test_the_close_of_a_stream_is_its_end_too_and_comes_once(loop):
    sock, _ = make(loop, [b"one", END])
    source, ends = StreamSource(sock), []
    source.on_packet += lambda packet: ends.append(packet.flags) if packet.flags else None
    source.start()
    turn(loop, 3)
    sock.close()
    turn(loop, 3)
    assert ends == [PacketFlags.FINAL]
    sock, _ = make(loop)
    source = StreamSource(sock)
    source.on_packet += lambda packet: ends.append(packet.flags)
    source.start()
    sock.close()
    turn(loop, 2)
    assert ends == [PacketFlags.FINAL] * 2


def test_stopped_it_leaves_bytes_in_the_kernel(loop):
    sock, script = make(loop, [b"one"])
    stream, came, _ = fed_by(StreamSource(sock))
    turn(loop)
    stream.stop()
    script.feed(b"two")
    turn(loop, 3)
    assert came == [b"one"] and stream.dropped == 0
    stream.start()
    turn(loop)
    assert came == [b"one", b"two"]


def test_started_twice_it_brings_each_packet_once(loop):
    sock, _ = make(loop, [b"one"])
    source, came = StreamSource(sock), []
    source.on_packet += lambda packet: came.append(bytes(packet.data))
    source.start()
    source.start()
    turn(loop)
    assert came == [b"one"]
    source.stop()
    source.stop()


@pytest.mark.parametrize("sync", [True, False])
def test_while_its_packet_stream_is_paused_bytes_wait_in_the_kernel(loop, sync):
    sock, script = make(loop, [b"one"])
    source = StreamSource(sock)
    stream, came, flags = fed_by(source, sync=sync)
    if not sync:
        source.start()
    turn(loop)
    stream.pause()
    script.feed(b"two")
    script.feed(END)
    turn(loop, 5)
    assert came == [b"one"]
    stream.resume()
    turn(loop, 5)
    assert came == [b"one", b"two", b""] and flags[-1] == PacketFlags.FINAL and stream.dropped == 0


def test_paused_by_the_packet_it_brings(loop):
    sock, script = make(loop, [b"one", b"two"])
    stream, came, _ = fed_by(StreamSource(sock))
    stream.on_packet += lambda packet: stream.pause()
    turn(loop, 5)
    assert came == [b"one"]
    stream.resume()
    turn(loop, 5)
    assert came == [b"one", b"two"] and stream.dropped == 0


def test_a_close_while_the_packet_stream_is_paused_is_told_when_it_goes_on(loop):
    sock, _ = make(loop)
    stream, came, flags = fed_by(StreamSource(sock))
    stream.pause()
    sock.close()
    turn(loop, 3)
    assert sock.closed and flags == []
    stream.resume()
    turn(loop, 3)
    assert flags == [PacketFlags.FINAL] and stream.stopped


@pytest.mark.parametrize("end", ["stop", "close"])
@pytest.mark.parametrize("sync", [True, False])
def test_a_stream_whose_packet_stream_ended_while_paused_is_not_left_paused(loop, sync, end):
    sock, script = make(loop)
    source, came = StreamSource(sock), []
    stream, _, _ = fed_by(source, sync=sync)
    if not sync:
        source.start()
    stream.pause()
    getattr(stream, end)()
    if not sync:
        source.stop()
    turn(loop)
    script.feed(b"one")
    turn(loop, 2)  # without a slot nothing is read
    sock.on_recv += lambda sock, view: came.append(bytes(view))
    turn(loop, 2)
    assert came == [b"one"]


def test_an_end_that_was_held_back_is_told_to_who_starts_it_again(loop):
    sock, _ = make(loop, [END])
    source, flags = StreamSource(sock), []
    stream, _, _ = fed_by(source)
    stream.pause()
    sock.close()
    turn(loop, 2)
    stream.resume()
    source.stop()
    turn(loop, 2)
    source.on_packet += lambda packet: flags.append(packet.flags)
    source.start()
    turn(loop, 2)
    assert flags == [PacketFlags.FINAL]
    source.stop()
    source.start()
    turn(loop, 2)
    assert len(flags) == 1


def test_started_while_the_packet_stream_is_paused_it_waits(loop):
    sock, _ = make(loop, [b"one"])
    source = StreamSource(sock)
    stream, came, _ = fed_by(source, sync=False)
    stream.pause()
    source.start()
    turn(loop, 3)
    assert came == []
    stream.resume()
    turn(loop, 3)
    assert came == [b"one"]


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_paused_and_resumed_from_another_thread(loop, path, kind):
    sock, _ = make(loop, [b"0123456789", END])
    source = StreamSource(sock) if kind == "stream" else FileSource(loop, str(path))
    stream, came, _ = fed_by(source)
    in_thread(stream.pause)
    turn(loop, 3)
    assert came == []
    in_thread(stream.resume)
    turn(loop, 5)
    assert came == [b"0123456789", b""]


def test_a_loop_that_was_closed_meanwhile(path):
    loop = icey.Loop()
    stream, _, _ = fed_by(FileSource(loop, str(path)))
    stream.pause()
    loop.close()
    stream.resume()
    stream.close()


# StreamSink

def test_a_sink_sends_and_passes_on(loop):
    sock, script = make(loop)
    stream = PacketStream()
    stream.attach(StreamSink(sock))
    came = output(stream)
    stream.start()
    for data in (b"one", bytearray(b"two"), b""):
        stream.write(data)
    assert script.sent == b"onetwo" and came == [b"one", b"two", b""]


def test_a_sink_keeps_its_own(loop):
    sock, script = make(loop, [], [STALL])
    stream = PacketStream()
    stream.attach(StreamSink(sock))
    stream.start()
    memory = bytearray(b"hello")
    stream.write(memory)
    memory[:] = b"other"
    script.unstall()
    turn(loop, 2)
    assert script.sent == b"hello"


@pytest.mark.parametrize("close", [True, False])
def test_a_sink_closes_its_stream_behind_FINAL_where_told_to(loop, close):
    sock, script = make(loop)
    sink = StreamSink(sock, close=close)
    stream = PacketStream()
    stream.attach(sink)
    stream.start()
    stream.write(b"last", PacketFlags.FINAL)
    assert sock.closing is close and script.sent == b"last" and stream.stopped
    stream.start()
    stream.write(b"late")
    assert sink.dropped == close


def test_a_full_queue_is_the_streams_error(loop):
    sock, script = make(loop, [], [STALL])
    sock.max_queue = 10
    stream = PacketStream()
    stream.attach(StreamSink(sock))
    seen = events(stream)
    stream.start()
    stream.write(b"12345678")
    stream.write(b"12345678")
    assert ("error", "QueueFull") in seen


def test_a_sink_that_drops_counts_what_comes_above_high_water(loop):
    sock, script = make(loop, [], [STALL])
    sock.high_water = 8
    sink = StreamSink(sock, drop=True)
    stream = PacketStream()
    stream.attach(sink)
    stream.start()
    for _ in range(5):
        stream.write(b"1234")
    assert sock.queued == 8 and sink.dropped == 3
    script.unstall()
    turn(loop, 2)
    stream.write(b"5678")
    assert script.sent == b"123412345678"


def test_source_and_sink_make_an_echo(loop):
    sock, script = make(loop, [b"hello ", b"world", END])
    fed_by(StreamSource(sock), StreamSink(sock, close=True))
    loop.run()
    assert script.sent == b"hello world" and sock.closed


# FileSource

@pytest.mark.parametrize("kind", [str, lambda path: path, lambda path: io.BytesIO(path.read_bytes())],
                         ids=["str", "path", "open file"])
def test_a_file_comes_in_chunks_then_FINAL(loop, path, kind):
    file = kind(path)
    stream, came, flags = fed_by(FileSource(loop, file, chunk=4))
    loop.run()
    assert came == [b"0123", b"4567", b"89", b""] and flags == [0, 0, 0, PacketFlags.FINAL]
    assert stream.stopped
    if isinstance(file, io.BytesIO):
        assert not file.closed


def test_its_packets_are_lent_too(loop, path):
    source, kept = FileSource(loop, str(path)), []
    source.on_packet += kept.append
    source.start()
    loop.run()
    with pytest.raises(BorrowError):
        kept[0].data


def test_with_an_interval_it_is_paced(loop, clock, path):
    source, times = FileSource(loop, str(path), chunk=4, interval=0.5), []
    source.on_packet += lambda packet: times.append((clock() - 1000.0, packet.size))
    source.start()
    loop.run()
    assert times == [(0.0, 4), (0.5, 4), (1.0, 2), (1.5, 0)]


def test_a_path_stopped_and_started_begins_anew_an_open_file_goes_on(loop, path):
    with open(path, "rb") as file:
        for what, second in [(str(path), b"0123"), (file, b"4567")]:
            source, came = FileSource(loop, what, chunk=4), []
            source.on_packet += lambda packet, came=came: came.append(bytes(packet.data))
            source.start()
            source.start()
            turn(loop)
            source.stop()
            source.stop()
            turn(loop)
            source.start()
            turn(loop)
            source.stop()
            assert came == [b"0123", second]


def test_stopped_by_the_packet_it_brings(loop, path):
    stream, came, _ = fed_by(FileSource(loop, str(path), chunk=4))
    stream.on_packet += lambda packet: stream.close()
    loop.run()
    assert came == [b"0123"] and stream.closed


@pytest.mark.parametrize("interval", [None, 0.5])
def test_while_the_stream_is_paused_the_file_is_not_read(loop, clock, path, interval):
    stream, came, _ = fed_by(FileSource(loop, str(path), chunk=4, interval=interval))
    stream.on_packet += lambda packet: stream.pause() if packet.size else None
    for count in (1, 2, 3):
        for _ in range(5):
            clock.advance(0.5)
            turn(loop)
        assert len(came) == count
        stream.resume()
    loop.run()
    assert came == [b"0123", b"4567", b"89", b""] and stream.dropped == 0 and stream.stopped


def test_stopped_while_it_is_held_the_file_is_closed(loop, path):
    stream, came, _ = fed_by(FileSource(loop, str(path), chunk=4))
    stream.pause()
    stream.close()
    loop.run()
    assert came == [] and stream.closed


def test_a_file_that_is_not_there_is_OSError_at_start(loop, tmp_path):
    stream = PacketStream()
    stream.attach_source(FileSource(loop, str(tmp_path / "none")), sync_state=True)
    with pytest.raises(OSError):
        stream.start()
    assert stream.stopped
    loop.run()


def test_a_file_that_cannot_be_read_stops_and_tells_the_loop(loop, reports):
    class Bad(io.BytesIO):
        def readinto(self, memory):
            raise OSError("bad sector")

    stream, came, _ = fed_by(FileSource(loop, Bad()))
    loop.run()
    reports.take(OSError)
    assert came == [] and stream.active
    stream.close()


def test_a_late_call_of_its_pace_finds_nothing_to_read(loop, path):
    source = FileSource(loop, str(path))
    source._next_chunk(None)


def test_a_chunk_is_1_or_more(loop):
    with pytest.raises(ValueError, match="chunk is 1 or more"):
        FileSource(loop, "x", chunk=0)


# TimerSource

def test_a_timer_makes_packets(loop, clock):
    made = {0: b"a", 1: None, 2: RawPacket(b"c", 256)}
    stream, came, flags = fed_by(TimerSource(loop, 0.5, made.get, most=3))
    loop.run()
    assert came == [b"a", b"c", b""] and flags == [0, 256, PacketFlags.FINAL]
    assert clock() == 1001.5 and stream.stopped


def test_a_timer_goes_on_counting(loop, clock):
    stream, came, _ = fed_by(TimerSource(loop, 1.0, lambda count: b"%d" % count))
    for _ in range(2):
        clock.advance(1.0)
        turn(loop)
    stream.stop()
    clock.advance(10.0)
    turn(loop)
    stream.start()
    clock.advance(1.0)
    turn(loop)
    assert came == [b"0", b"1", b"2"]
    stream.close()


def test_a_timer_stopped_by_the_packet_it_makes_ends_without_another(loop):
    source = TimerSource(loop, 1.0, lambda count: b"%d" % count, most=1)
    stream, came, _ = fed_by(source)
    stream.on_packet += lambda packet: stream.close()
    loop.run()
    assert came == [b"0"] and stream.closed
