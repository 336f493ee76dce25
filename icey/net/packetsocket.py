"""PacketSocket: packets over a byte stream, both ways, cut by a framing; or over a UDPSocket, each a datagram.

    framing            on the wire
    LengthPrefixed(4)  big-endian length of 1, 2, 4 or 8 bytes, then the packet
    Delimited(b"\\n")   the packet, then the delimiter, which no packet may hold
    Fixed(188)         packets of one size
    None               a datagram, nothing else; its packet is a DatagramPacket, whose `address` is the sender's

Rules: a received packet is borrowed: its data is lent until the `emit` that brings it returns. One past `most` bytes, and
input that ends inside a packet, is an error of the stream (`on_error`, then `on_close`); a datagram that was truncated is no
packet, it is told by the socket's `on_error`. Nothing is dropped silently.
"""

from __future__ import annotations

from ..base.buffer import flat
from ..base.errors import NetError, PeerClosed, ProtocolError
from ..base.packet import DatagramPacket, FlagPacket, Packet, PacketFlags, RawPacket
from ..base.packetadapter import PacketProcessor, PacketStreamAdapter
from .udp import UDPSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple, Union

    from ..base.loop import Loop
    from ..base.signal import Signal
    from ..base.stream import Stream

    Framing = Union["LengthPrefixed", "Delimited", "Fixed"]

MOST = 16 << 20


class LengthPrefixed:
    """A length of `width` bytes (1, 2, 4 or 8, big-endian) before each packet; packets of at most `most` bytes."""

    def __init__(self, width: int = 4, *, most: int = MOST) -> None:
        if width not in (1, 2, 4, 8):
            raise ValueError("a length has 1, 2, 4 or 8 bytes, not %r" % (width,))
        self.width = width
        self.most = min(most, (1 << 8 * width) - 1)

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
    """Each packet ends with `delimiter`; packets of at most `most` bytes without it."""

    def __init__(self, delimiter: bytes = b"\n", *, most: int = 65536) -> None:
        if not delimiter:
            raise ValueError("a delimiter has a byte or more")
        self.delimiter = bytes(delimiter)
        self.most = most

    def wrap(self, data: Any) -> List[Any]:
        """The parts to send for a packet; ValueError for one that holds the delimiter, or makes it begin too early."""
        if (bytes(data) + self.delimiter).find(self.delimiter) < len(data):
            raise ValueError("a packet holds the delimiter %r" % self.delimiter)
        return [data, self.delimiter]

    def cut(self, buffer: Union[bytes, bytearray], at: int) -> Optional[Tuple[int, int, int]]:
        """(start, end, next) of the packet at `at`, None while it is incomplete. ProtocolError past `most`."""
        end = buffer.find(self.delimiter, at, at + self.most + len(self.delimiter))
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


class PacketSocket(PacketStreamAdapter):
    """A Stream as a source of packets, and a place to send them to. `sink()` is the same as a stage of a PacketStream.

    It reads from `start()` to `stop()`; the end of the input is a FINAL packet. The stream stays its owner's to close.
    A UDPSocket in the place of the stream has no framing and no end but its close.
    """

    def __init__(self, stream: Union[Stream, UDPSocket], framing: Optional[Framing] = None) -> None:
        if (framing is None) != isinstance(stream, UDPSocket):
            raise ValueError("a stream needs a framing, LengthPrefixed() for one" if framing is None else
                             "a datagram is a packet as it is: leave the framing out")
        self.stream: Any = stream
        self.framing: Any = framing
        self.loop: Loop = stream.loop
        self._rest = bytearray()  # of a packet that is incomplete
        self._started = self._ended = self._broken = False

    def start(self) -> None:
        """Reads packets from the stream from now on."""
        if not self._started:
            for signal, slot in self._slots():
                signal.attach(slot)
            self._started = True
            if self._rest:  # what came before stop(): there may be whole packets
                self.loop.call_soon(self._received, self.stream, b"")

    def stop(self) -> None:
        """Reads no more; what is incomplete is kept."""
        if self._started:
            for signal, slot in self._slots():
                signal.detach(slot)
            self._started = False

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

    def _slots(self) -> Iterator[Tuple[Signal, Callable[..., None]]]:
        """What `start` attaches where."""
        if self.framing is None:
            yield self.stream.on_recv, self._arrived
        else:
            yield self.stream.on_recv, self._received
            yield self.stream.on_end, self._end
        yield self.stream.on_close, self._end

    def _arrived(self, udp: UDPSocket, view: memoryview, address: Any) -> None:
        if udp.truncated:
            udp._tell(NetError("a datagram from %s was longer than max_size %d: no packet was made of it"
                               % (address, udp.max_size)))
        else:
            self.emit(DatagramPacket(view, 0, address))

    def _received(self, stream: Stream, view: Any) -> None:
        if not self._started:  # a call made by start(), and stop() came first
            return
        buffer: Union[bytes, bytearray] = bytes(view)
        if self._rest:
            self._rest += buffer
            if self._cut(self._rest, 0) is None:
                return
            buffer, self._rest = bytes(self._rest), bytearray()
        at = 0
        try:
            with memoryview(buffer) as whole:
                found = self._cut(buffer, at)
                while found is not None and self._started:
                    start, end, at = found
                    self.emit(RawPacket(whole[start:end]))
                    found = self._cut(buffer, at)
        finally:  # an exception of a slot costs no packet but its own
            self._rest += buffer[at:]

    def _cut(self, buffer: Union[bytes, bytearray], at: int) -> Optional[Tuple[int, int, int]]:
        """As the framing's `cut`; malformed input breaks the stream, and nothing more is found."""
        try:
            return None if self._broken else self.framing.cut(buffer, at)
        except ProtocolError as exc:
            self._broken = True
            self.stream._break(PeerClosed("malformed packets: %s" % exc))
            return None

    def _end(self, stream: Stream) -> None:
        if self._ended:
            return
        self._ended = True
        if self._rest and not stream.closing and not self._broken:
            stream._break(PeerClosed("the input ended inside a packet, %d bytes of it are here" % len(self._rest)))
        self.emit(FlagPacket(PacketFlags.FINAL))


class _Sink(PacketProcessor):
    """Sends each RawPacket, an empty one too, on a PacketSocket. `dropped`: those that came when its stream was closing."""

    def __init__(self, socket: PacketSocket) -> None:
        self._socket = socket
        self.loop: Loop = socket.loop
        self.dropped = 0

    def process(self, packet: Packet) -> None:
        if isinstance(packet, RawPacket):
            if self._socket.stream.closing:
                self.dropped += 1
            else:
                self._socket.send(packet)
        self.emit(packet)
