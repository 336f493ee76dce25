"""on_payload: the body as it comes, with pause() and resume(); and who starts it."""
import pytest

import icey
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

BODY = bytes(range(256)) * 2048  # 512 KiB


def head(length, *fields):
    return http.request("POST", "/", "Content-Length: %d" % length, *fields).replace(b"Content-Length: 0\r\n", b"")


@pytest.mark.parametrize("form", [{"body": BODY}, {"chunks": [BODY[:1], BODY[1:50000], BODY[50000:]]}],
                         ids=["length", "chunked"])
def test_on_payload_gets_the_body_as_it_comes(site, form):
    pieces = []

    def slot(exchange):
        exchange.on_payload += lambda exchange, view: pieces.append(bytes(view))
        exchange.on_complete += lambda exchange: exchange.respond(200, b"%d" % sum(map(len, pieces)))

    site.serve(slot)
    client = site.client()
    assert client.get(method="POST", **form).body == b"%d" % len(BODY)
    assert b"".join(pieces) == BODY
    assert len(pieces) > 1


def test_the_body_can_be_answered_while_it_comes(site):
    def slot(exchange):
        exchange.on_payload += lambda exchange, view: exchange.send_owned(view)
        exchange.on_complete += lambda exchange: exchange.end()

    site.serve(slot)
    client = site.client()
    for _ in range(3):  # a large body that is being read is no reason to close
        answer = client.get(method="POST", body=BODY[:200000])
        assert answer.body == BODY[:200000]
        assert "connection" not in answer


def test_the_body_waits_until_there_is_an_on_payload_slot(site):
    exchanges, pieces = [], []
    site.serve(exchanges.append)
    client = site.client()
    client.send(head(len(BODY)))
    site.until(lambda: exchanges)
    client.sock.settimeout(None)
    client.sock.setblocking(False)
    sent = 0
    try:
        while sent < len(BODY):
            sent += client.sock.send(BODY[sent:])
            site.turn(3)
    except BlockingIOError:
        pass
    connection = exchanges[0].connection
    assert len(connection._pending) <= 65536 + 65536  # memory stays flat: what is not wanted stays in the kernel
    assert pieces == []
    exchanges[0].on_payload += lambda exchange, view: pieces.append(bytes(view))
    exchanges[0].on_complete += lambda exchange: exchange.respond(200)
    client.send(BODY[sent:])
    assert client.answer().status == 200
    assert b"".join(pieces) == BODY


def test_an_on_payload_slot_of_a_request_without_a_body_is_never_called(site):
    calls = []

    def slot(exchange):
        exchange.on_payload += calls.append
        exchange.on_complete += lambda exchange: exchange.respond(200)

    site.serve(slot)
    client = site.client()
    for method in ("GET", "POST", "HEAD"):
        client.get(method=method)
    assert calls == []


# pause() and resume()

def test_pause_stops_reading_and_resume_from_a_timer_goes_on(site, loop):
    pieces = []

    def slot(exchange):
        def payload(exchange, view):
            pieces.append(bytes(view))
            exchange.pause()
            loop.call_later(1.0, exchange.resume)
        exchange.on_payload += payload
        exchange.on_complete += lambda exchange: exchange.respond(200)

    site.serve(slot, limits={"body_timeout": 3.0})
    client = site.client()
    client.ask("POST", body=bytes(100000))
    site.turn(20)
    assert len(pieces) == 1
    while sum(map(len, pieces)) < 100000:
        before = len(pieces)
        site.wait(1.0)
        assert len(pieces) == before + 1
    assert client.answer().status == 200
    assert client.silent()


def test_paused_only_so_much_is_read(site):
    exchanges = []

    def slot(exchange):
        exchange.on_payload += lambda exchange, view: exchange.pause()
        exchanges.append(exchange)

    site.serve(slot)
    client = site.client(receive=65536)
    client.send(head(1 << 30))
    sent = 0
    for _ in range(100):
        try:
            sent += client.sock.send(BODY)
        except BlockingIOError:
            pass
        site.turn()
    connection = exchanges[0].connection
    assert len(connection._pending) <= 1 << 17
    assert connection.stream.reader is None


@pytest.mark.parametrize("chunks", [1, 4])
def test_pause_and_resume_in_one_slot_change_nothing(site, chunks):
    def slot(exchange):
        def payload(exchange, view):
            exchange.pause()
            exchange.resume()
        exchange.on_payload += payload
        exchange.on_complete += lambda exchange: exchange.respond(200)
        exchange.pause()
        exchange.resume()

    site.serve(slot)
    client = site.client()
    for _ in range(3):
        assert client.get("/", method="POST", body=bytes(10 * chunks)).status == 200
        client.send(head(20))
        site.turn(2)
        client.send(bytes(10))
        site.turn(2)
        client.send(bytes(10))
        assert client.answer().status == 200
    assert client.get().status == 200


def test_pause_before_the_body_starts(site):
    exchanges, pieces = [], []

    def slot(exchange):
        exchange.pause()
        exchange.collect(lambda exchange, body: pieces.append(body) or exchange.respond(200))
        exchanges.append(exchange)

    site.serve(slot)
    client = site.client()
    client.ask("POST", body=b"Hello")
    site.turn(5)
    assert pieces == []
    exchanges[0].resume()
    assert client.answer().status == 200
    assert pieces == [b"Hello"]


def test_an_answer_ends_the_pause(site):
    def slot(exchange):
        exchange.pause()
        exchange.respond(200, b"x")
        exchange.resume()  # over: nothing happens
        exchange.pause()

    site.serve(slot)
    client = site.client()
    for _ in range(3):
        assert client.get().body == b"x"
    for _ in range(3):
        assert client.get("/", method="POST", body=b"Hello").body == b"x"


@pytest.mark.parametrize("form", [{"body": b"Hello"}, {"chunks": [b"Hello"]}])
def test_an_answer_in_on_complete_ends_the_pause_of_the_last_piece(site, form):
    def slot(exchange):
        exchange.on_payload += lambda exchange, view: exchange.pause()
        exchange.on_complete += lambda exchange: exchange.respond(200)
        if exchange.request.method == "GET":
            exchange.respond(200, b"next")
        elif "chunks" in form:  # its last line is behind the pause
            exchange.loop.call_later(1.0, exchange.resume)

    site.serve(slot)
    client = site.client()
    client.send((http.request("POST", **form) + http.request()) * 3)
    for _ in range(3):
        site.wait(1.0)
        client.answer()
        assert client.answer().body == b"next"


def test_a_late_answer_ends_the_pause(site, loop):
    def slot(exchange):
        exchange.pause()
        loop.call_later(1.0, exchange.respond, 200)

    site.serve(slot)
    client = site.client()
    client.send(http.request() + http.request("POST", body=b"Hello") + http.request())
    for _ in range(3):
        site.wait(1.0)
        assert client.answer().status == 200


def test_pause_holds_pipelined_requests_back_no_longer_than_the_answer(site):
    exchanges = []

    def slot(exchange):
        exchanges.append(exchange)
        exchange.pause()

    site.serve(slot)
    client = site.client()
    client.send(http.request() * 3)
    for number in range(3):
        site.until(lambda number=number: len(exchanges) == number + 1)
        site.turn(3)
        assert len(exchanges) == number + 1
        exchanges[number].resume()
        exchanges[number].resume()
        exchanges[number].respond(200, b"%d" % number)
        assert client.answer().body == b"%d" % number


# on_complete

def test_on_complete_says_that_the_request_is_whole(site):
    order = []

    def slot(exchange):
        order.append("head")
        exchange.on_complete += lambda exchange: order.append("complete")
        exchange.on_payload += lambda exchange, view: order.append(bytes(view))
        exchange.on_complete += lambda exchange: exchange.respond(200)

    site.serve(slot)
    client = site.client()
    client.get()
    client.get("/", method="POST", body=b"Hello")
    assert order == ["head", "complete", "head", b"Hello", "complete"]


def test_on_complete_does_not_come_once_the_answer_is_complete(site):
    order = []

    def slot(exchange):
        exchange.on_complete += lambda exchange: order.append("complete")
        exchange.respond(200)

    site.serve(slot)
    client = site.client()
    client.get()
    client.get("/", method="POST", body=b"Hello")
    client.get()
    assert order == []


def test_trailers_are_not_merged_into_the_headers(site):
    seen = []

    def slot(exchange):
        exchange.collect(lambda exchange, body: exchange.respond(200, body))
        exchange.on_complete += lambda exchange: seen.append(exchange.request.headers.get("x-late"))

    site.serve(slot)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\nX-Late: 1\r\n\r\n")
    assert client.answer().body == b"Hello"
    assert not any(seen)


# a body that breaks the rules

def test_a_malformed_body_is_400_and_close(site):
    closed, done = [], []

    def slot(exchange):
        exchange.on_close += closed.append
        exchange.collect(lambda exchange, body: done.append(body))

    site.serve(slot)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\nzz\r\n")
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (400, "close")
    assert client.at_end()
    site.turn(2)
    assert (len(closed), done) == (1, [])


def test_a_malformed_body_after_the_answer_has_begun_aborts(site):
    def slot(exchange):
        exchange.on_payload += lambda exchange, view: exchange.send_owned(view)

    site.serve(slot)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n")
    site.turn(3)
    client.send(b"zz\r\n")
    assert site.gone()


def test_a_malformed_body_of_an_answered_request_gets_no_second_answer(site):
    site.serve(lambda exchange: exchange.respond(200, b"once"))
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert client.answer().body == b"once"
    client.send(b"zz\r\n")
    assert client.at_end()


def test_a_malformed_body_of_a_head_request_gets_no_body_in_the_answer(site):
    site.serve(lambda exchange: exchange.collect(http.ignore))
    client = site.client()
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert client.answer("HEAD").status == 400
    assert client.at_end()


@pytest.mark.parametrize("consumer", [True, False])
def test_an_incomplete_body_at_the_end_of_input_is_never_complete(site, consumer):
    done, closed = [], []

    def slot(exchange):
        http.think(exchange)
        exchange.on_close += closed.append
        if consumer:
            exchange.collect(done.append)

    site.serve(slot)
    client = site.client()
    client.send(head(10) + (b"Hello" if consumer else b""))
    client.half_close()
    assert client.at_end()
    site.turn(2)
    assert (done, len(closed)) == ([], 1)


def test_http_error_in_on_payload_is_answered(site):
    def slot(exchange):
        def payload(exchange, view):
            raise icey.HttpError(415, "no such type")
        exchange.on_payload += payload

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        assert client.get("/", method="POST", body=b"Hello").status == 415
