"""python3 -m icey get, and nginx: files, a download that is cut and resumed, credentials, TLS, exit statuses."""
import os
import subprocess
import sys
import time

import pytest

WHOLE = bytes(range(256)) * 4096  # big.bin
FINE, CONNECT, TLS, LATE, PROTOCOL, STATUS, GONE = 0, 4, 5, 6, 7, 8, 141

CONFIG = """
    ssl_certificate %(cert)s;
    ssl_certificate_key %(key)s;
    server {
        listen 127.0.0.1:%(port0)d;
        listen 127.0.0.1:%(port1)d ssl;
        root %(site)s;
        location = /connection {
            return 200 "$connection_requests\n";
        }
        location = /moved { return 302 /hello.txt; }
        location /slow/ {
            alias %(site)s/;
            limit_rate 300k;
        }
        location /zipped/ {
            alias %(site)s/;
            gzip on;
            gzip_types *;
        }
        location /private/ {
            alias %(site)s/;
            auth_basic "private";
            auth_basic_user_file %(users)s;
        }
    }
"""


@pytest.fixture
def serving(nginx, site, folder, certs):
    """serving(name) -> an nginx with the certificate of that name: `url`, and `secure`."""
    users = os.path.join(folder, "users")
    with open(users, "w") as file:
        file.write("user:{PLAIN}the password\n")

    def serving(name="localhost"):
        cert, key = certs.cert(name)
        server = nginx(CONFIG, 2, cert=cert, key=key, site=site, users=users)
        server.url, server.secure = "http://localhost:%d/" % server.ports[0], "https://localhost:%d/" % server.ports[1]
        return server

    return serving


@pytest.fixture
def server(serving):
    return serving()


@pytest.fixture
def place(folder):
    """The folder that icey get runs in."""
    path = os.path.join(folder, "place")
    os.mkdir(path)
    return path


@pytest.fixture
def begin(place):
    """begin(*arguments) -> the process of icey get."""
    def begin(*arguments):
        return subprocess.Popen([sys.executable, "-m", "icey", "get", "--no-proxy", *arguments], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=place)

    return begin


@pytest.fixture
def get(begin):
    """get(*arguments) -> (exit status, stdout, stderr as str)."""
    def get(*arguments):
        with begin(*arguments) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err.decode()

    return get


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def test_to_stdout(server, get):
    assert get(server.url + "big.bin", server.url + "hello.txt") == (FINE, WHOLE + b"hello, world\n", "")
    assert get(server.url + "connection", server.url + "connection") == (FINE, b"1\n2\n", "")
    assert get(server.url + "moved") == (FINE, b"hello, world\n", "")
    assert get("--compressed", server.url + "zipped/big.bin") == (FINE, WHOLE, "")


def test_into_files(server, get, place):
    status, out, _ = get("-O", server.url + "big.bin", server.url + "hello.txt")
    assert (status, out) == (FINE, b"")
    assert (read(place, "big.bin"), read(place, "hello.txt")) == (WHOLE, b"hello, world\n")
    assert sorted(os.listdir(place)) == ["big.bin", "hello.txt"]


def test_over_tls(server, get, certs):
    assert get("--ca", certs.ca, server.secure + "big.bin") == (FINE, WHOLE, "")
    status, out, err = get("--insecure", server.secure + "hello.txt")
    assert (status, out) == (FINE, b"hello, world\n") and "certificates are not checked" in err


def test_credentials(server, get):
    url = server.url + "private/hello.txt"
    assert get("-u", "user:the password", url) == (FINE, b"hello, world\n", "")
    status, out, err = get("--fail", "-u", "user:wrong", url)
    assert (status, out) == (STATUS, b"") and "401" in err


def cut(process, server, part):
    """Ends the server once some of the file is there."""
    while not (os.path.exists(part) and os.path.getsize(part)):
        assert process.poll() is None
        time.sleep(0.01)
    server.kill()
    out, err = process.communicate(timeout=60)
    assert process.returncode == PROTOCOL, err
    assert 0 < os.path.getsize(part) < len(WHOLE)


def test_a_download_that_is_cut_and_resumed(serving, begin, get, place):
    """The second nginx knows nothing of the first one: the file has the same ETag."""
    server, part = serving(), os.path.join(place, "big.bin")
    with begin("--resume", "-O", server.url + "slow/big.bin") as process:
        cut(process, server, part)
    have = os.path.getsize(part)
    status, _, err = get("--resume", "-v", "-O", serving().url + "big.bin")
    assert status == FINE and read(part) == WHOLE
    assert "> range: bytes=%d-" % have in err.lower() and "206 Partial Content" in err
    assert os.listdir(place) == ["big.bin"]
    status, _, err = get("--resume", "-O", serving().url + "big.bin")  # nothing is missing
    assert status == FINE and read(part) == WHOLE


def test_a_file_that_has_changed_meanwhile_comes_anew(serving, begin, get, place, site):
    server, part = serving(), os.path.join(place, "big.bin")
    with begin("--resume", "-O", server.url + "slow/big.bin") as process:
        cut(process, server, part)
    with open(os.path.join(site, "big.bin"), "wb") as file:
        file.write(WHOLE[::-1])
    os.utime(os.path.join(site, "big.bin"), (1, 1))
    status, _, _ = get("--resume", "-O", serving().url + "big.bin")
    assert status == FINE and read(part) == WHOLE[::-1]


def test_without_resume_nothing_is_left(server, begin, place):
    with begin("-O", server.url + "slow/big.bin") as process:
        while not any(os.path.getsize(os.path.join(place, name)) for name in os.listdir(place)):
            assert process.poll() is None
            time.sleep(0.01)
        server.kill()
        process.communicate(timeout=60)
    assert process.returncode == PROTOCOL and os.listdir(place) == []


@pytest.mark.parametrize("name, words", [("expired", "certificate has expired"), ("self-signed", "certificate"),
                                         ("a.test", "certificate is not valid for 'localhost'")])
def test_a_certificate_that_is_refused(serving, get, certs, name, words):
    status, out, err = get("--ca", certs.ca, serving(name).secure)
    assert (status, out) == (TLS, b"") and words in err and err.count("\n") == 1


def test_what_else_may_fail(server, get, dead_port):
    for status, arguments in (
        (CONNECT, ["http://127.0.0.1:%d/" % dead_port]),
        (STATUS, ["--fail", server.url + "nothing"]),
        (LATE, ["--timeout", "0.3", "-O", server.url + "slow/big.bin"]),
        (TLS, ["https://localhost:%d/" % server.ports[0]]),
    ):
        got, out, err = get(*arguments)
        assert (got, out) == (status, b"") and err.startswith("python3 -m icey get: ") and err.count("\n") == 1


def test_a_reader_that_goes(server, begin):
    with begin(server.url + "big.bin") as process:
        assert process.stdout.read(10) == WHOLE[:10]
        process.stdout.close()
        assert process.wait(60) == GONE and process.stderr.read() == b""


def test_what_it_serves_it_gets(serve, get):
    assert get(serve.url + "big.bin") == (FINE, WHOLE, "")
