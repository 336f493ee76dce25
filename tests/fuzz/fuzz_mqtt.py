"""Feeds MqttCores mutated packets, each in several ways, and compares what they tell with what a plain reader of its own finds.

    python3 tests/fuzz/fuzz_mqtt.py --count 1000000
    python3 tests/fuzz/fuzz_mqtt.py --seed 7 --count 1000

An input is what a broker sends on one connection: some packets, one or more of them changed. One core gets it in one piece,
another in random pieces, now and then byte by byte, with random holds and bursts. What may not be: an exception other than
MqttError, a core that makes no progress, that keeps or tells more than its limit, two different records, a packet that the
plain reader finds wrong and the core does not, or the other way round (but by its head alone, before it is there whole).

The seed is printed; the same seed and count give the same run. The exit code is 1 if anything was found.
"""
import argparse
import faulthandler
import os
import random
import sys
import time

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from icey import MqttError
from icey.base.pieces import joined
from icey.mqtt import MqttCore, MqttObserver
from tests.support.mqtt import packet, puback, publish, suback, text, unsuback

HANGS = 60  # seconds for a thousand inputs
LIMITS = [None, None, None, 1000, 100, 10, 2, 0]
IDENTS = (1, 2, 3, 300)  # messages of QoS 1 that wait for PUBACK
ASKED = {10: (0,), 11: (0, 1, 1)}  # subscriptions
ENDED = (20, 21)
INTERESTING = [
    b"\x00", b"\x01", b"\x02", b"\x7f", b"\x80", b"\xff", b"\x80\x00", b"\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x01", b"#", b"+",
    b"/", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x82\xac", b"\x00\x00", b"\x00\x01t", b"\xff\xff",
    *[bytes([first]) for first in range(0x10, 0x100, 0x10)], *[bytes([first]) for first in range(0x30, 0x40)],
]


class Wrong(Exception):
    """The plain reader: a broker may not send this."""


class Short(Exception):
    """The plain reader: what follows is not there whole."""


def plain(data, limit, clean):
    """(events, how it ended: "wrong", "short" or "whole") by a reader that is written for its plainness alone."""
    events, at = [], 0
    state = {"up": None, "publishing": set(IDENTS), "asked": dict(ASKED), "ended": set(ENDED)}
    try:
        while at < len(data) and state["up"] is not False:
            first, rest, at = cut(data, at, limit)
            events.append(meaning(first, rest, state, clean))
    except Wrong:
        return events, "wrong"
    except Short:
        return events, "short"
    return events, "whole"


def cut(data, at, limit):
    """The packet at `at`: (first byte, the rest, where it ends)."""
    size = 0
    for count in range(4):
        if at + 1 + count >= len(data):
            raise Short
        byte = data[at + 1 + count]
        size += (byte % 128) * 128 ** count
        if byte < 128:
            break
    else:
        raise Wrong
    if limit is not None and size > limit:
        raise Wrong
    end = at + 2 + count + size
    if end > len(data):
        raise Short
    return data[at], data[at + 2 + count:end], end


def require(fact):
    if not fact:
        raise Wrong


def meaning(first, rest, state, clean):
    """The event of a packet, or Wrong."""
    kind, flags = divmod(first, 16)
    if state["up"] is None:
        require(first == 0x20 and len(rest) == 2 and rest[0] < 2 and rest[1] < 6)
        require(not rest[0] or not (rest[1] or clean))
        state["up"] = rest[1] == 0
        return "connack", bool(rest[0]), rest[1]
    if kind == 3:
        require(not flags & 4 and flags & 10 != 8 and len(rest) >= 2)
        size = rest[0] * 256 + rest[1]
        require(len(rest) >= 2 + size and size)
        try:
            topic = rest[2:2 + size].decode("utf-8")
        except UnicodeDecodeError:
            raise Wrong from None
        require(not set(topic) & set("\0+#"))
        rest = rest[2 + size:]
        ident = 0
        if flags & 2:
            require(len(rest) >= 2)
            ident, rest = rest[0] * 256 + rest[1], rest[2:]
            require(ident)
        return "publish", topic, rest, first, ident
    require(not flags)
    if kind == 13:
        require(not rest)
        return ("pingresp",)
    require(kind in (4, 9, 11) and len(rest) >= 2)
    ident = rest[0] * 256 + rest[1]
    if kind == 9:
        codes = rest[2:]
        require(ident in state["asked"] and codes)
        wanted = state["asked"].pop(ident)
        require(len(codes) == len(wanted))
        require(all(code == 128 or code <= qos for code, qos in zip(codes, wanted)))
        return "suback", ident, codes
    known = state["publishing" if kind == 4 else "ended"]
    require(len(rest) == 2 and ident in known)
    known.remove(ident)
    return "puback" if kind == 4 else "unsuback", ident


class Recorder(MqttObserver):
    """What a core tells. hold(): whether it is held after a message."""

    def __init__(self, hold=lambda: False):
        self.events, self.core, self._hold = [], None, hold

    def on_connack(self, present, code):
        self.events.append(("connack", present, code))
        if not code:
            for ident in IDENTS:
                self.core.publish(2, text("t"), b"", ident)
            for ident, wanted in ASKED.items():
                self.core.subscribe(ident, [(text("t"), qos) for qos in wanted])
            for ident in ENDED:
                self.core.unsubscribe(ident, [text("t")])

    def on_publish(self, topic, payload, first, ident):
        self.events.append(("publish", topic, bytes(payload), first, ident))
        self.core.held = self._hold()

    def on_puback(self, ident):
        self.events.append(("puback", ident))

    def on_suback(self, ident, codes):
        self.events.append(("suback", ident, codes))

    def on_unsuback(self, ident):
        self.events.append(("unsuback", ident))

    def on_pingresp(self):
        self.events.append(("pingresp",))


def feed(recorder, pieces, limit, clean, burst=0):
    """(events, the rule that was broken or None) of a core that gets `pieces`."""
    core = recorder.core = MqttCore(recorder, max_message=limit)
    core.connect("a", clean=clean)
    core.burst = burst
    most = (core.max_message + 5) + max(map(len, pieces)) + 1
    try:
        for piece in pieces:
            while piece:
                used = core.feed(piece)
                if not used and not core.held:
                    raise AssertionError("no progress in %r" % piece)
                core.held = False
                piece = piece[used:]
            if core._have > most or len(joined(core._pieces)) != core._have:
                raise AssertionError("%d bytes are kept" % core._have)
    except MqttError as exc:
        if core.feed(b"\x30\x03\x00\x01t") != 5:
            raise AssertionError("it goes on behind an error") from None
        return recorder.events, exc.rule
    return recorder.events, None


def stream(rng):
    """(packets, clean) of a connection as it may be."""
    clean = rng.random() < 0.5
    made = [b"\x20\x02" + bytes([int(not clean and rng.random() < 0.5), 0])] if rng.random() < 0.97 else [b"\x20\x02\x00\x05"]
    answers = [puback(ident) for ident in IDENTS] + [unsuback(ident) for ident in ENDED]
    answers += [suback(10, 0), suback(11, 128, 1, 0)]
    rng.shuffle(answers)
    for _ in range(int(rng.random() * 8)):
        kind = rng.random()
        if kind < 0.4 and answers:
            made.append(answers.pop())
        elif kind < 0.5:
            made.append(b"\xd0\x00")
        else:
            qos = int(rng.random() * 2)
            topic, size = rng.choice(("t", "a/b", "\xe9\u20ac", "x" * 130, "$SYS/x")), int(rng.random() ** 3 * 300)
            made.append(publish(topic, bytes(size), qos, 1 + int(rng.random() * 65535) if qos else None,
                                int(rng.random() * 2) | (8 * qos * (rng.random() < 0.3))))
    return made, clean


def mutated(rng, made):
    """Packets, changed in some places."""
    made = list(made)
    for _ in range(int(rng.random() * 2)):  # whole ones: out of place, twice, gone
        at = int(rng.random() * (len(made) + 1))
        if rng.random() < 0.4 and at < len(made):
            del made[at]
        elif made:
            made.insert(at, made[int(rng.random() * len(made))])
    data = bytearray(b"".join(made))
    for _ in range(int(rng.random() * 4)):
        at, kind = int(rng.random() * (len(data) + 1)), rng.random()
        if kind < 0.3 and at < len(data):
            data[at] ^= 1 << int(rng.random() * 8)
        elif kind < 0.6:
            piece = rng.choice(INTERESTING)
            data[at:at + (len(piece) if rng.random() < 0.5 else 0)] = piece
        elif kind < 0.7:
            del data[at:at + 1 + int(rng.random() * 6)]
        elif kind < 0.8:
            data[at:] = packet(int(rng.random() * 256), bytes(data[at:at + int(rng.random() * 20)]))
        elif kind < 0.9:
            del data[at:]
        else:
            end = at + int(rng.random() * 30)
            data[end:end] = data[at:end]
    return bytes(data)


def pieces_of(rng, data):
    how = rng.random()
    if how < 0.2:
        return [data[at:at + 1] for at in range(len(data))]
    cuts = sorted({int(rng.random() * len(data)) for _ in range(1 + int(rng.random() * 6))} | {0, len(data)})
    return [data[start:end] for start, end in zip(cuts, cuts[1:])]


def check(rng, data, limit, clean):
    """Compares the records; how they end."""
    expected, end = plain(data, limit, clean)
    whole, rule = feed(Recorder(), [data], limit, clean)
    if whole != expected:
        raise AssertionError("a plain reader finds\n    %r\nthe core tells\n    %r" % (expected, whole))
    if (rule is not None) != (end == "wrong") and not (end == "short" and rule is not None):
        raise AssertionError("a plain reader ends with %s, the core with %s" % (end, rule))
    held = (lambda: rng.random() < 0.3) if rng.random() < 0.3 else (lambda: False)
    pieces = pieces_of(rng, data)
    split, other = feed(Recorder(held), pieces, limit, clean, burst=int(rng.random() * 4))
    if split != whole or (other is None) != (rule is None):
        raise AssertionError("in one piece it tells\n    %r, %s\nin\n    %r\nit is\n    %r, %s"
                             % (whole, rule, pieces, split, other))
    return rule or end


def run(count, seed, say=print, most_failures=10, alive=None):
    """Fuzzes with `count` inputs; the number of failures, each of which is told. alive: called every thousand."""
    rng = random.Random(seed)
    failures, slowest, ends = 0, 0, {}
    begun = time.perf_counter()
    for index in range(count):
        if alive is not None and index % 1000 == 0:
            alive()
        before, data = time.perf_counter(), None
        try:
            made, clean = stream(rng)
            data, limit = mutated(rng, made), rng.choice(LIMITS)
            if data:
                last = check(rng, data, limit, clean)
                ends[last] = ends.get(last, 0) + 1
        except Exception as exc:
            failures += 1
            say("seed %d, input %d: %s: %s\n    %r" % (seed, index, type(exc).__name__, exc, data))
            if failures == most_failures:
                say("%d failures: enough" % failures)
                break
        slowest = max(slowest, time.perf_counter() - before)
    taken = time.perf_counter() - begun
    say("seed %d: %d inputs in %.1f s (%d a second), the slowest %.1f ms; %d failures" % (
        seed, count, taken, count / max(taken, 1e-9), slowest * 1e3, failures))
    say("ended with: " + ", ".join("%s %d" % pair for pair in sorted(ends.items(), key=lambda pair: -pair[1])))
    return failures


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100000, help="inputs (default 100000)")
    parser.add_argument("--seed", type=int, help="of the random numbers (default: a new one)")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print("seed %d, %d inputs, Python %s" % (seed, options.count, sys.version.split()[0]), flush=True)
    failures = run(options.count, seed, alive=lambda: faulthandler.dump_traceback_later(HANGS, exit=True))
    faulthandler.cancel_dump_traceback_later()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
