"""Inspector: a small server on the loop that it shows. Who may look, and when it is measured.

    GET /             the page                  GET /events     the picture each second, as server-sent events
    GET /state.json   the picture, once         GET /metrics    numbers, for Prometheus

Rules
- On loopback, unless a token is given, which then every request has to bring: `?token=...`, or `Authorization: Bearer ...`.
- A request has to name, in Host, the address that it came to, and in Origin (a browser's page sends it) the same: a page of
  somebody else cannot read this one, by whatever name it reaches it (DNS rebinding). GET and HEAD alone; nothing can be done
  here but look.
- It is measured while a page or a terminal follows /events, and for a while after /state.json or /metrics was asked for.
- The inspector keeps no loop running, and shows nothing of itself.

Not here: what is shown (picture.py), how it is drawn (page.py).
"""

from __future__ import annotations

import json
import os
import time
from hmac import compare_digest

from ...base.handle import Handle
from ...base.limits import Limits
from ...base.timer import Timer
from ...http.server.operations import EXPOSITION
from ...http.server.server import Server
from ...http.streaming.adapters import SseAdapter
from ...net.address import Address
from ...net.listener import TCPListener
from ...net.networks import Networks
from ...packets.stream import PacketStream
from .exposition import exposition
from .looking import Look, Reports, short
from .page import PAGE, POLICY
from .picture import Picture

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set

    from ...base.loop import Loop
    from ...http.server.exchange import Exchange
    from ...net.tcp import TCPSocket

EVERY = 1.0  # seconds between two pictures of /events
SLOWEST = 0.02  # of the time, for pictures: where one takes long, they come less often
LINGER = 5.0  # seconds that it is measured on after somebody looked once
MOST_VIEWERS = 50  # connections at a time
ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # where this machine reaches what listens everywhere
MAPPED = "::ffff:"  # before an IPv4 address that a socket of IPv6 was reached at
JSON, PLAIN, EVENTS = "application/json", "text/plain; charset=utf-8", "text/event-stream"
HEADERS = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
           ("Cross-Origin-Resource-Policy", "same-origin"), ("X-Frame-Options", "DENY")]


class Inspector(Handle):
    """Shows `loop` on a server of its own, at host and port (0: any that is free), until it is closed.

    host: an IP address, or "localhost". token: what who looks has to know, letters and digits. ValueError: others can reach
    the host, and there is no token. OSError: the address cannot be had. `url`: where this machine looks, with the token.
    `address`: where it listens, an Address.
    """

    __slots__ = ("url", "address", "_token", "_server", "_listener", "_look", "_reports", "_picture", "_viewers", "_timer",
                 "_until", "_own")

    def __init__(self, loop: Loop, host: str = "127.0.0.1", port: int = 0, *, token: Optional[str] = None) -> None:
        where = Address("127.0.0.1" if host == "localhost" else host, port)
        if token is not None and not (isinstance(token, str) and token.isascii() and token.isalnum()):
            raise ValueError("a token is letters and digits")
        if token is None and where not in loopback():
            raise ValueError("an inspector on %s, which others may reach, needs a token: Inspector(loop, host, token=...)"
                             % host)
        super().__init__(loop)
        self.unref()
        self._token = token
        self._viewers: List[SseAdapter] = []
        self._until = 0.0  # in the loop's time, it is measured without a viewer
        self._listener = TCPListener(loop, where)
        self._listener.unref()
        self._listener.on_accept.attach(self._accepted, priority=1)
        self._server = Server(loop, self._listener, limits=Limits(max_connections=MOST_VIEWERS))
        self._server.on_request += self._asked
        self._server.start().unref()
        self._timer = Timer(loop, EVERY, self._tick)
        self._timer.unref()
        self._own: Set[int] = {id(one) for one in (self, self._listener, self._server, self._timer)}
        self._look = Look(loop, self._hides)
        self._reports = Reports(loop)
        self._picture = Picture(loop, self._look, self._reports, self._hides)
        self.address: Address = self._listener.address
        here = Address(ANYWHERE.get(self.address.host, _unmapped(self.address.host)), self.address.port)
        self.url: str = "http://%s/%s" % (here, "" if token is None else "?token=" + token)
        self.activate()

    def watch(self, name: str, thing: Any) -> None:
        """Calls `thing`, a PacketStream or a handle of this loop, by `name`; a PacketStream is found at once then.

        It is held weakly. TypeError, ValueError: `thing` is none of these; StateError once closed.
        """
        self.check_thread()
        self.require_open("watch")
        if not isinstance(thing, (PacketStream, Handle)):
            raise TypeError("watch(name, thing) names a PacketStream or a handle (a server, a socket, a timer), not a %s%s" % (
                type(thing).__name__, ": name and thing are swapped" if isinstance(name, (PacketStream, Handle)) else ""))
        if not isinstance(name, str):
            raise TypeError("a name is a str, not a %s" % type(name).__name__)
        if isinstance(thing, PacketStream):
            self._picture.add(thing)
        elif thing.loop is not self.loop:
            raise ValueError("this %s is on another loop, which an Inspector of its own shows" % type(thing).__name__)
        self._picture.named.set(thing, short(name))

    def picture(self) -> Dict[str, Any]:
        """What /state.json tells, as it is now: see Picture.state. To ask is to look: it is measured for a while."""
        self.check_thread()
        self.require_open("picture")
        self._look.begin()
        self._until = self.loop.now + LINGER
        if not self._timer.active:
            self._timer.start()
        return self._picture.state()

    # the end

    def silence(self) -> None:
        self._look.end()
        self._reports.end()
        self._timer.abort()
        self._server.abort()
        self._viewers = []

    def free(self) -> None:
        self._listener.closed_now()  # here, so that the port is free at once for who calls closed_now() behind a run

    def title(self) -> str:
        return "Inspector %s" % self.address

    # who may look

    def _asked(self, exchange: Exchange) -> None:
        """A slot of on_request."""
        request = exchange.request
        if not self._is_ours(exchange):
            self._refuse(exchange, 403, "look by the address that this inspector is reached at, not by another name")
        elif not self._is_same(exchange):
            self._refuse(exchange, 403, "pages of others cannot look")
        elif not self._knows_token(exchange):
            self._refuse(exchange, 401, "a token is asked for: ?token=...", [("WWW-Authenticate", "Bearer")])
        elif request.path not in _ANSWERS:
            self._refuse(exchange, 404, "there is nothing here")
        elif request.method not in ("GET", "HEAD"):
            self._refuse(exchange, 405, "GET it", [("Allow", "GET, HEAD")])
        else:
            _ANSWERS[request.path](self, exchange)

    def _refuse(self, exchange: Exchange, status: int, text: str, more: Any = ()) -> None:
        exchange.respond(status, (text + "\n").encode(), PLAIN, [*HEADERS, *more])

    def _is_ours(self, exchange: Exchange) -> bool:
        """Whether Host, and a target that names one, is what Host may be."""
        request, names = exchange.request, self._names(exchange)
        return request.host.lower() in names and request.headers.get("host", "").lower() in names

    def _is_same(self, exchange: Exchange) -> bool:
        """Whether no page of another origin asks."""
        headers = exchange.request.headers
        ours = ["http://" + name for name in self._names(exchange)]
        return (all(origin.lower() in ours for origin in headers.get_all("origin"))
                and all(site in ("none", "same-origin") for site in headers.get_all("sec-fetch-site")))

    def _names(self, exchange: Exchange) -> List[str]:
        """What Host may be: the address that a connection came to, and the names of this machine for itself."""
        local = exchange.local
        if local is None or local.port is None:
            return []
        address = Address(_unmapped(local.host.lower().partition("%")[0]), local.port)
        names = [str(address)]
        if address in loopback():
            names.append("localhost:%d" % local.port)
        return names + [name[:-3] for name in names if name.endswith(":80")]

    def _knows_token(self, exchange: Exchange) -> bool:
        if self._token is None:
            return True
        given = exchange.request.params.get_all("token") + [
            value.partition(" ")[2].strip() for value in exchange.request.headers.get_all("authorization")
            if value.partition(" ")[0].lower() == "bearer"]
        token = self._token.encode()  # bytes: compare_digest refuses text that is not ASCII
        return bool(given) and all(compare_digest(one.encode("utf-8", "replace"), token) for one in given)  # twice: both right

    # what they see

    def _page(self, exchange: Exchange) -> None:
        exchange.respond(200, PAGE, "text/html; charset=utf-8", [*HEADERS, ("Content-Security-Policy", POLICY)])

    def _state(self, exchange: Exchange) -> None:
        exchange.respond(200, json.dumps(self.picture(), indent=1).encode(), JSON, HEADERS)

    def _metrics(self, exchange: Exchange) -> None:
        exchange.respond(200, exposition(self.picture()).encode("utf-8", "backslashreplace"), EXPOSITION, HEADERS)

    def _events(self, exchange: Exchange) -> None:
        if exchange.request.method == "HEAD":
            exchange.respond(200, b"", EVENTS, HEADERS)
            return
        for name, value in HEADERS:
            exchange.response.headers[name] = value
        viewer = SseAdapter(exchange, retry=EVERY, keep_alive=None, drop="latest")
        self._viewers.append(viewer)
        viewer.on_close += self._viewer_gone
        self._look.begin()
        self._show([viewer])
        if not self._timer.active:
            self._timer.delay = EVERY  # the first picture takes longest, and the rates come with the second
            self._timer.start()

    # when it is measured

    def _viewer_gone(self, viewer: SseAdapter) -> None:
        if viewer in self._viewers:
            self._viewers.remove(viewer)

    def _tick(self, timer: Timer) -> None:
        if self._viewers:
            try:
                self._show([viewer for viewer in self._viewers if not viewer.full])
            finally:  # one that fails is reported; the next one may be better
                timer.start()
        elif self.loop.now >= self._until:
            self._look.end()
        else:
            timer.start()

    def _show(self, viewers: List[SseAdapter]) -> None:
        began, spent = self.loop.clock(), _spent()
        if viewers:
            text = json.dumps(self._picture.state(), separators=(",", ":"))
            for viewer in viewers:
                viewer.event(text)
        took = min(self.loop.clock() - began, _spent() - spent)  # of a busy machine's time others take their share
        self._timer.delay = max(EVERY, took / SLOWEST)

    # what is the inspector's own

    def _accepted(self, listener: TCPListener, stream: TCPSocket) -> None:
        """Who looks keeps no loop running, and is not shown."""
        stream.unref()
        self._own.add(id(stream))
        stream.on_close += self._parted

    def _parted(self, stream: TCPSocket) -> None:
        self._own.discard(id(stream))

    def _hides(self, handle: Any) -> bool:
        """Whether it is of the inspector: `handle`, or what a callback belongs to."""
        if isinstance(handle, Timer) and id(handle) not in self._own:
            handle = getattr(handle.fn, "__self__", None)
        return id(handle) in self._own or (
            type(handle).__module__.startswith(_SERVING) and getattr(handle, "server", None) is self._server)


_spent = getattr(time, "thread_time", time.perf_counter)  # seconds; Pythons in a browser have no thread's time
_SERVING = Server.__module__.rpartition(".")[0] + "."
_ANSWERS = {"/": Inspector._page, "/state.json": Inspector._state, "/metrics": Inspector._metrics, "/events": Inspector._events}


def _unmapped(host: str) -> str:
    """`host`, as IPv4 where it is IPv4 in a socket of IPv6."""
    return host[len(MAPPED):] if host.startswith(MAPPED) and "." in host else host


def loopback() -> Networks:
    """The addresses that this machine alone reaches."""
    return Networks(("127.0.0.0/8", "::1"))  # not at import: some Pythons know no IPv6


def begin(loop: Loop, where: str) -> Inspector:
    """What icey.run begins at `where`, which it was given or ICEY_INSPECT says: HOST:PORT, or a port of loopback. OSError,
    ValueError, TypeError.

    On an address that others reach it makes a token.
    """
    if not isinstance(where, str):
        raise TypeError('inspect is "HOST:PORT" or "PORT", not %s' % type(where).__name__)
    if where.isascii() and where.isdigit():
        where = "127.0.0.1:" + where
    elif where.startswith("localhost:"):
        where = "127.0.0.1" + where[len("localhost"):]
    address = Address.parse(where)
    if not address.numeric or address.port is None:
        raise ValueError("it is HOST:PORT, the host an IP address or localhost, and not %r" % where)
    return Inspector(loop, address.host, address.port, token=None if address in loopback() else os.urandom(16).hex())
