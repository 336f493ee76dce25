"""User and password of a URL, for the protocols that read their URLs without http (a broker's, a SOCKS proxy's).

Rules: both are percent-encoded, as UTF-8. No error text shows them.

Not here: URLs of HTTP (http/semantics/url.py).
"""

from __future__ import annotations

import re

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Optional, Tuple


def credentials(userinfo: Optional[str]) -> Tuple[Optional[str], Optional[bytes]]:
    """User and password of what stands before the "@", None for what is not there; ValueError for what cannot be read."""
    if not userinfo:
        return None, None
    user, colon, password = userinfo.partition(":")
    if ":" in password:
        raise ValueError("a second : in user and password (it is %3A)")
    try:
        return decoded(user).decode("utf-8"), decoded(password) if colon else None
    except UnicodeDecodeError:
        raise ValueError("the user name is not UTF-8") from None


def decoded(text: str) -> bytes:
    """Percent-decoded. ValueError: a % without two hexadecimal digits."""
    first, *rest = text.encode("utf-8", "surrogateescape").split(b"%")
    out = [first]
    for piece in rest:
        if not re.match(rb"[0-9A-Fa-f]{2}", piece):
            raise ValueError("a % that encodes nothing (the sign itself is %25)")
        out += (bytes([int(piece[:2], 16)]), piece[2:])
    return b"".join(out)


def refused(why: str, url: str) -> ValueError:
    """The error for a `url` that is none, without what could be its user and password."""
    return ValueError("%s: %s" % (re.sub(r"(?s)//.*@", "//...@", url), why))
