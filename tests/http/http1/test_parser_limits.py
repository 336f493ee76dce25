"""The limits: inclusive, applied while bytes arrive, and the same for every reader of heads."""
import pytest

from icey.base.errors import HttpError, TooLarge
from icey.base.limits import DEFAULTS, Limits
from icey.http.http1 import parser as parsers
from tests.fuzz.messages import Recorder, bytewise, outcome, parser_for, record

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def status(data, **limits):
    """What it ends with, the same whole, byte by byte, in strict reading, and behind others that are remembered."""
    limits = Limits(**limits)
    strict = record(data, limits=limits, strict=True)
    assert record(bytewise(data), limits=limits) == strict == record(data, limits=limits)
    again = record([data] * 6, limits=limits)
    if outcome(strict) is None:
        assert again == strict * 6
    else:
        assert again == strict
    return outcome(strict)


def head(size):
    """A request whose field section has `size` bytes, the blank line included."""
    data = b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"y" * (size - 16))
    assert len(data) - 16 == size
    return data


@pytest.mark.parametrize("size", [17, 30, 100, 1000, 20000])
def test_max_head_counts_fields_and_blank_line(size):
    assert status(head(size), max_head=size) is None
    assert status(head(size), max_head=size - 1) == 431
    assert status(head(size + 1), max_head=size) == 431


def test_the_default_head():
    assert DEFAULTS.max_head == 65536
    assert outcome(record(head(65536))) is None
    assert outcome(record(head(65537))) == 431


def test_max_head_is_for_each_head():
    data = head(100) * 50
    assert status(data, max_head=100) is None


def test_max_head_of_nothing():
    assert status(b"GET / HTTP/1.0\r\n\r\n", max_head=2) is None
    assert status(b"GET / HTTP/1.0\r\n\r\n", max_head=1) == 431
    assert status(b"GET / HTTP/1.0\r\n\r\n", max_head=0) == 431


@pytest.mark.parametrize("count", [1, 2, 5, 100])
def test_max_fields(count):
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: y\r\n" % index for index in range(count - 1)) + b"\r\n"
    assert status(data, max_fields=count) is None
    assert status(data, max_fields=count - 1) == 431
    repeated = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * (count - 1) + b"\r\n"
    assert status(repeated, max_fields=count) is None
    assert status(repeated, max_fields=count - 1) == 431


@pytest.mark.parametrize("size", [1, 2, 50, 8192])
def test_max_target(size):
    data = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * (size - 1))
    assert status(data, max_target=size) is None
    assert status(data, max_target=size - 1) == 414
    absolute = b"GET http://a/%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * size)
    assert status(absolute, max_target=size + 9) is None
    assert status(absolute, max_target=size + 8) == 414


def test_a_method_is_bounded_by_the_line():
    most = parsers.LINE_OVER_TARGET + 10
    method = b"M" * (most - len(b" / HTTP/1.1"))
    assert status(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n", max_target=10) is None
    assert status(b"M" + method + b" / HTTP/1.1\r\nHost: a\r\n\r\n", max_target=10) == 414


@pytest.mark.parametrize("limit", ["max_head", "max_fields", "max_target"])
def test_none_is_no_limit(limit):
    data = b"GET /%s HTTP/1.1\r\nHost: a\r\n%s\r\n" % (b"x" * 20000, b"X: y\r\n" * 11500)
    limits = dict.fromkeys(["max_head", "max_fields", "max_target"])
    assert outcome(record(data, limits=Limits(**limits))) is None
    limits[limit] = getattr(DEFAULTS, limit)
    assert outcome(record(data, limits=Limits(**limits))) in (414, 431)


@pytest.mark.parametrize("begin, filler, most, expected", [
    (b"", b"G", 8192 + 256 + 1, 414),
    (b"GET /", b"x", 8192 + 256 + 1, 414),
    (b"GET / HTTP/1.1\r\n", b"x", 65536, 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x", 65536, 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: yyyyyyyyyyyyyyyyyyyy\r\n", 100 * 25, 431),
    (b"\r\n", b"\r\n", 8, 400),
])
def test_limits_apply_as_bytes_arrive(begin, filler, most, expected):
    parser = parser_for(Recorder())
    parser.feed(begin)
    fed = 0
    with pytest.raises(HttpError) as caught:
        while fed <= most:
            parser.feed(filler)
            fed += len(filler)
    assert caught.value.status == expected


def test_what_was_kept_of_a_head_that_is_too_large_is_let_go():
    parser = parser_for(Recorder())
    with pytest.raises(TooLarge):
        for _ in range(100):
            parser.feed(b"x" * 1000)
    assert parser._tail is None


def test_a_control_character_before_the_limit_is_malformed_and_behind_it_too_large():
    assert status(b"GET /\x00" + b"x" * 100, max_target=10) == 400
    most = 10 + parsers.LINE_OVER_TARGET
    for place in range(most - 3, most + 4):
        data = b"G" * place + b"\x00" + b"x" * 20
        assert status(data, max_target=10) == (400 if place <= most else 414)
    for place in range(14, 24):
        data = b"GET / HTTP/1.1\r\n" + b"x" * place + b"\r" + b"x" * 20
        assert status(data, max_head=20) == (400 if place <= 18 else 431)


def test_the_line_end_is_not_of_the_line():
    most = 10 + parsers.LINE_OVER_TARGET
    assert status(b"x" * most + b"\r\n", max_target=10) == 400
    assert status(b"x" * (most + 1) + b"\r\n", max_target=10) == 414


def test_small_pieces_of_a_long_line_take_linear_time():
    parser = parser_for(Recorder(), limits=Limits(max_head=None))
    parser.feed(b"GET / HTTP/1.1\r\nX: ")
    tail = parser._tail
    for _ in range(20000):
        parser.feed(b"x")
    assert parser._tail is tail and len(tail) == 20003  # grown in place
