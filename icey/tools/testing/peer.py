"""Peer: the other end of a real connection, driven from the same thread as the loop.

    peer = Peer.connect(loop, server.address)
    peer.send(b"GET / HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n")
    head = peer.read_until(b"\\r\\n\\r\\n")

Not here: an end without a socket (wire.py).
"""

from __future__ import annotations

import socket
import time

from ...base.errors import Deadline
from ...base.loop import Loop
from ...base.stream import AT_ONCE
from ...net.address import AF_UNIX, Address
from .clock import PATIENCE

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Union

    Buffer = Union[bytes, bytearray, memoryview]


class Peer:
    """The other end of a connection to something on `loop`: each wait turns the loop, so that no thread is needed.

    Made of a connected socket, or by `Peer.connect(loop, address)`. A wait of `patience` real seconds is Deadline.
    `sock`: the socket; `ended`: the other side has ended.
    """

    def __init__(self, loop: Loop, sock: socket.socket, patience: float = PATIENCE) -> None:
        sock.setblocking(False)
        self.loop = loop
        self.sock = sock
        self.ended: bool = False
        self._patience = patience
        self._held = bytearray()

    @classmethod
    def connect(cls, loop: Loop, address: Any, patience: float = PATIENCE) -> Peer:
        """Connects to `address` (an Address, (host, port) or text)."""
        target = Address.of(address)
        if target.family is None:
            raise ValueError("a peer takes a numeric address; %r is a name" % target.host)
        sock = socket.socket(target.family, socket.SOCK_STREAM)
        try:
            sock.settimeout(patience)
            sock.connect(target.sockaddr())  # the kernel accepts for the listener
            if target.family != AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        return cls(loop, sock, patience)

    def send(self, data: Buffer) -> None:
        """Sends all of `data`, turning the loop while the kernel is full."""
        left = memoryview(data)
        until = time.monotonic() + self._patience
        while left:
            try:
                left = left[self.sock.send(left):]
            except BlockingIOError:
                self._turn(until, "%d bytes were not taken" % len(left))

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only when the end came first."""
        until = time.monotonic() + self._patience
        while len(self._held) < size and not self.ended:
            self._more(until, "%d bytes" % size)
        return self._taken(size)

    def read_until(self, ending: bytes) -> bytes:
        """The bytes up to and with `ending`; what there is when the end came first."""
        until = time.monotonic() + self._patience
        while ending not in self._held and not self.ended:
            self._more(until, repr(ending))
        place = self._held.find(ending)
        return self._taken(place + len(ending) if place >= 0 else len(self._held))

    def read_all(self) -> bytes:
        """Everything up to the end. A reset is ConnectionResetError."""
        until = time.monotonic() + self._patience
        while not self.ended:
            self._more(until, "the end")
        return self._taken(len(self._held))

    def half_close(self) -> None:
        """Sends no more; reading goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Closes in order."""
        self.sock.close()

    def reset(self) -> None:
        """Closes by a reset (RST): the other side gets ECONNRESET."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self.sock.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    def _more(self, until: float, wanted: str) -> None:
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            self._turn(until, "waited for %s" % wanted)
            return
        self._held += data
        self.ended = not data

    def _turn(self, until: float, what: str) -> None:
        if time.monotonic() > until:
            raise Deadline("the loop turned for %g s and %s; held: %r" % (self._patience, what, bytes(self._held[:4096])))
        self.loop.run_once(0)

    def _taken(self, size: int) -> bytes:
        data = bytes(self._held[:size])
        del self._held[:size]
        return data
