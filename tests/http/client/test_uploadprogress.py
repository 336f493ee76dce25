"""on_upload_progress: what a server has taken of a request's body, by whatever way the body comes and goes."""
import io

import pytest

import icey
from icey.http import ClientConnection
from tests.support import lacks, rawserver
from tests.support.rawserver import answer

debug, clock, reports, loop, raw, slow, moves = (
    rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop, rawserver.raw, rawserver.slow, rawserver.moves)

BODY = bytes(range(256)) * 400
CHUNKED = {"Transfer-Encoding": "chunked"}
TELLS = not (lacks("fcntl") or lacks("termios"))  # the system says what a peer has not taken


@pytest.fixture(params=["connection", "call"])
def uploading(request, raw):
    """A function: (what was told, the connection or the call), of a POST under way."""
    def begin(body, headers=None, on=raw, **options):
        if request.param == "connection":
            conn = on.connection("/up", method="POST", headers=headers, **options)
        else:
            conn = on.ask("POST", "/up", client=on.client(**options), headers=headers, body=body).call
        told = watch(conn)
        if request.param == "connection":
            conn.start(body=body)
        return told, conn

    return begin


def watch(conn):
    """A list that gets (sent, total)."""
    told = []
    conn.on_upload_progress += lambda conn, sent, total: told.append((sent, total))
    return told


def rises(told, total):
    """Whether it went up, step by step, to no more than all."""
    sent = [sent for sent, _ in told]
    return sent == sorted(set(sent)) and {all for _, all in told} == {total}


BODIES = {
    "bytes": (lambda: BODY, len(BODY)), "file": (lambda: io.BytesIO(BODY), len(BODY)),
    "pieces": (lambda: iter([BODY[:7], BODY[7:70000], BODY[70000:]]), None), "few bytes": (lambda: b"few", 3),
}


@pytest.mark.parametrize("kind", BODIES)
def test_it_ends_with_all_of_it(raw, uploading, kind):
    make, total = BODIES[kind]
    told, conn = uploading(make())
    server = raw.accept()
    body = server.request().body
    server.answer(b"")
    raw.turn(5)
    assert rises(told, total) and told[-1] == (len(body), total) and all(sent for sent, _ in told)
    conn.close()


@pytest.mark.parametrize("body, total", [(b"", 0), (iter(()), None)])
def test_of_an_empty_body_that_is_said_once(raw, uploading, body, total):
    told, conn = uploading(body)
    raw.accept().reply(b"")
    raw.turn(5)
    assert told == [(0, total)]
    conn.close()


def test_without_a_body_nothing_is_told(raw, uploading):
    told, conn = uploading(None)
    raw.accept().reply(b"")
    raw.turn(5)
    assert told == []
    conn.close()


@pytest.mark.parametrize("headers, total", [({"Content-Length": "8"}, 8), (CHUNKED, None), ({}, None)])
def test_a_body_by_send(raw, headers, total):
    conn = raw.connection(method="POST", headers=headers)
    told = watch(conn)
    conn.start()
    conn.send(b"four")
    server = raw.accept()
    server.head()
    raw.turn(3)
    raw.wait(0.3)
    assert told[-1] == (4, total)
    count = len(told)
    raw.wait(60)
    assert len(told) == count, "nothing new, nothing told"
    conn.send_owned(b"more")
    if total is None:
        conn.end()
    server.read_until(b"more")
    server.answer(b"")
    raw.rest(conn)
    assert rises(told, total) and told[-1] == (8, total)
    conn.close()


def test_one_request_after_the_other_begins_anew(raw):
    conn = raw.connection(method="POST")
    told, server = watch(conn), None
    for size in (100000, 10, 200000):
        told.clear()
        conn.start(body=bytes(size))
        server = server or raw.accept()
        assert len(server.reply(b"").body) == size
        raw.rest(conn)
        assert rises(told, size) and told[-1] == (size, size)
    conn.close()


def test_a_slot_that_comes_late_and_one_that_goes(raw):
    conn = raw.connection(method="POST", headers=CHUNKED)
    conn.start()
    conn.send(b"one")
    server = raw.accept()
    server.head()
    told = []
    slot = conn.on_upload_progress.attach(lambda conn, sent, total: told.append(sent))
    conn.send(b"two")
    raw.wait(0.3)
    assert told[-1] == 6
    conn.on_upload_progress.detach(slot)
    conn.send(b"three")
    conn.end()
    raw.wait(0.3)
    assert told[-1] == 6
    conn.on_upload_progress.attach(slot)
    server.read_until(b"0\r\n\r\n")
    server.answer(b"")
    raw.rest(conn)
    assert told[-1] == 11
    conn.close()


# Slow peers

@pytest.fixture
def roomy(loop, clock, moves):
    """As `slow`, with buffers of a size with which the kernel does not wait for acknowledgements."""
    roomy = rawserver.Raw(loop, clock, receive=65536)
    yield roomy
    roomy.close()
    rawserver.turn(loop, 3)


def test_one_large_piece_moves_in_steps_as_the_peer_takes_it(roomy, uploading, send_queues):
    send_queues.real()
    size, taken, seen = 4 << 20, 0, []
    told, conn = uploading(bytes(size), on=roomy)
    server = roomy.accept()
    server.head()
    while taken < size:
        taken += len(server.read(256 << 10))
        roomy.wait(0.1)
        seen.append(told[-1][0] if told else 0)
        assert not TELLS or seen[-1] <= taken + (1 << 20), "it is not far ahead of the peer"
    server.answer(b"")
    roomy.turn(5)
    assert rises(told, size) and told[-1] == (size, size)
    assert len(set(seen)) >= len(seen) * 3 // 4, "it moves with the peer"
    conn.close()


def test_what_the_peer_takes_is_seen_although_the_kernel_has_all(raw, uploading, send_queues):
    """20 KB a second, as the system tells of it; the head, which is before the body, counts for nothing."""
    size, rate = 100000, 20000
    send_queues[None] = size + 150
    told, conn = uploading(bytes(size))
    server = raw.accept()
    server.request()
    raw.wait(1)
    assert told == []
    for left in range(size + 100, 0, -rate // 10):
        send_queues[None] = left
        raw.wait(0.1)
        assert (told[-1][0] if told else 0) == max(0, size - left)
    send_queues[None] = 1
    raw.wait(0.2)
    assert told[-1] == (size - 1, size)
    raw.wait(5)
    assert told[-1] == (size - 1, size)
    send_queues[None] = 0
    raw.wait(0.2)
    assert told[-1] == (size, size) and rises(told, size)
    count = len(told)
    server.answer(b"")
    raw.wait(1)
    assert len(told) == count
    conn.close()


def test_what_frames_a_body_is_behind_it_and_never_counts(raw, send_queues):
    conn = raw.connection(method="POST", headers=CHUNKED)
    told = watch(conn)
    conn.start()
    server = raw.accept()
    server.head()
    send_queues[None] = 0
    for size, left, sent in ((1, 6, 0), (1, 12, 0), (1, 6, 0), (1, 1, 3), (1, 0, 5), (1000, 1007, 5), (1000, 507, 1505 - 7)):
        send_queues[None] = left
        conn.send(bytes(size))
        raw.wait(0.1)
        assert (told[-1][0] if told else 0) == sent, (size, left)
    send_queues[None] = 0
    conn.end()
    raw.wait(0.1)
    assert rises(told, None) and told[-1][0] == 2005
    conn.close()


def test_what_the_kernel_stretches_takes_nothing_back(raw, send_queues):
    """More in the system than before, and nothing given: what was told stays."""
    conn = raw.connection(method="POST")
    told = watch(conn)
    send_queues[None] = 500
    conn.start(body=bytes(1000))
    raw.accept().request()
    raw.wait(0.1)
    assert told == [(500, 1000)]
    send_queues[None] = 700
    raw.wait(1)
    assert told == [(500, 1000)]
    conn.close()


def test_a_peer_that_never_reads(slow):
    conn = slow.connection(method="POST", limits={"write_timeout": 5.0})
    told = watch(conn)
    conn.start(body=bytes(4 << 20))
    slow.accept().head()
    slow.wait(2)
    count = len(told)
    slow.wait(2)
    assert len(told) <= count + 1 and (not told or told[-1][0] < 1 << 20)
    slow.wait(10)
    assert conn.closed and isinstance([rest for name, *rest in conn.seen if name == "error"][0][0], icey.Deadline)


def test_where_the_system_does_not_tell_what_the_kernel_took_counts(slow, monkeypatch):
    from icey.http.client import uploadprogress

    monkeypatch.setattr(uploadprogress, "unacknowledged", lambda fd: None)
    conn = slow.connection(method="POST")
    told = watch(conn)
    conn.start(body=bytes(1 << 20))
    server = slow.accept()
    server.head()
    slow.turn(5)
    first = told[-1][0]
    assert 0 < first == (1 << 20) - conn.queued
    server.read(1 << 20)
    server.answer(b"")
    slow.rest(conn)
    assert rises(told, 1 << 20) and told[-1][0] == 1 << 20
    conn.close()


# Bodies that wait, that are refused, that go again

@pytest.mark.parametrize("body", [BODY, None], ids=["bytes", "by send"])
def test_100_continue(raw, body):
    conn = raw.connection(method="POST", headers=dict(CHUNKED if body is None else {}, Expect="100-continue"))
    told = watch(conn)
    conn.start(body=body)
    if body is None:
        conn.send(BODY)
        conn.end()
    server = raw.accept()
    server.head()
    raw.wait(0.5)
    assert told == []
    server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert (server.read(len(BODY)) if body else rawserver.read_chunks(server)) == BODY
    server.answer(b"")
    raw.rest(conn)
    assert told[-1][0] == len(BODY)
    conn.close()


@pytest.mark.parametrize("body", [BODY, None], ids=["bytes", "by send"])
def test_a_body_that_is_refused_was_not_sent(raw, body):
    conn = raw.connection(method="POST", headers=dict(CHUNKED if body is None else {}, Expect="100-continue"))
    told = watch(conn)
    conn.start(body=body)
    if body is None:
        conn.send(BODY)
        conn.end()
    server = raw.accept()
    server.head()
    server.answer(b"", status="413 No")
    raw.rest(conn)
    assert told == [] and "complete" in rawserver.story(conn.seen)


def test_an_early_answer_ends_it_where_it_is(slow):
    size = 4 << 20
    conn = slow.connection(method="POST")
    told = watch(conn)
    conn.start(body=bytes(size))
    server = slow.accept()
    server.head()
    server.answer(b"", "Connection: close", status="413 No")
    slow.until(lambda: conn.closed)
    assert not told or told[-1][0] < size
    count = len(told)
    slow.wait(5)
    assert len(told) == count


@pytest.mark.parametrize("status", ["307 Temporary Redirect", "401 Who"])
def test_a_body_that_goes_again_begins_anew(raw, status):
    call = raw.ask("POST", "/old", client=raw.client(), body=BODY, auth=icey.http.BasicAuth("user", "password")).call
    told = watch(call)
    server = raw.accept()
    if status[0] == "4":
        call_answer = answer(b"", 'WWW-Authenticate: Basic realm="x"', status=status)
    else:
        call_answer = answer(b"", "Location: /new", status=status)
    server.request()
    server.send(call_answer)
    if status[0] == "3":
        assert server.request().body == BODY
        server.answer(b"")
        raw.turn(5)
        half = told.index((len(BODY), len(BODY))) + 1
        assert rises(told[:half], len(BODY)) and rises(told[half:], len(BODY)) and told[-1] == (len(BODY), len(BODY))
    call.close()


# Slots

@pytest.mark.parametrize("verb", ["close", "abort"])
def test_a_slot_may_close(raw, uploading, verb):
    told, conn = uploading(bytes(1 << 20))
    conn.on_upload_progress += lambda conn, sent, total: getattr(conn, verb)()
    server = raw.accept()
    server.head()
    raw.until(lambda: conn.closed)
    assert len(told) == 1


def test_a_slot_that_raises(raw, uploading, reports):
    told, conn = uploading(bytes(1 << 20))
    conn.on_upload_progress += lambda conn, sent, total: 1 / 0
    raw.accept().head()
    raw.until(lambda: conn.closed)
    reports.take(ZeroDivisionError)
    assert len(told) == 1


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_server_that_goes(slow, uploading, leave):
    told, conn = uploading(bytes(4 << 20), on=slow)
    server = slow.accept()
    server.head()
    slow.wait(0.3)
    getattr(server, leave)()
    slow.until(lambda: conn.closed)
    count = len(told)
    slow.wait(1)
    assert len(told) == count and not [sent for sent, total in told if sent == total]


def test_the_end_of_the_loop(raw, loop):
    conn = raw.connection(method="POST")
    told = watch(conn)
    conn.start(body=bytes(16 << 20))
    raw.accept().head()
    raw.wait(0.2)
    if loop.debug:
        with pytest.warns(ResourceWarning):
            loop.close()
    else:
        loop.close()
    assert rises(told, 16 << 20)


def test_nobody_asks_and_nothing_is_looked_at(raw, monkeypatch):
    def refuse(*args):
        raise AssertionError("it was not to be asked")

    monkeypatch.setattr(ClientConnection, "watch_upload", refuse)
    conn = raw.connection(method="POST")
    conn.on_complete += lambda conn: None
    conn.start(body=b"few")
    raw.accept().reply(b"")
    raw.turn(5)
    assert conn.reusable
    conn.close()
