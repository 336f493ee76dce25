"""SseAdapter: events to the byte, what may not be in them, and the comments that keep a silent connection alive."""
import re

import pytest

from icey import FlagPacket, Packet, PacketFlags, PacketStream, RawPacket, SyncPacketQueue
from icey.http import EventPacket, SseAdapter
from tests.support import feeding, http
from tests.support.feeding import asking, chunk, drain, head_of, serving, slow

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

FINAL = PacketFlags.FINAL


def opened(site, *fields, **options):
    """(client, feed, fields of the head)."""
    feeds = serving(site, SseAdapter, **options)
    client, feed = asking(site, feeds, "GET", "/", *fields)
    return client, feed, head_of(client)


def wire(site, send, **options):
    """What goes out when `send(feed)` is called."""
    client, feed, _ = opened(site, **options)
    send(feed)
    feed.close()
    body = b""
    while True:
        piece = chunk(client)
        if not piece:
            return body
        body += piece


def parsed(data):
    """A reader of event streams, as WHATWG HTML section 9.2.6 has it: [(event, data, id)], the retry times seen."""
    events, retries = [], []
    name = buffer = last = ""
    for line in re.split("\r\n|\r|\n", data.decode("utf-8")):
        if not line:
            if buffer:
                events.append((name or "message", buffer[:-1], last))
            name = buffer = ""
            continue
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "event":
            name = value
        elif field == "data":
            buffer += value + "\n"
        elif field == "id" and "\0" not in value:
            last = value
        elif field == "retry" and value.isdigit():
            retries.append(int(value))
    return events, retries


def test_the_head(site):
    _, _, head = opened(site)
    assert (head["status"], head["content-type"]) == (200, "text/event-stream")
    assert (head["cache-control"], head["x-accel-buffering"]) == ("no-cache", "no")


@pytest.mark.parametrize("data, options, expected", [
    ("hello", {}, b"data: hello\n\n"),
    (b"hello", {}, b"data: hello\n\n"),
    (bytearray(b"hello"), {}, b"data: hello\n\n"),
    (memoryview(b"hello")[1:], {}, b"data: ello\n\n"),
    ("", {}, b"data: \n\n"),
    (" leading", {}, b"data:  leading\n\n"),
    ("gr\u00fc\u00dfe \U0001f600", {}, "data: gr\u00fc\u00dfe \U0001f600\n\n".encode("utf-8")),
    ("one\ntwo", {}, b"data: one\ndata: two\n\n"),
    ("one\rtwo", {}, b"data: one\ndata: two\n\n"),
    ("one\r\ntwo", {}, b"data: one\ndata: two\n\n"),
    ("\n\r\r\n", {}, b"data: \ndata: \ndata: \ndata: \n\n"),
    ("end\n", {}, b"data: end\ndata: \n\n"),
    ("data: x\n\nevent: fake", {}, b"data: data: x\ndata: \ndata: event: fake\n\n"),
    ("a\x0b\x0c\x1c\x85\u2028b", {}, "data: a\x0b\x0c\x1c\x85\u2028b\n\n".encode("utf-8")),
    ("x", {"event": "move"}, b"event: move\ndata: x\n\n"),
    ("x", {"id": "7"}, b"id: 7\ndata: x\n\n"),
    ("x", {"id": 7}, b"id: 7\ndata: x\n\n"),
    ("x", {"id": ""}, b"id: \ndata: x\n\n"),
    ("x", {"retry": 2.5}, b"retry: 2500\ndata: x\n\n"),
    ("x", {"retry": 0}, b"retry: 0\ndata: x\n\n"),
    ("x", {"event": "m\u00f6ve", "id": "\u00e9", "retry": 1},
     "event: m\u00f6ve\nid: \u00e9\nretry: 1000\ndata: x\n\n".encode("utf-8")),
])
def test_an_event_to_the_byte(site, data, options, expected):
    assert wire(site, lambda feed: feed.event(data, **options)) == expected


@pytest.mark.parametrize("data", ["one\ntwo", "\r\r", "a\r\n\nb\r", "", " x", ":x", "\u2028", "event: y\ndata: z"])
def test_what_a_reader_makes_of_it_is_the_data_with_its_line_ends_as_one(site, data):
    events, _ = parsed(wire(site, lambda feed: feed.event(data, event="e", id="i")))
    assert events == [("e", re.sub("\r\n|\r", "\n", data), "i")]


@pytest.mark.parametrize("name", ["event", "id"])
@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\r\nb", "a\0b", "\n", "x\ndata: injected"])
def test_line_ends_and_NUL_in_names_and_ids_are_ValueError_and_nothing_is_sent(site, name, value):
    def send(feed):
        with pytest.raises(ValueError, match="the %s of an event has no line end and no NUL" % name):
            feed.event("x", **{name: value})
        with pytest.raises(ValueError):
            EventPacket(b"x", **{name: value})
        feed.event("good")

    assert wire(site, send) == b"data: good\n\n"


@pytest.mark.parametrize("data", [b"\xff", b"caf\xe9", bytearray(b"\xed\xa0\x80"), b"\xc3", "\ud800"])
def test_what_is_no_UTF_8_is_ValueError(site, data):
    def send(feed):
        with pytest.raises(ValueError, match="UTF-8|utf-8"):
            feed.event(data)

    assert wire(site, send) == b""


@pytest.mark.parametrize("data", [5, None, ["x"], object()])
def test_what_is_not_text_is_TypeError(site, data):
    def send(feed):
        with pytest.raises(TypeError):
            feed.event(data)

    assert wire(site, send) == b""


def test_event_says_whether_there_is_room(site):
    feeds = serving(site, SseAdapter)
    client, feed = asking(site, feeds, client=slow(site))
    feeding.fill(feed, feed.event)
    assert feed.event("x") is False and feed.dropped == 1
    assert feed.comment() is False and feed.dropped == 2
    drain(client, feed)
    assert feed.event("x") is True and feed.comment() is True
    feed.close()
    assert feed.event("late") is False and feed.dropped == 3


# Comments

@pytest.mark.parametrize("text, expected", [
    ("", b":\n\n"), ("hello", b": hello\n\n"), ("one\rtwo\n\nthree", b": one\n: two\n:\n: three\n\n"),
    ("data: no", b": data: no\n\n"), ("\u00fc", b": \xc3\xbc\n\n")])
def test_a_comment_to_the_byte(site, text, expected):
    made = wire(site, lambda feed: feed.comment(text))
    assert made == expected and parsed(made) == ([], [])


# Packets

def test_packets_are_events(site):
    client, feed, _ = opened(site)
    stream = PacketStream()
    stream.attach(feed)
    stream.start()
    stream.write(b"one")
    stream.write(bytearray(b"two\nlines"))
    stream.write(EventPacket(b"three", event="count", id=3))
    stream.write(RawPacket(b""))
    stream.write(FlagPacket(0))
    stream.write(RawPacket(b"last", FINAL))
    assert client.read_until(b"0\r\n\r\n").count(b"data:") == 6
    assert feed.closing


def test_packets_to_the_byte(site):
    class Text(Packet):
        data = "str\nis taken too"
        size = 1

    def send(feed):
        for packet in (EventPacket(b"x", event="e", id="1"), EventPacket(bytearray(b"y")), RawPacket(b""), FlagPacket(0),
                       Text(), RawPacket(b"", FINAL)):
            feed.process(packet)

    assert wire(site, send) == (
        b"event: e\nid: 1\ndata: x\n\n" b"data: y\n\n" b"data: \n\n" b"data: str\ndata: is taken too\n\n")


def test_a_packet_that_is_no_UTF_8_is_the_streams_error_and_cuts_the_answer(site):
    client, feed, _ = opened(site)
    stream, errors = PacketStream(), []
    stream.on_error += lambda stream, exc: errors.append(str(exc))
    stream.attach(feed)
    stream.start()
    stream.write(b"good")
    stream.write(bytearray(b"\xff"))
    assert "an event is UTF-8 text" in errors[0] and "base64" in errors[0]
    assert chunk(client) == b"data: good\n\n"
    site.until(lambda: feed.told)
    assert feed.told == [False] and client.at_reset()


def test_an_EventPacket_goes_through_a_queue(site):
    client, feed, _ = opened(site)
    stream = PacketStream()
    stream.attach(SyncPacketQueue(site.loop))
    stream.attach(feed, 1)
    stream.start()
    stream.write(EventPacket(bytearray(b"x"), event="e", id=9))
    stream.close()
    assert chunk(client) == b"event: e\nid: 9\ndata: x\n\n"
    assert chunk(client) == b""


def test_clone_and_retain_of_an_EventPacket():
    memory = bytearray(b"x")
    packet = EventPacket(memory, 256, event="e", id=0)
    copy = packet.clone()
    memory[:] = b"y"
    assert type(copy) is EventPacket and not copy.borrowed
    assert (bytes(copy.data), copy.flags, copy.event, copy.id) == (b"x", 256, "e", 0)
    assert (bytes(packet.retain().data), packet.event, packet.id) == (b"y", "e", 0)


# Coming again

def test_retry_goes_first_in_milliseconds(site):
    made = wire(site, lambda feed: feed.event("x"), retry=1.5)
    assert made == b"retry: 1500\n\ndata: x\n\n" and parsed(made) == ([("message", "x", "")], [1500])


@pytest.mark.parametrize("field, expected", [
    ((), None), (("Last-Event-ID: 42",), "42"), (("last-event-id: a b",), "a b"), (("Last-Event-ID:",), ""),
    (("Last-Event-ID: \u00c3\u00bc",), "\u00fc"), (("Last-Event-ID: \u00ff",), "\ufffd")])
def test_last_event_id(site, field, expected):
    _, feed, _ = opened(site, *field)
    assert feed.last_event_id == expected


@pytest.mark.parametrize("options", [
    {"retry": -1}, {"retry": float("nan")}, {"retry": float("inf")}, {"keep_alive": 0}, {"keep_alive": -1},
    {"keep_alive": float("nan")}, {"keep_alive": float("inf")}])
def test_wrong_times_are_ValueError_before_anything_is_sent(site, reports, options):
    site.serve(lambda exchange: SseAdapter(exchange, **options))
    assert site.client().get().status == 500
    reports.take(ValueError)


# Keeping alive

def test_a_comment_when_nothing_was_sent_for_keep_alive_seconds(site):
    client, feed, _ = opened(site, keep_alive=10.0)
    site.wait(9.9)
    assert client.silent()
    site.wait(0.2)
    assert chunk(client) == b":\n\n"
    site.wait(9.8)
    assert client.silent()
    site.wait(0.2)
    assert chunk(client) == b":\n\n"


def test_15_seconds_unless_you_say(site):
    client, feed, _ = opened(site)
    site.wait(14.9)
    assert client.silent()
    site.wait(0.2)
    assert chunk(client) == b":\n\n"


@pytest.mark.parametrize("send", [
    lambda feed: feed.event("x"), lambda feed: feed.comment("x"), lambda feed: feed.process(RawPacket(b"x"))])
def test_whatever_is_sent_puts_it_off(site, send):
    client, feed, _ = opened(site, keep_alive=10.0)
    for _ in range(5):
        site.wait(7)
        send(feed)
        assert b"x" in chunk(client)
    site.wait(9.9)
    assert client.silent()
    site.wait(0.2)
    assert chunk(client) == b":\n\n"


def test_None_is_none(site):
    client, feed, _ = opened(site, keep_alive=None)
    site.wait(3600)
    assert client.silent() and not feed.closing


def test_a_slow_client_gets_no_comments_on_top_and_they_are_not_counted(site):
    feeds = serving(site, SseAdapter, keep_alive=5.0, limits=dict(feeding.NARROW, write_timeout=None))
    client, feed = asking(site, feeds, client=slow(site))
    feeding.fill(feed, feed.event)
    queued = feed.exchange.connection.stream.queued
    site.wait(60)
    assert feed.exchange.connection.stream.queued == queued and feed.dropped == 0
    drain(client, feed)
    feed.event("end")
    assert b"data: end" in client.read_until(b"end\n\n")
    site.wait(5.1)
    assert client.read_until(b":\n\n\r\n").endswith(b"3\r\n:\n\n\r\n")


@pytest.mark.parametrize("end", [
    lambda client, feed: feed.close(), lambda client, feed: feed.abort(), lambda client, feed: client.close(),
    lambda client, feed: client.reset(), lambda client, feed: feed.exchange.end(), lambda client, feed: feed.exchange.abort()])
def test_the_timer_ends_with_the_answer_however_that_ends(site, end):
    client, feed, _ = opened(site, keep_alive=5.0)
    assert sum(type(handle).__name__ == "Timer" and handle.interval is None for handle in site.loop.handles) == 1
    end(client, feed)
    site.until(lambda: feed.told)
    assert not [handle for handle in site.loop.handles if type(handle).__name__ == "Timer" and handle.interval is None]
    site.wait(20)


def test_a_beat_between_the_loss_and_on_close_is_harmless(site):
    client, feed, _ = opened(site, keep_alive=5.0)
    feed._sent_at -= 10
    feed.exchange.abort()
    feed._watchdog.stop()
    feed._beat()
    assert not feed._watchdog.watching and feed.dropped == 1
    site.until(lambda: feed.told)


def test_keep_alive_does_not_keep_the_loop_running():
    import icey
    from icey.tools.testing import virtual_loop

    loop, clock = virtual_loop()
    feeds = []
    server = icey.http.Server(loop, "127.0.0.1", 0).start()
    server.on_request += lambda exchange: feeds.append(SseAdapter(exchange))
    client = http.Client.connect(loop, server.address)
    client.ask()
    while not feeds:
        loop.run_once(0)
    server.close()
    loop.run()
    assert feeds[0].closed
    client.close()
    loop.close()
