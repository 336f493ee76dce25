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
- Everything comes from the loop, and nothing after `close()`. `done` comes once, unless the call was closed before.
- A paused call delivers nothing, though a piece of body that came may decode to many.
"""

from __future__ import annotations

from ..base.errors import BadResponse, Deadline, NetError, ProtocolError, StateError
from ..base.handle import OPEN, Handle
from ..base.signal import Event
from .dialing import basic_of
from .fetching import Answer
from .headers import Headers
from .message import Request
from .requestbody import body_of, framing_of
from .requesthead import absolute_form
from .url import URL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple

    from .client import Client
    from .decoding import Decoder
    from .download import Download
    from .message import Response
    from .pool import PooledConnection

    Done = Optional[Callable[[Optional[Answer], Optional[Exception]], Any]]

IDEMPOTENT = frozenset(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
REDIRECTS = frozenset([301, 302, 303, 307, 308])
OF_A_BODY = ("content-type", "content-length", "content-encoding", "content-language", "content-location", "transfer-encoding")
OF_AN_ORIGIN = ("authorization", "cookie", "proxy-authorization", "host")

MOST_IGNORED = 65536  # bytes of a redirect's body, before the connection is closed instead


class Call(Handle):
    """A request under way; `close()` cancels it. `url`: where it is now; `response`: the head of the answer, once it is here.

    With an `on_payload` slot, or `save_to`, the body is not gathered in the answer.
    """

    __slots__ = (
        "client", "method", "url", "headers", "response", "redirects", "wants_fresh", "received", "total",
        "_done", "_body", "_ours", "_auth", "_challenged", "_once", "_connection", "_due", "_limit", "_next",
        "_ignored", "_pieces", "_size", "_decoder", "_unfolding", "_download", "_paused", "_whole",
    )

    on_sent = Event("on_sent(call, head): a request went out, with this head (bytes); again for each redirect and retry")
    on_interim = Event("on_interim(call, response): an answer that is not the last: a redirect, or a challenge that is met")
    on_headers = Event("on_headers(call): the answer's head is here, in call.response; redirects are not told")
    on_payload = Event("on_payload(call, view): a piece of the body, decoded; lent until the slots return")
    on_progress = Event("on_progress(call, received, total): so many bytes of the body as sent, of total or None")

    def __init__(self, client: Client, method: str, url: URL, headers: Headers, body: Any, done: Done, auth: Any) -> None:
        super().__init__(client.loop)
        self.client = client
        self.method = method
        self.url = url
        self.headers = headers
        self.response: Optional[Response] = None
        self.redirects = 0
        self.wants_fresh = False
        self.received = 0
        self.total: Optional[int] = None
        self._done = done
        self._body = body_of(body)
        self._ours = self._body is not body  # made here, so closed here
        self._auth = auth
        self._challenged: List[int] = []  # statuses answered with credentials
        self._once: Optional[Tuple[str, str]] = None  # credentials for the next request alone
        self._connection: Optional[PooledConnection] = None
        self._due: Optional[float] = None  # when it is late: the client looks
        self._limit = 0.0
        self._next: Optional[Callable[[], Any]] = None  # what follows this answer, instead of `done`
        self._ignored = 0
        self._pieces: List[bytes] = []
        self._size = 0
        self._decoder: Optional[Decoder] = None
        self._unfolding: Optional[Iterator[bytes]] = None  # what is left of a piece that was being decoded
        self._download: Optional[Download] = None
        self._paused = False
        self._whole = False  # all of the body has come
        framing = framing_of(headers, self._body)
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

        self._check()
        self._require_open("save_to")
        if self.received and self._next is None:
            raise StateError("save_to() when some of the body has come", "call it in on_headers, or before")
        download = Download(target)
        self._drop_download()
        self._download = download

    def pause(self) -> None:
        """Delivers no more of the body, and has the server wait."""
        self._check()
        self._paused = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Goes on, from the loop."""
        self._check()
        if self._paused and self._phase == OPEN:
            self._paused = False
            self.loop.call_soon(self._go_on)

    # on its way

    def _start(self, timeout: Optional[float]) -> None:
        self._activate()
        if timeout is not None:
            self._due, self._limit = self.loop._clock() + timeout, timeout
            self.client._watch(self._due)
        self.loop.call_soon(self._acquire)

    def _acquire(self) -> None:
        if self._phase == OPEN:
            self.client.pool.acquire(self)

    def _go(self, connection: PooledConnection) -> None:
        """The pool gave us a connection."""
        self._connection = connection
        self.wants_fresh = False
        try:
            if self._paused:
                connection.pause()
            connection.start(self._request(), self._body)
        except Exception as exc:
            self._connection, connection.call = None, None
            connection.abort()
            self._fail_soon(exc)

    def _request(self) -> Request:
        """The request as it goes out now: with cookies and credentials."""
        headers = self.headers.copy()
        jar = self.client.cookies
        cookies = "" if jar is None else jar.header(self.url)
        if cookies:
            given = headers.get("cookie")
            headers["Cookie"] = cookies if given is None else given + "; " + cookies
        if self._once is not None:
            headers[self._once[0]] = self._once[1]
        if self._auth is not None and "authorization" not in headers:
            credentials = self._auth.first(self.method, self.url)
            if credentials is not None:
                headers["Authorization"] = credentials
        return Request(self.method, self.url.target, "1.1", headers.items())

    # what the connection tells

    def _sent(self, head: bytes) -> None:
        self._emit("on_sent", self, head)

    def _headers(self, connection: PooledConnection) -> None:
        response = connection.response
        assert response is not None
        self.response, self.total, self.received, self._ignored = response, connection.total, 0, 0
        self._once = None
        try:
            if self.client.cookies is not None and "set-cookie" in response.headers:
                self.client.cookies.store(self.url, response.headers.get_all("set-cookie"))
            self._next = self._redirect(response) or self._credentials(response)
            self._decoder = self._decoder_for(response)
        except Exception as exc:
            self._give_up(exc)
            return
        if self._next is not None:
            self._emit("on_interim", self, response)
            return
        if not 200 <= response.status <= 299:
            self._drop_download()
        self._emit("on_headers", self)

    def _payload(self, connection: PooledConnection, view: memoryview) -> None:
        self.received += len(view)
        if self._next is not None:
            self._ignore(connection, len(view))
            return
        try:
            if self._decoder is None:
                self._deliver(view)
            else:
                self._unfolding = self._decoder.feed(view)
                self._unfold()
        except Exception as exc:
            self._give_up(exc)
        else:
            self._emit("on_progress", self, self.received, self.total)

    def _ignore(self, connection: PooledConnection, size: int) -> None:
        """The body of an answer that is not the last; where it is long, a new connection is cheaper."""
        self._ignored += size
        if self._ignored > MOST_IGNORED:
            self._connection, connection.call = None, None
            connection.abort()
            self._follow()

    def _unfold(self) -> None:
        """Delivers what is left of a piece, decoded, unless a slot pauses."""
        for piece in self._unfolding or ():
            self._deliver(memoryview(piece))
            if self._paused or self._phase != OPEN:
                return
        self._unfolding = None

    def _deliver(self, view: memoryview) -> None:
        """A piece of the body, decoded: to the file, the slots, or the answer."""
        if self._download is not None:
            self._download.write(view)
        signal = None if self._signals is None else self._signals.get("on_payload")
        if signal is not None and len(signal):
            buffer = self.loop._read_buffer
            lent = buffer.lend_bytes(view)  # type: ignore[arg-type]
            self._emit("on_payload", self, lent)
            kept = buffer.take_back(lent, signal._slots)
            if kept is not None:
                self.loop._report(kept, self)
                raise kept
        elif self._download is None:
            self._size += len(view)
            most = self.client.max_body
            if most is not None and self._size > most:
                raise BadResponse("a body over %d bytes: take it piece by piece, by on_payload or save_to" % most)
            self._pieces.append(bytes(view))

    def _go_on(self) -> None:
        """The call was resumed."""
        if self._paused or self._phase != OPEN:
            return
        try:
            self._unfold()
        except Exception as exc:
            self._give_up(exc)
            return
        if self._unfolding is None and self._whole:
            self._conclude()
        elif self._unfolding is None and self._connection is not None:
            self._connection.resume()

    def _complete(self, connection: PooledConnection) -> None:
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
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._settle(Answer(self.url, self.response, body), None)

    def _broken(self, connection: PooledConnection, exc: Exception) -> None:
        self._connection = None
        stale = connection.uses > 1 and not connection.answering and self.method in IDEMPOTENT
        if stale and isinstance(exc, OSError) and not isinstance(exc, Deadline) and self._rewound():
            self.wants_fresh = True  # which cannot be stale: so once is all there is
            self._acquire()
        else:
            self._settle(None, exc)

    def _lost(self) -> None:
        """The connection was closed under us."""
        self._connection = None
        self._settle(None, NetError("the connection was closed before the answer was complete"))

    # what follows an answer

    def _redirect(self, response: Response) -> Optional[Callable[[], Any]]:
        location = response.headers.get("location")
        if response.status not in REDIRECTS or location is None or not self.client.redirects:
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
        if url.origin != self.url.origin:
            self._without(OF_AN_ORIGIN)
            self._auth = None
        if url.userinfo and url.userinfo != self.url.userinfo:
            self._auth = basic_of(url)
        if url.fragment is None and self.url.fragment is not None:  # it stays (RFC 9110 section 10.2.2)
            url = URL("%s#%s" % (url, self.url.fragment))
        self._challenged = []
        self.redirects += 1
        self.url = url
        self._acquire()

    def _credentials(self, response: Response) -> Optional[Callable[[], Any]]:
        """What proves who we are, where the server or the proxy asks and it can be had."""
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
            if proxy is None or self.url.secure:
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
        self._acquire()

    def _follow(self) -> None:
        follow, self._next = self._next, None
        assert follow is not None
        self.response, self.received = None, 0
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
        """What undoes the content codings of an answer. Not those of a part: its beginning is missing."""
        if (self._next is not None or not self.client.decode or self.method == "HEAD" or response.status == 206
                or "content-encoding" not in response.headers):
            return None
        from .decoding import decoder_for

        return decoder_for(",".join(response.headers.get_all("content-encoding")))

    # the end

    def _late(self) -> None:
        self._give_up(Deadline("no answer from %s within %g s" % (self.url.authority, self._limit)))

    def _give_up(self, exc: Exception) -> None:
        """Ends with an error, whatever the connection is at."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.call = None
            connection.abort()
        self._settle(None, exc)

    def _settle(self, answer: Optional[Answer], exc: Optional[Exception]) -> None:
        done, self._done = self._done, None
        if isinstance(exc, ProtocolError):
            exc.__traceback__ = exc.__context__ = None  # our frames tell nothing, and would keep all this alive
        if self._phase == OPEN:
            self._finish()
            if done is not None:
                try:
                    done(answer, exc)
                except Exception as raised:
                    self.loop._report(raised, self)

    def _fail_soon(self, exc: Exception) -> None:
        """Ends with an error, from the loop."""
        self.loop.call_soon(self._settle, None, exc)

    def _silence(self) -> None:
        self._mute()
        self._done = self._next = self._unfolding = None
        self._pieces = []
        self.client.pool.forget(self)
        self.client.calls.discard(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.call = None
            connection.abort()
        self._drop_body()
        self._drop_download()

    def _drop_body(self) -> None:
        body, self._body = self._body, None
        if body is not None and self._ours:
            try:
                body.close()
            except Exception as exc:  # what the caller's generator does at its end
                self.loop._report(exc, self)

    def _drop_download(self) -> None:
        download, self._download = self._download, None
        if download is not None:
            try:
                download.discard()
            except OSError as exc:
                self.loop._report(exc, self)

    def _slot_failed(self, exc: Exception) -> None:
        super()._slot_failed(exc)
        self._give_up(exc)

    def _name(self) -> str:
        return "Call %s %s" % (self.method, self.url.authority)
