"""Contract 1 over HTTP: a server, its connections and exchanges belong to the thread that runs their loop."""
import pytest

import icey
from tests.support import http
from tests.support.loops import in_thread

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

EXCHANGE = {
    "respond": lambda exchange: exchange.respond(200, b"x"),
    "respond with headers": lambda exchange: exchange.respond(200, b"x", headers={"A": "b"}),
    "send_header": lambda exchange: exchange.send_header(),
    "send": lambda exchange: exchange.send(b"x"),
    "send_owned": lambda exchange: exchange.send_owned(b"x"),
    "end": lambda exchange: exchange.end(),
    "begin_streaming": lambda exchange: exchange.begin_streaming(),
    "collect": lambda exchange: exchange.collect(http.ignore),
    "pause": lambda exchange: exchange.pause(),
    "resume": lambda exchange: exchange.resume(),
    "replace_adapter": lambda exchange: exchange.replace_adapter(icey.Adapter()),
    "close": lambda exchange: exchange.close(),
    "abort": lambda exchange: exchange.abort(),
    "attach": lambda exchange: exchange.on_close.attach(http.ignore),
    "detach": lambda exchange: exchange.on_payload.detach(http.ignore),
    "connection.close": lambda exchange: exchange.connection.close(),
    "connection.abort": lambda exchange: exchange.connection.abort(),
    "server.stop": lambda exchange: exchange.server.stop(),
    "server.close": lambda exchange: exchange.server.close(),
    "server.abort": lambda exchange: exchange.server.abort(),
    "server.start": lambda exchange: exchange.server.start(),
    "server attach": lambda exchange: exchange.server.on_request.attach(http.ignore),
    "server detach": lambda exchange: exchange.server.on_request.detach(http.ignore),
}


@pytest.mark.parametrize("call", EXCHANGE.values(), ids=EXCHANGE)
def test_a_call_from_another_thread_is_an_affinity_error(site, debug, call):
    def refused():
        with pytest.raises(icey.AffinityError, match="loop.post") as info:
            call(exchanges[0])
        assert ("touched at:" in str(info.value)) is debug
        return True

    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.ask()
    site.until(lambda: exchanges)
    assert in_thread(refused)
    exchanges[0].respond(200, b"here")  # nothing has happened to it
    assert client.answer().body == b"here"


def test_a_file_given_away_from_another_thread_is_closed(site, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    files = [open(str(path), "rb")]

    def refused():
        with pytest.raises(icey.AffinityError):
            exchanges[0].send_file(files[0], 0, 1)
        return True

    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.ask()
    site.until(lambda: exchanges)
    assert in_thread(refused)
    assert files[0].closed


def test_a_server_is_built_on_the_loops_thread(site, loop):
    site.turn()

    def refused():
        with pytest.raises(icey.AffinityError):
            icey.http.Server(loop, "127.0.0.1", 0)
        return True

    assert in_thread(refused)


def test_loop_post_is_the_door(site, loop):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.ask()
    site.until(lambda: exchanges)
    assert in_thread(loop.post, exchanges[0].respond, 200, b"posted")
    assert client.answer().body == b"posted"
