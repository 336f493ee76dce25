"""ChunkedAdapter and MultipartAdapter: exactly what goes over the wire, on every kind of answer."""
import array
import re

import pytest

import icey
from icey import FlagPacket, Packet, PacketFlags, PacketProcessor, PacketStream, RawPacket
from icey.http import ChunkedAdapter, MultipartAdapter, SseAdapter
from tests.support import http, needs
from tests.support.feeding import asking, chunk, chunks, head_of, serving

debug, clock, reports, loop, site, left = http.debug, http.clock, http.reports, http.loop, http.site, http.left

ALL = [ChunkedAdapter, MultipartAdapter, SseAdapter]
each_kind = pytest.mark.parametrize("kind", ALL)
FINAL = PacketFlags.FINAL


def streamed(site, kind, *packets, ask=(), client=None, version="1.1", **options):
    """What a client gets of an answer made of these packets, through a PacketStream: (fields of the head, body)."""
    feeds = serving(site, kind, **options)
    client, feed = asking(site, feeds, *(ask or ("GET", "/")), client=client, version=version)
    stream = PacketStream()
    stream.attach(feed)
    stream.start()
    for packet in packets:
        stream.write(packet)
    stream.close()
    head = head_of(client)
    body = b"".join(chunks(client)) if "transfer-encoding" in head else client.read_all()
    return head, body


# ChunkedAdapter

def test_each_packet_is_a_chunk_and_FINAL_is_the_last_one(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = PacketStream()
    stream.attach(feed)
    stream.start()
    head = head_of(client)
    assert (head["status"], head["transfer-encoding"]) == (200, "chunked")
    assert head["content-type"] == "application/octet-stream"
    assert "cache-control" not in head
    stream.write(b"one")
    assert client.read(8) == b"3\r\none\r\n"
    stream.write(bytearray(b"two, borrowed"))
    assert client.read(18) == b"d\r\ntwo, borrowed\r\n"
    stream.write(FlagPacket(FINAL))
    assert client.read(5) == b"0\r\n\r\n"
    site.until(lambda: feed.told)
    assert feed.told == [True] and feed.closed and feed.dropped == 0
    assert stream.stopped or stream.closed


def test_data_and_FINAL_in_one_packet(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    feed.process(RawPacket(b"all there is", FINAL))
    assert client.answer().body == b"all there is"
    assert feed.closing
    feed.process(RawPacket(b"late"))
    assert feed.dropped == 1


@pytest.mark.parametrize("empty", [b"", bytearray(), RawPacket(b""), FlagPacket(0), FlagPacket(256), Packet()])
def test_an_empty_packet_is_nothing_and_does_not_end_the_answer(site, empty):
    _, body = streamed(site, ChunkedAdapter, b"a", empty, b"b")
    assert body == b"ab"


def test_the_connection_serves_the_next_request_afterwards(site):
    feeds = serving(site, ChunkedAdapter, each=lambda feed: feed.process(RawPacket(b"x", FINAL)))
    client = site.client()
    for _ in range(3):
        assert client.get().body == b"x"
    site.turn(2)
    assert [feed.told for feed in feeds] == [[True]] * 3


def test_packets_are_passed_on(site):
    feeds = serving(site, ChunkedAdapter)
    clients = [asking(site, feeds)[0] for _ in range(3)]
    stream, came = PacketStream(), []
    stream.on_packet += lambda packet: came.append(bytes(packet.data))
    for feed in feeds:
        stream.attach(feed)
    stream.start()
    stream.write(bytearray(b"for all"))
    stream.write(b"", FINAL)
    assert [client.answer().body for client in clients] == [b"for all"] * 3
    assert came == [b"for all", b""]


def test_items_wider_than_a_byte_and_packets_of_other_classes(site):
    class Odd(Packet):
        data = b"of a class of its own"
        size = len(data)

    _, body = streamed(site, ChunkedAdapter, array.array("H", [0x4141, 0x4242]), Odd())
    assert body == b"AABBof a class of its own"


# MultipartAdapter

def test_multipart_to_the_byte(site):
    feeds = serving(site, MultipartAdapter, boundary="here", content_type="image/png")
    client, feed = asking(site, feeds, version="1.0")
    for picture in (b"first", bytearray(b"second\r\n"), b"--here"):
        feed.process(RawPacket(picture))
    feed.process(FlagPacket(FINAL))
    head = head_of(client)
    assert head["content-type"] == "multipart/x-mixed-replace; boundary=here"
    assert (head["cache-control"], head["x-accel-buffering"]) == ("no-cache", "no")
    assert client.read_all() == (
        b"--here\r\nContent-Type: image/png\r\nContent-Length: 5\r\n\r\nfirst\r\n"
        b"--here\r\nContent-Type: image/png\r\nContent-Length: 8\r\n\r\nsecond\r\n\r\n"
        b"--here\r\nContent-Type: image/png\r\nContent-Length: 6\r\n\r\n--here\r\n"
        b"--here--\r\n")


def test_each_part_is_one_chunk(site):
    feeds = serving(site, MultipartAdapter, boundary="b")
    client, feed = asking(site, feeds)
    head_of(client)
    feed.process(RawPacket(b"picture"))
    assert chunk(client) == b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: 7\r\n\r\npicture\r\n"
    feed.close()
    assert chunk(client) == b"--b--\r\n"
    assert chunk(client) == b""


def test_no_part_at_all_is_an_end_alone(site):
    _, body = streamed(site, MultipartAdapter, boundary="b")
    assert body == b"--b--\r\n"


def test_boundaries_are_random_and_said_in_the_head(site):
    seen = set()
    for _ in range(3):
        head, body = streamed(site, MultipartAdapter, b"x")
        boundary = re.fullmatch(r"multipart/x-mixed-replace; boundary=(icey-[0-9a-f]{32})", head["content-type"]).group(1)
        assert body.startswith(b"--%s\r\n" % boundary.encode()) and body.endswith(b"\r\n--%s--\r\n" % boundary.encode())
        seen.add(boundary)
    assert len(seen) == 3


@pytest.mark.parametrize("boundary, written", [
    ("simple", "simple"), ("x" * 70, "x" * 70), ("a b", '"a b"'), ("it's(here)", '"it\'s(here)"'), ("a:b=c?", '"a:b=c?"')])
def test_a_boundary_of_yours_is_quoted_where_it_must_be(site, boundary, written):
    head, body = streamed(site, MultipartAdapter, b"x", boundary=boundary)
    assert head["content-type"] == "multipart/x-mixed-replace; boundary=" + written
    assert body.startswith(b"--" + boundary.encode() + b"\r\n")


@pytest.mark.parametrize("boundary", ["", "x" * 71, "a\r\nb", "ends with space ", 'a"b', "\u00e9", "a\0b", "a;b"])
def test_a_malformed_boundary_is_ValueError_and_nothing_was_sent(site, reports, boundary):
    site.serve(lambda exchange: MultipartAdapter(exchange, boundary=boundary))
    assert site.client().get().status == 500
    assert "RFC 2046" in str(reports.take(ValueError)[0])


@pytest.mark.parametrize("kind", [ChunkedAdapter, MultipartAdapter])
def test_a_content_type_cannot_smuggle_a_header(site, reports, kind):
    site.serve(lambda exchange: kind(exchange, content_type="a/b\r\nX: y"))
    assert site.client().get().status == 500
    reports.take(ValueError)


# The head

@each_kind
def test_status_and_headers_of_yours_are_kept(site, kind):
    def make(exchange, **options):
        exchange.response.status = 206
        exchange.response.headers["Content-Type"] = "mine/own"
        exchange.response.headers["cache-control"] = "no-store"
        exchange.response.headers["X-Mine"] = "yes"
        return kind(exchange, **options)

    head, _ = streamed(site, make, b"x")
    assert (head["status"], head["content-type"], head["cache-control"], head["x-mine"]) == (206, "mine/own", "no-store", "yes")


@each_kind
def test_the_head_goes_out_at_once(site, kind):
    feeds = serving(site, kind)
    client, feed = asking(site, feeds)
    assert head_of(client)["status"] == 200
    assert feed.exchange.state is icey.http.ServerState.STREAMING
    assert client.silent()


@each_kind
def test_an_answer_that_has_begun_goes_on(site, kind):
    def make(exchange, **options):
        exchange.response.headers["Content-Type"] = "text/plain"
        exchange.send(b"before ")
        return kind(exchange, **options)

    head, body = streamed(site, make, b"packet")
    assert head["content-type"] == "text/plain" and "cache-control" not in head
    assert body.startswith(b"before ") and b"packet" in body


@each_kind
def test_an_exchange_that_is_over_is_StateError(site, kind):
    refused = []

    def slot(exchange):
        exchange.respond(200, b"x")
        with pytest.raises(icey.StateError):
            kind(exchange)
        refused.append(kind)

    site.serve(slot)
    assert site.client().get().body == b"x"
    assert refused == [kind]


@each_kind
@pytest.mark.parametrize("options, text", [
    ({"drop": "all"}, "drop is one of newest, oldest, latest, close, pause"), ({"drop": None}, "drop is one of"),
    ({"max_queue": 0}, "max_queue is 1 packet or more"), ({"max_queue": True}, "max_queue"), ({"max_queue": 1.5}, "max_queue")])
def test_wrong_options_are_ValueError_before_anything_is_sent(site, reports, kind, options, text):
    site.serve(lambda exchange: kind(exchange, **options))
    assert site.client().get().status == 500
    assert text in str(reports.take(ValueError)[0])


# Answers without a body, HTTP/1.0, a length given, TLS

@each_kind
def test_HEAD_is_answered_at_once_and_packets_are_counted(site, kind):
    feeds = serving(site, kind)
    client = site.client()
    for _ in range(2):
        client.ask("HEAD", "/")
        answer = client.answer("HEAD")
        assert answer.status == 200 and "content-length" not in answer and "transfer-encoding" not in answer
        feed = feeds[-1]
        site.until(lambda feed=feed: feed.closed)
        assert feed.told == [True]
        feed.process(RawPacket(b"x"))
        feed.process(FlagPacket(FINAL))
        assert feed.dropped == 1
    assert client.silent()


@each_kind
def test_a_stream_whose_only_client_asked_by_HEAD_is_closed(site, kind):
    source = PacketStream("source")
    source.start()
    branches = []
    feeds = serving(site, kind, each=lambda feed: branches.append(feed.follow(source)))
    site.client().ask("HEAD", "/")
    site.until(lambda: feeds and feeds[0].closed)
    assert branches[0].closed and len(source.on_packet) == 0
    source.close()


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_likewise(site, status):
    def make(exchange):
        exchange.response.status = status
        return ChunkedAdapter(exchange)

    feeds = serving(site, make)
    client = site.client()
    client.ask()
    assert client.answer().status == status
    site.until(lambda: feeds[0].told)
    assert feeds[0].told == [True]


@pytest.mark.parametrize("kind, body", [
    (ChunkedAdapter, b"onetwo"), (SseAdapter, b"data: one\n\ndata: two\n\n")])
def test_HTTP_1_0_gets_it_until_the_connection_closes(site, kind, body):
    head, got = streamed(site, kind, b"one", b"two", version="1.0")
    assert got == body and head["connection"] == "close" and "transfer-encoding" not in head


def test_a_length_given_is_held_to(site):
    def make(exchange):
        exchange.response.headers["Content-Length"] = "6"
        return ChunkedAdapter(exchange)

    feeds = serving(site, make)
    client, feed = asking(site, feeds)
    feed.process(RawPacket(b"one"))
    feed.process(RawPacket(b"two", FINAL))
    assert client.answer().body == b"onetwo"


def test_beyond_a_length_given_is_the_streams_error(site):
    def make(exchange):
        exchange.response.headers["Content-Length"] = "4"
        return ChunkedAdapter(exchange)

    feeds = serving(site, make)
    client, feed = asking(site, feeds)
    stream, errors = PacketStream(), []
    stream.on_error += lambda stream, exc: errors.append(exc)
    stream.attach(feed)
    stream.start()
    stream.write(bytearray(b"one"))
    stream.write(bytearray(b"two"))
    assert "beyond the Content-Length" in str(errors[0]) and stream.closed
    site.until(lambda: feed.told)
    assert feed.told == [False]
    assert site.gone()


def test_over_TLS(site, tmp_path):
    needs("ssl")
    from icey.tools.cli.certificate import self_signed_files

    cert, key = self_signed_files(str(tmp_path), ["127.0.0.1"])
    pictures = [bytes([number]) * 50000 for number in range(5)]

    def slot(exchange):
        feed = MultipartAdapter(exchange, boundary="b", drop="oldest")
        for picture in pictures:
            feed.process(RawPacket(bytearray(picture)))
        feed.close()

    server = site.serve(slot, tls=icey.tls.server_context(cert, key))
    conn = icey.http.ClientConnection(site.loop, "https://%s/" % server.address, tls=icey.tls.client_context(ca=cert))
    body, done = bytearray(), []
    conn.on_payload += lambda conn, view: body.extend(view)
    conn.on_complete += lambda conn: (done.append(True), conn.close())
    conn.on_error += lambda conn, exc: done.append(exc)
    conn.start()
    site.until(lambda: done)
    assert done == [True]
    part = b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: 50000\r\n\r\n%s\r\n"
    assert bytes(body) == b"".join(part % picture for picture in pictures) + b"--b--\r\n"


# In a stream

def test_it_says_where_it_works_so_that_lint_finds_a_thread_before_it(site):
    needs("threading")
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = PacketStream()
    stream.attach(icey.AsyncPacketQueue())
    stream.attach(feed, 1)
    assert "nothing hops between them" in stream.lint()[0]
    with pytest.raises(icey.GraphError):
        stream.start()
    feed.close()


def test_its_retention_is_BORROWED_and_a_graph_with_it_needs_no_boundary(site):
    feeds = serving(site, ChunkedAdapter, each=lambda feed: feed.close())
    asking(site, feeds)
    stream = PacketStream()
    stream.attach(feeds[0])
    assert feeds[0].retention is icey.PacketRetention.BORROWED and not feeds[0].deferred
    assert stream.lint() == [] and stream.boundary is None and "ChunkedAdapter" in stream.describe()


def test_from_another_thread_it_is_AffinityError(site):
    from tests.support.loops import in_thread

    feeds = serving(site, SseAdapter)
    asking(site, feeds)
    feed = feeds[0]
    for touch in (lambda: feed.process(RawPacket(b"x")), lambda: feed.event("x"), feed.comment, feed.close, feed.abort,
                  lambda: feed.on_close.attach(print), lambda: feed.follow(icey.Signal())):
        with pytest.raises(icey.AffinityError):
            in_thread(touch)
    assert not feed.closing and feed.dropped == 0


def test_a_stage_that_swallows_FINAL_does_not_keep_the_answer_open(site):
    class Upper(PacketProcessor):
        def process(self, packet):
            if packet.size:
                self.emit(bytes(packet.data).upper())

    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    stream = PacketStream()
    stream.attach(Upper())
    stream.attach(feed, 1)
    stream.start()
    stream.write(b"shout")
    stream.write(b"", FINAL)
    assert client.answer().body == b"SHOUT"


def test_repr(site):
    feeds = serving(site, ChunkedAdapter)
    client, feed = asking(site, feeds)
    assert repr(feed) == "<ChunkedAdapter open>" and not feed.closed
    feed.close()
    assert repr(feed) == "<ChunkedAdapter ended>" and feed.closing
    site.until(lambda: feed.closed)
    assert repr(feed) == "<ChunkedAdapter closed>"


def test_no_exchange_stays_in_memory(site, left):
    feeds = serving(site, SseAdapter)
    for _ in range(3):
        client, feed = asking(site, feeds)
        feed.event("x")
        client.close()
        site.gone()
    feeds.clear()
    del feed, client
    site.close()
    site.wait(20)  # a loop forgets a timer that was stopped when its time has passed
    assert left() == 0
