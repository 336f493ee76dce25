"""Pool: a client's connections, kept by origin.

    pool.acquire(call) -> call.use(connection) -> connection.start(...) ... -> pool.release(connection), call.answer_end()

Rules
- At most `max_per_host` connections to an origin, and `max_connections` in all; a call beyond that waits for its turn: first
  come, first served within an origin, and the origins in turn. A connection that closes gives its place up at once.
- An idle connection is used again, the latest first, and closed after `limits.keep_alive_timeout`.
- Connections do not keep the loop running: calls do.
- An idle connection that its server has closed is noticed when the loop reads it, at the latest when it is to be used again.

Not here: what a call does with its connection (call.py).
"""

from __future__ import annotations

from collections import OrderedDict

from ...base.watchdog import Watchdog
from .connection import ClientConnection
from .states import ClientState

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set, Tuple

    from ...base.limits import Limits
    from ...base.loop import Loop
    from ..semantics.url import URL
    from .call import Call
    from .proxy import Proxy

    Origin = Tuple[str, str, int]

MOST_SESSIONS = 256  # TLS sessions remembered


class PooledConnection(ClientConnection):
    """A connection of a pool: what it has to tell goes to the call that has it.

    `pool`: the Pool; `origin`: (scheme, host, port) of its server; `uses`: transactions begun; `idle_since`: when the last one
    was complete, in the loop's time.
    """

    __slots__ = ("pool", "origin", "uses", "idle_since")

    takes_send = False
    takes_whole = True

    def __init__(self, pool: Pool, url: URL, **options: Any) -> None:
        super().__init__(pool.loop, url.without_userinfo(), **options)
        self.pool: Pool = pool
        self.origin: Origin = url.origin
        self.uses: int = 0
        self.idle_since: float = 0.0
        self.unref()

    def abandon(self) -> None:
        """Its call wants no more of it, in the middle of a transaction."""
        self.call: Optional[Call] = None
        self.abort()

    def kept(self) -> None:
        self.pool.release(self)

    def tell_complete(self) -> None:
        call, self.call = self.call, None
        self.pool.release(self)
        if call is not None:
            call.answer_end()

    def tell_error(self, exc: Exception) -> None:
        call, self.call = self.call, None
        if call is not None:
            call.connection_failed(exc, self.uses > 1 and not self.answering)

    def begin_close(self) -> None:
        super().begin_close()
        self.pool.leave(self)

    def silence(self) -> None:
        super().silence()
        self.pool.leave(self)

    def closed_now(self) -> None:
        super().closed_now()
        call, self.call = self.call, None
        self.pool.connections.discard(self)
        if call is not None:  # closed from outside
            call.connection_lost()


class Pool:
    """The connections of one Client.

    `connections`: all that are open, those that close included. `loop`, `limits`, `proxy`, `max_per_host` and `max_connections`
    are the client's.
    """

    def __init__(
        self, loop: Loop, limits: Limits, max_per_host: int, max_connections: int, proxy: Optional[Proxy]
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.proxy = proxy
        self.max_per_host = max_per_host
        self.max_connections = max_connections
        self.connections: Set[PooledConnection] = set()
        self._places: Dict[Origin, Set[PooledConnection]] = {}  # the connections that count
        self._taken = 0  # places of all origins
        self._idle: Dict[Origin, List[PooledConnection]] = {}  # in the order in which they became idle
        self._waiting: Dict[Origin, OrderedDict[Call, None]] = {}  # the origins, and their calls, in the order of their turns
        self._serving = False  # `_serve` is on its way
        self._sessions: Dict[Origin, Any] = {}
        self._watchdog = Watchdog(loop, self._idle_due, self._drop_late)
        self._closed = False

    def acquire(self, call: Call) -> None:
        """Gives `call` a connection, now or when its turn comes, by `call.use`; `call.refuse` where none can be made.

        Nothing where the call is over.
        """
        if call.phase:
            return
        origin = call.origin
        if self._serving or origin in self._waiting or not self._has_room(origin):
            self._waiting.setdefault(origin, OrderedDict())[call] = None
        else:
            self._give(call)

    def forget(self, call: Call) -> None:
        """`call` waits no more."""
        if not self._waiting:
            return
        origin = call.origin
        calls = self._waiting.get(origin)
        if calls is not None and call in calls:
            del calls[call]
            if not calls:
                del self._waiting[origin]

    def release(self, connection: PooledConnection) -> None:
        """The connection's transaction is over."""
        if connection.uses == 1 and connection.url.secure and connection.stream is not None:
            if len(self._sessions) >= MOST_SESSIONS:
                self._sessions.clear()
            self._sessions[connection.origin] = connection.stream.session  # type: ignore[attr-defined]
        if connection.state is not ClientState.IDLE:
            self.leave(connection)
        elif self._closed:
            connection.close()
        else:
            now, limit = self.loop.now, self.limits.keep_alive_timeout
            connection.idle_since = now
            self._idle.setdefault(connection.origin, []).append(connection)
            if limit is not None and now + limit < self._watchdog.at:
                self._watchdog.watch()
            if self._waiting:
                self._serve_soon()

    def leave(self, connection: PooledConnection) -> None:
        """The connection is not used again: its place is free."""
        origin = connection.origin
        places = self._places.get(origin)
        if places is None or connection not in places:
            return
        places.remove(connection)
        if not places:
            del self._places[origin]
        self._taken -= 1
        idle = self._idle.get(origin)
        if idle is not None and connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[origin]
        self._serve_soon()

    def close(self) -> None:
        """Keeps no connection any more: an idle one is closed now, a busy one after its answer."""
        self._closed = True
        self._watchdog.stop()
        for idle in list(self._idle.values()):
            for connection in list(idle):
                connection.abort()

    def closed_now(self) -> None:
        """The client is closed, its calls are over, and nothing becomes idle any more."""
        self._watchdog.release()

    # turns

    def _serve_soon(self) -> None:
        if self._waiting and not self._serving and not self.loop.closed:
            self._serving = True
            self.loop.soon(self._serve)

    def _serve(self) -> None:
        """Gives what is free to those who wait."""
        self._serving = False
        while self._taken < self.max_connections or self._idle:  # else none has room, and there may be thousands
            origin = next((origin for origin in self._waiting if self._has_room(origin)), None)
            if origin is None:
                return
            calls = self._waiting.pop(origin)
            call, _ = calls.popitem(last=False)
            if calls:
                self._waiting[origin] = calls  # behind the others
            self._give(call)

    def _has_room(self, origin: Origin) -> bool:
        """Whether a call to `origin` can have a connection."""
        if origin in self._idle:
            return True
        if len(self._places.get(origin, ())) >= self.max_per_host:
            return False
        return self._taken < self.max_connections or bool(self._idle)

    def _give(self, call: Call) -> None:
        try:
            connection = None if call.wants_fresh else self._idle_one(call.origin)
            if connection is None:
                connection = self._new_one(call)
        except Exception as exc:  # no TLS here
            call.refuse(exc)
            return
        connection.call = call
        connection.uses += 1
        call.use(connection)

    def _idle_one(self, origin: Origin) -> Optional[PooledConnection]:
        """The connection that was used last, if its server has not closed it meanwhile."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle[-1]
            if connection.stream is not None:
                connection.stream.look()  # the server's end may have come
            if connection.reusable:
                idle.pop()
                if not idle:
                    del self._idle[origin]
                return connection
            connection.close()
            self.leave(connection)
            idle = self._idle.get(origin)
        return None

    def _new_one(self, call: Call) -> PooledConnection:
        origin = call.origin
        if len(self._places.get(origin, ())) >= self.max_per_host:
            self._drop_idle(origin)
        elif self._taken >= self.max_connections:
            self._drop_idle(None)
        connection = PooledConnection(self, call.url, tls=call.tls, limits=self.limits, proxy=self.proxy)
        connection.session = self._sessions.get(origin)
        self.connections.add(connection)
        self._places.setdefault(origin, set()).add(connection)
        self._taken += 1
        return connection

    def _drop_idle(self, origin: Optional[Origin]) -> None:
        """Closes the connection that is idle for the longest, of this origin or of any."""
        idle = [connection for key, those in self._idle.items() if origin in (None, key) for connection in those]
        min(idle, key=lambda connection: connection.idle_since).close()

    # idle connections

    def _idle_due(self) -> Optional[float]:
        """When the first of the idle connections has been idle for too long."""
        limit = self.limits.keep_alive_timeout
        if limit is None or not self._idle:
            return None
        return min(idle[0].idle_since for idle in self._idle.values()) + limit

    def _drop_late(self) -> None:
        """Closes what has been idle for too long."""
        limit = self.limits.keep_alive_timeout
        for idle in list(self._idle.values()):
            for connection in list(idle):
                if limit is not None and connection.idle_since + limit <= self.loop.now:
                    connection.close()
        self._watchdog.watch()
