"""04: doing something later. The loop has a heap of timers, and waits no longer than until the first of them is due.

    python3 examples/reactor/04_timers.py      then, in two terminals: nc 127.0.0.1 PORT; the echo comes half a second late

Breaks without it: a callback that sleeps has everybody sleep. Three clients who ask at once are served one nap after
the other, and the rest of the server stands still meanwhile.
Idea: a Timer says when, and what is to be called. The timeout of select() is the time until the first timer; after select()
the loop calls what is due, then what is ready. The clock is monotonic: it never goes back, whoever sets the time of day.
Grown up: icey/base/timer.py, icey/base/loop.py
"""
import heapq
import select
import socket
import sys
import time

DELAY = 0.5  # seconds


class Loop:  # the reactor: waits until something happens, and calls whom it happened to
    def __init__(self):
        self.handles, self.timers = set(), []  # timers: a heap, the next one is the first

    def run_once(self):  # one turn
        timeout = max(0, self.timers[0].when - time.monotonic()) if self.timers else None
        handles = list(self.handles)
        readable, writable, _ = select.select(handles, [handle for handle in handles if handle.queue], [], timeout)
        now = time.monotonic()  # once: a timer that a timer starts is for the next turn
        while self.timers and self.timers[0].when <= now:
            heapq.heappop(self.timers).fn()
        for handle, fn in [(one, one.readable) for one in readable] + [(one, one.writable) for one in writable]:
            if handle in self.handles:  # else a callback of this turn has closed it
                try:
                    fn()
                except Exception as error:  # its peer has gone, or a callback has a mistake: no matter of the others
                    print(repr(error), file=sys.stderr)
                    handle.close()

    def run(self):  # until nothing is open
        while self.handles or self.timers:
            self.run_once()


class Timer:  # calls fn() once, in `delay` seconds, unless stop() comes first
    def __init__(self, loop, delay, fn):
        self.when, self.fn = time.monotonic() + delay, fn
        heapq.heappush(loop.timers, self)

    def __lt__(self, other):  # what the heap asks
        return self.when < other.when

    def stop(self):
        self.fn = lambda: None  # it stays in the heap: to search it there would cost more


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
    stream.on_recv = lambda stream, data: Timer(stream.loop, DELAY, lambda: stream.send(data))


def three_clients(later):
    """Three clients ask in one moment, and are to be answered later: what the server does."""
    loop, done = Loop(), []
    Timer(loop, 0.01, lambda: done.append("stopped")).stop()
    for _ in range(3):
        near, far = socket.socketpair()
        far.sendall(b"?")
        far.close()
        Stream(loop, near).on_recv = lambda *_: (done.append("asked"), later(loop, 0.05, lambda: done.append("answers")))
    loop.run()
    return ", ".join(done)


def check():
    served = three_clients(lambda loop, delay, fn: (time.sleep(delay), fn()))
    assert served == "asked, answers, asked, answers, asked, answers"
    print("breaks: with time.sleep() one waits for the other: " + served)
    served = three_clients(Timer)
    assert served == "asked, asked, asked, answers, answers, answers"
    print("mended: with a Timer all three wait together: " + served)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    loop = Loop()
    listener = TCPListener(loop, socket.create_server(("127.0.0.1", 0)))
    listener.on_accept = accepted
    print("echoing on 127.0.0.1 port %d; Ctrl-C ends it" % listener.sock.getsockname()[1], flush=True)
    loop.run()
