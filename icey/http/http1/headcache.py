"""What parsers remember of heads, so that the next head costs less: HeaderCache and, for requests, Template.

    HeaderCache   one of a server, or of a client's connection: field line -> (name, value), checked when it is first seen
    Template      one of a connection: its previous field block, with the values that changed cut out

Rules
- The result is the same with a cache and without (a property test holds this).
- A cache is bounded and belongs to one loop. It holds no secrets and no long lines.
- What a cache hands out is immutable, or copied.

Measured, server CPU in multiples of a server that does not parse (a browser's head, path and one field varying; three
varying): template 1.3, 1.5; header cache alone 2.0, 2.3; neither 3.1, 3.6.
"""

from __future__ import annotations

from ..semantics.grammar import field

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Tuple

    from .framing import Framing

MOST_LINES = 1024  # in a cache
MOST_PER_NAME = 32  # lines of one field name
LONGEST = 256  # characters of a line
MOST_HOLES = 4  # in a template

SECRETS = frozenset(["cookie", "authorization", "proxy-authorization", "set-cookie"])
FRAMING = frozenset(
    "host content-length transfer-encoding connection expect upgrade te trailer keep-alive".split()
)  # never a hole: what they say decides how the message is read


class HeaderCache(Dict[str, "Tuple[str, str]"] if TYPE_CHECKING else dict):  # type: ignore[misc]
    """`cache[line]` is (name, value). A line that was not seen before is checked (BadRequest) and remembered.

    At most 1 024 lines of 256 bytes, 32 of a name, so that a field that varies does not push the others out. A full cache is
    cleared.
    """

    __slots__ = ("_names",)

    def __init__(self) -> None:
        super().__init__()
        self._names: Dict[str, int] = {}

    def __missing__(self, line: str) -> Tuple[str, str]:
        pair = field(line)
        name = pair[0]
        if len(line) <= LONGEST and name not in SECRETS:
            count = self._names.get(name, 0)
            if count < MOST_PER_NAME:
                if len(self) >= MOST_LINES:
                    self.clear()
                    self._names.clear()
                    count = 0
                self._names[name] = count + 1
                self[line] = pair
        return pair


class Template:
    """A field block with holes: `match` gives the fields of a block that differs in the holes alone, else None.

    `framing`: what the block says of its message; no hole touches this. Matching needs no search for the blank line: a hole
    ends at the next line end, and all that is not a hole is compared.
    """

    __slots__ = ("framing", "_fields", "_holes", "_first", "_rest")

    def __init__(self, lines: List[str], fields: Dict[str, str], framing: Framing, holes: Sequence[int]) -> None:
        self.framing: Framing = framing
        self._fields = fields
        self._holes = holes
        names = []
        literals = [""]
        for index, line in enumerate(lines):
            if index in holes:
                name, colon, rest = line.partition(":")
                literals[-1] += name + colon + rest[:len(rest) - len(rest.lstrip(" \t"))]
                literals.append("\r\n")
                names.append(name.lower())
            else:
                literals[-1] += line + "\r\n"
        literals[-1] += "\r\n"
        self._first = literals[0]
        self._rest = list(zip(names, literals[1:]))

    @classmethod
    def learned(
        cls, old: Optional[Template], before: List[str], lines: List[str], fields: Dict[str, str], framing: Framing
    ) -> Optional[Template]:
        """A template with holes where two blocks differ, and where `old` has holes if they fit in; None: too many."""
        holes = differing(before, lines)
        if not holes:
            return old if lines == before else None
        if old is not None and old.fits(lines):
            both = sorted({*holes, *old._holes})
            if len(both) <= MOST_HOLES:
                holes = both
        return cls(lines, fields, framing, holes)

    def fits(self, lines: List[str]) -> bool:
        """Whether the lines where this template has holes are of the same fields in a block of these lines."""
        return self._holes[-1] < len(lines) and all(
            lines[index].partition(":")[0].lower() == name for index, (name, _) in zip(self._holes, self._rest))

    def match(self, text: str, at: int) -> Optional[Tuple[Dict[str, str], int]]:
        """(fields, where the block ends, blank line included) if a block of this shape begins at `at`; else None."""
        first = self._first
        if not text.startswith(first, at):
            return None
        at += len(first)
        fields = self._fields.copy()
        for name, literal in self._rest:
            end = text.find("\r\n", at)
            value = text[at:end]
            # printable: no control character; then only spaces can be stripped
            if not text.startswith(literal, end) or not value.isprintable() or value.strip() != value:
                return None
            fields[name] = value
            at = end + len(literal)
        return fields, at


def differing(before: List[str], lines: List[str]) -> List[int]:
    """The indexes of the lines whose values differ; [] if the blocks differ in more than can be cut out."""
    found: List[int] = []
    if len(lines) == len(before):
        for index, line in enumerate(lines):
            if line != before[index]:
                name = line.partition(":")[0]
                if name != before[index].partition(":")[0] or name.lower() in FRAMING or len(found) == MOST_HOLES:
                    return []
                found.append(index)
    return found
