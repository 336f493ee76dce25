"""Random pipelines against random handlers, in random pieces, by clients that read at random speeds.

A plan says what each request is and how it is handled, and so what is to come: answers in order with their bytes, the
connection kept or closed as the rules say, on_close once an exchange, nothing left. The seed is the test's parameter:
ICEY_SEED=<that> runs it alone, ICEY_PIPELINES=<n> the first n.
"""
import os
import socket
import time

import pytest

import icey
from icey.http import ServerState
from tests.support import http, seeds

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
left = http.left

SEEDS = seeds.each(range(int(os.environ.get("ICEY_PIPELINES", "100"))), quick=30)
DRAINED = 65536
SIZES = (0, 1, 10, 1000, 16383, 16384, 40000, 65536, 65537, 150000)
NO_DEADLINES = dict.fromkeys(["head_timeout", "body_timeout", "keep_alive_timeout", "write_timeout", "close_timeout"])


def text(number, size):
    return (b"%d." % number * (size // 2 + 1))[:size]


class Plan:
    """One request, how it is handled, and what is to come of it."""

    def __init__(self, rng, number):
        self.number = number
        self.method = rng.choice(["GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "BREW"])
        self.version = rng.choice(["1.1"] * 5 + ["1.0"])
        self.option = rng.choice([None] * 9 + ["keep-alive", "Keep-Alive, x", "close"])
        if self.version == "1.0" and rng.random() < 0.8:
            self.option = "keep-alive"
        self.body = text(number, rng.choice(SIZES)) if self.method in ("POST", "PUT") or rng.random() < 0.1 else b""
        self.chunks = None
        if self.body and self.version == "1.1" and rng.random() < 0.5:
            cuts = sorted(rng.sample(range(1, len(self.body)), min(len(self.body) - 1, rng.randrange(4))))
            self.chunks = [self.body[a:b] for a, b in zip([0] + cuts, cuts + [len(self.body)])]
        self.expect = False
        self.status, self.answer = 200, text(number, rng.choice(SIZES))
        self.delay = rng.choice([None, None, 0.0, rng.random()])
        self.pieces, self.sized, self.streams = [], False, False
        self.how = rng.choice(["quick", "quick", "headers", "bodiless", "pieces", "pieces", "collect", "echo", "raise",
                               "crash", "over"])
        getattr(self, "plan_" + self.how, lambda rng: None)(rng)
        self.left_over = self.how not in ("collect", "echo", "over") and len(self.body) > DRAINED

    def plan_bodiless(self, rng):
        self.status = rng.choice([204, 304])

    def plan_pieces(self, rng):
        self.pieces = [text(self.number, rng.choice(SIZES)) for _ in range(rng.randrange(6))]
        self.answer = b"".join(self.pieces)
        self.sized = rng.random() < 0.5
        self.streams = rng.random() < 0.3

    def plan_collect(self, rng):
        self.answer = self.body
        self.expect = rng.random() < 0.2

    def plan_echo(self, rng):
        self.plan_collect(rng)
        self.paused = rng.random() < 0.3

    def plan_raise(self, rng):
        self.status, self.answer = 422, b"422 Unprocessable Content\n"

    def plan_crash(self, rng):
        self.status, self.answer = 500, b"500 Internal Server Error\n"

    def plan_over(self, rng):
        if 1 <= len(self.body) <= DRAINED:
            self.status, self.answer = 413, b"413 Content Too Large: body over %d bytes\n" % (len(self.body) - 1)
        else:
            self.how = "collect"
            self.plan_collect(rng)

    @property
    def bodiless(self):
        return self.method == "HEAD" or self.status in (204, 304)

    @property
    def kept(self):
        """Whether the connection lives on after the answer."""
        if self.option == "close" or self.left_over or (self.version == "1.0" and self.option is None):
            return False
        until_close = self.how == "echo" or (self.how == "pieces" and not self.sized and (self.pieces or self.streams))
        return not (self.version == "1.0" and until_close and not self.bodiless)

    def request(self):
        fields = ["Connection: " + self.option] if self.option else []
        if self.expect:
            fields.append("Expect: 100-continue")
        return http.request(self.method, "/%d" % self.number, *fields, body=self.body, version=self.version,
                            chunks=self.chunks)

    def __repr__(self):
        return "<%s>" % " ".join("%s=%s" % (k, v if not isinstance(v, bytes) else "%d bytes" % len(v))
                                 for k, v in self.__dict__.items() if v and k not in ("pieces", "chunks"))


class Handler:
    """Handles each request as planned."""

    def __init__(self, plans, narrow):
        self.plans = plans
        self.narrow = narrow
        self.closes = []
        self.crashes = 0

    def __call__(self, exchange):
        plan = self.plans[len(self.closes)]
        number = len(self.closes)
        assert exchange.request.target == "/%d" % number
        assert exchange.request.method == plan.method
        if self.narrow:
            http.narrow(exchange)
        self.closes.append(0)

        def closed(exchange):
            self.closes[number] += 1
        exchange.on_close += closed

        def handle(exchange, plan):
            if exchange.state is not ServerState.CLOSED:  # else the client went while we thought
                getattr(self, "on_" + plan.how)(exchange, plan)

        if plan.delay is None or plan.how in ("raise", "crash"):
            handle(exchange, plan)
        elif plan.delay == 0.0:
            exchange.loop.call_soon(handle, exchange, plan)
        else:
            exchange.loop.call_later(plan.delay, handle, exchange, plan)

    def on_quick(self, exchange, plan):
        exchange.respond(plan.status, plan.answer)

    def on_headers(self, exchange, plan):
        exchange.respond(plan.status, bytearray(plan.answer), "text/plain", {"X-A": "b"})

    on_bodiless = on_quick

    def on_raise(self, exchange, plan):
        raise icey.HttpError(plan.status)

    def on_crash(self, exchange, plan):
        self.crashes += 1
        raise ZeroDivisionError

    def on_collect(self, exchange, plan):
        exchange.collect(lambda exchange, body: exchange.respond(plan.status, body))

    def on_over(self, exchange, plan):
        exchange.collect(lambda exchange, body: exchange.respond(599), len(plan.body) - 1)

    def on_echo(self, exchange, plan):
        def payload(exchange, view):
            exchange.send_owned(bytes(view))
            if plan.paused:
                exchange.pause()
                exchange.loop.call_later(0.01, exchange.resume)
        exchange.on_payload += payload
        if plan.body:
            exchange.on_complete += lambda exchange: exchange.end()
        else:  # complete already, if this comes late
            exchange.send_header()
            exchange.end()

    def on_pieces(self, exchange, plan):
        pieces = list(plan.pieces)
        if plan.sized:
            exchange.response.headers["Content-Length"] = str(len(plan.answer))
        if plan.streams:
            exchange.begin_streaming()

        def more(exchange):
            while pieces:
                send = exchange.send if len(pieces) % 2 else exchange.send_owned
                if not send(pieces.pop(0)):
                    return  # on_drain goes on
            exchange.end()
        exchange.on_drain += more
        more(exchange)


class RandomClient(http.Client):
    """Sends its pipeline and reads the answers in random pieces; each wait lets a little time pass."""

    def start(self, rng, data, half_close):
        self.rng = rng
        self.left = memoryview(data)
        self.half = half_close
        self.most = rng.choice([size for size in (1, 20, 1000, 70000, len(data)) if len(data) / size < 2000])
        self.piece = rng.choice([300, 5000, 65536])

    def _turn(self, until, what):
        if time.monotonic() > until:
            raise icey.Deadline(what)
        if self.left:
            try:
                self.left = self.left[self.sock.send(self.left[:self.rng.randint(1, self.most)]):]
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                pass
        elif self.half:
            self.half = False
            try:
                self.half_close()
            except OSError:
                pass
        self.loop.run_once(self.rng.choice([0, 0, 0.01]))

    def _more(self, until, wanted):
        self._turn(until, wanted)
        try:
            data = self.sock.recv(self.rng.randint(1, self.piece))
        except BlockingIOError:
            return
        self._held += data
        self.ended = not data


def check(plan, answer, half):
    expected = plan.answer if not plan.bodiless else b""
    assert (answer.status, answer.body) == (plan.status, expected)
    connection = answer.get("connection")
    if plan.kept and not half:
        assert connection == ("keep-alive" if plan.version == "1.0" else None)
    elif not plan.kept and not (plan.left_over and plan.chunks):
        assert connection == "close"


def begin(site, rng):
    """(plans, handler, client, whether it half-closes) of a random run."""
    plans = [Plan(rng, number) for number in range(rng.choice([1, 3, 10, 30]))]
    handler = Handler(plans, rng.random() < 0.5)
    server = site.serve(handler, limits=NO_DEADLINES)
    sock = socket.socket()
    if handler.narrow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((server.address.host, server.address.port))
    client = RandomClient(site.loop, sock, patience=60.0)
    site.clients.append(client)
    half = rng.random() < 0.3 and not any(plan.streams for plan in plans)
    client.start(rng, b"".join(plan.request() for plan in plans), half)
    return plans, handler, client, half


def end(site, handler, reports):
    for _ in range(len(handler.plans)):  # a handler may have put off each answer
        if site.server.connections:
            site.wait(1.0)
    assert site.gone()
    site.wait(1.0)
    assert [type(exc) for exc, _ in reports] == [ZeroDivisionError] * handler.crashes
    reports.clear()


@pytest.mark.parametrize("seed", SEEDS)
def test_random_pipelines(site, reports, left, seed):
    plans, handler, client, half = begin(site, seeds.rng(seed))
    answered = 0
    for plan in plans:
        answer = http.read_answer(client, plan.method)
        if plan.expect and answer.status == 100:
            answer = http.read_answer(client, plan.method)
        assert answer is not None, plan
        check(plan, answer, half)
        answered += 1
        if not plan.kept:
            break
    if half or not plan.kept:
        assert client.at_end()
    else:
        while client.left:
            client._turn(time.monotonic() + 5, "the rest of the body")
        assert client.silent()
        assert len(site.server.connections) == 1
    client.close()
    end(site, handler, reports)
    assert handler.closes == [1] * answered
    assert left() == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_random_ends(site, reports, left, seed):
    """The client, or the server, goes at any moment: each exchange is over once, and nothing is left."""
    rng = seeds.rng(seed)
    plans, handler, client, half = begin(site, rng)
    for _ in range(rng.choice([1, 3, 10, 30, 100])):
        try:
            client._more(time.monotonic() + 10, "the end")
        except ConnectionResetError:
            client.ended = True
        if client.ended:
            break
    how = rng.choice(["reset", "close", "stop", "server close", "connection close", "abort"])
    connections = site.server.connections
    if how == "stop":
        site.server.stop(rng.random())
    elif how == "server close":
        site.server.close()
    elif how == "reset":
        client.reset()
    elif connections and how == "connection close":
        connections[0].close()
    elif connections and how == "abort":
        connections[0].abort()
    site.turn(rng.randrange(5))
    client.close()
    site.wait(1.5)  # the time of a drain
    end(site, handler, reports)
    assert site.server.closed is (how in ("stop", "server close"))
    assert handler.closes == [1] * len(handler.closes)
    assert left() == 0
