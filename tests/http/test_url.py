"""Percent-coding."""
import random
import urllib.parse

import pytest

from icey.http.url import quote, unquote


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
    rng = random.Random(1)
    for _ in range(2000):
        text = "".join(rng.choice("%%%0189afAFgG/ \xe9\u20ac") for _ in range(rng.randrange(12)))
        assert unquote(text) == urllib.parse.unquote(text, errors="surrogateescape"), text
        assert quote(text) == urllib.parse.quote(text)
        assert unquote(quote(text)) == text
