"""Feeds WebSocket cores mutated frames, each in several ways, and compares what they tell.

    python3 tests/fuzz/fuzz_websocket.py --count 1000000
    python3 tests/fuzz/fuzz_websocket.py --seed 7 --count 1000

Of each input, to a server's or a client's core, with compression or without, under limits that often matter: one core gets it
in one piece, another in random pieces, now and then byte by byte, with random holds, or told piece by piece. One in ten runs
is for the extensions' grammar and negotiation instead. What may not be: an exception other than WebSocketError (there:
ValueError), a core that makes no progress or takes seconds, that keeps or tells more than its limits, two different records.

Not compared: which of two faults of one compressed message is told, 1007 or 1009; it may depend on how it came.

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

from icey.http.websocket.handshake import parse_extensions
from tests.fuzz import frames
from tests.fuzz.frames import KEY, bytewise, core_for, feed, random_cuts

try:
    from icey.http.websocket.deflate import Agreed, Deflate, accept_offer, check_answer
except ImportError:  # this Python has no zlib
    Deflate = None

LIMITS = [None, None, 1 << 20, 2000, 300, 100, 5, 0]
HANGS = 60  # seconds for a thousand inputs
LONGEST = 4000
SEEDS = 150  # scripts of each kind

INTERESTING = [bytes([first]) for first in (*range(16), *range(0x80, 0x90), 0x41, 0xC1, 0xC2, 0x91, 0xA1, 0xF1)] + [
    b"\x7e\x00\x7d", b"\x7e\x00\x7e", b"\x7e\xff\xff", b"\x7f\0\0\0\0\0\0\xff\xff", b"\x7f\0\0\0\0\0\x01\0\0",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff", b"\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", b"\xfe\x01\x00",
    b"\xff\0\0\0\0\0\0\x01\0", b"\x88\x80", b"\x88\x82", b"\x88\x02\x03\xe8", b"\x89\x7d", b"\x89\xfd", b"\xff", b"\xed\xa0",
    b"\xf4\x90", b"\xc0\x80", b"\xe2\x82\xac", b"\0\0\xff\xff", b"\x03\x00", b"\x00\x00", KEY,
]
OFFERS = [
    "permessage-deflate", "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=10",
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits=9",
    'permessage-deflate; server_max_window_bits="12", permessage-deflate', "x-other; a=b; c, permessage-deflate",
]
WORDS = [",", ";", "=", '"', "\\", " ", "\t", "permessage-deflate", "client_max_window_bits", "server_max_window_bits",
         "server_no_context_takeover", "client_no_context_takeover", "8", "9", "15", "16", "10", "x", "\xe4", "=9", "; ", ", "]


def run(count, seed, say=print, most_failures=10, alive=None):
    """Fuzzes with `count` inputs; the number of failures, each of which is told. alive: called every thousand."""
    rng = random.Random(seed)
    seeds = {kind: scripts(random.Random(number), *kind) for number, kind in enumerate(kinds())}
    failures = slowest = 0
    ends = {}
    begun = time.perf_counter()
    for index in range(count):
        if alive is not None and index % 1000 == 0:
            alive()
        before = time.perf_counter()
        told = None
        try:
            if rng.random() < 0.1:
                told = offer(rng)
                last = check_offer(told)
            else:
                told = connection(rng, seeds)
                last = check(rng, *told)
            ends[last] = ends.get(last, 0) + 1
        except Exception as exc:
            failures += 1
            say("seed %d, input %d: %s: %s\n    %r" % (seed, index, type(exc).__name__, exc, told))
            if failures == most_failures:
                say("%d failures: enough" % failures)
                break
        slowest = max(slowest, time.perf_counter() - before)
    taken = time.perf_counter() - begun
    say("seed %d: %d inputs in %.1f s (%d a second), the slowest %.1f ms; %d failures" % (
        seed, count, taken, count / max(taken, 1e-9), slowest * 1e3, failures))
    say("ended with: " + ", ".join("%s %d" % pair for pair in sorted(ends.items(), key=lambda pair: -pair[1])))
    return failures


def kinds():
    """(client, packed) of each kind of connection."""
    return [(client, packed) for client in (False, True) for packed in (False, True) if not packed or Deflate]


def scripts(rng, client, packed):
    """Some short connections' worth of frames."""
    found = []
    while len(found) < SEEDS:
        packer = frames.zlib.compressobj(wbits=-15) if packed else None
        made, _ = frames.script(rng, rng.randrange(1, 6), key=None if client else KEY, packer=packer)
        if sum(map(len, made)) < LONGEST:
            found.append(made)
    return found


def connection(rng, seeds):
    """(client, packed, limit, the bytes of one connection)"""
    client, packed = kind = rng.choice(list(seeds))
    made = list(rng.choice(seeds[kind]))
    key = None if client else KEY
    for _ in range(int(rng.random() * 3)):  # whole frames: out of place, twice, gone, or odd
        at = int(rng.random() * (len(made) + 1))
        done = rng.random()
        if done < 0.3 and at < len(made):
            made.insert(int(rng.random() * len(made)), made[at])
        elif done < 0.5 and at < len(made):
            del made[at]
        else:
            opcode = rng.choice((0, 0, 1, 2, 8, 8, 9, 10, rng.randrange(16)))
            noise = bytes(rng.randrange(256) for _ in range(rng.randrange(130)))
            payload = rng.choice((b"", b"\x03\xe8", b"\x03\xe8bye", noise))
            made.insert(at, frames.frame(opcode, payload, key=key, fin=rng.random() < 0.7,
                                         rsv=rng.choice((0, 0, 0, 4, rng.randrange(8)))))
    data = bytearray(b"".join(made))
    for _ in range(int(rng.random() * rng.random() * 6)):
        mutate(rng, data)
    return client, packed, LIMITS[int(rng.random() * len(LIMITS))], bytes(data[:LONGEST])


def mutate(rng, data):
    """Changes `data` in one place."""
    random = rng.random
    at, done = int(random() * (len(data) + 1)), int(random() * 7)
    if done < 2 and at < len(data):
        data[at] ^= 1 << int(random() * 8)
    elif done == 2:
        data[at:at] = rng.choice(INTERESTING)
    elif done == 3:
        piece = rng.choice(INTERESTING)
        data[at:at + len(piece)] = piece
    elif done == 4:
        del data[at:at + 1 + int(random() * 12)]
    elif done == 5:
        there = int(random() * (len(data) + 1))
        data[there:there] = data[at:at + int(random() * random() * 200)]
    elif random() < 0.5:
        del data[at:]
    else:
        data[at:at] = bytes(int(random() * 256) for _ in range(int(random() * 40)))


def check(rng, client, packed, limit, data):
    """Compares the records; how they end."""
    whole = fed(client, packed, limit, [data])
    how = rng.random()
    cut = bytewise(data) if how < 0.1 else random_cuts(rng, data, 30 if how < 0.4 else 5)
    hold = (lambda: rng.random() < 0.3) if rng.random() < 0.2 else None
    pieces = fed(client, packed, limit, cut, hold=hold, pieces=rng.random() < 0.3)
    if packed:
        whole, pieces = [[event if event[0] != "error" or event[1] == 1002 else ("error", "1007 or 1009") for event in events]
                         for events in (whole, pieces)]
    if whole != pieces:
        raise AssertionError("in one piece it tells\n    %r\ncut as\n    %r\nit is\n    %r" % (whole, cut, pieces))
    last = whole[-1] if whole else ("nothing",)
    return "%s %s" % last[:2] if last[0] in ("error", "closing") else last[0]


def fed(client, packed, limit, data, **options):
    """The record of a fresh core."""
    recorder = Bounded(limit, options.pop("hold", None))
    deflate = Deflate(Agreed(), client=client) if packed else None
    core_for(recorder, client=client, max_message=limit, deflate=deflate, **options)
    events = feed(recorder, data)
    recorder.require_bounded()
    return events


class Bounded(frames.Recorder):
    """A recorder that counts."""

    def __init__(self, limit, hold):
        super().__init__(hold)
        self.limit = limit

    def on_piece(self, data, final):
        super().on_piece(data, final)
        if self._pieces is not None:
            self.require(sum(len(piece.encode()) if type(piece) is str else len(piece) for piece in self._pieces))

    def _note(self, kind, *data):
        super()._note(kind, *data)
        if kind in ("text", "binary"):
            self.require(len(data[0].encode() if kind == "text" else data[0]))
        self.require_bounded()

    def require(self, size):
        if self.limit is not None and size > self.limit:
            raise AssertionError("a message of %d bytes was told, the limit is %d" % (size, self.limit))

    def require_bounded(self):
        """What a core keeps is within its limits."""
        core = self.core
        kept = sum(map(len, core._store))
        if len(core._tail) > 13 or len(core._control_data) > 125 or (self.limit is not None and kept > self.limit):
            raise AssertionError("the core keeps %d, %d and %d bytes" % (len(core._tail), len(core._control_data), kept))


# the extensions

def offer(rng):
    """A value of Sec-WebSocket-Extensions."""
    text = rng.choice(OFFERS)
    for _ in range(int(rng.random() * 5)):
        at = rng.randrange(len(text) + 1)
        if rng.random() < 0.6:
            text = text[:at] + rng.choice(WORDS) + text[at:]
        else:
            text = text[:at] + text[at + 1 + int(rng.random() * 20):]
    return text


def check_offer(text):
    """What a server agrees to is what a client understands of its answer."""
    try:
        found = parse_extensions([text])
    except ValueError:
        return "a malformed offer"
    if Deflate is None:
        return "an offer"
    agreed, answer = accept_offer(found)
    if agreed is None:
        assert answer == ""
        return "a declined offer"
    understood = check_answer(parse_extensions([answer]))
    if any(getattr(agreed, name) != getattr(understood, name) for name in Agreed.__slots__):
        raise AssertionError("the answer %r is understood otherwise" % answer)
    return "an agreement"


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
