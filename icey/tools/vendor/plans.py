"""Which files some names of icey need, how large they are, and what they ask of Python: the plan of a copy.

Names are public names ("TCPSocket", "http.Server", "hosts.TkHost"; "http" and "hosts": all of them), words of features.py
("tcp"), and commands of `python3 -m icey` ("serve"). A plan holds the bytes of its files: what is copied is what was planned,
even where this icey's own folder is replaced by the copy.
"""

from __future__ import annotations

from .checking import NotACopy, differences, record_of
from .features import COMMANDS, FEATURES, LOST, NEEDED
from .imports import Graph
from .sources import BESIDE, RECORD, own
from .tables import Table, has_table

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

    from .sources import Sources

MAP, LICENSE = "README.md", "LICENSE"
TOOLS, PROGRAM = "tools/", "__main__.py"
AGAIN = "python3 -m icey vendor DEST --only %s"


class UnknownName(LookupError):
    """A name that no plan can be made of. str(): which, and what was meant perhaps."""


class Plan:
    """The files of a copy.

    `version`: of the icey that they are from. `names`: what was asked for, in its order, None: the whole library. `tools`:
    with the commands. `files`: paths, sorted. `lines`, `size`: of their Python source, size in bytes. `stdlib`: the modules
    of the standard library without which it cannot be imported, sorted; `optional`: others that it imports, when it needs
    them, or goes on without -> what is lost, "" where that part of it does not work at all. `apart`: words of features.py
    that its files could use and do without: what they need says so when it is used.
    """

    def __init__(
        self, version: str, names: Optional[List[str]], tools: bool, contents: Dict[str, bytes], stdlib: List[str],
        optional: Dict[str, str], apart: List[str],
    ) -> None:
        self.version = version
        self.names = names
        self.tools = tools
        self.stdlib = stdlib
        self.optional = optional
        self.apart = apart
        self.files: List[str] = sorted(contents)
        self._contents = contents
        source = [content for path, content in contents.items() if path.endswith(".py")]
        self.lines: int = sum(content.count(b"\n") for content in source)
        self.size: int = sum(map(len, source))

    def read(self, path: str) -> bytes:
        """The bytes of one of its files. KeyError."""
        return self._contents[path]

    def __repr__(self) -> str:
        return "<Plan of %s: %d files, %d bytes of source>" % (
            "the library" if self.names is None else " ".join(self.names), len(self.files), self.size)


def plan(names: Optional[Iterable[str]] = None, *, tools: bool = False) -> Plan:
    """The plan of a copy of this icey: of what `names` need; None: of the whole library, or of all that a copy of a part has.
    tools: with all of tools/, too.

    UnknownName: a name that is none. OSError: this icey's source cannot be read. TypeError: names is a str.
    """
    if isinstance(names, str):
        raise TypeError("names is a list of names, such as [%r], not a str" % names)
    return Library().plan(None if names is None else list(names), tools)


class Library:
    """What an icey has to plan from: `version`; `words`: the words and commands there are -> what they are, for people.

    `partial`: it is itself a copy that vendor made, of `names` (None: the whole library, or it was changed).
    """

    def __init__(self, sources: Optional[Sources] = None) -> None:
        self.sources: Sources = own() if sources is None else sources
        self._held: Dict[str, bytes] = {}
        paths = self.sources.paths()
        self.partial: bool = RECORD in paths
        self.names: Optional[List[str]] = _names_of(self.sources) if self.partial else None
        self._paths = [path for path in paths if path.endswith(".py") or path in BESIDE]
        self._graph = Graph(self.read, [path for path in self._paths if path.endswith(".py")])
        known = self._graph.known
        self._tables: Dict[str, Table] = {}
        for path in sorted(known):
            if (path.endswith("__init__.py") and not path.startswith(TOOLS)) or path == PROGRAM:
                source = self.read(path)
                if has_table(source):
                    self._tables[path] = Table(path, source, known)
        self.version: str = _version(self.read("__init__.py"))
        self._homes: Dict[str, str] = {}
        self._commands: Set[str] = set()
        for path, table in self._tables.items():
            if path == PROGRAM:
                self._commands = set(table.names)
            self._homes.update({table.prefix + name: home for name, home in table.names.items()})
        self.words: Dict[str, str] = {}
        for word, (what, _) in FEATURES.items():
            if self._resolved(word):
                self.words[word] = what
        for name in sorted(self._commands):
            self.words[name] = "python3 -m icey %s" % name

    def read(self, path: str) -> bytes:
        """The bytes of a file, read once. OSError."""
        if path not in self._held:
            self._held[path] = self.sources.read(path)
        return self._held[path]

    def plan(self, names: Optional[List[str]] = None, tools: bool = False) -> Plan:
        """As the function `plan`."""
        names = self.names if names is None else names
        roots = [path for name in names or () for path in self.files_of(name)]
        if names is None:
            roots += [path for path in self._graph.known if not path.startswith(TOOLS) and path != PROGRAM]
        if tools:
            roots += [path for path in self._graph.known if path.startswith(TOOLS) or path == PROGRAM]
        if names is not None and not roots:
            raise UnknownName("no name to make a copy of")
        kept = self._graph.needed(roots)
        again = AGAIN % " ".join([*(names or ["icey"]), "%s"])
        if tools:
            again = again.replace(" --only", " --with-tools --only")
        contents = {path: self._tables[path].trimmed(kept, again) if path in self._tables else self.read(path) for path in kept}
        for path in BESIDE:
            if path in self._paths and (path != MAP or len(kept) == len(self._graph.known) or names is None):
                contents[path] = self.read(path)
        stdlib, optional = self._modules(roots, kept, names or ())
        return Plan(self.version, names, tools, contents, stdlib, optional, self._apart(kept))

    def files_of(self, name: str) -> List[str]:
        """The files in which a name, or what a word stands for, lives. UnknownName."""
        found = self._resolved(name)
        if not found:
            raise UnknownName(self._unknown(name))
        return found

    def _resolved(self, name: str, within: Tuple[str, ...] = ()) -> List[str]:
        known = self._graph.known
        if name in FEATURES and name not in within:
            parts = [self._resolved(part, (*within, name)) for part in FEATURES[name][1].split()]
            if all(parts):
                return [path for part in parts for path in part]
        if name in self._commands and "." not in name:
            parts = [self._resolved(part, (*within, name)) for part in COMMANDS.get(name, "").split()]
            return [PROGRAM, self._homes[name], *[path for part in parts for path in part]]
        home = self._homes.get(name, name if "/" in name and within else "")
        if home.endswith("/"):
            return sorted(path for path in known if path.startswith(home))
        return [home] if home in known else []

    def _unknown(self, name: str) -> str:
        from difflib import get_close_matches

        lacking = {table.prefix + left for table in self._tables.values() for left in table.left}
        if name in lacking or (name in FEATURES and self.partial):
            return "%r is not in this copy of icey, which has a part: use a whole icey" % name
        names = [*self.words, *self._homes]
        folded = {one.lower(): one for one in reversed(names)}
        tails = [one for one in names if one.rpartition(".")[2].lower() == name.rpartition(".")[2].lower()]
        close = get_close_matches(name.lower(), list(folded), 3, 0.7)
        meant = list(dict.fromkeys(tails + [folded[one] for one in close]))[:3]
        return "no name of icey: %r%s (vendor --list shows the words)" % (
            name, ", did you mean %s?" % " or ".join(meant) if meant else "")

    def _modules(self, roots: Sequence[str], kept: List[str], names: Sequence[str]) -> Tuple[List[str], Dict[str, str]]:
        """(the modules that it cannot be imported without, or is nothing without; others -> what is lost)."""
        at_once = self._graph.needed(roots, at_once=True)
        stdlib, others = self._graph.stdlib(at_once)
        more = self._graph.stdlib([path for path in kept if path not in at_once])
        optional = sorted({*others, *more[0], *more[1]} - set(stdlib))
        musts = {module for name in names for module in NEEDED.get(name, "").split()}
        can_lack = {*optional, *(set(stdlib) & set(LOST))} - musts
        return (sorted({*stdlib, *musts} - can_lack), {module: LOST.get(module, "") for module in sorted(can_lack)})

    def _apart(self, kept: List[str]) -> List[str]:
        """The words for what the files of a copy can do without, and do not have."""
        gone = self._graph.apart(kept)
        words = {word for word, (_, parts) in FEATURES.items() if gone & set(parts.split()) and word in self.words}
        return sorted(words)


def _names_of(copy: Sources) -> Optional[List[str]]:
    """What was asked for when a copy was made; None: all, or it has something else now."""
    try:
        record = record_of(copy)
        return None if differences(copy, record) else record.names
    except NotACopy:
        return None


def _version(source: bytes) -> str:
    """__version__, as __init__.py says it."""
    import ast

    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__":
            return str(ast.literal_eval(node.value))
    return "unknown"
