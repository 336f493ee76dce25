"""Who reads slowly and steadily gets all: ffmpeg that plays a file, curl at 20 and 100 KB a second, a Python at 100, in clear
and over TLS, and through nginx and HAProxy, which hand the back-pressure on. All at once, since it takes a real minute.

Each transfer is longer than the time that a peer may stand still (30 s), each answer larger than what it may leave unread.
"""
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import wave

import pytest

from tests.support import ROOT, tool

SECONDS = 60  # of the sound
PATIENCE = 100.0  # real seconds, for all of it
SLOW = 660_000  # bytes: 33 s at 20 KB a second
FASTER = 3_300_000  # 33 s at 100 KB a second
LARGE = 24_000_000  # more than the kernel's buffers hold; left after 35 s

# Reads 100 KB a second of URL for 35 s, and tells how much that was. Not curl: it may take megabytes at once, and then stand
# still for longer than a server waits.
STEADY = """
import http.client, ssl, sys, time, urllib.parse
url, ca = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2]
if url.scheme == "https":
    connection = http.client.HTTPSConnection(url.hostname, url.port, context=ssl.create_default_context(cafile=ca))
else:
    connection = http.client.HTTPConnection(url.hostname, url.port)
connection.request("GET", url.path)
answer, began, got = connection.getresponse(), time.monotonic(), 0
while time.monotonic() < began + 35:
    piece = answer.read(10000)
    if not piece:
        sys.exit("cut after %d bytes" % got)
    got += len(piece)
    time.sleep(max(0, began + got / 100000 - time.monotonic()))
answer.close()
connection.close()
print(got)
"""

NGINX = """
    server {
        listen 127.0.0.1:%(port0)d;
        proxy_http_version 1.1;
        proxy_set_header Connection $http_connection;
        proxy_set_header Host localhost;
        proxy_buffering off;
        location / { proxy_pass http://127.0.0.1:%(clear)d; }
    }
    server {
        listen 127.0.0.1:%(port1)d;
        proxy_http_version 1.1;
        proxy_set_header Connection $http_connection;
        proxy_set_header Host localhost;
        proxy_buffering off;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate %(ca)s;
        proxy_ssl_server_name on;
        proxy_ssl_name localhost;
        location / { proxy_pass https://127.0.0.1:%(secure)d; }
    }
"""

HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 90s
    timeout server 90s
listen clear
    bind fd@%(fd0)d
    http-request set-header Host localhost
    server icey 127.0.0.1:%(clear)d
listen secure
    bind fd@%(fd1)d
    http-request set-header Host localhost
    server icey 127.0.0.1:%(secure)d ssl verify required ca-file %(ca)s sni str(localhost) verifyhost localhost
"""


@pytest.fixture
def content(folder):
    """A folder: a minute of sound, and files of some sizes."""
    root = os.path.join(folder, "content")
    os.mkdir(root)
    with wave.open(os.path.join(root, "sound.wav"), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(44100)
        for second in range(SECONDS):
            sound.writeframes(bytes((second + at) & 0x1F for at in range(44100 * 4)))
    for name, size in (("slow", SLOW), ("faster", FASTER), ("large", LARGE), ("tiny", 5)):
        with open(os.path.join(root, name), "wb") as file:
            file.write((b"%s, at 16 bytes" % name.encode()).ljust(16, b".")[:16] * (size // 16) + b"." * (size % 16))
    return root


@pytest.fixture
def haproxy(folder, program):
    """haproxy(**values) -> the ports of a HAProxy in front of both servers. It inherits what it listens on."""
    def haproxy(**values):
        listening = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(2)]
        values.update(("fd%d" % n, each.fileno()) for n, each in enumerate(listening))
        path = os.path.join(folder, "haproxy.cfg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(HAPROXY % values)
        ports = [each.getsockname()[1] for each in listening]
        program("haproxy", "-db", "-f", path, pass_fds=[each.fileno() for each in listening])
        for each in listening:
            each.close()
        return ports

    return haproxy


class Running:
    """A program that is on its way; what it says is in files, so that none waits for another to be read."""

    def __init__(self, *command):
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.process = subprocess.Popen([tool(command[0]), *command[1:]], stdin=subprocess.DEVNULL, stdout=self._out,
                                        stderr=self._err)

    def ended(self, until):
        """(status, stdout, stderr)."""
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        told = []
        for file in (self._out, self._err):
            file.seek(0)
            told.append(file.read())
            file.close()
        return (self.process.returncode, *told)


def curl(ca, *arguments):
    return Running("curl", "--noproxy", "*", "-sSv", "--cacert", ca, *arguments)


def player(ca, url):
    """An ffmpeg that plays at the sound's own speed, to nobody."""
    secure = ["-tls_verify", "1", "-ca_file", ca] if url.startswith("https") else []
    return Running("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", *secure, "-re", "-i", url,
                   "-progress", "pipe:1", "-f", "null", "-")


def digest(root, *names):
    found = hashlib.sha256()
    for name in names:
        with open(os.path.join(root, name), "rb") as file:
            found.update(file.read())
    return found.hexdigest()


def say(told):
    return told.decode("utf-8", "replace").replace("\r", "")


@pytest.mark.tool("curl", "ffmpeg", "nginx", "haproxy")
def test_who_reads_steadily_gets_all(start, content, certs, nginx, haproxy):
    cert, key = certs.cert("localhost")
    serve = [sys.executable, "-m", "icey", "serve", content, "--port", "0"]
    clear, secure = start(*serve, cwd=ROOT), start(*serve, "--cert", cert, "--key", key, cwd=ROOT)
    before = nginx(NGINX, ports=2, clear=clear.port, secure=secure.port, ca=certs.ca)
    ways = {"http": "http://localhost:%d/" % clear.port, "https": "https://localhost:%d/" % secure.port}
    for name, ports in (("nginx", before.ports), ("HAProxy", haproxy(clear=clear.port, secure=secure.port, ca=certs.ca))):
        ways[name + " to http"], ways[name + " to https"] = ("http://127.0.0.1:%d/" % port for port in ports)

    until = time.monotonic() + PATIENCE
    sounds = {way: player(certs.ca, ways[way] + "sound.wav") for way in ("http", "https")}
    keeping, closing, leaving = {}, {}, {}
    for way, url in ways.items():
        keeping[way] = curl(certs.ca, "--limit-rate", "20K", url + "slow", url + "tiny")
        closing[way] = curl(certs.ca, "--limit-rate", "100K", "-H", "Connection: close", url + "faster")
        leaving[way] = Running(sys.executable, "-c", STEADY, url + "large", certs.ca)
    wrong = []
    for way, running in keeping.items():
        status, data, told = running.ended(until)
        if status or hashlib.sha256(data).hexdigest() != digest(content, "slow", "tiny"):
            wrong.append((way, "keep-alive, 20 KB/s", status, len(data), say(told)[-300:]))
        elif not any(said in told for said in (b"Re-using existing connection", b"Re-using existing http")):
            wrong.append((way, "keep-alive, 20 KB/s: another connection was made", say(told)[-300:]))
    for way, running in closing.items():
        status, data, told = running.ended(until)
        if status or hashlib.sha256(data).hexdigest() != digest(content, "faster"):
            wrong.append((way, "close, 100 KB/s", status, len(data), say(told)[-300:]))
    for way, running in leaving.items():
        status, data, told = running.ended(until)
        if status or told or int(data) < 3_000_000:
            wrong.append((way, "large, 100 KB/s", status, data, say(told)[-300:]))
    for way, running in sounds.items():
        status, data, told = running.ended(until)
        played = [int(line[12:]) for line in say(data).split() if line.startswith("out_time_us=")]
        if status or told or played[-1:] != [SECONDS * 1_000_000]:
            wrong.append((way, "ffmpeg", status, played[-1:], say(told)[-300:]))
    assert not wrong, "\n".join(map(str, wrong))
