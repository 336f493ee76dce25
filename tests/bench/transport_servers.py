"""The servers that transport.py measures: one child each, `icey`, `asyncio`, `streams`, `uvloop` or `trio`, in one of three
modes: `echo` (what came goes back), `sink` (what came is dropped), `source` (64 KiB pieces go out as fast as they are taken,
until a byte comes: then the connection is closed in order).

Each is what a user of that library would write: the plain interface, default buffers and water marks, TCP_NODELAY (all
but icey set it by themselves). With a certificate they speak TLS, by the library's own means. It measures nothing.
"""

import importlib.util
import ssl

import harness

PIECE = bytes(65536)
BURST = 16  # pieces that a source sends before the loop has its turn, where the kernel takes all
NEEDS = {"icey": None, "against": None, "asyncio": None, "streams": None, "uvloop": "uvloop", "trio": "trio"}


def importable(subject):
    """Whether this interpreter has what a subject needs."""
    return NEEDS[subject] is None or importlib.util.find_spec(NEEDS[subject]) is not None


def context_of(certificate):
    """A server's SSLContext as Python makes it, None without a certificate."""
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


# -- icey ------------------------------------------------------------------------------------------------------------


def serve_icey(root, mode, certificate):
    icey = harness.serve_from(root)
    context = icey.tls.server_context(*certificate) if certificate else None
    loop = icey.Loop()
    listener = icey.TCPListener(loop, icey.Address("127.0.0.1", 0))

    def accepted(listener, sock):
        sock.set_no_delay()
        if context is None:
            begin(sock)
        else:
            icey.start_tls(sock, context, server_side=True).on_connect += begin

    def begin(sock):
        sock.on_recv += {"echo": echo, "sink": drop, "source": stop}[mode]
        if mode == "source":
            sock.on_drain += pour
            pour(sock)

    def echo(sock, view):
        sock.send_owned(view)

    def drop(sock, view):
        pass

    def stop(sock, view):
        sock.close()

    def pour(sock):
        for _ in range(BURST):
            if sock.closing or not sock.send(PIECE):
                return  # on_drain calls again
        loop.call_soon(pour, sock)

    listener.on_accept += accepted
    print(listener.address.port, flush=True)
    loop.run()


# -- asyncio and uvloop, by Protocol ---------------------------------------------------------------------------------


def protocol_of(asyncio, mode):
    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)

    class Sink(asyncio.Protocol):
        def data_received(self, data):
            pass

    class Source(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            self.paused = False
            self.pour()

        def pour(self):
            write = self.transport.write
            for _ in range(BURST):
                if self.paused or self.transport.is_closing():
                    return
                write(PIECE)
            asyncio.get_running_loop().call_soon(self.pour)

        def pause_writing(self):
            self.paused = True

        def resume_writing(self):
            self.paused = False
            self.pour()

        def data_received(self, data):
            self.transport.close()

    return {"echo": Echo, "sink": Sink, "source": Source}[mode]


def serve_asyncio(root, mode, certificate, run=None):
    import asyncio

    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(protocol_of(asyncio, mode), "127.0.0.1", 0, ssl=context_of(certificate))
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    (run or asyncio.run)(serve())


def serve_uvloop(root, mode, certificate):
    import uvloop

    serve_asyncio(root, mode, certificate, uvloop.run)


# -- asyncio streams -------------------------------------------------------------------------------------------------


def serve_streams(root, mode, certificate):
    import asyncio

    async def echo(reader, writer):
        while True:
            data = await reader.read(65536)
            if not data:
                break
            writer.write(data)
            await writer.drain()

    async def sink(reader, writer):
        while await reader.read(65536):
            pass

    async def source(reader, writer):
        stop = asyncio.ensure_future(reader.read(1))
        while not stop.done():
            for _ in range(BURST):
                writer.write(PIECE)
                await writer.drain()
            await asyncio.sleep(0)  # drain() alone may never let the loop have its turn

    async def connected(reader, writer):
        await {"echo": echo, "sink": sink, "source": source}[mode](reader, writer)
        writer.close()

    async def serve():
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context_of(certificate))
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(serve())


# -- trio ------------------------------------------------------------------------------------------------------------


def serve_trio(root, mode, certificate):
    import trio

    async def echo(stream):
        async for data in stream:
            await stream.send_all(data)

    async def sink(stream):
        async for _ in stream:
            pass

    async def source(stream):
        stopped = []

        async def wait():
            stopped.append(await stream.receive_some(1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            while not stopped:
                await stream.send_all(PIECE)
        await stream.aclose()

    async def connected(stream):
        try:
            await {"echo": echo, "sink": sink, "source": source}[mode](stream)
        except trio.BrokenResourceError:  # TLS that ends without a close_notify
            pass

    async def serve():
        async with trio.open_nursery() as nursery:
            if certificate is None:
                start = trio.serve_tcp
                extra = ()
            else:
                start = trio.serve_ssl_over_tcp
                extra = (context_of(certificate),)
            listeners = await nursery.start(lambda task_status: start(
                connected, 0, *extra, host="127.0.0.1", task_status=task_status))
            socket = getattr(listeners[0], "transport_listener", listeners[0]).socket
            print(socket.getsockname()[1], flush=True)

    trio.run(serve)


SERVERS = {
    "icey": serve_icey, "against": serve_icey, "asyncio": serve_asyncio, "streams": serve_streams, "uvloop": serve_uvloop,
    "trio": serve_trio,
}
