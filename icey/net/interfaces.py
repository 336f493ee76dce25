"""interfaces(): the network interfaces of this machine, and the addresses that they have.

    for one in interfaces():
        if one.up and one.multicast:
            print(one.name, one.index, one.addresses)     # eth0 2 (("192.0.2.5", 24), ("fe80::1%2", 64))

Rules
- It tells what the system tells, at this moment, and less where that is little. It never raises, and never waits for a network.
- Linux: the kernel is asked (rtnetlink, RFC 3549), which knows all: each interface, up or not, and each of its addresses with
  the length of its prefix. An address with a label of its own, an alias such as "eth0:1", is one more address of eth0.
- Elsewhere, and where Linux keeps this from a program (Android): names and numbers (`socket.if_nameindex`, where Python has
  it), no flags. Of addresses only those that this host would send from, to itself and to the internet, and on Windows those of
  its own name; whose they are the system does not say: see Interface.

Not here: joining a group on an interface (multicast.py), being told when something changes (ask again).
"""

from __future__ import annotations

import socket
import struct
import sys

from .address import Address

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Tuple

    Addresses = Tuple[Tuple[str, Optional[int]], ...]

PATIENCE = 1.0  # seconds, for a kernel that answers in the call
TRIES = 3  # an answer during which something changed is asked for again

# linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, if.h
_ROUTE = 0
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE, _INTERRUPTED = 2, 3, 0x10
_NEW_LINK, _GET_LINK, _NEW_ADDRESS, _GET_ADDRESS = 16, 18, 20, 22
_LINK_NAME, _ADDRESS, _LOCAL = 3, 1, 2
_UP, _LOOPBACK, _MULTICAST = 0x1, 0x8, 0x1000
_HEAD = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
_OWNED = struct.Struct("=BBBBI")  # family, prefix, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")  # length, type

# Where a datagram would go; none is sent. Addresses for documentation (RFC 5737, RFC 3849), and our own.
_PLACES = (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6),
           ("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))


class Interface:
    """A network interface.

    `name`: the system's, "eth0". `index`: its number, as IPv6 and `join_group` take it. `addresses`: a tuple of (host, prefix):
    host as an Address has it, an IPv6 address of the link alone with the number of the interface ("fe80::1%2"); prefix: the
    bits of its network's address, None where that is not told. `up`: it is switched on (its cable may lack all the same).
    `loopback`: it leads to this machine. `multicast`: it can carry groups. Each of these three is None where that is not told.

    Where the system does not say whose an address is, the addresses are those of one more Interface, the last in the list: with
    the name "" and the index 0, which to a system means any.
    """

    __slots__ = ("name", "index", "addresses", "up", "loopback", "multicast")

    def __init__(
        self, name: str, index: int, addresses: Addresses = (), up: Optional[bool] = None, loopback: Optional[bool] = None,
        multicast: Optional[bool] = None,
    ) -> None:
        self.name: str = name
        self.index: int = index
        self.addresses: Addresses = addresses
        self.up: Optional[bool] = up
        self.loopback: Optional[bool] = loopback
        self.multicast: Optional[bool] = multicast

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interface) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.name, self.index, self.addresses))

    def __repr__(self) -> str:
        hosts = ["%s/%s" % pair if pair[1] is not None else pair[0] for pair in self.addresses]
        flags = [name for name in ("up", "loopback", "multicast") if getattr(self, name)]
        return "<Interface %s>" % " ".join([self.name or "(any)", *hosts, *flags])


def interfaces() -> List[Interface]:
    """The interfaces of this machine, by their numbers, each with the addresses that it has now."""
    if hasattr(socket, "AF_NETLINK"):
        try:
            return _of_linux()
        except (OSError, struct.error):  # an Android's application may not ask, a sandbox's has nobody to ask
            pass
    return _named()


# Linux

def _of_linux() -> List[Interface]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _ROUTE) as sock:
        sock.settimeout(PATIENCE)
        links = _asked(sock, _GET_LINK, _LINK.size, _NEW_LINK)
        owned = _asked(sock, _GET_ADDRESS, _OWNED.size, _NEW_ADDRESS)
    addresses: Dict[int, List[Tuple[str, Optional[int]]]] = {}
    for body in owned:
        family, prefix, _, _, index = _OWNED.unpack_from(body)
        told = _attributes(body[_OWNED.size:])
        packed = told.get(_LOCAL) or told.get(_ADDRESS)  # with a peer, which is what _ADDRESS then is
        if packed is not None and family in (socket.AF_INET, socket.AF_INET6):
            addresses.setdefault(index, []).append((_host(family, packed, index), prefix))
    found = []
    for body in links:
        _, _, index, flags, _ = _LINK.unpack_from(body)
        name = _attributes(body[_LINK.size:]).get(_LINK_NAME, b"").rstrip(b"\0").decode("utf-8", "surrogateescape")
        found.append(Interface(name, index, tuple(addresses.get(index, ())), bool(flags & _UP), bool(flags & _LOOPBACK),
                               bool(flags & _MULTICAST)))
    return sorted(found, key=lambda one: one.index)


def _asked(sock: socket.socket, verb: int, size: int, kind: int) -> List[bytes]:
    """The bodies of all messages of `kind` with which the kernel answers `verb`, whose own body has `size` bytes."""
    for number in range(1, TRIES + 1):
        sock.send(_HEAD.pack(_HEAD.size + size, verb, _REQUEST | _DUMP, number, 0) + bytes(size))
        bodies: List[bytes] = []
        whole = True
        for found, flags, body in _messages(sock, number):
            whole = whole and not flags & _INTERRUPTED
            if found == kind:
                bodies.append(body)
        if whole:
            break
    return bodies


def _messages(sock: socket.socket, number: int) -> Iterator[Tuple[int, int, bytes]]:
    """(type, flags, body) of each message of the answer with this `number`; OSError where it is a refusal."""
    while True:
        data = sock.recv(65536)
        if not data:
            raise OSError("the kernel has answered nothing")
        while data:
            size, kind, flags, sequence, _ = _HEAD.unpack_from(data)
            body, data = data[_HEAD.size:size], data[max(_HEAD.size, size + 3 & ~3):]
            if sequence == number:
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", body)[0], "the kernel refuses to tell")
                if kind == _DONE:
                    return
                yield kind, flags, body


def _attributes(data: bytes) -> Dict[int, bytes]:
    found: Dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        found[kind] = data[_ATTRIBUTE.size:size]
        data = data[max(_ATTRIBUTE.size, size + 3 & ~3):]
    return found


def _host(family: int, packed: bytes, index: int) -> str:
    host = socket.inet_ntop(family, packed)
    return "%s%%%d" % (host, index) if packed[0] == 0xFE and packed[1] & 0xC0 == 0x80 and len(packed) == 16 else host


# elsewhere

def _named() -> List[Interface]:
    """What any system tells: names and numbers; and addresses, not whose they are."""
    try:
        found = [Interface(name, index) for index, name in sorted(getattr(socket, "if_nameindex", list)())]
    except OSError:
        found = []
    hosts: List[str] = []
    for host in [_own(place, family) for place, family in _PLACES] + (_of_own_name() if sys.platform == "win32" else []):
        if host is not None and host not in hosts:
            hosts.append(host)
    if hosts:
        found.append(Interface("", 0, tuple((host, None) for host in hosts)))
    return found


def _own(place: str, family: int) -> Optional[str]:
    """The address from which this host would send to `place`, None where it could not. Nothing is sent."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((place, 9))
            return Address.from_sockaddr(sock.getsockname()).host
    except OSError:
        return None


def _of_own_name() -> List[Optional[str]]:
    """Windows answers by itself for its own name; elsewhere a name server may be asked, and be slow."""
    try:
        told = socket.getaddrinfo(socket.gethostname(), None, 0, socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
    return [Address.from_sockaddr(sockaddr).host for family, _, _, _, sockaddr in told
            if family in (socket.AF_INET, socket.AF_INET6)]
