"""Keep-alive: start again, who may close when, and what a Client does about a connection its server has closed meanwhile."""
import io

import pytest

import icey
from icey import PeerClosed
from icey.http import Request
from tests.support import rawserver
from tests.support.rawserver import answer, chunked

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

DONE = [200, b"hello", "complete"]


HELLO = answer(b"hello")


def one(raw, conn, server=None, data=HELLO):
    """One transaction; the server's end."""
    conn.start()
    server = server or raw.accept()
    server.request()
    server.send(data)
    raw.rest(conn)
    return server


# a ClientConnection

def test_one_transaction_after_the_other(raw):
    conn = raw.connection()
    server = None
    for data in (answer(b"hello"), chunked(b"hel", b"lo"), answer(b"hello", "Connection: keep-alive", version="1.0")):
        server = one(raw, conn, server, data)
        assert conn.reusable and conn.state.name == "IDLE" and conn.queued == 0
    assert raw.story(conn) == DONE * 3
    assert [event for event in conn.seen if event[0] == "connect"] == [("connect",)]
    assert raw.nobody()


def test_start_again_in_on_complete(raw):
    conn = raw.connection()
    left = [Request("GET", "/2", "1.1", []), Request("HEAD", "/3", "1.1", []), Request("GET", "/4", "1.1", [])]
    conn.on_complete += lambda conn: conn.start(left.pop(0)) if left else conn.close()
    conn.start()
    server = raw.accept()
    lines = [server.request().line]
    for data in (answer(b"hello"), answer(b"hello"), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"):
        server.send(data)
        lines.append(server.request().line)
    server.send(answer(b"hello"))
    assert server.gone()
    assert lines == ["%s /%s HTTP/1.1" % pair for pair in [("GET", ""), ("GET", "2"), ("HEAD", "3"), ("GET", "4")]]
    assert raw.story(conn) == DONE * 2 + [200, "complete"] + DONE + ["close"]


def test_what_was_known_of_the_last_answer_is_forgotten_by_start(raw):
    conn = raw.connection()
    server = one(raw, conn)
    assert (conn.response.status, conn.received, conn.total) == (200, 5, 5)
    conn.start()
    assert (conn.response, conn.received, conn.total, conn.answering) == (None, 0, None, False)
    server.reply()
    raw.rest(conn)
    assert conn.answering


@pytest.mark.parametrize("data", [
    answer(b"hello", "Connection: close"), answer(b"hello", version="1.0"),
    chunked(b"hello").replace(b"chunked", b"chunked\r\nConnection: close"),
])
def test_the_server_closes_by_its_answer(raw, data):
    conn = raw.connection()
    seen = []

    def complete(conn):
        seen.append((conn.reusable, conn.state.name))
        with pytest.raises(icey.StateError, match="another connection"):
            conn.start()

    conn.on_complete += complete
    server = one(raw, conn, data=data)
    assert seen == [(False, "CLOSING")]
    assert server.gone() and raw.story(conn) == DONE + ["close"]


@pytest.mark.parametrize("value", ["close", "Close", "x, close", "keep-alive,\tCLOSE "])
def test_the_client_closes_by_its_request(raw, value):
    conn = raw.connection(headers={"Connection": value})
    server = one(raw, conn)
    assert server.gone() and raw.story(conn) == DONE + ["close"]


def test_another_connection_option_closes_nothing(raw):
    conn = raw.connection(headers={"Connection": "TE, closed"})
    one(raw, conn)
    assert conn.reusable


@pytest.mark.parametrize("how", ["half_close", "close", "reset"])
def test_an_idle_connection_that_its_server_closes_is_closed_without_an_error(raw, loop, how):
    conn = raw.connection()
    server = one(raw, conn)
    getattr(server, how)()
    raw.until(lambda: conn.closed)
    assert raw.story(conn) == DONE + ["close"] and not loop.handles


def test_an_idle_connection_keeps_the_loop_running_until_it_is_closed(raw, loop):
    conn = raw.connection()
    one(raw, conn)
    assert loop.run_once(0)
    conn.close()
    raw.turn(3)
    assert not loop.run_once(0) and conn.closed


@pytest.mark.parametrize("how, error", [("half_close", PeerClosed), ("close", OSError), ("reset", OSError)])
def test_closed_exactly_when_the_request_is_sent_is_an_error(raw, how, error):
    conn = raw.connection()
    server = one(raw, conn)
    getattr(server, how)()
    conn.start()  # before the loop has seen it
    told = raw.story(conn)
    assert told[:3] == DONE and issubclass(told[3], error) and told[4:] == ["close"]


def test_start_while_a_transaction_is_under_way_is_a_state_error(raw):
    conn = raw.connection()
    for where in ("connecting", "waiting", "receiving"):
        if where == "connecting":
            conn.start()
        elif where == "waiting":
            server = raw.accept()
            server.request()
        else:
            server.send(answer(b"hello")[:-1])
            raw.until(lambda: conn.received)
        with pytest.raises(icey.StateError, match="under way"):
            conn.start()
    server.send(b"o")
    assert raw.story(conn) == DONE


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_start_after_close_is_a_state_error(raw, verb):
    conn = raw.connection()
    one(raw, conn)
    getattr(conn, verb)()
    with pytest.raises(icey.StateError, match="closing"):
        conn.start()
    raw.until(lambda: conn.closed)
    with pytest.raises(icey.StateError, match="closed"):
        conn.start()


def test_a_pause_before_the_connection_is_there_holds_from_its_first_byte(raw):
    conn = raw.connection()
    conn.pause()
    conn.start()
    server = raw.accept()
    server.request()
    whole = answer(b"hello")
    server.send(whole[:-3])
    raw.wait(0.1)
    server.send(whole[-3:])
    raw.wait(0.1)
    assert conn.response is None
    conn.resume()
    assert raw.story(conn)[-1] == "complete"


def test_paused_at_its_end_the_next_answer_is_read_all_the_same(raw):
    conn = raw.connection()
    conn.on_payload += lambda conn, view: conn.pause() if len(conn.seen) < 9 else None
    server = one(raw, conn)
    assert conn.state.name == "IDLE"
    one(raw, conn, server)
    assert raw.story(conn) == DONE * 2
    server.half_close()  # it reads, idle as it is
    raw.until(lambda: conn.closed)


def test_a_url_that_is_asked_again_goes_by_the_same_head(raw):
    conn = raw.connection("/a", headers={"A": "b"})
    conn.start()
    server = raw.accept()
    first = server.reply()
    raw.rest(conn)
    conn.start()
    second = server.reply()
    raw.rest(conn)
    conn.headers["A"] = "c"
    conn.start()
    third = server.reply()
    raw.rest(conn)
    conn.start(Request("GET", "/x", "1.1", [("A", "c")]))
    fourth = server.reply()
    raw.rest(conn)
    conn.start(Request("POST", "/a", "1.1", [("A", "c")]), b"x")
    fifth = server.reply()
    raw.rest(conn)
    assert first.head == second.head
    assert third.head == first.head.replace(b"A: b", b"A: c")
    assert fourth.head == third.head.replace(b"/a", b"/x")
    assert fifth.line == "POST /a HTTP/1.1" and fifth["content-length"] == "1"


# a Client: the same connection

def test_a_client_uses_a_connection_again(raw):
    client, server = raw.client(), None
    for number in range(4):
        call = raw.get("/%d" % number)
        server = server or raw.accept()
        assert server.reply(b"hello").target == "/%d" % number
        assert call.answer().body == b"hello"
    assert len(client.pool.connections) == 1 and raw.nobody()


@pytest.mark.parametrize("data", [answer(b"hello", "Connection: close"), answer(b"hello", version="1.0"),
                                  answer(b"hello", length=False), answer(b"hello") + b"extra"])
def test_or_makes_a_new_one(raw, data):
    raw.client()
    for _ in range(3):
        call = raw.get()
        server = raw.accept()
        server.request()
        server.send(data)
        if data.endswith(b"\r\n\r\nhello") and b"Content-Length" not in data:
            server.half_close()
        assert call.answer().body == b"hello"
        assert server.gone()


def test_a_connection_close_of_the_request_is_kept_to(raw):
    call = raw.get(headers={"Connection": "close"})
    server = raw.accept()
    assert server.reply(b"hello")["connection"] == "close"
    assert call.answer().body == b"hello" and server.gone()


# closed by the server while idle

def used(raw, **options):
    """A client with one idle connection, and the server's end of it."""
    raw.client(**options)
    call = raw.get()
    server = raw.accept()
    server.reply(b"hello")
    call.answer()
    return server


@pytest.mark.parametrize("how", ["half_close", "close", "reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_closed_while_idle_is_noticed_and_no_request_lost(raw, how, method):
    server = used(raw)
    getattr(server, how)()
    raw.turn(3)
    call = raw.ask(method, body=b"data" if method == "POST" else None)
    second = raw.accept()
    assert second.reply(b"new").method == method
    assert call.answer().body == b"new"


@pytest.mark.parametrize("how", ["half_close", "close"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_closed_while_idle_and_not_yet_noticed_by_the_loop(raw, how, method):
    """The connection is looked at again before it is used."""
    server = used(raw)
    getattr(server, how)()
    call = raw.ask(method, body=b"data" if method == "POST" else None)
    second = raw.accept()
    assert second.reply(b"new").method == method
    assert call.answer().body == b"new"


def test_bytes_that_came_while_idle_make_it_unfit(raw):
    server = used(raw)
    server.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    call = raw.ask("POST", body=b"data")
    second = raw.accept()
    second.reply(b"new")
    assert call.answer().body == b"new" and server.gone()


# closed exactly when the request is sent

BODIES = {
    "none": (lambda: None, b"", True),
    "bytes": (lambda: b"data", b"data", True),
    "large": (lambda: bytes(300000), bytes(300000), True),
    "file": (lambda: io.BytesIO(b"data"), b"data", True),
    "list": (lambda: [b"da", b"ta"], b"data", True),
    "generator": (lambda: (piece for piece in [b"da", b"ta"]), b"data", False),
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
def test_an_idempotent_request_is_tried_once_more(raw, how, method):
    server = used(raw)
    call = raw.ask(method)
    server.request()
    getattr(server, how)()
    second = raw.accept()
    assert second.reply(b"" if method == "HEAD" else b"new").method == method
    assert call.answer().status == 200


@pytest.mark.parametrize("body, data, again", BODIES.values(), ids=BODIES)
def test_with_all_of_its_body(raw, body, data, again):
    server = used(raw)
    call = raw.ask("PUT", body=body())
    server.head()
    raw.turn(3)
    server.reset()
    if again:
        second = raw.accept()
        assert second.reply(b"new").body == data
        assert call.answer().body == b"new"
    else:
        call.error(OSError)
        assert raw.nobody()


@pytest.mark.parametrize("method", ["POST", "PATCH", "X"])
def test_another_request_is_not(raw, method):
    server = used(raw)
    call = raw.ask(method, body=b"data")
    server.request()
    server.close()
    call.error(PeerClosed)
    assert raw.nobody()


def test_only_once(raw):
    server = used(raw)
    call = raw.get()
    server.request()
    server.close()
    second = raw.accept()
    second.request()
    second.close()
    call.error(PeerClosed)
    assert raw.nobody()


def test_not_on_a_new_connection(raw):
    call = raw.get()
    server = raw.accept()
    server.request()
    server.close()
    call.error(PeerClosed)
    assert raw.nobody()


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\n", answer(b"hello")[:-1], b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_not_after_a_byte_of_an_answer(raw, begun):
    server = used(raw)
    call = raw.get()
    server.request()
    server.send(begun)
    server.half_close()
    call.error(icey.IceyError)
    assert raw.nobody()


def test_not_after_garbage(raw):
    server = used(raw)
    call = raw.get()
    server.request()
    server.send(b"garbage\r\n\r\n")
    call.error(icey.BadResponse)
    assert raw.nobody()


def two_used(raw, **options):
    """A client with two idle connections, and the server's ends of them, the one used last behind."""
    raw.client(**options)
    calls = [raw.get(), raw.get()]
    servers = [raw.accept(), raw.accept()]
    for server, call in zip(servers, calls):
        server.reply(b"hello")
        call.answer()
    return servers


def test_the_other_try_takes_no_other_idle_connection(raw):
    """They may all be as stale."""
    first, second = two_used(raw)
    call = raw.get()
    second.request()
    second.close()
    third = raw.accept()
    third.reply(b"new")
    assert call.answer().body == b"new"
    call = raw.get()
    third.reply(b"again")
    assert call.answer().body == b"again" and first.silent()


def test_at_the_limit_an_idle_connection_makes_room_for_it(raw):
    first, second = two_used(raw, max_per_host=2)
    stale, other, waiting = raw.get(), raw.get(), raw.get()
    second.request()
    first.request()
    second.close()
    third = raw.accept()  # of the one that waited
    third.request()
    assert raw.nobody()
    first.answer(b"other")  # idle now, and used before
    assert other.answer().body == b"other"
    fourth = raw.accept()
    fourth.reply(b"new")
    assert stale.answer().body == b"new" and first.gone()
    third.answer(b"waited")
    assert waiting.answer().body == b"waited"


def test_each_request_of_a_call_may_be_tried_again(raw):
    """A redirect is a new request: its connection may be stale as well."""
    first, second = two_used(raw)
    call = raw.get()
    second.request()
    second.close()
    third = raw.accept()
    third.reply(b"", "Location: /next", status="302 Found")
    assert third.request().target == "/next"
    third.close()
    fourth = raw.accept()
    assert fourth.reply(b"there").target == "/next"
    assert call.answer().body == b"there"
    assert first.silent()
