"""Feeds the parser mutated messages, each in several ways, and compares what it tells.

    python3 tests/fuzz/fuzz_parser.py --count 1000000
    python3 tests/fuzz/fuzz_parser.py --seed 7 --count 1000

Of each message: the strict reader gets it in one piece; a parser that remembers gets it in random pieces, now and then
byte by byte and with random holds. About half of the requests come among good ones on the same connection, so that
there is something remembered, and a third under limits so small that they matter. What may not be: an exception other
than HttpError, a parser that makes no progress or takes seconds, two different records, memory that grows.

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

from icey import Limits
from icey.base.limits import DEFAULTS
from icey.http.http1 import headcache as memos, parser as parsers
from tests.fuzz.messages import Recorder, answers, bytewise, feed, parser_for, random_cuts, stream
from tests.fuzz.mutate import accepted, mutated, requests, responses

SMALL = [Limits(max_head=60), Limits(max_head=13), Limits(max_fields=2), Limits(max_fields=0), Limits(max_target=1),
         Limits(max_head=100, max_fields=3, max_target=10)]
HANGS = 60  # seconds for a thousand messages


def run(count, seed, say=print, most_failures=10, alive=None):
    """Fuzzes with `count` messages; the number of failures, each of which is told. alive: called every thousand."""
    rng = random.Random(seed)
    asked, answered = requests(), responses()
    good = accepted()
    memo = memos.HeaderCache()
    failures = slowest = 0
    ends = {}
    begun = time.perf_counter()
    for index in range(count):
        if alive is not None and index % 1000 == 0:
            alive()
        pieces, options = message(rng, asked, answered, good)
        before = time.perf_counter()
        try:
            last = check(rng, pieces, options, memo)
            ends[last] = ends.get(last, 0) + 1
        except Exception as exc:
            failures += 1
            say("seed %d, message %d: %s: %s\n    %r\n    %r" % (
                seed, index, type(exc).__name__, exc, pieces, options))
            if failures == most_failures:
                say("%d failures: enough" % failures)
                break
        slowest = max(slowest, time.perf_counter() - before)
    taken = time.perf_counter() - begun
    say("seed %d: %d messages in %.1f s (%d a second), the slowest %.1f ms; %d failures" % (
        seed, count, taken, count / max(taken, 1e-9), slowest * 1e3, failures))
    say("ended with: " + ", ".join("%s %d" % pair for pair in sorted(ends.items(), key=lambda pair: -pair[1])))
    return failures


def message(rng, asked, answered, good):
    """(the messages of one connection, the parser's options)."""
    if rng.random() < 0.25:
        data = mutated(rng, answered)
        options = {"responses": True,
                   "method": "GET" if rng.random() < 0.8 else "HEAD" if rng.random() < 0.5 else "CONNECT"}
        pieces = [data]
        if rng.random() < 0.4:
            pieces = answers(rng, options["method"], 6)
            place = int(rng.random() * len(pieces))
            pieces[place:] = [mutated(rng, pieces[place:place + 1]), pieces[0]]
    else:
        data = mutated(rng, asked)
        options = {}
        pieces = [data]
        kind = rng.random()
        if kind < 0.1:
            pieces = stream(rng, 6)
            place = int(rng.random() * len(pieces))
            pieces[place:] = [mutated(rng, pieces[place:place + 1]), pieces[0]]
        elif kind < 0.5:
            first = good[int(rng.random() * len(good))]
            pieces = [first, data] if rng.random() < 0.5 else [first, mutated(rng, [first])]
            if rng.random() < 0.3:
                pieces.append(first)
    options["limits"] = SMALL[int(rng.random() * len(SMALL))] if rng.random() < 0.3 else DEFAULTS
    return pieces, options


def check(rng, pieces, options, memo):
    """Compares the records; how they end."""
    whole = b"".join(pieces)
    recorder = Recorder()
    parser_for(recorder, strict=True, **options)
    strict = feed(recorder, [whole])
    require_bounded(recorder.parser)

    how = rng.random()
    if how < 0.5:
        cut = random_cuts(rng, whole)
    elif how < 0.9 or len(whole) > 600:
        cut = pieces
    else:
        cut = bytewise(whole)
    recorder = Recorder((lambda: rng.random() < 0.3) if rng.random() < 0.1 else None)
    parser_for(recorder, memo=memo, **options)
    remembered = feed(recorder, cut)
    require_bounded(recorder.parser)
    if len(memo) > memos.MOST_LINES:
        raise AssertionError("the line memo has %d lines" % len(memo))
    if strict != remembered:
        raise AssertionError("the strict reader tells\n    %r\ncut as\n    %r\nit is\n    %r" % (strict, cut,
                                                                                                 remembered))
    last = strict[-1] if strict else ("nothing",)
    return "%s %d" % (last[1], last[2]) if last[0] == "error" else last[0]


def require_bounded(parser):
    """What a parser keeps between two feeds is within its limits."""
    limits = parser._limits
    most = max(limits.max_head, limits.max_target + parsers.LINE_OVER_TARGET, parsers.MOST_TRAILERS)
    kept = len(parser._tail or b"") + sum(len(name) + len(value) for name, value in parser._pairs)
    if kept > most + parsers.LINE_OVER_TARGET or len(parser._pairs) > limits.max_fields:
        raise AssertionError("the parser keeps %d bytes, %d fields" % (kept, len(parser._pairs)))
    if len(parser.trailers) > limits.max_fields:
        raise AssertionError("the parser keeps %d trailers" % len(parser.trailers))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100000, help="messages (default 100000)")
    parser.add_argument("--seed", type=int, help="of the random numbers (default: a new one)")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print("seed %d, %d messages, Python %s" % (seed, options.count, sys.version.split()[0]), flush=True)
    failures = run(options.count, seed, alive=lambda: faulthandler.dump_traceback_later(HANGS, exit=True))
    faulthandler.cancel_dump_traceback_later()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
