"""Stateful: transition tables, and what happens on a move that is not in them."""
from enum import Enum

import pytest

from icey import StateError, Stateful
from icey.base.state import transitions


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
