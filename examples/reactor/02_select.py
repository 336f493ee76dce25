"""02: one thread for all clients. select() waits for many sockets at once, and says which of them have something.

    python3 examples/reactor/02_select.py      then, in two terminals: nc 127.0.0.1 PORT

Breaks without it: a single thread must never wait for one client, so it asks each socket "have you something?", again and
again. That serves all clients, and keeps a whole core busy while nobody says a word.
Idea: a Loop. It sleeps in select() until any of its handles has something to read, calls that one, and sleeps again. A handle
is what the loop can wait for: a Stream, which is a connected socket, or a TCPListener, to which new clients come.
The price: a callback must not wait. While it runs, nobody else is served. All event loops have this bargain.
Grown up: icey/base/loop.py, and icey/base/poller.py, where epoll does the waiting
"""
import select
import socket
import sys


class Loop:  # the reactor: waits until something happens, and calls whom it happened to
    def __init__(self):
        self.handles = set()  # what is open

    def run_once(self, timeout=None):  # one turn; it waits for `timeout` seconds at most (None: as long as it takes)
        readable, _, _ = select.select(list(self.handles), [], [], timeout)
        for handle in readable:
            if handle in self.handles:  # else a callback of this turn has closed it
                try:
                    handle.readable()
                except Exception as error:  # its peer has gone, or a callback has a mistake: no matter of the others
                    print(repr(error), file=sys.stderr)
                    handle.close()

    def run(self):  # until nothing is open
        while self.handles:
            self.run_once()


class Stream:  # a connected socket; what comes is given to on_recv(stream, data)
    def __init__(self, loop, sock):
        self.loop, self.sock, self.on_recv = loop, sock, None
        self.fileno = sock.fileno  # select() takes whatever has one
        sock.setblocking(False)  # recv() and send() do what can be done now, and never wait
        loop.handles.add(self)

    def readable(self):
        data = self.sock.recv(65536)
        if not data:  # the end
            return self.close()
        self.on_recv(self, data)

    def send(self, data):
        self.sock.send(data)  # the kernel may take less than that: lesson 03

    def close(self):
        self.loop.handles.discard(self)
        self.sock.close()


class TCPListener(Stream):  # what comes is a client, and is given to on_accept(stream)
    def readable(self):
        self.on_accept(Stream(self.loop, self.sock.accept()[0]))


def accepted(stream):
    stream.on_recv = Stream.send  # an echo: what comes from a stream is sent to it


def calls_for_nothing(turn):
    """How often a handle is called in 1000 turns in which nothing comes for it."""
    loop, calls, (near, far) = Loop(), [], socket.socketpair()
    Stream(loop, near).readable = lambda: calls.append("nothing yet")
    with near, far:
        for _ in range(1000):
            turn(loop)
    return len(calls)


def check():
    assert calls_for_nothing(lambda loop: [handle.readable() for handle in loop.handles]) == 1000
    print("breaks: without select, 1000 turns in which nobody says a word are 1000 calls to find that out")
    assert calls_for_nothing(lambda loop: loop.run_once(timeout=0)) == 0
    loop, heard = Loop(), []
    listener = TCPListener(loop, socket.create_server(("127.0.0.1", 0)))
    listener.on_accept = accepted
    first, second = [Stream(loop, socket.create_connection(listener.sock.getsockname())) for _ in range(2)]
    second.on_recv = lambda stream, data: heard.append(data)
    second.send(b"hello")
    for _ in range(100):
        if not heard:
            loop.run_once(timeout=0.1)
    assert heard == [b"hello"] and first in loop.handles
    for handle in first, second, listener:
        handle.close()
    loop.run()  # the server's ends see that the clients have left, and close: nothing is open, and run() ends
    print("mended: none with select; and the second client is answered while the first says nothing")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    loop = Loop()
    listener = TCPListener(loop, socket.create_server(("127.0.0.1", 0)))
    listener.on_accept = accepted
    print("echoing on 127.0.0.1 port %d; Ctrl-C ends it" % listener.sock.getsockname()[1], flush=True)
    loop.run()
