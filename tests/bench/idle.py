"""What an idle connection costs icey in memory, one of HTTP or a WebSocket, and thousands of them the others in time.

    python tests/bench/idle.py                              # 5 000 connections that made one bare request each
    python tests/bench/idle.py --requests 2 --cookies       # two browser-like requests, each with a cookie of its own
    python tests/bench/idle.py --settle 60                  # idle connections drop their header memo: look again later
    python tests/bench/idle.py --check                      # exit 1 past 3 KiB a connection or 50 ms
    python tests/bench/idle.py --subject raw                # the floor: a dictionary of sockets (see http_hello.py)
    python tests/bench/idle.py --subject websocket          # WebSockets that echoed one message each
    python tests/bench/idle.py --subject deflate            # the same, compressed both ways; 1 000 of them
    python tests/bench/idle.py --python ~/py38/bin/python --json result.json

Rules: memory is the resident set of the server process (proportional and anonymous parts are in the JSON), before any
of the connections was made but after some others came and went, again when all is quiet, and once more after --settle
seconds; kernel memory of the sockets is not in it. --check holds the larger of the two. Then 200 of the idle
connections, drawn at random, ask once more, one at a time, and 50 new ones come: each must be answered within 50 ms.
No idle connection may have been closed meanwhile: the server runs with the default limits, but with a longer keep-alive
deadline where --settle would outlast the default. WebSockets have no pings here that go out (their timers are there), and a
message of 6 KiB; --requests is how many. Goals, in KiB a connection: 3 of HTTP, 4 a WebSocket, 90 a compressed one. See
harness.py for the rules all benchmarks share. Linux only (/proc/PID/smaps_rollup). Not here: throughput (http_hello.py).
"""

import argparse
import os
import random
import resource
import select
import socket
import statistics
import sys
import time
import zlib

import harness
import http_hello
import traffic

BARS_KIB, BAR_MS = {"icey": 3.0, "websocket": 4.0, "deflate": 90.0}, 50.0
WEBSOCKETS = ("websocket", "deflate")
UPGRADE = ("GET / HTTP/1.1\r\nHost: www.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n")
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
DEFAULT_KEEP_ALIVE = 30.0  # seconds, as in API.md
QUIET = 1.5  # seconds after the last answer: one sweep of the server has passed
ASKED, FRESH = 200, 50


def serve_websockets(root):
    """A child: echoes, with the defaults of icey."""
    icey = harness.serve_from(root)

    def accept(exchange):
        icey.http.WebSocket.accept(exchange, ping_interval=3600.0).on_message += echo

    def echo(ws, data):
        ws.send(data)

    loop = icey.Loop()
    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += accept
    server.start()
    print(server.address.port, flush=True)
    loop.run()


def received(sock, size):
    """So many bytes."""
    data = b""
    while len(data) < size:
        got = sock.recv(size - len(data))
        if not got:
            raise harness.BenchError("the server closed a connection after %r" % data[:200])
        data += got
    return data


class Guest:
    """A client's end of a WebSocket."""

    def __init__(self, sock, deflate, pick):
        self.sock = sock
        sock.sendall((UPGRADE % (OFFER * deflate)).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += received(sock, 1)
        if not answer.startswith(b"HTTP/1.1 101 ") or (b"permessage-deflate" in answer) is not deflate:
            raise harness.BenchError("no good answer to the handshake: %r" % answer)
        self.deflate, self.echoes = deflate, 0
        self.text = b"%0*x" % (6144, pick.getrandbits(4 * 6144))

    def talk(self):
        """Sends a message and waits for its echo; the seconds that took. No context is kept here: thousands would not fit."""
        start, payload = time.perf_counter(), self.text
        if self.deflate:
            packer = zlib.compressobj(wbits=-12)  # any server's window
            payload = (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        self.sock.sendall(bytes((0xC2 if self.deflate else 0x82, 254)) + len(payload).to_bytes(2, "big") + bytes(4) + payload)
        head = received(self.sock, 4)
        data = received(self.sock, int.from_bytes(head[2:], "big") if head[1] == 126 else head[1] - 2)
        if self.deflate:
            if head[1] < 126:
                data = head[2:] + data
            unpacker = zlib.decompressobj(wbits=-15, zdict=self.text * min(self.echoes, 5))
            data = unpacker.decompress(data + b"\x00\x00\xff\xff")
        if data != self.text:
            raise harness.BenchError("an echo that is none: %r" % data[:100])
        self.echoes += 1
        return time.perf_counter() - start


def allow_descriptors(wanted):
    """Raise the limit of open files, for us and the server we start; say so when the system does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise harness.BenchError("needs %d open files, the system allows %d: use --connections" % (wanted, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def request(pick, cookies):
    """A request: the bare one, or a browser's with a path and a cookie of its own."""
    if not cookies:
        return b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
    values = dict(traffic.CONSTANT, session=traffic.VALUES["session"](pick))
    head = "GET /%s HTTP/1.1\n%s\n" % (traffic.page(pick), traffic.CHROME % values)
    return head.replace("\n", "\r\n").encode()


def ask(sock, data):
    """Send one request and wait for its whole answer; return the seconds it took."""
    start = time.perf_counter()
    sock.sendall(data)
    answer = b""
    while not answer.endswith(http_hello.BODY):
        got = sock.recv(65536)
        if not got:
            raise harness.BenchError("the server closed a connection after %r" % answer[:200])
        answer += got
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise harness.BenchError("wrong answer %r" % answer[:200])
    return time.perf_counter() - start


def open_one(port, options, pick):
    """A connection: (its socket, a function that asks once and returns the seconds it took)."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    if options.subject in WEBSOCKETS:
        return sock, Guest(sock, options.subject == "deflate", pick).talk
    return sock, lambda: ask(sock, request(pick, options.cookies))


def open_connections(port, count, requests, options, pick):
    """Open connections that made some requests each and now are silent."""
    connections = []
    for _ in range(count):
        connections.append(open_one(port, options, pick))
        for _ in range(requests):
            connections[-1][1]()
    return connections


def closed_among(connections):
    """How many of the idle connections have something to read: the server has closed them."""
    poll = select.poll()
    for sock, _ in connections:
        poll.register(sock, select.POLLIN)
    return len(poll.poll(0))


def timed_answers(connections, port, options, pick):
    """Milliseconds to answer on idle connections drawn at random, and on new ones (connecting included)."""
    idle = [pick.choice(connections)[1]() * 1e3 for _ in range(ASKED)]
    fresh = []
    for _ in range(FRESH):
        start = time.perf_counter()
        sock, talk = open_one(port, options, pick)
        with sock:
            talk()
            fresh.append((time.perf_counter() - start) * 1e3)
    return idle, fresh


def latency(values):
    return {"median_ms": statistics.median(values), "max_ms": max(values)}


def measure(options):
    allow_descriptors(options.connections + 200)
    pick = random.Random(20)
    keep_alive = options.settle + 60 if options.settle + 15 > DEFAULT_KEEP_ALIVE else None
    if options.subject in WEBSOCKETS:
        command = [options.python, os.path.abspath(__file__), "--serve", options.root]
    else:
        command = http_hello.server_command(options.subject, options.python, keep_alive=keep_alive)
    with harness.Served(command) as server:
        # As many live objects as a burst of 64 needs are there before we begin to count.
        for sock, _ in open_connections(server.port, 64, 2, options, pick):
            sock.close()
        time.sleep(QUIET)
        before = harness.memory_kib(server.pid)
        start = time.perf_counter()
        connections = open_connections(server.port, options.connections, options.requests, options, pick)
        opened = time.perf_counter() - start
        try:
            time.sleep(QUIET)
            quiet = harness.memory_kib(server.pid)
            used = server.cpu()
            time.sleep(options.settle)
            used = server.cpu() - used
            settled = harness.memory_kib(server.pid)
            lost = closed_among(connections)
            idle, fresh = timed_answers(connections, server.port, options, pick) if not lost else ([0.0], [0.0])
        finally:
            for sock, _ in connections:
                sock.close()
    return {
        "connections": options.connections,
        "requests": options.requests,
        "cookies": options.cookies,
        "opened_per_second": options.connections / opened,
        "kib": {"before": before, "quiet": quiet, "settled": settled},
        "kib_each": {
            name: {kind: (after[kind] - before[kind]) / options.connections for kind in before}
            for name, after in (("quiet", quiet), ("settled", settled))
        },
        "idle_cpu_percent": used / options.settle * 100 if options.settle else None,
        "lost": lost,
        "answer": {"idle": latency(idle), "new": latency(fresh)},
    }


def show(result, settle):
    rows = [["before", "%d" % result["kib"]["before"]["rss"], "", ""]]
    for name, label in (("quiet", "quiet"), ("settled", "after %g s more" % settle)):
        each = result["kib_each"][name]
        rows.append([label, "%d" % result["kib"][name]["rss"], "%.2f" % each["rss"], "%.2f" % each["anonymous"]])
    harness.print_table(["server memory", "KiB", "KiB a connection", "of it anonymous"], rows)
    print()
    answer = result["answer"]
    rows = []
    for name, label in (("idle", "%d on idle connections" % ASKED), ("new", "%d on new connections" % FRESH)):
        rows.append([label, "%.2f" % answer[name]["median_ms"], "%.2f" % answer[name]["max_ms"]])
    harness.print_table(["answers meanwhile", "median ms", "max ms"], rows)
    if result["idle_cpu_percent"] is not None:
        print("\nwhile all are idle the server uses %.2f %% of a core" % result["idle_cpu_percent"])


def verdict(result, goal):
    wrong = []
    each = max(result["kib_each"][name]["rss"] for name in ("quiet", "settled"))
    if goal is not None and each > goal:
        wrong.append("%.2f KiB a connection, the goal is %g" % (each, goal))
    slowest = max(one["max_ms"] for one in result["answer"].values())
    if slowest > BAR_MS:
        wrong.append("an answer took %.1f ms, the bar is %g" % (slowest, BAR_MS))
    if result["lost"]:
        wrong.append("the server closed %d idle connections; nothing was asked" % result["lost"])
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, help="5000, or 1000 of deflate")
    parser.add_argument("--requests", type=int, default=1, help="requests each makes before it falls silent (1)")
    parser.add_argument("--cookies", action="store_true", help="browser-like requests, each with its own cookie")
    parser.add_argument("--settle", type=float, default=10.0, help="seconds of idleness before the second look (10)")
    parser.add_argument("--subject", choices=["icey", "raw", *WEBSOCKETS], default="icey")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the server")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--check", action="store_true", help="exit 1 past a bar")
    parser.add_argument("--root", default=harness.ROOT, metavar="DIR", help="the checkout whose WebSockets are served")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve_websockets(options.serve)
    if options.connections is None:
        options.connections = 1000 if options.subject == "deflate" else 5000
    if not os.path.exists("/proc/self/smaps_rollup"):
        print("idle: needs Linux's /proc/PID/smaps_rollup to read a process's memory", file=sys.stderr)
        return 2
    harness.die_on_sigterm()
    try:
        result = dict(measure(options), machine=harness.machine(options.python), subject=options.subject)
    except harness.BenchError as error:
        print("idle: %s" % error, file=sys.stderr)
        return 2
    what = (result["machine"], options.subject, options.connections, options.requests, ", cookies" * options.cookies)
    print("%s; %s, %d connections, requests each: %d%s\n" % what)
    show(result, options.settle)
    harness.report(result, options.json)
    goal = BARS_KIB.get(options.subject)
    each = max(result["kib_each"][name]["rss"] for name in ("quiet", "settled"))
    if goal is not None:
        print("%.2f KiB a connection, the goal is at most %g: %s" % (each, goal, "met" if each <= goal else "not met"))
    wrong = verdict(result, goal)
    for line in wrong:
        print("!!! " + line, file=sys.stderr)
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
