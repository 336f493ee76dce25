"""The grammar of HTTP/1.1 (RFC 9110, RFC 9112), as anchored patterns and small checks.

Rules
- Text here is latin-1: one character for each octet. Patterns name their characters: no \\d, \\w, \\s, no int() before a
  pattern, no str.strip() without its characters. Unicode digits, "+5" and odd white space must not get through.
- A check returns the value or raises BadRequest (or another HttpError with the status that fits). No check mends a value.

Not here: how octets become lines (http1/parser.py), what is remembered of lines (http1/headcache.py), what the fields say of a
message's body (http1/framing.py).
"""

from __future__ import annotations

import re

from ...base.errors import BadRequest, NotSupported, TooLarge

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

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
    """Checks the target of CONNECT: it has a host and a port."""
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
    """(status, reason, "1.0" or "1.1") of a status line (RFC 9112 section 4); None where `line` is not one."""
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
    """Whether `text` is uri-host [":" port] (RFC 9110 section 7.2); the empty text is one."""
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
