"""StreamSource, StreamSink, FileSource, TimerSource: what they read and send, how they end, how they are started."""
import io
import os
import threading
import time

import pytest

import icey
from icey import (
    BorrowError,
    FileSource,
    PacketFlags,
    PacketStream,
    PacketStreamAdapter,
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
FINAL = PacketFlags.FINAL
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


class Parts(icey.PacketProcessor):
    """Keeps a slice of each packet in `kept`."""

    def __init__(self, kept):
        self.kept = kept

    def process(self, packet):
        self.kept.append(packet.data[:1])
        self.emit(packet)


@pytest.mark.skipif(streams.PYPY, reason="PyPy does not tell who exports a buffer")
@pytest.mark.parametrize("debug", [True], ids=["debug"])
@pytest.mark.parametrize("kind", ["stream", "file", "threaded"])
def test_in_debug_mode_who_may_have_kept_a_slice_is_named(loop, reports, path, kind, debug):
    def looks(packet):
        bytes(packet.data)

    def behind_a_boundary(packet):
        bytes(packet.data)

    kept = []
    source = (StreamSource(make(loop, [b"one", STALL])[0]) if kind == "stream" else
              FileSource(loop, path, chunk=4, threaded=kind == "threaded"))
    source.on_packet += looks
    stream = PacketStream()
    stream.attach_source(source, sync_state=True)
    stream.attach(Parts(kept))
    stream.attach(icey.SyncPacketQueue(loop), 1)
    stream.on_packet += behind_a_boundary
    errors = []
    stream.on_error += lambda stream, exc: errors.append(exc)
    stream.start()
    packets.wait_for(lambda: turn(loop) or errors)
    turn(loop, 3)
    told = str(errors[0] if kind != "stream" else reports.take(BorrowError)[0])
    assert type(errors[0]) is (icey.NetError if kind == "stream" else BorrowError) and stream.closed
    assert "outlived its callback: " in told and "Parts.process (%s:" % __file__ in told and ".looks (%s:" % __file__ in told
    assert "behind_a_boundary" not in told and "_received" not in told and bytes(kept[0]) in (b"o", b"0")


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


@packets.needs_threads
@pytest.mark.parametrize("kind", ["stream", "file"])
def test_paused_by_another_thread_and_resumed_here_before_its_loop_hears_of_that(loop, path, kind):
    source = FileSource(loop, str(path), chunk=3) if kind == "file" else StreamSource(
        icey.Stream(loop, ScriptedSocket([b"012", b"3456789", END])))
    stream, came, _ = fed_by(source)
    in_thread(stream.pause)
    stream.resume()
    turn(loop, 20)
    assert b"".join(came) == b"0123456789" and stream.stopped and stream.dropped == 0
    if kind == "stream":
        source.stream.close()
        turn(loop)


@packets.needs_threads
def test_stopped_by_another_thread_and_started_here_before_its_loop_hears_of_that(loop, path):
    """It begins anew, as it does where it has heard: what is behind it does, too, and a file with a hole has an end as well."""
    stream, came, _ = fed_by(FileSource(loop, str(path), chunk=3))
    turn(loop)
    assert came == [b"012"]
    in_thread(stream.stop)
    stream.start()
    turn(loop, 20)
    assert came == [b"012"] + [b"012", b"345", b"678", b"9", b""] and stream.stopped


@packets.needs_threads
def test_stopped_by_another_thread_twice_it_is_stopped(loop, path):
    stream, came, _ = fed_by(FileSource(loop, str(path), chunk=3))
    in_thread(stream.stop)
    stream.start()
    in_thread(stream.stop)
    turn(loop, 5)
    assert came == [] and stream.stopped and stream.dropped == 0 and not loop.handles


def test_a_source_of_several_streams_is_held_as_long_as_one_of_them_is_paused(loop, path):
    source = FileSource(loop, str(path), chunk=3)
    slow, first, _ = fed_by(source, sync=False)
    quick, second, _ = fed_by(source)
    slow.pause()
    quick.pause()
    quick.resume()
    turn(loop, 5)
    assert first == second == []
    slow.resume()
    turn(loop, 20)
    assert b"".join(first) == b"".join(second) == b"0123456789" and slow.dropped == quick.dropped == 0


@packets.needs_threads
def test_a_sink_whose_stream_another_thread_stopped_and_we_started_still_ends_it(loop):
    sock, _ = make(loop)
    stream, _, _ = fed_by(PacketStreamAdapter(), StreamSink(sock), sync=False)
    stream.on_packet.detach_all()
    in_thread(stream.stop)
    stream.start()
    turn(loop)
    sock.abort()
    turn(loop, 3)
    assert stream.closed


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


class Bad(io.BytesIO):
    """A file whose second read fails."""

    def readinto(self, memory):
        if self.tell():
            raise OSError("bad sector")
        return super().readinto(memory)


@pytest.mark.parametrize("heard", [True, False])
def test_a_file_that_cannot_be_read_on_fails_its_stream_and_where_nobody_listens_tells_the_loop(loop, reports, heard):
    stream, came, flags = fed_by(FileSource(loop, Bad(b"0123456789"), chunk=4))
    seen = []
    if heard:
        stream.on_error += lambda stream, exc: seen.append(str(exc))
    loop.run()
    if not heard:
        reports.take(OSError)
    assert came == [b"0123"] and flags == [0] and seen == ["bad sector"] * heard
    assert stream.closed and str(stream.error) == "bad sector"


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


def test_a_timer_that_has_ended_begins_anew(loop, clock):
    stream, came, _ = fed_by(TimerSource(loop, 1, lambda count: b"%d" % count, most=2))
    for _ in range(2):
        for _ in range(3):
            clock.advance(1)
            turn(loop)
        assert stream.stopped
        stream.start()
    assert came == [b"0", b"1", b""] * 2
    stream.close()


@pytest.mark.parametrize("most", [0, -1, True, 1.5, "2"])
def test_most_is_1_or_more(loop, most):
    with pytest.raises(ValueError, match="most is 1 call or more"):
        TimerSource(loop, 1, str, most=most)


def test_a_timer_stopped_by_the_packet_it_makes_ends_without_another(loop):
    source = TimerSource(loop, 1.0, lambda count: b"%d" % count, most=1)
    stream, came, _ = fed_by(source)
    stream.on_packet += lambda packet: stream.close()
    loop.run()
    assert came == [b"0"] and stream.closed


@pytest.mark.parametrize("most", [None, 2, 3])
def test_a_timer_whose_make_raises_fails_its_stream_and_FINAL_does_not_come(loop, clock, most):
    source = TimerSource(loop, 1.0, lambda count: b"%d" % (1 // (1 - count)), most=most)
    stream, came, flags = fed_by(source)
    seen = events(stream)
    loop.run()
    assert came == [b"1"] and flags == [0], "no FINAL"
    assert ("error", "ZeroDivisionError") in seen and seen[-1] == ("close",)
    assert type(stream.error) is ZeroDivisionError and source.count == 2 and clock() == 1002.0, "it stopped"


def test_a_timer_whose_slot_raises_at_the_last_packet_ends_all_the_same(loop, clock, reports):
    source, seen = TimerSource(loop, 1, lambda count: b"%d" % count, most=2), []
    source.on_packet += raising_at(seen, 2)
    source.start()
    for _ in range(4):
        clock.advance(1)
        turn(loop)
    assert seen == [b"0", b"1", b""] and source.count == 2 and len(reports) == 1
    reports.clear()


def test_what_a_timers_make_raised_goes_to_the_loop_where_no_stream_listens(loop, reports):
    stream, came, _ = fed_by(TimerSource(loop, 1.0, lambda count: b"%d" % (1 // (1 - count)), most=5))
    loop.run()
    assert came == [b"1"] and [type(exc) for exc, _ in reports] == [ZeroDivisionError] and stream.closed

    alone, came = TimerSource(loop, 1.0, lambda count: 1 // 0), []
    alone.on_packet += came.append
    alone.start()
    loop.run()
    assert came == [] and len(reports) == 2 and alone.count == 1
    reports.clear()


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_a_stream_that_is_paused_while_it_starts_has_its_sources_started_all_the_same(loop, path, kind):
    if kind == "file":
        source = FileSource(loop, str(path), chunk=3)
    else:
        source = StreamSource(icey.Stream(loop, ScriptedSocket([b"012", b"3456789", END])))
    stream = PacketStream()
    stream.attach_source(source, sync_state=True)
    came = output(stream)
    stream.on_state.attach(lambda stream, new, old: stream.pause(), once=True)
    stream.start()
    turn(loop, 5)
    assert came == [] and stream.state is icey.PacketStreamState.PAUSED
    stream.resume()
    turn(loop, 20)
    assert b"".join(came) == b"0123456789" and stream.stopped and stream.dropped == 0
    if kind == "stream":
        source.stream.close()
        turn(loop)


@packets.needs_threads
def test_what_comes_before_a_source_hears_that_another_thread_has_paused_its_stream_is_not_dropped(real_loop, path):
    stream, came, flags = fed_by(FileSource(real_loop, str(path), chunk=3))
    source, = stream.sources
    for expected in (b"", b"012"):  # before the idler of this turn, and the posts of the next one
        real_loop.call_soon(lambda: in_thread(stream.pause))
        real_loop.run_once(0)
        assert b"".join(came) == expected + b"012345678"[len(expected):][:3] and stream.dropped == 0
        for _ in range(3):
            real_loop.run_once(0)
        assert len(b"".join(came)) == len(expected) + 3 and source.held, "it is held from now on"
        in_thread(stream.resume)
        assert source.held
    real_loop.run()
    assert b"".join(came) == b"0123456789" and flags[-1] == FINAL and stream.dropped == 0 and not source.held


# FileSource(threaded=True)

class Gated(io.RawIOBase):
    """A file on a slow disk: each read waits for a permit; `readers` are the threads that read."""

    def __init__(self, data, error=None):
        self.permits = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.left, self.error, self.readers = data, error, []

    def readable(self):
        return True

    def readinto(self, room):
        self.begun.release()
        assert self.permits.acquire(timeout=packets.LONG)
        self.readers.append(threading.get_ident())
        if self.error is not None:
            raise self.error
        size = min(len(room), len(self.left))
        room[:size] = self.left[:size]
        self.left = self.left[size:]
        return size


@pytest.fixture
def real_loop(debug, reports):
    loop = icey.Loop(debug)
    loop.on_error += reports.note
    yield loop
    streams.finish(loop)


def until(loop, met):
    end = time.monotonic() + packets.LONG
    while not met():
        assert time.monotonic() < end
        loop.run_once(0.02)


@packets.needs_threads
@pytest.mark.parametrize("interval", [None, 0.001])
def test_a_thread_reads_and_the_packets_come_on_the_loop_in_order(real_loop, path, interval):
    stream, came, flags = fed_by(FileSource(real_loop, str(path), chunk=3, interval=interval, threaded=True))
    where = []
    stream.on_packet += lambda packet: where.append(threading.get_ident())
    real_loop.run()
    assert came == [b"012", b"345", b"678", b"9", b""] and flags[-1] == FINAL and stream.stopped
    assert set(where) == {threading.get_ident()}


@packets.needs_threads
def test_the_loop_goes_on_while_a_thread_reads(real_loop):
    file = Gated(b"012345")
    stream, came, _ = fed_by(FileSource(real_loop, file, chunk=3, threaded=True))
    assert file.begun.acquire(timeout=packets.LONG)
    turned = []
    real_loop.call_soon(turned.append, 1)
    until(real_loop, lambda: turned)
    assert came == []
    for _ in range(3):
        file.permits.release()
    until(real_loop, lambda: stream.stopped)
    assert came == [b"012", b"345", b""] and threading.get_ident() not in file.readers and not file.closed


@packets.needs_threads
def test_what_a_thread_reads_while_the_stream_is_paused_comes_when_it_goes_on(real_loop):
    file = Gated(b"012345")
    stream, came, _ = fed_by(FileSource(real_loop, file, chunk=3, threaded=True))
    assert file.begun.acquire(timeout=packets.LONG)
    stream.pause()
    for _ in range(3):
        file.permits.release()
    until(real_loop, lambda: file.readers)
    for _ in range(5):
        real_loop.run_once(0.01)
    assert came == [] and len(file.readers) == 1
    stream.resume()
    until(real_loop, lambda: stream.stopped)
    assert came == [b"012", b"345", b""]


@packets.needs_threads
def test_what_a_thread_has_read_is_not_overwritten_by_pauses_that_follow_at_once(real_loop):
    file = Gated(b"0123456789")
    stream, came, _ = fed_by(FileSource(real_loop, file, chunk=3, threaded=True))
    assert file.begun.acquire(timeout=packets.LONG)
    stream.pause()
    for _ in range(9):
        file.permits.release()
    until(real_loop, lambda: file.readers)
    for _ in range(5):
        real_loop.run_once(0.01)
    for _ in range(3):
        stream.resume()
        stream.pause()
    stream.resume()
    until(real_loop, lambda: stream.stopped)
    assert came == [b"012", b"345", b"678", b"9", b""]


@packets.needs_threads
def test_a_source_with_an_interval_goes_on_behind_a_pause_in_which_a_read_came(real_loop):
    file = Gated(b"012345")
    stream, came, _ = fed_by(FileSource(real_loop, file, chunk=3, threaded=True, interval=0.001))
    until(real_loop, lambda: file.begun.acquire(blocking=False))
    stream.pause()
    for _ in range(9):
        file.permits.release()
    until(real_loop, lambda: file.readers)
    for _ in range(5):
        real_loop.run_once(0.01)
    stream.resume()
    until(real_loop, lambda: stream.stopped)
    assert came == [b"012", b"345", b""]


@packets.needs_threads
@pytest.mark.parametrize("again", ["pause", "stop"])
def test_a_thread_reads_nothing_into_a_packet_that_a_slot_still_has(real_loop, again):
    file, source, seen = Gated(b"012345"), None, []
    source = FileSource(real_loop, file, chunk=3, threaded=True)

    def slot(packet):
        if packet.size and again == "pause":
            source.on_stream_state(icey.PacketStreamState.PAUSED)
            source.on_stream_state(icey.PacketStreamState.ACTIVE)
        elif packet.size:
            source.stop()
            source.start()
        end = time.monotonic() + 0.05  # for a thread that does what it should not
        while packet.size and len(file.readers) == len(seen) + 1 and time.monotonic() < end:
            time.sleep(0.001)
        seen.append(bytes(packet.data))

    source.on_packet += slot
    for _ in range(9):
        file.permits.release()
    source.start()
    real_loop.run()
    assert seen == [b"012", b"345", b""]


@packets.needs_threads
def test_what_a_thread_has_read_while_the_source_was_stopped_comes_first_at_the_next_start(real_loop):
    file = Gated(b"012345")
    source = FileSource(real_loop, file, chunk=3, threaded=True)
    came = output(source)
    source.start()
    assert file.begun.acquire(timeout=packets.LONG)
    source.stop()
    for _ in range(9):
        file.permits.release()
    real_loop.run()
    assert file.readers and came == []
    source.start()
    real_loop.run()
    assert came == [b"012", b"345", b""]


def raising_at(seen, which):
    """A slot that notes what comes, and raises at packet number `which`."""
    def slot(packet):
        seen.append(bytes(packet.data))
        if len(seen) == which:
            raise ArithmeticError
    return slot


@pytest.mark.parametrize("threaded", [False, pytest.param(True, marks=packets.needs_threads)])
def test_a_slot_that_raises_costs_a_file_no_other_packet(real_loop, reports, path, threaded):
    source, seen = FileSource(real_loop, str(path), chunk=3, threaded=threaded), []
    source.on_packet += raising_at(seen, 2)
    source.start()
    until(real_loop, lambda: len(seen) == 5)
    assert seen == [b"012", b"345", b"678", b"9", b""] and [type(exc) for exc, _ in reports] == [ArithmeticError]
    reports.clear()


@pytest.mark.needs("threading", "threads")
@pytest.mark.parametrize("interval", [None, 0.001])
def test_a_slot_that_raises_at_what_was_read_while_it_was_held_costs_no_other_packet(real_loop, reports, interval):
    file, seen = Gated(b"012345"), []
    source = FileSource(real_loop, file, chunk=3, threaded=True, interval=interval)
    source.on_packet += raising_at(seen, 1)
    source.start()
    until(real_loop, lambda: file.begun.acquire(blocking=False))
    source.on_stream_state(icey.PacketStreamState.PAUSED)
    for _ in range(9):
        file.permits.release()
    until(real_loop, lambda: file.readers)
    for _ in range(5):
        real_loop.run_once(0.01)
    source.on_stream_state(icey.PacketStreamState.ACTIVE)
    until(real_loop, lambda: len(seen) == 3)
    assert seen == [b"012", b"345", b""] and len(reports) == 1
    reports.clear()


@packets.needs_threads
def test_an_error_of_the_thread_s_read_fails_the_streams(real_loop):
    file = Gated(b"", OSError("the disk"))
    stream, failed = PacketStream(), []
    stream.on_error += lambda stream, exc: failed.append(exc)
    stream.attach_source(FileSource(real_loop, file, threaded=True), sync_state=True)
    stream.start()
    file.permits.release()
    until(real_loop, lambda: failed)
    assert failed == [file.error] and stream.closed


@packets.needs_threads
def test_one_stopped_while_a_thread_reads_closes_its_file_behind_the_read(real_loop, path):
    source = FileSource(real_loop, str(path), chunk=3, threaded=True)
    came = output(source)
    for _ in range(20):  # wherever the thread is
        source.start()
        real_loop.run_once(0)
        source.stop()
    real_loop.run()
    del came[:]
    source.start()
    real_loop.run()
    assert came == [b"012", b"345", b"678", b"9", b""]


@packets.needs_threads
def test_stop_and_start_while_a_thread_reads_loses_nothing_of_an_open_file(real_loop):
    file = Gated(b"012345")
    source = FileSource(real_loop, file, chunk=3, threaded=True)
    came = output(source)
    source.start()
    assert file.begun.acquire(timeout=packets.LONG)
    source.stop()
    source.start()
    for _ in range(3):
        file.permits.release()
    until(real_loop, lambda: came[-1:] == [b""])
    assert came == [b"012", b"345", b""]


@packets.needs_threads
def test_the_loop_s_end_closes_the_file_that_a_thread_was_to_close(debug, path, monkeypatch):
    monkeypatch.setattr("icey.base.threadpool.JOIN", 0.0)
    loop, gate = icey.Loop(debug), threading.Event()
    source = FileSource(loop, str(path), chunk=3, threaded=True)
    source.start()
    source._pool.submit(gate.wait, packets.LONG)  # the close is behind this
    file = source._open
    source.stop()
    loop.close()
    gate.set()
    assert file.closed


# a FIFO by its path

@pytest.fixture
def fifo(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs")
    os.mkfifo(str(tmp_path / "fifo"))
    return str(tmp_path / "fifo")


@pytest.mark.parametrize("threaded", [False, pytest.param(True, marks=packets.needs_threads)])
@pytest.mark.parametrize("data", [b"", b"012345"])
def test_a_FIFO_s_first_writer_is_waited_for_by_the_loop_that_goes_on(real_loop, fifo, threaded, data):
    stream, came, flags = fed_by(FileSource(real_loop, fifo, chunk=3, threaded=threaded))
    for _ in range(3):
        real_loop.run_once(0.01)
    assert came == [] and stream.active
    stream.pause()
    stream.resume()
    for _ in range(3):
        real_loop.run_once(0.01)
    assert came == [] and stream.active
    writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        if data:
            os.write(writer, data)
            until(real_loop, lambda: len(came) == 2)
            assert stream.active
    finally:
        os.close(writer)
    until(real_loop, lambda: stream.stopped)
    assert b"".join(came) == data and flags[-1] == FINAL
