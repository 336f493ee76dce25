"""The `websockets` library, as client of ours and as our server: messages, compression, pings, ends, pressure.

Its blocking interface is used, in threads; icey is on the test's loop.
"""
import itertools
import threading
import zlib

import pytest

import icey
from tests.interop.talk import Tap
from tests.support import library
from tests.support.tls import client_context, server_context

theirs = library("websockets.sync.client").connect
serve = library("websockets.sync.server").serve
deflate = library("websockets.extensions.permessage_deflate")
exceptions = library("websockets.exceptions")
Headers = library("websockets.datastructures").Headers
Response = library("websockets.http11").Response

TIMES = {"open_timeout": 20, "close_timeout": 20, "ping_interval": None}
LARGE = 1 << 20
TEXTS = ["", "hello", "grüß, 世界 🌍", "x" * 125, "x" * 126, "x" * 65535, "x" * 65536, "é" * (LARGE // 2)]
BLOBS = [b"", b"\0", bytes(range(256)), bytes(65535), bytes(65536), bytes(range(256)) * 4096]
CLOSES = [(1000, ""), (1000, "done"), (1001, "moving"), (1011, ""), (3000, "grüß"), (4999, "x" * 123)]


def connect(url, **options):
    """A connection of the library's."""
    return theirs(url, proxy=None, max_size=None, **dict(TIMES, **options))


def own(message):
    return message if isinstance(message, str) else bytes(message)


def exchanged(peer, messages):
    """What comes back for each."""
    found = []
    for message in messages:
        peer.send(message)
        found.append(peer.recv(timeout=20))
    return found


def echo(peer):
    """A handler of their server."""
    for message in peer:
        peer.send(message)


@pytest.fixture
def hosted():
    """hosted(handler=echo, **options) -> the URL of a server of the library's."""
    running = []

    def hosted(handler=echo, **options):
        scheme = "wss" if "ssl" in options else "ws"
        server = serve(handler, "127.0.0.1", 0, max_size=None, **dict(TIMES, **options))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return "%s://127.0.0.1:%d/" % (scheme, server.socket.getsockname()[1])

    yield hosted
    for server, thread in running:
        server.shutdown()
        thread.join()


@pytest.fixture
def ours(loop, until):
    """ours(url, **options) -> a WebSocket of ours that connected; .heard, .end: what came, the (code, reason) of its end."""
    class Ours:
        def __init__(self, url, **options):
            self.heard, self.pongs, self.errors, self.end = [], [], [], None
            self.ws = ws = icey.http.WebSocket.connect(loop, url, **options)
            connected = []
            ws.on_connect += connected.append
            ws.on_message += lambda ws, data: self.heard.append(own(data))
            ws.on_pong += lambda ws, data: self.pongs.append(bytes(data))
            ws.on_error += lambda ws, exc: self.errors.append(exc)
            ws.on_close += self.closed
            until(lambda: connected or self.end)

        def until_the_end(self):
            until(lambda: self.end)

        def closed(self, ws, code, reason):
            self.end = code, reason

        def exchanged(self, messages):
            self.heard.clear()
            for message in messages:
                self.ws.send(message)
            until(lambda: len(self.heard) == len(messages) or self.end)
            return self.heard

    return Ours


# their client, our server

@pytest.mark.parametrize("compression", ["deflate", None])
def test_their_client_has_messages_echoed(talk, aside, compression):
    def converse():
        with connect(server.ws_url, compression=compression) as peer:
            assert len(peer.protocol.extensions) == (compression is not None)
            return exchanged(peer, TEXTS + BLOBS)

    server = talk()
    assert aside(converse) == TEXTS + BLOBS
    assert server.ended() == [(1000, "")] and server.errors == []


def test_their_client_has_fragments_echoed(talk, aside):
    def converse():
        with connect(server.ws_url) as peer:
            return exchanged(peer, (iter(pieces) for pieces in messages))

    messages = [["one"], ["in ", "", "three ", "pieces"], [b"\0", b"\1" * 70000, b"\2"], ["é" * 1000] * 100]
    server = talk()
    assert aside(converse) == [pieces[0][:0].join(pieces) for pieces in messages]


def test_their_client_gets_pieces_as_they_come(talk, aside):
    def prepare(ws):
        for piece in range(5):
            ws.send_piece("piece %d;" % piece, final=piece == 4)

    def converse():
        with connect(server.ws_url) as peer:
            return list(peer.recv_streaming())

    server = talk(lambda ws: ws.on_connect.attach(prepare))
    assert aside(converse) == ["piece %d;" % piece for piece in range(5)]


TALES = [("The same words, over and over: %d. " % number) * 1500 for number in range(3)]


def test_all_that_their_client_can_offer(talk, aside):
    """Every combination of parameters."""
    def converse():
        for server_no, client_no, server_bits, client_bits in combinations:
            offer = deflate.ClientPerMessageDeflateFactory(server_no, client_no, server_bits, client_bits)
            with connect(server.ws_url, compression=None, extensions=[offer]) as peer:
                assert exchanged(peer, TALES) == TALES
                agreed.append(peer.protocol.extensions)

    server, agreed = talk(), []
    combinations = list(itertools.product((False, True), (False, True), (None, 9, 12, 15), (None, True, 9, 12, 15)))
    aside(converse)
    for (server_no, client_no, server_bits, client_bits), found in zip(combinations, agreed):
        extension, = found
        assert (extension.remote_no_context_takeover, extension.local_no_context_takeover) == (server_no, client_no)
        assert extension.remote_max_window_bits == (min(server_bits, 12) if server_bits else 15)  # 12: our window
        assert extension.local_max_window_bits == {None: 15, True: 12}.get(client_bits, min(client_bits or 12, 12))
    assert server.errors == [] and set(server.ended(len(combinations))) == {(1000, "")}


def test_compression_spares_bytes_both_ways(loop, talk, aside):
    def converse(compression):
        with connect(tap.ws_url, compression=compression) as peer:
            assert exchanged(peer, TALES) == TALES

    size, packed = sum(map(len, TALES)), len(zlib.compress("".join(TALES).encode()))
    for compression, least, most in ((None, size, size + 2000), ("deflate", 10, packed + 2000)):
        tap = Tap(loop, talk().port)
        aside(converse, compression)
        assert least < tap.up < most and least < tap.down < most


def test_pings_between_their_client_and_us(talk, aside):
    def converse():
        with connect(server.ws_url) as peer:
            assert peer.ping().wait(20) and peer.ping("x" * 125).wait(20)
            peer.recv(timeout=20)

    pongs = []
    server = talk(lambda ws: ws.on_connect.attach(lambda ws: (ws.ping(b"there?"), ws.on_pong.attach(
        lambda ws, data: (pongs.append(bytes(data)), ws.send("enough"))))))
    aside(converse)
    assert pongs == [b"there?"]


def test_their_client_closes(talk, aside):
    def converse():
        for code, reason in CLOSES:
            with connect(server.ws_url) as peer:
                peer.close(code, reason)
                ends.append((peer.protocol.close_rcvd.code, peer.protocol.close_rcvd_then_sent))

    server, ends = talk(), []
    aside(converse)
    assert ends == [(code, False) for code, _ in CLOSES]  # it gets the same code back
    assert server.ended(len(CLOSES)) == CLOSES and server.errors == []


def test_our_server_closes(talk, aside):
    def converse():
        for number in range(len(CLOSES)):
            with connect(server.ws_url) as peer:
                peer.send(str(number))
                with pytest.raises(exceptions.ConnectionClosed) as caught:
                    peer.recv(timeout=20)
                ends.append((caught.value.rcvd.code, caught.value.rcvd.reason))

    server, ends = talk(lambda ws: ws.on_message.attach(lambda ws, data: ws.close(*CLOSES[int(data)]))), []
    aside(converse)
    assert ends == CLOSES and server.ended(len(CLOSES)) == CLOSES and server.errors == []


def test_a_message_of_theirs_that_is_too_large(talk, aside):
    def converse():
        with connect(server.ws_url) as peer:
            peer.send("x" * 1001)
            with pytest.raises(exceptions.ConnectionClosedError) as caught:
                peer.recv(timeout=20)
            return caught.value.rcvd.code

    server = talk(limits=icey.Limits(max_message=1000))
    assert aside(converse) == 1009
    assert server.ended() == [(1006, "")] and server.errors[0][0] == "WebSocketError"


def test_a_handshake_that_our_server_refuses(talk, aside):
    def converse():
        with pytest.raises(exceptions.InvalidStatus) as caught:
            connect(server.ws_url, origin="http://elsewhere.test")
        return caught.value.response.status_code

    server = talk(origins=["http://here.test"])
    assert aside(converse) == 403


def test_their_client_over_tls_with_a_subprotocol(talk, aside, certs):
    def converse():
        with connect(server.ws_url, ssl=client_context(certs), subprotocols=["v2", "v1"]) as peer:
            return peer.subprotocol, exchanged(peer, TEXTS)

    server = talk(tls=icey.tls.server_context(*certs.cert("localhost")), subprotocols=["v1", "v2"])
    assert aside(converse) == ("v1", TEXTS)


def test_their_client_does_not_read_for_a_while(talk, aside):
    """What waits for it here is bounded; then it gets all."""
    def converse():
        with connect(server.ws_url, compression=None, max_queue=1) as peer:
            held.wait(20)
            return sum(len(peer.recv(timeout=20)) for _ in range(400))

    def fill(ws):
        while len(answers) < 400:
            answers.append(ws.send(bytes(65536)))
            assert ws.queued <= ws.limits.high_water + 65536 + 20
            if not answers[-1]:
                held.set()
                return

    answers, held = [], threading.Event()
    server = talk(lambda ws: (ws.on_connect.attach(fill), ws.on_drain.attach(fill)))
    assert aside(converse) == 400 * 65536 and False in answers


def test_we_do_not_read_their_client_for_a_while(talk, aside, loop):
    def converse():
        with connect(server.ws_url, compression=None) as peer:
            for number in range(400):
                peer.send(bytes(65536))
                sent.append(number)
            assert peer.recv(timeout=20) == "all there"

    def prepare(ws):
        ws.pause()
        ws.on_message += lambda ws, data: (received.append(len(data)), len(received) == 400 and ws.send("all there"))
        loop.call_later(0.5, lambda: (held.append(len(sent)), ws.resume()))

    sent, received, held = [], [], []
    server = talk(prepare)
    aside(converse)
    assert received == [65536] * 400 and held[0] < 300, "it had to wait: the kernel holds some MiB"


# our client, their server

@pytest.mark.parametrize("compression", ["deflate", None])
def test_their_server_echoes(hosted, ours, until, compression):
    client = ours(hosted(compression=compression))
    assert client.exchanged(TEXTS + BLOBS) == TEXTS + BLOBS
    client.heard.clear()
    client.ws.send_piece("in ")
    client.ws.send_piece("two", final=True)
    until(lambda: client.heard)
    assert client.heard == ["in two"]


def test_all_that_their_server_can_answer(hosted, ours):
    """Every combination of parameters."""
    def handler(peer):
        agreed.append(peer.protocol.extensions)
        echo(peer)

    agreed = []
    for server_no, client_no, server_bits, client_bits in itertools.product(
            (False, True), (False, True), (None, 9, 12, 15), (None, 9, 12, 15)):
        answer = deflate.ServerPerMessageDeflateFactory(server_no, client_no, server_bits, client_bits)
        client = ours(hosted(handler, compression=None, extensions=[answer]))
        assert client.exchanged(TALES) == TALES
        extension, = agreed[-1]
        assert (extension.local_no_context_takeover, extension.remote_no_context_takeover) == (server_no, client_no)
        assert (extension.local_max_window_bits, extension.remote_max_window_bits) == (server_bits or 15, client_bits or 15)
        client.ws.close()
        client.until_the_end()


def test_pings_between_their_server_and_us(hosted, ours, until):
    def handler(peer):
        answered.append(peer.ping("there?").wait(20))
        echo(peer)

    answered = []
    client = ours(hosted(handler))
    client.ws.ping(b"and you?")
    until(lambda: answered and client.pongs)
    assert answered == [True] and client.pongs == [b"and you?"]


def test_our_client_closes(hosted, ours, until):
    def handler(peer):
        with pytest.raises(exceptions.ConnectionClosed) as caught:
            peer.recv()
        seen.append((caught.value.rcvd.code, caught.value.rcvd.reason))

    url, seen = hosted(handler), []
    for code, reason in CLOSES:
        client = ours(url)
        client.ws.close(code, reason)
        client.until_the_end()
        assert client.end == (code, reason) and client.errors == []
        until(lambda end=(code, reason): seen and seen[-1] == end)  # in a thread of its own
    assert seen == CLOSES


def test_their_server_closes(hosted, ours):
    url = hosted(lambda peer: peer.close(*CLOSES[int(peer.recv())]))
    for number, end in enumerate(CLOSES):
        client = ours(url)
        client.ws.send(str(number))
        client.until_the_end()
        assert client.end == end and client.errors == []


def test_a_message_of_theirs_that_is_too_large_for_our_client(hosted, ours, until):
    def handler(peer):
        peer.send("x" * 1001)
        with pytest.raises(exceptions.ConnectionClosedError) as caught:
            peer.recv()
        seen.append(caught.value.rcvd.code)

    seen = []
    client = ours(hosted(handler), limits=icey.Limits(max_message=1000))
    until(lambda: client.end and seen)
    assert client.end == (1006, "") and client.errors[0].close_code == 1009 and seen == [1009]


def test_a_handshake_that_their_server_refuses(hosted, ours):
    refusal = Response(401, "Unauthorized", Headers({"WWW-Authenticate": "Basic"}), b"no")
    client = ours(hosted(process_request=lambda peer, request: refusal))
    assert client.end == (1006, "") and client.errors[0].status == 401
    assert client.errors[0].response.headers["www-authenticate"] == "Basic"


def test_our_client_over_tls_with_a_subprotocol(hosted, ours, certs):
    client = ours(hosted(ssl=server_context(certs), subprotocols=["v1", "v2"]), subprotocols=["v2", "v1"],
                  tls=icey.tls.client_context(ca=certs.ca))
    assert client.ws.subprotocol in ("v1", "v2") and client.exchanged(TEXTS) == TEXTS


def test_their_server_does_not_read_for_a_while(hosted, ours, until):
    def handler(peer):
        held.wait(20)
        echo(peer)

    held, answers = threading.Event(), []
    client = ours(hosted(handler, max_queue=1, compression=None))

    def fill(ws):
        while len(answers) < 400:
            answers.append(ws.send(bytes(65536)))
            assert ws.queued <= ws.limits.high_water + 65536 + 20
            if not answers[-1]:
                held.set()
                return

    client.ws.on_drain += fill
    fill(client.ws)
    until(lambda: len(client.heard) == 400)
    assert False in answers and set(map(len, client.heard)) == {65536}
