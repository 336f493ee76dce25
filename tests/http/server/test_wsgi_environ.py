"""WSGI: environ, wsgi.errors, and the request's body."""
import errno
import os
import sys
import tempfile

import pytest

import icey
from icey.http import WSGI
from tests.support import http, wsgi as support
from tests.support.wsgi import answers

debug, clock, reports, loop = http.debug, http.clock, http.reports, http.loop
logged, gate, wsgi = support.logged, support.gate, support.wsgi

pytestmark = pytest.mark.needs("threading")


def environ_of(wsgi, *args, raw=None, valid=True, **options):
    """The environ of the request that `args` make, or of the bytes `raw`."""
    seen = []
    client = wsgi.serve(answers(lambda environ: seen.append(environ) or [b"x"]), valid=valid, **options)
    if raw is not None:
        client.send(raw)
    else:
        client.ask(*args)
    assert client.answer(args[0] if args else "GET").status == 200
    wsgi.idle()
    environ, = seen
    return environ, client


def test_a_plain_request(wsgi):
    environ, client = environ_of(wsgi, "GET", "/a/b?c=d&e=%20")
    host, port = client.sock.getsockname()
    expected = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/a/b", "QUERY_STRING": "c=d&e=%20",
        "REQUEST_URI": "/a/b?c=d&e=%20", "RAW_URI": "/a/b?c=d&e=%20", "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1", "HTTP_HOST": "test",
        "SERVER_PORT": str(wsgi.server.address.port), "REMOTE_ADDR": host, "REMOTE_PORT": str(port), "SERVER_SOFTWARE": "icey",
        "GATEWAY_INTERFACE": "CGI/1.1", "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.multithread": True,
        "wsgi.multiprocess": False, "wsgi.run_once": False, "wsgi.input_terminated": True,
    }
    assert {name: environ[name] for name in expected} == expected
    assert set(environ) - set(expected) == {"wsgi.input", "wsgi.errors", "wsgi.file_wrapper"}
    assert type(environ) is dict and all(type(environ[name]) is type(value) for name, value in expected.items())


@pytest.mark.parametrize("target, path, query", [
    ("/", "/", ""), ("//a//b/", "//a//b/", ""), ("/a%20b", "/a b", ""), ("/caf%C3%A9", "/caf\xc3\xa9", ""),
    ("/%ff", "/\xff", ""), ("/a%2Fb", "/a/b", ""), ("/a%3Fb?c", "/a?b", "c"), ("/%", "/%", ""), ("/%zz%41", "/%zzA", ""),
    ("/?", "/", ""), ("/?a?b", "/", "a?b"), ("http://other/p%C3%BC?q", "/p\xc3\xbc", "q"), ("http://other", "/", ""),
])
def test_the_path_is_shown_as_latin_1(wsgi, target, path, query):
    environ, _ = environ_of(wsgi, "GET", target)
    assert (environ["PATH_INFO"], environ["QUERY_STRING"], environ["REQUEST_URI"]) == (path, query, target)
    assert environ["HTTP_HOST"] == ("other" if "other" in target else "test")


def test_the_target_star_has_no_path(wsgi):
    environ, _ = environ_of(wsgi, "OPTIONS", "*")
    assert (environ["PATH_INFO"], environ["RAW_URI"]) == ("", "*")


@pytest.mark.parametrize("target, path", [
    ("/app", ""), ("/app/", "/"), ("/app/x", "/x"), ("/apple", "/apple"), ("/x", "/x"), ("/%61pp/x", "/x")])
def test_script_name(wsgi, target, path):
    environ, _ = environ_of(wsgi, "GET", target, script_name="/app")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", path)


def test_fields(wsgi):
    environ, _ = environ_of(
        wsgi, "GET", "/", "Accept: a", "accept: b", "Cookie: c=1", "Cookie: d=2", "X-Forwarded-For: 1.1.1.1",
        "X_Forwarded_For: 6.6.6.6", "Proxy: http://evil.test", "X-Empty:", "X-Latin: caf\xe9", "X.Dot: y")
    assert environ["HTTP_ACCEPT"] == "a, b" and environ["HTTP_COOKIE"] == "c=1; d=2"
    assert environ["HTTP_X_FORWARDED_FOR"] == "1.1.1.1" and environ["HTTP_X_EMPTY"] == ""
    assert environ["HTTP_X_LATIN"] == "caf\xe9" and environ["HTTP_X.DOT"] == "y"
    assert "HTTP_PROXY" not in environ and "" not in environ
    assert "CONTENT_TYPE" not in environ and "CONTENT_LENGTH" not in environ and "6.6.6.6" not in str(environ)


def test_clients_that_invent_names_cost_no_memory(wsgi):
    client = wsgi.serve(answers([b"x"]))
    for number in range(0, 1200, 60):
        client.get("/", *["X-%d: y" % one for one in range(number, number + 60)])
    assert len(wsgi.slot._environs._keys) <= 512


def test_an_old_client(wsgi):
    environ, _ = environ_of(wsgi, raw=b"GET / HTTP/1.0\r\n\r\n")
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.0" and "HTTP_HOST" not in environ


@pytest.mark.parametrize("fields, told", [
    ([], ("127.0.0.1", "http", "test", None)),
    (["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: www.test"],
     ("192.0.2.1", "https", "www.test", ("www.test", "443"))),
    (["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"], ("192.0.2.1", "https", "test", ("test", "443"))),
    (["Forwarded: for=\"[2001:db8::1]:44\";host=\"[2001:db8::2]:8443\";proto=https"],
     ("2001:db8::1", "https", "[2001:db8::2]:8443", ("[2001:db8::2]", "8443"))),
    (["Forwarded: for=unknown;host=\"[2001:db8::2]\""], ("", "http", "[2001:db8::2]", ("[2001:db8::2]", "80"))),
    (["X-Forwarded-For: nonsense!"], ("", "http", "test", None)),
])
@pytest.mark.parametrize("trusted", [None, ["10.0.0.0/8"], ["127.0.0.1"]])
def test_what_a_trusted_proxy_tells(wsgi, fields, told, trusted):
    environ, _ = environ_of(wsgi, "GET", "/", *fields, trusted=trusted)
    own = ("127.0.0.1", str(wsgi.server.address.port))
    client, scheme, host, server = told if trusted == ["127.0.0.1"] else ("127.0.0.1", "http", "test", None)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == (client, scheme, host)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (server or own)
    assert environ.get("HTTPS") == ("on" if scheme == "https" else None)


@pytest.mark.needs("unix")
def test_over_a_unix_socket(loop, wsgi, tmp_path):
    seen = []
    server = icey.http.Server(loop, "unix:%s" % (tmp_path / "s"))
    server.on_request += WSGI(answers(lambda environ: seen.append(environ) or [b"x"]), multiprocess=True)
    wsgi.server = server.start()
    assert wsgi.client().get().status == 200
    environ, = seen
    assert (environ["REMOTE_ADDR"], environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("", "localhost", "80")
    assert environ["wsgi.multiprocess"] is True and "REMOTE_PORT" not in environ


# wsgi.errors

def test_errors_are_logged_by_the_line_with_the_request(wsgi, logged):
    def app(environ, start_response):
        errors = environ["wsgi.errors"]
        errors.write("one\ntw")
        errors.write("o\n")
        errors.writelines(["three", "\n", "fo"])
        errors.flush()
        errors.flush()
        errors.write("\nlast")
        return answers([b"x"])(environ, start_response)

    wsgi.serve(app).get("/p?q")
    wsgi.idle()
    assert [text for _, text, _ in logged] == ["GET /p?q: one", "GET /p?q: two", "GET /p?q: three", "GET /p?q: fo",
    "GET /p?q: last"]
    logged.clear()
    client = wsgi.serve(lambda environ, start_response: environ["wsgi.errors"].write(b"bytes"), valid=False)
    assert client.get().status == 500 and wsgi.idle()
    logged.take(TypeError)


@pytest.mark.needs("logging")
@pytest.mark.parametrize("stderr", [True, False])
def test_a_handler_that_writes_what_is_logged_to_errors_makes_no_circle(wsgi, capsys, monkeypatch, stderr):
    """Flask's manual has the root logger's handler write to the request's wsgi.errors."""
    import logging

    def app(environ, start_response):
        handler = logging.StreamHandler(environ["wsgi.errors"])
        handler.setFormatter(logging.Formatter("%(levelname)s of %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
        try:
            logging.getLogger("shop").error("sold out")
            environ["wsgi.errors"].write("as ever\n")
        finally:
            logging.getLogger().removeHandler(handler)
        return answers([b"x"])(environ, start_response)

    monkeypatch.undo()  # of `logged`: this is about logging itself
    if not stderr:
        monkeypatch.setattr(sys, "stderr", None)
    assert wsgi.serve(app).get("/p").body == b"x" and wsgi.idle()
    assert capsys.readouterr().err == "GET /p: ERROR of shop: sold out\nGET /p: as ever\n" * stderr


@pytest.mark.needs("logging")
def test_errors_in_the_place_of_stderr_make_no_circle(wsgi, capfd, monkeypatch):
    """As applications do that were written for a server whose stderr goes nowhere."""
    import logging

    def app(environ, start_response):
        monkeypatch.setattr(sys, "stderr", environ["wsgi.errors"])
        print("sold out", file=sys.stderr)
        return answers([b"x"])(environ, start_response)

    monkeypatch.undo()
    monkeypatch.setattr(logging.getLogger("icey"), "propagate", False)  # to the handler of the last resort
    with capfd.disabled(), tempfile.TemporaryFile("w+") as real:
        monkeypatch.setattr(sys, "__stderr__", real)
        assert wsgi.serve(app).get("/p").body == b"x" and wsgi.idle()
        real.seek(0)
        assert real.read() == "GET /p: sold out\n"


# the body

@pytest.mark.parametrize("size", [0, 1, 1000, 1001, 200000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_read_whole_before_the_application_is_called(wsgi, size, chunked):
    body, files = os.urandom(size), []

    def app(environ, start_response):
        source = environ["wsgi.input"]
        files.append(source.input)
        assert environ["CONTENT_LENGTH"] == str(size) and environ["CONTENT_TYPE"] == "application/x-thing"
        assert "HTTP_TRANSFER_ENCODING" not in environ and "HTTP_CONTENT_LENGTH" not in environ
        return answers([source.read(10), source.read(-1)])(environ, start_response)

    client = wsgi.serve(app, spool=1000)
    options = {"chunks": [body[:700], body[700:]] if size > 700 else [body] if body else []} if chunked else {"body": body}
    for _ in range(2):
        assert client.get("/", "Content-Type: application/x-thing", method="POST", **options).body == body
    wsgi.idle()
    assert all(file.closed for file in files)
    assert [hasattr(file, "fileno") and not hasattr(file, "getvalue") for file in files] == [size > 1000] * 2


@pytest.mark.parametrize("spool", [10, 1000])
def test_the_input_has_lines(wsgi, spool):
    def app(environ, start_response):
        source = environ["wsgi.input"]
        lines = [source.readline(), source.readline(2), source.readlines(), source.readline(), source.read(), list(source)]
        return answers([repr(lines).encode()])(environ, start_response)

    client = wsgi.serve(app, spool=spool, valid=False)
    answer = client.get(method="PUT", body=b"one\ntwo\nthree\nfour")
    assert answer.body == repr([b"one\n", b"tw", [b"o\n", b"three\n", b"four"], b"", b"", []]).encode()


def test_an_upload_that_is_slow_holds_no_thread(wsgi):
    client = wsgi.serve(answers(lambda environ: [environ["wsgi.input"].read(-1)]), threads=1)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n")
    assert client.answer().status == 100
    client.send(b"abc")
    wsgi.turn(3)
    assert not wsgi.busy and wsgi.client().get().status == 200
    client.send(b"def")
    assert client.answer().body == b"abcdef"


def test_an_upload_that_ends_early_never_reaches_the_application(wsgi, monkeypatch):
    made, called = [], []
    real = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: made.append(real(**options)) or made[-1])
    client = wsgi.serve(answers(lambda environ: called.append(1) or []), spool=10)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + b"x" * 100)
    wsgi.until(lambda: made)
    client.close()
    assert wsgi.gone()
    wsgi.turn(2)
    assert not called and made[0].closed


@pytest.mark.parametrize("chunked", [False, True])
def test_more_than_max_body_is_413(wsgi, chunked):
    client = wsgi.serve(answers(lambda environ: [environ["wsgi.input"].read(-1)]), max_body=10)
    assert client.get(method="POST", body=b"x" * 10).body == b"x" * 10
    options = {"chunks": [b"x" * 6, b"x" * 5]} if chunked else {"body": b"x" * 11}
    assert client.get(method="POST", **options).status == 413
    client = wsgi.serve(answers(lambda environ: [environ["wsgi.input"].read(-1)]), max_body=None)
    assert client.get(method="POST", body=b"x" * 11).body == b"x" * 11
    client = wsgi.serve(answers([b"x"]))
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741825\r\n\r\n")
    assert client.answer().status == 413


@pytest.mark.parametrize("code, status", [(errno.ENOSPC, 507), (errno.EIO, 500)])
@pytest.mark.parametrize("where", ["open", "write", "seek"])
def test_a_disk_that_is_full_is_507(wsgi, logged, monkeypatch, code, status, where):
    class Disk:
        def __init__(self, **options):
            self.fail("open")
            self.closed = False
            disks.append(self)

        def fail(self, what):
            if what == where:
                raise OSError(code, os.strerror(code))

        def write(self, data):
            self.fail("write")

        def seek(self, place):
            self.fail("seek")

        def close(self):
            self.closed = True
            if where == "seek":
                self.fail("seek")

    disks = []
    monkeypatch.setattr(tempfile, "TemporaryFile", Disk)
    client = wsgi.serve(answers([b"x"]), spool=10)
    assert client.get(method="POST", body=b"x" * 11).status == status
    wsgi.turn(3)
    assert all(disk.closed for disk in disks) and len(disks) == (where != "open")
    logged.take(OSError)
