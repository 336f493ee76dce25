"""What a browser sends back: the field Cookie (RFC 6265 section 4.2). What a server sets is in cookies.py."""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import List, Tuple


def parse_cookies(header_value: str) -> List[Tuple[str, str]]:
    """(name, value) of each cookie in a Cookie field, in its order (section 4.2); a part that is no pair is left out."""
    found = []
    for part in header_value.split(";"):
        name, equals, value = part.partition("=")
        name = name.strip(" \t")
        if equals and name:
            found.append((name, value.strip(" \t")))
    return found
