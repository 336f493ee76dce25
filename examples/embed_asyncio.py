"""icey inside asyncio: an HTTP server of icey's in an asyncio program, whose slots start coroutines.

    python3 examples/embed_asyncio.py [--port 8000]      then, elsewhere: curl http://127.0.0.1:8000/

An AsyncioHost has the running event loop drive the icey.Loop: it waits for one descriptor and one timer, and there is no second
thread. Slots may start tasks and set futures, coroutines may use everything of the loop. --check has icey's client, awaited by
way of a future, ask the server, which answers from a coroutine.
"""
import argparse
import asyncio
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey
from icey.tools.inspect import Inspector

tasks: set = set()  # asyncio holds its tasks weakly


def hello(exchange):
    task = asyncio.ensure_future(answer(exchange))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def answer(exchange):
    await asyncio.sleep(0.01)  # a database that is asked, say
    exchange.respond(200, b"Hello from a coroutine\n", "text/plain; charset=utf-8")


async def fetch(client, url):
    """icey's client as a coroutine: `done` fulfils a future."""
    future = asyncio.get_running_loop().create_future()

    def done(answer, error):
        if not future.cancelled():
            future.set_result(answer) if error is None else future.set_exception(error)

    client.request("GET", url, done=done)
    return await future


async def check(loop, server):
    client = icey.http.Client(loop)
    answers = await asyncio.gather(*[fetch(client, "http://%s/" % server.address) for _ in range(3)])
    assert [answer.body for answer in answers] == [b"Hello from a coroutine\n"] * 3
    closed = asyncio.Event()
    server.on_close += lambda server: closed.set()
    client.close()
    server.stop()
    await closed.wait()
    print("OK: three answers of coroutines, to a client that was awaited")


async def main():
    options = argparse.ArgumentParser(description="An HTTP server inside of asyncio.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--inspect", metavar="PORT", type=int, help="show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run a client against it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop, icey.hosts.AsyncioHost(loop):
        if chosen.inspect is not None:
            print("see it at %s" % Inspector(loop, port=chosen.inspect).url, flush=True)
        server = icey.http.Server(loop, "127.0.0.1", chosen.port)
        server.on_request += hello
        server.start()
        if chosen.check:
            await check(loop, server)
        else:
            print("saying hello at http://%s/, Ctrl-C ends it" % server.address)
            await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
