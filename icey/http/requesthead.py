"""A request's head in bytes (RFC 9112 section 3).

Rules: Host is the URL's and comes first; the target is in absolute form for a plain request through a proxy, in origin form
otherwise. What the caller gives beats the defaults (Host, User-Agent, Accept). Every field is checked, wherever it came from;
what the same fields came to on this connection before is used again (4 us less, of some 35 that a request costs its client).
"""

from __future__ import annotations

import re

from .. import __version__
from .grammar import TOKEN, authority
from .headers import check_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence

    from .dialing import Proxy
    from .grammar import Pair
    from .message import Request
    from .url import URL

AGENT = "icey/" + __version__

_TARGET = re.compile("[\x21-\x7e]+").fullmatch


class RequestHeads:
    """Makes the heads of the requests on one connection to `url`, through `proxy` or None."""

    __slots__ = ("_url", "_proxy", "_fields", "_more", "_block")

    def __init__(self, url: URL, proxy: Optional[Proxy]) -> None:
        self._url = url
        self._proxy = None if url.tunnelled else proxy
        self._fields: Optional[List[Pair]] = None  # of the last head, and what they came to
        self._more: Sequence[Pair] = ()
        self._block = b""

    def check(self, request: Request) -> None:
        """ValueError, TypeError: a method, target or field that cannot be sent."""
        check_line(request.method, request.target)
        fields = request.headers.items()
        if fields != self._fields:
            for name, value in fields:
                check_field(name, value)
            if sum(name.lower() == "host" for name, _ in fields) > 1:
                raise ValueError("more than one Host")

    def head(self, request: Request, more: Sequence[Pair]) -> bytes:
        """Request line, Host, the caller's fields, `more` (how the body is framed), the defaults that are missing, blank line.

        The request has passed `check`.
        """
        method, target, proxy = request.method, request.target, self._proxy
        if proxy is not None and method != "CONNECT":
            target = absolute_form(self._url, target)
        line = "%s %s HTTP/1.1\r\n" % (method, target)
        fields = request.headers.items()
        if fields == self._fields and more == self._more:
            return line.encode("latin-1") + self._block
        block = self._made(method, target, fields, more)
        if proxy is None and method != "CONNECT":  # with these it depends on the target, and on the time
            self._fields, self._more, self._block = fields, more, block
        return line.encode("latin-1") + block

    def _made(self, method: str, target: str, fields: List[Pair], more: Sequence[Pair]) -> bytes:
        """All behind the request line."""
        lines: List[str] = []
        names = set()
        for name, value in fields:
            key = name.lower()
            if key != "transfer-encoding":  # said by `more`
                names.add(key)
                lines.append("%s: %s" % (name, value))
        for name, value in more:
            lines.append("%s: %s" % (name, value))
        if "user-agent" not in names:
            lines.append("User-Agent: " + AGENT)
        if "accept" not in names:
            lines.append("Accept: */*")
        if self._proxy is not None and "proxy-authorization" not in names:
            credentials = self._proxy.authorization(method, target)
            if credentials is not None:
                lines.append("Proxy-Authorization: " + credentials)
        if "host" not in names:
            lines.insert(0, "Host: " + (target if method == "CONNECT" else self._url.authority))
        return ("%s\r\n\r\n" % "\r\n".join(lines)).encode("latin-1")


def check_line(method: str, target: str) -> None:
    """ValueError, TypeError: a method or a target that cannot be sent."""
    if not TOKEN(method):
        raise ValueError("%r is no method" % (method,))
    if not _TARGET(target):
        raise ValueError("%r is no request target" % (target,))
    if method == "CONNECT":
        authority(target)


def absolute_form(url: URL, target: str) -> str:
    """The target as a proxy wants it (RFC 9112 section 3.2.2); that of `OPTIONS *` has no path (section 3.2.4)."""
    if target == "*":
        target = ""
    return "http://%s%s" % (url.authority, target) if target[:1] in ("", "/") else target
