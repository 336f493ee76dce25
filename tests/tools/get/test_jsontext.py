"""JSON laid out: only white space changes."""
import json

import pytest

from icey.tools.get import jsontext
from tests.support import seeds


def indented(text):
    data = text.encode("utf-8") if isinstance(text, str) else text
    return b"".join(jsontext.indented(data)).decode("utf-8")


@pytest.mark.parametrize("text, out", [
    ("1", "1"), (' "a b" ', '"a b"'), ("null", "null"), ("[]", "[]"), ("{ }", "{}"), ("[[],{}]", "[\n  [],\n  {}\n]"),
    ('{"a":1,"b":[1,2]}', '{\n  "a": 1,\n  "b": [\n    1,\n    2\n  ]\n}'),
    ('{"a":{"b":{}}}', '{\n  "a": {\n    "b": {}\n  }\n}'),
    ('{"a":1,"a":2}', '{\n  "a": 1,\n  "a": 2\n}'),
    ("[1.50,1E400,-0,12345678901234567890123]", "[\n  1.50,\n  1E400,\n  -0,\n  12345678901234567890123\n]"),
    (r'["\u00e9\"]{,:\\", "é{"]', '[\n  "\\u00e9\\"]{,:\\\\",\n  "é{"\n]'),
    ("[" + "9" * 5000 + "]", "[\n  " + "9" * 5000 + "\n]"),
])
def test_layout(text, out):
    assert indented(text) == out + "\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_the_encodings_of_json(encoding):
    assert indented('["é"]'.encode(encoding)) == '[\n  "é"\n]\n'


@pytest.mark.parametrize("data", [b"", b"<html>", b"[1,", b"[1]2", b"NaN", b"[-Infinity]", b'"\xff"', b'"\n"', b"[" * 100000])
def test_what_is_no_json(data):
    with pytest.raises(ValueError):
        jsontext.indented(data)


def test_large_ones_come_in_pieces():
    pieces = list(jsontext.indented(json.dumps(list(range(50000))).encode()))
    assert len(pieces) > 3
    assert json.loads(b"".join(pieces)) == list(range(50000))


def value(chance, depth=0):
    kind = chance.randrange(8 if depth < 4 else 5)
    if kind < 5:
        return chance.choice([None, True, 0, -1.5, 10 ** 30, "", 'a"b\\', "é,]}{[:\n", "\ud800"])
    if kind < 7:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice("abc{,\""): value(chance, depth + 1) for _ in range(chance.randrange(4))}


def test_as_python_s_own_indentation_whatever_the_value():
    chance = seeds.rng()
    for _ in range(500):
        made = value(chance)
        text = json.dumps(made, separators=chance.choice([(",", ":"), (" ,\t", "\r: ")]))
        assert indented(text) == json.dumps(made, indent=2) + "\n"
