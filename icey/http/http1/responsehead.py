"""How an answer's head becomes bytes: the date, the cached prefix of common answers, and the long way for the others.

Rules: every answer has a Date, a reason phrase and one of Content-Length, chunked or close. The engine frames: an answer
that may have no body (HEAD, 1xx, 204, 304) gets none, 1xx and 204 no length either (RFC 9110 section 8.6, RFC 9112
section 6.1).
"""

from __future__ import annotations

import time

from ..semantics.dates import http_date
from ..semantics.grammar import BAD_VALUE, tokens
from ..semantics.headers import Headers, check_field
from ..semantics.status import REASONS, bodiless, check_status

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

    Pair = Tuple[str, str]
    KnownHeads = Dict[Tuple[int, Optional[str], int], bytes]


CHUNKED_SIZE = -1  # in the place of a size
LAST, KEPT = b"Connection: close\r\n\r\n", b"Connection: keep-alive\r\n\r\n"
MOST_KNOWN = 256  # heads, and field lines, that are remembered
LONGEST_KNOWN = 256  # bytes of a field line that is remembered

ORDINARY, TYPE, LENGTH, CODING, CONNECTION, DATE, SERVER = range(7)  # kinds of fields: all but the first concern the engine
_KINDS = {
    "content-type": TYPE, "content-length": LENGTH, "transfer-encoding": CODING, "connection": CONNECTION, "date": DATE,
    "server": SERVER,
}


class AnswerFields:
    """The fields of an answer after one pass over them: what the engine has to know of is set apart.

    `type`, `connection`: lines (bytes) of these fields. `length`: the first Content-Length given, a str, else None.
    `coding`: a Transfer-Encoding was given. `close`: Connection says so. `dated`, `named`: Date, Server are among `others`,
    the lines of all other fields.
    """

    __slots__ = ("type", "length", "coding", "connection", "close", "dated", "named", "others")

    def __init__(self) -> None:
        self.type: bytes = b""
        self.length: Optional[str] = None
        self.coding: bool = False
        self.connection: bytes = b""
        self.close: bool = False
        self.dated: bool = False
        self.named: bool = False
        self.others: List[bytes] = []

    def add(self, kind: int, line: bytes, value: str) -> None:
        """Takes a field in that is not ORDINARY."""
        if kind == TYPE:
            self.type += line
        elif kind == LENGTH:
            self.length = value if self.length is None else self.length
        elif kind == CODING:
            self.coding = True
        elif kind == CONNECTION:
            self.connection += line
            self.close = self.close or "close" in tokens(value)
        else:
            self.dated = self.dated or kind == DATE
            self.named = self.named or kind == SERVER
            self.others.append(line)


class HeadWriter:
    """Makes heads for one server. `refresh()` once a second keeps the date right.

    (status, content type, size) -> the whole head of such an answer without further fields, made in this second: `known`, where
    the connection stays, `kept`, the same to HTTP/1.0, `last`, where it does not. size: CHUNKED_SIZE for a chunked body.
    """

    __slots__ = ("known", "kept", "last", "_lines", "_starts", "_name", "_date", "_second", "_wall")

    def __init__(self, name: str, wall: Callable[[], float] = time.time) -> None:
        check_field("Server", name)
        self.known: KnownHeads = {}
        self.kept: KnownHeads = {}
        self.last: KnownHeads = {}
        self._lines: Dict[Pair, Tuple[int, bytes]] = {}  # a field -> its kind and its line, checked
        self._starts: Dict[int, bytes] = {}  # status -> status line, Server and Date, made in this second
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
            for known in (self.known, self.kept, self.last):
                known.clear()
            self._starts.clear()

    def common(self, known: KnownHeads, status: int, content_type: Optional[str], size: int) -> bytes:
        """The head of such an answer, to be among `known`; b"" for one that has no body although `size` says so, or is none."""
        check_status(status)
        if bodiless(status):
            if size or status < 200:
                return b""
            frame = b""
        elif size == CHUNKED_SIZE:
            frame = b"Transfer-Encoding: chunked\r\n"
        else:
            frame = b"Content-Length: %d\r\n" % size
        kind = b"" if content_type is None else self.line("Content-Type", content_type)[1]
        made = b"".join((self._start(status, ""), kind, frame, self._tail(known)))
        if len(known) >= MOST_KNOWN:
            known.clear()
        known[status, content_type, size] = made
        return made

    def extended(self, known: KnownHeads, status: int, content_type: Optional[str], size: int, headers: Any) -> bytes:
        """A head among `known`, with these fields more; they may say the content type, if that is None, and the size.

        b"": it takes the long way, where what is wrong is told: a field concerns the engine, or cannot be sent, or says another
        size, or they are neither pairs that can be looked at twice nor a mapping.
        """
        if type(headers) is not list and type(headers) is not tuple:
            if type(headers) is not dict and type(headers) is not Headers:
                return b""
            headers = headers.items()
        remembered, lines, theirs, length = self._lines, [], None, None
        try:
            for name, value in headers:
                kind, line = remembered.get((name, value)) or self.line(name, value)
                if not kind:
                    lines.append(line)
                elif kind == TYPE and theirs is None:
                    theirs = value
                elif kind == LENGTH and length is None and value == str(size) and not bodiless(status):
                    length = value
                else:
                    return b""
        except (TypeError, ValueError):
            return b""
        if content_type is None:
            content_type = theirs
        head = known.get((status, content_type, size)) or self.common(known, status, content_type, size)
        tail = self._tail(known)
        return b"".join((head[:-len(tail)], *lines, tail)) if head else b""

    def _tail(self, known: KnownHeads) -> bytes:
        """How these heads end."""
        return b"\r\n" if known is self.known else LAST if known is self.last else KEPT

    def fields(self, *sources: Iterable[Pair]) -> AnswerFields:
        """One pass over the fields of an answer; ValueError, TypeError: one that cannot be sent."""
        found = AnswerFields()
        known, others = self._lines, found.others
        for source in sources:
            for name, value in source:
                kind, line = known.get((name, value)) or self.line(name, value)
                if kind:
                    found.add(kind, line, value)
                else:
                    others.append(line)
        return found

    def line(self, name: str, value: str) -> Tuple[int, bytes]:
        """A field's kind and its line; ValueError, TypeError: it cannot be sent. Neither secrets nor long lines are kept."""
        check_field(name, value)
        key = name.lower()
        made = _KINDS.get(key, ORDINARY), ("%s: %s\r\n" % (name, value)).encode("latin-1")
        if len(made[1]) <= LONGEST_KNOWN and key != "set-cookie":
            if len(self._lines) >= MOST_KNOWN:
                self._lines.clear()
            self._lines[name, value] = made
        return made

    def made(self, status: int, reason: str, fields: AnswerFields, frame: bytes) -> bytes:
        """The whole head: status line, Server and Date (unless given), what says what the body is, the rest, blank line.

        frame: the line that frames the body, b"" for none. ValueError: a reason with control characters, or beyond latin-1.
        """
        if fields.dated or fields.named:
            start = self._new_start(status, reason, not fields.dated, not fields.named)
        else:
            start = self._start(status, reason)
        return b"".join((start, fields.type, frame, *fields.others, fields.connection, b"\r\n"))

    def head(self, status: int, reason: str, headers: Iterable[Pair]) -> bytes:
        """As `made`, of pairs among which the framing is."""
        fields = self.fields(headers)
        frame = b"" if fields.length is None else self.line("Content-Length", fields.length)[1]
        return self.made(status, reason, fields, frame)

    def _start(self, status: int, reason: str) -> bytes:
        if reason:
            return self._new_start(status, reason, True, True)
        start = self._starts.get(status)
        if start is None:
            start = self._starts[status] = self._new_start(status, "", True, True)
        return start

    def _new_start(self, status: int, reason: str, dated: bool, named: bool) -> bytes:
        if BAD_VALUE(reason):
            raise ValueError("a reason phrase is latin-1 without control characters, not %r" % reason)
        text = "HTTP/1.1 %d %s\r\n" % (status, reason or REASONS.get(status, "Unknown"))
        if named and self._name:
            text += "Server: %s\r\n" % self._name
        if dated:
            text += "Date: %s\r\n" % self._date
        return text.encode("latin-1")


def length_of(headers: Headers) -> Optional[int]:
    """The Content-Length among these fields, CHUNKED_SIZE without one; None: it is no usual number."""
    given = headers.get("content-length")
    if given is None:
        return CHUNKED_SIZE
    return int(given) if given.isdigit() and given.isascii() and len(given) < 19 else None
