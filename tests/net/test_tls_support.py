"""What the tests of TLS stand on: the certificates are what their names say, and TLSPeer tells one end from the other.

No icey here but its loop: TLSPeer against TLSPeer over a socket pair, each in a thread.
"""
import os
import re
import socket
import ssl
import subprocess
import sys

import pytest

from icey import Deadline, Loop
from tests.support import ROOT, needs
from tests.support.packets import Thread

needs("ssl")

from tests.support import tls  # noqa: E402
from tests.support.tls import WAITING, TLSEnd, TLSPeer, client_context, server_context  # noqa: E402

certs = tls.certs
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])


def shake(client, server):
    """Has two ends finish their handshake; raises what the client or the server does."""
    for _ in range(10):
        states = []
        for one, other in ((client, server), (server, client)):
            try:
                states.append(one.handshake())
            finally:
                data = one.take()
                if data:
                    other.feed(data)
        if WAITING not in states:
            return
    raise AssertionError("no end of the handshake")


def ends(certs, name="localhost", host="localhost", version=None, session=None, server=None, **client):
    """A client's and a server's end, not shaken."""
    context = client.pop("context", None) or client_context(certs, version=version, **client)
    return (TLSEnd(context, server_hostname=host, session=session),
            TLSEnd(server or server_context(certs, name), server_side=True))


@pytest.fixture
def pair(certs):
    """A function: (client, server), two peers over a socket pair, each with a loop of its own. Closed at the end."""
    open_now = []

    def make(version=None, patience=20.0, **options):
        near, far = socket.socketpair()
        loops = Loop(), Loop()
        client = TLSPeer(loops[0], near, client_context(certs, version=version), server_hostname="localhost",
                         patience=patience)
        server = TLSPeer(loops[1], far, server_context(certs, **options), server_side=True, patience=patience)
        open_now.extend([client, server, *loops])
        return client, server

    yield make
    for thing in open_now:
        thing.close()


def beside(server, fn):
    """Runs `fn(server)` in a thread that takes the server's loop along."""
    def work():
        server.loop.run_once(0)
        return fn(server)
    return Thread(work)


# certificates

@pytest.mark.parametrize("name, host", [
    ("localhost", "localhost"), ("localhost", "127.0.0.1"), ("localhost", "::1"), ("a.test", "a.test"),
    ("b.test", "b.test"), ("*.c.test", "any.c.test"), ("chain", "localhost")])
def test_good_for(certs, name, host):
    shake(*ends(certs, name, host))


@pytest.mark.parametrize("name, host, why", [
    ("expired", "localhost", "certificate has expired"),
    ("not yet valid", "localhost", "certificate is not yet valid"),
    ("self-signed", "localhost", "self.signed certificate"),
    ("unknown ca", "localhost", "unable to get local issuer certificate"),
    ("broken chain", "localhost", "unable to get local issuer certificate"),
    ("a.test", "b.test", "Hostname mismatch, certificate is not valid for 'b.test'"),
    ("*.c.test", "c.test", "Hostname mismatch"),
    ("localhost", "127.0.0.2", "IP address mismatch"),
    ("client", "localhost", "unable to get local issuer certificate"),
])
def test_refused_for(certs, name, host, why):
    with pytest.raises(ssl.SSLCertVerificationError, match=why):
        shake(*ends(certs, name, host))


def test_each_is_good_for_one_that_trusts_its_own_issuer(certs):
    shake(*ends(certs, "unknown ca", ca=certs.other_ca))
    shake(*ends(certs, "self-signed", ca=certs.cert("self-signed")[0]))


def test_a_client_that_does_not_verify_takes_any(certs):
    shake(*ends(certs, "self-signed", verify=False))


@both_versions
def test_a_client_certificate(certs, version):
    context = server_context(certs, client_ca=certs.client_ca)
    client, server = ends(certs, server=context, cert="client", version=version)
    shake(client, server)
    assert server.tls.getpeercert()["subject"] == ((("commonName", "a client"),),)
    for cert, why in ((None, "peer did not return a certificate"), ("localhost", "certificate verify failed")):
        with pytest.raises(ssl.SSLError, match=why):
            shake(*ends(certs, server=context, cert=cert, version=version))


def test_python_s_own_default_context_takes_them(certs):
    shake(*ends(certs, "chain", context=ssl.create_default_context(cafile=certs.ca)))


def test_an_unknown_name_tells_the_known_ones(certs):
    with pytest.raises(KeyError, match="no certificate 'nobody'; there are localhost"):
        certs.cert("nobody")


@pytest.mark.slow  # makes all of them once more
def test_by_hand_it_writes_a_folder_and_says_what_there_is(tmp_path):
    command = [sys.executable, "-m", "tests.support.certificates"]
    folder = str(tmp_path / "made")
    said = subprocess.run(command + [folder], stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout.decode()
    named = re.findall(r"^(.+?): (\S+)(?: (\S+))?$", said, re.M)
    assert [name for name, *_ in named][:4] == ["ca", "client_ca", "other_ca", "localhost"]
    paths = [path for _, *paths in named for path in paths if path]
    assert sorted(paths) == sorted(os.path.join(folder, name) for name in os.listdir(folder))
    assert subprocess.run(command, stderr=subprocess.PIPE, cwd=ROOT).returncode == 1


@pytest.mark.tool("openssl")
@pytest.mark.parametrize("name, ca", [("localhost", "ca"), ("*.c.test", "ca"), ("chain", "ca"), ("client", "client_ca")])
def test_openssl_verifies_it_strictly(certs, name, ca):
    cert, key = certs.cert(name)
    command = ["openssl", "verify", "-x509_strict", "-CAfile", getattr(certs, ca), "-untrusted", cert, cert]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.endswith(b": OK\n")
    subprocess.run(["openssl", "pkey", "-in", key, "-check", "-noout"], stdout=subprocess.PIPE, check=True)


# peers

@both_versions
def test_both_ways(pair, version):
    client, server = pair(version)
    data = os.urandom(1 << 20)
    echo = beside(server, lambda server: server.send(server.read(len(data))))
    client.send(data)
    assert client.read(len(data)) == data
    echo.join()
    assert client.version == server.version == {TLS12: "TLSv1.2", TLS13: "TLSv1.3"}[version]
    assert not client.session_reused
    assert client.certificate["subject"] == ((("commonName", "localhost"),),)


def test_alpn(pair):
    client, server = pair(alpn=["h2", "http/1.1"])
    client.end = TLSEnd(client_context(None, verify=False, alpn=["http/1.1"]))
    shaking = beside(server, TLSPeer.handshake)
    client.handshake()
    shaking.join()
    assert client.alpn == server.alpn == "http/1.1"


@both_versions
def test_read_until_read_all_and_the_half_close(pair, version):
    client, server = pair(version)

    def answer(server):
        line = server.read_until(b"\n")
        rest = server.read_all()
        server.send(b"%d %d" % (len(line), len(rest)))
        server.close()

    answering = beside(server, answer)
    client.send(b"one\ntwo")
    client.half_close()
    assert client.read_all() == b"4 3"
    assert client.ended
    answering.join()


def test_unwrap_waits_for_the_other_s(pair):
    client, server = pair()
    closing = beside(server, lambda server: (server.read_all(), server.unwrap()))
    client.send(b"the last")
    client.unwrap()
    assert closing.join() == (b"the last", None)


def test_a_cut_is_no_end(pair):
    client, server = pair()

    def cut(server):
        server.send(b"half an ans")
        server.cut()

    cutting = beside(server, cut)
    assert client.read(5) == b"half "
    with pytest.raises(ssl.SSLEOFError):
        client.read_all()
    assert client.ended
    assert client.read(100) == b"an ans"
    cutting.join()


def test_a_cut_in_the_handshake_is_an_error(pair):
    client, server = pair()
    server.cut()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        client.handshake()


def test_a_failed_handshake_tells_the_other_side_by_an_alert(pair):
    client, server = pair(name="expired")
    shaking = beside(server, lambda server: pytest.raises(ssl.SSLError, server.read, 1))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        client.handshake()
    assert re.search("alert.certificate.expired", str(shaking.join().value).lower())


def test_plain_bytes_are_an_error(pair):
    client, server = pair()
    client.send_raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with pytest.raises(ssl.SSLError, match="(?i)http.request"):
        server.handshake()


def test_patience_ends(pair):
    client, server = pair(patience=0.01)
    with pytest.raises(Deadline, match="the handshake"):
        client.handshake()


@both_versions
def test_a_session_is_resumed(certs, version):
    context, served = client_context(certs, version=version), server_context(certs)
    client, server = ends(certs, context=context, server=served)
    shake(client, server)
    server.write(b"x")
    client.feed(server.take())
    assert client.read() == b"x"  # in TLS 1.3 the ticket comes behind the handshake
    client, server = ends(certs, context=context, server=served, session=client.tls.session)
    shake(client, server)
    assert client.tls.session_reused
    assert server.tls.session_reused


def test_a_connection_to_an_address(certs):
    with socket.socket() as listener, Loop() as loop:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with TLSPeer.connect(loop, listener.getsockname(), client_context(certs), "localhost") as client:
            sock, _ = listener.accept()
            with TLSPeer(loop, sock, server_context(certs), server_side=True) as server:
                assert client.end.handshake() is WAITING
                client._flush()
                with pytest.raises(ssl.SSLError):
                    server.send_raw(b"junk and nothing but")
                    client.handshake()
