"""Request and Response: the head of a message, as the application sees it.

`path`, `query`, `params`, `host` and `cookies` are computed when asked for; `headers` are made when first touched.
"""

from __future__ import annotations

from .grammar import absolute
from .headers import Headers
from .percent import unquote
from .status import REASONS

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple, Union

    from .urlencoded import Params

    Fields = Union[Dict[str, str], List[Tuple[str, str]]]


class Request:
    """A request's head. All attributes but `headers`, `cookies` and `params` are str.

    `method`; `target`, raw, as it stands in the request line; `version`, "1.0" or "1.1"; `path`, percent-decoded; `query`, raw;
    `host`; `headers`, a Headers; `cookies`, a dict; `params`, the query's fields, with `get` and `get_all`.
    """

    __slots__ = ("method", "target", "version", "_fields")

    def __init__(self, method: str, target: str, version: str, fields: Fields) -> None:
        self.method: str = method
        self.target: str = target
        self.version: str = version
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
        """The path, percent-decoded; the target "*", and the authority of CONNECT, as they are."""
        path = self._origin().partition("?")[0]
        return path if self.method == "CONNECT" else unquote(path)

    @property
    def query(self) -> str:
        """What follows the first "?" of the target, raw; "" where there is none."""
        return self._origin().partition("?")[2]

    @property
    def params(self) -> Params:
        """The query's fields, decoded as of a form: `get`, `get_all`, `items`. Made at each look."""
        from .urlencoded import Params  # most requests are answered without a look at them

        return Params(self.query)

    @property
    def host(self) -> str:
        """Whom the request is for: the authority in the target, else the Host field; "" in HTTP/1.0 without Host."""
        if self.target[0] not in "/*":
            return self.target if self.method == "CONNECT" else absolute(self.target)[0]
        return str(self.headers.get("host", ""))

    @property
    def cookies(self) -> Dict[str, str]:
        """Name -> value of the cookies sent; of a name that is sent twice the first value: it belongs to the longest path."""
        from .cookiepairs import parse_cookies  # most requests are answered without a look at them

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
    """A response's head: what a server is to send, or what a client received.

    `status`, int; `reason`, the phrase, "" for the usual one; `headers`, a Headers; `version`, "1.0" or "1.1".
    """

    __slots__ = ("status", "reason", "headers", "version")

    def __init__(self, status: int = 200, reason: str = "", headers: Any = None, version: str = "1.1") -> None:
        self.status: int = status
        self.reason: str = reason
        self.headers: Headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.version: str = version

    def __repr__(self) -> str:
        return "<Response %d %s>" % (self.status, self.reason or REASONS.get(self.status, ""))
