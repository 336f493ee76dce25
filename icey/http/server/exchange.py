"""Exchange: one request and its answer: what a handler gets.

The answer's stages: OPEN (nothing sent) -> SENDING (the head is out) -> DONE, or LOST (the connection went first).

Rules
- An answer may come at once or later, from a timer or a post; until then the connection gives out no other exchange. Once it
  is complete every answering call is StateError: a late answer cannot land on the next request.
- The body waits, unread, until there is an `on_payload` slot, a `collect()` or an answer.
- The engine frames: Content-Length if you give one (and then it is held to), else chunked (1.1) or until close (1.0).

Not here: a connection's states and deadlines (connection.py), a head's bytes (http1/responsehead.py), what carries an
exchange (answerstream.py).
"""

from __future__ import annotations

from _thread import get_ident

from ...base.buffer import JOIN_BELOW, flat, own
from ...base.emitter import Emitter, wrong_thread
from ...base.errors import StateError, TooLarge
from ...base.pieces import gather_piece, joined
from ...base.signal import Event, require_callable
from ...base.state import transitions
from ..http1.responsehead import CHUNKED_SIZE
from ..semantics.headers import pairs_of
from ..semantics.message import Response
from ..semantics.status import REASONS, bodiless, check_status
from .answerstream import WHOLE
from .states import CLOSED

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Dict, List, Optional

    from typing_extensions import Buffer, Self

    from ...base.buffer import Data, Done, Sendable
    from ...base.errors import BorrowError, HttpError
    from ...base.loop import Loop
    from ...base.signal import Signal
    from ...net.address import Address
    from ..http1.responsehead import AnswerFields
    from ..semantics.headers import HeadersLike
    from ..semantics.message import Request
    from .connection import ServerConnection
    from .server import Server
    from .states import ServerState

OPEN, SENDING, DONE, LOST = range(4)
STAGES = transitions({OPEN: (SENDING, DONE, LOST), SENDING: (DONE, LOST), DONE: (LOST,), LOST: ()},  # upgraded: DONE, LOST
                     names=("OPEN", "SENDING", "DONE", "LOST"))
_ONCE = "an exchange is answered once"
_AFTER = {
    SENDING: ("the answer has begun", "go on with send(), and end()", _ONCE),
    DONE: ("the answer is complete", "answer an exchange once; on_close tells when it is over", _ONCE),
    LOST: ("the connection closed", "nobody is there to answer; on_close tells when that happens", "close is asynchronous"),
}
PLAIN_TEXT = "text/plain; charset=utf-8"
DROPPED, COUNTED, CHUNKED, BARE = range(4)  # how body bytes go out: not at all, against a length, chunked, as they are


class Exchange(Emitter):
    """One request and its answer.

    `request`; `response`: status, reason and headers, for `send_header` and `send`; `connection`: who carries it; `sent`: bytes
    of the answer's body so far; `data`: free for the application's own use, None at first. For whoever extends it: `stage`,
    OPEN, SENDING, DONE or LOST.
    """

    __slots__ = ("request", "connection", "sent", "stage", "signals", "data", "_response", "_mode", "_length", "_gather")

    STATES = {"stage": STAGES}

    on_payload: Event[Callable[[Self, memoryview], Any]] = Event(
        "on_payload(exchange, view): a piece of the body; lent until the slots return")
    on_complete: Event[Callable[[Self], Any]] = Event("on_complete(exchange): the request is whole")
    on_drain: Event[Callable[[Self], Any]] = Event("on_drain(exchange): the queue is down to low water, send again")
    on_end: Event[Callable[[Self], Any]] = Event(
        "on_end(exchange): the client sends no more and has probably gone; an answer may still be sent. With a slot"
        " here a streamed answer goes on")
    on_close: Event[Callable[[Self], Any]] = Event("on_close(exchange): over, answered or not; once, from the loop")

    def __init__(self, connection: ServerConnection, request: Request) -> None:
        self.connection: ServerConnection = connection
        self.request: Request = request
        self.sent: int = 0
        self.data: Any = None
        self.stage: int = OPEN
        self.signals: Optional[Dict[str, Signal]] = None
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
        return self.connection.state if self.stage < DONE or self.upgraded else CLOSED

    @property
    def answered(self) -> bool:
        """The whole answer was handed over."""
        return self.stage == DONE

    @property
    def cut(self) -> bool:
        """In a slot of `on_answer`: whether the answer had begun, and its end will not come."""
        return self.stage == SENDING

    @property
    def server(self) -> Server:
        """The server it came to."""
        return self.connection.server

    @property
    def loop(self) -> Loop:  # type: ignore[override]
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
        """Whether another protocol took over."""
        return self.connection.upgraded and self.connection.exchange is self

    # answering at once

    def respond(
        self, status: int = 200, body: Buffer = b"", content_type: Optional[str] = None, headers: HeadersLike = None
    ) -> None:
        """Sends the whole answer. body: bytes-like (str is TypeError); headers: pairs or a mapping.

        StateError if an answer has begun already, or the exchange is over.
        """
        connection = self.connection
        if connection.quick is self and type(body) is bytes:
            if get_ident() != connection.loop.thread:
                wrong_thread(self)
            response = self._response
            if response is None:
                if status != 200:
                    self._response = Response(status)  # before: a slot of on_answer may look at it
                if connection.answer(self, status, body, content_type, headers):
                    return
            elif headers is None and not response.reason:
                before, response.status = response.status, status
                if connection.answer(self, status, body, content_type, response.headers):
                    return
                response.status = before
        self._respond(status, body, content_type, headers)

    def respond_json(self, value: Any, status: int = 200, headers: HeadersLike = None) -> None:
        """Sends `value` as JSON (RFC 8259), in UTF-8. TypeError, ValueError: JSON has no such thing (NaN among others)."""
        import json

        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self.respond(status, text.encode("utf-8"), "application/json", headers)

    def _respond(self, status: int, body: Any, content_type: Optional[str], headers: HeadersLike) -> None:
        """The long way: head and body in one send."""
        self.require(OPEN, "respond")
        data = own(flat(body))
        check_status(status)
        if status < 200:
            raise ValueError("an answer's status is 200 or more; %d is interim" % status)
        if self.request.method == "CONNECT" and status < 300:
            raise StateError("respond(%d) to CONNECT, which opens a tunnel" % status,
                             "send_header() and replace_adapter(adapter), or answer with an error", "upgrade")
        fields = self._fields(status, headers, content_type)
        no_body = bodiless(status) or self.request.method == "HEAD"
        if fields.length is None:
            frame = b"" if bodiless(status) else b"Content-Length: %d\r\n" % len(data)
        else:
            if not no_body and fields.length != str(len(data)):
                raise StateError("Content-Length says %s, the body has %d bytes" % (fields.length, len(data)),
                                 "leave Content-Length to the engine", "the engine frames")
            frame = b"Content-Length: %s\r\n" % fields.length.encode("latin-1")
        response = self.response
        response.status = status
        if no_body:
            self._mode, data = DROPPED, b""
        else:
            self._mode = BARE
            self.sent = len(data)
        self.connection.write_head(self, status, response.reason, fields, frame, data)
        self._finish()

    # answering piece by piece

    def send_header(self) -> None:
        """Sends the head of `response`; StateError if it is out already."""
        self.require(OPEN, "send_header")
        self.send_head()

    def send_head(self) -> None:
        """Sends the head of `response`, and decides by it how the body is framed."""
        response = self.response
        status = response.status
        check_status(status)
        if status < 200 and status != 101:
            raise ValueError("an answer's status is 200 or more; %d is interim" % status)
        if self.connection.quick is self and not response.reason:
            size = self.connection.answer_head(self, status, response.headers)
            if size is not None:
                if size == CHUNKED_SIZE:
                    self._mode = CHUNKED
                else:
                    self._mode, self._length = COUNTED, size
                return
        fields = self._fields(status, None, None)
        given, frame, last = fields.length, b"", False
        if self.request.method == "CONNECT" and status < 300:  # a tunnel has neither length nor coding
            mode, given = DROPPED, None
        elif bodiless(status) or self.request.method == "HEAD":
            mode = DROPPED
        elif given is not None:
            if not (given.isascii() and given.isdigit()):
                raise ValueError("Content-Length is a number of bytes, not %r" % given)
            mode = COUNTED
            self._length = int(given)
        elif self.request.version == "1.0":
            mode, last = BARE, True
        else:
            mode, frame = CHUNKED, b"Transfer-Encoding: chunked\r\n"
        if given is not None:
            frame = b"Content-Length: %s\r\n" % given.encode("latin-1")
        self._mode = mode
        self.connection.write_head(self, status, response.reason, fields, frame, last=last)

    def _fields(self, status: int, headers: HeadersLike, content_type: Optional[str]) -> AnswerFields:
        """The fields of the answer: those of `response`, then `headers`; a content type beats theirs.

        StateError where a Transfer-Encoding was given. No length where the status has none (RFC 9110 section 8.6).
        """
        heads, response = self.connection.heads, self._response
        fields = heads.fields(response.headers.items() if response is not None else (), pairs_of(headers))
        if content_type is not None:
            fields.type = heads.line("Content-Type", content_type)[1]
        if fields.coding:
            raise StateError("Transfer-Encoding was given", "leave it to the engine", "the engine frames")
        if status < 200 or status == 204:
            fields.length = None
        return fields

    def send(self, data: Sendable, done: Done = None) -> bool:
        """Sends a piece of the body, borrowing it, as Stream.send does; the head goes first if it has not gone yet.

        False: wait for `on_drain`. StateError beyond a given Content-Length (and the connection is aborted).
        """
        return self.send_parts(data, done, False)

    def send_owned(self, data: Sendable, done: Done = None) -> bool:
        """As `send`, but keeps its own: bytes by reference, mutable data copied."""
        return self.send_parts(data, done, True)

    def send_file(self, file: BinaryIO, offset: int, count: int, done: Done = None, *, close: bool = True) -> bool:
        """Sends `count` bytes of an open binary file from `offset`, never reading it whole.

        close: the file is taken over, and closed when it is out or the exchange dies. A shorter file aborts the connection.
        False: it waits, `on_drain` and `done` tell.
        """
        from ...base import fileregion  # noqa: F401 - a copy that has a server is to send files

        try:
            self.begin_body(count, False, done)
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
            self.connection.write(b"%x\r\n" % count, None, True)
        result = self.connection.write_file(file, offset, count, close, None if framed else done)
        if framed:
            self.connection.write(b"\r\n", done, True)
        self.sent += count
        return result

    def begin_streaming(self) -> None:
        """Sends the head; until `end()` there is no deadline but `write_timeout`, for bytes that wait."""
        self.require(SENDING, "begin_streaming")
        if self.stage == OPEN:
            self.send_head()
        self.connection.begin_streaming()

    def end(self) -> None:
        """Completes the answer; StateError short of a given Content-Length (and the connection is aborted)."""
        if self.stage > SENDING or get_ident() != self.connection.loop.thread:
            self.require(SENDING, "end")
        if self.stage == OPEN:
            if "content-length" not in self.response.headers and not bodiless(self.response.status):
                if self.request.method != "HEAD":
                    self.response.headers["Content-Length"] = "0"
            self.send_head()
        if self._mode == COUNTED and self.sent != self._length:
            self.connection.abort()
            raise StateError("end() %d bytes short of the Content-Length given" % (self._length - self.sent),
                             "send all of the body, or give no Content-Length", "the engine frames")
        if self._mode == CHUNKED:
            self.connection.write(b"0\r\n\r\n", None, True)
        self._finish()

    def send_parts(self, data: Any, done: Done, owned: bool) -> bool:
        """Sends a piece of the body, `owned` or borrowed."""
        if type(data) is bytes:
            parts: List[Data] = [data]
            size = len(data)
        else:
            parts = [flat(part) for part in (data if isinstance(data, (list, tuple)) else (data,))]
            size = sum(map(len, parts))
        self.begin_body(size, True, done)
        return self.put(parts, size, done, owned)

    def put(self, parts: List[Data], size: int, done: Done, owned: bool) -> bool:
        """Sends `size` bytes of the body, framed."""
        if self._mode == DROPPED or not size:
            if done is not None:
                self.loop.call_soon(done)
            return self.connection.room()
        if self._mode != CHUNKED:
            framed = parts if len(parts) > 1 else parts[0]
        elif len(parts) == 1 and type(parts[0]) is bytes and size < JOIN_BELOW:
            framed = b"%x\r\n%b\r\n" % (size, parts[0])  # others may be lent: whoever keeps them is to see what they are
        else:
            framed = [b"%x\r\n" % size, *parts, b"\r\n"]
        result = self.connection.write(framed, done, owned)
        self.sent += size
        return result

    def begin_body(self, size: int, bounded: bool = False, done: Done = None) -> None:
        """Before `size` bytes of the body: the head goes first, and a given length is held to.

        bounded: QueueFull where they would pass `max_queue`. StateError once the answer is complete.
        """
        if self.stage > SENDING or get_ident() != self.connection.loop.thread:
            self.require(SENDING, "send")
        if done is not None:
            require_callable(done, "done")
        if self.stage == OPEN:
            self.send_head()
        if bounded and size and self._mode != DROPPED:
            self.connection.room(size)
        if self._mode == COUNTED and self.sent + size > self._length:
            self.connection.abort()
            raise StateError("send() %d bytes beyond the Content-Length given" % (self.sent + size - self._length),
                             "send what was promised, or give no Content-Length", "the engine frames")

    def _finish(self) -> None:
        self.stage = DONE
        self.connection.finish(self, self.response.status)

    def answer_error(self, exc: HttpError) -> None:
        """Answers with what `exc` says; a head that was begun is forgotten."""
        self._response = None
        self._gather = None
        self.respond(exc.status, error_text(exc), PLAIN_TEXT, exc.headers)

    def require(self, last: int, verb: str) -> None:
        """AffinityError from another thread; StateError for `verb`, a method, once the stage is past `last`."""
        self.check_thread()
        if self.stage > last:
            what, *instead = _AFTER[self.stage]
            raise StateError("%s() after %s" % (verb, what), *instead)

    # the request's body

    def collect(self, done: Callable[[Exchange, bytes], Any], limit: Optional[int] = None) -> None:
        """Gathers the body, then calls `done(exchange, body)`, perhaps now. Past `limit` bytes (None: Limits.max_body): 413."""
        self.require(SENDING, "collect")
        require_callable(done, "done")
        if self._gather is not None:
            raise StateError("collect() twice", "collect once", _ONCE)
        most = self.server.limits.max_body if limit is None else limit
        self._gather = _Gather(done, most)
        if most is not None and self.connection.parser.framing.length > most:
            self.slot_failed(TooLarge("body over %d bytes" % most))
        elif not self.connection.want_body(self):
            self._gathered()

    def pause(self) -> None:
        """Stops reading the body, and its deadline."""
        self.check_thread()
        if self.stage < DONE:
            self.connection.pause()

    def resume(self) -> None:
        """Reads on."""
        self.check_thread()
        if self.stage < DONE:
            self.connection.resume()

    @property
    def whole(self) -> bool:
        """Whether the request's body was read, or there is none."""
        return self.connection.intake == WHOLE or self.connection.exchange is not self

    @property
    def bodiless(self) -> bool:
        """Once the head is out: whether no body follows it (HEAD, 204, 304, a tunnel)."""
        status, method = self.response.status, self.request.method
        return bodiless(status) or method == "HEAD" or (method == "CONNECT" and status < 300)

    # for the connection

    @property
    def until_close(self) -> bool:
        """Whether an answer is under way that ends with the connection."""
        return self.stage == SENDING and self._mode == BARE

    def hears(self, name: str) -> bool:
        """Whether the event `name` has a slot."""
        return self.signals is not None and name in self.signals and len(self.signals[name]) > 0

    @property
    def collecting(self) -> bool:
        """Whether a `collect` waits for the body."""
        return self._gather is not None and self._gather.done is not None

    def payload(self, view: memoryview) -> None:
        """A piece of the body."""
        gather = self._gather
        if gather is not None:
            gather.size += len(view)
            if gather.most is not None and gather.size > gather.most:
                raise TooLarge("body over %d bytes" % gather.most)
            gather_piece(gather.pieces, view)
        if self.signals is not None and "on_payload" in self.signals:
            self.signals["on_payload"].fire(self, view)

    def completed(self) -> None:
        """The request is whole."""
        if self._gather is not None:
            self._gathered()
        if self.signals is not None and "on_complete" in self.signals:
            self.signals["on_complete"].fire(self)

    def _gathered(self) -> None:
        gather = self._gather
        if gather is not None and gather.done is not None:
            done, gather.done = gather.done, None
            body = joined(gather.pieces)
            gather.pieces = []
            done(self, body)

    # the end

    def replace_adapter(self, adapter: Any) -> None:
        """Hands the connection over to `adapter`: it gets what comes from now on, after the replacing slot returns."""
        self.check_thread()
        if self.stage >= DONE:
            self.require(SENDING, "replace_adapter")
        self.connection.take_over(self, adapter)

    def close(self) -> None:
        """Closes the connection once what is queued is out."""
        self.check_thread()
        if self.stage < DONE:
            self.connection.close()

    def abort(self) -> None:
        """Closes the connection now."""
        self.check_thread()
        if self.stage < DONE:
            self.connection.abort()

    def over(self, stage: int) -> None:
        """The last word, DONE or LOST. `on_close` comes from the loop."""
        self.stage = stage
        signals, self.signals = self.signals, None
        self._gather = None
        if signals is not None and "on_close" in signals and len(signals["on_close"]):
            if self.loop.closed:  # no call would be made any more
                self._tell_close(signals["on_close"])
            else:
                self.loop.soon(self._tell_close, signals["on_close"])

    def _tell_close(self, signal: Signal) -> None:
        for slot in signal:
            try:
                slot(self)
            except Exception as exc:
                self.loop.report(exc, self.connection)

    def check_thread(self) -> None:
        if get_ident() != self.connection.loop.thread:
            wrong_thread(self)

    def slot_failed(self, exc: Exception) -> None:
        self.connection.slot_raised(self, exc)

    def borrow_broken(self, exc: BorrowError) -> None:
        self.connection.borrow_broken(exc)

    def slots_changed(self, name: str, signal: Signal) -> None:
        """A slot for the body has it read; one for an end that was seen is told."""
        if name == "on_payload" and signal.slots and self.stage < DONE:
            self.connection.want_body(self)
        elif name == "on_end" and len(signal) == 1 and self.connection.ended and self.stage < DONE:
            self.loop.soon(self._tell_end)  # seen before anybody asked

    def _tell_end(self) -> None:
        if self.stage < DONE:
            self.emit("on_end", self)

    def __repr__(self) -> str:
        return "<Exchange %s %s>" % (self.request.method, self.request.target)


def error_text(exc: HttpError) -> bytes:
    """The body that says what `exc` says."""
    text = "%d %s" % (exc.status, REASONS.get(exc.status, "Error"))
    return ("%s: %s\n" % (text, exc.reason) if exc.reason else text + "\n").encode("utf-8", "replace")


class _Gather:
    """What `collect` has so far."""

    __slots__ = ("done", "most", "size", "pieces")

    def __init__(self, done: Callable[[Exchange, bytes], Any], most: Optional[int]) -> None:
        self.done: Optional[Callable[[Exchange, bytes], Any]] = done
        self.most = most
        self.size = 0
        self.pieces: List[Any] = []
