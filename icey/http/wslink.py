"""Link: what connects a WebSocket, its core and its stream: the stream's sink and the core's observer.

    stream -> on_bytes -> core.feed -> on_text, on_ping, ... -> the WebSocket's slots
    WebSocket.send -> core.message -> put -> stream

How it ends                     what follows                                                     on_close tells
    we say goodbye              the peer's close frame is awaited, its messages are dropped      its code; 1006 if none comes
    the peer says goodbye       it gets the same code back                                       its code; 1005 if it has none
    the peer breaks a rule      on_error, a close frame with the reason, and Parting             1006
    no answer to our ping       on_error, abort                                                  1006
    the connection breaks, or   on_error, unless we had said goodbye and all of it was out       1006
      ends without a close frame
After both close frames the server closes the connection, and the client waits for that (RFC 6455 section 7.1.1).

Rules
- All that one read brings is answered by one send, or several of 16 KiB.
- max_queue is for messages. Pongs, pings and the close frame always get through; of the pongs only the last one (section 5.5.3)
  while the queue is above high water.

Not here: frames (websocket.py), what is late (wsdeadlines.py), what a user sees (wssocket.py).
"""

from __future__ import annotations

from ..base.buffer import kept_view, read_out
from ..base.errors import Deadline, PeerClosed, QueueFull, WebSocketError
from .states import WebSocketState
from .websocket import NONE, WebSocketCore
from .wsdeadlines import KeepAlive, Parting, Patience, layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional

    from ..base.signal import Signal
    from .wshandshake import Handshake
    from .wssocket import WebSocket

OPEN, CLOSING = WebSocketState.OPEN, WebSocketState.CLOSING

MOST_GATHERED = 16384  # bytes of a burst's frames, before they go out: who sends until False must come to it
JOIN_BELOW = 65536


class Link:
    """One connection's. `core` and `stream`: once the handshake is done; `paused`: nothing is read."""

    __slots__ = (
        "ws", "core", "stream", "paused", "messages", "_carrier", "_alive", "_corked", "_out", "_gathered", "_pending",
        "_ended", "_pong", "_patience",
    )

    def __init__(self, ws: WebSocket, ping_interval: Optional[float]) -> None:
        self.ws = ws
        self.core: Any = None
        self.stream: Any = None
        self.paused = False
        self.messages: Optional[Signal] = None  # the WebSocket's on_message, once it was attached to
        self._carrier: Any = None  # the stream below a TLSSocket
        self._alive = None if ping_interval is None else KeepAlive(self, ping_interval, ws.limits.pong_timeout)
        self._corked = False  # inside a burst
        self._out: List[Any] = []  # its frames
        self._gathered = 0  # their bytes
        self._pending = b""  # read, and held back
        self._ended = False  # behind that
        self._pong: Optional[bytes] = None  # ours, while the peer does not read
        self._patience: Optional[Patience] = None

    def agree(self, agreed: Handshake, client: bool) -> None:
        """The handshake is done."""
        deflate = None
        if agreed.deflate is not None:
            from .deflate import Deflate

            deflate = Deflate(agreed.deflate, client=client)
        self.core = WebSocketCore(self, client=client, max_message=self.ws.limits.max_message, deflate=deflate)
        self.core.held = self.paused

    # out

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel."""
        return self._gathered + (self.stream.queued if self.stream is not None else 0)

    def send(self, payload: bytes, text: bool) -> bool:
        """Sends a message. The room is looked at before: a message that was packed has to go."""
        stream = self.stream
        busy = stream._queue is not None or self._carrier is not None
        if busy:
            self._require_room(len(payload))
        frame = self.core.message(payload, text)
        if not self._corked or type(frame) is not bytes:
            return self._put(frame)
        self._out.append(frame)  # as in `_put`
        self._gathered += len(frame)
        if busy or self._gathered >= MOST_GATHERED:
            return self._below()
        return True

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
        """Sends our close frame, and from now on only listens for the peer's. ValueError: it cannot be sent."""
        frame = self.core.close(code, reason)
        self.ws._state = CLOSING
        if not self.stream.closing:  # by others: the server's connection was closed
            self._put(frame)
            self.resume()
            self._patience = Patience(self.stream, self.ws.limits.close_timeout, self._too_late)

    def _put(self, frame: Any) -> bool:
        """A frame, or its parts, goes out: with the others of this burst, if there is one."""
        stream = self.stream
        if not self._corked:
            below: bool = stream._write(frame, None, False)
            return below
        self._out.append(frame)
        self._gathered += len(frame) if type(frame) is bytes else sum(map(len, frame))
        return self._below()

    def _below(self) -> bool:
        """Whether the queue is below high water, once a burst that has grown large enough has gone."""
        if self._gathered >= MOST_GATHERED:
            self._flush()
        return bool(self.stream.queued < self.stream.high_water)

    def _flush(self) -> None:
        """Sends what the burst has gathered."""
        out, size, stream = self._out, self._gathered, self.stream
        if out:
            self._out, self._gathered = [], 0
            if not stream._phase:  # else it is closing
                stream._write(out[0] if len(out) == 1 else _joined(out, size), None, False)

    def _require_room(self, size: int) -> None:
        """QueueFull where `size` bytes more would pass max_queue."""
        most, queued = self.ws.limits.max_queue, self.stream.queued
        if most is not None and queued and queued + self._gathered + size > most:
            self._want_drain()
            raise QueueFull("%d bytes queued, %d more would pass max_queue %d: wait for on_drain"
                            % (queued + self._gathered, size, most))

    def _want_drain(self) -> None:
        for layer in layers(self.stream):
            layer._drain_due = True

    # reading

    def pause(self) -> None:
        """Reads no more for now."""
        self.paused = True
        if self.core is not None:
            self.core.held = True
        self._read_on()

    def resume(self) -> None:
        """Reads on, from the loop; what was read before comes first."""
        if self.paused:
            self.paused = False
            if self._alive is not None:
                self._alive.asked = None  # the answer may be among what was not read
            if self.core is not None:
                self.core.held = False
                self.ws.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        stream = self.stream
        if self.paused or stream is None:
            return
        if self._pending and not stream.closing:
            self.on_bytes(b"")
        if self._ended and not self.paused and not stream.closing:
            self.on_end()
        self._read_on()

    def _read_on(self) -> None:
        stream = self.stream
        if stream is not None and stream._paused is not self.paused and not stream.closing:
            stream._paused = self.paused
            stream._update()

    # the stream's sink

    def on_attach(self) -> None:
        """The stream is ours."""
        stream, limits = self.stream, self.ws.limits
        self._carrier = getattr(stream.sock, "carrier", None)
        stream.high_water, stream.low_water, stream.close_timeout = limits.high_water, limits.low_water, limits.close_timeout
        stream.max_queue = None  # `_require_room` keeps limits.max_queue
        self.ws._opened(stream)
        if self._alive is not None:
            self._alive.start()
        self._read_on()

    def on_bytes(self, data: bytes) -> None:
        """The stream read `data`."""
        core, ws, alive = self.core, self.ws, self._alive
        if alive is not None:
            alive.asked = None
        if not ws._told:  # bytes may come with the handshake
            ws._tell_open()
        if self._pending:
            data, self._pending = self._pending + data, b""
        self._corked = True
        try:
            used = core.feed(data)
        except WebSocketError as exc:
            exc.__traceback__ = None  # its frames would keep the bytes alive
            self._fail(exc)
            return
        except BaseException:  # a KeyboardInterrupt in a slot passes through; the place in the frame is lost
            ws.abort()
            raise
        finally:
            self._corked = False
        out = self._out
        if len(out) == 1 and not self.stream._phase:  # the usual answer: as `_flush` does it
            self._gathered = 0
            self.stream._write(out.pop(), None, False)
        elif out:
            self._flush()
        if used < len(data) and not core.closed_in:
            self._pending = data[used:]

    def on_end(self) -> None:
        """The peer sends no more."""
        if self.paused:
            self._ended = True
            return
        if self.ws._state is OPEN:
            self.ws._failed(PeerClosed("the connection ended without a close frame"))
        self.stream.close()

    def on_drain(self) -> None:
        """The queue is down to low water."""
        if self.ws._state is OPEN:
            if self._pong is not None:
                data, self._pong = self._pong, None
                self._put(self.core.pong(data))
            self.ws._emit("on_drain", self.ws)

    def on_error(self, exc: Exception) -> None:
        """The transport failed."""
        self._read_out()
        if self.stream is not None and (self.stream.queued or self.ws._state is OPEN):
            self.ws._failed(exc)

    def on_close(self) -> None:
        """The stream is closed."""
        self.stop()
        self.ws._gone()

    # the core's observer

    def on_text(self, data: str) -> None:
        """A text."""
        ws, signal = self.ws, self.messages
        if signal is not None and ws._state is OPEN:
            try:
                signal.fire(ws, data)
            except Exception as exc:
                ws._slot_failed(exc)

    def on_binary(self, data: bytes) -> None:
        """A binary message: lent."""
        ws, signal = self.ws, self.messages
        if signal is not None and ws._state is OPEN:
            slots = signal._slots
            view = memoryview(data)
            try:
                signal.fire(ws, view)
            except Exception as exc:
                ws._slot_failed(exc)
            finally:
                try:
                    view.release()
                except BufferError:
                    ws._slot_failed(kept_view(slots))

    def on_piece(self, data: Any, final: bool) -> None:
        """A piece of a message, lent if it is binary."""
        ws = self.ws
        if ws._state is OPEN and ws._signals is not None and "on_piece" in ws._signals:
            signal = ws._signals["on_piece"]
            if type(data) is not str:
                self._lend(signal, data, final)
                return
            try:
                signal.fire(ws, data, final)
            except Exception as exc:
                ws._slot_failed(exc)

    def _lend(self, signal: Signal, data: bytes, *more: Any) -> None:
        """As the loop's buffer does it, which finds more in debug mode."""
        ws, slots = self.ws, signal._slots
        buffer = ws.loop._read_buffer
        view = buffer.lend_bytes(data)
        try:
            signal.fire(ws, view, *more)
        except Exception as exc:
            ws._slot_failed(exc)
        finally:
            kept = buffer.take_back(view, slots)
            if kept is not None:
                ws._slot_failed(kept)

    def on_ping(self, data: bytes) -> None:
        """A ping: answered, unless the peer does not read."""
        if self.ws._state is OPEN:
            if self.stream.queued < self.stream.high_water:  # else a drain is to come
                self._put(self.core.pong(data))
            else:
                self._pong = data
                self._want_drain()
            self.ws._emit("on_ping", self.ws, data)

    def on_pong(self, data: bytes) -> None:
        """A pong, asked for or not."""
        if self.ws._state is OPEN:
            self.ws._emit("on_pong", self.ws, data)

    def on_closing(self, code: int, reason: str) -> None:
        """The peer's close frame."""
        self.ws._code, self.ws._reason = code, reason
        if self.ws._state is OPEN:
            self.say_close(None if code == NONE else code)
        if not self.core.client:
            self._flush()
            self.stream.close()

    # the end

    def lose(self, exc: Exception) -> None:
        """The peer is not there any more."""
        self.ws._failed(exc)
        self.stream.abort()

    def stop(self) -> None:
        """No more timers."""
        if self._alive is not None:
            self._alive.stop()
        if self._patience is not None:
            self._patience.stop()

    def free(self) -> None:
        """The WebSocket is closed, and with it what it has of the connection. Nothing is left for the collector."""
        self.stop()
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.abort()
            stream._sink = None
        self.ws = self.core = self._alive = self._patience = None  # type: ignore[assignment]

    def _too_late(self) -> None:
        queued = self.stream.queued
        if queued:
            self.ws._failed(Deadline("close: %d bytes not taken by the peer within %g s"
                                     % (queued, self.ws.limits.close_timeout or 0)))
        self.stream.abort()

    def _fail(self, exc: WebSocketError) -> None:
        """The peer broke a rule: it is told which, and the stream goes its own way."""
        ws = self.ws
        if ws._state is OPEN:
            self._put(self.core.close(exc.close_code, exc.reason))
        self._flush()
        self.stop()
        stream, self.stream = self.stream, None
        Parting(stream, ws.limits.close_timeout)
        ws._failed(exc)
        ws._parted(stream)

    def _read_out(self) -> None:
        """Reads what the kernel still has of a broken connection: the peer's last words, its close frame among them."""
        read_out(self.stream.sock, lambda: not (self.paused or self.core.closed_in), self.on_bytes)


class DebugLink(Link):
    """A debug loop's: what escaped from a lent view is found."""

    __slots__ = ()

    def on_binary(self, data: bytes) -> None:
        """A binary message: lent."""
        if self.messages is not None and self.ws._state is OPEN:
            self._lend(self.messages, data)


def _joined(frames: List[Any], size: int) -> Any:
    """Frames, some of them in parts, as one send."""
    parts: List[Any] = []
    for frame in frames:
        parts += (frame,) if type(frame) is bytes else frame
    return b"".join(parts) if size < JOIN_BELOW else parts
