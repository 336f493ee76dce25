"""ConnectionSource: a source of what comes on a connection of HTTP: how it reads, is held up, and comes to an end.

A source is NEW -> READING <-> HELD (a stream is paused) <-> STOPPED (by stop()) -> READING again, or OVER (nothing follows; on
a client's connection the next answer may).

Not here: of what it is a source (sources.py: a request and a WebSocket; clientends.py: an answer).
"""

from __future__ import annotations

from ...base.emitter import Emitter
from ...base.handle import on_loop
from ...base.state import transitions, watch_states
from ...packets.adapter import PacketStreamAdapter, lent_to
from ...packets.packet import FlagPacket, PacketFlags
from ...packets.stream import PAUSED

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Tuple

    from ...base.loop import Loop
    from ...base.signal import Signal

FINAL = PacketFlags.FINAL

NEW, READING, HELD, STOPPED, OVER = range(5)  # from HELD on until it reads again, the source holds what it reads from
STAGES = transitions({
    NEW: (READING,), READING: (HELD, OVER), HELD: (READING, STOPPED, OVER), STOPPED: (HELD, OVER), OVER: (READING,),
}, names=("NEW", "READING", "HELD", "STOPPED", "OVER"))


class ConnectionSource(PacketStreamAdapter, Emitter):  # emit() and loop are those of the adapter
    """What these sources have in common: they read from start() to stop(), but for the time that their stream is paused.

    origin: what is read, paused and resumed: an Exchange, a WebSocket, a ClientConnection, a Call. `loop`: its loop. `stage`:
    NEW, READING, HELD, STOPPED or OVER. `all_came`: the last has come, so that FINAL is due. `priority`: of its slots.
    A subclass says how, by `slots`, `require_more` and `comes_no_more`, and calls `complete` when the last has come,
    `break_off` when the rest will not come.
    """

    STATES = {"stage": STAGES}
    priority: int = 0

    def __init__(self, origin: Any) -> None:
        self.loop: Loop = origin.loop
        self._origin = origin
        self.stage: int = NEW
        self.all_came: bool = False
        self._paused = False  # the PacketStream that this feeds is
        if self.loop.debug:
            watch_states(self)

    def start(self) -> None:
        """Reads from now on. StateError when there is nothing to come any more."""
        self.check_thread()
        if self.stage in (READING, HELD):
            return
        self.require_more()
        if self.stage == OVER:
            self.all_came = False
        if self.comes_no_more():
            self.loop.call_soon(self.complete)
        self.stage = READING if self.stage in (NEW, OVER) else HELD
        for signal, slot in self.slots():
            signal.attach(slot, priority=self.priority)
        self._stream_is(self._paused)

    def stop(self) -> None:
        """Reads no more: what comes waits in the kernel, and then at the client."""
        self.check_thread()
        self._hold()
        if self.stage == HELD:
            self.stage = STOPPED
            self.let_go()

    @property
    def stands_for(self) -> str:
        """For a BorrowError: who may have kept a view."""
        return lent_to(self)

    def on_stream_state(self, state: Any) -> None:
        """A PacketStream that this feeds moved; in whatever thread."""
        on_loop(self.loop, self._look_at_streams, state is PAUSED)  # a stream that is over holds up nothing any more

    @property
    def held(self) -> bool:  # type: ignore[override]
        """Whether a PacketStream that it feeds is paused, as far as `loop` knows."""
        return self._paused

    # for a subclass to override: the loop's thread

    def slots(self) -> Iterator[Tuple[Signal, Callable[..., None]]]:
        """The signals that tell what comes, each with the slot that `start` attaches to it."""
        raise NotImplementedError

    def require_more(self) -> None:
        """StateError when nothing can come any more."""
        raise NotImplementedError

    def comes_no_more(self) -> bool:
        """Whether all had come before `start`, and no signal will tell so."""
        return False

    # for a subclass to call

    def complete(self) -> None:
        """All is here: FINAL goes out. While the stream is paused it waits, as everything else does."""
        self.all_came = True
        if self.stage == READING:
            self._end()
            self.emit(FlagPacket(FINAL))

    def break_off(self, exc: Exception) -> None:
        """The rest will not come: the PacketStreams that this feeds fail with `exc`, unless all is here."""
        if not self.all_came:
            self._end()
            self.fail_streams(exc)

    # for both

    def _end(self) -> None:
        attached, self.stage = self.stage in (READING, HELD), OVER
        if attached:  # else a slot before ours, of the same signal, has stopped this source
            self.let_go()

    def let_go(self) -> None:
        """Detaches what `start` has attached."""
        for signal, slot in self.slots():
            signal.detach(slot)

    def _look_at_streams(self, told: bool) -> None:
        self._stream_is(self.holds_up(PAUSED, told))

    def _stream_is(self, paused: bool) -> None:
        self._paused = paused
        if paused:
            self._hold()
        else:
            self._go_on()

    def _hold(self) -> None:
        if self.stage == READING:
            self.stage = HELD
            self._origin.pause()

    def _go_on(self) -> None:
        if self.stage == HELD:
            self.stage = READING
            self._origin.resume()
            if self.all_came:
                self.loop.call_soon(self.complete)  # the stream is still telling that it goes on
