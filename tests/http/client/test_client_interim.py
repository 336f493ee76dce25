"""Interim answers, and a request body that waits for 100 Continue, in all its ways (RFC 9110 sections 10.1.1 and 15.2)."""
import io

import pytest

import icey
from tests.support import rawserver
from tests.support.rawserver import answer

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

EXPECT = {"Expect": "100-continue"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

BODIES = {
    "bytes": (lambda: b"hello", "content-length"),
    "many bytes": (lambda: b"hello" * 100000, "content-length"),
    "file": (lambda: io.BytesIO(b"hello"), "content-length"),
    "iterator": (lambda: iter([b"hel", b"lo"]), "transfer-encoding"),
}
each_body = pytest.mark.parametrize("body, framing", BODIES.values(), ids=BODIES)


def expecting(raw, body=None, **options):
    """A connection that has sent its head and holds its body; the server's end; the head."""
    conn = raw.connection(method="POST", headers={**EXPECT, **options.pop("headers", {})}, **options)
    conn.start(body=body)
    server = raw.accept()
    return conn, server, server.head()


def body_of(server, head):
    if "content-length" in head:
        return server.read(int(head["content-length"]))
    return rawserver.read_chunks(server)


@each_body
def test_the_body_waits_for_100_continue(raw, body, framing):
    conn, server, head = expecting(raw, body())
    assert head["expect"] == "100-continue" and framing in head
    assert server.silent()
    server.send(CONTINUE)
    assert body_of(server, head) in (b"hello", b"hello" * 100000)
    server.answer(b"thanks")
    assert raw.story(conn) == [100, 200, b"thanks", "complete"]
    assert conn.reusable


@each_body
def test_after_the_deadline_the_body_goes_without(raw, body, framing):
    conn, server, head = expecting(raw, body(), limits={"continue_timeout": 2.0})
    raw.wait(1.9)
    assert server.silent()
    raw.wait(0.2)
    assert body_of(server, head) in (b"hello", b"hello" * 100000)
    server.send(CONTINUE)  # too late, and no harm
    server.answer(b"thanks")
    assert raw.story(conn) == [100, 200, b"thanks", "complete"]


def test_the_deadline_counts_from_the_head_not_from_the_start(raw):
    conn = raw.connection(method="POST", headers=EXPECT, limits={"continue_timeout": 1.0, "connect_timeout": 100.0})
    conn.start(body=b"hello")
    raw.clock.advance(50.0)  # the connection takes its time
    server = raw.accept()
    server.head()
    raw.wait(0.9)
    assert server.silent()
    raw.wait(0.2)
    assert server.read(5) == b"hello"
    server.answer()
    assert raw.story(conn) == [200, "complete"]


@each_body
@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "413 Content Too Large", "417 Expectation Failed"])
def test_a_final_answer_instead_drops_the_body_and_ends_the_connection(raw, body, framing, status):
    conn, server, _ = expecting(raw, body())
    server.answer(b"no", status=status)
    assert raw.story(conn) == [int(status[:3]), b"no", "complete", "close"]
    assert server.gone()


def test_other_interim_answers_do_not_release_the_body(raw):
    conn, server, _ = expecting(raw, b"hello")
    server.send(HINTS)
    assert server.silent()
    server.send(CONTINUE)
    assert server.read(5) == b"hello"
    server.answer()
    assert raw.story(conn) == [103, 100, 200, "complete"]


def test_100_twice(raw):
    conn, server, _ = expecting(raw, b"hello")
    server.send(CONTINUE * 2)
    assert server.read(5) == b"hello"
    assert server.silent()
    server.answer()
    assert raw.story(conn) == [100, 100, 200, "complete"]


def test_100_and_the_answer_in_one_segment(raw):
    conn, server, _ = expecting(raw, b"hello")
    server.send(CONTINUE + answer(b"hi"))
    assert server.read(5) == b"hello"
    assert raw.story(conn) == [100, 200, b"hi", "complete"]


def test_no_deadline_where_there_is_none(raw):
    conn, server, _ = expecting(raw, b"hello", limits={"continue_timeout": None})
    raw.wait(1000)
    assert server.silent()
    server.send(CONTINUE)
    assert server.read(5) == b"hello"
    conn.abort()


def test_a_body_by_send_waits_here(raw):
    done = []
    conn = raw.connection(method="POST", headers={**EXPECT, "Content-Length": "10"})
    conn.start()
    server = raw.accept()
    server.head()
    mutable = bytearray(b"hello")
    assert conn.send(mutable, lambda: done.append(1))
    mutable[:] = b"XXXXX"  # what waits was copied
    conn.send_owned(b"world", lambda: done.append(2))
    assert conn.queued == 10
    assert server.silent() and done == []
    server.send(CONTINUE)
    assert server.read(10) == b"helloworld"
    raw.until(lambda: done == [1, 2])
    server.answer()
    assert raw.story(conn) == [100, 200, "complete"]


def test_a_chunked_body_by_send_waits_here_its_end_too(raw):
    conn, server, _ = expecting(raw, headers={"Transfer-Encoding": "chunked"})
    conn.send(b"hello")
    conn.end()
    with pytest.raises(icey.StateError, match="after end"):
        conn.send(b"more")
    assert server.silent()
    server.send(CONTINUE)
    assert rawserver.read_chunks(server) == b"hello"
    server.answer()
    assert raw.story(conn) == [100, 200, "complete"]


def test_a_body_by_send_that_has_not_ended_when_100_comes(raw):
    conn, server, _ = expecting(raw, headers={"Transfer-Encoding": "chunked"})
    conn.send(b"hel")
    server.send(CONTINUE)
    assert server.read(8) == b"3\r\nhel\r\n"
    conn.send(b"lo")
    conn.end()
    assert rawserver.read_chunks(server) == b"lo"
    server.answer()
    assert raw.story(conn) == [100, 200, "complete"]


def test_what_was_sent_while_it_was_held_is_dropped_with_a_final_answer(raw):
    done = []
    conn, server, _ = expecting(raw, headers={"Content-Length": "10"})
    conn.send(b"hello", lambda: done.append(1))
    server.answer(status="403 Forbidden")
    assert raw.story(conn) == [403, "complete", "close"]
    assert done == [] and conn.queued == 0
    with pytest.raises(icey.StateError):
        conn.send(b"world")


@pytest.mark.parametrize("method, body, headers", [
    ("GET", None, {}), ("POST", b"", {}), ("POST", None, {"Content-Length": "0"}),
])
def test_without_a_body_nothing_waits(raw, method, body, headers):
    conn = raw.connection(method=method, headers={**EXPECT, **headers})
    conn.start(body=body)
    server = raw.accept()
    server.head()
    assert conn.state.name == "WAITING"
    server.answer()
    assert raw.story(conn) == [200, "complete"]


def test_another_expectation_holds_nothing(raw):
    conn = raw.connection(method="POST", headers={"Expect": "something"})
    conn.start(body=b"hello")
    server = raw.accept()
    assert server.request().body == b"hello"
    server.answer(status="417 Expectation Failed")
    assert raw.story(conn) == [417, "complete"]


@pytest.mark.parametrize("end", ["half_close", "reset"])
def test_the_end_while_the_body_is_held_is_an_error(raw, end):
    conn, server, _ = expecting(raw, b"hello")
    getattr(server, end)()
    told = raw.story(conn)
    assert told == [icey.PeerClosed if end == "half_close" else ConnectionResetError, "close"]


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_closing_while_the_body_is_held(raw, loop, verb):
    closed = []

    def body():
        try:
            yield b"hello"
        finally:
            closed.append(True)

    conn, server, _ = expecting(raw, body())
    getattr(conn, verb)()
    assert raw.story(conn) == ["close"]
    assert server.gone() and not loop.handles
    assert closed == []  # it never began


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_closing_in_on_interim_releases_nothing(raw, loop, verb):
    conn, server, _ = expecting(raw, b"hello")
    conn.on_interim += lambda conn, response: getattr(conn, verb)()
    server.send(CONTINUE + answer(b"late"))
    assert raw.story(conn) == [100, "close"]
    assert server.gone()


def test_on_interim_tells_the_response(raw):
    conn = raw.connection()
    told = []
    conn.on_interim += lambda conn, response: told.append((response.status, response.reason, response.headers["link"]))
    conn.start()
    server = raw.accept()
    server.request()
    server.send(HINTS + answer())
    assert raw.story(conn) == [103, 200, "complete"]
    assert told == [(103, "Early Hints", "</a>")]
    assert conn.response.status == 200


def test_interim_answers_come_before_the_request_is_out(raw):
    conn = raw.connection(method="POST", headers={"Content-Length": "10"})
    conn.start()
    server = raw.accept()
    server.head()
    server.send(HINTS)
    raw.until(lambda: ("interim", 103) in conn.seen)
    conn.send(b"helloworld")
    assert server.read(10) == b"helloworld"
    server.answer()
    assert raw.story(conn) == [103, 200, "complete"]


def test_a_client_skips_them_too(raw):
    call = raw.ask("POST", body=b"hello", headers=EXPECT)
    server = raw.accept()
    server.head()
    assert server.silent()
    server.send(HINTS + CONTINUE)
    assert server.read(5) == b"hello"
    server.answer(b"thanks")
    assert call.answer().body == b"thanks"
