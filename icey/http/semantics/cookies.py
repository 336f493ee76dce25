"""Cookies (RFC 6265): what a server sets (Set-Cookie).

Rules
- A server is strict: `Cookie.header()` refuses what a browser would drop or read differently. A client is forgiving:
  `Cookie.parse` follows section 5.2, so it accepts what servers really send, or returns None.
- The value of a cookie is a secret: it is in no repr and in no error text.

Not here: what a browser sends back (cookiepairs.py), keeping cookies (client/cookiejar.py), signing values.
"""

from __future__ import annotations

import re

from .dates import http_date, parse_cookie_date
from .grammar import BAD_VALUE, TOKEN

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple

LARGEST = 4096  # bytes of name and value together
LARGEST_ATTRIBUTE = 1024  # bytes of an attribute's value

_SAME_SITE = ("Strict", "Lax", "None")
_OCTETS = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"  # section 4.1.1


class Cookie:
    """One cookie: `Cookie("sid", token, path="/", max_age=3600, secure=True, http_only=True, same_site="Lax")`.

    `name`, `value`: str. `expires`: seconds since the epoch, or None. `max_age`: seconds, or None; it counts before expires,
    and 0 or less deletes the cookie. `domain`: None for this host alone. `path`: None for the folder of the URL that sets the
    cookie. `secure`, `http_only`: bool. `same_site`: "Strict", "Lax", "None" or None.
    """

    __slots__ = ("name", "value", "domain", "path", "expires", "max_age", "secure", "http_only", "same_site")

    def __init__(
        self, name: str, value: str, *, domain: Optional[str] = None, path: Optional[str] = None,
        expires: Optional[float] = None, max_age: Optional[int] = None, secure: bool = False, http_only: bool = False,
        same_site: Optional[str] = None,
    ) -> None:
        self.name: str = name
        self.value: str = value
        self.domain: Optional[str] = domain
        self.path: Optional[str] = path
        self.expires: Optional[float] = expires
        self.max_age: Optional[int] = max_age
        self.secure: bool = secure
        self.http_only: bool = http_only
        self.same_site: Optional[str] = same_site

    def header(self) -> str:
        """The value of a Set-Cookie field (section 4.1); ValueError where a browser would drop it or read it differently."""
        _check(self)
        parts = ["%s=%s" % (self.name, self.value)]
        if self.domain is not None:
            parts.append("Domain=" + self.domain)
        if self.path is not None:
            parts.append("Path=" + self.path)
        if self.expires is not None:
            parts.append("Expires=" + _expires(self.expires))
        if self.max_age is not None:
            parts.append("Max-Age=%d" % self.max_age)
        if self.secure:
            parts.append("Secure")
        if self.http_only:
            parts.append("HttpOnly")
        if self.same_site is not None:
            parts.append("SameSite=" + self.same_site.capitalize())
        return "; ".join(parts)

    @classmethod
    def parse(cls, text: str) -> Optional[Cookie]:
        """The cookie that the value of a Set-Cookie field sets (section 5.2), None if it sets none.

        A malformed attribute is ignored; of a repeated attribute the last one counts.
        """
        if BAD_VALUE(text):
            return None
        pair, *attributes = text.split(";")
        name, equals, value = pair.partition("=")
        name = name.strip(" \t")
        if not equals or not name:
            return None
        cookie = cls(name, value.strip(" \t"))
        for attribute in attributes:
            key, _, value = attribute.partition("=")
            field, read = _ATTRIBUTES.get(key.strip(" \t").lower(), (None, None))
            value = value.strip(" \t")
            if field is not None and len(value) <= LARGEST_ATTRIBUTE:
                found = read(value)
                if found is not None:
                    setattr(cookie, field, found)
        cookie.path = cookie.path or None
        cookie.same_site = cookie.same_site or None
        return cookie

    def __repr__(self) -> str:
        return "<Cookie %s for %s%s>" % (self.name, self.domain or "its host", self.path or "")


# -- what a jar accepts -----------------------------------------------------------------------------------------------


def prefix_fault(cookie: Cookie, host_only: bool) -> Optional[str]:
    """Where the attributes break what the prefix of the name promises (6265bis section 4.1.3), in words; None if nowhere."""
    name = cookie.name.lower()
    if name.startswith(("__secure-", "__host-")) and not cookie.secure:
        return "%s has to be secure" % cookie.name
    if name.startswith("__host-") and (not host_only or cookie.path != "/"):
        return '%s has to have path="/" and no domain' % cookie.name
    return None


# -- reading and writing Set-Cookie -----------------------------------------------------------------------------------

def _seconds(text: str) -> Optional[int]:
    match = re.fullmatch("(-?)0*([0-9]+)", text)
    if match is None:
        return None
    sign, digits = match.groups()
    return int(sign + digits[:12])  # 12 digits of seconds are for ever; int() of a very long text is an error


def _path(text: str) -> str:
    return text if text[:1] == "/" else ""  # "": the default, also over an earlier Path


def _domain(text: str) -> Optional[str]:
    return (text[1:] if text[:1] == "." else text).lower() or None


def _same_site(text: str) -> str:
    return text.capitalize() if text.capitalize() in _SAME_SITE else ""


def _flag(_: str) -> bool:
    return True


_ATTRIBUTES: Dict[str, Tuple[Any, Any]] = {  # name -> (field of Cookie, reader; it gives None for "ignore this one")
    "expires": ("expires", parse_cookie_date),
    "max-age": ("max_age", _seconds),
    "domain": ("domain", _domain),
    "path": ("path", _path),
    "secure": ("secure", _flag),
    "httponly": ("http_only", _flag),
    "samesite": ("same_site", _same_site),
}


def _check(cookie: Cookie) -> None:
    name = cookie.name
    if not TOKEN(name):
        raise ValueError("a cookie's name is a token (letters, digits, !#$%%&'*+-.^_`|~), not %r" % name)
    if re.fullmatch('%s|"%s"' % (_OCTETS, _OCTETS), cookie.value) is None:
        raise ValueError("the value of cookie %s may not have white space, quotes, commas, semicolons, backslashes, control"
                         " or non-ASCII characters: encode it, with quote() for instance" % name)
    if len(name) + len(cookie.value) > LARGEST:
        raise ValueError("browsers drop a cookie of more than %d bytes: %s" % (LARGEST, name[:100]))
    if cookie.domain is not None and re.fullmatch(r"[A-Za-z0-9.\-_]+", cookie.domain) is None:
        raise ValueError("the domain of cookie %s is no host name: %r" % (name, cookie.domain))
    if cookie.path is not None and re.fullmatch(r"/[\x20-\x3a\x3c-\x7e]*", cookie.path) is None:
        raise ValueError("the path of cookie %s begins with / and is ASCII without ; and control characters: %r"
                         % (name, cookie.path))
    if cookie.same_site is not None and cookie.same_site.capitalize() not in _SAME_SITE:
        raise ValueError("same_site of cookie %s is Strict, Lax or None: %r" % (name, cookie.same_site))
    if cookie.same_site is not None and cookie.same_site.capitalize() == "None" and not cookie.secure:
        raise ValueError("cookie %s has same_site None, so it has to be secure, else browsers drop it" % name)
    fault = prefix_fault(cookie, cookie.domain is None)
    if fault is not None:
        raise ValueError("by its name cookie " + fault)


def _expires(seconds: float) -> str:
    try:
        return http_date(seconds)
    except (OverflowError, OSError, ValueError):
        raise ValueError("expires is seconds since the epoch, not %r" % seconds) from None
