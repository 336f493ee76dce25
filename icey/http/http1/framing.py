"""Framing: where a message ends and whether its connection stays, as its head says (RFC 9112 sections 6, 7 and 9).

Rule: a check returns the value or raises BadRequest (or another HttpError with the status that fits). No check mends a value.

Not here: reading the body (parser.py), how a body that is sent is framed (requestbody.py).
"""

from __future__ import annotations

import re

from ...base.errors import BadRequest, NotSupported
from ..semantics.grammar import TOKEN, TOKEN_CHARS, tokens, valid_host

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, Sequence, Tuple

    from ..semantics.grammar import Pair

_LENGTH = re.compile(r"[0-9]{1,18}").fullmatch
_CHUNK = re.compile(
    r"([0-9A-Fa-f]+)((?:[ \t]*;[ \t]*[{t}]+(?:[ \t]*=[ \t]*(?:[{t}]+|\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]"
    r"|\\[\t \x21-\x7e\x80-\xff])*\"))?)*)".replace("{t}", TOKEN_CHARS)
).fullmatch
# RFC 9110 section 6.5.1: fields that may not be trailers, since they frame, route, or authenticate
NOT_TRAILERS = frozenset(
    "host content-length transfer-encoding authorization proxy-authorization content-type content-encoding content-range"
    " trailer te connection expect cookie set-cookie cache-control range www-authenticate".split()
)


class Framing:
    """What the fields say of the message's body and of its connection. Equal heads share one: so read, and do not change it.

    `length`: of the body: CHUNKED, UNTIL_CLOSE, or a number of bytes. `keep_alive`: the connection stays. `expect`: the client
    waits for 100 Continue. `upgrade`: Connection and Upgrade ask for another protocol; of a response, it is granted. `plain`:
    HTTP/1.1 and keep-alive, without a body and without the others.
    """

    __slots__ = ("length", "keep_alive", "expect", "upgrade", "plain")

    def __init__(
        self, length: int, keep_alive: bool, expect: bool = False, upgrade: bool = False, plain: bool = False
    ) -> None:
        self.length: int = length
        self.keep_alive: bool = keep_alive
        self.expect: bool = expect
        self.upgrade: bool = upgrade
        self.plain: bool = plain


CHUNKED = -1
UNTIL_CLOSE = -2
PLAIN = Framing(0, True, plain=True)  # what most requests have in common


def length(value: str) -> int:
    """The value of Content-Length (RFC 9110 section 8.6); a list is refused (of a request also one of equal numbers)."""
    if not _LENGTH(value):
        raise BadRequest("malformed Content-Length")
    return int(value)


def _one_length(values: Sequence[str]) -> str:
    """The one value of a response's Content-Length that is told more than once, in fields or in a list: equal ones are one (RFC
    9110 section 8.6)."""
    first, *others = [value.strip(" \t") for value in ",".join(values).split(",")]
    if any(other != first for other in others):
        raise BadRequest("more than one Content-Length")
    return first


def chunk_size(line: str) -> Tuple[int, int]:
    """(bytes of the chunk, bytes of its extensions) from a chunk's first line (RFC 9112 section 7.1)."""
    match = _CHUNK(line)
    if match is None:
        raise BadRequest("malformed chunk size")
    digits = match.group(1).lstrip("0")
    if len(digits) > 16:
        raise BadRequest("chunk size over 16 digits")
    return int(digits or "0", 16), len(match.group(2))


def transfer_coding(value: str) -> None:
    """Checks Transfer-Encoding: "chunked" comes once and last (RFC 9112 section 6.1). NotSupported: with another coding."""
    codings = [part.strip(" \t") for part in value.split(",")]
    if codings[-1].lower() != "chunked" or any(not TOKEN(c) or c.lower() == "chunked" for c in codings[:-1]):
        raise BadRequest("Transfer-Encoding must be one final chunked")
    if len(codings) > 1:
        raise NotSupported("transfer coding %s" % codings[0])


def request_framing(version: str, pairs: Sequence[Pair]) -> Framing:
    """The framing of a request with these fields; BadRequest where they contradict each other (RFC 9112 sections 3.2, 6, 9)."""
    seen: Dict[str, str] = {}
    for name, value in pairs:
        if name not in seen:
            seen[name] = value
        elif name in ("host", "content-length"):
            raise BadRequest("more than one %s" % name)
        elif name in ("transfer-encoding", "connection", "expect", "upgrade"):
            seen[name] += "," + value
    return request_framing_of(version, seen)


def request_framing_of(version: str, seen: Dict[str, str]) -> Framing:
    """As request_framing, from a dict: of fields of which none is repeated."""
    host = seen.get("host")
    if host is None:
        if version != "1.0":
            raise BadRequest("Host is missing")
    elif not valid_host(host):
        raise BadRequest("malformed Host")
    size = 0
    if "transfer-encoding" in seen:
        if version == "1.0":
            raise BadRequest("Transfer-Encoding in HTTP/1.0")
        if "content-length" in seen:
            raise BadRequest("Content-Length with Transfer-Encoding")
        transfer_coding(seen["transfer-encoding"])
        size = CHUNKED
    elif "content-length" in seen:
        size = length(seen["content-length"])
    keep_alive, upgrade = version != "1.0", False
    if "connection" in seen:
        said = seen["connection"]
        if said == "close":  # the two that are usual
            keep_alive = False
        elif said == "keep-alive":
            keep_alive = True
        else:
            options = tokens(said)
            keep_alive = "close" not in options and (keep_alive or "keep-alive" in options)
            upgrade = "upgrade" in options and "upgrade" in seen and version != "1.0"
    expect = False
    if "expect" in seen and version != "1.0":
        if seen["expect"].lower() != "100-continue":
            raise BadRequest("unknown expectation", 417)
        expect = size != 0
    if version != "1.0" and keep_alive and not size and not upgrade:
        return PLAIN
    return Framing(size, keep_alive, expect, upgrade)


def response_framing(version: str, status: int, method: str, pairs: Sequence[Pair]) -> Framing:
    """The framing of a response with these fields (RFC 9112 section 6.3). method: of the request that it answers."""
    lengths = [value for name, value in pairs if name == "content-length"]
    codings = [value for name, value in pairs if name == "transfer-encoding"]
    said = [value for name, value in pairs if name == "connection"]
    options = tokens(",".join(said)) if said else said
    keep_alive = "close" not in options and (version != "1.0" or "keep-alive" in options)
    if method == "HEAD" or status in (204, 304) or status < 200 or (method == "CONNECT" and status < 300):
        return Framing(0, keep_alive, upgrade=status == 101 or (method == "CONNECT" and 200 <= status < 300))
    if codings:
        if lengths:
            raise BadRequest("Content-Length with Transfer-Encoding")
        coding = ",".join(codings)
        if tokens(coding)[-1:] == ["chunked"]:
            transfer_coding(coding)
            return Framing(CHUNKED, keep_alive and version != "1.0")  # its framing is in doubt (RFC 9112 section 6.1)
        return Framing(UNTIL_CLOSE, False)
    if lengths:
        return Framing(length(lengths[0] if len(lengths) == 1 and "," not in lengths[0] else _one_length(lengths)), keep_alive)
    return Framing(UNTIL_CLOSE, False)
