"""https: certificates, sessions, kept connections, tunnels through a proxy, with Python's own ssl as the server."""
import socket
import ssl

import pytest

import icey
from icey.http import Client, DigestAuth, EventSource, Proxy
from tests.support import needs, rawserver, socks, streams

needs("ssl")

from icey.net import tls as icey_tls  # noqa: E402
from tests.support import tls  # noqa: E402
from tests.support.rawserver import answer, chunked  # noqa: E402

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


def test_the_progress_of_an_upload(raw, secure, context):
    """What the records add never counts, and all of it does in the end."""
    size, told = 3 << 20, []
    call = raw.ask("POST", client=raw.client(tls=context), url=raw.url(scheme="https"), body=bytes(size)).call
    call.on_upload_progress += lambda call, sent, total: told.append((sent, total))
    server = secure()
    assert len(server.request().body) == size
    server.answer(b"")
    raw.until(lambda: call.closed)
    sent = [sent for sent, _ in told]
    assert sent == sorted(set(sent)) and told[-1] == (size, size) and {total for _, total in told} == {size}
    assert len(told) > 1
    server.close()


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
    monkeypatch.setattr("icey.http.client.client.default_context", lambda: made.append(context) or context)
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
    monkeypatch.setattr("icey.http.client.pool.MOST_SESSIONS", 1)
    client = raw.client(tls=context)
    for host in ("127.0.0.1", "localhost"):
        call = raw.ask(client=client, url=raw.url(scheme="https", host=host))
        secure().reply(b"x")
        call.answer()
        assert len(client.pool._sessions) == 1


def idle(raw, secure, context):
    """A client, and the server's end of its connection, whose one request is answered."""
    client = raw.client(tls=context)
    call = raw.ask(client=client, url=raw.url(scheme="https"))
    server = secure()
    server.reply(b"hello")
    assert call.answer().body == b"hello"
    return client, server


@pytest.mark.parametrize("how", ["close", "cut"])
def test_an_idle_connection_that_its_server_closed_is_noticed(raw, secure, context, how):
    client, first = idle(raw, secure, context)
    getattr(first, how)()
    call = raw.ask("POST", client=client, url=raw.url(scheme="https"), body=b"data")  # not to be lost
    second = secure()
    assert second.reply(b"y").body == b"data"
    assert call.answer().body == b"y"


# what comes behind an answer

HELLO = answer(b"hello")
NONE = answer(b"", status="204 No Content", length=False)
EXTRA = {"a letter": b"x", "a line": b"\r\n", "an answer": HELLO, "garbage": b"garbage\r\n\r\n", "zeros": bytes(1000)}
TOLD = {
    "length": (HELLO, [200, b"hello", "complete", "close"]),
    "chunked": (chunked(b"hello"), [200, b"hello", "complete", "close"]),
    "none": (NONE, [204, "complete", "close"]), "empty": (answer(), [200, "complete", "close"]),
}


@pytest.mark.parametrize("how", ["close", "abort"])
def test_an_idle_connection_that_is_given_up_says_close_notify(raw, secure, context, how):
    client, server = idle(raw, secure, context)
    getattr(client, how)()
    raw.until(lambda: client.closed)
    assert server.read_all() == b""  # not ssl.SSLEOFError


def over_tls(raw, secure, context):
    """A transaction over TLS, and its server's end, which has the request."""
    conn = raw.connection(url=raw.url(scheme="https"), tls=context)
    conn.start()
    server = secure()
    server.request()
    return conn, server


@pytest.mark.parametrize("records", [1, 2])
@pytest.mark.parametrize("extra", EXTRA.values(), ids=EXTRA)
@pytest.mark.parametrize("data, told", TOLD.values(), ids=TOLD)
def test_bytes_behind_an_answer_do_not_harm_it_and_end_the_connection(raw, secure, context, data, told, extra, records):
    conn, server = over_tls(raw, secure, context)
    if records == 1:
        server.send(data + extra)
    else:  # they come in one read all the same
        server.end.write(data)
        server.send(extra)
    assert server.read_all() == b""
    server.close()
    assert raw.story(conn) == told
    with pytest.raises(icey.StateError):
        conn.start()


@pytest.mark.parametrize("extra", EXTRA.values(), ids=EXTRA)
def test_bytes_that_come_later_end_an_idle_connection(raw, secure, context, extra):
    conn, server = over_tls(raw, secure, context)
    server.send(HELLO)
    assert raw.story(conn) == [200, b"hello", "complete"]
    server.send(extra)
    assert server.read_all() == b""
    server.close()
    raw.until(lambda: conn.closed)
    assert raw.story(conn) == [200, b"hello", "complete", "close"]


def next_on_its_own(raw, secure, context, spoil):
    """What `spoil` does to an idle connection leaves the request that comes next a connection of its own."""
    _, server = idle(raw, secure, context)
    spoil(server)
    call = raw.ask("POST", url=raw.url(scheme="https"), body=b"data")
    second = secure()
    second.reply(b"new")
    assert call.answer().body == b"new"


@pytest.mark.parametrize("garbage", [b"garbage\r\n\r\n", b"\x17\x03\x03\0\x05hello", b"\x16\x03\x01\0\x08" + b"x" * 8])
def test_what_is_no_tls_while_idle_closes_it_and_harms_no_request(raw, secure, context, garbage):
    next_on_its_own(raw, secure, context, lambda server: server.send_raw(garbage))


@pytest.mark.parametrize("extra", EXTRA.values(), ids=EXTRA)
def test_bytes_that_came_while_idle_make_it_unfit(raw, secure, context, extra):
    next_on_its_own(raw, secure, context, lambda server: server.send(extra))


@pytest.mark.parametrize("garbage", [b"garbage\r\n\r\n", answer(b"", "Content-Length: x"), HELLO[:-1], b"\0" * 100])
def test_garbage_in_place_of_an_answer(raw, secure, context, garbage):
    conn, server = over_tls(raw, secure, context)
    server.send(garbage)
    server.half_close()
    told = raw.story(conn)
    assert told[-2:] == [icey.IncompleteBody if garbage == HELLO[:-1] else icey.BadResponse, "close"]
    assert "complete" not in told


@pytest.mark.parametrize("data", [HELLO[:-1], chunked(b"hello")[:-9], answer(b"half", length=False)])
def test_records_that_are_garbage_in_the_midst_of_an_answer(raw, secure, context, data):
    conn, server = over_tls(raw, secure, context)
    server.send(data)
    server.send_raw(b"\x17\x03\x03\0\x20" + b"x" * 32)
    told = raw.story(conn)
    assert told[0] == 200 and told[-2] is icey.TLSError and told[-1] == "close" and "complete" not in told


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


def test_by_a_socks_proxy(raw, secure, context):
    client = raw.client(tls=context, proxy=raw.url("", userinfo="user:pass@", scheme="socks5h"))
    call = raw.ask(client=client, url="https://localhost/x", headers={"proxy-authorization": "Own c2VjcmV0"})
    proxy = raw.accept()
    assert socks.serve(proxy, login=("user", "pass")) == ("name", "localhost", 443)
    server = secure(proxy)
    asked = server.reply(b"hello")
    assert asked.line == "GET /x HTTP/1.1" and asked["host"] == "localhost" and "proxy-authorization" not in asked
    assert call.answer().body == b"hello"
    again = raw.ask(client=client, url="https://localhost/y")
    assert server.reply(b"again").target == "/y"
    assert again.answer().body == b"again" and raw.nobody()


def test_tls_inside_a_socks_proxy_s_tunnel_has_its_own_deadline(raw, context):
    client = raw.client(tls=context, proxy=raw.url("", scheme="socks5h"), limits={"handshake_timeout": 2.0}, timeout=None)
    call = raw.ask(client=client, url="https://localhost/x")
    socks.serve(raw.accept())
    raw.turn(4)
    raw.wait(2.1)
    assert "no TLS handshake within 2 s" in str(call.error(icey.Deadline))


def test_a_tls_socket_by_a_socks_proxy(raw, secure, context):
    sock = icey.TLSSocket(raw.loop, context=context)
    seen = []
    sock.on_connect += lambda sock: seen.append("connect")
    sock.on_recv += lambda sock, view: seen.append(bytes(view))
    sock.connect("localhost", 443, proxy=raw.url("", scheme="socks5h"))
    sock.send(b"early")
    proxy = raw.accept()
    assert socks.serve(proxy) == ("name", "localhost", 443) and seen == []
    server = secure(proxy)
    assert server.read(5) == b"early"
    server.send(b"hello")
    raw.until(lambda: len(seen) == 2)
    assert seen == ["connect", b"hello"] and sock.peer == icey.Address("localhost", 443)
    assert sock.server_hostname == "localhost" and sock.local is not None
    sock.abort()


def test_a_tls_socket_whose_socks_proxy_refuses(raw, context):
    sock = icey.TLSSocket(raw.loop, context=context)
    seen = []
    sock.on_error += lambda sock, exc: seen.append(exc)
    sock.connect("localhost", 443, proxy=raw.url("", scheme="socks5h"), timeout=5.0)
    socks.serve(raw.accept(), reply=socks.refusal(4))
    raw.until(lambda: seen)
    assert "could not connect to localhost:443: host unreachable (reply 4)" in str(seen[0])
    raw.until(lambda: sock.closed)


def test_a_proxy_authorization_of_the_request_is_for_connect_alone(raw, secure, context):
    client = raw.client(tls=context, proxy=raw.url(userinfo="user:pass@"))
    call = raw.ask(client=client, url="https://localhost/x", headers={"proxy-authorization": "Own c2VjcmV0"})
    proxy = raw.accept()
    assert proxy.head()["proxy-authorization"] == "Own c2VjcmV0"
    proxy.send(answer(length=False))
    server = secure(proxy)
    assert "c2VjcmV0" not in server.reply(b"hello").head.decode("latin-1")
    assert call.answer().body == b"hello"
    again = raw.ask(client=client, url="https://localhost/y", headers={"Proxy-Authorization": "Own c2VjcmV0"})
    assert "c2VjcmV0" not in server.reply(b"again").head.decode("latin-1")  # nor on a tunnel that is there already
    assert again.answer().body == b"again" and raw.nobody()


def test_it_goes_along_a_redirect_to_the_proxy_and_no_further(raw, secure, context):
    client = raw.client(tls=context, proxy=raw.url())
    secrets = {"Proxy-Authorization": "Own c2VjcmV0", "Authorization": "mine"}
    call = raw.ask(client=client, url="http://a.test/", headers=secrets)
    plain = raw.accept()
    asked = plain.reply(b"", "Location: https://localhost/x", status="302 Found")
    assert asked["proxy-authorization"] == "Own c2VjcmV0" and asked["authorization"] == "mine"
    proxy = raw.accept()
    assert proxy.head()["proxy-authorization"] == "Own c2VjcmV0"
    proxy.send(answer(length=False))
    asked = secure(proxy).reply(b"hello")
    assert "proxy-authorization" not in asked and "authorization" not in asked
    assert call.answer().body == b"hello"


def test_without_a_proxy_it_is_the_server_s(raw, secure, context):
    """A gateway may ask for it."""
    call = raw.ask(client=raw.client(tls=context), url=raw.url("/", scheme="https"), headers={"Proxy-Authorization": "Own x"})
    assert secure().reply(b"hello")["proxy-authorization"] == "Own x"
    call.answer()


@pytest.mark.parametrize("way", ["straight", "tunnel", "https proxy"])
def test_the_dot_that_ends_a_name_is_none_of_tls(raw, secure, context, served, way, monkeypatch):
    """Neither of the name that is asked for nor of the certificate's; Host keeps it (RFC 6066 section 3)."""
    real, names = socket.getaddrinfo, []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more: real("127.0.0.1", *more))  # resolvers differ in the dot
    served.sni_callback = lambda sock, name, context: names.append(name)
    if way == "straight":
        call = raw.ask(client=raw.client(tls=context), url=raw.url(scheme="https", host="localhost."))
        server, host = secure(), "localhost.:%d" % raw.port
    elif way == "tunnel":
        call = raw.ask(client=raw.client(tls=context, proxy=raw.url()), url="https://localhost./")
        proxy, host = raw.accept(), "localhost."
        assert proxy.head().target == "localhost.:443"
        proxy.send(answer(length=False))
        server = secure(proxy)
    else:
        proxy = Proxy(raw.url(scheme="https", host="localhost."), tls=context)
        call = raw.ask(client=raw.client(proxy=proxy), url="http://a.test/")
        server, host = secure(), "a.test"
    assert server.reply(b"hello")["host"] == host
    assert call.answer().body == b"hello" and names == ["localhost"]


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
    monkeypatch.setattr("icey.http.client.dialing.default_context", lambda: context)
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


# an EventSource

def test_events_over_tls(raw, secure, context):
    es = EventSource(raw.loop, raw.url(scheme="https"), tls=context)
    es.backoff.random = lambda: 0.0
    told = streams.watch(es, "open", "event", "error", "close")
    es.start()
    server = secure()
    server.request()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\ndata: x\n\n")
    raw.until(lambda: len(told) == 2)
    connection, = es.client.pool.connections
    assert connection.stream.sock.carrier.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    server.cut()
    raw.until(lambda: es.retry_in)
    assert isinstance(told[-1][1], OSError)
    raw.wait(es.retry_in)
    assert secure().request()["last-event-id"] == "1"
    es.close()
    raw.until(lambda: es.closed)
    assert streams.names(told) == ["open", "event", "error", "close"]


def test_without_ssl_start_says_so(raw, monkeypatch):
    def lacking():
        raise icey.NetError("https needs Python's ssl module, which is missing here")

    monkeypatch.setattr("icey.http.client.client.default_context", lacking)
    es = EventSource(raw.loop, raw.url(scheme="https"))
    with pytest.raises(icey.NetError, match="ssl"):
        es.start()
    assert not raw.loop.handles


def dripping(raw, server, data, seconds):
    """`data` in one record of the server's, in pieces, a piece in so many seconds; the last is left to the caller."""
    server.end.write(data)
    record = server.end.take()
    for at in range(0, len(record) - 3000, 3000):
        server.send_raw(record[at:at + 3000])
        raw.wait(seconds)
    return record[-((len(record) - 1) % 3000 + 1):]


@pytest.mark.parametrize("head_first", [True, False])
def test_an_answer_whose_record_comes_piece_by_piece_is_in_time(raw, secure, context, head_first):
    conn = raw.connection(url=raw.url(scheme="https"), tls=context, limits={"body_timeout": 4.0, "answer_timeout": 4.0})
    conn.start()
    server = secure()
    server.request()
    head, body = b"HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n", bytes(16000)
    if head_first:
        server.send(head)
        raw.until(lambda: ("headers", 200) in conn.seen)
    server.send_raw(dripping(raw, server, body if head_first else head + body, 3.9))
    assert raw.story(conn)[-1] == "complete" and conn.received == 16000


def test_an_answer_whose_record_stops_in_its_midst_is_late(raw, secure, context):
    conn = raw.connection(url=raw.url(scheme="https"), tls=context, limits={"answer_timeout": 4.0})
    conn.start()
    server = secure()
    server.request()
    dripping(raw, server, bytes(16000), 1.0)
    raw.wait(2.9)
    assert not conn.closing
    raw.wait(0.2)
    assert raw.story(conn) == [icey.Deadline, "close"]
