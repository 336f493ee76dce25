"""Stream: a connected, nonblocking stream socket on a loop.

Reading  One read of at most 64 KiB a readable event, lent to the `on_recv` slots as a view that is released when they
         return. Without a slot nothing is read: bytes wait in the kernel. A parser of ours takes plain bytes instead
         (`_use_sink`), which is the cheapest.
Writing  The kernel is tried at once; what it refuses is queued, and only then is the selector asked for writability.
Closing  `close()` drains the queue within a deadline that restarts whenever the kernel takes bytes; then `on_close`.

The link: DOWN (not connected yet) -> CONNECTING -> UP -> BROKEN (a transport error: on_error, then on_close).
The out side: SENDING -> SHUTTING (shutdown() asked for, the queue drains) -> SHUT.

Not here: how a stream comes to be connected (net/tcp.py), what a queue does with its segments (buffer.py).
"""

from __future__ import annotations

import socket
from _thread import get_ident

from .buffer import READ_SIZE, DebugWriteQueue, FileRegion, WriteQueue, flat, rest_of, retain, send_parts
from .debug import unclosed
from .errors import BorrowError, Deadline, QueueFull, StateError
from .handle import CLOSED, FINISHING, OPEN, Handle, wrong_thread
from .limits import DEFAULTS
from .poller import CAN_READ, CAN_WRITE, READ, WRITE
from .signal import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, List, Optional

    from .buffer import Data, Done
    from .loop import Loop
    from .signal import Signal
    from .timer import Timer

DOWN, CONNECTING, UP, BROKEN = range(4)
SENDING, SHUTTING, SHUT = range(3)


class Stream(Handle):
    """A stream over `sock`, a connected socket (or what has its methods), which the stream owns from now on.

    `queued` bytes wait for the kernel; from `high_water` on `send` returns False, at `low_water` `on_drain` comes, past
    `max_queue` (None: no cap) `send` raises QueueFull.
    """

    __slots__ = (
        "sock", "high_water", "low_water", "max_queue", "close_timeout", "_link", "_out", "_queue", "_interest", "_fd",
        "_reader", "_sink", "_recv", "_paused", "_discard", "_ended", "_drain_due", "_taken_at", "_close_timer", "_dones",
    )

    on_recv = Event("on_recv(stream, view): bytes came; the view is lent until the slots return")
    on_end = Event("on_end(stream): the peer sends no more; with a slot here the stream stays half open")
    on_drain = Event("on_drain(stream): the queue is down to low water, send again")
    on_error = Event("on_error(stream, exc): the transport failed; on_close follows")

    def __init__(self, loop: Loop, sock: Any) -> None:
        super().__init__(loop)
        self.sock: Any = None
        self._link, self._out = DOWN, SENDING
        self._queue: Optional[WriteQueue] = None
        self._interest, self._fd = 0, -1
        self._reader: Optional[Callable[[int], Any]] = None
        self._sink: Any = None
        self._paused = self._discard = self._ended = self._drain_due = False
        self._taken_at = 0.0
        self._close_timer: Optional[Timer] = None
        self._dones: Optional[List[Callable[[], Any]]] = None
        self.high_water, self.low_water = DEFAULTS.high_water, DEFAULTS.low_water
        self.max_queue = DEFAULTS.max_queue
        self.close_timeout = DEFAULTS.close_timeout
        if sock is not None:
            self._use_socket(sock, UP)

    # sending: the loop's thread

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel."""
        return self._queue.size if self._queue is not None else 0

    def send(self, data: Any, done: Done = None) -> bool:
        """Sends bytes-like `data`, or a list of such, borrowing them: leave them alone until `on_drain` or `done()`.

        True: below high water. False: queued, wait for `on_drain`. QueueFull: nothing was taken. StateError: not connected
        yet, shut down or closing. `done()` comes from the loop when the kernel has it all, not if the stream dies first.
        """
        if get_ident() != self.loop._thread:
            wrong_thread(self)
        return self._write(data, done, True)

    def send_owned(self, data: Any, done: Done = None) -> bool:
        """As `send`, but keeps its own: bytes by reference, anything mutable copied once if it must be queued."""
        if get_ident() != self.loop._thread:
            wrong_thread(self)
        return self._write(data, done, False)

    def shutdown(self) -> None:
        """Half-close: no more sends; the peer is told once the queue is out. Receiving goes on."""
        self._check()
        if self._phase != OPEN or self._out != SENDING:
            return
        if self._link == DOWN:
            raise StateError("shutdown() before connect()", "connect first", "start, then send")
        self._out = SHUTTING
        self._drained()

    def _write(self, data: Any, done: Done, borrowed: bool) -> bool:
        if self._link != UP or self._out or self._phase:
            if not self._may_queue():
                return False
        elif self._queue is None and done is None and (type(data) is bytes or self.loop._read_buffer.direct(data)):
            try:
                taken = self.sock.send(data)
            except (BlockingIOError, InterruptedError):
                taken = 0
            except OSError as exc:
                self._break(exc)
                return False
            if taken == len(data):
                return True
            rest = memoryview(flat(data))[taken:]
            keep = self.loop._read_buffer.keep if borrowed else retain
            return not len(rest) or self._enqueue([keep(rest)], None, borrowed)
        if type(data) is bytes:
            parts: List[Data] = [data] if data else []
        else:
            parts = self.loop._read_buffer.parts(data, borrowed)
        queue = self._queue
        if not queue:
            if self._link == UP:
                if parts:
                    try:
                        parts = rest_of(parts, send_parts(self.sock, parts))
                    except (BlockingIOError, InterruptedError):
                        pass
                    except OSError as exc:
                        self._break(exc)
                        return False
                if not parts:
                    if done is not None:
                        self._sent([done])
                    return True
            parts = parts or [b""]
        elif self.max_queue is not None and queue.size and queue.size + sum(map(len, parts)) > self.max_queue:
            size, parts, data = sum(map(len, parts)), [], None  # the traceback keeps no view of them alive
            raise self._queue_full(size)
        elif not parts:  # an empty send behind others: done when they are
            parts = [b""]
        keep = self.loop._read_buffer.keep if borrowed else retain
        return self._enqueue([keep(part) for part in parts], done, borrowed)

    def _enqueue(self, parts: List[Data], done: Done, borrowed: bool) -> bool:
        queue = self._waiting()
        queue.add(parts, done, borrowed)
        if not self._interest & WRITE:
            self._update()
        if queue.size < self.high_water:
            return True
        self._drain_due = True
        return False

    def _queue_full(self, more: int) -> QueueFull:
        self._drain_due = True
        return QueueFull("%d bytes queued, %d more would pass max_queue %d: wait for on_drain"
                         % (self.queued, more, self.max_queue or 0))

    def _send_file(self, file: BinaryIO, offset: int, count: int, close: bool = True, done: Done = None) -> bool:
        """Queues a region of a file; takes the file over when `close`. False: wait for on_drain."""
        region = FileRegion(file, offset, count, close, done)
        queued = False
        try:
            queued = not (self._link != UP or self._out or self._phase) or self._may_queue()
        finally:
            if not queued:
                region.finish()
        if queued:
            self._waiting().add_file(region)
            self._drain_due = True
            self._update()
        return False

    def _waiting(self) -> WriteQueue:
        """The queue, made where there is none."""
        if self._queue is None:
            self._queue = DebugWriteQueue() if self.loop.debug else WriteQueue()
            self._taken_at = self.loop.now
        return self._queue

    def _may_queue(self) -> bool:
        """For a stream that is not simply up: True while connecting, False to discard, else StateError."""
        if self._link == BROKEN and self._phase < CLOSED:
            return False
        self._require_open("send")
        if self._out != SENDING:
            raise StateError("send() after shutdown()", "send everything first", "close is asynchronous")
        if self._link == DOWN:
            raise StateError("send() before connect()", "connect first; while connecting, sends are queued",
                             "start, then send")
        return True

    def _flush(self) -> None:
        queue = self._queue
        if queue is None:
            return
        try:
            taken = queue.flush(self.sock)
        except BorrowError as exc:
            self._borrow_broken(exc)
            return
        except OSError as exc:
            self._break(exc)
            return
        finally:
            if queue.finished:
                self._sent(queue.finished)
                queue.finished = []
        if taken:
            self._taken_at = self.loop.now
        if not queue:
            self._queue = None
            self._drained()
            self._update()
        if self._drain_due and queue.size <= self.low_water and (not queue or queue.size):
            self._tell_drain()

    def _tell_drain(self) -> None:
        self._drain_due = False
        if self._phase == OPEN and self._sink is not None:
            self._guard(self._sink.on_drain)
        elif self._phase == OPEN:
            self._emit("on_drain", self)

    def _drained(self) -> None:
        """The queue is out, or there was none: what waited for that happens."""
        if self._queue or self._link != UP:
            return
        if self._out == SHUTTING:
            self._out = SHUT
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:  # the peer is gone already; reading, or the close, meets it
                pass
        if self._phase != OPEN or (self._out == SHUT and self._ended):
            self._part()

    def _sent(self, dones: List[Callable[[], Any]]) -> None:
        """Sends the kernel has taken whole: their `done` is called from the loop, before on_close at the latest."""
        if self._dones is None:
            self._dones = []
            self.loop._calls.append((self._run_dones, ()))
        self._dones += dones

    def _run_dones(self) -> None:
        dones, self._dones = self._dones or [], None
        try:
            while dones:
                self._guard(dones.pop(0))
        finally:
            if dones:  # a KeyboardInterrupt passes through: the others are called all the same
                self._sent(dones)

    # receiving: the loop's thread

    def pause(self) -> None:
        """Stops reading; bytes wait in the kernel, and then at the peer."""
        self._check()
        if self._phase == OPEN:
            self._paused = True
            self._discard = False
            self._update()

    def resume(self) -> None:
        """Reads on. Without an `on_recv` slot, what comes is discarded."""
        self._check()
        if self._phase == OPEN:
            self._paused = False
            self._discard = True
            self._update()

    def _use_sink(self, sink: Any) -> None:
        """Has `sink` get what comes: on_bytes(data), on_end(), on_drain(), on_error(exc), on_close()."""
        self._sink = sink
        self._update()

    def _slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_recv" and self._phase == OPEN:
            if not len(signal):
                self._discard = False  # detaching the last slot pauses
            self._update()

    def _pick_reader(self) -> Optional[Callable[[int], Any]]:
        if self._link != UP or self._ended or self._paused or self._phase != OPEN:
            return None
        if self._sink is not None:
            return self._ready_bytes
        signals = self._signals
        if signals is not None and "on_recv" in signals and len(signals["on_recv"]):
            return self._ready_lend
        return self._ready_discard if self._discard else None

    def _update(self) -> None:
        """Brings the poller in line with what is wanted now: the one place that talks to it."""
        reader = self._reader = self._pick_reader()
        wanted = READ if reader is not None else 0
        if self._phase < FINISHING and ((self._link == CONNECTING and self._fd >= 0) or (self._queue and self._link == UP)):
            wanted |= WRITE  # no descriptor yet: the addresses of a name are being tried
        ready = reader if reader is not None and wanted == READ else self._ready_any
        poller = self.loop._poller
        if wanted == self._interest:
            if wanted:
                poller.ready[self._fd] = ready
            return
        if not wanted:
            poller.unregister(self._fd)
        elif self._interest:
            poller.modify(self._fd, wanted, ready)
        else:
            poller.register(self._fd, wanted, ready)
        self._interest = wanted

    def _ready_any(self, mask: int) -> None:
        if mask & CAN_WRITE and self._interest & WRITE:
            if self._link == CONNECTING:
                self._connected()
                return
            self._flush()
        if mask & CAN_READ and self._reader is not None:
            self._reader(mask)

    def _ready_bytes(self, mask: int) -> None:
        """A parser of ours reads: plain bytes."""
        try:
            data = self._recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._break(exc)
            return
        if data:
            try:
                self._sink.on_bytes(data)
            except Exception as exc:
                self._slot_failed(exc)
        else:
            self._end()

    def _ready_lend(self, mask: int) -> None:
        """A user's slot reads: a lent view."""
        buffer = self.loop._read_buffer
        try:
            size = self.sock.recv_into(buffer.fresh())
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._break(exc)
            return
        if not size:
            self._end()
            return
        assert self._signals is not None
        signal = self._signals["on_recv"]
        slots = signal._slots
        view = buffer.lend(size)
        try:
            signal.fire(self, view)
        except Exception as exc:
            self._slot_failed(exc)
        finally:
            kept = buffer.take_back(view, slots)
            if kept is not None:
                self._borrow_broken(kept)

    def _ready_discard(self, mask: int) -> None:
        try:
            if not self._recv(READ_SIZE):
                self._end()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as exc:
            self._break(exc)

    def _end(self) -> None:
        self._ended = True
        self._update()
        if self._sink is not None:
            self._guard(self._sink.on_end)
        elif self._signals is not None and "on_end" in self._signals and len(self._signals["on_end"]):
            self._emit("on_end", self)
        else:
            self.close()
        self._drained()

    # the end

    def _connected(self) -> None:
        """The poller says that connecting came to an end; TCPSocket knows what to do."""

    def _use_socket(self, sock: Any, link: int) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._fd = sock.fileno()
        self._recv = sock.recv
        self._link = link
        self._activate()

    def _break(self, exc: OSError) -> None:
        """A transport error: sends are discarded from now on; on_error and on_close come from the loop."""
        if self._link != BROKEN and self._phase < FINISHING:
            self._link = BROKEN
            self._update()
            exc.__traceback__ = None  # it would keep what was being sent alive, a lent view too
            self.loop._calls.append((self._tell_broken, (exc,)))

    def _tell_broken(self, exc: OSError) -> None:
        if self._phase < FINISHING:
            if self._sink is not None:
                self._guard(self._sink.on_error, exc)
            else:
                self._emit("on_error", self, exc)
            self._finish()

    def _borrow_broken(self, exc: BorrowError) -> None:
        self.loop._report(exc, self)
        self._finish()

    def _slot_failed(self, exc: Exception) -> None:
        self.loop._report(exc, self)
        if isinstance(exc, BorrowError):
            self._finish()
        elif self._phase == OPEN:
            self.close()

    def _guard(self, fn: Callable[..., Any], *args: Any) -> None:
        try:
            fn(*args)
        except Exception as exc:
            self._slot_failed(exc)

    def _begin_close(self) -> None:
        self._mute()
        self._update()
        if self._link == BROKEN:
            return  # _tell_broken is on its way: on_error, then on_close
        if self.loop._closed:  # nothing waits any more
            self._finish()
        elif not self._queue:
            self._part()
        elif self.close_timeout is not None:
            self._taken_at = self.loop.now
            self._close_timer = self.loop.call_later(self.close_timeout, self._close_due)

    def _part(self) -> None:
        """All is out and we close: the last word to the peer, where there is one (TLS)."""
        self._finish()

    def _close_due(self) -> None:
        assert self._close_timer is not None and self.close_timeout is not None
        rest = self._last_taken() + self.close_timeout - self.loop.now
        if rest > 0:
            self._close_timer = self.loop.call_later(rest, self._close_due)
        else:
            self._break(Deadline("close: %d bytes not taken by the peer within %g s" % (self.queued, self.close_timeout)))

    def _last_taken(self) -> float:
        return self._taken_at  # by the kernel, or when the first of it was queued

    def _stop_close_timer(self) -> None:
        if self._close_timer is not None:
            self._close_timer.abort()
            self._close_timer = None

    def _silence(self) -> None:
        self._mute()
        self._stop_close_timer()
        if self._fd >= 0:
            self._update()
        if self._queue is not None:
            self._queue.clear()

    def _free(self) -> None:
        if self.sock is not None:
            self.sock.close()
        self._queue = None

    def _closed_now(self) -> None:
        try:
            self._run_dones()
        finally:
            super()._closed_now()
        if self._sink is not None:
            sink, self._sink = self._sink, None
            self._guard(sink.on_close)
        self._reader = None

    def __del__(self) -> None:
        if getattr(self, "sock", None) is not None and self._active and self._phase < FINISHING and not self.loop._forked:
            unclosed(self)
