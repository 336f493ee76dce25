"""What a byte and a message cost over TCP and TLS: icey beside asyncio (Protocol and streams), uvloop and trio.

    python3 -m venv ~/vbench; ~/vbench/bin/pip install uvloop trio       # all subjects; what is missing is left out, and said
    ~/vbench/bin/python tests/bench/transport.py                         # three rounds of everything, about six minutes
    python tests/bench/transport.py --rounds 1 --over tls --task source --subject icey --subject asyncio
    python tests/bench/transport.py --against ../icey-before --json result.json
    python tests/bench/transport.py --check                              # exit 1 past the bars, or on any error

Tasks, each over TCP and over TLS (1.3, the certificate of tests/support):

    one      64 bytes to and fro over one connection
    many     the same over 32 connections, one message under way on each
    sink     one connection on which the client sends 64 KiB writes, the server reads
    source   one connection on which the server sends 64 KiB pieces, the client reads
    bulk     one connection on which the client sends 64 KiB pieces, up to 256 KiB ahead, and the server sends them back

Subjects: see transport_servers.py, and `against`, icey from a second checkout. The client is the same for all: blocking
Python sockets (for `many` an epoll), as a process on the other core.

The measure is the server's CPU time: microseconds a message (one, many) or a MB (sink, source, bulk). Each round starts fresh
servers and measures slices of a second in turn; a slice is compared with asyncio's Protocol beside it. Medians of the slices
make a round, medians of the rounds the table. `x asyncio` is speed in multiples of asyncio's Protocol, so more is better;
--check holds the bars. Goals, printed as met or not met: over TCP ahead of asyncio's Protocol by a message to and fro and in
bulk, and in bulk level with uvloop (0.95 of its speed at least). See harness.py for the rules all benchmarks share. Needs
Linux. Not here: HTTP (http_hello.py, client.py), datagrams (datagrams.py).
"""

import argparse
import contextlib
import json
import os
import select
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

import harness
import transport_servers

BARS = {"tcp": 1.0, "tls": 0.9}  # speed in multiples of asyncio's Protocol: --check holds these
GOALS = {"tcp one": {"asyncio": 1.0}, "tcp bulk": {"asyncio": 1.0, "uvloop": 0.95}}  # speed in multiples of theirs
TASKS = ("one", "many", "sink", "source", "bulk")
MODES = {"one": "echo", "many": "echo", "sink": "sink", "source": "source", "bulk": "echo"}
AHEAD = 4  # pieces under way in bulk: two kernels hold them
CONNECTIONS = 32
MESSAGE = b"m" * 64
MB = 1e6

# -- the client, a child ---------------------------------------------------------------------------------------------


def connect(port, ca):
    """A connected socket, over TLS where there is a `ca` file."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if ca is None:
        return sock
    return ssl.create_default_context(cafile=ca).wrap_socket(sock, server_hostname="localhost")


def exchange(sock):
    """One message there and back."""
    sock.sendall(MESSAGE)
    got = sock.recv(65536)
    while len(got) < len(MESSAGE):
        got += sock.recv(65536)
    if got != MESSAGE:
        raise harness.BenchError("an echo that is none: %r" % got)


def task_one(port, ca, until):
    """(messages, seconds)"""
    sock, count, start = connect(port, ca), 0, time.perf_counter()
    while time.perf_counter() < until:
        exchange(sock)
        count += 1
    return count, time.perf_counter() - start


def task_many(port, ca, until):
    """(messages, seconds). None is split on loopback; what is not whole after all is an error."""
    epoll, connections, count = select.epoll(), {}, 0
    for _ in range(CONNECTIONS):
        sock = connect(port, ca)
        exchange(sock)  # session tickets are out of the way then
        sock.setblocking(False)
        connections[sock.fileno()] = (sock.recv, sock.send, sock)
        epoll.register(sock.fileno(), select.EPOLLIN)
    start = time.perf_counter()
    for _recv, send, _sock in connections.values():
        send(MESSAGE)
    while time.perf_counter() < until:
        for fd, _ in epoll.poll(1):
            recv, send, _sock = connections[fd]
            try:
                data = recv(65536)
            except ssl.SSLWantReadError:
                continue
            if data != MESSAGE:
                raise harness.BenchError("an echo that is none: %r" % data)
            send(MESSAGE)
            count += 1
    elapsed = time.perf_counter() - start
    for recv, _send, sock in connections.values():
        sock.settimeout(10)
        recv(65536)  # the last answer: unread, the close would be a reset
    return count, elapsed


def task_sink(port, ca, until):
    """(MB, seconds): what was sent, once the server has read it all."""
    sock, size, start = connect(port, ca), 0, time.perf_counter()
    while time.perf_counter() < until:
        sock.sendall(transport_servers.PIECE)
        size += len(transport_servers.PIECE)
    if ca is None:
        sock.shutdown(socket.SHUT_WR)
    else:
        with contextlib.suppress(OSError):
            sock = sock.unwrap()
    with contextlib.suppress(OSError):
        sock.recv(1)
    return size / MB, time.perf_counter() - start


def task_source(port, ca, until):
    """(MB, seconds): what was received until the server was told to stop."""
    sock, size, start = connect(port, ca), 0, time.perf_counter()
    buffer = bytearray(1 << 20)
    while time.perf_counter() < until:
        taken = sock.recv_into(buffer)
        if not taken:
            raise harness.BenchError("the source has dried up")
        size += taken
    elapsed = time.perf_counter() - start
    with contextlib.suppress(OSError):
        sock.sendall(b"!")
        while sock.recv_into(buffer):
            pass
    return size / MB, elapsed


def task_bulk(port, ca, until):
    """(MB, seconds): what came back."""
    sock, size, start = connect(port, ca), 0, time.perf_counter()
    buffer = bytearray(1 << 20)
    owed = AHEAD * len(transport_servers.PIECE)
    sock.sendall(transport_servers.PIECE * AHEAD)
    while True:
        taken = sock.recv_into(buffer)
        if not taken:
            raise harness.BenchError("the echo has ended")
        size, owed = size + taken, owed - taken
        if time.perf_counter() >= until:
            if not owed:
                break
            continue
        while owed <= (AHEAD - 1) * len(transport_servers.PIECE):
            sock.sendall(transport_servers.PIECE)
            owed += len(transport_servers.PIECE)
    return size / MB, time.perf_counter() - start


# -- one measurement -------------------------------------------------------------------------------------------------


def client(port, task, ca, seconds):
    """Runs the client; (how much, seconds)."""
    command = [sys.executable, os.path.abspath(__file__), "--client", task, "--port", str(port), "--seconds", str(seconds)]
    return harness.told_by_client(command + (["--ca", ca] if ca else []))


def measure(server, task, ca, seconds):
    """One slice."""
    before = server.cpu()
    amount, elapsed = client(server.port, task, ca, seconds)
    used = server.cpu() - before
    return {"cpu_us": used / amount * 1e6, "rate": amount / elapsed, "busy": used / elapsed}


def measure_round(over, task, certs, options):
    """One round of a task: fresh servers, a warm-up, slices in turn. {subject: medians of its slices}"""
    ca = certs.ca if over == "tls" else None
    with contextlib.ExitStack() as stack:
        servers = {}
        for subject in options.subject:
            command = [options.python, os.path.abspath(__file__), "--serve", subject, "--mode", MODES[task], "--root",
                       options.against if subject == "against" else harness.ROOT]
            command += ["--certificate", *certs.cert("localhost")] if ca else []
            servers[subject] = stack.enter_context(harness.Served(command))
            client(servers[subject].port, task, ca, 0.3)
        slices = {subject: [] for subject in options.subject}
        for number in range(options.slices):
            for subject in options.subject[:: -1 if number % 2 else 1]:
                slices[subject].append(measure(servers[subject], task, ca, options.seconds))
    found = {}
    for subject in options.subject:
        found[subject] = {name: statistics.median([one[name] for one in slices[subject]]) for name in slices[subject][0]}
        for name, other in (("ratio", "asyncio"), ("uvloop", "uvloop")):
            if other in slices:
                ratios = [theirs["cpu_us"] / ours["cpu_us"] for ours, theirs in zip(slices[subject], slices[other])]
                found[subject][name] = statistics.median(ratios)
    return found


def run(options, certs):
    """All rounds: {"tcp one": {subject: [one entry a round]}}."""
    results = {}
    for number in range(options.rounds):
        for over in options.over:
            for task in options.task:
                for subject, one in measure_round(over, task, certs, options).items():
                    results.setdefault("%s %s" % (over, task), {}).setdefault(subject, []).append(one)
        print("round %d of %d" % (number + 1, options.rounds), file=sys.stderr, flush=True)
    return results


# -- what came out ---------------------------------------------------------------------------------------------------


def summarise(results):
    """Medians over the rounds."""
    summary = {}
    for what, subjects in results.items():
        for subject, rounds in subjects.items():
            entry = {name: statistics.median([one[name] for one in rounds]) for name in ("cpu_us", "rate", "busy")}
            entry["ratio"] = harness.spread([one["ratio"] for one in rounds])
            if "uvloop" in rounds[0]:
                entry["uvloop"] = harness.spread([one["uvloop"] for one in rounds])
            summary.setdefault(what, {})[subject] = entry
    return summary


def show(summary):
    rows = []
    for what, subjects in summary.items():
        over, task = what.split()
        for subject, one in subjects.items():
            ratio = ["%.2f" % one["ratio"][which] for which in ("median", "min", "max")]
            bar = ""
            if subject in ("icey", "against"):
                bar = "%.1f %s" % (BARS[over], "pass" if one["ratio"]["median"] >= BARS[over] else "FAIL")
            unit = "MB/s" if task in ("sink", "source", "bulk") else "msg/s"
            rows.append([what, subject, "%.1f" % one["cpu_us"]] + ratio
                        + [bar, "%.0f %s" % (one["rate"], unit), "%.0f%%" % (one["busy"] * 100)])
    harness.print_table(["task", "server", "CPU us", "x asyncio", "least", "most", "bar", "rate", "busy"], rows)


def verdict(summary):
    """The bars not met, as lines."""
    return ["%s: %.2f x asyncio's Protocol, the bar is %.1f" % (what, subjects["icey"]["ratio"]["median"], BARS[what[:3]])
            for what, subjects in summary.items() if subjects["icey"]["ratio"]["median"] < BARS[what[:3]]]


def goals(summary):
    """A line for each goal of what was measured."""
    for what in summary:
        for peer, goal in GOALS.get(what, {}).items():
            if peer not in summary[what]:
                yield "%s: %.2f x %s is the goal, and %s is missing" % (what, goal, peer, peer)
                continue
            ratio = summary[what]["icey"]["ratio" if peer == "asyncio" else peer]["median"]
            yield "%s: %.2f x %s, the goal is %.2f: %s" % (what, ratio, peer, goal, "met" if ratio >= goal else "not met")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=2, help="of each subject in a round (2)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a slice (1)")
    parser.add_argument("--over", action="append", choices=tuple(BARS), help="only this transport; may be repeated")
    parser.add_argument("--task", action="append", choices=TASKS, help="only this one; may be repeated")
    subjects = [name for name in transport_servers.SERVERS if name != "against"]
    parser.add_argument("--subject", action="append", choices=subjects, help="icey and asyncio are always there")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the servers")
    parser.add_argument("--against", metavar="DIR", type=os.path.abspath, help="another checkout of icey, measured too")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is not met")
    for name in ("--serve", "--mode", "--root", "--client", "--port", "--ca"):  # what the children are started with
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--certificate", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.over, options.task = options.over or list(BARS), options.task or list(TASKS)
    wanted = [name for name in subjects if name in ("icey", "asyncio") or not options.subject or name in options.subject]
    options.subject = wanted[:1] + ["against"] * bool(options.against) + wanted[1:]
    if min(options.rounds, options.slices) < 1 or options.seconds <= 0:
        parser.error("--rounds and --slices are 1 or more, --seconds more than 0")
    return options


def available(options):
    """The subjects that can be measured; says which cannot."""
    ask = "import json, sys; sys.path.insert(0, %r); from transport_servers import NEEDS, importable; " \
          "print(json.dumps([name for name in NEEDS if importable(name)]))" % harness.HERE
    there = json.loads(subprocess.check_output([options.python, "-c", ask]).decode())
    for subject in options.subject:
        if subject not in there:
            print("left out: %s is not installed in %s" % (subject, options.python), file=sys.stderr)
    return [subject for subject in options.subject if subject in there]


def main():
    options = parse_arguments()
    if options.serve:
        return transport_servers.SERVERS[options.serve](options.root, options.mode, options.certificate)
    if options.client:
        task = globals()["task_" + options.client]
        return print(json.dumps(task(int(options.port), options.ca, time.perf_counter() + options.seconds)))
    sys.path += [harness.ROOT, os.path.join(harness.ROOT, "tests", "support")]  # at the end: the latter has an http.py
    import certificates

    harness.die_on_sigterm()
    options.subject = available(options)
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = run(options, certificates.folder(folder))
    except harness.BenchError as error:
        print("transport: %s" % error, file=sys.stderr)
        return 2
    summary = summarise(results)
    print("\n%s; %d rounds of %d slices" % (harness.machine(options.python), options.rounds, options.slices))
    show(summary)
    harness.report({"machine": harness.machine(options.python), "summary": summary}, options.json, {"rounds": results})
    for line in goals(summary):
        print(line)
    wrong = verdict(summary)
    for line in wrong:
        print("!!! " + line, file=sys.stderr)
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
