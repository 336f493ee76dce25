"""What those ask who run a server: Health, whether it lives and is ready; Metrics, what it does, for Prometheus.

    server.on_request += Health(ready=lambda: database.connected)       # GET /health, GET /ready
    server.on_request += Metrics(server)                                # GET /metrics
    server.on_request += application                                    # what they did not answer

Rules
- Each is a slot that answers its own paths and returns True, so that the slots behind it are not called; other paths are
  theirs. Where no other slot is attached, what is left is 404: they stand before an application, or on a server of their own.
- GET and HEAD alone, never cached.
- Labels are bounded: nothing that a client sends becomes one. Metrics costs a server a call for each answer, and the rest when
  it is asked. With several processes each counts its own: ask each on a port of its own.

Not here: a line for each answer (accesslog.py).
"""

from __future__ import annotations

from bisect import bisect_left

from ...base.signal import require_callable

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

    from .exchange import Exchange
    from .server import Server

    Labels = Tuple[Tuple[str, str], ...]

PLAIN = "text/plain; charset=utf-8"
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus: "Exposition formats", text-based
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds of an answer
TURNS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)  # seconds of a turn
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


class Endpoint:
    """A slot of `on_request` that answers the paths it has, and leaves others alone."""

    __slots__ = ()

    selective = True  # tells the server that there may be nobody for the rest

    def __call__(self, exchange: Exchange) -> bool:
        """Answers, if the path is among its own: True."""
        answer = self.paths().get(exchange.request.path)
        if answer is None or exchange.answered:
            return False
        if exchange.request.method in ("GET", "HEAD"):
            status, text, kind = answer(exchange)
            exchange.respond(status, text.encode("utf-8"), kind, {"Cache-Control": "no-store"})
        else:
            exchange.respond(405, b"405 Method Not Allowed\n", PLAIN, {"Allow": "GET, HEAD"})
        return True

    def paths(self) -> Dict[str, Callable[[Exchange], Tuple[int, str, str]]]:
        """Path -> what answers it: a function of the exchange that returns status, text and content type."""
        raise NotImplementedError


class Health(Endpoint):
    """`/health`: 200 while the loop turns. `/ready`: 200 if `ready()` says so, else 503; 503 while the server stops, too.

    ready: a function without arguments, called on the loop, that does not block; None: always. What it raises goes to
    `loop.on_error`, and counts as no.
    """

    __slots__ = ("_ready",)

    def __init__(self, ready: Optional[Callable[[], Any]] = None) -> None:
        if ready is not None:
            require_callable(ready, "ready")
        self._ready = ready

    def paths(self) -> Dict[str, Callable[[Exchange], Tuple[int, str, str]]]:
        return {"/health": self._health, "/ready": self._readiness}

    def _health(self, exchange: Exchange) -> Tuple[int, str, str]:
        return 200, "ok\n", PLAIN

    def _readiness(self, exchange: Exchange) -> Tuple[int, str, str]:
        if exchange.server.stopping:
            return 503, "stopping\n", PLAIN
        try:
            ready = self._ready is None or bool(self._ready())
        except Exception as exc:
            exchange.loop.report(exc, exchange.connection)
            ready = False
        return (200, "ready\n", PLAIN) if ready else (503, "not ready\n", PLAIN)


class Histogram:
    """How many values there were up to each of some `bounds`: `counts`, the last beyond all of them. `total`: their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Sequence[float] = bounds
        self.counts: List[int] = [0] * (len(bounds) + 1)
        self.total: float = 0.0

    def add(self, value: float) -> None:
        """One value more."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics(Endpoint):
    """`/metrics`: what these servers do, in Prometheus' text format. Servers: none for the one that it is attached to.

    They count from when this is made (without servers: from the first look). `watch` adds the queues of a PacketStream.
    """

    __slots__ = ("_watched", "_streams")

    def __init__(self, *servers: Server) -> None:
        self._watched: Dict[Server, _Watched] = {}
        self._streams: Dict[str, Any] = {}
        for server in servers:
            self._watch_server(server)

    def watch(self, name: str, stream: Any) -> None:
        """Shows what a PacketStream, called `name`, has dropped and what waits in its queues."""
        self._streams[name] = stream

    def paths(self) -> Dict[str, Callable[[Exchange], Tuple[int, str, str]]]:
        return {"/metrics": self._answer}

    def _answer(self, exchange: Exchange) -> Tuple[int, str, str]:
        if not self._watched:
            self._watch_server(exchange.server)
        return 200, self.text(), EXPOSITION

    def _watch_server(self, server: Server) -> None:
        self._watched[server] = watched = _Watched(server)
        server.on_answer += watched.count
        server.loop.watch_turns(watched.turns.add)
        server.on_close += self._forget

    def _forget(self, server: Server) -> None:
        watched = self._watched.pop(server, None)
        if watched is not None and not server.loop.closed:
            server.loop.unwatch_turns(watched.turns.add)

    def text(self) -> str:
        """The whole text, as `/metrics` has it."""
        page = Exposition()
        for server, watched in self._watched.items():
            watched.write(page, (("server", str(server.address)),))
        for name, stream in self._streams.items():
            labels = (("stream", name),)
            stages = [stage for stage in stream.processors if hasattr(stage, "dropped")]
            page.add("icey_packets_dropped_total", "counter", "Packets that a stream's queues and ends have dropped.", labels,
                     stream.dropped + sum(stage.dropped for stage in stages))
            page.add("icey_packets_queued", "gauge", "Packets that wait in a stream's queues.", labels,
                     sum(getattr(stage, "depth", 0) for stage in stages))
        return page.text()


class _Watched:
    """What is counted of one server."""

    __slots__ = ("server", "answers", "cut", "sent", "durations", "turns")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answers = dict.fromkeys(CLASSES, 0)
        self.cut = 0
        self.sent = 0  # bytes of the bodies of answers that are over
        self.durations = Histogram(DURATIONS)
        self.turns = Histogram(TURNS)

    def count(self, exchange: Exchange, status: int) -> None:
        """A slot of on_answer."""
        connection = exchange.connection
        self.answers[CLASSES[min(status // 100, 5) - 1]] += 1  # what is beyond 5xx is an error, too
        self.cut += exchange.cut
        self.sent += exchange.sent
        self.durations.add(connection.loop.clock() - connection.stamp)

    def write(self, page: Exposition, labels: Labels) -> None:
        """All of it, as it is now."""
        server = self.server
        connections = server.connections
        busy = [connection.exchange for connection in connections
                if connection.exchange is not None and not connection.upgraded]  # what another protocol has is answered
        for kind, count in self.answers.items():
            page.add("icey_http_requests_total", "counter", "Answers, by the class of their status.",
                     (*labels, ("code", kind)), count)
        page.add("icey_http_cut_total", "counter", "Answers that had begun and were cut.", labels, self.cut)
        page.histogram("icey_http_request_duration_seconds", "From a request's last bytes until its answer was handed over.",
                       labels, self.durations)
        page.add("icey_http_requests_in_flight", "gauge", "Requests that are not answered yet, or whose answers go on.", labels,
                 len(busy))
        page.add("icey_http_connections", "gauge", "Connections that are open.", labels, len(connections))
        page.add("icey_http_connections_total", "counter", "Connections that were accepted.", labels, server.connections_made)
        page.add("icey_http_request_body_bytes_total", "counter", "Bytes of requests' bodies that were read.", labels,
                 server.body_bytes)
        page.add("icey_http_response_body_bytes_total", "counter", "Bytes of answers' bodies that were handed over.", labels,
                 self.sent + sum(exchange.sent for exchange in busy))
        page.add("icey_http_queued_bytes", "gauge", "Bytes that wait for clients to take them.", labels,
                 sum(connection.stream.queued for connection in connections))
        page.histogram("icey_loop_turn_seconds", "Turns of the server's loop, without the time that it waited.", labels,
                       self.turns)


class Exposition:
    """Prometheus' text format: samples of one name stand together, behind what the name means."""

    __slots__ = ("_families",)

    def __init__(self) -> None:
        self._families: Dict[str, List[str]] = {}

    def add(self, name: str, kind: str, means: str, labels: Labels, value: float) -> None:
        """One sample."""
        self._family(name, kind, means).append("%s%s %s" % (name, _labels(labels), _number(value)))

    def histogram(self, name: str, means: str, labels: Labels, values: Histogram) -> None:
        """The samples of a histogram."""
        lines, count = self._family(name, "histogram", means), 0
        for bound, more in zip((*values.bounds, None), values.counts):
            count += more
            within = ("le", "+Inf" if bound is None else _number(bound))
            lines.append("%s_bucket%s %d" % (name, _labels((*labels, within)), count))
        lines.append("%s_sum%s %s" % (name, _labels(labels), _number(values.total)))
        lines.append("%s_count%s %d" % (name, _labels(labels), count))

    def text(self) -> str:
        """All of it."""
        return "".join(line + "\n" for lines in self._families.values() for line in lines)

    def _family(self, name: str, kind: str, means: str) -> List[str]:
        lines = self._families.get(name)
        if lines is None:
            lines = self._families[name] = ["# HELP %s %s" % (name, means), "# TYPE %s %s" % (name, kind)]
        return lines


def _labels(labels: Iterable[Tuple[str, str]]) -> str:
    escaped = ((name, value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')) for name, value in labels)
    return "{%s}" % ",".join('%s="%s"' % pair for pair in escaped)


def _number(value: float) -> str:
    return "%d" % value if value == int(value) else repr(float(value))
