"""A request's head in bytes (RFC 9112 section 3).

Rules: Host is that of the URL, and comes first. The target is in absolute form for a plain request through a proxy, in origin
form otherwise. Fields that the caller gives replace the defaults (Host, User-Agent, Accept); an empty User-Agent, which the
grammar does not have (RFC 9110 section 10.1.5), has none sent. A Proxy-Authorization stays out of what goes through a tunnel:
an HTTP proxy gets it, with CONNECT, and a SOCKS proxy has no use for it. Every field is checked, wherever it comes from. The
bytes of the same fields are made once on a connection, and used again (4 us less, of some 35 us that a request costs its
client).

Not here: the body and its framing (requestbody.py).
"""

from __future__ import annotations

import re

from ... import __version__
from ..semantics.grammar import TOKEN, authority
from ..semantics.headers import check_field
from .requestbody import WANT_BODY

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import List, Optional, Protocol, Sequence

    from ..semantics.grammar import Pair
    from ..semantics.message import Request
    from ..semantics.url import URL

    class Proxy(Protocol):
        """What a head needs of a proxy: whether there is a tunnel; the value of Proxy-Authorization, None for none."""

        def tunnels(self, url: URL) -> bool: ...

        def authorization(self, method: str, target: str) -> Optional[str]: ...

AGENT = "icey/" + __version__

# fields that say how the request, or its connection, goes on: a request without them, and without a body, is its head alone
GOES_ON = frozenset("content-length transfer-encoding expect connection upgrade".split())

_TARGET = re.compile("[\x21-\x7e]+").fullmatch


class RequestHeads:
    """Makes the heads of all requests on one connection to `url`; proxy: the one on the way, or None."""

    __slots__ = ("_url", "_proxy", "_inside", "_fields", "_more", "_block", "_alone", "_line", "_last")

    def __init__(self, url: URL, proxy: Optional[Proxy]) -> None:
        self._url = url
        self._inside = proxy is not None and proxy.tunnels(url)  # what a tunnel's end reads: nothing that is for the proxy
        self._proxy = None if self._inside else proxy
        self._fields: Optional[List[Pair]] = None  # of the last head; below the bytes that were made of them
        self._more: Sequence[Pair] = ()
        self._block = b""
        self._alone = False  # the last head was a whole request
        self._line = ("", "")  # method and target of the one that `again` made last, and that one
        self._last = b""

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
        """The bytes of a head: request line, Host, the caller's fields, `more` (they frame the body), missing defaults.

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
        if proxy is None and method != "CONNECT":  # else the fields depend on the target, and on the time
            self._fields, self._more, self._block = fields, more, block
            self._alone = not more and GOES_ON.isdisjoint(name.lower() for name, _ in fields)
            self._line = "", ""
        return line.encode("latin-1") + block

    def again(self, method: str, target: str, fields: List[Pair]) -> Optional[bytes]:
        """The head of a request that is its head alone, and has the fields of the one before; None for any other.

        It needs no `check`. ValueError, TypeError: a method or target that cannot be sent.
        """
        if not self._alone or fields != self._fields:
            return None
        if self._line != (method, target):
            if method in WANT_BODY or method == "CONNECT":
                return None
            check_line(method, target)
            self._last = ("%s %s HTTP/1.1\r\n" % (method, target)).encode("latin-1") + self._block
            self._line = method, target
        return self._last

    def _made(self, method: str, target: str, fields: List[Pair], more: Sequence[Pair]) -> bytes:
        """The bytes behind the request line."""
        lines: List[str] = []
        names = set()
        for name, value in fields:
            key = name.lower()
            if key != "transfer-encoding" and not (self._inside and key == "proxy-authorization"):  # said by `more`; by CONNECT
                names.add(key)
                if value or key != "user-agent":
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
    """The target in the form for a proxy (RFC 9112 section 3.2.2); that of `OPTIONS *` has no path (section 3.2.4)."""
    if target == "*":
        target = ""
    return "http://%s%s" % (url.authority, target) if target[:1] in ("", "/") else target
