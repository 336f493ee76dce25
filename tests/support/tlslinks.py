"""TLS connections with icey at one end, in either role, and Python's own `ssl` at the other, on one loop and one thread.

    def test_something(link):
        sock, peer = link()                    # our TLSSocket and the TLSPeer, the handshake done
        peer.send(b"hello")

    wire = Wire(loop, certs, "server")         # the same with the bytes in the test's hand

A test module takes the fixtures by assignment: `certs, role, link = tlslinks.certs, tlslinks.role, tlslinks.link`; a test
that takes `link` then runs as client and as server. The module that imports this one calls `needs("ssl")` before.
"""
import contextlib
import socket
import ssl
import time

import pytest

import icey
from icey.net import tls
from tests.support.streams import tcp_pair, turn
from tests.support.tls import WAITING, TLSEnd, TLSPeer, certs, client_context, server_context  # noqa: F401

ROLES = ("client", "server")
BUFFER = 65536  # of the kernel, each: less than Linux's own, so that queues fill soon


@pytest.fixture(params=ROLES)
def role(request):
    """What our end is."""
    return request.param


def until(loop, met, patience=20.0):
    """Turns the loop until `met()`; no virtual time passes."""
    end = time.monotonic() + patience
    while not met():
        assert time.monotonic() < end, "waited for %s" % met
        loop.run_once(0)


def wait(loop, clock, seconds):
    """Virtual seconds pass, each timer at its time."""
    end = clock() + seconds
    while clock() < end:
        loop.run_once(end - clock())
    turn(loop, 2)


def received(sock):
    """A bytearray that gets what `sock` receives."""
    got = bytearray()
    sock.on_recv += lambda sock, view: got.extend(view)
    return got


def our_context(certs, role, name="localhost", **options):
    """icey's context for our end."""
    if role == "client":
        return tls.client_context(**{"ca": certs.ca, **options})
    return tls.server_context(*certs.cert(name), **options)


def their_context(certs, role, name="localhost", **options):
    """Python's context for the other end, when ours is `role`."""
    return server_context(certs, name, **options) if role == "client" else client_context(certs, **options)


class Links:
    """Makes connections in one role; closes its ends."""

    def __init__(self, loop, certs, role):
        self.loop = loop
        self.certs = certs
        self.role = role
        self.peers = []

    def __call__(self, ours=None, theirs=None, *, host="localhost", shake=True, session=None, **options):
        """(our TLSSocket, the TLSPeer). ours, theirs: contexts; options: for the default of theirs. session: the client's.

        host: the name that the client asks for. shake: the handshake is done (else the sockets are connected).
        """
        ours = ours or our_context(self.certs, self.role)
        theirs = theirs or their_context(self.certs, self.role, **options)
        make = self._client if self.role == "client" else self._server
        sock, peer = make(ours, theirs, host, session)
        self.peers.append(peer)
        if shake:
            peer.handshake()
            until(self.loop, lambda: sock.version is not None)
        return sock, peer

    def _client(self, ours, theirs, host, session):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # what it accepts has it
            listener.listen(1)
            sock = tls.TLSSocket(self.loop, context=ours, server_hostname=host, session=session)
            sock.connect(listener.getsockname())
            sock.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            sock.set_no_delay()
            accepted, _ = listener.accept()
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent is there at once
        return sock, TLSPeer(self.loop, accepted, theirs, server_side=True)

    def _server(self, ours, theirs, host, session):
        accepted = []
        with icey.TCPListener(self.loop, "127.0.0.1:0") as listener:
            listener.on_accept += lambda listener, sock: accepted.append(sock)
            peer = TLSPeer.connect(self.loop, listener.address, theirs, host, session=session)
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            until(self.loop, lambda: accepted)
            accepted[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            accepted[0].set_no_delay()
        return tls.start_tls(accepted[0], ours, server_side=True), peer

    def close(self):
        for peer in self.peers:
            peer.close()


@pytest.fixture
def link(loop, certs, role):
    links = Links(loop, certs, role)
    yield links
    links.close()


class Wire:
    """Our TLSSocket, `sock`, over a socket pair, with a TLSEnd, `end`, behind it. What goes between goes by hand."""

    def __init__(self, loop, ours, theirs, role, *, tcp=False):
        self.loop = loop
        near, self.far = tcp_pair() if tcp else socket.socketpair()
        for sock in (near, self.far):
            if sock.family in (socket.AF_INET, socket.AF_INET6):  # so is a socketpair where Unix sockets are missing
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.far.setblocking(False)
        host = "localhost" if role == "client" else None
        self.sock = tls.start_tls(icey.Stream(loop, near), ours, server_side=role == "server", server_hostname=host)
        self.end = TLSEnd(theirs, server_side=role == "client", server_hostname=None if host else "localhost")

    def came(self):
        """What our end has sent; b"" also when it has closed."""
        pieces = []
        try:
            while True:
                pieces.append(self.far.recv(65536))
                if not pieces[-1]:
                    break
        except BlockingIOError:
            pass
        except ConnectionResetError:
            pass
        return b"".join(pieces)

    def bring(self, data):
        """Gives `data` to our end, and turns the loop."""
        try:
            self.far.sendall(data)
        except OSError:  # it has closed
            pass
        turn(self.loop)

    def answer(self):
        """Has the other end take what ours has sent; what it sends back (the handshake's next flight, or nothing)."""
        data = self.came()
        if data:
            self.end.feed(data)
        self.end.handshake()
        return self.end.take()

    def close(self):
        self.far.close()

    __enter__ = lambda self: self  # noqa: E731

    def __exit__(self, *exc_info):
        self.close()


def shaken(loop, certs, role, version=None):
    """A Wire whose handshake is done."""
    wire = Wire(loop, our_context(certs, role), their_context(certs, role, version=version), role)
    for _ in range(5):
        turn(loop)
        wire.bring(wire.answer())
    assert wire.sock.version is not None
    return wire


@contextlib.contextmanager
def on_the_way(loop, certs, role):
    """A Wire, and the last flight of its other end, which has finished and can send."""
    theirs = their_context(certs, role, version=ssl.TLSVersion.TLSv1_2 if role == "client" else None)
    with Wire(loop, our_context(certs, role), theirs, role) as wire:
        turn(loop)
        flight = b""
        while not wire.end.shaken:
            wire.bring(flight)
            flight = wire.answer()
        yield wire, flight
