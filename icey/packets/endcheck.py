"""Debug mode: finds the stage that keeps FINAL to itself.

FINAL tells who stands behind that the whole has come: a FileSink renames its file, a WebSocketSink closes. A stage that makes
packets of its own, and leaves out the flags of the one that it was given, swallows it: nothing fails, but who stands behind is
never told. When a stream that FINAL has ended is through, each stage was given it or never will be, and that is the moment of
the look. A stage behind which nobody stands may keep it.
"""

from __future__ import annotations

from ..base import log
from ..base.debug import switched_on
from ..base.errors import GraphError
from .packet import CONTRACT, PacketFlags

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Optional, Sequence, Set

    from .adapter import PacketProcessor, Stage

FINAL = PacketFlags.FINAL


def end_check(sources: Sequence[Any], stages: Sequence[PacketProcessor]) -> Optional[EndCheck]:
    """One for a chain, where ICEY_DEBUG or a loop of its sources or stages says debug; else None."""
    loops = [getattr(one, "loop", None) for one in (*sources, *stages)]
    if switched_on(None) or any(loop.debug for loop in loops if loop is not None):
        return EndCheck(stages)
    return None


class EndCheck:
    """What each of `stages` was given of the end."""

    __slots__ = ("_stages", "_given")

    def __init__(self, stages: Sequence[PacketProcessor]) -> None:
        self._stages = stages
        self._given: Set[int] = set()

    def way(self, index: int, entry: Stage) -> Stage:
        """The way into stage `index`, whose entry is `entry`; behind the last stage: into the output."""
        given = self._given

        def note(packet: Any) -> None:
            if packet.flags & FINAL:
                given.add(index)
            entry(packet)

        return note

    def tell(self, name: str, heard: bool) -> None:
        """Logs which stage of the stream `name` has kept FINAL from who stands behind it. heard: the output has slots."""
        for index, stage in enumerate(self._stages):
            behind = index + 1
            if index in self._given and behind not in self._given and (behind < len(self._stages) or heard):
                next_one = type(self._stages[behind]).__name__ if behind < len(self._stages) else "the output"
                log.warning("packetstream", "%s", GraphError(
                    "%s: %s was given FINAL and kept it, so %s was never told of the end"
                    % (name or "a stream", type(stage).__name__, next_one), "self.emit(data, packet.flags)", CONTRACT))
