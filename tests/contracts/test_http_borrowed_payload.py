"""Contract 3 over HTTP: the views of on_payload are lent under the same rule as on_recv's."""
import struct

import pytest

import icey
from icey.http import ServerConnection
from tests.support import http, streams
from tests.support.streams import PYPY

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
exports = streams.exports

tells = pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer")
FORMS = pytest.mark.parametrize("form", [{"body": b"Hello"}, {"chunks": [b"Hello"]}], ids=["length", "chunked"])


def serve(site, slot):
    """A server whose on_payload is `slot(view)`; it answers when the body is whole."""
    def on_request(exchange):
        exchange.on_payload += lambda exchange, view: slot(view)
        exchange.on_complete += lambda exchange: exchange.respond(200)
    return site.serve(on_request)


@FORMS
def test_a_stashed_view_raises_at_once(site, form):
    stashed = []
    serve(site, stashed.append)
    assert site.client().get("/", method="POST", **form).status == 200
    for use in (bytes, len, lambda view: view[0], lambda view: view[:2], memoryview):
        with pytest.raises(ValueError, match="released"):
            use(stashed[0])


@FORMS
def test_the_view_is_read_only_and_copies_live(site, form):
    kept = []

    def slot(view):
        assert view.readonly
        kept.extend([bytes(view), bytearray(view[1:]), view.tobytes()])

    serve(site, slot)
    site.client().get("/", method="POST", **form)
    assert kept == [b"Hello", b"ello", b"Hello"]


def test_the_view_is_released_after_the_last_of_several_slots(site):
    seen = []

    def on_request(exchange):
        for _ in range(3):
            exchange.on_payload += lambda exchange, view: seen.append(bytes(view))
        exchange.on_complete += lambda exchange: exchange.respond(200)

    site.serve(on_request)
    site.client().get("/", method="POST", body=b"Hello")
    assert seen == [b"Hello"] * 3


def test_the_view_is_released_when_a_slot_raises(site, reports):
    stashed = []

    def slot(view):
        stashed.append(view)
        raise ValueError

    serve(site, slot)
    assert site.client().get("/", method="POST", body=b"Hello").status == 500
    reports.take(ValueError)
    with pytest.raises(ValueError, match="released"):
        bytes(stashed[0])


def test_a_view_may_be_released_by_the_slot(site):
    serve(site, lambda view: view.release())
    assert site.client().get("/", method="POST", body=b"Hello").status == 200


def borrow_error(site, reports):
    """A BorrowError was reported with the connection, which was aborted; the server goes on."""
    client = site.client()
    client.ask("POST", "/", body=b"Hello")
    assert site.gone()
    assert isinstance(reports[0][1], ServerConnection)
    text = str(reports.take(icey.BorrowError)[0])
    assert "outlived its callback" in text and "Contract: receive buffers are borrowed." in text
    site.server.on_request.detach_all()
    assert site.client().get().status == 404
    return text


@tells
@FORMS
def test_a_kept_export_is_a_borrow_error_in_release_too(site, reports, exports, form):
    serve(site, lambda view: exports.append(struct.iter_unpack("B", view)))
    assert "test_http_borrowed_payload.py" in borrow_error(site, reports)
    assert bytes(value for value, in exports[0]) == b"Hello"  # what was kept was not written over


@tells
@pytest.mark.parametrize("keep", [lambda view: view[1:3], lambda view: view.cast("b"), memoryview])
def test_in_debug_mode_slices_and_casts_that_escaped_are_found_too(site, reports, debug, keep):
    kept = []
    serve(site, lambda view: kept.append(keep(view)))
    if debug:
        borrow_error(site, reports)
    else:
        assert site.client().get("/", method="POST", body=b"Hello").status == 200


@tells
def test_a_kept_view_and_an_exception_are_both_reported(site, reports, exports):
    def slot(view):
        exports.append(struct.iter_unpack("B", view))
        raise ZeroDivisionError

    serve(site, slot)
    client = site.client()
    client.ask("POST", "/", body=b"Hello")
    assert site.gone()
    reports.take(ZeroDivisionError, icey.BorrowError)


def test_a_lent_view_given_to_send_raises_in_debug_and_is_sent_in_release(site, debug, reports):
    errors = []

    def on_request(exchange):
        def payload(exchange, view):
            try:
                exchange.send(view)
            except icey.BorrowError as exc:
                errors.append(str(exc))
                exchange.send_owned(view)
        exchange.on_payload += payload
        exchange.on_complete += lambda exchange: exchange.end()

    site.serve(on_request)
    assert site.client().get("/", method="POST", body=b"Hello").body == b"Hello"
    assert len(errors) == debug
    assert all("send_owned(view)" in text for text in errors)


def test_a_lent_view_that_must_wait_is_copied_in_release(loop, site, debug):
    body = bytes(range(256)) * 1000

    def on_request(exchange):
        http.narrow(exchange)
        verb = exchange.send_owned if debug else exchange.send
        exchange.on_payload += lambda exchange, view: verb(view)
        exchange.on_complete += lambda exchange: exchange.end()

    site.serve(on_request)
    client = site.client(receive=4096)
    client.ask("POST", "/", body=body)
    assert client.answer().body == body


def test_the_body_of_collect_is_yours(site):
    bodies = []
    site.serve(lambda exchange: exchange.collect(lambda exchange, body: bodies.append(body) or exchange.respond(200)))
    site.client().get("/", method="POST", body=b"Hello")
    assert bodies == [b"Hello"]


def test_a_buffer_given_to_send_is_borrowed_until_done(site, debug, reports):
    """In debug mode one that was changed in flight is found."""
    data = bytearray(300000)

    def on_request(exchange):
        http.narrow(exchange)
        exchange.send(data)
        data[-1] = 1

    site.serve(on_request)
    client = site.client(receive=4096)
    client.ask()
    if debug:
        with pytest.raises(ConnectionResetError):  # not an end that looks whole
            client.read_all()
        assert site.gone()
        assert "changed" in str(reports.take(icey.BorrowError)[0])
    else:
        client.read_until(b"\r\n\r\n")
        client.close()


def test_a_buffer_given_to_send_owned_is_copied(site):
    data = bytearray(300000)

    def on_request(exchange):
        http.narrow(exchange)
        exchange.send_owned(data)
        data[:] = b"x" * len(data)
        exchange.end()

    site.serve(on_request)
    assert site.client(receive=4096).get().body == bytes(300000)
