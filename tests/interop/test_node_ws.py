"""Node's ws, as client of ours and as our server: messages, compression, pings, ends, pressure."""
import hashlib
import itertools
import json
import os
import subprocess

import pytest

import icey
from tests.interop.talk import Tap
from tests.support import IN_CI, tool

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node_ws.js")
LARGE = 1 << 20
TEXTS = ["", "hello", "grüß, 世界 🌍", "x" * 125, "x" * 126, "x" * 65535, "x" * 65536, "é" * (LARGE // 2)]
SIZES = [0, 1, 125, 126, 65535, 65536, LARGE]
TALES = [("The same words, over and over: %d. " % number) * 1500 for number in range(3)]
CLOSES = [(1000, ""), (1000, "done"), (1001, "moving"), (1011, ""), (3000, "grüß"), (4999, "x" * 123)]
PARAMETERS = ("serverNoContextTakeover", "clientNoContextTakeover", "serverMaxWindowBits", "clientMaxWindowBits")


def blob(size):
    """What the script makes for ["fill", size]."""
    return bytes((index * 7 + (index >> 8)) & 255 for index in range(size))


def shown(data):
    """How the script shows a message."""
    return ["text", data] if isinstance(data, str) else ["binary", len(data), hashlib.sha1(data).hexdigest()]


def combinations():
    """All that permessage-deflate can be asked for, as ws names it."""
    for values in itertools.product((False, True), (False, True), (None, 9, 12, 15), (None, 9, 12, 15)):
        yield dict({name: value for name, value in zip(PARAMETERS, values) if value is not None}, threshold=0)


def terms(asked, ours=None):
    """What is agreed on then, as the answer to the handshake says it. ours: the bits of our window, where we answer."""
    names = ("server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits")
    values = [asked.get(name, False) for name in PARAMETERS]
    values[3] = values[3] or ours
    return {"permessage-deflate"} | {name if value is True else "%s=%d" % (name, min(value, ours or value))
                                     for name, value in zip(names, values) if value}


@pytest.fixture(scope="session")
def ws_is_there():
    looked = subprocess.run([tool("node"), "-e", "require('ws')"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    if looked.returncode:
        (pytest.fail if IN_CI else pytest.skip)("node does not find the package ws: npm install it, and set NODE_PATH")


class Node:
    """A Node that does what it is told, and says what it sees."""

    def __init__(self, loop, until):
        self._until, self._said, self._rest = until, [], b""
        self._process = subprocess.Popen([tool("node"), SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._poll = icey.Poll(loop, self._process.stdout.fileno())
        self._poll.on_readable += self._read

    def do(self, *task):
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        self._process.stdin.flush()

    def next(self, count=1):
        """The next things that it says."""
        self._until(lambda: len(self._said) >= count or self._poll.closing)
        found = self._said[:count]
        del self._said[:count]
        return found

    def opened(self):
        """Waits until its connection is open: (subprotocol, extensions)."""
        (event, *rest), = self.next()
        assert event == "open", (event, rest)
        return rest

    def serve(self, **options):
        """Has it listen: a URL."""
        self.do("serve", options)
        (event, port), = self.next()
        return "%s://localhost:%d/" % ("wss" if "cert" in options else "ws", port)

    def end(self):
        self._poll.close()
        self._process.kill()
        self._process.communicate()

    def _read(self, poll):
        data = os.read(self._process.stdout.fileno(), 1 << 20)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._said += map(json.loads, lines)
        if not data:  # it has ended, what was said to stderr is on the test's
            poll.close()


@pytest.fixture
def node(ws_is_there, loop, until):
    node = Node(loop, until)
    yield node
    node.end()


@pytest.fixture
def ours(loop, until):
    """ours(url, **options) -> a WebSocket of ours that connected; .heard and .ends gather what it tells."""
    class Ours:
        def __init__(self, url, **options):
            self.heard, self.pongs, self.errors, self.ends = [], [], [], []
            connected = []
            self.ws = icey.http.WebSocket.connect(loop, url, **options)
            self.ws.on_connect += connected.append
            self.ws.on_message += lambda ws, data: self.heard.append(data if isinstance(data, str) else bytes(data))
            self.ws.on_pong += lambda ws, data: self.pongs.append(bytes(data))
            self.ws.on_error += lambda ws, exc: self.errors.append(exc)
            self.ws.on_close += lambda ws, code, reason: self.ends.append((code, reason))
            until(lambda: connected or self.ends)

    return Ours


# ws as the client, our server

@pytest.mark.parametrize("compression", [True, False])
def test_its_client_has_messages_echoed(talk, node, compression):
    server = talk()
    node.do("connect", server.ws_url, [], {"perMessageDeflate": compression})
    assert node.opened() == ["", "permessage-deflate; client_max_window_bits=12" if compression else ""]
    for text in TEXTS:
        node.do("text", text)
    for size in SIZES:
        node.do("fill", size)
    node.do("pieces", "in ", "", "four ", "pieces")
    assert node.next(len(TEXTS) + len(SIZES) + 1) == (
        [shown(text) for text in TEXTS] + [shown(blob(size)) for size in SIZES] + [["text", "in four pieces"]])
    node.do("close", 1000, "enough")
    assert node.next() == [["close", 1000, ""]] and server.errors == []


def test_all_that_its_client_can_offer(talk, node):
    server = talk()
    for asked in combinations():
        node.do("connect", server.ws_url, [], {"perMessageDeflate": asked})
        assert set(node.opened()[1].split("; ")) == terms(asked, ours=12)
        for tale in TALES:
            node.do("text", tale)
        assert node.next(3) == [["text", tale] for tale in TALES], asked
        node.do("close", 1000)
        assert node.next() == [["close", 1000, ""]]
    assert server.ended(64) == [(1000, "")] * 64 and server.errors == []


def test_compression_spares_bytes_both_ways(loop, talk, node):
    size = sum(map(len, TALES))
    for compression, least, most in ((False, size, size + 2000), (True, 10, 5000)):
        tap = Tap(loop, talk().port)
        node.do("connect", tap.ws_url, [], {"perMessageDeflate": compression})
        node.opened()
        for tale in TALES:
            node.do("text", tale)
        node.next(3)
        assert least < tap.up < most and least < tap.down < most
        node.do("terminate")
        node.next()


def test_pings_between_its_client_and_us(talk, node, until):
    pongs = []
    server = talk(lambda ws: ws.on_pong.attach(lambda ws, data: pongs.append(bytes(data))))
    node.do("connect", server.ws_url, [], {})
    node.opened()
    node.do("ping", "there?")
    assert node.next() == [["pong", "there?"]]
    server.sockets[0].ping(b"and you?")
    until(lambda: pongs)
    assert pongs == [b"and you?"]


def test_its_client_closes(talk, node):
    server = talk()
    for code, reason in CLOSES:
        node.do("connect", server.ws_url, [], {})
        node.opened()
        node.do("close", code, reason)
        assert node.next() == [["close", code, ""]]  # the server says the code back, and no reason
        assert server.ended() == [(code, reason)] and server.errors == []
    node.do("connect", server.ws_url, [], {})
    node.opened()
    node.do("terminate")
    assert server.ended() == [(1006, "")]


def test_our_server_closes(talk, node):
    server = talk(lambda ws: ws.on_message.attach(lambda ws, data: ws.close(*CLOSES[int(data)])))
    for number, (code, reason) in enumerate(CLOSES):
        node.do("connect", server.ws_url, [], {})
        node.opened()
        node.do("text", str(number))
        assert node.next() == [["close", code, reason]]
    assert server.ended(len(CLOSES)) == CLOSES and server.errors == []


def test_a_message_of_its_client_that_is_too_large(talk, node):
    server = talk(limits=icey.Limits(max_message=1000))
    node.do("connect", server.ws_url, [], {})
    node.opened()
    node.do("fill", 1001)
    (event, code, _), = node.next()
    assert (event, code) == ("close", 1009)


def test_its_client_is_refused_for_its_origin(talk, node):
    node.do("connect", talk(origins=["http://here.test"]).ws_url, [], {"origin": "http://elsewhere.test"})
    assert node.next(2) == [["error", "Unexpected server response: 403"], ["close", 1006, ""]]


def test_its_client_over_tls_with_a_subprotocol(talk, node, certs):
    server = talk(tls=icey.tls.server_context(*certs.cert("localhost")), subprotocols=["v1", "v2"])
    node.do("connect", server.ws_url, ["v2", "v1"], {"ca": certs.ca})
    assert node.opened()[0] == "v1"
    node.do("fill", LARGE)
    assert node.next() == [shown(blob(LARGE))]


def test_its_client_does_not_read_for_a_while(talk, node, until):
    def fill(ws):
        while len(answers) < 400:
            answers.append(ws.send(piece))
            assert ws.queued <= ws.limits.high_water + len(piece) + 20
            if not answers[-1]:
                return

    answers, piece = [], bytes(65536)
    server = talk(lambda ws: ws.on_drain.attach(fill), compression=False)
    node.do("connect", server.ws_url, [], {})
    node.opened()
    node.do("pause")
    fill(server.sockets[0])
    until(lambda: not answers[-1])
    node.do("resume")
    assert node.next(400) == [shown(piece)] * 400 and False in answers


# Our client, ws as the server

@pytest.mark.parametrize("compression", [True, False])
def test_its_server_echoes(node, ours, until, compression):
    client = ours(node.serve(perMessageDeflate=compression))
    node.opened()
    messages = TEXTS + [blob(size) for size in SIZES]
    for message in messages:
        client.ws.send(message)
    client.ws.send_piece("in ")
    client.ws.send_piece("two", final=True)
    until(lambda: len(client.heard) > len(messages))
    assert client.heard == messages + ["in two"]
    assert node.next(len(messages)) == [shown(message) for message in messages]


def test_all_that_its_server_can_answer(node, ours, until):
    for asked in combinations():
        client = ours(node.serve(perMessageDeflate=asked))
        assert set(node.opened()[1].split("; ")) == terms(asked)
        for tale in TALES:
            client.ws.send(tale)
        until(lambda heard=client.heard: len(heard) == 3)
        assert client.heard == TALES and node.next(3) == [["text", tale] for tale in TALES]
        client.ws.close()
        assert node.next() == [["close", 1000, ""]]


def test_pings_between_its_server_and_us(node, ours, until):
    client = ours(node.serve())
    node.opened()
    node.do("ping", "there?")
    assert node.next() == [["pong", "there?"]]
    client.ws.ping(b"and you?")
    until(lambda: client.pongs)
    assert client.pongs == [b"and you?"]


def test_our_client_closes(node, ours, until):
    url = node.serve()
    for code, reason in CLOSES:
        client = ours(url)
        node.opened()
        client.ws.close(code, reason)
        assert node.next() == [["close", code, reason]]
        until(lambda ends=client.ends: ends)
        assert client.ends == [(code, reason)] and client.errors == []  # ws says the reason back, too


def test_its_server_closes(node, ours, until):
    url = node.serve()
    for code, reason in CLOSES:
        client = ours(url)
        node.opened()
        node.do("close", code, reason)
        until(lambda ends=client.ends: ends)
        assert client.ends == [(code, reason)] and client.errors == []
        assert node.next() == [["close", code, ""]]
    client = ours(url)
    node.opened()
    node.do("terminate")
    until(lambda: client.ends)
    assert client.ends == [(1006, "")] and [type(exc) for exc in client.errors] == [icey.PeerClosed]


def test_our_message_is_too_large_for_its_server(node, ours, until):
    client = ours(node.serve(maxPayload=1000))
    node.opened()
    client.ws.send(bytes(1001))
    until(lambda: client.ends)
    assert client.ends == [(1009, "")]
    assert node.next()[0][0] == "error"


def test_our_client_over_tls_with_a_subprotocol(node, ours, until, certs):
    cert, key = certs.cert("localhost")
    client = ours(node.serve(cert=cert, key=key), subprotocols=["v2", "v1"], tls=icey.tls.client_context(ca=certs.ca))
    assert node.opened()[0] == client.ws.subprotocol == "v2"
    client.ws.send(blob(LARGE))
    until(lambda: client.heard)
    assert client.heard == [blob(LARGE)]
