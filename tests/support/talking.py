"""`icey ws` on a loop with a virtual clock, and its server on the same loop: no thread, no waiting.

    def test_something(booth):
        booth.serve()                                    # echoes; or booth.serve(prepare), called with each WebSocket
        assert booth.talk(stdin=b"Hello\n") == 0
        assert booth.out == b"Hello\n" and booth.err == ""

A test module takes the fixtures by assignment (debug, clock, reports, loop of tests.support.streams, and `booth`).
"""
import io
import os
import re

import pytest

import icey
from icey.http import Server, WebSocket
from icey.http.websocket.handshake import accept_key
from icey.tools.cli.console import Console, Trouble
from icey.tools.ws import command as ws
from tests.support import streams
from tests.support.websocket import echo

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"


class Booth:
    """Where `ws` is used. `status`, `out`, `err`: of the last time. `sockets`, `ends`: the server's, and how they closed."""

    def __init__(self, loop):
        self.loop = loop
        self.url = None
        self.out = self.err = self.status = None
        self.sockets, self.exchanges, self.ends, self.heard = [], [], [], []
        self.received = bytearray()
        self.closing = []
        self.fds = []

    def serve(self, prepare=None, *, tls=None, **options):
        """A server of WebSockets; prepare: called with each, instead of having it echo. options: of WebSocket.accept."""
        def slot(exchange):
            self.exchanges.append(exchange)
            ws = WebSocket.accept(exchange, **options)
            self.sockets.append(ws)
            ws.on_message += lambda ws, data: self.heard.append(data if isinstance(data, str) else bytes(data))
            ws.on_close += lambda ws, code, reason: self.ends.append((code, reason))
            (prepare or (lambda ws: ws.on_message.attach(echo)))(ws)

        self.answer(slot, tls=tls)
        self.url = self.url.replace("http", "ws", 1)

    def answer(self, slot, **options):
        """An HTTP server."""
        server = Server(self.loop, "127.0.0.1", 0, **options)
        server.on_request += slot
        server.start()
        self.closing.append(server)
        self.url = "http%s://%s/" % ("s" if options.get("tls") else "", server.address)

    def raw(self, answered=None, head=None):
        """A server by hand: it answers the handshake as is due (or by the bytes `head`), and then calls `answered(sock)`.

        What the client sends behind its handshake gathers in `received`.
        """
        listener = icey.TCPListener(self.loop, icey.Address("127.0.0.1", 0))
        self.closing.append(listener)
        self.url = "ws://%s/" % listener.address

        def came(sock, view):
            self.received += view
            asked, end, rest = bytes(self.received).partition(b"\r\n\r\n")
            if end and sock in waiting:
                waiting.discard(sock)
                self.received = bytearray(rest)
                key = re.search("(?i)sec-websocket-key: (.+)\r", asked.decode() + "\r").group(1)
                sock.send_owned(SWITCH % accept_key(key).encode() if head is None else head)
                if answered is not None:
                    answered(sock)

        def accepted(listener, sock):
            waiting.add(sock)
            self.closing.append(sock)
            sock.on_recv += came

        waiting = set()
        listener.on_accept += accepted

    def pipe(self):
        """(reading, writing) descriptors; those that are still open at the end are closed then."""
        pair = os.pipe()
        self.fds += pair
        return pair

    def close_fd(self, fd):
        self.fds.remove(fd)
        os.close(fd)

    def talk(self, *arguments, stdin=b"", environ=(), out=None, out_terminal=False, url=True):
        """The exit status. stdin: what is in it, or a descriptor, or None. out: another file for stdout."""
        if isinstance(stdin, bytes):
            fd, writing = self.pipe()
            os.write(writing, stdin)
            self.close_fd(writing)
            stdin = fd
        out = io.BytesIO() if out is None else out
        err = io.StringIO()
        console = Console("ws", out, err, out_terminal=out_terminal)
        try:
            options = ws.parse([*arguments, self.url] if url else arguments, "ws")
            ws.prepare(options, dict(environ))
            self.status = ws.run(self.loop, options, console, stdin)
        except Trouble as trouble:
            console.trouble(str(trouble))
            self.status = trouble.status
        finally:
            self.out = out.getvalue() if isinstance(out, io.BytesIO) else None
            self.err = err.getvalue()
        return self.status

    def settle(self):
        """The server has seen the end."""
        streams.turn(self.loop, 5)
        return self.ends

    def close(self):
        for handle in self.closing:
            handle.abort()
        streams.turn(self.loop, 3)
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def booth(loop):
    booth = Booth(loop)
    yield booth
    booth.close()
