"""What it costs to take a request's body: icey beside RAW, which only counts the bytes, Go, Node and others.

    tox -e bench -- bodies                                     # three rounds, about 5 minutes
    python tests/bench/bodies.py --rounds 1 --scenario post64k --peer go
    python tests/bench/bodies.py --peer none --against ../icey-before --json result.json
    python tests/bench/bodies.py --check                       # exit 1 past the goals, or on any error

Each server reads the body as it comes and answers with its size (RAW: with a constant). Scenarios, 16 connections that are
kept; in brackets the goal for icey:

    post4k    POST of 4 KiB [1.4 x RAW]
    post64k   POST of 64 KiB [1.2 x RAW, and less than Go]
    post1m    POST of 1 MiB [1.05 x RAW]
    chunked   POST of 16 chunks of 4 KiB, which come together

Subjects: http_servers.py. Columns and rules as in http_hello.py; MB/s are bytes of bodies. RAW reads up to 72 KiB at once.
Needs Linux and `wrk`. Not here: bodies that are sent (client.py), forms, files.
"""

import sys

import http_load

CONNECTIONS = 16
KIB, MIB = 1 << 10, 1 << 20


def post(size):
    """A list of the one request."""
    return ["POST /sink HTTP/1.1\nHost: www.example.com\nContent-Type: application/octet-stream\nContent-Length: %d\n\n%s"
            % (size, "x" * size)]


def chunked(size, count):
    """A list of the one request."""
    chunk = "%x\n%s\n" % (size, "x" * size)
    return ["POST /sink HTTP/1.1\nHost: www.example.com\nTransfer-Encoding: chunked\n\n%s0\n\n" % (chunk * count)]


def scenario(requests, size, goal=None, **wanted):
    return http_load.Scenario(requests, goal, handler="sink", answer=b"%d" % size, size=size, connections=CONNECTIONS, **wanted)


SCENARIOS = {
    "post4k": scenario(lambda: post(4 * KIB), 4 * KIB, 1.4),
    "post64k": scenario(lambda: post(64 * KIB), 64 * KIB, 1.2, ahead_of="go"),
    "post1m": scenario(lambda: post(MIB), MIB, 1.05),
    "chunked": scenario(lambda: chunked(4 * KIB, 16), 64 * KIB),
}


if __name__ == "__main__":
    sys.exit(http_load.main("bodies", SCENARIOS, http_load.parser_of(__doc__, list(SCENARIOS)).parse_args()))
