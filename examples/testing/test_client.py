"""Clients, tested: one of your own protocol against a script, one over HTTP against a server in the same loop."""
import pytest

import icey
from icey.tools.testing import AGAIN, END, INTERRUPTED, ScriptedSocket, byte_at_a_time, virtual_loop


class Mailbox:
    """The program: a client that asks how many letters there are, in a protocol of lines."""

    def __init__(self, stream, done):
        self.came, self.done = b"", done
        stream.on_recv += self.receive
        stream.on_error += lambda stream, exc: done(exc)
        stream.send_owned(b"COUNT\r\n")

    def receive(self, stream, view):
        self.came += view
        if self.came.endswith(b"\r\n"):
            self.done(int(self.came))
            stream.close()


@pytest.fixture(params=[False, True], ids=["release", "debug"])
def loop(request):
    loop, _ = virtual_loop(request.param)
    with loop:
        yield loop


def ask(loop, sock):
    """What a Mailbox finds out over this socket."""
    told = []
    stream = icey.Stream(loop, sock)
    Mailbox(stream, told.append)
    loop.run()
    return told[0]


def test_the_answer_in_whatever_pieces_it_comes(loop):
    assert ask(loop, ScriptedSocket(reads=[b"12\r\n"])) == 12
    assert ask(loop, ScriptedSocket(reads=[AGAIN, b"1", INTERRUPTED, b"2\r", b"\n"])) == 12
    assert ask(loop, ScriptedSocket(reads=byte_at_a_time(b"12\r\n"))) == 12


def test_a_kernel_that_takes_a_byte_at_a_time(loop):
    sock = ScriptedSocket(reads=[b"7\r\n"], writes=[1, 0, AGAIN, 1, 1, 1, 1])
    assert ask(loop, sock) == 7
    assert bytes(sock.sent) == b"COUNT\r\n"


def test_a_server_that_goes(loop):
    assert isinstance(ask(loop, ScriptedSocket(reads=[b"1", ConnectionResetError])), ConnectionResetError)


def test_a_server_that_ends_without_an_answer(loop):
    stream = icey.Stream(loop, ScriptedSocket(reads=[END]))
    closed = []
    stream.on_close += closed.append
    Mailbox(stream, print)
    loop.run()
    assert closed == [stream]


def patient(client, url, done):
    """The program: asks again after as long as a busy server says."""
    def answered(answer, error):
        if answer is not None and answer.status == 503:
            client.loop.call_later(float(answer.headers["retry-after"]), patient, client, url, done)
        else:
            done(error if answer is None else answer.status)

    client.request("GET", url, done=answered)


def test_a_busy_server_is_asked_again():
    loop, clock = virtual_loop(debug=True)
    with loop, icey.http.Server(loop, "127.0.0.1", 0).start() as server, icey.http.Client(loop) as client:
        server.on_request += lambda exchange: (
            exchange.respond(200) if clock() > 3600.0 else exchange.respond(503, headers={"Retry-After": "600"}))
        told = []
        patient(client, "http://%s/" % server.address, told.append)
        while not told:
            loop.run_once()
        assert told == [200] and clock() >= 3600.0
