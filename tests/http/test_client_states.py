"""The table of a ClientConnection's states. That every assignment keeps to it, `rawserver.moves` sees to in every test."""
import pytest

import icey
from icey.http import ClientConnection, ClientState
from icey.http.states import CLIENT_MOVES
from tests.support import rawserver
from tests.support.rawserver import answer

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw


def names(made):
    return {(old.name, new.name) for old, new in made}


def test_every_state_has_its_row_and_leads_to_the_end():
    assert set(CLIENT_MOVES) == set(ClientState)
    for state, after in CLIENT_MOVES.items():
        assert state is ClientState.CLOSED or ClientState.CLOSED in after, state
    assert CLIENT_MOVES[ClientState.CLOSED] == frozenset()


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
    with pytest.raises(AssertionError, match="IDLE.*RECEIVING"):
        conn._state = ClientState.RECEIVING
    with pytest.raises(icey.StateError, match="IDLE to RECEIVING"):
        conn.move(ClientState.RECEIVING)
    assert conn.state is ClientState.IDLE and isinstance(ClientConnection._state, rawserver.CheckedState)


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
    table = {(old.name, new.name) for old, after in CLIENT_MOVES.items() for new in after}
    assert {move for move in table if move[1] not in ("CLOSING", "CLOSED")} == {
        ("IDLE", "CONNECTING"), ("IDLE", "SENDING"), ("CONNECTING", "SENDING"), ("SENDING", "WAITING"),
        ("SENDING", "RECEIVING"), ("WAITING", "RECEIVING"), ("RECEIVING", "IDLE"), ("SENDING", "UPGRADED"),
        ("WAITING", "UPGRADED"),
    }
