"""Feed: the end of a packet's way: a stage that sends what it gets to one client, who may be slow, and may go at any time.

    ChunkedAdapter(exchange).follow(camera)          a branch of its own, off what feeds many; closed when the client goes
    stream.attach(ChunkedAdapter(exchange))          or a stage of a stream that you build

    OPEN -> ENDING -> ENDED -> GONE      ENDING: what is held goes first; ENDED: the last is said; GONE: on_close has come

    drop        while more than high water is queued for the client
    "newest"    the packet that comes is dropped
    "oldest"    up to `max_queue` packets are held, and of those the oldest is dropped
    "latest"    one is held, the newest: right for pictures
    "close"     the client is cut off
    "pause"     none is dropped here: the PacketStream is paused until there is room, for all that share it. A source that
                heeds that (of an exchange, a WebSocket, a Stream, a file) is held up, what others bring it drops and counts

Rules
- A packet is sent, or copied, before `process` returns: borrowed ones may come (its retention, BORROWED, is the truth). It is
  passed on in any case, so that several feeds may stand in one stream.
- What the client does is never an error of the stream: what is not sent to it is counted in `dropped`.
- Behind a FINAL packet, and when its PacketStream stops or closes, the feed ends in good order; where the stream fails, or what
  it follows does, it is cut, so that half of something does not look like the whole. `pause()` is what holds a stream.
- When the client has gone: `on_close`, at once; its PacketStream is closed and let go by its sources, if it has any and nobody
  else takes its packets: no slot, no other feed, no stage behind one. A stream without sources, which you write to, stays open.

Not here: what is sent and to whom (packetizers.py, packetends.py).
"""

from __future__ import annotations

from _thread import get_ident
from collections import deque

from ..base.buffer import own
from ..base.errors import QueueFull, StateError
from ..base.handle import on_loop, wrong_thread
from ..base.packet import PacketFlags
from ..base.packetadapter import PacketProcessor
from ..base.packetqueue import PacketQueue
from ..base.packetstate import ACTIVE, CLOSED, ERROR, PAUSED, STOPPED
from ..base.packetstream import PacketStream
from ..base.signal import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, Optional

    from ..base.loop import Loop
    from ..base.packet import Packet
    from ..base.signal import Signal

OPEN, ENDING, ENDED, GONE = range(4)
POLICIES = ("newest", "oldest", "latest", "close", "pause")
SLOW, FAILED, ABORTED = range(3)  # why a client is cut off

FINAL = PacketFlags.FINAL


class Feed(PacketProcessor):
    """Sends packets to one client. drop, max_queue (packets, for "oldest"): see above; ValueError for others.

    close_stream: False leaves its PacketStream open when the client has gone. `dropped`, `depth`: packets dropped, and held.
    A subclass says how: `_frame`, `_put`, `_up`, `_finish`, `_cut`, `_release`.
    """

    on_close = Event("on_close(feed): over, ended or because the client went; once, from the loop")

    def __init__(self, loop: Loop, drop: str, max_queue: int, close_stream: bool) -> None:
        if drop not in POLICIES:
            raise ValueError("drop is one of %s, not %r" % (", ".join(POLICIES), drop))
        if isinstance(max_queue, bool) or not isinstance(max_queue, int) or max_queue < 1:
            raise ValueError("max_queue is 1 packet or more, not %r" % (max_queue,))
        self.loop: Loop = loop
        self.drop = drop
        self.max_queue = 1 if drop == "latest" else max_queue
        self.close_stream = close_stream
        self.dropped = 0
        self._signals: Optional[Dict[str, Signal]] = None
        self._stage = OPEN
        self._full = False  # above high water: a drain will come
        self._held: Deque[Any] = deque()
        self._stream: Optional[PacketStream] = None  # that this is, or was, a stage of
        self._held_up = False  # that stream was paused here
        self._trunk: Optional[PacketStream] = None  # what the stream follows

    @property
    def depth(self) -> int:
        """Packets held until there is room."""
        return len(self._held)

    @property
    def closed(self) -> bool:
        """`on_close` is being emitted, or has been."""
        return self._stage == GONE

    @property
    def closing(self) -> bool:
        """No more packets are taken: it ends, has ended, or its client has gone."""
        return self._stage != OPEN or not self._up()

    def follow(self, source: Any, *, sync_state: bool = False) -> PacketStream:
        """Has this client get what `source` (a signal, an adapter, a PacketStream that may be running) brings from now on.

        Returns the branch made for that, a started PacketStream. The feed ends when a PacketStream it follows closes, and is
        cut where that failed. sync_state, and what it raises: as attach_source() and start() of a PacketStream.
        """
        self._check()
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
        """Sends it, or does with it as `drop` says; then passes it on."""
        self._check()
        made = self._frame(packet)
        if made is not None:
            self._offer(made)
        if packet.flags & FINAL:
            self.close()
        self.emit(packet)

    def close(self) -> None:
        """Ends in good order, what is held first; `on_close` follows."""
        self._check()
        if self._stage == OPEN:
            self._stage = ENDING
            if not self._held:
                self._end()

    def abort(self) -> None:
        """Cuts the client off now; `on_close` follows."""
        self._check()
        self._break(ABORTED)

    def on_stream_state(self, state: Any) -> None:
        """The PacketStream this is a stage of moved; in whatever thread."""
        if state is ACTIVE:
            self._stream = self._runs_in
            self._held_up = False  # whoever resumed it: a pause from now on is not ours
            if self._stage == GONE:
                on_loop(self.loop, self._let_go)
        elif state is ERROR:
            on_loop(self.loop, self._break, FAILED)
        elif state is STOPPED:
            on_loop(self.loop, self.close)
        elif state is CLOSED:
            on_loop(self.loop, self._stream_closed)

    # a subclass's

    def _frame(self, packet: Packet) -> Any:
        """What is to be sent for it: a list of bytes-like, or one, or str; None for nothing."""
        raise NotImplementedError

    def _put(self, made: Any) -> bool:
        """Sends it; False when the queue is above high water and a drain is due. QueueFull: nothing was taken."""
        raise NotImplementedError

    def _up(self) -> bool:
        """Whether something can be sent."""
        raise NotImplementedError

    def _finish(self) -> None:
        """The last word. QueueFull: it is said later."""
        raise NotImplementedError

    def _cut(self, why: int) -> None:
        """Cuts the client off."""
        raise NotImplementedError

    def _release(self) -> None:
        """The client has gone: detaches from what outlives it, and ends timers."""

    # sending

    def _offer(self, made: Any) -> bool:
        """Sends what was framed, or does with it as `drop` says. True: below high water."""
        if self.closing:
            self.dropped += 1
            return False
        if (not self._full or self.drop == "pause") and self._fits(made):
            return not self._full
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

    def _fits(self, made: Any) -> bool:
        """Sends it, unless that would pass the queue's cap."""
        try:
            if not self._put(made):
                self._fill()
        except QueueFull as exc:
            if self.drop == "pause":  # there is no other way not to drop it
                raise exc.with_traceback(None) from None  # it would keep lent memory alive
            self._fill()
            return False
        return True

    def _fill(self) -> None:
        """From now on until the drain the client is slow."""
        self._full = True
        stream = self._stream
        if self.drop == "pause" and stream is not None and stream.active:
            self._held_up = True
            try:
                stream.pause()
            except StateError:  # another thread has just stopped it
                self._held_up = False

    def _drained(self, *_: Any) -> None:
        """The client's queue is down to low water."""
        self._full = False
        while self._held and not self._full and self._up():
            if self._fits(self._held[0]):
                self._held.popleft()
        if self._stage == ENDING and not self._held:
            self._end()
        if not self._full:
            self._resume_stream()

    def _resume_stream(self) -> None:
        held_up, self._held_up = self._held_up, False
        stream = self._stream
        if held_up and stream is not None and stream.state is PAUSED:
            try:
                stream.resume()
            except StateError:  # another thread has just stopped it
                return

    # the end

    def _end(self) -> None:
        if self._up():  # else on_close is on its way
            try:
                self._finish()
            except QueueFull:
                self._full = True  # said when there is room
                return
        self._stage = ENDED

    def _break(self, why: int) -> None:
        if self._stage < GONE:
            self._stage = ENDED
            self._drop_held()
            self._cut(why)

    def _drop_held(self) -> None:
        self.dropped += len(self._held)
        self._held.clear()

    def _gone(self, *_: Any) -> None:
        """It is over, from the loop."""
        if self._stage == GONE:
            return
        self._stage = GONE
        self._drop_held()
        self._release()
        if self._trunk is not None:
            self._trunk.on_close.detach(self._trunk_closed)
            self._trunk = None
        self._resume_stream()
        self._let_go()
        signals, self._signals = self._signals, None
        for slot in (signals or {}).get("on_close", ()):
            try:
                slot(self)
            except Exception as exc:
                self.loop._report(exc, None)

    def _stream_closed(self) -> None:
        self.close()
        if self._stage == GONE:
            self._let_go()

    def _let_go(self) -> None:
        """The client has gone: so does its stream, if nobody else takes its packets."""
        stream = self._stream
        if stream is None or not self.close_stream or not _feeds_nobody(stream):
            return
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

    def _check(self) -> None:
        if get_ident() != self.loop._thread:
            wrong_thread(self)

    def _slots_changed(self, name: str, signal: Signal) -> None:
        """Asked for by signals."""

    def __repr__(self) -> str:
        return "<%s %s>" % (type(self).__name__, ("open", "ending", "ended", "closed")[self._stage])


def _feeds_nobody(stream: PacketStream) -> bool:
    """Whether nobody takes the packets of a stream that has sources."""
    if not stream.sources or len(stream.on_packet):
        return False
    behind = False
    for stage in stream.processors:
        if stage._signal is not None and len(stage._signal):
            return False
        if isinstance(stage, Feed):
            behind = True
            if stage._stage != GONE:
                return False
        elif behind and not isinstance(stage, PacketQueue):
            return False
    return True


def _let_go_of_sources(stream: PacketStream) -> None:
    for source in stream.sources:
        stream.detach_source(source)


def _owned(made: Any) -> Any:
    """What may be kept: copied where it was borrowed."""
    if isinstance(made, list):
        return [own(part) for part in made]
    return made if isinstance(made, str) else own(made)
