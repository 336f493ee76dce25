"""forwarded: who is behind the proxies, and whom to believe."""
import pytest

import icey
from icey.http import ForwardedInfo, Headers, forwarded
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

TRUSTED = icey.Networks(["10.0.0.0/8", "2001:db8:1::/48"])


class Fake:
    """What forwarded() reads of an exchange."""

    def __init__(self, fields, peer="10.0.0.1:1234", secure=False):
        self.peer = peer and icey.Address.parse(peer)
        self.secure = secure
        self.request = self
        self.headers = Headers([(name.lower(), value) for name, value in fields])
        self.host = self.headers.get("host", "own")


def info(*fields, peer="10.0.0.1:1234", secure=False, **options):
    """(client, proto, host) as text."""
    pairs = [tuple(field.split(": ", 1)) if ": " in field else (field.rstrip(":"), "") for field in fields]
    found = forwarded(Fake(pairs, peer, secure), TRUSTED, **options)
    return (found.client and str(found.client), found.proto, found.host)


OWN = ("10.0.0.1:1234", "http", "own")
NOBODY = (None, "http", "own")


@pytest.mark.parametrize("peer", ["192.0.2.9:99", "[::1]:99", "unix:/x", None])
def test_who_is_not_trusted_is_the_client_whatever_it_says(peer):
    if peer == "unix:/x" and icey.net.address.AF_UNIX is None:
        pytest.skip("this platform has no unix")
    for fields in ([], ["Forwarded: for=192.0.2.1;proto=https;host=x"], ["Forwarded: garbage=="], ["X-Forwarded-For: garbage"],
                   ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"]):
        assert info(*fields, peer=peer) == (peer, "http", "own")
        assert info(*fields, peer=peer, secure=True) == (peer, "https", "own")


def test_a_proxy_that_says_nothing_asks_for_itself():
    assert info() == OWN
    assert info("X-Forwarded-Proto: https", "X-Forwarded-Host: x") == OWN
    assert info("Forwarded:") == info("Forwarded: ,; ,") == OWN


@pytest.mark.parametrize("field, expected", [
    ("for=192.0.2.1", ("192.0.2.1:0", "http", "own")),
    ("For=192.0.2.1;PROTO=HTTPS;Host=example.com", ("192.0.2.1:0", "https", "example.com")),
    ('for="192.0.2.1:4711"; proto=https', ("192.0.2.1:4711", "https", "own")),
    ('for="[2001:db8::17]:4711"', ("[2001:db8::17]:4711", "http", "own")),
    ('for="[2001:DB8:0::17]";host="example.com:8080"', ("[2001:db8::17]:0", "http", "example.com:8080")),
    (r'for="192.0.2.\1"', ("192.0.2.1:0", "http", "own")),
    ("by=203.0.113.43;for=192.0.2.1;secret=_x", ("192.0.2.1:0", "http", "own")),
    ("for=192.0.2.1;", ("192.0.2.1:0", "http", "own")),
    (",, for=192.0.2.1 , ,", ("192.0.2.1:0", "http", "own")),
    ("for=192.0.2.1;;proto=https", ("192.0.2.1:0", "https", "own")),
    # the chain, from the right
    ("for=192.0.2.1, for=10.2.2.2", ("192.0.2.1:0", "http", "own")),
    ("for=192.0.2.1;proto=https;host=a, for=10.2.2.2;proto=http;host=b", ("192.0.2.1:0", "https", "a")),
    ("for=192.0.2.1, for=10.2.2.2;proto=https", ("192.0.2.1:0", "http", "own")),
    ('for=192.0.2.1, for="[2001:db8:1::1]", for=10.2.2.2', ("192.0.2.1:0", "http", "own")),
    ("for=1.1.1.1;proto=ftp, for=192.0.2.1;proto=https, for=10.2.2.2", ("192.0.2.1:0", "https", "own")),
    ("for=10.1.1.1;proto=https, for=10.2.2.2", ("10.1.1.1:0", "https", "own")),
    ('for="a, for=1.1.1.1", for=192.0.2.1', ("192.0.2.1:0", "http", "own")),
    # not told
    ("for=unknown", NOBODY), ("for=_hidden;proto=https", (None, "https", "own")), ('for="_SEVKISEK:4711"', NOBODY),
    ('for="Unknown:_a"', NOBODY), ("proto=https", (None, "https", "own")),
    ("for=192.0.2.1, proto=https", (None, "https", "own")),
    ("for=192.0.2.1, for=_hidden, for=10.2.2.2", NOBODY),
])
def test_forwarded(field, expected):
    assert info("Forwarded: " + field) == expected
    assert info("Forwarded: " + field, secure=True) == (expected[0], "https", expected[2])
    assert info("Forwarded: " + field, form="forwarded") == expected
    assert info("Forwarded: " + field, form="x-forwarded") == OWN


def test_several_fields_are_one_list():
    for field in ("Forwarded: for=", "X-Forwarded-For: "):
        assert info(field + "1.1.1.1", field + "192.0.2.1", field + "10.2.2.2") == ("192.0.2.1:0", "http", "own")


@pytest.mark.parametrize("field", [
    "for", "for=", "for=192.0.2.1 proto=https", "for=192.0.2.1;for=192.0.2.1", "for=192.0.2.1;FOR=10.2.2.2", "for = 192.0.2.1",
    'for="192.0.2.1', 'for="192.0.2.1"x', "for=192.0.2.256", "for=192.0.2", "for=192.0.2.01", "for=example.com",
    'for="[192.0.2.1]"',
    'for="2001:db8::1"', 'for="[2001:db8::1"', 'for="[::1]:65536"', 'for="192.0.2.1:"', 'for="192.0.2.1:123456"',
    "for=[::1]", 'for=""',
    "for=192.0.2.1;proto=\"1http\"", 'for=192.0.2.1;proto=""', 'for=192.0.2.1;host="a b"', 'for=192.0.2.1;host=""',
    'for=192.0.2.1;host="a/b"', "for=192.0.2.1;host=user@x", 'for=", for=192.0.2.1', "\xe4=x", 'for="[fe80::1%1]"',
])
def test_malformed_nothing_of_it_is_used(field):
    assert info("Forwarded: " + field) == NOBODY
    assert info("Forwarded: for=192.0.2.1;proto=https, " + field) == NOBODY


def test_garbage_of_strangers_spoils_a_list_with_quotes():
    """Where a quoted string may begin anywhere, what stands to the right of garbage means nothing."""
    assert info('Forwarded: x", for=192.0.2.1') == NOBODY


@pytest.mark.parametrize("fields, expected", [
    (["192.0.2.1"], ("192.0.2.1:0", "http", "own")),
    (["192.0.2.1:4711"], ("192.0.2.1:4711", "http", "own")),
    (["2001:DB8::17"], ("[2001:db8::17]:0", "http", "own")),
    (["[2001:db8::17]:4711"], ("[2001:db8::17]:4711", "http", "own")),
    (["192.0.2.1, 10.2.2.2,10.3.3.3"], ("192.0.2.1:0", "http", "own")),
    (["1.1.1.1, 192.0.2.1 , 10.2.2.2"], ("192.0.2.1:0", "http", "own")),
    (["10.1.1.1, 10.2.2.2"], ("10.1.1.1:0", "http", "own")),
    (["garbage, , \"x, 192.0.2.1"], ("192.0.2.1:0", "http", "own")),  # not even looked at
    (["unknown"], NOBODY), (["192.0.2.1, unknown"], NOBODY),
    (["192.0.2.1", "X-Forwarded-Proto: HTTPS", "X-Forwarded-Host: example.com:8080"],
     ("192.0.2.1:0", "https", "example.com:8080")),
    (["192.0.2.1, 10.2.2.2", "X-Forwarded-Proto: https"], ("192.0.2.1:0", "https", "own")),
    (["192.0.2.1, 10.2.2.2", "X-Forwarded-Proto: https, http", "X-Forwarded-Host: a,b"], ("192.0.2.1:0", "https", "a")),
    (["1.1.1.1, 192.0.2.1, 10.2.2.2", "X-Forwarded-Proto: ftp,https,http"], ("192.0.2.1:0", "https", "own")),
])
def test_x_forwarded(fields, expected):
    fields = ["X-Forwarded-For: " + fields[0], *fields[1:]]
    assert info(*fields) == expected
    assert info(*fields, form="x-forwarded") == expected
    assert info(*fields, form="forwarded") == OWN


@pytest.mark.parametrize("fields", [
    ["garbage"], ["192.0.2.1,"], ["192.0.2.1, garbage"], ["192.0.2.256"], ["example.com"], ["\"192.0.2.1\""], ["for=192.0.2.1"],
    ["192.0.2.1:x"], ["[::1"], ["1:2:3:4:5:6:7"], ["fe80::1%1"],
    ["192.0.2.1, 10.2.2.2, 10.3.3.3", "X-Forwarded-Proto: https, http"], ["192.0.2.1", "X-Forwarded-Host: a, b"],
    ["192.0.2.1", "X-Forwarded-Proto: 1"], ["192.0.2.1", "X-Forwarded-Proto:"], ["192.0.2.1", "X-Forwarded-Host: a b"],
])
def test_malformed_x_forwarded(fields):
    fields = ["X-Forwarded-For: " + fields[0], *fields[1:]]
    assert info(*fields) == NOBODY


def test_both_must_agree():
    one, other = "Forwarded: for=192.0.2.1;proto=https", "X-Forwarded-For: 192.0.2.1:99"
    assert info(one, other) == ("192.0.2.1:0", "https", "own")
    other = "X-Forwarded-For: 192.0.2.2"
    assert info(one, other) == NOBODY
    assert info(one, other, form="forwarded") == ("192.0.2.1:0", "https", "own")
    assert info(one, other, form="x-forwarded") == ("192.0.2.2:0", "http", "own")
    assert info("Forwarded: garbage", other) == info(one, "X-Forwarded-For: garbage") == NOBODY
    assert info("Forwarded: for=unknown", "X-Forwarded-For: unknown") == NOBODY
    assert info("Forwarded: for=garbage", other, form="x-forwarded") == ("192.0.2.2:0", "http", "own")


def test_wrong_arguments():
    with pytest.raises(ValueError, match="form is None"):
        info(form="x")
    with pytest.raises(ValueError, match="neither an IP address"):
        forwarded(Fake([]), ["proxy"])


def test_its_result():
    found = forwarded(Fake([]), "10.0.0.0/8")
    assert found == ForwardedInfo(icey.Address("10.0.0.1", 1234), "http", "own") and found != ForwardedInfo(None, "http", "own")
    assert found != OWN
    assert repr(found) == "ForwardedInfo(10.0.0.1:1234, 'http', 'own')"
    with pytest.raises(TypeError):
        hash(found)


def test_on_a_server(site):
    def slot(exchange):
        found = forwarded(exchange, ["127.0.0.1"])
        assert exchange.peer.host == "127.0.0.1"
        exchange.respond(200, ("%s %s %s" % (found.client, found.proto, found.host)).encode())

    site.serve(slot)
    client = site.client()
    answer = client.get("/", "X-Forwarded-For: 1.1.1.1, 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: example.com")
    assert answer.body == b"192.0.2.1:0 https example.com"
    assert client.get().body == ("127.0.0.1:%d http test" % client.sock.getsockname()[1]).encode()
