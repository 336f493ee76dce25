"""What both sides of Digest authentication share: lists of challenges, the algorithms, the response (RFC 7616).

Rules
- The list of challenges is read strictly (RFC 9110 section 11.6.1): in a malformed list the challenges cannot be told apart.
- An algorithm that this Python lacks (MD5 under FIPS, SHA-512-256 without OpenSSL) counts as not named.
- User name and password are hashed as UTF-8; text that came in a head is hashed as the octets that came.
- `hashlib` is imported when it is first used: its import is dear.

Not here: which request answers a challenge, and when (auth.py).
"""

from __future__ import annotations

import re

from .grammar import TOKEN_CHARS, tokens

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Union

    Params = Dict[str, str]
    Hash = Callable[[bytes], bytes]

_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}  # weakest first
_STRENGTHS = list(_HASHES)

# Of a list of challenges (RFC 9110 section 11.6.1); a part ends at a comma or at the end.
_END = r"[ \t]*(?=,|\Z)"
_SCHEME = r"([%s]+)(?: +|%s)" % (TOKEN_CHARS, _END)
_TOKEN68 = r"([A-Za-z0-9\-._~+/]+=*)" + _END
_PARAM = (
    r'([{t}]+)[ \t]*=[ \t]*(?:([{t}]+)|"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*)")'
    .replace("{t}", TOKEN_CHARS) + _END
)


def parse_challenges(values: Iterable[str]) -> List[Tuple[str, Union[Params, str]]]:
    """(scheme, parameters or token68) of each challenge in these field values, several in one included.

    Schemes and parameter names are in lower case, quoted strings unquoted. A challenge that is malformed or names a parameter
    twice is left out; so is what follows a malformed challenge in its value, since the end of that challenge is not known.
    """
    found: List[Tuple[str, Union[Params, str]]] = []
    for value in values:
        found += _challenges_of(value)
    return found


def _challenges_of(text: str) -> List[Tuple[str, Union[Params, str]]]:
    found: List[Tuple[str, Union[Params, str]]] = []
    params: Optional[Params] = None  # of the challenge that is being read
    at = 0
    while True:
        gap = re.compile("[ \t,]*").match(text, at)
        at = at if gap is None else gap.end()
        if at == len(text):
            return found
        match = re.compile(_PARAM).match(text, at)
        if match is not None and params is not None:
            name, token, inside = match.groups()
            if name.lower() in params and found and found[-1][1] is params:
                found.pop()
            params[name.lower()] = re.sub(r"\\(.)", r"\1", inside) if token is None else token
            at = match.end()
            continue
        begun = re.compile(_SCHEME).match(text, at)
        if begun is None:
            return found[:-1] if found and found[-1][1] is params else found
        at = begun.end()
        match = re.compile(_TOKEN68).match(text, at)
        if match is not None:
            found.append((begun.group(1).lower(), match.group(1)))
            params = None
            at = match.end()
        elif text[at:at + 1] in ("", ",") or re.compile(_PARAM).match(text, at):
            params = {}
            found.append((begun.group(1).lower(), params))
        else:
            return found


class Challenge:
    """A Digest challenge that was checked, and can be met.

    `realm`, `nonce`, `opaque` (None: not sent), `algorithm`: str. `named`: the server named the algorithm. `hash`: bytes -> its
    hexadecimal digits. `session`: the algorithm is a "-sess". `strength`: to compare algorithms, more is stronger. `qop`:
    "auth", "auth-int", or "" for the manner of RFC 2069. `userhash`, `stale`: as the server said.
    """

    __slots__ = ("realm", "nonce", "opaque", "algorithm", "named", "hash", "session", "strength", "qop", "userhash", "stale")

    def __init__(self, params: Params, algorithm: str, hash: Hash, qop: str) -> None:
        self.realm: str = params["realm"]
        self.nonce: str = params["nonce"]
        self.opaque: Optional[str] = params.get("opaque")
        self.algorithm: str = algorithm
        self.named: bool = "algorithm" in params  # a server that is older than this parameter may refuse it
        self.hash: Hash = hash
        self.session: bool = algorithm.endswith("-sess")
        self.strength: int = _STRENGTHS.index(_base(algorithm))
        self.qop: str = qop
        self.userhash: bool = params.get("userhash", "").lower() == "true"
        self.stale: bool = params.get("stale", "").lower() == "true"

    @classmethod
    def of(cls, params: Params, body: Any) -> Optional[Challenge]:
        """The challenge with these parameters; None if it cannot be met: without a nonce, with an unknown hash or qop."""
        algorithm = algorithm_of(params.get("algorithm", "MD5"))
        hash = algorithm and hash_of(algorithm)
        offered = tokens(params.get("qop", "")) or [""]
        qop = next((word for word in ("auth", "auth-int", "") if word in offered), None)
        if qop == "auth-int" and not (body is None or isinstance(body, (bytes, bytearray, memoryview))):
            qop = None
        if not algorithm or not hash or qop is None or "realm" not in params or "nonce" not in params:
            return None
        return cls(params, algorithm, hash, qop)


def strongest(values: Iterable[str], body: Any) -> Optional[Challenge]:
    """The strongest Digest challenge that can be met, of equal ones the first; None if there is none."""
    best: Optional[Challenge] = None
    for scheme, params in parse_challenges(values):
        if scheme == "digest" and not isinstance(params, str):
            made = Challenge.of(params, body)
            if made is not None and (best is None or made.strength > best.strength):
                best = made
    return best


def digest_response(challenge: Challenge, secret: bytes, method: str, uri: str, count: str, cnonce: str, body: Any) -> str:
    """The response, which proves the password (RFC 7616 section 3.4.1), in hexadecimal. secret: user:realm:password."""
    hash = challenge.hash
    nonce = raw(challenge.nonce)
    key = hash(secret)
    if challenge.session:
        key = hash(b"%s:%s:%s" % (key, nonce, raw(cnonce)))
    what = raw("%s:%s" % (method, uri))
    if challenge.qop == "auth-int":
        what += b":" + hash(body)
    if challenge.qop:
        nonce = b"%s:%s:%s:%s" % (nonce, raw(count), raw(cnonce), raw(challenge.qop))
    return hash(b"%s:%s:%s" % (key, nonce, hash(what))).decode("ascii")


def algorithm_of(text: str) -> Optional[str]:
    """The algorithm in the spelling of the RFC, None if it is not known."""
    name = text.upper()
    name = name[:-5] + "-sess" if name.endswith("-SESS") else name
    return name if _base(name) in _HASHES else None


def _base(algorithm: str) -> str:
    return algorithm[:-5] if algorithm.endswith("-sess") else algorithm


def hash_of(algorithm: str) -> Optional[Hash]:
    """The function bytes -> hexadecimal digits of an algorithm, None where this Python lacks it."""
    import hashlib

    make: Any = hashlib.new
    name = _HASHES[_base(algorithm)]
    options = {"usedforsecurity": False}  # where MD5 is forbidden for security, this use is still allowed
    try:
        make(name, b"", **options)
    except TypeError:
        options = {}  # Python 3.8 without OpenSSL does not know this option
    except ValueError:
        return None
    return lambda data: make(name, data, **options).hexdigest().encode("ascii")


def quoted(text: str) -> str:
    """`text` as a quoted-string (RFC 9110 section 5.6.4)."""
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')


def secret_bytes(text: str) -> bytes:
    """User name or password as UTF-8; bytes that are not UTF-8, percent-decoded from a URL, as they were."""
    return text.encode("utf-8", "surrogateescape")


def raw(text: str) -> bytes:
    """The octets of a text that came in a head."""
    return text.encode("latin-1")
