"""The grammar's checks, one by one; whole messages are in tests/conformance."""
import ipaddress
import re

import pytest

from icey.base.errors import BadRequest, NotSupported, TooLarge
from icey.http.semantics import grammar
from tests.support import seeds


def refused(status, check, *args):
    with pytest.raises(BadRequest) as caught:
        check(*args)
    assert caught.value.status == status
    assert caught.value.reason
    return caught.value


# tokens and octets

def test_a_token_is_of_token_characters_alone():
    allowed = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert {chr(code) for code in range(0x250) if grammar.TOKEN(chr(code))} == allowed
    assert not grammar.TOKEN("") and not grammar.TOKEN("a\n")


def test_a_value_has_tab_space_visible_and_obs_text():
    bad = {code for code in range(256) if grammar.BAD_VALUE(chr(code))}
    assert bad == set(range(32)) - {9} | {127}
    assert grammar.BAD_VALUE("\u0100")


def test_in_a_raw_line_only_the_last_cr_may_stay():
    bad = {code for code in range(256) if code not in (10, 13) and grammar.BAD_LINE(bytes([code]))}
    assert bad == set(range(32)) - {9, 10, 13} | {127}
    assert not grammar.BAD_LINE(b"a\r") and grammar.BAD_LINE(b"a\rb") and grammar.BAD_LINE(b"\r\r")


# the request line

@pytest.mark.parametrize("line, parts", [
    ("GET / HTTP/1.1", ("GET", "/", "1.1")),
    ("get / HTTP/1.0", ("get", "/", "1.0")),
    ("M-SEARCH * HTTP/1.1", None),
    ("OPTIONS * HTTP/1.1", ("OPTIONS", "*", "1.1")),
    ("CONNECT [::1]:443 HTTP/1.1", ("CONNECT", "[::1]:443", "1.1")),
    ("GET ftp://a/b HTTP/1.7", ("GET", "ftp://a/b", "1.1")),
])
def test_request_line(line, parts):
    if parts is None:
        refused(400, grammar.request_line, line, None)
    else:
        assert grammar.request_line(line, None) == parts


def test_the_length_of_a_target_is_inclusive():
    assert grammar.request_line("GET /123 HTTP/1.1", 4)
    error = refused(414, grammar.request_line, "GET /1234 HTTP/1.1", 4)
    assert type(error) is TooLarge and "4 bytes" in error.reason


def test_a_major_version_other_than_1_is_505_below_it_400():
    assert type(refused(505, grammar.request_line, "GET / HTTP/2.0", None)) is NotSupported
    refused(505, grammar.request_line, "GET nothing HTTP/9.9", None)
    refused(400, grammar.request_line, "GET / HTTP/0.9", None)


@pytest.mark.parametrize("target, parts", [
    ("http://a", ("a", "/")),
    ("http://a?b", ("a", "/?b")),
    ("http://a:80/b?c", ("a:80", "/b?c")),
    ("x+y-z.1://[::1]/", ("[::1]", "/")),
])
def test_absolute_form(target, parts):
    assert grammar.absolute(target) == parts


@pytest.mark.parametrize("target",
                         ["a", "://a", "http:/a", "http://", "http://:80", "http://a:b", "1a://b", "http://a b",
                          "http://u@a"])
def test_what_is_no_absolute_form(target):
    refused(400, grammar.absolute, target)


@pytest.mark.parametrize("line, parts", [
    ("HTTP/1.1 200 OK", (200, "OK", "1.1")),
    ("HTTP/1.0 404 Not  Found ", (404, "Not  Found ", "1.0")),
    ("HTTP/1.5 999 ", (999, "", "1.1")),
    ("HTTP/1.1 100", (100, "", "1.1")),
    ("HTTP/1.1 099 x", None), ("HTTP/1.1 20 OK", None), ("HTTP/1.1 200OK", None), ("HTTP/2.0 200 OK", None),
    ("HTTP/0.9 200 OK", None), ("http/1.1 200 OK", None), ("HTTP/1.1\t200 OK", None), ("HTTP/1.1 200 \x7f", None),
    ("", None),
])
def test_status_line(line, parts):
    assert grammar.status_line(line) == parts


# fields

@pytest.mark.parametrize("line, pair", [
    ("Name: value", ("name", "value")),
    ("NAME:value", ("name", "value")),
    ("a: \t v w\t ", ("a", "v w")),
    ("a:", ("a", "")),
    ("a: \xa0\x85", ("a", "\xa0\x85")),
    ("a:b:c", ("a", "b:c")),
    ("a_b: c", ("a_b", "c")),
])
def test_field(line, pair):
    assert grammar.field(line) == pair


@pytest.mark.parametrize("line",
                         ["", "a", ":", ": b", "a : b", "a\t: b", " a: b", "a b: c", "\xe9: b", "a: \x00", "a: \r",
                          "a: b\nc: d", "a\n: b",
                                  "a: \u0100"])
def test_what_is_no_field(line):
    refused(400, grammar.field, line)


def test_a_value_that_is_refused_is_not_repeated_in_the_reason():
    assert "secret" not in refused(400, grammar.field, "authorization: secret\x00").reason


# Host

@pytest.mark.parametrize("text",
                         ["", "a", "a.b-c_d~e", "a:", "a:0", "a:65535", "a%20b", "1.2.3.4", "[::]", "[::1]:80",
                          "[v7.x:y]", ":80"])
def test_valid_host(text):
    assert grammar.valid_host(text)


@pytest.mark.parametrize("text",
                         ["a:65536", "a:000080", "a:+1", "a:1a", "a:\u0661", "[::1", "[]", "[g::]", "[v.x]", "[vg.x]",
                          "[::1]a", "a,b", "a%",
                                  "a%1", "a\n", "\xe9", "a@b", "a/", "a[", "a:1:2", " a"])
def test_invalid_host(text):
    assert not grammar.valid_host(text)


def test_ipv6_is_what_the_standard_library_says():
    rng = seeds.rng(6)
    texts = ["::", "::1", "1::", "1:2:3:4:5:6:7:8", "1::8", "::1.2.3.4", "1:2:3:4:5:6:1.2.3.4", ":::", "1:::2", ":1",
             "1:", "::1.2.3", "1.2.3.4",
             "1.2.3.4::", "::1.2.3.4:5", "1::2::3", "", ":", "12345::", "::g", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7",
             "1:2:3:4:5:6:7::",
             "::2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "::00001"]
    texts += ["".join(rng.choice("1af:::.") for _ in range(rng.randrange(1, 14))) for _ in range(3000)]
    found = 0
    for text in texts:
        try:
            ipaddress.IPv6Address(text)
            valid = True
        except ValueError:
            valid = False
        found += valid
        assert grammar.is_ipv6(text) is valid, text
    assert found > 20


@pytest.mark.parametrize("text", ["::256.0.0.1", "::1.2.3.04", "::1.2.3.4.5", "::1.2.3.x", "fe80::1%eth0", "::\u0661"])
def test_what_is_no_ipv6(text):
    assert not grammar.is_ipv6(text)


def test_tokens():
    assert grammar.tokens("") == []
    assert grammar.tokens(" ,\t, ") == []
    assert grammar.tokens("Close, KEEP-alive\t,x y") == ["close", "keep-alive", "x y"]
    assert grammar.tokens("\xa0close") == ["\xa0close"]


def test_patterns_name_their_characters():
    with open(grammar.__file__.replace(".pyc", ".py"), encoding="utf-8") as file:
        source = file.read().partition('"""')[2].partition('"""')[2]
    assert not re.search(r"\\[dwsDWS]", source)
    assert ".strip()" not in source and ".isdigit()" not in source and "splitlines" not in source
