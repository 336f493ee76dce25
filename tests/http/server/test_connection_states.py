"""The state table: what is seen at each point, and which moves there are."""
import itertools

import pytest

import icey
from icey.base.state import watched
from icey.http import ServerConnection, ServerState
from icey.http.server.states import MOVES
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

R_HEADERS, R_BODY = ServerState.RECEIVING_HEADERS, ServerState.RECEIVING_BODY
SENDING, STREAMING = ServerState.DISPATCHING_OR_SENDING, ServerState.STREAMING
UPGRADED, CLOSING, CLOSED = ServerState.UPGRADED, ServerState.CLOSING, ServerState.CLOSED

LEGAL = {
    R_HEADERS: {R_BODY, SENDING, CLOSING, CLOSED},
    R_BODY: {R_HEADERS, SENDING, STREAMING, UPGRADED, CLOSING, CLOSED},
    SENDING: {R_HEADERS, STREAMING, UPGRADED, CLOSING, CLOSED},
    STREAMING: {R_HEADERS, R_BODY, CLOSING, CLOSED},
    UPGRADED: {CLOSING, CLOSED},
    CLOSING: {CLOSED},
    CLOSED: set(),
}


def test_the_table_is_this():
    assert {state: set(after) for state, after in MOVES.items()} == LEGAL
    assert set(LEGAL) == set(ServerState)


@pytest.mark.parametrize("old, new", list(itertools.product(ServerState, ServerState)))
def test_every_illegal_move_is_a_state_error(old, new):
    cls = watched(ServerConnection)  # what debug mode makes of it
    connection = cls.__new__(cls)
    connection._state = old
    if new in LEGAL[old] or new is old:  # staying is no move
        connection._state = new
        assert connection.state is new
    else:
        with pytest.raises(icey.StateError) as info:
            connection._state = new
        assert "cannot go from %s to %s" % (old.name, new.name) in str(info.value)
        assert connection.state is old


@pytest.fixture
def trace(monkeypatch):
    """Every change of a connection's state is in the table; those seen, in order."""
    seen = []
    slot = ServerConnection._state

    class Watched(ServerConnection):
        __slots__ = ()

        def __get_state(self):
            return slot.__get__(self)

        def __set_state(self, new):
            try:
                old = slot.__get__(self)
            except AttributeError:
                old = None
            if new is not old:
                assert old is None or new in LEGAL[old], "%s to %s" % (old, new)
                seen.append(new)
            slot.__set__(self, new)

        _state = property(__get_state, __set_state)

    monkeypatch.setattr("icey.http.server.server.ServerConnection", Watched)
    return seen


def at_end(site, client, trace):
    client.close()
    assert site.gone()
    assert trace[-1] is CLOSED
    return trace


def test_a_plain_request(site, trace):
    site.serve(lambda exchange: trace.append(exchange.state) or exchange.respond(200))
    client = site.client()
    client.get()
    client.get()
    assert at_end(site, client, trace) == [R_HEADERS, SENDING, SENDING, R_HEADERS, SENDING, SENDING, R_HEADERS, CLOSING,
                                           CLOSED]


def test_a_request_with_a_body(site, trace):
    def slot(exchange):
        trace.append(exchange.state)
        exchange.collect(lambda exchange, body: trace.append(exchange.state) or exchange.respond(200))

    site.serve(slot)
    client = site.client()
    client.get(method="POST", body=b"x")
    assert at_end(site, client, trace) == [R_HEADERS, R_BODY, R_BODY, SENDING, SENDING, R_HEADERS, CLOSING, CLOSED]


def test_a_streaming_answer(site, trace):
    def slot(exchange):
        exchange.begin_streaming()
        exchange.begin_streaming()
        trace.append(exchange.state)
        exchange.send(b"x")
        exchange.end()
        trace.append(exchange.state)

    site.serve(slot)
    client = site.client()
    client.get()
    assert at_end(site, client, trace) == [R_HEADERS, SENDING, STREAMING, STREAMING, R_HEADERS, CLOSED, CLOSING, CLOSED]


def test_a_streaming_answer_before_the_body_is_read(site, trace):
    def slot(exchange):
        exchange.begin_streaming()
        exchange.end()

    site.serve(slot)
    client = site.client()
    client.get(method="POST", body=b"x")
    assert at_end(site, client, trace) == [R_HEADERS, R_BODY, STREAMING, R_BODY, R_HEADERS, CLOSING, CLOSED]


def test_a_body_that_ends_while_the_answer_streams(site, trace):
    def slot(exchange):
        exchange.begin_streaming()
        exchange.on_payload += lambda exchange, view: exchange.send_owned(view)
        exchange.on_complete += lambda exchange: trace.append(exchange.state) or exchange.end()

    site.serve(slot)
    client = site.client()
    assert client.get(method="POST", body=b"x").body == b"x"
    assert at_end(site, client, trace) == [R_HEADERS, R_BODY, STREAMING, STREAMING, R_HEADERS, CLOSING, CLOSED]


def test_an_answer_before_the_body_is_read(site, trace):
    site.serve(lambda exchange: exchange.respond(200))
    client = site.client()
    client.get(method="POST", body=b"x")
    assert at_end(site, client, trace) == [R_HEADERS, R_BODY, R_HEADERS, CLOSING, CLOSED]


def test_an_upgrade(site, trace):
    site.serve(lambda exchange: exchange.replace_adapter(icey.Adapter()))
    client = site.client()
    client.ask()
    site.until(lambda: UPGRADED in trace)
    assert at_end(site, client, trace) == [R_HEADERS, SENDING, UPGRADED, CLOSED]


def test_connection_close(site, trace):
    site.serve(lambda exchange: exchange.respond(200))
    client = site.client()
    client.get("/", "Connection: close")
    assert trace == [R_HEADERS, SENDING, CLOSING]
    assert at_end(site, client, trace) == [R_HEADERS, SENDING, CLOSING, CLOSED]


def test_a_malformed_request(site, trace):
    site.serve()
    client = site.client()
    client.send(b"nonsense\r\n\r\n")
    client.answer()
    assert at_end(site, client, trace) == [R_HEADERS, CLOSING, CLOSED]


def test_a_reset_while_thinking(site, trace):
    site.serve(http.ignore)
    client = site.client()
    client.ask()
    site.until(lambda: SENDING in trace)
    client.reset()
    assert site.gone()
    assert trace == [R_HEADERS, SENDING, CLOSED]


def test_an_abort(site, trace):
    site.serve(lambda exchange: exchange.abort())
    site.client().ask()
    assert site.gone()
    assert trace == [R_HEADERS, SENDING, CLOSING, CLOSED]


def test_a_refused_body_and_one_that_is_too_large_to_drain(site, trace):
    site.serve(lambda exchange: exchange.respond(200))
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    client.answer()
    assert at_end(site, client, trace) == [R_HEADERS, R_BODY, CLOSING, CLOSED]


def test_the_properties_follow_the_state(site):
    connections = []

    def slot(exchange):
        connection = exchange.connection
        assert (connection.secure, connection.upgraded, connection.closing, connection.closed) == (False,) * 4
        connections.append(connection)
        exchange.respond(200, headers={"Connection": "close"})

    site.serve(slot)
    client = site.client()
    client.get()
    connection, = connections
    assert (connection.closing, connection.closed) == (True, False)
    client.close()
    assert site.gone()
    assert (connection.closing, connection.closed) == (True, True)
