"""Content codings undone: gzip, deflate of both kinds, damaged, cut, over one another, and the small that would be huge."""
import gzip
import io
import zlib

import pytest

from icey import BadResponse, Deadline
from tests.support import needs, rawserver, seeds

needs("zlib")

from icey.http.client import decoding  # noqa: E402
from icey.http.client.decoding import PIECE, decoder_for  # noqa: E402

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

TEXT = b"The quick brown fox jumps over the lazy dog. " * 50


def gzipped(data, level=9):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=level, mtime=0) as file:
        file.write(data)
    return out.getvalue()


def deflated(data):
    return zlib.compress(data, 9)


def bare(data, level=9):
    made = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return made.compress(data) + made.flush()


def decoded(coding, *pieces, most=None):
    decoder = decoder_for(coding, most)
    out = [piece for data in pieces for piece in decoder.feed(data)]
    decoder.end()
    assert all(0 < len(piece) <= PIECE for piece in out)
    return b"".join(out)


CODINGS = {"gzip": gzipped, "x-gzip": gzipped, "GZip": gzipped, "deflate": deflated, " deflate\t": bare}
each_coding = pytest.mark.parametrize("coding, encode", CODINGS.items(), ids=[repr(name) for name in CODINGS])
SIZES = [0, 1, 1000, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 1000000]


@each_coding
@pytest.mark.parametrize("size", SIZES)
def test_of_every_size(coding, encode, size):
    for data in (bytes(size), (TEXT * (size // len(TEXT) + 1))[:size]):
        assert decoded(coding, encode(data)) == data


@each_coding
@pytest.mark.parametrize("level", [0, 1])
def test_of_other_levels(coding, encode, level):
    if encode is not deflated:
        assert decoded(coding, encode(TEXT, level)) == TEXT
    assert decoded("deflate", zlib.compress(TEXT, level)) == TEXT


@each_coding
def test_every_split_point_and_byte_at_a_time(coding, encode):
    data = encode(TEXT)
    for at in range(len(data) + 1):
        assert decoded(coding, data[:at], data[at:]) == TEXT
    assert decoded(coding, *[data[i:i + 1] for i in range(len(data))]) == TEXT
    assert decoded(coding, memoryview(data), b"", bytearray()) == TEXT


def test_what_the_last_byte_unfolds_to_is_not_lost():
    """Bare deflate has nothing behind its data: the decoder may hold more than it was let out when the input is used up."""
    for size in range(PIECE - 300, PIECE + 300, 7):
        for data in (bytes(size), b"ab" * (size // 2)):
            assert decoded("deflate", bare(data)) == data
    for size in (2 * PIECE, 2 * PIECE + 258, 5 * PIECE - 1):
        assert decoded("deflate", bare(bytes(size))) == bytes(size)


def test_random_data_in_random_pieces():
    rng = seeds.rng()
    for _ in range(40):
        data = bytes(rng.choices(range(rng.choice([2, 20, 256])), k=rng.randrange(5000)))
        coding, encode = rng.choice(list(CODINGS.items()))
        encoded = encode(data)
        pieces = []
        while encoded:
            size = rng.choice([1, 5, 100, 4000])
            pieces.append(encoded[:size])
            encoded = encoded[size:]
        assert decoded(coding, *pieces) == data


# gzip in several members

def test_members_follow_one_another():
    data = gzipped(b"one") + gzipped(b"") + gzipped(b"two")
    assert decoded("gzip", data) == b"onetwo"
    assert decoded("gzip", *[data[i:i + 1] for i in range(len(data))]) == b"onetwo"


def test_zeros_may_follow():
    assert decoded("gzip", gzipped(b"one") + bytes(100)) == b"one"
    assert decoded("gzip", gzipped(b"one"), *[b"\0"] * 2000) == b"one"


@pytest.mark.parametrize("behind", [b"\n", b"\r\n", b"\r\n\0\0\n"])
def test_line_ends_may_follow(behind):
    assert decoded("gzip", gzipped(b"one") + behind) == b"one"
    assert decoded("gzip", gzipped(b"one"), *[behind] * 100) == b"one"
    assert decoded("gzip", gzipped(b"one") + behind + gzipped(b"two")) == b"onetwo"
    assert decoded("deflate", deflated(b"one"), behind) == b"one"


def test_many_members_with_something_in_them():
    """As pigz and what rotates logs write them."""
    member = gzipped(b"a line\n")
    data = member * 5000
    assert decoded("gzip", data) == b"a line\n" * 5000
    assert decoded("gzip", *[data[at:at + 1000] for at in range(0, len(data), 1000)]) == b"a line\n" * 5000


def test_many_empty_members_are_too_many():
    many = gzipped(b"") * decoding.MOST_MEMBERS
    assert decoded("gzip", many) == b""
    assert decoded("gzip", many + gzipped(b"x")) == b"x"
    with pytest.raises(BadResponse, match="more than 1024 parts"):
        decoded("gzip", many + gzipped(b""))
    with pytest.raises(BadResponse, match="more than 1024 parts"):
        decoded("gzip", (gzipped(b"x") + gzipped(b"")) * 1025)


def test_members_cost_the_same_however_many_there_are():
    """What is behind a member is copied once for each: so it is never much."""
    data = gzipped(b"") + gzipped(b"x") * 40000
    steps = decoder_for("gzip").steps(data)
    assert b"".join(steps) == b"x" * 40000


# damaged

@each_coding
def test_cut_at_every_byte(coding, encode):
    data = encode(b"hello, hello, hello")
    for at in range(1, len(data)):
        with pytest.raises(BadResponse, match="ended early"):
            decoded(coding, data[:at])
    assert decoded(coding) == b"" == decoded(coding, b"")  # no body at all


DAMAGED = {
    "not gzip": ("gzip", b"hello, this is plain text"),
    "not deflate": ("deflate", b"\xff\xff\xff\xff"),
    "a wrong checksum": ("gzip", gzipped(TEXT)[:-8] + bytes(8)),
    "a wrong length": ("gzip", gzipped(TEXT)[:-4] + bytes(4)),
    "a wrong sum": ("deflate", deflated(TEXT)[:-4] + bytes(4)),
    "garbage behind gzip": ("gzip", gzipped(TEXT) + b"garbage"),
    "garbage behind zeros": ("gzip", gzipped(TEXT) + bytes(5) + b"garbage"),
    "garbage behind deflate": ("deflate", deflated(TEXT) + b"garbage"),
    "garbage behind bare deflate": ("deflate", bare(TEXT) + b"garbage"),
    "a dictionary": ("deflate", zlib.compressobj(zdict=b"quick brown fox").compress(TEXT) + b"\x78\xbb" * 20),
}


@pytest.mark.parametrize("coding, data", DAMAGED.values(), ids=DAMAGED)
def test_damaged(coding, data):
    with pytest.raises(BadResponse):
        decoded(coding, data)


def test_every_damaged_byte_of_a_gzip_body_is_found_or_harmless():
    data = gzipped(TEXT[:400])
    harmless = {3, 4, 5, 6, 7, 8, 9}  # flags, time, level, system: say nothing of the data
    for at in range(len(data)):
        try:
            assert decoded("gzip", data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1:]) == TEXT[:400] and at in harmless, at
        except BadResponse:
            pass


def test_flipped_bits_never_raise_anything_else():
    rng = seeds.rng()
    for coding, encode in CODINGS.items():
        data = encode(TEXT)
        for _ in range(60):
            broken = bytearray(data)
            broken[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            try:
                decoded(coding, broken, most=1 << 20)
            except BadResponse:
                pass


# bombs

@each_coding
def test_a_bomb_is_an_error_before_it_is_in_memory(coding, encode):
    bomb = encode(bytes(10 << 20))
    assert len(bomb) < 12000
    decoder = decoder_for(coding, 100000)
    total = 0
    with pytest.raises(BadResponse, match="unfolds to more than 100000 bytes"):
        for piece in decoder.feed(bomb):
            total += len(piece)
    assert total <= 100000


def test_exactly_the_limit_is_none():
    assert decoded("gzip", gzipped(bytes(100000)), most=100000) == bytes(100000)


def test_pieces_are_decoded_as_they_are_asked_for():
    pieces = decoder_for("gzip").feed(gzipped(bytes(10 << 20)))
    assert len(next(pieces)) == PIECE  # and the other megabytes are not there


def test_a_bomb_in_a_bomb():
    bomb = gzipped(gzipped(bytes(10 << 20)))
    assert len(bomb) < 1000
    with pytest.raises(BadResponse, match="unfolds"):
        decoded("gzip, gzip", bomb, most=1 << 20)


def test_each_step_is_told_also_one_that_brings_nothing():
    """The inner coding's name goes on and on: much work, and not a byte of a body."""
    endless = gzip_with_name(b"x" * (3 << 20))
    steps = list(decoder_for("gzip, gzip").steps(gzipped(endless)))
    assert not any(steps) and len(steps) >= (3 << 20) // PIECE
    decoder = decoder_for("gzip, gzip")
    assert list(decoder.feed(gzipped(endless))) == [] and decoder.unfolded == len(endless)


def gzip_with_name(name):
    """The beginning of a member whose file has this name (RFC 1952 section 2.3.1)."""
    return b"\x1f\x8b\x08\x08" + bytes(6) + name


# several codings, none, others

def test_over_one_another_the_last_is_undone_first():
    assert decoded("gzip, deflate", deflated(gzipped(TEXT))) == TEXT
    assert decoded("deflate,gzip", gzipped(bare(TEXT))) == TEXT
    assert decoded("identity, gzip, identity", gzipped(TEXT)) == TEXT


def test_the_inner_one_may_be_cut():
    with pytest.raises(BadResponse, match="gzip body ended early"):
        decoded("gzip, deflate", deflated(gzipped(TEXT)[:-1]))


def test_more_than_a_few_are_refused():
    data = TEXT
    for _ in range(5):
        data = gzipped(data)
    assert decoded(", ".join(["gzip"] * 5), data) == TEXT
    with pytest.raises(BadResponse, match="6 codings"):
        decoder_for(", ".join(["gzip"] * 6))


@pytest.mark.parametrize("coding", ["", "identity", "br", "gzip, br", "br, gzip", "zstd", "gzip;q=1", "\xe9", ","])
def test_what_is_not_known_or_none_has_no_decoder(coding):
    assert decoder_for(coding) is None


# in a Client

def fetched(raw, body, *fields, length=True, **options):
    call = raw.get(**options)
    server = raw.accept()
    server.request()
    server.answer(body, *fields, length=length)
    if not length:
        server.half_close()
    return call


@each_coding
def test_a_client_undoes_them(raw, coding, encode):
    call = fetched(raw, encode(TEXT), "Content-Encoding: " + coding.strip())
    got = call.answer()
    assert got.body == TEXT and got.headers["content-encoding"] == coding.strip()
    assert call.received == len(encode(TEXT))


def test_two_lines_of_codings(raw):
    assert fetched(raw, deflated(gzipped(TEXT)), "Content-Encoding: gzip", "Content-Encoding: deflate").answer().body == TEXT


def test_what_is_not_known_stays_as_it_came(raw):
    assert fetched(raw, b"\x1b\x2c", "Content-Encoding: br").answer().body == b"\x1b\x2c"


def test_unless_it_is_not_wanted(raw):
    client = raw.client(decode=False)
    assert fetched(raw, gzipped(TEXT), "Content-Encoding: gzip", client=client).answer().body == gzipped(TEXT)


def test_a_part_is_not_decoded(raw):
    call = raw.get(headers={"Range": "bytes=5-"})
    raw.accept().reply(gzipped(TEXT)[5:], "Content-Encoding: gzip", "Content-Range: bytes 5-99/100", status="206 Partial")
    assert call.answer().body == gzipped(TEXT)[5:]


@pytest.mark.parametrize("method, status", [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")])
def test_no_body_is_no_damage(raw, method, status):
    call = raw.ask(method)
    raw.accept().reply(b"", "Content-Encoding: gzip", status=status)
    assert call.answer().body == b""


def test_an_empty_body_is_none_either(raw):
    assert fetched(raw, b"", "Content-Encoding: gzip").answer().body == b""


@pytest.mark.parametrize("body", [b"not gzip at all", gzipped(TEXT)[:-1], gzipped(TEXT)[:-8] + bytes(8)])
def test_damage_is_an_error_of_the_call(raw, body):
    call = fetched(raw, body, "Content-Encoding: gzip")
    call.error(BadResponse)


def test_too_many_codings_are(raw):
    call = fetched(raw, b"x", "Content-Encoding: " + ", ".join(["gzip"] * 9))
    call.error(BadResponse)


def test_a_bomb_is_bounded_by_max_body(raw):
    raw.client(max_body=1 << 20)
    call = fetched(raw, gzipped(bytes(5 << 20)), "Content-Encoding: gzip")
    assert "over 1048576 bytes" in str(call.error(BadResponse))


def test_in_pieces_it_may_be_larger(raw):
    raw.client(max_body=1000)
    total = []
    call = raw.get()
    call.on_payload += lambda call, view: total.append(len(view))
    raw.accept().reply(gzipped(bytes(1 << 20)), "Content-Encoding: gzip")
    call.answer()
    assert sum(total) == 1 << 20 and max(total) <= PIECE


@pytest.mark.parametrize("cut", [False, True])
def test_a_paused_call_gets_no_more_of_what_came_already(raw, cut):
    """One piece from the wire unfolds to many: pause() holds those, too."""
    body = gzipped(bytes(5 * PIECE))
    call = raw.get()
    seen = []
    call.on_payload += lambda call, view: (seen.append(len(view)), call.pause())
    raw.accept().reply(body[:-1] if cut else body, "Content-Encoding: gzip")
    for number in range(1, 6):
        raw.until(lambda number=number: len(seen) == number)
        raw.turn(4)
        assert len(seen) == number and not call.over
        call.resume()
    if cut:
        call.error(BadResponse)
    else:
        call.answer()
        assert sum(seen) == 5 * PIECE


def test_paused_with_more_to_come_from_the_server(raw):
    body = gzipped(bytes(2 * PIECE)) + gzipped(b"end")
    call = raw.get()
    seen = []
    call.on_payload += lambda call, view: (seen.append(len(view)), call.pause())
    server = raw.accept()
    server.request()
    server.send(rawserver.answer(body, "Content-Encoding: gzip")[:-20])
    for _ in range(6):
        raw.turn(3)
        call.resume()
    assert seen == [PIECE, PIECE] and not call.over
    server.send(body[-20:])
    while not call.over:
        raw.turn(3)
        call.resume()
    call.answer()
    assert sum(seen) == 2 * PIECE + 3


def test_a_call_closed_between_two_pieces(raw):
    seen = []
    call = raw.get()
    call.on_payload += lambda call, view: (seen.append(len(view)), call.close())
    raw.accept().reply(gzipped(bytes(5 * PIECE)), "Content-Encoding: gzip")
    raw.until(lambda: call.closed)
    raw.turn(3)
    assert seen == [PIECE] and not call.over
    assert call.call._pieces == []  # nor was anything gathered behind its back


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_a_call_closed_while_it_is_paused_between_two_pieces(raw, verb):
    seen = []
    call = raw.get()
    call.on_payload += lambda call, view: (seen.append(len(view)), call.pause())
    raw.accept().reply(gzipped(bytes(5 * PIECE)), "Content-Encoding: gzip")
    raw.until(lambda: seen)
    call.resume()
    getattr(call, verb)()
    raw.turn(3)
    assert seen == [PIECE] and not call.over and call.closed


def test_damage_that_is_met_after_a_pause(raw):
    call = raw.get()
    seen = []
    call.on_payload += lambda call, view: (seen.append(len(view)), call.pause())
    raw.accept().reply(gzipped(bytes(PIECE)) + b"garbage", "Content-Encoding: gzip")
    raw.until(lambda: seen)
    call.resume()
    call.error(BadResponse)


# bombs in a Client: to a file, or to slots

BOMB = gzipped(gzipped(bytes(64 << 20), 6))  # some hundred bytes, 64 MiB: more than 60 turns decode
TWICE = "Content-Encoding: gzip, gzip"


def taken(call, how, path):
    """Has the body go to a file or to a slot; a function that tells how many bytes have arrived there."""
    if how == "file":
        call.save_to(str(path))
        return lambda: max([file.stat().st_size for file in path.parent.iterdir()] or [0])
    sizes = []
    call.on_payload += lambda call, view: sizes.append(len(view))
    return lambda: sum(sizes)


each_way = pytest.mark.parametrize("how", ["file", "slot"])


@each_way
def test_a_bomb_is_bounded_by_max_decoded(raw, tmp_path, how):
    raw.client(limits={"max_decoded": 1 << 20})
    call = raw.get()
    size = taken(call, how, tmp_path / "file")
    raw.accept().reply(BOMB, TWICE)
    raw.until(lambda: call.over or size() > 3 << 20)
    assert "unfold to more than 1048576" in str(call.error(BadResponse))
    raw.turn(3)
    assert list(tmp_path.iterdir()) == []


@each_way
def test_what_unfolds_a_hundredfold_is_none(raw, tmp_path, how):
    text = b"".join(b"%d " % (number * number) for number in range(10000))
    body = gzipped(text)
    raw.client(limits={"max_decoded": 1000})
    call = raw.get()
    size = taken(call, how, tmp_path / "file")
    raw.accept().reply(body, "Content-Encoding: gzip")
    call.answer()
    assert size() == len(text) < 100 * len(body)


@pytest.mark.slow  # the bound that there would be is 64 MiB
def test_without_a_bound_there_is_none(raw):
    raw.client(limits={"max_decoded": None})
    call = raw.get()
    size = taken(call, "slot", None)
    raw.accept().reply(gzipped(gzipped(bytes(70 << 20))), TWICE)
    raw.until(lambda: call.over, 30)
    call.answer()
    assert size() == 70 << 20


@each_way
def test_a_turn_decodes_half_a_mebibyte(raw, tmp_path, how):
    call = raw.get()
    size = taken(call, how, tmp_path / "file")
    raw.accept().reply(gzipped(gzipped(bytes(5 << 20))), TWICE)
    before = 0
    while not call.over:
        raw.turn()
        assert size() - before <= (512 << 10) + PIECE
        before = size()
    call.answer()
    assert how == "file" or before == 5 << 20


@each_way
def test_a_deadline_falls_in_the_midst_of_a_bomb(raw, clock, tmp_path, how):
    raw.client(limits={"max_decoded": None}, timeout=2.0)
    call = raw.get()
    size = taken(call, how, tmp_path / "file")
    raw.accept().reply(BOMB, TWICE)
    for _ in range(60):
        raw.turn()
        clock.advance(0.1)
    call.error(Deadline)
    assert size() <= 30 << 20


def test_work_that_brings_nothing_is_done_in_turns_too(raw, clock):
    """Three codings, and the innermost begins with an endless name."""
    raw.client(timeout=2.0, max_body=None)
    call = raw.get()
    raw.accept().reply(gzipped(gzipped(gzip_with_name(b"x" * (24 << 20)))), "Content-Encoding: gzip, gzip, gzip")
    for _ in range(60):
        raw.turn()
        clock.advance(0.1)
    call.error(Deadline)


def test_the_rest_of_an_answer_waits_while_a_piece_is_decoded(raw):
    """And a call that is paused and resumed meanwhile delivers all, once."""
    one, two = gzipped(bytes(2 << 20)), gzipped(b"end")
    call = raw.get()
    seen = []
    call.on_payload += lambda call, view: seen.append(bytes(view))
    server = raw.accept()
    server.request()
    server.send(rawserver.chunked(one, two).replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1))
    raw.until(lambda: seen)
    call.pause()
    raw.turn(5)
    call.resume()
    call.pause()
    call.resume()
    call.answer()
    assert b"".join(seen) == bytes(2 << 20) + b"end"
