"""Headers: ordered fields, compared without case; what is set is checked; what was received is shared until changed."""
import pytest

from icey.http import Headers
from icey.http.semantics.headers import has_any

PAIRS = [("Host", "a"), ("X", "1"), ("x", "2")]


def shared(**fields):
    return Headers.received(fields)


def test_made_of_pairs_a_mapping_or_others():
    assert Headers(PAIRS).items() == PAIRS
    assert Headers({"A": "1"}).items() == [("A", "1")]
    assert Headers(Headers(PAIRS)).items() == PAIRS
    assert Headers(iter(PAIRS)).items() == PAIRS
    assert Headers().items() == Headers(None).items() == []


def test_the_first_value_is_the_value():
    headers = Headers(PAIRS)
    assert headers["X"] == headers["x"] == headers.get("x") == "1"
    assert headers.get_all("X") == ["1", "2"]
    with pytest.raises(KeyError):
        headers["y"]
    assert headers.get("y") is None and headers.get("y", "?") == "?" and headers.get_all("y") == []


def test_an_empty_value_is_there():
    headers = Headers([("a", "")])
    assert "A" in headers and headers["a"] == "" and shared(a="").get("A") == ""


def test_setting_replaces_all_adding_does_not():
    headers = Headers(PAIRS)
    headers.add("X", "3")
    assert headers.get_all("x") == ["1", "2", "3"]
    headers["X"] = "4"
    assert headers.items() == [("Host", "a"), ("X", "4")]
    del headers["hOST"]
    assert headers.items() == [("X", "4")]
    with pytest.raises(KeyError):
        del headers["host"]


def test_names_keep_their_spelling():
    headers = Headers()
    headers["x-THIS"] = "1"
    assert list(headers) == ["x-THIS"] and "X-This" in headers


def test_in_len_and_iteration():
    for headers in (Headers(PAIRS), Headers.received([(name.lower(), value) for name, value in PAIRS])):
        assert len(headers) == 3 and len(list(headers)) == 3
        assert "HOST" in headers and "y" not in headers and 5 not in headers
    assert len(shared(a="1", b="2")) == 2 and list(shared(a="1")) == ["a"]


def test_equality_is_without_case_of_names():
    assert Headers([("A", "1")]) == shared(a="1")
    assert Headers([("A", "x")]) != Headers([("A", "X")])
    assert Headers() != []
    with pytest.raises(TypeError):
        hash(Headers())


def test_repr():
    assert repr(Headers([("A", "1")])) == "Headers([('A', '1')])"


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r", "a\n", "\xe9", "a\x00", ":a"])
def test_a_name_is_a_token(name):
    for change in (lambda h: h.add(name, "x"), lambda h: h.__setitem__(name, "x"), lambda h: Headers([(name, "x")])):
        headers = Headers([("a", "1")])
        with pytest.raises(ValueError, match="no header name"):
            change(headers)
        assert headers.items() == [("a", "1")]


@pytest.mark.parametrize("value", ["a\r\nB: c", "\n", "\r", "\x00", "\x7f", "\x0b", "\u20ac"])
def test_a_value_cannot_carry_a_line_end(value):
    for change in (lambda h: h.add("a", value), lambda h: h.__setitem__("a", value), lambda h: Headers({"a": value})):
        headers = Headers([("a", "1")])
        with pytest.raises(ValueError, match="latin-1 without control"):
            change(headers)
        assert headers.items() == [("a", "1")]


@pytest.mark.parametrize("pair", [("a", 1), (b"a", "b"), ("a", b"b"), ("a", None), (1, "b")])
def test_names_and_values_are_text(pair):
    with pytest.raises(TypeError, match="are str"):
        Headers().add(*pair)


def test_obs_text_tabs_and_outer_spaces_may_be_set():
    assert Headers([("a", " \xe9\t")]).items() == [("a", " \xe9\t")]


@pytest.mark.parametrize("change", [
    lambda headers: headers.add("b", "2"), lambda headers: headers.__setitem__("a", "2"),
    lambda headers: headers.__delitem__("a"),
    lambda headers: headers.items().clear(),
])
def test_changing_received_headers_leaves_what_they_share(change):
    fields, pairs = {"a": "1", "c": "3"}, [("a", "1"), ("a", "2")]
    change(Headers.received(fields))
    change(Headers.received(pairs))
    assert fields == {"a": "1", "c": "3"} and pairs == [("a", "1"), ("a", "2")]


def test_a_failed_delete_or_set_of_received_headers_changes_nothing():
    headers = shared(a="1")
    with pytest.raises(KeyError):
        del headers["b"]
    with pytest.raises(ValueError):
        headers["a"] = "\n"
    assert headers.items() == [("a", "1")]
    headers["b"] = "2"
    assert headers.items() == [("a", "1"), ("b", "2")]


def test_received_headers_are_found_in_any_case():
    headers = shared(host="a")
    assert headers["Host"] == headers.get("HOST") == "a" and headers.get_all("Host") == ["a"] and "hOsT" in headers


@pytest.mark.parametrize("received", [{"a": "1", "b": "2"}, [("a", "1"), ("a", "2")]], ids=["shared", "repeated"])
def test_a_copy_is_changed_on_its_own(received):
    first = Headers.received(received)
    second = first.copy()
    assert second == first and second.items() == first.items()
    second["a"] = "3"
    first.add("C", "4")
    assert (first["a"], second["a"]) == ("1", "3")
    assert "c" in first and "c" not in second
    assert list(received) == (["a", "b"] if isinstance(received, dict) else [("a", "1"), ("a", "2")])


@pytest.mark.parametrize("headers", [
    Headers([("A", "1"), ("b", "2"), ("a", "3")]), Headers.received({"a": "1", "b": "2"}),
    Headers.received([("a", "1"), ("b", "2"), ("b", "3")])], ids=["set", "shared", "repeated"])
def test_one_look_for_any_of_many(headers):
    assert has_any(headers, frozenset(["x", "a"])) and has_any(headers, frozenset("b"))
    assert not has_any(headers, frozenset("xy")) and not has_any(headers, frozenset())
