"""08: HTTP, and a connection that is kept alive. A message says itself where it ends.

    python3 examples/reactor/08_http.py      then: curl -v http://127.0.0.1:PORT/a http://127.0.0.1:PORT/b -d note

Breaks without it: over one connection comes one request behind the other. Who misjudges where one ends reads its rest as
the next request: what a client wrote into a form becomes a command. (With a proxy in between: request smuggling.)
Idea: a head ends with an empty line, and its Content-Length says how many bytes of body follow; without one: none. The answer
has one as well: so its end is not that of the connection, which stays for the next request. Loop and Stream are those of 07.
Grown up: icey/http/http1/parser.py, icey/http/http1/framing.py (chunked bodies, too), icey/http/server/connection.py
"""
import re
import select
import socket
import sys


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


class Connection:
    content_length = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)

    def __init__(self, stream, app):
        self.stream, self.app, self.partial = stream, app, b""
        stream.protocol = self

    def on_bytes(self, data):
        self.partial += data
        while True:
            head, end, rest = self.partial.partition(b"\r\n\r\n")
            if len(head) > 8192:
                raise ValueError("this head is too long")  # the loop prints it, and closes this stream
            found = self.content_length.search(head)
            size = int(found[1]) if found else 0
            if not end or len(rest) < size:
                break  # not whole yet
            self.partial = rest[size:]
            self.app(self, head.split()[1], rest[:size])

    def respond(self, body):
        self.stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def app(connection, path, body):
    connection.respond(b"%s, and a body of %d bytes\n" % (path, len(body)))


class Bodiless(Connection):
    content_length = re.compile(b"(?!)")  # finds nothing: takes each request for a head alone


def paths(protocol):
    """What is asked for, when two requests come over one connection, the first with a body."""
    loop, asked, (near, far) = Loop(), [], socket.socketpair()
    protocol(Stream(loop, near), lambda connection, path, body: asked.append(path.decode()))
    far.sendall(b"POST /note HTTP/1.1\r\nContent-Length: 24\r\n\r\nGET /secret HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    far.close()
    loop.run()
    return ", ".join(asked)


def check():
    for protocol, served, outcome in (Bodiless, "/note, /secret, /", "breaks"), (Connection, "/note, /", "mended"):
        assert paths(protocol) == served
        print("%s: of two requests, the first with a body, these were served: %s" % (outcome, served))


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    loop = Loop()
    listener = Stream(loop, socket.create_server(("127.0.0.1", 0)))
    listener.readable = lambda: Connection(Stream(loop, listener.sock.accept()[0]), app)
    print("serving http://127.0.0.1:%d/; Ctrl-C ends it" % listener.sock.getsockname()[1], flush=True)
    loop.run()
