"""stdin by lines and stdout, on a loop: pipes, files, devices, and what breaks."""
import errno
import io
import os
import select
import time

import pytest

import icey
from icey.tools.ws import stdio
from icey.tools.ws.stdio import LineReader, Outflow, is_file
from tests.support import seeds, streams

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

posix = pytest.mark.skipif(os.name == "nt", reason="pipes cannot be polled there")


class Seen(list):
    """What an observer was told."""

    reader = None

    def on_line(self, line):
        self.append(line)

    def on_long_line(self):
        self.append(("long", self.reader.number))

    def on_lines_end(self):
        self.append("end")

    def on_lines_error(self, exc):
        self.append(exc.errno)

    def on_outflow_drain(self):
        self.append("drain")

    def on_outflow_error(self, exc):
        self.append(exc.errno)


class Ends:
    """A pipe, closed at the end."""

    def __init__(self):
        self.reading, self.writing = os.pipe()

    def close(self, *names):
        for name in names or ("reading", "writing"):
            fd = getattr(self, name)
            setattr(self, name, None)
            if fd is not None:
                os.close(fd)


@pytest.fixture
def pipe():
    pipe = Ends()
    yield pipe
    pipe.close()


@pytest.fixture
def reads(loop):
    """A function that makes a LineReader, whose `seen` is what it tells."""
    made = []

    def make(fd, most=100):
        seen = Seen()
        reader = seen.reader = LineReader(loop, fd, most, seen)
        made.append(reader)
        return reader, seen

    yield make
    for reader in made:
        reader.close()


# -- lines -----------------------------------------------------------------------------------------------------------

@posix
@pytest.mark.parametrize("text, lines", [
    (b"", []), (b"\n", [b""]), (b"a", [b"a"]), (b"a\nbc\n\nd", [b"a", b"bc", b"", b"d"]), (b"a\r\nb", [b"a\r", b"b"]),
    (b"12345\n123456\n1", [b"12345", ("long", 2), b"1"]), (b"1234567", [("long", 1)]),
    (b"x\n1234567\n1\n", [b"x", ("long", 2), b"1"]),
    (b"1234567890123\n123456\nok", [("long", 1), ("long", 2), b"ok"]),
])
def test_lines_whatever_the_pieces(loop, reads, text, lines):
    for size in range(1, len(text) + 1) or [1]:
        pipe = Ends()
        reader, seen = reads(pipe.reading, most=5)
        reader.resume()
        for at in range(0, len(text), size):
            os.write(pipe.writing, text[at:at + size])
            streams.turn(loop, 2)
        pipe.close("writing")
        streams.turn(loop, 2)
        pipe.close()
        assert seen == [*lines, "end"], size


@posix
def test_pauses_lose_nothing(loop, pipe, reads):
    rng = seeds.rng()
    lines = [bytes(rng.choices(b"abc\r", k=rng.choice((0, 1, 30)))) for _ in range(300)]
    reader, seen = reads(pipe.reading)
    told = seen.on_line
    seen.on_line = lambda line: (told(line), rng.random() < 0.3 and reader.pause())
    os.write(pipe.writing, b"\n".join(lines) + b"\n")
    pipe.close("writing")
    while "end" not in seen:
        reader.resume()
        streams.turn(loop, 2)
    assert seen == [*lines, "end"]
    assert not loop.handles


@posix
def test_nothing_is_read_while_paused_and_nothing_told_once_closed(loop, pipe, reads):
    reader, seen = reads(pipe.reading)
    os.write(pipe.writing, b"a\nb\nc")
    streams.turn(loop, 3)
    assert (seen, reader.left) == ([], 0)
    told = seen.on_line
    seen.on_line = lambda line: (told(line), reader.pause())
    reader.resume()
    streams.turn(loop, 3)
    assert (seen, reader.left) == ([b"a"], 3)
    reader.resume()
    reader.close()
    reader.resume()
    streams.turn(loop, 3)
    assert seen == [b"a"]


def test_no_stdin_ends_at_once(loop, reads):
    reader, seen = reads(None)
    reader.resume()
    loop.run()
    assert seen == ["end"]


def test_a_file_and_a_device_are_read_to_their_end(reads, tmp_path):
    with icey.Loop() as loop:  # epoll, which refuses them
        for path, lines in ((tmp_path / "file", [b"x" * 99] * 2000), (os.devnull, [])):
            if lines:
                path.write_bytes(b"\n".join(lines))
            fd = os.open(str(path), os.O_RDONLY)
            seen = Seen()
            LineReader(loop, fd, 100, seen).resume()
            loop.run()
            os.close(fd)
            assert seen == [*lines, "end"]


def test_a_file_that_is_paused_in_the_middle(tmp_path):
    (tmp_path / "file").write_bytes(b"x\n" * 40000)
    fd = os.open(str(tmp_path / "file"), os.O_RDONLY)
    with icey.Loop() as loop:
        seen = Seen()
        reader = LineReader(loop, fd, 100, seen)
        told = seen.on_line
        seen.on_line = lambda line: (told(line), len(seen) % 15000 or (reader.pause(), loop.call_later(0, reader.resume)))
        reader.resume()
        loop.run()
    os.close(fd)
    assert len(seen) == 40001


@posix
def test_what_cannot_be_read(loop, reads, pipe, tmp_path, monkeypatch):
    reader, seen = reads(pipe.reading)
    reader.resume()
    streams.turn(loop)
    os.write(pipe.writing, b"x\n")

    def read(fd, size):
        raise OSError(errno.EIO, "the terminal is gone")

    monkeypatch.setattr(os, "read", read)
    streams.turn(loop, 2)
    assert seen == [errno.EIO]


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="others do not look when they are told of it")
def test_a_descriptor_that_is_not_open():
    with icey.Loop() as loop:
        seen = Seen()
        reader = LineReader(loop, 999, 100, seen)
        reader.resume()
        loop.run()
    assert seen == [errno.EBADF]
    assert not is_file(999)


@posix
def test_one_that_somebody_made_nonblocking(loop, reads, pipe, monkeypatch):
    reader, seen = reads(pipe.reading)
    reader.resume()
    os.write(pipe.writing, b"x\n")
    read, blocked = os.read, [BlockingIOError(errno.EAGAIN, "nothing")]

    def once(fd, size):
        if blocked:
            raise blocked.pop()
        return read(fd, size)

    monkeypatch.setattr(os, "read", once)
    streams.turn(loop, 4)
    assert seen == [b"x"]


# -- stdout ----------------------------------------------------------------------------------------------------------

@posix
def test_a_full_pipe_holds_up_nobody_and_loses_nothing(loop, pipe):
    seen, pieces = Seen(), [os.urandom(1000 * number) for number in range(1, 30)]
    with open(pipe.writing, "wb", buffering=0) as file:
        pipe.writing = None
        out = Outflow(loop, file, seen)
        taken = [out.write(piece) for piece in pieces]
        assert taken == sorted(taken, reverse=True) and taken[0] is True and taken[-1] is False
        streams.turn(loop, 60)
        assert out.queued and os.get_blocking(file.fileno())
        got = b""
        while out.queued:
            got += os.read(pipe.reading, 65536)
            streams.turn(loop, 20)
        assert seen == ["drain"]
        assert out.write(b"") is True
        streams.turn(loop, 3)
        assert not loop.handles
    while True:
        more = os.read(pipe.reading, 65536)
        if not more:
            break
        got += more
    assert got == b"".join(pieces)


def test_a_file_and_what_is_none_are_written_at_once(tmp_path):
    with icey.Loop() as loop:
        path = tmp_path / "file"
        with open(str(path), "wb") as file:
            out = Outflow(loop, file, Seen())
            assert out.write(b"x" * 100000) is True and out.queued == 0
            assert out.write(b"y") is True and not loop.handles
            assert path.read_bytes() == b"x" * 100000 + b"y"
        memory = io.BytesIO()
        assert Outflow(loop, memory, Seen()).write(b"abc") is True
        assert memory.getvalue() == b"abc"


@posix
def test_a_reader_that_is_gone(loop, pipe):
    seen = Seen()
    with open(pipe.writing, "wb", buffering=0) as file:
        pipe.writing = None
        out = Outflow(loop, file, seen)
        pipe.close("reading")
        assert out.write(b"x" * 100000) is False
        streams.turn(loop, 2)
    assert (seen, out.queued) == ([errno.EPIPE], 0)
    assert not loop.handles


def test_a_file_that_takes_nothing(loop):
    class File:
        def write(self, data):
            raise OSError(errno.ENOSPC, "full")

    seen = Seen()
    assert Outflow(loop, File(), seen).write(b"x") is True
    assert seen == [errno.ENOSPC]


@posix
def test_a_pipe_that_somebody_made_nonblocking(loop, pipe, monkeypatch):
    write, blocked = os.write, [BlockingIOError(errno.EAGAIN, "full")]

    def once(fd, data):
        if blocked:
            raise blocked.pop()
        return write(fd, data)

    monkeypatch.setattr(os, "write", once)
    with open(pipe.writing, "wb", buffering=0) as file:
        pipe.writing = None
        out = Outflow(loop, file, Seen())
        out.write(b"abc")
        streams.turn(loop, 4)
    assert os.read(pipe.reading, 10) == b"abc"


@posix
def test_a_blocking_pipe_is_never_written_more_than_it_takes(loop, pipe):
    """A piece that poll has promised room for: without that the write below would block for ever."""
    with open(pipe.writing, "wb", buffering=0) as file:
        pipe.writing = None
        out = Outflow(loop, file, Seen())
        out.write(b"x" * 1000000)
        began = time.monotonic()
        streams.turn(loop, 300)
        assert time.monotonic() - began < 5 and out.queued > 500000
        out.close()
    assert stdio.PIECE >= 512
