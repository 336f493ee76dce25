"""The server's end of a client's connections, in the test's hand: a plain listening socket, on the loop's own thread.

    def test_something(raw):
        conn = raw.connection("/path")            # a ClientConnection, whose events are in conn.seen
        conn.start()
        server = raw.accept()                     # the other end: a RawConnection
        assert server.request().line == "GET /path HTTP/1.1"
        server.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
        assert raw.story(conn) == [200, b"hi", "complete"]

    call = raw.get("/path")                       # the same of a Client: call.outcome gets (answer, error)

A test module takes the fixtures by assignment, `loop = rawserver.loop` and so on (debug, clock, reports, loop, raw). Its tests
then run in release and in debug mode; what is reported to `loop.on_error` and not taken fails them, and so does a move of a
ClientConnection's state that its table does not allow. Every wait turns the loop; virtual time passes only in `raw.wait`.

Nothing of icey's HTTP is in the server.
"""
import re
import socket
import time

import pytest

import icey
from icey.base import state
from icey.base.state import require_move, watch_states
from icey.http import Client, ClientConnection
from icey.http.client.states import MOVES
from icey.tools.testing import Peer
from tests.support import streams
from tests.support.http import read_chunks
from tests.support.streams import Turning, turn

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

def answer(body=b"", *fields, status="200 OK", version="1.1", length=True):
    """The bytes of an answer. fields: "Name: value" lines; length: whether with a Content-Length."""
    lines = ["HTTP/%s %s" % (version, status), *fields]
    if length:
        lines.append("Content-Length: %d" % len(body))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def chunked(*pieces, trailers=()):
    """The bytes of a chunked answer."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n"
    body += b"".join(line.encode("latin-1") + b"\r\n" for line in trailers) + b"\r\n"
    return answer(b"", "Transfer-Encoding: chunked", length=False) + body


class Asked:
    """A request as it came: line, method, target, fields (pairs), body. `asked[name]`: a field that came once."""

    def __init__(self, head):
        assert head.endswith(b"\r\n\r\n"), head
        lines = head[:-4].decode("latin-1").split("\r\n")
        self.head = head
        self.line = lines[0]
        match = re.fullmatch(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/1\.1", self.line)
        assert match, self.line
        self.method, self.target = match.groups()
        self.fields = []
        for line in lines[1:]:
            match = re.fullmatch(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\t\x20-\x7e\x80-\xff]*)", line)
            assert match, line
            self.fields.append((match.group(1).lower(), match.group(2)))
        self.body = b""

    def __getitem__(self, name):
        values = [value for key, value in self.fields if key == name]
        assert len(values) == 1, (name, self.fields)
        return values[0]

    def __contains__(self, name):
        return any(key == name for key, _ in self.fields)

    def get(self, name, default=None):
        return self[name] if name in self else default


class RawConnection(Peer):
    """A Peer at the server's end."""

    def head(self):
        """The next request's head."""
        return Asked(self.read_until(b"\r\n\r\n"))

    def request(self):
        """The next request, its body as it was framed."""
        asked = self.head()
        if "transfer-encoding" in asked:
            assert asked["transfer-encoding"] == "chunked" and "content-length" not in asked, asked.fields
            asked.body = read_chunks(self)
        elif "content-length" in asked:
            size = int(asked["content-length"])
            asked.body = self.read(size)
            assert len(asked.body) == size, "the end came %d bytes early" % (size - len(asked.body))
        return asked

    def answer(self, *args, **kwargs):
        """Sends an answer: see `answer`."""
        self.send(answer(*args, **kwargs))

    def reply(self, *args, **kwargs):
        """The next request, answered."""
        asked = self.request()
        self.answer(*args, **kwargs)
        return asked

    def silent(self, turns=4):
        """Nothing has come, and the connection is open."""
        turn(self.loop, turns)
        assert not self._held and not self.ended, bytes(self._held)
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return True
        raise AssertionError("not silent: %r" % data)

    def half_close(self):
        """Sends no more, unless the client has given up before, by a reset."""
        try:
            super().half_close()
        except OSError:
            assert self.at_reset()

    def at_reset(self):
        """Whatever came before, what is there now is a reset: the client has given up, and says so."""
        try:
            self.read_all()
        except ConnectionResetError:
            return True
        return False

    def gone(self):
        """Nothing more came but the end, in order or by a reset."""
        try:
            rest = self.read_all()
        except ConnectionResetError:
            return True
        assert rest == b"", rest
        return True


class Raw(Turning):
    """The listening socket, and what a test needs around it."""

    connection_type = RawConnection

    def __init__(self, loop, clock, receive=None):
        """receive: bytes that the kernels hold of what clients send, for a server that reads slowly."""
        self.loop = loop
        self.clock = clock
        self.receive = receive
        self.sock = socket.socket()
        if receive is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(128)
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        self.accepted = []
        self.clients = []

    # the server

    def url(self, path="/", host="127.0.0.1", userinfo="", scheme="http"):
        return "%s://%s%s:%d%s" % (scheme, userinfo, host, self.port, path)

    @property
    def authority(self):
        return "127.0.0.1:%d" % self.port

    def accept(self):
        """The next connection, as soon as it comes."""
        until = time.monotonic() + 5.0
        while True:
            try:
                sock, _ = self.sock.accept()
                break
            except BlockingIOError:
                assert time.monotonic() < until, "nobody connects"
                self.loop.run_once(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted.append(self.connection_type(self.loop, sock))
        return self.accepted[-1]

    def nobody(self, turns=6):
        """Nobody connects."""
        turn(self.loop, turns)
        try:
            sock, _ = self.sock.accept()
        except BlockingIOError:
            return True
        sock.close()
        raise AssertionError("somebody connected")

    def stop_listening(self):
        """Whoever connects from now on is refused."""
        self.sock.close()

    # clients

    def connection(self, path="/", *, limits=None, url=None, **options):
        """A ClientConnection to here; its events gather in `seen` (see `record`). limits: a dict of overrides."""
        made = Recorded(self.loop, url or self.url(path), limits=icey.Limits(**limits) if limits else None, **options)
        made.seen = record(made)
        if self.receive is not None:
            made.on_connect += lambda made: made.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.receive)
        return made

    def client(self, *, limits=None, **options):
        """A Client. limits: a dict of overrides."""
        client = Client(self.loop, limits=icey.Limits(**limits) if limits else None, **options)
        self.clients.append(client)
        return client

    def ask(self, method="GET", path="/", *, client=None, url=None, **options):
        """A request of `client` (the last one, or a new one) to here: the Call, and in its `outcome` what `done` got."""
        if client is None:
            client = self.clients[-1] if self.clients else self.client()
        outcome = []
        call = client.request(method, url or self.url(path), done=lambda *came: outcome.append(came), **options)
        return Asking(self, call, outcome)

    def get(self, path="/", **options):
        """As `ask`, of GET."""
        return self.ask("GET", path, **options)

    # what came

    def story(self, conn):
        """What a connection told, once it has come to rest: statuses, whole bodies, then "complete" or the error's class."""
        self.rest(conn)
        return story(conn.seen)

    def rest(self, conn):
        """Turns until the transaction is over."""
        self.until(lambda: conn.closed or conn.state.name == "IDLE")
        turn(self.loop, 2)

    def close(self):
        for sock in (self.sock, *self.accepted):
            sock.close()
        for client in self.clients:
            client.abort()


class Recorded(ClientConnection):
    """A ClientConnection with a list of what it told."""

    __slots__ = ("seen",)


class Asking:
    """A Call and its outcome."""

    def __init__(self, raw, call, outcome):
        self.raw = raw
        self.call = call
        self.outcome = outcome

    def __getattr__(self, name):
        return getattr(self.call, name)

    @property
    def over(self):
        return bool(self.outcome)

    def result(self):
        """(answer, error), once it is there."""
        self.raw.until(lambda: self.outcome)
        assert len(self.outcome) == 1
        return self.outcome[0]

    def answer(self):
        """The answer, which must come."""
        answer, error = self.result()
        assert error is None, repr(error)
        return answer

    def error(self, kind=Exception):
        """The error, which must come, and be of this class."""
        answer, error = self.result()
        assert answer is None and isinstance(error, kind), (answer, error)
        return error


def record(conn):
    """A list that gets what `conn` tells: (event, what it brought); of a head its status, of the body its bytes."""
    seen = []

    def note(name, of=lambda *rest: rest):
        getattr(conn, "on_" + name).attach(lambda conn, *rest: seen.append((name, *of(*rest))))

    for name in ("connect", "progress", "drain", "complete", "error", "close"):
        note(name)
    note("interim", lambda response: (response.status,))
    note("headers", lambda: (conn.response.status,))
    note("payload", lambda view: (bytes(view),))
    return seen


def story(seen):
    """What was told without what depends on how the bytes were split: `connect`, `progress` and pieces."""
    told = []
    for name, *rest in seen:
        if name == "payload" and told and isinstance(told[-1], bytes):
            told[-1] += rest[0]
        elif name in ("payload", "interim", "headers"):
            told.append(rest[0])
        elif name == "error":
            told.append(type(rest[0]))
        elif name in ("complete", "close"):
            told.append(name)
    return told


class Moves:
    """Looks every assignment of a ClientConnection's state up in MOVES, in release mode too. `moves`: those made."""

    def __init__(self):
        self.moves = set()

    def require_move(self, what, table, old, new):
        if table is MOVES:
            self.moves.add((old, new))
        require_move(what, table, old, new)


@pytest.fixture
def moves(monkeypatch):
    """Has each assignment of a ClientConnection's state checked; `moves.moves`: those made."""
    made, begin = Moves(), ClientConnection.__init__

    def watched(self, *args, **options):
        begin(self, *args, **options)
        if not self.loop.debug:  # in debug mode it is watched already
            watch_states(self)

    monkeypatch.setattr(state, "require_move", made.require_move)
    monkeypatch.setattr(ClientConnection, "__init__", watched)
    return made


@pytest.fixture
def raw(loop, clock, moves):
    raw = Raw(loop, clock)
    yield raw
    raw.close()
    if not loop.closed:
        turn(loop, 3)


@pytest.fixture
def slow(loop, clock, moves):
    """As `raw`, and the kernels hold little, so that queues fill soon."""
    slow = Raw(loop, clock, receive=4096)
    yield slow
    slow.close()
    turn(loop, 3)
