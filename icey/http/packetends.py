"""A request's body and a WebSocket as sources of packets, and a WebSocket as a place to send them to.

    ExchangeSource(exchange)     the body, in pieces as they come; its answer as a sink is a ChunkedAdapter
    WebSocketSource(ws)          each message a packet, with PacketFlags.TEXT where it is text
    WebSocketSink(ws)            each packet a message

Rules
- A source brings packets from `start()` to `stop()`; `attach_source(source, sync_state=True)` does both. Its packets are lent,
  and revoked when the chain returns. FINAL comes once, behind the last.
- While its PacketStream is paused it does not read: the client is held up, nothing is dropped. (A source of several streams is
  held up by each of them: do not pause those.)
- A body that does not come to its end is not FINAL: the PacketStreams it feeds fail, their `error` is IncompleteBody.

Not here: what a sink does with a client that is slow, or goes (feeding.py).
"""

from __future__ import annotations

from _thread import get_ident

from ..base.errors import IncompleteBody, StateError
from ..base.handle import on_loop, wrong_thread
from ..base.packet import FlagPacket, PacketFlags, RawPacket
from ..base.packetadapter import PacketStreamAdapter
from ..base.packetstate import PAUSED, RUNNING
from ..base.packetstream import PacketStream
from .connection import WHOLE
from .exchange import DONE
from .feeding import ABORTED, FINAL, SLOW, Feed
from .states import WebSocketState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Optional, Tuple, Union

    from ..base.loop import Loop
    from ..base.packet import Packet
    from ..base.signal import Signal
    from .exchange import Exchange
    from .wssocket import WebSocket

TEXT = PacketFlags.TEXT
OPEN = WebSocketState.OPEN

INTERNAL, AGAIN = 1011, 1013  # close codes: we failed; come again later (RFC 6455 section 7.4, IANA's registry)


class ConnectionSource(PacketStreamAdapter):
    """What both sources have in common: they read from start() to stop(), but for the time that their stream is paused."""

    def __init__(self, origin: Union[Exchange, WebSocket]) -> None:
        self.loop: Loop = origin.loop
        self._origin = origin
        self._started = self._halted = False
        self._ended = False  # FINAL has gone out
        self._whole = False  # it is due: nothing follows any more

    def start(self) -> None:
        """Reads from now on. StateError when there is nothing to come any more."""
        self._check()
        if not self._started:
            self._require()
            self._started = True
            for signal, slot in self._slots():
                signal.attach(slot)
            self._go_on()

    def stop(self) -> None:
        """Reads no more: what comes waits in the kernel, and then at the client."""
        self._check()
        if self._started:
            self._halt()
            self._detach()

    def on_stream_state(self, state: Any) -> None:
        """A PacketStream this feeds moved; in whatever thread."""
        on_loop(self.loop, self._halt if state is PAUSED else self._go_on)  # what a stream is done with it holds up no more

    # a subclass's

    def _slots(self) -> Iterator[Tuple[Signal, Callable[..., None]]]:
        """What `start` attaches where."""
        raise NotImplementedError

    def _require(self) -> None:
        """StateError when it is over."""
        raise NotImplementedError

    # for both

    def _final(self) -> None:
        """All is here. The end may be met while the stream is paused: it waits, as everything else does."""
        self._whole = True
        if self._started and not self._halted and not self._ended:
            self._ended = True
            self._detach()
            self.emit(FlagPacket(FINAL))

    def _detach(self) -> None:
        if self._started:
            self._started = False
            for signal, slot in self._slots():
                signal.detach(slot)

    def _halt(self) -> None:
        if self._started and not self._halted:
            self._halted = True
            self._origin.pause()

    def _go_on(self) -> None:
        if self._started and self._halted:
            self._halted = False
            self._origin.resume()
            if self._whole:
                self.loop.call_soon(self._final)  # the stream is still telling that it goes on

    def _check(self) -> None:
        if get_ident() != self.loop._thread:
            wrong_thread(self)


class ExchangeSource(ConnectionSource):
    """The body of a request, a packet for each piece that comes; FINAL behind the last, or at once where there is no body."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.exchange = exchange

    def _slots(self) -> Iterator[Tuple[Signal, Callable[..., None]]]:
        exchange = self.exchange
        yield exchange.on_complete, self._completed
        yield exchange.on_close, self._closed
        yield exchange.on_payload, self._received  # the last: it has the body come

    def _require(self) -> None:
        exchange = self.exchange
        if self._ended or exchange._stage >= DONE:
            raise StateError("start() of a source whose body has come, or whose exchange is over",
                             "make and start it in the slot of on_request", "start, then send")
        if exchange.connection._intake == WHOLE:  # in the slot of on_request on_complete is still to come, later it is not
            self.loop.call_soon(self._final)

    def _received(self, exchange: Exchange, view: memoryview) -> None:
        self.emit(RawPacket(view))

    def _completed(self, exchange: Exchange) -> None:
        self._final()

    def _closed(self, exchange: Exchange) -> None:
        """The client has gone, or was answered early."""
        if not self._whole:
            self._ended = True
            self._detach()
            for take in self.on_packet:
                stream = getattr(take, "__self__", None)
                if isinstance(stream, PacketStream) and stream.state in RUNNING:
                    stream._failed(IncompleteBody("the exchange was over before the request's body had come"))


class WebSocketSource(ConnectionSource):
    """What a WebSocket receives: a packet for each message, text as UTF-8 with the flag TEXT; FINAL when it closes.

    Start it in the slot where the WebSocket came to be: messages that nobody takes are gone.
    """

    def __init__(self, ws: WebSocket) -> None:
        super().__init__(ws)
        self.ws = ws

    def _slots(self) -> Iterator[Tuple[Signal, Callable[..., None]]]:
        yield self.ws.on_message, self._received
        yield self.ws.on_close, self._closed

    def _require(self) -> None:
        if self._ended or self.ws.closed:
            raise StateError("start() of a source whose WebSocket is closed", "start it before that", "start, then send")

    def _received(self, ws: WebSocket, data: Any) -> None:
        self.emit(RawPacket(data.encode("utf-8"), TEXT) if type(data) is str else RawPacket(data))

    def _closed(self, ws: WebSocket, code: int, reason: str) -> None:
        self._final()


class WebSocketSink(Feed):
    """Sends each packet as a message, text if it has the flag TEXT. Made of a WebSocket that is connected, else StateError.

    text: True or False for all, whatever their flags; text that is no UTF-8 is ValueError. close: False leaves the WebSocket
    open behind the last packet; it is closed all the same where the stream fails (1011), and with drop="close" when its client
    reads too slowly (1013).
    """

    def __init__(
        self, ws: WebSocket, *, text: Optional[bool] = None, drop: str = "newest", max_queue: int = 64, close: bool = True,
        close_stream: bool = True,
    ) -> None:
        super().__init__(ws.loop, drop, max_queue, close_stream)
        if ws.state is not OPEN:
            raise StateError("a WebSocketSink of a WebSocket that is %s" % ws.state.value,
                             "make it in on_connect, or behind accept()", "start, then send")
        self.ws = ws
        self.text = text
        self._closes = close
        ws.on_drain += self._drained
        ws.on_close += self._gone

    def _frame(self, packet: Packet) -> Any:
        if not packet.size and (packet.flags & FINAL or not isinstance(packet, RawPacket)):
            return None  # no message, a mark
        text = packet.flags & TEXT if self.text is None else self.text
        return bytes(packet.data).decode("utf-8") if text else packet.data

    def _put(self, made: Any) -> bool:
        return self.ws.send(made) or not bool(self.ws.stream._drain_due)

    def _up(self) -> bool:
        return self.ws._state is OPEN and not self.ws.stream.closing

    def _finish(self) -> None:
        if self._closes:
            self.ws.close()
        else:
            self.loop.call_soon(self._gone)

    def _cut(self, why: int) -> None:
        if why == ABORTED:
            self.ws.abort()
        elif why == SLOW:
            self.ws.close(AGAIN, "this client reads too slowly")
        else:
            self.ws.close(INTERNAL)

    def _release(self) -> None:
        self.ws.on_drain.detach(self._drained)
        self.ws.on_close.detach(self._gone)
