"""curl: one connection for two requests, ranges, HEAD, uploads with Expect: 100-continue."""
import os
import subprocess

import pytest

from tests.support import tool


def curl(*arguments):
    """(stdout, the -v lines) of curl."""
    done = subprocess.run([tool("curl"), "--noproxy", "*", "-sSv", "--max-time", "30", *arguments],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    said = done.stderr.decode("utf-8", "replace").replace("\r", "")
    assert done.returncode == 0, said
    return done.stdout, said


def test_two_requests_on_one_connection(serve):
    data, said = curl(serve.url + "hello.txt", serve.url + "sub/x.txt")
    assert data == b"hello, world\nx"
    assert said.count("Re-using existing connection") == 1 and said.count("* Connected to ") == 1


def test_a_range(serve):
    data, said = curl("-r", "1000-1999", serve.url + "big.bin")
    assert data == (bytes(range(256)) * 4096)[1000:2000]
    assert "< HTTP/1.1 206 Partial Content\n" in said and "< Content-Range: bytes 1000-1999/1048576\n" in said


def test_several_ranges(serve):
    data, said = curl("-r", "0-1,10-11", serve.url + "hello.txt")
    assert "multipart/byteranges" in said and b"\r\n\r\nhe\r\n" in data and b"\r\n\r\nld\r\n" in data


def test_a_download_that_is_resumed(serve, folder):
    path = os.path.join(folder, "part")
    with open(path, "wb") as file:
        file.write((bytes(range(256)) * 4096)[:300_000])
    curl("-C", "-", "-o", path, serve.url + "big.bin")
    with open(path, "rb") as file:
        assert file.read() == bytes(range(256)) * 4096


def test_head(serve):
    data, said = curl("-I", serve.url + "big.bin", serve.url + "hello.txt")
    assert b"Content-Length: 1048576\r\n" in data and b"Content-Length: 13\r\n" in data
    assert said.count("Re-using existing connection") == 1
    assert serve.logged("/big.bin") == [200]


def test_not_modified(serve, folder):
    etag = os.path.join(folder, "etag")
    curl("--etag-save", etag, serve.url + "hello.txt")
    data, said = curl("--etag-compare", etag, serve.url + "hello.txt")
    assert data == b"" and "< HTTP/1.1 304 Not Modified\n" in said


def test_http_1_0(serve):
    data, said = curl("-0", serve.url + "hello.txt")
    assert data == b"hello, world\n"


@pytest.mark.parametrize("path", ["echo", "collected"])
def test_an_upload_of_5_mb_with_expect_100_continue(app, folder, path):
    body = os.urandom(5_000_000)
    source, target = os.path.join(folder, "up"), os.path.join(folder, "down")
    with open(source, "wb") as file:
        file.write(body)
    _, said = curl("-H", "Expect: 100-continue", "--expect100-timeout", "20", "-X", "POST", "-T", source, "-o", target,
                   app.url + path, "--next", "-sSv", "--noproxy", "*", "-o", os.devnull, app.url + "hello")
    with open(target, "rb") as file:
        assert file.read() == body
    assert "< HTTP/1.1 100 Continue\n" in said and "Re-using existing connection" in said


def test_an_upload_in_chunks(app, folder):
    source = os.path.join(folder, "up")
    with open(source, "wb") as file:
        file.write(bytes(range(256)) * 2000)
    data, said = curl("-H", "Transfer-Encoding: chunked", "-T", source, app.url + "echo")
    assert data == bytes(range(256)) * 2000 and "> Transfer-Encoding: chunked\n" in said


def test_an_upload_that_is_refused_is_not_sent(serve, folder):
    source = os.path.join(folder, "up")
    with open(source, "wb") as file:
        file.write(bytes(5_000_000))
    data, said = curl("-H", "Expect: 100-continue", "--expect100-timeout", "20", "-T", source, serve.url + "up")
    assert "< HTTP/1.1 405 Method Not Allowed\n" in said and "100 Continue" not in said
    assert "We are completely uploaded" not in said
