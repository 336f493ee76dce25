"""What a request costs a client in CPU time: icey's beside http.client, urllib3, requests, httpx and aiohttp.

    python3 -m venv ~/vbench; ~/vbench/bin/pip install urllib3 requests httpx aiohttp    # what is missing is left out, and said
    ~/vbench/bin/python tests/bench/client.py                            # five rounds, about four minutes
    python tests/bench/client.py --rounds 1 --task one --subject http.client
    python tests/bench/client.py --against ../icey-before --json result.json
    python tests/bench/client.py --check                                 # exit 1 past the bars

Tasks: `GET /` with keep-alive and the headers that the client sends by itself, a 13-byte body, which is read:

    one    one request at a time
    many   32 at a time, on 32 connections (the clients that can do so in one thread)
    again  one request on a connection of its own, again and again: fetch(), or an HTTPConnection, made for it and closed
    first  the same in a fresh process, once: start of the interpreter, imports, request, exit

Subjects, each in a process of its own, as its users write it:

    raw             a socket that sends a constant and reads an answer in one recv, unparsed: the floor in Python
    Client          icey.http.Client: pool, redirects, cookies, content codings, its timeout
    connection      icey.http.ClientConnection, started again and again
    fetch           icey.http.fetch
    http.client     one HTTPConnection
    urllib3         one PoolManager
    requests        one Session
    httpx           one Client; for `many` an AsyncClient
    aiohttp         one ClientSession; its parser is in C, so it is shown and no bar

The measure is the CPU time of the client's process, a request; the server, icey's own, is a process on the other core, and
the same for all. Each round takes the subjects in turn, in slices of a second. Bars: Client and connection cost less than
every client in pure Python. Goals, printed as met or not met: Client in microseconds, as of the machine on which they were set
(on a busy or another machine look at the multiple of `raw` beside it, before and after), fetch at most 1.1 times http.client.
See harness.py for the rules all benchmarks share. Not here: the server's cost (http_hello.py).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import harness
import http_hello

BODY = http_hello.BODY
PLAIN = ("http.client", "urllib3", "requests", "httpx")  # in pure Python: the bar
OURS = ("Client", "connection", "fetch")
BARRED = ("Client", "connection")
GOALS_US = {"one": 60.0, "many": 28.0}  # of Client; it was 83 and 39
GOAL_OF_FETCH = 1.1  # times http.client, in the tasks again and first
CONCURRENT = 32
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: raw\r\nAccept: */*\r\n\r\n"

# -- the clients -----------------------------------------------------------------------------------------------------


class Meter:
    """Counts answers; CPU and seconds from `start` on. `more()`: whether the time is not over yet."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.count = 0
        self.start()

    def start(self):
        self.count = 0
        self.began, self.cpu = time.perf_counter(), time.process_time()
        self.until = self.began + self.seconds

    def more(self):
        return time.perf_counter() < self.until

    def answer(self, status, body):
        """Each answer is looked at: what is wrong must not be measured as fast."""
        if status != 200 or body != BODY:
            raise harness.BenchError("a wrong answer: %r %r" % (status, body))
        self.count += 1

    def result(self):
        return {"count": self.count, "cpu": time.process_time() - self.cpu, "seconds": time.perf_counter() - self.began}


def blocking(meter, get):
    """Calls `get()` -> (status, body) again and again, a few times before it counts."""
    for _ in range(50):
        meter.answer(*get())
    meter.start()
    while meter.more():
        meter.answer(*get())
    return meter.result()


def one_raw(port, meter, root):
    import socket

    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get():
        sock.send(REQUEST)
        data = sock.recv(65536)
        return int(data[9:12]), data[-len(BODY):]

    return blocking(meter, get)


def many_raw(port, meter, root):
    import select
    import socket

    epoll, connections = select.epoll(), {}
    for _ in range(CONCURRENT):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        connections[sock.fileno()] = sock
        epoll.register(sock.fileno(), select.EPOLLIN)
        sock.send(REQUEST)
    meter.start()
    while meter.more():
        for fd, _ in epoll.poll():
            sock = connections[fd]
            data = sock.recv(65536)
            meter.answer(int(data[9:12]), data[-len(BODY):])
            sock.send(REQUEST)
    return meter.result()


def one_http_client(port, meter, root):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port)

    def get():
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status, answer.read()

    return blocking(meter, get)


def one_urllib3(port, meter, root):
    import urllib3

    pool, url = urllib3.PoolManager(), "http://127.0.0.1:%d/" % port

    def get():
        answer = pool.request("GET", url)
        return answer.status, answer.data

    return blocking(meter, get)


def one_requests(port, meter, root):
    import requests

    session, url = requests.Session(), "http://127.0.0.1:%d/" % port

    def get():
        answer = session.get(url)
        return answer.status_code, answer.content

    return blocking(meter, get)


def one_httpx(port, meter, root):
    import httpx

    url = "http://127.0.0.1:%d/" % port
    with httpx.Client() as client:
        def get():
            answer = client.get(url)
            return answer.status_code, answer.content

        return blocking(meter, get)


def in_asyncio(meter, opened, get, count):
    """`count` tasks, each asking again and again: `opened()` is a context manager, `get(client)` awaits (status, body)."""
    import asyncio

    async def ask(client, more):
        while more():
            meter.answer(*await get(client))

    async def work():
        async with opened() as client:
            for _ in range(50):
                await get(client)
            meter.start()
            await asyncio.gather(*[ask(client, meter.more) for _ in range(count)])
            return meter.result()

    return asyncio.run(work())


def many_httpx(port, meter, root, count=CONCURRENT):
    import httpx

    url = "http://127.0.0.1:%d/" % port

    async def get(client):
        answer = await client.get(url)
        return answer.status_code, answer.content

    return in_asyncio(meter, httpx.AsyncClient, get, count)


def many_aiohttp(port, meter, root, count=CONCURRENT):
    import aiohttp

    url = "http://127.0.0.1:%d/" % port

    async def get(client):
        async with client.get(url) as answer:
            return answer.status, await answer.read()

    return in_asyncio(meter, aiohttp.ClientSession, get, count)


def one_aiohttp(port, meter, root):
    return many_aiohttp(port, meter, root, 1)


def many_client(port, meter, root, count=CONCURRENT):
    icey = harness.serve_from(root)
    loop, url = icey.Loop(), "http://127.0.0.1:%d/" % port
    client = icey.http.Client(loop, max_per_host=count)
    left = [50 * count]

    def ask():
        client.request("GET", url, done=done)

    def done(answer, error):
        if error is not None:
            raise error
        if left[0]:
            left[0] -= 1
            if not left[0]:
                meter.start()
        else:
            meter.answer(answer.status, answer.body)
            if not meter.more():
                return loop.stop()
        ask()

    loop.on_error += stop_on_error
    for _ in range(count):
        ask()
    loop.run()
    return meter.result()


def many_connection(port, meter, root, count=CONCURRENT):
    icey = harness.serve_from(root)
    loop = icey.Loop()
    left, bodies = [50 * count], {}

    def payload(connection, view):
        bodies[connection] = bytes(view)

    def complete(connection):
        if left[0]:
            left[0] -= 1
            if not left[0]:
                meter.start()
        else:
            meter.answer(connection.response.status, bodies.pop(connection))
            if not meter.more():
                return loop.stop()
        connection.start()

    loop.on_error += stop_on_error
    for _ in range(count):
        connection = icey.http.ClientConnection(loop, "http://127.0.0.1:%d/" % port)
        connection.on_payload += payload
        connection.on_complete += complete
        connection.start()
    loop.run()
    return meter.result()


def stop_on_error(loop, exc, handle):
    loop.stop()
    raise exc


def one_client(port, meter, root):
    return many_client(port, meter, root, 1)


def one_connection(port, meter, root):
    return many_connection(port, meter, root, 1)


def again_fetch(port, meter, root):
    icey = harness.serve_from(root)
    url = "http://127.0.0.1:%d/" % port

    def get():
        answer = icey.http.fetch(url)
        return answer.status, answer.body

    return blocking(meter, get)


def again_http_client(port, meter, root):
    import http.client

    def get():
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/")
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        finally:
            connection.close()

    return blocking(meter, get)


FIRST = {
    "fetch": "import sys; sys.path.insert(0, %(root)r); import icey\n"
             "answer = icey.http.fetch('http://127.0.0.1:%(port)d/'); body = answer.body",
    "http.client": "import http.client; connection = http.client.HTTPConnection('127.0.0.1', %(port)d)\n"
                   "connection.request('GET', '/'); answer = connection.getresponse(); body = answer.read()",
}


def first(subject):
    """A measurement of processes that ask once."""

    def measured(port, meter, root):
        import resource

        code = FIRST[subject] % {"root": root, "port": port} + "\nassert answer.status == 200 and body == %r" % BODY
        command = [sys.executable, "-c", code]
        subprocess.check_call(command)  # what it compiles is kept
        meter.start()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        while meter.more():
            subprocess.check_call(command)
            meter.count += 1
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return dict(meter.result(), cpu=cpu)

    return measured


CLIENTS = {
    "one": {"raw": one_raw, "Client": one_client, "connection": one_connection, "http.client": one_http_client,
            "urllib3": one_urllib3, "requests": one_requests, "httpx": one_httpx, "aiohttp": one_aiohttp},
    "many": {"raw": many_raw, "Client": many_client, "connection": many_connection, "httpx": many_httpx,
             "aiohttp": many_aiohttp},
    "again": {"fetch": again_fetch, "http.client": again_http_client},
    "first": {"fetch": first("fetch"), "http.client": first("http.client")},
}
SUBJECTS = list(dict.fromkeys(name for subjects in CLIENTS.values() for name in subjects))


# -- the run ---------------------------------------------------------------------------------------------------------


def subjects_of(task, options):
    """(label, subject, checkout) of what is measured for a task."""
    for subject in CLIENTS[task]:
        if subject in options.subject:
            yield subject, subject, harness.ROOT
            if subject in OURS and options.against:
                yield subject + " before", subject, options.against


def measure(port, task, subject, root, options):
    """One slice, in a child."""
    command = [options.python, os.path.abspath(__file__), "--client", subject, "--task", task, "--port", str(port),
               "--seconds", str(options.seconds), "--root", root]
    found = harness.told_by_client(command)
    return {"cpu_us": found["cpu"] / found["count"] * 1e6, "rps": found["count"] / found["seconds"],
            "busy": found["cpu"] / found["seconds"]}


def run(options):
    """All rounds: {task: {label: [one entry a slice]}}."""
    results = {}
    for number in range(options.rounds):
        for task in options.task:
            with harness.Served(http_hello.server_command("icey", options.python)) as server:
                found = results.setdefault(task, {})
                subjects = list(subjects_of(task, options))
                for label, subject, root in subjects[:: -1 if number % 2 else 1]:
                    found.setdefault(label, []).append(measure(server.port, task, subject, root, options))
        print("round %d of %d" % (number + 1, options.rounds), file=sys.stderr, flush=True)
    return {task: {label: found[label] for label, _, _ in subjects_of(task, options)} for task, found in results.items()}


def summarise(results):
    """Medians over the rounds."""
    summary = {}
    for task, subjects in results.items():
        for label, rounds in subjects.items():
            entry = {name: statistics.median([one[name] for one in rounds]) for name in ("rps", "busy")}
            entry["cpu_us"] = harness.spread([one["cpu_us"] for one in rounds])
            summary.setdefault(task, {})[label] = entry
    return summary


def best_plain(subjects):
    """(name, CPU us) of the cheapest client in pure Python beside ours, None where none was measured."""
    costs = [(one["cpu_us"]["median"], label) for label, one in subjects.items() if label in PLAIN]
    return min(costs)[::-1] if costs else None


def show(summary):
    rows = []
    for task, subjects in summary.items():
        bar = best_plain(subjects)
        for label, one in subjects.items():
            cpu = ["%.1f" % one["cpu_us"][which] for which in ("median", "min", "max")]
            against = ""
            if bar and label != "raw":
                against = "%.2f" % (bar[1] / one["cpu_us"]["median"])
                if label in BARRED:
                    against = ("pass " if one["cpu_us"]["median"] < bar[1] else "FAIL ") + against
            rows.append([task, label] + cpu + ["%.0f" % one["rps"], "%.0f%%" % (one["busy"] * 100), against])
    harness.print_table(["task", "client", "CPU us", "least", "most", "req/s", "busy", "x best pure Python"], rows)


def goals(summary):
    """A line for each goal: what it is, what was measured, met or not met."""
    for task, subjects in summary.items():
        cost = {label: one["cpu_us"]["median"] for label, one in subjects.items()}
        if task in GOALS_US and "Client" in cost:
            times = ", %.1f x raw" % (cost["Client"] / cost["raw"]) if "raw" in cost else ""
            yield "%s: Client at most %.0f us: %.1f us%s: %s" % (
                task, GOALS_US[task], cost["Client"], times, "met" if cost["Client"] <= GOALS_US[task] else "not met")
        if "fetch" in cost and "http.client" in cost:
            times = cost["fetch"] / cost["http.client"]
            yield "%s: fetch at most %.2f x http.client: %.2f: %s" % (
                task, GOAL_OF_FETCH, times, "met" if times <= GOAL_OF_FETCH else "not met")


def verdict(summary):
    """The bars not met, as lines."""
    wrong = []
    for task, subjects in summary.items():
        bar = best_plain(subjects)
        for label in BARRED:
            if bar and label in subjects and subjects[label]["cpu_us"]["median"] >= bar[1]:
                wrong.append("%s: %s takes %.1f us, %s %.1f" % (task, label, subjects[label]["cpu_us"]["median"], *bar))
    return wrong


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a slice, one a round (1)")
    parser.add_argument("--task", action="append", choices=tuple(CLIENTS), help="only this one; may be repeated")
    parser.add_argument("--subject", action="append", choices=SUBJECTS, help="icey's are always there")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the clients and the server")
    parser.add_argument("--against", metavar="DIR", type=os.path.abspath, help="another checkout of icey, measured too")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is not met")
    for name in ("--client", "--port", "--root"):  # what the children are started with
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.task = options.task or list(CLIENTS)
    options.subject = [name for name in SUBJECTS if name in OURS or not options.subject or name in options.subject]
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds is 1 or more, --seconds more than 0")
    return options


def available(options):
    """The subjects that can be measured; says which cannot."""
    ask = "import importlib.util as u, json; print(json.dumps([n for n in %r if u.find_spec(n)]))" % (SUBJECTS,)
    there = json.loads(subprocess.check_output([options.python, "-c", ask]).decode())
    found = [name for name in options.subject if name in there or name in OURS + ("raw",)]
    for name in options.subject:
        if name not in found:
            print("left out: %s is not installed in %s" % (name, options.python), file=sys.stderr)
    return found


def main():
    options = parse_arguments()
    if options.client:
        sys.path.remove(harness.HERE)  # where `import client` and the like would find us
        meter = Meter(options.seconds)
        return print(json.dumps(CLIENTS[options.task[0]][options.client](int(options.port), meter, options.root)))
    harness.die_on_sigterm()
    options.subject = available(options)
    try:
        results = run(options)
    except harness.BenchError as error:
        print("client: %s" % error, file=sys.stderr)
        return 2
    summary = summarise(results)
    print("\n%s; %d rounds" % (harness.machine(options.python), options.rounds))
    show(summary)
    for line in goals(summary):
        print(line)
    harness.report({"machine": harness.machine(options.python), "summary": summary}, options.json, {"rounds": results})
    wrong = verdict(summary)
    for line in wrong:
        print("!!! " + line, file=sys.stderr)
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
