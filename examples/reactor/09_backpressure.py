"""09: pipelining and back-pressure. One request at a time; and who does not read our answers is not read from.

    python3 examples/reactor/09_backpressure.py      then: curl -v http://127.0.0.1:PORT/a http://127.0.0.1:PORT/b

Breaks without it: a client may send many requests at once. Who takes them all must keep the answers for one who does not read
them, without end. And an answer that comes late is overtaken: the client takes the next one for that to its first question.
Idea: while an answer is to come (thinking), or high_water bytes wait, no request is taken, and the stream is paused: what comes
fills the kernel, then the client waits. When the queue is empty, on_drain goes on. So how much we keep is for us to say.
Grown up: icey/base/stream.py (send() returns False at high water), icey/http/server/connection.py, examples/backpressure.py
"""
import re
import select
import socket
import sys


class Loop:  # the reactor: waits until something happens, and calls whom it happened to
    def __init__(self):
        self.handles = set()  # what is open

    def run_once(self, timeout=None):  # one turn; it waits for `timeout` seconds at most (None: as long as it takes)
        reading, writing = [one for one in self.handles if not one.paused], [one for one in self.handles if one.queue]
        readable, writable, _ = select.select(reading, writing, [], timeout)
        for handle, fn in [(one, one.readable) for one in readable] + [(one, one.writable) for one in writable]:
            if handle in self.handles:  # else a callback of this turn has closed it
                try:
                    fn()
                except Exception as error:  # its peer has gone, or a callback has a mistake: no matter of the others
                    print(repr(error), file=sys.stderr)
                    handle.close()


class Stream:  # a connected socket; what comes is given to protocol.on_bytes(data)
    def __init__(self, loop, sock):
        self.loop, self.sock, self.fileno, self.queue, self.protocol = loop, sock, sock.fileno, bytearray(), None
        self.paused, self.high_water = False, 64 << 10  # high_water: bytes in the queue that are enough
        sock.setblocking(False)  # recv() and send() do what can be done now, and never wait
        loop.handles.add(self)

    def readable(self):
        data = self.sock.recv(65536)
        if not data:  # the end
            return self.close()
        self.protocol.on_bytes(data)

    def send(self, data):
        self.queue += data  # the loop sees that it is not empty, and calls writable()

    def writable(self):
        del self.queue[:self.sock.send(self.queue)]  # send() says how many bytes it took: all, or some
        if not self.queue:
            self.protocol.on_drain()

    def close(self):
        self.loop.handles.discard(self)
        self.sock.close()


class Connection:
    def __init__(self, stream, app=lambda connection, path, body: connection.respond(path)):
        self.stream, self.app, self.partial, self.thinking = stream, app, b"", False
        stream.protocol = self

    def on_bytes(self, data):
        self.partial += data
        self.on_drain()

    def on_drain(self):  # the queue is empty, or bytes have come: take requests, until it is enough
        while not self.enough():
            head, end, rest = self.partial.partition(b"\r\n\r\n")
            if len(head) > 8192:
                raise ValueError("this head is too long")
            found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
            size = int(found[1]) if found else 0
            if not end or len(rest) < size:
                break  # not whole yet
            self.partial, self.thinking = rest[size:], True  # until respond(), which may come later
            self.app(self, head.split()[1], rest[:size])
        self.stream.paused = self.enough()  # what comes then is left in the kernel

    def enough(self):
        return self.thinking or len(self.stream.queue) >= self.stream.high_water

    def respond(self, body):
        self.thinking = False
        self.stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def pipelined(greedy):
    """Of 100 requests that come at once the first is answered late: whether it has the first answer, and how much is queued."""
    loop, (near, far) = Loop(), socket.socketpair()
    connection = Connection(Stream(loop, near), lambda one, path, body: path == b"/late" or one.respond(bytes(50000)))
    if greedy:
        connection.enough = lambda: False  # as in 08: takes whatever is there
    far.sendall(b"GET /late HTTP/1.1\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n" * 99)
    loop.run_once(timeout=5)  # all are read
    connection.respond(b"late")
    loop.run_once(timeout=5)  # as much is sent as the kernel takes
    with near, far:
        return far.recv(60).endswith(b"late"), len(connection.stream.queue)


def check():
    in_order, queued = pipelined(greedy=True)
    assert not in_order and queued > 1 << 20
    print("breaks: %d KiB wait for a client that does not read; its first question has another one's answer" % (queued >> 10))
    in_order, queued = pipelined(greedy=False)
    assert in_order and queued < 128 << 10
    print("mended: %d KiB wait, and its first question has its own answer" % (queued >> 10))


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    loop = Loop()
    listener = Stream(loop, socket.create_server(("127.0.0.1", 0)))
    listener.readable = lambda: Connection(Stream(loop, listener.sock.accept()[0]))
    print("serving http://127.0.0.1:%d/; Ctrl-C ends it" % listener.sock.getsockname()[1], flush=True)
    while True:
        loop.run_once()
