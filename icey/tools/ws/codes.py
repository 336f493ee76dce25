"""What the codes of a WebSocket's close frame mean (RFC 6455 section 7.4, and IANA's registry of them)."""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Tuple

MEANINGS = {
    1000: "normal closure",
    1001: "going away",
    1002: "protocol error",
    1003: "data of a kind that is not taken",
    1004: "reserved",
    1005: "no code was given",
    1006: "without a close frame",
    1007: "data that do not fit their kind, such as text that is not UTF-8",
    1008: "policy violation",
    1009: "message too big",
    1010: "an extension was expected",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
    1015: "TLS handshake failed",
    3000: "unauthorized",
    3003: "forbidden",
    3008: "timeout",
}
RANGES: Tuple[Tuple[int, str], ...] = (
    (3000, "of no known meaning"), (4000, "a library's or framework's own"), (5000, "the application's own"))

FINE_CODES = frozenset([1000, 1001, 1005])  # an end that is no failure


def meaning(code: int) -> str:
    """What `code` means, in a few words."""
    return MEANINGS.get(code) or next((text for end, text in RANGES if code < end), "of no known meaning")


def told(code: int, reason: str) -> str:
    """A close as text: "1000 (normal closure)", with the peer's reason behind it where there is one."""
    return "%d (%s)%s" % (code, meaning(code), ": " + reason if reason else "")
