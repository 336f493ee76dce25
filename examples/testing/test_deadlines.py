"""Deadlines, tested: an hour passes in no time, and the same way each time. What goes over the wire is in the test's hand."""
import pytest

import icey
from icey.tools.testing import TestClient, virtual_loop


def hello(exchange):
    exchange.respond(200, b"Hello")


def test_half_a_request_is_given_ten_seconds():
    with TestClient(hello) as client, client.connect() as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: he")
        client.advance(9.0)
        assert wire.take() == b""
        assert wire.read_until(b"\r\n") == b"HTTP/1.1 408 Request Timeout\r\n"
        assert 10.0 <= client.clock() <= 11.0


def test_a_limit_of_your_own():
    limits = icey.Limits(keep_alive_timeout=2.0)
    with TestClient(hello, limits=limits) as client:
        client.get("/")
        assert len(client.server.connections) == 1
        client.advance(4.0)
        assert client.server.connections == ()


def test_who_takes_nothing_is_cut():
    with TestClient(lambda exchange: exchange.respond(200, bytes(1 << 20))) as client:
        wire = client.connect()
        wire.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        client.advance(40.0)
        with pytest.raises(ConnectionResetError):
            wire.read_all()


def test_a_browser_that_hangs_loses_its_websocket():
    closed = []

    def chat(exchange):
        ws = icey.http.WebSocket.accept(exchange, ping_interval=20.0)
        ws.on_close += lambda ws, code, reason: closed.append(code)

    with TestClient(chat) as client:
        ws = client.websocket("/")
        client.advance(3600.0)  # an hour of pings, each answered
        assert closed == []
        ws.pause()
        client.advance(60.0)
        assert closed == [1006]


def test_an_answer_that_never_comes_says_what_is_missing():
    kept = []
    with TestClient(kept.append) as client:
        with pytest.raises(icey.Deadline, match="the handler of GET /lost has not answered"):
            client.get("/lost", timeout=5.0)


def test_an_order_that_is_not_confirmed_is_cancelled():
    log = []
    loop, clock = virtual_loop(debug=True)
    with loop:
        cancel = loop.call_later(900.0, log.append, "cancelled")
        loop.call_later(600.0, cancel.stop)  # it was confirmed
        loop.call_later(1000.0, log.append, "looked at again")
        loop.run()
    assert log == ["looked at again"] and clock() == 1000.0
