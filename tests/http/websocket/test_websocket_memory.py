"""What a WebSocket leaves behind: nothing that only the garbage collector would find; and what many tiny messages cost."""
import gc

import pytest

import icey
from tests.support import http, websocket
from tests.support.websocket import PONG, TEXT, Chat

debug, clock, reports, loop, site, host = http.debug, http.clock, http.reports, http.loop, http.site, websocket.host

pytestmark = pytest.mark.skipif(not hasattr(gc, "freeze"), reason="this Python does not count references")

ENDS = {
    "their goodbye": lambda site, chat, guest: guest.bye(1000),
    "our goodbye": lambda site, chat, guest: (chat.ws.close(), site.turn(3), guest.bye(1000)),
    "a goodbye that nobody answers": lambda site, chat, guest: (chat.ws.close(), site.wait(20.0)),
    "abort": lambda site, chat, guest: chat.ws.abort(),
    "a reset": lambda site, chat, guest: guest.reset(),
    "an end without a goodbye": lambda site, chat, guest: guest.close(),
    "a broken rule": lambda site, chat, guest: (guest.send(TEXT, rsv=7), site.turn(3), guest.close()),
    "no pong": lambda site, chat, guest: site.wait(20.0),
    "a pong, and then none": lambda site, chat, guest: (site.wait(5.1), guest.send(PONG), site.wait(20.0)),
    "a burst": lambda site, chat, guest: (guest.raw(guest.frame(TEXT) * 1000), site.turn(2), guest.bye(1000)),
}


@pytest.mark.needs("zlib")
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("field", [(), ("Sec-WebSocket-Extensions: permessage-deflate",)], ids=["plain", "compressed"])
def test_nothing_of_a_session_is_left_for_the_collector(site, how, field):
    """Not of the WebSocket, nor of the connection that carried it and the exchange that was its handshake."""
    def prepare(ws):
        ws.on_connect += lambda ws: ws.send("x")
        ws.on_message += lambda data_of, data: ws.send("x")  # a slot that holds its WebSocket

    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        chat = Chat(site, prepare, ping_interval=5.0, limits={"pong_timeout": 5.0, "close_timeout": 3.0})
        guest = chat.guest(*field)
        guest.send(TEXT, b"Hello" * 100)
        site.turn(5)
        ENDS[how](site, chat, guest)
        site.until(lambda: chat.ws.closed)
        guest.close()
        site.turn(5)
        chat.sockets.clear()
        chat.exchanges.clear()
        gc.collect()
        found = [type(thing).__name__ for thing in gc.garbage
                 if type(thing).__module__.startswith("icey") or type(thing).__name__ in ("function", "method", "frame")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert found == []


@pytest.mark.parametrize("size", [10, 300])
def test_tiny_messages_to_one_that_never_reads_cost_what_max_queue_says(site, size):
    tracemalloc = pytest.importorskip("tracemalloc")
    chat = Chat(site, lambda ws: None, limits={"max_queue": 100000, "high_water": 50000}, compression=False)
    chat.guest(receive=4096)
    http.narrow(chat.exchanges[-1])
    ws, message = chat.ws, bytes(size)
    while not ws.queued:
        ws.send(message)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(icey.QueueFull):
            for _ in range(100000):
                ws.send(message)
        cost = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 75000 < ws.queued < 100014 and cost < 200000  # the head of a last one may pass
