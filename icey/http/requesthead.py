"""A request's head in bytes (RFC 9112 section 3).

Rules: Host comes first and is the URL's; the target is in absolute form for a plain request through a proxy, in origin form
otherwise. What the caller gives beats the defaults (User-Agent, Accept).
"""

from __future__ import annotations

from .. import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, List, Optional, Tuple

    from .dialing import Proxy
    from .message import Request
    from .url import URL

AGENT = "icey/" + __version__
_FRAMING = frozenset(["transfer-encoding"])  # written by the engine


def request_head(request: Request, url: URL, proxy: Optional[Proxy], more: Iterable[Tuple[str, str]]) -> bytes:
    """Request line, Host, the caller's fields, `more`, the defaults that are missing, blank line.

    ValueError for a target that cannot be sent.
    """
    target = request.target
    if not target or " " in target or not (target.isascii() and target.isprintable()):
        raise ValueError("%r is no request target" % (target,))
    through = proxy is not None and not url.secure
    if through and target.startswith("/"):
        target = "http://%s%s" % (url.authority, target)
    lines: List[str] = []
    names = set()
    for name, value in request.headers.items():
        key = name.lower()
        if key not in _FRAMING:
            names.add(key)
            lines.append("%s: %s" % (name, value))
    for name, value in more:
        lines.append("%s: %s" % (name, value))
    if "user-agent" not in names:
        lines.append("User-Agent: " + AGENT)
    if "accept" not in names:
        lines.append("Accept: */*")
    if through and proxy is not None and "proxy-authorization" not in names:
        value_ = proxy.authorization(request.method, target)
        if value_ is not None:
            lines.append("Proxy-Authorization: " + value_)
    if "host" not in names:
        lines.insert(0, "Host: " + (target if request.method == "CONNECT" else url.authority))
    return ("%s %s HTTP/1.1\r\n%s\r\n\r\n" % (request.method, target, "\r\n".join(lines))).encode("latin-1")
