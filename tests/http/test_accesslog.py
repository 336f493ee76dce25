"""accesslog: a line for each answer, and nothing a client sends can make it two."""
import re
import select
import socket
import sys
import time

import pytest

import icey
from icey.http.accesslog import AccessLog, escape
from icey.tools.testing import VirtualClock

NOON = 1767268800.0  # 2026-01-01 12:00:00 UTC


@pytest.fixture(autouse=True)
def somewhere(monkeypatch):
    """A time zone that is neither ours nor UTC, and not a whole hour."""
    if not hasattr(time, "tzset"):
        pytest.skip("this platform cannot change its time zone")
    monkeypatch.setenv("TZ", "XXX-5:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Site:
    """A server with a log whose lines are in `lines`, on a clock that stands still."""

    def __init__(self, handler, format="short", wall=lambda: NOON, limits=None, where=("127.0.0.1", 0)):
        self.clock = VirtualClock(1000.0)
        self.lines = []
        self.loop = icey.Loop(clock=self.clock)
        self.server = icey.http.Server(self.loop, icey.Address(*where), limits=limits)
        if handler is not None:
            self.server.on_request += handler
        self.server.on_answer += AccessLog(self.lines.append, format, wall=wall)
        self.server.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.close()
        self.turn()
        self.loop.close()

    def turn(self, times=20):
        for _ in range(times):
            self.loop.run_once(0)

    def send(self, *requests):
        """Sends raw requests on one connection, and takes what comes back until the loop has nothing more to do."""
        family = self.server.address.family
        with socket.socket(family) as client:
            client.connect(self.server.address.sockaddr())
            client.setblocking(False)
            data = bytearray()
            for request in requests:
                client.sendall(request)
                idle = 0
                while idle < 5:
                    self.turn(2)
                    ready = select.select([client], [], [], 0.01)[0]
                    piece = client.recv(1 << 20) if ready else b""
                    data += piece
                    idle = 0 if piece else idle + 1
        self.turn()
        return bytes(data)


def get(target="/", *fields, version="1.1", method="GET"):
    return ("%s %s HTTP/%s\r\nHost: a\r\n%s\r\n" % (
        method, target, version, "".join(field + "\r\n" for field in fields))).encode("latin-1")


def hello(exchange):
    exchange.respond(200, b"hello", "text/plain")


def test_short_has_time_client_request_status_bytes_and_milliseconds():
    with Site(hello) as site:
        site.send(get("/a?b=c"))
    assert site.lines == ["2026-01-01 17:30:00 127.0.0.1 GET /a?b=c 200 5 0.0ms\n"]


def test_common_is_the_common_log_format():
    with Site(hello, "common") as site:
        site.send(get("/a"))
    assert site.lines == ['127.0.0.1 - - [01/Jan/2026:17:30:00 +0530] "GET /a HTTP/1.1" 200 5\n']


def test_combined_adds_referer_and_user_agent():
    with Site(hello, "combined") as site:
        site.send(get("/a", "Referer: http://x/", "User-Agent: curl/8 (a b)"), get("/b", version="1.0"))
    assert site.lines == [
        '127.0.0.1 - - [01/Jan/2026:17:30:00 +0530] "GET /a HTTP/1.1" 200 5 "http://x/" "curl/8 (a b)"\n',
        '127.0.0.1 - - [01/Jan/2026:17:30:00 +0530] "GET /b HTTP/1.0" 200 5 "-" "-"\n']


def test_west_of_greenwich_the_offset_is_negative(monkeypatch):
    monkeypatch.setenv("TZ", "XXX3:30")
    time.tzset()
    with Site(hello, "common") as site:
        site.send(get())
    assert "[01/Jan/2026:08:30:00 -0330]" in site.lines[0]


def test_no_body_is_a_dash_in_the_common_log_format_and_a_zero_in_the_short():
    for format, ending in (("short", "204 0 0.0ms\n"), ("common", '204 -\n')):
        with Site(lambda exchange: exchange.respond(204), format) as site:
            site.send(get())
        assert site.lines[0].endswith(ending)


def test_the_bytes_are_those_of_the_body_that_was_sent():
    def pieces(exchange):
        exchange.send(b"abc")
        exchange.send(b"defg")
        exchange.end()

    with Site(pieces) as site:
        site.send(get(), get(method="HEAD"))
    assert [line.split()[5:7] for line in site.lines] == [["200", "7"], ["200", "0"]]


def test_the_bytes_of_a_file_that_is_sent_in_pieces_count(tmp_path):
    (tmp_path / "big").write_bytes(bytes(100_000))
    with Site(icey.http.StaticFiles(tmp_path)) as site:
        site.send(get("/big"), get("/big", "Range: bytes=0-49999"), get("/big", method="HEAD"))
    assert [line.split()[5:7] for line in site.lines] == [["200", "100000"], ["206", "50000"], ["200", "0"]]


def test_each_pipelined_request_has_its_line_in_order():
    with Site(hello) as site:
        site.send(get("/1") + get("/2") + get("/3"))
    assert [line.split()[4] for line in site.lines] == ["/1", "/2", "/3"]


def test_milliseconds_are_what_the_answer_took():
    with Site(lambda exchange: exchange.loop.call_later(0.25, exchange.respond)) as site:
        with socket.create_connection(("127.0.0.1", site.server.address.port)) as client:
            client.sendall(get())
            while not site.server.connections or site.server.connections[0].exchange is None:
                site.turn()
            site.clock.advance(0.25)
            site.turn()
        site.turn()
    assert site.lines[0].endswith(" 200 0 250.0ms\n")


def test_the_date_is_made_once_a_second():
    seconds = iter([NOON, NOON + 0.9, NOON + 1.0])
    with Site(hello, wall=lambda: next(seconds)) as site:
        site.send(get("/1") + get("/2") + get("/3"))
    assert [line.split()[1] for line in site.lines] == ["17:30:00", "17:30:00", "17:30:01"]


def test_a_request_that_could_not_be_read_is_a_dash():
    for format, middle in (("short", "127.0.0.1 - 400 "), ("combined", '] "-" 400 - "-" "-"\n')):
        with Site(hello, format) as site:
            site.send(b"no request\r\n\r\n")
        line, = site.lines
        assert middle in line


def test_nobody_attached_to_on_request_is_logged_as_404():
    with Site(None) as site:
        site.send(get("/x"))
    assert " GET /x 404 " in site.lines[0]


@pytest.mark.parametrize("format", ["common", "combined"])
def test_a_client_cannot_forge_a_line(format):
    """Whatever is accepted: the line stays one line, its quotes pair up, and nothing of it moves a terminal's cursor."""
    nasty = "".join(map(chr, [9, *range(0x20, 0x7F), *range(0x80, 0x100)]))
    target = "/" + "".join(map(chr, range(0x21, 0x7F)))
    with Site(hello, format) as site:
        site.send(get(target.replace("#", ""), "User-Agent: x" + nasty + "x", "Referer: " + '" 200 1 "' + "\\"))
    line, = site.lines
    assert re.fullmatch("[\x20-\x7e]+\n", line)
    fields = re.findall(r'"(?:[^"\\]|\\.)*"', line)
    assert len(fields) == (1 if format == "common" else 3)
    assert re.sub(r'"(?:[^"\\]|\\.)*"', "", line).count('"') == 0


@pytest.mark.parametrize("text, escaped", [
    ("/plain?a=b&c=%20", "/plain?a=b&c=%20"),
    ('a"b', r'a\"b'),
    ("a\\b", r"a\\b"),
    ("\t\r\n\x1b[31m\x7f", r"\x09\x0d\x0a\x1b[31m\x7f"),
    ("caf\xe9\x85\xa0", r"caf\xe9\x85\xa0"),
    ("\u202e\U0001f600", r"\u202e\U0001f600"),
    ("\udc80", r"\udc80"),
    ("", ""),
])
def test_escape(text, escaped):
    assert escape(text) == escaped


@pytest.mark.needs("unix")
def test_a_client_of_a_unix_socket_is_called_unix(tmp_path):
    with Site(hello, where=("unix:%s" % (tmp_path / "s"),)) as site:
        site.send(get())
    assert site.lines[0].split()[2] == "unix:"


@pytest.mark.needs("ipv6")
def test_a_client_over_ipv6():
    with Site(hello, where=("::1", 0)) as site:
        site.send(get())
    assert site.lines[0].split()[2] == "::1"


@pytest.mark.parametrize("failure", [BrokenPipeError(32, "nobody reads"), OSError(28, "the disk is full"),
                                     ValueError("I/O operation on closed file")])
def test_a_log_that_cannot_be_written_costs_the_line_not_the_answer(failure):
    def write(line):
        raise failure

    with Site(hello) as site:
        site.server.on_answer.detach_all()
        site.server.on_answer += AccessLog(write)
        assert site.send(get(), get()).count(b"hello") == 2


def test_detached_it_is_silent():
    with Site(hello) as site:
        log = AccessLog(site.lines.append)
        site.server.on_answer += log
        site.server.on_answer -= log
        site.server.on_answer.detach_all()
        site.send(get())
        assert site.server._log is None  # what the engine asks before it does anything
    assert site.lines == []


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="one of short, common, combined, not 'json'"):
        AccessLog(sys.stderr.write, "json")
