"""python3 -m icey COMMAND: what icey offers on the command line.

A command is a module with `main(argv, prog) -> exit status`; it is imported when it is called for, so that none pays
for another. Exit status 2: wrong arguments, 130: Ctrl-C came before the command could see to it.
"""

from __future__ import annotations

import os
import sys

from . import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Sequence, Tuple

    from .tools import bench as bench
    from .tools import get as get
    from .tools import serve as serve
    from .tools import ws as ws

# name: (the module below this package, what it does in a few words)
COMMANDS: Dict[str, Tuple[str, str]] = {
    "serve": ("tools.serve", "serve a folder over HTTP"),
    "get": ("tools.get", "fetch a URL"),
    "ws": ("tools.ws", "talk to a WebSocket, or be one that echoes"),
    "bench": ("tools.bench", "measure a server"),
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command that `argv` (without the program's name; None: sys.argv) asks for; returns the exit status.

    Raises SystemExit where argparse does: after --help and for wrong arguments of a command.
    """
    name, *rest = list(sys.argv[1:] if argv is None else argv) or [""]
    prog = _prog()
    if name in ("-V", "--version"):
        print("icey " + __version__)
        return 0
    if name in ("-h", "--help", "help"):
        print(_help(prog))
        return 0
    if name not in COMMANDS:
        wrong = "no command called %r" % name if name else "which command?"
        sys.stderr.write("%s: %s There are: %s (%s --help tells more)\n"
                         % (prog, wrong + ("." if name else ""), ", ".join(COMMANDS), prog))
        return 2
    try:
        command = __import__(COMMANDS[name][0], globals(), None, ("main",), 1)
        status: int = command.main(rest, "%s %s" % (prog, name))
    except KeyboardInterrupt:
        return 130
    return status


def _prog() -> str:
    """How the user called us."""
    name = os.path.basename(sys.argv[0])
    return name if name and name != "__main__.py" else "python3 -m " + (__package__ or "icey")


def _help(prog: str) -> str:
    lines = ["usage: %s COMMAND [arguments]" % prog, "", "A network runtime in pure standard-library Python.", "", "commands:"]
    lines += ["  %-10s %s" % (name, does) for name, (_, does) in COMMANDS.items()]
    lines += ["", "  %s COMMAND --help    what a command takes" % prog, "  %s --version         the version" % prog]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
