"""EventSource: the events of a server, for as long as one likes: Server-Sent Events (WHATWG HTML section 9.2).

    source = EventSource(loop, "http://127.0.0.1:8000/events")
    source.on_event += lambda source, event: print(event.id, event.type, event.data)
    source.start()

Rules
- It opens with an answer 200 of the type text/event-stream. When that ends, in order or not, or none comes, on_error tells, and
  after a rest of `source.retry_in` seconds it is asked for again, with the id of the last event as Last-Event-ID: what the
  server sent meanwhile is not lost if the server knows what follows that id.
- The rests double, with jitter, within `retry`; the stream's own `retry` field takes the place of the lower bound. They begin
  anew once a stream has lived longer than the rest before it.
- 204 is the end: on_close. Any other answer but 5xx, 408 and 429 (their Retry-After holds as far as the upper bound), another
  type or a content coding (none is asked for), and an event over limits.max_message is the end, too: on_error, with `retry_in`
  None, then on_close.
- Redirects are followed anew at each attempt: `url` stays. Cookies are kept; credentials do not follow to another origin.
- An event counts as seen when it is told: `last_event_id` is its id in the slots of on_event, and stays when a slot raises,
  which goes to loop.on_error while the stream goes on. Attach before `start()`: what nobody is attached to is not kept.
- A silent stream is no dead one. With `idle_timeout` it is taken for one after so many seconds without a byte (a server that
  sends comments: SseAdapter's keep_alive). Without, the kernel probes the connection (SO_KEEPALIVE): where it can be told how
  often, a host that is gone is found out within a minute and a half; one that hangs is not.

How it works: each attempt is a Call of a Client of its own. States: ReconnectState, in comeback.py.

Not here: the format (semantics/eventstream.py), when to come again (comeback.py), redirects and the like (call.py).
"""

from __future__ import annotations

import socket

from ...base.errors import BadResponse, HttpError, NetError, PeerClosed, ProtocolError, StateError
from ...base.handle import OPEN
from ...base.limits import limits_of
from ...base.signal import Event
from ...base.timer import seconds
from ..semantics.eventstream import EventStreamParser
from ..semantics.headers import Headers
from ..semantics.url import URL
from .client import Client
from .comeback import ComesBack, ReconnectState, passes, wanted_by

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Tuple

    from typing_extensions import Self

    from ...base.limits import Limits
    from ...base.loop import Loop
    from ..semantics.eventstream import ServerSentEvent
    from ..semantics.headers import HeadersLike
    from ..semantics.message import Response
    from .answer import Answer
    from .call import Call

STREAM_TYPE = "text/event-stream"
ASKED = (("Accept", STREAM_TYPE), ("Cache-Control", "no-cache"))  # unless the user has others

LEAST = 0.01  # seconds, where the server asks for less
SHARE = 64  # events that are told in a turn: the rest waits for the next, others are served in between

# How often the kernel probes a silent connection: name of the option, number of seconds or probes
PROBES = (("TCP_KEEPIDLE", 45), ("TCP_KEEPALIVE", 45), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4))


class EventSource(ComesBack):
    """The events at `url` (http or https), from `start()` to `close()`. ValueError, TypeError: what cannot be asked for.

    headers: of each request. retry: (least, most) seconds of a rest. tls: an ssl.SSLContext for https, None: the system's
    authorities are trusted. proxy: a Proxy or its URL. idle_timeout: seconds without a byte after which the connection is taken
    for dead, None for never. last_event_id: that of a stream seen earlier. limits: an icey.Limits; an answer is to begin within
    `connect_timeout` and `answer_timeout`, redirects included.

    `url`: a URL, `limits`, `idle_timeout`: as given. `headers`: a Headers, of the requests to come. `last_event_id`: of the
    last event; "" for none. `client`: the Client that asks.
    """

    __slots__ = ("url", "headers", "idle_timeout", "limits", "client", "_call", "_parser", "_paused", "_ended", "_telling")

    on_open: Event[Callable[[Self], Any]] = Event("on_open(es): the stream is there, events follow")
    on_event: Event[Callable[[Self, ServerSentEvent], Any]] = Event(
        "on_event(es, event): an event: .type, .data and .id, all str")
    on_error: Event[Callable[[Self, Exception], Any]] = Event(
        "on_error(es, exc): no stream, and why; the next try is in es.retry_in seconds, None: on_close follows")

    def __init__(
        self, loop: Loop, url: Any, *, headers: HeadersLike = None, retry: Tuple[float, float] = (1.0, 60.0), tls: Any = None,
        proxy: Any = None, limits: Optional[Limits] = None, idle_timeout: Optional[float] = None, last_event_id: str = "",
    ) -> None:
        super().__init__(loop, retry)
        self.url: URL = URL.of(url)
        if self.url.scheme not in ("http", "https"):
            raise ValueError("an EventSource speaks http and https, not %r" % self.url.scheme)
        self.headers: Headers = Headers(headers)
        for name, value in ASKED:
            if name not in self.headers:
                self.headers.add(name, value)
        self.idle_timeout: Optional[float] = None if idle_timeout is None else seconds(idle_timeout, "idle_timeout")
        if self.idle_timeout == 0:
            raise ValueError("idle_timeout is above 0, or None")
        if not isinstance(last_event_id, str):
            raise TypeError("last_event_id is a str, \"\" for none, not %r" % (last_event_id,))
        self.limits: Limits = limits_of(limits)
        self.client: Client = Client(
            loop, timeout=None, proxy=proxy, tls=tls, decode=False, limits=self.limits.replace(body_timeout=self.idle_timeout))
        self._parser = self._new_parser(last_event_id)
        self._fields()  # raises
        self._call: Optional[Call] = None
        self._paused = False
        self._ended: Optional[Exception] = None  # how the stream ended, while there are events that wait for resume()
        self._telling = False  # slots are called for what has come

    @property
    def last_event_id(self) -> str:
        """The id of the last event that came, which the next request names; "" for none."""
        return self._parser.last_event_id

    @property
    def paused(self) -> bool:
        """Whether events are held back."""
        return self._paused

    def start(self) -> Self:
        """Begins to ask. StateError: it was started before; NetError: https where Python has no ssl. Returns itself."""
        self.check_thread()
        self.require_open("start")
        if self._state is not ReconnectState.NEW:
            raise StateError("start() for the second time", "it asks again by itself; for another stream make a new one")
        if self.url.secure:
            self.client.tls  # noqa: B018 - raises
        self.activate()
        self.begin_attempt()
        return self

    def pause(self) -> None:
        """Tells no more events: what the server sends waits in the kernel, and the server has to wait."""
        self.check_thread()
        if not self.phase:
            self._paused = True
            if self._call is not None and self._state is ReconnectState.OPEN:
                self._call.pause()

    def resume(self) -> None:
        """Tells on, from the loop."""
        self.check_thread()
        if self._paused and not self.phase:
            self._paused = False
            self.loop.soon(self._go_on)

    # an attempt

    def attempt(self) -> None:
        """Asks for the stream."""
        try:
            call = self.client.request("GET", self.url, headers=self._fields(), timeout=self._opening_time(), done=self._over)
        except Exception as exc:  # headers that were changed since
            self._fail(exc)
            return
        call.unref()  # this handle keeps the loop running, or does not
        call.on_headers += self._answered
        call.on_payload += self._came
        self._call = call

    def _fields(self) -> Headers:
        headers = self.headers.copy()
        last = self._parser.last_event_id
        if last:
            headers["Last-Event-ID"] = last.encode("utf-8").decode("latin-1")
        return headers

    def _opening_time(self) -> Optional[float]:
        """Seconds until the answer is to have begun, redirects included."""
        connect, answer = self.limits.connect_timeout, self.limits.answer_timeout
        return None if connect is None or answer is None else connect + answer

    def _answered(self, call: Call) -> None:
        """The head of the answer is here."""
        if call.response.status == 204:
            return  # `_over` follows
        refusal = refusal_of(call.response, call.url)
        if refusal is not None:
            self._drop_call()
            self._judge(refusal)
            return
        call.due = None  # a stream is never late
        self._parser = self._new_parser(self._parser.last_event_id)
        self._keep_alive(call)
        self.opened()
        if self._paused:
            call.pause()
        self._telling = True
        self.emit("on_open", self)
        self._telling = False

    def _new_parser(self, last_event_id: str) -> EventStreamParser:
        return EventStreamParser(last_event_id, self.limits.max_message)

    def _keep_alive(self, call: Call) -> None:
        """Has the kernel probe the connection of `call`."""
        for connection in self.client.pool.connections:
            if connection.call is call and connection.stream is not None:
                probe(connection.stream.sock)

    def _came(self, call: Call, view: memoryview) -> None:
        """A piece of the stream."""
        if call is self._call:
            self._parser.feed(view)
            self._tell()

    def _tell(self) -> bool:
        """Tells the events that are here, until a slot pauses or closes. False: it is the others' turn, `_go_on` follows."""
        parser, left = self._parser, SHARE
        self._telling = True
        while not self._paused and self.phase == OPEN and left:
            try:
                event = parser.next_event()
            except ProtocolError as exc:
                self._drop_call()
                self._fail(exc)
                break
            if event is None:
                break
            self.emit("on_event", self, event)
            left -= 1
        self._telling = False
        if not left:
            if self._call is not None:
                self._call.pause()
            self.loop.soon(self._go_on)
        return left > 0

    def _go_on(self) -> None:
        """It was resumed."""
        if self._paused or self._state is not ReconnectState.OPEN:
            return
        if self._tell() and not self._paused and self.phase == OPEN:
            if self._ended is not None:
                self._lost(self._ended)
            elif self._call is not None:
                self._call.resume()

    def _over(self, answer: Optional[Answer], exc: Optional[Exception]) -> None:
        """The answer is whole, or will never be."""
        if self._call is None or self.phase != OPEN:
            return
        self._call = None
        if self._state is ReconnectState.OPEN:
            self._ended = exc or PeerClosed("the server has ended the stream")
            self._go_on()
        elif answer is not None and answer.status == 204:
            self.finish()
        elif exc is not None:
            self._judge(exc)

    # what becomes of it

    def _lost(self, exc: Exception) -> None:
        """The stream has ended."""
        if self._state is ReconnectState.OPEN:
            self._ended = None
            self._judge(exc)

    def mend(self) -> None:
        if self._telling:  # a KeyboardInterrupt left a slot, and the parser's place on the connection is lost
            self._telling = False
            self._drop_call()
            self._parser = self._new_parser(self._parser.last_event_id)
            self.loop.soon(self._lost, NetError("an interrupt cut the stream off"))

    def _judge(self, exc: Exception) -> None:
        """There is no stream: it is asked for again, or that makes no sense."""
        temporary = isinstance(exc, (OSError, ProtocolError))
        response = getattr(exc, "response", None)
        if response is not None:
            temporary = passes(response.status)
        if not temporary:
            self._fail(exc)
            return
        wanted = self._parser.retry
        if wanted is not None:
            self.backoff.least = min(self.backoff.most, max(wanted, LEAST))
        self.rest(wanted_by(exc))
        self.emit("on_error", self, exc)

    def _fail(self, exc: Exception) -> None:
        """It is over, and not as it should."""
        if self.phase == OPEN:
            self.finish()
            self.emit("on_error", self, exc)

    # the end

    def let_go(self) -> None:
        super().let_go()
        self._ended = None
        if not self.loop.forked:
            self._drop_call()
            self.client.abort()

    def _drop_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.abort()

    def title(self) -> str:
        return "EventSource %s" % self.url.authority


def refusal_of(response: Response, url: URL) -> Optional[ProtocolError]:
    """Why an answer is no event stream, as an error with the answer as its `response`; None where it is one."""
    where = url.without_userinfo()
    kind = response.headers.get("content-type", "none").partition(";")[0].strip().lower()
    coding = ",".join(response.headers.get_all("content-encoding")).strip().lower()
    refusal: Optional[ProtocolError] = None
    if response.status != 200:
        refusal = HttpError(response.status, "no event stream at %s" % where)
    elif kind != STREAM_TYPE:
        refusal = BadResponse("no event stream at %s: its Content-Type is %s, not %s" % (where, kind, STREAM_TYPE))
    elif coding not in ("", "identity"):
        refusal = BadResponse("the event stream at %s has the Content-Encoding %s: none was asked for" % (where, coding))
    if refusal is not None:
        refusal.response = response
    return refusal


def probe(sock: Any) -> None:
    """Has the kernel probe the peer of `sock`, a connected socket, as PROBES says, as far as this system does that."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, number in PROBES:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), number)
    except (OSError, AttributeError):  # another kind of socket, or a system that knows the name alone
        pass
