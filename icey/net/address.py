"""Address: where a socket is: host and port, or the path of a Unix socket.

Rules: an Address is immutable and hashable. Numeric hosts have a family; a name has none until it is resolved.
"""

from __future__ import annotations

import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Optional, Union

AF_UNIX: Optional[int] = getattr(socket, "AF_UNIX", None)


class Address:
    """`Address("127.0.0.1", 80)`, `Address("::1", 80)`; `Address.parse` also knows "unix:/run/x.sock".

    host: an IP address, a name, "" for every interface, or a path (Unix). port: 0 to 65535, None for Unix sockets.
    family: socket.AF_INET, AF_INET6, AF_UNIX, or None for a name.
    """

    __slots__ = ("host", "port", "family")

    host: str
    port: Optional[int]
    family: Optional[int]

    def __init__(self, host: str, port: Optional[int] = None) -> None:
        if not isinstance(host, str) or "\0" in host:
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
            if port is None or isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
                raise ValueError("port must be 0 to 65535, not %r" % (port,))
            family = _family(host)
        for name, value in (("host", host), ("port", port), ("family", family)):
            object.__setattr__(self, name, value)

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
        """What an API takes as an address: an Address, (host, port), host and port apart, or text as for `parse`."""
        if isinstance(value, Address):
            return value
        if isinstance(value, tuple):
            return cls(value[0], value[1])
        return cls(value, port) if port is not None else cls.parse(value)

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
        if self.family == socket.AF_INET6:
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


def _interface(host: str) -> int:
    """The number of the interface that `host`, an IPv6 address with a scope, names; OSError where there is none."""
    found = socket.getaddrinfo(host, None, socket.AF_INET6, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    sockaddr: Any = found[0][4]
    return int(sockaddr[3])


def _family(host: str) -> Optional[int]:
    if not host:
        return socket.AF_INET
    bare, percent, scope = host.partition("%")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, bare if family == socket.AF_INET6 else host)
        except (OSError, ValueError):
            continue
        return int(family)
    return None
