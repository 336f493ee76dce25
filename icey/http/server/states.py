"""ServerState: the states of a server's connection, and which may follow which.

    RECEIVING_HEADERS        between requests, or inside a head
    RECEIVING_BODY           the body is under way; also while the unread rest of an answered request is drained
    DISPATCHING_OR_SENDING   the request is whole; the application thinks, or its answer is being written
    STREAMING                the application has said `begin_streaming()`: the reaper leaves it alone until `end()`
    UPGRADED                 another protocol's adapter has the stream
    CLOSING                  the last answer is out or on its way; input is discarded until the peer closes too
    CLOSED                   gone
"""

from __future__ import annotations

from enum import Enum

from ...base.state import transitions


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
