"""The doctor's trial on loopback: what works is told, what fails is told with what to do, and what hangs ends."""
import errno
import gc
import os
import socket
import threading
import warnings

import pytest

import icey
from icey.net.udp import UDPSocket
from icey.tools.doctor import finding, report, trials
from tests.support import lacks

NAMES = ["loop", "tcp", "udp", "tls", "http", "websocket"]
FOLDER = "/proc/self/fd"


@pytest.fixture(params=[False, True], ids=["release", "debug"])
def debug(request, monkeypatch):
    monkeypatch.setenv("ICEY_DEBUG", "1" if request.param else "0")


@pytest.fixture
def patient(monkeypatch):
    """A busy machine is not a broken one."""
    monkeypatch.setattr(trials, "WAIT", 30.0)


def hang(trial):
    trial.step = "for ever"


@pytest.fixture
def impatient(monkeypatch):
    """What does not work at once hangs: no turn of the loop is made."""
    monkeypatch.setattr(trials, "WAIT", 0)


def states(found):
    return {name: one["state"] for name, one in found.items()}


def raising(exc):
    def function(*arguments, **options):
        raise exc
    return function


def test_all_of_it_works_here_in_a_loop_of_its_own(debug, patient):
    found = trials.trials()
    tls = "skipped" if lacks("ssl") else "ok"
    assert states(found) == {"loop": "ok", "tcp": "ok", "udp": "ok", "tls": tls, "http": "ok", "websocket": "ok"}
    assert list(found) == NAMES
    assert all(isinstance(one["seconds"], float) and one["do"] == "" for one in found.values() if one["state"] == "ok")


@pytest.mark.skipif(not os.path.isdir(FOLDER), reason="needs " + FOLDER)
def test_nothing_is_left_open(debug, patient):
    trials.trials()
    gc.collect()
    before, running = os.listdir(FOLDER), threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert report()["ok"] is True
        gc.collect()
    assert (os.listdir(FOLDER), threading.active_count()) == (before, running)


def test_it_works_on_any_thread_and_inside_a_running_loop(patient):
    found = []
    thread = threading.Thread(target=lambda: found.append(report()))
    thread.start()
    thread.join()
    with icey.Loop() as loop:
        loop.call_soon(lambda: found.append(report()))
        loop.run()
    assert [(one["ok"], one["python"]["thread"]) for one in found] == [(True, "other"), (True, "main")]


# what fails

def test_without_sockets_nothing_is_tried_behind_the_loop(monkeypatch):
    monkeypatch.setattr(socket, "socketpair", raising(PermissionError(errno.EPERM, "Operation not permitted")))
    monkeypatch.setattr(os, "pipe", raising(PermissionError(errno.EPERM, "Operation not permitted")))
    found = trials.trials()
    assert states(found) == dict(dict.fromkeys(NAMES, "skipped"), loop="failed")
    assert "Operation not permitted" in found["loop"]["text"] and "sandbox" in found["loop"]["do"]
    assert found["tcp"]["text"] == "not tried, since the loop does not work"


def test_what_hangs_is_told_with_what_was_waited_for(impatient):
    made = trials._made(trials._tcp, "127.0.0.1", trials.WAIT)
    assert (made["state"], made["value"]) == ("failed", False)
    assert made["text"].startswith("nothing came for 0 s while it was waited to connect to 127.0.0.1:")
    assert "firewall" in made["do"]


def test_where_tcp_fails_udp_is_tried_and_what_goes_over_tcp_is_not(patient, monkeypatch):
    monkeypatch.setattr("icey.net.listener.TCPListener",
                        raising(OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")))
    found = trials.trials()
    assert states(found) == dict(dict.fromkeys(NAMES, "skipped"), loop="ok", tcp="failed", udp="ok")
    assert "ip link set lo up" in found["tcp"]["do"]
    assert found["http"]["text"] == "not tried, since TCP does not work"


def test_a_connection_that_is_cut_is_told(patient, monkeypatch):
    """Say by a security program that looks at what comes in."""
    monkeypatch.setattr(icey.TCPSocket, "send_owned", lambda sock, data: sock.close())
    made = trials._made(trials._tcp, "127.0.0.1", trials.WAIT)
    assert (made["state"], made["text"]) == ("failed", "closed while it was waited for bytes that were sent to come back")


def test_a_datagram_that_is_lost_ends_the_wait(monkeypatch):
    monkeypatch.setattr(trials, "WAIT", 0.01)
    monkeypatch.setattr(UDPSocket, "send", lambda sock, data, address: True)
    made = trials._made(trials._udp, "127.0.0.1", trials.WAIT)
    assert made["state"] == "failed"
    assert made["text"] == "nothing came for 0.01 s while it was waited for a datagram to come back"
    assert "firewall" in made["do"]


def test_once_something_has_hung_the_rest_waits_less(monkeypatch):
    """Else a machine that drops all would be waited for again and again."""
    monkeypatch.setattr(trials, "WAIT", 0.04)
    monkeypatch.setattr(trials, "TRIALS", tuple((name, hang, False) for name in ("udp", "tls", "http")))
    assert [one["text"] for one in trials.trials().values()] == [
        "nothing came for %g s while it was waited for ever" % seconds for seconds in (0.04, 0.01, 0.01)]


def test_computing_is_not_waiting_but_is_bounded(monkeypatch):
    """A small machine takes seconds for its first handshake; one that computes for ever is broken."""
    computed = []
    monkeypatch.setattr(trials.time, "monotonic", lambda: 1.0 * len(computed))
    monkeypatch.setattr(trials, "_computed", lambda: computed.append(None) or 1.0 * len(computed))

    def endless(trial):
        trial.loop.call_later(1e9, print)

    with icey.Loop(debug=False, clock=lambda: 0.0) as loop:
        trial = trials.Trial(loop, "127.0.0.1", trials.WAIT)
        monkeypatch.setattr(icey.Loop, "run_once", lambda loop, timeout: True)
        with pytest.raises(TimeoutError):
            trial.wait()
    assert trials.MOST * trials.WAIT <= len(computed) <= trials.MOST * trials.WAIT + 4


def test_a_slot_that_raises_is_told(patient):
    def wrong(trial):
        trial.loop.call_soon(int, "x")

    made = trials._made(wrong, "127.0.0.1", trials.WAIT)
    assert made["state"] == "failed" and made["text"].startswith("ValueError: ")


def test_no_descriptor_is_left_while_it_waits(impatient, monkeypatch):
    """The listener has accept() fail, and tries again: it would look like a firewall."""
    monkeypatch.setattr(trials.os, "open", raising(OSError(errno.EMFILE, "Too many open files")))
    made = trials._made(lambda trial: None, "127.0.0.1", trials.WAIT)
    assert made["state"] == "failed" and "Too many open files" in made["text"] and "ulimit -n" in made["do"]


@pytest.mark.needs("ssl")
def test_a_certificate_that_is_refused_is_a_failure(patient, monkeypatch):
    from icey.net import tls
    client = tls.client_context
    monkeypatch.setattr(tls, "client_context", lambda ca: client())
    made = trials._made(trials._tls, "127.0.0.1", trials.WAIT)
    assert made["state"] == "failed" and "certificate" in made["text"]


@pytest.mark.needs("ssl")
def test_without_a_folder_for_the_certificate_tls_is_not_tried(monkeypatch):
    gone = FileNotFoundError(errno.ENOENT, "No usable temporary directory")
    monkeypatch.setattr("tempfile.TemporaryDirectory", raising(gone))
    made = trials._made(trials._tls, "127.0.0.1", trials.WAIT)
    assert made["state"] == "skipped" and "No usable" in made["text"] and "TMPDIR" in made["do"]


def test_what_a_vendored_copy_was_made_without_is_skipped():
    found = trials._lacking(ModuleNotFoundError("No module named 'icey.http'", name="icey.http"))
    assert (found["state"], found["text"]) == ("skipped", "not in this copy of icey (icey.http)")
    assert trials._lacking(ModuleNotFoundError("No module named 'select'", name="select"))["state"] == "failed"


def test_an_answer_that_is_not_the_servers_is_a_failure(patient, monkeypatch):
    """A proxy in between."""
    from icey.http.server.exchange import Exchange
    respond = Exchange.respond
    monkeypatch.setattr(Exchange, "respond", lambda exchange, body: respond(exchange, 502, body))
    made = trials._made(trials._http, "127.0.0.1", trials.WAIT)
    assert (made["state"], made["text"]) == ("failed", "ValueError: the answer is 502 b'icey doctor'")


def test_a_handshake_that_is_refused_is_a_failure(patient, monkeypatch):
    monkeypatch.setattr(icey.http.WebSocket, "accept", raising(icey.HttpError(403)))
    made = trials._made(trials._websocket, "127.0.0.1", trials.WAIT)
    assert made["state"] == "failed" and "403" in made["text"]


def test_a_message_that_comes_back_changed_is_a_failure(patient, monkeypatch):
    accept = icey.http.WebSocket.accept

    def changed(exchange):
        ws = accept(exchange)
        ws.on_message += lambda ws, data: ws.send("something else")
        return ws

    monkeypatch.setattr(icey.http.WebSocket, "accept", changed)
    made = trials._made(trials._websocket, "127.0.0.1", trials.WAIT)
    assert (made["state"], made["text"]) == ("failed", "ValueError: what came back is 'something else'")


def test_a_request_without_an_answer_is_a_failure(patient, monkeypatch):
    from icey.http.server.exchange import Exchange
    monkeypatch.setattr(Exchange, "respond", lambda exchange, body: exchange.abort())
    made = trials._made(trials._http, "127.0.0.1", trials.WAIT)
    assert made["state"] == "failed" and made["text"]


def test_a_system_that_does_not_count_what_a_thread_computes(monkeypatch):
    monkeypatch.delattr(trials.time, "thread_time", raising=False)
    assert trials._computed() >= 0


@pytest.mark.needs("ipv6", "unix")  # without Unix sockets, a loop's socketpair is IPv4
def test_a_machine_without_ipv4_is_tried_on_ipv6(patient, monkeypatch):
    bind = socket.socket.bind

    def refused(sock, address):
        if address[0] == "127.0.0.1":
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        bind(sock, address)

    monkeypatch.setattr(socket.socket, "bind", refused)
    assert trials._loopback() == "::1"
    assert {one["state"] for one in trials.trials().values()} <= {"ok", "skipped"}
    monkeypatch.setattr(socket.socket, "bind", raising(OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")))
    assert trials._loopback() == "127.0.0.1"  # whose error is the one to tell


@pytest.mark.parametrize("exc, do", [
    (OSError(errno.EMFILE, "x"), "ulimit"), (OSError(errno.EACCES, "x"), "sandbox"), (OSError(errno.ENETUNREACH, "x"), "lo up"),
    (ValueError("x"), ""), (OSError("x"), ""),
])
def test_what_to_do(exc, do):
    assert do in finding.advice(exc) and bool(do) == bool(finding.advice(exc))
    wrapped = icey.NetError("wrapped")
    wrapped.__cause__ = exc
    assert bool(finding.advice(wrapped)) == bool(do)


def test_in_a_browser_it_says_what_works(monkeypatch):
    monkeypatch.setattr(finding.sys, "platform", "emscripten")
    assert "run_once(0)" in finding.advice(OSError(errno.ENOTSUP, "x"))
