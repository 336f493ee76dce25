"""What the loop and the signals cost: emits, soon calls, posts from a thread, timers, a TCP echo.

    python tests/bench/loop.py                            # everything, five rounds, about a minute
    python tests/bench/loop.py --task signal --task post
    python tests/bench/loop.py --python ~/py38/bin/python --json result.json
    python tests/bench/loop.py --root ../icey-before      # icey from another checkout

Tasks, each beside what a user would otherwise take:

    signal   Signal.emit with 0, 1 and 4 slots        beside a plain loop over a list of callables
    soon     a callback that calls call_soon, chained beside asyncio's
    post     calls posted by another thread, until the last has run, beside asyncio's call_soon_threadsafe
    timers   100 000 timers of different delays scheduled, and then all fired, beside asyncio's call_later; and as many
             scheduled, and then all stopped, beside its cancel(), to the end of the turn that sweeps them
    echo     64 bytes to and fro over 64 connections: server CPU a message, beside raw epoll and asyncio

Goals: a soon call, a post, a timer scheduled, fired, or started and stopped, and the echo cost at most what they cost asyncio;
an emit to one slot 2.5 times the plain loop at most.

Rules: every task of every round runs in a fresh process pinned to a core; `perf_counter_ns`, median of repetitions,
then median of rounds. The echo's client is a process on the other core, and its figure is CPU time of the server.
Elsewhere the figure is elapsed time. See harness.py for the rules all benchmarks share. Not here: HTTP (http_hello.py),
memory (idle.py).
"""

import argparse
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
from itertools import repeat

import harness

REPEATS = 7
CONNECTIONS = 64
GOALS = {  # what: (beside whom, times as much at most)
    "emit, 1 slot": ("plain loop", 2.5),
    "call_soon, chained": ("asyncio", 1.0),
    "post from a thread": ("asyncio", 1.0),
    "timer scheduled": ("asyncio", 1.0),
    "timer fired": ("asyncio", 1.0),
    "timer started, stopped": ("asyncio", 1.0),
    "echo 64 B, server CPU": ("asyncio", 1.0),
}
MESSAGE = b"m" * 64


def median_ns(run, count):
    """Nanoseconds each of `count` things takes when `run()` does all of them: the median of some repetitions."""
    samples = []
    for _ in range(REPEATS):
        start = time.perf_counter_ns()
        run()
        samples.append((time.perf_counter_ns() - start) / count)
    return statistics.median(samples)


# -- signal ----------------------------------------------------------------------------------------------------------


def slot(sender, value):
    pass


def task_signal(icey):
    """ns an emit."""
    count, times, found = 200000, repeat, {}
    for slots in (0, 1, 4):
        signal, functions = icey.Signal(), [slot] * slots
        for function in functions:
            signal.attach(function)

        def ours(signal=signal):
            for _ in times(None, count):
                signal.emit(signal, 1)

        def plain(functions=functions):
            for _ in times(None, count):
                for function in functions:
                    function(functions, 1)

        label = "emit, %d slot%s" % (slots, "" if slots == 1 else "s")
        found[label] = {"icey": median_ns(ours, count), "plain loop": median_ns(plain, count)}
    return found


# -- soon, post, timers ----------------------------------------------------------------------------------------------


def chained(call_soon, run, count):
    def step(left):
        if left:
            call_soon(step, left - 1)

    def all_of_them():
        call_soon(step, count)
        run()

    return median_ns(all_of_them, count)


def task_soon(icey):
    """ns a call. asyncio's loop has to be told that the chain has ended."""
    import asyncio

    with icey.Loop() as loop:
        ours = chained(loop.call_soon, loop.run, 100000)
    other = asyncio.new_event_loop()

    def call_soon(step, left):
        other.call_soon(*((step, left) if left else (other.stop,)))

    theirs = chained(call_soon, other.run_forever, 100000)
    other.close()
    return {"call_soon, chained": {"icey": ours, "asyncio": theirs}}


def posted(post, run, stop, count):
    """A thread posts `count` calls while the loop runs; the last one stops it."""
    done = []

    def produce():
        for number in range(count - 1):
            post(done.append, number)
        post(stop)

    def all_of_them():
        done.clear()
        producer = threading.Thread(target=produce)
        producer.start()
        run()
        producer.join()
        assert len(done) == count - 1, len(done)

    return median_ns(all_of_them, count)


def task_post(icey):
    """ns a call, from the first post to the last run."""
    import asyncio

    with icey.Loop() as loop:
        loop.call_later(600, lambda: None)  # keeps it alive until it is stopped
        ours = posted(loop.post, loop.run, loop.stop, 100000)
    other = asyncio.new_event_loop()
    theirs = posted(other.call_soon_threadsafe, other.run_forever, other.stop, 20000)
    other.close()
    return {"post from a thread": {"icey": ours, "asyncio": theirs}}


def timed(call_later, run, stop, count):
    """Schedule timers of mixed delays up to 100 ms, wait until all are due, let them fire. Returns ns each for both."""
    scheduling, firing, fired = [], [], []
    for _ in range(3):
        fired.clear()
        start = time.perf_counter_ns()
        for number in range(count):
            call_later(number * 7919 % count / count / 10, fired.append, number)
        scheduling.append((time.perf_counter_ns() - start) / count)
        time.sleep(0.11)
        start = time.perf_counter_ns()
        call_later(0.001, stop)
        run()
        firing.append((time.perf_counter_ns() - start) / count)
        assert len(fired) == count, len(fired)
    return statistics.median(scheduling), statistics.median(firing)


def stopped(call_later, stop, turn, count):
    """Start timers of mixed delays, stop them in that order, have a turn; ns each."""
    samples = []
    for _ in range(3):
        start = time.perf_counter_ns()
        timers = [call_later(60 + number * 7919 % count / count, print) for number in range(count)]
        for timer in timers:
            stop(timer)
        del timers, timer
        turn()
        samples.append((time.perf_counter_ns() - start) / count)
    return statistics.median(samples)


def task_timers(icey):
    """ns a timer."""
    import asyncio

    with icey.Loop() as loop:
        ours = timed(loop.call_later, loop.run, loop.stop, 100000)
        our_stops = stopped(loop.call_later, icey.Timer.stop, lambda: loop.run_once(0), 100000)
    other = asyncio.new_event_loop()
    theirs = timed(other.call_later, other.run_forever, other.stop, 100000)

    def turn():
        other.call_soon(other.stop)
        other.run_forever()

    their_stops = stopped(other.call_later, asyncio.TimerHandle.cancel, turn, 100000)
    other.close()
    return {
        "timer started, stopped": {"icey": our_stops, "asyncio": their_stops},
        "timer scheduled": {"icey": ours[0], "asyncio": theirs[0]},
        "timer fired": {"icey": ours[1], "asyncio": theirs[1]},
    }


TASKS = {"signal": task_signal, "soon": task_soon, "post": task_post, "timers": task_timers}

# -- echo: three servers and a client, each a child ------------------------------------------------------------------


def echo_icey(root):
    icey = harness.serve_from(root)
    loop = icey.Loop()
    listener = icey.TCPListener(loop, icey.Address("127.0.0.1", 0))

    def accepted(listener, sock):
        sock.on_recv += echo

    def echo(sock, view):
        sock.send_owned(view)

    listener.on_accept += accepted
    print(listener.address.port, flush=True)
    loop.run()


def echo_asyncio(root):
    import asyncio

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)

    async def serve():
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(serve())


def echo_raw(root):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)
    epoll, connections = select.epoll(), {}
    epoll.register(listener.fileno(), select.EPOLLIN)
    while True:
        for fd, _ in epoll.poll():
            if fd == listener.fileno():
                sock = listener.accept()[0]
                sock.setblocking(False)
                connections[sock.fileno()] = sock
                epoll.register(sock.fileno(), select.EPOLLIN)
                continue
            data = connections[fd].recv(65536)
            if data:
                connections[fd].send(data)
            else:
                connections.pop(fd).close()


ECHOES = {"icey": echo_icey, "raw epoll": echo_raw, "asyncio": echo_asyncio}


def echo_client(port, seconds):
    """Keep one message under way on each connection; print how many came back, and how many of them wrong."""
    epoll, connections, answered, wrong = select.epoll(), {}, 0, 0
    for _ in range(CONNECTIONS):
        sock = socket.create_connection(("127.0.0.1", port), 10)
        sock.setblocking(False)
        connections[sock.fileno()] = (sock.recv, sock.send, sock)
        epoll.register(sock.fileno(), select.EPOLLIN)
        sock.send(MESSAGE)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for fd, _ in epoll.poll(1):
            recv, send, _sock = connections[fd]
            if recv(65536) != MESSAGE:
                wrong += 1
            send(MESSAGE)
            answered += 1
    print(json.dumps([answered, wrong]))
    for _recv, _send, sock in connections.values():
        sock.setblocking(True)  # the last message is on its way: read it, so that the close is no reset
        sock.recv(65536)
        sock.close()


def measure_echo(options):
    """Server CPU in ns a message, for each of the three servers."""
    me, found = os.path.abspath(__file__), {}
    for name in ECHOES:
        with harness.Served([options.python, me, "--echo", name, "--root", options.root]) as server:
            used = [server.cpu()]
            for seconds in (0.5, options.duration):  # the first is the warm-up
                answered, wrong = child([sys.executable, me, "--client", str(server.port), "--seconds", str(seconds)],
                                        harness.CLIENT_CPU)
                used.append(server.cpu())
        if wrong or not answered:
            raise harness.BenchError("echo, %s: %d of %d answers were wrong" % (name, wrong, answered))
        found[name] = (used[2] - used[1]) / answered * 1e9
    return {"echo 64 B, server CPU": found}


# -- the run ---------------------------------------------------------------------------------------------------------


def child(command, cpu):
    """Run a child to its end and return the JSON it printed."""
    process = harness.spawn(command, cpu, stdout=subprocess.PIPE)
    try:
        output = process.communicate(timeout=120)[0]
    except subprocess.TimeoutExpired:
        raise harness.BenchError("did not end: %s" % " ".join(command)) from None
    finally:
        harness.end(process)
    if process.returncode:
        raise harness.BenchError("failed: %s" % " ".join(command))
    return json.loads(output.decode())


def run(options):
    """{what: {subject: [ns of each round]}}"""
    results = {}
    for number in range(options.rounds):
        for task in options.task:
            if task == "echo":
                found = measure_echo(options)
            else:
                found = child([options.python, os.path.abspath(__file__), "--run", task, "--root", options.root],
                              harness.SERVER_CPU)
            for what, subjects in found.items():
                for subject, value in subjects.items():
                    results.setdefault(what, {}).setdefault(subject, []).append(value)
        print("round %d of %d" % (number + 1, options.rounds), file=sys.stderr, flush=True)
    return results


def show(results):
    rows = []
    for what, subjects in results.items():
        ours = statistics.median(subjects["icey"])
        for subject, values in subjects.items():
            middle = statistics.median(values)
            ratio = "" if subject == "icey" else "%.2f" % (ours / middle)
            numbers = ["%.0f" % one for one in (middle, min(values), max(values))]
            rows.append([what, subject] + numbers + ["%.2f" % (1e3 / middle), ratio])
    harness.print_table(["what", "subject", "ns each", "least", "most", "M/s", "icey is x"], rows)


def judge(medians):
    """[what, icey in times of its rival, goal, whether that is met] of each goal that was measured; printed too."""
    judged = []
    for what, (rival, goal) in GOALS.items():
        if what in medians:
            value = medians[what]["icey"] / medians[what][rival]
            judged.append([what, value, goal, value <= goal])
            met = "met" if value <= goal else "not met"
            print("%-44s %5.2f, goal at most %.2f: %s" % ("%s, x %s" % (what, rival), value, goal, met))
    return judged


def main():
    tasks = list(TASKS) + ["echo"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--task", action="append", choices=tasks, help="only this one; may be repeated")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds of each echo measurement (2)")
    parser.add_argument("--python", default=sys.executable, help="interpreter of what is measured")
    parser.add_argument("--root", default=harness.ROOT, type=os.path.abspath, help="the checkout to measure (this one)")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    for name in ("--run", "--echo", "--client", "--seconds"):  # what the children are started with
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return print(json.dumps(TASKS[options.run](harness.serve_from(options.root))))
    if options.echo:
        return ECHOES[options.echo](options.root)
    if options.client:
        return echo_client(int(options.client), float(options.seconds))
    options.task = options.task or tasks
    harness.die_on_sigterm()
    try:
        results = run(options)
    except harness.BenchError as error:
        print("loop: %s" % error, file=sys.stderr)
        return 2
    print("\n%s; %d rounds" % (harness.machine(options.python), options.rounds))
    show(results)
    medians = {}
    for what, subjects in results.items():
        medians[what] = {name: statistics.median(values) for name, values in subjects.items()}
    goals = judge(medians)
    harness.report({"machine": harness.machine(options.python), "ns": medians, "goals": goals}, options.json,
                   {"rounds": results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
