"""The other end of a TLS connection, on Python's own `ssl`, driven from the loop's thread.

    TLSEnd     an end of TLS without input and output: bytes in, bytes out
    TLSPeer    a Peer that speaks TLS: the same interface for the plaintext
    contexts   server_context, client_context

    def test_something(loop, certs):
        listener = ...
        peer = TLSPeer.connect(loop, listener.address, client_context(certs), "localhost")
        peer.send(b"hello")
        assert peer.read(5) == b"olleh"

A test module takes the fixture by assignment: `certs = tls.certs`. The module that imports this one calls
`needs("ssl")` before.
"""
import functools
import os
import ssl
import time

import pytest

from icey.tools.testing import PATIENCE, Peer
from tests.support import certificates

WAITING = object()  # what an attempt returns that needs more from the other side
STRICT = getattr(ssl, "VERIFY_X509_STRICT", 0)  # the default from 3.13 on
LENIENT = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # the default up to 3.9: the transport's end passes for a close_notify


@functools.lru_cache(maxsize=None)
def _made(path):
    return certificates.folder(path)


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    """The certificates: see certificates.folder. Made once a run."""
    return _made(os.path.join(str(tmp_path_factory.getbasetemp()), "certificates"))


def server_context(certs, name="localhost", *, client_ca=None, alpn=(), version=None):
    """A server's context with the certificate `name`. client_ca: a file; clients then have to show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certs.cert(name))
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= STRICT
    return _narrowed(context, alpn, version)


def client_context(certs, *, ca=None, cert=None, verify=True, alpn=(), version=None):
    """A client's context that trusts `ca` (a file; the tests' own if None). cert: the name of the one it shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= STRICT
    if verify:
        context.load_verify_locations(certs.ca if ca is None else ca)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(*certs.cert(cert))
    return _narrowed(context, alpn, version)


def _narrowed(context, alpn, version):
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class TLSEnd:
    """One end of a TLS connection: `feed` it what came, `take` what is to be sent. Attempts may return WAITING."""

    def __init__(self, context, *, server_side=False, server_hostname=None, session=None):
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        context.options &= ~LENIENT
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname, session=session)
        self.shaken = False

    def feed(self, data):
        """Takes bytes of the transport; b"" is its end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def take(self):
        """What is to be sent."""
        return self._outgoing.read()

    def attempt(self, fn, *args):
        """fn(*args), or WAITING where it needs more input."""
        try:
            return fn(*args)
        except ssl.SSLWantReadError:
            return WAITING

    def handshake(self):
        """True once it is done, WAITING before. Raises ssl.SSLError where it fails."""
        if not self.shaken:
            if self.attempt(self.tls.do_handshake) is WAITING:
                return WAITING
            self.shaken = True
        return True

    def write(self, data):
        """Encrypts all of `data`."""
        left = memoryview(data)
        while left:
            left = left[self.tls.write(left):]

    def read(self):
        """A piece of plaintext; b"" at close_notify. ssl.SSLEOFError: the transport ended without one."""
        try:
            return self.attempt(self.tls.read, 65536)
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as exc:
            if exc.reason != "UNEXPECTED_EOF_WHILE_READING" or isinstance(exc, ssl.SSLEOFError):
                raise
            raise ssl.SSLEOFError(*exc.args) from None  # up to 3.9, PyPy's too

    def unwrap(self):
        """Sends close_notify. True once the other side's is there as well, WAITING before."""
        return WAITING if self.attempt(self.tls.unwrap) is WAITING else True


class TLSPeer(Peer):
    """A Peer whose `send` and `read...` are plaintext; the handshake happens on first use, or by `handshake()`.

    Its end of input is the other side's close_notify; where TCP ended without one, reading raises ssl.SSLEOFError (and
    `ended` is True then). `close()` sends a close_notify and does not wait for the other's; `cut()` sends none.
    """

    def __init__(self, loop, sock, context, *, server_side=False, server_hostname=None, session=None, patience=PATIENCE):
        super().__init__(loop, sock, patience)
        self.end = TLSEnd(context, server_side=server_side, server_hostname=server_hostname, session=session)

    @classmethod
    def connect(cls, loop, address, context, server_hostname=None, *, session=None, patience=PATIENCE):
        """Connects to `address` (an Address, (host, port) or text)."""
        sock = Peer.connect(loop, address, patience).sock
        try:
            return cls(loop, sock, context, server_hostname=server_hostname, session=session, patience=patience)
        except BaseException:
            sock.close()
            raise

    alpn = property(lambda self: self.end.tls.selected_alpn_protocol())
    version = property(lambda self: self.end.tls.version())
    session = property(lambda self: self.end.tls.session)
    session_reused = property(lambda self: self.end.tls.session_reused)
    certificate = property(lambda self: self.end.tls.getpeercert())

    def handshake(self):
        """Until it is done. Raises ssl.SSLError where it fails, having sent its alert. Returns the peer."""
        self._until(self.end.handshake, "the handshake")
        return self

    def send(self, data):
        """Sends all of `data`, turning the loop while the kernel is full."""
        self.handshake()
        self.end.write(data)
        self._flush()

    def half_close(self):
        """Sends close_notify; reading goes on."""
        self.handshake()
        self.end.unwrap()
        self._flush()

    def unwrap(self):
        """Sends close_notify and waits for the other's. What comes before that is an error: read it first."""
        self.handshake()
        self._until(self.end.unwrap, "close_notify")

    def close(self):
        """Closes in order: close_notify, if there is an encryption yet, then TCP."""
        try:
            if self.end.shaken and self.sock.fileno() >= 0:
                self.end.unwrap()
                self._flush()
        except OSError:  # the other side has gone, or failed
            pass
        finally:
            self.cut()

    def cut(self):
        """Closes TCP in order, without close_notify."""
        try:
            while self.sock.fileno() >= 0 and self.sock.recv(65536):
                pass  # left unread (a ticket is, often) the kernel would make a reset of it
        except OSError:
            pass
        self.sock.close()

    def send_raw(self, data):
        """Sends bytes below TLS: no encryption."""
        Peer.send(self, data)

    def _flush(self):
        data = self.end.take()
        if data:
            Peer.send(self, data)

    def _until(self, attempt, wanted):
        """What `attempt` returns at last; what comes meanwhile is fed to it."""
        until = time.monotonic() + self._patience
        while True:
            result = self._tried(attempt)
            if result is not WAITING:
                return result
            self._feed(until, wanted)

    def _tried(self, attempt):
        try:
            result = attempt()
        except ssl.SSLError:
            try:
                self._flush()  # an alert
            except OSError:  # there is nobody to hear it
                pass
            raise
        self._flush()
        return result

    def _more(self, until, wanted):
        self.handshake()
        try:
            data = self._tried(self.end.read)
        except ssl.SSLError:
            self.ended = True
            raise
        if data is WAITING:
            self._feed(until, wanted)
        else:
            self._held += data
            self.ended = not data

    def _feed(self, until, wanted):
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            self._turn(until, "waited for %s, got %d bytes, ..%r" % (wanted, len(self._held), bytes(self._held[-40:])))
            return
        self.end.feed(data)
