"""Feed: the last stage of a packet's way: it sends what it gets to one client, who may be slow, and may go at any time.

    ChunkedAdapter(exchange).follow(camera)          a branch of its own, off what feeds many; closed when the client goes
    stream.attach(ChunkedAdapter(exchange))          or a stage of a stream that you build

    OPEN -> ENDING -> ENDED -> GONE      ENDING: what is held goes first; ENDED: the last is said; GONE: on_close has come

    drop        what happens to a packet while more than high water is queued for the client
    "newest"    the packet that comes is dropped
    "oldest"    up to `max_queue` packets are held; one more, and the oldest of these is dropped
    "latest"    one packet is held, the newest: right for pictures
    "close"     the packet is dropped, and the client cut off
    "pause"     no packet is dropped here: the PacketStream is paused until there is room, for all that share it. A source that
                heeds that (of an exchange, a WebSocket, a Stream, a file) is held up; what other sources bring is dropped
                by the PacketStream, and counted there. What a queue before it still brings is held

Rules
- A packet is sent, or copied, before `process` returns: borrowed ones may come (its retention, BORROWED, is the truth). The
  packet is passed on in any case, so that several feeds may stand in one stream.
- A packet that has the flag FINAL is never dropped for a client that is slow: whatever `drop` says, it is held until there is
  room, and the end comes behind it.
- What the client does is never an error of the stream: what is not sent to it is counted in `dropped`.
- Behind a FINAL packet, and when its PacketStream stops or closes, the feed ends in good order. Where the stream fails, or the
  one that it follows does, the client is cut off, so that half of something does not look like the whole. To hold a stream
  without an end, `pause()` it.
- When the client has gone `on_close` comes, at once. Then its PacketStream is closed, and let go by its sources, if it has any
  and nobody else takes its packets (`PacketStream.feeds_nobody`); what a source that runs with it reads from is closed too
  (`PacketStream.sink_gone`). A stream without sources, which you write to, stays open.

Not here: what is sent, and to whom (adapters.py for answers of a server, sources.py for a WebSocket).
"""

from __future__ import annotations

from collections import deque

from ..base.buffer import own
from ..base.emitter import Emitter
from ..base.errors import QueueFull
from ..base.handle import on_loop
from ..base.signal import Event
from ..base.state import transitions, watch_states
from .adapter import PacketProcessor
from .packet import PacketFlags
from .queue import PacketQueue
from .stream import ACTIVE, CLOSED, ERROR, STOPPED, PacketStream

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, Optional

    from typing_extensions import Self

    from ..base.loop import Loop
    from ..base.signal import Signal
    from .packet import Packet

OPEN, ENDING, ENDED, GONE = range(4)
STAGES = transitions({OPEN: (ENDING, ENDED, GONE), ENDING: (ENDED, GONE), ENDED: (GONE,), GONE: ()},
                     names=("OPEN", "ENDING", "ENDED", "GONE"))
POLICIES = ("newest", "oldest", "latest", "close", "pause")
SLOW, FAILED, ABORTED = range(3)  # why a client is cut off

FINAL = PacketFlags.FINAL


class Feed(PacketProcessor, Emitter):  # emit() and loop are those of a PacketProcessor
    """Sends packets to one client.

    `drop`: what happens to packets while the client is slow, one of the five policies above; ValueError for others.
    `max_queue`: packets (not bytes) that are held at most, with "oldest"; 1 or more, else ValueError. `close_stream`: False
    leaves its PacketStream open when the client has gone. `dropped`, `depth`: packets dropped so far, and packets held now.
    `full`: more than high water is queued for the client, a drain will come. `loop`: the client's. `signals`: see Emitter.

    A subclass says how, by `frame`, `put`, `can_send`, `say_end`, `cut_off` and `release`, and has `drained` and `client_gone`
    called when the client's queue is down to low water, and when the client has gone.
    """

    STATES = {"_stage": STAGES}

    on_close: Event[Callable[[Self], Any]] = Event(
        "on_close(feed): over, ended or because the client went; once, from the loop")

    def __init__(self, loop: Loop, drop: str, max_queue: int, close_stream: bool) -> None:
        if drop not in POLICIES:
            raise ValueError("drop is one of %s, not %r" % (", ".join(POLICIES), drop))
        if isinstance(max_queue, bool) or not isinstance(max_queue, int) or max_queue < 1:
            raise ValueError("max_queue is 1 packet or more, not %r" % (max_queue,))
        self.loop: Loop = loop
        self.drop = drop
        self.max_queue: int = 1 if drop == "latest" else max_queue
        self.close_stream = close_stream
        self.dropped: int = 0
        self.full: bool = False
        self.signals: Optional[Dict[str, Signal]] = None
        self._stage = OPEN
        self._held: Deque[Any] = deque()
        self._stream: Optional[PacketStream] = None  # the stream that this is, or was, a stage of
        self._held_up = False  # that stream was paused here
        self._trunk: Optional[PacketStream] = None  # the stream that that one follows
        if loop.debug:
            watch_states(self)

    @property
    def depth(self) -> int:
        """Packets held until there is room."""
        return len(self._held)

    @property
    def serves(self) -> bool:  # type: ignore[override]
        """Whether the client is there."""
        return self._stage != GONE

    @property
    def closed(self) -> bool:
        """`on_close` is being emitted, or has been."""
        return self._stage == GONE

    @property
    def closing(self) -> bool:
        """No more packets are taken: it ends, has ended, or its client has gone."""
        return self._stage != OPEN or not self.can_send()

    def follow(self, source: Any, *, sync_state: bool = False) -> PacketStream:
        """Has this client get what `source` (a signal, an adapter, a PacketStream that may be running) brings from now on.

        Returns the branch made for that, a started PacketStream. The feed ends when a PacketStream it follows closes, and is
        cut where that failed. sync_state, and what it raises: as attach_source() and start() of a PacketStream.
        """
        self.check_thread()
        branch = PacketStream(type(self).__name__)
        branch.attach_source(source, sync_state=sync_state)
        branch.attach(self)
        try:
            branch.start()
        except BaseException:
            branch.close()
            _let_go_of_sources(branch)
            raise
        if isinstance(source, PacketStream) and self._stage != GONE:
            self._trunk = source
            source.on_close.attach(self._trunk_closed)
            if source.closed:
                self._trunk_closed(source)
        return branch

    def process(self, packet: Packet) -> None:
        """Sends `packet`, or does with it as `drop` says; then passes it on."""
        self.check_thread()
        made = self.frame(packet)
        if packet.flags & FINAL:
            if made is not None:
                self._offer_last(made)
            self.close()
        elif made is not None:
            self.offer(made)
        self.emit(packet)

    def close(self) -> None:
        """Ends in good order, what is held first; `on_close` follows."""
        self.check_thread()
        if self._stage == OPEN:
            self._stage = ENDING
            if not self._held:
                self._end()

    def abort(self) -> None:
        """Cuts the client off now; `on_close` follows."""
        self.check_thread()
        self._break(ABORTED)

    def on_stream_state(self, state: Any) -> None:
        """The PacketStream this is a stage of moved; in whatever thread."""
        if state is ACTIVE:
            self._stream = self.runs_in
            self._held_up = False  # whoever resumed it: a pause from now on is not ours
            if self._stage == GONE:
                on_loop(self.loop, self._let_go)
        elif state is ERROR:
            on_loop(self.loop, self._break, FAILED)
        elif state is STOPPED:
            on_loop(self.loop, self._stream_stopped)
        elif state is CLOSED:
            on_loop(self.loop, self._stream_closed)

    # for a subclass to override: the loop's thread

    def frame(self, packet: Packet) -> Any:
        """What is to be sent for `packet`: bytes-like, a list of such, or str; None for nothing."""
        raise NotImplementedError

    def put(self, made: Any) -> bool:
        """Sends what `frame` made; False: the queue is above high water, a drain is due. QueueFull: nothing was taken."""
        raise NotImplementedError

    def can_send(self) -> bool:
        """Whether the client is there, and something can be sent."""
        raise NotImplementedError

    def say_end(self) -> None:
        """Tells the client that nothing follows. QueueFull: this is called again when there is room."""
        raise NotImplementedError

    def cut_off(self, why: int) -> None:
        """Cuts the client off. why: SLOW, FAILED or ABORTED."""
        raise NotImplementedError

    def release(self) -> None:
        """The client has gone: detaches from what outlives the feed, and ends timers."""

    # for a subclass to call

    def offer(self, made: Any) -> bool:
        """Sends `made`, or does with it as `drop` says. True: below high water."""
        if self.closing:
            self.dropped += 1
            return False
        if self.drop == "pause":
            if not self._held and self._fits(made):
                return not self.full
            self._held.append(_owned(made))
            return False
        if not self.full and self._fits(made):
            return not self.full
        if self.drop == "oldest" or self.drop == "latest":
            if len(self._held) >= self.max_queue:
                self._held.popleft()
                self.dropped += 1
            self._held.append(_owned(made))
            return False
        self.dropped += 1
        if self.drop == "close":
            self._break(SLOW)
        return False

    def _offer_last(self, made: Any) -> None:
        """Sends `made`, which is the last, or holds it: no policy drops it."""
        if self.closing:
            self.dropped += 1
            return
        held = bool(self._held) or (self.full and self.drop != "pause")
        if not held:
            try:
                if not self.put(made):
                    self._fill()
            except QueueFull:
                self._fill()
                held = True
        if held:
            if self.drop in ("oldest", "latest") and len(self._held) >= self.max_queue:
                self._held.popleft()
                self.dropped += 1
            self._held.append(_owned(made))

    def drained(self, *_: Any) -> None:
        """The client's queue is down to low water: what is held goes out."""
        self.full = False
        while self._held and not self.full and self.can_send():
            if self._fits(self._held[0]):
                self._held.popleft()
        if self._stage == ENDING and not self._held:
            self._end()
        if not self.full:
            self._resume_stream()

    def client_gone(self, *_: Any) -> None:
        """It is over: the client has got all, or has gone. Called from the loop."""
        if self._stage == GONE:
            return
        self._stage = GONE
        self._drop_held()
        self.release()
        if self._trunk is not None:
            self._trunk.on_close.detach(self._trunk_closed)
            self._trunk = None
        self._resume_stream()
        self._let_go()
        self._forget()
        Emitter.emit(self, "on_close", self)
        self.signals = None  # breaks the cycle feed -> signal -> feed

    # sending

    def _fits(self, made: Any) -> bool:
        """Sends `made`, unless that would pass the queue's cap."""
        try:
            if not self.put(made):
                self._fill()
        except QueueFull as exc:
            if self.drop == "pause" and not self._held and not self._is_behind_a_queue:  # else there would be no end of it
                raise exc.with_traceback(None) from None  # it would keep lent memory alive
            self._fill()
            return False
        return True

    @property
    def _is_behind_a_queue(self) -> bool:
        """Whether packets come for some time after the PacketStream was paused: no more than the queue holds."""
        stages = [] if self._stream is None else self._stream.processors
        return self in stages and any(isinstance(stage, PacketQueue) for stage in stages[:stages.index(self)])

    def _fill(self) -> None:
        """From now on until the drain the client is slow."""
        self.full = True
        stream = self._stream
        if self.drop == "pause" and stream is not None and stream.active:
            self._held_up = True
            if not stream.hold_up():  # another thread has just stopped it
                self._held_up = False

    def _resume_stream(self) -> None:
        held_up, self._held_up = self._held_up, False
        stream = self._stream
        if held_up and stream is not None:
            stream.let_on()

    # the end

    def _end(self) -> None:
        if self.can_send():  # else on_close is on its way
            try:
                self.say_end()
            except QueueFull:
                self.full = True  # said when there is room
                return
        if self._stage == ENDING:
            self._stage = ENDED

    def _break(self, why: int) -> None:
        if self._stage < GONE:
            self._stage = ENDED
            self._drop_held()
            self.cut_off(why)

    def _drop_held(self) -> None:
        self.dropped += len(self._held)
        self._held.clear()

    def _stream_stopped(self) -> None:
        self.close()
        if not self.loop.closed:
            self.loop.call_soon(self._forget)  # it may be about to close, which is for us to see

    def _stream_closed(self) -> None:
        self.close()
        if self._stage == GONE:
            self._let_go()
        self._forget()

    def _forget(self) -> None:
        """Breaks the cycle feed -> stream -> feed once both are over; a stream that is started again tells itself."""
        stream = self._stream
        if self._stage == GONE and stream is not None and (stream.closed or stream.state is STOPPED):
            self._stream = None

    def _let_go(self) -> None:
        """The client has gone: so does its stream, if nobody else takes its packets."""
        stream = self._stream
        if stream is None or not self.close_stream or not stream.feeds_nobody:
            return
        if not stream.closed:
            stream.sink_gone()  # what its sources read from is closed with it
        if not stream.closed:
            stream.close()
        if stream.closed:  # else _stream_closed is called when it is
            _let_go_of_sources(stream)

    def _trunk_closed(self, trunk: PacketStream) -> None:
        """What the stream follows is closed; in whatever thread."""
        if trunk.error is not None:
            on_loop(self.loop, self._break, FAILED)
        else:
            assert self._stream is not None
            self._stream.close()  # behind what its queues hold

    def slot_failed(self, exc: Exception) -> None:
        """A slot raised: told to the loop. A feed is no handle, so the report names none."""
        self.loop.report(exc, None)

    def __repr__(self) -> str:
        return "<%s %s>" % (type(self).__name__, ("open", "ending", "ended", "closed")[self._stage])


def _let_go_of_sources(stream: PacketStream) -> None:
    """Detaches all sources of `stream`."""
    for source in stream.sources:
        stream.detach_source(source)


def _owned(made: Any) -> Any:
    """What may be kept: copied where it was borrowed."""
    if isinstance(made, list):
        return [own(part) for part in made]
    return made if isinstance(made, str) else own(made)
