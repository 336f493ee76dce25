"""The end of a packet stream: FINAL stands behind the whole alone, no queue loses it, no source runs for nobody."""
import gc
import os
import socket
import weakref

import pytest

import icey
from icey import (
    Delimited,
    FileSource,
    Fixed,
    FlagPacket,
    LengthPrefixed,
    PacketFlags,
    PacketSocket,
    PacketStream,
    RawPacket,
    StreamSink,
    StreamSource,
    SyncPacketQueue,
    TimerSource,
)
from icey.base.errors import Truncated
from icey.packets.adapter import PacketStreamAdapter
from icey.tools.testing import END, STALL, Peer, ScriptedSocket
from tests.support import lacks, packets, streams
from tests.support.loops import in_thread
from tests.support.packets import events, needs_threads, output, turn_until
from tests.support.streams import turn, watch

no_thread_stays = packets.no_thread_stays
debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

if lacks("ssl"):
    @pytest.fixture
    def certs():
        pytest.skip(lacks("ssl"))

    role = certs
else:
    from tests.support import tls, tlslinks

    certs, role = tls.certs, tlslinks.role

FINAL = PacketFlags.FINAL
INPUTS = pytest.mark.parametrize("kind", [StreamSource, lambda sock: PacketSocket(sock, Delimited())],
                                 ids=["StreamSource", "PacketSocket"])


def make(loop, *reads, writes=()):
    sock = ScriptedSocket(reads, writes)
    return icey.Stream(loop, sock), sock


def fed_by(source, *stages, sync=True, **options):
    """A started stream with this source; (stream, what came: bytes, "FINAL", or the class of the error)."""
    stream, seen = PacketStream(**options), []
    stream.attach_source(source, sync_state=sync)
    for order, stage in enumerate(stages):
        stream.attach(stage, order)
    note(stream, seen)
    stream.start()
    return stream, seen


def note(stream, seen):
    stream.on_packet += lambda packet: seen.append("FINAL" if packet.flags & FINAL else bytes(packet.data))
    stream.on_error += lambda stream, exc: seen.append(type(exc))


def run_by(source, *stages):
    """As `fed_by`, but nobody takes the packets behind the stages."""
    stream = PacketStream()
    stream.attach_source(source, sync_state=True)
    for order, stage in enumerate(stages):
        stream.attach(stage, order)
    stream.start()
    return stream


def real(loop):
    ours, theirs = tcp()
    return icey.TCPSocket(loop, ours), Peer(loop, theirs)


def tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        return listener.accept()[0], theirs


# An input that breaks is no end

@INPUTS
def test_a_reset_is_the_error_of_the_packet_stream(loop, kind):
    sock, _ = make(loop, b"half\n", ConnectionResetError)
    stream, seen = fed_by(kind(sock))
    turn(loop, 4)
    assert seen[0].strip() == b"half" and seen[1:] == [ConnectionResetError]
    assert stream.closed and type(stream.error) is ConnectionResetError and sock.closed


@INPUTS
@pytest.mark.parametrize("give_up", ["abort", "a slot that raises", "a deadline of close"])
def test_what_is_given_up_here_is_no_end_either(loop, clock, reports, kind, give_up):
    sock, script = make(loop, b"half\n", writes=[STALL])
    stream, seen = fed_by(kind(sock))
    turn(loop)
    if give_up == "abort":
        sock.abort()
    elif give_up == "a slot that raises":
        sock.on_recv += lambda sock, view: 1 // 0
        script.feed(b"more\n")
    else:
        sock.send(b"x")
        sock.close()
        clock.advance(sock.close_timeout + 1)
    turn(loop, 4)
    if give_up == "a slot that raises":
        reports.take(ZeroDivisionError)
    assert sock.closed and "FINAL" not in seen and isinstance(stream.error, icey.NetError) and stream.closed


@INPUTS
def test_a_loop_that_is_closed_under_it_is_no_end(debug, kind):
    with icey.Loop(debug) as loop:
        ours, theirs = tcp()
        sock = icey.TCPSocket(loop, ours)
        stream, seen = fed_by(kind(sock))
        sock.abort()
    theirs.close()
    assert seen == [icey.NetError] and stream.closed


@INPUTS
def test_a_close_in_good_order_is_an_end(loop, kind):
    sock, _ = make(loop, b"one\n")
    stream, seen = fed_by(kind(sock))
    turn(loop)
    sock.close()
    turn(loop, 2)
    assert seen[-1] == "FINAL" and stream.stopped and stream.error is None


@INPUTS
@pytest.mark.parametrize("end, expected", [("close", "FINAL"), ("abort", icey.NetError)])
def test_who_starts_it_when_its_stream_is_closed_already_is_told_how_it_ended(loop, kind, end, expected):
    sock, _ = make(loop)
    source = kind(sock)
    getattr(sock, end)()
    turn(loop, 2)
    assert sock.closed
    stream, seen = fed_by(source)
    turn(loop, 2)
    assert seen == [expected]
    source.stop()
    source.start()
    turn(loop, 2)
    assert seen == [expected]


@INPUTS
def test_an_end_that_was_told_to_another_is_told_to_who_starts_later(loop, kind):
    sock, _ = make(loop, b"one\n", END)
    sock.on_recv += lambda sock, view: None
    sock.on_end += lambda sock: None
    turn(loop, 3)
    stream, seen = fed_by(kind(sock))
    turn(loop, 2)
    assert seen == ["FINAL"]


@INPUTS
def test_a_paused_stream_fails_at_once(loop, kind):
    sock, _ = make(loop)
    stream, seen = fed_by(kind(sock))
    stream.pause()
    sock.fail(ConnectionResetError())
    turn(loop, 2)
    assert seen == [ConnectionResetError] and stream.closed


def test_all_that_it_feeds_fails_also_one_that_starts_by_itself(loop):
    sock, _ = make(loop, ConnectionResetError)
    source = StreamSource(sock)
    idle, automatic, seen = PacketStream(), PacketStream(auto_start=True), []
    for stream in (idle, automatic):
        stream.attach_source(source)
        note(stream, seen)
    stream, _ = fed_by(source)
    turn(loop, 3)
    assert stream.closed and automatic.closed and seen == [ConnectionResetError]
    assert idle.error is None


def test_close_on_error_is_heeded(loop):
    sock, _ = make(loop, ConnectionResetError)
    stream, seen = fed_by(StreamSource(sock), close_on_error=False)
    turn(loop, 3)
    assert stream.state.name == "ERROR" and seen == [ConnectionResetError]
    stream.close()


@pytest.mark.parametrize("queue", [False, True])
def test_what_a_failed_stream_feeds_fails_with_it(loop, queue):
    sock, script = make(loop, b"one")
    trunk, seen = fed_by(StreamSource(sock), *([SyncPacketQueue(loop)] if queue else []))
    branch, twig, told = PacketStream(), PacketStream(), []
    branch.attach_source(trunk)
    twig.attach_source(branch)
    note(twig, told)
    branch.start()
    twig.start()
    turn(loop, 2)
    script.feed(ConnectionResetError)
    turn(loop, 4)
    assert seen == [b"one", ConnectionResetError] and told == [b"one", ConnectionResetError]
    assert branch.closed and twig.closed


@needs_threads
def test_a_failed_stream_behind_a_thread_fails_what_it_feeds(loop):
    sock, script = make(loop, b"one")
    trunk, _ = fed_by(StreamSource(sock), icey.AsyncPacketQueue())
    branch, told = PacketStream(), []
    branch.attach_source(trunk)
    branch.synchronize_output(loop)
    note(branch, told)
    branch.start()
    turn_until(loop, lambda: told)
    script.feed(ConnectionResetError)
    turn_until(loop, lambda: branch.closed)
    assert told == [b"one", ConnectionResetError]


def test_a_source_of_yours_fails_its_streams(loop):
    source = PacketStreamAdapter()
    assert source.fail_streams(OSError("no stream")) is False
    stream, seen = fed_by(source, sync=False)
    source.on_packet += lambda packet: None
    assert source.fail_streams(OSError("gone")) is True and seen == [OSError]
    assert source.fail_streams(OSError("again")) is False and seen == [OSError]


@INPUTS
def test_TLS_that_ends_without_close_notify_is_no_end(debug, certs, role, kind):
    with icey.Loop(debug) as loop:
        with tlslinks.shaken(loop, certs, role) as link:
            stream, seen = fed_by(kind(link.sock))
            link.end.write(b"half\n")
            link.bring(link.end.take())
            turn_until(loop, lambda: seen)
            link.far.shutdown(socket.SHUT_WR)
            turn_until(loop, lambda: stream.closed)
            assert "FINAL" not in seen and seen[-1] is Truncated


# Queues

class Full:
    """A stream whose queue of three is full."""

    def __init__(self, loop, drop, maxsize=3):
        self.queue, self.seen, self.stream = SyncPacketQueue(loop, maxsize, drop), [], PacketStream()
        self.stream.attach(self.queue)
        note(self.stream, self.seen)
        self.stream.start()
        for number in range(maxsize):
            self.stream.write(b"%d" % number)


@pytest.mark.parametrize("drop, kept", [
    ("newest", [b"0", b"1", b"2"]), ("error", [b"0", b"1", b"2"]), ("oldest", [b"1", b"2"])])
@pytest.mark.parametrize("last", [lambda: FlagPacket(FINAL), lambda: RawPacket(b"last", FINAL)], ids=["flag", "data"])
def test_there_is_always_room_for_FINAL(loop, drop, kept, last):
    full = Full(loop, drop)
    full.stream.write(last())
    turn(loop, 3)
    assert full.seen == [*kept, "FINAL"] and full.stream.stopped and full.queue.dropped == 3 - len(kept)


def test_no_packet_behind_takes_the_place_of_FINAL(loop):
    queue, seen, stream = SyncPacketQueue(loop, 1, "oldest"), [], PacketStream()
    stream.attach(queue)
    note(stream, seen)
    stream.start()
    queue.process(RawPacket(b"last", FINAL))
    queue.process(RawPacket(b"behind"))
    queue.process(RawPacket(b"", FINAL))
    turn(loop, 2)
    assert seen == ["FINAL", "FINAL"] and queue.dropped == 1


@needs_threads
@pytest.mark.parametrize("drop", ["newest", "error", "block", "oldest"])
def test_a_queue_with_a_thread_keeps_FINAL_too(loop, drop):
    stream, seen = PacketStream(), []
    queue = stream.attach(icey.AsyncPacketQueue(1, drop))
    gate = stream.attach(Gate(), 1)
    note(stream, seen)
    stream.start()
    stream.write(b"in the gate")
    gate.reached.wait(20)
    stream.write(b"waits")
    if drop != "block":
        stream.write(FlagPacket(FINAL))
        gate.opens.set()
    else:
        gate.opens.set()
        stream.write(FlagPacket(FINAL))
    packets.wait_for(lambda: stream.stopped and stream.state.name == "STOPPED")
    assert seen[0] == b"in the gate" and seen[-1] == "FINAL" and queue.depth == 0


class Gate(packets.PacketProcessor):
    """Holds the thread that delivers until it opens."""

    def __init__(self):
        import threading

        self.reached, self.opens = threading.Event(), threading.Event()

    def process(self, packet):
        self.reached.set()
        assert self.opens.wait(20)
        self.emit(packet)


def test_a_sink_behind_a_full_queue_closes_its_stream(loop):
    sock, script = make(loop)
    stream = PacketStream()
    stream.attach(SyncPacketQueue(loop, 2, "newest"))
    stream.attach(StreamSink(sock, close=True), 1)
    stream.start()
    for data in (b"1", b"2", b"3"):
        stream.write(data)
    stream.write(FlagPacket(FINAL))
    turn(loop, 4)
    assert script.sent == b"12" and sock.closed


# Files

class Slowly:
    """A nonblocking file that cannot be polled: what it gives, None for nothing yet."""

    def __init__(self, *gives):
        self.gives = list(gives)
        self.asked = 0

    def readinto(self, memory):
        self.asked += 1
        data = self.gives.pop(0) if self.gives else b""
        if data is None:
            return None
        memory[:len(data)] = data
        return len(data)


@pytest.mark.parametrize("interval", [None, 0.5])
def test_a_file_that_has_nothing_yet_has_not_ended(loop, clock, interval):
    file = Slowly(None, None, b"first", None, b"second")
    stream, seen = fed_by(FileSource(loop, file, interval=interval))
    turn(loop, 3)
    assert seen == [] and stream.active and file.asked == 1
    for _ in range(12):
        clock.advance(0.5)
        turn(loop)
    assert seen == [b"first", b"second", "FINAL"] and stream.stopped


@pytest.mark.skipif(os.name != "posix", reason="pipes that can be polled")
def test_a_nonblocking_pipe_is_waited_for_without_turning_the_loop(debug):
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    with icey.Loop(debug) as loop, os.fdopen(readable, "rb", buffering=0) as file:
        source = FileSource(loop, file)
        stream, seen = fed_by(source)
        turn(loop, 2)
        assert seen == [] and not loop.idlers
        stream.pause()
        turn(loop)
        stream.resume()
        turn(loop, 2)
        os.write(writable, b"first")
        turn_until(loop, lambda: seen)
        turn(loop, 2)
        os.close(writable)
        turn_until(loop, lambda: stream.stopped)
        assert seen == [b"first", "FINAL"]
    assert loop.closed


@pytest.mark.parametrize("exc", [OSError(5, "Input/output error"), ValueError("I/O operation on closed file")])
def test_a_file_that_fails_fails_its_stream(loop, exc):
    class Fails:
        def readinto(self, memory):
            raise exc

    stream, seen = fed_by(FileSource(loop, Fails()))
    turn(loop, 2)
    assert seen == [type(exc)] and stream.closed and stream.error is exc


# A slow reader: StreamSink(drop="pause")

def narrow(sock, high=8, low=2, most=None):
    sock.high_water, sock.low_water, sock.max_queue = high, low, most
    return sock


@pytest.mark.parametrize("queue", [False, True])
def test_a_sink_that_pauses_holds_a_file_up_and_loses_nothing(loop, tmp_path, queue):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 12)
    sock, script = make(loop, writes=[STALL])
    narrow(sock, most=64)
    sink = StreamSink(sock, drop="pause", close=True)
    stream = run_by(FileSource(loop, str(path), chunk=16), *([SyncPacketQueue(loop)] if queue else []), sink)
    held = 0
    for _ in range(2000):
        turn(loop)
        assert sock.queued <= 64
        if stream.state.name == "PAUSED":
            held += 1
            script.allow(16, STALL)
            script.unstall()
        if sock.closed:
            break
    assert held > 10
    assert script.sent == path.read_bytes() and sink.dropped == stream.dropped == 0 and sock.closed
    assert len(sock.on_drain) == 0


@pytest.mark.parametrize("kind", [StreamSource, lambda sock: PacketSocket(sock, Fixed(4))], ids=["stream", "packets"])
def test_a_sink_that_pauses_holds_a_connection_up(loop, kind):
    here, incoming = make(loop, *[b"%08d" % number for number in range(50)], END)
    there, script = make(loop, writes=[STALL])
    narrow(there, most=32)
    sink = StreamSink(there, drop="pause", close=True)
    stream = run_by(kind(here), sink)
    turn(loop, 5)
    assert stream.state.name == "PAUSED" and there.queued <= 16
    script.unstall()
    turn(loop, 200)
    assert script.sent == b"".join(b"%08d" % number for number in range(50)) and there.closed
    assert sink.dropped == stream.dropped == 0


def test_what_waited_in_a_queue_when_it_paused_is_kept_and_sent(loop):
    sock, script = make(loop, writes=[STALL])
    narrow(sock, most=10)
    sink, stream = StreamSink(sock, drop="pause", close=True), PacketStream()
    stream.attach(SyncPacketQueue(loop))
    stream.attach(sink, 1)
    stream.start()
    for number in range(20):
        stream.write(bytearray(b"%08d" % number))
    stream.write(FlagPacket(FINAL))
    turn(loop, 3)
    assert sock.queued == 8 and not sock.closing and sink.dropped == 0
    script.unstall()
    turn(loop, 5)
    assert script.sent == b"".join(b"%08d" % number for number in range(20)) and sock.closed and stream.stopped


@pytest.mark.parametrize("drop", [False, "error", True, "newest", "pause"])
def test_no_sink_drops_the_packet_that_is_the_last(loop, drop):
    sock, script = make(loop, writes=[STALL])
    narrow(sock, high=4, most=10)
    sink, stream = StreamSink(sock, drop=drop, close=True), PacketStream()
    stream.attach(sink)
    stream.start()
    sink.process(RawPacket(b"12345678"))
    sink.process(RawPacket(bytearray(b"the last one"), FINAL))
    assert sink.dropped == 0 and not sock.closing
    script.unstall()
    turn(loop, 3)
    assert script.sent == b"12345678the last one" and sock.closed
    stream.close()


def test_error_and_newest_behind_the_last_that_waits(loop):
    for drop in ("error", "newest"):
        sock, _ = make(loop, writes=[STALL])
        sink = StreamSink(narrow(sock, most=10), drop=drop)
        sink.process(RawPacket(b"12345678"))
        sink.process(RawPacket(b"12345678", FINAL))
        if drop == "error":
            with pytest.raises(icey.QueueFull):
                sink.process(RawPacket(b"behind"))
        else:
            sink.process(RawPacket(b"behind"))
            assert sink.dropped == 1


@pytest.mark.parametrize("drop", ["oldest", None, "True", 2])
def test_other_policies_are_ValueError(loop, drop):
    sock, _ = make(loop)
    with pytest.raises(ValueError, match="drop is one of error, newest, pause"):
        StreamSink(sock, drop=drop)


@pytest.mark.parametrize("end", ["stop", "close"])
def test_a_stream_that_was_stopped_while_its_sink_paused_it(loop, end):
    sock, script = make(loop, writes=[STALL])
    narrow(sock)
    sink, stream = StreamSink(sock, drop="pause"), PacketStream()
    stream.attach(sink)
    stream.start()
    stream.write(b"123456789")
    assert stream.state.name == "PAUSED"
    getattr(stream, end)()
    script.unstall()
    turn(loop, 3)
    assert script.sent == b"123456789" and len(sock.on_drain) == 0


@pytest.mark.parametrize("first", ["sink", "user"])
def test_a_pause_of_ones_own_outlasts_that_of_the_sink(loop, first):
    sock, script = make(loop, writes=[STALL])
    sink, stream = StreamSink(narrow(sock), drop="pause"), PacketStream()
    stream.attach(sink)
    if first == "user":  # it pauses before the sink is to
        stream.attach(packets.Do(lambda packet: stream.pause()), -1)
    stream.start()
    stream.write(b"123456789")
    assert stream.state.name == "PAUSED"
    stream.pause()
    script.unstall()
    turn(loop, 3)
    assert sock.queued == 0 and stream.state.name == "PAUSED"
    stream.resume()
    assert stream.active
    stream.close()


def test_a_sink_whose_stream_dies_while_it_pauses(loop):
    here, _ = make(loop, *[b"12345678"] * 5)
    there, _ = make(loop, writes=[STALL])
    sink = StreamSink(narrow(there, most=10), drop="pause")
    stream = run_by(StreamSource(here), SyncPacketQueue(loop), sink)
    turn(loop, 4)
    there.fail(ConnectionResetError())
    turn(loop, 4)
    assert type(stream.error) is ConnectionResetError and stream.closed and here.closed and not sink.serves


# Sinks that have gone

@pytest.mark.parametrize("how, error", [("fail", BrokenPipeError), ("close", None), ("abort", None)])
@INPUTS
def test_a_relay_whose_destination_has_gone_ends(loop, kind, how, error):
    here, incoming = make(loop, b"one\n")
    there, script = make(loop)
    stream = run_by(kind(here), StreamSink(there))
    turn(loop)
    there.fail(BrokenPipeError()) if how == "fail" else getattr(there, how)()
    turn(loop, 4)
    assert stream.closed and here.closed
    assert stream.error is None if error is None else type(stream.error) is error


def test_a_packet_for_a_stream_that_is_closing_ends_it(loop):
    here, incoming = make(loop, b"one")
    there, script = make(loop, writes=[STALL])
    sink = StreamSink(there)
    stream = run_by(StreamSource(here), sink)
    turn(loop)
    there.close()
    incoming.feed(b"two", b"three")
    turn(loop, 3)
    assert not there.closed and stream.closed and sink.dropped == 1 and here.closed


def test_a_last_word_goes_out_before_the_source_is_closed(loop):
    here, incoming = make(loop, b"one")
    there, _ = make(loop)
    stream = run_by(StreamSource(here), StreamSink(there))
    stream.on_error += lambda stream, exc: here.send(b"sorry")
    turn(loop)
    there.fail(BrokenPipeError())
    turn(loop, 4)
    assert incoming.sent == b"sorry" and here.closed


@pytest.mark.parametrize("other", ["a slot", "a sink", "a stage behind"])
def test_it_goes_on_where_others_take_the_packets(loop, other):
    here, incoming = make(loop, b"one\n")
    (there, _), (third, _) = make(loop), make(loop)
    sink = StreamSink(there)
    stages = [sink] + ([StreamSink(third)] if other == "a sink" else [packets.Pass()] if other == "a stage behind" else [])
    stream = run_by(StreamSource(here), *stages)
    if other == "a slot":
        output(stream)
    there.abort()
    turn(loop, 3)
    incoming.feed(b"two\n")
    turn(loop, 3)
    assert stream.active and not here.closing and sink.dropped >= 1


def test_a_source_that_others_take_from_is_not_closed(loop):
    here, incoming = make(loop, b"one")
    there, _ = make(loop)
    source, came = StreamSource(here), []
    stream = run_by(source, StreamSink(there))
    source.on_packet += lambda packet: came.append(bytes(packet.data))
    there.abort()
    turn(loop, 4)
    assert stream.closed and not here.closing


def test_a_stream_without_sources_stays_open(loop):
    there, _ = make(loop)
    sink, stream = StreamSink(there), PacketStream()
    stream.attach(sink)
    stream.start()
    there.abort()
    turn(loop, 2)
    stream.write(b"late")
    assert stream.active and sink.dropped == 1
    stream.close()


def test_a_sink_of_a_stream_that_is_closed_before_it_starts(loop):
    here, incoming = make(loop, b"one")
    there, _ = make(loop)
    there.abort()
    turn(loop, 2)
    stream = run_by(StreamSource(here), StreamSink(there))
    turn(loop, 3)
    assert stream.closed and here.closed


def test_a_sink_of_packets_ends_its_stream_too(loop):
    here, incoming = make(loop, b"one\n")
    there, script = make(loop)
    stream = run_by(PacketSocket(here, Delimited()), PacketSocket(there, LengthPrefixed(1)).sink())
    turn(loop)
    assert script.sent == b"\3one"
    there.fail(ConnectionResetError())
    turn(loop, 3)
    assert type(stream.error) is ConnectionResetError and here.closed


def test_the_source_of_a_trunk_that_runs_with_its_branch_is_closed_too(loop):
    here, incoming = make(loop, b"one")
    there, _ = make(loop)
    trunk, branch = PacketStream(), PacketStream()
    trunk.attach_source(StreamSource(here), sync_state=True)
    branch.attach_source(trunk, sync_state=True)
    branch.attach(StreamSink(there))
    branch.start()
    turn(loop)
    there.abort()
    turn(loop, 4)
    assert branch.closed and trunk.stopped and here.closed


def test_a_trunk_that_others_follow_goes_on(loop):
    here, incoming = make(loop, b"one")
    (there, _), (third, script) = make(loop), make(loop)
    trunk, branches = PacketStream(), [PacketStream(), PacketStream()]
    trunk.attach_source(StreamSource(here), sync_state=True)
    for branch, sock in zip(branches, (there, third)):
        branch.attach_source(trunk)
        branch.attach(StreamSink(sock))
        branch.start()
    trunk.start()
    turn(loop)
    there.abort()
    turn(loop, 3)
    incoming.feed(b"two")
    turn(loop, 2)
    assert branches[0].closed and script.sent == b"onetwo" and not here.closing


def test_a_file_and_a_timer_do_not_run_for_nobody(loop, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(10000))
    for source in (FileSource(loop, str(path), chunk=1), TimerSource(loop, 0.1, lambda count: b"x")):
        there, _ = make(loop)
        stream = run_by(source, StreamSink(there))
        turn(loop, 2)
        there.abort()
        turn(loop, 3)
        assert stream.closed
    assert not loop.idlers and not loop.active


# PacketSocket

def test_a_peer_that_closes_cleanly_is_closed(loop):
    sock, _ = make(loop, b"one\n", END)
    seen = watch(sock, "error", "close")
    stream, came = fed_by(PacketSocket(sock, Delimited()))
    turn(loop, 4)
    assert came == [b"one", "FINAL"] and seen == [("close",)]


def test_first_what_is_in_the_queues_is_answered(loop):
    sock, script = make(loop, b"one\n", b"two\n", END)
    socket_ = PacketSocket(sock, Delimited())
    stream, came = fed_by(socket_, SyncPacketQueue(loop), SyncPacketQueue(loop), socket_.sink())
    stream.on_state += lambda stream, new, old: socket_.send(b"bye") if new.name == "STOPPED" else None
    turn(loop, 8)
    assert script.sent == b"one\ntwo\nbye\n" and sock.closed


def test_with_an_on_end_slot_of_yours_it_stays_half_open(loop):
    sock, script = make(loop, b"one\n", END)
    socket_ = PacketSocket(sock, Delimited())
    sock.on_end += lambda sock: None
    stream, came = fed_by(socket_)
    turn(loop, 4)
    assert came == [b"one", "FINAL"] and not sock.closing
    socket_.send(b"later")
    assert script.sent == b"later\n"


@pytest.mark.parametrize("framing, wire", [
    (Delimited(most=4), b"abcdefgh"), (Delimited(), b"x\nabc"), (LengthPrefixed(), b"\0\0"), (Fixed(4), b"abc")])
def test_malformed_input_and_an_end_inside_a_packet_are_reset_and_no_end(debug, reports, framing, wire):
    with icey.Loop(debug) as loop:
        sock, peer = real(loop)
        errors = watch(sock, "error", "close")
        stream, seen = fed_by(PacketSocket(sock, framing))
        peer.send(wire)
        peer.sock.shutdown(socket.SHUT_WR)
        turn_until(loop, lambda: sock.closed)
        with pytest.raises(ConnectionResetError):
            peer.read_all()
        peer.close()
        assert [event[0] for event in errors] == ["error", "close"]
        assert "FINAL" not in seen and seen[-1] is icey.PeerClosed and stream.closed


@pytest.mark.parametrize("wire, expected", [
    (b"one\ntwo", [b"one", b"two"]), (b"two", [b"two"]), (b"one\n", [b"one"]), (b"", []), (b"one\n\n", [b"one", b""])])
def test_an_unterminated_last_line_may_be_a_line(loop, wire, expected):
    for reads in ([wire] if wire else [], [wire[at:at + 1] for at in range(len(wire))]):
        sock, _ = make(loop, *reads, END)
        stream, seen = fed_by(PacketSocket(sock, Delimited(unterminated=True)))
        turn(loop, len(wire) + 4)
        assert seen == [*expected, "FINAL"] and stream.error is None and sock.closed


def test_an_unterminated_last_line_is_bounded_as_any(loop):
    sock, _ = make(loop, b"abc-", END)
    stream, seen = fed_by(PacketSocket(sock, Delimited(b"--", most=3, unterminated=True)))
    turn(loop, 4)
    assert seen == [icey.PeerClosed]


def test_a_reset_inside_a_line_is_no_line(loop):
    sock, _ = make(loop, b"one\ntw", ConnectionResetError)
    stream, seen = fed_by(PacketSocket(sock, Delimited(unterminated=True)))
    turn(loop, 4)
    assert seen == [b"one", ConnectionResetError]


@pytest.mark.parametrize("sync", [True, False])
def test_while_its_stream_is_paused_it_does_not_read_and_keeps_what_it_has(loop, sync):
    sock, script = make(loop, b"1\n2\n3\n4\n5")
    source = PacketSocket(sock, Delimited())
    stream, seen = fed_by(source, sync=sync)
    if not sync:
        source.start()
    stream.on_packet += lambda packet: stream.pause() if packet.size else None
    for count in range(1, 5):
        turn(loop, 3)
        assert seen == [b"%d" % number for number in range(1, count + 1)]
        stream.resume()
    script.feed(b"\n6\n", END)
    turn(loop, 3)
    stream.resume()
    turn(loop, 3)
    stream.resume()
    turn(loop, 4)
    assert seen[4:] == [b"5", b"6", "FINAL"] and stream.dropped == 0 and sock.closed


def test_what_it_has_read_is_delivered_before_the_error_that_came_while_it_was_paused(loop):
    sock, script = make(loop, b"1\n2\n")
    stream, seen = fed_by(PacketSocket(sock, Delimited()))
    once = [stream.pause]
    stream.on_packet += lambda packet: once.pop()() if once else None
    turn(loop)
    sock.fail(ConnectionResetError())
    turn(loop, 2)
    assert seen == [b"1"]
    stream.resume()
    turn(loop, 2)
    assert seen == [b"1", b"2", ConnectionResetError]


def test_paused_by_another_thread(loop):
    sock, script = make(loop)
    stream, seen = fed_by(PacketSocket(sock, Delimited()))
    in_thread(stream.pause)
    turn(loop)
    script.feed(b"1\n", END)
    turn(loop, 3)
    assert seen == []
    in_thread(stream.resume)
    turn(loop, 4)
    assert seen == [b"1", "FINAL"]


class Work(bytearray):
    """A buffer that counts how many of its bytes are searched."""

    searched = 0

    def find(self, what, start=0, end=None):
        found = super().find(what, start, len(self) if end is None else end)
        type(self).searched += (len(self) if found < 0 else found) - start
        return found


@pytest.mark.parametrize("delimiter", [b"\n", b"\r\n"])
def test_a_line_in_small_pieces_costs_what_it_is_long(loop, delimiter):
    """At x and at 4x: at most six times the work."""
    costs = []
    for size in (4096, 16384):
        Work.searched = 0
        source = PacketSocket(make(loop)[0], Delimited(delimiter))
        source._rest = Work()
        came = []
        source.on_packet += lambda packet, came=came: came.append(packet.size)
        source.start()
        source._rest += b"x"
        for _ in range(size // 16):
            source._received(source.stream, b"x" * 16)
        source._received(source.stream, delimiter)
        costs.append(Work.searched)
        assert came == [size + 1]
    assert 0 < costs[1] <= 6 * costs[0] and costs[1] <= 2 * 16384 + 1


@pytest.mark.parametrize("delimiter", [b"\n", b"\r\n", b"---", b"aab"])
def test_again_finds_what_cut_finds_wherever_the_pieces_end(delimiter):
    framing = Delimited(delimiter, most=20)
    text = bytearray(b"a-a\ra" + delimiter + b"rest")
    for seen in range(1, 5 + len(delimiter)):
        assert framing.cut(text[:seen], 0) is None
        for until in range(seen, len(text) + 1):
            assert framing.again(text[:until], seen) == framing.cut(text[:until], 0)
    with pytest.raises(icey.ProtocolError, match="no delimiter in 20 bytes"):
        framing.again(bytearray(b"x" * 25), 19)


def test_a_framing_of_yours_needs_no_more_than_cut(loop):
    class Pairs:
        def wrap(self, data):
            return [data]

        def cut(self, buffer, at):
            return (at, at + 2, at + 2) if len(buffer) >= at + 2 else None

    sock, _ = make(loop, b"a", b"bc", b"d", END)
    stream, seen = fed_by(PacketSocket(sock, Pairs()))
    turn(loop, 5)
    assert seen == [b"ab", b"cd", "FINAL"]


# What is left, with the collector off

@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.skipif(streams.PYPY, reason="it counts no references")
@pytest.mark.parametrize("end", ["FINAL", "stop", "close", "error", "sink", "never started"])
def test_nothing_of_a_graph_is_left(debug, no_collector, end):
    loop = icey.Loop(debug)
    loop.on_error += lambda loop, exc, handle: None
    here, incoming = make(loop, b"one")
    there, _ = make(loop)
    source, sink, stage = StreamSource(here), StreamSink(there, drop="pause"), packets.Pass()
    stream, trunk = PacketStream(), PacketStream()
    trunk.attach_source(source, sync_state=True)
    stream.attach_source(trunk)
    for order, one in enumerate((stage, SyncPacketQueue(loop), sink)):
        stream.attach(one, order)
    stream.on_error += lambda stream, exc: None
    if end != "sink":
        stream.on_packet += packets.data_of
    if end != "never started":
        trunk.start()
        stream.start()
        turn(loop, 3)
    if end == "FINAL":
        incoming.feed(END)
    elif end == "error":
        incoming.feed(ConnectionResetError)
    elif end == "sink":
        there.abort()
    elif end in ("stop", "close"):
        getattr(trunk, end)()
        getattr(stream, end)()
    turn(loop, 4)
    here.abort()
    there.abort()
    turn(loop, 4)
    left = [weakref.ref(thing) for thing in (here, there, source, sink, stage, stream, trunk)]
    if end == "never started":
        trunk.close()
        stream.close()
        turn(loop, 2)
    del here, there, source, sink, stage, stream, trunk, one, incoming
    assert [ref() for ref in left if ref() is not None] == []
    loop.close()


@pytest.mark.skipif(streams.PYPY, reason="it counts no references")
@pytest.mark.parametrize("end", ["whole", "cut short"])
def test_nothing_of_a_file_or_a_timer_or_a_packet_socket_is_left(debug, no_collector, end, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    loop = icey.Loop(debug)
    sock, script = make(loop, b"one\n")
    left = []
    for source in (FileSource(loop, str(path), chunk=4), FileSource(loop, str(path), chunk=4, interval=0.001),
                   TimerSource(loop, 0.001, lambda count: b"x", most=3), PacketSocket(sock, Delimited())):
        stream = PacketStream()
        stream.attach_source(source, sync_state=True)
        stream.attach(SyncPacketQueue(loop))
        stream.start()
        loop.run_once(0.01)
        if end == "cut short":
            stream.close()
        script.feed(END)
        for _ in range(10):
            loop.run_once(0.002)
        left += [weakref.ref(source), weakref.ref(stream)]
    sock.abort()
    left.append(weakref.ref(sock))
    del source, stream, sock
    turn(loop, 4)
    loop.close()
    assert [ref() for ref in left if ref() is not None] == []


@pytest.mark.skipif(streams.PYPY, reason="it counts no references")
def test_a_branch_that_is_over_leaves_its_trunk_no_more_than_a_count(debug, no_collector):
    trunk, branch = PacketStream(), PacketStream()
    branch.attach_source(trunk)
    came = output(branch)
    trunk.start()
    branch.start()
    trunk.write(b"one")
    branch.stop()
    trunk.write(b"two")
    branch.start()
    trunk.write(b"three")
    branch.close()
    trunk.write(b"four")
    assert came == [b"one", b"three"] and branch.dropped == 2
    left = weakref.ref(branch)
    del branch
    assert left() is None and events(trunk) == []
    trunk.close()
