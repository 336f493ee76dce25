"""What a datagram costs: icey's UDPSocket as an echo of 64 bytes, beside a raw loop, asyncio and uvloop.

    python tests/bench/datagrams.py                        # three rounds, about a minute
    python tests/bench/datagrams.py --rounds 1 --subject raw --task one
    python tests/bench/datagrams.py --against ../icey-before --json result.json
    python tests/bench/datagrams.py --check                # exit 1 where a goal is not met, or on any error

Tasks:

    one     one datagram to and fro at a time
    burst   32 datagrams under way: as many as have come back go out again, at once

Subjects: `raw` is epoll, recvfrom and sendto, one an event; `icey`; `against`, icey from a second checkout; `asyncio` and
`uvloop`, by DatagramProtocol. What is missing is left out, and said. The client is a process on the other core, the same
for all.

The measure is the server's CPU time, microseconds a datagram. Each round starts fresh servers and measures slices of a second
in turn; medians of the slices make a round, medians of the rounds the table. Goals, printed as met or not met: at most
1.15 x raw, and less than asyncio takes. See harness.py for the rules all benchmarks share. Needs Linux. Not here: streams
(transport.py).
"""

import argparse
import contextlib
import importlib.util
import json
import os
import select
import socket
import statistics
import sys
import time

import harness

TASKS = {"one": 1, "burst": 32}
SUBJECTS = ("raw", "icey", "against", "asyncio", "uvloop")
GOALS = {"raw": 1.15, "asyncio": 1.0}  # CPU time in multiples of a subject's, at most
MESSAGE = b"m" * 64
PATIENCE = 0.2  # seconds, then datagrams are lost, and others take their place

# -- the client, a child ---------------------------------------------------------------------------------------------


def echo(port, under_way, seconds):
    """(datagrams that came back, seconds)"""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    sock.settimeout(PATIENCE)
    count, came, start = 0, under_way, time.perf_counter()
    until = start + seconds
    while time.perf_counter() < until:
        for _ in range(came):
            sock.send(MESSAGE)
        came = 0
        try:
            if sock.recv(2048) != MESSAGE:
                raise harness.BenchError("an echo that is none")
            came = 1
            sock.setblocking(False)
            while came < under_way:
                sock.recv(2048)
                came += 1
        except socket.timeout:  # lost: the system may drop what it has no room for
            came = under_way
            continue
        except BlockingIOError:
            pass
        sock.settimeout(PATIENCE)
        count += came
    return count, time.perf_counter() - start


# -- the servers, children -------------------------------------------------------------------------------------------


def serve_raw(root):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    epoll = select.epoll()
    epoll.register(sock.fileno(), select.EPOLLIN)
    print(sock.getsockname()[1], flush=True)
    while True:
        for _ in epoll.poll():
            data, sender = sock.recvfrom(65536)  # one an event: none is asked for in vain
            sock.sendto(data, sender)


def serve_icey(root):
    icey = harness.serve_from(root)
    loop = icey.Loop()
    udp = icey.UDPSocket(loop)
    udp.bind(("127.0.0.1", 0))
    udp.on_recv += lambda udp, view, address: udp.send_owned(view, address)
    print(udp.local.port, flush=True)
    loop.run()


def serve_asyncio(root, run=None):
    import asyncio

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            self.transport.sendto(data, address)

    async def serve():
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, ("127.0.0.1", 0))
        print(transport.get_extra_info("sockname")[1], flush=True)
        await asyncio.Event().wait()

    (run or asyncio.run)(serve())


def serve_uvloop(root):
    import uvloop

    serve_asyncio(root, uvloop.run)


SERVERS = {"raw": serve_raw, "icey": serve_icey, "against": serve_icey, "asyncio": serve_asyncio, "uvloop": serve_uvloop}

# -- one measurement -------------------------------------------------------------------------------------------------


def client(port, task, seconds):
    """Runs the client; (datagrams, seconds)."""
    command = [sys.executable, os.path.abspath(__file__), "--client", task, "--port", str(port), "--seconds", str(seconds)]
    return harness.told_by_client(command)


def measure(server, task, seconds):
    """One slice."""
    before = server.cpu()
    count, elapsed = client(server.port, task, seconds)
    used = server.cpu() - before
    if not count:
        raise harness.BenchError("no datagram came back in %g seconds" % seconds)
    return {"cpu_us": used / count * 1e6, "rate": count / elapsed, "busy": used / elapsed}


def measure_round(task, options):
    """One round of a task: fresh servers, a warm-up, slices in turn. {subject: medians of its slices}"""
    with contextlib.ExitStack() as stack:
        servers = {}
        for subject in options.subject:
            command = [sys.executable, os.path.abspath(__file__), "--serve", subject, "--root",
                       options.against if subject == "against" else harness.ROOT]
            servers[subject] = stack.enter_context(harness.Served(command))
            client(servers[subject].port, task, 0.2)
        slices = {subject: [] for subject in options.subject}
        for number in range(options.slices):
            for subject in options.subject[:: -1 if number % 2 else 1]:
                slices[subject].append(measure(servers[subject], task, options.seconds))
    return {subject: {name: statistics.median([one[name] for one in taken]) for name in taken[0]}
            for subject, taken in slices.items()}


def run(options):
    """All rounds: {task: {subject: [one entry a round]}}."""
    results = {}
    for number in range(options.rounds):
        for task in options.task:
            for subject, one in measure_round(task, options).items():
                results.setdefault(task, {}).setdefault(subject, []).append(one)
        print("round %d of %d" % (number + 1, options.rounds), file=sys.stderr, flush=True)
    return results


# -- what came out ---------------------------------------------------------------------------------------------------


def verdicts(summary):
    """(line, met) of each goal whose subject was there."""
    for task, subjects in summary.items():
        for subject, goal in GOALS.items():
            if subject not in subjects:
                yield "%s: at most %.2f x %s is the goal, and %s is missing" % (task, goal, subject, subject), True
                continue
            ratio = subjects[subject]["x"]["median"]
            yield "%s: %.2f x %s, the goal is at most %.2f: %s" % (
                task, ratio, subject, goal, "met" if ratio <= goal else "not met"), ratio <= goal


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=2, help="of each subject in a round (2)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a slice (1)")
    parser.add_argument("--task", action="append", choices=tuple(TASKS), help="only this one; may be repeated")
    names = [name for name in SUBJECTS if name != "against"]
    parser.add_argument("--subject", action="append", choices=names, help="icey is always there")
    parser.add_argument("--against", metavar="DIR", type=os.path.abspath, help="another checkout of icey, measured too")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is not met")
    for name in ("--serve", "--root", "--client", "--port"):  # what the children are started with
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.task = options.task or list(TASKS)
    wanted = [name for name in names if name == "icey" or not options.subject or name in options.subject]
    place = wanted.index("icey") + 1
    options.subject = wanted[:place] + ["against"] * bool(options.against) + wanted[place:]
    if min(options.rounds, options.slices) < 1 or options.seconds <= 0:
        parser.error("--rounds and --slices are 1 or more, --seconds more than 0")
    return options


def main():
    options = parse_arguments()
    if options.serve:
        return SERVERS[options.serve](options.root)
    if options.client:
        return print(json.dumps(echo(int(options.port), TASKS[options.client], options.seconds)))
    harness.die_on_sigterm()
    if "uvloop" in options.subject and importlib.util.find_spec("uvloop") is None:
        print("left out: uvloop: not installed in %s (pip install uvloop)" % sys.executable, file=sys.stderr)
        options.subject.remove("uvloop")
    try:
        results = run(options)
    except harness.BenchError as error:
        print("datagrams: %s" % error, file=sys.stderr)
        return 2
    summary = harness.beside_icey(results)
    print("\n%s; %d rounds of %d slices" % (harness.machine(), options.rounds, options.slices))
    harness.show_beside_icey(summary, 2)
    harness.report({"machine": harness.machine(), "summary": summary}, options.json, {"rounds": results})
    missed = False
    for line, met in verdicts(summary):
        print(line)
        missed = missed or not met
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
