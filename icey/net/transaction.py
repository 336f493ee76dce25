"""Transaction: a question by datagram, asked again until its answer comes: STUN, DNS, SSDP and their like.

    def done(view, error):                    # once, from the loop: a lent view of the answer, or why there is none
        print(error or bytes(view))

    Transaction(udp, query, ("192.0.2.53", 53), match=lambda view, sender: view[:2] == query[:2], done=done)

Rules
- The question is sent at once, and again when `timeout`, then twice that, four times that ... has passed without an answer;
  behind the last of `retries` re-sends one wait more, then Deadline (the manner of RFC 8489 section 6.2.1).
- Each datagram that comes to the socket is offered to its transactions, oldest first, until the `match` of one takes it. The
  socket's own `on_recv` slots see every datagram, those that were taken too, behind the transactions: a slot hides nothing.
- A transaction is a slot of its socket, which receives while there is one, and stops behind the last unless others listen.
- A wait looks before it is over: what lies in the kernel is taken first, and time in which a slot held the loop does not count.
- `done` is called once, never inside the constructor. `close()` and `abort()` cancel: it is not called any more.
- What `match` raises goes to `loop.on_error`, and the datagram was no answer: anybody can send one that is malformed. What
  `done` raises goes there, too; the transaction is over all the same.

Not here: names (dns.py), a search that many answer (`match` collects and returns False: see Transaction).
"""

from __future__ import annotations

import errno

from ..base.buffer import let_go, own
from ..base.debug import place
from ..base.errors import Deadline, NetError, QueueFull
from ..base.handle import OPEN, Handle
from ..base.signal import require_callable
from ..base.timer import seconds
from ..base.watchdog import Watchdog
from .address import Address
from .datagram import DatagramSocket

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Tuple

    from ..base.buffer import Sendable
    from .address import AddressLike

    Match = Callable[[memoryview, Address], Any]
    Done = Callable[[Optional[memoryview], Optional[Exception]], Any]

FIRST = 1000  # the priority of transactions among the on_recv slots of their socket
RUNS = 32  # of datagrams that a look takes at most: more than a receive buffer of the usual size holds
# Port or protocol unreachable: hard errors (RFC 1122 section 4.2.3.9), which end a transaction (RFC 8489 section 6.2.1).
# The others, such as no route to the host, may pass. Windows tells of a port that is unreachable by ECONNRESET.
_NOBODY = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOPROTOOPT)


class Transaction(Handle):
    """Sends `data`, and again until a datagram comes that `match(view, sender)` takes; then `done(view, None)`, once.

    data: bytes-like or a list of such; what is mutable is copied, once. address: as UDPSocket.send takes it, None for the peer
    of a connected socket. match: returns True for the answer; it should compare what only an answer can have, an id, and on a
    socket that is not connected the sender. view: lent, as to an `on_recv` slot. timeout: seconds of the first wait, each
    further one is twice as long; retries: how often it is sent again: 0.5 and 4 make 15.5 seconds in all.

    `done(None, error)` where there is no answer: Deadline, whose `__cause__` is the last error that the socket told meanwhile,
    if any; NetError where the socket is closed before, or where a connected socket hears that nobody listens there (ICMP port
    unreachable: to ask again is to hear that again; a socket that is not connected cannot tell whom an error is about, and
    goes on); what a re-send raised, such as a datagram that has become too large. A queue that is full only costs that send.

    Raises what `send` raises for the first datagram: ValueError for a name, StateError, NetError for one that is too large;
    QueueFull aside. ValueError, TypeError: the numbers, the callables.

    While the socket is paused nothing is sent again and no wait ends: the wait begins anew.

    A search that many answer, such as SSDP's: `match` collects what it wants and returns False, so that the question is asked
    again, too; the Deadline ends the search. `close()` ends it before.

    `udp`: the socket. `address`: an Address, or None. `sent`: how many datagrams have been sent.
    """

    __slots__ = ("udp", "address", "sent", "_datagram", "_match", "_done", "_wait", "_left", "_total", "_until", "_watchdog",
                 "_cause", "_heeds", "_group", "_where")

    def __init__(
        self, udp_socket: DatagramSocket, data: Sendable, address: Optional[AddressLike] = None, *, match: Match,
        timeout: float = 0.5, retries: int = 4, done: Done,
    ) -> None:
        if not isinstance(udp_socket, DatagramSocket):
            raise TypeError("a Transaction is made on a UDPSocket, not %r" % (udp_socket,))
        super().__init__(udp_socket.loop)
        require_callable(match, "match")
        require_callable(done, "done")
        if not seconds(timeout, "timeout") > 0:
            raise ValueError("timeout is more than 0 seconds, not %r" % (timeout,))
        if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= 100:
            raise ValueError("retries is how often to send again, 0 to 100, not %r" % (retries,))
        self.udp: DatagramSocket = udp_socket
        self.address: Optional[Address] = None if address is None else Address.of(address)
        self.sent: int = 0
        parts = self.loop.read_buffer.parts(data, False)
        self._datagram = own(parts[0]) if len(parts) == 1 else b"".join(parts)
        let_go(parts)
        self._match: Optional[Match] = match
        self._done: Optional[Done] = done
        self._wait = timeout
        self._left = retries
        self._total = 0.0
        self._until = 0.0
        self._cause: Optional[BaseException] = None
        self._heeds = False
        self._where = "the match %s or done %s of a Transaction" % (place(match), place(done)) if self.loop.debug else ""
        self._watchdog = Watchdog(self.loop, lambda: self._until, self._waited, self._look)
        try:
            self._send()
            self._group = Transactions.of(udp_socket)
            self._group.join(self)
        except BaseException:
            self._watchdog.release()
            raise
        self.activate()
        self._begin_wait()
        # What a send tells of was an earlier datagram's fault; it is told before this is called.
        self.loop.soon(self._heed)

    # what the socket tells: the loop's thread

    def _offer(self, view: memoryview, sender: Any) -> bool:
        """A datagram has come. True: it is taken, whatever becomes of it."""
        match = self._match
        if match is None or self._done is None:
            return False
        try:
            taken = match(view, sender)
        except Exception as exc:
            self.slot_failed(exc)
            return False
        if taken:
            self._end(view, None)
        return bool(taken)

    def _failed(self, exc: BaseException) -> None:
        """The socket told an error. It may be of another datagram."""
        self._cause = exc
        code = getattr(exc, "errno", None)
        if self.address is None and self._heeds and code in _NOBODY:
            nobody = NetError("nobody listens at %s: %s" % (self._peer(), getattr(exc, "strerror", None) or exc))
            nobody.errno = code
            self._end(None, self._because(nobody))

    def _lost(self) -> None:
        """The socket was closed."""
        self._end(None, self._because(NetError("the socket of a Transaction was closed before an answer came from %s"
                                               % self._peer())))

    # inside

    def _heed(self) -> None:
        self._heeds = True

    def _send(self) -> None:
        try:
            self.udp.send_owned(self._datagram, self.address)
        except QueueFull as exc:
            exc.__traceback__ = None
            self._cause = exc
        else:
            self.sent += 1

    def _begin_wait(self) -> None:
        self._until = self.loop.now + self._wait
        self._watchdog.watch()

    def _look(self) -> None:
        """An answer that lies in the kernel has come in time."""
        for _ in range(RUNS):
            if self._done is None or not self.udp.look():
                break

    def _waited(self) -> None:
        """There was no answer for as long as `_wait`."""
        if self.udp.closed:  # and somebody has detached all slots of its on_close
            self._lost()
            return
        if self.udp.closing or self.udp.paused:
            self._begin_wait()
            return
        self._total += self._wait
        if not self._left:
            self._end(None, self._because(Deadline("no answer from %s within %g s; datagrams sent: %d"
                                                   % (self._peer(), self._total, self.sent))))
            return
        self._left -= 1
        self._wait *= 2
        try:
            self._send()
        except Exception as exc:
            exc.__traceback__ = None
            self._end(None, exc)
        else:
            self._begin_wait()

    def _because(self, error: NetError) -> NetError:
        error.__cause__ = self._cause
        return error

    def _end(self, view: Optional[memoryview], error: Optional[Exception]) -> None:
        done, self._done = self._done, None
        if done is None or self.phase != OPEN:  # `match` has cancelled it
            return
        self._watchdog.stop()
        try:
            done(view, error)
        except Exception as exc:
            self.slot_failed(exc)
        finally:
            self.finish()  # behind `done`: what that begins on this socket finds it still receiving

    def _peer(self) -> Any:
        return self.address or getattr(self.udp, "peer", None) or "the peer"

    def mend(self) -> None:
        if self._done is None:
            self.finish()
        elif not self._watchdog.watching:
            self._begin_wait()

    def silence(self) -> None:
        self._match = self._done = self._cause = None
        self._watchdog.release()
        self._group.leave(self)

    def free(self) -> None:
        self._group.forget()

    def title(self) -> str:
        return "Transaction with %s" % self._peer()


class Transactions:
    """Those of one socket: its slot of on_recv, on_error and on_close. It is there while there are any."""

    __slots__ = ("_udp", "_open", "_met")

    def __init__(self, udp: DatagramSocket) -> None:
        self._udp = udp
        self._open: Dict[Transaction, None] = {}
        self._met: Tuple[Transaction, ...] = ()

    @classmethod
    def of(cls, udp: DatagramSocket) -> Transactions:
        """That of `udp`; a new one, which is not attached yet, where it has none."""
        for fn in udp.on_recv:
            if type(fn) is cls:
                return fn
        return cls(udp)

    def join(self, one: Transaction) -> None:
        """A transaction begins."""
        if not self._open:
            self._udp.on_recv.attach(self, priority=FIRST)
            self._udp.on_error.attach(self._failed, priority=FIRST)
            self._udp.on_close.attach(self._closed, priority=FIRST)
        self._open[one] = None

    def leave(self, one: Transaction) -> None:
        """A transaction is over. It may have left already."""
        if self._open.pop(one, self) is self or self._open or self._udp.closed:
            return
        self._udp.on_recv.detach(self)
        self._udp.on_error.detach(self._failed)
        self._udp.on_close.detach(self._closed)

    def forget(self) -> None:
        """No view is lent."""
        self._met = ()

    def __call__(self, udp: DatagramSocket, view: memoryview, sender: Any) -> None:
        met = tuple(self._open)
        if self._udp.loop.debug:
            self._met = met
        for one in met:
            if one._offer(view, sender):
                break

    def _failed(self, udp: DatagramSocket, exc: Any) -> None:
        before = len(self._open)
        for one in tuple(self._open):
            one._failed(exc)
        if len(self._open) == before and len(udp.on_error) == 1:  # nobody was told of it, and nobody else listens
            udp.log_error(exc)

    def _closed(self, udp: DatagramSocket) -> None:
        for one in tuple(self._open):
            one._lost()

    @property
    def stands_for(self) -> str:
        """For a BorrowError: who may have kept a view."""
        return " or ".join(one._where for one in self._met)
