"""Helpers for tests of listeners: what was accepted, and a listener whose accept() meets a script."""
import socket

import icey


def accepting(loop, listener):
    """The list that gets what `listener` accepts."""
    accepted = []
    listener.on_accept += lambda listener, sock: accepted.append(sock)
    return accepted


class Accepts:
    """In the place of a listening socket: accept() meets a script."""

    def __init__(self, real, *script):
        self.real = real
        self.script = list(script)
        self.made = []

    def accept(self):
        if not self.script:
            raise BlockingIOError
        item = self.script.pop(0)
        if item is not None:
            raise item
        near, far = socket.socketpair()
        self.made.append(far)
        return near, ("192.0.2.1", 5)

    def fileno(self):
        return self.real.fileno()

    def getsockname(self):
        return self.real.getsockname()

    def close(self):
        self.real.close()
        for sock in self.made:
            sock.close()


def scripted(loop, *script, **options):
    """A listener whose socket is ready, and accepts by a script."""
    listener = icey.TCPListener(loop, "127.0.0.1:0", **options)
    listener.sock = Accepts(listener.sock, *script)
    with socket.socket() as caller:  # leaves a connection in the backlog, never taken: it stays ready
        caller.connect(listener.address.sockaddr())
    return listener
