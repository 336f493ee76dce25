"""WebSocketState: the states of a WebSocket, and which may follow which.

    CONNECTING    the handshake is under way
    OPEN          messages go both ways
    CLOSING       a close frame is out, or the connection failed: nothing is sent or told any more but on_error and on_close
    CLOSED        gone
"""

from __future__ import annotations

from enum import Enum

from ...base.state import transitions


class WebSocketState(Enum):
    """Where a WebSocket is."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


_w = WebSocketState
MOVES = transitions({
    _w.CONNECTING: (_w.OPEN, _w.CLOSING, _w.CLOSED),
    _w.OPEN: (_w.CLOSING, _w.CLOSED),
    _w.CLOSING: (_w.CLOSED,),
    _w.CLOSED: (),
})
