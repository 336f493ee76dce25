"""start_tls: TLS from now on over a stream there is, in the middle of a conversation, and over another TLSSocket."""
import os
import socket

import pytest

import icey
from icey.tools.testing import Peer
from tests.support import needs, streams
from tests.support.streams import names, turn, watch

needs("ssl")

from icey.net import tls  # noqa: E402
from tests.support import tlslinks  # noqa: E402
from tests.support.tls import TLSPeer  # noqa: E402
from tests.support.tlslinks import our_context, received, their_context, until  # noqa: E402

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
certs, role = tlslinks.certs, tlslinks.role


@pytest.fixture
def spoken(loop, role):
    """(a connected TCPSocket of ours, a plain Peer)."""
    accepted = []
    with icey.TCPListener(loop, "127.0.0.1:0") as listener:
        listener.on_accept += lambda listener, sock: accepted.append(sock)
        peer = Peer.connect(loop, listener.address)
        until(loop, lambda: accepted)
    yield accepted[0], peer
    peer.close()


def secured(peer, certs, role):
    """A TLSPeer over what was a plain one."""
    return TLSPeer(peer.loop, peer.sock, their_context(certs, role), server_side=role == "client",
                   server_hostname=None if role == "client" else "localhost")


def begin(sock, certs, role, **options):
    return tls.start_tls(sock, our_context(certs, role), server_side=role == "server",
                         server_hostname="localhost" if role == "client" else None, **options)


def test_starttls_in_the_middle_of_a_conversation(loop, certs, role, spoken):
    sock, plain = spoken
    got, closed, secure = [], [], []

    @sock.on_recv.attach
    def command(sock, view):
        got.append(bytes(view))
        if got[-1] == b"STARTTLS\r\n":
            sock.send(b"220 go ahead\r\n")
            made = begin(sock, certs, role)
            made.on_recv += lambda made, view: made.send_owned(b"secret " + bytes(view))
            secure.append(made)
        else:
            sock.send(b"250 hello\r\n")
    sock.on_close += closed.append

    plain.send(b"EHLO\r\n")
    assert plain.read_until(b"\n") == b"250 hello\r\n"
    plain.send(b"STARTTLS\r\n")
    assert plain.read_until(b"\n") == b"220 go ahead\r\n" if role == "server" else plain.read(14) == b"220 go ahead\r\n"
    rest = bytes(plain._held)  # as client, its ClientHello may be here already
    peer = secured(plain, certs, role)
    if rest:
        peer.end.feed(rest)
    peer.send(b"EHLO")
    assert peer.read(11) == b"secret EHLO"
    assert got == [b"EHLO\r\n", b"STARTTLS\r\n"]
    peer.close()
    turn(loop, 5)
    assert secure[0].closed
    assert closed == [sock]


def test_what_is_queued_goes_out_before_in_clear(loop, certs, role, spoken):
    sock, plain = spoken
    sock.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, tlslinks.BUFFER)
    plain.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, tlslinks.BUFFER)
    sock.max_queue = None
    data = bytes(2 << 20)
    sock.send(data)
    assert sock.queued
    made = begin(sock, certs, role)
    made.send(b"and in secret")
    assert plain.read(len(data)) == data
    peer = secured(plain, certs, role)
    if plain._held:
        peer.end.feed(bytes(plain._held))
    assert peer.read(13) == b"and in secret"


def test_start_tls_takes_the_streams_limits_along(loop, certs, role, spoken):
    sock, plain = spoken
    sock.high_water, sock.low_water, sock.max_queue, sock.close_timeout = 1000, 100, 5000, 1.5
    made = begin(sock, certs, role)
    assert (made.high_water, made.low_water, made.max_queue, made.close_timeout) == (1000, 100, 5000, 1.5)


def test_start_tls_of_a_paused_stream_goes_on(loop, certs, role, spoken):
    sock, plain = spoken
    sock.pause()
    made = begin(sock, certs, role)
    got = received(made)
    peer = secured(plain, certs, role)
    peer.send(b"hello")
    until(loop, lambda: got)
    assert got == b"hello"


def test_start_tls_of_a_stream_that_is_no_tcp_socket(loop, certs, role):
    near, far = socket.socketpair()
    stream = icey.Stream(loop, near)
    made = begin(stream, certs, role)
    peer = secured(Peer(loop, far), certs, role)
    peer.send(b"hello")
    got = received(made)
    until(loop, lambda: got)
    assert (made.peer, stream.closed) == (None, False)
    made.set_no_delay()
    peer.close()
    until(loop, lambda: made.closed)


def test_start_tls_of_what_is_not_connected_is_state_error(loop, certs):
    context = our_context(certs, "server")
    sock = icey.TCPSocket(loop)
    with pytest.raises(icey.StateError, match="not connected"):
        tls.start_tls(sock, context, server_side=True)
    sock.close()
    with pytest.raises(icey.StateError, match="clos"):
        tls.start_tls(sock, context, server_side=True)


@pytest.mark.parametrize("end", ["shutdown", "close"])
def test_start_tls_of_what_is_at_its_end_is_state_error(loop, certs, role, spoken, end):
    sock, plain = spoken
    getattr(sock, end)()
    with pytest.raises(icey.StateError):
        begin(sock, certs, role)


def test_a_bad_name_is_an_error_and_the_stream_lives(loop, certs, spoken):
    sock, plain = spoken
    with pytest.raises(ValueError):
        tls.start_tls(sock, our_context(certs, "client"), server_side=False)  # nobody to check the certificate against
    sock.send(b"still here")
    assert plain.read(10) == b"still here"


def test_tls_inside_tls(loop, certs):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    ends = []

    @listener.on_accept.attach
    def accept(listener, sock):
        listener.close()
        outer = tls.start_tls(sock, our_context(certs, "server", "a.test"), server_side=True)

        @outer.on_connect.attach
        def shaken(outer):
            inner = tls.start_tls(outer, our_context(certs, "server", "b.test"), server_side=True)
            inner.on_recv += lambda inner, view: inner.send_owned(view)
            ends.append(inner)
    outer = tls.TLSSocket(loop, context=our_context(certs, "client"), server_hostname="a.test")
    outer.connect(listener.address)
    data = os.urandom(500000)
    got = bytearray()
    seen = []

    @outer.on_connect.attach
    def shaken(outer):
        inner = tls.start_tls(outer, our_context(certs, "client"), server_side=False, server_hostname="b.test")
        seen.append(watch(inner, "connect", "error", "end", "close"))
        ends.append(inner)
        inner.on_recv += lambda inner, view: (got.extend(view), inner.close() if len(got) == len(data) else None)
        inner.send(data)
    until(loop, lambda: len(ends) == 2 and all(end.closed for end in ends))  # no time passes, however slow the machine
    assert got == data
    assert names(seen[0]) == ["connect", "close"]
    assert [end.closed for end in ends] == [True, True]
    assert outer.closed


@pytest.mark.parametrize("wrong", [None, True, "cert.pem", ("cert.pem", "key.pem")], ids=repr)
def test_what_is_no_context_is_TypeError_at_once(loop, wrong):
    with pytest.raises(TypeError, match="^context is an ssl.SSLContext, see "):
        icey.TLSSocket(loop, context=wrong)
    near, far = socket.socketpair()
    with far:
        stream = icey.Stream(loop, near)
        with pytest.raises(TypeError, match="^context is an ssl.SSLContext, see "):
            icey.start_tls(stream, wrong, server_side=True)
        assert not stream.closing
        stream.abort()
        loop.run_once(0)
    assert not loop.handles
