"""python3 -m icey ws: what goes, what comes, how it ends, and the exit status. On one loop with its server; see talking.py."""
import errno
import os
import re
import socket

import pytest

import icey
from icey.tools.cli.console import Console
from icey.tools.ws import codes as wscodes, command as ws, talk as wsclient
from tests.fuzz.frames import PING, TEXT, closing as closing_frame, frame
from tests.support import streams, talking

debug, clock, reports, loop, booth = streams.debug, streams.clock, streams.reports, streams.loop, talking.booth


def late(seconds):
    """A server that echoes after a while."""
    def prepare(ws):
        ws.on_message += lambda ws, data: ws.loop.call_later(seconds, lambda: ws.closing or ws.send(data))
    return prepare


def closing(code, reason=""):
    """A server that closes at the first message."""
    return lambda ws: ws.on_message.attach(lambda ws, data: ws.close(code, reason))


def failing_file(number):
    class File:
        def write(self, data):
            raise OSError(number, os.strerror(number))
    return File()


# -- lines and messages ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("stdin, heard", [
    (b"hi\n", ["hi"]), (b"hi", ["hi"]), (b"a\r\nb\n\nc", ["a", "b", "", "c"]), (b"", []), (b"\n", [""]),
    ("Grüße\n".encode(), ["Grüße"]), (b"/ping\n//x\n", ["/ping", "//x"]),
])
def test_each_line_is_a_message_and_each_message_a_line(booth, stdin, heard):
    booth.serve()
    assert booth.talk(stdin=stdin) == 0
    assert booth.heard == heard
    assert booth.out == "".join(text + "\n" for text in heard).encode()
    assert booth.err == ""
    assert booth.settle() == [(1000, "")]


def test_a_file_is_stdin_too(booth, tmp_path):
    lines = [str(number) * 150 for number in range(700)]
    (tmp_path / "file").write_text("\n".join(lines))
    fd = os.open(str(tmp_path / "file"), os.O_RDONLY)
    booth.fds.append(fd)
    booth.serve()
    assert booth.talk(stdin=fd) == 0
    assert booth.heard == lines and booth.out == ("\n".join(lines) + "\n").encode()


def test_without_stdin_it_listens_for_a_second(booth):
    booth.serve(lambda ws: ws.send("hello"))
    assert booth.talk(stdin=None) == 0
    assert (booth.out, booth.loop.now) == (b"hello\n", 1001.0)


@pytest.mark.parametrize("arguments, seconds, out, passed", [
    ([], 0.9, b"a\nb\n", 1.9), ([], 1.1, b"", 1.0), (["--wait", "2"], 1.5, b"a\nb\n", 3.5), (["--wait", "0"], 0.1, b"", 0),
    (["-n", "1"], 600, b"a\n", 600), (["-n", "3", "--wait", "2"], 1, b"a\nb\n", 3),
    (["--wait", "inf", "-n2"], 700, b"a\nb\n", 700),
])
def test_answers_are_waited_for(booth, arguments, seconds, out, passed):
    booth.serve(late(seconds))
    assert booth.talk("--ping-interval", "0", *arguments, stdin=b"a\nb\n") == 0
    assert booth.out == out
    assert booth.loop.now - 1000 == pytest.approx(passed, abs=0.01)


def test_binary_messages_are_shown_by_their_size_and_beginning(booth):
    messages = [b"", b"a", bytes(range(16)), bytes(range(100))]
    booth.serve(lambda ws: [ws.send(data) for data in messages])
    assert booth.talk() == 0
    assert booth.out.decode().splitlines() == [
        "[binary, 0 bytes]", "[binary, 1 byte: 61]", "[binary, 16 bytes: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f]",
        "[binary, 100 bytes: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f ...]"]
    assert booth.talk("-b", out_terminal=True) == 0
    assert booth.out.startswith(b"[binary, 0 bytes]\n[binary, 1 byte")


def test_with_b_lines_are_binary_messages_and_come_out_as_they_came(booth):
    booth.serve()
    assert booth.talk("-b", stdin=b"\xff\0\r\n\ntext") == 0
    assert booth.heard == [b"\xff\0\r", b"", b"text"]
    assert booth.out == b"\xff\0\rtext"


def test_a_terminal_is_not_steered(booth):
    text = "a\tb\n\x1b[31mred\r\x07 gr\xfcn \x9b\u202e"
    booth.serve(lambda ws: ws.send(text))
    assert booth.talk() == 0
    assert booth.out == (text + "\n").encode()
    assert booth.talk(out_terminal=True) == 0
    assert booth.out.decode() == "a\tb\n\\x1b[31mred\\r\\x07 gr\xfcn \\x9b\\u202e\n"


def test_a_line_that_cannot_be_sent_is_told_and_the_others_are_sent(booth):
    booth.serve()
    assert booth.talk("--max-message", "10", stdin=b"ok\nab\xff\n" + b"x" * 11 + b"\n" + b"y" * 10 + b"\n" + b"z" * 70) == 1
    assert booth.out == b"ok\nyyyyyyyyyy\n"
    assert booth.err.splitlines() == [
        "ws: line 2 is not UTF-8, see its byte 3: it was not sent (-b sends lines as binary messages)",
        "ws: line 3 is longer than 10 bytes: it was not sent (--max-message)",
        "ws: line 5 is longer than 10 bytes: it was not sent (--max-message)"]
    assert booth.settle() == [(1000, "")]


def test_stdin_that_cannot_be_read(booth, tmp_path):
    fd = os.open(str(tmp_path), os.O_RDONLY)
    booth.fds.append(fd)
    booth.serve()
    assert booth.talk(stdin=fd) == 1
    assert booth.err.startswith("ws: cannot read stdin: ")


# -- backpressure ----------------------------------------------------------------------------------------------------

def test_stdin_waits_for_the_server(booth, tmp_path):
    lines = [os.urandom(5000).hex() for _ in range(700)]  # more than the kernel takes
    (tmp_path / "file").write_text("\n".join(lines))
    fd = os.open(str(tmp_path / "file"), os.O_RDONLY)
    booth.fds.append(fd)
    read = []

    def prepare(ws):
        ws.pause()
        ws.loop.call_later(3, lambda: (read.append(os.lseek(fd, 0, os.SEEK_CUR)), ws.resume()))

    booth.serve(prepare, compression=False)
    assert booth.talk("--no-compression", stdin=fd) == 0
    assert booth.heard == lines
    assert 0 < read[0] < 6500000


def test_the_server_waits_for_stdout(booth, loop):
    messages = ["%06d" % number * 1000 for number in range(100)]
    reading, writing = booth.pipe()
    out = open(writing, "wb", buffering=0)
    booth.fds.remove(writing)
    got, paused = [], []
    os.set_blocking(reading, False)

    def prepare(ws):
        for text in messages:
            ws.send(text)

    def read(timer):
        try:
            got.append(os.read(reading, 8192))
        except BlockingIOError:
            timer.stop()

    def begin():
        paused.append(sum(map(len, got)))
        icey.Timer(loop, 0.01, read, interval=0.01).start()

    booth.serve(prepare)
    loop.call_later(2, begin)
    with out:
        assert booth.talk("--wait", "1.5", out=out) == 0
        while True:
            try:
                got.append(os.read(reading, 1 << 20))
            except BlockingIOError:
                break
    assert b"".join(got).decode().splitlines() == messages


def test_nobody_reads_stdout_any_more(booth):
    reading, writing = booth.pipe()
    booth.serve(lambda ws: ws.send("x" * 100000))
    booth.close_fd(reading)
    with open(writing, "wb", buffering=0) as out:
        booth.fds.remove(writing)
        assert booth.talk("-n", "5", out=out) == 141
    assert booth.err == ""
    assert booth.settle() == [(1001, "")]


@pytest.mark.parametrize("number, status, err", [
    (errno.ENOSPC, 1, "ws: cannot write to stdout: %s\n" % os.strerror(errno.ENOSPC)), (errno.EPIPE, 141, "")])
def test_stdout_that_takes_nothing(booth, number, status, err):
    booth.serve()
    assert booth.talk(stdin=b"a\nb\n", out=failing_file(number)) == status
    assert booth.err == err


def test_no_stdout(booth, loop):
    booth.serve()
    options = ws.parse([booth.url])
    ws.prepare(options, {})
    with pytest.raises(wsclient.Trouble, match="there is no stdout"):
        ws.run(loop, options, Console("ws", None, None), None)


# -- how it ends -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("code, reason, status, told", [
    (1000, "", 0, "1000 (normal closure)"), (1001, "bye", 0, "1001 (going away): bye"),
    (1008, "no\n", 8, r"1008 (policy violation): no\n"), (1011, "", 8, "1011 (internal error)"),
    (4001, "login", 8, "4001 (the application's own): login"),
])
def test_the_server_closes(booth, code, reason, status, told):
    booth.serve(closing(code, reason))
    assert booth.talk(stdin=b"x\n") == status
    assert (booth.out, booth.err) == (b"", "closed by the server: %s\n" % told)
    assert booth.talk("-q", stdin=b"x\n") == status
    assert booth.err == ""


@pytest.mark.parametrize("code, text", [
    (1005, "no code was given"), (1006, "without a close frame"), (2999, "of no known meaning"), (3000, "unauthorized"),
    (3999, "a library's or framework's own"), (4999, "the application's own"), (5000, "of no known meaning")])
def test_codes_have_meanings(code, text):
    assert wscodes.meaning(code) == text


def test_the_server_closes_before_all_was_sent(booth):
    booth.serve(closing(1000))
    assert booth.talk(stdin=b"one\n" + (b"x" * 30000 + b"\n") * 2) in (0, 7)  # a pipe is all sent, mostly
    stdin, writing = booth.pipe()
    os.write(writing, b"one\ntw")
    assert booth.talk(stdin=stdin) == 7
    assert booth.err == ("closed by the server: 1000 (normal closure)\n"
                         "ws: the server closed before all of stdin was sent: from line 2 on it was not\n")


def test_a_line_that_comes_while_the_server_says_goodbye(booth, loop):
    stdin, writing = booth.pipe()
    booth.raw(lambda sock: (sock.send_owned(closing_frame(1000)), loop.call_later(0.5, os.write, writing, b"late\nlater\n")))
    assert booth.talk(stdin=stdin) == 7
    assert booth.err.endswith("ws: the server closed before all of stdin was sent: from line 1 on it was not\n")


def test_the_server_closes_before_all_came(booth):
    booth.serve(lambda ws: (ws.send("one"), ws.close()))
    assert booth.talk("-n", "2") == 7
    assert booth.out == b"one\n"
    assert booth.err == "closed by the server: 1000 (normal closure)\nws: the server closed after 1 of 2 messages\n"


def test_the_connection_breaks(booth):
    booth.serve(lambda ws: ws.on_message.attach(lambda ws, data: ws.abort()))
    assert booth.talk(stdin=b"x\n") == 7
    assert re.fullmatch("ws: ws://.*: (the connection ended without a close frame|Connection reset by peer)\n", booth.err)


def test_the_server_breaks_the_protocol(booth):
    booth.raw(lambda sock: sock.send(b"\x83\0"))
    assert booth.talk("-n1") == 7
    assert booth.err.startswith("ws: %s: 1002 " % booth.url) and booth.err.count("\n") == 1


def test_a_message_over_the_limit(booth):
    booth.serve(lambda ws: ws.send("x" * 100))
    assert booth.talk("--max-message", "99") == 7
    assert "1009" in booth.err
    assert booth.talk("--max-message", "100") == 0


# -- no connection ---------------------------------------------------------------------------------------------------

def test_the_server_does_not_switch(booth):
    booth.answer(lambda exchange: exchange.respond(404, b"none"))
    assert booth.talk() == 8
    assert booth.err == "ws: %s: the server did not switch to WebSocket, it answered 404 Not Found\n" % booth.url
    booth.answer(lambda exchange: exchange.respond(301, headers={"Location": "wss://there/"}))
    assert booth.talk() == 8
    assert booth.err.endswith("it answered 301 Moved Permanently, see wss://there/\n")


def test_a_switch_that_is_none(booth):
    booth.raw(head=talking.SWITCH % b"x")
    assert booth.talk() == 7
    assert "Sec-WebSocket-Accept" in booth.err


def test_nobody_listens(booth):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        booth.url = "127.0.0.1:%d" % taken.getsockname()[1]
        assert booth.talk() == 4
    assert re.fullmatch("ws: cannot connect to 127.0.0.1:[0-9]+: .+\n", booth.err)


def test_a_name_nobody_knows(booth, monkeypatch):
    def connect(*arguments, **options):
        raise icey.ResolveError("cannot resolve 'nosuch.test': no")

    monkeypatch.setattr(wsclient.Caller, "connect", connect)
    booth.url = "ws://nosuch.test/"
    assert booth.talk() == 3
    assert booth.err == "ws: cannot resolve 'nosuch.test': no\n"


def test_a_server_that_does_not_answer(booth):
    booth.raw(head=b"")
    assert booth.talk("--timeout", "2") == 6
    assert booth.err == "ws: no WebSocket handshake with %s within 2 s\n" % booth.url[len("ws://"):-1]
    assert booth.loop.now == pytest.approx(1002, abs=1.1)


@pytest.mark.parametrize("url, text", [
    ("ftp://a/", "ws: ftp: only ws and wss are spoken here\n"), ("ws://a/#b", "ws: a WebSocket's URL has no #fragment"),
    ("ws://", "ws: 'ws://': the host is missing"), ("ws://a b@c@d/", "ws: 'ws://...@d/': ")])
def test_a_url_that_is_none(booth, url, text):
    booth.url = url
    assert booth.talk() == 2
    assert booth.err.startswith(text) and booth.err.count("\n") == 1


@pytest.mark.needs("ssl")
def test_tls(booth, tmp_path):
    from icey.net import tls
    from icey.tools.cli.certificate import self_signed_files

    cert, key = self_signed_files(str(tmp_path), ["127.0.0.1"])
    booth.serve(tls=tls.server_context(cert, key))
    assert booth.url.startswith("wss://")
    assert booth.talk("--ca", cert, stdin=b"hi\n") == 0
    assert (booth.out, booth.err) == (b"hi\n", "")
    assert booth.talk(stdin=b"hi\n") == 5
    assert booth.err.count("\n") == 1
    assert booth.talk("-k", stdin=b"hi\n") == 0
    assert booth.err.startswith("-k: certificates are not checked")


# -- what is asked ---------------------------------------------------------------------------------------------------

def test_the_handshake_says_what_the_flags_say(booth):
    booth.serve(subprotocols=("chat",))
    assert booth.talk("-H", "X-One: 1", "--origin", "https://a.test", "-s", "other", "-s", "chat", "-v") == 0
    headers = booth.exchanges[0].request.headers
    assert [headers.get(name) for name in ("x-one", "origin", "sec-websocket-protocol")] == [
        "1", "https://a.test", "other, chat"]
    assert booth.err == "connected to %s, subprotocol chat\nclosed: 1000 (normal closure)\n" % booth.url
    assert booth.talk("--no-compression") == 0
    assert "sec-websocket-extensions" not in booth.exchanges[1].request.headers


def test_a_proxy_of_the_environment(booth):
    asked = []
    booth.answer(lambda exchange: (asked.append(exchange.request.method), exchange.respond(403)))
    proxy, booth.url = booth.url, "ws://there.test/"
    assert booth.talk(environ={"http_proxy": proxy}) == 4
    assert asked == ["CONNECT"] and "403" in booth.err


def test_pings_are_told_of(booth):
    booth.serve(lambda ws: (ws.ping(b"x\xff"), ws.loop.call_later(0.5, ws.close)))
    assert booth.talk("-v") == 0
    assert booth.err.splitlines()[1:] == [r'ping "x\xff", answered', "closed by the server: 1000 (normal closure)"]
    assert booth.talk() == 0
    assert booth.err == "closed by the server: 1000 (normal closure)\n"


def test_a_ping_behind_the_goodbye_is_not_told(booth):
    booth.raw(lambda sock: sock.send_owned(frame(TEXT, b"one") + frame(PING, b"late") + closing_frame(1000)))
    assert booth.talk("-v", "-n1") == 0
    assert booth.err == "connected to %s\nclosed: 1000 (normal closure)\n" % booth.url


# -- the process's side ----------------------------------------------------------------------------------------------

def interrupted(*arguments):
    raise KeyboardInterrupt


def test_main_says_what_is_wrong_in_one_line(capsys, monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert ws.main(["127.0.0.1:%d" % taken.getsockname()[1]], "PROG") == 4
    assert capsys.readouterr().err.startswith("PROG: cannot connect to 127.0.0.1:")
    assert ws.main([], "PROG") == 2
    assert capsys.readouterr().err == "PROG: a URL to talk to, or --listen PORT\n"
    monkeypatch.setattr(ws, "run", interrupted)
    assert ws.main(["127.0.0.1:1"], "PROG") == 130


@pytest.mark.parametrize("arguments, text", [
    (["--listen", "0", "ws://a/"], "a URL to talk to, or --listen PORT, not both"),
    (["--listen", "0", "-H", "A: b"], "-H is not for --listen"), (["--listen", "0", "-n", "1"], "-n is not for --listen"),
    (["--bind", "::1", "ws://a/"], "--bind goes with --listen"),
    (["--self-signed", "ws://a/"], "--self-signed goes with --listen"),
    (["--key", "k", "ws://a/"], "--key goes with --cert"), (["-H", "x", "ws://a/"], "a header is 'NAME: VALUE', not 'x'"),
    (["--listen", "0", "--key", "k"], "--key goes with --cert"), (["--origin", "a\nb", "ws://a/"], None),
    (["--listen", "0", "--bind", "unix:"], None), (["-s", "a b", "ws://127.0.0.1:1/"], None),
])
def test_flags_that_contradict(arguments, text, capsys, monkeypatch):
    assert ws.main(arguments, "PROG") == 2
    err = capsys.readouterr().err
    assert err.startswith("PROG: " + (text or "")) and err.count("\n") == 1


@pytest.mark.parametrize("arguments, text", [
    (["-n", "0"], "argument -n/--messages: a number of at least 1 is wanted, not '0'"),
    (["--wait", "x"], "argument --wait: a number of seconds is wanted, not 'x'"),
    (["--ping-interval", "-1"], "argument --ping-interval: a number of seconds is wanted, not '-1'"),
    (["--listen", "65536"], "argument -l/--listen: a port is 0 to 65535, not '65536'"),
    (["--nope"], "unrecognized arguments: --nope"),
])
def test_a_wrong_flag_is_one_line_and_status_2(arguments, text, capsys):
    with pytest.raises(SystemExit) as left:
        ws.main([*arguments, "ws://a/"], "PROG")
    assert (left.value.code, capsys.readouterr().err) == (2, "PROG: %s (--help tells more)\n" % text)


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit) as left:
        ws.main(["--help"], "PROG")
    said = capsys.readouterr().out
    assert left.value.code == 0 and said.startswith("usage: PROG [options] URL | --listen PORT\n")
    assert max(map(len, said.splitlines())) < 80
    for action in ws._parser("PROG")._actions:
        assert action.help and all(flag in said for flag in action.option_strings)


def test_stdin_that_is_none(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert ws._stdin() is None
