"""What systemd passes, and what it is told."""
import os
import socket
import threading

import pytest

from icey.workers.systemd import FIRST, PATIENCE, Notifier, listen_fds

pytestmark = pytest.mark.needs("unix")


@pytest.fixture
def environ(monkeypatch):
    """An environment of one's own."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return os.environ


@pytest.mark.parametrize("pid, count, found", [
    ("own", "2", [FIRST, FIRST + 1]), ("own", "0", []), ("1", "2", []), ("", "2", []), ("own", "", []), ("own", "-1", []),
    ("own", "two", [])])
def test_descriptors_are_taken_where_they_are_for_this_process(environ, monkeypatch, pid, count, found):
    closed = []
    monkeypatch.setattr(os, "set_inheritable", lambda fd, on: closed.append((fd, on)))
    environ.update(LISTEN_PID=str(os.getpid()) if pid == "own" else pid, LISTEN_FDS=count, LISTEN_FDNAMES="a:b")
    assert listen_fds() == found
    assert closed == [(fd, False) for fd in found]
    assert ("LISTEN_FDS" in environ) == (pid != "own" or not count.isdigit())
    if found:
        assert listen_fds() == [] and "LISTEN_FDNAMES" not in environ


def test_without_any_there_are_none(environ):
    for name in ("LISTEN_PID", "LISTEN_FDS"):
        environ.pop(name, None)
    assert listen_fds() == []


@pytest.fixture(params=["path", "abstract"])
def systemd(request, environ, tmp_path):
    """A socket that systemd listens on."""
    address = str(tmp_path / "notify") if request.param == "path" else "\0icey-test-%d" % os.getpid()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(address)
        except OSError:
            pytest.skip("no abstract namespace here")
        sock.setblocking(False)
        environ["NOTIFY_SOCKET"] = address.replace("\0", "@")
        yield sock


def test_it_is_told_line_by_line_and_workers_are_not_asked(environ, systemd):
    notifier = Notifier()
    notifier.tell("READY=1", "STATUS=fine")
    assert systemd.recv(100) == b"READY=1\nSTATUS=fine"
    assert "NOTIFY_SOCKET" not in environ and notifier.watchdog is None
    notifier.close()
    notifier.tell("STOPPING=1")
    with pytest.raises(BlockingIOError):
        systemd.recv(100)
    notifier.close()


def test_one_that_does_not_listen_is_no_fault(systemd):
    notifier = Notifier()
    systemd.close()
    notifier.tell("READY=1")
    notifier.close()


@pytest.mark.needs("threading")
def test_a_word_waits_for_room_behind_those_of_others(systemd):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                other.sendto(b"STATUS=other", systemd.getsockname())
    notifier = Notifier()
    assert notifier._sock.gettimeout() == PATIENCE, "it waits, but not for ever"
    began = threading.Thread(target=notifier.tell, args=("READY=1",))
    began.start()
    systemd.settimeout(20)
    while systemd.recv(100) != b"READY=1":
        pass
    began.join()
    notifier.close()


@pytest.mark.parametrize("usec, pid, seconds", [
    ("3000000", None, 3.0), ("3000000", "own", 3.0), ("3000000", "1", None), ("0", None, None), ("soon", None, None)])
def test_its_watchdog_is_for_this_process(environ, systemd, usec, pid, seconds):
    environ["WATCHDOG_USEC"] = usec
    if pid is not None:
        environ["WATCHDOG_PID"] = str(os.getpid()) if pid == "own" else pid
    notifier = Notifier()
    assert notifier.watchdog == seconds and "WATCHDOG_USEC" not in environ
    notifier.close()


def test_where_nobody_asked_nobody_is_told(environ):
    environ.pop("NOTIFY_SOCKET", None)
    environ["WATCHDOG_USEC"] = "3000000"
    notifier = Notifier()
    notifier.tell("READY=1")
    assert notifier.watchdog is None
    notifier.close()
