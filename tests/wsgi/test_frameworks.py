"""Flask, Django and Bottle answer under icey's WSGI, with Python's validator around them, as under gunicorn and waitress."""
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from tests.support import library

FRAMEWORKS = ("flask", "django", "bottle")
SERVERS = ("icey", "plain", "gunicorn", "waitress")  # plain: icey, without the validator
HERE = os.path.dirname(os.path.abspath(__file__))
OF_A_SERVER = ("date", "server", "connection", "transfer-encoding", "content-length", "via", "keep-alive")
LONG = 60  # seconds, of a wait that should be short

for name in (*FRAMEWORKS, "gunicorn", "waitress"):
    library(name)

TEXT = {"Content-Type": "text/plain"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=xx"}
PARTS = (b'--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n--xx\r\nContent-Disposition: form-data; name="f"; '
         b'filename="n.bin"\r\nContent-Type: application/octet-stream\r\n\r\n%s\r\n--xx--\r\n')
BIG = bytes(range(256)) * 8192  # 2 MiB: past what is kept in memory

REQUESTS = [  # method, target, headers, body; a list as body is sent chunked
    ("GET", "/hello"), ("HEAD", "/hello"), ("OPTIONS", "/hello"), ("POST", "/hello", {}, b""), ("GET", "/hello/"),
    ("GET", "/nowhere"),
    ("GET", "/large"), ("HEAD", "/large"), ("GET", "/stream"), ("HEAD", "/stream"), ("GET", "/file"), ("HEAD", "/file"),
    ("GET", "/file", {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}),
    ("GET", "/echo"), ("POST", "/echo", TEXT, b"body"), ("PUT", "/echo", TEXT, b"body"),
    ("PATCH", "/echo", TEXT, b"\0\xff\r\n"),
    ("DELETE", "/echo"), ("POST", "/echo", {}, b""), ("POST", "/echo", TEXT, b"x" * 100_000),
    ("POST", "/echo", TEXT, [b"one ", b"two ", b"three"]), ("POST", "/echo", {**TEXT, "Expect": "100-continue"}, b"waited for"),
    ("POST", "/form", FORM, b"a=1&b=%C3%BC&a=2&c="), ("POST", "/form", MULTIPART, PARTS % b"some"),
    ("POST", "/form", MULTIPART, PARTS % BIG), ("GET", "/form"),
    ("GET", "/seen/plain"), ("GET", "/seen/a%20b?q=c+d"), ("GET", "/seen/caf%C3%A9?q=%E2%82%AC"),
    ("GET", "/seen/x?q=%26%3D&q=2"),
    ("GET", "/seen/x", {"Cookie": "a=1; b=two"}), ("HEAD", "/seen/x"),
    ("GET", "/cookies"), ("GET", "/away"), ("GET", "/status/204"), ("GET", "/status/404"), ("GET", "/status/503"),
    ("GET", "/fails"), ("GET", "/tag"), ("GET", "/tag", {"If-None-Match": '"tag"'}), ("GET", "/hello", {"Connection": "close"}),
]


UNLIKE = {  # what one of the servers has its own way with
    "waitress": lambda method, body: method == "HEAD",  # sends the body that Django gives
    "gunicorn": lambda method, body: type(body) is list,  # says no CONTENT_LENGTH, without which Django and Bottle read nothing
}


class Serving:
    def __init__(self, server, framework):
        self._errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "serve.py"), server, framework],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors,
                                        env=dict(os.environ, PYTHONHASHSEED="0"))  # sets are listed in one order
        line = self.process.stdout.readline()
        assert line.strip().isdigit(), self.said()
        self.port = int(line)

    def said(self):
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(LONG)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            said = self.said()
            self._errors.close()
        return said


@pytest.fixture(scope="module", params=FRAMEWORKS)
def servings(request):
    """{server: one that serves this framework's application}"""
    made = {}
    try:
        for server in SERVERS:
            made[server] = Serving(server, request.param)
        yield made
    finally:
        said = {server: serving.end() for server, serving in made.items()}
    for server in ("icey", "plain"):
        assert "AssertionError" not in said[server] and "icey." not in said[server], said[server]


def ask(port, method, target, headers=None, body=None):
    """(status, body, the application's headers), on a connection of its own, twice; both have to be the same."""
    answers = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
    try:
        for _ in range(2):
            chunked = type(body) is list
            connection.request(method, target, iter(body) if chunked else body, headers or {}, encode_chunked=chunked)
            answer = connection.getresponse()
            data = answer.read()
            fields = sorted((name.lower(), value.replace(str(port), "PORT")) for name, value in answer.getheaders()
                            if name.lower() not in OF_A_SERVER)
            answers.append((answer.status, data.replace(b"%d" % port, b"PORT"), fields))
    finally:
        connection.close()
    assert answers[0] == answers[1]
    return answers[0]


@pytest.mark.parametrize("request_of", REQUESTS, ids=lambda one: " ".join(one[:2]))
def test_the_answer_is_the_same(servings, request_of):
    method, body = request_of[0], request_of[3] if len(request_of) > 3 else None
    answers = {server: ask(serving.port, *request_of) for server, serving in servings.items()
               if server not in UNLIKE or not UNLIKE[server](method, body)}
    assert len(answers) >= 3
    for server in answers:
        assert answers[server] == answers["icey"], server


def slow_reader(port, target):
    """A connection that has asked, and takes next to nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(LONG)
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target.encode())
    return sock


@pytest.mark.parametrize("target", ["/large", "/stream"])
def test_slow_readers_hold_no_thread(servings, target):
    port = servings["plain"].port
    slow = [slow_reader(port, target) for _ in range(200)]
    try:
        for sock in slow:
            assert sock.recv(12) == b"HTTP/1.1 200"
        for _ in range(100):
            assert ask(port, "GET", "/hello")[1] == b"Hello"
        for sock in slow[::40]:
            data = b"".join(iter(lambda sock=sock: sock.recv(1 << 20), b""))
            assert len(data) > 1_000_000
    finally:
        for sock in slow:
            sock.close()


@pytest.mark.parametrize("servings", ["flask"], indirect=True)
def test_a_client_of_50_kilobytes_a_second_gets_it_all_while_others_are_served(servings):
    """1 MiB, which takes it 21 seconds."""
    port, taken = servings["plain"].port, []

    def take():
        with slow_reader(port, "/large") as sock:
            began = time.monotonic()
            while True:
                data = sock.recv(5000)
                if not data:
                    break
                taken.append(data)
                ahead = sum(map(len, taken)) / 50_000 - (time.monotonic() - began)
                if ahead > 0:
                    time.sleep(ahead)

    thread = threading.Thread(target=take)
    thread.start()
    served = 0
    while thread.is_alive():
        assert ask(port, "GET", "/hello")[1] == b"Hello"
        served += 1
    thread.join()
    assert served > 100
    assert b"".join(taken).partition(b"\r\n\r\n")[2] == b"0123456789abcdef" * 65536
