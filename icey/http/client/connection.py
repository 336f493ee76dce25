"""ClientConnection: one connection to a server, for one transaction after the other.

    conn = ClientConnection(loop, "http://127.0.0.1:8000/", headers={"Accept": "text/plain"})
    conn.on_payload += lambda conn, view: parts.append(bytes(view))
    conn.on_complete += lambda conn: conn.close()
    conn.start()

Rules
- `start()` starts a transaction, and connects where there is no connection yet; `send()` writes on a live one, and before
  `start()` it is StateError. Complete, and kept alive by both sides, the connection is IDLE and can be started again.
- `on_complete` comes once, for a whole answer. Anything else, a truncated body too, is `on_error(conn, exc)`, then `on_close`.
- Interim answers are told as on_interim(conn, response) and skipped.
- A request that cannot be sent is ValueError or TypeError from `start()`; what fails later is told from the loop.
- After `close()` nothing is told but on_close.

Deadlines: one watchdog looks when the next one is due.

    what is waited for                               limit               counted from                  then
    100 Continue, while the body is held             continue_timeout    the head, or an interim       the body goes
    the server to take bytes of the request          write_timeout       it last took some             Deadline
    the answer's first byte                          answer_timeout      the server has the request    Deadline
    the rest of an answer's head                     head_timeout        the head's first byte         Deadline
    more of an answer's body                         body_timeout        the last piece                Deadline
    the whole transaction, connecting included       `timeout`           start()                       Deadline

Before one falls, what has come is taken, and what can go is given. What the server has of the request is as the system tells it
(Stream.last_taken); where it does not tell, what the kernel took. A paused answer is under the last deadline alone, and so is a
body that the caller sends piece by piece, while none of it waits, be it that the answer has begun: the server may wait for more
of the request. Connecting has deadlines of its own.

States: see ClientState in states.py. Not here: what a stream brings, parsed (responsereader.py); the request's side
(requestwriter.py); how a stream comes to be connected, proxies and TLS (dialing.py); files (download.py); pools, redirects and
credentials (client.py, pool.py, call.py).
"""

from __future__ import annotations

from ...base.errors import BadResponse, Deadline, StateError
from ...base.handle import FINISHING, OPEN, Handle
from ...base.limits import limits_of
from ...base.signal import Event
from ...base.state import InState
from ...base.stream import UP
from ...base.timer import seconds
from ...base.watchdog import Watchdog
from ..http1.requesthead import RequestHeads
from ..semantics.grammar import tokens
from ..semantics.headers import Headers
from ..semantics.message import Request
from ..semantics.url import URL
from . import states
from .dialing import Dialer, context_of
from .proxy import Proxy, basic_of
from .requestwriter import DONE, FLOWING, HELD, RequestListener, RequestWriter, not_sent_that_way
from .responsereader import ResponseListener, ResponseReader
from .states import ClientState

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple

    from typing_extensions import Self

    from ...base.buffer import Done, Sendable
    from ...base.errors import BorrowError
    from ...base.limits import Limits
    from ...base.loop import Loop
    from ...base.signal import Signal
    from ...net.tcp import TCPSocket
    from ..http1.framing import Framing
    from ..semantics.grammar import Pair
    from ..semantics.headers import HeadersLike
    from ..semantics.message import Response
    from .download import Download
    from .transactionowner import TransactionOwner
    from .uploadprogress import UploadProgress

IDLE, CONNECTING, SENDING = ClientState.IDLE, ClientState.CONNECTING, ClientState.SENDING
WAITING, RECEIVING, UPGRADED = ClientState.WAITING, ClientState.RECEIVING, ClientState.UPGRADED
CLOSING, CLOSED = ClientState.CLOSING, ClientState.CLOSED


UNTIMED = (IDLE, UPGRADED, CLOSING, CLOSED)  # states without a deadline

MOST_LOOKS = 16  # reads before a deadline falls

CONTINUE = "100 Continue"
TOTAL = "the whole transaction"


class ClientConnection(RequestListener, ResponseListener, InState, Handle):
    """A connection to the server of `url`.

    method, headers: of a request that `start()` is not given. timeout: seconds for a whole transaction, None for no bound.
    tls: an ssl.SSLContext for https (None: the system's authorities). limits: an icey.Limits. proxy: a Proxy, or its URL. A
    user and password in the URL are sent as Basic authentication. ValueError for what cannot be sent.

    `url`: a URL; `method`, `headers`, `timeout`, `limits`, `proxy`: as given. `stream`: the TCPSocket, None before there is
    one. `session`: a TLS session to resume, or None. Of the last transaction: `request`: the Request; `response`: the
    answer's head, a Response, None before that; `received`: bytes of the answer's body so far, as sent; `total`: bytes of all
    of the body, None where the answer does not say. `call`: the Call of a Client that has this connection of its pool, None for
    none.
    """

    __slots__ = (
        "url", "method", "headers", "timeout", "limits", "proxy", "stream", "request", "response", "received", "total",
        "session", "call", "_state", "_tls", "_heads", "_reader", "_dialer", "_writer", "_keep", "_download", "_upload",
        "_watchdog", "_stamp", "_held", "_total_due",
    )

    MOVES = states.MOVES

    takes_send = True  # whether send() may make a body of a request that was started without one

    on_connect: Event[Callable[[Self], Any]] = Event("on_connect(conn): connected, TLS included")
    on_sent: Event[Callable[[Self, bytes], Any]] = Event("on_sent(conn, head): a request went out, with this head (bytes)")
    on_interim: Event[Callable[[Self, Response], Any]] = Event(
        "on_interim(conn, response): a 1xx answer; the final one follows")
    on_headers: Event[Callable[[Self], Any]] = Event("on_headers(conn): the answer's head is here, in conn.response")
    on_payload: Event[Callable[[Self, memoryview], Any]] = Event(
        "on_payload(conn, view): a piece of the answer's body; lent until the slots return")
    on_progress: Event[Callable[[Self, int, Optional[int]], Any]] = Event(
        "on_progress(conn, received, total): so many bytes of the body, of total or None")
    on_upload_progress: Event[Callable[[Self, int, Optional[int]], Any]] = Event(
        "on_upload_progress(conn, sent, total): the server has taken so many bytes of the request's body, of total or None")
    on_drain: Event[Callable[[Self], Any]] = Event("on_drain(conn): the queue is down to low water, send again")
    on_complete: Event[Callable[[Self], Any]] = Event("on_complete(conn): the answer is whole")
    on_error: Event[Callable[[Self, Exception], Any]] = Event("on_error(conn, exc): the transaction failed; on_close follows")

    def __init__(
        self, loop: Loop, url: Any, *, method: str = "GET", headers: HeadersLike = None, timeout: Optional[float] = None,
        tls: Any = None, limits: Optional[Limits] = None, proxy: Any = None,
    ) -> None:
        super().__init__(loop)
        self.url: URL = URL.of(url)
        if self.url.scheme not in ("http", "https", "ws", "wss"):
            raise ValueError("a client speaks http and https, not %r" % self.url.scheme)
        self.method: str = method
        self.headers: Headers = Headers(headers)
        if self.url.user is not None and "authorization" not in self.headers:
            self.headers["Authorization"] = basic_of(self.url).first(method, self.url)
        self.timeout: Optional[float] = None if timeout is None else seconds(timeout, "timeout")
        self.limits: Limits = limits_of(limits)
        self.proxy: Optional[Proxy] = Proxy.of(proxy)
        self.stream: Optional[TCPSocket] = None
        self.request: Optional[Request] = None
        self.response: Response = None  # type: ignore[assignment]  # it is there from on_headers on
        self.received: int = 0
        self.total: Optional[int] = None
        self.session: Any = None  # a TLS session to resume
        self.call: Optional[TransactionOwner] = None
        self._state = IDLE
        self._tls = context_of(tls)
        self._heads = RequestHeads(self.url, self.proxy)
        self._reader = ResponseReader(self, self.limits)
        self._dialer: Optional[Dialer] = None
        self._writer: Optional[RequestWriter] = None  # of the transaction under way; None where its head is all of it
        self._keep = False  # the server keeps the connection after this answer
        self._download: Optional[Download] = None
        self._upload: Optional[UploadProgress] = None  # while somebody wants to know
        self._watchdog = Watchdog(loop, self._due, self._late, self.look)
        self._stamp = 0.0  # when something happened last, in the loop's time
        self._held = loop.held
        self._total_due: Optional[float] = None  # when `timeout` is over

    # the transaction

    def start(self, request: Optional[Request] = None, body: Any = None) -> None:
        """Starts a transaction: `request`, or method, url and headers as given to the constructor.

        body: bytes-like, a binary file, an iterable of bytes, or None; http1/requestbody.py says how it is framed. By `send()`:
        give a Content-Length or `Transfer-Encoding: chunked`, or call `send()` at once (POST, PUT, PATCH); then `end()`.
        StateError while another transaction is under way, ValueError and TypeError for what cannot be sent.
        """
        self.check_thread()
        if request is None:
            request = Request(self.method, self.url.target, "1.1", self.headers.items())
        self.ask(request, request.headers.items(), body)

    def ask(self, request: Request, fields: List[Pair], body: Any) -> None:
        """What `start` does, without the look at the thread. fields: those of the request."""
        if self.phase or self.loop.closed:
            self.require_open("start")
        if self._state is not IDLE:
            raise StateError("start() while a transaction is under way, or the last one closes the connection",
                             "wait for on_complete, ask `reusable`, or use another connection", "one request at a time")
        timeout = None if self.timeout is None else seconds(self.timeout, "timeout")
        stream, head = self.stream, None
        writer: Optional[RequestWriter] = None
        if body is None and stream is not None and stream.link == UP and stream.phase == OPEN:
            head = self._heads.again(request.method, request.target, fields)
        if head is None:
            writer = RequestWriter(self, self._heads, self.limits, request, body)
            if stream is None:
                self._dial(request.headers.get("proxy-authorization"))
        if self._held != self.loop.held:  # what held the loop before is no time that this request's server gets back
            self._held = self.loop.held
            self._watchdog.watch()
        self._writer = writer
        self.request, self.response = request, None  # type: ignore[assignment]
        self.received, self.total = 0, None
        self._stamp = now = self.loop.now
        self._total_due = None if timeout is None else now + timeout
        if stream is None:
            self._state = CONNECTING
            self._watch()
            return
        self._state = SENDING
        if head is not None:
            self._send_alone(stream, request.method, head)
        elif writer is not None:
            if self.takes_send and writer.may_grow:
                self.loop.soon(self._launch, writer)
            else:
                self._launch(writer)

    def send(self, data: Sendable, done: Done = None) -> bool:
        """Sends a piece of the request's body, borrowing it, as Stream.send does. False: wait for `on_drain`.

        StateError before `start()`, for a request without a body, beyond a Content-Length, and once the answer is complete.
        """
        below = self._live("send").send(data, done, True)
        if not below:
            self._watch()
        return below

    def send_owned(self, data: Sendable, done: Done = None) -> bool:
        """As `send`, but keeps its own: bytes by reference, mutable data copied."""
        below = self._live("send_owned").send(data, done, False)
        if not below:
            self._watch()
        return below

    def end(self) -> None:
        """Completes a body that came by `send()`, also one whose Content-Length is reached; StateError short of that."""
        self._live("end").end()

    def save_to(self, target: Any) -> None:
        """Has the next answer's body written to a path (by a temporary file, renamed when complete) or a binary file.

        Only that of a 2xx answer; to have any other, call it in on_headers. StateError once a piece of the body has come.
        """
        from .download import Download

        self.check_thread()
        self.require_open("save_to")
        if self.answer_begun:
            raise StateError("save_to() when some of the body has come", "call it in on_headers, or before start()")
        download = Download(target)
        self._drop_download()
        self._download = download

    def pause(self) -> None:
        """Stops reading the answer's body, and its deadline."""
        self.check_thread()
        if not self.closing:
            self._reader.pause()

    def resume(self) -> None:
        """Reads on."""
        self.check_thread()
        if not self.closing:
            self._reader.resume()
            self._touch()

    @property
    def uploading(self) -> bool:
        """Whether a request is under way whose body send() may add to, or end() complete."""
        return self._writer is not None and self._writer.takes_more and not self.closing

    def replace_adapter(self, adapter: Any) -> None:
        """Hands the stream to `adapter`: in on_headers, of a 101 or of a 2xx to CONNECT; else StateError."""
        self.check_thread()
        stream = self.stream
        if stream is None or self.response is None or self._state not in (SENDING, WAITING):
            raise StateError("replace_adapter() without an upgrade", "call it in on_headers, of a 101 answer", "upgrade")
        self._state = UPGRADED
        self._watchdog.stop()
        stream.max_queue = self.limits.max_queue
        stream.use_protocol(adapter)
        stream.hold(False)
        stream.on_close += lambda stream: self.finish()
        adapter.stream = stream
        adapter.on_attach()

    @property
    def queued(self) -> int:
        """Bytes of the request that wait for the kernel."""
        return (self.stream.queued if self.stream is not None else 0) + (self._writer.held if self._writer is not None else 0)

    @property
    def reusable(self) -> bool:
        """Idle, and fit for another transaction."""
        stream = self.stream
        return (self._state is IDLE and stream is not None and stream.link == UP and not stream.phase
                and self._reader.clean and not self.phase)

    @property
    def sock(self) -> Any:
        """The stream's socket, None before there is one."""
        return self.stream.sock if self.stream is not None else None

    @property
    def answer_begun(self) -> bool:
        """Whether some of the answer's body has been delivered, and the rest is to come."""
        return self._state is RECEIVING and self.received > 0

    @property
    def answering(self) -> bool:
        """Whether a byte of an answer to this request has come."""
        return self._reader.answering

    # the connection

    def _dial(self, credentials: Optional[str]) -> None:
        dialer = Dialer(self.loop, self.url, self._dialed, tls=self._tls, session=self.session, proxy=self.proxy,
                        limits=self.limits, credentials=credentials)
        self._dialer = dialer
        self.activate()  # before the dialer begins: the loop holds what an interrupt leaves here
        try:
            dialer.start()
        except Exception:
            self._dialer = None
            self.deactivate()
            raise

    def _dialed(self, stream: Optional[TCPSocket], exc: Optional[Exception]) -> None:
        """The dialer's outcome."""
        self._dialer = None
        if stream is None:
            assert exc is not None
            self.response_failed(exc)
            return
        self.stream = stream
        stream.max_queue = None  # the writer keeps to limits.max_queue, and a source's pieces may be larger
        self._reader.attach(stream)
        stream.deactivate()  # the loop holds this connection, and this connection its stream
        self._state = SENDING
        self.emit("on_connect", self)
        if self._writer is not None:
            self._launch(self._writer)

    def _launch(self, writer: RequestWriter) -> None:
        """Sends the request of `writer`, or as much of it as may go now."""
        stream = self.stream
        if self._writer is not writer or self._state is not SENDING or stream is None:
            return
        self._stamp = self.loop.now
        try:
            head = writer.begin(stream)
            if head is not None:
                self._reader.expect(writer.request.method)
                self._tell_sent(head)
                signals = self.signals if self.call is None else self.call.signals
                if signals is not None and "on_upload_progress" in signals:
                    self.watch_upload()
                writer.go_on()
        except Exception as exc:  # of the caller's iterator
            self.request_failed(exc)
        if self._state is SENDING:  # not all is out: `request_out` has not set the next deadline
            self._watch()

    def _send_alone(self, stream: TCPSocket, method: str, head: bytes) -> None:
        """Sends a request that is its head alone: what `_launch` and a RequestWriter do, in fewer steps."""
        stream.write(head, None, False)
        self._reader.expect(method)
        self._tell_sent(head)
        if self._state is SENDING:  # no slot has closed this connection
            self._state = WAITING
            limit = self.limits.answer_timeout
            if (stream.queue is not None or self._total_due is not None
                    or (limit is not None and self._stamp + limit < self._watchdog.at)):
                self._watch()

    def _live(self, verb: str) -> RequestWriter:
        """The transaction's writer; StateError without a transaction."""
        self.check_thread()
        self.require_open(verb)
        if self._state is UPGRADED:
            raise StateError("%s() after an upgrade" % verb, "send by the adapter that has the stream", "upgrade")
        if self._writer is None and self._state is not IDLE:
            raise not_sent_that_way(verb)
        if self._writer is None:
            raise StateError("%s() before start()" % verb, "start() a request first", "start, then send")
        return self._writer

    # the request: called by the writer

    def request_out(self) -> None:
        """All of the request is handed to the stream."""
        if self._state is SENDING:
            self._state = WAITING
        self._touch()

    def request_drained(self) -> None:
        """There is room for more of the request."""
        if self._writer is not None:
            self._writer.drained()
            self._watch()
        self.emit("on_drain", self)

    def request_failed(self, exc: Exception) -> None:
        """The body's source raised, perhaps in the caller's own call: fails the transaction, from the loop."""
        if self._writer is None:  # the source has closed this connection before
            self.loop.report(exc, self)
        else:
            self._forget_upload()
            self._writer.drop()
            self.loop.soon(self.response_failed, exc)

    # the answer: called by the reader

    def response_came(self) -> str:
        """How much of the answer's body has come, as the end of a sentence."""
        return "" if self.response is None else ": %s had come" % amount(self.received, self.total)

    def response_whole(self, response: Response, framing: Framing, body: bytes) -> bool:
        """All of an answer, for a call that does not look at the pieces."""
        call, stream, writer = self.call, self.stream, self._writer
        if (call is None or self._state is not WAITING or self.signals is not None or self.phase or self._download is not None
                or not framing.keep_alive or stream is None or stream.link != UP
                or (writer is not None and (writer.stage != DONE or closes(writer.request)))
                or not call.takes_whole(response, len(body))):
            return False
        self._reader.complete()
        self._writer = None
        self.response = response
        self.received = self.total = len(body)
        self._keep = True
        self._stamp = self.loop.now
        self._state = RECEIVING
        self._state = IDLE
        self.call = None
        self.kept()
        call.answer_whole(response, body)
        return True

    def kept(self) -> None:
        """The transaction is over, and the connection can be used again. Override: whose turn it is now."""

    def response_more(self) -> None:
        """Something of the body came, be it the size of a chunk."""
        self._stamp = self.loop.now

    def response_partial(self) -> None:
        """The rest of a head is waited for."""
        self._touch()

    def response_interim(self, response: Response) -> None:
        """A 1xx answer; 100 lets the body go."""
        self._stamp = self.loop.now
        self.emit("on_interim", self, response)
        if response.status == 100 and self._writer is not None:
            self._writer.release()

    def response_head(self, response: Response, framing: Framing) -> None:
        """The head of the final answer."""
        writer = self._writer
        self.response = response
        self._keep = framing.keep_alive
        self.total = framing.length if framing.length >= 0 else None
        if writer is not None and writer.stage == HELD:  # the server does not want the body
            self._forget_upload()
            writer.drop()
            self._keep = False
        self._state = RECEIVING
        self._stamp = self.loop.now
        if self._download is not None and not 200 <= response.status <= 299:
            self._drop_download()
        self._tell_headers()
        if not 0 <= framing.length <= self._reader.parser.behind:  # else all of it is here
            self._watch()

    def response_body(self, view: memoryview) -> None:
        """A piece of the answer's body."""
        self.received += len(view)
        if self._download is not None:
            try:
                self._download.write(view)
            except Exception as exc:
                self.response_failed(exc)
                return
        if self.call is not None:
            self.call.answer_body(self, view)
        else:
            self._tell_payload(view)
        if self.signals is not None:
            self.emit("on_progress", self, self.received, self.total)

    def response_end(self) -> None:
        """The answer is whole."""
        if self._upload is not None:  # what the server has taken by now counts: the rest is not wanted any more
            self._upload.look()
            self._forget_upload()
        if self._state is UPGRADED:
            self._to_adapter()
        elif not self.closing and self._saved():
            writer, self._writer = self._writer, None
            unsent = writer is not None and writer.drop()
            if self._reader.paused:
                self._reader.unpause()
            keep = not unsent and self._may_keep(writer)
            self._state = IDLE if keep else CLOSING
            self.tell_complete()
            if unsent:
                self.abort()
            elif not keep:
                self.close()

    def response_upgrade(self, response: Response) -> None:
        """The head of a 101, or of a tunnel: a slot of on_headers is to take the stream over."""
        assert self.request is not None
        self.response = response
        if response.status == 101 and "upgrade" not in self.request.headers:
            self.response_failed(BadResponse("101 to a request without Upgrade"))
            return
        if self._writer is not None and self._writer.drop():
            self.response_failed(BadResponse("%d before the request was complete" % response.status))
            return
        self._tell_headers()
        if self._state is not UPGRADED and not self.closing:
            self.response_failed(StateError("the server switched protocols, and nobody took the stream over",
                                            "replace_adapter(adapter) in on_headers", "upgrade"))

    def response_failed(self, exc: Exception) -> None:
        """The transaction is over without an answer. Called from the loop."""
        if not self.closing:
            state, self._state = self._state, CLOSING
            if state is not IDLE:
                self.tell_error(exc)
            self.abort()

    def response_unasked(self, exc: Exception) -> None:
        """Bytes, or the end, while no answer was due."""
        if self._state is IDLE:
            self.close()
        else:
            self.response_failed(exc)

    def stream_closed(self) -> None:
        """The stream is closed."""
        self.finish()

    def _may_keep(self, writer: Optional[RequestWriter]) -> bool:
        """Whether the connection can be used again. writer: of the request, None where its head was all of it."""
        stream = self.stream
        return (self._keep and self._reader.clean and stream is not None and stream.link == UP and not stream.ended
                and (writer is None or not closes(writer.request)))

    def _saved(self) -> bool:
        """Gives the file of save_to its name, if there is one. False where that fails, which is told then."""
        if self._download is not None:
            download, self._download = self._download, None
            try:
                download.commit()
            except Exception as exc:
                self.response_failed(exc)
                return False
        return True

    def _to_adapter(self) -> None:
        """Gives the adapter what came behind the upgrade's head."""
        stream, rest = self.stream, self._reader.rest()
        if rest and stream is not None and stream.protocol is not None and not stream.closing:
            stream.guard(stream.protocol.on_bytes, rest)

    # deadlines

    def _touch(self) -> None:
        """Something happened: what is waited for now is waited for from now on."""
        self._stamp = self.loop.now
        self._watch()

    def _watch(self) -> None:
        """Has the watchdog look when the next deadline is due, or before."""
        writer = self._writer
        due = self._next_deadline(writer is not None and writer.has_body)[0]
        if due is not None and due < self._watchdog.at:
            self._watchdog.wake_by(due)

    def _due(self) -> Optional[float]:
        """The watchdog asks when the next deadline is."""
        return self._next_deadline()[0]

    def look(self) -> None:
        """Takes what has come, and gives what can go: a deadline looks before it falls."""
        if self._dialer is not None:
            self._dialer.look()
            return
        stream, before = self.stream, -1
        for _ in range(MOST_LOOKS):
            if stream is None or self.closing or self._state is UPGRADED or self.received == before:
                return
            before = self.received
            self._reader.catch_up()
            stream.look()

    def _late(self) -> None:
        """The watchdog found that the deadline has passed."""
        _, limit, what = self._next_deadline()
        if what is CONTINUE and self._writer is not None:  # the server has not said whether it wants the body: it gets it
            self._writer.release()
            self._watch()
        else:
            self.response_failed(Deadline("waited %g s for %s%s" % (limit, what, self.response_came())))

    def _next_deadline(self, asks: bool = True) -> Tuple[Optional[float], float, str]:
        """When the next deadline is (None: there is none), how many seconds that is, and what is waited for.

        asks: whether the system is asked what the server has taken.
        """
        if self._state in UNTIMED:
            return None, 0.0, ""
        limit, what = self._waited_for(asks)
        total = self._total_due
        if limit is not None:
            stream, writer, since = self.stream, self._writer, self._stamp
            if stream is not None:
                taken = stream.last_taken() if asks else stream.taken_at
                if taken > since:
                    since = taken
                if self._state is not SENDING and not self._reader.parser.partial:
                    since = max(since, stream.last_heard())  # a long record of TLS is on its way
            if writer is not None and writer.written_at > since:
                since = writer.written_at
            if total is None or since + limit < total:
                return since + limit, limit, what
        return total, self.timeout or 0.0, TOTAL

    def _waited_for(self, asks: bool) -> Tuple[Optional[float], str]:
        """For how many seconds at most something is waited for now (None: for ever), and what that is."""
        state, limits, writer, stream, reader = self._state, self.limits, self._writer, self.stream, self._reader
        if state is RECEIVING:
            ours = writer is not None and writer.stage == FLOWING and (stream is None or not stream.queued)
            return (limits.body_timeout if reader.due and not reader.paused and not ours else None), "more of the answer's body"
        if writer is not None and writer.stage == HELD:
            return limits.continue_timeout, CONTINUE
        if stream is not None and (stream.outstanding if asks and state is WAITING and not reader.parser.partial
                                   else stream.queued):
            return limits.write_timeout, "the server to take the request"
        if state is not WAITING or reader.paused:
            return None, ""
        if reader.parser.partial:
            return limits.head_timeout, "the rest of the answer's head"
        return limits.answer_timeout, "an answer"

    # telling: the call that has this connection, else the slots

    def _tell_sent(self, head: bytes) -> None:
        """The request's head went out."""
        call = self.call
        if call is None:
            self.emit("on_sent", self, head)
        elif call.signals is not None:
            call.request_sent(head)

    def _tell_headers(self) -> None:
        """The answer's head is here."""
        if self.call is not None:
            self.call.answer_head(self)
        else:
            self.emit("on_headers", self)

    def _tell_payload(self, view: memoryview) -> None:
        """A piece of the answer's body, lent for the time of the call."""
        if self.signals is not None and "on_payload" in self.signals:
            buffer = self.loop.read_buffer
            lent = buffer.lend_bytes(view)
            buffer.hand_out(self, lent, self.signals["on_payload"].slots, self.emit, "on_payload", self, lent)

    def watch_upload(self) -> None:
        """Somebody wants to know from now on what the server takes of the request's body, if there is one."""
        writer, stream = self._writer, self.stream
        if self._upload is None and writer is not None and writer.under_way and stream is not None and not self.closing:
            from .uploadprogress import UploadProgress

            self._upload = UploadProgress(self.loop, stream, writer, self._tell_upload)

    def slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_upload_progress" and len(signal):
            self.watch_upload()
        elif name == "on_upload_progress" and self.call is None:
            self._forget_upload()

    def _tell_upload(self, sent: int, total: Optional[int]) -> None:
        """The server has taken more of the request's body."""
        if self.call is not None:
            self.call.upload_progress(sent, total)
        else:
            self.emit("on_upload_progress", self, sent, total)

    def _forget_upload(self) -> None:
        """What is told of the request's body was told."""
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.stop()

    def tell_complete(self) -> None:
        """The answer is whole."""
        self.emit("on_complete", self)

    def tell_error(self, exc: Exception) -> None:
        """The transaction failed."""
        self.emit("on_error", self, exc)

    # the end

    def borrow_broken(self, exc: BorrowError) -> None:
        super().borrow_broken(exc)
        self.abort()

    def slot_failed(self, exc: Exception) -> None:
        super().slot_failed(exc)
        if not self.closing:
            self.close()

    def _drop_download(self) -> None:
        download, self._download = self._download, None
        if download is not None:
            try:
                download.discard()
            except OSError as exc:
                self.loop.report(exc, self)

    def _let_go(self) -> None:
        """Ends what is under way; nothing is told any more but on_error and on_close."""
        if self._state is not CLOSED:  # which an interrupt of the loop's closing phase may have cut short
            self._state = CLOSING
        self.mute()
        self._watchdog.stop()
        self._forget_upload()
        if self._writer is not None:
            self._writer.drop()
            self._writer = None
        self._drop_download()

    def begin_close(self) -> None:
        self._let_go()
        if self.stream is None:
            self.finish()
        elif not self._reader.due or self.stream.queued:
            self.stream.close()
        else:
            self.stream.abort()

    def finish(self) -> None:
        """As Handle.finish. The stream comes first in the loop's closing phase: it is closed when on_close comes."""
        if self.phase < FINISHING:
            stream, idle = self.stream, self._state is IDLE
            self._let_go()
            if stream is not None:
                if idle and not stream.unsent and not stream.phase:
                    stream.part()  # both sides have all: an end, and no cut
                stream.abort()
        super().finish()

    def silence(self) -> None:
        self._let_go()
        if self._dialer is not None:
            self._dialer.abort()
            self._dialer = None
        if self.stream is not None:
            self.stream.abort()

    def free(self) -> None:
        if self.loop.forked and self.stream is not None:  # in a forked child nobody else frees it
            self.stream.free()

    def closed_now(self) -> None:
        self._state = CLOSED
        super().closed_now()
        self._reader.release()
        self._watchdog.release()

    def title(self) -> str:
        return "ClientConnection %s" % self.url.authority


def closes(request: Request) -> bool:
    """Whether a request says that its connection is not used again."""
    headers = request.headers
    return "connection" in headers and "close" in tokens(",".join(headers.get_all("connection")))


def amount(received: int, total: Optional[int]) -> str:
    """How much of a body has come, as text."""
    return "%d bytes" % received if total is None else "%d of %d bytes" % (received, total)
