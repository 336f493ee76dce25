"""Handlers, tested: no socket, no port, no waiting. `app` stands for a program of yours, which a test imports."""
import json

import pytest

import icey
from icey.tools.testing import TestClient, virtual_loop


def app(exchange):
    """The program: it answers at once, later, piece by piece, by WebSocket; and one path has a bug."""
    path = exchange.request.path
    if path == "/hello":
        exchange.respond(200, b"Hello", "text/plain")
    elif path == "/sum":
        exchange.collect(lambda exchange, body: exchange.respond_json(sum(json.loads(body))))
    elif path == "/slow":
        exchange.loop.call_later(20.0, exchange.respond, 200, b"at last")
    elif path == "/ticks":
        exchange.response.headers["Content-Type"] = "text/event-stream"
        exchange.begin_streaming()
        tick = icey.Timer(exchange.loop, 1.0, lambda timer: exchange.send_owned(b"data: %d\n\n" % timer.count), interval=1.0)
        tick.start()
        exchange.on_close += lambda exchange: tick.stop()
    elif path == "/chat":
        ws = icey.http.WebSocket.accept(exchange)
        ws.on_message += lambda ws, data: ws.send(data.upper())
    elif path == "/bug":
        exchange.respond(200, b"%d" % (1 // 0))
    else:
        exchange.respond(404)


@pytest.fixture
def client():
    with TestClient(app) as client:
        yield client


def test_hello():
    client = TestClient(app)
    answer = client.get("/hello")
    assert answer.status == 200
    assert answer.text() == "Hello"
    assert client.get("/nothing").status == 404


def test_a_body_goes_in_and_json_comes_out(client):
    assert client.post("/sum", json=[1, 2, 3]).json() == 6


def test_twenty_seconds_take_no_time(client):
    assert client.get("/slow").body == b"at last"
    assert client.clock() == 20.0


def test_a_bug_is_an_exception_of_the_test(client):
    with pytest.raises(ZeroDivisionError):
        client.get("/bug")


def test_a_bug_as_a_real_client_meets_it():
    with TestClient(app, raise_exceptions=False) as client:
        assert client.get("/bug").status == 500
        assert isinstance(client.errors[0], ZeroDivisionError)


def test_events_come_one_a_second(client):
    with client.open("/ticks") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.read_until(b"\n\n") == b"data: 1\n\n"
        client.advance(2.0)
        assert answer.receive() == b"data: 2\n\ndata: 3\n\n"


def test_a_timer_ends_with_the_client_that_it_served(client):
    client.open("/ticks").close()
    client.advance(1.0)
    assert not [handle for handle in client.loop.handles if isinstance(handle, icey.Timer) and handle.has_ref]


def test_a_chat(client):
    with client.websocket("/chat") as ws:
        ws.send("hello")
        assert ws.receive() == "HELLO"
    assert ws.code == 1000


def test_files_and_whatever_else_is_a_slot(tmp_path):
    (tmp_path / "page.html").write_text("<p>Hi")
    with TestClient([icey.http.Health(), icey.http.StaticFiles(str(tmp_path))]) as client:
        assert client.get("/health").status == 200
        assert client.get("/page.html").headers["content-type"].startswith("text/html")


def test_a_whole_server_on_a_loop_of_the_test():
    loop, clock = virtual_loop(debug=True)
    with loop:
        server = icey.http.Server(loop, "127.0.0.1", 8000, name="mine")
        server.on_request += app
        with TestClient(server) as client:
            assert client.get("/hello").headers["server"] == "mine"
