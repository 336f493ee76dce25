"""The Autobahn test suite itself: a Python 2.7 to run it, an environment with it, and what its reports say.

It exists for Python 2.7 alone, so it is installed apart: `wstest(folder)` finds a Python 2.7 (on the PATH, or pyenv's), makes
an environment in `folder` where there is none yet, and returns the path of its program.
"""
import glob
import json
import os
import shutil
import subprocess
import sys

REQUIREMENT = "autobahntestsuite==25.10.1"

COUNTS = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90, "13": 126}
QUICK = ["1", "2", "3", "4", "5", "6", "7", "10"]
ALL = list(COUNTS)

INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}  # by design: anything may be answered, nothing is wrong


class Missing(Exception):
    """There is no Python 2.7 here."""


def python27():
    """The path of a Python 2.7; Missing without one."""
    root = os.environ.get("PYENV_ROOT") or os.path.join(os.path.expanduser("~"), ".pyenv")
    names = ["python2.7", "python2", *sorted(glob.glob(os.path.join(root, "versions", "2.7.*", "bin", "python")))]
    for name in names:
        path = shutil.which(name)
        if path is not None:
            asked = subprocess.run([path, "-c", "import sys; print(sys.version_info[:2] == (2, 7))"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            if asked.stdout.strip() == b"True":  # a shim of pyenv may be for a version that is not selected
                return path
    raise Missing("the Autobahn suite runs under Python 2.7 only, and there is none on the PATH, nor among pyenv's versions")


def wstest(folder):
    """The suite's program, in an environment in `folder`, which is made if need be."""
    program = os.path.join(folder, "env", "bin", "wstest")
    if not os.path.exists(program):
        python = python27()
        tool = os.path.join(folder, "tool")
        print("making an environment with %s" % REQUIREMENT, flush=True)
        os.makedirs(folder, exist_ok=True)
        # Not into that Python itself, which is somebody's.
        _call(python, "-m", "pip", "install", "-q", "--target", tool, "virtualenv<20.22")
        _call(python, "-m", "virtualenv", "-q", "--no-download", os.path.join(folder, "env"), PYTHONPATH=tool)
        _call(os.path.join(folder, "env", "bin", "pip"), "install", "-q", REQUIREMENT)
    return program


def _call(*command, **environ):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYENV_", "COVERAGE_"))}
    done = subprocess.run(command, env=dict(env, **environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.stdout.write(done.stdout.decode("utf-8", "replace"))
        raise SystemExit("failed: %s" % " ".join(command))


def report(folder, agent="icey"):
    """{case: (behaviour, behaviour while closing)} of what the suite wrote to `folder`."""
    try:
        with open(os.path.join(folder, "index.json"), encoding="utf-8") as file:
            cases = json.load(file).get(agent, {})
    except OSError:
        return {}
    return {case: (found["behavior"], found["behaviorClose"]) for case, found in cases.items()}


def wanted(parts):
    """{part: number of cases} for parts like "12" or "12.3": of the latter it is not known, None."""
    return {part: COUNTS.get(part) for part in parts}


def verdict(found, parts):
    """(lines of a table, whether it is a full score) for `found`, as `report` has it."""
    lines, fine = [], True
    for part, count in wanted(parts).items():
        cases = {case: both for case, both in found.items() if case.startswith(part + ".")}
        tally = {}
        for case, (behaviour, closing) in cases.items():
            good = "INFORMATIONAL" if case in INFORMATIONAL else "OK"
            kind = behaviour if behaviour != good or closing == good else "close " + closing
            tally[kind] = tally.get(kind, 0) + 1
            if kind != good:
                lines.append("       %-8s %s, while closing %s" % (case, behaviour, closing))
                fine = False
        complete = len(cases) == count if count is not None else bool(cases)
        fine = fine and complete
        lines.append("%5s: %3d cases%s: %s" % (part, len(cases), "" if complete else " of %s" % (count or "some"),
                                              ", ".join("%d %s" % (tally[kind], kind) for kind in sorted(tally))))
    return lines, fine
