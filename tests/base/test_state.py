"""Stateful: transition tables, and what happens on a move that is not in them."""
from enum import Enum

import pytest

from icey import StateError, Stateful
from icey.base.state import transitions, watch_states, watched


class Light(Enum):
    RED = 1
    GREEN = 2
    OFF = 3


class Lamp(Stateful):
    __slots__ = ("_state", "told")

    MOVES = transitions({Light.RED: [Light.GREEN, Light.OFF], Light.GREEN: (Light.RED,), Light.OFF: ()})

    def __init__(self):
        self._state = Light.RED
        self.told = []

    def on_state_change(self, new, old):
        self.told.append((new, old))


def test_a_legal_move_changes_the_state_and_tells():
    lamp = Lamp()
    lamp.move(Light.GREEN)
    lamp.move(Light.RED)
    assert lamp.state is Light.RED
    assert lamp.told == [(Light.GREEN, Light.RED), (Light.RED, Light.GREEN)]


def test_an_illegal_move_is_StateError_that_says_which_are_legal():
    lamp = Lamp()
    lamp.move(Light.GREEN)
    with pytest.raises(StateError, match="Lamp cannot go from GREEN to OFF.*from GREEN it can go to RED"):
        lamp.move(Light.OFF)
    assert lamp.state is Light.GREEN and len(lamp.told) == 1


def test_a_move_to_the_same_state_has_to_be_in_the_table_too():
    with pytest.raises(StateError, match="from RED to RED.*it can go to GREEN, OFF"):
        Lamp().move(Light.RED)


def test_a_last_state_says_so():
    lamp = Lamp()
    lamp.move(Light.OFF)
    with pytest.raises(StateError, match="no other state"):
        lamp.move(Light.RED)


def test_the_state_cannot_be_assigned():
    with pytest.raises(AttributeError):
        Lamp().state = Light.OFF


def test_telling_is_optional():
    class Quiet(Stateful):
        MOVES = Lamp.MOVES

    quiet = Quiet()
    quiet._state = Light.RED
    quiet.move(Light.OFF)
    assert quiet.state is Light.OFF


def test_every_state_of_a_table_needs_a_row():
    with pytest.raises(ValueError, match="states without a row: GREEN, OFF"):
        transitions({Light.RED: [Light.GREEN, Light.OFF]})
    assert transitions({}) == {}


def test_a_table_is_kept_from_change():
    assert transitions({Light.OFF: [Light.OFF]}) == {Light.OFF: frozenset([Light.OFF])}


# debug mode watches assignments

class Sender:
    __slots__ = ("phase", "other")

    STATES = {"phase": transitions({0: (1,), 1: (0, 2), 2: ()}, names=("IDLE", "BUSY", "GONE"))}

    def __init__(self):
        self.phase = 0
        self.other = None


class Sub(Sender):
    """With a table of its own."""

    __slots__ = ("_state",)

    MOVES = Lamp.MOVES

    def __init__(self):
        super().__init__()
        self._state = Light.RED


def test_in_debug_each_assignment_of_a_state_is_looked_up():
    sender = Sender()
    watch_states(sender)
    sender.phase = 1
    sender.phase = 1  # staying is no move
    sender.phase = 2
    with pytest.raises(StateError, match="Sender cannot go from GONE to BUSY.*no other state"):
        sender.phase = 1
    assert sender.phase == 2
    sender.other = 7  # is no state


def test_tables_of_base_classes_count():
    one = Sub()
    watch_states(one)
    with pytest.raises(StateError, match="IDLE to GONE"):
        one.phase = 2
    with pytest.raises(StateError, match="Sub cannot go from RED to RED|cannot go"):
        one._state = Light.OFF
        one._state = Light.GREEN


def test_the_watched_class_is_made_once_and_looks_like_the_other():
    assert watched(Sub) is watched(Sub) is watched(watched(Sub)) and issubclass(watched(Sub), Sub)
    seen = watched(Sub)
    assert (seen.__name__, seen.__module__, seen.__doc__) == ("Sub", __name__, "With a table of its own.")
    assert watched(Sender) is not watched(Sub)


def test_the_first_assignment_is_free_and_dict_objects_are_watched_too():
    class Loose:
        STATES = Sender.STATES

    one = watched(Loose)()
    one.phase = 1
    with pytest.raises(StateError, match="GONE to IDLE|cannot go"):
        one.phase = 2
        one.phase = 0
    assert one.phase == 2 and vars(one) == {"phase": 2}


def test_release_mode_watches_nothing():
    assert type(Sender()) is Sender
