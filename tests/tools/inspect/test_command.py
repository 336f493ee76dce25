"""python3 -m icey inspect: what a terminal shows, what a pipe gets, how it ends. The other end is an inspector, or a liar."""
import io
import json
import os
import re
import socket
import threading

import pytest

import icey
from icey.tools.inspect import Inspector, command
from icey.tools.inspect.command import CLEAR, HIDE, HOME, LINE_END, REST, SHOW, main
from tests.support import streams

debug, clock = streams.debug, streams.clock


class Screen(io.StringIO):
    """A stdout. terminal: of this size, (columns, lines), which may change."""

    def __init__(self, size=None, broken=None):
        super().__init__()
        self.size = size
        self.broken = broken

    encoding = "utf-8"

    def isatty(self):
        return self.size is not None

    def write(self, text):
        if self.broken is not None:
            raise self.broken
        return super().write(text)


class Told:
    """Answers in a thread: with what `answer(n)` says at the n-th time (bytes of a whole answer, None: it closes)."""

    def __init__(self, answer):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d/" % self.sock.getsockname()[1]
        self.requests = []
        self.thread = threading.Thread(target=self.serve, args=(answer,), daemon=True)
        self.thread.start()

    def serve(self, answer):
        number = 0
        while True:
            try:
                near, _ = self.sock.accept()
            except OSError:
                return
            with near:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = near.recv(65536)
                    if not piece:
                        break
                    head += piece
                self.requests.append(head)
                said = answer(number)
                number += 1
                if said is None:
                    self.sock.close()
                    return
                try:
                    near.sendall(said)
                except OSError:  # it was too much
                    pass

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # which wakes the thread
        except OSError:  # elsewhere than on Linux
            pass
        self.sock.close()
        self.thread.join(0.5)


def whole(body, status="200 OK"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ("HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))).encode() + body


@pytest.fixture
def told():
    made = []

    def tell(answer):
        made.append(Told(answer))
        return made[-1]

    yield tell
    for one in made:
        one.close()


@pytest.fixture
def out(monkeypatch):
    """Makes stdout a Screen."""
    monkeypatch.setattr(command, "EVERY", 0.01)
    monkeypatch.setenv("TERM", "xterm")

    def screen(size=None, broken=None):
        made = Screen(size, broken)
        monkeypatch.setattr("sys.stdout", made)
        monkeypatch.setattr(command, "_size_of_terminal", lambda: made.size)
        return made
    return screen


PICTURE = {
    "program": "prog.py", "pid": 7, "python": "cpython 3.11", "icey": "1", "debug": True,
    "loop": {"turns": 12.5, "busy": 0.25, "held": 0.0, "handles": 9, "keeping": 1, "timers": 2, "errors": 3},
    "slots": [{"who": "slow (/a/b/c.py:3)", "runs": "slow (/a/b/c.py:3)", "calls": 4, "total": 0.2, "longest": 0.1}],
    "kinds": [{"kind": "TCPSocket", "count": 3, "queued": 2048}, {"kind": "Timer", "count": 2, "queued": 0}],
    "handles": [],
    "servers": [{"number": 1, "address": "127.0.0.1:80", "name": "", "stopping": False, "states": {"upgraded": 1},
                 "accepted": 8, "answering": [{"peer": "127.0.0.1:5", "request": "GET /slow", "state": "thinks", "seconds": 1.5,
                                               "sent": 0, "queued": 5, "high_water": 9}]}],
    "websockets": [{"number": 2, "peer": "127.0.0.1:6", "name": "", "side": "server", "state": "open", "age": 2, "queued": 0,
                    "high_water": 9}],
    "streams": [
        {"number": 1, "name": "camera", "state": "active", "error": "", "entered": 10, "dropped": 0,
         "sources": [{"kind": "Signal", "title": "", "number": None}], "slots": ["f (x.py:1)"], "taken_by": 1, "feeds": [2],
         "stages": [{"order": 0, "kind": "Detect", "retention": "borrowed", "deferred": False, "boundary": False},
                    {"order": 5, "kind": "SyncPacketQueue", "retention": "cloned", "deferred": True, "boundary": True,
                     "depth": 3, "most": 16, "drop": "oldest", "dropped": 2}]},
        {"number": 2, "name": "", "state": "error", "error": "KeyError", "entered": None, "dropped": 4,
         "sources": [{"kind": "PacketStream", "title": "camera", "number": 1}], "slots": [], "taken_by": 0, "feeds": [],
         "stages": []}],
    "errors": [{"type": "StateError", "text": "send() before connect()", "contract": "start, then send", "instead": "connect",
                "where": "f (/x/y.py:2)", "handle": "Timer", "count": 3, "ago": 1.0}],
    "more": {},
}


def test_once_is_a_page_of_text(out, told):
    screen = out()
    assert main([told(lambda n: whole(PICTURE)).url]) == 0
    text = screen.getvalue()
    assert "\x1b" not in text and text.endswith("\n")
    for line in ("prog.py   process 7, cpython 3.11, icey 1, debug mode",
                 "loop      12.5 turns/s, 25.0 % of the time in callbacks, 0 s in long turns; 9 handles, 2 timers among them",
                 "handles   3 TCPSocket (2.0 KiB queued), 2 Timer", "stream    camera   active   0 packets/s",
                 "  Signal > Detect | SyncPacketQueue 3/16 (2 dropped) > stream 2, 1 slot",
                 "stream    stream 2   error: KeyError",
                 "  camera   (4 came too late or too early)", "server    127.0.0.1:80   8 accepted, 1 upgraded",
                 "     1.5 s  thinks   GET /slow  127.0.0.1:5  5 B queued", "     2.0 s  open       127.0.0.1:6, server's end",
                 "  100.0 ms         4  slow (c.py:3)", "     3 x     1.0 s ago  StateError in f (y.py:2)",
                 "          send() before connect(). Contract: start, then send. Instead: connect"):
        assert line + "\n" in text, line


def test_json_is_what_the_inspector_said(out, told):
    screen = out((80, 24))
    assert main(["--json", told(lambda n: whole(PICTURE)).url]) == 0
    assert json.loads(screen.getvalue()) == PICTURE


def test_a_terminal_is_drawn_over_and_fits(out, told):
    screen = out((40, 10))
    sizes = [(40, 10), (40, 10), (20, 5), (200, 60)]

    def answer(number):
        if number > len(sizes):
            return None
        screen.size = sizes[number - 1] if number else screen.size
        return whole(PICTURE)

    assert main([told(answer).url]) in (4, 7), "it went away"
    pages = screen.getvalue().split(HOME)
    assert pages[0] == HIDE + CLEAR and screen.getvalue().endswith(SHOW)
    assert [page.endswith(HIDE + CLEAR) for page in pages] == [True, False, True, True, False], "cleared anew at another size"
    for page, (columns, lines) in zip(pages[1:], sizes):
        rows = page[:page.index(REST)].split(LINE_END)[:-1]
        assert 0 < len(rows) < lines and max(map(len, rows)) <= columns
        assert (rows[-1] != "" and len(rows) == lines - 1) or columns == 200


def test_who_went_away_in_the_middle_is_one_line(out, told, capsys):
    out((80, 24))
    assert main([told(lambda n: whole(PICTURE) if n < 2 else whole(PICTURE)[:80]).url]) == 7
    said = capsys.readouterr().err
    assert re.fullmatch(r"icey inspect: [^\n]*middle of its answer: 20 of [0-9]+ bytes had come\n", said), said


@pytest.mark.parametrize("url, status, text", [
    ("ftp://127.0.0.1/", 2, "ftp"), ("ws://127.0.0.1/", 2, "an inspector is http"), ("http://", 2, ""),
    ("", 2, ""), ("http://127.0.0.1:99999/", 2, ""), ("http://127.0.0.1:1/?token=%0d%0a", 2, "a token is letters and digits"),
    ("http://127.0.0.1:1/?token=", 2, "a token is letters and digits"), ("http://a b/", 2, ""),
    ("127.0.0.1:1", 4, "127.0.0.1:1"),
    ("http://127.0.0.1:1/\x1b[2J", None, "")])
def test_urls_that_are_none(out, capsys, url, status, text):
    out()
    got = main([url])
    said = capsys.readouterr().err
    assert got == status or (status is None and got in (2, 4))
    assert said.count("\n") == 1 and text in said and "\x1b" not in said


def test_a_token_goes_where_no_log_has_it(out, told):
    out()
    server = told(lambda n: whole(PICTURE))
    assert main([server.url + "?token=abc1"]) == 0
    for request in server.requests:
        assert request.startswith(b"GET /state.json HTTP/1.1\r\n") and b"\r\nAuthorization: Bearer abc1\r\n" in request


@pytest.mark.parametrize("status, text", [
    ("401 Unauthorized", "401 Unauthorized"), ("403 Forbidden", "403"), ("404 Not Found", "404"), ("302 Found", "302"),
    ("500 \x1b[2J", "")])
def test_a_status_that_is_no_picture(out, told, capsys, status, text):
    out()
    assert main([told(lambda n: whole(b"a token is asked for\x1b[2J\n", status)).url]) in (8, 7)
    said = capsys.readouterr().err
    assert text in said and said.count("\n") == 1 and "\x1b" not in said


def changed(**values):
    return dict(PICTURE, **values)


@pytest.mark.parametrize("body", [
    b"", b"no json", b"[]", b"7", b"null", b'"x"', b"{}", b"[" * 100_000, b"\xff\xfe", b"9" * 10_000,
    changed(loop=None), changed(loop={}), changed(streams=7), changed(streams=[{}]), changed(streams=[{"number": []}]),
    changed(pid="x"), changed(pid=1e400), changed(errors=[[]]), changed(kinds={"a": 1}), changed(servers=[1]),
    changed(loop=dict(PICTURE["loop"], turns="x")), changed(loop=dict(PICTURE["loop"], handles=float("nan")))])
def test_what_is_no_picture_is_one_line(out, told, capsys, body):
    out((80, 24))
    assert main([told(lambda n: whole(body)).url]) == 7
    said = capsys.readouterr().err
    assert re.fullmatch(r"icey inspect: http://127.0.0.1:\d+/state.json is no inspector\n", said), said


def test_names_neither_steer_the_terminal_nor_take_long(out, told):
    screen = out((60, 24))
    evil = "\x1b]0;x\x07\x9b2J\r\n\u202e\u0301" + "\u754c" * 300_000
    picture = changed(program=evil, slots=[dict(PICTURE["slots"][0], who=evil)])
    main([told(lambda n: whole(picture) if n < 2 else None).url])
    text = screen.getvalue()
    for known in (HIDE, CLEAR, HOME, REST, SHOW, LINE_END):
        text = text.replace(known, "")
    assert text.isprintable(), ascii(text[:200])


def test_what_is_too_large_is_refused(out, told, monkeypatch, capsys):
    out()
    monkeypatch.setattr(command, "MOST_BODY", 1000)
    assert main([told(lambda n: whole(PICTURE)).url]) == 7
    assert capsys.readouterr().err.count("\n") == 1


def test_nobody_reads_it(out, told, capsys):
    for size in (None, (80, 24)):
        out(size, BrokenPipeError())
        assert main([told(lambda n: whole(PICTURE)).url]) == 141
        assert capsys.readouterr().err == ""


def test_a_terminal_that_cannot_be_drawn_over_gets_it_once(monkeypatch, out, told):
    screen = out((80, 24))
    monkeypatch.setenv("TERM", "dumb")
    assert main([told(lambda n: whole(PICTURE)).url]) == 0
    assert "prog.py" in screen.getvalue() and "\x1b" not in screen.getvalue()


def test_without_a_stdout(monkeypatch, out, told):
    out()
    monkeypatch.setattr("sys.stdout", None)
    assert main([told(lambda n: whole(PICTURE)).url]) == 0


def test_a_stdout_that_knows_ascii_alone(out, told):
    screen = out()
    screen.encoding = "ascii"
    assert main([told(lambda n: whole(changed(program="gr\u00fcn \u754c"))).url]) == 0
    assert "gr\\xfcn \\u754c" in screen.getvalue()


@pytest.mark.needs("signal")
@pytest.mark.parametrize("size", [None, (80, 24)])
def test_ctrl_c_ends_it_and_shows_the_cursor(out, told, size):
    import signal

    screen = out(size)

    def answer(number):
        if number == (0 if size is None else 2):
            os.kill(os.getpid(), signal.SIGINT)
        return whole(PICTURE)

    assert main([told(answer).url]) == 0
    assert screen.getvalue().endswith(SHOW) or size is None


def test_it_shows_an_inspector(out):
    screen, ready, done = out(), threading.Event(), []

    def work():
        with icey.Loop(False) as loop, Inspector(loop, token="abc1") as inspector:
            loop.call_later(3600, print)
            done.extend([inspector.url, loop])
            ready.set()
            loop.run()
            inspector.abort()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(20)
    url, loop = done
    try:
        assert main([url]) == 0
        assert "loop      " in screen.getvalue() and "handles   1 Timer" in screen.getvalue()
        assert main([url.replace("abc1", "abc2")]) == 8
    finally:
        loop.post(loop.stop)
        thread.join(20)


def test_help(out):
    screen = out()
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0 and "ICEY_INSPECT" in screen.getvalue()
