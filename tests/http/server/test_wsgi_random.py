"""WSGI at random: many clients that read, stall, leave or reset, and applications of each kind, on few threads.

Whatever happens: each answer that is read whole is right, what an application returned is closed exactly once, on a thread that
was not at work in it, and in the end no job, no connection and no exchange is left. The seed is the test's parameter.
"""
import threading

import pytest

from tests.support import http, seeds, wsgi as support

debug, clock, reports, loop, left = http.debug, http.clock, http.reports, http.loop, http.left
logged, wsgi = support.logged, support.wsgi

pytestmark = pytest.mark.needs("threading")

SEEDS = seeds.each(range(40), quick=6)
KINDS = ("list", "pieces", "sized", "write", "file", "fails", "late")
LIMITS = {"high_water": 4096, "low_water": 1024}


class Returned:
    """What an application returns: knows whether two threads were in it at once, and how often it was closed."""

    def __init__(self, pieces, fails=False):
        self._pieces = iter(pieces)
        self._fails = fails
        self._inside = threading.Lock()
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        assert self._inside.acquire(False), "two threads at once"
        try:
            for piece in self._pieces:
                return piece
            if self._fails:
                raise ZeroDivisionError
            raise StopIteration
        finally:
            self._inside.release()

    def close(self):
        assert self._inside.acquire(False), "closed while it is at work"
        self.closed += 1
        self._inside.release()


def body_of(number, size):
    return (b"%d." % number * (size // 2 + 1))[:size]


class Application:
    """Answers /NUMBER/KIND/SIZE/PIECE."""

    def __init__(self, folder):
        self.returned = []
        self.folder = folder

    def __call__(self, environ, start_response):
        number, kind, size, step = environ["PATH_INFO"][1:].split("/")
        body, step = body_of(int(number), int(size)), int(step)
        headers = [("Content-Type", "text/plain")]
        pieces = [body[at:at + step] for at in range(0, len(body), step)]
        if kind in ("sized", "late"):
            headers.append(("Content-Length", size))
        write = start_response("200 OK", headers)
        if kind == "list":
            return pieces
        if kind == "write":
            for piece in pieces[:len(pieces) // 2]:
                write(piece)
            pieces = pieces[len(pieces) // 2:]
        if kind == "file":
            path = self.folder / number
            path.write_bytes(body)
            file = open(str(path), "rb")
            self.returned.append(file)
            return environ["wsgi.file_wrapper"](file)
        self.returned.append(Returned(pieces + [b""] * 3 if kind == "late" else pieces, kind == "fails"))
        return self.returned[-1]


class Visitor:
    """A client with a plan: what it asks, how fast it reads, and how it leaves."""

    def __init__(self, wsgi, rng, number):
        self.kind = rng.choice(KINDS)
        self.body = body_of(number, rng.choice([0, 1, 1000, 5000, 60000, 200000]))
        self.client = wsgi.client(receive=rng.choice([4096, 65536]))
        self.leaves = rng.choice([None, None, "close", "reset"])
        self.patience = rng.randrange(40)
        self.greed = rng.choice([1000, 65536])
        self.received = bytearray()
        self.over = False
        self.client.ask("GET", "/%d/%s/%d/%d" % (number, self.kind, len(self.body), rng.choice([700, 5000, 70000])),
                        "Connection: close", version=rng.choice(["1.0", "1.1"]))

    def step(self, rng):
        if self.over or rng.random() < 0.3:
            return
        if self.leaves is not None and not self.patience:
            getattr(self.client, self.leaves)()
            self.over = True
            return
        self.patience = max(0, self.patience - 1)
        try:
            data = self.client.sock.recv(self.greed)
        except BlockingIOError:
            return
        except ConnectionResetError:
            assert self.kind == "fails"
            self.over = True
            return
        self.received += data
        if not data:
            self.over = True
            self.check()

    def check(self):
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        if b" 500 " in head[:20]:
            assert self.kind == "fails"
            return
        assert b" 200 " in head[:20], head
        assert self.kind != "fails"
        if b"chunked" in head:
            whole, body = rest, b""
            while True:
                size, _, whole = whole.partition(b"\r\n")
                if not int(size, 16):
                    break
                body, whole = body + whole[:int(size, 16)], whole[int(size, 16) + 2:]
            rest = body
        assert rest == self.body


@pytest.mark.parametrize("seed", SEEDS)
def test_at_random(wsgi, logged, seed, tmp_path, left):
    rng = seeds.rng(seed)
    application = Application(tmp_path)
    wsgi.serve(application, valid=False, threads=rng.choice([1, 2, 4]), limits=dict(LIMITS, write_timeout=None))
    wsgi.server.on_request -= wsgi.slot

    def slot(exchange):
        http.narrow(exchange)
        wsgi.slot(exchange)

    wsgi.server.on_request += slot
    visitors = []
    for number in range(25):
        visitors.append(Visitor(wsgi, rng, number))
        for _ in range(rng.randrange(6)):
            wsgi.turn()
            for visitor in visitors:
                visitor.step(rng)

    def all_over():
        for visitor in visitors:
            visitor.step(rng)
        return all(visitor.over for visitor in visitors)

    wsgi.until(all_over, patience=support.LONG)
    for visitor in visitors:
        visitor.client.close()
    wsgi.clients[0].close()
    assert wsgi.gone()
    wsgi.turn(2)
    wsgi.until(lambda: not wsgi.busy and all(one.closed for one in application.returned), patience=support.LONG)
    assert {int(one.closed) for one in application.returned} <= {1}
    assert {kind for _, _, kind in logged} <= {ZeroDivisionError}, logged
    logged.clear()
    visitors.clear()
    wsgi.until(lambda: left() == 0)  # a thread may be about to let go of the last one
