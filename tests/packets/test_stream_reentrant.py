"""A PacketStream whose every slot, stage and source may call anything of it, at random, inside each other.

Checked: on_close as often as CLOSED; where it has come to rest, sources run exactly while it runs; nothing is stuck; it still
works afterwards; nothing stays on the loop.
"""
import pytest

from icey import (
    GraphError,
    Loop,
    PacketProcessor,
    PacketStream,
    PacketStreamAdapter,
    PacketStreamState,
    StateError,
    SyncPacketQueue,
)
from tests.support import seeds

NONE, ACTIVE, PAUSED, STOPPING, STOPPED, CLOSED, ERROR = PacketStreamState
VERBS = ["start", "start", "start", "stop", "pause", "resume", "close", "reset", "write", "emit", "final", "change", "break",
         "hold_up", "let_on"]
DEEPEST = 3


class Planned(Exception):
    """What a stage or a source raises."""


class Site:
    """A stream, its source and its stage, and what they do."""

    def __init__(self, rng, loop):
        self.rng, self.loop, self.depth, self.calm = rng, loop, 0, False
        self.closes, self.closed_states, self.came, self.refused = 0, 0, [], False
        self.layout = rng.choice([(), (), (0,), (0, 50)])  # orders of queues
        self.stream = PacketStream(auto_start=rng.random() < 0.2, close_on_error=rng.random() < 0.8)
        self.source, self.stage = Source(self), Stage(self)
        self.stream.on_state += self.moved
        self.stream.on_packet += self.packet
        self.stream.on_close += self.closed
        if rng.random() < 0.8:
            self.stream.on_error += lambda stream, exc: self.act()
        self.build()

    def build(self):
        self.stream.attach_source(self.source, sync_state=True)
        self.stream.attach(self.stage, 1)
        for order in self.layout:
            self.stream.attach(SyncPacketQueue(self.loop), order)

    def moved(self, stream, new, old):
        if new is NONE:
            self.build()
        self.closed_states += new is CLOSED
        self.act()

    def packet(self, packet):
        self.came.append(bytes(packet.data))
        self.act()

    def closed(self, stream):
        self.closes += 1
        self.act()

    def act(self):
        """Something, now and then."""
        if not self.calm and self.depth < DEEPEST and self.rng.random() < 0.08:
            self.depth += 1
            try:
                self.do(self.rng.choice(VERBS))
            finally:
                self.depth -= 1

    def trip(self):
        if not self.calm and self.rng.random() < 0.03:
            raise Planned

    def do(self, verb):
        stream = self.stream
        try:
            if verb in ("write", "final"):
                stream.write(b"x", verb == "final")
            elif verb == "emit":
                self.source.emit(bytearray(b"y"))
            elif verb == "change":
                if stream.detach(self.stage):
                    stream.attach(self.stage, 1)
            elif verb == "break":
                self.source.fail_streams(Planned())
            elif verb == "reset" and stream.state is NONE:
                stream.reset()  # which tells nobody
                self.build()
            else:
                getattr(stream, verb)()
        except (StateError, GraphError, Planned):
            pass

    def rest(self):
        for _ in range(8):
            self.loop.run_once(0)


class Source(PacketStreamAdapter):
    def __init__(self, site):
        self.site, self.runs = site, False

    def start(self):
        self.runs = True
        self.site.act()
        self.site.refused = True
        self.site.trip()
        self.site.refused = False

    def stop(self):
        self.runs = False
        self.site.act()

    def on_stream_state(self, state):
        if state is not NONE:
            self.site.act()


class Stage(PacketProcessor):
    def __init__(self, site):
        self.site = site

    def process(self, packet):
        self.site.act()
        self.site.trip()
        self.emit(packet)

    def on_stream_state(self, state):
        if state is not NONE:
            self.site.act()


def at_random(rng, loop):
    site = Site(rng, loop)
    stream, source = site.stream, site.source
    for _ in range(rng.randrange(3, 40)):
        site.do(rng.choice(VERBS))
        if rng.random() < 0.5:
            loop.run_once(0)
    site.calm = True
    site.rest()
    assert stream.state is not STOPPING and site.closes == site.closed_states
    assert stream.state is not ERROR or not stream.close_on_error
    running = stream.state in (ACTIVE, PAUSED)
    assert source.runs is running or (running and site.refused)
    if running:
        stream.stop()
    elif stream.state is ERROR:
        stream.close()
    site.rest()
    if stream.state is CLOSED:
        stream.reset()
    site.came.clear()
    stream.start()
    source.emit(b"last")
    site.rest()
    assert site.came == [b"last"] and source.runs
    stream.close()
    site.rest()
    assert stream.closed and not source.runs and not loop.handles


@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_a_stream_whose_slots_call_anything_of_it(count, monkeypatch):
    monkeypatch.setattr("icey.base.log.error", lambda *args, **options: None)  # of slots that raise, as planned
    for seed in seeds.fresh(count):
        with Loop(debug=bool(seed % 2)) as loop:
            loop.on_error += lambda loop, exc, handle: None
            try:
                at_random(seeds.random.Random(seed), loop)
            except BaseException:
                print("ICEY_SEED=%d" % seed)
                raise
