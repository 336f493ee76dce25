"""TCPListener: accepts connections, over IPv4, IPv6 and Unix sockets.

Rules
- A listener listens from its construction. An accepted socket is yours; with nobody attached to `on_accept` it is closed.
- Accepting goes in batches: a flood of connections does not keep others from being served.
- Out of descriptors (EMFILE, ENFILE) or memory: the listener rests for a moment and tries again; one log line a second at most.
"""

from __future__ import annotations

import errno
import os
import socket

from ..base import log
from ..base.debug import unclosed
from ..base.handle import FINISHING, OPEN, Handle
from ..base.poller import READ
from ..base.signal import Event
from .address import AF_UNIX, Address, named
from .tcp import TCPSocket

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Tuple

    from typing_extensions import Self

    from ..base.loop import Loop
    from ..base.timer import Timer
    from .address import AddressLike

BATCH = 64
REST = 0.1  # seconds without descriptors
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM,
                   getattr(errno, "WSAEMFILE", errno.EMFILE))  # Windows has a number of its own for sockets


class TCPListener(Handle):
    """Listens on `address` (an Address, (host, port) or text) from now on; OSError where that cannot be.

    backlog: the number of connections that the kernel keeps waiting. reuse_port: several processes share the port. fd: an
    inherited descriptor that is bound already (it is duplicated; `address` is then ignored and may be None).
    A Unix socket's file is made anew if nobody listens on the old one, and removed at the end if it is still this socket's.
    `address`: the Address it listens on, with the port that the kernel chose. `sock`: its socket.
    """

    __slots__ = ("sock", "address", "_backlog", "_to_the_end", "_last_look", "_interest", "_rest_timer", "_said", "_unlink")

    on_accept: Event[Callable[[Self, TCPSocket], Any]] = Event("on_accept(listener, sock): a connection, yours from now on")
    on_error: Event[Callable[[Self, Exception], Any]] = Event("on_error(listener, exc): accepting failed; the listener goes on")

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
        self._backlog = backlog
        self._to_the_end = False  # what comes before the close is accepted, too
        self._last_look = False  # it is closing so
        self._interest = 0
        self._rest_timer: Optional[Timer] = None
        self._said = float("-inf")
        self._unlink: Optional[Tuple[str, int, int]] = None  # path, device and inode of a Unix socket's file
        if fd is not None:
            self.sock: socket.socket = _duplicate(fd)
        else:
            if address is None:
                raise ValueError("a listener needs an address or a descriptor")
            self.sock = self._bound(Address.of(address), reuse_port)
        try:
            self.sock.setblocking(False)
            self.sock.listen(backlog)
        except BaseException:
            self.free()
            raise
        self.address: Address = Address.from_sockaddr(self.sock.getsockname())
        self.activate()
        self._watch(True)

    def pause(self) -> None:
        """Accepts no more for now: connections wait in the kernel's backlog."""
        self.check_thread()
        self._stop_resting()
        self._watch(False)

    def resume(self) -> None:
        """Accepts again."""
        self.check_thread()
        if self.phase == OPEN:
            self._watch(True)

    def accept_waiting(self) -> None:
        """Accepts what waits in the kernel's backlog now, also while paused: for who is about to close, which resets them.

        What comes between this and the end of the turn, when a close() closes the socket, is accepted then. At most as many as
        the backlog holds: a listener shared with other processes may never run empty.
        """
        self.check_thread()
        self._to_the_end = True
        self._accept_all(OPEN)

    def _accept_all(self, last: int) -> None:
        left = self._backlog + 1
        while left and self.phase <= last and self._accept_one():
            left -= 1

    def _bound(self, address: Address, reuse_port: bool) -> socket.socket:
        if address.family is None:
            raise ValueError("a listener takes a numeric address, such as 127.0.0.1 or ::, and %r is a name" % address.host)
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            if address.family == AF_UNIX:
                _remove_stale(address.host)
                sock.bind(address.host)
                path = os.path.abspath(address.host)
                stat = os.stat(path)
                self._unlink = path, stat.st_dev, stat.st_ino
                return sock
            # On Windows it lets two programs share a port; Emscripten has none.
            if os.name == "posix" and hasattr(socket, "SO_REUSEADDR"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                if not hasattr(socket, "SO_REUSEPORT"):
                    raise ValueError("reuse_port is not to be had on this system")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if address.family == socket.AF_INET6 and hasattr(socket, "IPV6_V6ONLY"):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address.host != "::")
            sock.bind(address.sockaddr())
        except BaseException as exc:
            sock.close()
            if isinstance(exc, OSError):
                named(exc, address)
            raise
        return sock

    def _watch(self, on: bool) -> None:
        if bool(self._interest) != on:
            self._interest = READ if on else 0
            if on:
                try:
                    self.loop.poller.register(self.sock.fileno(), READ, self._ready)
                except OSError as exc:
                    self._accept_failed(exc)
            else:
                self.loop.poller.unregister(self.sock.fileno())

    def _ready(self, mask: int) -> None:
        for _ in range(BATCH):
            if not self._interest or not self._accept_one():  # a slot closed or paused us
                return

    def _accept_one(self) -> bool:
        """Accepts one connection; False where none waits, or none can be had."""
        try:
            self.loop.poller.require_room(0)  # on Windows it counts: the others wait
            sock, peer = self.sock.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:  # it has gone
            return True
        except (OSError, MemoryError) as exc:
            self._accept_failed(exc)
            return False
        self._accepted(sock, peer)
        return True

    def _accepted(self, sock: socket.socket, peer: Any) -> None:
        signals = self.signals
        if signals is None or "on_accept" not in signals or not len(signals["on_accept"]):
            sock.close()
            return
        try:
            self.loop.poller.require_room(sock.fileno())
            stream = TCPSocket(self.loop, sock, peer)
        except (OSError, MemoryError) as exc:  # none for one more: it goes
            sock.close()
            self._accept_failed(exc)
            return
        try:
            signals["on_accept"].fire(self, stream)
        except Exception as exc:
            self.loop.report(exc, stream)
            stream.abort()
        except BaseException:  # an interrupt: it may be nobody's
            stream.abort()
            raise

    def _accept_failed(self, exc: Exception) -> None:
        if not isinstance(exc, OSError):
            exc = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self._watch(False)
        if self._rest_timer is not None or self.phase != OPEN:
            return
        self._rest_timer = self.loop.call_later(REST, self._rested)
        self._rest_timer.unref()
        if exc.errno not in _NO_DESCRIPTORS:
            log.error("tcp", "accept on %s: %s", self.address, exc)
            self.emit("on_error", self, exc)
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

    def mend(self) -> None:
        if self._interest:
            self.loop.poller.unregister(self.sock.fileno())
            self._interest = 0
            self._watch(True)

    def silence(self) -> None:
        self._stop_resting()
        self._watch(False)

    def begin_close(self) -> None:
        self._last_look = self._to_the_end
        self.finish()

    def free(self) -> None:
        if self._last_look and not self.loop.closed and not self.loop.forked:
            self._accept_all(FINISHING)
        if self._unlink is not None and not self.loop.forked:
            (path, *file), self._unlink = self._unlink, None
            try:
                stat = os.stat(path)
                if [stat.st_dev, stat.st_ino] == file:  # else another has the path by now
                    os.unlink(path)
            except OSError:  # somebody removed it
                pass
        self.sock.close()  # last: until then nothing else has its inode

    def title(self) -> str:
        return "%s %s" % (type(self).__name__, self.address)

    def __del__(self, unclosed: Callable[[Any], None] = unclosed, still: int = OPEN, getattr: Any = getattr) -> None:
        if getattr(self, "sock", None) is not None and self.registered and self.phase == still and not self.loop.forked:
            unclosed(self)


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
        probe.setblocking(False)  # one that is only busy would have us wait
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass
