"""examples/proxy.py as programs meet it: what goes on, what does not, and what is refused without a traceback."""
import os
import re
import socket
import struct
import subprocess
import sys
import threading

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def proxy():
    """Its port. At the end nothing was reported."""
    process = subprocess.Popen([sys.executable, "-u", os.path.join(ROOT, "examples", "proxy.py")], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    yield int(process.stdout.readline().rpartition(":")[2])
    process.terminate()
    assert process.communicate(timeout=20)[1] == ""


@pytest.fixture
def origin():
    """A server that keeps what it is asked in `heads`, and answers `answer` to all of it."""
    class Origin:
        answer, reset = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", False

    made, door = Origin(), socket.socket()
    made.heads, made.cue = [], threading.Event()
    door.bind(("127.0.0.1", 0))
    door.listen()
    made.port = door.getsockname()[1]

    def serve():
        while True:
            try:
                peer, _ = door.accept()
            except OSError:
                return
            with peer:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    piece = peer.recv(65536)
                    if not piece:
                        break
                    head += piece
                made.heads.append(head.decode())
                peer.sendall(made.answer)
                if made.reset:
                    made.cue.wait(20)
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    thread = threading.Thread(target=serve)
    thread.start()
    yield made
    door.shutdown(socket.SHUT_RDWR)
    door.close()
    thread.join(10)


def ask(port, request):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(request.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


@pytest.mark.parametrize("line, status", [
    ("GET / HTTP/1.1", 400), ("GET http://a..b/ HTTP/1.1", 400), ("GET http://127.0.0.1:0/ HTTP/1.1", 400),
    ("GET ftp://a/ HTTP/1.1", 501), ("GET gopher://a/ HTTP/1.1", 501), ("OPTIONS * HTTP/1.1", 405),
    ("TRACE http://127.0.0.1/ HTTP/1.1", 405), ("CONNECT a HTTP/1.1", 400), ("CONNECT [::1:1 HTTP/1.1", 400),
    ("CONNECT 127.0.0.1:99999 HTTP/1.1", 400)])
def test_what_it_cannot_do_it_says(proxy, line, status):
    answer = ask(proxy, line + "\nHost: x\nConnection: close")
    assert answer.startswith("HTTP/1.1 %d " % status)
    assert ("\r\nAllow: GET, " in answer) is (status == 405)


def test_the_origin_gets_the_host_of_the_target_and_nothing_that_was_for_the_proxy(proxy, origin):
    ask(proxy, "GET http://127.0.0.1:%d/a?b HTTP/1.1\nHost: evil.example\nConnection: close, X-Mine\nConnection: x-too\n"
               "X-Mine: 1\nX-Too: 2\nX-Beyond: 3\nProxy-Authorization: Basic eA==\nTE: trailers\nKeep-Alive: 5" % origin.port)
    head, = origin.heads
    assert head.startswith("GET /a?b HTTP/1.1\r\n")
    assert re.findall("(?im)^host: (.*)\r$", head) == ["127.0.0.1:%d" % origin.port]
    assert "evil.example" not in head and re.search("(?im)^x-beyond: 3\r$", head) and re.search("(?im)^via: 1.1 ", head)
    assert not re.search("(?im)^(x-mine|x-too|proxy-authorization|te|keep-alive):", head)


def test_the_client_gets_nothing_that_was_for_the_proxy(proxy, origin):
    origin.answer = (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nX-Beyond: 3\r\n"
                     b"Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\r\nok")
    answer = ask(proxy, "GET http://127.0.0.1:%d/ HTTP/1.1\nHost: x\nConnection: close" % origin.port)
    assert answer.endswith("\r\n\r\nok") and re.search("(?im)^x-beyond: 3\r$", answer)
    assert not re.search("(?im)^(x-mine|keep-alive|proxy-authenticate):", answer)


@pytest.mark.parametrize("begin", ["CONNECT 127.0.0.1:%d HTTP/1.1", "GET http://127.0.0.1:%d/ HTTP/1.1"])
def test_what_the_origin_cuts_is_cut_for_the_client(proxy, origin, begin):
    origin.answer, origin.reset = b"HTTP/1.1 200 OK\r\n\r\nhalf", True
    with socket.create_connection(("127.0.0.1", proxy), timeout=20) as sock:
        sock.sendall((begin % origin.port).encode() + b"\r\nHost: x\r\n\r\n")
        got = sock.recv(65536)
        if begin.startswith("CONNECT"):
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while b"half" not in got:
            got += sock.recv(65536)
        origin.cue.set()
        with pytest.raises(ConnectionResetError):
            while sock.recv(65536):
                pass
