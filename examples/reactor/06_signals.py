"""06: signals. What happens to a stream is an event, and any number of slots may be attached to it.

    python3 examples/reactor/06_signals.py      then: nc 127.0.0.1 PORT; what comes is echoed, and another slot prints it

Breaks without it: an attribute holds one callback. A log that is to see what the echo sees takes the echo's place, and the
server falls silent. Nobody made a mistake: each of the two was right before the other came.
Idea: a Signal for each event, += to attach a slot, -= to detach it. To emit is to call the slots, one after the other, here and
now: no queue, no thread. (Not the signals of Unix. The post() of 05 is left out; the listener is a stream read otherwise.)
Grown up: icey/base/signal.py (priorities, once, slots that end the call), icey/base/threadsignal.py
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


class Signal:
    def __init__(self):
        self.slots = ()

    def __iadd__(self, fn):
        self.slots += (fn,)
        return self

    def __isub__(self, fn):
        self.slots = tuple(slot for slot in self.slots if slot != fn)
        return self

    def emit(self, *args):
        for fn in self.slots:  # a tuple that nobody changes: a slot may detach itself meanwhile, and none is passed over
            fn(*args)


class Stream:  # a connected socket; on_recv tells what comes, as (stream, data)
    def __init__(self, loop, sock):
        self.loop, self.sock, self.queue, self.on_recv = loop, sock, bytearray(), Signal()
        self.fileno = sock.fileno  # select() takes whatever has one
        sock.setblocking(False)  # recv() and send() do what can be done now, and never wait
        loop.handles.add(self)

    def readable(self):
        data = self.sock.recv(65536)
        if not data:  # the end
            return self.close()
        self.on_recv.emit(self, data)

    def send(self, data):
        self.queue += data  # the loop sees that it is not empty, and calls writable()

    def writable(self):
        del self.queue[:self.sock.send(self.queue)]  # send() says how many bytes it took: all, or some

    def close(self):
        self.loop.handles.discard(self)
        self.sock.close()


def accepted(stream):
    stream.on_recv += Stream.send  # an echo: what comes from a stream is sent to it
    stream.on_recv += lambda stream, data: print("heard %r" % data)


class OneCallback(Signal):  # what an attribute is to which one assigns
    def __iadd__(self, fn):
        self.slots = (fn,)
        return self


def echo_and_log(signal):
    """Two messages come to an echo, and to a log that detaches itself behind the first: what each of them hears."""
    loop, echo, log, (near, far) = Loop(), [], [], socket.socketpair()
    stream = Stream(loop, near)

    def first_alone(stream, data):
        log.append(data)
        stream.on_recv -= first_alone
    stream.on_recv = signal
    stream.on_recv += lambda stream, data: echo.append(data)
    stream.on_recv += first_alone
    with near, far:
        for message in b"one", b"two":
            far.sendall(message)
            loop.run_once(timeout=5)
    return echo, log


def check():
    assert echo_and_log(OneCallback()) == ([], [b"one"])
    print("breaks: with one callback the log has taken the place of the echo, which hears nothing")
    assert echo_and_log(Signal()) == ([b"one", b"two"], [b"one"])
    print("mended: with a signal both hear what comes, each for as long as it wants")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    loop = Loop()
    listener = Stream(loop, socket.create_server(("127.0.0.1", 0)))
    listener.readable = lambda: accepted(Stream(loop, listener.sock.accept()[0]))
    print("echoing on 127.0.0.1 port %d; Ctrl-C ends it" % listener.sock.getsockname()[1], flush=True)
    loop.run()
