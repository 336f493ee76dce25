"""ClientState: the states of a client's connection, and which may follow which.

    IDLE          no transaction: not started yet, or the last one is complete and the connection kept
    CONNECTING    the connection is being made: names, TCP, a proxy's tunnel, TLS
    SENDING       the request goes out
    WAITING       it is out; the answer's head is awaited
    RECEIVING     the head is here, its body comes (the request's may still be going out)
    UPGRADED      another protocol's adapter has the stream
    CLOSING       close() was called, or it failed
    CLOSED        gone
"""

from __future__ import annotations

from enum import Enum

from ...base.state import transitions


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
MOVES = transitions({
    _c.IDLE: (_c.CONNECTING, _c.SENDING, _c.CLOSING, _c.CLOSED),
    _c.CONNECTING: (_c.SENDING, _c.CLOSING, _c.CLOSED),
    _c.SENDING: (_c.WAITING, _c.RECEIVING, _c.UPGRADED, _c.CLOSING, _c.CLOSED),
    _c.WAITING: (_c.RECEIVING, _c.UPGRADED, _c.CLOSING, _c.CLOSED),
    _c.RECEIVING: (_c.IDLE, _c.CLOSING, _c.CLOSED),
    _c.UPGRADED: (_c.CLOSING, _c.CLOSED),
    _c.CLOSING: (_c.CLOSED,),
    _c.CLOSED: (),
})
