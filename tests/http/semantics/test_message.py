"""Request and Response: what is computed of a head when asked."""
import pytest

from icey.http import Headers
from icey.http.semantics.message import Request, Response
from icey.http.semantics.status import REASONS


def request(target, method="GET", version="1.1", **fields):
    return Request(method, target, version, fields)


@pytest.mark.parametrize("target, path, query", [
    ("/", "/", ""),
    ("/a%20b/%C3%A9?c=%20&d?e", "/a b/\xe9", "c=%20&d?e"),
    ("/a?", "/a", ""),
    ("/?b", "/", "b"),
    ("//a/b", "//a/b", ""),
    ("/%2e%2E/%2f", "/..//", ""),
    ("/%3Fa?b", "/?a", "b"),
    ("/%", "/%", ""),
    ("/#a", "/#a", ""),
    ("http://a", "/", ""),
    ("http://a?b", "/", "b"),
    ("http://a:80/%41/b?c", "/A/b", "c"),
])
def test_path_is_decoded_and_query_raw(target, path, query):
    asked = request(target)
    assert (asked.path, asked.query, asked.target) == (path, query, target)


def test_params_are_the_query_decoded():
    params = request("/find?q=a+b&tag=%C3%A4&tag=2&Q=&last").params
    assert (params["q"], params.get("tag"), params.get_all("tag")) == ("a b", "\xe4", ["\xe4", "2"])
    assert (params.get("none"), params.get("none", 5), params.get_all("none")) == (None, 5, [])
    assert params.items() == [("q", "a b"), ("tag", "\xe4"), ("tag", "2"), ("Q", ""), ("last", "")]
    assert list(params) == ["q", "tag", "tag", "Q", "last"] and len(params) == 5
    assert "last" in params and "LAST" not in params
    with pytest.raises(KeyError):
        params["none"]
    assert repr(params).startswith("Params([('q', 'a b'), ")


@pytest.mark.parametrize("target", ["/", "/?", "*", "/?&&", "http://a"])
def test_without_a_query_there_are_no_params(target):
    assert len(request(target, "OPTIONS").params) == 0


def test_all_that_fits_a_target_is_among_the_params():
    assert len(request("/?" + "&".join("abcd" * 1000)).params) == 4000


def test_targets_that_are_no_paths_stay_as_they_are():
    assert request("*", "OPTIONS").path == "*" and request("*", "OPTIONS").query == ""
    assert request("a%41:80", "CONNECT").path == "a%41:80" and request("a:80", "CONNECT").query == ""


def test_host_is_of_the_target_then_of_the_field():
    assert request("/", host="a:80").host == "a:80"
    assert request("*", "OPTIONS", host="a").host == "a"
    assert request("http://b:1/x", host="a").host == "b:1"
    assert request("c:443", "CONNECT", host="a").host == "c:443"
    assert request("/", version="1.0").host == ""


def test_headers_are_made_once():
    asked = request("/", host="a")
    assert asked.headers is asked.headers
    assert asked.headers.items() == [("host", "a")]
    assert Request("GET", "/", "1.1", [("a", "1"), ("a", "2")]).headers.get_all("A") == ["1", "2"]


def test_bytes_that_are_no_utf_8_survive_in_a_path():
    assert request("/%ff").path.encode("utf-8", "surrogateescape") == b"/\xff"


def test_response():
    answer = Response(204, headers={"A": "b"})
    assert (answer.status, answer.reason, answer.version) == (204, "", "1.1")
    assert answer.headers["a"] == "b"
    headers = Headers()
    assert Response(headers=headers).headers is headers
    assert Response().status == 200 and len(Response().headers) == 0


def test_reprs():
    assert repr(request("/a")) == "<Request GET /a HTTP/1.1>"
    assert repr(Response(404)) == "<Response 404 Not Found>"
    assert repr(Response(404, "Gone fishing")) == "<Response 404 Gone fishing>"
    assert repr(Response(299)) == "<Response 299 >"


def test_reasons_are_text_of_known_statuses():
    assert REASONS[200] == "OK" and REASONS[431] == "Request Header Fields Too Large"
    assert all(100 <= status <= 599 and reason.isprintable() for status, reason in REASONS.items())
    for status in (400, 408, 413, 414, 417, 426, 431, 500, 501, 503, 505):
        assert status in REASONS
