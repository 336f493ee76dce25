"""Upload: the request's side of one transaction: its head, its body from a source or by send(), and when they may go.

    NEW -> (HELD ->) FLOWING -> DONE     the head has not gone; it has, and 100 Continue is awaited; the body goes; all is out

Rules: `send` before the head has gone makes a body of a request that announced none, where its method wants one (POST, PUT,
PATCH): the head goes out a turn later than start(). What is sent while NEW or HELD waits here, copied if it is mutable.

Not here: where a source has its bytes from, and the framing (requestbody.py).
"""

from __future__ import annotations

from ..base.buffer import own
from ..base.errors import StateError
from .requestbody import WANT_BODY, Framing, body_of
from .requesthead import request_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

    from ..base.buffer import Done
    from .clientconnection import ClientConnection
    from .headers import Headers
    from .message import Request
    from .requestbody import Body

NEW, HELD, FLOWING, DONE = range(4)

TURN_BYTES = 1 << 20  # of a source, before others have their turn
JOIN_BELOW = 16384


class Upload:
    """`request` with `body`, on `connection`. ValueError, TypeError: what cannot be sent."""

    __slots__ = ("request", "stage", "_connection", "_source", "_framing", "_declared", "_early", "_pushing", "_ended")

    def __init__(self, connection: ClientConnection, request: Request, body: Any) -> None:
        self.request = request
        self.stage = NEW
        self._connection = connection
        self._source = body_of(body)
        self._declared = _declared_length(request.headers, self._source)
        self._pushing = self._source is None and self._declared is not None  # the body comes by send()
        self._framing = Framing(0)
        self._early: List[Tuple[Any, Done]] = []
        self._ended = False  # end() was called

    @property
    def queued(self) -> int:
        """Bytes that wait here."""
        return sum(len(data) for data, _ in self._early)

    @property
    def may_grow(self) -> bool:
        """Whether a send() may still make a body."""
        return self.stage == NEW and self._source is None and not self._pushing and self.request.method in WANT_BODY

    def launch(self) -> None:
        """The head goes out, and what there is of the body."""
        connection, request, source = self._connection, self.request, self._source
        has_body = source is not None or self._pushing
        length, told = self._framed(has_body)
        self._framing = framing = Framing(length if has_body else 0)
        head = request_head(request, connection.url, connection.proxy, told)
        sent = head
        connection._wire.expect(request.method)
        self.stage = FLOWING
        if has_body and str(request.headers.get("expect", "")).lower() == "100-continue":
            self.stage = HELD
        elif source is not None and source.length is not None and source.length < JOIN_BELOW:
            first = source.next()
            if first is not None:
                head += b"".join(framing.wrap(first))
        connection._stream()._write(head, None, False)
        connection._tell_sent(sent)
        if self.stage == DONE:  # closed meanwhile
            return
        if not has_body:
            self._finish()
        elif self.stage == FLOWING:
            self._go_on()

    def release(self) -> None:
        """The server wants the body, or has said nothing for long enough."""
        if self.stage == HELD:
            self.stage = FLOWING
            self._go_on()

    def drop(self) -> bool:
        """Nobody gets the rest; whether there was any."""
        there = self.stage != DONE
        self.stage, self._source, self._early = DONE, None, []
        return there

    def drained(self) -> None:
        """There is room again."""
        if self.stage == FLOWING and self._source is not None:
            self._pump()

    def send(self, data: Any, done: Done, borrowed: bool) -> bool:
        """As ClientConnection.send."""
        self._require("send")
        self._pushing = True
        if self.stage != FLOWING:
            self._early.append((b"".join(data) if isinstance(data, (list, tuple)) else own(data), done))
            return self._connection.queued < self._connection.limits.high_water
        below = self._put(data, done, borrowed)
        if self._framing.full:
            self._finish()
        return below

    def end(self) -> None:
        """As ClientConnection.end."""
        self._require("end")
        self._pushing = self._ended = True
        if self.stage == FLOWING:
            self._finish()

    def _require(self, verb: str) -> None:
        if self.stage == DONE or self._source is not None or self._ended or not (self._pushing or self.may_grow):
            raise StateError("%s() on a request whose body is not sent that way, or complete" % verb,
                             "give a Content-Length or Transfer-Encoding: chunked, or call it right after start()",
                             "start, then send")

    def _framed(self, has_body: bool) -> Tuple[Optional[int], List[Tuple[str, str]]]:
        """(length or None for chunked, the fields that say so)."""
        declared, source = self._declared, self._source
        if not has_body:
            wanted = self.request.method in WANT_BODY and declared is None
            return 0, [("Content-Length", "0")] if wanted else []
        if declared is not None and declared >= 0:
            return declared, []
        if declared is None and source is not None and source.length is not None:
            return source.length, [("Content-Length", str(source.length))]
        return None, [("Transfer-Encoding", "chunked")]

    def _go_on(self) -> None:
        """What was sent early goes, then what the source has."""
        early, self._early = self._early, []
        for data, done in early:
            self._put(data, done, False)
        if self._source is not None:
            self._pump()
        elif self._ended or self._framing.full:
            self._finish()

    def _pump(self) -> None:
        """Has the source give as much as there is room for."""
        room = TURN_BYTES
        try:
            while self.stage == FLOWING and self._source is not None:
                piece = self._source.next()
                if piece is None:
                    self._source = None
                    self._finish()
                    return
                room -= len(piece)
                if not self._put(piece, None, False):
                    return
                if room <= 0:
                    self._connection.loop.call_soon(self.drained)
                    return
        except Exception as exc:  # the caller's iterator or file
            self._connection._fail(exc)

    def _put(self, data: Any, done: Done, borrowed: bool) -> bool:
        """One piece, framed; False: wait for the drain."""
        connection = self._connection
        parts = self._framing.wrap(data)
        if not parts:
            if done is not None:
                connection.loop.call_soon(done)
            return True
        stream = connection._stream()
        connection._require_room(sum(map(len, parts)))
        below = stream._write(parts if len(parts) > 1 else parts[0], done, borrowed)
        connection._stamp = connection.loop.now
        return below

    def _finish(self) -> None:
        """All is out, but for the last chunk."""
        last = self._framing.end()
        self.stage = DONE
        if last:
            self._connection._stream()._write(last, None, False)
        self._connection._request_out()


def _declared_length(headers: Headers, source: Optional[Body]) -> Optional[int]:
    """What the caller's headers say of the body: its length, -1 for chunked, None for nothing; ValueError for nonsense."""
    coding, given = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or given is not None:
            raise ValueError("a request's body is chunked or has a Content-Length: %r" % coding)
        return -1
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise ValueError("Content-Length is a number of bytes, not %r" % given)
    if source is not None and source.length is not None and source.length != int(given):
        raise ValueError("Content-Length says %s, the body has %d bytes" % (given, source.length))
    return int(given)
