"""Where bodies go: what test_get.py does not reach by a server."""
import io
import os
import threading

import pytest

from icey.http import Response
from icey.tools.cli.console import Console, Trouble
from icey.tools.get import outlets


def console(out):
    return Console("get", out, io.StringIO())


@pytest.mark.parametrize("buffering", [-1, 0], ids=["buffered", "python3 -u"])
def test_a_nonblocking_stdout_is_waited_for(buffering):
    """As some programs leave the terminal, or the pipe, that they share with us."""
    body, read, write = os.urandom(300000), *os.pipe()
    os.set_blocking(write, False)
    received = []
    with open(read, "rb") as reader, open(write, "wb", buffering) as writer:
        thread = threading.Thread(target=lambda: received.append(reader.read()))
        thread.start()
        outlet = outlets.Standard(console(writer), True)
        for start in range(0, len(body), 100000):
            outlet.write(memoryview(body)[start:start + 100000])
        writer.close()
        thread.join(20)
    assert received == [body]


def test_an_unbuffered_stdout_may_take_less_at_a_time():
    """That of python3 -u does where the program is stopped in a write, and goes on."""
    class Raw(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            out.append(bytes(data[:4096]))
            return len(out[-1])

    out, body = [], os.urandom(10000)
    outlets.Standard(console(Raw()), True).write(memoryview(body))
    assert b"".join(out) == body


def test_json_that_is_too_large_comes_as_it_is(monkeypatch):
    monkeypatch.setattr(outlets, "MOST_GATHERED", 10)
    out = io.BytesIO()
    screen = console(out)
    outlet = outlets.Indented(outlets.Standard(screen, True), screen)
    for piece in (b"[1,2,", b"3,4,5,6,", b"7]"):
        outlet.write(memoryview(piece))
    outlet.commit()
    assert out.getvalue() == b"[1,2,3,4,5,6,7]"
    assert screen.err.getvalue() == "over 0 MiB of JSON are not laid out: they come as they are\n"


class Failing:
    """A file that does not write what it is given."""

    def write(self, data):
        raise OSError(28, "No space left on device")

    def close(self):
        raise OSError(28, "No space left on device")


def begun(path):
    outlet = outlets.Resumed(str(path))
    outlet.open(Response(200))
    outlet._file.close()
    outlet._file = Failing()
    return outlet


def test_a_disk_that_fills_up_while_a_file_is_resumed(tmp_path):
    outlet = begun(tmp_path / "file")
    for act in (lambda: outlet.write(b"x"), outlet.commit):
        with pytest.raises(Trouble) as refused:
            act()
        assert (refused.value.status, str(refused.value)) == (
            1, "cannot write %s: No space left on device" % (tmp_path / "file"))
    outlet.discard()  # its last bytes are asked for again


def saved(path, data=b"new"):
    outlet = outlets.Saved(str(path))
    outlet.write(memoryview(data))
    return outlet


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symbolic links")
def test_a_link_stays_one_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    os.symlink("real", str(tmp_path / "link"))
    saved(tmp_path / "link").commit()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert os.path.islink(str(tmp_path / "link"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("end", ["commit", "discard"])
def test_a_pipe_stays_one(tmp_path, end):
    os.mkfifo(str(tmp_path / "pipe"))
    fd = os.open(str(tmp_path / "pipe"), os.O_RDWR)
    try:
        getattr(saved(tmp_path / "pipe"), end)()
        assert os.read(fd, 10) == b"new"
    finally:
        os.close(fd)
    assert os.listdir(str(tmp_path)) == ["pipe"]


@pytest.mark.parametrize("name", ["n" * 250, "\u65e5" * 80, "\U0001f600" * 60])
def test_names_as_long_as_the_system_has_them(tmp_path, name):
    saved(tmp_path / name).commit()
    assert os.listdir(str(tmp_path)) == [name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_what_is_given_up_need_not_be_written():
    saved("/dev/full").discard()


def test_an_outlet_says_what_it_is_for():
    outlet = outlets.Outlet()
    outlet.commit()
    outlet.discard()
    with pytest.raises(NotImplementedError):
        outlet.head(b"x")


# what comes from outside, and a terminal

NAUGHTY = "HTTP/1.1 200 \x9b31m\r\nA: caf\xe9\tb\u202ec\x1b[2J\r\n\r\n"


@pytest.mark.parametrize("flag", [False, True])
def test_a_head_on_a_terminal_steers_it_not(flag):
    out = io.BytesIO()
    screen = Console("get", out, io.StringIO(), out_terminal=True)
    outlets.Standard(screen, flag).head(NAUGHTY.encode("utf-8") + b"\xff")
    assert out.getvalue().decode("utf-8") == "HTTP/1.1 200 \\x9b31m\r\nA: caf\xe9\tb\\u202ec\\x1b[2J\r\n\r\n\\xff"


def test_elsewhere_it_is_as_it_came():
    out = io.BytesIO()
    outlets.Standard(console(out), False).head(NAUGHTY.encode("utf-8"))
    assert out.getvalue() == NAUGHTY.encode("utf-8")
