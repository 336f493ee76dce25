"""MultipartEncoder: forms as a client sends them. What is read back: test_forms.py."""
import io
import os

import pytest

import icey
from icey.http import FilePart, FormParser, MultipartEncoder
from tests.support.streams import collect


def whole(encoder):
    pieces = list(encoder)
    assert all(type(piece) is bytes and 0 < len(piece) <= 65536 for piece in pieces)
    assert encoder.length in (None, sum(map(len, pieces)))
    return b"".join(pieces)


def parsed(encoder):
    parser = FormParser(encoder.content_type)
    parser.feed(whole(encoder))
    return parser.end()


def test_the_bytes():
    encoder = MultipartEncoder([
        ("a", "b"), ("\xe4", b"\0\xff"), ("n", 5), ("f", FilePart(io.BytesIO(b"data"), "x.txt")),
        ("g", FilePart(io.BytesIO(b""), "\u20ac", "text/plain; charset=utf-8")),
    ], boundary="b")
    assert whole(encoder) == (
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
        b'--b\r\nContent-Disposition: form-data; name="\xc3\xa4"\r\n\r\n\0\xff\r\n'
        b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n5\r\n'
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\nContent-Type: text/plain\r\n\r\ndata\r\n'
        b'--b\r\nContent-Disposition: form-data; name="g"; filename="\xe2\x82\xac"\r\n'
        b'Content-Type: text/plain; charset=utf-8\r\n\r\n\r\n'
        b'--b--\r\n')
    assert encoder.content_type == "multipart/form-data; boundary=b"
    assert repr(encoder) == "<MultipartEncoder of 5 parts>"


def test_a_form_of_nothing():
    encoder = MultipartEncoder([], boundary="b")
    assert (whole(encoder), encoder.length) == (b"--b--\r\n", 7)


def test_a_mapping():
    assert parsed(MultipartEncoder({"a": "1", "b": "2"})).fields == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize("name, written", [
    ('a"b', b"a%22b"), ("a\r\nb", b"a%0D%0Ab"), ("a\nb", b"a%0Ab"), ("a%22", b"a%22"), ("a\tb", b"a\tb"),
    ("a\\b", b"a\\b"), ("a\\", b"a\\\\"), ("\\\\a", b"\\\\\\\\a"), ('a\\"b', b"a\\%22b"), ("\xe4", b"\xc3\xa4"), ("", b""),
])
def test_names_are_escaped_as_browsers_do(name, written):
    data = whole(MultipartEncoder([(name, "x"), ("f", FilePart(io.BytesIO(), name))]))
    assert b'; name="' + written + b'"\r\n' in data
    assert b'; filename="' + written + b'"\r\n' in data


@pytest.mark.parametrize("name", ["a\0", "\x1b[1m", "\x7f"])
def test_control_characters_are_refused(name):
    with pytest.raises(ValueError, match="no control characters"):
        MultipartEncoder([(name, "x")])
    with pytest.raises(ValueError, match="no control characters"):
        MultipartEncoder([("a", FilePart(io.BytesIO(), name))])


@pytest.mark.parametrize("value", [None, 1.5, True, ["x"], io.BytesIO()])
def test_other_values_are_type_errors(value):
    with pytest.raises(TypeError):
        MultipartEncoder([("a", value)])


# the boundary

def test_a_boundary_is_random_and_a_token():
    boundaries = {MultipartEncoder([]).boundary for _ in range(50)}
    assert len(boundaries) == 50
    for boundary in boundaries:
        assert MultipartEncoder([], boundary=boundary).content_type == "multipart/form-data; boundary=" + boundary


def test_a_boundary_that_occurs_in_a_value_is_not_taken(monkeypatch):
    drawn = [bytes(16), bytes([1] * 16), bytes([2] * 16)]
    monkeypatch.setattr(os, "urandom", lambda size: drawn.pop(0))
    values = [("a", "x icey-" + "00" * 16), ("b", b"icey-" + b"01" * 16)]
    assert MultipartEncoder(values).boundary == "icey-" + "02" * 16


def test_a_boundary_of_yours():
    encoder = MultipartEncoder([("a", "b")], boundary="a b")
    assert encoder.content_type == 'multipart/form-data; boundary="a b"'
    assert parsed(encoder).fields == [("a", "b")]
    with pytest.raises(ValueError, match="occurs in a value"):
        MultipartEncoder([("a", "x--b")], boundary="b")
    for boundary in ("", "a ", "x" * 71, 'a"'):
        with pytest.raises(ValueError, match="1 to 70"):
            MultipartEncoder([], boundary=boundary)


# files

def test_a_path(tmp_path):
    path = tmp_path / "photo.JPG"
    path.write_bytes(b"jpeg" * 50000)
    for given in (path, str(path)):
        encoder = MultipartEncoder([("a", "b"), ("up", FilePart(given))])
        assert encoder.rewindable
        for _ in range(2):
            part = parsed(encoder).files[0]
            assert (part.filename, part.content_type, part.data) == ("photo.JPG", "image/jpeg", b"jpeg" * 50000)


def test_a_path_is_opened_in_its_turn_and_closed(tmp_path, monkeypatch):
    opened = []

    def opening(*args):
        opened.append(io.open(*args))
        return opened[-1]

    for name in "ab":
        (tmp_path / name).write_bytes(bytes(200000))
    monkeypatch.setattr(icey.http.client.multipartencoder, "open", opening, raising=False)
    encoder = MultipartEncoder([(name, FilePart(tmp_path / name)) for name in "ab"])
    pieces = iter(encoder)
    assert opened == []
    next(pieces)
    assert [file.closed for file in opened] == [False]
    rest = list(pieces)
    assert len(rest) > 5
    assert [file.closed for file in opened] == [True, True]
    pieces = iter(encoder)
    next(pieces)
    pieces.close()  # nobody wants the rest
    assert [file.closed for file in opened] == [True] * 3


def test_a_file_object_is_sent_from_where_it_stands_and_stays_open():
    file = io.BytesIO(b"0123456789")
    file.seek(4)
    encoder = MultipartEncoder([("a", FilePart(file))])
    for _ in range(2):
        part = parsed(encoder).files[0]
        assert (part.filename, part.content_type, part.data) == ("blob", "application/octet-stream", b"456789")
    assert not file.closed
    file.seek(20)
    assert FilePart(file).size == 0


def test_a_file_object_has_a_name(tmp_path):
    path = tmp_path / "a.html"
    path.write_bytes(b"<p>")
    with open(str(path), "rb") as file:
        part = FilePart(file)
        assert (part.filename, part.content_type, part.size) == ("a.html", "text/html", 3)
    assert repr(part) == "FilePart('a.html')"


class Pipe:
    """A file that can only be read."""

    def __init__(self, data, most=100000):
        self.data, self.most = data, most

    def read(self, size):
        size = min(size, self.most)
        piece, self.data = self.data[:size], self.data[size:]
        return piece


class Unseekable(Pipe):
    def tell(self):
        raise OSError("Illegal seek")


@pytest.mark.parametrize("kind", [Pipe, Unseekable])
def test_a_pipe_has_no_length_and_is_read_once(kind):
    encoder = MultipartEncoder([("a", FilePart(kind(b"x" * 100000, 7000))), ("b", "c")])
    assert encoder.length is None and not encoder.rewindable
    assert iter(encoder) is not iter(encoder)  # nothing is read before the first piece is asked for
    form = parsed(encoder)
    assert form.files[0].data == b"x" * 100000 and form.fields == [("b", "c")]
    with pytest.raises(icey.StateError, match="read twice"):
        next(iter(encoder))


def test_a_real_pipe():
    reader, writer = os.pipe()
    os.write(writer, b"data")
    os.close(writer)
    with open(reader, "rb") as file:
        encoder = MultipartEncoder([("a", FilePart(file))])
        assert encoder.length is None
        assert parsed(encoder).files[0].data == b"data"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no FIFOs")
def test_the_path_of_no_regular_file_has_no_length(tmp_path):
    os.mkfifo(str(tmp_path / "fifo"))
    encoder = MultipartEncoder([("a", FilePart(tmp_path / "fifo"))])
    assert encoder.length is None and not encoder.rewindable


def test_what_has_become_shorter_is_an_error_and_what_has_grown_is_cut(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    encoder = MultipartEncoder([("a", FilePart(path))])
    path.write_bytes(b"x" * 12)
    assert parsed(encoder).files[0].data == b"x" * 10
    path.write_bytes(b"x" * 7)
    with pytest.raises(icey.NetError, match="a ended 3 bytes before"):
        list(encoder)
    collect()


def test_a_missing_file_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        FilePart(tmp_path / "missing")


def test_text_is_not_read():
    with pytest.raises(TypeError, match="open it with \"rb\""):
        list(MultipartEncoder([("a", FilePart(io.StringIO("text")))]))


def test_a_wrong_content_type_is_refused():
    with pytest.raises(ValueError):
        FilePart(io.BytesIO(), content_type="text/plain\r\nX: y")


def test_large_values_come_in_pieces_and_small_ones_together():
    large = MultipartEncoder([("a", bytes(300000)), ("n" * 100000, "x"), ("b", bytes(65536))])
    whole(large)
    small = MultipartEncoder([("a", "b")] * 100)
    assert len(list(small)) == 1 and parsed(small).fields == [("a", "b")] * 100
