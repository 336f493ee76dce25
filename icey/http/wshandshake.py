"""The WebSocket handshake, both sides (RFC 6455 section 4), sans-I/O.

    agreed, fields = accept_request(request, subprotocols=("chat",))      # a server's side: the fields of its 101, or HttpError
    offer = Offer(("chat",))                                              # a client's
    offer.fields()                                                        # of its request
    agreed = offer.check(response)                                        # or HttpError, WebSocketError

Rules: HTTP/1.1 GET without a body; `Connection` is a list; the key is 16 bytes of base64; another version gets 426 and ours.
Extensions that cannot be met are declined, malformed ones refused (section 9.1). A client takes only what it offered; any
answer but 101 is an HttpError with that status.
"""

from __future__ import annotations

import os
import re
from binascii import b2a_base64

from ..base.errors import HttpError, WebSocketError
from .grammar import TOKEN, TOKEN_CHARS, tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

    from .deflate import Agreed
    from .headers import Headers
    from .message import Request, Response

    Pair = Tuple[str, str]
    Params = Dict[str, Optional[str]]  # name -> value, None without one
    Extension = Tuple[str, Optional[Params]]
    Origins = Union[Iterable[str], Callable[[Optional[str]], bool], None]

VERSION = "13"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PROTOCOL, EXTENSION = 1002, 1010

_UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
_KEY = re.compile("[A-Za-z0-9+/]{22}==").fullmatch
_NAME = re.compile("[%s]+" % TOKEN_CHARS).match
_PARAM = re.compile(r'[ \t]*;[ \t]*([%s]+)(?:[ \t]*=[ \t]*(?:([%s]+)|"((?:[^"\\]|\\.)*)"))?' % (TOKEN_CHARS, TOKEN_CHARS)).match
_NEXT = re.compile(r"[ \t]*(?:,[ \t,]*|\Z)").match  # elements of a list may be empty
_ESCAPED = re.compile(r"\\(.)")


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

    subprotocols: those spoken, best first. origins: the values of Origin that are welcome, or a function that says (None for a
    request without one, which only programs send; those are welcome to a list). None: anybody.
    """
    if isinstance(origins, str):
        raise TypeError("origins is a list of them, or a function, not one str")
    _require_names(subprotocols)
    headers = request.headers
    if "websocket" not in tokens(",".join(headers.get_all("upgrade"))):
        raise HttpError(426, "this is a WebSocket", _UPGRADE)
    if request.method != "GET" or request.version == "1.0" or _has_body(headers):
        raise HttpError(400, "a WebSocket begins with GET, in HTTP/1.1, without a body")
    if "upgrade" not in tokens(",".join(headers.get_all("connection"))):
        raise HttpError(400, "Connection does not say upgrade")
    if headers.get_all("sec-websocket-version") != [VERSION]:
        raise HttpError(426, "WebSocket version 13 is spoken here", [*_UPGRADE, ("Sec-WebSocket-Version", VERSION)])
    keys = headers.get_all("sec-websocket-key")
    if len(keys) != 1 or not _KEY(keys[0]):
        raise HttpError(400, "Sec-WebSocket-Key is not 16 bytes of base64")
    try:
        offers = parse_extensions(headers.get_all("sec-websocket-extensions"))
    except ValueError as exc:
        raise HttpError(400, str(exc)) from None
    if not _welcome(headers.get_all("origin"), origins):
        raise HttpError(403, "pages of this origin are not welcome")
    fields = [*_UPGRADE, ("Sec-WebSocket-Accept", accept_key(keys[0]))]
    chosen = _chosen(headers.get_all("sec-websocket-protocol"), subprotocols)
    if chosen is not None:
        fields.append(("Sec-WebSocket-Protocol", chosen))
    deflate = None
    module = _deflate() if compression and offers else None
    if module is not None:
        deflate, answer = module.accept_offer(offers)
        if answer:
            fields.append(("Sec-WebSocket-Extensions", answer))
    return Handshake(chosen, deflate), fields


class Offer:
    """A client's side: what it asks for, and the check of what it gets. ValueError: a subprotocol that is no name, or twice."""

    def __init__(self, subprotocols: Sequence[str] = (), compression: bool = True) -> None:
        _require_names(subprotocols)
        self._subprotocols = list(subprotocols)
        self._module = _deflate() if compression else None
        self._key = b2a_base64(os.urandom(16), newline=False).decode("ascii")

    def fields(self) -> List[Pair]:
        """What goes into the request's head."""
        fields = [*_UPGRADE, ("Sec-WebSocket-Version", VERSION), ("Sec-WebSocket-Key", self._key)]
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
            agreed: Agreed = self._module.check_answer(answers)
        except ValueError as exc:
            raise WebSocketError(EXTENSION, str(exc)) from None
        return agreed


def accept_key(key: str) -> str:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    from hashlib import sha1

    return b2a_base64(sha1(key.encode("ascii") + GUID).digest(), newline=False).decode("ascii")


def parse_extensions(values: Iterable[str]) -> List[Extension]:
    """(name, parameters) of each extension in these values; parameters None where one is doubled. ValueError: malformed."""
    text = "," + ",".join(values)
    found: List[Extension] = []
    at = 0
    while True:
        gap = _NEXT(text, at)
        if gap is not None and gap.end() == len(text):
            return found
        name = gap and _NAME(text, gap.end())
        if not name:
            raise ValueError("Sec-WebSocket-Extensions is malformed")
        params, at = _params(text, name.end())
        found.append((name.group().lower(), params))


def _params(text: str, at: int) -> Tuple[Optional[Params], int]:
    """The parameters that begin there, None where one is doubled, and their end. A quoted value has to be a token, too."""
    params: Params = {}
    count = 0
    match = _PARAM(text, at)
    while match is not None:
        name, value, quoted = match.groups()
        if quoted is not None:
            value = _ESCAPED.sub(r"\1", quoted)
            if not TOKEN(value):
                raise ValueError("Sec-WebSocket-Extensions is malformed")
        params[name.lower()] = value
        count += 1
        at = match.end()
        match = _PARAM(text, at)
    return (params if len(params) == count else None), at


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or any(value.strip("0") for value in headers.get_all("content-length"))


def _require_names(subprotocols: Sequence[str]) -> None:
    if isinstance(subprotocols, str):
        raise TypeError("subprotocols is a list of them, not one str")
    for name in subprotocols:
        if not TOKEN(name):
            raise ValueError("%r is no name of a subprotocol" % (name,))
    if len(set(subprotocols)) < len(subprotocols):
        raise ValueError("a subprotocol is named twice: %s" % ", ".join(subprotocols))


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
