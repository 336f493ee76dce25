"""The short way of a Client's calls: a request that is its head alone, an answer that comes in one piece. It tells the same as
the long way, and takes few steps."""
import gzip
import os
import sys

import pytest

import icey
from icey import BadResponse, StateError
from icey.http import Parser, Request
from icey.http.http1.observer import ParserObserver
from tests.support import ROOT, rawserver
from tests.support.rawserver import answer
from tests.support.streams import turn

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

PACKAGE = os.path.join(ROOT, "icey") + os.sep
MOST_CROSSINGS = 50  # calls from one file of icey into another, of a GET on a connection that is kept


def kept(raw, **options):
    """The server's end of a connection that has been used once, and is kept."""
    raw.client(**options)
    call = raw.get("/first")
    server = raw.accept()
    server.reply(b"first")
    assert call.answer().body == b"first"
    return server


@pytest.fixture
def wholes(monkeypatch):
    """The bodies of the answers that went the short way."""
    taken, take = [], icey.http.Call.answer_whole

    def answer_whole(self, response, body):
        taken.append(body)
        take(self, response, body)

    monkeypatch.setattr(icey.http.Call, "answer_whole", answer_whole)
    return taken


# requests

def test_the_same_head_goes_out_again(raw):
    server = kept(raw)
    heads = []
    for target in ("/first", "/first", "/other", "/first"):
        call = raw.get(target)
        heads.append(server.reply(b"x").head)
        assert call.answer().url.target == target
    assert heads[0] == heads[1] == heads[3] and heads[2] == heads[0].replace(b"/first", b"/other")


def test_each_method_goes_out_as_itself(raw):
    server = kept(raw)
    for method in ("GET", "DELETE", "OPTIONS", "POST", "PUT", "HEAD", "PURGE", "GET"):
        call = raw.ask(method, "/first")
        asked = server.request()
        assert (asked.method, asked.get("content-length")) == (method, "0" if method in ("POST", "PUT") else None)
        server.send(answer(b"" if method == "HEAD" else b"x"))
        assert call.answer().body == (b"" if method == "HEAD" else b"x")


def test_headers_that_change_are_seen(raw):
    server = kept(raw)
    given = {"X-A": "1"}
    for value in ("1", "1", "2", "3"):
        given["X-A"] = value
        call = raw.get("/", headers=given)
        assert server.reply(b"x")["x-a"] == value
        call.answer()
    raw.clients[-1].headers["X-A"] = "client"
    call = raw.get("/")
    assert server.reply(b"x")["x-a"] == "client"
    call.answer()
    raw.clients[-1].decode = False
    call = raw.get("/")
    assert "accept-encoding" not in server.reply(b"x")


def test_pairs_that_the_caller_changes_are_seen(raw):
    server = kept(raw)
    pair = ["X-A", "1"]
    for value in ("1", "2"):
        pair[1] = value
        call = raw.get("/", headers=[pair])
        assert server.reply(b"x")["x-a"] == value
        call.answer()


def test_headers_of_a_call_can_be_changed_before_it_goes_out(raw):
    server = kept(raw)
    call = raw.get("/first")
    call.headers["X-B"] = "1"
    assert server.reply(b"x")["x-b"] == "1"
    assert call.answer().body == b"x"
    call = raw.get("/first")
    assert "x-b" not in server.reply(b"x") and "x-b" not in call.headers


@pytest.mark.parametrize("name", ["Cookie", "Authorization", "Proxy-Authorization"])
def test_a_client_remembers_no_secrets(raw, name):
    server = kept(raw)
    for _ in range(2):
        call = raw.get("/", headers={name: "secret"})
        assert server.reply(b"x")[name.lower()] == "secret"
        call.answer()
        assert "secret" not in str(raw.clients[-1]._last)


@pytest.mark.parametrize("fields", [{"Content-Length": "5"}, {"Transfer-Encoding": "chunked"}, {"Content-Length": "x"}])
def test_a_framing_without_a_body_is_refused_each_time(raw, fields):
    server = kept(raw)
    for _ in range(2):
        with pytest.raises(ValueError):
            raw.get("/", headers=fields)
    call = raw.get("/first")
    server.reply(b"x")
    call.answer()


def test_a_bad_method_or_target_is_refused_on_a_kept_connection(raw):
    conn = raw.connection()
    conn.start(Request("GET", "/", "1.1", []))
    server = raw.accept()
    server.reply(b"x")
    raw.rest(conn)
    for method, target in (("G T", "/"), ("GET", "/a b"), ("GET", "/\r\nX: y"), ("CONNECT", "/")):
        with pytest.raises(ValueError):
            conn.start(Request(method, target, "1.1", []))
        assert conn.reusable
    conn.start(Request("GET", "/c", "1.1", []))
    assert server.reply(b"x").target == "/c"
    raw.rest(conn)


@pytest.mark.parametrize("number", [1, 2])
def test_send_on_a_request_that_is_its_head_alone(raw, number):
    conn = raw.connection()
    for _ in range(number):
        conn.start()
        server = raw.accepted[0] if raw.accepted else raw.accept()
        server.request()
        with pytest.raises(StateError, match="body is not sent that way"):
            conn.send(b"x")
        with pytest.raises(StateError, match="body is not sent that way"):
            conn.end()
        server.answer(b"x")
        raw.rest(conn)
    with pytest.raises(StateError, match="before start"):
        conn.send(b"x")


def test_a_slot_of_on_sent_may_close(raw):
    server = kept(raw)
    call, heads = raw.get("/second"), []
    call.call.on_sent += lambda call, head: (heads.append(head), call.close())
    server.gone()
    assert heads and heads[0].startswith(b"GET /second ") and not call.over


def test_close_is_said_and_kept_to(raw):
    server = kept(raw)
    call = raw.get("/", headers={"Connection": "close"})
    server.reply(b"x")
    assert call.answer().body == b"x"
    assert server.gone()
    turn(raw.loop, 3)
    assert not raw.clients[-1].pool.connections


# answers

def test_whole_answers_take_the_short_way(raw, wholes):
    server = kept(raw)
    for method, body in (("GET", None), ("POST", b"data"), ("DELETE", None)):
        call = raw.ask(method, "/first", body=body)
        server.reply(method.encode())
        found = call.answer()
        assert (found.status, found.body, call.received, call.total) == (200, method.encode(), len(method), len(method))
        assert call.response.status == 200 and call.closing
    assert wholes == [b"first", b"GET", b"POST", b"DELETE"]


def test_an_answer_in_pieces_is_the_same(raw, wholes):
    server = kept(raw)
    data = answer(b"hello", "X-A: 1", status="404 Nope")
    for cut in (1, 20, len(data) - 5, len(data) - 1):
        call = raw.get("/first")
        server.request()
        server.send(data[:cut])
        turn(raw.loop, 3)
        assert not call.over
        server.send(data[cut:])
        found = call.answer()
        assert (found.status, found.reason, found.headers["x-a"], found.body) == (404, "Nope", "1", b"hello")
    call = raw.get("/first")
    server.request()
    server.send(data)
    whole = call.answer()
    assert (whole.status, whole.reason, whole.headers, whole.body) == (404, "Nope", found.headers, b"hello")
    assert wholes == [b"first", b"hello"]


def test_slots_are_told_whatever_came(raw, wholes):
    server = kept(raw)
    call, told = raw.get("/first"), []
    server.request()
    call.call.on_headers += lambda call: told.append(call.response.status)  # after the request has gone out
    call.call.on_payload += lambda call, view: told.append(bytes(view))
    call.call.on_progress += lambda call, received, total: told.append((received, total))
    server.answer(b"hello")
    assert call.answer().body == b""
    assert told == [200, b"hello", (5, 5)] and wholes == [b"first"]


def test_a_paused_call_gets_nothing(raw, wholes):
    server = kept(raw)
    call = raw.get("/first")
    server.request()
    call.call.pause()
    server.answer(b"hello")
    turn(raw.loop, 3)
    assert not call.over
    call.call.resume()
    assert call.answer().body == b"hello"


def test_cookies_redirects_and_bounds_are_kept_to(raw, wholes):
    server = kept(raw, max_body=10)
    call = raw.get("/set")
    server.reply(b"x", "Set-Cookie: a=b")
    call.answer()
    call = raw.get("/moved")
    assert server.reply(b"", "Location: /there", status="302 Found")["cookie"] == "a=b"
    assert server.reply(b"here").target == "/there"
    assert call.answer().url.target == "/there"
    call = raw.get("/long")
    server.reply(b"x" * 11)
    call.error(BadResponse)
    assert wholes == [b"first", b"here"]


@pytest.mark.needs("zlib")
def test_a_coded_answer_is_decoded(raw, wholes):
    server = kept(raw)
    call = raw.get("/first")
    server.reply(gzip.compress(b"hello"), "Content-Encoding: gzip")
    assert call.answer().body == b"hello" and wholes == [b"first"]


@pytest.mark.parametrize("method, data, body", [
    ("GET", answer(b"hello"), b"hello"), ("GET", answer(b""), b""),
    ("HEAD", answer(b"", "Content-Length: 5", length=False), b""),
    ("GET", answer(b"", status="304 Not Modified", length=False), b""), ("GET", answer(b"x", version="1.0"), b"x"),
    ("GET", answer(b"hello")[:-1], None), ("GET", answer(b"hello") + b"x", None), ("GET", answer(b"hello")[:20], None),
    ("GET", answer(b"hello", length=False), None), ("GET", rawserver.chunked(b"hello"), None),
    ("GET", answer(b"", status="101 Switching Protocols", length=False), None),
    ("GET", answer(b"", status="100 Continue", length=False), None), ("GET", b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", None),
    ("GET", answer(b"hello", "Content-Length: 4"), None), ("GET", b"", None),
])
def test_a_parser_takes_the_same_answers_whole_as_in_pieces(method, data, body):
    class Observer(ParserObserver):
        def on_head(self, response):
            told.append((response.status, response.reason, response.version, response.headers.items()))

        def on_body(self, view):
            told.append(bytes(view))

    told, parser = [], Parser(None, responses=True)
    parser.observer = Observer()
    parser.request_method = method
    for _ in range(2):  # the second time the head is known
        found = parser.whole(data)
        assert (None if found is None else found[1]) == body and not told and parser.idle
        if found is not None:
            response, framing = found[0], parser.framing
            assert parser.feed(data) == len(data) and parser.idle
            assert told[0] == (response.status, response.reason, response.version, response.headers.items())
            assert b"".join(told[1:]) == body and parser.framing.keep_alive is framing.keep_alive
        del told[:]


@pytest.mark.parametrize("behind", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
def test_what_comes_behind_an_answer_is_no_answer(raw, behind):
    server = kept(raw)
    call = raw.get("/first")
    server.request()
    server.send(answer(b"hello") + behind)
    assert call.answer().body == b"hello"
    server.gone()
    call = raw.get("/next")
    raw.accept().reply(b"next")
    assert call.answer().body == b"next"


def test_done_may_close_the_client(raw):
    server = kept(raw)
    client, found = raw.clients[-1], []
    client.request("GET", raw.url("/first"), done=lambda *came: (found.append(came), client.close()))
    server.reply(b"hello")
    raw.until(lambda: client.closed)
    assert found[0][0].body == b"hello" and not client.pool.connections


def test_an_answer_before_the_request_is_out_is_no_whole_one(raw, wholes):
    raw.client()
    pieces = iter([b"a", b"b"])
    call = raw.ask("POST", "/", body=pieces, headers={"Expect": "100-continue"})
    server = raw.accept()
    server.head()
    server.answer(b"no", status="417 No")
    found = call.answer()
    assert (found.status, found.body) == (417, b"no") and not wholes
    assert server.gone()


# steps

@pytest.fixture
def plain():
    """A `raw` in release mode, its states not watched, whatever mode the tests are in."""
    with icey.Loop(debug=False) as loop:
        plain = rawserver.Raw(loop, None)
        yield plain
        plain.close()
        turn(loop, 3)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts calls as CPython makes them")
def test_a_get_on_a_kept_connection_crosses_few_files(plain):
    server, found, crossings = kept(plain), [], []
    before = sys.getprofile()

    def profile(frame, event, arg):
        if event == "call" and frame.f_back is not None:
            here, there = frame.f_code.co_filename, frame.f_back.f_code.co_filename
            if here != there and here.startswith(PACKAGE) and there.startswith(PACKAGE):
                crossings.append("%s -> %s %s" % (there[len(PACKAGE):], here[len(PACKAGE):], frame.f_code.co_name))

    def counted(fn, *args, **options):
        sys.setprofile(profile)
        try:
            fn(*args, **options)
        finally:
            sys.setprofile(before)

    for _ in range(3):  # the first ones warm up
        del crossings[:], found[:]
        counted(plain.clients[-1].request, "GET", plain.url("/first"), done=lambda *came: found.append(came))
        counted(plain.loop.run_once)
        server.reply(b"hello")
        if not found:
            counted(plain.loop.run_once)
        assert found[0][0].body == b"hello"
    assert 20 < len(crossings) <= MOST_CROSSINGS, "\n".join(crossings)
