"""An HTTP server: a slot gets an exchange, which is one request and its answer.

    python3 examples/hello_http.py [--port 8000]      then, elsewhere: curl -i http://127.0.0.1:8000/later

The answer may be given in the slot or whenever it is ready: /later has a timer give it, and meanwhile the loop serves
everybody else. Answers go out in the order of the requests, whichever is ready first: --check has a client in the same
loop ask for both, the slow one first, without waiting in between.
"""
import argparse
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey


def hello(exchange):
    text = "Hello from %s\n" % exchange.request.path
    if exchange.request.path == "/later":
        exchange.loop.call_later(0.2, exchange.respond, 200, text.encode(), "text/plain; charset=utf-8")
    else:
        exchange.respond(200, text.encode(), "text/plain; charset=utf-8")


def check(loop, server):
    """A client for the server above: two requests at once, then what comes back until it closes."""
    received = bytearray()
    client = icey.TCPSocket(loop)
    client.on_connect += lambda sock: sock.send(b"GET /later HTTP/1.1\r\nHost: here\r\n\r\n"
                                                b"GET /now HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    client.on_recv += lambda sock, view: received.extend(view)
    client.on_close += lambda sock: server.stop()
    client.connect(server.address)
    loop.run()
    assert 0 < received.find(b"Hello from /later\n") < received.find(b"Hello from /now\n"), received
    print("OK: two answers, in the order of the requests")


def main():
    options = argparse.ArgumentParser(description="An HTTP server that says hello.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run a client against it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        server = icey.http.Server(loop, "127.0.0.1", chosen.port)
        server.on_request += hello
        server.start()
        if chosen.check:
            check(loop, server)
        else:
            print("saying hello at http://%s/, Ctrl-C ends it" % server.address)
            icey.run(loop, server, inspect=chosen.inspect)


if __name__ == "__main__":
    main()
