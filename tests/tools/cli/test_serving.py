"""How `serve` and `ws --listen` end: the first signal in order, the second one at once, wherever it strikes."""
import os
import signal
import socket
import sys

import pytest

import icey
from icey.tools.cli import listening, serving
from icey.tools.cli.console import Trouble
from icey.tools.cli.serving import serve_on
from tests.support import http, streams

debug, clock, reports, loop, site = streams.debug, streams.clock, streams.reports, streams.loop, http.site

with_signals = pytest.mark.needs("signal")
each_signal = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


def interrupt():
    raise KeyboardInterrupt


@pytest.fixture
def busy(site):
    """A server with a request that nobody answers."""
    held = []
    site.serve(held.append)
    site.client().ask()
    site.until(lambda: held)
    return site.server


@with_signals
@each_signal
def test_the_first_signal_ends_in_order(site, loop, number):
    site.serve(lambda exchange: exchange.respond(200))
    loop.call_later(1, signal.raise_signal, number)
    assert serve_on(loop, site.server, icey.run) == 0
    assert site.server.closed and loop.now < 1003


@with_signals
@each_signal
def test_the_second_signal_ends_at_once(busy, loop, number):
    loop.call_later(1, signal.raise_signal, number)
    loop.call_later(2, signal.raise_signal, number)
    assert serve_on(loop, busy, icey.run) == 128 + number
    assert busy.closed and loop.now == pytest.approx(1002, abs=0.1)


@with_signals
def test_the_second_ctrl_c_while_a_slot_holds_the_loop(busy, loop):
    def held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one came back")

    loop.call_later(1, held)
    assert serve_on(loop, busy, icey.run) == 130
    assert busy.closing and loop.now == pytest.approx(1001, abs=0.1)


@with_signals
def test_a_third_ctrl_c_while_it_is_given_up(busy, loop):
    busy.on_close += lambda server: signal.raise_signal(signal.SIGINT)
    loop.call_later(1, signal.raise_signal, signal.SIGINT)
    loop.call_later(2, signal.raise_signal, signal.SIGINT)
    assert serve_on(loop, busy, icey.run) == 130
    assert loop.now == pytest.approx(1002, abs=0.1)


def test_without_the_signal_module_the_first_ctrl_c_ends_in_order(site, loop, monkeypatch):
    monkeypatch.setitem(sys.modules, "signal", None)
    site.serve(lambda exchange: exchange.respond(200))
    loop.call_later(1, interrupt)
    assert serve_on(loop, site.server, icey.run) == 0
    assert site.server.closed


def test_without_the_signal_module_the_second_ctrl_c_ends_at_once(busy, loop, monkeypatch):
    monkeypatch.setitem(sys.modules, "signal", None)
    loop.call_later(1, interrupt)
    loop.call_later(2, interrupt)
    assert serve_on(loop, busy, icey.run) == 130
    assert busy.closing and loop.now == pytest.approx(1002, abs=0.1)


# what is said

@pytest.mark.parametrize("requests, said", [
    (0, ""), (1, "Stopping: 1 request is being answered, at most 10 s (Ctrl-C again: now)\n"),
    (3, "Stopping: 3 requests are being answered, at most 10 s (Ctrl-C again: now)\n")])
def test_what_is_under_way_is_told(site, loop, capsys, requests, said):
    held = []
    site.serve(held.append)
    site.server.on_shutdown += serving.stopping
    site.client()  # one that idles
    for _ in range(requests):
        site.client().ask()
    site.until(lambda: len(held) == requests and len(site.server.connections) == requests + 1)
    site.server.stop()
    site.turn(2)
    assert capsys.readouterr().err == said


def test_an_answer_that_the_client_does_not_read_is_under_way(site, loop, capsys):
    site.serve(lambda exchange: exchange.respond(200, bytes(1 << 24)))
    site.server.on_shutdown += serving.stopping
    site.client().ask()
    site.until(lambda: any(connection.stream.queued for connection in site.server.connections))
    site.server.stop()
    site.turn(2)
    assert capsys.readouterr().err.startswith("Stopping: 1 request is being answered, ")


@pytest.mark.parametrize("host, said", [
    ("127.0.0.1", "Serving it at https://127.0.0.1:8000/ (hint)\n"),
    ("0.0.0.0", "Serving it at https://127.0.0.1:8000/, and on every interface of this machine (hint)\n"
                "For other machines: https://10.1.2.3:8000/\n"),
    ("::", "Serving it at https://[::1]:8000/, and on every interface of this machine (hint)\n"
           "For other machines: https://10.1.2.3:8000/\nFor other machines: https://[2001:db8::7]:8000/\n")])
def test_where_it_serves_is_told(host, said, monkeypatch, capsys):
    monkeypatch.setattr(listening, "own_addresses", lambda: ["10.1.2.3", "2001:db8::7"])
    serving.announce("it", icey.Address(host, 8000), True, "hint")
    assert capsys.readouterr().out == said


# --workers

@pytest.fixture
def supervised(monkeypatch):
    """What `serve_by_workers` hands to the supervisor, which starts none."""
    from icey.workers import supervisor

    handed = []

    def supervise(serve, listen, *, count, ready):
        handed[:] = serve, listen, count, ready
        return 5

    monkeypatch.setattr(supervisor, "supervise", supervise)
    return handed


@pytest.mark.needs("fork", "signal")
def test_workers_serve_on_all_listeners(supervised, loop):
    said = []
    address = icey.Address("127.0.0.1", 0)
    assert serving.serve_by_workers(3, [address], lambda loop, listeners: listeners, said.append) == 5
    serve, listen, count, ready = supervised
    listeners = listen(loop)
    assert count == 3 and serve(loop, listeners * 2) == listeners * 2

    class Parent:
        pass

    Parent.listeners = listeners
    ready(Parent)
    assert said == [listeners[0].address] and said[0].port
    listeners[0].close()


@pytest.mark.needs("fork", "signal")
def test_what_a_worker_cannot_do_is_one_line_and_its_status(supervised, loop, capsys):
    def make(loop, listeners):
        raise Trouble(4, "no such thing")

    serving.serve_by_workers(1, [], make, print)
    with pytest.raises(SystemExit) as ended:
        supervised[0](loop, [])
    assert ended.value.code == 4 and capsys.readouterr().err == "no such thing\n"


# --inspect

@pytest.fixture
def told(monkeypatch):
    """What is told."""
    lines = []
    monkeypatch.setattr(serving, "tell", lines.append)
    return lines


def test_inspect_shows_the_loop_while_the_block_lasts(loop, told):
    with serving.Inspected(loop, "127.0.0.1:0"):
        kinds = [type(handle).__name__ for handle in loop.handles]
        streams.turn(loop)
    assert "Inspector" in kinds and [line.partition("127")[0] for line in told] == ["Inspect it at http://"]
    streams.turn(loop, 2)
    assert loop.handles == ()
    with serving.Inspected(loop, None):
        assert loop.handles == ()


@pytest.mark.parametrize("where, status, text", [
    ("nonsense", 2, "--inspect: an address is host:port"), ("example.org:1", 2, "--inspect: it is HOST:PORT"),
    ("192.0.2.1:1", 1, "--inspect: cannot listen on 192.0.2.1:1: ")])
def test_inspect_says_what_it_cannot(loop, where, status, text):
    with pytest.raises(Trouble) as caught:
        serving.Inspected(loop, where)
    assert caught.value.status == status and str(caught.value).startswith(text)


@pytest.mark.parametrize("missing", ["icey.base.inspected", "icey.tools.inspect"])
def test_inspect_in_a_copy_without_it(loop, monkeypatch, missing):
    for name in [name for name in sys.modules if name.startswith(missing + ".")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(Trouble, match="made without inspect") as caught:
        serving.Inspected(loop, "127.0.0.1:0")
    assert caught.value.status == 1


@pytest.mark.parametrize("command", ["serve", "wsgi"])
def test_inspect_is_for_one_process(command, monkeypatch, tmp_path):
    from icey.tools.serve import command as serve
    from icey.tools.wsgi import command as wsgi

    said = []
    module = {"serve": serve, "wsgi": wsgi}[command]
    monkeypatch.setattr(module, "tell", said.append)
    argv = ["--inspect", "0", "--workers", "2", "--port", "0", str(tmp_path) if command == "serve" else "json:dumps"]
    assert module.main(argv) == 2
    assert said[-1].endswith("--inspect is for one process: leave --workers out")


@pytest.mark.needs("unix")
def test_systemd_hears_of_one_process_what_it_hears_of_workers(site, loop, clock, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setitem(os.environ, "WATCHDOG_USEC", "2000000")
        monkeypatch.delitem(os.environ, "WATCHDOG_PID", raising=False)
        site.serve(lambda exchange: exchange.respond(200))
        loop.call_later(2.5, site.server.stop)
        assert serve_on(loop, site.server, icey.run) == 0
        told = [systemd.recv(100) for _ in range(4)]
        assert told == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]
        assert "NOTIFY_SOCKET" not in os.environ
        systemd.setblocking(False)
        with pytest.raises(BlockingIOError):
            systemd.recv(100)
