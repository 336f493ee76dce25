"""Sends mutated messages to a live server in this process, over loopback.

    python3 tests/fuzz/fuzz_server.py --count 100000
    python3 tests/fuzz/fuzz_server.py --seed 7 --count 1000 --debug

Each connection brings one to six messages, four of ten changed, cut at random; then it ends in order, is reset, or says
nothing more. The server's handlers answer at once, later, in pieces, without the body, or with an error. What may not
be: an exception that reaches `loop.on_error`, a connection that neither gets all its answers nor ends, an answer that
is no HTTP, a good request on a new connection without its answer, a connection left at the end.

The clock is virtual: whoever says nothing more meets the server's deadlines at once. The seed is printed; with the
same seed and count the run is the same but for the kernel's timing. The exit code is 1 if anything was found.
"""
import argparse
import os
import random
import sys
import time

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from icey import Limits, StateError
from icey.base.errors import HttpError, IncompleteBody
from icey.http import Server
from icey.tools.testing import Peer, virtual_loop
from tests.fuzz.messages import Answers, random_cuts
from tests.fuzz.mutate import accepted, mutated, requests

GOOD = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENT = 2000  # turns of the loop in which everything must have come to its end
SMALL = Limits(max_head=300, max_fields=8, max_target=40, max_body=20)


class Failure(Exception):
    """The server did what it must not."""


class Target:
    """The server under test, its handlers, and what was seen of it."""

    def __init__(self, rng, debug, limits):
        self.rng = rng
        self.loop, self.clock = virtual_loop(debug)
        self.failures = []
        self.dispatched = 0
        self.asked = {}  # a client's port -> the methods of its requests
        self.torn = False  # an answer of it may be cut short
        self.loop.on_error += lambda *args: self.failures.append(args)
        self.server = Server(self.loop, "127.0.0.1", 0, limits=limits)
        self.server.on_request += self.handle
        self.server.start()

    def handle(self, exchange):
        request = exchange.request
        self.dispatched += 1
        self.asked.setdefault(exchange.peer.port, []).append(request.method)
        if request.target == "/good":
            exchange.respond(200, b"good")
            return
        if request.method == "CONNECT":  # a 200 would open a tunnel
            exchange.respond(405)
            return
        request.path, request.query, request.host, repr(request), request.headers.items()
        kind = int(self.rng.random() * 9)
        if kind < 2:
            exchange.respond(200, b"hello", "text/plain")
        elif kind == 2:
            exchange.collect(lambda exchange, body: exchange.respond(200, body))
        elif kind == 3:
            exchange.on_payload += lambda exchange, view: None
            exchange.on_complete += lambda exchange: exchange.respond(201, b"", None, [("X-Made", "yes")])
        elif kind == 4:
            self.loop.call_soon(self.late, exchange)
        elif kind == 5:
            self.torn = True
            exchange.send(b"in ")
            exchange.on_payload += lambda exchange, view: exchange.send_owned(view)
            exchange.on_complete += lambda exchange: exchange.end()
        elif kind == 6:
            raise HttpError(403, "not you")
        elif kind == 7:
            exchange.pause()
            self.loop.call_later(0.5, exchange.resume)
            exchange.collect(lambda exchange, body: exchange.respond(204))
        else:
            self.loop.call_later(1.5, self.late, exchange)

    def late(self, exchange):
        try:
            exchange.respond(200, b"late", None, {"X-Late": "1"})
        except StateError:
            pass  # the connection went first

    def close(self):
        """Failure: something is left."""
        try:
            self.settle()
            if self.server.connections:
                raise Failure("connections are left: %r" % (self.server.connections,))
            self.server.close()
            for _ in range(PATIENT):
                if not self.loop.run_once(0):
                    break
                self.clock.advance(0.5)  # answers that were to come late
            else:
                raise Failure("the loop does not end: %r" % (self.loop.handles,))
        finally:
            for handle in self.loop.handles:
                handle.abort()
            self.loop.run_once(0)
            self.loop.close()

    def settle(self):
        """Turns the loop until no connection is left, the clock going on."""
        for turn in range(PATIENT):
            if not self.server.connections:
                return
            self.loop.run_once(0)
            if turn > 20:
                self.clock.advance(0.5)


def ask_good(target):
    """A good request on a new connection is answered."""
    with Peer.connect(target.loop, target.server.address) as peer:
        peer.send(GOOD)
        answer = peer.read_until(b"\r\n\r\ngood")
        if not (answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\ngood")):
            raise Failure("a good request got %r" % answer)


def run(count, seed, say=print, debug=False, limits=None, most_failures=10):
    """Fuzzes with `count` messages; the number of failures, each of which is told."""
    rng = random.Random(seed)
    target = Target(rng, debug, limits)
    seeds, good = requests(), accepted()
    sent = failures = connections = 0
    ends = {}
    begun = time.perf_counter()
    while sent < count and failures < most_failures:
        messages = [mutated(rng, seeds) if rng.random() < 0.4 else good[int(rng.random() * len(good))]
                    for _ in range(1 + int(rng.random() * 6))]
        sent += len(messages)
        connections += 1
        try:
            last = talk(rng, target, messages)
            ends[last] = ends.get(last, 0) + 1
            if connections % 20 == 0:
                ask_good(target)
            if target.failures:
                raise Failure("on_error got %r" % (target.failures.pop(),))
        except Exception as exc:
            failures += 1
            say("seed %d, connection %d: %s: %s\n    %r" % (seed, connections, type(exc).__name__, exc, messages))
            target.failures.clear()
        if len(target.asked) > 1000:
            target.asked.clear()
    try:
        target.close()
    except Exception as exc:
        failures += 1
        say("seed %d, at the end: %s: %s" % (seed, type(exc).__name__, exc))
    taken = time.perf_counter() - begun
    say("seed %d: %d messages on %d connections in %.1f s (%d a second), %d requests told to handlers; %d failures" % (
        seed, sent, connections, taken, sent / max(taken, 1e-9), target.dispatched, failures))
    say("ended with: " + ", ".join("%s %d" % pair for pair in sorted(ends.items(), key=lambda pair: -pair[1])))
    return failures


def talk(rng, target, messages):
    """One connection; how it ended."""
    target.torn = False
    loop = target.loop
    peer = Peer.connect(loop, target.server.address)
    asked = target.asked[peer.sock.getsockname()[1]] = []
    how = rng.random()
    with peer:
        try:
            for piece in random_cuts(rng, b"".join(messages), 4):
                peer.send(piece)
                if rng.random() < 0.5:
                    loop.run_once(0)
            if how < 0.1:
                peer.reset()
                return "reset by us"
            if how < 0.8:
                peer.half_close()
        except (ConnectionResetError, BrokenPipeError):
            require_torn(target)
            return "reset by it"
        except OSError:
            return "gone before it could be told"  # the server closed: nothing to shut down
        came, end = read_to_end(target, peer)
    if end == "reset" and how < 0.8:  # else it may have waited long enough for our end
        require_torn(target)
    target.torn = target.torn or end == "reset"
    return "%s, %s" % (end, judged(target, came, asked))


def require_torn(target):
    """Failure for a reset, which may cost the client its answers, unless one was under way that nothing could mend."""
    if not target.torn:
        raise Failure("the server reset the connection")


def read_to_end(target, peer):
    """(what came, "closed" or "reset"); the clock goes on, so that deadlines end what nothing else ends."""
    came = bytearray()
    for turn in range(PATIENT):
        target.loop.run_once(0)
        try:
            while True:
                data = peer.sock.recv(65536)
                if not data:
                    return bytes(came), "closed"
                came += data
        except BlockingIOError:
            pass
        except ConnectionResetError:
            return bytes(came), "reset"
        if turn > 5:
            target.clock.advance(0.5)
    raise Failure("neither answered nor closed, after %r" % bytes(came))


def judged(target, came, asked):
    """The status of the last answer. Failure: what came is no HTTP, or answers what was not asked."""
    try:
        found = Answers(came, asked).found
    except IncompleteBody:
        if not target.torn:
            raise Failure("a cut answer: %r, asked %r" % (came, asked)) from None
        return "cut"
    except HttpError as exc:
        raise Failure("no HTTP: %s: %r, asked %r" % (exc, came, asked)) from None
    surplus = len(found) - len(asked)  # one more: a refusal; one less: a request whose body never ended
    if surplus > 1 or (surplus < -1 and not target.torn and "CONNECT" not in asked):
        raise Failure("%d answers to %r" % (len(found), asked))
    return str(found[-1][0]) if found else "no answer"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20000, help="messages (default 20000)")
    parser.add_argument("--seed", type=int, help="of the random numbers (default: a new one)")
    parser.add_argument("--debug", action="store_true", help="with the loop in debug mode")
    parser.add_argument("--small", action="store_true", help="with limits so small that many messages pass them")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print("seed %d, %d messages, Python %s" % (seed, options.count, sys.version.split()[0]), flush=True)
    return 1 if run(options.count, seed, debug=options.debug, limits=SMALL if options.small else None) else 0


if __name__ == "__main__":
    sys.exit(main())
