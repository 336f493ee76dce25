"""The graph of a PacketStream: how it is built, what can be said of it before it runs, and how it looks.

Rules
- It is built before it runs: changing it while the stream is not NONE, STOPPED or CLOSED is GraphError.
- `faults` finds: a stage that defers without a retention of its own; work on two loops, or on a thread and a loop, without
  a hop between them; a stage that takes nothing of what the one before it emits, where both say so (`emits`, `takes`).

Not here: how it runs (packetstream.py).
"""

from __future__ import annotations

from .errors import GraphError
from .packetadapter import PacketProcessor, PacketRetention
from .packetqueue import AsyncPacketQueue, PacketQueue, SyncPacketQueue
from .packetstate import CHANGEABLE
from .signal import Signal, ThreadSignal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence, Tuple, Union

    from .loop import Loop
    from .packetadapter import PacketStreamAdapter

    Source = Union[Signal, ThreadSignal, PacketStreamAdapter, "PacketGraph"]

LAST_ORDER = 101
A_THREAD = "the thread of an AsyncPacketQueue"


class PacketGraph:
    """Sources, and stages in order. What PacketStream is while it does not run."""

    name: str
    dropped: int
    if TYPE_CHECKING:
        _state: Any
        on_packet: Any

        def _take(self, packet: Any) -> None: ...

    def __init__(self) -> None:
        self._sources: List[Tuple[Any, bool]] = []
        self._processors: List[Tuple[int, PacketProcessor]] = []

    def attach_source(self, source: Source, *, sync_state: bool = False) -> Source:
        """Takes packets from a signal, an adapter or another stream. sync_state: starts and stops it with this stream."""
        self._require_changeable("attach_source")
        if sync_state and not (hasattr(source, "start") and hasattr(source, "stop")):
            raise TypeError("sync_state needs a source with start() and stop(), %r has not" % (source,))
        if not isinstance(source, (Signal, ThreadSignal)) and not hasattr(source, "on_packet"):
            raise TypeError("a source is a signal, an adapter or a PacketStream, not %r" % (source,))
        if self._leads_to(source):
            raise GraphError("a stream cannot be its own source, not through other streams either", "feed it from outside")
        if any(one is source for one in self.sources):
            raise GraphError("%s is a source of this stream already" % type(source).__name__, "attach it once")
        _signal_of(source).attach(self._take)
        self._sources.append((source, sync_state))
        return source

    def detach_source(self, source: Source) -> bool:
        """Takes nothing more from `source`; False if it is none of the sources."""
        self._require_changeable("detach_source")
        for entry in self._sources:
            if entry[0] is source:
                _signal_of(source).detach(self._take)
                self._sources.remove(entry)
                return True
        return False

    def attach(self, processor: PacketProcessor, order: int = 0) -> PacketProcessor:
        """Adds a stage; orders -1 to 101 ascending (else ValueError), equals as attached. Returns it."""
        self._require_changeable("attach")
        if isinstance(order, bool) or not isinstance(order, int) or not -1 <= order <= LAST_ORDER:
            raise ValueError("an order is -1 to %d, not %r" % (LAST_ORDER, order))
        if not isinstance(processor, PacketProcessor):
            raise TypeError("a stage is a PacketProcessor, not %r" % (processor,))
        if any(one is processor for one in self.processors):
            raise GraphError("%s is in this stream already" % type(processor).__name__, "make another one")
        self._processors.append((order, processor))
        self._processors.sort(key=lambda entry: entry[0])
        return processor

    def detach(self, processor: PacketProcessor) -> bool:
        """Takes a stage out; False if it is none of the stages."""
        self._require_changeable("detach")
        for entry in self._processors:
            if entry[1] is processor:
                self._processors.remove(entry)
                processor._bind(None)
                return True
        return False

    def synchronize_output(self, loop: Loop) -> SyncPacketQueue:
        """Has packets, `on_error` and `on_close` come on `loop`: a SyncPacketQueue of order 101, which is returned."""
        queue = SyncPacketQueue(loop)
        self.attach(queue, LAST_ORDER)
        return queue

    # looking at it

    @property
    def sources(self) -> List[Any]:
        """The sources, as attached."""
        return [source for source, _ in self._sources]

    @property
    def processors(self) -> List[PacketProcessor]:
        """The stages, in order."""
        return [processor for _, processor in self._processors]

    @property
    def boundary(self) -> Optional[PacketProcessor]:
        """The first stage that is CLONED or RETAINED: up to there packets are borrowed. None if there is none."""
        for _, processor in self._processors:
            if processor.retention is not PacketRetention.BORROWED:
                return processor
        return None

    def lint(self) -> List[str]:
        """What is wrong with the graph, a line each; [] if it may start."""
        return faults(self.sources, self.processors)

    def describe(self) -> str:
        """The graph as text: every stage's class, order and retention, the queues' depths and drops, the boundary."""
        return drawn(self)

    # for PacketStream

    def _clear(self) -> None:
        for source in self.sources:
            _signal_of(source).detach(self._take)
        for processor in self.processors:
            processor._bind(None)
        self._sources, self._processors = [], []

    def _leads_to(self, source: Any) -> bool:
        """Whether `source` is fed by this stream."""
        return source is self or (isinstance(source, PacketGraph) and any(map(self._leads_to, source.sources)))

    def _require_changeable(self, verb: str) -> None:
        if self._state not in CHANGEABLE:
            raise GraphError("%s() on a PacketStream that is %s" % (verb, self._state.name),
                             "stop() it, change it, start() it again")


def _signal_of(source: Any) -> Any:
    return source if isinstance(source, (Signal, ThreadSignal)) else source.on_packet


def faults(sources: Sequence[Any], processors: Sequence[Any]) -> List[str]:
    """The faults, a line each, with the remedy in brackets."""
    found: List[str] = []
    _follow(sources, processors, found)
    return found


def _follow(sources: Sequence[Any], processors: Sequence[Any], found: List[str]) -> Tuple[Any, Optional[type]]:
    """Walks through a graph and adds its faults to `found`. Returns (where, emits) of its output: the loop or A_THREAD its
    packets come on, and their class; None where that is not known.
    """
    wheres: List[Any] = []
    emits: List[Optional[type]] = []
    for source in sources:
        where, emitted = (_follow(source.sources, source.processors, []) if isinstance(source, PacketGraph) else
                          (getattr(source, "loop", None), getattr(source, "emits", None)))
        if where is not None and all(where is not one for one in wheres):
            wheres.append(where)
        emits.append(emitted)
    if len(wheres) > 1:
        found.append("the sources %s do not run on one loop (hop with a stream of its own before, that ends with"
                     " synchronize_output(loop))" % " and ".join(type(source).__name__ for source in sources))
    where = wheres[0] if len(wheres) == 1 else None
    emitted = emits[0] if len(emits) == 1 else None
    for stage in processors:
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
            continue  # what goes in comes out
        if emitted is not None and stage.takes is not None and not _overlap(emitted, stage.takes):
            found.append("%s takes %s, but what comes is %s (convert in between)"
                         % (name, stage.takes.__name__, emitted.__name__))
        emitted = stage.emits
    return where, emitted


def _overlap(emitted: type, taken: type) -> bool:
    return issubclass(emitted, taken) or issubclass(taken, emitted)


def drawn(stream: PacketGraph) -> str:
    """The graph of a PacketStream as text."""
    lines = ["PacketStream %s %s" % (stream.name or "(unnamed)", stream._state.name)]
    for source, sync in stream._sources:
        lines.append("  source      %s%s" % (_title(source), "  (started and stopped with it)" if sync else ""))
    boundary = stream.boundary
    for order, stage in stream._processors:
        line = "  order %4d  %-20s %s" % (order, type(stage).__name__, stage.retention.name)
        if isinstance(stage, PacketQueue):
            line += "  depth %d of %d, dropped %d (%s)" % (stage.depth, stage.maxsize, stage.dropped, stage.drop)
        if stage is boundary:
            line += "  <- boundary"
        lines.append(line)
    slots = len(stream.on_packet)
    lines.append("  output      %d slot%s%s" % (slots, "" if slots == 1 else "s",
                                               "" if boundary else ", packets borrowed all the way"))
    if stream.dropped:
        lines.append("  dropped     %d, that came too late or too early" % stream.dropped)
    return "\n".join(lines)


def _title(source: Any) -> str:
    name = getattr(source, "name", "")
    return "%s %s" % (type(source).__name__, name) if name else type(source).__name__
