"""What a ClientConnection makes of a server's bytes: tables of literal bytes in, events out (RFC 9112, a user agent's side)."""
import weakref

import pytest

import icey
from icey import BadResponse, PeerClosed
from tests.support import rawserver, seeds
from tests.support.rawserver import answer, chunked
from tests.support.streams import collect

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=\"y\"\r\nlo\r\n0\r\nA: b\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"
NONE = b"HTTP/1.1 204 No Content\r\n\r\n"
TE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

KEPT = [200, b"hello", "complete"]
CLOSED = KEPT + ["close"]


def served(raw, data, *, method="GET", end=True, conn=None):
    """The story of a transaction whose answer is `data` (bytes or pieces, each in a read of its own), then the end."""
    conn = conn or raw.connection(method=method)
    conn.start()
    server = raw.accept()
    server.request()
    for piece in [data] if isinstance(data, bytes) else data:
        server.send(piece)
        raw.turn()
    if end:
        server.half_close()
    told = raw.story(conn)
    server.close()
    return told


def whole(data):
    """The story of an answer by which the connection is kept, in one."""
    return [200, data, "complete"]


# what is good: the answer, and whether the connection is kept

GOOD = {
    # lengths
    "length": (HELLO, KEPT),
    "length 0": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [200, "complete"]),
    "leading zeros": (b"HTTP/1.1 200 OK\r\nContent-Length: 0000000000000005\r\n\r\nhello", KEPT),
    "space around the length": (b"HTTP/1.1 200 OK\r\nContent-Length: \t 5 \t\r\n\r\nhello", KEPT),
    "name in other case": (b"HTTP/1.1 200 OK\r\ncONTENT-lENGTH:5\r\n\r\nhello", KEPT),
    "the same length in two fields": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length:5\r\n\r\nhello", KEPT),
    "the same length in a list": (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", KEPT),
    # chunks
    "chunked": (chunked(b"hel", b"lo"), KEPT),
    "one chunk": (chunked(b"hello"), KEPT),
    "no chunk": (chunked(), [200, "complete"]),
    "coding in other case": (chunked(b"hello").replace(b"chunked", b"ChUnKeD"), KEPT),
    "upper-case hex": (TE + b"A\r\n0123456789\r\n0\r\n\r\n", whole(b"0123456789")),
    "lower-case hex": (TE + b"a\r\n0123456789\r\n0\r\n\r\n", whole(b"0123456789")),
    "leading zeros in a size": (TE + b"0005\r\nhello\r\n000\r\n\r\n", KEPT),
    "extension": (TE + b"5;a\r\nhello\r\n0;b=c\r\n\r\n", KEPT),
    "extension with spaces": (TE + b"5 ; a = b\r\nhello\r\n0\r\n\r\n", KEPT),
    "quoted extension": (TE + b'5;a="\\";\t\xe9"\r\nhello\r\n0\r\n\r\n', KEPT),
    "trailers": (chunked(b"hello", trailers=["Digest: x", "Content-Length: 7"]), KEPT),
    # until the end
    "until close": (CLOSE, CLOSED),
    "until close, nothing": (b"HTTP/1.1 200 OK\r\n\r\n", [200, "complete", "close"]),
    "until close though keep-alive": (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello", CLOSED),
    "not chunked at last": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nhello", CLOSED),
    "another coding": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello", CLOSED),
    # none
    "204": (NONE, [204, "complete"]),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", [204, "complete"]),
    "204 chunked": (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", [204, "complete"]),
    "304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", [304, "complete"]),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12345\r\n\r\n", [304, "complete"]),
    # status lines
    "no reason": (b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", KEPT),
    "no reason, no space": (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", KEPT),
    "reason of many words": (b"HTTP/1.1 200 all \xe9 well\t!\r\nContent-Length: 5\r\n\r\nhello", KEPT),
    "unknown status": (b"HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n", [599, "complete"]),
    "status beyond": (b"HTTP/1.1 999 Odder\r\nContent-Length: 0\r\n\r\n", [999, "complete"]),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", CLOSED),
    "1.0 kept": (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello", KEPT),
    "1.0 until close": (b"HTTP/1.0 200 OK\r\n\r\nhello", CLOSED),
    "1.0 chunked": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", CLOSED),
    "1.7": (b"HTTP/1.7 200 OK\r\nContent-Length: 5\r\n\r\nhello", KEPT),
    # connection
    "close": (answer(b"hello", "Connection: close"), CLOSED),
    "close in a list": (answer(b"hello", "Connection: keep-alive, CLOSE"), CLOSED),
    "close in two lines": (answer(b"hello", "Connection: x", "Connection: Close"), CLOSED),
    "not quite close": (answer(b"hello", "Connection: closed-loop"), KEPT),
    # headers
    "folded": (b"HTTP/1.1 200 OK\r\nX: a\r\n  b\r\n\tc\r\nContent-Length: 5\r\n\r\nhello", KEPT),
    "empty value": (answer(b"hello", "X:"), KEPT),
    "octets": (answer(b"hello", "X: \xe9\xff\x80"), KEPT),
    "every token": (answer(b"hello", "!#$%&'*+-.^_`|~09azAZ: x"), KEPT),
    # interim answers
    "100 unasked": (b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO, [100] + KEPT),
    "102 and 103": (
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + HELLO, [102, 103] + KEPT),
    "twenty interim answers": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20 + HELLO, [103] * 20 + KEPT),
    "interim with a length": (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + HELLO, [103] + KEPT),
}


@pytest.mark.parametrize("data, told", GOOD.values(), ids=GOOD)
def test_a_good_answer(raw, data, told):
    assert served(raw, data, end="close" in told) == told


@pytest.mark.parametrize("data, told", GOOD.values(), ids=GOOD)
def test_a_good_answer_and_at_once_the_end(raw, data, told):
    conn = raw.connection()
    assert served(raw, data, conn=conn)[:len(told)] == told
    assert conn.closed and not [event for event in conn.seen if event[0] == "error"]


@pytest.mark.parametrize("data", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
])
def test_no_body_follows_a_head_whatever_it_says(raw, data):
    conn = raw.connection(method="HEAD")
    assert served(raw, data, conn=conn, end=False) == [200, "complete"]
    assert conn.reusable and conn.received == 0


def test_a_success_of_CONNECT_has_no_body_and_is_an_upgrade(raw):
    conn = raw.connection()
    conn.start(icey.http.Request("CONNECT", "a.test:443", "1.1", []))
    server = raw.accept()
    assert server.head().line == "CONNECT a.test:443 HTTP/1.1"
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert raw.story(conn) == [200, icey.StateError, "close"]  # nobody took it over


# what is bad: an error, after what was told of it

BAD_LENGTHS = ["", "x", "+5", "-5", "0x5", "5.0", "5 5", "5,6", "5,", ",5", "5, 05", "5;", "5_0", "\xb2", "9" * 19]
BAD_SIZES = [b"", b"x", b"+5", b"-5", b"0x5", b"5 ", b" 5", b"5\t", b"5;", b"5;=a", b'5;a="b', b"5;a=b c", b"5 a", b"5,",
             b"1" * 17, b"5\n", b"5\x00", b"5;\x01", b"g", b"5\r"]
BAD_HEADS = {
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "HTTP/1.10": b"HTTP/1.10 200 OK\r\n\r\n",
    "HTTP/01.1": b"HTTP/01.1 200 OK\r\n\r\n",
    "http/1.1": b"http/1.1 200 OK\r\n\r\n",
    "0.9": b"<html>hello</html>\r\n\r\n",
    "ICY": b"ICY 200 OK\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\n\r\n",
    "status 099": b"HTTP/1.1 099 Odd\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 Odd\r\n\r\n",
    "status 20": b"HTTP/1.1 20 OK\r\n\r\n",
    "status +20": b"HTTP/1.1 +20 OK\r\n\r\n",
    "status 2\xb20": b"HTTP/1.1 2\xb20 OK\r\n\r\n",
    "status -200": b"HTTP/1.1 -200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "a tab": b"HTTP/1.1\t200 OK\r\n\r\n",
    "reason glued": b"HTTP/1.1 200OK\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\n\r\n",
    "empty line before": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare CR": b"HTTP/1.1 200 OK\rContent-Length: 0\r\r",
    "space before the colon": b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nabc\r\n\r\n",
    "no name": b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
    "space in a name": b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
    "folded first": b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
    "DEL in a value": b"HTTP/1.1 200 OK\r\nA: b\x7f\r\n\r\n",
    "TE and CL": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "CL and TE": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "CL and gzip": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    "nothing, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "too much of interim answers": (b"HTTP/1.1 103 Early Hints\r\n" + b"Link: %s\r\n\r\n" % (b"a" * 60000)) * 5,
}


@pytest.mark.parametrize("data", BAD_HEADS.values(), ids=BAD_HEADS)
def test_a_bad_head(raw, data):
    conn = raw.connection()
    told = served(raw, data, conn=conn, end=False)
    assert told[-2:] == [BadResponse, "close"] and 200 not in told and "complete" not in told
    assert str(conn.seen[-2][1])


@pytest.mark.parametrize("alert", [10, 40, 70])  # 10 is a line's end
def test_a_server_that_speaks_tls_is_told(raw, alert):
    conn = raw.connection()
    assert served(raw, bytes([21, 3, 1, 0, 2, 2, alert]), conn=conn) == [BadResponse, "close"]
    assert "speaks TLS there: its URL is https://" in str(conn.seen[-2][1])


@pytest.mark.parametrize("value", BAD_LENGTHS)
def test_a_bad_length(raw, value):
    data = ("HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nhello" % value).encode("latin-1")
    assert served(raw, data, end=False) == [BadResponse, "close"]


@pytest.mark.parametrize("line", BAD_SIZES)
def test_a_bad_chunk_size(raw, line):
    assert served(raw, TE + line + b"\r\nhello\r\n0\r\n\r\n", end=False) == [200, BadResponse, "close"]


@pytest.mark.parametrize("behind", [
    b"5\r\nhelloX\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\rX",
])
def test_chunk_data_without_its_line_end(raw, behind):
    assert served(raw, TE + behind, end=False) == [200, b"hello", BadResponse, "close"]


@pytest.mark.parametrize("trailer", [b"no colon", b"A : b", b" A: b", b"A: b\0", b"A: b\n"])
def test_a_bad_trailer(raw, trailer):
    told = served(raw, chunked(b"hello")[:-2] + trailer + b"\r\n\r\n", end=False)
    assert told == [200, b"hello", BadResponse, "close"]


# limits

@pytest.mark.parametrize("data", [
    b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * 70000,
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101,
    b"HTTP/1.1 200 " + b"x" * 70000,
    b"x" * 70000,
], ids=["long", "many", "reason", "no line"])
def test_a_head_past_the_limits(raw, data):
    assert served(raw, data, end=False) == [BadResponse, "close"]


def test_twenty_megabytes_of_headers_fail_early(raw):
    conn = raw.connection()
    conn.start()
    server = raw.accept()
    server.request()
    sent = 0
    piece = b"X-Pad: %s\r\n" % (b"x" * 1000)
    with pytest.raises(OSError):
        server.send(b"HTTP/1.1 200 OK\r\n")
        while sent < 20 << 20:
            server.send(piece * 10)
            raw.turn()
            sent += len(piece) * 10
    assert sent < 1 << 20
    assert raw.story(conn) == [BadResponse, "close"]


def test_limits_are_the_callers(raw):
    conn = raw.connection(limits={"max_head": 100, "max_fields": 3})
    assert served(raw, answer(b"", "A: " + "x" * 90), conn=conn, end=False) == [BadResponse, "close"]
    conn = raw.connection(limits={"max_fields": 3})
    assert served(raw, answer(b"", "A: a", "B: b", "C: c"), conn=conn, end=False) == [BadResponse, "close"]
    conn = raw.connection(limits={"max_head": None, "max_fields": None})
    assert served(raw, answer(b"hello", *["A: " + "x" * 1000] * 200), conn=conn, end=False) == KEPT


# what comes behind

EXTRA = [b"x", b"\r\n", HELLO, b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"\0" * 1000]


@pytest.mark.parametrize("extra", EXTRA)
@pytest.mark.parametrize("data, told", [
    (HELLO, CLOSED), (chunked(b"hello"), CLOSED), (NONE, [204, "complete", "close"]), (answer(), [200, "complete", "close"]),
], ids=["length", "chunked", "none", "empty"])
def test_bytes_behind_an_answer_do_not_harm_it_and_end_the_connection(raw, data, told, extra):
    conn = raw.connection()
    assert served(raw, data + extra, conn=conn, end=False) == told
    with pytest.raises(icey.StateError):
        conn.start()


@pytest.mark.parametrize("extra", EXTRA)
def test_bytes_that_come_later_end_an_idle_connection(raw, extra):
    conn = raw.connection()
    conn.start()
    server = raw.accept()
    server.reply(b"hello")
    assert raw.story(conn) == KEPT
    server.send(extra)
    assert server.gone()
    assert raw.story(conn) == CLOSED


@pytest.mark.parametrize("what, error", [("send", BadResponse), ("half_close", PeerClosed)])
def test_what_comes_before_a_request_has_gone_fails_its_transaction(raw, what, error):
    conn = raw.connection(method="POST")
    conn.start()
    server = raw.accept()
    server.reply(b"hello")
    assert raw.story(conn) == KEPT
    server.send(HELLO) if what == "send" else server.half_close()
    conn.start()  # goes out a turn later: a send() may follow
    conn.stream.look()
    assert raw.story(conn) == KEPT + [error, "close"]


# splitting: the same events wherever the bytes are cut

SPLIT = {
    "length": HELLO,
    "chunked": CHUNKS,
    "interim": b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + HELLO,
    "folded": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 5\r\n\r\nhello",
    "close": CLOSE,
    "none": NONE,
}


@pytest.mark.parametrize("data", SPLIT.values(), ids=SPLIT)
def test_every_split_point_gives_the_same_events(raw, data):
    expected = served(raw, data)
    for at in range(1, len(data)):
        assert served(raw, [data[:at], data[at:]]) == expected, at


@pytest.mark.parametrize("data", SPLIT.values(), ids=SPLIT)
def test_byte_at_a_time_gives_the_same_events(raw, data):
    assert served(raw, [data[i:i + 1] for i in range(len(data))]) == served(raw, data)


def test_random_pieces_of_random_answers_give_the_same_events(raw):
    rng = seeds.rng()
    for _ in range(25):
        body = rng.randbytes(rng.randrange(3000)) if hasattr(rng, "randbytes") else bytes(rng.choices(range(256), k=500))
        data = rng.choice([
            answer(body), chunked(*[body[i:i + 100] for i in range(0, len(body), 100)]), answer(body, length=False)])
        pieces, at = [], 0
        while at < len(data):
            size = rng.choice([1, 2, 10, 100, 1000])
            pieces.append(data[at:at + size])
            at += size
        assert served(raw, pieces)[:3] == ([200, body, "complete"] if body else [200, "complete", "close"])


# the end and a reset, at every byte: an error, never a short answer

def cuts(data):
    return range(len(data))


def cut(raw, data, at, how):
    conn = raw.connection()
    conn.start()
    server = raw.accept()
    server.request()
    if at:
        server.send(data[:at])
        raw.turn(1)
    getattr(server, how)()
    told = raw.story(conn)
    server.close()
    return conn, told


@pytest.mark.parametrize("data", [HELLO, CHUNKS, NONE, b"HTTP/1.1 103 Early Hints\r\n\r\n" + HELLO],
                         ids=["length", "chunked", "none", "interim"])
def test_the_end_at_every_byte_is_an_error(raw, data):
    for at in cuts(data):
        conn, told = cut(raw, data, at, "half_close")
        assert told[-1] == "close" and "complete" not in told, at
        between = not at or data[:at].endswith(b"Hints\r\n\r\n") and b"200" not in data[:at]
        assert told[-2] is (PeerClosed if between else icey.IncompleteBody) or told[-2] is BadResponse, (at, told)
        assert conn.stream.closed and not conn.loop.handles


def test_the_end_at_every_byte_of_an_answer_until_close(raw):
    head = len(CLOSE) - 5
    for at in cuts(CLOSE):
        conn, told = cut(raw, CLOSE, at, "half_close")
        if at < head:
            assert told[-1] == "close" and "complete" not in told and len(told) == 2, at
        else:
            assert told == [200] + ([CLOSE[head:at]] if at > head else []) + ["complete", "close"]


@pytest.mark.parametrize("data", [HELLO, CHUNKS, CLOSE + b"!", NONE], ids=["length", "chunked", "close", "none"])
def test_a_reset_at_every_byte_is_an_error(raw, data):
    for at in cuts(data):
        conn, told = cut(raw, data, at, "reset")
        assert told[-2] is ConnectionResetError and told[-1] == "close" and "complete" not in told, (at, told)
        assert conn.stream.closed and not conn.loop.handles


def test_a_reset_behind_a_whole_answer_is_none_of_its_business(raw):
    for data in (HELLO, CHUNKS, NONE):
        conn, told = cut(raw, data, len(data), "reset")
        assert "complete" in told and not any(isinstance(item, type) for item in told)


@pytest.mark.parametrize("data", [b"garbage\r\n\r\n", answer(b"", "Content-Length: x"), HELLO[:-1], CHUNKS[:-9] + b"junk", b""])
def test_an_error_that_is_kept_keeps_no_connection(raw, data):
    def run():
        conn = raw.connection()
        served(raw, data, conn=conn)
        error = [event[1] for event in conn.seen if event[0] == "error"][0]
        conn.seen.clear()
        return error, weakref.ref(conn)

    error, ref = run()
    collect()
    assert ref() is None and isinstance(error, Exception)


# what is told of an answer

def test_the_head_of_an_answer(raw):
    conn = raw.connection()
    head = b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\nX: a\r\n  b \r\nContent-Length: 0\r\n\r\n"
    served(raw, head, conn=conn, end=False)
    response = conn.response
    assert (response.status, response.reason, response.version) == (200, "Fine", "1.1")
    assert response.headers.get_all("Set-Cookie") == ["a=b", "c=d"]
    assert response.headers["x"] == "a b"


@pytest.mark.parametrize("data, totals", [
    (HELLO, [(5, 5)]),
    (chunked(b"hel", b"lo"), [(3, None), (5, None)]),
    (CLOSE, [(5, None)]),
    (NONE, []),
])
def test_progress_is_bytes_received_of_the_total_if_that_is_known(raw, data, totals):
    conn = raw.connection()
    served(raw, data, conn=conn)
    assert [event[1:] for event in conn.seen if event[0] == "progress"] == totals
    assert conn.received == (5 if totals else 0)


def test_a_large_body_comes_in_pieces_and_whole(raw):
    body = bytes(range(256)) * 4096
    conn = raw.connection()
    assert served(raw, answer(body), conn=conn, end=False) == whole(body)
    received = [event[1] for event in conn.seen if event[0] == "progress"]
    assert received == sorted(received) and received[-1] == len(body) == conn.total
