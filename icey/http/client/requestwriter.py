"""RequestWriter: the request's side of one transaction: the head, the body from a source or by send(), and when they may go.

    NEW -> (HELD ->) FLOWING -> DONE

    NEW        the head has not gone out
    HELD       the head is out, and the body waits for 100 Continue
    FLOWING    the body goes out
    DONE       all is handed to the stream, or the rest is not wanted any more

Rules
- `send` before the head has gone out makes a body of a request that announced none, where the request's method wants a body
  (POST, PUT, PATCH): that is why the head goes out one turn after start().
- What is sent while NEW or HELD waits here, copied if it is mutable, and counts as queued. Small pieces are joined, and many
  entries count for what they cost, as in a stream's queue.
- A source is asked for a piece only while the stream is below high water.

Not here: the kinds of sources, and how a body is framed (http1/requestbody.py); the bytes of a head (http1/requesthead.py).
"""

from __future__ import annotations

from ...base.buffer import BLOCK, ENTRY, FEW, flat
from ...base.errors import BorrowError, QueueFull, StateError
from ...base.signal import require_callable
from ...base.state import transitions, watch_states
from ..http1.requestbody import WANT_BODY, BodyFraming, body_of, framing_of

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

    from ...base.buffer import Data, Done
    from ...base.limits import Limits
    from ...base.loop import Loop
    from ...base.stream import Stream
    from ..http1.requestbody import Body
    from ..http1.requesthead import RequestHeads
    from ..semantics.message import Request

NEW, HELD, FLOWING, DONE = range(4)
STAGES = transitions({NEW: (HELD, FLOWING, DONE), HELD: (FLOWING, DONE), FLOWING: (DONE,), DONE: ()},
                     names=("NEW", "HELD", "FLOWING", "DONE"))

TURN_BYTES = 1 << 20  # of a source, before others have their turn
SMALL = 4096  # bytes: parts smaller than this that wait are joined
JOIN_BELOW = 16384  # a body of this size goes out with its head, in one send


class RequestListener:
    """What a RequestWriter calls: implemented by the connection that sends the request. `loop`: the loop of both."""

    __slots__ = ()

    if TYPE_CHECKING:
        loop: Loop

    def request_out(self) -> None:
        """All of the request is handed to the stream."""

    def request_drained(self) -> None:
        """The queue is down to low water, and a send() had returned False or raised QueueFull."""

    def request_failed(self, exc: Exception) -> None:
        """The source of the body, which is the caller's, raised `exc`; perhaps inside a call of the caller's own."""


class RequestWriter:
    """Sends `request` with `body`, and tells `listener`. ValueError, TypeError: what cannot be sent.

    `request`: the Request. `stage`: NEW, HELD, FLOWING or DONE. `held`: bytes of the body that wait here, for the head or for
    100 Continue. `written_at`: when something was last handed to the stream, in the loop's time.
    """

    __slots__ = (
        "request", "stage", "held", "written_at", "_listener", "_limits", "_heads", "_stream", "_source", "_ours", "_framing",
        "_early", "_ended", "_owed",
    )

    STATES = {"stage": STAGES}

    def __init__(self, listener: RequestListener, heads: RequestHeads, limits: Limits, request: Request, body: Any) -> None:
        heads.check(request)
        self.request: Request = request
        self.stage: int = NEW
        self.held: int = 0
        self.written_at: float = 0.0
        self._listener = listener
        self._limits = limits
        self._heads = heads
        self._stream: Optional[Stream] = None  # from `begin` on
        self._source: Optional[Body] = body_of(body)
        self._ours = self._source is not body  # the source was made here, so it is closed here
        self._framing: Optional[BodyFraming] = framing_of(request.headers, self._source)  # None: no body, so far
        self._early: List[Tuple[List[Data], Done]] = []
        self._ended = False  # end() was called
        self._owed = False  # request_drained() is due once all is out
        if listener.loop.debug:
            watch_states(self)

    @property
    def has_body(self) -> bool:
        """Whether a body is to go out, as far as is known."""
        return self._framing is not None

    @property
    def under_way(self) -> bool:
        """Whether the head is out, and a body goes with it."""
        return self._framing is not None and self._stream is not None

    @property
    def takes_more(self) -> bool:
        """Whether send() may add to the body, or end() complete it."""
        return (self.stage != DONE and not self._ended and self._source is None
                and (self._framing is not None or self.may_grow))

    @property
    def given(self) -> int:
        """Bytes of the body so far, those that wait here or in the stream included."""
        return 0 if self._framing is None else self._framing.sent

    @property
    def total(self) -> Optional[int]:
        """Bytes of all of the body, None where the request does not say."""
        return None if self._framing is None else self._framing.length

    @property
    def may_grow(self) -> bool:
        """Whether a send() may still make a body."""
        return self._framing is None and self.stage == NEW and self.request.method in WANT_BODY

    def begin(self, stream: Stream) -> Optional[bytes]:
        """Sends the head on `stream`, and a short body with it. Returns the head; None if the body's source had us dropped.

        `go_on` is to follow. What the source raises is raised.
        """
        request, framing, source = self.request, self._framing, self._source
        self._stream = stream
        head = out = self._heads.head(request, self._framing_fields())
        self.stage = HELD if framing is not None and self._waits() else FLOWING
        if source is not None and self.stage == FLOWING and source.length is not None and source.length < JOIN_BELOW:
            assert framing is not None
            first = self._next()
            if first is not None:
                out += b"".join(framing.wrap([first], len(first)))
            if self.stage == DONE:
                return None
        stream.write(out, None, False)
        return head

    def go_on(self) -> None:
        """Sends what there is of the body, unless it is held."""
        if self.stage == FLOWING:
            self._flow()

    def release(self) -> None:
        """The body waits for 100 Continue no more: the server wants it, or has said nothing for long enough."""
        if self.stage == HELD:
            self.stage = FLOWING
            self._flow()

    def drop(self) -> bool:
        """Lets go of what is left of the request. Returns whether anything was left."""
        left = self.stage != DONE
        self.stage = DONE
        self._early, self.held = [], 0
        source, self._source = self._source, None
        if source is not None and self._ours:
            self._close(source)
        return left

    def drained(self) -> None:
        """The stream's queue is down to low water."""
        if self.stage == FLOWING and self._source is not None:
            self._pump()

    # by send()

    def send(self, data: Any, done: Done, borrowed: bool) -> bool:
        """As ClientConnection.send and, not `borrowed`, send_owned."""
        self._require_open_body("send")
        if done is not None:
            require_callable(done, "done")
        parts = [flat(part) for part in (data if isinstance(data, (list, tuple)) else (data,))]
        size = sum(map(len, parts))
        self._require_room(size)
        framing = self._framing = self._framing or BodyFraming(None)
        parts = framing.wrap(parts, size)
        if self.stage < FLOWING:
            return self._keep(parts, done)
        try:
            below = self._write(parts, done, borrowed)
        except BorrowError:  # nothing was taken
            framing.sent -= size
            raise
        if framing.full and self.stage == FLOWING:
            self._finish()
        return below

    def end(self) -> None:
        """As ClientConnection.end."""
        self._require_open_body("end")
        self._framing = self._framing or BodyFraming(None)
        self._framing.require_all()
        self._ended = True
        if self.stage == FLOWING:
            self._finish()

    def _require_open_body(self, verb: str) -> None:
        if self._ended:
            raise StateError("%s() after end()" % verb, "send all of a body before it; the next request begins by start()",
                             "one body a request")
        if self.stage == DONE and self._framing is not None and self._framing.full and not self._ours:
            return  # the last send() has reached the length: end() may still say so, and nothing be sent
        if self.stage == DONE or self._source is not None or not (self._framing or self.may_grow):
            raise not_sent_that_way(verb)

    def _require_room(self, size: int) -> None:
        most, queued = self._limits.max_queue, self._queued()
        cost = queued + ENTRY * max(0, len(self._early) - FEW)
        if most is not None and queued and cost + size > most:
            self._owe_drain()
            raise QueueFull.of(queued, size, most)

    def _keep(self, parts: List[Data], done: Done) -> bool:
        """Has `parts` wait for the head, or for 100 Continue. False: request_drained() will come."""
        if parts or done is not None:
            if not self._early or self._early[-1][1] is not None:
                self._early.append(([], None))
            kept = self._early[-1][0]
            for part in parts:
                _add_part(kept, part)
            self._early[-1] = (kept, done)
            self.held += sum(map(len, parts))
        if self._queued() < self._limits.high_water:
            return True
        self._owe_drain()
        return False

    def _owe_drain(self) -> None:
        """Sees to it that request_drained() comes, where the stream would not tell."""
        flowing = self.stage == FLOWING
        if not self._owed and not (flowing and self._out().drain_due):
            self._owed = True
            if flowing:
                self._pay_when_out()

    def _pay_when_out(self) -> None:
        """Has `_pay` called when the kernel has taken all that is queued now."""
        self._out().write(b"", self._pay, False)

    def _pay(self) -> None:
        if self.stage == FLOWING and self._queued() > self._limits.low_water:
            self._pay_when_out()  # more was sent meanwhile
        else:
            self._owed = False
            if self.stage == FLOWING:
                queue = self._out().queue
                if queue:
                    queue.keep()
                self._listener.request_drained()

    def _queued(self) -> int:
        """Bytes that wait, here and in the stream."""
        return self.held if self._stream is None else self.held + self._stream.queued

    # out

    def _framing_fields(self) -> List[Tuple[str, str]]:
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
        return framing is not None and framing.length != 0 and (
            str(self.request.headers.get("expect", "")).lower() == "100-continue")

    def _out(self) -> Stream:
        assert self._stream is not None
        return self._stream

    def _flow(self) -> None:
        """Sends what waited here, then what the source has."""
        if self._early:
            early, self._early, self.held = self._early, [], 0
            for parts, done in early:
                self._write(parts, done, False)
        if self._owed:
            self._pay_when_out()
        if self._source is not None:
            self._pump()
        elif self._framing is None or self._ended or self._framing.full:
            self._finish()

    def _pump(self) -> None:
        """Sends as much of the source as there is room for."""
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
                    self._listener.loop.soon(self.drained)
                    return
        except Exception as exc:  # the caller's iterator or file
            self._listener.request_failed(exc)

    def _next(self) -> Optional[Data]:
        """The source's next piece. None: the source is at its end, or had this writer dropped."""
        source = self._source
        assert source is not None
        piece = source.next()
        if self._source is None:
            if self._ours:
                self._close(source)  # drop() could not close a generator that was running
            return None
        return None if piece is None else flat(piece)

    def _write(self, parts: List[Data], done: Done, borrowed: bool) -> bool:
        """Hands framed parts to the stream. False: wait for the drain."""
        stream = self._out()
        self.written_at = stream.loop.now
        return stream.write(parts[0] if len(parts) == 1 else parts, done, borrowed)

    def _finish(self) -> None:
        """All of the body is out; of a chunked one the last chunk follows."""
        if self._framing is not None:
            self._framing.require_all()
            if self._framing.length is None:
                self._write([b"0\r\n\r\n"], None, False)
        self.stage = DONE
        self._source = None
        self._listener.request_out()

    def _close(self, source: Body) -> None:
        try:
            source.close()
        except Exception as exc:  # what the caller's generator does at its end
            self._listener.loop.report(exc, self._listener)


def not_sent_that_way(verb: str) -> StateError:
    """The error of a `send` or `end`, the verb, for a request that takes none."""
    return StateError("%s() on a request whose body is not sent that way, or complete" % verb,
                      "give a Content-Length or Transfer-Encoding: chunked, or call it right after start()",
                      "start, then send")


def _add_part(parts: List[Data], view: Data) -> None:
    """Appends a copy of `view` to `parts`. Small ones are joined: an object a part costs more than a few bytes do."""
    if len(view) < SMALL and parts:
        last = parts[-1]
        if type(last) is bytearray and len(last) < BLOCK:
            last += view
        else:
            parts.append(bytearray(view))
    else:
        parts.append(bytes(view))
