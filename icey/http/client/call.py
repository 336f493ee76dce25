"""Call: one request of a Client from its start to its answer, through redirects, credentials and retries.

    what came                                     what follows
    301, 302 to POST; 303                         GET of the Location, without the body (HEAD stays HEAD)
    301, 302 to others; 307, 308                  the same request to the Location, if its body can be had again
    401 or 407 that `auth` can answer             the same request with credentials, once
    a connection used before, closed without      the same request on a new one, once, if the method is idempotent
    a byte of answer                              (RFC 9110 section 9.2.2) and the body can be had again
    anything else                                 `done(answer, None)`, or `done(None, error)`

Rules
- Credentials, cookies and Host given as headers do not follow a redirect to another origin (RFC 9110 section 15.4).
- Of an answer that another request follows the head counts alone: its body is dropped, also one that is cut short, or late. A
  Location without a text leads nowhere: such an answer is the last, as with curl and browsers.
- Everything comes from the loop, and nothing after `close()`. `done` comes once, unless the call was closed before.
- A paused call delivers nothing, though one piece of a body that came may decode to many. In a turn half a MiB is decoded:
  deadlines, and all else on the loop, have their turn in between.
- What a body decodes to is bounded: by `max_body` where it is gathered, else by `limits.max_decoded`, which counts only for
  more than 100 times what came.

Not here: the connection that a call uses (pool.py, connection.py), the deadline of all calls (client.py), content codings
(decoding.py), files (download.py).
"""

from __future__ import annotations

from ...base.errors import BadResponse, Deadline, NetError, ProtocolError, StateError
from ...base.handle import OPEN, Handle
from ...base.pieces import gather_piece, joined
from ...base.signal import Event
from ...base.watchdog import NEVER
from ..http1.requestbody import body_of, framing_of
from ..http1.requesthead import absolute_form
from ..semantics.headers import Headers
from ..semantics.message import Request
from ..semantics.url import URL
from .answer import Answer
from .connection import amount
from .proxy import basic_of
from .transactionowner import TransactionOwner

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple

    from typing_extensions import Self

    from ...base.errors import BorrowError
    from ...base.signal import Signal
    from ..semantics.grammar import Pair
    from ..semantics.message import Response
    from .client import Client
    from .connection import ClientConnection
    from .decoding import Decoder
    from .download import Download
    from .pool import PooledConnection

    Done = Optional[Callable[[Optional[Answer], Optional[Exception]], Any]]

IDEMPOTENT = frozenset(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
REDIRECTS = frozenset([301, 302, 303, 307, 308])
FOLLOWED = REDIRECTS | {401, 407}  # another request may follow the answer
OF_A_BODY = ("content-type", "content-length", "content-encoding", "content-language", "content-location", "transfer-encoding")
OF_AN_ORIGIN = ("authorization", "cookie", "host")
OF_A_PROXY = ("proxy-authorization",)  # it is the proxy's, and stays with it

TURN_BYTES = 524288  # decoded before others have their turn
STEP_BYTES = 4096  # what a step of decoding counts for, beside what it decodes
USUAL_RATIO = 100  # what decodes to no more than that many times its size is no bomb
MOST_IGNORED = 65536  # bytes of a redirect's body, before the connection is closed instead


class Call(TransactionOwner, Handle):
    """A request under way; `close()` cancels it.

    With an `on_payload` slot, or `save_to`, the body is not gathered in the answer.

    `client`: the Client. `method`, `url` (a URL), `headers`: of the request as it is now, after redirects. `response`: the
    head of the answer, a Response, None before that. `redirects`: how many were followed. `received`: bytes of the body so
    far, as sent; `total`: bytes of all of the body, None where the answer does not say. `due`: when the call is late, in the
    loop's time, None for never. `wants_fresh`: whether the next connection is to be a new one. `origin`: that of `url`.
    """

    __slots__ = (
        "client", "method", "url", "origin", "response", "redirects", "wants_fresh", "received", "total", "due",
        "_target", "_fields", "_headers", "_done", "_body", "_ours", "_auth", "_challenged", "_once", "_connection", "_limit",
        "_held", "_next", "_ignored", "_pieces", "_size", "_decoder", "_unfolding", "_download", "_paused", "_whole",
    )

    on_sent: Event[Callable[[Self, bytes], Any]] = Event(
        "on_sent(call, head): a request went out, with this head (bytes); again for each redirect and retry")
    on_interim: Event[Callable[[Self, Response], Any]] = Event(
        "on_interim(call, response): an answer that is not the last: a redirect, or a challenge that is met")
    on_headers: Event[Callable[[Self], Any]] = Event(
        "on_headers(call): the answer's head is here, in call.response; redirects are not told")
    on_payload: Event[Callable[[Self, memoryview], Any]] = Event(
        "on_payload(call, view): a piece of the body, decoded; lent until the slots return")
    on_upload_progress: Event[Callable[[Self, int, Optional[int]], Any]] = Event(
        "on_upload_progress(call, sent, total): the server has taken so many bytes of the request's body, of total or None; "
        "from the beginning for each redirect and retry")
    on_progress: Event[Callable[[Self, int, Optional[int]], Any]] = Event(
        "on_progress(call, received, total): so many bytes of the body as sent, of total or None")

    def __init__(self, client: Client, method: str, url: URL, headers: List[Pair], body: Any, done: Done, auth: Any) -> None:
        """headers: pairs that were checked, and do not change from now on."""
        super().__init__(client.loop)
        self.client: Client = client
        self.method: str = method
        self.url: URL = url
        self._target = url.target
        self.origin: Tuple[str, str, int] = url.origin
        self._fields = headers
        self._headers: Optional[Headers] = None  # the same, once somebody has looked at them
        self.response: Response = None  # type: ignore[assignment]  # it is there from on_headers on
        self.redirects: int = 0
        self.wants_fresh: bool = False
        self.received: int = 0
        self.total: Optional[int] = None
        self._done = done
        self._body = None if body is None else body_of(body)
        self._ours = self._body is not body  # the source was made here, so it is closed here
        self._auth = auth
        self._challenged: List[int] = []  # statuses answered with credentials
        self._once: Optional[Tuple[str, str]] = None  # credentials for the next request alone
        self._connection: Optional[PooledConnection] = None
        self.due: Optional[float] = None
        self._limit = 0.0  # seconds
        self._held = 0.0  # what the loop's `held` was at the start
        self._next: Optional[Callable[[], Any]] = None  # what follows this answer, instead of `done`
        self._ignored = 0  # bytes of the body of an answer that is not the last
        self._pieces: List[Any] = []
        self._size = 0  # bytes of them
        self._decoder: Optional[Decoder] = None
        self._unfolding: Optional[Iterator[bytes]] = None  # what is left of a piece that was being decoded
        self._download: Optional[Download] = None
        self._paused = False
        self._whole = False  # all of the body has come

    @property
    def headers(self) -> Headers:
        """The fields of the request, as they are now."""
        if self._headers is None:
            self._headers = Headers.received(self._fields)
        return self._headers

    @property
    def answer_begun(self) -> bool:
        """Whether some of the answer's body has been delivered, and the rest is to come."""
        return self.received > 0 and self._next is None and not self.closing

    def require_framing(self) -> None:
        """ValueError where a Content-Length or Transfer-Encoding among the fields does not fit the body."""
        framing = framing_of(self.headers, self._body)
        if self._body is None and framing is not None and framing.length != 0:
            raise ValueError("a Content-Length, or Transfer-Encoding, and no body: a Call has no send(), give it the body")

    @property
    def tls(self) -> Any:
        """The SSLContext of an https connection."""
        return self.client.tls if self.url.secure else None

    def save_to(self, target: Any) -> None:
        """Has the answer's body, decoded, written to a path (by a temporary file, renamed when complete) or a binary file.

        Only that of a 2xx answer: of any other it is gathered, as without. To have it written, call this in on_headers.
        """
        from .download import Download

        self.check_thread()
        self.require_open("save_to")
        if self.answer_begun:
            raise StateError("save_to() when some of the body has come", "call it in on_headers, or before")
        download = Download(target)
        self._drop_download()
        self._download = download

    def pause(self) -> None:
        """Delivers no more of the body, and has the server wait."""
        self.check_thread()
        self._paused = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Goes on, from the loop."""
        self.check_thread()
        if self._paused and self.phase == OPEN:
            self._paused = False
            self.loop.soon(self._go_on)

    def tell_also(self, fn: Callable[[Optional[Answer], Optional[Exception]], Any]) -> None:
        """Has `fn(answer, error)` called before `done`, for who takes the body of a call that is another's."""
        done = self._done

        def both(answer: Optional[Answer], exc: Optional[Exception]) -> None:
            try:
                fn(answer, exc)
            except Exception as raised:
                self.loop.report(raised, self)
            if done is not None:
                done(answer, exc)

        self._done = both

    # called by the client

    def begin(self, timeout: Optional[float]) -> None:
        """Starts, in the next turn; the whole call has `timeout` seconds."""
        self.activate()
        if timeout is not None:
            self.due, self._limit, self._held = self.loop.clock() + timeout, timeout, self.loop.held
        self.loop.soon(self.client.pool.acquire, self)

    @property
    def judged(self) -> float:
        """When the deadline falls: `due`, and the time since the start in which a slot held the loop; inf for never."""
        return NEVER if self.due is None else self.due + self.loop.held - self._held

    def late(self) -> None:
        """The deadline has passed."""
        where, limit = self.url.authority, self._limit
        if self.response is None or self._next is not None:
            text = "no answer from %s within %g s" % (where, limit)
        else:
            came = amount(self.received, self.total)
            text = "the answer from %s was not whole within %g s: %s had come" % (where, limit, came)
        self._give_up(Deadline(text))

    def look(self) -> None:
        """Takes what has come: the deadline looks before it falls."""
        if self._connection is not None:
            self._connection.look()

    # called by the pool

    def refuse(self, exc: Exception) -> None:
        """No connection can be made: ends with an error, from the loop."""
        self.loop.soon(self._settle, None, exc)

    def use(self, connection: PooledConnection) -> None:
        """Sends the request on `connection`, which is this call's until the answer is complete."""
        self._connection = connection
        self.wants_fresh = False
        try:
            if self._paused:
                connection.pause()
            fields = self._fields_now()
            connection.ask(Request(self.method, self._target, "1.1", fields), fields, self._body)
        except Exception as exc:
            self._connection = None
            connection.abandon()
            self.refuse(exc)

    def _fields_now(self) -> List[Pair]:
        """The fields as they go out now: with cookies and credentials."""
        jar = self.client.jar
        cookies = "" if jar is None else jar.header(self.url)
        if not cookies and self._auth is None and self._once is None:
            return self._fields if self._headers is None else self._headers.items()
        headers = self.headers.copy()
        if cookies:
            given = headers.get("cookie")
            headers["Cookie"] = cookies if given is None else given + "; " + cookies
        if self._once is not None:
            headers[self._once[0]] = self._once[1]
        if self._auth is not None and "authorization" not in headers:
            credentials = self._auth.first(self.method, self.url)
            if credentials is not None:
                headers["Authorization"] = credentials
        return headers.items()

    # called by the connection

    def request_sent(self, head: bytes) -> None:
        self.emit("on_sent", self, head)

    def takes_whole(self, response: Response, size: int) -> bool:
        """Whether nothing is to be done with the answer but to hand it over."""
        client = self.client
        most = client.max_body
        if (self.signals is not None or self._paused or self._download is not None or self.phase or response.status in FOLLOWED
                or (most is not None and size > most)):
            return False
        headers = response.headers
        return not ((client.keeps_cookies and "set-cookie" in headers) or (client.decode and "content-encoding" in headers))

    def answer_whole(self, response: Response, body: bytes) -> None:
        self._connection = None
        self.response = response
        self.received = self.total = len(body)
        self._whole = True
        self._settle(Answer(self.url, response, body), None)

    def answer_head(self, connection: ClientConnection) -> None:
        """The head of an answer: the call's own, or one that is followed by another request."""
        response = connection.response
        assert response is not None
        self.response, self.total, self.received, self._ignored = response, connection.total, 0, 0
        self._once = None
        try:
            if self.client.keeps_cookies and "set-cookie" in response.headers:
                self.client.cookies.store(self.url, response.headers.get_all("set-cookie"))
            self._next = self._redirect(response) or self._credentials(response)
            self._decoder = self._decoder_for(response)
        except Exception as exc:
            self._give_up(exc)
            return
        if self._next is not None:
            self.emit("on_interim", self, response)
            return
        if not 200 <= response.status <= 299:
            self._drop_download()
        if self.signals is not None:
            self.emit("on_headers", self)

    def answer_body(self, connection: ClientConnection, view: memoryview) -> None:
        self.received += len(view)
        if self._next is not None:
            self._ignore(connection, len(view))
            return
        try:
            if self._decoder is None:
                self._deliver(view)
            else:
                self._unfolding = self._decoder.steps(view)
                self._unfold()
        except Exception as exc:
            self._give_up(exc)
        else:
            if self.signals is not None:
                self.emit("on_progress", self, self.received, self.total)

    def _ignore(self, connection: ClientConnection, size: int) -> None:
        """Drops a piece of the body of an answer that is not the last; where the body is long, a new connection is cheaper."""
        self._ignored += size
        if self._ignored > MOST_IGNORED:
            self._drop_connection()
            self._follow()

    def _unfold(self) -> None:
        """Delivers what is left of a piece, decoded, until a slot pauses the call or it is the others' turn."""
        if self._unfolding is None:
            return
        decoder = self._decoder
        assert decoder is not None
        enough = decoder.work + TURN_BYTES
        for piece in self._unfolding:
            if piece:
                self._deliver(memoryview(piece))
            if self._paused or self.phase != OPEN:
                return
            self._check_ratio(decoder)
            enough -= STEP_BYTES
            if decoder.work >= enough:
                if self._connection is not None:
                    self._connection.pause()
                self.loop.soon(self._go_on)
                return
        self._unfolding = None

    def _check_ratio(self, decoder: Decoder) -> None:
        """BadResponse: so little that unfolds to so much is a bomb."""
        most = self.client.max_body if self._gathers() else self.client.limits.max_decoded
        unfolded = decoder.unfolded
        if most is not None and unfolded > most and unfolded > USUAL_RATIO * self.received:
            raise BadResponse("%d bytes of a body that unfold to more than %d" % (self.received, most))

    def _gathers(self) -> bool:
        """Whether the body is kept for the answer."""
        signal = None if self.signals is None else self.signals.get("on_payload")
        return self._download is None and (signal is None or not len(signal))

    def _deliver(self, view: memoryview) -> None:
        """A piece of the body, decoded: to the file, the slots, or the answer."""
        if self._download is not None:
            self._download.write(view)
        signal = None if self.signals is None else self.signals.get("on_payload")
        if signal is not None and len(signal):
            buffer = self.loop.read_buffer
            lent = buffer.lend_bytes(view)
            buffer.hand_out(self, lent, signal.slots, self.emit, "on_payload", self, lent)
        elif self._download is None:
            self._size += len(view)
            most = self.client.max_body
            if most is not None and self._size > most:
                raise BadResponse("a body over %d bytes: take it piece by piece, by on_payload or save_to" % most)
            gather_piece(self._pieces, view)

    def _go_on(self) -> None:
        """The call was resumed, or the others had their turn."""
        if self._paused or self.phase != OPEN:
            return
        try:
            self._unfold()
        except Exception as exc:
            self._give_up(exc)
            return
        if self._unfolding is not None or self.phase != OPEN:
            return
        if self._whole:
            self._conclude()
        elif self._connection is not None:
            self._connection.resume()

    def answer_end(self) -> None:
        """The answer is complete; the connection is the pool's again."""
        self._connection = None
        if self._next is not None:
            self._follow()
            return
        self._whole = True
        if self._unfolding is None:
            self._conclude()

    def _conclude(self) -> None:
        """All of the answer was delivered."""
        try:
            if self._decoder is not None:
                self._decoder.end()
            if self._download is not None:
                download, self._download = self._download, None
                download.commit()
        except Exception as exc:
            self._settle(None, exc)
            return
        assert self.response is not None
        self._settle(Answer(self.url, self.response, joined(self._pieces)), None)

    def upload_progress(self, sent: int, total: Optional[int]) -> None:
        self.emit("on_upload_progress", self, sent, total)

    def slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_upload_progress" and self._connection is not None:
            self._connection.watch_upload()

    def connection_failed(self, exc: Exception, stale: bool) -> None:
        """The transaction failed: once more on a new connection where that is right, else the call fails."""
        self._connection = None
        if self._next is not None:  # what failed is a body that nobody wants
            self._follow()
            return
        stale = stale and self.method in IDEMPOTENT
        if stale and isinstance(exc, OSError) and not isinstance(exc, Deadline) and self._rewound():
            self.wants_fresh = True  # a new connection is never stale, so this happens once
            self.client.pool.acquire(self)
        else:
            self._settle(None, exc)

    def connection_lost(self) -> None:
        """The connection was closed from elsewhere."""
        self._connection = None
        self._settle(None, NetError("the connection was closed before the answer was complete"))

    # what follows an answer

    def _redirect(self, response: Response) -> Optional[Callable[[], Any]]:
        location = response.headers.get("location")
        if response.status not in REDIRECTS or not location or not self.client.redirects:
            return None
        if self.redirects >= self.client.redirects:
            raise BadResponse("more than %d redirects" % self.client.redirects)
        try:
            # a field's text is its octets, and some servers send a path in plain UTF-8
            url = self.url.join(location.encode("latin-1").decode("utf-8", "surrogateescape"))
        except ValueError as exc:
            raise BadResponse("a redirect to %r: %s" % (location[:200], exc)) from None
        if url.scheme not in ("http", "https"):
            raise BadResponse("a redirect to %s, which is not spoken here" % url.scheme)
        anew = response.status == 303 or (response.status in (301, 302) and self.method == "POST")
        return lambda: self._go_to(url, anew)

    def _go_to(self, url: URL, anew: bool) -> None:
        if anew:
            if self.method != "HEAD":
                self.method = "GET"
            self._drop_body()
            self._without(OF_A_BODY + ("expect",))
        elif not self._rewound():
            self._settle(None, StateError("a redirect wants the body again, and its source cannot give it twice",
                                          "pass bytes or a seekable file, or redirects=0", "a body is sent once"))
            return
        if url.origin != self.origin:
            self._without(OF_AN_ORIGIN)
            if self.client.pool.proxy is None:
                self._without(OF_A_PROXY)
            self._auth = None
        if url.userinfo and url.userinfo != self.url.userinfo:
            self._auth = basic_of(url)
        if url.fragment is None and self.url.fragment is not None:  # it stays (RFC 9110 section 10.2.2)
            url = URL("%s#%s" % (url, self.url.fragment))
        self._challenged = []
        self.redirects += 1
        self.url, self._target, self.origin = url, url.target, url.origin
        self.client.pool.acquire(self)

    def _credentials(self, response: Response) -> Optional[Callable[[], Any]]:
        """What follows a 401 or 407: the request with credentials. None where there are none, or they were refused."""
        status, proxy = response.status, self.client.pool.proxy
        if status not in (401, 407) or status in self._challenged:
            return None
        body = None if self._body is None else getattr(self._body, "data", self._body)
        if status == 401:
            if self._auth is None:
                return None
            name = "Authorization"
            value = self._auth.answer(response.headers.get_all("www-authenticate"), self.method, self.url, body)
        else:
            if proxy is None or proxy.tunnels(self.url):
                return None
            name = "Proxy-Authorization"
            target = absolute_form(self.url, self.url.target)
            value = proxy.answer(response.headers.get_all("proxy-authenticate"), self.method, target, body)
        if value is None:
            return None
        self._challenged.append(status)
        return lambda: self._again_with(name, value)

    def _again_with(self, name: str, value: str) -> None:
        if not self._rewound():
            self._settle(None, StateError("the server asks for credentials, and the body cannot be sent twice",
                                          "pass bytes or a seekable file", "a body is sent once"))
            return
        self._once = (name, value)
        self.client.pool.acquire(self)

    def _follow(self) -> None:
        follow, self._next = self._next, None
        assert follow is not None
        self.response, self.received = None, 0  # type: ignore[assignment]
        try:
            follow()
        except Exception as exc:  # a user name that cannot be sent
            self._settle(None, exc)

    def _rewound(self) -> bool:
        return self._body is None or self._body.rewind()

    def _without(self, names: Any) -> None:
        for name in names:
            if name in self.headers:
                del self.headers[name]

    def _decoder_for(self, response: Response) -> Optional[Decoder]:
        """What undoes the content codings of an answer. Those of a partial answer (206) stay: its beginning is missing."""
        if (self._next is not None or not self.client.decode or self.method == "HEAD" or response.status == 206
                or "content-encoding" not in response.headers):
            return None
        from .decoding import decoder_for

        return decoder_for(",".join(response.headers.get_all("content-encoding")))

    # the end

    def _give_up(self, exc: Exception) -> None:
        """Ends with an error, whatever the connection is doing."""
        self._drop_connection()
        self._settle(None, exc)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

    def _settle(self, answer: Optional[Answer], exc: Optional[Exception]) -> None:
        """Ends, and tells `done`."""
        done, self._done = self._done, None
        if isinstance(exc, ProtocolError):
            exc.__traceback__ = exc.__context__ = None  # these frames tell nothing, and would keep all this alive
        if self.phase == OPEN:
            self.finish()
            if done is not None:
                try:
                    done(answer, exc)
                except Exception as raised:
                    self.loop.report(raised, self)

    def silence(self) -> None:
        if self.signals is not None:
            self.mute()
        self._done = self._next = self._unfolding = None
        self._pieces = []
        self.client.pool.forget(self)
        self.client.calls.discard(self)
        if self._connection is not None:
            self._drop_connection()
        if self._body is not None:
            self._drop_body()
        if self._download is not None:
            self._drop_download()

    def _drop_body(self) -> None:
        body, self._body = self._body, None
        if body is not None and self._ours:
            try:
                body.close()
            except Exception as exc:  # what the caller's generator does at its end
                self.loop.report(exc, self)

    def _drop_download(self) -> None:
        download, self._download = self._download, None
        if download is not None:
            try:
                download.discard()
            except OSError as exc:
                self.loop.report(exc, self)

    def slot_failed(self, exc: Exception) -> None:
        super().slot_failed(exc)
        self._give_up(exc)

    def borrow_broken(self, exc: BorrowError) -> None:
        super().borrow_broken(exc)
        self._give_up(exc)

    def title(self) -> str:
        return "Call %s %s" % (self.method, self.url.authority)
