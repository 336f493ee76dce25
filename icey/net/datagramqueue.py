"""What a datagram socket keeps: the datagrams that the kernel has not taken yet, and the addresses of senders.

Rules
- A datagram is queued whole, or not at all: it is never cut.
- `size` counts bytes. An empty datagram counts as one byte, so that a queue of empty datagrams does not look empty.
- A borrowed datagram is kept by reference. DebugDatagramQueue, chosen where a loop is in debug mode, keeps a checksum as well,
  and `first` raises BorrowError when the memory was changed since.

Not here: giving datagrams to the kernel (datagram.py).
"""

from __future__ import annotations

from collections import deque

from ..base import debug
from ..base.buffer import ENTRY, FEW, Loan, own
from .address import Address

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Deque, Dict

    from ..base.buffer import Data, Done

MOST_SENDERS = 256


class Datagram:
    """A datagram. `data`: bytes-like. `address`: what the socket module takes, None for the peer of a connected socket. `done`:
    called when the kernel has taken the datagram, or None.
    """

    __slots__ = ("data", "address", "done")

    def __init__(self, data: Data, address: Any, done: Done) -> None:
        self.data: Data = data
        self.address: Any = address
        self.done: Done = done

    def keep(self) -> None:
        """Its memory is the caller's again: what may change is copied."""
        self.data = own(self.data)


class LentDatagram(Datagram):
    """A datagram whose data is the caller's memory. `loan`: that memory with the checksum that it had when it was sent."""

    __slots__ = ("loan",)

    def __init__(self, data: Data, address: Any, done: Done) -> None:
        super().__init__(data, address, done)
        self.loan: Loan = Loan(memoryview(data), None, debug.stack())

    def keep(self) -> None:
        """As Datagram.keep; memory that was changed before is left as it is, and found when its turn comes."""
        self.loan.keep()
        self.data = self.loan.data


class DatagramQueue:
    """First in, first out. `size`: bytes, an empty datagram as one."""

    __slots__ = ("size", "_waiting")

    def __init__(self) -> None:
        self.size: int = 0
        self._waiting: Deque[Datagram] = deque()

    @property
    def cost(self) -> int:
        """Bytes of memory that it takes: `size`, and where there are many datagrams what each of them costs."""
        return self.size + ENTRY * max(0, len(self._waiting) - FEW)

    def add(self, data: Data, address: Any, done: Done, borrowed: bool) -> None:
        """Appends a datagram. borrowed: the memory of `data` is the caller's."""
        self._append(Datagram(data, address, done))

    def first(self) -> Datagram:
        """The next datagram to send; it stays until `pop`."""
        return self._waiting[0]

    def pop(self) -> None:
        """The first datagram has left."""
        self.size -= len(self._waiting.popleft().data) or 1

    def keep(self) -> None:
        """on_drain is told: what still waits is borrowed no more."""
        for datagram in self._waiting:
            datagram.keep()

    def clear(self) -> None:
        """Lets go of everything."""
        self._waiting.clear()
        self.size = 0

    def _append(self, datagram: Datagram) -> None:
        self._waiting.append(datagram)
        self.size += len(datagram.data) or 1


class DebugDatagramQueue(DatagramQueue):
    """Checks borrowed memory before it is sent."""

    __slots__ = ()

    def add(self, data: Data, address: Any, done: Done, borrowed: bool) -> None:
        """As DatagramQueue.add, with a checksum of memory that can be changed."""
        kind = LentDatagram if borrowed and type(data) is not bytes else Datagram
        self._append(kind(data, address, done))

    def first(self) -> Datagram:
        """As DatagramQueue.first; BorrowError where the memory was changed."""
        datagram = self._waiting[0]
        if type(datagram) is LentDatagram:
            datagram.loan.verify()
        return datagram


class Senders(Dict[Any, Address] if TYPE_CHECKING else dict):  # type: ignore[misc]
    """`senders[sockaddr]` is the Address of a sender. At most MOST_SENDERS are remembered, then it starts anew: a flood from
    ever other addresses costs time, not memory.
    """

    __slots__ = ()

    def __missing__(self, sockaddr: Any) -> Address:
        if len(self) >= MOST_SENDERS:
            self.clear()
        address = self[sockaddr] = Address.from_sockaddr(sockaddr)
        return address
