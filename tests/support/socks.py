"""The answers of a SOCKS5 proxy in bytes, and a proxy that a test plays by hand on a Peer: RFC 1928 and 1929 once more.

    peer = raw.accept()
    assert socks.serve(peer) == ("name", "a.test", 80)     # from here on the peer is the target
"""
import socket

NO_LOGIN, LOGIN, NO_METHOD = b"\x05\x00", b"\x05\x02", b"\x05\xff"
ADMITTED = b"\x01\x00"
OPEN = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"  # bound to 0.0.0.0:0, as most say
OPEN_IPV6 = b"\x05\x00\x00\x04" + bytes(range(16)) + b"\x1f\x90"
OPEN_NAME = b"\x05\x00\x00\x03\x05proxy\x04\x38"


def refusal(code):
    return b"\x05" + bytes([code]) + OPEN[2:]


def serve(peer, *, login=None, admit=True, reply=OPEN):
    """Plays the proxy: (kind, host, port) of what was asked for, None where it came to no request.

    login: (user, password) that it wants; admit: whether it takes the ones that come. reply: its last answer.
    """
    version, count = peer.read(2)
    methods = peer.read(count)
    assert version == 5
    if login is None:
        assert 0 in methods
        peer.send(NO_LOGIN)
    elif 2 not in methods:
        peer.send(NO_METHOD)
        return None
    else:
        peer.send(LOGIN)
        assert peer.read(1) == b"\x01"
        user, password = [peer.read(peer.read(1)[0]).decode("utf-8") for _ in range(2)]
        assert ((user, password) == login) is admit
        peer.send(b"\x01" + bytes([not admit]))
        if not admit:
            return None
    version, command, reserved, kind = peer.read(4)
    assert (version, command, reserved) == (5, 1, 0)
    if kind == 3:
        asked = ("name", peer.read(peer.read(1)[0]).decode("ascii"))
    elif kind == 1:
        asked = ("IPv4", socket.inet_ntop(socket.AF_INET, peer.read(4)))
    else:
        assert kind == 4
        asked = ("IPv6", socket.inet_ntop(socket.AF_INET6, peer.read(16)))
    port = int.from_bytes(peer.read(2), "big")
    peer.send(reply)
    return (*asked, port)
