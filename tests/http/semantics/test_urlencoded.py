"""application/x-www-form-urlencoded, both directions."""

import pytest

import icey
from icey.http import parse_urlencoded, urlencode
from icey.http.semantics.pairreader import PairReader
from tests.support import seeds

TABLE = [
    (b"", []),
    (b"a", [("a", "")]),
    (b"a=", [("a", "")]),
    (b"=a", [("", "a")]),
    (b"=", [("", "")]),
    (b"a=b", [("a", "b")]),
    (b"a=b=c", [("a", "b=c")]),
    (b"a=b&c=d", [("a", "b"), ("c", "d")]),
    (b"&&a=b&&&c=d&", [("a", "b"), ("c", "d")]),
    (b"a=1&a=2&a=1", [("a", "1"), ("a", "2"), ("a", "1")]),
    (b"a;b=c;d", [("a;b", "c;d")]),
    (b"a+b=+c+", [("a b", " c ")]),
    (b"a%20b=%2B%3D%26", [("a b", "+=&")]),
    (b"%41%6a%6A=%c3%a4", [("Ajj", "\xe4")]),
    (b"a=%", [("a", "%")]),
    (b"a=%4", [("a", "%4")]),
    (b"a=%zz%4g%%41", [("a", "%zz%4g%A")]),
    (b"a=%2541", [("a", "%41")]),
    (b"a=%ff%fe", [("a", "\ufffd\ufffd")]),
    (b"a=\xff", [("a", "\ufffd")]),
    (b"a=%f0%9f%98", [("a", "\ufffd")]),
    (b"a=%f0%9f%98%80", [("a", "\U0001f600")]),
    (b"\xc3\xa4=\xc3\xb6", [("\xe4", "\xf6")]),
    (b"a=%EF%BB%BFb", [("a", "\ufeffb")]),
    (b"a=%00%0d%0a", [("a", "\0\r\n")]),
]


@pytest.mark.parametrize("data, pairs", TABLE)
def test_parsing(data, pairs):
    assert parse_urlencoded(data) == pairs
    assert parse_urlencoded(bytearray(data)) == parse_urlencoded(memoryview(data)) == pairs


@pytest.mark.parametrize("data, pairs", TABLE)
def test_reading_split_anywhere(data, pairs):
    def read(*pieces):
        found = []
        reader = PairReader(lambda *pair: found.append(tuple(text.decode("utf-8", "replace") for text in pair)))
        for piece in pieces:
            reader.feed(piece)
        reader.end()
        return found

    for at in range(len(data) + 1):
        assert read(data[:at], data[at:]) == pairs
    assert read(*(data[at:at + 1] for at in range(len(data)))) == pairs


def test_a_query_is_text():
    assert parse_urlencoded("a=%c3%a4&b=\xe4\ud800") == [("a", "\xe4"), ("b", "\xe4?")]


def test_another_encoding():
    assert parse_urlencoded(b"a=%e4&b=\xa4", encoding="iso-8859-15") == [("a", "\xe4"), ("b", "\u20ac")]


def test_max_fields_is_inclusive():
    assert len(parse_urlencoded(b"a&" * 1000)) == 1000
    with pytest.raises(icey.TooLarge, match="more than 1000 fields"):
        parse_urlencoded(b"a&" * 1001)
    assert len(parse_urlencoded(b"a&&b", max_fields=2)) == 2
    with pytest.raises(icey.TooLarge):
        parse_urlencoded(b"a&b&c", max_fields=2)
    assert len(parse_urlencoded(b"a&" * 5000, max_fields=None)) == 5000
    assert parse_urlencoded(b"", max_fields=0) == []


@pytest.mark.parametrize("fields, data", [
    ([], b""),
    ([("a", "b")], b"a=b"),
    ([("a", "")], b"a="),
    ([("a b", "c+d")], b"a+b=c%2Bd"),
    ({"a": "1", "b": 2}, b"a=1&b=2"),
    ([("a", b"\x00\xff"), (b"b", bytearray(b"x")), ("c", memoryview(b"y"))], b"a=%00%FF&b=x&c=y"),
    ([("AZaz09*-._", "~!'()")], b"AZaz09*-._=%7E%21%27%28%29"),
    ([("\xe4", "\u20ac\U0001f600")], b"%C3%A4=%E2%82%AC%F0%9F%98%80"),
    ([("a", "x\r\ny")], b"a=x%0D%0Ay"),
    ([("a", "=&%"), ("a", -1)], b"a=%3D%26%25&a=-1"),
])
def test_encoding(fields, data):
    assert urlencode(fields) == data


@pytest.mark.parametrize("value", [None, True, 1.5, ["a"], object()])
def test_other_values_are_type_errors(value):
    with pytest.raises(TypeError, match="str, bytes or int"):
        urlencode([("a", value)])


def test_what_is_encoded_is_parsed_back():
    rng = seeds.rng()

    def text():
        kind = rng.choice([lambda: rng.randrange(128), lambda: rng.randrange(0xd800), lambda: rng.randrange(0x10000, 0x110000)])
        return "".join(chr(kind()) for _ in range(rng.randrange(8)))

    for _ in range(200):
        pairs = [(text(), text()) for _ in range(rng.randrange(6))]
        assert parse_urlencoded(urlencode(pairs)) == pairs


# the reader's limit

def pair_reader(most):
    found = []
    return PairReader(lambda name, value: found.append((name, value)), most), found


@pytest.mark.parametrize("piece, fits", [
    (b"ab=cdefgh", True), (b"ab=cdefghi", False), (b"=12345678", True), (b"123456789", False),
    (b"%41%41=%42%42%42%42%42%42", True), (b"%41%41=%42%42%42%42%42%42%42", False),
])
@pytest.mark.parametrize("behind", [b"", b"&", b"&x=y"])
def test_the_limit_is_of_what_is_decoded(piece, fits, behind):
    for step in (1, 3, 100):
        reader, found = pair_reader(8)
        data = piece + behind
        try:
            for at in range(0, len(data), step):
                reader.feed(data[at:at + step])
            reader.end()
        except icey.TooLarge:
            assert not fits and found == []
        else:
            assert fits and len(found) == (2 if behind == b"&x=y" else 1)


def test_what_cannot_fit_is_refused_before_its_end():
    reader, _ = pair_reader(100)
    reader.feed(b"a" * 301)
    with pytest.raises(icey.TooLarge, match="a field over 100 bytes"):
        reader.feed(b"a")
