"""What carries a WebSocket beside plain TCP: Unix sockets, IPv6, connections announced by the PROXY protocol, tunnels."""
import pytest

import icey
from icey.http import WebSocket
from icey.tools.testing import Peer
from tests.support import http, websocket
from tests.support.http import request
from tests.support.streams import turn
from tests.support.websocket import BINARY, CLOSE, HANDSHAKE, TEXT, Chat, Wire, echo, noted

debug, clock, reports, loop, site, host = http.debug, http.clock, http.reports, http.loop, http.site, websocket.host


def serving(loop, where):
    """(a server at `where` that echoes messages, the WebSockets that came)"""
    came = []

    def asked(exchange):
        ws = WebSocket.accept(exchange)
        ws.on_message += echo
        came.append(ws)

    server = icey.http.Server(loop, where)
    server.on_request += asked
    return server.start(), came


@pytest.mark.needs("unix")
def test_a_unix_socket(loop, tmp_path):
    server, came = serving(loop, icey.Address.parse("unix:%s" % (tmp_path / "s")))
    peer = Peer.connect(loop, server.address)
    peer.send(request("GET", "/", *HANDSHAKE))
    assert http.read_answer(peer).status == 101
    wire = Wire(peer, True)
    wire.send(TEXT, b"Hello")
    assert wire.read() == (TEXT, b"Hello")
    wire.bye(1000)
    assert wire.read() == (CLOSE, b"\x03\xe8") and wire.ended()
    turn(loop, 2)
    assert came[0].closed
    peer.close()
    server.close()


@pytest.mark.needs("ipv6")
def test_ipv6(host, loop):
    server, came = serving(loop, icey.Address("::1", 0))
    ws = WebSocket.connect(loop, "ws://[::1]:%d/" % server.address.port)
    events = noted(ws)
    host.until(lambda: events)
    ws.send("Hello")
    host.until(lambda: len(events) == 2)
    ws.close()
    host.until(lambda: ws.closed)
    assert events == [("connect",), ("message", "Hello"), ("close", 1000, "")]
    assert repr(came[0]).startswith("<WebSocket [::1]:")
    server.close()


def test_behind_the_PROXY_protocol(site):
    chat = Chat(site, server={"proxy_protocol": ["127.0.0.1"]})
    client = site.client()
    wire = Wire(client, True)
    client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 80\r\n" + request("GET", "/", *HANDSHAKE)
                + wire.frame(TEXT, b"in one segment"))
    assert client.answer().status == 101
    assert wire.read() == (TEXT, b"in one segment")
    assert str(chat.exchanges[0].peer) == "192.0.2.7:56324"


# through a proxy

def through(host, url, userinfo="", **options):
    """A WebSocket on its way through `host`, and what that was asked."""
    port = host.sock.getsockname()[1]
    ws = WebSocket.connect(host.loop, url, proxy="http://%s127.0.0.1:%d" % (userinfo, port), **options)
    ws_events = noted(ws)
    host.asked()
    return ws, ws_events


def read_head(host):
    lines = host.wire.peer.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
    host.line = lines[0]
    host.head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}


@pytest.mark.parametrize("url, where, name", [
    ("ws://a.test/chat?x", "a.test:80", "a.test"), ("http://a.test:81/chat?x", "a.test:81", "a.test:81"),
    ("ws://[::1]:81/chat?x", "[::1]:81", "[::1]:81"),
])
def test_a_proxy_is_asked_for_a_tunnel(host, url, where, name):
    ws, events = through(host, url)
    assert host.line == "CONNECT %s HTTP/1.1" % where and host.head == {"host": where}
    host.wire.raw(b"HTTP/1.1 200 Connection established\r\n\r\n")
    read_head(host)
    assert host.line == "GET /chat?x HTTP/1.1" and host.head["host"] == name
    host.answers(behind=host.wire.frame(BINARY, b"behind"))
    host.until(lambda: len(events) == 2)
    assert events == [("connect",), ("message", b"behind")]
    ws.send("Hello")
    assert host.wire.read() == (TEXT, b"Hello")
    ws.abort()


def test_credentials_go_to_the_proxy_and_not_to_the_server(host):
    ws, events = through(host, "ws://a.test/", "user:secret@")
    assert host.head["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="
    host.wire.raw(b"HTTP/1.1 200 OK\r\n\r\n")
    read_head(host)
    assert "proxy-authorization" not in host.head and "authorization" not in host.head
    ws.abort()


def test_a_tunnel_that_is_refused(host):
    ws, events = through(host, "ws://a.test/")
    host.wire.raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    host.until(lambda: ws.closed)
    assert events == [("error", "ConnectError"), ("close", 1006, "")]
    assert host.wire.at_reset()


def test_the_handshakes_deadline_is_for_the_tunnel_too(host):
    ws, events = through(host, "ws://a.test/", limits=icey.Limits(handshake_timeout=3.0))
    host.wait(3.1)
    assert events == [("error", "Deadline"), ("close", 1006, "")]
