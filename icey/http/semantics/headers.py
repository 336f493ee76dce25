"""Headers: the fields of a message: in order, names compared without case, fields of the same name kept apart.

Rules: received names are lower-case, names that you set keep their spelling. Names and values are checked when they are set: no
CR, LF or NUL can be sent (ValueError). Headers from the parser share the parser's dict until they are first changed.

Not here: the grammar of a field (grammar.py), what fields mean (conditional.py, cookies.py, http1/framing.py).
"""

from __future__ import annotations

from .grammar import BAD_VALUE, TOKEN

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, ClassVar, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Optional, Tuple, Union

    Pair = Tuple[str, str]
    HeadersLike = Union["Headers", Mapping[str, str], Iterable[Pair], None]


class Headers:
    """`Headers(pairs_or_mapping)`. `h[name]` is the first value (KeyError without one); `h[name] = value` replaces all."""

    __slots__ = ("_shared", "_pairs")

    def __init__(self, fields: HeadersLike = None) -> None:
        self._shared: Optional[Dict[str, str]] = None  # received, no name repeated, not ours to change
        self._pairs: List[Pair] = []
        if fields is not None:
            for name, value in pairs_of(fields):
                self.add(name, value)

    @classmethod
    def received(cls, fields: Union[Dict[str, str], List[Pair]]) -> Headers:
        """Headers over what the parser made and checked: a dict to share, or pairs where a name is repeated."""
        made = cls()
        if isinstance(fields, dict):
            made._shared = fields
        else:
            made._pairs = list(fields)
        return made

    def get(self, name: str, default: Any = None) -> Any:
        """The first value of `name`, or `default`."""
        name = name.lower()
        if self._shared is not None:
            return self._shared.get(name, default)
        for key, value in self._pairs:
            if key.lower() == name:
                return value
        return default

    def get_all(self, name: str) -> List[str]:
        """All values of `name`, in order."""
        name = name.lower()
        if self._shared is not None:
            value = self._shared.get(name)
            return [] if value is None else [value]
        return [value for key, value in self._pairs if key.lower() == name]

    def copy(self) -> Headers:
        """Headers with the same fields, to be changed on their own."""
        made = Headers()
        made._shared, made._pairs = self._shared, self._pairs.copy()
        return made

    def items(self) -> List[Pair]:
        """All (name, value) pairs, in order."""
        return list(self._pairs) if self._shared is None else list(self._shared.items())

    def keys(self) -> List[str]:
        """The names, in order; one that is repeated stands there as often."""
        return [name for name, _ in self.items()]

    def add(self, name: str, value: str) -> None:
        """Adds a field; fields of the same name stay."""
        check_field(name, value)
        self._mine().append((name, value))

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return str(value)

    def __setitem__(self, name: str, value: str) -> None:
        check_field(name, value)
        if self._pairs or self._shared is not None:
            self._remove(name)
        self._pairs.append((name, value))

    def __delitem__(self, name: str) -> None:
        if not self._remove(name):
            raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, _ in self.items()])

    def __len__(self) -> int:
        return len(self._pairs) if self._shared is None else len(self._shared)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and _folded(self) == _folded(other)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Headers(%r)" % self.items()

    def _mine(self) -> List[Pair]:
        if self._shared is not None:
            self._pairs = list(self._shared.items())
            self._shared = None
        return self._pairs

    def _remove(self, name: str) -> bool:
        name = name.lower()
        pairs = self._mine()
        kept = [pair for pair in pairs if pair[0].lower() != name]
        found = len(kept) != len(pairs)
        self._pairs = kept
        return found


def check_field(name: str, value: str) -> None:
    """ValueError for a name that is no token, or a value with control characters or beyond latin-1 (TypeError: no str)."""
    if (type(name) is str and type(value) is str and value.isascii() and value.isprintable() and name.isascii()
            and name.replace("-", "").isalnum()):  # as almost all: what the patterns below take longer to say
        return
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError("header names and values are str, not %r: %r" % (name, value))
    if not TOKEN(name):
        raise ValueError("%r is no header name" % name)
    if BAD_VALUE(value):
        raise ValueError("a header value must be latin-1 without control characters: %s: %r" % (name, value))


def has_any(headers: Headers, names: FrozenSet[str]) -> bool:
    """Whether there is a field of one of these names, which are lower-case: one look instead of one for each."""
    if headers._shared is not None:
        return not names.isdisjoint(headers._shared)
    return any(name.lower() in names for name, _ in headers._pairs)


def pairs_of(fields: HeadersLike) -> Iterable[Pair]:
    """The pairs of Headers, a mapping, or pairs."""
    if fields is None:
        return ()
    items = getattr(fields, "items", None)
    if items is None and isinstance(fields, (str, bytes)):
        raise TypeError("headers are pairs or a mapping, not %r" % (fields,))
    return items() if items is not None else fields  # type: ignore[return-value]


def _folded(headers: Headers) -> List[Pair]:
    return [(name.lower(), value) for name, value in headers.items()]
