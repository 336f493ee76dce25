"""Content codings undone: gzip, both kinds of deflate, one over the other; damage, truncation and bombs found in time."""
import gzip
import random
import zlib

import pytest

from icey.base.errors import BadResponse
from tests.support import needs

needs("zlib")

from icey.http.decoding import MOST_CODINGS, MOST_MEMBERS, PIECE, decoder_for  # noqa: E402

TEXT = b"".join(b"line %d of some text\n" % number for number in range(300))


def bare(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "GZIP": gzip.compress}
each_packer = pytest.mark.parametrize("coding, pack", [*PACKED.items(), ("deflate", bare)],
                                      ids=[*PACKED, "bare deflate"])


def decoded(coding, *pieces, most=None):
    """All that these pieces decode to."""
    decoder = decoder_for(coding, most)
    out = b"".join(part for piece in pieces for part in decoder.feed(piece))
    decoder.end()
    return out


@each_packer
@pytest.mark.parametrize("data", [b"", b"x", TEXT], ids=["nothing", "a byte", "text"])
def test_what_was_packed_comes_out(coding, pack, data):
    assert decoded(coding, pack(data)) == data


@each_packer
def test_in_any_two_pieces(coding, pack):
    packed = pack(TEXT[:500])
    for at in range(len(packed) + 1):
        assert decoded(coding, packed[:at], packed[at:]) == TEXT[:500], at


@each_packer
def test_byte_by_byte_and_as_views(coding, pack):
    packed = pack(TEXT)
    assert decoded(coding, *(packed[at:at + 1] for at in range(len(packed)))) == TEXT
    assert decoded(coding, memoryview(packed)) == TEXT


@each_packer
def test_every_truncation_is_an_error(coding, pack):
    packed = pack(TEXT[:500])
    for size in range(1, len(packed)):
        with pytest.raises(BadResponse, match="ended early|damaged"):
            decoded(coding, packed[:size])


def test_a_body_without_a_byte_is_empty_whatever_its_coding():
    assert decoded("gzip") == b"" and decoded("deflate", b"") == b""


def test_every_damaged_byte_of_a_gzip_body_is_found_or_harmless():
    packed = gzip.compress(TEXT[:400], mtime=0)
    harmless = {3, 4, 5, 6, 7, 8, 9}  # flags, time, level, system: say nothing of the data
    for at in range(len(packed)):
        broken = packed[:at] + bytes([packed[at] ^ 0xFF]) + packed[at + 1:]
        try:
            assert decoded("gzip", broken) == TEXT[:400] and at in harmless, at
        except BadResponse:
            pass


def test_a_gzip_body_may_have_several_members_and_padding():
    assert decoded("gzip", gzip.compress(b"one, ") + gzip.compress(b"") + gzip.compress(b"two")) == b"one, two"
    assert decoded("gzip", gzip.compress(b"one, "), gzip.compress(b"two")) == b"one, two"
    assert decoded("gzip", gzip.compress(b"one") + b"\0" * 100, b"\0") == b"one"


def test_what_is_behind_it_is_an_error():
    with pytest.raises(BadResponse, match="damaged gzip"):
        decoded("gzip", gzip.compress(b"one") + b"two")
    with pytest.raises(BadResponse, match="behind a deflate"):
        decoded("deflate", zlib.compress(b"one"), b"two")


def test_members_are_bounded():
    empty = gzip.compress(b"")
    assert decoded("gzip", empty * MOST_MEMBERS) == b""
    with pytest.raises(BadResponse, match="more than %d parts" % MOST_MEMBERS):
        decoded("gzip", empty * (MOST_MEMBERS + 1))


@each_packer
def test_a_bomb_is_stopped_at_its_limit(coding, pack):
    packed = pack(bytes(10 << 20))
    assert len(packed) < 20000
    decoder = decoder_for(coding, 1 << 20)
    got = 0
    with pytest.raises(BadResponse, match="unfolds to more than 1048576 bytes"):
        for piece in decoder.feed(packed):
            assert len(piece) <= PIECE
            got += len(piece)
    assert got <= 1 << 20


def test_the_limit_itself_is_allowed():
    assert decoded("gzip", gzip.compress(bytes(1000)), most=1000) == bytes(1000)
    with pytest.raises(BadResponse):
        decoded("gzip", gzip.compress(bytes(1001)), most=1000)


def test_codings_one_over_the_other_are_undone_from_the_last_on():
    assert decoded("deflate, gzip", gzip.compress(zlib.compress(TEXT))) == TEXT
    assert decoded("gzip,identity , gzip", gzip.compress(gzip.compress(TEXT))) == TEXT
    with pytest.raises(BadResponse, match="gzip body ended early"):
        decoded("gzip, gzip", gzip.compress(gzip.compress(TEXT)[:-3]))
    with pytest.raises(BadResponse, match="in %d codings" % (MOST_CODINGS + 1)):
        decoder_for(", ".join(["gzip"] * (MOST_CODINGS + 1)))


def test_a_bomb_in_a_bomb_is_stopped_as_well():
    inner = zlib.compress(bytes(50 << 20), 9)
    packed = gzip.compress(zlib.compress(inner, 9), 9)
    decoder = decoder_for("deflate, deflate, gzip", 1 << 20)
    with pytest.raises(BadResponse, match="unfolds to more"):
        for piece in decoder.feed(packed):
            assert len(piece) <= PIECE


@pytest.mark.parametrize("coding", ["", "identity", "br", "gzip, br", "zstd", "identity, identity"])
def test_what_is_not_known_or_nothing_has_no_decoder(coding):
    assert decoder_for(coding) is None


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_garbage_is_an_error_at_once(coding):
    with pytest.raises(BadResponse, match="damaged"):
        list(decoder_for(coding).feed(b"<html>\xff\xff not packed at all</html>"))


def test_random_bodies_in_random_pieces():
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    for _ in range(60):
        data = rng.choice([bytes, rng.getrandbits(8).to_bytes(1, "big").__mul__])(rng.randrange(200000))
        coding, pack = rng.choice([*PACKED.items(), ("deflate", bare)])
        packed = pack(data)
        cuts = sorted(rng.randrange(len(packed) + 1) for _ in range(rng.randrange(6)))
        pieces = [packed[start:end] for start, end in zip([0] + cuts, cuts + [len(packed)])]
        assert decoded(coding, *pieces) == data, seed
