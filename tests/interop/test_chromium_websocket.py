"""Chromium's WebSocket against ours: what the page sends comes back, and both see how it ends. Driven over one, too."""
import pytest

import icey
from tests.interop.talk import Tap, echo

# A page with two helpers. open(...) -> a WebSocket that is open; next(ws) -> its next message, as [kind, size, text or sum];
# ended(ws) -> [code, reason, wasClean].
PAGE = """<!doctype html><meta charset="utf-8"><title>Talk</title><link rel="icon" href="data:,">
<script>
const here = location.origin.replace("http", "ws");
function show(data) {
    if (typeof data === "string") return ["text", data.length, data.slice(0, 40)];
    const bytes = new Uint8Array(data);
    return ["binary", bytes.length, bytes.reduce((sum, byte, index) => (sum + byte * (index % 251 + 1)) % 1000003, 0)];
}
function start(url = here, protocols = []) {
    const ws = new WebSocket(url, protocols);
    ws.binaryType = "arraybuffer";
    ws.heard = [];
    ws.onmessage = event => { ws.heard.push(show(event.data)); if (ws.wake) ws.wake() };
    ws.gone = new Promise(done => ws.onclose = event => done([event.code, event.reason, event.wasClean]));
    return new Promise((done, fail) => { ws.onopen = () => done(ws); ws.onerror = () => fail(Error("no connection")) });
}
async function heard(ws, count) {
    while (ws.heard.length < count) await new Promise(done => ws.wake = done);
    return ws.heard.splice(0, count);
}
function bytes(size) { return Uint8Array.from({length: size}, (_, index) => index * 7 + (index >> 8)) }
</script>
"""
LARGE = 1 << 20


def weight(data):
    """What the page's show() makes of bytes."""
    return sum(byte * (index % 251 + 1) for index, byte in enumerate(data)) % 1000003


def of_page(size):
    """What the page's bytes() makes."""
    return bytes((index * 7 + (index >> 8)) & 255 for index in range(size))


@pytest.fixture
def visit(talk, window):
    """visit(prepare, **options) -> (a Talk, a page of it)."""
    def visit(*prepare, **options):
        server, page = talk(*prepare, page=PAGE, **options), window()
        page.go(server.url)
        return server, page

    return visit


@pytest.mark.parametrize("compression", [True, False])
def test_what_a_page_sends_comes_back(visit, compression):
    server, page = visit(compression=compression)
    received = []
    server._prepare = lambda ws: (ws.on_message.attach(lambda ws, data: received.append(
        data if isinstance(data, str) else bytes(data))), echo(ws))
    found = page.run("""start().then(ws => {
        window.ws = ws;
        for (const text of ["", "hello", "grüß, 世界 🌍", ...[125, 126, 65535, 65536].map(size => "x".repeat(size))])
            ws.send(text);
        for (const size of [0, 1, 125, 126, 65535, 65536, %d])
            ws.send(bytes(size));
        ws.send("é".repeat(%d));
        return heard(ws, 15);
    })""" % (LARGE, LARGE))
    texts = ["", "hello", "grüß, 世界 🌍"] + ["x" * size for size in (125, 126, 65535, 65536)]
    blobs = [of_page(size) for size in (0, 1, 125, 126, 65535, 65536, LARGE)]
    assert received == texts + blobs + ["é" * LARGE]
    units = [len(text.encode("utf-16-le")) // 2 for text in texts]  # as JavaScript counts
    assert found == ([["text", size, text[:40]] for size, text in zip(units, texts)]
                     + [["binary", len(blob), weight(blob)] for blob in blobs] + [["text", LARGE, "é" * 40]])
    assert page.run("ws.extensions") == ("permessage-deflate; client_max_window_bits=12" if compression else "")
    assert page.errors == []


def test_messages_that_the_server_begins(visit, until):
    server, page = visit()
    page.run("start().then(ws => { window.ws = ws })")
    ws = server.sockets[0]
    blob = of_page(LARGE)
    for message in ("unasked", "世界", b"", blob):
        ws.send(message)
    for piece in (b"in ", b"three ", b"pieces"):
        ws.send_piece(piece, final=piece == b"pieces")
    assert page.run("heard(ws, 5)") == [["text", 7, "unasked"], ["text", 2, "世界"], ["binary", 0, 0],
                                        ["binary", LARGE, weight(blob)], ["binary", 15, weight(b"in three pieces")]]
    pongs = []
    ws.on_pong += lambda ws, data: pongs.append(bytes(data))
    ws.ping(b"there?")
    until(lambda: pongs)
    assert pongs == [b"there?"]


def test_a_reload_closes_and_connects_anew(visit):
    server, page = visit()
    for count in (1, 2, 3):
        assert page.run("start().then(ws => { window.ws = ws; ws.send('visit %d'); return heard(ws, 1) })" % count) == [
            ["text", 7, "visit %d" % count]]
        assert len(server.sockets) == count and server.closed == []
        page.go(server.url)
        assert server.ended() == [(1001, "")]
    assert page.errors == [] and server.errors == []


def test_a_window_that_is_closed(visit):
    server, page = visit()
    page.run("start().then(ws => { window.ws = ws })")
    page.close()
    assert server.ended() in ([(1001, "")], [(1006, "")])  # it does not always say goodbye


def test_compression_is_used_both_ways(loop, visit):
    sizes = {}
    for compression in (True, False):
        server, page = visit(compression=compression)
        tap = Tap(loop, server.port)
        assert page.run("""start("%s").then(ws => {
            const text = "The same words, over and over. ".repeat(4000);
            ws.send(text);
            ws.send(text);
            return heard(ws, 2);
        })""" % tap.ws_url) == [["text", 124000, "The same words, over and over. The same "]] * 2
        sizes[compression] = tap.up, tap.down
    assert all(2 * 124000 < size < 2 * 124000 + 2000 for size in sizes[False])
    assert all(size < 3000 for size in sizes[True]), sizes


def test_subprotocols(visit):
    server, page = visit(subprotocols=["v1.chat", "v2.chat"])
    for offered, agreed in ((["v1.chat"], "v1.chat"), (["v2.chat"], "v2.chat"), (["v2.chat", "v1.chat"], "v1.chat"),
                            (["other", "v2.chat"], "v2.chat"), ([], "")):  # the server's choice, by its own order
        assert page.run("start(here, %r).then(ws => ws.protocol)" % offered) == agreed
        assert server.sockets[-1].subprotocol == (agreed or None)
    assert page.errors == []
    # One that is not spoken is not refused by us: it is the browser that does not go on without.
    assert page.run("start(here, ['other']).catch(error => error.message)") == "no connection"
    assert "non-empty 'Sec-WebSocket-Protocol' header but no response was received" in page.errors[-1]


def test_the_page_closes(visit):
    server, page = visit()
    for given, seen in (("", (1005, "")), ("1000", (1000, "")), ("1000, 'done'", (1000, "done")),
                        ("3000, 'grüß'", (3000, "grüß")), ("4999, '%s'" % ("x" * 123), (4999, "x" * 123))):
        code, _, clean = page.run("start().then(ws => { ws.close(%s); return ws.gone })" % given)
        assert (code, clean) == (seen[0], True)  # the server says the code back, and no reason
        assert server.ended() == [seen] and server.errors == []


def test_the_server_closes(visit):
    ends = [(1000, ""), (1001, "moving"), (1011, ""), (1013, "grüß"), (3000, "x" * 123), (4999, "")]
    server, page = visit(lambda ws: ws.on_message.attach(lambda ws, data: ws.close(*ends[int(data)])))
    for count, (code, reason) in enumerate(ends):
        assert page.run("start().then(ws => { ws.send('%d'); return ws.gone })" % count) == [code, reason, True]
        assert server.ended() == [(code, reason)] and server.errors == []


def test_a_server_that_stops(visit):
    server, page = visit()
    page.run("start().then(ws => { window.ws = ws })")
    server.server.stop(drain=5)
    assert page.run("ws.gone") == [1001, "the server stops", True]


def test_a_connection_that_breaks(visit):
    server, page = visit()
    page.run("start().then(ws => { window.ws = ws })")
    server.sockets[0].abort()
    assert page.run("ws.gone") == [1006, "", False]


def test_a_message_that_is_too_large_for_the_server(visit):
    server, page = visit(limits=icey.Limits(max_message=1000))
    code, reason, clean = page.run("start().then(ws => { ws.send('x'.repeat(1001)); return ws.gone })")
    assert code == 1009 and reason
    assert server.ended() == [(1006, "")] and [name for name, _ in server.errors] == ["WebSocketError"]


def test_the_origin_is_looked_at(visit):
    server, page = visit(origins=["http://elsewhere.test"])
    assert page.run("start().catch(error => error.message)") == "no connection"
    assert "Unexpected response code: 403" in page.errors[-1]
    welcome, page = visit(origins=lambda origin: origin == "http://localhost:%d" % welcome.port)
    assert page.run("start().then(ws => ws.readyState)") == 1


def test_secure(visit, certs):
    server, page = visit(tls=icey.tls.server_context(*certs.cert("localhost")))
    assert page.run("""start().then(ws => {
        ws.send("secret");
        ws.send(bytes(%d));
        return heard(ws, 2).then(found => { ws.close(4000, "bye"); return ws.gone.then(end => [ws.url, ...found, end]) });
    })""" % LARGE) == ["wss://localhost:%d/" % server.port, ["text", 6, "secret"], ["binary", LARGE, weight(of_page(LARGE))],
                       [4000, "", True]]
    assert server.ended() == [(4000, "bye")] and page.errors == []


def test_a_certificate_that_it_does_not_trust(visit, talk, certs):
    _, page = visit()
    server = talk(tls=icey.tls.server_context(*certs.cert("self-signed")))
    assert page.run("start('%s').catch(error => error.message)" % server.ws_url) == "no connection"
    assert "ERR_CERT_AUTHORITY_INVALID" in page.errors[-1] and server.sockets == []


def test_a_page_that_does_not_keep_up(visit, until):
    """While it is busy elsewhere, little waits for it here; and it gets all in the end."""
    server, page = visit(lambda ws: None, compression=False)
    page.run("start().then(ws => { window.ws = ws })")
    ws, answers, blob = server.sockets[0], [], bytes(65536)

    def fill(ws):
        while len(answers) < 400:
            answers.append(ws.send(blob))
            assert ws.queued <= ws.limits.high_water + len(blob) + 20
            if not answers[-1]:
                return

    ws.on_drain += fill
    page.run("setTimeout(() => { const end = Date.now() + 500; while (Date.now() < end); })")
    fill(ws)
    until(lambda: len(answers) == 400)
    assert False in answers
    assert page.run("heard(ws, 400).then(all => all.every(one => one[1] === 65536))")
