"""MemorySocket: one side of a connection that is nowhere but in memory: what a Stream is given in the place of a socket.

The Stream reads what the test has sent, and writes into a buffer of `room` bytes, which the test takes from (wire.py). So there
is back-pressure as with a kernel: a peer that does not read has the Stream queue, and its deadlines count.

Rules
- Its number is none of the system's, and above all that the system gives. VirtualSelector (clock.py) knows it; other selectors
  refuse it.
- It ends as TCP does: closed with input unread, or with SO_LINGER set to no time, it is a reset for the peer. So is the end of
  the peer: its reset comes behind what it sent before, and of sends to one that has closed the first is taken.
"""

from __future__ import annotations

import errno
import os
import socket
from itertools import count
from selectors import EVENT_READ, EVENT_WRITE
from weakref import WeakValueDictionary

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple, Union

    Buffer = Union[bytes, bytearray, memoryview]

ROOM = 65536  # bytes that the peer has not taken, at most
HIGHEST = 0x7FFFFFFF  # a descriptor is a C int

_numbers = count(HIGHEST, -1)
_open: WeakValueDictionary[int, MemorySocket] = WeakValueDictionary()


def socket_of(number: int) -> Optional[MemorySocket]:
    """The open MemorySocket of this number, None for a descriptor of the system."""
    return _open.get(number)


class MemorySocket:
    """A stream socket in memory. local, peer: what it says its addresses are, as the socket module writes them.

    What the test does and sees, by its Wire: `came`: bytes sent to it and not read yet; `ended`: no more will come; `gone`:
    the peer reads no more, closed or by a reset (`reset`); `sent`: bytes that the peer has not taken; `shut`: it sends no more;
    `closed`; `cut`: its end is a reset.
    """

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = 0

    def __init__(self, local: Tuple[str, int], peer: Tuple[str, int], room: int = ROOM) -> None:
        self.came: bytearray = bytearray()
        self.ended: bool = False
        self.gone: bool = False
        self.reset: bool = False
        self.sent: bytearray = bytearray()
        self.shut: bool = False
        self.closed: bool = False
        self.cut: bool = False
        self._local = local
        self._peer = peer
        self._room = room
        self._refused = False  # something was sent to a peer that has closed
        self._number = next(_numbers)
        _open[self._number] = self

    def ready(self) -> int:
        """What a selector would say: EVENT_READ, EVENT_WRITE, both, or 0."""
        readable = self.came or self.ended or self.gone
        writable = len(self.sent) < self._room or self.gone
        return (EVENT_READ if readable else 0) | (EVENT_WRITE if writable else 0)

    # for the stream

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As socket.recv."""
        self._require_open()
        if self.reset and not self.came:
            raise _error(ConnectionResetError, errno.ECONNRESET)
        data = bytes(self.came[:size])
        del self.came[:size]
        if not data and not self.ended:
            raise _error(BlockingIOError, errno.EAGAIN)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As socket.recv_into."""
        with memoryview(buffer) as view, view.cast("B") as room:
            data = self.recv(nbytes or len(room))
            room[:len(data)] = data
        return len(data)

    def send(self, data: Buffer, flags: int = 0) -> int:
        """As socket.send."""
        self._require_open()
        if self.shut or self._refused:
            raise _error(BrokenPipeError, errno.EPIPE)
        if self.reset:
            raise _error(ConnectionResetError, errno.ECONNRESET)
        with memoryview(data) as view, view.cast("B") as octets:
            taken = min(len(octets), self._room - len(self.sent))
            if self.gone:  # the kernel takes it, and hears then that nobody is there
                self._refused = bool(octets)
                return taken
            if not taken and len(octets):
                raise _error(BlockingIOError, errno.EAGAIN)
            self.sent += octets[:taken]
        return taken

    def shutdown(self, how: int) -> None:
        """As socket.shutdown."""
        self._require_open()
        self.shut = self.shut or how != socket.SHUT_RD

    def close(self) -> None:
        """As socket.close."""
        if not self.closed:
            self.cut = self.cut or bool(self.came)
            self.closed = True
            _open.pop(self._number, None)

    def fileno(self) -> int:
        """Its number, -1 once it is closed."""
        return -1 if self.closed else self._number

    def setblocking(self, flag: bool) -> None:
        """As socket.setblocking: it never blocks."""

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """As socket.setsockopt: SO_LINGER is the one that counts."""
        self.cut = self.cut or (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        """As socket.getsockopt: 0, no error; of what has a size the system tells nothing."""
        return bytes(0) if size else 0

    def getsockname(self) -> Tuple[str, int]:
        """As socket.getsockname."""
        self._require_open()
        return self._local

    def getpeername(self) -> Tuple[str, int]:
        """As socket.getpeername."""
        self._require_open()
        return self._peer

    def _require_open(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _error(kind: Any, number: int) -> OSError:
    error: OSError = kind(number, os.strerror(number))
    return error
