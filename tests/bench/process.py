"""A child process's input and output: what a GB through a pipe costs, icey's Process beside asyncio's subprocess.

    python tests/bench/process.py                       # three rounds, about a minute
    python tests/bench/process.py --rounds 1 --task stdout --subject asyncio
    python tests/bench/process.py --pipe 65536          # icey's pipes as large as that: how PIPE_SIZE was chosen
    python tests/bench/process.py --check               # exit 1 where a goal is not met

Tasks:

    stdout  `cat` of a file of 1 GB, whose output is read and counted
    stdin   `cat > /dev/null`, which is sent 1 GB in pieces of 64 KiB, as many as its water marks let
    start   `true`, a hundred of them, one after the other: from the start to the end known
    pause   `cat` of the same file with a reader that pauses at the first piece, a second long: how much memory grows, in KiB

Subjects: `icey`, and `asyncio` by SubprocessProtocol, in a process each that is started fresh in each round. The measure is
the processor time of that process, in milliseconds a GB or a start, and beside it the time that passed. Goals, printed as met
or not met: stdout and stdin at least as fast as asyncio, by both measures; memory that does not grow (less than 2 MiB). See
harness.py for the rules all benchmarks share. Needs Linux. Not here: sockets (transport.py).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import harness

TASKS = ("stdout", "stdin", "start", "pause")
SUBJECTS = ("icey", "asyncio")
SIZE = 1 << 30
PIECE = bytes(65536)
STARTS = 100
MOST_GROWTH = 2048  # KiB
SLACK = 1.05  # of a goal: two runs of the same differ by that

# -- what is measured, a child ---------------------------------------------------------------------------------------


def by_icey(task, path, root, pipe):
    icey = harness.serve_from(root)
    if pipe:
        from icey.base import process as module

        module.PIPE_SIZE = pipe
    loop = icey.Loop(debug=False)
    came = [0]
    if task == "start":
        def again(*_):
            came[0] += 1
            if came[0] <= STARTS:
                icey.Process(loop, ["true"], stdout="null").on_close += again

        again()
    elif task == "stdin":
        process = icey.Process(loop, ["cat"], stdin="pipe", stdout="null")

        def more(pipe):
            while came[0] < SIZE:
                came[0] += len(PIECE)
                if not pipe.send(PIECE):
                    return
            pipe.shutdown()

        process.stdin.on_drain += more
        more(process.stdin)
    else:
        process = icey.Process(loop, ["cat", path])

        def count(pipe, view):
            came[0] += len(view)
            if task == "pause":
                pipe.pause()

        process.stdout.on_recv += count
        if task == "pause":
            loop.call_later(1, process.abort)
    loop.run()
    loop.close()
    return came[0]


def by_asyncio(task, path, root, pipe):
    import asyncio

    came = [0]

    class Protocol(asyncio.SubprocessProtocol):
        def __init__(self, over):
            self.over = over
            self.resume_writing = self.more

        def connection_made(self, transport):
            self.transport = transport
            if task == "stdin":
                self.input = transport.get_pipe_transport(0)
                self.full = False
                self.more()

        def pause_writing(self):
            self.full = True

        def more(self):
            self.full = False
            while came[0] < SIZE:
                came[0] += len(PIECE)
                self.input.write(PIECE)
                if self.full:
                    return
            self.input.write_eof()

        def pipe_data_received(self, fd, data):
            came[0] += len(data)
            if task == "pause":
                self.transport.get_pipe_transport(1).pause_reading()

        def connection_lost(self, exc):
            if not self.over.done():
                self.over.set_result(None)

        def process_exited(self):
            if task == "pause":  # its output does not end
                self.connection_lost(None)

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(STARTS if task == "start" else 1):
            over = loop.create_future()
            null = subprocess.DEVNULL
            transport, _ = await loop.subprocess_exec(
                lambda over=over: Protocol(over), *(["true"] if task == "start" else ["cat", path][:1 + (task != "stdin")]),
                stdin=subprocess.PIPE if task == "stdin" else null, stderr=None,
                stdout=null if task in ("stdin", "start") else subprocess.PIPE)
            if task == "pause":
                loop.call_later(1, transport.kill)
            await over
            if task == "pause":
                transport.close()

    asyncio.run(main())
    return came[0]


def measure(subject, task, path, root, pipe):
    """In the child: runs it once; what it took."""
    run = {"icey": by_icey, "asyncio": by_asyncio}[subject]
    run("start" if task == "start" else "stdout", os.devnull, root, pipe)  # what is imported, and compiled, once
    before, cpu, start = harness.memory_kib(os.getpid())["rss"], time.process_time(), time.perf_counter()
    came = run(task, path, root, pipe)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    if task in ("stdin", "stdout") and came < SIZE:
        raise harness.BenchError("%d bytes of %d came" % (came, SIZE))
    per = STARTS if task == "start" else 1
    return {"cpu": 1000 * cpu / per, "passed": 1000 * seconds / per,
            "grown": harness.memory_kib(os.getpid())["rss"] - before}


# -- the rounds ------------------------------------------------------------------------------------------------------


def run(options, path):
    results = {}
    for number in range(options.rounds):
        for task in options.task:
            for subject in options.subject:
                command = [sys.executable, os.path.abspath(__file__), "--measure", subject, "--task", task, "--path", path,
                           "--root", options.root, "--pipe", str(options.pipe)]
                results.setdefault(task, {}).setdefault(subject, []).append(harness.told_by_client(command, 300))
        print("round %d of %d" % (number + 1, options.rounds), file=sys.stderr)
    return {task: {subject: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
                   for subject, rounds in subjects.items()} for task, subjects in results.items()}


def verdicts(summary):
    """(line, met) of each goal."""
    for task, subjects in summary.items():
        icey, other = subjects["icey"], subjects.get("asyncio")
        if task == "pause":
            met = icey["grown"] < MOST_GROWTH
            yield "pause: memory grows by %d KiB, the goal is less than %d" % (icey["grown"], MOST_GROWTH), met
        elif other is not None and task != "start":
            for key in "cpu", "passed":
                ratio = icey[key] / other[key]
                yield "%s: %s, %.2f x asyncio's, the goal is at most 1" % (task, key, ratio), ratio <= SLACK


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--task", action="append", choices=TASKS, help="only this one; may be repeated")
    parser.add_argument("--subject", action="append", choices=SUBJECTS, help="only this one; may be repeated")
    parser.add_argument("--root", default=harness.ROOT, help="the checkout of icey to measure")
    parser.add_argument("--pipe", type=int, default=0, help="bytes that icey's pipes are asked to hold")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is not met")
    for name in ("--measure", "--path"):  # what the children are started with
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.task[0], options.path, options.root, options.pipe)))
        return 0
    options.task, options.subject = options.task or list(TASKS), options.subject or list(SUBJECTS)
    harness.die_on_sigterm()
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(SIZE)
        while file.read(1 << 20):  # from memory from now on
            pass
        try:
            summary = run(options, file.name)
        except harness.BenchError as error:
            print("process: %s" % error, file=sys.stderr)
            return 2
    print("\n%s; %d rounds" % (harness.machine(), options.rounds))
    rows = [[task, subject] + ["%.1f" % one["cpu"], "%.1f" % one["passed"], "%d" % one["grown"]]
            for task, subjects in summary.items() for subject, one in subjects.items()]
    harness.print_table(["task", "subject", "ms of processor", "ms passed", "KiB grown"], rows)
    harness.report({"machine": harness.machine(), "summary": summary}, options.json)
    missed = False
    for line, met in verdicts(summary):
        print("%s: %s" % (line, "met" if met else "not met"))
        missed = missed or not met
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
