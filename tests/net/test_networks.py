"""Networks: which addresses are in, which entries are refused."""
import socket

import pytest

import icey
from icey.net.networks import Networks


def address(text):
    return icey.Address.parse(text) if text.startswith("unix:") else icey.Address(text, 80)


@pytest.mark.parametrize("entries, inside, outside", [
    ("127.0.0.1", "127.0.0.1", "127.0.0.2 126.255.255.255 ::1 ::7f00:1"),
    ("10.0.0.0/8", "10.0.0.0 10.255.255.255", "9.255.255.255 11.0.0.0 a00::"),
    ("192.168.128.0/17", "192.168.128.0 192.168.255.255", "192.168.127.255"),
    ("10.1.2.3/32", "10.1.2.3", "10.1.2.2"),
    ("0.0.0.0/0", "0.0.0.0 255.255.255.255", "::1 ::"),
    ("::1", "::1 0:0:0:0:0:0:0:1 ::0.0.0.1", "::2 127.0.0.1 ::ffff:0.0.0.1"),
    ("2001:db8::/32", "2001:db8:: 2001:DB8:ffff::1", "2001:db9:: 2001:db7:ffff::"),
    ("fe80::/10", "fe80::1 fe80::1%1 febf::", "fec0:: ::1%1"),
    ("::/0", ":: ffff::1", "1.2.3.4 ::ffff:1.2.3.4"),
    ("::ffff:10.0.0.1", "10.0.0.1 ::ffff:10.0.0.1", "10.0.0.2"),
    ("::ffff:10.0.0.0/104", "10.1.2.3 ::ffff:10.1.2.3", "11.0.0.0"),
    ("127.0.0.1", "::ffff:127.0.0.1 ::ffff:7f00:1", "::ffff:127.0.0.2"),
    ("10.0.0.0/8 ::1 127.0.0.1", "10.2.3.4 ::1 127.0.0.1", "1.1.1.1 ::2"),
    ("", "", "127.0.0.1 ::1 example.com"),
    ("127.0.0.1", "", "localhost example.com"),
])
def test_what_is_in(entries, inside, outside):
    networks = Networks(entries.split())
    assert [text for text in inside.split() if address(text) not in networks] == []
    assert [text for text in outside.split() if address(text) in networks] == []


@pytest.mark.needs("unix")
def test_unix_is_whoever_comes_over_a_unix_socket():
    for peer in ("unix:/run/x.sock", "unix:?"):
        assert address(peer) in Networks(["unix"])
        assert address(peer) in Networks(["10.0.0.0/8", "unix"])
        assert address(peer) not in Networks(["10.0.0.0/8"])
    assert address("127.0.0.1") not in Networks(["unix"])


def test_nobody_is_in_nothing():
    assert None not in Networks(["0.0.0.0/0", "unix"])


@pytest.mark.parametrize("entry", [
    "", "localhost", "10.0.0", "010.0.0.1", "10.0.0.256", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/-1",
    "10.0.0.0/+8",
    "10.0.0.0/8 ", "10.0.0.0/255.0.0.0", "::1/129", "fe80::1%eth0", "[::1]", "::ffff:10.0.0.0/95", "10.0.0.0/999",
    "unix:/run/x.sock", "Unix", "*",
])
def test_what_is_no_entry(entry):
    with pytest.raises(ValueError, match="neither an IP address|at most as many bits"):
        Networks([entry])


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "10.0.0.1/31", "1.0.0.0/0", "::1/127", "2001:db8::1/32"])
def test_bits_behind_the_prefix_are_refused(entry):
    with pytest.raises(ValueError, match="behind its prefix"):
        Networks([entry])


def test_of():
    made = Networks(["::1"])
    assert Networks.of(made) is made
    assert address("127.0.0.1") in Networks.of("127.0.0.1")
    assert address("127.0.0.1") in Networks.of(iter(["127.0.0.1"]))
    assert repr(made) == "Networks(['::1'])"


def test_a_real_peer(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        peer = icey.Address.from_sockaddr(listener.getsockname())
    assert peer in Networks(["127.0.0.0/8"])


@pytest.mark.parametrize("entry", [5, None, b"10.0.0.0/8", ("10.0.0.0", 8)], ids=repr)
def test_an_entry_that_is_no_str_is_TypeError_that_names_it(entry):
    with pytest.raises(TypeError, match="an entry of Networks is a str"):
        Networks(["127.0.0.1", entry])
