"""The server's rows of the table against a live server on loopback, in this process.

A handler answers each request with what it was: method, target and body. Every row is sent in one piece, and the short
ones byte by byte as well; the answers are read with the project's own parser of responses.
"""
import pytest

from icey.http import Server
from icey.tools.testing import Peer, virtual_loop
from tests.conformance import table
from tests.fuzz.messages import Answers
from tests.support import MODES, seeds

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
AFTER = b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n"


class Echo:
    """A server that answers with what it was asked; `failures` are the exceptions the loop was told of."""

    def __init__(self, debug):
        self.loop, self.clock = virtual_loop(debug)
        self.failures = []
        self.loop.on_error += lambda *args: self.failures.append(args)
        self.server = Server(self.loop, "127.0.0.1", 0)
        self.server.on_request += lambda exchange: exchange.collect(self.answer)
        self.server.start()

    def answer(self, exchange, body):
        request = exchange.request
        exchange.respond(200, ("%s %s " % (request.method, request.target)).encode() + body)

    def peer(self):
        return Peer.connect(self.loop, self.server.address)

    def talk(self, data, bytewise=False, half_close=False):
        """All that comes back for `data`, until the server closes or, after AFTER was sent too, has answered that."""
        with self.peer() as peer:
            if bytewise:
                for index in range(len(data)):
                    peer.send(data[index:index + 1])
                    self.loop.run_once(0)
            else:
                peer.send(data)
            if half_close:
                peer.half_close()
                return peer.read_all(), True
            came = b""
            while b"GET /after" not in came and not peer.ended:
                came += peer.read_until(b"/after ")
            return came, peer.ended

    def close(self):
        self.server.close()
        self.turn()
        self.loop.close()

    def turn(self):
        for _ in range(1000):
            self.loop.run_once(0)
            if not self.server.connections:
                return
        pytest.fail("connections are left: %r" % (self.server.connections,))


@pytest.fixture(scope="module", params=MODES)
def echo(request):
    made = Echo(request.param)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nothing_failed(echo):
    yield
    echo.turn()  # every connection goes when its peer has gone
    assert not echo.failures


def answers(came, methods):
    """(status, fields, body) of each final answer; nothing may come behind them."""
    answers = Answers(came, methods)
    assert not answers.unread and set(answers.interim) <= {100}
    return answers.found


def expected(requests):
    """What `answers` finds for requests that were all answered: (status, body)."""
    return [(200, b"" if method == "HEAD" else ("%s %s " % (method, target)).encode() + body)
            for method, target, body in requests]


def rows(part):
    return [pytest.param(*row[1:], id=row[0]) for row in part]


def ways(data):
    return (False, True) if len(data) < seeds.rounds(80, 400) else (False,)


def check_head(fields):
    assert fields["server"] == "icey" and fields["date"].endswith(" GMT") and "content-length" in fields


@pytest.mark.parametrize("data, requests, kept", rows(row for row in table.ACCEPTED if row[3] is not None))
def test_accepted(echo, data, requests, kept):
    for bytewise in ways(data):
        came, ended = echo.talk(data + AFTER, bytewise)
        told = requests + [("GET", "/after", b"")] if kept else requests
        found = answers(came, [request[0] for request in told])
        assert [(status, body) for status, _, body in found] == expected(told)
        assert ended is not kept
        for _, fields, _ in found:
            check_head(fields)
        if not kept:
            assert found[-1][1]["connection"] == "close"
        elif b"HTTP/1.0" in data:
            assert found[0][1]["connection"] == "keep-alive"
        else:
            assert "connection" not in found[-1][1]


@pytest.mark.parametrize("data, requests, status", rows(table.REFUSED))
def test_refused(echo, data, requests, status):
    for bytewise in ways(data):
        came, ended = echo.talk(data + HIDDEN + AFTER, bytewise)
        found = answers(came, [request[0] for request in requests] + ["GET"])
        assert [(code, body) for code, _, body in found[:-1]] == expected(requests)
        assert ended
        code, fields, body = found[-1]
        assert (code, fields["connection"]) == (status, "close")
        assert body.startswith(b"%d " % status)
        check_head(fields)


@pytest.mark.parametrize("data, requests", rows(table.CUT))
def test_cut(echo, data, requests):
    for bytewise in ways(data):
        came, ended = echo.talk(data, bytewise, half_close=True)
        found = answers(came, [request[0] for request in requests])
        assert [(code, body) for code, _, body in found] == expected(requests)
        assert ended


def test_nothing_is_answered_to_a_client_that_says_nothing(echo):
    assert echo.talk(b"", half_close=True) == (b"", True)


def test_what_is_asked_before_the_end_is_answered(echo):
    came, _ = echo.talk(table.GET * 3, half_close=True)
    assert [body for _, _, body in answers(came, ["GET"] * 3)] == [b"GET / "] * 3


def test_continue_is_sent_when_a_body_is_due(echo):
    with echo.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
        assert peer.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"hi")
        assert peer.read_until(b"POST / hi").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("head", [
    b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nh",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n",
])
def test_continue_is_not_sent_otherwise(echo, head):
    with echo.peer() as peer:
        peer.send(head)
        for _ in range(5):
            echo.loop.run_once(0)
        peer.send(b"hi"[head.endswith(b"h"):] if b": 0" not in head else b"")
        assert peer.read_until(b"\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_refused_client_that_goes_on_sending_still_gets_the_refusal(echo):
    with echo.peer() as peer:
        peer.send(b"GET  / HTTP/1.1\r\n\r\n")
        for _ in range(30):
            peer.send(b"x" * 10000)
            echo.loop.run_once(0)
        came = peer.read_all()  # a reset would be ConnectionResetError
        assert answers(came, ["GET"])[0][0] == 400


def test_each_body_of_a_chain_is_its_own(echo):
    chain = b"".join(table.length(b"%d" % size, b"x" * size) for size in range(50))
    came, _ = echo.talk(chain + AFTER)
    found = answers(came, ["POST"] * 50 + ["GET"])
    assert [body for _, _, body in found[:-1]] == [b"POST / " + b"x" * size for size in range(50)]
