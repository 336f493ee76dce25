"""icey.base.watch: in debug mode a callback that holds the loop is named."""

import socket

import pytest

import icey


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(icey.base.log, "_write", lambda level, area, text, args, exc: lines.append(text % args))
    return lines


def slow_for(clock, seconds):
    def the_slow_one(*args):
        clock.now += seconds

    return the_slow_one


def run(loop, times=3):
    for _ in range(times):
        loop.run_once(0)
    loop.close()


def test_a_slow_call_is_logged_with_its_place(clock, said):
    loop = icey.Loop(True, clock=clock)
    fn = slow_for(clock, 0.25)
    loop.call_soon(fn)
    run(loop)
    assert len(said) == 1
    assert "the_slow_one (%s:%d) held the loop for 0.250 s" % (__file__, fn.__code__.co_firstlineno) in said[0]


def test_a_call_within_the_limit_is_not(clock, said):
    loop = icey.Loop(True, clock=clock)
    loop.call_soon(slow_for(clock, 0.09))
    run(loop)
    assert said == []


def test_the_limit_is_the_loops(clock, said):
    loop = icey.Loop(True, clock=clock)
    loop.slow_limit = 1.0
    loop.call_soon(slow_for(clock, 0.9))
    run(loop)
    assert said == []


def test_release_mode_does_not_look(clock, said):
    loop = icey.Loop(False, clock=clock)
    loop.call_soon(slow_for(clock, 9.0))
    run(loop)
    assert said == []


def test_timers_and_idlers_are_watched(clock, said):
    loop = icey.Loop(True, clock=clock)
    loop.call_later(0, slow_for(clock, 0.2))
    idler = icey.Idler(loop, slow_for(clock, 0.3)).start()
    loop.run_once(0)
    idler.stop()
    run(loop)
    assert [line.split(" held the loop for ")[1][:5] for line in said] == ["0.200", "0.300"]


def test_a_slow_slot_of_a_stream_is_named_with_its_stream(clock, said):
    loop = icey.Loop(True, clock=clock)
    ours, theirs = socket.socketpair()
    with theirs:
        stream = icey.Stream(loop, ours)
        fn = stream.on_recv.attach(slow_for(clock, 0.5))
        theirs.send(b"x")
        loop.run_once(1)
        stream.abort()
        run(loop)
    assert "<Stream open> (on_recv: " in said[0]
    assert "the_slow_one (%s:%d)" % (__file__, fn.__code__.co_firstlineno) in said[0]


def test_a_slow_handler_of_a_server_is_named(clock, said):
    loop = icey.Loop(True, clock=clock)
    server = icey.http.Server(loop, "127.0.0.1", 0)

    @server.on_request.attach
    def the_handler(exchange):
        clock.now += 0.7
        exchange.respond(204)

    server.start()
    with socket.create_connection((server.address.host, server.address.port)) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(4):
            loop.run_once(0.2)
        server.close()
        run(loop)
    assert any("on_request: " in line and "the_handler" in line for line in said)


def test_what_a_slow_callback_raises_still_arrives(clock, said):
    loop = icey.Loop(True, clock=clock)
    raised = []
    loop.on_error += lambda loop, exc, handle: raised.append((exc, handle))

    def fails():
        clock.now += 0.2
        raise KeyError("x")

    loop.call_soon(fails)
    run(loop)
    assert isinstance(raised[0][0], KeyError)
    assert "fails" in said[0]
