"""The standard library's own client: keep-alive, HEAD, ranges, uploads in one piece and in chunks."""
import http.client

import pytest


@pytest.fixture
def connect():
    connections = []

    def connect(server):
        connections.append(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


def test_requests_share_a_connection(serve, connect):
    connection = connect(serve)
    connection.connect()
    port = connection.sock.getsockname()
    for method, target, headers, status, size in (
        ("GET", "/hello.txt", {}, 200, 13),
        ("HEAD", "/big.bin", {}, 200, 0),
        ("GET", "/big.bin", {}, 200, 1048576),
        ("GET", "/big.bin", {"Range": "bytes=-100"}, 206, 100),
        ("GET", "/nothing", {}, 404, 14),
        ("GET", "/sub", {}, 301, 0),
        ("GET", "/sub/", {}, 200, None),
    ):
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        assert (answer.status, len(body) if size is not None else None) == (status, size)
        assert connection.sock is not None and connection.sock.getsockname() == port


def test_uploads(app, connect):
    connection = connect(app)
    connection.request("POST", "/echo", body=b"abc" * 100_000)
    assert connection.getresponse().read() == b"abc" * 100_000
    connection.request("POST", "/collected", body=iter([b"ab", b"cd" * 50_000]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
    assert connection.getresponse().read() == b"ab" + b"cd" * 50_000
    connection.request("GET", "/connections")
    assert connection.getresponse().read() == b"1"
