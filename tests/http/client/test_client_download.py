"""save_to(): a file that is there whole or not at all, of a ClientConnection and of a Call."""
import errno
import gzip
import io
import os

import pytest

import icey
from icey.http.client.download import Download
from tests.support import needs, rawserver
from tests.support.rawserver import answer, chunked

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

BIG = bytes(range(256)) * 2000


@pytest.fixture
def target(tmp_path):
    """A path in a folder of its own."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "name.bin"


def others(target):
    """What else is in the target's folder."""
    return sorted(path.name for path in target.parent.iterdir() if path != target)


class Ended:
    """A ClientConnection or a Call that saves, told by what either has in common."""

    def __init__(self, raw, kind, target, before=True):
        self.raw = raw
        self.kind = kind
        self.made = raw.connection() if kind == "connection" else raw.get()
        if before:
            self.made.save_to(target)
        if kind == "connection":
            self.made.start()
        self.server = raw.accept()
        self.server.request()

    def outcome(self):
        """"complete", or the error's class."""
        if self.kind == "call":
            _, error = self.made.result()
            return "complete" if error is None else type(error)
        told = self.raw.story(self.made)
        return "complete" if "complete" in told else told[-2]


both = pytest.mark.parametrize("kind", ["connection", "call"])


@both
@pytest.mark.parametrize("data", [answer(BIG), chunked(BIG[:1000], BIG[1000:]), answer(BIG, length=False)],
                         ids=["length", "chunked", "close"])
@pytest.mark.parametrize("form", [str, os.fsencode, lambda path: path], ids=["str", "bytes", "path"])
def test_a_complete_answer_is_saved(raw, target, kind, data, form):
    ended = Ended(raw, kind, form(target))
    assert not target.exists()
    ended.server.send(data[:-100])
    raw.turn(5)
    assert not target.exists() and len(others(target)) == 1
    ended.server.send(data[-100:])
    ended.server.half_close()
    assert ended.outcome() == "complete"
    assert target.read_bytes() == BIG and others(target) == []


@both
def test_an_empty_body_makes_an_empty_file(raw, target, kind):
    ended = Ended(raw, kind, str(target))
    ended.server.answer()
    assert ended.outcome() == "complete"
    assert target.read_bytes() == b"" and others(target) == []


@both
@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o200, 0o4711])
def test_the_mode_of_what_was_there_stays(raw, target, kind, mode):
    """And nobody else reads what has come so far."""
    target.write_bytes(b"old")
    target.chmod(mode)
    ended = Ended(raw, kind, str(target))
    ended.server.send(answer(b"new!!")[:-1])
    raw.turn(3)
    part, = others(target)
    assert (target.parent / part).stat().st_mode & 0o7777 == mode & 0o777
    ended.server.send(b"!")
    assert ended.outcome() == "complete"
    assert target.stat().st_mode & 0o7777 == mode & 0o777


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_new_file_has_the_usual_mode(raw, target):
    old = os.umask(0o027)
    try:
        ended = Ended(raw, "call", str(target))
        ended.server.answer(b"new")
        assert ended.outcome() == "complete"
    finally:
        os.umask(old)
    assert target.stat().st_mode & 0o7777 == 0o640


@pytest.mark.skipif(os.name != "posix", reason="owners are POSIX")
def test_so_does_its_owner_where_that_is_allowed(raw, target, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "fchown", lambda fd, *owner: asked.append(owner))
    target.write_bytes(b"old")
    for allowed in (True, False):
        if not allowed:
            monkeypatch.setattr(os, "fchown", lambda fd, *owner: open("/nowhere/at/all"))
        ended = Ended(raw, "call", str(target))
        ended.server.answer(b"new", "Connection: close")
        assert ended.outcome() == "complete" and target.read_bytes() == b"new"
    assert asked == [(os.stat(str(target)).st_uid, os.stat(str(target)).st_gid)]


@both
def test_what_was_there_is_replaced_when_all_is_there(raw, target, kind):
    target.write_bytes(b"old")
    ended = Ended(raw, kind, str(target))
    ended.server.send(answer(b"new!!")[:-1])
    raw.turn(3)
    assert target.read_bytes() == b"old"
    ended.server.send(b"!")
    assert ended.outcome() == "complete" and target.read_bytes() == b"new!!" and others(target) == []


FAILURES = {
    "cut": (answer(b"hello")[:-1], "half_close"),
    "reset": (answer(b"hello")[:-1], "reset"),
    "bad chunk": (chunked(b"hello")[:-5] + b"x\r\n", "half_close"),
    "no answer": (b"", "half_close"),
}


@both
@pytest.mark.parametrize("data, how", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_leaves_what_was_there(raw, target, kind, data, how, old):
    if old:
        target.write_bytes(old)
    ended = Ended(raw, kind, str(target))
    ended.server.send(data)
    raw.turn(3)
    getattr(ended.server, how)()
    assert ended.outcome() != "complete"
    assert (target.read_bytes() if target.exists() else None) == old and others(target) == []


@both
@pytest.mark.parametrize("verb", ["close", "abort"])
def test_so_does_closing(raw, target, kind, verb):
    ended = Ended(raw, kind, str(target))
    ended.server.send(answer(b"hello")[:-1])
    raw.turn(3)
    getattr(ended.made, verb)()
    raw.turn(4)
    assert ended.made.closed and others(target) == [] and not target.exists()


def test_so_does_a_deadline(raw, target):
    conn = raw.connection(limits={"body_timeout": 5.0})
    conn.save_to(str(target))
    conn.start()
    server = raw.accept()
    server.request()
    server.send(answer(b"hello")[:-1])
    raw.turn(3)
    raw.wait(5.1)
    assert raw.story(conn)[-2:] == [icey.Deadline, "close"] and others(target) == [] and not target.exists()


@both
@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "304 Not Modified", "302 Found"])
def test_only_a_success_is_saved(raw, target, kind, status):
    target.write_bytes(b"old")
    ended = Ended(raw, kind, str(target))
    ended.server.answer(b"" if status.startswith("304") else b"an error page", status=status)
    assert ended.outcome() == "complete"
    assert target.read_bytes() == b"old" and others(target) == []
    if kind == "call" and not status.startswith("304"):
        assert ended.made.answer().body == b"an error page"


@both
def test_anything_is_when_on_headers_says_so(raw, target, kind):
    ended = Ended(raw, kind, None, before=False)
    ended.made.on_headers += lambda made: made.save_to(str(target))
    ended.server.answer(b"an error page", status="404 Not Found")
    assert ended.outcome() == "complete" and target.read_bytes() == b"an error page"


@both
def test_too_late_is_a_state_error(raw, target, kind):
    ended = Ended(raw, kind, None, before=False)
    ended.server.send(answer(b"hello")[:-1])
    raw.until(lambda: ended.made.received)
    with pytest.raises(icey.StateError, match="some of the body has come"):
        ended.made.save_to(str(target))
    ended.server.send(b"o")
    assert ended.outcome() == "complete" and others(target) == [] and not target.exists()


@both
def test_another_target_takes_the_place_of_the_first(raw, target, kind):
    ended = Ended(raw, kind, str(target))
    second = target.with_name("second")
    ended.made.save_to(str(second))
    ended.server.answer(b"hello")
    assert ended.outcome() == "complete" and others(target) == ["second"] and not target.exists()


@both
def test_a_target_that_cannot_be_written_to_is_told_at_once(raw, target, kind):
    made = raw.connection() if kind == "connection" else raw.get()
    for wrong, error in ((str(target.parent), IsADirectoryError), (str(target / "missing" / "x"), OSError), (5, TypeError),
                         (str(target.parent) + os.sep + "missing" + os.sep, IsADirectoryError), ("", OSError)):
        with pytest.raises(error):
            made.save_to(wrong)
    made.save_to(str(target))
    with pytest.raises(IsADirectoryError):
        made.save_to(str(target.parent))
    if kind == "connection":
        made.start()
    raw.accept().reply(b"hello")
    raw.until(target.exists)  # the one before counts
    raw.turn(3)
    assert target.read_bytes() == b"hello"
    made.close()
    raw.turn(3)
    with pytest.raises(icey.StateError):
        made.save_to(str(target))


def test_it_is_for_the_next_answer_only(raw, target):
    conn = raw.connection()
    conn.save_to(str(target))
    conn.start()
    server = raw.accept()
    server.reply(b"first")
    raw.rest(conn)
    conn.start()
    server.reply(b"second")
    raw.rest(conn)
    assert target.read_bytes() == b"first"
    assert raw.story(conn) == [200, b"first", "complete", 200, b"second", "complete"]  # on_payload is told as well


def test_it_may_be_asked_for_between_two_requests_of_a_call(raw, target):
    call = raw.get()
    call.on_sent += lambda call, head: call.save_to(str(target))
    server = raw.accept()
    server.request()
    server.answer(b"not this", "Location: /next", status="302 Found")
    server.reply(b"this")
    call.answer()
    assert target.read_bytes() == b"this" and others(target) == []


def test_it_goes_through_redirects(raw, target):
    call = raw.get()
    call.save_to(str(target))
    server = raw.accept()
    server.request()
    server.answer(b"not this", "Location: /next", status="302 Found")
    server.reply(b"this")
    assert call.answer().body == b"" and target.read_bytes() == b"this" and others(target) == []


def test_it_is_decoded(raw, target):
    needs("zlib")
    call = raw.client(max_body=10) and raw.get()
    call.save_to(str(target))
    raw.accept().reply(gzip.compress(BIG), "Content-Encoding: gzip")
    assert call.answer().body == b"" and target.read_bytes() == BIG
    call = raw.get()
    call.save_to(str(target))
    raw.accepted[-1].reply(gzip.compress(b"cut")[:-1], "Content-Encoding: gzip")
    call.error(icey.BadResponse)
    assert target.read_bytes() == BIG and others(target) == []


# a file object

@both
def test_a_file_object_is_written_to_and_stays_open(raw, kind):
    file = io.BytesIO()
    ended = Ended(raw, kind, file)
    ended.server.answer(BIG)
    assert ended.outcome() == "complete" and file.getvalue() == BIG and not file.closed


def test_a_buffered_file_is_flushed(raw, target):
    with open(str(target), "wb") as file:
        ended = Ended(raw, "call", file)
        ended.server.answer(b"hello")
        assert ended.outcome() == "complete" and target.read_bytes() == b"hello"


class Slow:
    """Takes little at a time, as a raw file may, and tells or not."""

    def __init__(self, most, tells=True):
        self.most = most
        self.tells = tells
        self.got = b""

    def write(self, data):
        taken = bytes(data) if self.most is None else bytes(data[:self.most])
        self.got += taken
        return len(taken) if self.tells else None


@pytest.mark.parametrize("file", [Slow(1), Slow(1000), Slow(None, tells=False)], ids=["1", "1000", "mute"])
def test_a_file_that_takes_less_than_all(raw, file):
    ended = Ended(raw, "connection", file)
    ended.server.answer(BIG[:3000])
    file.got = b""
    assert ended.outcome() == "complete" and file.got == BIG[:3000]


@both
@pytest.mark.parametrize("file, error", [(Slow(0), OSError), (io.StringIO(), TypeError)], ids=["nothing", "text"])
def test_a_file_that_takes_nothing_is_an_error(raw, kind, file, error):
    ended = Ended(raw, kind, file)
    ended.server.answer(b"hello")
    assert issubclass(ended.outcome(), error)


class Full(io.BytesIO):
    """A file on a full disk. `when`: the call that fails."""

    def __init__(self, when):
        super().__init__()
        self.when = when

    def write(self, data):
        self.check("write")
        return super().write(data)

    def flush(self):
        self.check("flush")

    def check(self, what):
        if what == self.when:
            raise OSError(errno.ENOSPC, "no space left")


@both
@pytest.mark.parametrize("when", ["write", "flush"])
def test_a_full_disk(raw, kind, when):
    ended = Ended(raw, kind, Full(when))
    ended.server.answer(b"hello")
    assert issubclass(ended.outcome(), OSError)


@both
def test_a_file_that_cannot_get_its_name(raw, target, kind, monkeypatch):
    def replace(old, new):
        raise OSError(errno.EXDEV, "another device")

    ended = Ended(raw, kind, str(target))
    monkeypatch.setattr("os.replace", replace)
    ended.server.answer(b"hello")
    assert issubclass(ended.outcome(), OSError) and others(target) == [] and not target.exists()


@both
def test_a_temporary_file_that_cannot_be_removed_is_reported(raw, target, kind, monkeypatch, reports):
    ended = Ended(raw, kind, str(target))
    ended.server.send(answer(b"hello")[:-1])
    raw.turn(3)
    os.unlink(os.path.join(str(target.parent), others(target)[0]))
    ended.made.abort()
    raw.turn(3)
    assert ended.made.closed
    reports.take(FileNotFoundError)


# a Download by itself

def test_what_is_no_plain_file_is_written_to_as_it_is():
    download = Download(os.devnull)
    download.write(b"hello")
    download.commit()
    assert download.file.closed
    download = Download(os.devnull)
    download.write(b"hello")
    download.discard()
    assert download.file.closed


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="this system has no links for all")
def test_a_link_is_followed(target):
    target.write_bytes(b"old")
    link = target.with_name("link")
    link.symlink_to(target)
    download = Download(str(link))
    download.write(b"new")
    download.commit()
    assert link.is_symlink() and target.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["x" * 255, "\xe9" * 127, "a.b.c"])
def test_long_names(target, name):
    download = Download(str(target.with_name(name)))
    download.write(b"hello")
    download.commit()
    assert target.with_name(name).read_bytes() == b"hello"


def test_discarded_though_the_disk_is_full(target):
    download = Download(str(target))
    file, download.file = download.file, None

    class Failing:
        def close(self):
            file.close()
            raise OSError(errno.ENOSPC, "no space left")

    download.file = Failing()
    download.discard()
    assert others(target) == [] and not target.exists()
    download.discard()


def test_committed_though_the_disk_is_full_is_an_error(target):
    download = Download(str(target))
    file = download.file

    class Failing:
        def close(self):
            file.close()
            raise OSError(errno.ENOSPC, "no space left")

    download.file = Failing()
    with pytest.raises(OSError):
        download.commit()
    assert others(target) == [] and not target.exists()
