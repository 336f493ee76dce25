"""What an inspector costs a server: nothing while nobody looks, and what it costs while somebody does.

    python tests/bench/inspector.py                  # 40 rounds, about 2.5 minutes
    python tests/bench/inspector.py --rounds 10 --check

Subjects, each a process of its own, which all run at once; each has a second of wrk's load in turn, round after round:

    plain       the server of http_hello.py
    quiet       the same with an Inspector that nobody looks at          [1.01 x plain]
    looked_at   the same with one viewer, who follows /events            [1.05 x plain]

The load is `bare` of http_hello.py. Columns: server CPU microseconds a request, and that in multiples of plain: the median over
the rounds of both measured in the same round, which what disturbs a machine disturbs alike.

Then what a picture takes, its JSON included, in milliseconds: of a loop with ten handles, and of one with 10 000.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.request

import harness
import http_load
import traffic

SUBJECTS = {"plain": None, "quiet": 1.01, "looked_at": 1.05}
SCENARIO = http_load.Scenario(traffic.SCENARIOS["bare"])
PICTURES = 30
WARM_UP = 2  # rounds that do not count
BODY = b"Hello, World!"


def serve(subject):
    """As a child: the server, whose /inspector tells where the inspector is."""
    icey = harness.serve_from(harness.ROOT)
    with icey.Loop() as loop:
        server = icey.http.Server(loop, "127.0.0.1", 0)
        url = b""
        if subject != "plain":
            from icey.tools.inspect import Inspector

            url = Inspector(loop).url.encode()

        def hello(exchange):
            exchange.respond(200, url if exchange.request.target == "/inspector" else BODY, "text/plain")

        server.on_request += hello
        print(server.start().address.port, flush=True)
        loop.run()


class Viewer:
    """Reads what an inspector tells, on a thread, until it is closed. `pictures`: how many came."""

    def __init__(self, port):
        with urllib.request.urlopen("http://127.0.0.1:%d/inspector" % port) as answer:
            url = answer.read().decode()
        self.pictures = 0
        self._answer = urllib.request.urlopen(url + "events")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self._answer:
            self.pictures += line.startswith(b"data: ")


def measure(rounds):
    """[{subject: CPU microseconds a request}] of each round, and the pictures that the viewer got."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        http_load.prepare("bare", SCENARIO, folder)
        servers = {name: harness.Served([sys.executable, os.path.abspath(__file__), "--serve", name]) for name in SUBJECTS}
        try:
            for server in servers.values():
                server.__enter__()
            viewer = Viewer(servers["looked_at"].port)
            order = list(servers)
            for _ in range(rounds + WARM_UP):
                order = order[1:] + order[:1]
                slices = {name: http_load.measure_slice(servers[name], "bare", SCENARIO, folder) for name in order}
                if any(one["errors"] for one in slices.values()):
                    raise harness.BenchError("errors: %r" % slices)
                found.append({name: one["cpu_us"] for name, one in slices.items()})
        finally:
            for server in servers.values():
                server.__exit__(None, None, None)
    return found[WARM_UP:], viewer.pictures


def picture(handles):
    """Milliseconds that a picture of a loop with so many handles takes: the median."""
    icey = __import__("icey")
    from icey.tools.inspect import Inspector

    taken = []
    with icey.Loop(False) as loop, Inspector(loop) as inspector:
        kept = [loop.call_later(3600 + number, print) for number in range(handles)]
        for _ in range(PICTURES):
            began = time.perf_counter()
            json.dumps(inspector.picture())
            taken.append(time.perf_counter() - began)
        for timer in kept:
            timer.stop()
    return statistics.median(taken) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--check", action="store_true", help="exit 1 past the goals")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    harness.die_on_sigterm()
    sys.path.insert(0, harness.ROOT)
    if not shutil.which("wrk"):
        raise harness.BenchError("needs the load generator wrk, not found (Debian: apt-get install wrk)")
    rounds, pictures = measure(options.rounds)
    result = {"pictures": pictures, "picture_ms": {count: round(picture(count), 2) for count in (10, 10_000)}}
    rows, missed = [], False
    for name, goal in SUBJECTS.items():
        ratio = statistics.median(one[name] / one["plain"] for one in rounds)
        result[name] = {"cpu_us": statistics.median(one[name] for one in rounds), "ratio": ratio}
        missed = missed or (goal is not None and ratio > goal)
        rows.append([name, "%.2f" % result[name]["cpu_us"], "%.3f" % ratio, "" if goal is None else "%.2f" % goal])
    harness.print_table(["subject", "CPU us", "x plain", "goal"], rows)
    print("pictures that came: %d; one takes %s ms of 10 handles, %s ms of 10 000" % (
        pictures, *result["picture_ms"].values()))
    harness.report(result, options.json)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except harness.BenchError as error:
        sys.exit("inspector: %s" % error)
