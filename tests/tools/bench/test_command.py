"""python3 -m icey bench: its report, its JSON, its exit status. What is counted, and from when, is test_load.py's."""
import errno
import functools
import io
import json
import re
import signal
import subprocess
import sys

import pytest

import icey
from icey.tools.bench import command as bench
from icey.tools.bench.load import Load
from icey.tools.cli.console import Trouble
from tests.support import http, streams
from tests.support.programs import without_slowness

debug, clock, reports, loop, site = streams.debug, streams.clock, streams.reports, streams.loop, http.site

THINKING = 0.01
with_signals = pytest.mark.needs("signal")
each_signal = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


def interrupt(*arguments):
    raise KeyboardInterrupt


@pytest.fixture
def program(site, monkeypatch):
    """The command on the site's loop and clock; `program.work` is what it seems to do for each answer, in seconds."""
    return Program(site, monkeypatch)


class Kept:
    """The loop as a context that does not close it."""

    def __init__(self, loop):
        self.loop = loop

    def __enter__(self):
        return self.loop

    def __exit__(self, *exc_info):
        pass


class Program:
    def __init__(self, site, monkeypatch):
        self.site = site
        self.work = 0.0
        monkeypatch.setattr(bench, "_loop", lambda options: Kept(site.loop))
        monkeypatch.setattr(bench, "_let_go", lambda loop: None)  # the server is on it
        monkeypatch.setattr(bench, "Load", functools.partial(Load, clock=site.clock))

    def serve(self, seconds=THINKING, status=200, body=b"Hello", headers=None, **options):
        def handler(exchange):
            exchange.loop.call_later(seconds, answer, exchange)

        def answer(exchange):
            self.site.clock.advance(self.work)
            if not exchange.connection.closed:
                exchange.respond(status, body, "text/plain", headers)

        self.site.serve(handler, **options)
        return str(self.site.server.address)

    def __call__(self, *arguments):
        return bench.main([str(self.site.server.address), *arguments], "PROG")


# the report

def test_the_report(program, capsys):
    address = program.serve()
    assert program("-c", "4", "-d", "2") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[0] == "GET http://%s/: 4 connections, 2 s after 1 s of warm-up, which is not counted" % address
    assert lines[1].startswith("closed loop: ")
    answers = int(re.fullmatch(r"answers   (\d+) in 2\.00 s", lines[3]).group(1))
    assert 780 <= answers <= 800
    assert re.fullmatch(r"a second  (39\d|400) answers, 0\.00 MB of bodies", lines[4])
    assert lines[5] == "errors    none"
    assert lines[7].split() == ["latency", "min", "median", "90", "%", "99", "%", "99.9", "%", "max"]
    assert lines[8].split() == ["10.0", "ms"] * 6
    assert re.fullmatch(r" 10\.0 ms to 10\.0 ms  \S+ %d" % answers, lines[10]) and len(lines) == 11


def test_the_columns_stand_below_their_titles(program, capsys):
    program.serve()
    program("-n", "5")
    titles, times = capsys.readouterr().out.splitlines()[7:9]
    assert [match.start() for match in re.finditer(r"\S+ ms", times)] == [
        titles.index(title) for title in ("min", "median", "90 %", "99 %", "99.9 %", "max")]


def test_the_report_of_an_open_loop(program, capsys):
    program.serve()
    assert program("--rate", "50", "-d", "2", "-w", "0.5", "-c", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(": 1 connection, 2 s after 0.5 s of warm-up, which is not counted")
    assert lines[1] == "open loop: 50 requests a second are due, and a latency counts from when its request was due"
    assert lines[3] in ("answers   100 in 2.00 s", "answers   99 in 2.00 s")


def test_so_many_requests_have_no_warm_up(program, capsys):
    address = program.serve()
    assert program("-n", "7", "-c", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "GET http://%s/: 2 connections, 7 requests" % address
    assert lines[3] == "answers   7 in 0.04 s"


@pytest.mark.parametrize("status, text", [(404, "4xx 6"), (503, "5xx 6"), (301, "none")])
def test_answers_that_say_it_went_wrong_are_errors_by_class(program, capsys, status, text):
    program.serve(status=status)
    assert program("-n", "6") == 0
    assert "errors    %s\n" % text in capsys.readouterr().out


def test_errors_are_told_with_the_first_one_s_words(program, capsys):
    count = []

    def handler(exchange):
        count.append(exchange)
        if len(count) == 2:
            exchange.connection.abort()
        elif len(count) != 4:
            exchange.respond(200 if len(count) < 6 else 404, b"")

    program.site.serve(handler)
    assert program("-n", "7", "-c", "1", "--timeout", "0.5") == 0
    errors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("errors")][0]
    assert re.fullmatch(r"errors    timeout 1 \(.*0\.5 s.*\), broken 1 \(.+\), 4xx 2", errors)


@pytest.mark.parametrize("work, said", [(0.0, False), (0.05, False), (0.095, True)])
def test_it_says_when_it_was_the_limit_itself(program, capsys, work, said):
    program.serve(0.1 - work)
    program.work = work
    assert program("-d", "2", "-c", "1") == 0
    assert ("\nthis program was itself the limit: it worked for 95 % of the time, and " in capsys.readouterr().out) is said
    assert program("--json", "-d", "2", "-c", "1") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["generator_was_the_limit"] is said and found["generator_load"] == pytest.approx(work * 10, abs=0.02)


def test_it_says_when_the_server_does_not_keep_up(program, capsys):
    program.serve()
    assert program("-d", "1", "-c", "1", "--rate", "200") == 0
    notes = capsys.readouterr().out.splitlines()[-1]
    assert re.match(r"1\d\d requests due and not begun at the end: ", notes)


def test_it_says_when_the_slowest_are_not_in_the_numbers(program, capsys):
    count = []

    def handler(exchange):
        count.append(exchange)
        if len(count) < 50:
            exchange.loop.call_later(THINKING, exchange.respond, 200, b"Hello")

    program.site.serve(handler)
    assert program("-d", "2", "-c", "1", "-w", "0") == 0
    note = capsys.readouterr().out.splitlines()[-1]
    assert re.match(r"1 request unanswered at the end, the oldest for 1\.5\d s: ", note)


@pytest.mark.parametrize("encoding, bar", [("utf-8", "█"), ("ascii", "#"), ("cp437", "#")])
def test_bars_are_made_of_what_stdout_can_show(program, monkeypatch, encoding, bar):
    program.serve()
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    assert program("-n", "3") == 0
    assert bar * 40 in written.getvalue().decode(encoding)


def test_a_password_is_not_shown(program, capsys):
    address = program.serve()
    assert bench.main(["http://user:secret@%s/" % address, "-n", "1"], "PROG") == 0
    assert bench.main(["http://user:secret@%s/" % address, "-n", "1", "--json"], "PROG") == 0
    out = capsys.readouterr().out
    assert "secret" not in out and "http://%s/" % address in out


# JSON

def test_json(program, capsys):
    address = program.serve(status=404)
    assert program("--json", "-c", "2", "-d", "1", "-w", "0.5") == 0
    out, err = capsys.readouterr()
    assert err == "" and out.count("\n") == 1
    said = json.loads(out)
    assert {name: said[name] for name in ("url", "method", "connections", "loop", "rate", "warmup")} == {
        "url": "http://%s/" % address, "method": "GET", "connections": 2, "loop": "closed", "rate": None, "warmup": 0.5}
    answers = said["answers"]
    assert 190 <= answers <= 200 and said["statuses"] == {"404": answers} and said["body_bytes"] == 5 * answers
    assert said["answers_per_second"] == pytest.approx(answers / said["seconds"])
    assert said["errors"] == {"connect": 0, "timeout": 0, "broken": 0, "4xx": answers}
    assert set(said["latency"]) == {"min", "mean", "max", "p50", "p90", "p99", "p99.9"}
    assert all(value == pytest.approx(THINKING, rel=0.02) for value in said["latency"].values())
    assert sum(row[2] for row in said["histogram"]) == answers
    assert said["generator_load"] == 0.0 and said["generator_was_the_limit"] is False
    assert (said["connections_made"], said["unanswered"], said["not_begun"]) == (2, 2, 0)


# what is sent

def test_what_is_sent(program, tmp_path):
    got = []

    def answer(exchange, body):
        got.append((exchange.request.method, exchange.request.target, exchange.request.headers.get("x-id"), bytes(body)))
        exchange.respond(200, b"")

    program.site.serve(lambda exchange: exchange.collect(answer))
    file = tmp_path / "body"
    file.write_bytes(b"from a file")
    url = "http://%s/a?b" % program.site.server.address
    for arguments in (["--body", "text", "-H", "X-Id: 7"], ["--body", "@%s" % file, "-m", "PUT"], ["-X", "HEAD"]):
        assert bench.main([url, "-n", "1", *arguments], "PROG") == 0
    assert got == [("POST", "/a?b", "7", b"text"), ("PUT", "/a?b", None, b"from a file"), ("HEAD", "/a?b", None, b"")]


@pytest.mark.needs("ssl")
def test_any_certificate_with_k(program, tmp_path, capsys):
    from icey.net import tls
    from tests.support import certificates

    program.serve(tls=tls.server_context(*certificates.folder(tmp_path).cert("expired")))
    url = "https://%s/" % program.site.server.address
    assert bench.main([url, "-n", "1"], "PROG") == 1
    err = capsys.readouterr().err
    assert err.startswith("PROG: no connection: ") and "certificate" in err and err.count("\n") == 1
    assert bench.main([url, "-n", "1", "-k"], "PROG") == 0


# what cannot be

def test_nobody_listens(program, capsys):
    address = program.serve()
    program.site.server.abort()
    program.site.turn(2)
    assert bench.main([address, "-d", "3"], "PROG") == 1
    assert re.fullmatch(r"PROG: no connection: .*refused.*\n", capsys.readouterr().err)


@pytest.mark.parametrize("seconds, arguments, said", [
    (100, ["-d", "1", "--timeout", "50"], r"no answer from \S+ within 1\.0 s"),
    (100, ["-d", "10", "--timeout", "0.5", "-c", "1"], r"no answer in time: .*0\.5 s.*"),
])
def test_nothing_is_answered(program, capsys, seconds, arguments, said):
    program.serve(seconds)
    assert program(*arguments) == 1
    assert re.fullmatch("PROG: %s\n" % said, capsys.readouterr().err)


def test_it_is_no_http(program, capsys):
    listener = icey.TCPListener(program.site.loop, "127.0.0.1:0")

    @listener.on_accept.attach
    def accept(listener, sock):
        sock.on_recv += lambda sock, view: sock.send_owned(b"220 hello\x07\r\n")

    assert bench.main([str(listener.address), "-d", "1", "-c", "2"], "PROG") == 1
    assert re.fullmatch(r"PROG: no answer: \S.*\n", capsys.readouterr().err)


@pytest.mark.parametrize("arguments, said", [
    (["ftp://a"], "ftp"), (["ws://a/"], "http and https are measured, not ws"), (["http://"], "host"),
    (["a", "-H", "nothing"], "a header is 'NAME: VALUE', not 'nothing'"),
    (["a", "-H", "a b: c"], "a b"), (["127.0.0.1:1", "-X", "a b"], "a b"),
    (["127.0.0.1:1", "--body", "@/no/such/file"], "cannot read /no/such/file: "),
    (["a", "-d", "x"], "seconds"), (["a", "-d", "0"], "more than 0"), (["a", "-d", "nan"], "seconds"),
    (["a", "-w", "-1"], "-1"), (["a", "-c", "0"], "a whole number from 1 on, not '0'"),
    (["a", "-n", "1.5"], "1.5"), (["a", "-r", "0"], "more than 0"),
    (["a", "-r", "x"], "requests a second"), (["a", "-d", "1", "-n", "1"], "not allowed"), ([], "URL"), (["a", "b"], "b"),
    (["a", "--conn", "1"], "--conn"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_mistake_is_one_line_and_status_2(arguments, said, capsys):
    try:
        left = bench.main(arguments, "PROG")
    except SystemExit as exc:
        left = exc.code
    err = capsys.readouterr().err
    assert left == 2 and said in err and re.fullmatch("PROG: .+\n", err)


def test_without_ssl(program, monkeypatch, capsys):
    def missing(*arguments, **options):
        raise icey.NetError("https needs Python's ssl module, which is missing here")

    program.serve()
    monkeypatch.setattr("icey.http.client.dialing.tls_module", missing)
    assert bench.main(["https://127.0.0.1:1/", "-k"], "PROG") == 1
    assert capsys.readouterr().err == "PROG: https needs Python's ssl module, which is missing here\n"


# the end

@with_signals
@each_signal
def test_a_signal_tells_what_was_measured_so_far(program, capsys, number):
    program.serve()
    program.site.loop.call_later(1.0, signal.raise_signal, number)
    assert program("-d", "60", "-w", "0.5", "-c", "1") == 0
    assert re.search(r"^answers   (49|50) in 0\.50 s$", capsys.readouterr().out, re.M)


@with_signals
def test_a_signal_before_there_is_anything_to_tell(program, capsys):
    program.serve()
    program.site.loop.call_later(0.2, signal.raise_signal, signal.SIGINT)
    assert program("-d", "60") == 1
    assert capsys.readouterr().err.startswith("PROG: no answer from ")


@with_signals
def test_a_second_ctrl_c_at_once_tells_nothing(program, capsys):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    program.serve()
    program.site.loop.call_later(1.0, twice)
    assert program("-d", "60", "--json") == 130
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("method", ["_let_go", "_as_json"])
def test_a_second_ctrl_c_while_it_ends(program, capsys, monkeypatch, method):
    monkeypatch.setattr(bench, method, interrupt)
    program.serve()
    assert program("-n", "10", "--json") == 130
    assert capsys.readouterr().out == ""


def test_ctrl_c_without_the_signal_module(program, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "signal", None)
    program.serve()
    program.site.loop.call_later(1.0, interrupt)
    assert program("-d", "60", "-w", "0.5", "-c", "1") == 0
    assert re.search(r"^answers   (49|50) in 0\.50 s$", capsys.readouterr().out, re.M)


def test_without_stdout_and_stderr(program, monkeypatch):
    program.serve()
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert program("-n", "1") == 0
    assert bench.main(["a", "-H", "x"], "PROG") == 2


def test_closed_stdout_and_stderr(program, monkeypatch, tmp_path):
    program.serve()
    with open(str(tmp_path / "out"), "w") as closed:
        pass
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "stderr", closed)
    assert program("-n", "1", "--json") == 1
    assert bench.main(["a", "-H", "x"], "PROG") == 2


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["at its beginning", "at its end"])
@pytest.mark.parametrize("error, status, told", [
    (OSError(errno.ENOSPC, "No space left on device"), 1, "PROG: cannot write to stdout: No space left on device\n"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, "")], ids=["full", "nobody reads"])
def test_a_report_that_cannot_be_written_is_told(program, monkeypatch, capsys, error, status, told, flags):
    """A result that was lost is not status 0."""
    class Lost(io.StringIO):
        def write(self, text):
            raise error

    program.serve()
    monkeypatch.setattr(sys, "stdout", Lost())
    try:
        assert program("-n", "1", *flags) == status
    except SystemExit as left:  # nothing was measured
        assert left.code == status and not flags
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("soft, hard, asked", [(1000, 1000, None), (131, 1000, 132), (131, 131, "Trouble")])
def test_it_may_open_as_many_connections_as_it_is_to(monkeypatch, soft, hard, asked):
    resource = pytest.importorskip("resource")
    set_to = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: set_to.append(limits))
    if asked == "Trouble":
        with pytest.raises(Trouble, match="100 connections are more than .* 131 files at once"):
            bench._make_room(100)
    else:
        bench._make_room(100)
    assert set_to == ([(asked, hard)] if asked == 132 else [])


def test_the_selector_of_an_open_loop():
    options = bench._parser("PROG").parse_args(["a", "--rate", "5"])
    with bench._loop(options) as loop:
        assert "SelectSelector" in repr(loop.poller._selector)
    with bench._loop(bench._parser("PROG").parse_args(["a", "--rate", "5", "-c", "501"])) as loop:
        assert type(loop.poller) is type(icey.base.poller.best_poller())


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit) as left:
        bench.main(["--help"], "PROG")
    said = capsys.readouterr().out
    assert left.value.code == 0 and said.startswith("usage: PROG [options] URL\n")
    assert max(map(len, said.splitlines())) < 80
    for action in bench._parser("PROG")._actions:
        assert action.help


def test_as_a_program_against_a_server_of_its_own():
    server = subprocess.Popen([sys.executable, "-m", "icey", "serve", "0", "--quiet"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    try:
        url = re.search(r"http://\S+/", server.stdout.readline()).group()
        done = subprocess.run([sys.executable, "-m", "icey", "bench", url + "README.md", "-n", "20", "-c", "2", "--json"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                              universal_newlines=True)
    finally:
        server.kill()
        server.communicate()
    assert (done.returncode, without_slowness(done.stderr)) == (0, "")
    said = json.loads(done.stdout)
    assert said["answers"] == 20 and said["latency"]["min"] > 0
