"""Packets as a streamed answer: ChunkedAdapter (as they are), MultipartAdapter (pictures that move), SseAdapter (events).

    server.on_request += lambda exchange: MultipartAdapter(exchange).follow(camera)

Rules
- The head goes out when the adapter is made: set status and headers of `exchange.response` before. Content-Type is added where
  you have not set it, and to endless answers the fields of LIVE.
- The exchange frames: chunked, or for HTTP/1.0 until the connection closes. Where there is no body (HEAD, 204, 304) the answer
  is complete at once, and packets are counted as dropped.
- Endless answers (multipart, events) end when their server is told to stop: `Server.on_shutdown`.

Not here: what happens to a client that is slow, or goes (feed.py: `drop`, `max_queue`, `close_stream`, `follow`, `dropped`).
"""

from __future__ import annotations

import os
import re

from ...base.buffer import flat
from ...base.timer import seconds
from ...base.watchdog import Watchdog
from ...packets.feed import FINAL, Feed
from ...packets.packet import RawPacket
from ..semantics.grammar import TOKEN
from ..semantics.headers import check_field
from ..server.exchange import OPEN, SENDING

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional, Union

    from ...packets.packet import Packet
    from ..server.exchange import Exchange

LIVE = [("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no")]  # the latter: nginx is not to gather it

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]").fullmatch
_LINE_END = re.compile("\r\n|\r|\n").split
_BREAKS = re.compile("[\r\n\0]").search


class ExchangeFeed(Feed):
    """What the three have in common: the answer of `exchange`. `endless`: it ends with its server."""

    endless = False

    def __init__(
        self, exchange: Exchange, content_type: str, drop: str, max_queue: int, close_stream: bool
    ) -> None:
        super().__init__(exchange.loop, drop, max_queue, close_stream)
        check_field("Content-Type", content_type)
        self.exchange = exchange
        answer = exchange.response.headers
        if exchange.stage == OPEN:
            for name, value in [("Content-Type", content_type), *(LIVE if self.endless else ())]:
                if name not in answer:
                    answer[name] = value
        exchange.begin_streaming()
        exchange.on_drain += self.drained
        exchange.on_close += self.client_gone
        if self.endless:
            exchange.server.on_shutdown += self._server_stops
            if exchange.server.closing:  # it has said so to those who were there
                exchange.loop.call_soon(self.close)
        if exchange.bodiless:
            self.close()

    def frame(self, packet: Packet) -> Any:
        """A piece: the data of the packet as they are."""
        return packet.data if packet.size else None

    def put(self, made: Any) -> bool:
        exchange = self.exchange
        return exchange.send_owned(made) or not exchange.connection.stream.drain_due

    def can_send(self) -> bool:
        exchange = self.exchange
        return exchange.stage == SENDING and not exchange.connection.stream.closing

    def say_end(self) -> None:
        self.exchange.end()

    def cut_off(self, why: int) -> None:
        self.exchange.abort()

    def release(self) -> None:
        if self.endless:
            self.exchange.server.on_shutdown.detach(self._server_stops)

    def _server_stops(self, server: Any) -> None:
        self.close()


class ChunkedAdapter(ExchangeFeed):
    """Each packet is a piece of a chunked answer, as it is; an empty packet is nothing.

    content_type: of the answer, where you have not set it. drop: what happens to packets while more than high water (bytes, see
    Limits) is queued for the client:

        "newest"    the packet that comes is dropped
        "oldest"    up to `max_queue` packets (not bytes) are held; one more, and the oldest of these is dropped
        "latest"    one packet is held, the newest: right for pictures
        "close"     the packet is dropped, and the client cut off
        "pause"     no packet is dropped: the PacketStream, and with it its sources, is paused until there is room

    A dropped packet is a hole: for data that must be whole take "close" or "pause". close_stream: False leaves the PacketStream
    open when the client has gone. Attributes: `exchange`; `drop`, `max_queue`, `close_stream` as given; `dropped` and `depth`:
    packets dropped so far, and held now; `full`: the client is slow now.
    """

    def __init__(
        self, exchange: Exchange, *, content_type: str = "application/octet-stream", drop: str = "newest", max_queue: int = 64,
        close_stream: bool = True,
    ) -> None:
        super().__init__(exchange, content_type, drop, max_queue, close_stream)


class MultipartAdapter(ExchangeFeed):
    """Each packet is a part of a multipart/x-mixed-replace answer: a browser shows it in the place of the one before.

    content_type: of the parts. boundary: 1 to 70 characters (RFC 2046 section 5.1.1) that occur in none of them, chosen at
    random if None; ValueError for a wrong one. Browsers show a part when the next one begins, or the answer ends. drop,
    max_queue (packets), close_stream and the attributes are those of ChunkedAdapter; `boundary`: the boundary in use.
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

    def frame(self, packet: Packet) -> Any:
        size = packet.size
        return [("%s%d\r\n\r\n" % (self._head, size)).encode("latin-1"), packet.data, b"\r\n"] if size else None

    def say_end(self) -> None:
        self.exchange.send_owned(b"--%s--\r\n" % self.boundary.encode("ascii"))
        super().say_end()


class EventPacket(RawPacket):
    """A RawPacket, of UTF-8, with the name, `event`, and the `id` of the event that an SseAdapter makes of it; None
    for none. ValueError as `event()`."""

    __slots__ = ("event", "id")

    def __init__(self, data: Any, flags: int = 0, *, event: Optional[str] = None, id: Union[str, int, None] = None) -> None:
        super().__init__(data, flags)
        self.event: Optional[str] = event
        self.id: Union[str, int, None] = id
        _field("event", event)
        _field("id", id)

    def clone(self) -> EventPacket:
        """As RawPacket.clone, with the same name and id."""
        return type(self)(bytes(self.data), self.flags, event=self.event, id=self.id)


class SseAdapter(ExchangeFeed):
    """Each packet is an event of a text/event-stream (WHATWG HTML section 9.2): its data, UTF-8, an EventPacket's name and id.

    retry: seconds (on the wire: milliseconds) after which a client that lost the connection comes again. keep_alive: when
    nothing was sent for so many seconds a comment is sent, lest proxies take the connection for dead; None for no comments.
    Data that is no UTF-8 is ValueError. `last_event_id`: of a client that comes again, the id of the last event that it saw;
    else None. drop, max_queue (packets), close_stream and the other attributes are those of ChunkedAdapter.
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
        self._watchdog: Optional[Watchdog] = None
        super().__init__(exchange, "text/event-stream", drop, max_queue, close_stream)
        self._sent_at = self.loop.now
        if self.closing:
            return
        if first is not None:
            self.offer(first)
        if keep_alive is not None:
            self._keep_alive = keep_alive
            self._watchdog = Watchdog(self.loop, self._comment_due, self._beat)
            self._watchdog.watch()

    def event(
        self, data: Any, *, event: Optional[str] = None, id: Union[str, int, None] = None, retry: Optional[float] = None
    ) -> bool:
        """Sends an event: str, or bytes-like UTF-8, of any number of lines. ValueError: a line end or NUL in `event` or `id`.

        False: the client is slow or gone, wait for room or do not; what it does not get is counted in `dropped`.
        """
        self.check_thread()
        return self.offer(_event(data, event, id, retry))

    def comment(self, text: str = "") -> bool:
        """Sends a comment, which clients do not look at. Returns as `event`."""
        self.check_thread()
        return self.offer(("".join(": %s\n" % line if line else ":\n" for line in _LINE_END(text)) + "\n").encode("utf-8"))

    def frame(self, packet: Packet) -> Any:
        if not packet.size and (packet.flags & FINAL or not isinstance(packet, RawPacket)):
            return None  # no event, a mark
        return _event(packet.data, getattr(packet, "event", None), getattr(packet, "id", None), None)

    def put(self, made: Any) -> bool:
        self._sent_at = self.loop.now
        return super().put(made)

    def _comment_due(self) -> Optional[float]:
        return None if self.closing else self._sent_at + self._keep_alive

    def _beat(self) -> None:
        """Nothing was sent for long. Where something is queued, enough was."""
        self._sent_at = self.loop.now
        if not self.full:
            self.comment()
        if self._watchdog is not None:
            self._watchdog.watch()

    def release(self) -> None:
        super().release()
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None


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
    """The line of a field, empty for None."""
    if value is None:
        return ""
    text = str(value)
    if _BREAKS(text):
        raise ValueError("the %s of an event has no line end and no NUL: %r" % (name, text))
    return "%s: %s\n" % (name, text)


def _retry(value: float) -> str:
    """The line that says when to come again: `value` seconds, in milliseconds on the wire."""
    return "retry: %d\n" % round(seconds(value, "retry") * 1000)
