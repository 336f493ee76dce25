"""icey as the TLS server of openssl s_client, of curl, and of Python's own ssl; of wrk for many at once."""
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys

import pytest

from tests.support import ROOT, programs, tool
from tests.support.tls import client_context

# Certificate, whom the client asks for; the number and the words of OpenSSL's verdict. 0: taken.
VERDICTS = [
    ("localhost", "localhost", 0, "ok"),
    ("a.test", "a.test", 0, "ok"),
    ("*.c.test", "some.c.test", 0, "ok"),
    ("chain", "localhost", 0, "ok"),
    ("expired", "localhost", 10, "certificate has expired"),
    ("not yet valid", "localhost", 9, "certificate is not yet valid"),
    ("self-signed", "localhost", 18, "self-signed certificate"),
    ("unknown ca", "localhost", 20, "unable to get local issuer certificate"),
    ("broken chain", "localhost", 20, "unable to get local issuer certificate"),
    ("a.test", "b.test", 62, "hostname mismatch"),
    ("*.c.test", "a.b.c.test", 62, "hostname mismatch"),
]
as_in_verdicts = pytest.mark.parametrize("name, host, number, words", VERDICTS)
VERSIONS = ("1.2", "1.3")
both_versions = pytest.mark.parametrize("version", VERSIONS)


def sni(certs, *names):
    """app.py's flags for more certificates."""
    return [part for name in names for part in ("--sni", "%s=%s,%s" % ((name,) + certs.cert(name)))]


# openssl s_client

@pytest.fixture
def s_client(certs, program):
    """s_client(server, host, *flags) -> a Program, which connects and checks the certificate. host None: for no name."""
    def s_client(server, host="localhost", *flags):
        name = ["-noservername"] if host is None else ["-servername", host, "-verify_hostname", host]
        return program("openssl", "s_client", "-connect", "127.0.0.1:%d" % server.port, "-CAfile", certs.ca,
                       "-verify_return_error", *name, *flags)

    return s_client


def version_flag(version):
    return "-tls" + version.replace(".", "_")


@as_in_verdicts
def test_s_client_takes_and_refuses(secured, s_client, name, host, number, words):
    client = s_client(secured(name), host)
    if number == 0:
        client.expect(r"Verify return code: 0 \(ok\)")
        client.tell("Q\n")
        assert client.wait() == 0
    else:
        client.expect("verify error:num=%d:%s" % (number, re.escape(words)))
        assert client.wait() == 1


@both_versions
def test_s_client_has_a_line_echoed_and_ends_in_order(secured, s_client, version):
    client = s_client(secured("localhost", "--echo"), "localhost", version_flag(version))
    client.expect(r"New, TLSv%s, Cipher is " % re.escape(version))
    for word in ("hello", "again"):  # what it is told it does not show
        client.tell(word + "\n")
        client.expect(word)
    client.tell("Q\n")
    assert client.wait() == 0 and "error" not in client.said


@both_versions
def test_s_client_sees_the_servers_close_notify(secured, s_client, version):
    client = s_client(secured(), "localhost", version_flag(version), "-ign_eof")
    client.tell("GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    client.wait()
    # Without a close_notify it says "unexpected eof" or errno.
    assert re.search("(?s)Hello, World!.*closed\n", client.said) and "unexpected eof" not in client.said


def test_s_client_is_given_the_certificate_of_the_name_it_asks_for(secured, s_client, certs):
    server = secured("localhost", *sni(certs, "a.test", "*.c.test"))
    for host, subject in (("localhost", "localhost"), ("a.test", "a.test"), ("A.TEST", "a.test"), ("some.c.test", "*.c.test"),
                          (None, "localhost")):
        client = s_client(server, host)
        client.expect(r"Verify return code: 0 \(ok\)")
        assert "subject=CN = %s\n" % subject in client.said


@pytest.mark.parametrize("ours, theirs, agreed", [
    (["http/1.1"], "h2,http/1.1", "ALPN protocol: http/1.1"),
    (["b", "a"], "a,b", "ALPN protocol: b"),
    (["http/1.1"], "h2", "No ALPN negotiated"),
    (["http/1.1"], None, "No ALPN negotiated"),
    ([], "http/1.1", "No ALPN negotiated"),
])
@both_versions
def test_s_client_agrees_on_a_protocol(secured, s_client, ours, theirs, agreed, version):
    server = secured("localhost", *(part for name in ours for part in ("--alpn", name)))
    client = s_client(server, "localhost", version_flag(version), *(["-alpn", theirs] if theirs else []))
    client.expect("(?m)^%s$" % re.escape(agreed))


@both_versions
def test_s_client_shows_a_certificate(secured, s_client, certs, version):
    server = secured("localhost", "--echo", "--client-ca", certs.client_ca)
    cert, key = certs.cert("client")
    client = s_client(server, "localhost", version_flag(version), "-cert", cert, "-key", key)
    client.tell("hello\n")
    client.expect("hello")


@pytest.mark.parametrize("cert, alerts", [(None, {"1.2": "handshake failure", "1.3": "certificate required"}),
                                          ("localhost", {"1.2": "unknown ca", "1.3": "unknown ca"})])
@both_versions
def test_s_client_without_an_accepted_certificate_is_told_why(secured, s_client, certs, cert, alerts, version):
    server = secured("localhost", "--echo", "--client-ca", certs.client_ca)
    shown = [] if cert is None else ["-cert", certs.cert(cert)[0], "-key", certs.cert(cert)[1]]
    client = s_client(server, "localhost", version_flag(version), "-ign_eof", *shown)
    client.expect("(?i)alert %s" % alerts[version])
    assert client.wait() == 1


@both_versions
def test_s_client_resumes_a_session(secured, s_client, folder, version):
    server, path = secured("localhost", "--echo"), os.path.join(folder, "session")
    for flags, kind in ((["-sess_out", path], "New"), (["-sess_in", path], "Reused")):
        client = s_client(server, "localhost", version_flag(version), *flags)
        client.tell("hello\n")  # in TLS 1.3 the session comes after the handshake
        client.expect("hello")
        client.expect(r"(?m)^%s, TLSv%s" % (kind, re.escape(version)))
        client.tell("Q\n")
        assert client.wait() == 0


def test_s_client_reconnects_five_times(secured, s_client):
    client = s_client(secured("localhost", "--echo"), "localhost", "-tls1_2", "-reconnect")
    client.expect(r"(?s)New, TLSv1.2(.*Reused, TLSv1.2){5}")
    client.tell("hello\n")
    client.expect("hello")


def test_s_client_of_an_old_version_is_refused(secured, s_client):
    server = secured()
    for flag in ("-tls1", "-tls1_1"):
        client = s_client(server, "localhost", flag, "-cipher", "ALL:@SECLEVEL=0")
        client.expect("alert protocol version")
        assert client.wait() == 1
    client = s_client(server, "localhost", "-no_tls1_3")
    client.expect("New, TLSv1.2")


def test_s_client_may_not_renegotiate(secured, s_client):
    client = s_client(secured("localhost", "--echo"), "localhost", "-tls1_2")
    client.tell("hello\n")
    client.expect("hello")
    client.tell("R\n")
    client.expect("RENEGOTIATING")
    client.expect("no renegotiation")
    assert client.wait() == 1


@pytest.mark.parametrize("command", ["k", "K"])
def test_s_client_updates_its_keys(secured, s_client, command):
    """K has the server change its own, too."""
    client = s_client(secured("localhost", "--echo"), "localhost", "-tls1_3")
    for count, word in enumerate(("alpha", "bravo", "charlie", "delta")):
        client.tell(word + "\n")
        client.expect(word)
        client.tell(command + "\n")
        client.expect("(?s)(KEYUPDATE.*){%d}" % (count + 1))


def test_s_client_asks_for_small_records(secured, s_client):
    client = s_client(secured("localhost", "--echo"), "localhost", "-tls1_2", "-maxfraglen", "512")
    client.tell("x" * 100_000 + "\n")
    client.expect("x{100000}")


# curl

def curl(*arguments, status=0):
    """(stdout, the -v lines) of curl, which has to exit with `status`."""
    done = subprocess.run([tool("curl"), "--noproxy", "*", "-sSv", "--max-time", "30", *arguments],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    said = done.stderr.decode("utf-8", "replace").replace("\r", "")
    assert done.returncode == status, said
    return done.stdout, said


def at(server, host, path):
    """curl's arguments for a URL of `host`, which is our server."""
    return ["--resolve", "%s:%d:127.0.0.1" % (host, server.port), "https://%s:%d/%s" % (host, server.port, path)]


@pytest.mark.parametrize("name, host, number, words", VERDICTS + [("localhost", "127.0.0.1", 0, "ok")])
def test_curl_takes_and_refuses(secured, certs, name, host, number, words):
    server = secured(name)
    if number == 0:
        data, said = curl("--cacert", certs.ca, *at(server, host, "hello"))
        assert data == b"Hello, World!" and "SSL certificate verify ok." in said
    else:
        data, said = curl("--cacert", certs.ca, *at(server, host, "hello"), status=60)
        if number == 62:
            words = "no alternative certificate subject name matches target host name '%s'" % host
        assert data == b"" and words in said
        assert curl("-k", *at(server, host, "hello"))[0] == b"Hello, World!"  # the others are not hurt


def test_curl_is_given_the_certificate_of_the_name_it_asks_for(secured, certs):
    server = secured("localhost", *sni(certs, "a.test", "b.test", "*.c.test"))
    for host in ("localhost", "127.0.0.1", "a.test", "b.test", "x.c.test"):
        assert curl("--cacert", certs.ca, *at(server, host, "hello"))[0] == b"Hello, World!"
    curl("--cacert", certs.ca, *at(server, "d.test", "hello"), status=60)


@both_versions
@pytest.mark.parametrize("flags, line, agreed", [
    (["--alpn", "http/1.1"], "ALPN: server accepted http/1.1", "http/1.1"),
    ([], "ALPN: server did not agree on a protocol. Uses default.", None),
])
def test_curl_agrees_on_a_protocol(secured, certs, flags, line, agreed, version):
    data, said = curl("--cacert", certs.ca, "--tls-max", version, secured("localhost", *flags).url + "tls")
    assert "ALPN: offers h2,http/1.1" in said and line in said
    assert json.loads(data) == {"version": "TLSv" + version, "alpn": agreed, "reused": False, "client": None}


@both_versions
def test_curl_shows_a_certificate(secured, certs, version):
    server = secured("localhost", "--client-ca", certs.client_ca)
    cert, key = certs.cert("client")
    ours = ["--cacert", certs.ca, "--tls-max", version]
    data, _ = curl(*ours, "--cert", cert, "--key", key, server.url + "tls")
    assert json.loads(data)["client"] == "a client"
    # TLS 1.3 has the client done before it is refused: curl then fails to read, else to connect.
    status = {"1.2": 35, "1.3": 56}[version]
    _, said = curl(*ours, server.url + "tls", status=status)
    assert {"1.2": "handshake failure", "1.3": "certificate required"}[version] in said
    cert, key = certs.cert("localhost")
    _, said = curl(*ours, "--cert", cert, "--key", key, server.url + "tls", status=status)
    assert "alert unknown ca" in said


@both_versions
def test_curl_resumes_a_session(secured, certs, version):
    url = secured().url + "tls"
    data, said = curl("--cacert", certs.ca, "--tls-max", version, url, url, url)
    assert re.findall(b'"reused": ([a-z]+)', data) == [b"false", b"true", b"true"]
    assert said.count("* Connected to ") == 3


def test_curl_of_an_old_version_is_refused(secured, certs):
    _, said = curl("--cacert", certs.ca, "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "ALL:@SECLEVEL=0",
                   secured().url + "hello", status=35)
    assert "alert protocol version" in said


def test_curl_uses_a_connection_again(secured, certs):
    server = secured()
    data, said = curl("--cacert", certs.ca, server.url + "hello", server.url + "hello", server.url + "connections")
    assert data == b"Hello, World!" * 2 + b"1"
    assert said.count("Re-using existing connection") == 2 and said.count("TLS handshake, Finished (20)") == 2


@both_versions
@pytest.mark.parametrize("path", ["echo", "collected"])
def test_curl_sends_5_mb_and_gets_them_back(secured, certs, folder, path, version):
    body = os.urandom(5_000_000)
    source, target = os.path.join(folder, "up"), os.path.join(folder, "down")
    with open(source, "wb") as file:
        file.write(body)
    curl("--cacert", certs.ca, "--http1.1", "--tls-max", version, "-X", "POST", "-T", source, "-o", target,
         secured().url + path)
    with open(target, "rb") as file:
        assert file.read() == body


def test_curl_of_http_1_0_is_told_the_end_by_a_close_notify(secured, certs):
    data, said = curl("--cacert", certs.ca, "-0", secured().url + "hello")
    assert data == b"Hello, World!" and "close notify" in said  # the server's: "TLS alert, close notify (256)"


@pytest.mark.parametrize("flags", [["--cert", "--key"], ["--self-signed"]])
def test_curl_and_icey_serve(start, site, certs, flags):
    files = [part for both in zip(flags, certs.cert("localhost")) for part in both] if len(flags) > 1 else flags
    server = start(sys.executable, "-m", "icey", "serve", site, "--port", "0", *files, cwd=ROOT)
    trusting = ["--cacert", certs.ca] if len(flags) > 1 else ["-k"]
    assert curl(*trusting, server.url + "big.bin")[0] == bytes(range(256)) * 4096
    assert curl(*trusting, "-r", "5-9", server.url + "big.bin")[0] == bytes(range(5, 10))
    assert server.logged("/big.bin") == [200, 206]
    if len(flags) == 1:
        curl("--cacert", certs.ca, server.url, status=60)


def test_plain_http_sent_to_a_tls_port_is_refused_and_hurts_nobody(secured, certs):
    server = secured()  # what is no TLS at all ends by a reset
    curl("http://127.0.0.1:%d/hello" % server.port, status=56)
    assert curl("--cacert", certs.ca, server.url + "hello")[0] == b"Hello, World!"


# Python's own ssl

@pytest.fixture
def connect():
    """connect(server, context, host) -> an ssl.SSLSocket."""
    socks = []

    def connect(server, context, host="localhost", **options):
        socks.append(socket.create_connection(("127.0.0.1", server.port), 20))
        socks[-1] = context.wrap_socket(socks[-1], server_hostname=host, **options)
        return socks[-1]

    yield connect
    for sock in socks:
        sock.close()


def of_version(version):
    return {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]


@as_in_verdicts
def test_python_takes_and_refuses(secured, connect, certs, name, host, number, words):
    server = secured(name)
    if number == 0:
        connect(server, client_context(certs), host)
    else:
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            connect(server, client_context(certs), host)
        assert caught.value.verify_code == number
        connect(server, client_context(certs, verify=False), host)


@both_versions
def test_pythons_http_client_shares_a_connection(secured, certs, version):
    context = client_context(certs, version=of_version(version), alpn=["http/1.1"])
    connection = http.client.HTTPSConnection("127.0.0.1", secured("localhost", "--alpn", "http/1.1").port, timeout=20,
                                             context=context)
    try:
        body = os.urandom(1_000_000)
        for path in ("/echo", "/collected"):
            connection.request("POST", path, body=body)
            assert connection.getresponse().read() == body
            connection.request("POST", path, body=iter([body[:1], body[1:]]), encode_chunked=True,
                               headers={"Transfer-Encoding": "chunked"})
            assert connection.getresponse().read() == body
        connection.request("GET", "/connections")
        assert connection.getresponse().read() == b"1"
        connection.request("GET", "/tls")
        assert json.loads(connection.getresponse().read()) == {"version": "TLSv" + version, "alpn": "http/1.1", "reused": False,
                                                               "client": None}
    finally:
        connection.close()


def test_python_is_given_the_certificate_of_the_name_it_asks_for(secured, connect, certs):
    server = secured("localhost", *sni(certs, "a.test", "*.c.test"))
    for host, name in (("localhost", "localhost"), ("127.0.0.1", "localhost"), ("a.test", "a.test"), ("x.c.test", "*.c.test")):
        assert ("DNS", name) in connect(server, client_context(certs), host).getpeercert()["subjectAltName"]


@both_versions
def test_python_resumes_a_session(secured, connect, certs, version):
    server, context, session = secured("localhost", "--echo"), client_context(certs, version=of_version(version)), None
    for reused in (False, True, True):
        sock = connect(server, context, session=session)
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"  # behind the tickets
        assert sock.session_reused is reused
        session = sock.session
        sock.unwrap().close()


@both_versions
@pytest.mark.parametrize("cert, alert", [("client", None), (None, "handshake failure|certificate.required"),
                                         ("localhost", "unknown.ca")])
def test_python_shows_a_certificate_or_is_refused(secured, connect, certs, version, cert, alert):
    server = secured("localhost", "--echo", "--client-ca", certs.client_ca)
    context = client_context(certs, cert=cert, version=of_version(version))
    if alert is None:
        sock = connect(server, context)
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    else:
        with pytest.raises(ssl.SSLError, match="(?i)alert.*(%s)" % alert.replace(" ", ".")):
            connect(server, context).recv(1)


@both_versions
def test_python_and_close_notify_both_ways(secured, connect, certs, version):
    server, context = secured("localhost", "--echo"), client_context(certs, version=of_version(version))
    data = os.urandom(300_000)
    sock = connect(server, context)
    sock.sendall(data)
    got = b""
    while len(got) < len(data):
        got += sock.recv(65536)
    assert got == data
    with sock.unwrap() as plain:  # ours, then the server's; an error without
        assert plain.recv(1) == b""
    connect(server, context).close()  # without one: the server lives on
    sock = connect(server, context)
    sock.sendall(b"x")
    assert sock.recv(1) == b"x"


# wrk

def test_wrk_with_64_connections(secured):
    server = secured()
    status, said = programs.run("wrk", "-t", "1", "-c", "64", "-d", "1", "--timeout", "10", server.url + "hello")
    assert status == 0 and "Socket errors" not in said and "Non-2xx" not in said, said
    assert int(re.search(r"(\d+) requests in", said).group(1)) > 64
