"""forwarded: who a request comes from, as the proxies in front of us tell it: RFC 7239, and X-Forwarded-For, -Proto, -Host.

    trusted = Networks(["10.0.0.0/8", "unix"])                  # your proxies, nobody else
    info = forwarded(exchange, trusted)
    info.client, info.proto, info.host

Off by default: nobody calls it. Anybody can send these fields, so only what a trusted proxy wrote is believed.

Rules
- Each proxy adds, at the right, whom it got the request from. The chain is walked from the right: from our own peer on, as
  long as the one at hand is trusted; the first who is not is the client. What stands to the left of that was written by the
  client or by strangers and is not believed; in X-Forwarded-For it is not even looked at.
- `proto` and `host` are those that the client's own proxy told, else the connection's. X-Forwarded-Proto and -Host count
  where they have one value, or as many as X-Forwarded-For.
- Malformed, nothing of it is used. Then, and where the proxy itself does not tell ("unknown", "_hidden", no `for`), `client`
  is None: somebody, and certainly not the proxy, whose address may be allowed things.
- Where both forms come they must agree on the client, or neither is used: a proxy that writes one and lets the other pass
  would have the client write it. Name the one your proxies write (`form=`), and only that is read.
- `exchange.peer` and `connection.peer` stay what they are. Where a proxy speaks the PROXY protocol, see proxyprotocol.py.
"""

from __future__ import annotations

import re
import socket

from ...base.errors import BadRequest
from ...net.address import Address
from ...net.networks import Networks
from ..semantics.grammar import TOKEN_CHARS, is_ipv4, is_ipv6, valid_host

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import ClassVar, Dict, Iterable, List, NoReturn, Optional, Tuple, Union

    from .exchange import Exchange

    Hop = Tuple[Optional[str], Optional[str], Optional[str]]  # for, proto, host, as written

FORMS = (None, "forwarded", "x-forwarded")

_PAIR = re.compile(
    r"([{t}]+)=(?:([{t}]+)|\"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*)\")"
    .replace("{t}", TOKEN_CHARS)
).match
_SEPARATOR = re.compile(r"[ \t]*([;,]|\Z)[ \t]*").match
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?").fullmatch
_HIDDEN = re.compile(r"(?:unknown|_[A-Za-z0-9._\-]+)(?::(?:[0-9]{1,5}|_[A-Za-z0-9._\-]+))?", re.IGNORECASE).fullmatch
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*").fullmatch


class ForwardedInfo:
    """client: an Address (port 0 where it was not told), None if unknown. proto: "http", "https". host: as a Host field."""

    __slots__ = ("client", "proto", "host")

    def __init__(self, client: Optional[Address], proto: str, host: str) -> None:
        self.client: Optional[Address] = client
        self.proto: str = proto
        self.host: str = host

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ForwardedInfo) and (
            (self.client, self.proto, self.host) == (other.client, other.proto, other.host))

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "ForwardedInfo(%s, %r, %r)" % (self.client, self.proto, self.host)


def forwarded(
    exchange: Exchange, trusted: Union[Networks, str, Iterable[str]], *, form: Optional[str] = None
) -> ForwardedInfo:
    """Who the request comes from, through `trusted` proxies: Networks, or what makes one.

    form: "forwarded" or "x-forwarded" reads that form only. ValueError for another, or for entries of `trusted`.
    """
    if form not in FORMS:
        raise ValueError("form is None, \"forwarded\" or \"x-forwarded\", not %r" % (form,))
    networks = Networks.of(trusted)
    own = ForwardedInfo(exchange.peer, "https" if exchange.secure else "http", exchange.request.host)
    if exchange.peer not in networks:
        return own
    headers = exchange.request.headers
    found: List[ForwardedInfo] = []
    try:
        if form != "x-forwarded" and "forwarded" in headers:
            found.append(_walk(_elements(",".join(headers.get_all("forwarded"))), networks, own))
        if form != "forwarded" and "x-forwarded-for" in headers:
            found.append(_walk(_hops(exchange), networks, own, bare=True))
    except BadRequest:
        found = [ForwardedInfo(None, own.proto, own.host)]
    if len(found) == 2 and not _agree(found[0].client, found[1].client):
        found = [ForwardedInfo(None, own.proto, own.host)]
    return found[0] if found else own


def _walk(hops: List[Hop], trusted: Networks, own: ForwardedInfo, bare: bool = False) -> ForwardedInfo:
    """From the last hop to the first, up to the first client that is not trusted."""
    client = own.client
    hop: Hop = (None, None, None)
    for hop in reversed(hops):
        client = _node(hop[0], bare)
        if client not in trusted:
            break
    _, proto, host = hop
    return ForwardedInfo(client, own.proto if proto is None else _scheme(proto), own.host if host is None else _host(host))


def _agree(one: Optional[Address], other: Optional[Address]) -> bool:
    """Whether both are the same host; the port may be told by one alone."""
    return one is not None and other is not None and one.host == other.host and one.family == other.family


# Forwarded, RFC 7239 section 4

def _elements(text: str) -> List[Hop]:
    """The elements of a whole Forwarded field; empty ones, and empty pairs, are left out."""
    hops: List[Hop] = []
    pairs: Dict[str, str] = {}
    at = 0
    while True:
        pair = _PAIR(text, at)
        if pair is not None:
            name, token, quoted = pair.groups()
            if name.lower() in pairs:
                _malformed("Forwarded")  # each parameter once an element
            pairs[name.lower()] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            at = pair.end()
        separator = _SEPARATOR(text, at)
        if separator is None:
            _malformed("Forwarded")
        at = separator.end()
        if separator.group(1) != ";":
            if pairs:
                hops.append((pairs.get("for"), pairs.get("proto"), pairs.get("host")))
                pairs = {}
            if not separator.group(1):
                return hops


# X-Forwarded-*

def _hops(exchange: Exchange) -> List[Hop]:
    headers = exchange.request.headers
    clients = _listed(headers.get_all("x-forwarded-for"))
    protos = _spread(_listed(headers.get_all("x-forwarded-proto")), len(clients))
    hosts = _spread(_listed(headers.get_all("x-forwarded-host")), len(clients))
    return list(zip(clients, protos, hosts))


def _listed(values: List[str]) -> List[str]:
    return [item.strip(" \t") for item in ",".join(values).split(",")] if values else []


def _spread(values: List[str], count: int) -> List[Optional[str]]:
    """One value for all hops, one for each, or none at all."""
    if len(values) == 1:
        return [values[0]] * count
    if values and len(values) != count:
        _malformed("X-Forwarded-*")
    return list(values) if values else [None] * count


# what both say

def _node(name: Optional[str], bare: bool) -> Optional[Address]:
    """A node (RFC 7239 section 6): an address, or None where it is not told. bare: IPv6 may come without brackets."""
    if name is None or _HIDDEN(name):
        return None
    match = _NODE("[%s]" % name if bare and is_ipv6(name) else name)
    if match is None:
        _malformed("client")
    v6, v4, port = match.groups()
    if not (is_ipv6(v6) if v4 is None else is_ipv4(v4)) or int(port or 0) > 65535:
        _malformed("client")
    if v6 is not None:  # one address, one spelling
        v6 = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, v6))
    return Address(v6 or v4, int(port or 0))


def _scheme(text: str) -> str:
    if not _SCHEME(text):
        _malformed("proto")
    return text.lower()


def _host(text: str) -> str:
    if not text or not valid_host(text):
        _malformed("host")
    return text


def _malformed(what: str) -> NoReturn:
    raise BadRequest("malformed %s of a proxy" % what)
