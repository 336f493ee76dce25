"""A client that reads slowly: what each policy drops, what is counted, and that nobody else waits."""
import re
import socket

import pytest

import icey
from icey import FileSource, FlagPacket, PacketFlags, PacketStream, RawPacket, StreamSource, SyncPacketQueue
from icey.http import ChunkedAdapter, MultipartAdapter, SseAdapter
from tests.support import http, packets
from tests.support.feeding import HIGH, NARROW, asking, chunk, chunks, drain, head_of, serving, slow
from tests.support.packets import needs_threads
from tests.support.streams import PYPY

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
no_thread_stays = packets.no_thread_stays

FINAL = PacketFlags.FINAL
SIZE = 1024


def numbered(number):
    return b"%08d" % number * (SIZE // 8)


def numbers_in(pieces):
    for piece in pieces:
        assert len(piece) == SIZE and piece == piece[:8] * (SIZE // 8)
    return [int(piece[:8]) for piece in pieces]


class Slow:
    """A feed that is full, its client, and how many packets it has taken; what the client gets in the end."""

    def __init__(self, site, **options):
        self.site = site
        self.feeds = serving(site, ChunkedAdapter, **options)
        self.client, self.feed = asking(site, self.feeds, client=slow(site))
        head_of(self.client)
        self.count = 0
        while not self.feed.full:
            self.put()

    def put(self, times=1):
        for _ in range(times):
            self.feed.process(RawPacket(bytearray(numbered(self.count))))
            self.count += 1

    def all(self):
        return numbers_in(chunks(self.client))


def queued(feed):
    return feed.exchange.connection.stream.queued


# The policies

def test_newest_drops_what_comes_while_it_is_full(site):
    it = Slow(site, drop="newest")
    taken = it.count
    it.put(10)
    assert it.feed.dropped == 10 and it.feed.depth == 0
    assert HIGH <= queued(it.feed) < HIGH + 2 * SIZE
    got = drain(it.client, it.feed)
    assert got
    it.client._held[:0] = got
    it.put(2)
    it.feed.close()
    assert it.all() == [*range(taken), taken + 10, taken + 11]
    assert it.feed.dropped == 10


def test_oldest_holds_some_and_drops_the_oldest_of_them(site):
    it = Slow(site, drop="oldest", max_queue=3)
    taken = it.count
    it.put(2)
    assert (it.feed.depth, it.feed.dropped) == (2, 0)
    it.put(4)
    assert (it.feed.depth, it.feed.dropped) == (3, 3)
    assert queued(it.feed) < HIGH + 2 * SIZE
    it.client._held[:0] = drain(it.client, it.feed)
    assert it.feed.depth == 0
    it.put()
    it.feed.close()
    assert it.all() == [*range(taken), taken + 3, taken + 4, taken + 5, taken + 6]
    assert it.feed.dropped == 3


def test_latest_holds_the_newest_alone(site):
    it = Slow(site, drop="latest", max_queue=10)  # which has no meaning here
    taken = it.count
    it.put(10)
    assert (it.feed.depth, it.feed.dropped) == (1, 9)
    it.feed.close()
    assert not it.feed.closed and it.feed.closing
    assert it.all() == [*range(taken), taken + 9]
    site.turn(2)
    assert it.feed.dropped == 9 and it.feed.told == [True]


def test_close_cuts_the_client_off_at_once(site):
    it = Slow(site, drop="close")
    assert it.feed.told == [] and it.feed.dropped == 0
    it.put(3)
    assert it.feed.dropped == 3 and it.feed.told == []
    site.turn(2)
    assert it.feed.told == [False] and it.feed.closed
    assert site.gone()
    it.put()
    assert it.feed.dropped == 4


def test_close_counts_as_slow_only_what_comes_while_it_is_full(site):
    it = Slow(site, drop="close")
    it.client._held[:0] = drain(it.client, it.feed)
    it.put()
    it.feed.close()
    assert it.all() == list(range(it.count)) and it.feed.dropped == 0


def test_pause_drops_nothing_and_holds_its_stream_up(site):
    total = 300
    feeds = serving(site, ChunkedAdapter, drop="pause")
    client, feed = asking(site, feeds, client=slow(site))
    stream, states = PacketStream(), []
    stream.attach(feed)
    stream.on_state += lambda stream, new, old: states.append(new.name)
    stream.start()
    head_of(client)
    count, most = 0, 0
    got = []
    while count < total:
        while stream.active and count < total:
            stream.write(bytearray(numbered(count)))
            count += 1
            most = max(most, queued(feed))
        if not stream.active:
            with pytest.raises(icey.StateError, match="resume"):
                stream.write(b"x")
            while not stream.active:
                got.append(chunk(client))
    stream.close()
    got += chunks(client)
    assert numbers_in(got) == list(range(total)) and feed.dropped == 0
    assert most < HIGH + 2 * SIZE and "PAUSED" in states
    assert stream.closed


class Twenty(icey.PacketProcessor):
    def process(self, packet):
        for _ in range(20):
            self.emit(packet)


def test_pause_takes_what_one_write_still_brings(site):
    feeds = serving(site, ChunkedAdapter, drop="pause")
    client, feed = asking(site, feeds, client=slow(site))
    stream = PacketStream()
    stream.attach(Twenty())
    stream.attach(feed, 1)
    stream.start()
    head_of(client)
    writes = 0
    while stream.active:
        stream.write(numbered(0))
        writes += 1
    client._held[:0] = drain(client, feed)
    assert stream.active
    stream.close()
    assert len(chunks(client)) == writes * 20 and feed.dropped == 0


def test_a_stream_paused_by_you_stays_paused_when_the_client_has_room_again(site):
    feeds = serving(site, ChunkedAdapter, drop="pause")
    client, feed = asking(site, feeds, client=slow(site))
    stream = PacketStream()
    stream.attach(Twenty())
    stream.attach(feed, 1)
    stream.start()
    while stream.active:
        stream.write(numbered(0))
    stream.resume()  # yours to say
    stream.pause()
    drain(client, feed)
    assert not stream.active
    stream.resume()
    stream.close()


def test_a_stream_that_another_thread_stops_just_then(site, monkeypatch):
    feeds = serving(site, ChunkedAdapter, drop="pause")
    client, feed = asking(site, feeds, client=slow(site))
    stream = PacketStream()
    stream.attach(feed)
    stream.start()
    with monkeypatch.context() as patch:
        patch.setattr(PacketStream, "hold_up", lambda stream: False)
        while not feed.full:
            stream.write(numbered(0))
    assert stream.active
    stream.write(numbered(0))
    assert not stream.active
    with monkeypatch.context() as patch:
        patch.setattr(PacketStream, "let_on", lambda stream: None)
        drain(client, feed)
    assert not stream.active and feed.dropped == 0
    stream.close()


def test_a_pause_of_ones_own_outlasts_that_of_the_adapter(site):
    feeds = serving(site, ChunkedAdapter, drop="pause")
    client, feed = asking(site, feeds, client=slow(site))
    stream = PacketStream()
    stream.attach(feed)
    stream.start()
    while not feed.full:
        stream.write(numbered(0))
    stream.pause()
    drain(client, feed)
    assert not feed.full and stream.state is icey.PacketStreamState.PAUSED
    stream.resume()
    while not feed.full:
        stream.write(numbered(0))
    drain(client, feed)
    assert stream.active
    stream.close()


def test_pause_past_the_cap_is_the_streams_error(site, debug):
    class Endless(icey.PacketProcessor):
        def process(self, packet):
            while True:
                self.emit(packet)

    feeds = serving(site, ChunkedAdapter, drop="pause", limits=dict(NARROW, max_queue=4 * HIGH))
    client, feed = asking(site, feeds, client=slow(site))
    stream, errors = PacketStream(), []
    stream.on_error += lambda stream, exc: errors.append(exc)
    stream.attach(Endless())
    stream.attach(feed, 1)
    stream.start()
    memory = bytearray(numbered(0))
    stream.write(memory)
    assert type(errors[0]) is icey.QueueFull and stream.closed
    if not PYPY:
        memory.append(0)  # nothing holds on to what was lent, though the error is kept
    site.until(lambda: feed.told)
    assert feed.told == [False]


def test_pause_holds_what_a_queue_still_brings_past_the_cap(site):
    feeds = serving(site, ChunkedAdapter, drop="pause", limits=dict(NARROW, max_queue=2 * HIGH))
    client, feed = asking(site, feeds, client=slow(site))
    stream, errors = PacketStream(), []
    stream.on_error += lambda stream, exc: errors.append(exc)
    stream.attach(SyncPacketQueue(site.loop))
    stream.attach(feed, 1)
    stream.start()
    pieces = [numbered(number) for number in range(100)]
    for piece in pieces:
        stream.write(bytearray(piece))
    site.until(lambda: feed.depth > 10)
    assert not errors and stream.state is icey.PacketStreamState.PAUSED
    stream.stop()
    assert client.answer().body == b"".join(pieces) and feed.dropped == feed.depth == 0 and not errors
    stream.close()


def test_pause_by_hand_raises_QueueFull(site):
    feeds = serving(site, SseAdapter, drop="pause", limits=dict(NARROW, max_queue=4 * HIGH))
    client, feed = asking(site, feeds, client=slow(site))
    with pytest.raises(icey.QueueFull):
        while True:
            feed.event("x" * SIZE)
    assert not feed.closing
    drain(client, feed)
    assert feed.event("x") is True


@pytest.mark.parametrize("drop, expected", [("newest", [0]), ("oldest", [0, 1, 2]), ("latest", [0, 2]), ("close", None)])
def test_a_packet_larger_than_the_cap_is_treated_as_one_too_many(site, drop, expected):
    feeds = serving(site, ChunkedAdapter, drop=drop, limits=dict(NARROW, max_queue=4 * HIGH))
    client, feed = asking(site, feeds, client=slow(site))
    head_of(client)
    huge = [bytes([number]) * (20 * HIGH) for number in range(3)]
    feed.process(RawPacket(huge[0]))  # an empty queue takes any one packet
    feed.full = False  # as if it were below high water
    feed.process(RawPacket(huge[1]))
    assert feed.full
    feed.process(RawPacket(huge[2]))
    if expected is None:
        site.until(lambda: feed.told)
        assert feed.told == [False] and feed.dropped == 2
        return
    feed.close()
    got = chunks(client)
    assert [piece[0] for piece in got] == expected and {len(piece) for piece in got} == {20 * HIGH}
    assert feed.dropped == 3 - len(expected)


def test_what_is_held_waits_on_where_the_queue_is_down_but_not_empty_enough(site):
    feeds = serving(site, ChunkedAdapter, drop="oldest", limits=dict(NARROW, max_queue=4 * HIGH))
    client, feed = asking(site, feeds, client=slow(site))
    head_of(client)
    pieces = []
    while not feed.full:
        pieces.append(b"s" * 64)
        feed.process(RawPacket(pieces[-1]))
    pieces.append(b"h" * 20 * HIGH)
    feed.process(RawPacket(pieces[-1]))
    feed.close()
    assert chunks(client) == pieces and feed.dropped == 0


# The end, while it is full

@pytest.mark.parametrize("drop", ["newest", "close"])
def test_FINAL_while_it_is_full_ends_the_answer_all_the_same(site, drop):
    it = Slow(site, drop=drop)
    it.feed.process(FlagPacket(FINAL))
    assert it.all() == list(range(it.count)) and it.feed.dropped == 0
    site.turn(2)
    assert it.feed.told == [True]


@pytest.mark.parametrize("drop", ["newest", "oldest", "latest", "close"])
def test_data_in_the_FINAL_packet_is_never_dropped(site, drop):
    it = Slow(site, drop=drop)
    it.feed.process(RawPacket(bytearray(numbered(it.count)), FINAL))
    assert it.feed.dropped == 0
    it.put()
    assert it.feed.dropped == 1
    assert it.all() == list(range(it.count))
    site.turn(2)
    assert it.feed.told == [True]


@pytest.mark.parametrize("drop", ["oldest", "latest"])
def test_it_takes_the_room_of_the_packet_that_has_waited_longest(site, drop):
    it = Slow(site, drop=drop, max_queue=1)
    it.put()
    it.feed.process(RawPacket(numbered(it.count), FINAL))
    assert it.feed.dropped == 1 and it.feed.depth == 1
    assert it.all() == [*range(it.count - 1), it.count]


@pytest.mark.parametrize("drop", ["newest", "close", "pause"])
def test_a_FINAL_packet_that_would_pass_the_cap_waits_for_room(site, drop):
    it = Slow(site, drop=drop, limits=dict(NARROW, max_queue=2 * HIGH))
    it.feed.process(RawPacket(b"z" * 3 * HIGH, FINAL))
    assert (it.feed.dropped, it.feed.depth) == (0, 1)
    pieces = list(chunks(it.client))
    assert numbers_in(pieces[:-1]) == list(range(it.count)) and pieces[-1] == b"z" * 3 * HIGH


def test_the_last_delimiter_waits_where_it_would_pass_the_cap(site):
    feeds = serving(site, MultipartAdapter, boundary="b", drop="newest", limits=dict(NARROW, max_queue=20 * HIGH))
    client, feed = asking(site, feeds, client=slow(site))
    head_of(client)
    feed.process(RawPacket(b"x" * 30 * HIGH))
    feed.close()
    assert feed.closing and not feed.exchange.answered
    body = b"".join(chunks(client))
    assert body.endswith(b"x\r\n--b--\r\n")
    site.turn(2)
    assert feed.told == [True]


@pytest.mark.parametrize("leave", [lambda it: it.client.reset(), lambda it: it.client.close(), lambda it: it.feed.abort(),
                                   lambda it: it.feed.exchange.abort(), lambda it: it.feed.exchange.close()])
def test_a_client_that_goes_while_packets_are_held(site, leave):
    it = Slow(site, drop="oldest", max_queue=5)
    it.put(3)
    leave(it)
    site.until(lambda: it.feed.told)
    assert it.feed.told == [False] and (it.feed.dropped, it.feed.depth) == (3, 0)


def test_a_client_that_takes_nothing_for_write_timeout_is_cut_off(site):
    it = Slow(site, drop="latest", limits=dict(NARROW, write_timeout=5.0))
    it.put(3)
    site.wait(4)
    assert it.feed.told == []
    site.wait(3)
    assert it.feed.told == [False] and it.feed.dropped == 3


# Many clients

@pytest.mark.parametrize("drop", ["newest", "oldest", "latest", "close"])
@pytest.mark.parametrize("shape", ["branches", "stages"])
def test_many_clients_of_one_stream_and_one_of_them_does_not_read(site, shape, drop):
    total = 120
    feeds = serving(site, ChunkedAdapter, drop=drop, max_queue=4)
    quick = [asking(site, feeds)[0] for _ in range(5)]
    lame, feed = asking(site, feeds, client=slow(site))
    trunk = PacketStream("trunk")
    if shape == "stages":
        for each in feeds:
            trunk.attach(each)
    trunk.start()
    if shape == "branches":
        for each in feeds:
            each.follow(trunk)
    for client in quick:
        head_of(client)
    head_of(lame)
    memory, came = bytearray(SIZE), [[] for _ in quick]
    for number in range(total):
        memory[:] = numbered(number)
        trunk.write(memory)
        for client, got in zip(quick, came):
            got.append(chunk(client))
    assert [numbers_in(got) for got in came] == [list(range(total))] * len(quick)
    assert feed.dropped > 10 and [each.dropped for each in feeds[:-1]] == [0] * len(quick)
    trunk.close()
    assert [chunk(client) for client in quick] == [b""] * len(quick)
    if drop != "close":
        got = numbers_in(chunks(lame))
        assert got == sorted(set(got)) and len(got) + feed.dropped == total


def test_clients_join_a_running_stream_and_get_what_comes_from_then_on(site):
    feeds = serving(site, SseAdapter)
    trunk = PacketStream("trunk")
    trunk.start()
    clients = []
    for number in range(4):
        client, feed = asking(site, feeds)
        feed.follow(trunk)
        head_of(client)
        clients.append(client)
        trunk.write(b"%d" % number)
    trunk.close()
    got = [b"".join(chunks(client)).replace(b"data: ", b"").replace(b"\n\n", b"") for client in clients]
    assert got == [b"0123", b"123", b"23", b"3"]


def test_a_signal_and_a_source_can_be_followed_too(site):
    feeds = serving(site, ChunkedAdapter)
    signal = icey.Signal()
    client, feed = asking(site, feeds)
    feed.follow(signal)
    signal.emit(b"from a signal")
    assert head_of(client) and chunk(client) == b"from a signal"
    client.close()
    site.until(lambda: feed.closed)
    assert len(signal) == 0
    client, feed = asking(site, feeds)
    source = icey.TimerSource(site.loop, 1.0, lambda count: b"%d" % count, most=3)
    feed.follow(source, sync_state=True)
    site.wait(5)
    assert client.answer().body == b"012"


@needs_threads
def test_from_a_thread_by_way_of_the_loop(site):
    feeds = serving(site, ChunkedAdapter, drop="oldest", max_queue=1000)
    client, feed = asking(site, feeds)
    stream = PacketStream()
    stream.attach(icey.AsyncPacketQueue())
    stream.attach(icey.SyncPacketQueue(site.loop), 1)
    stream.attach(feed, 2)
    stream.start()
    for number in range(50):
        stream.write(bytearray(b"%d " % number))
    stream.close()
    assert client.answer().body == b"".join(b"%d " % number for number in range(50))
    site.until(lambda: stream.closed)
    site.turn(2)
    assert feed.told == [True]


# What is lent

@pytest.mark.parametrize("kind", [ChunkedAdapter, MultipartAdapter, SseAdapter])
@pytest.mark.parametrize("drop", ["newest", "oldest", "latest", "close", "pause"])
def test_a_borrowed_packet_is_sent_or_copied_before_process_returns(site, kind, drop):
    feeds = serving(site, kind, drop=drop)
    client, feed = asking(site, feeds, client=slow(site))
    stream, memory = PacketStream(), bytearray(SIZE)
    stream.attach(feed)
    stream.start()
    count = 0
    while not (feed.dropped or feed.depth or feed.closed or not stream.active):
        memory[:] = b"%04d" % count * (SIZE // 4)
        stream.write(memory)
        memory[:] = b"BAD!" * (SIZE // 4)  # nobody looks at it any more
        if not PYPY:
            memory.append(0)  # nor holds on to it
            del memory[-1]
        count += 1
    assert count > 3
    if drop != "close":
        feed.close()
        body = b"".join(chunks(client)) if head_of(client) else b""
        assert b"BAD!" not in body
        seen = [int(piece[:4]) for piece in re.findall(rb"(?:[0-9]{4}){%d}" % (SIZE // 4), body)]
        assert seen == list(range(len(seen))) and len(seen) >= count - 1
    site.turn(3)


def test_what_a_socket_received_goes_out_again_without_being_kept(site):
    near, far = socket.socketpair()
    feeds = serving(site, ChunkedAdapter, drop="pause")
    client, feed = asking(site, feeds)
    upstream = icey.Stream(site.loop, near)
    feed.follow(StreamSource(upstream), sync_state=True)
    far.sendall(b"lent by the loop")
    far.close()
    assert client.answer().body == b"lent by the loop"
    upstream.close()


@pytest.mark.parametrize("options", [{"drop": "oldest", "max_queue": 1000}, {"drop": "pause"}])
def test_a_file_goes_out_whole_to_a_slow_client(site, tmp_path, options):
    path = tmp_path / "file"
    path.write_bytes(b"".join(map(numbered, range(100))))
    feeds = serving(site, ChunkedAdapter, **options)
    client, feed = asking(site, feeds, client=slow(site))
    branch = feed.follow(FileSource(site.loop, str(path), chunk=SIZE), sync_state=True)
    head_of(client)
    assert numbers_in(chunks(client)) == list(range(100))
    assert branch.dropped == feed.dropped == 0
