"""Stream, regions of files: by sendfile and without, short files, and the file closed whatever happens."""
import errno
import io
import os
import socket

import pytest

import icey
from icey.base.buffer import READ_SIZE, TURN_BYTES
from icey.base.fileregion import FILE_BYTES
from icey.tools.testing import AGAIN, INTERRUPTED, STALL, Peer, ScriptedSocket
from tests.support import streams
from tests.support.streams import names, turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

CONTENT = bytes(range(256)) * 1024  # 256 KiB, no two neighbours alike


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with open(path, "rb", buffering=0) as file:
        yield file


@pytest.fixture
def pair(loop):
    """A stream over a real socket, and its peer."""
    near, far = socket.socketpair()
    with Peer(loop, far) as peer:
        yield icey.Stream(loop, near), peer


def scripted(loop, *writes):
    sock = ScriptedSocket((), writes)
    return icey.Stream(loop, sock), sock


# by sendfile

def test_a_region_of_a_file_is_sent(pair, file):
    stream, peer = pair
    stream.write_file(file, 0, len(CONTENT))
    stream.close()
    assert peer.read_all() == CONTENT
    assert file.closed


@pytest.mark.parametrize("close", [True, False])
def test_a_done_that_cannot_be_called_is_TypeError_at_once(pair, file, close):
    stream, peer = pair
    with pytest.raises(TypeError, match="done must be callable, not 7"):
        stream.write_file(file, 0, 10, close, 7)
    assert file.closed is close and not stream.unsent
    stream.send(b"goes on")
    stream.close()
    assert peer.read_all() == b"goes on"


def test_what_the_kernel_takes_at_once_is_out(loop, file):
    stream, sock = scripted(loop)
    done = []
    assert stream.write_file(file, 0, len(CONTENT), done=lambda: done.append("file")) is True
    assert (sock.sent, file.closed, stream.unsent) == (CONTENT, True, False)
    assert done == []  # it comes from the loop
    turn(loop)
    assert done == ["file"]


@pytest.mark.needs("sendfile")
def test_the_kernel_is_tried_at_once(pair, file):
    stream, peer = pair
    assert stream.write_file(file, 10, 2000) is True
    assert (file.closed, stream.writing) == (True, False)
    assert peer.read(2000) == CONTENT[10:2010]


def test_what_the_kernel_refuses_waits(loop, file):
    stream, sock = scripted(loop, 1000, AGAIN, 500, STALL)
    seen = watch(stream, "drain")
    assert stream.write_file(file, 0, 2000, done=lambda: seen.append(("done",))) is False
    assert (sock.sent, file.closed, stream.writing) == (CONTENT[:1000], False, True)
    turn(loop, 2)
    assert (sock.sent, seen) == (CONTENT[:1500], [])
    sock.unstall()
    turn(loop, 2)
    assert (sock.sent, file.closed, stream.writing) == (CONTENT[:2000], True, False)
    assert sorted(names(seen)) == ["done", "drain"]


def test_what_waits_goes_first(loop, file):
    stream, sock = scripted(loop, 2, AGAIN)
    stream.send(b"12345")
    assert stream.write_file(file, 0, 100) is False
    assert sock.sent == b"12"
    turn(loop, 2)
    assert sock.sent == b"12345" + CONTENT[:100]


def test_a_file_longer_than_a_share_of_a_turn_waits_for_its_turn(loop, tmp_path):
    path = tmp_path / "long"
    path.write_bytes(bytes(TURN_BYTES + 1))
    stream, sock = scripted(loop)
    assert stream.write_file(open(path, "rb"), 0, TURN_BYTES + 1) is False
    assert sock.sent == b""
    turn(loop, 2)
    assert len(sock.sent) == TURN_BYTES + 1


def test_a_file_that_cannot_be_read_ends_the_stream(loop, reports):
    class Odd(io.BytesIO):
        def read(self, size=-1):
            raise RuntimeError("no")

    stream, sock = scripted(loop)
    seen = watch(stream, "close")
    file = Odd(b"hello")
    assert stream.write_file(file, 0, 5) is False
    assert seen == []
    loop.run()
    assert (names(seen), file.closed) == (["close"], True)
    reports.take(RuntimeError)


def test_a_keyboard_interrupt_in_the_midst_leaves_no_file_open(loop, file):
    stream, sock = scripted(loop, 1000, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        stream.write_file(file, 0, 2000)
    assert not file.closed
    stream.abort()
    turn(loop)
    assert file.closed


def test_a_region_starts_at_its_offset_and_ends_with_its_count(pair, file):
    stream, peer = pair
    stream.write_file(file, 1000, 5000)
    stream.close()
    assert peer.read_all() == CONTENT[1000:6000]


def test_memory_and_files_leave_in_order(pair, file, tmp_path):
    stream, peer = pair
    done = []
    stream.send(b"head", lambda: done.append("head"))
    stream.write_file(file, 10, 20, done=lambda: done.append("file"))
    stream.send(bytearray(b"between"), lambda: done.append("between"))
    stream.write_file(open(tmp_path / "file", "rb"), 0, 3, done=lambda: done.append("second file"))
    stream.send(b"tail", lambda: done.append("tail"))
    stream.close()
    assert peer.read_all() == b"head" + CONTENT[10:30] + b"between" + CONTENT[:3] + b"tail"
    assert done == ["head", "file", "between", "second file", "tail"]


def test_a_file_counts_no_byte_of_the_queue(loop, file):
    stream, sock = scripted(loop, STALL)
    stream.send(b"12345")
    stream.write_file(file, 0, len(CONTENT))
    assert stream.queued == 5


def test_on_drain_comes_after_a_file(loop, file):
    stream, sock = scripted(loop, STALL)
    seen = watch(stream, "drain")
    assert stream.write_file(file, 0, 100) is False
    turn(loop, 2)
    assert seen == []
    sock.unstall()
    turn(loop, 2)
    assert (names(seen), sock.sent) == (["drain"], CONTENT[:100])


def test_on_drain_does_not_come_before_the_file_is_out(loop, file):
    stream, sock = scripted(loop, AGAIN, 5, STALL)
    seen = watch(stream, "drain")
    stream.send(b"12345")
    stream.write_file(file, 0, 100)
    turn(loop, 3)
    assert (seen, sock.sent) == ([], b"12345")
    sock.unstall()
    turn(loop, 2)
    assert (names(seen), len(sock.sent)) == (["drain"], 105)


def test_on_drain_does_not_come_before_a_file_with_something_behind_it_is_out(loop, file):
    stream, sock = scripted(loop, AGAIN, AGAIN, 60, AGAIN, 40, 1, STALL)
    seen = watch(stream, "drain")
    assert stream.write_file(file, 0, 100) is False
    stream.send(b"\r\n")  # as behind a chunk
    while len(sock.sent) < 100:
        assert seen == []
        turn(loop)
    assert names(seen) == ["drain"]


@pytest.mark.needs("sendfile")
def test_sendfile_is_used_on_a_real_socket(pair, file, monkeypatch):
    stream, peer = pair
    calls = []
    real = os.sendfile

    def counted(out, source, offset, count):
        calls.append((out, source, offset))
        return real(out, source, offset, min(count, 1000))
    monkeypatch.setattr(os, "sendfile", counted)
    stream.write_file(file, 0, 2500)
    assert peer.read(2500) == CONTENT[:2500]
    assert calls == [(stream.sock.fileno(), calls[0][1], offset) for offset in (0, 1000, 2000)]


@pytest.mark.needs("sendfile")
@pytest.mark.parametrize("failure", [BlockingIOError, InterruptedError])
def test_sendfile_is_tried_again_after(pair, file, monkeypatch, failure):
    stream, peer = pair
    results = [failure(), failure()]
    real = os.sendfile

    def sometimes(*arguments):
        if results:
            raise results.pop()
        return real(*arguments)
    monkeypatch.setattr(os, "sendfile", sometimes)
    stream.write_file(file, 0, len(CONTENT))
    assert peer.read(len(CONTENT)) == CONTENT
    assert results == []


@pytest.mark.needs("sendfile")
def test_where_sendfile_does_not_serve_the_file_is_read(pair, file, monkeypatch):
    stream, peer = pair
    calls = []

    def refused(*arguments):
        calls.append(arguments)
        raise OSError(errno.EINVAL, "not from this file system")
    monkeypatch.setattr(os, "sendfile", refused)
    stream.write_file(file, 100, len(CONTENT) - 100)
    assert peer.read(len(CONTENT) - 100) == CONTENT[100:]
    assert len(calls) == 1


def test_where_sendfile_is_missing_the_file_is_read(pair, file, monkeypatch):
    monkeypatch.delattr(os, "sendfile", raising=False)
    stream, peer = pair
    stream.write_file(file, 100, len(CONTENT) - 100)
    assert peer.read(len(CONTENT) - 100) == CONTENT[100:]


def test_a_peer_that_goes_away_is_a_transport_error(pair, file):
    stream, peer = pair
    seen = watch(stream, "error", "close")
    peer.close()
    stream.write_file(file, 0, len(CONTENT))
    stream.loop.run()
    assert names(seen) == ["error", "close"]
    assert isinstance(seen[0][1], ConnectionError)
    assert file.closed


@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="Linux has it")
@pytest.mark.needs("sendfile")
@pytest.mark.parametrize("size, corked", [(FILE_BYTES * 4, 1), (TURN_BYTES, 0)])
def test_a_long_file_goes_out_in_full_segments_and_what_follows_does_not_wait(loop, tmp_path, size, corked):
    path = tmp_path / "long"
    path.write_bytes(bytes(size))
    listener = socket.create_server(("127.0.0.1", 0))
    far = socket.create_connection(listener.getsockname())
    near, _ = listener.accept()
    listener.close()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    with Peer(loop, far) as peer:
        stream = icey.Stream(loop, near)
        stream.write_file(open(path, "rb"), 0, size)
        turn(loop)
        assert stream.unsent
        assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK) == corked
        assert peer.read(size) == bytes(size)
        assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK) == 0
        stream.send(b"behind")
        assert peer.read(6) == b"behind"
        stream.close()


# read and sent, without sendfile

@pytest.mark.parametrize("writes", [
    [], [1, 2, 3], [0, 0], [AGAIN] * 10, [INTERRUPTED] * 3, [1, AGAIN, 0, 2, INTERRUPTED]],
    ids=["all", "partial", "zero", "EAGAIN storm", "EINTR", "all of it"])
def test_a_file_is_read_and_sent_whole_and_in_order(loop, file, writes):
    stream, sock = scripted(loop, *writes)
    done = []
    stream.write_file(file, 5, len(CONTENT) - 5, done=lambda: done.append(len(sock.sent)))
    turn(loop, 40)
    assert sock.sent == CONTENT[5:]
    assert done == [len(CONTENT) - 5]
    assert file.closed


def test_a_large_file_is_never_read_into_memory(loop, file):
    stream, sock = scripted(loop)
    stream.write_file(file, 0, len(CONTENT))
    turn(loop, 3)
    assert max(call[1] for call in sock.calls if call[0] == "send") == READ_SIZE
    assert stream.queued == 0


def test_a_file_in_memory_is_sent_too(loop):
    stream, sock = scripted(loop)
    file = io.BytesIO(b"hello world")
    stream.write_file(file, 6, 5)
    turn(loop)
    assert (sock.sent, file.closed) == (b"world", True)


def test_no_bytes_of_a_file_are_sent_and_done(loop, file):
    stream, sock = scripted(loop)
    seen = watch(stream, "error", "close")
    stream.write_file(file, 0, 0, done=lambda: seen.append(("done",)))
    turn(loop, 2)
    assert (names(seen), sock.sent, file.closed) == (["done"], b"", True)


def test_a_long_file_gets_a_share_of_a_turn(loop, tmp_path):
    path = tmp_path / "long"
    path.write_bytes(bytes(3 * TURN_BYTES))
    stream, sock = scripted(loop)
    stream.write_file(open(path, "rb"), 0, 3 * TURN_BYTES)
    turn(loop)
    assert len(sock.sent) == TURN_BYTES
    turn(loop, 3)
    assert len(sock.sent) == 3 * TURN_BYTES


# short files, and the file closed always

@pytest.mark.parametrize("real", [True, False], ids=["sendfile", "read"])
def test_a_file_shorter_than_promised_is_an_error(loop, file, real):
    near, far = socket.socketpair()
    with far:
        sock = near if real else ScriptedSocket()
        stream = icey.Stream(loop, sock)
        seen = watch(stream, "error", "close")
        stream.write_file(file, len(CONTENT) - 10, 30, done=lambda: seen.append(("done",)))
        loop.run()
        near.close()
    assert names(seen) == ["error", "close"]
    assert type(seen[0][1]) is icey.NetError
    assert "ended 20 bytes before" in str(seen[0][1])
    assert file.closed


def test_a_file_that_is_kept_stays_open(loop, file):
    stream, sock = scripted(loop)
    stream.write_file(file, 0, 5, close=False)
    stream.write_file(file, 5, 5, close=False)
    turn(loop)
    assert (sock.sent, file.closed) == (CONTENT[:10], False)


@pytest.mark.parametrize("end", [
    lambda stream: stream.abort(),
    lambda stream: (stream.sock.allow(ConnectionResetError), stream.sock.unstall()),
    lambda stream: stream.close(),
], ids=["abort", "reset", "deadline"])
def test_a_file_is_closed_when_the_stream_dies(loop, file, end):
    stream, sock = scripted(loop, 10, STALL)
    seen = watch(stream, "close")
    stream.write_file(file, 0, 100, done=lambda: seen.append(("done",)))
    turn(loop, 3)
    assert not file.closed
    end(stream)
    loop.run()
    assert file.closed
    assert names(seen) == ["close"]


def test_a_file_is_closed_when_the_loop_closes(debug, file):
    loop = icey.Loop(debug)
    stream, sock = scripted(loop)
    stream.write_file(file, 0, 100)
    streams.finish(loop)
    assert file.closed


def test_a_file_sent_between_a_transport_error_and_on_close_is_discarded_and_closed(loop, file):
    stream, sock = scripted(loop, BrokenPipeError)
    stream.send(b"x")
    assert stream.write_file(file, 0, 5) is False
    assert file.closed
    loop.run()
    assert sock.sent == b""


@pytest.mark.parametrize("stop", [lambda stream: stream.shutdown(), lambda stream: stream.close()])
def test_a_file_that_is_refused_is_closed(loop, file, stop):
    stream, sock = scripted(loop)
    stop(stream)
    with pytest.raises(icey.StateError):
        stream.write_file(file, 0, 5)
    assert file.closed


def test_a_file_is_queued_while_connecting(loop, file):
    listener = icey.TCPListener(loop, ("127.0.0.1", 0))
    got = []

    @listener.on_accept.attach
    def accepted(listener, sock):
        listener.close()
        sock.on_recv += lambda sock, view: got.append(bytes(view))
    client = icey.TCPSocket(loop)
    client.connect(listener.address)
    client.write_file(file, 0, 1000)
    client.close()
    loop.run()
    assert b"".join(got) == CONTENT[:1000]
