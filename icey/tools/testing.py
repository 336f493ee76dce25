"""Aids for tests of programs on icey: a clock that jumps, a socket that follows a script, a peer without a thread.

    VirtualClock      seconds that pass when you say so
    VirtualSelector   a selector that, instead of waiting, has the clock jump to the next timer
    virtual_loop      a Loop on both: an hour of deadlines passes in no time, and the same way each time
    ScriptedSocket    what recv and send meet, word by word: short reads and writes, EAGAIN, EINTR, resets, the end
    Peer              the other end of a real connection, driven from the same thread as the loop

A test with a script reads like a table:

    loop, clock = virtual_loop()
    sock = ScriptedSocket(reads=[AGAIN, b"hel", INTERRUPTED, b"lo", END], writes=[1, 0, AGAIN, ConnectionResetError])
    stream = Stream(loop, sock)

Rules: the virtual clock stands still while any descriptor is ready, and knows nothing of other threads and processes: a
test that waits for one of those takes a real loop. Nothing here is needed to run icey, only to test with it.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections import deque
from itertools import cycle

from ..base.errors import Deadline, StateError
from ..base.loop import Loop
from ..net.address import AF_UNIX, Address
from ..net.tcp import AT_ONCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Iterable, List, Mapping, Optional, Sequence, Tuple, Type, Union

    Failure = Union[OSError, Type[OSError]]
    Read = Union[bytes, Failure]
    Write = Union[int, Failure, "Stall"]
    Buffer = Union[bytes, bytearray, memoryview]

PATIENCE = 5.0  # real seconds until a wait that nothing can end is called one

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


class VirtualClock:
    """A clock for `Loop(clock=...)`: call it for its seconds, `advance` it to make them pass."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Has `seconds` pass; ValueError for less than none."""
        if not seconds >= 0:
            raise ValueError("a clock goes forward: advance() takes 0 seconds or more, not %r" % (seconds,))
        self._now += seconds

    def __repr__(self) -> str:
        return "VirtualClock(%r)" % self._now


class VirtualSelector(selectors.BaseSelector):
    """The system's default selector, but for the waiting: where none is ready, `clock` advances by the timeout.

    A wait without a timeout (nothing is scheduled) is a real one; after `patience` seconds it is StateError.
    """

    def __init__(self, clock: VirtualClock, patience: float = PATIENCE) -> None:
        self._clock = clock
        self._patience = patience
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As BaseSelector.register."""
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As BaseSelector.unregister."""
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As BaseSelector.modify."""
        return self._real.modify(fileobj, events, data)

    def select(self, timeout: Optional[float] = None) -> List[Tuple[selectors.SelectorKey, int]]:
        """The ready ones; where there are none the clock has moved by `timeout`."""
        ready = self._real.select(0)
        if ready:
            return ready
        if timeout is None:
            ready = self._real.select(self._patience)
            if not ready:
                raise StateError(
                    "nothing is scheduled and no descriptor turned ready in %g s: the loop would wait for ever"
                    % self._patience,
                    "close or unref what the test has finished with, or post what it waits for",
                    "a loop runs until nothing keeps it alive",
                )
        elif timeout > 0:
            self._clock.advance(timeout)
        return ready

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """As BaseSelector.get_map."""
        return self._real.get_map()

    def close(self) -> None:
        """Frees the selector."""
        self._real.close()


def virtual_loop(
    debug: Optional[bool] = None, *, start: float = 0.0, patience: float = PATIENCE
) -> Tuple[Loop, VirtualClock]:
    """A Loop on a virtual clock, and that clock."""
    clock = VirtualClock(start)
    return Loop(debug, clock=clock, selector=VirtualSelector(clock, patience)), clock


class ScriptedSocket:
    """A stream socket that does what its script says: give it to `Stream` or `TCPSocket` in the place of a real one.

    reads: what each recv meets: bytes (cut to the size asked for, the rest stays), END, or an error: AGAIN, INTERRUPTED,
    ConnectionResetError and so on, a class or an instance. The descriptor is readable while reads are left.
    writes: what each send meets: how many bytes the kernel takes (0 too), an error, or STALL. The descriptor is
    writable but while stalled, and once the script is out the kernel takes everything.
    sendmsg: False for a platform without it.

    `sent` is what was taken, `calls` the log: ("recv", asked), ("send", offered), ("sendmsg", [offered, ...]) ...
    """

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = 0

    def __init__(self, reads: Iterable[Read] = (), writes: Iterable[Write] = (), *, sendmsg: bool = True) -> None:
        self.sent = bytearray()
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
        self._require_open()
        try:
            if not self._reads:
                raise _error(AGAIN)
            item = self._reads.popleft()
            if not isinstance(item, bytes):
                raise _error(item)
            if not item:
                self._reads.appendleft(item)  # the end stays the end
            elif len(item) > size:
                self._reads.appendleft(item[size:])
            return item[:size]
        finally:
            self._show()

    def _write(self, views: Sequence[memoryview]) -> int:
        self._require_open()
        if self._shut:
            raise _error(BrokenPipeError)
        if not self._stalled and self._writes:
            item = self._writes.popleft()
            if isinstance(item, Stall):
                self._stall()
            elif isinstance(item, int):
                return self._take(views, item)
            else:
                raise _error(item)
        if self._stalled:
            raise _error(AGAIN)
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

    def _require_open(self) -> None:
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


class Peer:
    """The other end of a connection to something on `loop`: each wait turns the loop, so that no thread is needed.

    Made of a connected socket, or by `Peer.connect(loop, address)`. A wait of `patience` real seconds is Deadline.
    """

    def __init__(self, loop: Loop, sock: socket.socket, patience: float = PATIENCE) -> None:
        sock.setblocking(False)
        self.loop = loop
        self.sock = sock
        self.ended = False
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


def _error(failure: Failure) -> OSError:
    if isinstance(failure, OSError):
        return failure
    code = _CODES.get(failure, errno.EIO)
    return failure(code, os.strerror(code))
