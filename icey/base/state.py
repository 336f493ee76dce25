"""Transition tables, and the mixin of objects that have a state.

Rule: an object's states are an enum and the legal moves a table, next to the class that has them:

    class Light(Enum): RED = 1; GREEN = 2
    MOVES = transitions({Light.RED: (Light.GREEN,), Light.GREEN: (Light.RED,)})

Hot code may assign `_state` directly where the move is evident; everything else goes through `move`.
"""

from __future__ import annotations

from .errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from enum import Enum
    from typing import Any, Dict, FrozenSet, Iterable, Mapping

    Table = Dict[Any, FrozenSet[Any]]


def transitions(table: Mapping[Any, Iterable[Any]]) -> Table:
    """A table state -> the states that may follow; every state named anywhere must have its row (ValueError)."""
    made = {state: frozenset(after) for state, after in table.items()}
    missing = frozenset().union(*made.values()) - frozenset(made)
    if missing:
        raise ValueError("states without a row: %s" % ", ".join(sorted(state.name for state in missing)))
    return made


class Stateful:
    """Mixin: `state`, and `move(new)` along the class attribute `MOVES`. A subclass has a slot `_state`."""

    __slots__ = ()

    MOVES: Table = {}
    if TYPE_CHECKING:
        _state: Any

    @property
    def state(self) -> Any:
        """The current state, a member of the class's enum."""
        return self._state

    def move(self, new: Enum) -> None:
        """Goes to `new` and tells `on_state_change(new, old)`; StateError where the table has no such move."""
        self._require_move(new)
        old, self._state = self._state, new
        self.on_state_change(new, old)

    def _require_move(self, new: Enum) -> None:
        old = self._state
        if new not in self.MOVES[old]:
            after = ", ".join(sorted(state.name for state in self.MOVES[old])) or "no other state"
            raise StateError("%s cannot go from %s to %s" % (type(self).__name__, old.name, new.name),
                             "from %s it can go to %s" % (old.name, after))

    def on_state_change(self, new: Any, old: Any) -> None:
        """Called after each `move`; does nothing here."""
