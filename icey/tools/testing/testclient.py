"""TestClient: asks a handler, or a whole Server, without a socket and in virtual time.

    def test_hello():
        client = TestClient(lambda exchange: exchange.respond(200, b"Hello"))
        assert client.get("/").body == b"Hello"

What is tested is what runs elsewhere: Server, ServerConnection, Exchange, over streams whose other end is in the test's hand.

Rules
- A call returns when its answer is complete; virtual time passes until then, however the handler answers: at once, from a
  timer, from a thread of a ThreadPool. An answer that does not come is Deadline after `timeout` virtual seconds, and says what
  the exchange waits for.
- What a slot raises leaves the call, with its own traceback; so do broken contracts, for the loop is in debug mode. With
  raise_exceptions=False the client gets the 500 that a real one would get, and `errors` has what was raised.
- Connections are kept alive as a real client keeps them, and cookies are. Redirects are not followed: a test looks at them.
- `close()`, or the end of a `with` block, closes the connections, the server and the client's own loop, which warns
  (ResourceWarning) of sockets that are still open. A client that is merely dropped is closed without a word.

Not here: the connections (wire.py), requests and answers on them (exchanges.py), WebSockets (websocket.py), time (driver.py).
"""

from __future__ import annotations

import time

from ...base.errors import ConnectError, StateError
from ...http.client.answer import Answer
from ...http.client.cookiejar import CookieJar
from ...http.semantics.headers import Headers, pairs_of
from ...http.semantics.url import URL
from ...http.server.answerstream import FLOWING, WHOLE
from ...http.server.exchange import OPEN
from ...http.server.server import Server
from ...http.server.states import ServerState
from ...http.websocket.offer import Offer
from ...net.tcp import TCPSocket
from .clock import virtual_loop
from .driver import Driver
from .exchanges import AnswerReader, OpenAnswer, request_bytes
from .memory import MemorySocket
from .websocket import TestWebSocket
from .wire import Wire

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

    from ...base.limits import Limits
    from ...base.loop import Loop
    from ...http.semantics.headers import HeadersLike
    from ...http.server.exchange import Exchange
    from ...http.websocket.compression import Compression
    from .clock import VirtualClock

    Handler = Callable[[Exchange], Any]
    Origin = Tuple[str, str, int]

HOST = "testserver"
TIMEOUT = 60.0  # virtual seconds
FIRST_PORT = 40000  # of the clients, as a server is told


class MemoryStream(TCPSocket):
    """The server's stream over a MemorySocket. `secure`: whether it counts as encrypted."""

    __slots__ = ("secure",)

    def __init__(self, loop: Loop, sock: MemorySocket, secure: bool) -> None:
        self.secure: bool = secure
        super().__init__(loop, sock, sock.getpeername())  # type: ignore[arg-type]


class Idle:
    """The connections that are kept for the next request. `wires`: one for each origin."""

    def __init__(self) -> None:
        self.wires: Dict[Origin, Wire] = {}

    def look(self) -> None:
        """Lets go of those that the server has ended, as any client does."""
        for origin, wire in list(self.wires.items()):
            if wire.over:
                del self.wires[origin]
                wire.close()


class TestClient:
    """A client of `app`: a function of an exchange, a slot object such as StaticFiles, several of these in a list, or a Server
    that was not started, on a loop of `virtual_loop()`, and made without tls.

    debug: whether contracts are watched; limits: an icey.Limits for the server; both of a handler alone, a Server has its own.
    raise_exceptions: whether what a slot raises leaves the call. timeout: virtual seconds of a wait that says none. headers:
    for every request. host: the Host of a URL that is a path. cookies: whether they are kept.

    `server`, `loop`, `clock`: what is tested, its loop, and the VirtualClock. `jar`: the CookieJar, or None. `headers`: those
    for every request, a Headers. `errors`: what slots raised, with raise_exceptions=False. `closed`.
    """

    __test__ = False  # no test, for pytest

    def __init__(
        self, app: Union[Server, Handler, Sequence[Handler]], *, debug: bool = True, raise_exceptions: bool = True,
        timeout: float = TIMEOUT, headers: HeadersLike = None, host: str = HOST, cookies: bool = True,
        limits: Optional[Limits] = None,
    ) -> None:
        self.closed: bool = True  # until all is there: __del__ may come early
        if isinstance(app, Server):
            self.server: Server = app
            self._own_loop = False
        else:
            loop, _ = virtual_loop(debug)
            self._own_loop = True
            try:
                self.server = Server(loop, HOST, 80, limits=limits)
                handlers: Any = app if isinstance(app, (list, tuple)) else [app]
                for handler in handlers:
                    self.server.on_request.attach(handler)
            except BaseException:
                loop.close()
                raise
        self.loop: Loop = self.server.loop
        self._driver = Driver(self.loop, timeout, raise_exceptions)
        self.clock: VirtualClock = self._driver.clock
        clock = self.clock  # which the jar has, and not this client: one that is dropped is gone
        self.headers: Headers = Headers(headers)
        began = time.time() - clock()
        self.jar: Optional[CookieJar] = CookieJar(lambda: began + clock()) if cookies else None
        self._host = host
        self._wires: Dict[Wire, None] = {}  # that are in use, or were handed out
        self._idle = Idle()
        self._driver.each_turn[self._idle.look] = None
        self._ports = FIRST_PORT
        self.server.start(listening=False)
        self.closed = False

    # requests

    def get(self, url: Any, *, headers: HeadersLike = None, timeout: Optional[float] = None) -> Answer:
        """As `request`, with GET."""
        return self.request("GET", url, headers=headers, timeout=timeout)

    def post(
        self, url: Any, *, body: Any = None, json: Any = None, form: Any = None, headers: HeadersLike = None,
        timeout: Optional[float] = None,
    ) -> Answer:
        """As `request`, with POST."""
        return self.request("POST", url, headers=headers, body=body, json=json, form=form, timeout=timeout)

    def request(
        self, method: str, url: Any, *, headers: HeadersLike = None, body: Any = None, json: Any = None, form: Any = None,
        timeout: Optional[float] = None,
    ) -> Answer:
        """Asks, and returns the whole answer, an Answer: .status .reason .headers .body, .text() .json() .ok

        url: a path such as "/search?q=1", or a whole URL: https counts as encrypted. body: bytes-like, a binary file, or an
        iterable of bytes, sent in chunks; it goes along with the head, whatever Expect says. json: a value to be sent as JSON.
        form: pairs or a mapping, sent urlencoded.
        Raises what a slot raised; Deadline where no answer comes; PeerClosed, ConnectionResetError or HttpError where it is
        none, or not a whole one; ValueError and TypeError for what cannot be sent.
        """
        url, what, reader = self._ask(method, url, headers, body, json, form)
        wire = reader.wire
        try:
            head = reader.wait_for_head(what, timeout)
            self._store_cookies(url, reader)
            reader.wait_for_end(what, timeout)
        except BaseException:
            self._drop(wire)
            raise
        if reader.keeps:
            self._wires.pop(wire, None)
            self._idle.wires[url.origin] = wire
        elif not reader.upgraded:
            self._drop(wire)
        self._driver.settle()
        return Answer(url, head, bytes(reader.body))

    def open(
        self, url: Any, *, method: str = "GET", headers: HeadersLike = None, body: Any = None, timeout: Optional[float] = None
    ) -> OpenAnswer:
        """Asks, and returns when the head of the answer is here; the body is read from what is returned, as it comes.

        For answers that go on: server-sent events, streams, long polls. Raises as `request`.
        """
        url, what, reader = self._ask(method, url, headers, body, None, None)
        try:
            head = reader.wait_for_head(what, timeout)
            self._store_cookies(url, reader)
        except BaseException:
            self._drop(reader.wire)
            raise
        return OpenAnswer(url, what, reader, head)

    def websocket(
        self, url: Any, *, subprotocols: Sequence[str] = (), headers: HeadersLike = None, compression: Compression = True,
        timeout: Optional[float] = None,
    ) -> TestWebSocket:
        """Opens a WebSocket, whose handshake is done when this returns. url: a path, or a URL with ws, wss, http or https.

        HttpError where the server refuses it, with the status of its answer; else raises as `request`.
        """
        offer = Offer(subprotocols, compression)
        fields = Headers(headers)
        for name, value in offer.fields():
            fields[name] = value
        url, what, reader = self._ask("GET", url, fields, None, None, None)
        wire = reader.wire
        try:
            head = reader.wait_for_head(what, timeout)
            self._store_cookies(url, reader)
            agreed = offer.check(head)
            ws = TestWebSocket(self._driver, wire, agreed)
        except BaseException:
            self._drop(wire)
            raise
        self._driver.settle()
        return ws

    def connect(self, *, secure: bool = False, peer: Optional[Tuple[str, int]] = None) -> Wire:
        """A connection of raw bytes: for half requests, for what is no HTTP, for peers that go. peer: the client's address.

        ConnectError where the server has stopped.
        """
        self._require_open("connect")
        server = self.server
        if server.closing or self.loop.closed:
            raise ConnectError("the server has stopped, and listens no more")
        self._ports += 1
        sock = MemorySocket(("127.0.0.1", 443 if secure else 80), peer or ("127.0.0.1", self._ports))
        stream = MemoryStream(self.loop, sock, secure)
        server.take(stream)
        wire = Wire(self._driver, sock, lambda: _state_of(server, stream))  # not the client: one that is dropped is gone
        self._wires = {other: None for other in self._wires if not other.closed}
        self._wires[wire] = None
        return wire

    # time

    def advance(self, seconds: float) -> None:
        """Has `seconds` of virtual time pass, and happen what is due by then."""
        self._require_open("advance")
        self._driver.advance(seconds)

    def wait_for(self, condition: Callable[[], Any], timeout: Optional[float] = None) -> Any:
        """Turns the loop until `condition()` is true, and returns its value. Deadline after `timeout` virtual seconds."""
        self._require_open("wait_for")
        return self._driver.until(condition, lambda: "%r to be true" % (condition,), timeout)

    @property
    def errors(self) -> List[Exception]:
        """What slots raised, with raise_exceptions=False."""
        return self._driver.errors

    # the end

    def close(self) -> None:
        """Closes the connections, the server, and the loop where it is the client's own. Raises what slots raised meanwhile."""
        if self.closed:
            return
        self.closed = True
        told = False
        try:
            if not self.loop.closed:
                for wire in [*self._wires, *self._idle.wires.values()]:
                    wire.close()
                self._driver.settle()
                self.server.close()
                self._driver.settle()
            told = True
        finally:
            self._release(told)

    def __enter__(self) -> TestClient:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if any(exc_info):
            self._release(False)
        else:
            self.close()

    def __del__(self) -> None:
        if not getattr(self, "closed", True):
            self._release(False)

    def _release(self, tell: bool) -> None:
        """Lets go of everything. tell: whether the loop may warn of what is open; it does not where an exception says why."""
        self.closed = True
        self._wires.clear()
        self._idle.wires.clear()
        self._driver.release()
        if self._own_loop:
            self.loop.__exit__(*(() if tell else (True,)))
        elif not tell and not self.server.closing and not self.loop.closed:
            self.server.close()

    # inside

    def _require_open(self, verb: str) -> None:
        if self.closed:
            raise StateError("%s() on a TestClient that is closed" % verb, "make a new one")
        if self.loop.running and verb != "connect":
            raise StateError("%s() inside a running loop, which it would turn" % verb,
                             "ask outside of slots; a handler that asks another server takes icey.http.Client",
                             "one turn at a time")

    def _url(self, url: Any) -> URL:
        if isinstance(url, str) and url.startswith("/"):
            url = "http://" + self._host + url
        where = URL.of(url)
        if where.scheme not in ("http", "https", "ws", "wss"):
            raise ValueError("a TestClient speaks http and https, ws and wss, not %r" % where.scheme)
        return where

    def _ask(
        self, method: str, url: Any, headers: HeadersLike, body: Any, json: Any, form: Any
    ) -> Tuple[URL, str, AnswerReader]:
        """Sends a request: (its URL, its words for an error, the reader of its answer)."""
        self._require_open("request")
        where = self._url(url)
        fields = Headers(self.headers)
        given = Headers(headers)
        for name in {name.lower() for name, _ in given.items()}:
            if name in fields:
                del fields[name]
        for name, value in pairs_of(given):
            fields.add(name, value)
        body = _encoded(body, json, form, fields)
        if self.jar is not None:
            cookies = self.jar.header(where)
            if cookies and "cookie" not in fields:
                fields["Cookie"] = cookies
        data = request_bytes(method, where, fields, body)
        self._idle.look()
        wire = self._idle.wires.pop(where.origin, None)
        if wire is None:
            wire = self.connect(secure=where.secure)
        self._wires[wire] = None
        wire.send(data)
        return where, "%s %s" % (method, where.target), AnswerReader(wire, method)

    def _store_cookies(self, url: URL, reader: AnswerReader) -> None:
        if self.jar is not None and reader.head is not None and "set-cookie" in reader.head.headers:
            self.jar.store(url, reader.head.headers.get_all("set-cookie"))

    def _drop(self, wire: Wire) -> None:
        self._wires.pop(wire, None)
        wire.close()

    def __repr__(self) -> str:
        return "<TestClient of %r%s>" % (self.server, ", closed" if self.closed else "")


def _state_of(server: Server, stream: TCPSocket) -> str:
    """What `server` is doing with `stream`, in words."""
    if stream.closing:
        return "the server has closed the connection"
    connection = next((one for one in server.connections if one.stream is stream), None)
    if connection is None:
        return "the server waits for a PROXY header"
    exchange = connection.exchange
    if connection.state is ServerState.UPGRADED:
        return "another protocol has the connection, and is silent"
    if exchange is None:
        return "the server waits for a request, or for the rest of one"
    what = "%s %s" % (exchange.request.method, exchange.request.target)
    if exchange.stage != OPEN:
        return "the answer to %s was begun, and end() has not come" % what
    if connection.intake == FLOWING:
        return "the handler of %s waits for the body, which is not all here, or is paused" % what
    if connection.intake != WHOLE:
        return "the handler of %s has neither answered nor asked for the body (collect(), on_payload)" % what
    return "the handler of %s has not answered%s" % (what, _pending(server))


def _pending(server: Server) -> str:
    """What is on the loop that may still answer, in words."""
    theirs = [handle.title() for handle in server.loop.handles
              if handle.has_ref and handle is not server and not isinstance(handle, MemoryStream)]
    if not theirs:
        return ", and nothing is on the loop that could"
    more = ", and %d more" % (len(theirs) - 5) if len(theirs) > 5 else ""
    return "; on the loop are: %s%s" % (", ".join(theirs[:5]), more)


def _encoded(body: Any, json: Any, form: Any, fields: Headers) -> Any:
    """The body, and its Content-Type where `fields` has none."""
    if sum(one is not None for one in (body, json, form)) > 1:
        raise TypeError("body, json and form are three ways to say one thing: take one of them")
    kind = None
    if json is not None:
        from json import dumps

        body, kind = dumps(json).encode("utf-8"), "application/json"
    elif form is not None:
        from ...http.semantics.urlencoding import urlencode

        body, kind = urlencode(form), "application/x-www-form-urlencoded"
    if kind is not None and "content-type" not in fields:
        fields["Content-Type"] = kind
    return body
