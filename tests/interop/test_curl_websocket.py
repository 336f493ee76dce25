"""curl and WebSocket: the handshake by hand, good and bad; and ws:// where curl speaks it."""
import base64
import subprocess

import pytest

import icey
from tests.support import tool

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the key of RFC 6455, section 1.3, and what it has to be answered with
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
GOOD = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}
AT_ONCE = icey.Limits(close_timeout=0.05)  # it does not answer our close frame


@pytest.fixture
def curl(aside):
    """curl(*arguments) -> what it writes."""
    def curl(*arguments):
        done = aside(subprocess.run, [tool("curl"), "--noproxy", "*", "-sS", "-N", "--max-time", "20", *arguments],
                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return curl


def fields(*removed, **changed):
    """curl's flags for the fields of a handshake."""
    headers = dict(GOOD, **{name.replace("_", "-"): value for name, value in changed.items()})
    return [part for name, value in headers.items() if name not in removed for part in ("-H", "%s: %s" % (name, value))]


def test_a_handshake_by_hand(talk, curl):
    server = talk(lambda ws: ws.on_connect.attach(lambda ws: (ws.send("hello"), ws.close(1000, "bye"))), limits=AT_ONCE)
    head, _, frames = curl("-i", *fields(), server.url).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 101 Switching Protocols"
    assert {"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: " + ACCEPT} <= set(lines)
    assert not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines)
    assert frames == b"\x81\x05hello" + b"\x88\x05" + (1000).to_bytes(2, "big") + b"bye"


@pytest.mark.parametrize("flags, status", [
    (fields(Sec_WebSocket_Version="8"), 426),
    (fields("Sec-WebSocket-Version"), 426),
    (fields("Sec-WebSocket-Key"), 400),
    (fields(Sec_WebSocket_Key=base64.b64encode(bytes(15)).decode()), 400),
    (fields(Connection="keep-alive"), 400),
    (fields() + ["-X", "POST", "-d", "body"], 400),
    (fields() + ["--http1.0"], 400),
    (fields() + ["-H", "Origin: http://elsewhere.test"], 403),
], ids=["version 8", "no version", "no key", "a short key", "no upgrade", "POST", "HTTP/1.0", "origin"])
def test_a_handshake_that_is_refused(talk, curl, flags, status):
    server = talk(origins=["http://here.test"])
    head, _, body = curl("-i", *flags, server.url).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith("HTTP/1.1 %d " % status) and body and server.sockets == []
    assert ("Sec-WebSocket-Version: 13" in lines) is ("Upgrade: websocket" in lines) is (status == 426)


def test_ws(talk, curl):
    said = subprocess.run([tool("curl"), "--version"], stdout=subprocess.PIPE).stdout.decode().split("Protocols: ")[1]
    if "ws" not in said.partition("\n")[0].split():
        pytest.skip("this curl does not speak ws")
    server = talk(lambda ws: ws.on_connect.attach(lambda ws: (ws.send("hello, world"), ws.close())), limits=AT_ONCE)
    assert curl(server.ws_url) == b"hello, world"
