"""HTTP authentication: Basic (RFC 7617) and Digest (RFC 7616), for clients and for servers.

    auth.first(method, url)                        the value of Authorization to send unasked, or None
    auth.answer(challenges, method, url, body)     the value to send after a 401 or 407, or None: give up

Rules
- A client calls `first` once for each request, and `answer` with the values of WWW-Authenticate (or Proxy-Authenticate). For a
  proxy `url` is the proxy's URL, and `uri` the request target as it is sent. The client, not this file, sees to it that
  credentials are not sent to another origin.
- The strongest of the algorithms that the server offers is used. An algorithm that this Python lacks (MD5 under FIPS) counts as
  not offered.
- User names and passwords are in no repr and no error text; proofs are compared in constant time.
- `hashlib` and `hmac` are imported when they are first used: their import is dear.

Not here: lists of challenges and the response to one (digest.py). Authentication-Info (a nonce lives until the server says that
it is stale), the `domain` parameter (a nonce is used for all of its origin), other schemes.
"""

from __future__ import annotations

import os
import re
import time
from binascii import a2b_base64, b2a_base64

from .digest import (
    Challenge,
    algorithm_of,
    digest_response,
    hash_of,
    parse_challenges as parse_challenges,
    quoted,
    raw,
    secret_bytes,
    strongest,
)
from .grammar import BAD_VALUE
from .percent import quote, unquote
from .url import URL

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Union

    from .digest import Params
    from .message import Request

MOST_ORIGINS = 64  # origins that one DigestAuth remembers
MOST_ANSWERS = 64  # answers between two requests begun: a server may call every nonce stale
MOST_NONCES = 1024  # nonces in use that one DigestVerifier remembers
WINDOW = 64  # requests that may overtake each other on parallel connections

_CONTROL = "[\\x00-\\x1f\\x7f]"


class BasicAuth:
    """`BasicAuth(user, password)`: both are in every request, readable for whoever sees them: so use it over TLS only."""

    __slots__ = ("_value",)

    def __init__(self, user: str, password: str) -> None:
        _check(user, password)
        if ":" in user:
            raise ValueError("a user name has no colon in Basic authentication (RFC 7617 section 2)")
        both = secret_bytes(user) + b":" + secret_bytes(password)
        self._value = "Basic " + b2a_base64(both, newline=False).decode("ascii")

    def first(self, method: str, url: Union[URL, str], *, uri: Optional[str] = None) -> Optional[str]:
        """The value of Authorization, at once."""
        return self._value

    def answer(
        self, challenges: Iterable[str], method: str, url: Union[URL, str], body: Any = None, *, uri: Optional[str] = None
    ) -> Optional[str]:
        """None: the value of `first` was refused, and there is no other."""
        return None

    @staticmethod
    def challenge(realm: str) -> str:
        """For a server: the value of WWW-Authenticate that asks for Basic; goes with a 401."""
        return 'Basic realm=%s, charset="UTF-8"' % _realm(realm)

    @staticmethod
    def credentials(value: Optional[str]) -> Optional[Tuple[str, str]]:
        """For a server: (user, password) of an Authorization value, None if it is not one of Basic. Compare both by
        `hmac.compare_digest`, as bytes."""
        match = re.fullmatch(r"(?i)basic +((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)", value or "")
        if match is None:
            return None
        try:
            user, colon, password = a2b_base64(match.group(1)).decode("utf-8").partition(":")
        except UnicodeDecodeError:
            return None
        return None if not colon or re.search(_CONTROL, user + password) else (user, password)


class DigestAuth:
    """`DigestAuth(user, password)`: proves that it knows the password, without sending it. Needs a challenge of each origin.

    cnonce: a function that makes client nonces, for tests.
    """

    __slots__ = ("_user", "_password", "_cnonce", "_spaces")

    def __init__(self, user: str, password: str, *, cnonce: Optional[Callable[[], str]] = None) -> None:
        _check(user, password)
        self._user = user
        self._password = password
        self._cnonce = cnonce or _random
        self._spaces: Dict[Tuple[str, str, int], _Space] = {}

    def first(self, method: str, url: Union[URL, str], *, uri: Optional[str] = None) -> Optional[str]:
        """The value of Authorization with the nonce remembered for this origin; None before there is one."""
        url = URL.of(url)
        space = self._space(url)
        challenge = space.begin()
        return None if challenge is None else self._header(space, challenge, method, uri or _uri(method, url), b"")

    def answer(
        self, challenges: Iterable[str], method: str, url: Union[URL, str], body: Any = None, *, uri: Optional[str] = None
    ) -> Optional[str]:
        """The value of Authorization to try again with; None where no challenge can be met, or the server refuses the answer.

        body: bytes-like, or None for no body; with another one (a stream) `qop="auth-int"` cannot be met.
        """
        url = URL.of(url)
        challenge = strongest(challenges, body)
        space = self._space(url)
        if challenge is None or not space.admit(challenge, self._cnonce):
            return None
        return self._header(space, challenge, method, uri or _uri(method, url), body or b"")

    def _space(self, url: URL) -> _Space:
        space = self._spaces.get(url.origin)
        if space is None:
            while len(self._spaces) >= MOST_ORIGINS:
                del self._spaces[next(iter(self._spaces))]
            space = self._spaces[url.origin] = _Space()
        return space

    def _header(self, space: _Space, challenge: Challenge, method: str, uri: str, body: Any) -> str:
        space.count += 1
        count = "%08x" % space.count
        secret = b"%s:%s:%s" % (secret_bytes(self._user), raw(challenge.realm), secret_bytes(self._password))
        response = digest_response(challenge, secret, method, uri, count, space.cnonce, body)
        parts = [
            self._user_field(challenge), "realm=" + quoted(challenge.realm), "nonce=" + quoted(challenge.nonce),
            "uri=" + quoted(uri), 'response="%s"' % response,
        ]
        if challenge.named:
            parts.append("algorithm=" + challenge.algorithm)
        if challenge.opaque is not None:
            parts.append("opaque=" + quoted(challenge.opaque))
        if challenge.qop:
            parts += ["qop=" + challenge.qop, "nc=" + count]
        if challenge.qop or challenge.session:
            parts.append("cnonce=" + quoted(space.cnonce))
        if challenge.userhash:
            parts.append("userhash=true")
        return "Digest " + ", ".join(parts)

    def _user_field(self, challenge: Challenge) -> str:
        if challenge.userhash:
            hashed = challenge.hash(secret_bytes(self._user) + b":" + raw(challenge.realm))
            return 'username="%s"' % hashed.decode("ascii")
        if re.fullmatch("[\\x20-\\x7e]*", self._user):
            return "username=" + quoted(self._user)
        return "username*=UTF-8''" + quote(self._user, "!#$&+^`|")  # RFC 8187


class _Space:
    """The challenge of one origin, and how many requests are out that this origin may still challenge.

    A refusal does not tell which request it is for, only its nonce. So each request that was begun is worth one answer; a
    request that already carried a response to this nonce is worth none. The client nonce lives as long as the server's nonce:
    then both readings of "-sess", whose key is made of the first or of the latest client nonce, give the same key.
    """

    __slots__ = ("challenge", "cnonce", "count", "bare", "signed", "left")

    def __init__(self) -> None:
        self.challenge: Optional[Challenge] = None
        self.cnonce = ""
        self.count = 0  # requests signed with this nonce
        self.bare = 0  # requests begun without credentials
        self.signed = 0  # requests begun with a nonce that may have gone stale since
        self.left = MOST_ANSWERS

    def begin(self) -> Optional[Challenge]:
        """Counts a request; returns the challenge that the request can meet unasked, or None."""
        self.left = MOST_ANSWERS
        if self.challenge is None or self.challenge.qop == "auth-int":  # whose body is not known yet
            self.bare += 1
            return None
        self.signed += 1
        return self.challenge

    def admit(self, challenge: Challenge, cnonce: Callable[[], str]) -> bool:
        """Whether to answer this challenge; if so, it is remembered."""
        known = self.challenge
        renewed = known is None or known.nonce != challenge.nonce
        if self.left == 0:
            return False
        if self.bare:
            self.bare -= 1
        elif known is None or challenge.stale or (renewed and self.signed):
            self.signed = max(0, self.signed - 1)
        else:
            return False
        self.left -= 1
        self.challenge = challenge
        if renewed:  # else this nonce was counted before: another request was asked the same
            self.count = 0
            self.cnonce = cnonce()
        return True


class DigestVerifier:
    """The server's side of Digest. `lookup(user)` gives the password, or None for nobody.

        user = verifier.verify(exchange.request)
        if user is None:
            raise icey.HttpError(401, headers=[("WWW-Authenticate", verifier.challenge(exchange.request))])

    The server has to know the passwords themselves. Nonces are signed with a key of this instance and carry their time, so that
    a nonce is kept only once it was used. The count of each request is accepted once. algorithm: MD5, SHA-256 or SHA-512-256,
    also with "-sess". nonce_lifetime: seconds. clock: gives seconds that never go back. qop is "auth": the body is not covered.
    """

    __slots__ = ("_realm", "_lookup", "_algorithm", "_lifetime", "_clock", "_key", "_seen", "_floor")

    def __init__(
        self, realm: str, lookup: Callable[[str], Optional[str]], *, algorithm: str = "SHA-256",
        nonce_lifetime: float = 300, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _realm(realm)
        name = algorithm_of(algorithm)
        if name is None or hash_of(name) is None:
            raise ValueError("this Python has no digest algorithm %r; there are MD5, SHA-256, SHA-512-256" % algorithm)
        self._realm = realm
        self._lookup = lookup
        self._algorithm = name
        self._lifetime = nonce_lifetime
        self._clock = clock
        self._key = os.urandom(32)
        self._seen: Dict[str, Tuple[int, int]] = {}  # nonce -> (highest count, which of the WINDOW up to it were used)
        self._floor = ""  # a nonce that is not newer than this, and not in the table, was forgotten: it may be a replay

    def challenge(self, request: Optional[Request] = None) -> str:
        """The value of WWW-Authenticate. request: the one that is refused; if it knew the password, and came with an old nonce,
        the value has `stale=true`: its client tries again without asking the user."""
        stale = ", stale=true" if request is not None and self._proven(request) is not None else ""
        return 'Digest realm=%s, qop="auth", algorithm=%s, nonce="%s", charset=UTF-8%s' % (
            quoted(self._realm), self._algorithm, self._nonce(), stale)

    def verify(self, request: Request) -> Optional[str]:
        """The user that a request proves to come from, None if it does not. A request is accepted once."""
        proven = self._proven(request)
        if proven is None:
            return None
        user, nonce, count = proven
        return user if self._fresh(nonce) and self._unused(nonce, count) else None

    def _proven(self, request: Request) -> Optional[Tuple[str, str, int]]:
        """(user, nonce, count) where the response fits them, else None; the nonce itself is not checked."""
        params = _credentials(request.headers.get_all("authorization"))
        if params is None or params["uri"] != request.target or params["realm"] != self._realm:
            return None
        user = _user(params)
        made = Challenge.of(params, None)
        if user is None or made is None or made.algorithm != self._algorithm or made.userhash or params["qop"] != "auth":
            return None
        password = self._lookup(user)
        # an unknown user costs as much time as a known one
        secret = b"%s:%s:%s" % (secret_bytes(user), raw(self._realm), secret_bytes(password or ""))
        expected = digest_response(made, secret, request.method, params["uri"], params["nc"], params["cnonce"], b"")
        if not _same(expected, params["response"].lower()) or password is None:
            return None
        return user, made.nonce, int(params["nc"], 16)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _nonce(self) -> str:
        """A new nonce: milliseconds, salt and signature, 12 + 16 + 32 hexadecimal digits."""
        stamp = "%012x" % self._now() + os.urandom(8).hex()
        return stamp + self._signature(stamp)

    def _signature(self, stamp: str) -> str:
        import hmac

        return hmac.new(self._key, stamp.encode("latin-1"), "sha256").hexdigest()[:32]

    def _fresh(self, nonce: str) -> bool:
        """Whether a nonce is from this instance, and not older than its lifetime."""
        if not _same(self._signature(nonce[:28]), nonce[28:]):
            return False
        return 0 <= self._now() - int(nonce[:12], 16) <= self._lifetime * 1000

    def _unused(self, nonce: str, count: int) -> bool:
        """Whether this count comes with this nonce for the first time; remembers it."""
        known = self._seen.get(nonce)
        if known is None:
            if nonce <= self._floor:
                return False
            self._make_room()
            self._seen[nonce] = (count, 1)
            return True
        highest, used = known
        if count > highest:
            ahead = count - highest
            self._seen[nonce] = (count, (used << ahead | 1) & ((1 << WINDOW) - 1) if ahead < WINDOW else 1)
            return True
        behind = highest - count
        if behind >= WINDOW or used >> behind & 1:
            return False
        self._seen[nonce] = (highest, used | 1 << behind)
        return True

    def _make_room(self) -> None:
        """Forgets the oldest nonce when the table is full; nonces sort by their time."""
        if len(self._seen) >= MOST_NONCES:
            oldest = min(self._seen)
            del self._seen[oldest]
            self._floor = max(self._floor, oldest)


def _same(one: str, other: str) -> bool:
    import hmac

    return hmac.compare_digest(raw(one), raw(other))


def _credentials(values: List[str]) -> Optional[Params]:
    """The parameters of the one Authorization field; None if it is not of Digest, or lacks what a response needs."""
    found = parse_challenges(values)
    if len(values) != 1 or len(found) != 1 or found[0][0] != "digest" or isinstance(found[0][1], str):
        return None
    params = found[0][1]
    needed = ("realm", "nonce", "uri", "response", "cnonce", "nc", "qop")
    if not all(params.get(name) for name in needed) or re.fullmatch("[0-9A-Fa-f]{8}", params["nc"]) is None:
        return None
    return params


def _user(params: Params) -> Optional[str]:
    """The user name in credentials, from `username` or `username*` (RFC 7616 section 3.4); None if there is none."""
    if ("username" in params) == ("username*" in params):
        return None
    try:
        if "username" in params:
            return raw(params["username"]).decode("utf-8")
        charset, _, text = params["username*"].split("'")
        return secret_bytes(unquote(text)).decode("utf-8") if charset.upper() == "UTF-8" else None
    except ValueError:
        return None


def _uri(method: str, url: URL) -> str:
    """The request target of a request to `url`."""
    if method != "CONNECT":
        return url.target
    return ("[%s]:%d" if ":" in url.host else "%s:%d") % url.address


def _check(user: str, password: str) -> None:
    if not isinstance(user, str) or not isinstance(password, str):
        raise TypeError("user name and password are str")
    if re.search(_CONTROL, user + password):
        raise ValueError("user name and password have no control characters (RFC 7617 section 2)")


def _realm(realm: str) -> str:
    if not realm.isascii() or BAD_VALUE(realm):
        raise ValueError("a realm is ASCII without control characters, not %r" % realm)
    return quoted(realm)


def _random() -> str:
    return os.urandom(16).hex()
