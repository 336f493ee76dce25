"""What the system has counted of a TCP connection, asked of the system."""

from icey.base import tcpinfo
from tests.support import streams

pair = streams.tcp_ends


def test_traffic_is_told_of_TCP_on_Linux_alone(pair, monkeypatch):
    near, far = pair
    near.sendall(b"four")
    assert far.recv(4) == b"four"
    if tcpinfo.sys.platform.startswith("linux"):
        assert tcpinfo.traffic(far) == (0, 4)
    assert tcpinfo.traffic(object()) is None

    class Old:
        def getsockopt(self, *arguments):
            return bytes(10)

    assert tcpinfo.traffic(Old()) is None
    monkeypatch.setattr(tcpinfo.sys, "platform", "win32")
    assert tcpinfo.traffic(near) is None
