"""What a packet costs on its way through a PacketStream, beside plain nested calls, and through each queue.

    python tests/bench/packetstream.py                    # five rounds, some twenty seconds
    python tests/bench/packetstream.py --python ~/py38/bin/python --json result.json

stages     `stream.write(packet)`: 0, 1, 4 and 8 processors, each `process` doing `self.emit(packet)`, one packet object
           passed through, one on_packet slot that does nothing
nested     as many functions, each calling the next, the last one emitting to a Signal with that slot (the floor)
borrowed   4 stages, and each write lends a fresh RawPacket of a bytearray, which is revoked after it
queues     packets of one write() each through a SyncPacketQueue on a loop, and through an AsyncPacketQueue onto its thread;
           beside them as many put() and get() of a queue.Queue between two threads: elapsed time, from the first write until
           the last has been delivered

Goals, for the whole way of a packet: 4 stages cost at most 4 times the nested calls plus one Signal, at most 5 times where the
packet is borrowed; an AsyncPacketQueue at most 1.2 times the put and get of a queue.Queue.

Rules: as in signals.py: a fresh pinned process a round, subjects in turn inside it, the least batch of each, the median of
rounds. Both threads of the AsyncPacketQueue are on that one core.
"""

import queue
import sys
import threading
import time
from itertools import repeat

import harness
from signals import least, run

STAGES = (0, 1, 4, 8)
QUEUED = 20000
GOAL = 4.0
BORROWED_GOAL = 5.0
QUEUE_GOAL = 1.2  # x queue.Queue


def slot(packet):
    pass


def nested(icey, count):
    signal = icey.Signal()
    signal.attach(slot)

    def over(following):
        def function(packet):
            following(packet)
        return function

    function = signal.emit
    for _ in range(count):
        function = over(function)
    packet = icey.RawPacket(b"packet")

    def run(times):
        for _ in repeat(None, times):
            function(packet)
    return run


def stream_of(icey, count):
    class Stage(icey.PacketProcessor):
        def process(self, packet):
            self.emit(packet)

    stream = icey.PacketStream("bench")
    for order in range(count):
        stream.attach(Stage(), order)
    stream.on_packet += slot
    stream.start()
    return stream


def stages(icey, count):
    stream, packet = stream_of(icey, count), icey.RawPacket(b"packet")

    def run(times):
        for _ in repeat(None, times):
            stream.write(packet)
    return run


def borrowed(icey, count):
    stream, memory = stream_of(icey, count), bytearray(b"packet")

    def run(times):
        for _ in repeat(None, times):
            stream.write(memory)
    return run


def through(icey, queue, deliver):
    """ns a packet through `queue`; `deliver()` is called when all are written, and returns when all have come."""
    stream, packet = icey.PacketStream("bench"), icey.RawPacket(b"packet")
    came = []
    last = threading.Event()
    stream.attach(queue)
    stream.on_packet += came.append
    stream.on_close += lambda stream: last.set()
    stream.start()
    start = time.perf_counter_ns()
    for _ in repeat(None, QUEUED):
        stream.write(packet)
    stream.close()
    deliver(last)
    spent = (time.perf_counter_ns() - start) / QUEUED
    assert len(came) == QUEUED, len(came)
    return spent


def put_and_get():
    """ns an item through a queue.Queue from this thread to another."""
    items, came, item = queue.Queue(), [], object()

    def work():
        for _ in repeat(None, QUEUED):
            came.append(items.get())

    worker = threading.Thread(target=work)
    worker.start()
    start = time.perf_counter_ns()
    for _ in repeat(None, QUEUED):
        items.put(item)
    worker.join()
    spent = (time.perf_counter_ns() - start) / QUEUED
    assert len(came) == QUEUED, len(came)
    return spent


def queues(icey):
    found = {}
    for _ in range(5):
        with icey.Loop() as loop:
            sync = through(icey, icey.SyncPacketQueue(loop, QUEUED), lambda last: loop.run())
        other = through(icey, icey.AsyncPacketQueue(QUEUED), lambda last: last.wait(60))
        blocking = through(icey, icey.AsyncPacketQueue(64, "block"), lambda last: last.wait(60))
        for name, value in (("SyncPacketQueue", sync), ("AsyncPacketQueue", other), ("AsyncPacketQueue, block, 64", blocking),
                            ("queue.Queue", put_and_get())):
            found[name] = min(value, found.get(name, value))
    return found


def measure(icey):
    runs = {}
    for count in STAGES:
        runs["nested calls, %d" % count] = nested(icey, count)
        runs["stages, %d" % count] = stages(icey, count)
    runs["stages, 4, borrowed"] = borrowed(icey, 4)
    return {"direct": least(runs), "queued": queues(icey)}


def show(found):
    direct, rows = found["direct"], []
    for name, value in direct.items():
        kind, _, rest = name.partition(", ")
        base = direct.get("nested calls, " + rest.partition(",")[0])
        rows.append([name, "%.0f" % value, "%.0f" % (1e6 / value), "" if kind != "stages" else "%.2f" % (value / base)])
    for name, value in found["queued"].items():
        rows.append([name, "%.0f" % value, "%.0f" % (1e6 / value), ""])
    harness.print_table(["through", "ns", "k packets/s", "x nested"], rows)


def judge(found):
    direct, queued = found["direct"], found["queued"]
    nested_calls = direct["nested calls, 4"]
    promises = [("4 stages, x nested calls plus a Signal", direct["stages, 4"] / nested_calls, GOAL),
                ("4 stages, borrowed, x the same", direct["stages, 4, borrowed"] / nested_calls, BORROWED_GOAL),
                ("AsyncPacketQueue, x queue.Queue", queued["AsyncPacketQueue"] / queued["queue.Queue"], QUEUE_GOAL)]
    return [(what, value, goal, value <= goal) for what, value, goal in promises]


if __name__ == "__main__":
    sys.exit(run("packetstream", __file__, __doc__, measure, show, judge))
