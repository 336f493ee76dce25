"""Networks: a set of addresses and networks, to ask whether a peer is in it.

    trusted = Networks(["127.0.0.1", "10.0.0.0/8", "::1", "unix"])
    sock.peer in trusted

Rules
- An entry is an IP address, a network in prefix notation, or "unix", which means every peer on a Unix socket.
- An IPv4 address mapped into IPv6 (::ffff:10.0.0.1, RFC 4291 section 2.5.5.2), as a listener on "::" shows its clients, is that
  IPv4 address. "::/0" therefore means IPv6 alone.
- The scope of an address (fe80::1%eth0) is not looked at.

Not here: names. Who a name stands for is decided by a name server, so a name is nothing to trust.
"""

from __future__ import annotations

import socket

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Iterable, List, Optional, Tuple, Union

    from .address import Address

_MAPPED = b"\0" * 10 + b"\xff\xff"


class Networks:
    """`Networks(entries)`; ValueError for what is neither an address, nor a network, nor "unix"."""

    __slots__ = ("_entries", "_networks", "_unix")

    def __init__(self, entries: Union[str, Iterable[str]]) -> None:
        self._entries: List[str] = [entries] if isinstance(entries, str) else list(entries)
        self._unix = "unix" in self._entries
        self._networks: List[Tuple[int, int, int]] = [  # bytes of an address, the network, bits behind its prefix
            _network(entry) for entry in self._entries if entry != "unix"
        ]

    @classmethod
    def of(cls, value: Union[Networks, str, Iterable[str]]) -> Networks:
        """What an API takes as networks: Networks, or what makes one."""
        return value if isinstance(value, Networks) else cls(value)

    def __contains__(self, address: Optional[Address]) -> bool:
        if address is None:
            return False
        if address.port is None:
            return self._unix
        packed = _packed(address.host.partition("%")[0])
        if packed is None:
            return False
        size, number = len(packed), int.from_bytes(packed, "big")
        return any(size == length and number >> rest == network for length, network, rest in self._networks)

    def __repr__(self) -> str:
        return "Networks(%r)" % self._entries


def _network(entry: str) -> Tuple[int, int, int]:
    if not isinstance(entry, str):
        raise TypeError("an entry of Networks is a str, an address or a network, not %r" % (entry,))
    host, slash, digits = entry.partition("/")
    packed = _packed(host)
    if packed is None or (slash and not _is_prefix(digits)):
        raise ValueError("%r is neither an IP address, nor a network such as 10.0.0.0/8, nor \"unix\"" % (entry,))
    bits = 8 * len(packed)
    prefix = int(digits) if slash else bits
    if bits == 32 and ":" in entry and slash:
        prefix -= 96  # it was mapped
    if not 0 <= prefix <= bits:
        raise ValueError("%r: a prefix has at most as many bits as the address" % entry)
    number, rest = int.from_bytes(packed, "big"), bits - prefix
    if number >> rest << rest != number:
        raise ValueError("%r has bits set behind its prefix: write the network's own address, or the address alone" % entry)
    return len(packed), number >> rest, rest


def _is_prefix(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= 3 and (digits == "0" or digits[0] != "0")


def _packed(host: str) -> Optional[bytes]:
    """The 4 or 16 bytes of an address, None for what is none."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            packed = socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return packed[12:] if packed[:12] == _MAPPED else packed
    return None
