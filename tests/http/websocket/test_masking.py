"""Masking of payloads: RFC 6455 section 5.3."""

import pytest

from icey.http.websocket.masking import INTEGERS_BELOW, MOST_SHORT, mask, turned, unmask_short
from tests.fuzz.frames import masked
from tests.support import seeds

KEY = b"\x37\xfa\x21\x3d"


@pytest.mark.parametrize("data, key, result", [
    (b"Hello", KEY, b"\x7f\x9f\x4d\x51\x58"),  # the RFC's own
    (b"\x7f\x9f\x4d\x51\x58", KEY, b"Hello"),
    (b"", KEY, b""),
    (b"a", KEY, b"V"),
    (b"\0\0\0\0\0\0", KEY, KEY + KEY[:2]),
    (b"abcde", b"\0\0\0\0", b"abcde"),
    (b"\xff\xff\xff\xff", b"\xff\0\xff\0", b"\0\xff\0\xff"),
])
def test_literally(data, key, result):
    assert mask(data, key) == result


@pytest.mark.parametrize("size", [*range(20), *range(INTEGERS_BELOW - 2, INTEGERS_BELOW + 6), 8191, 8192, 65537])
@pytest.mark.parametrize("key", [KEY, b"\0\0\0\0", b"\0\1\0\2", b"\xff\xff\xff\xff"])
def test_every_way_is_the_xor_of_each_byte_and_its_own_inverse(size, key):
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    out = mask(data, key)
    assert type(out) is bytes
    assert out == masked(data, key)
    assert mask(out, key) == data


@pytest.mark.parametrize("key", [KEY, b"\0\0\0\0", b"\0\1\0\2", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\x80"])
def test_short_ones_behind_their_key(key):
    for size in range(MOST_SHORT + 1):
        for data in (bytes(range(3, 3 + size)), bytes(size), b"\xff" * size):
            assert unmask_short(key + masked(data, key), size) == data


@pytest.mark.parametrize("size", [5, 3000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_whatever_is_bytes_like_is_left_as_it_is(size, kind):
    data = kind(bytearray(size))
    assert mask(data, KEY) == (KEY * size)[:size]
    assert bytes(data) == bytes(size)


@pytest.mark.parametrize("count, key", [
    (0, b"abcd"), (1, b"bcda"), (2, b"cdab"), (3, b"dabc"), (4, b"abcd"), (7, b"dabc"), (1 << 40, b"abcd"),
])
def test_the_key_turns_with_what_was_masked(count, key):
    assert turned(b"abcd", count) == key


def test_masked_in_pieces_it_is_the_same():
    rng = seeds.rng()
    for size in [*range(12), 1500, 20000]:
        data = bytes(rng.randrange(256) for _ in range(size))
        for at in range(size + 1) if size < 12 else [rng.randrange(size) for _ in range(10)]:
            assert mask(data[:at], KEY) + mask(data[at:], turned(KEY, at)) == mask(data, KEY)
