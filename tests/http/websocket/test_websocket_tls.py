"""WebSockets over TLS: wss."""
import socket

import pytest

from tests.support import needs

needs("ssl")
tls = pytest.importorskip("tests.support.tls", exc_type=ImportError)

import icey  # noqa: E402
from icey.http import WebSocket  # noqa: E402
from tests.support import http  # noqa: E402
from tests.support.websocket import Chat, Host, echo, noted  # noqa: E402

debug, clock, reports, loop, site, certs = http.debug, http.clock, http.reports, http.loop, http.site, tls.certs


class SecureHost(Host):
    """A raw server over TLS for one client of ours."""

    def __init__(self, loop, clock, certs):
        super().__init__(loop, clock)
        self._certs = certs

    def peer_of(self, sock):
        return tls.TLSPeer(self.loop, sock, tls.server_context(self._certs), server_side=True)


def over_tls(site, certs, prepare=None, **options):
    """(a server of ours, a client of ours that is open, what it tells)"""
    chat = Chat(site, prepare, server={"tls": tls.server_context(certs)}, **options)
    url = "wss://localhost:%d/" % site.server.address.port
    ws = WebSocket.connect(site.loop, url, tls=tls.client_context(certs), ping_interval=None)
    events = noted(ws)
    site.until(lambda: events)
    return chat, ws, events


def test_messages_and_the_close_handshake(site, certs):
    chat, ws, events = over_tls(site, certs)
    assert events == [("connect",)] and chat.exchanges[0].secure and ws.stream.secure
    ws.send("Hello")
    ws.send(b"\0" * 200000)
    site.until(lambda: len(events) == 3)
    assert events[1:] == [("message", "Hello"), ("message", b"\0" * 200000)]
    ws.close(4000, "bye")
    site.until(lambda: ws.closed and chat.ws.closed)
    assert events[-1] == ("close", 4000, "") and chat.events[-1] == ("close", 4000, "bye")
    assert site.gone()


def test_a_server_that_says_goodbye_and_ends_without_close_notify_is_not_answered_by_a_reset(loop, clock, certs):
    host = SecureHost(loop, clock, certs)
    ws = WebSocket.connect(loop, host.url.replace("ws://127.0.0.1", "wss://localhost"), tls=tls.client_context(certs))
    events = noted(ws)
    host.accepts()
    host.wire.bye(1000)
    host.wire.peer.sock.shutdown(socket.SHUT_WR)
    host.until(lambda: ws.closed)
    assert events == [("connect",), ("close", 1000, "")]
    raw = host.wire.peer.sock
    while raw.recv(4096):  # our close frame, then the end, where ConnectionResetError was
        pass
    host.close()


def test_a_certificate_that_is_not_trusted(site, certs, loop):
    Chat(site, server={"tls": tls.server_context(certs)})
    ws = WebSocket.connect(loop, "wss://localhost:%d/" % site.server.address.port)
    errors, events = [], noted(ws)
    ws.on_error += lambda ws, exc: errors.append(exc)
    site.until(lambda: ws.closed)
    assert isinstance(errors[0], icey.TLSError) and [event[0] for event in events] == ["error", "close"]


def test_backpressure_and_on_drain(site, certs):
    limits = {"high_water": 50000, "low_water": 10000, "max_queue": 200000}
    chat, ws, events = over_tls(site, certs, lambda ws: None, limits=limits, compression=False)
    ws.pause()
    taken = 0
    with pytest.raises(icey.QueueFull):
        while taken < 10000:
            chat.ws.send(bytes(30000))
            taken += 1
    chat.ws.ping(b"gets through")
    ws.resume()
    site.until(lambda: len([event for event in events if event[0] == "message"]) == taken)
    site.until(lambda: ("drain",) in chat.events and ("pong", b"gets through") in chat.events)
    assert chat.ws.queued == 0
    ws.abort()


def test_a_broken_rule_is_told_and_the_end_is_clean(site, certs):
    chat, ws, events = over_tls(site, certs)
    ws.stream.send_owned(b"\x83\x80\0\0\0\0")
    site.until(lambda: ws.closed and chat.ws.closed)
    assert chat.events[1:] == [("error", "WebSocketError"), ("close", 1006, "")]
    assert events[-1][:2] == ("close", 1002)
    assert site.gone()


def test_pings_and_their_deadline(site, certs):
    chat, ws, events = over_tls(site, certs, echo_only, ping_interval=5.0, limits={"pong_timeout": 5.0})
    site.wait(20.0)
    assert not chat.ws.closing
    ws.pause()  # it answers no more
    site.wait(10.1)
    assert chat.ws.closed
    ws.abort()


def echo_only(ws):
    ws.on_message += echo


def test_tiny_messages_come_in_several_turns(site, certs, loop):
    turns = [0]

    def came(ws, data):
        if not turns[-1]:
            loop.call_soon(turns.append, 0)
        turns[-1] += 1

    chat, ws, events = over_tls(site, certs, lambda ws: ws.on_message.attach(came), compression=False)
    for _ in range(3000):
        ws.send("")
    site.until(lambda: sum(turns) == 3000)
    assert max(turns) == 256
    ws.send("Hello")
    site.until(lambda: chat.events[-1] == ("message", "Hello"))


def test_a_message_whose_record_comes_piece_by_piece_shows_that_the_peer_lives(site, certs):
    chat, ws, events = over_tls(site, certs, ping_interval=5.0, limits={"pong_timeout": 2.0})
    site.turn(5)
    ws.pause()  # it answers no ping
    engine = ws.stream.sock
    engine.tls.write(b"\x82\xfe" + (16000).to_bytes(2, "big") + bytes(4 + 16000))
    record = engine._outgoing.read()
    for at in range(0, len(record), 1000):
        engine.carrier.write(record[at:at + 1000], None, False)
        site.wait(1.9)
    assert not chat.ws.closing and chat.events[-1] == ("message", bytes(16000))
    site.wait(10.0)
    assert chat.ws.closed and chat.events[-1] == ("close", 1006, "")
