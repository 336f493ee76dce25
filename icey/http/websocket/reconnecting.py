"""Reconnecting: a client's WebSocket that is replaced by another one when it is lost.

    def make():
        return WebSocket.connect(loop, "ws://127.0.0.1:8000/", headers={"Authorization": token()})

    link = Reconnecting(make)
    link.on_connect += lambda link: link.send("hello, again or for the first time")
    link.on_message += lambda link, data: print(data)

Rules
- `make()` is called for each attempt, the first time by the constructor, and what it raises there is the caller's. Later it is
  told by on_disconnect, and tried again. What `make` attaches to its WebSocket works as ever, before what is attached here.
- A WebSocket that ends, in whatever way and by whomever, is followed by another one after a rest; on_disconnect tells both. The
  rests double, with jitter, within `retry`, and begin anew once a connection has lived longer than the rest before it. After
  1013 (try again later) comes one of the longest.
- It ends by close() and abort(), and where a handshake was answered so that asking again changes nothing: by any status but
  408, 429 and 5xx (their Retry-After holds as far as the upper bound), or against the protocol's rules. on_disconnect says so
  with None for the rest, then comes on_close.
- What was not sent when a connection is lost is lost; on_connect is the place to say again what the server has to know.
- A slot that raises, also one of on_message, is told to loop.on_error, and the connection goes on.

States: ReconnectState, in http/client/comeback.py. Not here: the WebSocket (websocket.py), when to come again (comeback.py).
"""

from __future__ import annotations

from ...base.errors import HttpError, StateError, WebSocketError
from ...base.handle import CLOSING, OPEN
from ...base.signal import Event, require_callable
from ..client.comeback import ComesBack, ReconnectState, passes, wanted_by
from .frames import OK
from .states import WebSocketState
from .websocket import WebSocket

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Tuple, Union

    from typing_extensions import Buffer, Self

    from ...base.errors import BorrowError
    from ...base.loop import Loop

TRY_AGAIN_LATER = 1013


class Reconnecting(ComesBack):
    """WebSockets that `make()` makes, one after the other, on one loop. retry: (least, most) seconds of a rest.

    `websocket`: the WebSocket that is connected, from on_connect to on_disconnect, else None. `code`, `reason`: what the last
    one's on_close told. The messages of a WebSocket that is made to tell pieces (on_piece) are not told here.
    """

    __slots__ = ("make", "websocket", "code", "reason", "_made", "_error", "_paused")

    on_connect: Event[Callable[[Self], Any]] = Event("on_connect(r): a WebSocket is connected")
    on_message: Event[Callable[[Self, Union[str, memoryview]], Any]] = Event(
        "on_message(r, data): a message: str, or a view lent until the slots return")
    on_drain: Event[Callable[[Self], Any]] = Event("on_drain(r): the queue is down to low water, send again")
    on_disconnect: Event[Callable[[Self, Optional[Exception], Optional[float]], Any]] = Event(
        "on_disconnect(r, exc, retry_in): no connection; exc: why, None where it was closed; the next try in seconds, or None")

    def __init__(self, make: Callable[[], WebSocket], *, retry: Tuple[float, float] = (1.0, 60.0)) -> None:
        require_callable(make, "make")
        first = websocket_of(make)
        try:
            super().__init__(first.loop, retry)
        except BaseException:
            first.abort()
            raise
        self.make: Callable[[], WebSocket] = make
        self.websocket: Optional[WebSocket] = None
        self.code: Optional[int] = None
        self.reason: str = ""
        self._made: Optional[WebSocket] = None  # also while it connects, and while it closes
        self._error: Optional[Exception] = None  # what the last one's on_error told
        self._paused = False
        self.activate()
        self._state = ReconnectState.CONNECTING
        self.attempts: int = 1
        self._take(first)

    def start(self) -> Self:
        """Returns itself: it has begun to connect when it was made, as a WebSocket has. StateError after close()."""
        self.check_thread()
        self.require_open("start")
        return self

    @property
    def queued(self) -> int:
        """Bytes that wait for the kernel."""
        return 0 if self.websocket is None else self.websocket.queued

    def send(self, data: Union[str, Buffer]) -> bool:
        """As WebSocket.send. StateError while there is no connection."""
        return self._now("send").send(data)

    def send_piece(self, data: Any, *, final: bool = False) -> bool:
        """As WebSocket.send_piece. StateError while there is no connection."""
        return self._now("send_piece").send_piece(data, final=final)

    def ping(self, data: Any = b"") -> None:
        """As WebSocket.ping. StateError while there is no connection."""
        self._now("ping").ping(data)

    def pause(self) -> None:
        """Reads no more messages for now, of the WebSockets to come either."""
        self.check_thread()
        if not self.phase:
            self._paused = True
            if self.websocket is not None:
                self.websocket.pause()

    def resume(self) -> None:
        """Reads on."""
        self.check_thread()
        if not self.phase:
            self._paused = False
            if self.websocket is not None:
                self.websocket.resume()

    def close(self, code: int = OK, reason: str = "") -> None:
        """Closes the WebSocket in order, and makes no other one. ValueError: what cannot be sent."""
        self.check_thread()
        if self.phase == OPEN:
            if self._made is not None:
                self._made.close(code, reason)
            self.phase = CLOSING
            self.begin_close()

    def _now(self, verb: str) -> WebSocket:
        """The WebSocket that is connected."""
        if self.websocket is None or self.phase:
            self.check_thread()
            self.require_open(verb)
            raise StateError("%s() while there is no connection" % verb, "wait for on_connect", "start, then send")
        return self.websocket

    # an attempt

    def attempt(self) -> None:
        """Has another WebSocket made."""
        try:
            made = websocket_of(self.make, self.loop)
        except Exception as exc:
            self._lost(exc)
            return
        if self.phase:  # `make` has closed this
            made.abort()
            return
        self._take(made)

    def _take(self, ws: WebSocket) -> None:
        self._made, self._error = ws, None
        ws.unref()  # this handle keeps the loop running, or does not
        ws.on_connect += self._connected
        ws.on_message += self._told
        ws.on_drain += self._drained
        ws.on_error += self._failed
        ws.on_close += self._closed

    # called by the WebSocket

    def _connected(self, ws: WebSocket) -> None:
        if self.phase:
            return
        self.websocket = ws
        self.opened()
        if self._paused:
            ws.pause()
        self.emit("on_connect", self)

    def _told(self, ws: WebSocket, data: Union[str, memoryview]) -> None:
        signal = None if self.signals is None or self.phase else self.signals.get("on_message")
        if signal is None or not len(signal):
            return
        if isinstance(data, str):
            self.emit("on_message", self, data)
            return
        buffer = self.loop.read_buffer  # lent once more: the report of a slot that keeps it is to name that slot
        view = buffer.lend_bytes(data) if self.loop.debug else data[:]
        buffer.hand_out(self, view, signal.slots, self.emit, "on_message", self, view)

    def _drained(self, ws: WebSocket) -> None:
        self.emit("on_drain", self)

    def _failed(self, ws: WebSocket, exc: Exception) -> None:
        self._error = exc

    def _closed(self, ws: WebSocket, code: int, reason: str) -> None:
        self._made = self.websocket = None
        self.code, self.reason = code, reason
        exc, self._error = self._error, None
        if self.phase == CLOSING:
            self.finish()
        elif self.phase == OPEN:
            self._lost(exc, longest=code == TRY_AGAIN_LATER)

    def _lost(self, exc: Optional[Exception], *, longest: bool = False) -> None:
        """There is no WebSocket any more, or none could be made."""
        if self._state is ReconnectState.CONNECTING and is_final(exc):
            self.end_attempts()
            self.emit("on_disconnect", self, exc, None)
            self.finish()
        else:
            self.emit("on_disconnect", self, exc, self.rest(wanted_by(exc), longest=longest))

    # the end

    def begin_close(self) -> None:
        self.mute()
        if self._made is None:
            self.finish()

    def let_go(self) -> None:
        super().let_go()
        made, self._made = self._made, None
        self.websocket = None
        if made is not None and not self.loop.forked:
            made.abort()

    def borrow_broken(self, exc: BorrowError) -> None:
        super().borrow_broken(exc)
        if self._made is not None:
            self._made.abort()

    def title(self) -> str:
        return "Reconnecting"


def websocket_of(make: Callable[[], WebSocket], loop: Optional[Loop] = None) -> WebSocket:
    """What `make()` returns. TypeError: no WebSocket; StateError: none that is new, or one of another loop."""
    made = make()
    if not isinstance(made, WebSocket):
        raise TypeError("make() is to return a WebSocket, such as WebSocket.connect does, not %r" % (made,))
    if made.state is not WebSocketState.CONNECTING:
        raise StateError("make() returned a WebSocket that is not new", "return WebSocket.connect(...), a new one each time")
    if loop not in (None, made.loop):
        made.abort()
        raise StateError("make() returned a WebSocket of another loop", "make each on the loop of the first")
    return made


def is_final(exc: Optional[Exception]) -> bool:
    """Whether a handshake failed so that the next one would as well."""
    if isinstance(exc, HttpError):
        return exc.response is not None and not passes(exc.response.status)
    return isinstance(exc, WebSocketError)
