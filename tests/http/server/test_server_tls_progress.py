"""Over TLS too: who moves is not cut, a deadline looks before it falls, and what is given up has no close_notify."""
import pytest

from tests.support import http, needs

needs("ssl")
from tests.support import https  # noqa: E402

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
certs = https.certs
BIG = 300000


@pytest.fixture
def client(site, certs):
    """A function: a client of a server with this slot. Options: as for a client."""
    def make(slot, **options):
        site.serve(slot, tls=https.server_context(certs))
        return https.client(site, certs, **options)
    return make


def big(exchange):
    http.narrow(exchange)
    exchange.respond(200, bytes(BIG))


@pytest.mark.parametrize("fields", [[], ["Connection: close"]])
def test_a_byte_acknowledged_is_progress(site, send_queues, client, fields):
    made = client(big, receive=4096)
    made.ask("GET", "/", *fields)
    site.turn(5)
    connection, = site.server.connections
    assert connection.stream.outstanding
    for held in range(4000, 3990, -1):
        send_queues[None] = held
        site.wait(25.0)
    assert site.server.connections == (connection,)
    send_queues[None] = 0
    assert made.answer().body == bytes(BIG)


def test_a_body_that_came_while_a_slot_held_the_loop_is_in_time(site, loop, client):
    made = client(lambda exchange: exchange.collect(lambda exchange, body: exchange.respond(200, body)))
    made.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    site.turn(3)
    loop.call_soon(site.clock.advance, 1000.0)
    made.send(b"Hello")
    assert made.answer().body == b"Hello"


@pytest.mark.parametrize("verb", ["abort", "close"])
def test_an_answer_cut_in_its_midst_has_no_close_notify(site, client, verb):
    exchanges = []

    def slot(exchange):
        http.think(exchange)
        exchanges.append(exchange)
        exchange.send(b"half of it")

    made = client(slot)
    made.ask(version="1.0")
    made.read_until(b"half of it")
    getattr(exchanges[0], verb)()
    assert made.cut_off()
    assert site.gone()


def test_one_that_is_whole_has(site, client):
    def slot(exchange):
        exchange.send(b"all of it")
        exchange.end()

    made = client(slot)
    made.ask(version="1.0")
    assert made.read_all().endswith(b"all of it")


def drip(site, made, data, seconds, most=3000):
    """Sends `data` in one record, which comes piece by piece, a piece in so many seconds."""
    made.end.write(data)
    record = made.end.take()
    for at in range(0, len(record), most):
        made.send_raw(record[at:at + most])
        site.wait(seconds)


def test_a_body_whose_record_comes_piece_by_piece_is_in_time(site, client):
    made = client(lambda exchange: exchange.collect(lambda exchange, body: exchange.respond(200, b"%d" % len(body))))
    made.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16000\r\n\r\n")
    site.turn(3)
    drip(site, made, bytes(16000), 25.0)  # of 30
    assert made.answer().body == b"16000"


def test_a_record_that_stops_in_its_midst_is_late(site, client):
    made = client(lambda exchange: exchange.collect(lambda exchange, body: exchange.respond(200, body)))
    made.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    site.turn(3)
    made.end.write(b"Hello")
    made.send_raw(made.end.take()[:-1])
    site.wait(29.0)
    assert site.server.connections
    site.wait(3.0)
    assert made.answer().status == 408


def test_a_head_whose_record_drips_is_late_all_the_same(site, client):
    made = client(http.think)
    with pytest.raises(OSError):
        drip(site, made, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0.5, 1)  # head_timeout is for all of it
    assert site.gone()
