"""HappyEyeballs: one name, several addresses, the first connection wins (RFC 8305).

Rules
- The families take turns, the family of the system's first address going first (section 4).
- An attempt starts 250 ms after the one before it (section 5), or as soon as that has failed. All go on until one connects.
- The first to connect wins. The others are closed in the same turn, by the loop's closing phase: a descriptor that the events
  of this turn may still name is not used again before the turn is over.
- The attempts keep no loop running: the socket that they are made for does, unless it is `unref`ed.

Not here: how a name becomes addresses (dns.py); what the winner is used for, and the deadline (tcp.py); attempts that go by a
proxy (socks.py).
"""

from __future__ import annotations

import socket
from collections import deque
from functools import partial
from itertools import zip_longest

from ..base.handle import Handle
from ..base.poller import WRITE
from .address import failure_of
from .dns import resolve
from .tcp import IN_PROGRESS, connect_error, is_connected

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Tuple

    from ..base.errors import ConnectError, NetError, ResolveError
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


class HappyEyeballs(Handle):
    """Connects to one of the addresses of `target`, then calls `done(sock, address, error)` once, from the loop.

    sock: a connected socket, the caller's from now on, and its Address; or None, and `error` says why: a ResolveError, or a
    ConnectError with all attempts. Begin with `resolve()`, or with `start(addresses)`, on the loop (it may call `done`).
    `target`: an Address, which may be a name.

    A subclass may connect in another way, by its own `attempt`, `look` and `let_go`. For it: `delay`, seconds until the next
    attempt starts; `running`, the attempts that go on by their addresses; `options`, of `set_option`; `over`, `end`, `explain`.
    """

    __slots__ = ("target", "running", "options", "_done", "_lookup", "_timer", "_waiting", "_errors")

    sock = "of its own, or soon"  # in debug mode, loop.close() names the handles that have one
    delay = ATTEMPT_DELAY

    def __init__(self, loop: Loop, target: Address, done: Done) -> None:
        super().__init__(loop)
        self.target: Address = target
        self._done = done
        self._lookup: Optional[Handle] = None
        self._timer: Optional[Timer] = None  # of the next attempt
        self._waiting: Deque[Address] = deque()
        self.running: Dict[Address, Any] = {}  # the sockets that are connecting
        self._errors: Dict[Address, Optional[OSError]] = {}  # of each attempt in the order tried; None: it is running
        self.options: List[Tuple[int, int, bool]] = []
        self.unref()
        self.activate()

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
        self.options.append((level, option, on))
        for sock in self.running.values():
            sock.setsockopt(level, option, on)

    def look(self) -> None:
        """Takes the attempt that may just have come to its end, without waiting for the poller to say so."""
        for address, sock in list(self.running.items()):
            if self.running and is_connected(sock):
                self._ready(address, 0)
                return

    def failure(self, pending: OSError) -> ConnectError:
        """What to tell now that all have failed, or are given up: `pending` is the error of those that run."""
        attempts = [(address, error or pending) for address, error in self._errors.items()]
        return self.explain(attempts or [(self.target, pending)])

    def explain(self, attempts: Attempts) -> ConnectError:
        """The error for these attempts, in the order tried."""
        tried = ["%s (%s)" % (address, exc.strerror or exc) for address, exc in attempts]
        why = "%d addresses failed: %s" % (len(tried), ", ".join(tried)) if len(tried) > 1 else None
        return connect_error(self.target, attempts, why)

    def _resolved(self, addresses: List[Address], error: Optional[ResolveError]) -> None:
        if error is not None:
            self.end(None, None, error)
        else:
            self.start(interleave(addresses))

    def _next(self) -> None:
        """Starts the next attempt, and the one after it if that fails at once, and so on."""
        self._stop_timer()
        while self._waiting:
            address = self._waiting.popleft()
            self._errors[address] = None
            try:
                sock = self.attempt(address)
            except OSError as exc:
                exc.__traceback__ = None  # its frames would keep this handle alive
                self._errors[address] = exc
                continue
            if sock is not None:
                self.end(sock, address, None)
                return
            break
        if self._waiting:
            self._timer = self.loop.call_later(self.delay, self._next)
            self._timer.unref()
        elif not self.running:
            self.end(None, None, self.explain(self._failed()))

    def attempt(self, address: Address) -> Any:
        """Starts an attempt. The socket where it is connected at once, None while it is connecting; OSError: it failed."""
        assert address.family is not None  # what is tried is numeric
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            for level, option, on in self.options:
                sock.setsockopt(level, option, on)
            error = sock.connect_ex(address.sockaddr())
            if error in IN_PROGRESS:
                self.loop.poller.register(sock.fileno(), WRITE, partial(self._ready, address))
            elif error:
                raise failure_of(error)
        except OSError:
            sock.close()
            raise
        if not error:
            return sock
        self.running[address] = sock
        return None

    def _ready(self, address: Address, mask: int) -> None:
        """The attempt at `address` has come to an end."""
        sock = self.running.pop(address)
        self.loop.poller.unregister(sock.fileno())
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not error:
            self.end(sock, address, None)
            return
        sock.close()  # at once: its event of this turn was this one
        self.over(address, failure_of(error))

    def over(self, address: Address, error: OSError, hopeless: bool = False) -> None:
        """The attempt at `address` has failed: others go on, or the next one starts. hopeless: it would meet the same."""
        self._errors[address] = error
        if hopeless:
            self.end(None, None, self.explain(self._failed()))
        elif address == list(self._errors)[-1] or not self.running:
            self._next()

    def end(self, sock: Any, address: Optional[Address], error: Optional[NetError]) -> None:
        """It is over: `done` is called with these."""
        self.finish()
        self._done(sock, address, error)

    def _failed(self) -> Attempts:
        return [(address, error) for address, error in self._errors.items() if error]

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.abort()
            self._timer = None

    def silence(self) -> None:
        self._stop_timer()
        if self._lookup is not None:
            self._lookup.abort()
            self._lookup = None
        self.let_go()

    def let_go(self) -> None:
        """Has nothing more come of those that run."""
        for sock in self.running.values():
            self.loop.poller.unregister(sock.fileno())

    def free(self) -> None:
        for sock in self.running.values():
            sock.close()
        self.running.clear()

    def title(self) -> str:
        return "TCPSocket connecting to %s" % self.target
