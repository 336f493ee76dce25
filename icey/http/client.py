"""Client: requests to any number of servers, over connections that are kept.

    client = Client(loop)
    client.request("GET", "http://127.0.0.1:8000/", done=lambda answer, error: ...)

Rules: `done(answer, error)` comes once, from the loop; the Call that `request` returns cancels by `close()`. Redirects are
followed, cookies kept, gzip and deflate undone (where Python has zlib), unless you say otherwise. A bound on everything:
connections, redirects, the whole time, the body that is gathered.

Not here: one call's way (call.py), which connection it gets (pool.py), the blocking form (fetching.py).
"""

from __future__ import annotations

from ..base.handle import CLOSING, Handle
from ..base.limits import DEFAULTS
from ..base.timer import seconds
from .call import Call
from .dialing import Proxy, basic_of, default_context
from .headers import Headers
from .pool import Pool
from .requesthead import check_line
from .url import URL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Set

    from ..base.limits import Limits
    from ..base.loop import Loop
    from ..base.timer import Timer
    from .call import Done
    from .headers import HeadersLike

MOST_GATHERED = 64 << 20
MOST_URLS = 128  # remembered as they were parsed
LONGEST_URL = 1024  # of those, in characters
_DEFAULT: Any = object()


class Client(Handle):
    """An HTTP client.

    max_per_host, max_connections: connections to one origin, and in all; more requests wait. timeout: seconds for a whole
    call, None for no bound. redirects: followed at most, 0: none. proxy: a URL or a Proxy. cookies: True, False, a CookieJar.
    tls: an ssl.SSLContext for https. headers: for every request. auth: BasicAuth or DigestAuth. max_body: bytes, decoded, that
    are gathered in an answer (None: no bound). decode: whether gzip and deflate are asked for and undone.
    """

    __slots__ = (
        "limits", "timeout", "redirects", "cookies", "auth", "headers", "max_body", "decode", "pool", "calls", "_tls",
        "_accepted", "_urls", "_timer", "_timer_due",
    )

    def __init__(
        self, loop: Loop, *, max_per_host: int = 8, timeout: Optional[float] = 30.0, redirects: int = 10, proxy: Any = None,
        cookies: Any = True, tls: Any = None, headers: HeadersLike = None, auth: Any = None, limits: Optional[Limits] = None,
        max_body: Optional[int] = MOST_GATHERED, max_connections: int = 100, decode: bool = True,
    ) -> None:
        super().__init__(loop)
        if max_per_host < 1 or max_connections < 1 or redirects < 0:
            raise ValueError("max_per_host and max_connections are 1 or more, redirects 0 or more")
        self.limits = DEFAULTS if limits is None else limits
        self.timeout = None if timeout is None else seconds(timeout, "timeout")
        self.redirects = redirects
        if cookies is True:
            from .cookies import CookieJar

            cookies = CookieJar()
        self.cookies: Any = None if cookies is False else cookies
        self.auth = auth
        self.headers = Headers(headers)
        self.max_body = max_body
        self._accepted = _codings()
        self.decode = decode and bool(self._accepted)
        self.pool = Pool(loop, self.limits, max_per_host, max_connections, Proxy.of(proxy))
        self.calls: Set[Call] = set()
        self._tls = tls
        self._urls: Dict[str, URL] = {}
        self._timer: Optional[Timer] = None  # one for all calls
        self._timer_due = 0.0

    @property
    def tls(self) -> Any:
        """The SSLContext of its https connections: as given, else one that trusts the system's authorities, made when wanted.

        NetError where Python has no ssl.
        """
        if self._tls is None:
            self._tls = default_context()
        return self._tls

    def request(
        self, method: str, url: Any, *, headers: HeadersLike = None, body: Any = None, done: Done = None, auth: Any = None,
        timeout: Any = _DEFAULT,
    ) -> Call:
        """Asks for `url`; `done(answer, error)` tells. Returns the Call: `close()` cancels, its signals tell of the way.

        body: see ClientConnection.start. auth: instead of the URL's user and password, and of the client's. timeout: instead
        of the client's. ValueError and TypeError for what cannot be sent; StateError once closed.
        """
        self._check()
        self._require_open("request")
        where = self._parsed(url)
        check_line(method, where.target)
        timeout = self.timeout if timeout is _DEFAULT else None if timeout is None else seconds(timeout, "timeout")
        if auth is None:
            auth = self.auth if where.user is None else basic_of(where)
        call = Call(self, method, where, self._headers_for(headers), body, done, auth)
        self.calls.add(call)
        call._start(timeout)
        return call

    def _parsed(self, url: Any) -> URL:
        """The URL that is asked for; text is parsed once, unless it is long or has a password in it."""
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

    def _headers_for(self, headers: HeadersLike) -> Headers:
        """The client's headers and those of one request, which win."""
        sent = self.headers.copy()
        if headers is not None:
            given = Headers(headers)
            sent = Headers([(name, value) for name, value in sent.items() if name not in given])
            for name, value in given.items():
                sent.add(name, value)
        if self.decode and "accept-encoding" not in sent and "range" not in sent:
            sent.add("Accept-Encoding", self._accepted)
        return sent

    # deadlines

    def _watch(self, due: float) -> None:
        """Sees to it that the timer comes when a call is due, or before."""
        if self._timer is None or due < self._timer_due:
            if self._timer is not None:
                self._timer.abort()
            self._timer_due = due
            self._timer = self.loop.call_later(max(0.0, due - self.loop._clock()), self._look)
            self._timer.unref()

    def _look(self) -> None:
        """Ends the calls that are late."""
        self._timer = None
        now = self.loop.now
        for call in tuple(self.calls):
            if call._due is not None and call._due <= now:
                call._late()
        following = min((call._due for call in self.calls if call._due is not None), default=None)
        if following is not None:
            self._watch(following)

    # the end

    def _begin_close(self) -> None:
        """Takes no more calls; those under way come to their end."""
        self.pool.close()
        if not self.calls:
            self._finish()
        else:
            for call in list(self.calls):
                call.on_close.attach(self._call_over)

    def _call_over(self, call: Handle) -> None:
        if self._phase == CLOSING and not self.calls:
            self._finish()

    def _silence(self) -> None:
        for call in list(self.calls):
            call.abort()
        if self._timer is not None:
            self._timer.abort()
            self._timer = None
        self.pool.close()
        for connection in list(self.pool.connections):
            connection.abort()


def _codings() -> str:
    """The content codings that can be undone, as Accept-Encoding says it; "" where Python has no zlib."""
    try:
        from .decoding import ACCEPTED
    except ImportError:
        return ""
    return ACCEPTED
