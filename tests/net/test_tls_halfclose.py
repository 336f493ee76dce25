"""shutdown() of a TLSSocket, and bytes that come together with the end of the handshake."""
import os
import ssl

import pytest

import icey
from tests.support import needs, streams
from tests.support.streams import names, turn, watch

needs("ssl")

from tests.support import tlslinks  # noqa: E402
from tests.support.tlslinks import on_the_way, shaken, until, wait  # noqa: E402

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
certs, role, link = tlslinks.certs, tlslinks.role, tlslinks.link

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
ALL = ("recv", "end", "drain", "error", "close")


@both_versions
def test_shutdown_is_a_half_close(loop, link, version):
    sock, peer = link(version=version)
    seen = watch(sock, *ALL)
    data = os.urandom(300000)
    sock.send(data)
    sock.shutdown()
    with pytest.raises(icey.StateError, match="after shutdown"):
        sock.send(b"more")
    assert peer.read_all() == data
    peer.send(b"I still talk")
    until(loop, lambda: ("recv", b"I still talk") in seen)
    assert not sock.closing
    peer.close()
    until(loop, lambda: sock.closed)
    assert [name for name in names(seen) if name != "drain"] == ["recv", "end", "close"]


def test_shutdown_with_the_peers_bytes_under_way(loop, certs, role):
    """OpenSSL calls application data behind its own close_notify an error: what came before is read first."""
    with shaken(loop, certs, role) as wire:
        seen = watch(wire.sock, *ALL)
        wire.sock.pause()
        wire.end.write(b"crossing")
        wire.bring(wire.end.take())
        wire.sock.shutdown()
        turn(loop, 2)
        wire.end.write(b"after")
        wire.bring(wire.end.take())
        wire.sock.resume()
        turn(loop, 5)
        assert b"".join(event[1] for event in seen if event[0] == "recv") == b"crossingafter"
        assert names(seen)[-1] == "recv"


@pytest.mark.parametrize("sink", [False, True], ids=["slot", "adapter"])
def test_shutdown_with_bytes_that_came_with_the_handshake(loop, certs, role, sink):
    class Told(icey.Adapter):
        def on_data(self, view):
            got.append(bytes(view))

        def on_end(self):
            got.append("end")
    got = []
    with on_the_way(loop, certs, role) as (wire, flight):
        wire.end.write(b"early")
        wire.sock.on_connect += lambda sock: sock.shutdown()
        wire.bring(flight + wire.end.take())
        turn(loop, 2)
        wire.end.write(b" late")
        wire.end.unwrap()
        wire.bring(wire.end.take())
        turn(loop, 2)
        if sink:
            Told().use(wire.sock)
        else:
            wire.sock.on_end += lambda sock: got.append("end")
            wire.sock.on_recv += lambda sock, view: got.append(bytes(view))
        turn(loop, 4)
        assert got[-1] == "end"
        assert b"".join(got[:-1]) == b"early late"


def test_bytes_that_came_with_the_handshake_wait_for_no_more(loop, certs, role):
    with on_the_way(loop, certs, role) as (wire, flight):
        seen = watch(wire.sock, "connect", *ALL)
        wire.end.write(b"early")
        wire.bring(flight + wire.end.take())
        turn(loop, 2)
        assert seen == [("connect",), ("recv", b"early")]


@pytest.mark.parametrize("end", ["abort", "close"])
def test_an_end_in_on_connect_with_bytes_that_came_with_the_handshake(loop, clock, certs, role, end):
    with on_the_way(loop, certs, role) as (wire, flight):
        seen = watch(wire.sock, *ALL)
        wire.sock.on_connect += lambda sock: getattr(sock, end)()
        wire.end.write(b"early")
        wire.bring(flight + wire.end.take())
        wait(loop, clock, 6)
        assert names(seen) == ["close"]


def test_both_half_close_at_once(loop, link):
    sock, peer = link()
    seen = watch(sock, *ALL)
    sock.shutdown()
    peer.half_close()
    assert peer.read_all() == b""
    peer.cut()
    until(loop, lambda: sock.closed)
    assert names(seen) == ["end", "close"]
