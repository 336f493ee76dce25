"""How a parser refuses: the error says what is wrong, what came before has been told, nothing comes after."""
import pytest

from icey.base.errors import BadRequest, BadResponse, HttpError, IncompleteBody, NotSupported, ProtocolError, TooLarge
from tests.fuzz.messages import Recorder, parser_for, record

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("data, kind, reason", [
    (b"GET /  HTTP/1.1\r\n", BadRequest, "malformed request line"),
    (b"GET / HTTP/0.9\r\n", BadRequest, "HTTP/0.9"),
    (b"GET / HTTP/2.0\r\n", NotSupported, "HTTP/2"),
    (b"GET * HTTP/1.1\r\n", BadRequest, "OPTIONS"),
    (b"CONNECT / HTTP/1.1\r\n", BadRequest, "host:port"),
    (b"CONNECT a HTTP/1.1\r\n", BadRequest, "host:port"),
    (b"GET a HTTP/1.1\r\n", BadRequest, "request target"),
    (b"GET / HTTP/1.1\r\n A: b\r\n", BadRequest, "white space"),
    (b"GET / HTTP/1.1\r\nA : b\r\n", BadRequest, "header line"),
    (b"GET / HTTP/1.1\r\nA: \x00", BadRequest, "control character"),
    (b"GET / HTTP/1.1\nA: b\r\n", BadRequest, "bare LF"),
    (b"GET / HTTP/1.1\r\n\r\n", BadRequest, "Host is missing"),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BadRequest, "malformed Host"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", BadRequest, "more than one host"),
    (GET[:-2] + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", BadRequest, "with Transfer-Encoding"),
    (GET[:-2] + b"Content-Length: x\r\n\r\n", BadRequest, "Content-Length"),
    (GET[:-2] + b"Transfer-Encoding: gzip, chunked\r\n\r\n", NotSupported, "transfer coding gzip"),
    (GET[:-2] + b"Expect: x\r\n\r\n", BadRequest, "expectation"),
    (GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", BadRequest, "chunk size"),
    (GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc", BadRequest, "not followed by CRLF"),
    (b"\r\n" * 5, BadRequest, "empty lines"),
    (b"x" * 10000, TooLarge, "request line too long"),
])
def test_the_reason_says_what_is_wrong(data, kind, reason):
    parser = parser_for(Recorder())
    with pytest.raises(HttpError) as caught:
        parser.feed(data)
    assert type(caught.value) is kind and reason in caught.value.reason
    assert isinstance(caught.value, ProtocolError) and isinstance(caught.value, ValueError)
    assert str(caught.value.status) in str(caught.value)


def test_what_came_before_has_been_told():
    events = record(GET * 3 + b"GET / HTTP/1.1\r\n\r\n" + GET)
    assert [event[0] for event in events] == ["request"] * 3 + ["error"]


@pytest.mark.parametrize("error",
                         [b"x\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nA: \x00",
                          GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\nx\r\n"])
def test_an_error_is_final(error):
    recorder = Recorder()
    parser = parser_for(recorder)
    with pytest.raises(BadRequest):
        parser.feed(error)
    told = list(recorder.events)
    for data in (GET, b"\r\n", b"x", b"0\r\n\r\n"):
        with pytest.raises(BadRequest, match="failed already"):
            parser.feed(data)
    parser.end()
    assert recorder.events == told and not parser.idle


def test_an_error_in_a_response_is_final_too():
    parser = parser_for(Recorder(), responses=True)
    for _ in range(2):
        with pytest.raises(BadResponse):
            parser.feed(b"x\r\n")


@pytest.mark.parametrize("line",
                         [b"GET / HTTP/1.1\r\nA: b\r\nC : d\r\n", b"GET / HTTP/1.1\r\nA: \x01", b"GET /\x00", b"GET\n",
                          b"GET / HTTP/1.1\r\nA\rb"])
def test_it_does_not_wait_for_the_blank_line(line):
    parser = parser_for(Recorder())
    with pytest.raises(BadRequest):
        parser.feed(line)


@pytest.mark.parametrize("data", [
    b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r", GET[:-2] + b"Content-Length: 2\r\n\r\nh",
    GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\n", GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
])
def test_the_end_inside_a_message(data):
    recorder = Recorder()
    parser = parser_for(recorder)
    parser.feed(data)
    told = list(recorder.events)
    with pytest.raises(IncompleteBody) as caught:
        parser.end()
    assert caught.value.status == 400
    assert recorder.events == told
    parser.end()
    with pytest.raises(BadRequest, match="failed already"):
        parser.feed(GET)


def test_the_end_between_messages():
    parser = parser_for(Recorder())
    parser.end()
    parser.feed(GET)
    parser.end()
    parser.feed(GET)
    assert parser.idle


def test_nothing_else_than_an_http_error_for_any_two_bytes():
    for first in range(256):
        for second in (0, 10, 13, 32, 58, 65, 127, 255):
            events = record(b"%c%c" % (first, second))
            assert events == [] or events[0][0] in ("incomplete", "error")
