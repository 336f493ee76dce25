"""The states of a PacketStream, and the moves between them.

    NONE -> ACTIVE <-> PAUSED; ACTIVE or PAUSED -> STOPPING -> STOPPED -> ACTIVE again
    CLOSED is the end (until `reset()`), ERROR is what a processor's exception leads to.
"""

from __future__ import annotations

from enum import Enum

from .state import transitions


class PacketStreamState(Enum):
    """Where a PacketStream is."""

    NONE = "none"
    ACTIVE = "active"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    CLOSED = "closed"
    ERROR = "error"


NONE, ACTIVE, PAUSED, STOPPING, STOPPED, CLOSED, ERROR = PacketStreamState

MOVES = transitions({
    NONE: (ACTIVE, CLOSED),
    ACTIVE: (PAUSED, STOPPING, ERROR),
    PAUSED: (ACTIVE, STOPPING, ERROR),
    STOPPING: (STOPPED, ERROR),
    STOPPED: (ACTIVE, CLOSED, NONE),
    ERROR: (CLOSED,),
    CLOSED: (NONE,),
})

RUNNING = frozenset([ACTIVE, PAUSED])
FLOWING = frozenset([ACTIVE, PAUSED, STOPPING])  # what is on its way arrives
CHANGEABLE = frozenset([NONE, STOPPED, CLOSED])  # the graph may be

TO_WRITE = {  # what to do first
    NONE: "start() it first",
    PAUSED: "resume() it first",
    STOPPING: "start() it again when on_state says STOPPED",
    STOPPED: "start() it first",
    CLOSED: "make a new one, or reset() this one",
    ERROR: "close() it, its `error` says what failed",
}
