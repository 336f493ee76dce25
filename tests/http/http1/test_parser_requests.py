"""What a parser tells of good requests: the message, its fields, its framing."""
import pytest

from icey.http import Parser
from icey.http.http1.framing import CHUNKED
from tests.fuzz.messages import Recorder, bytewise, parser_for, record


class Messages:
    """Keeps the messages themselves."""

    def __init__(self, **options):
        self.messages = []
        self.parser = Parser(self, **options)

    def on_head(self, message):
        self.messages.append(message)

    def on_body(self, view):
        pass

    def on_end_of_body(self):
        pass


def parsed(data, bytes_apart=False):
    observer = Messages()
    for piece in bytewise(data) if bytes_apart else [data]:
        assert observer.parser.feed(piece) == len(piece)
    return observer.messages


@pytest.mark.parametrize("apart", [False, True], ids=["whole", "bytewise"])
def test_a_request(apart):
    message, = parsed(b"GET /a%20b?c HTTP/1.1\r\nHOST:\t a:80 \r\nX-One: 1\r\nx-two:\r\n\r\n", apart)
    assert (message.method, message.target, message.version) == ("GET", "/a%20b?c", "1.1")
    assert (message.path, message.query, message.host) == ("/a b", "c", "a:80")
    assert message.headers.items() == [("host", "a:80"), ("x-one", "1"), ("x-two", "")]


@pytest.mark.parametrize("apart", [False, True], ids=["whole", "bytewise"])
def test_repeated_fields_stay_apart_and_in_order(apart):
    message, = parsed(b"GET / HTTP/1.1\r\nA: 1\r\nHost: a\r\na: 2\r\n\r\n", apart)
    assert message.headers.items() == [("a", "1"), ("host", "a"), ("a", "2")]
    assert message.headers.get_all("A") == ["1", "2"]


@pytest.mark.parametrize("apart", [False, True], ids=["whole", "bytewise"])
def test_values_are_latin_1_and_only_spaces_and_tabs_are_trimmed(apart):
    message, = parsed(b"GET / HTTP/1.1\r\nHost: a\r\nA: \t\xa0\x85\xff\xc3\xa9\t \r\n\r\n", apart)
    assert message.headers["a"] == "\xa0\x85\xff\xc3\xa9"


@pytest.mark.parametrize("apart", [False, True], ids=["whole", "bytewise"])
def test_names_with_underscores_are_not_names_with_hyphens(apart):
    message, = parsed(b"GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n", apart)
    assert message.headers["content_length"] == "5" and "content-length" not in message.headers


def test_the_target_of_an_absolute_form_beats_host():
    message, = parsed(b"GET http://b:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (message.host, message.path, message.query) == ("b:1", "/x", "y")
    assert message.headers["host"] == "a"


def test_an_options_of_the_server():
    message, = parsed(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (message.target, message.path, message.host) == ("*", "*", "a")


@pytest.mark.parametrize("version, told", [("1.0", "1.0"), ("1.1", "1.1"), ("1.2", "1.1"), ("1.9", "1.1")])
def test_versions(version, told):
    message, = parsed(b"GET / HTTP/%s\r\nHost: a\r\n\r\n" % version.encode())
    assert message.version == told


@pytest.mark.parametrize("fields, said", [
    (b"", (0, True, False, False, True)),
    (b"Connection: close\r\n", (0, False, False, False, False)),
    (b"Connection: upgrade\r\nUpgrade: x\r\n", (0, True, False, True, False)),
    (b"Content-Length: 5\r\nExpect: 100-continue\r\n", (5, True, True, False, False)),
    (b"Transfer-Encoding: chunked\r\n", (CHUNKED, True, False, False, False)),
])
@pytest.mark.parametrize("apart", [False, True], ids=["whole", "bytewise"])
def test_framing(fields, said, apart):
    head = b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n" % fields
    events = record(bytewise(head) if apart else head, end=False)
    assert [event[5] for event in events] == [said]


def test_memory_and_positions_do_not_leak_between_messages():
    recorder = Recorder()
    parser = parser_for(recorder)
    for index in range(500):
        parser.feed(b"GET /%d HTTP/1.1\r\nHost: a\r\nX: %d\r\n\r\n" % (index, index))
        assert parser.idle and not parser._pairs and parser._tail is None
    assert [event[2] for event in recorder.events] == ["/%d" % index for index in range(500)]


def test_idle_and_partial():
    parser = parser_for(Recorder())
    assert parser.idle and not parser.partial
    parser.feed(b"G")
    assert parser.partial and not parser.idle
    parser.feed(b"ET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n")
    assert parser.partial
    parser.feed(b"\r\n")
    assert not parser.partial and not parser.idle
    parser.feed(b"hi")
    assert parser.idle


@pytest.mark.parametrize("pieces", [[b"\r\n"], [b"\r", b"\n"], [b"\r\n\r\n"], [b"\r\n", b"\r\n"]])
def test_an_empty_line_begins_no_request(pieces):
    recorder = Recorder()
    parser = parser_for(recorder)
    parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
    for piece in pieces:
        parser.feed(piece)
    assert parser.idle and not parser.partial
    parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    parser.feed(b"\r\n")
    parser.end()  # not inside a message
    assert [event[0] for event in recorder.events] == ["request", "body", "end", "request"]


def test_half_an_empty_line_does():
    parser = parser_for(Recorder())
    parser.feed(b"\r")
    assert parser.partial and not parser.idle


def test_empty_input_is_nothing():
    parser = parser_for(Recorder())
    assert parser.feed(b"") == 0 and parser.idle
    parser.feed(b"GET / ")
    assert parser.feed(b"") == 0 and not parser.idle


def test_a_parser_is_usable_alone():
    class Observer:
        """As the parser's own description of it."""

        def on_head(self, message):
            told.append((message.method, parser.framing.length))

        def on_body(self, view):
            told.append(bytes(view))

        def on_end_of_body(self):
            told.append(parser.trailers)

    told = []
    parser = Parser(Observer())
    data = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n"
    assert parser.feed(data) == len(data)
    parser.end()
    assert told == [("PUT", CHUNKED), b"hi", [("a", "b")]]
