"""What can be said of a graph of packets before it runs: `faults`, for lint() and start(), and `describe`.

`faults` finds
- a stage that defers although its retention is BORROWED: it uses packets that were revoked;
- work on two loops, or on a thread and a loop, without a queue between them that hops from one to the other;
- a stage that takes nothing of what the stage before it emits, where both say so (`emits`, `takes`).

Not here: the graph itself, and how it runs (stream.py).
"""

from __future__ import annotations

from .adapter import PacketRetention
from .queue import AsyncPacketQueue, PacketQueue, SyncPacketQueue

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence, Tuple

    from .adapter import PacketProcessor

A_THREAD = "the thread of an AsyncPacketQueue"


def faults(sources: Sequence[Any], stages: Sequence[PacketProcessor]) -> List[str]:
    """The faults of a graph, a line each, with the remedy in brackets."""
    found: List[str] = []
    _follow(sources, stages, found)
    return found


def describe(
    title: str, sources: Sequence[Tuple[Any, bool]], stages: Sequence[Tuple[int, PacketProcessor]], slots: int, dropped: int
) -> str:
    """A graph as text, beginning with `title`.

    sources: each with whether it is started and stopped with the stream. stages: (order, stage). slots: how many the output
    has. dropped: packets that came too late or too early.
    """
    lines = [title]
    for source, sync in sources:
        lines.append("  source      %s%s" % (_title(source), "  (started and stopped with it)" if sync else ""))
    bounded = False
    for order, stage in stages:
        line = "  order %4d  %-20s %s" % (order, type(stage).__name__, stage.retention.name)
        if isinstance(stage, PacketQueue):
            line += "  depth %d of %d, dropped %d (%s)" % (stage.depth, stage.maxsize, stage.dropped, stage.drop)
        if not bounded and stage.retention is not PacketRetention.BORROWED:
            bounded = True
            line += "  <- boundary"
        lines.append(line)
    lines.append("  output      %d slot%s%s" % (slots, "" if slots == 1 else "s",
                                               "" if bounded else ", packets borrowed all the way"))
    if dropped:
        lines.append("  dropped     %d, that came too late or too early" % dropped)
    return "\n".join(lines)


def _follow(sources: Sequence[Any], stages: Sequence[Any], found: List[str]) -> Tuple[Any, Optional[type]]:
    """Walks through a graph and adds its faults to `found`. Returns (where, emits) of its output: the loop or A_THREAD its
    packets come on, and their class; None where that is not known.
    """
    where, emitted = _origin(sources, found)
    for stage in stages:
        name = type(stage).__name__
        if stage.deferred and stage.retention is PacketRetention.BORROWED:
            found.append("%s uses packets after process() returned, but its retention is BORROWED"
                         " (declare it CLONED or RETAINED)" % name)
        if isinstance(stage, SyncPacketQueue):
            where = stage.loop
        elif isinstance(stage, AsyncPacketQueue):
            where = A_THREAD
        elif stage.loop is not None:
            if where is not None and where is not stage.loop:
                found.append("%s works on a loop, but what is before it on %s, and nothing hops between them (put a"
                             " SyncPacketQueue of its loop there)" % (name, where if where is A_THREAD else "another loop"))
            where = stage.loop
        if isinstance(stage, PacketQueue):
            continue  # a queue emits what it takes
        if emitted is not None and stage.takes is not None and not _overlap(emitted, stage.takes):
            found.append("%s takes %s, but what comes is %s (convert in between)"
                         % (name, stage.takes.__name__, emitted.__name__))
        emitted = stage.emits
    return where, emitted


def _origin(sources: Sequence[Any], found: List[str]) -> Tuple[Any, Optional[type]]:
    """As `_follow`, of the sources: what all of them have in common."""
    wheres: List[Any] = []
    emits: List[Optional[type]] = []
    for source in sources:
        where, emitted = (_follow(source.sources, source.processors, []) if hasattr(source, "processors") else
                          (getattr(source, "loop", None), getattr(source, "emits", None)))
        if where is not None and all(where is not one for one in wheres):
            wheres.append(where)
        emits.append(emitted)
    if len(wheres) > 1:
        found.append("the sources %s do not run on one loop (hop with a stream of its own before, that ends with"
                     " synchronize_output(loop))" % " and ".join(type(source).__name__ for source in sources))
    return wheres[0] if len(wheres) == 1 else None, emits[0] if len(emits) == 1 else None


def _overlap(emitted: type, taken: type) -> bool:
    return issubclass(emitted, taken) or issubclass(taken, emitted)


def _title(source: Any) -> str:
    name = getattr(source, "name", "")
    return "%s %s" % (type(source).__name__, name) if name else type(source).__name__
