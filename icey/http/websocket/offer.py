"""The WebSocket handshake, a client's side (RFC 6455 section 4.1), sans-I/O.

    offer = Offer(("chat",))
    offer.fields()                        # of its request
    agreed = offer.check(response)        # or HttpError, WebSocketError

Rules: a client takes only what it has offered. Any answer but 101 is an HttpError with the status of that answer.

Not here: a server's side (handshake.py), the connection that carries it (connecting.py).
"""

from __future__ import annotations

import os
from binascii import b2a_base64

from ...base.errors import HttpError, WebSocketError
from ..semantics.grammar import tokens
from .compression import WebSocketCompression
from .handshake import UPGRADE, VERSION, Handshake, accept_key, deflate_module, parse_extensions, require_names

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import List, Optional, Sequence

    from ..semantics.message import Response
    from .compression import Compression
    from .deflate import Agreed
    from .handshake import Pair

PROTOCOL, EXTENSION = 1002, 1010  # close codes


class Offer:
    """A client's side: what it asks for, and the check of the answer. ValueError: a subprotocol that is no name, or twice."""

    def __init__(self, subprotocols: Sequence[str] = (), compression: Compression = True) -> None:
        require_names(subprotocols)
        self._subprotocols = list(subprotocols)
        self._ours = WebSocketCompression.of(compression)
        self._module = deflate_module() if self._ours is not None else None
        self._key = b2a_base64(os.urandom(16), newline=False).decode("ascii")

    def fields(self) -> List[Pair]:
        """The fields for the head of the request."""
        fields = [*UPGRADE, ("Sec-WebSocket-Version", VERSION), ("Sec-WebSocket-Key", self._key)]
        if self._subprotocols:
            fields.append(("Sec-WebSocket-Protocol", ", ".join(self._subprotocols)))
        if self._module is not None:
            fields.append(("Sec-WebSocket-Extensions", self._module.OFFER))
        return fields

    def check(self, response: Response) -> Handshake:
        """What the server agreed to. HttpError: it did not answer 101; WebSocketError: it broke the handshake's rules."""
        headers = response.headers
        if response.status != 101:
            raise HttpError(response.status, "the server did not switch to WebSocket")
        if [value.lower() for value in headers.get_all("upgrade")] != ["websocket"]:
            raise WebSocketError(PROTOCOL, "the server switched to something else")
        if "upgrade" not in tokens(",".join(headers.get_all("connection"))):
            raise WebSocketError(PROTOCOL, "the server's Connection does not say upgrade")
        if headers.get_all("sec-websocket-accept") != [accept_key(self._key)]:
            raise WebSocketError(PROTOCOL, "the server's Sec-WebSocket-Accept is not the answer to our key")
        chosen = headers.get_all("sec-websocket-protocol")
        if len(chosen) > 1 or (chosen and chosen[0] not in self._subprotocols):
            raise WebSocketError(PROTOCOL, "the server chose a subprotocol that was not offered")
        return Handshake(chosen[0] if chosen else None, self._extension(headers.get_all("sec-websocket-extensions")))

    def _extension(self, values: List[str]) -> Optional[Agreed]:
        try:
            answers = parse_extensions(values)
            if not answers:
                return None
            if self._module is None:
                raise ValueError("the server chose an extension, and none was offered")
            agreed: Agreed = self._module.check_answer(answers, self._ours)
        except ValueError as exc:
            raise WebSocketError(EXTENSION, str(exc)) from None
        return agreed
