"""What a TestClient does on a Wire: a request goes out, its answer comes back, whole or piece by piece.

    request_bytes   the bytes of a request
    AnswerReader    reads one answer from a Wire: interim ones, the head, the body in whatever framing
    OpenAnswer      an answer that the test reads as it comes

Not here: which connection, cookies, headers for all requests (testclient.py).
"""

from __future__ import annotations

from ...base.errors import BadResponse, PeerClosed
from ...http.client.answer import Answer
from ...http.http1.observer import ParserObserver
from ...http.http1.parser import Parser
from ...http.http1.requestbody import WANT_BODY, body_of, framing_of
from ...http.http1.requesthead import RequestHeads
from ...http.semantics.message import Request

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional

    from ...http.semantics.headers import Headers
    from ...http.semantics.message import Response
    from ...http.semantics.url import URL
    from .wire import Wire


def request_bytes(method: str, url: URL, headers: Headers, body: Any) -> bytes:
    """A request as it is sent. body: bytes-like, a binary file, or an iterable of bytes, which is sent in chunks.

    ValueError, TypeError: what cannot be sent.
    """
    request = Request(method, url.target, "1.1", headers.items())
    heads = RequestHeads(url, None)
    heads.check(request)
    source = body_of(body)
    framing = framing_of(request.headers, source)
    more = []
    if framing is None:
        if method in WANT_BODY:
            more.append(("Content-Length", "0"))
    elif framing.length is None:
        more.append(("Transfer-Encoding", "chunked"))
    elif "content-length" not in request.headers:
        more.append(("Content-Length", str(framing.length)))
    out = bytearray(heads.head(request, more))
    if framing is not None:
        piece = source.next() if source is not None else None
        while piece is not None and source is not None:
            for part in framing.wrap([piece], len(piece)):
                out += part
            piece = source.next()
        framing.require_all()
        if framing.length is None:
            out += b"0\r\n\r\n"
    return bytes(out)


NOBODY = ParserObserver()


class AnswerReader(ParserObserver):
    """Reads the answer to a request of `method` from `wire`.

    `head`: the Response, None before it has come; `interim`: the 1xx answers before it; `body`: what has come of the body and
    was not taken; `over`: the answer is complete; `upgraded`: another protocol's bytes follow it.
    """

    def __init__(self, wire: Wire, method: str) -> None:
        self.wire: Wire = wire
        self.head: Optional[Response] = None
        self.interim: List[Response] = []
        self.body: bytearray = bytearray()
        self.over: bool = False
        self.upgraded: bool = False
        self._parser = Parser(NOBODY, responses=True)
        self._parser.request_method = method

    @property
    def keeps(self) -> bool:
        """Whether the connection can have another request behind this answer."""
        return self.over and not self.upgraded and self._parser.framing.keep_alive and not self.wire.over

    def pull(self) -> None:
        """Reads what has come. BadResponse, IncompleteBody: it is no answer, or not a whole one; PeerClosed: there is none."""
        if self.over:
            return
        data = self.wire.take()
        if data:
            used = self._parse(self._parser.feed, data)
            self.wire.give_back(data[used:])
            if self.over and used < len(data) and not self.upgraded:
                raise BadResponse("%d bytes behind the answer: %r" % (len(data) - used, data[used:used + 100]))
        elif self.wire.ended:
            if self._parser.idle:
                raise PeerClosed("the server closed the connection without an answer")
            self._parse(self._parser.end)

    def _parse(self, fn: Callable[..., Any], *args: Any) -> Any:
        """`fn` of the parser, which holds this reader meanwhile and no longer: the two would wait for the collector."""
        self._parser.observer = self
        try:
            return fn(*args)
        finally:
            self._parser.observer = NOBODY

    def wait_for_head(self, what: str, timeout: Optional[float]) -> Response:
        """The head of the answer. `what`: the request, for a Deadline."""
        def done() -> Optional[Response]:
            self.pull()
            return self.head

        head: Response = self.wire.wait(done, lambda: "an answer to " + what, timeout)
        return head

    def wait_for_end(self, what: str, timeout: Optional[float]) -> None:
        """Reads on until the answer is complete."""
        def done() -> bool:
            self.pull()
            return self.over

        self.wire.wait(done, lambda: "the end of the answer to %s, of whose body %d bytes have come" % (what, len(self.body)),
                       timeout)

    # called by the parser: True holds it

    def on_head(self, message: Response) -> bool:
        """The head of an interim answer, or of the final one."""
        if message.status < 200 and message.status != 101:
            self.interim.append(message)
            return False
        self.head = message
        self.upgraded = self._parser.framing.upgrade
        self.over = self.upgraded or not self._parser.framing.length
        return self.over

    def on_body(self, view: memoryview) -> bool:
        """A piece of the body."""
        self.body += view
        return False

    def on_end_of_body(self) -> bool:
        """The answer is complete."""
        self.over = True
        return True


class OpenAnswer:
    """An answer that the test reads as it comes; what it does not read, the server finds waiting.

    `status`, `reason`, `headers`, `url`: of its head. `interim`: the 1xx answers before it. `ended`: all of it was read.
    `wire`: the connection, for the ways in which a client can go: wire.reset().
    """

    def __init__(self, url: URL, what: str, reader: AnswerReader, head: Response) -> None:
        known = Answer(url, head, b"")
        self.url: URL = url
        self.status: int = known.status
        self.reason: str = known.reason
        self.headers: Headers = known.headers
        self.interim: List[Response] = reader.interim
        self.wire: Wire = reader.wire
        self._reader = reader
        self._what = what

    @property
    def ended(self) -> bool:
        """Whether the answer is complete, and all of it was read."""
        return self._reader.over and not self._reader.body

    def read(self, size: int, timeout: Optional[float] = None) -> bytes:
        """The next `size` bytes of the body; fewer only when its end came first."""
        body = self._reader.body
        self._wait(lambda: len(body) >= size, "%d bytes" % size, timeout)
        return self._taken(size)

    def read_until(self, ending: bytes, timeout: Optional[float] = None) -> bytes:
        """The bytes up to and with `ending`; what there is when the end came first. Of events: read_until(b"\\n\\n")."""
        body = self._reader.body
        self._wait(lambda: ending in body, repr(ending), timeout)
        place = body.find(ending)
        return self._taken(place + len(ending) if place >= 0 else len(body))

    def read_all(self, timeout: Optional[float] = None) -> bytes:
        """The rest of the body."""
        self._reader.wait_for_end(self._what, timeout)
        return self._taken(len(self._reader.body))

    def receive(self, timeout: Optional[float] = None) -> bytes:
        """What has come of the body: at least a byte; b"" at its end."""
        body = self._reader.body
        self._wait(lambda: len(body) > 0, "more", timeout)
        return self._taken(len(body))

    def close(self) -> None:
        """Closes the connection, whether the answer is complete or not."""
        self.wire.close()

    def __enter__(self) -> OpenAnswer:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<OpenAnswer %d %s>" % (self.status, self.reason)

    def _wait(self, enough: Any, what: str, timeout: Optional[float]) -> None:
        def done() -> bool:
            if not enough():
                self._reader.pull()
            return enough() or self._reader.over

        self.wire.wait(done, lambda: "%s of the answer to %s" % (what, self._what), timeout)

    def _taken(self, size: int) -> bytes:
        body = self._reader.body
        data = bytes(body[:size])
        del body[:size]
        return data
