"""TLSSocket in use, as client and as server, against Python's own ssl: sending, receiving. See also test_tls_*.py."""
import array
import os
import socket

import pytest

import icey
from icey.base.buffer import RECEIVE_SIZE
from tests.support import needs, streams
from tests.support.streams import names, turn, watch

needs("ssl")

from icey.net import tls  # noqa: E402
from tests.support import tlslinks  # noqa: E402
from tests.support.tlslinks import our_context, received, until, wait  # noqa: E402

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
certs, role, link = tlslinks.certs, tlslinks.role, tlslinks.link


# an exchange

def test_a_question_and_its_answer(link):
    sock, peer = link()
    sock.on_recv += lambda sock, view: sock.send_owned(bytes(view).upper())
    peer.send(b"hello")
    assert peer.read(5) == b"HELLO"


def test_on_connect_comes_once_when_the_handshake_is_done(loop, link):
    sock, peer = link(shake=False)
    seen = watch(sock, "connect", "error", "close")
    turn(loop, 5)
    assert seen == []
    peer.handshake()
    turn(loop, 5)
    assert seen == [("connect",)]


def test_what_is_known_before_and_after(loop, link, role):
    sock, peer = link(shake=False)
    assert (sock.version, sock.alpn, sock.session, sock.peer_certificate) == (None, None, None, None)
    assert not sock.session_reused
    peer.handshake()
    until(loop, lambda: sock.version is not None)
    assert sock.version == peer.version == "TLSv1.3"
    assert (sock.alpn, sock.session_reused, sock.secure) == (None, False, True)
    assert not icey.TCPSocket.secure
    if role == "client":
        assert sock.peer_certificate["subject"] == ((("commonName", "localhost"),),)
    else:
        assert sock.peer_certificate is None


def test_local_and_peer_and_the_options_are_the_carrier_s(link):
    sock, peer = link()
    assert sock.local == icey.Address.from_sockaddr(peer.sock.getpeername())
    assert sock.peer == icey.Address.from_sockaddr(peer.sock.getsockname())
    sock.set_no_delay()
    sock.set_keep_alive()
    assert "TLSSocket 127.0.0.1:%d open" % sock.peer.port in repr(sock)


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 65536, 65537, 300000])
def test_every_size_arrives(link, size):
    sock, peer = link()
    data = os.urandom(size)
    got = received(sock)
    sock.send([data[:size // 3], data[size // 3:]])
    sock.send_owned(bytearray(b"."))
    assert peer.read(size + 1) == data + b"."
    peer.send(data + b"!")
    until(sock.loop, lambda: len(got) == size + 1)
    assert got == data + b"!"


@pytest.mark.parametrize("count", [5, 100000, 300000])
def test_items_of_several_bytes_are_sent_as_their_bytes(link, count):
    sock, peer = link()
    for end in (sock, peer):  # the kernel is to take more than one piece
        end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    numbers = array.array("I", range(count))
    sock.send(memoryview(numbers))
    sock.send([memoryview(numbers), b"."])
    data = numbers.tobytes()
    assert peer.read(2 * len(data) + 1) == data + data + b"."


def test_what_is_not_contiguous_is_value_error_and_nothing_is_sent(link):
    sock, peer = link()
    for data in (memoryview(bytes(10))[::2], [b"good", memoryview(bytes(10))[::2]]):
        with pytest.raises(ValueError, match="contiguous"):
            sock.send(data)
    with pytest.raises(TypeError):
        sock.send("text")
    sock.send(b"sound")
    assert peer.read(5) == b"sound"


def test_a_file_is_sent_encrypted(link, tmp_path):
    sock, peer = link()
    data = os.urandom(700000)
    (tmp_path / "file").write_bytes(data)
    done = []
    sock.send(b"head ")
    sock.write_file(open(str(tmp_path / "file"), "rb"), 100, len(data) - 100, done=lambda: done.append(1))
    sock.send(b" tail")
    assert peer.read(len(data) - 100 + 10) == b"head " + data[100:] + b" tail"
    turn(sock.loop, 3)
    assert done == [1]


def test_many_small_ones_arrive_in_order(link):
    sock, peer = link()
    numbers = [b"%d;" % number for number in range(2000)]
    got = received(sock)
    for number in numbers:
        sock.send(number)
        peer.send(number)
    assert peer.read(sum(map(len, numbers))) == b"".join(numbers)
    until(sock.loop, lambda: len(got) == sum(map(len, numbers)))
    assert got == b"".join(numbers)


def test_megabytes_both_ways_at_once(link):
    sock, peer = link()
    sock.max_queue = None
    data = os.urandom(1 << 20)
    got = received(sock)
    sock.send(data)
    peer.send(data)
    assert peer.read(len(data)) == data
    until(sock.loop, lambda: len(got) == len(data))
    assert got == data


def test_icey_at_both_ends(loop, certs):
    listener = icey.TCPListener(loop, "127.0.0.1:0")
    accepted = []

    @listener.on_accept.attach
    def accept(listener, sock):
        listener.close()
        accepted.append(tls.start_tls(sock, our_context(certs, "server"), server_side=True))
        accepted[0].on_recv += lambda sock, view: sock.send_owned(view)
    client = tls.TLSSocket(loop, context=our_context(certs, "client"), server_hostname="localhost")
    data = os.urandom(1 << 20)
    got = received(client)
    client.on_connect += lambda client: client.send(data)
    client.on_recv += lambda client, view: client.close() if len(got) == len(data) else None
    client.connect(listener.address)
    seen = watch(client, "error", "close")
    loop.run()
    assert got == data
    assert seen == [("close",)]
    assert accepted[0].closed


def test_time_passes_and_an_idle_connection_stays(loop, clock, link):
    sock, peer = link()
    wait(loop, clock, 3600)
    sock.send(b"still")
    assert peer.read(5) == b"still"


# sending

def test_send_before_connect_is_state_error(loop, certs):
    with tls.TLSSocket(loop, context=our_context(certs, "client")) as sock:
        for call in (lambda: sock.send(b"x"), lambda: sock.send_owned(b"x"), sock.shutdown, sock.set_no_delay):
            with pytest.raises(icey.StateError, match=r"before connect\(\)"):
                call()
        assert (sock.queued, sock.version, sock.local, sock.peer) == (0, None, None, None)
    turn(loop)
    assert sock.closed


def test_a_second_connect_is_state_error(link, role):
    sock, peer = link(shake=False)
    with pytest.raises(icey.StateError, match="connected or connecting"):
        sock.connect("127.0.0.1", 1)


def test_what_is_sent_while_connecting_goes_out_in_order_behind_the_handshake(loop, link):
    sock, peer = link(shake=False)
    done = []
    seen = watch(sock, "connect")
    sock.on_connect += lambda sock: sock.send(b" late")
    assert sock.send(b"ear", lambda: done.append(len(seen))) is True
    assert sock.send_owned(bytearray(b"ly")) is True
    assert sock.queued >= 5
    assert peer.read(10) == b"early late"
    turn(loop, 2)
    assert done == [1]
    assert sock.queued == 0


def test_done_comes_from_the_loop_when_the_kernel_has_it_all(loop, link):
    sock, peer = link()
    done = []
    sock.send(b"small", lambda: done.append("small"))
    assert done == []
    turn(loop, 2)
    assert done == ["small"]
    big = bytes(2 << 20)
    sock.max_queue = None
    sock.send(big, lambda: done.append("big"))
    sock.send(b"", lambda: done.append("empty"))
    sock.send(b"end", lambda: done.append("end"))
    turn(loop, 20)
    assert done == ["small"]
    assert sock.queued > 0
    peer.read(5 + len(big) + 3)
    turn(loop, 5)
    assert done == ["small", "big", "empty", "end"]


def test_done_does_not_come_if_the_connection_dies_first(loop, link):
    sock, peer = link()
    done = []
    sock.max_queue = None
    sock.send(bytes(2 << 20), lambda: done.append(1))
    sock.abort()
    turn(loop, 5)
    assert done == []
    assert sock.closed


@pytest.mark.parametrize("way", ["a slot that raises", "abort", "a transport error"])
def test_done_never_comes_behind_on_close(loop, link, reports, way):
    """on_close may have freed what was sent."""
    sock, peer = link()
    seen = watch(sock, "close")

    def slot(sock, view):
        sock.send(b"all of it", lambda: seen.append(("done",)))
        if way == "a slot that raises":
            raise RuntimeError
        elif way == "abort":
            sock.abort()
        else:
            sock.fail(icey.NetError("gone"))

    sock.on_recv += slot
    peer.send(b"x")
    until(loop, lambda: sock.closed)
    for _ in range(3):
        loop.run_once(0)
    assert seen[-1] == ("close",) and len(seen) <= 2
    if way == "a slot that raises":
        reports.take(RuntimeError)


def test_backpressure_ends_at_low_water(loop, link):
    sock, peer = link()
    piece = os.urandom(50000)
    drained = []
    sock.on_drain += lambda sock: drained.append(sock.queued)
    count = 0
    while True:
        count += 1
        while sock.send(piece):
            count += 1
            assert sock.queued < sock.high_water
        assert sock.queued >= sock.high_water
        turn(loop, 20)
        if not drained:
            break
        drained.clear()  # the kernel made more room meanwhile, as it does for a while
    assert peer.read(len(piece) * count) == piece * count
    turn(loop, 5)
    assert len(drained) == 1
    assert drained[0] <= sock.low_water


def test_plaintext_past_high_water_stays_the_callers(loop, link):
    """Records are made only as they leave: the queue does not hold the data twice."""
    sock, peer = link()
    data = bytes(1 << 20)
    assert sock.send(data) is False
    turn(loop, 10)
    assert sock.sock.carrier.queued <= sock.high_water + 65536 + 1024
    assert peer.read(len(data)) == data


def test_the_queue_has_its_cap(loop, link):
    sock, peer = link()
    sock.max_queue = 1 << 20
    data = bytes(300000)
    with pytest.raises(icey.QueueFull):
        for _ in range(20):
            sock.send(data)
    queued = sock.queued
    with pytest.raises(icey.QueueFull):
        sock.send(bytes(1 << 20))
    assert sock.queued == queued
    drained = watch(sock, "drain")
    until(loop, lambda: not sock.queued or not peer.read(1 << 16))
    assert names(drained) == ["drain"]


def test_a_sender_that_waits_for_on_drain_gets_all_out(loop, link):
    sock, peer = link()
    piece = os.urandom(30000)
    left = [30]

    def more(sock):
        while left[0]:
            left[0] -= 1
            if not sock.send(piece):
                return
        sock.close()
    sock.on_drain += more
    more(sock)
    assert peer.read_all() == piece * 30


def test_one_that_only_sends_one_large_piece_is_told_when_it_is_out(loop, link):
    sock, peer = link()
    drained = watch(sock, "drain")
    assert sock.send(bytes(2 << 20)) is False
    peer.read(2 << 20)
    turn(loop, 5)
    assert drained == [("drain",)]


def test_a_buffer_changed_before_it_left_is_a_borrow_error_in_debug(loop, debug, reports, link):
    if not debug:
        pytest.skip("release does not look")
    sock, peer = link()
    data = bytearray(1 << 20)
    sock.send(data)
    data[-1] = 1
    until(loop, lambda: sock.closed or not peer.read(1 << 16))
    reports.take(icey.BorrowError)


# receiving

def test_a_stashed_view_is_revoked(loop, link):
    sock, peer = link()
    kept = []
    sock.on_recv += lambda sock, view: kept.append(view)
    peer.send(b"secret")
    until(loop, lambda: kept)
    with pytest.raises(ValueError, match="released"):
        bytes(kept[0])


def test_without_a_slot_nothing_is_read_and_nothing_lost(loop, link):
    sock, peer = link()
    data = os.urandom(1 << 20)
    for start in range(0, 65536, 4096):
        peer.send(data[start:start + 4096])
    turn(loop, 10)
    got = received(sock)
    peer.send(data[65536:])
    until(loop, lambda: len(got) == len(data))
    assert got == data


def test_paused_it_reads_no_further_and_the_peer_feels_it(loop, link):
    sock, peer = link()
    got = received(sock)
    sock.pause()
    with pytest.raises(icey.Deadline, match="were not taken"):
        peer._patience = 0.05
        peer.send(bytes(16 << 20))
    assert got == b""


def test_a_pause_in_the_slot_holds_at_once(loop, link):
    """One read of the carrier brings many records: those behind the pause wait."""
    sock, peer = link()
    sizes = []

    def slot(sock, view):
        sizes.append(len(view))
        sock.pause()
        loop.call_soon(sock.resume)
    sock.on_recv += slot
    data = os.urandom(300000)
    peer.send(data)
    until(loop, lambda: sum(sizes) == len(data))
    assert max(sizes) <= RECEIVE_SIZE + 16384  # a read of the carrier, and a record that was begun before
    sock.pause()


def test_what_waits_here_is_delivered_on_resume_without_more_from_the_peer(loop, link):
    sock, peer = link()
    got = []

    @sock.on_recv.attach
    def slot(sock, view):
        got.append(bytes(view))
        if len(got) == 1:
            sock.pause()
    peer.send(bytes(16384))
    peer.send(bytes(16384))
    peer.send(bytes(16384))
    turn(loop, 20)
    first = len(got)
    assert first == 1
    sock.resume()
    until(loop, lambda: sum(map(len, got)) == 3 * 16384)


def test_detaching_the_last_slot_pauses_and_a_new_one_reads_on(loop, link):
    sock, peer = link()
    got = []

    def first(sock, view):
        got.append(bytes(view))
        sock.on_recv -= first
    sock.on_recv += first
    peer.send(b"one")
    until(loop, lambda: got)
    peer.send(b"two")
    turn(loop, 10)
    assert got == [b"one"]
    sock.on_recv += lambda sock, view: got.append(bytes(view))
    until(loop, lambda: len(got) == 2)
    assert got == [b"one", b"two"]


def test_resume_without_a_slot_discards(loop, link):
    sock, peer = link()
    sock.resume()
    peer.send(bytes(2 << 20))
    peer.half_close()
    assert peer.read_all() == b""


def test_a_lent_view_given_to_send(loop, debug, reports, link):
    sock, peer = link()
    sock.on_recv += lambda sock, view: sock.send(view)
    peer.send(b"echo")
    if debug:
        turn(loop, 10)
        reports.take(icey.BorrowError)
    else:
        assert peer.read(4) == b"echo"


def test_an_exception_in_a_slot_closes_this_connection(loop, reports, link):
    sock, peer = link()

    def slot(sock, view):
        raise ZeroDivisionError
    sock.on_recv += slot
    peer.send(b"x")
    with pytest.raises(OSError):  # a reset, and no close_notify: what was cut does not look whole
        peer.read_all()
    peer.close()
    turn(loop, 5)
    reports.take(ZeroDivisionError)
    assert sock.closed


def test_a_slot_may_abort(loop, link):
    sock, peer = link()
    seen = watch(sock, "error", "close")
    sock.on_recv += lambda sock, view: sock.abort()
    peer.send(bytes(100000))
    turn(loop, 10)
    assert names(seen) == ["close"]


def test_what_openssl_answers_while_it_reads_goes_out(loop, link):
    """A KeyUpdate, or the refusal to renegotiate; Python's ssl can ask for neither, so here it writes a record."""
    class Answering:
        def __init__(self, tls):
            self.tls = tls

        def read(self, *size_and_buffer):
            data = self.tls.read(*size_and_buffer)
            self.tls.write(b"answered")
            return data

        def __getattr__(self, name):
            return getattr(self.tls, name)

    sock, peer = link()
    got = received(sock)
    sock.sock.tls = Answering(sock.sock.tls)
    peer.send(b"a question")
    assert peer.read(8) == b"answered"
    assert got == b"a question"


def test_an_adapter_stands_on_it_as_on_any_stream(loop, link):
    class Upper(icey.Adapter):
        def on_data(self, view):
            self.send_owned(bytes(view).upper())
    sock, peer = link()
    Upper().use(sock)
    peer.send(b"shout")
    assert peer.read(5) == b"SHOUT"
    peer.half_close()
    assert peer.read_all() == b""


def test_another_thread_is_affinity_error(loop, link):
    from tests.support.loops import in_thread
    sock, peer = link()
    for call in (lambda: sock.send(b"x"), sock.close, sock.abort, sock.shutdown, sock.pause, lambda: sock.connect("::1", 1)):
        with pytest.raises(icey.AffinityError):
            in_thread(call)
