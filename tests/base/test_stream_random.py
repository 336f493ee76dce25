"""Stream against a model: random scripts of reads and writes, and what must hold whatever they are.

Bytes arrive and leave in order, dones come in order, on_drain only after False or QueueFull, on_close last and once.
A failure prints its seed: ICEY_SEED=<that> repeats it alone.
"""
import random

import pytest

import icey
from icey.base.stream import BROKEN
from icey.tools.testing import AGAIN, END, INTERRUPTED, ScriptedSocket, virtual_loop
from tests.support import seeds, streams

RUNS = 300


def random_reads(rng):
    """A script of reads, and the bytes it brings."""
    reads, data = [], bytearray()
    for _ in range(rng.randrange(12)):
        kind = rng.random()
        if kind < 0.3:
            reads.append(rng.choice((AGAIN, INTERRUPTED)))
        else:
            piece = rng.getrandbits(8 * rng.choice((1, 7, 300))).to_bytes(300, "big")[-rng.choice((1, 7, 300)):]
            reads.append(piece)
            data += piece
    reads.append(rng.choice((END, END, ConnectionResetError)))
    return reads, bytes(data)


def random_writes(rng):
    writes = []
    for _ in range(rng.randrange(40)):
        writes.append(rng.choice((0, 1, 2, 5, 50, 500, 5000, AGAIN, AGAIN, INTERRUPTED)))
    if rng.random() < 0.2:
        writes.append(rng.choice((BrokenPipeError, ConnectionResetError)))
    return writes


def random_data(rng):
    """What to send, and its bytes."""
    parts = []
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        piece = bytes([rng.randrange(256)]) * rng.choice((0, 1, 3, 10, 100, 1000, 20000))
        parts.append(rng.choice((bytes, bytearray, memoryview))(piece))
    return (parts if len(parts) > 1 or rng.random() < 0.3 else parts[0]), b"".join(parts)


class Model:
    """What the stream has to do, noted as it happens."""

    def __init__(self, rng, stream):
        self.rng = rng
        self.stream = stream
        self.received = bytearray()
        self.sent = bytearray()  # all that send() took
        self.promised = []  # (number of the send, where its last byte lies)
        self.done = []
        self.may_drain = False
        self.shut = False
        self.aborted = False
        self.closed = 0
        self.errors = 0
        self.inside = False
        stream.on_recv += self.on_recv
        stream.on_drain += self.on_drain
        stream.on_error += self.on_error
        stream.on_close += self.on_close

    def alive(self):
        assert not self.inside, "called inside a call of ours"
        assert not self.closed, "an event behind on_close"

    def on_recv(self, stream, view):
        self.alive()
        assert not stream.closing
        self.received += view
        if self.rng.random() < 0.5:
            self.send()

    def on_drain(self, stream):
        self.alive()
        assert self.may_drain, "on_drain without a False"
        assert stream.queued <= stream.low_water
        self.may_drain = False
        if self.rng.random() < 0.5:
            self.send()

    def on_error(self, stream, exc):
        self.alive()
        self.errors += 1

    def on_close(self, stream):
        self.alive()
        self.closed += 1

    def send(self):
        stream = self.stream
        broken = stream.link == BROKEN
        data, content = random_data(self.rng)
        number = len(self.promised)
        before = stream.queued
        self.inside = True
        try:
            verb = self.rng.choice((stream.send, stream.send_owned))
            below = verb(data, lambda: self.sent_out(number))
        except icey.StateError:
            assert self.shut and not broken
            return
        except icey.QueueFull:
            assert before and before + len(content) > stream.max_queue
            assert stream.queued == before
            self.may_drain = True
            return
        finally:
            self.inside = False
        assert broken or not self.shut
        if stream.link == BROKEN:
            assert below is False
            return
        self.sent += content
        self.promised.append((number, len(self.sent)))
        assert below is (stream.queued < stream.high_water or stream.queued == 0)
        self.may_drain = self.may_drain or not below

    def sent_out(self, number):
        assert not self.inside
        assert not self.closed
        assert len(self.stream.sock.sent) >= dict(self.promised)[number]
        self.done.append(number)

    def step(self):
        """Something a program does between two turns."""
        stream, choice = self.stream, self.rng.random()
        if stream.closing:
            if choice < 0.1:
                self.rng.choice((stream.close, stream.pause, stream.resume, stream.shutdown))()
        elif choice < 0.5:
            self.send()
        elif choice < 0.6:
            self.rng.choice((stream.pause, stream.resume))()
        elif choice < 0.62:
            stream.shutdown()
            self.shut = True
        elif choice < 0.65:
            stream.close()
        elif choice < 0.66:
            stream.abort()
            self.aborted = True


def random_run(seed, debug):
    rng = random.Random(seed)
    loop, _ = virtual_loop(debug)
    reports = streams.Reports()
    loop.on_error += reports.note
    reads, incoming = random_reads(rng)
    sock = ScriptedSocket(reads, random_writes(rng), sendmsg=rng.random() < 0.8)
    stream = icey.Stream(loop, sock)
    stream.high_water = rng.choice((1, 10, 5000))
    stream.low_water = min(stream.high_water, rng.choice((0, 5, 1000)))
    stream.max_queue = rng.choice((20, 30000, None))
    model = Model(rng, stream)
    for _ in range(rng.randrange(60)):
        model.step()
        loop.run_once(0)
    stream.close()
    loop.run()
    loop.close()

    assert not reports
    assert model.closed == 1
    assert incoming.startswith(bytes(model.received))
    assert bytes(model.sent).startswith(bytes(sock.sent))
    assert model.done == list(range(len(model.done)))
    assert len(model.done) >= sum(end < len(sock.sent) for _, end in model.promised)
    assert model.errors <= 1
    if not model.errors and not model.aborted:
        assert sock.sent == model.sent
        assert len(model.done) == len(model.promised)
    assert sock.closed


@pytest.mark.parametrize("debug", [False, True], ids=["release", "debug"])
def test_whatever_the_kernel_does_the_rules_hold(debug):
    for seed in seeds.fresh(RUNS):
        try:
            random_run(seed, debug)
        except BaseException:
            print("ICEY_SEED=%d" % seed)
            raise
