"""TCPSocket and TCPListener, over IPv4, IPv6 and Unix sockets.

Rules
- A listener listens from its construction. An accepted socket is yours; with nobody attached to `on_accept` it is closed.
- Accepting goes in batches, so that a flood of connections does not keep the others from being served.
- Out of descriptors (EMFILE, ENFILE): the listener rests for a moment and tries again; one log line a second at most.
- `connect` takes a numeric address or a name. Its outcome always comes from the loop: `on_connect`, or `on_error` and
  `on_close`. While a name is looked up and its addresses are tried, the socket has a `Race` and no descriptor yet.

Not here: names (dns.py) and several addresses of one name (connect.py).
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import warnings

from ..base import log
from ..base.errors import ConnectError, Deadline, StateError
from ..base.handle import CLOSING, OPEN, Handle
from ..base.poller import READ
from ..base.signal import Event
from ..base.stream import CONNECTING, DOWN, UP, Stream
from .address import AF_UNIX, Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Sequence, Tuple, Union

    from ..base.errors import NetError
    from ..base.loop import Loop
    from ..base.timer import Timer
    from .connect import Race

    AddressLike = Union[Address, str, Tuple[str, int]]

BATCH = 64
REST = 0.1  # seconds a listener out of descriptors waits
IN_PROGRESS = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR)
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


AT_ONCE = (1).to_bytes(2 if os.name == "nt" else 4, sys.byteorder) + bytes(2 if os.name == "nt" else 4)  # linger: on, 0 s


class TCPSocket(Stream):
    """A stream that connects: `connect`, then as Stream. Sends made while it connects are queued."""

    __slots__ = ("_peer", "_local", "_connect_timer", "_race")

    secure = False  # whether it is TLS

    on_connect = Event("on_connect(sock): connected")

    def __init__(self, loop: Loop, sock: Optional[socket.socket] = None, peer: Any = None) -> None:
        self._peer = peer
        self._local: Optional[Address] = None  # where it is not the kernel's word
        self._connect_timer: Optional[Timer] = None
        self._race: Optional[Race] = None
        super().__init__(loop, sock)

    def connect(
        self, address: AddressLike, port: Optional[int] = None, *, timeout: Optional[float] = None
    ) -> None:
        """Connects to a host and port, an Address, or a Unix socket ("unix:/path").

        A name is looked up, and its addresses are tried 250 ms apart, or as soon as the one before failed, until one connects
        (RFC 8305); `peer` is then that one. timeout: seconds, for all of it together. Failure is told as on_error(sock, exc),
        then on_close: a ConnectError with each attempt in `.attempts`, or the ResolveError of a name that has no address.
        StateError when it was connected already.
        """
        self._check()
        self._require_open("connect")
        if self._link != DOWN:
            raise StateError("connect() on a socket that is connected or connecting", "make a new TCPSocket",
                             "start, then send")
        target = Address.of(address, port)
        if timeout is not None:
            self._connect_timer = self.loop.call_later(timeout, self._connect_late, timeout)
            self._connect_timer.unref()  # the socket's own ref decides
        self._peer = target
        if target.family is None:
            self._connect_name(target)
            return
        try:
            sock = socket.socket(target.family, socket.SOCK_STREAM)
        except OSError as exc:
            self._link = CONNECTING
            self._activate()
            self._connect_failed(exc)
            return
        self._use_socket(sock, CONNECTING)
        try:
            error = sock.connect_ex(target.sockaddr())
        except OSError as exc:  # a scope that is no interface
            self.loop.call_soon(self._connect_failed, exc)
            return
        if not error:
            self.loop.call_soon(self._connected)
        elif error in IN_PROGRESS and not (target.family == AF_UNIX and error == errno.EAGAIN):  # its backlog is full
            self._update()
        else:
            self.loop.call_soon(self._connect_failed, OSError(error, os.strerror(error)))

    def set_no_delay(self, on: bool = True) -> None:
        """TCP_NODELAY: small sends go at once. Nothing happens on a Unix socket."""
        self._option("set_no_delay", socket.IPPROTO_TCP, socket.TCP_NODELAY, on)

    def set_keep_alive(self, on: bool = True) -> None:
        """SO_KEEPALIVE: the kernel probes an idle peer."""
        self._option("set_keep_alive", socket.SOL_SOCKET, socket.SO_KEEPALIVE, on)

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
        """The peer's address (kept after close), None before connect. Of a name: the name's, then of what connected."""
        if self._peer is not None and not isinstance(self._peer, Address):
            self._peer = Address.from_sockaddr(self._peer)
        return self._peer

    def _announce(self, peer: Optional[Address], local: Optional[Address]) -> None:
        """Has the addresses that a proxy tells (not None) stand in the place of the kernel's."""
        self._peer = self._peer if peer is None else peer
        self._local = local

    def _look(self) -> None:
        """Reads what may just have come, without waiting for the selector to say so."""
        if self._reader is not None:
            self._reader(0)

    def _option(self, verb: str, level: int, option: int, on: bool) -> None:
        self._check()
        if self._link == DOWN:
            raise StateError("%s() before connect()" % verb, "connect first", "start, then send")
        if self._phase == OPEN:
            if self._race is not None:
                self._race.set_option(level, option, on)
            elif self.sock is not None and self.sock.family != AF_UNIX:
                self.sock.setsockopt(level, option, on)

    def _connect_name(self, target: Address) -> None:
        from .connect import Race

        self._race = Race(self.loop, target, self._raced)
        self._link = CONNECTING
        self._activate()
        self._race.resolve()

    def _raced(self, sock: Any, address: Optional[Address], error: Optional[NetError]) -> None:
        self._race = None
        if self._link != CONNECTING:  # a deadline passed in this very turn
            if sock is not None:
                sock.close()
        elif error is not None:
            self._break(error)
        else:
            self._peer = address
            self.sock, self._fd, self._recv = sock, sock.fileno(), sock.recv  # active already, or in a TLSSocket's care
            self._up()

    def _connected(self) -> None:
        if self._link != CONNECTING or self._phase > CLOSING:
            return
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._connect_failed(OSError(error, os.strerror(error)))
        else:
            self._up()

    def _up(self) -> None:
        """Connected: what was queued goes out, and reading begins."""
        self._stop_connect_timer()
        self._link = UP
        self._flush()
        self._update()
        if self._phase == OPEN:
            if self._out:
                self._drained()
            self._emit("on_connect", self)

    def _connect_late(self, timeout: float) -> None:
        if self._link == CONNECTING:
            late = Deadline("not connected within %g s" % timeout)
            self._break(connect_error(self._peer, self._race.attempts(late) if self._race else [(self._peer, late)]))

    def _connect_failed(self, exc: OSError) -> None:
        if self._link == CONNECTING:
            self._break(connect_error(self._peer, [(self._peer, exc)]))

    def _stop_connect_timer(self) -> None:
        if self._connect_timer is not None:
            self._connect_timer.abort()
            self._connect_timer = None

    def _silence(self) -> None:
        if self._queue and self._link == UP and not self.loop._forked:
            self._cut_short()
        self._stop_connect_timer()
        if self._race is not None:
            self._race.abort()
            self._race = None
        super()._silence()

    def _cut_short(self) -> None:
        """What is queued is given up: a reset for the peer, not an end that looks whole, and nothing for the kernel to keep."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        except (OSError, AttributeError):  # another kind of socket, or one that is broken: it goes its own way
            pass

    def _name(self) -> str:
        return "%s %s" % (type(self).__name__, self.peer) if self._peer is not None else type(self).__name__


class TCPListener(Handle):
    """Listens on `address` (an Address, (host, port) or text) from now on; OSError where that cannot be.

    backlog: connections the kernel keeps waiting. reuse_port: several processes share the port. fd: an inherited
    descriptor that is bound already (it is duplicated; `address` is then ignored and may be None).
    A Unix socket's file is made anew if nobody listens on the old one, and removed at the end.
    """

    __slots__ = ("sock", "address", "_interest", "_rest_timer", "_said", "_unlink")

    on_accept = Event("on_accept(listener, sock): a connection, yours from now on")
    on_error = Event("on_error(listener, exc): accepting failed; the listener goes on")

    def __init__(
        self,
        loop: Loop,
        address: Optional[AddressLike],
        *,
        backlog: int = 1024,
        reuse_port: bool = False,
        fd: Optional[int] = None,
    ) -> None:
        super().__init__(loop)
        self._interest = 0
        self._rest_timer: Optional[Timer] = None
        self._said = float("-inf")
        self._unlink: Optional[str] = None
        if fd is not None:
            self.sock = _duplicate(fd)
        else:
            if address is None:
                raise ValueError("a listener needs an address or a descriptor")
            self.sock = self._bound(Address.of(address), reuse_port)
        try:
            self.sock.setblocking(False)
            self.sock.listen(backlog)
        except BaseException:
            self._free()
            raise
        self.address = Address.from_sockaddr(self.sock.getsockname())
        self._activate()
        self._watch(True)

    def pause(self) -> None:
        """Accepts no more for now: connections wait in the kernel's backlog."""
        self._check()
        self._stop_resting()
        self._watch(False)

    def resume(self) -> None:
        """Accepts again."""
        self._check()
        if self._phase == OPEN:
            self._watch(True)

    def _bound(self, address: Address, reuse_port: bool) -> socket.socket:
        if address.family is None:
            raise ValueError("a listener takes a numeric address; %r is a name" % address.host)
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            if address.family == AF_UNIX:
                _remove_stale(address.host)
                sock.bind(address.host)
                self._unlink = address.host
                return sock
            if os.name == "posix":  # elsewhere the option lets two programs share a port
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                if not hasattr(socket, "SO_REUSEPORT"):
                    raise ValueError("reuse_port is not to be had on this system")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if address.family == socket.AF_INET6 and hasattr(socket, "IPV6_V6ONLY"):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address.host != "::")
            sock.bind(address.sockaddr())
        except BaseException:
            sock.close()
            raise
        return sock

    def _watch(self, on: bool) -> None:
        if bool(self._interest) != on:
            self._interest = READ if on else 0
            if on:
                self.loop._poller.register(self.sock.fileno(), READ, self._ready)
            else:
                self.loop._poller.unregister(self.sock.fileno())

    def _ready(self, mask: int) -> None:
        for _ in range(BATCH):
            if not self._interest:  # a slot closed or paused us
                return
            try:
                sock, peer = self.sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:  # gone before we came to it
                continue
            except OSError as exc:
                self._accept_failed(exc)
                return
            self._accepted(sock, peer)

    def _accepted(self, sock: socket.socket, peer: Any) -> None:
        signals = self._signals
        if signals is None or "on_accept" not in signals or not len(signals["on_accept"]):
            sock.close()
            return
        stream = TCPSocket(self.loop, sock, peer)
        try:
            signals["on_accept"].fire(self, stream)
        except Exception as exc:
            self.loop._report(exc, stream)
            stream.abort()

    def _accept_failed(self, exc: OSError) -> None:
        self._watch(False)
        self._rest_timer = self.loop.call_later(REST, self._rested)
        self._rest_timer.unref()
        if exc.errno not in _NO_DESCRIPTORS:
            log.error("tcp", "accept on %s: %s", self.address, exc)
            self._emit("on_error", self, exc)
        elif self.loop.now - self._said >= 1.0:
            self._said = self.loop.now
            log.warning("tcp", "accept on %s: %s; trying again in %g s", self.address, exc.strerror, REST)

    def _rested(self) -> None:
        self._rest_timer = None
        self._watch(True)

    def _stop_resting(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.abort()
            self._rest_timer = None

    def _silence(self) -> None:
        self._stop_resting()
        self._watch(False)

    def _free(self) -> None:
        self.sock.close()
        if self._unlink is not None and not self.loop._forked:
            path, self._unlink = self._unlink, None
            try:
                os.unlink(path)
            except OSError:  # somebody else removed it
                pass

    def _name(self) -> str:
        return "%s %s" % (type(self).__name__, self.address)

    def __del__(self) -> None:
        if getattr(self, "sock", None) is not None and self._active and self._phase == OPEN and not self.loop._forked:
            self.sock.close()  # first: the warning may be an error
            warnings.warn("%r was collected without close()" % self, ResourceWarning, 1, self)


def connect_error(target: Address, attempts: Sequence[Tuple[Address, OSError]]) -> ConnectError:
    """What on_error gets when none of `attempts`, (address, exception) pairs, has connected to `target`."""
    last = attempts[-1][1]
    if len(attempts) == 1:
        why = str(last.strerror or last)
    else:
        tried = ["%s (%s)" % (address, exc.strerror or exc) for address, exc in attempts]
        why = "%d addresses failed: %s" % (len(tried), ", ".join(tried))
    failure = ConnectError("cannot connect to %s: %s" % (target, why), attempts)
    failure.__cause__ = last
    failure.errno = last.errno
    return failure


def _duplicate(fd: int) -> socket.socket:
    """A socket over a descriptor of its own for what `fd` is open on; OSError where that is no socket."""
    own = os.dup(fd)
    try:
        return socket.socket(fileno=own)
    except BaseException:
        os.close(own)
        raise


def _remove_stale(path: str) -> None:
    """Removes a Unix socket's file that nobody listens on; leaves anything else, so that bind() says it is taken."""
    import stat

    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a listener that is only busy would have us wait
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass
