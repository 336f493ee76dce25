"""Pool: a client's connections, kept by origin.

Rules
- At most `max_per_host` connections to an origin, and `max_connections` in all; a call beyond that waits for its turn.
- What is idle is used again, the latest first, and closed after `limits.keep_alive_timeout`. Idle connections do not keep
  the loop running.
- An idle connection that its server has closed is noticed when the loop reads it, at the latest when it is to be used again.

Not here: what a call does with its connection (call.py).
"""

from __future__ import annotations

from collections import deque

from .clientconnection import ClientConnection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, List, Optional, Tuple

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

    __slots__ = ("call", "pool", "uses", "idle_since")

    def __init__(self, pool: Pool, url: URL, **options: Any) -> None:
        super().__init__(pool.loop, url, **options)
        self.pool = pool
        self.call: Optional[Call] = None
        self.uses = 0
        self.idle_since = 0.0

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

    def _closed_now(self) -> None:
        super()._closed_now()
        call, self.call = self.call, None
        self.pool.gone(self)
        if call is not None:  # closed from outside, the loop with it perhaps
            call._lost()


class Pool:
    """The connections of one Client."""

    def __init__(
        self, loop: Loop, limits: Limits, max_per_host: int, max_connections: int, proxy: Optional[Proxy]
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.proxy = proxy
        self.max_per_host = max_per_host
        self.max_connections = max_connections
        self.connections: Dict[PooledConnection, Origin] = {}
        self._count: Dict[Origin, int] = {}
        self._idle: Dict[Origin, List[PooledConnection]] = {}
        self._waiting: Deque[Call] = deque()
        self._sessions: Dict[Origin, Any] = {}
        self._timer: Optional[Timer] = None
        self._closed = False

    def acquire(self, call: Call, fresh: bool = False) -> None:
        """Gives `call` a connection, now or when one is free. fresh: not one that was used before."""
        connection = self._free_one(call, fresh)
        if connection is not None:
            connection.call = call
            connection.uses += 1
            connection.ref()
            call._go(connection)
        else:
            self._waiting.append(call)

    def forget(self, call: Call) -> None:
        """`call` waits no more."""
        try:
            self._waiting.remove(call)
        except ValueError:
            pass

    def release(self, connection: PooledConnection) -> None:
        """The connection's transaction is over."""
        origin = connection.url.origin
        if connection.uses == 1 and connection.url.secure and connection.stream is not None:
            if len(self._sessions) >= MOST_SESSIONS:
                self._sessions.clear()
            self._sessions[origin] = connection.stream.session  # type: ignore[attr-defined]
        if connection.reusable and not self._closed:
            connection.idle_since = self.loop.now
            connection.unref()
            self._idle.setdefault(origin, []).append(connection)
            self._watch()
        if self._waiting:
            self.loop.call_soon(self._serve)

    def gone(self, connection: PooledConnection) -> None:
        """The connection is closed."""
        origin = self.connections.pop(connection, None)
        if origin is not None:
            left = self._count[origin] - 1
            if left:
                self._count[origin] = left
            else:
                del self._count[origin]
            self._not_idle(connection, origin)
            if self._waiting and not self.loop.closed:
                self.loop.call_soon(self._serve)

    def close(self) -> None:
        """Keeps nothing any more: what is idle goes, what is busy after its answer."""
        self._closed = True
        if self._timer is not None:
            self._timer.abort()
            self._timer = None
        for idle in list(self._idle.values()):
            for connection in list(idle):
                connection.abort()

    def _serve(self) -> None:
        """Gives what is free to those who wait, first come first served, where an origin has room."""
        for _ in range(len(self._waiting)):
            if self._waiting:
                self._waiting.popleft()._acquire()

    def _free_one(self, call: Call, fresh: bool) -> Optional[PooledConnection]:
        url, origin = call.url, call.url.origin
        idle = self._idle.get(origin)
        while idle and not fresh:
            connection = idle.pop()
            if not idle:
                del self._idle[origin]
            if connection.reusable and connection._tls is call.tls:
                connection._look_again()
                if connection.reusable:
                    return connection
            connection.close()
        if self._count.get(origin, 0) >= self.max_per_host and not (fresh and self._drop_idle(origin)):
            return None
        if len(self.connections) >= self.max_connections and not self._drop_idle(None):
            return None
        connection = PooledConnection(self, url.without_userinfo(), tls=call.tls, limits=self.limits, proxy=self.proxy)
        connection.session = self._sessions.get(origin)
        self.connections[connection] = origin
        self._count[origin] = self._count.get(origin, 0) + 1
        return connection

    def _drop_idle(self, origin: Optional[Origin]) -> bool:
        """Closes the connection that is idle for the longest, of this origin or of any; its place is free at once."""
        idle = [connection for key, those in self._idle.items() if origin in (None, key) for connection in those]
        if not idle:
            return False
        oldest = min(idle, key=lambda connection: connection.idle_since)
        self.gone(oldest)
        oldest.close()
        return True

    def _not_idle(self, connection: PooledConnection, origin: Origin) -> None:
        idle = self._idle.get(origin)
        if idle is not None and connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[origin]

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
