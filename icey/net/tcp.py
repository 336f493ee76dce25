"""TCPSocket, over IPv4, IPv6 and Unix sockets.

Rules
- `connect` takes a numeric address or a name. Its outcome always comes from the loop: `on_connect`, or `on_error` and
  `on_close`. While a name is looked up and its addresses are tried, the socket has a HappyEyeballs and no descriptor yet.

Not here: TCPListener (listener.py), names (dns.py), several addresses of one name (happyeyeballs.py), proxies (socks.py).
"""

from __future__ import annotations

import errno
import socket

from ..base.errors import ConnectError, Deadline, ResolveError, StateError
from ..base.handle import CLOSING, OPEN
from ..base.lazy import left_out
from ..base.signal import Event
from ..base.stream import CONNECTING, DOWN, UP, Stream
from ..base.timer import seconds as span
from ..base.watchdog import Watchdog
from .address import AF_UNIX, Address, failure_of

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple

    from typing_extensions import Self

    from ..base.errors import NetError
    from ..base.loop import Loop
    from .address import AddressLike
    from .happyeyeballs import HappyEyeballs

IN_PROGRESS = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR)


class TCPSocket(Stream):
    """A stream that connects: `connect`, then as Stream. Sends made while it connects are queued.

    `local`, `peer`: the Address of each end, or None. `secure`: whether the stream is encrypted.
    """

    __slots__ = ("_peer", "_local", "_opening", "_attempts")

    secure = False

    on_connect: Event[Callable[[Self], Any]] = Event("on_connect(sock): connected")

    def __init__(self, loop: Loop, sock: Optional[socket.socket] = None, peer: Any = None) -> None:
        self._peer = peer
        self._local: Optional[Address] = None  # where it is not the kernel's word
        self._opening: Optional[Watchdog] = None  # until it is connected
        self._attempts: Optional[HappyEyeballs] = None  # at the addresses of a name, or by a proxy
        super().__init__(loop, sock)

    def connect(
        self, address: AddressLike, port: Optional[int] = None, *, timeout: Optional[float] = None, proxy: Any = None
    ) -> None:
        """Connects to a host and port, an Address, or a Unix socket ("unix:/path").

        A name is looked up, and its addresses are tried 250 ms apart, or as soon as the one before failed, until one connects
        (RFC 8305); `peer` is then that one. timeout: seconds, for all of it. Failure is told as on_error(sock, exc),
        then on_close: a ConnectError with each attempt in `.attempts`, or the ResolveError of a name that has no address.
        proxy: "socks5://[user:password@]host[:port]", or socks5h, which looks names up there (see SocksProxy in socks.py).
        StateError when it was connected already.
        """
        self.check_thread()
        self.require_open("connect")
        if self.link != DOWN:
            raise StateError("connect() on a socket that is connected or connecting", "make a new TCPSocket")
        target = Address.of(address, port)
        way = None
        if proxy is not None:
            try:
                from .socks import way_by
            except ModuleNotFoundError as exc:
                raise ModuleNotFoundError(left_out(exc, "net.socks", "socks"), name=exc.name) from None
            way = way_by(proxy, target, timeout)
        if timeout is not None:
            self.limit_opening(timeout, lambda: self._connect_late(timeout))
        self._peer = target
        self.link: int = CONNECTING
        self.activate()
        try:
            if way is not None or target.family is None:
                self._connect_name(target, way)
                return
            sock = socket.socket(target.family, socket.SOCK_STREAM)
            self.use_socket(sock, CONNECTING)
            error = sock.connect_ex(target.sockaddr())
            if not error:
                self.loop.call_soon(self.connected)
            elif error in IN_PROGRESS and not (target.family == AF_UNIX and error == errno.EAGAIN):  # its backlog is full
                self.update_interest()
            else:
                self.loop.call_soon(self._connect_failed, failure_of(error))
        except OSError as exc:  # no descriptor, or none for the poller; a scope that is no interface
            self._connect_failed(exc)

    def set_no_delay(self, on: bool = True) -> None:
        """TCP_NODELAY: small sends go at once. Nothing on a Unix socket."""
        self.set_option("set_no_delay", socket.IPPROTO_TCP, socket.TCP_NODELAY, on)

    def set_keep_alive(self, on: bool = True) -> None:
        """SO_KEEPALIVE: the kernel probes an idle peer."""
        self.set_option("set_keep_alive", socket.SOL_SOCKET, socket.SO_KEEPALIVE, on)

    @property
    def local(self) -> Optional[Address]:
        """Our address, None before connect (to a name: before on_connect) and after close."""
        if self._local is not None:
            return self._local
        try:
            return Address.from_sockaddr(self.sock.getsockname())
        except (OSError, AttributeError):
            return None

    @property
    def peer(self) -> Optional[Address]:
        """The peer's address (kept after close), None before connect. Of a name: the name, then the address that connected."""
        if self._peer is not None and not isinstance(self._peer, Address):
            self._peer = Address.from_sockaddr(self._peer)
        return self._peer

    # the extension interface: for transports that are built on this one, and for the PROXY protocol; the loop's thread

    def announce(self, peer: Optional[Address], local: Optional[Address] = None) -> None:
        """Has other addresses stand in the place of the kernel's, such as a proxy tells; None leaves the kernel's."""
        self._peer = self._peer if peer is None else peer
        self._local = local

    def set_option(self, verb: str, level: int, option: int, on: bool) -> None:
        """Sets a socket option for `verb`, the name of a method; StateError before connect, nothing on a Unix socket."""
        self.check_thread()
        if self.link == DOWN:
            raise StateError("%s() before connect()" % verb, "connect first", "start, then send")
        if self.phase == OPEN:
            if self._attempts is not None:
                self._attempts.set_option(level, option, on)
            elif self.sock is not None and self.sock.family != AF_UNIX:
                try:
                    self.sock.setsockopt(level, option, on)
                except OSError as exc:
                    if exc.errno != errno.EINVAL:  # macOS: the peer has gone already; reading tells of that
                        raise

    def limit_opening(self, seconds: float, late: Callable[[], Any]) -> None:
        """Calls `late()` in so many seconds, unless the stream is `opened()` or closed before."""
        due = self.loop.clock() + span(seconds, "timeout")
        self._opening = Watchdog(self.loop, lambda: due if self.link < UP else None, late, self.look)
        self._opening.watch()

    def opened(self) -> None:
        """Connected: what was queued goes out, and reading begins."""
        self._stop_opening()
        self.link = UP
        self.flush()
        self.update_interest()
        if self.phase == OPEN:
            if self.output:
                self.settle()
            self.emit("on_connect", self)

    def look(self) -> None:
        """As Stream.look; while it connects: takes the connection that may just have been made."""
        if self.link == CONNECTING and self._attempts is not None:
            self._attempts.look()
        elif self.link == CONNECTING and self.fd >= 0 and is_connected(self.sock):
            self.connected()
        super().look()

    # connecting

    def _connect_name(self, target: Address, way: Any) -> None:
        try:
            if way is None:
                from .happyeyeballs import HappyEyeballs as way
        except ModuleNotFoundError as exc:
            lacking = ResolveError("cannot look up %r: %s" % (target.host, left_out(exc, "net.happyeyeballs", "dns")))
            self.loop.call_soon(self._name_connected, None, None, lacking)
            return
        attempts = self._attempts = way(self.loop, target, self._name_connected)
        attempts.resolve()

    def _name_connected(self, sock: Any, address: Optional[Address], error: Optional[NetError]) -> None:
        self._attempts = None
        if self.link != CONNECTING:  # a deadline passed in this very turn
            if sock is not None:
                sock.close()
        elif error is not None:
            self.fail(error)
        else:
            self._peer = address
            self.sock: Any = sock  # active already, or in a TLSSocket's care
            self.fd: int = sock.fileno()
            self.recv: Callable[[int], bytes] = sock.recv
            self.opened()

    def connected(self) -> None:
        if self.link != CONNECTING or self.phase > CLOSING:
            return
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._connect_failed(failure_of(error))
        else:
            self.opened()

    def _connect_late(self, timeout: float) -> None:
        if self.link == CONNECTING:
            late = Deadline("not connected within %g s" % timeout)
            self.fail(self._attempts.failure(late) if self._attempts else connect_error(self._peer, [(self._peer, late)]))

    def _connect_failed(self, exc: OSError) -> None:
        if self.link == CONNECTING:
            self.fail(connect_error(self._peer, [(self._peer, exc)]))

    def _stop_opening(self) -> None:
        if self._opening is not None:
            self._opening.stop()
            self._opening = None

    def silence(self) -> None:
        self._stop_opening()
        if self._attempts is not None:
            self._attempts.abort()
            self._attempts = None
        super().silence()

    def title(self) -> str:
        return "%s %s" % (type(self).__name__, self.peer) if self._peer is not None else type(self).__name__


def is_connected(sock: Any) -> bool:
    """Whether a socket that was connecting is connected now."""
    try:
        sock.getpeername()
    except (OSError, AttributeError):
        return False
    return True


def connect_error(target: Address, attempts: List[Tuple[Address, OSError]], why: Optional[str] = None) -> ConnectError:
    """What on_error gets when none of `attempts` has connected to `target`. why: None for the last one's reason."""
    last = attempts[-1][1]
    failure = ConnectError("cannot connect to %s: %s" % (target, why or last.strerror or last), attempts)
    failure.__cause__ = last
    failure.errno = last.errno
    return failure
