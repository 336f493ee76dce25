"""How a server accepts a WebSocket: the handshake of an exchange is answered, and the exchange's connection taken over.

`Guests` are all the WebSockets that one server has accepted: they are closed with 1001 when that server stops.

Not here: what a request must say, and what the answer says (handshake.py); WebSocket.accept, which calls this (websocket.py).
"""

from __future__ import annotations

from ..semantics.headers import Headers
from ..server.exchange import OPEN as UNANSWERED
from .frames import GOING_AWAY
from .handshake import accept_request
from .states import WebSocketState

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, Sequence

    from ..server.exchange import Exchange
    from ..server.server import Server
    from .compression import Compression
    from .handshake import Origins
    from .websocket import WebSocket

OPEN = WebSocketState.OPEN


def accept(
    ws: WebSocket, exchange: Exchange, subprotocols: Sequence[str], origins: Origins, compression: Compression
) -> None:
    """Answers the handshake of `exchange`, and hands its connection over to `ws`. Raises as WebSocket.accept."""
    exchange.require(UNANSWERED, "accept")
    agreed, fields = accept_request(exchange.request, subprotocols=subprotocols, origins=origins, compression=compression)
    response = exchange.response
    response.status = 101
    if not len(response.headers):
        response.headers = Headers.received(fields)  # these are checked, and the same tuples for all
    else:
        for name, value in fields:
            response.headers.add(name, value)
    exchange.send_header()
    ws.agree(agreed, False)
    ws.guests = Guests.of(exchange.server)
    ws.guests.add(ws)
    exchange.replace_adapter(ws.connection)
    if exchange.server.closing:  # it has said so to those who were there
        ws.loop.call_soon(ws.guests.send_home, exchange.server)


class Guests:
    """The WebSockets of one server. They share one slot of its on_shutdown: there may be thousands.

    `there`: those that are not closed yet, as the keys of a dict.
    """

    __slots__ = ("there",)

    def __init__(self) -> None:
        self.there: Dict[WebSocket, None] = {}

    @classmethod
    def of(cls, server: Server) -> Guests:
        """The guests of `server`, made on first use."""
        for slot in server.on_shutdown:
            owner = getattr(slot, "__self__", None)
            if isinstance(owner, cls):
                return owner
        made = cls()
        server.on_shutdown.attach(made.send_home, priority=-1)  # slots that say goodbye come first
        return made

    def add(self, ws: WebSocket) -> None:
        """`ws` was accepted."""
        self.there[ws] = None

    def remove(self, ws: WebSocket) -> None:
        """`ws` is about to be closed."""
        self.there.pop(ws, None)

    def send_home(self, server: Server) -> None:
        """The server stops: says goodbye to all that are open."""
        for ws in tuple(self.there):
            if ws.state is OPEN:
                ws.connection.say_close(GOING_AWAY, "the server stops")
