"""TestClient: requests, answers in every framing, time, threads, errors, WebSockets, raw connections, and its end."""
import gc
import sys
import threading
import warnings
import weakref

import pytest

import icey
from icey.http import Health, Server, StaticFiles, WebSocket
from icey.tools.testing import TestClient, TestWebSocket, virtual_loop
from tests.support import needs


@pytest.fixture(params=[False, True], ids=["release", "debug"])
def ask(request):
    """ask(app, ...): a TestClient, closed at the end."""
    made = []

    def make(app, **options):
        made.append(TestClient(app, debug=request.param, **options))
        return made[-1]
    yield make
    for client in made:
        client.close()


def hello(exchange):
    exchange.respond(200, b"Hello")


def told(exchange):
    """Answers with what was asked."""
    request = exchange.request
    exchange.collect(lambda exchange, body: exchange.respond_json({
        "method": request.method, "target": request.target, "body": bytes(body).decode("latin-1"), "secure": exchange.secure,
        "peer": str(exchange.peer), "local": str(exchange.local),
        "headers": [pair for pair in request.headers.items() if pair[0] not in ("user-agent", "accept")]}))


def silent(kept):
    """A handler that keeps its exchanges, and never answers."""
    return kept.append


# requests

def test_a_handler_is_asked_and_its_answer_is_the_clients(ask):
    client = ask(lambda exchange: exchange.respond(201, b"made", "text/plain", {"X-Is": "so"}))
    answer = client.get("/")
    assert (answer.status, answer.reason, answer.body, answer.headers["x-is"]) == (201, "Created", b"made", "so")
    assert answer.ok and answer.text() == "made"
    assert client.clock() == 0.0


@pytest.mark.parametrize("options, method, body, more", [
    ({}, "GET", "", []),
    ({"headers": {"X-A": "1"}}, "DELETE", "", [["x-a", "1"]]),
    ({}, "POST", "", [["content-length", "0"]]),
    ({"body": b"abc"}, "POST", "abc", [["content-length", "3"]]),
    ({"body": bytearray(b"abc")}, "PUT", "abc", [["content-length", "3"]]),
    ({"body": [b"ab", b"", b"c"]}, "POST", "abc", [["transfer-encoding", "chunked"]]),
    ({"json": {"a": [1, None]}}, "POST", '{"a": [1, null]}', [["content-type", "application/json"], ["content-length", "16"]]),
    ({"form": {"a": "1 2", "b": "\u00e9"}}, "POST", "a=1+2&b=%C3%A9",
     [["content-type", "application/x-www-form-urlencoded"], ["content-length", "14"]]),
    ({"json": 1, "headers": {"Content-Type": "x/y"}}, "PATCH", "1", [["content-type", "x/y"], ["content-length", "1"]]),
])
def test_what_is_asked_arrives(options, method, body, more):
    with TestClient(told) as client:
        got = client.request(method, "/p?q=1", **options).json()
    assert (got["method"], got["target"], got["body"]) == (method, "/p?q=1", body)
    assert sorted(got["headers"]) == sorted([["host", "testserver"], *more])


def test_a_path_is_of_the_host_and_a_url_says_all():
    with TestClient(told, host="here:8080") as client:
        assert ["host", "here:8080"] in client.get("/").json()["headers"]
        got = client.get("https://there.example/x").json()
    assert ["host", "there.example"] in got["headers"]
    assert (got["secure"], got["local"], got["target"]) == (True, "127.0.0.1:443", "/x")


def test_headers_of_every_request_and_those_of_one():
    with TestClient(told, headers={"X-A": "1", "X-B": "2"}) as client:
        got = dict(client.get("/", headers=[("x-b", "3")]).json()["headers"])
        client.headers["X-C"] = "4"
        assert dict(client.post("/").json()["headers"])["x-c"] == "4"
    assert (got["x-a"], got["x-b"]) == ("1", "3")


@pytest.mark.parametrize("wrong, options", [
    (ValueError, {"url": "ftp://x/"}), (ValueError, {"url": "no path"}), (ValueError, {"url": "/", "headers": {"X": "a\nb"}}),
    (ValueError, {"url": "/", "method": "G T"}), (TypeError, {"url": "/", "body": "text"}),
    (TypeError, {"url": "/", "body": b"", "json": 1}), (icey.StateError, {"url": "/", "body": [b"a"],
                                                                         "headers": {"Content-Length": "2"}}),
])
def test_what_cannot_be_sent_is_refused_and_the_client_lives(wrong, options):
    with TestClient(hello) as client:
        with pytest.raises(wrong):
            client.request(options.pop("method", "GET"), **options)
        assert client.get("/").body == b"Hello"


# connections

def test_a_connection_is_kept_for_the_next_request(ask):
    client = ask(told)
    peers = {client.get("/").json()["peer"] for _ in range(3)}
    assert len(peers) == 1 and client.server.connections_made == 1


@pytest.mark.parametrize("headers", [{"Connection": "close"}, {}])
def test_where_it_was_closed_there_is_a_new_one(ask, headers):
    client = ask(hello, limits=icey.Limits(keep_alive_timeout=5.0))
    assert client.get("/", headers=headers).body == b"Hello"
    client.advance(10.0)  # of an idle connection the server tires
    assert client.server.connections == ()
    assert client.get("/").body == b"Hello"
    assert client.server.connections_made == 2


def test_what_is_of_another_origin_has_a_connection_of_its_own():
    with TestClient(hello) as client:
        for url in ("/", "https://testserver/", "http://other/", "/"):
            client.get(url)
        assert client.server.connections_made == 3


# answers

def streamed(exchange):
    exchange.begin_streaming()
    for piece in (b"one", b"two"):
        exchange.send(piece)
    exchange.end()


def until_the_end(exchange):
    exchange.response.headers["Connection"] = "close"
    streamed(exchange)


@pytest.mark.parametrize("handler, method, body", [
    (streamed, "GET", b"onetwo"), (until_the_end, "GET", b"onetwo"), (hello, "HEAD", b""), (streamed, "HEAD", b""),
    (lambda exchange: exchange.respond(204), "GET", b""), (lambda exchange: exchange.respond(304), "GET", b""),
    (lambda exchange: exchange.respond(200, b"x" * 1000000), "GET", b"x" * 1000000),
], ids=["chunked", "close", "head", "head of chunks", "204", "304", "large"])
def test_answers_are_read_in_whatever_framing(ask, handler, method, body):
    client = ask(handler)
    for _ in range(2):
        assert client.request(method, "/").body == body


def test_to_http_1_0_an_answer_ends_with_the_connection(ask):
    wire = ask(streamed).connect()
    wire.send(b"GET / HTTP/1.0\r\n\r\n")
    assert wire.read_all().endswith(b"\r\n\r\nonetwo")


def test_interim_answers_come_before_the_final_one():
    with TestClient(told) as client:
        answer = client.open("/", method="POST", body=b"abc", headers={"Expect": "100-continue"})
        assert answer.status == 200 and answer.interim == []  # the body came with the head: nobody waits
        wire = client.connect()
        wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert wire.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(b"abc")
        assert wire.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_an_answer_that_is_cut_is_none():
    def cut(exchange):
        exchange.send(b"some")
        exchange.loop.call_later(1.0, exchange.abort)

    with TestClient(cut) as client:
        with pytest.raises(ConnectionResetError):
            client.get("/")


def test_an_early_end_is_told():
    with TestClient(lambda exchange: exchange.close()) as client:
        with pytest.raises(icey.PeerClosed):
            client.get("/")


def written(data, close=False):
    """A handler that writes these bytes past its exchange, whatever they are."""
    def handler(exchange):
        exchange.connection.stream.send_owned(data)
        if close:
            exchange.loop.call_soon(exchange.connection.stream.close)
        else:
            kept.append(exchange)

    kept = []
    return handler


@pytest.mark.parametrize("data, close, error", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxyz", False, icey.BadResponse),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxyz", True, icey.IncompleteBody),
    (b"HTTP/1.1 2000 OK\r\n\r\n", False, icey.BadResponse),
    (b"", True, icey.PeerClosed),
], ids=["more", "short", "malformed", "none"])
def test_what_is_no_answer_is_told(data, close, error):
    with TestClient(written(data, close)) as client:
        with pytest.raises(error):
            client.get("/")
        with pytest.raises(error):
            client.open("/").read_all()


def test_early_hints_and_an_answer_that_ends_with_the_connection():
    with TestClient(written(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbody", True)) as client:
        answer = client.open("/")
        assert [(one.status, one.headers["link"]) for one in answer.interim] == [(103, "</a.css>")]
        assert answer.read_all() == b"body" and repr(answer) == "<OpenAnswer 200 OK>"


def test_cookies_are_kept_and_expire_in_virtual_time():
    def handler(exchange):
        headers = {"Set-Cookie": "a=1; Max-Age=60"} if exchange.request.path == "/in" else None
        exchange.respond(200, exchange.request.headers.get("cookie", "").encode(), headers=headers)

    with TestClient(handler) as client:
        client.get("/in")
        assert client.get("/").body == b"a=1"
        assert client.get("/", headers={"Cookie": "b=2"}).body == b"b=2"
        client.advance(61.0)
        assert client.get("/").body == b""
    with TestClient(handler, cookies=False) as client:
        client.get("/in")
        assert client.get("/").body == b"" and client.jar is None


# what is tested

def test_slot_objects_and_several_slots(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a file")
    with TestClient([Health(), StaticFiles(str(tmp_path))]) as client:
        assert client.get("/health").status == 200
        assert client.get("/a.txt").body == b"a file"
        assert client.get("/b.txt").status == 404
        assert client.get("/a.txt", headers={"Range": "bytes=2-"}).body == b"file"


def test_a_wsgi_application():
    needs("threading")

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield environ["PATH_INFO"].encode()
        yield b"!" * 200000

    with TestClient(icey.http.WSGI(app)) as client:
        assert client.get("/x").body == b"/x" + b"!" * 200000


def test_a_server_with_its_limits_and_responder():
    class Answering(icey.http.Responder):
        def on_complete(self, request, response):
            self.exchange.respond(200, b"responder")

    loop, clock = virtual_loop(True)
    with loop:
        server = Server(loop, "127.0.0.1", 80, responder=Answering, limits=icey.Limits(max_target=10), name="mine")
        with TestClient(server) as client:
            assert client.server is server and client.clock is clock and client.loop is loop
            answer = client.get("/")
            assert (answer.body, answer.headers["server"]) == (b"responder", "mine")
            assert client.get("/" + "x" * 10).status == 414
        assert server.closed and not loop.closed


def test_a_server_on_a_real_clock_or_one_that_was_started_is_refused():
    with icey.Loop() as loop:
        with pytest.raises(icey.StateError, match="virtual_loop"):
            TestClient(Server(loop, "127.0.0.1", 0))
    loop, _ = virtual_loop()
    with loop, Server(loop, "127.0.0.1", 0).start(listening=False) as server:
        with pytest.raises(icey.StateError, match="started"):
            TestClient(server)
    loop.close()


def test_what_is_no_slot_is_refused():
    with pytest.raises(TypeError):
        TestClient(42)


def test_a_server_that_stopped_listens_no_more():
    with TestClient(hello) as client:
        client.get("/")
        client.server.stop()
        assert client.get("/").headers["connection"] == "close"  # the connection that was there has one more
        with pytest.raises(icey.ConnectError):
            client.get("/")


# time

def test_an_answer_that_comes_later_takes_virtual_time_alone(ask):
    client = ask(lambda exchange: exchange.loop.call_later(50.0, exchange.respond, 200, b"late"))
    assert client.get("/").body == b"late" and client.clock() == 50.0


def test_an_answer_of_a_thread_is_waited_for_while_time_stands_still(ask):
    needs("threading")
    gate, pools = threading.Event(), []

    def handler(exchange):
        pools.append(icey.ThreadPool(exchange.loop))
        pools[0].submit(gate.wait, done=lambda result, error: exchange.respond(200, b"%r" % (result,)))
        threading.Timer(0.02, gate.set).start()

    client = ask(handler)
    client.loop.call_later(0.001, lambda: None)  # a clock that jumped would pass it
    assert client.get("/").body == b"True"
    assert client.clock() == 0.0
    pools[0].close()


@pytest.mark.parametrize("handler, words", [
    (lambda kept: kept.append, "has not answered, and nothing is on the loop that could"),
    (lambda kept: lambda exchange: kept.append(exchange.loop.call_later(90.0, exchange.respond)), "on the loop are: Timer"),
    (lambda kept: lambda exchange: (kept.append(exchange), exchange.send(b"begun")), r"end\(\) has not come"),
    (lambda kept: lambda exchange: (kept.append(exchange), exchange.begin_streaming()), "of whose body 0 bytes have come"),
], ids=["silent", "timer", "begun", "streaming"])
def test_an_answer_that_never_comes_says_what_is_waited_for(handler, words):
    with TestClient(handler([])) as client:
        with pytest.raises(icey.Deadline, match="waited 60 s of the loop's time for .*GET /x.*" + words):
            client.get("/x")
        assert client.clock() == 60.0
        with pytest.raises(icey.Deadline, match="waited 5 s"):
            client.get("/x", timeout=5.0)


def test_a_body_that_nobody_wants_is_named():
    with TestClient(silent([])) as client:
        with pytest.raises(icey.Deadline, match="neither answered nor asked for the body"):
            client.post("/", body=b"abc")


def test_a_loop_that_never_rests_is_no_hang(monkeypatch):
    monkeypatch.setattr("icey.tools.testing.driver.RESTLESS", 0.01)
    kept = []
    with TestClient(lambda exchange: kept.append((exchange, icey.Idler(exchange.loop, lambda idler: None)))) as client:
        kept.append(icey.Idler(client.loop, lambda idler: None))
        kept[0].start()
        with pytest.raises(icey.StateError, match="no virtual time"):
            client.get("/")
        kept[0].close()


def test_time_passes_when_the_test_says_so():
    fired = []
    with TestClient(hello) as client:
        client.loop.call_later(10.0, fired.append, 1)
        client.advance(9.5)
        assert (fired, client.clock()) == ([], 9.5)
        client.advance(0.5)
        assert fired == [1]
        with pytest.raises(ValueError):
            client.advance(-1)
        client.loop.call_later(10.0, fired.append, 2)
        assert client.wait_for(lambda: fired[1:]) == [2] and client.clock() == 20.0
        with pytest.raises(icey.Deadline):
            client.wait_for(lambda: False, timeout=1.0)


def test_what_follows_an_answer_has_happened_when_the_call_returns():
    over = []

    def handler(exchange):
        exchange.on_close += over.append
        exchange.respond(200, b"done")
        exchange.loop.call_soon(over.append, "soon")

    with TestClient(handler) as client:
        client.get("/")
        assert len(over) == 2


# what slots raise

def boom(exchange):
    raise LookupError("it broke")


def test_what_a_handler_raises_leaves_the_call_with_its_traceback(ask):
    client = ask(boom)
    with pytest.raises(LookupError, match="it broke") as caught:
        client.get("/")
    assert "boom" in [entry.name for entry in caught.traceback]
    with pytest.raises(LookupError):
        client.get("/")


def test_or_the_client_gets_what_a_real_one_would(ask):
    client = ask(boom, raise_exceptions=False)
    assert client.get("/").status == 500
    assert [str(exc) for exc in client.errors] == ["it broke"]


def test_an_http_error_is_an_answer_and_no_exception(ask):
    def handler(exchange):
        raise icey.HttpError(403, "no")

    assert ask(handler).get("/").status == 403


def test_of_several_exceptions_none_is_lost():
    with TestClient(hello) as client:
        client.loop.call_soon(boom, None)
        client.loop.call_soon(int, "x")
        with pytest.raises(LookupError):
            client.advance(1.0)
        with pytest.raises(ValueError):
            client.advance(1.0)


def test_what_a_timer_raises_leaves_the_call_that_turned_the_loop():
    with TestClient(hello) as client:
        client.loop.call_later(5.0, boom, None)
        client.get("/")
        with pytest.raises(LookupError):
            client.advance(5.0)
        client.loop.call_soon(boom, None)
        with pytest.raises(LookupError):
            client.close()
    assert client.loop.closed


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy cannot tell that a slice is kept")
def test_a_handler_that_keeps_a_view_is_told_by_the_call():
    kept = []

    def handler(exchange):
        exchange.on_payload += lambda exchange, view: kept.append(view[:])

    with TestClient(handler) as client:
        with pytest.raises(icey.BorrowError):
            client.post("/", body=b"abc")
        kept.clear()


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="this Python does not count references")
def test_a_handler_that_forgets_to_answer_is_named():
    with TestClient(lambda exchange: None) as client:
        with pytest.raises(icey.StateError, match="GET / was left unanswered"):
            client.get("/")


def test_asked_by_a_handler_it_refuses():
    clients = []
    clients.append(TestClient(lambda exchange: clients[0].get("/")))
    with clients[0] as client:
        with pytest.raises(icey.StateError, match="running loop"):
            client.get("/")


# answers that go on

def ticking(exchange):
    """An event a second, three of them."""
    exchange.response.headers["Content-Type"] = "text/event-stream"
    exchange.begin_streaming()

    def tick(timer):
        exchange.send_owned(b"data: %d\n\n" % timer.count)
        if timer.count == 3:
            timer.stop()
            exchange.end()

    icey.Timer(exchange.loop, 1.0, tick, interval=1.0).start()


def test_events_are_read_as_they_come(ask):
    client = ask(ticking)
    with client.open("/") as answer:
        assert (answer.status, answer.headers["content-type"], client.clock()) == (200, "text/event-stream", 0.0)
        assert answer.read_until(b"\n\n") == b"data: 1\n\n" and client.clock() == 1.0
        client.advance(2.0)
        assert answer.read(5) == b"data:" and not answer.ended
        assert answer.receive() == b" 2\n\ndata: 3\n\n"
        assert answer.receive() == answer.read(3) == answer.read_until(b"x") == answer.read_all() == b""
        assert answer.ended
    assert client.server.connections == () or client.advance(1.0) is None


def test_what_is_not_read_the_server_finds_waiting(ask):
    def flood(exchange):
        while exchange.send_owned(b"x" * 8192):
            pass

    def handler(exchange):
        exchange.begin_streaming()
        exchange.on_drain += flood
        flood(exchange)

    client = ask(handler)
    answer = client.open("/")
    client.advance(5.0)
    exchange = client.server.connections[0].exchange
    sent = exchange.sent
    client.advance(5.0)
    assert 65536 < exchange.sent == sent < 4 * 65536
    assert answer.read(1000000) == b"x" * 1000000 and client.clock() == 10.0
    assert 1000000 < exchange.sent < 1000000 + 4 * 65536
    exchange.end()
    assert len(answer.read_all()) == exchange.sent - 1000000


def test_a_client_that_goes(ask):
    seen, kept = [], []

    def handler(exchange):
        kept.append(exchange)
        exchange.on_close += lambda exchange: seen.append("closed")
        exchange.begin_streaming()

    client = ask(handler)
    client.open("/").close()
    client.advance(0.0)
    client.open("/").wire.reset()
    client.advance(0.0)
    assert seen == ["closed", "closed"]


# WebSockets

def chat(exchange):
    ws = WebSocket.accept(exchange, subprotocols=("chat",))
    ws.on_message += lambda ws, data: ws.send(data) if data != "bye" else ws.close(4000, "as you say")


@pytest.mark.parametrize("compression", [True, False])
def test_a_websocket_echoes_text_and_bytes(ask, compression):
    client = ask(chat)
    with client.websocket("/", subprotocols=("other", "chat"), compression=compression) as ws:
        assert isinstance(ws, TestWebSocket) and ws.subprotocol == "chat" and not ws.closed
        for message in ("", "h\u00e9", b"", b"\x00\xff", "x" * 100000, b"y" * 300000):
            ws.send(message)
            assert ws.receive() == message
        ws.ping(b"are you there")
        assert ws.pongs == [b"are you there"]
    assert (ws.code, ws.reason, ws.closed) == (1000, "", True)
    assert client.server.connections == ()


def test_a_websocket_that_the_server_closes(ask):
    ws = ask(chat).websocket("ws://testserver/")
    ws.send("one")
    ws.send("bye")
    assert ws.receive() == "one"
    with pytest.raises(icey.PeerClosed, match="4000 'as you say'"):
        ws.receive()
    ws.wait_closed()
    assert (ws.code, ws.reason) == (4000, "as you say")
    for verb in (ws.ping, lambda: ws.send("x"), ws.receive):
        with pytest.raises(icey.PeerClosed):
            verb()
    ws.close()


def test_a_websocket_whose_server_has_said_goodbye_and_not_closed_yet(ask):
    ws = ask(chat).websocket("/")
    ws.pause()
    ws.send("bye")
    ws.resume()
    assert ws.code == 4000 and not ws.closed
    for verb in (ws.ping, lambda: ws.send("x")):
        with pytest.raises(icey.PeerClosed, match="4000 'as you say'"):
            verb()
    ws.wait_closed()


def test_a_websocket_answers_pings_unless_it_hangs(ask):
    client = ask(chat)
    ws = client.websocket("/")
    client.advance(100.0)
    assert len(ws.pings) == 5 and not ws.closed
    ws.pause()
    with pytest.raises(icey.StateError):
        ws.receive()
    client.advance(100.0)
    ws.resume()
    ws.wait_closed()
    assert ws.code == 1006


def test_a_websocket_that_is_refused():
    with TestClient([Health(), chat]) as client:
        with pytest.raises(icey.HttpError) as caught:
            client.websocket("/health")
        assert caught.value.status == 200
        assert client.get("/").status == 426
        with pytest.raises(icey.Deadline, match="a message"):
            client.websocket("/").receive(timeout=1.0)


def test_a_server_that_stops_sends_its_websockets_home():
    with TestClient(chat) as client:
        ws = client.websocket("/")
        client.server.stop()
        ws.wait_closed()
        assert ws.code == 1001


def test_an_exception_inside_a_websocket_block_is_the_one_that_counts():
    with TestClient(chat) as client:
        with pytest.raises(LookupError):
            with client.websocket("/") as ws:
                raise LookupError
        assert ws.closed and ws.code == 1006


def test_a_server_that_breaks_the_protocol_is_told():
    with TestClient(lambda exchange: WebSocket.accept(exchange).stream.send_owned(b"\xff\x00")) as client:
        with pytest.raises(icey.WebSocketError):
            client.websocket("/").receive()


def test_what_a_websockets_slot_raises_leaves_the_call(ask):
    def handler(exchange):
        WebSocket.accept(exchange).on_message += lambda ws, data: boom(None)

    with pytest.raises(LookupError):
        ask(handler).websocket("/").send("x")


# raw connections

def test_half_a_head_is_late(ask):
    client = ask(hello)
    wire = client.connect()
    wire.send(b"GET / HTTP/1.1\r\nHo")
    client.advance(9.0)
    assert wire.take() == b""
    assert wire.read_until(b"\r\n").startswith(b"HTTP/1.1 408 ") and 10.0 <= client.clock() <= 11.0
    wire.read_all()
    assert wire.ended and wire.over
    wire.close()


@pytest.mark.parametrize("split", range(1, 44))
def test_a_request_in_two_pieces(split):
    request = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n" b"Host: h\r\n\r\nabc"
    with TestClient(told) as client, client.connect() as wire:
        wire.send(request[:split])
        client.advance(1.0)
        wire.send(request[split:])
        assert wire.read_until(b"}").count(b'"body":"abc"') == 1


def test_what_was_sent_before_a_reset_has_come(ask):
    came = []

    def handler(exchange):
        exchange.on_payload += lambda exchange, view: came.append(bytes(view))
        exchange.on_close += lambda exchange: came.append("closed")

    client = ask(handler)
    wire = client.connect()
    wire.send(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nabc")
    wire.reset()
    client.advance(0)
    assert came == [b"abc", "closed"]


def test_a_client_that_closes_is_found_out_as_over_a_network_behind_the_first_send(ask):
    sent, kept = [], []

    def handler(exchange):
        kept.append(exchange)
        exchange.on_close += lambda exchange: sent.append("closed")
        exchange.send(b"one")
        sent.append("sent")

    client = ask(handler)
    wire = client.connect()
    wire.send(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc")  # nobody reads: nor is the end seen
    wire.close()
    client.advance(1)
    assert sent == ["sent"]


def test_a_client_that_closes_with_an_answer_unread_is_a_reset(ask):
    over, kept = [], []

    def handler(exchange):
        kept.append(exchange)
        exchange.on_close += lambda exchange: over.append(1)
        exchange.send(b"one")

    client = ask(handler)
    wire = client.connect()
    wire.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    client.advance(0)
    assert not over
    wire.close()
    client.advance(0)
    assert over


def test_requests_in_a_row_and_a_half_closed_client(ask):
    wire = ask(hello).connect(peer=("192.0.2.7", 99))
    wire.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
    wire.half_close()
    assert wire.read_all().count(b"\r\n\r\nHello") == 3
    with pytest.raises(BrokenPipeError):
        wire.send(b"x")


def test_a_peer_that_takes_nothing_is_cut(ask):
    client = ask(lambda exchange: exchange.respond(200, bytes(1 << 20)))
    wire = client.connect()
    wire.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    client.advance(35.0)
    assert client.server.connections == ()
    with pytest.raises(ConnectionResetError):
        wire.read_all()
    assert len(wire.take()) > 60000


def test_reading_waits_in_virtual_time():
    with TestClient(hello) as client:
        wire = client.connect()
        with pytest.raises(icey.Deadline, match="waited 1 s .* 5 bytes; the server waits for a request"):
            wire.read(5, timeout=1.0)
        wire.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert wire.receive().startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_behind_a_proxy_says_who_it_is():
    loop, _ = virtual_loop(True)
    with loop:
        server = Server(loop, "127.0.0.1", 80, proxy_protocol="127.0.0.1")
        server.on_request += told
        with TestClient(server) as client:
            wire = client.connect()
            wire.send(b"PROXY TCP4 192.0.2.1 198.51.100.2 1000 80\r\n")
            with pytest.raises(icey.Deadline, match="waits for"):
                wire.read(1, timeout=0.5)
            wire.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b'"peer":"192.0.2.1:1000"' in wire.read_until(b"}")


def test_another_protocol_takes_over_and_has_the_wire(ask):
    class Echo(icey.Adapter):
        def on_data(self, view):
            self.send_owned(bytes(view).upper())

    def handler(exchange):
        exchange.response.status = 101
        exchange.response.headers["Connection"] = "Upgrade"
        exchange.response.headers["Upgrade"] = "shout"
        exchange.send_header()
        exchange.replace_adapter(Echo())

    client = ask(handler)
    answer = client.open("/", headers={"Connection": "Upgrade", "Upgrade": "shout"})
    assert answer.status == 101
    answer.wire.send(b"hello")
    assert answer.wire.read(5) == b"HELLO"
    answer.close()
    client.advance(1.0)
    assert client.server.connections == ()


# its end

def test_a_block_that_an_exception_leaves_says_nothing_else():
    with pytest.raises(LookupError):
        with TestClient(silent([])) as client:
            client.open = None
            client.connect().send(b"GET / HTTP/1.1\r\n")
            raise LookupError
    assert client.loop.closed and client.closed


def test_sockets_that_are_left_open_are_told():
    client = TestClient(hello)
    kept = icey.UDPSocket(client.loop)
    kept.bind(("127.0.0.1", 0))
    kept.on_recv += lambda *came: None
    with pytest.warns(ResourceWarning, match="UDPSocket"):
        client.close()
    client.close()


def test_an_exchange_that_was_never_answered_is_no_leak():
    kept = []
    with TestClient(silent(kept)) as client:
        with pytest.raises(icey.Deadline):
            client.get("/", timeout=1.0)
        wire = client.connect()
        wire.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert len(kept) == 2 and client.server.closed
    for call in (lambda: client.get("/"), client.connect, lambda: client.advance(1.0), lambda: client.wait_for(bool)):
        with pytest.raises(icey.StateError, match="closed"):
            call()


@pytest.mark.parametrize("debug", [False, True], ids=["release", "debug"])
def test_one_that_is_dropped_is_closed_without_a_word(debug):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client = TestClient(hello, debug=debug)
        client.get("/")
        loop, ws = client.loop, TestClient(chat, debug=debug).websocket("/")
        del client
        gc.collect()
        gc.collect()
    assert loop.closed and ws.wire is not None


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="what is gone PyPy finds out later")
@pytest.mark.parametrize("debug", [False, True], ids=["release", "debug"])
def test_nothing_of_a_client_waits_for_the_collector(debug):
    gc.collect()
    gc.disable()
    try:
        with TestClient(hello, debug=debug) as client, TestClient(chat, debug=debug) as other:
            client.get("/")
            with client.open("/") as answer, other.websocket("/") as ws:
                answer.read(1)
            gone = [weakref.ref(one) for one in (client, client.server, client.loop, answer.wire, other, ws)]
        del client, answer, other, ws
        assert [one() for one in gone] == [None] * len(gone)
    finally:
        gc.enable()


def test_unittest_and_pytest_take_none_of_it_for_a_test():
    assert TestClient.__test__ is False and TestWebSocket.__test__ is False
    assert "<TestClient of <Server" in repr(TestClient(hello))
