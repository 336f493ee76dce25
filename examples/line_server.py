"""A chat over TCP, line by line: how a program on asyncore and asynchat (gone from Python 3.12) is written on icey.

    python3 examples/line_server.py --port 7000      then, in a few terminals: nc 127.0.0.1 7000

| asyncore, asynchat                      | icey                                                                         |
|-----------------------------------------|------------------------------------------------------------------------------|
| subclass dispatcher, async_chat         | slots: `sock.on_recv += fn`; any object, a method or a function              |
| create_socket, bind, listen             | `TCPListener(loop, ("127.0.0.1", 7000))`                                     |
| handle_accepted(sock, addr)             | `listener.on_accept`: a TCPSocket; its address is `sock.peer`                |
| connect, handle_connect                 | `TCPSocket(loop).connect("host:port")`, names too; `on_connect`              |
| handle_read and recv                    | `on_recv(sock, view)`; the view is lent: copy what is to stay                |
| set_terminator, collect_incoming_data,  | `came` below, six lines; or `icey.PacketSocket` with `icey.Delimited`,       |
| found_terminator                        | `icey.LengthPrefixed`                                                        |
| readable() returns False                | `sock.pause()`, `sock.resume()`                                              |
| handle_write, writable, send            | none: what the kernel does not take is queued; `on_drain` says "go on"       |
| push, push_with_producer                | `sock.send_owned(data)`; False: enough for now; QueueFull: too much          |
| close_when_done                         | `sock.close()`: what is queued goes out first; `abort()` is now              |
| handle_close                            | `on_end`, the peer sends no more (it may still read); `on_close`, it is over |
| handle_error, handle_expt               | `sock.on_error`, the network's; `loop.on_error`, an exception of a slot      |
| asyncore.loop(timeout, map)             | `icey.run(loop, listener)`; `loop.run_once(timeout)`; no global map          |
| asyncore.close_all()                    | yours: `for guest in guests: guest.sock.close()`, then `loop.run()`          |
| a deadline by hand, in writable()       | `loop.call_later(seconds, fn)`                                               |

A line is LONGEST bytes at most, so that nobody fills our memory by never ending one. Who does not read is not read from either;
with PATIENCE bytes waiting for a guest, that guest is shown out, and the others do not notice.

--check is a few guests in the same loop: one sends by halves, one too much, one half-closes, one never reads.
"""
import argparse
import os
import socket
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

LONGEST = 1000  # bytes of a line
PATIENCE = 64 << 10  # bytes that wait for a guest


class Guest:
    """One connection: what an async_chat was."""

    def __init__(self, sock, guests):
        self.sock, self.guests, self.name, self.partial = sock, guests, "%s" % sock.peer, b""
        sock.max_queue = PATIENCE
        sock.high_water, sock.low_water = PATIENCE // 2, PATIENCE // 8
        sock.on_recv += self.came
        sock.on_end += self.ended
        sock.on_drain += lambda sock: sock.resume()
        sock.on_close += lambda sock: self.guests.remove(self)
        guests.append(self)

    def came(self, sock, view):
        *lines, self.partial = (self.partial + view).split(b"\n")  # a read ends anywhere: in a line, or behind many
        for line in lines + [self.partial]:
            if len(line) > LONGEST:
                self.push("a line has %d bytes at most" % LONGEST)
                sock.close()
                return
        for line in lines:
            self.heard(line)

    def ended(self, sock):
        """The peer sends no more. It still reads: what we owe it goes out before the end."""
        if self.partial:
            self.heard(self.partial)
        sock.close()

    def heard(self, line):
        text = line.decode("utf-8", "replace").strip()
        if text.startswith("/name "):
            self.name = text[6:].strip()
        elif text:
            for guest in list(self.guests):
                guest.push("%s: %s" % (self.name, text))

    def push(self, text):
        try:
            if not self.sock.closing and not self.sock.send_owned(text.encode() + b"\n"):
                self.sock.pause()  # who does not read what we send is not read from: on_drain goes on
        except icey.QueueFull:  # the others' words for one that does not read
            self.sock.abort()


def check(loop, listener, guests):
    def enter():
        sock, said = icey.TCPSocket(loop), bytearray()
        sock.on_recv += lambda sock, view: said.extend(view)
        sock.connect(listener.address)
        known = len(guests)
        until(lambda: sock.local and len(guests) > known)
        return sock, said

    def until(met):
        while not met():
            loop.run_once()

    (ada, to_ada), (bob, to_bob), (eve, to_eve), (sleepy, to_sleepy) = enter(), enter(), enter(), enter()
    for half, rest in (b"/na", b"/na"), (b"me Ada\r\nhel", b"hel"), (b"lo\nhow are", b"how are"), (b" you?\n", b""):
        ada.send(half)
        until(lambda so_far=rest: guests[0].partial == so_far)
    until(lambda: to_bob == b"Ada: hello\nAda: how are you?\n")
    eve.send(bytes(LONGEST + 1))
    until(lambda: eve.closed and len(guests) == 3)
    assert to_eve.endswith(b"how are you?\na line has 1000 bytes at most\n")
    sleepy.pause()  # never reads again
    guests[-1].sock.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # a kernel that takes little, to see the rest
    words, line = 0, b"x" * 900 + b"\n"
    while len(guests) == 3:
        heard = len(to_bob) + len(b"Ada: " + line)
        ada.send(line)
        words += 1
        until(lambda so_far=heard: len(to_bob) == so_far and to_ada == to_bob)
    bob.send(b"/name Bob\nbye")  # the last line has no end but that of the connection
    bob.shutdown()
    until(lambda: bob.closed)
    assert to_bob.endswith(b"Bob: bye\n") and to_bob.count(line) == words > to_sleepy.count(line)
    for sock in (ada, sleepy):
        sock.close()
    listener.close()
    loop.run()
    assert not guests
    print("OK: %d lines for those who read, halves joined, the long one refused, the last one answered" % (words + 3))


def main():
    options = argparse.ArgumentParser(description="A chat over TCP, line by line.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run guests against it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        guests = []
        listener = icey.TCPListener(loop, ("127.0.0.1", chosen.port))
        listener.on_accept += lambda listener, sock: Guest(sock, guests)
        if chosen.check:
            check(loop, listener, guests)
        else:
            print("talking on %s, Ctrl-C ends it" % listener.address, flush=True)
            icey.run(loop, listener, inspect=chosen.inspect)
            for guest in guests:  # the listener's end is not theirs: what is queued for them goes out first
                guest.sock.close()
            loop.run()


if __name__ == "__main__":
    main()
