"""Packets as a streamed answer: ChunkedAdapter (as they are), MultipartAdapter (pictures that move), SseAdapter (events).

    server.on_request += lambda exchange: MultipartAdapter(exchange).follow(camera)

Rules
- The head goes out when the adapter is made: set status and headers of `exchange.response` before. Content-Type and the fields
  named below are added where you have not set them.
- The exchange frames: chunked, to HTTP/1.0 until the connection closes. Where there is no body (HEAD, 204, 304) the answer is
  complete at once, and packets are counted as dropped.
- Endless answers (multipart, events) end when their server is told to stop: `Server.on_shutdown`.

Not here: what happens to a client that is slow, or goes (feeding.py: `drop`, `max_queue`, `close_stream`, `follow`, `dropped`).
"""

from __future__ import annotations

import os
import re

from ..base.buffer import flat
from ..base.packet import RawPacket
from ..base.timer import Timer, seconds
from .exchange import DROPPED, OPEN, SENDING
from .feeding import FINAL, Feed
from .grammar import TOKEN
from .headers import check_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Union

    from ..base.packet import Packet
    from .exchange import Exchange

LIVE = [("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no")]  # the latter: nginx is not to gather it

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]").fullmatch
_LINE_END = re.compile("\r\n|\r|\n").split
_BREAKS = re.compile("[\r\n\0]").search


class ExchangeFeed(Feed):
    """What the three have in common: the answer of `exchange`."""

    endless = False

    def __init__(
        self, exchange: Exchange, content_type: str, drop: str, max_queue: int, close_stream: bool
    ) -> None:
        super().__init__(exchange.loop, drop, max_queue, close_stream)
        check_field("Content-Type", content_type)
        self.exchange = exchange
        answer = exchange.response.headers
        if exchange._stage == OPEN:
            for name, value in [("Content-Type", content_type), *(LIVE if self.endless else ())]:
                if name not in answer:
                    answer[name] = value
        exchange.begin_streaming()
        exchange.on_drain += self._drained
        exchange.on_close += self._gone
        if self.endless:
            exchange.server.on_shutdown += self._server_stops
        if exchange._mode == DROPPED:
            self.close()

    def _frame(self, packet: Packet) -> Any:
        """The packet's data as a piece."""
        return packet.data if packet.size else None

    def _put(self, made: Any) -> bool:
        exchange = self.exchange
        return exchange.send_owned(made) or not exchange.connection.stream._drain_due

    def _up(self) -> bool:
        exchange = self.exchange
        return exchange._stage == SENDING and not exchange.connection.stream.closing

    def _finish(self) -> None:
        self.exchange.end()

    def _cut(self, why: int) -> None:
        self.exchange.abort()

    def _release(self) -> None:
        if self.endless:
            self.exchange.server.on_shutdown.detach(self._server_stops)

    def _server_stops(self, server: Any) -> None:
        self.close()


class ChunkedAdapter(ExchangeFeed):
    """Each packet is a piece of a chunked answer, as it is; an empty one is nothing.

    A dropped packet is a hole: for data that must be whole take drop="close", or "pause".
    """

    def __init__(
        self, exchange: Exchange, *, content_type: str = "application/octet-stream", drop: str = "newest", max_queue: int = 64,
        close_stream: bool = True,
    ) -> None:
        super().__init__(exchange, content_type, drop, max_queue, close_stream)


class MultipartAdapter(ExchangeFeed):
    """Each packet is a part of a multipart/x-mixed-replace answer: a browser shows it in the place of the one before.

    content_type: of the parts. boundary: 1 to 70 characters (RFC 2046 section 5.1.1) that occur in none of them, chosen at
    random if None; ValueError for a wrong one. Browsers show a part when the next one begins, or the answer ends.
    """

    endless = True

    def __init__(
        self, exchange: Exchange, *, boundary: Optional[str] = None, content_type: str = "image/jpeg", drop: str = "latest",
        max_queue: int = 64, close_stream: bool = True,
    ) -> None:
        if boundary is None:
            boundary = "icey-" + os.urandom(16).hex()
        elif not _BOUNDARY(boundary):
            raise ValueError("a boundary has 1 to 70 characters, see RFC 2046 section 5.1.1, and is not %r" % boundary)
        check_field("Content-Type", content_type)
        self.boundary = boundary
        self._head = "--%s\r\nContent-Type: %s\r\nContent-Length: " % (boundary, content_type)
        named = boundary if TOKEN(boundary) else '"%s"' % boundary
        super().__init__(exchange, "multipart/x-mixed-replace; boundary=" + named, drop, max_queue, close_stream)

    def _frame(self, packet: Packet) -> Any:
        size = packet.size
        return [("%s%d\r\n\r\n" % (self._head, size)).encode("latin-1"), packet.data, b"\r\n"] if size else None

    def _finish(self) -> None:
        self.exchange.send_owned(b"--%s--\r\n" % self.boundary.encode("ascii"))
        super()._finish()


class EventPacket(RawPacket):
    """A RawPacket, of UTF-8, with the name and the id of the event that an SseAdapter makes of it; ValueError as `event()`."""

    __slots__ = ("event", "id")

    def __init__(self, data: Any, flags: int = 0, *, event: Optional[str] = None, id: Union[str, int, None] = None) -> None:
        super().__init__(data, flags)
        self.event = event
        self.id = id
        _field("event", event)
        _field("id", id)

    def clone(self) -> EventPacket:
        """As RawPacket.clone, with the same name and id."""
        return type(self)(bytes(self.data), self.flags, event=self.event, id=self.id)


class SseAdapter(ExchangeFeed):
    """Each packet is an event of a text/event-stream (WHATWG HTML section 9.2): its data, UTF-8, an EventPacket's name and id.

    retry: seconds (on the wire: milliseconds) after which a client that lost the connection comes again. keep_alive: when
    nothing was sent for so many seconds a comment is, lest proxies take the connection for dead; None for no such comments.
    `last_event_id`: what a client that comes again saw last, else None. Data that is no UTF-8 is ValueError.
    """

    endless = True

    def __init__(
        self, exchange: Exchange, *, retry: Optional[float] = None, keep_alive: Optional[float] = 15.0, drop: str = "newest",
        max_queue: int = 64, close_stream: bool = True,
    ) -> None:
        if keep_alive is not None and not 0 < keep_alive < float("inf"):
            raise ValueError("keep_alive is a time in seconds, or None, not %r" % (keep_alive,))
        first = None if retry is None else (_retry(retry) + "\n").encode("ascii")
        seen = exchange.request.headers.get("last-event-id")
        self.last_event_id: Optional[str] = None if seen is None else seen.encode("latin-1").decode("utf-8", "replace")
        self._timer: Optional[Timer] = None
        super().__init__(exchange, "text/event-stream", drop, max_queue, close_stream)
        self._sent_at = self.loop.now
        if self.closing:
            return
        if first is not None:
            self._offer(first)
        if keep_alive is not None:
            self._keep_alive = keep_alive
            self._timer = Timer(self.loop, keep_alive, self._beat).start()
            self._timer.unref()

    def event(
        self, data: Any, *, event: Optional[str] = None, id: Union[str, int, None] = None, retry: Optional[float] = None
    ) -> bool:
        """Sends an event: str, or bytes-like UTF-8, of any number of lines. ValueError: a line end or NUL in `event` or `id`.

        False: the client is slow or gone, wait for room or do not; what it does not get is counted in `dropped`.
        """
        self._check()
        return self._offer(_event(data, event, id, retry))

    def comment(self, text: str = "") -> bool:
        """Sends a comment, which clients do not look at. Returns as `event`."""
        self._check()
        return self._offer(("".join(": %s\n" % line if line else ":\n" for line in _LINE_END(text)) + "\n").encode("utf-8"))

    def _frame(self, packet: Packet) -> Any:
        if not packet.size and (packet.flags & FINAL or not isinstance(packet, RawPacket)):
            return None  # no event, a mark
        return _event(packet.data, getattr(packet, "event", None), getattr(packet, "id", None), None)

    def _put(self, made: Any) -> bool:
        self._sent_at = self.loop.now
        return super()._put(made)

    def _beat(self, timer: Timer) -> None:
        """Nothing may have been sent for long; with anything queued, enough has been."""
        rest = self._sent_at + self._keep_alive - self.loop.now
        if rest <= 0:
            rest = self._keep_alive
            if not self._full:
                self.comment()
        if not self.closing:
            timer.delay = rest
            timer.start()

    def _release(self) -> None:
        super()._release()
        if self._timer is not None:
            self._timer.abort()
            self._timer = None


def _event(data: Any, event: Optional[str], id: Union[str, int, None], retry: Optional[float]) -> bytes:
    """The bytes of an event, the blank line included."""
    if not isinstance(data, str):
        try:
            data = bytes(flat(data)).decode("utf-8")
        except UnicodeDecodeError as exc:
            raise ValueError("an event is UTF-8 text: %s (binary data can be sent in base64)" % exc) from None
    made = _field("event", event) + _field("id", id) + ("" if retry is None else _retry(retry))
    return (made + "".join("data: %s\n" % line for line in _LINE_END(data)) + "\n").encode("utf-8")


def _field(name: str, value: Union[str, int, None]) -> str:
    if value is None:
        return ""
    text = str(value)
    if _BREAKS(text):
        raise ValueError("the %s of an event has no line end and no NUL: %r" % (name, text))
    return "%s: %s\n" % (name, text)


def _retry(value: float) -> str:
    """On the wire it is in milliseconds."""
    return "retry: %d\n" % round(seconds(value, "retry") * 1000)
