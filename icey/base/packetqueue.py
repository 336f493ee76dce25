"""The queues of a PacketStream: SyncPacketQueue onto a loop, AsyncPacketQueue onto a thread of its own.

Rules
- A queue is a boundary: it gets a clone of each packet (retention CLONED), and delivers in order, each packet once.
- Full, it drops by policy: "oldest" in it, "newest" (the one that comes), "error" (QueueFull, which is the stream's error), and
  for AsyncPacketQueue also "block" (the writer waits). `depth` and `dropped` count.
- The end of the stream goes through it as a mark behind what it holds. What comes after is dropped and counted.
- No lock is held while packets are delivered.

(opt threading) for AsyncPacketQueue alone: its worker is the one thread here.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections import deque

from .errors import QueueFull, StateError
from .handle import Handle, on_loop
from .packetadapter import PacketProcessor, PacketRetention

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Any, Callable, Deque, Optional, Tuple

    from .loop import Loop
    from .packet import Packet

    Item = Tuple[Optional[Packet], Optional[Callable[[], Any]]]


class PacketQueue(PacketProcessor):
    """What both queues share. maxsize: packets it holds. Where and when they are delivered is the subclass's."""

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
        self.dropped = 0
        self.depth = 0  # packets in it
        self._items: Deque[Item] = deque()  # (packet, None), or (None, what to call when it is reached)
        self._lock = allocate_lock()
        self._stream: Any = None  # that runs
        self._ending = False

    def process(self, packet: Packet) -> None:
        """Takes a packet in (a clone already: the stream saw to that)."""
        with self._lock:
            taken = self._put(packet)
        if taken:
            self._wake()

    def _put(self, packet: Packet) -> bool:
        """Under the lock. False: it was dropped."""
        if self._ending or self._stream is None:
            self.dropped += 1
            return False
        if self.depth >= self.maxsize:
            if self.drop == "newest":
                self.dropped += 1
                return False
            if self.drop == "error":
                raise QueueFull("%s holds %d packets" % (type(self).__name__, self.depth))
            self._drop_oldest()
        self._items.append((packet, None))
        self.depth += 1
        return True

    def _drop_oldest(self) -> None:
        for index, item in enumerate(self._items):
            if item[0] is not None:
                del self._items[index]
                self.depth -= 1
                self.dropped += 1
                return

    def _pop(self) -> Optional[Item]:
        """Under the lock."""
        if not self._items:
            return None
        item = self._items.popleft()
        if item[0] is not None:
            self.depth -= 1
        return item

    def _deliver(self, item: Item) -> None:
        packet, call = item
        if call is not None:
            call()
            return
        stream, following = self._stream, self._next
        if packet is not None:
            if stream is None or following is None or not stream._flowing:  # an error came first
                with self._lock:
                    self.dropped += 1
            else:
                stream._run(following, packet)

    # for the stream

    def _open(self, stream: Any) -> None:
        """The stream starts."""
        self._stream = stream
        self._ending = False

    def _finish(self, then: Callable[[], Any]) -> None:
        """The stream ends: `then` is called behind everything that is in the queue, where it delivers."""
        with self._lock:
            self._ending = True
        self._call(lambda: self._finished(then))

    def _finished(self, then: Callable[[], Any]) -> None:
        with self._lock:
            self._stream = None
        then()

    def _call_first(self, call: Callable[[], Any]) -> bool:
        """Before everything that is in the queue, where it delivers; False when the end mark has arrived there."""
        with self._lock:
            if self._stream is None:
                return False
            self._items.appendleft((None, call))
        self._wake()
        return True

    def _call(self, call: Callable[[], Any]) -> None:
        with self._lock:
            self._items.append((None, call))
        self._wake()

    def _wake(self) -> None:
        """There is something to deliver."""
        raise NotImplementedError


class SyncPacketQueue(PacketQueue):
    """Delivers on `loop`, keeping it running while the stream runs.

    Where the loop is closed before the stream is, packets are dropped and counted.
    """

    def __init__(self, loop: Loop, maxsize: int = 1024, drop: str = "oldest") -> None:
        super().__init__(maxsize, drop)
        self.loop: Loop = loop
        self._posted = False
        self._hold: Optional[Handle] = None

    def _open(self, stream: Any) -> None:
        if self.loop.closed:
            raise StateError("the loop of a SyncPacketQueue is closed", "give it one that is open", "close is asynchronous")
        super()._open(stream)
        on_loop(self.loop, self._begin)

    def _begin(self) -> None:
        if self._stream is not None and self._hold is None:
            self._hold = Handle(self.loop)
            self._hold._activate()
            self._hold.on_close += self._let_go

    def _let_go(self, hold: Handle) -> None:
        if self.loop.closed:  # that, and not the end of the stream, is why
            self._loop_is_gone()

    def _finished(self, then: Callable[[], Any]) -> None:
        hold, self._hold = self._hold, None
        if hold is not None and not self.loop.closed:
            hold.close()
        super()._finished(then)

    def _wake(self) -> None:
        if not self._posted or self.loop.closed:
            self._posted = True
            if not self.loop.post(self._drain):
                self._loop_is_gone()

    def _drain(self) -> None:
        self._posted = False  # first: what comes from now on makes another call
        for _ in range(len(self._items)):
            with self._lock:
                item = self._pop()
            if item is None:
                return
            try:
                self._deliver(item)
            except BaseException:
                if self._items:
                    self._wake()
                raise

    def _loop_is_gone(self) -> None:
        """Its loop was closed before the stream was: packets are lost, which is counted; the marks are reached here."""
        while True:
            with self._lock:
                item = self._pop()
                if item is None:
                    return
                if item[1] is None:
                    self.dropped += 1
            if item[1] is not None:
                item[1]()


class AsyncPacketQueue(PacketQueue):
    """Delivers on a thread of its own, which lives while the stream runs."""

    policies = ("oldest", "newest", "error", "block")

    def __init__(self, maxsize: int = 1024, drop: str = "oldest") -> None:
        super().__init__(maxsize, drop)
        import threading

        self._changed = threading.Condition(self._lock)
        self._thread: Optional[threading.Thread] = None  # that delivers

    def process(self, packet: Packet) -> None:
        """Takes a packet in; with drop="block" waits for room (QueueFull in the queue's own thread, where none would come)."""
        with self._changed:
            while self.drop == "block" and self.depth >= self.maxsize and not self._ending and self._thread is not None:
                if get_ident() == self._thread.ident:
                    raise QueueFull("an AsyncPacketQueue that blocks was written to from its own thread")
                self._changed.wait()
            if self._put(packet):
                self._changed.notify_all()

    def _open(self, stream: Any) -> None:
        import threading

        thread = threading.Thread(target=self._work, name="icey AsyncPacketQueue", daemon=True)
        super()._open(stream)
        self._thread = thread  # the last one may still be on its way out
        try:
            thread.start()
        except RuntimeError:  # the system has no more
            self._stream = self._thread = None
            raise

    def _finish(self, then: Callable[[], Any]) -> None:
        super()._finish(then)
        with self._changed:
            self._changed.notify_all()  # writers that wait: it is over

    def _finished(self, then: Callable[[], Any]) -> None:
        with self._lock:
            self._thread = None
        super()._finished(then)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _work(self) -> None:
        me, raised = self._thread, None
        while self._thread is me:  # not for ever: the stream may have been stopped and started again
            with self._changed:
                item = self._pop()
                while item is None:
                    self._changed.wait()
                    item = self._pop()
                if self.drop == "block":
                    self._changed.notify_all()
            try:
                self._deliver(item)
            except BaseException as exc:  # nobody is attached to on_error: the end mark is to be reached all the same
                raised = raised or exc
        if raised is not None:
            raise raised
