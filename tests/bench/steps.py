"""What icey's HTTP server itself costs a request: nanoseconds on the processor, without the kernel.

    python tests/bench/steps.py                            # all rows, about 5 s of one processor
    python tests/bench/steps.py --quick                    # the same in 2 s, a little less exact
    python tests/bench/steps.py --against ../icey-before   # a second checkout, in turn with this one
    python tests/bench/steps.py --row get --row stream     # some rows (the bare GET, which is the unit, always comes too)
    python tests/bench/steps.py --python ~/py38/bin/python --json result.json

A server as a user gets it (default limits, no access log, release mode) on a loop whose selector never has anything, and
streams over a socket of ours: recv hands out what the row says, send takes all. So what is measured is what icey does between
recv and send, and not the recv and the send, which are four fifths of a small request and noise.

Rules
- Each checkout has three processes of its own, one after the other; a batch of about 2 ms is measured in each checkout's in
  turn, row after row, round after round. What counts is a row's least time over all rounds, on the clock of the thread's time
  on the processor: on a machine that others use it repeats within 5 %. Compare inside one run.
- Each row's answer is looked at before it is measured; after each batch the connection has to be ready for the next one.
- A row's `x GET` is its time in bare GETs: that travels from machine to machine, and is what tests/test_steps.py holds.
- Cached is what a real server would have cached too, but the worst case stands beside it: rows whose values are new each time.

Rows of requests after which the connection closes: connections are made before and ended after the clock runs, but for
`newconn`, which counts all of a connection's life.

Not here: what the kernel takes (http_hello.py, bodies.py), and what others take.
"""

import argparse
import itertools
import json
import os
import selectors
import subprocess
import sys
import time

import harness

BATCH = 0.002  # seconds of one measurement
ROUNDS, QUICK = 60, 15
PROCESSES = 3  # of a checkout, one after the other: where things lie in memory, and in dicts, differs from one to the next
WARM_UP = 0.005  # seconds of each row, at least
COMPILED = 1.0  # the same where a compiler has to see it first: PyPy
PATIENCE = 100  # turns of a loop that a request may take
TIMER = getattr(time, "thread_time", time.perf_counter)

# -- a socket, a selector ---------------------------------------------------------------------------------------------


class Nothing(selectors.BaseSelector):
    """A selector that knows of nothing, and does not wait."""

    def register(self, fileobj, events, data=None):
        pass

    def unregister(self, fileobj):
        pass

    def modify(self, fileobj, events, data=None):
        pass

    def select(self, timeout=None):
        return []

    def get_map(self):
        return {}


class Socket:
    """Hands out what is in `reads`, last first; takes all that is sent, and keeps it where `sent` is a list."""

    family = 2
    number = 1 << 20  # a descriptor that no process has

    def __init__(self):
        self.reads, self.sent = [], None
        Socket.number += 1
        self.number = Socket.number

    def fileno(self):
        return self.number

    def recv(self, size):
        return self.reads.pop() if self.reads else b""

    def recv_into(self, buffer):
        data = self.recv(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def send(self, data):
        if self.sent is not None:
            self.sent.append(bytes(data))
        return len(data)

    def sendmsg(self, parts):
        if self.sent is not None:
            self.sent += map(bytes, parts)
        return sum(map(len, parts))

    def getsockname(self):
        return "127.0.0.1", 80

    def setblocking(self, flag):
        pass

    def setsockopt(self, *args):
        pass

    def shutdown(self, how):
        pass

    def close(self):
        pass


# -- the application -------------------------------------------------------------------------------------------------

PLAIN = "text/plain; charset=utf-8"
BODY = b"Hello, world!"
NUMBERS = itertools.count()


def hello(exchange):
    exchange.respond(200, BODY, PLAIN)


def with_list(exchange):
    exchange.respond(200, BODY, PLAIN, [
        ("ETag", '"5f2c-61a8b"'), ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-cache")])


def with_new(exchange):
    exchange.respond(200, BODY, PLAIN, [
        ("ETag", '"5f2c-%x"' % next(NUMBERS)), ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-cache")])


def with_response(exchange):
    headers = exchange.response.headers
    headers["ETag"] = '"5f2c-61a8b"'
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cache-Control"] = "no-cache"
    exchange.respond(200, BODY, PLAIN)


def stream(exchange):
    exchange.response.headers["Content-Type"] = PLAIN
    exchange.send(b"Hello")
    exchange.send(b", world!")
    exchange.end()


def piece(exchange, view):
    pass


def taken(exchange):
    exchange.respond(200, BODY, PLAIN)


def take(exchange):
    exchange.on_payload += piece
    exchange.on_complete += taken


def gathered(exchange, body):
    exchange.respond(200, BODY, PLAIN)


def gather(exchange):
    exchange.collect(gathered)


# -- the rows --------------------------------------------------------------------------------------------------------

HOST = b"Host: 127.0.0.1\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
BROWSER = b"""\
GET /news/article-%d HTTP/1.1
Host: www.example.com
Connection: keep-alive
sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"
sec-ch-ua-platform: "Linux"
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: navigate
Sec-Fetch-Dest: document
Referer: https://www.example.com/blog/page-%d
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9,de;q=0.8
If-None-Match: "5f2c-61a8b"
Cookie: theme=dark; session=c0ffee00c0ffee00; consent=1

""".replace(b"\n", b"\r\n")
CHUNK = b"1000\r\n" + b"x" * 4096 + b"\r\n"
DISTINCT = 997  # requests of a row whose requests differ: a prime number, so that batches do not begin alike


def post(size, *cuts):
    """A POST of `size` bytes in reads that end at `cuts`, and at its end."""
    data = (b"POST /sink HTTP/1.1\r\n" + HOST + b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
            % size + b"x" * size)
    ends = [*cuts, len(data)]
    return [data[begin:end] for begin, end in zip([0, *cuts], ends)]


class Row:
    """What is asked, as reads: `requests`, each a list of them, sent in turn. `answers` a request; `one_each`: connection."""

    def __init__(self, title, handler, *requests, answers=1, one_each=False, whole_life=False):
        self.title, self.handler, self.requests = title, handler, requests
        self.answers, self.one_each, self.whole_life = answers, one_each or whole_life, whole_life


def rows():
    """{name: Row}; the first one is the unit."""
    big = range(65536, 1 << 20, 65536)
    chunked = [b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK, *[CHUNK] * 15, b"0\r\n\r\n"]
    browser = [[BROWSER % (number, number * 7)] for number in range(DISTINCT)]
    close = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    old = GET.replace(b"1.1", b"1.0")
    return {
        "get": Row("GET, nothing but Host", hello, [GET]),
        "browser": Row("GET, 14 headers, path and one new", hello, *browser),
        "headers": Row("3 headers: respond(headers=list)", with_list, [GET]),
        "newheader": Row("the same, one of them new each time", with_new, [GET]),
        "response": Row("3 headers: response.headers[...]", with_response, [GET]),
        "stream": Row("chunked answer: send, send, end", stream, [GET]),
        "pipelined": Row("pipelined 16, a request", hello, [GET * 16], answers=16),
        "close": Row("Connection: close", hello, [close], one_each=True),
        "http10": Row("HTTP/1.0", hello, [old], one_each=True),
        "http10keep": Row("HTTP/1.0, keep-alive", hello, [old.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")]),
        "newconn": Row("new connection, GET, its end", hello, [close], whole_life=True),
        "post4k": Row("POST 4 KiB, on_payload", take, post(4096)),
        "post4kcollect": Row("POST 4 KiB, collect", gather, post(4096)),
        "post64k": Row("POST 64 KiB, on_payload, one read", take, post(65536)),
        "post64k2": Row("POST 64 KiB, on_payload, two reads", take, post(65536, 65536)),
        "post64kcollect": Row("POST 64 KiB, collect, one read", gather, post(65536)),
        "post64kcollect2": Row("POST 64 KiB, collect, two reads", gather, post(65536, 65536)),
        "post1m": Row("POST 1 MiB, on_payload, 17 reads", take, post(1 << 20, *big, 1 << 20)),
        "post1mcollect": Row("POST 1 MiB, collect, 17 reads", gather, post(1 << 20, *big, 1 << 20)),
        "chunked": Row("POST chunked 16 x 4 KiB, on_payload", take, chunked),
        "chunkedcollect": Row("POST chunked 16 x 4 KiB, collect", gather, chunked),
    }


# -- one checkout's process ------------------------------------------------------------------------------------------


class Bench:
    """A server for one row."""

    def __init__(self, icey, row, warm_up):
        self.icey, self.row, self.turn = icey, row, 0
        self.loop = icey.Loop(False, clock=lambda: 0.0, selector=Nothing())  # no deadline falls
        self.server = icey.http.Server(self.loop, "127.0.0.1", 0)
        self.server.on_request += row.handler
        self.server.start()
        self.requests = [request[::-1] for request in row.requests]  # a read pops the last one
        self.kept = None if row.one_each else self.connect()
        self.look()
        self.count = 1
        began = spent = 0.0
        while spent < warm_up:
            began = self.seconds(self.count)
            spent += began
            if began < BATCH:
                self.count *= 2
        self.count = max(1, int(self.count * BATCH / began))

    def connect(self):
        stream = self.icey.TCPSocket(self.loop, Socket(), self.icey.Address("127.0.0.1", 9))
        stream.max_queue = None
        return self.server.begin(stream)

    def ask(self, connection, request):
        """One request, read by read."""
        stream = connection.stream
        reads = stream.sock.reads
        for data in reversed(request):
            if stream.reader is None:  # it is held until a later turn
                self.wait(stream)
            reads.append(data)
            stream.reader(1)

    def wait(self, stream):
        for _ in range(PATIENCE):
            self.loop.run_once(0)
            if stream.reader is not None:
                return
        raise harness.BenchError("%s: the stream is not read" % self.row.title)

    def end(self, connection):
        """The client's end behind a last answer."""
        connection.stream.reader(1)

    def look(self):
        """Whether the answers are right, before they are measured."""
        connection = self.kept or self.connect()
        for request in self.requests[:2] if self.kept else self.requests[:1]:
            connection.stream.sock.sent = sent = []
            self.ask(connection, request)
            self.loop.run_once(0)
            found = b"".join(sent)
            body = b"5\r\nHello\r\n8\r\n, world!\r\n0\r\n\r\n" if b"chunked" in found else BODY
            if found.count(b"HTTP/1.1 200 OK\r\n") != self.row.answers or not found.endswith(b"\r\n\r\n" + body):
                raise harness.BenchError("%s: a wrong answer, %r" % (self.row.title, found[:2000]))
        connection.stream.sock.sent = None
        if not self.kept:
            self.end(connection)
            self.loop.run_once(0)

    def seconds(self, count):
        """A batch of `count` requests; the seconds they take, all together."""
        requests, turn, ask = self.requests, self.turn, self.ask
        chosen = [requests[number % len(requests)] for number in range(turn, turn + count)]
        self.turn = (turn + count) % len(requests)
        if self.row.whole_life:
            spent = self.lives(chosen)
        elif self.row.one_each:
            connections = [self.connect() for _ in chosen]
            began = TIMER()
            for connection, request in zip(connections, chosen):
                ask(connection, request)
            spent = TIMER() - began
            for connection in connections:
                self.end(connection)
        else:
            connection = self.kept
            began = TIMER()
            for request in chosen:
                ask(connection, request)
            spent = TIMER() - began
        self.loop.run_once(0)
        if self.server.connections != (() if self.kept is None else (self.kept,)) or (self.kept and self.kept.exchange):
            raise harness.BenchError("%s: something is left" % self.row.title)
        return spent

    def lives(self, chosen):
        began = TIMER()
        for request in chosen:
            connection = self.connect()
            self.ask(connection, request)
            self.end(connection)
            self.loop.run_once(0)
        return TIMER() - began


def work(root, warm_up):
    """A child: gets names of rows on stdin, a line each; prints the nanoseconds of a request of that row."""
    warm_up = warm_up or (COMPILED if sys.implementation.name == "pypy" else WARM_UP)
    icey = harness.serve_from(root)
    all_rows, ready = rows(), {}
    for line in sys.stdin:
        name = line.strip()
        bench = ready.get(name)
        if bench is None:
            bench = ready[name] = Bench(icey, all_rows[name], warm_up)
        print(bench.seconds(bench.count) / bench.count / bench.row.answers * 1e9, flush=True)
    os._exit(0)  # nothing is closed in order: it would take longer than the run


# -- the parent ------------------------------------------------------------------------------------------------------


class Worker:
    """A checkout's process."""

    def __init__(self, python, root, warm_up):
        self.root = root
        # Neither the environment (debug mode, warnings) nor what is installed takes part, such as a measuring .pth file.
        self.process = subprocess.Popen(
            [python, "-E", "-S", os.path.abspath(__file__), "--work", root, "--warm-up", str(warm_up)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)

    def measure(self, name):
        """Nanoseconds of a request, by one batch."""
        try:
            self.process.stdin.write(name + "\n")
            self.process.stdin.flush()
        except OSError:
            pass
        line = self.process.stdout.readline()
        if not line.strip():
            raise harness.BenchError("%s ended; row %s" % (self.root, name))
        return float(line)

    def end(self):
        harness.end(self.process)
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except OSError:
                pass


def measure(roots, names, rounds, python=sys.executable, warm_up=0.0, processes=PROCESSES):
    """[{name: least nanoseconds}] of each checkout."""
    found = [dict.fromkeys(names, float("inf")) for _ in roots]
    processes = min(processes, rounds)
    for process in range(processes):
        workers = []
        try:
            for root in roots:
                workers.append(Worker(python, root, warm_up))
            for number in range(process, rounds, processes):
                for name in names:
                    for which in range(len(roots))[:: 1 if number % 2 else -1]:
                        found[which][name] = min(found[which][name], workers[which].measure(name))
        finally:
            for worker in workers:
                worker.end()
    return found


def show(names, found, against):
    all_rows = rows()
    unit = names[0]
    head = ["", "ns", "x GET"] + ["before, ns", "x GET", "now/before"] * against
    lines = []
    for name in names:
        line = [all_rows[name].title]
        for one in found:
            line += ["%.0f" % one[name], "%.2f" % (one[name] / one[unit])]
        if against:
            line.append("%.2f" % (found[0][name] / found[1][name]))
        lines.append(line)
    harness.print_table(head, lines)


def main():
    names = list(rows())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="batches of each row, of which the least counts (%d)" % ROUNDS)
    parser.add_argument("--quick", action="store_true", help="%d rounds" % QUICK)
    parser.add_argument("--row", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--against", metavar="CHECKOUT", type=os.path.abspath, help="another checkout of icey, measured too")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that is measured")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--warm-up", type=float, default=0.0, metavar="SECONDS",
                        help="of each row before it is measured (%g, with PyPy %g)" % (WARM_UP, COMPILED))
    parser.add_argument("--processes", type=int, default=PROCESSES, help="one after the other (%d)" % PROCESSES)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        try:
            return work(options.work, options.warm_up)
        except harness.BenchError as error:
            print("steps: %s" % error, file=sys.stderr)
            return 2
    rounds = options.rounds or (QUICK if options.quick else ROUNDS)
    chosen = [name for name in names if name == names[0] or not options.row or name in options.row]
    harness.die_on_sigterm()
    try:
        found = measure([harness.ROOT] + [options.against] * bool(options.against), chosen, rounds, options.python,
                        options.warm_up, options.processes)
    except harness.BenchError as error:
        print("steps: %s" % error, file=sys.stderr)
        return 2
    print("%s; the least of %d batches; no kernel" % (harness.machine(options.python), rounds))
    show(chosen, found, bool(options.against))
    result = {"bench": "steps", "machine": harness.machine(options.python), "rounds": rounds, "ns": found[0]}
    if options.against:
        result["before_ns"] = found[1]
    if options.json:
        with open(options.json, "w") as out:
            json.dump(harness.rounded(result), out, indent=1, sort_keys=True)
            out.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
