"""Buffers: the one receive buffer a loop lends out, and the queue of what the kernel has not taken yet.

    ReadBuffer    64 KiB per loop. `lend(n)` makes a read-only view, `take_back` revokes it when the slots have returned
    WriteQueue    segments in order: borrowed (views of the caller's memory), owned (bytes), and regions of files

Contracts kept here: receive buffers are borrowed (a lent view is released; one that an export keeps alive is a BorrowError
and the buffer is replaced, never resized), `send` borrows and `send_owned` retains.

The Debug classes are chosen by the loop's debug mode when it is made. DebugReadBuffer lends a fresh bytearray a read and
probes it afterwards by a resize, which fails while a slice or cast of the view lives on (on PyPy, which does not tell, the
buffer is poisoned instead). DebugWriteQueue keeps a checksum of each borrowed 64 KiB block, checked before it is sent.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from binascii import crc32
from collections import deque

from . import debug
from .errors import BorrowError, NetError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Deque, Iterable, List, Optional, Union


    Data = Union[bytes, bytearray, memoryview]
    Done = Optional[Callable[[], Any]]

READ_SIZE = 65536  # 4 KiB to 128 KiB measure alike, 256 KiB costs three times
BLOCK = 65536
MOST_SEGMENTS = 64  # of one sendmsg: IOV_MAX is at least 16, 1024 on Linux
JOIN_BELOW = 16384  # parts smaller than this together are joined: one copy is cheaper than a vector
TURN_BYTES = 1 << 20  # one stream's share of a turn: others are served in between

KEPT = 1 << 23  # bytes: blocks up to this size are kept, twice as much at the end of the heap
_kept: List[int] = []

_TELLS_EXPORTS = sys.implementation.name == "cpython"
_POISON = b"\xdd"


def flat(data: Any) -> Data:
    """`data` as bytes or as a flat view of its bytes. TypeError: not bytes-like. ValueError: not contiguous."""
    if type(data) is bytes:
        return data
    view = memoryview(data)
    if not view.c_contiguous:
        raise ValueError("send needs contiguous memory: pass bytes(data), or the parts as a list")
    if view.format == "B" and view.ndim == 1:
        return view
    return view.cast("B") if view.nbytes else b""  # cast() refuses empty ones


def own(part: Data) -> bytes:
    """`part` itself where it is immutable, a view of a whole bytes object included, else a copy."""
    if type(part) is bytes:
        return part
    whole = _shown(part)
    return whole if whole is not None and len(whole) == len(part) else bytes(part)


def retain(part: Data) -> Data:
    """`part` for the queue: as `own`, and of immutable memory that is mostly still to go a view instead of a copy."""
    whole = _shown(part)
    if whole is not None and 2 * len(part) >= len(whole):
        return memoryview(part)  # a view of its own: that of the caller may be released
    return own(part)


def _shown(part: Data) -> Optional[bytes]:
    """The bytes object that `part`, a view, shows in its order; None for anything else."""
    whole = part.obj if type(part) is memoryview and part.c_contiguous else None
    return whole if type(whole) is bytes else None


def keep_freed_memory() -> None:
    """For long messages: has the allocator keep what they leave; once a process, only the first call does something.

    glibc gives blocks over 128 KiB back to the kernel when they are freed, and each page of the next one is a fault: up to 500
    an echo of 1 MiB, half of its time. Freeing one large block, never touched, raises that bound to its size (mallopt(3)).
    """
    if not _kept:
        _kept.append(len(bytes(KEPT)))


class ReadBuffer:
    """The receive buffer of a loop."""

    __slots__ = ("store", "_whole")

    def __init__(self) -> None:
        self.store = bytearray(READ_SIZE)
        self._whole = memoryview(self.store).toreadonly()

    def fresh(self) -> bytearray:
        """The memory for the next read."""
        return self.store

    def lend(self, size: int) -> memoryview:
        """A view of the first `size` bytes, to be given back by `take_back`."""
        return self._whole[:size]

    def lend_bytes(self, data: bytes) -> memoryview:
        """A view of `data`, which was read as bytes, under the same rule."""
        return memoryview(data)

    def take_back(self, view: memoryview, slots: Iterable[Any]) -> Optional[BorrowError]:
        """Revokes the view. Returns the error to report when something still exports it; the buffer is then replaced."""
        try:
            view.release()
        except BufferError:
            self.store = bytearray(READ_SIZE)
            self._whole = memoryview(self.store).toreadonly()
            return kept_view(slots)
        return None

    def direct(self, data: Any) -> bool:
        """Whether `data`, which is not bytes, can be given to the kernel as it is. What that takes is counted in bytes."""
        return type(data) is memoryview and data.c_contiguous and data.itemsize == data.ndim == 1

    def parts(self, data: Any, borrowed: bool) -> List[Data]:
        """What a send was given, bytes-like or a list or tuple of such, as flat parts without empty ones."""
        many = data if isinstance(data, (list, tuple)) else (data,)
        return [part for part in map(flat, many) if len(part)]

    def keep(self, part: Data) -> Data:
        """`part`, copied if it is (a slice of) a view lent from here, which is about to be revoked."""
        if type(part) is memoryview and part.obj is self.store:
            return bytes(part)
        return part


class DebugReadBuffer(ReadBuffer):
    """A fresh buffer a read, so that a stashed slice keeps its content and is found out."""

    __slots__ = ()

    def fresh(self) -> bytearray:
        """New memory."""
        self.store = bytearray(READ_SIZE)
        return self.store

    def lend(self, size: int) -> memoryview:
        """A view of the first `size` bytes; nothing else exports the buffer."""
        with memoryview(self.store) as base:
            with base.toreadonly() as whole:
                return whole[:size]

    def lend_bytes(self, data: bytes) -> memoryview:
        """A view of a copy of `data`: what escapes from it is found out as well."""
        self.fresh()[:len(data)] = data
        return self.lend(len(data))

    def take_back(self, view: memoryview, slots: Iterable[Any]) -> Optional[BorrowError]:
        """Revokes the view, and finds what escaped from it."""
        try:
            view.release()
        except BufferError:
            return kept_view(slots)
        if not _TELLS_EXPORTS:
            self.store[:] = _POISON * len(self.store)
        elif self._exported():
            gc.collect()  # it may only be waiting for the collector
            if self._exported():
                return kept_view(slots)
        return None

    def _exported(self) -> bool:
        try:
            self.store.append(0)
        except BufferError:
            return True
        return False

    def direct(self, data: Any) -> bool:
        """False: it may be lent memory, `parts` is to look at it."""
        return False

    def parts(self, data: Any, borrowed: bool) -> List[Data]:
        """As ReadBuffer.parts; to borrow a lent view, or a slice of one, is BorrowError."""
        parts = super().parts(data, borrowed)
        for part in parts:
            if borrowed and type(part) is memoryview and part.obj is self.store:
                raise BorrowError(
                    "send() was given a lent receive view, which is revoked when the slot returns",
                    "send_owned(view), which copies, or send(bytes(view))",
                    "send borrows",
                )
        return parts


def kept_view(slots: Iterable[Any]) -> BorrowError:
    """The error for a slot, one of these (functions, or as attached to a signal), that kept its view."""
    return BorrowError(
        "a receive view, or something made from it, outlived its callback: %s"
        % ", ".join(debug.place(getattr(slot, "was", slot)) for slot in slots),
        "copy what you keep, bytes(view), or hand it on at once with send_owned(view)",
        "receive buffers are borrowed",
    )


class _Segment:
    """One piece of the queue. `done` is on the last piece of its send."""

    __slots__ = ("data", "done")

    def __init__(self, data: Data, done: Done) -> None:
        self.data = data
        self.done = done


class FileRegion(_Segment):
    """`count` bytes of an open binary file from `offset`; `finish` closes the file if it was given away."""

    __slots__ = ("file", "offset", "count", "_close", "_fd")

    def __init__(self, file: BinaryIO, offset: int, count: int, close: bool, done: Done) -> None:
        super().__init__(b"", done)
        self.file = file
        self.offset = offset
        self.count = count
        self._close = close
        try:
            self._fd = file.fileno() if hasattr(os, "sendfile") else -1
        except (AttributeError, OSError):  # in memory, in a zip
            self._fd = -1

    def send(self, sock: Any) -> int:
        """Sends a piece; NetError where the file is shorter than promised."""
        size = min(self.count, TURN_BYTES)
        if self._fd >= 0 and isinstance(sock, socket.socket):
            try:
                taken = os.sendfile(sock.fileno(), self._fd, self.offset, size)
            except (BlockingIOError, InterruptedError):
                raise
            except OSError:  # a file system, or a kernel, without it
                self._fd = -1
                return self.send(sock)
        else:
            self.file.seek(self.offset)
            piece = self.file.read(min(size, READ_SIZE))
            taken = sock.send(piece) if piece else 0
            if piece and not taken:
                raise BlockingIOError
        if not taken:
            raise NetError("the file ended %d bytes before what was promised of it" % self.count)
        self.offset += taken
        self.count -= taken
        return taken

    def finish(self) -> None:
        """Closes the file."""
        if self._close:
            self.file.close()


class WriteQueue:
    """What the kernel has not taken yet, in order. `size` counts bytes held in memory, regions of files not."""

    __slots__ = ("size", "finished", "_segments")

    def __init__(self) -> None:
        self.size = 0
        self.finished: List[Callable[[], Any]] = []
        self._segments: Deque[_Segment] = deque()

    def __bool__(self) -> bool:
        return bool(self._segments)

    def add(self, parts: List[Data], done: Done, borrowed: bool) -> None:
        """Appends the parts of one send (at least one)."""
        last = len(parts) - 1
        for index, part in enumerate(parts):
            self.size += len(part)
            self._append(part, done if index == last else None, borrowed)

    def add_file(self, region: FileRegion) -> None:
        """Appends a region of a file."""
        self._segments.append(region)

    def flush(self, sock: Any) -> int:
        """Gives the kernel what it takes, at most about TURN_BYTES; the number of bytes. Raises OSError.

        The `done` of each send that is out is in `finished` then, for the caller to take.
        """
        total = 0
        segments = self._segments
        try:
            while segments and total < TURN_BYTES:
                first = segments[0]
                if isinstance(first, FileRegion):
                    if first.count:
                        total += first.send(sock)
                    if not first.count:
                        self._pop()
                    continue
                batch = self._batch()
                taken = send_parts(sock, batch)
                total += taken
                self._advance(batch, taken)
                if taken < sum(map(len, batch)):
                    break
        except (BlockingIOError, InterruptedError):
            pass
        return total

    def clear(self) -> None:
        """Lets go of everything."""
        for segment in self._segments:
            if isinstance(segment, FileRegion):
                segment.finish()
        self._segments.clear()
        self.size = 0

    def _append(self, part: Data, done: Done, borrowed: bool) -> None:
        self._segments.append(_Segment(part, done))

    def _batch(self) -> List[Data]:
        batch: List[Data] = []
        for segment in self._segments:
            if isinstance(segment, FileRegion) or len(batch) == MOST_SEGMENTS:
                break
            batch.append(segment.data)
        return batch

    def _advance(self, batch: List[Data], taken: int) -> None:
        self.size -= taken
        for data in batch:  # by the batch, not by what is left of `taken`: a segment may be empty
            if taken < len(data):
                if taken:
                    self._segments[0].data = memoryview(data)[taken:]
                return
            taken -= len(data)
            self._pop()

    def _pop(self) -> None:
        segment = self._segments.popleft()
        if segment.done is not None:
            self.finished.append(segment.done)
        if isinstance(segment, FileRegion):
            segment.finish()


class Loan(_Segment):
    """A borrowed block with the checksum it had when it was sent."""

    __slots__ = ("_whole", "_sum", "_stack")

    def __init__(self, data: memoryview, done: Done, stack: str) -> None:
        super().__init__(data, done)
        self._whole = data
        self._sum = crc32(data)
        self._stack = stack

    def verify(self) -> None:
        if crc32(self._whole) != self._sum:
            raise BorrowError(
                "a buffer given to send() was changed before the kernel had taken it; it was sent at:\n%s\n" % self._stack,
                "leave it alone until on_drain or the done callback, or use send_owned(data), which copies",
                "send borrows",
            )


class DebugWriteQueue(WriteQueue):
    """Checks each borrowed block before it is sent; BorrowError from `flush` where one was changed."""

    __slots__ = ()

    def _append(self, part: Data, done: Done, borrowed: bool) -> None:
        if not borrowed or type(getattr(part, "obj", part)) is bytes:  # bytes do not change, seen through a view either
            self._segments.append(_Segment(part, done))
            return
        stack = debug.stack()
        view = memoryview(part)
        for start in range(0, len(view), BLOCK):
            block = view[start:start + BLOCK]
            self._segments.append(Loan(block, done if start + BLOCK >= len(view) else None, stack))

    def _batch(self) -> List[Data]:
        first = self._segments[0]
        if isinstance(first, Loan):
            first.verify()
        return [first.data]


def send_parts(sock: Any, parts: List[Data]) -> int:
    """One send call for all parts, or for the first of them where neither joining nor sendmsg is to be had."""
    if len(parts) == 1:
        return int(sock.send(parts[0]))
    if sum(map(len, parts)) < JOIN_BELOW:
        return int(sock.send(b"".join(parts)))
    if hasattr(sock, "sendmsg"):
        return int(sock.sendmsg(parts[:MOST_SEGMENTS]))
    return int(sock.send(parts[0]))


def read_out(sock: Any, wanted: Callable[[], bool], take: Callable[[bytes], Any]) -> None:
    """Gives `take` what the kernel still has of a broken connection, while it is wanted."""
    try:
        while wanted():
            data = sock.recv(READ_SIZE)
            if not data:
                return
            take(data)
    except OSError:  # there is no more
        pass


def rest_of(parts: List[Data], taken: int) -> List[Data]:
    """What is left of `parts` after `taken` bytes."""
    for index, part in enumerate(parts):
        if taken < len(part):
            return [memoryview(part)[taken:] if taken else part] + parts[index + 1:]
        taken -= len(part)
    return []
