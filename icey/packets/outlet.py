"""The events of a PacketStream, which has no loop: whoever attaches a slot may be on any thread, and nothing holds the stream.

    Outlet    the owner of its signals
    Told      how it declares an event
    Teller    how it emits one

Not here: when it does (stream.py).
"""

from __future__ import annotations

from _weakref import ref

from ..base import log
from ..base.emitter import Emitter
from ..base.signal import Event, OwnedSignal, S, Signal

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from .stream import PacketStream


class Outlet:
    """What the signals of a PacketStream have for their owner: it does not hold the stream, which so is no cycle."""

    __slots__ = ("_stream",)

    def __init__(self, stream: PacketStream) -> None:
        self._stream = ref(stream)

    def check_thread(self) -> None:
        """A PacketStream belongs to no loop."""

    def slots_changed(self, name: str, signal: Signal) -> None:
        """A slot was attached or detached: those of the output are called directly."""
        stream = self._stream() if name == "on_packet" else None
        if stream is not None:
            stream.fire = signal.fire


class Told(Event[S]):
    """An event of a PacketStream."""

    if not TYPE_CHECKING:  # checkers read those of Event

        def __get__(self, obj, cls=None):
            if obj is None:
                return self
            signal = obj.signals.get(self.name)
            if signal is None:
                signal = obj.signals[self.name] = OwnedSignal(obj.outlet, self.name)
            return signal

    def __set__(self, obj: Any, value: Signal[S]) -> None:
        if value is None or value is not obj.signals.get(self.name):
            raise TypeError("%s.%s is a signal: attach a slot with += or .attach(fn), do not assign to it"
                            % (type(obj).__name__, self.name))


class Teller(Emitter):
    """Emits an event of a PacketStream, which is no Emitter itself: everybody would take `stream.emit` for an adapter's."""

    __slots__ = ("signals", "_name")

    def __init__(self, name: str, signals: Dict[str, Signal]) -> None:
        self.signals: Optional[Dict[str, Signal]] = signals
        self._name = name

    def slot_failed(self, exc: Exception) -> None:
        """A slot raised: logged, because a PacketStream has no loop to tell."""
        log.error("packetstream", "a slot of %s", self._name, exc=exc)
