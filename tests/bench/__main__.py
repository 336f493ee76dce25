"""python tests/bench [SCRIPT [OPTION...]]: runs one of the benchmarks beside this file, or says which there are."""

import ast
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NO_SCRIPTS = ("__main__", "harness", "traffic", "http_load", "http_servers", "transport_servers", "websocket_servers")


def first_line(name):
    """What a script says it is for."""
    with open(os.path.join(HERE, name + ".py"), encoding="utf-8") as source:
        return (ast.get_docstring(ast.parse(source.read())) or "").partition("\n")[0]


def main(argv):
    names = sorted(entry[:-3] for entry in os.listdir(HERE) if entry.endswith(".py"))
    names = [name for name in names if name not in NO_SCRIPTS]
    if not argv or argv[0].startswith("-") or argv[0] not in names:
        print("python tests/bench SCRIPT [OPTION...]; see README.md there\n")
        for name in names:
            print("    %-14s %s" % (name, first_line(name)))
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    os.execv(sys.executable, [sys.executable, os.path.join(HERE, argv[0] + ".py")] + argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
