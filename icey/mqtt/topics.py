"""Routes: which functions a message goes to: topic filters with wildcards (MQTT 3.1.1 section 4.7), as a tree of their levels.

    routes = Routes(rest)
    routes.add("house/+/temperature", fn)
    routes.find("house/kitchen/temperature")     # (fn,)

Rules
- "+" stands for one level, which may be empty; "#" for the level before it and all below. Neither, as a first level, takes a
  topic that begins with "$" (MQTT-4.7.2-1).
- A level of "$share/group/filter", which many brokers know, is that of the filter behind the group.
- What is found for a topic is remembered, for as many topics as KEPT, until a filter comes or goes: most messages cost one
  look into a dictionary, however many filters there are.

Not here: which texts are filters (packets.py).
"""

from __future__ import annotations

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Tuple

    Route = Callable[..., Any]
    Found = Tuple[Route, ...]

KEPT = 4096  # topics whose routes are remembered
LONGEST_KEPT = 256  # characters of such a topic


class _Level:
    """A place in the tree: `below`: level -> its place; `routes`: those of the filter that ends here."""

    __slots__ = ("below", "routes")

    def __init__(self) -> None:
        self.below: Dict[str, _Level] = {}
        self.routes: List[Route] = []


class Routes:
    """Filters and their functions. `rest`: the function for a topic that no filter takes.

    `found`: topic -> its functions, of those that were asked for of late.
    """

    __slots__ = ("found", "_rest", "_root")

    def __init__(self, rest: Route) -> None:
        self.found: Dict[str, Found] = {}
        self._rest = rest
        self._root = _Level()

    def add(self, wanted: str, route: Route) -> None:
        """Has the topics that `wanted` takes go to `route`, too; each of them once, whatever filters it has."""
        level = self._root
        for name in _levels(wanted):
            level = level.below.setdefault(name, _Level())
        level.routes.append(route)
        self.found.clear()

    def remove(self, wanted: str, route: Route) -> None:
        """Undoes one `add`."""
        path = [self._root]
        names = _levels(wanted)
        for name in names:
            path.append(path[-1].below[name])
        path[-1].routes.remove(route)
        for level, name in zip(reversed(path[:-1]), reversed(names)):
            if level.below[name].routes or level.below[name].below:
                break
            del level.below[name]
        self.found.clear()

    def clear(self) -> None:
        """Forgets all of them."""
        self._root = _Level()
        self.found.clear()

    def find(self, topic: str) -> Found:
        """The functions for a topic, in no order that is promised."""
        found = self.found.get(topic)
        if found is None:
            found = tuple(dict.fromkeys(self._walk(topic))) or (self._rest,)
            if len(topic) <= LONGEST_KEPT:
                if len(self.found) >= KEPT:
                    self.found.clear()
                self.found[topic] = found
        return found

    def _walk(self, topic: str) -> Iterator[Route]:
        names = topic.split("/")
        hidden = topic[0] == "$"
        places = [self._root]
        for depth, name in enumerate(names):
            wild = depth > 0 or not hidden
            following = []
            for level in places:
                below = level.below
                if name in below and name != "+" and name != "#":
                    following.append(below[name])
                if wild:
                    if "+" in below:
                        following.append(below["+"])
                    if "#" in below:
                        yield from below["#"].routes
            places = following
            if not places:
                return
        for level in places:
            yield from level.routes
            if "#" in level.below:  # "a/#" takes "a", too (section 4.7.1.2)
                yield from level.below["#"].routes


def _levels(wanted: str) -> List[str]:
    names = wanted.split("/")
    return names[2:] if names[0] == "$share" and len(names) > 2 else names


def takes(wanted: str, topic: str) -> bool:
    """Whether the filter `wanted` takes `topic`: the rule itself, level by level."""
    ours, theirs = _levels(wanted), topic.split("/")
    if topic[:1] == "$" and ours[0] in ("+", "#"):
        return False
    for number, name in enumerate(ours):
        if name == "#":
            return True
        if number >= len(theirs) or name not in ("+", theirs[number]):
            return False
    return len(ours) == len(theirs)
