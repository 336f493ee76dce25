"""The end of an exchange: on_close once, from the loop, whoever ends it; what an exchange is then; nothing leaks."""
import gc
import weakref

import pytest

import icey
from icey.http import ServerState
from tests.support import http
from tests.support.streams import collect as collect_garbage

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
left = http.left


@pytest.fixture
def watched(site, left):
    """watched(slot): serves with `slot`, and counts on_close of each exchange."""
    return lambda slot: Watched(site, slot, left)


class Watched:
    """`closes` has the on_close counts; `check(count)` that all is over, once each, and collected."""

    def __init__(self, site, slot, left):
        self.left = left
        self.closes = []

        def outer(exchange):
            number = len(self.closes)
            self.closes.append(0)
            inside = [True]

            def closed(exchange):
                assert not inside, "on_close inside a call"
                self.closes[number] += 1

            exchange.on_close += closed
            try:
                slot(exchange)
            finally:
                del inside[:]

        self.site = site
        site.serve(outer)

    def check(self, count=1):
        self.site.turn(3)
        assert self.closes == [1] * count
        assert self.left() == 0


@pytest.mark.parametrize("headers", [None, {"A": "b"}])
def test_on_close_comes_once_from_the_loop_when_the_answer_is_complete(site, watched, headers):
    served = watched(lambda exchange: exchange.respond(200, b"x", headers=headers))
    client = site.client()
    client.get()
    client.get()
    served.check(2)


def test_on_close_comes_from_the_loop_after_a_late_answer(site, watched, loop):
    served = watched(lambda exchange: loop.call_later(1.0, exchange.respond))
    site.client().ask()
    site.wait(1.0)
    served.check()


# the client goes

@pytest.mark.parametrize("go", ["reset", "close"])
def test_the_client_goes_while_the_application_thinks(site, watched, loop, go):
    kept = []
    served = watched(kept.append)
    client = site.client()
    client.ask()
    site.until(lambda: kept)
    getattr(client, go)()
    site.turn(5)
    if go == "close":  # it may only have half closed: it is answered, and then it is over
        assert served.closes == [0]
        kept[0].respond(200, b"x")
    else:
        assert served.closes == [1]
        with pytest.raises(icey.StateError, match="after the connection closed"):
            kept[0].respond(200, b"x")
    assert site.gone()
    del kept[:]
    served.check()


@pytest.mark.parametrize("go", ["reset", "close"])
def test_the_client_goes_while_an_answer_streams(site, watched, go):
    kept = []

    def slot(exchange):
        exchange.begin_streaming()
        exchange.send(b"tick")
        kept.append(exchange)

    served = watched(slot)
    client = site.client()
    client.ask()
    client.read_until(b"tick\r\n")
    getattr(client, go)()
    assert site.gone()
    site.turn(2)
    assert served.closes == [1]
    with pytest.raises(icey.StateError):
        kept[0].send(b"tock")
    del kept[:]
    served.check()


@pytest.mark.parametrize("go", ["reset", "close"])
@pytest.mark.parametrize("consume", [lambda exchange: exchange.collect(http.ignore),
                                     lambda exchange: exchange.on_payload.attach(http.ignore)])
def test_the_client_goes_while_its_body_comes(site, watched, go, consume):
    served = watched(consume)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nHello")
    site.until(lambda: served.closes)
    getattr(client, go)()
    assert site.gone()
    served.check()


@pytest.mark.parametrize("go", ["reset", "close"])
def test_the_client_goes_inside_a_head(site, go):
    site.serve(http.ignore)
    client = site.client()
    client.send(b"GET / HTTP/1.1\r\nHo")
    site.turn(2)
    getattr(client, go)()
    assert site.gone()


@pytest.mark.parametrize("go", ["reset", "close"])
def test_the_client_goes_without_reading_its_answer(site, watched, go):
    def slot(exchange):
        http.narrow(exchange)
        exchange.send(bytes(1 << 20))

    served = watched(slot)
    client = site.client(receive=4096)
    client.ask()
    client.read(1000)
    getattr(client, go)()
    assert site.gone()
    served.check()


def test_between_a_transport_error_and_on_close_send_discards(site, watched, reports):
    """So that broadcasts need no try."""
    results = []

    def slot(exchange):
        exchange.begin_streaming()
        connection = exchange.connection
        connection.stream.fail(ConnectionResetError())
        results.append(exchange.send(b"x"))
        results.append(exchange.send_owned(b"x"))

    served = watched(slot)
    site.client().ask()
    assert site.gone()
    assert results == [False, False]
    served.check()


# half-close

def test_half_close_before_the_request_closes(site):
    site.serve(http.ignore)
    client = site.client()
    client.half_close()
    assert client.at_end()
    assert site.gone()


def test_half_close_inside_a_head_closes(site):
    site.serve(http.ignore)
    client = site.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    client.half_close()
    assert client.at_end()


@pytest.mark.parametrize("turns", [0, 3])
@pytest.mark.parametrize("how", ["at once", "later", "pieces", "headers"])
def test_half_close_after_the_request_is_answered(site, watched, loop, turns, how):
    def slot(exchange):
        if how == "at once":
            exchange.respond(200, b"x")
        elif how == "headers":
            exchange.respond(200, b"x", headers={"A": "b"})
        elif how == "later":
            loop.call_later(5.0, exchange.respond, 200, b"x")
        else:
            exchange.send(b"x")
            loop.call_later(5.0, exchange.end)

    served = watched(slot)
    client = site.client()
    client.ask()
    site.turn(turns)
    client.half_close()
    site.wait(5.0)
    assert client.answer().body == b"x"
    assert client.at_end()
    assert site.gone()
    served.check()


# the application ends it

def test_exchange_close_closes_the_connection_once_what_is_queued_is_out(site, watched):
    def slot(exchange):
        http.narrow(exchange)
        exchange.send(bytes(300000))
        exchange.close()
        exchange.close()
        with pytest.raises(icey.StateError, match="after the connection closed"):
            exchange.send(b"more")

    served = watched(slot)
    client = site.client(receive=4096)
    client.ask()
    assert bytes(300000) in client.read_all()
    client.close()
    assert site.gone()
    served.check()


def test_exchange_abort_closes_now(site, watched):
    def slot(exchange):
        exchange.abort()
        exchange.abort()
        exchange.close()

    served = watched(slot)
    client = site.client()
    client.ask()
    assert site.gone()
    served.check()


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_close_and_abort_of_the_connection(site, watched, verb):
    def slot(exchange):
        connection = exchange.connection
        getattr(connection, verb)()
        assert connection.closing and not connection.closed
        getattr(connection, verb)()

    served = watched(slot)
    client = site.client()
    client.ask()
    assert client.at_end() if verb == "close" else client.at_reset()  # of an answer nothing has gone: the end hides nothing
    client.close()
    assert site.gone()
    served.check()


def test_close_and_abort_of_a_connection_that_is_closed_are_no_ops(site):
    kept = []
    site.serve(lambda exchange: kept.append(exchange.connection) or exchange.respond(200))
    client = site.client()
    client.get()
    client.close()
    assert site.gone()
    connection, = kept
    assert connection.closing and connection.closed
    connection.close()
    connection.abort()
    assert connection.state is ServerState.CLOSED
    assert connection.peer.port and connection.local is None
    assert "closed" in repr(connection)


# what an exchange is

def test_the_properties_of_an_exchange(site, loop):
    seen = []

    def slot(exchange):
        connection = exchange.connection
        assert connection.exchange is exchange
        assert exchange.server is site.server and exchange.loop is loop
        assert exchange.peer.host == "127.0.0.1" and exchange.peer.port == port
        assert exchange.local == site.server.address
        assert (exchange.secure, exchange.upgraded, exchange.answered) == (False, False, False)
        assert (connection.peer, connection.local) == (exchange.peer, exchange.local)
        assert exchange.request.method == "GET" and exchange.request.host == "test"
        assert repr(exchange) == "<Exchange GET /x>"
        assert "dispatching" in repr(connection)
        with pytest.raises(AttributeError):
            exchange.anything = 1  # slotted
        exchange.respond(200)
        seen.append(exchange)
        assert connection.exchange is None

    site.serve(slot)
    client = site.client()
    port = client.sock.getsockname()[1]
    client.get("/x")
    exchange, = seen
    client.close()
    assert site.gone()
    assert exchange.peer.port == port
    assert exchange.state is ServerState.CLOSED
    assert (exchange.secure, exchange.upgraded, exchange.answered) == (False, False, True)


def test_signals_die_with_the_exchange(site):
    refs = []

    class Slot:
        def __call__(self, *args):
            pass

    def slot(exchange):
        attached = Slot()
        refs.append(weakref.ref(attached))
        exchange.on_payload += attached
        exchange.on_complete += attached
        exchange.on_drain += attached
        exchange.on_close += attached
        kept.append(exchange)
        exchange.respond(200)

    kept = []
    site.serve(slot)
    site.client().get()
    site.turn(2)
    collect_garbage()
    assert refs[0]() is None
    assert kept[0].signals is None


def test_connections_leave_nothing_behind(site, watched):
    served = watched(lambda exchange: exchange.collect(lambda exchange, body: exchange.respond(200, body)))
    connections = []
    for _ in range(20):
        client = site.client()
        client.get("/", method="POST", body=b"x")
        connections.append(weakref.ref(site.server.connections[-1]))
        client.close()
    assert site.gone()
    served.check(20)
    for _ in range(5):  # PyPy lets go of what has a __del__ one step at a time
        if any(ref() is not None for ref in connections):
            collect_garbage()
    assert [ref() for ref in connections] == [None] * 20
    assert gc.garbage == []
