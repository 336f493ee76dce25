"""Pool: a client's connections, kept by origin.

Rules
- At most `max_per_host` connections to an origin, and `max_connections` in all; a call beyond that waits for its turn: first
  come, first served within an origin, and the origins in turn. A connection that closes gives its place up at once.
- What is idle is used again, the latest first, and closed after `limits.keep_alive_timeout`.
- Connections do not keep the loop running: calls do.
- An idle connection that its server has closed is noticed when the loop reads it, at the latest when it is to be used again.

Not here: what a call does with its connection (call.py).
"""

from __future__ import annotations

from collections import deque

from .clientconnection import ClientConnection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, List, Optional, Set, Tuple

    from ..base.limits import Limits
    from ..base.loop import Loop
    from ..base.timer import Timer
    from .call import Call
    from .dialing import Proxy
    from .url import URL

    Origin = Tuple[str, str, int]

MOST_SESSIONS = 256  # TLS sessions remembered


class PooledConnection(ClientConnection):
    """A connection of a pool: what it has to tell goes to the call that has it. `uses`: transactions begun."""

    __slots__ = ("call", "pool", "origin", "uses", "idle_since")

    _takes_send = False

    def __init__(self, pool: Pool, url: URL, **options: Any) -> None:
        super().__init__(pool.loop, url.without_userinfo(), **options)
        self.pool = pool
        self.origin: Origin = url.origin
        self.call: Optional[Call] = None
        self.uses = 0
        self.idle_since = 0.0
        self.unref()

    def _tell_sent(self, head: bytes) -> None:
        if self.call is not None:
            self.call._sent(head)

    def _tell_headers(self) -> None:
        if self.call is not None:
            self.call._headers(self)

    def _tell_payload(self, view: memoryview) -> None:
        if self.call is not None:
            self.call._payload(self, view)

    def _tell_complete(self) -> None:
        call, self.call = self.call, None
        self.pool.release(self)
        if call is not None:
            call._complete(self)

    def _tell_error(self, exc: Exception) -> None:
        call, self.call = self.call, None
        if call is not None:
            call._broken(self, exc)

    def _let_go(self) -> None:
        super()._let_go()
        self.pool.leave(self)

    def _closed_now(self) -> None:
        super()._closed_now()
        call, self.call = self.call, None
        self.pool.connections.discard(self)
        if call is not None:  # closed from outside
            call._lost()


class Pool:
    """The connections of one Client. `connections`: all that are open, those that close included."""

    def __init__(
        self, loop: Loop, limits: Limits, max_per_host: int, max_connections: int, proxy: Optional[Proxy]
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.proxy = proxy
        self.max_per_host = max_per_host
        self.max_connections = max_connections
        self.connections: Set[PooledConnection] = set()
        self._places: Dict[Origin, Set[PooledConnection]] = {}  # those that count
        self._taken = 0  # places in all
        self._idle: Dict[Origin, List[PooledConnection]] = {}
        self._waiting: Dict[Origin, Deque[Call]] = {}  # the origins in the order of their turns
        self._serving = False  # `_serve` is on its way
        self._sessions: Dict[Origin, Any] = {}
        self._timer: Optional[Timer] = None
        self._closed = False

    def acquire(self, call: Call) -> None:
        """Gives `call` a connection, now or when its turn comes, by `call._go`."""
        origin = call.url.origin
        if self._serving or origin in self._waiting or not self._has_room(origin):
            self._waiting.setdefault(origin, deque()).append(call)
        else:
            self._give(call)

    def forget(self, call: Call) -> None:
        """`call` waits no more."""
        origin = call.url.origin
        calls = self._waiting.get(origin)
        if calls is not None and call in calls:
            calls.remove(call)
            if not calls:
                del self._waiting[origin]

    def release(self, connection: PooledConnection) -> None:
        """The connection's transaction is over."""
        if connection.uses == 1 and connection.url.secure and connection.stream is not None:
            if len(self._sessions) >= MOST_SESSIONS:
                self._sessions.clear()
            self._sessions[connection.origin] = connection.stream.session  # type: ignore[attr-defined]
        if not connection.reusable:
            self.leave(connection)
        elif self._closed:
            connection.close()
        else:
            connection.idle_since = self.loop.now
            self._idle.setdefault(connection.origin, []).append(connection)
            self._watch()
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
        """Keeps nothing any more: what is idle goes, what is busy after its answer."""
        self._closed = True
        if self._timer is not None:
            self._timer.abort()
            self._timer = None
        for idle in list(self._idle.values()):
            for connection in list(idle):
                connection.abort()

    # turns

    def _serve_soon(self) -> None:
        if self._waiting and not self._serving and not self.loop.closed:
            self._serving = True
            self.loop.call_soon(self._serve)

    def _serve(self) -> None:
        """Gives what is free to those who wait."""
        self._serving = False
        while True:
            origin = next((origin for origin in self._waiting if self._has_room(origin)), None)
            if origin is None:
                return
            calls = self._waiting.pop(origin)
            call = calls.popleft()
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
            connection = None if call.wants_fresh else self._idle_one(call.url.origin)
            if connection is None:
                connection = self._new_one(call)
        except Exception as exc:  # no TLS here
            call._fail_soon(exc)
            return
        connection.call = call
        connection.uses += 1
        call._go(connection)

    def _idle_one(self, origin: Origin) -> Optional[PooledConnection]:
        """The connection that was used last, if its server has not closed it meanwhile."""
        while origin in self._idle:
            connection = self._idle[origin][-1]
            connection._look_again()
            if connection.reusable:
                self._idle[origin].pop()
                if not self._idle[origin]:
                    del self._idle[origin]
                return connection
            connection.close()
            self.leave(connection)
        return None

    def _new_one(self, call: Call) -> PooledConnection:
        origin = call.url.origin
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

    def _watch(self) -> None:
        limit = self.limits.keep_alive_timeout
        if self._timer is None and limit is not None:
            self._timer = self.loop.call_later(max(limit / 4, 0.01), self._sweep)
            self._timer.unref()

    def _sweep(self) -> None:
        """Closes what has been idle for too long."""
        self._timer = None
        limit = self.limits.keep_alive_timeout
        for idle in list(self._idle.values()):
            for connection in list(idle):
                if limit is not None and self.loop.now - connection.idle_since >= limit:
                    connection.close()
        if self._idle:
            self._watch()
