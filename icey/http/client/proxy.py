"""Proxy: where a client's requests go first, and the credentials that the proxy gets (RFC 9110 sections 7.3.2, 11.7).

A SOCKS proxy knows nothing of HTTP: all that goes by it goes as if it went straight to the server.

Not here: connecting through a proxy (dialing.py, net/socks.py), the absolute form of a target (http1/requesthead.py).
"""

from __future__ import annotations

from ...base.lazy import left_out
from ..semantics.url import URL

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, List, Optional

    from ...net.socks import SocksProxy


class Proxy:
    """A proxy at `url`: "http://name:port", https for TLS to the proxy, or a SOCKS5 proxy, "socks5://name" or "socks5h://name".

    With socks5 names are looked up here, with socks5h by the proxy; user and password of its URL are for RFC 1929. auth: a
    BasicAuth or DigestAuth, in place of Basic with the user and password of the URL. tls: the ssl.SSLContext for an https
    proxy, None for the system's authorities. ValueError: another scheme, or what does not go with it.

    `url`: a URL. `auth`: as given, or made of the URL; None for none. `tls`: as given. `socks`: a SocksProxy, None for HTTP's.
    """

    def __init__(self, url: Any, *, auth: Any = None, tls: Any = None) -> None:
        self.url: URL = URL.of(url)
        self.socks: Optional[SocksProxy] = None
        if self.url.scheme in ("socks5", "socks5h"):
            if auth is not None or tls is not None:
                raise ValueError("a SOCKS proxy has its user name and password in its URL, and no TLS")
            self.socks = socks_of(self.url)
        elif self.url.scheme not in ("http", "https"):
            raise ValueError("a proxy is http, https, socks5 or socks5h, not %r" % self.url.scheme)
        elif auth is None and self.url.user is not None:
            auth = basic_of(self.url)
        self.auth: Any = auth_of(auth)
        self.tls = tls

    @classmethod
    def of(cls, value: Any) -> Optional[Proxy]:
        """A Proxy, a URL for one, or None."""
        return value if value is None or isinstance(value, Proxy) else cls(value)

    def tunnels(self, url: URL) -> bool:
        """Whether requests to `url` go through a tunnel to the server: all but plain http, and by SOCKS that as well."""
        return self.socks is not None or url.tunnelled

    def authorization(self, method: str, target: str) -> Optional[str]:
        """The value of Proxy-Authorization for a request; None where the proxy gets no credentials, or only after a 407."""
        if self.auth is None:
            return None
        first: Optional[str] = self.auth.first(method, self.url, uri=target)
        return first

    def answer(self, challenges: List[str], method: str, target: str, body: Any = None) -> Optional[str]:
        """The value of Proxy-Authorization after a 407 with these `challenges`; None where none of them can be met."""
        if self.auth is None:
            return None
        again: Optional[str] = self.auth.answer(challenges, method, self.url, body, uri=target)
        return again

    def __repr__(self) -> str:
        return "<Proxy %s>" % self.url.authority


def socks_of(url: URL) -> SocksProxy:
    """The SocksProxy at a URL; ValueError where it has a path or half of the credentials."""
    try:
        from ...net.socks import SocksProxy
    except ModuleNotFoundError as exc:
        raise ModuleNotFoundError(left_out(exc, "net.socks", "socks"), name=exc.name) from None
    return SocksProxy(str(url))


def auth_of(auth: Any) -> Any:
    """`auth`, with the methods of BasicAuth and DigestAuth, or None; TypeError for anything else, which it does not show."""
    if auth is not None and not hasattr(auth, "first"):
        raise TypeError("auth is a BasicAuth or a DigestAuth, not %s: auth=BasicAuth(user, password)" % type(auth).__name__)
    return auth


def basic_of(url: URL) -> Any:
    """A BasicAuth of the user and password in a URL; ValueError where they cannot be sent."""
    from ..semantics.auth import BasicAuth

    return BasicAuth(url.user or "", url.password or "")
