"""What it costs to serve a WSGI application: icey's WSGI beside waitress and gunicorn (gthread), each with eight threads.

    tox -e bench -- wsgi                                       # three rounds, about 2 minutes
    python tests/bench/wsgi.py --rounds 1 --scenario hello --peer waitress
    python tests/bench/wsgi.py --check                         # exit 1 past the goals, or on any error

Scenarios, 32 connections that are kept, requests of a bare GET; the application is the same function for all:

    hello     "Hello, World!" with its Content-Length
    page      16 KiB, likewise
    pieces    16 KiB in 4 pieces from a generator, without a length

Goals for icey: half the processor time of each peer, and a p99 that is no worse. Columns: microseconds of processor time a
request (a server's processes together), how many times as much as icey takes, requests a second, latency in milliseconds.
Rules as in http_hello.py: a core for the server, one for the load (`wrk`), slices in turn, medians. Needs Linux.
"""

import argparse
import contextlib
import importlib.util
import os
import shutil
import statistics
import sys
import tempfile

import harness
import http_load
import http_servers

THREADS = 8
CONNECTIONS = 32
GOAL = 2.0  # times icey's processor time, that a peer takes
PEERS = ("waitress", "gunicorn")
PAGE = b"0123456789abcdef" * 1024
BODIES = {"hello": http_servers.BODY, "page": PAGE, "pieces": PAGE}
ASKED = ["GET / HTTP/1.1\nHost: www.example.com\n\n"]
SCENARIOS = {name: http_load.Scenario(lambda: ASKED, answer=body, connections=CONNECTIONS) for name, body in BODIES.items()}
MEASURES = ("cpu_us", "rps", "p50_ms", "p99_ms", "busy")


# -- the servers -----------------------------------------------------------------------------------------------------


def application(name):
    """The application of a scenario."""
    body = BODIES[name]
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    quarter = len(body) // 4

    def app(environ, start_response):
        start_response("200 OK", headers)
        return [body]

    def pieces(environ, start_response):
        start_response("200 OK", headers[:1])
        return (body[at:at + quarter] for at in range(0, len(body), quarter))

    return pieces if name == "pieces" else app


def serve_icey(root, app):
    icey = harness.serve_from(root)
    loop = icey.Loop()
    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += icey.http.WSGI(app, threads=THREADS)
    server.start()
    print(server.address.port, flush=True)
    loop.run()


def serve_waitress(app):
    import logging

    import waitress

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it tells of each request that waits for a thread
    waitress.create_server(app, sockets=[http_servers.listen()], threads=THREADS).run()


def serve_gunicorn(app):
    from gunicorn.app.base import BaseApplication

    class Application(BaseApplication):
        def load_config(self):
            settings = {"bind": "fd://%d" % listener.fileno(), "worker_class": "gthread", "threads": THREADS, "workers": 1,
                        "keepalive": 30, "loglevel": "error"}
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self):
            return app

    listener = http_servers.listen()
    listener.set_inheritable(True)
    Application().run()


class Served(harness.Served):
    """A server whose children count, too."""

    def cpu(self):
        with open("/proc/%d/task/%d/children" % (self.pid, self.pid)) as children:
            return sum(harness.cpu_seconds(int(pid)) for pid in [self.pid, *children.read().split()])


# -- the measurement -------------------------------------------------------------------------------------------------


def measure_round(name, subjects, folder, sample, options):
    """{subject: medians of its slices, and how many times icey's processor time}"""
    scenario = SCENARIOS[name]
    with contextlib.ExitStack() as stack:
        servers = {}
        for subject in subjects:
            command = [sys.executable, os.path.abspath(__file__), "--serve", subject, name]
            server = servers[subject] = stack.enter_context(Served(command))
            http_load.look(server.port, sample, scenario.answer)
            http_load.drive(server.port, name, scenario, folder, 1)
        slices = {subject: [] for subject in subjects}
        for number in range(options.duration):
            for subject in subjects[:: -1 if number % 2 else 1]:
                slices[subject].append(http_load.measure_slice(servers[subject], name, scenario, folder))
    return {subject: condense(slices[subject], slices["icey"]) for subject in subjects}


def condense(slices, ours):
    entry = {measure: statistics.median([one[measure] for one in slices]) for measure in MEASURES}
    entry["x"] = statistics.median([one["cpu_us"] / icey["cpu_us"] for one, icey in zip(slices, ours)])
    entry["errors"] = sum(sum(one["errors"].values()) for one in slices)
    return entry


def measure(options):
    """{scenario: {subject: medians of the rounds}}"""
    if not shutil.which("wrk"):
        raise harness.BenchError("needs the load generator wrk, not found (Debian: apt-get install wrk)")
    subjects = ["icey"] + [peer for peer in PEERS if peer in (options.peer or PEERS) and importlib.util.find_spec(peer)]
    summary = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.scenario or SCENARIOS:
            sample = http_load.prepare(name, SCENARIOS[name], folder)
            rounds = []
            for number in range(options.rounds):
                rounds.append(measure_round(name, subjects, folder, sample, options))
                told = ["%s %.0f us" % (subject, one["cpu_us"]) for subject, one in rounds[-1].items()]
                print("round %d  %-7s %s" % (number + 1, name, "  ".join(told)), file=sys.stderr, flush=True)
            summary[name] = {subject: {measure: statistics.median([one[subject][measure] for one in rounds])
                                       for measure in (*MEASURES, "x", "errors")} for subject in subjects}
    return summary


def wrong(summary):
    """What is wrong with the numbers, as lines."""
    for name, subjects in summary.items():
        for subject, one in subjects.items():
            if one["errors"]:
                yield "%s, %s: errors" % (name, subject)
            if one["x"] < GOAL and subject != "icey":
                yield "%s: %s takes %.2f x icey's time, wanted are %.1f" % (name, subject, one["x"], GOAL)
            if one["p99_ms"] < subjects["icey"]["p99_ms"]:
                yield "%s: icey's p99 is %.1f ms, %s's %.1f" % (name, subjects["icey"]["p99_ms"], subject, one["p99_ms"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=int, default=4, help="slices of a second, of a round (4)")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="only this one; may be repeated")
    parser.add_argument("--peer", action="append", choices=PEERS, help="only this; may be repeated")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is not met or there was an error")
    options = parser.parse_args()
    harness.die_on_sigterm()
    try:
        summary = measure(options)
    except harness.BenchError as error:
        print("wsgi: %s" % error, file=sys.stderr)
        return 2
    print("\n%s; %d rounds of %d s" % (harness.machine(), options.rounds, options.duration))
    harness.print_table(
        ["scenario", "server", "CPU us", "x icey", "req/s", "p50 ms", "p99 ms", "busy"],
        [[name, subject, "%.1f" % one["cpu_us"], "%.2f" % one["x"], "%.0f" % one["rps"], "%.2f" % one["p50_ms"],
          "%.2f" % one["p99_ms"], "%.0f%%" % (one["busy"] * 100)] for name, subjects in summary.items()
         for subject, one in subjects.items()])
    harness.report({"machine": harness.machine(), "summary": summary}, options.json)
    faults = list(wrong(summary))
    for line in faults:
        print("!!! " + line, file=sys.stderr)
    return 1 if faults and options.check else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        app = application(sys.argv[3])
        {"icey": lambda app: serve_icey(harness.ROOT, app), "waitress": serve_waitress,
         "gunicorn": serve_gunicorn}[sys.argv[2]](app)
    else:
        sys.exit(main())
