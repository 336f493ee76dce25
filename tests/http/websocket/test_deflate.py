"""permessage-deflate: RFC 7692."""
import random
import types

import pytest

from tests.support import needs, seeds

needs("zlib")

import zlib  # noqa: E402

from icey import WebSocketError  # noqa: E402
from icey.http.websocket import deflate as module  # noqa: E402
from icey.http.websocket.compression import WebSocketCompression  # noqa: E402
from icey.http.websocket.deflate import OFFER, PACK_FROM, Agreed, Deflate, accept_offer, check_answer  # noqa: E402
from icey.http.websocket.frames import WebSocketCore  # noqa: E402
from icey.http.websocket.handshake import parse_extensions  # noqa: E402
from tests.fuzz import frames  # noqa: E402
from tests.fuzz.frames import BINARY, CONTINUATION, KEY, PING, TEXT, frame  # noqa: E402

PMD = "permessage-deflate"
S_NO, C_NO = "server_no_context_takeover", "client_no_context_takeover"
S_BITS, C_BITS = "server_max_window_bits", "client_max_window_bits"

WIDE = WebSocketCompression(bits=15, memory=8)  # zlib's own defaults


def said(agreed):
    return (agreed.server_takeover, agreed.client_takeover, agreed.server_bits, agreed.client_bits)


# what is agreed on

@pytest.mark.parametrize("offer, agreed, answer", [
    (PMD, (True, True, 15, 15), PMD),
    (PMD.upper(), (True, True, 15, 15), PMD),
    (OFFER, (True, True, 15, 15), PMD),
    ("%s; %s" % (PMD, S_NO), (False, True, 15, 15), "%s; %s" % (PMD, S_NO)),
    ("%s; %s" % (PMD, C_NO), (True, False, 15, 15), "%s; %s" % (PMD, C_NO)),
    ("%s; %s; %s" % (PMD, C_NO, S_NO), (False, False, 15, 15), "%s; %s; %s" % (PMD, S_NO, C_NO)),
    *(("%s; %s=%d" % (PMD, S_BITS, n), (True, True, n, 15), "%s; %s=%d" % (PMD, S_BITS, n)) for n in range(9, 16)),
    *(("%s; %s=%d" % (PMD, C_BITS, n), (True, True, 15, n), "%s; %s=%d" % (PMD, C_BITS, n)) for n in range(9, 16)),
    ("%s; %s=\"10\"" % (PMD, S_BITS), (True, True, 10, 15), "%s; %s=10" % (PMD, S_BITS)),
    ("%s; %s; %s=9; %s=12; %s" % (PMD, C_NO, C_BITS, S_BITS, S_NO), (False, False, 12, 9),
     "%s; %s; %s; %s=12; %s=9" % (PMD, S_NO, C_NO, S_BITS, C_BITS)),
    # the first that can be met
    ("x; a=b, %s" % PMD, (True, True, 15, 15), PMD),
    ("%s; unknown, %s; %s=10" % (PMD, PMD, S_BITS), (True, True, 10, 15), "%s; %s=10" % (PMD, S_BITS)),
    ("%s; %s=8, %s; %s" % (PMD, S_BITS, PMD, C_NO), (True, False, 15, 15), "%s; %s" % (PMD, C_NO)),
    ("%s; %s=9, %s" % (PMD, S_BITS, PMD), (True, True, 9, 15), "%s; %s=9" % (PMD, S_BITS)),
])
def test_offers_that_are_met(offer, agreed, answer):
    found, said_back = accept_offer(parse_extensions([offer]), WIDE)
    assert said(found) == agreed and said_back == answer
    assert said(check_answer(parse_extensions([answer]), WIDE)) == agreed  # what our client would make of it


@pytest.mark.parametrize("bits, offer, agreed, answer", [
    (12, PMD, (15, 15), PMD),  # a client that has not asked is not told, and one that does not let us is not asked
    (12, "%s; %s" % (PMD, C_BITS), (15, 12), "%s; %s=12" % (PMD, C_BITS)),
    (12, "%s; %s=15" % (PMD, C_BITS), (15, 12), "%s; %s=12" % (PMD, C_BITS)),
    (12, "%s; %s=10" % (PMD, C_BITS), (15, 10), "%s; %s=10" % (PMD, C_BITS)),
    (12, "%s; %s=15" % (PMD, S_BITS), (12, 15), "%s; %s=12" % (PMD, S_BITS)),
    (12, "%s; %s=10" % (PMD, S_BITS), (10, 15), "%s; %s=10" % (PMD, S_BITS)),
    (9, "%s; %s; %s=12" % (PMD, C_BITS, S_BITS), (9, 9), "%s; %s=9; %s=9" % (PMD, S_BITS, C_BITS)),
    (14, OFFER, (15, 14), "%s; %s=14" % (PMD, C_BITS)),
    (15, OFFER, (15, 15), PMD),
])
def test_our_window_is_told_and_asked_for_where_that_can_be(bits, offer, agreed, answer):
    ours = WebSocketCompression(bits=bits)
    found, said_back = accept_offer(parse_extensions([offer]), ours)
    assert (found.server_bits, found.client_bits) == agreed and said_back == answer and found.ours is ours


UNMET = [
    "%s; unknown", "%s; unknown=1", "%s; {s_no}=1", "%s; {c_no}=true", "%s; {s_no}; {s_no}", "%s; {c_no}; {c_no}",
    "%s; {s_bits}", "%s; {s_bits}=8", "%s; {s_bits}=7", "%s; {s_bits}=16", "%s; {s_bits}=0", "%s; {s_bits}=-9",
    "%s; {s_bits}=+9", "%s; {s_bits}=010", "%s; {s_bits}=10.0", "%s; {s_bits}=0x9", "%s; {s_bits}=100", "%s; {s_bits}=ten",
    "%s; {s_bits}=9; {s_bits}=9",
    "%s; {c_bits}=8", "%s; {c_bits}=16", "%s; {c_bits}=9; {c_bits}", "%s; {c_bits}; {c_bits}", "x-webkit-deflate-frame",
    "permessage-bzip2", "",
]
UNMET = [(text % PMD if "%s" in text else text).format(s_no=S_NO, c_no=C_NO, s_bits=S_BITS, c_bits=C_BITS) for text in UNMET]


@pytest.mark.parametrize("offer", UNMET)
def test_offers_that_cannot_be_met_are_declined(offer):
    assert accept_offer(parse_extensions([offer])) == (None, "")


@pytest.mark.parametrize("answer", [*filter(None, UNMET), PMD + "; " + C_BITS, PMD + ", " + PMD, PMD + ", x", "x, " + PMD])
def test_answers_that_fail_the_handshake(answer):
    with pytest.raises(ValueError):
        check_answer(parse_extensions([answer]))


# what a user chooses

def test_what_stands_for_a_choice():
    chosen = WebSocketCompression(level=1)
    assert (chosen.bits, chosen.level, chosen.memory) == (12, 1, 5)
    assert WebSocketCompression.of(chosen) is chosen
    assert WebSocketCompression.of(False) is None
    assert repr(WebSocketCompression.of(True)) == "WebSocketCompression(bits=12, level=6, memory=5)"
    for wrong in (None, 1, 0, "deflate", {"bits": 12}, WebSocketCompression):
        with pytest.raises(TypeError, match="True, False or a WebSocketCompression"):
            WebSocketCompression.of(wrong)


@pytest.mark.parametrize("name, least, most", [("bits", 9, 15), ("level", 1, 9), ("memory", 1, 9)])
def test_choices_have_bounds(name, least, most):
    for value in (least, most):
        assert getattr(WebSocketCompression(**{name: value}), name) == value
    for value in (least - 1, most + 1, -1, 0, 1000):
        with pytest.raises(ValueError, match="%s of a WebSocketCompression is %d to %d, not %d" % (name, least, most, value)):
            WebSocketCompression(**{name: value})
    for value in ("12", 12.0, None, True):
        with pytest.raises(TypeError, match="%s of a WebSocketCompression is a number" % name):
            WebSocketCompression(**{name: value})


@pytest.mark.parametrize("client", [False, True])
@pytest.mark.parametrize("bits, agreed, window", [(12, 15, 12), (12, 10, 10), (15, 15, 15), (9, 15, 9)])
def test_what_we_pack_reaches_back_as_far_as_our_window_and_no_further(bits, agreed, window, client):
    """Whatever the other side was told: it may unpack with as much."""
    text = noise(3, 100)
    ours = Deflate(Agreed(server_bits=agreed, client_bits=agreed, ours=WebSocketCompression(bits=bits)), client=client)
    theirs = zlib.decompressobj(wbits=-window)
    for gap, near in (((1 << window) - 300, True), (1 << window, False)):  # zlib leaves 262 bytes of a window alone
        for message in (text + noise(4 + near, gap - 100), text):
            packed = ours.pack_message(message)
            assert theirs.decompress(packed + b"\x00\x00\xff\xff") == message
        assert (len(packed) < 60) is near


def test_levels_are_used():
    text = TEXTS[0] + noise(5, 3000) * 3
    sizes = [len(Deflate(Agreed(ours=WebSocketCompression(level=level)), client=False).pack_message(text)) for level in (1, 9)]
    assert sizes[0] > sizes[1]


# packing and unpacking

def unpacked(deflate, *pieces, most=1 << 30):
    out = b""
    for piece in pieces:
        out += b"".join(deflate.unpack(piece, most - len(out)))
    return out + b"".join(deflate.unpack_end(most - len(out)))


def noise(seed, size):
    """What cannot be packed, but for its repetition."""
    rng = random.Random(seed)
    return bytes(rng.randrange(256) for _ in range(size))


TEXTS = [b"a text that repeats itself, " * 20, b"another; " * 50, b"a text that repeats itself, " * 20, bytes(range(256)) * 40]


@pytest.mark.parametrize("agreed", [Agreed(s, c, *bits) for s in (True, False) for c in (True, False)
                                    for bits in ((15, 15), (9, 15), (15, 9), (10, 12))], ids=lambda agreed: str(said(agreed)))
@pytest.mark.parametrize("client", [False, True])
def test_what_one_end_packs_the_other_unpacks(agreed, client):
    ours, theirs = Deflate(agreed, client=client), Deflate(agreed, client=not client)
    for text in TEXTS * 2:
        assert unpacked(theirs, ours.pack_message(text)) == text
        assert unpacked(theirs, b"") == b""  # nothing at all is an empty message


@pytest.mark.parametrize("size, goes", [(0, False), (PACK_FROM - 1, False), (PACK_FROM, True)])
def test_short_messages_go_as_they_are(size, goes):
    assert (Deflate(Agreed(), client=False).pack_message(bytes(size)) is not None) is goes


def test_a_context_is_kept_and_dropped_as_agreed():
    text = noise(1, 500)
    for kept, agreed, client in ((True, Agreed(), False), (True, Agreed(), True),
                                 (False, Agreed(server_takeover=False), False), (True, Agreed(server_takeover=False), True),
                                 (True, Agreed(client_takeover=False), False), (False, Agreed(client_takeover=False), True)):
        deflate = Deflate(agreed, client=client)
        first, second = deflate.pack_message(text), deflate.pack_message(text)
        assert len(first) >= 500 and (len(second) < 50) is kept
        assert (second == first) is not kept


def test_a_peer_that_keeps_a_context_it_promised_to_drop_is_found():
    text = noise(2, 500)
    packer = zlib.compressobj(wbits=-15)
    first, second = frames.packed(text, packer), frames.packed(text, packer)
    deflate = Deflate(Agreed(client_takeover=False), client=False)
    assert unpacked(deflate, first) == text
    with pytest.raises(WebSocketError) as info:
        unpacked(deflate, second)
    assert info.value.close_code == 1007


# literally: section 7.2.3

@pytest.mark.parametrize("pieces, text", [
    (["f2 48 cd c9 c9 07 00"], b"Hello"),  # one block
    (["f2 48 cd", "c9 c9 07 00"], b"Hello"),
    (["00 05 00 fa ff 48 65 6c 6c 6f 00"], b"Hello"),  # not compressed
    (["f3 48 cd c9 c9 07 00 00"], b"Hello"),  # a final block
    (["f2 48 05 00 00 00 ff ff ca c9 c9 07 00"], b"Hello"),  # two blocks
    (["00"], b""),
    (["02 00"], b""),
    (["03 00 00"], b""),
    ([], b""),
])
def test_the_rfcs_examples(pieces, text):
    deflate = Deflate(Agreed(), client=False)
    for _ in range(2):
        assert unpacked(deflate, *map(bytes.fromhex, pieces)) == text
        assert unpacked(deflate, *frames.bytewise(b"".join(map(bytes.fromhex, pieces)))) == text


def test_the_rfcs_window_that_is_shared():
    deflate = Deflate(Agreed(), client=False)
    assert unpacked(deflate, bytes.fromhex("f2 48 cd c9 c9 07 00")) == b"Hello"
    assert unpacked(deflate, bytes.fromhex("f2 00 11 00 00")) == b"Hello"


def final(text):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(text) + packer.flush()


@pytest.mark.parametrize("end", [b"\0", b""], ids=["with the octet", "without"])
def test_final_blocks_in_any_number_and_messages_behind_them(end):
    deflate = Deflate(Agreed(), client=False)
    for count in (1, 2, 30):
        payload = b"".join(final(b"part %d, " % index) for index in range(count)) + end
        text = b"".join(b"part %d, " % index for index in range(count))
        assert unpacked(deflate, payload) == text
        assert unpacked(deflate, *frames.bytewise(payload)) == text
        assert unpacked(deflate, frames.packed(b"as usual" * 20)) == b"as usual" * 20


class Counting:
    """A decompressor that counts what it is given."""

    given = 0

    def __init__(self, wbits):
        self._real = zlib.decompressobj(wbits=wbits)

    def decompress(self, data, most):
        Counting.given += len(data)
        return self._real.decompress(data, most)

    def __getattr__(self, name):
        return getattr(self._real, name)


def test_many_final_blocks_are_little_work(monkeypatch):
    """zlib copies what is behind each of them, and there may be one in two bytes."""
    monkeypatch.setattr(module, "zlib", types.SimpleNamespace(decompressobj=Counting, error=zlib.error))
    monkeypatch.setattr(Counting, "given", 0)
    payload = b"\x03\x00" * 30000 + frames.packed(b"and then a text")
    assert unpacked(Deflate(Agreed(), client=False), payload) == b"and then a text"
    assert Counting.given < 30000 * module.STEP


@pytest.mark.parametrize("payload", ["07", "ff", "06 ff ff", "00 05 00 00 00", "f2 48 cd ff ff ff ff ff", "04", "65"])
def test_damaged_data_is_1007(payload):
    with pytest.raises(WebSocketError) as info:
        unpacked(Deflate(Agreed(), client=False), bytes.fromhex(payload))
        unpacked(Deflate(Agreed(), client=False), bytes.fromhex(payload) + b"\xff" * 20)
    assert info.value.close_code == 1007


# bounds

@pytest.mark.parametrize("size, fine", [(1 << 20, True), ((1 << 20) + 1, False), (1 << 24, False)])
def test_what_is_unpacked_is_bounded_to_the_byte(size, fine):
    deflate = Deflate(Agreed(), client=False)
    packed = frames.packed(bytes(size))
    if fine:
        assert unpacked(deflate, packed, most=1 << 20) == bytes(size)
    else:
        with pytest.raises(WebSocketError) as info:
            unpacked(deflate, packed, most=1 << 20)
        assert info.value.close_code == 1009


def test_a_bomb_is_bounded_while_it_is_unpacked():
    packed = frames.packed(bytes(1 << 23))
    most = taken = 0
    with pytest.raises(WebSocketError):
        for piece in Deflate(Agreed(), client=False).unpack(packed, 1 << 20):
            most, taken = max(most, len(piece)), taken + len(piece)
    assert most == module.PIECE and taken <= 1 << 20


# in frames

def record(data, *, agreed=None, client=False, **options):
    return frames.record(data, client=client, deflate=Deflate(agreed or Agreed(), client=client), **options)


def test_the_bit_is_for_the_first_frame_of_a_message_alone():
    packed = frames.packed(b"Hello")
    assert record(frame(TEXT, packed, rsv=4, key=KEY)) == [("text", "Hello")]
    assert record(frames.pieces_of(TEXT, packed[:2], packed[2:], rsv=4, key=KEY)) == [("text", "Hello")]
    for wire in (frame(PING, b"", rsv=4, key=KEY), frame(TEXT, packed, rsv=6, key=KEY), frame(TEXT, packed, rsv=2, key=KEY),
                 frame(TEXT, packed, fin=False, rsv=4, key=KEY) + frame(CONTINUATION, b"", rsv=4, key=KEY)):
        assert record(wire)[-1] == ("error", 1002)


def test_messages_that_are_not_compressed_may_come_in_between():
    packer = zlib.compressobj(wbits=-15)
    wire = (frame(TEXT, frames.packed(b"Hello " * 20, packer), rsv=4, key=KEY) + frame(TEXT, b"plain", key=KEY)
            + frame(TEXT, frames.packed(b"Hello " * 20, packer), rsv=4, key=KEY))
    assert record(wire) == [("text", "Hello " * 20), ("text", "plain"), ("text", "Hello " * 20)]


@pytest.mark.parametrize("pieces", [False, True])
def test_limits_hold_for_what_is_unpacked(pieces):
    for size, event in ((1000, ("binary", bytes(1000))), (1001, ("error", 1009)), (1 << 22, ("error", 1009))):
        wire = frame(BINARY, frames.packed(bytes(size)), rsv=4, key=KEY)
        assert record(wire, max_message=1000, pieces=pieces) == [event]
        assert record(frames.bytewise(wire), max_message=1000, pieces=pieces) == [event]
        half = len(wire) // 2
        packed = frames.packed(bytes(size))
        wire = frames.pieces_of(BINARY, packed[:half], packed[half:], rsv=4, key=KEY)
        assert record(wire, max_message=1000, pieces=pieces) == [event]


def test_damage_is_told_in_the_frame_it_is_in():
    wire = frame(BINARY, b"\xff" * 10, rsv=4, fin=False, key=KEY)
    assert record(wire) == [("error", 1007)]
    assert record(frame(BINARY, b"\xff", rsv=4, length=(100, 0), key=KEY)[:7]) == [("error", 1007)]


@pytest.mark.parametrize("agreed", [Agreed(), Agreed(False, False), Agreed(True, True, 9, 9)],
                         ids=["kept", "dropped", "small"])
@pytest.mark.parametrize("client", [False, True])
def test_both_ends_ours(agreed, client):
    core = WebSocketCore(None, client=client, deflate=Deflate(agreed, client=client))
    wire, events = [], []
    for index in range(40):
        text = ("message %d, " % index) * (index * 7 % 40)
        wire += [core.message(text.encode(), True), core.ping(b"%d" % index)]
        events += [("text", text), ("ping", b"%d" % index)]
    rsv = {found[1] for found in frames.read_frames(b"".join(wire))}
    assert rsv == {0, 4}  # short ones go as they are
    assert record(b"".join(wire), agreed=agreed, client=not client) == events
    assert record(frames.bytewise(b"".join(wire)), agreed=agreed, client=not client) == events


def test_pieces_that_are_sent_are_not_compressed():
    core = WebSocketCore(None, client=False, deflate=Deflate(Agreed(), client=False))
    made = core.fragment(b"x" * 100, True, False) + core.fragment(b"x" * 100, True, True)
    assert [found[1] for found in frames.read_frames(made)] == [0, 0]


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("client", [False, True])
def test_a_script_tells_the_same_however_it_is_cut(client, count):
    rng = seeds.rng()
    key = None if client else KEY
    made, events = frames.script(rng, count, key=key, packer=zlib.compressobj(wbits=-15))
    wire = b"".join(made)
    for pieces in (False, True):
        assert record(wire, client=client, pieces=pieces) == events
        assert record(frames.bytewise(wire), client=client, pieces=pieces) == events
        for _ in range(10):
            assert record(frames.random_cuts(rng, wire, 100), client=client, pieces=pieces) == events


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("client", [False, True])
def test_a_script_of_many_messages_split_at_every_byte(client, count):
    seed = seeds.seed()
    key = None if client else KEY
    made, events = frames.script(random.Random(seed), count, key=key, packer=zlib.compressobj(wbits=-15), most=130)
    assert frames.split_everywhere(made, client=client, deflate=Deflate(Agreed(), client=client)) == events
