"""wrk and ab: many connections at once, and not one error."""
import re
import subprocess
import urllib.request

import pytest

from tests.support import tool


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                          universal_newlines=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def number(pattern, text):
    return int(re.search(pattern, text, re.M).group(1))


def ask(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=20) as answer:
        return answer.read()


@pytest.mark.parametrize("path", ["hello", "later"])
def test_wrk_with_256_connections(app, path):
    said = run(tool("wrk"), "-t", "1", "-c", "256", "-d", "2", "--timeout", "10", app.url + path)
    assert "Socket errors" not in said and "Non-2xx" not in said
    answered = number(r"(\d+) requests in", said)
    assert answered > 256
    assert 256 <= int(ask(app.url + "connections")) <= 2 * 256 + 2  # wrk tries one first, and reconnects at its end


def test_wrk_with_256_connections_on_a_served_folder(serve):
    said = run(tool("wrk"), "-t", "1", "-c", "256", "-d", "2", "--timeout", "10", serve.url + "hello.txt")
    assert "Socket errors" not in said and "Non-2xx" not in said
    assert len(serve.logged("/hello.txt")) >= number(r"(\d+) requests in", said) > 256
    assert ask(serve.url + "hello.txt") == b"hello, world\n"


def test_ab_with_keep_alive(app):
    """ab speaks HTTP/1.0: keep-alive is asked for and has to be echoed."""
    said = run(tool("ab"), "-k", "-q", "-n", "2000", "-c", "20", app.url + "hello")
    assert number(r"^Complete requests: +(\d+)", said) == 2000
    assert number(r"^Keep-Alive requests: +(\d+)", said) == 2000
    assert number(r"^Failed requests: +(\d+)", said) == 0
    assert int(ask(app.url + "connections")) <= 22


def test_ab_without_keep_alive(app):
    said = run(tool("ab"), "-q", "-n", "500", "-c", "20", app.url + "hello")
    assert number(r"^Complete requests: +(\d+)", said) == 500
    assert number(r"^Failed requests: +(\d+)", said) == 0
