"""Bodies of a known length: their pieces, what is left, what stands behind them. Tunnels, which take nothing more."""
import pytest

from icey.base.errors import IncompleteBody
from tests.fuzz.messages import Recorder, parser_for, record

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Views(Recorder):
    """Keeps the views."""

    def on_body(self, view):
        self.views = getattr(self, "views", []) + [view]
        return super().on_body(view)


def test_a_piece_is_a_view_of_what_was_fed():
    recorder = Views()
    parser = parser_for(recorder)
    data = HEAD % 5 + b"hello" + GET
    parser.feed(data)
    view, = recorder.views
    assert type(view) is memoryview and view.readonly and view.obj is data and view == b"hello"


def test_pieces_as_they_come():
    recorder = Views()
    parser = parser_for(recorder)
    for piece in (HEAD % 10 + b"ab", b"cdefg", b"hij" + GET):
        assert parser.feed(piece) == len(piece)
    assert [bytes(view) for view in recorder.views] == [b"ab", b"cdefg", b"hij"]
    assert [event[0] for event in recorder.events] == ["request", "body", "end", "request"]


def test_no_piece_is_empty():
    recorder = Views()
    parser = parser_for(recorder)
    parser.feed(HEAD % 2)
    parser.feed(b"")
    parser.feed(b"hi")
    assert [len(view) for view in recorder.views] == [2]


def test_left_and_behind():
    parser = parser_for(Recorder())
    assert parser.left == 0
    parser.feed(HEAD % 10 + b"abc")
    assert (parser.left, parser.behind) == (7, 3)
    parser.feed(b"d")
    assert (parser.left, parser.behind) == (6, 3)
    parser.feed(b"efghij")
    assert parser.left == 0
    parser.feed(HEAD % 10)
    assert (parser.left, parser.behind) == (10, 0)


@pytest.mark.parametrize("warm", [0, 1, 2, 4])
def test_behind_is_told_with_the_head_however_it_was_read(warm):
    class Observer(Recorder):
        def on_head(self, message):
            behind.append(self.parser.behind)

    behind = []
    recorder = Observer()
    parser = parser_for(recorder)
    for index in range(warm):
        parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nX: %d\r\nContent-Length: 2\r\n\r\nhi" % index)
    parser.feed(GET + b"POST / HTTP/1.1\r\nHost: a\r\nX: 9\r\nContent-Length: 2\r\n\r\nh")
    assert behind[-1] == 1


def test_a_length_of_zero_is_no_body():
    assert [event[0] for event in record(HEAD % 0 + GET)] == ["request", "request"]


def test_left_of_a_body_of_unknown_length():
    parser = parser_for(Recorder())
    parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe")
    assert parser.left == -1
    response = parser_for(Recorder(), responses=True)
    response.feed(b"HTTP/1.1 200 OK\r\n\r\nhe")
    assert response.left == -1


def test_a_body_of_a_terabyte_is_counted_not_kept():
    recorder = Recorder()
    parser = parser_for(recorder)
    parser.feed(HEAD % 10 ** 12)
    parser.feed(bytes(1000))
    assert parser.left == 10 ** 12 - 1000 and parser._tail is None
    with pytest.raises(IncompleteBody):
        parser.end()


# holding

@pytest.mark.parametrize("event, used", [
    ("on_head", len(HEAD % 5)), ("on_body", len(HEAD % 5) + 5), ("on_end_of_body", len(HEAD % 5) + 5),
])
def test_a_held_parser_returns_at_once(event, used):
    recorder = Recorder()
    parser = parser_for(recorder)
    told = getattr(recorder, event)

    def hold(*args):
        told(*args)
        return True

    setattr(recorder, event, hold)
    data = HEAD % 5 + b"hello" + GET
    assert parser.feed(data) == used
    assert "request" not in [entry[0] for entry in recorder.events[1:]]
    delattr(recorder, event)
    assert parser.feed(data[used:]) == len(data) - used
    assert recorder.events == record(data)


@pytest.mark.parametrize("warm", range(5))
def test_a_hold_at_the_head_is_kept_however_the_head_was_read(warm):
    recorder = Recorder(lambda: hold)
    parser = parser_for(recorder)
    hold = False
    for index in range(warm):
        parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: %d\r\n\r\n" % index)
    hold = True
    data = b"GET / HTTP/1.1\r\nHost: a\r\nX: 9\r\n\r\n"
    assert parser.feed(data * 3) == len(data)
    assert parser.feed(data * 2) == len(data)


# tunnels

def test_a_tunnel_takes_nothing():
    class Observer(Recorder):
        def on_head(self, message):
            super().on_head(message)
            self.parser.tunnel()

    for fields in (b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"):
        recorder = Observer()
        parser = parser_for(recorder)
        head = b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n" % fields
        assert parser.feed(head + b"\x00\x01") == len(head)
        assert parser.feed(b"\x00\x01") == 0
        parser.end()
        assert len(recorder.events) == 1 and not parser.idle


def test_a_tunnel_made_after_the_head():
    recorder = Recorder(lambda: True)
    parser = parser_for(recorder)
    assert parser.feed(GET + b"\x00") == len(GET)
    parser.tunnel()
    assert parser.feed(b"\x00") == 0


def test_an_upgrade_asked_for_is_no_tunnel_yet():
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    assert [event[0] for event in record(head + GET)] == ["request", "request"]
