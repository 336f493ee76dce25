"""What a file costs: `python3 -m icey serve` beside Go's http.FileServer and nginx.

    python tests/bench/static.py                                      # three rounds of all scenarios, about three minutes
    python tests/bench/static.py --rounds 1 --scenario small --scenario current
    python tests/bench/static.py --against ../icey-before             # a second checkout, side by side in the same run
    python tests/bench/static.py --check                              # exit 1 if a goal is not met, or on any error
    python tests/bench/static.py --json result.json                   # each round's numbers too

Subjects, each in a process of its own, started afresh for every round of every scenario, without an access log:

    icey     `serve` as a user gets it, with --quiet
    go       http.FileServer(http.Dir(folder)), built here (Debian: apt-get install golang-go)
    nginx    one process, sendfile and tcp_nopush on, no cache of open files (Debian: apt-get install nginx-light)
    against  icey from the checkout given by --against

Scenarios; the first three over 64 connections with keep-alive, driven by `wrk`:

    small    a file of 1 KiB
    medium   a file of 64 KiB
    current  the file of 1 KiB is asked for with the validators that the server gave, and the answer is 304
    large    a file of 100 MiB, one after the other over one connection; the client is a process of this file

The measure is the server's CPU time: microseconds a request. A round is some slices of a second (of `large`: of some files) on
each subject, taken in turn; a slice is compared with those of the others beside it. Medians of the slices make a round, medians
of the rounds the table. The goals are multiples of a peer's CPU time, at most; where the peer is missing, a line says so, and
nothing is said of the goal. See harness.py for the rules all benchmarks share. Needs Linux and `wrk`.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import harness

FILES = {"small": ("small.html", 1024), "medium": ("medium.bin", 65536), "current": ("small.html", 1024),
         "large": ("large.bin", 100 << 20)}
GOALS = {"small": ("go", 0.95), "medium": ("go", 1.3), "current": ("go", 1.2), "large": ("nginx", 1.0)}
PEERS = ("go", "nginx")
CONNECTIONS = 64
DOWNLOADS = 5  # of the large file, a slice
MEASURES = ("cpu_us", "rps", "busy")

# -- the servers -----------------------------------------------------------------------------------------------------


class PortOf:
    """A stdout that says the port alone of the line in which `serve` says its URL."""

    encoding = "utf-8"

    def __init__(self, out):
        self.out = out

    def write(self, text):
        self.out.write(re.search(r"://[^/]*:([0-9]+)/", text).group(1) + "\n")

    def flush(self):
        self.out.flush()


def serve_icey(root, folder):
    """The command, in this process."""
    harness.serve_from(root)
    from icey.tools.serve.command import main

    sys.stdout = PortOf(sys.stdout)
    return main([folder, "--port", "0", "--quiet"])


GO = """
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, http.FileServer(http.Dir(os.Args[1]))))
}
"""

NGINX = """
daemon off; master_process off; worker_processes 1; pid @WORK@/pid; error_log stderr error;
events { worker_connections 512; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
  client_body_temp_path @WORK@/body; proxy_temp_path @WORK@/proxy; fastcgi_temp_path @WORK@/fastcgi;
  uwsgi_temp_path @WORK@/uwsgi; scgi_temp_path @WORK@/scgi;
  types { text/html html; } default_type application/octet-stream;
  server { listen 127.0.0.1:@PORT@; root @FOLDER@; }
}
"""


def build_go(work):
    """The Go server, or None where there is no Go, or it does not build."""
    if not shutil.which("go"):
        return None
    source, binary = os.path.join(work, "server.go"), os.path.join(work, "goserver")
    with open(source, "w") as out:
        out.write(GO)
    built = subprocess.run(["go", "build", "-o", binary, source], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if built.returncode:
        sys.stderr.write("!!! go build: %s\n" % built.stdout.decode("utf-8", "replace").strip())
        return None
    return binary


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Ground:
    """What is served, and what serves it: `folder`, `peers` (those of PEERS that are there)."""

    def __init__(self, work, options):
        self._work = work
        self._options = options
        self.folder = os.path.join(work, "files")
        os.mkdir(self.folder)
        for name, size in dict(FILES.values()).items():
            path = os.path.join(self.folder, name)
            with open(path, "wb") as out:
                for _ in range(0, size, 1024):
                    out.write(os.urandom(1024))
            os.utime(path, (1_000_000_000, 1_000_000_000))  # a file of this very second may have no 304
        self._go = build_go(work) if "go" in options.peer else None
        there = {"go": self._go is not None, "nginx": shutil.which("nginx") is not None}
        self.peers = [peer for peer in PEERS if peer in options.peer and there[peer]]

    def command(self, subject):
        """The command line of a serving child, whose first line of output is its port."""
        if subject == "go":
            return [self._go, self.folder]
        if subject == "nginx":
            port, config = free_port(), os.path.join(self._work, "nginx.conf")
            text = NGINX.replace("@WORK@", self._work).replace("@PORT@", str(port)).replace("@FOLDER@", self.folder)
            with open(config, "w") as out:
                out.write(text)
            return ["sh", "-c", 'echo %d; exec "$0" "$@"' % port, shutil.which("nginx"), "-p", self._work, "-c", config]
        root = self._options.against if subject == "against" else harness.ROOT
        return [self._options.python, os.path.abspath(__file__), "--serve", self.folder, "--root", root]


# -- the load --------------------------------------------------------------------------------------------------------

LUA = """
function done(summary, latency)
  local e = summary.errors
  print(string.format('RESULT {"requests": %d, "duration": %.0f, "errors": %d}', summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def ask(port, path, *fields):
    """(status, {name: value}, body) of one request, over a connection of its own. It is tried until the server listens."""
    until = time.monotonic() + 5
    while True:
        try:
            sock = socket.create_connection(("127.0.0.1", port), 10)
            break
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise harness.BenchError("nobody listens at port %d" % port) from None
            time.sleep(0.02)
    with sock:
        sock.sendall("\r\n".join(["GET %s HTTP/1.1" % path, "Host: 127.0.0.1", "Connection: close", *fields, "", ""]).encode())
        parts = []
        while not parts or parts[-1]:
            parts.append(sock.recv(1 << 18))
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:]), body


def look(port, scenario, folder):
    """The fields that the scenario's requests have, after a look at the answer: one that is wrong must not be measured."""
    name, size = FILES[scenario]
    if scenario == "large":  # the client counts its bytes
        return []
    status, fields, body = ask(port, "/" + name)
    with open(os.path.join(folder, name), "rb") as file:
        if status != 200 or body != file.read():
            raise harness.BenchError("a wrong answer: %d, %d bytes" % (status, len(body)))
    if scenario != "current":
        return []
    wanted = []
    for given, back in (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since")):
        if given in fields:
            value = re.search("(?im)^%s: (.*)$" % given, given + ": " + fields[given]).group(1)
            wanted.append("%s: %s" % (back, value if given == "etag" else time.strftime(
                "%a, %d %b %Y %H:%M:%S GMT", time.strptime(value, "%a, %d %b %Y %H:%M:%S gmt"))))
    if ask(port, "/" + name, *wanted)[0] != 304:
        raise harness.BenchError("no 304 for %r" % wanted)
    return wanted


def drive(port, scenario, fields, work, seconds):
    """(requests, seconds, errors): wrk for some whole seconds, or some downloads."""
    name, size = FILES[scenario]
    if scenario == "large":
        command = [sys.executable, os.path.abspath(__file__), "--fetch", str(port), "/" + name, str(size), str(DOWNLOADS)]
    else:
        script = os.path.join(work, "wrk.lua")
        with open(script, "w") as out:
            out.write(LUA)
        command = ["wrk", "-t1", "-c%d" % CONNECTIONS, "-d%ds" % seconds, "-s", script]
        for field in fields:
            command += ["-H", field]
        command.append("http://127.0.0.1:%d/%s" % (port, name))
    process = harness.spawn(command, harness.CLIENT_CPU, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output = process.communicate(timeout=seconds + 60)[0].decode()
    except subprocess.TimeoutExpired:
        raise harness.BenchError("the client did not end; scenario %s" % scenario) from None
    finally:
        harness.end(process)
    for line in output.splitlines():
        if line.startswith("RESULT "):
            counted = json.loads(line[7:])
            return counted["requests"], counted["duration"] / 1e6, counted["errors"]
    raise harness.BenchError("the client failed: %s" % output.strip())


def fetch(port, path, size, count):
    """The client of `large`: takes `count` answers whose bodies have `size` bytes, one after the other."""
    buffer = memoryview(bytearray(1 << 18))
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        for _ in range(count):
            sock.sendall(("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path).encode())
            head = b""
            while b"\r\n\r\n" not in head:
                got = sock.recv(65536)
                if not got:
                    raise SystemExit("the connection ended in a head")
                head += got
            if not head.startswith(b"HTTP/1.1 200 "):
                raise SystemExit("no 200: %r" % head[:100])
            left = size - len(head.partition(b"\r\n\r\n")[2])
            while left:
                got = sock.recv_into(buffer[:min(left, len(buffer))])
                if not got:
                    raise SystemExit("the connection ended, %d bytes short" % left)
                left -= got
    print('RESULT {"requests": %d, "duration": %.0f, "errors": 0}' % (count, (time.perf_counter() - began) * 1e6))


# -- one measurement -------------------------------------------------------------------------------------------------


def measure_round(scenario, subjects, ground, work, options):
    """One round of a scenario: fresh servers, a look, a warm-up, slices in turn. {subject: medians of its slices}"""
    with contextlib.ExitStack() as stack:
        servers, fields = {}, {}
        for subject in subjects:
            server = servers[subject] = stack.enter_context(harness.Served(ground.command(subject)))
            fields[subject] = look(server.port, scenario, ground.folder)
            ask(server.port, "/small.html")  # it listens
            drive(server.port, scenario, fields[subject], work, 1)
        slices = {subject: [] for subject in subjects}
        for number in range(options.duration):
            for subject in subjects[:: -1 if number % 2 else 1]:
                server = servers[subject]
                before = server.cpu()
                requests, seconds, errors = drive(server.port, scenario, fields[subject], work, 1)
                used = server.cpu() - before
                slices[subject].append({"cpu_us": used / max(1, requests) * 1e6, "rps": requests / seconds,
                                        "busy": used / seconds, "errors": errors})
    return {subject: condense(slices, subject, subjects) for subject in subjects}


def condense(slices, subject, subjects):
    """The medians of a subject's slices, and of its ratios to each other subject's neighbouring slices; all errors."""
    own = slices[subject]
    entry = {name: statistics.median([one[name] for one in own]) for name in MEASURES}
    entry["ratio"] = {other: statistics.median([one["cpu_us"] / beside["cpu_us"] for one, beside in zip(own, slices[other])])
                      for other in subjects}
    entry["errors"] = sum(one["errors"] for one in own)
    return entry


def run(options, subjects, ground, work):
    """All rounds: {scenario: {subject: [one entry a round]}}."""
    results = {scenario: {subject: [] for subject in subjects} for scenario in options.scenario}
    for number in range(options.rounds):
        for scenario in options.scenario:
            found = measure_round(scenario, subjects, ground, work, options)
            for subject, one in found.items():
                results[scenario][subject].append(one)
                text = "round %d  %-8s  %-7s  %9.2f us" % (number + 1, scenario, subject, one["cpu_us"])
                print(text + ("  !!! %d ERRORS" % one["errors"] if one["errors"] else ""), file=sys.stderr, flush=True)
    return results


# -- what came out ---------------------------------------------------------------------------------------------------


def summarise(results):
    """Medians over the rounds, with the least and the most of the CPU time."""
    summary = {}
    for scenario, subjects in results.items():
        for subject, rounds in subjects.items():
            entry = {name: statistics.median([one[name] for one in rounds]) for name in MEASURES}
            entry["cpu_us"] = harness.spread([one["cpu_us"] for one in rounds])
            entry["ratio"] = {other: harness.spread([one["ratio"][other] for one in rounds]) for other in subjects}
            entry["errors"] = sum(one["errors"] for one in rounds)
            summary.setdefault(scenario, {})[subject] = entry
    return summary


def show(summary, peers):
    head = ["scenario", "server", "CPU us", "least", "most", *("x " + peer for peer in peers)]
    head += ["req/s", "MB/s", "busy", "errors"]
    rows = []
    for scenario, subjects in summary.items():
        size = 0 if scenario == "current" else FILES[scenario][1]
        for subject, one in subjects.items():
            row = [scenario, subject, *("%.2f" % one["cpu_us"][which] for which in ("median", "min", "max"))]
            row += ["%.2f" % one["ratio"][peer]["median"] for peer in peers]
            row += ["%.0f" % one["rps"], "%.0f" % (one["rps"] * size / 1e6) if size else ""]
            rows.append([*row, "%.0f%%" % (one["busy"] * 100), str(one["errors"])])
    harness.print_table(head, rows)


def judge(summary, peers):
    """Prints a line for each goal; returns what is wrong: goals not met, errors."""
    wrong = []
    for scenario, subjects in summary.items():
        for subject, one in subjects.items():
            if one["errors"]:
                wrong.append("%s, %s: %d errors (must be none)" % (scenario, subject, one["errors"]))
        peer, goal = GOALS[scenario]
        text = "%s: goal at most %.2f x %s" % (scenario, goal, peer)
        if peer not in peers:
            print("%s: not judged, %s is missing" % (text, peer))
            continue
        ratio = subjects["icey"]["ratio"][peer]["median"]
        text += ", is %.2f: %s" % (ratio, "met" if ratio <= goal else "not met")
        print(text)
        if ratio > goal:
            wrong.append(text)
    return wrong


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=int, default=4, help="slices of a round (4)")
    parser.add_argument("--scenario", action="append", choices=list(FILES), help="only this one; may be repeated")
    parser.add_argument("--peer", action="append", choices=PEERS, help="only this one; may be repeated")
    parser.add_argument("--python", default=sys.executable, help="interpreter of icey")
    parser.add_argument("--against", metavar="DIR", type=os.path.abspath, help="another checkout of icey, measured too")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is not met or there was an error")
    for name in ("--serve", "--root"):  # what the children are started with
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--fetch", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.scenario = options.scenario or list(FILES)
    options.peer = options.peer or PEERS
    if min(options.rounds, options.duration) < 1:
        parser.error("--rounds and --duration are whole numbers from 1 on")
    return options


def main():
    options = parse_arguments()
    if options.serve:
        return serve_icey(options.root, options.serve)
    if options.fetch:
        port, path, size, count = options.fetch
        return fetch(int(port), path, int(size), int(count))
    if not shutil.which("wrk") and options.scenario != ["large"]:
        print("static: needs the load generator wrk, not found (Debian: apt-get install wrk)", file=sys.stderr)
        return 2
    harness.die_on_sigterm()
    try:
        with tempfile.TemporaryDirectory() as work:
            ground = Ground(work, options)
            for peer in options.peer:
                if peer not in ground.peers:
                    print("static: %s is missing here, and left out" % peer, file=sys.stderr)
            subjects = ["icey", *ground.peers] + ["against"] * bool(options.against)
            results = run(options, subjects, ground, work)
    except harness.BenchError as error:
        print("static: %s" % error, file=sys.stderr)
        return 2
    summary = summarise(results)
    print("\n%s; %d rounds of %d slices" % (harness.machine(options.python), options.rounds, options.duration))
    show(summary, ground.peers)
    wrong = judge(summary, ground.peers)
    harness.report({"machine": harness.machine(options.python), "summary": summary}, options.json, {"rounds": results})
    for line in wrong:
        print("!!! " + line, file=sys.stderr)
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
