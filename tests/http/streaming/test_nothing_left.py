"""With the collector off nothing is left of feeds, sources and their streams once the client has gone, or has got all."""
import gc
import weakref

import pytest

from icey import FlagPacket, PacketFlags, PacketStream, SyncPacketQueue
from icey.http import (
    ChunkedAdapter,
    ClientSink,
    ClientSource,
    ExchangeSource,
    MultipartAdapter,
    SseAdapter,
    WebSocketSink,
    WebSocketSource,
)
from icey.http.websocket.websocket import WebSocket
from tests.support import http, packets, rawserver
from tests.support.streams import PYPY

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
no_thread_stays = packets.no_thread_stays
raw, moves = rawserver.raw, rawserver.moves

FINAL = PacketFlags.FINAL
pytestmark = pytest.mark.skipif(PYPY, reason="it counts no references")


@pytest.fixture(autouse=True)
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def living(left):
    return [ref() for ref in left if ref() is not None]


@pytest.mark.parametrize("kind", [ChunkedAdapter, MultipartAdapter, SseAdapter])
@pytest.mark.parametrize("end", ["FINAL", "client", "trunk", "error"])
def test_of_a_feed_and_its_branch(site, kind, end):
    left, trunk = [], PacketStream()
    trunk.on_error += lambda stream, exc: None
    trunk.attach(packets.Boom())
    trunk.start()

    def slot(exchange):
        feed = kind(exchange, drop="pause")
        left.extend([weakref.ref(feed), weakref.ref(feed.follow(trunk))])

    site.serve(slot)
    client = site.client()
    client.ask()
    site.until(lambda: left)
    trunk.write(b"one")
    site.turn(3)
    if end == "FINAL":
        trunk.write(FlagPacket(FINAL))
    elif end == "trunk":
        trunk.close()
    elif end == "error":
        trunk.write(b"boom")
    else:
        client.close()
    site.until(lambda: not living(left) or end is None)
    assert living(left) == []
    trunk.close() if not trunk.closed else None


@pytest.mark.parametrize("end", ["whole", "cut short"])
def test_of_a_body_that_becomes_the_answer(site, end):
    left = []

    def slot(exchange):
        source, feed, stream = ExchangeSource(exchange), ChunkedAdapter(exchange, drop="pause"), PacketStream()
        stream.attach_source(source, sync_state=True)
        stream.attach(packets.Pass())
        stream.attach(SyncPacketQueue(site.loop), 1)
        stream.attach(feed, 2)
        stream.start()
        left.extend(map(weakref.ref, (source, feed, stream)))

    site.serve(slot)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    site.until(lambda: left)
    site.turn(3)
    if end == "whole":
        client.send(b"67890")
        assert client.answer().body == b"1234567890"
    client.close()
    site.until(lambda: not living(left))


@pytest.mark.parametrize("end", ["close", "abort"])
def test_of_a_websocket_that_talks_to_itself(site, end):
    left, there = [], []

    def slot(exchange):
        ws = WebSocket.accept(exchange, ping_interval=None, compression=False)
        source, sink, stream = WebSocketSource(ws), WebSocketSink(ws, drop="pause"), PacketStream()
        stream.attach_source(source, sync_state=True)
        stream.attach(sink)
        stream.start()
        left.extend(map(weakref.ref, (source, sink, stream)))

    server = site.serve(slot)
    ws = WebSocket.connect(site.loop, "ws://%s/" % server.address, ping_interval=None, compression=False)
    ws.on_message += lambda ws, data: there.append(data)
    site.until(lambda: left and ws.state.value == "open")
    ws.send("text")
    site.until(lambda: there)
    getattr(ws, end)()
    site.until(lambda: not living(left))


# A client's ends

@pytest.mark.parametrize("end", ["whole", "cut short", "closed here", "refused"])
@pytest.mark.parametrize("kind", ["connection", "call"])
def test_of_a_clients_ends(raw, kind, end):
    """Of an answer that becomes a request's body, and of the progress of that."""
    two = raw.connection("/to", method="POST", headers={"Transfer-Encoding": "chunked"})
    two.on_upload_progress += lambda conn, sent, total: None
    two.start()
    there = raw.accept()
    if kind == "call":
        one = raw.get("/from", client=raw.client()).call
    else:
        one = raw.connection("/from")
        one.start()
    here = raw.accept()
    source, sink, stream = ClientSource(one), ClientSink(two), PacketStream()
    stream.attach_source(source, sync_state=True)
    stream.attach(packets.Pass())
    stream.attach(sink, 1)
    stream.start()
    left = [weakref.ref(thing) for thing in (source, sink, stream)]
    if kind == "call":
        left.append(weakref.ref(one))
    here.head()
    here.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    there.head()
    there.read_until(b"12345\r\n")
    if end == "whole":
        here.send(b"67890")
        there.read_until(b"0\r\n\r\n")
        there.answer(b"")
    elif end == "cut short":
        here.close()
    elif end == "refused":
        there.answer(b"", status="413 No")
    else:
        one.close()
    del source, sink, stream
    if end == "whole":
        raw.rest(two)
        raw.turn(2)
        one.close()
        two.close()
    raw.until(lambda: two.closed)
    raw.until(lambda one=one: end == "whole" or one.closed)
    del one
    raw.turn(3)
    assert living(left) == []
