"""Media types, a part's Content-Disposition, and what is left of file names."""
import pytest

import icey
from icey.http.semantics.parameters import LONGEST_NAME, form_disposition, media_type, safe_name


@pytest.mark.parametrize("value, expected", [
    ("text/plain", ("text/plain", {})),
    ("TEXT/Plain", ("text/plain", {})),
    ("form-data", ("form-data", {})),
    ("text/plain;charset=utf-8", ("text/plain", {"charset": "utf-8"})),
    ("text/plain \t; \tCharset=UTF-8", ("text/plain", {"charset": "UTF-8"})),
    ("a/b;;; c=d;", ("a/b", {"c": "d"})),
    ('a/b; c="d e"; f=""', ("a/b", {"c": "d e", "f": ""})),
    ('a/b; c="d;e=f"', ("a/b", {"c": "d;e=f"})),
    (r'a/b; c="\"\\\x\""', ("a/b", {"c": '"\\\\x"'})),
    ("a/b; c=d; e=f ", ("a/b", {"c": "d", "e": "f"})),
    ('a/b; c="\xe4"', ("a/b", {"c": "\xe4"})),
])
def test_media_types(value, expected):
    assert media_type(value) == expected


@pytest.mark.parametrize("value", [
    "", " ", "/", "text/", "text/plain, text/html", "a/b c", "a/b; c", "a/b; c=", "a/b; c = d", 'a/b; c="d', 'a/b; c="d\\"',
    'a/b; c="d"e', "a/b; c=d e", "a/b; c=d/e", "a/b; =d", "a/b; c=d; C=e", 'a/b; c="d" "e"', "a/b;c=\xe4", "a/b/c",
])
def test_malformed_media_types(value):
    with pytest.raises(icey.BadRequest) as caught:
        media_type(value)
    assert caught.value.status == 400


@pytest.mark.parametrize("value, expected", [
    ('form-data; name="a"', ("a", None)),
    ("form-data; name=a", ("a", None)),
    ('Form-Data; NAME="a"', ("a", None)),
    ('form-data; name=""', ("", None)),
    ('form-data; name="a"; filename="b.txt"', ("a", "b.txt")),
    ('form-data; filename="b.txt"; name="a"', ("a", "b.txt")),
    ('form-data; name="a"; filename=""', ("a", "")),
    ('form-data; name="a"; filename=b.txt; other="x"', ("a", "b.txt")),
    ('form-data; name="a%22b%0D%0Ac%0d"', ('a"b\r\nc\r', None)),
    ('form-data; name="100%25"', ("100%25", None)),
    (r'form-data; name="a\"b\\c"', ('a"b\\c', None)),
    (r'form-data; name="a"; filename="C:\dir\new.txt"', ("a", r"C:\dir\new.txt")),
    ('form-data; name="\xc3\xa4"; filename="\xe2\x82\xac.txt"', ("\xe4", "\u20ac.txt")),
    ('form-data; name="\xe4"', ("\ufffd", None)),
    ("form-data; name=a; filename*=UTF-8''%e2%82%ac%20rates", ("a", "\u20ac rates")),
    ("form-data; name=a; filename*=utf-8'en'a.txt", ("a", "a.txt")),
    ("form-data; name=a; filename=old; filename*=UTF-8''new", ("a", "new")),
    ("form-data; name=a; filename*=UTF-8''new; filename=old", ("a", "new")),
    ("form-data; name=a; filename*=ISO-8859-1''%e4", ("a", "\xe4")),
    ("form-data; name=a; filename*=UTF-8''%22%0d", ("a", '"\r')),
])
def test_dispositions(value, expected):
    assert form_disposition(value) == expected


@pytest.mark.parametrize("value", [
    "", "form-data", "form-data; filename=a", 'attachment; name="a"', "form-data; name",
    'form-data; name="a', "form-data name=a",
    'form-data; name="a"b"', "form-data; name=a; name=b", 'form-data; name="a"; filename="x"; filename="y"',
    "form-data; name*=UTF-8''a",
    "form-data; name=a; filename*=a", "form-data; name=a; filename*=UTF-8'a", "form-data; name=a; filename*=UTF-8''%4",
    "form-data; name=a; filename*=UTF-8''%ff", "form-data; name=a; filename*=utf-7''a", "form-data; name=a; filename*=''a",
    "form-data; name=a; filename*=UTF-8''a b", 'form-data; name=a; filename*=UTF-8\'\'"',
])
def test_malformed_dispositions(value):
    with pytest.raises(icey.BadRequest) as caught:
        form_disposition(value)
    assert caught.value.status == 400


@pytest.mark.parametrize("sent, safe", [
    ("photo.jpg", "photo.jpg"),
    ("", ""), (".", ""), ("..", ""), ("...", ""), ("/", ""), ("a/", ""), (" . ", ""),
    ("../../etc/passwd", "passwd"), ("/etc/passwd", "passwd"), (r"C:\dir\new.txt", "new.txt"),
    (r"..\..\x", "x"), (r"a/b\c", "c"),
    ("C:new.txt", "C_new.txt"), ("a:stream", "a_stream"), ('<a>"b"|c?*', "_a__b__c__"),
    ("a\0b\r\nc\x7f\x9f", "abc"), ("a\u202eb", "ab"), ("a\ud800b", "ab"),
    (".htaccess", "htaccess"), ("a. ", "a"), (" a ", "a"), ("a b.txt", "a b.txt"),
    ("con", "_con"), ("NUL.txt", "_NUL.txt"), ("Com1.tar.gz", "_Com1.tar.gz"), ("console", "console"), ("com10", "com10"),
    ("\xe4\u20ac\U0001f600.txt", "\xe4\u20ac\U0001f600.txt"),
    ("x" * 255, "x" * 255), ("x" * 256, "x" * 255), ("x" * 300 + ".txt", "x" * 251 + ".txt"),
    ("\xe4" * 200 + ".txt", "\xe4" * 125 + ".txt"),
    ("x." + "y" * 300, "x." + "y" * 253), ("x" * 250 + " " * 9 + "y.txt", "x" * 250 + ".txt"),
])
def test_safe_names(sent, safe):
    assert safe_name(sent) == safe
    assert len(safe.encode()) <= LONGEST_NAME
    assert safe_name(safe) == safe
