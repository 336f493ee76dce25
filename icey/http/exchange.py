"""Exchange: one request and its answer: what a handler gets.

The answer's stages: OPEN (nothing sent) -> SENDING (the head is out) -> DONE, or LOST (the connection went first).

Rules
- An answer may come at once or later, from a timer or a post; until it is complete the connection gives out no other
  exchange. Once it is complete every answering call is StateError: a late answer cannot land on the next request.
- The body waits, unread, until there is an `on_payload` slot, a `collect()` or an answer.
- The engine frames: Content-Length if you give one (and then it is held to), else chunked (1.1) or until close (1.0).

Not here: the connection's states and deadlines (connection.py), the bytes of a head (answer.py).
"""

from __future__ import annotations

from _thread import get_ident

from ..base.buffer import flat, own
from ..base.errors import StateError, TooLarge
from ..base.handle import wrong_thread
from ..base.signal import Event
from .answer import bodiless, check_status
from .grammar import tokens
from .headers import Headers, pairs_of
from .message import Response
from .output import JOIN_BELOW, TINY
from .states import CLOSED, RECEIVING_HEADERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Dict, List, Optional

    from ..base.buffer import Done
    from ..base.loop import Loop
    from ..base.signal import Signal
    from ..net.address import Address
    from .connection import ServerConnection
    from .headers import HeadersLike
    from .message import Request
    from .server import Server
    from .states import ServerState

OPEN, SENDING, DONE, LOST = range(4)
DROPPED, COUNTED, CHUNKED, BARE = range(4)  # how body bytes go out: not at all, against a length, chunked, as they are


class Exchange:
    """One request and its answer. `request`, `connection`; `response` (status, headers) for `send_header` and `send`."""

    __slots__ = ("request", "connection", "sent", "_stage", "_signals", "_response", "_mode", "_left", "_gather")

    on_payload = Event("on_payload(exchange, view): a piece of the body; lent until the slots return")
    on_complete = Event("on_complete(exchange): the request is whole")
    on_drain = Event("on_drain(exchange): the queue is down to low water, send again")
    on_close = Event("on_close(exchange): over, answered or not; once, from the loop")

    def __init__(self, connection: ServerConnection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.sent = 0  # bytes of the answer's body
        self._stage = OPEN
        self._signals: Optional[Dict[str, Signal]] = None
        self._response: Optional[Response] = None
        self._gather: Optional[_Gather] = None

    # what it is

    @property
    def response(self) -> Response:
        """The answer's head: set status and headers before `send_header`, `send` or `begin_streaming`."""
        if self._response is None:
            self._response = Response()
        return self._response

    @property
    def state(self) -> ServerState:
        """The connection's state while this is its exchange, CLOSED after."""
        return self.connection.state if self._stage < DONE or self.upgraded else CLOSED

    @property
    def answered(self) -> bool:
        """The whole answer was handed over."""
        return self._stage == DONE

    @property
    def server(self) -> Server:
        """The server it came to."""
        return self.connection.server

    @property
    def loop(self) -> Loop:
        """The loop it lives on."""
        return self.connection.loop

    @property
    def peer(self) -> Optional[Address]:
        """The client's address."""
        return self.connection.peer

    @property
    def local(self) -> Optional[Address]:
        """The address the client connected to."""
        return self.connection.local

    @property
    def secure(self) -> bool:
        """Whether it came over TLS."""
        return self.connection.secure

    @property
    def upgraded(self) -> bool:
        """Whether another protocol has taken over."""
        return self.connection.upgraded and self.connection.exchange is self

    # answering at once

    def respond(
        self, status: int = 200, body: Any = b"", content_type: Optional[str] = None, headers: HeadersLike = None
    ) -> None:
        """Sends the whole answer. body: bytes-like (str is TypeError); headers: pairs or a mapping.

        StateError if an answer has begun already, or the exchange is over.
        """
        connection = self.connection
        if connection._quick is self and headers is None and type(body) is bytes and self._response is None:
            if get_ident() != connection.loop._thread:
                wrong_thread(self)
            size = len(body)
            head = connection._common.get((status, content_type, size))
            if head is None:
                head = connection._heads.common(status, content_type, size)
            if head:
                if size < JOIN_BELOW:
                    connection._out.append(head + body)
                else:
                    connection._out += (head, body)
                self.sent = size
                self._stage = DONE
                connection._quick = connection.exchange = None
                connection._state = RECEIVING_HEADERS
                if not connection._corked or connection._log or self._signals or size >= TINY:
                    connection._answered_quick(self, status)
                return
        self._respond(status, body, content_type, headers)

    def _respond(self, status: int, body: Any, content_type: Optional[str], headers: HeadersLike) -> None:
        self._require(OPEN, "respond")
        if isinstance(body, str):
            raise TypeError("a body is bytes: encode the str first, body.encode()")
        data = own(flat(body))
        check_status(status)
        if status < 200:
            raise ValueError("an answer's status is 200 or more; %d is interim" % status)
        if self.request.method == "CONNECT" and status < 300:
            raise StateError("respond(%d) to CONNECT, which opens a tunnel" % status,
                             "send_header() and replace_adapter(adapter), or answer with an error", "upgrade")
        answer = Headers(self._response.headers if self._response is not None else None)
        for name, value in pairs_of(headers):
            answer.add(name, value)
        if content_type is not None:
            answer["Content-Type"] = content_type
        no_body = bodiless(status) or self.request.method == "HEAD"
        given = _given_length(answer, status)
        if given is None and not bodiless(status):
            answer["Content-Length"] = str(len(data))
        elif given is not None and not no_body and given != str(len(data)):
            raise StateError("Content-Length says %s, the body has %d bytes" % (given, len(data)),
                             "leave Content-Length to the engine", "the engine frames")
        if self.connection._unreadable():
            self.connection._keep_alive = False
        self.response.status = status
        self._send_head(answer, DROPPED if no_body else BARE)
        if not no_body:
            self.sent = len(data)
            self.connection._write(data, None, True)
        self._finish()

    # answering piece by piece

    def send_header(self) -> None:
        """Sends the head of `response`; StateError if it is out already."""
        self._require(OPEN, "send_header")
        response = self.response
        check_status(response.status)
        if response.status < 200 and response.status != 101:
            raise ValueError("an answer's status is 200 or more; %d is interim" % response.status)
        headers = Headers(response.headers)
        given = _given_length(headers, response.status)
        if self.request.method == "CONNECT" and response.status < 300:  # a tunnel has neither length nor coding
            mode = DROPPED
            if given is not None:
                del headers["content-length"]
        elif bodiless(response.status) or self.request.method == "HEAD":
            mode = DROPPED
        elif given is not None:
            if not (given.isascii() and given.isdigit()):
                raise ValueError("Content-Length is a number of bytes, not %r" % given)
            mode = COUNTED
            self._left = int(given)
        elif self.request.version == "1.0":
            mode = BARE
            self.connection._keep_alive = False
        else:
            mode = CHUNKED
            headers["Transfer-Encoding"] = "chunked"
        self._send_head(headers, mode)

    def send(self, data: Any, done: Done = None) -> bool:
        """Sends a piece of the body, borrowing it, as Stream.send does; the head goes first if it has not gone yet.

        False: wait for `on_drain`. StateError beyond a given Content-Length (and the connection is aborted).
        """
        return self._send(data, done, False)

    def send_owned(self, data: Any, done: Done = None) -> bool:
        """As `send`, but keeps its own: bytes by reference, mutable data copied."""
        return self._send(data, done, True)

    def send_file(self, file: BinaryIO, offset: int, count: int, done: Done = None, *, close: bool = True) -> bool:
        """Sends `count` bytes of an open binary file from `offset`, never reading it whole.

        close: the file is taken over, and closed when it is out or the exchange dies. A file shorter than that aborts the
        connection. Returns False while the region waits: `on_drain` and `done` tell.
        """
        try:
            self._begin_body(count)
            framed = self._mode == CHUNKED and count
        except BaseException:
            if close:
                file.close()
            raise
        if self._mode == DROPPED or not count:
            if close:
                file.close()
            if done is not None:
                self.loop.call_soon(done)
            return True
        if framed:
            self.connection._write(b"%x\r\n" % count, None, True)
        result = self.connection._write_file(file, offset, count, close, None if framed else done)
        if framed:
            self.connection._write(b"\r\n", done, True)
        self.sent += count
        return result

    def begin_streaming(self) -> None:
        """Sends the head and exempts the connection from the reaper until `end()`."""
        self._require(SENDING, "begin_streaming")
        if self._stage == OPEN:
            self.send_header()
        self.connection._begin_streaming()

    def end(self) -> None:
        """Completes the answer; StateError short of a given Content-Length (and the connection is aborted)."""
        self._require(SENDING, "end")
        if self._stage == OPEN:
            if "content-length" not in self.response.headers and not bodiless(self.response.status):
                if self.request.method != "HEAD":
                    self.response.headers["Content-Length"] = "0"
            self.send_header()
        if self._mode == COUNTED and self._left:
            self.connection.abort()
            raise StateError("end() %d bytes short of the Content-Length given" % self._left,
                             "send all of the body, or give no Content-Length", "the engine frames")
        if self._mode == CHUNKED:
            self.connection._write(b"0\r\n\r\n", None, True)
        self._finish()

    def _send(self, data: Any, done: Done, owned: bool) -> bool:
        if isinstance(data, str):
            raise TypeError("a body is bytes: encode the str first, data.encode()")
        parts = [flat(part) for part in (data if isinstance(data, (list, tuple)) else (data,))]
        size = sum(map(len, parts))
        self._begin_body(size, self.server.limits.max_queue)
        if self._mode == DROPPED or not size:
            if done is not None:
                self.loop.call_soon(done)
            return self.connection._below_high_water()
        if self._mode == CHUNKED:
            parts = [b"%x\r\n" % size, *parts, b"\r\n"]
        result = self.connection._write(parts if len(parts) > 1 else parts[0], done, owned)
        self.sent += size
        return result

    def _begin_body(self, size: int, max_queue: Optional[int] = None) -> None:
        self._require(SENDING, "send")
        if self._stage == OPEN:
            self.send_header()
        if max_queue is not None and size and self._mode != DROPPED:
            self.connection._require_room(size, max_queue)
        if self._mode == COUNTED:
            if size > self._left:
                self.connection.abort()
                raise StateError("send() %d bytes beyond the Content-Length given" % (size - self._left),
                                 "send what was promised, or give no Content-Length", "the engine frames")
            self._left -= size

    def _send_head(self, headers: Headers, mode: int) -> None:
        connection = self.connection
        response = self.response
        if "close" in tokens(",".join(headers.get_all("connection"))):
            connection._keep_alive = False
        elif response.status == 101:
            pass  # Connection says upgrade
        elif not connection._keep_alive or connection._must_close_after_head():
            connection._keep_alive = False
            headers["Connection"] = "close"
        elif self.request.version == "1.0" and connection._keep_alive:
            headers["Connection"] = "keep-alive"
        head = connection._heads.head(response.status, response.reason, headers.items())
        self._mode = mode
        self._stage = SENDING
        connection._quick = None
        connection._write(head, None, True)

    def _finish(self) -> None:
        self._stage = DONE
        self.connection._answered(self, self.response.status)

    def _require(self, last: int, verb: str) -> None:
        """AffinityError from another thread; StateError once the stage is past `last`."""
        self._check()
        if self._stage > last:
            what = ("", "the answer has begun", "the answer is complete", "the connection closed")[self._stage]
            raise StateError("%s() after %s" % (verb, what), "answer an exchange once; on_close tells when it is over",
                             "an exchange is answered once")

    # the request's body

    def collect(self, done: Callable[[Exchange, bytes], Any], limit: Optional[int] = None) -> None:
        """Gathers the body and calls `done(exchange, body)`, perhaps before this returns. Past `limit` bytes: 413.

        limit None: Limits.max_body.
        """
        self._require(SENDING, "collect")
        if self._gather is not None:
            raise StateError("collect() twice", "collect once", "an exchange is answered once")
        most = self.server.limits.max_body if limit is None else limit
        self._gather = _Gather(done, most)
        if not self.connection._consumer_came(self):
            self._gathered()

    def pause(self) -> None:
        """Stops reading the body, and its deadline."""
        self._check()
        if self._stage < DONE:
            self.connection._pause()

    def resume(self) -> None:
        """Reads on."""
        self._check()
        if self._stage < DONE:
            self.connection._resume()

    def _payload(self, view: memoryview) -> None:
        """The connection brings a piece of the body."""
        gather = self._gather
        if gather is not None:
            gather.size += len(view)
            if gather.most is not None and gather.size > gather.most:
                raise TooLarge("body over %d bytes" % gather.most)
            gather.pieces.append(bytes(view))
        if self._signals is not None and "on_payload" in self._signals:
            self._signals["on_payload"].fire(self, view)

    def _completed(self) -> None:
        """The request is whole."""
        if self._gather is not None:
            self._gathered()
        if self._signals is not None and "on_complete" in self._signals:
            self._signals["on_complete"].fire(self)

    def _gathered(self) -> None:
        gather = self._gather
        if gather is not None and gather.done is not None:
            done, gather.done = gather.done, None
            body = b"".join(gather.pieces)
            gather.pieces = []
            done(self, body)

    # the end

    def replace_adapter(self, adapter: Any) -> None:
        """Hands the connection over to `adapter`: it gets what comes from now on, after the replacing slot returns."""
        self._check()
        if self._stage >= DONE:
            self._require(SENDING, "replace_adapter")
        self.connection._upgrade(self, adapter)

    def close(self) -> None:
        """Closes the connection once what is queued is out."""
        self._check()
        if self._stage < DONE:
            self.connection.close()

    def abort(self) -> None:
        """Closes the connection now."""
        self._check()
        if self._stage < DONE:
            self.connection.abort()

    def _over(self, stage: int) -> None:
        """The last word: answered or lost. `on_close` comes from the loop."""
        self._stage = stage
        signals, self._signals = self._signals, None
        self._gather = None
        if signals is not None and "on_close" in signals and len(signals["on_close"]):
            if self.loop.closed:  # its last phase: no call would be made any more
                self.connection._emit_close(self, signals["on_close"])
            else:
                self.loop._calls.append((self.connection._emit_close, (self, signals["on_close"])))

    def _check(self) -> None:
        if get_ident() != self.connection.loop._thread:
            wrong_thread(self)

    def _slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_payload" and len(signal) and self._stage < DONE:
            self.connection._consumer_came(self)

    def __repr__(self) -> str:
        return "<Exchange %s %s>" % (self.request.method, self.request.target)


class _Gather:
    """What `collect` has so far."""

    __slots__ = ("done", "most", "size", "pieces")

    def __init__(self, done: Callable[[Exchange, bytes], Any], most: Optional[int]) -> None:
        self.done: Optional[Callable[[Exchange, bytes], Any]] = done
        self.most = most
        self.size = 0
        self.pieces: List[bytes] = []


def _given_length(headers: Headers, status: int) -> Optional[str]:
    """The Content-Length that the application gave, once; StateError if it gave a Transfer-Encoding."""
    if "transfer-encoding" in headers:
        raise StateError("Transfer-Encoding was given", "leave it to the engine", "the engine frames")
    given: Optional[str] = headers.get("content-length")
    if given is not None:
        if status < 200 or status == 204:  # RFC 9110 section 8.6
            del headers["content-length"]
            return None
        headers["Content-Length"] = given
    return given
