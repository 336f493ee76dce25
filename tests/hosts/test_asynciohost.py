"""AsyncioHost: an asyncio event loop drives a Loop; coroutines and slots are one thread."""
import asyncio
import select

import pytest

from icey import Address, Loop, StateError, TCPListener, TCPSocket, http
from icey.hosts import AsyncioHost
from tests.support import needs
from tests.support.loops import debug, in_thread  # noqa: F401

needs("selectors", "asyncio")


def run(main, *args):
    """asyncio.run of a coroutine that may take a minute; tests that hang fail."""
    async def bounded():
        return await asyncio.wait_for(main(*args), 60)

    return asyncio.run(bounded())


def promise():
    """A future, and the function that fulfils it with its arguments."""
    future = asyncio.get_running_loop().create_future()
    return future, lambda *args: future.done() or future.set_result(args)


def test_what_a_coroutine_starts_begins_with_nothing_else_going_on(debug):
    async def main():
        with Loop(debug) as loop, AsyncioHost(loop):
            future, fulfil = promise()
            loop.call_soon(fulfil, "soon")
            assert await future == ("soon",)
            future, fulfil = promise()
            loop.call_later(0.001, fulfil, "timer")
            assert await future == ("timer",)
            future, fulfil = promise()
            in_thread(loop.post, fulfil, "posted")
            assert await future == ("posted",)
            listener = TCPListener(loop, Address("127.0.0.1", 0))
            listener.on_accept += lambda listener, sock: (sock.on_recv.attach(lambda sock, view: None), accepted.append(sock))
            accepted = []
            future, fulfil = promise()
            sock = TCPSocket(loop)
            sock.on_connect += fulfil
            sock.connect("127.0.0.1", listener.address.port)
            await future
            future, fulfil = promise()
            sock.send(b"x" * 100000, lambda: fulfil("done"))
            assert await future == ("done",)
            for one in accepted + [sock]:
                future, fulfil = promise()
                one.on_close += fulfil
                one.close()
                await future
            future, fulfil = promise()
            listener.on_close += fulfil
            listener.close()
            await future

    run(main)


def test_a_server_and_a_client_live_in_asyncio(debug):
    async def main():
        with Loop(debug) as loop, AsyncioHost(loop) as host:
            assert host.aloop is asyncio.get_running_loop()
            server = http.Server(loop, "127.0.0.1", 0)

            @server.on_request.attach
            def on_request(exchange):
                async def answer():
                    await asyncio.sleep(0)
                    exchange.respond(200, b"from a coroutine")

                tasks.append(asyncio.ensure_future(answer()))

            tasks = []
            server.start()
            client = http.Client(loop)
            for _ in range(3):
                future, fulfil = promise()
                client.request("GET", "http://%s/" % server.address, done=fulfil)
                answer, error = await future
                assert error is None and answer.body == b"from a coroutine"
            future, fulfil = promise()
            client.close()
            server.on_close += fulfil
            server.stop()
            await future

    run(main)


def test_an_idle_loop_takes_no_turns(debug):
    async def main():
        with Loop(debug) as loop, AsyncioHost(loop) as host:
            turns = []
            real, loop_of = host.turn, asyncio.get_running_loop()
            host.stop()
            host.turn = lambda *args: (turns.append(1), real())
            host.start()
            loop.call_later(3600, int)
            for _ in range(3):
                await asyncio.sleep(0.005)
            del turns[:]
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert turns == [] and loop_of is host.aloop

    run(main)


def test_exceptions_in_slots_go_to_on_error_and_asyncio_hears_nothing(debug):
    async def main():
        heard = []
        asyncio.get_running_loop().set_exception_handler(lambda aloop, context: heard.append(context))
        with Loop(debug) as loop, AsyncioHost(loop):
            told = []
            loop.on_error += lambda loop, exc, handle: told.append(type(exc))
            loop.call_soon(lambda: 1 // 0)
            future, fulfil = promise()
            loop.call_soon(fulfil)
            await future
            assert told == [ZeroDivisionError]
        assert heard == []

    run(main)


def test_a_KeyboardInterrupt_ends_asyncio_and_the_loop_can_go_on_in_another(debug):
    def interrupted():
        raise KeyboardInterrupt

    seen = []
    with Loop(debug) as loop:
        aloop = asyncio.new_event_loop()
        host = AsyncioHost(loop, aloop).start()
        loop.call_soon(interrupted)
        loop.call_soon(seen.append, 1)
        with pytest.raises(KeyboardInterrupt):
            aloop.run_until_complete(asyncio.sleep(60))
        for task in asyncio.all_tasks(aloop):
            task.cancel()
            aloop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        host.stop()
        aloop.close()

        async def main():
            with AsyncioHost(loop):
                future, fulfil = promise()
                loop.call_soon(fulfil)
                await future

        run(main)
    assert seen == [1]


def test_an_event_loop_that_ends_first_leaves_the_loop_to_itself(debug):
    seen = []
    with Loop(debug) as loop:
        aloop = asyncio.new_event_loop()
        host = AsyncioHost(loop, aloop)
        with host:
            loop.call_later(0.001, seen.append, "timer")
            loop.call_soon(aloop.call_soon, aloop.stop)
            aloop.run_forever()
            aloop.close()
            loop.run()
        assert seen == ["timer"] and not host.started


@pytest.mark.parametrize("again", ["start", "with", "another"])
def test_a_host_that_was_not_stopped_starts_anew_where_its_event_loop_has_ended(debug, again):
    seen = []

    async def first():
        assert host.start().started

    async def second():
        taken = AsyncioHost(loop) if again == "another" else host
        (taken.__enter__ if again == "with" else taken.start)()
        answered = asyncio.get_running_loop().create_future()
        loop.call_soon(answered.set_result, "driven")
        seen.append(await asyncio.wait_for(answered, 60))
        with pytest.raises(StateError):
            host.start()
        taken.stop()

    with Loop(debug) as loop:
        host = AsyncioHost(loop)
        run(first)
        run(second)
    assert seen == ["driven"]


def test_a_loop_that_closes_first_takes_its_descriptor_out_of_asyncio(debug):
    async def main():
        loop = Loop(debug)
        host = AsyncioHost(loop).start()
        descriptor = loop.fileno()
        loop.call_later(60, int)
        await asyncio.sleep(0)
        loop.close()
        assert not host.started
        assert asyncio.get_running_loop().remove_reader(descriptor) is False

    run(main)


def test_stop_in_a_callback_of_the_loop(debug):
    async def main():
        with Loop(debug) as loop:
            host = AsyncioHost(loop).start()
            descriptor = loop.fileno()
            future, fulfil = promise()
            loop.call_soon(host.stop)
            loop.call_soon(fulfil)
            await future
            assert not host.started
            assert asyncio.get_running_loop().remove_reader(descriptor) is False
            loop.call_soon(int)
            assert select.select([descriptor], [], [], 0)[0]
            await asyncio.sleep(0.001)
            assert loop.timeout() == 0, "nobody drives it"

    run(main)


def test_a_start_where_no_event_loop_runs_is_StateError(debug):
    with Loop(debug) as loop:
        with pytest.raises(StateError, match=r"AsyncioHost\(loop, aloop\)"):
            AsyncioHost(loop).start()


def test_an_event_loop_that_waits_for_no_descriptors_is_StateError(debug):
    class Proactor(asyncio.SelectorEventLoop):
        def add_reader(self, fd, callback, *args):
            raise NotImplementedError

    aloop = Proactor()
    with Loop(debug) as loop:
        with pytest.raises(StateError, match="Proactor waits for no descriptors.*ThreadHost"):
            AsyncioHost(loop, aloop).start()
        assert loop.handles == ()
    aloop.close()
