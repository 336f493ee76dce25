"""What icey's HTTP server costs in CPU time a request, in multiples of the cheapest server that Python can be.

    python tests/bench/http_hello.py                                  # five rounds of all scenarios, about 5 minutes
    python tests/bench/http_hello.py --rounds 3 --duration 2 --scenario bare --scenario browser
    python tests/bench/http_hello.py --check                          # exit 1 past the bars, or on any error
    python tests/bench/http_hello.py --python ~/py38/bin/python       # both servers under another interpreter
    python tests/bench/http_hello.py --against ../icey-before         # a second checkout, side by side in the same run
    python tests/bench/http_hello.py --json result.json               # each round's numbers too
    python tests/bench/http_hello.py --only-raw --rounds 2            # is the machine quiet enough?

Subjects, each in a process of its own, started afresh for every round of every scenario:

    raw      epoll, recv, send: nothing is parsed, the answer is a constant. The floor: no Python server can cost less.
    icey     `icey.http.Server` as a user gets it: default limits and deadlines, no access log.
    against  the same from the checkout given by --against.

Scenarios, 64 connections each, keep-alive but for the last:

    bare         GET / with nothing but Host
    browser      14 headers as a browser sends them; the path and ONE header (Referer) are new in every request
    three        the same; the path and THREE headers (Referer, If-None-Match, Cookie) are new in every request
    alternating  the header sets of two browsers taking turns on each connection, as behind a proxy; the path is new
    newconn      a new connection for each request

The load comes from `wrk`. The requests (traffic.py) are made beforehand, so that it has nothing to do but send them.

A round is some seconds on each subject in slices of one second, taken in turn, so that a noisy neighbour meets all of
them; a slice is compared with RAW's beside it. Medians of the slices make a round, medians of the rounds the table.

Columns: server CPU microseconds per request, and that in multiples of RAW (median, least and most of the rounds);
requests per second; latency; how busy the server's core was (below 90 % the client or a neighbour was the limit: trust
CPU, not req/s); errors, which must be none. Compare inside one run only, and see harness.py for the rules. Needs Linux
and `wrk` (Debian: apt-get install wrk). Not here: bodies, pipelining, TLS, files.
"""

import argparse
import contextlib
import json
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile

import harness
import traffic

BARS = {"bare": 1.35, "browser": 1.6, "three": 2.0}  # server CPU in multiples of RAW: --check holds these
BODY = b"Hello, World!"
MEASURES = ("cpu_us", "rps", "p50_ms", "p99_ms", "busy")

# -- the two servers -------------------------------------------------------------------------------------------------

RAW_ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: raw\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\n%sContent-Length: 13\r\n\r\n" + BODY
)


def serve_raw(closing):
    """Answer every read with the constant, whatever was read: on loopback a request of 1 KiB is never split."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    listener.setblocking(False)
    epoll = select.epoll()
    epoll.register(listener.fileno(), select.EPOLLIN)
    print(listener.getsockname()[1], flush=True)
    answer = RAW_ANSWER % (b"Connection: close\r\n" if closing else b"")
    listening, connections = listener.fileno(), {}
    poll, register = epoll.poll, epoll.register
    while True:
        for fd, _ in poll():
            if fd == listening:
                sock = listener.accept()[0]
                sock.setblocking(False)
                connections[sock.fileno()] = sock
                register(sock.fileno(), select.EPOLLIN)
                continue
            sock = connections[fd]
            try:
                data = sock.recv(65536)
                if data:
                    sock.send(answer)
            except OSError:
                data = b""
            if closing or not data:
                del connections[fd]
                sock.close()


def serve_icey(root, keep_alive):
    """The server as a user writes it. `keep_alive` (seconds, None: the default) is for idle.py, which waits longer."""
    icey = harness.serve_from(root)

    def hello(exchange):
        exchange.respond(200, b"Hello, World!", content_type="text/plain")

    limits = None if keep_alive is None else icey.Limits(keep_alive_timeout=keep_alive)
    loop = icey.Loop()
    server = icey.http.Server(loop, "127.0.0.1", 0, limits=limits)
    server.on_request += hello
    server.start()
    print(server.address.port, flush=True)
    loop.run()


def server_command(subject, python=sys.executable, root=harness.ROOT, closing=False, keep_alive=None):
    """The command line of a serving child."""
    command = [python, os.path.abspath(__file__), "--serve", "raw" if subject == "raw" else "icey", "--root", root]
    return command + ["--closing"] * closing + (["--keep-alive", str(keep_alive)] if keep_alive is not None else [])


# -- the load --------------------------------------------------------------------------------------------------------

# No response() function: it would make wrk slow. Where there is one request only, request() is not needed either.
LUA = """
local requests, turn = {}, 0
local function load()
  local file = assert(io.open("@FILE@", "rb"))
  for one in file:read("*a"):gmatch("[^\\1]+") do requests[#requests + 1] = one end
  file:close()
end
load()
if #requests == 1 then
  init = function() wrk.format = function() return requests[1] end end
else
  request = function()
    turn = turn % #requests + 1
    return requests[turn]
  end
end
function done(summary, latency)
  local e = summary.errors
  print(string.format('RESULT {"requests": %d, "p50": %.0f, "p99": %.0f, "duration": %.0f, ' ..
    '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}',
    summary.requests, latency:percentile(50), latency:percentile(99), summary.duration,
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""


def prepare(scenario, folder):
    """Write a scenario's requests and Lua script into `folder`; return the first few requests, for a look before."""
    requests = [one.replace("\n", "\r\n") for one in traffic.SCENARIOS[scenario]()]
    data = os.path.join(folder, scenario + ".requests")
    with open(data, "w", newline="") as out:
        out.write("\1".join(requests))
    with open(os.path.join(folder, scenario + ".lua"), "w") as out:
        out.write(LUA.replace("@FILE@", data))
    return [one.encode() for one in requests[:4]]


# -- one measurement -------------------------------------------------------------------------------------------------


def look(port, requests):
    """Ask each request once, before anything is measured: an answer that is wrong must not be measured as fast."""
    for request in requests:
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(request)
            answer = b""
            while not answer.endswith(BODY):
                data = sock.recv(65536)
                if not data:
                    break
                answer += data
        if not (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n" + BODY)):
            raise harness.BenchError("wrong answer %r to %r" % (answer[:300], request[:100]))


def drive(port, scenario, folder, seconds):
    """Run wrk for some whole seconds; return what it counted."""
    script = os.path.join(folder, scenario + ".lua")
    url = "http://127.0.0.1:%d/" % port
    command = ["wrk", "-t1", "-c%d" % traffic.CONNECTIONS, "-d%ds" % seconds, "-s", script, url]
    process = harness.spawn(command, harness.CLIENT_CPU, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output = process.communicate(timeout=seconds + 20)[0].decode()
    except subprocess.TimeoutExpired:
        raise harness.BenchError("wrk did not end; scenario %s" % scenario) from None
    finally:
        harness.end(process)
    for line in output.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    raise harness.BenchError("wrk failed: %s" % output.strip())


def measure(server, scenario, folder):
    """One slice: a second of load on one server, and what it cost."""
    before = server.cpu()
    counted = drive(server.port, scenario, folder, 1)
    used = server.cpu() - before
    seconds = counted["duration"] / 1e6
    return {
        "cpu_us": used / max(1, counted["requests"]) * 1e6,
        "rps": counted["requests"] / seconds,
        "p50_ms": counted["p50"] / 1e3,
        "p99_ms": counted["p99"] / 1e3,
        "busy": used / seconds,
        "errors": {name: counted[name] for name in ("connect", "read", "write", "status", "timeout") if counted[name]},
    }


def measure_round(scenario, subjects, folder, sample, options):
    """One round of a scenario: fresh servers, a look, a warm-up, slices in turn. {subject: medians of its slices}"""
    with contextlib.ExitStack() as stack:
        servers = {}
        for subject in subjects:
            root = options.against if subject == "against" else harness.ROOT
            command = server_command(subject, options.python, root, closing=scenario == "newconn")
            servers[subject] = stack.enter_context(harness.Served(command))
            look(servers[subject].port, sample)
            drive(servers[subject].port, scenario, folder, options.warmup)
        slices = {subject: [] for subject in subjects}
        for number in range(options.duration):
            for subject in subjects[:: -1 if number % 2 else 1]:
                slices[subject].append(measure(servers[subject], scenario, folder))
    return {subject: condense(slices[subject], slices["raw"]) for subject in subjects}


def condense(slices, raw):
    """The medians of a subject's slices, the median of its ratios to RAW's neighbouring slices, the errors of all."""
    entry = {name: statistics.median([one[name] for one in slices]) for name in MEASURES}
    entry["ratio"] = statistics.median([one["cpu_us"] / floor["cpu_us"] for one, floor in zip(slices, raw)])
    entry["errors"] = {}
    for one in slices:
        for name, count in one["errors"].items():
            entry["errors"][name] = entry["errors"].get(name, 0) + count
    return entry


def run(options, subjects, folder):
    """All rounds: {scenario: {subject: [one entry a round]}}."""
    results = {scenario: {subject: [] for subject in subjects} for scenario in options.scenario}
    samples = {scenario: prepare(scenario, folder) for scenario in options.scenario}
    for number in range(options.rounds):
        for scenario in options.scenario:
            found = measure_round(scenario, subjects, folder, samples[scenario], options)
            for subject, one in found.items():
                results[scenario][subject].append(one)
                text = "round %d  %-11s  %-7s  %6.2f us" % (number + 1, scenario, subject, one["cpu_us"])
                print(text + ("  !!! ERRORS %s" % one["errors"] if one["errors"] else ""), file=sys.stderr, flush=True)
    return results


# -- what came out ---------------------------------------------------------------------------------------------------


def summarise(results):
    """Medians over the rounds, with the least and the most of what is compared."""
    summary = {}
    for scenario, subjects in results.items():
        for subject, rounds in subjects.items():
            entry = {name: statistics.median([one[name] for one in rounds]) for name in MEASURES}
            for name in ("cpu_us", "ratio"):
                entry[name] = harness.spread([one[name] for one in rounds])
            entry["errors"] = sum(sum(one["errors"].values()) for one in rounds)
            summary.setdefault(scenario, {})[subject] = entry
    return summary


def show(summary):
    head = "scenario,server,CPU us,x RAW,least,most,bar,req/s,p50 ms,p99 ms,busy,errors".split(",")
    rows = []
    for scenario, subjects in summary.items():
        for subject, one in subjects.items():
            ratio = ["%.2f" % one["ratio"][which] for which in ("median", "min", "max")]
            bar = "%.2f" % BARS[scenario] if subject != "raw" and scenario in BARS else ""
            row = [scenario, subject, "%.2f" % one["cpu_us"]["median"]] + ratio + [bar, "%.0f" % one["rps"]]
            row += ["%.2f" % one["p50_ms"], "%.2f" % one["p99_ms"], "%.0f%%" % (one["busy"] * 100)]
            rows.append(row + [str(one["errors"])])
    harness.print_table(head, rows)


def verdict(summary):
    """What is wrong with the numbers, as lines: bars not met, errors."""
    wrong = []
    for scenario, subjects in summary.items():
        for subject, one in subjects.items():
            if one["errors"]:
                wrong.append("%s, %s: %d errors (must be none)" % (scenario, subject, one["errors"]))
        ratio = subjects["icey"]["ratio"]["median"]
        if ratio > BARS.get(scenario, ratio):
            wrong.append("%s: %.2f x RAW, the bar is %.2f" % (scenario, ratio, BARS[scenario]))
    return wrong


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=int, default=4, help="seconds, and slices, of a round (4)")
    parser.add_argument("--warmup", type=int, default=1, help="whole seconds of load before a round (1)")
    names = list(traffic.SCENARIOS)
    parser.add_argument("--scenario", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the servers")
    parser.add_argument("--against", metavar="DIR", type=os.path.abspath, help="another checkout of icey, measured too")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is not met or there was an error")
    parser.add_argument("--only-raw", action="store_true", help="leave icey out: is the machine quiet enough?")
    for name in ("--serve", "--root", "--closing", "--keep-alive"):  # what the children are started with
        kind = {"action": "store_true"} if name == "--closing" else {}
        parser.add_argument(name, help=argparse.SUPPRESS, **kind)
    options = parser.parse_args()
    options.scenario = options.scenario or names
    if min(options.rounds, options.duration, options.warmup) < 1:
        parser.error("--rounds, --duration and --warmup are whole numbers from 1 on")
    return options


def main():
    options = parse_arguments()
    if options.serve == "raw":
        return serve_raw(options.closing)
    if options.serve == "icey":
        return serve_icey(options.root, float(options.keep_alive) if options.keep_alive else None)
    if not shutil.which("wrk"):
        print("http_hello: needs the load generator wrk, not found (Debian: apt-get install wrk)", file=sys.stderr)
        return 2
    harness.die_on_sigterm()
    subjects = ["raw"] + ["icey"] * (not options.only_raw) + ["against"] * bool(options.against)
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = run(options, subjects, folder)
    except harness.BenchError as error:
        print("http_hello: %s" % error, file=sys.stderr)
        return 2
    summary = summarise(results)
    print("\n%s; %d rounds of %d s" % (harness.machine(options.python), options.rounds, options.duration))
    show(summary)
    harness.report({"machine": harness.machine(options.python), "summary": summary}, options.json, {"rounds": results})
    wrong = [] if options.only_raw else verdict(summary)
    for line in wrong:
        print("!!! " + line, file=sys.stderr)
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
