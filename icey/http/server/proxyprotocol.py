"""The PROXY protocol, versions 1 and 2: a proxy that passes connections on says first whose they are.

    parse(data)     None while the header is incomplete, else (bytes used, source, destination, TLVs); sans-I/O
    Gate            what `Server(proxy_protocol=...)` puts before its connections

The reference is haproxy's proxy-protocol.txt; sections are its.

Rules
- Off by default. On, it takes the trusted peers: Server(..., proxy_protocol=["127.0.0.1", "10.0.0.0/8", "unix"]).
- From those the header is required before anything else, and within `head_timeout`: the connection's own data are never looked
  at for an address, and nothing is guessed (section 5). Without a valid one the connection is aborted, with a line in the log,
  one a second at most. A peer that leaves without a word (a health check) is not worth one.
- From anybody else the header is what it is to HTTP: garbage, 400.
- The connection's `peer` and `local` are then the source and the destination announced; for LOCAL, UNKNOWN and UNSPEC, which
  announce none, they stay the real ones.
- The header comes in clear, before a TLS handshake.

Not here: what proxies that speak HTTP put into its fields (forwarding.py).
"""

from __future__ import annotations

import re
import socket

from ...base import log
from ...base.errors import ProtocolError
from ...base.streamprotocol import StreamProtocol
from ...net.address import AF_UNIX, Address
from ...net.networks import Networks
from ..semantics.grammar import is_ipv4, is_ipv6

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Tuple, Union

    from ...net.tcp import TCPSocket
    from .server import Server

    Octets = Union[bytes, bytearray]
    TLV = Tuple[int, bytes]
    Header = Tuple[int, Optional[Address], Optional[Address], List[TLV]]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_LINE = 107  # bytes of a version 1 header, its CRLF included (section 2.1)
MOST_TLVS = 64

CRC32C = 0x03  # a TLV's type (section 2.2.3)

_LINE = re.compile(r"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})").fullmatch
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?").fullmatch
_LOCAL, _PROXY = 0, 1
_FAMILIES = {1: (socket.AF_INET, 4), 2: (socket.AF_INET6, 16), 3: (AF_UNIX, 108)}  # by the high bits; bytes of an address
_STREAM, _DATAGRAM = 1, 2


def parse(data: Octets) -> Optional[Header]:
    """The header at the start of `data`: (bytes used, source, destination, [(type, value) of each TLV]).

    None: it is incomplete. Addresses are None where none is announced. ProtocolError: malformed, or none at all.
    """
    start = bytes(data[:len(SIGNATURE)])
    if SIGNATURE.startswith(start):
        return _parse_binary(data) if len(start) == len(SIGNATURE) else None
    if b"PROXY ".startswith(start[:6]):
        return _parse_line(bytes(data[:LONGEST_LINE]))
    raise ProtocolError("no PROXY header")


def _parse_line(data: bytes) -> Optional[Header]:
    """Version 1: a line (section 2.1)."""
    line, end, _ = data.partition(b"\r\n")
    if not end:
        if len(data) == LONGEST_LINE or b"\n" in data or b"\r" in data[:-1]:
            raise ProtocolError("a PROXY line without CRLF in its first %d bytes" % LONGEST_LINE)
        return None
    used = len(line) + 2
    if _UNKNOWN(line):
        return used, None, None, []
    match = _LINE(line.decode("latin-1"))
    if match is None:
        raise ProtocolError("malformed PROXY line")
    family, source, destination, source_port, destination_port = match.groups()
    valid = is_ipv4 if family == "TCP4" else is_ipv6
    if not (valid(source) and valid(destination) and int(source_port) <= 65535 and int(destination_port) <= 65535):
        raise ProtocolError("malformed address in a PROXY line")
    return used, Address(source, int(source_port)), Address(destination, int(destination_port)), []


def _parse_binary(data: Octets) -> Optional[Header]:
    """Version 2 (section 2.2)."""
    if len(data) > 12 and data[12] not in (0x20, 0x21):
        raise ProtocolError("version %d, command %d in a PROXY header" % (data[12] >> 4, data[12] & 15))
    if len(data) < 16 or len(data) < 16 + int.from_bytes(data[14:16], "big"):
        return None
    used = 16 + int.from_bytes(data[14:16], "big")
    header = bytes(data[:used])
    family, transport = header[13] >> 4, header[13] & 15
    if header[12] & 15 == _LOCAL:
        return used, None, None, []  # the rest is to be skipped, whatever it says
    if family > 3 or transport > _DATAGRAM:
        raise ProtocolError("address family %d, transport %d in a PROXY header" % (family, transport))
    if not family or not transport:  # unspecified: nobody knows what the addresses look like
        return used, None, None, []
    kind, size = _FAMILIES[family]
    block = 2 * size + (0 if family == 3 else 4)
    if used < 16 + block:
        raise ProtocolError("a PROXY header of %d bytes has no room for its addresses" % used)
    source, destination = header[16:16 + size], header[16 + size:16 + 2 * size]
    tlvs = _tlvs(header, 16 + block)
    if family == 3:
        return used, _path(source), _path(destination), tlvs
    assert kind is not None
    ports = header[16 + 2 * size:16 + block]
    return (used, Address(socket.inet_ntop(kind, source), int.from_bytes(ports[:2], "big")),
            Address(socket.inet_ntop(kind, destination), int.from_bytes(ports[2:], "big")), tlvs)


def _path(block: bytes) -> Optional[Address]:
    """The address in a struct sockaddr_un's path; None on a system without such."""
    if AF_UNIX is None:
        return None
    name = b"\0" + block[1:].rstrip(b"\0") if block[:1] == b"\0" and block.strip(b"\0") else block.partition(b"\0")[0]
    return Address.from_sockaddr(name)


def _tlvs(header: bytes, at: int) -> List[TLV]:
    """Type, length, value, over and over (section 2.2); a checksum among them is checked."""
    found: List[TLV] = []
    summed = False
    while at < len(header):
        start = at + 3
        stop = start + int.from_bytes(header[at + 1:start], "big")
        if start > len(header) or stop > len(header):
            raise ProtocolError("a TLV reaches beyond its PROXY header")
        kind, value = header[at], header[start:stop]
        if len(found) == MOST_TLVS:
            raise ProtocolError("more than %d TLVs in a PROXY header" % MOST_TLVS)
        if kind == CRC32C:
            if summed or len(value) != 4:
                raise ProtocolError("malformed checksum of a PROXY header")
            summed = True
            if crc32c(header[:start] + bytes(4) + header[stop:]) != int.from_bytes(value, "big"):
                raise ProtocolError("wrong checksum of a PROXY header")
        found.append((kind, value))
        at = stop
    return found


_TABLE: List[int] = []


def crc32c(data: bytes) -> int:
    """The CRC-32C of `data` (RFC 4960 appendix B)."""
    if not _TABLE:
        for value in range(256):
            for _ in range(8):
                value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
            _TABLE.append(value)
    total = 0xFFFFFFFF
    for byte in data:
        total = total >> 8 ^ _TABLE[(total ^ byte) & 0xFF]
    return total ^ 0xFFFFFFFF


class Gate:
    """Stands before a server: takes the streams of trusted peers until their header is whole. `waiting`: those."""

    __slots__ = ("waiting", "_server", "_trusted", "_said")

    def __init__(self, server: Server, trusted: Union[Networks, str, Iterable[str]]) -> None:
        self.waiting: Dict[HeaderReader, None] = {}
        self._server = server
        self._trusted = Networks.of(trusted)
        self._said = float("-inf")

    def takes(self, stream: TCPSocket) -> bool:
        """Whether `stream` is of a trusted peer; it is then taken."""
        if stream.peer not in self._trusted:
            return False
        self.waiting[HeaderReader(self, stream)] = None
        return True

    def sweep(self, now: float, forgiven: float = 0.0) -> None:
        """Aborts those who are late. forgiven: seconds that a slot held the loop since the last sweep."""
        limit = self._server.limits.head_timeout
        if limit is not None:
            for reader in tuple(self.waiting):
                reader.since += forgiven
                if now - reader.since >= limit:
                    reader.late()

    def abort(self) -> None:
        """Aborts all whose header has not come by now: nothing of theirs has begun."""
        for reader in tuple(self.waiting):
            reader.stream.look()
            if reader in self.waiting:
                reader.stream.abort()

    def let_in(self, reader: HeaderReader, header: Header, rest: bytes) -> None:
        """A header is whole: the server's turn."""
        _, source, destination, _ = header
        stream = reader.stream
        stream.announce(source, destination)
        del self.waiting[reader]
        self._server.begin(stream).stream.announce(source, destination)  # another one, if TLS stands between
        if rest and stream.protocol is not None:
            stream.guard(stream.protocol.on_bytes, rest)

    def refuse(self, reader: HeaderReader, why: str) -> None:
        now = reader.stream.loop.now
        if now - self._said >= 1.0:
            self._said = now
            log.warning("http", "PROXY protocol: %s from %s; the connection was aborted", why, reader.stream.peer)
        reader.stream.abort()

    def gone(self, reader: HeaderReader) -> None:
        self.waiting.pop(reader, None)
        self._server.one_less()


class HeaderReader(StreamProtocol):
    """A stream's sink until its header is whole."""

    __slots__ = ("stream", "since", "_gate", "_held")

    def __init__(self, gate: Gate, stream: TCPSocket) -> None:
        self.stream: TCPSocket = stream
        self.since: float = stream.loop.now
        self._gate = gate
        self._held = bytearray()
        stream.use_protocol(self)

    def on_bytes(self, data: bytes) -> None:
        """The stream read `data`."""
        held = self._held
        held += data
        try:
            header = parse(held)
        except ProtocolError as exc:
            self._gate.refuse(self, str(exc))
            return
        if header is not None:
            self._gate.let_in(self, header, bytes(held[header[0]:]))

    def on_end(self) -> None:
        """The peer sends no more."""
        if self._held:
            self._gate.refuse(self, "half a header")
        else:
            self.stream.close()

    def on_close(self) -> None:
        """The stream is closed."""
        self._gate.gone(self)

    def late(self) -> None:
        """Too late, unless the rest has just arrived."""
        self.stream.look()
        if self in self._gate.waiting and not self.stream.closing:
            self._gate.refuse(self, "no header in time")
