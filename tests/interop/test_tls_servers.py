"""icey as the TLS client of openssl s_server and of Python's own ssl; of nginx see test_tls_nginx.py."""
import http.server
import os
import re
import ssl
import threading

import pytest

import icey
from tests.support.tls import server_context

VERSIONS = ("1.2", "1.3")
both_versions = pytest.mark.parametrize("version", VERSIONS)


def version_flag(version):
    return "-tls" + version.replace(".", "_")


# openssl s_server

@pytest.fixture
def s_server(certs, program):
    """s_server(name, *flags) -> a Program, listening on its `port` with the certificate of that name."""
    def s_server(name="localhost", *flags, **options):
        cert, key = certs.cert(name)
        server = program("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-cert_chain", cert, "-key", key,
                         *flags, **options)
        server.port = int(server.expect(r"ACCEPT 127\.0\.0\.1:(\d+)").group(1))
        return server

    return s_server


@pytest.fixture
def connect(loop, until, certs):
    """connect(server, host, context) -> a TLSSocket; what happens to it is in its `seen`, what it received in `got`."""
    def connect(server, host="localhost", context=None, *, shaken=True, **options):
        sock = Recorded(loop, context=context or icey.tls.client_context(ca=certs.ca), server_hostname=host, **options)
        sock.connect("127.0.0.1", server.port)
        if shaken:
            until(lambda: sock.seen)
            assert sock.seen == ["connect"]
        return sock

    return connect


class Recorded(icey.TLSSocket):
    __slots__ = ("seen", "got")

    def __init__(self, loop, **options):
        super().__init__(loop, **options)
        self.seen, self.got = [], bytearray()
        self.on_connect += lambda sock: self.seen.append("connect")
        self.on_recv += lambda sock, view: self.got.extend(view)
        self.on_end += lambda sock: self.seen.append("end")
        self.on_error += lambda sock, error: self.seen.append(error)
        self.on_close += lambda sock: self.seen.append("close")


# what to wait for

def closed(sock):
    return lambda: sock.closed


def got(sock, data):
    return lambda: sock.got == data


def said(server, text):
    return lambda: text in server.said


def come(things, number):
    return lambda: len(things) == number


def fetch(server, certs, host="localhost", path="/", **options):
    options.setdefault("tls", icey.tls.client_context(ca=certs.ca))
    return icey.http.fetch("https://%s:%d%s" % (host, server.port, path), **options)


@pytest.mark.parametrize("name, host, words", [
    ("localhost", "localhost", None),
    ("localhost", "127.0.0.1", None),
    ("a.test", "a.test", None),
    ("*.c.test", "some.c.test", None),
    ("chain", "localhost", None),
    ("expired", "localhost", "certificate has expired"),
    ("not yet valid", "localhost", "certificate is not yet valid"),
    ("self-signed", "localhost", "self.signed certificate"),
    ("unknown ca", "localhost", "unable to get local issuer certificate"),
    ("a.test", "b.test", "certificate is not valid for 'b.test'"),
    ("*.c.test", "a.b.c.test", "certificate is not valid for 'a.b.c.test'"),
    ("a.test", "127.0.0.1", "certificate is not valid for '127.0.0.1'"),
])
@both_versions
def test_taken_and_refused(s_server, certs, hosts, name, host, words, version):
    server = s_server(name, "-www", version_flag(version))
    if words is None:
        answer = fetch(server, certs, host)
        assert answer.status == 200 and "New, TLSv%s" % version in answer.text()
    else:
        with pytest.raises(icey.TLSError, match="the certificate of %s was refused: .*%s" % (re.escape(host), words)):
            fetch(server, certs, host)
        assert fetch(server, certs, host, tls=icey.tls.client_context(verify=False)).status == 200


def test_a_certificate_of_a_missing_intermediate_is_refused(certs, program):
    cert, key = certs.cert("broken chain")
    server = program("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key", key, "-www")
    server.port = int(server.expect(r"ACCEPT 127\.0\.0\.1:(\d+)").group(1))
    with pytest.raises(icey.TLSError, match="unable to get local issuer certificate"):
        fetch(server, certs)


def test_an_old_version_is_refused(s_server, certs):
    for flag in ("-tls1", "-tls1_1"):
        with pytest.raises(icey.TLSError, match="TLS handshake with localhost failed: no TLS version in common"):
            fetch(s_server("localhost", "-www", flag, "-cipher", "ALL:@SECLEVEL=0"), certs)


def test_no_cipher_in_common_is_refused(s_server, certs):
    server = s_server("localhost", "-www", "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")  # the key is no RSA key
    with pytest.raises(icey.TLSError, match="the peer refused the handshake .no cipher in common"):
        fetch(server, certs)


@pytest.mark.parametrize("ours, theirs, agreed", [
    (["http/1.1"], "h2,http/1.1", "http/1.1"),
    (["a", "b"], "b,a", "b"),
    (["http/1.1"], None, None),
    ([], "http/1.1", None),
])
@both_versions
def test_a_protocol_is_agreed_on(s_server, connect, certs, ours, theirs, agreed, version):
    server = s_server("localhost", "-rev", version_flag(version), *(["-alpn", theirs] if theirs else []))
    sock = connect(server, context=icey.tls.client_context(ca=certs.ca, alpn=ours))
    assert (sock.alpn, sock.version) == (agreed, "TLSv" + version)


@both_versions
def test_no_protocol_in_common(s_server, connect, until, certs, version):
    server = s_server("localhost", "-rev", version_flag(version), "-alpn", "h2")
    sock = connect(server, context=icey.tls.client_context(ca=certs.ca, alpn=["http/1.1"]), shaken=False)
    until(closed(sock))
    error, close = sock.seen
    assert close == "close" and isinstance(error, icey.TLSError) and "no application protocol" in str(error)


@both_versions
def test_the_server_is_told_the_name(s_server, connect, until, certs, version):
    cert, key = certs.cert("a.test")
    server = s_server("localhost", "-rev", version_flag(version), "-servername", "a.test", "-cert2", cert, "-key2", key)
    for host in ("a.test", "localhost"):  # it would warn of another name, no more
        sock = connect(server, host)
        assert ("DNS", host) in sock.peer_certificate["subjectAltName"]
        sock.close()  # it takes one connection at a time
        until(closed(sock))


def test_a_name_the_server_does_not_know(s_server, connect, until, certs):
    cert, key = certs.cert("a.test")
    server = s_server("localhost", "-rev", "-servername", "a.test", "-servername_fatal", "-cert2", cert, "-key2", key)
    sock = connect(server, "b.test", shaken=False)
    until(closed(sock))
    assert "the peer does not know that server name" in str(sock.seen[0])


MUTUAL = ["-Verify", "2", "-verify_return_error"]


@both_versions
def test_our_certificate_is_shown(s_server, certs, version):
    server = s_server("localhost", "-www", version_flag(version), *MUTUAL, "-CAfile", certs.client_ca)
    cert, key = certs.cert("client")
    answer = fetch(server, certs, tls=icey.tls.client_context(ca=certs.ca, cert=cert, key=key))
    assert "Subject: CN=a client" in answer.text().replace(" = ", "=")


@pytest.mark.parametrize("shown, reasons", [
    (None, {"1.2": "the peer refused the handshake .no cipher in common, or a client certificate is missing.",
            "1.3": "the peer wants a client certificate"}),
    ("localhost", {"1.2": "the peer does not trust our certificate", "1.3": "the peer does not trust our certificate"}),
])
@both_versions
def test_a_server_that_refuses_us_tells_why(s_server, connect, until, certs, shown, reasons, version):
    server = s_server("localhost", "-rev", version_flag(version), *MUTUAL, "-CAfile", certs.client_ca)
    cert, key = certs.cert(shown) if shown else (None, None)
    sock = connect(server, context=icey.tls.client_context(ca=certs.ca, cert=cert, key=key), shaken=False)
    until(closed(sock))
    if version == "1.3":  # where the client is done before the server has seen its certificate
        assert sock.seen.pop(0) == "connect"
    error, close = sock.seen
    assert close == "close" and isinstance(error, icey.TLSError) and re.fullmatch(reasons[version], error.reason)


@pytest.mark.parametrize("flags", [[], ["-no_ticket"]], ids=["ticket", "no ticket"])
@both_versions
def test_a_session_is_resumed(s_server, connect, until, certs, flags, version):
    server = s_server("localhost", "-rev", version_flag(version), *flags)
    context, session = icey.tls.client_context(ca=certs.ca), None
    for reused in (False, True, True):
        sock = connect(server, context=context, session=session)
        sock.send(b"hello\n")
        until(got(sock, b"olleh\n"))  # in TLS 1.3 it comes after the handshake
        assert sock.session_reused is reused
        session = sock.session
        sock.close()
        until(closed(sock))
        assert sock.seen == ["connect", "close"]


@both_versions
def test_a_client_resumes_by_itself(s_server, loop, until, certs, version):
    server = s_server("localhost", "-www", version_flag(version))  # each answer ends its connection
    client = icey.http.Client(loop, tls=icey.tls.client_context(ca=certs.ca))
    kinds = []
    for count in range(1, 4):
        client.request("GET", "https://localhost:%d/" % server.port, done=lambda answer, error: kinds.append(
            error or re.search("(New|Reused), TLSv" + re.escape(version), answer.text()).group(1)))
        until(come(kinds, count))
    assert kinds == ["New", "Reused", "Reused"]
    client.close()


def test_a_session_the_server_has_forgotten(s_server, connect, until, certs):
    context = icey.tls.client_context(ca=certs.ca)
    first = connect(s_server("localhost", "-rev"), context=context)
    first.send(b"hello\n")
    until(lambda: first.got)
    again = connect(s_server("localhost", "-rev"), context=context, session=first.session)
    assert again.session_reused is False


@both_versions
def test_lines_both_ways_and_a_clean_end(s_server, connect, until, version):
    server = s_server("localhost", "-rev", version_flag(version))
    sock = connect(server)
    line = os.urandom(5000).hex().encode()
    for word in (b"hello", b"x", line):
        sock.got.clear()
        sock.send(word + b"\n")
        until(got(sock, word[::-1] + b"\n"))
    sock.send(b"CLOSE\n")
    until(lambda: "end" in sock.seen)
    assert sock.seen == ["connect", "end"]


@both_versions
def test_our_end_is_a_clean_one(s_server, connect, until, version):
    server = s_server("localhost", version_flag(version))
    sock = connect(server)
    sock.send(b"goodbye\n")
    sock.close()
    until(closed(sock))
    until(said(server, "goodbye\nDONE\n"))  # without a close_notify it is an error
    assert sock.seen == ["connect", "close"]


@pytest.mark.parametrize("how", ["kill", "q"])
@both_versions
def test_a_server_that_is_cut_off(s_server, connect, until, version, how):
    """Killed, or ended by its q, it sends no close_notify."""
    server = s_server("localhost", version_flag(version))
    sock = connect(server)
    server.tell("the beginning\n")
    until(got(sock, b"the beginning\n"))
    if how == "kill":
        server.kill()
    else:
        server.tell("q\n")
    until(closed(sock))
    _, error, close = sock.seen
    assert isinstance(error, icey.TLSError) and isinstance(error, icey.PeerClosed) and "close_notify" in str(error)


@pytest.mark.parametrize("how", ["kill", "q"])
def test_an_answer_that_is_cut_off(s_server, loop, until, certs, how):
    """An answer without a length ends with its connection: without a close_notify it may be short."""
    server = s_server("localhost", "-crlf")
    client, outcome, body = icey.http.Client(loop, tls=icey.tls.client_context(ca=certs.ca)), [], bytearray()
    call = client.request("GET", "https://localhost:%d/" % server.port, done=lambda *both: outcome.append(both))
    call.on_payload += lambda call, view: body.extend(view)
    until(said(server, "GET / HTTP/1.1"))
    server.tell("HTTP/1.1 200 OK\n\nthe beginning\n")
    until(lambda: body == b"the beginning\r\n")
    if how == "kill":
        server.kill()
    else:
        server.tell("q\n")
    until(lambda: outcome)
    [(answer, error)] = outcome
    assert answer is None and isinstance(error, icey.TLSError) and "close_notify" in str(error)
    client.close()


def test_renegotiation_is_refused(s_server, connect, until):
    server = s_server("localhost", "-tls1_2")
    sock = connect(server)
    sock.send(b"hello\n")
    until(said(server, "hello"))
    server.tell("r\n")
    until(said(server, "no renegotiation"))
    until(closed(sock))
    assert isinstance(sock.seen[1], icey.TLSError) and "wanted to renegotiate" in str(sock.seen[1])


@pytest.mark.parametrize("command", ["k", "K"])
def test_the_server_updates_its_keys(s_server, connect, until, command):
    """K has us change ours, too."""
    server = s_server("localhost", "-tls1_3")
    sock = connect(server)
    for word in ("alpha", "bravo", "charlie", "delta"):
        server.tell(command + "\n")
        sock.send(word.encode() + b"\n")
        until(said(server, word))  # it has read the command by then
        server.tell("back\n")
        until(got(sock, b"back\n"))
        sock.got.clear()
    assert sock.seen == ["connect"]


def test_plain_text_in_the_middle(s_server, connect, until):
    server = s_server("localhost")
    sock = connect(server)
    sock.send(b"hello\n")
    until(said(server, "hello"))
    server.tell("P\n")
    until(closed(sock))
    assert isinstance(sock.seen[1], icey.TLSError)


@both_versions
def test_a_file_of_5_mb(s_server, certs, folder, version):
    data = os.urandom(5_000_000)
    with open(os.path.join(folder, "data.bin"), "wb") as file:
        file.write(data)
    assert fetch(s_server("localhost", "-WWW", version_flag(version), cwd=folder), certs, path="/data.bin").body == data


# Python's own ssl

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Port", str(self.client_address[1]))
        self.send_header("X-Reused", str(self.connection.session_reused))
        self.send_header("X-Protocol", str(self.connection.selected_alpn_protocol()))
        if self.path == "/close":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Threads(http.server.ThreadingHTTPServer):
    """It speaks TLS, by `context`, in a thread for each connection."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, context):
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.context = context

    def finish_request(self, request, client_address):
        with self.context.wrap_socket(request, server_side=True) as sock:
            try:
                super().finish_request(sock, client_address)
            finally:
                try:
                    sock.unwrap().close()
                except OSError:
                    pass

    def handle_error(self, request, client_address):
        pass  # a client that has gone


@pytest.fixture
def python_server():
    """python_server(context) -> a Threads, running."""
    running = []

    def python_server(context):
        running.append(Threads(context))
        threading.Thread(target=running[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return running[-1]

    yield python_server
    for server in running:
        server.shutdown()
        server.server_close()


def of_version(version):
    return {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]


@both_versions
def test_pythons_server_and_a_connection_that_is_kept(python_server, loop, until, certs, version):
    server = python_server(server_context(certs, version=of_version(version)))
    client = icey.http.Client(loop, tls=icey.tls.client_context(ca=certs.ca))
    answers = []
    bodies = [os.urandom(size) for size in (0, 1, 100_000, 1_000_000)]
    for count, body in enumerate(bodies):
        client.request("POST", "https://localhost:%d/" % server.port, body=body,
                       done=lambda answer, error: answers.append(error or answer))
        until(come(answers, count + 1))
    assert [answer.body for answer in answers] == bodies and len({answer.headers["x-port"] for answer in answers}) == 1
    client.close()
    until(closed(client))


@both_versions
def test_pythons_server_and_a_protocol_and_names(python_server, certs, hosts, version):
    context, asked = server_context(certs, version=of_version(version), alpn=["http/1.1"]), []

    def choose(sock, name, _):
        asked.append(name)
        if name != "localhost":
            sock.context = server_context(certs, name, alpn=["http/1.1"])

    context.sni_callback = choose
    server = python_server(context)
    for host in ("localhost", "a.test", "b.test"):
        answer = fetch(server, certs, host, tls=icey.tls.client_context(ca=certs.ca, alpn=["h3", "http/1.1"]))
        assert answer.headers["x-protocol"] == "http/1.1"
    assert asked == ["localhost", "a.test", "b.test"]


@both_versions
def test_pythons_server_and_sessions(python_server, loop, until, certs, version):
    server = python_server(server_context(certs, version=of_version(version)))
    client = icey.http.Client(loop, tls=icey.tls.client_context(ca=certs.ca))
    answers = []
    for count in range(1, 4):
        client.request("GET", "https://localhost:%d/close" % server.port,
                       done=lambda answer, error: answers.append(error or answer))
        until(come(answers, count))
    assert [answer.headers["x-reused"] for answer in answers] == ["False", "True", "True"]
    client.close()
    until(closed(client))


@both_versions
def test_pythons_server_wants_a_certificate(python_server, certs, version):
    server = python_server(server_context(certs, client_ca=certs.client_ca, version=of_version(version)))
    cert, key = certs.cert("client")
    assert fetch(server, certs, tls=icey.tls.client_context(ca=certs.ca, cert=cert, key=key)).status == 200
    with pytest.raises(icey.TLSError, match="client certificate"):
        fetch(server, certs)


@pytest.mark.parametrize("name, words", [("expired", "certificate has expired"), ("self-signed", "self.signed certificate"),
                                         ("a.test", "certificate is not valid for 'localhost'")])
def test_pythons_server_with_a_certificate_that_is_refused(python_server, certs, name, words):
    with pytest.raises(icey.TLSError, match=words):
        fetch(python_server(server_context(certs, name)), certs)
