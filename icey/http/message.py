"""Request and Response: the head of a message, as the application sees it.

`path`, `query`, `host` and `cookies` are computed when asked for; `headers` are made when first touched.
"""

from __future__ import annotations

from .grammar import absolute
from .headers import Headers
from .url import unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple, Union

    Fields = Union[Dict[str, str], List[Tuple[str, str]]]

REASONS = {
    100: "Continue", 101: "Switching Protocols", 103: "Early Hints",
    200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information", 204: "No Content",
    205: "Reset Content", 206: "Partial Content", 207: "Multi-Status",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
    307: "Temporary Redirect", 308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout",
    409: "Conflict", 410: "Gone", 411: "Length Required", 412: "Precondition Failed", 413: "Content Too Large",
    414: "URI Too Long", 415: "Unsupported Media Type", 416: "Range Not Satisfiable", 417: "Expectation Failed",
    418: "I'm a Teapot", 421: "Misdirected Request", 422: "Unprocessable Content", 423: "Locked", 425: "Too Early",
    426: "Upgrade Required", 428: "Precondition Required", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 451: "Unavailable For Legal Reasons",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 505: "HTTP Version Not Supported", 507: "Insufficient Storage",
}


class Request:
    """A request's head. method, target (raw), version ("1.0" or "1.1"), path (percent-decoded), query (raw), host: str."""

    __slots__ = ("method", "target", "version", "_fields")

    def __init__(self, method: str, target: str, version: str, fields: Fields) -> None:
        self.method = method
        self.target = target
        self.version = version
        self._fields: Union[Fields, Headers] = fields

    @property
    def headers(self) -> Headers:
        """The fields; received names are lower-case."""
        fields = self._fields
        if not isinstance(fields, Headers):
            fields = self._fields = Headers.received(fields)
        return fields

    @property
    def path(self) -> str:
        """The path, percent-decoded ("*" and CONNECT's authority as they are)."""
        path = self._origin().partition("?")[0]
        return path if self.method == "CONNECT" else unquote(path)

    @property
    def query(self) -> str:
        """What follows the first "?", raw; "" without one."""
        return self._origin().partition("?")[2]

    @property
    def host(self) -> str:
        """Whom the request is for: the target's authority where it has one, else Host; "" in a bare HTTP/1.0 request."""
        if self.target[0] not in "/*":
            return self.target if self.method == "CONNECT" else absolute(self.target)[0]
        return str(self.headers.get("host", ""))

    @property
    def cookies(self) -> Dict[str, str]:
        """Name to value of what the Cookie field sends; of a name sent twice the first, which is the closest."""
        from .cookies import parse_cookies  # most requests are answered without a look at them

        found: Dict[str, str] = {}
        for name, value in parse_cookies(";".join(self.headers.get_all("cookie"))):
            found.setdefault(name, value)
        return found

    def _origin(self) -> str:
        if self.target[0] in "/*" or self.method == "CONNECT":
            return self.target
        return absolute(self.target)[1]

    def __repr__(self) -> str:
        return "<Request %s %s HTTP/%s>" % (self.method, self.target, self.version)


class Response:
    """A response's head: what a server is to send, or what a client received. reason "": the usual one."""

    __slots__ = ("status", "reason", "headers", "version")

    def __init__(self, status: int = 200, reason: str = "", headers: Any = None, version: str = "1.1") -> None:
        self.status = status
        self.reason = reason
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.version = version

    def __repr__(self) -> str:
        return "<Response %d %s>" % (self.status, self.reason or REASONS.get(self.status, ""))
