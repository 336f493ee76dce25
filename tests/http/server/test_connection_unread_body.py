"""Answering before the body is read: a small rest is drained, a large one closes the connection."""
import pytest

from icey.http import ServerState
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

MOST = 65536


def answer_at_once(exchange):
    exchange.respond(200, exchange.request.target.encode())


def head(target, length):
    return ("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (target, length)).encode()


def chunked(target, *chunks):
    return http.request("POST", target, chunks=chunks)


@pytest.mark.parametrize("size", [1, 1000, MOST - 1, MOST])
@pytest.mark.parametrize("headers", [None, {"X-A": "b"}])
def test_a_small_rest_is_drained_and_the_next_pipelined_request_answered(site, size, headers):
    site.serve(lambda exchange: exchange.respond(200, exchange.request.target.encode(), None, headers))
    client = site.client()
    client.send(head("/one", size) + b"x" * size + http.request("GET", "/two") + head("/three", size) + b"x" * size
                + http.request("GET", "/four"))
    for target in (b"/one", b"/two", b"/three", b"/four"):
        answer = client.answer()
        assert answer.body == target
        assert "connection" not in answer
    assert client.silent()


def test_a_small_chunked_rest_is_drained(site):
    site.serve(answer_at_once)
    client = site.client()
    client.send(chunked("/one", b"x" * 1000, b"y" * 60000) + http.request("GET", "/two"))
    assert client.answer().body == b"/one"
    assert client.answer().body == b"/two"


def test_the_answer_does_not_wait_for_the_rest(site):
    site.serve(answer_at_once)
    client = site.client()
    client.send(head("/one", 10))
    assert client.answer().body == b"/one"
    client.send(b"x" * 9)
    assert client.silent()
    client.send(b"x" + http.request("GET", "/two"))
    assert client.answer().body == b"/two"


@pytest.mark.parametrize("length", [MOST + 1, 1 << 40])
def test_a_large_rest_closes(site, length):
    site.serve(answer_at_once)
    client = site.client()
    client.send(head("/one", length) + b"x" * 1000 + http.request("GET", "/hidden"))
    answer = client.answer()
    assert (answer.body, answer["connection"]) == (b"/one", "close")
    assert client.at_end()


def test_a_large_chunked_rest_closes(site):
    site.serve(answer_at_once)
    client = site.client()
    client.send(chunked("/one", b"x" * 40000, b"y" * 40000) + http.request("GET", "/two"))
    assert client.answer().body == b"/one"
    assert client.at_end()


def test_what_was_read_already_does_not_count(site):
    def slot(exchange):
        exchange.on_payload.attach(lambda exchange, view: seen.append(len(view)) or sum(seen) >= size - 1000
                                   and exchange.respond(200, b"enough"))

    seen = []
    size = 300000
    site.serve(slot)
    client = site.client()
    client.send(head("/", size) + b"x" * (size - 500))
    answer = client.answer()
    assert (answer.body, "connection" in answer) == (b"enough", False)
    client.send(b"x" * 500)
    seen.clear()
    assert client.get("/", method="POST", body=b"x" * size).body == b"enough"


def test_answering_while_a_large_body_flows_closes(site):
    def slot(exchange):
        exchange.on_payload.attach(lambda exchange, view: exchange.respond(200, b"enough"), once=True)

    site.serve(slot)
    client = site.client()
    client.send(head("/", 1 << 20) + b"x" * 1000)
    answer = client.answer()
    assert (answer.body, answer["connection"]) == (b"enough", "close")
    assert client.at_end()


@pytest.mark.parametrize("length, close", [(MOST, False), (MOST + 1, True)])
def test_an_answer_in_pieces_says_close_in_its_head(site, length, close):
    def slot(exchange):
        exchange.send(b"pie")
        exchange.send(b"ces")
        exchange.end()

    site.serve(slot)
    client = site.client()
    client.send(head("/", length))
    answer = client.answer()
    assert (answer.body, answer.get("connection")) == (b"pieces", "close" if close else None)
    if not close:
        client.send(b"x" * length)
        assert client.get("/").body == b"pieces"


def test_while_an_unread_body_is_drained_the_state_stays_receiving_body(site):
    connections = []

    def slot(exchange):
        connections.append(exchange.connection)
        assert exchange.state is ServerState.RECEIVING_BODY
        exchange.respond(200)
        assert exchange.state is ServerState.CLOSED
        assert exchange.connection.state is ServerState.RECEIVING_BODY

    site.serve(slot)
    client = site.client()
    client.send(head("/", 10) + b"x" * 5)
    client.answer()
    site.turn(3)
    connection, = connections
    assert connection.state is ServerState.RECEIVING_BODY
    assert connection.exchange is None
    client.send(b"x" * 4)
    site.turn(3)
    assert connection.state is ServerState.RECEIVING_BODY
    client.send(b"x")
    site.until(lambda: connection.state is ServerState.RECEIVING_HEADERS)


def test_a_late_answer_drains_too(site, loop):
    site.serve(lambda exchange: loop.call_later(1.0, answer_at_once, exchange))
    client = site.client()
    client.send(head("/one", 50000) + b"x" * 50000 + http.request("GET", "/two"))
    site.wait(1.0)
    assert client.answer().body == b"/one"
    site.wait(1.0)
    assert client.answer().body == b"/two"


def test_the_end_of_input_while_draining_closes(site):
    site.serve(answer_at_once)
    client = site.client()
    client.send(head("/one", 10) + b"x")
    assert client.answer().body == b"/one"
    client.half_close()
    assert client.at_end()
    assert site.gone()


def test_connection_close_with_an_unread_body(site):
    site.serve(answer_at_once)
    client = site.client()
    client.send(http.request("POST", "/one", "Connection: close", body=b"x" * 1000))
    answer = client.answer()
    assert (answer.body, answer["connection"]) == (b"/one", "close")
    assert client.at_end()


def test_bodies_on_get_delete_options_and_head_are_framed_and_drained(site):
    site.serve(answer_at_once)
    client = site.client()
    for method in ("GET", "DELETE", "OPTIONS", "HEAD", "BREW"):
        client.ask(method, "/x", body=http.request("GET", "/smuggled"))
        client.answer(method)
    assert client.silent()
