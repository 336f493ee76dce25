"""send_header(), send(), send_owned(), end(): the answer piece by piece, and how the engine frames it."""
import gzip

import pytest

import icey
from tests.support import http
from tests.support.http import narrow

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

VERBS = pytest.mark.parametrize("verb", ["send", "send_owned"])
BIG = bytes(range(256)) * 1024  # 256 KiB
HALF = BIG[:len(BIG) // 2]


def ask(site, slot, *args, **kwargs):
    site.serve(slot)
    return site.client().get(*args, **kwargs)


# No length given: chunked on 1.1, close-delimited on 1.0

@VERBS
def test_no_length_given_chunked_on_1_1(site, verb):
    def slot(exchange):
        send = getattr(exchange, verb)
        assert send(b"one ") is True
        assert send([b"two ", bytearray(b"three "), b"", memoryview(b"four")]) is True
        assert send(b"") is True
        exchange.end()

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        answer = client.get()
        assert answer["transfer-encoding"] == "chunked"
        assert "content-length" not in answer
        assert answer.body == b"one two three four"


@VERBS
def test_no_length_given_close_delimited_on_1_0(site, verb):
    def slot(exchange):
        getattr(exchange, verb)(b"one ")
        getattr(exchange, verb)(b"two")
        exchange.end()

    site.serve(slot)
    client = site.client()
    answer = client.get("/", "Connection: keep-alive", version="1.0")
    assert "transfer-encoding" not in answer and "content-length" not in answer
    assert answer["connection"] == "close"
    assert answer.body == b"one two"
    client.close()
    assert site.gone()


def test_http_1_2_to_1_9_are_1_1(site):
    def slot(exchange):
        assert exchange.request.version == "1.1"
        exchange.send(b"x")
        exchange.end()
    assert ask(site, slot, version="1.7")["transfer-encoding"] == "chunked"


# HTTP/1.0

def test_http_1_0_closes_by_default(site):
    site.serve(lambda exchange: exchange.respond(200, b"x"))
    client = site.client()
    answer = client.get(version="1.0")
    assert (answer.version, answer["connection"], answer["content-length"]) == ("1.1", "close", "1")
    assert client.at_end()


def test_http_1_0_keep_alive_is_honoured_and_echoed(site):
    site.serve(lambda exchange: exchange.respond(200, b"x"))
    client = site.client()
    for _ in range(3):
        assert client.get("/", "Connection: Keep-Alive", version="1.0")["connection"] == "keep-alive"
    assert client.get(version="1.0")["connection"] == "close"
    assert client.at_end()


def test_http_1_0_keep_alive_with_a_length_given(site):
    def slot(exchange):
        exchange.response.headers["Content-Length"] = "5"
        exchange.send(b"Hel")
        exchange.send(b"lo")
        exchange.end()

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        answer = client.get("/", "Connection: keep-alive", version="1.0")
        assert (answer["connection"], answer.body) == ("keep-alive", b"Hello")


@pytest.mark.parametrize("options, kept", [
    ("close", False), ("Close", False), ("keep-alive, CLOSE", False), ("x,close ,y", False), ("closed-loop", True),
    ("keep-alive", True), ("", True), ("x", True)])
def test_the_connection_header_is_a_list_and_close_anywhere_wins(site, options, kept):
    site.serve(lambda exchange: exchange.respond(200, b"x"))
    client = site.client()
    answer = client.get("/", "Connection: " + options)
    assert answer.get("connection") == (None if kept else "close")
    assert client.get().status == 200 if kept else client.at_end()


@pytest.mark.parametrize("value", ["close", "Close", "x, close"])
def test_the_application_may_say_close(site, value):
    site.serve(lambda exchange: exchange.respond(200, b"x", headers={"Connection": value}))
    client = site.client()
    assert client.get()["connection"] == value
    assert client.at_end()


# A given Content-Length

@VERBS
def test_a_given_content_length_is_sent_and_held_to(site, verb):
    def slot(exchange):
        exchange.response.status = 203
        exchange.response.headers["Content-Length"] = "10"
        exchange.send_header()
        getattr(exchange, verb)(b"Hello")
        getattr(exchange, verb)([b"Hell", b"o"])
        getattr(exchange, verb)(b"")
        exchange.end()

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        answer = client.get()
        assert (answer.status, answer["content-length"], answer.body) == (203, "10", b"HelloHello")


@VERBS
def test_send_beyond_a_given_content_length_is_a_state_error_and_aborts(site, reports, verb):
    def slot(exchange):
        exchange.response.headers["Content-Length"] = "5"
        getattr(exchange, verb)(b"Hel")
        with pytest.raises(icey.StateError, match="send\\(\\) 1 bytes beyond the Content-Length"):
            getattr(exchange, verb)(b"lo!")
        with pytest.raises(icey.StateError):
            exchange.end()

    site.serve(slot)
    client = site.client()
    client.ask()
    assert site.gone()


@pytest.mark.parametrize("compress", [False, pytest.param(True, marks=pytest.mark.needs("zlib"))])
@pytest.mark.parametrize("length", [True, False])
@VERBS
def test_a_done_that_cannot_be_called_is_TypeError_at_once_and_nothing_is_taken(site, verb, length, compress):
    def slot(exchange):
        if length:
            exchange.response.headers["Content-Length"] = "5"
        exchange.response.headers["Content-Type"] = "text/plain"
        send = getattr(exchange, verb)
        for data in (b"lo", b"", [b"l", bytearray(b"o")]):
            with pytest.raises(TypeError, match="done must be callable, not 7"):
                send(data, 7)
        send(b"Hel")
        for data in (b"lo", b"", [b"l", bytearray(b"o")]):
            with pytest.raises(TypeError, match="done must be callable, not 7"):
                send(data, 7)
        assert (exchange.sent == 3) is not (compress and not length)
        send(b"lo")
        exchange.end()

    site.serve(slot, compress=compress)
    client = site.client()
    for _ in range(2):
        answer = client.get("/", "Accept-Encoding: gzip")
        assert (gzip.decompress(answer.body) if "content-encoding" in answer else answer.body) == b"Hello"


def test_a_lent_view_that_send_refuses_does_not_count_against_the_length(site, debug):
    def slot(exchange):
        def piece(exchange, view):
            try:
                exchange.send(view)
                assert not debug
            except icey.BorrowError:
                exchange.send(bytes(view))

        exchange.response.headers["Content-Length"] = "5"
        exchange.on_payload += piece
        exchange.on_complete += lambda exchange: exchange.end()

    site.serve(slot)
    assert site.client().get(method="POST", body=b"Hello").body == b"Hello"


def test_the_first_send_beyond_the_length_aborts_too(site, reports):
    def slot(exchange):
        exchange.response.headers["Content-Length"] = "0"
        exchange.send(b"x")

    site.serve(slot)
    client = site.client()
    client.ask()
    assert site.gone()
    reports.take(icey.StateError)


def test_end_short_of_a_given_content_length_is_a_state_error_and_aborts(site, reports):
    closed = []

    def slot(exchange):
        exchange.on_close += closed.append
        exchange.response.headers["Content-Length"] = "5"
        exchange.send(b"Hell")
        exchange.end()

    site.serve(slot)
    client = site.client()
    client.ask()
    assert site.gone()
    error, = reports.take(icey.StateError)
    assert "end() 1 bytes short" in str(error)
    site.turn(2)
    assert len(closed) == 1


def test_end_without_a_send_short_of_the_length_aborts(site, reports):
    def slot(exchange):
        exchange.response.headers["Content-Length"] = "5"
        exchange.end()

    site.serve(slot)
    client = site.client()
    client.ask()
    assert site.gone()
    reports.take(icey.StateError)


@pytest.mark.parametrize("value", ["five", "-1", "+5", "", "5, 5", "\xb2"])
def test_a_content_length_that_is_no_number_is_a_value_error(site, reports, value):
    def slot(exchange):
        exchange.response.headers["Content-Length"] = value
        exchange.send_header()

    assert ask(site, slot).status == 500
    reports.take(ValueError)


# end(), send_header()

def test_end_alone_is_an_empty_answer(site):
    def slot(exchange):
        exchange.response.status = 202
        exchange.end()

    site.serve(slot)
    client = site.client()
    for method in ("GET", "HEAD", "GET"):
        answer = client.get(method=method)
        assert (answer.status, answer.body) == (202, b"")
        assert answer.get("content-length") == ("0" if method == "GET" else None)


def test_send_header_then_end_is_an_empty_chunked_body(site):
    def slot(exchange):
        exchange.send_header()
        exchange.end()

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        answer = client.get()
        assert (answer["transfer-encoding"], answer.body) == ("chunked", b"")


def test_send_header_sends_the_head_before_any_body(site):
    exchanges = []

    def slot(exchange):
        exchange.response.headers["X-A"] = "b"
        exchange.send_header()
        exchanges.append(exchange)

    site.serve(slot)
    client = site.client()
    client.ask()
    assert b"X-A: b" in client.read_until(b"\r\n\r\n")
    exchanges[0].send(b"late")
    exchanges[0].end()
    assert http.read_chunks(client) == b"late"


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_send_header_refuses_an_interim_status(site, status):
    def slot(exchange):
        exchange.response.status = status
        with pytest.raises(ValueError, match="interim"):
            exchange.send_header()
        exchange.respond(200)
    assert ask(site, slot).status == 200


# HEAD, 204, 304

@pytest.mark.parametrize("method, status", [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 204)])
@pytest.mark.parametrize("length", [None, "10"])
def test_the_engine_leaves_out_what_is_sent_for_head_204_and_304(site, method, status, length):
    done = []

    def slot(exchange):
        exchange.response.status = status
        if length is not None:
            exchange.response.headers["Content-Length"] = length
        before = len(done)
        assert exchange.send(b"Hello", lambda: done.append("send")) is True
        assert exchange.send_owned([b"Hel", b"lo"], lambda: done.append("owned")) is True
        assert len(done) == before
        exchange.end()
        assert exchange.sent == 0

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        answer = client.get(method=method)
        assert answer.status == status
        assert answer.get("content-length") == (length if status != 204 else None)
    assert client.silent()
    assert done == ["send", "owned"] * 2


# str, done, borrowing

@VERBS
def test_str_is_a_type_error_before_anything_is_sent(site, verb):
    def slot(exchange):
        with pytest.raises(TypeError, match="encode"):
            getattr(exchange, verb)("Hello")
        with pytest.raises(TypeError):
            getattr(exchange, verb)(["Hello"])
        with pytest.raises(ValueError, match="contiguous"):
            getattr(exchange, verb)(memoryview(b"Hello")[::2])
        exchange.respond(200, b"x")
    assert ask(site, slot).body == b"x"


@VERBS
@pytest.mark.parametrize("length", [None, str(len(BIG))])
def test_done_comes_from_the_loop_once_the_kernel_has_it_all(site, verb, length):
    done = []

    def slot(exchange):
        narrow(exchange)
        if length is not None:
            exchange.response.headers["Content-Length"] = length
        exchange.send_header()
        getattr(exchange, verb)(BIG, lambda: done.append("big"))
        getattr(exchange, verb)(b"", lambda: done.append("empty"))
        assert done == []
        exchange.end()

    site.serve(slot)
    client = site.client(receive=4096)
    client.ask()
    client.read_until(b"\r\n\r\n")
    assert "big" not in done
    body = client.read(len(BIG)) if length else http.read_chunks(client)
    assert body == BIG
    site.turn(2)
    assert sorted(done) == ["big", "empty"]


def test_send_returns_false_from_high_water_on_and_on_drain_says_when_to_go_on(site):
    sends, drains = [], []

    def slot(exchange):
        narrow(exchange)

        def more(exchange):
            drains.append(exchange.connection.stream.queued)
            while exchange.sent < len(BIG):
                sends.append(exchange.send(BIG[exchange.sent:exchange.sent + 20000]))
                if not sends[-1]:
                    return
            exchange.end()

        exchange.on_drain += more
        more(exchange)

    site.serve(slot)
    client = site.client(receive=4096)
    assert client.get().body == BIG
    assert sends.count(False) == len(drains) - 1 > 2
    assert max(drains) <= 16384


@pytest.mark.parametrize("length", [None, "bare"])
def test_a_loop_on_send_ends_also_inside_the_slot_and_with_small_pieces(site, length):
    counts = []

    def slot(exchange):
        narrow(exchange)
        if length is not None:
            exchange.response.headers["Content-Length"] = str(1 << 40)
        while exchange.send(b"x" * 1000):
            assert exchange.sent < 1 << 24, "send() never says False"
        counts.append(exchange.sent)

    site.serve(slot)
    client = site.client(receive=4096)
    client.ask()
    site.until(lambda: counts)
    assert counts[0] < 4 << 20
    client.close()


def test_queue_full_takes_nothing_and_the_answer_lives(site):
    sents = []

    def slot(exchange):
        narrow(exchange)
        exchange.response.headers["Content-Length"] = str(len(BIG) + len(HALF))
        exchange.send(BIG)
        for send in (exchange.send, exchange.send_owned):
            with pytest.raises(icey.QueueFull, match="wait for on_drain"):
                send(HALF)
        sents.append(exchange.sent)

        def again(exchange):
            exchange.send(HALF)
            exchange.end()
            sents.append(exchange.sent)
        exchange.on_drain.attach(again, once=True)

    site.serve(slot, limits={"max_queue": len(HALF) + 8192, "high_water": 4096, "low_water": 4096})
    client = site.client(receive=4096)
    assert client.get().body == BIG + HALF
    assert sents == [len(BIG), len(BIG) + len(HALF)]


def test_the_engines_own_bytes_never_meet_a_full_queue(site, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"of a file")

    def slot(exchange):
        narrow(exchange)
        exchange.send_header()
        stream = exchange.connection.stream
        while stream.queued < (1 << 17) - 2:
            try:
                exchange.send(b"x" * min(65536, (1 << 17) - stream.queued - 1))
            except icey.QueueFull:
                break
        exchange.send_file(open(str(path), "rb"), 0, 9)
        exchange.end()

    site.serve(slot, limits={"max_queue": 1 << 17})
    client = site.client(receive=4096)
    assert client.get().body.endswith(b"xof a file")


def test_respond_sends_one_answer_whole_however_large(site):
    huge = bytes(300000)

    def slot(exchange):
        narrow(exchange)
        exchange.respond(200, huge, headers=None if exchange.request.target == "/quick" else {"X-A": "b"})

    site.serve(slot, limits={"max_queue": 1 << 17})
    client = site.client(receive=65536)
    for target in ("/quick", "/long", "/quick", "/long", "/long", "/quick", "/quick"):
        client.ask("GET", target)
    for _ in range(7):
        assert client.answer().body == huge


# what a burst gathers counts

@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 100, 15000, 16000, 20000])
def test_what_a_burst_gathers_counts_for_high_water(site, size):
    """send() says False once high water is reached, and on_drain comes, however small the pieces are."""
    said, drained = [], []

    def slot(exchange):
        narrow(exchange)
        exchange.on_drain += drained.append
        exchange.response.headers["Content-Length"] = "10000000"
        while not said or said[-1]:
            said.append(exchange.send_owned(bytes(size)))
            assert len(said) * size < 600000, "never False"
        assert exchange.connection.stream.queued >= exchange.connection.stream.high_water

    site.serve(slot)
    client = site.client(receive=4096)
    client.ask()
    site.until(lambda: said)
    assert drained == []
    client.read_until(b"\r\n\r\n")
    client.read(len(said) * size)
    site.turn(3)
    assert len(drained) == 1


def test_a_low_high_water_counts_too(site):
    said = []

    def slot(exchange):
        narrow(exchange)
        http.think(exchange)
        exchange.response.headers["Content-Length"] = "10000000"
        exchange.connection.stream.sock = Full(exchange.connection.stream.sock)
        while not said or said[-1]:
            said.append(exchange.send(b"x" * 100))

    class Full:
        """A socket whose kernel takes nothing."""

        def __init__(self, sock):
            self.sock = sock

        def send(self, data):
            raise BlockingIOError

        sendmsg = send

        def __getattr__(self, name):
            return getattr(self.sock, name)

    site.serve(slot, limits={"high_water": 1000, "low_water": 500})
    site.client().ask()
    site.until(lambda: said)
    assert len(said) <= 10
