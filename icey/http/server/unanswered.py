"""Debug mode: reports an exchange that was left unanswered, once nothing holds it any more that could answer it.

A handler that returns its answer instead of sending it, or that forgets one branch, leaves its client waiting for ever, and
nothing else says so. An exchange may be answered later by whoever holds it: a timer, a list, a slot of its own that is still
to be called. So it is counted who holds it, in the turn after its slots returned, and again at each sweep. Who has kept its
connection may answer by that.

Not here: exchanges in release mode, and on a Python that does not count references.
"""

from __future__ import annotations

import sys

from ...base.debug import place
from ...base.errors import StateError
from ...base.stream import UP
from .answerstream import WHOLE
from .exchange import DONE

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, Optional

    from .connection import ServerConnection
    from .exchange import Exchange
    from .server import Server

_count: Optional[Callable[[Any], int]] = getattr(sys, "getrefcount", None)


def _held_by_one_variable() -> int:
    """What is counted of an object that one local variable holds: 2, 1 from CPython 3.14 on, one more where a debugger is."""
    thing = object()
    return 0 if _count is None else _count(thing)


class Unanswered:
    """Watches the exchanges of `server`."""

    __slots__ = ("server", "_slots", "_told")

    def __init__(self, server: Server) -> None:
        self.server = server
        self._slots: Iterable[Any] = ()
        self._told: Dict[ServerConnection, object] = {}  # whose request was reported last, or is not to be

    def over(self, fire: Callable[[Exchange], Any], slots: Iterable[Any]) -> Callable[[Exchange], Any]:
        """`fire`, which calls these slots of on_request, with a look at what they did of their exchange."""
        self._slots = slots
        soon = self.server.loop.soon

        count = _count

        def dispatch(exchange: Exchange) -> None:
            connection = exchange.connection
            before = count(connection)  # type: ignore[misc]
            fire(exchange)
            if exchange.stage < DONE:
                if count(connection) > before:  # type: ignore[misc]
                    self._told[connection] = exchange.request
                soon(self.look, connection)

        return fire if count is None else dispatch

    def look(self, connection: ServerConnection) -> None:
        """Reports the connection's exchange where nobody can answer it any more; once."""
        exchange = connection.exchange
        if exchange is None:
            self._told.pop(connection, None)
            return
        stream = connection.stream
        if stream.unsent or stream.closing or stream.link != UP:  # it is looked at again, or gone
            return
        if self._told.get(connection) is exchange.request or _may_come(exchange):
            return
        known = 1 + (connection.quick is exchange) + len(exchange.signals or ())  # the connection, and what belongs to both
        if _count is None or _count(exchange) - _held_by_one_variable() > known:
            return
        self._told[connection] = exchange.request
        self.server.loop.report(StateError(
            "%s %s was left unanswered, and nothing holds its exchange any more: %s"
            % (exchange.request.method, exchange.request.target,
               ", ".join(place(getattr(slot, "was", slot)) for slot in self._slots)),
            "answer in every branch, exchange.respond(...); what a handler returns is not looked at",
            "an exchange is answered once",
        ), connection)

    def sweep(self) -> None:
        """Looks at all of them."""
        for connection in self.server.connections:
            self.look(connection)
        self._told = {connection: told for connection, told in self._told.items() if not connection.closed}


def _may_come(exchange: Exchange) -> bool:
    """Whether it is answered, or a slot of its own is still to be called, and may answer."""
    whole = exchange.connection.intake == WHOLE
    return exchange.stage >= DONE or exchange.hears("on_drain") or exchange.hears("on_end") or (not whole and (
        exchange.collecting or exchange.hears("on_payload") or exchange.hears("on_complete")))
