"""PacketSocket: packets over a byte stream, both ways, cut by a framing; or over a UDPSocket, each a datagram.

    framing            on the wire
    LengthPrefixed(4)  big-endian length of 1, 2, 4 or 8 bytes, then the packet
    Delimited(b"\\n")   the packet, then the delimiter, which no packet may hold
    Fixed(188)         packets of one size
    None               a datagram, nothing else; its packet is a DatagramPacket with the sender's `address`

It is the source of a PacketStream, or stands alone: a slot of `on_packet`, then start().

    lines = PacketSocket(sock, Delimited(b"\\n", most=1000, unterminated=True))
    lines.on_packet += lambda packet: packet.flags or lines.send(packet)    # the end is a packet, too: empty, with FINAL
    lines.start()

Rules
- A received packet is borrowed: its data is lent until the `emit` that brings the packet returns.
- A packet of more than `most` bytes, and input that ends inside a packet, is an error of the stream: `on_error`, then
  `on_close`; the peer sees a reset. A last line without a delimiter is a packet where the framing says so (`unterminated`).
- The peer's end is a FINAL packet, and behind it, once the PacketStreams that this feeds have flushed, the stream is closed.
  With an `on_end` slot of yours it stays half open, as any Stream, and closing it is your part.
- Input that breaks is no end: the PacketStreams fail, FINAL does not come (InputSource in sources.py decides that).
- While a PacketStream that it feeds is paused it does not read, and keeps what it has read; datagrams are dropped and counted.
- Of what one read brings at most SHARE packets are told in a turn: who sends thousands of tiny ones waits for the others.
- A datagram that was truncated makes no packet: the `on_error` of the UDPSocket tells of it.
- No packet is dropped silently. A send past the socket's `max_queue` bytes is QueueFull, as with "error" of a queue; the sink
  drops and counts what comes when its stream is closing.

Not here: the bytes of a stream as they come (StreamSource in sources.py).
"""

from __future__ import annotations

from ..base.buffer import flat
from ..base.errors import NetError, PeerClosed, ProtocolError
from ..base.handle import FINISHING, on_loop
from ..net.udp import UDPSocket
from .adapter import PacketProcessor
from .packet import DatagramPacket, Packet, RawPacket
from .sources import InputSource, StreamStage
from .stream import CLOSED, STOPPED

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple, Union

    from ..base.signal import Signal
    from ..base.stream import Stream

    Framing = Union["LengthPrefixed", "Delimited", "Fixed"]

MOST = 16 << 20
SHARE = 1024  # packets of one stream in a turn of the loop: two milliseconds where each is looked at
NO_BOUND = 1 << 62


class LengthPrefixed:
    """A length of `width` bytes (1, 2, 4 or 8, big-endian) before each packet. `most`: bytes of the longest packet."""

    def __init__(self, width: int = 4, *, most: int = MOST) -> None:
        if width not in (1, 2, 4, 8):
            raise ValueError("a length has 1, 2, 4 or 8 bytes, not %r" % (width,))
        self.width = width
        self.most: int = min(most, (1 << 8 * width) - 1)

    def wrap(self, data: Any) -> List[Any]:
        """The parts to send for a packet."""
        return [len(data).to_bytes(self.width, "big"), data]

    def cut(self, buffer: Union[bytes, bytearray], at: int) -> Optional[Tuple[int, int, int]]:
        """(start, end, next) of the packet at `at`, None while it is incomplete. ProtocolError past `most`."""
        start = at + self.width
        if len(buffer) < start:
            return None
        end = start + int.from_bytes(buffer[at:start], "big")
        if end - start > self.most:
            raise ProtocolError("a packet of %d bytes, more than %d" % (end - start, self.most))
        return (start, end, end) if len(buffer) >= end else None


class Delimited:
    """`delimiter`, a byte or more, behind each packet. `most`: bytes of the longest packet, the delimiter not counted.

    `unterminated`: whether what comes behind the last delimiter, when the input ends there, is a packet too, as the last line
    of a text often is; False: the input ended inside a packet, which is an error.
    """

    def __init__(self, delimiter: bytes = b"\n", *, most: int = 65536, unterminated: bool = False) -> None:
        if not delimiter:
            raise ValueError("a delimiter has a byte or more")
        self.delimiter: bytes = bytes(delimiter)
        self.most = most
        self.unterminated = unterminated

    def wrap(self, data: Any) -> List[Any]:
        """The parts to send for a packet; ValueError for one that holds the delimiter, or makes it begin too early."""
        if (bytes(data) + self.delimiter).find(self.delimiter) < len(data):
            raise ValueError("a packet holds the delimiter %r" % self.delimiter)
        return [data, self.delimiter]

    def cut(self, buffer: Union[bytes, bytearray], at: int) -> Optional[Tuple[int, int, int]]:
        """(start, end, next) of the packet at `at`, None while it is incomplete. ProtocolError past `most`."""
        return self._found(buffer, at, at)

    def again(self, buffer: Union[bytes, bytearray], seen: int) -> Optional[Tuple[int, int, int]]:
        """As `cut` at 0, where `cut` found nothing in the first `seen` bytes: those are not searched again."""
        return self._found(buffer, 0, max(0, seen - len(self.delimiter) + 1))

    def _found(self, buffer: Union[bytes, bytearray], at: int, begin: int) -> Optional[Tuple[int, int, int]]:
        end = buffer.find(self.delimiter, begin, at + self.most + len(self.delimiter))
        if end >= 0:
            return at, end, end + len(self.delimiter)
        if len(buffer) - at >= self.most + len(self.delimiter):
            raise ProtocolError("no delimiter in %d bytes" % self.most)
        return None


class Fixed:
    """Packets of `size` bytes each."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError("packets have a byte or more, not %r" % (size,))
        self.size = size

    def wrap(self, data: Any) -> List[Any]:
        """The parts to send for a packet; ValueError for another size."""
        if len(data) != self.size:
            raise ValueError("packets have %d bytes here, this one %d" % (self.size, len(data)))
        return [data]

    def cut(self, buffer: Union[bytes, bytearray], at: int) -> Optional[Tuple[int, int, int]]:
        """(start, end, next) of the packet at `at`, None while it is incomplete."""
        end = at + self.size
        return (at, end, end) if len(buffer) >= end else None


class PacketSocket(InputSource):
    """A Stream as a source of packets, and a place to send packets to. `sink()` is that place as a stage of a PacketStream.

    It reads from `start()` to `stop()`; the bytes of an incomplete packet are kept between. The end of the input is a FINAL
    packet, then the stream is closed, unless it has an `on_end` slot of yours. Input that breaks fails the PacketStreams.
    A UDPSocket in the place of the stream has no framing and no end but its close.
    `stream`: that Stream or UDPSocket. `framing`: as given. `loop`: the stream's.
    """

    def __init__(self, stream: Union[Stream, UDPSocket], framing: Optional[Framing] = None) -> None:
        if (framing is None) != isinstance(stream, UDPSocket):
            raise ValueError("a stream needs a framing, LengthPrefixed() for one" if framing is None else
                             "a datagram is a packet as it is: leave the framing out")
        super().__init__(stream)
        self.framing: Any = framing
        self._again: Any = getattr(framing, "again", None)
        self._burst = b""  # what was read, and is being cut
        self._at = 0  # so far
        self._rest = bytearray()  # of a packet that is incomplete
        self._broken = False  # malformed
        self._parts = False  # the stream is to be closed when all is flushed
        self._yields = False  # it is the others' turn: nothing is read, nor cut, until the next

    def send(self, packet: Any, address: Any = None) -> bool:
        """Sends a packet, or bytes, in its frame, keeping its own; returns and raises as Stream.send_owned does.

        ValueError for one that the framing cannot carry. address: for datagrams alone, where to, unless the packet has an
        address of its own; a connected socket sends to its peer whatever the packet says.
        """
        data = flat(packet.data if isinstance(packet, RawPacket) else packet)
        if self.framing is None:
            own = packet.address if isinstance(packet, Packet) and self.stream.peer is None else None
            return bool(self.stream.send_owned(data, address if own is None else own))
        if address is not None:
            raise ValueError("a packet on a stream goes to the peer: leave the address out")
        most = getattr(self.framing, "most", None)
        if most is not None and len(data) > most:
            raise ValueError("a packet of %d bytes, more than %d" % (len(data), most))
        return bool(self.stream.send_owned(self.framing.wrap(data)))

    def sink(self) -> PacketProcessor:
        """A stage that sends each packet here and passes it on."""
        return _Sink(self)

    def slots(self) -> Iterator[Tuple[Signal, Callable[..., None]]]:
        """As InputSource.slots."""
        stream = self.stream
        if self.framing is None:
            yield stream.on_recv, self._arrived
        else:
            yield stream.on_recv, self._received
            yield stream.on_end, self.input_ended
            yield stream.on_error, self.input_broke
        yield stream.on_close, self.stream_closed

    def on_stream_state(self, state: Any) -> None:
        """As HeldSource; and when the streams that it feeds have flushed what came before the end, it closes its own."""
        super().on_stream_state(state)
        if state is STOPPED or state is CLOSED:
            on_loop(self.loop, self._part)

    def hold_stream(self, held: bool) -> None:
        """As InputSource; datagrams are not held up."""
        if self.framing is not None:
            super().hold_stream(held)

    def close_stream(self) -> None:
        """As InputSource; a UDPSocket is its owner's."""
        if self.framing is not None:
            super().close_stream()

    def stop(self) -> None:
        """As InputSource.stop."""
        super().stop()
        if self._yields:
            self._yields = False
            self.stream.rest(False)

    def input_broke(self, stream: Any, exc: Exception) -> None:
        """on_error: what came before is told first, also where it waited for its turn."""
        while self._yields and not self._held and stream.phase < FINISHING:
            self._take_turn(NO_BOUND)
            stream.read_last()
        super().input_broke(stream, exc)

    def pending(self) -> bool:
        """Whether there may be whole packets that were read before it was held, or stopped."""
        return bool(self._burst)

    def forget(self) -> None:
        """As InputSource."""
        self._burst, self._at = b"", 0

    def go_on(self) -> None:
        """Cuts what was read before."""
        if self._burst:
            self._cut_burst()
        self.settle()

    def conclude(self) -> None:
        """The last packet, where it may have no delimiter, FINAL, and the stream's close; or the error that it is not whole."""
        rest, framing, stream = self._rest, self.framing, self.stream
        if rest and getattr(stream, "ended", False):  # it may be closed by now, where this was held
            if not getattr(framing, "unterminated", False) or len(rest) > framing.most:
                exc = PeerClosed("the input ended inside a packet, %d bytes of it are here" % len(rest))
                stream.fail(exc)
                self.break_off(exc)
                return
            self._rest = bytearray()
            self.emit(RawPacket(bytes(rest)))
        self._parts = framing is not None and len(stream.on_end) <= 1
        super().conclude()
        self._part()

    def _part(self) -> None:
        """Closes the stream behind the end, when nothing that came is on its way any more."""
        if self._parts and self.over and not self._flowing():
            self._parts = False
            self.loop.call_soon(self.close_stream)  # slots that this is told to now may send a last word

    def _flowing(self) -> bool:
        return any(getattr(getattr(take, "__self__", None), "flowing", False) for take in self.on_packet)

    def _arrived(self, udp: UDPSocket, view: memoryview, address: Any) -> None:
        if udp.truncated:
            udp.tell_error(NetError("a datagram from %s was longer than max_size %d: no packet was made of it"
                               % (address, udp.max_size)))
        else:
            self.emit(DatagramPacket(view, 0, address))

    def _received(self, stream: Stream, view: Any) -> None:
        if self._burst:  # it was stopped, or held, and more came
            self._burst, self._at = self._burst[self._at:] + bytes(view), 0
        elif self._rest:
            seen = len(self._rest)
            self._rest += view
            if not self._completes(seen):
                return
            self._burst, self._at, self._rest = bytes(self._rest), 0, bytearray()
        else:
            self._burst, self._at = bytes(view), 0
        self._cut_burst()

    def _completes(self, seen: int) -> bool:
        """Whether there is a whole packet in what is kept, of which `seen` bytes were looked at before."""
        try:
            if self._broken:
                return False
            if self._again is not None:
                return self._again(self._rest, seen) is not None
            return self.framing.cut(self._rest, 0) is not None
        except ProtocolError as exc:
            self._malformed(exc)
            return False

    def _cut_burst(self, left: int = SHARE) -> None:
        buffer, at, whole, cut = self._burst, self._at, False, self.framing.cut
        try:
            with memoryview(buffer) as memory:
                while self.reads and left:
                    left -= 1
                    try:
                        found = cut(buffer, at)
                    except ProtocolError as exc:
                        self._malformed(exc)
                        found = None
                    if found is None:
                        whole = True
                        break
                    start, end, at = found
                    self.emit(RawPacket(memory[start:end]))
        finally:  # an exception of a slot costs no packet but its own
            if whole or at >= len(buffer):
                self._rest += buffer[at:]
                self._burst, self._at = b"", 0
            else:
                self._at = at
                if not left and self.reads:
                    self._yield()

    def _yield(self) -> None:
        """The rest of the burst waits for the next turn, and the stream, unless somebody else reads it, too."""
        stream = self.stream
        if self.loop.closed or (not stream.closed and len(stream.on_recv) > 1):
            self._cut_burst(NO_BOUND)
            return
        self._yields, self.reads = True, False
        stream.rest(True)  # no pause(): that is the user's, who may pause it, or resume it, meanwhile
        self.loop.call_soon(self._take_turn)

    def _take_turn(self, share: int = SHARE) -> None:
        if self._yields and self.stream.phase == FINISHING:  # the end of this turn tells whether what waits is still wanted
            self.loop.call_soon(self._take_turn)
        elif self._yields:
            self._yields = False
            self.reads = not self._held
            if self._burst:
                self.stream.guard(self._cut_burst, share)
            if not self._yields:
                self.stream.rest(False)
                self.settle()

    def _malformed(self, exc: ProtocolError) -> None:
        """Breaks the stream; nothing more is found."""
        self._broken = True
        self.stream.fail(PeerClosed("malformed packets: %s" % exc))


class _Sink(StreamStage):
    """Sends each RawPacket, an empty one too, on a PacketSocket. `dropped`: packets that came when its stream was closing."""

    def __init__(self, socket: PacketSocket) -> None:
        super().__init__(socket.stream)
        self._socket = socket

    def process(self, packet: Packet) -> None:
        if isinstance(packet, RawPacket):
            if self.stream.closing:
                self.lost()
            else:
                self._socket.send(packet)
        self.emit(packet)
