"""Dialer: how a client's stream comes to be connected: TCP, a proxy's tunnel, TLS, in whatever order is asked for.

    http                           TCP
    https                          TCP, TLS
    http through a proxy           TCP (and TLS, where the proxy is https) to the proxy, which is asked in absolute form
    https through a proxy          the same, CONNECT host:port (with a Proxy-Authorization of the request's, if it has one), and
                                   TLS to the host inside (RFC 9110 section 9.3.6)
    ws, wss through a proxy        CONNECT as well, and TLS inside for wss (RFC 6455 section 4.1)
    any of them by a SOCKS proxy   as without a proxy, and TCP goes by that one

Not here: names and the race of several addresses (net/happyeyeballs.py), SOCKS (net/socks.py), what is sent once the stream is
there (connection.py).
"""

from __future__ import annotations

from ...base.errors import BadResponse, ConnectError, Deadline, HttpError, NetError, PeerClosed
from ...base.streamprotocol import StreamProtocol
from ...base.watchdog import Watchdog
from ...net.tcp import TCPSocket
from ..http1.observer import ParserObserver
from ..http1.parser import Parser
from ..semantics.status import REASONS
from ..semantics.url import URL
from .proxy import Proxy

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from ...base.limits import Limits
    from ...base.loop import Loop
    from ..semantics.message import Response

    Done = Callable[[Optional[TCPSocket], Optional[Exception]], Any]


class Dialer(StreamProtocol, ParserObserver):
    """One connection in the making. `done(stream, None)` or `done(None, exc)` comes once, from the loop, unless aborted.

    `credentials: the value of Proxy-Authorization for CONNECT, in place of the proxy's own.

    `loop`: its loop; `stream`: the TCPSocket that is being connected, None before `start`. The dialer is the protocol of the
    stream until the stream is handed over, and the observer of the parser of a proxy's answer to CONNECT.
    """

    __slots__ = (
        "loop", "stream", "_url", "_done", "_tls", "_session", "_proxy", "_socks", "_limits", "_parser", "_watchdog",
        "_credentials", "_given", "_answer", "_since",
    )

    def __init__(
        self, loop: Loop, url: URL, done: Done, *, tls: Any, session: Any, proxy: Optional[Proxy], limits: Limits,
        credentials: Optional[str] = None,
    ) -> None:
        self.loop: Loop = loop
        self.stream: Optional[TCPSocket] = None
        self._url = url
        self._done: Optional[Done] = done
        self._tls = tls
        self._session = session
        self._socks = proxy.socks if proxy is not None else None
        self._proxy = proxy if self._socks is None else None  # that of HTTP
        self._limits = limits
        self._parser: Optional[Parser] = None
        self._watchdog: Optional[Watchdog] = None  # of the tunnel
        self._since = 0.0  # when the tunnel was asked for, or an interim answer came, in the loop's time
        self._given = credentials  # Proxy-Authorization for the tunnel
        self._credentials: Optional[str] = None  # the same, after a challenge
        self._answer: Optional[Response] = None  # the proxy's answer to CONNECT

    def start(self) -> None:
        """Begins; NetError where TLS is asked for and `ssl` is missing."""
        from ...net import happyeyeballs  # noqa: F401 - what has a client is to look up names, a copy of a part included

        proxy, url = self._proxy, self._url
        if proxy is None:
            if url.secure:
                stream = self._secured(self._tls, url.host, self._session)
            else:
                stream = TCPSocket(self.loop)
        else:
            url = proxy.url
            stream = self._secured(proxy.tls, url.host, None) if url.secure else TCPSocket(self.loop)
        self._take(stream)
        stream.connect(url.host, url.port, timeout=self._limits.connect_timeout, proxy=self._socks)
        stream.use_protocol(self)
        stream.on_connect += self._connected

    def abort(self) -> None:
        """Gives up; `done` does not come any more."""
        self._done = None
        self._tunnel_over()
        if self.stream is not None:
            self.stream.abort()

    def look(self) -> None:
        """Takes the step that can be taken by now, before a deadline falls."""
        if self.stream is not None:
            self.stream.look()

    # steps

    def _secured(self, context: Any, host: str, session: Any) -> TCPSocket:
        tls = tls_module()
        made: TCPSocket = tls.TLSSocket(
            self.loop, context=context or default_context(), server_hostname=certified(host), session=session)
        made.handshake_timeout = self._limits.handshake_timeout  # type: ignore[attr-defined]
        return made

    def _take(self, stream: TCPSocket) -> None:
        limits = self._limits
        self.stream = stream
        stream.high_water, stream.low_water = limits.high_water, limits.low_water
        stream.close_timeout = limits.close_timeout
        stream.unref()  # the connection that dials keeps the loop running, or does not

    def _connected(self, stream: TCPSocket) -> None:
        stream.set_no_delay()
        if self._proxy is not None and self._url.tunnelled:
            self._ask_for_tunnel(stream)
        else:
            self._finish(stream, None)

    def _ask_for_tunnel(self, stream: TCPSocket) -> None:
        assert self._proxy is not None
        where = self._where()
        head = "CONNECT %s HTTP/1.1\r\nHost: %s\r\n" % (where, where)
        credentials = self._credentials or self._given or self._proxy.authorization("CONNECT", where)
        if credentials is not None:
            head += "Proxy-Authorization: %s\r\n" % credentials
        self._parser = Parser(self, responses=True, limits=self._limits)
        self._parser.request_method = "CONNECT"
        stream.write((head + "\r\n").encode("latin-1"), None, False)
        self._since = self.loop.now
        self._watchdog = Watchdog(self.loop, self._tunnel_due, self._tunnel_late, self.look)
        self._watchdog.watch()

    def _where(self) -> str:
        """CONNECT's target: host and port, always both."""
        host = self._url.host
        return ("[%s]:%d" if ":" in host else "%s:%d") % (host, self._url.port)

    def _tunnel_answered(self, response: Response, behind: int) -> None:
        """The proxy has answered CONNECT, and sent `behind` bytes more."""
        self._tunnel_over()
        try:
            if response.status >= 300:
                self._tunnel_refused(response)
            elif response.status < 200 or behind:
                self._finish(None, BadResponse("the proxy answered CONNECT by %d%s" % (
                    response.status, " and %d bytes of its own" % behind if behind else "")))
            elif self._url.secure:
                self._tunnel_open()
            else:
                self._finish(self.stream, None)
        except Exception as exc:  # what the user's credentials or context object to
            self._finish(None, exc)

    def _tunnel_open(self) -> None:
        """Begins TLS to the server inside the tunnel."""
        assert self.stream is not None
        made = tls_module().start_tls(
            self.stream, self._tls or default_context(), server_side=False, server_hostname=certified(self._url.host),
            session=self._session, handshake_timeout=self._limits.handshake_timeout)
        self._take(made)
        made.use_protocol(self)
        made.on_connect += lambda made: self._finish(made, None)

    def _tunnel_refused(self, response: Response) -> None:
        """Dials once more with credentials where the proxy asks for them; else the dialling has failed."""
        assert self._proxy is not None and self.stream is not None
        if response.status == 407 and self._credentials is None:
            challenges = response.headers.get_all("proxy-authenticate")
            self._credentials = self._proxy.answer(challenges, "CONNECT", self._where())
            if self._credentials is not None:
                old, self.stream = self.stream, None
                old.use_protocol(StreamProtocol())  # what comes there is ignored
                old.abort()
                self.start()
                return
        reason = response.reason or REASONS.get(response.status, "")
        exc = ConnectError("the proxy %s refused the tunnel to %s: %d %s"
                           % (self._proxy.url.authority, self._url.authority, response.status, reason))
        self._finish(None, exc)

    def _tunnel_due(self) -> Optional[float]:
        limit, stream = self._limits.answer_timeout, self.stream
        if self._parser is None or stream is None or limit is None:
            return None
        return max(self._since, stream.last_taken()) + limit

    def _tunnel_late(self) -> None:
        self._finish(None, Deadline("waited %g s for the proxy's tunnel" % (self._limits.answer_timeout or 0)))

    def _finish(self, stream: Optional[TCPSocket], exc: Optional[Exception]) -> None:
        done, self._done = self._done, None
        self._tunnel_over()
        if stream is None and self.stream is not None:
            self.stream.abort()
        if done is not None:
            done(stream, exc)

    def _tunnel_over(self) -> None:
        """No answer to CONNECT is awaited any more."""
        self._parser = None  # it and its observer would wait for the collector
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None

    # called by the stream, until it is handed over

    def on_bytes(self, data: bytes) -> None:
        """Parses the proxy's answer to CONNECT: nothing else is due here."""
        assert self._parser is not None
        try:
            used = self._parser.feed(data)
        except HttpError as exc:
            exc.__traceback__ = None  # the frames would keep all this alive
            self._finish(None, exc)
            return
        answer, self._answer = self._answer, None
        if answer is not None:
            self._tunnel_answered(answer, len(data) - used)

    def on_head(self, response: Response) -> bool:
        """Called by the parser: the proxy's answer. The body of a refusal is not looked at."""
        if 100 <= response.status < 200 and response.status != 101:
            self._since = self.loop.now
            return False
        self._answer = response
        return True

    def on_end(self) -> None:
        """The peer has gone before the connection was ready."""
        self._finish(None, PeerClosed("the proxy closed the connection before it answered"))

    def on_error(self, exc: Exception) -> None:
        """A step failed."""
        self._finish(None, exc)

    def on_close(self) -> None:
        """The stream was closed from elsewhere."""
        self._finish(None, NetError("the connection was closed before it was ready"))


def certified(host: str) -> str:
    """The name that TLS asks for, and that the certificate must have: without the dot that ends an absolute name (RFC 6066
    section 3). Host and the lookup of the name keep it."""
    return host[:-1] if host.endswith(".") else host


def tls_module() -> Any:
    """net.tls; NetError where Python has no ssl."""
    try:
        from ...net import tls
    except ImportError as exc:
        raise NetError("https needs Python's ssl module, which is missing here") from exc
    return tls


def context_of(tls: Any) -> Any:
    """`tls`; TypeError where it is neither an ssl.SSLContext nor None."""
    if tls is not None and not hasattr(tls, "wrap_bio"):
        raise TypeError("tls is an ssl.SSLContext, as tls.client_context() makes it, not %r" % (tls,))
    return tls


def default_context() -> Any:
    """A context that trusts the system's authorities."""
    return tls_module().client_context(alpn=("http/1.1",))
