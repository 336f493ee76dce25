"""Thousands of random graphs: sources, stages of each kind, queues with every policy, branches, errors, stops and closes.

Checked of each: no packet is delivered behind on_close, none twice, the order is kept within a branch, every packet that
was written is delivered, dropped or counted, exactly; on_error at most once; nothing hangs, no thread is left. A failure
prints the seed of its graph: ICEY_SEED=<that> repeats it alone, ICEY_GRAPHS=<n> builds that many.
"""
import itertools
import os
import random
import threading

import pytest

from icey import (
    AsyncPacketQueue,
    Loop,
    PacketProcessor,
    PacketRetention,
    PacketStream,
    PacketStreamAdapter,
    RawPacket,
    StateError,
    SyncPacketQueue,
)
from tests.support import lacks, packets, seeds
from tests.support.packets import Thread, turn_until

no_thread_stays = packets.no_thread_stays
GRAPHS = int(os.environ.get("ICEY_GRAPHS", "2000"))
THREADS = not lacks("threading")


class Planned(Exception):
    """What a stage raises because the plan says so."""


class Stage(PacketProcessor):
    """Passes on; raises at its `fails`-th packet; keeps a packet where it may."""

    def __init__(self, retention, fails):
        self.retention = retention
        self.fails = fails
        self.count = 0
        self.kept = []

    def process(self, packet):
        self.count += 1
        if self.count == self.fails:
            raise Planned
        if self.retention is not PacketRetention.BORROWED:
            self.kept.append((packet, bytes(packet.data)))
        self.emit(packet)


class Picky(Stage):
    def accepts(self, packet):
        return bytes(packet.data).endswith((b"0", b"5"))


class Branch:
    """A stream of the graph, and what is known of it."""

    def __init__(self, rng, loop, name, ends):
        self.stream = PacketStream(name, close_on_error=rng.random() < 0.8, auto_start=rng.random() < 0.1)
        self.delivered, self.errors, self.closes = [], [], []
        self.queues, self.parent = [], None
        self.closed = threading.Event()
        self.ends, self.verb = ends, rng.choice(["stop", "close"])
        self.ended = False
        for order in range(rng.randrange(5)):
            self.stream.attach(self._stage(rng, loop), order * 7)
        if rng.random() < 0.3:
            self.queues.append(self.stream.synchronize_output(loop))
        self.stream.on_packet += self._packet
        self.stream.on_close += self._close
        self.heard = rng.random() < 0.9
        if self.heard:
            self.stream.on_error += lambda stream, exc: self.errors.append(exc)

    def _stage(self, rng, loop):
        kind = rng.random()
        if kind < 0.2:
            self.queues.append(SyncPacketQueue(loop, rng.choice([1, 3, 1024]), rng.choice(["oldest", "newest", "error"])))
            return self.queues[-1]
        if kind < 0.4 and THREADS:
            policy = rng.choice(["oldest", "newest", "error", "block"])
            self.queues.append(AsyncPacketQueue(rng.choice([1, 3, 1024]), policy))
            return self.queues[-1]
        fails = rng.randrange(1, 40) if rng.random() < 0.12 else 0
        return rng.choice([Stage, Stage, Picky])(rng.choice(list(PacketRetention)), fails)

    def _packet(self, packet):
        self.delivered.append(int(bytes(packet.data)))
        assert not self.closes, "delivered behind on_close"
        if self.ends == len(self.delivered):
            self.ended = True
            getattr(self.stream, self.verb)()

    def _close(self, stream):
        self.closes.append(len(self.delivered))
        self.closed.set()

    @property
    def dropped(self):
        return self.stream.dropped + sum(queue.dropped for queue in self.queues)


class Source(PacketStreamAdapter):
    pass


def build(rng, loop):
    """(source or None, trunk, branches): a trunk with up to three branches."""
    def ends():
        return rng.randrange(1, 40) if rng.random() < 0.15 else 0

    trunk = Branch(rng, loop, "trunk", ends())
    branches = [trunk]
    for number in range(rng.randrange(4)):
        branch = Branch(rng, loop, "branch %d" % number, ends())
        branch.parent = rng.choice(branches[:2])
        branch.stream.attach_source(branch.parent.stream)
        branches.append(branch)
    source = Source() if rng.random() < 0.5 else None
    if source is not None:
        trunk.stream.attach_source(source)
    return source, branches


def feed(rng, source, trunk, count, numbers):
    """Writes numbers, owned and borrowed, by source or by hand, with pauses; returns how many were taken or counted."""
    entered = 0
    for number in itertools.islice(numbers, count):
        data = b"%d" % number
        packet = rng.choice([data, bytearray(data), RawPacket(data), RawPacket(bytearray(data))])
        try:
            if source is not None:
                entered += 1
                source.emit(packet)
            elif trunk.stream.active:
                entered += 1
                trunk.stream.write(packet)
        except StateError:  # a queue's thread ended it between the two lines
            entered -= 1
        except Exception as exc:  # nobody is attached to on_error
            assert is_planned(exc), exc
        if rng.random() < 0.02 and trunk.stream.active:
            try:
                trunk.stream.pause()
                if source is not None:
                    entered += 1
                    source.emit(b"%d" % next(numbers))
                trunk.stream.resume()
            except StateError:
                pass
    return entered


def is_planned(exc):
    return isinstance(exc, (Planned, packets.QueueFull))


def one_graph(seed, loop):
    rng = random.Random(seed)
    source, branches = build(rng, loop)
    trunk = branches[0]
    for branch in reversed(branches):
        assert branch.stream.lint() == []
        if not branch.stream.auto_start or branch is not trunk:
            branch.stream.start()
    if trunk.stream.auto_start and source is None:
        trunk.stream.start()
    entered, numbers, raced = 0, itertools.count(), False
    for life in range(rng.choice([1, 1, 2])):
        if life and trunk.stream.state.name == "STOPPED":
            try:
                trunk.stream.start()
            except StateError:  # its close is on its way
                pass
        work = (feed, rng, source, trunk, rng.randrange(60), numbers)
        if rng.random() < 0.3:  # the writer is another thread, closed or stopped under its hands
            writer = Thread(*work)
            if rng.random() < 0.5:
                raced = True
                end(rng, rng.choice(branches))
            for _ in range(3):
                loop.run_once(0)
            turn_until(loop, lambda writer=writer: not writer.alive)
            entered += writer.join()
        else:
            entered += work[0](*work[1:])
            for _ in range(rng.randrange(3)):
                loop.run_once(0)
        if rng.random() < 0.5:
            end(rng, rng.choice(branches))
    for branch in branches if rng.random() < 0.5 else reversed(branches):
        branch.stream.close()
    for branch in branches:
        turn_until(loop, branch.closed.is_set)
    loop.run_once(0)
    check(entered, branches, raced)
    if source is not None and trunk.stream.sources:
        before = trunk.stream.dropped
        source.emit(b"late")
        assert trunk.stream.dropped == before + 1


def end(rng, branch):
    try:
        getattr(branch.stream, rng.choice(["stop", "close"]))()
    except StateError:  # it has failed, or has not begun
        pass


def check(entered, branches, raced):
    for branch in branches:
        where = branch.stream.describe()
        came = branch.delivered
        assert branch.closes == [len(came)], where
        assert len(set(came)) == len(came), "a packet was delivered twice\n" + where
        assert came == sorted(came), where
        assert len(branch.errors) <= 1, where
        assert all(is_planned(exc) for exc in branch.errors), (branch.errors, where)
        assert branch.stream.error is None or is_planned(branch.stream.error), where
        for stage in branch.stream.processors:
            for packet, data in getattr(stage, "kept", ()):
                assert packet.data == data, "kept, and changed"
        assert all(queue.depth == 0 for queue in branch.queues), where
        if branch.parent is None:
            expected = entered
        elif branch.parent.stream.error is None:
            expected = len(branch.parent.delivered)
        else:  # an unheard error of another branch cost this one a packet
            continue
        lost = expected - len(came) - branch.dropped
        # A packet that raises is neither delivered nor dropped: one on each side of a queue, or one when it was just over.
        raised = raced if branch.stream.error is None else len(branch.queues) + 1
        assert 0 <= lost <= raised, (lost, expected, len(came), branch.dropped, where)


@pytest.mark.parametrize("count", [100, pytest.param(GRAPHS, marks=pytest.mark.slow)])
def test_random_graphs(monkeypatch, count):
    monkeypatch.setattr(threading, "excepthook", lambda args: None if is_planned(args.exc_value) else loud.append(args))
    loud = []
    for seed in seeds.fresh(count):
        with Loop(debug=bool(seed % 2)) as loop:
            loop.on_error += lambda loop, exc, handle: None if is_planned(exc) else loud.append(exc)
            try:
                one_graph(seed, loop)
                assert loud == []
            except BaseException:
                print("ICEY_SEED=%d" % seed)
                raise


@pytest.mark.parametrize("seed", seeds.each([1, 2, 3]))
def test_a_seed_builds_the_same_graph_again(seed):
    with Loop() as loop:
        graphs = [build(random.Random(seed), loop)[1] for _ in range(2)]
    assert [b.stream.describe() for b in graphs[0]] == [b.stream.describe() for b in graphs[1]]
