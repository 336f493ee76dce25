"""What is late on a client's connection, on a virtual clock: connecting, writing, the answer, its head, its body, all of it."""
import socket

import pytest

from icey import ConnectError, Deadline
from tests.support import rawserver

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw, slow = rawserver.moves, rawserver.raw, rawserver.slow

LATE = [Deadline, "close"]


def asked(raw, **options):
    """A connection whose request is out, and the server's end."""
    conn = raw.connection(**options)
    conn.start()
    server = raw.accept()
    server.request()
    raw.until(lambda: conn.state.name == "WAITING")
    return conn, server


def late(raw, conn, seconds, text):
    """The deadline comes after `seconds`, and not before; it says what was waited for."""
    raw.wait(seconds - 0.01)
    assert not conn.closing and not conn.closed
    raw.wait(0.02)
    assert raw.story(conn)[-2:] == LATE
    error = [event[1] for event in conn.seen if event[0] == "error"][0]
    assert text in str(error)
    assert not raw.loop.handles and raw.loop.timeout() is None
    return error


def full_backlog():
    """A listening socket that takes nobody any more, and what fills it."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(0)
    waiting = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(sock.getsockname())
        waiting.append(filler)
    return sock, waiting


def test_connecting(raw, loop):
    sock, waiting = full_backlog()
    conn = raw.connection(url="http://127.0.0.1:%d/" % sock.getsockname()[1], limits={"connect_timeout": 5.0})
    conn.start()
    raw.wait(4.9)
    assert conn.state.name == "CONNECTING"
    raw.wait(0.2)
    assert raw.story(conn) == [ConnectError, "close"]
    assert isinstance(conn.seen[0][1].attempts[0][1], Deadline)
    assert not loop.handles
    for each in (sock, *waiting):
        each.close()


def test_the_whole_transaction_includes_connecting(raw, loop):
    sock, waiting = full_backlog()
    conn = raw.connection(url="http://127.0.0.1:%d/" % sock.getsockname()[1], timeout=3.0)
    conn.start()
    late(raw, conn, 3.0, "waited 3 s for the whole transaction")
    for each in (sock, *waiting):
        each.close()


def test_an_answer(raw):
    conn, server = asked(raw, limits={"answer_timeout": 20.0, "head_timeout": 3.0, "body_timeout": 5.0})
    late(raw, conn, 20.0, "waited 20 s for an answer")
    assert server.gone()


def test_an_answer_counts_from_the_last_byte_of_the_request(raw):
    conn = raw.connection(method="POST", headers={"Content-Length": "2"}, limits={"answer_timeout": 20.0})
    conn.start()
    server = raw.accept()
    server.head()
    raw.wait(100)  # a body that you send is nobody's deadline
    conn.send(b"a")
    raw.wait(100)
    conn.send(b"b")
    server.read(2)
    late(raw, conn, 20.0, "an answer")


def test_an_interim_answer_begins_it_anew(raw):
    conn, server = asked(raw, limits={"answer_timeout": 20.0})
    raw.wait(15)
    server.send(b"HTTP/1.1 102 Processing\r\n\r\n")
    raw.until(lambda: ("interim", 102) in conn.seen)
    late(raw, conn, 20.0, "an answer")


def test_the_rest_of_a_head_counts_from_its_first_byte(raw):
    conn, server = asked(raw, limits={"answer_timeout": 20.0, "head_timeout": 3.0})
    raw.wait(15)
    server.send(b"HTTP/1.1 ")
    raw.turn(2)
    late(raw, conn, 3.0, "waited 3 s for the rest of the answer's head")


def test_a_head_that_drips(raw):
    conn, server = asked(raw, limits={"head_timeout": 3.0})
    for byte in b"HTTP/1.1 200 OK\r\nA: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":
        if conn.closed:
            break
        server.send(bytes([byte]))
        raw.wait(0.5)
    assert raw.story(conn) == LATE


def test_the_head_of_an_interim_answer_and_then_of_the_last(raw):
    conn, server = asked(raw, limits={"head_timeout": 3.0})
    server.send(b"HTTP/1.1 103 Early")
    raw.wait(2)
    server.send(b" Hints\r\n\r\nHTTP/1.1 2")
    raw.wait(2)
    server.send(b"00 OK\r\nContent-Length: 0\r\n\r\n")
    assert raw.story(conn) == [103, 200, "complete"]


def test_a_head_longer_than_the_deadline_for_an_answer(raw):
    conn, server = asked(raw, limits={"answer_timeout": 1.0, "head_timeout": 10.0})
    server.send(b"HTTP/1.1 ")
    raw.wait(8)
    server.send(b"200 OK\r\nContent-Length: 0\r\n\r\n")
    assert raw.story(conn) == [200, "complete"]


@pytest.mark.parametrize("head", ["Content-Length: 5", "Transfer-Encoding: chunked", "X: until close"])
def test_more_of_a_body(raw, head):
    conn, server = asked(raw, limits={"body_timeout": 4.0})
    server.send(("HTTP/1.1 200 OK\r\n%s\r\n\r\n" % head).encode())
    raw.until(lambda: ("headers", 200) in conn.seen)
    late(raw, conn, 4.0, "waited 4 s for more of the answer's body")


def test_an_answer_that_began_may_wait_for_the_rest_of_the_request(raw):
    conn = raw.connection(method="POST", headers={"Transfer-Encoding": "chunked"}, limits={"body_timeout": 5.0})
    conn.start()
    server = raw.accept()
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"one", b"two"):
        conn.send(piece)
        server.read_until(piece + b"\r\n")
        server.send(b"3\r\n%s\r\n" % piece)
        raw.wait(20)
    assert not conn.closing
    conn.end()
    server.read_until(b"0\r\n\r\n")
    late(raw, conn, 5.0, "more of the answer's body: 6 bytes had come")


def test_but_not_for_what_the_server_does_not_take(slow):
    conn = slow.connection(method="POST", headers={"Transfer-Encoding": "chunked"}, limits={"body_timeout": 5.0})
    conn.start()
    server = slow.accept()
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
    slow.until(lambda: conn.received == 3)
    conn.send_owned(bytes(2 << 20))
    slow.turn(20)
    assert conn.queued > 1 << 20
    slow.wait(60)  # the kernel may take a little more when the deadline looks
    assert slow.story(conn)[-2:] == LATE


def test_a_body_that_drips_is_in_time_as_long_as_it_comes(raw):
    conn, server = asked(raw, limits={"body_timeout": 4.0})
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
    for _ in range(19):
        raw.wait(3.9)
        server.send(b"x")
        raw.turn(2)
    assert conn.received == 19
    late(raw, conn, 4.0, "more of the answer's body")


def test_a_paused_body_is_not_on_the_clock(raw):
    conn, server = asked(raw, limits={"body_timeout": 4.0})
    conn.on_headers += lambda conn: conn.pause()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    raw.wait(1000)
    assert conn.seen[-1] == ("headers", 200) and not conn.closing
    conn.resume()
    raw.until(lambda: conn.received == 3)
    late(raw, conn, 4.0, "more of the answer's body")


def test_paused_before_the_answer_nothing_is_on_the_clock(raw):
    conn, server = asked(raw, limits={"answer_timeout": 4.0})
    conn.pause()
    raw.wait(1000)
    server.answer(b"hello")
    raw.turn(3)
    assert raw.loop is conn.loop and not conn.closing
    conn.resume()
    assert raw.story(conn) == [200, b"hello", "complete"]


def test_paused_and_resumed_before_the_answer_it_counts_anew(raw):
    conn, server = asked(raw, limits={"answer_timeout": 4.0})
    conn.pause()
    raw.wait(1000)
    conn.resume()
    late(raw, conn, 4.0, "an answer")


def test_the_whole_transaction_though_the_body_comes_or_is_paused(raw):
    conn, server = asked(raw, timeout=10.0)
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
    for _ in range(3):
        raw.wait(3)
        server.send(b"x")
        raw.turn(2)
    conn.pause()
    late(raw, conn, 1.0, "waited 10 s for the whole transaction")


def test_each_transaction_has_the_whole_time(raw):
    conn, server = asked(raw, timeout=10.0)
    for number in range(3):
        raw.wait(9)
        server.answer()
        raw.until(lambda: conn.state.name == "IDLE")
        raw.wait(100)  # idle connections are nobody's deadline
        if number < 2:
            conn.start()
            server.request()
    conn.start()
    late(raw, conn, 10.0, "the whole transaction")


def test_the_timeout_of_a_connection_may_change_between_transactions(raw):
    conn, server = asked(raw, timeout=10.0)
    server.answer()
    raw.until(lambda: conn.state.name == "IDLE")
    conn.timeout = 2.0
    conn.start()
    late(raw, conn, 2.0, "waited 2 s")


def test_no_time_at_all(raw):
    conn = raw.connection(timeout=0)
    conn.start()
    assert raw.story(conn) == LATE


def choked(slow):
    """A connection whose server takes nothing, and the server's end."""
    conn = slow.connection(method="POST", limits={"write_timeout": 6.0, "answer_timeout": 1.0})
    conn.start(body=bytes(2 << 20))
    server = slow.accept()
    slow.turn(20)
    assert conn.queued > 1 << 20
    return conn, server


def test_a_request_that_the_server_does_not_take(slow):
    conn, server = choked(slow)
    late(slow, conn, 6.0, "waited 6 s for the server to take the request")


def test_a_request_that_the_server_takes_slowly_is_in_time(slow):
    conn, server = choked(slow)
    for _ in range(10):
        slow.wait(5.5)
        server.read(50000)
        slow.turn(5)
    assert not conn.closing
    late(slow, conn, 6.0, "the server to take the request")


def test_all_switched_off(raw, loop):
    off = dict.fromkeys(["connect_timeout", "write_timeout", "answer_timeout", "head_timeout", "body_timeout"])
    conn, server = asked(raw, limits=off)
    raw.wait(10000)
    server.send(b"HTTP/1.1 ")
    raw.wait(10000)
    server.send(b"200 OK\r\nContent-Length: 1\r\n\r\n")
    raw.wait(10000)
    assert loop.timeout() is None
    server.send(b"x")
    assert raw.story(conn) == [200, b"x", "complete"]


def test_the_timer_does_not_keep_the_loop_running(raw, loop):
    conn, server = asked(raw)
    conn.unref()
    assert not loop.run_once(0)
    conn.ref()
    assert loop.run_once(0)
    server.answer()
    raw.story(conn)
    conn.close()
    raw.turn(3)
    assert not loop.run_once(0) and loop.timeout() is None


def test_an_unref_d_connection_does_not_keep_the_loop_running_while_it_connects(raw, loop):
    sock, waiting = full_backlog()
    for options in ({}, {"proxy": "http://127.0.0.1:%d" % sock.getsockname()[1]}):
        conn = raw.connection(url="http://127.0.0.1:%d/" % sock.getsockname()[1], **options)
        conn.start()
        assert loop.run_once(0)
        conn.unref()
        assert not loop.run_once(0)
        conn.abort()
        raw.turn(3)
    for each in (sock, *waiting):
        each.close()


def test_resume_without_a_pause_does_no_harm(raw):
    conn, server = asked(raw)
    conn.resume()
    raw.turn(2)
    server.answer(b"hello")
    assert raw.story(conn) == [200, b"hello", "complete"]


def test_few_timers_are_made(raw, loop):
    """One timer serves many transactions, as long as nothing is late."""
    conn, server = asked(raw)
    server.answer()
    raw.until(lambda: conn.state.name == "IDLE")
    before = loop._timer_count
    for _ in range(20):
        conn.start()
        server.reply(b"hello")
        raw.until(lambda: conn.state.name == "IDLE")
    assert loop._timer_count - before <= 2


# a Call's own

def test_a_call_has_a_time_for_all_of_it(raw, loop):
    call = raw.get(timeout=12.0)
    server = raw.accept()
    server.request()
    raw.wait(11.9)
    assert not call.over
    raw.wait(0.2)
    assert "no answer from 127.0.0.1" in str(call.error(Deadline)) and server.gone()
    raw.turn(2)
    assert not loop.handles


def test_each_call_has_its_own(raw):
    raw.client(limits={"answer_timeout": 40.0})
    times = [30.0, 10.0, 20.0, None]
    calls = [raw.get(timeout=time) for time in times]
    servers = [raw.accept() for _ in calls]
    for server in servers:
        server.request()
    raw.wait(10.1)
    assert [call.over for call in calls] == [False, True, False, False]
    raw.wait(10)
    assert [call.over for call in calls] == [False, True, True, False]
    calls.append(raw.get(timeout=5.0))
    raw.wait(5.1)
    assert [call.over for call in calls] == [False, True, True, False, True]
    raw.wait(5)
    assert [call.over for call in calls] == [True, True, True, False, True]
    raw.wait(10)
    assert "waited 40 s for an answer" in str(calls[3].error(Deadline))  # its connection's


def test_it_goes_on_through_redirects(raw):
    call = raw.get(timeout=10.0)
    server = raw.accept()
    for _ in range(3):
        server.request()
        raw.wait(3)
        server.answer(b"", "Location: /next", status="302 Found")
        raw.turn(3)
    server.request()
    raw.wait(2)
    call.error(Deadline)


def test_and_while_it_waits_for_its_turn(raw):
    client = raw.client(max_per_host=1, timeout=10.0)
    first, second = raw.get(timeout=None), raw.get()
    server = raw.accept()
    server.request()
    raw.wait(10.1)
    second.error(Deadline)
    assert not first.over
    server.answer(b"hello")
    assert first.answer().body == b"hello" and len(client.calls) == 0


def test_the_deadlines_of_its_connection_are_errors_of_the_call(raw):
    raw.client(limits={"answer_timeout": 5.0}, timeout=None)
    call = raw.get()
    server = raw.accept()
    server.request()
    raw.wait(5.1)
    assert "waited 5 s for an answer" in str(call.error(Deadline))


def test_a_deadline_on_a_connection_used_before_is_not_tried_again(raw):
    raw.client(limits={"answer_timeout": 5.0})
    call = raw.get()
    server = raw.accept()
    server.reply(b"hello")
    call.answer()
    call = raw.get()
    server.request()
    raw.wait(5.1)
    call.error(Deadline)
    assert raw.nobody()


def test_a_paused_call_is_on_its_own_clock_alone(raw):
    raw.client(limits={"body_timeout": 2.0}, timeout=30.0)
    call = raw.get()
    call.on_payload += lambda call, view: call.pause()
    server = raw.accept()
    server.request()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    raw.wait(29)
    assert not call.over
    raw.wait(1.1)
    call.error(Deadline)


def test_deadlines_that_come_when_nothing_is_left_to_wait_for(raw):
    """A timer set for an earlier state finds another one."""
    conn, server = asked(raw, limits={"answer_timeout": 5.0, "body_timeout": 50.0})
    raw.wait(4)
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
    raw.wait(10)
    server.send(b"x")
    assert raw.story(conn) == [200, b"x", "complete"]
    raw.wait(100)
    assert conn.reusable


def test_a_body_in_chunks_of_a_byte_that_drips_is_in_time(raw):
    """Not only the bytes of the body count: any byte that comes is progress."""
    conn, server = asked(raw, limits={"body_timeout": 4.0})
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for byte in b"1;a=b\r\nx\r\n1\r\ny\r\n0\r\nX-Trailer: z\r\n\r":
        raw.wait(3.9)
        server.send(bytes([byte]))
        raw.turn(2)
    assert not conn.closing
    server.send(b"\n")
    assert raw.story(conn) == [200, b"xy", "complete"]


def test_a_chunk_whose_size_never_ends_is_late(raw):
    conn, server = asked(raw, limits={"body_timeout": 4.0})
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1")
    raw.until(lambda: ("headers", 200) in conn.seen)
    late(raw, conn, 4.0, "more of the answer's body")
