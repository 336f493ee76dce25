"""start(), stop(drain), close(), and loop.close(): a server's life."""
import socket

import pytest

import icey
from icey.http import Server
from tests.support import http
from tests.support.streams import finish

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site


def hello(exchange):
    exchange.respond(200, b"Hello")


def watch(server):
    """The events of the server's end, in order."""
    seen = []
    server.on_shutdown += lambda server: seen.append("shutdown")
    server.on_close += lambda server: seen.append("close")
    return seen


def refused(address):
    with socket.socket() as sock:
        return sock.connect_ex((address.host, address.port)) != 0


# where it listens

@pytest.mark.parametrize("where", [
    ("127.0.0.1", 0), (icey.Address("127.0.0.1", 0),), ("127.0.0.1:0",), (("127.0.0.1", 0),)])
def test_where_is_host_and_port_or_an_address(loop, where):
    server = Server(loop, *where)
    assert server.address is None
    assert server.start() is server
    assert server.address.host == "127.0.0.1" and server.address.port > 0
    assert repr(server) == "<Server %s open>" % server.address


def test_where_may_be_a_listener_which_is_taken_over(loop, site):
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))
    server = site.server = Server(loop, listener)
    server.on_request += hello
    server.start()
    assert server.address == listener.address
    assert site.client().get().body == b"Hello"
    server.close()
    site.turn(3)
    assert listener.closed and server.closed


def test_a_listener_taken_over_is_closed_also_by_a_server_that_never_started(loop, site):
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))
    server = Server(loop, listener)
    repr(server)
    server.close()
    site.turn(3)
    assert listener.closed and server.closed


@pytest.mark.needs("unix")
def test_a_unix_socket(loop, site, tmp_path):
    server = site.server = Server(loop, "unix:%s" % (tmp_path / "socket"))
    server.on_request += lambda exchange: exchange.respond(200, str(exchange.local).encode())
    server.start()
    assert site.client().get().body.startswith(b"unix:")


def test_a_taken_port_is_an_os_error_and_the_server_may_be_started_later(loop, site):
    taken = icey.TCPListener(loop, ("127.0.0.1", 0))
    server = Server(loop, taken.address)
    with pytest.raises(OSError):
        server.start()
    assert server.address is None
    taken.close()
    site.turn(2)
    server.start()
    assert server.address == taken.address


@pytest.mark.needs("reuse_port")
def test_reuse_port_has_several_servers_share_a_port(loop):
    first = Server(loop, "127.0.0.1", 0, reuse_port=True).start()
    second = Server(loop, "127.0.0.1", first.address.port, reuse_port=True).start()
    assert first.address == second.address


@pytest.mark.parametrize("wrong", [("nowhere", None), (5, 80), ("127.0.0.1", "80")])
def test_a_where_that_is_none_is_a_value_error(loop, wrong):
    with pytest.raises(ValueError):
        Server(loop, *wrong)


@pytest.mark.needs("ssl")
def test_a_tls_that_is_no_context_is_a_type_error(loop):
    with pytest.raises(TypeError, match="SSLContext"):
        Server(loop, "127.0.0.1", 0, tls=object())


def test_start_twice_or_after_close_is_a_state_error(site):
    server = site.serve()
    with pytest.raises(icey.StateError, match="started"):
        server.start()
    server.close()
    with pytest.raises(icey.StateError):
        server.start()


def test_connections_lists_those_that_are_open(site):
    server = site.serve(hello)
    assert server.connections == ()
    one, two = site.client(), site.client()
    peers = [connection.peer.port for connection in server.connections]
    assert peers == [one.sock.getsockname()[1], two.sock.getsockname()[1]]
    one.close()
    site.until(lambda: len(server.connections) == 1)
    assert server.connections[0].peer.port == peers[1]
    assert server.connections_made == 2


def test_an_open_server_keeps_the_loop_running_until_it_is_closed(site, loop):
    server = site.serve(hello)
    loop.call_later(5.0, server.close)
    loop.run()
    assert server.closed
    assert site.clock() >= 1005.0


# stop(drain)

@pytest.mark.parametrize("taken_over", [False, True])
def test_a_server_that_is_unrefed_lets_the_loop_end_and_ref_takes_that_back(site, loop, taken_over):
    server = site.server = Server(loop, icey.TCPListener(loop, ("127.0.0.1", 0)) if taken_over else "127.0.0.1:0").start()
    server.unref()
    assert loop.run_once(0) is False
    server.ref()
    assert loop.run_once(0) is True


def test_stop_without_a_linger_closes_idle_connections_at_once(site):
    server = site.serve(hello)
    seen = watch(server)
    idle, new = site.client(), site.client()
    idle.get()
    server.stop(10.0, linger=0)
    assert idle.at_end() and new.at_end()
    idle.close()
    new.close()
    site.until(lambda: server.closed)
    assert seen == ["shutdown", "close"]
    assert site.clock() == 1000.0


def test_stop_refuses_new_connections(site):
    exchanges = []
    server = site.serve(exchanges.append)
    client = site.client()
    client.ask()
    site.until(lambda: exchanges)
    server.stop(10.0)
    site.turn(2)
    assert refused(server.address)
    hello(exchanges[0])
    assert client.answer().body == b"Hello"


@pytest.mark.parametrize("headers", [None, {"A": "b"}])
def test_what_is_in_flight_is_answered_with_connection_close(site, headers):
    exchanges = []
    server = site.serve(exchanges.append)
    seen = watch(server)
    client = site.client()
    client.send(http.request() * 3)
    site.until(lambda: exchanges)
    server.stop(10.0)
    site.wait(5.0)
    exchanges[0].respond(200, b"Hello", headers=headers)
    answer = client.answer()
    assert (answer.body, answer["connection"]) == (b"Hello", "close")
    assert client.at_end()
    client.close()
    site.until(lambda: server.closed)
    assert len(exchanges) == 1
    assert seen == ["shutdown", "close"]


def test_a_request_on_its_way_is_still_answered(site):
    server = site.serve(lambda exchange: exchange.collect(lambda exchange, body: exchange.respond(200, body)))
    head, body, sent = site.client(), site.client(), site.client()
    head.send(b"GET / HTTP/1.1\r\n")
    body.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nHe")
    site.turn(3)
    sent.sock.send(http.request())  # in the kernel, not read yet
    server.stop(10.0)
    site.wait(3.0)
    head.send(b"Host: a\r\n\r\n")
    body.send(b"llo")
    for client, expected in ((head, b""), (body, b"Hello"), (sent, b"")):
        answer = client.answer()
        assert (answer.body, answer["connection"]) == (expected, "close")
        assert client.at_end()


def test_the_deadline_aborts_what_is_left(site):
    closed = []
    server = site.serve(lambda exchange: (http.think(exchange), exchange.on_close.attach(closed.append)))
    seen = watch(server)
    client = site.client()
    client.ask()
    site.until(lambda: server.connections[0].exchange)
    server.stop(5.0)
    site.wait(4.9)
    assert closed == [] and seen == ["shutdown"]
    site.wait(0.2)
    assert server.closed and len(closed) == 1
    assert seen == ["shutdown", "close"]
    assert client.at_reset()


def test_on_shutdown_lets_long_lived_answers_end(site):
    server = site.serve()

    def slot(exchange):
        exchange.begin_streaming()
        server.on_shutdown += lambda server: (exchange.send(b"bye"), exchange.end())

    server.on_request += slot
    client = site.client()
    client.ask()
    site.turn(3)
    server.stop(10.0)
    assert client.answer().body == b"bye"
    site.wait(0.5)  # of the linger: the head did not say that it is the last
    assert client.at_end()


def test_stop_again_sets_another_deadline(site):
    server = site.serve(http.ignore)
    client = site.client()
    client.ask()
    site.turn(3)
    server.stop(5.0)
    server.stop(20.0)
    site.wait(10.0)
    assert not server.closed
    server.stop(1.0)
    site.wait(1.0)
    assert server.closed
    server.stop()
    server.close()
    server.abort()


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf")])
def test_a_drain_or_a_linger_that_is_no_time_is_a_value_error(site, wrong):
    server = site.serve()
    with pytest.raises(ValueError):
        server.stop(wrong)
    with pytest.raises(ValueError):
        server.stop(linger=wrong)
    assert not server.closing


# stop(linger): nothing that was on its way is lost

def last(client):
    answer = client.answer()
    assert (answer.body, answer["connection"]) == (b"Hello", "close")
    assert client.at_end()
    client.close()


@pytest.mark.parametrize("behind", [1, 3])
@pytest.mark.parametrize("headers", [None, {"A": "b"}])
def test_idle_and_fresh_connections_have_one_request_more(site, headers, behind):
    server = site.serve(lambda exchange: exchange.respond(200, b"Hello", headers=headers))
    seen = watch(server)
    idle, new = site.client(), site.client()
    idle.get()
    server.stop(10.0)
    site.wait(0.4)
    for client in (idle, new):
        client.send(http.request() * behind)
        last(client)
    site.until(lambda: server.closed)
    assert seen == ["shutdown", "close"]
    assert site.clock() == 1000.4


@pytest.mark.parametrize("drain, linger, stays", [(10.0, None, 0.5), (10.0, 3.0, 3.0), (0.25, None, 0.25), (2.0, 60.0, 2.0)])
def test_the_linger_is_over_in_time_and_never_after_the_drain(site, drain, linger, stays):
    server = site.serve(hello)
    idle, new = site.client(), site.client()
    idle.get()
    server.stop(drain, **{} if linger is None else {"linger": linger})
    site.wait(stays - 0.125)
    assert len(server.connections) == 2
    site.wait(0.125)
    assert idle.at_end() and new.at_end()
    idle.close()
    new.close()
    site.until(lambda: server.closed)


def test_the_backlog_is_accepted_and_answered(site):
    server = site.serve(hello, limits={"max_connections": 2})
    clients = [site.client(accept=False) for _ in range(40)]
    for client in clients[:20]:
        client.sock.send(http.request())
    server.stop(10.0)
    for client in clients[20:]:
        client.sock.send(http.request())
    for client in clients:
        last(client)
    site.until(lambda: server.closed)
    assert server.connections_made == 40


@pytest.mark.parametrize("alone", [True, False])
def test_who_connects_in_the_turn_of_the_stop_is_answered(site, loop, alone):
    server, late = site.serve(hello), []

    def stop():
        server.stop(10.0)
        late.extend(site.client(accept=False) for _ in range(20))
        for client in late:
            client.sock.send(http.request())

    if not alone:
        site.client()
    loop.call_soon(stop)
    site.turn(3)
    for client in late:
        last(client)
    assert server.connections_made == 20 + (not alone)
    site.wait(0.5)
    site.until(lambda: len(server.connections) == 0)


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("verb", ["close", "abort"])
def test_who_connects_between_a_stop_and_a_close_of_one_turn_is_not_left_behind(site, loop, verb, busy):
    server, late = site.serve(http.ignore), []

    def stop():
        server.stop(10.0)
        late.append(site.client(accept=False))
        getattr(server, verb)()
        late.append(site.client(accept=False))

    if busy:
        site.client().ask()
        site.turn(3)
    loop.call_soon(stop)
    site.turn(4)
    assert server.closed and not loop.handles and not server.connections
    for client in late:
        try:
            assert client.read_all() == b""
        except ConnectionResetError:
            pass


def test_take_on_a_server_that_is_closed_is_a_state_error(site, loop):
    server = site.serve(hello)
    server.close()
    site.turn(2)
    with socket.socket() as sock:
        stream = icey.TCPSocket(loop, sock)
        with pytest.raises(icey.StateError, match="take"):
            server.take(stream)
        stream.abort()
        site.turn(2)
    assert not loop.handles


def test_what_arrived_while_the_loop_was_held_past_the_linger_is_answered(site, loop):
    server = site.serve(hello)
    client = site.client()
    server.stop(10.0)
    site.turn()
    client.sock.send(http.request())
    site.clock.advance(5.0)
    last(client)
    site.until(lambda: server.closed)


def test_idle_connections_are_told_right_behind_the_look_at_them(site):
    """Not when the turn ends, which closes them: what comes between the two is lost, and there may be thousands of them."""
    server = site.serve(hello)
    clients = [site.client(), site.client()]
    for client in clients:
        client.get()
    server.stop(10.0, linger=0)
    for client in clients:
        client.sock.settimeout(20.0)
        assert client.sock.recv(1) == b""
    site.until(lambda: server.closed)


def test_another_stop_sets_another_linger(site):
    server = site.serve(hello)
    client = site.client()
    server.stop(10.0, linger=5.0)
    site.wait(1.0)
    assert server.connections
    server.stop(10.0, linger=0.25)
    site.wait(0.25)
    assert client.at_end()
    client.close()
    site.until(lambda: server.closed)


def test_a_stop_in_a_handler_lets_the_others_have_one_request_more(site):
    def slot(exchange):
        server.stop(10.0)
        exchange.respond(200, b"Hello")

    server = site.serve(slot)
    asking, idle = site.client(), site.client()
    asking.ask()
    last(asking)
    idle.ask()
    last(idle)
    site.until(lambda: server.closed)


def test_a_head_under_way_when_the_linger_is_over_has_the_drain(site):
    server = site.serve(hello)
    client = site.client()
    server.stop(10.0)
    client.send(http.request()[:9])
    site.wait(2.0)
    client.send(http.request()[9:])
    last(client)
    site.until(lambda: server.closed)


def begun(server, length=None):
    """Begins the answers before the stop; returns their exchanges."""
    exchanges = []

    def slot(exchange):
        if server.stopping:
            hello(exchange)
        else:
            if length is not None:
                exchange.response.headers["Content-Length"] = length
            exchange.send(b"a")
            exchanges.append(exchange)

    server.on_request += slot
    return exchanges


@pytest.mark.parametrize("length", [None, "2"])
@pytest.mark.parametrize("after", [0.2, 0.5, 3.0])
def test_behind_an_answer_that_had_begun_is_one_request_more(site, after, length):
    """Its head did not say that the connection ends: the client may ask again, and does."""
    server = site.serve()
    exchanges = begun(server, length)
    asking, silent = site.client(), site.client()
    for client in (asking, silent):
        client.ask()
    site.until(lambda: len(exchanges) == 2)
    server.stop(10.0)
    site.wait(after)
    for exchange in exchanges:
        exchange.send(b"b")
        exchange.end()
    for client in (asking, silent):
        answer = client.answer()
        assert answer.body == b"ab" and "connection" not in answer.names
    site.wait(0.375)
    asking.ask()
    last(asking)
    site.until(lambda: len(server.connections) == 1)
    site.wait(0.125)
    assert silent.at_end()
    silent.close()
    site.until(lambda: server.closed)


@pytest.mark.parametrize("linger", [0, 0.5])
def test_behind_an_answer_whose_request_is_still_read(site, linger):
    server = site.serve(hello)
    client = site.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nHe")
    assert "connection" not in client.answer().names
    server.stop(10.0, linger=linger)
    site.wait(2.0)
    client.send(b"llo")
    if linger:
        client.ask()
        last(client)
    else:
        assert client.at_end()


def one_begun(site):
    """A server, and a client whose answer has begun, and its exchange."""
    server = site.serve()
    exchanges = begun(server)
    client = site.client()
    client.ask()
    site.until(lambda: exchanges)
    return server, client, exchanges[0]


def test_without_a_linger_an_answer_that_had_begun_is_the_last(site):
    server, client, exchange = one_begun(site)
    server.stop(10.0, linger=0)
    site.wait(1.0)
    exchange.end()
    assert client.answer().body == b"a"
    assert client.at_end()


def test_who_may_still_ask_when_the_drain_is_over_is_not_cut(site):
    server, client, exchange = one_begun(site)
    server.stop(10.0)
    site.wait(9.75)
    exchange.end()
    assert client.answer().body == b"a"
    site.wait(0.25)
    assert client.at_end()
    assert server.closed


# close(): stop(drain=0)

@pytest.mark.parametrize("verb", [lambda server: server.close(), lambda server: server.stop(0),
                                  lambda server: server.abort(), lambda server: server.stop(drain=0.0)])
def test_close_is_stop_with_no_drain(site, verb):
    closed = []
    server = site.serve(lambda exchange: (http.think(exchange), exchange.on_close.attach(closed.append)))
    seen = watch(server)
    busy, _, lingering = site.client(), site.client(), site.client()
    lingering.send(b"nonsense\r\n\r\n")
    lingering.answer()
    busy.ask()
    site.turn(3)
    verb(server)
    assert (server.closing, server.closed, seen) == (True, False, [])
    site.turn(3)
    assert server.closed and len(closed) == 1
    assert seen == ["shutdown", "close"]
    assert server.connections == ()
    assert site.clock() == 1000.0
    assert refused(server.address)


def test_close_after_stop_gives_up_waiting(site):
    server = site.serve(http.ignore)
    client = site.client()
    client.ask()
    site.turn(3)
    server.stop(100.0)
    site.wait(1.0)
    server.close()
    site.turn(3)
    assert server.closed


@pytest.mark.parametrize("drain", [0, 10.0])
@pytest.mark.parametrize("answer", [True, False])
def test_close_from_inside_a_handler(site, drain, answer):
    def slot(exchange):
        http.think(exchange)
        if answer == "first":
            exchange.respond(200, b"x")
        server.stop(drain)
        if answer and drain:
            exchange.respond(200, b"x")

    server = site.serve(slot)
    seen = watch(server)
    client = site.client()
    client.send(http.request() * 2)
    if answer and drain:
        reply = client.answer()
        assert (reply.body, reply["connection"]) == (b"x", "close")
        assert client.at_end()
        client.close()
    else:
        site.wait(drain)
    site.until(lambda: server.closed)
    assert seen == ["shutdown", "close"]


@pytest.mark.parametrize("linger", [0, 0.5])
def test_stop_after_the_answer_in_a_handler(site, linger):
    def slot(exchange):
        exchange.respond(200, b"x")
        server.stop(10.0, linger=linger)

    server = site.serve(slot)
    client = site.client()
    client.send(http.request() * 3)
    answer = client.answer()
    assert answer.body == b"x" and "connection" not in answer.names
    if linger:  # nobody had said that it is the last
        answer = client.answer()
        assert (answer.body, answer["connection"]) == (b"x", "close")
    assert client.at_end()
    client.close()
    site.until(lambda: server.closed)
    assert site.clock() == 1000.0


def test_stop_in_a_handler_with_more_of_the_pipeline_in_the_kernel(site):
    """What has not been read yet is not parsed before the rest of what has."""
    def slot(exchange):
        client.sock.send(b"1\r\nHost: a\r\n\r\n" + http.request())
        exchange.respond(200, b"x")
        site.server.stop(10.0, linger=0)

    site.serve(slot)
    client = site.client()
    client.send(http.request() + b"GET / HTTP/1.")
    assert client.answer().body == b"x"
    assert client.at_end()


class Noting(icey.Adapter):
    """Notes what comes, and how deep inside of each other its calls are."""

    def __init__(self, slot):
        self.slot = slot
        self.seen = []
        self.deep = 0

    def note(self, exchange, view):
        assert not self.deep
        self.deep += 1
        self.seen.append(bytes(view))
        self.slot()
        self.deep -= 1

    def on_data(self, view):
        self.note(None, view)


@pytest.mark.parametrize("upgraded", [True, False])
def test_close_in_a_slot_reads_no_more_into_it(site, upgraded):
    """Of a connection that is being read, what has not been read yet does not come before the rest of what has."""
    def close():
        if len(noting.seen) == 2 - upgraded:
            client.sock.send(b"1\r\nd\r\n")
            site.server.close()

    def slot(exchange):
        if upgraded:
            exchange.response.status = 101
            exchange.send_header()
            exchange.replace_adapter(noting)
        else:
            exchange.on_payload += noting.note

    noting = Noting(close)
    server = site.serve(slot)
    client = site.client()
    if upgraded:
        client.ask()
        assert client.read_until(b"\r\n\r\n")
        client.send(b"abc")
    else:
        client.send(http.request("POST", chunks=[b"a", b"b", b"c"])[:-5])
    site.until(lambda: server.closed)
    assert noting.seen == ([b"abc"] if upgraded else [b"a", b"b"])
    with pytest.raises(ConnectionResetError):  # and no answer to chunks that were put in a wrong order
        client.read_all()


@pytest.mark.parametrize("phase", ["call", "timer", "idler", "io"])
@pytest.mark.parametrize("drain", [0, 10.0])
@pytest.mark.parametrize("start", [True, False])
def test_on_shutdown_comes_before_on_close_from_every_phase_of_the_turn(site, loop, phase, drain, start):
    server = site.serve(hello, start=start)
    seen = watch(server)

    def stop(*args):
        server.stop(drain)
        assert seen == []

    if phase == "call":
        loop.call_soon(stop)
    elif phase == "timer":
        loop.call_later(0.0, stop)
    elif phase == "idler":
        idler = icey.Idler(loop, lambda idler: (stop(), idler.close())).start()
        assert idler.active
    else:
        icey.Synchronizer(loop, stop).post()
    site.turn(4)
    assert seen == ["shutdown", "close"]


def test_a_with_block_requests_close_at_its_end(site):
    with site.serve() as server:
        assert not server.closing
    assert server.closing
    site.turn(3)
    assert server.closed


# loop.close()

def test_loop_close_with_open_connections(site, loop, debug):
    closed = []

    def slot(exchange):
        http.think(exchange)
        exchange.on_close += closed.append
        if exchange.request.target == "/stream":
            exchange.begin_streaming()
        elif exchange.request.target == "/upgrade":
            exchange.replace_adapter(icey.Adapter())

    server = site.serve(slot)
    server.on_close += lambda server: closed.append("server")
    clients = [site.client() for _ in range(5)]
    for client, target in zip(clients, ("/think", "/stream", "/upgrade")):
        client.ask("GET", target)
    clients[3].send(b"GET / HT")
    site.turn(5)
    if debug:
        with pytest.warns(ResourceWarning, match="loop.close\\(\\) found still open"):
            loop.close()
    else:
        loop.close()
    assert len(closed) == 4 and closed[-1] == "server"
    assert server.closed and server.connections == ()
    for client in clients:
        client.sock.setblocking(True)
    for client in clients:  # what nobody has closed is cut, and says so
        with pytest.raises(ConnectionResetError):
            while client.sock.recv(65536):
                pass


def test_loop_close_while_the_server_stops(site, loop):
    server = site.serve(http.ignore)
    client = site.client()
    client.ask()
    site.turn(3)
    server.stop(10.0)
    finish(loop)
    assert server.closed


def test_stop_after_loop_close_does_nothing(site, loop):
    server = site.serve()
    other = Server(loop, "127.0.0.1", 0)
    finish(loop)
    server.stop()
    other.stop()
    assert server.closed


# on_answer

def test_on_answer_says_what_was_answered(site, loop):
    seen = []

    def slot(exchange):
        if exchange.request.target == "/pieces":
            exchange.send(b"a")
            exchange.send(b"bc")
            exchange.end()
        elif exchange.request.target == "/late":
            loop.call_soon(exchange.respond, 201, b"late")
        elif exchange.request.target == "/raise":
            raise icey.HttpError(409)
        else:
            hello(exchange)

    server = site.serve(slot)
    client = site.client()
    client.get()  # before anybody is attached
    server.on_answer += lambda exchange, status: seen.append((exchange.request.target, status, exchange.sent))
    for target in ("/", "/pieces", "/late", "/raise"):
        client.get(target)
    client.get(method="HEAD")
    client.send(b"nonsense\r\n\r\n")
    client.answer()
    server.on_answer.detach_all()
    site.client().get()
    assert seen == [("/", 200, 5), ("/pieces", 200, 3), ("/late", 201, 4), ("/raise", 409, 13), ("/", 200, 0),
                    ("/", 400, 0)]


def test_on_answer_also_for_connections_that_were_there_before(site):
    seen = []
    server = site.serve(hello)
    client = site.client()
    client.get()
    slot = server.on_answer.attach(lambda exchange, status: seen.append(status))
    client.get()
    server.on_answer -= slot
    client.get()
    assert seen == [200]


# several slots

def test_request_slots_run_by_priority_and_the_first_answers(site):
    server = site.serve(lambda exchange: exchange.answered or hello(exchange))
    server.on_request.attach(lambda exchange: exchange.request.target == "/no" and exchange.respond(403), priority=1)
    client = site.client()
    assert client.get("/no").status == 403
    assert client.get("/").status == 200
