"""StaticFiles: a request in, an answer out. First against an exchange made of lists, then over a real connection."""

import errno
import os
import re
import select
import socket
import struct
import time

import pytest

import icey
from icey.http.server import static
from icey.http.server.static import SMALL, StaticFiles, is_name, split_target
from tests.support import seeds

LONG = bytes(range(256)) * 400  # 102 400 bytes: not small
STAMP = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX names, links or rights")
PLAIN = "text/plain; charset=utf-8"


class Fields:
    def __init__(self, pairs=()):
        self.pairs = list(pairs)

    def add(self, name, value):
        assert isinstance(name, str) and isinstance(value, str) and not re.search("[\r\n\0]", name + value)
        self.pairs.append((name, value))

    def __setitem__(self, name, value):
        self.pairs = [pair for pair in self.pairs if pair[0].lower() != name.lower()]
        self.add(name, value)

    def get_all(self, name):
        return [value for key, value in self.pairs if key.lower() == name.lower()]

    def __getitem__(self, name):
        value, = self.get_all(name)  # a field that is there twice is a mistake
        return value

    def __contains__(self, name):
        return bool(self.get_all(name))


class Message:
    pass


class Exchange:
    """What StaticFiles uses of an exchange; keeps what it is given and checks that it is used as it must be."""

    def __init__(self, method, target, *headers):
        self.request, self.response = Message(), Message()
        self.request.method, self.request.target, self.request.headers = method, target, Fields(headers)
        self.response.status, self.response.headers = 200, Fields()
        self.body, self.files, self.ended, self.fail = b"", [], False, None
        self.loop, self.state, self.later, self.failed = self, "DISPATCHING", [], None

    def call_soon(self, fn, *args):
        self.later.append((fn, args))

    def slot_failed(self, exc):
        self.failed = exc

    def respond(self, status=200, body=b"", content_type=None, headers=None):
        assert not self.ended and not self.body and isinstance(body, bytes)
        self.response.status = status
        if content_type is not None:
            self.response.headers.add("Content-Type", content_type)
        for name, value in headers or ():
            self.response.headers.add(name, value)
        if status not in (204, 304) and "content-length" not in self.response.headers:
            self.response.headers.add("Content-Length", str(len(body)))
        if self.request.method != "HEAD":
            self.body = body
        self.ended = True

    def send_owned(self, data):
        assert not self.ended and type(data) is bytes
        self.body += data
        return True

    def send_file(self, file, offset, count, done=None, close=True):
        assert not self.ended and count > 0 and not file.closed
        if self.fail is not None:
            raise self.fail
        file.seek(offset)
        self.body += file.read(count)
        self.files.append(file)
        if close:
            file.close()
        return True

    def end(self):
        assert not self.ended and all(file.closed for file in self.files)
        if self.request.method == "HEAD":
            assert self.body == b""
        else:
            assert len(self.body) == int(self.response.headers["Content-Length"])
        self.ended = True


def ask(files, target, *headers, method="GET", **options):
    """The answer, as the exchange that got it."""
    exchange = Exchange(method, target, *headers)
    before = open_descriptors()
    files(exchange, **options)
    while exchange.later:
        fn, args = exchange.later.pop(0)
        fn(*args)
    assert open_descriptors() == before, "a descriptor leaked"
    assert exchange.ended
    exchange.status, exchange.headers = exchange.response.status, exchange.response.headers
    return exchange


def open_descriptors():
    return sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None


def short(value):
    """The name of a parameter in the report, where the value itself would fill pages."""
    return value[:24] + "..." if isinstance(value, str) and len(value) > 40 else None


def write(path, data=b"", stamp=STAMP):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (stamp, stamp))
    return path


def build(folder):
    """A folder to serve, beside a secret and beside a folder whose name begins like its own."""
    write(folder / "secret.txt", b"secret")
    write(folder / "rootless" / "secret.txt", b"secret")
    root = folder / "root"
    write(root / "hello.txt", b"hello, world")
    write(root / "long.bin", LONG)
    write(root / "empty.txt")
    write(root / "sub" / "deep" / "page.html", b"<p>deep")
    write(root / "indexed" / "index.htm", b"second")
    write(root / "both" / "index.html", b"first")
    write(root / "both" / "index.htm", b"second")
    write(root / ".secret" / "key", b"hidden")
    write(root / ".well-known" / "security.txt", b"known")
    return root


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return build(tmp_path_factory.mktemp("static"))


@pytest.fixture(params=["openat", "plain"])
def system(request, monkeypatch):
    """Each test runs with openat, and as on a system that has nothing of the kind."""
    if request.param == "openat" and not static._OPENS_AT:
        pytest.skip("no openat here")
    if request.param == "plain":
        monkeypatch.setattr(static, "_OPENS_AT", False)
        monkeypatch.setattr(static, "_OPENS_FOLDERS", False)
        monkeypatch.setattr(static, "_PREADS", False)
        monkeypatch.setattr(static, "_SCANS_DESCRIPTORS", False)


@pytest.fixture
def site(system, shared):
    """The folder to serve, for tests that leave it as it is."""
    return shared


@pytest.fixture
def root(system, tmp_path):
    """A folder of one's own to serve, for tests that change it."""
    return build(tmp_path)


# -- files

def test_a_small_file_goes_out_at_once(site):
    answer = ask(StaticFiles(site), "/hello.txt")
    assert (answer.status, answer.body, answer.files) == (200, b"hello, world", [])
    assert answer.headers["Content-Type"] == PLAIN
    assert answer.headers["Last-Modified"] == DATE
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert re.fullmatch('"[0-9a-f]+-c-[0-9a-f]+"', answer.headers["ETag"])
    assert answer.headers["Cache-Control"] == "no-cache"


def test_a_large_file_is_left_to_the_engine(site):
    answer = ask(StaticFiles(site), "/long.bin")
    assert (answer.status, answer.body, len(answer.files)) == (200, LONG, 1)
    assert answer.headers["Content-Length"] == "102400"
    assert answer.headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("size, pieces", [(0, 0), (1, 0), (SMALL, 0), (SMALL + 1, 1)])
def test_where_small_ends(root, size, pieces):
    write(root / "file", b"x" * size)
    answer = ask(StaticFiles(root), "/file")
    assert (len(answer.body), len(answer.files)) == (size, pieces)


@pytest.mark.parametrize("target", ["/hello.txt", "/long.bin", "/empty.txt", "/both/", "/nothing", "/sub/", "/sub"])
@pytest.mark.parametrize("header", [("X", "y"), ("If-None-Match", "*"), ("If-Match", '"no"')])
def test_head_has_the_head_of_get_and_no_body(site, target, header):
    get, head = (ask(StaticFiles(site), target, header, method=method) for method in ("GET", "HEAD"))
    assert head.body == b"" and head.files == []
    assert head.status == get.status
    assert sorted(head.headers.pairs) == sorted(get.headers.pairs)


@pytest.mark.parametrize("method, status", [
    ("POST", 405), ("PUT", 405), ("DELETE", 405), ("get", 405), ("OPTIONS", 204),
])
@pytest.mark.parametrize("target", ["/hello.txt", "/nothing", "/%zz", "*"])
def test_other_methods_are_told_what_is_allowed(site, method, status, target):
    answer = ask(StaticFiles(site), target, method=method)
    assert (answer.status, answer.headers["Allow"]) == (status, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("name, kind", [
    ("a.html", "text/html; charset=utf-8"), ("a.HTM", "text/html; charset=utf-8"), ("a.css", "text/css; charset=utf-8"),
    ("a.js", "text/javascript; charset=utf-8"), ("a.mjs", "text/javascript; charset=utf-8"),
    ("a.json", "application/json"),
    ("a.svg", "image/svg+xml"), ("a.wasm", "application/wasm"), ("a.py", PLAIN), ("a.woff2", "font/woff2"),
    ("a.webp", "image/webp"), ("a.mp4", "video/mp4"), ("a.tar.gz", "application/gzip"), ("a.tgz", "application/gzip"),
    ("a.html.gz", "application/gzip"), ("a.js.br", "application/octet-stream"), ("a.svgz", "application/gzip"),
    ("a", "application/octet-stream"), (".html", "application/octet-stream"), ("a.", "application/octet-stream"),
    ("a.never-heard-of", "application/octet-stream"), ("a.Z", "application/octet-stream"),
    ("", "application/octet-stream"),
    pytest.param("a.doc", "application/msword", marks=pytest.mark.needs("mimetypes")), ("a.html.txt", PLAIN),
])
def test_content_types(tmp_path, name, kind):
    assert StaticFiles(tmp_path).content_type(name) == kind


def test_content_types_of_ones_own(tmp_path):
    files = StaticFiles(tmp_path, types={".gmi": "text/gemini", ".html": "application/xhtml+xml"}, charset=None)
    assert files.content_type("a.gmi") == "text/gemini"
    assert files.content_type("a.html") == "application/xhtml+xml"
    assert files.content_type("a.css") == "text/css"


def test_content_types_without_the_mimetypes_module(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mimetypes", None)
    files = StaticFiles(tmp_path)
    assert files.content_type("a.doc") == "application/octet-stream"
    assert files.content_type("a.css") == "text/css; charset=utf-8"


def test_a_type_of_yours_counts_for_the_extension_in_any_case(tmp_path):
    files = StaticFiles(tmp_path, types={".WASM": "application/x"})
    assert {files.content_type(name) for name in ("a.wasm", "a.Wasm")} == {"application/x"}


@pytest.mark.parametrize("options, error", [
    ({"types": {"wasm": "application/wasm"}}, ValueError), ({"types": {".a": "b\nc"}}, ValueError),
    ({"types": {".a": None}}, TypeError), ({"not_found": "page.html"}, TypeError)])
def test_what_could_not_be_used_is_refused_at_once(tmp_path, options, error):
    with pytest.raises(error):
        StaticFiles(tmp_path, **options)


def test_what_the_user_adds_goes_with_every_answer_but_refusals(site):
    for extra in ([("A", "1"), ("A", "2")], (pair for pair in [("A", "1"), ("A", "2")])):
        files = StaticFiles(site, headers=extra, cache_control="max-age=60")
        for target, status, cached in [("/hello.txt", 200, ["max-age=60"]), ("/long.bin", 200, ["max-age=60"]),
                                       ("/sub", 301, ["max-age=60"]), ("/sub/", 200, [])]:
            answer = ask(files, target)
            assert (answer.status, answer.headers.get_all("A")) == (status, ["1", "2"])
            assert answer.headers.get_all("Cache-Control") == cached
        assert "A" not in ask(files, "/nothing").headers
    assert ask(StaticFiles(site, headers={"B": "3"}), "/hello.txt").headers["B"] == "3"


@pytest.mark.parametrize("name", ["Content-Type", "content-length", "Content-Range", "ETag", "Last-Modified", "Accept-Ranges",
                                  "Location", "Transfer-Encoding"])
def test_a_header_that_each_file_has_of_its_own_is_refused(site, name):
    with pytest.raises(ValueError, match=name.lower()):
        StaticFiles(site, headers={name: "x"})


def test_by_default_caches_ask_each_time(site):
    for target, said in [("/hello.txt", ["no-cache"]), ("/long.bin", ["no-cache"]), ("/sub", ["no-cache"]), ("/sub/", [])]:
        assert ask(StaticFiles(site), target).headers.get_all("Cache-Control") == said
        assert ask(StaticFiles(site, cache_control=None), target).headers.get_all("Cache-Control") == []
        assert ask(StaticFiles(site, headers={"cache-control": "no-store"}), target).headers["Cache-Control"] == "no-store"


# -- files that lie compressed beside themselves

BOTH = ("Accept-Encoding", "gzip, br")


def packed(root, name="style.css", stamp=STAMP, **data):
    write(root / name, b"plain", STAMP)
    for extension, content in data.items():
        write(root / (name + "." + extension), content, stamp)


@pytest.mark.parametrize("accepted, coding", [
    ("gzip, br", "br"), ("gzip", "gzip"), ("br", "br"), ("br;q=0, gzip", "gzip"), ("*", "br"), ("deflate", None),
    ("gzip;q=0", None)])
def test_a_file_is_sent_compressed_to_who_takes_it(root, accepted, coding):
    packed(root, br=b"of br", gz=b"of gzip")
    answer = ask(StaticFiles(root), "/style.css", ("Accept-Encoding", accepted))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    if coding is None:
        assert answer.body == b"plain" and "Content-Encoding" not in answer.headers
    else:
        assert answer.body == b"of " + coding.encode()
        assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == (coding, "Accept-Encoding")


def test_one_that_is_older_or_no_file_is_not(root):
    packed(root, stamp=STAMP - 1, br=b"old")
    (root / "style.css.gz").mkdir()
    assert ask(StaticFiles(root), "/style.css", BOTH).body == b"plain"


def test_one_that_is_empty_is_not(root):
    packed(root, br=b"", gz=b"")
    assert ask(StaticFiles(root), "/style.css", BOTH).body == b"plain"


@pytest.mark.parametrize("name", ["index.html", "deep/page.html", "app.wasm", "logo.svg"])
def test_in_any_folder_and_for_an_index(root, name):
    packed(root, name, gz=b"packed")
    target = "/" if name == "index.html" else "/" + name
    assert ask(StaticFiles(root), target, BOTH).body == b"packed"


def test_what_is_compressed_anyway_is_not_looked_for(root):
    packed(root, "photo.jpg", gz=b"packed")
    assert ask(StaticFiles(root), "/photo.jpg", BOTH).body == b"plain"


def test_its_conditions_and_ranges_are_its_own(root):
    packed(root, gz=b"0123456789" * 3)
    files = StaticFiles(root)
    whole, plain = ask(files, "/style.css", BOTH), ask(files, "/style.css")
    etag = whole.headers["ETag"]
    assert etag != plain.headers["ETag"]
    current = ask(files, "/style.css", BOTH, ("If-None-Match", etag))
    assert (current.status, current.headers["Vary"]) == (304, "Accept-Encoding")
    part = ask(files, "/style.css", BOTH, ("Range", "bytes=5-9"))
    assert (part.status, part.body, part.headers["Content-Encoding"]) == (206, b"56789", "gzip")
    assert ask(files, "/style.css", ("If-None-Match", etag)).status == 200
    assert ask(files, "/style.css.gz", BOTH).headers["Content-Type"] == "application/gzip"


def test_a_large_one_is_left_to_the_engine(root):
    packed(root, gz=LONG)
    answer = ask(StaticFiles(root), "/style.css", BOTH)
    assert (answer.body, len(answer.files), answer.headers["Content-Encoding"]) == (LONG, 1, "gzip")


@POSIX
def test_one_that_leads_out_of_the_root_is_not(root):
    packed(root)
    (root / "style.css.gz").symlink_to(root.parent / "secret.txt")
    assert ask(StaticFiles(root), "/style.css", BOTH).body == b"plain"


def test_it_is_turned_off_and_is_off_for_who_answers_files_himself(root):
    class Own(StaticFiles):
        def send_file(self, exchange, fd, stat, name):
            super().send_file(exchange, fd, stat, name)

    packed(root, gz=b"packed")
    for files in (StaticFiles(root, precompressed=False), Own(root)):
        assert ask(files, "/style.css", BOTH).body == b"plain"


# -- scripts of other origins

ANY = {"Access-Control-Allow-Origin": "*"}
ORIGIN = ("Origin", "http://app.test")


@pytest.mark.parametrize("target, header, method, status", [
    ("/hello.txt", ("X", "y"), "GET", 200), ("/hello.txt", ("Range", "bytes=0-1,4-5"), "GET", 206),
    ("/hello.txt", ("If-None-Match", "*"), "GET", 304), ("/hello.txt", ("Range", "bytes=100-"), "GET", 416),
    ("/hello.txt", ("If-Match", '"x"'), "GET", 412), ("/missing", ("X", "y"), "GET", 404), ("/%zz", ("X", "y"), "GET", 400),
    ("/hello.txt", ("X", "y"), "POST", 405), ("/sub", ("X", "y"), "GET", 301), ("/sub/", ("X", "y"), "GET", 200)])
def test_with_cors_scripts_read_what_comes_and_what_went_wrong(site, target, header, method, status):
    answer = ask(StaticFiles(site, headers=ANY), target, ORIGIN, header, method=method)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, "*")
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Content-Range", "ETag", "Content-Length", "Accept-Ranges", "Retry-After"} <= set(exposed)
    assert "Access-Control-Allow-Origin" not in ask(StaticFiles(site), target, ORIGIN, header, method=method).headers


@pytest.mark.parametrize("asked, allowed", [(["range, if-range"], "range, if-range"), (["a", "b"], "a, b"), ([], "*")])
@pytest.mark.parametrize("target", ["/hello.txt", "/missing", "*"])
def test_a_preflight_is_answered(site, target, asked, allowed):
    fields = [("Access-Control-Request-Headers", value) for value in asked]
    answer = ask(StaticFiles(site, headers=ANY), target, ORIGIN, ("Access-Control-Request-Method", "GET"), *fields,
                 method="OPTIONS")
    assert (answer.status, answer.headers["Allow"], answer.headers["Access-Control-Allow-Origin"]) == (
        204, "GET, HEAD, OPTIONS", "*")
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert answer.headers["Access-Control-Allow-Headers"] == allowed
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


def test_what_the_user_says_of_who_may_ask_counts(site):
    own = [("access-control-allow-origin", "http://app.test"), ("Access-Control-Allow-Headers", "X-Own"), ("X-Count", "7"),
           ("access-control-max-age", "5"), ("Access-Control-Expose-Headers", "X-Count"), ("Vary", "Origin")]
    answer = ask(StaticFiles(site, headers=own), "/hello.txt", ("Access-Control-Request-Method", "GET"), method="OPTIONS")
    for name, value in (("Allow-Origin", "http://app.test"), ("Allow-Headers", "X-Own"), ("Max-Age", "5"),
                        ("Allow-Methods", "GET, HEAD"), ("Expose-Headers", "X-Count")):
        assert answer.headers["Access-Control-" + name] == value
    exposed = ask(StaticFiles(site, headers={**ANY, "X-Count": "7"}), "/hello.txt").headers["Access-Control-Expose-Headers"]
    assert "X-Count" in exposed.split(", ")


def test_without_cors_a_preflight_gets_no_leave(site):
    answer = ask(StaticFiles(site), "/hello.txt", ORIGIN, ("Access-Control-Request-Method", "GET"), method="OPTIONS")
    assert answer.status == 204 and not [name for name, _ in answer.headers.pairs if name.startswith("Access-Control")]


# -- conditions and ranges

def test_a_current_copy_is_304_without_a_body(site):
    files = StaticFiles(site, cache_control="no-cache")
    for target in ("/hello.txt", "/long.bin"):
        etag = ask(files, target).headers["ETag"]
        for header in (("If-None-Match", etag), ("If-Modified-Since", DATE)):
            answer = ask(files, target, header)
            assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
            assert answer.headers["Cache-Control"] == "no-cache"
            assert not {"Content-Type", "Content-Length", "Last-Modified"} & {name for name, _ in answer.headers.pairs}


def test_a_changed_file_has_another_tag(root):
    files = StaticFiles(root)
    etag = ask(files, "/hello.txt").headers["ETag"]
    write(root / "hello.txt", b"HELLO, WORLD", STAMP + 1)
    assert ask(files, "/hello.txt", ("If-None-Match", etag)).body == b"HELLO, WORLD"
    assert ask(files, "/hello.txt", ("If-Match", etag)).status == 412


@pytest.mark.parametrize("stamp, shown", [(2, "Thu, 01 Jan 1970 00:00:02 GMT"), (STAMP + 0.9, DATE)])
def test_last_modified(root, stamp, shown):
    write(root / "hello.txt", b"x", stamp)
    assert ask(StaticFiles(root), "/hello.txt").headers["Last-Modified"] == shown


@pytest.mark.parametrize("stamp", [-5, 0, 1, 1.5])
def test_a_modification_time_that_is_none_is_no_validator(root, stamp):
    files = StaticFiles(root)
    etag = ask(files, "/hello.txt").headers["ETag"]
    write(root / "hello.txt", b"hello, WORLD", stamp)
    for condition in [("X", "y"), ("If-None-Match", etag), ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:01 GMT"),
                      ("If-Modified-Since", DATE), ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")]:
        answer = ask(files, "/hello.txt", condition)
        assert (answer.status, answer.body) == (200, b"hello, WORLD")
        assert "ETag" not in answer.headers and "Last-Modified" not in answer.headers
    assert ask(files, "/hello.txt", ("Range", "bytes=0-4")).body == b"hello"
    for validator in (etag, "Thu, 01 Jan 1970 00:00:01 GMT"):
        assert ask(files, "/hello.txt", ("Range", "bytes=0-4"), ("If-Range", validator)).status == 200


def test_a_file_from_the_future_was_modified_now(root, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: STAMP + 0.5)
    write(root / "hello.txt", b"x", STAMP + 10_000)
    assert ask(StaticFiles(root), "/hello.txt").headers["Last-Modified"] == DATE


def test_a_file_whose_future_comes_when_the_clock_goes_back(root, monkeypatch):
    files, now = StaticFiles(root), [STAMP + 10.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    assert ask(files, "/hello.txt").headers["Last-Modified"] == DATE
    now[0] = STAMP - 1.0
    assert ask(files, "/hello.txt").headers["Last-Modified"] == "Sun, 06 Nov 1994 08:49:36 GMT"


def test_what_is_said_of_files_is_remembered_within_bounds(root, monkeypatch):
    monkeypatch.setattr(static, "MOST_DESCRIBED", 3)
    files = StaticFiles(root)
    said = {}
    for turn in range(3):
        for number in range(5):
            target = "/%d.txt" % number
            if not turn:
                write(root / target[1:], b"x" * number, STAMP + number)
            answer = ask(files, target)
            assert said.setdefault(target, answer.headers.pairs) == answer.headers.pairs
            assert answer.body == b"x" * number
            assert len(files._described) <= 3
    assert len(set(map(str, said.values()))) == 5


def test_a_file_under_another_name_has_the_type_of_its_name(root):
    os.link(root / "hello.txt", root / "hello.html")
    files = StaticFiles(root)
    kinds = [ask(files, target).headers["Content-Type"] for target in ("/hello.txt", "/hello.html")]
    assert kinds == [PLAIN, "text/html; charset=utf-8"]


def test_a_type_that_cannot_be_told_leaves_no_file_open(root):
    class Odd(StaticFiles):
        def content_type(self, name):
            raise RuntimeError("no")

    before = open_descriptors()
    with pytest.raises(RuntimeError):
        Odd(root)(Exchange("GET", "/hello.txt"))
    assert open_descriptors() == before


@pytest.mark.parametrize("value, span", [
    ("bytes=0-4", (0, 5)), ("bytes=100-", (100, 102400)), ("bytes=-1", (102399, 102400)), ("bytes=0-", (0, 102400)),
    ("bytes=50000-99999999", (50000, 102400)), ("bytes=0-99,50-20000", (0, 20001)),
])
def test_one_range(site, value, span):
    answer = ask(StaticFiles(site), "/long.bin", ("Range", value))
    assert (answer.status, answer.body) == (206, LONG[span[0]:span[1]])
    assert answer.headers["Content-Range"] == "bytes %d-%d/102400" % (span[0], span[1] - 1)
    assert answer.headers["Content-Length"] == str(span[1] - span[0])
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert len(answer.files) == (span[1] - span[0] > SMALL)


@pytest.mark.parametrize("target, value, spans, pieces", [
    ("/hello.txt", "bytes=0-0,-1", [(0, 1), (11, 12)], 0),
    ("/long.bin", "bytes=5-9,0-1", [(5, 10), (0, 2)], 0),
    ("/long.bin", "bytes=0-39999,-40000", [(0, 40000), (62400, 102400)], 2),
    ("/long.bin", "bytes=90000-,5-9,1000-60000", [(90000, 102400), (5, 10), (1000, 60001)], 3),
])
def test_several_ranges(site, target, value, spans, pieces):
    whole = ask(StaticFiles(site), target)
    answer = ask(StaticFiles(site), target, ("Range", value))
    assert answer.status == 206 and len(answer.files) == pieces
    assert "Content-Range" not in answer.headers
    boundary = re.fullmatch("multipart/byteranges; boundary=(.+)", answer.headers["Content-Type"]).group(1).encode()
    before, *parts, after = answer.body.split(b"--" + boundary)
    assert (before, after) == (b"", b"--\r\n")
    for part, (start, stop) in zip(parts, spans):
        head, _, body = part.partition(b"\r\n\r\n")
        assert head.decode() == "\r\nContent-Type: %s\r\nContent-Range: bytes %d-%d/%d" % (
            whole.headers["Content-Type"], start, stop - 1, len(whole.body))
        assert body == whole.body[start:stop] + b"\r\n"
    assert len(parts) == len(spans)


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=0-1023", "bytes=-5", "bytes=-0", "bytes=5-", "bytes=0-,5-9"])
def test_an_empty_file_is_sent_whole_to_who_always_asks_for_ranges(site, value):
    answer = ask(StaticFiles(site), "/empty.txt", ("Range", value))
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


@pytest.mark.parametrize("value", ["bytes=junk", "bytes=5-2", "lines=0-4", "bytes=" + "0-," * 70], ids=short)
def test_a_range_that_is_none_is_ignored(site, value):
    answer = ask(StaticFiles(site), "/hello.txt", ("Range", value))
    assert (answer.status, answer.body) == (200, b"hello, world")


@pytest.mark.parametrize("target, value, size", [
    ("/hello.txt", "bytes=12-", 12), ("/hello.txt", "bytes=-0", 12),
    ("/long.bin", "bytes=200000-300000,400000-", 102400),
])
def test_a_range_beyond_the_end_is_416(site, target, value, size):
    answer = ask(StaticFiles(site), target, ("Range", value))
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */%d" % size)


def test_a_range_is_for_get_only(site):
    answer = ask(StaticFiles(site), "/long.bin", ("Range", "bytes=0-4"), method="HEAD")
    assert (answer.status, answer.headers["Content-Length"]) == (200, "102400")


def test_if_range(site):
    files = StaticFiles(site)
    etag = ask(files, "/long.bin").headers["ETag"]
    for validator, status in [(etag, 206), (DATE, 206), ("W/" + etag, 200), ('"other"', 200), ("junk", 200)]:
        assert ask(files, "/long.bin", ("Range", "bytes=0-4"), ("If-Range", validator)).status == status


# -- folders

@pytest.mark.parametrize("target, location", [
    ("/sub", "sub/"), ("/sub?", "sub/?"), ("/sub?a=b&c=%2F//x", "sub/?a=b&c=%2F//x"), ("/sub/deep", "deep/"),
    ("//sub", "sub/"), ("///sub//deep?q", "deep/?q"), ("/s%75b", "sub/"), ("http://evil.example/sub", "sub/"),
    ("http://evil.example//sub?x", "sub/?x"), ("/both", "both/"),
])
def test_a_folder_without_its_slash_redirects_within_the_site(site, target, location):
    answer = ask(StaticFiles(site), target)
    assert (answer.status, answer.headers["Location"], answer.body) == (301, location, b"")


@POSIX
@pytest.mark.parametrize("name, target, location", [
    ("evil.example", "//evil.example", "evil.example/"),
    ("evil.example", "///evil.example?x", "evil.example/?x"),
    ("\\evil.example", "/\\evil.example", "%5Cevil.example/"),
    ("\\evil.example", "/%5Cevil.example", "%5Cevil.example/"),
    ("https:", "/https:", "https%3A/"),
    ("a\r\nSet-Cookie: b", "/a%0d%0aSet-Cookie:%20b", "a%0D%0ASet-Cookie%3A%20b/"),
    ("caf\udce9", "/caf%e9", "caf%E9/"),
    ("é", "/%c3%a9", "%C3%A9/"),
])
def test_no_name_makes_a_redirect_leave_the_site(root, name, target, location):
    (root / name).mkdir()
    answer = ask(StaticFiles(root), target)
    assert (answer.status, answer.headers["Location"]) == (301, location)


def test_the_index_answers_for_its_folder(site):
    files = StaticFiles(site)
    assert ask(files, "/both/").body == b"first"
    assert ask(files, "/indexed/").body == b"second"
    assert ask(files, "/indexed/").headers["Content-Type"] == "text/html; charset=utf-8"
    assert ask(files, "/indexed/?sort=size").body == b"second"
    assert ask(StaticFiles(site, index=["index.htm"]), "/both/").body == b"second"
    assert ask(StaticFiles(site, index="index.htm"), "/both/").body == b"second"
    assert b"Index of" in ask(StaticFiles(site, index=()), "/both/").body


def test_a_folder_named_like_an_index_is_none(root):
    (root / "odd" / "index.html").mkdir(parents=True)
    write(root / "odd" / "index.htm", b"file")
    assert ask(StaticFiles(root), "/odd/").body == b"file"


def test_the_listing(site):
    answer = ask(StaticFiles(site), "/?sort=-name")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    shown = re.findall('<a href="([^"?]*)"><bdi>', answer.body.decode())
    assert shown == ["sub/", "indexed/", "both/", "long.bin", "hello.txt", "empty.txt"]
    assert re.findall('<a href="([^"?]*)"><bdi>', ask(StaticFiles(site), "/sub/").body.decode()) == ["./", "deep/"]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    (folder / "crowd").mkdir()
    for number in range(700):
        (folder / "crowd" / ("f%d" % number)).touch()
    return folder


@pytest.fixture
def crowd(system, many):
    """A folder to serve, with one that has many files; for tests that leave it as it is."""
    return many


@pytest.mark.parametrize("sort", ["name", "-size", "date"])
def test_a_large_listing_is_made_in_slices(crowd, monkeypatch, sort):
    whole = ask(StaticFiles(crowd), "/crowd/?sort=" + sort)
    ticks = iter(range(10 ** 6))
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))  # each look at the clock ends a slice
    exchange = Exchange("GET", "/crowd/?sort=" + sort)
    StaticFiles(crowd)(exchange)
    turns = 0
    while exchange.later:
        assert not exchange.ended and len(exchange.later) == 1
        (fn, args), = exchange.later
        exchange.later = []
        fn(*args)
        turns += 1
    assert exchange.body == whole.body and exchange.body.count(b"<bdi>") == 701 and turns > 30


def test_a_listing_that_nobody_waits_for_is_given_up(crowd, monkeypatch):
    monkeypatch.setattr(static, "SLICE", 0.0)
    exchange = Exchange("GET", "/crowd/")
    before = open_descriptors()
    StaticFiles(crowd)(exchange)
    assert len(exchange.later) == 1
    exchange.state = static.CLOSED
    (fn, args), = exchange.later
    exchange.later = []
    fn(*args)
    assert not exchange.later and not exchange.ended and open_descriptors() == before


def test_a_folder_that_breaks_while_it_is_listed_is_answered(crowd, monkeypatch):
    monkeypatch.setattr(static, "SLICE", 0.0)
    real = os.scandir

    class Breaking:
        def __init__(self, where):
            self.entries, self.left = real(where), 100

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            self.entries.close()

        def __iter__(self):
            return self

        def __next__(self):
            self.left -= 1
            if not self.left:
                raise OSError(errno.EIO, "the disk is broken")
            return next(self.entries)

    monkeypatch.setattr(os, "scandir", Breaking)
    assert ask(StaticFiles(crowd), "/crowd/").status == 500


def test_an_engine_that_fails_in_a_later_slice_is_told_as_a_slot_would_be(crowd, monkeypatch):
    monkeypatch.setattr(static, "SLICE", 0.0)
    exchange = Exchange("GET", "/crowd/")
    exchange.respond = None
    StaticFiles(crowd)(exchange)
    while exchange.later:
        fn, args = exchange.later.pop()
        fn(*args)
    assert isinstance(exchange.failed, TypeError)


def test_a_listing_that_is_off_is_403_and_files_are_served(site):
    files = StaticFiles(site, listing=False)
    assert [ask(files, target).status for target in ("/", "/sub/", "/hello.txt", "/both/")] == [403, 403, 200, 200]


def test_every_link_of_a_listing_leads_to_its_file(root):
    odd = ["a b", "50%", "q?x", "#", "ü€", "&amp;", "+", "~x", "a;b=c", "[1]", "'"]
    if os.name != "nt":
        odd += ["back\\slash", "c:", 'say "hi"', "<b>", "new\nline", "nul", "a.", "*", os.fsdecode(b"\xff\xfe")]
    for name in odd:
        write(root / "odd" / name, name.encode("utf-8", "surrogateescape"))
    files = StaticFiles(root)
    links = re.findall('<a href="([^"?]*)"><bdi>', ask(files, "/odd/").body.decode())
    bodies = sorted(ask(files, "/odd/" + link).body for link in links if link != "./")
    assert bodies == sorted(name.encode("utf-8", "surrogateescape") for name in odd)


@pytest.mark.parametrize("target", ["/.secret/key", "/.secret/", "/.secret", "/%2esecret/key"])
def test_hidden_files_are_not_served_unless_asked_for(site, target):
    assert ask(StaticFiles(site), target).status == 404
    assert ask(StaticFiles(site, hidden=True), target).status in (200, 301)
    assert b".secret" in ask(StaticFiles(site, hidden=True), "/").body


def test_well_known_is_served(site):
    assert ask(StaticFiles(site), "/.well-known/security.txt").body == b"known"


# -- where it is mounted

@pytest.mark.parametrize("prefix", ["/static", "static", "/static/"])
def test_a_prefix(site, prefix):
    files = StaticFiles(site, prefix=prefix)
    assert ask(files, "/static/hello.txt").body == b"hello, world"
    assert ask(files, "/static").headers["Location"] == "static/"
    assert ask(files, "/static/sub?x").headers["Location"] == "sub/?x"
    assert b"Index of /static/sub/" in ask(files, "/static/sub/").body
    for target in ("/hello.txt", "/", "/statics/hello.txt", "/static2", "/STATIC/hello.txt", "/static/../static/x"):
        assert ask(files, target).status == 404


def test_a_prefix_for_one_call(site):
    files = StaticFiles(site)
    assert ask(files, "/a/b/hello.txt", prefix="/a/b").body == b"hello, world"
    assert ask(files, "/a/hello.txt", prefix="/a/b").status == 404
    assert ask(StaticFiles(site, prefix="/a"), "/hello.txt", prefix="").body == b"hello, world"


def test_not_found_of_ones_own(site):
    files = StaticFiles(site, not_found=lambda exchange: exchange.respond(404, b"lost?", "text/html"))
    for target in ("/nothing", "/../x", "/.secret/key", "/hello.txt/"):
        assert ask(files, target).body == b"lost?"
    assert ask(files, "/%zz").status == 400
    assert ask(files, "/hello.txt", method="POST").status == 405


def test_a_root_must_be_a_folder(site):
    for wrong in (site / "nothing", site / "hello.txt"):
        with pytest.raises(NotADirectoryError, match="StaticFiles needs a folder"):
            StaticFiles(wrong)
    assert ask(StaticFiles(os.fsencode(str(site))), "/hello.txt").status == 200


def test_a_root_that_vanished_is_404(root):
    files = StaticFiles(root)
    root.rename(root.parent / "moved")
    assert [ask(files, target).status for target in ("/", "/hello.txt", "/sub")] == [404, 404, 404]


@POSIX
@pytest.mark.parametrize("below", ["", "/public"])
def test_a_root_that_is_a_link_is_followed_when_it_moves(system, tmp_path, monkeypatch, below):
    for name in ("one", "two"):
        write(tmp_path / (name + below) / "v.txt", name.encode())
        os.symlink("v.txt", str(tmp_path / (name + below) / "link"))
    os.symlink("one", str(tmp_path / "current"))
    monkeypatch.chdir(tmp_path)
    files = StaticFiles("current" + below)  # from here on its absolute path counts
    monkeypatch.chdir(os.sep)
    assert [ask(files, target).body for target in ("/v.txt", "/link")] == [b"one", b"one"]
    os.symlink("two", str(tmp_path / "next"))
    os.replace(str(tmp_path / "next"), str(tmp_path / "current"))
    assert [ask(files, target).body for target in ("/v.txt", "/link")] == [b"two", b"two"]
    assert b'href="link"' in ask(files, "/").body
    os.unlink(str(tmp_path / "current"))
    assert ask(files, "/v.txt").status == 404


@POSIX
def test_what_stands_behind_a_link_in_the_roots_path_is_the_systems_affair(root):
    os.symlink(str(root / "sub" / "deep"), str(root.parent / "door"))
    assert ask(StaticFiles(str(root.parent / "door" / "..")), "/deep/page.html").body == b"<p>deep"


def test_the_file_systems_own_root_can_be_served(site):
    files = StaticFiles(os.path.abspath(os.sep), hidden=True)
    path = "/" + os.path.relpath(os.path.realpath(str(site / "hello.txt")), files.root).replace(os.sep, "/")
    assert ask(files, path).body == b"hello, world"


# -- no way out

@pytest.mark.parametrize("target, status", [
    ("/nothing", 404), ("/hello.txt/", 404), ("/hello.txt/x", 404), ("/sub/nothing/", 404),
    # up, in every spelling
    ("/..", 404), ("/../", 404), ("/../secret.txt", 404), ("/../root/hello.txt", 404), ("/sub/../hello.txt", 404),
    ("/./hello.txt", 404), ("/.", 404), ("/sub/./deep/page.html", 404), ("/%2e%2e/secret.txt", 404),
    ("/%2E%2E/secret.txt", 404), ("/.%2e/secret.txt", 404), ("/..%2fsecret.txt", 404), ("/%2e%2e%2fsecret.txt", 404),
    ("/sub%2f..%2f..%2fsecret.txt", 404), ("//../secret.txt", 404), ("/..//secret.txt", 404),
    ("/sub/../../secret.txt", 404),
    ("/..;/secret.txt", 404), ("/...", 404), ("/../rootless/secret.txt", 404), ("/%2e", 404), ("/..?", 404),
    # twice encoded, and overlong UTF-8
    ("/%252e%252e/secret.txt", 404), ("/%252e%252e%252fsecret.txt", 404), ("/%c0%ae%c0%ae/secret.txt", 404),
    ("/%c0%af", 404), ("/%u002e%u002e/secret.txt", 400),
    # backslashes, absolute paths, drives, streams, devices
    ("/..\\secret.txt", 404), ("/..%5csecret.txt", 404), ("/\\..\\secret.txt", 404), ("/%5c%5cserver%5cshare", 404),
    ("//etc/passwd", 404), ("/%2fetc%2fpasswd", 404), ("/%2Fetc/passwd", 404), ("/c:/windows", 404),
    ("/C%3a%5cwindows", 404), ("/c:secret.txt", 404), ("/file:///etc/passwd", 404), ("/hello.txt::$DATA", 404),
    ("/~root", 404), ("/sub%2fdeep%2fpage.html", 404), ("/sub/%2fdeep", 404),
    # NUL and broken escapes
    ("/hello.txt%00", 400), ("/%00", 400), ("/hello.txt%00.html", 400), ("/%", 400), ("/%4", 400), ("/%zz", 400),
    ("/100%", 400), ("/%-1", 400), ("/% 41", 400), ("/%+4", 400),
    # too long
    ("/" + "a" * 255, 404), ("/" + "a" * 256, 404), ("/" + "a" * 8000, 404), ("/a" * 4000, 404), ("/sub" * 2000, 404),
    ("/" + "%ff" * 2000, 404), ("/sub/" + "x" * 5000 + "/", 404), ("/" * 8000 + "nothing", 404),
], ids=short)
def test_what_is_not_there_is_not_served(site, target, status):
    assert ask(StaticFiles(site), target).status == status
    assert ask(StaticFiles(site, hidden=True, follow_symlinks=True), target).status == status


@POSIX
def test_no_target_made_of_dangerous_pieces_gets_out(root):
    os.symlink("..", root / "sub" / "up")
    os.symlink("../..", root / "sub" / "out")
    files = StaticFiles(root, hidden=True)
    pieces = ["/", "//", "..", ".", "%2e", "%2E%2e", "%2f", "%5c", "\\", "%00", "%", "%25", "~", ":", ";", "?", "*",
              " ", "secret.txt", "rootless", "root", "hello.txt", "sub", "deep", "up", "out", "http://a", "%ff",
              "%c0%af"]
    rng = seeds.rng(11)
    seen = set()
    for _ in range(seeds.rounds(700, 3000)):
        target = "/" + "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 9)))
        exchange = Exchange("GET", target)
        files(exchange)
        assert exchange.body != b"secret", target
        assert exchange.response.status in (200, 301, 400, 404), target
        if exchange.response.status == 301:
            assert re.fullmatch(r"[A-Za-z0-9._~%-]+/(\?.*)?", exchange.response.headers["Location"]), target
        seen.add(exchange.response.status)
    assert seen == {200, 301, 400, 404}


@POSIX
def test_links_inside_the_root_are_followed(root):
    os.symlink("hello.txt", root / "link")
    os.symlink(root / "sub", root / "folder")  # absolute
    os.symlink("../../hello.txt", root / "sub" / "deep" / "up")
    os.symlink("folder/deep", root / "two")
    os.symlink(root, root / "sub" / "again")
    files = StaticFiles(root)
    for target in ("/link", "/sub/deep/up", "/folder/deep/up", "/two/up", "/sub/again/hello.txt",
                   "/sub/again/sub/again/link"):
        assert ask(files, target).body == b"hello, world"
    assert ask(files, "/two/page.html").body == b"<p>deep"
    assert ask(files, "/folder").headers["Location"] == "folder/"
    assert b"Index of /folder/" in ask(files, "/folder/").body
    assert b"Index of /sub/again/" in ask(files, "/sub/again/").body
    assert {"folder/", "two/", "link"} <= set(re.findall('href="([^"]*)"', ask(files, "/").body.decode()))


@POSIX
def test_links_out_of_the_root_are_refused_unless_asked_for(root):
    os.symlink("../secret.txt", root / "out")
    os.symlink(root.parent, root / "above")
    os.symlink(root.parent / "rootless", root / "sub" / "aside")  # its name begins like the root's
    os.symlink("above/secret.txt", root / "twice")
    os.symlink("../secret.txt", root / "sub" / "index.html")
    targets = ("/out", "/above/secret.txt", "/sub/aside/secret.txt", "/twice")
    assert [ask(StaticFiles(root), target).status for target in targets] == [404] * 4
    assert [ask(StaticFiles(root), target).status for target in ("/above", "/above/")] == [404] * 2
    assert ask(StaticFiles(root), "/above/root/hello.txt").body == b"hello, world"  # out and in again: in
    assert not {"out", "above/", "twice"} & set(re.findall('href="([^"]*)"', ask(StaticFiles(root), "/").body.decode()))
    assert b"Index of" in ask(StaticFiles(root), "/sub/").body  # the index that leads out is none
    free = StaticFiles(root, follow_symlinks=True)
    assert [ask(free, target).body for target in targets] == [b"secret"] * 4
    assert {"out", "above/", "twice"} <= set(re.findall('href="([^"]*)"', ask(free, "/").body.decode()))


@POSIX
def test_links_that_lead_nowhere_are_404(root):
    os.symlink("nowhere", root / "broken")
    os.symlink("loop", root / "loop")
    os.symlink("b", root / "a")
    os.symlink("a", root / "b")
    for files in (StaticFiles(root), StaticFiles(root, follow_symlinks=True)):
        for target in ("/broken", "/broken/", "/loop", "/loop/x", "/a", "/b/"):
            assert ask(files, target).status == 404


@POSIX
@pytest.mark.skipif(not static._OPENS_AT, reason="only openat can hold this")
@pytest.mark.parametrize("target, steps", [("/hello.txt", 1), ("/swap/secret.txt", 2), ("/swap/rootless/secret.txt", 3)])
@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("long", [False, True])
def test_a_link_put_there_between_two_steps_leads_nowhere(tmp_path, target, steps, step, before, long, monkeypatch):
    """A part of the way becomes a link before a step, or behind it."""
    if long:  # then the root is a step of its own
        monkeypatch.setattr(static, "SHORT", 0)
        steps += 1
    root, real_open, opened = build(tmp_path), os.open, []
    (root / "swap" / "rootless").mkdir(parents=True)

    def swap():
        os.rename(root / "swap", root / "old")
        os.symlink(root.parent, root / "swap")
        os.unlink(root / "hello.txt")
        os.symlink("../secret.txt", root / "hello.txt")

    def swap_and_open(path, flags, *rest, **more):
        opened.append(path)
        now = len(opened) == step
        if now and before:
            swap()
        fd = real_open(path, flags, *rest, **more)
        if now and not before:
            swap()
        return fd

    files = StaticFiles(root)
    monkeypatch.setattr(os, "open", swap_and_open)
    answer = ask(files, target)
    if target == "/hello.txt" and (step > steps or (step == steps and not before)):  # it was open before
        assert (answer.status, answer.body) == (200, b"hello, world")
    else:
        assert answer.status == 404


# -- things that are no files, and files that resist

@POSIX
def test_special_files_are_404_and_opening_never_waits(root, monkeypatch):
    os.mkfifo(root / "fifo")
    os.mkfifo(root / "sub" / "index.html")
    os.symlink("/dev/zero", root / "zero")
    os.symlink("/dev/tty", root / "tty")
    monkeypatch.chdir(root)
    if hasattr(socket, "AF_UNIX"):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
    for files in (StaticFiles(root), StaticFiles(root, follow_symlinks=True)):
        for target in ("/fifo", "/fifo/", "/zero", "/tty", "/socket"):
            assert ask(files, target).status == 404
        assert b"Index of" in ask(files, "/sub/").body


@pytest.mark.parametrize("number, status", [
    (errno.EACCES, 403), (errno.EPERM, 403), (errno.ENOENT, 404), (errno.ENAMETOOLONG, 404), (errno.ELOOP, 404),
    (errno.ENXIO, 404), (errno.EINVAL, 404), (errno.EMFILE, 503), (errno.ENFILE, 503), (errno.ENOMEM, 503),
    (errno.EIO, 500),
])
@pytest.mark.parametrize("target", ["/hello.txt", "/both/", "/sub/", "/sub"])
def test_what_the_system_says_has_a_status(site, monkeypatch, number, status, target):
    def refuse(*args, **more):
        raise OSError(number, os.strerror(number))
    files = StaticFiles(site)
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "stat", refuse)
    exchange = Exchange("GET", target)
    files(exchange)
    monkeypatch.undo()
    assert exchange.response.status == status
    assert exchange.response.headers.get_all("Retry-After") == (["1"] if status == 503 else [])


def test_a_folder_that_cannot_be_read_is_403(site, monkeypatch):
    def refuse(where):
        raise PermissionError(errno.EACCES, "no")
    files = StaticFiles(site)
    monkeypatch.setattr(os, "scandir", refuse)
    exchange = Exchange("GET", "/sub/")
    files(exchange)
    monkeypatch.undo()
    assert exchange.response.status == 403


@POSIX
@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="nothing is forbidden to root")
def test_rights(root):
    os.chmod(root / "hello.txt", 0)
    assert ask(StaticFiles(root), "/hello.txt").status == 403
    os.chmod(root / "sub", 0)
    assert ask(StaticFiles(root), "/sub/").status == 403
    assert ask(StaticFiles(root), "/sub/deep/page.html").status == 403
    os.chmod(root / "sub", 0o111)  # passable, not readable
    assert ask(StaticFiles(root), "/sub/").status == 403
    assert ask(StaticFiles(root), "/sub/deep/page.html").status == 200
    os.chmod(root / "sub", 0o755)


def test_a_small_file_that_shrinks_while_it_is_read_is_503(root, monkeypatch):
    files, real = StaticFiles(root), os.fstat

    def shrink_after(fd):
        stat = real(fd)
        os.truncate(root / "hello.txt", 3)
        return stat

    monkeypatch.setattr(os, "fstat", shrink_after)
    exchange = Exchange("GET", "/hello.txt")
    files(exchange)
    monkeypatch.undo()
    assert exchange.response.status == 503


def test_a_file_that_grows_or_vanishes_is_sent_as_promised(root, monkeypatch):
    files, real = StaticFiles(root), os.fstat

    def grow_and_unlink(fd):
        stat = real(fd)
        if stat.st_size == len(LONG):
            with open(root / "long.bin", "ab") as file:
                file.write(b"more")
            if os.name != "nt":
                os.unlink(root / "long.bin")
        return stat

    monkeypatch.setattr(os, "fstat", grow_and_unlink)
    exchange = Exchange("GET", "/long.bin")
    files(exchange)
    monkeypatch.undo()
    assert exchange.body == LONG


def test_a_read_that_comes_in_pieces_is_put_together(site, monkeypatch):
    read, pread = os.read, getattr(os, "pread", None)
    monkeypatch.setattr(os, "read", lambda fd, count: read(fd, min(count, 5)))
    if pread is not None:
        monkeypatch.setattr(os, "pread", lambda fd, count, start: pread(fd, min(count, 5), start))
    exchange = Exchange("GET", "/hello.txt")
    StaticFiles(site)(exchange)
    monkeypatch.undo()
    assert exchange.body == b"hello, world"


def test_an_engine_that_fails_leaves_no_file_open(site):
    exchange = Exchange("GET", "/long.bin")
    exchange.fail = RuntimeError("gone")
    before = open_descriptors()
    with pytest.raises(RuntimeError):
        StaticFiles(site)(exchange)
    assert open_descriptors() == before


def test_an_error_of_the_answer_is_no_error_of_the_file(site):
    """A NetError is an OSError: it must not be taken for a file's, and answered a second time."""
    exchange = Exchange("GET", "/hello.txt")

    def respond(*args, **more):
        raise OSError(errno.EPIPE, "gone")
    exchange.respond = respond
    with pytest.raises(OSError, match="gone"):
        StaticFiles(site)(exchange)


# -- the parts

@pytest.mark.parametrize("target, expected", [
    ("/", ([], True, None)), ("/?", ([], True, "")), ("/a", (["a"], False, None)), ("/a/", (["a"], True, None)),
    ("/a/b?c/d?e", (["a", "b"], False, "c/d?e")), ("//a///b//", (["a", "b"], True, None)),
    ("/%61%2Fb", (["a/b"], False, None)), ("/a%3Fb", (["a?b"], False, None)), ("/+%20", (["+ "], False, None)),
    ("http://host", ([], True, None)), ("http://host?q", ([], True, "q")), ("http://host/a", (["a"], False, None)),
    ("HTTP://u@host:1//a?b", (["a"], False, "b")), ("/http://host/", (["http:", "host"], True, None)),
    ("/%c3%a9", (["é"], False, None)), ("/%25zz", (["%zz"], False, None)),
])
def test_split_target(target, expected):
    assert split_target(target) == expected


@pytest.mark.parametrize("name, posix, windows", [
    ("a", True, True), ("a.b", True, True), ("..a", True, True), (" a", True, True), ("console", True, True),
    ("com", True, True), ("com10", True, True), ("nullable.txt", True, True), (".", False, False), ("..", False, False),
    ("a/b", False, False), ("/", False, False), ("...", True, False), ("a\\b", True, False), ("c:", True, False),
    ("a:b", True, False), ("a.", True, False), ("a ", True, False), ("nul", True, False), ("NUL.txt", True, False),
    ("con .x", True, False), ("Com1", True, False), ("lpt9.tar.gz", True, False), ("com\xb2", True, False),
    ("conin$", True, False), ("a*", True, False), ("a?", True, False), ('a"', True, False), ("a|b", True, False),
    ("<", True, False), ("a\tb", True, False),
])
def test_names(name, posix, windows):
    assert is_name(name, windows=False) is posix
    assert is_name(name, windows=True) is windows


# -- over a real connection

class Site:
    """A server of a folder on the loopback, its loop turned by hand, and clients that are plain sockets."""

    def __init__(self, folder, **options):
        self.loop = icey.Loop()
        self.server = icey.http.Server(self.loop, "127.0.0.1", 0)
        self.server.on_request += StaticFiles(folder, **options)
        self.server.start()
        self.clients = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for client in self.clients:
            client.close()
        self.server.close()
        self.loop.close()

    def connect(self, request):
        client = socket.socket()
        self.clients.append(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(("127.0.0.1", self.server.address.port))
        client.setblocking(False)
        client.sendall(request)
        return client

    def turn(self, times=50):
        for _ in range(times):
            self.loop.run_once(0)

    def read(self, client):
        """All that comes until the server closes (bytes, and whether it closed in order)."""
        data = bytearray()
        for _ in range(100_000):
            self.loop.run_once(0)
            try:
                piece = client.recv(1 << 20)
            except BlockingIOError:
                select.select([client], [], [], 0.001)  # the kernel may need a moment; nothing is measured by it
                continue
            except ConnectionResetError:
                return bytes(data), False
            if not piece:
                return bytes(data), True
            data += piece
        raise AssertionError("the server never closed")

    def ask(self, *requests):
        """The answers to requests sent at once; the last one closes. Each: (status, headers, body)."""
        methods = [request.partition(" ")[0] for request in requests]
        lines = [line.partition("\n") for line in requests]
        raw = "".join("%s HTTP/1.1\r\nHost: a\r\n%s%s\r\n" % (
            first, more.strip() + "\r\n" if more else "", "Connection: close\r\n" * (index == len(lines)))
            for index, (first, _, more) in enumerate(lines, 1))
        data, orderly = self.read(self.connect(raw.encode("latin-1")))
        assert orderly
        answers = []
        for method in methods:
            head, _, data = data.partition(b"\r\n\r\n")
            first, *rest = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
            status = int(first.split()[1])
            size = 0 if method == "HEAD" or status in (204, 304) else int(headers["content-length"])
            answers.append((status, headers, data[:size]))
            assert len(data) >= size
            data = data[size:]
        assert data == b""
        return answers


BIG = bytes(range(251)) * 65_536  # 16 449 536 bytes: more than a kernel takes for a client that does not read


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("live"))
    write(folder / "big.bin", BIG)
    return folder


def test_live_answers_come_in_order_on_one_connection(big):
    with Site(big) as site:
        etag = site.ask("GET /hello.txt")[0][1]["etag"]
        answers = site.ask(
            "GET /hello.txt", "HEAD /hello.txt", "GET /big.bin", "GET /hello.txt\nIf-None-Match: " + etag,
            "GET /hello.txt\nRange: bytes=-5", "HEAD /big.bin", "GET /nothing", "GET /sub?x", "POST /hello.txt",
            "OPTIONS /", "GET /", "GET /empty.txt", "GET /hello.txt")
    assert [status for status, _, _ in answers] == [200, 200, 200, 304, 206, 200, 404, 301, 405, 204, 200, 200, 200]
    assert [body for _, _, body in answers[:6]] == [b"hello, world", b"", BIG, b"", b"world", b""]
    assert answers[0][1].keys() - {"connection"} == answers[1][1].keys()
    assert answers[2][1].keys() == answers[5][1].keys() and answers[5][1]["content-length"] == str(len(BIG))
    assert not {"content-length", "content-type", "transfer-encoding"} & answers[3][1].keys()
    assert answers[7][1]["location"] == "sub/?x"
    assert b"Index of /" in answers[10][2]
    assert [body for _, _, body in answers[11:]] == [b"", b"hello, world"]


@pytest.mark.parametrize("ranges, start, stop", [
    ("0-", 0, 16449536), ("1000000-3999999", 1000000, 4000000), ("-1", 16449535, 16449536),
    ("16449500-", 16449500, 16449536),
])
def test_live_ranges_of_a_large_file(big, ranges, start, stop):
    with Site(big) as site:
        (status, headers, body), (_, _, after) = site.ask("GET /big.bin\nRange: bytes=" + ranges, "GET /hello.txt")
    assert status == 206 and (body == BIG[start:stop]) and after == b"hello, world"
    assert headers["content-range"] == "bytes %d-%d/16449536" % (start, stop - 1)


def test_live_several_ranges_of_a_large_file(big):
    with Site(big) as site:
        (status, headers, body), (_, _, after) = site.ask(
            "GET /big.bin\nRange: bytes=3000000-,0-9,100000-1999999", "GET /hello.txt")
    boundary = headers["content-type"].partition("boundary=")[2].encode()
    parts = [part.partition(b"\r\n\r\n")[2][:-2] for part in body.split(b"--" + boundary)[1:-1]]
    assert status == 206 and parts == [BIG[3000000:], BIG[:10], BIG[100000:2000000]] and after == b"hello, world"


def test_live_nothing_dangerous_is_answered_with_what_it_asks_for(big):
    targets = ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "//..//secret.txt", "/..\\secret.txt",
               "/%00", "/hello.txt%00", "/%zz", "/" + "a" * 5000, "/" + "a/" * 2000, "http://a/../secret.txt",
               "//etc/passwd"]
    with Site(big) as site:
        answers = site.ask(*("GET " + target for target in targets))
    assert {status for status, _, _ in answers} == {400, 404}
    assert not [body for _, _, body in answers if b"secret" in body]


def test_live_a_file_that_shrinks_while_it_is_sent_aborts_the_connection(tmp_path):
    path = write(build(tmp_path) / "big.bin", BIG)
    with Site(path.parent) as site:
        client = site.connect(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        site.turn()  # as much as the kernel takes
        os.truncate(path, 100)
        data, _ = site.read(client)
        head, _, body = data.partition(b"\r\n\r\n")
        assert b"Content-Length: %d\r\n" % len(BIG) in head + b"\r\n"
        assert len(body) < len(BIG)  # which bytes is the kernel's affair: sendfile queues pages, not copies
        assert site.ask("GET /hello.txt")[0][2] == b"hello, world"


def test_live_a_file_that_grows_or_is_unlinked_is_sent_as_promised(tmp_path):
    path = write(build(tmp_path) / "big.bin", BIG)
    with Site(path.parent) as site:
        client = site.connect(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n"
                              b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        site.turn()
        with open(path, "ab") as file:
            file.write(b"and more")
        if os.name != "nt":
            os.unlink(path)
        data, orderly = site.read(client)
    _, _, rest = data.partition(b"\r\n\r\n")
    assert orderly and rest[:len(BIG)] == BIG
    assert rest[len(BIG):].startswith(b"HTTP/1.1 200 OK\r\n") and rest.endswith(b"\r\n\r\nhello, world")


@pytest.mark.parametrize("header", [b"", b"Range: bytes=0-1999999,3000000-\r\n"])
def test_live_a_client_that_goes_away_leaves_no_file_open(big, header):
    with Site(big) as site:
        site.ask("GET /hello.txt")
        before = open_descriptors()
        client = site.connect(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n" + header + b"\r\n")
        site.turn()
        assert open_descriptors() is None or len(open_descriptors()) == len(before) + 3  # client, connection, file
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        site.turn()
        assert open_descriptors() == before
