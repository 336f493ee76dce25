"""EventStreamParser: literal bytes, split everywhere, against a plain reading of the standard's text."""
import re

import pytest

from icey import ProtocolError
from icey.http.semantics.eventstream import EventStreamParser, ServerSentEvent
from tests.support import seeds


def parse(*pieces, **options):
    """(type, data, id) of each event of these pieces, and the parser."""
    parser, found = EventStreamParser(**options), []
    for piece in pieces:
        parser.feed(piece)
        while True:
            event = parser.next_event()
            if event is None:
                break
            found.append((event.type, event.data, event.id))
    return found, parser


def plain(data, last=""):
    """The standard's text, word by word, for a whole stream: the events, the last id and the last `retry`."""
    text = data.decode("utf-8", "replace")
    if text.startswith("\ufeff"):
        text = text[1:]
    lines = re.split("\r\n|\n|\r", text)
    found, buffer, kind, ident, retry = [], "", "", last, None
    for line in lines[:-1]:
        if not line:
            last = ident
            if buffer:
                found.append((kind or "message", buffer[:-1], last))
            buffer = kind = ""
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if name == "data":
                buffer += value + "\n"
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                ident = value
            elif name == "retry" and re.fullmatch("[0-9]+", value):
                retry = int(value) / 1000
    return found, last, retry


TABLE = [
    (b"data: x\n\n", [("message", "x", "")]),
    (b"data:x\n\n", [("message", "x", "")]),
    (b"data:  x\n\n", [("message", " x", "")]),
    (b"data\n\n", [("message", "", "")]),
    (b"data:\n\n", [("message", "", "")]),
    (b"data\ndata\n\n", [("message", "\n", "")]),
    (b"data: x: y\n\n", [("message", "x: y", "")]),
    (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
    (b"data: x\r\rdata: y\r\r", [("message", "x", ""), ("message", "y", "")]),
    (b"data: x\r\n\r\ndata: y\r\n\r\n", [("message", "x", ""), ("message", "y", "")]),
    (b"data: x\r\n\n", [("message", "x", "")]),
    (b"data: x\n\r\ndata: y\r\r\n", [("message", "x", ""), ("message", "y", "")]),
    (b"\n\n\r\r\n", []),
    (b": comment\n\n:\n\ndata: x\n: in it\n\n", [("message", "x", "")]),
    (b":data: x\n\n", []),
    (b" data: x\n\nData: x\n\ndata : x\n\n", []),
    (b"unknown: x\nunknown\n\n", []),
    (b"event: add\ndata: 1\n\ndata: 2\n\n", [("add", "1", ""), ("message", "2", "")]),
    (b"event: add\n\ndata: 2\n\n", [("message", "2", "")]),
    (b"event: a\nevent: b\nevent\ndata: 2\n\n", [("message", "2", "")]),
    (b"id: 1\ndata: x\n\ndata: y\n\nid\ndata: z\n\n", [("message", "x", "1"), ("message", "y", "1"), ("message", "z", "")]),
    (b"id: 1\n\ndata: x\n\n", [("message", "x", "1")]),
    (b"id: 1\ndata: x\n\nid: 2\0\ndata: y\n\n", [("message", "x", "1"), ("message", "y", "1")]),
    (b"data: x\nid: 7\nid: 8\n\n", [("message", "x", "8")]),
    (b"\xef\xbb\xbfdata: x\n\n", [("message", "x", "")]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
    (b"\xef\xbb\xbf\ndata: x\n\n", [("message", "x", "")]),
    (b"\n\xef\xbb\xbfdata: x\n\n", []),
    (b"data: \xef\xbb\xbfx\n\n", [("message", "\ufeffx", "")]),
    (b"\xef\xbbdata: x\n\n", []),
    (b"data: x\n", []),
    (b"data: x\n\ndata: y\nid: 3\n", [("message", "x", "")]),
    (b"data: x\n\ndata: y", [("message", "x", "")]),
    (b"event: \xc3\xa4\nid: \xe2\x82\xac\ndata: \xf0\x9f\x98\x80\n\n", [("\xe4", "\U0001f600", "\u20ac")]),
    (b"data: \xff\xfe\n\n", [("message", "\ufffd\ufffd", "")]),
    (b"data: \xe2\x82\n\n", [("message", "\ufffd", "")]),
    (b"data: \xe2\x82\r\ndata: \xac\n\n", [("message", "\ufffd\n\ufffd", "")]),
    (b"data: \xf0\x9f\x98x\xed\xa0\x80\n\n", [("message", "\ufffdx\ufffd\ufffd\ufffd", "")]),
    (b"data: a\x00b\x0bc\x0cd\xc2\x85e\xe2\x80\xa8f\n\n", [("message", "a\x00b\x0bc\x0cd\x85e\u2028f", "")]),
    (b"", []),
]


@pytest.mark.parametrize("data, events", TABLE, ids=[repr(row[0]) for row in TABLE])
def test_the_events_of_a_stream_at_every_split_and_byte_by_byte(data, events):
    assert plain(data)[0] == events, "the plain reading"
    assert parse(data)[0] == events
    for at in range(len(data) + 1):
        assert parse(data[:at], data[at:])[0] == events, at
    assert parse(*[data[at:at + 1] for at in range(len(data))])[0] == events
    assert parse(*[data[at:at + 2] for at in range(0, len(data), 2)])[0] == events


@pytest.mark.parametrize("value, retry", [
    (b": 2500", 2.5), (b":2500", 2.5), (b": 0", 0.0), (b": 000010", 0.01), (b": -1", None), (b": +1", None), (b": 1.5", None),
    (b": 1 ", None), (b":  1", None), (b"", None), (b": ", None), (b": \xd9\xa1", None), (b": 1_0", None),
    (b": " + b"9" * 5000, 999999999999.999), (b": " + b"0" * 5000 + b"1", 0.001),
])
def test_retry_is_digits_and_counts_at_once(value, retry):
    _, parser = parse(b"retry" + value + b"\n")
    assert parser.retry == retry


def test_an_id_counts_with_the_blank_line_behind_it():
    _, parser = parse(b"id: 1\n\nid: 2\n", last_event_id="0")
    assert parser.last_event_id == "1"
    parser.feed(b"\n")
    assert parser.next_event() is None and parser.last_event_id == "2"


def test_the_id_of_the_stream_before_goes_on():
    assert parse(b"data: x\n\nid: 8\ndata: y\n\n", last_event_id="7")[0] == [("message", "x", "7"), ("message", "y", "8")]


def test_events_wait_until_they_are_asked_for():
    parser = EventStreamParser()
    parser.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\nda")
    parser.feed(memoryview(bytearray(b"ta: c\n\n")))
    assert parser.next_event() == ServerSentEvent("message", "a", "1") and parser.last_event_id == "1"
    assert [parser.next_event().data, parser.next_event().data, parser.next_event()] == ["b", "c", None]


# limits

def test_a_line_at_the_limit_and_past_it():
    line = b"data: " + b"x" * 94
    assert parse(line + b"\n\n", most=100)[0] == [("message", "x" * 94, "")]
    for pieces in ([line + b"x\n"], [line, b"x"], [line + b"x"], [b":" + bytes(100)]):
        with pytest.raises(ProtocolError, match="more than 100 bytes"):
            parse(*pieces, most=100)


def test_the_lines_of_an_event_count_together_and_comments_alone():
    lines = b"data: 45678\n" * 9
    assert len(parse(lines + b"\n" + lines + b"\n", most=100)[0]) == 2
    assert len(parse(lines + b":comment\n" * 100 + b"\n", most=110)[0]) == 1
    for more in (b"data: 8\n", b"id: 56789\n", b"x: 456789\n"):
        with pytest.raises(ProtocolError):
            parse(lines + more, most=105)


def test_the_events_before_one_that_is_too_long_come_first_however_it_is_split():
    data = b"data: 1\n\ndata: 2\n\ndata: " + b"x" * 50 + b"\n\n"
    for at in range(len(data)):
        parser, found = EventStreamParser(most=40), []
        with pytest.raises(ProtocolError):
            for piece in (data[:at], data[at:]):
                parser.feed(piece)
                while True:
                    event = parser.next_event()
                    if event is None:
                        break
                    found.append(event.data)
        assert found == ["1", "2"]
        with pytest.raises(ProtocolError):
            parser.next_event()


def test_without_a_limit():
    assert len(parse(b"data: " + bytes(17 << 20) + b"\n\n", most=None)[0][0][1]) == 17 << 20
    with pytest.raises(ProtocolError):
        parse(b"data: " + bytes(17 << 20))


# time: what is held is not copied with each piece, which would be 100 GB here

def test_a_long_line_in_small_pieces_is_joined_once():
    size, piece = 4 << 20, b"x" * 64
    parser = EventStreamParser()
    parser.feed(b"data: ")
    for _ in range(size // len(piece)):
        parser.feed(piece)
        assert parser.next_event() is None
    parser.feed(b"\n\n")
    assert len(parser.next_event().data) == size


# at random

PARTS = [
    b"data", b"data:", b"data: ", b"event: ", b"id: ", b"id", b"retry: ", b":", b" ", b"x", b"12", b"\0", b"\n", b"\n", b"\r",
    b"\r\n", b"\n\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xe2\x82\xac", b"\xe2\x82", b"\xff", b"\xf0\x9f", b"\x80", b"unknown",
]


def test_at_random_it_agrees_with_the_plain_reading():
    rng = seeds.rng()
    for _ in range(seeds.rounds(400, 5000)):
        data = b"".join(rng.choices(PARTS, k=rng.randrange(60)))
        pieces, rest = [], data
        while rest:
            size = rng.choice((1, 1, 2, 3, 10, 50))
            pieces.append(rest[:size])
            rest = rest[size:]
        last = rng.choice(("", "9"))
        found, parser = parse(*pieces, last_event_id=last)
        assert (found, parser.last_event_id, parser.retry) == plain(data, last), (data, pieces)
