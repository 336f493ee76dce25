"""Heads of answers: the date, the cached common ones, and that nothing of a user's can break a line."""
import email.utils

import pytest

from icey.http.http1.responsehead import CHUNKED_SIZE, MOST_KNOWN, HeadWriter
from icey.http.semantics.dates import http_date
from icey.http.semantics.headers import Headers
from icey.http.semantics.status import bodiless, check_status

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
STAMP = 784111777


class Wall:
    def __init__(self, now=STAMP):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def writer(wall):
    return HeadWriter("icey", wall)


def lines(head):
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].decode("latin-1").split("\r\n")


def test_http_date():
    assert http_date(STAMP) == DATE
    assert http_date(0.9) == "Thu, 01 Jan 1970 00:00:00 GMT"
    for day in range(0, 800):
        moment = 951782400 + day * 86400 + day * 61  # from the leap day of 2000 on
        assert http_date(moment) == email.utils.formatdate(moment, usegmt=True)


def test_a_head_has_status_server_date_and_fields_in_order(writer):
    assert lines(writer.head(200, "", [("B", "1"), ("a", "2"), ("B", "3")])) == [
        "HTTP/1.1 200 OK", "Server: icey", "Date: " + DATE, "B: 1", "a: 2", "B: 3"]


def test_a_reason_is_always_there(writer):
    assert lines(writer.head(404, "", []))[0] == "HTTP/1.1 404 Not Found"
    assert lines(writer.head(299, "", []))[0] == "HTTP/1.1 299 Unknown"
    assert lines(writer.head(200, "Sure thing", []))[0] == "HTTP/1.1 200 Sure thing"


@pytest.mark.parametrize("reason", ["OK\r\nSet-Cookie: a", "\n", "\x00", "\u20ac"])
def test_a_reason_cannot_carry_a_line_end(writer, reason):
    with pytest.raises(ValueError, match="reason phrase"):
        writer.head(200, reason, [])


def test_server_and_date_may_be_given(writer):
    head = lines(writer.head(200, "", [("SERVER", "mine"), ("date", "now")]))
    assert head == ["HTTP/1.1 200 OK", "SERVER: mine", "date: now"]


def test_a_server_without_a_name(wall):
    assert lines(HeadWriter("", wall).head(200, "", [])) == ["HTTP/1.1 200 OK", "Date: " + DATE]
    with pytest.raises(ValueError):
        HeadWriter("a\r\nb")


def test_obs_text_goes_out_as_latin_1(writer):
    assert b"\r\nA: \xe9\r\n" in writer.head(200, "", [("A", "\xe9")])


def test_common_heads_are_made_once_a_second(writer, wall):
    head = writer.common(writer.known, 200, "text/plain", 5)
    assert lines(head) == ["HTTP/1.1 200 OK", "Server: icey", "Date: " + DATE, "Content-Type: text/plain",
                           "Content-Length: 5"]
    assert writer.known == {(200, "text/plain", 5): head}
    wall.now += 0.9
    writer.refresh()
    assert writer.known
    wall.now += 0.2
    writer.refresh()
    assert not writer.known
    assert "Date: Sun, 06 Nov 1994 08:49:38 GMT" in lines(writer.common(writer.known, 200, None, 5))


def test_a_clock_that_goes_back_is_followed(writer, wall):
    wall.now -= 100
    writer.refresh()
    assert "Date: " + http_date(STAMP - 100) in lines(writer.head(200, "", []))


def test_common_heads_are_bounded(writer):
    for size in range(MOST_KNOWN * 3):
        writer.common(writer.known, 200, None, size)
        assert len(writer.known) <= MOST_KNOWN
    assert writer.known


@pytest.mark.parametrize("status, size", [(204, 1), (304, 1), (100, 0), (204, CHUNKED_SIZE)])
def test_a_bodiless_status_has_no_common_head_with_a_body(writer, status, size):
    assert writer.common(writer.known, status, None, size) == b"" and not writer.known


@pytest.mark.parametrize("status", [204, 304])
def test_the_common_head_of_a_bodiless_status_says_no_length(writer, status):
    assert b"Content-Length" not in writer.common(writer.known, status, None, 0)


@pytest.mark.parametrize("known, line", [("known", []), ("kept", ["Connection: keep-alive"]), ("last", ["Connection: close"])])
def test_each_family_of_common_heads_ends_with_its_connection_line(writer, known, line):
    family = getattr(writer, known)
    expected = ["HTTP/1.1 200 OK", "Server: icey", "Date: " + DATE, "Content-Type: text/plain"]
    assert lines(writer.common(family, 200, "text/plain", 5)) == [*expected, "Content-Length: 5", *line]
    assert lines(writer.common(family, 200, "text/plain", CHUNKED_SIZE)) == [*expected, "Transfer-Encoding: chunked", *line]
    assert lines(writer.extended(family, 200, None, 5, [("A", "b"), ("Content-Type", "text/plain"), ("C", "d")])) == [
        *expected, "Content-Length: 5", "A: b", "C: d", *line]


@pytest.mark.parametrize("headers", [
    [("Connection", "close")], [("Date", "today")], [("Server", "x")], [("Transfer-Encoding", "chunked")],
    [("Content-Length", "6")], [("Content-Length", "05")], [("Content-Length", "+5")], [("Content-Length", "5")] * 2,
    [("Content-Type", "a/b"), ("content-type", "a/b")], [("A", "b\r\nc")], [("A b", "c")], [("A", 5)], [(["A"], "b")], [("A",)],
    iter([("A", "b")]), {"Connection": "x"},
])
def test_what_goes_not_into_a_common_head_goes_the_long_way(writer, headers):
    assert writer.extended(writer.known, 200, None, 5, headers) == b""


def test_the_length_of_what_is_not_sent_goes_the_long_way(writer):
    assert writer.extended(writer.known, 304, None, 0, [("Content-Length", "0")]) == b""
    assert writer.extended(writer.known, 304, None, 0, [("ETag", "x")]).endswith(b"ETag: x\r\n\r\n")


@pytest.mark.parametrize("headers", [[("Content-Length", "5")], {"content-length": "5"}, Headers({"CONTENT-LENGTH": "5"})])
def test_a_length_that_is_right_may_be_given(writer, headers):
    assert writer.extended(writer.known, 200, None, 5, headers) == writer.common(writer.known, 200, None, 5)


def test_a_common_head_checks_what_it_is_given(writer):
    with pytest.raises(ValueError):
        writer.common(writer.known, 200, "a\r\nb", 0)
    with pytest.raises(ValueError):
        writer.common(writer.known, 99, None, 0)
    with pytest.raises(TypeError):
        writer.common(writer.known, 200, 5, 0)
    assert not writer.known


def test_bodiless():
    assert [status for status in range(100, 600) if bodiless(status)] == [*range(100, 200), 204, 304]


def test_check_status():
    for status in (100, 200, 999):
        check_status(status)
    for status in (99, 1000, -1, True, 200.0, "200", None):
        with pytest.raises(ValueError, match="100 to 999"):
            check_status(status)
