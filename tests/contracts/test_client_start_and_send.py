"""start() begins a transaction, send() writes on a live one: send() first is a StateError, and never connects."""
import pytest

import icey
from icey.http import Request
from tests.support import rawserver

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

WRITES = {
    "send": lambda conn: conn.send(b"x"),
    "send_owned": lambda conn: conn.send_owned(b"x"),
    "end": lambda conn: conn.end(),
}
each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@each_write
def test_send_before_start_is_a_state_error_and_does_not_connect(raw, loop, write):
    conn = raw.connection(method="POST", headers={"Content-Length": "1"})
    with pytest.raises(icey.StateError) as info:
        write(conn)
    text = str(info.value)
    assert "before start()" in text and "Contract: start, then send." in text and "Instead: start() a request first" in text
    assert conn.state.name == "IDLE" and conn.stream is None and raw.nobody() and not loop.handles
    conn.start()  # nothing has happened to it
    conn.send(b"y")
    server = raw.accept()
    assert server.request().body == b"y"
    conn.abort()


@each_write
def test_between_two_transactions_too(raw, write):
    conn = raw.connection(method="POST")
    conn.start(body=b"one")
    server = raw.accept()
    server.reply()
    assert raw.story(conn) == [200, "complete"]
    with pytest.raises(icey.StateError, match="start, then send"):
        write(conn)
    conn.start(Request("POST", "/", "1.1", [("Transfer-Encoding", "chunked")]))
    conn.send(b"two")
    conn.end()
    assert server.request().body == b"two"
    server.answer()
    assert raw.story(conn) == [200, "complete"] * 2


def test_start_connects_once_and_tells_from_the_loop(raw):
    conn = raw.connection()
    assert conn.stream is None and raw.nobody()
    conn.start()
    assert conn.seen == [] and conn.state.name == "CONNECTING"
    server = raw.accept()
    server.reply(b"hello")
    assert raw.story(conn) == [200, b"hello", "complete"] and raw.nobody()


def test_send_while_connecting_is_queued(raw):
    conn = raw.connection(method="POST", headers={"Content-Length": "10"})
    conn.start()
    assert conn.send(b"hello") and conn.queued == 5
    server = raw.accept()
    conn.send_owned(b"world")
    assert server.request().body == b"helloworld"
    conn.abort()


@each_write
@pytest.mark.parametrize("verb", ["close", "abort"])
def test_after_close_every_start_and_send_is_a_state_error_in_on_close_too(raw, write, verb):
    told = []

    def closed(conn):
        for call in (write, lambda conn: conn.start(), lambda conn: conn.save_to("x")):
            with pytest.raises(icey.StateError):
                call(conn)
        told.append("told")

    conn = raw.connection(method="POST", headers={"Content-Length": "1"})
    conn.on_close += closed
    conn.start()
    getattr(conn, verb)()
    closed(conn)
    raw.until(lambda: conn.closed)
    closed(conn)
    assert told == ["told"] * 3


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_a_client_takes_no_call_after_close(raw, verb):
    client = raw.client()
    told = []
    client.on_close += lambda client: told.append(pytest.raises(icey.StateError, client.request, "GET", raw.url()))
    getattr(client, verb)()
    with pytest.raises(icey.StateError):
        client.request("GET", raw.url())
    raw.until(lambda: told)
    assert raw.nobody()
