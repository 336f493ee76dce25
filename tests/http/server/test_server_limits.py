"""Limits, through the server: what is refused with which status, and how many connections there may be."""
import socket

import pytest

import icey
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site


def hello(exchange):
    exchange.respond(200, b"Hello")


def refused(site, data, status, **limits):
    """The server answers `data` with `status` and closes."""
    called = []
    site.serve(called.append, limits=limits)
    client = site.client()
    client.send(data)
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (status, "close")
    assert answer.body.startswith(b"%d " % status)
    assert client.at_end()
    assert called == []


def test_a_target_over_max_target_is_414(site):
    refused(site, http.request("GET", "/" + "x" * 100), 414, max_target=100)


def test_a_target_of_max_target_is_answered(site):
    site.serve(hello, limits={"max_target": 100})
    assert site.client().get("/" + "x" * 99).status == 200


def test_a_request_line_without_an_end_is_414_as_the_bytes_arrive(site):
    refused(site, b"GET /" + b"x" * 9000, 414)


def test_a_head_over_max_head_is_431(site):
    refused(site, http.request("GET", "/", "X-A: " + "b" * 1000), 431, max_head=1000)


def test_a_head_without_an_end_is_431_as_the_bytes_arrive(site):
    refused(site, b"GET / HTTP/1.1\r\nX-A: " + b"b" * 70000, 431)


def test_more_than_max_fields_is_431(site):
    refused(site, http.request("GET", "/", *["X-%d: b" % number for number in range(10)]), 431, max_fields=10)


def test_max_fields_fields_are_answered(site):
    site.serve(hello)
    assert site.client().get("/", *["X-%d: b" % number for number in range(99)]).status == 200


@pytest.mark.parametrize("data, status", [
    (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/2.0\r\n\r\n", 505), (b"nonsense\r\n", 400),
    (http.request("POST", "/", "Transfer-Encoding: gzip, chunked").replace(b"Content-Length: 0\r\n", b""), 501),
    (http.request("POST", "/", "Transfer-Encoding: chunked"), 400), (http.request("GET", "/", "Expect: x"), 417)])
def test_a_malformed_request_has_its_status_and_a_closed_connection(site, data, status):
    refused(site, data, status)


def test_a_malformed_request_is_answered_at_the_bad_line(site):
    refused(site, b"GET / HTTP/1.1\r\nHost : a\r\n", 400)


# max_connections

def test_at_max_connections_the_server_accepts_no_more_and_recovers(site):
    server = site.serve(hello, limits={"max_connections": 3})
    clients = [site.client() for _ in range(3)]
    waiting = [site.client(accept=False) for _ in range(2)]
    for client in waiting:
        client.ask()
    site.turn(5)
    assert len(server.connections) == server.connections_made == 3
    for client in clients:
        assert client.get().body == b"Hello"
    clients[0].close()
    assert waiting[0].answer().body == b"Hello"
    site.turn(5)
    assert len(server.connections) == 3
    clients[1].close()
    assert waiting[1].answer().body == b"Hello"
    clients[2].close()
    site.until(lambda: len(server.connections) == 2)
    assert site.client().get().body == b"Hello"


def test_a_batch_of_connections_stops_at_max_connections(site):
    server = site.serve(hello, limits={"max_connections": 2})
    clients = [site.client(accept=False) for _ in range(10)]
    for client in clients:
        client.ask("GET", "/", "Connection: close")
    for client in clients:
        assert client.answer().body == b"Hello"
        assert len(server.connections) <= 2
        client.close()
    assert server.connections_made == 10


def test_no_max_connections(site):
    server = site.serve(hello, limits={"max_connections": None})
    clients = [site.client() for _ in range(20)]
    assert len(server.connections) == len(clients)


def test_a_stopped_server_takes_what_waits_and_does_not_accept_again(site):
    server = site.serve(http.ignore, limits={"max_connections": 1})
    client = site.client()
    client.ask()
    site.turn(3)
    waiting = site.client(accept=False)
    server.stop(1.0)
    site.turn(3)
    refused = socket.socket()
    with refused, pytest.raises(ConnectionRefusedError):
        refused.connect(server.address.sockaddr())
    assert (server.connections_made, len(server.connections)) == (2, 2)
    site.wait(1.0)
    assert server.closed
    assert waiting.read_all() == b""


# high_water, low_water

def test_the_limits_of_the_queue_are_the_servers(site):
    drains = []

    def slot(exchange):
        http.narrow(exchange)
        stream = exchange.connection.stream
        assert (stream.high_water, stream.low_water, stream.close_timeout) == (2000, 1000, 7.0)
        exchange.on_drain += lambda exchange: drains.append(stream.queued) or exchange.end()
        while exchange.send(b"x" * 500):
            pass
        assert 2000 <= stream.queued < 70000

    site.serve(slot, limits={"high_water": 2000, "low_water": 1000, "close_timeout": 7.0})
    client = site.client(receive=4096)
    assert client.get().status == 200
    assert drains and drains[0] <= 1000


def test_the_default_limits_are_those_of_the_table(loop):
    server = icey.http.Server(loop, "127.0.0.1", 0)
    assert server.limits == icey.Limits()
