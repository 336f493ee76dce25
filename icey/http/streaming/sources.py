"""A request's body and a WebSocket as sources of packets, and a WebSocket as a place to send them to.

    ExchangeSource(exchange)     the body, in pieces as they come; for its answer as a sink take a ChunkedAdapter
    WebSocketSource(ws)          each message a packet, with PacketFlags.TEXT where it is text
    WebSocketSink(ws)            each packet a message

A source is NEW -> READING <-> HELD (a stream is paused) <-> STOPPED (by stop()) -> READING again, or OVER (nothing follows).

Rules
- A source brings packets from `start()` to `stop()`; `attach_source(source, sync_state=True)` calls both. Its packets are lent,
  and revoked when the chain returns. FINAL comes once, behind the last.
- While its PacketStream is paused a source does not read: the client is held up, nothing is dropped. (A source of several
  streams is held up by each of them.)
- A body that does not come to its end is not FINAL: the PacketStreams it feeds fail, their `error` is IncompleteBody. Nor is a
  WebSocket that closes otherwise than in good order (WHOLE): they fail, with PeerClosed.

Not here: what a sink does with a client that is slow, or goes (feed.py).
"""

from __future__ import annotations

from ...base.errors import IncompleteBody, PeerClosed, StateError
from ...base.handle import on_loop
from ...packets.feed import ABORTED, FINAL, SLOW, Feed
from ...packets.packet import PacketFlags, RawPacket
from ..server.exchange import DONE
from ..websocket.states import WebSocketState
from .connectionsource import OVER, ConnectionSource

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Optional, Tuple

    from ...base.signal import Signal
    from ...packets.packet import Packet
    from ..server.exchange import Exchange
    from ..websocket.websocket import WebSocket

TEXT = PacketFlags.TEXT
OPEN = WebSocketState.OPEN

WHOLE = frozenset([1000, 1001, 1005])  # an end in good order: closed, going away, closed without a code
PRIVATE = 3000  # from there on codes are of libraries and applications, whose meaning they know
INTERNAL, AGAIN = 1011, 1013  # close codes: we failed; come again later (RFC 6455 section 7.4, IANA's registry)


class ExchangeSource(ConnectionSource):
    """The body of a request, a packet for each piece that comes; FINAL behind the last, or at once where there is no body.

    `exchange`: the exchange.
    """

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.exchange = exchange

    def slots(self) -> Iterator[Tuple[Signal, Callable[..., None]]]:
        exchange = self.exchange
        yield exchange.on_complete, self._completed
        yield exchange.on_close, self._closed
        yield exchange.on_payload, self._received  # the last: it has the body come

    def require_more(self) -> None:
        if self.stage == OVER or self.exchange.stage >= DONE:
            raise StateError("start() of a source whose body has come, or whose exchange is over",
                             "make and start it in the slot of on_request")

    def comes_no_more(self) -> bool:
        return self.exchange.whole  # in the slot of on_request on_complete is still to come, later it is not

    def _received(self, exchange: Exchange, view: memoryview) -> None:
        self.emit(RawPacket(view))

    def _completed(self, exchange: Exchange) -> None:
        self.complete()

    def _closed(self, exchange: Exchange) -> None:
        """The client has gone, or was answered early."""
        self.break_off(IncompleteBody("the exchange was over before the request's body had come"))


class WebSocketSource(ConnectionSource):
    """What a WebSocket receives: a packet for each message, text as UTF-8 with the flag TEXT; FINAL when it closes well.

    Where it breaks (1006), or is closed because one of the two failed (1002, 1011, ...), the PacketStreams fail: see WHOLE.
    Start it in the slot where the WebSocket came to be: messages that nobody takes are gone. `ws`: the WebSocket.
    """

    def __init__(self, ws: WebSocket) -> None:
        super().__init__(ws)
        self.ws = ws

    def slots(self) -> Iterator[Tuple[Signal, Callable[..., None]]]:
        yield self.ws.on_message, self._received
        yield self.ws.on_close, self._closed

    def require_more(self) -> None:
        if self.stage == OVER or self.ws.closed:
            raise StateError("start() of a source whose WebSocket is closed", "start it before that")

    def receiver_gone(self, stream: Any) -> None:
        """Nobody takes what comes: the WebSocket is closed (1011)."""
        if not self.taken_by_others(stream):
            on_loop(self.loop, self.loop.call_soon, self.ws.close, INTERNAL, "nobody takes the messages any more")

    def _received(self, ws: WebSocket, data: Any) -> None:
        self.emit(RawPacket(data.encode("utf-8"), TEXT) if type(data) is str else RawPacket(data))

    def _closed(self, ws: WebSocket, code: int, reason: str) -> None:
        if code in WHOLE or code >= PRIVATE:
            self.complete()
        else:
            self.break_off(PeerClosed("the WebSocket ended with %d%s" % (code, ", " + reason if reason else "")))


class WebSocketSink(Feed):
    """Sends each packet as a message, text if it has the flag TEXT. Made of a WebSocket that is connected, else StateError.

    text: True or False for all packets, whatever their flags; text that is no UTF-8 is ValueError. close: False leaves the
    WebSocket open behind the last packet; it is closed all the same where the stream fails (1011), and with drop="close" when
    its client reads too slowly (1013). drop, max_queue (packets) and close_stream are those of ChunkedAdapter, and so are the
    attributes, but for `ws`, the WebSocket, and `text`.
    """

    def __init__(
        self, ws: WebSocket, *, text: Optional[bool] = None, drop: str = "newest", max_queue: int = 64, close: bool = True,
        close_stream: bool = True,
    ) -> None:
        super().__init__(ws.loop, drop, max_queue, close_stream)
        if ws.state is not OPEN:
            raise StateError("a WebSocketSink of a WebSocket that is %s" % ws.state.value,
                             "make it in on_connect, or behind accept()")
        self.ws = ws
        self.text = text
        self._closes = close
        ws.on_drain += self.drained
        ws.on_close += self.client_gone

    def frame(self, packet: Packet) -> Any:
        if not packet.size and (packet.flags & FINAL or not isinstance(packet, RawPacket)):
            return None  # no message, a mark
        text = packet.flags & TEXT if self.text is None else self.text
        return bytes(packet.data).decode("utf-8") if text else packet.data

    def put(self, made: Any) -> bool:
        return self.ws.send(made) or not bool(self.ws.stream.drain_due)

    def can_send(self) -> bool:
        return self.ws.state is OPEN and not self.ws.stream.closing

    def say_end(self) -> None:
        if self._closes:
            self.ws.close()
        else:
            self.loop.call_soon(self.client_gone)

    def cut_off(self, why: int) -> None:
        if why == ABORTED:
            self.ws.abort()
        elif why == SLOW:
            self.ws.close(AGAIN, "this client reads too slowly")
        else:
            self.ws.close(INTERNAL)

    def release(self) -> None:
        self.ws.on_drain.detach(self.drained)
        self.ws.on_close.detach(self.client_gone)
