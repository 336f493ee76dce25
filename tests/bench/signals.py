"""What an emit costs: Signal and ThreadSignal beside a plain loop over a list of callables, blinker and psygnal.

    python tests/bench/signals.py                         # five rounds, some ten seconds
    python tests/bench/signals.py --python ~/py38/bin/python --json result.json

The floor is what cannot be beaten by anything that calls several slots: `for fn in slots: fn(sender, value)`. Each subject
emits the same two values to 0, 1 and 4 slots that do nothing. blinker and psygnal take part where that Python has them
(python -m pip install blinker psygnal), else a line says that they are missing. Attaching is measured too: the first slot of
an object's event (`obj.on_x += fn` on a new object, which makes the signal: a request does that twice), beside a Signal that
is made by hand and gets a slot.

Goals: Signal.emit with one slot at most 2.5 times the floor, and ahead of blinker and psygnal; with none at most what it is
with one; the first slot of an event at most 1.5 times the Signal made by hand.

Rules: every round runs in a fresh process pinned to a core; all subjects are timed in turn inside it, batch after batch,
each subject's least batch counts (a neighbour only ever adds time), then the median of rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import repeat

import harness

BATCH, BATCHES = 20000, 25
GOAL = 2.5
NONE_GOAL = 1.0  # x one slot
FIRST_GOAL = 1.5  # x a Signal made by hand


def slot(sender, value):
    pass


def floor(icey, slots):
    functions = [slot] * slots

    def run(count):
        for _ in repeat(None, count):
            for function in functions:
                function(functions, 1)
    return run


def ours(name):
    def make(icey, slots):
        signal = getattr(icey, name)()
        for _ in range(slots):
            signal.attach(slot)

        def run(count):
            for _ in repeat(None, count):
                signal.emit(signal, 1)
        return run
    return make


def blinker(icey, slots):
    import blinker

    signal = blinker.Signal()
    kept = []  # it holds receivers weakly, and one function once
    for _ in range(slots):
        kept.append(lambda sender, value=None: None)
        signal.connect(kept[-1])

    def run(count):
        sender = kept[0] if kept else signal
        for _ in repeat(None, count):
            signal.send(sender, value=1)
    return run


def psygnal(icey, slots):
    import psygnal

    class Emitter:
        happened = psygnal.Signal(object, int)

    emitter = Emitter()
    signal = emitter.happened
    for _ in range(slots):
        signal.connect(lambda sender, value: None)

    def run(count):
        for _ in repeat(None, count):
            signal.emit(emitter, 1)
    return run


SUBJECTS = {"plain loop (floor)": floor, "icey.Signal": ours("Signal"), "icey.ThreadSignal": ours("ThreadSignal"),
            "blinker": blinker, "psygnal": psygnal}


def first_slot(icey):
    """{subject: run}: a new object's event gets its first slot; an object, and a Signal, that are made and get one by hand."""
    from icey.base.emitter import Emitter
    from icey.base.signal import Event

    class Owner(Emitter):
        __slots__ = ("loop", "signals")
        on_event = Event()

        def __init__(self, loop):
            self.loop = loop
            self.signals = None

    loop = icey.Loop()

    def event(count):
        for _ in repeat(None, count):
            Owner(loop).on_event += slot

    def by_hand(count):
        for _ in repeat(None, count):
            Owner(loop)
            icey.Signal().attach(slot)
    return {"event": event, "Signal by hand": by_hand}


def measure(icey):
    """{"1 slot": {subject: ns an emit}, ..., "first slot": ...}; a subject that cannot be imported is None."""
    found = {"first slot": least(first_slot(icey))}
    for slots in (0, 1, 4):
        runs = {}
        for name, make in SUBJECTS.items():
            try:
                runs[name] = make(icey, slots)
            except ImportError:
                runs[name] = None
        found["emit to %d slot%s" % (slots, "" if slots == 1 else "s")] = least(runs)
    return found


def least(runs):
    """ns a call of each, the least of the batches; they take turns."""
    best = dict.fromkeys(runs)
    for _ in range(BATCHES):
        for name, run in runs.items():
            if run is not None:
                start = time.perf_counter_ns()
                run(BATCH)
                spent = (time.perf_counter_ns() - start) / BATCH
                best[name] = spent if best[name] is None else min(best[name], spent)
    return best


def rounds(options, me):
    """The result of each round, measured in children."""
    results = []
    for number in range(options.rounds):
        command = [options.python, me, "--run", "--root", options.root]
        process = harness.spawn(command, harness.SERVER_CPU, stdout=subprocess.PIPE)
        try:
            output = process.communicate(timeout=300)[0]
        except subprocess.TimeoutExpired:
            raise harness.BenchError("did not end: %s" % " ".join(command)) from None
        finally:
            harness.end(process)
        if process.returncode:
            raise harness.BenchError("failed: %s" % " ".join(command))
        results.append(json.loads(output.decode()))
        print("round %d of %d" % (number + 1, options.rounds), file=sys.stderr, flush=True)
    return results


def medians(results):
    return {what: {name: None if results[0][what][name] is None else statistics.median(one[what][name] for one in results)
                   for name in results[0][what]} for what in results[0]}


def show(found):
    rows, missing = [], set()
    for what, subjects in found.items():
        base = subjects.get("plain loop (floor)") or subjects["Signal by hand"]
        for name, value in subjects.items():
            if value is None:
                missing.add(name)
            else:
                rows.append([what, name, "%.0f" % value, "%.2f" % (1e3 / value), "%.2f" % (value / base)])
    harness.print_table(["what", "subject", "ns", "M/s", "x floor"], rows)
    for name in sorted(missing):
        print("%s is not installed there: python -m pip install %s" % (name, name))


def judge(found):
    """(what, value, goal, met) of what is promised."""
    one, first = found["emit to 1 slot"], found["first slot"]
    promises = [("Signal.emit, 1 slot, x floor", one["icey.Signal"] / one["plain loop (floor)"], GOAL)]
    promises += [("Signal.emit, 1 slot, x %s" % name, one["icey.Signal"] / one[name], 1.0)
                 for name in ("blinker", "psygnal") if one[name]]
    promises += [("Signal.emit, 0 slots, x 1 slot", found["emit to 0 slots"]["icey.Signal"] / one["icey.Signal"], NONE_GOAL),
                 ("first slot of an event, x by hand", first["event"] / first["Signal by hand"], FIRST_GOAL)]
    return [(what, value, goal, value <= goal) for what, value, goal in promises]


def options_of(doc):
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", default=sys.executable, help="interpreter of what is measured")
    parser.add_argument("--root", default=harness.ROOT, type=os.path.abspath, help="the checkout to measure (this one)")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)  # what the children are started with
    return parser.parse_args()


def run(name, me, doc, measure, show, judge):
    """A whole benchmark: rounds in children, a table, what is promised, a line of JSON. packetstream.py uses it too."""
    options = options_of(doc)
    if options.run:
        print(json.dumps(measure(harness.serve_from(options.root))))
        return 0
    harness.die_on_sigterm()
    try:
        results = rounds(options, os.path.abspath(me))
    except harness.BenchError as error:
        print("%s: %s" % (name, error), file=sys.stderr)
        return 2
    found = medians(results)
    print("\n%s; %d rounds" % (harness.machine(options.python), options.rounds))
    show(found)
    promises = judge(found)
    for what, value, goal, met in promises:
        print("%-44s %5.2f, goal at most %.2f: %s" % (what, value, goal, "met" if met else "not met"))
    harness.report({"bench": name, "machine": harness.machine(options.python), "ns": found,
                    "promises": [list(one) for one in promises]}, options.json, {"rounds": results})
    return 0


if __name__ == "__main__":
    sys.exit(run("signals", __file__, __doc__, measure, show, judge))
