"""How an answer's head becomes bytes: the date, the cached prefix of common answers, and the long way for the others.

Rules: every answer has a Date, a reason phrase and one of Content-Length, chunked or close. The engine frames: an answer
that may have no body (HEAD, 1xx, 204, 304) gets none, 1xx and 204 no length either (RFC 9110 section 8.6, RFC 9112
section 6.1).
"""

from __future__ import annotations

import time

from .grammar import BAD_VALUE
from .headers import check_field
from .message import REASONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, List, Optional, Tuple

    Pair = Tuple[str, str]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

MOST_KNOWN = 256


def http_date(seconds: float) -> str:
    """IMF-fixdate of a time since the epoch (RFC 9110 section 5.6.7)."""
    year, month, day, hour, minute, second, weekday = time.gmtime(seconds)[:7]
    return "%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        _DAYS[weekday], day, _MONTHS[month - 1], year, hour, minute, second)


def bodiless(status: int) -> bool:
    """Whether an answer of this status never has a body."""
    return status < 200 or status == 204 or status == 304


class HeadWriter:
    """Makes heads for one server. `refresh()` once a second keeps the date right.

    `known`: (status, content type, size) -> the whole head of such an answer, made in this second.
    """

    __slots__ = ("known", "_name", "_date", "_second", "_wall")

    def __init__(self, name: str, wall: Callable[[], float] = time.time) -> None:
        check_field("Server", name)
        self.known: Dict[Tuple[int, Optional[str], int], bytes] = {}
        self._name = name
        self._wall = wall
        self._second = -1
        self._date = ""
        self.refresh()

    def refresh(self) -> None:
        """Looks at the wall clock."""
        second = int(self._wall())
        if second != self._second:
            self._second = second
            self._date = http_date(second)
            self.known.clear()

    def common(self, status: int, content_type: Optional[str], size: int) -> bytes:
        """The head of an HTTP/1.1 keep-alive answer of `size` bytes; b"" for a status that has no body."""
        check_status(status)
        if bodiless(status):
            return b""
        headers: List[Pair] = []
        if content_type is not None:
            check_field("Content-Type", content_type)
            headers.append(("Content-Type", content_type))
        headers.append(("Content-Length", str(size)))
        made = self.head(status, "", headers)
        if len(self.known) >= MOST_KNOWN:
            self.known.clear()
        self.known[status, content_type, size] = made
        return made

    def head(self, status: int, reason: str, headers: Iterable[Pair]) -> bytes:
        """Status line, Server and Date (unless given), the headers, blank line.

        ValueError: a reason with control characters, or beyond latin-1.
        """
        if BAD_VALUE(reason):
            raise ValueError("a reason phrase is latin-1 without control characters, not %r" % reason)
        lines = ["HTTP/1.1 %d %s" % (status, reason or REASONS.get(status, "Unknown"))]
        names = set()
        for name, value in headers:
            names.add(name.lower())
            lines.append("%s: %s" % (name, value))
        if "date" not in names:
            lines.insert(1, "Date: " + self._date)
        if self._name and "server" not in names:
            lines.insert(1, "Server: " + self._name)
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def check_status(status: int) -> None:
    """ValueError unless 100 to 999."""
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 999:
        raise ValueError("a status is 100 to 999, not %r" % (status,))
