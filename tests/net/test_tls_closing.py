"""The end of a TLS connection: close_notify both ways, a cut told apart from a clean end, deadlines, abort."""
import os
import ssl
import weakref

import pytest

import icey
from tests.support import needs, streams
from tests.support.streams import names, turn, watch

needs("ssl")

from icey.net import tls  # noqa: E402
from tests.support import tlslinks  # noqa: E402
from tests.support.tlslinks import our_context, shaken, until, wait  # noqa: E402

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
certs, role, link = tlslinks.certs, tlslinks.role, tlslinks.link

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
ALL = ("recv", "end", "drain", "error", "close")


# the peer ends

@both_versions
def test_a_close_notify_is_the_end_and_closes_where_nobody_asks(loop, link, version):
    sock, peer = link(version=version)
    seen = watch(sock, "recv", "error", "close")
    peer.send(b"the last")
    peer.close()
    until(loop, lambda: sock.closed)
    assert seen == [("recv", b"the last"), ("close",)]


@both_versions
def test_a_close_notify_alone_is_the_end_while_tcp_stays(loop, link, version):
    """A peer that waits for our close_notify before it closes TCP gets it."""
    sock, peer = link(version=version)
    seen = watch(sock, "recv", "error", "close")
    peer.send(b"the last")
    peer.unwrap()
    until(loop, lambda: sock.closed)
    assert seen == [("recv", b"the last"), ("close",)]
    assert peer.sock.recv(1) == b""


@both_versions
def test_with_a_slot_for_the_end_the_connection_is_half_open(loop, link, version):
    sock, peer = link(version=version)
    seen = watch(sock, *ALL)
    peer.half_close()
    until(loop, lambda: seen)
    assert seen == [("end",)]
    data = os.urandom(200000)
    sock.send(data)
    assert peer.read(len(data)) == data
    sock.close()
    assert peer.read_all() == b""
    peer.close()
    until(loop, lambda: sock.closed)
    assert [name for name in names(seen) if name != "drain"] == ["end", "close"]


@both_versions
def test_data_and_the_end_in_one_segment(loop, certs, role, version):
    with shaken(loop, certs, role, version) as wire:
        seen = watch(wire.sock, *ALL)
        wire.end.write(b"one")
        wire.end.write(b"two")
        wire.end.unwrap()
        wire.bring(wire.end.take())
        turn(loop, 3)
        assert b"".join(event[1] for event in seen if event[0] == "recv") == b"onetwo"
        assert names(seen)[-1] == "end"


def test_data_and_the_end_in_one_segment_reach_an_adapter(loop, certs, role):
    class Told(icey.Adapter):
        told = ()

        def on_data(self, view):
            self.told += (bytes(view),)

        def on_end(self):
            self.told += ("end",)
    with shaken(loop, certs, role) as wire:
        adapter = Told()
        adapter.use(wire.sock)
        wire.end.write(b"one")
        wire.end.unwrap()
        wire.bring(wire.end.take())
        turn(loop, 3)
        assert adapter.told == (b"one", "end")


def test_the_end_waits_while_paused(loop, link):
    sock, peer = link()
    seen = watch(sock, *ALL)
    sock.pause()
    peer.send(b"later")
    peer.close()
    turn(loop, 10)
    assert seen == []
    sock.resume()
    until(loop, lambda: len(seen) == 2)
    assert seen == [("recv", b"later"), ("end",)]


def test_the_end_is_told_once(loop, certs, role):
    with shaken(loop, certs, role) as wire:
        seen = watch(wire.sock, *ALL)
        wire.end.unwrap()
        wire.bring(wire.end.take())
        turn(loop, 3)
        wire.far.shutdown(1)
        turn(loop, 5)
        assert seen == [("end",)]


def test_bytes_behind_the_close_notify_are_ignored(loop, certs, role):
    with shaken(loop, certs, role) as wire:
        seen = watch(wire.sock, *ALL)
        wire.end.unwrap()
        wire.bring(wire.end.take() + b"junk")
        wire.bring(b"more junk")
        turn(loop, 3)
        assert seen == [("end",)]
        wire.sock.close()
        wire.far.shutdown(1)
        until(loop, lambda: wire.sock.closed)


# a cut is no end

@both_versions
def test_tcp_ending_without_close_notify_is_truncated(loop, link, version):
    sock, peer = link(version=version)
    seen = watch(sock, *ALL)
    peer.send(b"half an ans")
    peer.cut()
    until(loop, lambda: sock.closed)
    assert names(seen) == ["recv", "error", "close"]
    assert seen[0][1] == b"half an ans"
    error = seen[1][1]
    assert type(error) is icey.Truncated
    assert isinstance(error, icey.TLSError)
    assert isinstance(error, icey.PeerClosed)
    assert error.reason == "no close_notify"
    assert "cut short" in str(error)


def test_what_came_before_the_cut_is_delivered_first(loop, link):
    sock, peer = link()
    sock.pause()
    data = os.urandom(60000)
    peer.send(data)
    peer.cut()
    turn(loop, 5)
    seen = watch(sock, *ALL)
    sock.resume()
    until(loop, lambda: sock.closed)
    assert b"".join(event[1] for event in seen if event[0] == "recv") == data
    assert names(seen)[-2:] == ["error", "close"]
    assert type(seen[-2][1]) is icey.Truncated


def test_a_cut_inside_a_record_is_truncated(loop, certs, role):
    with shaken(loop, certs, role) as wire:
        seen = watch(wire.sock, *ALL)
        wire.end.write(b"whole")
        whole = wire.end.take()
        wire.end.write(b"cut")
        wire.bring(whole + wire.end.take()[:-1])
        wire.far.close()
        until(loop, lambda: wire.sock.closed)
        assert names(seen) == ["recv", "error", "close"]
        assert seen[0][1] == b"whole"
        assert type(seen[1][1]) is icey.Truncated


def test_a_reset_is_the_error_it_is(loop, link):
    sock, peer = link()
    seen = watch(sock, *ALL)
    peer.reset()
    until(loop, lambda: sock.closed)
    assert names(seen) == ["error", "close"]
    assert isinstance(seen[0][1], ConnectionResetError)


def test_what_came_before_a_reset_is_read_though_a_send_meets_the_reset_first(loop, link):
    sock, peer = link()
    seen = watch(sock, *ALL)
    data = os.urandom(40000)
    peer.send(data)
    peer.reset()
    sock.send(b"too late")
    until(loop, lambda: sock.closed)
    *pieces, error, close = seen
    assert b"".join(piece for _, piece in pieces) == data
    assert isinstance(error[1], ConnectionResetError) and close == ("close",)


def test_what_came_before_a_reset_is_not_read_while_paused(loop, link):
    sock, peer = link()
    seen = watch(sock, *ALL)
    sock.pause()
    peer.send(b"not wanted")
    peer.reset()
    sock.send(b"too late")
    until(loop, lambda: sock.closed)
    assert names(seen) == ["error", "close"]


def test_why_a_client_was_refused_is_told_though_a_send_meets_the_reset_first(loop, certs):
    """In TLS 1.3 a client is done before the server has looked at its certificate."""
    links = tlslinks.Links(loop, certs, "client")
    theirs = tlslinks.their_context(certs, "client", client_ca=certs.client_ca, version=TLS13)
    sock, peer = links(our_context(certs, "client"), theirs, shake=False)
    seen = watch(sock, "connect", *ALL)
    with pytest.raises(ssl.SSLError):
        peer.handshake()
    assert seen == [("connect",)]
    peer.reset()
    sock.send(b"too late")
    until(loop, lambda: sock.closed)
    assert names(seen) == ["connect", "error", "close"]
    assert type(seen[1][1]) is icey.TLSError and seen[1][1].reason == "the peer wants a client certificate"


def test_a_cut_behind_our_own_close_is_no_error(loop, link):
    """We have said all and want no more: whether the peer says goodbye is its own business."""
    sock, peer = link()
    seen = watch(sock, *ALL)
    sock.close()
    assert peer.read_all() == b""
    peer.cut()
    until(loop, lambda: sock.closed)
    assert names(seen) == ["close"]


@pytest.mark.parametrize("spoil", ["flip", "length", "kind", "version"])
def test_a_spoilt_record_is_an_error_and_the_peer_is_told(loop, certs, role, spoil):
    with shaken(loop, certs, role) as wire:
        wire.came()
        seen = watch(wire.sock, *ALL)
        wire.end.write(b"good")
        good = wire.end.take()
        wire.end.write(b"spoilt")
        bad = bytearray(wire.end.take())
        if spoil == "flip":
            bad[-1] ^= 1
        elif spoil == "length":
            bad[3:5] = b"\xff\xff"
        elif spoil == "kind":
            bad[0] = 99
        else:
            bad[1] = 9
        wire.bring(good + bad)
        until(loop, lambda: wire.sock.closed)
        assert names(seen) == ["recv", "error", "close"]
        assert seen[0][1] == b"good"
        assert type(seen[1][1]) is icey.TLSError
        assert seen[1][1].reason
        with pytest.raises(ssl.SSLError, match="(?i)alert"):
            wire.end.feed(wire.came())
            wire.end.read()


# our end

@both_versions
def test_close_says_close_notify_behind_what_is_queued(loop, link, version):
    sock, peer = link(version=version)
    seen = watch(sock, *ALL)
    data = os.urandom(1 << 20)
    sock.send(data)
    sock.close()
    assert sock.closing
    assert peer.read_all() == data
    peer.close()
    until(loop, lambda: sock.closed)
    assert names(seen) == ["close"]


def test_close_waits_for_the_peers_end_and_drops_what_it_still_says(loop, link):
    sock, peer = link()
    seen = watch(sock, *ALL)
    peer.send(b"crossing")
    sock.close()
    assert peer.read_all() == b""
    turn(loop, 5)
    assert not sock.closed
    peer.send(bytes(100000))
    peer.close()
    until(loop, lambda: sock.closed)
    assert names(seen) == ["close"]


def test_a_peer_that_never_ends_does_not_hold_a_close(loop, clock, link):
    sock, peer = link()
    seen = watch(sock, *ALL)
    sock.close()
    wait(loop, clock, 4.9)
    assert seen == []
    wait(loop, clock, 0.2)
    assert names(seen) == ["close"]  # all was sent and taken: no error


def test_a_peer_that_does_not_read_is_a_deadline(loop, clock, link):
    sock, peer = link()
    seen = watch(sock, "error", "close")
    done = []
    sock.send(bytes(16 << 20), lambda: done.append(1))
    sock.close()
    for _ in range(20):  # what the peer's system takes in between earns another close_timeout
        if not sock.closed:
            wait(loop, clock, 12)
    assert names(seen) == ["error", "close"]
    assert type(seen[0][1]) is icey.Deadline
    assert "not taken by the peer" in str(seen[0][1])
    assert done == []


@pytest.mark.needs("unix")  # whose sockets hold as much as is said, and no more
def test_a_peer_that_reads_slowly_gets_all(loop, clock, certs, role):
    """The deadline restarts whenever bytes are taken."""
    with shaken(loop, certs, role) as wire:
        seen = watch(wire.sock, "error", "close")
        data = os.urandom(2 << 20)
        wire.sock.send(data)
        wire.sock.close()
        got, start = bytearray(), clock()
        while len(got) < len(data):
            wire.end.feed(wire.came())
            while True:
                piece = wire.end.read()
                if not isinstance(piece, bytes) or not piece:
                    break
                got += piece
            if len(got) < len(data):
                wait(loop, clock, 4.0)
        assert got == data
        assert clock() - start > 10
        turn(loop, 3)
        assert seen == []
        wire.far.close()
        until(loop, lambda: wire.sock.closed)
        assert names(seen) == ["close"]


@pytest.mark.needs("unix")
@pytest.mark.parametrize("reads", [False, True])
def test_what_is_encrypted_already_has_its_deadline_too(loop, clock, certs, role, reads):
    """The rest fits into the carrier's queue: nothing is left in clear when we close."""
    with shaken(loop, certs, role) as wire:
        sock = wire.sock
        seen = watch(sock, "error", "close")
        sock.high_water = 1 << 20
        sock.send(bytes(1000000))
        assert sock.sock.carrier.queued == sock.queued > 600000
        sock.close()
        wait(loop, clock, 0.9 if reads else 4.9)
        assert seen == []
        if reads:
            while sock.sock.carrier.queued:
                wait(loop, clock, 4.0)  # progress restarts it
                assert seen == []
                assert wire.came()
                turn(loop)
            wait(loop, clock, 5.1)
            assert names(seen) == ["close"]
        else:
            wait(loop, clock, 0.2)
            assert names(seen) == ["error", "close"]
            assert type(seen[0][1]) is icey.Deadline
            assert "not taken by the peer" in str(seen[0][1])
        turn(loop, 2)
        assert not loop.handles


def test_no_deadline_waits_for_ever(loop, clock, link):
    sock, peer = link()
    sock.close_timeout = None
    sock.close()
    wait(loop, clock, 1000)
    assert not sock.closed
    peer.close()
    until(loop, lambda: sock.closed)


def test_dones_come_before_on_close(loop, link):
    sock, peer = link()
    seen = watch(sock, "close")
    sock.send(b"x" * 100000, lambda: seen.append(("done",)))
    sock.close()
    peer.read_all()
    peer.close()
    until(loop, lambda: sock.closed)
    assert seen == [("done",), ("close",)]


def test_abort_is_at_once_and_says_nothing(loop, link):
    sock, peer = link()
    seen = watch(sock, *ALL)
    sock.send(b"x" * (1 << 20))
    sock.abort()
    turn(loop, 2)
    assert names(seen) == ["close"]
    with pytest.raises((ssl.SSLEOFError, ConnectionError)):
        peer.read_all()


def test_an_abort_while_it_closes(loop, link):
    sock, peer = link()
    seen = watch(sock, *ALL)
    sock.close()
    turn(loop, 2)
    sock.abort()
    turn(loop, 2)
    assert names(seen) == ["close"]


def test_calls_behind_the_close(loop, link):
    sock, peer = link()
    sock.close()
    peer.close()
    until(loop, lambda: sock.closed)
    for call in (sock.close, sock.abort, sock.pause, sock.resume, sock.shutdown, sock.ref, sock.unref):
        call()
    for send in (sock.send, sock.send_owned):
        with pytest.raises(icey.StateError):
            send(b"x")
    with pytest.raises(icey.StateError):
        sock.connect("127.0.0.1", 1)
    assert sock.queued == 0
    assert "closed" in repr(sock)


def test_the_carriers_on_close_comes_too_and_first_in_last_out(loop, link, role):
    sock, peer = link()
    order = []
    carrier = sock.sock.carrier
    carrier.on_close += lambda carrier: order.append("carrier")
    sock.on_close += lambda sock: order.append("sock")
    sock.close()
    peer.close()
    until(loop, lambda: len(order) == 2)
    assert carrier.closed


def test_a_carrier_closed_behind_its_back_takes_the_tls_socket_along(loop, link):
    sock, peer = link()
    seen = watch(sock, *ALL)
    sock.sock.carrier.abort()
    until(loop, lambda: sock.closed)
    assert names(seen)[-1] == "close"


# nothing is left

def test_a_loop_runs_out_once_all_have_closed(loop, clock, link):
    sock, peer = link()
    sock.close()
    peer.close()
    start = clock()
    loop.run()
    assert sock.closed
    assert clock() - start < 6
    assert not loop.handles
    assert len(loop.poller.ready) == 1  # the loop's own


def test_an_unrefd_connection_lets_the_loop_end(loop, link):
    sock, peer = link()
    sock.unref()
    loop.run()
    assert not sock.closed
    sock.ref()
    sock.abort()
    loop.run()
    assert sock.closed


def test_nobody_holds_a_closed_connection(loop, certs, role):
    def one():
        links = tlslinks.Links(loop, certs, role)
        sock, peer = links()
        sock.on_recv += lambda sock, view: None
        sock.close()
        peer.close()
        until(loop, lambda: sock.closed)
        turn(loop, 2)
        return weakref.ref(sock), weakref.ref(sock.sock.carrier)
    known = one()
    streams.collect()
    assert [ref() for ref in known] == [None, None]


def test_one_that_never_connected_needs_no_close(loop, certs):
    sock = tls.TLSSocket(loop, context=our_context(certs, "client"))
    assert sock.sock is None
    del sock
    streams.collect()


def test_the_close_of_the_loop_closes_it(loop, debug, link):
    sock, peer = link()
    seen = watch(sock, *ALL)
    if debug:
        with pytest.warns(ResourceWarning, match="TLSSocket"):
            loop.close()
    else:
        loop.close()
    assert seen == [("close",)]
    try:
        while peer.sock.recv(1 << 16):  # tickets, then the end: it does not block
            pass
    except ConnectionResetError:
        pass


@pytest.mark.parametrize("end", ["close", "abort"])
def test_our_own_close_is_complete_and_an_abort_is_not(loop, link, end):
    sock, peer = link()
    sock.send(b"whole")
    getattr(sock, end)()
    peer.close()
    until(loop, lambda: sock.closed)
    assert sock.complete is (end == "close")
