"""Transition tables, the mixin of objects that have a state, and the watch that debug mode keeps over both.

Rule: an object's states are an enum and the legal moves a table, next to the class that has them:

    class Light(Enum): RED = 1; GREEN = 2
    MOVES = transitions({Light.RED: (Light.GREEN,), Light.GREEN: (Light.RED,)})

Code assigns a state directly: `self._state = GREEN`. In debug mode each such assignment is looked up in the table, and one
that is not there is StateError: `watch_states(self)` exchanges the object's class for a subclass whose state attributes are
watched (made once a class), so that release mode pays nothing. A class says in `STATES` which of its attributes are states.

Small numbers will do as states where an enum is too slow: `transitions(table, names=("OPEN", "CLOSED"))`.
"""

from __future__ import annotations

from .errors import StateError

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, FrozenSet, Iterable, Mapping, Sequence, Type, TypeVar

    T = TypeVar("T")

_UNSET = object()


class Table(Dict["Any", "FrozenSet[Any]"] if TYPE_CHECKING else dict):  # type: ignore[misc]
    """State -> the states that may follow. `names`: of states that are numbers."""

    names: Sequence[str] = ()

    def name(self, state: Any) -> str:
        """The state in a report."""
        return self.names[state] if self.names else str(state.name)


def transitions(table: Mapping[Any, Iterable[Any]], names: Sequence[str] = ()) -> Table:
    """A table state -> the states that may follow; every state named anywhere must have its row (ValueError)."""
    made = Table((state, frozenset(after)) for state, after in table.items())
    made.names = names
    missing = frozenset().union(*made.values()) - frozenset(made)
    if missing:
        raise ValueError("states without a row: %s" % ", ".join(sorted(map(made.name, missing))))
    return made


def require_move(what: Any, table: Table, old: Any, new: Any) -> None:
    """StateError where `table` does not let `what` go from `old` to `new`."""
    if new not in table[old]:
        after = ", ".join(sorted(map(table.name, table[old]))) or "no other state"
        raise StateError("%s cannot go from %s to %s" % (type(what).__name__, table.name(old), table.name(new)),
                         "from %s it can go to %s" % (table.name(old), after))


class InState:
    """Mixin: `state`, which only the object itself changes, along the class attribute `MOVES`.

    A subclass has a slot `_state`.
    """

    __slots__ = ()

    MOVES: Table = Table()
    if TYPE_CHECKING:
        _state: Any

    @property
    def state(self) -> Any:
        """The current state, a member of the class's enum."""
        return self._state


class Stateful(InState):
    """Mixin for objects whose user moves them: `state`, and `move(new)` along `MOVES`."""

    __slots__ = ()

    def move(self, new: Any) -> None:
        """Goes to `new` and tells `on_state_change(new, old)`; StateError where the table has no such move."""
        old = self._state
        require_move(self, self.MOVES, old, new)
        self._state = new
        self.on_state_change(new, old)

    def on_state_change(self, new: Any, old: Any) -> None:
        """Called after each `move`; does nothing here."""


def watch_states(thing: Any) -> None:
    """Debug mode: has every assignment to the states of `thing`, as its class's `STATES` names them, checked from now on."""
    thing.__class__ = watched(type(thing))


def tables_of(cls: type) -> Dict[str, Table]:
    """State attribute -> its table, of a class and all its bases."""
    found: Dict[str, Table] = {}
    for base in reversed(cls.__mro__):
        found.update(base.__dict__.get("STATES", {}))
        if base.__dict__.get("MOVES"):
            found["_state"] = base.__dict__["MOVES"]
    return found


def watched(cls: Type[T]) -> Type[T]:
    """The subclass of `cls` whose state attributes are watched: of the same name, made once."""
    made: Any = cls.__dict__.get("_watched_class")
    if made is None:
        body: Dict[str, Any] = {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__,
                                "__doc__": cls.__doc__}
        for name, table in tables_of(cls).items():
            body[name] = _WatchedState(getattr(cls, name, None), name, table)
        made = type(cls.__name__, (cls,), body)
        made._watched_class = made
        cls._watched_class = made  # type: ignore[attr-defined]
    return made  # type: ignore[no-any-return]


class _WatchedState:
    """Stands before a slot, or before an entry of the object's `__dict__`."""

    def __init__(self, slot: Any, name: str, table: Table) -> None:
        self._slot = slot if hasattr(slot, "__set__") else None
        self._name = name
        self._table = table

    def __get__(self, obj: Any, cls: Any = None) -> Any:
        if obj is None:
            return self
        if self._slot is not None:
            return self._slot.__get__(obj, cls)
        return obj.__dict__[self._name]

    def __set__(self, obj: Any, new: Any) -> None:
        try:
            old = self.__get__(obj)
        except (AttributeError, KeyError):  # the first one
            old = _UNSET
        if old is not _UNSET and new is not old and new != old:
            require_move(obj, self._table, old, new)
        if self._slot is not None:
            self._slot.__set__(obj, new)
        else:
            obj.__dict__[self._name] = new
