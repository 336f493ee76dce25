"""The examples inside docstrings run: with the names of their module, and with what a reader has already: a loop, a server, an
exchange, a function that is called. Those of the README and the guide are programs: test_readme.py."""
import ast
import contextlib
import enum
import glob
import gzip
import importlib
import io
import os
import re
import socket
import sys
import tempfile
import textwrap
import types
import warnings

import pytest

import icey
from icey.tools import testing
from tests.support import ROOT

pytestmark = pytest.mark.needs("ssl", "zlib", "threading", "subprocess", "selectors", "fork")
BLOCK = re.compile(r"^\n((?: {4}.*\n|\n(?= {4}))+)", re.M)
NOT_RUN = {  # what is written as Python is
    "icey/tools/cli/netoptions.py": "a list of signatures",
    "icey/http/websocket/offer.py": "the answer has to be that to its key",
    "icey/tools/get/options.py": "it reads the command line",
    "icey/tools/serve/browser.py": "it opens a browser",
    "icey/tools/ws/terminal.py": "it takes a terminal over",
    "icey/tools/ws/keyboard.py": "it takes a terminal over",
    "icey/workers/supervisor.py": "it starts processes: examples/workers.py does",
}
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n"
UPGRADE = REQUEST + (b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
PARTS = (b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\nHello\r\n'
         b'--b\r\nContent-Disposition: form-data; name="upload"; filename="a.txt"\r\n\r\na file\r\n--b--\r\n')
FORM = (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n%s"
        % (len(PARTS), PARTS))


def observed_by(module, name):
    return lambda names: {"observer": getattr(importlib.import_module(module), name)()}


def extensions(names):
    from icey.http.websocket.handshake import parse_extensions

    offered = parse_extensions(["permessage-deflate"])
    return {"offers": offered, "answers": offered, "ours": names["PLAIN"]}


def certificate(names):
    from icey.tools.cli.certificate import self_signed

    for place, text in zip(("cert.pem", "key.pem"), self_signed(["localhost"])):
        with open(place, "w") as file:
            file.write(text)
    return {"tls": icey.tls, "accepted": names["sock"]}


def served(names):
    """Something that listens, while this thread waits."""
    host = icey.hosts.ThreadHost().start()
    names["stack"].callback(host.stop)

    def serve():
        server = icey.http.Server(host.loop, "127.0.0.1", 0).start()
        server.on_request += lambda exchange: exchange.respond(200, b"hello", "text/plain")
        return server.address.port

    return {"port": host.call(serve)}


MORE = {  # the names that one example needs beside
    "icey/http/client/fetch.py": served,
    "icey/http/client/decoding.py": lambda names: {"data": gzip.compress(b"hello")},
    "icey/http/http1/parser.py": observed_by("icey.http.http1.observer", "ParserObserver"),
    "icey/http/semantics/auth.py": lambda names: {"verifier": names["DigestVerifier"]("realm", {}.get)},
    "icey/http/semantics/eventstream.py": lambda names: {"data": b"data: hello\n\n"},
    "icey/http/server/forms.py": lambda names: {"exchange": names["ask"](FORM)},
    "icey/http/server/wsgi.py": lambda names: {"serve": names["done"]},  # the real one serves until a signal ends it
    "icey/http/websocket/compression.py": lambda names: {"WebSocket": icey.http.WebSocket},
    "icey/http/websocket/deflate.py": extensions,
    "icey/http/websocket/frames.py": observed_by("icey.http.websocket.frames", "MessageObserver"),
    "icey/mqtt/core.py": lambda names: {"observer": names["MqttObserver"](), "sock": names["far"], "data": b"\x20\x02\0\0"},
    "icey/net/tls.py": certificate,
    "icey/tools/testing/scripted.py": lambda names: {"Stream": icey.Stream},
}
RAISES = {"icey/http/semantics/auth.py": icey.HttpError}  # nobody has signed in


def docstrings():
    """(file, line, docstring) of all of icey."""
    for path in sorted(glob.glob(os.path.join(ROOT, "icey", "**", "*.py"), recursive=True)):
        with open(path, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
                yield os.path.relpath(path, ROOT).replace(os.sep, "/"), getattr(node, "lineno", 1), ast.get_docstring(node)


def is_python(text):
    """Whether it is Python that does something, and no table that happens to look like it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # `f(x)  [1]` is a call and what it returns
            body = ast.parse(text).body
    except SyntaxError:
        return False
    return any(isinstance(node, (ast.Call, ast.ClassDef)) for statement in body for node in ast.walk(statement))


def examples():
    """(file, line, source) of each example."""
    for path, line, text in docstrings():
        for block in BLOCK.findall("\n" + text + "\n"):
            source = textwrap.dedent(block)
            if is_python(source):
                yield path, line, source


EXAMPLES = list(examples())


@pytest.fixture
def world(tmp_path, monkeypatch):
    """What the examples take for granted, and the places they name: name -> object."""
    monkeypatch.chdir(tmp_path)
    for name in ("www", "assets"):
        (tmp_path / name).mkdir()
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    exchanges, wires = [], []
    client = testing.TestClient(exchanges.append)

    def ask(data):
        wires.append(client.connect())
        wires[-1].send(data)
        while len(exchanges) < len(wires):
            client.advance(0)
        return exchanges[-1]

    exchange = ask(UPGRADE)
    loop = icey.Loop(False)
    far, near = socket.socketpair()
    udp = icey.UDPSocket(loop)
    udp.bind(("127.0.0.1", 0))
    names = dict.fromkeys("application app done told arrived save rest fn tell".split(), lambda *args, **named: None)
    names.update(
        os=os, sys=sys, icey=icey, Enum=enum.Enum, TemporaryFile=tempfile.TemporaryFile,
        loop=loop, server=icey.http.Server(loop, "127.0.0.1", 0).start(), client=client,
        sock=icey.TCPSocket(loop, near, icey.Address("127.0.0.1", 1)), far=far, udp=udp, query=b"??",
        exchange=exchange, request=exchange.request, ask=ask, data=b"", parts=[], token=str,
        stream=icey.PacketStream("s"), camera=icey.PacketStream("camera"), file=io.StringIO(), path="none.avi",
        database=types.SimpleNamespace(connected=True), url="http://127.0.0.1:8000/", port=8000, stack=contextlib.ExitStack())
    yield names
    names["stack"].close()
    for wire in wires:
        wire.close()
    client.close()
    loop.close()
    far.close()


@pytest.mark.parametrize("path, line, source", [example for example in EXAMPLES if example[0] not in NOT_RUN],
                         ids=["%s-%d" % (path[5:], line) for path, line, source in EXAMPLES if path not in NOT_RUN])
def test_it_runs(path, line, source, world, tmp_path):
    names = dict(world)
    names.update(vars(importlib.import_module(path[:-3].replace("/__init__", "").replace("/", "."))))
    if path in MORE:
        names.update(MORE[path](names))
    source = source.replace(":8000/", ":%d/" % names["port"]).replace('"127.0.0.1", 8000', '"127.0.0.1", 0')
    for place in ("/srv/www", "/tmp/photo.jpg"):
        source = source.replace(place, (tmp_path / os.path.basename(place)).as_posix())
    code = compile("\n" * line + source, path, "exec")
    if path in RAISES:
        with pytest.raises(RAISES[path]):
            exec(code, names)
    else:
        exec(code, names)
    for name in ("peer", "loop"):
        if names.get(name) is not world.get(name):  # one that it has made
            names[name].close()


def test_what_is_not_run_is_there():
    assert len(EXAMPLES) > 50 and set(NOT_RUN) | set(MORE) | set(RAISES) <= {path for path, line, source in EXAMPLES}
