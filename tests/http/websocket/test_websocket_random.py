"""WebSockets under random use, by peers that break off anywhere: what each tells is always in order, and nothing is left."""
import socket

import pytest

import icey
from icey.http import WebSocket
from tests.fuzz.frames import KEY, closing, frame
from tests.support import http, seeds
from tests.support.http import request
from tests.support.websocket import BINARY, CLOSE, HANDSHAKE, PING, PONG, TEXT, noted

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

VERBS = ["send", "send", "send large", "ping", "piece", "close", "abort", "pause", "resume", "resume", "raise", "nothing"]


class Deliberate(Exception):
    """What a slot raises."""


def use(rng, ws, verb):
    """Uses one in some way. What the contract lets a call raise is fine."""
    try:
        if verb == "send":
            ws.send(rng.choice(("text", b"binary", "")))
        elif verb == "send large":
            ws.send(bytes(rng.randrange(60000)))
        elif verb == "ping":
            ws.ping(b"?")
        elif verb == "piece":
            ws.send_piece("piece", final=rng.random() < 0.8)
        elif verb in ("close", "abort", "pause", "resume"):
            getattr(ws, verb)()
    except (icey.StateError, icey.QueueFull):
        pass
    if verb == "raise":
        raise Deliberate


def misuse(rng, ws):
    """Slots that use it, now and then."""
    def slot(*args):
        if rng.random() < 0.15:
            use(rng, ws, rng.choice(VERBS))

    for name in ("connect", "message", "pong", "drain", "error", "close"):
        getattr(ws, "on_" + name).attach(slot)


def require_in_order(events):
    """What a WebSocket may tell, and in which order."""
    names = [event[0] for event in events]
    assert names.count("close") == 1 and names[-1] == "close", names
    assert names.count("connect") <= 1 and names.count("error") <= 1, names
    if "connect" in names:
        assert names[0] == "connect", names
    else:
        assert set(names) <= {"error", "close"}, names
    if "error" in names:
        assert names[-2] == "error" and events[-1] == ("close", 1006, ""), events


def frames_at_random(rng):
    made = [frame(TEXT, b"x" * rng.randrange(200), key=KEY) for _ in range(rng.randrange(30))]
    made += [frame(rng.choice((BINARY, PING, PONG)), b"y" * rng.randrange(100), key=KEY) for _ in range(rng.randrange(5))]
    rng.shuffle(made)
    end = rng.random()
    if end < 0.3:
        made.append(closing(1000, b"bye", key=KEY) + rng.choice((b"", b"garbage", frame(TEXT, b"late", key=KEY))))
    elif end < 0.5:
        made.append(rng.choice((b"\xff\xff", frame(TEXT, b"\xff", key=KEY), frame(TEXT, b"no mask"),
                                frame(CLOSE, b"x", key=KEY))))
    data = b"".join(made)
    return data[:rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data


@pytest.mark.parametrize("round", range(3))
def test_raw_peers_that_break_off_anywhere(site, reports, round):
    rng = seeds.rng()
    limits = {"high_water": 20000, "low_water": 5000, "max_queue": 100000, "max_message": 50000, "close_timeout": 2.0}
    told = []

    def asked(exchange):
        if rng.random() < 0.3:
            site.loop.call_later(rng.random(), accept, exchange)
        else:
            accept(exchange)

    def accept(exchange):
        try:
            ws = WebSocket.accept(exchange, ping_interval=rng.choice((None, 0.7)))
        except icey.StateError:  # the client has gone
            return
        told.append((ws, noted(ws)))
        misuse(rng, ws)

    site.serve(asked, limits=limits)
    for _ in range(15):
        client = site.client(receive=4096 if rng.random() < 0.3 else None)
        client.sock.setblocking(True)
        client.sock.settimeout(0.01)
        try:
            client.sock.sendall(request("GET", "/", *HANDSHAKE) + frames_at_random(rng))
            for _ in range(rng.randrange(3)):
                site.turn(rng.randrange(3))
                client.sock.sendall(frames_at_random(rng))
        except OSError:
            pass
        client.sock.setblocking(False)
        for ws, _ in told:
            if rng.random() < 0.1:
                try:
                    use(rng, ws, rng.choice(VERBS))
                except Deliberate:
                    pass
        end = rng.random()
        try:
            if end < 0.3:
                client.reset()
            elif end < 0.5:
                client.close()
            elif end < 0.7:
                client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        if rng.random() < 0.3:
            site.wait(rng.random())
    if rng.random() < 0.5:
        site.server.stop()
    site.wait(1.0)
    for client in site.clients:
        client.close()
    site.turn(5)
    for ws, _ in told:
        ws.resume()
    site.wait(30.0)
    for ws, _ in told:
        ws.close()  # one may be paused again
    site.wait(10.0)
    for ws, events in told:
        require_in_order(events)
        assert ws.queued == 0
    if not site.server.closing:
        site.server.close()
    site.turn(3)
    assert not site.server.connections
    require_deliberate(reports)


def require_deliberate(reports):
    """All that was reported is what our slots raised, each with its WebSocket."""
    odd = [report for report in reports if type(report[0]) is not Deliberate or not isinstance(report[1], WebSocket)]
    assert not odd, odd
    reports.clear()


@pytest.mark.parametrize("round", range(3))
def test_both_ends_ours_misused(site, reports, round):
    rng = seeds.rng()
    limits = {"high_water": 20000, "low_water": 5000, "max_queue": 100000, "close_timeout": 2.0, "handshake_timeout": 3.0}
    told = []

    def met(ws):
        told.append((ws, noted(ws)))
        misuse(rng, ws)

    def asked(exchange):
        if rng.random() < 0.2:
            site.loop.call_later(rng.random() * 5, late, exchange)
        else:
            met(WebSocket.accept(exchange, ping_interval=None))

    def late(exchange):
        try:
            met(WebSocket.accept(exchange))
        except icey.StateError:  # the client has gone
            pass

    server = site.serve(asked, limits=limits)
    for _ in range(15):
        met(WebSocket.connect(site.loop, "ws://%s/" % server.address, limits=icey.Limits(**limits),
                              ping_interval=rng.choice((None, 0.7))))
        site.turn(rng.randrange(4))
        for ws, _ in told:
            if rng.random() < 0.2:
                try:
                    use(rng, ws, rng.choice(VERBS))
                except Deliberate:
                    pass
        if rng.random() < 0.3:
            site.wait(rng.random())
    for ws, _ in told:
        ws.resume()
    site.wait(10.0)
    if rng.random() < 0.5:
        server.stop()
    for ws, _ in told:
        ws.close()
    site.wait(10.0)
    for _, events in told:
        require_in_order(events)
    server.close()
    site.turn(3)
    require_deliberate(reports)
