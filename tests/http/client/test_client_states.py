"""The table of a ClientConnection's states. That every assignment keeps to it, `rawserver.moves` sees to in every test."""
import pytest

import icey
from icey.http import ClientState
from icey.http.client.states import MOVES
from tests.support import rawserver
from tests.support.rawserver import answer

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw


def names(made):
    return {(old.name, new.name) for old, new in made}


def test_every_state_has_its_row_and_leads_to_the_end():
    assert set(MOVES) == set(ClientState)
    for state, after in MOVES.items():
        assert state is ClientState.CLOSED or ClientState.CLOSED in after, state
    assert MOVES[ClientState.CLOSED] == frozenset()


def test_the_way_of_a_transaction(raw, moves):
    conn = raw.connection(method="POST", headers={"Content-Length": "1"})
    seen = [conn.state.name]
    conn.start()
    seen.append(conn.state.name)
    server = raw.accept()
    server.head()
    seen.append(conn.state.name)
    conn.send(b"x")
    seen.append(conn.state.name)
    server.read(1)
    server.send(answer(b"hello")[:-1])
    raw.until(lambda: conn.received)
    seen.append(conn.state.name)
    server.send(b"o")
    raw.rest(conn)
    seen.append(conn.state.name)
    conn.start()
    seen.append(conn.state.name)
    conn.close()
    seen.append(conn.state.name)
    raw.until(lambda: conn.closed)
    seen.append(conn.state.name)
    assert seen == ["IDLE", "CONNECTING", "SENDING", "WAITING", "RECEIVING", "IDLE", "SENDING", "CLOSING", "CLOSED"]
    assert names(moves.moves) == set(zip(seen, seen[1:]))


def test_the_watch_itself(raw, moves):
    conn = raw.connection()
    with pytest.raises(icey.StateError, match="IDLE.*RECEIVING"):
        conn._state = ClientState.RECEIVING
    assert not hasattr(conn, "move")
    assert conn.state is ClientState.IDLE


@pytest.mark.parametrize("early", [False, True])
def test_an_answer_before_the_request_is_out(raw, moves, early):
    conn = raw.connection(method="POST", headers={"Content-Length": "2"})
    conn.start()
    server = raw.accept()
    server.head()
    server.answer(b"early" if early else b"")
    assert raw.story(conn)[-2:] == ["complete", "close"]
    assert ("SENDING", "RECEIVING") in names(moves.moves)


def test_no_move_of_the_table_is_of_no_use():
    """The way on, and from everywhere the end."""
    table = {(old.name, new.name) for old, after in MOVES.items() for new in after}
    assert {move for move in table if move[1] not in ("CLOSING", "CLOSED")} == {
        ("IDLE", "CONNECTING"), ("IDLE", "SENDING"), ("CONNECTING", "SENDING"), ("SENDING", "WAITING"),
        ("SENDING", "RECEIVING"), ("WAITING", "RECEIVING"), ("RECEIVING", "IDLE"), ("SENDING", "UPGRADED"),
        ("WAITING", "UPGRADED"),
    }


@pytest.mark.parametrize("make, text", [
    (lambda loop: icey.http.Client(loop, limits={"max_head": 5}), "limits are"),
    (lambda loop: icey.http.Client(loop, tls=False), "tls is an ssl.SSLContext"),
    (lambda loop: icey.http.Client(loop).request("GET", "http://a/", done=5), "done must be callable"),
    (lambda loop: icey.http.Client(loop).request("GET", "http://a/", headers="A: b"), "headers are pairs or a mapping"),
    (lambda loop: icey.http.ClientConnection(loop, "http://a/", limits={}), "limits are"),
    (lambda loop: icey.http.ClientConnection(loop, "https://a/", tls=True), "tls is an ssl.SSLContext"),
    (lambda loop: icey.http.ClientConnection(loop, "http://a/", headers="A: b"), "headers are pairs or a mapping"),
    (lambda loop: icey.http.EventSource(loop, "http://a/", limits=5), "limits are"),
    (lambda loop: icey.http.WebSocket.connect(loop, "ws://a/", limits={}), "limits are"),
    (lambda loop: icey.http.WebSocket.connect(loop, "wss://a/", tls=False), "tls is an ssl.SSLContext"),
    (lambda loop: icey.http.Server(loop, "127.0.0.1", 0, limits={"max_head": 5}), "limits are"),
])
def test_wrong_arguments_are_TypeError_at_the_callers_line(loop, make, text):
    with pytest.raises(TypeError, match="^" + text):
        make(loop)
    assert not loop.handles


def test_what_cannot_be_called_is_told_at_the_send(raw):
    conn = raw.connection(method="POST")
    conn.start()
    with pytest.raises(TypeError, match="done must be callable"):
        conn.send(b"x", 5)
    conn.abort()
