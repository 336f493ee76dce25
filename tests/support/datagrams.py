"""Datagrams for the tests: a socket that follows a script, errors by name, and loopback sockets that turn the loop.

    sock = ScriptedDatagrams(reads=[(b"hello", PEER), AGAIN, failed("ECONNREFUSED")], writes=[TAKE, AGAIN, failed("ENOBUFS")])
    udp = icey.UDPSocket(loop, sock)

It takes its manner from ScriptedSocket (icey.tools.testing): STALL, `feed`, `allow`, `unstall`, `calls`.
"""
import errno
import os
import socket

from icey import UDPSocket
from icey.tools.testing import ScriptedSocket, Stall, error_of
from tests.support.packets import turn_until

PEER = ("192.0.2.7", 7)
OTHER = ("192.0.2.8", 8)
TAKE = 1  # the kernel takes the datagram


def failed(name):
    """The OSError that the system raises for this errno."""
    code = getattr(errno, name)
    return OSError(code, os.strerror(code))


class ScriptedDatagrams(ScriptedSocket):
    """A datagram socket that does what its script says.

    reads: what each receive meets: (bytes, sender), or an error. writes: what each send meets: TAKE, STALL, or an error;
    once the script is out the kernel takes everything. peer: whom it is connected to. `taken` is what was sent, as
    (bytes, address), the address None where it went to the peer.
    """

    type = socket.SOCK_DGRAM

    def __init__(self, reads=(), writes=(), *, peer=None, family=socket.AF_INET):
        self.family = family
        self.taken = []
        self._peer = peer
        super().__init__(reads, writes, sendmsg=False)

    def recvfrom_into(self, buffer, nbytes=0, flags=0):
        room = len(buffer)
        self.calls.append(("recvfrom_into", room))
        self.require_open()
        try:
            if not self._reads:
                raise failed("EAGAIN")
            item = self._reads.popleft()
            if not isinstance(item, tuple):
                raise error_of(item)
        finally:
            self._show()
        data, sender = item
        size = min(len(data), room)
        buffer[:size] = data[:size]
        return size, sender

    def send(self, data, flags=0):
        self.calls.append(("send", len(data)))
        return self._put(data, None)

    def sendto(self, data, address):
        self.calls.append(("sendto", len(data), address))
        return self._put(data, address)

    def connect(self, address):
        self.calls.append(("connect", address))
        self._peer = address

    def getpeername(self):
        if self._peer is None:
            raise failed("ENOTCONN")
        return self._peer

    def _put(self, data, address):
        self.require_open()
        item = self._writes.popleft() if self._writes and not self._stalled else None
        if isinstance(item, Stall):
            self._stall()
        elif item is not None and item != TAKE:
            raise error_of(item)
        if self._stalled:
            raise failed("EAGAIN")
        self.taken.append((bytes(data), address))
        return len(data)


def scripted(loop, reads=(), writes=(), **options):
    """(UDPSocket, its scripted socket)"""
    sock = ScriptedDatagrams(reads, writes, **options)
    return UDPSocket(loop, sock), sock


def sent(sock):
    """The content of what a scripted socket was sent."""
    return [data for data, _ in sock.taken]


def bound(loop, host="127.0.0.1"):
    """A UDPSocket on a real port of the loopback."""
    udp = UDPSocket(loop)
    udp.bind((host, 0))
    return udp


def received(udp):
    """A list that gets (bytes, address) of what comes."""
    came = []
    udp.on_recv += lambda sock, view, address: came.append((bytes(view), address))
    return came


def until(loop, came, count):
    """Turns the loop until `count` items are in `came`."""
    turn_until(loop, lambda: len(came) >= count)
