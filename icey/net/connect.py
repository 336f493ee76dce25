"""Race: one name, several addresses, the first connection wins (RFC 8305, "Happy Eyeballs").

Rules
- The families take turns, the family of the system's first address going first (section 4).
- An attempt starts 250 ms after the one before it (section 5), or as soon as that has failed. All go on until one connects.
- The first to connect wins. The others are closed in the same turn, by the loop's closing phase: no descriptor that this
  turn's events may still name is used again before it is over.
- A race keeps no loop running: it is the socket's affair, whose `ref` and `unref` then mean what they always mean.

Not here: how a name becomes addresses (dns.py); what the winner is used for, and the deadline (tcp.py).
"""

from __future__ import annotations

import os
import socket
from collections import deque
from functools import partial
from itertools import zip_longest

from ..base.handle import Handle
from ..base.poller import WRITE
from .dns import resolve
from .tcp import IN_PROGRESS, connect_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Tuple

    from ..base.errors import NetError, ResolveError
    from ..base.loop import Loop
    from ..base.timer import Timer
    from .address import Address

    Attempts = List[Tuple[Address, OSError]]
    Done = Callable[[Any, Optional[Address], Optional[NetError]], Any]

ATTEMPT_DELAY = 0.25  # seconds; what RFC 8305 section 5 recommends


def interleave(addresses: Sequence[Address]) -> List[Address]:
    """The order to try them in: the families in turn, beginning with that of the first address (RFC 8305 section 4)."""
    first = [address for address in addresses if address.family == addresses[0].family]
    other = [address for address in addresses if address.family != addresses[0].family]
    return [address for pair in zip_longest(first, other) for address in pair if address is not None]


class Race(Handle):
    """Connects to one of the addresses of `target`, then calls `done(sock, address, error)` once, from the loop.

    sock: a connected socket, the caller's from now on, and its Address; or None, and error says why: a ResolveError, or a
    ConnectError with all attempts. Begin with `resolve()`, or with `start(addresses)`, on the loop (it may call `done`).
    """

    __slots__ = ("target", "_done", "_lookup", "_timer", "_waiting", "_running", "_errors", "_options")

    sock = "of its own, or soon"  # in debug mode, loop.close() names the handles that have one

    def __init__(self, loop: Loop, target: Address, done: Done) -> None:
        super().__init__(loop)
        self.target = target
        self._done = done
        self._lookup: Optional[Handle] = None
        self._timer: Optional[Timer] = None  # of the next attempt
        self._waiting: Deque[Address] = deque()
        self._running: Dict[Address, Any] = {}  # the sockets that are connecting
        self._errors: Dict[Address, Optional[OSError]] = {}  # of each attempt in the order tried; None: it is running
        self._options: List[Tuple[int, int, bool]] = []
        self.unref()
        self._activate()

    def resolve(self) -> None:
        """Looks the target up, then tries its addresses."""
        assert self.target.port is not None
        self._lookup = resolve(self.loop, self.target.host, self.target.port, self._resolved)
        self._lookup.unref()

    def start(self, addresses: Sequence[Address]) -> None:
        """Tries `addresses`, in this order."""
        self._waiting.extend(addresses)
        self._next()

    def set_option(self, level: int, option: int, on: bool) -> None:
        """A socket option for all attempts, those to come too."""
        self._options.append((level, option, on))
        for sock in self._running.values():
            sock.setsockopt(level, option, on)

    def attempts(self, pending: OSError) -> Attempts:
        """(address, error) of each attempt in the order tried, `pending` being the error of those that run."""
        return [(address, error or pending) for address, error in self._errors.items()] or [(self.target, pending)]

    def _resolved(self, addresses: List[Address], error: Optional[ResolveError]) -> None:
        if error is not None:
            self._end(None, None, error)
        else:
            self.start(interleave(addresses))

    def _next(self) -> None:
        """Starts the next attempt, and the one after it if that fails at once, and so on."""
        self._stop_timer()
        while self._waiting:
            address = self._waiting.popleft()
            self._errors[address] = None
            try:
                sock = self._try(address)
            except OSError as exc:
                exc.__traceback__ = None  # its frames would keep the race alive
                self._errors[address] = exc
                continue
            if sock is not None:
                self._end(sock, address, None)
                return
            break
        if self._waiting:
            self._timer = self.loop.call_later(ATTEMPT_DELAY, self._next)
            self._timer.unref()
        elif not self._running:
            self._end(None, None, connect_error(self.target, [(at, exc) for at, exc in self._errors.items() if exc]))

    def _try(self, address: Address) -> Any:
        """Starts an attempt. The socket where it is connected at once, None while it is connecting; OSError: it failed."""
        assert address.family is not None  # what is tried is numeric
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            for level, option, on in self._options:
                sock.setsockopt(level, option, on)
            error = sock.connect_ex(address.sockaddr())
            if error in IN_PROGRESS:
                self.loop._poller.register(sock.fileno(), WRITE, partial(self._ready, address))
            elif error:
                raise OSError(error, os.strerror(error))
        except OSError:
            sock.close()
            raise
        if not error:
            return sock
        self._running[address] = sock
        return None

    def _ready(self, address: Address, mask: int) -> None:
        """The attempt at `address` has come to an end."""
        sock = self._running.pop(address)
        self.loop._poller.unregister(sock.fileno())
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not error:
            self._end(sock, address, None)
            return
        sock.close()  # at once: its event of this turn was this one
        self._errors[address] = OSError(error, os.strerror(error))
        if address == list(self._errors)[-1] or not self._running:
            self._next()

    def _end(self, sock: Any, address: Optional[Address], error: Optional[NetError]) -> None:
        self._finish()
        self._done(sock, address, error)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.abort()
            self._timer = None

    def _silence(self) -> None:
        self._stop_timer()
        if self._lookup is not None:
            self._lookup.abort()
            self._lookup = None
        for sock in self._running.values():
            self.loop._poller.unregister(sock.fileno())

    def _free(self) -> None:
        for sock in self._running.values():
            sock.close()
        self._running.clear()

    def _name(self) -> str:
        return "TCPSocket connecting to %s" % self.target
