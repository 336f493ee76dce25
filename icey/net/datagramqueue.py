"""What a datagram socket keeps: the datagrams that the kernel has not taken yet, and the senders it has heard of.

Rules
- A datagram is whole or not there: none is ever cut.
- `size` counts bytes, an empty datagram as one, so that no number of them passes for an empty queue.
- A borrowed datagram is kept by reference. DebugDatagramQueue, chosen where a loop is in debug mode, keeps its checksum as
  well, and `first` raises BorrowError when the memory was changed since.

Not here: the kernel (datagram.py).
"""

from __future__ import annotations

from collections import deque

from ..base import debug
from ..base.buffer import Loan
from .address import Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict

    from ..base.buffer import Data, Done

MOST_SENDERS = 256


class Datagram:
    """`data` to `address`, which is what the socket module takes, or None for the peer of a connected socket."""

    __slots__ = ("data", "address", "done")

    def __init__(self, data: Data, address: Any, done: Done) -> None:
        self.data = data
        self.address = address
        self.done = done


class LentDatagram(Datagram):
    """One whose data is the caller's memory, with the checksum it had when it was sent."""

    __slots__ = ("loan",)

    def __init__(self, data: Data, address: Any, done: Done) -> None:
        super().__init__(data, address, done)
        self.loan = Loan(memoryview(data), None, debug.stack())


class DatagramQueue:
    """First in, first out."""

    __slots__ = ("size", "_waiting")

    def __init__(self) -> None:
        self.size = 0
        self._waiting: Deque[Datagram] = deque()

    def add(self, data: Data, address: Any, done: Done, borrowed: bool) -> None:
        """Appends one. borrowed: its memory is the caller's."""
        self._append(Datagram(data, address, done))

    def first(self) -> Datagram:
        """The next one to send; it stays until `pop`."""
        return self._waiting[0]

    def pop(self) -> None:
        """The first one has left."""
        self.size -= len(self._waiting.popleft().data) or 1

    def clear(self) -> None:
        """Lets go of everything."""
        self._waiting.clear()
        self.size = 0

    def _append(self, datagram: Datagram) -> None:
        self._waiting.append(datagram)
        self.size += len(datagram.data) or 1


class DebugDatagramQueue(DatagramQueue):
    """Checks what was borrowed before it is sent."""

    __slots__ = ()

    def add(self, data: Data, address: Any, done: Done, borrowed: bool) -> None:
        """As DatagramQueue.add, with a checksum of what can be changed."""
        kind = LentDatagram if borrowed and type(data) is not bytes else Datagram
        self._append(kind(data, address, done))

    def first(self) -> Datagram:
        """As DatagramQueue.first; BorrowError where the memory was changed."""
        datagram = self._waiting[0]
        if type(datagram) is LentDatagram:
            datagram.loan.verify()
        return datagram


class Senders(Dict[Any, Address] if TYPE_CHECKING else dict):  # type: ignore[misc]
    """`senders[sockaddr]` is its Address. The last of them are remembered, full it starts anew: whoever floods a socket from
    ever other addresses costs time, not memory.
    """

    __slots__ = ()

    def __missing__(self, sockaddr: Any) -> Address:
        if len(self) >= MOST_SENDERS:
            self.clear()
        address = self[sockaddr] = Address.from_sockaddr(sockaddr)
        return address
