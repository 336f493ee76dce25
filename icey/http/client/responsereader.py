"""ResponseReader: what a client's stream brings, parsed: between the stream and the connection that waits for answers.

    stream -> ResponseReader (a StreamProtocol) -> Parser -> ResponseReader (its observer) -> ResponseListener

    UNUSED     no request has gone out on this stream
    DUE        an answer is due, and no byte of it has come
    BEGUN      some of the answer has come
    OVER       the answer is complete

Rules
- One answer at a time. What comes behind an answer is never taken for the next one: the connection is not used again.
- While paused, the stream is not read, so that its end is not seen, and what was read already waits here, unparsed.
- Of what one read brings at most SHARE pieces of a body, or interim answers, are told in a turn: a server that sends thousands
  of tiny chunks waits for the others on the loop.
- What the server said before it broke the connection counts: it may have answered, without a need for the rest of the request.

Not here: how the bytes of an answer are understood (http1/parser.py), what the answer means (connection.py, call.py).
"""

from __future__ import annotations

from ...base.errors import BadResponse, HttpError, IncompleteBody, PeerClosed
from ...base.handle import CLOSED
from ...base.state import transitions, watch_states
from ...base.streamprotocol import StreamProtocol
from ..http1.observer import ParserObserver
from ..http1.parser import Parser

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Optional

    from ...base.limits import Limits
    from ...base.loop import Loop
    from ...base.stream import Stream
    from ..http1.framing import Framing
    from ..semantics.message import Response

DUE, BEGUN, OVER, UNUSED = range(4)
STAGES = transitions({UNUSED: (DUE,), DUE: (BEGUN,), BEGUN: (OVER,), OVER: (DUE,)}, names=("DUE", "BEGUN", "OVER", "UNUSED"))

SHARE = 64  # pieces of a body, or interim answers, of one read in a turn of the loop
NO_BOUND = 1 << 62
TLS_ALERT = b"\x15\x03"  # how a server of TLS answers what is none (RFC 8446 section 5.1)


class ResponseListener:
    """What a ResponseReader calls: implemented by the connection that waits for the answer.

    For one answer, in this order: any number of response_interim; response_head; any number of response_body; response_end.
    Or, where another protocol follows, response_upgrade and response_end. response_failed may come at any time, and is the
    last call but stream_closed.

    The reader looks at `phase`, which is a Handle's: past OPEN it gives no more. `loop`: the loop of both.
    """

    __slots__ = ()

    takes_whole = False  # whether response_whole may be asked

    if TYPE_CHECKING:
        loop: Loop
        phase: int

    def response_came(self) -> str:
        """How much of the answer's body has come, as the end of a sentence."""
        return ""

    def response_whole(self, response: Response, framing: Framing, body: bytes) -> bool:
        """All of an answer, in one piece. True: taken; False, and nothing has happened: it is told by the calls below."""
        return False

    def response_partial(self) -> None:
        """The first bytes of a head have come, and the rest of the head has not."""

    def response_interim(self, response: Response) -> None:
        """A 1xx answer; the final one follows."""

    def response_head(self, response: Response, framing: Framing) -> None:
        """The head of the final answer, and what it says of the body and of the connection."""

    def response_body(self, view: memoryview) -> None:
        """A piece of the body, as it was sent; the view is for the time of the call."""

    def response_more(self) -> None:
        """A read has brought more of the answer, and neither its end nor a part of a head."""

    def response_upgrade(self, response: Response) -> None:
        """The head of an answer after which the stream is another protocol's: 101, or 2xx to CONNECT."""

    def response_end(self) -> None:
        """The answer is complete."""

    def response_failed(self, exc: Exception) -> None:
        """No whole answer will come: the transport failed, the stream ended too early, or what came is malformed."""

    def response_unasked(self, exc: Exception) -> None:
        """Bytes, or the stream's end, came while no answer was due."""

    def request_drained(self) -> None:
        """The stream's write queue is down to low water."""

    def stream_closed(self) -> None:
        """The stream is closed: the last call."""


class Nobody(ResponseListener):
    """Whom a reader tells when its connection is gone."""

    __slots__ = ()

    phase = CLOSED


NOBODY = Nobody()


class ResponseReader(StreamProtocol, ParserObserver):
    """The protocol of a client's stream, and the observer of the parser of what the stream brings; tells `listener`.

    `stage`: DUE, BEGUN, OVER or UNUSED. `parser`: the Parser. `paused`: nothing is read nor parsed for now. `stream`: the
    Stream that is read, None before `attach`.
    """

    __slots__ = ("listener", "parser", "paused", "stage", "stream", "_pending", "_ended", "_share")

    STATES = {"stage": STAGES}

    def __init__(self, listener: ResponseListener, limits: Limits) -> None:
        self.listener: ResponseListener = listener
        self.parser: Parser = Parser(self, responses=True, limits=limits)
        self.paused: bool = False
        self.stage: int = UNUSED
        self.stream: Optional[Stream] = None
        self._pending = b""  # read and not parsed
        self._ended = False
        self._share = SHARE  # of this read, what is left
        if listener.loop.debug:
            watch_states(self)

    def attach(self, stream: Stream) -> None:
        """Reads `stream` from now on."""
        self.stream = stream
        stream.use_protocol(self)
        stream.hold(self.paused)

    def expect(self, method: str) -> None:
        """An answer to a request of `method` is due."""
        self.stage = DUE
        self.parser.request_method = method

    @property
    def answering(self) -> bool:
        """Whether a byte of an answer to the last request has come."""
        return self.stage in (BEGUN, OVER)

    @property
    def due(self) -> bool:
        """Whether an answer, or the rest of it, is still to come."""
        return self.stage < OVER

    @property
    def clean(self) -> bool:
        """Whether nothing has come behind the last answer."""
        return self.parser.idle and not self._pending and not self._ended

    def complete(self) -> None:
        """The answer was taken whole."""
        self.stage = BEGUN
        self.stage = OVER

    def release(self) -> None:
        """The connection is closed: holds nothing any more that holds this reader."""
        self.listener, self.parser.observer, self.stream = NOBODY, ParserObserver(), None

    # called by the stream

    def on_bytes(self, data: bytes) -> None:
        """The stream read `data`."""
        listener, parser = self.listener, self.parser
        if self.stage >= OVER:
            self._pending = data
            listener.response_unasked(BadResponse("the server spoke before it was asked"))
            return
        if listener.takes_whole and self.stage == DUE and not self.paused:
            found = parser.whole(data)
            if found is not None and listener.response_whole(found[0], parser.framing, found[1]):
                return
        self._parse(data, SHARE)

    def _parse(self, data: bytes, share: int) -> None:
        listener, parser = self.listener, self.parser
        if self.stage == DUE and data[:2] == TLS_ALERT:
            self.stage = BEGUN
            listener.response_failed(BadResponse("the server speaks TLS there: its URL is https://, or wss://"))
            return
        self.stage = BEGUN
        self._share = share
        between = not parser.partial
        try:
            used = parser.feed(data)
        except HttpError as exc:
            listener.response_failed(_bare(exc))
            return
        if used < len(data):
            self._pending = data[used:]
        if self.stage == OVER:
            listener.response_end()
        elif not parser.partial:
            listener.response_more()
        elif between:
            listener.response_partial()
        if self._pending and self._waits:
            listener.loop.soon(self._go_on)
            self._hold()

    def on_end(self) -> None:
        """The server sends no more, and all that it sent is parsed."""
        listener, parser = self.listener, self.parser
        self._ended = True
        if self.stage >= OVER:
            listener.response_unasked(PeerClosed("the server closed the connection before it was asked"))
            return
        if parser.idle:
            listener.response_failed(PeerClosed("the server closed the connection before it answered"))
            return
        try:
            parser.end()
        except IncompleteBody:
            failure = IncompleteBody("the server closed the connection in the middle of its answer" + listener.response_came())
        else:
            listener.response_end()
            return
        listener.response_failed(failure)  # from here: the other one, as its context, would keep these frames alive

    def on_drain(self) -> None:
        """The stream's write queue is down to low water."""
        self.listener.request_drained()

    def on_error(self, exc: Exception) -> None:
        """The transport failed. What the kernel had of an answer is parsed; that it ended there is not the answer's end."""
        while self._waits and self.stream is not None:
            self.catch_up()
            self.stream.read_last()
        self.listener.response_failed(exc)

    def on_close(self) -> None:
        """The stream is closed."""
        self.listener.stream_closed()

    # holding back

    def pause(self) -> None:
        """Parses and reads no more for now."""
        self.paused = True
        self._hold()

    def resume(self) -> None:
        """Goes on, from the loop."""
        if self.paused:
            self.paused = False
            self.listener.loop.soon(self._go_on)

    def unpause(self) -> None:
        """Reads on at once: the answer that was paused is over."""
        if self.paused:
            self.paused = False
            self._hold()

    def rest(self) -> bytes:
        """What came behind an answer that ends HTTP on this stream: the first bytes of another protocol."""
        data, self._pending = self._pending, b""
        return data

    def catch_up(self) -> None:
        """Tells what was read, and waits for its turn: a deadline is about to fall."""
        if self._waits:
            data, self._pending = self._pending, b""
            self._parse(data, NO_BOUND)
            self._hold()

    @property
    def _waits(self) -> bool:
        """Whether something that was read waits for its turn, and for nothing else."""
        return bool(self._pending) and self.stage < OVER and not self.paused and not self.listener.phase

    def _go_on(self) -> None:
        if self.paused or self.listener.phase:
            return
        if self._pending:
            data, self._pending = self._pending, b""
            self.on_bytes(data)
        self._hold()

    def _hold(self) -> None:
        """Has the stream read, or not, as `paused` says."""
        stream = self.stream
        if stream is not None and stream.protocol is self:
            stream.hold(self.paused or self._waits)

    # called by the parser: True holds it

    def on_head(self, response: Response) -> bool:
        """The head of an interim answer, or of the final one."""
        listener, framing = self.listener, self.parser.framing
        if response.status < 200 and response.status != 101:
            listener.response_interim(response)
            self._share -= 1
            return self.paused or listener.phase > 0 or self._share <= 0
        if framing.upgrade:
            self.stage = OVER
            listener.response_upgrade(response)
            return True
        if not framing.length:
            self.stage = OVER
        listener.response_head(response, framing)
        return self.stage == OVER or self.paused or listener.phase > 0

    def on_body(self, view: memoryview) -> bool:
        """A piece of the body."""
        listener = self.listener
        listener.response_body(view)
        self._share -= 1
        return self.paused or listener.phase > 0 or self._share <= 0

    def on_end_of_body(self) -> bool:
        """The body has ended."""
        self.stage = OVER
        return True


def _bare(exc: HttpError) -> HttpError:
    """An error of the parser without its frames: whoever keeps the error would keep the connection."""
    exc.__traceback__ = exc.__context__ = None
    return exc
