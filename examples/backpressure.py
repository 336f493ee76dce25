"""Backpressure: a fast sender, a slow reader, and a queue that stays flat; drawn as text.

    python3 examples/backpressure.py

`send` returns False when more than `high_water` bytes wait for the kernel: stop, and go on when `on_drain` says that the
queue is down to `low_water`. A sender that does so needs no more memory for a gigabyte than for a kilobyte. One that does
not look fills the queue up to `max_queue`, and is then told with QueueFull; nothing is ever dropped in silence.

The reader here takes one read a tick and pauses in between. A line is one tick, # is what is queued at the sender's.
"""
import os
import socket
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

TOTAL, CHUNK, TICK = 4 << 20, bytes(8 << 10), 0.002


class Polite:
    """Sends while send() says True, then waits for on_drain."""

    def __init__(self, stream):
        self.left = TOTAL
        stream.on_drain += self.more
        self.more(stream)

    def more(self, stream):
        while self.left:
            self.left -= len(CHUNK)
            if not stream.send(CHUNK):
                return
        stream.close()


def rude(stream):
    try:
        while True:
            stream.send(CHUNK)  # and what it returns is not looked at
    except icey.QueueFull as error:
        print("the rude one: QueueFull,", error)
    stream.abort()


def run(program):
    """`program` sends to a slow reader: (bytes queued at each tick, bytes that arrived)."""
    depths, arrived = [], []
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)  # a kernel that takes little, to see the rest
    with icey.Loop() as loop:
        sender, reader = icey.Stream(loop, near), icey.Stream(loop, far)

        def received(reader, view):
            arrived.append(len(view))
            reader.pause()

        def tick(timer):
            depths.append(sender.queued)
            reader.resume()

        timer = icey.Timer(loop, TICK, tick, interval=TICK).start()
        reader.on_recv += received
        reader.on_close += lambda reader: timer.close()
        program(sender)
        loop.run()
    return depths, sum(arrived)


def main():
    depths, arrived = run(Polite)
    print("%d MiB sent to a slow reader, # is 2 KiB of the queue:" % (TOTAL >> 20))
    for number, depth in enumerate(depths[:20]):
        print("%4d ms %3d KiB %s" % (number * TICK * 1000, depth >> 10, "#" * (depth >> 11)))
    most = max(depths)
    print("%d ticks later: %d MiB arrived, never more than %d KiB were queued" % (len(depths), arrived >> 20, most >> 10))
    run(rude)
    if "--check" in sys.argv:
        assert arrived == TOTAL and 0 < most <= icey.Limits().high_water + len(CHUNK) and len(depths) > 20
        print("OK")


if __name__ == "__main__":
    main()
