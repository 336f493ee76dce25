"""What a WebSocket message costs a server in CPU time: icey beside websockets, aiohttp, wsproto and Node's ws, echoing.

    python3 -m venv ~/vbench; ~/vbench/bin/pip install websockets aiohttp wsproto    # what is missing is left out, and said
    npm install --prefix ~/wsnode ws@8
    ~/vbench/bin/python tests/bench/websocket.py --node-path ~/wsnode/node_modules   # three rounds, about ten minutes
    python tests/bench/websocket.py --rounds 1 --task 125 --subject icey --subject raw
    python tests/bench/websocket.py --against ../icey-before --json result.json
    python tests/bench/websocket.py --check                                          # exit 1: a goal is not met, or an error

Tasks; each connection has one message under way, and sends the next when its echo is there, whole:

    125      125 bytes, binary, on 32 connections
    text     125 bytes of UTF-8 in a text message, on 32 connections
    16k      16 KiB, binary, on 8 connections
    64k      64 KiB, binary, on 4 connections
    1m       1 MiB, binary, on 2 connections
    deflate  16 KiB of JSON in a text message, on 8 connections, permessage-deflate both ways, nobody keeping its context: each
             server with its own level and memory, so see the bytes it sends ("wire") too
    Compression is off in all but the last: switched off in the servers, and not offered by the client.

Subjects: see websocket_servers.py, and `against`, icey from a second checkout. The client is the same for all: blocking Python
sockets and an epoll, on the other core, with frames masked beforehand under random keys without zero bytes. It looks at the
whole of the first echo of each connection, and at the head and the length of all others.

The measure is the CPU time of the server's process, in microseconds a message, from behind the handshakes on. Each round
starts fresh servers for each task and measures slices of a second in turn; a slice is compared with icey's beside it. Medians
of the slices make a round, medians of the rounds the table. `x icey` is the cost in multiples of icey's: above 1, icey is
ahead. Goals: every server in pure Python (websockets-pure, aiohttp-pure, wsproto) costs 1.3 times as much at every size, Node's
ws 1.2 times as much at 125 bytes of either kind, and all others but `raw` and `core` more than icey there; none for `deflate`,
where zlib's level is most of the cost. An echo of 64 KiB takes at most 115 us, on a quiet machine: `raw` says how quiet it is.
See harness.py for the rules all benchmarks share. Needs Linux. Not here: many clients that get the same (broadcast.py).
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import select
import socket
import statistics
import subprocess
import sys
import time
import zlib

import harness
import websocket_servers

NAMES = "icey core raw websockets websockets-pure aiohttp aiohttp-pure wsproto node".split()
TASKS = {"125": (125, 32), "text": (125, 32), "16k": (16384, 8), "64k": (65536, 4), "1m": (1 << 20, 2), "deflate": (16384, 8)}
SMALL = ("125", "text")
GOAL_PURE, GOAL_NODE, GOAL_OTHERS = 1.3, 1.2, 1.0  # times icey's CPU
GOALS_US = {"64k": 115.0}  # CPU of a message
TEXTS = ("text", "deflate")
FRAMES = 1 << 22  # bytes of frames made beforehand, at most: the keys that are met
EXTENSION = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
REQUEST = ("GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n")
ACCEPTED = b"s3pplmbitxaq9kygzzhzrbk+xoo="  # the answer to that key, in lower case

# -- the client, a child ---------------------------------------------------------------------------------------------


def payloads(task):
    """The messages of a task, without end."""
    size, chance = TASKS[task][0], random.Random(task)
    words = "näher alpha beta gamma delta epsilon user event value true false null status message".split()
    while True:
        if task not in TEXTS:
            yield bytes(chance.getrandbits(8) for _ in range(4096)) * (size >> 12) or bytes(range(size))
            continue
        rows, length = [], 0
        while length < size:
            row = {"id": chance.randrange(10**9), "kind": chance.choice(words), "score": round(chance.random(), 6),
                   "text": " ".join(chance.choice(words) for _ in range(12))}
            rows.append(json.dumps(row, ensure_ascii=False))
            length += len(rows[-1].encode())
        text = ("[%s]" % ",".join(rows)).encode()[:size]
        yield text if text.isascii() else text.decode(errors="ignore").encode().ljust(size)


def head(first, size, masked):
    """A frame's head, without the key."""
    flag = 128 * masked
    if size < 126:
        return bytes((first, flag | size))
    return bytes((first, flag | 126)) + size.to_bytes(2, "big") if size < 65536 else (
        bytes((first, flag | 127)) + size.to_bytes(8, "big"))


def frame(first, payload, chance):
    """A client's frame, under a random key without a zero byte."""
    key = bytes(chance.randrange(1, 256) for _ in range(4))
    size = len(payload)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return head(first, size, True) + key + (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")


def packed(payload):
    """A message as permessage-deflate has it."""
    squeezer = zlib.compressobj(wbits=-15)
    return (squeezer.compress(payload) + squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def unpacked(data):
    return zlib.decompressobj(wbits=-15).decompress(data + b"\x00\x00\xff\xff")


def connect(port, deflate):
    """A socket behind the handshake."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall((REQUEST % (port, "Sec-WebSocket-Extensions: %s\r\n" % EXTENSION if deflate else "")).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = sock.recv(4096)
        if not data:
            break
        answer += data
    lower = answer.lower()
    if not (lower.startswith(b"http/1.1 101") and ACCEPTED in lower and lower.endswith(b"\r\n\r\n")):
        raise harness.BenchError("no good answer to the handshake: %r" % answer[:500])
    if (b"permessage-deflate" in lower) is not deflate or (deflate and b"server_no_context_takeover" not in lower):
        raise harness.BenchError("not what was wanted in the way of compression: %r" % answer[:500])
    return sock


def received(sock, size):
    """So many bytes."""
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise harness.BenchError("the connection was closed behind %r" % bytes(data[:100]))
        data += piece
    return bytes(data)


def look(sock, first, payload):
    """The whole of an echo: (length of the frame). What is wrong must not be measured as fast."""
    start = received(sock, 2)
    size, start = start[1], start[:1] + start[1:]
    if size > 125:
        more = received(sock, 2 if size == 126 else 8)
        size, start = int.from_bytes(more, "big"), start + more
    data = received(sock, size)
    if start != head(first, size, False) or (unpacked(data) if first & 64 else data) != payload:
        raise harness.BenchError("an echo that is none: %r of %d bytes" % (start + data[:60], size))
    return len(start) + size


def plain_length(first, size):
    """A function: the length of the frame that begins `buffer`, which has to be the one expected."""
    expected = head(first, size, False)
    width = len(expected)
    total = width + size

    def length(buffer, taken):
        if buffer[:width] != expected or taken > total:
            raise harness.BenchError("an echo that is none: %r" % bytes(buffer[:min(taken, 60)]))
        return total

    return length


def packed_length(first, size):
    """As plain_length, where the server decides how much it becomes."""

    def length(buffer, taken):
        total = 4 + (buffer[2] << 8 | buffer[3])
        if buffer[0] != first or buffer[1] != 126 or not max(taken, 130) <= total <= 4 + size:
            raise harness.BenchError("a compressed echo that is none: %r" % bytes(buffer[:min(taken, 60)]))
        return total

    return length


def play(port, pid, task, seconds):
    """Drives the server `pid` for some seconds; what it answered and what that cost it."""
    size, count = TASKS[task]
    deflate = task == "deflate"
    first = 128 | 64 * deflate | (1 if task in TEXTS else 2)
    chance, source = random.Random(), payloads(task)
    contents = [next(source) for _ in range(max(4, min(64, FRAMES // size)))]
    frames = [frame(first, packed(one) if deflate else one, chance) for one in contents]
    wire, connections, epoll = [], {}, select.epoll()
    for number in range(count):
        sock = connect(port, deflate)
        number %= len(frames)
        sock.sendall(frames[number])
        wire.append(look(sock, first, contents[number]))
        connections[sock.fileno()] = sock
        epoll.register(sock.fileno(), select.EPOLLIN)
    length = (packed_length if deflate else plain_length)(first, size)
    messages, elapsed, used = drive(epoll, connections, frames, length, lambda: harness.cpu_seconds(pid), seconds)
    goodbye = frame(0x88, b"\x03\xe8", chance)
    for sock in connections.values():
        leave(sock, goodbye)
    return {"count": messages, "seconds": elapsed, "cpu": used, "wire": statistics.median(wire)}


def drive(epoll, connections, frames, length, clock, seconds):
    """The measured part: (messages, seconds, the server's CPU seconds)."""
    now, source, idle = time.perf_counter, itertools.cycle(frames), []
    left = dict.fromkeys(connections, 0)
    calls = {fd: (sock.recv_into, sock.sendall) for fd, sock in connections.items()}
    cpu, began = clock(), now()
    until = began + seconds
    for sock in connections.values():
        sock.sendall(next(source))
    count = exchange(epoll.poll, calls, left, length, source, lambda: now() < until)
    elapsed, used = now() - began, clock() - cpu
    calls = {fd: (sock.recv_into, idle.append) for fd, sock in connections.items()}  # the echoes that are under way
    exchange(epoll.poll, calls, left, length, source, lambda: len(idle) < len(calls))
    return count, elapsed, used


def exchange(poll, calls, left, length, source, more):
    """Sends a message for each echo that is there whole, while there are to be `more()`; the number of echoes."""
    buffer, count = bytearray(1 << 18), 0
    while more():
        for fd, _ in poll(1):
            receive, send = calls[fd]
            taken = receive(buffer)
            if not taken:
                raise harness.BenchError("the connection was closed")
            rest = (left[fd] or length(buffer, taken)) - taken
            if rest < 0:
                raise harness.BenchError("an echo that is too long, by %d bytes" % -rest)
            left[fd] = rest
            if not rest:
                send(next(source))
                count += 1
    return count


def leave(sock, goodbye):
    """Says so, and waits until the server has closed: none should see this as a reset."""
    sock.settimeout(10)
    sock.sendall(goodbye)
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(1 << 18):
        pass
    sock.close()


# -- one measurement -------------------------------------------------------------------------------------------------


def client(server, task, seconds):
    """Runs the client; what it found."""
    command = [sys.executable, os.path.abspath(__file__), "--client", task, "--port", str(server.port), "--pid",
               str(server.pid), "--seconds", str(seconds)]
    process = harness.spawn(command, harness.CLIENT_CPU, stdout=subprocess.PIPE)
    try:
        output = process.communicate(timeout=seconds + 30)[0]
    except subprocess.TimeoutExpired:
        raise harness.BenchError("the client did not end: %s" % " ".join(command)) from None
    finally:
        harness.end(process)
    if process.returncode:
        raise harness.BenchError("the client failed: %s, of %s" % (" ".join(command), " ".join(server.argv)))
    return json.loads(output.decode())


def measure(server, task, seconds):
    """One slice."""
    found = client(server, task, seconds)
    return {"cpu_us": found["cpu"] / found["count"] * 1e6, "rate": found["count"] / found["seconds"],
            "busy": found["cpu"] / found["seconds"], "wire": found["wire"]}


def server_command(subject, task, options):
    """The command line of a serving child."""
    if subject == "node":
        return ["node", websocket_servers.NODE] + ["deflate"] * (task == "deflate")
    return [options.python, os.path.abspath(__file__), "--serve", subject, "--root",
            options.against if subject == "against" else harness.ROOT] + ["--deflate"] * (task == "deflate")


def measure_round(task, options):
    """One round of a task: fresh servers, a warm-up, slices in turn. {subject: medians of its slices}"""
    subjects = [name for name in options.subject if task != "deflate" or name not in websocket_servers.WITHOUT_DEFLATE]
    with contextlib.ExitStack() as stack:
        servers = {}
        for subject in subjects:
            servers[subject] = stack.enter_context(harness.Served(server_command(subject, task, options)))
            client(servers[subject], task, 1.0 if subject == "node" else 0.3)  # a compiler wants to see it a few times
        slices = {subject: [] for subject in subjects}
        for number in range(options.slices):
            for subject in subjects[:: -1 if number % 2 else 1]:
                slices[subject].append(measure(servers[subject], task, options.seconds))
    found = {}
    for subject in subjects:
        found[subject] = {name: statistics.median([one[name] for one in slices[subject]]) for name in slices[subject][0]}
        ratios = [theirs["cpu_us"] / ours["cpu_us"] for theirs, ours in zip(slices[subject], slices["icey"])]
        found[subject]["ratio"] = statistics.median(ratios)
    return found


def run(options):
    """All rounds: {task: {subject: [one entry a round]}}."""
    results = {}
    for number in range(options.rounds):
        for task in options.task:
            for subject, one in measure_round(task, options).items():
                results.setdefault(task, {}).setdefault(subject, []).append(one)
                print("round %d  %-8s %-16s %9.2f us" % (number + 1, task, subject, one["cpu_us"]), file=sys.stderr, flush=True)
    return results


# -- what came out ---------------------------------------------------------------------------------------------------


def summarise(results):
    """Medians over the rounds."""
    summary = {}
    for task, subjects in results.items():
        for subject, rounds in subjects.items():
            entry = {name: statistics.median([one[name] for one in rounds]) for name in ("cpu_us", "rate", "busy", "wire")}
            entry["ratio"] = harness.spread([one["ratio"] for one in rounds])
            summary.setdefault(task, {})[subject] = entry
    return summary


def goal_of(task, subject):
    """How many times icey's CPU it should cost at least; None: it need not."""
    if task == "deflate" or subject in ("icey", "against", *websocket_servers.WITHOUT_DEFLATE):
        return None
    if subject in websocket_servers.PURE:
        return GOAL_PURE
    if task not in SMALL:
        return None
    return GOAL_NODE if subject == "node" else GOAL_OTHERS


def show(summary):
    rows = []
    for task, subjects in summary.items():
        for subject, one in subjects.items():
            ratio = ["%.2f" % one["ratio"][which] for which in ("median", "min", "max")]
            goal = goal_of(task, subject)
            told = "" if goal is None else "%.1f: %s" % (goal, "met" if one["ratio"]["median"] >= goal else "not met")
            rows.append([task, subject, "%.2f" % one["cpu_us"]] + ratio
                        + [told, "%.0f" % one["rate"], "%.0f%%" % (one["busy"] * 100), "%.0f" % one["wire"]])
    harness.print_table(["task", "server", "CPU us", "x icey", "least", "most", "goal", "msg/s", "busy", "wire"], rows)


def verdict(summary):
    """The goals not met, as lines."""
    wrong = ["%s: %s takes %.2f x icey's CPU, the goal is %.1f" % (
                 task, subject, one["ratio"]["median"], goal_of(task, subject))
             for task, subjects in summary.items() for subject, one in subjects.items()
             if goal_of(task, subject) is not None and one["ratio"]["median"] < goal_of(task, subject)]
    return wrong + ["%s: a message takes %.1f us, the goal is %g" % (task, summary[task]["icey"]["cpu_us"], goal)
                    for task, goal in GOALS_US.items() if task in summary and summary[task]["icey"]["cpu_us"] > goal]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=2, help="of each subject in a round (2)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a slice (1)")
    parser.add_argument("--task", action="append", choices=tuple(TASKS), help="only this one; may be repeated")
    parser.add_argument("--subject", action="append", choices=NAMES, help="icey is always there")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the servers")
    parser.add_argument("--node-path", metavar="DIR", help="the node_modules with ws in it, else NODE_PATH's")
    parser.add_argument("--against", metavar="DIR", type=os.path.abspath, help="another checkout of icey, measured too")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is not met")
    for name in ("--serve", "--root", "--client", "--port", "--pid"):  # what the children are started with
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--deflate", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.task = options.task or list(TASKS)
    wanted = [name for name in NAMES if name == "icey" or not options.subject or name in options.subject]
    options.subject = wanted[:1] + ["against"] * bool(options.against) + wanted[1:]
    if min(options.rounds, options.slices) < 1 or options.seconds <= 0:
        parser.error("--rounds and --slices are 1 or more, --seconds more than 0")
    return options


def available(options):
    """The subjects that can be measured; says which cannot."""
    ask = "import json, sys; sys.path.insert(0, %r); from websocket_servers import importable; " \
          "print(json.dumps([name for name in %r if importable(name)]))" % (harness.HERE, options.subject)
    there = json.loads(subprocess.check_output([options.python, "-c", ask]).decode())
    for subject in options.subject:
        if subject not in there:
            where = "not found (see --node-path)" if subject == "node" else "not installed in %s" % options.python
            print("left out: %s is %s" % (subject, where), file=sys.stderr)
    return [subject for subject in options.subject if subject in there]


def main():
    options = parse_arguments()
    if options.serve:
        return websocket_servers.SERVERS[options.serve](options.root, options.deflate)
    if options.client:
        return print(json.dumps(play(int(options.port), int(options.pid), options.client, options.seconds)))
    if options.node_path:
        os.environ["NODE_PATH"] = os.path.abspath(options.node_path)
    harness.die_on_sigterm()
    wanted, options.subject = options.subject, available(options)
    missing = [subject for subject in wanted if subject not in options.subject]
    try:
        results = run(options)
    except harness.BenchError as error:
        print("websocket: %s" % error, file=sys.stderr)
        return 2
    summary = summarise(results)
    print("\n%s; %d rounds of %d slices" % (harness.machine(options.python), options.rounds, options.slices))
    show(summary)
    for task, goal in GOALS_US.items():
        if task in summary:
            cost = summary[task]["icey"]["cpu_us"]
            print("%s: %.1f us, the goal is at most %g: %s" % (task, cost, goal, "met" if cost <= goal else "not met"))
    for subject in missing:
        print("%s is missing: its goals are not looked at" % subject)
    harness.report({"machine": harness.machine(options.python), "summary": summary}, options.json, {"rounds": results})
    wrong = verdict(summary)
    for line in wrong:
        print("!!! " + line, file=sys.stderr)
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
