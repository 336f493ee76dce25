"""WebSockets for the tests: raw ends that speak in frames written by hand, a server that accepts, and a host for our clients.

    def test_something(site):
        chat = Chat(site)                            # a server of ours; chat.sockets, chat.events
        guest = chat.guest()                         # a raw client, the handshake done
        guest.send(TEXT, b"Hello")
        assert guest.read() == (TEXT, b"Hello")      # chat echoes unless told otherwise

    def test_another(loop, host):
        ws = host.connects()                         # a client of ours, its handshake answered by the raw server `host`
        host.wire.send(PING, b"?")

A wait of a raw end turns the loop; virtual time passes only in `wait` of the site or the host.
"""
import socket

import pytest

from icey.http import WebSocket
from icey.http.websocket.handshake import accept_key
from icey.tools.testing import Peer
from tests.fuzz import frames
from tests.fuzz.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closing, frame  # noqa: F401 - for the modules
from tests.support.http import read_answer, request
from tests.support.streams import Turning, turn

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + KEY)


class Wire:
    """One end of a connection, in frames. Its payloads are masked if it is a client's."""

    def __init__(self, peer, client):
        self.peer = peer
        self._key = frames.KEY if client else None
        self._client = client

    def raw(self, data):
        self.peer.send(data)

    def frame(self, opcode, payload=b"", **options):
        return frame(opcode, payload, key=self._key, **options)

    def send(self, opcode, payload=b"", **options):
        self.peer.send(self.frame(opcode, payload, **options))

    def bye(self, code=None, reason=b""):
        """Sends a close frame."""
        self.peer.send(closing(code, reason, key=self._key))

    def read(self):
        """(opcode, payload) of the next frame, which must be whole, unfragmented and rightly masked; None at the end."""
        found = self.read_frame()
        if found is None:
            return None
        fin, rsv, opcode, payload = found
        assert fin and not rsv, found
        return opcode, payload

    def read_frame(self):
        """(fin, rsv, opcode, payload) of the next frame, None at the end."""
        head = self.peer.read(2)
        if not head:
            return None
        assert len(head) == 2
        size = head[1] & 0x7F
        if size > 125:
            head += self.peer.read(2 if size == 126 else 8)
            size = int.from_bytes(head[2:], "big")
        if not self._client:
            head += self.peer.read(4)
        data = self.peer.read(size)
        assert len(data) == size, "the end came %d bytes early" % (size - len(data))
        (fin, rsv, opcode, payload, was_masked), = frames.read_frames(head + data)
        assert was_masked is not self._client
        return fin, rsv, opcode, payload

    def ended(self):
        """Nothing more comes but the end."""
        rest = self.peer.read_all()
        assert rest == b"", rest
        return True

    def at_reset(self):
        """Nothing more comes but a reset: the other side has given up."""
        with pytest.raises(ConnectionResetError):
            self.peer.read_all()
        assert not self.peer._held, bytes(self.peer._held)
        return True

    def silent(self, turns=5):
        """Nothing has come, and the connection is open."""
        turn(self.peer.loop, turns)
        assert not self.peer._held and not self.peer.ended, bytes(self.peer._held)
        try:
            data = self.peer.sock.recv(65536)
        except BlockingIOError:
            return True
        raise AssertionError("not silent: %r" % data)

    def close(self):
        self.peer.close()

    def reset(self):
        self.peer.reset()


def noted(ws, events=None, but=()):
    """The list that gets what a WebSocket tells, but for some events."""
    seen = [] if events is None else events

    def slot(name):
        def note(ws, *rest):
            seen.append((name, *(bytes(arg) if type(arg) is memoryview else type(arg).__name__ if isinstance(arg, Exception)
                                 else arg for arg in rest)))
        return note

    for name in ("connect", "message", "pong", "drain", "error", "close"):
        if name not in but:
            getattr(ws, "on_" + name).attach(slot(name))
    return seen


def echo(ws, data):
    """A slot of on_message."""
    ws.send(data if type(data) is str else bytes(data))


class Chat:
    """A server on a site that accepts WebSockets at any path. prepare: called with each, instead of having it echo.

    sockets, exchanges: all that came. events: what they told. options: of WebSocket.accept; server: of the server.
    """

    def __init__(self, site, prepare=None, *, limits=None, server=None, **options):
        self.site = site
        self.sockets, self.exchanges, self.events = [], [], []
        self._prepare = prepare
        self._options = options
        site.serve(self._asked, limits=limits, **(server or {}))

    @property
    def ws(self):
        """The last that came."""
        return self.sockets[-1]

    @property
    def url(self):
        return "ws://%s/" % (self.site.server.address,)

    def _asked(self, exchange):
        self.exchanges.append(exchange)
        ws = WebSocket.accept(exchange, **self._options)
        self.sockets.append(ws)
        noted(ws, self.events)
        if self._prepare is None:
            ws.on_message += echo
        else:
            self._prepare(ws)

    def guest(self, *fields, behind=b"", receive=None, target="/"):
        """A raw client whose handshake was accepted. fields: more header lines; behind: sent in the same segment."""
        client = self.site.client(receive=receive)
        client.send(request("GET", target, *HANDSHAKE, *fields) + behind)
        answer = client.answer()
        assert answer.status == 101, answer
        self.site.turn()  # on_connect
        wire = Wire(client, True)
        wire.answer = answer
        return wire


class Host(Turning):
    """A raw server for clients of ours, on a port of its own. `wire`: the connection at hand; `head`: what it asked."""

    def __init__(self, loop, clock):
        self.loop = loop
        self.clock = clock
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(8)
        self.sock.setblocking(False)
        self.wire = None
        self.head = {}
        self._peers = []

    @property
    def url(self):
        return "ws://127.0.0.1:%d/path?query" % self.sock.getsockname()[1]

    def connects(self, *fields, behind=b"", **options):
        """A WebSocket of ours that connected, its handshake answered with `fields` added; `ws.events` would be noted(ws)."""
        ws = WebSocket.connect(self.loop, self.url, **options)
        self.accepts(*fields, behind=behind)
        return ws

    def accepts(self, *fields, behind=b""):
        """Takes the next connection and answers its handshake."""
        self.asked()
        self.answers(*fields, behind=behind)

    def peer_of(self, sock):
        """The Peer of a connection."""
        return Peer(self.loop, sock)

    def asked(self):
        """Takes the next connection, and reads what it asks."""
        while True:
            try:
                sock, _ = self.sock.accept()
                break
            except BlockingIOError:
                self.loop.run_once(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = self.peer_of(sock)
        self._peers.append(peer)
        self.wire = Wire(peer, False)
        lines = peer.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
        return self.head

    def answers(self, *fields, behind=b""):
        """101, as it should be, with `fields` added."""
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Accept: " + accept_key(self.head["sec-websocket-key"]), *fields]
        self.wire.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + behind)

    def close(self):
        self.sock.close()
        for peer in self._peers:
            peer.close()


@pytest.fixture
def host(loop, clock):
    host = Host(loop, clock)
    yield host
    host.close()


def refusal(site, *fields, method="GET", version="1.1", target="/"):
    """The answer to a handshake that is not good."""
    client = site.client()
    client.send(request(method, target, *fields, version=version))
    return read_answer(client, method)
