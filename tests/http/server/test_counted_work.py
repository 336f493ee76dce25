"""What a server does for an input grows with the input and no faster: four times as much takes about four times the calls.

Calls are counted, of Python's functions and of C's, so no clock is asked and a busy machine passes as an idle one does. What
a single call copies or searches is not seen here.
"""
import sys

import pytest

from icey.http import FormParser
from tests.support import http
from tests.support.http import request

pytestmark = pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts calls as CPython makes them")

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

READ = 65536  # bytes of a read, where a case says nothing else
MOST = 4.5  # times the calls, for four times the input
UNBOUNDED = {"max_head": None, "max_fields": None, "max_target": None, "max_body": None, "head_timeout": None,
             "body_timeout": None, "high_water": 1 << 24}


def reads(data, size=READ):
    return [data[at:at + size] for at in range(0, len(data), size)]


def header_lines(count):
    return reads(request("GET", "/", *("Field-%d: value %d" % (n, count) for n in range(count))))  # none is remembered


def one_line_by_bytes(count):
    return reads(request("GET", "/" + "x" * count), 1)


def one_field_by_bytes(count):
    return reads(request("GET", "/", "Field: " + "x" * count), 1)


def header_lines_by_bytes(count):
    return reads(request("GET", "/", *["A: b"] * (count // 4)), 1)


def chunks(count):
    return reads(request("POST", chunks=[b"x" * 100] * count))


def chunks_of_one_byte(count):
    return reads(request("POST", chunks=[b"x"] * count))


def chunks_of_one_byte_by_bytes(count):
    return reads(request("POST", chunks=[b"x"] * (count // 4)), 1)


def body_by_bytes(count):
    return reads(request("POST", body=b"x" * count), 1)


def pipelined(count):
    return reads(request() * count)


def pipelined_bodies(count):
    return reads(request("POST", body=b"body") * count)


def pipelined_in_small_reads(count):
    return reads(request() * count, 50)


def form(count):
    parts = ["--b\r\nContent-Disposition: form-data; name=\"field %d\"\r\n\r\nvalue %d\r\n" % (n, n) for n in range(count)]
    return ("".join(parts) + "--b--\r\n").encode()


def parts(count):
    return reads(request("POST", "/form", "Content-Type: multipart/form-data; boundary=b", body=form(count)))


def parts_by_bytes(count):
    return reads(request("POST", "/form", "Content-Type: multipart/form-data; boundary=b", body=form(count // 16)), 1)


CASES = [header_lines, one_line_by_bytes, one_field_by_bytes, header_lines_by_bytes, chunks, chunks_of_one_byte,
         chunks_of_one_byte_by_bytes, body_by_bytes, pipelined, pipelined_bodies, pipelined_in_small_reads, parts,
         parts_by_bytes]


class Counted:
    """Counts the calls inside `with`."""

    def __init__(self):
        self.calls = 0

    def __enter__(self):
        self._before = sys.getprofile()
        sys.setprofile(self._profile)

    def __exit__(self, *exc_info):
        sys.setprofile(self._before)

    def _profile(self, frame, event, arg):
        self.calls += event == "call" or event == "c_call"


def calls(site, pieces):
    """Calls that a new connection takes for these reads, and what the server has answered."""
    client, counted = site.client(), Counted()
    connection, answered = site.server.connections[-1], len(site.answered)
    with counted:
        for piece in pieces:
            connection.on_bytes(piece)
            while site.loop.timeout() == 0:  # what one turn leaves
                site.loop.run_once(0)
    assert not connection.closing and connection.exchange is None
    client.close()
    site.until(lambda: connection.closed)
    return counted.calls, site.answered[answered:]


@pytest.fixture
def answering(site):
    """The server answers with 200 once it has the body; what it got is in `answered`."""
    def slot(exchange):
        if exchange.request.path == "/form":
            FormParser.read(exchange, formed, max_fields=1 << 20)
        else:
            exchange.collect(collected)

    def collected(exchange, body):
        fields = exchange.request.headers.items()
        site.answered.append((len(exchange.request.target), sum(len(value) for _, value in fields), len(body)))
        exchange.respond(200, b"x")

    def formed(exchange, form):
        site.answered.append(len(form.fields))
        exchange.respond(200, b"x")

    site.answered = []
    site.serve(slot, limits=UNBOUNDED)
    return site


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_four_times_as_much_takes_four_times_the_calls(answering, case):
    calls(answering, case(32))  # what is made once
    few, first = calls(answering, case(256))
    many, second = calls(answering, case(1024))
    assert first and second and (first != second)
    assert many <= MOST * few, "%d calls, and %d for four times as much: %.2f times" % (few, many, many / few)
