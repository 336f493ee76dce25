"""Stream: a connected, nonblocking stream socket on a loop.

Reading  One read a readable event, lent to the `on_recv` slots as a view that is released when they return: 64 KiB at most, and
         256 KiB where a stream keeps filling its reads. Without a slot nothing is read: bytes wait in the kernel. A parser of
         ours takes plain bytes instead (`use_protocol`), 72 KiB at most, which is the cheapest way to read.
Writing  The kernel is tried at once; what it refuses is queued, and only then is the selector asked for writability.
Closing  `close()` drains the queue within a deadline that restarts whenever the kernel takes bytes; then `on_close`.

The link: DOWN (not connected yet) -> CONNECTING -> UP -> BROKEN (a transport error: on_error, then on_close).
The out side: SENDING -> SHUTTING (shutdown() asked for, the queue drains) -> SHUT.

Not here: how a stream comes to be connected (net/tcp.py), what a queue does with its segments (buffer.py).
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from _thread import get_ident

from .buffer import RECEIVE_SIZE, TURN_BYTES, DebugWriteQueue, WriteQueue, let_go, rest_from, rest_of, retain, send_parts
from .debug import unclosed
from .emitter import wrong_thread
from .errors import BorrowError, Deadline, NetError, QueueFull, StateError
from .handle import CLOSED, FINISHING, OPEN, Handle
from .lazy import left_out
from .limits import DEFAULTS
from .poller import CAN_READ, CAN_WRITE, READ, WRITE
from .sendqueue import unacknowledged
from .signal import Event, require_callable
from .state import transitions
from .watchdog import Watchdog

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, List, Optional

    from typing_extensions import Self

    from .buffer import Data, Done, Sendable
    from .loop import Loop
    from .signal import Signal
    from .streamprotocol import StreamProtocol

DOWN, CONNECTING, UP, BROKEN = range(4)
LINKS = transitions({DOWN: (CONNECTING, UP, BROKEN), CONNECTING: (UP, BROKEN), UP: (BROKEN,), BROKEN: ()},
                    names=("DOWN", "CONNECTING", "UP", "BROKEN"))
SENDING, SHUTTING, SHUT = range(3)
OUTPUTS = transitions({SENDING: (SHUTTING,), SHUTTING: (SHUT,), SHUT: ()}, names=("SENDING", "SHUTTING", "SHUT"))

AT_ONCE = (1).to_bytes(2 if os.name == "nt" else 4, sys.byteorder) + bytes(2 if os.name == "nt" else 4)  # linger: on, 0 s


class Stream(Handle):
    """A stream over `sock`, a connected socket (or what has its methods), which the stream owns from now on.

    `queued` bytes wait for the kernel; from `high_water` bytes on `send` returns False, at `low_water` `on_drain` comes, past
    `max_queue` (bytes; None: no cap) `send` raises QueueFull. `close_timeout`: seconds that a close waits for the peer to take
    something (None: for ever). `sock`: the socket.

    For whoever writes a transport or a protocol: `link` (DOWN, CONNECTING, UP, BROKEN), `output` (SENDING, SHUTTING, SHUT),
    `ended` (the peer's end was seen), `complete` (all was sent: the end is one, and no cut), `cut` (it is to end by a reset,
    although all is out: something will not come), `paused`, `rests`, `protocol`, `drain_due` (on_drain is to come), `queue` (a
    WriteQueue, or None while nothing waits), `reader` (what reads, None while nothing is wanted), `recv` (reads bytes now),
    `fd`, `taken_at` (see `last_taken`).
    """

    __slots__ = (
        "sock", "high_water", "low_water", "max_queue", "close_timeout", "link", "output", "queue", "_interest", "fd",
        "reader", "protocol", "recv", "paused", "rests", "_discard", "ended", "drain_due", "taken_at", "complete", "cut",
        "_error", "_held_back", "_watchdog", "_dones", "_witnesses",
    )

    STATES = {"link": LINKS, "output": OUTPUTS}

    on_recv: Event[Callable[[Self, memoryview], Any]] = Event(
        "on_recv(stream, view): bytes came; the view is lent until the slots return")
    on_end: Event[Callable[[Self], Any]] = Event(
        "on_end(stream): the peer sends no more; with a slot here the stream stays half open")
    on_drain: Event[Callable[[Self], Any]] = Event("on_drain(stream): the queue is down to low water, send again")
    on_error: Event[Callable[[Self, Exception], Any]] = Event("on_error(stream, exc): the transport failed; on_close follows")

    def __init__(self, loop: Loop, sock: Any) -> None:
        super().__init__(loop)
        self.sock: Any = None
        self.link: int = DOWN
        self.output: int = SENDING
        self.queue: Optional[WriteQueue] = None
        self._interest = 0
        self.fd: int = -1
        self.reader: Optional[Callable[[int], Any]] = None
        self.protocol: Optional[StreamProtocol] = None
        self.paused: bool = False
        self.rests: bool = False
        self._discard = False
        self.ended: bool = False
        self.drain_due: bool = False
        self.taken_at: float = 0.0
        self.complete: bool = False
        self.cut: bool = False
        self._held_back: Optional[int] = None  # bytes that the system had of ours when it was asked last
        self._watchdog: Optional[Watchdog] = None
        self._error: Optional[OSError] = None  # what broke the link
        self._dones: Optional[List[Callable[[], Any]]] = None
        self._witnesses: Optional[List[Callable[[], Any]]] = None
        self.high_water: int = DEFAULTS.high_water
        self.low_water: int = DEFAULTS.low_water
        self.max_queue: Optional[int] = DEFAULTS.max_queue
        self.close_timeout: Optional[float] = DEFAULTS.close_timeout
        if sock is not None:
            self.use_socket(sock, UP)

    # sending: the loop's thread

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel."""
        return self.queue.size if self.queue is not None else 0

    def send(self, data: Sendable, done: Done = None) -> bool:
        """Sends bytes-like `data`, or a list of such, borrowing them: leave them alone until `on_drain` or `done()`.

        True: below high water. False: queued, wait for `on_drain`. QueueFull: nothing was taken. StateError: before connect(),
        shut down or closing (while it connects, sends are queued). `done()` comes from the loop when the kernel has it all, not
        if the stream dies first.
        """
        if get_ident() != self.loop.thread:
            wrong_thread(self)
        return self.write(data, done, True)

    def send_owned(self, data: Sendable, done: Done = None) -> bool:
        """As `send`, but keeps its own: bytes by reference, anything mutable copied once if it must be queued."""
        if get_ident() != self.loop.thread:
            wrong_thread(self)
        return self.write(data, done, False)

    def shutdown(self) -> None:
        """Half-close: no more sends; the peer is told once the queue is out. Receiving goes on."""
        self.check_thread()
        if self.phase != OPEN or self.output != SENDING:
            return
        if self.link == DOWN:
            raise StateError("shutdown() before connect()", "connect first", "start, then send")
        self.output = SHUTTING
        self.settle()

    def write(self, data: Any, done: Done, borrowed: bool) -> bool:
        """What `send` (borrowed) and `send_owned` do, without the look at the thread: for protocols."""
        if self.link != UP or self.output or self.phase:
            if not self._may_queue():
                return False
        elif self.queue is None and done is None and (
                type(data) is bytes or data is self.loop.read_buffer.lent or self.loop.read_buffer.direct(data)):
            try:
                taken = self.sock.send(data)
            except (BlockingIOError, InterruptedError):
                taken = 0
            except OSError as exc:
                self.fail(exc)
                return False
            if taken == len(data):
                return True
            rest = rest_from(data, taken)
            keep = self.loop.read_buffer.keep if borrowed else retain
            return not len(rest) or self._enqueue([keep(rest)], None, borrowed)
        if done is not None and not callable(done):
            require_callable(done, "done")
        if type(data) is bytes:
            parts: List[Data] = [data] if data else []
        else:
            parts = self.loop.read_buffer.parts(data, borrowed)
        given, queue = parts, self.queue
        if not queue:
            if self.link == UP:
                if parts:
                    try:
                        parts = rest_of(parts, send_parts(self.sock, parts))
                    except (BlockingIOError, InterruptedError):
                        pass
                    except OSError as exc:
                        self.fail(exc)
                        return False
                if not parts:
                    let_go(given)
                    if done is not None:
                        self.owe([done])
                    return True
            parts = parts or [b""]
        elif self.max_queue is not None and queue.size and queue.cost + sum(map(len, parts)) > self.max_queue:
            size = sum(map(len, parts))
            let_go(parts)
            given = parts = []
            data = None  # the traceback keeps no view of them alive
            raise self.queue_full(size)
        elif not parts:  # an empty send behind others: done when they are
            if done is None:
                self.drain_due = self.drain_due or queue.size >= self.high_water
                return queue.size < self.high_water
            parts = [b""]
        keep = self.loop.read_buffer.keep if borrowed else retain
        kept = [keep(part) for part in parts]
        let_go(given, kept)
        return self._enqueue(kept, done, borrowed)

    def _enqueue(self, parts: List[Data], done: Done, borrowed: bool) -> bool:
        queue = self._waiting()
        queue.add(parts, done, borrowed)
        if not self._interest & WRITE:
            self.update_interest()
        if queue.size < self.high_water:
            return True
        self.drain_due = True
        return False

    def queue_full(self, more: int) -> QueueFull:
        """The error for `more` bytes that would pass the cap; `on_drain` is to tell when there is room."""
        self.drain_due = True
        return QueueFull.of(self.queued, more, self.max_queue or 0, self)

    def output_over(self) -> StateError:
        """The error for a send that comes when nothing can be sent any more. Override: why that is."""
        return StateError("send() after shutdown()", "send everything first", "close is asynchronous")

    def write_file(self, file: BinaryIO, offset: int, count: int, close: bool = True, done: Done = None) -> bool:
        """Sends a region of a file, or queues it; takes the file over when `close`. False: wait for on_drain.

        One of up to TURN_BYTES is tried at once. A longer one waits for the kernel to ask, like each of its parts.
        """
        try:
            from .fileregion import FileRegion
        except ModuleNotFoundError as exc:
            raise ModuleNotFoundError(left_out(exc, "base.fileregion", "files"), name=exc.name) from None
        region = FileRegion(file, offset, count, close, done)
        queued = False
        try:
            if done is not None:
                require_callable(done, "done")
            queued = not (self.link != UP or self.output or self.phase) or self._may_queue()
        finally:
            if not queued:
                region.finish()
        if queued:
            alone = self.queue is None and self.link == UP and count <= TURN_BYTES
            queue = self._waiting()
            queue.add_file(region)
            if alone:
                try:
                    queue.flush(self.sock)
                except Exception as exc:
                    self._transport_failed(exc)
                    return False
                if not queue:
                    self.queue = None
                    if queue.finished:
                        self.owe(queue.finished)
                    return True
            self.drain_due = True
            self.update_interest()
        return False

    def _waiting(self) -> WriteQueue:
        """The queue, made where there is none."""
        if self.queue is None:
            self.queue = DebugWriteQueue() if self.loop.debug else WriteQueue()
            self.taken_at = self.loop.now
            self._held_back = None
        return self.queue

    def _may_queue(self) -> bool:
        """For a stream that is not simply up: True while connecting, False to discard, else StateError."""
        if self.link == BROKEN and self.phase < CLOSED:
            return False
        self.require_open("send")
        if self.output != SENDING:
            raise self.output_over()
        if self.link == DOWN:
            raise StateError("send() before connect()", "connect first; while connecting, sends are queued",
                             "start, then send")
        return True

    def flush(self) -> None:
        """Gives the kernel what it takes of the queue, and tells who waited for that."""
        queue = self.queue
        if queue is None:
            return
        try:
            taken = queue.flush(self.sock)
        except BorrowError as exc:
            self.borrow_broken(exc)
            return
        except Exception as exc:
            self._transport_failed(exc)
            return
        finally:
            if queue.finished:
                self.owe(queue.finished)
                queue.finished = []
        if taken:
            self.taken_at = self.loop.now
            if self._held_back is not None:
                self._held_back += taken
        if not queue:
            self.queue = None
            self.settle()
            self.update_interest()
        if self.drain_due and queue.size <= self.low_water and queue.left == queue.size:  # no file waits
            self.tell_drain()

    def tell_drain(self) -> None:
        """Has `on_drain` told."""
        self.drain_due = False
        if self.queue:
            self.queue.keep()
        if self.phase == OPEN and self.protocol is not None:
            self.guard(self.protocol.on_drain)
        elif self.phase == OPEN:
            self.emit("on_drain", self)

    def settle(self) -> None:
        """The queue is out, or there was none: what waited for that happens."""
        if self.queue or self.link != UP:
            return
        if self.output == SHUTTING:
            self.output = SHUT
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:  # the peer is gone: reading, or the close, meets it
                pass
        if self.phase != OPEN or (self.output == SHUT and self.ended):
            self.part()

    def owe(self, dones: List[Callable[[], Any]]) -> None:
        """Sends the kernel has taken whole: their `done` is called from the loop, before on_close at the latest."""
        if self._dones is None:
            self._dones = []
            self.loop.soon(self._run_dones)
        self._dones += dones

    def _run_dones(self) -> None:
        dones: List[Callable[[], Any]] = []
        try:
            dones, self._dones = self._dones or [], None
            while dones:
                self.guard(dones.pop(0))
        finally:
            if dones:  # a KeyboardInterrupt passes: the others are called all the same
                self.owe(dones)

    # receiving: the loop's thread

    def pause(self) -> None:
        """Stops reading; bytes wait in the kernel, and then at the peer."""
        self.check_thread()
        if self.phase == OPEN:
            self.paused = True
            self._discard = False
            self.update_interest()

    def resume(self) -> None:
        """Reads on. Without an `on_recv` slot, what comes is discarded."""
        self.check_thread()
        if self.phase == OPEN:
            self.paused = False
            self._discard = True
            self.update_interest()

    # the extension interface: for whoever writes a protocol, or a transport; the loop's thread

    def use_protocol(self, protocol: StreamProtocol) -> None:
        """Has `protocol` get what comes, in place of the slots, which get nothing more (but on_close)."""
        self.protocol = protocol
        self.update_interest()

    def hold(self, held: bool) -> None:
        """Stops reading, or reads on: back-pressure of a protocol. `paused` tells."""
        if self.paused is not held and self.phase == OPEN:
            self.paused = held
            self.update_interest()

    def rest(self, rests: bool) -> None:
        """Its reader has enough for this turn: nothing is read until it calls again, whatever `pause` and `resume` say."""
        self.rests = rests
        if self.phase == OPEN:
            self.update_interest()

    def want_drain(self) -> None:
        """Has `on_drain` come once the queue is down to low water, although no send has returned False."""
        self.drain_due = True

    @property
    def unsent(self) -> bool:
        """Whether anything waits for the kernel; regions of files too, which `queued` does not count."""
        return bool(self.queue)

    @property
    def writing(self) -> bool:
        """Whether writability is waited for: something is queued, or the stream connects."""
        return self.phase < FINISHING and ((self.link == CONNECTING and self.fd >= 0) or (self.link == UP and bool(self.queue)))

    @property
    def reads_on(self) -> bool:
        """Whether there is somebody to read for: a protocol, or a slot of on_recv."""
        if self.protocol is not None:
            return True
        signals = self.signals
        return signals is not None and "on_recv" in signals and len(signals["on_recv"]) > 0

    @property
    def reading(self) -> bool:
        """Whether what comes is wanted now."""
        return self.reader is not None

    def look(self) -> None:
        """Gives the kernel what it takes, and reads what has come, without waiting for the poller to say so.

        A deadline looks like this before it falls: a slot may have held the loop meanwhile, and "not writable" is not "full".
        """
        if self.loop.closed:  # nothing can come of it any more
            return
        if self.queue and self.link == UP:
            before = self.taken_at
            self.flush()
            if self._held_back is not None and self.queue:
                self.taken_at = before  # the system tells more: its buffers stretch a little for a peer that takes nothing
        if self.reader is not None:
            self.reader(0)

    @property
    def outstanding(self) -> bool:
        """Whether the peer has still to take something: it is queued, or the system holds it (where the system tells)."""
        return self.unsent or bool(self.link == UP and unacknowledged(self.fd))

    def slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_recv" and self.phase == OPEN:
            if not len(signal):
                self._discard = False  # detaching the last slot pauses
            self.update_interest()

    def pick_reader(self) -> Optional[Callable[[int], Any]]:
        """What reads now, None while nothing is wanted."""
        if self.link != UP or self.ended or self.paused or self.rests or self.phase != OPEN:
            return None
        if self.protocol is not None:
            return self._ready_bytes
        if self.reads_on:
            return self._ready_lend
        return self._ready_discard if self._discard else None

    def update_interest(self) -> None:
        """Brings the poller in line with what is wanted now: the one place that talks to it."""
        reader = self.reader = self.pick_reader()
        wanted = READ if reader is not None else 0
        if self.writing:  # a name that is being tried has no descriptor
            wanted |= WRITE
        ready = reader if reader is not None and wanted == READ else self._ready_any
        poller = self.loop.poller
        if wanted == self._interest:
            if wanted:
                poller.ready[self.fd] = ready
            return
        if not wanted:
            poller.unregister(self.fd)
        elif self._interest:
            poller.modify(self.fd, wanted, ready)
        else:
            try:
                poller.register(self.fd, wanted, ready)
            except OSError as exc:  # others have its place
                if self.link != UP:
                    raise
                self.fail(exc)
                return
        self._interest = wanted

    def _ready_any(self, mask: int) -> None:
        if mask & CAN_WRITE and self._interest & WRITE:
            if self.link == CONNECTING:
                self.connected()
                return
            self.flush()
        if mask & CAN_READ and self.reader is not None:
            self.reader(mask)

    def _ready_bytes(self, mask: int) -> None:
        """A parser of ours reads: plain bytes."""
        try:
            data = self.recv(RECEIVE_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except Exception as exc:
            self._transport_failed(exc)
            return
        if data:
            try:
                self.protocol.on_bytes(data)  # type: ignore[union-attr]
            except Exception as exc:
                self.slot_failed(exc)
        else:
            self._end()

    def _ready_lend(self, mask: int) -> None:
        """A user's slot reads: a lent view."""
        buffer = self.loop.read_buffer
        try:
            view = buffer.receive(self.sock)
        except (BlockingIOError, InterruptedError):
            return
        except Exception as exc:
            self._transport_failed(exc)
            return
        if view is None:
            self._end()
            return
        signal = self.signals["on_recv"]  # type: ignore[index]
        slots = signal.slots
        try:
            signal.fire(self, view)
        except Exception as exc:
            self.slot_failed(exc)
        finally:
            kept = buffer.take_back(view, slots)
            if kept is not None:
                self.borrow_broken(kept)

    def _ready_discard(self, mask: int) -> None:
        try:
            if not self.recv(RECEIVE_SIZE):
                self._end()
        except (BlockingIOError, InterruptedError):
            pass
        except Exception as exc:
            self._transport_failed(exc)

    def _transport_failed(self, exc: Exception) -> None:
        """What a read, or a flush, raised. A transport of a user's own may raise what it likes: told once, it is over."""
        if isinstance(exc, OSError):
            self.fail(exc)
        elif isinstance(exc, MemoryError):
            self.fail(out_of_memory())
        else:
            self.loop.report(exc, self)
            self.finish()

    def _end(self) -> None:
        self.ended = True
        self.update_interest()
        if self.protocol is not None:
            self.guard(self.protocol.on_end)
        elif self.signals is not None and "on_end" in self.signals and len(self.signals["on_end"]):
            self.emit("on_end", self)
        else:
            self.close()
        self.settle()

    # the end

    def connected(self) -> None:
        """The poller says that connecting came to an end; TCPSocket knows what to do."""

    def use_socket(self, sock: Any, link: int) -> None:
        """Takes a socket over, which the stream owns from now on; `link`: CONNECTING or UP."""
        sock.setblocking(False)
        self.activate()  # first: the loop frees what an interrupt leaves here
        self.sock = sock
        self.fd = sock.fileno()
        self.recv: Callable[[int], bytes] = sock.recv
        self.link = link

    def fail(self, exc: OSError) -> None:
        """A transport error: sends are discarded from now on; on_error and on_close come from the loop."""
        if self.link != BROKEN and self.phase < FINISHING:
            self.link = BROKEN
            self.complete = False
            self.update_interest()
            exc.__traceback__ = None  # it would keep what was being sent alive, a lent view too
            self._error = exc
            self.loop.soon(self._tell_broken, exc)

    def _tell_broken(self, exc: OSError) -> None:
        if self.phase < FINISHING:
            self.read_last()
        if self.phase < FINISHING:
            try:
                if self.protocol is not None:
                    self.guard(self.protocol.on_error, exc)
                else:
                    self.emit("on_error", self, exc)
            finally:
                self.finish()

    def read_last(self) -> None:
        """What came before the transport broke is told before the error. An end that comes then is none: it is the cut.

        Nothing is told of a stream that is paused: a protocol that held it, and goes on in its on_error, calls this again.
        """
        if self.sock is None:
            return
        while self.phase == OPEN and not (self.paused or self.rests or self.ended) and self.reads_on:
            try:
                data = self.recv(RECEIVE_SIZE)
            except (OSError, MemoryError):
                return
            except Exception as exc:  # a user's transport: it is broken all the same
                self.loop.report(exc, self)
                return
            if not data:
                return
            if self.protocol is not None:
                self.guard(self.protocol.on_bytes, data)
            elif self.signals is not None and "on_recv" in self.signals:
                signal, buffer = self.signals["on_recv"], self.loop.read_buffer
                view = buffer.lend_bytes(data)
                buffer.hand_out(self, view, signal.slots, signal.fire, self, view)

    def borrow_broken(self, exc: BorrowError) -> None:
        self.loop.report(exc, self)
        self.finish()

    def slot_failed(self, exc: Exception) -> None:
        self.loop.report(exc, self)
        if isinstance(exc, BorrowError):
            self.finish()
        elif not isinstance(exc, QueueFull) or exc.full is None or exc.full is self:  # another one's: this one did no wrong
            self.cut = True  # it ends by a reset: what the peer has is not the whole
            if self.phase == OPEN:
                self.close()

    def guard(self, fn: Callable[..., Any], *args: Any) -> None:
        """Calls `fn(*args)`; what it raises goes to `slot_failed`."""
        try:
            fn(*args)
        except Exception as exc:
            self.slot_failed(exc)

    def begin_close(self) -> None:
        self.mute()
        self.update_interest()
        if self.link == BROKEN:
            return  # _tell_broken is on its way: on_error, then on_close
        if self.loop.closed:  # nothing waits any more
            self.finish()
        elif not self.queue:
            self.part()
        elif self.close_timeout is not None:
            self.stop_watchdog()
            self.taken_at = self.loop.now
            self._watchdog = Watchdog(self.loop, self._close_due, self._close_late, self.look)
            self._watchdog.watch()

    def part(self) -> None:
        """All is out and we close: the last word to the peer, where there is one (TLS)."""
        self.complete = self.may_end()
        self.finish()

    def may_end(self) -> bool:
        """Whether the peer may take an end now for the whole."""
        return not (self.cut or (self.protocol is not None and self.protocol.unfinished))

    def _close_due(self) -> Optional[float]:
        return None if self.close_timeout is None or not self.queue else self.last_taken() + self.close_timeout

    def _close_late(self) -> None:
        self.fail(Deadline("close: %d bytes not taken by the peer within %g s" % (self.queued, self.close_timeout or 0)))

    def last_taken(self) -> float:
        """When the peer was last seen to take something, or the first of what waits was queued, in the loop's time.

        The one place that decides what progress is: the kernel took bytes of ours, or it holds fewer than when it was asked
        last (its peer has acknowledged some). Who waits for a deadline asks at its beginning too, so that there is a last time.
        """
        if self.link == UP and self.fd >= 0:
            held = unacknowledged(self.fd)
            if held is not None:
                if self._held_back is not None and held < self._held_back:
                    self.taken_at = self.loop.now
                self._held_back = held
        return self.taken_at

    def last_heard(self) -> float:
        """When something came last that is not whole, a part of a TLS record, in the loop's time."""
        return 0.0

    def note_taken(self) -> None:
        """A deadline begins with what the system holds now; `last_taken` tells from then on what the peer takes of it."""
        if self._held_back is None:
            self.taken_at = self.loop.now
            self.last_taken()

    def witness(self, fn: Callable[[], Any]) -> None:
        """Calls `fn()` once when the stream ends, its socket still open and its queue as it is: for who tells what went."""
        self._witnesses = [*(self._witnesses or ()), fn]

    def stop_watchdog(self) -> None:
        """What closing waited for is over."""
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None

    def silence(self) -> None:
        if not self.complete and self.link >= UP and self.fd >= 0 and not self.loop.forked:
            self._cut_short()
        if self._witnesses is not None:
            witnesses, self._witnesses = self._witnesses, None
            for fn in witnesses:
                self.guard(fn)
        self.mute()
        self.stop_watchdog()
        if self.fd >= 0:
            self.update_interest()
        if self.queue is not None:
            self.queue.clear()

    def _cut_short(self) -> None:
        """What is given up does not look whole: the peer gets a reset, not an end, and the kernel keeps nothing of ours.

        Also where nothing is queued: only who sends knows whether that was all.
        """
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        except (OSError, AttributeError):  # another kind of socket, or a broken one
            pass

    def mend(self) -> None:
        if self.link == BROKEN:  # what tells that may have been taken and not called
            if self._error is not None:
                self.loop.soon(self._tell_broken, self._error)
            else:
                self.finish()
            return
        if self.fd >= 0:
            self.loop.poller.unregister(self.fd)
            self._interest = 0
            self.update_interest()
        if self._dones:
            self.loop.soon(self._run_dones)

    def free(self) -> None:
        if self.sock is not None:
            if self.loop.read_buffer.large:
                self.loop.read_buffer.left(self.sock)
            self.sock.close()
        self.queue = None

    def closed_now(self) -> None:
        try:
            self._run_dones()
        finally:
            super().closed_now()
        if self.protocol is not None:
            self.guard(self.protocol.on_close)
            self.protocol = None  # behind it: an interrupt that cuts it short has it called again
        self.reader = None

    def __del__(self, unclosed: Callable[[Any], None] = unclosed, over: int = FINISHING, getattr: Any = getattr) -> None:
        if getattr(self, "sock", None) is not None and self.registered and self.phase < over and not self.loop.forked:
            unclosed(self)


def out_of_memory() -> NetError:
    """The error of a stream for which there was no memory to read into: that stream is given up, the others live."""
    return NetError(errno.ENOMEM, "no memory to read into")
