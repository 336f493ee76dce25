"""The grammar of HTTP/1.1 (RFC 9110, RFC 9112), as anchored patterns and small checks.

Rules
- Text here is latin-1: one character an octet. Patterns name their characters; no \\d, \\w, \\s, no int() before a pattern,
  no str.strip() without its characters: Unicode digits, "+5" and odd white space must not get through.
- A check returns the value or raises BadRequest (or another HttpError with the status that fits). It never mends.

Not here: how octets become lines (parser.py), what is remembered of lines seen before (memo.py).
"""

from __future__ import annotations

import re

from ..base.errors import BadRequest, NotSupported, TooLarge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Tuple

    Pair = Tuple[str, str]

TOKEN_CHARS = r"!#$%&'*+\-.^_`|~0-9A-Za-z"
TOKEN = re.compile("[%s]+" % TOKEN_CHARS).fullmatch
BAD_VALUE = re.compile(r"[^\t\x20-\x7e\x80-\xff]").search
BAD_LINE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[\x00-\xff]").search  # in raw lines, their CR included

_REQUEST_LINE = re.compile(r"([%s]+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])" % TOKEN_CHARS).fullmatch
_STATUS_LINE = re.compile(r"HTTP/([0-9])\.([0-9]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?").fullmatch
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://([^/?]*)(.*)").fullmatch
_HOST = re.compile(r"(?:\[([^\]]*)\]|((?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})*))(?::([0-9]{0,5}))?").fullmatch
_FUTURE_IP = re.compile(r"v[0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+").fullmatch
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
    """What the fields say about the message's frame and its connection; shared between equal heads, so read-only."""

    __slots__ = ("length", "keep_alive", "expect", "upgrade", "plain")

    def __init__(
        self, length: int, keep_alive: bool, expect: bool = False, upgrade: bool = False, plain: bool = False
    ) -> None:
        self.length = length  # of the body: CHUNKED, UNTIL_CLOSE, or a number of bytes
        self.keep_alive = keep_alive
        self.expect = expect  # 100-continue
        self.upgrade = upgrade  # asked for in Connection and Upgrade
        self.plain = plain  # HTTP/1.1, keep-alive, nothing of the above


CHUNKED = -1
UNTIL_CLOSE = -2


def request_line(line: str, max_target: Optional[int]) -> Tuple[str, str, str]:
    """(method, target, "1.0" or "1.1") of a request line (RFC 9112 section 3)."""
    match = _REQUEST_LINE(line)
    if match is None:
        raise BadRequest("malformed request line")
    method, target, major, minor = match.groups()
    if major == "0":
        raise BadRequest("HTTP/0.9 is not spoken here")
    if major != "1":
        raise NotSupported("HTTP/%s is not spoken here" % major, 505)
    if max_target is not None and len(target) > max_target:
        raise TooLarge("request target over %d bytes" % max_target, 414)
    if target[0] != "/":
        if method == "CONNECT":
            authority(target)
        elif target == "*":
            if method != "OPTIONS":
                raise BadRequest("target * is for OPTIONS alone")
        else:
            absolute(target)
    elif method == "CONNECT":
        raise BadRequest("CONNECT takes host:port")
    return method, target, "1.0" if minor == "0" else "1.1"


def authority(target: str) -> None:
    """Checks the target of CONNECT: host and port, both there."""
    host, colon, port = target.rpartition(":")
    if not colon or not host or not port or not valid_host(target):
        raise BadRequest("CONNECT takes host:port")


def absolute(target: str) -> Tuple[str, str]:
    """(authority, path with query) of an absolute-form target (RFC 9112 section 3.2.2)."""
    match = _ABSOLUTE(target)
    if match is None or not match.group(1) or match.group(1)[0] == ":" or not valid_host(match.group(1)):
        raise BadRequest("malformed request target")
    path = match.group(2)
    return match.group(1), path if path[:1] == "/" else "/" + path


def status_line(line: str) -> Optional[Tuple[int, str, str]]:
    """(status, reason, "1.0" or "1.1") of a status line (RFC 9112 section 4), None if it is none."""
    match = _STATUS_LINE(line)
    if match is None or match.group(1) != "1":
        return None
    return int(match.group(3)), match.group(4) or "", "1.0" if match.group(2) == "0" else "1.1"


def field(line: str) -> Pair:
    """(lower-case name, value without the white space around it) of a field line (RFC 9112 section 5)."""
    name, colon, value = line.partition(":")
    if not colon or not TOKEN(name):
        raise BadRequest("malformed header line")
    if BAD_VALUE(value):
        raise BadRequest("control character in the value of %s" % name)
    return name.lower(), value.strip(" \t")


def valid_host(text: str) -> bool:
    """Whether `text` is uri-host [":" port] (RFC 9110 section 7.2); the empty text is."""
    match = _HOST(text)
    if match is None:
        return False
    literal, _, port = match.groups()
    if port and int(port) > 65535:
        return False
    return literal is None or is_ipv6(literal) or _FUTURE_IP(literal) is not None


def is_ipv4(text: str) -> bool:
    """Whether `text` is an IPv4 address: four decimal numbers without leading zeros (RFC 3986 section 3.2.2)."""
    numbers = text.split(".")
    return len(numbers) == 4 and all(_octet(number) for number in numbers)


def is_ipv6(text: str) -> bool:
    """Whether `text` is an IPv6 address (RFC 3986 section 3.2.2), without a zone."""
    halves = text.split("::")
    if len(halves) > 2:
        return False
    groups = 0
    for index, half in enumerate(halves):
        parts = half.split(":") if half else []
        if parts and "." in parts[-1] and index == len(halves) - 1:
            if not is_ipv4(parts.pop()):
                return False
            groups += 2
        if not all(re.fullmatch("[0-9A-Fa-f]{1,4}", part) for part in parts):
            return False
        groups += len(parts)
    return groups <= 7 if len(halves) == 2 else groups == 8


def _octet(text: str) -> bool:
    return re.fullmatch("0|[1-9][0-9]{0,2}", text) is not None and int(text) < 256


def tokens(value: str) -> List[str]:
    """The elements of a comma-separated list, in lower case, empty ones left out (RFC 9110 section 5.6.1)."""
    return [item for item in (part.strip(" \t").lower() for part in value.split(",")) if item]


def length(value: str) -> int:
    """The value of Content-Length (RFC 9110 section 8.6); lists are refused, also of equal numbers."""
    if not _LENGTH(value):
        raise BadRequest("malformed Content-Length")
    return int(value)


def chunk_size(line: str) -> Tuple[int, int]:
    """(size, length of the extensions) of a chunk's first line (RFC 9112 section 7.1)."""
    match = _CHUNK(line)
    if match is None:
        raise BadRequest("malformed chunk size")
    digits = match.group(1).lstrip("0")
    if len(digits) > 16:
        raise BadRequest("chunk size over 16 digits")
    return int(digits or "0", 16), len(match.group(2))


def transfer_coding(value: str) -> None:
    """Checks Transfer-Encoding: one final "chunked" (RFC 9112 section 6.1)."""
    codings = [part.strip(" \t") for part in value.split(",")]
    if codings[-1].lower() != "chunked" or any(not TOKEN(c) or c.lower() == "chunked" for c in codings[:-1]):
        raise BadRequest("Transfer-Encoding must be one final chunked")
    if len(codings) > 1:
        raise NotSupported("transfer coding %s" % codings[0])


def request_framing(version: str, pairs: Sequence[Pair]) -> Framing:
    """What a request's fields say; BadRequest where they contradict themselves (RFC 9112 sections 3.2, 6, 9)."""
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
    """As request_framing, from a dict of fields none of which is repeated."""
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
        options = tokens(seen["connection"])
        if "close" in options:
            keep_alive = False
        elif "keep-alive" in options:
            keep_alive = True
        upgrade = "upgrade" in options and "upgrade" in seen and version != "1.0"
    expect = False
    if "expect" in seen and version != "1.0":
        if seen["expect"].lower() != "100-continue":
            raise BadRequest("unknown expectation", 417)
        expect = size != 0
    plain = version != "1.0" and keep_alive and not size and not upgrade
    return Framing(size, keep_alive, expect, upgrade, plain)


def response_framing(version: str, status: int, method: str, pairs: Sequence[Pair]) -> Framing:
    """What a response's fields say (RFC 9112 section 6.3); method: of the request it answers."""
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
        if len(lengths) > 1:
            raise BadRequest("more than one Content-Length")
        return Framing(length(lengths[0]), keep_alive)
    return Framing(UNTIL_CLOSE, False)
