"""Who sends what is no bytes is told what is wanted and what to do, in the same words everywhere; and nothing of it is sent."""
import array

import pytest

import icey
import icey.tools.testing
from icey.base.buffer import flat
from icey.http import ClientConnection, WebSocket, broadcast
from tests.support import http, streams

debug, clock, reports, loop, site = streams.debug, streams.clock, streams.reports, streams.loop, http.site

ENCODE = "is wanted, not str: encode it first: text.encode()"
JOIN = "is wanted, not list: join its parts first: b''.join(parts)"
MAKE = "is wanted, not int: make bytes of it first, such as str(value).encode()"
NONE = "is wanted, not NoneType: an empty one is b''"


def refused(send, *wrong):
    """`send` refuses these in these words."""
    for value, text in wrong:
        with pytest.raises(TypeError) as info:
            send(value)
        assert text in str(info.value) and info.value.__suppress_context__


def test_flat():
    refused(flat, ("text", "bytes-like data " + ENCODE), (["text"], "bytes-like data " + JOIN), (5, "bytes-like data " + MAKE),
            (None, "bytes-like data " + NONE))
    assert flat(array.array("H", [1])).nbytes == 2
    view = memoryview(b"x")
    view.release()
    with pytest.raises(ValueError, match="released"):
        flat(view)


@pytest.mark.parametrize("name", ["send", "send_owned"])
def test_a_stream(loop, name):
    stream = icey.Stream(loop, icey.tools.testing.ScriptedSocket())
    send = getattr(stream, name)
    refused(send, ("text", ENCODE), (5, MAKE), (["text"], ENCODE), ([5], MAKE), (None, NONE))
    refused(lambda data: send(data, print), ("text", ENCODE))
    assert not stream.queued and stream.sock.sent == b""
    stream.abort()


@pytest.mark.parametrize("name", ["send", "send_owned"])
def test_a_udp_socket(loop, name):
    sock = icey.UDPSocket(loop)
    sock.bind(icey.Address("127.0.0.1", 0))
    refused(lambda data: getattr(sock, name)(data, sock.local), ("text", ENCODE), (5, MAKE))
    sock.abort()


def test_a_packet_stream():
    stream = icey.PacketStream()
    seen = []
    stream.on_packet += lambda stream, packet: seen.append(packet)
    stream.start()
    refused(stream.write, ("text", ENCODE), (["text"], JOIN), (5, MAKE))
    refused(icey.RawPacket, ("text", ENCODE))
    assert seen == [] and stream.active
    stream.close()


def test_an_exchange(site):
    def handler(exchange):
        refused(lambda body: exchange.respond(200, body),
                ("text", ENCODE), (["text"], JOIN), (5, MAKE), (None, NONE))
        refused(exchange.send, ("text", ENCODE), (["text"], ENCODE), (5, MAKE))
        refused(exchange.send_owned, ("text", ENCODE))
        exchange.respond(200, b"fine")

    site.serve(handler)
    assert site.client().get().body == b"fine"


def test_a_client(site):
    site.serve(lambda exchange: exchange.collect(lambda exchange, body: exchange.respond(200, body)))
    conn = ClientConnection(site.loop, "http://%s/" % site.server.address, method="POST", headers={"Content-Length": "2"})
    conn.start()
    refused(conn.send, ("text", ENCODE), (["text"], ENCODE), (5, MAKE))
    conn.abort()


def test_a_websocket(site):
    sides = []
    site.serve(lambda exchange: sides.append(WebSocket.accept(exchange)))
    ws = WebSocket.connect(site.loop, "ws://%s/" % site.server.address)
    opened = []
    ws.on_connect += opened.append
    site.until(lambda: opened)
    for send in (ws.send, ws.send_piece, lambda data: broadcast([ws], data)):
        refused(send, (5, "a str, or bytes-like data, " + MAKE), ([b"x"], "a str, or bytes-like data, " + JOIN))
    refused(ws.ping, ("text", "bytes-like data " + ENCODE), (5, MAKE))
    heard = []
    sides[0].on_message += lambda ws, data: heard.append(data)
    ws.send("fine")
    site.until(lambda: heard)
    assert heard == ["fine"]
    ws.abort()


def test_what_a_send_after_the_end_says_fits(site, loop):
    ended = []

    def handler(exchange):
        ended.append(exchange)
        exchange.on_close += ended.append

    site.serve(handler)
    site.client().ask()
    site.until(lambda: ended)
    ended[0].abort()
    site.until(lambda: len(ended) == 2)
    with pytest.raises(icey.StateError) as info:
        ended[0].respond(200)
    assert str(info.value) == ("respond() after the connection closed. Contract: close is asynchronous. Instead: "
                               "nobody is there to answer; on_close tells when that happens.")
    conn = ClientConnection(loop, "http://%s/" % site.server.address, method="POST", headers={"Content-Length": "2"})
    conn.start()
    conn.send(b"ab")
    conn.end()
    with pytest.raises(icey.StateError, match=r"send\(\) after end\(\)\. .* Instead: send all of a body before it"):
        conn.send(b"c")
    conn.abort()
