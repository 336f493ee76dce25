"""serve --live: pages get a script, and the script is told of changes. What a browser makes of it is not here."""
import base64
import hashlib
import json
import os
import re

import pytest

from icey.http import StaticFiles, WebSocket
from icey.tools.cli import serving
from icey.tools.serve import command as serve, live, treewatch
from icey.tools.serve.live import GRACE, PATH, LiveFiles, is_of, with_script
from icey.tools.serve.treewatch import TreeWatch
from tests.support import http, lacks
from tests.support.websocket import HANDSHAKE, PING, PONG, TEXT, Wire

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
if not lacks("ssl"):
    from tests.support import tls
    certs = tls.certs

BODY = b"<!DOCTYPE html><title>Page</title><BODY><p>one</BODY></html>\n"
SCRIPT = re.compile(rb'<script data-icey-live="([0-9a-f]{16}-[0-9]+)" data-icey-root="[./]+">(.*?)</script>\n', re.S)
READER = "Accept: text/html,application/xhtml+xml;q=0.9"


class Folder:
    """A folder served live."""

    def __init__(self, site, root, monkeypatch, **options):
        self.site, self.root = site, root
        self.said = []
        monkeypatch.setattr(live, "TreeWatch", lambda *args, **more: TreeWatch(*args, wall=lambda: 10 ** 18, **more))
        self.files = LiveFiles(str(root), tell=self.said.append, **options)
        self.server = site.serve(self.files)
        self.files.start(self.server)

    @property
    def watch(self):
        return self.files._pages._watch

    def get(self, target, *fields, **more):
        """As a browser that navigates there asks, but for what `fields` say otherwise."""
        if not any(field.lower().startswith("accept:") for field in fields):
            fields = (READER, *fields)
        return self.site.client(self.server).get(target, *fields, **more)

    def stamp(self, target="/page.html"):
        """The stamp of this page; if it is the first, the first look is done."""
        stamp = SCRIPT.search(self.get(target).body).group(1).decode()
        self.site.turn(3)
        return stamp

    def asks(self, target, *fields):
        """(client, answer) of a handshake."""
        client = self.site.client(self.server)
        client.send(http.request("GET", target, *HANDSHAKE, *fields))
        return client, client.answer()

    def page(self, stamp=None):
        """A page that was loaded and is connected."""
        client, answer = self.asks("%s?%s" % (PATH, self.stamp() if stamp is None else stamp), "Origin: http://test")
        assert answer.status == 101
        self.site.turn()
        return Wire(client, True)

    def write(self, name, data=b"changed, and longer"):
        (self.root / name).write_bytes(data)


def news(page):
    """What a page is told next, which must be there."""
    opcode, payload = page.read()
    assert opcode == TEXT
    return json.loads(payload.decode())


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name, data in (("page.html", BODY), ("text.txt", b"</body>"), ("sub/a b.css", b"p {}"), ("sub/other.css", b"a {}")):
        (root / name).write_bytes(data)
    return root


@pytest.fixture
def folder(site, root, monkeypatch):
    return Folder(site, root, monkeypatch)


# -- the pages -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("page", [
    b"<body>a</body></html>", b"<BODY>a</BoDy></html>", b"a</body>b</body>c", b"<p>fragment\n", b"", b"</body>",
    b"\xef\xbb\xbf\xff\xfe</body>\x80",
    b"<!DOCTYPE html><body><p>x<script>var page = '<html><body></body></html>'</script>",
    b"<!DOCTYPE html><body><p>x</body><script>const t = `<body></body>`</script></html>",
    b"<!DOCTYPE html><body><p>x</body></html><!-- was: </body> -->",
    b"<!DOCTYPE html><body><textarea>&lt;body></body></textarea>",
    b"<!DOCTYPE html><body><template><body>q</body></template>",
    b"<!DOCTYPE html><body><iframe srcdoc='<body>in</body>'></iframe>",
])
def test_the_script_stands_behind_the_whole_page(page):
    made = with_script(page, "0123456789abcdef-7", "../")
    found = SCRIPT.search(made)
    assert (made[:found.start()], made[found.end():]) == (page, b"")
    assert found.group(1) == b"0123456789abcdef-7" and PATH[1:].encode() in found.group(2)


@pytest.mark.parametrize("target, root", [
    ("/page.html", "./"), ("/", "./"), ("/none?a/b", "./"), ("/sub/", "../"), ("/sub/none.html", "../"),
    ("/a/b/c", "../../"), ("//sub//", "../../../"), ("http://test/page.html", "./"), ("http://test/sub/?/", "../")])
def test_the_script_knows_the_way_to_the_server_from_the_page(folder, target, root):
    assert b' data-icey-root="%s">' % root.encode() in folder.get(target).body


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_a_page_in_utf_16_is_left_alone(coding):
    page = ("\ufeff" + BODY.decode()).encode(coding)
    assert with_script(page, "0-0", "./") == page


def test_a_page_is_sent_whole_and_not_kept(folder):
    answer = folder.get("/page.html")
    assert answer.status == 200 and answer["content-type"] == "text/html; charset=utf-8"
    assert SCRIPT.sub(b"", answer.body) == BODY and len(SCRIPT.findall(answer.body)) == 1
    assert answer["cache-control"] == "no-store" and answer["x-content-type-options"] == "nosniff"
    for name in ("etag", "last-modified", "accept-ranges", "content-encoding"):
        assert name not in answer


def test_head_is_get_without_the_body(folder):
    for target in ("/page.html", "/", "/none"):
        whole, head = folder.get(target, READER), folder.get(target, READER, method="HEAD")
        assert (head.status, head.fields, head.body) == (whole.status, whole.fields, b"")
        assert int(whole["content-length"]) == len(whole.body)


@pytest.mark.parametrize("fields, status", [
    (["Range: bytes=0-3"], 200), (["Range: bytes=-3", "If-Range: %s"], 200),
    (["If-None-Match: %s"], 200), (["If-None-Match: *"], 200),
    (["If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"], 200), (["If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"], 200),
    (["If-Match: %s"], 412)], ids=lambda value: str(value).split(":")[0])
def test_neither_a_range_nor_a_condition_is_met_by_what_the_file_is_without_the_script(site, folder, root, fields, status):
    etag = http.Client.get(site.client(site.serve(StaticFiles(str(root)))), "/page.html")["etag"]
    answer = folder.get("/page.html", *(field.replace("%s", etag) for field in fields))
    assert answer.status == status
    assert status != 200 or SCRIPT.search(answer.body)


def test_other_files_are_as_ever(folder):
    answer = folder.get("/text.txt", "Range: bytes=0-1")
    assert (answer.status, answer.body) == (206, b"</")
    assert folder.get("/text.txt", "If-None-Match: " + answer["etag"]).status == 304
    assert folder.get("/sub/a%20b.css").body == b"p {}"
    assert not folder.watch.awake  # no page yet


@pytest.mark.parametrize("fields, page", [
    (["Sec-Fetch-Dest: empty"], False), (["Sec-Fetch-Dest: empty", "Sec-Purpose: prefetch"], True),
    (["Sec-Fetch-Dest: document"], True), (["Sec-Fetch-Dest: iframe"], True), ([], True),
    (["Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: empty"], True), (["Sec-Fetch-Mode: cors"], False),
    (["Sec-Fetch-Dest: script"], False), (["Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors"], False),
    (["X-Requested-With: XMLHttpRequest"], False)], ids=str)
def test_what_a_script_fetches_is_as_ever(folder, fields, page):
    for target in ("/page.html", "/", "/none"):
        assert bool(SCRIPT.search(folder.get(target, READER, *fields).body)) is page
    assert ("etag" in folder.get("/page.html", *fields)) is not page


@pytest.mark.parametrize("accept", ["*/*", "application/json, text/plain, */*", "image/avif,image/webp"])
def test_what_does_not_ask_for_html_gets_the_file_as_it_is(folder, accept):
    assert folder.get("/page.html", "Accept: " + accept).body == BODY
    assert folder.get("/page.html", "Accept: " + accept, "Sec-Fetch-Dest: document").body != BODY
    client = folder.site.client(folder.server)
    assert client.get("/page.html").body == BODY and client.get("/page.html", "Range: bytes=0-3").status == 206


def test_a_listing_of_many_turns_has_the_stamp_of_its_beginning(folder, root, monkeypatch):
    for number in range(100):
        (root / "sub" / ("f%d" % number)).touch()
    monkeypatch.setattr("icey.http.server.static.SLICE", 0.0)
    stamps = iter(["0" * 16 + "-1", "0" * 16 + "-2"])
    monkeypatch.setattr(live.OpenPages, "stamp", lambda pages: next(stamps))
    assert SCRIPT.search(folder.get("/sub/").body).group(1).endswith(b"-1")


def test_a_listing_allows_this_script_and_no_other(folder):
    answer = folder.get("/")
    script = SCRIPT.search(answer.body).group(2)
    policy = answer["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "script-src 'sha256-%s'" % base64.b64encode(hashlib.sha256(script).digest()).decode() in policy
    assert answer["cache-control"] == "no-store" and b"text.txt" in answer.body


def test_an_error_that_a_reader_sees_is_a_page(site, root, monkeypatch):
    folder = Folder(site, root, monkeypatch, listing=False)
    for target, status in (("/none.html", 404), ("/sub/", 403)):
        answer = folder.get(target, READER)
        assert (answer.status, answer["content-type"], answer["cache-control"]) == (status, live.HTML, "no-store")
        assert SCRIPT.search(answer.body) and b"<title>%d " % status in answer.body
        assert folder.get(target, "Accept: image/png").body == folder.get(target, "Accept: */*").body
        assert not SCRIPT.search(folder.get(target, "Accept: */*").body)
    answer = folder.get("/page.html", READER, method="DELETE")
    assert answer.status == 405 and not SCRIPT.search(answer.body)


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be replaced there")
def test_a_page_that_cannot_be_read_is_an_error(folder, monkeypatch):
    def broken(fd, mode):
        os.close(fd)
        raise OSError(5, "the disk is broken")

    monkeypatch.setattr(live, "open", broken, raising=False)
    assert folder.get("/page.html").status == 500


def test_a_large_page_is_sent_as_it_is_and_that_is_said_once(folder, monkeypatch):
    monkeypatch.setattr(live, "LARGEST", 1 << 20)
    folder.write("large.html", BODY * (1 << 15))
    for _ in range(2):
        answer = folder.get("/large.html")
        assert answer.body == BODY * (1 << 15) and "etag" in answer
    assert folder.said == ["large.html does not reload: it is larger than 1 MiB"]


def test_a_folder_of_too_many_files_is_said(folder, site, monkeypatch):
    monkeypatch.setattr(treewatch, "MOST", 2)
    folder.get("/page.html")
    site.turn(3)
    assert folder.said == ["%d files are watched, this folder has more: not all changes reload pages" % live.MOST]


def test_headers_of_yours_are_sent_with_pages_but_for_how_long_they_may_be_kept(site, root, monkeypatch):
    folder = Folder(site, root, monkeypatch, headers=[("X-One", "1"), ("Cache-Control", "max-age=9")], cache_control="no-cache")
    for target in ("/page.html", "/"):
        answer = folder.get(target)
        assert (answer["x-one"], answer["cache-control"]) == ("1", "no-store")


# -- the connection --------------------------------------------------------------------------------------------------

def test_a_change_reloads_every_page(folder, site):
    pages = [folder.page(), folder.page()]
    for count, name in enumerate(("page.html", "new.css.txt", "sub/x"), 1):
        folder.write(name)
        site.wait(1)
        for page in pages:
            told = news(page)
            assert told["styles"] is None and told["stamp"] == folder.stamp()
            assert told["stamp"].endswith("-%d" % count)
    assert all(page.silent() for page in pages)


def test_a_change_reaches_the_other_pages_where_one_is_just_being_closed(folder, site):
    stamp = folder.stamp()
    pages = [folder.page(stamp) for _ in range(3)]
    folder.write("page.html")
    folder.watch.on_change.attach(lambda watch, names: next(iter(folder.files._pages._sockets)).abort(), priority=1)
    site.wait(1)
    assert [news(page)["styles"] for page in pages[1:]] == [None, None]


def test_a_change_of_style_sheets_says_which(folder, site):
    page = folder.page()
    folder.write("sub/a b.css")
    folder.write("sub/other.css")
    site.wait(1)
    assert news(page) == {"stamp": folder.stamp(), "styles": ["/sub/a b.css", "/sub/other.css"]}
    folder.write("sub/a b.css", b"")
    folder.write("text.txt")
    site.wait(1)
    assert news(page)["styles"] is None


def test_a_page_that_connects_tells_and_is_told_nothing(folder, site):
    first = folder.page()
    second = folder.page()
    site.wait(5)
    assert first.silent() and second.silent()


def test_a_change_between_the_page_and_its_connection_is_told_when_it_connects(folder, site):
    stamp = folder.stamp()
    folder.write("page.html")
    site.wait(1)
    page = folder.page(stamp)
    assert news(page) == {"stamp": folder.stamp(), "styles": None}
    assert folder.stamp() != stamp


def test_a_change_just_before_the_connection_is_told_after_it(folder, site):
    stamp = folder.stamp()
    folder.write("page.html")
    page = folder.page(stamp)
    site.wait(1)
    assert news(page)["stamp"] == folder.stamp() and page.silent()


@pytest.mark.parametrize("stamp", ["", "0123456789abcdef-0", "x" * 100])
def test_a_page_of_another_run_reloads(folder, stamp):
    assert news(folder.page(stamp)) == {"stamp": folder.stamp(), "styles": None}


def test_nothing_is_looked_at_before_the_first_page_and_after_the_last(folder, site):
    assert not folder.watch.awake
    page = folder.page()
    for _ in range(int(2 * GRACE / 20)):
        site.wait(20)
        opcode, payload = page.read()
        assert opcode == PING and folder.watch.awake
        page.send(PONG, payload)
    page.bye(1001)
    site.wait(GRACE / 2)
    assert folder.watch.awake
    site.wait(GRACE / 2 + 1)
    assert not folder.watch.awake


def test_a_page_that_never_connects_is_not_waited_for(folder, site):
    stamp = folder.stamp()
    site.wait(GRACE - 1)
    assert folder.watch.awake and folder.stamp() == stamp
    site.wait(GRACE + 1)
    assert not folder.watch.awake


def test_a_page_of_before_the_watch_slept_reloads_for_nobody_knows_what_changed(folder, site):
    stamp = folder.stamp()
    site.wait(GRACE + 1)
    assert news(folder.page(stamp))["styles"] is None


@pytest.mark.parametrize("origin, host, welcome", [
    ("http://a:8000", "a:8000", True), ("https://a:8000", "a:8000", True), ("http://A.test", "a.TEST", True),
    ("http://[::1]:1", "[::1]:1", True), (None, "a", True), ("http://a", "a:8000", False), ("http://b:8000", "a:8000", False),
    ("null", "", False), ("null", "a", False), ("http://a.evil", "a", False), ("http://evil/a", "a", False), ("a", "a", False)])
def test_whose_page_it_is(origin, host, welcome):
    assert is_of(origin, host) is welcome


@pytest.mark.parametrize("origin", ["http://evil.example", "http://test.evil.example", "http://test:81", "null"])
def test_pages_of_another_origin_may_not_connect(folder, origin):
    client, answer = folder.asks(PATH, "Origin: " + origin)
    assert answer.status == 403 and client.silent() and not folder.files._pages._sockets


def test_what_may_be_read_by_others_may_be_read_when_it_is_an_error_too(site, root, monkeypatch):
    folder = Folder(site, root, monkeypatch, headers={"Access-Control-Allow-Origin": "*"})
    for accept in (READER, "Accept: */*"):
        assert folder.get("/none", accept)["access-control-allow-origin"] == "*"


def test_pages_of_a_host_that_was_named_may_connect(folder, site):
    folder.files.start(folder.server, lambda host: host == "app.test:81")
    client, answer = folder.asks(PATH, "Origin: http://app.test:81")
    assert answer.status == 101
    client, answer = folder.asks(PATH, "Origin: http://evil.test")
    assert answer.status == 403


def test_the_path_is_for_websockets_and_for_nothing_else(folder, site, root):
    assert folder.get(PATH).status == 426
    assert folder.get("/sub" + PATH).status == 404
    plain = site.client(site.serve(StaticFiles(str(root), hidden=True)))
    plain.send(http.request("GET", PATH, *HANDSHAKE))
    assert plain.answer().status == 404


# -- the end ---------------------------------------------------------------------------------------------------------

def test_a_server_that_stops_says_goodbye_and_watches_no_more(folder, site, loop):
    page = folder.page()
    slow = site.client()
    slow.send(http.request("GET", "/page.html", READER)[:-2])
    site.turn(2)
    folder.server.stop()
    site.turn(2)
    assert folder.watch.closed
    assert page.read()[0] == 8
    slow.send(b"\r\n")  # what was under way is answered
    assert SCRIPT.search(slow.answer().body)
    page.bye(1001)
    site.close()
    loop.run()
    assert folder.server.closed
    assert not loop.handles


def test_a_page_that_breaks_off_is_forgotten(folder, site):
    page = folder.page()
    page.reset()
    site.until(lambda: not folder.files._pages._sockets)
    folder.write("page.html")
    site.wait(1)
    assert folder.stamp().endswith("-1")


@pytest.mark.needs("ssl")
def test_wss(root, loop, site, certs):
    files = LiveFiles(str(root), tell=None)
    files.start(site.serve(files, tls=tls.server_context(certs)))
    ws = WebSocket.connect(loop, "wss://localhost:%d%s?old" % (site.server.address.port, PATH), tls=tls.client_context(certs),
                           headers={"Origin": "https://localhost:%d" % site.server.address.port})
    told = []
    ws.on_message += lambda ws, text: told.append(json.loads(text))
    site.until(lambda: told)
    assert told[0]["styles"] is None


# -- the command -----------------------------------------------------------------------------------------------------

@pytest.fixture
def served(monkeypatch, root, capsys):
    """served(*flags) -> (the first line, status and headers of /text.txt), of a server that ends at once."""
    def served(*flags):
        answers = []

        def run(loop, server):
            site = http.Site(loop, None)
            client = site.client(server)
            answers.extend((client.get("/text.txt"), client.get("/page.html", READER)))
            site.close()
            server.close()
            loop.run()

        monkeypatch.setattr(serve, "run", run)
        assert serve.main([str(root), "0", "--quiet", *flags], "PROG") == 0
        return (capsys.readouterr().out, *answers)

    return served


def test_the_flag(served, root):
    line, text, page = served("--live")
    assert re.fullmatch(r"Serving %s at http://127\.0\.0\.1:\d+/ \(live: pages reload when a file changes; Ctrl-C ends it\)\n"
                        % re.escape(os.path.realpath(str(root))), line)
    assert text["cache-control"] == "no-cache" and "etag" in text
    assert page["cache-control"] == "no-store" and SCRIPT.search(page.body)


def test_a_cache_control_of_yours_holds_but_for_pages(served):
    _, text, page = served("--live", "--cache-control", "max-age=5")
    assert (text["cache-control"], page["cache-control"]) == ("max-age=5", "no-store")


def test_without_the_flag_pages_are_as_they_are(served):
    line, text, page = served()
    assert line.endswith("/ (Ctrl-C ends it)\n") and page.body == BODY
    assert text["cache-control"] == page["cache-control"] == "no-cache" and "etag" in page


def test_live_pages_do_not_count_among_what_is_to_finish(site, folder, capsys):
    page = folder.page()
    site.clients[0].close()  # got the page
    site.turn(2)
    serving.stopping(folder.server)
    assert capsys.readouterr().err == ""
    site.client()  # nor does a connection that idles
    serving.stopping(folder.server)
    assert capsys.readouterr().err == ""
    assert page.silent()


@pytest.mark.skipif(os.name == "nt", reason="the inode of an entry is not told there")
def test_a_log_that_is_written_into_the_folder_reloads_nothing(root, loop, site, monkeypatch):
    stat = os.stat(str(root / "text.txt"))
    real = os.fstat
    monkeypatch.setattr(live.os, "fstat", lambda fd: stat if fd == 2 else real(-1) if fd == 1 else real(fd))
    folder = Folder(site, root, monkeypatch)
    page = folder.page()
    folder.write("text.txt")
    site.wait(1)
    assert page.silent()
