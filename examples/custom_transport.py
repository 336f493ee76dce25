"""A transport of your own, and a protocol of your own over it: a child process as a stream, asked and answering in lines.

    python3 examples/custom_transport.py 12 1234567        a child that squares numbers is asked twice
    python3 examples/custom_transport.py --check

A Stream runs over anything that has a socket's methods: recv, recv_into, send, shutdown, setblocking, fileno, close. A pair of
pipes gets them in ten lines (PipeEnds). What a pair of pipes has and a socket has not is a second descriptor, so PipeStream
also overrides `update_interest`, the one place where a stream tells the loop's poller what it waits for. All else is the
stream's: lent views, the write queue and its water marks, half-close, and a close that drains.

Lines is a StreamProtocol: it gets what comes as bytes, and would run over TCP or TLS as it is. It calls `stream.write`, which
does not look at the thread: a protocol is called by the loop, on the loop's thread.
"""
import argparse
import os
import selectors
import subprocess
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

from icey.base.handle import FINISHING
from icey.base.stream import UP
from icey.base.streamprotocol import StreamProtocol

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
CHILD = "import sys\nfor line in sys.stdin: print(int(line) ** 2, flush=True)"


class PipeEnds:
    """The reading end of one pipe and the writing end of another, with the methods of a socket."""

    def __init__(self, reading, writing):
        self.reading, self.writing = reading, writing

    def setblocking(self, flag):
        os.set_blocking(self.reading, flag)
        os.set_blocking(self.writing, flag)

    def fileno(self):
        return self.writing  # the stream gives it to sendfile(); what is polled, PipeStream decides

    def recv(self, size):
        return os.read(self.reading, size)

    def recv_into(self, buffer):
        return os.readv(self.reading, [buffer])

    def send(self, data):
        return os.write(self.writing, data)

    def shutdown(self, how):
        """Half-close: the reader at the other side meets the end when the last writing end is closed."""
        writing, self.writing = self.writing, -1
        if writing >= 0:
            os.close(writing)

    def close(self):
        self.shutdown(None)
        reading, self.reading = self.reading, -1
        if reading >= 0:
            os.close(reading)


class PipeStream(icey.Stream):
    """A stream that reads from one descriptor and writes to another; both are its own from now on."""

    def __init__(self, loop, reading, writing):
        self.watched = {}  # descriptor -> what the poller is to call when it is ready
        self.ends = reading, writing
        super().__init__(loop, PipeEnds(reading, writing))

    def update_interest(self):
        self.reader = self.pick_reader()
        reading, writing = self.ends
        flows = self.unsent and self.link == UP and self.phase < FINISHING
        self.watch(reading, READ, self.reader)
        self.watch(writing, WRITE, self.may_write if flows else None)

    def watch(self, fd, event, ready):
        poller, before = self.loop.poller, self.watched.get(fd)
        if ready is None:
            if before is not None:
                poller.unregister(fd)
        elif before is None:
            poller.register(fd, event, ready)
        else:
            poller.modify(fd, event, ready)
        self.watched[fd] = ready

    def may_write(self, mask):
        self.flush()

    def settle(self):
        self.update_interest()  # the poller lets go of a descriptor before it is closed
        super().settle()


class Lines(StreamProtocol):
    """Calls `on_line(text)` for each line that comes, and `on_over()` once, when the stream is closed."""

    def __init__(self, stream, on_line, on_over):
        self.stream, self.on_line, self.on_over = stream, on_line, on_over
        self.rest = b""
        stream.use_protocol(self)

    def say(self, text):
        """False: the other side is behind; `on_drain` will tell when it has caught up."""
        return self.stream.write(text.encode() + b"\n", None, False)

    def on_bytes(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.on_line(line.decode())

    def on_end(self):
        self.stream.close()

    def on_error(self, exc):
        print("the child has gone: %s" % exc, file=sys.stderr)

    def on_close(self):
        self.on_over()


def squares(loop, numbers):
    """Asks a child for the squares of all numbers at once; its answers, in order."""
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin and child.stdout
    # The stream closes its descriptors itself: it gets some of its own.
    stream = PipeStream(loop, os.dup(child.stdout.fileno()), os.dup(child.stdin.fileno()))
    child.stdout.close()
    child.stdin.close()
    answers, over = [], []
    lines = Lines(stream, answers.append, lambda: over.append(child.wait()))
    for number in numbers:
        lines.say(str(number))
    stream.shutdown()  # no more questions: the child reads to the end, answers, and exits
    loop.run()  # as long as the stream is open
    assert over == [0]
    return answers


def main():
    options = argparse.ArgumentParser(description="A child process as a stream, with a protocol of lines over it.")
    options.add_argument("numbers", nargs="*", type=int, default=[12, 1234567], help="what the child is to square")
    options.add_argument("--check", action="store_true", help="ask much, compare the answers, then exit")
    chosen = options.parse_args()
    # Checked with more than pipes hold, both ways: the queue drains as the child reads.
    numbers = range(20000) if chosen.check else chosen.numbers
    with icey.Loop() as loop:
        answers = squares(loop, numbers)
    if chosen.check:
        assert answers == [str(number * number) for number in numbers]
        print("OK: %d questions, %d answers, in order" % (len(numbers), len(answers)))
    else:
        for number, answer in zip(numbers, answers):
            print("%d * %d = %s" % (number, number, answer))


if __name__ == "__main__":
    main()
