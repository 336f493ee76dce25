"""A network that is scripted: names, and what connecting to their addresses comes to. For connect(), by whatever way.

A test module takes the fixture by assignment (`net = nets.net`), beside those of streams.py.
"""
import errno
import socket

import pytest

import icey
from icey.net import happyeyeballs
from icey.tools.testing import ScriptedSocket

STALL = None  # an outcome: nothing comes back
A4 = "192.0.2.1"


class Attempt(ScriptedSocket):
    """A socket whose connecting ends as its net says."""

    def __init__(self, net, family):
        super().__init__(net.scripts.pop(0) if net.scripts else net.reads, net.writes)
        self.net = net
        self.family = family
        self.error = 0
        self.options = []

    def connect_ex(self, sockaddr):
        host = sockaddr[0]
        self.net.begun.append((round(self.net.clock() - self.net.started, 6), host))
        self.net.sockets[host] = self
        outcome = self.net.outcomes.get(host, STALL)
        if isinstance(outcome, int):  # at once
            return outcome
        if isinstance(outcome, Exception):
            raise outcome
        self._stall()
        if outcome is not STALL:
            self.net.later(outcome[0], self.settle, outcome[1])
        return errno.EINPROGRESS

    def settle(self, error=0):
        """Connecting has come to its end."""
        self.error = error
        if not self.closed:
            self.unstall()

    def setsockopt(self, level, option, on):
        self.options.append((level, option, on))

    def getsockopt(self, *arguments):
        return self.error

    def getpeername(self):
        if self._stalled or self.error:
            raise OSError(errno.ENOTCONN, "not connected")
        return super().getpeername()


class Net:
    """What stands in the place of `socket` and `resolve` in happyeyeballs.py.

    hosts: what a name has. failure: or why it has none. delay: of that answer, in seconds; None for one that never comes.
    outcomes: of connecting, by host: an error number at once (0: connected), an exception, (seconds, error number), STALL.
    reads, writes: the scripts of all sockets; scripts: the reads of the first ones, if they differ.
    begun: (seconds, host) of each attempt. sockets: of each host. lookups: that were made.
    """

    def __init__(self, loop, clock):
        self.loop, self.clock, self.started = loop, clock, clock()
        self.hosts, self.failure, self.delay, self.outcomes = [A4], None, 0.0, {}
        self.reads, self.writes, self.scripts = [], [], []
        self.no_descriptors_for = set()
        self.begun, self.sockets, self.made, self.lookups, self.timers = [], {}, [], [], []

    def __getattr__(self, name):
        return getattr(socket, name)

    def socket(self, family, type):
        if len(self.made) + 1 in self.no_descriptors_for:
            self.made.append(None)
            raise OSError(errno.EMFILE, "Too many open files")
        self.made.append(Attempt(self, family))
        return self.made[-1]

    def resolve(self, loop, host, port, done):
        lookup = icey.Handle(loop)
        lookup.activate()
        self.lookups.append(lookup)

        def answer():
            if not lookup.closing:
                hosts = [host] if icey.Address(host, port).numeric else self.hosts
                done([] if self.failure else [icey.Address(host, port) for host in hosts], self.failure)
                lookup.close()
        if self.delay is not None:
            self.later(self.delay, answer)
        return lookup

    def later(self, delay, fn, *arguments):
        timer = self.loop.call_later(delay, fn, *arguments)
        timer.unref()
        self.timers.append(timer)

    def left(self):
        """The handles that are open on the loop, those of the script apart."""
        return [handle for handle in self.loop.handles if handle not in self.timers]

    def open(self):
        """The hosts that a socket is open to."""
        return [host for host, sock in self.sockets.items() if not sock.closed]


@pytest.fixture
def net(loop, clock, monkeypatch):
    net = Net(loop, clock)
    monkeypatch.setattr(happyeyeballs, "socket", net)
    monkeypatch.setattr(happyeyeballs, "resolve", net.resolve)
    yield net
    for handle in loop.handles:
        handle.abort()
    loop.run_once(0)
    assert [sock for sock in net.made if sock is not None and not sock.closed] == []
    assert len(loop.poller.ready) == 1  # the loop's own
