"""icey get: what goes wrong, in one line and an exit status; TLS and its refusals. See getting.py."""
import io
import os

import pytest

import icey
from icey.http.semantics.url import URL
from icey.tools.cli import netoptions
from icey.tools.cli.console import Console
from icey.tools.get import command as get, transfer
from tests.support import getting, streams
from tests.support.getting import answer, raising, slowly

debug, clock, reports, loop, desk = streams.debug, streams.clock, streams.reports, streams.loop, getting.desk

HELLO = answer("200 OK", "Content-Type: text/plain", body=b"Hello")


# -- what goes wrong -------------------------------------------------------------------------------------------------

def test_nobody_listens(desk):
    server = desk.can()
    server.listener.abort()
    streams.turn(desk.loop, 2)
    assert desk.get("/") == 4
    assert desk.err.startswith("get: cannot connect to 127.0.0.1:") and desk.err.count("\n") == 1


def test_no_answer_in_time(desk):
    unanswered = []
    desk.serve(unanswered.append)
    assert desk.get("--timeout", "7.5", "/") == 6
    assert desk.err == "get: no answer from %s within 7.5 s\n" % desk.url[7:]
    assert desk.get("/") == 6  # answer_timeout
    assert desk.err == "get: %s/: waited 30 s for an answer\n" % desk.url


def test_an_answer_that_is_not_whole_in_time(desk):
    """It says how much had come: no answer at all is another matter."""
    begun = []

    def slot(exchange):
        begun.append(exchange)
        exchange.response.headers["Content-Length"] = "1000"
        exchange.send_owned(bytes(300))

    desk.serve(slot)
    assert desk.get("--timeout", "7.5", "-q", "-o", "x", "/") == 6
    assert desk.err == "get: the answer from %s was not whole within 7.5 s: 300 of 1000 bytes had come\n" % desk.url[7:]
    assert desk.get("-q", "-o", "x", "/") == 6  # body_timeout
    assert desk.err == ("get: %s/: waited 30 s for more of the answer's body: 300 of 1000 bytes had come\n" % desk.url)
    assert desk.files() == []


def test_a_download_may_take_as_long_as_it_moves(desk):
    slowly(desk, seconds=250)
    assert desk.get("/") == 0
    assert len(desk.out) == 100000


@pytest.mark.parametrize("reply", [
    b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHell", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
    b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: gopher://x/\r\nContent-Length: 0\r\n\r\n",
], ids=["nothing", "cut", "chunks-cut", "another-protocol", "upgrade", "redirect"])
def test_a_server_that_breaks_its_protocol(desk, reply):
    desk.can(reply)
    assert desk.get("/") == 7
    assert desk.err.startswith("get: http://127.0.0.1:") and desk.err.count("\n") == 1


def test_a_reset(desk):
    import socket
    import struct

    def slot(exchange):
        exchange.connection.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exchange.abort()

    desk.serve(slot)
    assert desk.get("/") == 7
    assert desk.err.count("\n") == 1


def test_what_a_server_says_cannot_steer_the_terminal(desk):
    desk.can(b"HTTP/1.1 404 \xc2\x9b31mred\r\nContent-Length: 0\r\n\r\n")
    assert desk.get("-f", "/") == 8
    assert "\x9b" not in desk.err and "\\x9b31mred" in desk.err


def test_what_cannot_be_sent(desk):
    desk.can(HELLO, HELLO)
    assert desk.get("-H", "Content-Length: 5", "-d", "123", "/") == 2
    assert "Content-Length says 5, the body has 3 bytes" in desk.err


def test_what_a_client_refuses_at_once(desk, monkeypatch):
    monkeypatch.setattr(icey.http.Client, "request", raising(ValueError("no such thing")))
    assert desk.get("http://127.0.0.1/") == 2
    assert desk.err == "get: http://127.0.0.1/: no such thing\n"


def test_a_file_that_is_gone_when_its_turn_comes(desk):
    desk.can(HELLO)
    (desk.folder / "gone").write_bytes(b"x")
    options = get.parse(["-F", "f=@gone", desk.url])
    get.prepare(options, {})
    os.unlink("gone")
    console = Console("get", io.BytesIO(), io.StringIO())
    assert get.run(desk.loop, options, console) == 1
    assert console.err.getvalue() == "get: %s/: No such file or directory\n" % desk.url


def test_ctrl_c_keeps_what_was_half_written_and_says_how_to_go_on(desk):
    begun = []

    def slot(exchange):
        begun.append(exchange)
        exchange.response.headers["ETag"] = '"one"'
        exchange.response.headers["Content-Length"] = "4"
        exchange.send_owned(b"ab")
        exchange.loop.call_later(2, raising(KeyboardInterrupt()))

    desk.serve(slot)
    with pytest.raises(KeyboardInterrupt):
        desk.get("-o", "file", "/", err_terminal=True)
    assert desk.files() == ["file.part", "file.part.resume"] and desk.read("file.part") == b"ab"
    assert desk.err.split("\r")[-1] == "file.part: 2 of 4 B stay there; the same with --resume goes on\n"
    with pytest.raises(KeyboardInterrupt):
        desk.get("--resume", "-o", "other", "/")
    assert desk.files() == ["file.part", "file.part.resume", "other", "other.resume"] and desk.read("other") == b"ab"
    assert desk.err.splitlines()[-1] == "other: 2 of 4 B stay there; the same with --resume goes on"


def test_what_ctrl_c_left_is_gone_on_with_and_gets_its_name(desk):
    (desk.folder / "file").write_bytes(b"the old one")
    (desk.folder / "file.part").write_bytes(b"ab")
    (desk.folder / "file.part.resume").write_bytes(b'If-Range: "one"\n')
    server = desk.can(answer("206 Partial Content", "Content-Range: bytes 2-3/4", 'ETag: "one"', body=b"cd"))
    assert desk.get("--resume", "-o", "file", "/") == 0
    assert b'\r\nRange: bytes=2-\r\nIf-Range: "one"\r\n' in server.requests[0]
    assert desk.files() == ["file"] and desk.read("file") == b"abcd"
    assert desk.err == "file: 4 B, of which 2 B came now\n"


def test_a_part_that_was_complete_gets_its_name_too(desk):
    (desk.folder / "file.part").write_bytes(b"abcd")
    desk.can(answer("416 Range Not Satisfiable", "Content-Range: bytes */4"))
    assert desk.get("--resume", "-o", "file", "/") == 0
    assert desk.files() == ["file"] and desk.err == "file: complete already\n"


@pytest.mark.parametrize("fields", [["Content-Encoding: gzip"], []])
def test_ctrl_c_keeps_nothing_that_could_not_be_gone_on_with(desk, fields):
    begun = []

    def slot(exchange):
        begun.append(exchange)
        exchange.response.status = 200 if fields else 404
        exchange.response.headers["Content-Length"] = "4"
        if fields:
            exchange.response.headers["Content-Encoding"] = "gzip"
        exchange.send_owned(b"ab")
        exchange.loop.call_later(2, raising(KeyboardInterrupt()))

    desk.serve(slot)
    with pytest.raises(KeyboardInterrupt):
        desk.get("-o", "file", "/", err_terminal=True)
    assert desk.files() == [] and "\n" not in desk.err


def test_a_call_that_is_closed_under_us(desk, monkeypatch):
    unanswered = []
    desk.serve(unanswered.append)
    transfers = []
    start = transfer.Transfer.start
    monkeypatch.setattr(transfer.Transfer, "start", lambda self: (transfers.append(self), start(self)))
    desk.loop.call_later(5, lambda: transfers[0]._call.abort())
    for handle in desk.closing:
        desk.loop.call_later(6, handle.abort)
    assert desk.get("/") == 1
    assert desk.err == "get: the request ended without an answer\n"


# -- TLS -------------------------------------------------------------------------------------------------------------

@pytest.fixture
def secure(desk, certs):
    from icey import tls
    desk.serve(lambda exchange: exchange.respond(200, b"Hello"), tls=tls.server_context(*certs.cert("localhost")))
    return desk


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    from tests.support import needs
    needs("ssl")
    from tests.support import certificates
    return certificates.folder(str(tmp_path_factory.mktemp("certs")))


def test_https_with_an_authority_of_our_own(secure, certs):
    assert secure.get("--ca", certs.ca, "/") == 0
    assert (secure.out, secure.err) == (b"Hello", "")


def test_a_certificate_nobody_vouches_for_is_refused(secure, certs):
    assert secure.get("/") == 5
    assert secure.err.count("\n") == 1 and "certificate" in secure.err
    assert secure.err.endswith("; --ca FILE trusts the one who signed it, -k any\n")
    assert secure.get("--ca", certs.other_ca, "/") == 5


def test_unless_we_do_not_want_to_know(secure):
    assert secure.get("-k", "/") == 0
    assert secure.err == "-k: certificates are not checked, anybody in between can read and change what comes\n"
    assert (secure.get("-kq", "/"), secure.err) == (0, "")


def test_a_server_that_asks_for_our_certificate(desk, certs):
    from icey import tls
    context = tls.server_context(*certs.cert("localhost"), client_ca=certs.client_ca)
    desk.serve(lambda exchange: exchange.respond(200, b"Hello"), tls=context)
    cert, key = certs.cert("client")
    assert desk.get("--ca", certs.ca, "--cert", cert, "--key", key, "/") == 0
    assert desk.get("--ca", certs.ca, "/") == 5
    assert desk.err.count("\n") == 1


def test_a_server_that_speaks_no_tls(desk, certs):
    desk.serve(lambda exchange: None)
    assert desk.get("-q", "-k", desk.url.replace("http:", "https:")) == 5


def test_files_of_certificates_that_cannot_be_used(secure, certs):
    assert secure.get("--ca", "no-such-file", "/") == 1
    assert secure.err == "get: cannot read no-such-file: No such file or directory\n"
    (secure.folder / "junk").write_bytes(b"junk")
    assert secure.get("--ca", "junk", "/") == 1
    assert "junk" in secure.err and secure.err.count("\n") == 1


def test_a_python_without_ssl(desk, monkeypatch):
    from icey.http.client import dialing

    monkeypatch.setattr(netoptions, "tls_module", raising(icey.NetError("https needs Python's ssl module")))
    monkeypatch.setattr(dialing, "tls_module", raising(icey.NetError("https needs Python's ssl module")))
    assert desk.get("https://127.0.0.1/") == 1
    assert desk.err == "get: https needs Python's ssl module\n"


def test_the_head_of_an_answer_without_a_reason():
    assert transfer.head_of(icey.http.Response(200)) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert transfer.head_of(icey.http.Response(299)) == b"HTTP/1.1 299\r\n\r\n"


def test_urls_are_shown_without_passwords(desk):
    desk.can(b"")
    assert desk.get(str(URL.parse(desk.url)).replace("//", "//bob:secret@")) == 7
    assert "secret" not in desk.err and "bob" not in desk.err
