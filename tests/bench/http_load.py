"""How http_hello.py and bodies.py measure: HTTP servers under load, in turn, each in multiples of RAW's processor time.

A `Scenario` says what is asked and what the goal is; `measure` takes some through all rounds, `show` prints the table,
`verdicts` says which goals are met. The servers are in http_servers.py.

A round is some seconds on each subject in slices of one second, taken in turn, so that a noisy neighbour meets all of
them; a slice is compared with RAW's beside it. Medians of the slices make a round, medians of the rounds the table.

The load comes from `wrk` (one thread), which gets its requests beforehand, so that it has nothing to do but send them.
What wrk cannot do, connections that the client ends, comes from a Python process (`connect`). It needs Linux.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import harness
import http_servers

CONNECTIONS = 64  # that the load generator keeps open
MEASURES = ("cpu_us", "rps", "p50_ms", "p99_ms", "busy")
TOGETHER = 32  # connections that `connect` opens, asks, and ends, one burst after the other


class Scenario:
    """What is asked, and what is wanted.

    requests: makes the requests (text; \\n is \\r\\n). goal: multiples of RAW's processor time at most. rate: requests a
    second at least. ahead_of: a peer that takes more processor time. answer: the body that comes. connections: how many.
    closing: the server ends each. ending: the client ends each. depth: requests sent at once. size: bytes of a body.
    handler: icey's, in http_servers.py.
    """

    def __init__(self, requests, goal=None, *, rate=None, ahead_of=None, handler="hello", answer=http_servers.BODY,
                 connections=CONNECTIONS, closing=False, ending=False, depth=1, size=0):
        self.requests, self.goal, self.rate, self.ahead_of, self.answer = requests, goal, rate, ahead_of, answer
        self.handler = handler
        self.connections, self.closing, self.ending, self.depth, self.size = connections, closing, ending, depth, size


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
  local one = requests[1]:rep(@DEPTH@)
  init = function() wrk.format = function() return one end end
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


def prepare(name, scenario, folder):
    """Write a scenario's requests and Lua script into `folder`; return the first few requests, for a look before."""
    requests = [one.replace("\n", "\r\n") for one in scenario.requests()]
    data = os.path.join(folder, name + ".requests")
    with open(data, "w", newline="") as out:
        out.write("\1".join(requests))
    with open(os.path.join(folder, name + ".lua"), "w") as out:
        out.write(LUA.replace("@FILE@", data).replace("@DEPTH@", str(scenario.depth)))
    return [one.encode() for one in requests[:4]]


def body_of(answer):
    """The body of an answer, which may be chunked; None while it is not whole."""
    head, blank, rest = answer.partition(b"\r\n\r\n")
    fields = dict(line.lower().partition(b": ")[::2] for line in head.split(b"\r\n")[1:])
    if not blank:
        return None
    if fields.get(b"transfer-encoding") != b"chunked":
        size = int(fields.get(b"content-length", b"0"))
        return rest if len(rest) >= size else None
    body = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            return body
        body, rest = body + rest[:int(size, 16)], rest[int(size, 16) + 2:]
    return None


def look(port, requests, wanted):
    """Ask each request once, before anything is measured: an answer that is wrong must not be measured as fast."""
    for request in requests:
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(request)
            answer = b""
            while body_of(answer) is None:
                data = sock.recv(65536)
                if not data:
                    break
                answer += data
        if not (answer.startswith(b"HTTP/1.") and answer[8:13] == b" 200 " and body_of(answer) == wanted):
            raise harness.BenchError("wrong answer %r to %r" % (answer[:300], request[:100]))


def drive(port, name, scenario, folder, seconds):
    """Load for some whole seconds; return what was counted."""
    if scenario.ending:
        command = [sys.executable, os.path.abspath(__file__), str(port), str(seconds)]
    else:
        script = os.path.join(folder, name + ".lua")
        url = "http://127.0.0.1:%d/" % port
        command = ["wrk", "-t1", "-c%d" % scenario.connections, "-d%ds" % seconds, "-s", script, url]
    process = harness.spawn(command, harness.CLIENT_CPU, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output = process.communicate(timeout=seconds + 20)[0].decode()
    except subprocess.TimeoutExpired:
        raise harness.BenchError("the load generator did not end; scenario %s" % name) from None
    finally:
        harness.end(process)
    for line in output.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    raise harness.BenchError("the load generator failed: %s" % output.strip())


def connect(port, seconds):
    """As a child: connections that ask once and are ended by us, in bursts; prints what wrk's script prints."""
    request = b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
    counted = {"requests": 0, "connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}
    times, address = [], ("127.0.0.1", port)
    began = time.perf_counter()
    now = until = began + seconds
    while True:
        start = time.perf_counter()
        if start >= until:
            break
        burst = []
        for _ in range(TOGETHER):
            sock = socket.socket()
            sock.connect(address)
            sock.send(request)
            burst.append(sock)
        for sock in burst:
            sock.settimeout(5)
            if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
                counted["status"] += 1
            sock.close()
        counted["requests"] += TOGETHER
        now = time.perf_counter()
        times.append(now - start)
    times.sort()
    counted.update(p50=times[len(times) // 2] * 1e6, p99=times[len(times) * 99 // 100] * 1e6, duration=(now - began) * 1e6)
    print("RESULT " + json.dumps(counted))


# -- one measurement -------------------------------------------------------------------------------------------------


def command_of(subject, scenario, size, folder, options):
    """The command line of a serving child. `size`: bytes of a request."""
    servers = os.path.abspath(http_servers.__file__)
    if subject == "raw":
        words = ["closing"] * scenario.closing + ["size=%d" % size] * bool(scenario.size)
        return [options.python, servers, "raw"] + words + ["pipelined=%d" % size] * (scenario.depth > 1)
    if subject in ("icey", "against"):
        return [options.python, servers, "icey", options.against if subject == "against" else harness.ROOT,
                scenario.handler]
    return http_servers.build(subject, folder)


def measure_slice(server, name, scenario, folder):
    """One slice: a second of load on one server, and what it cost."""
    before = server.cpu()
    counted = drive(server.port, name, scenario, folder, 1)
    used = server.cpu() - before
    seconds = counted["duration"] / 1e6
    return {
        "cpu_us": used / max(1, counted["requests"]) * 1e6,
        "rps": counted["requests"] / seconds,
        "p50_ms": counted["p50"] / 1e3,
        "p99_ms": counted["p99"] / 1e3,
        "busy": used / seconds,
        "errors": {kind: counted[kind] for kind in ("connect", "read", "write", "status", "timeout") if counted[kind]},
    }


def measure_round(name, scenario, subjects, folder, sample, options):
    """One round of a scenario: fresh servers, a look, a warm-up, slices in turn. {subject: medians of its slices}"""
    with contextlib.ExitStack() as stack:
        servers = {}
        for subject in subjects:
            command = command_of(subject, scenario, len(sample[0]), folder, options)
            servers[subject] = stack.enter_context(harness.Served(command))
            look(servers[subject].port, sample, http_servers.BODY if subject == "raw" else scenario.answer)
            drive(servers[subject].port, name, scenario, folder, options.warmup)
        slices = {subject: [] for subject in subjects}
        for number in range(options.duration):
            for subject in subjects[:: -1 if number % 2 else 1]:
                slices[subject].append(measure_slice(servers[subject], name, scenario, folder))
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


def run(scenarios, subjects, folder, options):
    """All rounds: {scenario: {subject: [one entry a round]}}."""
    results = {name: {subject: [] for subject in subjects} for name in scenarios}
    samples = {name: prepare(name, scenario, folder) for name, scenario in scenarios.items()}
    for number in range(options.rounds):
        for name, scenario in scenarios.items():
            for subject, one in measure_round(name, scenario, subjects, folder, samples[name], options).items():
                results[name][subject].append(one)
                text = "round %d  %-11s  %-7s  %6.2f us" % (number + 1, name, subject, one["cpu_us"])
                print(text + ("  !!! ERRORS %s" % one["errors"] if one["errors"] else ""), file=sys.stderr, flush=True)
    return results


# -- what came out ---------------------------------------------------------------------------------------------------


def summarise(results):
    """Medians over the rounds, with the least and the most of what is compared."""
    summary = {}
    for name, subjects in results.items():
        for subject, rounds in subjects.items():
            entry = {measure: statistics.median([one[measure] for one in rounds]) for measure in MEASURES}
            for measure in ("cpu_us", "ratio"):
                entry[measure] = harness.spread([one[measure] for one in rounds])
            entry["errors"] = sum(sum(one["errors"].values()) for one in rounds)
            summary.setdefault(name, {})[subject] = entry
    return summary


def goals(name, scenario, subjects):
    """(subject, what was wanted, whether that is met; None where it cannot be said) for icey's and the other checkout's."""
    for subject in ("icey", "against"):
        one = subjects.get(subject)
        if one is None:
            continue
        if scenario.goal is not None:
            yield subject, "%.2f x RAW" % scenario.goal, one["ratio"]["median"] <= scenario.goal
        if scenario.rate is not None:
            yield subject, "%.0f k/s" % (scenario.rate / 1e3), one["rps"] >= scenario.rate
        if scenario.ahead_of is not None:
            peer = subjects.get(scenario.ahead_of)
            met = None if peer is None else one["cpu_us"]["median"] < peer["cpu_us"]["median"]
            yield subject, "ahead of %s" % scenario.ahead_of.capitalize(), met


def show(scenarios, summary):
    bodies = any(scenario.size for scenario in scenarios.values())
    head = ["scenario", "server", "CPU us", "x RAW", "least", "most", "goal", "req/s"] + ["MB/s"] * bodies
    rows = []
    for name, subjects in summary.items():
        scenario = scenarios[name]
        for subject, one in subjects.items():
            ratio = ["%.2f" % one["ratio"][which] for which in ("median", "min", "max")]
            told = ", ".join("%s %s" % (what, {True: "met", False: "NOT MET", None: "not known"}[met])
                             for whose, what, met in goals(name, scenario, subjects) if whose == subject)
            row = [name, subject, "%.2f" % one["cpu_us"]["median"]] + ratio + [told, "%.0f" % one["rps"]]
            row += ["%.0f" % (one["rps"] * scenario.size / 1e6)] * bodies
            row += ["%.2f" % one["p50_ms"], "%.2f" % one["p99_ms"], "%.0f%%" % (one["busy"] * 100)]
            rows.append(row + [str(one["errors"])])
    harness.print_table(head + ["p50 ms", "p99 ms", "busy", "errors"], rows)


def wrong(scenarios, summary):
    """What is wrong with the numbers, as lines: goals not met, errors."""
    found = []
    for name, subjects in summary.items():
        for subject, one in subjects.items():
            if one["errors"]:
                found.append("%s, %s: %d errors (must be none)" % (name, subject, one["errors"]))
        for subject, what, met in goals(name, scenarios[name], subjects):
            if subject == "icey" and met is False:
                one = subjects["icey"]
                found.append("%s: %.2f x RAW, %.0f req/s; the goal is %s" % (
                    name, one["ratio"]["median"], one["rps"], what))
    return found


# -- the command line ------------------------------------------------------------------------------------------------


def parser_of(doc, names):
    """A parser with the options that both scripts have."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=int, default=2, help="seconds, and slices, of a round (2)")
    parser.add_argument("--warmup", type=int, default=1, help="whole seconds of load before a round (1)")
    parser.add_argument("--scenario", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--peer", action="append", choices=http_servers.PEERS + ("none",), help="only this; may be repeated")
    parser.add_argument("--python", default=sys.executable, help="interpreter of RAW and of icey")
    parser.add_argument("--against", metavar="DIR", type=os.path.abspath, help="another checkout of icey, measured too")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is not met or there was an error")
    parser.add_argument("--only-raw", action="store_true", help="leave all others out: is the machine quiet enough?")
    return parser


def measure(scenarios, options):
    """All that was asked for: (summary, rounds). BenchError: it cannot be measured."""
    if not shutil.which("wrk"):
        raise harness.BenchError("needs the load generator wrk, not found (Debian: apt-get install wrk)")
    peers = [] if options.only_raw else http_servers.present(
        [peer for peer in http_servers.PEERS if not options.peer or peer in options.peer])
    subjects = ["raw"] + ["icey"] * (not options.only_raw) + ["against"] * bool(options.against) + peers
    with tempfile.TemporaryDirectory() as folder:
        for peer in peers:
            http_servers.build(peer, folder)
        results = run(scenarios, subjects, folder, options)
    return summarise(results), results


def main(script, scenarios, options):
    """Measures, prints, says what is wrong; returns the exit status."""
    if min(options.rounds, options.duration, options.warmup) < 1:
        print("%s: --rounds, --duration and --warmup are whole numbers from 1 on" % script, file=sys.stderr)
        return 2
    harness.die_on_sigterm()
    scenarios = {name: one for name, one in scenarios.items() if not options.scenario or name in options.scenario}
    try:
        summary, results = measure(scenarios, options)
    except harness.BenchError as error:
        print("%s: %s" % (script, error), file=sys.stderr)
        return 2
    print("\n%s; %d rounds of %d s" % (harness.machine(options.python), options.rounds, options.duration))
    show(scenarios, summary)
    harness.report({"machine": harness.machine(options.python), "summary": summary}, options.json, {"rounds": results})
    faults = wrong(scenarios, summary)
    for line in faults:
        print("!!! " + line, file=sys.stderr)
    return 1 if faults and options.check else 0


if __name__ == "__main__":
    connect(int(sys.argv[1]), int(sys.argv[2]))
