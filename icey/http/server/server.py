"""Server: listens, has a ServerConnection for each client, keeps the deadlines by one sweep, and stops in order.

    server = Server(loop, "127.0.0.1", 8000)
    server.on_request += lambda exchange: exchange.respond(200, b"Hello")
    server.start()

Rules: `close()` is `stop(drain=0)`. `stop()` loses nothing: what waits in the listener's backlog is accepted, and connections
that are idle, or so fresh that nothing has come, stay for `linger` seconds, as does one behind an answer that had begun before,
and so did not say that it is the last: the next request is answered, with `Connection: close`. Deadlines are looked at once a
second (more often where one is shorter), for all connections at once.
"""

from __future__ import annotations

from ...base.errors import StateError
from ...base.handle import CLOSING, OPEN, Handle
from ...base.lazy import left_out
from ...base.limits import Limits, limits_of
from ...base.signal import Event
from ...base.timer import Timer, seconds
from ...base.watchdog import Watchdog
from ...net.address import Address
from ...net.listener import TCPListener
from ...net.tcp import TCPSocket
from ..http1.headcache import HeaderCache
from ..http1.responsehead import HeadWriter
from .connection import ServerConnection
from .exchange import Exchange
from .states import CLOSED

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, Optional, Tuple, Type, Union

    from typing_extensions import Self

    from ...base.loop import Loop
    from ...base.signal import Signal
    from ...net.networks import Networks
    from .proxyprotocol import Gate
    from .unanswered import Unanswered


class Server(Handle):
    """An HTTP/1.1 server. Where: host and port, an Address, text for Address.parse, or a TCPListener (taken over).

    limits: Limits. reuse_port: several processes share the port. responder: a Responder class (or any callable of an
    exchange), made once a request. name: the Server header, "" for none. tls: an ssl.SSLContext for https, see
    tls.server_context. proxy_protocol: the peers (IP addresses, networks, "unix") whose connections begin with a PROXY header,
    and must. compress: answers of text are gzipped where the client takes that, see compression.py.

    `connections_made`: accepted so far; `body_bytes`: of requests' bodies, read so far; `stopping`: stop() was
    called. For its connections: `exchange_class`, `heads`, `headcache`; `dispatch` and `told`, the slots of on_request and
    on_answer; `gone()` and `one_less()` say that one is over.
    """

    __slots__ = (
        "limits", "connections_made", "body_bytes", "exchange_class", "_where", "_reuse_port", "_listener", "_connections",
        "_responder", "heads", "headcache", "told", "dispatch", "stopping", "_shutdown_told", "_sweeper", "_drained_by",
        "_deadline", "_listening", "_linger", "_lingering", "_stopped", "_gate", "_secured", "_held", "_unanswered",
    )

    on_request: Event[Callable[[Exchange], Any]] = Event(
        "on_request(exchange): a head was parsed; nobody attached: 404. A slot that returns True has taken it: those behind "
        "are not called", stoppable=True)
    on_shutdown: Event[Callable[[Self], Any]] = Event("on_shutdown(server): stop() was called; long-lived answers should end")
    on_answer: Event[Callable[[Exchange, int], Any]] = Event(
        "on_answer(exchange, status): an answer is complete, or was cut (exchange.cut), or another protocol "
        "takes over (exchange.upgraded), or a malformed request was refused")

    def __init__(
        self,
        loop: Loop,
        where: Union[str, Address, TCPListener, Tuple[str, int]],
        port: Optional[int] = None,
        *,
        tls: Any = None,
        limits: Optional[Limits] = None,
        reuse_port: bool = False,
        responder: Optional[Callable[[Exchange], Any]] = None,
        name: str = "icey",
        proxy_protocol: Union[Networks, str, Iterable[str], None] = None,
        compress: bool = False,
    ) -> None:
        super().__init__(loop)
        self.exchange_class: Type[Exchange] = Exchange
        if compress:
            try:
                from .compression import exchange_class
            except ModuleNotFoundError as exc:
                raise ModuleNotFoundError(left_out(exc, "http.server.compression", "gzip"), name=exc.name) from None
            self.exchange_class = exchange_class()
        self.limits: Limits = limits_of(limits)
        self.connections_made: int = 0
        self.body_bytes: int = 0
        self._where = where if isinstance(where, TCPListener) else Address.of(where, port)
        self._reuse_port = reuse_port
        self._listener: Optional[TCPListener] = None
        self._connections: Dict[ServerConnection, None] = {}
        self._responder = responder
        self.heads: HeadWriter = HeadWriter(name)
        self.headcache: HeaderCache = HeaderCache()
        self.told: Optional[Callable[[Exchange, int], Any]] = None
        self.dispatch: Callable[[Exchange], Any] = _not_found
        self.stopping: bool = False
        self._listening = False  # it stops, its listener's last look is to come
        self._shutdown_told = False  # on_shutdown was emitted
        self._sweeper: Optional[Timer] = None
        self._drained_by: Optional[float] = None  # in the loop's time, what is in flight is to be out
        self._deadline: Optional[Watchdog] = None
        self._lingering: Optional[Timer] = None  # until then idle connections may ask once more
        self._linger = self._stopped = 0.0  # seconds, from then on
        self._unanswered: Optional[Unanswered] = None
        self._secured: Optional[Callable[[TCPSocket], TCPSocket]] = None if tls is None else _over_tls(tls, self.limits)
        self._gate: Optional[Gate] = None
        self._held = loop.held
        if loop.debug:
            from .unanswered import Unanswered

            self._unanswered = Unanswered(self)
        if proxy_protocol is not None:
            try:
                from .proxyprotocol import Gate
            except ModuleNotFoundError as exc:
                raise ModuleNotFoundError(left_out(exc, "http.server.proxyprotocol", "proxyprotocol"), name=exc.name) from None
            self._gate = Gate(self, proxy_protocol)
        if responder is not None:
            self.on_request.attach(self._begin_responder)

    # any time on the loop's thread

    @property
    def address(self) -> Optional[Address]:
        """Where it listens (with the port the system chose for 0); None before start."""
        return self._listener.address if self._listener is not None else None

    @property
    def connections(self) -> Tuple[ServerConnection, ...]:
        """The connections that are open."""
        return tuple(self._connections)

    def start(self, *, listening: bool = True) -> Server:
        """Listens. OSError where that cannot be; StateError when started or closed before. Returns the server.

        listening=False: clients come by `take` alone.
        """
        self.check_thread()
        self.require_open("start")
        if self._sweeper is not None:
            raise StateError("start() on a server that was started", "start it once")
        if listening:
            if isinstance(self._where, TCPListener):
                self._listener = self._where
            else:
                self._listener = TCPListener(self.loop, self._where, reuse_port=self._reuse_port)
            self._listener.on_accept += self._accept
            self._listener.resume()
            self._listener.unref()  # this handle keeps the loop running, or does not
        self.activate()
        every = beat(self.limits)
        self._sweeper = Timer(self.loop, every, self._sweep, interval=every)
        self._sweeper.start().unref()
        return self

    def stop(self, drain: float = 10.0, *, linger: float = 0.5) -> None:
        """Listens no more, finishes what is in flight for up to `drain` seconds, answering `Connection: close`, then closes.

        What the listener's backlog holds is accepted first. Connections that are idle, or on which nothing has come yet, are
        closed after `linger` seconds (never later than `drain`), and until then answer one request more. May be called again,
        with other times.
        """
        self.check_thread()
        seconds(drain, "drain")
        linger = min(seconds(linger, "linger"), drain)
        if self.phase == OPEN:
            self.phase = CLOSING
            self.stopping = True
            if self._listener is not None and linger:
                self._listener.accept_waiting()
            listener = self._where if self._listener is None else self._listener
            if isinstance(listener, TCPListener):
                listener.close()  # behind its last look at the backlog, in this turn
                if linger and self._listener is not None and not self.loop.closed:
                    self._listening = True
                    listener.on_close += self._listens_no_more
            if not self.loop.closed:
                self.loop.call_soon(self._tell_shutdown)
        if self.phase == CLOSING:
            self._linger, self._stopped = 0.0 if self.loop.closed else linger, self.loop.now
            self._retire()
            if not drain:
                self._listening = False
                if self._listener is not None:  # it looks once more
                    self._listener.on_accept.detach(self._accept)
            if not self._clients() and not self._listening:
                self.finish()
            elif drain:
                self._set_deadline(drain)
            else:
                self._give_up()

    def close(self) -> None:
        """stop(drain=0): what is in flight is aborted."""
        self.stop(drain=0)

    def abort(self) -> None:
        """As close()."""
        self.stop(drain=0)

    # connections

    def _accept(self, listener: TCPListener, stream: TCPSocket) -> None:
        self.take(stream)
        most = self.limits.max_connections
        if most is not None and self._clients() >= most:
            listener.pause()

    def take(self, stream: TCPSocket) -> None:
        """Serves the client of `stream`, which is connected, from wherever it came. StateError once closed."""
        self.check_thread()
        if self.phase > CLOSING:
            self.require_open("take")
        stream.set_no_delay()
        limits = self.limits
        stream.high_water, stream.low_water = limits.high_water, limits.low_water
        stream.max_queue, stream.close_timeout = None, limits.close_timeout  # exchange.send() keeps max_queue
        self.connections_made += 1
        if self._gate is None or not self._gate.takes(stream):
            self.begin(stream)

    def begin(self, stream: TCPSocket) -> ServerConnection:
        """HTTP begins on `stream`, behind TLS where that is asked for."""
        if self._secured is not None:
            stream = self._secured(stream)
        connection = ServerConnection(self, stream)
        self._connections[connection] = None
        return connection

    def _clients(self) -> int:
        """Connections, those included whose PROXY header is not here yet."""
        return len(self._connections) + (len(self._gate.waiting) if self._gate is not None else 0)

    def gone(self, connection: ServerConnection) -> None:
        self._connections.pop(connection, None)
        self.one_less()

    def _listens_no_more(self, listener: TCPListener) -> None:
        """The listener is closed: what it accepted last is among the clients."""
        self._listening = False
        self.one_less()

    def one_less(self) -> None:
        if self.stopping:
            if self.phase == CLOSING and not self._clients() and not self._listening:
                self.finish()
        elif self._listener is not None:
            self._listener.resume()

    def _sweep(self, timer: Timer) -> None:
        """Each second: the date, and every connection's deadline."""
        self.heads.refresh()
        now, held = self.loop.now, self.loop.held
        forgiven, self._held = held - self._held, held
        for connection in self.connections:
            if forgiven:
                connection.forgive(forgiven)
            connection.sweep(now)
        if self._gate is not None:
            self._gate.sweep(now, forgiven)
        if self._unanswered is not None:
            self._unanswered.sweep()

    # the end

    def waits(self, since: float) -> bool:
        """Whether a client that has its answers `since`, and was told of no end, may still ask, until `_retire`."""
        left = self._linger and max(since, self._stopped) + self._linger - self.loop.now
        if left > 0 and self._lingering is None:
            self._lingering = self.loop.call_later(left, self._retire)
        return left > 0

    def _retire(self) -> None:
        """Idle connections whose time is over go."""
        if self._lingering is not None:
            self._lingering.abort()
        self._lingering = None
        if not self.waits(0.0) and self._gate is not None:
            self._gate.abort()
        for connection in self.connections:
            connection.retire()

    def _set_deadline(self, drain: float) -> None:
        self._drained_by = self.loop.now + drain
        if self._deadline is None:
            self._deadline = Watchdog(self.loop, lambda: self._drained_by, self._give_up, self._look)
        self._deadline.watch()

    def _look(self) -> None:
        """What can go out, or end, does so before the deadline falls."""
        for connection in self.connections:
            connection.stream.look()

    def _give_up(self) -> None:
        self._linger = 0.0
        self._retire()  # what is out is not cut
        for connection in self.connections:
            connection.give_up()

    def _tell_shutdown(self) -> None:
        if not self._shutdown_told:
            self._shutdown_told = True
            self.emit("on_shutdown", self)

    def closed_now(self) -> None:
        self._tell_shutdown()  # there may have been no call in between
        super().closed_now()
        self.dispatch, self._unanswered, self._gate = _not_found, None, None  # they hold us

    def silence(self) -> None:
        self.stopping = True
        if self._deadline is not None:
            self._deadline.stop()
        for timer in (self._sweeper, self._lingering):
            if timer is not None:
                timer.abort()
        self._deadline = self._sweeper = self._lingering = None

    # slots

    def slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_request":
            self.dispatch = signal.fire if len(signal) else _not_found
            if len(signal) and all(getattr(slot, "selective", False) for slot in signal):
                self.dispatch = _or_not_found(signal.fire)
            elif self._unanswered is not None and len(signal):
                self.dispatch = self._unanswered.over(signal.fire, signal.slots)
        elif name == "on_answer":
            self.told = signal.fire if len(signal) else None
            for connection in self._connections:
                connection.told = self.told

    def _begin_responder(self, exchange: Exchange) -> None:
        assert self._responder is not None
        responder = self._responder(exchange)
        exchange.on_complete += lambda exchange: responder.on_complete(exchange.request, exchange.response)
        exchange.on_close += lambda exchange: responder.on_close()
        responder.on_headers(exchange.request)
        if exchange.state is not CLOSED:  # then the body is wanted
            exchange.on_payload += lambda exchange, view: responder.on_payload(view)

    def title(self) -> str:
        return "Server %s" % (self.address or self._where)


def beat(limits: Limits) -> float:
    """Seconds between two sweeps: one, or a quarter of the shortest deadline."""
    deadlines = (limits.head_timeout, limits.body_timeout, limits.keep_alive_timeout, limits.write_timeout,
                 limits.close_timeout)
    return min([1.0] + [max(limit / 4, 0.01) for limit in deadlines if limit is not None])


def _not_found(exchange: Exchange) -> None:
    exchange.respond(404, b"404 Not Found\n", "text/plain; charset=utf-8")


def _or_not_found(fire: Callable[[Exchange], Any]) -> Callable[[Exchange], Any]:
    """Where nobody is attached but slots that answer some paths only."""
    def dispatch(exchange: Exchange) -> None:
        if fire(exchange) is not True:
            _not_found(exchange)

    return dispatch


def _over_tls(context: Any, limits: Limits) -> Callable[[TCPSocket], TCPSocket]:
    """What puts TLS on an accepted stream; TypeError for what is no context."""
    try:
        from ...net.tls import start_tls
    except ModuleNotFoundError as exc:
        raise ModuleNotFoundError(left_out(exc, "net.tls", "tls"), name=exc.name) from None
    if not hasattr(context, "wrap_bio"):
        raise TypeError("tls is an ssl.SSLContext, as tls.server_context(cert, key) makes it, not %r" % (context,))
    return lambda stream: start_tls(stream, context, server_side=True, handshake_timeout=limits.handshake_timeout)
