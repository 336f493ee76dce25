"""serve: what is answered where nothing is found: a page with a way back, the site's 404.html, a single-page app's entry."""
import os
import re

import pytest

from icey.tools.serve.live import LiveFiles
from icey.tools.serve.sitefiles import LARGEST, SiteFiles
from tests.support import http

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

READER = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
APP = b"<!DOCTYPE html><title>App</title>\n"
OWN = b"<!DOCTYPE html><title>Lost</title>\n"
PLAIN = b"404 Not Found\n"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "sub" / "a&b <i>").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "file.txt").write_bytes(b"text")
    return root


@pytest.fixture
def ask(site, root):
    """A function that asks a server of `root`; made: the class, options: its own."""
    def ask(target, *fields, method="GET", made=SiteFiles, **options):
        return site.client(site.serve(made(str(root), **options))).get(target, *fields, method=method)
    return ask


# -- a way back ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("target, href, shown", [
    ("/none", "./", "/"), ("/none.html?x=/y", "./", "/"), ("/none/", "../", "/"), ("/sub/none", "../sub/", "/sub/"),
    ("/sub/none/x/y", "../../../sub/", "/sub/"), ("/file.txt/", "../", "/"), ("/sub/../none", "../../sub/", "/sub/"),
    ("//sub//none", "../../../sub/", "/sub/"), ("/.git/none", "../", "/"), ("/file.txt/none", "../", "/"),
    ("/sub/a%26b%20%3Ci%3E/none", "../../sub/a%26b%20%3Ci%3E/", "/sub/a&amp;b &lt;i&gt;/"),
    ("http://test/sub/none", "../sub/", "/sub/")])
def test_the_page_leads_to_the_nearest_folder_above(ask, target, href, shown):
    answer = ask(target, READER)
    assert (answer.status, answer["content-type"]) == (404, "text/html; charset=utf-8")
    assert re.findall('<a href="(.*?)">Back to <bdi>(.*?)</bdi></a>', answer.body.decode()) == [(href, shown)]
    assert "default-src 'none'" in answer["content-security-policy"]


@pytest.mark.parametrize("target", [
    "/%3Cscript%3Ealert(1)%3C/script%3E", "/%22%3E%3Cb%3E/none", "/%ff%fe%0a%1b[31m", "/%F0%9F%98%80"])
def test_what_was_asked_for_is_escaped(ask, target):
    body = ask(target, READER).body
    assert not re.search(rb"<script|<b>|[\x00-\x09\x0b-\x1f]|\"><b", body) and body.decode("utf-8")


def test_hidden_folders_are_linked_where_they_are_served(ask):
    assert b'href="../.git/"' in ask("/.git/none", READER, hidden=True).body


def test_a_page_is_for_who_asks_for_one(ask):
    assert ask("/none").body == ask("/none", "Accept: */*").body == ask("/none", "Accept: image/png").body == PLAIN
    assert ask("/none", READER, method="POST").status == 405
    head = ask("/none", READER, method="HEAD")
    assert (head.status, head.body) == (404, b"") and int(head["content-length"]) > 500
    assert ask("/sub/", READER, listing=False).body == b"403 Forbidden\n"
    assert ask("/%zz", READER).status == 400


def test_cors_holds_for_what_is_missing(ask):
    for fields in ([READER], []):
        answer = ask("/none", *fields, headers=[("Access-Control-Allow-Origin", "*"), ("X-Mine", "1")])
        assert answer["access-control-allow-origin"] == "*" and "x-mine" not in answer


# -- the site's own page ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fields", [
    [READER], [], ["Accept: */*"], ["Accept: text/*"], [READER, "Range: bytes=0-3"], [READER, "If-None-Match: *"],
    [READER, "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"], [READER, 'If-Match: "x"'],
    [READER, "Range: bytes=99999-"], [READER, "Accept-Encoding: gzip"]], ids=lambda fields: " ".join(fields)[-30:])
def test_its_own_page_is_sent_whole_with_404(ask, root, fields):
    (root / "404.html").write_bytes(OWN)
    (root / "404.html.gz").write_bytes(b"packed")
    answer = ask("/sub/none", *fields, headers=[("X-Mine", "1")])
    assert (answer.status, answer.body, answer["content-type"]) == (404, OWN, "text/html; charset=utf-8")
    assert answer["x-mine"] == "1" and answer["x-content-type-options"] == "nosniff"
    assert not {"etag", "last-modified", "accept-ranges", "content-range", "content-encoding"} & set(answer.names)


def test_its_own_page_is_a_file_like_any_other(ask, root):
    (root / "404.html").write_bytes(OWN)
    assert ask("/404.html").status == 200
    assert ask("/none", "Accept: image/png").body == PLAIN
    head = ask("/none", method="HEAD")
    assert (head.status, head.body, head["content-length"]) == (404, b"", str(len(OWN)))


def test_what_cannot_be_its_own_page(ask, root, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    if hasattr(os, "symlink"):
        os.symlink(str(tmp_path / "secret"), str(root / "404.html"))
        assert ask("/none").body == PLAIN
        assert ask("/none", follow_symlinks=True).body == b"secret"
        (root / "404.html").unlink()
    (root / "404.html").mkdir()
    assert ask("/none").body == PLAIN
    (root / "404.html").rmdir()
    with open(str(root / "404.html"), "wb") as file:
        file.truncate(LARGEST + 1)
    assert ask("/none").body == PLAIN


# -- a single-page app -----------------------------------------------------------------------------------------------

@pytest.fixture
def app(root, ask):
    (root / "index.html").write_bytes(APP)
    (root / "404.html").write_bytes(OWN)
    return lambda *args, **options: ask(*args, spa=True, **options)


@pytest.mark.parametrize("target", ["/users/7", "/users/", "/none?x=a.b", "/a.b/c", "/sub/none", "http://test/users"])
def test_unknown_paths_are_the_app_s(app, target):
    answer = app(target, READER)
    assert (answer.status, answer.body, answer["content-type"]) == (200, APP, "text/html; charset=utf-8")
    again = app(target, READER, "If-None-Match: " + answer["etag"])
    assert (again.status, again.body) == (304, b"")
    head = app(target, READER, method="HEAD")
    assert (head.status, head.body, head["content-length"]) == (200, b"", str(len(APP)))


@pytest.mark.parametrize("target, fields", [
    ("/app.js", [READER]), ("/users/7.json", [READER]), ("/users/7", []), ("/users/7", ["Accept: application/json"]),
    ("/users/7", ["Accept: */*"]), ("/.env", [READER]), ("/.git/config", [READER]), ("/x/..", [READER])])
def test_the_others_are_still_404(app, target, fields):
    answer = app(target, *fields)
    assert answer.status == 404 and answer.body != APP


def test_what_is_there_is_what_it_was(app):
    assert app("/file.txt", READER).body == b"text" and app("/sub", READER).status == 301
    assert b"Index of" in app("/sub/", READER).body
    assert app("/users/7", READER, method="POST").status == 405 and app("/users/7", READER, method="OPTIONS").status == 204


def test_an_app_without_an_entry(ask, root):
    (root / "index.html").mkdir()
    assert ask("/users/7", READER, spa=True).status == 404
    (root / "main.htm").write_bytes(APP)
    assert ask("/users/7", READER, spa=True, index="main.htm").body == APP


# -- live ------------------------------------------------------------------------------------------------------------

@pytest.fixture
def live(site, root):
    def live(target, *fields, **options):
        files = LiveFiles(str(root), tell=print, **options)
        server = site.serve(files)
        files.start(server)
        return site.client(server).get(target, *fields)
    return live


def test_live_pages_reload_all_the_same(live, root):
    missing = live("/sub/none", READER)
    assert b'href="../sub/"' in missing.body and b"<script data-icey-live=" in missing.body
    assert "script-src 'sha256-" in missing["content-security-policy"] and missing["cache-control"] == "no-store"
    (root / "404.html").write_bytes(OWN)
    own = live("/sub/none", READER, "Range: bytes=0-3", headers=[("Cache-Control", "max-age=9")])
    assert (own.status, own["cache-control"]) == (404, "no-store") and own.body.startswith(OWN + b"<script")
    (root / "index.html").write_bytes(APP)
    entry = live("/users/7", READER, spa=True)
    assert entry.status == 200 and entry.body.startswith(APP + b"<script data-icey-live=")
    assert b'data-icey-root="../"' in entry.body
