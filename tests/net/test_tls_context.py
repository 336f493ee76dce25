"""What contexts are made of and what they agree on: files, defaults, SNI, ALPN, sessions that are resumed."""
import pathlib
import ssl

import pytest

import icey
from tests.support import needs, streams
from tests.support.streams import watch

needs("ssl")

from icey.net import tls  # noqa: E402
from tests.support import tlslinks  # noqa: E402
from tests.support.tls import client_context, server_context  # noqa: E402
from tests.support.tlslinks import our_context, until  # noqa: E402

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
certs, role, link = tlslinks.certs, tlslinks.role, tlslinks.link

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])


# SNI

@pytest.fixture(params=["mapping", "function"])
def named(request, certs):
    """A server's context, for localhost, a.test and *.c.test."""
    contexts = {name: our_context(certs, "server", name) for name in ("a.test", "*.c.test")}
    if request.param == "mapping":
        return our_context(certs, "server", sni=contexts)
    return our_context(certs, "server", sni=lambda name: contexts["a.test"] if name.lower() == "a.test" else
                       contexts["*.c.test"] if name.endswith(".c.test") else None)


@pytest.mark.parametrize("host, subject", [
    ("a.test", "a.test"), ("any.c.test", "*.c.test"), ("localhost", "localhost"), ("127.0.0.1", "localhost"),
    ("A.Test", "a.test"), ("c.test", "localhost"), ("unknown.test", "localhost")])
def test_the_context_follows_the_name_asked_for(loop, certs, named, host, subject):
    links = tlslinks.Links(loop, certs, "server")
    theirs = client_context(certs)
    theirs.check_hostname = False
    sock, peer = links(named, theirs, host=host)
    assert peer.certificate["subject"] == ((("commonName", subject),),)
    links.close()


def test_as_client_the_name_is_asked_for(loop, certs):
    links = tlslinks.Links(loop, certs, "client")
    asked = []
    theirs = server_context(certs, "a.test")
    theirs.sni_callback = lambda tls, name, context: asked.append(name)
    sock, peer = links(None, theirs, host="a.test")
    assert asked == ["a.test"]
    links.close()


# ALPN

@pytest.mark.parametrize("ours, theirs, client, server", [
    (["http/1.1"], ["http/1.1"], "http/1.1", "http/1.1"),
    (["h2", "http/1.1"], ["http/1.1", "h2"], "http/1.1", "h2"),  # the server's preference counts
    (["h2"], ["http/1.1"], None, None),
    ([], ["http/1.1"], None, None),
    (["http/1.1"], [], None, None),
])
def test_the_protocol_agreed_on(link, certs, role, ours, theirs, client, server):
    sock, peer = link(our_context(certs, role, alpn=ours), alpn=theirs)
    assert sock.alpn == peer.alpn == (client if role == "client" else server)


# resumption

@both_versions
def test_as_client_a_session_is_resumed(loop, certs, version):
    links = tlslinks.Links(loop, certs, "client")
    ours, theirs = our_context(certs, "client"), server_context(certs, version=version)
    first, peer = links(ours, theirs)
    assert not first.session_reused
    got = watch(first, "recv")
    peer.send(b"x")
    until(loop, lambda: got)  # in TLS 1.3 the ticket comes with the first bytes
    session = first.session
    assert session is not None
    second, peer = links(ours, theirs, session=session)
    assert second.session_reused
    assert peer.session_reused
    peer.send(b"hello again")
    got = watch(second, "recv")
    until(loop, lambda: got)
    assert got == [("recv", b"hello again")]
    links.close()


def test_a_session_that_python_cannot_give_is_none(loop, certs):
    """Its server's certificate is of 64 KiB or more."""
    import ssl

    class TooLarge(ssl.SSLObject):
        @property
        def session(self):
            raise ValueError("i2d() failed")

    links = tlslinks.Links(loop, certs, "client")
    context = our_context(certs, "client")
    context.sslobject_class = TooLarge
    sock, peer = links(context)
    assert sock.session is None
    links.close()


@both_versions
def test_as_server_a_session_is_resumed(loop, certs, version):
    links = tlslinks.Links(loop, certs, "server")
    ours, theirs = our_context(certs, "server"), client_context(certs, version=version)
    first, peer = links(ours, theirs)
    first.send(b"x")
    assert peer.read(1) == b"x"
    second, again = links(ours, theirs, session=peer.session)
    assert second.session_reused
    assert again.session_reused
    links.close()


def test_a_session_of_another_context_is_value_error(loop, certs):
    links = tlslinks.Links(loop, certs, "client")
    first, peer = links()
    other = tls.TLSSocket(loop, context=our_context(certs, "client"), session=first.session)
    with pytest.raises(ValueError):
        other.connect("127.0.0.1", 1)
    other.close()
    links.close()


# contexts

def test_defaults_are_safe(certs, monkeypatch):
    client, server = our_context(certs, "client"), our_context(certs, "server")
    assert client.check_hostname
    assert client.verify_mode == ssl.CERT_REQUIRED
    assert server.verify_mode == ssl.CERT_NONE
    for context in (client, server):
        assert context.minimum_version == TLS12
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.options & getattr(ssl, "OP_NO_RENEGOTIATION", 0) == getattr(ssl, "OP_NO_RENEGOTIATION", 0)
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca)  # where OpenSSL looks for the system's
    assert tls.client_context().cert_store_stats()["x509_ca"] == ssl.create_default_context().cert_store_stats()["x509_ca"]


def test_a_key_may_stand_in_the_certificates_file(loop, certs, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(pathlib.Path(path).read_bytes() for path in certs.cert("localhost")))
    links = tlslinks.Links(loop, certs, "server")
    links(tls.server_context(str(both)))
    links.close()


def test_authorities_may_be_a_folder(certs, tmp_path):
    tls.client_context(ca=str(tmp_path))


def test_files_that_are_missing_or_not_what_they_should_be(certs, tmp_path):
    cert, key = certs.cert("localhost")
    _, other = certs.cert("a.test")
    junk = tmp_path / "junk.pem"
    junk.write_text("no PEM\n")
    missing = str(tmp_path / "missing.pem")
    for pair in ((missing, key), (cert, missing), (missing, None)):
        with pytest.raises(FileNotFoundError) as info:
            tls.server_context(*pair)
        assert info.value.filename == missing
    for make in (lambda: tls.server_context(missing, key), lambda: tls.server_context(cert, missing),
                 lambda: tls.server_context(cert, key, client_ca=missing), lambda: tls.client_context(ca=missing)):
        with pytest.raises(FileNotFoundError):
            make()
    for make in (lambda: tls.server_context(cert, other), lambda: tls.server_context(str(junk), key),
                 lambda: tls.server_context(cert, str(junk)), lambda: tls.server_context(cert),
                 lambda: tls.server_context(cert, key, client_ca=str(junk)), lambda: tls.client_context(ca=str(junk)),
                 lambda: tls.client_context(ca=certs.ca, cert=cert, key=other)):
        with pytest.raises(icey.TLSError, match="cannot use the (certificate|authorities) in .*pem"):
            make()
    with pytest.raises(TypeError, match="not one str"):
        tls.client_context(ca=certs.ca, alpn="http/1.1")


def test_a_key_with_a_password_is_refused_not_asked_for(certs, tmp_path):
    cert, key = certs.cert("localhost")
    body = pathlib.Path(key).read_text().splitlines()[1:-1]
    locked = tmp_path / "locked.pem"
    locked.write_text("\n".join(["-----BEGIN EC PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED",
                                 "DEK-Info: AES-128-CBC," + "00" * 16, ""] + body + ["-----END EC PRIVATE KEY-----", ""]))
    with pytest.raises(icey.TLSError, match="without a password"):
        tls.server_context(cert, str(locked))
