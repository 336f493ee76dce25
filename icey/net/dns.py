"""resolve(): the addresses of a host name, from the system's resolver, without holding up the loop.

    handle = resolve(loop, "localhost", 80, done)       # done(addresses, error) comes from the loop
    handle.close()                                      # cancels: `done` is never called

Rules
- The system's resolver (`socket.getaddrinfo`: the hosts file, DNS, whatever the system is set up for) blocks, so it is asked
  on a ThreadPool: at most 4 threads a loop, the first with the first name. A numeric host needs no thread.
- A lookup that was cancelled before its turn is skipped. An answer that comes too late, or to a closed loop, is dropped.
- (opt threading) Without threads, names are looked up on the loop, which stands still meanwhile; the log says so once a loop.

Not here: which address is tried first (happyeyeballs.py); a cache (the system's resolver has one, or is not to have one).
"""

from __future__ import annotations

import socket

from ..base.emitter import require_loop
from ..base.errors import ResolveError
from ..base.signal import require_callable
from ..base.threadpool import Job, ThreadPool
from .address import Address, encoded

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional

    from ..base.handle import Handle
    from ..base.loop import Loop

    Done = Callable[[List[Address], Optional[ResolveError]], Any]

MOST_THREADS = 4
THREAD = "icey resolver"
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def resolve(loop: Loop, host: str, port: int, done: Done) -> Handle:
    """Looks `host` up, then calls `done(addresses, error)` once, from the loop.

    host: a name (outside ASCII it is encoded by IDNA, RFC 3490) or a numeric address, which is its own answer.
    addresses: Address objects without duplicates, in the system's order (RFC 6724); error: None, or a ResolveError, and then
    there are none. ValueError: what cannot be a host or a port.
    The handle keeps the loop running until it has answered, then closes by itself. `close()` cancels: on_close only.
    """
    require_loop("resolve", loop)
    require_callable(done, "done")
    return Lookup(loop, Address(host, port), done)


class Lookup(Job):
    """One name being looked up. `address`: what is looked up, an Address with the host and the port."""

    __slots__ = ("address",)

    def __init__(self, loop: Loop, address: Address, done: Done) -> None:
        self.address: Address = address
        super().__init__(loop, done)
        if address.numeric:
            self.result: Any = ([address], None)
            loop.call_soon(self.tell)
        else:
            _pool(loop).give(self, look_up, (address,))

    def told(self, result: Any, error: Optional[BaseException]) -> None:
        if error is not None and not isinstance(error, ResolveError):  # the pool's own
            error = _failure(self.address.host, error)
        super().told(result or [], error)

    def title(self) -> str:
        return "%s %s" % (type(self).__name__, self.address)


def look_up(address: Address) -> List[Address]:
    """Asks the system, in whatever thread. ResolveError where there is no address."""
    try:
        found = socket.getaddrinfo(encoded(address.host), address.port, 0, socket.SOCK_STREAM)
        addresses = [Address.from_sockaddr(sockaddr) for family, _, _, _, sockaddr in found if family in _FAMILIES]
        if not addresses:
            raise OSError("it has neither an IPv4 nor an IPv6 address")
    except Exception as exc:  # gaierror; UnicodeError: no host name
        failure = _failure(address.host, exc)
    else:
        return list(dict.fromkeys(addresses))
    raise failure


def _failure(host: str, exc: BaseException) -> ResolveError:
    error = ResolveError("cannot resolve %r: %s" % (host, getattr(exc, "strerror", None) or str(exc) or repr(exc)))
    error.errno = getattr(exc, "errno", None)
    error.__cause__ = exc
    exc.__traceback__ = None  # its frames would keep what the thread had in hand alive
    return error


def _pool(loop: Loop) -> ThreadPool:
    pool = loop.services.get("resolver")
    if not isinstance(pool, ThreadPool) or pool.closing:
        pool = loop.services["resolver"] = ThreadPool(loop, MOST_THREADS, max_pending=None, name=THREAD)
    return pool
