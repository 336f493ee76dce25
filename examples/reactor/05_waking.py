"""05: a call from another thread. It goes into a deque, and a byte through a pair of sockets wakes the loop from select().

    python3 examples/reactor/05_waking.py      then: nc 127.0.0.1 PORT; a thread thinks about each line for half a second

Breaks without it: what a thread appends to a list is there at once, but the loop sleeps in select(), and sleeps on until
something else happens. On a busy server nobody notices; on a quiet one answers come minutes late.
Idea: post() is the one method for other threads; it appends, and sends a byte to a stream of the loop. All else belongs to the
loop's thread: no lock anywhere, never two threads at one stream. What blocks (a database, a long computation) runs on a thread,
which posts its result. (The timers of 04 are left out, to stay on a page.)
Grown up: icey/base/waker.py (it wakes only a loop that sleeps), icey/base/threadpool.py
"""
import select
import socket
import sys
import threading
import time
from collections import deque


class Loop:  # the reactor: waits until something happens, and calls whom it happened to
    def __init__(self):
        self.handles, self.calls = set(), deque()
        self.waker, wakes = socket.socketpair()
        Stream(self, wakes).on_recv = lambda stream, data: None  # these bytes say nothing but: look again

    def post(self, fn, *args):
        """For other threads: has the loop call fn(*args), in its own thread."""
        self.calls.append((fn, args))  # a deque takes it in one step: no lock
        self.waker.send(b"!")

    def run_once(self, timeout=None):  # one turn; it waits for `timeout` seconds at most (None: as long as it takes)
        handles = list(self.handles)
        readable, writable, _ = select.select(handles, [handle for handle in handles if handle.queue], [], timeout)
        for _ in range(len(self.calls)):  # those that they post themselves are for the next turn
            fn, args = self.calls.popleft()
            fn(*args)
        for handle, fn in [(one, one.readable) for one in readable] + [(one, one.writable) for one in writable]:
            if handle in self.handles:  # else a callback of this turn has closed it
                try:
                    fn()
                except Exception as error:  # its peer has gone, or a callback has a mistake: no matter of the others
                    print(repr(error), file=sys.stderr)
                    handle.close()

    def run(self):  # until nothing is open
        while len(self.handles) > 1:  # more than the waker
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


def think(stream, data):
    time.sleep(0.5)  # a thread may
    stream.loop.post(stream.send, data.upper())  # not stream.send() itself: it is not this thread's


def accepted(stream):
    stream.on_recv = lambda *args: threading.Thread(target=think, args=args, daemon=True).start()


def next_turn(post, delay):
    """A thread posts a call, and `delay` seconds later a client speaks: what the loop's next turn brings."""
    loop, happened, (near, far) = Loop(), [], socket.socketpair()
    Stream(loop, near).on_recv = lambda stream, data: happened.append("a client")
    thread = threading.Thread(target=post, args=(loop, happened.append, "the call"))
    thread.start()
    thread.join()
    client = threading.Timer(delay, far.sendall, (b"hello",))
    client.start()
    loop.run_once()
    client.cancel()
    client.join()
    for handle in [far, loop.waker, *loop.handles]:
        handle.close()
    return happened


def check():
    assert next_turn(lambda loop, fn, *args: loop.calls.append((fn, args)), 0.1) == ["the call", "a client"]
    print("breaks: the call of a thread was there, and was not noticed until a client spoke")
    assert next_turn(Loop.post, 60) == ["the call"]
    print("mended: a byte woke the loop for the call, and no client had to speak")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    loop = Loop()
    listener = TCPListener(loop, socket.create_server(("127.0.0.1", 0)))
    listener.on_accept = accepted
    print("echoing on 127.0.0.1 port %d; Ctrl-C ends it" % listener.sock.getsockname()[1], flush=True)
    loop.run()
