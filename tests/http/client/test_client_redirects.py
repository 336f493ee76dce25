"""Redirects: which request follows which status, where a Location leads, what stays behind, what ends it (RFC 9110 15.4)."""
import io

import pytest

import icey
from icey import BadResponse
from icey.http import BasicAuth
from icey.http.http1.requestbody import Body
from tests.support import rawserver
from tests.support.rawserver import answer, chunked

debug, clock, reports, loop = rawserver.debug, rawserver.clock, rawserver.reports, rawserver.loop
moves, raw = rawserver.moves, rawserver.raw


def moved(location, status=302, body=b""):
    return answer(body, "Location: %s" % location, status="%d Moved" % status)


def redirected(raw, location="/next", status=302, *, method="GET", **options):
    """A call that was sent on; the server's end."""
    call = raw.ask(method, "/first", **options)
    server = raw.accept()
    server.request()
    server.send(moved(location, status))
    return call, server


# what follows

FOLLOWS = [  # status, method -> method, whether the body goes along
    (301, "GET", "GET", True), (302, "GET", "GET", True), (303, "GET", "GET", False), (307, "GET", "GET", True),
    (308, "GET", "GET", True),
    (301, "HEAD", "HEAD", True), (302, "HEAD", "HEAD", True), (303, "HEAD", "HEAD", False), (307, "HEAD", "HEAD", True),
    (308, "HEAD", "HEAD", True),
    (301, "POST", "GET", False), (302, "POST", "GET", False), (303, "POST", "GET", False), (307, "POST", "POST", True),
    (308, "POST", "POST", True),
    (301, "PUT", "PUT", True), (302, "PUT", "PUT", True), (303, "PUT", "GET", False), (307, "PUT", "PUT", True),
    (308, "PUT", "PUT", True),
    (301, "DELETE", "DELETE", True), (303, "DELETE", "GET", False), (308, "DELETE", "DELETE", True),
    (301, "X", "X", True), (303, "X", "GET", False),
]


@pytest.mark.parametrize("status, method, then, along", FOLLOWS)
def test_the_request_that_follows(raw, status, method, then, along):
    headers = {"Content-Type": "text/plain", "Content-Language": "en", "Expect": "x", "X-Own": "stays"}
    call, server = redirected(raw, status=status, method=method, body=b"data", headers=headers)
    asked = server.request()
    assert (asked.method, asked.target) == (then, "/next")
    assert asked.body == (b"data" if along else b"")
    for name in ("content-type", "content-language", "content-length", "expect"):
        assert (name in asked) is along, name
    assert asked["x-own"] == "stays"
    server.send(answer(b"" if then == "HEAD" else b"there"))
    got = call.answer()
    assert got.status == 200 and got.url.path == "/next" and call.redirects == 1
    assert raw.nobody()  # all on one connection


BODIES = {
    "bytes": lambda: b"data", "file": lambda: io.BytesIO(b"data"), "list": lambda: [b"da", b"ta"],
    "bytearray": lambda: bytearray(b"data"), "nothing": lambda: None,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("status", [307, 308])
def test_a_body_goes_again(raw, status, body):
    call, server = redirected(raw, status=status, method="POST", body=body())
    expected = b"" if body() is None else b"data"
    assert server.request().body == expected
    server.send(moved("/third", 307))
    assert server.request().body == expected
    server.answer(b"there")
    assert call.answer().body == b"there"


def test_a_file_goes_again_from_where_it_stood(raw):
    file = io.BytesIO(b"not this, data")
    file.seek(10)
    call, server = redirected(raw, status=307, method="POST", body=file)
    assert server.request().body == b"data"
    server.answer()
    call.answer()


class Reader:
    """Only reads, as a pipe does."""

    def __init__(self):
        self.pieces = [b"data"]

    def read(self, size):
        return self.pieces.pop() if self.pieces else b""


class Own(Body):
    """A source of one's own that says nothing of rewinding."""

    def __init__(self):
        self.pieces = [b"data"]

    def next(self):
        return self.pieces.pop() if self.pieces else None


@pytest.mark.parametrize("body", [Reader, Own, lambda: iter([b"data"])], ids=["reader", "own", "iterator"])
def test_what_cannot_be_rewound_cannot_go_again(raw, body):
    call, server = redirected(raw, status=307, method="POST", body=body())
    call.error(icey.StateError)
    assert server.silent()


def test_what_can_be_had_once_cannot_go_again(raw):
    log = []

    def body():
        try:
            yield b"data"
        finally:
            log.append("closed")

    call, server = redirected(raw, status=307, method="POST", body=body())
    assert "cannot give it twice" in str(call.error(icey.StateError))
    assert log == ["closed"] and server.silent()


def test_a_body_that_is_not_wanted_any_more_is_closed(raw):
    log = []

    def body():
        try:
            while True:
                yield bytes(65536)
        finally:
            log.append("closed")

    generator = body()  # kept: nobody else closes it
    call = raw.ask("POST", body=generator)
    server = raw.accept()
    server.head()
    server.send(moved("/next", 303))
    second = raw.accept()
    assert log == ["closed"] and generator.gi_frame is None
    assert second.reply(b"there").method == "GET"
    assert call.answer().body == b"there"


def test_a_body_that_has_not_begun_goes_along_though_it_can_be_had_once(raw):
    call = raw.ask("POST", body=iter([b"data"]), headers={"Expect": "100-continue"})
    server = raw.accept()
    server.head()
    server.send(moved("/next", 307))
    second = raw.accept()
    second.head()
    second.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert rawserver.read_chunks(second) == b"data"
    second.answer()
    call.answer()


@pytest.mark.parametrize("status", [300, 304, 305, 306, 309, 399, 200, 404])
def test_other_statuses_are_no_redirects(raw, status):
    call, server = redirected(raw, status=status)
    assert call.answer().status == status and server.silent()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_without_a_location_it_is_the_answer(raw, status):
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(answer(b"where to?", status="%d Moved" % status))
    got = call.answer()
    assert (got.status, got.body) == (status, b"where to?")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_empty_location_is_none(raw, method):
    call, server = redirected(raw, "", 307, method=method)
    assert call.answer().status == 307 and server.silent()


# where it leads

LOCATIONS = [  # from /a/b?c
    ("/x", "/x"), ("/x?y=z", "/x?y=z"), ("x", "/a/x"), ("./x", "/a/x"), ("../x", "/x"), ("../../../x", "/x"), ("?d", "/a/b?d"),
    ("#f", "/a/b?c"), ("http://HOST/x", "/x"), ("HTTP://HOST/x", "/x"), ("//HOST/x", "/x"),
    ("http://HOST", "/"), ("http://HOST/x#f", "/x"), ("/x y", "/x%20y"), (" /x ", "/x"),
    ("/\xc3\xa9", "/%C3%A9"), ("/\xe9", "/%E9"), ("/%7e/%zz", "/%7e/%zz"), ("http://user:pw@HOST/x", "/x"),
]


@pytest.mark.parametrize("location, target", LOCATIONS)
def test_a_location(raw, location, target):
    call = raw.get("/a/b?c")
    server = raw.accept()
    server.request()
    server.send(moved(location.replace("HOST", raw.authority)))
    assert server.request().target == target
    server.answer()
    assert call.answer().url.target == target


@pytest.mark.parametrize("location", [
    "ftp://HOST/", "ws://HOST/", "mailto:a@b", "javascript:alert(1)", "file:///etc/passwd", "http://", "http:///x",
    "http://a b/", "http://[::1", "http://HOST:99999/", "http:x", "data:,x", "http://a\\b/",
])
def test_a_location_that_is_not_followed(raw, location):
    call, server = redirected(raw, location.replace("HOST", "127.0.0.1"))
    assert "redirect to" in str(call.error(BadResponse))
    assert raw.nobody() and server.gone()


def test_a_password_in_a_bad_location_is_not_shown(raw):
    call, server = redirected(raw, "http://user:secret@a b/")
    assert isinstance(call.error(BadResponse), BadResponse)


def test_the_first_of_two_locations(raw):
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(answer(b"", "Location: /one", "Location: /two", status="302 Found"))
    assert server.request().target == "/one"
    server.answer()
    call.answer()


def test_a_fragment_stays_with_us(raw):
    call = raw.get("/a#part")
    server = raw.accept()
    assert server.request().target == "/a"
    server.send(moved("/b?x"))
    assert server.request().target == "/b?x"
    server.send(moved("/c#other"))
    assert server.request().target == "/c"
    server.answer()
    assert str(call.answer().url) == raw.url("/c#other")
    call = raw.get("/a#part")
    server.request()
    server.send(moved("/b"))
    server.reply()
    assert str(call.answer().url) == raw.url("/b#part")


# to another origin

SECRETS = {"Authorization": "Bearer secret", "Cookie": "a=secret", "Proxy-Authorization": "Basic secret", "Host": "own.test",
           "X-Own": "stays"}


def test_to_the_same_origin_everything_goes_along(raw):
    call, server = redirected(raw, headers=SECRETS)
    asked = server.request()
    for name, value in SECRETS.items():
        assert asked[name.lower()] == value
    server.answer()
    call.answer()


@pytest.fixture
def other(loop, clock):
    other = rawserver.Raw(loop, clock)
    yield other
    other.close()


def test_to_another_origin_no_secret_does(raw, other):
    """Another port is another origin (RFC 9110 section 4.3.1)."""
    call, server = redirected(raw, other.url("/there"), headers=SECRETS)
    second = other.accept()
    asked = second.request()
    assert asked["host"] == other.authority and asked["x-own"] == "stays"
    for name in ("authorization", "cookie", "proxy-authorization"):
        assert name not in asked
    assert "secret" not in asked.head.decode("latin-1")
    second.send(moved(raw.url("/back")))  # nor when it leads back
    asked = server.request()
    assert "secret" not in asked.head.decode("latin-1") and asked["host"] == raw.authority
    server.answer()
    call.answer()


@pytest.mark.parametrize("given", ["auth", "client auth", "url"])
def test_credentials_of_every_kind_stay_behind(raw, other, given):
    if given == "client auth":
        raw.client(auth=BasicAuth("user", "secret"))
    options = {"auth": BasicAuth("user", "secret")} if given == "auth" else {}
    url = raw.url("/first", userinfo="user:secret@") if given == "url" else None
    call, server = redirected(raw, "/second", url=url, **options)
    assert server.request()["authorization"].startswith("Basic ")
    server.send(moved(other.url("/")))
    second = other.accept()
    assert "authorization" not in second.head()
    second.answer(b"", "WWW-Authenticate: Basic realm=x", status="401 Unauthorized")
    assert call.answer().status == 401


def test_user_and_password_of_a_location_are_used(raw, other):
    call, server = redirected(raw, other.url("/", userinfo="new:word@"), headers={"Authorization": "Bearer old"})
    second = other.accept()
    assert second.head()["authorization"] == "Basic bmV3OndvcmQ="
    second.answer()
    assert call.answer().status == 200


def test_a_user_of_a_location_that_cannot_be_sent(raw):
    call, server = redirected(raw, "http://a%0ab:c@127.0.0.1/")
    assert isinstance(call.error(ValueError), ValueError)


def test_auth_that_was_given_beats_the_urls_and_stays_for_its_origin(raw):
    call, server = redirected(raw, "/second", url=raw.url("/first", userinfo="url:word@"), auth=BasicAuth("user", "secret"))
    assert server.request()["authorization"] == BasicAuth("user", "secret").first("GET", "http://x/")
    server.answer()
    call.answer()


# the end of it

def test_a_loop_ends_at_the_limit(raw):
    raw.client(redirects=3)
    call, server = redirected(raw, "/first")
    for _ in range(3):
        server.request()
        server.send(moved("/first"))
    assert "more than 3 redirects" in str(call.error(BadResponse))
    assert call.redirects == 3


def test_as_many_as_the_limit_are_followed(raw):
    raw.client(redirects=3)
    call, server = redirected(raw, "/1")
    for number in range(2, 4):
        server.request()
        server.send(moved("/%d" % number))
    assert server.request().target == "/3"
    server.answer(b"there")
    assert call.answer().body == b"there" and call.redirects == 3


def test_none_is_followed_where_none_is_wanted(raw):
    raw.client(redirects=0)
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(moved("ftp://nonsense", 302, b"look there"))
    got = call.answer()
    assert (got.status, got.headers["location"], got.body) == (302, "ftp://nonsense", b"look there")


def test_its_body_is_ignored(raw):
    call = raw.get()
    payload, interim = [], []
    call.on_payload += lambda call, view: payload.append(bytes(view))
    call.on_interim += lambda call, response: interim.append(response.status)
    heads = []
    call.on_headers += lambda call: heads.append(call.response.status)
    server = raw.accept()
    server.request()
    server.send(moved("/next", 302, b"ignored"))
    server.request()
    server.send(chunked(b"he", b"re"))
    assert call.answer().body == b"" and b"".join(payload) == b"here"
    assert interim == [302] and heads == [200]


@pytest.mark.parametrize("head", ["Content-Length: 10000000", "Transfer-Encoding: chunked", "X: until close"])
def test_a_long_body_of_a_redirect_is_not_waited_for(raw, head):
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(("HTTP/1.1 302 Found\r\nLocation: /next\r\n%s\r\n\r\n" % head).encode())
    try:
        for _ in range(100):
            server.send(b"3e8\r\n%s\r\n" % bytes(1000))
            raw.turn()
    except OSError:
        pass
    second = raw.accept()
    assert second.request().target == "/next"
    second.answer(b"there")
    assert call.answer().body == b"there"


CUT = {
    "length": moved("/next", 302, b"ignored")[:-1],
    "chunks": answer(b"5\r\nig", "Location: /next", "Transfer-Encoding: chunked", status="302 Found", length=False),
    "garbage": answer(b"no size\r\n", "Location: /next", "Transfer-Encoding: chunked", status="302 Found", length=False),
}


@pytest.mark.parametrize("end", ["half_close", "reset"])
@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
@pytest.mark.parametrize("most", [1, 8])
def test_a_body_of_a_redirect_that_is_cut_is_not_wanted(raw, data, end, most):
    raw.client(max_per_host=most)
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(data)
    raw.turn(2)
    getattr(server, end)()
    second = raw.accept()
    assert second.request().target == "/next"
    second.answer(b"there")
    assert call.answer().body == b"there" and raw.nobody()


def test_a_body_of_a_redirect_that_never_comes_is_not_waited_for(raw):
    raw.client(limits={"body_timeout": 5.0})
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(CUT["length"])
    raw.wait(6)
    second = raw.accept()
    assert second.request().target == "/next" and server.gone()
    second.answer(b"there")
    assert call.answer().body == b"there"


def test_a_redirect_whose_head_is_cut_is_an_error(raw):
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(b"HTTP/1.1 302 Found\r\nLocation: /next\r\n")
    raw.turn(2)
    server.half_close()
    call.error(icey.ProtocolError)
    assert raw.nobody()


def test_a_coding_of_a_redirect_is_not_looked_at(raw):
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(answer(b"not gzip", "Location: /next", "Content-Encoding: gzip", status="302 Found"))
    server.reply(b"there")
    assert call.answer().body == b"there"


@pytest.mark.parametrize("slot", ["on_interim", "on_headers"])
@pytest.mark.parametrize("verb", ["close", "abort"])
def test_a_call_closed_on_its_way(raw, loop, slot, verb):
    call = raw.get()
    getattr(call.call, slot).attach(lambda call, *response: getattr(call, verb)())
    server = raw.accept()
    server.request()
    server.send(moved("/next"))
    if slot == "on_headers":
        server.request()
        server.answer(b"hello")
    raw.until(lambda: call.closed)
    assert not call.over and server.gone()
    raw.turn(2)
    assert not loop.run_once(0)


def test_a_closed_connection_on_the_way(raw):
    call = raw.get()
    server = raw.accept()
    server.request()
    server.send(answer(b"", "Location: /next", "Connection: close", status="302 Found"))
    second = raw.accept()
    assert second.request().target == "/next" and server.gone()
    second.answer(b"there")
    assert call.answer().body == b"there"


def test_with_one_place_a_closed_connection_gives_it_up_for_the_next(raw):
    raw.client(max_per_host=1, max_connections=1)
    call = raw.get()
    for number in range(3):
        server = raw.accept()
        server.request()
        server.send(answer(b"", "Location: /%d" % number, "Connection: close", status="302 Found"))
    server = raw.accept()
    server.reply(b"there")
    assert call.answer().body == b"there"
