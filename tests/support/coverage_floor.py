"""Fails when a module of icey/ is covered too little: python coverage_floor.py coverage.json [--floor 93].

The total has its own bar (fail_under in pyproject.toml); this one keeps a good total from hiding a bad module.
"""
import argparse
import glob
import json
import os
import sys


def below(report, floor):
    """(percent, module) of every module under `floor`, worst first. Branches count like lines."""
    found = []
    for name, data in report["files"].items():
        percent = data["summary"]["percent_covered"]
        if percent < floor:
            found.append((percent, name.replace(os.sep, "/")))
    return sorted(found)


def unmeasured(report, package="icey"):
    """The modules of `package` (below the current folder) that the report does not know."""
    known = {name.replace(os.sep, "/") for name in report["files"]}
    there = glob.glob(os.path.join(package, "**", "*.py"), recursive=True)
    return sorted({name.replace(os.sep, "/") for name in there} - known)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="fail when a module is covered too little")
    parser.add_argument("report", help="what `coverage json` wrote")
    parser.add_argument("--floor", type=float, default=93.0, help="percent (default 93)")
    options = parser.parse_args(arguments)
    with open(options.report, encoding="utf-8") as file:
        report = json.load(file)
    low, unknown = below(report, options.floor), unmeasured(report)
    for percent, name in low:
        print("%5.1f %%  %s is under %g %%" % (percent, name, options.floor))
    for name in unknown:
        print("        %s was never measured" % name)
    if not low and not unknown:
        print("coverage floor: every module has at least %g %%" % options.floor)
    return 1 if low or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
