"""What a WebSocket's peer is given time for: an answer to a ping, and the end of the connection.

    KeepAlive    a ping every `interval` seconds, and what follows where nothing comes back
    Patience     waits for the end of a close: as long as the kernel takes bytes, and then so many seconds
    Parting      has the stream of a peer that broke a rule, until its end: it is to read our close frame

Rules
- A pong is due within `limit` seconds of its ping; anything else that comes shows as well that the peer lives. Nobody is to
  blame while reading is paused, nor while the ping waits in a queue that moves.
- Closing at once with unread input could make the peer lose our close frame (a reset): the stream is half-closed, and what
  still comes is dropped (RFC 6455 section 7.1.1).
"""

from __future__ import annotations

from ..base.errors import Deadline
from ..base.timer import Timer
from .states import WebSocketState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Optional

    from .wslink import Link

OPEN = WebSocketState.OPEN
HELD = 0.5  # of the limit: a timer later than that says that the loop was held


def layers(stream: Any) -> Iterator[Any]:
    """`stream`, and below it those that carry it (TLS)."""
    while stream is not None:
        yield stream
        stream = getattr(stream.sock, "carrier", None)


def taken_at(stream: Any) -> float:
    """When the kernel last took some of what was queued."""
    return float(max(layer._taken_at for layer in layers(stream)))


class KeepAlive:
    """Pings, and calls `link.lose(exc)` where nothing comes back within `limit` seconds (None: that is never asked)."""

    __slots__ = ("asked", "_link", "_interval", "_limit", "_timer", "_next", "_due")

    def __init__(self, link: Link, interval: float, limit: Optional[float]) -> None:
        self.asked: Optional[float] = None  # when; None: something has come since. The link clears it
        self._link = link
        self._interval = interval
        self._limit = limit
        self._timer: Optional[Timer] = None
        self._next = self._due = 0.0

    def start(self) -> None:
        """The connection is open: the first ping goes out after an interval."""
        loop = self._link.ws.loop
        self._timer = Timer(loop, 0.0, self._tick)
        self._timer.unref()
        self._next = loop.now + self._interval
        self._wait()

    def stop(self) -> None:
        """No more pings."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.abort()

    def _wait(self) -> None:
        assert self._timer is not None
        self._due = self._next
        if self.asked is not None and self._limit is not None:
            self._due = min(self._due, self.asked + self._limit)
        self._timer.delay = max(0.0, self._due - self._link.ws.loop.now)
        self._timer.start()

    def _tick(self, timer: Timer) -> None:
        ws = self._link.ws
        late, now = ws.loop.now - self._due, max(ws.loop.now, self._due)
        if self.asked is not None and self._limit is not None and now >= self.asked + self._limit:
            if ws._state is OPEN and not self._excused(now):
                self._link.lose(Deadline(self._reproach(late)))
        if ws._state is not OPEN:  # there are no more pings
            return
        if now >= self._next:
            self._next = now + self._interval
            if self.asked is None:
                self.asked = now
            self._link.ping(b"%x" % int(now * 1000))
        self._wait()

    def _excused(self, now: float) -> bool:
        """Before the axe falls: what may be here already is read, and what is not the peer's fault forgiven."""
        link = self._link
        if link.paused:
            self.asked = None
        else:
            link.stream._look()  # it may have come while the loop was held
        if self.asked is None or link.ws._state is not OPEN:
            return True
        if link.stream.queued and taken_at(link.stream) > self.asked:
            self.asked = now  # the ping waits behind others
            return True
        return False

    def _reproach(self, late: float) -> str:
        assert self._limit is not None
        text = "no pong, nor anything else, within %g s" % self._limit
        if late > HELD * self._limit:
            text += "; a callback held this loop for some %.1f s of them: do not block in slots" % late
        return text


class Patience:
    """Calls `late()` once the kernel has taken nothing of `stream` for `seconds` (None: never), unless stopped before."""

    __slots__ = ("_stream", "_seconds", "_late", "_since", "_timer")

    def __init__(self, stream: Any, seconds: Optional[float], late: Callable[[], Any]) -> None:
        self._stream = stream
        self._seconds = seconds
        self._late = late
        self._since: float = stream.loop.now
        self._timer: Optional[Timer] = None
        self._wait()

    def stop(self) -> None:
        """It has come."""
        self._seconds = None
        if self._timer is not None:
            self._timer.abort()
            self._timer = None

    def _wait(self) -> None:
        if self._seconds is None:
            return
        rest = max(self._since, taken_at(self._stream)) + self._seconds - self._stream.loop.now
        if rest > 0:
            self._timer = self._stream.loop.call_later(rest, self._wait)
            self._timer.unref()
        else:
            self._timer = None
            self._late()


class Parting:
    """The sink of a stream that is given up: half-closed, what comes is dropped, until the peer's end or the deadline."""

    __slots__ = ("_stream", "_patience")

    def __init__(self, stream: Any, seconds: Optional[float]) -> None:
        self._stream = stream
        stream._paused = False
        stream._use_sink(self)
        stream.shutdown()
        self._patience = Patience(stream, seconds, stream.abort)

    def on_bytes(self, data: bytes) -> None:
        pass

    def on_end(self) -> None:
        self._stream.close()

    def on_drain(self) -> None:
        pass

    def on_error(self, exc: Exception) -> None:
        pass

    def on_close(self) -> None:
        self._patience.stop()
