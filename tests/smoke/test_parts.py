"""What each set of `vendor --list` is for, in a few lines: a copy that has that set alone passes its part of these.

Stands alone, as test_smoke.py does. ICEY_PACKAGE is the name to import, ICEY_WHERE the folder it has to come from, ICEY_SET the
set that the copy was made of: without it all parts are run. ICEY_SETS: the words of --list, for what says which have no part.
"""
import importlib
import importlib.util
import os
import pkgutil
import socket
import subprocess
import sys
import threading
import zipfile
import zlib

import pytest

PACKAGE = os.environ.get("ICEY_PACKAGE", "icey")
WHERE = os.environ.get("ICEY_WHERE")
SET = os.environ.get("ICEY_SET", "")
PARTS = {"whole"}  # the words that have a part
TAKEN = os.environ.get("ICEY_MINIMAL", "").replace("light", "ssl,urllib").split(",")  # see tests/support/minimal.py
LACKING = [name for name in ("ssl", "zlib", "threading", "signal", "subprocess", "urllib")
           if name in TAKEN or importlib.util.find_spec(name) is None]

icey = importlib.import_module(PACKAGE)

# A certificate of nobody, for localhost and for these tests, until 2126.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBszCCAVmgAwIBAgIIUc1tKcvBCdswCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJ
bG9jYWxob3N0MCAXDTE1MTIxNzA2MzM1NFoYDzIxMjYxMTA1MDYzMzU0WjAUMRIw
EAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATgJRSz
eECzSaEuNSgSBiyC001zDAHqaR5ko/Tbcn45fdx5IbvKUpn55EiF29ogJjDJLEu3
2wzOAtzv0yj/mU51o4GSMIGPMAwGA1UdEwEB/wQCMAAwDgYDVR0PAQH/BAQDAgeA
MB0GA1UdDgQWBBQRk66yo+OrlupQZLQwJS1iwmbvMjAfBgNVHSMEGDAWgBQRk66y
o+OrlupQZLQwJS1iwmbvMjATBgNVHSUEDDAKBggrBgEFBQcDATAaBgNVHREEEzAR
gglsb2NhbGhvc3SHBH8AAAEwCgYIKoZIzj0EAwIDSAAwRQIhAP+JoXlKzJrFQM+J
qDGjeqMc06Vk/e6ovPGNBfLRqqgeAiBi5Z3eZm5hj2jbhfvEIcED37Cas2ZBM6jW
qa3emoWQDA==
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBxNQdLiW47BaNZqv
BGkplXaLUNYDtKnCCRrg484hyKGhRANCAATgJRSzeECzSaEuNSgSBiyC001zDAHq
aR5ko/Tbcn45fdx5IbvKUpn55EiF29ogJjDJLEu32wzOAtzv0yj/mU51
-----END PRIVATE KEY-----
"""


def part(*words, needs=()):
    """The test is the part of these sets; `needs`: modules that Python may lack."""
    PARTS.update(words)
    reason = next(("Python lacks " + name for name in needs if name in LACKING), "")
    return pytest.mark.skipif(bool(SET and SET not in words) or bool(reason), reason=reason or "the part of another set")


@pytest.fixture
def loop():
    loop = icey.Loop()
    loop.slow_limit = 60.0  # what is imported when it is first used takes its time on a busy machine
    failed = []
    loop.on_error += lambda loop, exc, handle: failed.append(exc)
    yield loop
    loop.close()
    assert failed == []


def run(loop, seconds=20.0):
    """Runs the loop until nothing keeps it alive; fails instead of hanging."""
    overdue = []
    guard = loop.call_later(seconds, lambda: (overdue.append(True), loop.stop()))
    guard.unref()
    loop.run()
    guard.stop()
    assert not overdue, "the loop was still alive after %g seconds: %r" % (seconds, list(loop.handles))


def python(*arguments, **options):
    done = subprocess.run([sys.executable, "-m", PACKAGE, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, universal_newlines=True, **options)
    return done.returncode, done.stdout


# any copy

def modules():
    """The names of all modules of the copy."""
    return [info.name for info in pkgutil.walk_packages(icey.__path__, PACKAGE + ".", onerror=lambda name: None)]


def test_it_comes_from_where_it_should():
    assert icey.__name__ == PACKAGE
    if WHERE:
        assert os.path.dirname(icey.__file__) == WHERE


def test_every_file_can_be_imported_and_nothing_has_the_old_name():
    for name in modules():
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as exc:
            if exc.name not in LACKING:
                raise
    if PACKAGE.split(".")[0] != "icey":
        assert [name for name in sys.modules if name.split(".")[0] == "icey"] == []


def packages():
    return [icey] + [getattr(icey, name) for name in ("http", "hosts", "mqtt", "workers") if name in icey.__all__]


def test_every_public_name_is_there():
    for package in packages():
        for name in package.__all__:
            try:
                assert getattr(package, name) is not None
            except ModuleNotFoundError as exc:
                if exc.name not in LACKING:
                    raise


@pytest.mark.skipif(SET in ("", "whole"), reason="a whole copy")
def test_a_name_that_was_left_out_says_how_to_add_it():
    told = 0
    for package in packages():
        for names in getattr(package, "_LEFT_OUT", {}).values():
            for name in names.split():
                how = "made without it.* vendor DEST --only %s .*%s( --name .*)?$" % (SET, name)
                with pytest.raises(AttributeError, match=how):
                    getattr(package, name)
                assert name not in dir(package) and name not in package.__all__
                told += 1
    assert told


@pytest.mark.skipif(not SET, reason="no set is named")
def test_the_set_has_its_part():
    assert SET in PARTS


# base

@part("loop", "run", "poll")
def test_the_loop_runs_soon_posted_and_timed_calls(loop):
    seen = []
    loop.call_later(0.01, seen.append, "later")
    loop.post(seen.append, "posted")
    loop.call_soon(seen.append, "soon")
    run(loop)
    assert sorted(seen) == ["later", "posted", "soon"]


@part("loop")
def test_an_idler_and_signals(loop):
    seen = []
    idler = icey.Idler(loop, lambda idler: (seen.append("idle"), idler.close()))
    idler.start()
    signal = icey.ThreadSignal()
    signal.attach(seen.append, loop=loop)
    signal.emit("told")
    run(loop)
    assert sorted(seen) == ["idle", "told"]


@part("run")
def test_run_ends_with_its_handles(loop):
    timer = icey.Timer(loop, 0.01)
    timer.on_timeout += lambda timer: timer.close()
    timer.start()
    icey.run(loop, timer)
    assert timer.closed


@part("poll")
def test_a_descriptor_of_ones_own(loop):
    near, far = socket.socketpair()
    with near, far:
        poll, seen = icey.Poll(loop, near.fileno()), []
        poll.on_readable += lambda poll: (seen.append(near.recv(9)), poll.close())
        far.send(b"hello")
        run(loop)
    assert seen == [b"hello"]


@pytest.mark.skipif(os.name == "nt", reason="pipes cannot be polled there")
@part("pipe")
def test_a_pipe(loop):
    read, write = os.pipe()
    reader, writer, seen = icey.Pipe(loop, read), icey.Pipe(loop, write), []
    reader.on_recv += lambda pipe, view: seen.append(bytes(view))
    writer.send(b"hello")
    writer.close()
    run(loop)
    assert seen == [b"hello"] and reader.closed


@pytest.mark.skipif(os.name == "nt", reason="pipes cannot be polled there")
@part("process", needs=["subprocess", "signal"])  # the one needs the other
def test_a_child_process(loop):
    process, seen = icey.Process(loop, [sys.executable, "-c", "print(input()); raise SystemExit(3)"], stdin="pipe"), []
    process.stdout.on_recv += lambda pipe, view: seen.append(bytes(view))
    process.on_exit += lambda process, code: seen.append(code)
    process.stdin.send(b"hello\n")
    run(loop)
    assert (b"".join(seen[:-1]), seen[-1]) == (b"hello\n", 3)


# net

def echo(loop, listener, client, host):
    received = []
    listener.on_accept += lambda _, peer: peer.on_recv.attach(lambda sock, view: sock.send_owned(view))
    client.on_connect += lambda sock: sock.send(b"hello")
    client.on_recv += lambda sock, view: (received.append(bytes(view)), sock.close(), listener.close())
    client.connect(host, listener.address.port)
    run(loop)
    assert b"".join(received) == b"hello"


@part("tcp")
def test_an_echo_over_tcp(loop):
    echo(loop, icey.TCPListener(loop, icey.Address("127.0.0.1", 0)), icey.TCPSocket(loop), "127.0.0.1")


@part("tcp")
def test_a_name_that_cannot_be_looked_up_says_how(loop):
    if "resolve" in icey.__all__:
        pytest.skip("it can")
    client, told = icey.TCPSocket(loop), []
    client.on_error += lambda sock, exc: told.append(exc)
    client.connect("localhost", 1)
    run(loop)
    assert isinstance(told[0], icey.ResolveError) and "vendor DEST --only ... dns" in str(told[0])


@part("dns")
def test_a_name_is_looked_up_and_connected_to(loop):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client, seen = icey.TCPSocket(loop), []
        client.on_connect += lambda sock: (seen.append(sock.peer.host), sock.close())
        client.connect("localhost", server.getsockname()[1])
        run(loop)
    assert seen == ["127.0.0.1"]


@part("tcp")
def test_a_proxy_where_it_was_left_out_says_how(loop):
    if importlib.util.find_spec(PACKAGE + ".net.socks"):
        pytest.skip("it is there")
    client = icey.TCPSocket(loop)
    with pytest.raises(ModuleNotFoundError, match="vendor DEST --only ... socks"):
        client.connect("127.0.0.1", 1, proxy="socks5://127.0.0.1")
    client.close()


@part("client")
def test_a_client_whose_proxy_was_left_out_says_how(loop):
    if importlib.util.find_spec(PACKAGE + ".net.socks"):
        pytest.skip("it is there")
    with pytest.raises(ModuleNotFoundError, match="vendor DEST --only ... socks"):
        icey.http.Client(loop, proxy="socks5://127.0.0.1")


@part("socks", needs=["threading"])
def test_a_connection_by_a_proxy(loop):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def proxy():
            peer, _ = server.accept()
            with peer:
                for answer in (b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6) + b"hello"):
                    assert peer.recv(99)
                    peer.sendall(answer)
        thread = threading.Thread(target=proxy)
        thread.start()
        client, seen = icey.TCPSocket(loop), []
        client.on_recv += lambda sock, view: (seen.append(bytes(view)), sock.close())
        client.connect("a.test", 80, proxy="socks5h://127.0.0.1:%d" % server.getsockname()[1])
        run(loop)
        thread.join()
    assert seen == [b"hello"]


@part("files")
def test_a_file_goes_over_a_stream(loop, tmp_path):
    (tmp_path / "file").write_bytes(b"from a file")
    near, far = socket.socketpair()
    with far:
        stream = icey.Stream(loop, near)
        stream.write_file(open(str(tmp_path / "file"), "rb"), 5, 6)
        stream.close()
        run(loop)
        assert far.recv(99) == b"a file"


@part("tls", needs=["ssl"])
def test_an_echo_over_tls(loop, tmp_path):
    import ssl
    (tmp_path / "both.pem").write_text(CERTIFICATE)
    server = icey.tls.server_context(str(tmp_path / "both.pem"), str(tmp_path / "both.pem"))
    trusting = ssl.create_default_context(cadata=CERTIFICATE.partition("-----BEGIN PRIVATE")[0])
    listener = icey.TCPListener(loop, icey.Address("127.0.0.1", 0))
    received = []

    def accepted(_, sock):
        peer = icey.start_tls(sock, server, server_side=True)
        peer.on_recv += lambda sock, view: sock.send_owned(view)

    client = icey.TLSSocket(loop, context=trusting)
    listener.on_accept += accepted
    client.on_connect += lambda sock: sock.send(b"hello")
    client.on_recv += lambda sock, view: (received.append(bytes(view)), sock.close(), listener.close())
    client.connect("127.0.0.1", listener.address.port)
    run(loop)
    assert b"".join(received) == b"hello"


@part("udp")
def test_a_datagram(loop):
    one, two, seen = icey.UDPSocket(loop), icey.UDPSocket(loop), []
    one.on_recv += lambda sock, view, address: (seen.append(bytes(view)), one.close(), two.close())
    one.bind("127.0.0.1:0")
    two.bind("127.0.0.1:0")
    two.send(b"hello", one.local)
    run(loop)
    assert seen == [b"hello"]


@part("udp")
def test_a_transaction(loop):
    one, two, told = icey.UDPSocket(loop), icey.UDPSocket(loop), []
    one.bind("127.0.0.1:0")
    one.on_recv += lambda sock, view, address: sock.send_owned([view, b"!"], address)

    def done(view, error):
        told.append(error or bytes(view))
        one.close()
        two.close()

    icey.Transaction(two, b"hello", one.local, match=lambda view, address: address == one.local, done=done)
    run(loop)
    assert told == [b"hello!"]
    assert isinstance(icey.interfaces(), list)


@part("packets", needs=["threading"])
def test_packets_through_a_thread():
    class Louder(icey.PacketProcessor):
        retention = icey.PacketRetention.BORROWED

        def process(self, packet):
            self.emit(bytes(packet.data).upper())

    heard, over = [], threading.Event()
    stream = icey.PacketStream("words")
    stream.attach(Louder())
    stream.attach(icey.AsyncPacketQueue())
    stream.on_packet += lambda packet: (heard.append(bytes(packet.data)), over.set() if len(heard) == 2 else None)
    stream.start()
    stream.write(bytearray(b"one"))
    stream.write(icey.RawPacket(b"two"))
    assert over.wait(20)
    stream.close()
    assert heard == [b"ONE", b"TWO"]


# http, the server's side

def ask(loop, server, request, until=b""):
    """What a client that sends `request` gets, until its end, or until it ends with `until`."""
    heard = bytearray()
    server.start()

    def came(sock, view):
        heard.extend(view)
        if until and heard.endswith(until):
            sock.close()

    client = icey.TCPSocket(loop)
    client.on_connect += lambda sock: sock.send(request)
    client.on_recv += came
    client.on_close += lambda sock: server.close()
    client.connect("127.0.0.1", server.address.port)
    run(loop)
    return bytes(heard)


def get(path, *fields):
    return "\r\n".join(["GET %s HTTP/1.1" % path, "Host: here", "Connection: close", *fields, "", ""]).encode()


@part("server", "websocket", "static", "forms")
def test_a_server_answers(loop):
    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += lambda exchange: exchange.respond(body=exchange.request.path.encode())
    heard = ask(loop, server, get("/page?a=1", "Cookie: a=b"))
    assert heard.startswith(b"HTTP/1.1 200 OK\r\n") and heard.endswith(b"\r\n\r\n/page")


@part("server")
def test_a_server_sends_a_file_and_reads_query_and_cookies(loop, tmp_path):
    (tmp_path / "file").write_bytes(b"from a file")
    server, seen = icey.http.Server(loop, "127.0.0.1", 0), []

    def asked(exchange):
        seen.extend([exchange.request.query, exchange.request.cookies])
        exchange.response.headers["Content-Length"] = "11"
        exchange.send_file(open(str(tmp_path / "file"), "rb"), 0, 11)
        exchange.end()

    server.on_request += asked
    assert ask(loop, server, get("/?a=1", "Cookie: a=b")).endswith(b"\r\n\r\nfrom a file")
    assert seen == ["a=1", {"a": "b"}]


@part("server", needs=["ssl"])
def test_a_server_without_tls_says_so(loop):
    import ssl
    if "tls" in icey.__all__:
        pytest.skip("it has TLS")
    with pytest.raises(ModuleNotFoundError, match=r"vendor DEST --only \.\.\. tls"):
        icey.http.Server(loop, "127.0.0.1", 0, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


@part("server")
def test_a_server_without_another_part_says_so(loop):
    if SET != "server":
        pytest.skip("it has them")
    for word, options in (("proxyprotocol", {"proxy_protocol": "127.0.0.1"}), ("gzip", {"compress": True})):
        with pytest.raises(ModuleNotFoundError, match=r"vendor DEST --only \.\.\. " + word):
            icey.http.Server(loop, "127.0.0.1", 0, **options)


@part("proxyprotocol")
def test_a_server_behind_the_proxy_protocol(loop):
    server = icey.http.Server(loop, "127.0.0.1", 0, proxy_protocol="127.0.0.1")
    server.on_request += lambda exchange: exchange.respond(body=str(exchange.peer).encode())
    heard = ask(loop, server, b"PROXY TCP4 192.0.2.7 127.0.0.1 56324 80\r\n" + get("/"))
    assert heard.endswith(b"\r\n\r\n192.0.2.7:56324")


@part("gzip", needs=["zlib"])
def test_an_answer_is_gzipped(loop):
    server = icey.http.Server(loop, "127.0.0.1", 0, compress=True)
    server.on_request += lambda exchange: exchange.respond(200, b"again and " * 500, "text/plain")
    head, _, body = ask(loop, server, get("/", "Accept-Encoding: gzip")).partition(b"\r\n\r\n")
    assert b"\r\nContent-Encoding: gzip\r\n" in head + b"\r\n"
    if b"chunked" not in head:
        assert zlib.decompress(body, 31) == b"again and " * 500


@part("static")
def test_files_are_served(loop, tmp_path):
    (tmp_path / "page.txt").write_bytes(b"from a file")
    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += icey.http.StaticFiles(str(tmp_path))
    assert ask(loop, server, get("/page.txt")).endswith(b"\r\n\r\nfrom a file")
    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += icey.http.StaticFiles(str(tmp_path))
    assert b"page.txt" in ask(loop, server, get("/"))


@part("forms")
def test_a_form_is_read():
    parser = icey.http.FormParser("application/x-www-form-urlencoded")
    parser.feed(b"a=1&b=2")
    parser.end()
    assert parser.form.fields == [("a", "1"), ("b", "2")]


@part("accesslog")
def test_an_answer_is_logged(loop):
    lines, server = [], icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += lambda exchange: exchange.respond(body=b"hello")
    server.on_answer += icey.http.AccessLog(lines.append)
    ask(loop, server, get("/logged"))
    assert "GET /logged" in lines[0]


@part("operations")
def test_health(loop):
    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += icey.http.Health()
    assert ask(loop, server, get("/health")).startswith(b"HTTP/1.1 200 OK\r\n")


@part("wsgi-applications", needs=["threading"])
def test_a_wsgi_application(loop):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    server = icey.http.Server(loop, "127.0.0.1", 0)
    wsgi = icey.http.WSGI(app, threads=1)
    server.on_request += wsgi
    assert b"/page" in ask(loop, server, get("/page"))


UPGRADE = ("GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%sSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


def echoing(loop):
    server = icey.http.Server(loop, "127.0.0.1", 0)

    def asked(exchange):
        ws = icey.http.WebSocket.accept(exchange)
        ws.on_message += lambda ws, data: icey.http.broadcast([ws], data)

    server.on_request += asked
    return server


@part("websocket", "deflate", "streaming")
def test_a_websocket_echoes(loop):
    heard = ask(loop, echoing(loop), (UPGRADE % "").encode() + b"\x81\x85\0\0\0\0hello", b"\x81\x05hello")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in heard
    assert heard.startswith(b"HTTP/1.1 101 ") and heard.endswith(b"\r\n\r\n\x81\x05hello")


@part("websocket", "deflate", needs=["zlib"])
def test_a_websocket_that_is_offered_compression(loop):
    offer = (UPGRADE % "Sec-WebSocket-Extensions: permessage-deflate\r\n").encode()
    heard = ask(loop, echoing(loop), offer, b"\r\n\r\n")
    there = importlib.util.find_spec(PACKAGE + ".http.websocket.deflate") is not None
    assert (b"permessage-deflate" in heard) == there and heard.startswith(b"HTTP/1.1 101 ")


@part("websocket")
def test_a_websocket_server_has_no_client(loop):
    if SET != "websocket":
        pytest.skip("it has one")
    with pytest.raises(AttributeError, match=r"vendor DEST --only \.\.\. websocket-client"):
        icey.http.WebSocket.connect(loop, "ws://127.0.0.1:1/")


@part("streaming")
def test_packets_as_events(loop):
    server, pulse = icey.http.Server(loop, "127.0.0.1", 0), icey.PacketStream("pulse")

    def asked(exchange):
        icey.http.SseAdapter(exchange).follow(pulse)
        loop.call_soon(pulse.write, icey.http.EventPacket(b"beat"))

    pulse.start()
    server.on_request += asked
    assert b"data: beat\n" in ask(loop, server, get("/"), b"\n\n\r\n")
    pulse.close()


# http, the client's side: against a server that is not icey's

def serving(answer, end=b"\r\n\r\n"):
    """A server on a thread for one connection: answers what `answer(request)` gives, behind the `end` of the request.

    Returns its port.
    """
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    server.settimeout(20)

    def serve():
        with server:
            peer, _ = server.accept()
        with peer:
            peer.settimeout(20)
            request = b""
            while end not in request:
                request += peer.recv(65536)
            peer.sendall(answer(request))
            try:
                peer.recv(65536)  # what follows, or the end
            except ConnectionError:
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    return server.getsockname()[1], thread


@part("client", "websocket-client", "eventsource", "reconnecting")
def test_a_client_asks_by_name(loop):
    if "http" not in icey.__all__:
        pytest.skip("no HTTP in this set")
    port, thread = serving(lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    client, seen = icey.http.Client(loop), []
    client.request("GET", "http://localhost:%d/" % port, done=lambda answer, error: (
        seen.append(error or answer.body), client.close()))
    run(loop)
    thread.join(20)
    assert [bytes(one) if not isinstance(one, Exception) else one for one in seen] == [b"hello"]


@part("client-packets")
def test_packets_go_to_a_server_and_its_answer_comes(loop):
    port, thread = serving(lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"\r\n\r\nhere")
    conn = icey.http.ClientConnection(loop, "http://127.0.0.1:%d/" % port, method="PUT", headers={"Content-Length": "4"})
    up, down, came, taken = icey.PacketStream("up"), icey.PacketStream("down"), [], []
    conn.on_upload_progress += lambda conn, sent, total: taken.append((sent, total))
    conn.on_complete += lambda conn: conn.close()
    conn.start()
    up.attach(icey.http.ClientSink(conn))
    down.attach_source(icey.http.ClientSource(conn), sync_state=True)
    down.on_packet += lambda packet: came.append(bytes(packet.data))
    down.start()
    up.start()
    up.write(b"here")
    up.close()
    run(loop)
    thread.join(20)
    assert b"".join(came) == b"hello" and taken[-1] == (4, 4)


def accept(request):
    """The answer to a handshake, a message and a goodbye."""
    import base64
    import hashlib

    key = next(line.split(b":", 1)[1].strip() for line in request.split(b"\r\n")
               if line.lower().startswith(b"sec-websocket-key"))
    told = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + told + b"\r\n\r\n\x81\x05hello\x88\x02\x03\xe8")


@part("websocket-client", "reconnecting")
def test_a_websocket_connects(loop):
    port, thread = serving(accept)
    ws, seen = icey.http.WebSocket.connect(loop, "ws://127.0.0.1:%d/" % port), []
    ws.on_message += lambda ws, data: seen.append(data)
    ws.on_close += lambda ws, code, reason: seen.append(code)
    run(loop)
    thread.join(20)
    assert seen == ["hello", 1000]


@part("eventsource")
def test_an_event_comes(loop):
    port, thread = serving(lambda request: b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\ndata: hello\n\n")
    source, seen = icey.http.EventSource(loop, "http://127.0.0.1:%d/" % port), []
    source.on_event += lambda source, event: (seen.append((event.id, event.data)), source.close())
    source.start()
    run(loop)
    thread.join(20)
    assert seen == [("1", "hello")]


@part("reconnecting")
def test_a_websocket_that_comes_back(loop):
    port, thread = serving(accept)
    link = icey.http.Reconnecting(lambda: icey.http.WebSocket.connect(loop, "ws://127.0.0.1:%d/" % port))
    seen = []
    link.on_message += lambda link, data: seen.append(data)
    link.on_disconnect += lambda link, exc, retry_in: (seen.append(link.code), link.close())
    run(loop)
    thread.join(20)
    assert seen == ["hello", 1000]


# MQTT: against a broker that is a few lines

def broker(got):
    """A broker for one client "here", which sends 60 zeros to "topic", is sent a message to "there", and says goodbye."""
    def serve():
        with server:
            peer, _ = server.accept()
        with peer:
            peer.settimeout(20)
            for ending, answer in ((b"here", b"\x20\x02\0\0"), (b"topic" + bytes(60), b"\x30\x07\0\x05there"),
                                   (b"\xe0\0", b"")):
                while not got.endswith(ending):
                    got.extend(peer.recv(65536))
                peer.sendall(answer)

    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    server.settimeout(20)
    thread = threading.Thread(target=serve)
    thread.start()
    return server.getsockname()[1], thread


@part("mqtt")
def test_a_message_goes_to_a_broker_and_one_comes(loop):
    got, seen = bytearray(), []
    port, thread = broker(got)
    client = icey.mqtt.Client(loop, "mqtt://localhost:%d" % port, client_id="here")
    client.on_connect += lambda client, resumed: client.publish("topic", bytes(60))
    client.on_message += lambda client, topic, view: (seen.append(topic), client.close())
    client.start()
    run(loop)
    thread.join(20)
    assert seen == ["there"] and bytes(got[2:10]) == b"\0\4MQTT\4\2"


@part("mqtt-packets")
def test_packets_go_to_a_broker_and_one_comes(loop):
    got, seen = bytearray(), []
    port, thread = broker(got)
    client = icey.mqtt.Client(loop, "mqtt://localhost:%d" % port, client_id="here")
    there, here = icey.PacketStream("there"), icey.PacketStream("here")
    there.attach(icey.mqtt.Sink(client, "topic"))
    here.attach_source(icey.mqtt.Source(client, "there"), sync_state=True)
    here.on_packet += lambda packet: (seen.append(getattr(packet, "topic", "end")), client.close())
    there.start()
    here.start()
    client.on_connect += lambda client, resumed: there.write(bytes(60))
    client.start()
    run(loop)
    thread.join(20)
    assert seen == ["there", "end"]


# beside another main loop, for tests, on the command line

@part("hosts", needs=["threading"])
def test_a_loop_on_a_thread_and_one_that_is_pumped(loop):
    host = icey.hosts.ThreadHost().start()
    try:
        assert host.call(lambda: 7) == 7
    finally:
        host.stop()
    seen = []
    loop.call_soon(seen.append, 1)
    assert icey.hosts.pump(loop) is False and seen == [1]


@part("testing")
def test_a_virtual_clock():
    testing = importlib.import_module(PACKAGE + ".tools.testing")
    loop, clock = testing.virtual_loop()
    seen = []
    loop.call_later(3600.0, seen.append, 1)
    loop.run()
    loop.close()
    assert seen == [1] and clock() >= 3600.0


@part("testclient")
def test_a_handler_is_asked_in_memory():
    testing = importlib.import_module(PACKAGE + ".tools.testing")

    def handler(exchange):
        if exchange.request.path == "/ws":
            icey.http.WebSocket.accept(exchange).on_message += lambda ws, data: ws.send(data)
        else:
            exchange.loop.call_later(3.0, exchange.respond, 200, b"late")

    with testing.TestClient(handler) as client:
        assert client.get("/").body == b"late" and client.clock() == 3.0
        with client.websocket("/ws") as ws:
            ws.send("hi")
            assert ws.receive() == "hi"
        assert ws.code == 1000


@part("inspector")
def test_a_loop_is_looked_at(loop):
    inspect = importlib.import_module(PACKAGE + ".tools.inspect")
    inspector = inspect.Inspector(loop)
    address = inspector.address
    timer = loop.call_later(60, loop.stop)
    client = socket.create_connection((address.host, address.port))
    client.sendall(b"GET /state.json HTTP/1.0\r\nHost: %s\r\n\r\n" % str(address).encode())
    got = b""
    while not got.endswith(b"}"):
        loop.run_once(0.1)
        try:
            got += client.recv(65536, getattr(socket, "MSG_DONTWAIT", 0))
        except BlockingIOError:
            pass
    assert got.startswith(b"HTTP/1.1 200 OK") and b'"kind": "Timer"' in got
    client.close()
    timer.stop()
    loop.run()  # an inspector keeps no loop running
    inspector.abort()
    loop.run()
    assert loop.handles == ()


@part("workers", "mqtt")
def test_its_names_are_there():
    name = SET or "workers"
    if importlib.util.find_spec("%s.%s" % (PACKAGE, name)) is not None:
        assert getattr(icey, name) is not None


COMMANDS = ("serve", "get", "ws", "bench", "doctor", "vendor", "wsgi", "inspect")


@part(*COMMANDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_tells_what_it_takes(command):
    if SET not in ("", command):
        pytest.skip("another set")
    status, said = python(command, "--help")
    if not SET and "no command called" in said:
        pytest.skip("not here")
    assert status == 0 and said.startswith("usage: "), said
    if SET:
        other = "get" if command != "get" else "bench"
        status, said = python(other)
        assert status == 2 and "vendor DEST --only %s %s" % (command, other) in said, said


@part("vendor", needs=["urllib"])  # zipfile wants pathlib, which wants it
def test_a_copy_makes_a_copy(tmp_path):
    status, said = python("vendor", str(tmp_path / "one"), "--only", "vendor", "--zip")
    assert status == 0, said
    assert python("vendor", "--check", str(tmp_path / "one" / "icey.zip"))[0] == 0
    with zipfile.ZipFile(str(tmp_path / "one" / "icey.zip")) as archive:
        assert "icey/tools/vendor/command.py" in archive.namelist()
        assert archive.read("icey/LICENSE").startswith(b"MIT License")
