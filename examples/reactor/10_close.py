"""10: close takes time. What is queued goes out first, a deadline bounds it, and the loop tells the end, once.

    python3 examples/reactor/10_close.py      then: curl --limit-rate 2M http://127.0.0.1:PORT/ | wc -c, and Ctrl-C here

Breaks without it: a close() that closes at once throws away what is queued, and calls on_close before it has returned.
Idea: close() says that no more is wanted. Nothing more is read; when the queue is empty the loop calls finish(), which frees
the socket and tells on_close. A timer, as in 04, bounds that for a peer that does not read. A server stops in the same way: no
new clients, then drain. (What 06 to 09 have is left out: whoever says anything is answered.)
Grown up: icey/base/handle.py (the phases of a handle), icey/base/stream.py, icey/http/server/server.py (stop)
"""
import heapq
import select
import socket
import sys
import threading
import time

ANSWER = b"HTTP/1.0 200 OK\r\n\r\n" + bytes(8 << 20)


class Loop:  # the reactor: waits until something happens, and calls whom it happened to
    def __init__(self):
        self.handles, self.timers = set(), []  # timers: a heap of (when, id, function)

    def run_once(self):  # one turn
        timeout = max(0, self.timers[0][0] - time.monotonic()) if self.timers else None
        reading = [one for one in self.handles if not one.closing]
        writing = [one for one in self.handles if one.queue or one.closing]
        readable, writable, _ = select.select(reading, writing, [], timeout)
        while self.timers and self.timers[0][0] <= time.monotonic():
            heapq.heappop(self.timers)[-1]()
        for handle, fn in [(one, one.readable) for one in readable] + [(one, one.writable) for one in writable]:
            if handle in self.handles:  # else a callback of this turn has closed it
                try:
                    fn()
                except Exception as error:  # its peer has gone, or a callback has a mistake: no matter of the others
                    print(repr(error), file=sys.stderr)
                    handle.finish()

    def run(self):  # until nothing is open
        while self.handles:
            self.run_once()


class Stream:  # a connected socket; what comes is given to on_recv(stream, data)
    def __init__(self, loop, sock, on_recv=None, on_close=lambda stream: None):
        self.loop, self.sock, self.fileno, self.queue, self.closing = loop, sock, sock.fileno, bytearray(), False
        self.on_recv, self.on_close = on_recv, on_close
        sock.setblocking(False)  # recv() and send() do what can be done now, and never wait
        loop.handles.add(self)

    def readable(self):
        data = self.sock.recv(65536)
        if not data:  # the end
            return self.close()
        self.on_recv(self, data)

    def send(self, data):
        self.queue += data  # the loop sees that it is not empty, and calls writable()

    def writable(self):
        del self.queue[:self.sock.send(self.queue)]  # send() says how many bytes it took: all, or some
        if self.closing and not self.queue:
            self.finish()

    def close(self, timeout=5.0):
        if not self.closing:
            self.closing = True  # so the loop waits for writable(), even if nothing is queued
            heapq.heappush(self.loop.timers, (time.monotonic() + timeout, id(self), self.finish))

    def finish(self):
        if self in self.loop.handles:
            self.loop.handles.remove(self)
            self.sock.close()
            self.on_close(self)


def answer(stream, data, close=Stream.close):
    stream.send(ANSWER)
    close(stream)


def ask(close, reads=True):
    """A client asks, and reads up to the end: how many bytes, and what happened at the server's end."""
    loop, events, (near, far) = Loop(), [], socket.socketpair()
    Stream(loop, near, lambda stream, data: (answer(stream, data, close), events.append("close() returns")),
           lambda stream: events.append("on_close"))
    far.sendall(b"GET / HTTP/1.0\r\n\r\n")
    server = threading.Thread(target=loop.run)
    server.start()
    size = len(b"".join(iter(lambda: far.recv(1 << 20), b""))) if reads else 0
    server.join()
    far.close()
    return size, ", ".join(events)


def check():
    size, events = ask(Stream.finish)
    assert size < len(ANSWER) and events == "on_close, close() returns"
    print("breaks: %d bytes of %d arrive, and the end is told inside close(): %s" % (size, len(ANSWER), events))
    size, events = ask(Stream.close)
    assert size == len(ANSWER) and events == "close() returns, on_close"
    assert ask(lambda stream: stream.close(timeout=0.1), reads=False) == (0, events)
    print("mended: %d bytes of %d arrive: %s; and one that never reads is given up" % (size, len(ANSWER), events))


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    loop = Loop()
    listener = Stream(loop, socket.create_server(("127.0.0.1", 0)))
    listener.readable = lambda: Stream(loop, listener.sock.accept()[0], answer)
    print("serving http://127.0.0.1:%d/; Ctrl-C ends it" % listener.sock.getsockname()[1], flush=True)
    try:
        loop.run()
    except KeyboardInterrupt:
        listener.finish()  # no new clients; those that are here have their answers
        for stream in list(loop.handles):
            stream.close()
        loop.run()
