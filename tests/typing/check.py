"""What type checkers and completion engines find in icey, as users have it: installed, with py.typed.

    python tests/typing/check.py        in an environment with mypy, pyright (and node), jedi and icey; tox -e types makes one

- right.py is clean in mypy --strict and in pyright's strict mode; in wrong.py each line marked WRONG is an error of both, and
  no other line is.
- The examples, which are programs without annotations as users write them, are clean in mypy and in pyright's basic mode.
- Of what icey exports, at least LEAST percent has a type that is known and said, not inferred (pyright --verifytypes).
- jedi completes public names, attributes, events and what a call returns.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MARK = "# WRONG"
LEAST = 95.0  # percent
COMPLETED = [  # code, and what is among the completions at its end
    ("import icey\nicey.", "Loop TCPSocket http hosts tls run Signal"),
    ("import icey\nicey.http.", "Server Client WebSocket Exchange"),
    ("import icey\nicey.hosts.", "AsyncioHost ThreadHost pump"),
    ("import icey\nloop = icey.Loop()\nloop.", "run post call_later on_error"),
    ("import icey\nloop = icey.Loop()\nicey.TCPSocket(loop).", "connect send send_owned on_recv on_close high_water peer"),
    ("import icey\nloop = icey.Loop()\nsock = icey.TCPSocket(loop)\nsock.on_recv.", "attach detach emit"),
    ("import icey\nloop = icey.Loop()\nicey.http.Server(loop, '127.0.0.1', 0).", "on_request start stop address"),
    ("import icey\nloop = icey.Loop()\nicey.http.Server(loop, '127.0.0.1', 0).on_request.", "attach detach"),
    ("import icey\nloop = icey.Loop()\nicey.http.Client(loop).request('GET', 'http://a/').", "on_headers response close"),
    ("import icey\nloop = icey.Loop()\nloop.call_later(1, print).", "stop again on_timeout"),
    ("import icey\ndef got(sock: icey.TCPSocket, view: memoryview):\n    sock.", "send pause"),
    ("import icey\ndef hello(exchange: icey.http.Exchange):\n    exchange.request.", "method path headers"),
    ("import icey\nloop = icey.Loop()\nicey.mqtt.Client(loop, '').", "publish subscribe on_message inflight"),
    ("import icey\nsignal = icey.Signal()\nsignal.", "attach emit"),
]


def run(*command, cwd):
    """stdout of a program that may find faults. This Python's folder comes first: pyright asks the `python` on the PATH."""
    environment = dict(os.environ, PATH=os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
                       PYRIGHT_PYTHON_IGNORE_WARNINGS="1")  # it would say that there is a newer one
    done = subprocess.run([sys.executable, "-m", *command], cwd=cwd, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode not in (0, 1):
        raise SystemExit("%s ended with %d:\n%s%s" % (" ".join(command), done.returncode, done.stdout, done.stderr))
    return done.stdout


def marked(folder):
    """(file, line) of each line that is to be an error."""
    with open(os.path.join(folder, "wrong.py"), encoding="utf-8") as file:
        return {("wrong.py", number) for number, line in enumerate(file, 1) if line.rstrip().endswith(MARK)}


def compared(who, found, folder):
    """What a checker found, (file, line) -> message, against what is marked."""
    wanted = marked(folder)
    assert len(wanted) > 30
    for place in sorted(wanted - set(found)):
        yield "%s does not see what is wrong in %s, line %d" % ((who,) + place)
    for place in sorted(set(found) - wanted):
        yield "%s, %s, line %d: %s" % ((who,) + place + (found[place],))


def mypy(folder):
    errors = re.compile(r"^(\S+?):(\d+): error: (.*)$", re.M)
    common = ["mypy", "--config-file=", "--no-color-output", "--no-error-summary", "--cache-dir=.mypy_cache"]
    text = run(*common, "--strict", "right.py", "wrong.py", cwd=folder)
    yield from compared("mypy", {(name, int(line)): message for name, line, message in errors.findall(text)}, folder)
    examples = sorted(glob.glob(os.path.join(folder, "examples", "*.py")))
    for name, line, message in errors.findall(run(*common, *examples, cwd=folder)):
        yield "mypy, %s, line %s: %s" % (os.path.relpath(os.path.join(folder, name), folder), line, message)


def pyright(folder):
    with open(os.path.join(folder, "pyrightconfig.json"), "w", encoding="ascii") as file:
        json.dump({"include": ["."], "typeCheckingMode": "basic"}, file)
    found = {}
    for one in json.loads(run("pyright", "--outputjson", cwd=folder))["generalDiagnostics"]:
        if one["severity"] == "error":
            place = os.path.relpath(os.path.realpath(one["file"]), os.path.realpath(folder)), one["range"]["start"]["line"] + 1
            found[place] = one["message"]
    yield from compared("pyright", found, folder)


def completeness(folder):
    report = json.loads(run("pyright", "--verifytypes", "icey", "--ignoreexternal", "--outputjson", cwd=folder))
    told = report["typeCompleteness"]
    score = 100 * told["completenessScore"]
    print("   known types: %.1f %% of %d exported symbols" % (score, sum(told["exportedSymbolCounts"].values())))
    if score < LEAST:
        yield "pyright --verifytypes: %.1f %%, and %.0f are to be" % (score, LEAST)
        for symbol in told["symbols"]:
            for one in symbol["diagnostics"]:
                if symbol["isExported"] and one["message"].startswith("Type is missing"):
                    yield "  %s: %s" % (symbol["name"], " ".join(one["message"].split()))
    for one in report["generalDiagnostics"]:
        yield one["message"]


def jedi(folder):
    import jedi

    project = jedi.Project(folder)
    for code, wanted in COMPLETED:
        names = {one.name for one in jedi.Script(code, path=os.path.join(folder, "typed.py"), project=project).complete()}
        for name in wanted.split():
            if name not in names:
                yield "jedi does not complete %s, behind\n%s" % (name, code)


def main():
    faults = 0
    with tempfile.TemporaryDirectory() as folder:  # not the checkout's, where `icey` would be the checkout's
        for name in ("right.py", "wrong.py"):
            shutil.copy(os.path.join(HERE, name), folder)
        shutil.copytree(os.path.join(ROOT, "examples"), os.path.join(folder, "examples"),
                        ignore=shutil.ignore_patterns("__pycache__", "reactor"))  # the lessons are without icey
        for step in (mypy, pyright, completeness, jedi):
            began = time.monotonic()
            print("==", step.__name__, flush=True)
            for fault in step(folder):
                faults += 1
                print("  ", fault)
            print("   %.1f s" % (time.monotonic() - began), flush=True)
    print("%d faults" % faults if faults else "as it should be")
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())
