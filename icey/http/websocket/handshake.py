"""The WebSocket handshake, a server's side, and what both sides have in common (RFC 6455 section 4), sans-I/O.

    agreed, fields = accept_request(request, subprotocols=("chat",))      # the fields of its 101, or HttpError

Rules
- A handshake is HTTP/1.1 GET without a body. `Connection` is a list; the key is 16 bytes of base64. A request with another
  version of WebSocket gets 426, and the version that is spoken here.
- Extensions that cannot be met are declined, malformed ones are refused (section 9.1).

Not here: a client's side (offer.py), the connection that carries it (accepting.py), the parameters of permessage-deflate
(deflate.py).
"""

from __future__ import annotations

import re
from binascii import b2a_base64

from ...base.errors import HttpError
from ..semantics.grammar import TOKEN, TOKEN_CHARS, tokens
from .compression import WebSocketCompression

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

    from ..semantics.headers import Headers
    from ..semantics.message import Request
    from .compression import Compression
    from .deflate import Agreed

    Pair = Tuple[str, str]
    Params = Dict[str, Optional[str]]  # name -> value, None without one
    Extension = Tuple[str, Optional[Params]]
    Origins = Union[Iterable[str], Callable[[Optional[str]], bool], None]

VERSION = "13"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
_KEY = re.compile("[A-Za-z0-9+/]{22}==").fullmatch
_NAME = re.compile("[%s]+" % TOKEN_CHARS).match
_PARAM = re.compile(r'[ \t]*;[ \t]*([%s]+)(?:[ \t]*=[ \t]*(?:([%s]+)|"((?:[^"\\]|\\.)*)"))?' % (TOKEN_CHARS, TOKEN_CHARS)).match
_NEXT = re.compile(r"[ \t]*(?:,[ \t,]*|\Z)").match  # elements of a list may be empty
_ESCAPED = re.compile(r"\\(.)")


class Handshake:
    """What was agreed on: `subprotocol` (None for none) and `deflate` (an Agreed, None for none)."""

    __slots__ = ("subprotocol", "deflate")

    def __init__(self, subprotocol: Optional[str], deflate: Optional[Agreed]) -> None:
        self.subprotocol: Optional[str] = subprotocol
        self.deflate: Optional[Agreed] = deflate


def accept_request(
    request: Request, *, subprotocols: Sequence[str] = (), origins: Origins = None, compression: Compression = True
) -> Tuple[Handshake, List[Pair]]:
    """What a server agrees to, and the fields of its 101. HttpError for a request that is no good handshake.

    subprotocols: the names that are spoken here, best first. origins: the values of Origin that are welcome, or a function that
    gets the value and returns whether it is; None: any is welcome. Only programs send a request without Origin: the function
    gets None for it, and with a list it is welcome. compression: as for WebSocket.accept.
    """
    if isinstance(origins, str):
        raise TypeError("origins is a list of them, or a function, not one str")
    require_names(subprotocols)
    ours = WebSocketCompression.of(compression)
    headers = request.headers
    if "websocket" not in tokens(",".join(headers.get_all("upgrade"))):
        raise HttpError(426, "this is a WebSocket", UPGRADE)
    if request.method != "GET" or request.version == "1.0" or _has_body(headers):
        raise HttpError(400, "a WebSocket begins with GET, in HTTP/1.1, without a body")
    if "upgrade" not in tokens(",".join(headers.get_all("connection"))):
        raise HttpError(400, "Connection does not say upgrade")
    if headers.get_all("sec-websocket-version") != [VERSION]:
        raise HttpError(426, "WebSocket version 13 is spoken here", [*UPGRADE, ("Sec-WebSocket-Version", VERSION)])
    keys = headers.get_all("sec-websocket-key")
    if len(keys) != 1 or not _KEY(keys[0]):
        raise HttpError(400, "Sec-WebSocket-Key is not 16 bytes of base64")
    try:
        offers = parse_extensions(headers.get_all("sec-websocket-extensions"))
    except ValueError as exc:
        raise HttpError(400, str(exc)) from None
    if not _welcome(headers.get_all("origin"), origins):
        raise HttpError(403, "pages of this origin are not welcome")
    fields = [*UPGRADE, ("Sec-WebSocket-Accept", accept_key(keys[0]))]
    chosen = _chosen(headers.get_all("sec-websocket-protocol"), subprotocols)
    if chosen is not None:
        fields.append(("Sec-WebSocket-Protocol", chosen))
    deflate = None
    module = deflate_module() if ours is not None and offers else None
    if module is not None:
        deflate, answer = module.accept_offer(offers, ours)
        if answer:
            fields.append(("Sec-WebSocket-Extensions", answer))
    return Handshake(chosen, deflate), fields


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
    """The parameters that begin at `at`, None where one is doubled, and their end. A quoted value has to be a token, too."""
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
    """Whether a request with these headers has a body."""
    return "transfer-encoding" in headers or any(value.strip("0") for value in headers.get_all("content-length"))


def require_names(subprotocols: Sequence[str]) -> None:
    """TypeError or ValueError unless these are names of subprotocols, each of them once."""
    if isinstance(subprotocols, str):
        raise TypeError("subprotocols is a list of them, not one str")
    for name in subprotocols:
        if not TOKEN(name):
            raise ValueError("%r is no name of a subprotocol" % (name,))
    if len(set(subprotocols)) < len(subprotocols):
        raise ValueError("a subprotocol is named twice: %s" % ", ".join(subprotocols))


def _welcome(given: List[str], origins: Origins) -> bool:
    """Whether a request with the values `given` of Origin is welcome."""
    if origins is None:
        return True
    if len(given) > 1:
        return False
    if callable(origins):
        return bool(origins(given[0] if given else None))
    return not given or given[0].lower() in [origin.lower() for origin in origins]


def _chosen(values: List[str], spoken: Sequence[str]) -> Optional[str]:
    """The first name of `spoken` that the client offers in `values`, None for none."""
    offered = [part.strip(" \t") for part in ",".join(values).split(",")]
    return next((name for name in spoken if name in offered), None)


def deflate_module() -> Any:
    """The module deflate.py, None where Python has no zlib, or this copy of icey was made without it."""
    try:
        from . import deflate
    except (ImportError, ModuleNotFoundError):  # the second is for vendor: it is a part that a copy may lack
        return None
    return deflate


def deflate_of(agreed: Any, client: bool) -> Any:
    """The Deflate of a connection, by what was agreed on; client: whether this end is the client."""
    return deflate_module().Deflate(agreed, client=client)
