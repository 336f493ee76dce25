"""Responder: what handles one request, as an object: `Server(responder=MyResponder)` makes one of each."""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from ..semantics.message import Request, Response
    from .exchange import Exchange


class Responder:
    """Handles one request: `Server(responder=MyResponder)` makes one of each. Override what you need.

    The order: on_headers, on_payload for each piece of the body, on_complete, on_close. Answer through `exchange`.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def on_headers(self, request: Request) -> None:
        """The head is parsed."""

    def on_payload(self, view: memoryview) -> None:
        """A piece of the body; the view is lent until this returns."""

    def on_complete(self, request: Request, response: Response) -> None:
        """The request is whole."""

    def on_close(self) -> None:
        """It is over, answered or not."""
