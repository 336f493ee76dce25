"""Compares a copy with its record, the file VENDORED: which files were changed, are missing, or were added.

VENDORED is text, one `sha256  path` line a file, as `sha256sum -c VENDORED` reads it inside the folder of the copy; lines that
begin with # are comments to that program. Three of them mean something here:

    # version: 0.3.0
    # names: tcp http.Server       what --only got, "icey": the whole library; and "with tools", if that was so
    # this file: SHA-256           of all other lines: a record that was changed is named itself

This finds mistakes and damage; who changes a file on purpose can change its line, too. Compiled files
(__pycache__) do not count.
"""

from __future__ import annotations

import hashlib

from .sources import RECORD, at

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Optional

    from .sources import Sources

CHANGED, MISSING, ADDED = "changed", "missing", "added"
VERSION, NAMES, OWN, TOOLS, WHOLE = "# version: ", "# names: ", "# this file: ", " with tools", "icey"


class NotACopy(ValueError):
    """What was to be checked is no copy that vendor made, or its record cannot be read. str(): why."""


class Difference:
    """One file of a copy that is not as it was made. `path`: inside the copy. `kind`: "changed", "missing" or "added"."""

    __slots__ = ("path", "kind")

    def __init__(self, path: str, kind: str) -> None:
        self.path: str = path
        self.kind: str = kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Difference) and (self.path, self.kind) == (other.path, other.kind)

    def __hash__(self) -> int:
        return hash((self.path, self.kind))

    def __str__(self) -> str:
        return "%-8s %s" % (self.kind, self.path)

    def __repr__(self) -> str:
        return "<Difference: %s %s>" % (self.path, self.kind)


class Record:
    """What a VENDORED says. `version`. `names`: what was asked for, None: the whole library. `tools`: with the commands.
    `sums`: path -> SHA-256 in hexadecimal. `intact`: it is as it was written."""

    def __init__(
        self, version: str, names: Optional[List[str]], tools: bool, sums: Mapping[str, str], intact: bool = True,
    ) -> None:
        self.version = version
        self.names = names
        self.tools = tools
        self.sums: Dict[str, str] = dict(sums)
        self.intact = intact

    def text(self) -> bytes:
        """The file, in bytes."""
        names = WHOLE if self.names is None else " ".join(self.names)
        lines = [
            "# icey, a copy. Where it is from, and whether it was changed:",
            "#     python3 -m icey vendor --check FOLDER      or, in this folder: sha256sum -c VENDORED",
            VERSION + self.version,
            NAMES + names + (TOOLS if self.tools else ""),
            "# license: MIT, see the file LICENSE",
            *["%s  %s" % (self.sums[path], path) for path in sorted(self.sums)],
        ]
        lines.insert(5, OWN + _sum_of(lines))
        return "".join(line + "\n" for line in lines).encode("utf-8")

    @classmethod
    def read(cls, content: bytes) -> Record:
        """What the bytes of a VENDORED say. NotACopy: they say nothing."""
        if b"\r\n" in content:
            raise NotACopy("the line ends of its %s were changed, by git's autocrlf perhaps, and so were its files': put the"
                           " line `* -text` into a .gitattributes above it, and copy it anew" % RECORD)
        lines = content.decode("utf-8", "replace").split("\n")
        told = {head: line[len(head):] for head in (VERSION, NAMES, OWN) for line in lines if line.startswith(head)}
        sums: Dict[str, str] = {}
        for line in lines:
            if line and not line.startswith("#"):
                digest, _, path = line.partition("  ")
                sums[path] = digest
        if VERSION not in told or NAMES not in told or not sums:
            raise NotACopy("its %s is damaged: it names no version, names or files" % RECORD)
        names = told[NAMES]
        tools = names.endswith(TOOLS)
        names = names[:-len(TOOLS)] if tools else names
        intact = lines.pop() == "" and told.get(OWN) == _sum_of([line for line in lines if not line.startswith(OWN)])
        return cls(told[VERSION], None if names == WHOLE else names.split(), tools, sums, intact)


def _sum_of(lines: List[str]) -> str:
    return digest("".join(line + "\n" for line in lines).encode("utf-8", "replace"))


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def check(path: str) -> List[Difference]:
    """What differs in the copy at `path`, a folder or a zip, from what vendor wrote: sorted by file, [] of a copy that is
    intact.

    NotACopy: it has no VENDORED. OSError: there is nothing, or it cannot be read.
    """
    copy = at(path)
    return differences(copy, record_of(copy))


def record_of(copy: Sources) -> Record:
    """The record of a copy. NotACopy, OSError."""
    paths = copy.paths()
    if RECORD not in paths:
        below = ["%s/%s" % (copy.place, path[:-len(RECORD) - 1]) for path in paths if path.endswith("/" + RECORD)]
        raise NotACopy("no copy that vendor made: there is no file %s in %s%s" % (
            RECORD, copy.place, ", but in " + ", ".join(below[:3]) if below else ""))
    return Record.read(copy.read(RECORD))


def differences(copy: Sources, record: Record) -> List[Difference]:
    """As `check`."""
    there = set(copy.paths()) - {RECORD}
    found = [Difference(path, ADDED) for path in there - set(record.sums)]
    found += [Difference(path, MISSING) for path in set(record.sums) - there]
    found += [Difference(path, CHANGED) for path in there & set(record.sums) if _sum(copy, path) != record.sums[path]]
    if not record.intact:
        found.append(Difference(RECORD, CHANGED))
    return sorted(found, key=lambda one: one.path)


def _sum(copy: Sources, path: str) -> Optional[str]:
    """The digest of a file; None: it cannot be read, or is a folder's link by now."""
    try:
        return digest(copy.read(path))
    except OSError:
        return None
