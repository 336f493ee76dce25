"""Contract 1 of a client: connections, clients and calls belong to the thread that runs their loop."""
import pytest

import icey
from icey.http import Client, ClientConnection, fetch
from tests.support import rawserver
from tests.support.http import ignore
from tests.support.loops import in_thread

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

CONNECTION = {
    "start": lambda conn: conn.start(),
    "send": lambda conn: conn.send(b"x"),
    "send_owned": lambda conn: conn.send_owned(b"x"),
    "end": lambda conn: conn.end(),
    "save_to": lambda conn: conn.save_to("x"),
    "pause": lambda conn: conn.pause(),
    "resume": lambda conn: conn.resume(),
    "replace_adapter": lambda conn: conn.replace_adapter(icey.Adapter()),
    "close": lambda conn: conn.close(),
    "abort": lambda conn: conn.abort(),
    "ref": lambda conn: conn.ref(),
    "unref": lambda conn: conn.unref(),
    "attach": lambda conn: conn.on_payload.attach(ignore),
    "detach": lambda conn: conn.on_close.detach(ignore),
}
CALL = {name: CONNECTION[name] for name in ("save_to", "pause", "resume", "close", "abort", "ref", "unref", "attach", "detach")}
CLIENT = {
    "request": lambda client: client.request("GET", "http://127.0.0.1:1/"),
    "close": lambda client: client.close(),
    "abort": lambda client: client.abort(),
    "attach": lambda client: client.on_close.attach(ignore),
}


def refuse(thing, call, debug):
    """From another thread the call is an AffinityError that says where to go."""
    def refused():
        with pytest.raises(icey.AffinityError, match="loop.post") as info:
            call(thing)
        assert ("touched at:" in str(info.value)) is debug
        return True

    assert in_thread(refused)


@pytest.mark.parametrize("call", CONNECTION.values(), ids=CONNECTION)
def test_of_a_connection(raw, debug, call):
    conn = raw.connection()
    conn.start()
    server = raw.accept()
    server.request()
    refuse(conn, call, debug)
    server.answer(b"hello")  # nothing has happened to it
    assert raw.story(conn) == [200, b"hello", "complete"]


@pytest.mark.parametrize("call", CALL.values(), ids=CALL)
def test_of_a_call(raw, debug, call):
    asking = raw.get()
    server = raw.accept()
    server.request()
    refuse(asking.call, call, debug)
    server.answer(b"hello")
    assert asking.answer().body == b"hello"


@pytest.mark.parametrize("call", CLIENT.values(), ids=CLIENT)
def test_of_a_client(raw, debug, call):
    client = raw.client()
    asking = raw.get()
    server = raw.accept()
    server.request()
    refuse(client, call, debug)
    server.answer(b"hello")
    assert asking.answer().body == b"hello" and len(client.calls) == 0


def test_both_are_built_on_the_loop_s_thread(raw, loop, debug):
    raw.turn()
    refuse(loop, lambda loop: Client(loop), debug)
    refuse(loop, lambda loop: ClientConnection(loop, "http://127.0.0.1:1/"), debug)


def test_loop_post_is_the_door(raw, loop):
    conn = raw.connection()
    assert in_thread(loop.post, conn.start)
    server = raw.accept()
    server.reply(b"posted")
    assert raw.story(conn) == [200, b"posted", "complete"]


def test_fetch_has_a_loop_of_its_own_in_any_thread():
    def refused():
        with pytest.raises(icey.ConnectError):
            fetch("http://127.0.0.1:1/")
        return True

    assert in_thread(refused)
