"""Random crowds: clients come to a running stream, read or do not, leave or stay, while packets flow and everything may end.

Checked of each: what a client got is in order and whole, none twice; where its answer came to a proper end, what it got and
what was dropped for it is what was written while it was there, exactly; on_close came once; nothing is left on stream and
server; what was lent is not held on to. A failure prints its seed: ICEY_SEED=<that> repeats it alone, ICEY_CROWDS=<n> plays
that many.
"""
import os
import re

import pytest

import icey
from icey import PacketFlags, PacketStream, RawPacket
from icey.http import ChunkedAdapter, MultipartAdapter, SseAdapter
from icey.tools.testing import VirtualClock, VirtualSelector
from tests.support import http, seeds
from tests.support.feeding import NARROW, slow
from tests.support.streams import PYPY, Reports, finish

CROWDS = int(os.environ.get("ICEY_CROWDS", "60"))
SEEDS = seeds.each(range(CROWDS), quick=20)

REST = b"x" * 1500


def content(number):
    return b"<%08d>" % number + REST + b"."


class Guest:
    """A client, its feed, and what is known of both."""

    def __init__(self, rng, crowd):
        self.crowd = crowd
        self.kind = rng.choice([ChunkedAdapter, ChunkedAdapter, SseAdapter, MultipartAdapter])
        self.options = {"drop": rng.choice(["newest", "oldest", "latest", "close"]), "max_queue": rng.choice([1, 3, 10])}
        self.reads = rng.choice([0.0, 0.1, 0.5, 1.0, 1.0])
        self.version = rng.choice(["1.1", "1.1", "1.0"])
        self.feed = self.told = self.until = None
        self.got = bytearray()
        self.left = self.ended = False
        crowd.coming = self
        self.client = slow(crowd.site)
        self.client.ask(version=self.version)
        crowd.site.until(lambda: self.feed is not None)

    def come(self, exchange):
        http.narrow(exchange, 2048)
        self.feed = self.kind(exchange, **self.options)
        self.told = []
        self.feed.on_close += self.over
        self.first = self.crowd.count
        self.branch = self.feed.follow(self.crowd.trunk)

    def over(self, feed):
        self.told.append(feed.exchange.answered)
        self.until = self.crowd.count

    def read(self):
        """What is there; True at the end."""
        while not self.left and not self.ended:
            try:
                data = self.client.sock.recv(65536)
            except BlockingIOError:
                break
            except ConnectionResetError:
                self.left = True
                break
            self.got += data
            self.ended = not data
        return self.left or self.ended

    def leave(self, how):
        self.left = True
        getattr(self.client, how)()

    def numbers(self):
        """The packets that came whole, by number."""
        body = bytes(self.got).partition(b"\r\n\r\n")[2]
        if self.version == "1.1":
            body, rest = b"", body
            while rest:
                size, _, rest = rest.partition(b"\r\n")
                body += rest[:int(size, 16)] if size else b""
                rest = rest[int(size, 16) + 2:] if size else b""
        return [int(number) for number in re.findall(rb"<([0-9]{8})>x{%d}\." % len(REST), body)]

    def check(self):
        assert len(self.told) == 1 and self.feed.depth == 0
        assert self.branch.closed and self.branch.sources == []
        numbers = self.numbers()
        assert numbers == sorted(set(numbers)) and all(self.first <= number < self.until for number in numbers)
        accounted = len(numbers) + self.feed.dropped + self.branch.dropped
        if self.got.endswith(b"0\r\n\r\n"):
            assert self.told == [True]
            assert accounted == self.until - self.first
        else:
            assert accounted <= self.until - self.first


class Crowd:
    """A stream, a server, and who comes."""

    def __init__(self, seed):
        self.rng = seeds.rng(seed)
        clock = VirtualClock(1000.0)
        self.loop = icey.Loop(self.rng.random() < 0.5, clock=clock, selector=VirtualSelector(clock))
        self.reports = Reports()
        self.loop.on_error += self.reports.note
        self.site = http.Site(self.loop, clock)
        self.site.serve(lambda exchange: self.coming.come(exchange), limits=NARROW)
        self.trunk = PacketStream("trunk")
        self.trunk.start()
        self.guests, self.count = [], 0
        self.memory = bytearray(content(0))

    def write(self):
        """Lends the same memory again and again; nobody may look at it afterwards, nor hold on to it."""
        self.memory[:] = content(self.count)
        self.count += 1
        self.trunk.write(self.memory)
        self.memory[:] = b"?" * len(self.memory)
        if not PYPY:
            self.memory.append(0)

    def read(self):
        """Every guest reads: which of them are at the end."""
        return [guest.read() for guest in self.guests]

    def step(self):
        rng, action = self.rng, self.rng.random()
        if action < 0.08 and len(self.guests) < 8:
            self.guests.append(Guest(rng, self))
        elif action < 0.75:
            for _ in range(rng.choice([1, 1, 5, 20])):
                self.write()
        elif self.guests:
            guest = rng.choice(self.guests)
            if action < 0.79 and not guest.left:
                guest.leave(rng.choice(["close", "reset"]))
            elif action < 0.81:
                rng.choice([guest.feed.close, guest.feed.abort, guest.branch.close, guest.feed.exchange.abort])()
        for guest in self.guests:
            if rng.random() < guest.reads:
                guest.read()
        for _ in range(rng.randrange(3)):
            self.loop.run_once(0)

    def play(self):
        rng = self.rng
        for _ in range(rng.randrange(20, 120)):
            self.step()
        ending = rng.choice(["close", "branches", "FINAL", "server"])
        if ending == "FINAL":
            self.count += 1
            self.trunk.write(RawPacket(content(self.count - 1), PacketFlags.FINAL))
        elif ending == "branches":
            for guest in self.guests:
                guest.branch.close()
        elif ending == "server":
            self.site.server.stop(drain=rng.choice([0, 30]))
        self.trunk.close()
        self.site.until(lambda: self.read() is not None and all(guest.told for guest in self.guests))
        self.site.server.stop(drain=30, linger=0)
        self.site.until(lambda: all(self.read()))
        for guest in self.guests:
            guest.check()
        assert len(self.trunk.on_packet) == len(self.trunk.on_close) == len(self.site.server.on_shutdown) == 0
        assert not self.reports

    def end(self):
        self.site.close()
        finish(self.loop)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crowd(seed):
    crowd = Crowd(seed)
    try:
        crowd.play()
    finally:
        crowd.end()
