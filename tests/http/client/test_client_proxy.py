"""HTTP proxies: plain requests in absolute form, CONNECT for others, credentials, refusals. TLS inside: test_client_tls."""
import gc
import sys
import weakref

import pytest

import icey
import icey.net
from icey import BadResponse, ConnectError, Deadline, PeerClosed
from icey.http import BasicAuth, ClientConnection, Proxy, Request
from tests.support import rawserver, streams
from tests.support.rawserver import answer

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

BASIC = "Basic dXNlcjpzZWNyZXQ="


def through(raw, url="http://a.test/x?y", *, proxy=None, limits=None, **options):
    """A call through a proxy, which is the raw server."""
    return raw.ask(client=raw.client(proxy=proxy or raw.url(), limits=limits), url=url, **options)


# plain requests

def test_a_plain_request_is_in_absolute_form(raw):
    call = through(raw)
    asked = raw.accept().reply(b"hello")
    assert asked.line == "GET http://a.test/x?y HTTP/1.1" and asked["host"] == "a.test"
    assert "proxy-authorization" not in asked
    assert call.answer().body == b"hello" and str(call.answer().url) == "http://a.test/x?y"


@pytest.mark.parametrize("target, sent", [("/", "http://a.test:81/"), ("/a?b", "http://a.test:81/a?b"), ("*", "http://a.test:81"),
                                          ("http://b.test/", "http://b.test/"), ("?", "?")])
def test_targets(raw, target, sent):
    conn = raw.connection(url="http://a.test:81/", proxy=raw.url())
    conn.start(Request("OPTIONS", target, "1.1", []))
    assert raw.accept().reply().line == "OPTIONS %s HTTP/1.1" % sent
    assert raw.story(conn) == [200, "complete"]


def test_a_connect_of_ones_own_stays_as_it_is(raw):
    conn = raw.connection(url="http://a.test/", proxy=raw.url())
    conn.start(Request("CONNECT", "b.test:443", "1.1", []))
    assert raw.accept().head().line == "CONNECT b.test:443 HTTP/1.1"
    conn.abort()


@pytest.mark.parametrize("how", ["url", "auth"])
def test_basic_is_sent_to_the_proxy_at_once(raw, how):
    proxy = raw.url(userinfo="user:secret@") if how == "url" else Proxy(raw.url(), auth=BasicAuth("user", "secret"))
    call = through(raw, proxy=proxy, auth=BasicAuth("other", "one"))
    asked = raw.accept().reply(b"hello")
    assert asked["proxy-authorization"] == BASIC and asked["authorization"] != BASIC
    call.answer()
    assert "secret" not in repr(Proxy.of(proxy))


def test_proxy_authorization_of_ones_own_wins(raw):
    call = through(raw, proxy=raw.url(userinfo="user:secret@"), headers={"Proxy-Authorization": "own"})
    assert raw.accept().reply(b"hello")["proxy-authorization"] == "own"
    call.answer()


def test_connections_to_a_proxy_are_kept_by_origin(raw):
    client = raw.client(proxy=raw.url())
    calls = [raw.ask(client=client, url="http://%s.test/" % name) for name in "ab"]
    servers = [raw.accept(), raw.accept()]
    assert sorted(server.reply(b"x")["host"] for server in servers) == ["a.test", "b.test"]
    for call in calls:
        call.answer()
    call = raw.ask(client=client, url="http://a.test/again")
    raw.turn(3)
    assert raw.nobody()
    call.close()


def test_a_redirect_goes_through_the_proxy_too(raw):
    call = through(raw, headers={"Authorization": "Bearer x"}, proxy=raw.url(userinfo="user:secret@"))
    server = raw.accept()
    server.reply(b"", "Location: http://b.test/there", status="302 Found")
    second = raw.accept()
    asked = second.reply(b"hello")
    assert asked.target == "http://b.test/there" and asked["proxy-authorization"] == BASIC and "authorization" not in asked
    call.answer()


def test_a_proxy_that_is_not_there(raw):
    raw.stop_listening()
    assert through(raw).error(ConnectError).attempts


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1/", "socks4://127.0.0.1:1080", "127.0.0.1:8080", "", "http://a b/"])
def test_what_is_no_proxy(loop, proxy):
    for make in (lambda: Proxy(proxy), lambda: icey.http.Client(loop, proxy=proxy),
                 lambda: ClientConnection(loop, "http://a.test/", proxy=proxy)):
        with pytest.raises(ValueError):
            make()


def test_a_proxy_of_several_kinds(loop):
    proxy = Proxy("http://user:secret@127.0.0.1:8080")
    assert Proxy.of(proxy) is proxy and Proxy.of(None) is None
    assert repr(Proxy.of("http://127.0.0.1:8080")) == "<Proxy 127.0.0.1:8080>" == repr(proxy)
    assert ClientConnection(loop, "http://a.test/", proxy=proxy).proxy is proxy


# CONNECT, as far as it goes without TLS

needs_ssl = pytest.mark.needs("ssl")


def asked_for_tunnel(raw, host="a.test", proxy=None, limits=None):
    """A call to https through a proxy, the proxy's end, and what it was asked."""
    call = through(raw, "https://%s/x" % host, proxy=proxy, limits=limits)
    server = raw.accept()
    return call, server, server.head()


@needs_ssl
@pytest.mark.parametrize("host, where", [("a.test", "a.test:443"), ("a.test:8443", "a.test:8443"), ("[::1]", "[::1]:443"),
                                         ("[::1]:8443", "[::1]:8443"), ("127.0.0.1", "127.0.0.1:443")])
def test_what_a_tunnel_is_asked_for_by(raw, host, where):
    call, server, asked = asked_for_tunnel(raw, host)
    assert asked.line == "CONNECT %s HTTP/1.1" % where and asked.fields == [("host", where)]
    call.close()


@needs_ssl
def test_credentials_go_to_the_proxy_alone(raw):
    call, server, asked = asked_for_tunnel(raw, proxy=raw.url(userinfo="user:secret@"))
    assert asked["proxy-authorization"] == BASIC
    call.close()


@needs_ssl
@pytest.mark.parametrize("status, words", [
    ("403 Forbidden", "403 Forbidden"), ("502 Odd", "502 Odd"), ("404 ", "404 Not Found"), ("301 Moved", "301"),
    ("407 Authenticate", "407"), ("999 ", "999"),
])
def test_a_tunnel_that_is_refused(raw, status, words):
    call, server, _ = asked_for_tunnel(raw)
    server.send(answer(b"go away", "Location: http://x/", status=status))
    error = call.error(ConnectError)
    assert "refused the tunnel to a.test" in str(error) and words in str(error)
    assert server.gone() and raw.nobody()


@needs_ssl
@pytest.mark.parametrize("user", ["", "user:secret@"])
def test_a_407_that_nobody_can_answer(raw, user):
    call, server, _ = asked_for_tunnel(raw, proxy=raw.url(userinfo=user))
    server.send(answer(b"", "Proxy-Authenticate: Basic realm=x", status="407 Proxy Authentication Required"))
    error = call.error(ConnectError)
    assert "407" in str(error) and "secret" not in str(error)


@needs_ssl
def test_interim_answers_are_skipped(raw):
    call, server, _ = asked_for_tunnel(raw)
    server.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + answer(status="403 Forbidden"))
    call.error(ConnectError)


GARBAGE = {
    "garbage": b"garbage\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "bytes behind": b"HTTP/1.1 200 OK\r\n\r\nx",
    "a body behind": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "too much of interim answers": (b"HTTP/1.1 102 Processing\r\nA: %s\r\n\r\n" % (b"a" * 60000)) * 5,
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20000,
}


@needs_ssl
@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_a_tunnel_answered_by_garbage(raw, data):
    call, server, _ = asked_for_tunnel(raw)
    try:
        server.send(data)
    except OSError:
        pass
    call.error(BadResponse)
    assert server.gone()


@needs_ssl
@pytest.mark.parametrize("sent", [b"garbage\r\n\r\n", b"HTTP/1.1 20"], ids=["garbage", "the end"])
def test_nothing_of_a_tunnel_that_failed_waits_for_the_collector(raw, sent):
    call, server, _ = asked_for_tunnel(raw)
    gone = [weakref.ref(connection._dialer.stream) for connection in raw.clients[-1].pool.connections]
    gc.disable()
    try:
        server.send(sent)
        server.half_close()
        call.error((BadResponse, PeerClosed))
        raw.turn(3)
        if streams.PYPY:
            streams.collect()
        assert [stream() for stream in gone] == [None]
    finally:
        gc.enable()


@needs_ssl
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200"])
@pytest.mark.parametrize("how, error", [("half_close", PeerClosed), ("reset", OSError)])
def test_a_proxy_that_goes_away(raw, how, error, begun):
    call, server, _ = asked_for_tunnel(raw)
    server.send(begun)
    raw.turn(2)
    getattr(server, how)()
    call.error(error)


@needs_ssl
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200"])
def test_a_tunnel_that_never_answers(raw, begun):
    call, server, _ = asked_for_tunnel(raw, limits={"answer_timeout": 7.0})
    server.send(begun)
    raw.wait(6.9)
    assert not call.over
    raw.wait(0.2)
    assert "waited 7 s for the proxy's tunnel" in str(call.error(Deadline))
    assert server.gone()


@needs_ssl
def test_without_that_deadline_the_call_has_its_own(raw):
    client = raw.client(proxy=raw.url(), limits={"answer_timeout": None}, timeout=20.0)
    call = raw.ask(client=client, url="https://a.test/")
    server = raw.accept()
    server.head()
    raw.wait(19.9)
    assert not call.over
    raw.wait(0.2)
    call.error(Deadline)
    assert server.gone()


@needs_ssl
def test_no_tls_within_the_handshake_s_deadline(raw):
    call, server, _ = asked_for_tunnel(raw, limits={"handshake_timeout": 3.0})
    server.send(b"HTTP/1.1 200 OK\r\n\r\n")
    raw.wait(2.9)
    assert not call.over
    raw.wait(0.2)
    assert "TLS handshake within 3 s" in str(call.error(Deadline))


@needs_ssl
@pytest.mark.parametrize("stage", ["connecting", "asked", "answered"])
def test_cancelled_on_the_way_into_a_tunnel(raw, loop, stage):
    call = through(raw, "https://a.test/")
    raw.turn(1)
    if stage != "connecting":
        server = raw.accept()
        server.head()
        if stage == "answered":
            server.send(b"HTTP/1.1 200 OK\r\n\r\n")
            assert server.read(5)[:1] == b"\x16"  # a TLS handshake begins
    call.close()
    raw.until(lambda: call.closed)
    raw.turn(3)
    assert not loop.run_once(0)


@needs_ssl
def test_what_a_proxy_s_auth_raises_ends_the_call(raw):
    class Broken:
        def first(self, method, url, uri=None):
            return None

        def answer(self, challenges, method, url, body=None, uri=None):
            raise KeyError(challenges)

    call, server, _ = asked_for_tunnel(raw, proxy=Proxy(raw.url(), auth=Broken()))
    server.send(answer(b"", "Proxy-Authenticate: Basic realm=x", status="407 Proxy Authentication Required"))
    call.error(KeyError)
    assert server.gone()


@needs_ssl
def test_what_it_raises_before_the_tunnel_is_asked_for_too(raw, reports):
    class Broken:
        def first(self, method, url, uri=None):
            raise KeyError(method)

    call = through(raw, "https://a.test/", proxy=Proxy(raw.url(), auth=Broken()))
    call.error(Exception)
    if reports:
        reports.take(KeyError)


@needs_ssl
def test_a_connection_closed_under_the_dialer_is_an_error(raw):
    call, server, _ = asked_for_tunnel(raw)
    connection = next(iter(raw.clients[-1].pool.connections))
    connection._dialer.stream.close()
    call.error(icey.NetError)


def test_without_ssl_https_is_an_error_of_the_call(raw, monkeypatch):
    monkeypatch.setitem(sys.modules, "icey.net.tls", None)
    monkeypatch.delattr(icey.net, "tls", raising=False)
    call = raw.ask(url="https://127.0.0.1:1/")
    assert "ssl" in str(call.error(icey.NetError))
    conn = raw.connection(url="https://127.0.0.1:1/")
    with pytest.raises(icey.NetError):
        conn.start()
    assert conn.state.name == "IDLE"
