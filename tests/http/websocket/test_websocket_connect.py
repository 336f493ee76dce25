"""WebSocket.connect: the client's side of the handshake, on a connection."""
import socket

import pytest

import icey
from icey.http import WebSocket, WebSocketState
from tests.support import http, lacks, websocket
from tests.support.websocket import BINARY, PING, PONG, TEXT, Chat, Wire, frame, noted

debug, clock, reports, loop, site, host = http.debug, http.clock, http.reports, http.loop, http.site, websocket.host


def test_what_it_asks_for(host, loop):
    ws = WebSocket.connect(loop, host.url, compression=False)
    head = host.asked()
    assert host.line == "GET /path?query HTTP/1.1"
    assert (head["upgrade"], head["connection"], head["sec-websocket-version"]) == ("websocket", "Upgrade", "13")
    assert head["host"] == host.url[5:].partition("/")[0]
    assert "sec-websocket-protocol" not in head and "sec-websocket-extensions" not in head
    ws.abort()


def test_headers_of_your_own_and_subprotocols(host, loop):
    ws = WebSocket.connect(loop, host.url, headers={"Origin": "http://a", "Upgrade": "nonsense", "Cookie": "a=b"},
                           subprotocols=("chat", "x"))
    events = noted(ws)
    head = host.asked()
    assert (head["origin"], head["cookie"], head["sec-websocket-protocol"]) == ("http://a", "a=b", "chat, x")
    assert head["upgrade"] == "websocket"
    host.answers("Sec-WebSocket-Protocol: x")
    host.until(lambda: events)
    assert events == [("connect",)] and ws.subprotocol == "x"
    ws.abort()


def test_it_is_connecting_then_open(host, loop):
    ws = WebSocket.connect(loop, host.url)
    events = noted(ws)
    assert ws.state is WebSocketState.CONNECTING and not ws.closing and ws.stream is None and ws.queued == 0
    assert repr(ws) == "<WebSocket of nobody yet, connecting>"
    for call in (lambda: ws.send("x"), lambda: ws.send_piece("x"), ws.ping):
        with pytest.raises(icey.StateError, match="before on_connect"):
            call()
    host.asked()
    host.until(lambda: ws.client.stream is not None)
    with pytest.raises(icey.StateError, match="start, then send"):
        ws.send("x")
    host.answers()
    host.until(lambda: events)
    assert ws.state is WebSocketState.OPEN and ws.stream is not None
    assert ws.send("Hello") is True
    assert host.wire.read() == (TEXT, b"Hello")
    host.wire.send(BINARY, b"\0")
    host.until(lambda: len(events) > 1)
    assert events == [("connect",), ("message", b"\0")]
    ws.abort()


def test_frames_behind_the_answer_in_the_same_segment_come_after_on_connect(host):
    ws = host.connects(behind=frame(TEXT, b"one") + frame(PING, b"two") + frame(TEXT, b"three"))
    events = noted(ws)
    assert host.wire.read() == (PONG, b"two")
    host.until(lambda: len(events) == 3)
    assert events == [("connect",), ("message", "one"), ("message", "three")]
    ws.abort()


@pytest.mark.parametrize("place", range(1, 7))
def test_a_frame_cut_anywhere_behind_the_answer(host, place):
    data = frame(TEXT, b"Hello")
    ws = host.connects(behind=data[:place])
    events = noted(ws)
    host.wire.raw(data[place:])
    host.until(lambda: len(events) == 2)
    assert events == [("connect",), ("message", "Hello")]
    ws.abort()


def failed(host, ws, errors):
    """on_error was told, then on_close, and nothing else."""
    events = noted(ws)
    ws.on_error += lambda ws, exc: errors.append(exc)
    host.until(lambda: ws.closed)
    assert [event[0] for event in events] == ["error", "close"] and events[-1] == ("close", 1006, "")
    assert ws.state is WebSocketState.CLOSED and ws.stream is None
    return errors[0]


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 426, 500, 503])
def test_another_status_is_an_http_error_with_the_answer(host, loop, status):
    ws = WebSocket.connect(loop, host.url)
    host.asked()
    host.wire.raw(b"HTTP/1.1 %d What\r\nX-Why: because\r\nContent-Length: 0\r\n\r\n" % status)
    exc = failed(host, ws, [])
    assert type(exc) is icey.HttpError and exc.status == status
    assert exc.response.status == status and exc.response.headers["x-why"] == "because"


def answer(*changes):
    """A good answer's lines but for the Accept, with some replaced."""
    lines = {"upgrade": "Upgrade: websocket", "connection": "Connection: Upgrade"}
    for name, line in changes:
        lines[name] = line
    return [line for line in lines.values() if line]


@pytest.mark.parametrize("code, lines", [
    (1002, answer(("accept", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))),
    (1002, answer(("accept", None))),
    (1002, answer(("upgrade", "Upgrade: h2c"))),
    (1002, answer(("protocol", "Sec-WebSocket-Protocol: never-offered"))),
    (1010, answer(("extension", "Sec-WebSocket-Extensions: x-unknown"))),
    (1010, answer(("extension", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8"))),
    (1010, answer(("extension", "Sec-WebSocket-Extensions: ;"))),
])
def test_an_answer_that_breaks_the_rules_is_a_web_socket_error_with_the_answer(host, loop, code, lines):
    ws = WebSocket.connect(loop, host.url, subprotocols=["chat"])
    host.asked()
    if not any("Accept" in line for line in lines) and "h2c" not in str(lines) and len(lines) > 2:
        lines = [*lines, "Sec-WebSocket-Accept: " + websocket.accept_key(host.head["sec-websocket-key"])]
    host.wire.raw("\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines]).encode() + b"\r\n\r\n")
    exc = failed(host, ws, [])
    assert type(exc) is icey.WebSocketError and exc.close_code == code
    assert exc.response.status == 101


def test_no_http_at_all(host, loop):
    ws = WebSocket.connect(loop, host.url)
    host.asked()
    host.wire.raw(b"SSH-2.0-nonsense\r\n\r\n")
    assert isinstance(failed(host, ws, []), icey.HttpError)


def test_the_end_instead_of_an_answer(host, loop):
    ws = WebSocket.connect(loop, host.url)
    host.asked()
    host.wire.close()
    assert isinstance(failed(host, ws, []), icey.PeerClosed)


def test_nobody_there(host, loop):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert isinstance(failed(host, WebSocket.connect(loop, "ws://127.0.0.1:%d" % port), []), icey.ConnectError)


def test_the_handshake_has_a_deadline(host, loop):
    ws = WebSocket.connect(loop, host.url, limits=icey.Limits(handshake_timeout=3.0))
    errors = []
    ws.on_error += lambda ws, exc: errors.append(exc)
    host.asked()
    host.wait(2.9)
    assert not errors and ws.state is WebSocketState.CONNECTING
    host.wait(0.2)
    assert isinstance(errors[0], icey.Deadline) and ws.closed
    assert str(errors[0]) == "no WebSocket handshake with %s within 3 s" % host.url.split("/")[2]


def test_a_handshake_without_a_deadline(host, loop):
    ws = WebSocket.connect(loop, host.url, limits=icey.Limits(handshake_timeout=None, answer_timeout=None), ping_interval=None)
    events = noted(ws)
    host.asked()
    host.wait(1000.0)
    assert events == []
    host.answers()
    host.until(lambda: events)
    assert events == [("connect",)]
    ws.abort()


def test_the_deadline_is_over_with_the_handshake(host):
    ws = host.connects(limits=icey.Limits(handshake_timeout=3.0, answer_timeout=1.0, body_timeout=1.0), ping_interval=None)
    events = noted(ws)
    host.wait(100.0)
    assert events == [("connect",)]
    ws.abort()


@pytest.mark.parametrize("verb", ["close", "abort"])
@pytest.mark.parametrize("asked", [False, True])
def test_closing_before_it_is_open_tells_on_close_only(host, loop, verb, asked):
    ws = WebSocket.connect(loop, host.url)
    events = noted(ws)
    if asked:
        host.asked()
    getattr(ws, verb)()
    assert ws.closing and events == []
    host.until(lambda: ws.closed)
    host.wait(20.0)
    assert events == [("close", 1006, "")]
    assert loop.handles == ()


@pytest.mark.parametrize("url, error", [
    ("ftp://a:21/", ValueError), ("a", ValueError), ("ws://a/#fragment", ValueError), ("ws://a:0/", ValueError),
    (b"ws://a", TypeError),
])
def test_urls_that_cannot_be(loop, url, error):
    with pytest.raises(error):
        WebSocket.connect(loop, url)
    assert loop.handles == ()


@pytest.mark.parametrize("options", [
    {"headers": {"X": "a\r\nb"}}, {"subprotocols": ["a b"]}, {"subprotocols": ["a", "a"]}, {"ping_interval": 0},
    {"proxy": "socks://a"},
])
def test_options_that_cannot_be(loop, options):
    with pytest.raises(ValueError):
        WebSocket.connect(loop, "ws://127.0.0.1:1/", **options)
    assert loop.handles == ()


def test_an_http_url_does_as_well(host, loop):
    ws = WebSocket.connect(loop, host.url.replace("ws://", "http://"))
    events = noted(ws)
    host.accepts()
    host.until(lambda: events)
    assert events == [("connect",)]
    ws.abort()


@pytest.mark.skipif(bool(lacks("zlib")), reason="this Python has no zlib")
def test_compression_is_offered_and_used_where_it_is_agreed_on(host, loop):
    ws = WebSocket.connect(loop, host.url)
    assert host.asked()["sec-websocket-extensions"] == "permessage-deflate; client_max_window_bits"
    host.answers("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10; server_no_context_takeover")
    events = noted(ws)
    host.wire.send(TEXT, websocket.frames.packed(b"Hello " * 30), rsv=4)
    host.wire.send(TEXT, websocket.frames.packed(b"Hello " * 30), rsv=4)
    host.until(lambda: len(events) == 3)
    assert events[1:] == [("message", "Hello " * 30)] * 2
    ws.send("Hello " * 30)
    fin, rsv, opcode, payload = host.wire.read_frame()
    assert rsv == 4 and websocket.frames.zlib.decompressobj(wbits=-10).decompress(payload) == b"Hello " * 30
    ws.abort()


def test_without_an_agreement_nothing_is_compressed(host):
    ws = host.connects()
    events = noted(ws)
    host.until(lambda: events)
    ws.send("Hello " * 30)
    assert host.wire.read() == (TEXT, b"Hello " * 30)
    ws.abort()


def test_an_interim_answer_is_skipped(host, loop):
    ws = WebSocket.connect(loop, host.url)
    events = noted(ws)
    host.asked()
    host.wire.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    host.answers()
    host.until(lambda: events)
    assert events == [("connect",)]
    ws.abort()


def test_pausing_before_it_is_open_holds_the_first_message_back(host, loop):
    ws = WebSocket.connect(loop, host.url)
    events = noted(ws)
    ws.pause()
    host.accepts(behind=frame(TEXT, b"one"))
    host.wire.send(TEXT, b"two")
    host.until(lambda: events)
    host.wait(1.0)
    assert events == [("connect",)]
    ws.resume()
    host.until(lambda: len(events) == 3)
    assert events[1:] == [("message", "one"), ("message", "two")]
    ws.abort()


def test_pausing_and_resuming_before_it_is_open(host, loop):
    ws = WebSocket.connect(loop, host.url, ping_interval=None)
    events = noted(ws)
    ws.pause()
    ws.resume()
    host.accepts(behind=frame(TEXT, b"one"))
    host.until(lambda: len(events) == 2)
    assert events == [("connect",), ("message", "one")]
    ws.abort()


def test_an_unreffed_one_lets_the_loop_end(site, loop):
    chat = Chat(site)
    ws = WebSocket.connect(loop, chat.url, ping_interval=None)
    site.until(lambda: chat.events and ws.announced)
    for handle in (site.server, site.server._listener, chat.ws, ws):
        handle.unref()
    loop.run()  # returns
    ws.ref()
    loop.call_later(1.0, ws.close)
    loop.run()
    assert ws.closed and not site.server.closed


def test_both_ends_ours(site, loop):
    chat = Chat(site, subprotocols=["chat"])
    ws = WebSocket.connect(loop, chat.url, subprotocols=["chat"])
    events = noted(ws)
    ws.on_connect += lambda ws: ws.send("Hello")
    site.until(lambda: len(events) == 2)
    assert ws.subprotocol == chat.ws.subprotocol == "chat"
    ws.close(4000, "that was it")
    site.until(lambda: ws.closed and chat.ws.closed)
    assert events == [("connect",), ("message", "Hello"), ("close", 4000, "")]
    assert chat.events == [("connect",), ("message", "Hello"), ("close", 4000, "that was it")]


def test_masking_is_the_clients(host):
    ws = host.connects()
    host.until(lambda: ws.announced)
    ws.send("x" * 100000)
    assert host.wire.read() == (TEXT, b"x" * 100000)  # Wire requires it
    ws.abort()
    assert Wire(None, False).frame(TEXT, b"a") == b"\x81\x01a"
