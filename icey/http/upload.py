"""Upload: the request's side of one transaction: its head, its body from a source or by send(), and when they may go.

    NEW -> (HELD ->) FLOWING -> DONE     the head has not gone; it has, and 100 Continue is awaited; the body goes; all is out

Rules: `send` before the head has gone makes a body of a request that announced none, where its method wants one (POST, PUT,
PATCH): the head goes out a turn later than start(). What is sent while NEW or HELD waits here, copied if it is mutable, and
counts as queued.

Not here: where a source has its bytes from, and the framing (requestbody.py).
"""

from __future__ import annotations

from ..base.buffer import flat, own
from ..base.errors import QueueFull, StateError
from .requestbody import WANT_BODY, Framing, body_of, framing_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

    from ..base.buffer import Data, Done
    from .clientconnection import ClientConnection
    from .message import Request
    from .requestbody import Body

NEW, HELD, FLOWING, DONE = range(4)

TURN_BYTES = 1 << 20  # of a source, before others have their turn
JOIN_BELOW = 16384  # a body of this size goes out with its head, in one send


class Upload:
    """`request` with `body`, on `connection`. ValueError, TypeError: what cannot be sent."""

    __slots__ = ("request", "stage", "queued", "_connection", "_source", "_ours", "_framing", "_early", "_ended", "_owed")

    def __init__(self, connection: ClientConnection, request: Request, body: Any) -> None:
        connection._heads.check(request)
        self.request = request
        self.stage = NEW
        self.queued = 0  # bytes that wait here
        self._connection = connection
        self._source: Optional[Body] = body_of(body)
        self._ours = self._source is not body  # made here, so closed here
        self._framing: Optional[Framing] = framing_of(request.headers, self._source)  # None: no body, so far
        self._early: List[Tuple[List[Data], Done]] = []
        self._ended = False  # end() was called
        self._owed = False  # on_drain is due once all is out

    @property
    def may_grow(self) -> bool:
        """Whether a send() may still make a body."""
        return self._framing is None and self.stage == NEW and self.request.method in WANT_BODY

    def launch(self) -> None:
        """The head goes out, and what there is of the body."""
        connection, request, framing = self._connection, self.request, self._framing
        head = out = connection._heads.head(request, self._told())
        self.stage = HELD if self._waits() else FLOWING
        source = self._source
        if source is not None and self.stage == FLOWING and source.length is not None and source.length < JOIN_BELOW:
            assert framing is not None
            first = self._next()
            if first is not None:
                out += b"".join(framing.wrap([first], len(first)))
        if self.stage == DONE:  # dropped by the source itself
            return
        connection._wire.expect(request.method)
        connection._stream()._write(out, None, False)
        connection._tell_sent(head)
        if self.stage == FLOWING:
            self._go_on()

    def release(self) -> None:
        """The server wants the body, or has said nothing for long enough."""
        if self.stage == HELD:
            self.stage = FLOWING
            self._go_on()

    def drop(self) -> bool:
        """Nobody gets the rest; whether there was any."""
        there = self.stage != DONE
        self.stage = DONE
        self._early, self.queued = [], 0
        source, self._source = self._source, None
        if source is not None and self._ours:
            self._close(source)
        return there

    def drained(self) -> None:
        """There is room again."""
        if self.stage == FLOWING and self._source is not None:
            self._pump()

    # by send()

    def send(self, data: Any, done: Done, borrowed: bool) -> bool:
        """As ClientConnection.send."""
        self._require("send")
        parts = [flat(part) for part in (data if isinstance(data, (list, tuple)) else (data,))]
        size = sum(map(len, parts))
        self._require_room(size)
        framing = self._framing = self._framing or Framing(None)
        parts = framing.wrap(parts, size)
        if self.stage != FLOWING:
            return self._keep(parts, done)
        below = self._write(parts, done, borrowed)
        if framing.full:
            self._finish()
        return below

    def end(self) -> None:
        """As ClientConnection.end."""
        self._require("end")
        self._framing = self._framing or Framing(None)
        self._framing.require_all()
        self._ended = True
        if self.stage == FLOWING:
            self._finish()

    def _require(self, verb: str) -> None:
        if self.stage == DONE or self._source is not None or self._ended or not (self._framing or self.may_grow):
            raise StateError("%s() on a request whose body is not sent that way, or complete" % verb,
                             "give a Content-Length or Transfer-Encoding: chunked, or call it right after start()",
                             "start, then send")

    def _require_room(self, size: int) -> None:
        connection = self._connection
        most, queued = connection.limits.max_queue, connection.queued
        if most is not None and queued and queued + size > most:
            self._owe_drain()
            raise QueueFull("%d bytes queued, %d more would pass max_queue %d: wait for on_drain" % (queued, size, most))

    def _keep(self, parts: List[Data], done: Done) -> bool:
        """Waits for the head, or for 100 Continue."""
        connection = self._connection
        self._early.append(([own(part) for part in parts], done))
        self.queued += sum(map(len, parts))
        if connection.queued < connection.limits.high_water:
            return True
        self._owe_drain()
        return False

    def _owe_drain(self) -> None:
        """Sees to it that on_drain comes, where the stream would not tell."""
        flowing = self.stage == FLOWING
        if not self._owed and not (flowing and self._connection._stream()._drain_due):
            self._owed = True
            if flowing:
                self._when_out()

    def _when_out(self) -> None:
        self._connection._stream()._write(b"", self._pay, False)

    def _pay(self) -> None:
        connection = self._connection
        if self.stage == FLOWING and connection.queued > connection.limits.low_water:
            self._when_out()  # more was sent meanwhile
        else:
            self._owed = False
            if self.stage == FLOWING:
                connection._drained()

    # out

    def _told(self) -> List[Tuple[str, str]]:
        """The fields that say how the body is framed."""
        framing, request = self._framing, self.request
        if framing is None:
            return [("Content-Length", "0")] if request.method in WANT_BODY else []
        if framing.length is None:
            return [("Transfer-Encoding", "chunked")]
        return [] if "content-length" in request.headers else [("Content-Length", str(framing.length))]

    def _waits(self) -> bool:
        """Whether the body is to wait for 100 Continue."""
        framing = self._framing
        return framing is not None and not framing.length == 0 and (
            str(self.request.headers.get("expect", "")).lower() == "100-continue")

    def _go_on(self) -> None:
        """What was sent early goes, then what the source has."""
        early, self._early, self.queued = self._early, [], 0
        for parts, done in early:
            self._write(parts, done, False)
        if self._owed:
            self._when_out()
        if self._source is not None:
            self._pump()
        elif self._framing is None or self._ended or self._framing.full:
            self._finish()

    def _pump(self) -> None:
        """Has the source give as much as there is room for."""
        framing, room = self._framing, TURN_BYTES
        assert framing is not None
        try:
            while self._source is not None:
                piece = self._next()
                if self.stage != FLOWING:
                    return
                if piece is None:
                    self._finish()
                    return
                room -= len(piece)
                if not self._write(framing.wrap([piece], len(piece)), None, False):
                    return
                if room <= 0:
                    self._connection.loop.call_soon(self.drained)
                    return
        except Exception as exc:  # the caller's iterator or file
            self._connection._fail_soon(exc)

    def _next(self) -> Optional[Data]:
        """The source's next piece, None at its end, or if it had us dropped meanwhile."""
        source = self._source
        assert source is not None
        piece = source.next()
        if self._source is None:
            if self._ours:
                self._close(source)  # it could not be closed while it ran
            return None
        return None if piece is None else flat(piece)

    def _write(self, parts: List[Data], done: Done, borrowed: bool) -> bool:
        """What was framed; False: wait for the drain."""
        connection = self._connection
        connection._deadlines.stamp = connection.loop.now
        return connection._stream()._write(parts[0] if len(parts) == 1 else parts, done, borrowed)

    def _finish(self) -> None:
        """All is out, but for the last chunk."""
        if self._framing is not None:
            self._framing.require_all()
            if self._framing.length is None:
                self._write([b"0\r\n\r\n"], None, False)
        self.stage = DONE
        self._source = None
        self._connection._request_out()

    def _close(self, source: Body) -> None:
        try:
            source.close()
        except Exception as exc:  # what the caller's generator does at its end
            self._connection.loop._report(exc, self._connection)
