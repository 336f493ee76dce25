"""Pieces that are wanted whole."""
import random

import pytest

from icey.base import pieces
from icey.base.pieces import gather_piece, joined
from tests.support import seeds


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """What keep_freed_memory has done."""
    done = []
    monkeypatch.setattr(pieces, "_kept", done)
    return done


def test_nothing_one_and_several():
    gathered = []
    assert joined(gathered) == b""
    gather_piece(gathered, memoryview(b"a"))
    assert joined(gathered) == b"a" and type(joined(gathered)) is bytes
    gather_piece(gathered, memoryview(b"b"))
    gather_piece(gathered, b"")
    gather_piece(gathered, bytearray(b"c"))
    assert joined(gathered) == b"abc" and type(joined(gathered)) is bytes and len(gathered) == 1


def test_they_are_copies():
    memory, gathered = bytearray(b"ab"), []
    for _ in range(3):
        gather_piece(gathered, memoryview(memory))
        memory[:] = bytes(byte + 2 for byte in memory)
    assert joined(gathered) == b"abcdef"


def test_the_first_one_may_be_there_already():
    gathered = [b"of a packet "]
    gather_piece(gathered, b"that came in two")
    assert joined(gathered) == b"of a packet that came in two"


@pytest.mark.parametrize("seed", seeds.each(range(20)))
def test_cut_anywhere_it_is_the_whole(seed):
    rng = random.Random(seed)
    whole = rng.getrandbits(8 * 5000).to_bytes(5000, "little")
    ends = sorted(rng.randrange(5001) for _ in range(rng.randrange(40))) + [5000]
    gathered, at = [], 0
    for end in ends:
        gather_piece(gathered, memoryview(whole)[at:end])
        at = end
    assert joined(gathered) == whole


def test_the_allocator_keeps_what_a_long_one_leaves(kept):
    gathered = []
    for _ in range(2):
        gather_piece(gathered, bytes(pieces.LONG // 2 - 1))
    joined(gathered)
    assert kept == []
    gather_piece(gathered, b"ab")
    joined(gathered)
    assert kept == [pieces.KEPT]
    joined(gathered)
    assert kept == [pieces.KEPT]
