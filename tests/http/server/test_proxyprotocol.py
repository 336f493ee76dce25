"""The PROXY protocol's header: bytes in, addresses out."""
import socket

import pytest

import icey
from icey.http.server import proxyprotocol
from icey.http.server.proxyprotocol import CRC32C, MOST_TLVS, SIGNATURE, crc32c, parse
from tests.support import seeds

V4 = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
LONGEST_V6 = b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n"
LONGEST = b"PROXY UNKNOWN " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n"


def binary(block, *, command=1, version=2, family=1, transport=1, size=None):
    """A version 2 header."""
    size = len(block) if size is None else size
    return SIGNATURE + bytes([version << 4 | command, family << 4 | transport]) + size.to_bytes(2, "big") + block


def tlv(kind, value):
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def checked(header, *tlvs):
    """A header of `tlvs` behind `header`'s block, with a checksum."""
    block = header[16:] + tlv(CRC32C, bytes(4)) + b"".join(tlvs)
    whole = header[:14] + len(block).to_bytes(2, "big") + block
    at = len(header) + 3
    return whole[:at] + crc32c(whole).to_bytes(4, "big") + whole[at + 4:]


INET = bytes([1, 2, 3, 4, 5, 6, 7, 8]) + b"\x04\xd2\x00\x50"
INET6 = (socket.inet_pton(socket.AF_INET6, "2001:db8::1") + socket.inet_pton(socket.AF_INET6, "::ffff:1.2.3.4")
         + b"\xff\xff\x01\xbb")
UNIX = b"/run/a.sock".ljust(108, b"\0") + b"/run/b.sock".ljust(108, b"\0")

GOOD = [
    (V4, "192.168.0.1:56324", "192.168.0.11:443", []),
    (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "0.0.0.0:0", "255.255.255.255:65535", []),
    (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1", "[::1]:2", []),
    (b"PROXY TCP6 ::ffff:1.2.3.4 :: 1 2\r\n", "[::ffff:1.2.3.4]:1", "[::]:2", []),
    (LONGEST_V6, "[%s]:65535" % ":".join(["ffff"] * 8), "[%s]:65535" % ":".join(["ffff"] * 8), []),
    (b"PROXY UNKNOWN\r\n", None, None, []),
    (b"PROXY UNKNOWN \r\n", None, None, []),
    (b"PROXY UNKNOWN what \xff ever\0\r\n", None, None, []),
    (LONGEST, None, None, []),
    (binary(INET), "1.2.3.4:1234", "5.6.7.8:80", []),
    (binary(INET, transport=2), "1.2.3.4:1234", "5.6.7.8:80", []),
    (binary(INET6, family=2), "[2001:db8::1]:65535", "[::ffff:1.2.3.4]:443", []),
    (binary(INET, command=0), None, None, []),
    (binary(b"", command=0, family=0, transport=0), None, None, []),
    (binary(b"whatever", command=0, family=9, transport=7), None, None, []),
    (binary(b"", family=0, transport=0), None, None, []),
    (binary(b"what ever", family=0, transport=0), None, None, []),
    (binary(INET, transport=0), None, None, []),
    (binary(b"", family=0, transport=1), None, None, []),
    (binary(INET + tlv(1, b"h2") + tlv(4, b"") + tlv(0xE0, b"\0" * 300)), "1.2.3.4:1234", "5.6.7.8:80",
     [(1, b"h2"), (4, b""), (0xE0, b"\0" * 300)]),
    (binary(INET6 + tlv(2, "\xe4".encode()), family=2), "[2001:db8::1]:65535", "[::ffff:1.2.3.4]:443", [(2, "\xe4".encode())]),
    (binary(INET + tlv(4, b"") * MOST_TLVS), "1.2.3.4:1234", "5.6.7.8:80", [(4, b"")] * MOST_TLVS),
]
UNIX_GOOD = [
    (binary(UNIX, family=3), "unix:/run/a.sock", "unix:/run/b.sock", []),
    (binary(UNIX + tlv(1, b"h2"), family=3, transport=2), "unix:/run/a.sock", "unix:/run/b.sock", [(1, b"h2")]),
    (binary(bytes(216), family=3), "unix:?", "unix:?", []),
    (binary(b"\0abstract".ljust(108, b"\0") + b"x" * 108, family=3), "unix:@abstract", "unix:" + "x" * 108, []),
    (binary((b"/a\0junk").ljust(108, b"\0") + bytes(108), family=3), "unix:/a", "unix:?", []),
]
if not hasattr(socket, "AF_UNIX"):
    UNIX_GOOD = []


def told(data):
    found = parse(data)
    if found is None:
        return None
    used, source, destination, tlvs = found
    return used, source and str(source), destination and str(destination), tlvs


@pytest.mark.parametrize("data, source, destination, tlvs", GOOD + UNIX_GOOD)
@pytest.mark.parametrize("rest", [b"", b"GET / HTTP/1.1\r\n\r\n", V4, SIGNATURE])
def test_what_is_read(data, source, destination, tlvs, rest):
    assert told(data + rest) == told(bytearray(data + rest)) == (len(data), source, destination, tlvs)


@pytest.mark.parametrize("data", [row[0] for row in GOOD + UNIX_GOOD])
def test_until_it_is_whole_it_is_incomplete(data):
    for size in range(len(data)):
        assert parse(data[:size]) is None


MALFORMED = [
    b"G", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"\r\n\r\nG", b"\r\n\r\n\0\r\nQUIt", b" PROXY", b"proxy ", b"PROXY\t",
    b"PROXYT", b"PROX ",
    b"PROXY \r\n", b"PROXY TCP4\r\n", b"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n", b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
    b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n", b"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n", b"PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n",
    b"PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n", b"PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n", b"PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4.5 1 1\r\n", b"PROXY TCP4 ::1 ::1 1 1\r\n",
    b"PROXY TCP6 1.2.3.4 ::1 1 1\r\n", b"PROXY TCP6 ::1 1.2.3.4 1 1\r\n",
    b"PROXY TCP6 ::1%1 ::1 1 1\r\n", b"PROXY TCP6 [::1] ::1 1 1\r\n",
    b"PROXY TCP6 1:2:3:4:5:6:7 ::1 1 1\r\n", b"PROXY TCP6 ::1::2 ::1 1 1\r\n",
    b"PROXY TCP6 12345:: ::1 1 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1_0 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 \xb2 1\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 100000 1\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\rX",
    b"PROXY UNKNOWN\n", b"PROXY UNKNOWN \r x\r\n", b"PROXY UNKNOWN \n x\r\n", b"PROXY UNKNOWNX\r\n", b"PROXY unknown\r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", b"PROXY " + b"x" * 101, b"PROXY UNKNOWN " + b"x" * 92 + b"\r",
    SIGNATURE + b"\x11", SIGNATURE + b"\x31", SIGNATURE + b"\x22", SIGNATURE + b"\x2f", SIGNATURE + b"\x00",
    binary(INET, family=4), binary(INET, family=15), binary(INET, transport=3), binary(INET, transport=15),
    binary(INET[:-1]), binary(b""), binary(INET6[:-1], family=2), binary(UNIX[:-1], family=3), binary(INET, family=2),
    binary(INET + b"\x01"), binary(INET + b"\x01\0"), binary(INET + b"\x01\0\x01"),
    binary(INET + tlv(1, b"x") + b"\x01\xff\xff"),
    binary(INET + tlv(4, b"") * (MOST_TLVS + 1)),
    binary(INET + tlv(CRC32C, b"")), binary(INET + tlv(CRC32C, bytes(3))), binary(INET + tlv(CRC32C, bytes(5))),
    binary(INET + tlv(CRC32C, bytes(4))),
]


@pytest.mark.parametrize("data", MALFORMED)
def test_what_is_refused(data):
    with pytest.raises(icey.ProtocolError):
        parse(data)
    for size in range(len(data)):  # sooner or later, but never taken for a header
        try:
            assert parse(data[:size]) is None
        except icey.ProtocolError:
            pass


def test_garbage_is_refused_with_its_first_wrong_byte():
    for good in (V4[:6], SIGNATURE):
        for size in range(len(good)):
            assert parse(good[:size]) is None
            with pytest.raises(icey.ProtocolError):
                parse(good[:size] + b"~")


def test_the_longest_are_as_long_as_the_reference_says():
    assert (len(LONGEST), len(LONGEST_V6)) == (107, 104)


def test_a_header_of_64_kib():
    header = binary(INET + tlv(0xE0, bytes(65535 - 12 - 3)))
    assert len(header) == 16 + 65535
    assert parse(header[:-1]) is None
    assert parse(header)[0] == len(header)


def test_without_unix_sockets_such_an_address_is_none(monkeypatch):
    monkeypatch.setattr(proxyprotocol, "AF_UNIX", None)
    assert parse(binary(UNIX + tlv(1, b"h2"), family=3)) == (16 + 216 + 5, None, None, [(1, b"h2")])


# the checksum

@pytest.mark.parametrize("data, total", [
    (b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),  # RFC 3720 appendix B.4
])
def test_crc32c(data, total):
    assert crc32c(data) == total


def test_a_right_checksum_and_every_wrong_one():
    header = checked(binary(INET), tlv(1, b"h2"))
    assert parse(header)[3][1:] == [(1, b"h2")]
    for at in range(16, len(header)):
        for bit in (1, 128):
            wrong = bytearray(header)
            wrong[at] ^= bit
            with pytest.raises(icey.ProtocolError):
                found = parse(wrong)
                assert not any(kind == CRC32C for kind, _ in found[3])  # no checksum any more: its type was changed
                raise icey.ProtocolError
    twice = checked(checked(binary(INET)))
    with pytest.raises(icey.ProtocolError):
        parse(twice)


def test_noise_is_refused_or_understood_and_never_an_error_of_ours():
    rng = seeds.rng()
    pool = [row[0] for row in GOOD + UNIX_GOOD] + [checked(binary(INET))]
    for _ in range(3000):
        data = bytearray(rng.choice(pool))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            found = parse(data)
        except icey.ProtocolError:
            continue
        assert found is None or 0 < found[0] <= len(data)
