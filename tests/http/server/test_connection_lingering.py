"""The end of a connection: our side is shut first, what still comes is dropped, and the last answer is not lost."""
import pytest

from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site


@pytest.mark.parametrize("data, status", [
    (b"nonsense\r\n", 400),
    (b"GET /" + b"x" * 10000, 414),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
])
def test_a_client_that_still_sends_gets_the_whole_answer(site, data, status):
    """A close with input unread would be a reset, and the client would lose the answer."""
    site.serve()
    client = site.client()
    client.send(data)
    for _ in range(20):
        client.send(b"x" * 50000)
        site.turn()
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (status, "close")
    client.send(b"x" * 50000)
    assert client.at_end()
    assert site.server.connections  # it waits for our end
    client.half_close()
    assert site.gone()
    assert site.clock() == 1000.0


def test_a_client_that_still_uploads_gets_the_whole_413(site):
    site.serve(lambda exchange: exchange.collect(http.ignore, 1000))
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
    for _ in range(100):
        client.send(b"x" * 100000)
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (413, "close")
    assert client.at_end()


def test_an_answer_larger_than_the_kernels_buffers_is_not_lost(site):
    def slot(exchange):
        http.narrow(exchange)
        exchange.respond(400, bytes(300000))

    site.serve(slot)
    client = site.client(receive=4096)
    client.ask("GET", "/", "Connection: close")
    client.sock.send(b"more, which nobody reads")
    assert client.answer().body == bytes(300000)
    assert client.at_end()


def test_our_side_is_shut_at_once(site):
    site.serve(lambda exchange: exchange.respond(200))
    client = site.client()
    client.get("/", "Connection: close")
    assert client.at_end()
    assert site.clock() == 1000.0


def test_a_client_that_ended_before_is_closed_at_once(site):
    site.serve(lambda exchange: exchange.respond(200, b"x"))
    client = site.client()
    client.ask("GET", "/", "Connection: close")
    client.half_close()
    assert client.answer().body == b"x"
    assert client.at_end()
    assert site.gone()


def test_a_reset_while_lingering_ends_it(site):
    site.serve(lambda exchange: exchange.respond(200, b"x"))
    client = site.client()
    client.get("/", "Connection: close")
    client.reset()
    assert site.gone()


def test_the_drain_of_a_lingering_connection_is_nobodys_business(site):
    def slot(exchange):
        http.narrow(exchange)
        exchange.on_drain += lambda exchange: pytest.fail("over")
        exchange.send(bytes(300000))
        exchange.close()

    site.serve(slot)
    client = site.client(receive=4096)
    client.ask()
    assert len(client.read_all()) > 300000
    client.close()
    assert site.gone()
