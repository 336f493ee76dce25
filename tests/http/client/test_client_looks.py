"""A client's deadline looks before it falls: what came while a slot held the loop was in time, and who moves is not cut."""
import pytest

from icey import Deadline
from tests.support import rawserver
from tests.support.rawserver import answer

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw, slow = rawserver.moves, rawserver.raw, rawserver.slow

WHOLE = answer(b"hello")


def asked(raw, **options):
    """A connection whose request is out, and the server's end."""
    conn = raw.connection(**options)
    conn.start()
    server = raw.accept()
    server.request()
    raw.until(lambda: conn.state.name == "WAITING")
    return conn, server


# what lies in the kernel when the deadline is due

@pytest.mark.parametrize("before, limit", [
    (b"", "answer_timeout"), (WHOLE[:10], "head_timeout"), (WHOLE[:-5], "body_timeout"), (WHOLE[:-1], "body_timeout"),
])
def test_what_came_in_time_is_taken(raw, clock, before, limit):
    conn, server = asked(raw, limits={limit: 3.0})
    if before:
        server.send(before)
        raw.turn(3)
    server.send(WHOLE[len(before):])
    clock.advance(10.0)
    assert raw.story(conn) == [200, b"hello", "complete"]


@pytest.mark.parametrize("before", [b"", WHOLE[:10], WHOLE[:-1]])
@pytest.mark.parametrize("kind", ["connection", "call"])
def test_so_is_what_came_within_the_whole_time(raw, clock, before, kind):
    if kind == "connection":
        conn, server = asked(raw, timeout=3.0)
    else:
        call = raw.get(timeout=3.0)
        server = raw.accept()
        server.request()
    if before:
        server.send(before)
        raw.turn(3)
    server.send(WHOLE[len(before):])
    clock.advance(10.0)
    if kind == "connection":
        assert raw.story(conn) == [200, b"hello", "complete"]
    else:
        assert call.answer().body == b"hello"


def test_a_long_answer_that_is_all_there(raw, clock):
    call = raw.get(timeout=3.0)
    server = raw.accept()
    server.request()
    server.send(answer(bytes(300000)))
    clock.advance(10.0)
    assert call.answer().body == bytes(300000)


def test_an_answer_that_drips_has_no_more_than_the_whole_time(raw):
    conn, server = asked(raw, timeout=3.0)
    server.send(answer(bytes(100))[:-100])
    for _ in range(29):
        raw.wait(0.1)
        server.send(b"x")
    raw.wait(0.2)
    assert raw.story(conn)[-2:] == [Deadline, "close"]


def test_time_in_which_a_slot_held_the_loop_does_not_count(raw, clock, loop):
    call = raw.get(timeout=3.0)
    server = raw.accept()
    server.request()
    loop.call_soon(clock.advance, 10.0)
    raw.turn(3)
    assert not call.over
    raw.wait(2.5)
    server.send(WHOLE)
    assert call.answer().body == b"hello"


@pytest.mark.parametrize("calls", [1, 2])
def test_what_a_call_lost_is_added_once(raw, clock, loop, calls):
    made = [raw.get(timeout=3.0 + i) for i in range(calls)]
    for _ in made:
        raw.accept().request()
    loop.call_soon(clock.advance, 1000.0)
    raw.turn(3)
    raw.wait(2.9)
    assert not made[0].over
    raw.wait(0.2)
    made[0].error(Deadline)
    raw.wait(0.7)
    assert [call.over for call in made[1:]] == [False] * (calls - 1)
    raw.wait(0.3)
    for call in made[1:]:
        call.error(Deadline)


@pytest.mark.parametrize("before", ["the start", "a second request"])
def test_what_held_the_loop_before_a_request_is_not_given_to_its_server(raw, clock, loop, before):
    conn = raw.connection(limits={"answer_timeout": 3.0, "write_timeout": 3.0})
    if before == "a second request":
        conn.start()
        server = raw.accept()
        server.reply(b"hello")
        raw.rest(conn)
    loop.call_soon(clock.advance, 1000.0)
    raw.turn(3)
    conn.start()
    if before == "the start":
        server = raw.accept()
    server.request()
    raw.wait(2.9)
    assert conn.state.name == "WAITING"
    raw.wait(0.2)
    assert conn.closed and conn.seen[-2][0] == "error"


def test_each_call_gets_back_what_it_lost(raw, clock, loop):
    first = raw.get(timeout=3.0)
    raw.accept().request()
    loop.call_soon(clock.advance, 10.0)
    raw.turn(3)
    second = raw.get(timeout=1.0)
    server = raw.accept()
    server.request()
    raw.wait(0.9)
    assert not first.over and not second.over
    raw.wait(0.2)
    assert second.over and not first.over
    raw.wait(3.0)
    assert first.over
    first.error(Deadline)
    second.error(Deadline)


@pytest.mark.needs("ssl")
@pytest.mark.parametrize("late", ["head", "tunnel"])
def test_a_proxy_s_answer_that_came_in_time(raw, clock, late):
    pytest.importorskip("ssl")
    call = raw.client(proxy=raw.url(), timeout=None, limits={"answer_timeout": 3.0}).request("GET", "https://a.test/")
    failed = []
    call.on_close += lambda call: failed.append(call)
    server = raw.accept()
    server.head()
    if late == "head":
        server.send(b"HTTP/1.1 200 Conn")
        raw.turn(3)
        server.send(b"ection established\r\n\r\n")
    else:
        server.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    clock.advance(10.0)
    raw.turn(3)
    assert server.read(1) == b"\x16" and not failed  # TLS has begun inside


# what the server has of the request

def test_the_time_for_an_answer_begins_when_the_server_has_the_body(raw, send_queues):
    send_queues[None] = 100000
    conn = raw.connection(method="POST", limits={"answer_timeout": 2.0, "write_timeout": 6.0})
    conn.start(body=bytes(100000))
    server = raw.accept()
    server.request()
    raw.until(lambda: conn.state.name == "WAITING")
    for held in range(90000, -1, -10000):
        raw.wait(5.5)
        assert not conn.closing
        send_queues[None] = held
    raw.wait(1.9)
    assert not conn.closing
    raw.wait(6.0)
    assert raw.story(conn) == [Deadline, "close"]
    assert "for an answer" in str(conn.seen[-2][1])


def test_a_server_that_takes_nothing_of_what_the_system_holds(raw, send_queues):
    send_queues[None] = 100000
    conn = raw.connection(method="POST", limits={"answer_timeout": 2.0, "write_timeout": 6.0})
    conn.start(body=bytes(100000))
    raw.accept().request()
    raw.wait(5.9)
    assert not conn.closing
    raw.wait(0.2)
    assert raw.story(conn) == [Deadline, "close"]
    assert "the server to take the request" in str(conn.seen[-2][1])


def test_an_upload_of_which_the_server_takes_less_than_the_poller_tells(slow, send_queues):
    """What the kernel has of the peer's acknowledgements shrinks, although it takes nothing more from us."""
    conn = slow.connection(method="POST", limits={"write_timeout": 6.0})
    conn.start(body=bytes(2 << 20))
    slow.accept()
    slow.turn(20)
    send_queues[None] = 500000
    slow.wait(6.5)
    slow.until(lambda: conn.closed)

    conn = slow.connection(method="POST", limits={"write_timeout": 6.0})
    conn.start(body=bytes(2 << 20))
    slow.accept()
    slow.turn(20)
    for held in range(500000, 400000, -10000):
        send_queues[None] = held
        slow.wait(5.5)
        assert not conn.closing
    slow.wait(6.5)
    assert slow.story(conn) == [Deadline, "close"]


def test_what_is_sent_piece_by_piece_and_not_taken_is_on_the_clock(slow, send_queues):
    send_queues.real()  # where nothing is told, what the kernel takes at a look counts
    conn = slow.connection(method="POST", headers={"Transfer-Encoding": "chunked"}, limits={"write_timeout": 6.0})
    conn.start()
    slow.accept()
    slow.turn(5)
    while conn.send(bytes(100000)):
        slow.turn()
    slow.wait(20.0)  # some times write_timeout: what was taken may be acknowledged late, in real time
    assert slow.story(conn) == [Deadline, "close"]


# what is told

@pytest.mark.parametrize("data, text", [
    (b"", "no answer from %s within 3 s"), (WHOLE[:10], "no answer from %s within 3 s"),
    (WHOLE[:-1], "the answer from %s was not whole within 3 s: 4 of 5 bytes had come"),
    (answer(b"", "Transfer-Encoding: chunked", length=False) + b"3\r\nhel\r\n",
     "the answer from %s was not whole within 3 s: 3 bytes had come"),
])
def test_a_deadline_says_what_had_come(raw, data, text):
    call = raw.get(timeout=3.0)
    server = raw.accept()
    server.request()
    server.send(data)
    raw.wait(3.1)
    assert str(call.error(Deadline)) == text % raw.authority


def test_so_does_that_of_a_body(raw):
    conn, server = asked(raw, limits={"body_timeout": 3.0})
    server.send(WHOLE[:-1])
    raw.wait(3.1)
    assert str(conn.seen[-2][1]) == "waited 3 s for more of the answer's body: 4 of 5 bytes had come"
