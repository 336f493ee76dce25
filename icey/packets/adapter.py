"""PacketStreamAdapter and PacketProcessor: the sources and the stages of a PacketStream.

    class Upper(PacketProcessor):
        def process(self, packet):
            self.emit(bytes(packet.data).upper(), packet.flags)

Rules
- What a stage does not emit does not go on. That holds for FINAL, too, the flag of a last packet, which is often an empty one:
  a stage that makes packets of its own passes `packet.flags` on, or a FileSink behind it never has the whole.
- An adapter declares by `retention` what it does with packets: BORROWED (it uses them while `process` runs), CLONED (the stream
  hands it a clone), RETAINED (the stream makes the packet itself owned). The first stage that is not BORROWED is the boundary.
- `deferred` declares that an adapter uses packets after `process` returned; that needs a retention other than BORROWED.
- A packet that an adapter emits goes to the next stage of the running stream that the adapter is part of, and to the slots of
  the adapter's own `on_packet`. What one of these raises is raised by `emit`, once the others have the packet, too: of several
  PacketStreams that a source feeds none has a hole because another one fails.
- A borrowed packet is revoked when the outermost `emit` or `write` that lent it returns, not by the first of two branches.

Not here: how a packet is lent (packet.py), the stream that puts adapters together (stream.py), the queues (queue.py).
"""

from __future__ import annotations

from enum import Enum

from ..base.debug import place
from ..base.errors import GraphError
from ..base.signal import Signal
from .packet import lend, packet_of

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Sequence

    from ..base.loop import Loop
    from .endcheck import EndCheck
    from .packet import Packet

    Stage = Callable[[Packet], Any]


class PacketRetention(Enum):
    """What an adapter does with the packets it gets: BORROWED (it uses them while `process` runs), CLONED (the stream gives it
    copies of its own), RETAINED (it makes them owned itself)."""

    BORROWED = "borrowed"
    CLONED = "cloned"
    RETAINED = "retained"


class PacketStreamAdapter:
    """A source, or the base of a processor.

    `retention`, `deferred`: see above. `loop`: the loop that its work happens on, None for any. `emits`: the packet class that
    it emits, None where that is not known; `lint()` looks at both. `held`: of a source that brings nothing while a PacketStream
    that it feeds is paused, whether one is, as far as its loop knows; None: it heeds no pause. `following`: the entry of the
    next stage, or None, and `runs_in`: the PacketStream that this is a stage of; both while that stream runs.
    """

    retention = PacketRetention.BORROWED
    deferred = False
    loop: Optional[Loop] = None
    emits: Optional[type] = None
    held: Optional[bool] = None

    _signal: Optional[Signal] = None
    following: Optional[Stage] = None
    runs_in: Any = None

    @property
    def on_packet(self) -> Signal:
        """on_packet(packet): every packet that this adapter emits."""
        if self._signal is None:
            self._signal = Signal()
            self._rebind()
        return self._signal

    @on_packet.setter
    def on_packet(self, value: Signal) -> None:
        if value is not self._signal:
            raise TypeError("on_packet is a signal: attach a slot with += or .attach(fn), do not assign to it")

    def emit(self, packet: Any, flags: int = 0) -> None:
        """Sends a packet, or bytes, on. flags: added to those of the packet."""
        made = packet_of(packet, flags)
        if made.borrowed and not made.lent:
            lend(self._pass_on, made)
        else:
            self._pass_on(made)

    def fail_streams(self, exc: Exception) -> bool:
        """This source cannot go on, and what came is not the whole: the PacketStreams that it feeds fail with `exc`.

        False: there was none that has a slot on `on_error`.
        """
        return fail_followers(self._signal, exc)

    def receiver_gone(self, stream: Any) -> None:
        """The sinks of `stream`, that this source ran with, have gone: what it reads from may be closed. To be overridden."""

    def holds_up(self, paused: Any, told: bool) -> bool:
        """Whether one of the PacketStreams that this source feeds is `paused`, a PacketStreamState; `told` where it feeds none.

        Not what was told counts, but what is: of moves in two threads the later one may be told first.
        """
        owners: List[Any] = [getattr(take, "__self__", None) for take in self._signal or ()]
        states = [owner.state for owner in owners if hasattr(owner, "source_failed")]
        return paused in states if states else told

    def taken_by_others(self, stream: Any) -> bool:
        """Whether somebody takes the packets besides `stream`, and those streams that are over."""
        return self._signal is not None and others_take(self._signal, stream)

    def on_stream_state(self, state: Any) -> None:
        """The stream that this belongs to went to `state`, a PacketStreamState. To be overridden."""

    @property
    def has_slots(self) -> bool:
        """Whether a slot is attached to `on_packet`."""
        return self._signal is not None and len(self._signal) > 0

    # for the stream

    def bind(self, following: Optional[Stage], stream: Any = None) -> None:
        """`stream` starts, and `following` comes next; or the stream is over: None, and `following` counts late packets."""
        self.following = following
        self.runs_in = stream
        self._rebind()

    def _pass_on(self, packet: Packet) -> None:
        following = self.following
        if following is not None:
            following(packet)
        signal = self._signal
        if signal is None:
            return
        if len(signal.slots) > 1:
            _tell_each(signal, packet)
        else:
            signal.fire(packet)

    def _rebind(self) -> None:
        """Puts the shortest way of emitting in the place of `emit`, unless a subclass has its own."""
        if type(self).emit is PacketStreamAdapter.emit:
            if self.following is not None and self._signal is None:
                self.emit = _straight(self.following)  # type: ignore[method-assign]
            elif "emit" in self.__dict__:
                del self.emit


class PacketProcessor(PacketStreamAdapter):
    """A stage: `process(packet)` does the work and emits what is to go on; if it emits nothing, nothing goes on, nor does the
    end: the last packet has the flag FINAL, and is often empty (see PacketFlags).

    `takes`: the packet class that it can process, None where that is not known; `lint()` looks at it. `serves`: of a sink,
    whether there is somebody whom it sends to; None: this is no sink.
    """

    takes: Optional[type] = None
    serves: Optional[bool] = None

    def accepts(self, packet: Packet) -> bool:
        """Whether this stage wants the packet; a packet that it does not want goes past it to the next stage."""
        return True

    def process(self, packet: Packet) -> None:
        """The work. To be overridden; this one passes the packet on."""
        self.emit(packet)


def _straight(following: Stage) -> Callable[..., None]:
    """emit() of a stage in a running stream without slots of its own: for a packet that is owned, or lent already, a call."""

    def emit(packet: Any, flags: int = 0) -> None:
        try:
            other = flags or (packet.borrowed and not packet.lent)
        except AttributeError:  # bytes-like
            other = True
        if other:
            made = packet_of(packet, flags)
            if made.borrowed and not made.lent:
                lend(following, made)
            else:
                following(made)
        else:
            following(packet)

    return emit


def _tell_each(signal: Signal, packet: Packet) -> None:
    """Tells all slots: what one of them raises costs the others no packet, and reaches the caller behind them."""
    raised: Optional[Exception] = None
    for slot in signal.slots:
        fn = slot.fn
        if fn is not None:
            if slot.once:
                slot.fn = None
                signal.keep_living()
            try:
                fn(packet)
            except Exception as exc:
                raised = raised or exc
    try:
        if raised is not None:
            raise raised
    finally:
        raised = None  # its traceback has this frame


def fail_followers(signal: Any, exc: Exception) -> bool:
    """The PacketStreams among the slots of `signal` fail: what feeds them broke. True: the `on_error` of one has a slot."""
    heard = False
    for take in () if signal is None else signal:
        source_failed = getattr(getattr(take, "__self__", None), "source_failed", None)
        if source_failed is not None and source_failed(exc):
            heard = True
    return heard


def others_take(signal: Any, stream: Any) -> bool:
    """Whether `signal` has slots besides that of `stream`, and those of streams that are over."""
    owners = [getattr(take, "__self__", None) for take in signal]
    return any(owner is not stream and getattr(owner, "flowing", True) for owner in owners)


def lent_to(source: PacketStreamAdapter) -> str:
    """For a BorrowError: who gets what `source` lends, its slots, and of a PacketStream the stages up to the boundary."""
    takers: List[Any] = []
    for take in source.on_packet:
        stream = getattr(take, "__self__", None)
        if not hasattr(stream, "source_failed"):
            takers.append(take)
            continue
        for stage in stream.processors:  # type: ignore[union-attr]
            if stage.retention is not PacketRetention.BORROWED:
                break
            takers += [stage.process, *(stage.on_packet if stage.has_slots else ())]
        else:
            takers += stream.on_packet  # type: ignore[union-attr]
    return " or ".join(map(place, takers)) or type(source).__name__


def chain(processors: Sequence[PacketProcessor], out: Stage, stream: Any, check: Optional[EndCheck] = None) -> Stage:
    """Binds each stage to the next, the last to `out`; returns the way in. GraphError for one that runs in another stream.

    check: looks at each packet on its way in, and out.
    """
    for processor in processors:
        if processor.runs_in is not None:
            raise GraphError("%s is in another stream that runs" % type(processor).__name__, "make one for each stream")
    following = out if check is None else check.way(len(processors), out)
    for index, processor in reversed(tuple(enumerate(processors))):
        processor.bind(following, stream)
        entry: Stage = processor.process
        if processor.retention is PacketRetention.CLONED:
            entry = _cloning(entry)
        elif processor.retention is PacketRetention.RETAINED:
            entry = _retaining(entry)
        if type(processor).accepts is not PacketProcessor.accepts:
            entry = _gate(processor.accepts, entry, following)
        following = entry if check is None else check.way(index, entry)
    return following


def watched(watchers: Sequence[Callable[[Any], Any]], entry: Stage) -> Stage:
    """The way into a chain, which tells `watchers` of each packet before it goes to `entry`."""

    def tell(packet: Packet) -> None:
        for fn in watchers:
            fn(packet)
        entry(packet)

    return tell if watchers else entry


def _cloning(stage: Stage) -> Stage:
    """The way into an adapter that is CLONED."""
    return lambda packet: stage(packet.clone())


def _retaining(stage: Stage) -> Stage:
    """The way into an adapter that is RETAINED."""
    return lambda packet: stage(packet.retain())


def _gate(accepts: Callable[[Packet], bool], stage: Stage, past: Stage) -> Stage:
    """The way into an adapter that looks at packets first."""

    def choose(packet: Packet) -> None:
        if accepts(packet):
            stage(packet)
        else:
            past(packet)

    return choose
