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
from .call import Call
from .dialing import Proxy, default_context
from .headers import Headers, pairs_of
from .pool import Pool
from .url import URL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Set

    from ..base.limits import Limits
    from ..base.loop import Loop
    from .call import Done
    from .headers import HeadersLike

MOST_GATHERED = 64 << 20
_DEFAULT: Any = object()


class Client(Handle):
    """An HTTP client.

    max_per_host, max_connections: connections to one origin, and in all; more requests wait. timeout: seconds for a whole
    call, None for no bound. redirects: followed at most, 0: none. proxy: a URL or a Proxy. cookies: True, False, a CookieJar.
    tls: an ssl.SSLContext for https. headers: for every request. auth: BasicAuth or DigestAuth. max_body: bytes, decoded, that
    are gathered in an answer (None: no bound). decode: whether gzip and deflate are asked for and undone.
    """

    __slots__ = ("limits", "timeout", "redirects", "cookies", "auth", "headers", "max_body", "decode", "pool", "calls", "_tls")

    def __init__(
        self, loop: Loop, *, max_per_host: int = 8, timeout: Optional[float] = 30.0, redirects: int = 10, proxy: Any = None,
        cookies: Any = True, tls: Any = None, headers: HeadersLike = None, auth: Any = None, limits: Optional[Limits] = None,
        max_body: Optional[int] = MOST_GATHERED, max_connections: int = 100, decode: bool = True,
    ) -> None:
        super().__init__(loop)
        if max_per_host < 1 or max_connections < 1 or redirects < 0:
            raise ValueError("max_per_host and max_connections are 1 or more, redirects 0 or more")
        self.limits = DEFAULTS if limits is None else limits
        self.timeout = timeout
        self.redirects = redirects
        if cookies is True:
            from .cookies import CookieJar

            cookies = CookieJar()
        self.cookies: Any = None if cookies is False else cookies
        self.auth = auth
        self.headers = Headers(headers)
        self.max_body = max_body
        self.decode = decode and _has_zlib()
        self.pool = Pool(loop, self.limits, max_per_host, max_connections, Proxy.of(proxy))
        self.calls: Set[Call] = set()
        self._tls = tls

    @property
    def tls(self) -> Any:
        """The SSLContext of its https connections: as given, else one that trusts the system's authorities."""
        return self._tls

    def request(
        self, method: str, url: Any, *, headers: HeadersLike = None, body: Any = None, done: Done = None, auth: Any = None,
        timeout: Any = _DEFAULT,
    ) -> Call:
        """Asks for `url`; `done(answer, error)` tells. Returns the Call: `close()` cancels, its signals tell of the way.

        body: see ClientConnection.start. ValueError and TypeError for what cannot be sent; StateError once closed.
        """
        self._check()
        self._require_open("request")
        where = URL.of(url)
        if where.scheme not in ("http", "https"):
            raise ValueError("a client speaks http and https, not %r" % where.scheme)
        sent = Headers(self.headers)
        for name in {name.lower() for name, _ in pairs_of(headers)}:
            if name in sent:
                del sent[name]
        for name, value in pairs_of(headers):
            sent.add(name, value)
        if self.decode and "accept-encoding" not in sent and "range" not in sent:
            from .decoding import ACCEPTED

            sent["Accept-Encoding"] = ACCEPTED
        auth = self.auth if auth is None else auth
        if where.user is not None and auth is None:
            from .auth import BasicAuth

            auth = BasicAuth(where.user, where.password or "")
        if where.secure and self._tls is None:
            self._tls = default_context()
        call = Call(self, method, where, sent, body, done, auth)
        self.calls.add(call)
        call._start(self.timeout if timeout is _DEFAULT else timeout)
        return call

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
        self.pool.close()
        for connection in list(self.pool.connections):
            connection.abort()


def _has_zlib() -> bool:
    try:
        from . import decoding as decoding
    except ImportError:
        return False
    return True


