"""WSGI applications on a server of the test, with Python's own validator around them.

A test module takes `debug`, `clock`, `reports`, `loop` from http.py, and from here `logged`, `wsgi` and `gate`:

    def test_something(wsgi):
        client = wsgi.serve(answers([b"Hello"]))         # a client of a server that runs the application
        assert client.get("/").body == b"Hello"
        wsgi.idle()                                      # every job is done
"""
import threading
from wsgiref.validate import validator

import pytest

from icey.base import log
from icey.http import WSGI
from tests.support import http

LONG = 20.0  # seconds, of a wait that should be short


def answers(body, *headers, status="200 OK", kind="text/plain"):
    """An application whose answer is `body`, or what it returns for the environ."""
    def app(environ, start_response):
        fields = [] if kind is None else [("Content-Type", kind)]
        start_response(status, fields + list(headers))
        return body(environ) if callable(body) else body
    return app


class Logged(list):
    """What is logged, (level, text, the type of the exception or None); what a test does not take fails it."""

    def take(self, *parts):
        """There are as many entries as `parts`, each with this text in it, or of this exception; they are forgotten."""
        assert len(self) == len(parts), self
        for (_, text, kind), part in zip(self, parts):
            assert part in text if isinstance(part, str) else kind is part, self
        self.clear()


@pytest.fixture
def logged(monkeypatch):
    lines = Logged()
    monkeypatch.setattr(log, "_write", lambda level, area, text, args, exc: lines.append(
        (level, text % args if args else text, type(exc) if exc is not None else None)))
    yield lines
    assert not lines


class Gate:
    """Where an application waits: `gate.wait()` on its thread, `gate.open()` in the test."""

    def __init__(self, loop):
        self._event = threading.Event()
        self.open = self._event.set
        self.waiting = 0

    def wait(self):
        self.waiting += 1
        assert self._event.wait(LONG)


@pytest.fixture
def gate(loop):
    gate = Gate(loop)
    yield gate
    gate.open()


class Wsgi(http.Site):
    """A Site whose server runs an application. `slot`: the WSGI."""

    slot = None

    def serve(self, app, *, valid=True, limits=None, receive=None, server=None, **options):
        """A client of a server that runs `app`; options: of WSGI. server: options of the Server."""
        self.slot = WSGI(validator(app) if valid else app, **options)
        super().serve(self.slot, limits=limits, **(server or {}))
        return self.client(receive=receive)

    @property
    def busy(self):
        """Jobs that have not come back."""
        return self.slot.pool.running + self.slot.pool.pending if self.slot.pool is not None else 0

    def idle(self):
        self.until(lambda: not self.busy)
        return True


@pytest.fixture
def wsgi(loop, clock, logged):
    site = Wsgi(loop, clock)
    yield site
    site.close()
