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
- Deadlines (Limits): connect_timeout, write_timeout, continue_timeout, answer_timeout, head_timeout, body_timeout; `timeout`
  is for the whole transaction. A paused body, and one that you send, are nobody's deadline but that.

States: see ClientState. Not here: parsing (wire.py), the request's side (upload.py), proxies and TLS on the way (dialing.py),
files (download.py), pools and redirects (client.py, pool.py, call.py).
"""

from __future__ import annotations

from ..base.errors import BadResponse, Deadline, QueueFull, StateError
from ..base.handle import Handle
from ..base.limits import DEFAULTS
from ..base.signal import Event
from ..base.state import Stateful
from . import states
from .dialing import Dialer
from .grammar import TOKEN, tokens
from .headers import Headers
from .message import Request
from .states import ClientState
from .upload import HELD, Upload
from .url import URL
from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple

    from ..base.buffer import Done
    from ..base.limits import Limits
    from ..base.loop import Loop
    from ..base.timer import Timer
    from ..net.tcp import TCPSocket
    from .dialing import Proxy
    from .download import Download
    from .grammar import Framing as AnswerFraming
    from .headers import HeadersLike
    from .message import Response

IDLE, CONNECTING, SENDING = ClientState.IDLE, ClientState.CONNECTING, ClientState.SENDING
WAITING, RECEIVING, UPGRADED = ClientState.WAITING, ClientState.RECEIVING, ClientState.UPGRADED
CLOSING, CLOSED = ClientState.CLOSING, ClientState.CLOSED

CONTINUE, TOTAL = "100 Continue", "the whole transaction"


class ClientConnection(Stateful, Handle):
    """A connection to the server of `url`. `response`: the answer's head; `received`: body bytes so far, of `total` or None.

    timeout: seconds for a whole transaction. tls: an ssl.SSLContext for https (None: the system's authorities). proxy: a
    `Proxy`. ValueError for a URL or header that cannot be sent.
    """

    __slots__ = (
        "url", "method", "headers", "timeout", "limits", "proxy", "stream", "request", "response", "received", "total",
        "session", "_state", "_tls", "_wire", "_dialer", "_upload", "_keep", "_download", "_timer", "_timer_due", "_stamp",
        "_total_due",
    )

    MOVES = states.CLIENT_MOVES

    on_connect = Event("on_connect(conn): connected, TLS included")
    on_sent = Event("on_sent(conn, head): a request went out, with this head (bytes)")
    on_interim = Event("on_interim(conn, response): a 1xx answer; the final one follows")
    on_headers = Event("on_headers(conn): the answer's head is here, in conn.response")
    on_payload = Event("on_payload(conn, view): a piece of the answer's body; lent until the slots return")
    on_progress = Event("on_progress(conn, received, total): so many bytes of the body, of total or None")
    on_drain = Event("on_drain(conn): the queue is down to low water, send again")
    on_complete = Event("on_complete(conn): the answer is whole")
    on_error = Event("on_error(conn, exc): the transaction failed; on_close follows")

    def __init__(
        self, loop: Loop, url: Any, *, method: str = "GET", headers: HeadersLike = None, timeout: Optional[float] = None,
        tls: Any = None, limits: Optional[Limits] = None, proxy: Optional[Proxy] = None,
    ) -> None:
        super().__init__(loop)
        self.url = URL.of(url)
        if self.url.scheme not in ("http", "https", "ws", "wss"):
            raise ValueError("a client speaks http and https, not %r" % self.url.scheme)
        self.method = method
        self.headers = Headers(headers)
        self.timeout = timeout
        self.limits = DEFAULTS if limits is None else limits
        self.proxy = proxy
        self.stream: Optional[TCPSocket] = None
        self.request: Optional[Request] = None
        self.response: Optional[Response] = None
        self.received = 0
        self.total: Optional[int] = None
        self.session: Any = None  # a TLS session to resume
        self._state = IDLE
        self._tls = tls
        self._wire = Wire(self, self.limits)
        self._dialer: Optional[Dialer] = None
        self._upload: Optional[Upload] = None  # of the transaction under way
        self._keep = False
        self._download: Optional[Download] = None
        self._timer: Optional[Timer] = None
        self._timer_due = self._stamp = 0.0
        self._total_due: Optional[float] = None

    # the transaction

    def start(self, request: Optional[Request] = None, body: Any = None) -> None:
        """Starts a transaction: `request`, or method, url and headers as given to the constructor.

        body: bytes-like, a binary file, an iterable of bytes, or None; see requestbody.py for how it is framed. By `send()`:
        give a Content-Length or `Transfer-Encoding: chunked`, or call `send()` at once (POST, PUT, PATCH); then `end()`.
        StateError while another transaction is under way, ValueError and TypeError for what cannot be sent.
        """
        self._check()
        self._require_open("start")
        if self._state is not IDLE:
            raise StateError("start() while a transaction is under way", "wait for on_complete, or use another connection",
                             "start, then send")
        if request is None:
            request = Request(self.method, self.url.target, "1.1", self.headers.items())
        if not TOKEN(request.method):
            raise ValueError("%r is no method" % (request.method,))
        upload = Upload(self, request, body)
        if self.stream is None:
            self._dial()
        self._upload = upload
        self.request, self.response = request, None
        self.received, self.total = 0, None
        self._stamp = self.loop.now
        self._total_due = None if self.timeout is None else self.loop.now + self.timeout
        if self.stream is None:
            self._state = CONNECTING
        else:
            self._state = SENDING
            if upload.may_grow:
                self.loop.call_soon(self._launch, upload)
            else:
                self._launch(upload)
        self._watch()

    def send(self, data: Any, done: Done = None) -> bool:
        """Sends a piece of the request's body, borrowing it, as Stream.send does. False: wait for `on_drain`.

        StateError before `start()`, for a request without a body, beyond a Content-Length, and once the answer is complete.
        """
        return self._live("send").send(data, done, True)

    def send_owned(self, data: Any, done: Done = None) -> bool:
        """As `send`, but keeps its own: bytes by reference, mutable data copied."""
        return self._live("send_owned").send(data, done, False)

    def end(self) -> None:
        """Completes a body that came by `send()`; StateError short of a given Content-Length."""
        self._live("end").end()

    def save_to(self, target: Any) -> None:
        """Has the next answer's body written to a path (by a temporary file, renamed when complete) or a binary file."""
        from .download import Download

        self._check()
        self._require_open("save_to")
        self._download = Download(target)

    def pause(self) -> None:
        """Stops reading the answer's body, and its deadline."""
        self._check()
        if not self.closing:
            self._wire.pause()

    def resume(self) -> None:
        """Reads on."""
        self._check()
        if not self.closing:
            self._stamp = self.loop.now
            self._wire.resume()
            self._watch()

    def replace_adapter(self, adapter: Any) -> None:
        """Hands the stream to `adapter`: in on_headers, of a 101 or of a 2xx to CONNECT; else StateError."""
        self._check()
        if not self._wire.over or self._state not in (SENDING, WAITING) or self.stream is None:
            raise StateError("replace_adapter() without an upgrade", "call it in on_headers, of a 101 answer", "upgrade")
        self._state = UPGRADED
        self._stop_timer()
        stream = self.stream
        stream.max_queue = self.limits.max_queue
        stream._use_sink(adapter)
        stream.on_close += lambda stream: self._gone()
        adapter.stream = stream
        adapter.on_attach()
        self.loop.call_soon(self._to_adapter, adapter)

    @property
    def queued(self) -> int:
        """Bytes of the request that wait for the kernel."""
        return (self.stream.queued if self.stream is not None else 0) + (self._upload.queued if self._upload is not None else 0)

    @property
    def reusable(self) -> bool:
        """Idle, and fit for another transaction."""
        return self._state is IDLE and self.stream is not None and not self.stream.closing and self._wire.clean

    @property
    def answering(self) -> bool:
        """Whether a byte of the answer has come."""
        return self._state is RECEIVING or not self._wire.parser.idle

    def _look_again(self) -> None:
        """Reads what may just have come, the server's end perhaps."""
        if self.stream is not None:
            self.stream._look()

    # the connection

    def _dial(self) -> None:
        dialer = Dialer(self.loop, self.url, self._dialed, tls=self._tls, session=self.session, proxy=self.proxy,
                        limits=self.limits)
        dialer.start()
        self._dialer = dialer
        self._activate()

    def _dialed(self, stream: Optional[TCPSocket], exc: Optional[Exception]) -> None:
        """The dialer's outcome."""
        self._dialer = None
        if stream is None:
            assert exc is not None
            self._fail(exc)
            return
        self.stream = stream
        stream.max_queue = None  # `_require_room` keeps limits.max_queue
        stream._use_sink(self._wire)
        stream._deactivate()  # the loop holds this one, this one its stream
        self._state = SENDING
        self._emit("on_connect", self)
        if self._upload is not None:
            self._launch(self._upload)

    def _launch(self, upload: Upload) -> None:
        """The request goes out."""
        if self._upload is upload and self._state is SENDING:
            try:
                upload.launch()
            except Exception as exc:  # the caller's iterator, or a target that cannot be sent
                self._fail(exc)
            self._watch()

    def _stream(self) -> TCPSocket:
        assert self.stream is not None
        return self.stream

    def _live(self, verb: str) -> Upload:
        """The transaction's upload; StateError without a transaction."""
        self._check()
        self._require_open(verb)
        if self._upload is None or self._state is UPGRADED:
            raise StateError("%s() before start()" % verb, "start() a request first", "start, then send")
        return self._upload

    def _require_room(self, size: int) -> None:
        """QueueFull where `size` bytes more would pass max_queue."""
        most, queued = self.limits.max_queue, self._stream().queued
        if most is not None and queued and queued + size > most:
            self._stream()._drain_due = True
            raise QueueFull("%d bytes queued, %d more would pass max_queue %d: wait for on_drain" % (queued, size, most))

    def _drained(self) -> None:
        if self._upload is not None:
            self._upload.drained()
        self._emit("on_drain", self)

    def _request_out(self) -> None:
        """All of the request is handed over."""
        self._stamp = self.loop.now
        if self._state is SENDING:
            self._state = WAITING
        self._watch()

    # the answer: called by the wire

    def _interim(self, response: Response) -> None:
        self._stamp = self.loop.now
        self._emit("on_interim", self, response)
        if response.status == 100 and self._upload is not None:
            self._upload.release()

    def _answered(self, response: Response, framing: AnswerFraming) -> None:
        self.response = response
        self._keep = framing.keep_alive
        self.total = framing.length if framing.length >= 0 else None
        if self._upload is not None and self._upload.stage == HELD:  # the server does not want the body
            self._upload.drop()
            self._keep = False
        self._state = RECEIVING
        self._stamp = self.loop.now
        self._tell_headers()
        self._watch()

    def _received(self, view: memoryview) -> None:
        self.received += len(view)
        self._stamp = self.loop.now
        if self._download is not None:
            try:
                self._download.write(view)
            except Exception as exc:
                self._fail(exc)
                return
        self._tell_payload(view)
        self._emit("on_progress", self, self.received, self.total)

    def _completed(self) -> None:
        """The answer is whole."""
        if self.closing or self._state is UPGRADED:
            return
        upload, self._upload = self._upload, None
        assert upload is not None
        unsent = upload.drop()
        keep = (self._keep and not unsent and self._wire.clean and not self._stream()._ended
                and "close" not in tokens(",".join(upload.request.headers.get_all("connection"))))
        if self._download is not None:
            download, self._download = self._download, None
            try:
                download.commit()
            except Exception as exc:
                self._fail(exc)
                return
        self._state = IDLE if keep else CLOSING
        self._total_due = None
        self._tell_complete()
        if unsent:  # nobody reads the rest of the request
            self.abort()
        elif not keep:
            self.close()

    def _upgrade_answered(self, response: Response) -> None:
        """101, or a tunnel."""
        assert self.request is not None
        self.response = response
        if response.status == 101 and "upgrade" not in self.request.headers:
            self._fail(BadResponse("101 to a request without Upgrade"))
            return
        self._tell_headers()
        if self._state is not UPGRADED and not self.closing:
            self._fail(StateError("the server switched protocols, and nobody took the stream over",
                                  "replace_adapter(adapter) in on_headers", "upgrade"))

    def _to_adapter(self, adapter: Any) -> None:
        stream, rest = self.stream, self._wire.rest()
        if rest and stream is not None and not stream.closing:
            stream._guard(adapter.on_bytes, rest)

    def _unasked(self) -> None:
        """Bytes, or the end, while no answer was due."""
        if self._state is not UPGRADED:
            self.close()

    # telling; the pool's connection overrides these

    def _tell_sent(self, head: bytes) -> None:
        self._emit("on_sent", self, head)

    def _tell_headers(self) -> None:
        self._emit("on_headers", self)

    def _tell_payload(self, view: memoryview) -> None:
        if self._signals is not None and "on_payload" in self._signals:
            buffer, slots = self.loop._read_buffer, self._signals["on_payload"]
            lent = buffer.lend_bytes(view)  # type: ignore[arg-type]
            self._emit("on_payload", self, lent)
            kept = buffer.take_back(lent, slots)
            if kept is not None:
                self.loop._report(kept, self)
                self.abort()

    def _tell_complete(self) -> None:
        self._emit("on_complete", self)

    def _tell_error(self, exc: Exception) -> None:
        self._emit("on_error", self, exc)

    # deadlines

    def _watch(self) -> None:
        """Sees to it that a timer comes when the next deadline is due."""
        due = self._due()[0]
        if due is not None and (self._timer is None or due < self._timer_due):
            self._stop_timer()
            self._timer_due = due
            self._timer = self.loop.call_later(max(0.0, due - self.loop.now), self._look)
            self._timer.unref()

    def _due(self) -> Tuple[Optional[float], str]:
        """When the next deadline is, and of what."""
        limits, state = self.limits, self._state
        limit, what = None, TOTAL
        if self._upload is not None and self._upload.stage == HELD:
            limit, what = limits.continue_timeout, CONTINUE
        elif self.stream is not None and self.stream.queued and state in (SENDING, WAITING):
            limit, what = limits.write_timeout, "the server to take the request"
        elif state is WAITING:
            started = self._wire.parser.partial
            limit, what = (limits.head_timeout, "the answer's head") if started else (limits.answer_timeout, "an answer")
        elif state is RECEIVING and not self._wire.paused and not self._wire.over:
            limit, what = limits.body_timeout, "more of the answer's body"
        due = self._total_due if state not in (IDLE, UPGRADED, CLOSING, CLOSED) else None
        if limit is not None:
            since = max(self._stamp, self.stream._taken_at if self.stream is not None else 0.0)
            if due is None or since + limit < due:
                return since + limit, what
        return due, TOTAL

    def _look(self) -> None:
        self._timer = None
        due, what = self._due()
        if due is None or due > self.loop.now:
            self._watch()
        elif what is CONTINUE and self._upload is not None:
            self._upload.release()
            self._watch()
        else:
            self._fail(Deadline("waited %g s for %s" % ((self.timeout or 0) if what is TOTAL else due - self._stamp, what)))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.abort()
            self._timer = None

    # the end

    def _fail(self, exc: Exception) -> None:
        """The transaction is over without an answer."""
        if self.closing:
            return
        state, self._state = self._state, CLOSING
        if state is not IDLE:
            self._tell_error(exc)
        self.abort()

    def _gone(self) -> None:
        """The stream is closed."""
        self._finish()

    def _slot_failed(self, exc: Exception) -> None:
        super()._slot_failed(exc)
        if not self.closing:
            self.close()

    def _begin_close(self) -> None:
        self._state = CLOSING
        self._stop_timer()
        if self.stream is None:
            self._finish()
        elif self._wire.over or self.stream.queued:
            self.stream.close()
        else:
            self.stream.abort()

    def _silence(self) -> None:
        self._state = CLOSING
        self._stop_timer()
        if self._upload is not None:
            self._upload.drop()
            self._upload = None
        if self._dialer is not None:
            self._dialer.abort()
            self._dialer = None
        if self._download is not None:
            self._download.discard()
            self._download = None

    def _free(self) -> None:
        if self.stream is not None:
            self.stream.abort()

    def _closed_now(self) -> None:
        self._state = CLOSED
        super()._closed_now()

    def _name(self) -> str:
        return "ClientConnection %s" % self.url.authority
