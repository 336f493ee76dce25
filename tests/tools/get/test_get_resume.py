"""icey get --resume: going on where a file ends, and what is not the rest of it. See getting.py."""
import os

import pytest

from tests.support import getting, streams
from tests.support.getting import answer

debug, clock, reports, loop, desk = streams.debug, streams.clock, streams.reports, streams.loop, getting.desk

HELLO = answer("200 OK", "Content-Type: text/plain", body=b"Hello")
WHOLE = bytes(range(256)) * 40  # 10240


def ranged(first, *fields, last=10239, total=10240, body=None):
    body = WHOLE[first:last + 1] if body is None else body
    return answer("206 Partial Content", "Content-Range: bytes %d-%d/%s" % (first, last, total), *fields, body=body)


@pytest.fixture
def part(desk):
    (desk.folder / "part").write_bytes(WHOLE[:1000])
    return desk.folder / "part"


def resume(desk):
    return desk.get("--resume", "-o", "part", "/")


def test_the_rest_is_asked_for_and_appended(desk, part):
    server = desk.can(ranged(1000))
    assert resume(desk) == 0
    assert b"\r\nRange: bytes=1000-\r\n" in server.requests[0] and b"If-Range" not in server.requests[0]
    assert part.read_bytes() == WHOLE
    assert desk.err == "part: 10.0 KiB, of which 9.0 KiB came now\n"
    assert desk.files() == ["part"]


def test_a_total_that_is_not_told(desk, part):
    desk.can(ranged(1000, total="*"))
    assert resume(desk) == 0
    assert part.read_bytes() == WHOLE


@pytest.mark.parametrize("there", [None, b""], ids=["missing", "empty"])
def test_nothing_is_there_yet(desk, there):
    if there is not None:
        (desk.folder / "part").write_bytes(there)
    server = desk.can(answer("200 OK", body=WHOLE))
    assert resume(desk) == 0
    assert b"Range" not in server.requests[0]
    assert desk.read("part") == WHOLE
    assert desk.files() == ["part"]


@pytest.mark.parametrize("fields, text", [
    (['ETag: "one"'], "the server cannot resume"), ([], "the server cannot resume"),
    (['ETag: "two"'], "what the server has is not what the part is of"),
])
def test_all_of_it_comes_anew_and_why(desk, part, fields, text):
    (desk.folder / "part.resume").write_bytes(b'If-Range: "one"\n')
    desk.can(answer("200 OK", *fields, body=b"other"))
    assert resume(desk) == 0
    assert desk.err == "part: %s: starting over\npart: 5 B\n" % text


def test_a_server_without_ranges_sends_all_of_it_anew(desk, part):
    desk.can(answer("200 OK", body=b"other"))
    assert resume(desk) == 0
    assert part.read_bytes() == b"other"
    assert desk.err == "part: the server cannot resume: starting over\npart: 5 B\n"


def test_all_of_it_is_there(desk, part):
    part.write_bytes(WHOLE)
    desk.can(answer("416 Range Not Satisfiable", "Content-Range: bytes */%d" % len(WHOLE)))
    assert desk.get("--fail", "--resume", "-o", "part", "/") == 0
    assert desk.err == "part: complete already\n"
    assert part.read_bytes() == WHOLE


@pytest.mark.parametrize("reply, status, text", [
    (answer("416 Range Not Satisfiable", "Content-Range: bytes */999"), 8, "416 Range Not Satisfiable: nothing that part "
                                                                          "could go on with"),
    (answer("416 Range Not Satisfiable"), 8, None),
    (answer("404 Not Found", body=b"error"), 8, "404 Not Found: nothing that part could go on with"),
    (answer("204 No Content"), 8, None),
    (ranged(999), 7, "the server was asked for bytes from 1000 on and sends 'bytes 999-10239/10240': nothing was written"),
    (ranged(1001), 7, None),
    (ranged(1000, last=999), 7, None),
    (ranged(1000, total=10239), 7, None),
    (answer("206 Partial Content", "Content-Type: multipart/byteranges; boundary=x", body=b"--x--"), 7, None),
    (answer("206 Partial Content", "Content-Range: bytes 1000-x/*", body=b"1"), 7, None),
    (ranged(1000, body=WHOLE[1000:] + b"more"), 7, "the server sends more than its Content-Range says"),
    (ranged(1000, total=20000), 7, "the server sent less than the rest of part: try again"),
    (ranged(1000, body=WHOLE[1000:2000]), 7, "the server sent less than the rest of part: try again"),
], ids=["longer-than-there", "416-alone", "404", "204", "one-early", "one-late", "last-before-first", "total-too-small",
        "multipart", "no-range", "too-much", "not-all-of-it", "less-than-told"])
def test_what_is_not_the_rest_is_refused(desk, part, reply, status, text):
    desk.can(reply)
    assert resume(desk) == status
    assert desk.err == "get: %s\n" % text if text else desk.err.count("\n") == 1
    assert WHOLE.startswith(part.read_bytes()) and part.stat().st_size >= 1000


def test_what_came_of_a_failure_is_kept_and_the_next_time_goes_on(desk):
    server = desk.can(answer("200 OK", 'ETag: "one"', body=WHOLE)[:-5000], ranged(5240, 'ETag: "one"')[:-1000],
                      ranged(9240, 'ETag: "one"'))
    assert [resume(desk), desk.files()] == [7, ["part", "part.resume"]]
    assert desk.read("part") == WHOLE[:5240]
    assert [resume(desk), desk.read("part")] == [7, WHOLE[:9240]]
    assert [resume(desk), desk.read("part"), desk.files()] == [0, WHOLE, ["part"]]
    assert [b'\r\nIf-Range: "one"\r\n' in request for request in server.requests] == [False, True, True]


def test_the_date_is_remembered_where_there_is_no_strong_etag(desk):
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    server = desk.can(answer("200 OK", 'ETag: W/"weak"', "Last-Modified: " + date, body=WHOLE)[:-5000], ranged(5240))
    assert [resume(desk), resume(desk)] == [7, 0]
    assert b"\r\nIf-Range: %s\r\n" % date.encode() in server.requests[1]


def test_of_a_file_that_has_changed_all_comes_anew(desk, part):
    (desk.folder / "part.resume").write_bytes(b'If-Range: "one"\n')
    desk.can(answer("200 OK", 'ETag: "two"', body=b"two"))
    assert resume(desk) == 0
    assert (part.read_bytes(), desk.files()) == (b"two", ["part"])


def test_a_server_that_ignores_if_range_is_not_believed(desk, part):
    (desk.folder / "part.resume").write_bytes(b'If-Range: "one"\n')
    desk.can(ranged(1000, 'ETag: "two"'))
    assert resume(desk) == 7
    assert "part has changed on the server, which ignores If-Range: remove it to begin anew" in desk.err
    assert part.stat().st_size == 1000


@pytest.mark.parametrize("noted", [b"", b"\xff\xfe", b"If-Range: a\rb\n", b"If-Range: a\nb\n"])
def test_what_beside_the_file_is_no_note_of_ours_is_not_sent(desk, part, noted):
    (desk.folder / "part.resume").write_bytes(noted)
    server = desk.can(ranged(1000))
    assert resume(desk) == 0
    assert b"If-Range" not in server.requests[0]


def test_only_plain_files_are_resumed(desk):
    desk.can(HELLO)
    os.mkdir("folder")
    assert desk.get("--resume", "-o", "folder", "/") == 1
    assert desk.err == "get: folder is no plain file, it cannot be resumed\n"
    assert desk.get("--resume", "-o", "no/such", "/") == 1
    assert desk.get("--resume", "-o", "a\0b", "/") == 1


def test_a_file_that_changes_meanwhile_is_left_alone(desk, part):
    def slot(exchange):
        part.write_bytes(b"somebody else's")
        exchange.response.status = 206
        exchange.response.headers["Content-Range"] = "bytes 1000-10239/10240"
        exchange.respond(206, WHOLE[1000:])

    desk.serve(slot)
    assert resume(desk) == 1
    assert desk.err == "get: cannot write part: it has changed since the request\n"
    assert part.read_bytes() == b"somebody else's"


def test_resumed_under_the_url_s_name(desk):
    (desk.folder / "x.bin").write_bytes(WHOLE[:1000])
    desk.can(ranged(1000))
    assert desk.get("--resume", "-O", "/x.bin") == 0
    assert desk.read("x.bin") == WHOLE


# -- how old a file is -----------------------------------------------------------------------------------------------

MODIFIED = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"
THEN = 784111777


def age(desk, name):
    return int((desk.folder / name).stat().st_mtime)


@pytest.mark.parametrize("arguments", [
    ["-o", "x", "/"], ["-O", "/x"], ["-R", "--json", "-o", "x", "/"], ["-C", "-", "-O", "/x"], ["-OJ", "/x"]], ids=" ".join)
def test_a_file_is_as_old_as_the_server_says(desk, arguments):
    desk.can(answer("200 OK", MODIFIED, body=b"{}"))
    assert desk.get(*arguments) == 0
    assert age(desk, "x") == THEN and desk.files() == ["x"]
    assert (desk.folder / "x").stat().st_atime > THEN


def test_so_is_one_that_was_resumed(desk, part):
    desk.can(ranged(1000, MODIFIED))
    assert desk.get("-C", "-", "-o", "part", "/") == 0
    assert part.read_bytes() == WHOLE and age(desk, "part") == THEN


@pytest.mark.parametrize("flags, head", [
    (["--no-mtime"], ["200 OK", MODIFIED]), ([], ["200 OK"]), ([], ["200 OK", "Last-Modified: yesterday"]),
    ([], ["404 Not Found", MODIFIED])])
def test_otherwise_as_the_download(desk, flags, head):
    desk.can(answer(*head, body=b"Hello"))
    assert desk.get(*flags, "-o", "x", "/") == 0
    assert age(desk, "x") > THEN and desk.err == "x: 5 B\n"


def test_what_is_no_file_has_no_age(desk):
    before = os.stat(os.devnull).st_mtime
    desk.can(answer("200 OK", MODIFIED, body=b"Hello"), answer("200 OK", MODIFIED, body=b"Hello"))
    assert desk.get("-o", os.devnull, "/") == 0 and desk.get("/") == 0
    assert os.stat(os.devnull).st_mtime == before and desk.out == b"Hello"


def test_a_time_that_cannot_be_set_is_told(desk, monkeypatch):
    monkeypatch.setattr(os, "utime", getting.raising(OverflowError("too large")))
    desk.can(answer("200 OK", MODIFIED, body=b"Hello"))
    assert desk.get("-o", "x", "/") == 0
    assert desk.err == "x: its time cannot be set: too large\nx: 5 B\n" and desk.read("x") == b"Hello"
