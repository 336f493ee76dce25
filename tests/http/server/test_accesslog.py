"""accesslog: a line for each answer, and nothing a client sends can make it two."""
import io
import json
import re
import select
import socket
import struct
import sys
import time

import pytest

import icey
from icey.base.tcpinfo import traffic
from icey.http.server.accesslog import AccessLog, escape
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
                    ready = select.select([client], [], [], 0.001)[0]
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


@pytest.mark.parametrize("body", [b"", b"abc"])
def test_so_they_are_where_the_loop_was_held(body):
    def begin(exchange):
        exchange.loop.call_later(3.0, exchange.respond)

    with Site(begin) as site:
        with socket.create_connection(("127.0.0.1", site.server.address.port)) as client:
            for before, behind in ((0.6, 0.0), (0.0, 5.0)):
                site.loop.call_soon(site.clock.advance, before)
                site.turn()
                site.clock.advance(0.3)
                client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                while not site.server.connections or site.server.connections[0].exchange is None:
                    site.turn()
                site.clock.advance(0.9)
                site.turn()
                site.loop.call_soon(site.clock.advance, behind)
                site.turn()
                site.clock.advance(max(0.0, 2.1 - behind))
                site.turn()
    assert [line.rpartition(" ")[2] for line in site.lines] == ["3000.0ms\n", "5900.0ms\n"]


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
        assert site.server.told is None  # what the engine asks before it does anything
    assert site.lines == []


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="one of short, common, combined, json, not 'xml'"):
        AccessLog(sys.stderr.write, "xml")


# answers that were cut, downloads, and other protocols

BIG = 20_000_000  # bytes: more than a kernel takes for a client that does not read


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def ask(site, request):
    """A client that has asked, and does not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.connect(site.server.address.sockaddr())
    client.settimeout(10)
    client.sendall(request)
    until(site, lambda: site.server.connections)
    site.turn()
    return client


def until(site, done, patience=10.0):
    over = time.monotonic() + patience
    while not done():
        assert time.monotonic() < over
        site.loop.run_once(0.01)


@pytest.fixture
def big(tmp_path):
    with open(str(tmp_path / "big"), "wb") as file:
        file.truncate(BIG)
    return icey.http.StaticFiles(tmp_path)


def answers(request):
    return request.getfixturevalue("big") if request.param == "file" else {
        "at once": lambda exchange: exchange.respond(200, bytes(BIG)),
        "late": lambda exchange: exchange.loop.call_later(0, exchange.respond, 200, bytes(BIG)),
        "given length": lambda exchange: (exchange.response.headers.add("Content-Length", str(BIG)),
                                          exchange.send(bytes(BIG)), exchange.end()),
    }[request.param]


handler = pytest.fixture(answers, params=["file", "at once", "late", "given length"])


def test_a_download_that_is_cut_has_the_bytes_that_went(send_queues, handler):
    send_queues.real()
    with Site(handler) as site:
        client = ask(site, get("/big"))
        read = 0
        while read < 1_000_000:
            read += len(client.recv(65536))
            site.turn(1)
        assert site.lines == []
        told = site.server.connections[0].stream.sock
        until(site, lambda: (traffic(told) or [read])[0] >= read)  # acknowledged late, at times
        reset(client)
        until(site, lambda: site.lines)
    words = site.lines[0].split()
    assert words[3:6] == ["GET", "/big", "200"] and site.lines[0].endswith("ms cut\n")
    assert read <= int(words[6]) + 1000 < BIG and int(words[6]) < read + 2_000_000  # what lies in its buffer it has


def test_a_download_has_its_line_when_it_is_out_and_the_next_answer_behind_it(handler):
    def both(exchange):
        (hello if exchange.request.path == "/next" else handler)(exchange)

    with Site(both) as site:
        client = ask(site, get("/big") + get("/next"))
        assert site.lines == []
        total = 0
        client.setblocking(False)
        while total < BIG:
            site.turn(1)
            if select.select([client], [], [], 0.001)[0]:
                total += len(client.recv(1 << 20))
        until(site, lambda: len(site.lines) == 2)
        client.close()
    assert [line.split()[4:7] for line in site.lines] == [["/big", "200", str(BIG)], ["/next", "200", "5"]]
    assert not any("cut" in line for line in site.lines)


def test_of_answers_that_wait_for_one_client_those_that_went_are_whole(send_queues):
    send_queues.real()
    with Site(lambda exchange: exchange.respond(200, bytes(int(exchange.request.path[1:])))) as site:
        client = ask(site, get("/20000"))
        until(site, lambda: site.lines)
        client.sendall(get("/%d" % BIG) + get("/30000"))
        site.turn()
        reset(client)
        until(site, lambda: not site.server.connections)
    assert [line.split()[4:7] for line in site.lines[:1]] == [["/20000", "200", "20000"]] and "cut" not in site.lines[0]
    assert all(line.endswith(" cut\n") for line in site.lines[1:]) and "/%d 200" % BIG in site.lines[1]


@pytest.mark.parametrize("format, end", [("short", "ms cut\n"), ("common", " cut\n"), ("combined", ' "-" "-" cut\n')])
@pytest.mark.parametrize("how", ["the client resets", "the server closes", "the handler aborts"])
def test_a_stream_that_is_cut_has_a_line(format, end, how):
    out = []

    def stream(exchange):
        out.append(exchange)
        exchange.begin_streaming()
        exchange.send(b"x" * 100)

    with Site(stream, format) as site:
        client = ask(site, get("/events"))
        assert site.lines == []
        if how == "the client resets":
            reset(client)
        elif how == "the server closes":
            site.server.close()
        else:
            out[0].abort()
        until(site, lambda: site.lines)
        client.close()
    line, = site.lines
    assert " 200 100" in line and line.endswith(end)


def test_a_client_that_goes_before_its_answer_has_begun_has_no_line():
    with Site(lambda exchange: None) as site:
        reset(ask(site, get("/")))
        until(site, lambda: not site.server.connections)
    assert site.lines == []


def test_an_answer_that_a_slot_breaks_off_is_cut():
    def half(exchange):
        exchange.response.headers["Content-Length"] = "10"
        exchange.send(b"abc")
        raise ValueError

    with Site(half) as site:
        site.loop.on_error += lambda loop, exc, handle: None
        client = ask(site, get("/half"))
        until(site, lambda: site.lines)
        client.close()
    assert site.lines[0].endswith("ms cut\n") and " /half 200 3 " in site.lines[0]


HANDSHAKE = get("/chat", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
CLOSE = b"\x88\x82\0\0\0\0" + b"\x03\xe8"  # masked, code 1000


def chat(exchange):
    ws = icey.http.WebSocket.accept(exchange, compression=False)
    ws.on_message += lambda ws, data: ws.send(data)
    ws.send(b"y" * 100)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts bytes")


@linux
@pytest.mark.parametrize("format", ["short", "combined", "json"])
@pytest.mark.parametrize("how", ["goodbye", "reset"])
def test_a_websocket_has_a_line_when_it_ends(send_queues, format, how):
    send_queues.real()
    with Site(chat, format) as site:
        client = ask(site, HANDSHAKE)
        got = b""
        while len(got.partition(b"\r\n\r\n")[2]) < 102:
            got += client.recv(65536)
            site.turn(1)
        site.clock.advance(2.0)
        client.sendall(b"\x82\x8a\0\0\0\0" + b"z" * 10)
        got = b""
        while len(got) < 12:
            site.turn(1)
            got += client.recv(65536) if select.select([client], [], [], 0.001)[0] else b""
        assert site.lines == []
        if how == "goodbye":
            client.sendall(CLOSE)
        else:
            reset(client)
        until(site, lambda: site.lines)
        client.close()
    line, = site.lines
    code, went, came = ("1000", [102 + 12 + 4], 16 + 8) if how == "goodbye" else ("1006", range(102, 102 + 12 + 1), 16)
    if format == "json":
        told = json.loads(line)
        assert (told["status"], told["code"], told["received"], told["ms"]) == (101, int(code), came, 2000.0)
        assert told["bytes"] in went
        assert (told["ended"], told["cut"]) == ("closed", code == "1006")
    else:
        assert int(re.search(" 101 ([0-9]+) ", line).group(1)) in went  # acknowledged
        assert line.endswith(" closed %s, %d received\n" % (code, came))


@linux
def test_a_tunnel_has_a_line_when_it_ends():
    class Echo(icey.Adapter):
        def on_data(self, view):
            self.stream.send_owned(view)

        def on_end(self):
            self.stream.close()

    def tunnel(exchange):
        exchange.send_header()
        exchange.replace_adapter(Echo())

    with Site(tunnel) as site:
        assert site.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").endswith(b"\r\n\r\n")
        client = ask(site, b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
        client.sendall(b"hello")
        got = b""
        while not got.endswith(b"hello"):
            site.turn(1)
            got += client.recv(65536) if select.select([client], [], [], 0.001)[0] else b""
        client.close()
        until(site, lambda: len(site.lines) == 2)
    assert " CONNECT a:1 200 " in site.lines[1] and site.lines[1].endswith(", 5 received\n")


def test_two_logs_of_one_server():
    with Site(lambda exchange: exchange.respond(200, bytes(100_000))) as site:
        other = []
        site.server.on_answer += AccessLog(other.append, "json")
        site.send(get())
    assert len(site.lines) == len(other) == 1


def test_nothing_is_kept_of_connections_that_are_over():
    log = AccessLog([].append)
    with Site(lambda exchange: exchange.respond(200, bytes(100_000))) as site:
        site.server.on_answer += log
        for _ in range(3):
            site.send(get() + get())
    assert len(site.lines) == 6 and log._trails == {}


# JSON

def test_json_is_an_object_a_line():
    with Site(hello, "json") as site:
        site.send(get('/a?b="c', "Referer: http://x/", "User-Agent: caf\xe9\x85"), b"no request\r\n\r\n")
    first, second = map(json.loads, site.lines)
    assert first == {"time": "2026-01-01T17:30:00+05:30", "client": "127.0.0.1", "method": "GET", "target": '/a?b="c',
                     "version": "1.1", "status": 200, "bytes": 5, "ms": 0.0, "referer": "http://x/",
                     "user_agent": "caf\xe9\x85", "cut": False}
    assert (second["method"], second["target"], second["status"]) == (None, None, 400)
    assert all(line.isascii() and line.endswith("}\n") and line.count("\n") == 1 for line in site.lines)


# behind a proxy

@pytest.mark.parametrize("forwarded, fields, client", [
    ("127.0.0.1", ["X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
    (["127.0.0.0/8"], ['Forwarded: for="[2001:db8::1]:5"'], "2001:db8::1"),
    ("127.0.0.1", ["X-Forwarded-For: who?"], "unknown"), ("127.0.0.1", [], "127.0.0.1"),
    ("10.0.0.0/8", ["X-Forwarded-For: 192.0.2.7"], "127.0.0.1"), (None, ["X-Forwarded-For: 192.0.2.7"], "127.0.0.1"),
    (lambda exchange: icey.http.forwarded(exchange, "127.0.0.1", form="forwarded"), ["X-Forwarded-For: 1.1.1.1"], "127.0.0.1"),
], ids=str)
def test_behind_a_proxy_the_client_is_whom_the_proxy_tells(forwarded, fields, client):
    with Site(hello) as site:
        site.server.on_answer.detach_all()
        site.server.on_answer += AccessLog(site.lines.append, forwarded=forwarded)
        site.send(get("/", *fields))
    assert site.lines[0].split()[2] == client


def test_networks_that_are_none_are_refused_at_once():
    with pytest.raises(ValueError):
        AccessLog([].append, forwarded="10.0.0.0/99")


@pytest.mark.parametrize("wrong", [io.StringIO(), 5, None])
def test_what_is_to_be_called_with_lines_can_be_called(wrong):
    with pytest.raises(TypeError, match="access log"):
        AccessLog(wrong)
