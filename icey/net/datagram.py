"""DatagramSocket: a nonblocking datagram socket on a loop: sending, receiving, closing. UDPSocket adds the addresses.

Rules
- Sending: the kernel is tried at once. A datagram that the kernel has no room for is queued, whole, in order, with its address;
  later datagrams queue behind it.
- Receiving: up to RUN datagrams a readable event, as long as they come that fast; other handles are served in between, and a
  slot that pauses, detaches or closes gets no other datagram. Where one came alone, the next RUN events ask for no second.
- Nothing that happens to a datagram ends the socket: errors go to `on_error`, exceptions of slots and BorrowErrors go to
  `loop.on_error`, and the socket lives on. Only a descriptor that is gone closes it.
- An ICMP error that the kernel tells at a send belongs to an earlier datagram: the error is told, and the send tried again.
- Closing: `close()` drains the queue within a deadline that restarts whenever the kernel takes a datagram; then `on_close`.

A subclass says what an address is: it overrides `target_of` and `sender_of`, and calls `use_socket`.

Not here: the queue (datagramqueue.py), addresses of IPv4 and IPv6 (udp.py).
"""

from __future__ import annotations

import errno
from _thread import get_ident
from collections import deque

from ..base import log
from ..base.buffer import READ_SIZE, own
from ..base.debug import unclosed
from ..base.emitter import wrong_thread
from ..base.errors import BorrowError, Deadline, NetError, QueueFull
from ..base.handle import FINISHING, OPEN, Handle
from ..base.limits import DEFAULTS
from ..base.poller import CAN_READ, CAN_WRITE, READ, WRITE
from ..base.signal import Event, require_callable
from ..base.watchdog import Watchdog
from .datagramqueue import DatagramQueue, DebugDatagramQueue

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Optional, Tuple, Union

    from typing_extensions import Self

    from ..base.buffer import Data, Done, Sendable
    from ..base.loop import Loop
    from ..base.signal import Signal
    from ..base.timer import Timer
    from .address import Address, AddressLike


HEARD, PAUSED, ALWAYS = range(3)  # reading: while there is a slot, not at all, slot or not

LONGEST = READ_SIZE - 1  # of a datagram; what fills the read buffer to its last byte was cut by the kernel
RUN = 16  # datagrams received in a row
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

    `queued` bytes wait for the kernel (an empty datagram counts as one); from `high_water` bytes on `send` returns False, at
    `low_water` bytes `on_drain` comes, past `max_queue` bytes (None: no cap) `send` raises QueueFull. `close_timeout`: seconds
    that closing waits after the kernel last took a datagram, None for ever. `max_size`: bytes. While the `on_recv` slots run,
    `truncated` tells whether their datagram was longer than `max_size` and cut to it; `truncated_count` counts those.
    For subclasses: `sock`, the socket, None before there is one; `queue`, a DatagramQueue.
    """

    __slots__ = (
        "sock", "high_water", "low_water", "max_queue", "close_timeout", "truncated", "truncated_count", "_max_size", "_fd",
        "_interest", "_reading", "queue", "_drain_due", "_taken_at", "_close_watch", "_rest_timer", "_news", "_said",
        "_alone",
    )

    on_recv: Event[Callable[[Self, memoryview, Address], Any]] = Event(
        "on_recv(sock, view, address): a datagram, lent until the slots return, and who sent it")
    on_drain: Event[Callable[[Self], Any]] = Event("on_drain(sock): the queue is down to low water, send again")
    on_error: Event[Callable[[Self, Exception], Any]] = Event(
        "on_error(sock, exc): an ICMP error, or a datagram that could not be sent; the socket goes on")

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self.sock: Any = None
        self.high_water: int = DEFAULTS.high_water
        self.low_water: int = DEFAULTS.low_water
        self.max_queue: Optional[int] = DEFAULTS.max_queue
        self.close_timeout: Optional[float] = DEFAULTS.close_timeout
        self.truncated: bool = False
        self.truncated_count: int = 0
        self._max_size = LONGEST
        self._fd = -1
        self._interest = 0
        self._reading = HEARD
        self.queue: DatagramQueue = DebugDatagramQueue() if loop.debug else DatagramQueue()
        self._drain_due = False
        self._taken_at = 0.0
        self._close_watch: Optional[Watchdog] = None
        self._rest_timer: Optional[Timer] = None
        self._news: Deque[Tuple[Callable[..., Any], Tuple[Any, ...]]] = deque()
        self._said = float("-inf")
        self._alone = 0  # readable events that are to read one datagram each

    # for whoever writes a subclass

    def target_of(self, address: Any) -> Any:
        """What the socket module takes for `address`, None for the peer; StateError where there can be no sending."""
        raise NotImplementedError

    def sender_of(self, sockaddr: Any) -> Any:
        """The address that goes with what the socket module returned, or was given; None is the peer's."""
        raise NotImplementedError

    def use_socket(self, sock: Any) -> None:
        """Sends and receives on `sock` from now on, which this handle owns."""
        sock.setblocking(False)
        self.sock = sock
        self._fd = sock.fileno()
        self.activate()
        self._update()

    # sending: the loop's thread

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel."""
        return self.queue.size

    def send(self, data: Sendable, address: Optional[AddressLike] = None, *, done: Done = None) -> bool:
        """Sends one datagram, bytes-like or a list of such (joined), borrowing `data`: leave it alone until `done()`.

        address: where to, numeric (an Address is quickest). A connected socket sends to its peer: StateError for an address
        there, and for none elsewhere. True: below high water. False: wait for `on_drain`. QueueFull, or NetError for what is
        too large or not permitted: nothing was taken. `done()` comes from the loop when the kernel has it; not if it is
        lost, which `on_error` tells, nor if the socket dies first.
        """
        if get_ident() != self.loop.thread:
            wrong_thread(self)
        return self._write(data, address, done, True)

    def send_owned(self, data: Sendable, address: Optional[AddressLike] = None, *, done: Done = None) -> bool:
        """As `send`, but keeps its own: bytes by reference, anything mutable copied once if it must be queued."""
        if get_ident() != self.loop.thread:
            wrong_thread(self)
        return self._write(data, address, done, False)

    def _write(self, data: Any, address: Optional[AddressLike], done: Done, borrowed: bool) -> bool:
        if done is not None and not callable(done):
            require_callable(done, "done")
        buffer = self.loop.read_buffer
        if type(data) is bytes or data is buffer.lent:
            whole: Data = data
        else:
            whole = self._joined(data, borrowed)
        target = self.target_of(address)
        queue = self.queue
        if not queue.size:
            try:  # as _offer
                if target is None:
                    self.sock.send(whole)
                else:
                    self.sock.sendto(whole, target)
            except OSError as exc:
                exc.__traceback__ = None
                outcome = self._refused(exc, whole, target)
            else:
                if done is None:
                    return True
                outcome = TAKEN
            if isinstance(outcome, NetError):
                if outcome.errno in _RAISED:
                    whole = b""  # the traceback is to keep no view alive
                    raise outcome
                self._later(self.tell_error, outcome)
                return True
            if outcome == TAKEN:
                if done is not None:
                    self._later(done)
                return True
        elif self.max_queue is not None and queue.cost + len(whole) > self.max_queue:
            self._drain_due = True
            size, whole = len(whole), b""
            raise QueueFull.of(queue.size, size, self.max_queue)
        kept = buffer.keep(whole) if borrowed else own(whole)
        queue.add(kept, target, done, borrowed)
        if not self._interest & WRITE:
            self._update()
        if queue.size < self.high_water:
            return True
        self._drain_due = True
        return False

    def _joined(self, data: Any, borrowed: bool) -> Data:
        parts = self.loop.read_buffer.parts(data, borrowed)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _give(self, data: Data, target: Any) -> Union[int, NetError]:
        """Offers a datagram to the kernel: TAKEN, LATER, or why it is lost."""
        failed = self._offer(data, target)
        return TAKEN if failed is None else self._refused(failed, data, target)

    def _refused(self, failed: OSError, data: Data, target: Any) -> Union[int, NetError]:
        """The kernel did not take a datagram, or told of an earlier one: as `_give`."""
        if failed.errno not in _NOT_NOW:
            again = self._offer(data, target)
            if again is None or again.errno != failed.errno:
                self._later(self.tell_error, failed)
            if again is None:
                return TAKEN
            failed = again
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
                        % (size, self.sender_of(target), exc.strerror or exc, _RAISED.get(exc.errno or 0, "")))
        lost.errno = exc.errno
        lost.__cause__ = exc
        return lost

    def _flush(self) -> None:
        queue = self.queue
        for _ in range(BATCH):
            if not queue.size:
                break
            try:
                datagram = queue.first()
            except BorrowError as exc:
                exc.__traceback__ = None
                self._later(self.loop.report, exc, self)
            else:
                outcome = self._give(datagram.data, datagram.address)
                if outcome == LATER:
                    break
                if isinstance(outcome, NetError):
                    self._later(self.tell_error, outcome)
                else:
                    self._taken_at = self.loop.now
                    if datagram.done is not None:
                        self._later(datagram.done)
            queue.pop()
        self._update()
        if self._drain_due and queue.size <= self.low_water:
            self._drain_due = False
            queue.keep()
            self.emit("on_drain", self)
        if self.phase != OPEN and not queue.size:
            self.finish()

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
    def paused(self) -> bool:
        """`pause()` was called, and not yet `resume()`."""
        return self._reading == PAUSED

    def look(self) -> bool:
        """Receives what has come, a run of datagrams at most, before the poller says so; whether there may be more.

        A deadline looks like this before it falls. Where nothing is to be received, paused for one, nothing is.
        """
        missed = False
        for _ in range(RUN):
            if not self._interest & READ or self.loop.closed:
                return False
            if not self._receive():
                if missed:
                    return False
                missed = True  # it may have been an error in the place of a datagram, with others behind it
        return True

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
        self.check_thread()
        if self.phase == OPEN:
            self._reading = reading
            self._update()

    def slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_recv" and self.phase == OPEN:
            if self._reading == ALWAYS and not len(signal):
                self._reading = HEARD  # detaching the last slot pauses
            self._update()

    def _receive(self) -> bool:
        """Receives a datagram and tells of it; False: there was none, or an error in its place."""
        buffer = self.loop.read_buffer
        try:
            size, sender = buffer.receive_from(self.sock)  # there is room for more than any datagram: only we truncate
        except (BlockingIOError, InterruptedError):  # there is no other, or its checksum was wrong
            return False
        except OSError as exc:
            exc.__traceback__ = None
            self.tell_error(exc)
            return False
        signals = self.signals
        signal = signals.get("on_recv") if signals is not None else None
        if signal is None or not signal.slots:  # resume() without one
            return True
        if size > self._max_size:
            size = self._max_size
            self.truncated = True
            self.truncated_count += 1
        address = self.sender_of(sender)
        slots = signal.slots
        view = buffer.lend(size)
        try:
            if len(slots) == 1:  # `fire` is that slot: a call less than by `emit`
                signal.fire(self, view, address)
            else:
                self.emit("on_recv", self, view, address)
        except Exception as exc:
            self.slot_failed(exc)
        finally:
            self.truncated = False
            kept = buffer.take_back(view, slots)
            if kept is not None:
                self.borrow_broken(kept)
        return True

    # inside

    def _update(self) -> None:
        """Brings the poller in line with what is wanted now: the one place that talks to it."""
        wanted = READ if self._wants_to_read() else 0
        if self.phase < FINISHING and self.queue.size and self._rest_timer is None:
            wanted |= WRITE
        if wanted == self._interest or self._fd < 0:
            return
        poller = self.loop.poller
        if not wanted:
            poller.unregister(self._fd)
        elif self._interest:
            poller.modify(self._fd, wanted, self._ready)
        else:
            poller.register(self._fd, wanted, self._ready)
        self._interest = wanted

    def _wants_to_read(self) -> bool:
        if self.phase != OPEN or self._reading == PAUSED:
            return False
        signals = self.signals
        return self._reading == ALWAYS or (signals is not None and "on_recv" in signals and len(signals["on_recv"]) > 0)

    def _ready(self, mask: int) -> None:
        if mask & CAN_WRITE and self._interest & WRITE:
            self._flush()
        if mask & CAN_READ and self._interest & READ:
            if self._alone:  # to ask for one more and get none costs a third of a datagram
                self._alone -= 1
                self._receive()
                return
            for count in range(RUN):
                if not self._receive():
                    if count == 1:
                        self._alone = RUN
                    return
                if not self._interest & READ:
                    return

    def mend(self) -> None:
        if self._fd >= 0:
            self.loop.poller.unregister(self._fd)
            self._interest = 0
            self._update()
        if self._news:
            self.loop.soon(self._tell_news)

    def _later(self, fn: Callable[..., Any], *args: Any) -> None:
        """Calls `fn(*args)` from the loop, in order, before on_close at the latest."""
        if not self._news:
            self.loop.soon(self._tell_news)
        self._news.append((fn, args))

    def _tell_news(self) -> None:
        news, self._news = self._news, deque()
        try:
            while news:
                fn, args = news.popleft()
                try:
                    fn(*args)
                except Exception as exc:
                    self.slot_failed(exc)
        finally:
            for fn, args in news:  # a KeyboardInterrupt passes through: the others are called all the same
                self._later(fn, *args)

    def tell_error(self, exc: OSError) -> None:
        """Tells `on_error` of a datagram's error; without a slot there the log, a line a second at most."""
        if self.signals is not None and "on_error" in self.signals and len(self.signals["on_error"]):
            self.emit("on_error", self, exc)
        else:
            self.log_error(exc)
        if exc.errno in _GONE:
            self.finish()

    def log_error(self, exc: OSError) -> None:
        """Writes a datagram's error to the log, a line a second at most."""
        if self.loop.now - self._said >= 1.0:
            self._said = self.loop.now
            log.warning("udp", "%s: %s", self.title(), exc)

    # the end

    def begin_close(self) -> None:
        self.mute()
        self._update()
        if not self.queue.size:
            self.finish()
        elif self.close_timeout is not None:
            self._taken_at = self.loop.now
            limit = self.close_timeout
            self._close_watch = Watchdog(self.loop, lambda: self._taken_at + limit if self.queue.size else None,
                                         lambda: self._close_late(limit), self._push)
            self._close_watch.watch()

    def _push(self) -> None:
        """Gives what the kernel takes by now: the deadline looks before it falls."""
        if self._rest_timer is None:
            self._flush()

    def _close_late(self, limit: float) -> None:
        self._later(self.tell_error, Deadline("close: %d bytes not taken by the kernel within %g s" % (self.queued, limit)))
        self.finish()

    def silence(self) -> None:
        self.mute()
        if self._close_watch is not None:
            self._close_watch.stop()
            self._close_watch = None  # it refers to this socket
        if self._rest_timer is not None:
            self._rest_timer.abort()
        self.queue.clear()
        self._update()

    def free(self) -> None:
        if self.sock is not None:
            self.sock.close()

    def closed_now(self) -> None:
        try:
            self._tell_news()
        finally:
            super().closed_now()

    def __del__(self, unclosed: Callable[[Any], None] = unclosed, over: int = FINISHING, getattr: Any = getattr) -> None:
        if getattr(self, "sock", None) is not None and self.phase < over and not self.loop.forked:
            unclosed(self)
