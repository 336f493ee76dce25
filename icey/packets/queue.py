"""The queues of a PacketStream: SyncPacketQueue onto a loop, AsyncPacketQueue onto a thread of its own.

    drop       while `maxsize` packets wait in the queue
    "oldest"   the packet that has waited longest is dropped: the packet that comes has its room
    "newest"   the packet that comes is dropped
    "error"    none is dropped: QueueFull, which is the error of the PacketStream
    "block"    none is dropped: the writer waits for room (AsyncPacketQueue alone)

Rules
- A queue is a boundary: it gets a clone of each packet (retention CLONED), and delivers in order, each packet once.
- `maxsize` and `depth` are packets, not bytes; `dropped` counts packets. (A Stream's `max_queue` is bytes.)
- The end of the stream goes through the queue as a mark, behind the packets that wait. No policy drops the mark, nor a packet
  that has the flag FINAL: for that there is always room. A packet that comes behind the mark is dropped and counted.
- A SyncPacketQueue delivers at most SHARE packets in a turn of its loop: others are served in between.
- No lock is held while packets are delivered. One is held where a packet goes in and where it goes out, for that moment.

(opt threading) for AsyncPacketQueue alone: its worker is the one thread here.

Not here: where in a graph a queue is needed (lint.py), how the end mark is sent (stream.py).
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections import deque

from ..base.errors import QueueFull, StateError
from ..base.handle import Handle, on_loop
from ..base.threads import at_end, ends_before_waiting, in_main_interpreter
from .adapter import PacketProcessor, PacketRetention
from .packet import PacketFlags

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    import threading
    import weakref
    from typing import Any, Callable, Deque, Optional, Tuple, Union

    from ..base.loop import Loop
    from .packet import Packet

    Item = Union[Packet, "_Call"]

FINAL = PacketFlags.FINAL
SHARE = 1024  # packets of a queue in a turn of its loop

_queues: Optional[weakref.WeakSet[AsyncPacketQueue]] = None  # of a sub-interpreter: whose threads its end is to end


class _Call:
    """Waits in a queue among the packets: what to call when it is reached, such as the end mark."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call: Callable[[], Any] = call


class PacketQueue(PacketProcessor):
    """What both queues share. maxsize: packets that may wait, 1 or more. drop: a policy, see above; ValueError for others.

    `maxsize`, `drop`: as given. `depth`: packets that wait now. `dropped`: packets that were dropped. `policies`: the names
    that `drop` takes. Where and when packets are delivered is decided by the subclass.
    """

    retention = PacketRetention.CLONED
    deferred = True
    policies: Tuple[str, ...] = ("oldest", "newest", "error")

    def __init__(self, maxsize: int = 1024, drop: str = "oldest") -> None:
        if isinstance(maxsize, bool) or not isinstance(maxsize, int) or maxsize < 1:
            raise ValueError("maxsize is 1 or more, not %r" % (maxsize,))
        if drop not in self.policies:
            raise ValueError("drop is one of %s, not %r" % (", ".join(self.policies), drop))
        self.maxsize = maxsize
        self.drop = drop
        self.dropped: int = 0
        self.depth: int = 0
        self._items: Deque[Item] = deque()
        self._lock = allocate_lock()
        self._stream: Any = None  # that runs, until the end mark has arrived
        self._takes = False  # packets: from open() to finish()

    def process(self, packet: Packet) -> None:
        """Takes a packet in (a clone already: the chain of the stream made it)."""
        with self._lock:
            taken = self._put(packet)
        if taken:
            self._wake()

    def _put(self, packet: Packet) -> bool:
        """Under the lock. False: it was dropped."""
        if not self._takes:
            self.dropped += 1
            return False
        if self.depth >= self.maxsize and not (packet.flags & FINAL and self.drop != "oldest"):
            if self.drop == "newest":
                self.dropped += 1
                return False
            if self.drop == "error":
                raise QueueFull("%s holds %d packets" % (type(self).__name__, self.depth))
            if not self._drop_oldest() and not packet.flags & FINAL:
                self.dropped += 1
                return False
        self._items.append(packet)
        self.depth += 1
        return True

    def _drop_oldest(self) -> bool:
        """False: all that waits is to stay."""
        for index, item in enumerate(self._items):
            if type(item) is not _Call and not item.flags & FINAL:  # type: ignore[union-attr]
                del self._items[index]
                self.depth -= 1
                self.dropped += 1
                return True
        return False

    def _pop(self) -> Optional[Item]:
        """Under the lock."""
        if not self._items:
            return None
        item = self._items.popleft()
        if type(item) is not _Call:
            self.depth -= 1
        return item

    def _deliver(self, item: Any) -> None:
        if type(item) is _Call:
            item.call()
            return
        stream, following = self._stream, self.following
        if stream is None or following is None or not stream.flowing:  # an error came first
            with self._lock:
                self.dropped += 1
            return
        try:
            following(item)
        except Exception as exc:  # of the stage behind the queue
            if not stream.fail(exc):
                raise

    # for the stream

    def open(self, stream: Any) -> None:
        """`stream` starts: takes packets from now on."""
        self._stream = stream
        self._takes = True

    def finish(self, then: Callable[[], Any]) -> None:
        """The stream ends: calls `then` where the queue delivers, behind everything that waits."""
        with self._lock:
            self._takes = False
        self.call(lambda: self._finished(then))

    def _finished(self, then: Callable[[], Any]) -> None:
        with self._lock:
            self._stream = None
        then()

    def call_first(self, call: Callable[[], Any]) -> bool:
        """Calls `call` where the queue delivers, before everything that waits. False: it will not, the end mark has arrived."""
        with self._lock:
            if self._stream is None:
                return False
            self._items.appendleft(_Call(call))
        self._wake()
        return True

    def call(self, call: Callable[[], Any]) -> None:
        """Calls `call` where the queue delivers, behind everything that waits."""
        with self._lock:
            self._items.append(_Call(call))
        self._wake()

    def _wake(self) -> None:
        """There is something to deliver."""
        raise NotImplementedError

    def _give_up(self) -> None:
        """Where it delivers is gone, the stream is not: packets are dropped and counted, calls and end marks happen here."""
        while True:
            with self._lock:
                item = self._pop()
                if item is None:
                    return
                if type(item) is not _Call:
                    self.dropped += 1
            if type(item) is _Call:
                item.call()


class SyncPacketQueue(PacketQueue):
    """Delivers on `loop`, and keeps that loop running while the stream runs.

    maxsize: packets that may wait. drop, when so many wait: "oldest" drops the packet that has waited longest, "newest" the
    packet that comes, "error" none: QueueFull is the error of the stream. ValueError for others.
    `depth`: packets that wait. `dropped`: packets that were dropped, which all are once the loop is closed.
    """

    dropped: int

    def __init__(self, loop: Loop, maxsize: int = 1024, drop: str = "oldest") -> None:
        super().__init__(maxsize, drop)
        self.loop: Loop = loop
        self._posted = False
        self._hold: Optional[Handle] = None

    def open(self, stream: Any) -> None:
        """As PacketQueue.open; StateError where the loop is closed."""
        if self.loop.closed:
            raise StateError("the loop of a SyncPacketQueue is closed", "give it one that is open", "close is asynchronous")
        super().open(stream)
        on_loop(self.loop, self._begin)

    def _begin(self) -> None:
        if self._stream is not None and self._hold is None:
            self._hold = Handle(self.loop)
            self._hold.activate()
            self._hold.on_close += self._let_go

    def _let_go(self, hold: Handle) -> None:
        if self.loop.closed:  # that, and not the end of the stream, is why
            self._give_up()

    def _finished(self, then: Callable[[], Any]) -> None:
        hold, self._hold = self._hold, None
        if hold is not None and not self.loop.closed:
            hold.close()
        super()._finished(then)

    def _wake(self) -> None:
        if not self._posted or self.loop.closed:
            self._posted = True
            if not self.loop.post(self._drain):
                self._give_up()

    def _drain(self) -> None:
        self._posted = False  # first: what comes from now on makes another call
        try:
            for _ in range(min(len(self._items), SHARE)):
                with self._lock:
                    item = self._pop()
                if item is None:
                    return
                self._deliver(item)
        finally:  # beyond its share, or behind what a slot raised
            if self._items:
                self._wake()


class AsyncPacketQueue(PacketQueue):
    """Delivers on a thread of its own, which lives while the stream runs.

    maxsize, drop, `depth`, `dropped`: as of a SyncPacketQueue; with "block" no packet is dropped: the writer waits for room.
    """

    policies: Tuple[str, ...] = ("oldest", "newest", "error", "block")
    depth: int

    def __init__(self, maxsize: int = 1024, drop: str = "oldest") -> None:
        super().__init__(maxsize, drop)
        import threading

        self._room = threading.Condition(self._lock)  # for writers that wait
        self._waiting = 0  # so many
        self._bell = allocate_lock()  # the thread that delivers sleeps by acquiring it: held, unless it is being rung
        self._bell.acquire()
        self._sleeps = False
        self._thread: Optional[threading.Thread] = None  # that delivers
        self._gone = False  # it was, and the interpreter ends

    def process(self, packet: Packet) -> None:
        """Takes a packet in; with "block" waits for room (QueueFull in the queue's own thread, which would wait for itself)."""
        with self._lock:
            if self._takes and self.depth < self.maxsize:
                self._items.append(packet)
                self.depth += 1
            elif not self._put_when_full(packet):
                return
            if self._sleeps:
                self._ring()

    def _put_when_full(self, packet: Packet) -> bool:
        """Under the lock, which is let go of while a writer waits. False: it was dropped."""
        while self.drop == "block" and self.depth >= self.maxsize and self._takes and self._thread is not None:
            if get_ident() == self._thread.ident:
                if packet.flags & FINAL:
                    break
                raise QueueFull("an AsyncPacketQueue that blocks was written to from its own thread")
            self._waiting += 1
            try:
                self._room.wait()
            finally:
                self._waiting -= 1
        return self._put(packet)

    def _ring(self) -> None:
        """Under the lock: wakes the thread that sleeps, or is about to. One ring too many is harmless, one too few is not."""
        if self._bell.locked():
            self._bell.release()
        self._sleeps = False

    def open(self, stream: Any) -> None:
        """As PacketQueue.open; RuntimeError where the system has no thread left."""
        import threading

        thread = threading.Thread(target=self._work, name="icey AsyncPacketQueue", daemon=_begin_watch(self))
        super().open(stream)
        self._thread = thread  # the last one may still be on its way out
        try:
            thread.start()
        except RuntimeError:  # the system has no more
            self._stream = self._thread = None
            self._takes = False
            raise

    def finish(self, then: Callable[[], Any]) -> None:
        """As PacketQueue.finish; writers that wait for room go on."""
        super().finish(then)
        with self._lock:
            self._room.notify_all()  # writers that wait: it is over

    def _finished(self, then: Callable[[], Any]) -> None:
        with self._lock:
            self._thread = None
        super()._finished(then)

    def _wake(self) -> None:
        with self._lock:
            gone = self._gone
            self._ring()
        if gone:
            self._give_up()

    def _leave(self) -> None:
        """The interpreter ends: the thread is joined once its slot returns, and delivers no more."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self._takes, self._gone = False, True
            self._room.notify_all()
            self._ring()
        thread.join()
        self._give_up()

    def _work(self) -> None:
        me, raised = self._thread, None
        while self._thread is me:  # not for ever: the stream may have been stopped and started again
            with self._lock:
                item = self._pop()
                if item is None:
                    self._sleeps = True
                elif self._waiting:
                    self._room.notify_all()
            if item is None:
                self._bell.acquire()
                continue
            try:
                self._deliver(item)
            except BaseException as exc:  # no slot is attached to on_error: the end mark is to be reached all the same
                raised = raised or exc
        if raised is not None:
            raise raised


def has_threads() -> bool:
    """Whether an AsyncPacketQueue can be made here."""
    try:
        import threading  # noqa: F401
    except ImportError:
        return False
    return True


def _begin_watch(queue: AsyncPacketQueue) -> bool:
    """Has the end of a sub-interpreter end the thread of `queue`; returns whether that is to be a daemon.

    In the main interpreter it is one, and nothing ends it: a slot that does not return holds up no end of a program.
    """
    global _queues
    if in_main_interpreter():
        return True
    if _queues is None:
        import weakref

        _queues = weakref.WeakSet()
        at_end(_end_all)
    _queues.add(queue)
    return not ends_before_waiting()


def _end_all() -> None:
    for queue in tuple(_queues or ()):
        queue._leave()
