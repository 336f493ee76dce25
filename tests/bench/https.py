"""What a request costs over TLS: icey's HTTPS server beside RAW, Go, Node, uvicorn and aiohttp.

    python tests/bench/https.py                       # three rounds of everything, about three minutes
    python tests/bench/https.py --rounds 1 --task get --subject icey --subject go
    python tests/bench/https.py --against ../icey-before --json result.json
    python tests/bench/https.py --check               # exit 1 where a goal is not met, or on any error

Tasks, TLS 1.3 with the certificate of tests/support (ECDSA P-256), as every subject offers it without being asked:

    get         32 keep-alive connections, a GET under way on each, 13 bytes as the answer
    post        a POST of 64 KiB over one keep-alive connection, its size as the answer
    handshake   a new connection, a handshake without resumption, a GET, the end

Subjects: `raw` is epoll and Python's SSLSocket, where nothing is parsed and the answer is a constant; `icey`; `against`, icey
from a second checkout; `go` (net/http, one core), `node` (the https module), `uvicorn` (with uvloop and httptools, all C),
`aiohttp` (its server, with its parser in C). What is missing is left out, and said. The client is a process on the other core,
the same for all.

The measure is the server's CPU time, microseconds a request. Each round starts fresh servers and measures slices of a second
in turn; medians of the slices make a round, medians of the rounds the table. Goals, printed as met or not met: at most 1.2 x
Go for get, 1.1 x for post, 1.5 x for handshake, and less than Node, uvicorn and aiohttp take. See harness.py for the rules
all benchmarks share. Needs Linux. Not here: HTTP without TLS (http_hello.py, bodies.py), TLS without HTTP (transport.py).
"""

import argparse
import contextlib
import importlib.util
import json
import os
import select
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

import harness
import http_servers

TASKS = ("get", "post", "handshake")
GOALS = {  # CPU time in multiples of a peer's, at most
    "get": {"go": 1.2, "node": 1.0, "uvicorn": 1.0, "aiohttp": 1.0},
    "post": {"go": 1.1, "node": 1.0, "uvicorn": 1.0, "aiohttp": 1.0},
    "handshake": {"go": 1.5, "node": 1.0, "uvicorn": 1.0, "aiohttp": 1.0},
}
SUBJECTS = ("raw", "icey", "against", "go", "node", "uvicorn", "aiohttp")
CONNECTIONS = 32
BODY = http_servers.BODY
SIZE = 65536
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % SIZE
POST += b"x" * SIZE

# -- the client, a child ---------------------------------------------------------------------------------------------


def connect(port, context):
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(sock, server_hostname="localhost")


def ask(sock, request, wanted):
    """One exchange."""
    sock.sendall(request)
    got = sock.recv(16384)
    while not got.endswith(wanted):
        more = sock.recv(16384)
        if not more:
            raise harness.BenchError("an answer that is none: %r" % got)
        got += more


def task_get(port, context, until):
    """(requests, seconds)"""
    epoll, connections, count = select.epoll(), {}, 0
    for _ in range(CONNECTIONS):
        sock = connect(port, context)
        ask(sock, GET, BODY)
        sock.setblocking(False)
        connections[sock.fileno()] = sock
        epoll.register(sock.fileno(), select.EPOLLIN)
    start = time.perf_counter()
    for sock in connections.values():
        sock.send(GET)
    came = dict.fromkeys(connections, b"")
    while time.perf_counter() < until:
        for fd, _ in epoll.poll(1):
            sock = connections[fd]
            try:
                data = came[fd] + sock.recv(16384)
            except ssl.SSLWantReadError:
                continue
            if not data.endswith(BODY):  # in several records
                came[fd] = data
                if not data:
                    raise harness.BenchError("the server has closed a connection")
                if sock.pending():
                    came[fd] += sock.recv(16384)
                if not came[fd].endswith(BODY):
                    continue
            came[fd] = b""
            sock.send(GET)
            count += 1
    elapsed = time.perf_counter() - start
    for sock in connections.values():
        sock.settimeout(10)
        sock.recv(16384)  # the last answer: unread, the close would be a reset
        sock.close()
    return count, elapsed


def task_post(port, context, until):
    """(requests, seconds)"""
    sock, count, start = connect(port, context), 0, time.perf_counter()
    while time.perf_counter() < until:
        ask(sock, POST, b"%d" % SIZE)
        count += 1
    elapsed = time.perf_counter() - start
    sock.close()
    return count, elapsed


def task_handshake(port, context, until):
    """(connections, seconds)"""
    count, start = 0, time.perf_counter()
    while time.perf_counter() < until:
        sock = connect(port, context)
        ask(sock, GET, BODY)
        sock.close()
        count += 1
    return count, time.perf_counter() - start


# -- the servers, children -------------------------------------------------------------------------------------------

CONSTANT = b"HTTP/1.1 200 OK\r\nServer: raw\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain\r\n" \
           b"Content-Length: %d\r\n\r\n%s"


def serve_raw(root, certificate):
    """Answers each request, known by its length alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listener = http_servers.listen()
    listener.setblocking(False)
    epoll, connections, came = select.epoll(), {}, {}
    epoll.register(listener.fileno(), select.EPOLLIN)
    hello, sunk = CONSTANT % (len(BODY), BODY), CONSTANT % (5, b"%d" % SIZE)
    while True:
        for fd, _ in epoll.poll():
            if fd == listener.fileno():
                sock = listener.accept()[0]
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                connections[sock.fileno()], came[sock.fileno()] = sock, 0
                epoll.register(sock.fileno(), select.EPOLLIN)
                continue
            sock = connections[fd]
            try:
                data = sock.recv(16384)  # shakes hands too, at first
                while data:
                    came[fd] += len(data)
                    if came[fd] in (len(GET), len(POST)):
                        sock.send(hello if came[fd] == len(GET) else sunk)
                        came[fd] = 0
                        if not sock.pending():
                            break
                    data = sock.recv(16384)
            except (ssl.SSLWantReadError, BlockingIOError):
                continue
            except OSError:
                data = b""
            if not data:
                del connections[fd]
                sock.close()


def serve_icey(root, certificate):
    icey = harness.serve_from(root)

    def answer(exchange):
        if exchange.request.method == "POST":
            exchange.data = 0
            exchange.on_payload += payload
            exchange.on_complete += complete
        else:
            exchange.respond(200, BODY, "text/plain")

    def payload(exchange, view):
        exchange.data += len(view)

    def complete(exchange):
        exchange.respond(200, b"%d" % exchange.data, "text/plain")

    loop = icey.Loop()
    server = icey.http.Server(loop, "127.0.0.1", 0, tls=icey.tls.server_context(*certificate))
    server.on_request += answer
    server.start()
    print(server.address.port, flush=True)
    loop.run()


def serve_uvicorn(root, certificate):
    import uvicorn

    async def app(scope, receive, send):
        body = BODY
        if scope["method"] == "POST":
            size, going = 0, True
            while going:
                message = await receive()
                size += len(message.get("body", b""))
                going = message.get("more_body", False)
            body = b"%d" % size
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False,
                            log_level="critical", backlog=1024, timeout_keep_alive=30,
                            ssl_certfile=certificate[0], ssl_keyfile=certificate[1])
    uvicorn.Server(config).run(sockets=[http_servers.listen()])


def serve_aiohttp(root, certificate):
    import logging

    from aiohttp import web

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells of ends without close_notify

    async def answer(request):
        body = BODY
        if request.method == "POST":
            size = 0
            async for piece in request.content.iter_any():
                size += len(piece)
            body = b"%d" % size
        return web.Response(body=body, content_type="text/plain")

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/", answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    web.run_app(app, sock=http_servers.listen(), ssl_context=context, access_log=None, print=None)


SERVERS = {"raw": serve_raw, "icey": serve_icey, "against": serve_icey, "uvicorn": serve_uvicorn, "aiohttp": serve_aiohttp}


def build(peer, folder, certificate):
    """The command of Go or Node: the server of http_servers.py, over TLS. Go's is compiled."""
    cert, key = map(json.dumps, certificate)
    if peer == "node":
        program = http_servers.NODE.replace('require("http").createServer((', (
            'require("https").createServer({ cert: require("fs").readFileSync(%s), key: require("fs").readFileSync(%s) }, ('
            % (cert, key)))
        path = os.path.join(folder, "https.js")
        with open(path, "w") as out:
            out.write(program)
        return ["node", path]
    source = http_servers.GO.replace("panic(http.Serve(listener, http.HandlerFunc(answer)))", (
        "server := &http.Server{Handler: http.HandlerFunc(answer), ErrorLog: log.New(io.Discard, \"\", 0),\n"
        "\t\tTLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}\n"
        "\tpanic(server.ServeTLS(listener, %s, %s))" % (cert, key)))
    source = source.replace('import (\n', 'import (\n\t"crypto/tls"\n').replace('\t"net"\n', '\t"log"\n\t"net"\n')
    path, program = os.path.join(folder, "https.go"), os.path.join(folder, "https")
    with open(path, "w") as out:
        out.write(source)
    env = dict(os.environ, GO111MODULE="off", GOFLAGS="", CGO_ENABLED="0",
               GOCACHE=os.environ.get("GOCACHE") or os.path.join(folder, "gocache"))
    done = subprocess.run([http_servers.go_tool(), "build", "-o", program, path], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode:
        raise harness.BenchError("go build failed: %s" % done.stdout)
    return [program]


def missing(subject):
    """Why a subject cannot be measured here, None if it can."""
    if subject == "aiohttp":
        return None if importlib.util.find_spec("aiohttp") else "not installed in %s (pip install aiohttp)" % sys.executable
    return http_servers.missing(subject) if subject in http_servers.PEERS else None


# -- one measurement -------------------------------------------------------------------------------------------------


def client(port, task, ca, seconds):
    """Runs the client; (requests, seconds)."""
    command = [sys.executable, os.path.abspath(__file__), "--client", task, "--port", str(port), "--seconds", str(seconds)]
    return harness.told_by_client(command + ["--ca", ca])


def measure(server, task, ca, seconds):
    """One slice."""
    before = server.cpu()
    count, elapsed = client(server.port, task, ca, seconds)
    used = server.cpu() - before
    if not count:
        raise harness.BenchError("not one %s in %g seconds: the machine is busy, or --seconds too short" % (task, seconds))
    return {"cpu_us": used / count * 1e6, "rate": count / elapsed, "busy": used / elapsed}


def measure_round(task, certs, commands, options):
    """One round of a task: fresh servers, a warm-up, slices in turn. {subject: medians of its slices}"""
    with contextlib.ExitStack() as stack:
        servers = {}
        for subject, command in commands.items():
            servers[subject] = stack.enter_context(harness.Served(command))
            client(servers[subject].port, task, certs.ca, 0.3)
        slices = {subject: [] for subject in commands}
        for number in range(options.slices):
            for subject in options.subject[:: -1 if number % 2 else 1]:
                slices[subject].append(measure(servers[subject], task, certs.ca, options.seconds))
    return {subject: {name: statistics.median([one[name] for one in taken]) for name in taken[0]}
            for subject, taken in slices.items()}


def run(options, certs, folder):
    """All rounds: {task: {subject: [one entry a round]}}."""
    os.environ["GOMAXPROCS"] = "1"
    certificate = certs.cert("localhost")
    commands = {}
    for subject in options.subject:
        if subject in ("go", "node"):
            commands[subject] = build(subject, folder, certificate)
        else:
            root = options.against if subject == "against" else harness.ROOT
            commands[subject] = [sys.executable, os.path.abspath(__file__), "--serve", subject, "--root", root,
                                 "--certificate", *certificate]
    results = {}
    for number in range(options.rounds):
        for task in options.task:
            for subject, one in measure_round(task, certs, commands, options).items():
                results.setdefault(task, {}).setdefault(subject, []).append(one)
        print("round %d of %d" % (number + 1, options.rounds), file=sys.stderr, flush=True)
    return results


# -- what came out ---------------------------------------------------------------------------------------------------


def verdicts(summary):
    """(line, met) of each goal whose peer was there."""
    for task, subjects in summary.items():
        for peer, goal in GOALS[task].items():
            if peer in subjects:
                ratio = subjects[peer]["x"]["median"]
                yield "%s: %.2f x %s, the goal is at most %.1f: %s" % (
                    task, ratio, peer, goal, "met" if ratio <= goal else "not met"), ratio <= goal
            else:
                yield "%s: at most %.1f x %s is the goal, and %s is missing" % (task, goal, peer, peer), True


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=2, help="of each subject in a round (2)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a slice (1)")
    parser.add_argument("--task", action="append", choices=TASKS, help="only this one; may be repeated")
    names = [name for name in SUBJECTS if name != "against"]
    parser.add_argument("--subject", action="append", choices=names, help="icey is always there")
    parser.add_argument("--against", metavar="DIR", type=os.path.abspath, help="another checkout of icey, measured too")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is not met")
    for name in ("--serve", "--root", "--client", "--port", "--ca"):  # what the children are started with
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--certificate", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.task = options.task or list(TASKS)
    wanted = [name for name in names if name == "icey" or not options.subject or name in options.subject]
    place = wanted.index("icey") + 1
    options.subject = wanted[:place] + ["against"] * bool(options.against) + wanted[place:]
    if min(options.rounds, options.slices) < 1 or options.seconds <= 0:
        parser.error("--rounds and --slices are 1 or more, --seconds more than 0")
    return options


def main():
    options = parse_arguments()
    if options.serve:
        return SERVERS[options.serve](options.root, options.certificate)
    if options.client:
        context = ssl.create_default_context(cafile=options.ca)
        task = globals()["task_" + options.client]
        return print(json.dumps(task(int(options.port), context, time.perf_counter() + options.seconds)))
    sys.path += [harness.ROOT, os.path.join(harness.ROOT, "tests", "support")]  # at the end: the latter has an http.py
    import certificates

    harness.die_on_sigterm()
    for subject in tuple(options.subject):
        why = missing(subject)
        if why is not None:
            print("left out: %s: %s" % (subject, why), file=sys.stderr)
            options.subject.remove(subject)
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = run(options, certificates.folder(os.path.join(folder, "certificates")), folder)
    except harness.BenchError as error:
        print("https: %s" % error, file=sys.stderr)
        return 2
    summary = harness.beside_icey(results)
    peers = [http_servers.version(peer) for peer in ("go", "node") if peer in options.subject]
    print("\n%s; %d rounds of %d slices" % (", ".join([harness.machine(), ssl.OPENSSL_VERSION, *peers]), options.rounds,
                                           options.slices))
    harness.show_beside_icey(summary, 1)
    harness.report({"machine": harness.machine(), "summary": summary}, options.json, {"rounds": results})
    missed = False
    for line, met in verdicts(summary):
        print(line)
        missed = missed or not met
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
