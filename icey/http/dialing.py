"""Dialer: how a client's stream comes to be connected: TCP, a proxy's tunnel, TLS, in whatever order is asked for.

    http                           TCP
    https                          TCP, TLS
    http through a proxy           TCP (and TLS, where the proxy is https) to the proxy, which is asked in absolute form
    https through a proxy          the same, CONNECT host:port, and TLS to the host inside (RFC 9110 section 9.3.6)
    ws, wss through a proxy        CONNECT as well, and TLS inside for wss (RFC 6455 section 4.1)

Not here: names and the race of several addresses (net/connect.py), what is sent once the stream is there (client.py).
"""

from __future__ import annotations

from ..base.errors import BadResponse, ConnectError, Deadline, HttpError, NetError, PeerClosed
from ..net.tcp import TCPSocket
from .message import REASONS
from .parser import Parser
from .url import URL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional

    from ..base.limits import Limits
    from ..base.loop import Loop
    from ..base.timer import Timer
    from .message import Response

    Done = Callable[[Optional[TCPSocket], Optional[Exception]], Any]


class Proxy:
    """An HTTP proxy: "http://name:port", with https for TLS to it. User and password in the URL are for Basic or Digest.

    auth: a BasicAuth or DigestAuth instead. tls: the SSLContext for an https proxy.
    """

    def __init__(self, url: Any, *, auth: Any = None, tls: Any = None) -> None:
        self.url = URL.of(url)
        if self.url.scheme not in ("http", "https"):
            raise ValueError("a proxy is http or https, not %r" % self.url.scheme)
        self.auth = basic_of(self.url) if auth is None and self.url.user is not None else auth
        self.tls = tls

    @classmethod
    def of(cls, value: Any) -> Optional[Proxy]:
        """A Proxy, a URL for one, or None."""
        return value if value is None or isinstance(value, Proxy) else cls(value)

    def authorization(self, method: str, target: str) -> Optional[str]:
        """Proxy-Authorization for a request, None without."""
        if self.auth is None:
            return None
        first: Optional[str] = self.auth.first(method, self.url, uri=target)
        return first

    def answer(self, challenges: List[str], method: str, target: str, body: Any = None) -> Optional[str]:
        """Proxy-Authorization after a 407, None to give up."""
        if self.auth is None:
            return None
        again: Optional[str] = self.auth.answer(challenges, method, self.url, body, uri=target)
        return again

    def __repr__(self) -> str:
        return "<Proxy %s>" % self.url.authority


class Dialer:
    """One connection in the making. `done(stream, None)` or `done(None, exc)` comes once, from the loop, unless aborted."""

    def __init__(
        self, loop: Loop, url: URL, done: Done, *, tls: Any, session: Any, proxy: Optional[Proxy], limits: Limits
    ) -> None:
        self.loop = loop
        self.stream: Optional[TCPSocket] = None
        self._url = url
        self._done: Optional[Done] = done
        self._tls = tls
        self._session = session
        self._proxy = proxy
        self._limits = limits
        self._parser: Optional[Parser] = None
        self._timer: Optional[Timer] = None
        self._credentials: Optional[str] = None  # for the tunnel, after a challenge
        self._answer: Optional[Response] = None  # the proxy's

    def start(self) -> None:
        """Begins; NetError where TLS is asked for and `ssl` is missing."""
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
        stream.connect(url.host, url.port, timeout=self._limits.connect_timeout)
        stream._use_sink(self)
        stream.on_connect += self._connected

    def abort(self) -> None:
        """Gives up; `done` does not come any more."""
        self._done = None
        self._stop_timer()
        if self.stream is not None:
            self.stream.abort()

    # steps

    def _secured(self, context: Any, host: str, session: Any) -> TCPSocket:
        tls = tls_module()
        made: TCPSocket = tls.TLSSocket(self.loop, context=context or default_context(), server_hostname=host, session=session)
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
        credentials = self._credentials or self._proxy.authorization("CONNECT", where)
        if credentials is not None:
            head += "Proxy-Authorization: %s\r\n" % credentials
        self._parser = Parser(self, responses=True, limits=self._limits)
        self._parser.request_method = "CONNECT"
        stream._write((head + "\r\n").encode("latin-1"), None, False)
        if self._limits.answer_timeout is not None:
            self._timer = self.loop.call_later(self._limits.answer_timeout, self._tunnel_late)
            self._timer.unref()

    def _where(self) -> str:
        """CONNECT's target: host and port, always both."""
        host = self._url.host
        return ("[%s]:%d" if ":" in host else "%s:%d") % (host, self._url.port)

    def _tunnel_answered(self, response: Response, behind: int) -> None:
        """The proxy has answered CONNECT, and sent `behind` bytes more."""
        self._parser = None
        self._stop_timer()
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
        """TLS to the server, inside."""
        assert self.stream is not None
        made = tls_module().start_tls(
            self.stream, self._tls or default_context(), server_side=False, server_hostname=self._url.host,
            session=self._session, handshake_timeout=self._limits.handshake_timeout)
        self._take(made)
        made._use_sink(self)
        made.on_connect += lambda made: self._finish(made, None)

    def _tunnel_refused(self, response: Response) -> None:
        """Once more with credentials where the proxy asks for them, else it is over."""
        assert self._proxy is not None and self.stream is not None
        if response.status == 407 and self._credentials is None:
            challenges = response.headers.get_all("proxy-authenticate")
            self._credentials = self._proxy.answer(challenges, "CONNECT", self._where())
            if self._credentials is not None:
                old, self.stream = self.stream, None
                old._use_sink(_Dropped())
                old.abort()
                self.start()
                return
        reason = response.reason or REASONS.get(response.status, "")
        exc = ConnectError("the proxy %s refused the tunnel to %s: %d %s"
                           % (self._proxy.url.authority, self._url.authority, response.status, reason))
        self._finish(None, exc)

    def _tunnel_late(self) -> None:
        self._timer = None
        self._finish(None, Deadline("waited %g s for the proxy's tunnel" % (self._limits.answer_timeout or 0)))

    def _finish(self, stream: Optional[TCPSocket], exc: Optional[Exception]) -> None:
        done, self._done = self._done, None
        self._stop_timer()
        if stream is None and self.stream is not None:
            self.stream.abort()
        if done is not None:
            done(stream, exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.abort()
            self._timer = None

    # the stream's sink, until it is handed over

    def on_bytes(self, data: bytes) -> None:
        """Only a proxy's answer to CONNECT is due here."""
        assert self._parser is not None
        try:
            used = self._parser.feed(data)
        except HttpError as exc:
            exc.__traceback__ = None  # its frames would keep all this alive
            self._finish(None, exc)
            return
        answer, self._answer = self._answer, None
        if answer is not None:
            self._tunnel_answered(answer, len(data) - used)

    def on_head(self, response: Response) -> bool:
        """The proxy's answer; its body, of a refusal, is not looked at."""
        if 100 <= response.status < 200 and response.status != 101:
            return False
        self._answer = response
        return True

    def on_end(self) -> None:
        """Gone before it was ready."""
        self._finish(None, PeerClosed("the proxy closed the connection before it answered"))

    def on_drain(self) -> None:
        """Nothing waits for it."""

    def on_error(self, exc: Exception) -> None:
        """A step failed."""
        self._finish(None, exc)

    def on_close(self) -> None:
        """The stream is closed, by whatever it was."""
        self._finish(None, NetError("the connection was closed before it was ready"))


class _Dropped:
    """The sink of a stream that is given up."""

    def on_error(self, exc: Exception) -> None:
        pass

    def on_close(self) -> None:
        pass


def basic_of(url: URL) -> Any:
    """A BasicAuth of the user and password in a URL; ValueError where they cannot be sent."""
    from .auth import BasicAuth

    return BasicAuth(url.user or "", url.password or "")


def tls_module() -> Any:
    """net.tls; NetError where Python has no ssl."""
    try:
        from ..net import tls
    except ImportError as exc:
        raise NetError("https needs Python's ssl module, which is missing here") from exc
    return tls


def default_context() -> Any:
    """A context that trusts the system's authorities."""
    return tls_module().client_context(alpn=("http/1.1",))
