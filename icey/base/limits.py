"""Limits: every number a user may tune, in one table.

The README's table is made from `Limits.table()`. A field is a time in seconds (None, or infinity: no deadline) or a size
or count (None: no bound).

Not here: constants that nobody needs to tune; they stand beside the code they serve.
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, NoReturn, Optional, Tuple, Union

# name, default, unit, meaning
_TABLE: List[Tuple[str, Union[int, float], str, str]] = [
    ("head_timeout", 10.0, "s", "a request head, from its connection's start or its first byte to its blank line"),
    ("body_timeout", 30.0, "s", "between two pieces of a request body"),
    ("keep_alive_timeout", 30.0, "s", "an idle connection waiting for its next request"),
    ("write_timeout", 30.0, "s", "between two moments at which the peer takes something of an answer"),
    ("connect_timeout", 10.0, "s", "a client's connection, all addresses of a name together"),
    ("answer_timeout", 30.0, "s", "the first byte of an answer, since its request was out"),
    ("continue_timeout", 1.0, "s", "100 Continue, before the body is sent without it"),
    ("handshake_timeout", 10.0, "s", "a TLS or WebSocket handshake, or a broker's answer to CONNECT"),
    ("close_timeout", 5.0, "s", "a closing stream, since the peer last took something"),
    ("pong_timeout", 20.0, "s", "a pong, since its ping"),
    ("max_head", 65536, "B", "the header section: all fields and the blank line"),
    ("max_fields", 100, "", "header fields in a message"),
    ("max_target", 8192, "B", "request target"),
    ("max_body", 1048576, "B", "body gathered by `collect`"),
    ("max_decoded", 67108864, "B", "a body undone for `save_to` or `on_payload`, if over 100 times what came"),
    ("max_connections", 10000, "", "connections of a server; the next ones wait in the kernel's backlog"),
    ("high_water", 65536, "B", "queued bytes from which on `send` returns False"),
    ("low_water", 16384, "B", "queued bytes at which `on_drain` comes"),
    ("max_queue", 16777216, "B", "queued bytes past which `send` raises QueueFull"),
    ("max_message", 16777216, "B", "a WebSocket or MQTT message, or an event of an EventSource"),
]


class Limits:
    """An immutable set of limits: the defaults, with the given ones replaced.

    `Limits(max_body=10 << 20, keep_alive_timeout=None)`; an unknown name is TypeError, a negative or wrongly typed
    value ValueError. `limits.replace(**overrides)` makes a changed copy.
    """

    __slots__ = tuple(row[0] for row in _TABLE)

    if TYPE_CHECKING:
        head_timeout: Optional[float]
        body_timeout: Optional[float]
        keep_alive_timeout: Optional[float]
        write_timeout: Optional[float]
        connect_timeout: Optional[float]
        answer_timeout: Optional[float]
        continue_timeout: Optional[float]
        handshake_timeout: Optional[float]
        close_timeout: Optional[float]
        pong_timeout: Optional[float]
        max_head: Optional[int]
        max_fields: Optional[int]
        max_target: Optional[int]
        max_body: Optional[int]
        max_decoded: Optional[int]
        max_connections: Optional[int]
        high_water: int
        low_water: int
        max_queue: Optional[int]
        max_message: Optional[int]

    def __init__(self, **overrides: Any) -> None:
        for name, default, unit, _ in _TABLE:
            value = overrides.pop(name, default)
            if unit == "s" and value == float("inf"):
                value = None
            _check(name, value, unit)
            object.__setattr__(self, name, value)
        if overrides:
            raise TypeError("no such limit: %s" % ", ".join(sorted(overrides)))
        if self.low_water > self.high_water:
            raise ValueError("low_water %r is above high_water %r" % (self.low_water, self.high_water))

    def replace(self, **overrides: Any) -> Limits:
        """A copy with some limits replaced."""
        return Limits(**dict(self.items(), **overrides))

    def items(self) -> Dict[str, Any]:
        """All limits by name."""
        return {row[0]: getattr(self, row[0]) for row in _TABLE}

    @staticmethod
    def table() -> List[Tuple[str, Union[int, float], str, str]]:
        """(name, default, unit, meaning) of each limit: what the README prints."""
        return list(_TABLE)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("Limits are immutable: make others with limits.replace(%s=...)" % name)

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("Limits are immutable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limits) and self.items() == other.items()

    def __hash__(self) -> int:
        return hash(tuple(self.items().values()))

    def __repr__(self) -> str:
        changed = ["%s=%r" % (row[0], getattr(self, row[0])) for row in _TABLE if getattr(self, row[0]) != row[1]]
        return "Limits(%s)" % ", ".join(changed)


def _check(name: str, value: Any, unit: str) -> None:
    if value is None:
        if name in ("high_water", "low_water"):
            raise ValueError("%s needs a number" % name)
        return
    kinds = (int, float) if unit == "s" else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds) or not value >= 0:
        raise ValueError("%s must be %s of at least 0, or None, not %r"
                         % (name, "a time in seconds" if unit == "s" else "a whole number", value))


DEFAULTS = Limits()


def limits_of(limits: Any) -> Limits:
    """`limits`; the defaults for None. TypeError for what is no Limits."""
    if limits is None:
        return DEFAULTS
    if not isinstance(limits, Limits):
        raise TypeError("limits are an icey.Limits(name=value), not %r" % (limits,))
    return limits
