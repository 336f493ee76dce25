"""TestWebSocket: a WebSocket's client in a test's hand: `send`, `receive`, `close`, over the real handshake and real frames.

Rules
- Messages that come are kept until `receive`. Pings are answered whenever the loop turns, as every client does; after `pause()`
  nothing is read, nor answered: a client that hangs.
- Where the server breaks the protocol, that is WebSocketError from the call that read it.

Not here: the connection (wire.py), frames and masks (http/websocket/frames.py).
"""

from __future__ import annotations

from collections import deque

from ...base.buffer import flat, own
from ...base.errors import PeerClosed, StateError, WebSocketError
from ...http.websocket.frames import LOST, NONE, SHUT, MessageObserver, WebSocketCore, may_be_sent
from ...http.websocket.handshake import deflate_of

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Deque, List, Optional, Union

    from typing_extensions import Buffer

    from ...http.websocket.handshake import Handshake
    from .driver import Driver
    from .wire import Wire


class TestWebSocket(MessageObserver):
    """A client's end, made by TestClient.websocket.

    `subprotocol`: what was agreed on, or None. `closed`: it is over. `code`, `reason`: what the server's close frame said; 1005
    where it said nothing, 1006 where there was none; None and "" before. `pings`, `pongs`: payloads that came. `wire`: the
    connection.
    """

    __test__ = False  # no test, for pytest

    def __init__(self, driver: Driver, wire: Wire, agreed: Handshake) -> None:
        self.subprotocol: Optional[str] = agreed.subprotocol
        self.code: Optional[int] = None
        self.reason: str = ""
        self.pings: List[bytes] = []
        self.pongs: List[bytes] = []
        self.wire: Wire = wire
        self._driver = driver
        self._messages: Deque[Union[str, bytes]] = deque()
        self._paused = False
        deflate = None if agreed.deflate is None else deflate_of(agreed.deflate, True)
        self._core = WebSocketCore(None, client=True, deflate=deflate)
        driver.each_turn[self._pull] = None
        self._pull()

    @property
    def closed(self) -> bool:
        """Whether it is over: the server's end has come, or this end has closed the connection."""
        return self.wire.closed

    def send(self, data: Union[str, Buffer]) -> None:
        """Sends a message: str as text, bytes-like data as binary. PeerClosed: the server has closed."""
        if self.closed or self.code is not None:
            raise self._gone("send()")
        text = isinstance(data, str)
        self._write(self._core.message(data.encode("utf-8") if isinstance(data, str) else own(flat(data)), text))
        self._driver.settle()

    def receive(self, timeout: Optional[float] = None) -> Union[str, bytes]:
        """The next message: str or bytes. PeerClosed where the server closes instead: `code` and `reason` tell."""
        if self._paused:
            raise StateError("receive() on a WebSocket that is paused", "resume() first")
        if self.code is None and not self._messages:
            self.wire.wait(lambda: self._messages or self.closed, lambda: "a message", timeout)
        if not self._messages:
            raise self._gone("receive()")
        return self._messages.popleft()

    def ping(self, data: bytes = b"") -> None:
        """Sends a ping, and waits for its answer, which is then the last of `pongs`. PeerClosed as for `send`."""
        if self.closed or self.code is not None:
            raise self._gone("ping()")
        before = len(self.pongs)
        self._write(self._core.ping(data))
        self.wire.wait(lambda: len(self.pongs) > before or self.closed, lambda: "an answer to a ping")

    def pause(self) -> None:
        """Reads no more, and answers no pings: a client that hangs."""
        self._paused = True

    def resume(self) -> None:
        """Reads on."""
        self._paused = False
        self._pull()

    def close(self, code: int = 1000, reason: str = "", timeout: Optional[float] = None) -> None:
        """Sends a close frame, and waits until the server has answered it, and has closed."""
        if self.closed:
            return
        self._paused = False
        if self._core.sending != SHUT:
            self._write(self._core.close(code, reason))
        self.wire.wait(lambda: self.closed, lambda: "the end of a WebSocket that was closed", timeout)
        self._driver.settle()

    def wait_closed(self, timeout: Optional[float] = None) -> None:
        """Waits until the server closes: `code` and `reason` tell how."""
        self.wire.wait(lambda: self.closed, lambda: "the server to close the WebSocket", timeout)
        self._driver.settle()

    def __enter__(self) -> TestWebSocket:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if any(exc_info):
            self._over(LOST, "")
        else:
            self.close()

    def _gone(self, verb: str) -> PeerClosed:
        return PeerClosed("%s on a WebSocket that is closed: %s %r" % (verb, self.code, self.reason))

    def _write(self, frame: Any) -> None:
        try:
            for part in frame if isinstance(frame, list) else [frame]:
                self.wire.send(part)
        except BrokenPipeError:  # reading tells
            pass

    def _pull(self) -> None:
        """Reads what has come: called behind each turn."""
        if self._paused or self.closed:
            return
        try:
            data = self.wire.take()
            if data:
                self._feed(data)
        except ConnectionResetError:
            self._over(LOST, "")
        except WebSocketError:
            self._over(LOST, "")
            raise
        else:
            if self.wire.ended:
                self._over(LOST, "")

    def _feed(self, data: bytes) -> None:
        """Has the core parse `data`. It holds this WebSocket meanwhile and no longer: the two would wait for the collector."""
        self._core.observer = self
        try:
            self._core.feed(data)
        finally:
            self._core.observer = None

    def _over(self, code: int, reason: str) -> None:
        if self.code is None:
            self.code, self.reason = code, reason
        self._driver.each_turn.pop(self._pull, None)
        self.wire.close()

    # called by the core

    def on_text(self, data: str) -> None:
        """A text message."""
        self._messages.append(data)

    def on_binary(self, data: bytes) -> None:
        """A binary message."""
        self._messages.append(bytes(data))

    def on_ping(self, data: bytes) -> None:
        """A ping: answered."""
        self.pings.append(bytes(data))
        if self._core.sending != SHUT:
            self._write(self._core.pong(data))

    def on_pong(self, data: bytes) -> None:
        """A pong."""
        self.pongs.append(bytes(data))

    def on_closing(self, code: int, reason: str) -> None:
        """The server's close frame: it is answered, and the server closes the connection (RFC 6455 section 7.1.1)."""
        self.code, self.reason = code, reason
        if self._core.sending != SHUT:
            self._write(self._core.close(code if code != NONE and may_be_sent(code) else None))
