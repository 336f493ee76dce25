"""nginx as a reverse proxy with keep-alive upstreams: fewer connections than requests, and the bytes arrive."""
import http.client
import os
import socket
import subprocess
import time

import pytest

from tests.support import tool

CONFIG = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_max_body_size 16m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream icey {{
        server 127.0.0.1:{upstream};
        keepalive 8;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://icey;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
        location /unbuffered/ {{
            proxy_pass http://icey/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}
}}
"""


@pytest.fixture
def proxy(folder, free_port):
    """proxy(upstream port) -> a connection to an nginx in front of it."""
    processes, connections = [], []

    def proxy(upstream):
        program = tool("nginx")
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w") as file:
            file.write(CONFIG.format(folder=folder, upstream=upstream, port=free_port))
        with open(os.path.join(folder, "nginx.out"), "wb") as out:
            processes.append(subprocess.Popen([program, "-p", folder, "-c", path], stdin=subprocess.DEVNULL, stdout=out,
                                              stderr=subprocess.STDOUT))
        wait_for(free_port, processes[-1], os.path.join(folder, "nginx.out"))
        connections.append(http.client.HTTPConnection("127.0.0.1", free_port, timeout=20))
        return connections[-1]

    yield proxy
    for connection in connections:
        connection.close()
    for process in processes:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def wait_for(port, process, output):
    overdue = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > overdue:
                with open(output) as file:
                    pytest.fail("nginx does not start: " + file.read())
            time.sleep(0.02)


def ask(connection, *request, **options):
    connection.request(*request, **options)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_upstream_connections_are_used_again(app, proxy):
    connection = proxy(app.port)
    for _ in range(200):
        assert ask(connection, "GET", "/hello") == (200, b"Hello, World!")
    status, made = ask(connection, "GET", "/connections")
    assert status == 200 and int(made) <= 8


def test_bodies_go_through_both_ways(app, proxy):
    connection = proxy(app.port)
    body = os.urandom(1_000_000)
    for path in ("/echo", "/collected", "/unbuffered/echo", "/unbuffered/collected"):
        assert ask(connection, "POST", path, body=body) == (200, body)
        assert ask(connection, "POST", path, body=iter([body[:10], body[10:]]), encode_chunked=True,
                   headers={"Transfer-Encoding": "chunked"}) == (200, body)
    assert ask(connection, "GET", "/later") == (200, b"Hello, World!")


def test_a_served_folder_behind_it(serve, proxy):
    connection = proxy(serve.port)
    assert ask(connection, "GET", "/big.bin") == (200, bytes(range(256)) * 4096)
    assert ask(connection, "GET", "/big.bin", headers={"Range": "bytes=5-9"}) == (206, bytes(range(5, 10)))
    assert ask(connection, "HEAD", "/big.bin") == (200, b"")
    assert ask(connection, "GET", "/nothing")[0] == 404
    assert ask(connection, "GET", "/")[0] == 200
