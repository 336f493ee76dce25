"""What the benchmarks beside this file share: child processes, pinning, clocks, memory, tables. It measures nothing.

Rules, because the machines these run on are shared and noisy:

- Subjects are compared inside one run only, measured in turn, round after round, and medians are what counts.
- The measure is the *server's CPU time*, read from outside by the kernel's per-process clock: it holds when the client
  or a neighbour is the limit, where requests per second do not.
- Server and load generator sit on a core each, in a session of their own whose autogroup is given priority where the
  kernel has autogroups and the user may: otherwise a low-priority job of somebody else still takes half a core.
- A benchmark ends the processes it started, by pid, and no others.

Standard library only, CPython 3.8 or later or PyPy; Linux for the numbers (elsewhere nothing is pinned).
"""

import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SERVER_CPU, CLIENT_CPU = 0, 1
AUTOGROUP_NICE = b"-10"
SLOWING = ("ICEY_DEBUG", "PYTHONDEVMODE", "PYTHONPATH", "PYTHONWARNINGS")  # not handed on to what is measured
CPUCLOCK_SCHED = 2  # linux/posix-timers.h: the exact clock of a process's time on a CPU, user and system


class BenchError(Exception):
    """Something that makes the numbers worthless; its text is one line for the user."""


# -- processes -------------------------------------------------------------------------------------------------------


def _prepare(cpu):
    """Run in the new child: take the core, if any, and priority for the session's autogroup. Either may be refused."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        if cpu is not None:
            allowed = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {allowed[cpu % len(allowed)]})
    with contextlib.suppress(OSError):
        fd = os.open("/proc/self/autogroup", os.O_WRONLY)
        try:
            os.write(fd, AUTOGROUP_NICE)
        finally:
            os.close(fd)


def spawn(argv, cpu, **options):
    """Start `argv` pinned to `cpu` (None: on all), in a session of its own; `options` are Popen's."""
    env = {name: value for name, value in os.environ.items() if name not in SLOWING}
    if hasattr(os, "fork"):
        options.update(start_new_session=True, preexec_fn=lambda: _prepare(cpu))
    return subprocess.Popen(argv, env=env, **options)


def end(process, patience=3):
    """End a process we started: asked first, then told."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Served:
    """A child process that serves: its first line of output is the port. What it writes to stderr is kept and shown.

    with Served([python, "http_servers.py", "raw"]) as server: server.port, server.pid, server.cpu()
    """

    def __init__(self, argv, cpu=SERVER_CPU):
        self.argv = argv
        self._errors = tempfile.TemporaryFile()
        self._process = spawn(argv, cpu, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors)
        self.pid = self._process.pid

    def __enter__(self):
        try:
            line = self._process.stdout.readline()
            if not line.strip().isdigit():
                raise BenchError("the server did not start: %s\n%s" % (" ".join(self.argv), self.complaints()))
            self.port = int(line)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind, value, traceback):
        alive = self._process.poll() is None
        self._stop()
        said = self.complaints()
        self._errors.close()
        if said:
            sys.stderr.write("!!! written by %s:\n%s\n" % (" ".join(self.argv), said))
        if not alive and kind is None:
            raise BenchError("the server died during the measurement: %s" % " ".join(self.argv))

    def _stop(self):
        end(self._process)
        self._process.stdout.close()

    def complaints(self):
        self._errors.seek(0)
        return self._errors.read()[-4000:].decode("utf-8", "replace").strip()

    def cpu(self):
        return cpu_seconds(self.pid)


def die_on_sigterm():
    """Let SIGTERM run the `finally` blocks, so that no child outlives the benchmark."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def serve_from(root):
    """In a serving child: import icey from the checkout `root`, never from the bench's own folder."""
    sys.path[0] = root
    return __import__("icey")


# -- clocks and memory -----------------------------------------------------------------------------------------------


def told_by_client(command, timeout=60):
    """Runs the client `command` on its core; what it printed, JSON."""
    process = spawn(command, CLIENT_CPU, stdout=subprocess.PIPE)
    try:
        output = process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        raise BenchError("the client did not end: %s" % " ".join(command)) from None
    finally:
        end(process)
    if process.returncode:
        raise BenchError("the client failed: %s" % " ".join(command))
    return json.loads(output.decode())


def cpu_seconds(pid):
    """User and system CPU seconds of process `pid` with its threads: by the kernel's exact clock, else in ticks."""
    try:
        return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)
    except (AttributeError, OSError):
        with open("/proc/%d/stat" % pid) as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid):
    """Memory of process `pid` in KiB, {"rss": resident, "pss": proportional, "anonymous": not of a file}."""
    wanted = {"Rss": "rss", "Pss": "pss", "Anonymous": "anonymous"}
    found = {}
    with open("/proc/%d/smaps_rollup" % pid) as rollup:
        for line in rollup:
            name, _, value = line.partition(":")
            if name in wanted:
                found[wanted[name]] = int(value.split()[0])
    return found


# -- results ---------------------------------------------------------------------------------------------------------


def spread(values):
    """Median, least and greatest of some numbers, for JSON."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def beside_icey(results):
    """Medians over the rounds; `x` is icey's CPU time in multiples of the subject's, round by round."""
    summary = {}
    for task, subjects in results.items():
        for subject, rounds in subjects.items():
            entry = {name: statistics.median([one[name] for one in rounds]) for name in ("cpu_us", "rate", "busy")}
            entry["x"] = spread([ours["cpu_us"] / one["cpu_us"] for ours, one in zip(subjects["icey"], rounds)])
            summary.setdefault(task, {})[subject] = entry
    return summary


def show_beside_icey(summary, digits):
    """The table of what `beside_icey` made; digits: of the microseconds."""
    rows = []
    for task, subjects in summary.items():
        for subject, one in subjects.items():
            ratio = ["%.2f" % one["x"][which] for which in ("median", "min", "max")]
            rows.append([task, subject, "%.*f" % (digits, one["cpu_us"]), *ratio, "%.0f/s" % one["rate"],
                         "%.0f%%" % (one["busy"] * 100)])
    print_table(["task", "server", "CPU us", "icey x", "least", "most", "rate", "busy"], rows)


def print_table(head, rows):
    """Print rows of strings in columns: the first column to the left, the rest to the right."""
    widths = [max(len(row[i]) for row in [head] + rows) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths]] + rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def machine(python=None):
    """What the numbers were measured on, as one line."""
    if python and python != sys.executable:
        code = "import platform; print(platform.python_implementation(), platform.python_version())"
        version = subprocess.check_output([python, "-c", code], universal_newlines=True).strip()
    else:
        version = "%s %s" % (platform.python_implementation(), platform.python_version())
    return "%s, %s %s, %d CPUs" % (version, platform.system(), platform.release().split("-")[0], os.cpu_count() or 1)


def rounded(value):
    """The result with its numbers cut to what they can claim: 4 digits."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float("%.4g" % value) if isinstance(value, float) else value


def report(result, path=None, details=None):
    """Print the result as one line of JSON; write it to `path` when given, together with `details` (a dict)."""
    print(json.dumps(rounded(result), sort_keys=True))
    if path:
        with open(path, "w") as out:
            json.dump(rounded(dict(result, **(details or {}))), out, indent=1, sort_keys=True)
            out.write("\n")
