"""Answer: the outcome of a client's request: status, headers and the whole body.

Not here: an answer that is still coming (call.py), and the parsed head alone, a Response (semantics/message.py).
"""

from __future__ import annotations

from ..semantics.status import REASONS

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional

    from ..semantics.headers import Headers
    from ..semantics.message import Response
    from ..semantics.url import URL


class Answer:
    """The answer to a request.

    `status`: int. `reason`: the phrase that was sent, else the usual one for the status. `headers`: Headers. `body`: bytes,
    without content codings; b"" where the body went to a file or to slots. `version`: "1.0" or "1.1". `url`: the URL that
    answered, after redirects.
    """

    __slots__ = ("url", "status", "reason", "headers", "version", "body")

    def __init__(self, url: URL, response: Response, body: bytes) -> None:
        self.url: URL = url
        self.status: int = response.status
        self.reason: str = response.reason or REASONS.get(response.status, "")
        self.headers: Headers = response.headers
        self.version: str = response.version
        self.body: bytes = body

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status <= 299

    def text(self, encoding: Optional[str] = None, errors: str = "replace") -> str:
        """The body as str, in `encoding`, else in the charset of the Content-Type, else in UTF-8. LookupError: it is unknown.

        errors: as bytes.decode has it.
        """
        if encoding is None:
            kind = self.headers.get("content-type", "")
            for part in kind.split(";")[1:]:
                name, _, value = part.partition("=")
                if name.strip().lower() == "charset":
                    encoding = value.strip().strip('"')
        return self.body.decode(encoding or "utf-8", errors)

    def json(self) -> Any:
        """The value that the body has as JSON; ValueError if the body is no JSON."""
        import json

        return json.loads(self.body)

    def __repr__(self) -> str:
        return "<Answer %d %s, %d bytes>" % (self.status, self.reason, len(self.body))
