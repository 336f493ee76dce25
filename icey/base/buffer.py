"""Buffers: the one receive buffer a loop lends out, and the queue of what the kernel has not taken yet.

    ReadBuffer    64 KiB per loop, 256 KiB while reads fill it. `receive(sock)` reads and makes a read-only view, `take_back`
                  revokes it when the slots have returned
    WriteQueue    segments in order: borrowed (views of the caller's memory), owned (bytes), and regions of files

Contracts kept here: receive buffers are borrowed (a lent view is released; one that an export keeps alive is a BorrowError
and the buffer is replaced, never resized), `send` borrows and `send_owned` retains.

In debug mode DebugReadBuffer lends a fresh bytearray a read and probes it afterwards by a resize, which fails while a slice
or cast of the view lives on (PyPy does not tell: there the buffer is poisoned). DebugWriteQueue checks what it borrows by a
checksum of each 64 KiB.
"""

from __future__ import annotations

import gc
import sys
from binascii import crc32
from collections import deque

from . import debug
from .errors import BorrowError

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Iterable, List, Optional, Sequence, Union

    from typing_extensions import Buffer

    Data = Union[bytes, bytearray, memoryview]
    Sendable = Union[Buffer, Sequence[Buffer]]  # what a send takes: bytes-like, or several of such
    Done = Optional[Callable[[], Any]]

READ_SIZE = 65536  # what is lent at most, where reads are not filled; 4 KiB to 128 KiB measure alike
RECEIVE_SIZE = 73728  # for our own parsers: 64 KiB come in one read with a head, a frame or the records around them
LARGE_READ_SIZE = 262144  # what is lent at most, while a stream fills its reads
LEAD = 2048  # bytes in front of what a read fills: see ReadBuffer
CALM = 256  # lent reads in a row that did not fill a small buffer, until the large one goes
BLOCK = 65536
MOST_SEGMENTS = 64  # of one sendmsg: IOV_MAX is at least 16, 1024 on Linux
JOIN_BELOW = 16384  # parts smaller than this together are joined: one copy is cheaper than a vector
GATHER_BELOW = 1024  # bytes: smaller parts of a queue gather, where there are many
FEW = 64  # segments of a queue that are not counted, nor gathered
ENTRY = 256  # bytes that a segment costs beside its data
TURN_BYTES = 1 << 20  # of one stream in a turn: others wait


_TELLS_EXPORTS = sys.implementation.name == "cpython"
_POISON = b"\xdd"
_NOTHING = memoryview(b"")
# What frames hold views in.
_HOLDERS = "generator", "coroutine", "async_generator", "list", "tuple", "dict", "cell"


def flat(data: Any, wanted: str = "bytes-like data") -> Data:
    """`data` as bytes or as a flat view of its bytes. TypeError: it is not `wanted`. ValueError: not contiguous."""
    if type(data) is bytes:
        return data
    try:
        view = memoryview(data)
    except TypeError:
        raise not_bytes(data, wanted) from None
    if not view.c_contiguous:
        raise ValueError("send needs contiguous memory: pass bytes(data), or the parts as a list")
    if view.format == "B" and view.ndim == 1:
        return view
    return view.cast("B") if view.nbytes else b""  # cast() refuses empty ones


def not_bytes(data: Any, wanted: str = "bytes-like data") -> TypeError:
    """The error for `data`, which is not `wanted`: says how to make bytes of it."""
    if isinstance(data, str):
        do = "encode it first: text.encode()"
    elif isinstance(data, (list, tuple)):
        do = "join its parts first: b''.join(parts)"
    elif data is None:
        do = "an empty one is b''"
    else:
        do = "make bytes of it first, such as str(value).encode() or json.dumps(value).encode()"
    return TypeError("%s is wanted, not %s: %s" % (wanted, type(data).__name__, do))


def own(part: Data) -> bytes:
    """`part` itself where it is immutable, a view of a whole bytes object included, else a copy."""
    if type(part) is bytes:
        return part
    whole = _shown(part)
    return whole if whole is not None and len(whole) == len(part) else bytes(part)


def retain(part: Data) -> Data:
    """`part` for the queue: as `own`, and of immutable memory a view instead of a copy, but for a small rest of it."""
    whole = _shown(part)
    if whole is not None and (len(part) >= JOIN_BELOW or 2 * len(part) >= len(whole)):
        return memoryview(part)  # a view of its own: that of the caller may be released
    return own(part)


def _shown(part: Data) -> Optional[bytes]:
    """The bytes object that `part`, a view, shows in its order; None for anything else."""
    whole = part.obj if type(part) is memoryview and part.c_contiguous else None
    return whole if type(whole) is bytes else None


class ReadBuffer:
    """The receive buffer of a loop: 64 KiB, and 256 KiB once a read of a stream fills it.

    It is small again after CALM reads that did not need more, or when the stream that filled it last is closed. It is replaced,
    never resized: while a view is lent, `store` is what the view shows.

    Reads go LEAD bytes into the store. What malloc maps begins 16 bytes behind the start of a page, and what the kernel copies
    from begins at one: there are processors (AMD's) that copy five times slower where the target, page for page, is up to 64
    bytes ahead.

    `store`: the memory. `large`: whether that is 256 KiB. `lent`: the view that `receive` or `lend` made last.
    """

    __slots__ = ("store", "large", "lent", "_room", "_whole", "_mark", "_calm", "_filler")

    def __init__(self) -> None:
        self.large: bool = False
        self.lent: memoryview = _NOTHING
        self._mark = READ_SIZE  # reads of so many bytes are looked at by `_fit`
        self._calm = 0  # reads in a row that a small buffer would have held
        self._filler = 0  # id() of the socket whose read filled it last
        self._replace()

    def receive(self, sock: Any) -> Optional[memoryview]:
        """Reads from `sock`, once. A view of what came, to be given back by `take_back`; None: the end of input."""
        size = sock.recv_into(self._room)
        if size >= self._mark:
            self._fit(size, sock)
        if not size:
            return None
        view = self.lent = self._whole[:size]
        return view

    def receive_from(self, sock: Any) -> Any:
        """Receives a datagram: (size, who sent it); `lend(size)` makes the view. A large buffer stays large for it."""
        return sock.recvfrom_into(self._room)

    def lend(self, size: int) -> memoryview:
        """A view of the first `size` bytes, to be given back by `take_back`."""
        view = self.lent = self._whole[:size]
        return view

    def lend_bytes(self, data: Union[bytes, memoryview]) -> memoryview:
        """A view of `data`, which was read as bytes, under the same rule; a view is lent as it is."""
        return data if type(data) is memoryview else memoryview(data)

    def take_back(self, view: memoryview, slots: Iterable[Any]) -> Optional[BorrowError]:
        """Revokes the view. Returns the error to report when something still exports it; the buffer is then replaced."""
        try:
            view.release()
        except BufferError:
            self._replace()
            self.lent = _NOTHING
            return kept_view(slots)
        return None

    def left(self, sock: Any) -> None:
        """`sock` reads no more: where it was the one that needed a large buffer, that goes."""
        if self._filler == id(sock):
            self._resize(False, 0)

    def _fit(self, size: int, sock: Any) -> None:
        """A read filled a small buffer, or the buffer is large: decides which it is to be."""
        if size < READ_SIZE:
            self._calm += 1
            if self._calm >= CALM:
                self._resize(False, size)
        else:
            self._calm = 0
            self._filler = id(sock)
            if not self.large:
                self._resize(True, size)

    def _resize(self, large: bool, size: int) -> None:
        """The other buffer from now on; the first `size` bytes, which were just read, move along."""
        data = self.store[LEAD:LEAD + size]
        self.large = large
        self._mark = 0 if large else READ_SIZE
        self._replace()
        self.store[LEAD:LEAD + size] = data

    def _replace(self) -> None:
        self.store: bytearray = bytearray(LEAD + (LARGE_READ_SIZE if self.large else READ_SIZE))
        self._room = memoryview(self.store)[LEAD:]
        self._whole = self._room.toreadonly()

    def hand_out(self, owner: Any, view: memoryview, slots: Iterable[Any], fn: Callable[..., Any], *args: Any) -> None:
        """Calls `fn(*args)`, which gets `view` lent from here, and takes the view back, whatever happens.

        slots: who may have kept it, for the report. owner: told by `slot_failed(exc)` of what fn raised, by
        `borrow_broken(exc)` of a view that was kept.
        """
        try:
            fn(*args)
        except Exception as exc:
            owner.slot_failed(exc)
        finally:
            kept = self.take_back(view, slots)
            if kept is not None:
                owner.borrow_broken(kept)

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


class Lent(bytearray):
    """What debug mode lends: known by its class, also where more is lent meanwhile."""

    __slots__ = ()


class DebugReadBuffer(ReadBuffer):
    """A fresh buffer a read: what was stashed keeps its content, and is found out."""

    __slots__ = ()

    def receive(self, sock: Any) -> Optional[memoryview]:
        """Into new memory."""
        size = self._filled(sock.recv_into)
        if size >= self._mark:
            self._fit(size, sock)
        return self.lend(size) if size else None

    def receive_from(self, sock: Any) -> Any:
        """Into new memory."""
        return self._filled(sock.recvfrom_into)

    def _filled(self, fill: Any) -> Any:
        self._replace()
        with memoryview(self.store) as base, base[LEAD:] as room:
            return fill(room)

    def lend(self, size: int) -> memoryview:
        """A view of the first `size` bytes; nothing else exports the buffer."""
        with memoryview(self.store) as base, base.toreadonly() as whole:
            return whole[LEAD:LEAD + size]

    def _replace(self) -> None:
        self.store = Lent(LEAD + (LARGE_READ_SIZE if self.large else READ_SIZE))

    def lend_bytes(self, data: Union[bytes, memoryview]) -> memoryview:
        """A view of a copy of `data`."""
        self.store: bytearray = Lent(LEAD)
        self.store += data
        return self.lend(len(data))

    def take_back(self, view: memoryview, slots: Iterable[Any]) -> Optional[BorrowError]:
        """Finds what escaped, too."""
        store: Any = _memory(view) or self.store  # a slot may have released it
        try:
            view.release()
        except BufferError:
            return kept_view(slots)
        if not _TELLS_EXPORTS:
            store[:] = _POISON * len(store)
        elif _exported(store):
            gc.collect()  # it may only be waiting for the collector
            if _exported(store) and not _in_traceback(store):
                return kept_view(slots)
        return None

    def direct(self, data: Any) -> bool:
        """False: it may be lent memory, `parts` is to look at it."""
        return False

    def parts(self, data: Any, borrowed: bool) -> List[Data]:
        """To borrow a lent view, or a slice of one, is BorrowError."""
        parts = super().parts(data, borrowed)
        for part in parts:
            if borrowed and type(part) is memoryview and type(part.obj) is Lent:
                raise BorrowError("send() was given a lent receive view, which is revoked when the slot returns",
                                  "send_owned(view), which copies, or send(bytes(view))", "send borrows")
        return parts


def _exported(store: bytearray) -> bool:
    try:
        store.append(0)
    except BufferError:
        return True
    return False


def _in_traceback(store: bytearray) -> bool:
    """Whether all that exports `store` is in frames of an exception that somebody keeps: no slot has kept it."""
    things: List[Any] = [thing for thing in gc.get_objects() if type(thing) is memoryview and _memory(thing) is store]
    for thing in things:  # what holds one joins them
        holders = [one for one in gc.get_referrers(thing) if one is not things]
        if not holders:  # what runs
            return False
        for one in holders:
            kind = type(one).__name__
            if kind == "frame":  # it may be a generator's that waits
                holders += [of for of in gc.get_referrers(one) if type(of).__name__ in _HOLDERS[:3]]
            elif kind not in _HOLDERS:
                return False
            elif id(one) not in map(id, things):
                things.append(one)
        holders.clear()
    return bool(things)


def _memory(view: memoryview) -> Any:
    """What `view` shows; None: it is released."""
    try:
        return view.obj
    except ValueError:
        return None


def let_go(parts: Iterable[Data], kept: Iterable[Data] = ()) -> None:
    """Ends those of the views `parts`, which must be ours, that are not among `kept`: their owner may resize what they show.

    CPython ends them by itself. Elsewhere they would last until the collector comes.
    """
    if not _TELLS_EXPORTS:
        stay = set(map(id, kept))
        for part in parts:
            if type(part) is memoryview and id(part) not in stay:
                part.release()


def rest_from(part: Data, start: int) -> memoryview:
    """A view of what `part` has from byte `start` on."""
    with memoryview(part) as whole:
        return whole[start:]


def kept_view(slots: Iterable[Any]) -> BorrowError:
    """The error for a slot, one of these (functions, or as attached to a signal), that kept its view."""
    return BorrowError("a receive view, or something made from it, outlived its callback: %s" % ", ".join(map(_holder, slots)),
                       "copy what you keep, bytes(view), or hand it on at once with send_owned(view)",
                       "receive buffers are borrowed")


def _holder(slot: Any) -> str:
    """Names who may have kept a view: a source that passed it on says who."""
    slot = getattr(slot, "was", slot)
    source = getattr(slot, "__self__", slot)
    return source.stands_for if hasattr(type(source), "stands_for") else debug.place(slot)


class Segment:
    """One piece of the queue. `data`: its bytes. `done` is on the last piece of its send. `in_file`: its bytes are in a file,
    `count` of them (fileregion.py)."""

    __slots__ = ("data", "done")

    in_file = False
    count = 0

    def __init__(self, data: Data, done: Done) -> None:
        self.data: Data = data
        self.done: Done = done

    def send(self, sock: Any) -> int:
        """Of what is in a file: sends a piece, and returns its size."""
        raise NotImplementedError

    def cut(self, taken: int) -> None:
        """The first `taken` bytes are out."""
        data, self.data = self.data, rest_from(self.data, taken)
        let_go((data,))

    def keep(self) -> None:
        """Its memory is the caller's again: what may change is copied."""
        data, self.data = self.data, own(self.data)
        let_go((data,))

    def finish(self) -> None:
        """It is out, or given up."""
        let_go((self.data,))


class WriteQueue:
    """What the kernel has not taken yet, in order. `size` counts bytes held in memory, regions of files not.

    Many small parts gather in one segment: what a queue holds costs about what it says. `finished`: the `done` of sends that
    are out.
    """

    __slots__ = ("size", "finished", "_segments", "_tail")

    def __init__(self) -> None:
        self.size: int = 0
        self.finished: List[Callable[[], Any]] = []
        self._segments: Deque[Segment] = deque()
        self._tail: Optional[bytearray] = None  # the data of the last segment, while small parts gather there

    def __bool__(self) -> bool:
        return bool(self._segments)

    @property
    def cost(self) -> int:
        """Bytes of memory that it takes: `size`, and where there are many segments what each of them costs."""
        return self.size + ENTRY * max(0, len(self._segments) - FEW)

    @property
    def left(self) -> int:
        """Bytes that wait, those of regions of files included."""
        return self.size + sum(segment.count for segment in self._segments)

    def add(self, parts: List[Data], done: Done, borrowed: bool) -> None:
        """Appends the parts of one send (at least one)."""
        last = len(parts) - 1
        for index, part in enumerate(parts):
            self.size += len(part)
            self._append(part, done if index == last else None, borrowed)

    def add_file(self, region: Segment) -> None:
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
                if first.in_file:
                    if first.count:
                        total += first.send(sock)
                    if not first.count:
                        self._pop()
                    continue
                batch = self._batch()
                whole = sum(map(len, batch))  # now: of what is out, the views are ended
                taken = send_parts(sock, batch)
                total += taken
                self._advance(batch, taken)
                if taken < whole:
                    break
        except (BlockingIOError, InterruptedError):
            pass
        return total

    def keep(self) -> None:
        """on_drain is told: what still waits is borrowed no more."""
        self._tail = None
        for segment in self._segments:
            segment.keep()

    def clear(self) -> None:
        """Lets go of everything."""
        for segment in self._segments:
            segment.finish()
        self._segments.clear()
        self._tail = None
        self.size = 0

    def _append(self, part: Data, done: Done, borrowed: bool) -> None:
        if len(part) >= GATHER_BELOW or len(self._segments) < FEW:
            self._tail = None
            self._segments.append(Segment(part, done))
            return
        if self._tail is None:
            self._tail = bytearray()
            self._segments.append(Segment(self._tail, None))
        self._tail += part
        if done is not None:
            self._segments[-1].done = done
        if done is not None or len(self._tail) >= JOIN_BELOW:
            self._tail = None

    def _batch(self) -> List[Data]:
        batch: List[Data] = []
        for segment in self._segments:
            if segment.in_file or len(batch) == MOST_SEGMENTS:
                break
            batch.append(segment.data)
        return batch

    def _advance(self, batch: List[Data], taken: int) -> None:
        self.size -= taken
        for data in batch:  # by the batch, not by what is left of `taken`: a segment may be empty
            if taken < len(data):
                if taken:
                    if data is self._tail:
                        self._tail = None  # a view of it is shown from now on: it grows no more
                    self._segments[0].cut(taken)
                return
            taken -= len(data)
            self._pop()

    def _pop(self) -> None:
        segment = self._segments.popleft()
        if segment.data is self._tail:
            self._tail = None
        if segment.done is not None:
            self.finished.append(segment.done)
        if segment.in_file or not _TELLS_EXPORTS:
            segment.finish()


class Loan(Segment):
    """A borrowed block with the checksum it had when it was sent."""

    __slots__ = ("_whole", "_sum", "_stack")

    def __init__(self, data: memoryview, done: Done, stack: str) -> None:
        super().__init__(data, done)
        self._whole: Data = data
        self._sum = crc32(data)
        self._stack = stack

    def cut(self, taken: int) -> None:
        data, self.data = self.data, rest_from(self.data, taken)
        let_go((data,), (self._whole,))

    def keep(self) -> None:
        if crc32(self._whole) == self._sum:  # else it is told when its turn comes
            let_go((self._whole,), (self.data,))
            super().keep()
            self._whole, self._sum = self.data, crc32(self.data)

    def finish(self) -> None:
        let_go((self.data, self._whole))

    def verify(self) -> None:
        if crc32(self._whole) != self._sum:
            raise BorrowError(
                "a buffer given to send() was changed before the kernel had taken it; it was sent at:\n%s\n" % self._stack,
                "leave it alone until on_drain or the done callback, or use send_owned(data), which copies", "send borrows")


class DebugWriteQueue(WriteQueue):
    """Checks each borrowed block before it is sent; BorrowError from `flush` where one was changed."""

    __slots__ = ()

    def _append(self, part: Data, done: Done, borrowed: bool) -> None:
        if not borrowed or type(getattr(part, "obj", part)) is bytes:  # bytes do not change, seen through a view either
            super()._append(part, done, borrowed)
            return
        self._tail = None
        stack = debug.stack()
        with memoryview(part) as view:
            for start in range(0, len(view), BLOCK):
                block = view[start:start + BLOCK]
                self._segments.append(Loan(block, done if start + BLOCK >= len(view) else None, stack))
        let_go((part,))

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


def rest_of(parts: List[Data], taken: int) -> List[Data]:
    """What is left of `parts` after `taken` bytes."""
    for index, part in enumerate(parts):
        if taken < len(part):
            return [rest_from(part, taken) if taken else part] + parts[index + 1:]
        taken -= len(part)
    return []
