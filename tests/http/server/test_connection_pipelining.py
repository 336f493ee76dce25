"""Pipelining: answers go out in the order of the requests, whenever they come."""
import threading

import pytest

import icey
from tests.support import http, seeds

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

COUNT = 200


def target(exchange, headers=None):
    exchange.respond(200, exchange.request.target.encode(), None, headers)


def pipeline(count=COUNT, method="GET"):
    return b"".join(http.request(method, "/%d" % number) for number in range(count))


def check(client, count=COUNT):
    for number in range(count):
        assert client.answer().body == b"/%d" % number
    assert client.silent()


def test_200_requests_in_one_segment(site):
    site.serve(target)
    client = site.client()
    client.send(pipeline())
    check(client)


def test_200_requests_byte_by_byte(site):
    site.serve(target)
    client = site.client()
    for byte in pipeline():
        client.sock.send(bytes([byte]))
        site.turn()
    check(client)


def test_200_requests_answered_with_headers(site):
    site.serve(lambda exchange: target(exchange, {"X-A": "b"}))
    client = site.client()
    client.send(pipeline())
    check(client)


def test_200_requests_answered_later_from_timers(site, loop):
    out = []

    def slot(exchange):
        assert not out, "two exchanges at a time"
        out.append(exchange)
        loop.call_later(delays.random(), answer, exchange)

    def answer(exchange):
        out.remove(exchange)
        target(exchange)

    delays = seeds.rng(1)
    site.serve(slot, limits={"keep_alive_timeout": None})
    client = site.client()
    client.send(pipeline())
    site.wait(COUNT * 1.0)
    check(client)


def test_200_requests_answered_by_loop_post_from_another_thread(site, loop):
    waiting, ready = [], threading.Semaphore(0)

    def slot(exchange):
        waiting.append(exchange)
        ready.release()

    def work():
        for _ in range(COUNT):
            ready.acquire()
            loop.post(target, waiting.pop())

    site.serve(slot)
    client = site.client()
    thread = threading.Thread(target=work)
    thread.start()
    client.send(pipeline())
    check(client)
    thread.join()


def test_200_requests_answered_now_and_then_later(site, loop):
    def slot(exchange):
        how = choices.randrange(5)
        if how == 0:
            loop.call_later(choices.random(), target, exchange)
        elif how == 1:
            loop.call_soon(target, exchange)
        elif how == 2:
            exchange.send(exchange.request.target.encode())
            loop.call_soon(exchange.end)
        elif how == 3:
            target(exchange, {"A": "b"})
        else:
            target(exchange)

    choices = seeds.rng(2)
    site.serve(slot, limits={"keep_alive_timeout": None})
    client = site.client()
    client.send(pipeline())
    site.wait(COUNT * 1.0)
    check(client)


def test_mixed_head_and_post(site):
    def slot(exchange):
        if exchange.request.method == "POST":
            exchange.collect(lambda exchange, body: exchange.respond(201, body))
        else:
            target(exchange)

    site.serve(slot)
    client = site.client()
    methods = ["HEAD", "POST", "GET", "HEAD", "HEAD", "POST", "POST", "GET"] * 25
    client.send(b"".join(http.request(method, "/%d" % number, body=b"body %d" % number if method == "POST" else b"")
                         for number, method in enumerate(methods)))
    for number, method in enumerate(methods):
        answer = client.answer(method)
        if method == "POST":
            assert (answer.status, answer.body) == (201, b"body %d" % number)
        else:
            assert answer["content-length"] == str(len("/%d" % number))
            assert answer.body == (b"/%d" % number if method == "GET" else b"")


def test_only_one_exchange_is_out_at_a_time(site):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.send(pipeline(3))
    for number in range(3):
        site.until(lambda number=number: len(exchanges) > number)
        site.turn(3)
        assert len(exchanges) == number + 1
        assert exchanges[number].connection.exchange is exchanges[number]
        target(exchanges[number])
        assert exchanges[number].connection.exchange is None  # between requests
    check(client, 3)


def test_what_is_not_worked_on_stays_in_the_kernel(site):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    flood = pipeline(2000)
    sent = 0
    for _ in range(500):
        try:
            sent += client.sock.send(flood)
        except BlockingIOError:
            pass
        site.turn()
    connection = exchanges[0].connection
    assert len(exchanges) == 1
    assert len(connection._pending) < 1 << 18 < sent
    assert connection.stream.reader is None


def test_a_client_that_does_not_read_its_answers_gets_no_more_of_them(site):
    answered = []

    def slot(exchange):
        http.narrow(exchange)
        answered.append(exchange)
        exchange.respond(200, bytes(20000), headers=None if len(answered) % 2 else {"X-A": "b"})

    site.serve(slot)
    client = site.client(receive=4096)
    client.send(pipeline())
    site.turn(20)
    connection = answered[0].connection
    assert len(answered) < COUNT // 4
    assert connection.stream.queued < 65536 + 40000
    for _ in range(COUNT):
        assert client.answer().body == bytes(20000)
    assert len(answered) == COUNT


def test_large_answers_are_pipelined(site):
    body = bytes(range(256)) * 400

    def slot(exchange):
        headers = {"X-A": "b"} if exchange.request.target[-1] in "02468" else None
        exchange.respond(200, body, headers=headers)

    site.serve(slot)
    client = site.client()
    client.send(pipeline(50))
    for _ in range(50):
        assert client.answer().body == body


# a late answer can never land on the next request

@pytest.mark.parametrize("headers", [None, {"X-A": "b"}])
def test_a_late_answer_can_never_land_on_the_next_request(site, headers):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.send(pipeline(2))
    site.until(lambda: exchanges)
    target(exchanges[0], headers)
    site.until(lambda: len(exchanges) == 2)
    for late in (lambda old: old.respond(200, b"late"), lambda old: old.respond(200, b"late", headers={"A": "b"}),
                 lambda old: old.send(b"late"), lambda old: old.send_owned(b"late"), lambda old: old.end(),
                 lambda old: old.send_header(), lambda old: old.begin_streaming(), lambda old: old.collect(http.ignore),
                 lambda old: old.replace_adapter(icey.Adapter())):
        with pytest.raises(icey.StateError, match="after the answer is complete"):
            late(exchanges[0])
    exchanges[0].close()  # no-ops
    exchanges[0].abort()
    exchanges[0].pause()
    exchanges[0].on_payload += http.ignore
    target(exchanges[1])
    check(client, 2)


def test_a_late_answer_after_the_next_request_was_answered_too(site):
    exchanges = []

    def slot(exchange):
        exchanges.append(exchange)
        if exchange.request.target != "/0":
            target(exchange)

    site.serve(slot)
    client = site.client()
    client.send(pipeline(1))
    site.until(lambda: exchanges)
    target(exchanges[0])
    assert client.answer().body == b"/0"
    assert client.get("/1").status == 200
    assert client.get("/2").status == 200
    with pytest.raises(icey.StateError):
        target(exchanges[0])
    assert client.get("/3").body == b"/3"


# errors and the end

def test_what_precedes_a_syntax_error_is_answered_first_then_400_and_close(site, loop):
    site.serve(lambda exchange: loop.call_later(1.0, target, exchange))
    client = site.client()
    client.send(pipeline(3) + b"GET nonsense HTTP/1.1\r\n\r\n" + pipeline(1))
    site.wait(3.0)
    for number in range(3):
        assert client.answer().body == b"/%d" % number
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (400, "close")
    assert client.at_end()


def test_nothing_is_answered_behind_connection_close(site):
    called = []

    def slot(exchange):
        called.append(exchange.request.target)
        target(exchange)

    site.serve(slot)
    client = site.client()
    client.send(http.request("GET", "/0") + http.request("GET", "/1", "Connection: close") + pipeline(3))
    assert client.answer().body == b"/0"
    answer = client.answer()
    assert (answer.body, answer["connection"]) == (b"/1", "close")
    assert client.at_end()
    assert called == ["/0", "/1"]


def test_requests_before_a_half_close_are_all_answered(site, loop):
    site.serve(lambda exchange: loop.call_later(1.0, target, exchange))
    client = site.client()
    client.send(pipeline(5))
    client.half_close()
    site.wait(6.0)
    for number in range(5):
        assert client.answer().body == b"/%d" % number
    assert client.at_end()
    assert site.gone()


def test_up_to_four_empty_lines_between_requests(site):
    site.serve(target)
    client = site.client()
    client.send(b"\r\n" * 4 + http.request("GET", "/0") + b"\r\n" * 2 + http.request("POST", "/1", body=b"x") + b"\r\n"
                + http.request("GET", "/2"))
    check(client, 3)
    client.send(b"\r\n" * 5)
    assert client.answer().status == 400
