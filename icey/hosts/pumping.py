"""pump(): turns of a loop within a budget of time, for who has a main loop of their own that waits for nobody: games, timers of
Blender, a program that draws frames.

Not here: a main loop that can wait for a descriptor (host.py): it wakes when there is something to do, which costs less.
"""

from __future__ import annotations

from ..base.emitter import require_loop
from ..base.timer import seconds

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from ..base.loop import Loop


def pump(loop: Loop, budget: float = 0.002) -> bool:
    """Turns `loop` until nothing is ready, or `budget` seconds (of the loop's clock) are gone; never waits.

    At least one turn, and a slot that takes longer is not cut short. Returns what `run_once` returns: True while there is more
    to do, now or later. Call it once a frame. A running Idler takes the whole budget.
    """
    require_loop("pump", loop)
    end = loop.clock() + seconds(budget, "budget")
    while True:
        alive = loop.run_once(0)
        if not alive or loop.clock() >= end:
            return alive
        if loop.timeout() != 0 and not loop.poller.wait(0):  # a look: what is ready stays ready
            return alive
