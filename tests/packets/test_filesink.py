"""FileSink: what it writes, when the file has its name, and what an error leaves."""
import errno
import gc
import io
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest

import icey
from icey import FileSink, FileSource, PacketFlags, PacketStream, RawPacket
from icey.packets import filesink
from tests.support import ROOT, streams
from tests.support.packets import LONG, needs_threads, output
from tests.support.programs import without_slowness
from tests.support.streams import turn

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

FINAL = PacketFlags.FINAL


def started(sink):
    """A stream that runs, with this stage; (stream, what comes out of it)."""
    stream = PacketStream()
    stream.attach(sink)
    came = output(stream)
    stream.start()
    return stream, came


def test_the_file_has_its_name_behind_FINAL(tmp_path):
    path, part = tmp_path / "file", tmp_path / "file.part"
    path.write_bytes(b"the one before")
    sink = FileSink(str(path))
    stream, came = started(sink)
    assert (sink.path, sink.part) == (str(path), str(part)) and not part.exists()
    stream.write(b"one ")
    stream.write(b"")
    stream.write(memoryview(b"two"))
    assert (path.read_bytes(), part.read_bytes(), sink.written) == (b"the one before", b"one two", 7)
    stream.write(RawPacket(b" three", flags=FINAL))
    assert path.read_bytes() == b"one two three" and not part.exists()
    assert came == [b"one ", b"", b"two", b" three"] and stream.stopped


@pytest.mark.parametrize("as_path", [str, os.fsencode, lambda path: path])
def test_a_path_may_be_text_bytes_or_a_path_and_may_be_empty(tmp_path, as_path):
    stream, _ = started(FileSink(as_path(tmp_path / "file")))
    stream.write(icey.FlagPacket(FINAL))
    assert (tmp_path / "file").read_bytes() == b"" and os.listdir(str(tmp_path)) == ["file"]


def test_without_partial_the_path_itself_is_written(tmp_path):
    stream, _ = started(FileSink(tmp_path / "file", partial=False))
    stream.write(b"one")
    assert (tmp_path / "file").read_bytes() == b"one"
    stream.write(icey.FlagPacket(FINAL))
    assert os.listdir(str(tmp_path)) == ["file"]


@pytest.mark.needs("logging")
@pytest.mark.parametrize("end", ["stop", "close"])
def test_without_FINAL_the_part_stays_the_log_says_so_and_the_next_run_begins_anew(tmp_path, end, caplog):
    sink = FileSink(tmp_path / "file")
    stream, _ = started(sink)
    stream.write(b"half of it")
    getattr(stream, end)()
    assert os.listdir(str(tmp_path)) == ["file.part"]
    assert (tmp_path / "file.part").read_bytes() == b"half of it"
    assert ["file.part keeps that name: its PacketStream ended without FINAL" in text for text in caplog.messages] == [True]
    stream, _ = started(sink)
    stream.write(RawPacket(b"whole", flags=FINAL))
    assert (tmp_path / "file").read_bytes() == b"whole" and os.listdir(str(tmp_path)) == ["file"]
    assert len(caplog.messages) == 1


def test_nothing_is_logged_where_the_name_is_no_other_or_an_error_tells(tmp_path, caplog):
    for sink in (FileSink(tmp_path / "file", partial=False), FileSink(io.BytesIO()), FileSink(tmp_path / "unused")):
        stream, _ = started(sink)
        if sink.path is None or "unused" not in sink.path:
            stream.write(b"some")
        stream.close()
    stream, _ = started(FileSink(tmp_path / "broken"))
    stream.on_error += lambda stream, exc: None
    stream.write(b"some")
    stream.fail(ValueError())
    assert sorted(os.listdir(str(tmp_path))) == ["broken.part", "file"]
    assert caplog.messages == []


def test_a_file_that_is_open_stays_so_and_is_flushed(tmp_path):
    with open(str(tmp_path / "file"), "wb") as file:
        stream, _ = started(FileSink(file))
        stream.write(b"one")
        assert (tmp_path / "file").read_bytes() == b""
        stream.write(icey.FlagPacket(FINAL))
        assert not file.closed and (tmp_path / "file").read_bytes() == b"one"
    memory = io.BytesIO()
    sink = FileSink(memory)
    stream, _ = started(sink)
    stream.write(RawPacket(bytearray(b"two"), flags=FINAL))
    assert (memory.getvalue(), sink.path, sink.part) == (b"two", None, None)


class Short(io.RawIOBase):
    """Takes three bytes at a time, and in the end nothing more."""

    def __init__(self, most):
        self.taken, self.most = b"", most

    def writable(self):
        return True

    def write(self, data):
        taken = bytes(data[:min(3, self.most - len(self.taken))])
        self.taken += taken
        return len(taken) or None


def test_what_a_file_takes_in_parts_goes_in_whole():
    file = Short(100)
    stream, _ = started(FileSink(file))
    stream.write(b"0123456789")
    assert file.taken == b"0123456789"


def failing(sink):
    """A stream that runs, with this stage; (stream, its errors)."""
    stream, failed = PacketStream(), []
    stream.attach(sink)
    stream.on_error += lambda stream, exc: failed.append(exc)
    stream.start()
    return stream, failed


def test_a_file_that_takes_nothing_is_the_stream_s_error():
    file = Short(7)
    stream, failed = failing(FileSink(file))
    stream.write(b"0123456789")
    assert [type(exc) for exc in failed] == [BlockingIOError] and file.taken == b"0123456" and stream.closed


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_the_stream_s_error(monkeypatch, tmp_path):
    os.symlink("/dev/full", str(tmp_path / "file.part"))
    (tmp_path / "file").write_bytes(b"the one before")
    stream, failed = failing(FileSink(tmp_path / "file"))
    stream.write(b"one")
    assert [exc.errno for exc in failed] == [errno.ENOSPC] and stream.closed
    assert (tmp_path / "file").read_bytes() == b"the one before"


@pytest.mark.parametrize("name", ["no folder/file", ""])
def test_a_file_that_cannot_be_opened_is_the_stream_s_error(tmp_path, name):
    (tmp_path / ".part").mkdir()
    stream, failed = failing(FileSink(os.path.join(str(tmp_path), name)))
    stream.write(b"one")
    assert len(failed) == 1 and isinstance(failed[0], OSError) and stream.closed


def test_a_name_that_cannot_be_had_is_the_stream_s_error_and_the_part_stays(tmp_path):
    (tmp_path / "file").mkdir()
    stream, failed = failing(FileSink(tmp_path / "file"))
    stream.write(RawPacket(b"one", flags=FINAL))
    assert len(failed) == 1 and isinstance(failed[0], OSError)
    assert (tmp_path / "file.part").read_bytes() == b"one"


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_what_was_private_stays_so_and_an_old_part_does_not_decide(tmp_path):
    path, part = tmp_path / "file", tmp_path / "file.part"
    path.write_bytes(b"secret")
    path.chmod(0o600)
    part.write_bytes(b"of a run before")
    part.chmod(0o644)
    stream, _ = started(FileSink(path))
    stream.write(b"one")
    assert part.stat().st_mode & 0o777 == 0o600
    stream.write(RawPacket(b" two", flags=FINAL))
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one two", 0o600)


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="no symbolic links")
@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_is_followed_and_stays(tmp_path, there):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    if there:
        target.write_bytes(b"the one before")
    os.symlink(os.path.join("folder", "target"), str(tmp_path / "link"))
    sink = FileSink(tmp_path / "link")
    stream, _ = started(sink)
    stream.write(RawPacket(b"one", flags=FINAL))
    assert os.path.islink(str(tmp_path / "link")) and target.read_bytes() == b"one"
    assert os.listdir(str(tmp_path / "folder")) == ["target"] and sink.part == os.path.realpath(str(target)) + ".part"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")
def test_what_is_no_plain_file_is_written_to_and_not_replaced(tmp_path):
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        sink = FileSink(path)
        stream, _ = started(sink)
        stream.write(RawPacket(b"one", flags=FINAL))
        assert os.read(reader, 100) == b"one" and os.listdir(str(tmp_path)) == ["fifo"] and sink.part == path
    finally:
        os.close(reader)


@pytest.mark.skipif(os.name == "nt", reason="a file that is open cannot be removed")
def test_of_two_that_write_to_one_path_the_later_has_it_and_no_file_is_a_mixture(tmp_path):
    one, failed = failing(FileSink(tmp_path / "file"))
    two, others = failing(FileSink(tmp_path / "file"))
    one.write(b"1" * 10)
    two.write(b"2" * 4)
    one.write(RawPacket(b"1" * 10, flags=FINAL))
    assert [type(exc) for exc in failed] == [FileExistsError] and one.closed
    assert os.listdir(str(tmp_path)) == ["file.part"]
    two.write(RawPacket(b"2" * 4, flags=FINAL))
    assert (tmp_path / "file").read_bytes() == b"2" * 8 and others == []
    one, failed = failing(FileSink(tmp_path / "file"))
    one.write(b"1")
    os.unlink(str(tmp_path / "file.part"))
    one.write(icey.FlagPacket(FINAL))
    assert [type(exc) for exc in failed] == [FileNotFoundError] and (tmp_path / "file").read_bytes() == b"2" * 8


def test_from_a_file_to_a_file(loop, tmp_path):
    data = os.urandom(500000)
    (tmp_path / "from").write_bytes(data)
    stream = PacketStream()
    stream.attach_source(FileSource(loop, str(tmp_path / "from")), sync_state=True)
    sink = FileSink(tmp_path / "to")
    stream.attach(sink)
    stream.start()
    turn(loop, 20)
    assert (tmp_path / "to").read_bytes() == data and sink.written == len(data) and stream.stopped


@pytest.mark.needs("threading")
def test_behind_a_queue_it_writes_in_that_thread(tmp_path):
    stream = PacketStream()
    stream.attach(icey.AsyncPacketQueue(1000))
    stream.attach(FileSink(tmp_path / "file"))
    over = threading.Event()
    stream.on_close += lambda stream: over.set()
    stream.start()
    for number in range(100):
        stream.write(b"%d\n" % number)
    stream.write(icey.FlagPacket(FINAL))
    stream.close()
    assert over.wait(30)
    assert (tmp_path / "file").read_bytes() == b"".join(b"%d\n" % number for number in range(100))


def test_what_is_no_file_is_refused():
    with pytest.raises(TypeError, match="a path or a file that is open for writing, not 5"):
        FileSink(5)
    assert filesink.SUFFIX == ".part"


# threaded

class Gated(io.RawIOBase):
    """A file on a slow disk: each write waits for a permit; `writers` are the threads that write."""

    def __init__(self, permits=0):
        self.permits = threading.Semaphore(permits)
        self.begun = threading.Semaphore(0)
        self.taken, self.writers = b"", set()

    def writable(self):
        return True

    def write(self, data):
        self.begun.release()
        assert self.permits.acquire(timeout=LONG)
        self.writers.add(threading.get_ident())
        self.taken += bytes(data)
        return len(data)


def until(loop, met):
    end = time.monotonic() + LONG
    while not met():
        assert time.monotonic() < end
        loop.run_once(0.02)


@pytest.fixture
def real_loop(debug, reports):
    loop = icey.Loop(debug)
    loop.on_error += reports.note
    yield loop
    streams.finish(loop)


def recording(loop, data, sink, tmp_path, chunk=65536):
    """A stream from a file with `data` to `sink`; and its states, and its errors."""
    (tmp_path / "from").write_bytes(data)
    stream, states, failed = PacketStream(), [], []
    stream.attach_source(FileSource(loop, str(tmp_path / "from"), chunk=chunk), sync_state=True)
    stream.attach(sink)
    stream.on_state += lambda stream, new, old: states.append(new.name)
    stream.on_error += lambda stream, exc: failed.append(exc)
    return stream, states, failed


@needs_threads
def test_a_thread_writes_and_the_loop_runs_until_all_is_there(real_loop, tmp_path):
    data = os.urandom(3000000)
    sink = FileSink(tmp_path / "to", threaded=True)
    assert isinstance(sink, FileSink) and isinstance(sink, icey.PacketProcessor)
    stream, _, failed = recording(real_loop, data, sink, tmp_path)
    stream.start()
    real_loop.run()
    assert stream.stopped and failed == [] and sink.written == len(data) and sink.dropped == stream.dropped == 0
    assert (tmp_path / "to").read_bytes() == data and not (tmp_path / "to.part").exists()
    stream.start()  # once more
    real_loop.run()
    assert (tmp_path / "to").read_bytes() == data and sink.written == len(data)


class Slow(icey.PacketProcessor):
    """One that takes its time to be let go of."""

    def bind(self, following, stream=None):
        if stream is None:
            time.sleep(0.05)
        super().bind(following, stream)


@needs_threads
def test_the_loop_runs_until_the_stream_has_stopped(real_loop, tmp_path):
    stream, _, _ = recording(real_loop, b"data", FileSink(tmp_path / "to", threaded=True), tmp_path)
    stream.attach(Slow(), 1)
    stream.start()
    real_loop.run()
    assert stream.state is icey.PacketStreamState.STOPPED


@needs_threads
def test_the_loop_goes_on_while_the_thread_writes_and_the_sources_are_held(real_loop, tmp_path):
    data = os.urandom(4 * filesink.HIGH)
    file = Gated()
    stream, states, _ = recording(real_loop, data, FileSink(file, threaded=True), tmp_path)
    stream.start()
    until(real_loop, lambda: "PAUSED" in states)
    turned = []
    real_loop.call_soon(turned.append, 1)
    until(real_loop, lambda: turned)
    assert file.taken == b"" and stream.processors[0].depth <= filesink.HIGH // 65536 + 1
    for _ in range(1000):
        file.permits.release()
    real_loop.run()
    assert file.taken == data and stream.stopped and stream.dropped == 0
    assert len(file.writers) == 1 and threading.get_ident() not in file.writers


@needs_threads
def test_a_pause_of_ones_own_outlasts_that_of_the_thread(real_loop, tmp_path):
    data = os.urandom(4 * filesink.HIGH)
    file = Gated()
    stream, states, _ = recording(real_loop, data, FileSink(file, threaded=True), tmp_path)
    stream.start()
    until(real_loop, lambda: "PAUSED" in states)
    stream.pause()
    for _ in range(1000):
        file.permits.release()
    until(real_loop, lambda: stream.processors[0].depth == 0)
    for _ in range(5):
        real_loop.run_once(0.01)
    assert stream.state is icey.PacketStreamState.PAUSED
    stream.resume()
    real_loop.run()
    assert file.taken == data and stream.stopped and stream.dropped == 0


@needs_threads
def test_a_writer_waits_where_there_is_no_source_to_be_held(tmp_path):
    file, over = Gated(), threading.Event()
    stream = PacketStream()
    stream.attach(FileSink(file, threaded=True))
    stream.on_close += lambda stream: over.set()
    stream.start()
    waited = []

    def write():
        for number in range(4):
            stream.write(bytes([number]) * filesink.HIGH)
            waited.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    assert file.begun.acquire(timeout=LONG)
    writer.join(0.05)
    assert len(waited) <= 2 and writer.is_alive()
    for _ in range(4):
        file.permits.release()
    writer.join(LONG)
    stream.close()
    assert over.wait(LONG) and [file.taken[number * filesink.HIGH] for number in range(4)] == [0, 1, 2, 3]
    assert len(file.taken) == 4 * filesink.HIGH


@needs_threads
def test_a_disk_that_is_full_is_the_stream_s_error_and_frees_who_waits(real_loop, tmp_path):
    class Full(Gated):
        def write(self, data):
            Gated.write(self, data)
            raise OSError(errno.ENOSPC, "full")

    file = Full(1)
    stream, _, failed = recording(real_loop, b"1" * 3 * filesink.HIGH, FileSink(file, threaded=True), tmp_path)
    stream.start()
    real_loop.run()
    until(real_loop, lambda: stream.closed)
    assert [exc.errno for exc in failed] == [errno.ENOSPC]


@needs_threads
def test_a_source_that_breaks_off_has_the_thread_close_the_file_and_the_part_stays(real_loop, tmp_path):
    sink = FileSink(tmp_path / "to", threaded=True)
    stream, over = PacketStream(), threading.Event()
    stream.attach(sink)
    stream.on_error += lambda stream, exc: None
    stream.on_close += lambda stream: over.set()
    stream.start()
    stream.write(b"half")
    end = time.monotonic() + LONG
    while not sink.written and time.monotonic() < end:
        time.sleep(0.001)
    stream.fail(ValueError())
    assert over.wait(LONG) and os.listdir(str(tmp_path)) == ["to.part"]
    with pytest.raises(icey.StateError):
        stream.write(b"more")


@needs_threads
@pytest.mark.skipif(streams.PYPY, reason="PyPy counts no references")
def test_nothing_of_one_that_was_stopped_while_it_held_its_source_waits_for_the_collector(real_loop, tmp_path):
    file = Gated()
    stream, states, failed = recording(real_loop, b"1" * 3 * filesink.HIGH, FileSink(file, threaded=True), tmp_path)
    gc.collect()
    gc.disable()
    try:
        stream.start()
        until(real_loop, lambda: "PAUSED" in states)
        stream.stop()
        for _ in range(1000):
            file.permits.release()
        real_loop.run()
        until(real_loop, lambda: states[-1] == "STOPPED")
        gone = [weakref.ref(stream), weakref.ref(stream.processors[0]), weakref.ref(file)]
        del stream, file
        until(real_loop, lambda: not any(one() for one in gone))
    finally:
        gc.enable()


AT_THE_END = """
import sys, icey
stream = icey.PacketStream()
stream.attach(icey.FileSink(sys.argv[1], threaded=True))
stream.start()
for _ in range(400):
    stream.write(b"x" * 50000)
stream.write(icey.FlagPacket(icey.PacketFlags.FINAL))
%s
"""


@needs_threads
@pytest.mark.parametrize("end", ["", "stream.close()", "stream.stop()"])
def test_the_program_does_not_end_before_what_came_is_written(tmp_path, end):
    done = subprocess.run([sys.executable, "-c", AT_THE_END % end, str(tmp_path / "to")], cwd=ROOT,
                          stderr=subprocess.PIPE, universal_newlines=True, timeout=60)
    assert (done.returncode, without_slowness(done.stderr)) == (0, "")
    assert (tmp_path / "to").stat().st_size == 400 * 50000 and not (tmp_path / "to.part").exists()


@pytest.mark.needs("threading", "logging")
def test_a_disk_that_is_stuck_holds_up_no_end_of_the_program(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(filesink, "STUCK", 0.01)
    gate, begun = threading.Event(), threading.Event()
    sink = FileSink(tmp_path / "to", threaded=True)
    stream, _ = started(sink)
    stream.on_packet += lambda packet: (begun.set(), gate.wait(LONG))
    over = threading.Event()
    stream.on_close += lambda stream: over.set()
    stream.write(b"data")
    stream.write(b"more")
    assert begun.wait(LONG)
    stream.close()
    sink.await_end()
    assert "1 packets are lost with the end of the program" in caplog.text
    gate.set()
    assert over.wait(LONG)
    sink.await_end()
    assert sink.written == 8


@needs_threads
def test_with_synchronize_output_what_is_behind_comes_on_the_loop(real_loop, tmp_path):
    stream, states, _ = recording(real_loop, b"0123456789", FileSink(tmp_path / "to", threaded=True), tmp_path, chunk=3)
    stream.synchronize_output(real_loop)
    threads, there = set(), []
    stream.on_packet += lambda packet: threads.add(threading.get_ident())
    stream.on_packet += lambda packet: there.append((tmp_path / "to").exists())
    stream.start()
    real_loop.run()
    assert threads == {threading.get_ident()} and there[-1] and states[-1] == "STOPPED"


def test_without_threads_it_is_a_FileSink_as_any_other(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "threading", None)
    sink = FileSink(tmp_path / "file", threaded=True)
    assert type(sink) is FileSink
    stream, _ = started(sink)
    stream.write(RawPacket(b"one", flags=FINAL))
    assert (tmp_path / "file").read_bytes() == b"one"


@needs_threads
def test_a_subclass_of_FileSink_says_so():
    class Own(FileSink):
        pass

    class Threaded(filesink.ThreadedFileSink):
        pass

    assert type(Own("file")) is Own and type(Threaded("file")) is Threaded
    assert type(FileSink("file", threaded=False)) is FileSink
    with pytest.raises(TypeError, match="ThreadedFileSink"):
        Own("file", threaded=True)
