"""WebSocketSource and WebSocketSink: messages as packets, both ways, with clients that are slow, leave, or never read."""
import socket

import pytest

import icey
from icey import FlagPacket, Packet, PacketFlags, PacketStream, RawPacket
from icey.http import WebSocketSink, WebSocketSource
from icey.http.websocket.websocket import WebSocket
from tests.support import http, packets
from tests.support.loops import in_thread
from tests.support.packets import events
from tests.support.streams import PYPY

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
no_thread_stays = packets.no_thread_stays

FINAL, TEXT = PacketFlags.FINAL, PacketFlags.TEXT
SIZE = 1024
NARROW = {"high_water": 8192, "low_water": 2048}


class Pair:
    """A server's WebSocket `here`, a client's `there`, and what came to the client; on_close of both."""

    def __init__(self, site, *, limits=NARROW, reads=True, room=2048):
        self.site, self.came, self.closed, self.room = site, [], [], room
        accepted = []

        def slot(exchange):
            if not reads:
                http.narrow(exchange, room)
            accepted.append(WebSocket.accept(exchange, ping_interval=None, compression=False))

        server = site.server or site.serve(slot, limits=limits)
        server.on_request.detach_all()
        server.on_request += slot
        self.there = WebSocket.connect(site.loop, "ws://%s/" % server.address, ping_interval=None, compression=False)
        self.there.on_message += lambda ws, data: self.came.append(data if type(data) is str else bytes(data))
        self.there.on_close += lambda ws, code, reason: self.closed.append(("there", code))
        if not reads:
            self.there.on_connect += self._narrow
            self.there.pause()
        site.until(lambda: accepted and self.there.state.value == "open")
        self.here, = accepted
        self.here.on_close += lambda ws, code, reason: self.closed.append(("here", code))

    def _narrow(self, ws):
        ws.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.room)

    def numbers(self):
        assert all(data == data[:8] * (SIZE // 8) for data in self.came)
        return [int(data[:8]) for data in self.came]


def numbered(number):
    return b"%08d" % number * (SIZE // 8)


def started(*stages, source=None):
    stream = PacketStream()
    if source is not None:
        stream.attach_source(source, sync_state=True)
    for order, stage in enumerate(stages):
        stream.attach(stage, order)
    stream.start()
    return stream


# WebSocketSource

def test_messages_are_packets_and_text_has_a_flag(site):
    pair, came = Pair(site), []
    stream = PacketStream()
    stream.attach_source(WebSocketSource(pair.here), sync_state=True)
    stream.on_packet += lambda packet: came.append((bytes(packet.data), packet.flags))
    stream.start()
    for message in ("gr\u00fc\u00dfe", b"\xff\0binary", "", b"", "last"):
        pair.there.send(message)
    pair.there.close()
    site.until(lambda: stream.stopped)
    assert came == [
        ("gr\u00fc\u00dfe".encode(), TEXT), (b"\xff\0binary", 0), (b"", TEXT), (b"", 0), (b"last", TEXT), (b"", FINAL)]
    assert stream.dropped == 0


def test_a_binary_packet_is_lent(site):
    pair, kept = Pair(site), []
    source = WebSocketSource(pair.here)
    source.on_packet += lambda packet: kept.append((packet, packet.data))
    source.start()
    pair.there.send(b"binary")
    site.until(lambda: kept)
    with pytest.raises(icey.BorrowError):
        kept[0][0].data
    with pytest.raises(ValueError):
        bytes(kept[0][1])


@pytest.mark.parametrize("leave, whole", [
    (lambda pair: pair.there.close(), True),
    (lambda pair: pair.here.close(), True),
    (lambda pair: pair.there.close(1001), True),
    (lambda pair: pair.there.close(4000), True),
    (lambda pair: pair.there.close(1011), False),
    (lambda pair: pair.here.close(1011), False),
    (lambda pair: pair.there.close(1013), False),
    (lambda pair: pair.there.abort(), False),
    (lambda pair: pair.here.abort(), False),
    (lambda pair: pair.here.stream.fail(ConnectionResetError()), False),
], ids=["there", "here", "1001", "4000", "1011", "1011 here", "1013", "abort there", "abort here", "reset"])
def test_FINAL_comes_once_and_only_where_it_closes_in_good_order(site, leave, whole):
    pair, flags, stream = Pair(site), [], PacketStream()
    source = WebSocketSource(pair.here)
    source.on_packet += lambda packet: flags.append(packet.flags)
    stream.attach_source(source, sync_state=True)
    stream.start()
    leave(pair)
    site.until(lambda: len(pair.closed) == 2)
    if whole:
        assert flags == [FINAL] and stream.stopped and stream.error is None
    else:
        assert flags == [] and type(stream.error) is icey.PeerClosed and stream.closed
        assert str(stream.error).startswith("the WebSocket ended with 10")
    with pytest.raises(icey.StateError, match="whose WebSocket is closed"):
        source.start()
    with pytest.raises(icey.StateError, match="whose WebSocket is closed"):
        WebSocketSource(pair.here).start()
    source.stop()


def test_while_the_stream_is_paused_messages_wait(site):
    pair, came = Pair(site), []
    stream = PacketStream()
    stream.attach_source(WebSocketSource(pair.here), sync_state=True)
    stream.on_packet += lambda packet: came.append(bytes(packet.data))
    stream.start()
    stream.pause()
    for number in range(5):
        pair.there.send(b"%d" % number)
    site.turn(10)
    assert came == []
    stream.resume()
    site.until(lambda: len(came) == 5)
    assert came == [b"0", b"1", b"2", b"3", b"4"] and stream.dropped == 0


def test_the_end_waits_too_while_the_stream_is_paused(site):
    pair, flags = Pair(site), []
    stream = PacketStream()
    stream.attach_source(WebSocketSource(pair.here), sync_state=True)
    stream.on_packet += lambda packet: flags.append(packet.flags)
    stream.start()
    stream.pause()
    pair.here.close()
    site.until(lambda: len(pair.closed) == 2)
    assert flags == [] and stream.dropped == 0
    stream.resume()
    site.until(lambda: stream.stopped)
    assert flags == [FINAL]


def test_stopped_it_holds_the_peer_up_and_started_again_goes_on(site):
    pair, came = Pair(site), []
    source = WebSocketSource(pair.here)
    source.on_packet += lambda packet: came.append(bytes(packet.data))
    source.start()
    pair.there.send("one")
    site.until(lambda: came)
    source.stop()
    pair.there.send("two")
    site.turn(10)
    assert came == [b"one"]
    source.start()
    site.until(lambda: len(came) == 2)
    assert came == [b"one", b"two"]


def test_of_a_client_that_is_still_connecting(site):
    pair, came = Pair(site), []
    site.server.on_request.detach_all()
    site.server.on_request += lambda exchange: WebSocket.accept(exchange).send("welcome")
    ws = WebSocket.connect(site.loop, "ws://%s/" % site.server.address)
    stream = PacketStream()
    stream.attach_source(WebSocketSource(ws), sync_state=True)
    stream.on_packet += lambda packet: came.append(bytes(packet.data))
    stream.start()
    site.until(lambda: came)
    assert came == [b"welcome"] and pair.closed == []


# WebSocketSink

def test_packets_are_messages_text_by_the_flag(site):
    pair = Pair(site)
    stream = started(WebSocketSink(pair.here))

    class Odd(Packet):
        data = b"of a class of its own"
        size = len(data)

    memory = bytearray(b"lent")
    text = RawPacket("gr\u00fc\u00dfe".encode(), TEXT)
    for packet in (b"binary", text, memory, Odd(), b"", RawPacket(b"", TEXT), FlagPacket(0)):
        stream.write(packet)
    memory[:] = b"BAD!"
    stream.write(RawPacket(b"", FINAL))
    site.until(lambda: len(pair.closed) == 2)
    assert pair.came == [b"binary", "gr\u00fc\u00dfe", b"lent", b"of a class of its own", b"", ""]
    assert sorted(pair.closed) == [("here", 1000), ("there", 1000)]


@pytest.mark.parametrize("text, expected", [(True, ["a", "b"]), (False, [b"a", b"b"]), (None, ["a", b"b"])])
def test_text_says_it_for_all(site, text, expected):
    pair = Pair(site)
    stream = started(WebSocketSink(pair.here, text=text))
    stream.write(RawPacket(b"a", TEXT))
    stream.write(b"b")
    site.until(lambda: len(pair.came) == 2)
    assert pair.came == expected
    stream.close()


def test_the_flag_survives_a_queue_and_a_loop_back_to_the_sender(site):
    pair = Pair(site)
    stream = started(icey.SyncPacketQueue(site.loop), WebSocketSink(pair.here, drop="pause"), source=WebSocketSource(pair.here))
    for message in ("text", b"binary", ""):
        pair.there.send(message)
    site.until(lambda: len(pair.came) == 3)
    assert pair.came == ["text", b"binary", ""]
    pair.there.close()
    site.until(lambda: len(pair.closed) == 2 and stream.closed)
    assert sorted(pair.closed) == [("here", 1000), ("there", 1000)]


def test_text_that_is_none_is_the_streams_error_and_closes_with_1011(site):
    pair = Pair(site)
    stream = PacketStream()
    stream.attach(WebSocketSink(pair.here))
    seen = events(stream)
    stream.start()
    stream.write(RawPacket(b"\xff", TEXT))
    assert ("error", "UnicodeDecodeError") in seen
    site.until(lambda: len(pair.closed) == 2)
    assert ("there", 1011) in pair.closed and pair.came == []


@pytest.mark.parametrize("end", ["close", "stop", "FINAL"])
@pytest.mark.parametrize("close", [True, False])
def test_the_end_of_the_stream(site, end, close):
    pair, told = Pair(site), []
    sink = WebSocketSink(pair.here, close=close)
    sink.on_close += told.append
    stream = started(sink)
    stream.write(b"x")
    stream.write(b"", FINAL) if end == "FINAL" else getattr(stream, end)()
    site.until(lambda: told)
    site.until(lambda: pair.came)
    assert told == [sink] and sink.closed
    if close:
        site.until(lambda: len(pair.closed) == 2)
        assert sorted(pair.closed) == [("here", 1000), ("there", 1000)]
    else:
        assert pair.here.state.value == "open" and len(pair.here.on_drain) == 0
        again = started(WebSocketSink(pair.here))
        again.write(b"another stream's")
        site.until(lambda: len(pair.came) == 2)
        again.close()
        site.until(lambda: len(pair.closed) == 2)
    stream.close()
    assert told == [sink]


def test_abort(site):
    pair, told = Pair(site), []
    sink = WebSocketSink(pair.here)
    sink.on_close += told.append
    sink.process(RawPacket(b"x"))
    sink.abort()
    site.until(lambda: len(pair.closed) == 2)
    assert told == [sink] and ("here", 1006) in pair.closed


def test_both_end_at_once(site):
    pair, told = Pair(site), []
    sink = WebSocketSink(pair.here, close=False)
    sink.on_close += told.append
    sink.close()
    pair.here.abort()
    site.until(lambda: len(pair.closed) == 2)
    site.turn(3)
    assert told == [sink]


@pytest.mark.parametrize("state", ["connecting", "closed"])
def test_only_of_one_that_is_open(site, state):
    pair = Pair(site)
    if state == "connecting":
        ws = WebSocket.connect(site.loop, "ws://%s/" % site.server.address)
    else:
        ws = pair.here
        ws.abort()
        site.until(lambda: pair.closed)
    with pytest.raises(icey.StateError, match="a WebSocketSink of a WebSocket that is " + state):
        WebSocketSink(ws)
    ws.abort()


def test_from_another_thread(site):
    sink = WebSocketSink(Pair(site).here)
    source = WebSocketSource(sink.ws)
    for touch in (lambda: sink.process(RawPacket(b"x")), sink.close, sink.abort, source.start, source.stop):
        with pytest.raises(icey.AffinityError):
            in_thread(touch)


# A client that does not read

class Lame(Pair):
    """A client that does not read until told to, and a sink that is full."""

    def __init__(self, site, **options):
        super().__init__(site, reads=False)
        self.sink, self.told, self.count = WebSocketSink(self.here, **options), [], 0
        self.sink.on_close += self.told.append
        quiet = 0
        while quiet < 5:  # the kernel's buffers may grow a while, and take more
            quiet += 1
            while not self.sink.full:
                self.put()
                quiet = 0
            site.turn()

    def put(self, times=1):
        for _ in range(times):
            self.sink.process(RawPacket(bytearray(numbered(self.count))))
            self.count += 1

    def read_on(self):
        self.there.resume()
        self.site.until(lambda: not self.sink.full)


@pytest.mark.parametrize("drop, kept", [("newest", []), ("oldest", [7, 8, 9]), ("latest", [9])])
def test_a_slow_one_drops_by_policy(site, drop, kept):
    lame = Lame(site, drop=drop, max_queue=3)
    taken = lame.count
    lame.put(10)
    assert (lame.sink.dropped, lame.sink.depth) == (10 - len(kept), len(kept))
    assert lame.here.queued < NARROW["high_water"] + 2 * SIZE
    lame.read_on()
    lame.put()
    lame.sink.close()
    site.until(lambda: len(lame.closed) == 2)
    assert lame.numbers() == [*range(taken), *(taken + number for number in kept), taken + 10]
    assert lame.sink.dropped == 10 - len(kept) and lame.told == [lame.sink]


def test_close_says_1013(site):
    lame = Lame(site, drop="close")
    taken = lame.count
    lame.put(3)
    assert lame.sink.dropped == 3 and lame.sink.closing
    lame.there.resume()
    site.until(lambda: len(lame.closed) == 2)
    assert ("there", 1013) in lame.closed and lame.numbers() == list(range(taken))
    assert lame.told == [lame.sink]


def test_close_ends_even_if_it_never_reads(site):
    lame = Lame(site, drop="close")
    lame.put()
    site.wait(30)
    assert lame.told == [lame.sink] and lame.here.closed


def test_pause_holds_the_stream_and_with_it_the_one_that_feeds_it(site):
    lame, quick = Pair(site, reads=False, room=65536), Pair(site)  # a smaller one waits for acknowledgements
    sink = WebSocketSink(lame.here, drop="pause")
    stream = started(sink, source=WebSocketSource(quick.here))
    total, sent = 1000, 0
    for _ in range(total):
        while sent < total and quick.there.queued < 16384:
            quick.there.send(numbered(sent))
            sent += 1
        site.turn()
    site.turn(20)
    assert not stream.active and lame.here.queued < NARROW["high_water"] + 65536 + 2 * SIZE
    lame.there.resume()
    while len(lame.came) < total:
        while sent < total and quick.there.queued < 16384:
            quick.there.send(numbered(sent))
            sent += 1
        site.turn()
    assert lame.numbers() == list(range(total)) and sink.dropped == stream.dropped == 0
    stream.close()


def test_one_that_leaves_while_packets_are_held(site):
    lame = Lame(site, drop="oldest")
    lame.put(3)
    lame.there.abort()
    site.until(lambda: lame.told)
    assert (lame.sink.dropped, lame.sink.depth) == (3, 0)
    lame.put()
    assert lame.sink.dropped == 4


@pytest.mark.parametrize("drop", ["newest", "oldest", "latest", "close"])
def test_many_clients_of_one_stream_and_one_that_does_not_read(site, drop):
    total = 60
    trunk = PacketStream("trunk")
    trunk.start()
    quick = [Pair(site) for _ in range(4)]
    lame = Pair(site, reads=False)
    sinks = [WebSocketSink(pair.here, drop=drop, max_queue=4) for pair in [*quick, lame]]
    for sink in sinks:
        sink.follow(trunk)
    memory = bytearray(SIZE)
    for number in range(total):
        memory[:] = numbered(number)
        trunk.write(memory)
        if not PYPY:
            memory.append(0)
            del memory[-1]
        site.until(lambda number=number: all(len(pair.came) == number + 1 for pair in quick))
    for pair in quick:
        assert pair.numbers() == list(range(total))
    assert sinks[-1].dropped > 10 and [sink.dropped for sink in sinks[:-1]] == [0] * 4
    trunk.close()
    lame.there.resume()
    site.until(lambda: all(len(pair.closed) == 2 for pair in [*quick, lame]))
    assert len(lame.came) + sinks[-1].dropped == total
    assert len(trunk.on_packet) == len(trunk.on_close) == 0


def test_a_client_that_leaves_is_let_go(site):
    trunk = PacketStream("trunk")
    trunk.start()
    pair, told = Pair(site), []
    sink = WebSocketSink(pair.here)
    sink.on_close += told.append
    branch = sink.follow(trunk)
    pair.there.abort()
    site.until(lambda: told)
    assert branch.closed and len(trunk.on_packet) == 0
    trunk.write(b"nobody there")
    trunk.close()


def test_between_the_peers_close_and_on_close_packets_are_counted(site):
    pair = Pair(site)
    sink = WebSocketSink(pair.here)
    stream = started(sink)
    pair.here.close()
    stream.write(b"x")
    assert sink.dropped == 1 and stream.active
    stream.close()
    site.until(lambda: len(pair.closed) == 2)
