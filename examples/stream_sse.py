"""Server-Sent Events: a page with a live chart of the very loop that serves it.

    python3 examples/stream_sse.py --port 8000        then open http://127.0.0.1:8000/ in a few windows, and press the buttons

Four times a second the loop is measured: connections, turns, and its longest turn, which is how long everybody else had to
wait. A measurement is an EventPacket; one PacketStream, `pulse`, feeds all pages, each through an SseAdapter that follows it.
A page that reads slowly misses packets (they are counted), a page that is closed is let go, and nobody else is held up.

Each event has an id. A browser that lost the connection comes again by itself and says which one it saw last: it is sent what
it missed. --check is such a client: it leaves, has the loop held, comes again, finds no gap, and sees the long turn.
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
        elif route == ("GET", "/"):
            exchange.respond(200, PAGE.encode(), "text/html; charset=utf-8")
        elif route == ("GET", "/small"):
            exchange.respond(200, b"small\n", "text/plain")
        elif route == ("POST", "/hold"):
            time.sleep(0.1)  # what nobody should do in a slot: look at the chart
            exchange.respond(204)
        else:
            exchange.respond(404, b"not found\n", "text/plain")

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


PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>A loop looks at itself</title>
<style>
  :root { color-scheme: light dark; --page: #f6f5f1; --card: #fff; --ink: #1d2327; --soft: #6a737b; --rule: #e3e1da;
          --blue: #2563c9; --green: #1f8a5b; --red: #c2410c }
  @media (prefers-color-scheme: dark) {
    :root { --page: #14171a; --card: #1c2125; --ink: #e8eaec; --soft: #939ca4; --rule: #2d343a;
            --blue: #6ea8fe; --green: #5bc99a; --red: #ff9466 } }
  * { box-sizing: border-box }
  body { margin: 0 auto; max-width: 54rem; padding: 2.5rem 1.25rem; background: var(--page); color: var(--ink);
         font: 1rem/1.55 system-ui, sans-serif }
  header { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: .25rem 1rem }
  h1 { margin: 0; font-size: 1.6rem; line-height: 1.2; letter-spacing: -.01em }
  p { max-width: 40rem; color: var(--soft) }
  #state { font-size: .875rem; color: var(--soft) }
  #state::before { content: ""; display: inline-block; width: .55em; height: .55em; margin-right: .5em; border-radius: 50%;
                   background: var(--soft) }
  #state.live::before { background: var(--green) }
  #state.lost::before { background: var(--red) }
  nav { display: flex; flex-wrap: wrap; gap: .5rem }
  section { margin: 1rem 0; padding: 1rem 1.25rem .75rem; background: var(--card); border: 1px solid var(--rule);
            border-radius: .6rem }
  h2 { display: flex; justify-content: space-between; align-items: baseline; margin: 0 0 .5rem; font-size: .9375rem;
       font-weight: 500; color: var(--soft) }
  output { font-size: 1.5rem; font-weight: 600; line-height: 1; font-variant-numeric: tabular-nums; color: var(--ink) }
  svg { display: block; width: 100%; height: 6.5rem; overflow: visible }
  figure { position: relative; margin: 0 }
  figcaption { position: absolute; left: 0; top: .15rem; font-size: .75rem; color: var(--soft);
               font-variant-numeric: tabular-nums }
  path { fill: none; stroke: currentColor; stroke-width: 1.75; stroke-linejoin: round; vector-effect: non-scaling-stroke }
  path.area { stroke: none; fill: currentColor; opacity: .12 }
  line { stroke: var(--rule); vector-effect: non-scaling-stroke }
  footer { display: flex; justify-content: space-between; font-size: .75rem; color: var(--soft);
           font-variant-numeric: tabular-nums; padding-top: .3rem }
  button { font: inherit; padding: .5rem 1rem; color: var(--ink); background: var(--card); border: 1px solid var(--rule);
           border-radius: .5rem; cursor: pointer }
  button:hover { border-color: var(--soft) }
  button:disabled { opacity: .5; cursor: default }
</style>
<header><h1>A loop looks at itself</h1><div id="state">connecting</div></header>
<p>This page is served by the loop that it shows. Each point came as a Server-Sent Event; open the page twice and the
loop has one connection more.</p>
<section style="color: var(--blue)"><h2>Turns a second <output></output></h2></section>
<section style="color: var(--red)"><h2>Longest turn, milliseconds <output></output></h2></section>
<section style="color: var(--green)"><h2>Connections <output></output></h2></section>
<nav><button id="load">Send 300 requests</button><button id="hold">Hold the loop for 100 ms</button></nav>
<script>
const WIDTH = 240, HEIGHT = 100, samples = [];
const charts = ["turns", "longest", "connections"].map((name, index) => {
  const box = document.querySelectorAll("section")[index];
  box.insertAdjacentHTML("beforeend", `<figure><figcaption></figcaption>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true">
    <line x2="${WIDTH}"/><line x2="${WIDTH}" y1="50" y2="50"/><line x2="${WIDTH}" y1="100" y2="100"/>
    <path class="area"/><path class="line"/></svg></figure><footer><span>a minute ago</span><span>now</span></footer>`);
  return { name, value: box.querySelector("output"), area: box.querySelector(".area"), line: box.querySelector(".line"),
           top: box.querySelector("figcaption") };
});
function round(value) {  // up to 1, 2 or 5 times a power of ten
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 5, 10].map(step => step * power).find(limit => limit >= value);
}
function draw() {
  for (const chart of charts) {
    const values = samples.map(sample => sample[chart.name]), top = round(Math.max(...values));
    const points = values.map((value, index) =>
      `${(WIDTH - values.length + index + 1).toFixed(1)} ${(HEIGHT * (1 - value / top)).toFixed(1)}`);
    chart.line.setAttribute("d", "M" + points.join("L"));
    chart.area.setAttribute("d", `M${WIDTH - values.length + 1} ${HEIGHT}L${points.join("L")}V${HEIGHT}Z`);
    chart.value.textContent = values[values.length - 1];
    chart.top.textContent = top;
  }
}
const state = document.getElementById("state"), events = new EventSource("/events");
function say(text, kind) { state.textContent = text; state.className = kind }
events.onopen = () => say("live", "live");
events.onerror = () => say("lost, trying again", "lost");
events.addEventListener("sample", event => {
  samples.push(JSON.parse(event.data));
  samples.splice(0, samples.length - WIDTH);
  draw();
});
document.getElementById("hold").onclick = () => fetch("/hold", { method: "POST" });
document.getElementById("load").onclick = async event => {
  event.target.disabled = true;
  for (let left = 30; left; left--)
    await Promise.all(Array.from({ length: 10 }, () => fetch("/small", { cache: "no-store" })));
  event.target.disabled = false;
};
</script>
"""


def main():
    options = argparse.ArgumentParser(description="A live chart by Server-Sent Events.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--check", action="store_true", help="run a client against it, then exit")
    chosen = options.parse_args()
    watch = Watch()
    with icey.Loop(selector=watch) as loop:
        site = Site(loop, watch, chosen.port)
        if chosen.check:
            check(loop, site)
        else:
            print("measuring itself at http://%s/, Ctrl-C ends it" % site.server.address, flush=True)
            icey.run(loop, site.server)


if __name__ == "__main__":
    main()
