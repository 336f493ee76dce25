"""PacketStream: sources, ordered processors, one output: a data plane that copies nothing until a boundary.

    source -> processor (order 0) -> processor (order 5) -> on_packet slots

States: NONE -> ACTIVE <-> PAUSED; ACTIVE or PAUSED -> STOPPING -> STOPPED -> ACTIVE again; CLOSED is the end (until
`reset()`), ERROR is what a processor's exception leads to. The table is MOVES.

Rules
- Processing is synchronous, in the thread that writes, up to the first queue. One writer at a time; `stop` and `close` from
  any thread, also from inside a processor or a slot.
- The graph is built before it runs: changing it while it is not NONE, STOPPED or CLOSED is GraphError. Starting one that
  `lint()` finds fault with is GraphError, with the graph drawn.
- `stop` and `close` send an end mark through the queues, behind what they hold: that is how they are flushed, and why
  `on_close` comes where the last packet came.
- An exception of a processor: ERROR, what the queues hold is dropped and counted, `on_error` once, then close.

How it is fast: `start()` compiles the chain: each stage's `emit` is rebound to the next stage's entry.
"""

from __future__ import annotations

from _thread import RLock
from enum import Enum

from . import log
from .errors import GraphError, StateError
from .packet import PacketFlags, packet_of
from .packetadapter import (
    PacketProcessor,
    PacketRetention,
    PacketStreamAdapter,
    cloning,
    gate,
    lend,
    retaining,
)
from .packetgraph import drawn, faults
from .packetqueue import PacketQueue, SyncPacketQueue
from .signal import Event, Signal
from .state import Stateful, transitions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple, Union

    from .loop import Loop
    from .packet import Packet
    from .packetadapter import Stage

    Source = Union[Signal, PacketStreamAdapter, "PacketStream"]


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

FLOWING = frozenset([ACTIVE, PAUSED, STOPPING])  # what is on its way arrives
CHANGEABLE = frozenset([NONE, STOPPED, CLOSED])
LAST_ORDER = 101


class PacketStream(Stateful):
    """A graph of packets. name: for reports. auto_start: the first write starts it. close_on_error: or stay in ERROR.

    `dropped` counts packets that came when the stream was not active.
    """

    MOVES = MOVES

    on_packet = Event("on_packet(packet): the output")
    on_error = Event("on_error(stream, exc): a processor raised; once")
    on_close = Event("on_close(stream): closed, the queues flushed; once")
    on_state = Event("on_state(stream, new, old): the state changed")

    def __init__(self, name: str = "", *, auto_start: bool = False, close_on_error: bool = True) -> None:
        self.name = name
        self.auto_start = auto_start
        self.close_on_error = close_on_error
        self.error: Optional[BaseException] = None
        self.dropped = 0
        self._state = NONE
        self._flowing = False
        self._lock = RLock()  # for transitions, never held while packets or slots run
        self._signals: Optional[Dict[str, Signal]] = None
        self._fire: Stage = _nobody
        self._sources: List[Tuple[Any, bool]] = []
        self._processors: List[Tuple[int, PacketProcessor]] = []
        self._first: Stage = self._out
        self._running: Tuple[PacketProcessor, ...] = ()
        self._queues: Tuple[PacketQueue, ...] = ()
        self._flushing = False  # the end mark is under way
        self._then_close = False

    # building the graph

    def attach_source(self, source: Source, *, sync_state: bool = False) -> Source:
        """Takes packets from a signal, an adapter or another stream. sync_state: starts and stops it with this stream."""
        self._require_changeable("attach_source")
        if sync_state and not (hasattr(source, "start") and hasattr(source, "stop")):
            raise TypeError("sync_state needs a source with start() and stop(), %r has not" % (source,))
        if not isinstance(source, Signal) and not hasattr(source, "on_packet"):
            raise TypeError("a source is a Signal, an adapter or a PacketStream, not %r" % (source,))
        if source is self:
            raise GraphError("a stream cannot be its own source", "feed it from another one")
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
        if any(one is processor for _, one in self._processors):
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
                return True
        return False

    def synchronize_output(self, loop: Loop) -> SyncPacketQueue:
        """Has packets, `on_error` and `on_close` come on `loop`: a SyncPacketQueue of order 101, which is returned."""
        queue = SyncPacketQueue(loop)
        self.attach(queue, LAST_ORDER)
        return queue

    # running

    def start(self) -> None:
        """Compiles the chain and opens it, then starts the sources that were attached with sync_state.

        GraphError where `lint()` finds fault. On a paused stream it resumes; on an active one it does nothing.
        """
        if self._state is ACTIVE:
            return
        if self._state is PAUSED:
            self.resume()
            return
        with self._lock:
            self._require_move(ACTIVE)
            found = self.lint()
            if found:
                raise GraphError("cannot start: %s\n%s" % ("; ".join(found), self.describe()),
                                 "put an AsyncPacketQueue, SyncPacketQueue or synchronize_output() in between")
            self._compile()
            old = self._set(ACTIVE)
        self.on_state_change(ACTIVE, old)
        for source, sync in self._sources:
            if sync and self._state is ACTIVE:
                source.start()

    def stop(self) -> None:
        """Takes no more packets, flushes the queues, and is STOPPED when they are empty. From any thread."""
        self._end(False)

    def close(self) -> None:
        """As `stop`, then CLOSED and `on_close`, once. From any thread; where the last packet came."""
        self._end(True)

    def pause(self) -> None:
        """Packets that sources bring are dropped and counted, writing is StateError, until `resume()`."""
        if self._state is not PAUSED:
            self.move(PAUSED)

    def resume(self) -> None:
        """Goes on."""
        if self._state is not ACTIVE:
            if self._state is not PAUSED:
                raise StateError("resume() of a PacketStream that is %s" % self._state.name, "start() it")
            self.move(ACTIVE)

    def reset(self) -> None:
        """Empties the graph of a stream that is not running: NONE again, ready to be built anew."""
        if self._state is not NONE:
            self.move(NONE)
        for source in self.sources:
            _signal_of(source).detach(self._take)
        self._sources, self._processors = [], []
        self.error = None
        self._then_close = False

    def write(self, packet: Any, flags: int = 0) -> None:
        """Sends a packet, or bytes, through the chain. StateError while not active, unless auto_start starts it.

        A processor's exception does not come out of here but goes to `on_error`; with no slot there it is raised, after
        closing.
        """
        if self._state is not ACTIVE:
            if not (self.auto_start and self._state is NONE):
                raise StateError("write() on a PacketStream that is %s" % self._state.name, "start() it first",
                                 "start, then send")
            self.start()
        made = packet_of(packet, flags)
        try:
            if made.borrowed and not made._lent:  # type: ignore[attr-defined]
                lend(self._first, made)
            else:
                self._first(made)
        except Exception as exc:
            if not self._failed(exc):
                raise
            return
        if made.flags & PacketFlags.FINAL and self._state is ACTIVE:
            self.stop()

    # looking at it

    @property
    def active(self) -> bool:
        """Started, and not paused."""
        return self._state is ACTIVE

    @property
    def stopped(self) -> bool:
        """Stopping or stopped."""
        return self._state is STOPPING or self._state is STOPPED

    @property
    def closed(self) -> bool:
        """`on_close` is being emitted, or has been."""
        return self._state is CLOSED

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

    def __repr__(self) -> str:
        return "<PacketStream %r %s>" % (self.name, self._state.name)

    # the chain

    def _compile(self) -> None:
        following: Stage = self._out
        for _, processor in reversed(self._processors):
            processor._bind(following)
            entry: Stage = processor.process
            if processor.retention is PacketRetention.CLONED:
                entry = cloning(entry)
            elif processor.retention is PacketRetention.RETAINED:
                entry = retaining(entry)
            if type(processor).accepts is not PacketProcessor.accepts:
                entry = gate(processor.accepts, entry, following)
            following = entry
        self._first = following
        self._running = tuple(self.processors)
        self._queues = tuple(one for one in self._running if isinstance(one, PacketQueue))
        opened: List[PacketQueue] = []
        try:
            for queue in self._queues:
                queue._open(self)
                opened.append(queue)
        except BaseException:
            for queue in opened:
                queue._finish(lambda: None)
            self._unbind()
            raise

    def _unbind(self) -> None:
        for processor in reversed(self._running):
            processor._bind(self._late)
        self._running = self._queues = ()
        self._first = self._late

    def _out(self, packet: Packet) -> None:
        """The end of the chain."""
        if self._flowing:
            self._fire(packet)
        else:
            self.dropped += 1

    def _late(self, packet: Packet) -> None:
        """What a stage still emits when it is over."""
        self.dropped += 1

    def _take(self, packet: Any) -> None:
        """A source brings a packet."""
        if self._state is not ACTIVE:
            if not (self.auto_start and self._state is NONE):
                self.dropped += 1
                return
            self.start()
        made = packet_of(packet)
        self._run(self._first, made)
        if made.flags & PacketFlags.FINAL and self._state is ACTIVE:
            self.stop()

    def _run(self, stage: Stage, packet: Packet) -> None:
        """A stage's turn, its exception this stream's error: for sources and queues."""
        try:
            stage(packet)
        except Exception as exc:
            if not self._failed(exc):
                raise

    # the end

    def _end(self, then_close: bool) -> None:
        with self._lock:
            old = self._state
            if old is CLOSED or (old is STOPPED and not then_close):
                return
            if not then_close and old in (NONE, ERROR):
                raise StateError("stop() of a PacketStream that is %s" % old.name,
                                 "start() it first" if old is NONE else "close() it")
            self._then_close = self._then_close or then_close
            if self._flushing:
                return  # the mark that is under way sees to it
            flow = old not in (NONE, STOPPED)
            self._flushing = flow
            if old in (ACTIVE, PAUSED):
                self._set(STOPPING)
        if not flow:
            self._hop_and_close()
            return
        if old is not ERROR:
            self.on_state_change(STOPPING, old)
        self._stop_sources()
        self._flush(0)

    def _stop_sources(self) -> None:
        """Those that run with this stream are stopped, the last attached first."""
        for source, sync in reversed(self._sources):
            if sync:
                try:
                    source.stop()
                except Exception as exc:
                    log.error("packetstream", "%s: stopping %r", self.name or "a stream", source, exc=exc)

    def _flush(self, index: int) -> None:
        """The end mark comes out of the queue before `index`: into the next one, or it has arrived."""
        if index < len(self._queues):
            self._queues[index]._finish(lambda: self._flush(index + 1))
        else:
            self._ended()

    def _ended(self) -> None:
        """Everything is out."""
        self._unbind()
        with self._lock:
            self._flushing = False
            old = self._state
            if old is STOPPING:
                self._set(STOPPED)
            close = self._then_close
        if old is STOPPING:
            self.on_state_change(STOPPED, old)
        if close:
            self._closed_now()

    def _hop_and_close(self) -> None:
        """Nothing is under way: `on_close` still comes on the loop of the output, if there is one."""
        for _, processor in reversed(self._processors):
            if isinstance(processor, SyncPacketQueue):
                if processor.loop.post(self._closed_now):
                    return
                break
        self._closed_now()

    def _closed_now(self) -> None:
        with self._lock:
            if self._state is CLOSED:
                return
            old = self._set(CLOSED)
        self.on_state_change(CLOSED, old)
        self._emit("on_close", self)

    def _failed(self, exc: Exception) -> bool:
        """A stage raised. True if `on_error` has been told, or will be, where the last packet would have come."""
        with self._lock:
            if self._state not in FLOWING:
                log.error("packetstream", "%s: raised when it was over", self.name or "a stream", exc=exc)
                return True
            self.error = exc
            heard = self._signals is not None and "on_error" in self._signals and len(self._signals["on_error"]) > 0
            old = self._set(ERROR)
        self.on_state_change(ERROR, old)
        if heard:
            self._where_packets_come(lambda: self._emit("on_error", self, exc))
        if self.close_on_error:
            self.close()
        else:
            self._stop_sources()
        return heard

    def _where_packets_come(self, call: Callable[[], Any]) -> None:
        """Calls it where the last queue delivers; at once where there is none."""
        if self._queues:
            self._queues[-1]._call(call)
        else:
            call()

    # slots and states

    def move(self, new: Any) -> None:
        """Goes to `new`; StateError where the table has no such move."""
        self.on_state_change(new, self._set(new))

    def _set(self, new: Any) -> Any:
        with self._lock:
            self._require_move(new)
            old = self._state
            self._state = new
            self._flowing = new in FLOWING
        return old

    def on_state_change(self, new: Any, old: Any) -> None:
        """Tells of a move: the adapters first, the later stages before the earlier when it ends; no lock is held."""
        adapters = [source for source in self.sources if isinstance(source, PacketStreamAdapter)] + self.processors
        for adapter in reversed(adapters) if new in (STOPPING, STOPPED, CLOSED) else adapters:
            try:
                adapter.on_stream_state(new)
            except Exception as exc:
                log.error("packetstream", "on_stream_state of %s", type(adapter).__name__, exc=exc)
        self._emit("on_state", self, new, old)

    def _emit(self, name: str, *args: Any) -> None:
        """Emits on_error, on_close or on_state; what a slot raises is logged: there is nobody above to tell."""
        signals = self._signals
        if signals is not None and name in signals:
            try:
                signals[name].fire(*args)
            except Exception as exc:
                log.error("packetstream", "a slot of %s", name, exc=exc)

    def _require_changeable(self, verb: str) -> None:
        if self._state not in CHANGEABLE:
            raise GraphError("%s() on a PacketStream that is %s" % (verb, self._state.name),
                             "stop() it, change it, start() it again")

    def _check(self) -> None:
        """Signals ask their owner for affinity; a PacketStream belongs to no loop."""

    def _slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_packet":
            self._fire = signal.fire


def _signal_of(source: Any) -> Signal:
    signal: Signal = source if isinstance(source, Signal) else source.on_packet
    return signal


def _nobody(packet: Packet) -> None:
    pass
