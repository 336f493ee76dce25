"""Sources and sinks to start with: StreamSource, StreamSink, FileSource, TimerSource.

Rules: each belongs to a loop (`loop`), emits on it, and can be started and stopped, so that
`attach_source(..., sync_state=True)` runs it with its PacketStream. What a source read is lent: packets are borrowed, and
revoked when the chain returns. The end of the input is a FlagPacket(FINAL).

StreamSource and FileSource do not read while a PacketStream they feed is paused: nothing is dropped, and the end waits too.
(A source of several streams is held up by each of them: do not pause those.) A timer is not held up: what it makes meanwhile is
dropped.
"""

from __future__ import annotations

from .handle import on_loop
from .packet import FlagPacket, PacketFlags, RawPacket
from .packetadapter import PacketProcessor, PacketStreamAdapter
from .packetstate import PAUSED
from .timer import Idler, Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Optional, Union

    from .loop import Loop
    from .packet import Packet
    from .stream import Stream

CHUNK = 65536


class HeldSource(PacketStreamAdapter):
    """What both have in common that are held up by a paused PacketStream, in whatever thread it was paused."""

    def __init__(self, loop: Loop) -> None:
        self.loop: Loop = loop
        self._held = False

    def on_stream_state(self, state: Any) -> None:
        """A PacketStream this feeds moved: the source is held as long as that is paused."""
        on_loop(self.loop, self._hold, state is PAUSED)

    def _hold(self, held: bool) -> None:
        if held is not self._held:
            self._held = held
            if not self.loop.closed:
                self._holds()

    def _holds(self) -> None:
        """Does what `_held` says, if the source is started."""
        raise NotImplementedError


class StreamSource(HeldSource):
    """What a Stream receives, as packets of lent views. Its end of input, or its close, is a FINAL packet.

    While its PacketStream is paused it has the Stream pause.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.loop)
        self.stream = stream
        self._started = self._over = self._ended = False  # over: there is no more; ended: FINAL has gone out

    def start(self) -> None:
        """Reads from the stream from now on."""
        if not self._started:
            self.stream.on_recv.attach(self._received)
            self.stream.on_end.attach(self._final)
            self.stream.on_close.attach(self._final)
            self._started = True
            if self._held or self._over:
                self._holds()

    def stop(self) -> None:
        """Reads no more: bytes wait in the kernel. The stream stays open."""
        if self._started:
            if self._held:
                self.stream.resume()  # whoever takes it from here is not to find it paused
            self.stream.on_recv.detach(self._received)
            self.stream.on_end.detach(self._final)
            self.stream.on_close.detach(self._final)
            self._started = False

    def _received(self, stream: Stream, view: memoryview) -> None:
        self.emit(RawPacket(view))

    def _holds(self) -> None:
        if self._started:
            if self._held:
                self.stream.pause()
            else:
                self.stream.resume()
                if self._over:
                    self.loop.call_soon(self._final, self.stream)  # the PacketStream is still telling that it goes on

    def _final(self, stream: Stream) -> None:
        self._over = True
        if self._started and not (self._ended or self._held):
            self._ended = True
            self.emit(FlagPacket(PacketFlags.FINAL))


class StreamSink(PacketProcessor):
    """Sends each packet's data on a Stream (owned, so borrowed packets may go in) and passes the packet on.

    drop: False: a queue that is full is the stream's error. True: while the Stream is above high water packets are dropped
    and counted in `dropped`. close: closes the Stream behind a FINAL packet.
    """

    def __init__(self, stream: Stream, *, drop: bool = False, close: bool = False) -> None:
        self.stream = stream
        self.loop: Loop = stream.loop
        self.drop = drop
        self.close = close
        self.dropped = 0

    def process(self, packet: Packet) -> None:
        """Sends it."""
        stream = self.stream
        if packet.size:
            if stream.closing or (self.drop and stream.queued >= stream.high_water):
                self.dropped += 1
            else:
                stream.send_owned(packet.data)
        if packet.flags & PacketFlags.FINAL and self.close:
            stream.close()
        self.emit(packet)


class FileSource(HeldSource):
    """A file's content in packets of at most `chunk` bytes, one a turn of the loop, or one every `interval` seconds.

    While its PacketStream is paused it does not read: a slow client (a ChunkedAdapter with drop="pause") gets all of it.
    file: a path, opened at start and closed at the end, or an open binary file, which stays open. Ends with a FINAL packet.
    A file that cannot be read ends without one: the OSError goes to `loop.on_error`.
    """

    def __init__(
        self, loop: Loop, file: Any, *, chunk: int = CHUNK, interval: Optional[float] = None
    ) -> None:
        if chunk < 1:
            raise ValueError("chunk is 1 or more, not %r" % chunk)
        super().__init__(loop)
        self._file = file
        self._memory = bytearray(chunk)
        self._open: Optional[BinaryIO] = None
        self._pace: Union[Timer, Idler]
        if interval is None:
            self._pace = Idler(loop, self._next_chunk)
        else:
            self._pace = Timer(loop, 0, self._next_chunk, interval=interval)

    def start(self) -> None:
        """Opens the file (OSError) and begins, or goes on where `stop` left an open one."""
        if self._open is None:
            self._open = self._file if hasattr(self._file, "readinto") else open(self._file, "rb", buffering=0)
        self._holds()

    def stop(self) -> None:
        """Stops reading, and closes the file if it was opened here."""
        self._pace.stop()
        file, self._open = self._open, None
        if file is not None and file is not self._file:
            file.close()

    def _holds(self) -> None:
        if self._open is not None:
            if self._held:
                self._pace.stop()
            else:
                self._pace.start()

    def _next_chunk(self, pace: Any) -> None:
        file = self._open
        if file is None:
            return
        try:
            size = file.readinto(self._memory)  # type: ignore[attr-defined]
        except OSError:
            self.stop()
            raise
        if size:
            with memoryview(self._memory) as whole:
                self.emit(RawPacket(whole[:size]))
        else:
            self.stop()
            self.emit(FlagPacket(PacketFlags.FINAL))


class TimerSource(PacketStreamAdapter):
    """Emits what `make(count)` returns, a packet or bytes, every `interval` seconds; None emits nothing.

    count: 0, 1, 2, ... With `most` the source ends with a FINAL packet after so many.
    """

    def __init__(self, loop: Loop, interval: float, make: Callable[[int], Any], *, most: Optional[int] = None) -> None:
        self.loop: Loop = loop
        self.count = 0
        self.most = most
        self._make = make
        self._timer = Timer(loop, interval, self._beat, interval=interval)

    def start(self) -> None:
        """Begins; the first packet comes after one interval."""
        self._timer.start()

    def stop(self) -> None:
        """Stops; `start()` goes on counting."""
        self._timer.stop()

    def _beat(self, timer: Timer) -> None:
        count = self.count
        self.count += 1
        made = self._make(count)
        if made is not None:
            self.emit(made)
        if self.most is not None and self.count >= self.most:
            self.stop()
            self.emit(FlagPacket(PacketFlags.FINAL))
