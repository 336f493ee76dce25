"""The handshake: who is trusted, how long it may take, and what a failure is called."""
import re
import socket
import ssl
import struct

import pytest

import icey
from tests.support import needs, streams
from tests.support.streams import names, turn, watch

needs("ssl")

from icey.net import tls  # noqa: E402
from tests.support import tlslinks  # noqa: E402
from tests.support.tls import client_context, server_context  # noqa: E402
from tests.support.tlslinks import Wire, our_context, their_context, until, wait  # noqa: E402

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
certs, role, link = tlslinks.certs, tlslinks.role, tlslinks.link

as_client = pytest.mark.parametrize("role", ["client"], indirect=True)
as_server = pytest.mark.parametrize("role", ["server"], indirect=True)
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])


def fails(loop, sock, peer=None, *, kind=icey.TLSError):
    """The one error that `sock` ends with; nothing else is told but its close. `peer` may fail as well."""
    seen = watch(sock, "connect", "recv", "end", "error", "close")
    try:
        if peer is not None:
            peer.handshake()
            peer.read_all()
    except (ssl.SSLError, ConnectionError):
        pass
    until(loop, lambda: sock.closed)
    assert names(seen) == ["error", "close"], seen
    assert type(seen[0][1]) is kind, seen
    return seen[0][1]


# who is trusted: our end as client

@as_client
@pytest.mark.parametrize("name, host", [
    ("localhost", "localhost"), ("localhost", "127.0.0.1"), ("localhost", "::1"), ("a.test", "a.test"),
    ("*.c.test", "some.c.test"), ("chain", "localhost")])
def test_taken(link, name, host):
    sock, peer = link(name=name, host=host)
    assert sock.server_hostname == host
    assert sock.peer_certificate["subjectAltName"]


@as_client
@pytest.mark.parametrize("name, host, reason", [
    ("expired", "localhost", "certificate has expired"),
    ("not yet valid", "localhost", "certificate is not yet valid"),
    ("self-signed", "localhost", "self.signed certificate"),
    ("unknown ca", "localhost", "unable to get local issuer certificate"),
    ("broken chain", "localhost", "unable to get local issuer certificate"),
    ("a.test", "b.test", "certificate is not valid for 'b.test'"),
    ("*.c.test", "a.b.c.test", "certificate is not valid for 'a.b.c.test'"),
    ("localhost", "127.0.0.2", "certificate is not valid for '127.0.0.2'"),
])
@both_versions
def test_refused_and_the_error_says_why(loop, link, name, host, reason, version):
    sock, peer = link(name=name, host=host, shake=False, version=version)
    error = fails(loop, sock, peer)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert re.search(reason, error.reason), error.reason
    assert host in str(error)
    assert error.reason in str(error)


@as_client
def test_the_peer_is_told_that_its_certificate_was_refused(loop, link):
    sock, peer = link(name="expired", shake=False)
    with pytest.raises(ssl.SSLError, match="(?i)certificate.expired"):
        peer.handshake()
        peer.read(1)
    until(loop, lambda: sock.closed)


@as_client
@pytest.mark.parametrize("name", ["self-signed", "expired", "unknown ca", "a.test"])
def test_verify_false_takes_any(certs, link, name):
    sock, peer = link(tls.client_context(verify=False), name=name)
    assert sock.peer_certificate == {}
    peer.send(b"hello")


@pytest.mark.parametrize("name, events", [("localhost", ["connect"]), ("a.test", ["error", "close"])])
def test_the_host_given_to_connect_is_whom_the_certificate_must_name(loop, certs, name, events):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        sock = tls.TLSSocket(loop, context=our_context(certs, "client"))
        seen = watch(sock, "connect", "error", "close")
        sock.connect(listener.getsockname())
        assert sock.server_hostname == "127.0.0.1"
        accepted, _ = listener.accept()
    with tlslinks.TLSPeer(loop, accepted, server_context(certs, name), server_side=True) as peer:
        try:
            peer.handshake()
        except ssl.SSLError:
            pass
        turn(loop, 5)
        assert names(seen) == events


def test_a_context_that_checks_names_needs_one(loop, certs, tmp_path):
    """Without a name ssl.SSLContext.wrap_bio would check none, and take any certificate of the authority."""
    context = our_context(certs, "client")
    near, far = socket.socketpair()
    with far, icey.Stream(loop, near) as stream:
        with pytest.raises(ValueError, match="server_hostname"):
            tls.start_tls(stream, context, server_side=False)
        assert not stream.closing
    turn(loop)


def test_a_timeout_that_is_none_is_value_error_and_the_socket_lives(loop, certs):
    sock = tls.TLSSocket(loop, context=our_context(certs, "client"), server_hostname="localhost")
    with pytest.raises(ValueError, match="finite"):
        sock.connect("127.0.0.1", 443, timeout=-1)
    loop.run()  # nothing keeps it
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        sock.connect(listener.getsockname())
        accepted, _ = listener.accept()
    with tlslinks.TLSPeer(loop, accepted, server_context(certs), server_side=True) as peer:
        peer.handshake()
        until(loop, lambda: sock.version is not None)


@pytest.mark.needs("unix")
def test_over_a_unix_socket_a_name_has_to_be_given(loop, certs, tmp_path):
    with icey.TCPListener(loop, "unix:%s" % (tmp_path / "s")) as listener:
        sock = tls.TLSSocket(loop, context=our_context(certs, "client"))
        with pytest.raises(ValueError, match="server_hostname"):
            sock.connect(listener.address)
        assert sock.closing is False
        sock.close()
        accepted = []
        listener.on_accept += lambda listener, sock: accepted.append(sock)
        named = tls.TLSSocket(loop, context=our_context(certs, "client"), server_hostname="localhost")
        named.connect(listener.address)
        until(loop, lambda: accepted)
    tls.start_tls(accepted[0], our_context(certs, "server"), server_side=True)
    until(loop, lambda: named.version is not None)


@pytest.mark.parametrize("host", ["", "x" * 300, ".leading.dot"])
def test_a_host_that_is_none_is_value_error_and_the_socket_lives(loop, certs, host):
    sock = tls.TLSSocket(loop, context=our_context(certs, "client"), server_hostname=host)
    with pytest.raises(ValueError):
        sock.connect("127.0.0.1", 1)
    assert (sock.closing, sock.version) == (False, None)
    sock.close()
    turn(loop)
    assert sock.closed


# mutual TLS

@both_versions
def test_as_server_a_client_certificate_is_asked_for_and_checked(loop, certs, version):
    links = tlslinks.Links(loop, certs, "server")
    ours = our_context(certs, "server", client_ca=certs.client_ca)
    sock, peer = links(ours, client_context(certs, cert="client", version=version))
    assert sock.peer_certificate["subject"] == ((("commonName", "a client"),),)
    links.close()


@pytest.mark.parametrize("cert, reason", [(None, "the peer sent no certificate"),
                                          ("localhost", "self.signed certificate in certificate chain")])
@both_versions
def test_as_server_one_that_is_missing_or_of_others_is_refused(loop, certs, version, cert, reason):
    links = tlslinks.Links(loop, certs, "server")
    ours = our_context(certs, "server", client_ca=certs.client_ca)
    sock, peer = links(ours, client_context(certs, cert=cert, version=version), shake=False)
    error = fails(loop, sock, peer)
    assert re.fullmatch(reason, error.reason)
    assert "the peer" in str(error)
    links.close()


@both_versions
def test_as_client_a_certificate_is_shown(loop, certs, version):
    links = tlslinks.Links(loop, certs, "client")
    cert, key = certs.cert("client")
    theirs = server_context(certs, client_ca=certs.client_ca, version=version)
    sock, peer = links(our_context(certs, "client", cert=cert, key=key), theirs)
    assert peer.certificate["subject"] == ((("commonName", "a client"),),)
    links.close()


@both_versions
def test_as_client_without_the_certificate_that_is_wanted_the_error_says_so(loop, certs, version):
    links = tlslinks.Links(loop, certs, "client")
    sock, peer = links(None, server_context(certs, client_ca=certs.client_ca, version=version), shake=False)
    seen = watch(sock, "error", "close")
    sock.on_recv += lambda sock, view: None  # in TLS 1.3 the handshake is over when the server finds out
    with pytest.raises(ssl.SSLError, match="(?i)did.not.return.a.certificate"):
        peer.handshake()
    until(loop, lambda: sock.closed)
    assert names(seen) == ["error", "close"]
    assert "certificate" in seen[0][1].reason
    links.close()


# versions

@both_versions
def test_each_version_is_spoken(link, version):
    sock, peer = link(version=version)
    assert sock.version == {TLS12: "TLSv1.2", TLS13: "TLSv1.3"}[version]
    peer.send(b"x")


def record(kind, version, body):
    return struct.pack(">BHH", kind, version, len(body)) + body


def hello(version, message):
    """A ClientHello (1) or ServerHello (2) of an old version."""
    body = struct.pack(">H", version) + bytes(range(32)) + b"\0"  # no session
    body += struct.pack(">H", 2) + b"\xc0\x09" + b"\1\0" if message == 1 else b"\xc0\x09" + b"\0"
    return record(22, version, struct.pack(">BBH", message, 0, len(body)) + body)


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302], ids=["SSL 3", "TLS 1.0", "TLS 1.1"])
def test_an_older_version_is_refused(loop, certs, role, version):
    wire = Wire(loop, our_context(certs, role), their_context(certs, role), role)
    with wire:
        wire.far.sendall(hello(version, 2 if role == "client" else 1))
        error = fails(loop, wire.sock)
        assert error.reason == "no TLS version in common"
        assert wire.came()[-2:] in (b"\2\x46", b"\2\x28")  # fatal: protocol_version, handshake_failure


# what is not TLS

@pytest.mark.parametrize("data, reason", [
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "the peer sent plain HTTP"),
    (b"POST /form HTTP/1.1\r\nHost: localhost\r\n\r\n", "the peer sent plain HTTP"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the peer does not speak TLS"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "the peer does not speak TLS"),
    (b"220 mail.example ESMTP\r\n", "the peer does not speak TLS"),
    (b"\0" * 64, "the peer does not speak TLS"),
    (bytes(range(200, 250)), "the peer does not speak TLS"),
], ids=["GET", "POST", "HTTP", "SSH", "SMTP", "zeros", "junk"])
def test_what_is_not_tls_is_an_error_that_says_so(loop, link, data, reason):
    sock, peer = link(shake=False)
    peer.send_raw(data)
    error = fails(loop, sock)
    assert error.reason == reason
    assert error.reason in str(error)


def test_the_end_at_once_is_an_error(loop, link):
    sock, peer = link(shake=False)
    peer.cut()
    error = fails(loop, sock, kind=icey.Truncated)
    assert "during the TLS handshake" in str(error)


def test_a_reset_in_the_handshake_is_an_error(loop, link):
    sock, peer = link(shake=False)
    turn(loop, 2)  # connected
    peer.reset()
    error = fails(loop, sock)
    assert error.errno
    assert "during the TLS handshake" in str(error)


def test_a_refused_connection_is_connect_error(loop, certs):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        sock = tls.TLSSocket(loop, context=our_context(certs, "client"))
        sock.connect(taken.getsockname())
        assert type(fails(loop, sock, kind=icey.ConnectError).attempts[0][1]) is ConnectionRefusedError


def test_sends_of_a_handshake_that_fails_are_discarded(loop, link):
    sock, peer = link(shake=False)
    done = []
    sock.send(b"never told", lambda: done.append(1))
    late = []
    sock.on_error += lambda sock, exc: late.append(sock.send(b"nor this"))
    peer.send_raw(b"GET / HTTP/1.1\r\n\r\n")
    fails(loop, sock)
    assert (done, late) == ([], [False])
    with pytest.raises(icey.StateError):
        sock.send(b"x")


def test_what_was_sent_early_never_goes_out_in_clear(loop, certs, role):
    with Wire(loop, our_context(certs, role), their_context(certs, role), role) as wire:
        wire.sock.send(b"the secret" * 100)
        sent = bytearray()
        for data in (b"", b"HTTP/1.1 200 OK\r\n\r\n", b"", b""):
            wire.bring(data)
            sent += wire.came()
        assert wire.sock.closed
        assert b"secret" not in sent


# how long it may take

def test_a_peer_that_says_nothing_is_cut_off_in_time(loop, clock, link):
    sock, peer = link(shake=False)
    seen = watch(sock, "connect", "error", "close")
    turn(loop, 3)
    assert sock.handshake_timeout == icey.Limits().handshake_timeout == 10.0
    wait(loop, clock, 9.9)
    assert seen == []
    wait(loop, clock, 0.2)
    assert names(seen) == ["error", "close"]
    assert type(seen[0][1]) is icey.Deadline
    assert "within 10 s" in str(seen[0][1])


def test_a_peer_that_dribbles_is_cut_off_in_time(loop, clock, certs, role):
    """It is one deadline for the whole handshake: progress does not extend it."""
    with Wire(loop, our_context(certs, role), their_context(certs, role), role) as wire:
        seen = watch(wire.sock, "error", "close")
        turn(loop)
        flight = wire.answer() if role == "client" else (wire.end.handshake(), wire.end.take())[1]
        start = clock()
        for index in range(len(flight)):
            wire.bring(flight[index:index + 1])
            wait(loop, clock, 0.1)
            if wire.sock.closed:
                break
        assert names(seen) == ["error", "close"]
        assert type(seen[0][1]) is icey.Deadline
        assert clock() - start == pytest.approx(10.0, abs=0.3)


@pytest.mark.parametrize("timeout", [2.5, None])
def test_start_tls_takes_the_deadline(loop, clock, certs, role, timeout):
    near, far = socket.socketpair()
    with far:
        sock = tls.start_tls(icey.Stream(loop, near), our_context(certs, role), server_side=role == "server",
                             server_hostname="localhost" if role == "client" else None, handshake_timeout=timeout)
        assert sock.handshake_timeout == timeout
        seen = watch(sock, "error", "close")
        wait(loop, clock, 2.4)
        assert seen == []
        wait(loop, clock, 0.2 if timeout else 1000.0)
        assert names(seen) == (["error", "close"] if timeout else [])


def test_the_deadline_ends_with_the_handshake(loop, clock, link):
    sock, peer = link()
    wait(loop, clock, 100)
    assert not sock.closing


def test_no_deadline(loop, clock, certs):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        sock = tls.TLSSocket(loop, context=our_context(certs, "client"), server_hostname="localhost")
        sock.handshake_timeout = None
        sock.connect(listener.getsockname())
        accepted, _ = listener.accept()
    wait(loop, clock, 1000)
    with tlslinks.TLSPeer(loop, accepted, server_context(certs), server_side=True) as peer:
        peer.handshake()
        until(loop, lambda: sock.version is not None)


def test_connect_has_a_timeout_of_its_own(loop, clock, certs):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        sock = tls.TLSSocket(loop, context=our_context(certs, "client"))
        seen = watch(sock, "error")
        sock.connect(listener.getsockname(), timeout=3.0)
        wait(loop, clock, 9.9)
        assert seen == []
        wait(loop, clock, 0.2)
        assert type(seen[0][1]) is icey.Deadline
        assert "handshake" in str(seen[0][1])


# an own end in the handshake

@pytest.mark.parametrize("end", ["abort", "close"])
@pytest.mark.parametrize("turns", [0, 1, 3])
def test_an_own_end_in_the_handshake_is_on_close_only(loop, link, end, turns):
    sock, peer = link(shake=False)
    turn(loop, turns)
    seen = watch(sock, "connect", "error", "end", "close")
    getattr(sock, end)()
    until(loop, lambda: sock.closed)
    assert names(seen) == ["close"]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        peer.handshake()
        peer.read(1)


def test_a_close_while_shaking_sends_first_what_was_sent(loop, link):
    sock, peer = link(shake=False)
    seen = watch(sock, "connect", "error", "close")
    sock.send(b"parting words")
    sock.close()
    assert peer.read_all() == b"parting words"
    peer.close()
    until(loop, lambda: sock.closed)
    assert names(seen) == ["close"]


def test_a_close_with_something_to_send_into_a_handshake_that_never_ends_has_a_deadline(loop, clock, link):
    sock, peer = link(shake=False)
    seen = watch(sock, "error", "close")
    sock.send(b"never")
    sock.close()
    wait(loop, clock, 11)
    assert sock.closed
    assert names(seen)[-1] == "close"


def test_a_shutdown_while_shaking_acts_once_connected(loop, link):
    sock, peer = link(shake=False)
    sock.on_end += lambda sock: None
    sock.send(b"all I say")
    sock.shutdown()
    with pytest.raises(icey.StateError, match="after shutdown"):
        sock.send(b"more")
    assert peer.read_all() == b"all I say"
    got = []
    sock.on_recv += lambda sock, view: got.append(bytes(view))
    peer.send(b"I hear")
    until(loop, lambda: got)


@pytest.mark.parametrize("end", ["abort", "close", "raise"])
def test_an_end_in_on_connect(loop, link, reports, end):
    sock, peer = link(shake=False)
    seen = watch(sock, "error", "close")

    @sock.on_connect.attach
    def shaken(sock):
        if end == "raise":
            raise ZeroDivisionError
        getattr(sock, end)()
    try:
        peer.handshake()
        assert peer.read_all() == b""
    except (ssl.SSLError, ConnectionError):
        assert end != "close"
    peer.close()
    until(loop, lambda: sock.closed)
    assert names(seen) == ["close"]
    if end == "raise":
        reports.take(ZeroDivisionError)
