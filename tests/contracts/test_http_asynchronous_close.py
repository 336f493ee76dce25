"""Contract 6 over HTTP: close() drains, on_close comes once, from the loop, never inside the call."""
import pytest

import icey
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

ENDS = {
    "answer": lambda exchange: exchange.respond(200, b"x"),
    "answer with headers": lambda exchange: exchange.respond(200, b"x", headers={"A": "b"}),
    "pieces": lambda exchange: (exchange.send(b"x"), exchange.end()),
    "close": lambda exchange: exchange.close(),
    "abort": lambda exchange: exchange.abort(),
    "connection close": lambda exchange: exchange.connection.close(),
    "connection abort": lambda exchange: exchange.connection.abort(),
    "server close": lambda exchange: exchange.server.close(),
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_on_close_of_an_exchange_comes_once_from_the_loop_never_inside_a_call(site, loop, end, late):
    seen = []

    def slot(exchange):
        exchange.on_close += seen.append
        loop.call_later(1.0, finish, exchange) if late else finish(exchange)

    def finish(exchange):
        end(exchange)
        assert seen == []

    site.serve(slot)
    client = site.client()
    client.ask()
    site.wait(1.0)
    site.turn(3)
    assert len(seen) == 1
    client.close()
    site.turn(5)
    site.server.close()
    site.turn(5)
    assert len(seen) == 1


@pytest.mark.parametrize("verb", ["close", "abort", "stop"])
def test_on_close_of_a_server_comes_once_from_the_loop(site, verb):
    seen = []
    server = site.serve()
    server.on_close += lambda server: seen.append((server.closing, server.closed))
    for _ in range(2):
        getattr(server, verb)()
    assert seen == [] and server.closing and not server.closed
    site.turn(3)
    for _ in range(2):
        getattr(server, verb)()
    site.turn(3)
    assert seen == [(True, True)]


def test_close_lets_what_is_queued_drain(site):
    def slot(exchange):
        http.narrow(exchange)
        exchange.response.headers["Content-Length"] = "300000"
        exchange.send(bytes(300000))
        exchange.connection.close()

    site.serve(slot)
    client = site.client(receive=4096)
    assert client.get().body == bytes(300000)
    assert client.at_end()


def test_abort_waits_for_nothing(site):
    def slot(exchange):
        http.narrow(exchange)
        exchange.response.headers["Content-Length"] = "3000000"
        exchange.send(bytes(3000000))
        exchange.abort()

    site.serve(slot)
    client = site.client(receive=4096)
    client.ask()
    assert site.gone()
    try:
        assert len(client.read_all()) < 3000000
    except ConnectionResetError:
        pass


def test_after_close_send_and_start_are_state_errors_in_on_close_too(site, reports):
    def slot(exchange):
        def closed(exchange):
            for call in (lambda: exchange.send(b"x"), lambda: exchange.respond(200), exchange.end):
                with pytest.raises(icey.StateError):
                    call()
        exchange.on_close += closed
        exchange.close()

    server = site.serve(slot)
    server.on_close += lambda server: pytest.raises(icey.StateError, server.start)
    client = site.client()
    client.ask()
    assert client.at_end()
    client.close()
    server.close()
    site.until(lambda: server.closed)
