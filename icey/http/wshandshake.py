"""The WebSocket handshake, both sides (RFC 6455 section 4), sans-I/O.

    answer = accept_request(request, subprotocols=("chat",), origins=None, compression=True)      # a server's, or HttpError
    offer = Offer(subprotocols, compression)                                                      # a client's
    offer.fields()  offer.check(response) -> Handshake

Rules: HTTP/1.1 GET only; `Connection` is a list; the key is 16 bytes of base64; another version gets 426 and ours. A client takes
only what it offered. Anything but 101 is an HttpError with the answer's status.
"""

from __future__ import annotations

import os
import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

from ..base.errors import HttpError, WebSocketError
from .grammar import TOKEN, TOKEN_CHARS, tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

    from .deflate import Agreed
    from .message import Request, Response

    Pair = Tuple[str, str]
    Params = Dict[str, Optional[str]]
    Origins = Union[Iterable[str], Callable[[Optional[str]], bool], None]

VERSION = "13"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_EXTENSION = r"[ \t]*([%s]+)[ \t]*((?:;[^,\"]*(?:\"[^\"]*\"[^,\"]*)*)?)(?:,|\Z)" % TOKEN_CHARS
_PARAM = r";[ \t]*([%s]+)[ \t]*(?:=[ \t]*(?:([%s]+)|\"([%s]+)\")[ \t]*)?" % (TOKEN_CHARS, TOKEN_CHARS, TOKEN_CHARS)


class Handshake:
    """What was agreed on: `subprotocol` (None for none) and `deflate` (an Agreed, None for none)."""

    __slots__ = ("subprotocol", "deflate")

    def __init__(self, subprotocol: Optional[str], deflate: Optional[Agreed]) -> None:
        self.subprotocol = subprotocol
        self.deflate = deflate


def accept_request(
    request: Request, *, subprotocols: Sequence[str] = (), origins: Origins = None, compression: bool = True
) -> Tuple[Handshake, List[Pair]]:
    """What a server agrees to, and the fields of its 101. HttpError for a request that is no good handshake.

    origins: the values of Origin that are welcome, or a function that says (None for a request without one, which only
    programs send; those are welcome to a list). None: anybody.
    """
    headers = request.headers
    if "websocket" not in tokens(",".join(headers.get_all("upgrade"))):
        raise HttpError(426, "this is a WebSocket", [("Upgrade", "websocket"), ("Connection", "Upgrade")])
    if request.method != "GET" or request.version == "1.0":
        raise HttpError(400, "a WebSocket begins with GET, in HTTP/1.1")
    if "upgrade" not in tokens(",".join(headers.get_all("connection"))):
        raise HttpError(400, "Connection does not say upgrade")
    if headers.get_all("sec-websocket-version") != [VERSION]:
        raise HttpError(426, "WebSocket version 13 is spoken here", [("Sec-WebSocket-Version", VERSION)])
    keys = headers.get_all("sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise HttpError(400, "Sec-WebSocket-Key is not 16 bytes of base64")
    if not _welcome(headers.get_all("origin"), origins):
        raise HttpError(403, "pages of this origin are not welcome")
    chosen = _chosen(headers.get_all("sec-websocket-protocol"), subprotocols)
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(keys[0]))]
    if chosen is not None:
        fields.append(("Sec-WebSocket-Protocol", chosen))
    deflate = None
    module = _deflate() if compression else None
    if module is not None:
        deflate, answer = module.accept_offer(headers.get_all("sec-websocket-extensions"))
        if answer:
            fields.append(("Sec-WebSocket-Extensions", answer))
    return Handshake(chosen, deflate), fields


class Offer:
    """A client's side: what it asks for, and the check of what it gets."""

    def __init__(self, subprotocols: Sequence[str] = (), compression: bool = True) -> None:
        for name in subprotocols:
            if not TOKEN(name):
                raise ValueError("%r is no name of a subprotocol" % (name,))
        self._subprotocols = list(subprotocols)
        self._module = _deflate() if compression else None
        self._key = b2a_base64(os.urandom(16), newline=False).decode("ascii")

    def fields(self) -> List[Pair]:
        """What goes into the request's head."""
        fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", VERSION),
                  ("Sec-WebSocket-Key", self._key)]
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
            raise WebSocketError(1002, "the server switched to something else")
        if "upgrade" not in tokens(",".join(headers.get_all("connection"))):
            raise WebSocketError(1002, "the server's Connection does not say upgrade")
        if headers.get_all("sec-websocket-accept") != [accept_key(self._key)]:
            raise WebSocketError(1002, "the server's Sec-WebSocket-Accept is not the answer to our key")
        chosen = headers.get_all("sec-websocket-protocol")
        if len(chosen) > 1 or (chosen and chosen[0] not in self._subprotocols):
            raise WebSocketError(1002, "the server chose a subprotocol that was not offered")
        extensions = headers.get_all("sec-websocket-extensions")
        deflate = None
        if extensions:
            if self._module is None:
                raise WebSocketError(1010, "the server chose an extension, and none was offered")
            try:
                deflate = self._module.check_answer(extensions)
            except ValueError as exc:
                raise WebSocketError(1010, str(exc)) from None
        return Handshake(chosen[0] if chosen else None, deflate)


def accept_key(key: str) -> str:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    from hashlib import sha1

    return b2a_base64(sha1(key.encode("ascii") + GUID).digest(), newline=False).decode("ascii")


def parse_extensions(values: Iterable[str]) -> List[Tuple[str, Optional[Params]]]:
    """(name, parameters) of each extension in these field values; parameters None where they are malformed or doubled."""
    found: List[Tuple[str, Optional[Params]]] = []
    text = ",".join(values)
    at = 0
    while at < len(text):
        match = re.compile(_EXTENSION).match(text, at)
        if match is None:
            if text[at] in ", \t":
                at += 1
                continue
            return found
        found.append((match.group(1).lower(), _params(match.group(2))))
        at = match.end()
    return found


def _params(text: str) -> Optional[Params]:
    params: Params = {}
    at = 0
    while at < len(text):
        match = re.compile(_PARAM).match(text, at)
        if match is None or match.group(1).lower() in params:
            return None
        params[match.group(1).lower()] = match.group(2) or match.group(3)
        at = match.end()
    return params


def _is_key(text: str) -> bool:
    try:
        return re.fullmatch("[A-Za-z0-9+/]{22}==", text) is not None and len(a2b_base64(text)) == 16
    except Base64Error:
        return False


def _welcome(given: List[str], origins: Origins) -> bool:
    if origins is None:
        return True
    if len(given) > 1:
        return False
    if callable(origins):
        return bool(origins(given[0] if given else None))
    return not given or given[0].lower() in [origin.lower() for origin in origins]


def _chosen(values: List[str], spoken: Sequence[str]) -> Optional[str]:
    """The first of ours that the client offers."""
    offered = [part.strip(" \t") for part in ",".join(values).split(",")]
    return next((name for name in spoken if name in offered), None)


def _deflate() -> Any:
    """deflate.py, None where Python has no zlib."""
    try:
        from . import deflate
    except ImportError:
        return None
    return deflate
