"""PairReader: reads application/x-www-form-urlencoded while the bytes come, by the rules of urlencoded.py.

Not here: a form as a whole (server/forms.py).
"""

from __future__ import annotations

from ...base.errors import TooLarge
from .urlencoded import split_pair

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from .urlencoded import Octets


class PairReader:
    """Reads pairs while the bytes come: `feed` and `end` call `on_pair(name, value)`, both bytes.

    max_size: bytes of a name and its value together; TooLarge as soon as a pair is sure to be larger. `on_pair`: who is told;
    may be replaced between two feeds.
    """

    __slots__ = ("on_pair", "_max_size", "_held")

    def __init__(self, on_pair: Callable[[bytes, bytes], Any], max_size: Optional[int] = None) -> None:
        self.on_pair: Callable[[bytes, bytes], Any] = on_pair
        self._max_size = max_size
        self._held = bytearray()  # the beginning of a piece

    def feed(self, data: Octets) -> None:
        """Takes the next bytes."""
        first, *others = bytes(data).split(b"&")
        self._held += first
        for piece in others:
            self._pair()
            self._held += piece
        if self._max_size is not None and len(self._held) > 3 * self._max_size + 1:  # each octet may be three, "%41"
            self._too_large()

    def end(self) -> None:
        """There are no more bytes."""
        self._pair()

    def _pair(self) -> None:
        if self._held:
            piece, self._held = bytes(self._held), bytearray()
            name, value = split_pair(piece)
            if self._max_size is not None and len(name) + len(value) > self._max_size:
                self._too_large()
            self.on_pair(name, value)

    def _too_large(self) -> None:
        raise TooLarge("a field over %d bytes" % (self._max_size or 0))
