"""DatagramSocket: a nonblocking datagram socket on a loop: sending, receiving, closing. UDPSocket adds the addresses.

Rules
- Sending: the kernel is tried at once. What it has no room for is queued, whole, in order, with its address; what is sent
  after that queues behind it.
- Receiving: one datagram a readable event. The event comes again while there are more, other handles are served in between,
  and a slot that pauses, detaches or closes is not brought another one.
- Nothing that happens to a datagram ends the socket: errors go to `on_error`, what slots raise and BorrowErrors to
  `loop.on_error`, and it lives on. Only a descriptor that is gone closes it.
- An ICMP error that the kernel tells on the occasion of a send is an earlier datagram's: it is told, the send tried again.
- Closing: `close()` drains the queue within a deadline that restarts whenever the kernel takes a datagram; then `on_close`.

Not here: the queue (datagramqueue.py), and what an address is: a subclass has `_target` and `_sender`.
"""

from __future__ import annotations

import errno
from _thread import get_ident
from collections import deque

from ..base import log
from ..base.buffer import READ_SIZE, own
from ..base.debug import unclosed
from ..base.errors import BorrowError, Deadline, NetError, QueueFull
from ..base.handle import FINISHING, OPEN, Handle, wrong_thread
from ..base.limits import DEFAULTS
from ..base.poller import CAN_READ, CAN_WRITE, READ, WRITE
from ..base.signal import Event
from .datagramqueue import DatagramQueue, DebugDatagramQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Optional, Tuple, Union

    from ..base.buffer import Data, Done
    from ..base.loop import Loop
    from ..base.signal import Signal
    from ..base.timer import Timer
    from .address import Address

    AddressLike = Union[Address, str, Tuple[str, int]]

HEARD, PAUSED, ALWAYS = range(3)  # reading: while there is a slot, not at all, slot or not

LONGEST = READ_SIZE - 1  # of a datagram; what fills the read buffer to its last byte was cut by the kernel
BATCH = 64  # datagrams of one socket's queue a turn
REST = 0.01  # seconds until a kernel without memory is asked again: it does not tell when it has some

TAKEN, LATER = range(2)
_NO_MEMORY = (errno.ENOBUFS, errno.ENOMEM)
_NOT_NOW = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR) + _NO_MEMORY
_RAISED = {  # by send(), because the caller can mend it, so
    errno.EMSGSIZE: "; send less in one: IPv4 carries 65507 bytes, and what fits a frame, some 1400, gets through best",
    errno.EACCES: "; if that is a broadcast address, set_broadcast() first",
}
_GONE = (errno.EBADF, errno.ENOTSOCK)


class DatagramSocket(Handle):
    """Sends and receives datagrams.

    `queued` bytes wait for the kernel (an empty datagram counts as one); from `high_water` on `send` returns False, at
    `low_water` `on_drain` comes, past `max_queue` (None: no cap) `send` raises QueueFull. While the `on_recv` slots run,
    `truncated` says whether their datagram was longer than `max_size` and cut to it; `truncated_count` counts those.
    """

    __slots__ = (
        "sock", "high_water", "low_water", "max_queue", "close_timeout", "truncated", "truncated_count", "_max_size", "_fd",
        "_interest", "_reading", "_queue", "_drain_due", "_taken_at", "_close_timer", "_rest_timer", "_news", "_said",
    )

    on_recv = Event("on_recv(sock, view, address): a datagram, lent until the slots return, and who sent it")
    on_drain = Event("on_drain(sock): the queue is down to low water, send again")
    on_error = Event("on_error(sock, exc): an ICMP error, or a datagram that could not be sent; the socket goes on")

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self.sock: Any = None
        self.high_water = DEFAULTS.high_water
        self.low_water = DEFAULTS.low_water
        self.max_queue = DEFAULTS.max_queue
        self.close_timeout = DEFAULTS.close_timeout
        self.truncated = False
        self.truncated_count = 0
        self._max_size = LONGEST
        self._fd = -1
        self._interest = 0
        self._reading = HEARD
        self._queue: DatagramQueue = DebugDatagramQueue() if loop.debug else DatagramQueue()
        self._drain_due = False
        self._taken_at = 0.0
        self._close_timer: Optional[Timer] = None
        self._rest_timer: Optional[Timer] = None
        self._news: Deque[Tuple[Callable[..., Any], Tuple[Any, ...]]] = deque()
        self._said = float("-inf")

    # for the subclass

    def _target(self, address: Any) -> Any:
        """What the socket module takes for `address`, None for the peer; StateError where there can be no sending."""
        raise NotImplementedError

    def _sender(self, sockaddr: Any) -> Any:
        """The address of what the socket module returned, or was given: None is the peer's."""
        raise NotImplementedError

    def _use_socket(self, sock: Any) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._fd = sock.fileno()
        self._activate()
        self._update()

    # sending: the loop's thread

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel."""
        return self._queue.size

    def send(self, data: Any, address: Optional[AddressLike] = None, *, done: Done = None) -> bool:
        """Sends one datagram, bytes-like or a list of such (joined), borrowing `data`: leave it alone until `done()`.

        address: where to, numeric (an Address is quickest). A connected socket sends to its peer: StateError for an address
        there, and for none elsewhere. True: below high water. False: wait for `on_drain`. QueueFull, or NetError for what is
        too large or not permitted: nothing was taken. `done()` comes from the loop when the kernel has it; not if it is
        lost, which `on_error` tells, nor if the socket dies first.
        """
        if get_ident() != self.loop._thread:
            wrong_thread(self)
        return self._write(data, address, done, True)

    def send_owned(self, data: Any, address: Optional[AddressLike] = None, *, done: Done = None) -> bool:
        """As `send`, but keeps its own: bytes by reference, anything mutable copied once if it must be queued."""
        if get_ident() != self.loop._thread:
            wrong_thread(self)
        return self._write(data, address, done, False)

    def _write(self, data: Any, address: Optional[AddressLike], done: Done, borrowed: bool) -> bool:
        whole = data if type(data) is bytes else self._joined(data, borrowed)
        target = self._target(address)
        queue = self._queue
        if not queue.size:
            outcome = self._give(whole, target)
            if isinstance(outcome, NetError):
                if outcome.errno in _RAISED:
                    whole = b""  # the traceback is to keep no view alive
                    raise outcome
                self._later(self._tell, outcome)
                return True
            if outcome == TAKEN:
                if done is not None:
                    self._later(done)
                return True
        elif self.max_queue is not None and queue.size + len(whole) > self.max_queue:
            self._drain_due = True
            size, whole = len(whole), b""
            raise QueueFull("%d bytes queued, %d more would pass max_queue %d: wait for on_drain"
                            % (queue.size, size, self.max_queue))
        kept = self.loop._read_buffer.keep(whole) if borrowed else own(whole)
        queue.add(kept, target, done, borrowed)
        if not self._interest & WRITE:
            self._update()
        if queue.size < self.high_water:
            return True
        self._drain_due = True
        return False

    def _joined(self, data: Any, borrowed: bool) -> Data:
        parts = self.loop._read_buffer.parts(data, borrowed)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _give(self, data: Data, target: Any) -> Union[int, NetError]:
        """Offers a datagram to the kernel: TAKEN, LATER, or why it is lost."""
        failed = self._offer(data, target)
        if failed is not None and failed.errno not in _NOT_NOW:
            again = self._offer(data, target)
            if again is None or again.errno != failed.errno:
                self._later(self._tell, failed)
            failed = again
        if failed is None:
            return TAKEN
        if failed.errno not in _NOT_NOW:
            return self._loss(failed, len(data), target)
        if failed.errno in _NO_MEMORY:
            self._rest_timer = self.loop.call_later(REST, self._rested)
        return LATER

    def _offer(self, data: Data, target: Any) -> Optional[OSError]:
        try:
            if target is None:
                self.sock.send(data)
            else:
                self.sock.sendto(data, target)
        except OSError as exc:
            exc.__traceback__ = None  # it would keep what was being sent alive, a lent view too
            return exc
        return None

    def _loss(self, exc: OSError, size: int, target: Any) -> NetError:
        lost = NetError("a datagram of %d bytes to %s was not sent: %s%s"
                        % (size, self._sender(target), exc.strerror or exc, _RAISED.get(exc.errno or 0, "")))
        lost.errno = exc.errno
        lost.__cause__ = exc
        return lost

    def _flush(self) -> None:
        queue = self._queue
        for _ in range(BATCH):
            if not queue.size:
                break
            try:
                datagram = queue.first()
            except BorrowError as exc:
                exc.__traceback__ = None
                self._later(self.loop._report, exc, self)
            else:
                outcome = self._give(datagram.data, datagram.address)
                if outcome == LATER:
                    break
                if isinstance(outcome, NetError):
                    self._later(self._tell, outcome)
                else:
                    self._taken_at = self.loop.now
                    if datagram.done is not None:
                        self._later(datagram.done)
            queue.pop()
        self._update()
        if self._drain_due and queue.size <= self.low_water:
            self._drain_due = False
            self._emit("on_drain", self)
        if self._phase != OPEN and not queue.size:
            self._finish()

    def _rested(self) -> None:
        self._rest_timer = None
        self._flush()

    # receiving: the loop's thread

    def pause(self) -> None:
        """Stops receiving; what comes waits in the kernel, which drops what it has no room for."""
        self._read_when(PAUSED)

    def resume(self) -> None:
        """Receives again. Without an `on_recv` slot, what comes is discarded."""
        self._read_when(ALWAYS)

    @property
    def max_size(self) -> int:
        """Bytes of the longest datagram that is delivered whole, 1 to 65535, which is the default."""
        return self._max_size

    @max_size.setter
    def max_size(self, value: int) -> None:
        if not 1 <= value <= LONGEST:
            raise ValueError("max_size is 1 to %d, not %r" % (LONGEST, value))
        self._max_size = value

    def _read_when(self, reading: int) -> None:
        self._check()
        if self._phase == OPEN:
            self._reading = reading
            self._update()

    def _slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_recv" and self._phase == OPEN:
            if self._reading == ALWAYS and not len(signal):
                self._reading = HEARD  # detaching the last slot pauses
            self._update()

    def _receive(self) -> None:
        buffer = self.loop._read_buffer
        try:
            size, sender = self.sock.recvfrom_into(buffer.fresh())  # larger than any datagram: only we truncate
        except (BlockingIOError, InterruptedError):  # its checksum was wrong
            return
        except OSError as exc:
            exc.__traceback__ = None
            self._tell(exc)
            return
        slots = self._signals["on_recv"]._slots if self._signals is not None and "on_recv" in self._signals else ()
        if not slots:  # resume() without one
            return
        if size > self._max_size:
            size = self._max_size
            self.truncated = True
            self.truncated_count += 1
        view = buffer.lend(size)
        try:
            self._emit("on_recv", self, view, self._sender(sender))
        finally:
            self.truncated = False
            kept = buffer.take_back(view, slots)
            if kept is not None:
                self.loop._report(kept, self)

    # inside

    def _update(self) -> None:
        """Brings the poller in line with what is wanted now: the one place that talks to it."""
        wanted = READ if self._wants_to_read() else 0
        if self._phase < FINISHING and self._queue.size and self._rest_timer is None:
            wanted |= WRITE
        if wanted == self._interest or self._fd < 0:
            return
        poller = self.loop._poller
        if not wanted:
            poller.unregister(self._fd)
        elif self._interest:
            poller.modify(self._fd, wanted, self._ready)
        else:
            poller.register(self._fd, wanted, self._ready)
        self._interest = wanted

    def _wants_to_read(self) -> bool:
        if self._phase != OPEN or self._reading == PAUSED:
            return False
        signals = self._signals
        return self._reading == ALWAYS or (signals is not None and "on_recv" in signals and len(signals["on_recv"]) > 0)

    def _ready(self, mask: int) -> None:
        if mask & CAN_WRITE and self._interest & WRITE:
            self._flush()
        if mask & CAN_READ and self._interest & READ:
            self._receive()

    def _later(self, fn: Callable[..., Any], *args: Any) -> None:
        """Calls `fn(*args)` from the loop, in order, before on_close at the latest."""
        if not self._news:
            self.loop._calls.append((self._tell_news, ()))
        self._news.append((fn, args))

    def _tell_news(self) -> None:
        news, self._news = self._news, deque()
        try:
            while news:
                fn, args = news.popleft()
                try:
                    fn(*args)
                except Exception as exc:
                    self._slot_failed(exc)
        finally:
            for fn, args in news:  # a KeyboardInterrupt passes through: the others are called all the same
                self._later(fn, *args)

    def _tell(self, exc: OSError) -> None:
        """An error goes to on_error; with nobody there to the log, a line a second at most."""
        if self._signals is not None and "on_error" in self._signals and len(self._signals["on_error"]):
            self._emit("on_error", self, exc)
        elif self.loop.now - self._said >= 1.0:
            self._said = self.loop.now
            log.warning("udp", "%s: %s", self._name(), exc)
        if exc.errno in _GONE:
            self._finish()

    # the end

    def _begin_close(self) -> None:
        self._mute()
        self._update()
        if not self._queue.size:
            self._finish()
        elif self.close_timeout is not None:
            self._taken_at = self.loop.now
            self._close_timer = self.loop.call_later(self.close_timeout, self._close_due, self.close_timeout)

    def _close_due(self, limit: float) -> None:
        rest = self._taken_at + limit - self.loop.now
        if rest > 0:
            self._close_timer = self.loop.call_later(rest, self._close_due, limit)
        else:
            self._later(self._tell, Deadline("close: %d bytes not taken by the kernel within %g s" % (self.queued, limit)))
            self._finish()

    def _silence(self) -> None:
        self._mute()
        for timer in (self._close_timer, self._rest_timer):
            if timer is not None:
                timer.abort()
        self._queue.clear()
        self._update()

    def _free(self) -> None:
        if self.sock is not None:
            self.sock.close()

    def _closed_now(self) -> None:
        try:
            self._tell_news()
        finally:
            super()._closed_now()

    def __del__(self) -> None:
        if getattr(self, "sock", None) is not None and self._phase < FINISHING and not self.loop._forked:
            unclosed(self)
