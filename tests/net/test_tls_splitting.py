"""Every byte of a TLS connection: split there, stalled there, cut there, reset there, spoilt there, in both roles.

The connection is a handshake, a question, an answer, and close_notify both ways. What our end gets goes by hand, over a
Wire; at byte `at` of it something happens. Whatever that is: no hang past a deadline, nothing left behind, the right error.
"""
import os
import socket
import ssl

import pytest

import icey
from icey.tools.testing import Peer
from tests.support import needs, seeds, streams
from tests.support.streams import names, turn, watch

needs("ssl")

from tests.support import tlslinks  # noqa: E402
from tests.support.tlslinks import WAITING, Wire, our_context, their_context, until, wait  # noqa: E402

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
certs, role, link = tlslinks.certs, tlslinks.role, tlslinks.link

QUESTION, ANSWER = b"a small question", b"and its answer"


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def version(request):
    return request.param


@pytest.fixture
def contexts(certs, role, version):
    """(ours, theirs), for all the connections of a test."""
    theirs = their_context(certs, role, version=version)
    if role == "client":
        theirs.num_tickets = 0  # what comes behind the handshake is to be the exchange
    return our_context(certs, role), theirs


class Stopped(Exception):
    """The plan ends here."""


class Exchange:
    """One connection. Between the bytes before `at` and those behind `happen()` is called; then at the next of `at`."""

    def __init__(self, loop, contexts, role, at=(), happen=None, tcp=False):
        self.wire = Wire(loop, *contexts, role, tcp=tcp)
        self.loop = loop
        self.given = 0
        self.at = iter(at)
        self.next = next(self.at, None)
        self.happen = happen
        self.got = b""
        sock = self.sock = self.wire.sock
        sock.on_recv += lambda sock, view: sock.send(ANSWER) if view[-1:] == QUESTION[-1:] else None
        self.seen = watch(sock, "connect", "recv", "end", "drain", "error", "close")
        sock.on_end += lambda sock: sock.close()

    def bring(self, data):
        """Gives our end `data`, in parts where an `at` is in it."""
        while self.next is not None and self.next < self.given + len(data):
            before = self.next - self.given
            self.wire.bring(data[:before])
            self.given += before
            data = data[before:]
            self.next = next(self.at, None)
            self.happen()
        self.given += len(data)
        self.wire.bring(data)

    def run(self):
        """The whole connection. Ends early, quietly, at a Stopped and where the other end has nothing to go on with."""
        end = self.wire.end
        try:
            turn(self.loop)
            for _ in range(4):
                self.bring(self.wire.answer())
                if end.shaken and self.sock.version is not None:
                    break
            if end.shaken:
                end.write(QUESTION)
                self.bring(end.take())
                self.hear()
                end.unwrap()
                self.bring(end.take())
                self.hear()
        except (Stopped, ssl.SSLError):
            pass
        return self

    def hear(self):
        """Has the other end read."""
        turn(self.loop)
        data = self.wire.came()
        if data:
            self.wire.end.feed(data)
        while True:
            piece = self.wire.end.read()
            if piece is WAITING or not piece:
                return
            self.got += piece

    def finish(self):
        """All is well: what was said was heard, and both ends have closed in order."""
        self.wire.far.close()
        turn(self.loop, 3)
        assert self.got == ANSWER
        self.heard(QUESTION)
        assert [name for name in names(self.seen) if name != "recv"] == ["connect", "end", "close"], self.seen
        self.gone()

    def heard(self, what):
        """Our end was told this much."""
        assert b"".join(event[1] for event in self.seen if event[0] == "recv") == what, self.seen

    def gone(self):
        """Our end has closed and left nothing behind."""
        self.wire.close()
        assert self.sock.closed
        assert self.sock.sock is None or self.sock.sock.carrier.closed
        assert not self.loop.handles
        assert len(self.loop.poller.ready) == 1  # the loop's own

    def error(self):
        """The one error our end was told."""
        errors = [event[1] for event in self.seen if event[0] == "error"]
        assert names(self.seen)[-2:] == ["error", "close"], self.seen
        assert len(errors) == 1
        return errors[0]


def length(loop, contexts, role):
    """How many bytes our end gets; a signature may be a few bytes longer the next time."""
    exchange = Exchange(loop, contexts, role).run()
    exchange.finish()
    return exchange.given + 4


def each_byte(loop, contexts, role, debug, version):
    """All positions, in TLS 1.3 and release mode; else, with a step: that differs little, and takes its time."""
    whole = version == ssl.TLSVersion.TLSv1_3 and not debug and not streams.PYPY and os.environ.get("ICEY_DEBUG") != "1"
    return range(0, length(loop, contexts, role), 1 if whole else seeds.rounds(37, 11))


def stop():
    raise Stopped


def test_whole(loop, contexts, role):
    Exchange(loop, contexts, role).run().finish()


def test_byte_by_byte(loop, contexts, role):
    exchange = Exchange(loop, contexts, role)
    bring = exchange.wire.bring
    exchange.wire.bring = lambda data: [bring(data[index:index + 1]) for index in range(len(data))]
    exchange.run().finish()


def test_split_at_every_byte(loop, contexts, role):
    """Each connection is split 64 bytes apart, each one byte further on."""
    most = length(loop, contexts, role)
    for first in range(0, 64, seeds.rounds(9, 1)):
        Exchange(loop, contexts, role, range(first, most, 64), lambda: turn(loop)).run().finish()


def test_stalled_at_every_byte(loop, clock, contexts, role, debug, version):
    for at in each_byte(loop, contexts, role, debug, version):
        exchange = Exchange(loop, contexts, role, [at], stop).run()
        sock = exchange.sock
        if names(exchange.seen) == []:
            wait(loop, clock, 9.9)
            assert not sock.closed
            wait(loop, clock, 0.2)
            assert type(exchange.error()) is icey.Deadline
        else:  # connected: it may be silent as long as it likes, and does not hold a close longer than is agreed
            if not sock.closing:
                wait(loop, clock, 100)
                assert not sock.closing, exchange.seen
                sock.close()
            wait(loop, clock, 5.1)
            assert "error" not in names(exchange.seen)
        exchange.gone()


def test_cut_at_every_byte(loop, contexts, role, debug, version):
    for at in each_byte(loop, contexts, role, debug, version):
        exchange = Exchange(loop, contexts, role, [at], stop).run()
        exchange.wire.came()  # unread, it would make a reset of the cut
        exchange.wire.far.close()
        turn(loop, 4)
        if "end" not in names(exchange.seen):
            error = exchange.error()
            assert type(error) is icey.Truncated
            assert ("handshake" in str(error)) == ("connect" not in names(exchange.seen))
        exchange.gone()


def test_reset_at_every_byte(loop, contexts, role, debug, version):
    for at in each_byte(loop, contexts, role, debug, version):
        exchange = Exchange(loop, contexts, role, [at], stop, tcp=True).run()
        Peer(loop, exchange.wire.far).reset()
        turn(loop, 4)
        if "end" not in names(exchange.seen):
            error = exchange.error()
            if "connect" in names(exchange.seen):
                assert type(error) is ConnectionResetError
            else:
                assert type(error) is icey.TLSError
                assert isinstance(error.__cause__, ConnectionResetError)
        exchange.gone()


def test_spoilt_at_every_byte(loop, clock, contexts, role, debug, version):
    """A bit is flipped. Whatever becomes of it, no wrong byte is delivered and it ends in an error."""
    for at in list(each_byte(loop, contexts, role, debug, version))[::3]:
        exchange = Exchange(loop, contexts, role)
        bring = exchange.wire.bring

        def spoil(data, exchange=exchange, bring=bring, at=at):
            start = exchange.given - len(data)
            if start <= at < exchange.given:
                data = bytearray(data)
                data[at - start] ^= 1 << at % 8
            bring(data)
        exchange.wire.bring = spoil
        exchange.run()
        exchange.wire.came()
        exchange.wire.far.close()
        wait(loop, clock, 11)
        assert b"".join(event[1] for event in exchange.seen if event[0] == "recv") in (b"", QUESTION)
        if exchange.given > at and names(exchange.seen) != ["connect", "recv", "end", "close"]:
            assert isinstance(exchange.error(), (icey.TLSError, icey.Deadline)), (at, exchange.seen)
        exchange.gone()


@pytest.mark.parametrize("seed", seeds.each(range(8), quick=3))
def test_at_random(loop, contexts, role, seed):
    """Sends of random sizes both ways, short reads, pauses, then half-closes: all arrives, in order, the end comes last."""
    dice = seeds.rng(seed)
    wire = Wire(loop, *contexts, role)
    sock, end = wire.sock, wire.end
    sock.max_queue = None
    sock.high_water, sock.low_water = dice.choice([(65536, 16384), (1000, 10), (1, 0)])
    sizes = (0, 1, 100, 5000, 16384, 40000)
    got, sent, done, flying = bytearray(), bytearray(), [], bytearray()
    heard, asked = bytearray(), bytearray()
    sock.on_recv += lambda sock, view: got.extend(view)
    seen = watch(sock, "connect", "end", "error", "close")

    def move(there, back):
        """Brings our end at most `there` bytes, the other one at most `back`."""
        flying.extend(end.take())
        try:
            del flying[:wire.far.send(flying[:there])]
        except (BlockingIOError, BrokenPipeError):  # full; gone, after both sides have ended
            pass
        turn(loop)
        try:
            end.feed(wire.far.recv(back))
        except BlockingIOError:
            pass
        if end.handshake() is not WAITING:
            piece = end.read()
            while piece is not WAITING and piece:
                heard.extend(piece)
                piece = end.read()

    sends = dice.randrange(5, 30)
    for number in range(sends):
        for _ in range(dice.randrange(6)):
            move(dice.choice([1, 100, 16389, 1 << 20]), dice.choice([1, 1000, 1 << 20]))
            dice.choice([sock.pause, sock.resume])()
            if end.shaken:
                data = os.urandom(dice.choice(sizes))
                end.write(data)
                asked += data
        data = os.urandom(dice.choice(sizes))
        sock.send(data, lambda number=number: done.append(number))
        sent += data
    sock.shutdown()
    sock.resume()
    until(loop, lambda: move(1 << 20, 1 << 20) or len(heard) == len(sent))
    end.unwrap()
    until(loop, lambda: move(1 << 20, 1 << 20) or sock.closed)
    assert (heard, got) == (sent, asked)
    assert names(seen) == ["connect", "end", "close"]
    assert sorted(done) == list(range(sends))
    assert done == sorted(done)
    wire.close()


def test_the_wire_itself_has_a_tcp_form(loop, contexts, role):
    exchange = Exchange(loop, contexts, role, tcp=True)
    assert exchange.wire.far.family == socket.AF_INET
    exchange.run().finish()
