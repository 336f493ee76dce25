"""Start, then send, over HTTP: the head goes first, once; begin_streaming() starts what end() ends."""
import pytest

import icey
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site


def test_send_sends_the_head_first_if_it_has_not_gone(site):
    def slot(exchange):
        exchange.response.status = 202
        exchange.response.headers["X-A"] = "b"
        exchange.send(b"body")
        exchange.response.headers["X-Late"] = "not any more"
        exchange.end()

    site.serve(slot)
    answer = site.client().get()
    assert (answer.status, answer["x-a"], answer.body) == (202, "b", b"body")
    assert "x-late" not in answer


def test_begin_streaming_sends_the_head(site):
    kept = []

    def slot(exchange):
        exchange.response.headers["Content-Type"] = "text/event-stream"
        exchange.begin_streaming()
        kept.append(exchange)

    site.serve(slot)
    client = site.client()
    client.ask()
    assert b"text/event-stream" in client.read_until(b"\r\n\r\n")
    kept[0].send(b"event")
    assert client.read_until(b"event\r\n") == b"5\r\nevent\r\n"
    kept[0].end()
    assert client.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"
    client.ask()
    assert client.read_until(b"\r\n\r\n")


def test_begin_streaming_after_the_head_is_allowed(site):
    def slot(exchange):
        exchange.send(b"one ")
        exchange.begin_streaming()
        exchange.send(b"two")
        exchange.end()

    site.serve(slot)
    assert site.client().get().body == b"one two"


def test_begin_streaming_from_a_timer(site, loop):
    def later(exchange):
        exchange.begin_streaming()
        exchange.send(b"late")
        exchange.end()

    site.serve(lambda exchange: loop.call_later(1.0, later, exchange))
    client = site.client()
    client.ask()
    site.wait(1.0)
    assert client.answer().body == b"late"


def test_begin_streaming_of_a_request_whose_body_is_unread(site):
    kept = []

    def slot(exchange):
        exchange.begin_streaming()
        kept.append(exchange)

    site.serve(slot)
    client = site.client()
    client.ask("POST", "/", body=b"unread")
    site.until(lambda: kept)
    kept[0].send(b"x")
    kept[0].end()
    assert client.answer().body == b"x"


def test_start_of_a_server_comes_before_its_first_connection(loop, site):
    server = icey.http.Server(loop, "127.0.0.1", 0)
    assert server.address is None and server.connections == () and not server.closing
    server.start()
    assert server.address.port
    with pytest.raises(icey.StateError, match="start\\(\\)"):
        server.start()
