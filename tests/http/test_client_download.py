"""save_to: an answer's body in a file: there whole, or not at all."""
import gzip
import io
import os

import pytest

import icey
from tests.support import lacks, rawserver
from tests.support.rawserver import answer, chunked

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw

BODY = bytes(range(256)) * 1000


@pytest.fixture(params=["connection", "client"])
def begin(request, raw):
    """begin(target, path) starts a download to `target`: a function of what came of it, "complete" or the error."""
    def of_connection(target):
        conn = raw.connection()
        conn.save_to(target)
        conn.start()

        def outcome():
            raw.rest(conn)
            told = [rest[0] if rest else name for name, *rest in conn.seen if name in ("complete", "error")]
            conn.close()
            return told[0]
        return outcome

    def of_client(target):
        asking = raw.get()
        asking.call.save_to(target)

        def outcome():
            answer, error = asking.result()
            assert error is not None or answer.body == b""
            return error or "complete"
        return outcome

    return of_connection if request.param == "connection" else of_client


@pytest.mark.parametrize("sent", [answer(BODY), chunked(BODY[:1000], BODY[1000:]), answer(BODY, length=False)],
                         ids=["length", "chunked", "until close"])
def test_the_file_is_there_when_the_answer_is_complete(raw, begin, tmp_path, sent):
    target = tmp_path / "file.bin"
    outcome = begin(str(target))
    server = raw.accept()
    server.request()
    server.send(sent[:len(sent) // 2])
    raw.turn(3)
    assert not target.exists()
    server.send(sent[len(sent) // 2:])
    if b"Content-Length" not in sent and b"chunked" not in sent:
        server.close()
    assert outcome() == "complete"
    assert target.read_bytes() == BODY
    assert os.listdir(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("before", [None, b"what was there"], ids=["new", "old"])
@pytest.mark.parametrize("sent", [answer(BODY)[:-1], chunked(BODY)[:-2], chunked(BODY)[:-7] + b"junk"],
                         ids=["length", "chunked", "malformed"])
def test_what_fails_leaves_nothing_behind_and_what_was_there_alone(raw, begin, tmp_path, sent, before):
    target = tmp_path / "file.bin"
    if before is not None:
        target.write_bytes(before)
    outcome = begin(target)
    server = raw.accept()
    server.request()
    server.send(sent)
    server.close()
    assert isinstance(outcome(), icey.ProtocolError)
    assert os.listdir(tmp_path) == ([] if before is None else ["file.bin"])
    assert before is None or target.read_bytes() == before


def test_a_file_that_was_there_is_replaced(raw, begin, tmp_path):
    target = tmp_path / "file.bin"
    target.write_bytes(b"old, and longer than the new one")
    outcome = begin(target)
    raw.accept().reply(b"new")
    assert outcome() == "complete" and target.read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links")
def test_a_link_is_followed(raw, begin, tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "file")
    outcome = begin(link)
    raw.accept().reply(b"new")
    assert outcome() == "complete"
    assert link.is_symlink() and (tmp_path / "there" / "file").read_bytes() == b"new"


def test_an_empty_body_is_an_empty_file(raw, begin, tmp_path):
    outcome = begin(tmp_path / "file")
    raw.accept().reply(b"")
    assert outcome() == "complete" and (tmp_path / "file").read_bytes() == b""


def test_a_file_object_is_written_to_and_stays_open(raw, begin):
    file = io.BytesIO()
    outcome = begin(file)
    raw.accept().reply(BODY)
    assert outcome() == "complete" and file.getvalue() == BODY and not file.closed


@pytest.mark.parametrize("target", ["", "no/such/folder/file"], ids=["a folder", "nowhere"])
def test_what_cannot_be_written_is_told_at_once(raw, tmp_path, target):
    conn = raw.connection()
    with pytest.raises(OSError):
        conn.save_to(str(tmp_path / target))
    conn.abort()
    raw.turn(2)
    assert os.listdir(tmp_path) == []


class Full(io.RawIOBase):
    """A file on a disk that is full after so many bytes."""

    def __init__(self, room):
        self.room = room

    def writable(self):
        return True

    def write(self, data):
        if len(data) > self.room:
            raise OSError(28, "No space left on device")
        self.room -= len(data)
        return len(data)


def test_a_full_disk_is_the_transaction_s_error(raw, begin):
    outcome = begin(Full(100))
    raw.accept().reply(BODY)
    error = outcome()
    assert isinstance(error, OSError) and error.errno == 28


def test_a_file_that_takes_little_at_a_time(raw, begin):
    class Slow(io.BytesIO):
        def write(self, data):
            return super().write(data[:1000])

    file = Slow()
    outcome = begin(file)
    raw.accept().reply(BODY)
    assert outcome() == "complete" and file.getvalue() == BODY


def test_closing_midway_removes_what_there_is(raw, tmp_path):
    conn = raw.connection()
    conn.save_to(tmp_path / "file")
    conn.start()
    server = raw.accept()
    server.request()
    server.send(answer(BODY)[:5000])
    raw.until(lambda: conn.received)
    assert len(os.listdir(tmp_path)) == 1  # the part
    conn.close()
    raw.until(lambda: conn.closed)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(lacks("zlib") is not None, reason="zlib")
def test_a_client_s_file_is_decoded_and_a_redirect_s_body_is_not_in_it(raw, tmp_path):
    asking = raw.get()
    asking.call.save_to(tmp_path / "file")
    server = raw.accept()
    server.reply(b"look elsewhere", "Location: /there", status="302 Found")
    server.reply(gzip.compress(BODY), "Content-Encoding: gzip")
    asking.answer()
    assert (tmp_path / "file").read_bytes() == BODY
