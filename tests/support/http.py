"""An HTTP server on a loop with a virtual clock, and clients over real loopback, all in one thread.

    def test_something(site):
        server = site.serve(lambda exchange: exchange.respond(200, b"Hello"))
        client = site.client()
        client.ask("GET", "/")
        assert client.answer().body == b"Hello"

A test module takes the fixtures by assignment, `loop = http.loop` and so on (debug, clock, reports, loop, site). Its
tests then run in release and in debug mode; what is reported to `loop.on_error` and not taken fails them. Every wait of
a client turns the loop; virtual time passes only in `site.wait(seconds)`.

`read_answer` is a response parser of its own, so that icey's is not measured by itself.
"""
import gc
import re
import socket
from collections import Counter

import pytest

import icey
from icey.http import Server
from icey.tools.testing import Peer
from tests.support import streams
from tests.support.streams import Turning, turn

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop


class Answer:
    """A response: status, reason, version, fields (pairs, in order), body. `answer[name]`: a field that came once."""

    def __init__(self, head):
        lines = head[:-4].decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/(1\.[01]) ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]+)", lines[0])
        assert match, lines[0]
        self.version, self.status, self.reason = match.group(1), int(match.group(2)), match.group(3)
        self.fields = []
        for line in lines[1:]:
            match = re.fullmatch(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\t\x20-\x7e\x80-\xff]*)", line)
            assert match, line
            self.fields.append((match.group(1).lower(), match.group(2)))
        self.names = Counter(name for name, _ in self.fields)
        self.body = b""

    def __getitem__(self, name):
        assert self.names[name] == 1, (name, self.fields)
        return dict(self.fields)[name]

    def __contains__(self, name):
        return name in self.names

    def get(self, name, default=None):
        return self[name] if name in self else default

    def __repr__(self):
        return "<Answer %d %r, %d bytes>" % (self.status, self.fields, len(self.body))


def read_answer(peer, method="GET"):
    """The next response on `peer` to a request of `method`, checked as it is read; None if the end came instead."""
    head = peer.read_until(b"\r\n\r\n")
    if not head:
        assert peer.ended
        return None
    assert head.endswith(b"\r\n\r\n"), head
    answer = Answer(head)
    for name in ("content-length", "transfer-encoding", "connection", "date"):
        assert answer.names[name] <= 1, answer.fields
    assert not ("content-length" in answer and "transfer-encoding" in answer), answer.fields
    if answer.status < 200 or answer.status == 204:
        assert "content-length" not in answer and "transfer-encoding" not in answer, answer.fields
    else:
        assert "date" in answer
    if method == "HEAD" or answer.status < 200 or answer.status in (204, 304):
        return answer
    if "transfer-encoding" in answer:
        assert answer["transfer-encoding"] == "chunked"
        answer.body = read_chunks(peer)
    elif "content-length" in answer:
        size = int(answer["content-length"])
        answer.body = peer.read(size)
        assert len(answer.body) == size, "the end came %d bytes early" % (size - len(answer.body))
    else:
        assert answer.get("connection") == "close", answer.fields
        answer.body = peer.read_all()
    return answer


def read_chunks(peer):
    body = bytearray()
    while True:
        line = peer.read_until(b"\r\n")
        assert re.fullmatch(rb"[0-9a-f]+\r\n", line), line
        size = int(line, 16)
        if not size:
            assert peer.read(2) == b"\r\n"
            return bytes(body)
        piece = peer.read(size + 2)
        assert len(piece) == size + 2 and piece.endswith(b"\r\n"), (size, piece[-20:])
        body += piece[:-2]


def request(method="GET", target="/", *fields, body=b"", version="1.1", chunks=None):
    """The bytes of a request. fields: "Name: value" lines; body: with its Content-Length; chunks: pieces, chunked."""
    lines = ["%s %s HTTP/%s" % (method, target, version)]
    if version != "1.0":
        lines.append("Host: test")
    lines += fields
    if chunks is not None:
        lines.append("Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    elif body or method in ("POST", "PUT"):
        lines.append("Content-Length: %d" % len(body))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


class Client(Peer):
    """A Peer that speaks HTTP."""

    def ask(self, *args, **kwargs):
        """Sends a request: see `request`."""
        self.send(request(*args, **kwargs))

    def answer(self, method="GET"):
        """The next answer, which must come."""
        answer = read_answer(self, method)
        assert answer is not None, "the connection ended, no answer"
        return answer

    def get(self, target="/", *fields, method="GET", **kwargs):
        """Asks, and the answer."""
        self.ask(method, target, *fields, **kwargs)
        return self.answer(method)

    def at_end(self):
        """Nothing more came but the end."""
        rest = self.read_all()
        assert rest == b"", rest
        return True

    def at_reset(self):
        """Nothing more came but a reset: what was there was cut, and says so."""
        with pytest.raises(ConnectionResetError):
            self.read_all()
        rest = self._taken(len(self._held))
        assert rest == b"", rest
        return True

    def read_to_reset(self):
        """What came before the reset that ends it."""
        with pytest.raises(ConnectionResetError):
            self.read_all()
        return self._taken(len(self._held))

    def silent(self, turns=5):
        """Nothing has come, and the connection is open."""
        turn(self.loop, turns)
        assert not self._held and not self.ended, (bytes(self._held), self.ended)
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return True
        raise AssertionError("not silent: %r" % data)


class Site(Turning):
    """What a test needs of a server's surroundings."""

    def __init__(self, loop, clock):
        self.loop = loop
        self.clock = clock
        self.server = None
        self.clients = []

    def serve(self, slot=None, *, limits=None, start=True, **options):
        """A server on a free port; `limits` a dict of overrides."""
        server = Server(self.loop, "127.0.0.1", 0, limits=icey.Limits(**limits) if limits else None, **options)
        if slot is not None:
            server.on_request += slot
        self.server = server.start() if start else server
        return self.server

    def client(self, server=None, *, receive=None, accept=True):
        """A client, accepted by the server. receive: bytes of its receive buffer, for one that reads slowly."""
        server = server or self.server
        before = server.connections_made
        if receive is None:
            client = Client.connect(self.loop, server.address)
        else:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
            sock.connect((server.address.host, server.address.port))
            client = Client(self.loop, sock)
        self.clients.append(client)
        if accept:
            self.until(lambda: server.connections_made > before)
        return client

    def gone(self, server=None):
        """The server's connections have all closed (without time passing)."""
        server = server or self.server
        self.until(lambda: not server.connections)
        return True

    def wait_for_cuts(self):
        """Some times write_timeout, as long as there is a connection: what was taken before may be acknowledged late, in real
        time, and what the client's system takes in between earns it another one."""
        for _ in range(20):
            if self.server.connections:
                self.wait(31.0)

    def close(self):
        for client in self.clients:
            client.close()
        self.clients.clear()


@pytest.fixture
def site(loop, clock):
    site = Site(loop, clock)
    yield site
    site.close()


@pytest.fixture
def left():
    """A function: how many of the exchanges made by this test are still in memory."""
    def count():
        streams.collect()
        return sum(issubclass(type(thing), icey.http.Exchange) for thing in gc.get_objects())

    if hasattr(gc, "freeze"):  # what is there already is not looked at: that takes long
        gc.freeze()
        yield count
    else:
        yield lambda: 0  # what leaks would leak there too


def narrow(exchange, size=4096):
    """Has the kernel take little of what this connection sends, so that queues fill soon."""
    exchange.connection.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def ignore(*args):
    """A slot that does nothing; an exchange waits for its answer."""
    if args and type(args[0]).__name__ == "Exchange" and args[0].stage < 2:
        think(args[0])


def think(exchange):
    """Has `exchange` look as if it were to be answered later: one of its slots is still to be called."""
    exchange.on_drain += _later


def _later(exchange):
    pass
