"""What a parser tells of responses. The table of what a client must accept is in tests/conformance."""
import pytest

from icey.base.errors import BadResponse, IncompleteBody
from icey.base.limits import Limits
from icey.http.http1 import parser
from icey.http.http1.framing import UNTIL_CLOSE
from tests.fuzz.messages import Recorder, bytewise, cut, parser_for, record

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def told(data, **options):
    events = record(data, responses=True, **options)
    assert record(bytewise(data), responses=True, **options) == events
    for place in range(1, len(data) if len(data) < 300 else 1):
        assert record(cut(data, [place]), responses=True, **options) == events
    return events


def test_a_response():
    head, body, end = told(OK)
    assert head == ("response", 200, "OK", "1.1", (("content-length", "2"),), (2, True, False, False, False))
    assert body == ("body", b"hi") and end == ("end", ())


def test_the_message_is_a_response_with_headers():
    class Observer(Recorder):
        def on_head(self, message):
            messages.append(message)

    messages = []
    parser_for(Observer(), responses=True).feed(b"HTTP/1.0 404 \xe9\r\nSet-Cookie: a=b, c\r\nset-cookie: d\r\n\r\n")
    message, = messages
    assert (message.status, message.reason, message.version) == (404, "\xe9", "1.0")
    assert message.headers.get_all("Set-Cookie") == ["a=b, c", "d"]
    assert repr(message) == "<Response 404 \xe9>"


def test_folded_lines_are_joined_by_a_space():
    head = told(b"HTTP/1.1 200 OK\r\nA: x\r\n\ty \r\n  z\r\nB:\r\n c\r\nD: e\r\n \t\r\nContent-Length: 0\r\n\r\n")[0]
    assert dict(head[4]) == {"a": "x y z", "b": "c", "d": "e", "content-length": "0"}


def test_a_field_folded_many_times():
    data = b"HTTP/1.1 200 OK\r\nA: x\r\n" + b" yy\r\n \r\n" * 20000 + b"Content-Length: 0\r\n\r\n"
    head = told(data, limits=Limits(max_head=1 << 20))[0]
    assert dict(head[4])["a"] == "x" + " yy" * 20000


def test_a_folded_line_is_no_new_field():
    data = b"HTTP/1.1 200 OK\r\nA: x\r\n Content-Length: 5\r\nContent-Length: 0\r\n\r\n"
    assert dict(told(data)[0][4]) == {"a": "x Content-Length: 5", "content-length": "0"}


def test_folds_count_as_bytes_not_as_fields():
    data = b"HTTP/1.1 200 OK\r\nA: x\r\n" + b" y\r\n" * 200 + b"Content-Length: 0\r\n\r\n"
    assert told(data, limits=Limits(max_fields=2))[-1][0] == "response"
    assert told(data, limits=Limits(max_head=500))[-1][2] == 502


def test_interim_answers_are_told_and_counted(monkeypatch):
    monkeypatch.setattr(parser, "MOST_INTERIM", 8192)
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    most = 8192 // len(interim)
    events = told(interim * most + OK + interim * most + OK)
    assert [event[1] for event in events if event[0] == "response"] == ([103] * most + [200]) * 2
    assert told(interim * (most + 1))[-1][1:3] == ("BadResponse", 502)


def test_few_interim_answers_with_large_heads_are_too_much(monkeypatch):
    assert parser.MOST_INTERIM == 262144
    monkeypatch.setattr(parser, "MOST_INTERIM", 26214)
    interim = b"HTTP/1.1 103 Early Hints\r\n" + b"Link: %s\r\n" % (b"a" * 6000) + b"\r\n"
    assert [event[0] for event in told(interim * 4 + OK)].count("response") == 5
    assert told(interim * 5)[-1][1:3] == ("BadResponse", 502)


def test_an_upgrade_leaves_the_rest():
    assert told(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x00")[-1] == ("unconsumed", b"\x81\x00")


def test_the_answer_to_head_has_no_body():
    parser = parser_for(Recorder(), responses=True, method="HEAD")
    head = OK[:-2]
    assert parser.feed(head) == len(head) and parser.idle
    parser.request_method = "GET"
    parser.feed(OK)
    assert [event[0] for event in parser.observer.events] == ["response", "response", "body", "end"]


def test_a_body_until_close():
    recorder = Recorder()
    parser = parser_for(recorder, responses=True)
    parser.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    assert parser.framing.length == UNTIL_CLOSE and not parser.idle
    for _ in range(3):
        assert parser.feed(b"abc") == 3
    parser.end()
    parser.end()
    assert recorder.events[1:] == [("body", b"abcabcabc"), ("end", ())]
    with pytest.raises(BadResponse):
        parser.feed(b"x")


def test_a_cut_response_is_never_a_short_one():
    for size in range(1, len(OK)):
        parser = parser_for(Recorder(), responses=True)
        parser.feed(OK[:size])
        with pytest.raises(IncompleteBody):
            parser.end()
        assert ("end", ()) not in parser.observer.events


@pytest.mark.parametrize("data",
                         [b"HTTP/1.1 200 OK\r\nA : b\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"x\r\n",
                          b"\n", b"a" * 20000,
                                  b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
                                  b"HTTP/1.1 200 OK\r\nA: \x00"])
def test_every_error_is_a_bad_response(data):
    parser = parser_for(Recorder(), responses=True)
    with pytest.raises(BadResponse) as caught:
        parser.feed(data)
    assert caught.value.status == 502 and caught.value.reason
