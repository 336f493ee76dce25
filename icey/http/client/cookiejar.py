"""CookieJar: the cookies of a client, kept apart by the hosts that set them.

Rules
- The jar follows RFC 6265 sections 5.3 and 5.4, and of the draft that is to replace it (6265bis): the `__Secure-` and `__Host-`
  prefixes; Secure cookies are set over https alone, and plain http cannot shadow them; `SameSite` is kept, not acted on.
- To store a cookie costs the same however many hosts have set some: what it may shadow, and what has to go, is kept in order.
- The jar is bounded: 50 cookies a domain, 3 000 in all, 4 096 bytes of name and value. Where there are too many, a cookie that
  has expired goes first; then, within a domain, one that is not Secure; then the one that was used least recently.

Not here: the text of a cookie (semantics/cookies.py); saving a jar to disk; a list of public suffixes. A cookie for a bare
label ("com") is refused, a cookie for "co.uk" is not: use one jar for servers that trust each other that far.
"""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections import OrderedDict
from heapq import heapify, heappop, heappush

from ..semantics.cookies import LARGEST, Cookie, prefix_fault
from ..semantics.url import URL

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Union

    Key = Tuple[str, str, bool]  # name, path, host-only
    Place = Tuple[str, str, int, "_Kept"]  # name, domain from its end, creation, the cookie

MOST_PER_DOMAIN = 50
MOST = 3000


class CookieJar:
    """Keeps the cookies of a client. clock: a function that returns the seconds since the epoch.

    `len(jar)` and iteration tell of the cookies that have not expired, each with its domain and path filled in. A jar has no
    public attributes.
    """

    __slots__ = ("_clock", "_domains", "_ticks", "_order", "_secure", "_expiring")

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._domains: Dict[str, Dict[Key, _Kept]] = {}
        self._ticks = 0  # orders creations and uses: a clock may stand still between two
        self._order: OrderedDict[_Kept, None] = OrderedDict()  # all, the one that was used least recently first
        self._secure: List[Place] = []  # those that are Secure, sorted
        self._expiring: List[Tuple[float, int, _Kept]] = []  # a heap; those that have been dropped may be in it still

    def store(self, url: Union[URL, str], set_cookie_values: Iterable[str]) -> None:
        """Keeps the cookies that an answer from `url` sets: `headers.get_all("set-cookie")`. A cookie that is not allowed is
        ignored.

        TypeError for a str in place of a list.
        """
        if isinstance(set_cookie_values, str):
            raise TypeError("the values of all Set-Cookie fields are wanted, in a list: headers.get_all('set-cookie')")
        url = URL.of(url)
        for text in set_cookie_values:
            cookie = Cookie.parse(text)
            if cookie is not None:
                self._store(url, cookie)

    def header(self, url: Union[URL, str]) -> str:
        """The value of the Cookie field for a request to `url` (section 5.4), "" where there is nothing to send."""
        if not isinstance(url, URL):
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
            self._order.move_to_end(kept)
        return "; ".join("%s=%s" % (kept.cookie.name, kept.cookie.value) for kept in found)

    def clear(self) -> None:
        """Forgets all cookies."""
        self._domains.clear()
        self._order.clear()
        self._secure.clear()
        self._expiring.clear()

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
            self._keep(domain, kept)
            self._evict(domain, now)

    def _shadows(self, cookie: Cookie, now: float) -> bool:
        """Whether a cookie set without TLS would stand before, or in the place of, one that is Secure."""
        return any(
            kept.cookie.secure and kept.cookie.name == cookie.name and path_match(str(cookie.path), kept.path)
            and not kept.expired(now)
            for kept in self._related(cookie.name, str(cookie.domain)))

    def _related(self, name: str, domain: str) -> Iterator[_Kept]:
        """The cookies of the domains that `domain` is in, and the Secure ones called `name` of it and of those in it."""
        parents = _with_parents(domain)
        next(parents)
        for parent in parents:
            yield from self._domains.get(parent, {}).values()
        start = _reversed(domain)
        for at in range(bisect_left(self._secure, (name, start)), len(self._secure)):
            other, place, _, kept = self._secure[at]
            if other != name or not place.startswith(start):
                return
            if domain_match(str(kept.cookie.domain), domain):
                yield kept

    def _keep(self, domain: str, kept: _Kept) -> None:
        self._domains.setdefault(domain, {})[kept.key] = kept
        self._order[kept] = None
        if kept.cookie.secure:
            insort(self._secure, kept.place())
        if kept.until is not None:
            if len(self._expiring) > 2 * MOST:
                self._expiring = [each for each in self._expiring if each[2] in self._order]
                heapify(self._expiring)
            heappush(self._expiring, (kept.until, self._tick(), kept))

    def _evict(self, domain: str, now: float) -> None:
        if len(self._domains[domain]) > MOST_PER_DOMAIN:
            self._drop(min(self._domains[domain].values(),
                           key=lambda kept: (not kept.expired(now), kept.cookie.secure, kept.used)))
        if len(self._order) > MOST:
            while self._expiring and self._expiring[0][2] not in self._order:
                heappop(self._expiring)
            expired = self._expiring and self._expiring[0][0] <= now
            self._drop(self._expiring[0][2] if expired else next(iter(self._order)))

    def _drop(self, kept: _Kept) -> None:
        domain = str(kept.cookie.domain)
        del self._domains[domain][kept.key]
        del self._order[kept]
        if kept.cookie.secure:
            del self._secure[bisect_left(self._secure, kept.place())]
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

    def place(self) -> Place:
        """Where a Secure one stands among its like."""
        return self.cookie.name, _reversed(str(self.cookie.domain)), self.created, self

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
    return prefix_fault(cookie, host_only) is None


def _with_parents(host: str) -> Iterator[str]:
    """The host, and the domains it is in."""
    yield host
    if not _is_address(host):
        while "." in host:
            host = host.partition(".")[2]
            yield host


def _reversed(domain: str) -> str:
    """A domain from its end, label by label: "a.example" as "example.a." is. The domains in it follow it in order."""
    return "".join(label + "." for label in reversed(domain.split(".")))


def _is_address(host: str) -> bool:
    """Whether a host, as URL checks them, is an IP address: no name ends in a number there."""
    return ":" in host or host.rpartition(".")[2].isdigit()
