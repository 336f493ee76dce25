"""Address: where a socket is: host and port, or the path of a Unix socket.

Rules: an Address is immutable and hashable. A numeric host has a family; a name has no family until it is resolved.

Not here: how a name is resolved (dns.py), sets of addresses (networks.py).
"""

from __future__ import annotations

import os
import socket

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, NoReturn, Optional, Tuple, Union

    AddressLike = Union["Address", str, Tuple[str, int]]

_IDNA = "idna"  # a codec that some Pythons come without: it needs `unicodedata`
AF_UNIX: Optional[int] = getattr(socket, "AF_UNIX", None)
_AF_INET, _AF_INET6 = int(socket.AF_INET), int(socket.AF_INET6)  # an int, and not a member of an enum: quick to compare
_set = object.__setattr__  # an Address has none that works


class WrongAddress(TypeError, ValueError):
    """What no address can be made of: a TypeError, and a ValueError for who has caught that."""


class Address:
    """`Address("127.0.0.1", 80)`, `Address("::1", 80)`; `Address.parse` also knows "unix:/run/x.sock".

    `host`: an IP address, a name, "" for every interface, or a path (Unix). `port`: 0 to 65535, None for Unix sockets.
    `family`: socket.AF_INET, AF_INET6, AF_UNIX, or None for a name. ValueError for a host or a port that cannot be, TypeError
    where the host is no str or the port no int.
    """

    __slots__ = ("host", "port", "family")

    host: str
    port: Optional[int]
    family: Optional[int]

    def __init__(self, host: str, port: Optional[int] = None) -> None:
        if not isinstance(host, str):
            swapped = isinstance(host, int) and isinstance(port, str)
            raise WrongAddress("host must be a str, not %r%s" % (host, ": host and port are swapped" if swapped else ""))
        if "\0" in host:
            raise ValueError("host must be a str without NUL, not %r" % (host,))
        if host.startswith("unix:"):
            if port is not None:
                raise ValueError("a Unix socket has no port: %r" % host)
            host, family = host[5:], AF_UNIX
            if not host:
                raise ValueError("unix: needs a path")
            if family is None:
                raise ValueError("this system has no Unix sockets: %r" % host)
        else:
            if isinstance(port, bool) or not isinstance(port, int):
                raise WrongAddress("port must be an int, 0 to 65535, not %r" % (port,))
            if not 0 <= port <= 65535:
                raise ValueError("port must be 0 to 65535, not %r" % (port,))
            family = _family(host)
        _set(self, "host", host)
        _set(self, "port", port)
        _set(self, "family", family)

    @classmethod
    def parse(cls, text: str) -> Address:
        """From "127.0.0.1:80", "[::1]:80", "name:80", ":80" (every interface) or "unix:/run/x.sock"; else ValueError."""
        if text.startswith("unix:"):
            return cls(text)
        host, colon, port = text.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit() and len(port) <= 5):
            raise ValueError("an address is host:port, [ipv6]:port or unix:path, not %r" % text)
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if _family(host) != socket.AF_INET6:
                raise ValueError("not an IPv6 address: %r" % host)
        elif ":" in host:
            raise ValueError("write an IPv6 address in brackets: [%s]:%s" % (host, port))
        return cls(host, int(port))

    @classmethod
    def of(cls, value: Union[Address, str, tuple[str, int]], port: Optional[int] = None) -> Address:
        """What an API takes as an address: an Address, (host, port), host and port apart, or text as for `parse`.

        TypeError for anything else, a forgotten host or swapped arguments among them.
        """
        if port is None:
            if isinstance(value, Address):
                return value
            if isinstance(value, tuple) and len(value) == 2:
                return cls(value[0], value[1])
            if isinstance(value, str):
                return cls.parse(value)
            raise WrongAddress("an address is (host, port), \"host:port\", \"unix:path\" or an Address, not %r" % (value,))
        if isinstance(value, (Address, tuple)):
            raise WrongAddress("%r has its port: port %r is one too many" % (value, port))
        return cls(value, port)

    @classmethod
    def from_sockaddr(cls, sockaddr: Any) -> Address:
        """From what the socket module returns; an unnamed Unix socket gives "unix:?"."""
        if isinstance(sockaddr, (str, bytes)):
            path = sockaddr.decode("utf-8", "surrogateescape") if isinstance(sockaddr, bytes) else sockaddr
            return cls("unix:" + (path.replace("\0", "@") or "?"))
        host = sockaddr[0]
        if len(sockaddr) > 3 and sockaddr[3] and "%" not in host:
            host = "%s%%%d" % (host, sockaddr[3])
        return cls(host, sockaddr[1])

    @property
    def numeric(self) -> bool:
        """Whether it can be connected without resolving a name."""
        return self.family is not None

    def sockaddr(self) -> Any:
        """What the socket module takes."""
        if self.port is None:
            return self.host
        if self.family == _AF_INET6:
            host, _, scope = self.host.partition("%")
            if scope:
                return (host, self.port, 0, int(scope) if scope.isdigit() else _interface(self.host))
        return (self.host, self.port)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("an Address is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("an Address is immutable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and (self.host, self.port, self.family) == (other.host, other.port, other.family)

    def __hash__(self) -> int:
        return hash((self.host, self.port))

    def __str__(self) -> str:
        if self.port is None:
            return "unix:" + self.host
        return ("[%s]:%d" if ":" in self.host else "%s:%d") % (self.host, self.port)

    def __repr__(self) -> str:
        return "Address.parse(%r)" % str(self)


def encoded(host: str) -> bytes:
    """`host` as the system's resolver takes it: ASCII, and by IDNA (RFC 3490) what is not.

    UnicodeError: it can be no host name, or this Python has no codec for it. `socket.getaddrinfo` itself encodes each str by
    IDNA, ASCII too: a Python without that codec could look nothing up.
    """
    if not host.isascii():
        try:
            return host.encode(_IDNA)
        except LookupError:
            raise UnicodeError("this Python has no IDNA codec: write the name as xn--...") from None
    labels = host.split(".")
    if not all(0 < len(label) < 64 for label in labels[:-1]) or len(labels[-1]) > 63:  # a dot may end it
        raise UnicodeError("the parts of a host name are 1 to 63 characters (RFC 1035)")
    return host.encode("ascii")


def _interface(host: str) -> int:
    """The number of the interface that `host`, an IPv6 address with a scope, names; OSError where there is none."""
    name = host.encode("utf-8", "surrogateescape")  # as bytes: see `encoded`
    found = socket.getaddrinfo(name, None, socket.AF_INET6, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    sockaddr: Any = found[0][4]
    return int(sockaddr[3])


def _family(host: str) -> Optional[int]:
    if not host:
        return _AF_INET
    try:
        socket.inet_pton(_AF_INET, host)
        return _AF_INET
    except (OSError, ValueError):
        pass
    if ":" in host:
        try:
            socket.inet_pton(_AF_INET6, host.partition("%")[0])
            return _AF_INET6
        except (OSError, ValueError):
            pass
    return None


def failure_of(error: int) -> OSError:
    """What a socket tells as a number (connect_ex, SO_ERROR), as the exception that it would have raised.

    os.strerror knows the C library's errors alone: on Windows those of sockets are others, with a table of their own.
    """
    table = getattr(socket, "errorTab", {})
    return OSError(error, table.get(error) or os.strerror(error))


def named(exc: OSError, address: Address) -> OSError:
    """`exc`, as it is, and it names `address`: "[Errno 98] Address already in use: '127.0.0.1:80'"."""
    if exc.filename is None and exc.errno is not None:
        exc.filename = str(address)
    return exc
