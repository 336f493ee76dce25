"""Cookies (RFC 6265): what a server sets, what a browser sends back, and a jar for clients that keeps them apart.

Rules
- A server is strict: `Cookie.header()` refuses what a browser would drop or read differently. A client is forgiving:
  `Cookie.parse` follows section 5.2, so it takes what servers really send, or gives None.
- The jar follows sections 5.3 and 5.4, and of the draft that is to replace them (6265bis): the `__Secure-` and `__Host-`
  prefixes; Secure is set over https alone, and plain http cannot shadow what it set; `SameSite` is kept, not acted on.
- The jar is bounded: 50 cookies a domain, 3 000 in all, 4 096 bytes of name and value. What has expired goes first, then
  within a domain what is not Secure, then what was not used for longest.
- A value is a secret: it is in no repr and in no error text.

Not here: a public suffix list. A cookie for a bare label ("com") is refused, one for "co.uk" is not, so a jar is for
servers that trust each other that far. Saving a jar to disk. Signing values.
"""

from __future__ import annotations

import re
import time

from .answer import http_date
from .conditional import timestamp
from .grammar import BAD_VALUE, TOKEN
from .url import URL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Union

    Key = Tuple[str, str, bool]  # name, path, host-only

MOST_PER_DOMAIN = 50
MOST = 3000
LARGEST = 4096  # bytes of name and value together
LARGEST_ATTRIBUTE = 1024

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_SAME_SITE = ("Strict", "Lax", "None")
_OCTETS = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"  # section 4.1.1


class Cookie:
    """One cookie: `Cookie("sid", token, path="/", max_age=3600, secure=True, http_only=True, same_site="Lax")`.

    expires: seconds since the epoch. max_age: seconds; it beats expires, 0 or less deletes. domain None: this host alone.
    path None: the folder of the URL that sets it. same_site: "Strict", "Lax", "None" or None.
    """

    __slots__ = ("name", "value", "domain", "path", "expires", "max_age", "secure", "http_only", "same_site")

    def __init__(
        self, name: str, value: str, *, domain: Optional[str] = None, path: Optional[str] = None,
        expires: Optional[float] = None, max_age: Optional[int] = None, secure: bool = False, http_only: bool = False,
        same_site: Optional[str] = None,
    ) -> None:
        self.name = name
        self.value = value
        self.domain = domain
        self.path = path
        self.expires = expires
        self.max_age = max_age
        self.secure = secure
        self.http_only = http_only
        self.same_site = same_site

    def header(self) -> str:
        """The value of a Set-Cookie field (section 4.1); ValueError where a browser would not take it as it is meant."""
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

        An attribute that is malformed counts as not there; of one that is repeated the last counts.
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


def parse_cookies(header_value: str) -> List[Tuple[str, str]]:
    """(name, value) of all that a Cookie field sends, in its order (section 4.2); what is no pair is left out."""
    found = []
    for part in header_value.split(";"):
        name, equals, value = part.partition("=")
        name = name.strip(" \t")
        if equals and name:
            found.append((name, value.strip(" \t")))
    return found


def parse_cookie_date(text: str) -> Optional[int]:
    """Seconds since the epoch of a date in any order and with any separators (section 5.1.1), None if it is none."""
    clock = day = month = year = None
    for token in re.split("[\\t\\x20-\\x2f\\x3b-\\x40\\x5b-\\x60\\x7b-\\x7e]+", text):
        if clock is None:
            clock = re.match("([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])", token)
            if clock is not None:
                continue
        if day is None:
            day = re.match("[0-9]{1,2}(?![0-9])", token)
            if day is not None:
                continue
        if month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower())
        elif year is None:
            year = re.match("[0-9]{2,4}(?![0-9])", token)
    if clock is None or day is None or month is None or year is None:
        return None
    hour, minute, second = map(int, clock.groups())
    full = int(year.group())
    if full < 100:
        full += 1900 if full >= 70 else 2000
    if full < 1601 or hour > 23 or minute > 59 or second > 59:
        return None
    return timestamp(full, month, int(day.group()), hour * 3600 + minute * 60 + second)


class CookieJar:
    """Keeps the cookies of a client. `clock`: seconds since the epoch.

    `len(jar)` and iteration are over the cookies that have not expired; those have domain and path filled in.
    """

    __slots__ = ("_clock", "_domains", "_count", "_ticks")

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._domains: Dict[str, Dict[Key, _Kept]] = {}
        self._count = 0
        self._ticks = 0  # orders creations and uses: a clock may stand still between two

    def store(self, url: Union[URL, str], set_cookie_values: Iterable[str]) -> None:
        """Takes what an answer from `url` sets: `headers.get_all("set-cookie")`. What may not be set is left out."""
        if isinstance(set_cookie_values, str):
            raise TypeError("the values of all Set-Cookie fields are wanted, in a list: headers.get_all('set-cookie')")
        url = URL.of(url)
        for text in set_cookie_values:
            cookie = Cookie.parse(text)
            if cookie is not None:
                self._store(url, cookie)

    def header(self, url: Union[URL, str]) -> str:
        """The value of the Cookie field for a request to `url` (section 5.4), "" where there is nothing to send."""
        url = URL.of(url)
        if not self._domains:
            return ""
        now = self._clock()
        found = []
        for domain in _with_parents(url.host):
            for kept in self._domains.get(domain, {}).values():
                cookie = kept.cookie
                if ((not kept.host_only or domain == url.host) and not kept.expired(now) and (url.secure or not cookie.secure)
                        and path_match(url.path, kept.path)):
                    found.append(kept)
        found.sort(key=lambda kept: (-len(kept.path), kept.created))
        for kept in found:
            kept.used = self._tick()
        return "; ".join("%s=%s" % (kept.cookie.name, kept.cookie.value) for kept in found)

    def clear(self) -> None:
        """Forgets all."""
        self._domains.clear()
        self._count = 0

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Cookie]:
        now = self._clock()
        return iter([kept.cookie for kept in self._all() if not kept.expired(now)])

    def __repr__(self) -> str:
        return "<CookieJar of %d>" % len(self)

    def _store(self, url: URL, cookie: Cookie) -> None:
        scope = _scope(url.host, cookie.domain)
        if scope is None:
            return
        domain, host_only = scope
        if not _allowed(cookie, url.secure, host_only):
            return
        cookie.domain, cookie.path = domain, cookie.path or default_path(url.path)
        now = self._clock()
        if not url.secure and self._shadows(cookie, now):
            return
        kept = _Kept(cookie, host_only, now, self._tick())
        old = self._domains.get(domain, {}).get(kept.key)
        if old is not None:
            kept.created = old.created
            self._drop(old)
        if not kept.expired(now):
            self._domains.setdefault(domain, {})[kept.key] = kept
            self._count += 1
            self._evict(domain, now)

    def _shadows(self, cookie: Cookie, now: float) -> bool:
        """Whether a cookie set without TLS would stand before, or in the place of, one that is Secure."""
        return any(
            kept.cookie.secure and kept.cookie.name == cookie.name and path_match(str(cookie.path), kept.path)
            and not kept.expired(now)
            for domain, those in self._domains.items()
            if domain_match(domain, str(cookie.domain)) or domain_match(str(cookie.domain), domain)
            for kept in those.values())

    def _evict(self, domain: str, now: float) -> None:
        if len(self._domains[domain]) > MOST_PER_DOMAIN:
            self._drop(min(self._domains[domain].values(),
                           key=lambda kept: (not kept.expired(now), kept.cookie.secure, kept.used)))
        if self._count > MOST:
            self._drop(min(self._all(), key=lambda kept: (not kept.expired(now), kept.used)))

    def _drop(self, kept: _Kept) -> None:
        domain = str(kept.cookie.domain)
        del self._domains[domain][kept.key]
        self._count -= 1
        if not self._domains[domain]:
            del self._domains[domain]

    def _all(self) -> List[_Kept]:
        return [kept for those in self._domains.values() for kept in those.values()]

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks


class _Kept:
    """A cookie in a jar: its domain and path are filled in."""

    __slots__ = ("cookie", "path", "key", "host_only", "until", "created", "used")

    def __init__(self, cookie: Cookie, host_only: bool, now: float, tick: int) -> None:
        self.cookie = cookie
        self.path = str(cookie.path)
        self.key = (cookie.name, self.path, host_only)
        self.host_only = host_only
        self.until = cookie.expires if cookie.max_age is None else now + cookie.max_age
        self.created = tick
        self.used = tick

    def expired(self, now: float) -> bool:
        return self.until is not None and self.until <= now


def domain_match(host: str, domain: str) -> bool:
    """Section 5.1.3: the same, or `host` is below `domain` and no IP address. Both in lower case."""
    return host == domain or (host.endswith("." + domain) and not _is_address(host))


def path_match(path: str, cookie_path: str) -> bool:
    """Section 5.1.4: the same, or `path` is below `cookie_path`."""
    if not path.startswith(cookie_path):
        return False
    return len(path) == len(cookie_path) or cookie_path[-1:] == "/" or path[len(cookie_path)] == "/"


def default_path(path: str) -> str:
    """Section 5.1.4: the folder of a URL's path."""
    return path.rpartition("/")[0] or "/"


# -- what a jar takes -------------------------------------------------------------------------------------------------

def _scope(host: str, asked: Optional[str]) -> Optional[Tuple[str, bool]]:
    """(domain, whether for that host alone) of a cookie set by `host` for `asked`; None if that may not be."""
    if asked is None:
        return host, True
    if "." not in asked.strip("."):
        return (host, True) if asked == host else None  # as a public suffix: its own host may have it, for itself
    return (asked, False) if domain_match(host, asked) else None


def _allowed(cookie: Cookie, secure: bool, host_only: bool) -> bool:
    """Whether name, size and attributes fit together, and with the connection."""
    if len(cookie.name) + len(cookie.value) > LARGEST or (cookie.secure and not secure):
        return False
    return _prefix_fault(cookie, host_only) is None


def _prefix_fault(cookie: Cookie, host_only: bool) -> Optional[str]:
    """What the prefix of the name promises and the attributes do not keep (6265bis section 4.1.3); None if all is well."""
    name = cookie.name.lower()
    if name.startswith(("__secure-", "__host-")) and not cookie.secure:
        return "%s has to be secure" % cookie.name
    if name.startswith("__host-") and (not host_only or cookie.path != "/"):
        return '%s has to have path="/" and no domain' % cookie.name
    return None


def _with_parents(host: str) -> Iterator[str]:
    """The host, and the domains it is in."""
    yield host
    if not _is_address(host):
        while "." in host:
            host = host.partition(".")[2]
            yield host


def _is_address(host: str) -> bool:
    """Whether a host, as URL checks them, is an IP address: no name ends in a number there."""
    return ":" in host or host.rpartition(".")[2].isdigit()


# -- reading and writing Set-Cookie -----------------------------------------------------------------------------------

def _seconds(text: str) -> Optional[int]:
    match = re.fullmatch("(-?)0*([0-9]+)", text)
    if match is None:
        return None
    sign, digits = match.groups()
    return int(sign + digits[:12])  # that many are for ever; int() of very long texts is an error


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
    fault = _prefix_fault(cookie, cookie.domain is None)
    if fault is not None:
        raise ValueError("by its name cookie " + fault)


def _expires(seconds: float) -> str:
    try:
        return http_date(seconds)
    except (OverflowError, OSError, ValueError):
        raise ValueError("expires is seconds since the epoch, not %r" % seconds) from None
