"""A WSGI application beside a handler of icey's own: blocking code on threads, and clients that cannot hold a thread.

    python3 examples/wsgi_app.py [--port 8000]      then, elsewhere: curl http://127.0.0.1:8000/report

The application is a plain function (PEP 3333); Flask's, Django's or Bottle's goes in its place. It may block: each request runs
on a thread of the WSGI slot. /count, answered on the loop, is there all the while.

--check has four clients ask for a large report on two threads, and none of them reads. A piece is only made when there is room
for it, and meanwhile the thread goes back to the pool: a fifth client is answered at once. Then all of them read, and get all
of it.
"""
import argparse
import os
import sys
import time

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

LINES = 100_000


def report(environ, start_response):
    """The application: on a thread, so that it may sleep, ask a database, or compute."""
    if environ["PATH_INFO"] != "/report":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"There is a /report\n"]
    time.sleep(0.01)  # a slow query
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (b"".join(b"line %d\n" % line for line in range(at, at + 1000)) for at in range(0, LINES, 1000))


def serve(loop, port):
    requests = []
    application = icey.http.WSGI(report, threads=2)

    def route(exchange):
        requests.append(exchange.request.path)
        if exchange.request.path == "/count":  # on the loop: it may not block
            exchange.respond(200, b"%d requests\n" % len(requests), "text/plain")
        else:
            application(exchange)

    server = icey.http.Server(loop, "127.0.0.1", port)
    server.on_request += route
    return server.start()


class Reader:
    """A client that asks for `target`, and reads when it is told to."""

    def __init__(self, loop, server, target):
        self.received = bytearray()
        self.sock = icey.TCPSocket(loop)
        self.sock.on_connect += lambda sock: sock.send(b"GET %s HTTP/1.0\r\n\r\n" % target)
        self.sock.on_recv += lambda sock, view: self.received.extend(view)
        self.sock.connect(server.address)


def check(loop, server):
    slow = [Reader(loop, server, b"/report") for _ in range(4)]
    for reader in slow:
        reader.sock.on_connect += lambda sock: sock.pause()
    quick = Reader(loop, server, b"/nothing")
    quick.sock.on_close += lambda sock: [reader.sock.resume() for reader in slow]
    closed = []
    for reader in slow:
        reader.sock.on_close += lambda sock: closed.append(sock) or (len(closed) == len(slow) and server.stop())
    loop.run()
    assert quick.received.endswith(b"There is a /report\n"), quick.received
    for reader in slow:
        assert reader.received.count(b"\n") >= LINES and reader.received.endswith(b"line %d\n" % (LINES - 1))
    print("OK: four readers that did not read held no thread of two, and then had it all")


def main():
    options = argparse.ArgumentParser(description="A WSGI application.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run clients against it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        server = serve(loop, chosen.port)
        if chosen.check:
            check(loop, server)
        else:
            print("reporting at http://%s/report, Ctrl-C ends it" % server.address)
            icey.run(loop, server, inspect=chosen.inspect)


if __name__ == "__main__":
    main()
