"""07: a line protocol. A stream has no messages, only bytes; where one ends is for the protocol to find.

    python3 examples/reactor/07_lines.py      then: nc 127.0.0.1 PORT; each line is answered by the number of its words

Breaks without it: one recv() is not one message. The network cuts bytes where it likes and joins what was sent apart. A
program that takes each read for a line works on the developer's machine, where lines are short and come one at a time.
Idea: a protocol gets what is read (on_bytes), keeps what is not whole yet, and tells what is. It knows nothing of sockets and
loops, so it can be tested with literal bytes, cut anywhere. It has a limit, since the peer chooses how long a line is.
A stream has one protocol, and calls it directly: the signals of 06 are for whoever else wants to know, and are left out here.
Grown up: icey/base/streamprotocol.py, icey/packets/feed.py
"""
import select
import socket
import sys

LONGEST = 1000  # bytes of a line


class Loop:  # the reactor: waits until something happens, and calls whom it happened to
    def __init__(self):
        self.handles = set()  # what is open

    def run_once(self, timeout=None):  # one turn; it waits for `timeout` seconds at most (None: as long as it takes)
        handles = list(self.handles)
        readable, writable, _ = select.select(handles, [handle for handle in handles if handle.queue], [], timeout)
        for handle, fn in [(one, one.readable) for one in readable] + [(one, one.writable) for one in writable]:
            if handle in self.handles:  # else a callback of this turn has closed it
                try:
                    fn()
                except Exception as error:  # its peer has gone, or a callback has a mistake: no matter of the others
                    print(repr(error), file=sys.stderr)
                    handle.close()

    def run(self):  # until nothing is open
        while self.handles:
            self.run_once()


class Stream:  # a connected socket; what comes is given to protocol.on_bytes(data)
    def __init__(self, loop, sock):
        self.loop, self.sock, self.queue, self.protocol = loop, sock, bytearray(), None
        self.fileno = sock.fileno  # select() takes whatever has one
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

    def close(self):
        self.loop.handles.discard(self)
        self.sock.close()


class LineProtocol:
    """Finds the lines in what a stream reads, and gives each to answer(stream, line)."""

    def __init__(self, stream, answer):
        self.stream, self.answer, self.partial = stream, answer, b""  # partial: a line whose end is still to come
        stream.protocol = self

    def on_bytes(self, data):
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            self.answer(self.stream, line)
        if len(self.partial) > LONGEST:  # who never ends a line is not to fill our memory
            self.stream.close()


def count(stream, line):
    stream.send(b"%d words\n" % len(line.split()))


class ReadProtocol(LineProtocol):  # takes what one read brings for a line
    def on_bytes(self, data):
        self.answer(self.stream, data)


def lines(protocol):
    """What is taken for lines, of two lines that come in three pieces."""
    loop, found, (near, far) = Loop(), [], socket.socketpair()
    protocol(Stream(loop, near), lambda stream, line: found.append(line.decode()))
    for piece in b"GET th", b"e book\nPUT", b" it back\n":
        far.sendall(piece)
        loop.run_once(timeout=5)
    far.close()
    loop.run()
    return found


def check():
    found = lines(ReadProtocol)
    assert found == ["GET th", "e book\nPUT", " it back\n"]
    print("breaks: with a read for a line these are the lines: %s" % found)
    found = lines(LineProtocol)
    assert found == ["GET the book", "PUT it back"]
    print("mended: with a protocol that keeps what is not whole: %s" % found)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    loop = Loop()
    listener = Stream(loop, socket.create_server(("127.0.0.1", 0)))
    listener.readable = lambda: LineProtocol(Stream(loop, listener.sock.accept()[0]), count)
    print("counting words on 127.0.0.1 port %d; Ctrl-C ends it" % listener.sock.getsockname()[1], flush=True)
    loop.run()
