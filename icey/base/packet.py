"""Packets: what flows through a PacketStream.

    Packet           the base: `flags`, `size`, `data`, `clone()`, `retain()`. Derive your own and implement `clone`
    RawPacket        bytes: owned when made of `bytes`, borrowed when made of anything mutable
    DatagramPacket   a RawPacket with an address: who sent it, or where it is to go
    FlagPacket       no payload, flags alone

A borrowed packet lives until the outermost `write()` or `emit()` that lent it returns; then it is revoked, and so is the
view that its `data` was (but not a slice of that: Python cannot). `clone()` gives another packet that owns its data,
`retain()` makes the same packet own it.
"""

from __future__ import annotations

from .buffer import flat
from .errors import BorrowError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

CONTRACT = "PacketStream is zero-copy until a boundary"


class PacketFlags:
    """Bits of `packet.flags`. FINAL: the last packet of its stream, which stops behind it. TEXT: its data is UTF-8 text.

    From 1 << 8 on they are yours.
    """

    FINAL = 1
    TEXT = 2


class Packet:
    """The base of packets. `borrowed`: whether its data is somebody else's. `data`: bytes-like, empty where it has none.
    `address`: of a DatagramPacket.
    """

    __slots__ = ("flags", "_lent")

    borrowed = False
    data: Any = b""
    address: Any = None

    def __init__(self, flags: int = 0) -> None:
        self.flags = flags
        self._lent = False  # inside the write() or emit() that will take it back

    @property
    def size(self) -> int:
        """Bytes of payload."""
        return 0

    def clone(self) -> Packet:
        """Another packet with the same content, which it owns. A class with content of its own implements this."""
        raise NotImplementedError("%s needs a clone() to cross a queue" % type(self).__name__)

    def retain(self) -> Packet:
        """The same packet, made to own its data (copied once if it was borrowed)."""
        return self

    def _lend(self) -> Any:
        """Returns what `_take_back` is to be given."""
        self._lent = True

    def _take_back(self, loan: Any) -> bool:
        """The lender takes it back. False where something made from it cannot be revoked."""
        self._lent = False
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
    """Bytes. `RawPacket(b"...")` owns them; of a bytearray, memoryview and the like it borrows: `data` is a memoryview then."""

    __slots__ = ("borrowed", "_data")

    def __init__(self, data: Any, flags: int = 0) -> None:
        self.flags = flags
        self._lent = False
        if type(data) is bytes:
            self.borrowed = False
            self._data: Any = data
        else:
            self.borrowed = True
            view = flat(data)  # a view of our own, but for b"" where it is empty
            self._data = memoryview(view) if type(view) is bytes else view

    @property
    def data(self) -> Union[bytes, memoryview]:
        """The payload. BorrowError once it was revoked."""
        if self._data is None:
            raise _revoked()
        data: Union[bytes, memoryview] = self._data
        return data

    @property
    def size(self) -> int:
        """Bytes of payload. BorrowError once it was revoked."""
        return len(self.data)

    def clone(self) -> RawPacket:
        """Another packet that owns the data: shared where it is immutable, copied where it was borrowed."""
        return type(self)(bytes(self.data), self.flags)

    def retain(self) -> RawPacket:
        """The same packet, owning its data from now on."""
        if self.borrowed:
            self._data = bytes(self.data)
            self.borrowed = False
        return self

    def _lend(self) -> Any:
        self._lent = True
        return self._data

    def _take_back(self, loan: Any) -> bool:
        self._lent = False
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
        self.address = address

    def clone(self) -> DatagramPacket:
        """As RawPacket.clone, with the same address."""
        return type(self)(bytes(self.data), self.flags, self.address)


def packet_of(data: Any, flags: int = 0) -> Packet:
    """`data` itself if it is a packet (with `flags` added), else a RawPacket of it."""
    if isinstance(data, Packet):
        data.flags |= flags
        return data
    return RawPacket(data, flags)


def _revoked() -> BorrowError:
    return BorrowError(
        "a borrowed packet was used after the write() or emit() that lent it returned",
        "packet.clone() or packet.retain() while you have it, or an adapter that declares its retention",
        CONTRACT,
    )
