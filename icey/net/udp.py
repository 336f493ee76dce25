"""UDPSocket: datagrams over IPv4 and IPv6, to and from many or, once connected, one peer.

Rules
- A socket is NEW, then BOUND (it has an address of its own), then CONNECTED (it has one peer). Steps may be left out; no step
  is taken twice, and none leads back.
- The first send with an address binds a NEW socket to any free port.
- An IPv6 socket leaves IPv4 to others, unless it is bound to "::".

Not here: sending, receiving and closing (datagram.py), groups (multicast.py), names (dns.py), datagrams as packets
(packets/socket.py).
"""

from __future__ import annotations

import socket

from ..base.errors import StateError
from ..base.handle import OPEN
from ..base.state import transitions
from . import multicast
from .address import Address, named
from .datagram import DatagramSocket
from .datagramqueue import Senders

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional, Union

    from ..base.loop import Loop
    from .address import AddressLike
    from .multicast import Interface

NEW, BOUND, CONNECTED = range(3)
STEPS = transitions({NEW: (BOUND, CONNECTED), BOUND: (CONNECTED,), CONNECTED: ()}, names=("NEW", "BOUND", "CONNECTED"))


class UDPSocket(DatagramSocket):
    """A datagram socket: `bind` to be found by others, or `connect`, or just `send` with an address.

    sock: a socket to take over, bound or connected already. `local`, `peer`: an Address each, or None. The others: see
    DatagramSocket.
    """

    __slots__ = ("_state", "_family", "_peer", "_senders")

    STATES = {"_state": STEPS}

    def __init__(self, loop: Loop, sock: Any = None) -> None:
        super().__init__(loop)
        self._state = NEW
        self._family: Optional[int] = None
        self._peer: Optional[Address] = None
        self._senders = Senders()
        if sock is not None:
            self._take_over(sock)

    @property
    def local(self) -> Optional[Address]:
        """Our address; None while there is none, and after close."""
        try:
            return Address.from_sockaddr(self.sock.getsockname())
        except (OSError, AttributeError):
            return None

    @property
    def peer(self) -> Optional[Address]:
        """The peer's address (kept after close), None unless connected."""
        return self._peer

    def bind(self, address: AddressLike, *, reuse_address: bool = False, reuse_port: bool = False) -> None:
        """Takes an address: an Address, (host, port) or text; port 0: any that is free. "::" takes IPv4 as well.

        reuse_address: others may bind it too, as listeners of one multicast group do. reuse_port: the kernel spreads what
        comes over all who bind so. ValueError: a name, a Unix path. StateError: it has an address. OSError: the kernel's.
        """
        self.check_thread()
        self.require_open("bind")
        if self._state != NEW:
            raise StateError("bind() on a UDPSocket that has an address, %s" % self.local,
                             "bind first, then connect or send; for another address make another UDPSocket")
        target = self._numeric("bind", address)
        self._use(_bound(target, target.host != "::", reuse_address, reuse_port), BOUND)

    def connect(self, address: AddressLike) -> None:
        """Fixes the peer: `send` goes there, others' datagrams are not received any more, ICMP errors of it are told.

        It takes no time, and says nothing of whether anybody is there. What had come before is still received. ValueError:
        a name, a Unix path, another family. StateError: connected already, or datagrams to others are still queued.
        OSError: the kernel's, no route for one; the socket is as before then.
        """
        self.check_thread()
        self.require_open("connect")
        if self._state == CONNECTED:
            raise StateError("connect() on a UDPSocket that is connected to %s" % self._peer,
                             "make another UDPSocket for another peer")
        if self.queue.size:
            raise StateError("connect() while datagrams to others are queued, %d bytes" % self.queue.size,
                             "wait for on_drain, or connect before you send")
        target = self._numeric("connect", address)
        if self._state == BOUND:
            self.sock.connect(target.sockaddr())
        else:
            self._use(_connected(target), BOUND)
        self._state = CONNECTED
        self._peer = target

    # options: the loop's thread. Before bind StateError, after close nothing happens.

    def join_group(self, group: Union[str, Address], interface: Optional[Interface] = None) -> None:
        """Receives what is sent to a multicast group as well: "239.1.2.3", "ff02::1%eth0".

        interface: where to listen, for IPv4 an IPv4 address of the interface, for IPv6 its name or number; None has the
        kernel choose. ValueError: no group, or one of the other family. OSError: no such interface, joined already.
        """
        if self._may_set("join_group"):
            multicast.change_membership(self.sock, self.sock.family, True, group, interface)

    def leave_group(self, group: Union[str, Address], interface: Optional[Interface] = None) -> None:
        """The opposite of `join_group`, to be given the same. OSError: it was not joined."""
        if self._may_set("leave_group"):
            multicast.change_membership(self.sock, self.sock.family, False, group, interface)

    def set_multicast(
        self, ttl: Optional[int] = None, loopback: Optional[bool] = None, interface: Optional[Interface] = None
    ) -> None:
        """How we send to groups; None leaves a value as it is.

        ttl: hops, 0 to 255 (the system's own default: 1, the local network). loopback: whether members on this host,
        we too, get it. interface: where to send, given as for `join_group`.
        """
        if self._may_set("set_multicast"):
            multicast.set_options(self.sock, self.sock.family, ttl, loopback, interface)

    def set_broadcast(self, on: bool = True) -> None:
        """SO_BROADCAST: allows sending to broadcast addresses, 255.255.255.255 for one."""
        if self._may_set("set_broadcast"):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, int(on))

    # what DatagramSocket asks

    def target_of(self, address: Optional[AddressLike]) -> Any:
        """What the socket module takes for `address`; None for the peer. StateError, ValueError: it cannot be sent to."""
        if type(address) is Address and self._state == BOUND and address.family == self._family and self.phase == OPEN:
            return address.sockaddr()  # the common case; an address of IP has a port
        if self.phase != OPEN:
            self.require_open("send")
        if self._state == CONNECTED:
            if address is not None:
                raise StateError("send() with an address on a UDPSocket that is connected to %s" % self._peer,
                                 "leave the address out, or send from a socket that is not connected")
            return None
        if address is None:
            raise StateError("send() without an address on a UDPSocket that is not connected",
                             "send(data, address), or connect(address) first")
        target = self._numeric("send", address)
        if self._state == NEW:
            self._use(_bound(Address("::" if target.family == socket.AF_INET6 else "", 0), True), BOUND)
        return target.sockaddr()

    def sender_of(self, sockaddr: Any) -> Any:
        """The Address that goes with `sockaddr`, the peer's for None."""
        return self._senders[sockaddr] if sockaddr else self._peer

    # inside

    def _take_over(self, sock: Any) -> None:
        if sock.type != socket.SOCK_DGRAM or sock.family not in (socket.AF_INET, socket.AF_INET6):
            raise ValueError("a UDPSocket takes over a datagram socket of IPv4 or IPv6, not %r" % (sock,))
        try:
            self._peer = Address.from_sockaddr(sock.getpeername())
        except OSError:  # it has none
            pass
        self._use(sock, BOUND if self._peer is None else CONNECTED)

    def _use(self, sock: Any, state: int) -> None:
        self._state = state
        self._family = int(sock.family)
        self.use_socket(sock)

    def _numeric(self, verb: str, address: AddressLike) -> Address:
        """`address` as an Address that this socket can use, else ValueError."""
        target = Address.of(address)
        if target.port is None:
            raise ValueError("%s() takes an IP address and a port, not a Unix path: %s" % (verb, target))
        if target.family is None:
            raise ValueError("%s() takes a numeric address; %r is a name: resolve() it first" % (verb, target.host))
        if self._family is not None and target.family != self._family:
            raise ValueError("%s() got %s on a socket of the other family: make one for each, or bind one to \"::\", which"
                             " reaches IPv4 as [::ffff:192.0.2.1]:9" % (verb, target))
        return target

    def _may_set(self, verb: str) -> bool:
        self.check_thread()
        if self.phase == OPEN and self.sock is None:
            raise StateError("%s() before bind()" % verb, "bind first; bind((\"\", 0)) takes any free port")
        return self.phase == OPEN

    def title(self) -> str:
        names = [str(name) for name in (self.local, self._peer) if name is not None]
        return " ".join([type(self).__name__, " to ".join(names)]) if names else type(self).__name__


def _bound(address: Address, only6: bool, reuse_address: bool = False, reuse_port: bool = False) -> socket.socket:
    """A socket bound to `address`. only6: an IPv6 one leaves IPv4 to others."""
    sock = socket.socket(address.family or socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if reuse_address:
            if not hasattr(socket, "SO_REUSEADDR"):
                raise ValueError("reuse_address is not to be had on this system")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise ValueError("reuse_port is not to be had on this system")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if address.family == socket.AF_INET6 and hasattr(socket, "IPV6_V6ONLY"):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only6)
        sock.bind(address.sockaddr())
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError):
            named(exc, address)
        raise
    return sock


def _connected(address: Address) -> socket.socket:
    sock = socket.socket(address.family or socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.connect(address.sockaddr())
    except BaseException:
        sock.close()
        raise
    return sock
