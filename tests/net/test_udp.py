"""UDPSocket: addresses, receiving, errors. Over the loopback, and over a scripted socket where the kernel is to be rude."""
import errno
import logging
import os
import socket

import pytest

import icey
from icey import Address, UDPSocket
from icey.net.datagram import RUN
from icey.net.datagramqueue import MOST_SENDERS, Senders
from icey.tools.testing import AGAIN, INTERRUPTED, STALL, virtual_loop
from tests.support import streams
from tests.support.datagrams import OTHER, PEER, ScriptedDatagrams, bound, failed, received, scripted, until
from tests.support.packets import turn_until
from tests.support.streams import names, turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

ipv6 = pytest.mark.needs("ipv6")


# to and fro

@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=ipv6)])
def test_datagrams_go_to_and_fro(loop, host):
    server, client = bound(loop, host), UDPSocket(loop)
    server.on_recv += lambda sock, view, address: sock.send_owned([b"<", view, b">"], address)
    came = received(client)
    assert client.send(b"one", server.local) is True
    assert client.send(bytearray(b"two"), server.local) is True
    assert client.send_owned(memoryview(b"three"), server.local) is True
    until(loop, came, 3)
    assert came == [(b"<one>", server.local), (b"<two>", server.local), (b"<three>", server.local)]
    assert type(came[0][1]) is Address and (client.queued, client.truncated) == (0, False)


def test_an_address_is_an_Address_a_tuple_or_text(loop):
    server, client = bound(loop), UDPSocket(loop)
    came = received(server)
    for address in (server.local, ("127.0.0.1", server.local.port), str(server.local)):
        client.send(b"x", address)
    until(loop, came, 3)
    assert [address for _, address in came] == [Address("127.0.0.1", client.local.port)] * 3


def test_the_first_send_binds_to_any_free_port(loop):
    udp = UDPSocket(loop)
    assert (udp.local, udp.peer, udp.sock, loop.handles) == (None, None, None, ())
    udp.send(b"x", ("127.0.0.1", 9))
    assert udp.local.host == "0.0.0.0" and udp.local.port > 0
    assert udp in loop.handles
    with pytest.raises(icey.StateError, match="has an address, 0.0.0.0:"):
        udp.bind(("127.0.0.1", 0))


@ipv6
def test_the_first_send_to_ipv6_leaves_ipv4_alone(loop):
    udp = UDPSocket(loop)
    udp.send(b"x", ("::1", 9))
    assert udp.local.host == "::" and udp.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


@ipv6
@pytest.mark.parametrize("host, only6", [("::", 0), ("::1", 1)])
def test_an_ipv6_socket_leaves_ipv4_to_others_unless_it_is_bound_to_any(loop, host, only6):
    udp = bound(loop, host)
    assert udp.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == only6


@ipv6
def test_bound_to_any_of_ipv6_it_speaks_ipv4_as_well(loop):
    both, four = bound(loop, "::"), bound(loop)
    both.on_recv += lambda sock, view, address: sock.send_owned(view, address)
    came = received(four)
    four.send(b"x", ("127.0.0.1", both.local.port))
    until(loop, came, 1)
    both.send(b"y", "[::ffff:127.0.0.1]:%d" % four.local.port)
    until(loop, came, 2)
    assert [data for data, _ in came] == [b"x", b"y"]


# bind and connect

@pytest.mark.parametrize("address, host", [
    (Address("127.0.0.1", 0), "127.0.0.1"), (("127.0.0.1", 0), "127.0.0.1"), ("127.0.0.1:0", "127.0.0.1"), (("", 0), "0.0.0.0"),
    (":0", "0.0.0.0"), pytest.param("[::1]:0", "::1", marks=ipv6), pytest.param(("::", 0), "::", marks=ipv6)])
def test_bind_takes(loop, address, host):
    udp = UDPSocket(loop)
    udp.bind(address)
    assert udp.local.host == host and udp.local.port > 0 and udp.peer is None
    assert repr(udp) == "<UDPSocket %s open>" % udp.local


UNFIT = [
    (("localhost", 1), "takes a numeric address; 'localhost' is a name: resolve"),
    ("localhost:1", "takes a numeric address"),
    pytest.param("unix:/run/x.sock", "takes an IP address and a port, not a Unix path: unix:/run/x.sock",
                 marks=pytest.mark.needs("unix")),
    (("127.0.0.1", 65536), "port must be 0 to 65535"),
    ("127.0.0.1", "an address is host:port"),
]


@pytest.mark.parametrize("address, says", UNFIT)
def test_what_is_no_address_of_udp_is_ValueError_and_nothing_happened(loop, address, says):
    udp = UDPSocket(loop)
    for verb, call in (("bind", udp.bind), ("connect", udp.connect), ("send", lambda address: udp.send(b"x", address))):
        with pytest.raises(ValueError, match=("%s\\(\\) " % verb if says.startswith("takes") else "") + says):
            call(address)
    assert udp.sock is None


@ipv6
@pytest.mark.parametrize("host, other", [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_the_other_family_is_ValueError(loop, host, other):
    udp = bound(loop, host)
    for verb, call in (("connect", udp.connect), ("send", lambda address: udp.send(b"x", address))):
        with pytest.raises(ValueError, match=r"%s\(\) got .* on a socket of the other family" % verb):
            call((other, 9))


def test_bind_and_connect_come_once_each_and_in_this_order(loop):
    udp = bound(loop)
    with pytest.raises(icey.StateError, match="bind first, then connect"):
        udp.bind(("127.0.0.1", 0))
    udp.connect(("127.0.0.1", 9))
    with pytest.raises(icey.StateError, match="connected to 127.0.0.1:9.*another UDPSocket"):
        udp.connect(("127.0.0.1", 10))
    with pytest.raises(icey.StateError):
        udp.bind(("127.0.0.1", 0))
    assert udp.peer == Address("127.0.0.1", 9)
    assert repr(udp) == "<UDPSocket %s to 127.0.0.1:9 open>" % udp.local
    alone = UDPSocket(loop)
    alone.connect(("127.0.0.1", 9))
    assert alone.local.host == "127.0.0.1"
    with pytest.raises(icey.StateError, match="has an address"):
        alone.bind(("127.0.0.1", 0))


def test_a_bind_that_failed_may_be_tried_again(loop):
    first, second = bound(loop), UDPSocket(loop)
    with pytest.raises(OSError) as caught:
        second.bind(first.local)
    assert caught.value.errno in (errno.EADDRINUSE, errno.EACCES)
    assert second.sock is None
    second.bind(("127.0.0.1", 0))


@ipv6
def test_a_connect_that_failed_may_be_tried_again(loop):
    for udp in (UDPSocket(loop), bound(loop, "::1")):
        with pytest.raises(OSError):
            udp.connect(("fe80::1%nosuchif", 9))
        assert udp.peer is None
        udp.connect(("::1", 9))


def test_connect_waits_until_the_queue_is_out(loop):
    udp, sock = scripted(loop, (), [STALL])
    udp.send(b"hello", PEER)
    with pytest.raises(icey.StateError, match="while datagrams to others are queued, 5 bytes"):
        udp.connect(OTHER)
    sock.unstall()
    turn(loop, 2)
    udp.connect(OTHER)
    udp.send(b"x")
    assert sock.taken == [(b"hello", PEER), (b"x", None)]


def test_send_needs_an_address_unless_connected_and_takes_none_then(loop):
    for udp in (UDPSocket(loop), bound(loop)):
        with pytest.raises(icey.StateError, match=r"send\(data, address\), or connect\(address\) first"):
            udp.send(b"x")
        assert udp.queued == 0
    udp.connect(("127.0.0.1", 9))
    with pytest.raises(icey.StateError, match="connected to 127.0.0.1:9.*leave the address out"):
        udp.send(b"x", ("127.0.0.1", 9))


def test_connected_it_hears_its_peer_alone(loop):
    peer, stranger, udp = bound(loop), bound(loop), bound(loop)
    udp.connect(peer.local)
    came = received(udp)
    stranger.send(b"ignored", udp.local)
    peer.send(b"heard", udp.local)
    until(loop, came, 1)
    turn(loop, 3)
    assert came == [(b"heard", peer.local)]


def test_connected_it_is_told_that_nobody_is_there(loop):
    nobody = bound(loop)
    address = nobody.local
    nobody.abort()
    turn(loop)
    udp = UDPSocket(loop)
    udp.connect(address)
    came, seen = received(udp), watch(udp, "error", "close")
    assert udp.send(b"x") is True
    turn_until(loop, lambda: seen)
    assert type(seen[0][1]) is ConnectionRefusedError
    somebody = UDPSocket(loop)
    somebody.bind(address)
    somebody.send(b"now there is", udp.local)
    until(loop, came, 1)
    assert names(seen) == ["error"]


def test_reuse_address_lets_two_bind(loop):
    first, second = UDPSocket(loop), UDPSocket(loop)
    first.bind(("127.0.0.1", 0), reuse_address=True)
    second.bind(first.local, reuse_address=True)
    assert first.local == second.local


@pytest.mark.needs("reuse_port")
def test_reuse_port_lets_two_bind(loop):
    first, second = UDPSocket(loop), UDPSocket(loop)
    first.bind(("127.0.0.1", 0), reuse_port=True)
    second.bind(first.local, reuse_port=True)
    assert first.local == second.local


def test_reuse_port_where_there_is_none_is_ValueError(loop, monkeypatch):
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    udp = UDPSocket(loop)
    with pytest.raises(ValueError, match="reuse_port is not to be had"):
        udp.bind(("127.0.0.1", 0), reuse_port=True)
    assert udp.sock is None


# taking a socket over

def test_a_bound_socket_is_taken_over(loop):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    udp = UDPSocket(loop, sock)
    came = received(udp)
    assert (udp.local, udp.peer) == (Address(*sock.getsockname()), None)
    udp.send(b"to myself", udp.local)
    until(loop, came, 1)
    assert sock.gettimeout() == 0.0


def test_a_connected_socket_is_taken_over(loop):
    other = bound(loop)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(other.local.sockaddr())
    udp = UDPSocket(loop, sock)
    came = received(other)
    assert udp.peer == other.local
    udp.send(b"x")
    until(loop, came, 1)


@pytest.mark.parametrize("family, kind", [("AF_INET", "SOCK_STREAM"), pytest.param("AF_UNIX", "SOCK_DGRAM",
                                                                                    marks=pytest.mark.needs("unix"))])
def test_what_is_no_socket_for_udp_stays_the_callers(loop, family, kind):
    with socket.socket(getattr(socket, family), getattr(socket, kind)) as sock:
        with pytest.raises(ValueError, match="takes over a datagram socket of IPv4 or IPv6"):
            UDPSocket(loop, sock)
        assert sock.fileno() >= 0 and loop.handles == ()


# receiving

def test_receiving_starts_with_the_first_slot_and_what_came_before_waits(loop):
    udp, sock = scripted(loop, [(b"early", PEER)])
    turn(loop, 2)
    assert sock.calls == [("setblocking", False)]
    came = received(udp)
    turn(loop)
    assert came == [(b"early", Address(*PEER))]


def test_a_slot_attached_before_bind_hears_too(loop):
    udp = UDPSocket(loop)
    came = received(udp)
    udp.bind(("127.0.0.1", 0))
    bound(loop).send(b"x", udp.local)
    until(loop, came, 1)


def numbered(count):
    return [(b"%d" % number, PEER) for number in range(count)]


def receives(sock):
    return len([call for call in sock.calls if call[0] == "recvfrom_into"])


def test_a_run_of_datagrams_a_readable_event_and_no_more(loop):
    udp, sock = scripted(loop, numbered(2 * RUN + 2))
    came = received(udp)
    for count in (RUN, 2 * RUN, 2 * RUN + 2):
        turn(loop)
        assert len(came) == count
    assert came == [(data, Address(*PEER)) for data, _ in numbered(2 * RUN + 2)]
    assert receives(sock) == 2 * RUN + 3, "none is asked for behind a whole run"


def test_where_one_came_alone_the_next_events_ask_for_one(loop):
    udp, sock = scripted(loop)
    came = received(udp)
    for number in range(RUN + 1):
        sock.feed((b"%d" % number, PEER))
        turn(loop)
        assert receives(sock) == number + 2, "the first event alone asked twice"
    sock.feed(*numbered(3))
    turn(loop)
    assert len(came) == RUN + 4
    assert receives(sock) == RUN + 2 + 4


def test_a_burst_behind_a_lone_one_loses_nothing(loop):
    udp, sock = scripted(loop, numbered(1))
    came = received(udp)
    turn(loop)
    sock.feed(*numbered(3 * RUN))
    turn(loop, RUN + 2)
    assert [data for data, _ in came] == [b"0"] + [data for data, _ in numbered(3 * RUN)]


def test_others_are_served_between_two_runs(loop):
    udp, sock = scripted(loop, numbered(2 * RUN))
    other, _ = scripted(loop, numbered(1))
    order = []
    udp.on_recv += lambda sock, view, address: order.append("udp")
    other.on_recv += lambda sock, view, address: order.append("other")
    turn(loop, 2)
    assert "other" in order[:RUN + 1] and order.count("udp") == 2 * RUN


@pytest.mark.parametrize("stop", ["pause", "close", "abort", "detach"])
def test_what_a_slot_stops_in_a_run_gets_no_other_datagram(loop, stop):
    udp, sock = scripted(loop, numbered(5))
    came = []

    def slot(udp, view, address):
        came.append(bytes(view))
        if len(came) == 2:
            udp.on_recv.detach_all() if stop == "detach" else getattr(udp, stop)()

    udp.on_recv += slot
    turn(loop, 3)
    assert came == [b"0", b"1"] and receives(sock) == 2


def test_an_error_in_a_run_ends_it_and_the_next_event_goes_on(loop):
    udp, sock = scripted(loop, [*numbered(2), ConnectionRefusedError, *numbered(1)])
    came, seen = received(udp), watch(udp, "error")
    turn(loop)
    assert (len(came), names(seen)) == (2, ["error"])
    turn(loop)
    assert len(came) == 3


def test_a_slot_that_raises_in_a_run_costs_its_datagram(loop, reports):
    udp, sock = scripted(loop, numbered(3))
    came = []

    def slot(sock, view, address):
        came.append(bytes(view))
        if len(came) == 2:
            raise ValueError("of the second")

    udp.on_recv += slot
    turn(loop)
    assert came == [b"0", b"1", b"2"]
    reports.take(ValueError)


def test_detaching_the_last_slot_pauses(loop):
    udp, _ = scripted(loop, [(b"%d" % number, PEER) for number in range(3)])
    came = []

    def slot(sock, view, address):
        came.append(bytes(view))
        sock.on_recv -= slot

    udp.on_recv += slot
    turn(loop, 3)
    assert came == [b"0"]
    udp.on_recv += slot
    turn(loop, 3)
    assert came == [b"0", b"1"]


def test_a_slot_for_once_hears_one(loop):
    udp, _ = scripted(loop, [(b"%d" % number, PEER) for number in range(3)])
    came = []
    udp.on_recv.attach(lambda sock, view, address: came.append(bytes(view)), once=True)
    turn(loop, 4)
    assert came == [b"0"]


def test_pause_and_resume(loop):
    udp, _ = scripted(loop, [(b"%d" % number, PEER) for number in range(4)])
    came = received(udp)
    udp.on_recv += lambda sock, view, address: sock.pause()
    turn(loop, 3)
    assert [data for data, _ in came] == [b"0"]
    udp.resume()
    turn(loop, 3)
    assert [data for data, _ in came] == [b"0", b"1"]


def test_attaching_does_not_undo_a_pause(loop):
    udp, _ = scripted(loop, [(b"0", PEER)])
    udp.pause()
    came = received(udp)
    turn(loop, 2)
    assert came == []
    udp.resume()
    turn(loop, 2)
    assert len(came) == 1


def test_resume_without_a_slot_discards_until_there_is_one(loop):
    udp, _ = scripted(loop, [(b"0", PEER), (b"1" * 9, PEER)])
    udp.max_size = 8
    udp.resume()
    turn(loop, 3)
    came = received(udp)
    udp.sock.feed((b"2", PEER))
    turn(loop, 2)
    assert came == [(b"2", Address(*PEER))] and udp.truncated_count == 0
    udp.on_recv.detach_all()  # pauses, as it does without a resume before
    udp.sock.feed((b"3", PEER))
    turn(loop, 2)
    assert len(udp.sock._reads) == 1


def test_an_empty_datagram_is_an_empty_view(loop):
    udp, _ = scripted(loop, [(b"", PEER), (b"x", PEER)])
    came = received(udp)
    turn(loop, 2)
    assert came == [(b"", Address(*PEER)), (b"x", Address(*PEER))]


def test_an_empty_datagram_over_the_loopback(loop):
    udp = bound(loop)
    came = received(udp)
    for data in (b"", [], [b"", bytearray()]):
        udp.send(data, udp.local)
    until(loop, came, 3)
    assert [data for data, _ in came] == [b""] * 3


@pytest.mark.parametrize("max_size, size, delivered, truncated", [
    (4, 3, 3, False), (4, 4, 4, False), (4, 5, 4, True), (1, 0, 0, False), (1, 2, 1, True),
    (65535, 65507, 65507, False), (65535, 65535, 65535, False), (65535, 65536, 65535, True)])
def test_what_is_longer_than_max_size_is_cut_and_flagged(loop, max_size, size, delivered, truncated):
    udp, sock = scripted(loop, [(b"x" * size, PEER)])
    udp.max_size = max_size
    came = []
    udp.on_recv += lambda sock, view, address: came.append((len(view), sock.truncated))
    turn(loop)
    assert came == [(delivered, truncated)] and (udp.truncated, udp.truncated_count) == (False, int(truncated))
    sock.feed((b"y", PEER))
    turn(loop)
    assert came[1:] == [(1, False)] and udp.truncated_count == int(truncated)


def test_truncation_over_the_loopback(loop):
    udp = bound(loop)
    udp.max_size = 5
    came = []
    udp.on_recv += lambda sock, view, address: came.append((bytes(view), sock.truncated))
    for data in (b"12345", b"123456", b"1"):
        udp.send(data, udp.local)
    until(loop, came, 3)
    assert came == [(b"12345", False), (b"12345", True), (b"1", False)]


@pytest.mark.parametrize("value", [0, -1, 65536])
def test_max_size_is_1_to_65535(loop, value):
    udp = UDPSocket(loop)
    with pytest.raises(ValueError, match="max_size is 1 to 65535, not %d" % value):
        udp.max_size = value
    assert udp.max_size == 65535


def test_a_sender_that_is_left_out_is_the_peer(loop):
    udp, _ = scripted(loop, [(b"x", None)], peer=PEER)
    came = received(udp)
    turn(loop)
    assert came == [(b"x", Address(*PEER))]


def test_addresses_of_senders_are_remembered_but_not_without_end(loop):
    reads = [(b"x", ("192.0.2.1", number)) for number in range(1, MOST_SENDERS + 50)]
    udp, _ = scripted(loop, reads + [(b"x", PEER)] * 2)
    came = received(udp)
    turn(loop, len(reads) + 2)
    assert [address.port for _, address in came] == [port for _, (_, port) in reads] + [7, 7]
    assert came[-1][1] is came[-2][1] and len(udp._senders) <= MOST_SENDERS
    assert Senders()[("::1", 5, 0, 0)] == Address("::1", 5)


# errors

@pytest.mark.parametrize("rude", [AGAIN, INTERRUPTED])
def test_a_false_alarm_is_nothing(loop, rude):
    udp, _ = scripted(loop, [rude, rude, (b"x", PEER)])
    came, seen = received(udp), watch(udp, "error")
    turn(loop, 3)
    assert (len(came), seen) == (1, [])


@pytest.mark.parametrize("name", ["ECONNREFUSED", "EHOSTUNREACH", "ECONNRESET", "EMSGSIZE"])
def test_an_error_of_receiving_is_told_and_the_socket_lives_on(loop, name):
    error = failed(name)
    udp, _ = scripted(loop, [error, (b"x", PEER)])
    came, seen = received(udp), watch(udp, "error", "close")
    turn(loop, 2)
    assert seen == [("error", error)] and len(came) == 1
    assert not udp.closing


def test_a_descriptor_that_is_gone_closes_the_socket(loop):
    udp, _ = scripted(loop, [failed("EBADF"), (b"x", PEER)])
    came, seen = received(udp), watch(udp, "error", "close")
    turn(loop, 3)
    assert names(seen) == ["error", "close"] and came == []


@pytest.mark.needs("logging")
def test_without_a_slot_errors_are_logged_a_line_a_second(caplog):
    loop, clock = virtual_loop(False)
    udp, sock = scripted(loop, [failed("ECONNREFUSED")] * 3, peer=PEER)
    udp.on_recv += print
    with caplog.at_level(logging.WARNING, "icey.udp"):
        turn(loop, 2)
        assert [record.getMessage() for record in caplog.records] == [
            "UDPSocket 127.0.0.1:1 to 192.0.2.7:7: [Errno %d] %s"
            % (errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))]
        clock.advance(1.0)
        turn(loop)
        assert len(caplog.records) == 2
    udp.close()
    loop.run()
    loop.close()


def test_a_slot_of_on_error_that_raises_is_told_to_the_loop(loop, reports):
    udp, _ = scripted(loop, [failed("ECONNREFUSED"), (b"x", PEER)])
    came = received(udp)
    udp.on_error += lambda sock, exc: 1 // 0
    turn(loop, 2)
    reports.take(ZeroDivisionError)
    assert len(came) == 1


# options

def test_options_before_bind_are_state_error(loop):
    udp = UDPSocket(loop)
    for call in (lambda: udp.join_group("239.1.2.3"), lambda: udp.leave_group("239.1.2.3"), udp.set_multicast,
                 udp.set_broadcast):
        with pytest.raises(icey.StateError, match=r"before bind\(\).*bind first"):
            call()
    assert udp.sock is None


def test_broadcasting_has_to_be_allowed(loop):
    udp = bound(loop)
    with pytest.raises(icey.NetError, match=r"set_broadcast\(\) first") as caught:
        udp.send(b"x", ("255.255.255.255", 9))
    assert caught.value.errno == errno.EACCES
    udp.set_broadcast()
    assert udp.sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
    udp.set_broadcast(False)
    assert not udp.sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)


# what holds the loop

def test_an_open_socket_keeps_the_loop_alive_until_unref(loop):
    udp = bound(loop)
    assert loop.run_once(0) and udp in loop.handles
    udp.unref()
    assert not loop.run_once(0)
    udp.ref()
    assert loop.run_once(0)


def test_a_poller_without_room_is_an_error_of_whoever_asked(loop, monkeypatch):
    udp = bound(loop)

    def full(*args):
        raise OSError(errno.EMFILE, "select() takes no more")

    monkeypatch.setattr(type(loop.poller), "register", full)
    with pytest.raises(OSError, match="takes no more"):
        udp.on_recv += print
    assert len(udp.on_recv) == 0
    monkeypatch.undo()
    assert received(udp) == []


def test_datagrams_of_every_size_arrive_as_they_were_sent(loop):
    udp = bound(loop)
    came = received(udp)
    for size in (1, 2, 1399, 1400, 1472, 1473, 8192, 9000):
        data = os.urandom(size)
        udp.send([data[:size // 2], data[size // 2:]], udp.local)
        turn_until(loop, lambda: came)
        assert came.pop()[0] == data


def test_the_scripted_socket_is_as_rude_as_a_closed_one():
    sock = ScriptedDatagrams()
    sock.close()
    for call in (lambda: sock.send(b"x"), lambda: sock.recvfrom_into(bytearray(9))):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF
