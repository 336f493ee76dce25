"""Server(tls=context): HTTP over TLS, in use. How its connections end, and go wrong: test_server_tls_ends.py."""
import io
import socket

import pytest

import icey
from icey.http import StaticFiles
from tests.support import http, needs

needs("ssl")

from tests.support import https  # noqa: E402
from tests.support.https import server_context  # noqa: E402
from tests.support.tls import TLSEnd, client_context  # noqa: E402
from tests.support.transports import flood  # noqa: E402

debug, clock, reports, loop, site, certs = http.debug, http.clock, http.reports, http.loop, http.site, https.certs

BIG = bytes(range(256)) * 4096  # a MiB


def hello(exchange):
    exchange.respond(200, b"Hello")


def echo(exchange):
    exchange.collect(lambda exchange, body: exchange.respond(200, body), 10 << 20)


@pytest.fixture
def serve(site, certs):
    """site.serve with TLS."""
    return lambda slot=None, **options: site.serve(slot, tls=server_context(certs), **options)


# requests and answers

def test_a_request_and_its_answer(site, serve, certs):
    serve(hello)
    answer = https.client(site, certs).get()
    assert (answer.status, answer.body, answer["server"]) == (200, b"Hello", "icey")


def test_what_an_exchange_knows_of_it(site, serve, certs):
    seen = []

    def slot(exchange):
        stream = exchange.connection.stream
        seen.append((exchange.secure, exchange.connection.secure, stream.version, stream.alpn, stream.peer_certificate))
        assert exchange.peer.port == client.sock.getsockname()[1] and exchange.local == site.server.address
        exchange.respond(200)

    serve(slot)
    client = https.client(site, certs)
    client.get()
    assert seen == [(True, True, "TLSv1.3", None, None)]


def test_without_tls_nothing_is_secure(site):
    seen = []
    site.serve(lambda exchange: (seen.append((exchange.secure, exchange.connection.secure)), exchange.respond(200)))
    site.client().get()
    assert seen == [(False, False)]


def test_a_connection_is_kept_for_the_next_request(site, serve, certs):
    serve(echo)
    client = https.client(site, certs)
    for number in range(5):
        assert client.get(method="POST", body=b"%d" % number).body == b"%d" % number
    assert site.server.connections_made == len(site.server.connections) == 1


@pytest.mark.parametrize("record", [1, 7, 100, 16384], ids=lambda size: "records of %d" % size)
def test_a_pipeline_is_answered_in_order_however_it_is_cut_into_records(site, serve, certs, record):
    serve(lambda exchange: exchange.respond(200, exchange.request.target.encode()))
    client = https.client(site, certs)
    asked = b"".join(http.request("GET", "/%d" % number) for number in range(20))
    for at in range(0, len(asked), record):
        client.end.write(asked[at:at + record])
    client._flush()
    for number in range(20):
        assert client.answer().body == b"/%d" % number


def test_a_request_byte_by_byte_of_the_wire(site, serve, certs):
    serve(hello)
    client = https.client(site, certs)
    client.end.write(http.request())
    for byte in client.end.take():
        client.sock.send(bytes((byte,)))
        site.turn()
    assert client.answer().body == b"Hello"


def test_a_request_in_the_flight_that_ends_the_handshake(site, serve, certs):
    serve(hello)
    client = https.client(site, certs, shake=False)
    end = client.end
    end.handshake()
    client._flush()
    while not end.shaken:
        site.turn()
        try:
            end.feed(client.sock.recv(65536))
        except BlockingIOError:
            continue
        end.handshake()
    end.write(http.request())  # together with the client's Finished
    client._flush()
    assert client.answer().body == b"Hello"


def test_a_malformed_request_is_refused_as_ever(site, serve, certs):
    serve(hello)
    client = https.client(site, certs)
    client.send(b"nonsense\r\n\r\n")
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (400, "close")
    assert client.at_end()


def test_head_and_expect_and_chunks(site, serve, certs):
    serve(echo)
    client = https.client(site, certs)
    assert client.get(method="HEAD").body == b""
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert client.answer().status == 100
    client.send(b"hello")
    assert client.answer().body == b"hello"
    assert client.get(method="PUT", chunks=[b"one", b"two"]).body == b"onetwo"


# large bodies

def test_a_megabyte_each_way(site, serve, certs):
    serve(echo)
    client = https.client(site, certs)
    for method in ("POST", "PUT"):
        assert client.get(method=method, body=BIG).body == BIG


def test_a_slow_reader_holds_what_is_sent_to_it(site, serve, certs):
    most, sent = [], []

    def slot(exchange):
        http.narrow(exchange)

        def more(exchange):
            while sum(sent) < len(BIG):
                sent.append(10000)
                more = exchange.send(BIG[:10000])
                most.append(exchange.connection.stream.queued)
                if not more:
                    return
            exchange.end()

        exchange.on_drain += more
        more(exchange)

    serve(slot)
    client = https.client(site, certs, receive=4096)
    client.ask()
    site.turn(20)
    assert 0 < sum(sent) < 200000
    assert len(client.answer().body) >= len(BIG)
    assert max(most) < 65536 + 10000 + 500


def test_a_paused_upload_holds_the_client(site, serve, certs):
    got = []

    def slot(exchange):
        def payload(exchange, view):
            got.append(len(view))
            exchange.pause()

        exchange.on_payload += payload
        exchange.on_complete += lambda exchange: exchange.respond(200, b"%d" % sum(got))
        site.exchange = exchange

    serve(slot)
    client = https.client(site, certs)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
    sent, _ = flood(client)
    site.turn(20)
    assert 0 < sum(got) <= 65536 < len(sent) < 16 << 20
    site.exchange.abort()


def test_a_paused_upload_goes_on(site, serve, certs):
    got = []

    def slot(exchange):
        def payload(exchange, view):
            got.append(len(view))
            exchange.pause()
            site.loop.call_soon(exchange.resume)

        exchange.on_payload += payload
        exchange.on_complete += lambda exchange: exchange.respond(200, b"%d" % sum(got))

    serve(slot)
    assert https.client(site, certs).get(method="POST", body=BIG).body == b"%d" % len(BIG)
    assert len(got) >= len(BIG) // 65536


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file(site, serve, certs, tmp_path, chunked):
    path = tmp_path / "file"
    path.write_bytes(BIG)
    done = []

    def slot(exchange):
        if not chunked:
            exchange.response.headers["Content-Length"] = str(len(BIG) - 10)
        file = open(str(path), "rb")
        exchange.send_file(file, 10, len(BIG) - 10, lambda: done.append(file.closed))
        exchange.end()

    serve(slot)
    client = https.client(site, certs)
    for number in (1, 2):
        assert client.get().body == BIG[10:]
        site.until(lambda number=number: len(done) == number)
    assert done == [True, True]


def test_a_file_in_memory(site, serve, certs):
    def slot(exchange):
        exchange.send_file(io.BytesIO(BIG), 0, len(BIG))
        exchange.end()

    serve(slot)
    assert https.client(site, certs).get().body == BIG


def test_a_folder_of_files(site, serve, certs, tmp_path):
    (tmp_path / "page.txt").write_bytes(BIG)
    serve(StaticFiles(str(tmp_path)))
    client = https.client(site, certs)
    assert client.get("/page.txt").body == BIG
    assert client.get("/page.txt", "Range: bytes=-5").body == BIG[-5:]


def test_streaming_until_the_client_has_enough(site, serve, certs):
    events = []

    def slot(exchange):
        exchange.on_close += lambda exchange: events.append("close")
        exchange.begin_streaming()
        timer = icey.Timer(exchange.loop, 1.0, lambda timer: exchange.send(b"tick\n"), interval=1.0)
        exchange.on_close += lambda exchange: timer.close()
        timer.start()

    serve(slot)
    client = https.client(site, certs)
    client.ask()
    head = client.read_until(b"\r\n\r\n")
    assert b"chunked" in head
    site.wait(100.0)  # no deadline of the server's is for it
    for _ in range(100):
        assert client.read(10) == b"5\r\ntick\n\r\n"
    client.close()
    site.until(lambda: events)
    assert site.gone() and events == ["close"]


# upgrade

class Shout(icey.Adapter):
    def __init__(self):
        self.got = []

    def on_data(self, view):
        self.got.append(bytes(view))
        self.send_owned(bytes(view).upper())

    def on_close(self):
        self.got.append("close")


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("behind", [b"", b"one ", b"one " * 10000])
def test_an_upgrade_with_bytes_behind_the_head(site, serve, certs, late, behind):
    adapter = Shout()

    def switch(exchange):
        exchange.response.status = 101
        exchange.response.headers["Connection"] = "Upgrade"
        exchange.response.headers["Upgrade"] = "shout"
        exchange.send_header()
        exchange.replace_adapter(adapter)

    serve(lambda exchange: exchange.loop.call_later(1.0, switch, exchange) if late else switch(exchange))
    client = https.client(site, certs)
    client.send(http.request("GET", "/", "Connection: upgrade", "Upgrade: shout") + behind)
    site.wait(1.0)
    assert client.answer().status == 101
    assert client.read(len(behind)) == behind.upper()
    client.send(b"two")
    assert client.read(3) == b"TWO"
    adapter.close()
    assert client.at_end()
    client.close()
    assert site.gone()
    assert b"".join(adapter.got[:-1]) == behind + b"two" and adapter.got[-1] == "close"


# contexts

@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_client_certificates(site, certs, version):
    import ssl

    version = getattr(ssl.TLSVersion, version)
    names = []

    def slot(exchange):
        names.append(exchange.connection.stream.peer_certificate["subject"])
        exchange.respond(200)

    site.serve(slot, tls=server_context(certs, client_ca=certs.client_ca))
    assert https.client(site, certs, cert="client", version=version).get().status == 200
    assert names == [((("commonName", "a client"),),)]
    for cert in (None, "localhost"):
        refused = https.client(site, certs, cert=cert, version=version, shake=False)
        with pytest.raises(ssl.SSLError, match="(?i)alert"):
            refused.get()
        refused.cut()
    site.until(lambda: len(site.server.connections) == 1)
    assert len(names) == 1
    assert https.client(site, certs, cert="client", version=version).get().status == 200


def test_a_certificate_for_each_name(site, certs):
    site.serve(hello, tls=server_context(certs, sni={
        "a.test": server_context(certs, "a.test"), "*.c.test": server_context(certs, "*.c.test")}))
    for host, named in (("localhost", "localhost"), ("a.test", "a.test"), ("x.c.test", "*.c.test")):
        client = https.client(site, certs, host=host)
        assert client.certificate["subject"] == ((("commonName", named),),)
        assert client.get().body == b"Hello"


@pytest.mark.parametrize("asked, agreed", [([], None), (["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1")])
def test_the_protocol_agreed_on(site, certs, asked, agreed):
    site.serve(lambda exchange: exchange.respond(200, str(exchange.connection.stream.alpn).encode()),
               tls=server_context(certs, alpn=["http/1.1"]))
    client = https.client(site, certs, alpn=asked)
    assert (client.alpn, client.get().body) == (agreed, str(agreed).encode())


def test_a_session_is_resumed(site, serve, certs):
    serve(hello)
    context = client_context(certs)
    first = https.client(site, certs, context=context)
    first.get()
    again = https.client(site, certs, context=context, shake=False)
    again.end = TLSEnd(context, server_hostname="localhost", session=first.session)
    assert again.get().body == b"Hello" and again.session_reused


# behind a proxy

def test_the_addresses_a_proxy_tells_in_clear_before_the_handshake(site, serve, certs):
    seen = []

    def slot(exchange):
        seen.append((str(exchange.peer), str(exchange.local), exchange.secure))
        exchange.respond(200)

    serve(slot, proxy_protocol=["127.0.0.1"])
    header = b"PROXY TCP4 192.0.2.1 198.51.100.1 1111 443\r\n"
    client = https.client(site, certs, shake=False)
    client.end.handshake()
    wire = header + client.end.take()
    for at in range(0, len(wire), 31):
        client.send_raw(wire[at:at + 31])
        site.turn()
    assert client.get().status == 200
    assert seen == [("192.0.2.1:1111", "198.51.100.1:443", True)]
