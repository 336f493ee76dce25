"""Cookies: Set-Cookie written strictly and read forgivingly, dates in any shape, and a jar that keeps hosts apart."""
import random

import pytest

from icey.http import URL, Cookie, CookieJar, Headers
from icey.http.client import cookiejar
from icey.http.client.cookiejar import MOST, MOST_PER_DOMAIN, default_path, domain_match, path_match
from icey.http.semantics.cookiepairs import parse_cookies
from icey.http.semantics.cookies import LARGEST
from icey.http.semantics.dates import parse_cookie_date
from icey.http.semantics.message import Request
from tests.support import needs, seeds

NOW = 1_800_000_000
THEN = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


def jar_of(*steps):
    """A jar after (url, Set-Cookie value) steps."""
    jar = CookieJar(Clock())
    for url, value in steps:
        jar.store(url, [value])
    return jar


# -- writing Set-Cookie

@pytest.mark.parametrize("cookie, text", [
    (Cookie("a", "b"), "a=b"),
    (Cookie("a", ""), "a="),
    (Cookie("a", '"b"'), 'a="b"'),
    (Cookie("a", "b=c!#$%&'()*+-./:<>?@[]^_`{|}~"), "a=b=c!#$%&'()*+-./:<>?@[]^_`{|}~"),
    (Cookie("!#$%&'*+-.^_`|~", "b"), "!#$%&'*+-.^_`|~=b"),
    (Cookie("a", "b", domain="example.com", path="/x y"), "a=b; Domain=example.com; Path=/x y"),
    (Cookie("a", "b", domain=".example.com"), "a=b; Domain=.example.com"),
    (Cookie("a", "b", expires=THEN), "a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT"),
    (Cookie("a", "b", expires=THEN + 0.9), "a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT"),
    (Cookie("a", "b", expires=0), "a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
    (Cookie("a", "b", max_age=3600), "a=b; Max-Age=3600"),
    (Cookie("a", "b", max_age=0), "a=b; Max-Age=0"),
    (Cookie("a", "b", secure=True, http_only=True), "a=b; Secure; HttpOnly"),
    (Cookie("a", "b", same_site="Lax"), "a=b; SameSite=Lax"),
    (Cookie("a", "b", same_site="strict"), "a=b; SameSite=Strict"),
    (Cookie("a", "b", same_site="None", secure=True), "a=b; Secure; SameSite=None"),
    (Cookie("__Secure-a", "b", secure=True), "__Secure-a=b; Secure"),
    (Cookie("__Host-a", "b", secure=True, path="/"), "__Host-a=b; Path=/; Secure"),
    (Cookie("a", "x" * (LARGEST - 1)), "a=" + "x" * (LARGEST - 1)),
])
def test_a_cookie_as_a_header(cookie, text):
    assert cookie.header() == text
    assert Headers([("Set-Cookie", text)])["set-cookie"] == text
    again = Cookie.parse(text)
    for field in ("name", "value", "path", "max_age", "secure", "http_only"):
        assert getattr(again, field) == getattr(cookie, field), field
    assert again.header() == text.replace("Domain=.", "Domain=")


@pytest.mark.parametrize("name", ["", "a b", "a=", "a;", "a,", 'a"', "a\r\nX: y", "\xe9", "a\x00", "[", "a\t"])
def test_a_name_is_a_token(name):
    with pytest.raises(ValueError, match="token"):
        Cookie(name, "b").header()


@pytest.mark.parametrize("value", [
    " ", "a b", "a;b", "a,b", "a\\b", 'a"b', '"', '"a', 'a"', '""a', "a\r\nX: y", "a\n", "\x00", "\x7f", "\x1f", "\t", "\xe9",
    "\u20ac", '"a b"', '"a;b"',
])
def test_a_value_has_no_separators_and_no_error_tells_it(value):
    with pytest.raises(ValueError, match="value of cookie sid") as caught:
        Cookie("sid", "secret" + value if value[0] != '"' else value).header()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("what, match", [
    ({"domain": ""}, "domain"), ({"domain": "a b"}, "domain"), ({"domain": "a;b"}, "domain"), ({"domain": "a\r\n"}, "domain"),
    ({"domain": "\xe9.de"}, "domain"), ({"path": ""}, "path"), ({"path": "a"}, "path"), ({"path": "/a;b"}, "path"),
    ({"path": "/\n"}, "path"), ({"path": "/\xe9"}, "path"), ({"same_site": "lazy"}, "same_site"),
    ({"same_site": ""}, "same_site"),
    ({"same_site": "None"}, "secure"), ({"expires": 1e300}, "seconds since"), ({"expires": float("nan")}, "seconds since"),
])
def test_attributes_are_checked(what, match):
    with pytest.raises(ValueError, match=match):
        Cookie("a", "b", **what).header()


@pytest.mark.parametrize("name, what", [
    ("__Secure-a", {}), ("__secure-a", {}), ("__Host-a", {"path": "/"}), ("__Host-a", {"secure": True}),
    ("__Host-a", {"secure": True, "path": "/b"}), ("__HOST-a", {"secure": True, "path": "/", "domain": "example.com"}),
])
def test_a_prefix_is_a_promise(name, what):
    with pytest.raises(ValueError, match="by its name"):
        Cookie(name, "b", **what).header()


def test_a_cookie_too_large_for_browsers():
    with pytest.raises(ValueError, match="4096"):
        Cookie("a", "x" * LARGEST).header()


def test_no_value_in_a_repr():
    cookie = Cookie("sid", "secret", domain="a.example", path="/b")
    assert repr(cookie) == "<Cookie sid for a.example/b>" and repr(Cookie("sid", "secret")) == "<Cookie sid for its host>"
    assert repr(jar_of(("http://a/", "sid=secret"))) == "<CookieJar of 1>"


# -- reading Set-Cookie

@pytest.mark.parametrize("text, name, value", [
    ("a=b", "a", "b"), (" a = b ", "a", "b"), ("\ta\t=\tb\t", "a", "b"), ("a=", "a", ""), ("a=b=c", "a", "b=c"),
    ('a="b c"', "a", '"b c"'), ("a b=c d", "a b", "c d"), ("a=b,c", "a", "b,c"), ("a=\xe9", "a", "\xe9"), ("a=b;", "a", "b"),
    ("a=b;;", "a", "b"), ("a=b; ; x", "a", "b"), ("a\tb=c\td", "a\tb", "c\td"), ("path=/; path=/b", "path", "/"),
    ("a=\xa0b\xa0", "a", "\xa0b\xa0"),
])
def test_the_pair(text, name, value):
    cookie = Cookie.parse(text)
    assert (cookie.name, cookie.value) == (name, value)


@pytest.mark.parametrize("text", ["", ";", "a", "a; b=c", "=b", " =b", "=", "; a=b", "a=b\x00", "a\x01=b", "a=b; path=/\x7f",
                                  "a=b\r\nc=d", "a=b\n", "a=\u20ac"])
def test_what_sets_no_cookie(text):
    assert Cookie.parse(text) is None


@pytest.mark.parametrize("text, field, value", [
    ("", "domain", None), ("; Domain=Example.COM", "domain", "example.com"), ("; domain=.a.b", "domain", "a.b"),
    ("; domain=..a.b", "domain", ".a.b"), ("; domain=", "domain", None), ("; domain", "domain", None),
    ("; domain=.", "domain", None),
    ("; domain=a.b; domain=", "domain", "a.b"), ("; domain=a.b; domain=c.d", "domain", "c.d"),
    ("; domain = a.b ", "domain", "a.b"),
    ("; Path=/b", "path", "/b"), (";PATH=/b/", "path", "/b/"), ("; path=b", "path", None), ("; path=", "path", None),
    ("; path", "path", None), ("; path=/b; path=c", "path", None), ("; path=c; path=/b", "path", "/b"),
    ('; path="/b"', "path", None),
    ("; path=/%s" % ("x" * 1023), "path", "/" + "x" * 1023), ("; path=/%s" % ("x" * 1024), "path", None),
    ("; Max-Age=5", "max_age", 5), ("; max-age=-1", "max_age", -1), ("; max-age=0", "max_age", 0),
    ("; max-age=007", "max_age", 7),
    ("; max-age=", "max_age", None), ("; max-age=-", "max_age", None), ("; max-age=+5", "max_age", None),
    ("; max-age=5.0", "max_age", None),
    ("; max-age=5s", "max_age", None), ("; max-age=1_0", "max_age", None), ('; max-age="5"', "max_age", None),
    ("; max-age=" + "9" * 1000, "max_age", 999_999_999_999), ("; max-age=" + "0" * 900 + "7", "max_age", 7),
    ("; max-age=5; max-age=x", "max_age", 5), ("; max-age=-" + "9" * 1000, "max_age", -999_999_999_999),
    ("; Expires=Sun, 06 Nov 1994 08:49:37 GMT", "expires", THEN), ("; expires=never", "expires", None),
    ("; secure", "secure", True), ("; Secure=no", "secure", True), ("; insecure", "secure", False), ("", "secure", False),
    ("; HttpOnly", "http_only", True), ("; httponly=x", "http_only", True), ("", "http_only", False),
    ("; SameSite=Lax", "same_site", "Lax"), ("; samesite=STRICT", "same_site", "Strict"),
    ("; samesite=none", "same_site", "None"),
    ("; samesite=x", "same_site", None), ("; samesite", "same_site", None), ("; samesite=lax; samesite=x", "same_site", None),
])
def test_attributes(text, field, value):
    assert getattr(Cookie.parse("a=b" + text), field) == value


# -- dates (section 5.1.1)

@pytest.mark.parametrize("text", [
    "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "6 nov 1994 8:49:37",
    "08:49:37 6 November 1994", "1994 6 NOVEMBER 08:49:37", "nov 6 94 08:49:37", "Sun, 06-Nov-1994 08:49:37 UTC+2",
    "6th november 1994xyz 8:49:37am", "\tSun,,06;;Nov(1994)08:49:37", "06 Nov 1994 08:49:37 07 Dec 1995 09:50:38",
    "Sun 06 Nov 94 08:49:37 -0800", "x 06 Nov 1994 08:49:37", "1994 06 nov 08:49:37", "08:49:37x.y 06 nov 1994",
    "06 Novel 1994 08:49:37",
])
def test_a_date_in_any_order(text):
    assert parse_cookie_date(text) == THEN


@pytest.mark.parametrize("text, seconds", [
    ("1 jan 70 0:0:0", 0), ("1 jan 1970 00:00:01", 1), ("1 jan 00 0:0:0", 946684800), ("31 dec 69 23:59:59", 3155759999),
    ("1 jan 1601 0:0:0", -11644473600), ("29 feb 2000 12:00:00", 951825600), ("31 dec 9999 23:59:59", 253402300799),
    ("1 jan 99 0:0:0", 915148800), ("1 jan 070 0:0:0", 0), ("12:34:56 1 jan 1970", 45296),
])
def test_dates(text, seconds):
    assert parse_cookie_date(text) == seconds


@pytest.mark.parametrize("text", [
    "", "x", "06 Nov 1994", "06 Nov 08:49:37", "06 1994 08:49:37", "Nov 1994 08:49:37", "06 Nov 1994 08:49",
    "06 Nov 1994 24:00:00",
    "06 Nov 1994 08:60:00", "06 Nov 1994 08:49:60", "06 Nov 1994 008:49:37", "06 Nov 1994 08:49:371", "00 Nov 1994 08:49:37",
    "32 Jan 1994 08:49:37", "31 Nov 1994 08:49:37", "29 Feb 1900 08:49:37", "29 Feb 2023 08:49:37", "06 Nov 1600 08:49:37",
    "06 Nov 19945 08:49:37", "006 Nov 1994 08:49:37", "06 No 1994 08:49:37", "06 Nov 4 08:49:37",
    "\u0660\u0666 Nov 1994 08:49:37",
    "06-11-1994 08:49:37", "08:49:37.123 06 nov 1994", "06 Nov 100 08:49:37",
])
def test_what_is_no_date(text):
    assert parse_cookie_date(text) is None


# -- reading Cookie

@pytest.mark.parametrize("text, pairs", [
    ("", []), ("a=b", [("a", "b")]), ("a=b; c=d", [("a", "b"), ("c", "d")]), ("a=b;c=d", [("a", "b"), ("c", "d")]),
    (" a = b ;\tc=d ", [("a", "b"), ("c", "d")]), ("a=b; a=c", [("a", "b"), ("a", "c")]), ("a=", [("a", "")]),
    ("a=b=c", [("a", "b=c")]),
    ('a="b"', [("a", '"b"')]), ("a", []), ("=b", []), (";;", []), ("a; b=c; =d", [("b", "c")]), ("a=b c", [("a", "b c")]),
    ("a=\xe9", [("a", "\xe9")]), ("$Version=1; a=b", [("$Version", "1"), ("a", "b")]), ("a=b,c=d", [("a", "b,c=d")]),
])
def test_cookies_of_a_request(text, pairs):
    assert parse_cookies(text) == pairs
    found = {}
    for name, value in pairs:
        found.setdefault(name, value)
    assert Request("GET", "/", "1.1", {"host": "a", "cookie": text}).cookies == found


def test_a_request_without_and_with_several_cookie_fields():
    assert Request("GET", "/", "1.1", {"host": "a"}).cookies == {}
    split = Request("GET", "/", "1.1", [("host", "a"), ("cookie", "a=b; c=d"), ("cookie", "a=e"), ("cookie", "f=g")])
    assert split.cookies == {"a": "b", "c": "d", "f": "g"}


# -- what matches what

@pytest.mark.parametrize("host, domain, matches", [
    ("a.b", "a.b", True), ("x.a.b", "a.b", True), ("y.x.a.b", "a.b", True), ("xa.b", "a.b", False), ("b", "a.b", False),
    ("a.b", "x.a.b", False),
    ("1.2.3.4", "1.2.3.4", True), ("1.2.3.4", "3.4", False), ("1.2.3.4", "2.3.4", False), ("::1", "::1", True),
    ("::ffff:1.2.3.4", "2.3.4", False),
    ("a.b.", "a.b.", True), ("x.a.b.", "a.b.", True), ("x.a.b.", "a.b", False), ("localhost", "localhost", True),
])
def test_domain_match(host, domain, matches):
    assert domain_match(host, domain) is matches


@pytest.mark.parametrize("path, cookie_path, matches", [
    ("/", "/", True), ("/a", "/", True), ("/a", "/a", True), ("/a/", "/a", True), ("/a/b", "/a", True), ("/a/b", "/a/", True),
    ("/ab", "/a", False),
    ("/a", "/a/", False), ("/", "/a", False), ("/A", "/a", False), ("/a%2fb", "/a", False), ("/a//b", "/a/", True),
])
def test_path_match(path, cookie_path, matches):
    assert path_match(path, cookie_path) is matches


@pytest.mark.parametrize("path, folder",
[("/", "/"), ("/a", "/"), ("/a/", "/a"), ("/a/b", "/a"), ("/a/b/c", "/a/b"), ("//a", "/")])
def test_default_path(path, folder):
    assert default_path(path) == folder


# -- the jar

@pytest.mark.parametrize("setter, value, url, sent", [
    ("http://a.example/", "x=1", "http://a.example/", "x=1"),
    ("http://a.example/", "x=1", "http://A.EXAMPLE:8080/b?c#d", "x=1"),  # ports do not separate (section 8.5)
    ("http://a.example/", "x=1", "https://a.example/", "x=1"),
    ("http://a.example/", "x=1", "ws://a.example/", "x=1"),
    ("http://a.example/", "x=1", "http://b.a.example/", ""),  # host-only
    ("http://a.example/", "x=1", "http://example/", ""),
    ("http://a.example/", "x=1; domain=a.example", "http://b.a.example/", "x=1"),
    ("http://b.a.example/", "x=1; domain=.a.example", "http://a.example/", "x=1"),
    ("http://b.a.example/", "x=1; domain=A.Example", "http://c.a.example/", "x=1"),
    ("http://b.a.example/", "x=1; domain=c.a.example", "http://c.a.example/", ""),
    ("http://a.example/", "x=1; domain=b.a.example", "http://b.a.example/", ""),
    ("http://a.example/", "x=1; domain=other.example", "http://other.example/", ""),
    ("http://xa.example/", "x=1; domain=a.example", "http://a.example/", ""),
    ("http://a.example/", "x=1; domain=", "http://a.example/", "x=1"),
    # bare labels
    ("http://a.com/", "x=1; domain=com", "http://a.com/", ""),
    ("http://a.com/", "x=1; domain=com", "http://b.com/", ""),
    ("http://a.com/", "x=1; domain=.com", "http://a.com/", ""),
    ("http://a.com./", "x=1; domain=com.", "http://b.com./", ""),
    ("http://a.com./", "x=1; domain=a.com.", "http://b.a.com./", "x=1"),
    ("http://localhost/", "x=1; domain=localhost", "http://localhost/", "x=1"),
    ("http://localhost/", "x=1; domain=localhost", "http://a.localhost/", ""),
    ("http://com/", "x=1; domain=com", "http://a.com/", ""),
    # addresses
    ("http://127.0.0.1/", "x=1", "http://127.0.0.1/", "x=1"),
    ("http://127.0.0.1/", "x=1; domain=127.0.0.1", "http://127.0.0.1/", "x=1"),
    ("http://127.0.0.1/", "x=1; domain=0.0.1", "http://127.0.0.1/", ""),
    ("http://127.0.0.1/", "x=1; domain=0.0.1", "http://126.0.0.1/", ""),
    ("http://[::1]/", "x=1", "http://[::1]:81/", "x=1"),
    ("http://[::1]/", "x=1; domain=[::1]", "http://[::1]/", ""),
    # paths
    ("http://a/b/c", "x=1", "http://a/b/d", "x=1"),
    ("http://a/b/c", "x=1", "http://a/", ""),
    ("http://a/b/c", "x=1; path=/", "http://a/", "x=1"),
    ("http://a/b/c", "x=1; path=/e", "http://a/e/f", "x=1"),  # any path may be set (section 8.6)
    ("http://a/b/c", "x=1; path=/e", "http://a/ef", ""),
    ("http://a/b/c?/d/e", "x=1; path=nonsense", "http://a/b", "x=1"),
    # Secure
    ("https://a/", "x=1; secure", "https://a/", "x=1"),
    ("https://a/", "x=1; secure", "wss://a/", "x=1"),
    ("https://a/", "x=1; secure", "http://a/", ""),
    ("http://a/", "x=1; secure", "https://a/", ""),
    ("http://a/", "x=1; httponly; samesite=strict", "http://a/", "x=1"),
    # prefixes
    ("https://a/", "__Secure-x=1; secure", "https://a/", "__Secure-x=1"),
    ("https://a/", "__Secure-x=1", "https://a/", ""),
    ("https://a/", "__secure-x=1", "https://a/", ""),
    ("http://a/", "__Secure-x=1; secure", "https://a/", ""),
    ("https://a/", "__Host-x=1; secure; path=/", "https://a/b", "__Host-x=1"),
    ("https://a/", "__Host-x=1; secure", "https://a/", ""),
    ("https://a/", "__Host-x=1; path=/", "https://a/", ""),
    ("https://a/", "__Host-x=1; secure; path=/b", "https://a/b", ""),
    ("https://a.b/", "__HOST-x=1; secure; path=/; domain=a.b", "https://a.b/", ""),
    # expiry
    ("http://a/", "x=1; max-age=1", "http://a/", "x=1"),
    ("http://a/", "x=1; max-age=0", "http://a/", ""),
    ("http://a/", "x=1; max-age=-1", "http://a/", ""),
    ("http://a/", "x=1; expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://a/", ""),
    ("http://a/", "x=1; expires=Sun, 06 Nov 2094 08:49:37 GMT", "http://a/", "x=1"),
    ("http://a/", "x=1; expires=Thu, 01 Jan 1970 00:00:00 GMT; max-age=1", "http://a/", "x=1"),
    ("http://a/", "x=1; max-age=0; expires=Sun, 06 Nov 2094 08:49:37 GMT", "http://a/", ""),
    ("http://a/", "x=1; expires=never", "http://a/", "x=1"),
    # odd ones
    ("http://a/", "nonsense", "http://a/", ""),
    ("http://a/", "x=" + "1" * (LARGEST - 1), "http://a/", "x=" + "1" * (LARGEST - 1)),
    ("http://a/", "x=" + "1" * LARGEST, "http://a/", ""),
    ("http://b\xfccher.example/", "x=1; domain=xn--bcher-kva.example", "http://xn--bcher-kva.example/", "x=1"),
    ("http://b\xfccher.example/", "x=1; domain=b\xfccher.example", "http://b\xfccher.example/", ""),
])
def test_who_gets_what(setter, value, url, sent):
    if not setter.isascii():
        needs("idna")
    jar = jar_of((setter, value))
    assert jar.header(url) == jar.header(URL.parse(url)) == sent


def test_longer_paths_come_first_then_older_ones():
    jar = jar_of(("http://x.y/", "a=1"), ("http://x.y/", "b=2; path=/p/q"), ("http://x.y/", "c=3; path=/p; domain=x.y"),
                 ("http://x.y/", "d=4; path=/p"), ("http://x.y/", "a=5; domain=x.y"))
    assert jar.header("http://x.y/p/q/r") == "b=2; c=3; d=4; a=1; a=5"
    jar.store("http://x.y/", ["a=6"])  # replaced, at its old place
    assert jar.header("http://x.y/p/q/r") == "b=2; c=3; d=4; a=6; a=5"


def test_one_cookie_for_a_name_a_domain_and_a_path():
    jar = jar_of(("http://a.b/c/d", "x=1"), ("http://a.b/c/d", "x=2"), ("http://a.b/c/d", "x=3; path=/c"))
    assert [cookie.value for cookie in jar] == ["3"]
    jar.store("http://a.b/", ["x=4; path=/c; domain=a.b"])
    assert sorted(cookie.value for cookie in jar) == ["3", "4"] and len(jar) == 2
    jar.store("http://a.b/", ["X=5; path=/c"])
    assert len(jar) == 3


def test_a_cookie_is_deleted_by_one_that_has_expired():
    jar = jar_of(("http://a/", "x=1"), ("http://a/", "y=2"), ("http://a/", "x=; max-age=0"))
    assert jar.header("http://a/") == "y=2" and len(jar) == 1


def test_several_in_one_answer():
    jar = CookieJar(Clock())
    headers = Headers([("Set-Cookie", "a=1"), ("X", "y"), ("Set-Cookie", "b=2; expires=Sun, 06 Nov 2094 08:49:37 GMT"),
    ("Set-Cookie", "=")])
    jar.store("http://a/", headers.get_all("set-cookie"))
    assert jar.header("http://a/") == "a=1; b=2"
    with pytest.raises(TypeError, match="get_all"):
        jar.store("http://a/", "a=1")


def test_time_passes():
    clock = Clock()
    jar = CookieJar(clock)
    jar.store("http://a/", ["x=1; max-age=10", "y=2; expires=Fri, 15 Jan 2027 08:00:05 GMT", "z=3"])
    assert jar.header("http://a/") == "x=1; y=2; z=3" and len(jar) == 3
    clock.now += 5
    assert jar.header("http://a/") == "x=1; z=3" and len(jar) == 2
    clock.now += 5
    assert jar.header("http://a/") == "z=3" and [cookie.name for cookie in jar] == ["z"]


def test_what_is_iterated_has_domain_and_path():
    jar = jar_of(("https://a.b.c/d/e", "x=1"), ("https://a.b.c/d/e", "y=2; domain=b.c; path=/; secure; httponly; samesite=lax"))
    one, other = jar
    assert (one.domain, one.path, one.secure, one.same_site) == ("a.b.c", "/d", False, None)
    assert (other.domain, other.path, other.secure, other.http_only, other.same_site) == ("b.c", "/", True, True, "Lax")


def test_clear():
    jar = jar_of(("http://a/", "x=1"), ("http://b/", "x=1"))
    jar.clear()
    assert len(jar) == 0 and list(jar) == [] and jar.header("http://a/") == ""
    jar.store("http://a/", ["x=2"])
    assert jar.header("http://a/") == "x=2"


@pytest.mark.parametrize("secure_one, plain_one, taken", [
    (("https://a.b/", "x=1; secure"), ("http://a.b/", "x=2"), False),
    (("https://a.b/", "x=1; secure; domain=a.b"), ("http://c.a.b/", "x=2"), False),
    (("https://c.a.b/", "x=1; secure"), ("http://d.a.b/", "x=2; domain=a.b"), False),
    (("https://a.b/", "x=1; secure; path=/p"), ("http://a.b/", "x=2; path=/p/q"), False),
    (("https://a.b/", "x=1; secure; path=/p"), ("http://a.b/", "x=2; path=/"), True),
    (("https://a.b/", "x=1; secure"), ("http://a.b/", "y=2"), True),
    (("https://a.b/", "x=1; secure"), ("http://other.b/", "x=2"), True),
    (("https://a.b/", "x=1"), ("http://a.b/", "x=2"), True),
    (("https://a.b/", "x=1; secure"), ("https://a.b/", "x=2"), True),
])
def test_plain_http_cannot_shadow_what_is_secure(secure_one, plain_one, taken):
    jar = jar_of(secure_one, plain_one)
    assert ("2" in [cookie.value for cookie in jar]) is taken


def test_what_has_expired_shadows_nothing():
    clock = Clock()
    jar = CookieJar(clock)
    jar.store("https://a/", ["x=1; secure; max-age=5"])
    clock.now += 6
    jar.store("http://a/", ["x=2"])
    assert jar.header("https://a/") == "x=2"


def test_a_domain_has_so_many_the_least_used_goes():
    jar = CookieJar(Clock())
    jar.store("http://a/", ["c%d=%d; path=/%d" % (number, number, number) for number in range(MOST_PER_DOMAIN)])
    assert len(jar) == MOST_PER_DOMAIN
    assert jar.header("http://a/0") == "c0=0"  # used just now
    jar.store("http://a/", ["new=1; path=/"])
    assert len(jar) == MOST_PER_DOMAIN
    assert jar.header("http://a/0") == "c0=0; new=1" and jar.header("http://a/1") == "new=1"
    assert jar.header("http://a/2") == "c2=2; new=1"


def test_what_has_expired_goes_first_then_what_is_not_secure():
    clock = Clock()
    jar = CookieJar(clock)
    jar.store("https://a/", ["s%d=; secure" % number for number in range(MOST_PER_DOMAIN - 2)])
    jar.store("https://a/", ["plain=1", "brief=1; secure; max-age=5"])
    clock.now += 6
    jar.store("https://a/", ["one=1; secure"])
    assert {"one", "plain", "s0"} <= {cookie.name for cookie in jar} and len(jar) == MOST_PER_DOMAIN
    jar.store("https://a/", ["two=1; secure"])
    assert {"one", "two", "s0"} <= {cookie.name for cookie in jar} and "plain" not in {cookie.name for cookie in jar}
    jar.store("https://a/", ["three=1; secure"])
    assert "s0" not in {cookie.name for cookie in jar} and len(jar) == MOST_PER_DOMAIN


def test_all_are_so_many_the_least_used_goes():
    clock = Clock()
    jar = CookieJar(clock)
    jar.store("http://brief.example/", ["x=1; max-age=5"])
    for number in range(MOST // 10):
        jar.store("http://h%d.example/" % number, ["c%d=1" % index for index in range(10)])
    assert len(jar) == MOST and "x" not in [cookie.name for cookie in jar]  # the oldest of all
    jar.header("http://h0.example/")
    jar.store("http://brief.example/", ["y=1; max-age=5"])
    assert len(jar) == MOST and len(jar.header("http://h0.example/").split()) == 10
    assert len(jar.header("http://h1.example/").split()) == 9
    clock.now += 6
    jar.store("http://last.example/", ["z=1"])
    assert len(jar) == MOST and len(jar.header("http://h2.example/").split()) == 10


def test_a_jar_never_gives_away_nor_grows_beyond_its_bounds():
    """Random servers set random cookies: each goes only where a literal reading of section 5.4 lets it go."""
    seed = seeds.seed()
    rng = random.Random(seed)
    clock = Clock()
    jar = CookieJar(clock)
    hosts = ["a.b.c", "b.c", "c", "d.b.c", "xb.c", "1.2.3.4", "2.3.4.5", "[::1]"]
    paths = ["/", "/p", "/p/", "/p/q", "/pq", "/p/q/r"]
    for _ in range(seeds.rounds(500, 1500)):
        host, path = rng.choice(hosts), rng.choice(paths)
        url = "%s://%s%s" % (rng.choice(["http", "https"]), host, path)
        text = "%s=%s" % (rng.choice(["x", "y", "__Host-z", "__Secure-w"]), host)
        for attribute in ("domain=%s" % rng.choice(hosts), "path=%s" % rng.choice(paths), "secure",
        "max-age=%d" % rng.randrange(-2, 9)):
            text += "; " + attribute if rng.random() < 0.4 else ""
        jar.store(url, [text])
        clock.now += rng.randrange(2)
        asked = "%s://%s%s" % (rng.choice(["http", "https"]), rng.choice(hosts), rng.choice(paths))
        where = URL.parse(asked)
        for name, value in parse_cookies(jar.header(asked)):
            setter = value.strip("[]")
            common = "b.c" if setter.endswith("b.c") and setter != "xb.c" and where.host != setter else setter
            assert where.host == setter or where.host.endswith("." + common) or where.host == common, (seed, url, text, asked)
            assert where.secure or not name.startswith("__"), (seed, url, text, asked)
            assert name != "__Host-z" or where.host == setter, (seed, url, text, asked)
        assert len(jar) <= MOST
        assert Headers([("Cookie", jar.header(asked))])


@pytest.mark.parametrize("scheme, attributes", [("http", ""), ("https", "; secure"), ("http", "; max-age=9")])
def test_to_store_one_costs_the_same_however_many_hosts_have_some(monkeypatch, scheme, attributes):
    jar, looked = CookieJar(Clock()), []
    for number in range(MOST):
        jar.store("%s://h%d.example/" % (scheme, number), ["sid=1" + attributes])
    for name in ("domain_match", "path_match"):
        real = getattr(cookiejar, name)
        monkeypatch.setattr(cookiejar, name, lambda *args, real=real: looked.append(args) or real(*args))
    expired = cookiejar._Kept.expired
    monkeypatch.setattr(cookiejar._Kept, "expired", lambda self, now: looked.append(self) or expired(self, now))
    for number in range(100):
        jar.store("http://new%d.example/" % number, ["sid=1", "other=2"])
    monkeypatch.undo()
    assert len(looked) < 100 * 20 and len(jar) == MOST


def test_secure_ones_that_have_gone_shadow_nothing():
    jar = jar_of(("https://a.b/", "x=1; secure"), ("https://c.a.b/", "x=2; secure"), ("https://a.b/", "x=; max-age=0; secure"))
    jar.store("http://a.b/", ["x=3"])  # it would be sent to a.b alone, but c.a.b is in it
    assert jar.header("http://a.b/") == ""
    jar.store("https://c.a.b/", ["x=4"])  # Secure no more
    jar.store("http://a.b/", ["x=3"])
    assert jar.header("http://a.b/") == "x=3"
    jar.store("https://a.b/", ["y=1; secure"])
    jar.clear()
    jar.store("http://a.b/", ["y=2"])
    assert jar.header("http://a.b/") == "y=2"
