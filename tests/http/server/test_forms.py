"""FormParser: forms in, fields and files out, within limits; alone, and on a server."""
import io
import struct
import tempfile

import pytest

import icey
from icey.http import Form, FormParser, MultipartEncoder, urlencode
from tests.support import http, seeds
from tests.support.streams import PYPY, exports, turn  # noqa: F401

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

MULTIPART = "multipart/form-data; boundary=b"
URLENCODED = "application/x-www-form-urlencoded"
tells = pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")


def body(*parts):
    """A multipart body of (head lines, data)."""
    return b"".join(b"--b\r\n" + "".join(line + "\r\n" for line in head).encode() + b"\r\n" + data + b"\r\n"
                    for head, data in parts) + b"--b--\r\n"


def field(name, data, *more):
    return (['Content-Disposition: form-data; name="%s"' % name, *more], data)


def file(name, filename, data, *more):
    return (['Content-Disposition: form-data; name="%s"; filename="%s"' % (name, filename), *more], data)


def parse(content_type, *pieces, **options):
    parser = FormParser(content_type, **options)
    for piece in pieces:
        parser.feed(piece)
    return parser.end()


def told(form):
    return form.fields, [(part.name, part.filename, part.content_type, part.size, part.data) for part in form.files]


MIXED = body(
    field("title", b"Hello"), file("up", "a.txt", b"first\r\n", "Content-Type: text/html"), field("title", "\xe4".encode()),
    file("up", "", b"", "Content-Type: application/octet-stream"), field("", b""), file("other", "b\u20ac.bin", b"\0\xff"),
)
TOLD = (
    [("title", "Hello"), ("title", "\xe4"), ("", "")],
    [("up", "a.txt", "text/html", 7, b"first\r\n"), ("up", "", "application/octet-stream", 0, b""),
     ("other", "b\u20ac.bin", "text/plain", 2, b"\0\xff")],
)


def test_a_multipart_form():
    form = parse(MULTIPART, MIXED)
    assert told(form) == TOLD
    assert (form.get("title"), form.get("nothing"), form.get("nothing", 1)) == ("Hello", None, 1)
    assert (form.get_all("title"), form.get_all("nothing")) == (["Hello", "\xe4"], [])
    assert form.file("other") is form.files[2] and form.file("up") is form.files[0] and form.file("title") is None
    part = form.files[0]
    assert part.headers["Content-Type"] == "text/html" and part.file is None
    assert repr(form) == "<Form of 3 fields, 3 files>"
    assert repr(part) == "<FormFile up: 'a.txt', 7 bytes>"


def test_a_multipart_form_split_anywhere():
    for at in range(len(MIXED) + 1):
        assert told(parse(MULTIPART, MIXED[:at], MIXED[at:])) == TOLD
    assert told(parse(MULTIPART, *(MIXED[at:at + 1] for at in range(len(MIXED))))) == TOLD


def test_an_urlencoded_form():
    data = b"a=1&b=%C3%A4+x&a=2"
    expected = ([("a", "1"), ("b", "\xe4 x"), ("a", "2")], [])
    for at in range(len(data) + 1):
        assert told(parse(URLENCODED, data[:at], data[at:])) == expected
    assert told(parse(URLENCODED)) == ([], [])


@pytest.mark.parametrize("content_type", [
    MULTIPART.upper().replace("=B", "=b"), 'multipart/form-data;boundary="b";charset=utf-8',
])
def test_the_content_type_is_read_as_such(content_type):
    assert told(parse(content_type, MIXED)) == TOLD


def test_safe_names():
    form = parse(MULTIPART, body(file("a", "../x/y.txt", b""), file("a", "..", b"")))
    assert [part.safe_name for part in form.files] == ["y.txt", ""]


def test_events_in_their_order():
    seen = []

    def on_file(part):
        seen.append(("file", part.name, part.size, part.data))

    form = parse(MULTIPART, MIXED, on_field=lambda name, value: seen.append((name, value)), on_file=on_file,
                 on_data=lambda part, view: seen.append((part.name, bytes(view))),
                 on_file_end=lambda part: seen.append(("end", part.name, part.size, part.data)))
    assert seen == [
        ("title", "Hello"), ("file", "up", 0, None), ("up", b"first\r\n"), ("end", "up", 7, None), ("title", "\xe4"),
        ("file", "up", 0, None), ("end", "up", 0, None), ("", ""), ("file", "other", 0, None), ("other", b"\0\xff"),
        ("end", "other", 2, None),
    ]
    assert form.fields == [] and len(form.files) == 3
    seen.clear()
    parse(URLENCODED, b"a=1&b=2", on_field=lambda name, value: seen.append((name, value)))
    assert seen == [("a", "1"), ("b", "2")]


def test_a_file_in_memory_is_there_when_it_ends():
    ended = []
    parse(MULTIPART, MIXED, on_file_end=lambda part: ended.append(part.data))
    assert ended == [b"first\r\n", b"", b"\0\xff"]


def test_a_view_that_is_kept_is_revoked():
    views = []
    parse(MULTIPART, MIXED, on_data=lambda part, view: views.append(view))
    for view in views:
        with pytest.raises(ValueError, match="released"):
            bytes(view)


@tells
def test_a_view_that_something_exports_is_a_borrow_error(exports):
    def keeps_it(part, view):
        exports.append(struct.iter_unpack("1s", view))

    with pytest.raises(icey.BorrowError, match="keeps_it"):
        parse(MULTIPART, MIXED, on_data=keeps_it)


# files that are written

class Sink(io.BytesIO):
    """A file that keeps its content when it is closed. most: what one write takes."""

    def __init__(self, most=None, says=True):
        super().__init__()
        self.most, self.says, self.content = most, says, b""

    def write(self, data):
        piece = bytes(data)[:self.most]
        self.content += piece
        return len(piece) if self.says else None


@pytest.mark.parametrize("sink", [Sink, lambda: Sink(1), lambda: Sink(says=False)])
def test_what_on_file_returns_is_written(sink):
    form = parse(MULTIPART, MIXED, on_file=lambda part: sink() if part.filename else None)
    assert [part.file and part.file.content for part in form.files] == [b"first\r\n", None, b"\0\xff"]
    assert [part.data for part in form.files] == [None, b"", None]
    assert [part.size for part in form.files] == [7, 0, 2]
    assert not form.files[0].file.closed
    form.close()
    assert form.files[0].file.closed and form.files[2].file.closed
    form.close()


def test_real_files(tmp_path):
    form = parse(MULTIPART, MIXED, on_file=lambda part: open(str(tmp_path / (part.safe_name or "none")), "wb", buffering=0))
    form.close()
    assert (tmp_path / "a.txt").read_bytes() == b"first\r\n"
    assert (tmp_path / "none").read_bytes() == b""
    assert (tmp_path / "b\u20ac.bin").read_bytes() == b"\0\xff"


def test_a_file_that_takes_nothing_is_an_error():
    with pytest.raises(OSError, match="took nothing of 7 bytes"):
        parse(MULTIPART, MIXED, on_file=lambda part: Sink(0))


def test_what_cannot_be_written_to_is_a_type_error():
    with pytest.raises(TypeError, match="something with write"):
        parse(MULTIPART, MIXED, on_file=lambda part: "a.txt")


@pytest.mark.parametrize("breaks", ["malformed", "truncated", "callback", "given up"])
def test_a_form_that_does_not_come_whole_closes_its_files(breaks):
    files = []

    def on_file(part):
        if breaks == "callback" and files:
            raise icey.HttpError(403)
        files.append(tempfile.TemporaryFile())
        return files[-1]

    parser = FormParser(MULTIPART, on_file=on_file)
    if breaks == "callback":
        with pytest.raises(icey.HttpError):
            parser.feed(MIXED)
    else:
        parser.feed(MIXED[:-4])
        if breaks == "malformed":
            with pytest.raises(icey.BadRequest):
                parser.feed(b"\n")
        elif breaks == "truncated":
            with pytest.raises(icey.IncompleteBody):
                parser.end()
        else:
            parser.close()
    assert [file.closed for file in files] == [True] * (1 if breaks == "callback" else 3)
    for call in (lambda: parser.feed(b"x"), parser.end):
        with pytest.raises(icey.StateError, match="on a form that failed"):
            call()
    parser.close()


def test_a_complete_form_is_not_closed():
    parser = FormParser(MULTIPART, on_file=lambda part: Sink())
    parser.feed(MIXED)
    form = parser.end()
    parser.close()
    assert not form.files[0].file.closed
    for call in (lambda: parser.feed(b"x"), parser.end):
        with pytest.raises(icey.StateError, match="on a form that is complete"):
            call()
    form.close()


def test_closing_goes_on_behind_an_error():
    class Bad(Sink):
        def close(self):
            super().close()
            raise OSError("disk full")

    form = parse(MULTIPART, MIXED, on_file=lambda part: Bad())
    with pytest.raises(OSError, match="disk full"):
        form.close()
    assert all(part.file.closed for part in form.files)


# refused

@pytest.mark.parametrize("content_type", [None, "text/plain", "multipart/mixed; boundary=b", "application/json", "form-data"])
def test_another_content_type_is_415(content_type):
    with pytest.raises(icey.BadRequest, match="a form is application/x-www") as caught:
        FormParser(content_type)
    assert caught.value.status == 415


@pytest.mark.parametrize("content_type, status", [
    ("", 400), ("multipart/form-data", 400), ("multipart/form-data; boundary=", 400),
    ("multipart/form-data; boundary=b; boundary=c", 400),
    (URLENCODED + "; charset=idna", 415), (URLENCODED + "; charset=utf-7", 415), (MULTIPART + "; charset=none", 415),
])
def test_a_malformed_content_type(content_type, status):
    with pytest.raises(icey.BadRequest) as caught:
        FormParser(content_type)
    assert caught.value.status == status


@pytest.mark.parametrize("part, status", [
    (([], b"x"), 400),
    ((["Content-Type: text/plain"], b"x"), 400),
    ((["Content-Disposition: form-data"], b"x"), 400),
    ((['Content-Disposition: attachment; name="a"'], b"x"), 400),
    ((['Content-Disposition: form-data; name="a"'] * 2, b"x"), 400),
    (field("a", b"x", "Content-Type: text/plain", "Content-Type: text/plain"), 400),
    (field("a", b"x", "Content-Type: text"), None),
    (field("a", b"x", "Content-Type: text/plain; charset"), 400),
    (field("a", b"x", "Content-Type: text/plain; charset=idna"), 415),
    (field("a", b"x", "Content-Type: text/plain; charset=base64"), 415),
    (field("a", b"x", "Content-Transfer-Encoding: base64"), 415),
    (file("a", "b", b"x", "Content-Transfer-Encoding: quoted-printable"), 415),
    (field("a", b"x", "Content-Transfer-Encoding: 8BIT"), None),
    (file("a", "b", b"x", "Content-Type: anything at all"), None),
])
def test_the_heads_of_parts(part, status):
    try:
        parse(MULTIPART, body(part))
    except icey.BadRequest as exc:
        assert exc.status == status
    else:
        assert status is None


# text

@pytest.mark.parametrize("data, more, text", [
    ("\xe4".encode(), (), "\xe4"),
    (b"\xff", (), "\ufffd"),
    (b"\xe4", ("Content-Type: text/plain; charset=ISO-8859-1",), "\xe4"),
    (b"\xa4", ("Content-Type: text/plain; charset=\"iso-8859-15\"",), "\u20ac"),
    ("\u3042".encode("shift_jis"), ("Content-Type: text/plain;charset=Shift_JIS",), "\u3042"),
    (b"\r\n", (), "\r\n"),
])
def test_a_part_may_have_its_own_charset(data, more, text):
    assert parse(MULTIPART, body(field("a", data, *more), field("b", "\xe4".encode()))).fields == [("a", text), ("b", "\xe4")]


def test_a_field_may_name_the_charset_of_what_follows():
    latin = body(field("a", b"\xe4"), field("_charset_", b"windows-1252"), field("a", b"\xe4\x80"),
                 field("b", "\xe4".encode(), "Content-Type: text/plain; charset=utf-8"))
    assert parse(MULTIPART, latin).fields == [
        ("a", "\ufffd"), ("_charset_", "windows-1252"), ("a", "\xe4\u20ac"), ("b", "\xe4")]
    assert parse(URLENCODED, b"_charset_=windows-1252&%80=%e4").fields == [("_charset_", "windows-1252"), ("\u20ac", "\xe4")]
    assert parse(URLENCODED + "; charset=windows-1252", b"a=%80").fields == [("a", "\u20ac")]
    for content_type, data in ((MULTIPART, body(field("_charset_", b"punycode"))), (URLENCODED, b"_charset_=punycode")):
        with pytest.raises(icey.BadRequest) as caught:
            parse(content_type, data)
        assert caught.value.status == 415


def test_every_charset_is_there():
    for name in sorted(icey.http.server.forms.CHARSETS):
        assert parse(MULTIPART, body(field("a", b"x", "Content-Type: text/plain; charset=" + name))).fields == [("a", "x")]


def test_a_charset_that_this_python_lacks(monkeypatch):
    monkeypatch.setattr(icey.http.server.forms, "CHARSETS", frozenset(["utf-8", "no-such-codec"]))
    with pytest.raises(icey.BadRequest, match="no-such-codec"):
        parse(MULTIPART, body(field("a", b"x", "Content-Type: text/plain; charset=no-such-codec")))


# limits: inclusive

@pytest.mark.parametrize("option, most, content_type, data", [
    ("max_fields", 2, MULTIPART, lambda n: body(*[field("a", b"")] * n)),
    ("max_fields", 2, URLENCODED, lambda n: b"a&" * n),
    ("max_field_size", 10, MULTIPART, lambda n: body(field("a", b"x" * n))),
    ("max_field_size", 10, URLENCODED, lambda n: b"=" + b"x" * n),
    ("max_files", 2, MULTIPART, lambda n: body(*[file("a", "f", b"")] * n)),
    ("max_file_size", 10, MULTIPART, lambda n: body(file("a", "f", b"x" * n), file("a", "f", b"x" * n))),
    ("max_memory", 10, MULTIPART, lambda n: body(field("abc", b"x" * 3), file("a", "f", b"x" * (n - 6)))),
    ("max_memory", 10, URLENCODED, lambda n: b"abc=x&def=" + b"x" * (n - 7)),
    ("max_part_head", 60, MULTIPART, lambda n: body(field("x" * (n - 43), b""))),
])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_limits(option, most, content_type, data, step):
    def cut(size):
        whole = data(size)
        return [whole[at:at + step] for at in range(0, len(whole), step)]

    parse(content_type, *cut(most), **{option: most})
    with pytest.raises(icey.TooLarge) as caught:
        parse(content_type, *cut(most + 1), **{option: most})
    assert caught.value.status == 413
    if option != "max_part_head":
        parse(content_type, *cut(most + 1), **{option: None})


def test_what_is_handed_on_is_not_counted_as_kept():
    whole = body(field("a", b"x" * 100), file("b", "f", b"x" * 100), file("c", "g", b"x" * 100))
    parse(MULTIPART, whole, max_memory=0, on_field=http.ignore, on_data=http.ignore)
    parse(MULTIPART, whole, max_memory=0, on_field=http.ignore, on_file=lambda part: Sink())


def test_what_we_encode_is_parsed_back():
    rng = seeds.rng()
    letters = 'ab"\\\r\n;= \t\'.\xe4\u20ac\U0001f600'

    def text():
        return "".join(rng.choice(letters) for _ in range(rng.randrange(7)))

    def data():
        return bytes(rng.randrange(256) for _ in range(rng.randrange(200)))

    for _ in range(100):
        fields = [(text(), text()) for _ in range(rng.randrange(4))]
        files = [(text(), text(), data()) for _ in range(rng.randrange(3))]
        encoder = MultipartEncoder(fields + [(name, icey.http.FilePart(io.BytesIO(content), filename))
                                             for name, filename, content in files])
        whole = b"".join(encoder)
        assert encoder.length == len(whole)
        size = rng.randrange(1, 300)
        form = parse(encoder.content_type, *(whole[at:at + size] for at in range(0, len(whole), size)))
        assert form.fields == fields
        assert [(part.name, part.filename, part.data) for part in form.files] == files


# on a server

def answer_told(exchange, form):
    exchange.respond(200, repr(told(form)).encode())


def post(client, content_type, data, **kwargs):
    client.ask("POST", "/", "Content-Type: " + content_type, body=data, **kwargs)
    return client.answer()


@pytest.mark.parametrize("content_type, data, expected", [
    (MULTIPART, MIXED, TOLD), (URLENCODED, b"a=1&b=2", ([("a", "1"), ("b", "2")], [])), (URLENCODED, b"", ([], [])),
])
def test_a_form_on_a_server(site, content_type, data, expected):
    site.serve(lambda exchange: FormParser.read(exchange, answer_told))
    client = site.client()
    for _ in range(2):
        assert post(client, content_type, data).body == repr(expected).encode()
    client.ask("POST", "/", "Content-Type: " + content_type, chunks=[data[at:at + 1] for at in range(len(data))])
    assert client.answer().body == repr(expected).encode()


def test_a_form_read_late(site, loop):
    site.serve(lambda exchange: loop.call_later(5.0, FormParser.read, exchange, answer_told))
    client = site.client()
    for data, expected in ((MIXED, TOLD), (b"--b--", ([], []))):
        client.ask("POST", "/", "Content-Type: " + MULTIPART, body=data)
        site.wait(5.0)
        assert client.answer().body == repr(expected).encode()
    client.ask("POST", "/", "Content-Type: " + URLENCODED, body=b"")
    site.wait(5.0)
    assert client.answer().body == repr(([], [])).encode()


def test_expect_continue(site):
    site.serve(lambda exchange: FormParser.read(exchange, answer_told))
    client = site.client()
    head = http.request("POST", "/", "Content-Type: " + MULTIPART, "Expect: 100-continue", body=MIXED)[:-len(MIXED)]
    client.send(head)
    assert client.answer().status == 100
    client.send(MIXED)
    assert client.answer().body == repr(TOLD).encode()


@pytest.mark.parametrize("fields, data, status", [
    (["Content-Type: text/plain"], b"x", 415),
    ([], b"x", 415),
    (["Content-Type: " + URLENCODED] * 2, b"a=b", 400),
    (["Content-Type: " + URLENCODED, "Content-Encoding: gzip"], b"x", 415),
    (["Content-Type: " + URLENCODED, "Content-Encoding: Identity"], b"a=b", 200),
    (["Content-Type: multipart/form-data"], MIXED, 400),
    (["Content-Type: " + MULTIPART], MIXED[:-9], 400),
    (["Content-Type: " + MULTIPART], b"", 400),
    (["Content-Type: " + MULTIPART], body(field("a", b"x" * 101)), 413),
    (["Content-Type: " + URLENCODED], b"a=" + b"x" * 400, 413),
])
def test_what_is_refused_is_the_answer_and_the_next_request_has_its_turn(site, fields, data, status):
    site.serve(lambda exchange: FormParser.read(exchange, answer_told, max_field_size=100))
    client = site.client()
    assert client.get("/", *fields, method="POST", body=data).status == status
    assert post(client, URLENCODED, b"a=1").status == 200


def test_a_large_upload_into_a_file(site):
    content = seeds.rng(1).getrandbits(8 * 500000).to_bytes(500000, "big")

    def done(exchange, form):
        file = form.files[0].file
        file.seek(0)
        exchange.respond(200, b"same" if file.read() == content else b"not the same")
        form.close()

    site.serve(lambda exchange: FormParser.read(exchange, done, on_file=lambda part: tempfile.TemporaryFile()))
    client = site.client()
    assert post(client, MULTIPART, body(field("a", b"b"), file("up", "big.bin", content))).body == b"same"


def test_on_file_may_refuse(site):
    def on_file(part):
        raise icey.HttpError(403, "no uploads")

    site.serve(lambda exchange: FormParser.read(exchange, answer_told, on_file=on_file))
    assert post(site.client(), MULTIPART, MIXED).status == 403


def test_an_early_answer_ends_it(site):
    files = []

    def slot(exchange):
        def on_file(part):
            files.append(Sink())
            exchange.respond(200, b"enough")
            return files[-1]
        FormParser.read(exchange, answer_told, on_file=on_file)

    site.serve(slot)
    client = site.client()
    assert post(client, MULTIPART, body(file("a", "b", b"x"))).body == b"enough"
    site.turn(2)
    assert [file.closed for file in files] == [True]


def test_a_client_that_leaves_has_its_files_closed(site):
    files, closed = [], []

    def slot(exchange):
        def on_file(part):
            files.append(tempfile.TemporaryFile())
            return files[-1]
        exchange.on_close += closed.append
        FormParser.read(exchange, answer_told, on_file=on_file)

    site.serve(slot)
    client = site.client()
    client.send(http.request("POST", "/", "Content-Type: " + MULTIPART, body=MIXED)[:-6])
    site.until(lambda: len(files) == 3)
    client.close()
    assert site.gone()
    site.until(lambda: closed)
    assert [file.closed for file in files] == [True] * 3


def test_done_may_raise(site, reports):
    def done(exchange, form):
        raise ValueError(form.get("a")) if form.fields else icey.HttpError(422)

    site.serve(lambda exchange: FormParser.read(exchange, done))
    client = site.client()
    assert post(client, URLENCODED, b"a=1").status == 500
    assert str(reports.take(ValueError)[0]) == "1"
    assert post(client, URLENCODED, b"").status == 422


def test_after_the_answer_it_is_a_state_error(site):
    def slot(exchange):
        exchange.respond(200)
        with pytest.raises(icey.StateError, match="read"):
            FormParser.read(exchange, answer_told)

    site.serve(slot)
    assert post(site.client(), URLENCODED, b"a=1").status == 200


def test_on_data_may_pause(site, loop):
    pieces = []

    def slot(exchange):
        def on_data(part, view):
            pieces.append(bytes(view))
            exchange.pause()
            loop.call_later(1.0, exchange.resume)
        FormParser.read(exchange, lambda exchange, form: exchange.respond(200, b"%d" % form.files[0].size), on_data=on_data)

    site.serve(slot)
    client = site.client()
    content = bytes(200000)
    client.send(http.request("POST", "/", "Content-Type: " + MULTIPART, body=body(file("a", "b", content))))
    site.wait(20.0)
    assert client.answer().body == b"200000"
    assert b"".join(pieces) == content


@tells
def test_a_slice_that_escapes_is_found_in_debug_mode_and_named(site, loop, debug, reports):
    kept = []

    def keeps_a_slice(part, view):
        kept.append(view[1:])

    site.serve(lambda exchange: FormParser.read(exchange, answer_told, on_data=keeps_a_slice))
    client = site.client()
    client.ask("POST", "/", "Content-Type: " + MULTIPART, body=body(file("a", "b", b"Hello")))
    turn(loop, 5)
    if debug:
        assert "keeps_a_slice" in str(reports.take(icey.BorrowError)[0])
    else:
        assert client.answer().status == 200
    kept.clear()


def test_urlencode_fits(site):
    site.serve(lambda exchange: FormParser.read(exchange, answer_told))
    pairs = [("a b", "\xe4&="), ("", "x\r\n")]
    assert post(site.client(), URLENCODED, urlencode(pairs)).body == repr((pairs, [])).encode()


def test_an_empty_form():
    assert (Form().get("a"), Form().file("a"), Form().close()) == (None, None, None)
