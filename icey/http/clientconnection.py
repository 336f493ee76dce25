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

States: see ClientState. Not here: parsing (wire.py), the request's side (upload.py), what is late (clientdeadlines.py), proxies
and TLS on the way (dialing.py), files (download.py), pools and redirects (client.py, pool.py, call.py).
"""

from __future__ import annotations

from ..base.errors import BadResponse, StateError
from ..base.handle import Handle
from ..base.limits import DEFAULTS
from ..base.signal import Event
from ..base.state import Stateful
from ..base.stream import UP
from ..base.timer import seconds
from . import states
from .clientdeadlines import ClientDeadlines
from .dialing import Dialer, Proxy, basic_of
from .grammar import tokens
from .headers import Headers
from .message import Request
from .requesthead import RequestHeads
from .states import ClientState
from .upload import HELD, Upload
from .url import URL
from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from ..base.buffer import Done
    from ..base.limits import Limits
    from ..base.loop import Loop
    from ..net.tcp import TCPSocket
    from .download import Download
    from .grammar import Framing as AnswerFraming
    from .headers import HeadersLike
    from .message import Response

IDLE, CONNECTING, SENDING = ClientState.IDLE, ClientState.CONNECTING, ClientState.SENDING
WAITING, RECEIVING, UPGRADED = ClientState.WAITING, ClientState.RECEIVING, ClientState.UPGRADED
CLOSING, CLOSED = ClientState.CLOSING, ClientState.CLOSED


class ClientConnection(Stateful, Handle):
    """A connection to the server of `url`. `response`: the answer's head; `received`: body bytes so far, of `total` or None.

    timeout: seconds for a whole transaction. tls: an ssl.SSLContext for https (None: the system's authorities). proxy: a
    Proxy, or its URL. A user and password in the URL are sent as Basic authentication. ValueError for what cannot be sent.
    """

    __slots__ = (
        "url", "method", "headers", "timeout", "limits", "proxy", "stream", "request", "response", "received", "total",
        "session", "_state", "_tls", "_heads", "_wire", "_dialer", "_upload", "_keep", "_download", "_deadlines",
    )

    MOVES = states.CLIENT_MOVES

    _takes_send = True  # whether send() may make a body of a request started without one

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
        tls: Any = None, limits: Optional[Limits] = None, proxy: Any = None,
    ) -> None:
        super().__init__(loop)
        self.url = URL.of(url)
        if self.url.scheme not in ("http", "https", "ws", "wss"):
            raise ValueError("a client speaks http and https, not %r" % self.url.scheme)
        self.method = method
        self.headers = Headers(headers)
        if self.url.user is not None and "authorization" not in self.headers:
            self.headers["Authorization"] = basic_of(self.url).first(method, self.url)
        self.timeout = None if timeout is None else seconds(timeout, "timeout")
        self.limits = DEFAULTS if limits is None else limits
        self.proxy: Optional[Proxy] = Proxy.of(proxy)
        self.stream: Optional[TCPSocket] = None
        self.request: Optional[Request] = None
        self.response: Optional[Response] = None
        self.received = 0
        self.total: Optional[int] = None
        self.session: Any = None  # a TLS session to resume
        self._state = IDLE
        self._tls = tls
        self._heads = RequestHeads(self.url, self.proxy)
        self._wire = Wire(self, self.limits)
        self._dialer: Optional[Dialer] = None
        self._upload: Optional[Upload] = None  # of the transaction under way
        self._keep = False
        self._download: Optional[Download] = None
        self._deadlines = ClientDeadlines(self)

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
            raise StateError("start() while a transaction is under way, or the last one closes the connection",
                             "wait for on_complete, ask `reusable`, or use another connection", "start, then send")
        if request is None:
            request = Request(self.method, self.url.target, "1.1", self.headers.items())
        timeout = None if self.timeout is None else seconds(self.timeout, "timeout")
        upload = Upload(self, request, body)
        if self.stream is None:
            self._dial()
        self._upload = upload
        self.request, self.response = request, None
        self.received, self.total = 0, None
        self._deadlines.stamp = self.loop.now
        self._deadlines.total_due = None if timeout is None else self.loop.now + timeout
        if self.stream is None:
            self._state = CONNECTING
            self._deadlines.watch()
            return
        self._state = SENDING
        if self._takes_send and upload.may_grow:
            self.loop.call_soon(self._launch, upload)
        else:
            self._launch(upload)

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
        """Has the next answer's body written to a path (by a temporary file, renamed when complete) or a binary file.

        Only that of a 2xx answer; to have any other, call it in on_headers. StateError once a piece of the body has come.
        """
        from .download import Download

        self._check()
        self._require_open("save_to")
        if self._state is RECEIVING and self.received:
            raise StateError("save_to() when some of the body has come", "call it in on_headers, or before start()")
        download = Download(target)
        self._drop_download()
        self._download = download

    def pause(self) -> None:
        """Stops reading the answer's body, and its deadline."""
        self._check()
        if not self.closing:
            self._wire.pause()

    def resume(self) -> None:
        """Reads on."""
        self._check()
        if not self.closing:
            self._wire.resume()
            self._deadlines.touch()

    def replace_adapter(self, adapter: Any) -> None:
        """Hands the stream to `adapter`: in on_headers, of a 101 or of a 2xx to CONNECT; else StateError."""
        self._check()
        stream = self.stream
        if stream is None or self.response is None or self._state not in (SENDING, WAITING):
            raise StateError("replace_adapter() without an upgrade", "call it in on_headers, of a 101 answer", "upgrade")
        self._state = UPGRADED
        self._deadlines.stop()
        stream.max_queue = self.limits.max_queue
        stream._paused = False
        stream._use_sink(adapter)
        stream.on_close += lambda stream: self._gone()
        adapter.stream = stream
        adapter.on_attach()

    @property
    def queued(self) -> int:
        """Bytes of the request that wait for the kernel."""
        return (self.stream.queued if self.stream is not None else 0) + (self._upload.queued if self._upload is not None else 0)

    @property
    def reusable(self) -> bool:
        """Idle, and fit for another transaction."""
        stream = self.stream
        return (self._state is IDLE and stream is not None and stream._link == UP and not stream.closing
                and self._wire.clean and not self.closing)

    @property
    def sock(self) -> Any:
        """The stream's socket, None before there is one."""
        return self.stream.sock if self.stream is not None else None

    @property
    def answering(self) -> bool:
        """Whether a byte of an answer to this request has come."""
        return self._wire.heard

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
        stream.max_queue = None  # the upload keeps to limits.max_queue, and a source's pieces may be larger
        stream._use_sink(self._wire)
        stream._deactivate()  # the loop holds this one, this one its stream
        self._state = SENDING
        self._emit("on_connect", self)
        if self._upload is not None:
            self._launch(self._upload)

    def _launch(self, upload: Upload) -> None:
        """The request goes out."""
        if self._upload is upload and self._state is SENDING:
            self._deadlines.stamp = self.loop.now
            try:
                upload.launch()
            except Exception as exc:  # the caller's iterator
                self._fail_soon(exc)
            if self._state is SENDING:  # not out: `_request_out` has not set the next deadline
                self._deadlines.watch()

    def _stream(self) -> TCPSocket:
        assert self.stream is not None
        return self.stream

    def _live(self, verb: str) -> Upload:
        """The transaction's upload; StateError without a transaction."""
        self._check()
        self._require_open(verb)
        if self._state is UPGRADED:
            raise StateError("%s() after an upgrade" % verb, "send by the adapter that has the stream", "upgrade")
        if self._upload is None:
            raise StateError("%s() before start()" % verb, "start() a request first", "start, then send")
        return self._upload

    def _drained(self) -> None:
        """There is room for more of the request."""
        if self._upload is not None:
            self._upload.drained()
        self._emit("on_drain", self)

    def _request_out(self) -> None:
        """All of the request is handed over."""
        if self._state is SENDING:
            self._state = WAITING
        self._deadlines.touch()

    def _continue_late(self) -> None:
        """The server has not said whether it wants the body: it gets it."""
        if self._upload is not None:
            self._upload.release()

    # the answer: called by the wire

    def _interim(self, response: Response) -> None:
        self._deadlines.stamp = self.loop.now
        self._emit("on_interim", self, response)
        if response.status == 100 and self._upload is not None:
            self._upload.release()

    def _answered(self, response: Response, framing: AnswerFraming) -> None:
        assert self._upload is not None
        self.response = response
        self._keep = framing.keep_alive
        self.total = framing.length if framing.length >= 0 else None
        if self._upload.stage == HELD:  # the server does not want the body
            self._upload.drop()
            self._keep = False
        self._state = RECEIVING
        self._deadlines.stamp = self.loop.now
        if self._download is not None and not 200 <= response.status <= 299:
            self._drop_download()
        self._tell_headers()
        if not 0 <= framing.length <= self._wire.parser.behind:  # else all of it is here
            self._deadlines.watch()

    def _received(self, view: memoryview) -> None:
        self.received += len(view)
        self._deadlines.stamp = self.loop.now
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
        if self._state is UPGRADED:
            self._to_adapter()
        elif not self.closing and self._saved():
            upload, self._upload = self._upload, None
            assert upload is not None
            unsent = upload.drop()
            self._wire.unpause()
            keep = not unsent and self._may_keep(upload.request)
            self._state = IDLE if keep else CLOSING
            self._tell_complete()
            if unsent:
                self.abort()
            elif not keep:
                self.close()

    def _may_keep(self, request: Request) -> bool:
        """Whether the connection can be used again."""
        stream = self._stream()
        return (self._keep and self._wire.clean and stream._link == UP and not stream._ended
                and ("connection" not in request.headers
                     or "close" not in tokens(",".join(request.headers.get_all("connection")))))

    def _saved(self) -> bool:
        """The file gets its name; False where that fails, which is told then."""
        download, self._download = self._download, None
        try:
            if download is not None:
                download.commit()
        except Exception as exc:
            self._fail(exc)
            return False
        return True

    def _upgrade_answered(self, response: Response) -> None:
        """101, or a tunnel."""
        assert self.request is not None and self._upload is not None
        self.response = response
        if response.status == 101 and "upgrade" not in self.request.headers:
            self._fail(BadResponse("101 to a request without Upgrade"))
            return
        if self._upload.drop():
            self._fail(BadResponse("%d before the request was complete" % response.status))
            return
        self._tell_headers()
        if self._state is not UPGRADED and not self.closing:
            self._fail(StateError("the server switched protocols, and nobody took the stream over",
                                  "replace_adapter(adapter) in on_headers", "upgrade"))

    def _to_adapter(self) -> None:
        """What came behind the upgrade's head."""
        stream, rest = self._stream(), self._wire.rest()
        if rest and not stream.closing:
            stream._guard(stream._sink.on_bytes, rest)

    def _unasked(self, exc: Exception) -> None:
        """Bytes, or the end, while no answer was due."""
        if self._state is IDLE:
            self.close()
        else:
            self._fail(exc)

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

    # the end

    def _fail(self, exc: Exception) -> None:
        """The transaction is over without an answer. Called from the loop."""
        if not self.closing:
            state, self._state = self._state, CLOSING
            if state is not IDLE:
                self._tell_error(exc)
            self.abort()

    def _fail_soon(self, exc: Exception) -> None:
        """As `_fail`, for what the body's source raises, perhaps in the caller's own call."""
        if self._upload is None:  # it has closed us before
            self.loop._report(exc, self)
        else:
            self._upload.drop()
            self.loop.call_soon(self._fail, exc)

    def _gone(self) -> None:
        """The stream is closed."""
        self._finish()

    def _slot_failed(self, exc: Exception) -> None:
        super()._slot_failed(exc)
        if not self.closing:
            self.close()

    def _drop_download(self) -> None:
        download, self._download = self._download, None
        if download is not None:
            try:
                download.discard()
            except OSError as exc:
                self.loop._report(exc, self)

    def _let_go(self) -> None:
        """Nothing is begun, nor told, any more."""
        self._state = CLOSING
        self._mute()
        self._deadlines.stop()
        if self._upload is not None:
            self._upload.drop()
            self._upload = None
        self._drop_download()

    def _begin_close(self) -> None:
        self._let_go()
        if self.stream is None:
            self._finish()
        elif self._wire.over or self.stream.queued:
            self.stream.close()
        else:
            self.stream.abort()

    def _silence(self) -> None:
        self._let_go()
        if self._dialer is not None:
            self._dialer.abort()
            self._dialer = None
        if self.stream is not None:
            self.stream.abort()  # first in the loop's closing phase: closed when on_close comes

    def _free(self) -> None:
        if self.loop._forked and self.stream is not None:  # a child's: nobody else does it there
            self.stream._free()

    def _closed_now(self) -> None:
        self._state = CLOSED
        super()._closed_now()

    def _name(self) -> str:
        return "ClientConnection %s" % self.url.authority
