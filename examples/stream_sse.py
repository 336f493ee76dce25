"""Server-Sent Events: a page with a live chart of the very loop that serves it.

    python3 examples/stream_sse.py --port 8000        then open http://127.0.0.1:8000/ in a few windows, and press the buttons

Four times a second the loop is measured: connections, turns, and its longest turn, which is how long everybody else had to
wait. A measurement is an EventPacket; one PacketStream, `pulse`, feeds all pages, each through an SseAdapter that follows it.
A page that reads slowly misses packets (they are counted), a page that is closed is let go, and nobody else is held up.

Each event has an id. A browser that lost the connection comes again by itself and says which one it saw last: it is sent what
it missed. The page is pages/sse.html.

--check is such a client: it leaves, has the loop held, comes again, finds no gap, and sees the long turn.
"""
import argparse
import json
import os
import selectors
import sys
import time
from collections import deque

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

HERE = os.path.dirname(os.path.abspath(__file__))
PAGES = icey.http.StaticFiles(os.path.join(HERE, "pages"), index="sse.html", listing=False)
EVERY = 0.25  # seconds
KEPT = 240  # a minute of them


class Watch(selectors.DefaultSelector):
    """A selector that looks at the clock: between two calls of select() lies a turn of the loop."""

    def __init__(self):
        super().__init__()
        self.turns, self.longest, self.back = 0, 0.0, float("inf")

    def select(self, timeout=None):
        self.turns += 1
        self.longest = max(self.longest, time.monotonic() - self.back)
        try:
            return super().select(timeout)
        finally:
            self.back = time.monotonic()

    def read(self):
        """(turns, longest) since the last time."""
        found, self.turns, self.longest = (self.turns, self.longest), 0, 0.0
        return found


class Site:
    def __init__(self, loop, watch, port):
        self.watch = watch
        self.kept = deque(maxlen=KEPT)  # (id, text)
        self.pulse = icey.PacketStream("pulse")
        self.pulse.attach_source(icey.TimerSource(loop, EVERY, self.measure), sync_state=True)
        self.server = icey.http.Server(loop, "127.0.0.1", port).start()
        self.server.on_request += self.answer
        self.server.on_close += lambda server: self.pulse.close()
        self.pulse.start()

    def measure(self, number):
        turns, longest = self.watch.read()
        text = json.dumps({"connections": len(self.server.connections), "turns": round(turns / EVERY),
                           "longest": round(longest * 1000, 2)})
        self.kept.append((number, text))
        return icey.http.EventPacket(text.encode(), id=number, event="sample")

    def answer(self, exchange):
        route = exchange.request.method, exchange.request.path
        if route == ("GET", "/events"):
            self.stream(exchange)
        elif route == ("GET", "/small"):
            exchange.respond(200, b"small\n", "text/plain")
        elif route == ("POST", "/hold"):
            time.sleep(0.1)  # what nobody should do in a slot: look at the chart
            exchange.respond(204)
        else:
            PAGES(exchange)

    def stream(self, exchange):
        client = icey.http.SseAdapter(exchange, retry=1)
        seen = client.last_event_id or ""
        last = int(seen) if seen.isdigit() else -1
        for number, text in self.kept:
            if number > last:
                client.event(text, id=number, event="sample")
        client.follow(self.pulse)


def check(loop, site):
    def listen(most, last=None):
        """The next `most` events: [(id, sample)]; then it leaves."""
        fields, text, ended = {} if last is None else {"Last-Event-ID": str(last)}, bytearray(), []
        conn = icey.http.ClientConnection(loop, "http://%s/events" % site.server.address, headers=fields)
        conn.on_payload += lambda conn, view: text.extend(view)
        conn.on_close += ended.append
        conn.start()
        while not ended:
            loop.run_once()
            events = [event.split("\n") for event in text.decode().split("\n\n")[1:-1]]  # behind the retry time
            if len(events) >= most:
                conn.close()
        return [(int(number[4:]), json.loads(data[6:])) for _, number, data in events]

    def hold():
        conn = icey.http.ClientConnection(loop, "http://%s/hold" % site.server.address, method="POST")
        conn.on_complete += lambda conn: conn.close()
        conn.start()

    first = listen(3)
    loop.call_later(EVERY / 2, hold)
    for _ in range(3):  # while nobody listens
        loop.run_once()
    again = listen(6, first[-1][0])
    assert [number for number, _ in first + again] == list(range(first[0][0], again[-1][0] + 1)), (first, again)
    assert max(sample["longest"] for _, sample in again) >= 100, again
    while len(site.pulse.on_packet):  # until who left is let go
        loop.run_once()
    site.server.stop(drain=0)
    loop.run()
    print("OK: %d events, none missed; the longest turn shows" % len(first + again))


def main():
    options = argparse.ArgumentParser(description="A live chart by Server-Sent Events.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run a client against it, then exit")
    chosen = options.parse_args()
    watch = Watch()
    with icey.Loop(selector=watch) as loop:
        site = Site(loop, watch, chosen.port)
        if chosen.check:
            check(loop, site)
        else:
            print("measuring itself at http://%s/, Ctrl-C ends it" % site.server.address, flush=True)
            icey.run(loop, site.server, inspect=chosen.inspect)


if __name__ == "__main__":
    main()
