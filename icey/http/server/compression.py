"""Server(compress=True): answers of text are gzipped where the client takes that (RFC 9110 section 8.4, RFC 1952).

Rules
- What is compressed: text, JSON, JavaScript, XML, SVG (semantics/codings.py), of at least LEAST bytes where the size is known.
  Not what the application has made its own: with a Content-Encoding, a Content-Range, `Cache-Control: no-transform`, or sent
  piece by piece with a Content-Length; not files (`send_file`).
- Each `send()` is flushed, so that what was sent can be read at once. What is sent is copied, `done` tells as ever.
- Caches are told: Vary has Accept-Encoding, beside what was there, whether this client takes gzip or not; a strong ETag becomes
  a weak one, since it named other bytes, and Accept-Ranges, which speaks of those, goes. A 304 says what that answer said: a
  client that has the weak ETag gets it again (RFC 9110 section 15.4.5; a cache would find nothing to update, RFC 9111 4.3.4).
- A secret and what a client may choose should not be compressed together (BREACH): such an answer says `no-transform`.
- (opt zlib) Without it nothing is compressed; the log says so once a server.

Not here: files that are compressed already, beside others (static.py).
"""

from __future__ import annotations

from ...base import log
from ...base.buffer import flat, let_go
from ...base.errors import StateError
from ..semantics.codings import is_text, takes
from ..semantics.grammar import tokens
from ..semantics.headers import Headers, pairs_of
from ..semantics.message import Response
from ..semantics.status import bodiless
from .exchange import OPEN, SENDING, Exchange

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Optional, Type

    from typing_extensions import Buffer

    from ...base.buffer import Done
    from ..semantics.headers import HeadersLike
    from ..semantics.message import Request
    from .connection import ServerConnection

LEAST = 1024  # bytes of a body: below, the head weighs more than what is saved
LEVEL = 5  # of 9: three quarters of the time of the usual 6, for a hundredth more bytes
PIECE = 65536  # bytes of a file at a time, where it goes into a compressed answer
AS_THEY_ARE = ("content-encoding", "content-range", "content-digest", "content-md5")  # headers that speak of these very bytes
_GZIP = 16  # added to zlib's wbits: gzip's frame
_WHOLE, _STREAMED = (15, 8), (13, 5)  # wbits and memory level: 256 KiB for a moment, or 48 KiB for as long as an answer goes on


def exchange_class() -> Type[Exchange]:
    """What a server that compresses makes for each request."""
    try:
        import zlib  # noqa: F401
    except ImportError:
        log.warning("http", "Server(compress=True) needs `zlib`, which is missing here: answers go out as they are")
        return Exchange
    return CompressedExchange


class CompressedExchange(Exchange):
    """An exchange whose answer is compressed where that is worth it."""

    __slots__ = ("_coder", "_as_it_is")

    def __init__(self, connection: ServerConnection, request: Request) -> None:
        super().__init__(connection, request)
        self._coder: Any = None  # of an answer that goes out piece by piece
        self._as_it_is = False

    def respond(
        self, status: int = 200, body: Buffer = b"", content_type: Optional[str] = None, headers: HeadersLike = None
    ) -> None:
        """As Exchange.respond, compressed."""
        size = _size(body) if self.stage == OPEN else 0
        if size >= LEAST:
            whole = self._headers(content_type, headers)
            length = whole.get("content-length")
            if length in (None, str(size)) and self._negotiate(status, whole):
                if length is not None:
                    del whole["Content-Length"]
                coder, data = _coder(*_WHOLE), flat(body)
                packed = coder.compress(data) + coder.flush()
                let_go([data] if data is not body else ())
                body = packed
            self._response = Response(status, self.response.reason, whole)
            content_type = headers = None
        elif self.stage == OPEN and status == 304:
            whole = self._headers(content_type, headers)
            self._confirm(whole)
            self._response = Response(status, self.response.reason, whole)
            content_type = headers = None
        elif self.stage == OPEN and self.request.method == "HEAD" and not size and isinstance(body, bytes):
            whole = self._headers(content_type, headers)
            length = whole.get("content-length", "")
            if length.isascii() and length.isdigit() and int(length) >= LEAST:
                shorter = self._negotiate(status, whole)
                self._response = Response(status, self.response.reason, whole)
                content_type = headers = None
                if shorter:
                    del whole["Content-Length"]  # it is of the answer as it is, and GET's would be shorter
                    self._as_it_is = True
                    self.send_head()
                    super().end()
                    return
        super().respond(status, body, content_type, headers)

    def send_head(self) -> None:
        """As Exchange.send_head; decides whether what follows is compressed."""
        response = self.response
        if response.status == 304:
            self._confirm(response.headers)
        if not self._as_it_is and "content-length" not in response.headers:
            if self._negotiate(response.status, response.headers) and self.request.method != "HEAD":
                self._coder = _coder(*_STREAMED)
        super().send_head()

    def send_parts(self, data: Any, done: Done, owned: bool) -> bool:
        """As Exchange.send_parts, compressed and flushed."""
        if self.stage == OPEN:
            self.check_thread()
            self.send_head()
        coder = self._coder
        if coder is None:
            return super().send_parts(data, done, owned)
        given = data if isinstance(data, (list, tuple)) else (data,)
        parts = list(map(flat, given))
        size = sum(map(len, parts))
        self.begin_body(size and size + size // 512 + 64, True, done)  # before: what does not fit leaves the coder as it was
        packed = b"".join(map(coder.compress, parts)) + coder.flush(_zlib().Z_SYNC_FLUSH) if size else b""
        let_go(parts, given)
        return self.put([packed], len(packed), done, True)

    def send_file(self, file: BinaryIO, offset: int, count: int, done: Done = None, *, close: bool = True) -> bool:
        """As Exchange.send_file: a file is not compressed, but for one that goes into an answer which is.

        That one is compressed at once, and the loop waits for it: there a large file is for who sends it piece by piece.
        """
        if self.stage == OPEN:
            self._as_it_is = True
        if self._coder is None:
            return super().send_file(file, offset, count, done, close=close)
        try:
            self.begin_body(count, True, done)
            file.seek(offset)
            left = count
            while left:
                piece = file.read(min(left, PIECE))
                if not piece:
                    self.connection.abort()
                    raise StateError("send_file() of a file that ends %d bytes early" % left, "send what there is",
                                     "the engine frames")
                left -= len(piece)
                packed = self._coder.compress(piece)
                if not left:
                    packed += self._coder.flush(_zlib().Z_SYNC_FLUSH)
                self.put([packed], len(packed), None if left else done, True)
        finally:
            if close:
                file.close()
        return self.connection.room()

    def end(self) -> None:
        """As Exchange.end, behind the end of what is compressed."""
        coder, self._coder = self._coder, None
        if self.stage == OPEN:
            self._as_it_is = True  # it is empty
        elif coder is not None and self.stage == SENDING:
            self.check_thread()
            tail = coder.flush()
            self.put([tail], len(tail), None, True)
        super().end()

    def _headers(self, content_type: Optional[str], headers: HeadersLike) -> Headers:
        """Those of `response`, and what respond() was given, in one."""
        self.check_thread()
        whole = Headers([*self.response.headers.items(), *pairs_of(headers)])
        if content_type is not None:
            whole["Content-Type"] = content_type
        return whole

    def _negotiate(self, status: int, headers: Headers) -> bool:
        """Whether the answer is to be compressed; its headers say so, and that it depends on what the client takes."""
        if bodiless(status) or status == 206 or not is_text(headers.get("content-type")):
            return False
        if any(name in headers for name in AS_THEY_ARE):
            return False
        if any("no-transform" in tokens(value) for value in headers.get_all("cache-control")):
            return False
        _vary(headers)
        if not takes("gzip", self.request.headers.get_all("accept-encoding")):
            return False
        headers["Content-Encoding"] = "gzip"
        if "accept-ranges" in headers:
            del headers["Accept-Ranges"]  # a range would be of the bytes as they are
        etag = headers.get("etag")
        if etag is not None and not etag.startswith("W/"):
            headers["ETag"] = "W/" + etag
        return True

    def _confirm(self, headers: Headers) -> None:
        """The headers of a 304 are those that the compressed answer had, where the client has that one."""
        weak = "W/" + headers.get("etag", "")
        if weak[2:3] == '"' and any(weak in value for value in self.request.headers.get_all("if-none-match")):
            headers["ETag"] = weak
            _vary(headers)


def _vary(headers: Headers) -> None:
    """Caches are told that the answer depends on what the client takes."""
    varies = headers.get_all("vary")
    if not any(name in ("accept-encoding", "*") for value in varies for name in tokens(value)):
        headers["Vary"] = ", ".join([*varies, "Accept-Encoding"])


def _size(body: Any) -> int:
    """Bytes of a body that is bytes-like, 0 for any other."""
    if not isinstance(body, (bytes, bytearray, memoryview)):
        return 0
    with memoryview(body) as view:
        return view.nbytes


def _zlib() -> Any:
    import zlib

    return zlib


def _coder(bits: int, memory: int) -> Any:
    zlib = _zlib()
    return zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP + bits, memory)
