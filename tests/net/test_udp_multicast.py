"""Groups: what is asked of the kernel, and that a datagram comes, on the loopback interface where that may carry groups."""
import select
import socket
import struct

import pytest

import icey
from icey import Address, UDPSocket
from tests.support import streams
from tests.support.datagrams import PEER, ScriptedDatagrams, bound, received, until
from tests.support.streams import turn

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

IP, IP6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
FOUR, SIX = socket.AF_INET, socket.AF_INET6
GROUP, GROUP6 = "239.255.73.99", "ff01::7363"
ANY, LOOPBACK = bytes(4), b"\x7f\0\0\1"
PACKED, PACKED6 = socket.inet_pton(FOUR, GROUP), socket.inet_pton(SIX, GROUP6)


def loopback6():
    """(name, number) of the loopback interface; skips where it is not to be had."""
    for name in ("lo", "lo0"):
        try:
            return name, Address("fe80::1%" + name, 0).sockaddr()[3]  # PyPy has no if_nametoindex
        except OSError:
            continue
    pytest.skip("no interface is called lo or lo0")


def interfaces(family):
    """How each interface that may carry groups is given, the loopback first."""
    if family == FOUR:
        return ["127.0.0.1"]
    return [loopback6()[1]] + [number for number, _ in getattr(socket, "if_nameindex", list)()]


def options(loop, family, call):
    """The socket options that `call(udp)` sets."""
    sock = ScriptedDatagrams(family=family)
    udp = UDPSocket(loop, sock)
    call(udp)
    return [made[1:] for made in sock.calls if made[0] == "setsockopt"]


# what is asked of the kernel

@pytest.mark.parametrize("verb, four, six", [
    ("join_group", "IP_ADD_MEMBERSHIP", "IPV6_JOIN_GROUP"), ("leave_group", "IP_DROP_MEMBERSHIP", "IPV6_LEAVE_GROUP")])
@pytest.mark.parametrize("family, arguments, value", [
    (FOUR, (GROUP,), PACKED + ANY),
    (FOUR, (Address(GROUP, 0),), PACKED + ANY),
    (FOUR, (GROUP, None), PACKED + ANY),
    (FOUR, (GROUP, "127.0.0.1"), PACKED + LOOPBACK),
    (FOUR, ("224.0.0.1",), b"\xe0\0\0\1" + ANY),
    (FOUR, ("239.255.255.255",), b"\xef\xff\xff\xff" + ANY),
    (SIX, (GROUP6,), PACKED6 + struct.pack("@I", 0)),
    (SIX, (GROUP6, 7), PACKED6 + struct.pack("@I", 7)),
    (SIX, (GROUP6, "7"), PACKED6 + struct.pack("@I", 7)),
    (SIX, (GROUP6 + "%7",), PACKED6 + struct.pack("@I", 7)),
    (SIX, (GROUP6 + "%7", 8), PACKED6 + struct.pack("@I", 8)),
    (SIX, (Address(GROUP6 + "%7", 9),), PACKED6 + struct.pack("@I", 7)),
])
def test_a_membership(loop, verb, four, six, family, arguments, value):
    level, option = (IP, getattr(socket, four)) if family == FOUR else (IP6, getattr(socket, six))
    assert options(loop, family, lambda udp: getattr(udp, verb)(*arguments)) == [(level, option, value)]


def test_an_interface_of_ipv6_by_its_name(loop):
    name, number = loopback6()
    for arguments in ((GROUP6, name), ("%s%%%s" % (GROUP6, name),)):
        assert options(loop, SIX, lambda udp, arguments=arguments: udp.join_group(*arguments)) == [
            (IP6, socket.IPV6_JOIN_GROUP, PACKED6 + struct.pack("@I", number))]


@pytest.mark.parametrize("family, arguments, wanted", [
    (FOUR, {}, []),
    (FOUR, {"ttl": 0}, [(IP, socket.IP_MULTICAST_TTL, 0)]),
    (FOUR, {"ttl": 255, "loopback": True}, [(IP, socket.IP_MULTICAST_TTL, 255), (IP, socket.IP_MULTICAST_LOOP, 1)]),
    (FOUR, {"loopback": False}, [(IP, socket.IP_MULTICAST_LOOP, 0)]),
    (FOUR, {"interface": "127.0.0.1"}, [(IP, socket.IP_MULTICAST_IF, LOOPBACK)]),
    (SIX, {"ttl": 3}, [(IP6, socket.IPV6_MULTICAST_HOPS, 3)]),
    (SIX, {"loopback": False, "interface": 5}, [(IP6, socket.IPV6_MULTICAST_IF, 5), (IP6, socket.IPV6_MULTICAST_LOOP, 0)]),
])
def test_set_multicast(loop, family, arguments, wanted):
    assert options(loop, family, lambda udp: udp.set_multicast(**arguments)) == wanted


# what is refused, before the kernel hears of it

@pytest.mark.parametrize("family, arguments, says", [
    (FOUR, ("192.0.2.1",), r"not a multicast address: '192.0.2.1' \(224.0.0.0 to 239.255.255.255, or ff00::/8\)"),
    (FOUR, ("223.255.255.255",), "not a multicast address"),
    (FOUR, ("240.0.0.0",), "not a multicast address"),
    (FOUR, ("all-systems.mcast.net",), "not a multicast address"),
    (FOUR, (GROUP + "%1",), "not a multicast address"),
    (FOUR, ("",), "not a multicast address"),
    (FOUR, (None,), "not a multicast address: None"),
    (FOUR, (PACKED,), "not a multicast address"),
    (SIX, ("fe80::1",), "not a multicast address"),
    (SIX, ("::",), "not a multicast address"),
    (FOUR, (GROUP6,), "ff01::7363 is a group of IPv6, and this socket speaks IPv4"),
    (SIX, (GROUP,), "239.255.73.99 is a group of IPv4, and this socket speaks IPv6"),
    (FOUR, (GROUP, "lo"), "for IPv4 an interface is given as an IPv4 address it has, not 'lo'"),
    (FOUR, (GROUP, 1), "for IPv4 an interface is given as an IPv4 address"),
    (SIX, (GROUP6, -1), "for IPv6 an interface is given as its name or its number, not -1"),
    (SIX, (GROUP6, 1 << 32), "for IPv6 an interface"),
    (SIX, (GROUP6, True), "for IPv6 an interface"),
    (SIX, (GROUP6, 1.5), "for IPv6 an interface"),
    (SIX, (GROUP6, ""), "for IPv6 an interface"),
])
def test_what_is_no_group_or_no_interface_is_ValueError(loop, family, arguments, says):
    for verb in ("join_group", "leave_group"):
        udp = UDPSocket(loop, ScriptedDatagrams(family=family))
        with pytest.raises(ValueError, match=says):
            getattr(udp, verb)(*arguments)
        assert [call for call in udp.sock.calls if call[0] == "setsockopt"] == []


@pytest.mark.parametrize("ttl", [-1, 256, 1.5, "1", True])
def test_ttl_is_0_to_255_and_nothing_is_set_before_that_is_known(loop, ttl):
    udp = UDPSocket(loop, ScriptedDatagrams())
    with pytest.raises(ValueError, match="ttl is 0 to 255 hops, not %r" % ttl):
        udp.set_multicast(ttl=ttl, loopback=False)
    with pytest.raises(ValueError, match="an IPv4 address it has"):
        udp.set_multicast(loopback=False, interface="lo")
    assert [call for call in udp.sock.calls if call[0] == "setsockopt"] == []


@pytest.mark.needs("ipv6")
def test_an_interface_that_there_is_not_is_the_systems_OSError(loop):
    udp = bound(loop, "::")
    for interface in ("nosuchif", 1 << 30):
        with pytest.raises(OSError) as caught:
            udp.join_group(GROUP6, interface)
        assert not isinstance(caught.value, icey.IceyError)


def test_leaving_what_was_not_joined_is_the_systems_OSError(loop):
    udp = bound(loop, "")
    with pytest.raises(OSError):
        udp.leave_group(GROUP, "127.0.0.1")


# over the loopback

def reaches(sock, target, family, interface):
    """Whether a datagram sent to `target` by `interface` comes to `sock`; it does not leave the host."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        if family == FOUR:
            probe.setsockopt(IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
            probe.setsockopt(IP, socket.IP_MULTICAST_TTL, 0)
        else:
            probe.setsockopt(IP6, socket.IPV6_MULTICAST_IF, interface)
            probe.setsockopt(IP6, socket.IPV6_MULTICAST_HOPS, 0)
        try:
            probe.sendto(b"probe", target.sockaddr())
        except OSError:
            return False
    return bool(select.select([sock], [], [], 0.5)[0] and sock.recv(64))


def joined(loop, family):
    """(a member of the group, the group's address, the interface). Skips where no interface carries groups.

    The loopback interface is tried first. One of its own scope, with no hops, stays on the host by any other too.
    """
    member = bound(loop, "" if family == FOUR else "::")
    group = GROUP if family == FOUR else GROUP6
    for interface in interfaces(family):
        target = Address(group if family == FOUR else "%s%%%d" % (group, interface), member.local.port)
        try:
            member.join_group(group, interface)
        except OSError:
            continue
        if reaches(member.sock, target, family, interface):
            return member, target, interface
        member.leave_group(group, interface)
    pytest.skip("the kernel carries no multicast by %s" % ", ".join(map(str, interfaces(family))))


@pytest.mark.parametrize("family", [FOUR, pytest.param(SIX, marks=pytest.mark.needs("ipv6"))], ids=["IPv4", "IPv6"])
def test_a_member_hears_what_is_sent_to_the_group_until_it_leaves(loop, family):
    member, target, interface = joined(loop, family)
    came = received(member)
    sender = bound(loop, "127.0.0.1" if family == FOUR else "::")
    sender.set_multicast(ttl=0, loopback=True, interface=interface)
    sender.send(b"to all", target)
    until(loop, came, 1)
    assert came[0][0] == b"to all" and came[0][1].port == sender.local.port
    group = GROUP if family == FOUR else GROUP6
    member.leave_group(group, interface)
    sender.send(b"to nobody", target)
    member.send(b"to myself", Address("127.0.0.1" if family == FOUR else "::1", member.local.port))
    until(loop, came, 2)
    assert [data for data, _ in came] == [b"to all", b"to myself"]


def test_two_members_on_a_host_hear_it_both(loop):
    first, target, interface = joined(loop, FOUR)
    first.close()
    turn(loop, 2)
    members = [UDPSocket(loop), UDPSocket(loop)]
    for member in members:
        member.bind(("", target.port), reuse_address=True, reuse_port=hasattr(socket, "SO_REUSEPORT"))
        member.join_group(GROUP, interface)
    came = [received(member) for member in members]
    sender = bound(loop)
    sender.set_multicast(ttl=0, interface=interface)
    sender.send(b"x", target)
    for heard in came:
        until(loop, heard, 1)


def test_after_close_the_options_do_nothing(loop):
    udp = UDPSocket(loop, ScriptedDatagrams((), [OSError]))
    udp.close()

    def later_calls():
        udp.join_group(GROUP)
        udp.leave_group(GROUP)
        udp.set_multicast(ttl=1)
        udp.set_broadcast()

    later_calls()
    loop.run()
    later_calls()
    assert [call for call in udp.sock.calls if call[0] == "setsockopt"] == []
    with pytest.raises(icey.StateError):
        udp.send(b"x", PEER)
