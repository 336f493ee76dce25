"""Runs the Autobahn WebSocket suite against a server and a client of ours, on one loop; what counts is a full score.

    python3 tests/autobahn/run.py                  parts 1 to 7 and 10 (247 cases), in both roles
    python3 tests/autobahn/run.py --all            and 9, 12 and 13: large messages and compression, which take an hour
    python3 tests/autobahn/run.py --role client --cases 12.1 13

247 cases give 244 OK and 3 INFORMATIONAL, which is a full score. The exit code is 1 for anything else: a case that is
NON-STRICT, failed or missing, also while closing, and an exception in ours. Without Python 2.7, which the suite needs, it says
so and is skipped; with CI set that is a failure. As a tox environment: `tox -e autobahn`; arguments go behind `--`.
"""
import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, ROOT)

import icey  # noqa: E402
from icey.http import Server, WebSocket  # noqa: E402
from tests.autobahn import suite  # noqa: E402

AGENT = "icey"
PATIENCE = 300.0  # seconds without a case that ends
LIMITS = icey.Limits(max_message=64 << 20)


def echo(ws):
    """Has a WebSocket of either role send back what comes, no faster than it is taken."""
    def message(ws, data):
        if not ws.send(data if type(data) is str else bytes(data)):
            ws.pause()

    ws.on_message += message
    ws.on_drain += lambda ws: ws.resume()


class Run:
    """One role: the suite's process, our loop, and an end to both."""

    def __init__(self, program, folder, cases):
        self.folder = folder
        self.failures = []
        self.loop = icey.Loop()
        self.loop.on_error += self._raised
        self._program = program
        self._cases = cases
        self._process = None
        self._moved = time.monotonic()

    def begin(self, mode, **spec):
        """Starts the suite in `mode`."""
        path = os.path.join(self.folder, mode + ".json")
        with open(path, "w", encoding="ascii") as file:
            none = {"exclude-cases": [], "exclude-agent-cases": {}}
            json.dump(dict(spec, outdir=self.folder, cases=self._cases, **none), file)
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        with open(os.path.join(self.folder, "output"), "wb") as output:
            self._process = subprocess.Popen([self._program, "-m", mode, "-s", path, "-u", "0"], stdout=output,
                                             stderr=subprocess.STDOUT, env=env, cwd=self.folder)

    def moved(self):
        """Something has ended: the clock begins anew."""
        self._moved = time.monotonic()

    def go(self):
        """Runs the loop until the suite's process has ended, or `stop()`."""
        timer = icey.Timer(self.loop, 0.2, self._look, interval=0.2)
        timer.start()
        try:
            self.loop.run()
        finally:
            for handle in self.loop.handles:
                handle.abort()
            self.loop.run_once(0)
            self.loop.close()
            if self._process.poll() is None:
                self._process.terminate()
            self._process.wait()

    def stop(self):
        """It is over."""
        self.loop.stop()

    def fail(self, what):
        """It is over, and not well."""
        self.failures.append(what)
        self.stop()

    def output(self, lines=20):
        """The last lines the suite said."""
        with open(os.path.join(self.folder, "output"), encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])

    def _look(self, timer):
        if self._process.poll() is not None:
            self.stop()
        elif time.monotonic() - self._moved > PATIENCE:
            self.fail("nothing has moved for %g s" % PATIENCE)

    def _raised(self, loop, exc, handle):
        self.failures.append("%s in %r: %s" % (type(exc).__name__, handle, exc))


def serve(run):
    """Our server, the suite's client."""
    def accept(exchange):
        ws = WebSocket.accept(exchange, limits=LIMITS)
        ws.on_close += lambda ws, code, reason: run.moved()
        echo(ws)

    server = Server(run.loop, "127.0.0.1", 0)
    server.on_request += accept
    server.start()
    run.begin("fuzzingclient", servers=[{"agent": AGENT, "url": "ws://%s" % (server.address,)}])
    run.go()


def ask(run):
    """The suite's server, our client: asks how many cases there are, runs each, and has the reports written."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        base = "ws://127.0.0.1:%d" % sock.getsockname()[1]
    run.begin("fuzzingserver", url=base)
    total = []

    def connect(path, then, prepare):
        ws = WebSocket.connect(run.loop, base + path, limits=LIMITS)
        prepare(ws)
        ws.on_close += lambda ws, code, reason: then()

    def counted():
        if total:
            case(1)
        else:  # it is not listening yet
            run.loop.call_later(0.2, connect, "/getCaseCount", counted, count)

    def count(ws):
        ws.on_message += lambda ws, data: total.append(int(data))

    def case(number):
        run.moved()
        if number <= total[0]:
            connect("/runCase?case=%d&agent=%s" % (number, AGENT), lambda: case(number + 1), echo)
        else:
            connect("/updateReports?agent=%s" % AGENT, run.stop, lambda ws: None)

    counted()
    run.go()


ROLES = {"server": serve, "client": ask}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--role", choices=sorted(ROLES), help="one of them only")
    parser.add_argument("--all", action="store_true", help="all parts")
    parser.add_argument("--cases", nargs="+", metavar="PART", help='parts, like "12" or "12.3"')
    parser.add_argument("--env", metavar="FOLDER", help="where the suite is, or is to be (default: a temporary folder)")
    parser.add_argument("--reports", metavar="FOLDER", help="where its reports go (default: a temporary folder)")
    options = parser.parse_args(arguments)
    parts = options.cases or (suite.ALL if options.all else suite.QUICK)
    folder = tempfile.mkdtemp(prefix="icey-autobahn-")
    try:
        program = suite.wstest(os.path.abspath(options.env or os.path.join(folder, "python27")))
        reports = os.path.abspath(options.reports or os.path.join(folder, "reports"))
        fine = True
        for role in [options.role] if options.role else sorted(ROLES, reverse=True):
            fine = one(role, program, os.path.join(reports, role), parts) and fine
    except suite.Missing as exc:
        print("skipped: %s" % exc)
        return 1 if os.environ.get("CI", "").lower() in ("1", "true", "yes") else 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if fine else 1


def one(role, program, reports, parts):
    """Runs one role and prints its table; whether it is a full score."""
    shutil.rmtree(reports, ignore_errors=True)
    os.makedirs(reports)
    begun = time.monotonic()
    run = Run(program, reports, [part + ".*" for part in parts])
    ROLES[role](run)
    lines, fine = suite.verdict(suite.report(reports), parts)
    fine = fine and not run.failures
    print("%s, %.0f s: %s" % (role, time.monotonic() - begun, "a full score" if fine else "NOT a full score"))
    print("\n".join(lines + run.failures), flush=True)
    if not fine:
        print(run.output())
    return fine


if __name__ == "__main__":
    sys.exit(main())
