"""Who looks at an Inspector, over real loopback, in virtual time.

    def test_something(inspector, window):
        assert window.state()["loop"]["handles"] == 0

A test module takes the fixtures by assignment: those of http.py, and `inspector`, `window`.
"""
import json

import pytest

from icey.tools.inspect import Inspector
from tests.support.http import Client, read_answer
from tests.support.streams import turn


class Window:
    """Asks an inspector. `clients`: the connections that were made."""

    def __init__(self, site, inspector):
        self.site = site
        self.inspector = inspector
        self.host = str(inspector.address)
        self.clients = site.clients

    def client(self, address=None):
        client = Client.connect(self.site.loop, address or self.inspector.address)
        self.clients.append(client)
        return client

    def ask(self, target="/state.json", *fields, method="GET", host=None, version="1.1", client=None, address=None):
        """The answer to a request; host: "" for none, fields: "Name: value"."""
        client = client or self.client(address)
        host = self.host if host is None else host
        lines = ["%s %s HTTP/%s" % (method, target, version)] + (["Host: " + host] if host else []) + list(fields)
        client.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        answer = read_answer(client, method)
        assert answer is not None
        return answer

    def status(self, *args, **kwargs):
        return self.ask(*args, **kwargs).status

    def state(self, target="/state.json"):
        """The picture."""
        answer = self.ask(target)
        assert answer.status == 200 and answer["content-type"] == "application/json"
        return json.loads(answer.body.decode("ascii"))

    def follow(self, target="/events", receive=None):
        """A connection that follows /events, its head read."""
        client = self.client()
        client.send(("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, self.host)).encode())
        assert b" 200 " in client.read_until(b"\r\n\r\n")
        assert b"retry: 1000" in client.read_until(b"retry: 1000\n\n\r\n")
        return client

    def event(self, client):
        """The next picture that comes to such a connection."""
        text = client.read_until(b"}\n\n\r\n")
        return json.loads(text[text.index(b"data: ") + 6:].decode("ascii"))


@pytest.fixture
def inspector(loop):
    inspector = Inspector(loop)
    yield inspector
    if not inspector.closed and not loop.closed:
        inspector.abort()
        turn(loop, 2)


@pytest.fixture
def window(site, inspector):
    return Window(site, inspector)
