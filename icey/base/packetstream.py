"""PacketStream: sources, ordered processors, one output: a data plane that copies nothing until a boundary.

    source -> processor (order 0) -> processor (order 5) -> on_packet slots

Rules
- Processing is synchronous, in the thread that writes, up to the first queue. One writer at a time; `stop` and `close` from
  any thread, also from inside a processor or a slot.
- The graph is built before it runs: changing it while it is not NONE, STOPPED or CLOSED is GraphError. Starting one that
  `lint()` finds fault with is GraphError, with the graph drawn.
- `stop` and `close` send an end mark through the queues, behind what they hold: that is how they are flushed, and why
  `on_close` comes where the last packet came. Without queues it comes when the write that is under way has returned.
- A packet that a processor does not accept goes past it. What comes too late, or from a source too early, is `dropped`.
- An exception of a processor: ERROR, what the queues hold is dropped and counted, `on_error` once, then close.

How it is fast: `start()` compiles the chain: each stage's `emit` is rebound to the next stage's entry.

Not here: the states (packetstate.py), the stages (packetadapter.py), what lint() and describe() say (packetgraph.py).
"""

from __future__ import annotations

from _thread import RLock, get_ident

from . import log
from .errors import GraphError, StateError
from .packet import CONTRACT, PacketFlags, packet_of
from .packetadapter import PacketStreamAdapter, chain, lend
from .packetgraph import PacketGraph
from .packetqueue import PacketQueue, SyncPacketQueue
from .packetstate import (
    ACTIVE,
    CLOSED,
    ERROR,
    FLOWING,
    MOVES,
    NONE,
    PAUSED,
    RUNNING,
    STOPPED,
    STOPPING,
    TO_WRITE,
    PacketStreamState,
)
from .signal import Event, Signal
from .state import Stateful

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from .packet import Packet
    from .packetadapter import Stage

__all__ = ["PacketStream", "PacketStreamState"]

FINAL = PacketFlags.FINAL



class PacketStream(PacketGraph, Stateful):
    """A graph of packets. name: for reports. auto_start: the first write starts it. close_on_error: or stay in ERROR.

    `dropped` counts packets that came when the stream was not active.
    """

    MOVES = MOVES

    on_packet = Event("on_packet(packet): the output")
    on_error = Event("on_error(stream, exc): a processor raised; once")
    on_close = Event("on_close(stream): closed, the queues flushed; once")
    on_state = Event("on_state(stream, new, old): the state changed")

    def __init__(self, name: str = "", *, auto_start: bool = False, close_on_error: bool = True) -> None:
        super().__init__()
        self.name = name
        self.auto_start = auto_start
        self.close_on_error = close_on_error
        self.error: Optional[BaseException] = None
        self.dropped = 0
        self._state = NONE
        self._flowing = False
        self._live = False  # from start() until the end mark has arrived
        self._busy = False  # a packet of a writer or a source is in the chain
        self._lock = RLock()  # for transitions and counts, never held while packets or slots run
        self._signals: Optional[Dict[str, Signal]] = None
        self._fire: Stage = _nobody
        self._first: Stage = self._late
        self._queues: Tuple[PacketQueue, ...] = ()
        self._flushing = False  # the end mark is under way
        self._arrived = False  # it has arrived, and waits for a write to return
        self._then_close = False

    # running

    def start(self) -> None:
        """Compiles the chain and opens it, then starts the sources that were attached with sync_state.

        GraphError where `lint()` finds fault. What a source's start() raises stops the stream and comes out of here. On a
        paused stream it resumes; on an active one it does nothing.
        """
        if self._state is ACTIVE:
            return
        if self._state is PAUSED:
            self.resume()
            return
        with self._lock:
            self._require_move(ACTIVE)
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
                if sync and self._state is ACTIVE:
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
        self._clear()
        self.error = None
        self._then_close = False

    def write(self, packet: Any, flags: int = 0) -> None:
        """Sends a packet, or bytes, through the chain. StateError while not active, unless auto_start starts it.

        A processor's exception does not come out of here but goes to `on_error`; with no slot there it is raised, after
        closing.
        """
        if self._state is not ACTIVE:
            if not (self.auto_start and self._state is NONE):
                state = self._state
                raise StateError("write() on a PacketStream that is %s" % state.name,
                                 TO_WRITE.get(state, "write again"), "start, then send")
            self.start()
        try:
            plain = not (packet.borrowed or flags)
        except AttributeError:  # bytes-like
            plain = False
        if not plain:
            packet = packet_of(packet, flags)
        outer = self._busy  # set before the chain is looked at, see _ended
        self._busy = True
        try:
            if plain or packet._lent or not packet.borrowed:
                self._first(packet)
            else:
                lend(self._first, packet)
        except Exception as exc:
            if not self._failed(exc):
                raise
        finally:
            if not outer:
                self._busy = False
                if self._state is not ACTIVE:
                    self._left()
        if packet.flags & FINAL and self._state in RUNNING:
            self.stop()

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

    # the chain

    def _compile(self) -> None:
        self._first = chain(self.processors, self._out, self)
        self._live = True
        self._queues = tuple(one for one in self.processors if isinstance(one, PacketQueue))
        opened: List[PacketQueue] = []
        try:
            for queue in self._queues:
                queue._open(self)
                opened.append(queue)
        except BaseException:
            for queue in opened:
                queue._finish(_nothing)
            self._unbind()
            raise

    def _unbind(self) -> None:
        self._first = self._late
        for processor in reversed(self.processors):
            processor._bind(self._late)
        self._queues = ()
        self._live = False

    def _take(self, packet: Any) -> None:
        """A source brings a packet. From there on it is write() again: a call between them would be a tenth of the time."""
        if self._state is not ACTIVE:
            if not (self.auto_start and self._state is NONE):
                self._late(packet)
                return
            self.start()
        try:
            plain = not packet.borrowed
        except AttributeError:  # bytes-like
            plain = False
        if not plain:
            packet = packet_of(packet)
        outer = self._busy
        self._busy = True
        try:
            if plain or packet._lent or not packet.borrowed:
                self._first(packet)
            else:
                lend(self._first, packet)
        except Exception as exc:
            if not self._failed(exc):
                raise
        finally:
            if not outer:
                self._busy = False
                if self._state is not ACTIVE:
                    self._left()
        if packet.flags & FINAL and self._state in RUNNING:
            self.stop()

    def _out(self, packet: Packet) -> None:
        """The end of the chain."""
        if self._flowing:
            self._fire(packet)
        else:
            self._late(packet)

    def _late(self, packet: Any) -> None:
        """A packet that comes when it is over, or has not begun."""
        with self._lock:
            self.dropped += 1

    def _run(self, stage: Stage, packet: Packet) -> None:
        """The turn of the stage behind a queue; its exception is this stream's error."""
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
            flow = self._flushing = self._live
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
        """Those that run with this stream are stopped, the last attached first, each on the loop it belongs to."""
        for source, sync in reversed(self._sources):
            if sync:
                loop = getattr(source, "loop", None)
                if loop is None or loop._thread == get_ident():
                    self._stop_source(source)
                else:
                    loop.post(self._stop_source, source)

    def _stop_source(self, source: Any) -> None:
        if self._state not in RUNNING:  # else it was started again before the post arrived
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
        """The end mark has arrived. It is told of when no packet is in a chain without queues any more, so that none comes
        behind `on_close`: a writer sets `_busy` before it looks at the chain, here it is looked at after the chain is undone.
        """
        direct = not self._queues
        self._unbind()
        with self._lock:
            self._arrived = direct and self._busy
        if not self._arrived:
            self._over()

    def _left(self) -> None:
        """The outermost write returns, and the stream is not active any more."""
        with self._lock:
            over, self._arrived = self._arrived, False
        if over:
            self._over()

    def _over(self) -> None:
        """Everything is out."""
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
        queues = [one for one in self.processors if isinstance(one, PacketQueue)]
        if queues and isinstance(queues[-1], SyncPacketQueue):
            queues[-1]._call(self._closed_now)
        else:
            self._closed_now()

    def _closed_now(self) -> None:
        with self._lock:
            if self._state is CLOSED or not self._then_close:  # done already, or reset() came first
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
        """Calls it where the last queue delivers, before what it still holds; at once where there is none."""
        queues = self._queues
        if not (queues and queues[-1]._call_first(call)):
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
        """Emits on_error, on_close or on_state, each slot guarded; what one raises is logged: there is nobody to tell."""
        signal = (self._signals or {}).get(name)
        for slot in signal._slots if signal is not None else ():
            fn = slot.fn
            if fn is not None:
                if slot.once:
                    slot.fn = None
                    signal._keep_living()  # type: ignore[union-attr]
                try:
                    fn(*args)
                except Exception as exc:
                    log.error("packetstream", "a slot of %s", name, exc=exc)

    def _check(self) -> None:
        """Signals ask their owner for affinity; a PacketStream belongs to no loop."""

    def _slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_packet":
            self._fire = signal.fire


def _nobody(packet: Packet) -> None:
    pass


def _nothing() -> None:
    pass
