"""A TCP echo server: a listener, a slot for new connections, a slot for their bytes, and backpressure.

    python3 examples/echo.py [--port 7000]      then, elsewhere: nc 127.0.0.1 7000

What comes in is lent: `view` is a memoryview that dies when the slot returns. `send_owned` keeps its own copy of what
the kernel does not take at once, so echoing is one call. A peer that sends but does not read would fill our memory:
when `send_owned` returns False we stop reading, until `on_drain` says that the queue is down again.

--check has a client in the same loop send something and compare what comes back.
"""
import argparse
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey


def echo(sock, view):
    if not sock.send_owned(view):
        sock.pause()


def accepted(listener, sock):
    sock.on_recv += echo
    sock.on_drain += lambda sock: sock.resume()


def check(loop, listener):
    """A client for the server above: sends more than any buffer holds, and counts what comes back."""
    sent, received = os.urandom(1 << 20), bytearray()

    def returned(sock, view):
        received.extend(view)
        if len(received) == len(sent):
            sock.close()
            listener.close()

    client = icey.TCPSocket(loop)
    client.on_connect += lambda sock: sock.send(sent)
    client.on_recv += returned
    client.connect(listener.address)
    loop.run()
    assert received == sent
    print("OK: %d bytes came back as they were sent" % len(received))


def main():
    options = argparse.ArgumentParser(description="A TCP echo server.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run a client against it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        listener = icey.TCPListener(loop, icey.Address("127.0.0.1", chosen.port))
        listener.on_accept += accepted
        if chosen.check:
            check(loop, listener)
        else:
            print("echoing on %s, Ctrl-C ends it" % listener.address)
            icey.run(loop, listener, inspect=chosen.inspect)


if __name__ == "__main__":
    main()
