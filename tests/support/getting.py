"""`icey get` on a loop with a virtual clock, and its server on the same loop: no thread, no waiting.

    def test_something(desk):
        desk.serve(lambda exchange: exchange.respond(200, b"Hello"))
        assert desk.get("/") == 0
        assert desk.out == b"Hello" and desk.err == ""

A test module takes the fixtures by assignment (debug, clock, reports, loop of tests.support.streams, and `desk`); files
are in `desk.folder`, which is the current one.
"""
import io
import os

import pytest

import icey
from icey.http import Server
from icey.tools.cli.console import Console, Trouble
from icey.tools.get import command as get
from tests.support import streams

TAKE_A_PATH = ("-o", "--ca", "--cert", "--key")


class Canned:
    """A server that answers the requests, in their order, with the bytes it was given, and closes after each answer.

    `requests`: what came; the body is waited for where it has a Content-Length. keep: it does not close, but for answers
    that are a `cut(...)`.
    """

    def __init__(self, loop, answers, *, keep=False):
        self.answers = list(answers)
        self.keep = keep
        self.requests = []
        self.listener = icey.TCPListener(loop, icey.Address("127.0.0.1", 0))
        self.listener.on_accept += self.accepted
        self.address = self.listener.address

    def accepted(self, listener, sock):
        held = bytearray()

        def came(sock, view):
            held.extend(view)
            head, end, body = bytes(held).partition(b"\r\n\r\n")
            size = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    size = int(line.partition(b":")[2])
            if end and len(body) >= size:
                self.requests.append(bytes(held))
                held.clear()
                answer = self.answers.pop(0)
                sock.send_owned(bytes(answer))
                if not self.keep or isinstance(answer, cut):
                    sock.close()

        sock.on_recv += came


class cut(bytes):
    """An answer behind which the server closes."""


def answer(status, *fields, body=b""):
    """The bytes of an answer with a Content-Length."""
    lines = ["HTTP/1.1 " + status, "Content-Length: %d" % len(body), *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def raising(exc):
    """A function that raises it, whatever it is called with."""
    def fn(*args, **options):
        raise exc
    return fn


def slowly(desk, seconds=10, size=100000, length=True):
    """Serves `size` bytes, a tenth each tenth of `seconds`."""
    def slot(exchange):
        if length:
            exchange.response.headers["Content-Length"] = str(size)
        pieces = 10

        def more():
            nonlocal pieces
            pieces -= 1
            exchange.send_owned(bytes(size // 10))
            if pieces:
                exchange.loop.call_later(seconds / 10, more)
            else:
                exchange.end()
        more()

    desk.serve(slot)


class Desk:
    """Where `get` is used. `status`, `out`, `err`: of the last time."""

    def __init__(self, loop, folder):
        self.loop = loop
        self.folder = folder
        self.url = None
        self.out = self.err = self.status = None
        self.closing = []

    def serve(self, slot, **options):
        """An HTTP server; the URLs of `get` that begin with "/" are its."""
        server = Server(self.loop, "127.0.0.1", 0, **options)
        server.on_request += slot
        server.start()
        self.closing.append(server)
        self.url = "http%s://%s" % ("s" if options.get("tls") else "", server.address)
        return server

    def can(self, *answers, **options):
        """A Canned server, likewise."""
        server = Canned(self.loop, answers, **options)
        self.closing.append(server.listener)
        self.url = "http://%s" % server.address
        return server

    def get(self, *arguments, stdin=b"", environ=(), out_terminal=False, err_terminal=False, columns=80, out=None, err=None):
        """The exit status. out: another file for stdout."""
        out = io.BytesIO() if out is None else out
        err = io.StringIO() if err is None else err
        console = Console("get", out, err, out_terminal=out_terminal, err_terminal=err_terminal, columns=lambda: columns)
        arguments = [self.url + text if text[:1] == "/" and before not in TAKE_A_PATH else text
                     for before, text in zip(("",) + arguments, arguments)]
        try:
            options = get.parse(arguments, "get")
            get.prepare(options, dict(environ), io.BytesIO(stdin))
            self.status = get.run(self.loop, options, console)
        except Trouble as trouble:
            console.trouble(str(trouble))
            self.status = trouble.status
        finally:
            self.out = out.getvalue() if isinstance(out, io.BytesIO) else None
            self.err = err.getvalue() if isinstance(err, io.StringIO) else None
        return self.status

    def files(self):
        """The names in the folder."""
        return sorted(os.listdir(str(self.folder)))

    def read(self, name):
        return (self.folder / name).read_bytes()

    def close(self):
        for handle in self.closing:
            handle.abort()


@pytest.fixture
def desk(loop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    desk = Desk(loop, tmp_path)
    yield desk
    desk.close()
    streams.turn(loop, 3)
