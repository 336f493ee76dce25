"""Multicast: sets the socket options for groups, hops and interfaces, for IPv4 and for IPv6 (RFC 3493 section 5.2).

Rules
- All arguments are checked before the kernel is asked: ValueError says what is wrong with the arguments, an OSError is the
  kernel's own (no such interface, not a member).
- An interface is named as its family does it: for IPv4 by an IPv4 address that it has, for IPv6 by its name or number.

Not here: sending and receiving (datagram.py); the methods that users call (udp.py).
"""

from __future__ import annotations

import socket
import sys

from .address import Address

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple, Union

    Interface = Union[str, int]

_FAMILIES: Dict[int, str] = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}


def change_membership(sock: Any, family: int, joins: bool, group: Union[str, Address], interface: Optional[Interface]) -> None:
    """Has `sock` join (or leave) a multicast group."""
    host = group.host if isinstance(group, Address) else group
    packed, scope = _group(family, host)
    if family == socket.AF_INET:
        option = socket.IP_ADD_MEMBERSHIP if joins else socket.IP_DROP_MEMBERSHIP
        sock.setsockopt(socket.IPPROTO_IP, option, packed + _ipv4_interface(interface))
    else:
        option = socket.IPV6_JOIN_GROUP if joins else socket.IPV6_LEAVE_GROUP
        number = _ipv6_interface(scope if interface is None else interface)
        sock.setsockopt(socket.IPPROTO_IPV6, option, packed + number.to_bytes(4, sys.byteorder))


def set_options(
    sock: Any, family: int, ttl: Optional[int], loopback: Optional[bool], interface: Optional[Interface]
) -> None:
    """Sets how `sock` sends to groups; None leaves a value as it is."""
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int) or not 0 <= ttl <= 255):
        raise ValueError("ttl is 0 to 255 hops, not %r" % (ttl,))
    four = family == socket.AF_INET
    wanted: List[Tuple[int, Any]] = []
    if interface is not None:
        if four:
            wanted.append((socket.IP_MULTICAST_IF, _ipv4_interface(interface)))
        else:
            wanted.append((socket.IPV6_MULTICAST_IF, _ipv6_interface(interface)))
    if ttl is not None:
        wanted.append((socket.IP_MULTICAST_TTL if four else socket.IPV6_MULTICAST_HOPS, ttl))
    if loopback is not None:
        wanted.append((socket.IP_MULTICAST_LOOP if four else socket.IPV6_MULTICAST_LOOP, int(bool(loopback))))
    for option, value in wanted:
        sock.setsockopt(socket.IPPROTO_IP if four else socket.IPPROTO_IPV6, option, value)


def _group(family: int, host: Any) -> Tuple[bytes, Optional[str]]:
    """The group's address in network order, and its scope; ValueError for what is no group of this family."""
    bare, _, scope = host.partition("%") if isinstance(host, str) else (host, "", "")
    for kind in (socket.AF_INET, socket.AF_INET6):
        try:
            packed = socket.inet_pton(kind, bare if kind == socket.AF_INET6 else host)
        except (OSError, ValueError, TypeError):
            continue
        if not (packed[0] >> 4 == 0xE if kind == socket.AF_INET else packed[0] == 0xFF):
            break
        if kind != family:
            raise ValueError("%s is a group of %s, and this socket speaks %s" % (host, _FAMILIES[kind], _FAMILIES[family]))
        return packed, scope or None
    raise ValueError("not a multicast address: %r (224.0.0.0 to 239.255.255.255, or ff00::/8)" % (host,))


def _ipv4_interface(interface: Optional[Interface]) -> bytes:
    if interface is None:
        return bytes(4)  # the one that the kernel routes the group to
    try:
        return socket.inet_pton(socket.AF_INET, interface)  # type: ignore[arg-type]
    except (OSError, TypeError):
        raise ValueError("for IPv4 an interface is given as an IPv4 address it has, not %r" % (interface,)) from None


def _ipv6_interface(interface: Optional[Interface]) -> int:
    number: Any = 0 if interface is None else interface  # 0: the one that the kernel routes the group to
    if isinstance(interface, str) and interface:
        number = int(interface) if interface.isdecimal() else _number_of(interface)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 32:
        raise ValueError("for IPv6 an interface is given as its name or its number, not %r" % (interface,))
    return number


def _number_of(interface: str) -> int:
    if hasattr(socket, "if_nametoindex"):
        return socket.if_nametoindex(interface)
    return int(Address("fe80::1%" + interface, 0).sockaddr()[3])  # PyPy
