"""python3 -m icey COMMAND: what icey offers on the command line.

A command is a module with `main(argv, prog) -> exit status`; it is imported when it is called for, so that none pays
for another. Without a command the list of them is printed, a line each, and the exit status is 0, as pip does.
`help COMMAND` is `COMMAND --help`. Exit status 2: wrong arguments, 130: Ctrl-C came before the command could see to it.
"""

from __future__ import annotations

import os
import sys

from . import __version__

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, Optional, Sequence, Tuple

    from .tools.bench import command as bench  # noqa: F401
    from .tools.doctor import command as doctor  # noqa: F401
    from .tools.get import command as get  # noqa: F401
    from .tools.inspect import command as inspect  # noqa: F401
    from .tools.serve import command as serve  # noqa: F401
    from .tools.vendor import command as vendor  # noqa: F401
    from .tools.ws import command as ws  # noqa: F401
    from .tools.wsgi import command as wsgi  # noqa: F401


# name: (the module below this package, what it does in a few words)
COMMANDS: Dict[str, Tuple[str, str]] = {
    "serve": ("tools.serve.command", "serve a folder over HTTP"),
    "wsgi": ("tools.wsgi.command", "serve a WSGI application"),
    "get": ("tools.get.command", "fetch a URL"),
    "ws": ("tools.ws.command", "talk to a WebSocket, or be one that echoes"),
    "bench": ("tools.bench.command", "measure a server"),
    "inspect": ("tools.inspect.command", "see what a loop does, in a terminal"),
    "doctor": ("tools.doctor.command", "see what works on this machine"),
    "vendor": ("tools.vendor.command", "copy icey, or a part of it, and check copies"),
}
# Of a copy that has a part of icey: the command that adds one of ours, %s in its place: those that are not here.
LEFT_OUT: Dict[str, str] = {}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command that `argv` (without the program's name; None: sys.argv) asks for; returns the exit status.

    Raises SystemExit where argparse does: after --help and for wrong arguments of a command.
    """
    try:
        return _called(argv)
    finally:
        _settle()


def _called(argv: Optional[Sequence[str]]) -> int:
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["help"]
    prog = _prog()
    if name in ("-V", "--version"):
        return _print(prog, "icey " + __version__)
    if name == "help" and rest:
        if len(rest) > 1:
            return _wrong(prog, "help tells of one command at a time, not of " + ", ".join(map(repr, rest)))
        name, rest = rest[0], ["--help"]
    if name in ("-h", "--help", "help"):
        return _print(prog, _help(prog))
    if name not in COMMANDS:
        wrong = "no command called %r" % name
        for adding, names in LEFT_OUT.items():
            if name in names.split():
                wrong += " in this copy of icey: to add it, with a whole icey: %s" % (adding % name)
        return _wrong(prog, "%s. There are: %s (%s --help tells more)" % (wrong, ", ".join(COMMANDS), prog))
    try:
        command = __import__(COMMANDS[name][0], globals(), None, ("main",), 1)
        status: int = command.main(rest, "%s %s" % (prog, name))
    except KeyboardInterrupt:
        return 130
    return status


def _print(prog: str, text: str) -> int:
    """Writes `text` to stdout; returns the exit status."""
    try:
        print(text, flush=True)
    except UnicodeEncodeError:  # the program's name
        from .tools.cli.console import print_out

        return print_out(prog, text + "\n")
    except OSError as exc:
        from .tools.cli.console import not_printed

        return not_printed(prog, sys.stdout, exc)
    return 0


def _wrong(prog: str, text: str) -> int:
    """Says what is wrong with the arguments; returns the exit status."""
    from .tools.cli.console import Console

    Console.of_process(prog).trouble(text)
    return 2


def _settle() -> None:
    """What stdout and stderr could not take is dropped: Python would try again at its end, and make 120 of the status."""
    for file in (sys.stdout, sys.stderr):
        try:
            if file is not None:
                file.flush()
        except (OSError, ValueError):
            from .tools.cli.console import abandon

            abandon(file)


def _prog() -> str:
    """How the user called us."""
    name = os.path.basename(sys.argv[0])
    return name if name and name != "__main__.py" else "python3 -m " + (__package__ or "icey")


def _help(prog: str) -> str:
    lines = ["usage: %s COMMAND [arguments]" % prog, "", "A network runtime in pure standard-library Python.", "", "commands:"]
    lines += ["  %-10s %s" % (name, does) for name, (_, does) in COMMANDS.items()]
    lines += ["", "  %s help COMMAND    what a command takes" % prog, "  %s --version       the version" % prog]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
