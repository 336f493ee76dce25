"""Subscriptions: what a client is subscribed to, who gets it, and what of that the broker still has to be told.

    WANTED -> ASKED (a SUBSCRIBE is out) -> GRANTED; back to WANTED where it was refused, or the connection is lost

Rules
- They are the client's, and outlive connections. Where the broker has no session any more, all are asked for again; where it
  has, those that it has not granted, and it is told what was left meanwhile.
- Requests go out in the order in which they were made, those of one kind in a row up to FILTERS together; MOST_ASKED of them
  wait for their answers, further ones wait for these.
- Several routes may share a filter: the broker is asked for the highest QoS that one of them wanted. For one that joins a
  filter which the broker has granted it is asked again: what it keeps (retained) it sends once more then (MQTT-3.8.4-3).

Not here: which topics a filter takes (topics.py), the packets (packets.py).
"""

from __future__ import annotations

from collections import deque

from . import packets
from .core import REFUSED
from .errors import MqttRefused
from .topics import Routes

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, List, Optional, Tuple, Union

    from .connection import MqttConnection
    from .outbox import Outbox
    from .topics import Route

    Done = Callable[[], Any]

WANTED, ASKED, GRANTED = range(3)
FILTERS = 8  # of one SUBSCRIBE: there are brokers that take no more
MOST_ASKED = 256


class Subscription:
    """A filter that the broker has, or is to have.

    `filter`, `coded`, `qos`, `routes`: what it is, and who gets what it takes. `state`: WANTED, ASKED or GRANTED; `ident`: of
    the SUBSCRIBE that asked for it last. `dones`: called when it is granted.
    """

    __slots__ = ("filter", "coded", "qos", "routes", "state", "ident", "dones")

    def __init__(self, filter: str, coded: bytes, qos: int) -> None:
        self.filter: str = filter
        self.coded: bytes = coded
        self.qos: int = qos
        self.routes: List[Route] = []
        self.state: int = WANTED
        self.ident: int = 0
        self.dones: List[Done] = []


class Subscriptions:
    """All of a client. outbox: knows which packet identifiers are free; rest: where messages go that none takes. `routes`: the
    Routes of the messages. `connection`: the MqttConnection whose broker is told, None while there is none."""

    __slots__ = ("routes", "connection", "_outbox", "_all", "_leaving", "_requests", "_asking", "_unasking")

    def __init__(self, outbox: Outbox, rest: Route) -> None:
        self.routes: Routes = Routes(rest)
        self.connection: Optional[MqttConnection] = None
        self._outbox = outbox
        self._all: Dict[str, Subscription] = {}
        self._leaving: Dict[str, bytes] = {}  # filters, coded, that the broker may have, and is to have no more
        self._requests: Deque[Union[Subscription, str]] = deque()  # to be asked for; or a filter, to be left
        self._asking: Dict[int, List[Subscription]] = {}  # packet identifier -> what its SUBSCRIBE asked for
        self._unasking: Dict[int, List[Tuple[str, bytes]]] = {}  # packet identifier -> what of _leaving its UNSUBSCRIBE had

    def add(self, filter: str, qos: int, route: Route, done: Optional[Done]) -> bool:
        """Has what `filter` takes go to `route`, too. True: the broker has granted that before, and `done` is due now.

        ValueError, TypeError: no such filter, or QoS."""
        coded, qos = packets.topic_filter(filter), packets.service(qos)
        one = self._all.get(filter)
        if one is None:
            one = self._all[filter] = Subscription(filter, coded, qos)
            self._leaving.pop(filter, None)
        elif qos > one.qos:
            one.qos, one.state, one.ident = qos, WANTED, 0  # what was asked for before is not the answer
        if route not in one.routes:
            if one.routes and one.state == GRANTED:
                one.state, one.ident = WANTED, 0
            one.routes.append(route)
            self.routes.add(filter, route)
        if one.state == GRANTED:
            return True
        if done is not None:
            one.dones.append(done)
        if one.state == WANTED and self.connection is not None:
            self._requests.append(one)
            self._ask()
        return False

    def remove(self, filter: str, route: Optional[Route]) -> bool:
        """Undoes `add`, for all routes where `route` is None. False: there is nothing to undo."""
        one = self._all.get(filter)
        if one is None or (route is not None and route not in one.routes):
            return False
        for gone in [route] if route is not None else list(one.routes):
            one.routes.remove(gone)
            self.routes.remove(filter, gone)
        if not one.routes:
            del self._all[filter]
            self._leaving[filter] = one.coded
            if self.connection is not None:
                self._requests.append(filter)
                self._ask()
        return True

    def connected(self, connection: MqttConnection, present: bool) -> None:
        """The broker is there. present: it has our session."""
        if not present:
            self._leaving.clear()
        for one in self._all.values():
            if not present or one.state != GRANTED:
                one.state = WANTED
        self._requests = deque(one for one in self._all.values() if one.state == WANTED)
        self._requests.extend(self._leaving)
        self.connection = connection
        self._ask()

    def lost(self) -> None:
        """There is no connection any more: what was asked is not answered."""
        self.connection = None
        self._requests.clear()
        self._asking.clear()
        self._unasking.clear()
        for one in self._all.values():
            if one.state == ASKED:
                one.state = WANTED

    def answered(self, ident: int, codes: bytes) -> Tuple[List[Done], List[MqttRefused]]:
        """SUBACK: the `done`s that are due, and what was refused, which is asked for again on the next connection."""
        dones: List[Done] = []
        refused: List[MqttRefused] = []
        for one, code in zip(self._asking.pop(ident), codes):
            if one.ident != ident:
                continue  # it was asked for once more since
            if code != REFUSED:
                one.state = GRANTED
                dones += one.dones
            else:
                one.state = WANTED
                if self._all.get(one.filter) is one:
                    refused.append(MqttRefused(code, "the broker refused the subscription to %r" % one.filter, one.filter))
            one.dones = []
        self._ask()
        return dones, refused

    def left(self, ident: int) -> None:
        """UNSUBACK."""
        for filter, coded in self._unasking.pop(ident):
            if self._leaving.get(filter) is coded:  # else it was subscribed to, and left, once more since
                del self._leaving[filter]
        self._ask()

    def clear(self) -> None:
        """The client is closed."""
        self.lost()
        self._all.clear()
        self._leaving.clear()
        self.routes.clear()

    def _ask(self) -> None:
        """Sends the requests that wait."""
        connection, requests = self.connection, self._requests
        while requests and connection is not None and len(self._asking) + len(self._unasking) < MOST_ASKED:
            if isinstance(requests[0], str):
                self._ask_to_leave(connection)
                continue
            part: List[Subscription] = []
            while requests and len(part) < FILTERS and isinstance(requests[0], Subscription):
                one = requests.popleft()
                if isinstance(one, Subscription) and one.state == WANTED and self._all.get(one.filter) is one:
                    part.append(one)
            if part:
                ident = self._outbox.free(connection.core.uses)
                self._asking[ident] = part
                for one in part:
                    one.state, one.ident = ASKED, ident
                connection.put(connection.core.subscribe(ident, [(one.coded, one.qos) for one in part]))

    def _ask_to_leave(self, connection: MqttConnection) -> None:
        """Sends the requests at the head that are filters to be left."""
        requests = self._requests
        part: List[str] = []
        while requests and len(part) < FILTERS and isinstance(requests[0], str):
            filter = requests.popleft()
            if isinstance(filter, str) and filter in self._leaving and filter not in part:
                part.append(filter)
        if part:
            ident = self._outbox.free(connection.core.uses)
            leaving = self._unasking[ident] = [(filter, self._leaving[filter]) for filter in part]
            connection.put(connection.core.unsubscribe(ident, [coded for _, coded in leaving]))
