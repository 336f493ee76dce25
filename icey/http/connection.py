"""ServerConnection: one client's connection: requests come in order, answers go out in order.

It is the sink of its stream and the observer of its parser. At any time at most one exchange is out; what the client sends
beyond it waits, unparsed, and then unread.

The request's side (`_intake`): WHOLE (no body, or all of it read) / WAITING (for somebody who wants the body) / FLOWING /
DRAINING (answered before it was read; the rest is dropped, within bounds). The answer's side is the exchange's stage. When
both are done the next request's turn comes. The connection's own states are in states.py.

How it is fast: all answers of one readable burst are gathered in `_out` and go out in one send; a plain request (1.1,
keep-alive, no body, not HEAD) is marked by `_quick`, the only test of the short way in Exchange.respond.

Not here: what an exchange offers (exchange.py), how answers leave (output.py), what is late and when (deadlines.py), what has
the stream once HTTP is over (sinks.py), accepting and stopping (server.py).
"""

from __future__ import annotations

from _thread import get_ident

from ..base.errors import HttpError, RequestTimeout, StateError
from ..base.handle import wrong_thread
from ..base.state import Stateful
from . import failures, states
from .exchange import DONE, LOST, OPEN, Exchange
from .output import JOIN_BELOW, MOST_GATHERED, Output
from .parser import Parser
from .sinks import Lingering
from .states import CLOSED, CLOSING, DISPATCHING, RECEIVING_BODY, RECEIVING_HEADERS, STREAMING, UPGRADED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Tuple

    from ..base.errors import BorrowError
    from ..base.loop import Loop
    from ..base.signal import Signal
    from ..net.address import Address
    from ..net.tcp import TCPSocket
    from .answer import HeadWriter
    from .message import Request
    from .server import Server

WHOLE, WAITING, FLOWING, DRAINING = range(4)

MOST_DRAINED = 65536  # bytes of an unread body, before the connection is closed instead


class ServerConnection(Output, Stateful):
    """A client's connection. `state` (a ServerState), `exchange` (None between requests), `peer`, `local`, `stream`."""

    __slots__ = (
        "server", "loop", "exchange", "_state", "_parser", "_quick", "_common", "_heads", "_log",
        "_intake", "_drained", "_pending", "_keep_alive", "_expect", "_paused", "_ended", "_stamp", "__weakref__",
    )

    MOVES = states.MOVES

    def __init__(self, server: Server, stream: TCPSocket) -> None:
        super().__init__(stream)
        self.server = server
        self.loop: Loop = server.loop
        self.exchange: Optional[Exchange] = None
        self._state = RECEIVING_HEADERS
        self._parser = Parser(self, limits=server.limits, memo=server._memo)
        self._quick: Optional[Exchange] = None  # the exchange that may take the short way
        self._heads: HeadWriter = server._heads
        self._common: Dict[Tuple[int, Optional[str], int], bytes] = server._heads.known
        self._log: Optional[Callable[[Exchange, int], Any]] = server._log
        self._intake = WHOLE
        self._drained = 0
        self._pending = b""
        self._keep_alive = False  # of the request at hand; before the first one False
        self._expect = False
        self._paused = False
        self._ended = False
        self._stamp = self.loop.now
        stream._use_sink(self)

    @property
    def peer(self) -> Optional[Address]:
        """The client's address."""
        return self.stream.peer

    @property
    def local(self) -> Optional[Address]:
        """Our address."""
        return self.stream.local

    @property
    def secure(self) -> bool:
        """Whether it is a TLS connection."""
        return self.stream.secure

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
        """Closes once what is queued is out; an exchange under way is lost."""
        self._check()
        if self._state is UPGRADED:
            self.stream.close()
        elif not self.closing:
            self._begin_closing()

    def abort(self) -> None:
        """Closes now."""
        self._check()
        if not self.closed:
            self._state = CLOSING  # nothing more is parsed, nor answered
            self._lose_exchange()
            self._out.clear()
            self.stream.abort()

    # the stream's sink

    def on_bytes(self, data: bytes) -> None:
        """The stream read `data`: parses and answers all of it that can be, then one send."""
        parser = self._parser
        if not parser.partial or b"\r\n\r\n" in data:  # a slow head may end here, and the next begin
            self._stamp = self.loop.now
        if (self.exchange is not None or self._pending) and (self._pending or not self._may_feed()):
            self._pending += data
            self._read_on()
            return
        self._corked = True
        try:
            used = parser.feed(data)
        except HttpError as exc:
            used = len(data)
            self._refuse(exc)
        finally:
            self._corked = False
        out = self._out
        if out and not (len(out) == 1 and self.stream._write(out.pop(), None, False)):
            self._flush()
        if used != len(data):
            self._left_over(data[used:])

    def on_end(self) -> None:
        """The client sends no more: half a message is dropped, what was asked for is still answered.

        Nothing is pending: with anything pending the stream is not read, and its end not seen.
        """
        self._ended = True
        if self._state is STREAMING:  # nobody waits for the end of such an answer with half a connection
            self.abort()
        else:
            self._after_end()

    def on_drain(self) -> None:
        """The write queue is down."""
        if self._choked:
            self._choked = False
            self._go_on()
        exchange = self.exchange
        if exchange is not None and exchange._signals is not None and "on_drain" in exchange._signals:
            self._guarded(exchange, exchange._signals["on_drain"].fire, exchange)

    def on_error(self, exc: Exception) -> None:
        """The transport failed: nothing to tell but that it is over (`on_close`)."""

    def on_close(self) -> None:
        """The stream is closed."""
        self._state = CLOSED
        self._lose_exchange()
        self._pending = b""
        self._out.clear()
        self.server._gone(self)

    # the parser's observer: returning True holds it

    def on_head(self, request: Request) -> bool:
        """A head is parsed; without a body the request is whole."""
        server = self.server
        framing = self._parser.framing
        exchange = self.exchange = Exchange(self, request)
        if framing.plain and request.method != "HEAD" and not server._stopping:
            self._keep_alive = True
            self._quick = exchange
            self._state = DISPATCHING
        else:
            self._keep_alive = framing.keep_alive and not server._stopping
            if framing.length:
                self._state = RECEIVING_BODY
                self._intake = WAITING
                self._expect = framing.expect and not self._parser.behind
            else:
                self._state = DISPATCHING
                self._intake = WHOLE
        try:
            server._fire(exchange)
            if exchange._signals is not None and self._intake == WHOLE and self.exchange is exchange:
                exchange._completed()
        except Exception as exc:
            self._slot_raised(exchange, exc)
        if self._state is RECEIVING_HEADERS and not self._choked:
            return False  # answered
        return not self._may_feed()

    def on_body(self, view: memoryview) -> bool:
        """A piece of the body."""
        exchange = self.exchange
        if exchange is not None:
            buffer, signals = self.loop._read_buffer, exchange._signals
            slots = signals.get("on_payload", ()) if signals is not None else ()
            lent = buffer.lend_bytes(view)  # type: ignore[arg-type]
            self._guarded(exchange, exchange._payload, lent)
            kept = buffer.take_back(lent, slots)
            if kept is not None:
                self._borrow_broken(kept)
        else:
            self._drained += len(view)
            if self._drained > MOST_DRAINED and not self.closing:
                self._begin_closing()
        return not self._may_feed()

    def on_end_of_body(self) -> bool:
        """The body has ended."""
        exchange = self.exchange
        self._intake = WHOLE
        if exchange is None:  # it was answered before
            if not self.closing:
                self._next()
        else:
            if self._state is RECEIVING_BODY:
                self._state = DISPATCHING
            self._guarded(exchange, exchange._completed)
        return not self._may_feed()

    # the burst

    def _left_over(self, data: bytes) -> None:
        """What the parser was held from taking."""
        if not self.closing:
            self._pending = data
            if self._state is UPGRADED:
                self._to_adapter()
                return
            self._read_on()
            if self._may_feed():  # what held it is over already: a slot paused, and the next one answered
                self._go_on()

    def _may_feed(self) -> bool:
        """Whether the parser may go on."""
        if self._paused or self._choked:
            return False
        if self.exchange is None:
            return self._state is not CLOSING and self._state is not CLOSED
        return self._intake == FLOWING

    def _go_on(self) -> None:
        """Something that held the parser is over: feeds what is pending, from the loop, and reads on."""
        if self._pending:
            self.loop._calls.append((self._feed_pending, ()))
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
        paused = bool(self._paused or self._choked or self._pending or (self.exchange is not None and self._intake == WAITING))
        if paused is not self.stream._paused and self._state is not UPGRADED and not self.closing:
            self.stream._paused = paused
            self.stream._update()

    # answers

    def _answered_quick(self, exchange: Exchange, status: int) -> None:
        """A plain request was answered by respond(), and somebody waits for that, or it was late or large."""
        if self._log is not None:
            self._tell(exchange, status)
        if exchange._signals is not None:
            exchange._over(DONE)
        if not self._corked:
            self._flush()
            self._stamp = self.loop.now
            self._turn_over()
        elif exchange.sent >= JOIN_BELOW or len(self._out) >= MOST_GATHERED:
            self._flush()

    def _answered(self, exchange: Exchange, status: int) -> None:
        """The answer is complete: the next request's turn, or the drain of this one's body, or the end."""
        if self._log is not None:
            self._tell(exchange, status)
        exchange._over(DONE)
        self.exchange = None
        self._stamp = self.loop.now
        if self._paused:
            self._paused = False
            self._read_on()
        if self.stream._drain_due:
            self._choke()
        if self._intake == WHOLE:
            self._next()
        elif self._unreadable():
            self._begin_closing()
        else:
            self._intake = DRAINING
            self._drained = 0
            self._expect = False
            self._state = RECEIVING_BODY
            self._turn_over()

    def _next(self) -> None:
        if not self._keep_alive or self.server._stopping:
            self._begin_closing()
            return
        self._state = RECEIVING_HEADERS
        self._turn_over()

    def _turn_over(self) -> None:
        """No exchange is out: whatever waited behind it has its turn."""
        if not self._corked:
            if self._ended:
                self._after_end()
            else:
                self._go_on()

    def _unreadable(self) -> bool:
        """Whether the rest of an unread body is too much to drain, or may never come."""
        return self._intake != WHOLE and (self._expect or self._parser.left > MOST_DRAINED)

    def _must_close_after_head(self) -> bool:
        return self.server._stopping or (self._intake == WAITING and self._unreadable())

    def _begin_streaming(self) -> None:
        self._state = STREAMING

    def _consumer_came(self, exchange: Exchange) -> bool:
        """Somebody wants the body: True while some of it is still to come."""
        if self._intake == WAITING:
            self._intake = FLOWING
            if self._expect:
                self._expect = False
                if exchange._stage == OPEN and not self._pending:
                    self._write(b"HTTP/1.1 100 Continue\r\n\r\n", None, True)
            self._stamp = self.loop.now
            self._go_on()
        return self._intake == FLOWING

    def _pause(self) -> None:
        self._paused = True
        self._quick = None
        self._read_on()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._stamp = self.loop.now
            self._go_on()

    # errors

    def _guarded(self, exchange: Exchange, fn: Callable[..., Any], *args: Any) -> None:
        try:
            fn(*args)
        except Exception as exc:
            self._slot_raised(exchange, exc)

    def _slot_raised(self, exchange: Exchange, exc: Exception) -> None:
        failures.slot_raised(self, exchange, exc)

    def _refuse(self, exc: HttpError) -> None:
        failures.refuse(self, exc)

    def _borrow_broken(self, exc: BorrowError) -> None:
        self.loop._report(exc, self)
        self.abort()

    def _emit_close(self, exchange: Exchange, signal: Signal) -> None:
        for slot in signal:
            try:
                slot(exchange)
            except Exception as exc:
                self.loop._report(exc, self)

    def _tell(self, exchange: Exchange, status: int) -> None:
        """Emits the server's on_answer."""
        try:
            if self._log is not None:
                self._log(exchange, status)
        except Exception as exc:
            self.loop._report(exc, self)

    # upgrade

    def _upgrade(self, exchange: Exchange, adapter: Any) -> None:
        if self._intake != WHOLE:
            raise StateError("replace_adapter() while the request's body is unread", "collect it first", "upgrade")
        self.move(UPGRADED)
        if self._out:  # the head goes before whatever the adapter sends
            self._flush()
        exchange._stage = DONE
        self._quick = None
        self.stream.max_queue = self.server.limits.max_queue
        self._parser.tunnel()
        self.stream._use_sink(adapter)
        self.stream.on_close += lambda stream: self.on_close()  # the adapter may hand the stream on
        self.stream._paused = False
        self.stream._update()
        adapter.stream = self.stream
        adapter.on_attach()
        if not self._corked:
            self.loop._calls.append((self._to_adapter, ()))

    def _to_adapter(self) -> None:
        """What came behind the handshake, and the client's end if it came before."""
        data, self._pending = self._pending, b""
        stream = self.stream
        if data and not stream.closing:
            stream._guard(stream._sink.on_bytes, data)
        if self._ended and not stream.closing:
            stream._guard(stream._sink.on_end)

    # the end

    def _begin_closing(self) -> None:
        """No more requests. What is queued goes out, then our side is shut; input is dropped until the client closes too,

        or the deadline comes: closing at once could make the client lose the answer (RFC 9112 section 9.6).
        """
        self._state = CLOSING
        self._lose_exchange()
        self._pending = b""
        self._stamp = self.loop.now
        if self._out:
            self._flush()
        stream = self.stream
        if self._ended or stream.closing:
            stream.close()
        else:
            stream._use_sink(Lingering(self))
            stream._paused = False
            stream._update()
            stream.shutdown()

    def _after_end(self) -> None:
        """The client sends no more, and all it sent has been parsed."""
        if self.exchange is not None and self._intake == WHOLE:
            self._keep_alive = False
            return
        self._begin_closing()

    def _lose_exchange(self) -> None:
        exchange, self.exchange = self.exchange, None
        self._quick = None
        if exchange is not None:
            exchange._over(LOST)

    def _retire(self) -> None:
        """The server stops: what is idle goes now, what is busy after its answer."""
        self._keep_alive = False
        self._quick = None
        if self._idle():
            if self._corked:  # answered in this burst: the parser is in the midst of it
                self._begin_closing()
                return
            self._look_again()
            if self._idle():  # nothing is on its way to the client, so nothing is lost by not lingering
                self._state = CLOSING
                self.stream.close()

    def _idle(self) -> bool:
        return self._state is RECEIVING_HEADERS and self._parser.idle and not self._pending

    def _look_again(self) -> None:
        """Before the axe falls: what may have just arrived is read."""
        self.stream._look()

    def _body_late(self) -> None:
        if self._intake == FLOWING:
            self._refuse(RequestTimeout("the request's body took too long"))
        elif self._intake == DRAINING:
            self._begin_closing()

    def _check(self) -> None:
        if get_ident() != self.loop._thread:
            wrong_thread(self)

    def __repr__(self) -> str:
        return "<ServerConnection %s, %s>" % (self.peer, self._state.value)
