"""https: certificates, sessions, kept connections, tunnels through a proxy, with Python's own ssl as the server."""
import ssl

import pytest

import icey
from icey.http import Client, DigestAuth, Proxy
from tests.support import needs, rawserver

needs("ssl")

from icey.net import tls as icey_tls  # noqa: E402
from tests.support import tls  # noqa: E402
from tests.support.rawserver import answer  # noqa: E402

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw, slow, certs = rawserver.moves, rawserver.raw, rawserver.slow, tls.certs


class TLSConnection(rawserver.RawConnection, tls.TLSPeer):
    """A RawConnection inside TLS."""


@pytest.fixture
def context(certs):
    """A client's context that trusts the tests' authority."""
    return icey_tls.client_context(ca=certs.ca)


@pytest.fixture
def served(certs):
    """A server's context, one for all connections, so that sessions can be resumed."""
    return tls.server_context(certs)


@pytest.fixture
def secure(raw, served):
    """A function: the next connection to the raw server (or the one given), its handshake done."""
    made = []

    def secure(conn=None, context=served, shake=True):
        sock = (conn or raw.accept()).sock
        made.append(TLSConnection(raw.loop, sock, context, server_side=True))
        if shake:
            made[-1].handshake()
        return made[-1]

    yield secure
    for end in made:
        end.cut()


def test_a_request_and_its_answer(raw, secure, context):
    call = raw.ask(client=raw.client(tls=context), url=raw.url("/x", scheme="https"))
    server = secure()
    assert server.reply(b"hello").target == "/x"
    got = call.answer()
    assert got.body == b"hello" and got.url.secure


def test_a_client_connection_too(raw, secure, context):
    conn = raw.connection(url=raw.url(scheme="https"), tls=context)
    conn.start()
    server = secure()
    server.reply(b"hello")
    assert raw.story(conn) == [200, b"hello", "complete"]
    conn.start()
    server.reply(b"again")
    assert raw.story(conn) == [200, b"hello", "complete", 200, b"again", "complete"]
    conn.close()
    assert server.read_all() == b""
    server.close()
    raw.until(lambda: conn.closed)


def test_large_bodies_both_ways(raw, secure, context):
    data = bytes(range(256)) * 2000
    call = raw.ask("POST", client=raw.client(tls=context), url=raw.url(scheme="https"), body=data)
    server = secure()
    assert server.reply(data).body == data
    assert call.answer().body == data


@pytest.mark.parametrize("name, reason", [
    ("expired", "expired"), ("self-signed", "self"), ("unknown ca", "issuer"), ("a.test", ""),
])
def test_a_certificate_that_is_refused(raw, secure, certs, context, name, reason):
    call = raw.ask(client=raw.client(tls=context), url=raw.url(scheme="https"))
    server = secure(context=tls.server_context(certs, name), shake=False)
    with pytest.raises(ssl.SSLError):  # it is told
        server.handshake()
    assert reason in str(call.error(icey.TLSError))


def test_a_server_that_speaks_no_tls(raw, context):
    call = raw.ask(client=raw.client(tls=context), url=raw.url(scheme="https"))
    server = raw.accept()
    server.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    call.error(icey.TLSError)


def test_one_default_context_a_client(raw, loop, monkeypatch, secure, context):
    """Made when it is wanted, kept for redirects to https and for new connections: sessions need that."""
    made = []
    monkeypatch.setattr("icey.http.client.default_context", lambda: made.append(context) or context)
    client = raw.client()
    call = raw.ask(client=client, url=raw.url("/plain"))
    server = raw.accept()
    assert made == []
    server.reply(b"", "Location: " + raw.url("/1", scheme="https"), status="302 Found")
    first = secure()
    first.reply(b"one", "Connection: close")
    assert call.answer().body == b"one" and call.answer().url.secure
    call = raw.ask(client=client, url=raw.url("/2", scheme="https"))
    second = secure()
    second.reply(b"two")
    assert call.answer().body == b"two"
    assert made == [context]


def test_a_session_is_resumed(raw, secure, context):
    client = raw.client(tls=context)
    for reused in (False, True):
        call = raw.ask(client=client, url=raw.url(scheme="https"))
        server = secure()
        server.reply(b"x", "Connection: close")
        call.answer()
        assert server.session_reused is reused
        server.close()


def test_sessions_are_few(raw, secure, context, monkeypatch):
    monkeypatch.setattr("icey.http.pool.MOST_SESSIONS", 1)
    client = raw.client(tls=context)
    for host in ("127.0.0.1", "localhost"):
        call = raw.ask(client=client, url=raw.url(scheme="https", host=host))
        secure().reply(b"x")
        call.answer()
        assert len(client.pool._sessions) == 1


@pytest.mark.parametrize("how", ["close", "cut"])
def test_an_idle_connection_that_its_server_closed_is_noticed(raw, secure, context, how):
    client = raw.client(tls=context)
    call = raw.ask(client=client, url=raw.url(scheme="https"))
    first = secure()
    first.reply(b"x")
    call.answer()
    getattr(first, how)()
    call = raw.ask("POST", client=client, url=raw.url(scheme="https"), body=b"data")  # not to be lost
    second = secure()
    assert second.reply(b"y").body == b"data"
    assert call.answer().body == b"y"


def test_its_place_is_free_at_once_though_its_farewell_takes_time(raw, secure, context):
    client = raw.client(tls=context, max_per_host=1)
    call = raw.ask(client=client, url=raw.url(scheme="https"))
    first = secure()
    first.reply(b"x", "Connection: close")  # and it does not close
    call.answer()
    call = raw.ask(client=client, url=raw.url(scheme="https"))
    second = secure()
    second.reply(b"y")
    assert call.answer().body == b"y"


def test_a_body_until_close_needs_close_notify(raw, secure, context):
    for how, told in (("close", [200, b"hello", "complete", "close"]), ("cut", [200, b"hello", icey.Truncated, "close"])):
        conn = raw.connection(url=raw.url(scheme="https"), tls=context)
        conn.start()
        server = secure()
        server.request()
        server.answer(b"hello", length=False)
        raw.turn(3)
        getattr(server, how)()
        assert raw.story(conn) == told


def test_bytes_that_come_in_one_record_with_the_answer(raw, secure, context):
    conn = raw.connection(url=raw.url(scheme="https"), tls=context)
    reusable = []
    conn.on_complete += lambda conn: reusable.append(conn.reusable)
    conn.start()
    server = secure()
    server.request()
    server.send(answer(b"hello") + answer(b"unasked"))
    assert server.read_all() == b""
    server.close()
    assert raw.story(conn) == [200, b"hello", "complete", "close"] and reusable == [False]


def test_backpressure_of_send(slow, secure, context):
    size = 4 << 20
    conn = slow.connection(url=slow.url(scheme="https"), tls=context, method="POST", headers={"Content-Length": str(size)},
                           limits={"max_queue": 300000})
    drained = []
    conn.on_drain += lambda conn: drained.append(conn.queued)
    conn.start()
    server = secure(slow.accept())
    server.head()
    for _ in range(3):
        sent = 0
        with pytest.raises(icey.QueueFull):
            while True:
                conn.send(bytes(20000))
                sent += 20000
        assert conn.queued <= 300000 and not drained
        server.read(sent)
        slow.until(lambda: drained)
        assert len(drained) == 1 and drained.pop() <= 16384
    conn.abort()


def test_connections_and_their_streams_let_the_loop_end(raw, loop, secure, context):
    client = raw.client(tls=context)
    call = raw.ask(client=client, url=raw.url(scheme="https"))
    server = secure()
    server.reply(b"x")
    call.answer()
    raw.turn(3)
    assert not loop.run_once(0)
    client.close()
    raw.turn(5)
    assert client.closed and not loop.handles


# tunnels

@pytest.mark.parametrize("extra", [{}, {"status": "204 No Content", "length": False}])
def test_a_tunnel(raw, secure, context, extra):
    call = raw.ask(client=raw.client(tls=context, proxy=raw.url()), url="https://localhost/x")
    proxy = raw.accept()
    assert proxy.head().line == "CONNECT localhost:443 HTTP/1.1"
    proxy.send(answer(length=False) if not extra else answer(**extra))
    server = secure(proxy)
    asked = server.reply(b"hello")
    assert asked.target == "/x" and asked["host"] == "localhost" and "proxy-authorization" not in asked
    assert call.answer().body == b"hello"
    again = raw.ask(client=raw.clients[-1], url="https://localhost/y")
    assert server.reply(b"again").target == "/y"
    assert again.answer().body == b"again" and raw.nobody()


def test_a_tunnel_after_a_digest_challenge(raw, secure, context):
    proxy_auth = DigestAuth("Mufasa", "Circle of Life")
    client = raw.client(tls=context, proxy=Proxy(raw.url(), auth=proxy_auth))
    call = raw.ask(client=client, url="https://localhost/x")
    first = raw.accept()
    assert "proxy-authorization" not in first.head()
    first.send(answer(b"", 'Proxy-Authenticate: Digest realm="p", nonce="n", qop="auth", algorithm=SHA-256', status="407 Who"))
    second = raw.accept()
    asked = second.head()
    assert first.gone() and 'uri="localhost:443"' in asked["proxy-authorization"]
    second.send(b"HTTP/1.1 200 OK\r\n\r\n")
    server = secure(second)
    assert "proxy-authorization" not in server.reply(b"hello")
    assert call.answer().body == b"hello"


def test_a_tunnel_challenged_twice_is_refused(raw, context):
    client = raw.client(tls=context, proxy=Proxy(raw.url(), auth=DigestAuth("Mufasa", "Circle of Life")))
    call = raw.ask(client=client, url="https://localhost/x")
    for nonce in "ab":
        proxy = raw.accept()
        proxy.head()
        proxy.send(answer(b"", 'Proxy-Authenticate: Digest realm="p", nonce="%s", qop="auth"' % nonce, status="407 Who"))
    assert "407 Who" in str(call.error(icey.ConnectError))


def test_a_certificate_that_is_refused_inside_a_tunnel(raw, certs, secure, context):
    call = raw.ask(client=raw.client(tls=context, proxy=raw.url()), url="https://a.test/")
    proxy = raw.accept()
    proxy.head()
    proxy.send(b"HTTP/1.1 200 OK\r\n\r\n")
    server = secure(proxy, shake=False)
    with pytest.raises(ssl.SSLError):
        server.handshake()
    call.error(icey.TLSError)


def test_tls_to_the_proxy_and_inside_its_tunnel(raw, certs, secure, context):
    proxy = Proxy(raw.url(scheme="https"), tls=context)
    call = raw.ask(client=raw.client(tls=context, proxy=proxy), url="http://a.test/plain")
    outer = secure()
    assert outer.reply(b"plain").target == "http://a.test/plain"
    assert call.answer().body == b"plain"
    call = raw.ask(client=raw.clients[-1], url="https://localhost/x")
    outer = secure()
    assert outer.head().line == "CONNECT localhost:443 HTTP/1.1"
    outer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    inner = TLSInTLS(raw.loop, outer, tls.server_context(certs))
    assert inner.request().startswith(b"GET /x HTTP/1.1\r\n")
    inner.send(answer(b"hello"))
    assert call.answer().body == b"hello"


class TLSInTLS:
    """The server's end of TLS that another TLS connection carries."""

    def __init__(self, loop, outer, context):
        self.loop = loop
        self.outer = outer
        self.end = tls.TLSEnd(context, server_side=True)
        while self.end.handshake() is tls.WAITING:
            self._exchange()
        self.outer.send(self.end.take())

    def _exchange(self):
        data = self.end.take()
        if data:
            self.outer.send(data)
        self.end.feed(self.outer.read(1) + bytes(self.outer._held))
        self.outer._held.clear()

    def request(self):
        got = b""
        while b"\r\n\r\n" not in got:
            data = self.end.read()
            if data is tls.WAITING:
                self._exchange()
            else:
                got += data
        return got

    def send(self, data):
        self.end.write(data)
        self.outer.send(self.end.take())


def test_a_default_context_is_made_for_what_was_given_none(raw, secure, context, monkeypatch):
    monkeypatch.setattr("icey.http.dialing.default_context", lambda: context)
    conn = raw.connection(url=raw.url(scheme="https"), proxy=raw.url(scheme="https"))
    conn.start()
    outer = secure()
    outer.head()
    outer.send(answer(status="403 Forbidden"))
    assert raw.story(conn) == [icey.ConnectError, "close"]
    conn = raw.connection(url=raw.url(scheme="https"))
    conn.start()
    secure().reply(b"hello")
    assert raw.story(conn) == [200, b"hello", "complete"]
    context = Client(raw.loop).tls
    assert context is not None


@pytest.mark.needs("fork")
def test_a_forked_child_lets_go_of_it(raw, loop, secure, context):
    from tests.base.test_loop_fork import in_child

    client = raw.client(tls=context)
    call = raw.ask(client=client, url=raw.url(scheme="https"))
    server = secure()
    server.reply(b"x")
    call.answer()
    connection = next(iter(client.pool.connections))
    number = connection.stream.sock.carrier.sock.fileno()

    def child():
        import os

        loop.close()
        with pytest.raises(OSError):
            os.fstat(number)

    in_child(child)
    again = raw.ask(client=client, url=raw.url(scheme="https"))
    server.reply(b"y")
    assert again.answer().body == b"y"
