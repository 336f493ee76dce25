"""Server(tls=context): handshakes that fail or never come, ends of every kind, deadlines, and stop()."""
import socket
import ssl

import pytest

import icey
from tests.support import http, needs
from tests.support.streams import names, watch

needs("ssl")

from tests.support import https  # noqa: E402
from tests.support.https import server_context  # noqa: E402
from tests.support.tls import WAITING  # noqa: E402

debug, clock, reports, loop, site, certs = http.debug, http.clock, http.reports, http.loop, http.site, https.certs

BIG = bytes(300000)


def hello(exchange):
    exchange.respond(200, b"Hello")


@pytest.fixture
def serve(site, certs):
    """site.serve with TLS; every request is noted in site.asked, the end of each exchange in site.over."""
    site.asked, site.over = [], []

    def serve(slot=hello, **options):
        server = site.serve(tls=server_context(certs), **options)
        server.on_request += lambda exchange: site.asked.append(exchange.request.target)
        server.on_request += lambda exchange: exchange.on_close.attach(site.over.append)
        server.on_request += slot
        return server

    return serve


def alive(site, certs):
    """The server serves."""
    client = https.client(site, certs)
    assert client.get().body == b"Hello"
    client.close()
    return site.gone()


# handshakes

@pytest.mark.parametrize("data", [
    http.request(), b"GET", b"PROXY TCP4 192.0.2.1 198.51.100.1 1111 443\r\n", b"\0" * 100,
    b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10",
], ids=["plain HTTP", "three letters", "a proxy's header", "zeros", "long record", "SSL 2"])
def test_what_is_not_tls_is_cut_off_and_nobody_else_is_harmed(site, serve, certs, data):
    serve()
    busy = https.client(site, certs)
    busy.send(b"GET / HTTP/1.1\r\n")
    client = site.client()
    try:
        client.send(data)
        client.half_close()
        client.read_all()  # an alert perhaps
    except ConnectionError:
        pass
    client.close()
    site.until(lambda: len(site.server.connections) == 1)
    assert site.asked == []
    busy.send(b"Host: a\r\n")  # and its end is not here yet
    site.turn(3)
    busy.send(b"\r\n")
    assert busy.answer().body == b"Hello"
    busy.close()
    assert site.gone() and alive(site, certs)


def test_what_looks_like_tls_and_is_not_gets_an_alert_and_the_end(site, serve):
    serve()
    client = site.client()
    client.send(b"\x16\x03\x01\0\x08" + b"x" * 8)
    assert client.read(1) == b"\x15"
    assert len(client.read_all()) == 6
    client.close()
    assert site.gone()


@pytest.mark.parametrize("dribbles", [False, True])
def test_a_client_that_never_shakes_hands_is_cut_off(site, serve, certs, dribbles):
    serve(limits={"handshake_timeout": 3.0})
    client = site.client()
    for second in range(3):
        site.wait(0.9)
        if dribbles:
            client.send(b"\x16\x03\x01\x02\0\x01\0\0"[second:second + 1])
            site.turn(2)
        assert len(site.server.connections) == 1
    site.wait(0.5)
    assert site.gone() and site.asked == []
    assert alive(site, certs)


def test_one_that_shakes_hands_late_has_what_is_left_for_its_head(site, serve, certs):
    serve(limits={"handshake_timeout": 8.0, "head_timeout": 10.0})
    client = https.client(site, certs, shake=False)
    site.wait(7.0)
    client.handshake()
    site.wait(2.0)
    assert client.get().body == b"Hello"
    site.wait(25.0)
    assert client.get().body == b"Hello"


def test_without_a_limit_of_the_handshake_that_of_the_head_holds(site, serve, certs):
    serve(limits={"handshake_timeout": None, "head_timeout": 10.0, "close_timeout": 2.0})
    site.client()
    site.wait(9.5)
    assert len(site.server.connections) == 1
    site.wait(4.0)
    assert site.gone()


def test_those_who_shake_hands_count_as_connections(site, serve, certs):
    serve(limits={"max_connections": 1, "handshake_timeout": 3.0})
    site.client()
    other = icey.tools.testing.Peer.connect(site.loop, site.server.address)
    site.turn(5)
    assert site.server.connections_made == 1
    site.wait(3.5)
    site.until(lambda: site.server.connections_made == 2)
    other.close()
    assert site.gone()


@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_in_the_handshake(site, serve, certs, turns, how):
    serve()
    client = https.client(site, certs, shake=False)
    client.end.handshake()
    client.send_raw(client.end.take())
    site.turn(turns)
    client.cut() if how == "close" else client.reset()
    assert site.gone() and site.asked == []
    assert alive(site, certs)


def test_one_that_refuses_our_certificate(site, serve, certs):
    serve()
    client = https.client(site, certs, host="b.test", shake=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        client.handshake()
    client.cut()
    assert site.gone() and site.asked == []


# the client's end

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
PARTS = [b"", b"GET / HT", POST + b"Content-Length: 10\r\n\r\n", POST + b"Content-Length: 10\r\n\r\n12345",
         POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n123"]


def collect(exchange):
    exchange.collect(lambda exchange, body: exchange.respond(200, body))


@pytest.mark.parametrize("part", PARTS, ids=["nothing", "half a head", "no body", "half a body", "half a chunk"])
@pytest.mark.parametrize("how", ["half_close", "cut", "reset", "close"])
def test_an_end_in_the_midst_of_a_request(site, serve, certs, part, how):
    """Truncated, by close_notify, or by TCP alone: half a request is never taken for one."""
    serve(collect)
    client = https.client(site, certs)
    client.send(part)
    site.turn(3)
    getattr(client, how)()
    if how == "half_close":
        assert client.read_all() == b""  # answered by the other half of the end
        client.cut()
    assert site.gone()
    site.turn(2)
    assert site.asked == (["/"] if part.startswith(b"POST") else [])
    assert len(site.over) == len(site.asked) and not any(exchange.answered for exchange in site.over)


@pytest.mark.parametrize("how", ["half_close", "cut"])
@pytest.mark.parametrize("later", [False, True])
def test_what_was_asked_for_before_the_end_is_answered_if_the_end_was_said(site, serve, certs, how, later):
    """A close_notify is a half-close. The mere end of TCP is Truncated: nothing goes out behind it."""
    answer = http.ignore if later else hello

    def slot(exchange):
        site.exchange = exchange
        answer(exchange)

    serve(slot)
    client = https.client(site, certs)
    client.send(http.request())
    client.half_close() if how == "half_close" else client.sock.shutdown(socket.SHUT_WR)
    site.turn(5)
    if how == "half_close":
        if later:
            assert not site.over
            site.wait(100.0)
            site.exchange.respond(200, b"Hello")
        assert client.answer().body == b"Hello"
        assert client.at_end()
    client.cut()
    assert site.gone()
    site.turn(2)
    assert [exchange.answered for exchange in site.over] == [how == "half_close" or not later]


def test_a_large_answer_behind_the_client_s_half_close(site, serve, certs):
    serve(lambda exchange: (http.narrow(exchange), exchange.respond(200, BIG)))
    client = https.client(site, certs, receive=4096)
    client.send(http.request())
    client.half_close()
    assert client.answer().body == BIG
    assert client.at_end()
    client.cut()
    assert site.gone()


def test_a_spoilt_record_ends_the_connection_with_an_alert(site, serve, certs):
    serve(collect)
    client = https.client(site, certs)
    client.send(PARTS[2])
    client.send_raw(b"\x17\x03\x03\0\x20" + bytes(32))
    with pytest.raises(ssl.SSLError, match="(?i)alert"):
        client.read(1)
    client.cut()
    assert site.gone()
    site.turn(2)
    assert [exchange.answered for exchange in site.over] == [False]


# our end

def test_connection_close_says_close_notify_and_the_answer_is_whole(site, serve, certs):
    serve(lambda exchange: exchange.respond(200, BIG))
    client = https.client(site, certs)
    answer = client.get("/", "Connection: close")
    assert (answer.body, answer["connection"]) == (BIG, "close")
    assert client.at_end()
    client.send(b"what nobody reads any more")
    client.close()
    assert site.gone()
    assert site.clock() == 1000.0


def test_a_client_that_still_sends_gets_the_whole_refusal(site, serve, certs):
    serve(lambda exchange: exchange.collect(http.ignore, 1000))
    client = https.client(site, certs)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
    for _ in range(20):
        client.send(bytes(100000))
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (413, "close")
    assert client.at_end()
    client.close()
    assert site.gone()


def test_a_client_that_says_nothing_at_the_end_is_waited_for_so_long(site, serve, certs):
    serve(limits={"close_timeout": 3.0})
    client = https.client(site, certs)
    client.get("/", "Connection: close")
    assert client.at_end()
    site.wait(2.0)
    assert len(site.server.connections) == 1
    site.wait(3.0)
    assert site.gone()


@pytest.mark.parametrize("verb", ["abort", "close"])
def test_abort_is_the_end_of_tcp_and_close_says_so(site, serve, certs, verb):
    serve(lambda exchange: (exchange.send(b"begun"), getattr(exchange, verb)()))
    client = https.client(site, certs)
    client.ask()
    if verb == "close":
        assert client.read_all().endswith(b"5\r\nbegun\r\n")
    else:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            client.read_all()
    client.cut()
    assert site.gone()
    site.turn(2)
    assert len(site.over) == 1


# deadlines

@pytest.mark.parametrize("half", [False, True], ids=["whole request", "half a head"])
def test_an_idle_connection_is_looked_at_again_before_the_axe_falls(site, serve, certs, half):
    serve()
    client = https.client(site, certs)
    client.get()
    site.wait(29.5)
    client.end.write(http.request() if not half else b"GET / HTTP/1.1\r\n")
    client.sock.send(client.end.take())  # in the kernel, not read yet
    site.clock.advance(5.0)
    site.turn(1)
    if half:
        assert client.silent()
        client.send(b"Host: a\r\n\r\n")
    assert client.answer().body == b"Hello"


def test_an_idle_connection_is_closed_in_order(site, serve, certs):
    serve()
    client = https.client(site, certs)
    client.get()
    site.wait(29.5)
    assert client.silent()
    site.wait(2.0)
    assert client.at_end()
    client.close()
    assert site.gone()


def test_a_slow_head_is_408(site, serve, certs):
    serve()
    client = https.client(site, certs)
    client.send(b"GET / HTTP/1.1\r\n")
    site.wait(11.5)
    assert client.answer().status == 408
    assert client.at_end()


@pytest.mark.parametrize("size", [50000, len(BIG)], ids=["all encrypted", "in part"])
@pytest.mark.parametrize("streams", [False, True])
def test_a_reader_that_stops_reading_is_aborted(site, serve, certs, size, streams):
    def slot(exchange):
        http.narrow(exchange)
        if streams:
            exchange.begin_streaming()
            exchange.send(BIG[:size])
        else:
            exchange.respond(200, BIG[:size])

    serve(slot)
    client = https.client(site, certs, receive=4096)
    client.ask()
    site.turn(5)
    assert site.server.connections[0].stream.queued > 0
    site.wait(29.0)
    assert len(site.server.connections) == 1
    site.wait_for_cuts()
    assert site.gone()
    site.turn(2)
    assert [exchange.answered for exchange in site.over] == [not streams]


@pytest.mark.parametrize("size", [9000, 50000])
def test_what_is_encrypted_and_not_out_is_not_logged_as_sent(site, serve, certs, size):
    lines = []

    def slot(exchange):
        http.narrow(exchange)
        exchange.respond(200, BIG[:size])

    serve(slot).on_answer += icey.http.AccessLog(lines.append)
    client = https.client(site, certs, receive=4096)
    for _ in range(54000 // size):
        client.ask()
        site.turn(5)
    stream = site.server.connections[0].stream
    assert stream.queue is None and stream.queued > 0
    gone = [line for line in lines if not line.endswith(" cut\n")]
    assert stream.queued <= (len(site.asked) - len(gone)) * (size + 300)
    client.reset()
    site.until(lambda: not site.server.connections)
    assert len(lines) == len(site.asked) and lines[-1].endswith(" cut\n")
    assert [line for line in lines if not line.endswith(" cut\n")] == gone


@pytest.mark.parametrize("size", [60000, len(BIG)])
def test_a_slow_reader_that_reads_lives_and_is_idle_only_behind_its_answer(site, serve, certs, size):
    serve(lambda exchange: (http.narrow(exchange), exchange.respond(200, BIG[:size])))
    client = https.client(site, certs, receive=4096)
    client.ask()
    client.read_until(b"\r\n\r\n")
    left = size
    while left:
        site.wait(6.0)
        left -= len(client.read(min(left, 10000)))
    site.wait(6.0)
    assert client.get().body == BIG[:size]


# stop()

def test_stop_closes_idle_connections_with_a_close_notify(site, serve, certs):
    serve()
    idle, new = https.client(site, certs), https.client(site, certs)
    idle.get()
    seen = watch(site.server, "shutdown", "close")
    site.server.stop(10.0, linger=1.0)
    site.wait(0.9)
    answer = idle.get()
    assert (answer.status, answer["connection"]) == (200, "close")
    site.wait(0.1)
    for client in (idle, new):
        assert client.at_end()
        client.close()
    site.until(lambda: site.server.closed)
    assert names(seen) == ["shutdown", "close"] and site.clock() == 1001.0


def test_stop_waits_for_the_other_side_no_longer_than_close_timeout(site, serve, certs):
    serve(limits={"close_timeout": 2.0})
    client = https.client(site, certs)
    client.get()
    site.server.stop(10.0, linger=0)
    assert client.at_end()  # and says nothing
    site.wait(1.5)
    assert not site.server.closed
    site.wait(1.0)
    assert site.server.closed


def test_stop_finishes_what_is_in_flight(site, serve, certs):
    serve(lambda exchange: exchange.loop.call_later(3.0, exchange.respond, 200, BIG))
    client = https.client(site, certs)
    client.ask()
    site.turn(3)
    site.server.stop(10.0)
    site.wait(3.0)
    answer = client.answer()
    assert (answer.body, answer["connection"]) == (BIG, "close")
    assert client.at_end()
    client.close()
    site.until(lambda: site.server.closed)


def test_what_is_late_is_aborted_when_the_drain_ends(site, serve, certs):
    serve(http.ignore)
    client = https.client(site, certs)
    client.ask()
    site.turn(3)
    site.server.stop(4.0)
    site.wait(3.5)
    assert not site.server.closed
    site.wait(1.0)
    assert site.server.closed and client.cut_off()


@pytest.mark.parametrize("verb", ["stop", "close"])
@pytest.mark.parametrize("turns", [0, 2])
def test_stop_while_a_client_shakes_hands(site, serve, certs, verb, turns):
    serve()
    client = https.client(site, certs, shake=False)
    if turns:
        assert client.end.handshake() is WAITING
        client.send_raw(client.end.take()[:100])
        site.turn(turns)
    getattr(site.server, verb)()
    if verb == "stop":
        site.wait(0.5)
    site.until(lambda: site.server.closed)
    assert site.clock() in (1000.0, 1000.5)


@pytest.mark.parametrize("state", ["shaking", "idle", "busy", "closing"])
def test_loop_close_frees_all(site, serve, certs, loop, debug, state):
    serve(lambda exchange: (http.narrow(exchange), exchange.send(BIG)))
    client = https.client(site, certs, receive=4096, shake=state != "shaking")
    if state == "busy":
        client.ask()
    elif state == "closing":
        client.send(b"nonsense\r\n\r\n")
        client.read_until(b"\r\n\r\n")
    site.turn(3)
    kernel = site.server.connections[0].stream.sock.carrier.sock
    if debug:
        with pytest.warns(ResourceWarning, match="found still open"):
            loop.close()
    else:
        loop.close()
    assert kernel.fileno() == -1 and site.server.closed and site.server.connections == ()
    client.sock.close()


# what is cut looks cut

@pytest.mark.parametrize("ends", [False, True])
def test_a_stream_that_is_closed_behind_the_server_s_back(site, serve, certs, ends):
    """A close_notify would say that a close-delimited answer is whole."""
    exchanges = []

    def slot(exchange):
        exchange.begin_streaming()
        exchange.send(b"half of it")
        exchanges.append(exchange)

    serve(slot)
    client = https.client(site, certs)
    client.ask(version="1.0")
    client.read_until(b"half of it")
    if ends:
        exchanges[0].end()
    exchanges[0].connection.stream.close()
    assert client.cut_off() is not ends
    client.close()
    assert site.gone()


def test_whose_slot_was_interrupted_gets_500_when_the_loop_runs_again(site, serve, certs):
    def slot(exchange):
        raise KeyboardInterrupt

    serve(slot)
    client = https.client(site, certs)
    client.ask()
    with pytest.raises(KeyboardInterrupt):
        client.answer()
    assert client.answer().status == 500 and client.at_end()
    client.close()
    assert site.gone()
