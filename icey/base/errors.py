"""Every error icey raises, in one tree.

    IceyError
      ContractError(RuntimeError)   a rule of the runtime was broken; the program is wrong
        AffinityError  BorrowError  GraphError  StateError
      QueueFull(BufferError)        a send would pass the queue's cap; nothing of it was taken
      NetError(OSError)             the network said no
        ResolveError  ConnectError  TLSError  PeerClosed  Deadline(TimeoutError)  Truncated(TLSError, PeerClosed)
        MqttRefused                 in mqtt/errors.py
      ProtocolError(ValueError)     the peer sent what its protocol forbids
        HttpError -> BadRequest (TooLarge RequestTimeout NotSupported IncompleteBody), BadResponse
        WebSocketError
        MqttError                   in mqtt/errors.py

Rule: an error teaches. A ContractError says in three parts what happened, which contract that breaks
(by the name of one of the README's contracts, or of the rule in a few words) and what to do instead.

Not here: how violations are noticed (each file keeps its own rule) and how they are reported (debug.py).
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

    HeaderPairs = Union[Iterable[Tuple[str, str]], Mapping[str, str], None]


class IceyError(Exception):
    """The root of the tree: catches all that icey raises by itself."""


class ContractError(IceyError, RuntimeError):
    """A rule of the runtime was broken. The text has three parts: `what` happened, which `contract`, and `fix`, what to do."""

    contract: str = "runtime contract"

    def __init__(self, what: str, fix: str = "", contract: Optional[str] = None) -> None:
        if contract is not None:
            self.contract = contract
        self.what = what
        self.fix = fix
        super().__init__(what, fix)

    def __str__(self) -> str:
        what = self.what.rstrip("\n")
        end = ". " if what == self.what else "\n"  # behind the lines of a stack no sentence ends
        text = "%s%sContract: %s." % (what, end, self.contract)
        return text + " Instead: %s." % self.fix if self.fix else text


class AffinityError(ContractError):
    """An object was touched from a thread (or a forked process) that does not own its loop."""

    contract = "loop affinity"


class BorrowError(ContractError):
    """Lent memory was kept, or changed, past the moment it was lent for."""

    contract = "borrowed buffers"


class GraphError(ContractError):
    """A packet graph is unsound, or was changed while it runs."""

    contract = "live graphs do not change"


class StateError(ContractError):
    """A call that its object's state does not allow."""

    contract = "calls follow states"


class QueueFull(IceyError, BufferError):
    """The send would pass `max_queue`. Nothing of it was taken and the stream lives: wait for `on_drain`.

    `full`: the handle that was full, None where that is not told. Debug mode names it.
    """

    full: Any = None

    @classmethod
    def of(cls, queued: int, more: int, most: int, full: Any = None) -> QueueFull:
        """For a send of `more` bytes where `queued` wait already and `most` may."""
        why = "" if queued + more > most else " (each small send counts for more)"
        said = "%d bytes queued, %d more would pass max_queue %d%s: wait for on_drain" % (queued, more, most, why)
        exc = cls("%s (%r)" % (said, full) if full is not None and full.loop.debug else said)
        exc.full = full
        return exc


class NetError(IceyError, OSError):
    """The network, or the other side, said no."""


class ResolveError(NetError):
    """A host name could not be turned into an address."""


class ConnectError(NetError):
    """No address could be connected. `attempts` holds (address, exception) pairs, in the order tried."""

    def __init__(self, message: str, attempts: Sequence[Tuple[Any, BaseException]] = ()) -> None:
        super().__init__(message)
        self.attempts: List[Tuple[Any, BaseException]] = list(attempts)


class TLSError(NetError):
    """The TLS handshake or a record failed. `reason`: why, in a few words ("certificate has expired")."""

    reason = ""


class PeerClosed(NetError):
    """The other side went away before what was under way had ended."""


class Truncated(TLSError, PeerClosed):
    """A TLS connection ended without the peer's close_notify: what came may not be all there was (RFC 8446 section 6.1)."""


class Deadline(NetError, TimeoutError):
    """A time limit passed (see Limits for which there are)."""


class ProtocolError(IceyError, ValueError):
    """The peer sent what its protocol forbids. `response`: the HTTP answer that says so, where there is one."""

    response: Any = None


class HttpError(ProtocolError):
    """An HTTP failure with the status that answers it: raised from a server's slot, it *is* the answer.

    status: 400 to 599. headers: pairs or a mapping, to add to the answer. reason: one line of text for the body and the log.
    """

    status: int = 500

    def __init__(
        self, status: Optional[int] = None, reason: str = "", headers: HeaderPairs = ()
    ) -> None:
        if status is not None:
            self.status = status
        if not isinstance(self.status, int):
            raise TypeError("HttpError(status, reason): a status is a number, not %r" % (status,))
        self.reason = reason
        pairs: Any = headers
        self.headers: List[Tuple[str, str]] = list(pairs.items() if hasattr(pairs, "items") else pairs or ())
        super().__init__(self.status, reason)

    def __str__(self) -> str:
        return "%d %s" % (self.status, self.reason) if self.reason else str(self.status)


class BadRequest(HttpError):
    """400: the message breaks the grammar of RFC 9110 or 9112."""

    status = 400

    def __init__(self, reason: str = "", status: Optional[int] = None, headers: HeaderPairs = ()) -> None:
        super().__init__(status, reason, headers)


class TooLarge(BadRequest):
    """413, 414 or 431: a body, a target or a head is larger than the limits allow."""

    status = 413


class RequestTimeout(BadRequest):
    """408: the request did not come in time."""

    status = 408


class NotSupported(BadRequest):
    """501 or 505: a transfer coding or an HTTP version that icey does not speak."""

    status = 501


class IncompleteBody(BadRequest):
    """The input ended inside a message (RFC 9112 section 8)."""

    status = 400

    def __str__(self) -> str:
        return self.reason or "400"


class BadResponse(HttpError):
    """What a server answered is malformed, or past a limit (502, for a gateway that has to answer with something)."""

    status = 502

    def __init__(self, reason: str = "") -> None:
        super().__init__(None, reason)

    def __str__(self) -> str:
        return self.reason


class WebSocketError(ProtocolError):
    """A WebSocket rule was broken. `close_code`: what to close with (RFC 6455 section 7.4.1); `reason`: why."""

    def __init__(self, close_code: int, reason: str = "") -> None:
        super().__init__(close_code, reason)
        self.close_code = close_code
        self.reason = reason

    def __str__(self) -> str:
        return "%d %s" % (self.close_code, self.reason)
