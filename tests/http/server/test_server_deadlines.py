"""Deadlines, kept by one sweep a second, on a virtual clock. They cover all but the application's own thinking."""
import pytest

import icey
from icey.http.server.server import beat
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

LONG = 3600.0
NONE = dict.fromkeys(["head_timeout", "body_timeout", "keep_alive_timeout", "write_timeout", "close_timeout"])
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"


def hello(exchange):
    exchange.respond(200, b"Hello")


def closed_after(site, client, seconds):
    """The client's connection lives for `seconds`, and is closed within two more."""
    site.wait(seconds - 0.5)
    assert client.silent()
    site.wait(2.5)
    assert client.at_end()
    return True


# head_timeout

def test_a_slow_head_is_408(site):
    site.serve(hello)
    client = site.client()
    client.send(b"GET / HTTP/1.1\r\n")
    site.wait(9.0)
    assert client.silent()
    site.wait(2.0)
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (408, "close")
    assert client.at_end()


def test_bytes_do_not_put_the_head_off(site):
    site.serve(hello)
    client = site.client()
    for byte in b"GET / HTTP/1":
        client.send(bytes([byte]))
        site.wait(1.0)
        if not site.server.connections[0].closing:
            continue
        break
    assert byte in b"P/1"  # 10 seconds or 11
    assert client.answer().status == 408


def test_a_slow_head_on_a_kept_connection_counts_from_its_first_byte(site):
    site.serve(hello)
    client = site.client()
    client.get()
    site.wait(20.0)
    client.send(b"GET")
    site.wait(9.0)
    assert client.silent()
    site.wait(2.0)
    assert client.answer().status == 408


def test_a_silent_new_connection_is_closed(site):
    site.serve(hello)
    assert closed_after(site, site.client(), 10.0)
    site.until(lambda: site.server.connections[0].closing)


def test_empty_lines_are_no_head(site):
    site.serve(hello)
    client = site.client()
    client.send(b"\r\n\r\n")
    assert closed_after(site, client, 10.0)


def test_the_head_behind_a_slow_one_has_its_own_time(site):
    site.serve(hello)
    client = site.client()
    client.send(b"GET / HTTP/1.1\r\n")
    site.wait(9.0)
    client.send(b"Host: a\r\n\r\nGET / HTTP/1.1\r\n")
    assert client.answer().status == 200
    site.wait(8.0)
    assert client.silent()
    client.send(b"Host: a\r\n\r\n")
    assert client.answer().status == 200


# keep_alive_timeout

def test_an_idle_connection_is_closed(site):
    site.serve(hello)
    client = site.client()
    client.get()
    assert closed_after(site, client, 30.0)


def test_each_request_starts_the_idle_time_anew(site):
    site.serve(hello)
    client = site.client()
    for _ in range(4):
        site.wait(25.0 if site.server.connections[0]._keep_alive else 5.0)
        assert client.get().body == b"Hello"
    assert closed_after(site, client, 30.0)


def test_the_idle_time_starts_when_the_answer_is_complete(site, loop):
    site.serve(lambda exchange: loop.call_later(100.0, hello, exchange))
    client = site.client()
    client.ask()
    site.wait(100.0)
    assert client.answer().body == b"Hello"
    assert closed_after(site, client, 30.0)


@pytest.mark.parametrize("half", [False, True], ids=["whole request", "half a head"])
def test_an_idle_connection_is_looked_at_again_before_the_axe_falls(site, half):
    """One that just became active lives. The sweep is a timer, timers come before I/O: its bytes wait in the kernel."""
    site.serve(hello)
    client = site.client()
    client.get()
    site.wait(29.5)
    client.sock.send(http.request() if not half else b"GET / HTTP/1.1\r\n")
    site.clock.advance(5.0)  # and now in one turn: the sweep, then the bytes
    site.turn(1)
    if half:
        assert client.silent()
        site.wait(5.0)
        client.send(b"Host: a\r\n\r\n")
    assert client.answer().body == b"Hello"


def test_a_request_that_came_whole_in_the_turn_of_its_deadline_is_answered(site):
    site.serve(hello)
    client = site.client()
    client.send(b"GET / HTTP/1.1\r\n")
    site.wait(9.5)
    client.sock.send(b"Host: a\r\n\r\n")
    site.clock.advance(5.0)
    site.turn(1)
    assert client.answer().body == b"Hello"


def test_an_idle_connection_lets_go_of_its_parser(site):
    server = site.serve(hello)
    client = site.client()
    client.get()
    connection, = server.connections
    site.wait(4.0)
    assert connection.parser is not None
    site.wait(3.0)
    assert connection.parser is None
    assert client.get().body == b"Hello"


# body_timeout

@pytest.mark.parametrize("consume", [lambda exchange: exchange.collect(http.ignore),
                                     lambda exchange: exchange.on_payload.attach(http.ignore)])
def test_a_slow_body_is_408(site, consume):
    site.serve(consume)
    client = site.client()
    client.send(POST + b"x")
    site.wait(29.0)
    assert client.silent()
    site.wait(3.0)
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (408, "close")
    assert client.at_end()


def test_progress_puts_the_body_deadline_off(site):
    site.serve(lambda exchange: exchange.collect(lambda exchange, body: exchange.respond(200, body)))
    client = site.client()
    client.send(POST)
    for _ in range(100):
        site.wait(25.0)
        client.send(b"x")
        site.turn(2)
    assert client.answer().body == b"x" * 100


def test_a_body_deadline_after_the_answer_has_begun_aborts(site):
    def slot(exchange):
        exchange.on_payload += http.ignore
        exchange.send(b"begun")

    site.serve(slot)
    client = site.client()
    client.send(POST + b"x")
    site.wait(32.0)
    assert site.gone()


def test_pause_stops_the_body_deadline(site):
    exchanges = []

    def slot(exchange):
        exchange.collect(lambda exchange, body: exchange.respond(200, body))
        exchange.pause()
        exchanges.append(exchange)

    site.serve(slot)
    client = site.client()
    client.send(POST + b"x" * 50)
    site.wait(LONG)
    exchanges[0].resume()
    site.wait(20.0)  # it starts anew
    client.send(b"x" * 50)
    assert client.answer().body == b"x" * 100


def test_a_body_that_nobody_wants_yet_has_no_deadline(site):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.send(POST)
    site.wait(LONG)
    exchanges[0].collect(lambda exchange, body: exchange.respond(200, body))
    site.wait(20.0)
    client.send(b"x" * 100)
    assert client.answer().body == b"x" * 100


def test_a_body_being_drained_too_slowly_closes(site):
    site.serve(hello)
    client = site.client()
    client.send(POST)
    assert client.answer().body == b"Hello"
    assert closed_after(site, client, 30.0)


# thinking, streaming and upgraded connections are never reaped

def test_a_thinking_connection_is_never_reaped(site):
    exchanges = []
    site.serve(exchanges.append)
    client = site.client()
    client.ask()
    site.wait(LONG)
    hello(exchanges[0])
    assert client.answer().body == b"Hello"


def test_a_streaming_connection_is_never_reaped(site):
    exchanges = []

    def slot(exchange):
        exchange.begin_streaming()
        exchanges.append(exchange)

    site.serve(slot)
    client = site.client()
    client.ask()
    for _ in range(5):
        site.wait(LONG)
        exchanges[0].send(b"tick ")
    exchanges[0].end()
    assert client.answer().body == b"tick " * 5
    assert closed_after(site, client, 30.0)  # until end()


def test_an_upgraded_connection_is_never_reaped(site):
    adapter = icey.Adapter()
    site.serve(lambda exchange: exchange.replace_adapter(adapter))
    client = site.client(receive=4096)
    client.ask()
    site.wait(LONG)
    assert client.silent()
    adapter.send(bytes(1 << 20))
    site.wait(100.0)
    assert client.read(1 << 20) == bytes(1 << 20)


# write_timeout

def big(exchange):
    http.narrow(exchange)
    exchange.respond(200, bytes(300000))


def test_a_reader_that_stops_reading_is_aborted(site, send_queues):
    send_queues.real()
    closed = []

    def slot(exchange):
        exchange.on_close += closed.append
        http.narrow(exchange)
        exchange.begin_streaming()
        exchange.send(bytes(300000))

    site.serve(slot)
    client = site.client(receive=4096)
    client.ask()
    site.wait(29.0)
    assert closed == []
    site.wait_for_cuts()
    assert len(closed) == 1
    assert not site.server.connections


def test_a_pipeline_of_a_reader_that_stops_reading_is_aborted(site, send_queues):
    send_queues.real()  # the look before the deadline falls has the kernel take a bit, which is not the peer's doing
    site.serve(big)
    client = site.client(receive=4096)
    client.send(http.request() * 50)
    site.wait(29.0)
    assert site.server.connections
    site.wait_for_cuts()
    assert not site.server.connections


def test_a_slow_reader_that_reads_lives(site):
    site.serve(big)
    client = site.client(receive=4096)
    client.ask()
    client.read_until(b"\r\n\r\n")
    left = 300000
    while left:
        site.wait(25.0)
        left -= len(client.read(min(left, 20000)))
    assert client.get().body == bytes(300000)


def test_the_idle_time_of_a_slow_reader_starts_when_the_last_of_its_answer_is_out(site):
    site.serve(big)
    client = site.client(receive=4096)
    client.ask()
    client.read_until(b"\r\n\r\n")
    for _ in range(40):
        site.wait(10.0)
        client.read(7500)
    site.wait(25.0)
    assert client.get().status == 200


# close_timeout

def test_a_closing_connection_waits_for_the_client_so_long(site):
    site.serve(hello)
    client = site.client()
    client.get("/", "Connection: close")
    site.wait(4.0)
    assert site.server.connections
    site.wait(3.0)
    assert not site.server.connections


def test_a_closing_connection_with_bytes_queued_waits_since_the_kernel_last_took_some(site):
    site.serve(big)
    client = site.client(receive=4096)
    client.ask("GET", "/", "Connection: close")
    client.read_until(b"\r\n\r\n")
    left = 300000
    while left:
        site.wait(4.0)
        left -= len(client.read(min(left, 50000)))
    assert client.at_end()
    client.close()
    assert site.gone()


def test_a_closing_connection_whose_client_does_not_read_is_aborted(site, send_queues):
    """Its last answer has as long as any other; close_timeout begins when that is out."""
    send_queues.real()
    site.serve(big)
    client = site.client(receive=4096)
    client.ask("GET", "/", "Connection: close")
    site.wait(29.0)
    assert site.server.connections
    site.wait_for_cuts()
    assert not site.server.connections


# None switches one off; the sweep

def test_none_switches_each_one_off(site):
    exchanges = []

    def slot(exchange):
        exchanges.append(exchange)
        if exchange.request.target == "/big":
            big(exchange)
        elif exchange.request.method == "POST":
            exchange.collect(lambda exchange, body: exchange.respond(200, body))
        else:
            hello(exchange)

    site.serve(slot, limits=NONE)
    new, head, idle, body, linger = [site.client() for _ in range(5)]
    slow = site.client(receive=4096)
    head.send(b"GET / HTTP/1.1\r\n")
    idle.get()
    body.send(POST)
    linger.get("/", "Connection: close")
    slow.ask("GET", "/big")
    site.wait(LONG)
    assert len(site.server.connections) == 6
    assert new.get().body == idle.get().body == b"Hello"
    head.send(b"Host: a\r\n\r\n")
    assert head.answer().body == b"Hello"
    body.send(b"x" * 100)
    assert body.answer().body == b"x" * 100
    assert slow.answer().body == bytes(300000)
    assert linger.at_end()


@pytest.mark.parametrize("limits, seconds", [
    ({}, 1.0), (NONE, 1.0), ({"head_timeout": 2.0}, 0.5), ({"body_timeout": 0.4}, 0.1), ({"close_timeout": 1.0}, 0.25),
    ({"keep_alive_timeout": 0.0}, 0.01), ({"write_timeout": 0.001}, 0.01), ({"handshake_timeout": 0.1}, 1.0)])
def test_one_sweep_a_second_finer_when_a_shorter_deadline_is_set(limits, seconds):
    assert beat(icey.Limits(**limits)) == pytest.approx(seconds)


@pytest.mark.parametrize("which", ["head_timeout", "keep_alive_timeout"])
def test_a_shorter_deadline_is_kept_as_exactly(site, which):
    site.serve(hello, limits={which: 0.2})
    client = site.client()
    if which == "keep_alive_timeout":
        client.get()
    site.wait(0.19)
    assert client.silent()
    site.wait(0.07)
    assert client.at_end()


def test_the_sweep_keeps_no_loop_running(site, loop):
    site.serve(hello)
    site.server.close()
    loop.run()
    assert site.server.closed
