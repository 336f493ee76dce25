"""/metrics of an inspector: its picture as numbers, in Prometheus' text format. Labels are bounded: kinds, states, names."""

from __future__ import annotations

from ...http.server.operations import Exposition

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict


def exposition(state: Dict[str, Any]) -> str:
    """The text for what Picture.state() has told."""
    page = Exposition()
    loop = state["loop"]
    page.add("icey_loop_held_seconds_total", "counter", "Time in turns that were long enough to hold up others.", (),
             loop["held"])
    if loop["turns"] is not None:
        page.add("icey_loop_turns", "gauge", "Turns a second, while somebody looks.", (), loop["turns"])
        page.add("icey_loop_busy_ratio", "gauge", "The share of the time in callbacks, while somebody looks.", (), loop["busy"])
    for row in state["kinds"]:
        labels = (("kind", row["kind"]),)
        page.add("icey_handles", "gauge", "Handles that are open and active.", labels, row["count"])
        page.add("icey_queued_bytes", "gauge", "Bytes that wait for the kernel.", labels, row["queued"])
    for server in state["servers"]:
        where = ("server", server["address"])
        page.add("icey_http_connections_total", "counter", "Connections that were accepted.", (where,),
                 server["accepted"])
        for name, count in sorted(server["states"].items()):
            page.add("icey_http_connections", "gauge", "Connections that are open, by their state.",
                     (where, ("state", name)), count)
    for stream in state["streams"]:
        labels = (("stream", "%d %s" % (stream["number"], stream["name"])),)
        page.add("icey_packets_dropped_total", "counter", "Packets that a stream, its queues and its ends have dropped.",
                 labels, stream["dropped"] + sum(stage.get("dropped", 0) for stage in stream["stages"]))
        page.add("icey_packets_queued", "gauge", "Packets that wait in a stream's queues.", labels,
                 sum(stage.get("depth", 0) for stage in stream["stages"]))
    page.add("icey_errors_total", "counter", "Errors that slots and callbacks have raised.", (), loop["errors"])
    return page.text()
