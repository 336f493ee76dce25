"""Packets: what flows through a PacketStream.

    Packet           the base: `flags`, `size`, `data`, `clone()`, `retain()`. Derive your own and implement `clone`
    RawPacket        bytes: owned when made of `bytes`, borrowed when made of anything mutable
    DatagramPacket   a RawPacket with an address: who sent it, or where it is to go
    FlagPacket       no payload, flags alone

Rules
- A borrowed packet lives until the outermost `write()` or `emit()` that lent it returns. Then it is revoked, and so is the view
  that its `data` was. Python has no way to revoke a slice of that view: debug mode finds those of what a source reads itself.
- `clone()` gives another packet that owns its data; `retain()` makes the same packet own its data.

Not here: where packets are lent (stream.py, adapter.py), cloned and retained (adapter.py).
"""

from __future__ import annotations

from ..base.buffer import flat
from ..base.errors import BorrowError

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Union

CONTRACT = "PacketStream is zero-copy until a boundary"
BYTES_LIKE = frozenset([bytes, bytearray, memoryview])  # what is written where it is no packet; others are bytes-like too
_new = object.__new__


class PacketFlags:
    """Bits of `packet.flags`. `FINAL`: the last packet of its stream, which stops behind it. `TEXT`: its data is UTF-8 text.

    The bits from 1 << 8 on are for applications.
    """

    FINAL = 1
    TEXT = 2


class Packet:
    """The base of packets.

    `flags`: see PacketFlags. `borrowed`: whether the data belongs to somebody else. `data`: bytes-like, empty where there is
    none. `address`: an Address in a DatagramPacket, else None. `lent`: whether the packet is inside the `write()` or `emit()`
    that will take it back.
    """

    __slots__ = ("flags", "lent")

    borrowed = False
    data: Any = b""
    address: Any = None

    def __init__(self, flags: int = 0) -> None:
        self.flags: int = flags
        self.lent: bool = False

    @property
    def size(self) -> int:
        """Bytes of payload."""
        return 0

    def clone(self) -> Packet:
        """Another packet with the same content, which it owns. A class with content of its own implements this."""
        raise NotImplementedError("%s needs a clone() to cross a queue" % type(self).__name__)

    def retain(self) -> Packet:
        """The same packet, made to own its data (which is copied once if it was borrowed)."""
        return self

    # for who lends it: the outermost write() or emit()

    def lend(self) -> Any:
        """The packet is lent from now on. Returns the loan, which `take_back` is to be given."""
        self.lent = True

    def take_back(self, loan: Any) -> bool:
        """The packet is revoked. False where something that was made from its data lives on."""
        self.lent = False
        return True

    def __repr__(self) -> str:
        return "<%s of %d bytes%s>" % (type(self).__name__, self.size, ", flags %#x" % self.flags if self.flags else "")


class FlagPacket(Packet):
    """A marker: flags and nothing else."""

    __slots__ = ()

    def clone(self) -> FlagPacket:
        """Another one with the same flags."""
        return type(self)(self.flags)


class RawPacket(Packet):
    """Bytes. `RawPacket(b"...")` owns its data; one made of a bytearray, a memoryview and the like borrows.

    `data`: bytes, or a memoryview where it was borrowed. `flags`, `borrowed`: as Packet's.
    """

    __slots__ = ("borrowed", "_data")

    def __init__(self, data: Any, flags: int = 0) -> None:
        self.flags = flags
        self.lent: bool = False
        if type(data) is bytes:
            self.borrowed: bool = False
            self._data: Any = data
        else:
            self.borrowed = True
            self._data = _view(data)

    @property
    def data(self) -> Union[bytes, memoryview]:
        """The payload. BorrowError once the packet was revoked."""
        if self._data is None:
            raise _revoked()
        data: Union[bytes, memoryview] = self._data
        return data

    @property
    def size(self) -> int:
        """Bytes of payload. BorrowError once the packet was revoked."""
        return len(self.data)

    def clone(self) -> RawPacket:
        """Another packet that owns the data: shared where it is immutable, copied where it was borrowed."""
        data = self._data
        if type(data) is not bytes:
            data = bytes(self.data)
        return raw_packet(data, self.flags) if type(self) is RawPacket else type(self)(data, self.flags)

    def retain(self) -> RawPacket:
        """The same packet, owning its data from now on."""
        if self.borrowed:
            self._data = bytes(self.data)
            self.borrowed = False
        return self

    def lend(self) -> Any:
        """As Packet.lend."""
        self.lent = True
        return self._data

    def take_back(self, loan: Any) -> bool:
        """As Packet.take_back; the view that `data` was is released."""
        self.lent = False
        if self.borrowed:
            self._data = None
        if loan is not None:
            try:
                loan.release()  # of one retained meanwhile too: who kept the view is not who retained
            except BufferError:
                return False
        return True

    def __repr__(self) -> str:
        return "<RawPacket, revoked>" if self._data is None else super().__repr__()


class DatagramPacket(RawPacket):
    """A RawPacket with an `address`: who sent it, or where it is to go."""

    __slots__ = ("address",)

    def __init__(self, data: Any, flags: int = 0, address: Any = None) -> None:
        super().__init__(data, flags)
        self.address: Any = address

    def clone(self) -> DatagramPacket:
        """As RawPacket.clone, with the same address."""
        return type(self)(bytes(self.data), self.flags, self.address)


def packet_of(data: Any, flags: int = 0) -> Packet:
    """`data` itself if it is a packet (with `flags` added), else a RawPacket of it."""
    if isinstance(data, Packet):
        data.flags |= flags
        return data
    return raw_packet(data, flags)


def raw_packet(data: Any, flags: int = 0) -> RawPacket:
    """RawPacket(data, flags), a fifth cheaper: where each packet of a connection is made, a call of the class is to be felt."""
    made = _new(RawPacket)
    made.flags = flags
    made.lent = False
    if type(data) is bytes:
        made.borrowed = False
        made._data = data
    else:
        made.borrowed = True
        made._data = memoryview(data) if type(data) is bytearray else _view(data)
    return made


def _view(data: Any) -> memoryview:
    view = flat(data)  # a view of our own, but for b"" where it is empty
    return memoryview(view) if type(view) is bytes else view  # type: ignore[return-value]


def lend(stage: Callable[[Any], Any], packet: Any) -> None:
    """Calls `stage` with a borrowed packet and takes it back: for the outermost call alone. BorrowError: it was kept."""
    if type(packet) is not RawPacket:
        _lend(stage, packet)
        return
    packet.lent = True  # as RawPacket.lend and take_back, two calls less: each packet of a connection comes this way
    loan = packet._data
    try:
        stage(packet)
    except BaseException:
        packet.take_back(loan)  # the traceback may hold the view: no reason to hide the exception
        raise
    packet.lent = False
    if packet.borrowed:
        packet._data = None
    if loan is not None:  # it was revoked before, and nobody has looked at it
        try:
            loan.release()
        except BufferError:
            raise _kept() from None


def _lend(stage: Callable[[Any], Any], packet: Any) -> None:
    loan = packet.lend()
    try:
        stage(packet)
    except BaseException:
        packet.take_back(loan)
        raise
    if not packet.take_back(loan):
        raise _kept()


def _kept() -> BorrowError:
    return BorrowError(
        "something made from a borrowed packet outlived the write() or emit() that lent it",
        "copy what you keep, bytes(packet.data), or packet.clone()",
        CONTRACT,
    )


def _revoked() -> BorrowError:
    return BorrowError(
        "a borrowed packet was used after the write() or emit() that lent it returned",
        "packet.clone() or packet.retain() while you have it, or an adapter that declares its retention",
        CONTRACT,
    )
