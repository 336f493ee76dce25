"""The tables that name what a package has, and those of a copy that has a part of it.

Tables are `_HOME` of the packages with public names (module: names, see base/lazy.py) and COMMANDS of __main__.py (name:
(module, ...)); beside each stands `_LEFT_OUT` or LEFT_OUT, which is empty in a whole icey: a command that adds names, and which
names. And `if TYPE_CHECKING:` imports the same names for checkers.

Rules: a table keeps the lines whose module is in the copy, as they are; all else in the file stays, byte by byte. What is named
in a table that is trimmed, and not kept, goes to what was left out.
"""

from __future__ import annotations

import ast

from .imports import folder_of, imports, targets

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Collection, Dict, Iterable, List, Optional, Set, Tuple

TABLES = {"_HOME": "_LEFT_OUT", "COMMANDS": "LEFT_OUT"}
WIDTH = 130


class Table:
    """What a file's table says.

    `names`: name -> the file that it lives in, or the folder, with a slash, of a package. `left`: names that are said to be
    left out. `prefix`: what stands before the name where icey is spoken of, such as "http.".
    """

    def __init__(self, path: str, source: bytes, known: Collection[str]) -> None:
        self.path = path
        self.folder: str = folder_of(path)
        self.prefix: str = self.folder.replace("/", ".") + "." if self.folder else ""
        self._known = known
        self._lines = source.decode("utf-8").splitlines(True)
        self._tree = ast.parse(source, path)
        self.names: Dict[str, str] = {}
        self.left: Set[str] = set()
        for name, value in self._assigned():
            if name in TABLES:
                for key, entry in zip(value.keys, value.values):
                    self.names.update(self._named(ast.literal_eval(key), ast.literal_eval(entry)))
            elif name in TABLES.values():
                self.left.update(one for text in ast.literal_eval(value).values() for one in text.split())

    def _assigned(self) -> List[Tuple[str, Any]]:
        """(name, the dict that it gets) of the file's statements, in their order."""
        found = []
        for node in self._tree.body:
            if isinstance(node, ast.Assign):
                target: Any = node.targets[0]
            elif isinstance(node, ast.AnnAssign):
                target = node.target
            else:
                continue
            if isinstance(target, ast.Name) and isinstance(node.value, ast.Dict):
                found.append((target.id, node.value))
        return found

    def _named(self, key: str, entry: Any) -> Dict[str, str]:
        """name -> home, of an entry of a table."""
        if isinstance(entry, tuple):  # COMMANDS
            return {key: self._home(entry[0])}
        if key:
            return dict.fromkeys(entry.split(), self._home(key))
        return {module.rpartition(".")[2]: self._home(module) for module in entry.split()}

    def _home(self, module: str) -> str:
        path = (self.folder + "/" if self.folder else "") + module.replace(".", "/")
        return path + "/" if path + "/__init__.py" in self._known else path + ".py"

    def trimmed(self, kept: Collection[str], again: str) -> bytes:
        """The source of the file in a copy of the files `kept`. again: the command that adds a name, %s stands for the name."""
        def stays(home: str) -> bool:
            return home in kept or home + "__init__.py" in kept

        gone = {name for name, home in self.names.items() if not stays(home)} | self.left
        gone -= {name for name, home in self.names.items() if stays(home)}
        changes: List[Tuple[int, int, List[str]]] = []  # (first line, behind the last, what stands there now)
        for name, value in self._assigned():
            if name in TABLES:
                for key, entry in zip(value.keys, value.values):
                    line = self._line(ast.literal_eval(key), ast.literal_eval(entry), stays)
                    if line is not None:
                        changes.append((key.lineno - 1, entry.end_lineno, line))
            elif name in TABLES.values() and gone != self.left:
                changes.append((value.lineno - 1, value.end_lineno, self._told(value, again, sorted(gone))))
        for node in ast.walk(self._tree):
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                changes += self._seen_by_checkers(node, kept)
        lines = list(self._lines)
        for first, behind, text in sorted(changes, key=lambda one: one[0], reverse=True):
            lines[first:behind] = text
        return "".join(lines).encode("utf-8")

    def _line(self, key: str, entry: Any, stays: Any) -> Optional[List[str]]:
        """What becomes of an entry: None: it stays as it is."""
        homes = self._named(key, entry)
        left = [name for name in homes if stays(homes[name])]
        if len(left) == len(homes):
            return None
        if not left or isinstance(entry, tuple) or key:  # all names of a module go together
            return []
        modules = [module for module in entry.split() if module.rpartition(".")[2] in left]
        return ['    "": "%s",\n' % " ".join(modules)]

    def _told(self, value: ast.Dict, again: str, gone: List[str]) -> List[str]:
        """The statement that says what was left out."""
        head = self._lines[value.lineno - 1].encode("utf-8")[:value.col_offset].decode("utf-8")
        rows: List[str] = []
        for name in gone:
            if not rows or len(rows[-1]) + len(name) > WIDTH - 14:
                rows.append(name)
            else:
                rows[-1] += " " + name
        texts = ['        "%s%s"' % (" " if number else "", row) for number, row in enumerate(rows)]
        return [head + "{\n", '    "%s":\n' % (again % (self.prefix + "%s")), "\n".join(texts) + ",\n", "}\n"]

    def _seen_by_checkers(self, block: ast.If, kept: Collection[str]) -> Iterable[Tuple[int, int, List[str]]]:
        """The imports of a block that reach what is not there go, name by name."""
        gone: List[Tuple[int, int, List[str]]] = []
        for node in block.body:
            if isinstance(node, ast.ImportFrom) and node.level:
                left = [one for one in node.names if self._reaches(node, one, kept)]
                if len(left) < len(node.names):
                    names = (one.name + (" as " + one.asname if one.asname else "") for one in left)
                    text = "    from %s import %s\n" % ("." * node.level + (node.module or ""), ", ".join(names))
                    gone.append((node.lineno - 1, node.end_lineno or node.lineno, [text] if left else []))
        if len(gone) == len(block.body) and not any(text for _, _, text in gone):
            gone[0] = (*gone[0][:2], ["    pass\n"])
        return gone

    def _reaches(self, node: ast.ImportFrom, name: ast.alias, kept: Collection[str]) -> bool:
        one = ast.ImportFrom(module=node.module, names=[name], level=node.level, lineno=node.lineno)
        reached = targets(self.path, imports(ast.Module(body=[one], type_ignores=[]))[0], self._known)
        return all(target in kept for target in reached)


def has_table(source: bytes) -> bool:
    """Whether a file may have a table: a look at its text, which is cheap."""
    return any(name.encode() + b"" in source for name in ("_HOME = {", "\nCOMMANDS: "))
