"""/metrics: each name is told of once, labels are escaped, numbers are the picture's."""
import re

import icey
from icey.tools.inspect.exposition import exposition
from tests.support import http, inspecting
from tests.support.streams import turn

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
inspector, window = inspecting.inspector, inspecting.window


def samples(text):
    """(name, labels) -> value."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge))", line)
            continue
        match = re.fullmatch(r'([a-z_]+)\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)*)\} ([0-9.e+-]+)', line)
        assert match, line
        assert match.group(1, 2) not in found
        found[match.group(1, 2)] = float(match.group(3))
    return found


def test_numbers_are_those_of_the_picture(loop, site, window):
    site.serve(http.ignore)
    site.client()
    queue = icey.SyncPacketQueue(loop, 2)
    stream = icey.PacketStream('we"ird\n\\')
    stream.attach(queue)
    stream.start()
    window.state()
    site.clock.advance(1)
    state = window.state()
    for _ in range(5):
        stream.write(b"x")
    found = samples(exposition(window.inspector.picture()))
    number = state["streams"][0]["number"]
    label = 'stream="%d we\\"ird\\n\\\\"' % number
    assert found["icey_packets_dropped_total", label] == queue.dropped == 3
    assert found["icey_packets_queued", label] == 2
    assert found["icey_http_connections_total", 'server="%s"' % site.server.address] == 1
    assert found["icey_http_connections", 'server="%s",state="receiving headers"' % site.server.address] == 1
    assert found["icey_handles", 'kind="TCPSocket"'] == 1 and found["icey_queued_bytes", 'kind="TCPSocket"'] == 0
    assert found["icey_errors_total", ""] == 0 and ("icey_loop_turns", "") in found and ("icey_loop_busy_ratio", "") in found
    turn(loop, 2)
    assert window.ask("/metrics").body.decode().replace("} 2\n", "} 0\n").count("\n") > len(found)
    stream.close()
