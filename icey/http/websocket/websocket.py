"""WebSocket: messages over an upgraded connection, as server and as client (RFC 6455, RFC 7692).

    ws = WebSocket.accept(exchange)                     # in a slot of on_request, or later
    ws.on_message += lambda ws, data: ws.send(data)     # text is str, binary a lent view

    ws = WebSocket.connect(loop, "ws://127.0.0.1:8000/")
    ws.on_connect += lambda ws: ws.send("hello")

Rules
- `send` follows the stream's water marks: False says wait for `on_drain`. QueueFull comes past limits.max_queue: closing a
  client that never reads is the application's decision. While the peer is leaving, until on_close, `send` returns False and
  discards, so that a broadcast needs no try.
- Messages that come while no slot is attached are dropped: attach at once, or `pause()` until a slot is.
- `on_close(ws, code, reason)` comes once, with what the peer's close frame said: 1005 where the frame said nothing, 1006 where
  there was none, and where the peer broke the protocol or the connection broke (then on_error(ws, exc) comes before).
- A ping goes out every `ping_interval` seconds. Where nothing comes back within limits.pong_timeout the connection ends; the
  report says so when it was the loop that was held up.
- An exception in a slot is told to loop.on_error, and closes with 1011; but not the QueueFull of another WebSocket: who sent
  what somebody else does not read is not to blame. To send to many, take `broadcast`.
- A server that stops closes with 1001.

States: see WebSocketState. Not here: how a connection begins (accepting.py for a server, connecting.py for a client, both by
handshake.py), what goes on below (connection.py).
"""

from __future__ import annotations

from _thread import get_ident

from ...base.buffer import flat, own
from ...base.emitter import wrong_thread
from ...base.errors import BorrowError, QueueFull, StateError
from ...base.handle import CLOSED as GONE, CLOSING as LEAVING, FINISHING, Handle
from ...base.lazy import left_out
from ...base.limits import limits_of
from ...base.signal import Event
from ...base.state import InState, transitions
from . import states
from .connection import DebugWebSocketConnection, WebSocketConnection
from .frames import INTERNAL, LOST, MESSAGE, OK
from .states import WebSocketState

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Sequence, Union

    from typing_extensions import Buffer, Self

    from ...base.limits import Limits
    from ...base.loop import Loop
    from ...base.signal import Signal
    from ..client.connection import ClientConnection
    from ..semantics.headers import HeadersLike
    from ..server.exchange import Exchange
    from .accepting import Guests
    from .compression import Compression
    from .handshake import Handshake, Origins

CONNECTING, OPEN = WebSocketState.CONNECTING, WebSocketState.OPEN
CLOSING, CLOSED = WebSocketState.CLOSING, WebSocketState.CLOSED

THEIRS, OURS, BROKEN = range(3)  # who ends it: the peer (or nobody yet), this side, or an error, which is told
ENDS = transitions({THEIRS: (OURS, BROKEN), OURS: (BROKEN,), BROKEN: ()}, names=("THEIRS", "OURS", "BROKEN"))


class WebSocket(InState, Handle):
    """One end of a connection, made by accept() or connect().

    `subprotocol`: what was agreed on, None for none. `stream`: its TCPSocket or TLSSocket, None before the handshake is done.
    `limits`: its Limits. For what begins and carries the connection: `connection`, its WebSocketConnection; `announced`:
    on_connect is being emitted, or has been; `client`: the ClientConnection that asked, None for a server's; `guests`: those of
    the server that accepted, None for a client's.
    """

    __slots__ = (
        "limits", "subprotocol", "stream", "connection", "announced", "client", "guests", "_state", "_end", "_code", "_reason",
    )

    MOVES = states.MOVES
    STATES = {"_end": ENDS}

    on_connect: Event[Callable[[Self], Any]] = Event("on_connect(ws): the handshake is done")
    on_message: Event[Callable[[Self, Union[str, memoryview]], Any]] = Event(
        "on_message(ws, data): a message: str, or a view lent until the slots return")
    on_piece: Event[Callable[[Self, Union[str, memoryview], bool], Any]] = Event(
        "on_piece(ws, data, final): instead of on_message: messages as they come, never whole; the last is empty")
    on_ping: Event[Callable[[Self, bytes], Any]] = Event(
        "on_ping(ws, data): a ping of the peer's; its answer goes out by itself")
    on_pong: Event[Callable[[Self, bytes], Any]] = Event(
        "on_pong(ws, data): an answer to a ping of yours or ours, or an unasked one")
    on_drain: Event[Callable[[Self], Any]] = Event("on_drain(ws): the queue is down to low water, send again")
    on_error: Event[Callable[[Self, Exception], Any]] = Event(
        "on_error(ws, exc): the handshake, the transport or the peer failed; on_close follows")
    on_close: Event[Callable[[Self, int, str], Any]] = Event(  # type: ignore[assignment]  # it tells more than a Handle's
        "on_close(ws, code, reason): closed; once, from the loop")

    def __init__(self, loop: Loop, limits: Optional[Limits], ping_interval: Optional[float]) -> None:
        super().__init__(loop)
        if ping_interval is not None and not 0 < ping_interval < float("inf"):
            raise ValueError("ping_interval is a time in seconds, or None, not %r" % (ping_interval,))
        self.limits: Limits = limits_of(limits)
        self.subprotocol: Optional[str] = None
        self.stream: Any = None
        self._state = CONNECTING
        kind = DebugWebSocketConnection if loop.debug else WebSocketConnection
        self.connection: WebSocketConnection = kind(self, ping_interval)
        self.announced: bool = False
        self._end = THEIRS
        self._code, self._reason = LOST, ""
        self.client: Optional[ClientConnection] = None
        self.guests: Optional[Guests] = None

    @classmethod
    def accept(
        cls, exchange: Exchange, *, subprotocols: Sequence[str] = (), origins: Origins = None, compression: Compression = True,
        ping_interval: Optional[float] = 20.0, limits: Optional[Limits] = None,
    ) -> WebSocket:
        """Answers the handshake of `exchange` and takes its connection over. HttpError (400, 403, 426) for a bad one.

        subprotocols: those spoken, best first. origins: the pages that may connect, see accept_request. ping_interval: seconds,
        None for no pings. limits: None for the server's. compression: whether messages may be compressed, where the client
        offers it: True, False or a WebSocketCompression. Headers set on exchange.response go out with the answer.
        """
        from .accepting import accept

        ws = cls(exchange.loop, exchange.server.limits if limits is None else limits, ping_interval)
        accept(ws, exchange, subprotocols, origins, compression)
        return ws

    @classmethod
    def connect(
        cls, loop: Loop, url: Any, *, headers: HeadersLike = None, subprotocols: Sequence[str] = (),
        compression: Compression = True, ping_interval: Optional[float] = 20.0, limits: Optional[Limits] = None,
        tls: Any = None, proxy: Any = None,
    ) -> WebSocket:
        """Connects to a ws:// or wss:// URL; on_connect, or on_error and on_close, tell. ValueError for what cannot be.

        A server that does not switch is an HttpError with its status, one that breaks the handshake's rules a WebSocketError,
        both with its answer as `response`. compression: what is offered, True, False or a WebSocketCompression. tls: an
        ssl.SSLContext; proxy: a Proxy or its URL. limits.handshake_timeout is for all of it, names and connecting included.
        """
        try:
            from .connecting import checked, connect
        except ModuleNotFoundError as exc:  # a copy for servers
            raise AttributeError(left_out(exc, "http.websocket.connecting", "websocket-client")) from None
        where = checked(url)
        ws = cls(loop, limits, ping_interval)
        connect(ws, where, headers, subprotocols, compression, tls, proxy)
        return ws

    # any time on the loop's thread

    @property
    def closing(self) -> bool:
        """True from `close()` on, or from the peer's, and for ever."""
        return self._state is CLOSING or self._state is CLOSED

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel."""
        return self.connection.queued

    def send(self, data: Union[str, Buffer]) -> bool:
        """Sends a message: str as text, bytes-like as binary (copied if mutable). Returns and raises as Stream.send.

        StateError before on_connect, after close(), and inside a message sent by `send_piece`; UnicodeEncodeError for half of a
        surrogate pair.
        """
        if get_ident() != self.loop.thread:
            wrong_thread(self)
        if self._state is not OPEN:
            return self._refused("send")
        if type(data) is bytes:
            return self.connection.send(data, False)
        if isinstance(data, str):
            return self.connection.send(data.encode(), True)
        if type(data) is memoryview and data.c_contiguous and data.itemsize == data.ndim == 1:  # such as on_message lends
            return self.connection.send(data, False)
        return self.connection.send(own(flat(data, MESSAGE)), False)

    def send_piece(self, data: Any, *, final: bool = False) -> bool:
        """As `send`, a piece of a long message that is never held whole: all str or all bytes-like, the last one `final`.

        Pings and pongs may go in between, other messages not (StateError).
        """
        self.check_thread()
        if self._state is not OPEN:
            return self._refused("send_piece")
        text = isinstance(data, str)
        return self.connection.send_piece(data.encode("utf-8") if text else own(flat(data, MESSAGE)), text, final)

    def ping(self, data: Any = b"") -> None:
        """Sends a ping of at most 125 bytes, else ValueError; on_pong tells of the answer."""
        self.check_thread()
        if self._state is OPEN:
            self.connection.ping(own(flat(data)))
        else:
            self._refused("ping")

    def close(self, code: int = OK, reason: str = "") -> None:
        """Says goodbye; on_close comes when the peer has, or after limits.close_timeout. ValueError: what cannot be sent.

        Before the handshake is done it is `abort()`.
        """
        self.check_thread()
        if self._state is CONNECTING:
            self.finish()
        elif self._state is OPEN:
            self.connection.say_close(code, reason)
        self.phase = max(self.phase, LEAVING)
        self._end = self._end or OURS

    def abort(self) -> None:
        """Closes without a goodbye; `on_close` comes from the loop all the same."""
        self.check_thread()
        self._end = self._end or OURS
        self.finish()

    def pause(self) -> None:
        """Reads no more messages for now; what is under way when it is called in a slot of on_piece still comes."""
        self.check_thread()
        if not self.closing:
            self.connection.pause()

    def resume(self) -> None:
        """Reads on."""
        self.check_thread()
        if not self.closing:
            self.connection.resume()

    def _refused(self, verb: str) -> bool:
        """False until on_close where it is the peer that is leaving, or an error that ends it, else StateError."""
        if self._state is CLOSING and self._end != OURS:
            return False
        if self._state is CONNECTING:
            raise StateError("%s() before on_connect" % verb, "wait for on_connect", "start, then send")
        raise StateError("%s() after close" % verb,
                         "make a new one; `closing` tells, and on_close says when the old one is gone", "close is asynchronous")

    # from the handshake to the end: called by what begins the connection (accepting.py, connecting.py) and by what carries it

    def agree(self, agreed: Handshake, client: bool) -> None:
        """The handshake is done; the stream follows. client: whether this end is the client."""
        self.subprotocol = agreed.subprotocol
        self.connection.agree(agreed, client)

    def opened(self, stream: Any) -> None:
        """The stream is ours: messages go both ways from now on, and on_connect is told from the loop."""
        self.stream = stream
        self._state = OPEN
        if self.client is None:
            stream.unref()  # this WebSocket decides whether the loop runs on
            self.activate()
        self.loop.call_soon(self.announce)

    def announce(self) -> None:
        """Emits on_connect, once; called at the latest when bytes have come."""
        if not self.announced:
            self.announced = True
            if self._state is OPEN:
                self.emit("on_connect", self)

    def leave(self) -> None:
        """From now on no message is sent or told any more."""
        self._state = CLOSING
        self.connection.drop_messages()

    def peer_left(self, code: int, reason: str) -> None:
        """The peer's close frame has come: on_close is to tell what it said."""
        self._code, self._reason = code, reason

    def failed(self, exc: Exception) -> None:
        """There is no peer any more, or none to talk to: on_error follows, from the loop, and tells `exc`."""
        if self.phase < FINISHING and self._end != BROKEN:
            self.leave()
            self._end = BROKEN
            self._code, self._reason = LOST, ""
            self.loop.call_soon(self._tell_failed, exc)

    def _tell_failed(self, exc: Exception) -> None:
        if self.phase < FINISHING:
            self.emit("on_error", self, exc)

    def parted(self, stream: Any) -> None:
        """The stream goes its own way; it still keeps the loop running, if this WebSocket did."""
        if self.counts:
            (self.client or stream).ref()
        self.gone()

    def gone(self) -> None:
        """The stream, or the connection that was to have one, is closed: on_close follows, behind on_error."""
        if self.phase < FINISHING:
            self.leave()
            self.loop.call_soon(self.finish)

    def slot_failed(self, exc: Exception) -> None:
        self.loop.report(exc, self)
        if isinstance(exc, BorrowError):
            self.finish()
        elif self._state is OPEN and not (isinstance(exc, QueueFull) and exc.full not in (None, self)):
            self.connection.say_close(INTERNAL)  # but not where it is another one that did not read

    def borrow_broken(self, exc: BorrowError) -> None:
        self.loop.report(exc, self)
        self.finish()

    def slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_message" and not self.closing:
            self.connection.messages = signal
        elif name == "on_piece" and not self.closing:
            self.connection.take_pieces(signal)

    def silence(self) -> None:
        self.leave()
        self.connection.stop()
        if self.guests is not None:
            self.guests.remove(self)

    def free(self) -> None:
        if not self.loop.forked:  # in a child: the stream's descriptor is let go of by the loop
            self.connection.free()
            if self.client is not None and self.stream is None:
                self.client.abort()

    def closed_now(self) -> None:
        try:
            self.free()
        except Exception as exc:  # its descriptor was closed behind our back
            self.loop.report(exc, self)
        self._state = CLOSED
        self.phase: int = GONE
        self.deactivate()
        self.emit("on_close", self, self._code, self._reason)
        self.signals: Optional[Dict[str, Signal]] = None  # breaks the cycle handle -> signal -> handle
        self.connection.messages = self.connection.pieces = None

    def __repr__(self) -> str:
        return "<WebSocket %s, %s>" % (self.stream.peer if self.stream is not None else "of nobody yet", self._state.value)
