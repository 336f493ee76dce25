"""A client of server-sent events that survives its server: it comes back by itself, and misses nothing.

    python3 examples/sse_client.py http://127.0.0.1:8000/events       the events of a server, until Ctrl-C

An EventSource asks, and where the stream ends, or no server is there, it waits (a second, two, four, ... with jitter, at most
`retry[1]`) and asks again, with the id of the last event that it has told: `Last-Event-ID`. So it is the server that decides
whether anything is missed: it has to number its events, and to go on behind that number. `clock` below is such a server.

--check runs both in one loop. The server is stopped in the middle of its stream and started again on the same port, three
times, and once it is there and refuses for a moment. All events are here in the end, each of them once.
"""
import argparse
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey


def follow(loop, url, each, **options):
    """Calls `each(event)` for the events at `url`, for as long as there are any."""
    source = icey.http.EventSource(loop, url, **options)
    source.on_open += lambda source: print("open")
    source.on_event += lambda source, event: each(event)

    @source.on_error.attach
    def no_stream(source, exc):
        if source.retry_in is None:  # such as 404: on_close follows
            print("given up: %s" % exc)
        else:
            print("%s; asking again in %.2f s, from event %r on" % (exc, source.retry_in, source.last_event_id))

    return source.start()


def show(event):
    print("%s %s: %s" % (event.id, event.type, event.data))


class Clock:
    """A server of numbered events, one each 5 ms. Anybody can go on behind any number: nothing has to be remembered."""

    def __init__(self, loop, port=0):
        self.server = icey.http.Server(loop, "127.0.0.1", port)
        self.server.on_request += self.answer
        self.server.start()

    def answer(self, exchange):
        stream = icey.http.SseAdapter(exchange)
        last = int(stream.last_event_id or 0)

        def tick(timer):
            number = last + timer.count
            stream.event("tick %d" % number, event="tick", id=number)

        timer = icey.Timer(exchange.loop, 0.005, tick, interval=0.005).start()
        exchange.on_close += lambda exchange: timer.close()  # the client has gone, or the server stops


def check(loop):
    seen, running = [], []

    def clock(port):
        running.append(Clock(loop, port).server)

    def refusing(port):
        """A server that is not ready yet: what a proxy answers while the real one starts. It is asked once."""
        server = icey.http.Server(loop, "127.0.0.1", port)
        server.on_request += lambda exchange: exchange.respond(503, headers={"Retry-After": "0"})
        server.on_request.attach(lambda exchange: restart(clock), once=True)
        running.append(server.start())

    def restart(make):
        """Stops the server that is there; once it is gone, another one takes its port."""
        old = running.pop()
        old.on_close += lambda server: loop.call_later(0.05, make, server.address.port)
        old.stop(drain=0.1)

    def each(event):
        seen.append(int(event.id))
        if seen[-1] in (10, 30):
            restart(clock)
        elif seen[-1] == 20:
            restart(refusing)
        elif seen[-1] == 40:
            source.close()
            running[0].close()

    clock(0)
    source = follow(loop, "http://%s/events" % running[0].address, each, retry=(0.02, 0.2))
    loop.run()
    assert seen == list(range(1, 41)), seen
    print("OK: 40 events, each once, over three restarts and a refusal")


def main():
    options = argparse.ArgumentParser(description="Follows server-sent events.")
    options.add_argument("url", nargs="?", metavar="URL")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="follow a server in the same loop, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        if chosen.check:
            check(loop)
        elif chosen.url is None:
            options.error("which URL?")
        else:
            icey.run(loop, follow(loop, chosen.url, show), inspect=chosen.inspect)


if __name__ == "__main__":
    main()
