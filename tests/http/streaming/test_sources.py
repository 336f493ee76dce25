"""ExchangeSource: a request's body as packets: all of it in order, held up, not dropped, and never half of it as the whole."""
import socket

import pytest

import icey
from icey import BorrowError, GraphError, PacketFlags, PacketProcessor, PacketStream, PacketStreamAdapter
from icey.http import ChunkedAdapter, ExchangeSource
from tests.support import http, packets
from tests.support.feeding import HIGH, NARROW
from tests.support.loops import in_thread
from tests.support.packets import Thread, events, needs_threads
from tests.support.streams import PYPY

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
no_thread_stays = packets.no_thread_stays

FINAL = PacketFlags.FINAL
BODY = bytes(range(256)) * 2000


class Upper(PacketProcessor):
    def process(self, packet):
        self.emit(bytes(packet.data).upper(), packet.flags)


class Fed:
    """What a stream gets of the bodies of requests."""

    def __init__(self, site, *, start=True, answer=True, limits=None):
        self.streams, self.sources, self.exchanges = [], [], []
        self.came, self.flags, self.seen = [], [], []
        self.answer = answer
        site.serve(self.slot if start else self.exchanges.append, limits=limits)

    def slot(self, exchange):
        if exchange not in self.exchanges:
            self.exchanges.append(exchange)
        source, stream = ExchangeSource(exchange), PacketStream()
        stream.attach_source(source, sync_state=True)
        stream.on_packet += self.packet
        self.seen.append(events(stream))
        self.streams.append(stream)
        self.sources.append(source)
        if self.answer:
            stream.on_state += lambda stream, new, old: exchange.respond(200, b"ok") if new.name == "STOPPED" else None
        stream.start()

    def packet(self, packet):
        self.came.append(bytes(packet.data))
        self.flags.append(packet.flags)

    @property
    def body(self):
        return b"".join(self.came)


@pytest.mark.parametrize("form", [{"body": b"Hello"}, {"chunks": [b"Hel", b"lo"]}], ids=["length", "chunked"])
def test_the_body_comes_as_packets_then_FINAL(site, form):
    fed = Fed(site)
    client = site.client()
    for _ in range(2):
        assert client.get("/", method="POST", **form).body == b"ok"
        assert fed.body == b"Hello" and fed.flags == [0] * (len(fed.flags) - 1) + [FINAL] and fed.came[-1] == b""
        assert fed.streams[-1].stopped and fed.streams[-1].dropped == 0
        fed.came.clear()
        fed.flags.clear()


@pytest.mark.parametrize("form", [{"body": b"Hello, you"}, {"chunks": [b"Hello, ", b"you"]}], ids=["length", "chunked"])
def test_split_anywhere(site, form):
    fed = Fed(site)
    sent = http.request("POST", "/", **form)
    for place in range(1, len(sent)):
        client = site.client()
        client.send(sent[:place])
        site.turn(3)
        client.send(sent[place:])
        assert client.answer().body == b"ok"
        assert fed.body == b"Hello, you" and fed.flags.count(FINAL) == 1
        fed.came.clear()
        fed.flags.clear()
        client.close()


@pytest.mark.parametrize("method, form", [("GET", {}), ("POST", {"body": b""}), ("POST", {"chunks": []})])
def test_no_body_is_FINAL_alone(site, method, form):
    fed = Fed(site)
    assert site.client().get("/", method=method, **form).body == b"ok"
    assert (fed.came, fed.flags) == ([b""], [FINAL])


@pytest.mark.parametrize("method, form, came", [
    ("GET", {}, b""), ("POST", {"body": b"waits unread"}, b"waits unread"), ("POST", {"chunks": [b"a", b"b"]}, b"ab")])
def test_started_later_than_in_the_slot(site, method, form, came):
    fed = Fed(site, start=False)
    client = site.client()
    client.ask(method, "/", **form)
    site.until(lambda: fed.exchanges)
    site.turn(5)
    fed.slot(fed.exchanges[0])
    assert client.answer().body == b"ok"
    assert fed.body == came and fed.flags.count(FINAL) == 1


def test_its_packets_are_lent(site):
    kept = []

    def slot(exchange):
        source = ExchangeSource(exchange)
        source.on_packet += lambda packet: kept.append((packet, packet.data)) if packet.size else exchange.respond(200)
        source.start()

    site.serve(slot)
    site.client().get("/", method="POST", body=b"Hello")
    packet, view = kept[0]
    with pytest.raises(BorrowError):
        packet.data
    with pytest.raises(ValueError):
        bytes(view)


@pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")
def test_a_slice_that_escaped_is_found_in_debug_mode(site, reports, debug):
    kept = []

    def slot(exchange):
        source = ExchangeSource(exchange)
        source.on_packet += lambda packet: kept.append(packet.data[1:]) if packet.size else exchange.respond(200)
        source.start()

    site.serve(slot)
    client = site.client()
    client.ask("POST", "/", body=b"Hello")
    if debug:
        assert site.gone()
        told = str(reports.take(BorrowError)[0])  # it names who got the packet, and not the source
        assert "slot.<locals>.<lambda> (%s:" % __file__ in told and "_received" not in told
    else:
        assert client.answer().status == 200
    assert bytes(kept[0]) == b"ello"


def test_a_client_that_awaits_100_Continue_gets_it(site):
    fed = Fed(site)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert client.answer().status == 100
    client.send(b"Hello")
    assert client.answer().body == b"ok" and fed.body == b"Hello"


# Pausing

def test_while_the_stream_is_paused_nothing_is_read_and_nothing_dropped(site):
    fed = Fed(site)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:5])
    site.until(lambda: fed.came)
    fed.streams[0].pause()
    rest = memoryview(BODY)[5:]
    site.turn(3)
    stuck = 0
    while rest and stuck < 50:
        try:
            rest = rest[client.sock.send(rest):]
            stuck = 0
        except BlockingIOError:
            site.turn()
            stuck += 1
    site.turn(5)
    assert fed.body == BODY[:5]
    fed.streams[0].resume()
    client.send(rest)
    assert client.answer().body == b"ok"
    assert fed.body == BODY and fed.streams[0].dropped == 0


@pytest.mark.parametrize("sync", [False, True])
def test_a_stream_that_is_closed_while_it_is_paused_holds_the_client_up_no_more(site, sync):
    """One that the stream does not stop goes on, for others; nothing waits for ever."""
    came, streams = [], []

    def slot(exchange):
        source, stream = ExchangeSource(exchange), PacketStream()
        stream.attach_source(source, sync_state=sync)
        source.on_packet += lambda packet: came.append(bytes(packet.data))
        stream.start()
        if not sync:
            source.start()
        stream.pause()
        streams.append(stream)

    site.serve(slot)
    client = site.client()
    client.send(http.request("POST", "/", body=b"Hello"))
    site.turn(5)
    assert came == []
    streams[0].close()
    site.turn(5)
    assert b"".join(came) == (b"" if sync else b"Hello")


@needs_threads
def test_what_comes_before_it_hears_of_a_pause_by_another_thread_is_not_dropped(site):
    fed = Fed(site)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:5])
    site.until(lambda: fed.came)
    client.send(BODY[5:9])
    stream = fed.streams[0]
    site.loop.call_soon(lambda: Thread(stream.pause).join())
    site.turn(3)
    assert fed.body == BODY[:9] and stream.dropped == 0 and fed.sources[0].held
    stream.resume()
    client.send(BODY[9:])
    assert client.answer().body == b"ok" and fed.body == BODY and stream.dropped == 0 and not fed.sources[0].held


@pytest.mark.parametrize("again", [False, True])
def test_one_that_is_started_while_the_stream_is_paused_waits_for_it(site, again):
    came, streams, sources = [], [], []

    def slot(exchange):
        source, stream = ExchangeSource(exchange), PacketStream()
        stream.attach_source(source)
        stream.on_packet += lambda packet: came.append(bytes(packet.data))
        stream.start()
        if again:
            source.start()
        stream.pause()
        source.stop()
        source.start()
        streams.append(stream)
        sources.append(source)

    site.serve(slot)
    client = site.client()
    client.send(http.request("POST", "/", body=b"Hello"))
    site.turn(5)
    assert came == [] and streams[0].dropped == 0
    streams[0].resume()
    site.until(lambda: streams[0].stopped)
    assert b"".join(came) == b"Hello" and streams[0].dropped == 0


@pytest.mark.parametrize("form", [{"body": b"whole"}, {"chunks": [b"whole"]}], ids=["length", "chunked"])
@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
def test_the_end_waits_too_while_the_stream_is_paused(site, form, leaves):
    came, flags, streams, exchanges = [], [], [], []

    def slot(exchange):
        stream = PacketStream()
        stream.attach_source(ExchangeSource(exchange), sync_state=True)
        stream.on_packet += lambda packet: (came.append(bytes(packet.data)), flags.append(packet.flags))
        stream.on_packet += lambda packet: stream.pause() if packet.size else None
        streams.append(stream)
        exchanges.append(exchange)
        stream.start()

    site.serve(slot)
    client = site.client()
    client.ask("POST", "/", **form)
    site.until(lambda: came)
    site.turn(5)
    assert came == [b"whole"] and streams[0].dropped == 0
    if leaves and "body" in form:  # all of it is here: that the client goes now does not make it less
        exchanges[0].abort()
        site.turn(3)
    streams[0].resume()
    site.until(lambda: len(came) == 2)
    assert flags == [0, FINAL] and streams[0].stopped and streams[0].error is None
    if not exchanges[0].connection.closing:
        exchanges[0].respond(200)
        assert client.answer().status == 200


def test_pause_in_the_midst_of_a_packet_from_a_slot(site):
    came, streams = [], []

    def slot(exchange):
        stream = PacketStream()
        stream.attach_source(ExchangeSource(exchange), sync_state=True)
        stream.on_packet += lambda packet: came.append(bytes(packet.data))
        stream.on_packet += lambda packet: stream.pause() if packet.size else exchange.respond(200)
        streams.append(stream)
        stream.start()

    site.serve(slot)
    client = site.client()
    client.send(http.request("POST", "/", chunks=[b"one", b"two", b"three"]))
    for count in range(1, 4):
        site.until(lambda count=count: len(came) == count)
        site.turn(5)
        assert len(came) == count and not streams[0].active
        streams[0].resume()
    assert client.answer().status == 200 and came == [b"one", b"two", b"three", b""]
    assert streams[0].dropped == 0


@needs_threads
def test_paused_by_another_thread(site):
    fed = Fed(site)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    site.until(lambda: fed.came)
    Thread(fed.streams[0].pause).join()
    site.turn(2)
    client.send(b"67890")
    site.turn(5)
    assert fed.body == b"12345" and fed.streams[0].dropped == 0
    Thread(fed.streams[0].resume).join()
    assert client.answer().body == b"ok" and fed.body == b"1234567890"


@needs_threads
def test_paused_by_another_thread_and_resumed_here_before_its_loop_hears_of_that(site):
    fed = Fed(site)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    site.until(lambda: fed.came)
    Thread(fed.streams[0].pause).join()
    fed.streams[0].resume()
    client.send(b"67890")
    assert client.answer().body == b"ok" and fed.body == b"1234567890" and fed.streams[0].dropped == 0


def test_stop_and_start_lose_nothing(site):
    fed = Fed(site, answer=False)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12")
    site.until(lambda: fed.came)
    source, stream, exchange = fed.sources[0], fed.streams[0], fed.exchanges[0]
    source.stop()
    source.stop()
    client.send(b"345")
    site.turn(5)
    assert fed.body == b"12"
    source.start()
    source.start()
    site.until(lambda: fed.body == b"12345")
    stream.stop()  # sync_state: the source stops with it
    client.send(b"67890")
    site.turn(5)
    assert fed.body == b"12345"
    stream.start()
    site.until(lambda: FINAL in fed.flags)
    assert fed.body == b"1234567890" and stream.dropped == 0
    exchange.respond(200)
    assert client.answer().status == 200


# Body in, answer out

def test_a_body_turned_into_the_answer(site):
    def slot(exchange):
        stream = PacketStream()
        stream.attach(Upper())
        stream.attach(ChunkedAdapter(exchange, drop="pause"), 1)
        stream.attach_source(ExchangeSource(exchange), sync_state=True)
        stream.start()

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        assert client.get("/", method="POST", body=b"shout this").body == b"SHOUT THIS"
        assert client.get("/", method="POST", chunks=[b"and ", b"that"]).body == b"AND THAT"
        assert client.get("/", method="POST", body=b"").body == b""


def test_a_client_that_does_not_read_its_answer_is_not_read_from(site):
    body, made, most = BODY * 4, [], [0]
    room = 65536  # of each of the kernel's buffers: smaller ones make it wait for acknowledgements

    def slot(exchange):
        http.narrow(exchange, room)
        feed = ChunkedAdapter(exchange, drop="pause")
        made.append((exchange, feed, feed.follow(ExchangeSource(exchange), sync_state=True)))
        made[0][2].on_packet += lambda packet: most.append(exchange.connection.stream.queued)

    server = site.serve(slot, limits=NARROW, start=False)
    server.start()._listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    client = site.client(receive=room)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
    rest, got = memoryview(body), bytearray()

    def push():
        nonlocal rest
        try:
            rest = rest[client.sock.send(rest):] if rest else rest
        except BlockingIOError:
            pass
        site.turn()

    for _ in range(100):
        push()
    exchange, feed, stream = made[0]
    assert rest and not stream.active and feed.dropped == stream.dropped == 0
    assert max(most) <= HIGH + 65536 + 64  # one read's worth beyond
    while not got.endswith(b"\r\n0\r\n\r\n"):
        push()
        try:
            got += client.sock.recv(65536)
        except BlockingIOError:
            pass
    came, left = [], bytes(got).partition(b"\r\n\r\n")[2]
    while left:
        size, _, left = left.partition(b"\r\n")
        came.append(left[:int(size, 16)])
        left = left[int(size, 16) + 2:]
    assert b"".join(came) == body and feed.dropped == stream.dropped == 0


# What is not whole

@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
def test_a_body_that_does_not_come_to_its_end_is_the_streams_error(site, leave):
    fed = Fed(site, answer=False)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    site.until(lambda: fed.came)
    getattr(client, leave)()
    site.until(lambda: fed.streams[0].closed)
    assert FINAL not in fed.flags
    assert fed.seen[0] == [
        ("NONE", "ACTIVE"), ("ACTIVE", "ERROR"), ("error", "IncompleteBody"), ("ERROR", "CLOSED"), ("close",)]
    assert type(fed.streams[0].error) is icey.IncompleteBody


def test_malformed_on_its_way_likewise(site):
    fed = Fed(site, answer=False)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nNO\r\n")
    assert client.answer().status == 400
    site.turn(2)
    assert fed.body == b"abc" and type(fed.streams[0].error) is icey.IncompleteBody


def test_answered_early_likewise(site):
    fed = Fed(site, answer=False)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    site.until(lambda: fed.came)
    fed.exchanges[0].respond(403)
    assert client.answer().status == 403
    site.turn(2)
    assert type(fed.streams[0].error) is icey.IncompleteBody


def test_nobody_is_troubled_where_the_stream_was_closed_before(site):
    fed = Fed(site, answer=False)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    site.until(lambda: fed.came)
    fed.streams[0].close()
    fed.exchanges[0].respond(200)
    client.close()
    assert site.gone()
    assert fed.streams[0].error is None


def test_half_an_upload_cuts_the_answer_made_of_it(site):
    def slot(exchange):
        ChunkedAdapter(exchange).follow(ExchangeSource(exchange), sync_state=True)

    site.serve(slot)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nNO\r\n")
    assert not client.read_to_reset().endswith(b"0\r\n\r\n")


def test_slots_that_are_no_streams_hear_nothing(site):
    came, closed = [], []

    def slot(exchange):
        source = ExchangeSource(exchange)
        source.on_packet += lambda packet: came.append(bytes(packet.data))
        exchange.on_close += closed.append
        source.start()

    site.serve(slot)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    site.until(lambda: came)
    client.close()
    site.until(lambda: closed)
    assert came == [b"12345"]


# Misuse

def test_what_is_over_cannot_be_started(site):
    fed = Fed(site)
    assert site.client().get("/", method="POST", body=b"x").body == b"ok"
    with pytest.raises(icey.StateError, match="whose body has come, or whose exchange is over"):
        fed.sources[0].start()
    with pytest.raises(icey.StateError):
        ExchangeSource(fed.exchanges[0]).start()
    fed.sources[0].stop()


def test_from_another_thread(site):
    fed = Fed(site, start=False)
    client = site.client()
    client.ask("POST", "/", body=b"x")
    site.until(lambda: fed.exchanges)
    source = ExchangeSource(fed.exchanges[0])
    for touch in (source.start, source.stop):
        with pytest.raises(icey.AffinityError):
            in_thread(touch)
    fed.exchanges[0].respond(200)


def test_lint_knows_its_loop(site):
    fed = Fed(site, start=False)
    site.client().ask("POST", "/", body=b"x")
    site.until(lambda: fed.exchanges)
    with icey.Loop() as other:
        class Elsewhere(PacketProcessor):
            loop = other

        stream = PacketStream()
        stream.attach_source(ExchangeSource(fed.exchanges[0]))
        stream.attach(Elsewhere())
        with pytest.raises(GraphError):
            stream.start()


def test_a_subclass_says_what_it_reads(loop):
    from icey.http.streaming.sources import ConnectionSource
    from icey.packets.feed import Feed

    class Nothing:
        pass

    Nothing.loop = loop
    source = ConnectionSource(Nothing())
    assert isinstance(source, PacketStreamAdapter)
    for call in (source.slots, source.require_more):
        with pytest.raises(NotImplementedError):
            call()
    feed = Feed(loop, "newest", 1, True)
    for call in (lambda: feed.frame(None), lambda: feed.put(None), feed.can_send, feed.say_end, lambda: feed.cut_off(0)):
        with pytest.raises(NotImplementedError):
            call()
    feed.release()
