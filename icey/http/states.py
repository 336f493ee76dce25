"""The states of a server's and of a client's connection and of a WebSocket, and which may follow which.

ServerState

    RECEIVING_HEADERS        between requests, or inside a head
    RECEIVING_BODY           the body is under way; also while the unread rest of an answered request is drained
    DISPATCHING_OR_SENDING   the request is whole; the application thinks, or its answer is being written
    STREAMING                the application has said `begin_streaming()`: the reaper leaves it alone until `end()`
    UPGRADED                 another protocol's adapter has the stream
    CLOSING                  the last answer is out or on its way; input is discarded until the peer closes too
    CLOSED                   gone

ClientState
    IDLE          no transaction: not started yet, or the last one is complete and the connection kept
    CONNECTING    the connection is being made: names, TCP, a proxy's tunnel, TLS
    SENDING       the request goes out
    WAITING       it is out; the answer's head is awaited
    RECEIVING     the head is here, its body comes (the request's may still be going out)
    UPGRADED      another protocol's adapter has the stream
    CLOSING       close() was called, or it failed
    CLOSED        gone

WebSocketState
    CONNECTING    the handshake is under way
    OPEN          messages go both ways
    CLOSING       a close frame is out, or the connection failed: nothing is sent or told any more but on_error and on_close
    CLOSED        gone
"""

from __future__ import annotations

from enum import Enum

from ..base.state import transitions


class ServerState(Enum):
    """Where a server's connection is."""

    RECEIVING_HEADERS = "receiving headers"
    RECEIVING_BODY = "receiving body"
    DISPATCHING_OR_SENDING = "dispatching or sending"
    STREAMING = "streaming"
    UPGRADED = "upgraded"
    CLOSING = "closing"
    CLOSED = "closed"


# enum members are slow class attributes before Python 3.12: the hot path uses these
RECEIVING_HEADERS = ServerState.RECEIVING_HEADERS
RECEIVING_BODY = ServerState.RECEIVING_BODY
DISPATCHING = ServerState.DISPATCHING_OR_SENDING
STREAMING = ServerState.STREAMING
UPGRADED = ServerState.UPGRADED
CLOSING = ServerState.CLOSING
CLOSED = ServerState.CLOSED

MOVES = transitions({
    RECEIVING_HEADERS: (RECEIVING_BODY, DISPATCHING, CLOSING, CLOSED),
    RECEIVING_BODY: (RECEIVING_HEADERS, DISPATCHING, STREAMING, UPGRADED, CLOSING, CLOSED),
    DISPATCHING: (RECEIVING_HEADERS, STREAMING, UPGRADED, CLOSING, CLOSED),
    STREAMING: (RECEIVING_HEADERS, RECEIVING_BODY, CLOSING, CLOSED),
    UPGRADED: (CLOSING, CLOSED),
    CLOSING: (CLOSED,),
    CLOSED: (),
})


class ClientState(Enum):
    """Where a client's connection is."""

    IDLE = "idle"
    CONNECTING = "connecting"
    SENDING = "sending"
    WAITING = "waiting"
    RECEIVING = "receiving"
    UPGRADED = "upgraded"
    CLOSING = "closing"
    CLOSED = "closed"


_c = ClientState
CLIENT_MOVES = transitions({
    _c.IDLE: (_c.CONNECTING, _c.SENDING, _c.CLOSING, _c.CLOSED),
    _c.CONNECTING: (_c.SENDING, _c.CLOSING, _c.CLOSED),
    _c.SENDING: (_c.WAITING, _c.RECEIVING, _c.UPGRADED, _c.CLOSING, _c.CLOSED),
    _c.WAITING: (_c.RECEIVING, _c.UPGRADED, _c.CLOSING, _c.CLOSED),
    _c.RECEIVING: (_c.IDLE, _c.CLOSING, _c.CLOSED),
    _c.UPGRADED: (_c.CLOSING, _c.CLOSED),
    _c.CLOSING: (_c.CLOSED,),
    _c.CLOSED: (),
})


class WebSocketState(Enum):
    """Where a WebSocket is."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


_w = WebSocketState
WEBSOCKET_MOVES = transitions({
    _w.CONNECTING: (_w.OPEN, _w.CLOSING, _w.CLOSED),
    _w.OPEN: (_w.CLOSING, _w.CLOSED),
    _w.CLOSING: (_w.CLOSED,),
    _w.CLOSED: (),
})
