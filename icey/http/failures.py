"""What a server's connection does when something goes wrong: a slot of the application raises, or the client breaks the rules.

    an HttpError leaves a slot                      it is the answer, if none has begun
    anything else leaves a slot                     loop.on_error, and 500 if no answer has begun, else abort
    the client's bytes are malformed, or too slow   the status that says so, `Connection: close`, a lingering close
"""

from __future__ import annotations

from ..base.errors import HttpError, StateError
from .exchange import DONE, OPEN, Exchange
from .message import REASONS, Request
from .states import RECEIVING_BODY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .connection import ServerConnection

PLAIN = "text/plain; charset=utf-8"


def slot_raised(connection: ServerConnection, exchange: Exchange, exc: Exception) -> None:
    """A slot of the application raised."""
    answerable = exchange._stage == OPEN and connection.exchange is exchange and not connection.closing
    if isinstance(exc, HttpError) and answerable and 400 <= exc.status <= 599:
        try:
            _answer(exchange, exc)
            return
        except (TypeError, ValueError, StateError) as wrong:  # its headers cannot be sent
            wrong.__cause__ = exc
            exc = wrong
    connection.loop._report(exc, connection)
    if answerable:
        _answer(exchange, HttpError(500))
    elif exchange._stage < DONE:
        connection.abort()


def refuse(connection: ServerConnection, exc: HttpError) -> None:
    """The client broke the protocol, or was too slow."""
    exchange = connection.exchange
    if exchange is not None and exchange._stage != OPEN:
        connection.abort()
        return
    if exchange is None and connection._state is RECEIVING_BODY:  # answered before: one request, one answer
        connection._begin_closing()
        return
    connection._keep_alive = False
    connection._tell(exchange or Exchange(connection, Request("-", "/", "1.1", {})), exc.status)
    body = _body(exc)
    headers = [("Content-Type", PLAIN), ("Connection", "close"), *exc.headers, ("Content-Length", str(len(body)))]
    if exchange is not None and exchange.request.method == "HEAD":
        body = b""
    connection._write(connection._heads.head(exc.status, "", headers) + body, None, True)
    connection._begin_closing()


def _answer(exchange: Exchange, exc: HttpError) -> None:
    exchange._response = None
    exchange._gather = None
    exchange._respond(exc.status, _body(exc), PLAIN, exc.headers)


def _body(exc: HttpError) -> bytes:
    text = "%d %s" % (exc.status, REASONS.get(exc.status, "Error"))
    return ("%s: %s\n" % (text, exc.reason) if exc.reason else text + "\n").encode("utf-8", "replace")
