"""PacketStreamAdapter and PacketProcessor: the sources and the stages of a PacketStream.

    class Upper(PacketProcessor):
        def process(self, packet):
            self.emit(bytes(packet.data).upper())

Rules
- An adapter says what it does with packets by `retention`: BORROWED (uses them while `process` runs), CLONED (the stream
  hands it a clone), RETAINED (the stream makes the packet itself owned). The first that is not BORROWED is the boundary.
- `deferred` says that it uses packets after `process` returned; that needs a retention other than BORROWED.
- What an adapter emits goes to the next stage of the running stream it is part of, and to its `on_packet` slots.
- A borrowed packet is revoked when the outermost `emit` or `write` that lent it returns, not by the first of two branches.

Not here: the stream that puts them together (packetstream.py), the queues (packetqueue.py).
"""

from __future__ import annotations

from enum import Enum

from .errors import BorrowError, GraphError
from .packet import CONTRACT, packet_of
from .signal import Signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Sequence

    from .loop import Loop
    from .packet import Packet

    Stage = Callable[[Packet], Any]


class PacketRetention(Enum):
    """What an adapter does with the packets it gets."""

    BORROWED = "borrowed"
    CLONED = "cloned"
    RETAINED = "retained"


class PacketStreamAdapter:
    """A source, or the base of a processor.

    retention, deferred: see above. loop: the loop its work happens on, where it has one. emits: the packet class it emits,
    where that is known; both are for `lint()`.
    """

    retention = PacketRetention.BORROWED
    deferred = False
    loop: Optional[Loop] = None
    emits: Optional[type] = None

    _signal: Optional[Signal] = None
    _next: Optional[Stage] = None  # in the stream this is a stage of
    _runs_in: Any = None  # that stream, while it runs

    @property
    def on_packet(self) -> Signal:
        """on_packet(packet): everything this adapter emits."""
        if self._signal is None:
            self._signal = Signal()
            self._rebind()
        return self._signal

    @on_packet.setter
    def on_packet(self, value: Signal) -> None:
        if value is not self._signal:
            raise TypeError("on_packet is a signal: attach a slot with += or .attach(fn), do not assign to it")

    def emit(self, packet: Any, flags: int = 0) -> None:
        """Sends a packet, or bytes, on. flags: added to the packet's."""
        made = packet_of(packet, flags)
        if made.borrowed and not made._lent:
            lend(self._pass_on, made)
        else:
            self._pass_on(made)

    def on_stream_state(self, state: Any) -> None:
        """The stream this belongs to went to `state`. To be overridden."""

    def _pass_on(self, packet: Packet) -> None:
        following = self._next
        if following is not None:
            following(packet)
        if self._signal is not None:
            self._signal.fire(packet)

    def _bind(self, following: Optional[Stage], stream: Any = None) -> None:
        """`stream` starts, and says what comes next; or it is over: None, and where what still comes is counted."""
        self._next = following
        self._runs_in = stream
        self._rebind()

    def _rebind(self) -> None:
        """Puts the shortest way of emitting in the place of `emit`, unless a subclass has its own."""
        if type(self).emit is PacketStreamAdapter.emit:
            if self._next is not None and self._signal is None:
                self.emit = _straight(self._next)  # type: ignore[method-assign]
            elif "emit" in self.__dict__:
                del self.emit


class PacketProcessor(PacketStreamAdapter):
    """A stage: `process(packet)` does its work and emits what is to go on; nothing emitted, nothing goes on.

    takes: the packet class it can process, where that is known, for `lint()`.
    """

    takes: Optional[type] = None

    def accepts(self, packet: Packet) -> bool:
        """Whether this stage wants the packet; one it does not want goes past it to the next stage."""
        return True

    def process(self, packet: Packet) -> None:
        """The work. To be overridden; this one passes the packet on."""
        self.emit(packet)


def _straight(following: Stage) -> Callable[..., None]:
    """emit() of a stage in a running stream without slots of its own: for a packet that is owned, or lent already, a call."""

    def emit(packet: Any, flags: int = 0) -> None:
        try:
            plain = not packet.borrowed or packet._lent
        except AttributeError:  # bytes-like
            plain = False
        if plain and not flags:
            following(packet)
        else:
            made = packet_of(packet, flags)
            if made.borrowed and not made._lent:
                lend(following, made)
            else:
                following(made)

    return emit


def lend(stage: Stage, packet: Any) -> None:
    """Calls `stage` with a borrowed packet, and takes it back after: the outermost call does this."""
    loan = packet._lend()
    try:
        stage(packet)
    except BaseException:
        packet._take_back(loan)  # the traceback may hold the view: no reason to hide the exception
        raise
    if not packet._take_back(loan):
        raise BorrowError(
            "something made from a borrowed packet outlived the write() or emit() that lent it",
            "copy what you keep, bytes(packet.data), or packet.clone()",
            CONTRACT,
        )


def chain(processors: Sequence[PacketProcessor], out: Stage, stream: Any) -> Stage:
    """Binds each stage to the next, the last to `out`; returns the way in. GraphError for one that runs in another stream."""
    for processor in processors:
        if processor._runs_in is not None:
            raise GraphError("%s is in another stream that runs" % type(processor).__name__, "make one for each stream")
    following = out
    for processor in reversed(processors):
        processor._bind(following, stream)
        entry: Stage = processor.process
        if processor.retention is PacketRetention.CLONED:
            entry = _cloning(entry)
        elif processor.retention is PacketRetention.RETAINED:
            entry = _retaining(entry)
        if type(processor).accepts is not PacketProcessor.accepts:
            entry = _gate(processor.accepts, entry, following)
        following = entry
    return following


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
