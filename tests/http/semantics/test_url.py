"""Percent-coding; URLs parsed, refused, joined; and that none of them smuggles anything into a request's head."""
import copy
import itertools
import pickle
import random
import re
import urllib.parse

import pytest

from icey.http import URL
from icey.http.semantics.grammar import field, request_line, valid_host
from icey.http.semantics.percent import quote, unquote
from icey.http.semantics.url import resolve, without_dots
from tests.support import needs, seeds


@pytest.mark.parametrize("text, plain", [
    ("", ""), ("/a", "/a"), ("%41%42", "AB"), ("%c3%A9", "\xe9"), ("%E2%82%AC", "\u20ac"), ("%", "%"), ("%4", "%4"),
    ("%4g%41", "%4gA"),
    ("%%41", "%A"), ("a%", "a%"), ("%25%34%31", "%41"), ("+", "+"), ("%2B", "+"), ("%00", "\x00"),
    ("\xe9%41", "\xe9A"), ("%+1", "%+1"),
    ("% 1", "% 1"), ("%\u0661\u0661", "%\u0661\u0661"),
])
def test_unquote(text, plain):
    assert unquote(text) == plain


def test_what_is_no_utf_8_comes_as_surrogates():
    assert unquote("%ff%fe") == "\udcff\udcfe"
    assert quote(unquote("%FF%FE")) == "%FF%FE"
    assert unquote("\udcff%41") == "\udcffA"


def test_quote():
    assert quote("/a b/\xe9?#%") == "/a%20b/%C3%A9%3F%23%25"
    assert quote("/", safe="") == "%2F"
    assert quote("a=b&c", safe="=&") == "a=b&c"
    assert quote("azAZ09-._~") == "azAZ09-._~"


def test_as_the_standard_library():
    rng = seeds.rng(1)
    for _ in range(2000):
        text = "".join(rng.choice("%%%0189afAFgG/ \xe9\u20ac") for _ in range(rng.randrange(12)))
        assert unquote(text) == urllib.parse.unquote(text, errors="surrogateescape"), text
        assert quote(text) == urllib.parse.quote(text)
        assert unquote(quote(text)) == text


# -- URL: what is parsed

@pytest.mark.parametrize("text, scheme, host, port, target, fragment", [
    ("http://a", "http", "a", 80, "/", None),
    ("https://a", "https", "a", 443, "/", None),
    ("ws://a/chat", "ws", "a", 80, "/chat", None),
    ("wss://a/chat", "wss", "a", 443, "/chat", None),
    ("HTTP://EXAMPLE.Com/A", "http", "example.com", 80, "/A", None),
    ("http://a:8080", "http", "a", 8080, "/", None),
    ("http://a:", "http", "a", 80, "/", None),
    ("http://a:00080/", "http", "a", 80, "/", None),
    ("http://a:65535/", "http", "a", 65535, "/", None),
    ("http://a?b", "http", "a", 80, "/?b", None),
    ("http://a/?", "http", "a", 80, "/?", None),
    ("http://a/b?c?d/e", "http", "a", 80, "/b?c?d/e", None),
    ("http://a#b", "http", "a", 80, "/", "b"),
    ("http://a/b#", "http", "a", 80, "/b", ""),
    ("http://a/b#c#d?e", "http", "a", 80, "/b", "c%23d?e"),
    ("http://a//b/../c/.//", "http", "a", 80, "//b/../c/.//", None),
    ("http://a/%7e%C3%a9%2F", "http", "a", 80, "/%7e%C3%a9%2F", None),
    ("http://a/100%?%&%z", "http", "a", 80, "/100%?%&%z", None),
    ("http://a/a[]?b[]=1", "http", "a", 80, "/a[]?b[]=1", None),
    ("http://a/!$&'()*+,;=:@-._~", "http", "a", 80, "/!$&'()*+,;=:@-._~", None),
    ("http://127.0.0.1:1/", "http", "127.0.0.1", 1, "/", None),
    ("http://[::1]", "http", "::1", 80, "/", None),
    ("http://[2001:DB8::1]:8080/", "http", "2001:db8::1", 8080, "/", None),
    ("http://[::ffff:1.2.3.4]/", "http", "::ffff:1.2.3.4", 80, "/", None),
    ("http://a_b-c.d/", "http", "a_b-c.d", 80, "/", None),
    ("http://example.com./", "http", "example.com.", 80, "/", None),
    ("http://%41%2d%62.com/", "http", "a-b.com", 80, "/", None),
    ("http://1.2.3.4.example/", "http", "1.2.3.4.example", 80, "/", None),
    ("  http://a/b  ", "http", "a", 80, "/b", None),
    ("socks5://h:1080", "socks5", "h", 1080, "/", None),
    # put right, as browsers do
    ("http://a/b c?d e#f g", "http", "a", 80, "/b%20c?d%20e", "f%20g"),
    ("http://a/\xe9?\u20ac", "http", "a", 80, "/%C3%A9?%E2%82%AC", None),
    ("http://a/\U0001f600", "http", "a", 80, "/%F0%9F%98%80", None),
    ("http://a/\udcff", "http", "a", 80, "/%FF", None),
    ("http://a/\x80\xa0\u2028", "http", "a", 80, "/%C2%80%C2%A0%E2%80%A8", None),
    ('http://a/"<>\\^`{|}?"<>\\^`{|}', "http", "a", 80, "/%22%3C%3E%5C%5E%60%7B%7C%7D?%22%3C%3E%5C%5E%60%7B%7C%7D", None),
    ("http://b\xfccher.example/", "http", "xn--bcher-kva.example", 80, "/", None),
    ("http://B\xdcCHER.example/", "http", "xn--bcher-kva.example", 80, "/", None),
    ("http://b%C3%BCcher.example/", "http", "xn--bcher-kva.example", 80, "/", None),
    ("http://\u4f8b\u3048\u3002jp/", "http", "xn--r8jz45g.jp", 80, "/", None),
    ("http://\uff11.2.3.4/", "http", "1.2.3.4", 80, "/", None),
])
def test_parts(text, scheme, host, port, target, fragment):
    if not text.isascii() or "%C3" in text:
        needs("idna")
    url = URL.parse(text)
    assert (url.scheme, url.host, url.port, url.target, url.fragment) == (scheme, host, port, target, fragment)
    assert url.origin == (scheme, host, port) and url.address == (host, port)
    assert url.userinfo == "" and url.user is None and url.password is None
    assert url.secure is (scheme in ("https", "wss")) and url.tunnelled is (scheme != "http")
    assert URL.parse(str(url)) == url and URL.of(url) is url and URL.of(text) == url


def test_a_lone_question_mark_is_a_query():
    assert URL.parse("http://a/").query is None and URL.parse("http://a/?").query == ""
    assert URL.parse("http://a/") != URL.parse("http://a/?")


@pytest.mark.parametrize("text, authority", [
    ("http://a", "a"), ("http://a:80", "a"), ("http://a:443", "a:443"), ("https://a:443", "a"), ("wss://a:443", "a"),
    ("ws://a:81", "a:81"), ("http://[::1]", "[::1]"), ("http://[::1]:81", "[::1]:81"), ("http://u:p@a:81", "a:81"),
    ("ftp://a:21", "a:21"),
])
def test_authority_is_what_goes_into_host(text, authority):
    assert URL.parse(text).authority == authority


@pytest.mark.parametrize("text, user, password", [
    ("http://u:p@a", "u", "p"), ("http://u@a", "u", None), ("http://u:@a", "u", ""), ("http://:p@a", "", "p"),
    ("http://u:p:q@a", "u", "p:q"), ("http://%75%3A:p%40%2F@a", "u:", "p@/"), ("http://%C3%A9:%E2%82%AC@a", "\xe9", "\u20ac"),
    ("http://u:%FF@a", "u", "\udcff"), ("http://@a", None, None), ("http://u:!$&'()*+,;=-._~@a", "u", "!$&'()*+,;=-._~"),
])
def test_user_and_password(text, user, password):
    url = URL.parse(text)
    assert (url.user, url.password, url.host) == (user, password, "a")
    assert url.without_userinfo() == URL.parse("http://a/") and url.without_userinfo().userinfo == ""


def test_userinfo_is_in_str_and_nowhere_else():
    url = URL.parse("http://me:secret@a/b?c#d")
    assert str(url) == "http://me:secret@a/b?c#d"
    assert str(url.without_userinfo()) == "http://a/b?c#d"
    assert repr(url) == "URL.parse('http://...@a/b?c#d')"
    assert "secret" not in url.target + url.authority + repr(url.origin)
    plain = URL.parse("http://a/")
    assert plain.without_userinfo() is plain and repr(plain) == "URL.parse('http://a/')"


@pytest.mark.parametrize("text, what", [
    ("", "absolute"), ("a", "absolute"), ("/a", "absolute"), ("//a/b", "absolute"), ("http:", "absolute"),
    ("http:/a", "absolute"), ("mailto:a@b", "absolute"), ("javascript:alert(1)", "absolute"), ("1http://a", "absolute"),
    ("http//a", "absolute"), ("://a", "absolute"), ("h\xe9://a", "absolute"),
    ("http://", "host is missing"), ("http:///a", "host is missing"), ("http://:80", "host is missing"),
    ("http://u@/", "host is missing"), ("http://?a", "host is missing"),
    ("http://a:0", "port is 1 to"), ("http://a:65536", "port is 1 to"), ("http://a:99999", "port is 1 to"),
    ("http://a:123456", "maybe :port"), ("http://a:-1", "maybe :port"), ("http://a:+1", "maybe :port"),
    ("http://a: 80", "maybe :port"), ("http://a:8a", "maybe :port"), ("http://a:80:80", "maybe :port"),
    ("http://a:\u0661", "maybe :port"), ("http://::1", "maybe :port"), ("http://::1/", "maybe :port"),
    ("ftp://a", "no port of its own"), ("ftp://a:", "no port of its own"),
    ("http://[::1", "maybe :port"), ("http://::1]", "maybe :port"), ("http://[::1]x", "maybe :port"),
    ("http://x[::1]", "maybe :port"), ("http://[[::1]]", "maybe :port"), ("http://[::1]]", "maybe :port"),
    ("http://[]", "IPv6"), ("http://[::g]", "IPv6"), ("http://[1.2.3.4]", "IPv6"), ("http://[::1%251]", "IPv6"),
    ("http://[:::1]", "IPv6"), ("http://[fe80::1%eth0]", "IPv6"), ("http://[v1.a]", "IPv6"),
    ("http://a b/", "such characters"), ("http://a,b/", "such characters"), ("http://a\\b/", "such characters"),
    ("http://a|b/", "such characters"), ("http://a<b/", "such characters"), ('http://a"/', "such characters"),
    ("http://%/", "such characters"), ("http://a%2/", "such characters"), ("http://a%zz/", "such characters"),
    ("http://a%2541/", "such characters"), ("http://a%00b/", "such characters"), ("http://a%0d%0ab/", "such characters"),
    ("http://a%2fb/", "such characters"), ("http://a%3a80/", "such characters"), ("http://%5b::1%5d/", "maybe :port"),
    ("http://%5ba%5d/", "such characters"),
    ("http://a%20b/", "such characters"), ("http://\u2100.com/", "such characters"), ("http://\uff0f/", "such characters"),
    ("http://%ff/", "IDNA"), ("http://\ud800/", "IDNA"), ("http://\xe9..a/", "IDNA"), ("http://\u3002/", "IDNA"),
    ("http://\x80/", "IDNA"), ("http://\u202e/", "IDNA"),
    ("http://./", "1 to 63"), ("http://a..b/", "1 to 63"), ("http://.a/", "1 to 63"), ("http://a../", "1 to 63"),
    ("http://%s/" % ("a" * 64), "1 to 63"), ("http://%s/" % ("a." * 127), "253"), ("http://%s/" % ("\xe9" * 254), "253"),
    ("http://127.1", "IPv4"), ("http://1/", "IPv4"), ("http://2130706433/", "IPv4"), ("http://0x7f000001/", "IPv4"),
    ("http://0177.0.0.1", "IPv4"), ("http://1.2.3.256", "IPv4"), ("http://1.2.3.4.5", "IPv4"), ("http://1.2.3.4.", "IPv4"),
    ("http://01.2.3.4", "IPv4"), ("http://a.0x/", "IPv4"), ("http://a.1/", "IPv4"), ("http://\uff11\uff12/", "IPv4"),
    ("http://a@b@c/", "percent-encode"), ("http://a\\@b/", "percent-encode"), ("http://a b@c/", "percent-encode"),
    ("http://%@c/", "percent-encode"), ("http://\xe9@c/", "percent-encode"), ("http://[@c/", "percent-encode"),
    ("http://good.example\\@evil.example/", "percent-encode"), ("http://good.example:80\\@evil.example/", "percent-encode"),
    ("http://a/\ud800", "surrogate"),
])
def test_what_is_refused(text, what):
    if not text.isascii() and what != "IDNA":
        needs("idna")
    with pytest.raises(ValueError, match=what) as caught:
        URL.parse(text)
    assert type(caught.value) is ValueError and caught.value.__cause__ is None


@pytest.mark.parametrize("place", ["%shttp://a/", "ht%stp://a/", "http:%s//a/", "http://%sa/", "http://u:%sp@a/",
"http://a:8%s0/",
                                   "http://a/%s", "http://a/?%s", "http://a/#%s", "http://a/%s ", "http://[::%s1]/"])
def test_control_characters_are_refused_everywhere(place):
    for code in [*range(0x20), 0x7f]:
        with pytest.raises(ValueError, match="control characters"):
            URL.parse(place % chr(code))


@pytest.mark.parametrize("text", [
    "http://me:secret@a:x/", "http://me:sec/ret@a/", "http://me:se?secret@a/", "http://secret@",
    "http://secret@b@c d/", "me:secret@a", "//me:secret@a", "http:me:secret@a", "http://a/@secret@b:x\x00",
    "http://me:secret@[::1", "http://me:secret\r\n@a/", "ftp://me:secret@a/",
])
def test_no_error_tells_the_password(text):
    with pytest.raises(ValueError) as caught:
        URL.parse(text)
    assert "sec" not in str(caught.value) and "...@" in str(caught.value)
    with pytest.raises(ValueError) as caught:
        URL.parse("http://me:secret@a/").join("http://a:x/\n")
    assert "secret" not in str(caught.value)


def test_an_error_is_not_as_long_as_its_url():
    with pytest.raises(ValueError) as caught:
        URL.parse("x" * 100000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [None, b"http://a/", 5, ("a", 80)])
def test_what_is_no_text_is_no_url(value):
    with pytest.raises(TypeError, match="str"):
        URL.of(value)


def test_without_its_codec_a_foreign_host_is_refused(monkeypatch):
    monkeypatch.setattr("icey.http.semantics.url._IDNA", "no-such-codec")
    with pytest.raises(ValueError, match="xn--"):
        URL.parse("http://\xe9/")
    assert URL.parse("http://e/").host == "e"


def test_a_url_is_a_value():
    url = URL.parse("HTTP://A:80/b")
    assert url == URL.parse("http://a/b") and hash(url) == hash(URL.parse("http://a/b")) and url != "http://a/b"
    assert url != URL.parse("http://a/B") and len({url, URL.parse("http://a/b")}) == 1
    assert copy.deepcopy(url) == url == pickle.loads(pickle.dumps(url))
    for change in (lambda: setattr(url, "host", "b"), lambda: delattr(url, "host"), lambda: setattr(url, "other", 1)):
        with pytest.raises(AttributeError, match="immutable"):
            change()
    assert not hasattr(url, "__dict__")


@pytest.mark.parametrize("path, name", [
    ("/", ""), ("/a/", ""), ("/a", "a"), ("/a/b.txt", "b.txt"), ("/a/b.txt?c/d", "b.txt"), ("/b%20c", "b c"),
    ("/%C3%A9", "\xe9"),
    ("/..", ""), ("/.", ""), ("/...", ""), ("/%2e%2e", ""), ("/a/..%2f..%2fetc%2fpasswd", "passwd"), ("/a%5c..%5cb", "b"),
    ("/%2f", ""), ("/..%2f", ""), ("/a%00b", "ab"), ("/%00", ""), ("/.%00.", ""), ("/a%0d%0ab%7f", "ab"), ("/C:%5cx", "x"),
    ("/C:x", "C_x"), ("/a:b%3f*|%3c%3e%22", "a_b______"), ("/a.", "a"), ("/a.%20.", "a"), ("/%20a", "a"),
    ("/.profile", ".profile"),
    ("/CON", "_CON"), ("/nul.txt", "_nul.txt"), ("/com1.tar.gz", "_com1.tar.gz"), ("/console", "console"), ("/lpt", "lpt"),
    ("/gpj%E2%80%AEexe", "gpjexe"), ("/%ff", ""), ("/a%ffb", "ab"),
])
def test_a_file_name_is_safe(path, name):
    assert URL.parse("http://a" + path).filename == name


# -- joining

BASE = "http://a/b/c/d;p?q"
NORMAL = [  # RFC 3986 section 5.4.1
    ("g:h", "g:h"), ("g", "http://a/b/c/g"), ("./g", "http://a/b/c/g"), ("g/", "http://a/b/c/g/"), ("/g", "http://a/g"),
    ("//g", "http://g"), ("?y", "http://a/b/c/d;p?y"), ("g?y", "http://a/b/c/g?y"), ("#s", "http://a/b/c/d;p?q#s"),
    ("g#s", "http://a/b/c/g#s"), ("g?y#s", "http://a/b/c/g?y#s"), (";x", "http://a/b/c/;x"), ("g;x", "http://a/b/c/g;x"),
    ("g;x?y#s", "http://a/b/c/g;x?y#s"), ("", "http://a/b/c/d;p?q"), (".", "http://a/b/c/"), ("./", "http://a/b/c/"),
    ("..", "http://a/b/"), ("../", "http://a/b/"), ("../g", "http://a/b/g"), ("../..", "http://a/"), ("../../", "http://a/"),
    ("../../g", "http://a/g"),
]
ABNORMAL = [  # section 5.4.2
    ("../../../g", "http://a/g"), ("../../../../g", "http://a/g"), ("/./g", "http://a/g"), ("/../g", "http://a/g"),
    ("g.", "http://a/b/c/g."), (".g", "http://a/b/c/.g"), ("g..", "http://a/b/c/g.."), ("..g", "http://a/b/c/..g"),
    ("./../g", "http://a/b/g"), ("./g/.", "http://a/b/c/g/"), ("g/./h", "http://a/b/c/g/h"), ("g/../h", "http://a/b/c/h"),
    ("g;x=1/./y", "http://a/b/c/g;x=1/y"), ("g;x=1/../y", "http://a/b/c/y"), ("g?y/./x", "http://a/b/c/g?y/./x"),
    ("g?y/../x", "http://a/b/c/g?y/../x"), ("g#s/./x", "http://a/b/c/g#s/./x"), ("g#s/../x", "http://a/b/c/g#s/../x"),
    ("http:g", "http:g"),
]


@pytest.mark.parametrize("reference, result", NORMAL + ABNORMAL)
def test_the_examples_of_the_rfc(reference, result):
    assert resolve(BASE, reference) == result
    if result in ("g:h", "http:g"):
        with pytest.raises(ValueError, match="absolute"):
            URL.parse(BASE).join(reference)
    else:
        assert str(URL.parse(BASE).join(reference)) == str(URL.parse(result))


@pytest.mark.parametrize("base, reference, result", [
    ("http://a", "b", "http://a/b"), ("http://a?q", "b", "http://a/b"), ("http://a?q", "", "http://a/?q"),
    ("http://a?q", "?", "http://a/?"), ("http://a/b?q", "#", "http://a/b?q#"), ("http://a/b#f", "c", "http://a/c"),
    ("http://a/b#f", "", "http://a/b"), ("http://a/b/", "../..//c", "http://a//c"),
    ("http://a/b", "//c:81/d/../e", "http://c:81/e"),
    ("https://a/b", "//c", "https://c/"), ("https://a/b", "http://c/../d", "http://c/d"),
    ("https://a/b", "HTTP://C", "http://c/"),
    ("http://u:p@a/b", "/c", "http://u:p@a/c"), ("http://u:p@a/b", "//a/c", "http://a/c"),
    ("http://a/b", "./c:d", "http://a/c:d"),
    ("http://a/b", " /c d ", "http://a/c%20d"), ("http://a/b", "\xe9", "http://a/%C3%A9"),
    ("http://a/b", "/%2e%2e/c", "http://a/%2e%2e/c"),
    ("http://[::1]:8/b", "c?d", "http://[::1]:8/c?d"), ("http://a/b", "/\\c", "http://a/%5Cc"), ("http://a/b", "///c", None),
    ("http://a/b", "http:///c", None), ("http://a/b", "//", None), ("http://a/b", "c\n", None), ("http://a/b", "data:,x", None),
    ("http://a/b", "http:/.//evil/", None), ("http://a/b", "//b:x", None), ("http://a/b", "file:///etc/passwd", None),
])
def test_joining(base, reference, result):
    if result is None:
        with pytest.raises(ValueError):
            URL.parse(base).join(reference)
    else:
        assert str(URL.parse(base).join(reference)) == result


def remove_dot_segments(path):
    """RFC 3986 section 5.2.4, word for word."""
    out = ""
    while path:
        if path.startswith("../"):
            path = path[3:]
        elif path.startswith("./"):
            path = path[2:]
        elif path.startswith("/./"):
            path = path[2:]
        elif path == "/.":
            path = "/"
        elif path.startswith("/../"):
            path, out = path[3:], out[:max(out.rfind("/"), 0)]
        elif path == "/..":
            path, out = "/", out[:max(out.rfind("/"), 0)]
        elif path in (".", ".."):
            path = ""
        else:
            end = path.find("/", 1)
            end = len(path) if end < 0 else end
            out, path = out + path[:end], path[end:]
    return out


def test_dots_go_as_the_rfc_says():
    for length in range(8):
        for letters in itertools.product("./a", repeat=length):
            path = "/" + "".join(letters)
            assert without_dots(path) == remove_dot_segments(path), path
    assert without_dots("") == ""


def test_joining_is_as_the_standard_library_does_it():
    rng = seeds.rng(2)
    for _ in range(3000):
        reference = "".join(rng.choice(["/", ".", "..", "a", "b", "?", "#", "c=d"]) for _ in range(rng.randrange(8)))
        if reference.startswith("//") or "?#" in reference or reference.endswith(("?", "#")) or "//" in reference:
            continue  # it drops empty queries and fragments, and empty segments
        assert resolve(BASE, reference) == urllib.parse.urljoin(BASE, reference), reference


# -- nothing gets through

ALPHABET = ("http://", "https://", "//", "/", "?", "#", "@", ":", "[", "]", "::1", "a", "B", "1", ".", "..", "%", "%0d%0a",
"%41",
            "\r\n", "\r", "\n", "\x00", "\t", " ", "\x7f", "\x85", "\xa0", "\xe9", "\u2028", "\u560d", "\uff0f", "\uff20",
            "\u3002", "\ud800", "\udc0a", "\\", "|", "<", "HTTP/1.1", "Host: x", "80", "-", "_", "&", "=", "\ufe13", "\uff1a")


def test_no_text_smuggles_anything_into_a_head():
    seed = seeds.seed()
    rng = random.Random(seed)
    base = URL.parse("http://base.example/x/y?z")
    parsed = 0
    for _ in range(seeds.rounds(2000, 6000)):
        text = "".join(rng.choice(ALPHABET) for _ in range(rng.randrange(9)))
        text = rng.choice(["", "http://a", "http://a/", "http://"]) + text
        for make in (URL.parse, base.join):
            try:
                url = make(text)
            except ValueError as error:
                assert "\n" not in str(error) and "\r" not in str(error), (seed, text)
                continue
            parsed += 1
            assert re.fullmatch("/[\x21-\x7e]*", url.target) and "#" not in url.target, (seed, text)
            assert re.fullmatch("[a-z0-9:\\[\\].!$&'()*+;=_~-]+", url.authority), (seed, text)
            line = "GET %s HTTP/1.1" % url.target
            assert request_line(line, None) == ("GET", url.target, "1.1"), (seed, text)
            assert field("Host: " + url.authority) == ("host", url.authority) and valid_host(url.authority), (seed, text)
            assert 0 < url.port < 65536 and url.host, (seed, text)
            assert URL.parse(str(url)) == url and str(URL.parse(str(url))) == str(url), (seed, text)
            name = url.filename
            assert name not in (".", "..") and not re.search('[/\\\\:\x00-\x1f\x7f]', name), (seed, text)
            name.encode("utf-8")
    assert parsed > 300, seed
