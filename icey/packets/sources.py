"""Sources and sinks to start with: StreamSource, StreamSink, FileSource, TimerSource.

    drop             of a StreamSink: what happens to a packet that comes while much is queued for the Stream
    "error", False   none is dropped: past `max_queue` bytes QueueFull is the error of the PacketStream
    "newest", True   from `high_water` bytes on the packet that comes is dropped
    "pause"          none is dropped: the PacketStream is paused until there is room, for all that share it. A source that
                     heeds that (of a Stream, a file, an exchange, a WebSocket) is held up; what other sources bring is dropped
                     by the PacketStream, and counted there

Rules
- Each belongs to a loop (`loop`). A source emits on that loop, and can be started and stopped, so that
  `attach_source(..., sync_state=True)` runs it with its PacketStream.
- The memory that a source reads into is lent: its packets are borrowed, and revoked when the chain returns. The end of the
  input is a FlagPacket(FINAL).
- An input that breaks has no end: a transport error, a stream that was aborted or that a slot's error closed, a file that
  cannot be read, a `make` that raises fail the PacketStreams that the source feeds (ERROR, `on_error`), and FINAL does not
  come. Which it is, is decided in InputSource for all that reads from a Stream.
- A StreamSource, a PacketSocket and a FileSource do not read while a PacketStream that they feed is paused: no packet is
  dropped, and the end waits too. (A source of several streams is held up by each of them.) A TimerSource is
  not held up: the packets that it makes meanwhile are dropped, and counted by the PacketStream.
- No sink drops a packet that has the flag FINAL for lack of room. A sink whose Stream is gone ends its PacketStream where
  nobody else takes the packets, and closes the Stream of a source that ran with it (`PacketStream.sink_gone`): no source runs
  for nobody.

Not here: packets cut out of a byte stream, and datagrams (socket.py).
"""

from __future__ import annotations

import os
import stat
from collections import deque

from ..base.buffer import own
from ..base.errors import NetError, QueueFull
from ..base.handle import on_loop
from ..base.idler import Idler
from ..base.lazy import left_out
from ..base.poll import Poll
from ..base.timer import Timer
from .adapter import PacketProcessor, PacketStreamAdapter, lent_to
from .packet import FlagPacket, PacketFlags, RawPacket
from .stream import ACTIVE, CLOSED, ERROR, PAUSED, STOPPED

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Deque, Dict, Iterator, Optional, Tuple, Union

    from ..base.handle import Handle
    from ..base.loop import Loop
    from ..base.signal import Signal
    from ..base.stream import Stream
    from ..base.threadpool import ThreadPool
    from ..net.udp import UDPSocket
    from .packet import Packet

FINAL = PacketFlags.FINAL
CHUNK = 65536  # bytes
SOON = 0.02  # seconds until a file that has nothing yet, and cannot be polled, is asked again
FLOWS, OVER, TOLD = range(3)  # the input of an InputSource: it comes; it has ended, or broken; that has been told
DROPS: Dict[Any, str] = {False: "error", True: "newest", "error": "error", "newest": "newest", "pause": "pause"}


class HeldSource(PacketStreamAdapter):
    """A source that is held up by a paused PacketStream, in whatever thread that was paused. `loop`: where it emits."""

    def __init__(self, loop: Loop) -> None:
        self.loop: Loop = loop
        self._held = False

    @property
    def held(self) -> bool:  # type: ignore[override]
        """Whether a PacketStream that it feeds is paused, as far as `loop` knows."""
        return self._held

    def on_stream_state(self, state: Any) -> None:
        """A PacketStream that this source feeds moved: the source is held as long as one of them is paused."""
        on_loop(self.loop, self._look_at_streams, state is PAUSED)

    @property
    def stands_for(self) -> str:
        """For a BorrowError: who may have kept a view."""
        return lent_to(self)

    def _look_at_streams(self, told: bool) -> None:
        self._hold(self.holds_up(PAUSED, told))

    def _hold(self, held: bool) -> None:
        if held is not self._held:
            self._held = held
            if not self.loop.closed:
                self._holds()

    def _holds(self) -> None:
        """Reads or does not read, as `_held` says, if the source is started."""
        raise NotImplementedError


class InputSource(HeldSource):
    """A source that reads from `stream`, a Stream or a UDPSocket: from start() to stop(), but for the time that it is held.

    How its input ends is decided here: by the peer's end, or a close of ours in good order, it ends, and FINAL is emitted; by a
    transport error, an abort or the error of a slot it breaks, and the PacketStreams that it feeds fail.
    A subclass says by `slots` what it attaches, and overrides `pending`, `go_on` and `conclude` where it keeps something.
    """

    def __init__(self, stream: Union[Stream, UDPSocket]) -> None:
        super().__init__(stream.loop)
        self.stream: Any = stream
        self.started: bool = False  # by start(), and not stopped
        self.reads: bool = False  # started, and not held
        self._input = FLOWS
        self._why: Optional[Exception] = None  # the input broke

    def start(self) -> None:
        """Reads from the stream from now on."""
        if self.started:
            return
        self.started = True
        self.reads = not self._held
        if not self.stream.closed:
            for signal, slot in self.slots():
                signal.attach(slot)
            if self._input == FLOWS and getattr(self.stream, "ended", False):
                self._input = OVER  # that was told to another
        elif self._input == FLOWS:  # it closed while this was stopped
            self._input, self._why = OVER, self._verdict()
        if self._held or self._input != FLOWS or self.pending():
            self._holds()

    def stop(self) -> None:
        """Reads no more: bytes wait in the kernel. The stream stays open."""
        if self.started:
            if self._held:
                self.hold_stream(False)  # the next user of the stream is not to find it paused
            if not self.stream.closed:
                for signal, slot in self.slots():
                    signal.detach(slot)
            self.started = self.reads = False

    def receiver_gone(self, stream: Any) -> None:
        """Nobody takes what comes: the stream is closed, behind what the slots of `stream` may send now."""
        if not self.taken_by_others(stream):
            on_loop(self.loop, self.loop.call_soon, self.close_stream)

    # for a subclass

    def slots(self) -> Iterator[Tuple[Signal, Callable[..., None]]]:
        """The signals that tell what comes, each with the slot that `start` attaches to it."""
        raise NotImplementedError

    def pending(self) -> bool:
        """Whether there is something that came before, and is to be emitted first."""
        return False

    def forget(self) -> None:
        """The stream was given up here: what is pending does not come any more."""

    def go_on(self) -> None:
        """Emits what is pending, then tells the end where it has come."""
        self.settle()

    def conclude(self) -> None:
        """The input has ended well: says so."""
        self.emit(FlagPacket(FINAL))

    def hold_stream(self, held: bool) -> None:
        """Has the stream not read, or read on."""
        if held:
            self.stream.pause()
        else:
            self.stream.resume()

    def close_stream(self) -> None:
        """The stream has done its work."""
        self.stream.close()

    @property
    def over(self) -> bool:
        """The end, or that there will be none, was told."""
        return self._input == TOLD

    def break_off(self, exc: Exception) -> None:
        """There is no end: the PacketStreams that this feeds fail with `exc`."""
        self._input = TOLD
        self.fail_streams(exc)

    def input_ended(self, stream: Any) -> None:
        """on_end: the peer sends no more."""
        self._over(None)

    def input_broke(self, stream: Any, exc: Exception) -> None:
        """on_error: the transport failed."""
        self._over(exc)

    def stream_closed(self, handle: Handle) -> None:
        """on_close: nothing more comes."""
        if self._input == FLOWS:
            why = self._verdict()
            if why is not None:
                self.forget()
            self._over(why)

    def settle(self) -> None:
        """Tells the end, if that is due: not while the source is held, unless nothing came before it breaks."""
        if self._input == OVER and self.started and not self.pending():
            if self._why is not None:
                self.break_off(self._why)
            elif not self._held:
                self._input = TOLD
                self.conclude()

    def _over(self, why: Optional[Exception]) -> None:
        if self._input == FLOWS:
            self._input, self._why = OVER, why
            if self._held or not self.pending():
                self.settle()
            else:
                self.go_on()

    def _verdict(self) -> Optional[Exception]:
        """Of a stream that is closed: None where it ended well."""
        stream = self.stream
        if getattr(stream, "ended", True) or stream.complete:
            return None
        return NetError("the stream was given up before its input had ended")

    def _holds(self) -> None:
        if self.started:
            self.reads = not self._held
            self.hold_stream(self._held)
            if not self._held and (self.pending() or self._input == OVER):
                self.loop.call_soon(self.go_on)  # the PacketStream is still telling that it goes on


class StreamSource(InputSource):
    """The bytes that a Stream receives, as packets of lent views. The end of its input is a FINAL packet, and so is its close.

    Where the Stream breaks (a reset, TLS without close_notify) or is aborted, FINAL does not come: the PacketStreams fail.
    `stream`: that Stream, which is paused while the PacketStream is. Behind the peer's end it stays open, for answers: to close
    it is its owner's part, or that of `StreamSink(close=True)`. `loop`: where it emits.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)

    def slots(self) -> Iterator[Tuple[Signal, Callable[..., None]]]:
        """As InputSource.slots."""
        stream = self.stream
        yield stream.on_recv, self._received
        yield stream.on_end, self.input_ended
        yield stream.on_error, self.input_broke
        yield stream.on_close, self.stream_closed

    def _received(self, stream: Stream, view: memoryview) -> None:
        self.emit(RawPacket(view))


class StreamStage(PacketProcessor):
    """A stage that sends on `stream`, a Stream or a UDPSocket, and ends its PacketStream when that is gone: see the rules.

    `loop`: the stream's. `dropped`: packets that were not sent. A subclass sends, and calls `lost` for what cannot be sent.
    """

    def __init__(self, stream: Union[Stream, UDPSocket]) -> None:
        self.stream: Any = stream
        self.loop: Loop = stream.loop
        self.dropped: int = 0
        self._watches = False
        self._broken: Optional[Exception] = None

    @property
    def serves(self) -> bool:  # type: ignore[override]
        """Whether what is sent still goes somewhere."""
        return self._broken is None and not self.stream.closing

    def on_stream_state(self, state: Any) -> None:
        """The PacketStream that this is a stage of moved; in whatever thread."""
        if state is ACTIVE or state is STOPPED or state is CLOSED or state is ERROR:
            on_loop(self.loop, self._look_at_stream)

    def lost(self) -> None:
        """A packet cannot be sent: it is counted, and the PacketStream ends if it sends for nobody."""
        self.dropped += 1
        self._gone()

    def _look_at_stream(self) -> None:
        stream = self.runs_in  # of moves in two threads the later one may be told first
        self._watch(stream is not None and stream.flowing)

    def _watch(self, watches: bool) -> None:
        if watches is self._watches or self.loop.closed:
            return
        self._watches = watches
        if self.stream.closed:
            if watches:
                self.loop.call_soon(self._gone)
            return
        on_error, on_close = self.stream.on_error, self.stream.on_close
        if watches:
            if hasattr(self.stream, "link"):  # a UDPSocket lives on
                on_error.attach(self._broke)
            on_close.attach(self._closed)
        else:
            on_error.detach(self._broke)
            on_close.detach(self._closed)

    def _broke(self, stream: Any, exc: Exception) -> None:
        self._broken = exc
        self._gone()

    def _closed(self, handle: Handle) -> None:
        if not self.loop.closed:
            self.loop.call_soon(self._gone)  # a source of the same stream tells its end first

    def _gone(self) -> None:
        runs_in = self.runs_in
        if runs_in is not None:
            runs_in.sink_gone(self._broken)


class StreamSink(StreamStage):
    """Sends the data of each packet on a Stream (owned, so that borrowed packets may come), and passes the packet on.

    drop: "error" (or False): QueueFull past the Stream's cap; "newest" (or True): what comes above high water is dropped;
    "pause": the sources are held until there is room, for data that must be whole. close: closes the Stream behind FINAL.
    Where the Stream breaks, and nobody else takes the packets, the PacketStream fails with its error; where it closes, the
    PacketStream is closed.
    `stream`, `drop`, `close`: as given. `loop`: the Stream's. `dropped`: packets that were not sent, above high water or
    because the Stream was closing.
    """

    dropped: int

    def __init__(self, stream: Stream, *, drop: Union[bool, str] = False, close: bool = False) -> None:
        if drop not in DROPS:
            raise ValueError("drop is one of error, newest, pause (False: error, True: newest), not %r" % (drop,))
        super().__init__(stream)
        self.drop = drop
        self.close = close
        self._policy = DROPS[drop]
        self._pauses = self._policy == "pause"
        self._looks = self._policy == "newest"  # before a packet is sent: whether it is to be
        self._waiting: Deque[Any] = deque()  # what found no room, and may not be dropped
        self._drains = False  # on_drain has our slot
        self._paused: Any = None  # the PacketStream that was paused here
        self._closes = False  # the Stream is to be closed when all is sent

    def process(self, packet: Packet) -> None:
        """Sends the packet, or drops it, or keeps it until there is room."""
        stream = self.stream
        if packet.size:
            if stream.closing:
                self.lost()
            elif self._looks and (self._waiting or (stream.queued >= stream.high_water and not packet.flags & FINAL)):
                self._crowded(packet)
            else:
                try:
                    if not stream.send_owned(packet.data) and self._pauses:
                        self._hold_up()
                except QueueFull:
                    if self._policy == "error" and not packet.flags & FINAL:
                        raise
                    self._crowded(packet)
        if packet.flags & FINAL and self.close:
            if self._waiting:
                self._closes = True
            else:
                stream.close()
        self.emit(packet)

    def _crowded(self, packet: Packet) -> None:
        """There is no room. What came before a pause, and waited in a queue, is kept, and the last packet."""
        if packet.flags & FINAL or (self._pauses and self.runs_in is not None):
            self._waiting.append(own(packet.data))
            self._looks = True
            self._hold_up()
        elif self._policy == "newest":
            self.dropped += 1
        else:
            raise QueueFull("a StreamSink without a PacketStream to pause, or behind the last packet, has no room")

    def _hold_up(self) -> None:
        """From now on until the drain there is no room."""
        if not self._drains:
            self._drains = True
            self.stream.on_drain.attach(self._drained)
        runs_in = self.runs_in
        if self._pauses and runs_in is not None and runs_in.active:
            self._paused = runs_in
            if not runs_in.hold_up():  # another thread has just stopped it
                self._paused = None

    def _drained(self, stream: Stream) -> None:
        room = True
        while self._waiting and room:
            try:
                room = stream.send_owned(self._waiting[0])
            except QueueFull:
                return
            self._waiting.popleft()
        if self._closes and not self._waiting:
            stream.close()
        elif self._waiting or not room:
            return
        else:
            stream.on_drain.detach(self._drained)
            self._drains = False
            self._looks = self._policy == "newest"
        self._let_on()

    def _let_on(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.let_on()

    def _gone(self) -> None:
        self.dropped += len(self._waiting)
        self._waiting.clear()
        super()._gone()
        self._let_on()


class FileSource(HeldSource):
    """The content of a file in packets of at most `chunk` bytes, one a turn of the loop, or one every `interval` seconds.

    While the PacketStream is paused the source does not read: a slow reader (a StreamSink or a ChunkedAdapter that pauses) gets
    it all. file: a path, opened at start and closed at the end (nonblocking: a FIFO's first writer, and what it writes, is
    waited for), or an open binary file, which stays open; one that is nonblocking, and has nothing yet, is waited for, too. The
    last packet is FINAL. Where the file cannot be read on, the PacketStreams that this feeds fail (the error goes to
    `loop.on_error` where none of them listens). `loop`: where it emits.
    threaded: a thread of a ThreadPool reads, for disks that are slow, and the loop goes on meanwhile; a path is opened on the
    loop all the same. The packets come on the loop, one behind the other.
    """

    def __init__(
        self, loop: Loop, file: Any, *, chunk: int = CHUNK, interval: Optional[float] = None, threaded: bool = False
    ) -> None:
        if chunk < 1:
            raise ValueError("chunk is 1 or more, not %r" % chunk)
        super().__init__(loop)
        self._file = file
        self._memory = bytearray(chunk)
        self._open: Optional[BinaryIO] = None
        self._fresh = False  # a FIFO that nobody is known to have written to: what looks like the end is none
        self._interval = interval
        self._sample = Timer(loop, 0, _nothing, interval=interval)  # never started: refuses wrong intervals, and wrong threads
        self._pace: Union[Timer, Idler, None] = None  # while it reads
        self._waits: Optional[Handle] = None  # for a file that has nothing yet
        self._threaded = threaded
        self._pool: Optional[ThreadPool] = None  # of one thread, so that what it is given is done in order
        self._reads: Optional[BinaryIO] = None  # the file that a thread reads from now
        # What a thread has read while this was held, or was stopped and its file stayed open; it is still in the memory.
        self._came: Optional[Tuple[Optional[int], Optional[BaseException]]] = None
        self._lends = False  # the memory, at this moment: nothing is to be read into it

    def start(self) -> None:
        """Opens the file (OSError) and begins, or goes on where `stop` left an open one."""
        self._sample.check_thread()
        if self._open is None:
            self._open = self._file if hasattr(self._file, "readinto") else open(self._file, "rb", 0, opener=_open_nonblocking)
            self._fresh = self._open is not self._file and stat.S_ISFIFO(os.fstat(self._open.fileno()).st_mode)
            if self._threaded and self._pool is None:
                self._pool = self._made_pool()
        self._holds()

    def stop(self) -> None:
        """Stops reading, and closes the file if it was opened here."""
        self._rest()
        file, self._open = self._open, None
        pool, self._pool = self._pool, None
        ours = file is not None and file is not self._file
        if ours:
            self._came = None
        if ours and pool is not None and self._reads is file and not pool.closing:
            job = pool.submit(file.close)  # type: ignore[union-attr]  # behind the read that is under way
            job.on_close += lambda job: file.close()  # type: ignore[union-attr]  # the loop was closed before it came to that
        elif ours:
            file.close()  # type: ignore[union-attr]
        if pool is not None and not self.loop.closed:
            pool.close()

    def _rest(self) -> None:
        """Reads nothing for now."""
        pace, self._pace = self._pace, None
        waits, self._waits = self._waits, None
        for handle in (pace, waits):
            if handle is not None and not self.loop.closed:
                handle.abort()

    def _holds(self) -> None:
        if self._open is not None:
            if self._held:
                self._rest()
            elif self._came is not None:
                self.loop.call_soon(self._go_on)  # the PacketStream is still telling that it goes on
            elif self._pool is not None and self._interval is None and self._waits is None:
                self._read_in_thread()
            elif self._pace is None and self._waits is None:
                self._pace = (Idler(self.loop, self._next_chunk) if self._interval is None else
                              Timer(self.loop, 0, self._next_chunk, interval=self._interval))
                self._pace.start()

    def _next_chunk(self, pace: Any) -> None:
        file = self._open
        if file is None:
            return
        if self._pool is not None:
            self._read_in_thread()
            return
        try:
            size = file.readinto(self._memory)  # type: ignore[attr-defined]
        except Exception as exc:
            self._broke(exc)
            return
        self._take(size)

    def _read_in_thread(self) -> None:
        file = self._open
        if (file is not None and self._pool is not None and self._reads is None and not self._lends
                and self._came is None and not self.loop.closed):
            self._reads = file
            read: Any = file
            self._pool.submit(read.readinto, self._memory, done=lambda size, error: self._arrived(file, size, error))

    def _arrived(self, file: Any, size: Optional[int], error: Optional[BaseException]) -> None:
        """A thread has read from `file`."""
        if self._reads is file:
            self._reads = None
        if self._open is None:
            if file is self._file:  # the next start() goes on with it
                self._came = size, error
            return
        if self._open is not file or self._reads is not None:  # it was stopped, and started again
            self._holds()
        elif self._held:
            self._came = size, error
        elif error is not None:
            self._broke(error)
        else:
            try:
                self._take(size)
            finally:  # what a slot raises costs no packet but its own
                if self._interval is None and not self._held and self._waits is None:
                    self._read_in_thread()

    def _go_on(self) -> None:
        """Emits what came while this was held."""
        came, file = self._came, self._open
        if came is not None and file is not None and not self._held:
            self._came = None
            try:
                self._arrived(file, *came)
            finally:
                if self._open is not None and not self._held:
                    self._holds()

    def _broke(self, exc: BaseException) -> None:
        self.stop()
        if not isinstance(exc, Exception) or not self.fail_streams(exc):
            raise exc

    def _take(self, size: Optional[int]) -> None:
        """`size` bytes were read; None: there are none yet, 0: there will be none."""
        if size:
            buffer = self.loop.read_buffer
            self._fresh = False
            self._lends = True
            try:
                with memoryview(self._memory) as whole:
                    view = buffer.lend_bytes(whole[:size])  # in debug mode a copy, so that a slice of it is found out
                self.emit(RawPacket(view))
            finally:
                self._lends = False
            kept = buffer.take_back(view, (self,))
            if kept is not None:
                self._broke(kept)
        elif size is None or self._fresh:
            if self._interval is None:
                self._wait()
        else:
            self.stop()
            self.emit(FlagPacket(FINAL))

    def _made_pool(self) -> ThreadPool:
        try:
            from ..base.threadpool import ThreadPool
        except ModuleNotFoundError as exc:
            raise ModuleNotFoundError(left_out(exc, "base.threadpool", "ThreadPool"), name=exc.name) from None
        return ThreadPool(self.loop, 1, name="icey file")

    def _wait(self) -> None:
        """It has nothing yet: the poller says when it has, or it is asked again soon where it cannot be polled."""
        self._rest()
        try:
            poll = Poll(self.loop, self._open)
            poll.on_readable.attach(self._readable)
            self._waits = poll
        except (OSError, ValueError, AttributeError, TypeError):  # no descriptor, or none for the poller
            self._waits = self.loop.call_later(SOON, self._readable)

    def _readable(self, told: Optional[Handle] = None) -> None:
        if told is not None:  # by the poller: there is something, or there was a writer, who has left
            self._fresh = False
        self._rest()
        self._holds()


class TimerSource(PacketStreamAdapter):
    """Emits what `make(count)` returns, a packet or bytes, every `interval` seconds; where that is None, nothing.

    `count`: calls of `make` so far: 0, 1, 2, ... `most`: calls after which a FINAL packet ends the source, 1 or more; started
    again behind its end it counts from 0. None: it goes on.
    Where `make` raises, the source stops and the PacketStreams that it feeds fail (the error goes to `loop.on_error` where none
    of them listens): FINAL does not come. `loop`: where it emits.
    """

    def __init__(self, loop: Loop, interval: float, make: Callable[[int], Any], *, most: Optional[int] = None) -> None:
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise ValueError("most is 1 call or more, or None, not %r" % (most,))
        self.loop: Loop = loop
        self.count: int = 0
        self.most = most
        self._make = make
        self._interval = interval
        self._sample = Timer(loop, interval, _nothing, interval=interval)  # never started: refuses wrong intervals and threads
        self._timer: Optional[Timer] = None  # while it runs

    def start(self) -> None:
        """Begins; the first packet comes after one interval."""
        self._sample.check_thread()
        if self._timer is None:
            if self.most is not None and self.count >= self.most:
                self.count = 0
            self._timer = Timer(self.loop, self._interval, self._beat, interval=self._interval)
            self._timer.start()

    def stop(self) -> None:
        """Stops; `start()` goes on counting."""
        timer, self._timer = self._timer, None
        if timer is not None and not self.loop.closed:
            timer.abort()

    def _beat(self, timer: Timer) -> None:
        count = self.count
        self.count += 1
        try:
            made = self._make(count)
        except Exception as exc:
            self.stop()
            if not self.fail_streams(exc):
                raise
            return
        try:
            if made is not None:
                self.emit(made)
        finally:  # also where a slot raised
            if self.most is not None and self.count >= self.most:
                self.stop()
                self.emit(FlagPacket(FINAL))


def _open_nonblocking(path: Any, flags: int) -> int:
    """The loop waits for no FIFO's writer, and for no line."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _nothing(timer: Timer) -> None:
    pass
