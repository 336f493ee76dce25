"""interfaces(): what the kernel's answers are read as, and what is told where there is no such kernel.

Beside `ip -j addr`, and in a network of the test's own: tests/interop/test_interfaces.py.
"""
import errno
import socket
import struct
import sys
import types

import pytest

import icey
from icey.net import interfaces as module
from tests.support.datagrams import failed

netlink = pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="this platform has no AF_NETLINK")
UP, LOOPBACK, MULTICAST = 0x1, 0x8, 0x1000
NEW_LINK, NEW_ADDRESS, ERROR, DONE = 16, 20, 2, 3
INTERRUPTED = 0x10


def message(kind, body=b"", *, number=1, flags=2):
    data = struct.pack("=IHHII", 16 + len(body), kind, flags, number, 99) + body
    return data + bytes(-len(data) % 4)


def attribute(kind, data):
    packed = struct.pack("=HH", 4 + len(data), kind) + data
    return packed + bytes(-len(packed) % 4)


def link(index, name, flags):
    return struct.pack("=BxHiII", 0, 1, index, flags, 0) + attribute(1, b"\2\0\0\0\0\1") + attribute(3, name + b"\0")


def owned(index, prefix, *attributes, family=socket.AF_INET):
    return struct.pack("=BBBBI", family, prefix, 0x80, 0, index) + b"".join(attribute(*one) for one in attributes)


def four(text):
    return socket.inet_pton(socket.AF_INET, text)


def six(text):
    return socket.inet_pton(socket.AF_INET6, text)


class Kernel:
    """Stands for the socket module: what it answers, read by read, to each question."""

    def __init__(self, *answers):
        self.answers = [list(answer) for answer in answers]
        self.asked, self.closed = [], 0

    def __getattr__(self, name):
        if name == "AF_NETLINK":
            return 16
        return getattr(socket, name)

    def socket(self, *arguments):
        return self

    def settimeout(self, seconds):
        assert seconds == module.PATIENCE

    def send(self, data):
        size, verb, flags, number, port = struct.unpack_from("=IHHII", data)
        assert (size, flags, port) == (len(data), 0x301, 0) and len(data) == {18: 32, 22: 24}[verb]
        self.asked.append((verb, number))

    def recv(self, size):
        answer = self.answers[len(self.asked) - 1]
        item = answer.pop(0)
        if isinstance(item, OSError):
            raise item
        return item

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.closed += 1


def told(monkeypatch, *answers):
    kernel = Kernel(*answers)
    monkeypatch.setattr(module, "socket", kernel)
    return icey.interfaces(), kernel


def shape(found):
    return [(one.name, one.index, one.addresses, one.up, one.loopback, one.multicast) for one in found]


LINKS = [message(NEW_LINK, link(7, b"eth0", UP | MULTICAST)) + message(NEW_LINK, link(1, b"lo", UP | LOOPBACK)),
         message(NEW_LINK, link(8, b"tun0", 0)), message(DONE, bytes(4))]


# Linux

def test_links_and_their_addresses_in_several_reads(monkeypatch):
    found, kernel = told(monkeypatch, LINKS, [
        message(NEW_ADDRESS, owned(1, 8, (1, four("127.0.0.1")), (2, four("127.0.0.1")), (3, b"lo\0"))),
        message(NEW_ADDRESS, owned(7, 24, (1, four("192.0.2.5")), (2, four("192.0.2.5"))))
        + message(NEW_ADDRESS, owned(7, 24, (1, four("192.0.2.6")), (2, four("192.0.2.6")), (3, b"eth0:1\0")))
        + message(NEW_ADDRESS, owned(8, 32, (1, four("198.51.100.9")), (2, four("198.51.100.8")))),
        message(NEW_ADDRESS, owned(7, 64, (1, six("2001:db8::5")), family=socket.AF_INET6))
        + message(NEW_ADDRESS, owned(7, 64, (1, six("fe80::5")), family=socket.AF_INET6))
        + message(NEW_ADDRESS, owned(7, 24, (1, b"\0" * 7), family=28)) + message(DONE, bytes(4))])
    assert shape(found) == [
        ("lo", 1, (("127.0.0.1", 8),), True, True, False),
        ("eth0", 7, (("192.0.2.5", 24), ("192.0.2.6", 24), ("2001:db8::5", 64), ("fe80::5%7", 64)), True, False, True),
        ("tun0", 8, (("198.51.100.8", 32),), False, False, False)]
    assert kernel.asked == [(18, 1), (22, 1)] and kernel.closed == 1
    for one in found:
        for host, _ in one.addresses:
            assert icey.Address(host, 9).numeric


def test_an_answer_during_which_something_changed_is_asked_for_again(monkeypatch):
    old = message(NEW_LINK, link(1, b"old", 0), flags=2 | INTERRUPTED) + message(DONE, bytes(4))
    new = message(NEW_LINK, link(1, b"new", 0), number=2) + message(DONE, bytes(4), number=2)
    found, kernel = told(monkeypatch, [old], [message(DONE, bytes(4)), new], [message(DONE, bytes(4))])
    assert [one.name for one in found] == ["new"] and kernel.asked == [(18, 1), (18, 2), (22, 1)]


def test_a_machine_that_never_stands_still(monkeypatch):
    moving = [[message(NEW_LINK, link(1, b"lo", 0), number=n, flags=INTERRUPTED) + message(DONE, number=n)] for n in (1, 2, 3)]
    found, kernel = told(monkeypatch, *moving, [message(DONE)])
    assert [one.name for one in found] == ["lo"] and kernel.asked == [(18, 1), (18, 2), (18, 3), (22, 1)]


@pytest.mark.parametrize("answer", [
    [failed("EPERM")], [failed("EAGAIN")], [message(ERROR, struct.pack("=i", -errno.EACCES) + bytes(16))],
    [message(NEW_LINK, b"\0" * 3) + message(DONE)], [b"\0" * 15], [message(ERROR)], [b""]],
    ids=["EPERM", "late", "refused", "short", "torn", "no code", "nothing"])
def test_what_the_kernel_refuses_is_told_as_elsewhere(monkeypatch, answer):
    monkeypatch.setattr(module, "_named", lambda: ["elsewhere"])
    found, kernel = told(monkeypatch, answer, answer)
    assert found == ["elsewhere"] and kernel.closed == 1


@pytest.mark.parametrize("junk", [b"\0" * 16, struct.pack("=IHHII", 5, 1, 0, 1, 0), message(NEW_LINK, b"x" * 99, number=7)])
def test_what_makes_no_sense_is_passed_over(monkeypatch, junk):
    torn = message(NEW_LINK, link(1, b"lo", 0) + struct.pack("=HH", 0, 9) + b"\0\0")
    found, _ = told(monkeypatch, [junk + torn + message(DONE)], [message(DONE)])
    assert [one.name for one in found] == ["lo"]


@netlink
def test_this_machine_has_a_loopback():
    found = icey.interfaces()
    if not found or found[-1].index == 0:
        pytest.skip("the kernel does not tell")
    lo = [one for one in found if one.loopback]
    assert lo and lo[0].up in (True, False) and lo[0].index > 0
    if lo[0].up:
        assert ("127.0.0.1", 8) in lo[0].addresses


# elsewhere

@pytest.fixture
def elsewhere(monkeypatch):
    """The socket module of a system without netlink; set attributes on it."""
    other = types.SimpleNamespace(**{name: getattr(socket, name) for name in dir(socket) if name != "AF_NETLINK"})
    monkeypatch.setattr(module, "socket", other)
    return other


class Own:
    """A datagram socket that would send from `hosts[place]`."""

    hosts = {}

    def __init__(self, family, kind):
        assert kind == socket.SOCK_DGRAM

    def connect(self, address):
        self.host = self.hosts.get(address[0])
        if self.host is None:
            raise failed("ENETUNREACH")

    def getsockname(self):
        return self.host

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass


HOSTS = {"127.0.0.1": ("127.0.0.1", 1), "192.0.2.1": ("198.51.100.7", 1), "2001:db8::1": ("fe80::7", 1, 0, 3)}


def test_names_and_addresses_of_nobody(elsewhere, monkeypatch):
    elsewhere.if_nameindex = lambda: [(4, "en0"), (1, "lo0")]
    elsewhere.socket = Own
    monkeypatch.setattr(Own, "hosts", HOSTS)
    found = icey.interfaces()
    assert shape(found) == [("lo0", 1, (), None, None, None), ("en0", 4, (), None, None, None),
                            ("", 0, (("127.0.0.1", None), ("198.51.100.7", None), ("fe80::7%3", None)), None, None, None)]
    assert repr(found[-1]) == "<Interface (any) 127.0.0.1 198.51.100.7 fe80::7%3>"


def test_windows_answers_for_its_own_name(elsewhere, monkeypatch):
    monkeypatch.setattr(module, "sys", types.SimpleNamespace(platform="win32"))
    elsewhere.if_nameindex = lambda: [(4, "ethernet_32769")]
    elsewhere.socket = Own
    monkeypatch.setattr(Own, "hosts", HOSTS)
    asked = []
    monkeypatch.setattr(elsewhere, "gethostname", lambda: "own")
    monkeypatch.setattr(elsewhere, "getaddrinfo", lambda *arguments: asked.append(arguments[0]) or [
        (socket.AF_INET, 2, 17, "", ("198.51.100.7", 0)), (socket.AF_INET6, 2, 17, "", ("fe80::9", 0, 0, 4)),
        (99, 2, 17, "", ())])
    assert [host for host, _ in icey.interfaces()[-1].addresses] == ["127.0.0.1", "198.51.100.7", "fe80::7%3", "fe80::9%4"]
    assert asked == ["own"]

    def none(*arguments):
        raise socket.gaierror(8, "no")

    monkeypatch.setattr(elsewhere, "getaddrinfo", none)
    assert len(icey.interfaces()[-1].addresses) == 3


@pytest.mark.parametrize("names", ["missing", "refused"])
def test_a_system_that_tells_nothing(elsewhere, monkeypatch, names):
    if names == "missing":
        vars(elsewhere).pop("if_nameindex", None)
    else:
        def refused():
            raise failed("EPERM")
        elsewhere.if_nameindex = refused
    elsewhere.socket = Own
    monkeypatch.setattr(Own, "hosts", {})
    assert icey.interfaces() == []


def test_here_as_if_it_were_elsewhere(elsewhere):
    """With the sockets that there are: nothing raises."""
    found = icey.interfaces()
    assert all(type(one) is icey.Interface for one in found)
    assert sys.platform != "linux" or ("127.0.0.1", None) in found[-1].addresses


# the values

def test_interfaces_are_values():
    one, same = [icey.Interface("eth0", 2, (("192.0.2.5", 24), ("fe80::1%2", None)), True, False, True) for _ in range(2)]
    assert one == same and hash(one) == hash(same) and one is not same
    assert repr(one) == "<Interface eth0 192.0.2.5/24 fe80::1%2 up multicast>"
    for other in (icey.Interface("eth0", 2), icey.Interface("eth0", 3, one.addresses, True, False, True), "eth0", None):
        assert one != other
    assert repr(icey.Interface("lo", 1, (), None, True)) == "<Interface lo loopback>"
