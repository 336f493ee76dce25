"""exchange.respond(): the whole answer at once."""
import re

import pytest

import icey
from icey.http import Headers
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

BIG = bytes(range(256)) * 2048  # 512 KiB


def ask(site, slot, *args, **kwargs):
    """One answer of a server with this slot."""
    site.serve(slot)
    return site.client().get(*args, **kwargs)


def test_on_request_fires_when_the_head_is_parsed(site):
    seen = []
    site.serve(lambda exchange: seen.append(exchange.request.target))
    client = site.client()
    client.send(b"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r")
    site.turn(3)
    assert seen == []
    client.send(b"\n")
    site.until(lambda: seen)
    assert seen == ["/one"]


def test_nobody_attached_404(site):
    site.serve()
    answer = site.client().get("/")
    assert (answer.status, answer.reason, answer.body) == (404, "Not Found", b"404 Not Found\n")


def test_nobody_attached_any_more_404(site):
    slot = site.serve().on_request.attach(lambda exchange: exchange.respond(200))
    client = site.client()
    assert client.get().status == 200
    site.server.on_request -= slot
    assert client.get().status == 404


def test_respond_sends_the_whole_answer_at_once(site):
    answer = ask(site, lambda exchange: exchange.respond(200, b"Hello", "text/plain"))
    assert (answer.version, answer.status, answer.reason, answer.body) == ("1.1", 200, "OK", b"Hello")
    assert answer["content-length"] == "5"
    assert answer["content-type"] == "text/plain"
    assert answer["server"] == "icey"
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT", answer["date"])
    assert "connection" not in answer


def test_respond_without_arguments_is_an_empty_200(site):
    answer = ask(site, lambda exchange: exchange.respond())
    assert (answer.status, answer["content-length"], answer.body) == (200, "0", b"")
    assert "content-type" not in answer


@pytest.mark.parametrize("status, reason", [(200, "OK"), (299, "Unknown"), (400, "Bad Request"), (599, "Unknown"),
                                            (999, "Unknown")])
def test_every_answer_has_a_reason_phrase(site, status, reason):
    answer = ask(site, lambda exchange: exchange.respond(status, b"x"))
    assert (answer.status, answer.reason, answer.body) == (status, reason, b"x")


def test_the_reason_may_be_set(site):
    def slot(exchange):
        exchange.response.reason = "Fine"
        exchange.respond(200, b"x")
    assert ask(site, slot).reason == "Fine"


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data)).cast("b")],
                         ids=["bytes", "bytearray", "memoryview", "cast"])
@pytest.mark.parametrize("body", [b"", b"Hello", BIG], ids=["empty", "small", "big"])
def test_the_body_is_bytes_like(site, make, body):
    assert ask(site, lambda exchange: exchange.respond(200, make(body))).body == body


def test_mutable_bodies_are_copied(site):
    bodies = [bytearray(b"Hello"), bytearray(BIG)]

    def slot(exchange):
        body = bodies[0] if exchange.request.target == "/small" else bodies[1]
        http.narrow(exchange)
        exchange.respond(200, body)
        body[:] = b"X" * len(body)

    site.serve(slot)
    client = site.client(receive=4096)
    assert client.get("/small").body == b"Hello"
    assert client.get("/big").body == BIG


def test_a_str_body_is_a_type_error(site, reports):
    errors = []

    def slot(exchange):
        with pytest.raises(TypeError, match=r"encode\(\)") as info:
            exchange.respond(200, "Hello")
        errors.append(info)
        exchange.respond(200, b"still unanswered")

    assert ask(site, slot).body == b"still unanswered"
    assert errors


@pytest.mark.parametrize("body", [None, 5, ["a"], object()])
def test_another_body_is_a_type_error(site, reports, body):
    assert ask(site, lambda exchange: exchange.respond(200, body)).status == 500
    reports.take(TypeError)


@pytest.mark.parametrize("headers", [
    [("X-One", "1"), ("X-Two", "2"), ("X-One", "3")],
    (("X-One", "1"), ("X-Two", "2"), ("X-One", "3")),
    Headers([("X-One", "1"), ("X-Two", "2"), ("X-One", "3")]),
], ids=["list", "tuple", "Headers"])
def test_headers_are_pairs(site, headers):
    answer = ask(site, lambda exchange: exchange.respond(200, b"x", headers=headers))
    mine = [pair for pair in answer.fields if pair[0].startswith("x-")]
    assert mine == [("x-one", "1"), ("x-two", "2"), ("x-one", "3")]


def test_headers_are_a_mapping(site):
    answer = ask(site, lambda exchange: exchange.respond(200, b"x", headers={"X-One": "1", "Content-Type": "a/b"}))
    assert (answer["x-one"], answer["content-type"], answer["content-length"]) == ("1", "a/b", "1")


def test_headers_of_the_response_and_of_respond_are_both_sent(site):
    def slot(exchange):
        exchange.response.headers["X-One"] = "1"
        exchange.respond(200, b"x", "a/b", {"X-Two": "2", "Content-Type": "c/d"})
    answer = ask(site, slot)
    assert (answer["x-one"], answer["x-two"], answer["content-type"]) == ("1", "2", "a/b")


def test_the_status_of_respond_is_kept_in_the_response(site):
    kept = []

    def slot(exchange):
        exchange.respond(201, b"x", headers={"A": "b"})
        kept.append(exchange.response.status)

    assert ask(site, slot).status == 201
    assert kept == [201]


def test_date_and_server_may_be_given(site):
    answer = ask(site, lambda exchange: exchange.respond(200, b"", headers={"date": "today", "SERVER": "mine"}))
    assert (answer["date"], answer["server"]) == ("today", "mine")


def test_the_server_header_has_the_given_name_or_is_left_out(site):
    site.serve(name="apache")
    assert site.client().get()["server"] == "apache"
    site.serve(name="")
    assert "server" not in site.client().get()
    with pytest.raises(ValueError):
        site.serve(name="a\r\nb")


@pytest.mark.parametrize("bad", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "\u20ac", "a\x7fb"])
def test_no_cr_lf_nul_can_be_sent(site, reports, bad):
    def refused(change):
        with pytest.raises(ValueError):
            change()

    def slot(exchange):
        refused(lambda: exchange.respond(200, b"", headers={"X-A": bad}))
        refused(lambda: exchange.respond(200, b"", headers=[(bad, "a")]))
        refused(lambda: exchange.respond(200, b"", bad))
        refused(lambda: exchange.respond(200, b"", bad, {"a": "b"}))
        refused(lambda: exchange.response.headers.add("X-A", bad))
        refused(lambda: exchange.response.headers.__setitem__("X-A", bad))
        refused(lambda: exchange.response.headers.add(bad, "a"))
        exchange.response.reason = bad
        refused(lambda: exchange.respond(200, b""))
        refused(exchange.send_header)
        exchange.response.reason = ""
        exchange.respond(200, b"clean")

    answer = ask(site, slot)
    assert answer.body == b"clean"
    assert not any(name.startswith("x-") for name in answer.names)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\tb", "\xe9", "(a)"])
def test_names_are_checked_when_set(site, name):
    def slot(exchange):
        with pytest.raises(ValueError):
            exchange.response.headers[name] = "a"
        exchange.respond(200)
    assert ask(site, slot).status == 200


def test_names_and_values_are_str(site):
    def slot(exchange):
        for pair in ((b"a", "b"), ("a", b"b"), ("a", 5), ("a", None)):
            with pytest.raises(TypeError):
                exchange.respond(200, b"", headers=[pair])
        with pytest.raises(TypeError):
            exchange.respond(200, b"", b"text/plain")
        exchange.respond(200)
    assert ask(site, slot).status == 200


@pytest.mark.parametrize("status", [100, 101, 103, 199])
def test_respond_refuses_an_interim_status(site, status):
    def slot(exchange):
        with pytest.raises(ValueError, match="interim"):
            exchange.respond(status)
        exchange.respond(200, b"x")
    assert ask(site, slot).status == 200


@pytest.mark.parametrize("status", [0, 99, 1000, -200, "200", 200.5, None, True])
def test_a_status_is_100_to_999(site, status):
    def slot(exchange):
        with pytest.raises(ValueError, match="status"):
            exchange.respond(status)
        with pytest.raises(ValueError, match="status"):
            exchange.respond(status, b"", headers={"a": "b"})
        exchange.response.status = status
        with pytest.raises(ValueError, match="status"):
            exchange.send_header()
        exchange.respond(200, b"x")
    assert ask(site, slot).status == 200


# The engine, not the application, leaves out the body of HEAD, 204, 304

@pytest.mark.parametrize("headers", [None, {"X-A": "b"}], ids=["quick", "headers"])
def test_the_engine_leaves_out_the_body_of_head(site, headers):
    site.serve(lambda exchange: exchange.respond(200, b"Hello", "text/plain", headers))
    client = site.client()
    answer = client.get(method="HEAD")
    assert (answer.status, answer["content-length"], answer["content-type"]) == (200, "5", "text/plain")
    assert client.get().body == b"Hello"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [None, {"X-A": "b"}], ids=["quick", "headers"])
def test_the_engine_leaves_out_the_body_of_204_and_304(site, status, method, headers):
    site.serve(lambda exchange: exchange.respond(status, b"Hello", headers=headers))
    client = site.client()
    for _ in range(2):
        answer = client.get(method=method)
        assert answer.status == status
        assert "content-length" not in answer and "transfer-encoding" not in answer


def test_a_304_may_tell_the_length_it_would_have(site):
    answer = ask(site, lambda exchange: exchange.respond(304, headers={"Content-Length": "1000"}))
    assert answer["content-length"] == "1000"


def test_a_204_never_has_a_length(site):
    answer = ask(site, lambda exchange: exchange.respond(204, headers={"Content-Length": "0"}))
    assert "content-length" not in answer


def test_a_head_may_tell_the_length_it_would_have(site):
    answer = ask(site, lambda exchange: exchange.respond(200, headers={"Content-Length": "1000"}), method="HEAD")
    assert answer["content-length"] == "1000"


# The engine frames

def test_a_content_length_that_fits_may_be_given(site):
    answer = ask(site, lambda exchange: exchange.respond(200, b"Hello", headers={"content-length": "5"}))
    assert (answer["content-length"], answer.body) == ("5", b"Hello")


@pytest.mark.parametrize("length", ["4", "6", "05", "+5", "x"])
def test_a_content_length_that_does_not_fit_is_a_state_error(site, reports, length):
    answer = ask(site, lambda exchange: exchange.respond(200, b"Hello", headers={"Content-Length": length}))
    assert answer.status == 500
    reports.take(icey.StateError)


def test_a_transfer_encoding_of_the_application_is_a_state_error(site, reports):
    def slot(exchange):
        if exchange.request.target == "/respond":
            exchange.respond(200, b"Hello", headers={"Transfer-Encoding": "chunked"})
        exchange.response.headers["transfer-encoding"] = "gzip"
        exchange.response.headers["Content-Length"] = "5"
        exchange.send_header()

    site.serve(slot)
    client = site.client()
    assert client.get("/respond").status == 500
    assert client.get("/send").status == 500
    reports.take(icey.StateError, icey.StateError)


def test_a_content_length_given_twice_is_sent_once(site):
    pairs = [("Content-Length", "5"), ("content-length", "5")]
    assert ask(site, lambda exchange: exchange.respond(200, b"Hello", headers=pairs))["content-length"] == "5"


# sent, answered

def test_an_exchange_knows_what_it_has_answered(site):
    exchanges = []

    def slot(exchange):
        assert (exchange.sent, exchange.answered) == (0, False)
        exchange.respond(200, b"Hello", headers={"A": "b"} if exchange.request.target == "/long" else None)
        exchanges.append(exchange)

    site.serve(slot)
    client = site.client()
    client.get("/")
    client.get("/long")
    client.get("/long", method="HEAD")
    assert [(exchange.sent, exchange.answered) for exchange in exchanges] == [(5, True), (5, True), (0, True)]


def test_an_answer_may_be_handed_over_in_any_connection_state_but_only_once(site, reports):
    def slot(exchange):
        exchange.respond(200, b"first")
        exchange.respond(200, b"second")

    site.serve(slot)
    client = site.client()
    assert client.get().body == b"first"
    error, = reports.take(icey.StateError)
    assert "respond() after the answer is complete" in str(error)
    assert client.get().body == b"first"
    reports.take(icey.StateError)


def test_the_date_is_looked_at_once_a_second(site, monkeypatch):
    wall = [784111777.0]
    server = site.serve(start=False)
    server.heads._wall = lambda: wall[0]
    server.heads.refresh()
    server.on_request += lambda exchange: exchange.respond(200)
    server.start()
    client = site.client()
    assert client.get()["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    wall[0] += 5
    assert client.get()["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    site.wait(1.0)
    assert client.get()["date"] == "Sun, 06 Nov 1994 08:49:42 GMT"


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("status", [200, 204, 404])
def test_a_slot_of_on_answer_sees_the_status_in_the_response(site, touched, status):
    seen = []

    def slot(exchange):
        if touched:
            exchange.response.headers["X-A"] = "b"
        exchange.respond(status, b"")

    site.serve(slot).on_answer += lambda exchange, status: seen.append((exchange.response.status, status))
    assert site.client().get().status == status
    assert seen == [(status, status)]


@pytest.mark.parametrize("method, status, expected", [
    ("GET", 200, False), ("HEAD", 200, True), ("GET", 204, True), ("GET", 304, True)])
@pytest.mark.parametrize("headers", [None, [("X-A", "b")], {"Connection": "close"}])
def test_bodiless_once_the_answer_is_out(site, method, status, expected, headers):
    seen = []

    def slot(exchange):
        exchange.respond(status, b"", headers=headers)
        seen.append(exchange.bodiless)

    site.serve(slot)
    site.client().get(method=method)
    assert seen == [expected]


# respond_json()

@pytest.mark.parametrize("value, text", [
    ({"a": [1, 2.5, None, True], "b": "gr\xfcn\u2028"}, '{"a":[1,2.5,null,true],"b":"gr\xfcn\u2028"}'), ([], "[]"), ("", '""'),
    (None, "null"), ({1: 2}, '{"1":2}')])
def test_json_is_utf_8_without_blanks(site, value, text):
    answer = ask(site, lambda exchange: exchange.respond_json(value))
    assert (answer.status, answer["content-type"], answer.body) == (200, "application/json", text.encode("utf-8"))


def test_json_with_a_status_and_headers(site):
    answer = ask(site, lambda exchange: exchange.respond_json({"error": "no"}, 404, {"X-One": "1", "Content-Type": "text/x"}))
    assert (answer.status, answer["x-one"], answer.body) == (404, "1", b'{"error":"no"}')


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1j: 2}, object()])
def test_what_json_cannot_say_is_told_and_nothing_was_sent(site, value):
    def slot(exchange):
        with pytest.raises((TypeError, ValueError)):
            exchange.respond_json(value)
        exchange.respond(200, b"all the same")

    assert ask(site, slot).body == b"all the same"
