"""The picture: its values are those of loop.handles and of the streams' own counters, and looking changes nothing."""
import functools
import gc
import json
import threading
import weakref

import pytest

import icey
from icey.tools.inspect import picture
from tests.support import http, inspecting
from tests.support.packets import turn_until
from tests.support.streams import PYPY, collect, turn

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
inspector, window = inspecting.inspector, inspecting.window
SECRET = "hunter2"


@pytest.fixture
def see(inspector):
    """The picture, as the inspector makes it, through JSON and back."""
    if PYPY:
        collect()  # streams that other tests have left

    others = {row["number"] for row in inspector.picture()["streams"]}

    def see():
        state = json.loads(json.dumps(inspector.picture()))
        state["streams"] = [row for row in state["streams"] if row["number"] not in others]
        return state
    return see


# handles

def test_handles_are_those_of_the_loop(loop, site, see):
    before = loop.handles  # the inspector's own
    site.serve(http.ignore)
    clients = [site.client() for _ in range(3)]
    timers = [loop.call_later(60, print) for _ in range(5)]
    idler = icey.Idler(loop, http.ignore).start()
    handles = [handle for handle in loop.handles if handle not in before]
    state = see()
    kinds = {kind: sum(type(one).__name__ == kind for one in handles) for kind in ("Timer", "TCPSocket", "Idler", "Server")}
    assert kinds == {"Timer": 6, "TCPSocket": 3, "Idler": 1, "Server": 1}, "a server has a timer"
    assert {row["kind"]: row["count"] for row in state["kinds"]} == dict(kinds, TCPListener=1)
    assert state["loop"]["handles"] == len(handles) == len(state["handles"])
    assert state["loop"]["keeping"] == loop.refs and state["loop"]["timers"] == 6
    idler.close()
    for timer in timers[1:]:
        timer.stop()
    clients[0].close()
    site.until(lambda: len(site.server.connections) == 2)
    assert {row["kind"]: row["count"] for row in see()["kinds"]} == {"Timer": 2, "TCPSocket": 2, "Server": 1, "TCPListener": 1}
    timers[0].stop()


def test_a_row_says_state_age_queue_and_slots(loop, site, see):
    site.serve(lambda exchange: exchange.send_header() or exchange.send(b"x" * 3_000_000))
    client = site.client(receive=4096)
    client.ask("GET", "/")
    turn(loop, 20)
    connection, = site.server.connections
    see()
    site.wait(2)
    row, = [row for row in see()["handles"] if row["kind"] == "TCPSocket"]
    assert row["queued"] == connection.stream.queued > 0 and row["high_water"] == connection.stream.high_water
    assert row["state"] == "up" and row["age"] == 2.0 and str(connection.peer) in row["title"]
    row, = [row for row in see()["handles"] if row["kind"] == "Server"]
    assert row["slots"]["on_request"] == [picture.place(next(iter(site.server.on_request)))]
    assert (row["made"] != "") is loop.debug and "test_picture.py" in row["made"] + ("" if loop.debug else "test_picture.py")


def test_ages_are_of_each_handle_and_numbers_stay(loop, site, see):
    first = loop.call_later(60, print)
    before = see()["handles"]
    site.wait(5)
    second = loop.call_later(60, print)
    see()
    site.wait(1)
    rows = see()["handles"]
    assert [row["age"] for row in rows] == [6.0, 1.0] and rows[0]["number"] == before[0]["number"] != rows[1]["number"]
    first.stop()
    second.stop()


def test_states(loop, see):
    stream, peer = icey.TCPSocket(loop), icey.TCPListener(loop, ("127.0.0.1", 0))
    taken = []
    peer.on_accept += lambda peer, stream: taken.append(stream)
    stream.on_connect += lambda stream: stream.send_owned(bytes(8_000_000))
    stream.connect(peer.address)
    assert [row["state"] for row in see()["handles"] if row["kind"] == "TCPSocket"][0] in ("connecting", "up")
    stream.on_recv += http.ignore
    stream.pause()
    assert "paused" in [row["state"] for row in see()["handles"]]
    turn(loop, 5)
    stream.close()
    assert "closing" in [row["state"] for row in see()["handles"]]
    for one in (stream, peer, *taken):
        one.abort()


def test_ten_thousand_handles_are_a_bounded_picture(loop, window):
    timers = [loop.call_later(60 + number, print) for number in range(10_000)]
    pipe = icey.TCPListener(loop, ("127.0.0.1", 0))
    body = window.ask("/state.json").body
    state = json.loads(body.decode())
    assert state["loop"]["handles"] == 10_001 and state["more"] == {"handles": 9_901}
    assert len(state["handles"]) == 100 and state["handles"][0]["kind"] == "TCPListener", "timers stand behind all others"
    assert len(body) < 150_000 and len(window.ask("/metrics").body) < 2_000
    assert {row["kind"]: row["count"] for row in state["kinds"]} == {"Timer": 10_000, "TCPListener": 1}
    for timer in timers:
        timer.stop()
    pipe.close()


def test_kinds_are_bounded(loop, see):
    made = [type("Kind%d" % number, (icey.Idler,), {})(loop, print).start() for number in range(80)]
    state = see()
    assert len(state["kinds"]) == 50 and state["more"]["kinds"] == 30 and state["loop"]["handles"] == 80
    for idler in made:
        idler.close()


# HTTP and WebSocket

def test_servers_and_their_exchanges(loop, site, see):
    held = []

    def slot(exchange):
        http.think(exchange)
        held.append(exchange)
        if exchange.request.path == "/slow":
            exchange.send_header()
            exchange.send(b"x" * 10)

    site.serve(slot)
    clients = [site.client() for _ in range(4)]
    clients[0].ask("GET", "/think?password=" + SECRET, "Authorization: Bearer " + SECRET, "Cookie: a=" + SECRET)
    clients[1].ask("GET", "/slow")
    site.until(lambda: len(held) == 2)
    site.wait(2)
    state = see()
    server, = state["servers"]
    assert server["address"] == str(site.server.address) and server["accepted"] == 4 == site.server.connections_made
    counted = {}
    for connection in site.server.connections:
        counted[connection.state.value] = counted.get(connection.state.value, 0) + 1
    assert server["states"] == counted
    assert sorted((row["request"], row["state"], row["seconds"], row["sent"]) for row in server["answering"]) == [
        ("GET /slow", "answers", 2.0, 10), ("GET /think", "thinks", 2.0, 0)]
    assert SECRET not in json.dumps(state)
    for exchange in held:
        exchange.abort()


def test_many_exchanges_are_bounded(loop, site, see):
    held = []
    site.serve(lambda exchange: http.think(exchange) or held.append(exchange))
    for _ in range(picture.ROWS + 20):
        site.client().ask("GET", "/")
    site.until(lambda: len(held) == picture.ROWS + 20)
    state = see()
    assert len(state["servers"][0]["answering"]) == picture.ROWS and state["more"]["answering"] == 20
    for exchange in held:
        exchange.abort()


def test_websockets_of_both_sides(loop, site, see):
    accepted = []
    site.serve(lambda exchange: accepted.append(icey.http.WebSocket.accept(exchange)))
    ws = icey.http.WebSocket.connect(loop, "ws://user:%s@%s/?key=%s" % (SECRET, site.server.address, SECRET))
    site.until(lambda: accepted and ws.stream is not None)
    turn(loop, 5)
    state = see()
    assert sorted((row["side"], row["state"], row["queued"]) for row in state["websockets"]) == [
        ("client", "open", ws.queued), ("server", "open", accepted[0].queued)]
    assert state["servers"][0]["states"] == {"upgraded": 1} and state["servers"][0]["answering"] == []
    assert SECRET not in json.dumps(state)
    ws.close()
    site.until(lambda: ws.closed)


@pytest.mark.parametrize("make", [
    lambda loop, url: icey.http.ClientConnection(loop, url, headers={"X-Key": SECRET}).start(),
    lambda loop, url: icey.http.Client(loop, proxy=url, headers={"X-Key": SECRET}).request("GET", url, done=http.ignore),
    lambda loop, url: icey.http.EventSource(loop, url, headers={"X-Key": SECRET})])
def test_no_credentials_of_clients(loop, see, make):
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))
    make(loop, "http://user:%s@127.0.0.1:%d/?token=%s" % (SECRET, listener.address.port, SECRET))
    for _ in range(3):
        assert SECRET not in json.dumps(see())
        turn(loop)


# packets

class Upper(icey.PacketProcessor):
    def process(self, packet):
        self.emit(bytes(packet.data).upper())


@pytest.mark.needs("threading")
def test_a_stream_with_branches_and_queues(loop, see):
    queue, lazy = icey.SyncPacketQueue(loop, 4), icey.AsyncPacketQueue(8, drop="newest")
    camera, left, right = icey.PacketStream("camera"), icey.PacketStream("left"), icey.PacketStream("right")
    signal = camera.attach_source(icey.Signal())
    camera.attach(Upper(), 5)
    camera.attach(queue, 7)
    left.attach_source(camera)
    right.attach_source(camera)
    right.attach(lazy)
    right.on_packet += http.ignore
    for stream in (left, right, camera):
        stream.start()
    rows = {row["name"]: row for row in see()["streams"]}
    assert sorted(rows) == ["camera", "left", "right"]
    number = {name: row["number"] for name, row in rows.items()}
    for _ in range(10):
        signal.emit(b"x")
    rows = {row["name"]: row for row in see()["streams"]}
    assert rows["camera"]["entered"] == 10 and rows["camera"]["state"] == "active"
    assert rows["camera"]["sources"] == [{"kind": "Signal", "title": "", "number": None}]
    assert [(one["order"], one["kind"], one["retention"], one["boundary"]) for one in rows["camera"]["stages"]] == [
        (5, "Upper", "borrowed", False), (7, "SyncPacketQueue", "cloned", True)]
    stage = rows["camera"]["stages"][1]
    assert (stage["depth"], stage["most"], stage["dropped"], stage["drop"]) == (queue.depth, 4, queue.dropped, "oldest") == (
        4, 4, 6, "oldest")
    assert rows["camera"]["feeds"] == [number["left"], number["right"]] and rows["camera"]["taken_by"] == 0
    assert rows["left"]["sources"] == [{"kind": "PacketStream", "title": "camera", "number": number["camera"]}]
    assert rows["right"]["taken_by"] == 1 and rows["right"]["slots"] == [picture.place(http.ignore)]
    turn(loop, 5)
    rows = {row["name"]: row for row in see()["streams"]}
    assert [rows[name]["entered"] for name in ("camera", "left", "right")] == [10, 4, 4]
    for stream in (camera, left, right):
        stream.close()
    turn_until(loop, lambda: right.closed)
    late = {row["name"] for row in see()["streams"]}
    assert "left" not in late


def test_counts_go_on_over_a_restart(loop, see):
    stream = icey.PacketStream("again")
    stream.start()
    see()
    stream.write(b"1")
    stream.stop()
    assert see()["streams"][0]["state"] == "stopped"
    stream.start()
    stream.write(b"2")
    assert see()["streams"][0]["entered"] == 2
    stream.stop()
    stream.reset()
    stream.start()
    stream.write(b"3")
    row = see()["streams"][0]
    assert (row["entered"], row["dropped"]) == (3, stream.dropped)
    stream.close()
    assert see()["streams"] == []


def test_what_comes_too_late_and_what_fails(loop, see):
    source = icey.Signal()
    stream = icey.PacketStream("s", close_on_error=False)
    stream.attach_source(source)
    source.emit(b"early")
    stream.on_packet += lambda packet: 1 / 0
    stream.on_error += http.ignore
    stream.start()
    source.emit(b"x")
    source.emit(b"late")
    row, = see()["streams"]
    assert (row["state"], row["error"], row["dropped"]) == ("error", "ZeroDivisionError", stream.dropped)
    assert stream.dropped == 2
    stream.close()


def test_a_stream_of_another_thread(loop, see):
    ready, go, done = threading.Event(), threading.Event(), []

    def work():
        with icey.Loop() as other:
            stream = icey.PacketStream("elsewhere")
            stream.synchronize_output(other)
            stream.start()
            ready.set()
            go.wait(20)
            for _ in range(5):
                stream.write(b"x")
            stream.close()
            other.run()
            done.append(stream.closed)

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(20)
    row, = see()["streams"]
    assert (row["name"], row["state"], row["entered"]) == ("elsewhere", "active", 0)
    go.set()
    thread.join(20)
    assert done == [True] and see()["streams"] == []


def test_many_streams_are_bounded(loop, inspector):
    made = [icey.PacketStream("s%d" % number) for number in range(200)]
    state = inspector.picture()
    assert len(state["streams"]) == 100 and state["more"]["streams"] >= 100
    for stream in made:
        stream.close()


def test_a_sink_whose_receiver_has_gone(loop, see):
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))
    out = icey.TCPSocket(loop)
    out.connect(listener.address)
    stream = icey.PacketStream("out")
    stream.attach(icey.StreamSink(out))
    stream.start()
    stage, = see()["streams"][0]["stages"]
    assert (stage["kind"], stage["sink"], stage["gone"], stage["dropped"]) == ("StreamSink", True, False, 0)
    out.abort()
    turn(loop, 3)
    if not stream.closed:
        assert see()["streams"][0]["stages"][0]["gone"] is True
        stream.close()
    listener.close()


# looking changes nothing, and keeps nothing

def test_no_signal_is_made_and_no_slot_attached(loop, see):
    timer, stream = loop.call_later(60, print), icey.PacketStream("s")
    stream.start()
    for _ in range(2):
        see()
    assert timer.signals is None and stream.signals == {} and len(loop.signals or {}) == 1, "its own on_error"
    assert stream.describe().count("slot") <= 1 and stream.lint() == []
    timer.stop()
    stream.close()


def test_what_is_looked_at_dies_as_ever(loop, see):
    class Thing:
        def __call__(self, *args):
            raise KeyError(SECRET)

    thing, timer, stream = Thing(), icey.Timer(loop, 0, None), icey.PacketStream("s")
    timer.on_timeout += thing
    stream.on_packet += thing
    stream.on_error += http.ignore
    stream.start()
    timer.start()
    see()
    turn(loop, 2)
    stream.write(b"x")
    gone = [weakref.ref(one) for one in (thing, timer, stream)]
    state = see()
    assert [row["type"] for row in state["errors"]] == ["KeyError"] and SECRET not in json.dumps(state)
    timer.abort()
    turn(loop, 2)
    loop.call_soon(lambda big: None, thing)
    turn(loop, 2)
    reports = [one for one in gc.get_referrers(thing) if type(one).__name__ == "Reports"]
    del thing, timer, stream, reports
    loop.on_error.detach_all()
    collect()
    assert [one() for one in gone] == [None, None, None]
    assert see()["streams"] == []


@pytest.fixture
def reports():
    """What is raised here is raised to be seen."""
    class Deaf(list):
        def note(self, loop, exc, handle):
            pass
    return Deaf()


# nothing secret, and nothing that breaks it

class Holder:
    """A slot with a secret in it, and in its repr."""

    def __init__(self, secret):
        self.secret = secret

    def __repr__(self):
        return "Holder(%r)" % self.secret

    def __call__(self, *args):
        pass

    def method(self, *args):
        pass


@pytest.mark.parametrize("slot", [Holder(SECRET), Holder(SECRET).method, functools.partial(Holder(SECRET), SECRET),
                                  functools.partial(Holder(SECRET).method, password=SECRET),
                                  functools.partial(print, SECRET), [SECRET].append, {SECRET: 1}.get])
def test_a_slot_is_named_by_its_class_and_shows_nothing_of_it(loop, see, slot):
    timer = icey.Timer(loop, 60, slot).start()
    timer.on_timeout += slot
    stream = icey.PacketStream("s")
    stream.on_packet += slot
    stream.start()
    early = loop.call_later(0, slot, SECRET)
    turn(loop, 2)
    state = json.dumps(see())
    assert SECRET not in state and "on_timeout" in state
    assert early.count == 1
    timer.stop()
    stream.close()


def test_contracts_that_were_broken_are_told_and_other_messages_are_not(loop, see):
    def break_one():
        icey.TCPSocket(loop).send(SECRET.encode())

    def another():
        raise icey.StateError(SECRET, SECRET)

    for fn in (break_one, another, another):
        loop.call_soon(fn)
        turn(loop)
    state = see()
    first = state["errors"][-1]
    assert (first["type"], first["contract"], first["count"]) == ("StateError", "start, then send", 1)
    assert first["text"].startswith("send() before connect()") and "break_one" in first["where"]
    assert [(row["type"], row["text"], row["count"]) for row in state["errors"][:1]] == [("StateError", "", 2)]
    assert [row["count"] for row in state["errors"]] == [2, 1] and state["loop"]["errors"] == 3
    assert SECRET not in json.dumps(state)


class Rude(icey.Idler):
    """A handle whose class says nonsense of itself."""

    queued = high_water = float("nan")
    state = fn = property(lambda self: 1 / 0, lambda self, value: None)

    def title(self):
        raise ValueError(SECRET)

    def __eq__(self, other):
        raise ValueError(SECRET)

    __hash__ = icey.Idler.__hash__


def test_what_a_handle_says_of_itself_breaks_nothing(loop, see):
    idler = Rude(loop, http.ignore).start()
    row, = see()["handles"]
    assert (row["title"].split()[0], row["state"], row["queued"], row["high_water"]) == ("Rude", "open", 0, None)
    idler.close()


def test_stages_and_sources_that_say_nonsense(loop, see):
    class Stage(icey.PacketProcessor):
        dropped = [SECRET]
        name = Holder(SECRET)
        deferred = Holder(SECRET)

        @property
        def serves(self):
            return None

        def process(self, packet):
            self.emit(packet)

    stream = icey.PacketStream(Holder(SECRET))
    stream.attach_source(Stage())
    stream.attach(Stage())
    row, = see()["streams"]
    assert row["name"] == "" and row["sources"][0]["title"] == "" and "dropped" not in row["stages"][0]
    assert SECRET not in json.dumps(row)
    stream.close()


def test_a_stage_that_raises_when_it_is_asked(loop, see):
    class Stage(icey.PacketProcessor):
        retention = deferred = dropped = serves = property(lambda self: 1 / 0)

    quiet = icey.PacketProcessor()
    stream = icey.PacketStream()
    stream.attach(quiet)
    quiet.__class__ = Stage
    try:
        assert see()["streams"][0]["stages"][0]["retention"] == "?"
    finally:
        quiet.__class__ = icey.PacketProcessor
    stream.close()


@pytest.mark.skipif(PYPY, reason="streams are not looked for in these tests")
def test_a_stream_that_another_thread_is_making_is_not_shown_yet(loop, see):
    class Mine(icey.PacketStream):
        def __init__(self):
            made.append(self)
            assert see()["streams"] == []
            super().__init__("mine")
            assert [row["name"] for row in see()["streams"]] == ["mine"]

    made = []
    Mine().close()

    class Broken(icey.PacketStream):
        def __init__(self):
            made.append(self)
            raise ValueError

    with pytest.raises(ValueError):
        Broken()
    assert see()["streams"] == [] and len(made) == 2


def test_nobody_else_is_asked_when_streams_are_looked_for(loop, see):
    asked = []

    class Proxy:
        @property
        def __class__(self):
            asked.append(self)
            return icey.PacketStream

    kept = [Proxy()]
    see()
    assert kept and asked == []


def test_a_subclass_of_a_stream_is_found(loop, see):
    class Mine(icey.PacketStream):
        __hash__ = None

    stream = Mine("mine")
    assert [row["name"] for row in see()["streams"]] == ["mine"]
    stream.close()


def test_long_and_strange_names(loop, window):
    names = ["x" * 5000, "<script>alert(1)</script>", "\u202e\u0627\u0644", "a\0b\r\nc\x1b[2J", "\ud800", ""]
    streams = [icey.PacketStream(name) for name in names]
    for stream in streams:
        window.inspector.watch(stream.name, stream)
    shown = [row["name"] for row in window.state()["streams"]][:len(names)]
    assert sorted(shown) == sorted([*names[1:], "x" * 299 + "\u2026"])
    assert window.ask("/metrics").status == 200
    for stream in streams:
        stream.close()
