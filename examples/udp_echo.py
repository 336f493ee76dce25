"""A UDP echo server: one socket, one slot, no connections; and a client that reckons with loss.

    python3 examples/udp_echo.py [--port 7000]      then, elsewhere: nc -u 127.0.0.1 7000

The slot gets each datagram with the address it came from: that is where the answer goes. The view is lent, as on a stream, and
`send_owned` keeps its own copy if the kernel has no room. Nobody stops reading here when a queue is long: a peer cannot be
slowed down, only ignored, so past `max_queue` the answer is not sent. It could have been lost on its way just as well.

--check has a client in the same loop ask by numbers, and ask again for what has not been answered in time. The server drops
every third datagram it sees, so that there is something to ask again for.
"""
import argparse
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey


def echo(sock, view, address):
    try:
        sock.send_owned(view, address)
    except icey.QueueFull:
        pass


def check(loop, server):
    """A client for the server above: 100 questions, each asked until it is answered."""
    missing = {b"question %d" % number for number in range(100)}
    asked = dropped = 0

    def lossy(sock, view, address):
        nonlocal dropped
        if asked % 3:
            echo(sock, view, address)
        else:
            dropped += 1

    def ask(timer=None):
        nonlocal asked
        asked += 1
        client.send(min(missing))

    def answered(sock, view, address):
        missing.discard(bytes(view))
        if missing:
            ask()
            again.start()  # anew: it has its time from now on
        else:
            for handle in (again, client, server):
                handle.close()

    server.on_recv -= echo
    server.on_recv += lossy
    client = icey.UDPSocket(loop)
    client.connect(server.local)  # hears nobody else, and is told if there is no server
    client.on_recv += answered
    client.on_error += lambda sock, exc: print("the network says:", exc)
    again = icey.Timer(loop, 0.01, ask, interval=0.01).start()
    ask()
    loop.run()
    assert not missing and dropped and asked >= 100 + dropped
    print("OK: 100 answers to %d questions, %d of which were dropped on purpose" % (asked, dropped))


def main():
    options = argparse.ArgumentParser(description="A UDP echo server.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run a client against it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        server = icey.UDPSocket(loop)
        server.bind(("127.0.0.1", chosen.port))
        server.on_recv += echo
        if chosen.check:
            check(loop, server)
        else:
            print("echoing on %s, Ctrl-C ends it" % server.local)
            icey.run(loop, server, inspect=chosen.inspect)


if __name__ == "__main__":
    main()
