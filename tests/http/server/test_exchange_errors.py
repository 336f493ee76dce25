"""Exceptions in slots: an HttpError is the answer; anything else is reported, and is a 500 if no answer has begun."""
import pytest

import icey
from icey.http import ServerConnection
from icey.tools.testing import TestClient, virtual_loop
from tests.support import http, needs

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site


def raising(exc):
    def slot(*args):
        raise exc
    return slot


# Ways to raise from each slot of an exchange: a function that makes an on_request slot out of what is to be raised.

def in_request(exc):
    return raising(exc)


def in_payload(exc):
    return lambda exchange: exchange.on_payload.attach(raising(exc))


def in_complete(exc):
    def slot(exchange):
        exchange.on_payload += http.ignore
        exchange.on_complete += raising(exc)
    return slot


def in_done(exc):
    return lambda exchange: exchange.collect(raising(exc))


WAYS = pytest.mark.parametrize("way", [in_request, in_payload, in_complete, in_done])


@WAYS
def test_an_http_error_that_leaves_a_slot_is_answered_with_its_status_and_headers(site, way):
    site.serve(way(icey.HttpError(429, "slow down", [("Retry-After", "5"), ("X-A", "b"), ("X-A", "c")])))
    client = site.client()
    for _ in range(2):
        answer = client.get("/", method="POST", body=b"Hello")
        assert (answer.status, answer.reason, answer["retry-after"]) == (429, "Too Many Requests", "5")
        assert [value for name, value in answer.fields if name == "x-a"] == ["b", "c"]
        assert answer.body == b"429 Too Many Requests: slow down\n"
        assert answer["content-type"] == "text/plain; charset=utf-8"


@WAYS
def test_any_other_exception_is_500_and_reported_with_the_server_connection(site, reports, way):
    site.serve(way(ZeroDivisionError("secret")))
    client = site.client()
    for _ in range(2):
        answer = client.get("/", method="POST", body=b"Hello")
        assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")
        (exc, handle), = reports
        assert type(exc) is ZeroDivisionError
        assert isinstance(handle, ServerConnection) and handle is site.server.connections[0]
        reports.clear()


@pytest.mark.parametrize("error, status", [
    (icey.BadRequest("odd"), 400), (icey.TooLarge(), 413), (icey.NotSupported(), 501), (icey.HttpError(), 500),
    (icey.HttpError(599), 599), (icey.HttpError(400, "caf\xe9 \u20ac"), 400)])
def test_every_http_error_is_an_answer(site, error, status):
    site.serve(raising(error))
    assert site.client().get().status == status


@pytest.mark.parametrize("status", [200, 302, 100, 600, 0])
def test_an_http_error_of_a_status_that_is_no_error_is_a_500(site, reports, status):
    error = icey.HttpError(404)
    error.status = status
    site.serve(raising(error))
    assert site.client().get().status == 500
    assert len(reports) == 1
    reports.clear()


@pytest.mark.parametrize("headers", [
    [("X-A", "a\r\nb")], [("X A", "b")], [("a",)], [("X-A", 5)], [("Content-Length", "7")],
    [("Transfer-Encoding", "chunked")]])
def test_an_http_error_whose_headers_cannot_be_sent_is_a_500(site, reports, headers):
    site.serve(raising(icey.HttpError(404, headers=headers)))
    client = site.client()
    for _ in range(2):
        assert client.get().status == 500
        assert len(reports) == 1
        reports.clear()


def test_headers_set_before_the_exception_are_dropped(site, reports):
    def slot(exchange):
        exchange.response.status = 201
        exchange.response.reason = "Fine"
        exchange.response.headers["X-Cached"] = "yes"
        exchange.response.headers["Content-Length"] = "1000"
        raise ValueError

    site.serve(slot)
    answer = site.client().get()
    assert (answer.status, answer.reason) == (500, "Internal Server Error")
    assert "x-cached" not in answer
    reports.take(ValueError)


def test_the_body_of_an_error_is_left_out_for_head(site, reports):
    site.serve(raising(ValueError()))
    client = site.client()
    for _ in range(2):
        assert client.get(method="HEAD").status == 500
    reports.take(ValueError, ValueError)


@pytest.mark.parametrize("error", [ValueError("late"), icey.HttpError(404)])
def test_after_the_head_has_gone_an_exception_aborts(site, reports, error):
    closed = []

    def slot(exchange):
        exchange.on_close += closed.append
        exchange.send(b"half of it")
        raise error

    site.serve(slot)
    client = site.client()
    client.ask()
    assert site.gone()
    site.turn(2)
    assert len(closed) == 1
    reports.take(type(error))


@pytest.mark.parametrize("error", [ValueError("late"), icey.HttpError(404)])
@pytest.mark.parametrize("headers", [None, {"A": "b"}])
def test_after_the_answer_is_complete_an_exception_is_only_reported(site, reports, error, headers):
    def slot(exchange):
        exchange.respond(200, b"fine", headers=headers)
        raise error

    site.serve(slot)
    client = site.client()
    for _ in range(3):
        assert client.get().body == b"fine"
        reports.take(type(error))


def test_an_exception_in_on_drain_aborts(site, reports):
    def slot(exchange):
        http.narrow(exchange)
        exchange.on_drain += raising(ValueError("in on_drain"))
        exchange.send(bytes(300000))

    site.serve(slot)
    client = site.client(receive=4096)
    client.ask()
    with pytest.raises(ConnectionResetError):  # some of the answer was still queued
        client.read_all()
    assert site.gone()
    reports.take(ValueError)


def test_an_exception_in_on_close_is_reported_and_the_other_slots_are_called(site, reports):
    order = []

    def slot(exchange):
        exchange.on_close += raising(ValueError("first"))
        exchange.on_close += lambda exchange: order.append("second")
        exchange.respond(200)

    site.serve(slot)
    client = site.client()
    client.get()
    site.turn(2)
    assert reports[0][1] is site.server.connections[0]
    reports.take(ValueError)
    assert order == ["second"]
    client.get()
    site.turn(2)
    reports.take(ValueError)


@pytest.mark.parametrize("headers", [None, {"A": "b"}])
@pytest.mark.parametrize("late", [False, True])
def test_an_exception_in_on_answer_is_reported_and_the_answer_goes_out(site, loop, reports, headers, late):
    def slot(exchange):
        if late:
            loop.call_soon(exchange.respond, 200, b"fine", None, headers)
        else:
            exchange.respond(200, b"fine", headers=headers)

    site.serve(slot)
    site.server.on_answer += raising(ValueError("in the log"))
    client = site.client()
    for _ in range(2):
        assert client.get().body == b"fine"
        reports.take(ValueError)
    client.send(b"nonsense\r\n\r\n")
    assert client.answer().status == 400
    assert client.at_end()
    reports.take(ValueError)


def test_a_later_exception_of_a_timer_is_the_timers(site, loop, reports):
    def slot(exchange):
        loop.call_later(1.0, raising(ValueError("in the timer")))
        loop.call_later(2.0, exchange.respond, 200, b"fine")

    site.serve(slot)
    client = site.client()
    client.ask()
    site.wait(2.0)
    assert client.answer().body == b"fine"
    reports.take(ValueError)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@WAYS
def test_keyboard_interrupt_and_system_exit_pass_through(site, way, kind):
    site.serve(way(kind()))
    client = site.client()
    with pytest.raises(kind):
        client.get("/", method="POST", body=b"Hello")
    site.server.on_request.detach_all()  # the server goes on
    assert site.client().get().status == 404


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@WAYS
def test_whose_slot_was_interrupted_gets_500_when_the_loop_runs_again(site, loop, way, kind):
    site.serve(way(kind()))
    client = site.client()
    client.ask("POST", "/", body=b"Hello")
    with pytest.raises(kind):
        client.answer()
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (500, "close") and client.at_end()
    client.close()
    assert site.gone()


@pytest.mark.parametrize("body", [b"", b"Hello"])
def test_what_was_answered_before_an_interrupt_goes_out(site, body):
    def slot(exchange):
        exchange.respond(200, exchange.request.target.encode())
        if exchange.request.target == "/2":
            raise KeyboardInterrupt

    site.serve(slot)
    client = site.client()
    client.send(b"".join(http.request("POST", "/%d" % number, body=body) for number in range(6)))
    with pytest.raises(KeyboardInterrupt):
        client.answer()
    assert [client.answer().body for _ in range(3)] == [b"/0", b"/1", b"/2"]
    assert client.at_end()  # those behind it came in the same read


def test_an_answer_that_had_begun_is_cut_by_an_interrupt(site):
    def slot(exchange):
        exchange.begin_streaming()
        exchange.send(b"half of it")
        raise KeyboardInterrupt

    site.serve(slot)
    client = site.client()
    client.ask()
    with pytest.raises(KeyboardInterrupt):
        client.answer()
    client.read_to_reset()
    assert site.gone()


def test_an_interrupt_elsewhere_leaves_an_exchange_that_waits(site, loop):
    held = []
    site.serve(held.append)
    client = site.client()
    client.ask()
    site.until(lambda: held)
    loop.call_soon(raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        site.turn(3)
    site.turn(3)
    held[0].respond(200, b"fine")
    assert client.answer().body == b"fine"
    assert not held[0].connection.closing


def test_one_request_of_a_pipeline_that_raises_does_not_harm_the_others(site, reports):
    def slot(exchange):
        if exchange.request.target == "/2":
            raise ValueError
        if exchange.request.target == "/3":
            raise icey.HttpError(410)
        exchange.respond(200)

    site.serve(slot)
    client = site.client()
    client.send(b"".join(http.request("GET", "/%d" % number) for number in range(6)))
    assert [client.answer().status for _ in range(6)] == [200, 200, 500, 410, 200, 200]
    reports.take(ValueError)


def test_nobody_attached_to_on_error_the_place_is_logged(site, loop, reports, capsys):
    loop.on_error -= reports.note

    def slot(exchange):
        raise ValueError("nobody listens")

    site.serve(slot)
    assert site.client().get().status == 500
    loop.on_error += reports.note


def test_answering_after_abort_is_a_state_error(site, reports):
    def slot(exchange):
        exchange.abort()
        exchange.respond(200, b"x")

    site.serve(slot)
    site.client().ask()
    assert site.gone()
    assert isinstance(reports[0][1], ServerConnection)
    reports.take(icey.StateError)


def test_raising_after_abort_is_only_reported(site, reports):
    def slot(exchange):
        exchange.abort()
        raise ValueError

    site.serve(slot)
    site.client().ask()
    assert site.gone()
    reports.take(ValueError)


@pytest.mark.parametrize("headers", [
    {"Retry-After": "5"}, [("Retry-After", "5")], icey.http.Headers([("Retry-After", "5")]), (("Retry-After", "5"),)])
def test_the_headers_of_an_HttpError_are_pairs_or_a_mapping(site, headers):
    def slot(exchange):
        raise icey.HttpError(503, "busy", headers=headers)

    site.serve(slot)
    assert site.client().get()["retry-after"] == "5"


@pytest.mark.parametrize("headers", [None, (), {}])
def test_an_HttpError_without_headers(headers):
    assert icey.HttpError(404, headers=headers).headers == [] == icey.BadRequest("x", headers=headers).headers


def test_a_reason_in_the_place_of_the_status_is_the_slots_own_error(site, reports):
    def slot(exchange):
        raise icey.HttpError("no such thing")

    site.serve(slot)
    assert site.client().get().status == 500
    exc, = reports.take(TypeError)
    assert "a status is a number" in str(exc)


@pytest.mark.parametrize("done", [None, 5, "print"])
def test_a_body_collected_for_what_cannot_be_called(site, reports, done):
    site.serve(lambda exchange: exchange.collect(done))
    assert site.client().get().status == 500
    reports.take(TypeError)


@pytest.mark.parametrize("compress", [False, True])
def test_how_errors_look_is_said_by_an_exchange_class_of_the_applications_own(debug, compress):
    if compress:
        needs("zlib")

    def slot(exchange):
        exchange.response.headers["X-Set"] = "before"
        if exchange.request.path == "/body":
            exchange.collect(lambda exchange, body: exchange.respond(200, body), limit=10)
        elif exchange.request.path == "/bug":
            raise ValueError("no")
        else:
            raise icey.HttpError(409, "gone", {"X-Own": "1"})

    loop, _ = virtual_loop(debug=debug)
    with loop:
        server = icey.http.Server(loop, "127.0.0.1", 8000, compress=compress)

        class Errors(server.exchange_class):
            def answer_error(self, exc):
                self.response.headers = icey.http.Headers({"X-All": "2"})
                self.respond_json({"error": str(exc), "long": "x" * 5000}, exc.status, exc.headers)

        server.exchange_class = Errors
        server.on_request += slot
        with TestClient(server, raise_exceptions=False) as client:
            for status, answer in [(409, client.get("/")), (500, client.get("/bug")),
                                   (413, client.post("/body", body=b"x" * 11)),
                                   (413, client.post("/body", body=iter([b"x" * 5] * 9)))]:
                assert (answer.status, answer.json()["error"][:3]) == (status, str(status))
                assert answer.headers.get("x-own") == ("1" if status == 409 else None)
                assert answer.headers["x-all"] == "2" and "x-set" not in answer.headers
                assert answer.headers.get("vary") == ("Accept-Encoding" if compress else None)
            assert client.post("/body", body=b"fine").body == b"fine"
            assert [type(exc) for exc in client.errors] == [ValueError]
