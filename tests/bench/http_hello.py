"""What icey's HTTP server costs in CPU time a request, in multiples of the cheapest server that Python can be, beside others.

    tox -e bench -- http_hello                                        # three rounds of all scenarios, about 11 minutes
    python tests/bench/http_hello.py                                  # the same, with what peers are installed
    python tests/bench/http_hello.py --rounds 1 --scenario bare --scenario browser --peer go
    python tests/bench/http_hello.py --peer none --check              # exit 1 past the goals, or on any error
    python tests/bench/http_hello.py --python ~/py38/bin/python       # RAW and icey under another interpreter
    python tests/bench/http_hello.py --against ../icey-before         # a second checkout, side by side in the same run
    python tests/bench/http_hello.py --json result.json               # each round's numbers too
    python tests/bench/http_hello.py --only-raw --rounds 2            # is the machine quiet enough?

Subjects, each in a process of its own, started afresh for every round of every scenario: RAW, which parses nothing, icey,
`against`, Go, Node, uvicorn, waitress (see http_servers.py). A peer that is not installed is left out, and said.

Scenarios, with 64 connections that are kept, but for close, http10 and newconn; in brackets the goal:

    bare         GET / with nothing but Host [1.2 x RAW]
    browser      14 headers as a browser sends them; the path and ONE header (Referer) are new in every request [1.35]
    three        the same; the path and THREE headers (Referer, If-None-Match, Cookie) are new in every request [1.5]
    alternating  the header sets of two browsers taking turns on each connection, as behind a proxy; the path is new
    headers      bare, and the answer has three headers more [1.35]
    stream       bare, and the answer comes chunked, in two pieces; RAW's stays one send of a constant [3.0]
    pipelined    bare, 16 requests at once [400 000 a second]
    close        bare, and the client asks for the end: the server closes, each request has a connection of its own [1.3]
    http10       the same by HTTP/1.0 [1.3]
    newconn      bare, and the client closes: each request has a connection of its own, too [1.3]

Columns: server CPU microseconds per request, and that in multiples of RAW (median, least and most of the rounds); whether
the goal is met; requests per second; latency; how busy the server's core was (below 90 % the client or a neighbour was the
limit: trust CPU, not req/s); errors, which must be none. How it is measured: http_load.py; the rules: harness.py. Compare
inside one run only. Needs Linux and `wrk` (Debian: apt-get install wrk). Not here: bodies (bodies.py), TLS, files.
"""

import os
import sys

import http_load
import http_servers
import traffic

BODY = http_servers.BODY
Scenario = http_load.Scenario

SCENARIOS = {
    "bare": Scenario(traffic.SCENARIOS["bare"], 1.2),
    "browser": Scenario(traffic.SCENARIOS["browser"], 1.35),
    "three": Scenario(traffic.SCENARIOS["three"], 1.5),
    "alternating": Scenario(traffic.SCENARIOS["alternating"]),
    "headers": Scenario(traffic.SCENARIOS["headers"], 1.35, handler="headers"),
    "stream": Scenario(traffic.SCENARIOS["stream"], 3.0, handler="stream"),
    "pipelined": Scenario(traffic.SCENARIOS["bare"], rate=400e3, depth=16),
    "close": Scenario(traffic.SCENARIOS["close"], 1.3, closing=True),
    "http10": Scenario(traffic.SCENARIOS["http10"], 1.3, closing=True),
    "newconn": Scenario(traffic.SCENARIOS["bare"], 1.3, ending=True),
}


def server_command(subject, python=sys.executable, root=http_load.harness.ROOT, keep_alive=None):
    """The command line of a serving child: `raw` or `icey`; `keep_alive`: seconds that an idle connection may last."""
    words = ["raw"] if subject == "raw" else ["icey", root, "hello"] + [str(keep_alive)] * (keep_alive is not None)
    return [python, os.path.abspath(http_servers.__file__)] + words


if __name__ == "__main__":
    sys.exit(http_load.main("http_hello", SCENARIOS, http_load.parser_of(__doc__, list(SCENARIOS)).parse_args()))
