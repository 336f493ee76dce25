"""HTTP, HTTPS and WebSocket by a SOCKS5 proxy, which the raw server plays before it is the server. TCP: net/test_socks.py."""
import pytest

import icey
from icey import ConnectError, Deadline
from icey.http import BasicAuth, ClientConnection, Proxy, WebSocket, fetch
from icey.http.websocket.handshake import accept_key
from icey.net import dns
from tests.support import rawserver, socks

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

LOGIN = ("us er", "s:cret@")


def client(raw, scheme="socks5h", userinfo="", **options):
    """A Client whose proxy is the raw server."""
    return raw.client(proxy=raw.url("", userinfo=userinfo, scheme=scheme), **options)


def through(raw, url="http://a.test/x?y", *, client_=None, **options):
    return raw.ask(client=client_ or client(raw), url=url, **options)


def test_a_request_is_as_one_without_a_proxy(raw):
    call = through(raw)
    server = raw.accept()
    assert socks.serve(server) == ("name", "a.test", 80)
    asked = server.reply(b"hello")
    assert asked.line == "GET /x?y HTTP/1.1" and asked["host"] == "a.test" and "proxy-authorization" not in asked
    assert call.answer().body == b"hello"


def test_user_and_password_are_for_the_proxy_alone(raw):
    call = through(raw, client_=client(raw, userinfo="us%20er:s%3Acret%40@"), headers={"Proxy-Authorization": "Own x"})
    server = raw.accept()
    assert socks.serve(server, login=LOGIN) == ("name", "a.test", 80)
    asked = server.reply(b"hello")
    assert "proxy-authorization" not in asked and "authorization" not in asked
    assert call.answer().body == b"hello"


@pytest.mark.parametrize("scheme, url, asked", [
    ("socks5", "http://127.0.0.1/", ("IPv4", "127.0.0.1", 80)),
    ("socks5h", "http://[2001:db8::1]:81/", ("IPv6", "2001:db8::1", 81)),
    ("socks5", "http://[2001:db8::1]/", ("IPv6", "2001:db8::1", 80)), ("socks5h", "ws://a.test/", None)])
def test_what_the_proxy_is_asked_for(raw, scheme, url, asked):
    if asked is None:
        with pytest.raises(ValueError):
            through(raw, url, client_=client(raw, scheme))
        return
    call = through(raw, url, client_=client(raw, scheme))
    server = raw.accept()
    assert socks.serve(server) == asked
    server.reply(b"hello")
    call.answer()


def test_names_are_looked_up_here_with_socks5(raw, monkeypatch):
    monkeypatch.setattr(dns, "look_up", lambda address: [icey.Address("192.0.2.1", address.port)])
    call = through(raw, client_=client(raw, "socks5"))
    server = raw.accept()
    assert socks.serve(server) == ("IPv4", "192.0.2.1", 80)
    assert server.reply(b"hello")["host"] == "a.test"
    call.answer()


def test_a_connection_is_kept_and_each_origin_has_its_own(raw):
    user = client(raw)
    call = through(raw, client_=user)
    server = raw.accept()
    socks.serve(server)
    server.reply(b"1")
    call.answer()
    call = through(raw, client_=user)
    assert server.reply(b"2").line == "GET /x?y HTTP/1.1"  # no handshake any more
    assert call.answer().body == b"2" and raw.nobody()
    call = through(raw, "http://b.test/", client_=user)
    other = raw.accept()
    assert socks.serve(other) == ("name", "b.test", 80)
    other.reply(b"3")
    call.answer()


def test_a_redirect_goes_by_the_proxy_too(raw):
    call = through(raw, headers={"Proxy-Authorization": "Own x"})
    server = raw.accept()
    socks.serve(server)
    server.reply(b"", "Location: http://b.test/there", status="302 Found")
    second = raw.accept()
    assert socks.serve(second) == ("name", "b.test", 80)
    asked = second.reply(b"hello")
    assert asked.target == "/there" and "proxy-authorization" not in asked
    call.answer()


def test_a_407_of_the_server_is_an_answer(raw):
    call = through(raw)
    server = raw.accept()
    socks.serve(server)
    server.reply(b"", 'Proxy-Authenticate: Basic realm="x"', status="407 Who")
    assert call.answer().status == 407


def test_refusals_say_which(raw):
    user = client(raw, userinfo="us%20er:s%3Acret%40@")
    call = through(raw, client_=user)
    assert socks.serve(raw.accept(), login=LOGIN, reply=socks.refusal(5)) == ("name", "a.test", 80)
    error = call.error(ConnectError)
    assert "could not connect to a.test:80: connection refused (reply 5)" in str(error)
    assert [str(at) for at, _ in error.attempts] == [raw.authority]
    call = through(raw, client_=user)
    assert socks.serve(raw.accept(), login=("other", "one"), admit=False) is None
    error = call.error(ConnectError)
    assert "refused user name and password" in str(error) and "cret" not in str(error) + repr(error.attempts)
    call = through(raw)
    assert socks.serve(raw.accept(), login=LOGIN) is None
    assert "wants more than a client without user name and password" in str(call.error(ConnectError))


def test_a_server_of_http_that_is_taken_for_a_proxy(raw):
    call = through(raw)
    raw.accept().send(rawserver.answer(b"what?", status="400 Bad Request"))
    assert "is no SOCKS5 server: it speaks HTTP, maybe" in str(call.error(ConnectError))


def test_a_proxy_that_is_not_there(raw):
    raw.stop_listening()
    assert "no way to the SOCKS proxy" in str(through(raw).error(ConnectError))


def test_a_proxy_that_says_nothing_is_under_connect_timeout(raw):
    call = through(raw, client_=client(raw, limits={"connect_timeout": 3.0}, timeout=None))
    raw.accept()
    raw.turn(3)
    raw.wait(2.9)
    assert not call.over
    raw.wait(0.2)
    error = call.error(ConnectError)
    assert isinstance(error.attempts[0][1], Deadline) and "does not answer" in str(error)


def test_a_client_connection_and_bytes_behind_the_reply(raw):
    conn = raw.connection(url="http://a.test/", proxy=raw.url("", scheme="socks5h"), headers={"Proxy-Authorization": "x"})
    conn.start()
    server = raw.accept()
    socks.serve(server, reply=socks.OPEN_NAME + rawserver.answer(b"early"))  # in one segment with the answer
    assert raw.story(conn)[0] == 200
    assert "proxy-authorization" not in server.head()
    conn.abort()


@pytest.mark.parametrize("url", ["http://a.test/", "ws://a.test/"])
def test_close_while_the_proxy_is_asked(raw, url):
    conn = ClientConnection(raw.loop, url, proxy=raw.url("", scheme="socks5h"))
    seen = rawserver.record(conn)
    conn.start()
    server = raw.accept()
    assert server.read(3) == b"\x05\x01\x00"
    conn.close()
    raw.turn(3)
    assert rawserver.story(seen) == ["close"] and server.gone()


@pytest.mark.parametrize("options, text", [
    ({"auth": BasicAuth("user", "secret")}, "user name and password in its URL"), ({"tls": object()}, "and no TLS")])
def test_what_does_not_go_with_a_socks_proxy(options, text):
    with pytest.raises(ValueError, match=text):
        Proxy("socks5://127.0.0.1", **options)


@pytest.mark.parametrize("url", ["socks5://secret@p.test", "socks5h://user:" + "secret" * 50 + "@p.test", "socks5://p.test/path"])
def test_urls_that_are_none(loop, url):
    for make in (lambda: Proxy(url), lambda: icey.http.Client(loop, proxy=url),
                 lambda: ClientConnection(loop, "http://a.test/", proxy=url),
                 lambda: WebSocket.connect(loop, "ws://a.test/", proxy=url), lambda: fetch("http://a.test/", proxy=url)):
        with pytest.raises(ValueError) as caught:
            make()
        assert "secret" not in str(caught.value)


def test_what_a_proxy_shows():
    proxy = Proxy("socks5h://user:secret@p.test")
    assert repr(proxy) == "<Proxy p.test>" and proxy.auth is None and "secret" not in repr(proxy.socks)
    assert proxy.url.port == 1080 and proxy.socks.remote and not Proxy("socks5://p.test:1").socks.remote


# WebSocket

def test_a_websocket(raw):
    ws = WebSocket.connect(raw.loop, "ws://a.test/chat", proxy=raw.url("", scheme="socks5h"), compression=False)
    seen = []
    ws.on_message += lambda ws, data: seen.append(data)
    server = raw.accept()
    assert socks.serve(server) == ("name", "a.test", 80)
    asked = server.head()
    assert asked.line == "GET /chat HTTP/1.1"
    server.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                + accept_key(asked["sec-websocket-key"]).encode("ascii") + b"\r\n\r\n\x81\x05hello")
    raw.until(lambda: seen)
    assert seen == ["hello"]
    ws.abort()


def test_a_websocket_that_is_refused(raw):
    ws = WebSocket.connect(raw.loop, "ws://a.test/", proxy=raw.url("", scheme="socks5h"))
    seen = []
    ws.on_error += lambda ws, exc: seen.append(exc)
    socks.serve(raw.accept(), reply=socks.refusal(2))
    raw.until(lambda: seen)
    assert "not allowed by its rules (reply 2)" in str(seen[0])
