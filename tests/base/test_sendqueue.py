"""What the system says of its send queues, asked of the system."""
import os
import socket

import pytest

from icey.base import sendqueue
from tests.support import streams

pair = streams.tcp_ends


@pytest.fixture(autouse=True)
def real(send_queues):
    send_queues.real()


def test_what_a_peer_has_not_taken_counts_and_then_counts_less(pair):
    near, far = pair
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    near.setblocking(False)
    if sendqueue.unacknowledged(near.fileno()) is None:
        pytest.skip("this system does not tell")
    try:
        while True:
            near.send(bytes(65536))
    except BlockingIOError:
        pass
    held = sendqueue.unacknowledged(near.fileno())
    assert held > 0
    far.settimeout(20)
    while sendqueue.unacknowledged(near.fileno()) >= held:
        assert far.recv(65536)


def test_of_a_pipe_it_is_what_was_not_read():
    read, write = os.pipe()
    try:
        os.write(write, b"12345")
        if sendqueue.unacknowledged(write) is None:
            pytest.skip("this system does not tell")
        assert sendqueue.unacknowledged(write) == 5
        os.read(read, 2)
        assert sendqueue.unacknowledged(write) == 3
    finally:
        os.close(read)
        os.close(write)


def test_what_is_no_socket_says_nothing(tmp_path):
    with open(str(tmp_path / "file"), "wb") as file:
        assert sendqueue.unacknowledged(file.fileno()) is None
    assert sendqueue.unacknowledged(-1) is None


def test_a_python_without_the_modules_says_nothing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert sendqueue._asker() is None


def test_a_system_without_the_question_says_nothing(monkeypatch):
    import termios

    monkeypatch.setattr(sendqueue.sys, "platform", "linux")
    monkeypatch.delattr(termios, "TIOCOUTQ", raising=False)
    assert sendqueue._asker() is None


def test_it_is_found_out_once_and_nothing_is_asked_of_no_descriptor(monkeypatch):
    made = []
    monkeypatch.setattr(sendqueue, "_asked", False)
    monkeypatch.setattr(sendqueue, "_asker", lambda: made.append(True) or None)
    assert sendqueue.unacknowledged(3) is None and sendqueue.unacknowledged(3) is None
    assert made == [True]
    monkeypatch.setattr(sendqueue, "_ask", lambda fd: 1 / 0)
    assert sendqueue.unacknowledged(-1) is None


@pytest.mark.parametrize("wrong", [OSError(25, "no tty"), ValueError("too large")])
def test_what_cannot_be_answered_is_None(monkeypatch, wrong):
    def ask(fd):
        raise wrong

    monkeypatch.setattr(sendqueue, "_ask", ask)
    assert sendqueue.unacknowledged(3) is None
