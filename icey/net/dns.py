"""resolve(): the addresses of a host's name, asked of the system without holding the loop.

    handle = resolve(loop, "localhost", 80, done)       # done(addresses, error) comes from the loop
    handle.close()                                      # cancels: done never comes

Rules
- The system's resolver (`socket.getaddrinfo`: the hosts file, DNS, whatever it is set up for) blocks, so threads ask it: at
  most 4 a loop, the first with the first name, one more only while all are busy. A numeric host needs none.
- While it waits a thread holds neither a loop nor a lookup. One that was cancelled before its turn is skipped, and an
  answer that comes too late, to a closed loop too, is dropped. A thread that is stuck holds up nothing: it is a daemon.
- (opt threading) Without it, names are looked up on the loop, which stands still meanwhile and says so once.

Not here: which address is tried first (connect.py); a cache (the system's resolver has one, or is not to have one).
"""

from __future__ import annotations

import socket
import weakref

from ..base import log
from ..base.errors import ResolveError
from ..base.handle import OPEN, Handle
from .address import Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue import SimpleQueue
    from typing import Any, Callable, List, Optional, Tuple

    from ..base.loop import Loop

    Done = Callable[[List[Address], Optional[ResolveError]], Any]
    Answer = Tuple[List[Address], Optional[ResolveError]]
    LookupOf = Callable[[], Optional["Lookup"]]  # weak references: what the threads hold
    PoolOf = Callable[[], Optional["Pool"]]

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
    return Lookup(loop, Address(host, port), done)


class Lookup(Handle):
    """One name being looked up."""

    __slots__ = ("address", "_done")

    def __init__(self, loop: Loop, address: Address, done: Done) -> None:
        super().__init__(loop)
        self.address = address
        self._done: Optional[Done] = done
        if address.numeric:
            loop.call_soon(self._answer, [address], None)
        else:
            _pool(loop).look_up(self)
        self._activate()

    def _answer(self, addresses: List[Address], error: Optional[ResolveError]) -> None:
        done = self._done
        if done is None or self._phase != OPEN:  # cancelled
            return
        try:
            done(addresses, error)
        except Exception as exc:
            self._slot_failed(exc)
        finally:
            self._finish()

    def _silence(self) -> None:
        self._done = None

    def _name(self) -> str:
        return "%s %s" % (type(self).__name__, self.address)


class Pool(Handle):
    """The threads of one loop that look names up. It lives as long as its loop and does not keep it running."""

    __slots__ = ("_jobs", "_threads", "_under_way", "_said")

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self._jobs: Optional[SimpleQueue[Optional[Tuple[LookupOf, Address]]]] = None
        self._threads = 0
        self._under_way = 0  # given to the threads and not yet come back
        self._said = False
        self.unref()
        self._activate()

    def look_up(self, lookup: Lookup) -> None:
        """Has a thread answer `lookup`, or the loop itself where there are none."""
        why = self._staff()
        lookup_of = weakref.ref(lookup)
        if self._jobs is not None and self._threads:
            self._under_way += 1
            self._jobs.put((lookup_of, lookup.address))
            return
        if not self._said:
            self._said = True
            log.warning("dns", "%s, so that resolving %r blocks the loop; numeric addresses do not (this is said once a loop)",
                        why, lookup.address.host)
        self.loop.call_soon(_serve, lookup_of, lookup.address)

    def _staff(self) -> str:
        """One thread more if all are busy and there may be more; the reason where that cannot be."""
        if self._under_way < self._threads or self._threads == MOST_THREADS:
            return ""
        try:
            import threading
            from queue import SimpleQueue
        except ImportError:
            return "`threading` is missing here"
        if self._jobs is None:
            self._jobs = SimpleQueue()
        thread = threading.Thread(target=_work, args=(self._jobs, weakref.ref(self)), name=THREAD, daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:
            return "no thread could be started (%s)" % exc
        self._threads += 1
        return ""

    def _served(self) -> None:
        self._under_way -= 1

    def _free(self) -> None:
        jobs, self._jobs = self._jobs, None
        if jobs is not None and not self.loop._forked:  # in a child there are no threads, and the queue may be locked
            jobs.put(None)

    def __del__(self) -> None:
        if getattr(self, "_jobs", None) is not None:  # the loop was collected unclosed
            self._free()


def look_up(address: Address) -> Answer:
    """Asks the system, in whatever thread: the addresses and None, or none and the ResolveError."""
    try:
        found = socket.getaddrinfo(address.host, address.port, 0, socket.SOCK_STREAM)
        addresses = [Address.from_sockaddr(sockaddr) for family, _, _, _, sockaddr in found if family in _FAMILIES]
        if not addresses:
            raise OSError("it has neither an IPv4 nor an IPv6 address")
    except Exception as exc:  # gaierror; UnicodeError: no host name; LookupError: this Python lacks the idna codec
        return [], _failure(address.host, exc)
    return list(dict.fromkeys(addresses)), None


def _failure(host: str, exc: Exception) -> ResolveError:
    error = ResolveError("cannot resolve %r: %s" % (host, getattr(exc, "strerror", None) or exc))
    error.errno = getattr(exc, "errno", None)
    error.__cause__ = exc
    exc.__traceback__ = None  # its frames would keep what the thread had in hand alive
    return error


def _pool(loop: Loop) -> Pool:
    pool = loop._services.get("resolver")
    if not isinstance(pool, Pool) or pool.closing:
        pool = loop._services["resolver"] = Pool(loop)
    return pool


# the threads

def _work(jobs: SimpleQueue[Optional[Tuple[LookupOf, Address]]], pool_of: PoolOf) -> None:
    for lookup_of, address in iter(jobs.get, None):
        _serve(lookup_of, address, pool_of)
    jobs.put(None)  # for the others: one is enough to end them all


def _serve(lookup_of: LookupOf, address: Address, pool_of: PoolOf = lambda: None) -> None:
    answer = look_up(address) if _is_wanted(lookup_of) else None
    pool = pool_of()
    if pool is not None:
        pool.loop.post(pool._served)  # first: a name that is asked for in `done` meets an idle thread
    lookup = lookup_of()
    if lookup is not None and answer is not None:
        lookup.loop.post(lookup._answer, *answer)


def _is_wanted(lookup_of: LookupOf) -> bool:
    lookup = lookup_of()
    return lookup is not None and not lookup.closing
