"""WebSocket.accept: the server's side of the handshake, on a connection."""
import pytest

import icey
from icey.http import ServerState, WebSocket, WebSocketState
from tests.support import http, lacks, websocket
from tests.support.websocket import BINARY, HANDSHAKE, PING, PONG, TEXT, Chat, Wire, noted, refusal

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site


def test_an_echo(site):
    chat = Chat(site)
    guest = chat.guest()
    assert guest.answer.reason == "Switching Protocols"
    assert guest.answer["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert (guest.answer["upgrade"], guest.answer["connection"]) == ("websocket", "Upgrade")
    assert "sec-websocket-protocol" not in guest.answer and "sec-websocket-extensions" not in guest.answer
    guest.send(TEXT, b"Hello")
    assert guest.read() == (TEXT, b"Hello")
    guest.send(BINARY, b"\xff\x00")
    assert guest.read() == (BINARY, b"\xff\x00")
    assert chat.events == [("connect",), ("message", "Hello"), ("message", b"\xff\x00")]


def test_it_is_open_at_once_and_on_connect_is_told_from_the_loop(site):
    states = []

    def slot(exchange):
        ws = WebSocket.accept(exchange)
        ws.on_connect += lambda ws: states.append("told")
        states.append(ws.state)
        assert ws.send("early") is True
        assert ws.stream is exchange.connection.stream and ws.loop is exchange.loop
        assert exchange.state is ServerState.UPGRADED and exchange.upgraded

    site.serve(slot)
    client = site.client()
    client.send(http.request("GET", "/", *HANDSHAKE))
    assert client.answer().status == 101
    assert Wire(client, True).read() == (TEXT, b"early")
    site.turn()
    assert states == [WebSocketState.OPEN, "told"]


def test_frames_behind_the_handshake_in_the_same_segment_come_after_on_connect(site):
    chat = Chat(site)
    wire = Wire(None, True)
    guest = chat.guest(behind=wire.frame(TEXT, b"one") + wire.frame(PING, b"two") + wire.frame(TEXT, b"three"))
    assert [guest.read() for _ in range(3)] == [(TEXT, b"one"), (PONG, b"two"), (TEXT, b"three")]
    assert chat.events == [("connect",), ("message", "one"), ("message", "three")]


@pytest.mark.parametrize("place", range(1, 12))
def test_a_frame_cut_anywhere_behind_the_handshake(site, place):
    chat = Chat(site)
    data = Wire(None, True).frame(TEXT, b"Hello")
    guest = chat.guest(behind=data[:place])
    guest.raw(data[place:])
    assert guest.read() == (TEXT, b"Hello")


def test_it_may_be_accepted_later(site, loop):
    """From a timer; what came meanwhile is not lost, nor told before on_connect."""
    exchanges, events = [], []
    site.serve(exchanges.append)
    client = site.client()
    wire = Wire(client, True)
    client.send(http.request("GET", "/", *HANDSHAKE) + wire.frame(TEXT, b"one"))
    site.until(lambda: exchanges)
    wire.send(TEXT, b"two")
    site.turn(3)

    def later():
        ws = WebSocket.accept(exchanges[0])
        noted(ws, events)
        ws.on_message += websocket.echo

    loop.call_later(60.0, later)
    site.wait(60.0)
    assert client.answer().status == 101
    assert [wire.read(), wire.read()] == [(TEXT, b"one"), (TEXT, b"two")]
    assert events == [("connect",), ("message", "one"), ("message", "two")]


def test_pipelined_requests_are_answered_before(site):
    def slot(exchange):
        if "upgrade" in exchange.request.headers:
            WebSocket.accept(exchange).on_message += websocket.echo
        else:
            exchange.respond(200, b"x")

    site.serve(slot)
    client = site.client()
    wire = Wire(client, True)
    client.send(http.request() * 2 + http.request("GET", "/", *HANDSHAKE) + wire.frame(TEXT, b"Hello"))
    assert [client.answer().status for _ in range(3)] == [200, 200, 101]
    assert wire.read() == (TEXT, b"Hello")


def changed(name, value):
    return [line for line in HANDSHAKE if not line.startswith(name)] + ([] if value is None else ["%s: %s" % (name, value)])


@pytest.mark.parametrize("fields, options, status", [
    ([], {}, 426),
    (changed("Upgrade", "h2c"), {}, 426),
    (changed("Connection", "close"), {}, 400),
    (changed("Sec-WebSocket-Version", "8"), {}, 426),
    (changed("Sec-WebSocket-Key", "short"), {}, 400),
    (changed("Sec-WebSocket-Key", None), {}, 400),
    ([*HANDSHAKE, "Origin: http://evil"], {}, 403),
    ([*HANDSHAKE, "Sec-WebSocket-Extensions: ;"], {}, 400),
    (HANDSHAKE, {"version": "1.0"}, 400),
    (HANDSHAKE, {"method": "POST"}, 400),
    ([*HANDSHAKE, "Content-Length: 5"], {}, 400),
])
def test_a_bad_handshake_is_answered(site, fields, options, status):
    chat = Chat(site, origins=["http://good"])
    answer = refusal(site, *fields, **options)
    assert answer.status == status
    if status == 426:
        assert answer["upgrade"] == "websocket"
        assert answer.get("sec-websocket-version") == ("13" if fields else None) or "h2c" in str(fields)
    assert chat.sockets == [] and chat.events == []


def test_the_connection_survives_a_bad_handshake(site):
    chat = Chat(site)
    client = site.client()
    client.send(http.request("GET", "/", *changed("Sec-WebSocket-Version", "7")))
    assert client.answer()["sec-websocket-version"] == "13"
    client.send(http.request("GET", "/", *HANDSHAKE))
    assert client.answer().status == 101
    wire = Wire(client, True)
    wire.send(TEXT, b"Hello")
    assert wire.read() == (TEXT, b"Hello") and len(chat.sockets) == 1


def test_the_slot_may_take_the_refusal(site):
    def slot(exchange):
        with pytest.raises(icey.HttpError) as info:
            WebSocket.accept(exchange)
        exchange.respond(200, b"plain, and %d" % info.value.status)

    site.serve(slot)
    assert site.client().get().body == b"plain, and 426"


def test_subprotocols_and_headers_of_your_own(site):
    def slot(exchange):
        exchange.response.headers.add("Set-Cookie", "a=b")
        ws = WebSocket.accept(exchange, subprotocols=("chat", "x"))
        ws.send(str(ws.subprotocol))

    site.serve(slot)
    for offered, chosen in (("x, chat", "chat"), ("x", "x"), ("y", None), (None, None)):
        client = site.client()
        client.send(http.request("GET", "/", *HANDSHAKE, *(["Sec-WebSocket-Protocol: " + offered] if offered else [])))
        answer = client.answer()
        assert answer["set-cookie"] == "a=b"
        assert answer.get("sec-websocket-protocol") == chosen
        assert Wire(client, True).read() == (TEXT, str(chosen).encode())


@pytest.mark.skipif(bool(lacks("zlib")), reason="this Python has no zlib")
def test_compression(site):
    chat = Chat(site)
    guest = chat.guest("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    assert guest.answer["sec-websocket-extensions"] == "permessage-deflate; client_max_window_bits=12"
    guest.send(TEXT, websocket.frames.packed(b"Hello " * 30), rsv=4)
    fin, rsv, opcode, payload = guest.read_frame()
    assert (fin, rsv, opcode) == (1, 4, TEXT) and len(payload) < 20
    assert websocket.frames.zlib.decompressobj(wbits=-15).decompress(payload) == b"Hello " * 30
    guest.send(TEXT, b"short")
    assert guest.read() == (TEXT, b"short")
    chat = Chat(site, compression=False)
    assert "sec-websocket-extensions" not in chat.guest("Sec-WebSocket-Extensions: permessage-deflate").answer


def test_accepting_twice_is_a_state_error(site):
    def slot(exchange):
        WebSocket.accept(exchange).on_message += websocket.echo
        with pytest.raises(icey.StateError):
            WebSocket.accept(exchange)
        with pytest.raises(icey.StateError):
            exchange.respond(200)

    site.serve(slot)
    client = site.client()
    client.send(http.request("GET", "/", *HANDSHAKE))
    assert client.answer().status == 101
    Wire(client, True).send(TEXT, b"Hello")
    assert Wire(client, True).read() == (TEXT, b"Hello")


def test_accepting_what_was_answered_is_a_state_error(site):
    def slot(exchange):
        exchange.respond(200, b"done")
        with pytest.raises(icey.StateError):
            WebSocket.accept(exchange)

    site.serve(slot)
    client = site.client()
    client.send(http.request("GET", "/", *HANDSHAKE))
    assert client.answer().body == b"done"


def test_accepting_when_the_client_has_gone_is_a_state_error(site):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.send(http.request("GET", "/", *HANDSHAKE))
    site.until(lambda: exchanges)
    exchanges[0].abort()
    assert site.gone()
    with pytest.raises(icey.StateError):
        WebSocket.accept(exchanges[0])


def test_a_client_that_has_sent_all_it_will_before_it_is_accepted(site):
    exchanges, events = [], []
    site.serve(exchanges.append)
    client = site.client()
    client.send(http.request("GET", "/", *HANDSHAKE) + Wire(None, True).frame(TEXT, b"last words"))
    client.half_close()
    site.until(lambda: exchanges)
    site.turn(3)
    noted(WebSocket.accept(exchanges[0]), events)
    assert client.answer().status == 101
    assert site.gone()
    site.turn(2)
    assert events == [("connect",), ("message", "last words"), ("error", "PeerClosed"), ("close", 1006, "")]


def test_the_reaper_spares_it(site):
    chat = Chat(site, limits={"keep_alive_timeout": 2.0, "head_timeout": 2.0, "body_timeout": 2.0, "write_timeout": 2.0},
                ping_interval=None)
    guest = chat.guest()
    site.wait(300.0)
    assert guest.silent()
    guest.send(TEXT, b"still there")
    assert guest.read() == (TEXT, b"still there")


def test_limits_are_the_servers_unless_given(site):
    chat = Chat(site, limits={"max_message": 5})
    assert chat.guest() and chat.ws.limits is site.server.limits
    chat = Chat(site, lambda ws: None, limits=None)
    site.serve(lambda exchange: chat.sockets.append(WebSocket.accept(exchange, limits=icey.Limits(max_message=7))))
    client = site.client()
    client.send(http.request("GET", "/", *HANDSHAKE))
    assert client.answer().status == 101
    assert chat.ws.limits.max_message == 7


@pytest.mark.parametrize("options, error", [
    ({"ping_interval": 0}, ValueError), ({"ping_interval": -1.0}, ValueError), ({"ping_interval": float("nan")}, ValueError),
    ({"ping_interval": float("inf")}, ValueError),
    ({"subprotocols": "chat"}, TypeError), ({"subprotocols": ["a b"]}, ValueError), ({"origins": "http://a"}, TypeError),
])
def test_what_cannot_be(site, options, error):
    def slot(exchange):
        with pytest.raises(error):
            WebSocket.accept(exchange, **options)
        exchange.respond(200, b"as if nothing was")

    site.serve(slot)
    client = site.client()
    client.send(http.request("GET", "/", *HANDSHAKE))
    assert client.answer().body == b"as if nothing was"


def test_what_it_looks_like(site):
    chat = Chat(site)
    guest = chat.guest()
    assert repr(chat.ws) == "<WebSocket 127.0.0.1:%d, open>" % guest.peer.sock.getsockname()[1]
    guest.bye(1000)
    assert guest.read()
    assert site.gone()
    site.turn(2)
    assert repr(chat.ws).endswith(", closed>")
