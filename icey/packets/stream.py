"""PacketStream: sources, stages in order, one output: a data plane that copies nothing until a boundary.

    source -> stage (order 0) -> stage (order 5) -> on_packet slots

States
    NONE -> ACTIVE <-> PAUSED        built; started; pause() and resume()
    ACTIVE, PAUSED -> STOPPING       stop(), close() or a FINAL packet: the queues are flushed
    STOPPING -> STOPPED -> ACTIVE    flushed; a stopped stream can be changed, and started again
    ERROR                            a stage raised an exception
    CLOSED                           the end; `reset()` leads from there, and from STOPPED, to NONE

Rules
- Processing is synchronous, in the thread that writes, up to the first queue. There is one writer at a time. `stop` and `close`
  may be called from any thread, also from inside a stage or a slot.
- The graph is built before the stream runs: a change while the stream is not NONE, STOPPED or CLOSED is GraphError. Starting
  a graph that `lint()` finds fault with is GraphError, with the graph drawn.
- `stop` and `close` send an end mark through the queues, behind the packets that the queues hold. So the queues are flushed,
  and `on_close` comes in the thread in which the last packet came. Without queues it comes when the write under way returns.
- A packet that a stage does not accept goes past that stage. A packet that comes too late, or from a source too early, is
  dropped and counted in `dropped`.
- A stage that raises, and a source that breaks off: the state is ERROR, the packets in the queues are dropped and counted,
  `on_error` comes once, then the stream closes. What this stream feeds fails with it: FINAL comes behind the whole alone.
- A sink whose receiver has gone (`serves` is False) ends a stream that has sources, if nobody else takes its packets: no slot,
  no other sink, no stage behind one. What a source that runs with it (sync_state) reads from is closed then, where it is a
  connection that no other takes from. A stream without sources, which you write to, stays open.
- A source holds a stream that runs; of one that is over it holds the count of what comes too late. Nothing of a graph is left
  for the garbage collector.

How it is fast: `start()` compiles the chain: the `emit` of each stage is bound anew, to the entry of the next stage.

Not here: the stages (adapter.py), the queues (queue.py), what lint() finds and describe() says (lint.py).
"""

from __future__ import annotations

from _thread import RLock, allocate_lock, get_ident
from enum import Enum

from ..base import log
from ..base.debug import switched_on
from ..base.errors import GraphError, StateError
from ..base.signal import Event, Signal
from ..base.state import InState, require_move, transitions, watch_states
from ..base.threadsignal import ThreadSignal
from .adapter import PacketProcessor, PacketRetention, PacketStreamAdapter, chain, fail_followers, others_take, watched
from .endcheck import end_check
from .lint import describe, faults
from .outlet import Outlet, Teller, Told
from .packet import BYTES_LIKE, CONTRACT, PacketFlags, lend, packet_of, raw_packet
from .queue import PacketQueue, SyncPacketQueue

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple, Union

    from typing_extensions import Self

    from ..base.loop import Loop
    from .adapter import Stage
    from .endcheck import EndCheck
    from .packet import Packet

    Source = Union[Signal, ThreadSignal, PacketStreamAdapter, "PacketStream"]

FINAL = PacketFlags.FINAL
LAST_ORDER = 101


class PacketStreamState(Enum):
    """Where a PacketStream is: NONE (being built), ACTIVE, PAUSED, STOPPING (its queues are flushed), STOPPED (may be changed,
    and started again), CLOSED, ERROR (a stage raised, or a source broke off)."""

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
FLOWING = frozenset([ACTIVE, PAUSED, STOPPING])  # a packet that is on its way arrives
CHANGEABLE = frozenset([NONE, STOPPED, CLOSED])  # the graph may be changed

TO_WRITE = {  # what to do before a write
    NONE: "start() it first",
    PAUSED: "resume() it first",
    STOPPING: "start() it again when on_state says STOPPED",
    STOPPED: "start() it first",
    CLOSED: "make a new one, or reset() this one",
    ERROR: "close() it, its `error` says what failed",
}

# The chain: not compiled; compiled; the end mark is under way through the queues; the end mark has arrived, and waits for the
# write under way to return.
UNBOUND, BOUND, ENDING, WAITING = range(4)
CHAIN_MOVES = transitions({UNBOUND: (BOUND,), BOUND: (ENDING, UNBOUND), ENDING: (WAITING, UNBOUND), WAITING: (ENDING,)},
                          names=("UNBOUND", "BOUND", "ENDING", "WAITING"))


class PacketStream(InState):
    """A graph of packets. name: for reports. auto_start: the first write starts it. close_on_error: False: it stays in ERROR.

    `state`: a PacketStreamState. `error`: the exception that led to ERROR, or None. `flowing`, for queues: whether a packet
    that is on its way still arrives. `signals`, `outlet`, `fire`: its events that were touched, what
    owns them, and the slots of the output.
    """

    MOVES = MOVES
    STATES = {"_chain": CHAIN_MOVES}

    # Any: what the last stage emits, such as a class of packets of your own.
    on_packet: Event[Callable[[Any], Any]] = Told("on_packet(packet): the output")
    on_error: Event[Callable[[Self, Exception], Any]] = Told(
        "on_error(stream, exc): a stage raised, or a source broke off; once")
    on_close: Event[Callable[[Self], Any]] = Told("on_close(stream): closed, the queues flushed; once")
    on_state: Event[Callable[[Self, PacketStreamState, PacketStreamState], Any]] = Told(
        "on_state(stream, new, old): the state changed")

    def __init__(self, name: str = "", *, auto_start: bool = False, close_on_error: bool = True) -> None:
        self.name = name
        self.auto_start = auto_start
        self.close_on_error = close_on_error
        self.error: Optional[BaseException] = None
        self.flowing: bool = False  # `_state in FLOWING`, at hand
        self.signals: Dict[str, Signal] = {}
        self._sources: List[Tuple[Any, bool]] = []  # and whether it is started and stopped with this stream
        self._stages: List[Tuple[int, PacketProcessor]] = []  # (order, stage)
        self._to_stop: Tuple[Any, ...] = ()  # sources whose loop is still to hear that this was stopped
        self._state = NONE
        self._chain = UNBOUND
        self._stays = False  # pause() was called: it is PAUSED until resume(), whatever a sink says
        self._busy = False  # a packet of a writer or a source is in the chain
        self._lock = RLock()  # for moves and counts, never held while packets or slots run
        self._lost = _Lost()
        self._first: Stage = self._lost.add  # the way into the chain
        self._entry: Stage = self._lost.add  # the same, behind who watches
        self._watchers: Tuple[Callable[[Any], Any], ...] = ()
        self.fire: Stage = _nobody  # the way out of it
        self._queues: Tuple[PacketQueue, ...] = ()  # of the compiled chain
        self._end_check: Optional[EndCheck] = None  # of the compiled chain, in debug mode
        self._then_close = False  # close() was called: behind the end mark comes CLOSED
        self.outlet: Outlet = Outlet(self)  # the last: who has it is whole, for tools that find streams of other threads
        if switched_on(None):  # no loop to ask
            watch_states(self)

    # --- the graph: while it does not run

    def attach_source(self, source: Source, *, sync_state: bool = False) -> Source:
        """Takes packets from a signal, an adapter or another stream. sync_state: starts and stops it with this stream."""
        self._require_changeable("attach_source")
        if sync_state and not (hasattr(source, "start") and hasattr(source, "stop")):
            raise TypeError("sync_state needs a source with start() and stop(), %r has not" % (source,))
        if not isinstance(source, (Signal, ThreadSignal)) and not hasattr(source, "on_packet"):
            raise TypeError("a source is a signal, an adapter or a PacketStream, not %r" % (source,))
        if self._feeds(source):
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
                self._detach(source)
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
        self._stages.append((order, processor))
        self._stages.sort(key=lambda entry: entry[0])
        return processor

    def detach(self, processor: PacketProcessor) -> bool:
        """Takes a stage out; False if it is none of the stages."""
        self._require_changeable("detach")
        for entry in self._stages:
            if entry[1] is processor:
                self._stages.remove(entry)
                processor.bind(None)
                return True
        return False

    def synchronize_output(self, loop: Loop) -> SyncPacketQueue:
        """Has packets, `on_error` and `on_close` come on `loop`: a SyncPacketQueue of order 101, which is returned."""
        queue = SyncPacketQueue(loop)
        self.attach(queue, LAST_ORDER)
        return queue

    @property
    def sources(self) -> List[Any]:
        """The sources, as attached."""
        return [source for source, _ in self._sources]

    @property
    def processors(self) -> List[PacketProcessor]:
        """The stages, in order."""
        return [processor for _, processor in self._stages]

    @property
    def stages(self) -> List[Tuple[int, PacketProcessor]]:
        """The same, each with its order."""
        return list(self._stages)

    @property
    def boundary(self) -> Optional[PacketProcessor]:
        """The first stage that is CLONED or RETAINED: up to there packets are borrowed. None if there is none."""
        for _, processor in self._stages:
            if processor.retention is not PacketRetention.BORROWED:
                return processor
        return None

    def lint(self) -> List[str]:
        """What is wrong with the graph, a line each; [] if it may start."""
        return faults(self.sources, self.processors)

    def describe(self) -> str:
        """The graph as text: every stage's class, order and retention, the queues' depths and drops, the boundary."""
        title = "PacketStream %s %s" % (self.name or "(unnamed)", self._state.name)
        return describe(title, self._sources, self._stages, len(self.on_packet), self.dropped)

    def _feeds(self, source: Any) -> bool:
        """Whether `source` is this stream, or is fed by it."""
        return source is self or (isinstance(source, PacketStream) and any(map(self._feeds, source.sources)))

    def _require_changeable(self, verb: str) -> None:
        if self._state not in CHANGEABLE:
            raise GraphError("%s() on a PacketStream that is %s" % (verb, self._state.name),
                             "stop() it, change it, start() it again")

    # --- running

    def start(self) -> None:
        """Compiles the chain and opens it, then starts the sources that were attached with sync_state.

        GraphError where `lint()` finds fault. An exception of a source's start() stops the stream and is raised here. On a
        paused stream `start` resumes; on an active one it does nothing.
        """
        if self._state is ACTIVE:
            return
        if self._state is PAUSED:
            self.resume()
            return
        with self._lock:
            require_move(self, MOVES, self._state, ACTIVE)
            if self._then_close:
                raise StateError("start() of a PacketStream that is closing", "reset() it when on_close has come",
                                 "close is asynchronous")
            found = self.lint()
            if found:
                raise GraphError("cannot start: %s\n%s" % ("; ".join(found), self.describe()),
                                 "build the graph so that lint() finds nothing", CONTRACT)
            self._compile()
            old = self._set(ACTIVE)
        self.on_state_change(ACTIVE, old)
        try:
            for source, sync in self._sources:
                if sync and self._state in RUNNING:  # a slot, or another thread, may have paused it
                    if self._is_to_stop(source):  # else it would go on in the middle, for who begins anew
                        source.stop()
                    source.start()
        except BaseException:
            if self._state in RUNNING:
                self.stop()
            raise
        if self._state not in RUNNING:  # ended meanwhile: by another thread, or by what a source brought
            self._stop_sources()

    def stop(self) -> None:
        """Takes no more packets, flushes the queues, and is STOPPED when they are empty. From any thread."""
        self._end(False)

    def close(self) -> None:
        """As `stop`, then CLOSED and `on_close`, once. From any thread; `on_close` comes where the last packet came."""
        self._end(True)

    def pause(self) -> None:
        """Writing is StateError, and packets that sources bring are dropped and counted, until `resume()`: also where a sink
        had paused it for want of room, and has room again.

        FileSource, StreamSource and PacketSocket hold their reading instead: nothing of theirs is dropped.
        """
        with self._lock:
            old = self._state if self._state is PAUSED else self._set(PAUSED)
            self._stays = True
        if old is not PAUSED:
            self.on_state_change(PAUSED, old)

    def resume(self) -> None:
        """Goes on."""
        with self._lock:  # from the look on: stopped in between, it would be ACTIVE without a chain
            if self._state is ACTIVE:
                return
            if self._state is not PAUSED:
                raise StateError("resume() of a PacketStream that is %s" % self._state.name, "start() it")
            self._set(ACTIVE)
        self.on_state_change(ACTIVE, PAUSED)

    def reset(self) -> None:
        """Empties the graph of a stream that is not running: NONE again, ready to be built anew."""
        old, adapters = NONE if self._state is NONE else self._set(NONE), self._adapters()
        for source in self.sources:
            self._detach(source)
        for processor in self.processors:
            processor.bind(None)
        self._sources, self._stages = [], []
        self.error = None
        self._then_close = False
        if old is not NONE:  # told at the end: a slot may build it anew, and start it
            self._tell_state(adapters, NONE, old)

    def write(self, packet: Any, flags: int = 0) -> None:
        """Sends a packet, or bytes, through the chain. StateError while not active, unless auto_start starts it.

        An exception of a stage goes to `on_error`. Without a slot there it is raised here, after closing.
        """
        # From the look at the packet on, _take() is the same word for word: to share it would cost a call, a tenth of the time.
        if self._state is not ACTIVE:
            if not (self.auto_start and self._state is NONE):
                state = self._state
                raise StateError("write() on a PacketStream that is %s" % state.name,
                                 TO_WRITE.get(state, "write again"),
                                 "close is asynchronous" if state is CLOSED else "start, then send")
            self.start()
        if type(packet) in BYTES_LIKE:
            packet = raw_packet(packet, flags)
            lends = packet.borrowed
        else:
            try:
                lends = packet.borrowed or flags
            except AttributeError:  # bytes-like, of another type
                lends = True
            if lends:
                packet = packet_of(packet, flags)
                lends = packet.borrowed and not packet.lent
        outer = self._busy  # set before the chain is looked at, see _mark_arrived
        self._busy = True
        try:
            if lends:
                lend(self._first, packet)
            else:
                self._first(packet)
        except Exception as exc:
            if not self.fail(exc):
                raise
        finally:
            if not outer:
                self._busy = False
                if self._state is not ACTIVE:
                    self._write_returned()
        if packet.flags & FINAL and self._state in RUNNING:
            self.stop()

    @property
    def dropped(self) -> int:
        """How many packets came when the stream was not active."""
        return self._lost.count

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

    def __repr__(self) -> str:
        return "<PacketStream %r %s>" % (self.name, self._state.name)

    # --- for queues, sources and sinks

    def hold_up(self) -> bool:
        """A sink has no room: pauses, unless somebody has, or it does not run, which is False. `let_on` undoes that."""
        with self._lock:
            if self._state is not ACTIVE:
                return False
            self._stays = False
            self._set(PAUSED)
        self.on_state_change(PAUSED, ACTIVE)
        return True

    def let_on(self) -> None:
        """That sink has room again: goes on, unless it has ended, or pause() was called as well."""
        with self._lock:
            if self._state is not PAUSED or self._stays:
                return
            self._set(ACTIVE)
        self.on_state_change(ACTIVE, PAUSED)

    def fail(self, exc: Exception) -> bool:
        """Something in the graph failed: ERROR. True: `on_error` was told, or will be where the last packet would have come.

        The PacketStreams that this one feeds fail there too.
        """
        with self._lock:
            if self._state not in FLOWING:
                log.error("packetstream", "%s: raised when it was over", self.name or "a stream", exc=exc)
                return True
            self.error = exc
            heard = "on_error" in self.signals and len(self.signals["on_error"]) > 0
            old = self._set(ERROR)
        self.on_state_change(ERROR, old)
        queues = self._queues
        if not (queues and queues[-1].call_first(lambda: self._tell_failed(exc))):
            self._tell_failed(exc)
        if self.close_on_error:
            self.close()
        else:
            self._stop_sources()
        return heard

    def source_failed(self, exc: Exception) -> bool:
        """A source has broken off: ERROR, in a stream that runs. True: as `fail`."""
        if self._state is NONE and self.auto_start:
            self.start()
        return self._state in RUNNING and self.fail(exc)

    def sink_gone(self, exc: Optional[Exception] = None) -> None:
        """A sink among the stages has lost its receiver, by `exc`: where nobody else takes the packets, the stream ends."""
        if self._state in RUNNING and self.feeds_nobody:
            sources = list(self._sources)  # a sink may let go of them when it sees the close
            if exc is not None:
                self.fail(exc)
            else:
                self.close()
            self._tell_gone(sources)

    def receiver_gone(self, stream: Any) -> None:
        """The sinks of `stream`, which this feeds and runs with, have gone: its own sources are told, if nobody else takes."""
        if not others_take(self.on_packet, stream):
            self._tell_gone(self._sources)

    def _tell_gone(self, sources: List[Tuple[Any, bool]]) -> None:
        for source, sync in sources:
            loop = getattr(source, "loop", None)
            if sync and hasattr(source, "receiver_gone") and not (loop is not None and loop.closed):
                source.receiver_gone(self)

    @property
    def feeds_nobody(self) -> bool:
        """Whether this has sources and sinks, and nobody takes the packets any more."""
        if not self._sources or len(self.on_packet):
            return False
        behind = False
        for stage in self.processors:
            if stage.has_slots:
                return False
            if stage.serves is not None:
                behind = True
                if stage.serves:
                    return False
            elif behind and not isinstance(stage, PacketQueue):
                return False
        return True

    def watch_packets(self, fn: Callable[[Any], Any]) -> None:
        """Has `fn(packet)` called before the stages, in the thread that writes, for each packet that enters the chain, until
        `unwatch_packets(fn)`. It is no slot and no sink: for tools that look. What it raises fails the stream."""
        with self._lock:
            self._watchers = (*self._watchers, fn)
            self._watch()

    def unwatch_packets(self, fn: Callable[[Any], Any]) -> None:
        """No more of that; a function that does not watch is no error."""
        with self._lock:
            self._watchers = tuple([other for other in self._watchers if other != fn])
            self._watch()

    def _watch(self) -> None:
        """Puts who watches before the chain, where there is one."""
        if self._chain != UNBOUND:
            self._first = watched(self._watchers, self._entry)

    # --- the chain

    def _compile(self) -> None:
        for source in self.sources:
            _replace(_signal_of(source), self._lost.add, self._take)
        self._end_check = end_check(self.sources, self.processors)
        self._first = self._entry = chain(self.processors, self._out, self, self._end_check)
        self._chain = BOUND
        self._watch()
        self._queues = tuple(one for one in self.processors if isinstance(one, PacketQueue))
        opened: List[PacketQueue] = []
        try:
            for queue in self._queues:
                queue.open(self)
                opened.append(queue)
        except BaseException:
            for queue in opened:
                queue.finish(lambda: None)
            self._unbind()
            self._chain = UNBOUND
            raise

    def _unbind(self) -> None:
        with self._lock:
            late = self._first = self._entry = self._lost.add
        for processor in reversed(self.processors):
            processor.bind(late)
        self._queues = ()

    def _take(self, packet: Any) -> None:
        """A source brings a packet. Behind the look at the state it is write() again, on purpose: see there."""
        if self._state is not ACTIVE and not (self._state is PAUSED and self._is_untold()):
            if not (self.auto_start and self._state is NONE):
                self._lost.add(packet)
                return
            self.start()
        if type(packet) in BYTES_LIKE:
            packet = raw_packet(packet)
            lends = packet.borrowed
        else:
            try:
                lends = packet.borrowed
            except AttributeError:  # bytes-like, of another type
                lends = True
            if lends:
                packet = packet_of(packet)
                lends = packet.borrowed and not packet.lent
        outer = self._busy
        self._busy = True
        try:
            if lends:
                lend(self._first, packet)
            else:
                self._first(packet)
        except Exception as exc:
            if not self.fail(exc):
                raise
        finally:
            if not outer:
                self._busy = False
                if self._state is not ACTIVE:
                    self._write_returned()
        if packet.flags & FINAL and self._state in RUNNING:
            self.stop()

    def _is_untold(self) -> bool:
        """Whether another thread has paused this, and a source that heeds that was not told yet: nothing of it is dropped."""
        me = get_ident()
        return any(getattr(source, "held", None) is False and source.loop.thread == me for source in self.sources)

    def _out(self, packet: Packet) -> None:
        """The end of the chain."""
        if self.flowing:
            self.fire(packet)
        else:
            self._lost.add(packet)

    # --- the end: _end -> _send_mark, through the queues -> _mark_arrived -> _over -> closed_now

    def _end(self, then_close: bool) -> None:
        with self._lock:
            old = self._state
            if old is CLOSED or (old is STOPPED and not then_close):
                return
            if not then_close and old in (NONE, ERROR):
                raise StateError("stop() of a PacketStream that is %s" % old.name,
                                 "start() it first" if old is NONE else "close() it")
            self._then_close = self._then_close or then_close
            bound = self._chain == BOUND
            if bound:
                self._chain = ENDING
            elif self._chain != UNBOUND:
                return  # the end mark is under way already; `_over` looks at `_then_close`
            if old in (ACTIVE, PAUSED):
                self._set(STOPPING)
        if not bound:
            self._close_unbound()
            return
        try:
            if old is not ERROR:
                self.on_state_change(STOPPING, old)
        finally:  # also where Ctrl-C strikes in a slot, or in a source
            try:
                self._stop_sources()
            finally:
                self._send_mark(0)

    def _stop_sources(self) -> None:
        """Stops those that run with this stream, the last attached first, each on the loop it belongs to."""
        for source, sync in reversed(self._sources):
            if sync:
                loop = getattr(source, "loop", None)
                if loop is None or loop.thread == get_ident():
                    self._stop_source(source)
                else:
                    with self._lock:
                        self._to_stop = (*self._to_stop, source)
                    loop.post(self._stop_late, source)

    def _stop_late(self, source: Any) -> None:
        """Another thread has stopped the stream."""
        if self._is_to_stop(source):
            self._stop_source(source)

    def _is_to_stop(self, source: Any) -> bool:
        """Whether `source` is still to be stopped, which its loop does now."""
        with self._lock:
            before = self._to_stop
            self._to_stop = tuple([other for other in before if other is not source])
            return len(self._to_stop) < len(before)

    def _stop_source(self, source: Any) -> None:
        if self._state not in RUNNING:  # else it was started again before the post arrived
            try:
                source.stop()
            except Exception as exc:
                log.error("packetstream", "%s: stopping %r", self.name or "a stream", source, exc=exc)

    def _send_mark(self, index: int) -> None:
        """The end mark goes through the queue `index`, then through those behind it; behind the last one it has arrived."""
        if index < len(self._queues):
            self._queues[index].finish(lambda: self._send_mark(index + 1))
        else:
            self._mark_arrived()

    def _mark_arrived(self) -> None:
        """Undoes the chain. Without queues the end is told when no packet is in the chain any more, so that none comes behind
        `on_close`: a writer sets `_busy` before it looks at the chain; here `_busy` is looked at after the chain is undone.
        """
        direct = not self._queues
        self._unbind()
        with self._lock:
            waits = direct and self._busy
            if waits:
                self._chain = WAITING
        if not waits:
            self._over()

    def _write_returned(self) -> None:
        """The outermost write returns, and the stream is not active any more."""
        with self._lock:
            waited = self._chain == WAITING
            if waited:
                self._chain = ENDING
        if waited:
            self._over()

    def _over(self) -> None:
        """Every packet is out, and the end mark behind them."""
        with self._lock:
            self._chain = UNBOUND
            old = self._state
            if old is STOPPING:
                self._set(STOPPED)
            close = self._then_close
        if self._end_check is not None and old is STOPPING:
            self._end_check.tell(self.name, "on_packet" in self.signals and len(self.signals["on_packet"]) > 0)
        if old is STOPPING:
            self.on_state_change(STOPPED, old)
            if not close:
                self._leave()
        if close:
            self.closed_now()

    def _close_unbound(self) -> None:
        """close() of a stream that does not run: `on_close` still comes on the loop of the output, if there is one."""
        queues = [one for one in self.processors if isinstance(one, PacketQueue)]
        if queues and isinstance(queues[-1], SyncPacketQueue):
            queues[-1].call(self.closed_now)
        else:
            self.closed_now()

    def closed_now(self) -> None:
        """The last step of `close()`: CLOSED, and `on_close`, once."""
        with self._lock:
            if self._state is CLOSED or not self._then_close:  # done already, or reset() came first
                return
            old = self._set(CLOSED)
        self.on_state_change(CLOSED, old)
        self._tell("on_close", self)
        self._leave()

    # --- states and slots

    def _move(self, new: Any) -> None:
        """Goes to `new`, and tells; StateError where the table has no such move."""
        self.on_state_change(new, self._set(new))

    def _set(self, new: Any) -> Any:
        """Goes to `new`, checked in release too: any thread may try. Returns the state before."""
        with self._lock:
            require_move(self, MOVES, self._state, new)
            old = self._state
            self._state = new
            self.flowing = new in FLOWING
        return old

    def on_state_change(self, new: Any, old: Any) -> None:
        """Tells of a move: the adapters first, the later stages before the earlier when it ends; no lock is held."""
        self._tell_state(self._adapters(), new, old)

    def _adapters(self) -> List[PacketStreamAdapter]:
        return [source for source in self.sources if isinstance(source, PacketStreamAdapter)] + self.processors

    def _tell_state(self, adapters: List[PacketStreamAdapter], new: Any, old: Any) -> None:
        for adapter in reversed(adapters) if new in (STOPPING, STOPPED, CLOSED) else adapters:
            try:
                adapter.on_stream_state(new)
            except Exception as exc:
                log.error("packetstream", "on_stream_state of %s", type(adapter).__name__, exc=exc)
        self._tell("on_state", self, new, old)

    def _tell_failed(self, exc: Exception) -> None:
        self._tell("on_error", self, exc)
        fail_followers(self.signals.get("on_packet"), exc)
        for processor in self.processors:  # others may take from a stage
            processor.fail_streams(exc)

    def _leave(self) -> None:
        """It is over: the sources hold no more of this stream than the count of what comes too late."""
        for source in self.sources:
            loop = getattr(source, "loop", None)
            if loop is None or loop.thread == get_ident():
                self._left(source)
            else:
                loop.post(self._left, source)

    def _left(self, source: Any) -> None:
        if self._state in CHANGEABLE:  # else it was started again before the post arrived
            _replace(_signal_of(source), self._take, self._lost.add)

    def _detach(self, source: Any) -> None:
        signal = _signal_of(source)
        if not signal.detach(self._take):
            signal.detach(self._lost.add)

    def _tell(self, name: str, *args: Any) -> None:
        if name in self.signals:
            Teller(name, self.signals).emit(name, *args)


class _Lost:
    """Counts the packets that come when a stream is over, or has not begun. It knows no stream: the chain may keep it."""

    __slots__ = ("count", "_lock")

    flowing = False  # as a stream that is over

    def __init__(self) -> None:
        self.count = 0
        self._lock = allocate_lock()

    def add(self, packet: Any) -> None:
        """One more."""
        with self._lock:
            self.count += 1


def _signal_of(source: Any) -> Any:
    return source if isinstance(source, (Signal, ThreadSignal)) else source.on_packet


def _replace(signal: Any, fn: Any, other: Any) -> None:
    """Has `other` stand where the slot `fn` stands."""
    for slot in signal.slots:
        if slot.fn is not None and slot.fn == fn:
            slot.fn = slot.was = other
            if isinstance(signal, Signal):
                signal.keep_living()
            return


def _nobody(packet: Packet) -> None:
    pass
