"""Who moves is not cut, and a deadline looks before it falls: what the system says of its send queue counts, and time in
which a slot held the loop does not."""
import pytest

from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

BIG = 300000
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"


def respond(exchange):
    http.narrow(exchange)
    exchange.respond(200, bytes(BIG))


def stream(exchange):
    http.narrow(exchange)
    exchange.begin_streaming()
    exchange.send(bytes(BIG))
    http.think(exchange)


def pieces(exchange):
    http.narrow(exchange)
    exchange.send(bytes(BIG))
    exchange.end()


@pytest.mark.parametrize("slot, fields, version", [
    (respond, [], "1.1"), (pieces, [], "1.1"), (stream, [], "1.1"),
    (respond, ["Connection: close"], "1.1"), (pieces, ["Connection: close"], "1.1"), (respond, [], "1.0"), (pieces, [], "1.0"),
])
def test_a_byte_acknowledged_is_progress(site, send_queues, slot, fields, version):
    """The poller says nothing for minutes, but what the system holds of the answer becomes less."""
    site.serve(slot)
    client = site.client(receive=4096)
    client.ask("GET", "/", *fields, version=version)
    site.turn(5)
    connection, = site.server.connections
    assert connection.stream.unsent
    for held in range(4000, 3990, -1):
        send_queues[None] = held
        site.wait(25.0)
    assert site.server.connections == (connection,)
    send_queues.real()
    site.wait(70.0)  # and now it takes nothing
    assert site.server.connections == ()


@pytest.mark.parametrize("slot, fields", [(respond, []), (respond, ["Connection: close"]), (pieces, [])])
def test_stop_lets_who_moves_have_its_answer(site, send_queues, slot, fields):
    server = site.serve(slot)
    client = site.client(receive=4096)
    client.ask("GET", "/", *fields)
    site.turn(5)
    server.stop(60.0)
    for held in range(4000, 3995, -1):
        send_queues[None] = held
        site.wait(10.0)
        assert server.connections
    send_queues.real()
    answer = client.answer()
    assert len(answer.body) == BIG
    if "connection" not in answer.names:  # nobody had said that it is the last
        client.ask()
        assert client.answer()["connection"] == "close"
    assert client.at_end()
    client.close()
    site.until(lambda: server.closed)


@pytest.mark.parametrize("first", ["the end", "the answer"])
@pytest.mark.parametrize("fields, version", [([], "1.1"), (["Connection: close"], "1.1"), ([], "1.0")])
def test_a_client_that_has_said_its_end_has_as_much_time_for_its_answer(site, fields, version, first):
    """It is the last answer too: write_timeout, not close_timeout."""
    site.serve(respond)
    client = site.client(receive=4096)
    client.ask("GET", "/", *fields, version=version)
    if first == "the answer":
        site.turn(5)
    client.half_close()
    site.turn(5)
    site.wait(25.0)
    assert len(client.read_all()) > BIG


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("fields, version", [([], "1.1"), (["Connection: close"], "1.1"), ([], "1.0")])
def test_without_write_timeout_the_last_answer_has_no_deadline_either(site, fields, version, end):
    site.serve(respond, limits={"write_timeout": None})
    client = site.client(receive=4096)
    client.ask("GET", "/", *fields, version=version)
    site.turn(5)
    if end:
        client.half_close()
    site.wait(600.0)
    assert len(client.read_all() if fields or end or version == "1.0" else client.answer().body) >= BIG


@pytest.mark.parametrize("queued", [False, True])
def test_a_client_that_reads_an_answer_that_has_begun_may_send_the_rest_of_its_body_later(site, send_queues, queued):
    """It moves: what it takes counts for the deadline of the body, too."""
    def slot(exchange):
        if queued:
            http.narrow(exchange)
        exchange.on_payload += lambda exchange, view: exchange.send(bytes(BIG if queued else 10))
        exchange.on_complete += lambda exchange: exchange.end()

    send_queues[None] = 4001
    site.serve(slot)
    client = site.client(receive=4096)
    client.send(POST + b"x")
    site.turn(5)
    connection, = site.server.connections
    assert connection.stream.unsent is queued
    for held in range(4000, 3990, -1):
        send_queues[None] = held
        site.wait(25.0)
    if queued:
        send_queues.real()
        while connection.stream.unsent:
            client.sock.recv(BIG)
            site.turn()
        site.wait(25.0)
    assert site.server.connections == (connection,)
    site.wait(35.0)  # and now it takes nothing, and sends nothing
    assert site.server.connections == ()


def held(site, loop, seconds):
    """A slot that holds the loop for so long."""
    loop.call_soon(site.clock.advance, seconds)


def test_a_body_that_came_while_a_slot_held_the_loop_is_in_time(site, loop):
    bodies = []
    site.serve(lambda exchange: exchange.collect(lambda exchange, body: (bodies.append(body), exchange.respond(200))))
    client = site.client()
    client.send(POST)
    site.turn(3)
    held(site, loop, 1000.0)
    client.send(b"0123456789")
    assert client.answer().status == 200
    assert bodies == [b"0123456789"]


def test_a_body_has_its_time_when_the_loop_was_held(site, loop):
    """Nothing has come, since nobody could have told it to: the client gets the time that the slot took."""
    site.serve(lambda exchange: exchange.collect(lambda exchange, body: exchange.respond(200)))
    client = site.client()
    client.send(POST)
    site.turn(3)
    held(site, loop, 1000.0)
    site.turn(3)
    site.wait(20.0)
    client.send(b"0123456789")
    assert client.answer().status == 200


@pytest.mark.parametrize("half", [b"GET / HTTP/1.1\r\nHos", b""])
def test_a_head_has_its_time_when_the_loop_was_held(site, loop, half):
    site.serve(lambda exchange: exchange.respond(200))
    client = site.client()
    client.send(half)
    site.turn(3)
    held(site, loop, 1000.0)
    site.turn(3)
    site.wait(5.0)
    client.send(http.request()[len(half):])
    assert client.answer().status == 200


def test_a_lingering_close_has_its_time_when_the_loop_was_held(site, loop):
    site.serve(lambda exchange: exchange.respond(200))
    client = site.client()
    client.get("/", "Connection: close")
    held(site, loop, 1000.0)
    site.turn(3)
    site.wait(3.0)
    assert site.server.connections
    site.wait(5.0)
    assert not site.server.connections
    assert client.at_end()


def test_the_drain_of_a_stop_is_not_the_time_of_a_slot_that_held_the_loop(site, loop):
    exchanges = []
    server = site.serve(exchanges.append)
    client = site.client()
    client.ask()
    site.until(lambda: exchanges)
    server.stop(10.0)
    site.turn()
    held(site, loop, 1000.0)
    site.turn(3)
    site.wait(8.0)
    exchanges[0].respond(200, b"in time")
    assert client.answer().body == b"in time"
    assert client.at_end()


def test_an_answer_that_is_out_when_the_drain_is_over_ends_in_order(site, loop):
    """The loop was held until then: what can go, goes first."""
    exchanges = []
    server = site.serve(lambda exchange: (exchanges.append(exchange), respond(exchange)))
    client = site.client()
    client.ask()
    site.until(lambda: exchanges)
    server.stop(10.0, linger=0)
    site.turn()
    assert len(client.read_all()) > BIG
    client.close()
    site.until(lambda: server.closed)


# a refused upload

def refused(site):
    """A client whose upload was refused, in the midst of sending."""
    site.serve(lambda exchange: exchange.collect(http.ignore, 1000))
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
    site.turn(3)
    return client


def test_a_slow_link_gets_its_413(site):
    """It sees the refusal only when what it has sent before is through: as long as that comes, nobody hangs up."""
    client = refused(site)
    for _ in range(100):
        client.send(bytes(50000))
        site.wait(4.0)  # close_timeout is 5
        assert site.server.connections
    assert client.answer().status == 413
    assert client.at_end()
    client.close()
    assert site.gone()


def test_not_for_ever(site):
    client = refused(site)
    sent = 0
    while site.server.connections and sent < 1 << 26:
        try:
            client.send(bytes(1 << 20))
        except OSError:
            break
        sent += 1 << 20
        site.wait(4.0)
    assert (1 << 24) <= sent <= (1 << 24) + (4 << 20)


def test_who_sends_no_more_is_left_after_close_timeout(site):
    client = refused(site)
    client.send(bytes(50000))
    site.wait(7.0)
    assert not site.server.connections
    assert client.answer().status == 413


def test_an_answer_that_lies_in_the_kernel_whole_keeps_its_connection_while_the_client_reads(site, send_queues):
    """Nothing was ever queued here; the client is idle from when it has taken the last byte."""
    site.serve(lambda exchange: exchange.respond(200, b"Hello"))
    client = site.client()
    client.get()
    send_queues[None] = 100000
    for _ in range(10):
        site.wait(25.0)
        send_queues[None] -= 1
    assert client.get().body == b"Hello"
    send_queues[None] = 0
    site.wait(25.0)
    assert client.get().body == b"Hello"
    site.wait(70.0)
    assert site.server.connections == ()
