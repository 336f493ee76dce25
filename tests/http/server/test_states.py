"""The table of a connection's states."""
import pytest

from icey import StateError
from icey.base.state import Stateful
from icey.http import ServerState
from icey.http.server import states
from icey.http.server.states import MOVES

S = ServerState


def test_every_state_has_a_row():
    assert set(MOVES) == set(ServerState)


def test_the_short_names_are_the_states():
    for state in ServerState:
        assert state in (states.RECEIVING_HEADERS, states.RECEIVING_BODY, states.DISPATCHING, states.STREAMING,
                         states.UPGRADED, states.CLOSING, states.CLOSED)


def test_every_way_ends_closed():
    assert not MOVES[S.CLOSED]
    for state in set(ServerState) - {S.CLOSED}:
        assert S.CLOSED in MOVES[state]
    assert MOVES[S.CLOSING] == {S.CLOSED}


def test_nothing_comes_back_from_an_upgrade():
    assert MOVES[S.UPGRADED] == {S.CLOSING, S.CLOSED}


def test_a_body_is_read_before_an_upgrade_and_a_head_before_a_body():
    assert S.STREAMING not in MOVES[S.RECEIVING_HEADERS] and S.UPGRADED not in MOVES[S.RECEIVING_HEADERS]
    assert S.RECEIVING_BODY not in MOVES[S.DISPATCHING_OR_SENDING]


def test_moves_follow_the_table():
    class Connection(Stateful):
        __slots__ = ("_state",)
        MOVES = states.MOVES

    for old in ServerState:
        for new in ServerState:
            connection = Connection()
            connection._state = old
            if new in MOVES[old]:
                connection.move(new)
                assert connection.state is new
            else:
                with pytest.raises(StateError, match=old.name):
                    connection.move(new)
                assert connection.state is old
