"""The least that must work wherever icey lies: as `icey`, under another package's name, in a zip, from a wheel.

Stands alone: imports nothing from the other tests, because tests/support/relocated.py runs it far from the checkout.
ICEY_PACKAGE is the name to import (default `icey`); ICEY_WHERE, if set, the folder it has to come from.
"""
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import urllib.request

import pytest

PACKAGE = os.environ.get("ICEY_PACKAGE", "icey")
WHERE = os.environ.get("ICEY_WHERE")

icey = importlib.import_module(PACKAGE)


@pytest.fixture
def loop():
    loop = icey.Loop()
    yield loop
    loop.close()


def run(loop, seconds=20.0):
    """Runs the loop until nothing keeps it alive; fails instead of hanging."""
    overdue = []
    guard = loop.call_later(seconds, lambda: (overdue.append(True), loop.stop()))
    guard.unref()
    loop.run()
    guard.stop()
    assert not overdue, "the loop was still alive after %g seconds: %r" % (seconds, list(loop.handles))


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60, universal_newlines=True)


def test_comes_from_where_it_should():
    assert icey.__name__ == PACKAGE
    if WHERE:
        assert os.path.dirname(icey.__file__) == WHERE


def names(module):
    """Its public names, but those of TLS where Python has no `ssl`, or a minimal run has taken it away."""
    lacking = importlib.util.find_spec("ssl") is None or not {"ssl", "light"}.isdisjoint(
        os.environ.get("ICEY_MINIMAL", "").split(","))
    return [name for name in module.__all__ if not (lacking and name in ("tls", "TLSSocket", "start_tls"))]


def test_every_public_name_resolves():
    for module in (icey, icey.http):
        assert module.__all__
        for name in names(module):
            assert getattr(module, name) is not None


def test_imports_nothing_under_its_old_name():
    done = python("-c", "import importlib, sys; p = importlib.import_module(%r); [getattr(p, n) for n in %r]; "
                        "print(*(m for m in sys.modules if m.split('.')[0] == 'icey'))" % (PACKAGE, names(icey)))
    assert done.returncode == 0, done.stdout
    if PACKAGE.split(".")[0] != "icey":
        assert done.stdout.strip() == ""


def test_version_on_the_command_line():
    done = python("-m", PACKAGE, "--version")
    assert done.returncode == 0, done.stdout
    assert icey.__version__ in done.stdout


def test_loop_runs_soon_posted_and_timed_calls(loop):
    seen = []
    loop.call_later(0.01, seen.append, "later")
    loop.post(seen.append, "posted")
    loop.call_soon(seen.append, "soon")
    run(loop)
    assert sorted(seen) == ["later", "posted", "soon"]


def test_signal_calls_its_slots_by_priority():
    seen = []
    signal = icey.Signal()
    signal.attach(lambda value: seen.append(("low", value)))
    signal.attach(lambda value: seen.append(("high", value)), priority=1)
    signal.emit(7)
    assert seen == [("high", 7), ("low", 7)]


def test_echo_over_tcp_lends_its_views(loop):
    stashed, received, closed = [], [], []
    listener = icey.TCPListener(loop, icey.Address("127.0.0.1", 0))

    def accepted(_, peer):
        peer.on_recv += lambda sock, view: sock.send_owned(view)

    def answered(sock, view):
        stashed.append(view)
        received.append(bytes(view))
        sock.close()
        listener.close()

    listener.on_accept += accepted
    client = icey.TCPSocket(loop)
    client.on_connect += lambda sock: sock.send(b"hello")
    client.on_recv += answered
    client.on_close += closed.append
    client.connect("127.0.0.1", listener.address.port)
    run(loop)
    assert b"".join(received) == b"hello"
    assert closed == [client]
    with pytest.raises(ValueError):
        bytes(stashed[0])


def test_http_server_answers(loop):
    received = []
    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += lambda exchange: exchange.respond(body=exchange.request.path.encode())
    server.start()
    client = icey.TCPSocket(loop)
    client.on_connect += lambda sock: sock.send(b"GET /smoke HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    client.on_recv += lambda sock, view: received.append(bytes(view))
    client.on_close += lambda sock: server.close()
    client.connect("127.0.0.1", server.address.port)
    run(loop)
    head, _, body = b"".join(received).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"/smoke"


def test_serve_serves_a_directory(tmp_path):
    (tmp_path / "page.txt").write_bytes(b"from a file")
    process = subprocess.Popen([sys.executable, "-u", "-m", PACKAGE, "serve", str(tmp_path), "--bind", "127.0.0.1",
                                "--port", "0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, universal_newlines=True)
    with process:
        try:
            said = process.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+/", said)
            assert address, "no address in %r" % (said or process.stdout.read())
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(address.group() + "page.txt", timeout=20) as answer:
                assert answer.read() == b"from a file"
        finally:
            process.terminate()
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
