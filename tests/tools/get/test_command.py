"""python3 -m icey get: what is asked, what comes out, and the exit status. On one loop with its server; see getting.py."""
import io
import os
import re

import pytest

import icey
from icey.tools.cli.console import Console
from icey.tools.get import command as get
from tests.support import getting, streams
from tests.support.getting import answer, cut, slowly

debug, clock, reports, loop, desk = streams.debug, streams.clock, streams.reports, streams.loop, getting.desk

HELLO = answer("200 OK", "Content-Type: text/plain", body=b"Hello")
BINARY = bytes(range(256)) * 5


# -- what comes ------------------------------------------------------------------------------------------------------

def test_the_body_goes_to_stdout_byte_for_byte(desk):
    desk.can(answer("200 OK", body=BINARY))
    assert (desk.get("/"), desk.out, desk.err) == (0, BINARY, "")


def test_a_large_body_streams_through(desk):
    body = os.urandom(3 << 20)
    desk.serve(lambda exchange: exchange.respond(200, body))
    assert desk.get("/") == 0
    assert desk.out == body


def test_a_chunked_one_and_one_until_the_close(desk):
    desk.can(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nxyz")
    assert desk.get("/a", "/b") == 0
    assert desk.out == b"abcxyz"


def test_an_empty_body(desk):
    desk.can(answer("200 OK"), b"HTTP/1.1 204 No Content\r\n\r\n")
    assert desk.get("-o", "file", "/") == 0
    assert desk.read("file") == b""
    assert (desk.get("/"), desk.out) == (0, b"")


def test_a_url_without_a_scheme_is_http(desk):
    server = desk.can(HELLO)
    assert desk.get(str(server.address)) == 0
    assert desk.out == b"Hello"


def test_several_urls_share_a_connection_and_the_cookies(desk):
    def slot(exchange):
        exchange.respond(200, exchange.request.headers.get("cookie", "none").encode() + b"\n", headers={"Set-Cookie": "a=1"})

    server = desk.serve(slot)
    assert desk.get("/1", "/2", "/3") == 0
    assert desk.out == b"none\na=1\na=1\n"
    assert server.connections_made == 1


def test_the_status_is_that_of_the_first_url_that_failed_and_the_others_are_fetched(desk):
    desk.can(answer("404 Not Found"), cut(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHal"), HELLO)
    assert desk.get("--fail", "/1", "/2", "/3") == 8
    assert desk.out == b"HalHello"
    assert desk.err.count("\n") == 2


def test_include_shows_the_head_as_it_came(desk):
    desk.can(b"HTTP/1.0 203 Odd\r\nX-One: 1\r\nContent-Length: 2\r\nX-One: 2\r\n\r\nab")
    assert desk.get("-i", "/") == 0
    assert desk.out == b"HTTP/1.0 203 Odd\r\nx-one: 1\r\ncontent-length: 2\r\nx-one: 2\r\n\r\nab"


def test_head_asks_for_the_head_alone(desk):
    server = desk.can(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    assert desk.get("-I", "/x") == 0
    assert server.requests[0].startswith(b"HEAD /x HTTP/1.1\r\n")
    assert desk.out == b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"


@pytest.mark.needs("zlib")
def test_compressed_is_asked_for_and_undone(desk):
    import gzip

    server = desk.can(answer("200 OK", "Content-Encoding: gzip", body=gzip.compress(b"unfolded")))
    assert desk.get("--compressed", "/") == 0
    assert desk.out == b"unfolded"
    assert b"\r\nAccept-Encoding: gzip, deflate\r\n" in server.requests[0]


def test_without_it_a_body_stays_as_it_came(desk):
    server = desk.can(answer("200 OK", "Content-Encoding: gzip", body=b"not undone"))
    assert desk.get("/") == 0
    assert desk.out == b"not undone"
    assert b"accept-encoding" not in server.requests[0].lower()


@pytest.mark.parametrize("body, out", [
    (b'{"a":[1.50,"x"],"a":{}}', b'{\n  "a": [\n    1.50,\n    "x"\n  ],\n  "a": {}\n}\n'),
    (b"", b""),
])
def test_json_is_laid_out(desk, body, out):
    server = desk.can(answer("200 OK", body=body))
    assert desk.get("--json", "/") == 0
    assert (desk.out, desk.err) == (out, "")
    assert b"\r\nAccept: application/json\r\n" in server.requests[0]


def test_json_that_is_none_comes_as_it_is_and_is_noted(desk):
    desk.can(answer("200 OK", body=b"<html>"))
    assert desk.get("--json", "-i", "-H", "Accept: x/y", "/") == 0
    assert desk.out == b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>"
    assert desk.err.startswith("the body is no JSON, it comes as it is: ")


def test_json_into_a_file_and_cut_short(desk):
    desk.can(answer("200 OK", body=b"[1]"), b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a"')
    assert desk.get("--json", "-q", "-o", "file", "/") == 0
    assert desk.read("file") == b"[\n  1\n]\n"
    assert desk.get("--json", "/") == 7
    assert desk.out == b""


# -- a terminal ------------------------------------------------------------------------------------------------------

def test_binary_is_kept_off_a_terminal(desk):
    desk.can(answer("200 OK", body=b"ab\0c"), answer("200 OK", body=b"ab\0c"), answer("200 OK", body=b"text"))
    assert desk.get("/", out_terminal=True) == 1
    assert desk.out == b""
    assert desk.err == ("get: the body is binary and stdout is a terminal: -o FILE saves it, -o - shows it all the same\n")
    assert desk.get("-o", "-", "/", out_terminal=True) == 0
    assert desk.out == b"ab\0c"
    assert desk.get("/", out_terminal=True) == 0
    assert desk.out == b"text"


def test_a_bar_on_a_terminal(desk):
    slowly(desk)
    assert desk.get("-o", "x.bin", "/", err_terminal=True) == 0
    drawn = desk.err.split("\r")
    assert any(text.startswith("x.bin   40% [") for text in drawn), drawn
    assert drawn[-1] == "x.bin: 97.7 KiB in 9.0 s, 10.9 KiB/s\n"
    assert max(map(len, drawn)) < 80


def test_a_bar_while_stdout_is_a_pipe_but_none_where_the_body_is_shown(desk):
    slowly(desk)
    assert desk.get("/", err_terminal=True) == 0
    assert "%" in desk.err and desk.err.endswith("\r") and "\n" not in desk.err
    assert desk.get("-o", "-", "/", err_terminal=True, out_terminal=True) == 0
    assert desk.err == ""


def test_lines_without_a_terminal(desk):
    slowly(desk)
    assert desk.get("-o", "x.bin", "/") == 0
    *lines, summary = desk.err.splitlines()
    assert re.fullmatch("x.bin: [1-9]0 %, [0-9.]+ of 97.7 KiB, [0-9.]+ KiB/s", lines[0])
    percents = [int(line.split()[1]) for line in lines]
    assert percents == sorted(set(percents)) and len(percents) > 5
    assert summary == "x.bin: 97.7 KiB in 9.0 s, 10.9 KiB/s"
    assert desk.get("/") == 0
    assert desk.err == ""


def test_lines_where_the_length_is_not_known(desk):
    slowly(desk, seconds=30, length=False)
    assert desk.get("-o", "x.bin", "/") == 0
    assert len(desk.err.splitlines()) > 3 and "%" not in desk.err


def test_quiet_says_nothing(desk):
    slowly(desk)
    assert desk.get("-q", "-o", "x.bin", "/", err_terminal=True) == 0
    assert desk.err == ""


@pytest.mark.needs("ssl")
@pytest.mark.parametrize("flags, err", [
    ("-s", ""), ("-q", "get: .*404 Not Found\n"), ("-sS", "get: .*404 Not Found\n"), ("-S", "get: .*404 Not Found\n"),
    ("-sv", "> GET / .*< content-length: 0\n< \n")])
def test_silent_leaves_out_what_went_wrong_too(desk, flags, err):
    desk.can(answer("404 Not Found"))
    assert desk.get(flags, "-f", "-k", "/") == 8
    wanted = err if flags != "-S" else "-k: certificates .*\n" + err
    assert re.fullmatch(wanted, desk.err, re.S), desk.err


def test_a_bar_goes_on_while_nothing_comes(desk):
    begun = []

    def slot(exchange):
        begun.append(exchange)
        exchange.response.headers["Content-Length"] = "2"
        exchange.send_owned(b"a")
        exchange.loop.call_later(20, exchange.send_owned, b"b")

    desk.serve(slot)
    assert desk.get("-o", "x", "/", err_terminal=True) == 0
    assert desk.err.count("\r") > 15 and "0 B/s" in desk.err


@pytest.fixture
def takes_slowly(desk, send_queues):
    """Serves what takes ten seconds for a body, as the system tells: the file `large`. Its first answers may be others."""
    size = 100000
    (desk.folder / "large").write_bytes(bytes(size))

    def serve(*first):
        answers = [*first, lambda exchange: exchange.respond(200, b"thanks")]

        def slot(exchange):
            def take(timer):
                send_queues[None] = left = max(0, send_queues[None] - size // 100)
                if not left:
                    timer.stop()
                    exchange.collect(answer)

            exchange.data = icey.Timer(desk.loop, 0.1, take, interval=0.1).start()

        def answer(exchange, body):
            assert len(body) == size
            send_queues[None] = size
            (answers.pop(0) if len(answers) > 1 else answers[0])(exchange)

        desk.serve(slot)
        send_queues[None] = size

    return serve


@pytest.mark.parametrize("flags, shown", [({"err_terminal": True, "out_terminal": True}, True), ({"err_terminal": True}, True),
                                          ({}, False)])
def test_a_bar_of_what_is_sent(desk, takes_slowly, flags, shown):
    takes_slowly()
    assert desk.get("-d", "@large", "/", **flags) == 0
    assert desk.out == b"thanks"
    bars = [text for text in desk.err.split("\r") if text.startswith("upload ")]
    assert bool(bars) is shown and (shown or desk.err == "")
    percents = [int(re.search("([0-9]+)%", text).group(1)) for text in bars]
    assert percents == sorted(percents) and (len(set(percents)) > 50 or not shown)
    assert not shown or "of 97.7 KiB" in bars[0]


def test_lines_of_what_is_sent_where_the_answer_goes_into_a_file(desk, takes_slowly):
    takes_slowly()
    assert desk.get("-d", "@large", "-o", "x", "/") == 0
    *lines, summary = desk.err.splitlines()
    assert len(lines) > 5 and all(re.fullmatch("upload: [1-9][0-9] %, [0-9.]+ of 97.7 KiB, .*", line) for line in lines), lines
    assert summary == "x: 6 B"
    assert desk.get("-q", "-d", "@large", "-o", "x", "/") == 0
    assert desk.err == ""


def test_what_is_sent_again_begins_anew(desk, takes_slowly):
    takes_slowly(lambda exchange: exchange.respond(307, headers={"Location": "/there"}))
    assert desk.get("-d", "@large", "-L", "/", err_terminal=True) == 0
    assert desk.out == b"thanks"
    percents = [int(found) for found in re.findall("upload +([0-9]+)%", desk.err)]
    assert len([before for before, after in zip(percents, percents[1:]) if after < before]) == 1


def test_a_message_does_not_stand_behind_the_bar(desk):
    desk.can(answer("200 OK", body=b"1234567890")[:-5])
    assert desk.get("-o", "x", "/", err_terminal=True) == 7
    assert desk.err.splitlines()[-1].startswith("get: http://127.0.0.1:")


# -- files -----------------------------------------------------------------------------------------------------------

def test_a_file_is_there_when_it_is_complete(desk):
    seen = []

    def slot(exchange):
        exchange.response.headers["Content-Length"] = "4"
        exchange.send_owned(b"ab")
        exchange.loop.call_later(1, lambda: (seen.extend(desk.files()), exchange.send_owned(b"cd")))

    desk.serve(slot)
    assert desk.get("-o", "file", "/") == 0
    assert desk.files() == ["file"]
    assert len(seen) == 1 and seen[0].startswith(".file.") and seen[0].endswith(".part")
    assert desk.read("file") == b"abcd"


def test_a_failure_leaves_the_old_file_and_nothing_else(desk):
    (desk.folder / "file").write_bytes(b"old")
    desk.can(answer("200 OK", body=b"1234567890")[:-5], answer("404 Not Found", body=b"error"))
    assert desk.get("-o", "file", "/") == 7
    assert desk.get("-f", "-o", "file", "/") == 8
    assert (desk.files(), desk.read("file")) == (["file"], b"old")


def test_without_fail_an_error_s_body_is_a_body(desk):
    desk.can(answer("404 Not Found", body=b"error"))
    assert desk.get("/") == 0
    assert (desk.out, desk.err) == (b"error", "")


def test_the_url_names_the_files(desk):
    desk.serve(lambda exchange: exchange.respond(200, exchange.request.target.encode()))
    assert desk.get("-O", "/a/one%20file.txt?q", "/b/..%2fb.bin") == 0
    assert desk.files() == ["b.bin", "one file.txt"]
    assert desk.read("one file.txt") == b"/a/one%20file.txt?q"


@pytest.mark.parametrize("disposition, path, name", [
    ('attachment; filename="given.bin"', "/x", "given.bin"),
    ("attachment; filename*=UTF-8''%e2%82%ac.txt", "/x", "\u20ac.txt"),
    ('inline; filename="../../.profile"', "/x", "profile"),
    ("attachment", "/x.bin", "x.bin"),
    ("a; b; c", "/x.bin", "x.bin"),
])
def test_the_server_names_the_file(desk, disposition, path, name):
    desk.can(answer("200 OK", "Content-Disposition: " + disposition, body=b"1"))
    assert desk.get("-O", "-J", path) == 0
    assert desk.files() == [name]


def test_a_name_that_the_server_gives_writes_over_nothing(desk):
    (desk.folder / "old").write_bytes(b"mine")
    desk.can(answer("200 OK", "Content-Disposition: attachment; filename=old", body=b"1"), HELLO)
    assert desk.get("-OJ", "/x") == 1
    assert desk.err == "get: old is there already, and a name that a server gives does not write over it\n"
    assert desk.read("old") == b"mine"
    assert desk.get("-OJ", "/") == 2


@pytest.mark.parametrize("name", ["no/such/folder", ".", "a\0b"])
def test_a_file_that_cannot_be_written(desk, name):
    desk.can(HELLO)
    assert desk.get("-o", name, "/") == 1
    assert desk.err.startswith("get: cannot write ") and desk.err.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk(desk):
    desk.serve(lambda exchange: exchange.respond(200, bytes(1 << 20)))
    assert desk.get("-o", "/dev/full", "/") == 1
    assert desk.err == "get: cannot write /dev/full: No space left on device\n"
    desk.serve(lambda exchange: exchange.respond(200, b"little"))
    assert desk.get("-o", "/dev/full", "/") == 1
    assert os.path.exists("/dev/full")


def test_a_device_is_written_to_and_stays_one(desk):
    desk.can(HELLO)
    assert desk.get("-o", os.devnull, "/") == 0
    assert not os.path.isfile(os.devnull)


# -- stdout ----------------------------------------------------------------------------------------------------------

class Out(io.BytesIO):
    """A stdout that does something on each write."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def write(self, data):
        self.act()
        return super().write(data)


def fail(kind, *arguments):
    def act():
        raise kind(*arguments)  # a new one: it holds the frames it went through, and their views
    return act


def test_a_reader_that_goes_away_ends_it_quietly(desk):
    server = desk.can(HELLO, HELLO)
    assert desk.get("/1", "/2", out=Out(fail(BrokenPipeError, 32, "Broken pipe"))) == 141
    assert desk.err == "" and len(server.requests) == 1


def test_stdout_that_cannot_be_written(desk):
    desk.can(HELLO, HELLO)
    assert desk.get("/", out=Out(fail(OSError, 28, "No space left on device"))) == 1
    assert desk.err == "get: cannot write to stdout: No space left on device\n"
    console = Console("get", None, io.StringIO())
    options = get.parse([desk.url])
    get.prepare(options, {})
    assert get.run(desk.loop, options, console) == 1
    assert console.err.getvalue() == "get: there is no stdout: -o FILE saves the body\n"


def test_a_reader_that_takes_its_time_does_not_make_the_server_late(desk, clock):
    """A minute for each piece, and body_timeout is half of that."""
    body = os.urandom(300000)

    def slot(exchange):
        exchange.respond(200, body)

    desk.serve(slot, limits=icey.Limits(write_timeout=None, body_timeout=None))
    assert desk.get("/", out=Out(lambda: clock.advance(60))) == 0
    assert desk.err == ""
