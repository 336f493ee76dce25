"""An HTTP server over TLS, on the surroundings of http.py, and clients that speak it.

    site.serve(slot, tls=server_context(certs))       # of icey.net.tls, the certificate "localhost"
    client = https.client(site, certs)                # accepted, the handshake done
    assert client.get().body == b"Hello"

A test module takes the fixtures by assignment: those of http.py, and `certs = https.certs`. The module that imports this one
calls `needs("ssl")` before.
"""
import ssl

from icey.net import tls
from tests.support import http
from tests.support.tls import TLSPeer, certs, client_context  # noqa: F401


class Client(http.Client, TLSPeer):
    """A TLSPeer that speaks HTTP."""

    def silent(self, turns=5):
        """Nothing has come but what TLS itself says, and the connection is open."""
        http.turn(self.loop, turns)
        while True:
            try:
                data = self.sock.recv(65536)
            except BlockingIOError:
                break
            assert data, "the end"
            self.end.feed(data)
        held = self.end.attempt(self.end.tls.read, 65536)
        assert not self._held and not self.ended and type(held) is not bytes, (bytes(self._held), self.ended, held)
        return True

    def cut_off(self):
        """The end came without a close_notify."""
        try:
            self.read_all()
        except (ssl.SSLError, ConnectionResetError):
            return True
        return False


def server_context(certs, name="localhost", **options):
    """icey's, for the server."""
    return tls.server_context(*certs.cert(name), **options)


def client(site, certs, *, context=None, host="localhost", receive=None, shake=True, **options):
    """A client of the site's server. context, or options for one: client_context. shake: the handshake is done."""
    plain = site.client(receive=receive)
    made = Client(site.loop, plain.sock, context or client_context(certs, **options), server_hostname=host)
    site.clients[-1] = made
    return made.handshake() if shake else made
