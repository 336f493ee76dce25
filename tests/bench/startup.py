"""What it costs to import icey: python tests/bench/startup.py [--runs N] [--json FILE].

Times whole interpreters (`python -S -I`, started in turn so that a noisy machine disturbs all alike): a bare one, one
that imports icey, one that touches every public name of base and net, and one that touches http too. The goal is at
most 20 ms for base and net over the bare interpreter. Prints a table and one line of JSON.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOAL_MS = 20.0
BARE = "import sys; sys.path.insert(0, %r)" % ROOT
TOUCH = BARE + "; import icey; [getattr(icey, n) for n in %r]"


def subjects():
    """(label, source) of what is timed; the first is the floor."""
    sys.path.insert(0, ROOT)
    import icey
    # Names behind an optional module bring it along when touched: they are not what everybody pays.
    optional = {"AsyncPacketQueue", "TLSSocket", "start_tls", "tls", "wsgi", "tools", "http"}
    names = [name for name in icey.__all__ if name not in optional]
    yield "bare interpreter", BARE
    yield "import icey", BARE + "; import icey"
    yield "base and net", TOUCH % (names,)
    if "http" in icey.__all__:
        yield "base, net and http.Server", TOUCH % (names,) + "; icey.http.Server"


def once(source):
    began = time.perf_counter()
    subprocess.run([sys.executable, "-S", "-I", "-c", source], check=True)
    return (time.perf_counter() - began) * 1000.0


def measure(runs):
    """Rows of medians in milliseconds: {"what", "ms", "over_bare_ms"}. One round more is run first, for warm caches."""
    rows = list(subjects())
    times = {label: [] for label, _ in rows}
    for turn in range(runs + 1):
        for label, source in rows:
            spent = once(source)
            if turn:
                times[label].append(spent)
    floor = statistics.median(times[rows[0][0]])
    return [{"what": label, "ms": round(statistics.median(times[label]), 2),
             "over_bare_ms": round(statistics.median(times[label]) - floor, 2)} for label, _ in rows]


def main(arguments=None):
    parser = argparse.ArgumentParser(description="time the import of icey")
    parser.add_argument("--runs", type=int, default=21, metavar="N", help="rounds, of which the median counts (21)")
    parser.add_argument("--json", metavar="FILE", help="write the JSON there as well")
    options = parser.parse_args(arguments)
    rows = measure(options.runs)
    print("%-28s %10s %12s" % ("", "ms", "over bare"))
    for row in rows:
        print("%-28s %10.2f %12.2f" % (row["what"], row["ms"], row["over_bare_ms"]))
    over = next(row["over_bare_ms"] for row in rows if row["what"] == "base and net")
    print("goal: base and net at most %g ms over bare: %s" % (GOAL_MS, "met" if over <= GOAL_MS else "NOT MET"))
    result = {"bench": "startup", "python": "%s %s" % (platform.python_implementation(), platform.python_version()),
              "runs": options.runs, "goal_ms": GOAL_MS, "rows": rows}
    text = json.dumps(result)
    print(text)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
