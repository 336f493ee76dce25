"""How a streamed answer ends: the client leaves, the stream closes, in every order, from every place; who lets go of whom."""
import itertools

import pytest

import icey
from icey import FlagPacket, PacketFlags, PacketProcessor, PacketStream, RawPacket, SyncPacketQueue, TimerSource
from icey.http import ChunkedAdapter, MultipartAdapter, SseAdapter
from tests.support import http, packets
from tests.support.feeding import asking, chunk, chunks, head_of, serving, slow
from tests.support.packets import Thread, needs_threads

debug, clock, reports, loop, site, left = http.debug, http.clock, http.reports, http.loop, http.site, http.left
no_thread_stays = packets.no_thread_stays

FINAL = PacketFlags.FINAL
ALL = [ChunkedAdapter, MultipartAdapter, SseAdapter]
each_kind = pytest.mark.parametrize("kind", ALL)


def piped(feed, *before, started=True):
    """A stream of these stages and `feed`."""
    stream = PacketStream()
    for order, stage in enumerate(before):
        stream.attach(stage, order)
    stream.attach(feed, len(before))
    if started:
        stream.start()
    return stream


def trunk_of():
    trunk = PacketStream("trunk")
    trunk.start()
    return trunk


# The client leaves

@each_kind
@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
def test_a_client_that_leaves_is_told_at_once(site, kind, leave):
    feeds = serving(site, kind, keep_alive=None) if kind is SseAdapter else serving(site, kind)
    client, feed = asking(site, feeds)
    getattr(client, leave)()
    before = site.clock()
    site.until(lambda: feed.told)
    assert feed.told == [False] and feed.closed and feed.closing and site.clock() == before
    feed.process(RawPacket(b"x"))
    assert feed.dropped == 1
    feed.close()
    feed.abort()
    site.turn(3)
    assert feed.told == [False]


STAGES = {
    "before the stream starts": lambda site, client, feed, stream: None,
    "before a packet": lambda site, client, feed, stream: stream.start(),
    "between two": lambda site, client, feed, stream: (stream.start(), stream.write(b"x"), site.turn(2)),
    "with the packet on its way": lambda site, client, feed, stream: (stream.start(), stream.write(b"x" * 100000)),
    "behind the last, unread": lambda site, client, feed, stream: (stream.start(), stream.write(b"x", FINAL)),
    "behind the close": lambda site, client, feed, stream: (stream.start(), stream.write(b"x" * 100000), stream.close()),
}


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_client_leaves_at_every_stage(site, stage, leave):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = piped(feed, started=False)
    STAGES[stage](site, client, feed, stream)
    getattr(client, leave)()
    site.until(lambda: feed.told)
    assert site.gone()
    if stream.state is icey.PacketStreamState.NONE:
        stream.start()
    if stream.active:
        dropped = feed.dropped
        stream.write(b"nobody there")
        assert feed.dropped == dropped + 1
    stream.close()
    site.turn(3)
    assert stream.closed and len(feed.told) == 1


def test_between_the_loss_and_on_close_packets_are_counted(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = piped(feed)
    feed.exchange.abort()
    assert feed.closing and not feed.closed
    stream.write(b"x")
    assert feed.dropped == 1 and stream.active
    stream.close()  # and the close in between is harmless too
    site.until(lambda: feed.told)
    assert feed.told == [False]


def test_a_raw_stream_that_is_closing_takes_nothing(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = piped(feed)
    feed.exchange.connection.stream.close()
    stream.write(b"x")
    stream.write(b"", FINAL)
    assert feed.dropped == 1 and stream.stopped
    site.until(lambda: feed.told)


# Who lets go of whom

@each_kind
def test_the_branch_of_a_client_that_left_is_closed_and_let_go(site, kind, left):
    feeds = serving(site, kind)
    trunk, branches = trunk_of(), []
    for _ in range(3):
        client, feed = asking(site, feeds)
        branches.append(feed.follow(trunk))
        assert len(trunk.on_packet) == 1
        trunk.write(b"x")
        client.close()
        site.until(lambda feed=feed: feed.closed)
        assert len(trunk.on_packet) == len(trunk.on_close) == 0
    assert [branch.state.name for branch in branches] == ["CLOSED"] * 3 and branches[0].sources == []
    trunk.write(b"nobody there")
    assert trunk.active
    feeds.clear()
    branches.clear()
    del client, feed, branches
    site.close()
    site.wait(20)
    assert left() == 0
    trunk.close()


def test_so_is_a_branch_that_you_built(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    trunk, branch = trunk_of(), PacketStream()
    branch.attach_source(trunk)
    branch.attach(SyncPacketQueue(site.loop))
    branch.attach(feed, 1)
    branch.start()
    trunk.write(b"x")
    assert head_of(client) and chunk(client) == b"x"
    client.close()
    site.until(lambda: branch.closed)
    assert branch.sources == [] and len(trunk.on_packet) == 0
    trunk.close()


def test_a_source_that_runs_with_the_branch_stops_with_it(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    source = TimerSource(site.loop, 1.0, lambda count: b"tick")
    feed.follow(source, sync_state=True)
    site.wait(2.5)
    assert source.count == 2
    client.close()
    site.until(lambda: feed.closed)
    site.wait(10)
    assert source.count == 2


def test_close_stream_False_leaves_it_open(site):
    feeds = serving(site, ChunkedAdapter, close_stream=False)
    client, feed = asking(site, feeds)
    trunk = trunk_of()
    branch = feed.follow(trunk)
    client.close()
    site.until(lambda: feed.closed)
    trunk.write(b"x")
    assert branch.active and feed.dropped == 1
    trunk.close()
    branch.close()
    branch.reset()
    assert len(trunk.on_packet) == 0


def test_a_stream_that_you_write_to_stays_open(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = piped(feed)
    client.close()
    site.until(lambda: feed.closed)
    stream.write(b"x")
    assert stream.active and feed.dropped == 1
    stream.close()


class Taker(PacketProcessor):
    """A stage that somebody else wants."""


def test_a_stream_stays_open_while_somebody_else_takes_its_packets(site):
    feeds = serving(site, ChunkedAdapter)
    trunk = trunk_of()

    def left_with(build):
        client, feed = asking(site, feeds)
        stream = PacketStream()
        stream.attach_source(trunk)
        stream.attach(feed)
        build(stream, feed)
        stream.start()
        client.close()
        site.until(lambda: feed.closed)
        trunk.write(b"x")
        state = stream.state.name
        stream.close()
        site.turn(2)
        assert stream.closed
        stream.reset()
        return state

    assert left_with(lambda stream, feed: None) == "CLOSED"
    assert left_with(lambda stream, feed: stream.on_packet.attach(lambda packet: None)) == "ACTIVE"
    assert left_with(lambda stream, feed: feed.on_packet.attach(lambda packet: None)) == "ACTIVE"
    assert left_with(lambda stream, feed: stream.attach(Taker(), 50)) == "ACTIVE"
    assert left_with(lambda stream, feed: stream.attach(Taker(), -1)) == "CLOSED"
    assert left_with(lambda stream, feed: stream.attach(SyncPacketQueue(site.loop), 50)) == "STOPPING"  # on its way
    assert len(trunk.on_packet) == 0
    trunk.close()


def test_clients_that_share_a_stream_leave_one_by_one_and_the_last_closes_it(site):
    feeds = serving(site, ChunkedAdapter)
    trunk, stream = trunk_of(), PacketStream()
    stream.attach_source(trunk)
    clients = [asking(site, feeds)[0] for _ in range(3)]
    for feed in feeds:
        stream.attach(feed)
    stream.start()
    for client in clients:
        head_of(client)
    for index in (1, 0, 2):
        trunk.write(b"x")
        for client in clients:
            assert client.sock.fileno() < 0 or chunk(client) == b"x"
        assert stream.active
        clients[index].close()
        site.until(lambda index=index: feeds[index].closed)
    assert stream.closed and len(trunk.on_packet) == 0
    assert [feed.dropped for feed in feeds] == [1, 2, 0]
    trunk.close()


def test_a_client_that_left_before_its_stream_started(site):
    feeds = serving(site, ChunkedAdapter)
    trunk = trunk_of()
    client, feed = asking(site, feeds)
    client.close()
    site.until(lambda: feed.closed)
    assert feed.follow(trunk).closed
    assert len(trunk.on_packet) == len(trunk.on_close) == 0
    source = TimerSource(site.loop, 1.0, lambda count: b"tick")
    client, feed = asking(site, feeds)
    client.close()
    site.until(lambda: feed.closed)
    feed.follow(source, sync_state=True)
    site.wait(3)
    assert source.count == 0
    trunk.close()


def test_a_stream_closed_first_is_let_go_when_the_client_goes(site):
    feeds = serving(site, ChunkedAdapter)
    trunk = trunk_of()
    client, feed = asking(site, feeds)
    branch = feed.follow(trunk)
    branch.close()
    assert branch.closed and len(trunk.on_packet) == 1
    assert client.answer().body == b""
    site.until(lambda: feed.closed)
    assert len(trunk.on_packet) == 0 and feed.told == [True]
    trunk.close()


# follow

def test_follow_ends_the_answer_when_what_it_follows_closes(site):
    feeds = serving(site, SseAdapter)
    trunk = trunk_of()
    client, feed = asking(site, feeds)
    branch = feed.follow(trunk)
    trunk.write(b"x")
    trunk.close()
    assert client.answer().body == b"data: x\n\n"
    site.turn(2)
    assert branch.closed and feed.told == [True]


def test_follow_what_is_closed_already_is_an_answer_without_packets(site):
    feeds = serving(site, ChunkedAdapter)
    trunk = trunk_of()
    trunk.close()
    client, feed = asking(site, feeds)
    assert feed.follow(trunk).closed
    assert client.answer().body == b""


@each_kind
def test_follow_cuts_the_answer_when_what_it_follows_fails(site, kind):
    feeds = serving(site, kind)
    trunk = PacketStream("trunk")
    trunk.attach(packets.Boom())
    trunk.on_error += lambda stream, exc: None
    trunk.start()
    client, feed = asking(site, feeds)
    feed.follow(trunk)
    trunk.write(b"x")
    trunk.write(b"boom")
    assert trunk.closed
    head_of(client)
    assert not client.read_to_reset().endswith(b"0\r\n\r\n")
    assert feed.told == [False] and site.gone()


def test_FINAL_of_what_it_follows_ends_it_and_the_branch_is_let_go(site):
    feeds = serving(site, ChunkedAdapter)
    trunk = trunk_of()
    client, feed = asking(site, feeds)
    branch = feed.follow(trunk)
    trunk.write(b"x", FINAL)
    assert client.answer().body == b"x"
    site.turn(2)
    assert branch.closed and len(trunk.on_packet) == 0 and feed.told == [True]
    trunk.close()


def test_a_source_that_does_not_start_leaves_nothing_behind(site):
    class Bad(icey.PacketStreamAdapter):
        def start(self):
            raise OSError("no such camera")

        def stop(self):
            pass

    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    bad = Bad()
    with pytest.raises(OSError, match="no such camera"):
        feed.follow(bad, sync_state=True)
    assert len(bad.on_packet) == 0
    assert client.answer().body == b""


def test_follow_refuses_what_comes_on_another_loop(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    with icey.Loop() as other:
        source = TimerSource(other, 1.0, lambda count: b"x")
        with pytest.raises(icey.GraphError, match="nothing hops between them"):
            feed.follow(source)
        assert len(source.on_packet) == 0


# The stream ends first

@each_kind
@pytest.mark.parametrize("end", ["stop", "close", "FINAL"])
def test_the_stream_ends_the_answer(site, kind, end):
    feeds = serving(site, kind)
    client, feed = asking(site, feeds)
    stream = piped(feed)
    stream.write(b"packet")
    if end == "FINAL":
        stream.write(FlagPacket(FINAL))
    else:
        getattr(stream, end)()
    assert b"packet" in client.answer().body
    site.turn(2)
    assert feed.told == [True]
    stream.close()


def test_pause_does_not(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = piped(feed)
    stream.pause()
    site.turn(3)
    assert not feed.closing
    stream.resume()
    stream.write(b"x", FINAL)
    assert client.answer().body == b"x"


def test_what_its_queue_holds_comes_before_the_end(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = piped(feed, SyncPacketQueue(site.loop))
    for number in range(5):
        stream.write(b"%d" % number)
    stream.close()
    assert not feed.closing
    assert client.answer().body == b"01234"
    assert stream.closed


@pytest.mark.parametrize("close_on_error", [True, False])
def test_a_stream_that_fails_cuts_the_answer(site, close_on_error):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = PacketStream(close_on_error=close_on_error)
    stream.on_error += lambda stream, exc: None
    stream.attach(packets.Boom())
    stream.attach(feed, 1)
    stream.start()
    stream.write(b"good")
    stream.write(b"boom")
    assert feed.closing
    head_of(client)
    assert client.read_to_reset() == b"4\r\ngood\r\n"
    assert feed.told == [False]
    stream.close()


@needs_threads
@pytest.mark.parametrize("end", ["stop", "close"])
def test_stopped_by_another_thread(site, end):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = piped(feed)
    stream.write(b"x")
    Thread(getattr(stream, end)).join()
    assert not feed.closing  # that is a matter of its loop
    assert client.answer().body == b"x"
    stream.close()


@needs_threads
def test_a_trunk_closed_by_another_thread(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    trunk = trunk_of()
    branch = feed.follow(trunk)
    trunk.write(b"x")
    Thread(trunk.close).join()
    assert client.answer().body == b"x"
    site.turn(2)
    assert branch.closed and len(trunk.on_packet) == 0


# Every order, from every place

def everything(site, it):
    return {
        "client": it.client.close,
        "stream": it.stream.close,
        "trunk": it.trunk.close,
        "feed": it.feed.close,
        "abort": it.feed.abort,
        "FINAL": lambda: it.trunk.write(b"last", FINAL) if it.trunk.active else None,
    }


class Wired:
    """A client's feed on a branch of a trunk, full or not."""

    def __init__(self, site, full):
        self.feeds = serving(site, ChunkedAdapter, drop="oldest", max_queue=3)
        self.client, self.feed = asking(site, self.feeds, client=slow(site))
        self.trunk = trunk_of()
        self.stream = self.feed.follow(self.trunk)
        self.closes = []
        self.stream.on_close += self.closes.append
        while full and not self.feed.dropped:
            self.trunk.write(b"x" * 1024)


@pytest.mark.parametrize("full", [False, True], ids=["room", "full"])
@pytest.mark.parametrize("turns", [0, pytest.param(1, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize("order", [*itertools.permutations(["client", "stream", "trunk", "feed"]),
                                   *itertools.permutations(["client", "FINAL", "abort"])], ids="-".join)
def test_closed_in_every_order(site, order, turns, full):
    it = Wired(site, full)
    for name in order:
        everything(site, it)[name]()
        site.turn(turns)
    it.trunk.close()
    site.until(lambda: it.feed.told)
    site.turn(3)
    assert len(it.feed.told) == 1 and it.closes == [it.stream]
    assert it.stream.closed and it.trunk.closed and it.feed.depth == 0
    assert len(it.trunk.on_packet) == len(it.trunk.on_close) == 0
    assert site.gone()


@pytest.mark.parametrize("where", ["before", "behind", "slot", "trunk", "drain"])
@pytest.mark.parametrize("what", ["stream", "trunk", "feed", "abort", "exchange"])
def test_closed_from_within(site, where, what):
    feeds = serving(site, ChunkedAdapter, drop="latest")
    client, feed = asking(site, feeds, client=slow(site))
    trunk, stream = trunk_of(), PacketStream()

    def act(*_):
        {"stream": stream.close, "trunk": trunk.close, "feed": feed.close, "abort": feed.abort,
         "exchange": feed.exchange.abort}[what]()

    def now(packet):
        if packet.data == b"now":
            act()

    stream.attach_source(trunk)
    if where == "before":
        stream.attach(packets.Do(now))
    stream.attach(feed, 1)
    if where == "behind":
        stream.attach(packets.Do(now), 2)
    elif where == "slot":
        stream.on_packet += now
    elif where == "trunk":
        trunk.on_packet.attach(now, priority=1)
    else:
        feed.exchange.on_drain.attach(act, priority=1)
    stream.start()
    trunk.write(b"one")
    if where == "drain":
        while not feed.dropped:
            trunk.write(b"x" * 1024)
        while not (feed.told or feed.closing or stream.closed or trunk.closed):
            client._held[:0] = client.read(len(client._held) + 1)
    else:
        trunk.write(b"now")
        if trunk.active:
            trunk.write(b"behind")
    trunk.close()
    stream.close()
    site.turn(2)
    if what not in ("abort", "exchange"):
        head_of(client)
        assert chunks(client)[0] == b"one"
    site.until(lambda: feed.told)
    assert feed.told == [what not in ("abort", "exchange")]
    assert stream.closed and trunk.closed


@pytest.mark.parametrize("what", ["stream", "trunk", "feed", "abort", "follow"])
def test_closed_from_a_slot_of_on_close(site, what):
    it = Wired(site, True)
    came = []

    def told(feed):
        came.append(feed.closed)
        {"stream": it.stream.close, "trunk": it.trunk.close, "feed": feed.close, "abort": feed.abort,
         "follow": lambda: feed.follow(it.trunk)}[what]()

    it.feed.on_close += told
    it.client.close()
    site.until(lambda: came)
    site.turn(3)
    assert came == [True] and it.stream.closed and len(it.trunk.on_packet) == 0
    it.trunk.close()


def test_an_exception_in_a_slot_of_on_close_goes_to_the_loop_and_the_others_are_called(site, reports):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    told = []
    feed.on_close += lambda feed: 1 / 0
    feed.on_close += told.append
    client.close()
    site.until(lambda: told)
    reports.take(ZeroDivisionError)
    assert told == [feed]


def test_the_exchange_ended_by_you(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = piped(feed)
    stream.write(b"x")
    feed.exchange.end()
    stream.write(b"y")
    stream.close()
    assert client.answer().body == b"x"
    site.turn(2)
    assert feed.told == [True] and feed.dropped == 1


def test_the_loop_is_closed_first(site, loop, reports, debug):
    feeds = serving(site, ChunkedAdapter, drop="oldest")
    client, feed = asking(site, feeds, client=slow(site))
    trunk = trunk_of()
    feed.follow(trunk)
    while not feed.depth:
        trunk.write(b"x" * 1024)
    for handle in loop.handles:
        handle.abort()
    loop.run_once(0)
    loop.close()
    assert feed.told == [False] and len(trunk.on_packet) == 0
    trunk.close()


# The server stops

@pytest.mark.parametrize("kind, ended", [(ChunkedAdapter, False), (MultipartAdapter, True), (SseAdapter, True)])
def test_endless_answers_end_when_the_server_is_told_to_stop(site, kind, ended):
    feeds = serving(site, kind)
    client, feed = asking(site, feeds)
    head_of(client)
    feed.process(RawPacket(b"packet"))
    site.server.stop(drain=60)
    site.turn(3)
    assert feed.told == ([True] if ended else [])
    if ended:
        assert len(chunks(client)) == (2 if kind is MultipartAdapter else 1)
        client.close()
    else:
        feed.process(RawPacket(b"goes on", FINAL))
        assert chunks(client) == [b"packet", b"goes on"]
        client.close()
    site.until(lambda: site.server.closed)


@pytest.mark.parametrize("when", [0.0, 0.25])
@pytest.mark.parametrize("kind, ended", [(ChunkedAdapter, False), (MultipartAdapter, True), (SseAdapter, True)])
def test_endless_answers_that_begin_while_the_server_stops_end_at_once(site, kind, ended, when):
    """It has told those who were there; one that is asked for in the linger would be cut when the drain is over."""
    def slot(exchange):
        if exchange.request.path == "/":
            exchange.respond(200, b"Hello")
        else:
            feeds.append(kind(exchange))
            feeds[0].process(RawPacket(b"packet"))

    feeds = []
    server = site.serve(slot)
    client = site.client()
    client.ask()
    assert client.answer().body == b"Hello"
    server.stop(drain=60)
    site.wait(when)
    client.ask("GET", "/feed")
    head_of(client)
    site.turn(3)
    assert feeds[0].closed == ended
    if not ended:
        feeds[0].process(RawPacket(b"goes on", FINAL))
    assert len(chunks(client)) == (1 if kind is SseAdapter else 2)
    client.close()
    site.until(lambda: server.closed)
    assert site.clock() == 1000.0 + when


@each_kind
def test_a_server_keeps_no_hold_on_an_answer_that_is_over(site, kind):
    feeds = serving(site, kind)
    for _ in range(3):
        client, feed = asking(site, feeds)
        client.close()
        site.until(lambda feed=feed: feed.closed)
    assert len(site.server.on_shutdown) == 0
