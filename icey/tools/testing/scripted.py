"""ScriptedSocket: what recv and send meet, word by word: short reads and writes, EAGAIN, EINTR, resets, the end.

    sock = ScriptedSocket(reads=[AGAIN, b"hel", INTERRUPTED, b"lo", END], writes=[1, 0, AGAIN, ConnectionResetError])
    stream = Stream(loop, sock)

A script reads like a table; byte_at_a_time, chunked and again_storm make longer ones.

Rule: only the readiness of its descriptor is real, so that any selector can watch it.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from itertools import cycle

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Deque, Iterable, List, Optional, Sequence, Tuple, Type, Union

    Failure = Union[OSError, Type[OSError]]
    Read = Union[bytes, Failure]
    Write = Union[int, Failure, "Stall"]
    Buffer = Union[bytes, bytearray, memoryview]

AGAIN = BlockingIOError  # the kernel has nothing, or takes nothing, for now
INTERRUPTED = InterruptedError  # a signal came in between
END = b""  # the peer sends no more

_CODES = {
    BlockingIOError: errno.EAGAIN,
    InterruptedError: errno.EINTR,
    ConnectionResetError: errno.ECONNRESET,
    BrokenPipeError: errno.EPIPE,
    ConnectionAbortedError: errno.ECONNABORTED,
    ConnectionRefusedError: errno.ECONNREFUSED,
    TimeoutError: errno.ETIMEDOUT,
}


class Stall:
    """The class of STALL: the kernel takes nothing, nor tells of room, until `unstall()`."""

    def __repr__(self) -> str:
        return "STALL"


STALL = Stall()


class ScriptedSocket:
    """A stream socket that does what its script says: give it to `Stream` or `TCPSocket` in the place of a real one.

    reads: what each recv meets: bytes (cut to the size asked for, the rest stays), END, or an error: AGAIN, INTERRUPTED,
    ConnectionResetError and so on, a class or an instance. The descriptor is readable while reads are left.
    writes: what each send meets: how many bytes the kernel takes (0 too), an error, or STALL. The descriptor is
    writable but while stalled, and once the script is out the kernel takes everything.
    sendmsg: False for a platform without it.

    `sent` is what was taken, `calls` the log: ("recv", asked), ("send", offered), ("sendmsg", [offered, ...]) ... `family`,
    `type`, `proto`: as of a TCP socket.
    """

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = 0

    def __init__(self, reads: Iterable[Read] = (), writes: Iterable[Write] = (), *, sendmsg: bool = True) -> None:
        self.sent: bytearray = bytearray()
        self.calls: List[Tuple[Any, ...]] = []
        self._vectored = sendmsg
        self._reads: Deque[Read] = deque()
        self._writes: Deque[Write] = deque(writes)
        self._stalled = False
        self._shut = False
        self._near, self._far = socket.socketpair()  # only its readiness is used
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._readable = False
        self.feed(*reads)

    # for the test

    def feed(self, *reads: Read) -> None:
        """Adds to the script of reads."""
        self._reads.extend(reads)
        self._show()

    def allow(self, *writes: Write) -> None:
        """Adds to the script of writes."""
        self._writes.extend(writes)

    def unstall(self) -> None:
        """The kernel has room again."""
        self._stalled = False
        try:
            while self._far.recv(65536):
                pass
        except BlockingIOError:
            pass

    @property
    def closed(self) -> bool:
        """`close()` was called."""
        return self._near.fileno() < 0

    # for the stream

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As socket.recv."""
        self.calls.append(("recv", size))
        return self._read(size)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As socket.recv_into."""
        with memoryview(buffer) as view, view.cast("B") as room:
            size = nbytes or len(room)
            self.calls.append(("recv_into", size))
            data = self._read(size)
            room[:len(data)] = data
        return len(data)

    def send(self, data: Buffer, flags: int = 0) -> int:
        """As socket.send."""
        with memoryview(data) as view:
            self.calls.append(("send", view.nbytes))
            return self._write([view])

    def __getattr__(self, name: str) -> Any:
        if name == "sendmsg" and self.__dict__.get("_vectored"):
            return self._sendmsg
        raise AttributeError("%r object has no attribute %r" % (type(self).__name__, name))

    def shutdown(self, how: int) -> None:
        """As socket.shutdown."""
        self.calls.append(("shutdown", how))
        self._shut = self._shut or how != socket.SHUT_RD

    def close(self) -> None:
        """As socket.close."""
        self.calls.append(("close",))
        self._near.close()
        self._far.close()

    def fileno(self) -> int:
        """A real descriptor: any selector can watch it."""
        return self._near.fileno()

    def setblocking(self, flag: bool) -> None:
        """As socket.setblocking: the script never blocks."""
        self.calls.append(("setblocking", flag))

    def setsockopt(self, *arguments: Any) -> None:
        """As socket.setsockopt: noted."""
        self.calls.append(("setsockopt",) + arguments)

    def getsockopt(self, *arguments: Any) -> int:
        """As socket.getsockopt: 0, no error."""
        return 0

    def getsockname(self) -> Tuple[str, int]:
        """As socket.getsockname."""
        return ("127.0.0.1", 1)

    def getpeername(self) -> Tuple[str, int]:
        """As socket.getpeername."""
        return ("127.0.0.1", 2)

    # inside

    def _sendmsg(self, buffers: Iterable[Buffer], ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
        views = [memoryview(data) for data in buffers]
        self.calls.append(("sendmsg", [view.nbytes for view in views]))
        try:
            return self._write(views)
        finally:
            for view in views:
                view.release()

    def _read(self, size: int) -> bytes:
        self.require_open()
        try:
            if not self._reads:
                raise error_of(AGAIN)
            item = self._reads.popleft()
            if not isinstance(item, bytes):
                raise error_of(item)
            if not item:
                self._reads.appendleft(item)  # the end stays the end
            elif len(item) > size:
                self._reads.appendleft(item[size:])
            return item[:size]
        finally:
            self._show()

    def _write(self, views: Sequence[memoryview]) -> int:
        self.require_open()
        if self._shut:
            raise error_of(BrokenPipeError)
        if not self._stalled and self._writes:
            item = self._writes.popleft()
            if isinstance(item, Stall):
                self._stall()
            elif isinstance(item, int):
                return self._take(views, item)
            else:
                raise error_of(item)
        if self._stalled:
            raise error_of(AGAIN)
        return self._take(views, None)

    def _take(self, views: Sequence[memoryview], most: Optional[int]) -> int:
        taken = b"".join(views)[:most]
        self.sent += taken
        return len(taken)

    def _show(self) -> None:
        """Has the descriptor be readable while there are reads."""
        wanted = bool(self._reads)
        if wanted == self._readable:
            return
        self._readable = wanted
        if wanted:
            self._far.send(b"!")
        else:
            self._near.recv(1)

    def _stall(self) -> None:
        self._stalled = True
        try:
            while True:
                self._near.send(bytes(65536))
        except BlockingIOError:
            pass

    def require_open(self) -> None:
        """OSError, as a socket that was closed raises it."""
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def byte_at_a_time(data: bytes) -> List[bytes]:
    """A script of reads that brings `data` byte by byte."""
    return [data[i:i + 1] for i in range(len(data))]


def chunked(data: bytes, sizes: Iterable[int]) -> List[bytes]:
    """A script of reads that brings `data` in pieces of `sizes`, over and over."""
    pieces = []
    start = 0
    for size in cycle(sizes):
        if start >= len(data):
            break
        if size < 1:
            raise ValueError("a piece has 1 byte or more, not %r" % (size,))
        pieces.append(data[start:start + size])
        start += size
    if start < len(data):
        raise ValueError("data needs sizes to be cut in")
    return pieces


def again_storm(data: bytes, count: int) -> List[Read]:
    """A script of reads that brings each byte of `data` after `count` false alarms."""
    storm: List[Read] = []
    for byte in byte_at_a_time(data):
        storm += [AGAIN] * count
        storm.append(byte)
    return storm


def error_of(failure: Failure) -> OSError:
    """What a script says by `failure`, an OSError or a class of one: the exception, with the number that goes with it."""
    if isinstance(failure, OSError):
        return failure
    code = _CODES.get(failure, errno.EIO)
    return failure(code, os.strerror(code))
