"""What can be said of a packet graph before it runs: its faults, and how it looks.

`faults` finds: a stage that defers without a retention of its own; work on two loops without a hop between them; a stage
that takes nothing of what the one before it emits, where both say so (`emits`, `takes`).
"""

from __future__ import annotations

from .packetadapter import PacketRetention
from .packetqueue import AsyncPacketQueue, PacketQueue, SyncPacketQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Sequence


def faults(sources: Sequence[Any], processors: Sequence[Any]) -> List[str]:
    """The faults, a line each."""
    found = []
    loops = {id(source.loop): source for source in sources if getattr(source, "loop", None) is not None}
    if len(loops) > 1:
        found.append("the sources %s are on different loops, and nothing hops between them"
                     % " and ".join(type(source).__name__ for source in loops.values()))
    where = next(iter(loops.values())).loop if len(loops) == 1 else None
    emits = [source.emits for source in sources if getattr(source, "emits", None) is not None]
    emitted = emits[0] if len(emits) == len(sources) == 1 else None
    for stage in processors:
        name = type(stage).__name__
        if stage.deferred and stage.retention is PacketRetention.BORROWED:
            found.append("%s uses packets after process() returned, but its retention is BORROWED" % name)
        if isinstance(stage, SyncPacketQueue):
            where = stage.loop
        elif isinstance(stage, AsyncPacketQueue):
            where = None
        elif stage.loop is not None:
            if where is not None and where is not stage.loop:
                found.append("%s works on another loop than what is before it, and nothing hops between them" % name)
            where = stage.loop
        if isinstance(stage, PacketQueue):
            continue  # what goes in comes out
        if emitted is not None and stage.takes is not None and not issubclass(emitted, stage.takes):
            found.append("%s takes %s, but what comes is %s" % (name, stage.takes.__name__, emitted.__name__))
        emitted = stage.emits
    return found


def drawn(stream: Any) -> str:
    """The graph of a PacketStream as text."""
    lines = ["PacketStream %s %s" % (stream.name or "(unnamed)", stream.state.name)]
    for source in stream.sources:
        lines.append("  source      %s" % _title(source))
    boundary = stream.boundary
    for order, stage in stream._processors:
        line = "  order %4d  %-20s %s" % (order, type(stage).__name__, stage.retention.name)
        if isinstance(stage, PacketQueue):
            line += "  depth %d of %d, dropped %d (%s)" % (stage.depth, stage.maxsize, stage.dropped, stage.drop)
        if stage is boundary:
            line += "  <- boundary"
        lines.append(line)
    lines.append("  output      %d slots%s" % (len(stream.on_packet), "" if boundary else ", packets borrowed all the way"))
    if stream.dropped:
        lines.append("  dropped     %d, that came when it was not active" % stream.dropped)
    return "\n".join(lines)


def _title(source: Any) -> str:
    name = getattr(source, "name", "")
    return "%s %s" % (type(source).__name__, name) if name else type(source).__name__
