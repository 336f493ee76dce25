"""Wire: what a client's stream brings, parsed: between the stream, whose sink it is, and the ClientConnection.

Rules: one answer at a time; what comes behind it is never taken for the next one's (the connection is then not used again).
While the connection is paused, what was read waits here, unparsed. What the server said before it broke the connection
counts: it may have answered, and not cared for the rest of the request.
"""

from __future__ import annotations

from ..base.buffer import read_out
from ..base.errors import BadResponse, HttpError, PeerClosed
from .parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base.limits import Limits
    from .clientconnection import ClientConnection
    from .message import Response


class Wire:
    """The sink of a client's stream and the observer of its parser."""

    __slots__ = ("connection", "parser", "paused", "over", "heard", "_pending", "_ended")

    def __init__(self, connection: ClientConnection, limits: Limits) -> None:
        self.connection = connection
        self.parser = Parser(self, responses=True, limits=limits)
        self.paused = False
        self.over = True  # no answer is due
        self.heard = False  # a byte has come since the last request
        self._pending = b""
        self._ended = False

    def expect(self, method: str) -> None:
        """An answer to a request of `method` is due."""
        self.over = self.heard = False
        self.parser.request_method = method

    @property
    def clean(self) -> bool:
        """Whether nothing has come behind the last answer."""
        return self.parser.idle and not self._pending and not self._ended

    # the stream's sink; while the connection is paused the stream is not read, and its end not seen

    def on_bytes(self, data: bytes) -> None:
        """The stream read `data`."""
        connection, parser = self.connection, self.parser
        if self.over:
            self._pending = data
            connection._unasked(BadResponse("the server spoke before it was asked"))
            return
        self.heard = True
        between = not parser.partial
        try:
            used = parser.feed(data)
        except HttpError as exc:
            connection._fail(_bare(exc))
            return
        if used < len(data):
            self._pending = data[used:]
        if self.over:
            connection._completed()
        elif between and parser.partial:
            connection._deadlines.touch()  # the rest of the head

    def on_end(self) -> None:
        """The server sends no more, and all it sent is parsed."""
        connection, parser = self.connection, self.parser
        self._ended = True
        if self.over:
            connection._unasked(PeerClosed("the server closed the connection before it was asked"))
            return
        if parser.idle:
            connection._fail(PeerClosed("the server closed the connection before it answered"))
            return
        try:
            parser.end()
        except HttpError as exc:
            connection._fail(_bare(exc))
            return
        connection._completed()

    def on_drain(self) -> None:
        """The queue is down to low water."""
        self.connection._drained()

    def on_error(self, exc: Exception) -> None:
        """The transport failed."""
        if not self.over:
            self._read_out()
        self.connection._fail(exc)

    def on_close(self) -> None:
        """The stream is closed."""
        self.connection._gone()

    # what was held

    def pause(self) -> None:
        """Parses and reads no more for now."""
        self.paused = True
        self._read_on()

    def resume(self) -> None:
        """Goes on, from the loop."""
        if self.paused:
            self.paused = False
            self.connection.loop.call_soon(self._go_on)

    def unpause(self) -> None:
        """Goes on: the answer that was paused is over."""
        if self.paused:
            self.paused = False
            self._read_on()

    def rest(self) -> bytes:
        """What came behind an answer that ends HTTP here; it is another protocol's."""
        data, self._pending = self._pending, b""
        return data

    def _go_on(self) -> None:
        if self.paused or self.connection.closing:
            return
        if self._pending:
            data, self._pending = self._pending, b""
            self.on_bytes(data)
        self._read_on()

    def _read_on(self) -> None:
        stream = self.connection.stream
        paused = self.paused
        if stream is not None and stream._sink is self and stream._paused is not paused and not stream.closing:
            stream._paused = paused
            stream._update()

    def _read_out(self) -> None:
        """Takes what the kernel still has of a broken connection. Its end is none: nobody knows what was lost."""
        connection = self.connection
        read_out(connection._stream().sock, lambda: not (self.over or self.paused or connection.closing), self.on_bytes)

    # the parser's observer

    def on_head(self, response: Response) -> bool:
        """A head: interim, or the answer's."""
        connection = self.connection
        framing = self.parser.framing
        if response.status < 200 and response.status != 101:
            connection._interim(response)
            return self.paused or connection.closing
        if framing.upgrade:
            self.over = True
            connection._upgrade_answered(response)
            return True
        if not framing.length:
            self.over = True
        connection._answered(response, framing)
        return self.over or self.paused or connection.closing

    def on_body(self, view: memoryview) -> bool:
        """A piece of the body."""
        self.connection._received(view)
        return self.paused or self.connection.closing

    def on_end_of_body(self) -> bool:
        """The body has ended."""
        self.over = True
        return True


def _bare(exc: HttpError) -> HttpError:
    """An error of the parser's without its frames: whoever keeps it would keep the connection."""
    exc.__traceback__ = exc.__context__ = None
    return exc
