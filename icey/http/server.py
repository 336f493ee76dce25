"""Server: listens, has a ServerConnection for each client, keeps the deadlines by one sweep, and stops in order.

    server = Server(loop, "127.0.0.1", 8000)
    server.on_request += lambda exchange: exchange.respond(200, b"Hello")
    server.start()

Rules: `close()` is `stop(drain=0)`. Deadlines are looked at once a second (more often where one is shorter), for all
connections at once: there is no timer per request.
"""

from __future__ import annotations

from ..base.handle import CLOSING, OPEN, Handle
from ..base.limits import DEFAULTS, Limits
from ..base.signal import Event
from ..base.timer import Timer, seconds
from ..net.address import Address
from ..net.tcp import TCPListener, TCPSocket
from . import deadlines
from .answer import HeadWriter
from .connection import ServerConnection
from .memo import LineMemo
from .states import CLOSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, Optional, Tuple, Union

    from ..base.loop import Loop
    from ..base.signal import Signal
    from ..net.networks import Networks
    from .exchange import Exchange
    from .message import Request, Response
    from .proxyprotocol import Gate


class Server(Handle):
    """An HTTP/1.1 server. Where: host and port, an Address, text for Address.parse, or a TCPListener (taken over).

    limits: Limits. reuse_port: several processes share the port. responder: a Responder class (or any callable of an
    exchange), made once a request. name: the Server header, "" for none. tls: an ssl.SSLContext for https, see
    tls.server_context. proxy_protocol: the peers (IP addresses, networks, "unix") whose connections begin with a PROXY header,
    and must.
    """

    __slots__ = (
        "limits", "connections_made", "_where", "_reuse_port", "_listener", "_connections", "_responder", "_heads", "_memo",
        "_log", "_fire", "_stopping", "_told", "_sweeper", "_deadline", "_gate", "_secured",
    )

    on_request = Event("on_request(exchange): a head was parsed; nobody attached: 404")
    on_shutdown = Event("on_shutdown(server): stop() was called; long-lived answers should end")
    on_answer = Event("on_answer(exchange, status): an answer is complete, or a malformed request was refused")

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
    ) -> None:
        super().__init__(loop)
        self.limits = DEFAULTS if limits is None else limits
        self.connections_made = 0
        self._where = where if isinstance(where, TCPListener) else Address.of(where, port)
        self._reuse_port = reuse_port
        self._listener: Optional[TCPListener] = None
        self._connections: Dict[ServerConnection, None] = {}
        self._responder = responder
        self._heads = HeadWriter(name)
        self._memo = LineMemo()
        self._log: Optional[Callable[[Exchange, int], Any]] = None
        self._fire: Callable[[Exchange], Any] = _not_found
        self._stopping = False
        self._told = False  # on_shutdown was emitted
        self._sweeper: Optional[Timer] = None
        self._deadline: Optional[Timer] = None
        self._secured: Optional[Callable[[TCPSocket], TCPSocket]] = None if tls is None else _over_tls(tls, self.limits)
        self._gate: Optional[Gate] = None
        if proxy_protocol is not None:
            from .proxyprotocol import Gate

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

    def start(self) -> Server:
        """Listens. OSError where that cannot be; StateError when started or closed before. Returns the server."""
        self._check()
        self._require_open("start")
        if self._listener is not None:
            raise self._started_already()
        if isinstance(self._where, TCPListener):
            self._listener = self._where
        else:
            self._listener = TCPListener(self.loop, self._where, reuse_port=self._reuse_port)
        self._listener.on_accept += self._accept
        self._activate()
        every = deadlines.beat(self.limits)
        self._sweeper = Timer(self.loop, every, self._sweep, interval=every)
        self._sweeper.start().unref()
        return self

    def stop(self, drain: float = 10.0) -> None:
        """Listens no more, finishes what is in flight for up to `drain` seconds, answering `Connection: close`, then closes."""
        self._check()
        seconds(drain, "drain")
        if self._phase == OPEN:
            self._phase = CLOSING
            self._stopping = True
            listener = self._where if self._listener is None else self._listener
            if isinstance(listener, TCPListener):
                listener.close()
            if not self.loop.closed:
                self.loop.call_soon(self._tell_shutdown)
            if self._gate is not None:
                self._gate.abort()
            for connection in self.connections:
                connection._retire()
        if self._phase == CLOSING:
            if not self._clients():
                self._finish()
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
        stream.set_no_delay()
        limits = self.limits
        stream.high_water, stream.low_water = limits.high_water, limits.low_water
        stream.max_queue, stream.close_timeout = None, limits.close_timeout  # exchange.send() keeps max_queue
        self.connections_made += 1
        if self._gate is None or not self._gate.takes(stream):
            self._begin(stream)
        if limits.max_connections is not None and self._clients() >= limits.max_connections:
            listener.pause()

    def _begin(self, stream: TCPSocket) -> ServerConnection:
        """HTTP begins on `stream`, behind TLS where that is asked for."""
        if self._secured is not None:
            stream = self._secured(stream)
        connection = ServerConnection(self, stream)
        self._connections[connection] = None
        return connection

    def _clients(self) -> int:
        """Connections, those included whose PROXY header is not here yet."""
        return len(self._connections) + (len(self._gate.waiting) if self._gate is not None else 0)

    def _gone(self, connection: ServerConnection) -> None:
        self._connections.pop(connection, None)
        self._one_less()

    def _one_less(self) -> None:
        if self._stopping:
            if self._phase == CLOSING and not self._clients():
                self._finish()
        elif self._listener is not None:
            self._listener.resume()

    def _sweep(self, timer: Timer) -> None:
        """Each second: the date, and every connection's deadline."""
        self._heads.refresh()
        now = self.loop.now
        for connection in self.connections:
            deadlines.sweep(connection, now)
        if self._gate is not None:
            self._gate.sweep(now)

    # the end

    def _set_deadline(self, drain: float) -> None:
        if self._deadline is not None:
            self._deadline.abort()
        self._deadline = self.loop.call_later(drain, self._give_up)

    def _give_up(self) -> None:
        for connection in self.connections:
            connection.abort()

    def _tell_shutdown(self) -> None:
        if not self._told:
            self._told = True
            self._emit("on_shutdown", self)

    def _closed_now(self) -> None:
        self._tell_shutdown()  # there may have been no call in between
        super()._closed_now()

    def _silence(self) -> None:
        self._stopping = True
        for timer in (self._sweeper, self._deadline):
            if timer is not None:
                timer.abort()
        self._sweeper = self._deadline = None

    # slots

    def _slots_changed(self, name: str, signal: Signal) -> None:
        if name == "on_request":
            self._fire = signal.fire if len(signal) else _not_found
        elif name == "on_answer":
            self._log = signal.fire if len(signal) else None
            for connection in self._connections:
                connection._log = self._log

    def _begin_responder(self, exchange: Exchange) -> None:
        assert self._responder is not None
        responder = self._responder(exchange)
        exchange.on_complete += lambda exchange: responder.on_complete(exchange.request, exchange.response)
        exchange.on_close += lambda exchange: responder.on_close()
        responder.on_headers(exchange.request)
        if exchange.state is not CLOSED:  # only then is the body asked for
            exchange.on_payload += lambda exchange, view: responder.on_payload(view)

    def _started_already(self) -> Exception:
        from ..base.errors import StateError

        return StateError("start() on a server that was started", "start it once", "start, then send")

    def _name(self) -> str:
        return "Server %s" % (self.address or self._where)


class Responder:
    """Handles one request: `Server(responder=MyResponder)` makes one of each. Override what you need.

    The order: on_headers, on_payload for each piece of the body, on_complete, on_close. Answer through `self.exchange`.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def on_headers(self, request: Request) -> None:
        """The head is parsed."""

    def on_payload(self, view: memoryview) -> None:
        """A piece of the body; the view is lent until this returns."""

    def on_complete(self, request: Request, response: Response) -> None:
        """The request is whole."""

    def on_close(self) -> None:
        """It is over, answered or not."""


def _not_found(exchange: Exchange) -> None:
    exchange.respond(404, b"404 Not Found\n", "text/plain; charset=utf-8")


def _over_tls(context: Any, limits: Limits) -> Callable[[TCPSocket], TCPSocket]:
    """What puts TLS on an accepted stream; TypeError for what is no context."""
    from ..net.tls import start_tls

    if not hasattr(context, "wrap_bio"):
        raise TypeError("tls is an ssl.SSLContext, as tls.server_context(cert, key) makes it, not %r" % (context,))
    return lambda stream: start_tls(stream, context, server_side=True, handshake_timeout=limits.handshake_timeout)
