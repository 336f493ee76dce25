"""WebSocket: messages over an upgraded connection, as server and as client.

    ws = WebSocket.accept(exchange)                     # in a slot of on_request
    ws.on_message += lambda ws, data: ws.send(data)     # text is str, binary a lent view

    ws = WebSocket.connect(loop, "ws://127.0.0.1:8000/")
    ws.on_connect += lambda ws: ws.send("hello")

    CONNECTING -> OPEN -> CLOSING -> CLOSED      CLOSING: a close frame is out, or the peer broke a rule

Rules
- All that one read brings is answered by one send. `send` follows the stream's water marks: False, wait for `on_drain`; QueueFull
  past max_queue: a client that never reads is yours to close.
- `on_close(ws, code, reason)` comes once: what the peer's close frame said; 1005 where it said nothing; 1006 where there was none,
  and where the peer broke the protocol (then on_error(ws, exc) comes before).
- A ping goes out every `ping_interval` seconds; no pong within limits.pong_timeout ends the connection. The report says so when
  it was the loop that was held up.

Not here: frames (websocket.py), the handshake (wshandshake.py), compression (deflate.py).
"""

from __future__ import annotations

from ..base.errors import Deadline, HttpError, PeerClosed, StateError, WebSocketError
from ..base.handle import CLOSED as GONE
from ..base.handle import FINISHING, Handle
from ..base.limits import DEFAULTS
from ..base.signal import Event
from .url import URL
from .websocket import LOST, NONE, OK, WebSocketCore
from .wshandshake import Offer, accept_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence

    from ..base.limits import Limits
    from ..base.loop import Loop
    from ..base.timer import Timer
    from .clientconnection import ClientConnection
    from .exchange import Exchange
    from .headers import HeadersLike
    from .wshandshake import Handshake, Origins

CONNECTING, OPEN, CLOSING, CLOSED = range(4)
_STATES = ("connecting", "open", "closing", "closed")

INTERNAL = 1011
AWAY = 1001
LATE = 0.5  # of pong_timeout: a timer later than that says that the loop was held


class WebSocket(Handle):
    """One end of a WebSocket connection. `subprotocol`: what was agreed on, or None; `stream`: what it runs on."""

    __slots__ = (
        "limits", "subprotocol", "stream", "_core", "_state", "_link", "_out", "_corked", "_pending", "_paused", "_code",
        "_reason", "_ping_interval", "_ping_timer", "_ping_due", "_awaited", "_pong", "_close_timer", "_server", "_connecting",
    )

    on_connect = Event("on_connect(ws): the handshake is done")
    on_message = Event("on_message(ws, data): a message: str, or a view lent until the slots return")
    on_piece = Event("on_piece(ws, data, final): instead of on_message: pieces of messages as they come, never held whole")
    on_pong = Event("on_pong(ws, data): an answer to a ping of yours or ours, or an unasked one")
    on_drain = Event("on_drain(ws): the queue is down to low water, send again")
    on_error = Event("on_error(ws, exc): the handshake, the transport or the peer failed; on_close follows")
    on_close = Event("on_close(ws, code, reason): closed; once, from the loop")

    def __init__(self, loop: Loop, limits: Optional[Limits], ping_interval: Optional[float]) -> None:
        super().__init__(loop)
        if ping_interval is not None and not ping_interval > 0:
            raise ValueError("ping_interval is a time in seconds, or None, not %r" % (ping_interval,))
        self.limits = DEFAULTS if limits is None else limits
        self.subprotocol: Optional[str] = None
        self.stream: Any = None
        self._core: Any = None
        self._state = CONNECTING
        self._link = _Link(self)
        self._out: List[Any] = []
        self._corked = False
        self._pending = b""
        self._paused = False
        self._code, self._reason = LOST, ""
        self._ping_interval = ping_interval
        self._ping_timer: Optional[Timer] = None
        self._ping_due = 0.0
        self._awaited: Optional[bytes] = None  # the pong that is due
        self._pong: Optional[bytes] = None  # ours, while the peer does not read
        self._close_timer: Optional[Timer] = None
        self._server: Any = None
        self._connecting: Optional[ClientConnection] = None

    @classmethod
    def accept(
        cls, exchange: Exchange, *, subprotocols: Sequence[str] = (), origins: Origins = None, compression: bool = True,
        ping_interval: Optional[float] = 20.0, limits: Optional[Limits] = None,
    ) -> WebSocket:
        """Answers the handshake of `exchange` and takes its connection over. HttpError (400, 403, 426) for a bad one.

        origins: the pages that may connect, see accept_request. ping_interval: seconds, None for no pings.
        """
        ws = cls(exchange.loop, exchange.server.limits if limits is None else limits, ping_interval)
        agreed, fields = accept_request(exchange.request, subprotocols=subprotocols, origins=origins, compression=compression)
        exchange.response.status = 101
        for name, value in fields:
            exchange.response.headers.add(name, value)
        exchange.send_header()
        ws._agree(agreed, False)
        ws._server = exchange.server
        exchange.server.on_shutdown.attach(ws._server_stops)
        exchange.replace_adapter(ws._link)
        return ws

    @classmethod
    def connect(
        cls, loop: Loop, url: Any, *, headers: HeadersLike = None, subprotocols: Sequence[str] = (), compression: bool = True,
        ping_interval: Optional[float] = 20.0, limits: Optional[Limits] = None, tls: Any = None, proxy: Any = None,
    ) -> WebSocket:
        """Connects to a ws:// or wss:// URL; on_connect, or on_error and on_close, tell. ValueError for what cannot be."""
        from .clientconnection import ClientConnection
        from .dialing import Proxy
        from .headers import Headers

        where = URL.of(url)
        if where.scheme not in ("ws", "wss", "http", "https"):
            raise ValueError("a WebSocket is ws or wss, not %r" % where.scheme)
        ws = cls(loop, limits, ping_interval)
        offer = Offer(subprotocols, compression)
        sent = Headers(headers)
        for name, value in offer.fields():
            sent[name] = value
        conn = ClientConnection(loop, where, headers=sent, tls=tls, limits=ws.limits, proxy=Proxy.of(proxy),
                                timeout=ws.limits.handshake_timeout)
        conn.on_headers += lambda conn: ws._answered(conn, offer)
        conn.on_error += lambda conn, exc: ws._failed(exc)
        conn.on_close += lambda conn: ws._gone()
        ws._connecting = conn
        conn.start()
        ws._activate()
        return ws

    @property
    def state(self) -> str:
        """"connecting", "open", "closing" or "closed"."""
        return _STATES[self._state]

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel."""
        return (0 if self.stream is None else self.stream.queued) + sum(map(_size, self._out))

    # sending

    def send(self, data: Any) -> bool:
        """Sends a message: str as text, bytes-like as binary (copied if mutable). Returns and raises as Stream.send.

        StateError before on_connect and after close.
        """
        self._check()
        if self._state != OPEN:
            if self._state == CLOSING and self._phase < FINISHING and self.stream is not None and self.stream._link != 2:
                return False  # the peer is gone: discarded until on_close, so that broadcasts need no try
            self._refuse("send")
        text = isinstance(data, str)
        payload = data.encode("utf-8") if text else data if type(data) is bytes else bytes(data)
        return self._put(self._core.message(payload, text))

    def send_piece(self, data: Any, *, first: bool = False, final: bool = False) -> bool:
        """Sends a piece of a long message, which is never held whole; its type (str or bytes-like) must not change."""
        self._check()
        if self._state != OPEN:
            self._refuse("send_piece")
        text = isinstance(data, str)
        return self._put(self._core.fragment(data.encode("utf-8") if text else bytes(data), text, first, final))

    def ping(self, data: bytes = b"") -> None:
        """Sends a ping of at most 125 bytes; on_pong tells of the answer."""
        self._check()
        if self._state != OPEN:
            self._refuse("ping")
        self._put(self._core.ping(data))

    def close(self, code: int = OK, reason: str = "") -> None:
        """Says goodbye; on_close comes when the peer has, or after limits.close_timeout. ValueError: a code that cannot be sent."""
        self._check()
        if self._state == CONNECTING:
            super().abort()
        elif self._state == OPEN:
            self._say_close(code, reason)
            self._arm_close()

    def pause(self) -> None:
        """Reads no more messages for now."""
        self._check()
        if self._state == OPEN and not self._paused:
            self._paused = self._core.held = True
            self._read_on()

    def resume(self) -> None:
        """Reads on."""
        self._check()
        if self._paused and self._state == OPEN:
            self._paused = self._core.held = False
            self.loop.call_soon(self._go_on)

    def _refuse(self, verb: str) -> None:
        what = "before on_connect" if self._state == CONNECTING else "after close"
        raise StateError("%s() %s" % (verb, what), "wait for on_connect; after on_close make a new one", "start, then send")

    def _put(self, frame: Any) -> bool:
        """A frame, or its parts, goes out: with the others of this burst, if there is one."""
        if self._corked:
            self._out.append(frame)
            if len(self._out) < 64 and len(frame) < 16384:
                return bool(self.stream.queued < self.stream.high_water)
            self._flush()
            return bool(self.stream.queued < self.stream.high_water)
        below: bool = self.stream._write(frame, None, False)
        return below

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and not self.stream.closing:
            if len(out) == 1:
                self.stream._write(out[0], None, False)
            else:
                parts: List[Any] = []
                for frame in out:
                    parts += frame if type(frame) is list else (frame,)
                self.stream._write(b"".join(parts) if sum(map(len, parts)) < 65536 else parts, None, False)

    # the handshake

    def _agree(self, agreed: Handshake, client: bool) -> None:
        deflate = None
        if agreed.deflate is not None:
            from .deflate import Deflate

            deflate = Deflate(agreed.deflate, client=client)
        self.subprotocol = agreed.subprotocol
        self._core = WebSocketCore(self._link, client=client, max_message=self.limits.max_message, deflate=deflate)

    def _answered(self, conn: ClientConnection, offer: Offer) -> None:
        assert conn.response is not None
        try:
            agreed = offer.check(conn.response)
        except (HttpError, WebSocketError) as exc:
            exc.response = conn.response  # type: ignore[union-attr]
            self._failed(exc)
            conn.abort()
            return
        self._agree(agreed, True)
        conn.replace_adapter(self._link)

    def _attached(self, stream: Any) -> None:
        """The stream is ours."""
        self.stream = stream
        limits = self.limits
        stream.high_water, stream.low_water, stream.max_queue = limits.high_water, limits.low_water, limits.max_queue
        stream.close_timeout = limits.close_timeout
        self._state = OPEN
        self._activate()
        self._keep_alive()
        self.loop.call_soon(self._tell_open)

    def _tell_open(self) -> None:
        if self._state == OPEN:
            self._emit("on_connect", self)

    # what comes

    def _bytes(self, data: bytes) -> None:
        if self._pending:
            data, self._pending = self._pending + data, b""
        self._corked = True
        try:
            used = self._core.feed(data)
        except WebSocketError as exc:
            used = len(data)
            self._break(exc)
        finally:
            self._corked = False
        if self._out:
            self._flush()
        if used < len(data) and not self._core.closed_in:
            self._pending = data[used:]

    def _go_on(self) -> None:
        if not self._paused and self._state == OPEN:
            self._bytes(b"")
            self._read_on()

    def _read_on(self) -> None:
        stream = self.stream
        if stream._paused is not self._paused and not stream.closing:
            stream._paused = self._paused
            stream._update()

    def _message(self, data: Any) -> None:
        if self._state != OPEN or self._signals is None:
            return
        signal = self._signals.get("on_message")
        if signal is None:
            return
        if type(data) is str:
            try:
                signal.fire(self, data)
            except Exception as exc:
                self._slot_failed(exc)
            return
        buffer, slots = self.loop._read_buffer, signal._slots
        view = buffer.lend_bytes(data)
        try:
            signal.fire(self, view)
        except Exception as exc:
            self._slot_failed(exc)
        finally:
            kept = buffer.take_back(view, slots)
            if kept is not None:
                self.loop._report(kept, self)
                self.abort()

    def _piece(self, data: Any, final: bool) -> None:
        if self._state != OPEN:
            return
        if type(data) is str:
            self._emit("on_piece", self, data, final)
            return
        buffer = self.loop._read_buffer
        slots = self._signals["on_piece"]._slots if self._signals is not None and "on_piece" in self._signals else ()
        view = buffer.lend_bytes(data)
        try:
            self._emit("on_piece", self, view, final)
        finally:
            kept = buffer.take_back(view, slots)
            if kept is not None:
                self.loop._report(kept, self)
                self.abort()

    def _pinged(self, data: bytes) -> None:
        if self._state == OPEN:
            if self.queued < self.stream.high_water:
                self._put(self._core.pong(data))
            else:  # a peer that does not read gets the answer to its last ping alone (section 5.5.3)
                self._pong = data
                self.stream._drain_due = True

    def _ponged(self, data: bytes) -> None:
        if data == self._awaited:
            self._awaited = None
        self._emit("on_pong", self, data)

    def _closing(self, code: int, reason: str) -> None:
        """The peer's close frame."""
        self._code, self._reason = code, reason
        if self._state == OPEN:
            self._say_close(None if code == NONE else code, "")
        self._flush()
        if self._core.client:
            self._arm_close()  # the server closes the connection (section 7.1.1)
        else:
            self.stream.close()

    def _drained(self) -> None:
        if self._pong is not None and self._state == OPEN:
            data, self._pong = self._pong, None
            self._put(self._core.pong(data))
        if self._state == OPEN:
            self._emit("on_drain", self)

    # keeping alive

    def _keep_alive(self) -> None:
        if self._ping_interval is not None:
            self._ping_at(self._ping_interval, self._ping_now)

    def _ping_at(self, delay: float, fn: Any) -> None:
        self._ping_due = self.loop.now + delay
        self._ping_timer = self.loop.call_later(delay, fn)
        self._ping_timer.unref()

    def _ping_now(self) -> None:
        if self._state != OPEN:
            return
        self._awaited = b"%x" % int(self.loop.now * 1000)
        if self.stream.queued < self.stream.high_water:
            self._put(self._core.ping(self._awaited))
        if self.limits.pong_timeout is not None:
            self._ping_at(self.limits.pong_timeout, self._pong_due)
        else:
            self._keep_alive()

    def _pong_due(self) -> None:
        if self._state != OPEN:
            return
        if self._awaited is not None:
            self.stream._look()  # it may be here already, and we were busy
        if self._awaited is None or self._state != OPEN:
            if self._state == OPEN:
                self._keep_alive()
            return
        limit = self.limits.pong_timeout or 0.0
        late = self.loop.now - self._ping_due
        text = "no pong within %g s" % limit
        if late > LATE * limit:
            text += "; a callback held this loop for some %.1f s of them, so it may be here unread: do not block in slots" % late
        self._break(Deadline(text))

    # the end

    def _say_close(self, code: Optional[int], reason: str) -> None:
        frame = self._core.close(code, reason)
        self._state = CLOSING
        self._put(frame)

    def _arm_close(self) -> None:
        if self._close_timer is None and self.limits.close_timeout is not None:
            self._close_timer = self.loop.call_later(self.limits.close_timeout, self._close_late)

    def _close_late(self) -> None:
        self._close_timer = None
        self.stream.close()

    def _break(self, exc: Exception) -> None:
        """The peer broke a rule, or is gone: on_error, our close frame if there is a code for it, and the end."""
        if self._state == OPEN and isinstance(exc, WebSocketError):
            self._put(self._core.close(exc.close_code, exc.reason[:100] if exc.reason.isascii() else ""))
        self._flush()
        self._failed(exc)
        if self.stream is not None:
            if isinstance(exc, WebSocketError):
                self.stream.close()
            else:
                self.stream.abort()

    def _failed(self, exc: Exception) -> None:
        if self._state != CLOSED and self._phase < FINISHING:
            self._state = CLOSING
            self._code, self._reason = LOST, ""
            self.loop.call_soon(self._tell_failed, exc)

    def _tell_failed(self, exc: Exception) -> None:
        if self._phase < GONE:
            self._emit("on_error", self, exc)

    def _ended(self) -> None:
        """The peer's end of the stream."""
        if not self._core.closed_in:
            self._failed(PeerClosed("the connection ended without a close frame"))
        self.stream.close()

    def _gone(self) -> None:
        """The stream is closed."""
        if self._state == OPEN:
            self._failed(PeerClosed("the connection was closed without a close frame"))
        if not self.loop.closed:
            self.loop.call_soon(self._finish)  # behind on_error
        else:
            self._finish()

    def _server_stops(self, server: Any) -> None:
        if self._state == OPEN:
            self.close(AWAY, "the server is going away")

    def _slot_failed(self, exc: Exception) -> None:
        self.loop._report(exc, self)
        if self._state == OPEN:
            self.close(INTERNAL)

    def _slots_changed(self, name: str, signal: Any) -> None:
        if name == "on_piece" and self._core is not None:
            self._core.pieces = len(signal) > 0

    def _silence(self) -> None:
        self._state = CLOSED
        for timer in (self._ping_timer, self._close_timer):
            if timer is not None:
                timer.abort()
        self._ping_timer = self._close_timer = None
        if self._server is not None:
            self._server.on_shutdown.detach(self._server_stops)
            self._server = None

    def _free(self) -> None:
        if self.stream is not None:
            self.stream.abort()
        elif self._connecting is not None:
            self._connecting.abort()
        self._connecting = None

    def _closed_now(self) -> None:
        try:
            self._free()
        finally:
            self._phase = GONE
            self._deactivate()
            self._emit("on_close", self, self._code, self._reason)
            self._signals = None


class _Link:
    """The stream's sink and the core's observer."""

    __slots__ = ("ws", "stream")

    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws
        self.stream: Any = None

    def on_attach(self) -> None:
        self.ws._attached(self.stream)

    def on_bytes(self, data: bytes) -> None:
        self.ws._bytes(data)

    def on_end(self) -> None:
        self.ws._ended()

    def on_drain(self) -> None:
        self.ws._drained()

    def on_error(self, exc: Exception) -> None:
        self.ws._failed(exc)

    def on_close(self) -> None:
        self.ws._gone()

    def on_text(self, data: str) -> None:
        self.ws._message(data)

    def on_binary(self, data: Any) -> None:
        self.ws._message(data)

    def on_piece(self, data: Any, final: bool) -> None:
        self.ws._piece(data, final)

    def on_ping(self, data: bytes) -> None:
        self.ws._pinged(data)

    def on_pong(self, data: bytes) -> None:
        self.ws._ponged(data)

    def on_closing(self, code: int, reason: str) -> None:
        self.ws._closing(code, reason)


def _size(frame: Any) -> int:
    return sum(map(len, frame)) if type(frame) is list else len(frame)


