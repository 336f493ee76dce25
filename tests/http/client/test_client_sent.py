"""What a client tells on the way: on_sent, the head of each request, and on_interim, the answers that are not the last."""
import pytest

import icey
from icey.http import Client, ClientConnection
from tests.support import getting, streams
from tests.support.getting import answer

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
OK = answer("200 OK", body=b"Hello")


@pytest.fixture
def can(loop):
    """A function that makes a Canned server of its answers."""
    servers = []

    def make(*answers):
        servers.append(getting.Canned(loop, answers))
        return servers[-1]

    yield make
    for server in servers:
        server.listener.abort()
    streams.turn(loop, 3)


def until(loop, met):
    for _ in range(100):
        if met():
            return
        loop.run_once()
    pytest.fail("it does not come")


@pytest.mark.parametrize("body", [None, b"", b"body", b"x" * 100000, [b"pieces"]],
                         ids=["none", "empty", "small", "large", "pieces"])
def test_the_head_is_told_as_it_goes_out_without_the_body(loop, can, body):
    server = can(OK)
    connection = ClientConnection(loop, "http://%s/x" % server.address, method="POST", headers={"Connection": "close"})
    heads = []
    connection.on_sent += lambda connection, head: heads.append(head)
    connection.start(body=body)
    until(loop, lambda: connection.closed)
    head, = heads
    assert head.startswith(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:") and head.endswith(b"\r\n\r\n")
    assert server.requests[0].startswith(head)


@pytest.mark.parametrize("verb", ["close", "abort"])
@pytest.mark.parametrize("body", [None, b"body", b"x" * 3000000], ids=["none", "small", "large"])
def test_a_slot_may_close(loop, can, verb, body):
    connection = ClientConnection(loop, "http://%s/x" % can(OK).address, method="PUT")
    seen = streams.watch(connection, "headers", "complete", "error", "close")
    connection.on_sent += lambda connection, head: getattr(connection, verb)()
    connection.start(body=body)
    until(loop, lambda: connection.closed)
    assert seen == [("close",)]


def test_each_request_of_a_call_and_each_answer_but_the_last(loop, can):
    server = can(answer("301 Moved Permanently", "Location: /b"), answer("401 Unauthorized", "WWW-Authenticate: Digest "
                 'realm="r", nonce="n", qop="auth", algorithm=SHA-256'), OK)
    told, done = [], []
    client = Client(loop)
    call = client.request("GET", "http://%s/a" % server.address, auth=icey.http.DigestAuth("u", "p"),
                          done=lambda *outcome: done.append(outcome))
    call.on_sent += lambda call, head: told.append(
        (head.split(b"\r\n")[0], b"\r\nAuthorization: Digest" in head, call.url.path))
    call.on_interim += lambda call, response: told.append(response.status)
    call.on_headers += lambda call: told.append(call.response.status)
    until(loop, lambda: done)
    assert told == [(b"GET /a HTTP/1.1", False, "/a"), 301, (b"GET /b HTTP/1.1", False, "/b"), 401,
                    (b"GET /b HTTP/1.1", True, "/b"), 200]
    assert done[0][0].body == b"Hello"
    client.abort()


@pytest.mark.parametrize("event", ["on_sent", "on_interim"])
def test_a_call_that_is_closed_on_the_way(loop, can, event):
    done = []
    client = Client(loop)
    call = client.request("GET", "http://%s/a" % can(answer("301 Moved Permanently", "Location: /b"), OK).address,
                          done=lambda *outcome: done.append(outcome))
    getattr(call, event).attach(lambda call, what: call.close())
    until(loop, lambda: call.closed)
    streams.turn(loop, 5)
    assert done == []
    client.abort()
