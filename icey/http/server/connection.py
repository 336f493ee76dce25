"""ServerConnection: one client's connection: requests come in order, answers go out in order.

It is the protocol of its stream, the observer of its parser, and what carries the answers of its exchanges (answerstream.py).
At any time at most one exchange is out; what the client sends beyond it waits, unparsed, and then unread. The connection's
states are in states.py. Beside them:

    intake       where the request's body is
                 WHOLE       there is none, or all of it is read
                 WAITING     for somebody who wants it
                 EXPECTING   the same, and the client waits for 100 Continue before it sends it
                 FLOWING     it is read, and told
                 DRAINING    the request was answered before; the rest is dropped, within bounds
    exchange     the answer's side: its stages are in exchange.py
    held by      `_paused`: the application does not want the body now; `_choked`: the client does not read its answers, so its
                 next requests wait.

How it is fast: all answers of one readable burst are gathered in `_out` and go out in one send. A request that is read whole
(and is neither HEAD nor CONNECT) is `quick`: its answer takes the short way, `answer` or `answer_head`, with a head that is
known.

What is late, looked at once a second by `sweep`, without timers:

    what                                          limit                 then
    queued bytes that the client does not take    write_timeout         abort
    a head begun, or a new connection's first     head_timeout          408, or close where nothing has come
    an idle connection, since its answer was out  keep_alive_timeout    close
    a body that somebody waits for                body_timeout          408
    the rest of an answered request's body        body_timeout          close
    a connection that is closing, all is out      close_timeout         close

The application's own time is nobody's deadline: a thinking, streaming or upgraded connection is not touched (but for the bytes
queued on it). An idle connection is looked at again before it is closed: one that just became active lives.

What goes wrong: an HttpError that leaves a slot is the answer, if none has begun. Of anything else `loop.on_error` is told, and
500 is the answer, or the connection is aborted if one has begun. Malformed or late bytes of the client get the status that says
so, `Connection: close`, and a lingering close.

Not here: what an exchange offers (exchange.py), the bytes of heads (http1/responsehead.py), accepting and stopping (server.py).
"""

from __future__ import annotations

from ...base.buffer import JOIN_BELOW
from ...base.emitter import Emitter
from ...base.errors import HttpError, QueueFull, RequestTimeout, StateError
from ...base.lingering import LingeringClose
from ...base.state import InState, require_move, transitions, watch_states, watched
from ...base.stream import UP
from ...base.streamprotocol import StreamProtocol
from ..http1.observer import ParserObserver
from ..http1.parser import Parser
from ..http1.responsehead import length_of
from ..semantics.message import Request
from ..semantics.status import bodiless
from . import states
from .answerstream import DRAINING, EXPECTING, FLOWING, WAITING, WHOLE, AnswerStream
from .exchange import DONE, LOST, OPEN, PLAIN_TEXT, SENDING, Exchange, error_text
from .states import CLOSED, CLOSING, DISPATCHING, RECEIVING_BODY, RECEIVING_HEADERS, STREAMING, UPGRADED

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, List, Optional

    from ...base.buffer import Done
    from ...base.errors import BorrowError
    from ...base.limits import Limits
    from ...base.loop import Loop
    from ...net.tcp import TCPSocket
    from ..http1.responsehead import AnswerFields, HeadWriter, KnownHeads
    from ..semantics.headers import Headers, HeadersLike
    from .server import Server

INTAKES = transitions({
    WHOLE: (WAITING, EXPECTING),
    WAITING: (FLOWING, DRAINING, WHOLE),
    EXPECTING: (FLOWING, DRAINING, WHOLE),
    FLOWING: (DRAINING, WHOLE),
    DRAINING: (WHOLE,),
}, names=("WHOLE", "WAITING", "EXPECTING", "FLOWING", "DRAINING"))

TINY = 1024  # bytes: answers smaller than this may gather without bound: a burst is one read of 64 KiB
MOST_GATHERED = 64  # answers of a burst, before they go out
GATHERED = 16384  # bytes of a burst's pieces before they go out: who sends until False is to come to it
PIECE = 256  # bytes that a piece counts for beside its own
SHARE = 64  # requests, or pieces of a body, of one connection in a turn: others are served in between
FILE_PIECE = 16384  # bytes of a file that count as one of these
LONG = 0.004  # seconds of a turn: past it the share is 8 requests
MOST_DRAINED = 65536  # bytes of an unread body, before the connection is closed
MOST_REFUSED = 1 << 24  # bytes of a refused upload that are dropped while its client is to see why
FORGET_AFTER = 5.0  # idle seconds after which the parser is dropped, and what it remembers


class ServerConnection(AnswerStream, InState, StreamProtocol, ParserObserver, Emitter):
    """A client's connection.

    `state`: a ServerState. `exchange`: the one that is out, None between requests. `peer`, `local`: addresses. `stream`: the
    transport. `server`, `loop`: whose it is. `secure`, `upgraded`, `closing`, `closed`: bool. `ended`: its end was seen.
    `stamp`: when it last read, or had answered. `parser`: the Parser, None while it idles.
    """

    __slots__ = (
        "server", "loop", "stream", "exchange", "quick", "intake", "heads", "told", "_state", "parser", "_known", "_out",
        "_gathered", "_corked", "_choked", "_paused", "_pending", "_share", "_drained", "_keep_alive", "ended", "stamp",
        "_lingering", "_new", "__weakref__",
    )

    MOVES = states.MOVES
    STATES = {"intake": INTAKES}
    signals: Any = None  # its events are its exchange's

    def __init__(self, server: Server, stream: TCPSocket) -> None:
        self.server: Server = server
        self.loop: Loop = server.loop
        self.stream: TCPSocket = stream
        self.exchange: Optional[Exchange] = None
        self.quick: Optional[Exchange] = None  # the exchange that may take the short way
        self.intake: int = WHOLE
        self.heads: HeadWriter = server.heads
        self.told: Optional[Callable[[Exchange, int], Any]] = server.told  # the slots of on_answer, None for none
        self._state = RECEIVING_HEADERS
        self.parser: Any = None  # dropped where the connection idles
        self._known: KnownHeads = server.heads.known  # of these is the head of the exchange that is quick
        self._out: List[Any] = []  # answers of this burst
        self._gathered = 0  # what the pieces in it count for
        self._corked = False  # inside a burst: answers gather
        self._choked = False
        self._paused = False
        self._pending = b""  # what the parser was held from taking
        self._share = 0  # of this turn, what is left
        self._drained = 0  # bytes of an unread body
        self._keep_alive = False  # after the answer at hand
        self.ended: bool = False
        self.stamp: float = self.loop.now  # of the last step, for the deadlines
        self._lingering: Optional[LingeringClose] = None
        self._new: Callable[[Any, Request], Exchange] = server.exchange_class
        if self.loop.debug:
            self._new = watched(server.exchange_class)
            watch_states(self)
        stream.use_protocol(self)

    @property
    def upgraded(self) -> bool:
        """Whether another protocol has taken over."""
        return self._state is UPGRADED

    @property
    def closing(self) -> bool:
        """Closing or closed."""
        return self._state is CLOSING or self._state is CLOSED

    @property
    def closed(self) -> bool:
        """Gone."""
        return self._state is CLOSED

    def close(self) -> None:
        self.check_thread()
        if self._state is UPGRADED:
            self.stream.close()
        elif not self.closing:
            self._begin_closing()

    def abort(self) -> None:
        self.check_thread()
        if not self.closed:
            self._state = CLOSING  # nothing more is parsed, nor answered
            self._lose_exchange()
            if self._out and self.stream.link == UP and not self.stream.closing and not self.stream.output:
                self._flush()  # answers of this burst that were complete before
            self._out.clear()
            self.stream.abort()

    # the stream's protocol

    @property
    def unfinished(self) -> bool:
        """Whether an answer is under way that lasts until the end: who closes the stream behind our back cuts it."""
        return self.exchange is not None and self.exchange.until_close

    def on_bytes(self, data: bytes) -> None:
        """The stream read `data`: parses and answers all of it that can be, then one send."""
        parser = self.parser
        if parser is None:
            parser = self.parser = Parser(self, limits=self.server.limits, memo=self.server.headcache)
        if not parser.partial or b"\r\n\r\n" in data:  # a slow head may end here, and the next begin
            self.stamp = self.loop.now
        if (self.exchange is not None or self._pending) and (self._pending or not self._may_feed()):
            self._pending += data
            self._read_on()
            return
        self._corked = True
        self._share = SHARE
        try:
            used = parser.feed(data)
        except HttpError as exc:
            used = len(data)
            self._refuse(exc)
        finally:
            self._corked = False
        out = self._out
        if out and not (len(out) == 1 and self.stream.write(out.pop(), None, False)):
            self._flush()
        if used != len(data):
            self._left_over(data[used:])

    def on_end(self) -> None:
        """The client sends no more: half a message is dropped, what was asked for is still answered.

        Nothing is pending: with anything pending the stream is not read, and its end not seen.
        """
        self.ended = True
        exchange = self.exchange
        told = exchange is not None and exchange.hears("on_end")
        if self._state is STREAMING and not told:  # nobody waits for the end of such an answer with half a connection
            self.abort()
        else:
            self._after_end()
        if told and exchange is not None and exchange.signals is not None:
            self._guarded(exchange, exchange.signals["on_end"].fire)

    def on_drain(self) -> None:
        """The write queue is down."""
        if self._choked:
            self._choked = False
            self._go_on()
        exchange = self.exchange
        if exchange is not None and exchange.signals is not None and "on_drain" in exchange.signals:
            self._guarded(exchange, exchange.signals["on_drain"].fire)

    def interrupted(self) -> None:
        """A KeyboardInterrupt left a slot, and the parser's place is lost: as for a slot that failed, then the end."""
        if self._state is not UPGRADED and not self.closing:
            exchange, self._keep_alive, self.quick = self.exchange, False, None
            if exchange is not None and exchange.stage == OPEN:
                exchange.answer_error(HttpError(500))
            if self.exchange is not None:
                self.abort()
            elif not self.closing:
                self._begin_closing()

    def on_close(self) -> None:
        """The stream is closed."""
        self._state = CLOSED
        self._lose_exchange()
        self._pending = b""
        self._out.clear()
        self._lingering = None
        if self.parser is not None:
            self.parser.observer = _NOBODY  # the two would wait for the garbage collector
        self.server.gone(self)

    # the parser's observer: returning True holds it

    def on_head(self, request: Request) -> bool:
        """A head is parsed; without a body the request is whole."""
        server, parser = self.server, self.parser
        framing = parser.framing
        exchange = self.exchange = self._new(self, request)
        if framing.plain and request.method != "HEAD" and not server.stopping:
            self._keep_alive = True
            self.quick = exchange
            self._known = self.heads.known
            self._state = DISPATCHING
        else:
            self._keep_alive = framing.keep_alive and not server.stopping
            if framing.length:
                self._state = RECEIVING_BODY
                self.intake = EXPECTING if framing.expect and not parser.behind else WAITING
            else:
                self._state = DISPATCHING
                self._let_be_quick(exchange)
        try:
            server.dispatch(exchange)
            if exchange.signals is not None and self.intake == WHOLE and self.exchange is exchange:
                exchange.completed()
        except Exception as exc:
            self.slot_raised(exchange, exc)
        if self._state is RECEIVING_HEADERS and not self._choked:  # answered
            self._share = share = self._share - 1
            return share <= 0 or (not share & 7 and self.loop.clock() - self.loop.now > LONG)
        return not self._may_feed()

    def on_body(self, view: memoryview) -> bool:
        """A piece of the body."""
        exchange = self.exchange
        self.server.body_bytes += len(view)
        if exchange is not None:
            buffer, signals = self.loop.read_buffer, exchange.signals
            slots = signals.get("on_payload", ()) if signals is not None else ()
            lent = buffer.lend_bytes(view)
            buffer.hand_out(exchange, lent, slots, exchange.payload, lent)
        else:
            self._drained += len(view)
            if self._drained > MOST_DRAINED and not self.closing:
                self._begin_closing()
        self._share -= 1
        return self._share <= 0 or not self._may_feed()

    def on_end_of_body(self) -> bool:
        """The body has ended."""
        exchange = self.exchange
        self.intake = WHOLE
        if exchange is None:  # it was answered before
            if not self.closing:
                self._next()
        else:
            if self._state is RECEIVING_BODY:
                self._state = DISPATCHING
                if exchange.stage == OPEN and not self._paused:
                    self._let_be_quick(exchange)
            try:
                exchange.completed()
            except Exception as exc:
                self.slot_raised(exchange, exc)
        return not self._may_feed()

    def _let_be_quick(self, exchange: Exchange) -> None:
        """The answer may take the short way, since the request is read."""
        request = exchange.request
        if request.method != "HEAD" and request.method != "CONNECT":
            heads = self.heads
            self._known = heads.last if not self._keep_alive else heads.known if request.version != "1.0" else heads.kept
            self.quick = exchange

    # the burst

    def _left_over(self, data: bytes) -> None:
        """What the parser was held from taking."""
        if not self.closing:
            self._pending = data
            if self._state is UPGRADED:
                self._to_adapter()
                return
            self._read_on()
            if self._may_feed():  # its share is used up; or what held it is over already, by a later slot
                self._go_on()

    def _may_feed(self) -> bool:
        """Whether the parser may go on."""
        if self._paused or self._choked:
            return False
        if self.exchange is None:
            return self._state is not CLOSING and self._state is not CLOSED
        return self.intake == FLOWING

    def _go_on(self) -> None:
        """Something that held the parser is over: feeds what is pending, from the loop, and reads on."""
        if self._pending:
            self.loop.soon(self._feed_pending)
        else:
            self._read_on()

    def _feed_pending(self) -> None:
        if self._pending and self._may_feed():
            data, self._pending = self._pending, b""
            self.on_bytes(data)
            if not self._pending:
                self._read_on()

    def _read_on(self) -> None:
        """Reads from the stream only what can be worked on."""
        if self._state is not UPGRADED and not self.closing:
            self.stream.hold(bool(self._paused or self._choked or self._pending
                                  or (self.exchange is not None and WAITING <= self.intake <= EXPECTING)))

    # carrying answers

    def answer(self, exchange: Exchange, status: int, body: bytes, content_type: Optional[str], headers: HeadersLike) -> bool:
        """The short way: a head that is known, perhaps with some fields more, and the body; nothing else."""
        size, known = len(body), self._known
        if headers is None:
            head = known.get((status, content_type, size)) or self.heads.common(known, status, content_type, size)
        else:
            head = self.heads.extended(known, status, content_type, size, headers)
        if not head:
            return False
        if size < JOIN_BELOW:
            self._out.append(head + body)
        else:
            self._out += (head, body)
        exchange.sent = size
        exchange.stage = DONE
        if not self._keep_alive:
            self.finish(exchange, status)
            return True
        self.quick = self.exchange = None
        self._state = RECEIVING_HEADERS
        if not self._corked or self.told is not None or exchange.signals is not None or size >= TINY:
            self._answered_quick(exchange, status, size)
        return True

    def answer_head(self, exchange: Exchange, status: int, headers: Headers) -> Optional[int]:
        """The short way's head of an answer in pieces; not to HTTP/1.0, where the connection's end may be its own."""
        size = length_of(headers)
        if size is None or bodiless(status) or exchange.request.version == "1.0":
            return None
        head = self.heads.extended(self._known, status, None, size, headers)
        if not head:
            return None
        exchange.stage = SENDING
        self.quick = None
        self.write(head, None, True)
        return size

    def _answered_quick(self, exchange: Exchange, status: int, size: int) -> None:
        """Somebody waits for that answer's end, or it was late or large."""
        if self.told is not None:
            self._tell(exchange, status)
        if exchange.signals is not None:
            exchange.over(DONE)
        if not self._corked:
            self._flush()
            self.stamp = self.loop.now
            self._turn_over()
        elif size >= JOIN_BELOW or len(self._out) >= MOST_GATHERED:
            self._flush()

    def write_head(
        self, exchange: Exchange, status: int, reason: str, fields: AnswerFields, frame: bytes, body: Any = None,
        last: bool = False,
    ) -> None:
        """Sends a head: decides whether the connection goes on after it, and says so."""
        stays = self._keep_alive and not last and not self.server.stopping
        if stays and self._unreadable() and (body is not None or self.intake != FLOWING):
            stays = False
        if fields.close:
            stays = False
        elif status == 101:  # Connection says upgrade
            stays = self._keep_alive
        elif not stays:
            fields.connection = b"Connection: close\r\n"
        elif exchange.request.version == "1.0":
            fields.connection = b"Connection: keep-alive\r\n"
        head = self.heads.made(status, reason, fields, frame)
        self._keep_alive = stays
        exchange.stage = SENDING
        self.quick = None
        if body:
            self.write(head + body if len(body) < JOIN_BELOW else [head, body], None, True)
        else:
            self.write(head, None, True)

    def write(self, data: Any, done: Done, owned: bool) -> bool:
        stream = self.stream
        if self._corked and done is None and type(data) is bytes and len(data) < JOIN_BELOW and stream.link == UP:
            self._gathered = len(data) + PIECE + (self._gathered if self._out else 0)
            self._out.append(data)
            if self._gathered >= GATHERED or self._gathered >= stream.high_water or stream.queue is not None:
                self._flush()
                return self.room()
            return True
        if self._out:
            self._flush()
        return stream.write(data, done, not owned)

    def write_file(self, file: BinaryIO, offset: int, count: int, close: bool, done: Done) -> bool:
        if self._out:
            self._flush()
        self._share -= count // FILE_PIECE
        return self.stream.write_file(file, offset, count, close, done)

    def room(self, size: int = 0) -> bool:
        """As AnswerStream.room. The stream itself has no cap: the framing around a piece of a body always gets through."""
        if self.stream.queue is None:
            return True
        queued, most = self.stream.queued, self.server.limits.max_queue
        if size and queued and most is not None and queued + size > most:
            self.stream.want_drain()
            raise QueueFull.of(queued, size, most)
        return queued < self.stream.high_water

    def finish(self, exchange: Exchange, status: int) -> None:
        if self.told is not None:
            self._tell(exchange, status)
        exchange.over(DONE)
        self.exchange = None
        self.stamp = self.loop.now
        if self._paused:
            self._paused = False
            self._read_on()
        if self.stream.drain_due:
            self._choke()
        if self.intake == WHOLE:
            self._next()
        elif self._unreadable():
            self._begin_closing()
        else:
            self.intake = DRAINING
            self._drained = 0
            self._state = RECEIVING_BODY
            self._turn_over()

    def begin_streaming(self) -> None:
        self._state = STREAMING

    def _flush(self) -> None:
        """Sends what this burst has gathered; with a client that does not read, holds the next requests."""
        out = self._out
        if out:
            data = b"".join(out) if sum(map(len, out)) < 65536 else list(out)
            out.clear()
            self.stream.write(data, None, False)
        if self.stream.queued >= self.stream.high_water:
            self._choke()

    def _choke(self) -> None:
        """The client does not read its answers: its next requests wait until it does."""
        self._choked = True
        self._read_on()

    def _tell(self, exchange: Exchange, status: int) -> None:
        """Emits the server's on_answer."""
        try:
            if self.told is not None:
                self.told(exchange, status)
        except Exception as exc:
            self.loop.report(exc, self)

    # whose turn it is

    def _next(self) -> None:
        if not self._keep_alive or self.server.stopping and not self.server.waits(self.loop.now):
            self._begin_closing()
            return
        self._state = RECEIVING_HEADERS
        self._turn_over()

    def _turn_over(self) -> None:
        """No exchange is out: whatever waited behind it has its turn."""
        if not self._corked:
            if self.ended:
                self._after_end()
            else:
                self._go_on()

    def _unreadable(self) -> bool:
        """Whether the rest of an unread body is too much to drain, or may never come."""
        parser = self.parser
        return self.intake != WHOLE and parser is not None and (self.intake == EXPECTING or parser.left > MOST_DRAINED)

    # the request's body

    def want_body(self, exchange: Exchange) -> bool:
        if WAITING <= self.intake <= EXPECTING:
            if self.intake == EXPECTING and exchange.stage == OPEN and not self._pending:
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n", None, True)
            self.intake = FLOWING
            self.stamp = self.loop.now
            if self._pending:
                self.loop.soon(self._feed_pending)
            elif not self._paused and not self._choked:
                self.stream.hold(False)
        return self.intake == FLOWING

    def pause(self) -> None:
        self._paused = True
        self.quick = None
        self._read_on()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self.stamp = self.loop.now
            self._go_on()

    # what goes wrong

    def slot_raised(self, exchange: Exchange, exc: Exception) -> None:
        answerable = exchange.stage == OPEN and self.exchange is exchange and not self.closing
        if isinstance(exc, HttpError) and answerable and 400 <= exc.status <= 599:
            try:
                exchange.answer_error(exc)
                return
            except (TypeError, ValueError, StateError) as wrong:  # its headers cannot be sent
                wrong.__cause__ = exc
                exc = wrong
        self.loop.report(exc, self)
        if answerable:
            exchange.answer_error(HttpError(500))
        elif exchange.stage < DONE:
            self.abort()

    def borrow_broken(self, exc: BorrowError) -> None:
        self.loop.report(exc, self)
        self.abort()

    def _guarded(self, exchange: Exchange, fn: Callable[..., Any]) -> None:
        try:
            fn(exchange)
        except Exception as exc:
            self.slot_raised(exchange, exc)

    def _refuse(self, exc: HttpError) -> None:
        """The client broke the protocol, or was too slow."""
        exchange = self.exchange
        if exchange is not None and exchange.stage != OPEN:
            self.abort()
            return
        if exchange is None and self._state is RECEIVING_BODY:  # answered before: one request, one answer
            self._begin_closing()
            return
        self._keep_alive = False
        self._tell(exchange or Exchange(self, Request("-", "/", "1.1", {})), exc.status)
        body = error_text(exc)
        headers = [("Content-Type", PLAIN_TEXT), ("Connection", "close"), *exc.headers, ("Content-Length", str(len(body)))]
        if exchange is not None and exchange.request.method == "HEAD":
            body = b""
        self.write(self.heads.head(exc.status, "", headers) + body, None, True)
        self._begin_closing()

    # deadlines

    def sweep(self, now: float) -> None:
        """Looks at what is late; the server calls it."""
        limits, state, stream = self.server.limits, self._state, self.stream
        if state is CLOSING:
            if self._lingering is not None:
                self._lingering.sweep(now)
        elif stream.unsent:
            if state is not UPGRADED and _over(limits.write_timeout, now - stream.last_taken()):
                stream.look()
                if stream.unsent and _over(limits.write_timeout, now - stream.last_taken()):
                    self.abort()
        elif state is RECEIVING_HEADERS and not self._pending:
            self._sweep_head(limits, now)
        elif state is RECEIVING_BODY and self.intake >= FLOWING and not self._paused:
            self.stamp = max(self.stamp, stream.last_taken())  # of an answer that has begun
            if self._late(limits.body_timeout):
                if self.intake == FLOWING:
                    self._refuse(RequestTimeout("the request's body took too long"))
                else:
                    self._begin_closing()

    def _sweep_head(self, limits: Limits, now: float) -> None:
        parser, stream = self.parser, self.stream
        partial = parser is not None and parser.partial  # no other when it is late: what begins a head stamps
        if partial or not self._keep_alive:  # a head begun, or the first of a new connection
            if self._late(limits.head_timeout):
                if partial:
                    self._refuse(RequestTimeout("the request's head took too long"))
                else:
                    self._begin_closing()
            return
        waited = now - max(self.stamp, stream.taken_at)  # idle since the last answer was out
        if _over(limits.keep_alive_timeout, waited):
            limit = limits.keep_alive_timeout
            if stream.outstanding:  # the client has not got the last answer yet
                limit = limits.write_timeout
                stream.note_taken()
            if _over(limit, now - max(self.stamp, stream.last_taken())) and self._late(limit):
                self._begin_closing()
        elif waited >= FORGET_AFTER:
            self.parser = None

    def _late(self, limit: Optional[float]) -> bool:
        """Whether the client is late by `limit`; before that is said, what may have just arrived is read."""
        stamp, state = self.stamp, self._state
        if not _over(limit, self.loop.now - stamp):
            return False
        self.stream.look()
        if state is RECEIVING_BODY:
            self.stamp = max(self.stamp, self.stream.last_heard())
        return self.stamp == stamp and self._state is state

    def forgive(self, seconds: float) -> None:
        """A slot held the loop for that long: it is not the client's time, but that of an answer."""
        if self.exchange is None or self.intake == FLOWING:
            self.stamp = min(self.stamp + seconds, self.loop.now)
        self.stream.taken_at += seconds
        if self._lingering is not None:
            self._lingering.forgive(seconds)

    # upgrade

    def take_over(self, exchange: Exchange, adapter: Any) -> None:
        if self.intake != WHOLE:
            raise StateError("replace_adapter() while the request's body is unread", "collect it first", "upgrade")
        require_move(self, states.MOVES, self._state, UPGRADED)
        self._state = UPGRADED
        if self._out:  # the head goes before whatever the adapter sends
            self._flush()
        exchange.stage = DONE
        self.quick = None
        stream = self.stream
        stream.max_queue = self.server.limits.max_queue
        if self.parser is not None:
            self.parser.tunnel()
            self.parser = None  # such connections are many, and last
        stream.use_protocol(adapter)
        stream.on_close += lambda stream: self.on_close()  # the adapter may hand the stream on
        stream.hold(False)
        adapter.stream = stream
        adapter.on_attach()
        self._tell(exchange, exchange.response.status)
        if not self._corked:
            self.loop.soon(self._to_adapter)

    def _to_adapter(self) -> None:
        """What came behind the handshake, and the client's end if it came before."""
        data, self._pending = self._pending, b""
        stream = self.stream
        if data and not stream.closing and stream.protocol is not None:
            stream.guard(stream.protocol.on_bytes, data)
        if self.ended and not stream.closing and stream.protocol is not None:
            stream.guard(stream.protocol.on_end)

    # the end

    def retire(self) -> None:
        """The server stops: an answer that begins is the last one; without one it goes when its linger is over."""
        exchange, stream = self.exchange, self.stream
        if exchange is not None and exchange.stage == OPEN:  # else its head has said that more may follow
            self._keep_alive = False
            self.quick = None
        if self._idle():
            late = stream.outstanding
            if self.server.waits(self.loop.now if late else max(self.stamp, stream.last_taken())):
                return
            if not self._corked:  # else the parser is in the midst of this burst
                stream.look()
            if self._idle():
                if self._corked or late:
                    self._begin_closing()
                else:  # nothing is on its way that could be lost
                    self._state = CLOSING
                    if not self.loop.closed:
                        stream.shutdown()  # told now: the turn closes it at its end
                    stream.close()

    def give_up(self) -> None:
        """The server waits no longer: what is not out is cut; an answer that the client has taken whole has ended in order."""
        if not self._corked and self._state is not UPGRADED:  # else a slot may be in the midst of what was read
            self.stream.look()
        if self._lingering is not None and not self.closed:
            self._lingering.fall()
        else:
            self.abort()

    def _idle(self) -> bool:
        return self._state is RECEIVING_HEADERS and (self.parser is None or self.parser.idle) and not self._pending

    def _begin_closing(self) -> None:
        """No more requests. What is queued goes out, then our side is shut and the close lingers.

        An answer that was to last until the end, and is lost, ends by a reset: it would look whole.
        """
        self._state = CLOSING
        cut = self.unfinished
        self._lose_exchange()
        self._pending = b""
        self.stamp = self.loop.now
        if self._out:
            self._flush()
        stream, limits = self.stream, self.server.limits
        if cut:
            stream.cut = True
            stream.close()
        elif self.ended or stream.closing:
            if stream.unsent:  # the last answer has as much time as any
                stream.close_timeout = limits.write_timeout
            stream.close()
        else:
            self._lingering = LingeringClose(stream, limits.close_timeout, self.on_close, timed=False,
                                             write_timeout=limits.write_timeout, most=MOST_REFUSED)

    def _after_end(self) -> None:
        """The client sends no more, and all it sent has been parsed."""
        if self.exchange is not None and self.intake == WHOLE:
            self._keep_alive = False
            self.quick = None
            return
        self._begin_closing()

    def _lose_exchange(self) -> None:
        exchange, self.exchange = self.exchange, None
        self.quick = None
        if exchange is not None:
            if exchange.stage == SENDING:  # a cut is an end, too
                self._tell(exchange, exchange.response.status)
            exchange.over(LOST)

    def __repr__(self) -> str:
        return "<ServerConnection %s, %s>" % (self.peer, self._state.value)


_NOBODY = ParserObserver()


def _over(limit: Optional[float], waited: float) -> bool:
    return limit is not None and waited >= limit
