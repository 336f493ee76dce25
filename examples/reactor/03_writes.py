"""03: send() takes what the kernel has room for. The rest waits in a queue, until select() says that there is room again.

    python3 examples/reactor/03_writes.py      then: yes | nc 127.0.0.1 PORT > /dev/null

Breaks without it: when the peer reads slowly, a socket that never waits takes a part of what it is given, or nothing. Who
does not look at what socket.send() returns loses the rest, and nobody is told. In a small test it never happens.
Idea: Stream.send() puts everything into a queue. While there is something in it, the loop also waits until the kernel has room
for this stream, and calls writable(), which gives the kernel what it takes. No byte is lost, and nobody waits.
The queue may grow without end: a client that sends and never reads fills our memory, until lesson 09.
Grown up: icey/base/sendqueue.py, icey/base/stream.py
"""
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


class Stream:  # a connected socket; what comes is given to on_recv(stream, data)
    def __init__(self, loop, sock):
        self.loop, self.sock, self.queue, self.on_recv = loop, sock, bytearray(), None
        self.fileno = sock.fileno  # select() takes whatever has one
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

    def close(self):
        self.loop.handles.discard(self)
        self.sock.close()


class TCPListener(Stream):  # what comes is a client, and is given to on_accept(stream)
    def readable(self):
        self.on_accept(Stream(self.loop, self.sock.accept()[0]))


def accepted(stream):
    stream.on_recv = Stream.send


def send_and_forget(stream, data):
    """An echo as in lesson 02."""
    try:
        stream.sock.send(data)
    except BlockingIOError:  # no room at all
        pass


def echoed(on_recv, data):
    """What comes back of `data`, to a client that reads only when it has sent everything."""
    loop, came, (near, far) = Loop(), [], socket.socketpair()
    server, client = Stream(loop, near), Stream(loop, far)
    server.on_recv = on_recv
    client.readable = lambda: None if client.queue else Stream.readable(client)
    client.on_recv = lambda stream, data: came.append(data)
    client.send(data)
    while client.queue or server.queue or select.select([client, server], [], [], 0)[0]:
        loop.run_once(timeout=1)
    for stream in server, client:
        stream.close()
    return b"".join(came)


def check():
    data = bytes(range(256)) * 4096
    lost = len(data) - len(echoed(send_and_forget, data))
    assert lost > 0
    print("breaks: of %d bytes that were echoed %d are lost: what send() returned was ignored" % (len(data), lost))
    assert echoed(Stream.send, data) == data
    print("mended: all %d bytes come back, in order" % len(data))


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    loop = Loop()
    listener = TCPListener(loop, socket.create_server(("127.0.0.1", 0)))
    listener.on_accept = accepted
    print("echoing on 127.0.0.1 port %d; Ctrl-C ends it" % listener.sock.getsockname()[1], flush=True)
    loop.run()
