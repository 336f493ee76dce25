"""Address: parsing and printing, families, what the socket module takes and gives."""
import errno
import os
import socket

import pytest

from icey import Address
from icey.net import address as address_module


@pytest.mark.parametrize("text, host, port, family", [
    ("127.0.0.1:80", "127.0.0.1", 80, socket.AF_INET),
    ("0.0.0.0:0", "0.0.0.0", 0, socket.AF_INET),
    (":65535", "", 65535, socket.AF_INET),
    ("[::1]:80", "::1", 80, socket.AF_INET6),
    ("[fe80::1%1]:80", "fe80::1%1", 80, socket.AF_INET6),
    ("[::ffff:1.2.3.4]:80", "::ffff:1.2.3.4", 80, socket.AF_INET6),
    ("example.org:443", "example.org", 443, None),
    ("localhost:8080", "localhost", 8080, None),
    ("999.1.1.1:80", "999.1.1.1", 80, None),
])
def test_parse_and_print(text, host, port, family):
    address = Address.parse(text)
    assert (address.host, address.port, address.family) == (host, port, family)
    assert str(address) == (text if host else ":65535")
    assert Address.parse(str(address)) == address
    assert eval(repr(address)) == address
    assert address.numeric is (family is not None)


@pytest.mark.needs("unix")
def test_parse_knows_unix_sockets():
    address = Address.parse("unix:/run/x.sock")
    assert (address.host, address.port, address.family) == ("/run/x.sock", None, socket.AF_UNIX)
    assert str(address) == "unix:/run/x.sock"
    assert address == Address("unix:/run/x.sock") == eval(repr(address))
    assert address.sockaddr() == "/run/x.sock"


@pytest.mark.parametrize("text", [
    "", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:123456", "h:+8",
    "h:\u0661", "h: 8", "::1", "::1:80", "[::1]", "[::1]:", "[127.0.0.1]:80", "[name]:80", "[]:80", "unix:", "a\0b:80",
])
def test_parse_refuses_the_rest(text):
    with pytest.raises(ValueError):
        Address.parse(text)


def test_an_ipv6_address_without_brackets_is_told_how_to_be_written():
    with pytest.raises(ValueError, match=r"in brackets: \[2001:db8:\]:1"):
        Address.parse("2001:db8::1")


@pytest.mark.parametrize("host, port", [
    (None, 80), (b"127.0.0.1", 80), ("a\0b", 80), ("h", None), ("h", -1), ("h", 65536), ("h", "80"), ("h", True),
    ("unix:/x", 80), ("unix:", None)])
def test_a_host_is_a_str_and_a_port_0_to_65535(host, port):
    with pytest.raises(ValueError):
        Address(host, port)


def test_where_there_are_no_unix_sockets_they_are_refused(monkeypatch):
    monkeypatch.setattr(address_module, "AF_UNIX", None)
    with pytest.raises(ValueError, match="no Unix sockets"):
        Address.parse("unix:/run/x.sock")


@pytest.mark.parametrize("value, port", [
    (Address("127.0.0.1", 80), None), (("127.0.0.1", 80), None), ("127.0.0.1", 80), ("127.0.0.1:80", None)])
def test_of_takes_every_form_that_an_api_takes(value, port):
    assert Address.of(value, port) == Address("127.0.0.1", 80)


@pytest.mark.parametrize("sockaddr, text", [
    (("127.0.0.1", 80), "127.0.0.1:80"), (("::1", 80, 0, 0), "[::1]:80"), (("fe80::1", 80, 0, 3), "[fe80::1%3]:80"),
    (("fe80::1%eth0", 80, 0, 3), "[fe80::1%eth0]:80")])
def test_from_what_the_socket_module_returns(sockaddr, text):
    assert str(Address.from_sockaddr(sockaddr)) == text


@pytest.mark.needs("unix")
@pytest.mark.parametrize("sockaddr, text", [
    ("/run/x", "unix:/run/x"), ("", "unix:?"), (b"\0name", "unix:@name"), (b"/run/\xff", "unix:/run/\udcff")])
def test_from_the_name_of_a_unix_socket(sockaddr, text):
    assert str(Address.from_sockaddr(sockaddr)) == text


def test_to_what_the_socket_module_takes():
    assert Address("127.0.0.1", 80).sockaddr() == ("127.0.0.1", 80)
    assert Address("::1", 80).sockaddr() == ("::1", 80)
    assert Address("fe80::1%3", 80).sockaddr() == ("fe80::1", 80, 0, 3)


@pytest.mark.skipif(not hasattr(socket, "if_nameindex"), reason="needs interface names")
def test_a_scope_may_be_an_interfaces_name():
    index, name = socket.if_nameindex()[0]
    assert Address("fe80::1%" + name, 80).sockaddr() == ("fe80::1", 80, 0, index)
    with pytest.raises(OSError):
        Address("fe80::1%no-such-interface", 80).sockaddr()


def test_an_address_is_immutable_and_hashable():
    address = Address("127.0.0.1", 80)
    with pytest.raises(AttributeError, match="immutable"):
        address.port = 81
    with pytest.raises(AttributeError, match="immutable"):
        del address.port
    with pytest.raises(AttributeError):
        address.other = 1
    others = {Address("127.0.0.1", 80), Address("127.0.0.1", 81), Address("::1", 80), address}
    assert len(others) == 3
    assert address != "127.0.0.1:80"


# what is no address at all

@pytest.mark.parametrize("host, port", [
    (None, 80), (b"127.0.0.1", 80), (80, "127.0.0.1"), ("h", None), ("h", "80"), ("h", True), ("h", 80.0), (("h", 80), 80)])
def test_the_wrong_type_is_TypeError_and_still_the_ValueError_of_old(host, port):
    for kind in (TypeError, ValueError):
        with pytest.raises(kind, match="^(host|port) must be an? (str|int)"):
            Address(host, port)


def test_swapped_arguments_are_told():
    with pytest.raises(TypeError, match="host must be a str, not 8000: host and port are swapped"):
        Address.of(8000, "127.0.0.1")


@pytest.mark.parametrize("value", [
    8000, None, b"127.0.0.1:80", ("127.0.0.1",), ("127.0.0.1", 80, 0, 0), ["127.0.0.1", 80], object()])
def test_of_says_what_it_takes(value):
    with pytest.raises(TypeError, match=r'^an address is \(host, port\), "host:port", "unix:path" or an Address, not '):
        Address.of(value)


@pytest.mark.parametrize("value", [Address("127.0.0.1", 80), ("127.0.0.1", 80)])
def test_a_second_port_is_one_too_many(value):
    with pytest.raises(TypeError, match="has its port: port 81 is one too many"):
        Address.of(value, 81)


def test_an_error_of_the_system_names_its_address_and_stays_what_it_is():
    exc = PermissionError(13, "Permission denied")
    assert address_module.named(exc, Address("127.0.0.1", 80)) is exc
    assert str(exc) == "[Errno 13] Permission denied: '127.0.0.1:80'"
    address_module.named(exc, Address("127.0.0.1", 81))
    assert exc.filename == "127.0.0.1:80"


def test_a_number_that_a_socket_tells_is_the_exception_of_its_system(monkeypatch):
    refused = address_module.failure_of(errno.ECONNREFUSED)
    assert type(refused) is ConnectionRefusedError and refused.strerror == os.strerror(errno.ECONNREFUSED)
    monkeypatch.setattr(address_module.socket, "errorTab", {10061: "Connection refused."}, raising=False)  # Windows has it
    assert address_module.failure_of(10061).strerror == "Connection refused."
