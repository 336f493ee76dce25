"""icey's HTTP client and the servers of others: nginx, alone and in front of app.py, and python3 -m http.server."""
import os
import re
import sys

import pytest

import icey

WHOLE = bytes(range(256)) * 4096  # big.bin

CONFIG = """
    keepalive_requests 1000;
    server {
        listen 127.0.0.1:%(port0)d;
        root %(site)s;
        client_max_body_size 2m;
        location = /info {
            return 200 "$connection,$connection_requests";
        }
        location = /agent {
            return 200 "$request_method $http_host $http_accept_encoding $http_connection";
        }
        location = /cookies {
            add_header Set-Cookie "one=1; Path=/";
            add_header Set-Cookie "two=2; Path=/cookies";
            return 200 "$http_cookie";
        }
        location = /close {
            keepalive_timeout 0;
            return 200 "$connection";
        }
        location = /empty {
            return 204;
        }
        location /zipped/ {
            alias %(site)s/;
            gzip on;
            gzip_types *;
            gzip_min_length 1;
        }
        location /private/ {
            alias %(site)s/;
            auth_basic "private";
            auth_basic_user_file %(folder)s/users;
        }
        location = /moved/301 { return 301 /agent; }
        location = /moved/302 { return 302 http://$http_host/agent; }
        location = /moved/303 { return 303 agent; }
        location = /moved/307 { return 307 /app/echo; }
        location = /moved/308 { return 308 /app/echo; }
        location = /moved/away { return 302 http://localhost:%(port1)d/agent; }
        location = /loop { return 302 /loop; }
        location /put/ {
            alias %(site)s/put/;
            dav_methods PUT DELETE;
            create_full_put_path on;
        }
        location /slow/ {
            alias %(site)s/;
            limit_rate 200k;
        }
        location /app/ {
            proxy_pass http://127.0.0.1:%(upstream)d/;
            proxy_http_version 1.1;
        }
        location /unbuffered/ {
            proxy_pass http://127.0.0.1:%(upstream)d/;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_buffering off;
        }
        location /1.0/ {
            chunked_transfer_encoding off;
            proxy_pass http://127.0.0.1:%(upstream)d/;
            proxy_http_version 1.1;
        }
    }
    server {
        listen 127.0.0.1:%(port1)d;
        keepalive_requests 2;
        location = /agent {
            return 200 "$http_authorization;$http_cookie";
        }
        location = /info {
            return 200 "$connection,$connection_requests";
        }
    }
"""


@pytest.fixture
def server(nginx, app, site):
    """The nginx: `url`, and `other`, which closes each connection after two answers."""
    server = nginx(CONFIG, 2, site=site, upstream=app.port)
    with open(os.path.join(server.folder, "users"), "w") as file:
        file.write("user:{PLAIN}the password\n")
    server.url, server.other = ("http://localhost:%d/" % port for port in server.ports)
    return server


@pytest.fixture
def client(loop):
    return icey.http.Client(loop)


@pytest.fixture
def ask(client, until):
    """ask(method, url, ...) -> (answer, error) of the client."""
    def ask(*request, **options):
        outcome = []
        client.request(*request, **options, done=lambda *both: outcome.append(both))
        until(lambda: outcome)
        return outcome[0]

    yield ask
    client.close()
    until(lambda: client.closed)


@pytest.fixture
def get(ask):
    """get(url, method="GET", ...) -> the answer."""
    def get(url, method="GET", **options):
        answer, error = ask(method, url, **options)
        assert error is None
        return answer

    return get


# nginx: connections

def test_one_connection_for_one_after_the_other(server, get):
    assert len({get(server.url + "info").text().split(",")[0] for _ in range(50)}) == 1
    assert get(server.url + "info").text().split(",")[1] == "51"


def test_no_more_than_eight_for_many_at_once(server, loop, until, client):
    answers = []
    for _ in range(200):
        client.request("GET", server.url + "info", done=lambda answer, error: answers.append(error or answer.text()))
    until(lambda: len(answers) == 200)
    seen = [answer.split(",") for answer in answers]
    assert len({connection for connection, _ in seen}) == 8
    assert sum(count == "1" for _, count in seen) == 8


def test_a_server_that_closes_after_two_answers(server, get):
    seen = [get(server.other + "info").text().split(",")[1] for _ in range(7)]
    assert seen == ["1", "2", "1", "2", "1", "2", "1"]
    assert len({get(server.url + "close").text() for _ in range(5)}) == 5


def test_a_server_that_closes_idle_connections(nginx, get, until):
    server = nginx("server { listen 127.0.0.1:%(port)d; keepalive_timeout 20ms; return 200 $connection; }")
    url = "http://127.0.0.1:%d/" % server.port
    for _ in range(20):  # closed before the next request, or while that is on its way: it is asked again
        assert get(url).status == 200


def test_what_it_says_of_itself(server, get):
    host = server.url.split("/")[2]
    assert get(server.url + "agent").text() == "GET %s gzip, deflate " % host


# nginx: answers

def test_bodies_and_none(server, get):
    assert get(server.url + "big.bin").body == WHOLE
    answer = get(server.url + "big.bin", "HEAD")
    assert (answer.headers["content-length"], answer.body) == ("1048576", b"")
    assert (get(server.url + "empty").status, get(server.url + "empty").body) == (204, b"")
    assert get(server.url + "nothing").status == 404
    assert get(server.url + "info").text().endswith(",6")


def test_conditions(server, get):
    answer = get(server.url + "hello.txt")
    for name, field in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")):
        again = get(server.url + "hello.txt", headers={name: answer.headers[field]})
        assert (again.status, again.body) == (304, b"")
    assert get(server.url + "hello.txt", headers={"If-Match": '"another"'}).status == 412


def test_ranges(server, get):
    answer = get(server.url + "big.bin", headers={"Range": "bytes=1000-1999"})
    assert (answer.status, answer.headers["content-range"], answer.body) == (206, "bytes 1000-1999/1048576", WHOLE[1000:2000])
    answer = get(server.url + "big.bin", headers={"Range": "bytes=0-1,10-11"})
    assert answer.status == 206 and answer.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert answer.body.count(b"Content-Range: bytes ") == 2
    assert get(server.url + "big.bin", headers={"Range": "bytes=2000000-"}).status == 416


def test_gzip_in_chunks(server, get):
    for name, body in (("big.bin", WHOLE), ("hello.txt", b"hello, world\n")):
        answer = get(server.url + "zipped/" + name)
        assert answer.body == body
        assert (answer.headers["content-encoding"], answer.headers["transfer-encoding"]) == ("gzip", "chunked")
    answer = get(server.url + "zipped/big.bin", headers={"Accept-Encoding": "identity"})
    assert answer.body == WHOLE and "content-encoding" not in answer.headers
    answer = get(server.url + "zipped/big.bin", "HEAD")
    assert (answer.headers["content-encoding"], answer.body) == ("gzip", b"")


def test_an_answer_that_ends_with_its_connection(server, get):
    """HTTP/1.1 without chunks and without a length."""
    answer = get(server.url + "1.0/echo", "POST", body=WHOLE)
    assert answer.body == WHOLE and answer.headers["connection"] == "close"
    assert "transfer-encoding" not in answer.headers and "content-length" not in answer.headers


def test_an_answer_that_is_cut_off(server, client, until):
    outcome, got = [], []
    call = client.request("GET", server.url + "slow/big.bin", done=lambda *both: outcome.append(both))
    call.on_payload += lambda call, view: got.append(len(view))
    until(lambda: got)
    server.kill()
    until(lambda: outcome)
    answer, error = outcome[0]
    assert answer is None and isinstance(error, icey.ProtocolError) and "in the middle of its answer" in str(error)
    assert 0 < sum(got) < len(WHOLE)


def test_redirects(server, get, ask, app):
    host = server.url.split("/")[2]
    for status in (301, 302):
        answer = get(server.url + "moved/%d" % status)
        assert answer.text().startswith("GET " + host) and str(answer.url) == server.url + "agent"
        assert get(server.url + "moved/%d" % status, "POST", body=b"x").text().startswith("GET ")
        assert get(server.url + "moved/%d" % status, "HEAD").status == 200
    answer, error = ask("GET", server.url + "moved/303")  # relative to where it was
    assert answer.status == 404 and str(answer.url) == server.url + "moved/agent"
    for status in (307, 308):
        assert get(server.url + "moved/%d" % status, "POST", body=b"the body").body == b"the body"
    answer, error = ask("GET", server.url + "loop")
    assert answer is None and "more than 10 redirects" in str(error)


def test_a_redirect_elsewhere_takes_no_secrets_along(server, get):
    secrets = {"Authorization": "Basic c2VjcmV0", "Cookie": "secret=1"}
    answer = get(server.url + "moved/away", headers=secrets)
    assert str(answer.url) == server.other + "agent" and answer.text() == ";"


def test_cookies(server, get):
    assert get(server.url + "cookies").text() == ""
    assert sorted(get(server.url + "cookies").text().split("; ")) == ["one=1", "two=2"]


def test_basic_credentials(server, get):
    url = server.url + "private/hello.txt"
    assert get(url).status == 401
    assert get(url, auth=icey.http.BasicAuth("user", "wrong")).status == 401
    assert get(url, auth=icey.http.BasicAuth("user", "the password")).text() == "hello, world\n"
    assert get(url.replace("//", "//user:the%20password@")).text() == "hello, world\n"


# nginx: uploads, also to app.py behind it

def test_files_are_put_and_deleted(server, get, site):
    path = os.path.join(site, "put", "file")
    for body, data in ((b"bytes", b"bytes"), (iter([b"in ", b"chunks"]), b"in chunks"), (b"", b"")):
        assert get(server.url + "put/file", "PUT", body=body).status in (201, 204)
        with open(path, "rb") as file:
            assert file.read() == data
    with open(os.path.join(site, "big.bin"), "rb") as file:
        assert get(server.url + "put/file", "PUT", body=file).status == 204
    assert os.path.getsize(path) == len(WHOLE)
    assert get(server.url + "put/file", "DELETE").status == 204
    assert not os.path.exists(path)


@pytest.mark.parametrize("location", ["app", "unbuffered"])
@pytest.mark.parametrize("handler", ["echo", "collected"])
def test_100_continue(server, client, until, location, handler):
    outcome, interim = [], []
    conn = icey.http.ClientConnection(client.loop, server.url + "%s/%s" % (location, handler), method="POST",
                                      headers={"Expect": "100-continue"})
    body = bytearray()
    conn.on_interim += lambda conn, response: interim.append(response.status)
    conn.on_payload += lambda conn, view: body.extend(view)
    conn.on_complete += lambda conn: outcome.append(conn.response.status)
    conn.on_error += lambda conn, error: outcome.append(error)
    conn.start(body=WHOLE)
    until(lambda: outcome)
    assert (outcome, interim) == ([200], [100]) and body == WHOLE
    conn.close()


@pytest.mark.parametrize("expect", [True, False])
def test_a_body_that_is_too_large_is_refused(server, get, expect):
    answer = get(server.url + "put/file", "PUT", body=bytes(20_000_000), headers={"Expect": "100-continue"} if expect else {})
    assert answer.status == 413


@pytest.mark.parametrize("location", ["app", "unbuffered"])
def test_bodies_both_ways_through_it(server, get, location):
    for body, data in ((WHOLE, WHOLE), (iter([WHOLE[:7], WHOLE[7:]]), WHOLE), (b"x", b"x")):
        assert get(server.url + location + "/echo", "POST", body=body).body == data


# python3 -m http.server

@pytest.fixture
def python_server(program, site):
    """python_server(*flags) -> its URL."""
    def python_server(*flags):
        server = program(sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", *flags, cwd=site,
                         env=dict(os.environ, PYTHONWARNINGS=""))
        return "http://127.0.0.1:%s/" % server.expect(r"port (\d+)").group(1)

    return python_server


def test_pythons_server(python_server, get):
    """HTTP/1.0: each answer ends its connection."""
    url = python_server()
    assert get(url + "big.bin").body == WHOLE
    answer = get(url + "hello.txt", "HEAD")
    assert (answer.version, answer.headers["content-length"], answer.body) == ("1.0", "13", b"")
    answer = get(url + "sub")
    assert str(answer.url) == url + "sub/" and "x.txt" in answer.text()
    assert get(url + "nothing").status == 404
    assert get(url, "POST", body=bytes(100)).status == 501
    answer = get(url + "hello.txt")
    assert get(url + "hello.txt", headers={"If-Modified-Since": answer.headers["last-modified"]}).status == 304


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before, http.server spoke HTTP/1.0 alone")
def test_pythons_server_of_http_1_1(python_server, get):
    url = python_server("--protocol", "HTTP/1.1")
    for _ in range(3):
        answer = get(url + "big.bin")
        assert (answer.version, answer.body) == ("1.1", WHOLE)
    answer = get(url + "sub/")
    assert re.search(r'href="x\.txt"', answer.text())


def test_icey_serve(serve, get):
    assert get(serve.url + "big.bin").body == WHOLE
    assert get(serve.url + "sub").url.path == "/sub/"
    assert serve.logged("/big.bin") == [200]


def test_fetch_alone(serve):
    assert icey.http.fetch(serve.url + "hello.txt").text() == "hello, world\n"
