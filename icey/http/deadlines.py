"""What is late on a server's connections: one look at each, once a second, instead of a timer per request.

    what                                          limit                 then
    queued bytes the client does not take         write_timeout         abort
    a head begun, or a new connection's first     head_timeout          408, or close where nothing has come
    an idle connection, since its answer was out  keep_alive_timeout    close
    a body that somebody waits for                body_timeout          408
    an answered request's body being drained      body_timeout          close
    a connection that is closing                  close_timeout         abort

The application's own time is nobody's deadline: a thinking, streaming or upgraded connection is not touched (but for the
bytes queued on it). An idle connection is looked at again before the axe falls: one that just became active lives.
"""

from __future__ import annotations

from ..base.errors import RequestTimeout
from .states import CLOSING, RECEIVING_BODY, RECEIVING_HEADERS, UPGRADED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from ..base.limits import Limits
    from .connection import ServerConnection

FORGET_AFTER = 5.0  # idle seconds after which what the parser remembers of the connection is dropped


def beat(limits: Limits) -> float:
    """Seconds between two sweeps: one, or a quarter of the shortest deadline."""
    deadlines = (limits.head_timeout, limits.body_timeout, limits.keep_alive_timeout, limits.write_timeout,
                 limits.close_timeout)
    return min([1.0] + [max(limit / 4, 0.01) for limit in deadlines if limit is not None])


def sweep(connection: ServerConnection, now: float) -> None:
    """One connection's turn."""
    limits = connection.server.limits
    state = connection._state
    waited = now - connection._stamp
    stream = connection.stream
    if stream._queue or (stream.secure and stream.queued):
        if state is CLOSING:
            since = max(stream._last_taken(), connection._stamp)
            if _over(limits.close_timeout, now - since):
                connection.abort()
        elif state is not UPGRADED and _over(limits.write_timeout, now - stream._last_taken()):
            connection.abort()
    elif state is RECEIVING_HEADERS:
        if not connection._pending:
            _receiving_headers(connection, limits, now)
    elif state is RECEIVING_BODY:
        if _over(limits.body_timeout, waited) and not connection._paused:
            connection._body_late()
    elif state is CLOSING and _over(limits.close_timeout, waited):
        connection.abort()


def _receiving_headers(connection: ServerConnection, limits: Limits, now: float) -> None:
    parser = connection._parser
    if parser.partial or not connection._keep_alive:  # a head begun, or the first of a new connection
        limit, waited = limits.head_timeout, now - connection._stamp
    else:  # idle since the last answer was out
        limit, waited = limits.keep_alive_timeout, now - max(connection._stamp, connection.stream._last_taken())
    if _over(limit, waited):
        stamp = connection._stamp
        connection._look_again()
        if connection._state is not RECEIVING_HEADERS or connection._stamp != stamp:
            return
        if parser.partial:
            connection._refuse(RequestTimeout("the request's head took too long"))
        else:
            connection._begin_closing()
    elif waited >= FORGET_AFTER:
        parser.forget()


def _over(limit: Optional[float], waited: float) -> bool:
    return limit is not None and waited >= limit
