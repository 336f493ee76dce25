"""python3 -m icey vendor: copies icey, or the part that a program needs, into that program; checks, compares and lists copies.

    python3 -m icey vendor addon/_vendor --only tcp http.Server      # makes addon/_vendor/icey
    python3 -m icey vendor --check addon/_vendor/icey

Rules
- A problem is one line on stderr. Exit status 0: done, or nothing differs; 1: it differs, or it cannot be done; 2: wrong
  arguments, an unknown name among them; 130: Ctrl-C, and nothing is half done.
- Nothing is loaded from a copy that is looked at: it is read.

Not here: what a copy is made of (plans.py), writing it (copying.py), comparing it (checking.py).
"""

from __future__ import annotations

import difflib
import json
import os

from ..cli.console import Console, Formatter, Parser, Trouble, print_out, printable, reason, tame
from .checking import NotACopy, check, differences, record_of
from .copying import Refused, copy, whole
from .plans import Library, UnknownName
from .sbom import bill
from .sources import at

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict, List, Optional, Sequence, Tuple

    from .plans import Plan

INTERRUPTED = 130

EPILOG = """\
DEST is the folder that the copy goes into: `vendor addon/_vendor` makes
addon/_vendor/icey, to be imported as addon._vendor.icey. Nothing else in DEST
is touched. The copy takes the place of an older one in one step; a copy that
was changed stays, unless there is --force, and what is no copy stays always.

NAME is a public name (TCPSocket, http.Server, hosts.TkHost), a word of --list
(tcp, server), or a command (serve). A copy has the files that these need, as
they are; its tables of names have what is there, and a name that was left out
is an AttributeError that says how to add it. VENDORED in it has the SHA-256 of
each file: `sha256sum -c VENDORED` reads it. Two runs give the same bytes.

Exit status: 0 done, or nothing differs; 1 it differs, or cannot be done; 2
wrong arguments, or no such name; 130 Ctrl-C: nothing is half done.
"""


def main(argv: Sequence[str], prog: str = "icey vendor") -> int:
    """Does what `argv` says; returns the exit status. SystemExit after --help and for a wrong flag."""
    options = _parser(prog).parse_args(argv)
    console = Console.of_process(prog)
    try:
        status, text, facts = _done(options, console)
    except (UnknownName, _Usage) as exc:
        console.trouble(printable(str(exc.args[0])))
        return 2
    except Trouble as trouble:
        console.trouble(printable(str(trouble)))
        return trouble.status
    except (Refused, NotACopy) as exc:
        console.trouble(printable(str(exc)))
        return 1
    except OSError as exc:
        named = ": %s" % exc.filename if exc.filename and exc.strerror else ""
        console.trouble(printable(reason(exc) + named))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    if options.json:
        text = json.dumps(facts, indent=2, ensure_ascii=True) + "\n"
    return print_out(prog, text) or status


class _Usage(ValueError):
    """Wrong arguments."""


def _done(options: argparse.Namespace, console: Console) -> Tuple[int, str, Dict[str, Any]]:
    """(exit status, what a person reads, what a program reads)."""
    others = [name for name in ("check", "diff", "sbom") if getattr(options, name) is not None]
    others += ["list"] if options.list else []
    if len(others) + (options.dest is not None) > 1:
        raise _Usage("one thing at a time: DEST, --check, --diff, --list or --sbom")
    copying = [flag for flag in ("only", "with_tools", "name", "zip", "force") if getattr(options, flag)]
    if others and copying:
        raise _Usage("--%s goes with DEST, not with --%s" % (copying[0].replace("_", "-"), others[0]))
    if not others and options.dest is None:
        raise _Usage("where to? DEST is the folder that the copy goes into%s" % (
            "; behind --only NAME ... it stands first, or after --" if options.only else ""))
    if options.dest == "":
        raise _Usage("where to? DEST is empty: . is the current folder")
    if options.list:
        return _listed()
    if options.check is not None:
        return _checked(options.check)
    if options.diff is not None:
        return _compared(options.diff)
    if options.sbom is not None:
        try:
            facts = bill(options.sbom)
        except NotACopy:
            raise
        except ValueError as exc:
            raise Trouble(1, str(exc)) from None
        return 0, json.dumps(facts, indent=2) + "\n", facts
    return _copied(options, console)


# -- a copy ------------------------------------------------------------------------------------------------------------

def _copied(options: argparse.Namespace, console: Console) -> Tuple[int, str, Dict[str, Any]]:
    library = Library()
    if library.partial and not options.force:
        found = differences(library.sources, record_of(library.sources))
        if found:
            raise Trouble(1, "this icey is itself a copy, and was changed (%s): --force copies it as it is" % ", ".join(
                "%s %s" % (one.path, one.kind) for one in found[:3]))
    plan = library.plan(None if options.only is None else list(dict.fromkeys(options.only)), options.with_tools)
    if library.names is not None and options.only is None:
        console.note("%s: this icey is a copy that has a part of it; that is what is copied: %s" % (
            console.prog, " ".join(library.names)))
    before = _names_at(os.path.join(options.dest, (options.name or "icey") + ".zip" * options.zip))
    try:
        place = copy(plan, options.dest, name=options.name or "icey", zip=options.zip, force=options.force)
    except Refused:
        raise
    except ValueError as exc:
        raise _Usage(str(exc)) from None
    facts = {"path": place, **_facts(plan)}
    text = "%s: icey %s, %d files, %d lines, %.1f KiB of source\n" % (
        place, plan.version, len(plan.files) + 1, plan.lines, plan.size / 1024)
    if plan.apart:
        text += "without %s: add that to --only where it is wanted\n" % " ".join(plan.apart)
    if before is not None and before != _named(plan.names):
        text += "before, it had %s\n" % before
    if os.path.abspath(options.dest) == os.getcwd() and not options.zip:
        console.note("%s: from this folder Python imports %s from here now" % (console.prog, options.name or "icey"))
    return 0, tame(text), facts


def _named(names: Optional[List[str]]) -> str:
    return "all of icey" if names is None else " ".join(names)


def _names_at(place: str) -> Optional[str]:
    """What the copy at `place` has, None where there is none."""
    try:
        return _named(record_of(at(place)).names)
    except (NotACopy, OSError):
        return None


def _facts(plan: Plan) -> Dict[str, Any]:
    return {"version": plan.version, "names": plan.names, "tools": plan.tools, "files": plan.files, "lines": plan.lines,
            "size": plan.size, "stdlib": plan.stdlib,
            "when_used": [module for module, lost in plan.optional.items() if not lost],
            "optional": {module: lost for module, lost in plan.optional.items() if lost}, "apart": plan.apart}


# -- what there is -------------------------------------------------------------------------------------------------------

def _listed() -> Tuple[int, str, Dict[str, Any]]:
    library = Library()
    plans = {word: library.plan([word]) for word in library.words}
    facts = {"version": library.version,
             "sets": [{"name": word, "what": library.words[word], **_facts(plans[word])} for word in plans]}
    text = ["icey %s: what --only takes beside public names" % library.version, "",
            "%-17s %5s %6s %7s" % ("NAME", "files", "lines", "KiB")]
    for word, plan in plans.items():
        text.append("%-17s %5d %6d %7.1f  %s" % (word, len(plan.files), plan.lines, plan.size / 1024, library.words[word]))
        lost = ["%s (%s)" % (module, plan.optional[module]) for module in plan.optional if plan.optional[module]]
        used = [module for module in plan.optional if not plan.optional[module]]
        for head, items, between in (("needs", plan.stdlib, " "), ("when used", used, " "), ("can lack", lost, ", "),
                                     ("left out", plan.apart, " ")):
            text += _row(head, items, between)
    text += ["", "needs: modules without which it cannot be imported. when used: modules that some of it needs. can lack: and",
             "what is lost without. left out: words for what its code can use, and says so where that is not there."]
    return 0, "\n".join(text) + "\n", facts


def _row(head: str, items: Sequence[str], between: str) -> List[str]:
    """`items` in lines of 120 characters, `head` before the first."""
    rows: List[str] = []
    for item in items:
        if rows and len(rows[-1]) + len(between + item) <= 120:
            rows[-1] += between + item
        else:
            rows.append("    %-10s %s" % (head + ":" if not rows else "", item))
    return rows


# -- a copy that is there ------------------------------------------------------------------------------------------------

def _checked(path: str) -> Tuple[int, str, Dict[str, Any]]:
    found = check(path)
    record = record_of(at(path))
    facts = {"path": path, "version": record.version, "names": record.names, "tools": record.tools, "intact": not found,
             "differences": [{"path": one.path, "kind": one.kind} for one in found]}
    text = "".join("%s\n" % printable(str(one)) for one in found) or "%s: icey %s, as it was copied\n" % (path, record.version)
    return int(bool(found)), tame(text), facts


def _compared(path: str) -> Tuple[int, str, Dict[str, Any]]:
    """The copy against what this icey would copy now."""
    there = at(path)
    record = record_of(there)
    library = Library()
    try:
        plan = library.plan(record.names, record.tools)
    except UnknownName as exc:
        raise Trouble(1, "nothing to compare with: %s; the copy is of icey %s, this is %s" % (
            exc.args[0], record.version, library.version)) from None
    ours, theirs = whole(plan), {name: there.read(name) for name in there.paths()}
    text, changes = "", []
    if record.version != library.version:
        text = "the copy is of icey %s, and compared with %s\n" % (record.version, library.version)
    for name in sorted({*ours, *theirs}):
        one, two = ours.get(name), theirs.get(name)
        if one == two or (name == "VENDORED" and two is not None):
            continue
        lines = list(difflib.unified_diff(
            _lines(one), _lines(two), "icey-%s/%s" % (library.version, name) if one is not None else "/dev/null",
            "%s/%s" % (path, name) if two is not None else "/dev/null", lineterm=""))
        kind = "added" if one is None else "missing" if two is None else "changed"
        changes.append({"path": name, "kind": kind, "diff": "\n".join(lines)})
        text += "".join(line + "\n" for line in lines) or "%s %s\n" % (kind, name)
    facts = {"path": path, "version": record.version, "against": library.version, "differences": changes}
    return int(bool(changes)), tame(text), facts


def _lines(content: Optional[bytes]) -> List[str]:
    return [] if content is None else content.decode("utf-8", "replace").splitlines()


# -- the command line ------------------------------------------------------------------------------------------------------

def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog, epilog=EPILOG, formatter_class=Formatter,
        usage="%(prog)s DEST [--only NAME ...] [options]\n"
              "       %(prog)s --check PATH | --diff PATH | --sbom PATH | --list",
        description="Copy icey, or the part of it that a program needs; check copies.")
    add = parser.add_argument
    add("dest", metavar="DEST", nargs="?", help="the folder that the copy goes into")
    add("--only", metavar="NAME", nargs="+", action="extend", help="copy what these need, and no more")
    add("--with-tools", action="store_true", help="and the commands of python3 -m icey")
    add("--name", metavar="NAME", help="call the folder so (default: icey)")
    add("--zip", action="store_true", help="make DEST/NAME.zip, to be put on sys.path")
    add("--force", action="store_true", help="over a copy that was changed, too")
    add("--check", metavar="PATH", help="say which files of a copy, a folder or a zip, changed, are missing, or were added")
    add("--diff", metavar="PATH", help="show what differs in a copy from this icey")
    add("--sbom", metavar="PATH", help="print a bill of materials of a copy (CycloneDX 1.5)")
    add("--list", action="store_true", help="show the words for --only, with sizes and the modules that each needs")
    add("--json", action="store_true", help="print JSON")
    return parser
