"""`serve --cors` in Chromium: what a page of another origin may ask, and read."""
import os
import sys

import pytest

from tests.support import ROOT

# (status, body, what a script sees of the headers) of fetch(url, options), or the name of what it throws
ASK = """
(async (url, options) => {
  try {
    const answer = await fetch(url, options);
    const seen = name => answer.headers.get(name);
    return [answer.status, await answer.text(), seen("Content-Range"), seen("Content-Type"), seen("ETag") !== null,
            seen("Content-Length")];
  } catch (error) { return error.name; }
})(%r, %s)
"""


@pytest.fixture
def pages(start, site, window):
    """pages(*flags) -> (a page of one origin, the URL of a server with these flags, which is another)."""
    with open(os.path.join(site, "index.html"), "w", encoding="utf-8") as file:
        file.write("<!DOCTYPE html><title>other</title><link rel=icon href=data:,>")

    def pages(*flags):
        own, other = (start(sys.executable, "-u", "-m", "icey", "serve", site, "--port", "0", *more, cwd=ROOT)
                      for more in ((), flags))
        page = window()
        page.go(own.url)
        page.until("document.readyState === 'complete'")
        return page, other.url

    return pages


def ask(page, url, options="{}"):
    return page.run(ASK % (url, options))


def test_a_page_of_another_origin_reads_what_is_there_and_what_went_wrong(pages):
    page, url = pages("--cors")
    status, body, _, kind, etag, length = ask(page, url + "hello.txt")
    assert (status, body, kind, etag, length) == (200, "hello, world\n", "text/plain; charset=utf-8", True, "13")
    assert ask(page, url + "missing")[:2] == [404, "404 Not Found\n"]
    assert ask(page, url + "hello.txt", "{method: 'POST', body: 'x'}")[0] == 405
    assert ask(page, url + "sub/x.txt")[:2] == [200, "x"]
    assert ask(page, url + "sub")[0] == 200  # through the redirect


def test_ranges_and_headers_of_ones_own_pass_the_preflight(pages):
    page, url = pages("--cors")
    status, body, extent, _, _, length = ask(page, url + "hello.txt", "{headers: {Range: 'bytes=7-11'}}")
    assert (status, body, extent, length) == (206, "world", "bytes 7-11/13", "5")
    status, body, _, kind, _, _ = ask(page, url + "hello.txt", "{headers: {Range: 'bytes=0-4,7-11'}}")
    assert status == 206 and kind.startswith("multipart/byteranges; boundary=") and "\r\n\r\nworld\r\n" in body
    assert ask(page, url + "hello.txt", "{cache: 'no-store', headers: {Range: 'bytes=99-'}}")[2] == "bytes */13"
    assert ask(page, url + "hello.txt", "{headers: {'X-Own': '1', Authorization: 'Basic eA==', 'If-Match': '\"x\"'}}")[0] == 412
    assert ask(page, url + "missing", "{headers: {'X-Own': '1'}}")[0] == 404


def test_without_it_such_a_page_reads_nothing(pages):
    page, url = pages()
    assert ask(page, url + "hello.txt") == ask(page, url + "missing") == "TypeError"
    assert ask(page, url + "hello.txt", "{headers: {'X-Own': '1'}}") == "TypeError"
