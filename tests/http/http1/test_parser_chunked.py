"""Chunked bodies: pieces, extensions, trailers."""
import pytest

from icey.base.errors import BadRequest, TooLarge
from icey.http.http1 import parser as parsers
from tests.fuzz.messages import Recorder, bytewise, parser_for, record

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def body(data, **options):
    """(the body, the trailers) of one chunked message; the record's last entry when that failed."""
    ways = [record(pieces, **options) for pieces in ([HEAD + data], bytewise(HEAD + data), [HEAD, data],
                                                     [HEAD + data[:1], data[1:]])]
    assert all(events == ways[0] for events in ways)
    events = ways[0]
    if events[-1][0] != "end":
        return events[-1]
    assert [event[0] for event in events] in (["request", "end"], ["request", "body", "end"])
    return (events[1][1] if len(events) > 2 else b""), events[-1][1]


def test_chunks_are_joined():
    assert body(b"1\r\na\r\n2\r\nbc\r\n0A\r\n0123456789\r\n0\r\n\r\n") == (b"abc0123456789", ())


def test_no_chunk():
    assert body(b"0\r\n\r\n") == (b"", ())


def test_the_pieces_are_views_of_what_was_fed():
    class Views(Recorder):
        def on_body(self, view):
            views.append(view)

    views = []
    parser = parser_for(Views())
    data = HEAD + b"2\r\nhi\r\n3\r\nyou\r\n"
    parser.feed(data)
    assert [bytes(view) for view in views] == [b"hi", b"you"] and all(view.obj is data for view in views)


def test_extensions_are_ignored():
    assert body(b"1;a\r\nx\r\n1 ; b = \"c;\\\"d\"\t;e\r\ny\r\n0;last=1\r\n\r\n") == (b"xy", ())


def test_trailers_are_apart_from_the_fields():
    events = record(HEAD + b"0\r\nA: 1\r\nb:\t2 \r\nA: 3\r\n\r\n")
    assert events[-1] == ("end", (("a", "1"), ("b", "2"), ("a", "3")))
    assert dict(events[0][4]) == {"host": "a", "transfer-encoding": "chunked"}


@pytest.mark.parametrize("name",
                         ["Host", "Content-Length", "transfer-encoding", "Authorization", "Content-Type", "Trailer",
                          "Cookie", "SET-COOKIE",
                                  "Connection", "Expect", "TE", "Content-Encoding", "Content-Range", "Cache-Control",
                                  "Range"])
def test_fields_that_may_not_be_trailers_are_dropped(name):
    assert body(b"0\r\n%s: x\r\nA: b\r\n\r\n" % name.encode()) == (b"", (("a", "b"),))


def test_trailers_of_one_message_are_not_those_of_the_next():
    events = record((HEAD + b"0\r\nA: 1\r\n\r\n") + HEAD + b"0\r\n\r\n")
    assert [event[1] for event in events if event[0] == "end"] == [(("a", "1"),), ()]
    recorder = Recorder()
    parser = parser_for(recorder)
    parser.feed(HEAD + b"0\r\nA: 1\r\n\r\n")
    kept = parser.trailers
    parser.feed(HEAD + b"0\r\nB: 1\r\n\r\n")
    assert kept == [("a", "1")] and parser.trailers == [("b", "1")]


@pytest.mark.parametrize("data",
                         [b"-1\r\n", b"x\r\n", b"\r\n", b"1 \r\nx\r\n", b"1\r\nxy\r\n", b"1\r\nx\n", b"1\r\nx\r\r\n",
                          b"1\nx", b"0\r\n\n", b"0\r\nA\r\n",
                                  b"0\r\nA: \x00", b"0\r\n A: b\r\n", b"1;\x00", b"1;a\rb"])
def test_malformed(data):
    assert body(data)[::2] == ("error", 400)


# limits

def line_of(size):
    """A chunk's first line of `size` bytes."""
    return b"1;" + b"a" * (size - 2)


def test_the_length_of_a_chunk_line_is_inclusive():
    assert body(line_of(parsers.MOST_EXTENSION) + b"\r\nx\r\n0\r\n\r\n") == (b"x", ())
    assert body(line_of(parsers.MOST_EXTENSION + 1) + b"\r\nx\r\n0\r\n\r\n")[2:] == (400, "chunk extension too long")


def test_a_chunk_line_without_an_end_is_refused_as_it_comes():
    parser = parser_for(Recorder())
    parser.feed(HEAD)
    with pytest.raises(BadRequest):
        for _ in range(parsers.MOST_EXTENSION + 1):
            parser.feed(b"0")


def test_the_extensions_of_a_body_are_bounded_together(monkeypatch):
    assert parsers.MOST_EXTENSIONS == 65536
    most = 3 * 4096
    monkeypatch.setattr(parsers, "MOST_EXTENSIONS", most)
    lines = b"".join(b"1;" + b"a" * 4095 + b"\r\nx\r\n" for _ in range(most // 4096))
    assert body(lines + b"0\r\n\r\n") == (b"x" * 3, ())
    assert body(lines + b"0;a\r\n\r\n")[2] == 400
    assert body(lines + b"1;a\r\nx\r\n0\r\n\r\n")[2] == 400
    twice = record((HEAD + lines + b"0\r\n\r\n") * 2)
    assert [event[0] for event in twice] == ["request", "body", "end"] * 2


def test_many_chunks_without_extensions_are_fine():
    assert body(b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n") == (b"x" * 3000, ())


def test_the_size_of_trailers_is_inclusive():
    most = parsers.MOST_TRAILERS
    line = b"A: " + b"b" * 1019 + b"\r\n"
    assert len(line) == 1024
    just = line * 15 + b"A: " + b"b" * (1024 - 5) + b"\r\n"
    assert len(just) == most
    assert body(b"0\r\n" + just + b"\r\n")[1][-1] == ("a", "b" * 1019)
    assert body(b"0\r\n" + just + b"A:\r\n\r\n")[2:] == (400, "trailers too long")
    assert body(b"0\r\n" + just[:-2] + b"b\r\n\r\n")[2:] == (400, "trailers too long")
    assert body(b"0\r\nA: " + b"b" * 20000)[2:] == (400, "trailers too long")


def test_the_number_of_trailers_is_a_limit():
    assert len(body(b"0\r\n" + b"A: b\r\n" * 100 + b"\r\n")[1]) == 100
    assert body(b"0\r\n" + b"A: b\r\n" * 101 + b"\r\n")[1:3] == (TooLarge.__name__, 431)
