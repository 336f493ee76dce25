"""TransactionOwner: what a pool's connection tells whoever has it for one transaction, which is a Call.

Not here: when it is told (connection.py), what a call makes of it (call.py).
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, Optional

    from ...base.signal import Signal
    from ..semantics.message import Response
    from .connection import ClientConnection


class TransactionOwner:
    """Who has a connection for one transaction, and is told of it in place of the connection's slots: a Call.

    The head of the answer, its body piece by piece, its end; or, if `takes_whole` agrees, all of it by answer_whole. In place
    of an end there may be connection_failed, or connection_lost.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        signals: Optional[Dict[str, Signal]]

    def request_sent(self, head: bytes) -> None:
        """A request went out, with this head, and `signals` is not None."""

    def takes_whole(self, response: Response, size: int) -> bool:
        """Whether `answer_whole` may tell of this answer, with a body of `size` bytes; nothing has happened yet."""
        return False

    def answer_whole(self, response: Response, body: bytes) -> None:
        """The answer, all of it; the connection is the pool's again."""

    def answer_head(self, connection: ClientConnection) -> None:
        """The head of the answer is there: connection.response."""

    def answer_body(self, connection: ClientConnection, view: memoryview) -> None:
        """A piece of the answer's body, as it was sent; the view is for the time of the call."""

    def answer_end(self) -> None:
        """The answer is complete; the connection is the pool's again."""

    def upload_progress(self, sent: int, total: Optional[int]) -> None:
        """The server has taken so many bytes of the request's body, of total or None; asked for by `watch_upload`."""

    def connection_failed(self, exc: Exception, stale: bool) -> None:
        """The transaction failed. stale: on a connection that had been used before, and no byte of an answer had come."""

    def connection_lost(self) -> None:
        """The connection was closed from elsewhere."""
