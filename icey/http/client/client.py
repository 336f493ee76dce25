"""Client: requests to any number of servers, over connections that are kept.

    client = Client(loop)
    client.request("GET", "http://127.0.0.1:8000/", done=lambda answer, error: ...)

Rules
- `done(answer, error)` comes once, from the loop. `close()` of the Call that `request` returns cancels the request.
- Redirects are followed, cookies kept, gzip and deflate undone (where Python has zlib), unless the constructor says otherwise.
- Everything has a bound: connections, redirects, the whole time, the body that is gathered.

Not here: a request from its start to its answer (call.py), which connection a call gets (pool.py), the blocking form
(fetch.py).
"""

from __future__ import annotations

from ...base.handle import CLOSING, FINISHING, Handle
from ...base.limits import limits_of
from ...base.signal import require_callable
from ...base.timer import seconds
from ...base.watchdog import NEVER, Watchdog
from ..http1.headcache import SECRETS
from ..http1.requesthead import check_line
from ..semantics.headers import Headers, pairs_of
from ..semantics.url import URL
from .call import Call
from .dialing import context_of, default_context
from .pool import Pool
from .proxy import Proxy, auth_of, basic_of

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set, Tuple

    from ...base.limits import Limits
    from ...base.loop import Loop
    from ..semantics.grammar import Pair
    from ..semantics.headers import HeadersLike
    from .call import Done

MOST_GATHERED = 64 << 20
MOST_URLS = 128  # remembered as they were parsed
LONGEST_URL = 1024  # of those, in characters
USUAL = frozenset(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])  # methods that can be sent with any URL
FRAMING = frozenset(["content-length", "transfer-encoding"])
_DEFAULT: Any = object()


class Client(Handle):
    """An HTTP client.

    max_per_host, max_connections: connections to one origin, and in all; more requests wait. timeout: seconds for a whole
    call, None for no bound. redirects: followed at most, 0: none. proxy: a URL or a Proxy. cookies: True, False, a CookieJar.
    tls: an ssl.SSLContext for https. headers: for every request. auth: BasicAuth or DigestAuth. max_body: bytes, decoded, that
    are gathered in an answer (None: no bound). decode: whether gzip and deflate are asked for and undone.

    `limits`: an icey.Limits, as given. `timeout` (seconds), `redirects`, `auth`, `headers`, `max_body` (bytes), `decode`: as
    given, and may be set anew, for the requests to come. `pool`: the Pool of its connections. `calls`: the Calls under way.
    `keeps_cookies`: whether cookies are kept; `jar`: the CookieJar where there is one by now, else None.
    """

    __slots__ = (
        "limits", "timeout", "redirects", "jar", "keeps_cookies", "auth", "headers", "max_body", "decode", "pool", "calls",
        "_tls", "_accepted", "_urls", "_last", "_watchdog",
    )

    def __init__(
        self, loop: Loop, *, max_per_host: int = 8, timeout: Optional[float] = 30.0, redirects: int = 10, proxy: Any = None,
        cookies: Any = True, tls: Any = None, headers: HeadersLike = None, auth: Any = None, limits: Optional[Limits] = None,
        max_body: Optional[int] = MOST_GATHERED, max_connections: int = 100, decode: bool = True,
    ) -> None:
        super().__init__(loop)
        if max_per_host < 1 or max_connections < 1 or redirects < 0:
            raise ValueError("max_per_host and max_connections are 1 or more, redirects 0 or more")
        self.limits: Limits = limits_of(limits)
        self.timeout: Optional[float] = None if timeout is None else seconds(timeout, "timeout")
        self.redirects: int = redirects
        self.keeps_cookies: bool = False
        self.jar: Any = None
        self.cookies = cookies
        self.auth: Any = auth_of(auth)
        self.headers: Headers = Headers(headers)
        if max_body is not None and not isinstance(max_body, int):
            raise TypeError("max_body is a number of bytes, or None for no bound, not %r" % (max_body,))
        self.max_body: Optional[int] = max_body
        self._accepted = _codings()
        self.decode: bool = decode and bool(self._accepted)
        self.pool: Pool = Pool(loop, self.limits, max_per_host, max_connections, Proxy.of(proxy))
        self.calls: Set[Call] = set()
        self._tls = context_of(tls)
        self._urls: Dict[str, URL] = {}
        self._last: Any = None  # what the fields of the last request were made of; the fields, and whether they frame a body
        self._watchdog = Watchdog(loop, self._first_due, self._end_late, self._look)  # one for all calls

    @property
    def cookies(self) -> Any:
        """The CookieJar, made when it is first wanted; None where no cookies are kept."""
        if self.jar is None and self.keeps_cookies:
            from .cookiejar import CookieJar

            self.jar = CookieJar()
        return self.jar

    @cookies.setter
    def cookies(self, jar: Any) -> None:
        if not isinstance(jar, bool) and jar is not None and not (hasattr(jar, "header") and hasattr(jar, "store")):
            raise TypeError("cookies is True, False or a CookieJar, not %s; for those of one request: "
                            "headers={\"Cookie\": \"a=b\"}" % type(jar).__name__)
        self.keeps_cookies = jar is not False and jar is not None
        self.jar = jar if self.keeps_cookies and jar is not True else None

    @property
    def tls(self) -> Any:
        """The SSLContext of https connections: as given, else one that trusts the system's authorities, made when first wanted.

        NetError where Python has no ssl.
        """
        if self._tls is None:
            self._tls = default_context()
        return self._tls

    def request(
        self, method: str, url: Any, *, headers: HeadersLike = None, body: Any = None, done: Done = None, auth: Any = None,
        timeout: Any = _DEFAULT,
    ) -> Call:
        """Asks for `url`; `done(answer, error)` tells. Returns the Call: `close()` cancels it, its signals tell how it goes on.

        body: see ClientConnection.start. auth: in place of the URL's user and password, and of the client's. timeout:
        seconds, in place of the client's. ValueError and TypeError for what cannot be sent; StateError once closed.
        """
        self.check_thread()
        self.require_open("request")
        where = self._parsed(url)
        if method not in USUAL:
            check_line(method, where.target)
        timeout = self.timeout if timeout is _DEFAULT else None if timeout is None else seconds(timeout, "timeout")
        if auth is None:
            auth = basic_of(where) if where.userinfo else self.auth
        if auth is not None:
            auth_of(auth)
        if done is not None:
            require_callable(done, "done")
        fields, framed = self._fields_for(headers)
        call = Call(self, method, where, fields, body, done, auth)
        if framed:
            call.require_framing()
        self.calls.add(call)
        call.begin(timeout)
        if call.due is not None and call.due < self._watchdog.at:
            self._watchdog.wake_by(call.due)
        return call

    def _parsed(self, url: Any) -> URL:
        """`url` as a URL; text is parsed once, unless it is long or has a password in it."""
        known = self._urls.get(url) if type(url) is str else None
        if known is None:
            known = URL.of(url)
            if known.scheme not in ("http", "https"):
                raise ValueError("a client speaks http and https, not %r" % known.scheme)
            if type(url) is str and len(url) <= LONGEST_URL and not known.userinfo:
                if len(self._urls) >= MOST_URLS:
                    self._urls.clear()
                self._urls[url] = known
        return known

    def _fields_for(self, headers: HeadersLike) -> Tuple[List[Pair], bool]:
        """The client's headers and those of one request, which win; and whether they say how a body is framed.

        Those of the last request are used again where they are the same.
        """
        own = self.headers.items()
        given = [] if headers is None else [(name, value) for name, value in pairs_of(headers)]
        made_of = own, given, self.decode
        if self._last is not None and self._last[0] == made_of:
            return self._last[1]  # type: ignore[no-any-return]
        sent = self.headers.copy()
        if given:
            these = Headers(given)
            sent = Headers([(name, value) for name, value in own if name not in these])
            for name, value in given:
                sent.add(name, value)
        if self.decode and "accept-encoding" not in sent and "range" not in sent:
            sent.add("Accept-Encoding", self._accepted)
        fields = sent.items()
        names = {name.lower() for name, _ in fields}
        found = fields, not FRAMING.isdisjoint(names)
        self._last = (made_of, found) if SECRETS.isdisjoint(names) else None
        return found

    # deadlines

    def _first_due(self) -> Optional[float]:
        """When the first of the calls is late."""
        first = min((call.judged for call in self.calls), default=NEVER)
        return None if first == NEVER else first

    def _look(self) -> None:
        """Takes what has come of the answers that seem late, and ends the calls that are: `judged` has all that is added."""
        for call in tuple(self.calls):
            if call.judged <= self.loop.now:
                call.look()
        self._end_late()

    def _end_late(self) -> None:
        """Ends the calls that are late."""
        for call in tuple(self.calls):
            if call.judged <= self.loop.now:
                call.late()
        if self.phase < FINISHING:
            self._watchdog.watch()

    # the end

    def begin_close(self) -> None:
        """Takes no more calls; those under way come to their end."""
        self.pool.close()
        if not self.calls:
            self.finish()
        else:
            for call in list(self.calls):
                call.on_close.attach(self._call_over)

    def _call_over(self, call: Handle) -> None:
        if self.phase == CLOSING and not self.calls:
            self.finish()

    def silence(self) -> None:
        for call in list(self.calls):
            call.abort()
        self._watchdog.stop()
        self.pool.close()
        for connection in list(self.pool.connections):
            connection.abort()

    def closed_now(self) -> None:
        super().closed_now()
        self.pool.closed_now()
        self._watchdog.release()


def _codings() -> str:
    """The content codings that can be undone, as Accept-Encoding says it; "" where Python has no zlib."""
    try:
        from .decoding import ACCEPTED
    except ImportError:
        return ""
    return ACCEPTED
