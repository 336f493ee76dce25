"""fetch: one request, blocking, on a loop of its own; and Answer, what a client's request comes to.

    answer = fetch("http://127.0.0.1:8000/")
    print(answer.status, answer.headers["content-type"], answer.text())
"""

from __future__ import annotations

from ..base.errors import NetError
from ..base.loop import Loop
from .message import REASONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

    from .headers import Headers, HeadersLike
    from .message import Response
    from .url import URL


class Answer:
    """An answer: status (int), reason, headers, body (bytes, decoded), version ("1.0" or "1.1"), url (after redirects)."""

    __slots__ = ("url", "status", "reason", "headers", "version", "body")

    def __init__(self, url: URL, response: Response, body: bytes) -> None:
        self.url = url
        self.status = response.status
        self.reason = response.reason or REASONS.get(response.status, "")
        self.headers: Headers = response.headers
        self.version = response.version
        self.body = body

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status <= 299

    def text(self, encoding: Optional[str] = None, errors: str = "replace") -> str:
        """The body as str: in `encoding`, else the charset its Content-Type names, else UTF-8. LookupError: an unknown one."""
        if encoding is None:
            kind = self.headers.get("content-type", "")
            for part in kind.split(";")[1:]:
                name, _, value = part.partition("=")
                if name.strip().lower() == "charset":
                    encoding = value.strip().strip('"')
        return self.body.decode(encoding or "utf-8", errors)

    def json(self) -> Any:
        """The body as JSON; ValueError if it is none."""
        import json

        return json.loads(self.body)

    def __repr__(self) -> str:
        return "<Answer %d %s, %d bytes>" % (self.status, self.reason, len(self.body))


def fetch(
    url: Any, *, method: str = "GET", headers: HeadersLike = None, body: Any = None, timeout: Optional[float] = 30.0,
    redirects: int = 10, tls: Any = None, **options: Any,
) -> Answer:
    """Asks for `url` and returns the answer, whatever its status; blocks until then, at most `timeout` seconds.

    options: further ones of Client (proxy, auth, cookies, limits, max_body ...). Raises what went wrong: NetError
    (ResolveError, ConnectError, TLSError, Deadline ...), ProtocolError, ValueError for what cannot be sent.
    """
    from .client import Client

    outcome: List[Tuple[Optional[Answer], Optional[Exception]]] = []
    with Loop() as loop:
        client = Client(loop, timeout=timeout, redirects=redirects, tls=tls, **options)
        try:
            client.request(method, url, headers=headers, body=body, done=lambda *came: outcome.append(came))
            while not outcome and loop.run_once():
                pass
        finally:
            client.abort()
    if not outcome:
        raise NetError("the request ended without an answer")
    answer, error = outcome[0]
    if error is not None:
        try:
            raise error
        finally:
            del error, outcome  # a traceback that holds itself
    assert answer is not None
    return answer
