"""send_file(): a region of a file, never read whole, closed whatever happens."""
import io
import os

import pytest

import icey
from tests.support import http
from tests.support.http import narrow

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

DATA = os.urandom(300000)
READS = []


class NoDescriptor(io.BytesIO):
    """A file that os.sendfile cannot use; notes how much is read at once."""

    def read(self, size=-1):
        READS.append(size)
        return super().read(size)


@pytest.fixture(params=["sendfile", "read"])
def opened(request, tmp_path):
    """A function that opens DATA anew; those opened are checked to be closed at the end."""
    files = []
    path = str(tmp_path / "data")
    with open(path, "wb") as file:
        file.write(DATA)
    if request.param == "sendfile" and not hasattr(os, "sendfile"):
        pytest.skip("no sendfile here")

    def make():
        files.append(open(path, "rb") if request.param == "sendfile" else NoDescriptor(DATA))
        return files[-1]

    yield make
    assert files and all(file.closed for file in files)


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_region_of_a_file_is_sent(site, opened, length, version):
    done = []

    def slot(exchange):
        if length:
            exchange.response.headers["Content-Length"] = str(200004)
        exchange.send(b"<<")
        exchange.send_file(opened(), 7, 200000, lambda: done.append(exchange.sent))
        exchange.send(b">>")
        exchange.end()
        assert exchange.sent == 200004

    site.serve(slot)
    client = site.client()
    for _ in range(2 if version == "1.1" else 1):
        assert client.get(version=version).body == b"<<" + DATA[7:200007] + b">>"
    site.turn(2)
    assert done


def test_a_large_file_is_never_read_whole(site):
    del READS[:]
    file = NoDescriptor(DATA)

    def slot(exchange):
        exchange.response.headers["Content-Length"] = str(len(DATA))
        exchange.send_file(file, 0, len(DATA))
        exchange.end()

    site.serve(slot)
    assert site.client().get().body == DATA
    assert file.closed
    assert max(READS) <= 65536


def test_the_file_is_the_callers_with_close_false(site):
    file = NoDescriptor(DATA)

    def slot(exchange):
        exchange.send_file(file, 0, 100, close=False)
        exchange.send_file(file, 50, 100, close=False)
        exchange.end()

    site.serve(slot)
    assert site.client().get().body == DATA[:100] + DATA[50:150]
    assert not file.closed


def test_send_file_is_false_while_the_region_waits_and_on_drain_tells(site, opened):
    results, drains = [], []

    def slot(exchange):
        narrow(exchange)
        exchange.on_drain += lambda exchange: drains.append(exchange) or exchange.end()
        results.append(exchange.send_file(opened(), 0, len(DATA)))

    site.serve(slot)
    client = site.client(receive=4096)
    client.ask()
    client.read_until(b"\r\n\r\n")
    assert (results, drains) == ([False], [])
    assert http.read_chunks(client) == DATA
    assert len(drains) == 1


def test_nothing_of_a_file_is_sent_for_head(site, opened):
    done = []

    def slot(exchange):
        exchange.response.headers["Content-Length"] = str(len(DATA))
        assert exchange.send_file(opened(), 0, len(DATA), lambda: done.append(1)) is True
        exchange.end()
        assert exchange.sent == 0

    site.serve(slot)
    client = site.client()
    assert client.get(method="HEAD")["content-length"] == str(len(DATA))
    assert client.silent()
    assert done == [1]


def test_an_empty_region_is_no_chunk(site, opened):
    def slot(exchange):
        with opened() as kept:
            exchange.send(b"a")
            exchange.send_file(opened(), 0, 0)
            exchange.send_file(kept, 0, 0, close=False)
            assert not kept.closed
        exchange.send(b"b")
        exchange.end()

    site.serve(slot)
    assert site.client().get().body == b"ab"


def test_a_file_shorter_than_promised_aborts(site, opened):
    closed = []

    def slot(exchange):
        http.think(exchange)
        exchange.on_close += closed.append
        exchange.response.headers["Content-Length"] = str(len(DATA) + 1)
        exchange.send_file(opened(), 0, len(DATA) + 1)

    site.serve(slot)
    client = site.client()
    client.ask()
    assert client.read_until(b"\r\n\r\n")
    assert client.read_to_reset() == DATA  # and not a byte too many
    assert site.gone()
    site.turn(2)
    assert len(closed) == 1


def test_the_file_is_closed_when_the_client_goes(site, opened):
    files = []

    def slot(exchange):
        narrow(exchange)
        files.append(opened())
        exchange.send_file(files[0], 0, len(DATA))

    site.serve(slot)
    client = site.client(receive=4096)
    client.ask()
    client.read_until(b"\r\n\r\n")
    assert not files[0].closed
    client.reset()
    site.until(lambda: files[0].closed)
    assert site.gone()


@pytest.mark.parametrize("length", [True, False])
def test_a_done_that_cannot_be_called_is_TypeError_at_once(site, opened, length):
    def slot(exchange):
        if length:
            exchange.response.headers["Content-Length"] = "10"
        for count in (10, 0):
            refused = opened()
            with pytest.raises(TypeError, match="done must be callable, not 7"):
                exchange.send_file(refused, 0, count, 7)
            assert refused.closed
        exchange.send_file(opened(), 0, 10)
        exchange.end()

    site.serve(slot)
    client = site.client()
    for _ in range(2):
        assert client.get().body == DATA[:10]


def test_the_file_is_closed_where_send_file_is_refused(site, opened, reports):
    def slot(exchange):
        exchange.response.headers["Content-Length"] = "10"
        kept = opened()
        with pytest.raises(icey.StateError, match="beyond"):
            exchange.send_file(kept, 0, 11, close=False)
        assert not kept.closed
        kept.close()
        with pytest.raises(icey.StateError):
            exchange.send_file(opened(), 0, 10)

    site.serve(slot)
    site.client().ask()
    assert site.gone()


def test_the_file_is_closed_after_the_answer(site, opened):
    def slot(exchange):
        exchange.respond(200, b"x")
        with pytest.raises(icey.StateError):
            exchange.send_file(opened(), 0, 10)

    site.serve(slot)
    assert site.client().get().body == b"x"


def test_files_pipelined_by_a_client_that_does_not_read_are_not_all_opened(site, opened):
    files = []

    def slot(exchange):
        narrow(exchange)
        files.append(opened())
        exchange.response.headers["Content-Length"] = str(len(DATA))
        exchange.send_file(files[-1], 0, len(DATA))
        exchange.end()

    site.serve(slot)
    client = site.client(receive=4096)
    client.send(http.request() * 6)
    site.turn(20)
    assert len(files) < 3
    for _ in range(6):
        assert client.answer().body == DATA


def test_send_file_after_the_head_from_a_timer(site, loop, opened):
    def later(exchange):
        exchange.send_file(opened(), 0, 1000)
        exchange.end()

    def slot(exchange):
        exchange.send_header()
        loop.call_later(1.0, later, exchange)  # late: nothing is gathered

    site.serve(slot)
    client = site.client()
    client.ask()
    site.wait(1.0)
    assert client.answer().body == DATA[:1000]
