"""URLs: parsing an absolute one, resolving a reference against it (RFC 3986).

Rules
- A URL is checked once, when it is parsed, and is immutable from then on: `target` and `authority` can stand in a request's
  head as they are. They have no control character, space or non-ASCII character.
- A text with one possible meaning is corrected, as browsers do: spaces around the text are dropped; spaces within, non-ASCII
  characters and `"<>\\^`{|}` in path, query and fragment are percent-encoded; a host in other scripts becomes its A-labels.
  A text with two possible meanings is refused: control characters, backslashes before the path, odd numbers as IPv4 addresses,
  a second "@". Nothing else is changed: "%7e", "/../" and a stray "%" are sent as they came.
- No error text and no repr shows the user name and the password of a URL; `str(url)` does.

Not here: connecting (net/), which schemes are spoken (client/client.py), percent-coding (percent.py), zones of IPv6 addresses,
IDNA 2008 (Python's codec is that of 2003, where the sharp s is "ss").
"""

from __future__ import annotations

import re

from .grammar import is_ipv6
from .percent import quote, unquote

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, NoReturn, Optional, Tuple, Union

PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "socks5": 1080, "socks5h": 1080}
SECURE = frozenset(["https", "wss"])

# Patterns are compiled, and then remembered by `re`, at first use: a server without URLs does not pay for them.
_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]*"
_REFERENCE = r"(?s)(?:(%s):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?" % _SCHEME  # RFC 3986 appendix B
_USERINFO = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|%[0-9A-Fa-f]{2})*"
_HOST_PORT = r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{0,5}))?"
_NAME = r"[a-z0-9\-._~!$&'()*+;=]+"  # what grammar.valid_host lets a Host field have, decoded
_IPV4 = r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!$)|$)){4}"
_NUMBER = r"[0-9]+|0x[0-9a-f]*"
_KEPT = "%!$&'()*+,/:;=?@[]"  # beside the unreserved ones; "%" since the text may be encoded already
_IDNA = "idna"  # a codec that some Pythons come without
_DEVICE = r"(?i)(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?"  # no files on Windows, whatever the suffix


class URL:
    """An absolute URL with a host, immutable, hashable. `URL.parse("http://user:pw@name:80/path?query#fragment")`.

    `scheme`, `host`: in lower case; an IPv6 host without its brackets. `port`: int, the scheme's own where the text has none.
    `userinfo`: raw, "" where there is none. `path`: raw, at least "/". `query`, `fragment`: raw, None where there is none
    (after a lone "?" or "#" they are ""). ValueError says what is wrong with a text that is not such a URL.
    """

    __slots__ = ("scheme", "userinfo", "host", "port", "path", "query", "fragment")

    scheme: str
    userinfo: str
    host: str
    port: int
    path: str
    query: Optional[str]
    fragment: Optional[str]

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError("a URL is parsed from str, not from %s" % type(text).__name__)
        try:
            values = _parsed(text.strip(" "))
        except ValueError as error:
            raise ValueError("%s: %s" % (_shown(text), error)) from None
        for name, value in zip(URL.__slots__, values):
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, text: str) -> URL:
        """The URL of `text`; ValueError where `text` is not a URL."""
        return cls(text)

    @classmethod
    def of(cls, value: Union[URL, str]) -> URL:
        """A URL for what callers may give as one: a URL, or text as for `parse`."""
        return value if isinstance(value, URL) else cls(value)

    @property
    def target(self) -> str:
        """Path and query exactly as they are sent in the request line (origin-form, RFC 9112 section 3.2.1)."""
        return self.path if self.query is None else self.path + "?" + self.query

    @property
    def authority(self) -> str:
        """host[:port] as it is sent in Host: the scheme's own port left out, an IPv6 address in brackets."""
        host = "[%s]" % self.host if ":" in self.host else self.host
        return host if self.port == PORTS.get(self.scheme) else "%s:%d" % (host, self.port)

    @property
    def address(self) -> Tuple[str, int]:
        """(host, port), as `connect` and `Address` take them."""
        return self.host, self.port

    @property
    def origin(self) -> Tuple[str, str, int]:
        """(scheme, host, port): URLs of one origin may share connections and credentials (RFC 9110 section 4.3.1)."""
        return self.scheme, self.host, self.port

    @property
    def secure(self) -> bool:
        """Whether the scheme goes over TLS: https or wss."""
        return self.scheme in SECURE

    @property
    def tunnelled(self) -> bool:
        """Whether a proxy is asked for a tunnel: for all schemes but http (RFC 9110 section 9.3.6, RFC 6455 section 4.1)."""
        return self.scheme != "http"

    @property
    def user(self) -> Optional[str]:
        """The user name, percent-decoded; None where there is no userinfo."""
        return unquote(self.userinfo.partition(":")[0]) if self.userinfo else None

    @property
    def password(self) -> Optional[str]:
        """The password, percent-decoded; None where there is none, "" after a lone ":"."""
        _, colon, password = self.userinfo.partition(":")
        return unquote(password) if colon else None

    @property
    def filename(self) -> str:
        """The last segment of the path, decoded and made safe as the name of a file to write; "" if nothing is left.

        The name has no separator or drive of any system, is not "..", not a device of Windows, and can be printed.
        """
        name = re.split(r"[/\\]", unquote(self.path))[-1]
        name = "".join("_" if char in '<>:"|?*' else char for char in name if char.isprintable())
        name = name.rstrip(". ").lstrip(" ")
        return "_" + name if re.fullmatch(_DEVICE, name) else name

    def join(self, reference: str) -> URL:
        """The URL that `reference` means in a document at this URL (RFC 3986 section 5.2); ValueError if it means none.

        The fragment is that of the reference. A client that follows a redirect keeps its own fragment where the reference has
        none (RFC 9110 section 10.2.2).
        """
        return URL(resolve(str(self), reference.strip(" ")))

    def without_userinfo(self) -> URL:
        """This URL without user name and password."""
        return URL(self._text("")) if self.userinfo else self

    def _text(self, userinfo: str) -> str:
        return "%s://%s%s%s%s" % (self.scheme, userinfo and userinfo + "@", self.authority, self.target,
                                  "" if self.fragment is None else "#" + self.fragment)

    def __str__(self) -> str:
        return self._text(self.userinfo)

    def __repr__(self) -> str:
        return "URL.parse(%r)" % self._text(self.userinfo and "...")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, URL) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> Tuple[Any, ...]:
        return URL, (str(self),)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("a URL is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a URL is immutable")


def resolve(base: str, reference: str) -> str:
    """The text of `reference` made absolute (RFC 3986 section 5.2.2, strict); `base` is absolute and has an authority.

    A reference with a scheme but no authority ("mailto:a@b", "http:g") does not depend on `base`, and stays as it is.
    """
    scheme, authority, path, query, fragment = _split(reference)
    if scheme is not None and authority is None:
        return reference
    if scheme is None:
        scheme, base_authority, base_path, base_query, _ = _split(base)
        if authority is None:
            authority = base_authority
            if not path:
                query = base_query if query is None else query
                return _joined(scheme, authority, base_path, query, fragment)
            if path[0] != "/":
                path = (base_path or "/").rpartition("/")[0] + "/" + path
    return _joined(scheme, authority, without_dots(path), query, fragment)


def without_dots(path: str) -> str:
    """A path, "" or beginning with "/", without its "." and ".." segments (RFC 3986 section 5.2.4)."""
    segments = path.split("/")
    kept = segments[:1]
    for segment in segments[1:]:
        if segment == "..":
            del kept[max(1, len(kept) - 1):]  # never the root
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)


# -- the parts of a text ----------------------------------------------------------------------------------------------

def _split(text: str) -> Any:
    """(scheme, authority, path, query, fragment); a part that is not there is None, the path is then ""."""
    return re.fullmatch(_REFERENCE, text).groups()  # type: ignore[union-attr]  # it matches any text


def _joined(scheme: Any, authority: Any, path: str, query: Optional[str], fragment: Optional[str]) -> str:
    """The text of these parts (section 5.3)."""
    return "%s://%s%s%s%s" % (scheme, authority, path, "" if query is None else "?" + query,
                              "" if fragment is None else "#" + fragment)


def _parsed(text: str) -> Tuple[Any, ...]:
    """The fields of a URL, in the order of its slots."""
    if re.search("[\\x00-\\x1f\\x7f]", text):
        raise ValueError("a URL has no control characters")
    scheme, authority, path, query, fragment = _split(text)
    if scheme is None or authority is None:
        raise ValueError("an absolute URL is wanted: scheme://host/path")
    scheme = scheme.lower()
    userinfo, at, place = authority.rpartition("@")
    if re.fullmatch(_USERINFO, userinfo) is None:
        raise ValueError("percent-encode what is no letter or digit in user name and password")
    match = re.fullmatch(_HOST_PORT, place)
    if match is None:
        raise ValueError("behind // comes a name, an IPv4 address or an [IPv6 address], and maybe :port")
    host, port = match.groups()
    return (scheme, userinfo, _host(host), _port(port, scheme), _encoded(path) or "/",
            None if query is None else _encoded(query), None if fragment is None else _encoded(fragment))


def _host(text: str) -> str:
    if text[:1] == "[":
        if not is_ipv6(text[1:-1]):
            raise ValueError("no IPv6 address is between the brackets")
        return text[1:-1].lower()
    if not text:
        raise ValueError("the host is missing")
    host = _ascii(unquote(text)).lower()
    if re.fullmatch(_NAME, host) is None:
        raise ValueError("a host name has no such characters")
    labels = (host[:-1] if host[-1] == "." else host).split(".")
    if len(host) > 253 or not all(0 < len(label) < 64 for label in labels):
        raise ValueError("the parts of a host name are 1 to 63 characters, all of it at most 253 (RFC 1035)")
    # "127.1", "0x7f000001" and "2130706433" are 127.0.0.1 to some and names to others
    if re.fullmatch(_NUMBER, labels[-1]) and not re.fullmatch(_IPV4, host):
        raise ValueError("an IPv4 address is four decimal numbers up to 255")
    return host


def _ascii(host: str) -> str:
    """The A-labels of a host in other scripts (RFC 3490)."""
    if host.isascii():
        return host
    if len(host) > 253:  # before the codec, which takes its time
        raise ValueError("a host name is at most 253 characters")
    try:
        return host.encode(_IDNA).decode("ascii")
    except LookupError:
        raise ValueError("this Python has no IDNA codec: write the host as xn--...") from None
    except UnicodeError:
        raise ValueError("the host name has no IDNA form") from None


def _port(text: Optional[str], scheme: str) -> int:
    port = int(text) if text else PORTS.get(scheme)
    if port is None:
        raise ValueError("%s has no port of its own here: write it, host:port" % scheme)
    if not 0 < port < 65536:
        raise ValueError("a port is 1 to 65535")
    return port


def _encoded(text: str) -> str:
    """Path, query or fragment with only characters that may be sent; what is already encoded stays."""
    if re.fullmatch(r"[%!$&'()*+,/:;=?@\[\]A-Za-z0-9\-._~]*", text):
        return text
    try:
        return quote(text, _KEPT)
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is no character") from None


def _shown(text: str) -> str:
    """`text` for an error: without what could be user name and password, and not too long."""
    at = text.rfind("@")
    if at >= 0:
        start = text.find("//") + 2
        text = (text[:start] if 2 <= start <= at else "") + "..." + text[at:]
    return repr(text if len(text) <= 200 else text[:200] + "...")
