"""Parser: HTTP/1.1 messages out of bytes, sans-I/O, for requests and for responses.

    parser = Parser(observer)
    used = parser.feed(data)          # fewer than len(data): the observer said to hold
    parser.end()                      # the input has ended

`feed` has three results. *Consumed*: the observer was told of the messages in `data`. *Incomplete*: the parser keeps the
beginning of a message, and the next feed continues it. *Error*: an HttpError, final for the connection; the observer was told
of what came before it.

Rules
- The parser's states and the moves between them are the table MOVES. A connection that became another protocol's (TUNNEL:
  after an upgrade, or CONNECT) takes nothing more: the bytes behind stay unconsumed. FAILED is final.
- Split anywhere, the input gives the same events. Limits apply as the bytes arrive.
- A head is read in one of three ways, the fastest first. All three accept the same inputs: a head, or a field block, that is
  the same as the last one on this connection (one comparison); field lines that the HeaderCache knows, for requests also a
  Template (headcache.py); and the strict reader, line by line. The strict reader takes everything else, and it alone raises
  errors.

Not here: what the observer's calls mean (observer.py), what a head says of its body (framing.py), the patterns
(semantics/grammar.py), writing heads (requesthead.py, responsehead.py).
"""

from __future__ import annotations

from ...base.errors import BadRequest, BadResponse, HttpError, IncompleteBody, TooLarge
from ...base.limits import DEFAULTS
from ...base.state import transitions
from ..semantics import grammar
from ..semantics.headers import Headers
from ..semantics.message import Request, Response
from .framing import (
    CHUNKED,
    NOT_TRAILERS,
    UNTIL_CLOSE,
    Framing,
    chunk_size,
    request_framing,
    request_framing_of,
    response_framing,
)
from .headcache import HeaderCache, Template

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, NoReturn, Optional, Sequence, Tuple

    from ...base.limits import Limits
    from ..semantics.grammar import Pair
    from .observer import ParserObserver

HEAD, FIXED, SIZE, DATA, CRLF, TRAILERS, CLOSE, TUNNEL, FAILED = range(9)
MOVES = transitions({
    HEAD: (FIXED, SIZE, CLOSE, TUNNEL, FAILED),  # inside a head, or between two messages
    FIXED: (HEAD, TUNNEL, FAILED),  # a body of known length
    SIZE: (DATA, TRAILERS, TUNNEL, FAILED),  # the line before a chunk
    DATA: (CRLF, FAILED),
    CRLF: (SIZE, FAILED),  # the line end behind a chunk
    TRAILERS: (HEAD, FAILED),
    CLOSE: (TUNNEL, FAILED),  # a body that lasts until the input ends
    TUNNEL: (),
    FAILED: (),
}, names=("HEAD", "FIXED", "SIZE", "DATA", "CRLF", "TRAILERS", "CLOSE", "TUNNEL", "FAILED"))

LINE_OVER_TARGET = 256  # what a request line may have beside its target
MOST_BLANK = 4  # empty lines before a request line
MOST_EXTENSION = 8192  # bytes of a chunk's first line
MOST_EXTENSIONS = 65536  # bytes of all chunk extensions of a body
MOST_TRAILERS = 16384  # bytes of all trailers
MOST_INTERIM = 262144  # bytes of the heads of all 1xx answers before the final one
BARE_HEAD = 17  # bytes of an answer's head without reason and fields
BACK_OFF = 64  # heads between two attempts to learn a template, once they keep failing

HEXDIGITS = b"0123456789abcdefABCDEF"
MOST_DIGITS = 10  # bytes of a chunk's first line, its end included, that is looked at for nothing but digits
MOST_DECODED = 16384  # bytes in which a template is looked for
_NO_BOUND = 1 << 62
_COMMON = frozenset(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])


class Parser:
    """Parses requests, or with `responses=True` responses (set `request_method` to each request's method before its answer).

    limits: of these max_head (bytes), max_fields and max_target (bytes) count. memo: a HeaderCache that parsers of one loop
    share; None: one of this parser's own.

    `observer`: who is told. `framing`: what the last head says of its body and of the connection. `trailers`: of the last
    body, (name, value) pairs. `partial`: some of a head was read, its end was not. `behind`: bytes that were fed together with
    the last head, and stand behind it.
    """

    __slots__ = (
        "observer", "framing", "trailers", "request_method", "partial", "behind",
        "_limits", "_most_head", "_most_target", "_most_sure", "_responses", "_memo", "_state", "_left", "_irregular",
        "_tail", "_pairs", "_start", "_spent", "_blank",  # the strict reader's
        "_head", "_block_at", "_head_method", "_head_target", "_head_version", "_head_fields", "_head_framing",  # the last head
        "_head_start", "_lead",
        "_template", "_misses",
    )

    MOVES = MOVES

    def __init__(
        self,
        observer: ParserObserver,
        *,
        responses: bool = False,
        limits: Limits = DEFAULTS,
        memo: Optional[HeaderCache] = None,
    ) -> None:
        self.observer: ParserObserver = observer
        self.framing: Framing = _NO_FRAMING
        self.trailers: Sequence[Pair] = ()
        self.request_method: str = "GET"
        self.partial: bool = False  # inside a head, some of it read
        self.behind: int = 0  # bytes fed behind the last head that has a body
        self._limits = limits
        self._most_head = _NO_BOUND if limits.max_head is None else limits.max_head
        self._most_target = _NO_BOUND if limits.max_target is None else limits.max_target
        self._most_sure = min(self._most_head, self._most_target)  # a whole head of this size is within both
        self._responses = responses
        self._memo = HeaderCache() if memo is None else memo
        self._state = HEAD
        self._left = 0  # bytes of the body or chunk; in CRLF: of the line end
        self._tail: Optional[bytearray] = None  # of a line split between feeds
        self._pairs: Any = ()  # a list from the first line on
        self._start: Optional[Tuple[Any, Any, str]] = None  # the first line, once read
        self._spent = 0  # bytes of the head, the trailers or the extensions so far
        self._blank = 0  # empty lines before this request, or bytes of interim answers before this one
        self._irregular = False  # this head is for the strict reader
        self.forget()

    def forget(self) -> None:
        """Drops what is remembered of this connection's heads: the next head is parsed from scratch."""
        self._head: Optional[bytes] = None  # the last head that was remembered, and below what it said
        self._block_at = 0
        self._head_method = self._head_target = ""
        self._head_version = "1.1"
        self._lead = ""  # how the last head began: its method and the first character of its target
        self._head_fields: Any = {}
        self._head_framing = _NO_FRAMING
        self._head_start = (0, "", "1.1")  # of a response, whose first line is in _lead
        self._template: Optional[Template] = None
        self._misses = 0

    @property
    def idle(self) -> bool:
        """Whether the parser is between two messages, and has read nothing of the next one."""
        return self._state == HEAD and not self.partial

    @property
    def left(self) -> int:
        """Bytes of the body that are still to come, where its length is known; else -1."""
        return self._left if self._state == FIXED else 0 if self._state == HEAD else -1

    def feed(self, data: bytes) -> int:
        """Parses `data`; returns the number of bytes used. HttpError: malformed, past a limit, or fed after such an error."""
        at, size = 0, len(data)
        if (data == self._head and self._state == HEAD and not self._irregular and not self._head_framing.length
                and not self._responses):
            self.framing = self._head_framing  # the same head again, and nothing else: no look at it at all
            self.observer.on_head(Request(self._head_method, self._head_target, self._head_version, self._head_fields))
            return size
        while at < size:
            state = self._state
            if state == HEAD:
                at = self._feed_head(data, at)
            elif state == FIXED or state == DATA:
                at = self._feed_body(data, at)
            elif state == CLOSE:
                self.observer.on_body(memoryview(data)[at:])
                return size
            elif state == TUNNEL:
                return at
            else:
                at = self._feed_chunked(data, at)
            if at < 0:
                return -at
        return at

    def end(self) -> None:
        """The input has ended. IncompleteBody: inside a message. A body that lasts until the end gets its on_end_of_body."""
        if self._state == CLOSE:
            self._state = FAILED
            self.observer.on_end_of_body()
        elif self._state not in (TUNNEL, FAILED) and not self.idle:
            self._state = FAILED
            raise IncompleteBody("the input ended inside a message")

    # heads. A _feed method returns where it stopped in `data`; negative (-at): the observer said to hold.

    def _feed_head(self, data: bytes, at: int) -> int:
        if self._irregular:
            return self._feed_head_lines(data, at)
        if self._responses:
            return self._feed_answer(data, at)
        template = self._template
        # first, for heads that vary: one decoding, one look at each hole of the template
        if template is not None and len(data) - at < MOST_DECODED:
            text = str(data[at:] if at else data, "latin-1")
            eol = text.find(" HTTP/1.1\r\n")
            found = template.match(text, eol + 11)
            if found is not None and text.startswith(self._lead):
                fields, end = found
                target = text[len(self._lead) - 1:eol]
                if end <= self._most_sure and target.isprintable() and target.isascii() and " " not in target:
                    self._misses = 1
                    framing = self.framing = template.framing
                    end += at
                    if framing.length:
                        self._body_follows(framing.length, len(data) - end)
                    return -end if self.observer.on_head(Request(self._head_method, target, "1.1", fields)) else end
        # second: all of the head as it was last time, or all but its first line
        head = self._head
        if head is not None and data.startswith(head, at):
            end = at + len(head)
            self.framing = framing = self._head_framing
            request = Request(self._head_method, self._head_target, self._head_version, self._head_fields)
        else:
            eol = data.find(b"\r\n", at)
            common = self._common_line(str(data[at:eol], "latin-1")) if eol > at else None
            if common is None:
                return self._feed_head_lines(data, at)
            method, target, version = common
            block = None if head is None or version != self._head_version else head[self._block_at:]
            if block is not None and data.startswith(block, eol + 2):  # a block ends with its blank line
                fields, framing = self._head_fields, self._head_framing
                end = eol + 2 + len(block)
            else:  # third: each line by way of the header cache
                end = data.find(b"\r\n\r\n", eol) + 4
                found_now = self._remembered(version, data[eol + 2:end], block) if end > 3 else None
                if found_now is None:
                    return self._feed_head_lines(data, at)
                fields, framing = found_now
            self._head, self._block_at = data[at:end], eol + 2 - at
            self._head_method, self._head_target, self._head_version = method, target, version
            self._lead = method + " /"
            self._head_fields, self._head_framing = fields, framing
            self.framing = framing
            request = Request(method, target, version, fields)
        if framing.length:
            self._body_follows(framing.length, len(data) - end)
        return -end if self.observer.on_head(request) else end

    def _common_line(self, line: str) -> Optional[Tuple[str, str, str]]:
        """(method, target, version) of a common request line; None: a line for the strict reader."""
        method, _, rest = line.partition(" ")
        target, version = rest[:-9], rest[-9:]
        if (method not in _COMMON or (version != " HTTP/1.1" and version != " HTTP/1.0") or target[:1] != "/" or " " in target
                or not target.isprintable() or not target.isascii() or len(target) > self._most_target):
            return None
        return method, target, version[-3:]

    def _remembered(
        self, version: str, block: bytes, before: Optional[bytes]
    ) -> Optional[Tuple[Dict[str, str], Framing]]:
        """The fields and the framing of a whole block, by way of the header cache; None: a block for the strict reader.

        From the second block on a template is learned from what varies; more and more seldom while templates do not help. In
        HTTP/1.0 there are none.
        """
        if len(block) > self._most_head:
            return None
        lines = str(block, "latin-1")[:-4].split("\r\n")
        most = self._limits.max_fields
        if most is not None and len(lines) > most:
            return None
        try:
            fields = dict(map(self._memo.__getitem__, lines))
            if len(fields) != len(lines):
                return None
            framing = request_framing_of(version, fields)
        except HttpError:
            return None
        self._misses = misses = self._misses + 1
        if before is not None and version == "1.1" and (not misses & (misses - 1) or not misses % BACK_OFF):
            old = str(before[:-4], "latin-1").split("\r\n")
            self._template = Template.learned(self._template, old, lines, fields, framing)
        return fields, framing

    def _feed_answer(self, data: bytes, at: int) -> int:
        """A response's head: all of it as it was last time, or each line by way of the header cache."""
        head = self._head
        if head is None or not data.startswith(head, at) or self._head_method != self.request_method:
            head = self._remembered_answer(data, at)
            if head is None:
                return self._feed_head_lines(data, at)
        end = at + len(head)
        status, reason, version = self._head_start
        framing = self.framing = self._head_framing
        self._blank = 0
        if framing.length:
            self._body_follows(framing.length, len(data) - end)
        return -end if self.observer.on_head(Response(status, reason, Headers.received(self._head_fields), version)) else end

    def whole(self, data: bytes) -> Optional[Tuple[Response, bytes]]:
        """The answer and its body, if `data` is one final answer and no more; `framing` tells of it, the observer is not told.

        None: no such thing, or no simple one. `feed` may get the same data, as if this had not been called.
        """
        if self._state != HEAD or self._irregular:
            return None
        head = self._head
        if head is None or not data.startswith(head) or self._head_method != self.request_method:
            head = self._remembered_answer(data, 0)
            if head is None:
                return None
        at = len(head)
        framing = self._head_framing
        if len(data) - at != framing.length:
            return None
        self.framing = framing
        self._blank = 0
        self.trailers = []
        status, reason, version = self._head_start
        return Response(status, reason, Headers.received(self._head_fields), version), data[at:]

    def _remembered_answer(self, data: bytes, at: int) -> Optional[bytes]:
        """A whole final head, remembered from now on with what it says; None: a head for the strict reader."""
        eol, end = data.find(b"\r\n", at), data.find(b"\r\n\r\n", at)
        most = self._limits.max_fields
        if end < 0 or eol - at > self._most_target + LINE_OVER_TARGET or end + 2 - eol > self._most_head:
            return None
        first, *lines = str(data[at:end], "latin-1").split("\r\n")
        start = self._head_start if first == self._lead else grammar.status_line(first)
        if start is None or start[0] < 200 or (most is not None and len(lines) > most):
            return None
        try:
            pairs = list(map(self._memo.__getitem__, lines))
            framing = response_framing(start[2], start[0], self.request_method, pairs)
        except HttpError:
            return None
        if framing.upgrade:
            return None
        fields = dict(pairs)
        self._head = head = data[at:end + 4]
        self._head_method, self._head_start, self._lead = self.request_method, start, first
        self._head_fields, self._head_framing = fields if len(fields) == len(pairs) else pairs, framing
        return head

    def _feed_head_lines(self, data: bytes, at: int) -> int:
        """The strict reader: line by line, also across feeds."""
        size = len(data)
        while at < size:
            if self._start is None:
                most = self._most_target + LINE_OVER_TARGET
            else:
                most = self._most_head - self._spent - 2
            self.partial = self._irregular = True
            line, at = self._read_line(data, at, most)
            if line is None:
                return at
            if self._start is None:
                self._first_line(line)
            elif line:
                self._spent += len(line) + 2
                self._field_line(line)
            else:
                return self._head_done(at, size - at)
        return at

    def _first_line(self, line: str) -> None:
        if self._responses:
            start = grammar.status_line(line)
            if start is None:
                self._fail(BadResponse("malformed status line"))
            self._start, self._pairs = start, []
        elif line:
            self._start, self._pairs = self._checked(grammar.request_line, line, self._limits.max_target), []
        else:
            self._blank += 1
            self.partial = False
            if self._blank > MOST_BLANK:
                self._fail(BadRequest("more than %d empty lines before a request" % MOST_BLANK))

    def _field_line(self, line: str) -> None:
        if line[0] in " \t":
            if not self._responses or not self._pairs:
                self._fail(BadRequest("a header line starts with white space"))
            name, value = self._pairs[-1]  # obsolete folding: a user agent reads it as a space (RFC 9112 section 5.2)
            if type(value) is str:
                self._pairs[-1] = (name, [value])
            self._pairs[-1][1].append(line.strip(" \t"))
            return
        if self._limits.max_fields is not None and len(self._pairs) >= self._limits.max_fields:
            self._fail(TooLarge("more than %d header fields" % self._limits.max_fields, 431))
        self._pairs.append(self._checked(grammar.field, line))

    def _head_done(self, at: int, behind: int) -> int:
        assert self._start is not None
        first, second, version = self._start
        pairs = self._pairs
        if self._responses:
            pairs = [(name, value if type(value) is str else " ".join(filter(None, value))) for name, value in pairs]
        fields: Any = dict(pairs)
        if len(fields) != len(pairs):
            fields = pairs
        message: Any
        if self._responses:
            framing = self._checked(response_framing, version, first, self.request_method, pairs)
            message = Response(first, second, Headers.received(fields), version)
            if first < 200 and first != 101:
                self._blank += self._spent + len(second) + BARE_HEAD
                if self._blank > MOST_INTERIM:
                    self._fail(BadResponse("more than %d bytes of interim answers" % MOST_INTERIM))
            else:
                self._blank = 0
            if framing.upgrade:
                self._state = TUNNEL
        else:
            framing = self._checked(request_framing, version, pairs)
            message = Request(first, second, version, fields)
            if first == "CONNECT":  # its answer is no common one
                framing = Framing(framing.length, framing.keep_alive, framing.expect, framing.upgrade)
            self._blank = 0
        self._next_head()
        self.framing = framing
        if framing.length:
            self._body_follows(framing.length, behind)
        return -at if self.observer.on_head(message) else at

    def _next_head(self) -> None:
        self._start, self._pairs = None, ()
        self._spent = 0
        self.partial = False
        self._irregular = False

    # bodies

    def tunnel(self) -> None:
        """Called from on_head: what follows belongs to another protocol, and stays unconsumed."""
        self._state = TUNNEL

    def _body_follows(self, length: int, behind: int) -> None:
        """A head with a body is complete: `behind` bytes of this feed stand behind it."""
        self.behind = behind
        self.trailers = ()
        if length == CHUNKED:
            self.trailers = []
            self._state = SIZE
            self._spent = 0
        elif length == UNTIL_CLOSE:
            self._state = CLOSE
        else:
            self._state = FIXED
            self._left = length

    def _feed_body(self, data: bytes, at: int) -> int:
        size, end = len(data), at + self._left
        if end > size:  # all of it, and more to come
            self._left = end - size
            return -size if self.observer.on_body(memoryview(data)[at:] if at else memoryview(data)) else size
        view = memoryview(data)[at:end]
        if self._state == DATA:
            self._state, self._left = CRLF, 2
            hold = self.observer.on_body(view)
        else:
            self._state, self._left = HEAD, 0
            hold = self.observer.on_body(view)
            hold = self.observer.on_end_of_body() or hold
        return -end if hold else end

    def _feed_chunked(self, data: bytes, at: int) -> int:
        """What is around chunks. The usual bytes take the short way: a whole line end, a size that is nothing but digits."""
        state = self._state
        if state == CRLF:
            if self._left == 2 and data.startswith(b"\r\n", at):
                self._state, self._left = SIZE, 0
                return self._feed_chunked(data, at + 2) if at + 2 < len(data) else at + 2
            if data[at] != b"\r\n"[2 - self._left]:
                self._fail(BadRequest("chunk data is not followed by CRLF"))
            self._left -= 1
            if not self._left:
                self._state = SIZE
            return at + 1
        if state == SIZE:
            end = data.find(b"\r\n", at, at + MOST_DIGITS)
            if end > at and not self._tail and not data[at:end].strip(HEXDIGITS):
                size = int(data[at:end], 16)
                if size:
                    self._state, self._left = DATA, size
                    return self._feed_body(data, end + 2) if end + 2 < len(data) else end + 2
            line, at = self._read_line(data, at, MOST_EXTENSION)
            if line is None:
                return at
            size, extension = self._checked(chunk_size, line)
            self._spent += extension
            if self._spent > MOST_EXTENSIONS:
                self._fail(BadRequest("more than %d bytes of chunk extensions" % MOST_EXTENSIONS))
            self._left = size
            self._state = DATA if size else TRAILERS
            if not size:
                self._spent = 0
            return at
        if state == TRAILERS:
            line, at = self._read_line(data, at, MOST_TRAILERS - self._spent)
            if line is None:
                return at
            if line:
                self._spent += len(line) + 2
                self._trailer_line(line)
                return at
            self._spent = 0
            self._state = HEAD
            return -at if self.observer.on_end_of_body() else at
        self._fail(BadRequest("the connection has failed already"))

    def _trailer_line(self, line: str) -> None:
        if self._limits.max_fields is not None and len(self.trailers) >= self._limits.max_fields:
            self._fail(TooLarge("more than %d trailer fields" % self._limits.max_fields, 431))
        pair = self._checked(grammar.field, line)
        if pair[0] not in NOT_TRAILERS:
            self.trailers.append(pair)  # type: ignore[attr-defined]

    # lines and errors

    def _read_line(self, data: bytes, at: int, most: int) -> Tuple[Optional[str], int]:
        """(the next line without its CRLF, where it ended), of at most `most` bytes; the line is None while incomplete."""
        end = data.find(b"\n", at)
        tail = self._tail
        piece = data[at:] if end < 0 else data[at:end]
        if tail:
            looked = len(tail) - 1  # the last byte of the tail may be a CR
            tail += piece
            raw: Any = tail
        else:
            looked = 0
            raw = piece
        bad = grammar.BAD_LINE(raw, looked)
        if len(raw) > most + (raw[-1:] == b"\r") and (bad is None or bad.start() > most):
            self._too_long()
        if bad is not None:
            self._fail(BadRequest("control character in a line"))
        if end < 0:
            if not tail:
                self._tail = bytearray(raw)
            return None, len(data)
        if raw[-1:] != b"\r":
            self._fail(BadRequest("a line ends with a bare LF"))
        line = str(raw[:-1], "latin-1")
        self._tail = None
        return line, end + 1

    def _too_long(self) -> NoReturn:
        if self._state == HEAD:
            if self._start is None:
                self._fail(BadResponse("status line too long") if self._responses else TooLarge("request line too long", 414))
            self._fail(TooLarge("header section over %d bytes" % (self._limits.max_head or 0), 431))
        self._fail(BadRequest("chunk extension too long" if self._state == SIZE else "trailers too long"))

    def _checked(self, check: Any, *args: Any) -> Any:
        try:
            return check(*args)
        except HttpError as exc:
            self._fail(exc)

    def _fail(self, exc: HttpError) -> NoReturn:
        self._state = FAILED
        self._tail = None
        if self._responses and not isinstance(exc, BadResponse):
            exc = BadResponse(exc.reason)
        try:
            raise exc
        finally:
            del exc  # its traceback holds this frame: the two would wait for the garbage collector, with all behind them


_NO_FRAMING = Framing(0, True)
