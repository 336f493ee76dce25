"""What commands that listen have in common: which Hosts they answer to, by which URLs. The rest is tried with the commands."""
import os
import socket

import pytest

from icey import Address, Interface, Loop
from icey.net import interfaces as netinterfaces
from icey.tools.cli import listening
from icey.tools.cli.console import Trouble
from icey.tools.cli.listening import Hosts, from_elsewhere

LOOPBACK = ("localhost", "LOCALHOST:8000", "localhost.", "app.localhost:1", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:8000",
            "[::ffff:127.0.0.1]", "", "wiki", "x:8000")
FOREIGN = ("evil.example", "evil.example:8000", "evil.example.", "localhost.evil.example", "127.0.0.1.evil.example",
           "10.0.0.1", "192.168.0.1:8000", "[2001:db8::1]:80", "a b.c")


@pytest.mark.parametrize("where", ["127.0.0.1", "127.0.0.2", "::1"])
def test_on_loopback_the_host_is_loopback(where):
    hosts = Hosts(Address(where, 8000))
    assert [host for host in LOOPBACK if host not in hosts] == []
    assert [host for host in FOREIGN if host in hosts] == []


@pytest.mark.parametrize("where", ["0.0.0.0", "::", "", "192.168.0.1"])
def test_elsewhere_nobody_asks(where):
    hosts = Hosts(Address(where, 8000))
    assert [host for host in LOOPBACK + FOREIGN if host not in hosts] == []


def test_elsewhere_with_names_names_count_and_addresses():
    hosts = Hosts(Address("0.0.0.0", 8000), ["app.test"])
    ours = (*LOOPBACK, "10.0.0.1", "192.168.0.1:8000", "[2001:db8::1]:80", "app.test")
    assert [host for host in ours if host not in hosts] == []
    assert [host for host in ("evil.example", "x.app.test", "app.test.evil.example") if host in hosts] == []


@pytest.mark.parametrize("name", ["app.test", "APP.test.", "app.test:8000"])
def test_names_that_are_given_are_ours(name):
    hosts = Hosts(Address("127.0.0.1", 8000), [name], own="box.lan")
    assert all(host in hosts for host in ("app.test", "app.test:1", "App.Test.", "box.lan", "localhost"))
    assert "evil.example" not in hosts
    assert hosts.named("app.test:9") and not hosts.named("localhost") and not hosts.named("box.lan")


def test_every_name():
    hosts = Hosts(Address("127.0.0.1", 8000), ["*"])
    assert "evil.example" in hosts and not hosts.named("evil.example")


@pytest.mark.needs("unix")
def test_no_page_reaches_a_unix_socket():
    assert "evil.example" in Hosts(Address("unix:/s"))
    assert "evil.example" not in Hosts(Address("unix:/s"), ["app.test"])


# -- the addresses for others ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("own, urls4, urls6", [
    (["192.168.1.5", "2001:db8::5", "192.168.1.5"], ["http://192.168.1.5:80/"],
     ["http://192.168.1.5:80/", "http://[2001:db8::5]:80/"]),
    (["2001:db8::5", "10.0.0.1"], ["http://10.0.0.1:80/"], ["http://10.0.0.1:80/", "http://[2001:db8::5]:80/"]),
    (["127.0.0.1", "::1", "fe80::1%2", "169.254.1.1"], [], []), ([], [], []),
    (["10.0.0.%d" % number for number in range(20)], *[["http://10.0.0.%d:80/" % number for number in range(6)]] * 2)])
def test_the_urls_for_other_machines(own, urls4, urls6, monkeypatch):
    addresses = tuple((host, None) for host in own)
    found = [Interface("lo", 1, (("127.0.0.1", 8),), up=True), Interface("eth0", 2, addresses, up=None),
             Interface("off", 3, (("10.9.9.9", 24),), up=False)]
    monkeypatch.setattr(netinterfaces, "interfaces", lambda: found)
    assert from_elsewhere(Address("0.0.0.0", 80), "http") == from_elsewhere(Address("", 80), "http") == urls4
    assert from_elsewhere(Address("::", 80), "http") == urls6
    assert from_elsewhere(Address("127.0.0.1", 80), "http") == []


@pytest.mark.needs("unix")
def test_a_unix_socket_is_for_this_machine_alone():
    assert from_elsewhere(Address("unix:/s"), "http") == []


def test_this_machine_has_addresses_of_its_own():
    for host in listening.own_addresses():
        assert Address(host, 0).numeric and host not in ("127.0.0.1", "::1")


# -- sockets that systemd opened ---------------------------------------------------------------------------------------

class Systemd:
    """What systemd passes: sockets, to be passed with the next `listen`."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch
        self.passed = []
        self._inodes = {}

    def opens(self, kind=socket.SOCK_STREAM):
        sock = socket.socket(socket.AF_INET, kind)
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        self._inodes[sock.fileno()] = os.fstat(sock.fileno()).st_ino
        self.passed.append(sock.detach())
        self._monkeypatch.setitem(os.environ, "LISTEN_FDS", str(len(self.passed)))
        self._monkeypatch.setattr("icey.workers.systemd.listen_fds", lambda: self.passed)
        return self.passed[-1]

    def close(self):
        for fd, inode in self._inodes.items():
            try:
                if os.fstat(fd).st_ino == inode:  # else it was closed, and may be another file's by now
                    os.close(fd)
            except OSError:
                pass


@pytest.fixture
def systemd(monkeypatch):
    found = Systemd(monkeypatch)
    yield found
    found.close()


@pytest.fixture
def loop():
    with Loop() as loop:
        yield loop


@pytest.mark.needs("fork")
def test_a_socket_that_systemd_opened_takes_the_place_of_an_address(systemd, loop):
    with socket.socket(fileno=os.dup(systemd.opens())) as sock:
        port = sock.getsockname()[1]
    listener = listening.listen(loop, [Address("192.0.2.1", 1)])
    assert listener.address.port == port
    listener.abort()


@pytest.mark.needs("fork")
@pytest.mark.parametrize("kinds, said", [
    ([socket.SOCK_STREAM] * 2, "systemd passed 2 sockets, and one process serves one: --workers N"),
    ([socket.SOCK_STREAM, socket.SOCK_DGRAM], "which systemd passed, is nothing to listen on")])
def test_what_systemd_passed_and_cannot_be_used_is_trouble(systemd, loop, kinds, said):
    for kind in kinds:
        systemd.opens(kind)
    with pytest.raises(Trouble, match=said) as caught:
        listening.listen(loop, [Address("127.0.0.1", 0)])
    assert caught.value.status == 1


def test_what_was_passed_to_another_process_is_none_of_ours(monkeypatch, loop):
    monkeypatch.setitem(os.environ, "LISTEN_FDS", "1")
    monkeypatch.setitem(os.environ, "LISTEN_PID", "1")
    listener = listening.listen(loop, [Address("127.0.0.1", 0)])
    assert listener.address.host == "127.0.0.1"
    listener.abort()
