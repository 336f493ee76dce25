"""WebSocket: messages over an upgraded connection, as server and as client (RFC 6455, RFC 7692).

    ws = WebSocket.accept(exchange)                     # in a slot of on_request, or later
    ws.on_message += lambda ws, data: ws.send(data)     # text is str, binary a lent view

    ws = WebSocket.connect(loop, "ws://127.0.0.1:8000/")
    ws.on_connect += lambda ws: ws.send("hello")

Rules
- `send` follows the stream's water marks: False, wait for `on_drain`; QueueFull past max_queue: a client that never reads is
  yours to close. While the peer is leaving, until on_close, it returns False and discards, so that broadcasts need no try.
- Messages that come while nobody is attached are dropped: attach at once, or `pause()` until you do.
- `on_close(ws, code, reason)` comes once: what the peer's close frame said; 1005 where it said nothing; 1006 where there was
  none, and where the peer broke the protocol or the connection broke (then on_error(ws, exc) comes before).
- A ping goes out every `ping_interval` seconds; nothing back within limits.pong_timeout ends the connection. The report says so
  when it was the loop that was held up.
- An exception in a slot is told to loop.on_error, and closes with 1011. A server that stops closes with 1001.

States: see WebSocketState. Not here: what goes on below (wslink.py), the handshake (wshandshake.py).
"""

from __future__ import annotations

from _thread import get_ident

from ..base.buffer import flat, own
from ..base.errors import BorrowError, HttpError, StateError, WebSocketError
from ..base.handle import CLOSED as GONE
from ..base.handle import CLOSING as LEAVING
from ..base.handle import FINISHING, Handle, wrong_thread
from ..base.limits import DEFAULTS
from ..base.signal import Event
from ..base.state import Stateful
from . import states
from .exchange import OPEN as UNANSWERED
from .states import WebSocketState
from .url import URL
from .websocket import GOING_AWAY, INTERNAL, LOST, OK
from .wshandshake import Offer, accept_request
from .wslink import DebugLink, Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Sequence

    from ..base.limits import Limits
    from ..base.loop import Loop
    from ..base.signal import Signal
    from .clientconnection import ClientConnection
    from .exchange import Exchange
    from .headers import HeadersLike
    from .server import Server
    from .wshandshake import Origins

CONNECTING, OPEN = WebSocketState.CONNECTING, WebSocketState.OPEN
CLOSING, CLOSED = WebSocketState.CLOSING, WebSocketState.CLOSED
THEIRS, OURS, BROKEN = range(3)  # whose the end is: the peer's (or not in sight), ours, or that of an error which is told


class WebSocket(Stateful, Handle):
    """One end of a connection, made by accept() or connect(). `subprotocol`: what was agreed on; `stream`: its TCPSocket."""

    __slots__ = ("limits", "subprotocol", "stream", "_state", "_link", "_told", "_end", "_code", "_reason", "_conn", "_guests")

    MOVES = states.WEBSOCKET_MOVES

    on_connect = Event("on_connect(ws): the handshake is done")
    on_message = Event("on_message(ws, data): a message: str, or a view lent until the slots return")
    on_piece = Event("on_piece(ws, data, final): instead of on_message: messages as they come, never whole; the last is empty")
    on_ping = Event("on_ping(ws, data): a ping of the peer's; its answer goes out by itself")
    on_pong = Event("on_pong(ws, data): an answer to a ping of yours or ours, or an unasked one")
    on_drain = Event("on_drain(ws): the queue is down to low water, send again")
    on_error = Event("on_error(ws, exc): the handshake, the transport or the peer failed; on_close follows")
    on_close = Event("on_close(ws, code, reason): closed; once, from the loop")

    def __init__(self, loop: Loop, limits: Optional[Limits], ping_interval: Optional[float]) -> None:
        super().__init__(loop)
        if ping_interval is not None and not 0 < ping_interval < float("inf"):
            raise ValueError("ping_interval is a time in seconds, or None, not %r" % (ping_interval,))
        self.limits = DEFAULTS if limits is None else limits
        self.subprotocol: Optional[str] = None
        self.stream: Any = None
        self._state = CONNECTING
        self._link = (DebugLink if loop.debug else Link)(self, ping_interval)
        self._told = False  # on_connect was emitted
        self._end = THEIRS
        self._code, self._reason = LOST, ""
        self._conn: Optional[ClientConnection] = None  # a client's
        self._guests: Optional[Guests] = None  # a server's

    @classmethod
    def accept(
        cls, exchange: Exchange, *, subprotocols: Sequence[str] = (), origins: Origins = None, compression: bool = True,
        ping_interval: Optional[float] = 20.0, limits: Optional[Limits] = None,
    ) -> WebSocket:
        """Answers the handshake of `exchange` and takes its connection over. HttpError (400, 403, 426) for a bad one.

        subprotocols: those spoken, best first. origins: the pages that may connect, see accept_request. ping_interval: seconds,
        None for no pings. limits: None for the server's. Headers set on exchange.response go out with the answer.
        """
        ws = cls(exchange.loop, exchange.server.limits if limits is None else limits, ping_interval)
        exchange._require(UNANSWERED, "accept")
        agreed, fields = accept_request(exchange.request, subprotocols=subprotocols, origins=origins, compression=compression)
        exchange.response.status = 101
        for name, value in fields:
            exchange.response.headers.add(name, value)
        exchange.send_header()
        ws.subprotocol = agreed.subprotocol
        ws._link.agree(agreed, False)
        ws._guests = Guests.of(exchange.server)
        ws._guests.there[ws] = None
        exchange.replace_adapter(ws._link)
        if exchange.server.closing:  # it has said so to those who were there
            ws.loop.call_soon(ws._guests.send_home, exchange.server)
        return ws

    @classmethod
    def connect(
        cls, loop: Loop, url: Any, *, headers: HeadersLike = None, subprotocols: Sequence[str] = (), compression: bool = True,
        ping_interval: Optional[float] = 20.0, limits: Optional[Limits] = None, tls: Any = None, proxy: Any = None,
    ) -> WebSocket:
        """Connects to a ws:// or wss:// URL; on_connect, or on_error and on_close, tell. ValueError for what cannot be.

        A server that does not switch is an HttpError with its status, one that breaks the handshake's rules a WebSocketError,
        both with its answer as `response`. tls: an ssl.SSLContext; proxy: a Proxy or its URL. limits.handshake_timeout is for
        all of it, names and connecting included.
        """
        from .clientconnection import ClientConnection
        from .dialing import Proxy
        from .headers import Headers

        where = URL.of(url)
        if where.scheme not in ("ws", "wss", "http", "https"):
            raise ValueError("a WebSocket is ws or wss, not %r" % where.scheme)
        if where.scheme in ("http", "https"):
            where = URL("ws" + str(where)[4:])  # a proxy is asked otherwise for these
        if where.fragment is not None:
            raise ValueError("a WebSocket's URL has no #fragment (RFC 6455 section 3)")
        ws = cls(loop, limits, ping_interval)
        offer = Offer(subprotocols, compression)
        sent = Headers(headers)
        for name, value in offer.fields():
            sent[name] = value
        conn = ClientConnection(loop, where, headers=sent, tls=tls, limits=ws.limits, proxy=Proxy.of(proxy),
                                timeout=ws.limits.handshake_timeout)
        conn.on_headers += lambda conn: ws._answered(offer)
        conn.on_error += lambda conn, exc: ws._failed(exc)
        conn.on_close += lambda conn: ws._gone()
        conn.start()
        conn.unref()  # ours decides
        ws._conn = conn
        ws._activate()
        return ws

    # any time on the loop's thread

    @property
    def closing(self) -> bool:
        """True from `close()` on, or from the peer's, and for ever."""
        return self._state is CLOSING or self._state is CLOSED

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel."""
        return self._link.queued

    def send(self, data: Any) -> bool:
        """Sends a message: str as text, bytes-like as binary (copied if mutable). Returns and raises as Stream.send.

        StateError before on_connect, after close(), and inside a message sent by `send_piece`; UnicodeEncodeError for half of a
        surrogate pair.
        """
        if get_ident() != self.loop._thread:
            wrong_thread(self)
        if self._state is not OPEN:
            return self._refused("send")
        if type(data) is bytes:
            return self._link.send(data, False)
        if isinstance(data, str):
            return self._link.send(data.encode(), True)
        return self._link.send(own(flat(data)), False)

    def send_piece(self, data: Any, *, final: bool = False) -> bool:
        """As `send`, a piece of a long message that is never held whole: all str or all bytes-like, the last one `final`.

        Pings and pongs may go in between, other messages not (StateError).
        """
        self._check()
        if self._state is not OPEN:
            return self._refused("send_piece")
        text = isinstance(data, str)
        return self._link.send_piece(data.encode("utf-8") if text else own(flat(data)), text, final)

    def ping(self, data: Any = b"") -> None:
        """Sends a ping of at most 125 bytes, else ValueError; on_pong tells of the answer."""
        self._check()
        if self._state is OPEN:
            self._link.ping(own(flat(data)))
        else:
            self._refused("ping")

    def close(self, code: int = OK, reason: str = "") -> None:
        """Says goodbye; on_close comes when the peer has, or after limits.close_timeout. ValueError: what cannot be sent.

        Before the handshake is done it is `abort()`.
        """
        self._check()
        if self._state is CONNECTING:
            self._finish()
        elif self._state is OPEN:
            self._link.say_close(code, reason)
        self._phase = max(self._phase, LEAVING)
        self._end = self._end or OURS

    def abort(self) -> None:
        """Closes without a goodbye; `on_close` comes from the loop all the same."""
        self._check()
        self._end = self._end or OURS
        self._finish()

    def pause(self) -> None:
        """Reads no more messages for now; what is under way when it is called in a slot of on_piece still comes."""
        self._check()
        if not self.closing:
            self._link.pause()

    def resume(self) -> None:
        """Reads on."""
        self._check()
        if not self.closing:
            self._link.resume()

    def _refused(self, verb: str) -> bool:
        """False until on_close where it is the peer that is leaving, or an error that ends it, else StateError."""
        if self._state is CLOSING and self._end != OURS:
            return False
        what = "before on_connect" if self._state is CONNECTING else "after close"
        raise StateError("%s() %s" % (verb, what), "wait for on_connect; after on_close make a new one", "start, then send")

    # from the handshake to the end: called by the link and by a client's connection

    def _answered(self, offer: Offer) -> None:
        conn = self._conn
        assert conn is not None and conn.response is not None
        try:
            agreed = offer.check(conn.response)
        except (HttpError, WebSocketError) as exc:
            exc.__traceback__ = None
            exc.response = conn.response
            self._failed(exc)
            conn.abort()
            return
        self.subprotocol = agreed.subprotocol
        self._link.agree(agreed, True)
        conn.replace_adapter(self._link)

    def _opened(self, stream: Any) -> None:
        """The stream is ours."""
        self.stream = stream
        self._state = OPEN
        if self._signals is not None and "on_piece" in self._signals:
            self._slots_changed("on_piece", self._signals["on_piece"])
        if self._conn is None:
            stream.unref()  # ours decides
            self._activate()
        self.loop.call_soon(self._tell_open)

    def _tell_open(self) -> None:
        if not self._told:
            self._told = True
            if self._state is OPEN:
                self._emit("on_connect", self)

    def _failed(self, exc: Exception) -> None:
        """There is no peer any more, or none to talk to: on_error from the loop."""
        if self._phase < FINISHING and self._end != BROKEN:
            self._state, self._end = CLOSING, BROKEN
            self._code, self._reason = LOST, ""
            self.loop.call_soon(self._tell_failed, exc)

    def _tell_failed(self, exc: Exception) -> None:
        if self._phase < FINISHING:
            self._emit("on_error", self, exc)

    def _parted(self, stream: Any) -> None:
        """The stream goes its own way; it still keeps the loop running, if this did."""
        if self._ref:
            (self._conn or stream).ref()
        self._gone()

    def _gone(self) -> None:
        """The stream, or the connection that was to have one, is closed: on_close follows, behind on_error."""
        if self._phase < FINISHING:
            self._state = CLOSING
            self.loop.call_soon(self._finish)

    def _slot_failed(self, exc: Exception) -> None:
        self.loop._report(exc, self)
        if isinstance(exc, BorrowError):
            self._finish()
        elif self._state is OPEN:
            self._link.say_close(INTERNAL)

    def _slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_message":
            self._link.messages = signal
        elif name == "on_piece" and self._link.core is not None:
            self._link.core.pieces = len(signal) > 0

    def _silence(self) -> None:
        self._state = CLOSING
        self._link.stop()
        if self._guests is not None:
            self._guests.there.pop(self, None)

    def _free(self) -> None:
        if not self.loop._forked:  # in a child: the stream's descriptor is let go of by the loop
            self._link.free()
            if self._conn is not None and self.stream is None:
                self._conn.abort()

    def _closed_now(self) -> None:
        try:
            self._free()
        except Exception as exc:  # its descriptor was closed behind our back
            self.loop._report(exc, self)
        self._state, self._phase = CLOSED, GONE
        self._deactivate()
        self._emit("on_close", self, self._code, self._reason)
        self._signals = self._link.messages = None  # breaks the cycle handle -> signal -> handle

    def __repr__(self) -> str:
        return "<WebSocket %s, %s>" % (self.stream.peer if self.stream is not None else "of nobody yet", self._state.value)


class Guests:
    """The WebSockets of a server: closed when it stops. One slot of its on_shutdown for all of them: there may be thousands."""

    def __init__(self) -> None:
        self.there: Dict[WebSocket, None] = {}

    @classmethod
    def of(cls, server: Server) -> Guests:
        """The server's, made on first use."""
        for slot in server.on_shutdown:
            owner = getattr(slot, "__self__", None)
            if isinstance(owner, cls):
                return owner
        made = cls()
        server.on_shutdown.attach(made.send_home, priority=-1)  # slots that say goodbye come first
        return made

    def send_home(self, server: Server) -> None:
        """The server stops."""
        for ws in tuple(self.there):
            if ws._state is OPEN:
                ws._link.say_close(GOING_AWAY, "the server stops")
