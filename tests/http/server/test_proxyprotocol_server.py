"""A server behind a proxy that speaks the PROXY protocol: whom it believes, and when."""
import os
import socket

import pytest

import icey
from icey.http import AccessLog
from icey.http.server import proxyprotocol
from tests.support import http, lacks

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
V2 = (proxyprotocol.SIGNATURE + b"\x21\x21\x00\x24" + socket.inet_pton(socket.AF_INET6, "2001:db8::7")
      + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + (56324).to_bytes(2, "big") + (443).to_bytes(2, "big"))
LOCAL = proxyprotocol.SIGNATURE + b"\x20\x00\x00\x00"
V1_SAYS = "192.0.2.7:56324 198.51.100.1:443"
V2_SAYS = "[2001:db8::7]:56324 [2001:db8::1]:443"
TRUSTED = ["10.0.0.0/8", "127.0.0.1"]


@pytest.fixture
def said(monkeypatch):
    """What was logged."""
    lines = []
    monkeypatch.setattr(proxyprotocol.log, "warning", lambda area, text, *args: lines.append("%s: %s" % (area, text % args)))
    return lines


def whose(exchange):
    assert (exchange.peer, exchange.local) == (exchange.connection.peer, exchange.connection.local)
    exchange.respond(200, ("%s %s" % (exchange.peer, exchange.local)).encode())


def real(site, client):
    """What a server says of a connection that nothing was announced for."""
    return ("127.0.0.1:%d %s" % (client.sock.getsockname()[1], site.server.address)).encode()


def silently_gone(site, client, end="reset"):
    site.gone()
    site.until(lambda: not site.server._clients())
    assert client.at_end() if end == "clean" else client.at_reset()
    return True


@pytest.mark.parametrize("trusted", [TRUSTED, "127.0.0.1", icey.Networks(TRUSTED)])
@pytest.mark.parametrize("header, says", [(V1, V1_SAYS), (V2, V2_SAYS)])
def test_the_announced_addresses_are_the_connection_s(site, said, header, says, trusted):
    site.serve(whose, proxy_protocol=trusted)
    client = site.client()
    client.send(header + http.request() + http.request())
    for _ in range(2):
        assert client.answer().body == says.encode()
    assert client.get().body == says.encode()
    assert said == []
    connection = site.server.connections[0]
    client.close()
    site.gone()
    assert str(connection.peer) == says.split()[0]


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 192.0.2.7 192.0.2.8 1 2\r\n"])
def test_where_none_are_announced_they_stay_the_real_ones(site, header):
    site.serve(whose, proxy_protocol=TRUSTED)
    client = site.client()
    client.send(header + http.request())
    assert client.answer().body == real(site, client)


@pytest.mark.parametrize("header, says", [(V1, V1_SAYS), (V2, V2_SAYS)])
def test_byte_by_byte(site, header, says):
    site.serve(whose, proxy_protocol=TRUSTED)
    client = site.client()
    for byte in header + http.request():
        client.send(bytes([byte]))
        site.turn()
    assert client.answer().body == says.encode()


@pytest.mark.parametrize("header, says", [(V1, V1_SAYS), (V2, V2_SAYS)])
def test_split_anywhere(site, loop, header, says):
    site.serve(whose, proxy_protocol=TRUSTED)
    for at in range(1, len(header) + 2, 3):
        client = site.client()
        whole = header + http.request()
        client.send(whole[:at])
        site.turn(2)
        assert len(site.server._gate.waiting) == (at < len(header))
        client.send(whole[at:])
        assert client.answer().body == says.encode()
        client.close()
    site.gone()


def test_the_access_log_has_the_announced_one(site):
    lines = []
    site.serve(whose, proxy_protocol=TRUSTED).on_answer += AccessLog(lines.append)
    client = site.client()
    client.send(V1 + http.request())
    client.answer()
    assert " 192.0.2.7 GET / 200 " in lines[0]


# refused

@pytest.mark.parametrize("data", [
    http.request(), b"GET", b"\x16\x03\x01\x02\x00", b"\r\n\r\n", V1[:-2] + b"\n", V1.replace(b"TCP4", b"TCP6"),
    b"PROXY " + b"x" * 200,
    V2[:12] + b"\x31", V2[:14] + b"\0\0", b"~" + V1 + http.request(),
])
def test_without_a_valid_header_the_connection_is_aborted(site, said, data):
    exchanges = []
    site.serve(exchanges.append, proxy_protocol=TRUSTED)
    client = site.client()
    client.send(data)
    if data == b"\r\n\r\n":  # it may still become one
        site.turn(3)
        assert len(site.server._gate.waiting) == 1
        client.send(b"G")
    assert _aborted(site, client)
    assert len(said) == 1 and said[0].startswith("http: PROXY protocol: ")
    assert said[0].endswith(" from 127.0.0.1:%d; the connection was aborted" % client.sock.getsockname()[1])
    assert exchanges == []


def _aborted(site, client):
    """It is gone, and nothing was sent: an end, or a reset where input was left unread."""
    site.until(lambda: not site.server._clients())
    try:
        assert client.read_all() == b""
    except ConnectionResetError:
        pass
    return True


def test_half_a_header_and_the_end(site, said):
    site.serve(whose, proxy_protocol=TRUSTED)
    client = site.client()
    client.send(V1[:10])
    client.sock.shutdown(socket.SHUT_WR)
    assert silently_gone(site, client)
    assert len(said) == 1 and "half a header" in said[0]


def test_who_leaves_without_a_word_is_not_logged(site, said):
    site.serve(whose, proxy_protocol=TRUSTED)
    client = site.client()
    client.sock.shutdown(socket.SHUT_WR)
    assert silently_gone(site, client, "clean")
    assert said == []


def test_one_line_a_second(site, said):
    site.serve(whose, proxy_protocol=TRUSTED)

    def refused():
        client = site.client()
        client.send(b"x")
        _aborted(site, client)
        return len(said)

    assert [refused(), refused(), refused()] == [1, 1, 1]
    site.wait(1.0)
    assert [refused(), refused()] == [2, 2]


def test_a_second_header_is_garbage(site):
    site.serve(whose, proxy_protocol=TRUSTED)
    client = site.client()
    client.send(V1 + V1.replace(b"192.0.2.7", b"192.0.2.8") + http.request())
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (400, "close")
    assert b"192.0.2.8" not in answer.body


# whom it does not trust

@pytest.mark.parametrize("trusted", [None, [], ["10.0.0.0/8", "::1", "unix"]])
@pytest.mark.parametrize("header", [V1, V2])
def test_from_others_a_header_is_garbage(site, said, header, trusted):
    exchanges = []
    site.serve(exchanges.append, proxy_protocol=trusted)
    client = site.client()
    client.send(header + http.request())
    assert client.answer().status == 400
    assert exchanges == [] and said == []


def test_others_speak_http(site):
    site.serve(whose, proxy_protocol=["10.0.0.0/8"])
    client = site.client()
    assert client.get().body == real(site, client)


def test_a_wrong_option_is_an_error_at_once(loop):
    with pytest.raises(ValueError, match="neither an IP address"):
        icey.http.Server(loop, "127.0.0.1", 0, proxy_protocol=["localhost"])


@pytest.mark.needs("unix")
@pytest.mark.parametrize("trusted", [["unix"], ["127.0.0.1"]])
def test_over_a_unix_socket(site, loop, tmp_path, trusted):
    path = os.path.join(str(tmp_path), "s")
    server = icey.http.Server(loop, "unix:" + path, proxy_protocol=trusted)
    server.on_request += whose
    site.server = server.start()
    client = site.client()
    client.send(V1 + http.request())
    assert client.answer().status == (200 if trusted == ["unix"] else 400)


# deadlines, counts, the end

def test_a_header_that_does_not_come_in_time(site, said):
    site.serve(whose, proxy_protocol=TRUSTED)
    client = site.client()
    client.send(V1[:-1])
    site.wait(9.5)
    assert client.silent()
    site.wait(1.5)
    assert silently_gone(site, client)
    assert len(said) == 1 and "no header in time" in said[0]


def test_silence_is_not_for_ever_either(site, said):
    site.serve(whose, proxy_protocol=TRUSTED, limits={"head_timeout": 2.0})
    client = site.client()
    site.wait(3.0)
    assert silently_gone(site, client)
    assert len(said) == 1


def test_without_head_timeout_it_may_take_its_time(site):
    site.serve(whose, proxy_protocol=TRUSTED, limits={"head_timeout": None})
    client = site.client()
    site.wait(3600.0)
    client.send(V1 + http.request())
    assert client.answer().body == V1_SAYS.encode()


def test_what_has_just_arrived_is_looked_at_before_the_axe_falls(site, said):
    site.serve(whose, proxy_protocol=TRUSTED)
    client = site.client()
    client.send(V1[:-1])
    site.wait(9.5)
    client.sock.send(V1[-1:] + http.request())
    site.clock.advance(5.0)  # and now in one turn: the sweep, then the bytes
    site.turn(1)
    assert client.answer().body == V1_SAYS.encode()
    assert said == []


def test_a_head_has_its_own_time_behind_the_header(site):
    site.serve(whose, proxy_protocol=TRUSTED)
    client = site.client()
    site.wait(9.0)
    client.send(V1 + b"GET / HTTP/1.1\r\n")
    site.wait(9.0)
    assert client.silent()
    client.send(b"Host: a\r\n\r\n")
    assert client.answer().body == V1_SAYS.encode()


def test_those_who_wait_count_as_connections(site):
    site.serve(whose, proxy_protocol=TRUSTED, limits={"max_connections": 2})
    first, second = site.client(), site.client()
    third = site.client(accept=False)
    third.send(V1 + http.request())
    site.turn(5)
    assert site.server.connections_made == 2 and site.server.connections == ()
    first.send(V1 + http.request())
    assert first.answer().status == 200
    site.turn(5)
    assert site.server.connections_made == 2
    second.close()
    assert third.answer().body == V1_SAYS.encode()
    assert site.server.connections_made == 3


@pytest.mark.parametrize("verb", ["stop", "close", "abort"])
def test_the_end_of_the_server_is_theirs(site, said, verb):
    closed = []
    site.serve(whose, proxy_protocol=TRUSTED).on_close += closed.append
    clients = [site.client() for _ in range(3)]
    clients[0].send(V1[:-1])
    clients[1].send(V1 + b"GET")
    site.until(lambda: site.server.connections)
    getattr(site.server, verb)()
    if verb == "stop":  # those who wait may still say who they are
        clients[0].send(V1[-1:] + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert clients[0].answer().body == V1_SAYS.encode()
        clients[0].close()
        assert len(site.server._gate.waiting) == 1
        site.wait(0.5)
    site.until(lambda: not site.server._gate.waiting)
    if verb == "stop":
        clients[1].send(b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert clients[1].answer().body == V1_SAYS.encode()
        clients[1].close()
    site.until(lambda: closed)
    assert said == []


def test_a_server_with_nobody_but_those_who_wait_closes(site):
    closed = []
    site.serve(whose, proxy_protocol=TRUSTED).on_close += closed.append
    site.client()
    site.server.stop(linger=0)
    assert closed == []
    site.until(lambda: closed)


@pytest.mark.parametrize("rest", [b"", V1[-1:], V1[-1:] + http.request()], ids=["nothing", "a header", "a request"])
def test_what_has_just_arrived_is_looked_at_before_a_stop_cuts_it(site, loop, said, rest):
    """As without the header: a slot held the loop, and the server stops in that slot."""
    site.serve(whose, proxy_protocol=TRUSTED)
    client = site.client()
    client.send(V1[:-1])
    site.turn(3)
    client.send(rest)
    loop.call_soon(lambda: site.server.stop(linger=0))
    if len(rest) > 1:
        assert client.answer().body == V1_SAYS.encode()
    assert client.at_end() if rest else client.at_reset()
    client.close()
    site.until(lambda: site.server.closed)
    assert said == []


def test_closing_the_loop_frees_all(loop, site):
    site.serve(whose, proxy_protocol=TRUSTED)
    site.client().send(V1[:-1])
    site.turn(2)
    site.close()
    for handle in loop.handles:
        handle.abort()
    loop.run_once(0)
    loop.close()


def test_a_broken_transport(site, said):
    site.serve(whose, proxy_protocol=TRUSTED)
    client = site.client()
    client.send(V1[:5])
    site.turn(2)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    site.until(lambda: not site.server._clients())
    assert said == []


# TLS comes behind it

if not lacks("ssl"):
    from tests.support import tls

    certs = tls.certs


@pytest.mark.needs("ssl")
@pytest.mark.parametrize("cut", [None, 1], ids=["together", "apart"])
def test_the_header_comes_in_clear_before_tls(site, loop, certs, cut):
    site.serve(whose, proxy_protocol=TRUSTED, tls=tls.server_context(certs))
    plain = site.client()
    client = tls.TLSPeer(loop, plain.sock, tls.client_context(certs), server_hostname="localhost")
    client.end.handshake()
    hello = client.end.take()
    if cut:
        plain.send(V2)
        site.turn(3)
        plain.send(hello)
    else:
        plain.send(V2 + hello)
    client.send(http.request())
    assert http.read_answer(client).body == V2_SAYS.encode()
    assert site.server.connections[0].secure
    client.close()


@pytest.mark.needs("ssl")
def test_a_header_inside_tls_is_garbage(site, loop, certs):
    site.serve(whose, proxy_protocol=["10.0.0.0/8"], tls=tls.server_context(certs))
    client = tls.TLSPeer.connect(loop, site.server.address, tls.client_context(certs), "localhost")
    client.send(V1 + http.request())
    assert http.read_answer(client).status == 400
    client.close()


def test_a_header_has_its_time_when_a_slot_held_the_loop(site, loop, said):
    site.serve(whose, proxy_protocol=TRUSTED)
    client = site.client()
    client.send(V1[:10])
    site.turn(3)
    loop.call_soon(site.clock.advance, 1000.0)
    site.turn(3)
    site.wait(5.0)
    client.send(V1[10:])
    assert client.get().body == V1_SAYS.encode()
    assert not [text for text in said if "PROXY" in text]
