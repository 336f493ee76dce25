"""Text is UTF-8, and what is not is found at the very byte: RFC 6455 section 8.1."""

import pytest

from tests.fuzz import frames
from tests.fuzz.frames import CONTINUATION, KEY, PING, TEXT, frame, record
from tests.support import lacks, seeds

VALID = [
    "κόσμε", "\u0000", "\u007f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\uffff", "\U00010000",
    "\U0010ffff", "\ufeffwith a mark", "Hello-µ@ßöäüàá-UTF-8!!", "\U0001f40d" * 3,
]

# (bytes, index of the byte that cannot follow)
INVALID = [
    ("80", 0), ("bf", 0), ("c0 80", 0), ("c1 bf", 0), ("c3 28", 1), ("ce ba e1 bd b9 cf 83 ce bc ce b5 ed a0 80 65", 12),
    ("e0 80 80", 1), ("e0 9f bf", 1), ("e1 28 a1", 1), ("e1 80 c0", 2),
    ("ed a0 80", 1), ("ed bf bf", 1), ("ed ad bf ed b0 80", 1), ("61 ed a0", 2),
    ("f0 80 80 80", 1), ("f0 8f bf bf", 1), ("f0 90 80 41", 3), ("f4 90 80 80", 1), ("f5 80 80 80", 0), ("f8 88 80 80 80", 0),
    ("fc 84 80 80 80 80", 0), ("fe", 0), ("ff", 0), ("61 62 ff 63", 2), ("ce ba ff", 2), ("f4 8f bf c3", 3),
]
INCOMPLETE = ["c3", "e2 82", "f0 9f 90", "61 f0 9f", "ce ba e1 bd"]


@pytest.mark.parametrize("text", VALID, ids=ascii)
def test_valid_text_whole_split_and_in_fragments(text):
    data = text.encode("utf-8", "surrogatepass")
    for client, key in ((True, None), (False, KEY)):
        wire = frame(TEXT, data, key=key)
        assert record(wire, client=client) == [("text", text)]
        assert record(frames.bytewise(wire), client=client) == [("text", text)]
        for at in range(len(data) + 1):
            wire = frames.pieces_of(TEXT, data[:at], data[at:], key=key)
            assert record(wire, client=client) == record(frames.bytewise(wire), client=client) == [("text", text)]
        wire = frames.pieces_of(TEXT, *frames.bytewise(data), key=key)
        assert record(wire, client=client) == [("text", text)]
        assert record(wire, client=client, pieces=True) == [("text", text)]


@pytest.mark.parametrize("data, bad", INVALID)
@pytest.mark.parametrize("pieces", [False, True])
class TestInvalid:
    def test_whole(self, data, bad, pieces):
        data = bytes.fromhex(data)
        assert record(frame(TEXT, data), client=True, pieces=pieces)[-1] == ("error", 1007)
        assert record(frame(TEXT, data + b"x" * 200), client=True, pieces=pieces)[-1] == ("error", 1007)

    def test_at_the_very_byte_of_a_frame(self, data, bad, pieces):
        data = bytes.fromhex(data)
        wire = frame(TEXT, data + b"and much more", key=KEY)
        start = len(wire) - len(data + b"and much more")
        assert ("error", 1007) not in record(frames.bytewise(wire[:start + bad]), pieces=pieces)
        assert record(frames.bytewise(wire[:start + bad + 1]), pieces=pieces)[-1] == ("error", 1007)
        assert record([wire[:start + bad], wire[start + bad:start + bad + 1]], pieces=pieces)[-1] == ("error", 1007)

    def test_in_a_fragment_that_is_not_the_last(self, data, bad, pieces):
        data = bytes.fromhex(data)
        first = frame(TEXT, b"fine so far ", fin=False)
        upto = frame(CONTINUATION, data[:bad], fin=False) if bad else b""
        ping = frame(PING, b"?")
        found = record(first + upto + ping, client=True, pieces=pieces)
        assert found[-1] == ("ping", b"?")
        found = record(first + upto + ping + frame(CONTINUATION, data[bad:bad + 1], fin=False), client=True, pieces=pieces)
        assert found[-2:] == [("ping", b"?"), ("error", 1007)]


@pytest.mark.parametrize("data", INCOMPLETE)
def test_half_a_character_at_the_end_is_found_there(data):
    data = bytes.fromhex(data)
    assert record(frame(TEXT, data), client=True) == [("error", 1007)]
    assert record(frame(TEXT, data, fin=False), client=True) == []
    for last in (b"", data[-1:]):
        wire = frame(TEXT, data if not last else data[:-1], fin=False) + frame(CONTINUATION, last)
        assert record(wire, client=True) == [("error", 1007)]
        assert record(frames.bytewise(wire), client=True) == [("error", 1007)]


def test_each_message_begins_anew():
    wire = frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION, b"\xac") + frame(TEXT, b"\xac")
    assert record(wire, client=True) == [("text", "\u20ac"), ("error", 1007)]


def test_binary_and_control_data_may_be_anything():
    wire = frame(2, b"\xff\xfe") + frame(PING, b"\xff") + frame(10, b"\x80")
    assert record(wire, client=True) == [("binary", b"\xff\xfe"), ("ping", b"\xff"), ("pong", b"\x80")]


@pytest.mark.skipif(bool(lacks("zlib")), reason="this Python has no zlib")
@pytest.mark.parametrize("data, bad", INVALID)
def test_in_compressed_text_as_soon_as_it_unfolds(data, bad):
    from icey.http.websocket.deflate import Agreed, Deflate

    data = bytes.fromhex(data)

    def fresh(wire):
        return record(wire, client=True, deflate=Deflate(Agreed(), client=True))

    stored = bytes([0, len(data), 0, 255 - len(data), 255]) + data  # a block that is not compressed: byte by byte
    for payload in (frames.packed(data), stored + b"\0"):
        assert fresh(frame(TEXT, payload, rsv=4)) == [("error", 1007)]
    wire = frame(TEXT, stored, rsv=4, length=(200, 2))
    start = len(wire) - len(data)
    assert fresh(frames.bytewise(wire[:start + bad])) == []
    found = fresh(frames.bytewise(wire))
    assert found == [("error", 1007)]


def test_it_agrees_with_the_codec():
    rng = seeds.rng()
    for _ in range(3000):
        data = bytes(rng.choice(b"\x00a\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc2\xdf\xe0\xe1\xed\xef\xf0\xf1\xf4\xf5\xff")
                     for _ in range(rng.randrange(1, 9)))
        try:
            expected = [("text", data.decode())]
        except UnicodeDecodeError:
            expected = [("error", 1007)]
        cut = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        wire = frames.pieces_of(TEXT, data[:cut[0]], data[cut[0]:cut[1]], data[cut[1]:])
        assert record(frame(TEXT, data), client=True) == record(wire, client=True) == expected
        assert record(frames.bytewise(wire), client=True) == expected
