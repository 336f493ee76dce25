"""The table of speed in the README: icey beside its peers, by the other benchmarks of this folder, in one run.

    tox -e bench -- table --write          # all parts, about half an hour; the README's table is written anew
    python tests/bench/table.py            # only printed, with what peers are installed
    python tests/bench/table.py --quick    # one round of each part: a look, not a result
    python tests/bench/table.py --part http --part bodies

A cell is the processor time of the process that is measured, in microseconds an operation, medians of the rounds. All cells
of a row come from one run, in turn, and only those can be compared. What is missing on the machine has an empty cell, and the
line below the table says what was there. Each part is a script with a --json option; one that fails is told, and its rows are
left out.

Not here: how anything is measured (the scripts), and the goals (they print them).
"""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

import harness
import http_servers

BEGIN, END = "<!-- speed: made by tests/bench/table.py -->\n", "<!-- /speed -->\n"
README = os.path.join(harness.ROOT, "README.md")
COLUMNS = ("icey", "floor", "Go", "Node", "others")
HEAD = "| microseconds of processor time | icey | raw Python | Go | Node | others |\n|---|--:|--:|--:|--:|---|\n"


class Part:
    """A script, the arguments of a quick run, and its rows: (label, key in its summary, {column: subject}).

    `others` is a list of (name, subject).
    """

    def __init__(self, script, arguments, quick, rows):
        self.script, self.arguments, self.quick, self.rows = script, arguments, quick, rows


def scenarios(*names):
    return [word for name in names for word in ("--scenario", name)]


HTTP = {"icey": "icey", "floor": "raw", "Go": "go", "Node": "node", "others": [
    ("uvicorn (C)", "uvicorn"), ("waitress", "waitress")]}
TCP = {"icey": "icey", "others": [("uvloop (C)", "uvloop"), ("asyncio", "asyncio"), ("trio", "trio")]}
WEBSOCKET = {"icey": "icey", "floor": "raw", "Node": "node", "others": [
    ("websockets (C)", "websockets"), ("aiohttp (C)", "aiohttp"), ("websockets", "websockets-pure"), ("wsproto", "wsproto")]}
FILES = {"icey": "icey", "Go": "go", "others": [("nginx", "nginx")]}
CLIENT = {"icey": "Client", "floor": "raw", "others": [
    ("http.client", "http.client"), ("aiohttp (C)", "aiohttp"), ("httpx", "httpx")]}

PARTS = {
    "http": Part("http_hello", scenarios(
        "bare", "browser", "three", "headers", "pipelined", "stream", "newconn"), ["--rounds", "1", "--duration", "1"], [
        ("GET, nothing but Host", "bare", HTTP),
        ("GET, 14 headers of a browser, 1 new each time", "browser", HTTP),
        ("the same, 3 new each time", "three", HTTP),
        ("GET, 3 headers more in the answer", "headers", HTTP),
        ("GET, pipelined 16 deep", "pipelined", HTTP),
        ("GET, answer in 2 chunks", "stream", HTTP),
        ("GET, a connection for each", "newconn", HTTP),
    ]),
    "bodies": Part("bodies", [], ["--rounds", "1", "--duration", "1"], [
        ("POST 4 KiB", "post4k", HTTP),
        ("POST 64 KiB", "post64k", HTTP),
        ("POST 1 MiB", "post1m", HTTP),
        ("POST 64 KiB in 16 chunks", "chunked", HTTP),
    ]),
    "static": Part("static", scenarios("small", "medium", "current"), ["--rounds", "1"], [
        ("file of 1 KiB (`serve`)", "small", FILES),
        ("file of 64 KiB", "medium", FILES),
        ("the same not modified: 304", "current", FILES),
    ]),
    "websocket": Part("websocket", ["--task", "125", "--task", "64k"], ["--rounds", "1"], [
        ("WebSocket echo, 125 bytes", "125", WEBSOCKET),
        ("WebSocket echo, 64 KiB", "64k", WEBSOCKET),
    ]),
    "transport": Part("transport", ["--task", "many", "--task", "sink"], ["--rounds", "1"], [
        ("TCP echo, 64 bytes", "tcp many", TCP),
        ("TLS echo, 64 bytes", "tls many", TCP),
        ("TCP, a MB received", "tcp sink", TCP),
    ]),
    "client": Part("client", [], ["--rounds", "1"], [
        ("HTTP client, GET one at a time", "one", CLIENT),
        ("HTTP client, GET 32 at a time", "many", dict(CLIENT, others=CLIENT["others"][1:])),
    ]),
}


def run(part, options, folder):
    """The summary of a part, None where it failed."""
    path = os.path.join(folder, part.script + ".json")
    command = [sys.executable, os.path.join(harness.HERE, part.script + ".py"), "--json", path]
    done = subprocess.run(command + part.arguments + part.quick * options.quick, stdout=subprocess.DEVNULL)
    if not os.path.exists(path):
        print("table: %s failed (exit status %d): its rows are left out" % (part.script, done.returncode), file=sys.stderr)
        return None
    with open(path) as file:
        return json.load(file)["summary"]


def cost(subjects, subject):
    """The microseconds of a subject as text, None where there are none."""
    found = subjects.get(subject)
    if found is None:
        return None
    value = found["cpu_us"]
    value = value["median"] if isinstance(value, dict) else value
    return "%.0f" % value if value >= 100 else "%.1f" % value


def row(label, subjects, columns):
    """A line of the table."""
    cells = []
    for column in COLUMNS[:-1]:
        text = cost(subjects, columns.get(column)) or ""
        cells.append("**%s**" % text if column == "icey" and text else text)
    others = [(name, cost(subjects, subject)) for name, subject in columns.get("others", ())]
    cells.append(", ".join("%s %s" % (name, text) for name, text in others if text))
    return "| %s | %s |\n" % (label, " | ".join(cells))


def processor():
    """The name of the processor, as far as the system tells."""
    try:
        with open("/proc/cpuinfo") as file:
            return re.search(r"^model name\s*: (.*)$", file.read(), re.M).group(1)
    except (OSError, AttributeError):
        return platform.processor() or platform.machine()


def versions():
    """What took part, as far as it is found here."""
    found = [http_servers.version(peer) for peer in ("go", "node") if http_servers.missing(peer) is None]
    if shutil.which("nginx"):
        told = subprocess.run(["nginx", "-v"], stderr=subprocess.PIPE, universal_newlines=True).stderr
        found.append("nginx " + told.strip().rpartition("/")[2].split()[0])
    for name in ("uvicorn", "waitress", "uvloop", "httptools", "websockets", "aiohttp", "wsproto", "httpx", "trio"):
        if importlib.util.find_spec(name) is not None:
            found.append("%s %s" % (name, version_of(name)))
    return found


def version_of(name):
    try:
        from importlib.metadata import version
    except ImportError:  # Python 3.7's
        return "?"
    return version(name)


def made(options):
    """The table, as text."""
    text, lacking = HEAD, []
    with tempfile.TemporaryDirectory() as folder:
        for name, part in PARTS.items():
            if options.part and name not in options.part:
                continue
            summary = run(part, options, folder)
            for label, key, columns in part.rows:
                if summary is not None and key in summary:
                    text += row(label, summary[key], columns)
                else:
                    lacking.append(label)
    if text == HEAD:
        raise harness.BenchError("no part has a result")
    text += "\n%s, %s; %s. %s" % (
        processor(), harness.machine(), datetime.date.today().isoformat(), ", ".join(versions()))
    text += "%s; server and load on a core each, medians of %s.\n" % (
        "; not measured: " + ", ".join(lacking) if lacking else "", "one round" if options.quick else "three rounds")
    return text


def write(text):
    """Puts the table into the README, between its marks."""
    with open(README, encoding="utf-8", newline="") as file:
        before, begin, rest = file.read().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise harness.BenchError("README.md has not the marks %s and %s" % (BEGIN.strip(), END.strip()))
    with open(README, "w", encoding="utf-8", newline="") as file:
        file.write(before + begin + text + end + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one round of each: a look, not a result")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    if options.write and options.part:
        parser.error("--write wants all parts")
    harness.die_on_sigterm()
    try:
        text = made(options)
        print(text, end="")
        if options.write:
            write(text)
    except harness.BenchError as error:
        print("table: %s" % error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
