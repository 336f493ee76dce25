"""What comes in pieces and is wanted whole: bodies, forms, messages. It never stands in memory twice."""

from __future__ import annotations

from io import BytesIO

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, List

    from .buffer import Data

LONG = 131072  # bytes: from there on malloc gives a block back when it is freed
KEPT = 1 << 23  # bytes: blocks up to this size are kept, twice as much at the end of the heap
_kept: List[int] = []


def gather_piece(pieces: List[Any], view: Data) -> None:
    """Adds a copy of `view` to `pieces`, empty at first, then one element: a BytesIO, which hands its buffer over uncopied."""
    if not pieces:
        pieces.append(bytes(view))
        return
    whole = pieces[0]
    if type(whole) is not BytesIO:
        first, whole = whole, BytesIO()
        whole.write(first)
        pieces[0] = whole
    whole.write(view)


def joined(pieces: List[Any]) -> bytes:
    """All that `gather_piece` has added."""
    if not pieces:
        return b""
    whole = pieces[0]
    if type(whole) is not BytesIO:
        return bytes(whole)
    value = whole.getvalue()
    if len(value) >= LONG:
        keep_freed_memory()
    return value


def keep_freed_memory() -> None:
    """For long messages and bodies: has the allocator keep what they leave; once a process.

    glibc gives blocks over 128 KiB back to the kernel when they are freed, and each page of the next one is a fault: half the
    time of an echo of 1 MiB, nine tenths of what it takes to gather that. Freeing one large block, never touched, raises that
    bound to its size (mallopt(3)).
    """
    if not _kept:
        _kept.append(len(bytes(KEPT)))
