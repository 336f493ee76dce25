"""Server(compress=True): what is gzipped, what is not, what caches are told, and that every byte arrives."""
import gzip
import io
import sys
import tempfile
import zlib

import pytest

import icey
from icey.http import StaticFiles
from icey.http.server import compression
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

pytestmark = pytest.mark.needs("zlib")

TEXT = b"The quick brown fox jumps over the lazy dog.\n" * 100
GZIP = "Accept-Encoding: gzip, deflate, br"


def serve(site, slot, **options):
    return site.serve(slot, compress=True, **options)


def asked(site, slot, *fields, **options):
    """One answer of a compressing server with this slot."""
    serve(site, slot)
    return site.client().get("/", *fields, **options)


def text(exchange, **options):
    exchange.respond(200, TEXT, "text/plain", **options)


def is_plain(answer, body=TEXT):
    return "content-encoding" not in answer and answer.body == body


def is_packed(answer, body=TEXT):
    assert answer["content-encoding"] == "gzip"
    return gzip.decompress(answer.body) == body and len(answer.body) < len(body)


# what is compressed

@pytest.mark.parametrize("body", [TEXT, bytearray(TEXT), memoryview(TEXT), memoryview(TEXT).cast("H")])
def test_an_answer_of_text_is_compressed_for_who_takes_it(site, body):
    answer = asked(site, lambda exchange: exchange.respond(200, body, "text/html; charset=utf-8"), GZIP)
    assert is_packed(answer)
    assert (answer["vary"], answer["content-type"]) == ("Accept-Encoding", "text/html; charset=utf-8")
    assert int(answer["content-length"]) == len(answer.body)


@pytest.mark.parametrize("fields", [(), ("Accept-Encoding: br",), ("Accept-Encoding: gzip;q=0",)])
def test_who_does_not_take_it_gets_it_as_it_is_and_caches_are_told(site, fields):
    answer = asked(site, text, *fields)
    assert is_plain(answer) and answer["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("size, packed", [(1023, False), (1024, True)])
def test_a_short_answer_is_left_alone(site, size, packed):
    answer = asked(site, lambda exchange: exchange.respond(200, b"x" * size, "text/plain"), GZIP)
    assert ("content-encoding" in answer, "vary" in answer) == (packed, packed)


@pytest.mark.parametrize("status, kind, headers", [
    (200, "image/png", None), (200, None, None), (206, "text/plain", {"Content-Range": "bytes 0-4499/9000"}),
    (200, "text/plain", {"Content-Encoding": "br"}), (200, "text/plain", {"Cache-Control": "private, no-transform"}),
])
def test_what_the_application_made_its_own_is_left_alone(site, status, kind, headers):
    answer = asked(site, lambda exchange: exchange.respond(status, TEXT, kind, headers), GZIP)
    assert answer.body == TEXT and "vary" not in answer


@pytest.mark.parametrize("headers, vary", [
    ({"Vary": "Cookie"}, "Cookie, Accept-Encoding"), ({"vary": "accept-encoding"}, "accept-encoding"), ({"Vary": "*"}, "*"),
    ([("Vary", "Cookie"), ("Vary", "Origin")], "Cookie, Origin, Accept-Encoding"),
])
@pytest.mark.parametrize("fields", [(), (GZIP,)])
def test_vary_is_kept(site, headers, vary, fields):
    assert asked(site, lambda exchange: text(exchange, headers=headers), *fields)["vary"] == vary


@pytest.mark.parametrize("etag, sent", [('"abc"', 'W/"abc"'), ('W/"abc"', 'W/"abc"')])
def test_a_strong_etag_becomes_weak(site, etag, sent):
    def slot(exchange):
        exchange.response.headers["ETag"] = etag
        text(exchange, headers={"X-One": "1"})

    serve(site, slot)
    client = site.client()
    packed, plain = client.get("/", GZIP), client.get()
    assert is_packed(packed) and is_plain(plain)
    assert (packed["etag"], packed["x-one"], plain["etag"], plain["x-one"]) == (sent, "1", etag, "1")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("known, etag", [
    ('W/"abc"', 'W/"abc"'), ('"x", W/"abc"', 'W/"abc"'), ('"abc"', '"abc"'), ('W/"abcd"', '"abc"'), ("*", '"abc"'),
])
@pytest.mark.parametrize("pieces", [False, True])
def test_a_304_says_what_the_compressed_answer_said(site, method, known, etag, pieces):
    """RFC 9110 section 15.4.5: ETag and Vary, as the 200 had them; that one's ETag is what the client names."""
    def slot(exchange):
        if pieces:
            exchange.response.status = 304
            exchange.response.headers["ETag"] = '"abc"'
            exchange.end()
        else:
            exchange.respond(304, headers={"ETag": '"abc"'})

    serve(site, slot)
    answer = site.client().get("/", GZIP, "If-None-Match: " + known, method=method)
    assert (answer.status, answer["etag"]) == (304, etag)
    assert ("vary" in answer) == (etag[0] == "W")


def test_a_file_that_has_not_changed_is_the_one_that_was_compressed(site, tmp_path):
    (tmp_path / "a.txt").write_bytes(TEXT)
    serve(site, StaticFiles(tmp_path))
    client = site.client()
    whole = client.get("/a.txt", GZIP)
    again = client.get("/a.txt", GZIP, "If-None-Match: " + whole["etag"])
    assert is_packed(whole) and again.status == 304
    assert (again["etag"], again["vary"]) == (whole["etag"], whole["vary"])


def test_a_head_says_what_get_would(site):
    serve(site, text)
    client = site.client()
    get, head = client.get("/", GZIP), client.get("/", GZIP, method="HEAD")
    drop = ("date",)
    assert [field for field in head.fields if field[0] not in drop] == [field for field in get.fields if field[0] not in drop]


@pytest.mark.parametrize("length, packed", [(str(len(TEXT)), True), ("17", False)])
def test_a_given_length_is_held_to_then_replaced(site, reports, length, packed):
    serve(site, lambda exchange: text(exchange, headers={"Content-Length": length}))
    answer = site.client().get("/", GZIP)
    if packed:
        assert is_packed(answer)
    else:
        assert answer.status == 500
        reports.take(icey.StateError)


def test_a_body_that_is_no_bytes_is_refused_as_ever(site, reports):
    assert asked(site, lambda exchange: exchange.respond(200, "text" * 1000, "text/plain"), GZIP).status == 500
    reports.take(TypeError)


def test_json_is_compressed(site):
    value = {"names": ["gr\xfcn"] * 500}
    answer = asked(site, lambda exchange: exchange.respond_json(value), GZIP)
    assert is_packed(answer, b'{"names":[%s]}' % b",".join([b'"gr\xc3\xbcn"'] * 500))


# piece by piece

def stream(exchange, pieces, kind="text/plain", **fields):
    exchange.response.headers["Content-Type"] = kind
    for name, value in fields.items():
        exchange.response.headers[name.replace("_", "-")] = value
    for piece in pieces:
        exchange.send(piece)
    exchange.end()


@pytest.mark.parametrize("pieces", [
    [TEXT], [b"a", b"", b"b" * 5000, b"c"], [[b"a" * 10, b"b" * 10], bytearray(b"c" * 10), memoryview(b"d" * 10)], []])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_what_is_sent_piece_by_piece_is_compressed(site, pieces, version):
    answer = asked(site, lambda exchange: stream(exchange, pieces), GZIP, version=version)
    whole = b"".join(b"".join(piece) if isinstance(piece, list) else bytes(piece) for piece in pieces)
    if pieces:
        assert answer["content-encoding"] == "gzip" and gzip.decompress(answer.body) == whole
    else:
        assert is_plain(answer, b"")


def test_each_piece_can_be_read_at_once(site):
    exchanges = []
    serve(site, lambda exchange: (exchange.response.headers.add("Content-Type", "text/event-stream"),
                                  exchange.begin_streaming(), exchanges.append(exchange)))
    client = site.client()
    client.ask("GET", "/", GZIP)
    head = client.read_until(b"\r\n\r\n")
    assert b"Content-Encoding: gzip\r\n" in head
    decoder = zlib.decompressobj(31)
    for event in (b"data: one\n\n", b"data: two\n\n"):
        exchanges[0].send(event)
        size = int(client.read_until(b"\r\n"), 16)
        assert decoder.decompress(client.read(size + 2)[:-2]) == event
    exchanges[0].end()
    assert decoder.decompress(client.read(int(client.read_until(b"\r\n"), 16) + 2)[:-2]) == b"" and decoder.eof


def test_with_a_length_given_it_is_left_alone(site):
    answer = asked(site, lambda exchange: stream(exchange, [TEXT], Content_Length=str(len(TEXT))), GZIP)
    assert is_plain(answer) and "vary" not in answer


def test_a_head_without_a_body_has_no_trailer(site):
    serve(site, lambda exchange: stream(exchange, [TEXT]))
    client = site.client()
    assert client.get("/", GZIP, method="HEAD")["content-encoding"] == "gzip"
    assert is_packed(client.get("/", GZIP))


def test_done_tells_and_the_buffer_is_free_at_once(site):
    told = []

    def slot(exchange):
        exchange.response.headers["Content-Type"] = "text/plain"
        buffer = bytearray(TEXT)
        exchange.send(buffer, lambda: told.append("piece"))
        buffer.clear()  # no export is left
        exchange.send(b"", lambda: told.append("empty"))
        assert told == []
        exchange.end()

    assert is_packed(asked(site, slot, GZIP))
    site.until(lambda: len(told) == 2)


def test_a_piece_that_does_not_fit_leaves_the_rest_readable(site):
    full = []

    def slot(exchange):
        exchange.response.headers["Content-Type"] = "text/plain"
        http.narrow(exchange)
        noise = bytes(range(256)) * 64
        for n in range(200):
            try:
                exchange.send(zlib.compress(noise + bytes([n])) * 40)
            except icey.QueueFull:
                full.append(n)
        exchange.end()

    serve(site, slot, limits={"max_queue": 4096})
    client = site.client(receive=4096)
    client.ask("GET", "/", GZIP)
    site.turn(5)
    assert full
    assert gzip.decompress(client.answer().body)


def test_after_the_end_it_is_state_error_as_ever(site):
    exchanges = []
    serve(site, exchanges.append)
    client = site.client()
    client.ask("GET", "/", GZIP)
    site.until(lambda: exchanges)
    exchanges[0].abort()
    site.until(lambda: not site.server.connections)
    for verb in (lambda: exchanges[0].respond(200, TEXT, "text/plain"), lambda: exchanges[0].send(TEXT), exchanges[0].end):
        with pytest.raises(icey.StateError):
            verb()


# files

def file_of(data):
    file = tempfile.TemporaryFile()
    file.write(data)
    file.flush()
    return file


def test_a_file_is_left_alone(site):
    def slot(exchange):
        exchange.response.headers["Content-Type"] = "text/plain"
        exchange.send_file(file_of(TEXT), 0, len(TEXT))
        exchange.end()

    assert is_plain(asked(site, slot, GZIP))


def test_a_file_behind_what_was_compressed_is_compressed(site):
    told, big = [], TEXT * 50

    def slot(exchange):
        exchange.response.headers["Content-Type"] = "text/plain"
        exchange.send(b"first")
        exchange.send_file(file_of(b"before" + big), 6, len(big), lambda: told.append(True))
        exchange.end()

    assert is_packed(asked(site, slot, GZIP), b"first" + big)
    site.until(lambda: told)


def test_a_file_that_is_too_short_cuts_the_answer(site, reports):
    files = []

    def slot(exchange):
        exchange.response.headers["Content-Type"] = "text/plain"
        exchange.send(b"first")
        files.append(io.BytesIO(b"short"))
        exchange.send_file(files[0], 0, 10)

    serve(site, slot)
    client = site.client()
    client.ask("GET", "/", GZIP)
    with pytest.raises(ConnectionResetError):
        client.read_all()
    reports.take(icey.StateError)
    assert files[0].closed


# without

def test_by_default_nothing_is_compressed(site):
    site.serve(text)
    answer = site.client().get("/", GZIP)
    assert is_plain(answer) and "vary" not in answer


def test_without_zlib_answers_go_out_as_they_are_and_the_log_says_so(site, monkeypatch):
    said = []
    monkeypatch.setitem(sys.modules, "zlib", None)
    monkeypatch.setattr(compression.log, "warning", lambda area, text, *args: said.append(text % args))
    assert is_plain(asked(site, text, GZIP))
    assert len(said) == 1 and "zlib" in said[0]


# what speaks of the bytes, HEAD without a body, files behind what was compressed

@pytest.mark.parametrize("name", ["Content-Digest", "Content-MD5"])
def test_what_has_a_digest_is_left_alone(site, name):
    assert is_plain(asked(site, lambda exchange: text(exchange, headers={name: "x"}), GZIP))


def test_a_head_that_is_answered_by_its_length_alone_says_what_get_would(site):
    def slot(exchange):
        body = TEXT if exchange.request.method == "GET" else b""
        exchange.respond(200, body, "text/plain", {"Content-Length": str(len(TEXT)), "ETag": '"v1"'})

    serve(site, slot)
    client = site.client()
    get, head = client.get("/", GZIP), client.get("/", GZIP, method="HEAD")
    for name in ("content-encoding", "vary", "etag"):
        assert get[name] == head[name]
    assert "content-length" not in head
    assert client.get("/", method="HEAD")["content-length"] == str(len(TEXT))


def test_a_file_behind_what_was_compressed_is_whole_or_not_taken_at_all(site):
    noise = bytes(range(256)) * 40

    def slot(exchange):
        exchange.response.headers["Content-Type"] = "text/plain"
        http.narrow(exchange)
        exchange.send(b"first")
        exchange.send_file(file_of(noise * 10), 0, len(noise) * 10)
        exchange.end()

    serve(site, slot, limits={"max_queue": 4096})
    client = site.client(receive=4096)
    client.ask("GET", "/", GZIP)
    site.turn(5)
    assert gzip.decompress(client.answer().body) == b"first" + noise * 10


@pytest.mark.parametrize("fields", [(GZIP,), ()])
@pytest.mark.parametrize("size", [compression.LEAST - 1, len(TEXT), 100_000])
def test_a_head_of_a_file_says_what_get_would(site, tmp_path, fields, size):
    (tmp_path / "a.txt").write_bytes((TEXT * 30)[:size])
    serve(site, StaticFiles(tmp_path))
    client = site.client()
    get, head = client.get("/a.txt", *fields), client.get("/a.txt", *fields, method="HEAD")
    left_out = ("date", "content-length") if "content-encoding" in get else ("date",)
    assert sorted(field for field in head.fields if field[0] not in left_out) == sorted(
        field for field in get.fields if field[0] not in left_out)
    assert ("content-length" in head) == ("content-encoding" not in get)


def test_what_is_compressed_offers_no_ranges_of_what_it_is_not(site, tmp_path):
    (tmp_path / "a.txt").write_bytes(TEXT)
    serve(site, StaticFiles(tmp_path))
    client = site.client()
    packed, plain = client.get("/a.txt", GZIP), client.get("/a.txt")
    assert is_packed(packed) and "accept-ranges" not in packed
    assert plain["accept-ranges"] == "bytes"
    assert client.get("/a.txt", GZIP, "Range: bytes=3-5").body == TEXT[3:6]
