"""python3 -m icey doctor: what this Python and this system have for icey, and whether icey works here.

Rules
- Exit status 0: all that icey needs works; 1: something that it needs does not, or the report could not be written; 2: wrong
  arguments; 130: Ctrl-C.
- The table is plain text of at most 79 columns; colours only on a terminal, and not where NO_COLOR is set.

Not here: what is found (checks.py, trials.py).
"""

from __future__ import annotations

import os
import sys

from ..cli.console import Formatter, Parser, print_out, printable
from .finding import FAILED, LESS, OK, SKIPPED

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Sequence

WIDTH = 79
NAME, STATE = 13, 9  # columns
TITLES = {
    "copy": "this copy", "debug": "debug mode", "ipv4": "IPv4", "ipv6": "IPv6", "dual_stack": "dual stack",
    "unix": "Unix sockets", "reuse_port": "SO_REUSEPORT", "tls13": "TLS 1.3", "idna": "IDNA", "tcp": "TCP", "udp": "UDP",
    "tls": "TLS", "http": "HTTP", "websocket": "WebSocket",
}
MARKS = {OK: "ok", LESS: "less", FAILED: "FAILED", SKIPPED: "skipped"}
COLOURS = {LESS: "33", FAILED: "1;31"}  # yellow, bold red

EPILOG = """\
ok       it is there, or it works
less     icey works without it; the line says what is lost
FAILED   icey needs it
skipped  not looked at; the line says why

Status 0: all that icey needs works; 1: something does not; 2: wrong arguments.
With --json: ok, version, package, path, python, checks, trial; a check or
trial is {state, value, text, do}, a trial has its seconds as well.
"""


def main(argv: Sequence[str], prog: str = "icey doctor") -> int:
    """Writes the report; returns the exit status. SystemExit after --help and for a wrong flag."""
    parser = Parser(prog=prog, usage="%(prog)s [--json]", epilog=EPILOG, formatter_class=Formatter,
                    description="Look at this Python and this system, and try icey on loopback.")
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")
    options = parser.parse_args(argv)

    from . import report

    found = report()
    if options.json:
        import json

        text = json.dumps(found, indent=1) + "\n"
    else:
        text = table(found, _colourful())
    return print_out(prog, text) or (0 if found["ok"] else 1)


def table(found: Dict[str, Any], colours: bool = False) -> str:
    """The report as a table for a person."""
    python = found["python"]
    lines = _wrapped("icey %s in %s" % (found["version"], printable(found["path"])), "  ")
    lines += _wrapped("%s %s (%s) on %s%s%s%s" % (
        python["implementation"], python["version"], printable(python["executable"]) or "no executable", python["platform"],
        " " + python["machine"] if python["machine"] else "", ", -O" if python["optimized"] else "",
        ", not the main thread" if python["thread"] != "main" else ""), "  ")
    for title, rows in (("what is there", found["checks"]), ("what works on loopback", found["trial"])):
        lines += ["", title]
        for name, row in rows.items():
            lines += _row(TITLES.get(name, name), row, colours)
    lines += [""] + _wrapped(_verdict(found), "")
    return "\n".join(lines) + "\n"


def _row(title: str, row: Dict[str, Any], colours: bool) -> List[str]:
    indent = " " * (2 + NAME + STATE)
    mark = MARKS[row["state"]]
    lines = _wrapped(printable(row["text"]), indent, "  " + title.ljust(NAME) + mark.ljust(STATE))
    if row["do"]:
        lines += _wrapped(printable(row["do"]), indent + "   ", indent + "-> ")
    if colours and row["state"] in COLOURS:
        at = 2 + NAME
        lines[0] = "%s\033[%sm%s\033[0m%s" % (lines[0][:at], COLOURS[row["state"]], mark, lines[0][at + len(mark):])
    return lines


def _verdict(found: Dict[str, Any]) -> str:
    rows = dict(found["checks"], **found["trial"])
    failed = _titles(rows, FAILED)
    if failed:
        return "icey does not work here as it should: %s." % ", ".join(failed)
    less = _titles(rows, LESS)
    return "All that icey needs works here%s." % ("; there is less of: " + ", ".join(less) if less else "")


def _titles(rows: Dict[str, Any], state: str) -> List[str]:
    return [TITLES.get(name) or name for name, row in rows.items() if row["state"] == state]


def _wrapped(text: str, indent: str, first: str = "") -> List[str]:
    """`text` in lines of WIDTH, behind `first` and then `indent`."""
    import textwrap

    lines = textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)
    return lines or [first.rstrip()]


def _colourful() -> bool:
    """Whether stdout is a terminal that shows colours, and nobody has asked for none (no-color.org)."""
    try:
        return (sys.stdout.isatty() and os.name != "nt" and not os.environ.get("NO_COLOR")
                and os.environ.get("TERM", "dumb") != "dumb")
    except (AttributeError, ValueError):  # None, or closed
        return False
