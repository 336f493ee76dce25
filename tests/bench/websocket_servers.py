"""The WebSocket echo servers that websocket.py measures, one child each. It measures nothing.

    icey              icey.http.Server and WebSocket, as its users write it; `against`: the same of another checkout
    core              icey.http's WebSocketCore alone, sans-I/O, behind the same epoll loop as raw
    raw               a hand-written parser behind an epoll loop: what pure Python can do at most. It checks nothing
    websockets        its asyncio server, with its C part; websockets-pure: without
    aiohttp           its server, with its C parts; aiohttp-pure: without any
    wsproto           sans-I/O and pure Python, behind an asyncio Protocol
    node              the package ws, as it comes (without bufferutil); see websocket_server.js

Each is what a user of that library would write: the plain interface and its defaults, on asyncio's own loop where it is one of
asyncio's; permessage-deflate is on or off as the task says. What a message brings goes back as one message.
"""

import base64
import hashlib
import importlib.util
import os
import re
import select
import shutil
import socket
import subprocess
import sys

import harness

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NODE = os.path.join(harness.HERE, "websocket_server.js")
NEEDS = {
    "icey": (), "against": (), "core": (), "raw": (), "websockets": ("websockets", "websockets.speedups"),
    "websockets-pure": ("websockets",), "aiohttp": ("aiohttp", "aiohttp._websocket.mask"), "aiohttp-pure": ("aiohttp",),
    "wsproto": ("wsproto",),
}
PURE = ("websockets-pure", "aiohttp-pure", "wsproto")
WITHOUT_DEFLATE = ("core", "raw")
NO_EXTENSIONS = ("AIOHTTP", "MULTIDICT", "YARL", "FROZENLIST", "PROPCACHE")


def importable(subject):
    """Whether this machine has what a subject needs."""
    if subject == "node":
        ask = ["node", "-e", "require('ws')"]
        return bool(shutil.which("node")) and not subprocess.call(ask, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return all(importlib.util.find_spec(name) is not None for name in NEEDS[subject])
    except ModuleNotFoundError:
        return False


# -- icey ------------------------------------------------------------------------------------------------------------


def serve_icey(root, deflate):
    icey = harness.serve_from(root)

    def accept(exchange):
        ws = icey.http.WebSocket.accept(exchange, compression=deflate)
        ws.on_message += lambda ws, data: ws.send(data)

    loop = icey.Loop()
    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += accept
    server.start()
    print(server.address.port, flush=True)
    loop.run()


# -- an epoll loop, for raw and core ---------------------------------------------------------------------------------


class Connection:
    """`feed(data)`, once the handshake is done, returns what is to be sent: bytes."""

    def __init__(self, sock, session):
        self.sock = sock
        self.session = session
        self.feed = self.shake_hands
        self.rest = None

    def shake_hands(self, data):
        key = re.search(rb"\r\nSec-WebSocket-Key: (\S+)\r\n", data).group(1)
        self.feed = self.session()
        return (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                + base64.b64encode(hashlib.sha1(key + GUID).digest()) + b"\r\n\r\n")


def serve_epoll(session):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)
    epoll = select.epoll()
    epoll.register(listener.fileno(), select.EPOLLIN)
    listening, connections = listener.fileno(), {}
    poll = epoll.poll
    while True:
        for fd, event in poll():
            if fd == listening:
                sock = listener.accept()[0]
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = Connection(sock, session)
                epoll.register(sock.fileno(), select.EPOLLIN)
                continue
            connection = connections[fd]
            sock = connection.sock
            try:
                if event & select.EPOLLOUT:
                    out = connection.rest
                else:
                    data = sock.recv(65536)
                    if not data:
                        del connections[fd]
                        sock.close()
                        continue
                    out = connection.feed(data)
                    if not out:
                        continue
                taken = sock.send(out)
            except BlockingIOError:
                taken = 0
            except OSError:
                del connections[fd]
                sock.close()
                continue
            if taken < len(out):
                connection.rest = memoryview(out)[taken:]
                epoll.modify(fd, select.EPOLLOUT)
            elif connection.rest is not None:
                connection.rest = None
                epoll.modify(fd, select.EPOLLIN)


def serve_raw(root, deflate):
    tables = [bytes(byte ^ other for other in range(256)) for byte in range(256)]

    def session():
        parts, size, need = [], 0, 0

        def feed(data):
            """Unmasks and frames again. A frame's head is never split, as what sends it waits for the answer."""
            nonlocal parts, size, need
            if parts:
                parts.append(data)
                size += len(data)
                if size < need:
                    return b""
                data, parts = b"".join(parts), []
            out, at = [], 0
            while at < len(data):
                length, start = data[at + 1] & 127, at + 2
                if length == 126:
                    length, start = int.from_bytes(data[start:at + 4], "big"), at + 4
                elif length == 127:
                    length, start = int.from_bytes(data[start:at + 10], "big"), at + 10
                end = start + 4 + length
                if end > len(data):
                    parts, size, need = [data[at:]], len(data) - at, end - at
                    break
                head = data[at:at + 1] + bytes((data[at + 1] & 127,)) + data[at + 2:start]
                key = data[start:start + 4]
                if length < 1024:
                    number = int.from_bytes((key * (length + 3 >> 2))[:length], "big")
                    out.append(head + (int.from_bytes(data[start + 4:end], "big") ^ number).to_bytes(length, "big"))
                else:
                    payload = bytearray(memoryview(data)[start + 4:end])
                    for index in range(4):
                        payload[index::4] = payload[index::4].translate(tables[key[index]])
                    out += (head, payload)
                at = end
            return out[0] if len(out) == 1 else b"".join(out)

        return feed

    serve_epoll(session)


def serve_core(root, deflate):
    harness.serve_from(root)
    from icey.http import WebSocketCore

    class Echo:
        def __init__(self):
            self.core = WebSocketCore(self, client=False)
            self.out = []

        def on_binary(self, data):
            self.keep(self.core.message(data, False))

        def on_text(self, data):
            self.keep(self.core.message(data.encode(), True))

        def on_closing(self, code, reason):
            self.keep(self.core.close(code))

        def keep(self, frame):
            if type(frame) is bytes:
                self.out.append(frame)
            else:
                self.out += frame

        def feed(self, data):
            self.core.feed(data)
            out, self.out = self.out, []
            return out[0] if len(out) == 1 else b"".join(out)

    serve_epoll(lambda: Echo().feed)


# -- the others ------------------------------------------------------------------------------------------------------


def serve_websockets(root, deflate):
    import asyncio

    from websockets.asyncio.server import serve

    async def echo(ws):
        async for message in ws:
            await ws.send(message)

    async def run():
        async with serve(echo, "127.0.0.1", 0, compression="deflate" if deflate else None) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await server.serve_forever()

    asyncio.run(run())


def serve_websockets_pure(root, deflate):
    sys.modules["websockets.speedups"] = None  # as if it had not been built
    import websockets.frames
    import websockets.utils

    if websockets.frames.apply_mask is not websockets.utils.apply_mask:
        raise SystemExit("websockets still uses its C part")
    serve_websockets(root, deflate)


def serve_aiohttp(root, deflate):
    import asyncio

    from aiohttp import WSMsgType, web

    async def echo(request):
        ws = web.WebSocketResponse(compress=deflate)
        await ws.prepare(request)
        async for message in ws:
            if message.type == WSMsgType.BINARY:
                await ws.send_bytes(message.data)
            elif message.type == WSMsgType.TEXT:
                await ws.send_str(message.data)
        return ws

    async def run():
        app = web.Application()
        app.router.add_get("/", echo)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


def serve_aiohttp_pure(root, deflate):
    for name in NO_EXTENSIONS:
        os.environ[name + "_NO_EXTENSIONS"] = "1"
    from aiohttp._websocket import helpers, reader, reader_py

    if reader.WebSocketReader is not reader_py.WebSocketReader or "python" not in helpers.websocket_mask.__name__:
        raise SystemExit("aiohttp still uses its C parts")
    serve_aiohttp(root, deflate)


def serve_wsproto(root, deflate):
    import asyncio

    from wsproto import ConnectionType, WSConnection
    from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Request, TextMessage
    from wsproto.extensions import PerMessageDeflate

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            self.ws = WSConnection(ConnectionType.SERVER)
            self.pieces = []

        def data_received(self, data):
            ws, out = self.ws, []
            ws.receive_data(data)
            for event in ws.events():
                if isinstance(event, Message):
                    answer = self.answer(event)
                    if answer is not None:
                        out.append(ws.send(answer))
                elif isinstance(event, Request):
                    out.append(ws.send(AcceptConnection(extensions=[PerMessageDeflate()] if deflate else [])))
                elif isinstance(event, Ping):
                    out.append(ws.send(event.response()))
                elif isinstance(event, CloseConnection):
                    out.append(ws.send(event.response()))
                    self.transport.write(b"".join(out))
                    self.transport.close()
                    return
            if out:
                self.transport.write(out[0] if len(out) == 1 else b"".join(out))

        def answer(self, event):
            """What comes is a message, or a piece of one, where it did not come in one read."""
            if event.message_finished and not self.pieces:
                return event
            self.pieces.append(event.data)
            if not event.message_finished:
                return None
            pieces, self.pieces = self.pieces, []
            return type(event)(data=("" if isinstance(event, TextMessage) else b"").join(pieces))

    async def run():
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(run())


SERVERS = {
    "icey": serve_icey, "against": serve_icey, "core": serve_core, "raw": serve_raw, "websockets": serve_websockets,
    "websockets-pure": serve_websockets_pure, "aiohttp": serve_aiohttp, "aiohttp-pure": serve_aiohttp_pure,
    "wsproto": serve_wsproto,
}
