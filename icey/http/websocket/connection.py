"""WebSocketConnection: stands between a WebSocket, its core and its stream: the stream's protocol and the core's observer.

    in     stream -> on_bytes -> core.feed -> on_text, on_ping, ... -> the WebSocket's slots
    out    WebSocket.send -> send -> core.message -> stream.write

How a connection ends           what follows                                                     on_close tells
    we say goodbye              the peer's close frame is awaited, its messages are dropped      its code; 1006 if none comes
    the peer says goodbye       it gets the same code back                                       its code; 1005 if it has none
    the peer breaks a rule      on_error, a close frame with the reason, and LingeringClose      1006
    no answer to our ping       on_error, abort                                                  1006
    the stream breaks, or       on_error, unless our close frame was out, and all before it      1006
      ends without a close frame
Once both close frames are out the server closes the stream, and the client waits for that (RFC 6455 section 7.1.1).

Rules
- All that one read brings is answered by one send, or by several of 16 KiB.
- At most BURST frames of it are taken in a turn: who sends thousands of tiny messages waits for the others.
- max_queue bounds messages alone. Pongs, pings and the close frame always go out; while the queue is above high water, only the
  last ping is answered (section 5.5.3).

Not here: frames (frames.py), pings of our own (keepalive.py), what a user sees (websocket.py).
"""

from __future__ import annotations

from ...base.buffer import kept_view
from ...base.errors import Deadline, PeerClosed, QueueFull, WebSocketError
from ...base.lingering import LingeringClose
from ...base.stream import UP
from ...base.streamprotocol import StreamProtocol
from ...base.watchdog import Watchdog
from .frames import LARGE, NONE, MessageObserver, WebSocketCore
from .keepalive import KeepAlive
from .states import WebSocketState

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, List, Optional

    from ...base.signal import Signal
    from .handshake import Handshake
    from .websocket import WebSocket

OPEN = WebSocketState.OPEN

MOST_GATHERED = LARGE  # bytes of a burst's frames, before they go out: who sends until False must come to it
BURST = 256  # frames that one connection may have in a turn of the loop: half a millisecond where each is answered
JOIN_BELOW = 65536  # bytes: a shorter burst is sent as one piece of memory


class WebSocketConnection(StreamProtocol, MessageObserver):
    """What the WebSocket `ws` has below itself.

    `core`: its WebSocketCore, once the handshake is done; `stream`: its stream, from then until it is given up. `paused`:
    nothing is read. `messages`, `pieces`: the signals on_message and on_piece of a WebSocket that is open, or about to be, and
    has had a slot there; else None, and what comes is dropped.
    """

    __slots__ = (
        "ws", "core", "stream", "paused", "messages", "pieces", "_carrier", "_keepalive", "_corked", "_out", "_gathered",
        "_pending", "_ended", "_pong", "_watchdog", "_closing_since",
    )

    def __init__(self, ws: WebSocket, ping_interval: Optional[float]) -> None:
        self.ws: WebSocket = ws
        self.core: Any = None
        self.stream: Any = None
        self.paused: bool = False
        self.messages: Optional[Signal] = None
        self.pieces: Optional[Signal] = None
        self._carrier: Any = None  # the stream below a TLSSocket
        self._keepalive = None if ping_interval is None else KeepAlive(self, ping_interval, ws.limits.pong_timeout)
        self._corked = False  # inside a burst: frames are gathered
        self._out: Any = ()  # the frames of the burst, a list inside of one: idle connections are many
        self._gathered = 0  # the bytes of these frames
        self._pending = b""  # bytes that were read, and wait for resume()
        self._ended = False  # the peer's end was read, and waits behind them
        self._pong: Optional[bytes] = None  # the payload of a pong that waits for room in the queue
        self._watchdog: Optional[Watchdog] = None  # of the close: since our close frame went out
        self._closing_since = 0.0

    # for the WebSocket, and for what made the connection

    def agree(self, agreed: Handshake, client: bool) -> None:
        """The handshake is done, and this is what was agreed on. client: whether this end is the client."""
        deflate = None
        if agreed.deflate is not None:
            from .handshake import deflate_of

            deflate = deflate_of(agreed.deflate, client)
        self.core = WebSocketCore(self, client=client, max_message=self.ws.limits.max_message, deflate=deflate)
        self.core.held = self.paused
        self.core.burst = BURST
        self.core.pieces = self.pieces is not None and len(self.pieces) > 0

    def on_attach(self) -> None:
        """`stream` is ours from now on."""
        stream, limits = self.stream, self.ws.limits
        self._carrier = getattr(stream.sock, "carrier", None)
        stream.high_water, stream.low_water, stream.close_timeout = limits.high_water, limits.low_water, limits.close_timeout
        stream.max_queue = None  # `_require_room` keeps limits.max_queue
        self.ws.opened(stream)
        if self._keepalive is not None:
            self._keepalive.start()
        stream.hold(self.paused)

    def take_pieces(self, signal: Signal) -> None:
        """Slots were attached to on_piece, or detached: the next messages come in pieces, or whole."""
        self.pieces = signal
        if self.core is not None:
            self.core.pieces = len(signal) > 0

    def drop_messages(self) -> None:
        """The WebSocket is not open any more: messages that still come are dropped."""
        self.messages = self.pieces = None

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel."""
        return self._gathered + (self.stream.queued if self.stream is not None else 0)

    def send(self, payload: Any, text: bool) -> bool:
        """Sends a message. Returns and raises as Stream.send.

        payload: bytes, or a flat view of memory that may change afterwards: the core copies it behind a frame's head. A frame
        too large for that goes to the stream at once, in a burst, too, which copies what must wait.
        """
        stream = self.stream
        busy = stream.queue is not None or self._carrier is not None
        if busy:
            self._require_room(len(payload))  # before the core packs the message: a packed one has to go out
        frame = self.core.message(payload, text)
        if not self._corked or type(frame) is not bytes:
            return self._put(frame)
        self._out.append(frame)  # as in `_put`
        self._gathered += len(frame)
        if busy or self._gathered >= MOST_GATHERED:
            return self._below()
        return True

    @property
    def slow(self) -> bool:
        """Whether what waits is above high water."""
        return bool(self.stream.queued + self._gathered >= self.stream.high_water)

    def share(self, frame: bytes, size: int, payload: bytes, text: bool) -> bool:
        """Sends a message that others get too, `frame`, `size` bytes, where it is a server's; False: it cannot be taken now."""
        stream, core = self.stream, self.core
        if core.sending or stream.phase:
            return False
        if stream.queue is not None or self._carrier is not None or self._gathered or not stream.high_water:  # not as usual
            if self.slow:
                return False
            most, queued = self.ws.limits.max_queue, stream.queued
            if most is not None and queued and queued + self._gathered + size > most:
                return False
        if core.client:
            frame = core.message(payload, text)  # masked by a key of its own
        if self._corked:
            self._put(frame)
            return True
        return bool(stream.write(frame, None, False)) or stream.link == UP

    def send_piece(self, payload: bytes, text: bool, final: bool) -> bool:
        """Sends a piece of a message."""
        self._require_room(len(payload))
        return self._put(self.core.fragment(payload, text, final))

    def ping(self, data: bytes) -> None:
        """Sends a ping."""
        frame = self.core.ping(data)
        if not self.stream.closing:
            self._put(frame)

    def say_close(self, code: Optional[int], reason: str = "") -> None:
        """Sends our close frame; from then on the connection only listens for the peer's. ValueError: it cannot be sent."""
        frame = self.core.close(code, reason)
        self.ws.leave()
        if not self.stream.closing:  # by others: the server's connection was closed
            self._put(frame)
            self.resume()
            self._closing_since = self.ws.loop.now
            self._watchdog = Watchdog(self.ws.loop, self._close_due, self._close_late, self.stream.look)
            self._watchdog.watch()

    def lose(self, exc: Exception) -> None:
        """The peer is not there any more."""
        self.ws.failed(exc)
        self.stream.abort()

    def stop(self) -> None:
        """Ends the timers, and what was read."""
        if self.core is not None:
            self.core.held = True
        if self._keepalive is not None:
            self._keepalive.stop()
        if self._watchdog is not None:
            self._watchdog.stop()

    def free(self) -> None:
        """The WebSocket is closed. Nothing is left for the collector."""
        self.stop()
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.abort()
            stream.protocol = None
        self.ws = self.core = self._keepalive = self._watchdog = None  # type: ignore[assignment]

    # reading and not reading

    def pause(self) -> None:
        """Reads no more for now."""
        self.paused = True
        if self.core is not None:
            self.core.held = True
        if self.stream is not None:
            self.stream.hold(True)

    def resume(self) -> None:
        """Reads on, from the loop; what was read before comes first."""
        if self.paused:
            self.paused = False
            if self._keepalive is not None:
                self._keepalive.asked = None  # the answer may be among what was not read
            if self.core is not None:
                self.core.held = False
                self.ws.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        stream = self.stream
        if self.paused or stream is None:
            return
        if self._pending and not stream.closing:
            self.on_bytes(b"")
            if self._pending:  # there is another burst in it, or a slot has paused
                return
        if self._ended and not self.paused and not stream.closing:
            self.on_end()
        stream.hold(self.paused)

    # out

    def _put(self, frame: Any) -> bool:
        """A frame, or a list of its parts, goes out: with the others of this burst, if there is one."""
        stream = self.stream
        if not self._corked:
            below: bool = stream.write(frame, None, False)
            return below
        self._out.append(frame)
        self._gathered += len(frame) if type(frame) is bytes else sum(map(len, frame))
        return self._below()

    def _below(self) -> bool:
        """Whether the queue is below high water, once a burst that has grown large enough has gone out."""
        if self._gathered >= MOST_GATHERED:
            self._flush()
        return bool(self.stream.queued < self.stream.high_water)

    def _flush(self) -> None:
        """Sends what the burst has gathered."""
        out, size, stream = self._out, self._gathered, self.stream
        if out:
            self._out, self._gathered = [], 0  # this burst may have more
            if not stream.phase:  # else it is closing
                stream.write(out[0] if len(out) == 1 else _joined(out, size), None, False)

    def _require_room(self, size: int) -> None:
        """QueueFull where `size` bytes more would pass max_queue."""
        most, queued = self.ws.limits.max_queue, self.stream.queued
        if most is not None and queued and queued + self._gathered + size > most:
            self.stream.want_drain()
            raise QueueFull.of(queued + self._gathered, size, most, self.ws)

    # called by the stream

    def on_bytes(self, data: bytes) -> None:
        """The stream read `data`."""
        core, ws, keepalive = self.core, self.ws, self._keepalive
        if keepalive is not None:
            keepalive.asked = None
        if not ws.announced:  # bytes may come with the handshake
            ws.announce()
        if self._pending:
            data, self._pending = self._pending + data, b""
        self._corked, self._out = True, []
        try:
            used = core.feed(data)
        except WebSocketError as exc:
            exc.__traceback__ = None  # its frames would keep the bytes alive
            self._fail(exc)
            return
        except BaseException:  # a KeyboardInterrupt passes through; the place in the frame is lost
            ws.abort()
            raise
        finally:
            self._corked = False
        out = self._out
        if len(out) == 1 and not self.stream.phase:  # the usual answer: as `_flush` does it
            self._gathered = 0
            self.stream.write(out.pop(), None, False)
        elif out:
            self._flush()
        self._out = ()
        if used < len(data) and not core.closed_in:
            self._pending = data[used:]
            if not self.paused:  # a burst was taken: the rest waits, and so does what is not read yet
                ws.loop.soon(self._go_on)
                self.stream.hold(True)

    def on_end(self) -> None:
        """The peer sends no more."""
        if self.paused:
            self._ended = True
            return
        if self.ws.state is OPEN:
            self.ws.failed(PeerClosed("the connection ended without a close frame"))
        self.stream.close()

    def on_drain(self) -> None:
        """The queue is down to low water."""
        if self.ws.state is OPEN:
            if self._pong is not None:
                data, self._pong = self._pong, None
                self._put(self.core.pong(data))
            self.ws.emit("on_drain", self.ws)

    def on_error(self, exc: OSError) -> None:
        """The transport failed. Where a burst held the stream, the peer's last words are read now."""
        self.core.burst = 0
        if self._pending and not self.paused:
            self.on_bytes(b"")
            if self.stream is not None and not (self.paused or self.core.closed_in):
                self.stream.hold(False)
                self.stream.read_last()
        if self.stream is not None:
            if self.stream.queued or self.ws.state is OPEN:
                self.ws.failed(exc)
            else:
                self.stream.complete = self.core.closed_in  # both said goodbye: without close_notify, too, it is no cut

    def on_close(self) -> None:
        """The stream is closed."""
        self.stop()
        self.ws.gone()

    # called by the core

    def on_text(self, data: str) -> None:
        """A text message."""
        signal = self.messages
        if signal is not None:
            ws = self.ws
            try:
                signal.fire(ws, data)
            except Exception as exc:
                ws.slot_failed(exc)

    def on_binary(self, data: bytes) -> None:
        """A binary message: lent. Not by ReadBuffer.hand_out: a message is bytes of its own, and this is once a message."""
        signal = self.messages
        if signal is not None:
            ws, slots = self.ws, signal.slots
            view = memoryview(data)
            try:
                signal.fire(ws, view)
            except Exception as exc:
                ws.slot_failed(exc)
            finally:
                try:
                    view.release()
                except BufferError:
                    ws.borrow_broken(kept_view(slots))

    def on_piece(self, data: Any, final: bool) -> None:
        """A piece of a message: str, or lent."""
        signal = self.pieces
        if signal is None:
            return
        if type(data) is not str:
            self._lend(signal, data, final)
            return
        try:
            signal.fire(self.ws, data, final)
        except Exception as exc:
            self.ws.slot_failed(exc)

    def _lend(self, signal: Signal, data: bytes, *more: Any) -> None:
        """Lends `data` to the slots of `signal` by the loop's buffer, which finds more of what escapes in debug mode."""
        ws = self.ws
        buffer = ws.loop.read_buffer
        view = buffer.lend_bytes(data)
        buffer.hand_out(ws, view, signal.slots, signal.fire, ws, view, *more)

    def on_ping(self, data: bytes) -> None:
        """A ping: answered, at once or when there is room."""
        if self.ws.state is OPEN:
            if self.stream.queued < self.stream.high_water:  # else a drain is to come
                self._put(self.core.pong(data))
            else:
                self._pong = data
                self.stream.want_drain()
            self.ws.emit("on_ping", self.ws, data)

    def on_pong(self, data: bytes) -> None:
        """A pong, asked for or not."""
        if self.ws.state is OPEN:
            self.ws.emit("on_pong", self.ws, data)

    def on_closing(self, code: int, reason: str) -> None:
        """The peer's close frame."""
        self.ws.peer_left(code, reason)
        if self.ws.state is OPEN:
            self.say_close(None if code == NONE else code)
        if not self.core.client:
            self._flush()
            self.stream.close()

    # the end

    def _close_due(self) -> Optional[float]:
        """When the close has taken too long: so many seconds after our close frame, or after the kernel last took bytes."""
        timeout = self.ws.limits.close_timeout
        if timeout is None or self.stream is None:  # None: what came when it was looked broke a rule
            return None
        taken: float = self.stream.last_taken()
        return max(self._closing_since, taken) + timeout

    def _close_late(self) -> None:
        queued = self.stream.queued
        if queued:
            self.ws.failed(Deadline("close: %d bytes not taken by the peer within %g s"
                                    % (queued, self.ws.limits.close_timeout or 0)))
        self.stream.complete = not self.stream.outstanding  # where the peer has our close frame it has all: no cut
        self.stream.finish()

    def _fail(self, exc: WebSocketError) -> None:
        """The peer broke a rule: it is told which, and the stream goes its own way, so that the peer can read that."""
        ws = self.ws
        if ws.state is OPEN:
            self._put(self.core.close(exc.close_code, exc.reason))
        self._flush()
        self.stop()
        stream, self.stream = self.stream, None
        LingeringClose(stream, ws.limits.close_timeout, write_timeout=ws.limits.close_timeout)
        ws.failed(exc)
        ws.parted(stream)


class DebugWebSocketConnection(WebSocketConnection):
    """The connection of a debug loop: what escaped from a lent message is found."""

    __slots__ = ()

    def on_binary(self, data: bytes) -> None:
        """A binary message: lent."""
        if self.messages is not None:
            self._lend(self.messages, data)


def _joined(frames: List[Any], size: int) -> Any:
    """Frames, some of them in parts, as one send."""
    parts: List[Any] = []
    for frame in frames:
        parts += (frame,) if type(frame) is bytes else frame
    return b"".join(parts) if size < JOIN_BELOW else parts
