"""Call: one request of a Client from its start to its answer, through redirects, credentials and retries.

    what came                                     what follows
    301, 302 to POST; 303                         GET of the Location, without the body (HEAD stays HEAD)
    301, 302 to others; 307, 308                  the same request to the Location, if its body can be had again
    401 or 407 that `auth` can answer             the same request with credentials, once
    a connection used before, closed without      the same request on a new one, once, if the method is idempotent
    a byte of answer                              (RFC 9110 section 9.2.2) and the body can be had again
    anything else                                 `done(answer, None)`, or `done(None, error)`

Rules: credentials and cookies given as headers do not follow a redirect to another origin (RFC 9110 section 15.4). `done` comes
once, from the loop, unless the call was closed before.
"""

from __future__ import annotations

from ..base.errors import BadResponse, Deadline, NetError, ProtocolError, StateError
from ..base.handle import OPEN, Handle
from ..base.signal import Event
from .headers import Headers
from .message import Request
from .requestbody import body_of
from .url import URL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple

    from ..base.timer import Timer
    from .client import Client
    from .decoding import Decoder
    from .download import Download
    from .fetching import Answer
    from .message import Response
    from .pool import PooledConnection

    Done = Optional[Callable[[Optional[Answer], Optional[Exception]], Any]]

IDEMPOTENT = frozenset(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
REDIRECTS = frozenset([301, 302, 303, 307, 308])
OF_A_BODY = ("content-type", "content-length", "content-encoding", "content-language", "content-location", "transfer-encoding")
SECRETS = ("authorization", "cookie", "proxy-authorization")

MOST_IGNORED = 65536  # bytes of a redirect's body, before the connection is closed instead


class Call(Handle):
    """A request under way; `close()` cancels it. `url`: where it is now; `response`: the head of the answer, once it is here.

    With an `on_payload` slot, or `save_to`, the body is not gathered in the answer.
    """

    __slots__ = (
        "client", "method", "url", "headers", "response", "redirects", "tls", "wants_fresh", "received", "total",
        "_done", "_body", "_auth", "_challenged", "_retried", "_connection", "_timer", "_next", "_ignored", "_pieces", "_size",
        "_decoder", "_download", "_once",
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
        self.tls = client.tls
        self.wants_fresh = False
        self.received = 0
        self.total: Optional[int] = None
        self._done = done
        self._body = body_of(body)
        self._auth = auth
        self._challenged: List[int] = []  # statuses answered with credentials
        self._retried = False
        self._connection: Optional[PooledConnection] = None
        self._timer: Optional[Timer] = None
        self._next: Optional[Callable[[], Any]] = None  # what follows this answer, instead of `done`
        self._ignored = 0
        self._pieces: List[bytes] = []
        self._size = 0
        self._decoder: Optional[Decoder] = None
        self._download: Optional[Download] = None
        self._once: Optional[Tuple[str, str]] = None  # credentials for the next request alone

    def save_to(self, target: Any) -> None:
        """Has the answer's body, decoded, written to a path (by a temporary file, renamed when complete) or a binary file."""
        from .download import Download

        self._check()
        self._require_open("save_to")
        self._download = Download(target)

    def pause(self) -> None:
        """Stops reading the body."""
        self._check()
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Reads on."""
        self._check()
        if self._connection is not None:
            self._connection.resume()

    # on its way

    def _start(self, timeout: Optional[float]) -> None:
        self._activate()
        if timeout is not None:
            self._timer = self.loop.call_later(timeout, self._late, timeout)
        self._acquire()

    def _acquire(self) -> None:
        try:
            self.client.pool.acquire(self, self.wants_fresh)
        except Exception as exc:
            self._settle(None, exc)

    def _go(self, connection: PooledConnection) -> None:
        """The pool gave us a connection."""
        self._connection = connection
        headers = Headers(self.headers)
        client = self.client
        if client.cookies is not None:
            cookies = client.cookies.header(self.url)
            if cookies:
                given = headers.get("cookie")
                headers["Cookie"] = cookies if given is None else given + "; " + cookies
        if self._once is not None:
            headers[self._once[0]] = self._once[1]
            self._once = None
        if self._auth is not None and "authorization" not in headers:
            credentials = self._auth.first(self.method, self.url)
            if credentials is not None:
                headers["Authorization"] = credentials
        try:
            connection.start(Request(self.method, self.url.target, "1.1", headers.items()), self._body)
        except Exception as exc:
            connection.call = None
            connection.abort()
            self._settle(None, exc)

    # what the connection tells

    def _sent(self, head: bytes) -> None:
        self._emit("on_sent", self, head)

    def _headers(self, connection: PooledConnection) -> None:
        response = connection.response
        assert response is not None
        self.response, self.total, self.received, self._ignored = response, connection.total, 0, 0
        if self.client.cookies is not None and "set-cookie" in response.headers:
            self.client.cookies.store(self.url, response.headers.get_all("set-cookie"))
        try:
            self._next = self._redirect(response) or self._credentials(response)
        except ProtocolError as exc:
            self._give_up(exc)
            return
        if self._next is not None:
            self._emit("on_interim", self, response)
        else:
            coding = response.headers.get("content-encoding")
            if coding is not None and self.client.decode and self.method != "HEAD":
                self._decoder = _decoder_for(",".join(response.headers.get_all("content-encoding")), self.client.max_body)
            self._emit("on_headers", self)

    def _payload(self, connection: PooledConnection, view: memoryview) -> None:
        self.received += len(view)
        if self._next is not None:
            self._ignored += len(view)
            if self._ignored > MOST_IGNORED:
                self._connection, connection.call = None, None
                connection.abort()
                self._follow()
            return
        try:
            if self._decoder is None:
                self._deliver(view)
            else:
                for piece in self._decoder.feed(view):
                    self._deliver(memoryview(piece))
        except Exception as exc:
            self._give_up(exc)
            return
        self._emit("on_progress", self, self.received, self.total)

    def _deliver(self, view: memoryview) -> None:
        """A piece of the body, decoded: to the file, the slots, or the answer."""
        if self._download is not None:
            self._download.write(view)
        slots = None if self._signals is None else self._signals.get("on_payload")
        if slots is not None:
            buffer = self.loop._read_buffer
            lent = buffer.lend_bytes(view)  # type: ignore[arg-type]
            self._emit("on_payload", self, lent)
            kept = buffer.take_back(lent, slots)
            if kept is not None:
                raise kept
        elif self._download is None:
            self._size += len(view)
            most = self.client.max_body
            if most is not None and self._size > most:
                raise BadResponse("a body over %d bytes: take it piece by piece, by on_payload or save_to" % most)
            self._pieces.append(bytes(view))

    def _complete(self, connection: PooledConnection) -> None:
        self._connection = None
        if self._next is not None:
            self._follow()
            return
        try:
            if self._decoder is not None:
                self._decoder.end()
            if self._download is not None:
                download, self._download = self._download, None
                download.commit()
        except Exception as exc:
            self._settle(None, exc)
            return
        from .fetching import Answer

        assert self.response is not None
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._settle(Answer(self.url, self.response, body), None)

    def _broken(self, connection: PooledConnection, exc: Exception) -> None:
        self._connection = None
        stale = connection.uses > 1 and connection.response is None and not connection.answering
        if (stale and not self._retried and self.method in IDEMPOTENT and isinstance(exc, (NetError, OSError))
                and not isinstance(exc, Deadline) and self._rewound()):
            self._retried = self.wants_fresh = True
            self._acquire()
        else:
            self._settle(None, exc)

    def _lost(self) -> None:
        """The connection was closed under us: by the loop's end."""
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
            raise BadResponse("a redirect to %r: %s" % (location[:200], exc)) from exc
        if url.scheme not in ("http", "https"):
            raise BadResponse("a redirect to %s, which is not spoken here" % url.scheme)
        anew = response.status == 303 or (response.status in (301, 302) and self.method == "POST")
        return lambda: self._go_to(url, anew)

    def _go_to(self, url: URL, anew: bool) -> None:
        if anew:
            if self.method != "HEAD":
                self.method = "GET"
            self._body = None
            self._without(OF_A_BODY + ("expect",))
        elif not self._rewound():
            self._settle(None, StateError("a redirect wants the body again, and its source cannot give it twice",
                                          "pass bytes or a seekable file, or redirects=0", "a body is sent once"))
            return
        if url.origin != self.url.origin:
            self._without(SECRETS)
            self._auth = None
        self._challenged = []
        self.redirects += 1
        self.url = url
        if url.user is not None:
            self._auth = _basic(url)
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
            target = "http://%s%s" % (self.url.authority, self.url.target)
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
        self.response = None
        follow()

    def _rewound(self) -> bool:
        return self._body is None or self._body.rewind()

    def _without(self, names: Any) -> None:
        for name in names:
            if name in self.headers:
                del self.headers[name]

    # the end

    def _late(self, timeout: float) -> None:
        self._timer = None
        self._give_up(Deadline("no answer from %s within %g s" % (self.url.authority, timeout)))

    def _give_up(self, exc: Exception) -> None:
        """Ends with an error, whatever the connection is at."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.call = None
            connection.abort()
        self._settle(None, exc)

    def _settle(self, answer: Optional[Answer], exc: Optional[Exception]) -> None:
        done, self._done = self._done, None
        if self._phase == OPEN:
            self._finish()
            if done is not None:
                try:
                    done(answer, exc)
                except Exception as raised:
                    self.loop._report(raised, self)

    def _silence(self) -> None:
        self._done = None
        self.client.pool.forget(self)
        self.client.calls.discard(self)
        if self._timer is not None:
            self._timer.abort()
            self._timer = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.call = None
            connection.abort()
        if self._download is not None:
            self._download.discard()
            self._download = None

    def _slot_failed(self, exc: Exception) -> None:
        super()._slot_failed(exc)
        self._give_up(exc)

    def _name(self) -> str:
        return "Call %s %s" % (self.method, self.url.authority)


def _decoder_for(coding: str, most: Optional[int]) -> Optional[Decoder]:
    try:
        from .decoding import decoder_for
    except ImportError:  # no zlib: we did not ask for it either
        return None
    return decoder_for(coding, most)


def _basic(url: URL) -> Any:
    from .auth import BasicAuth

    return BasicAuth(url.user or "", url.password or "")


