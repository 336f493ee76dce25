"""A connection has its share of a turn, by events: tiny pieces of one client do not keep the others waiting."""
import io

import pytest

from icey.http.server.connection import FILE_PIECE, SHARE
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site


def counts(loop, site):
    """How many events came in each turn, until none comes."""
    seen = []
    for _ in range(400):
        site.events = 0
        loop.run_once(0)
        seen.append(site.events)
        if site.events == 0 and any(seen) and len(seen) > 3 and seen[-2:] == [0, 0]:
            break
    return [count for count in seen if count]


def test_one_byte_chunks(site, loop):
    bodies = []

    def slot(exchange):
        @exchange.on_payload.attach
        def payload(exchange, view):
            site.events += 1

        exchange.collect(lambda exchange, body: (bodies.append(body), exchange.respond(200)))

    site.events = 0
    site.serve(slot)
    client = site.client()
    client.send(http.request("POST", chunks=[b"%d" % (i % 10) for i in range(1000)]))
    turns = counts(loop, site)
    assert sum(turns) == 1000 and max(turns) <= SHARE
    assert bodies == [b"0123456789" * 100]
    assert client.answer().status == 200


def test_pipelined_requests(site, loop):
    def slot(exchange):
        site.events += 1
        exchange.respond(200, exchange.request.target.encode())

    site.events = 0
    site.serve(slot)
    client = site.client()
    client.send(b"".join(http.request("GET", "/%d" % i) for i in range(500)))
    turns = counts(loop, site)
    assert sum(turns) == 500 and max(turns) <= SHARE
    for i in range(500):
        assert client.answer().body == b"/%d" % i


def test_pipelined_files(site, loop):
    """A file counts by its length: the kernel may take one at once, and the next, and the next."""
    size = 5 * FILE_PIECE

    def slot(exchange):
        site.events += 1
        exchange.response.headers["Content-Length"] = str(size)
        exchange.send_file(io.BytesIO(bytes(size)), 0, size)
        exchange.end()

    site.events = 0
    site.serve(slot)
    client = site.client()
    client.send(http.request() * 20)
    turns = []
    for _ in range(20):
        assert client.answer().body == bytes(size)
        turns.append(site.events)
        site.events = 0
    assert sum(turns) == 20 and max(turns) <= SHARE // 6 + 1


@pytest.mark.parametrize("count", [SHARE - 1, SHARE, SHARE + 1, 2 * SHARE, 2 * SHARE + 1])
@pytest.mark.parametrize("end", [False, True])
def test_where_a_share_ends_nothing_is_lost(site, count, end):
    site.serve(lambda exchange: exchange.respond(200, exchange.request.target.encode()))
    client = site.client()
    client.send(b"".join(http.request("GET", "/%d" % i) for i in range(count)))
    if end:
        client.half_close()
    for i in range(count):
        assert client.answer().body == b"/%d" % i
    assert client.at_end() if end else client.get("/more").body == b"/more"


def test_another_client_is_served_in_between(site, loop):
    order = []

    def slot(exchange):
        order.append(exchange.request.target)
        exchange.respond(200)

    site.serve(slot)
    greedy, other = site.client(), site.client()
    greedy.send(http.request("GET", "/greedy") * 1000)
    other.ask("GET", "/other")
    site.until(lambda: len(order) == 1001)
    assert order.index("/other") <= 2 * SHARE
    for _ in range(1000):
        greedy.answer()


def test_the_server_stops_in_the_midst_of_shares(site):
    server = site.serve(lambda exchange: exchange.respond(200, b"x"))
    client = site.client()
    client.send(http.request() * 300)
    site.turn(2)
    server.stop(5.0)
    last = client.answer()
    while last.get("connection") != "close":
        last = client.answer()
    assert client.at_end()
    client.close()
    site.until(lambda: server.closed)
    assert site.clock() == 1000.0


def test_a_share_and_a_pause(site):
    """A slot that pauses holds the parser; resumed, it goes on where it was."""
    sizes = []

    def slot(exchange):
        @exchange.on_payload.attach
        def payload(exchange, view):
            sizes.append(len(view))
            if len(sizes) % 50 == 0:
                exchange.pause()
                exchange.loop.call_later(1.0, exchange.resume)

        exchange.on_complete += lambda exchange: exchange.respond(200)

    site.serve(slot)
    client = site.client()
    client.send(http.request("POST", chunks=[b"x"] * 300))
    site.wait(10.0)
    assert sizes == [1] * 300
    assert client.answer().status == 200


def test_requests_that_take_long(site, loop, clock):
    """Past 4 ms of a turn a connection has 8 requests of it, whoever used them up."""
    def slot(exchange):
        site.events += 1
        clock.advance(0.001)
        exchange.respond(200, b"x")

    site.events = 0
    site.serve(slot)
    clients = [site.client() for _ in range(3)]
    for client in clients:
        client.send(http.request("GET", "/") * 64)
    turns = counts(loop, site)
    assert sum(turns) == 3 * 64 and max(turns) <= 3 * 8
    for client in clients:
        for _ in range(64):
            assert client.answer().body == b"x"
