"""The client's way of WebSocket stands apart: a server's copy does without. And a client that is closed while it connects."""
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from icey.http import WebSocket
from tests.support import ROOT, http, package, websocket
from tests.support.websocket import noted

debug, clock, reports, loop, host = http.debug, http.clock, http.reports, http.loop, websocket.host

SERVER_WAY = package.closure(["base/loop.py", "http/server/server.py", "http/websocket/websocket.py"])
CLIENT_WAY = package.closure(["base/loop.py", "http/websocket/websocket.py", "http/websocket/connecting.py"])

TALK = """
    import {name} as icey
    from {name}.http.websocket.websocket import WebSocket

    loop = icey.Loop(debug={debug})
    try:
        WebSocket.connect(loop, "ws://127.0.0.1:1/").abort()
        loop.run()
        print("connects")
    except AttributeError as exc:
        print(exc)
    loop.close()
"""


def copied(files, folder, name):
    """Copies these files of the package, and no others, to `folder` as the package `name`."""
    for path in files:
        target = os.path.join(str(folder), name, *path.split("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(os.path.join(package.PACKAGE, *path.split("/")), target)


def talked(folder, name, debug):
    """What the copy says when it is asked to connect."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(TALK.format(name=name, debug=debug))],
                          cwd=str(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    assert not done.returncode, done.stderr.decode()
    return done.stdout.decode().strip()


def test_a_websocket_server_needs_no_file_of_the_client():
    assert "http/websocket/accepting.py" in SERVER_WAY
    assert [path for path in SERVER_WAY if path.startswith("http/client/")] == []
    assert "http/websocket/connecting.py" not in SERVER_WAY


def test_whoever_adds_connecting_gets_the_client():
    assert "http/client/connection.py" in CLIENT_WAY


@pytest.mark.parametrize("name", ["icey", "vendored"])
def test_a_copy_without_it_says_so(tmp_path, name, debug):
    copied(SERVER_WAY, tmp_path, name)
    assert talked(tmp_path, name, debug) == (
        "this copy of icey was made without websocket-client. To add it, with a whole icey:"
        " python3 -m icey vendor DEST --only ... websocket-client" + " --name vendored" * (name == "vendored"))


def test_a_copy_with_it_connects(tmp_path, debug):
    copied(CLIENT_WAY, tmp_path, "vendored")
    assert talked(tmp_path, "vendored", debug) == "connects"


def test_what_is_missing_behind_it_is_told_as_it_is(tmp_path):
    copied([path for path in CLIENT_WAY if path != "http/client/connection.py"], tmp_path, "vendored")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(TALK.format(name="vendored", debug=False))],
                          cwd=str(tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, timeout=60, check=False)
    assert b"ModuleNotFoundError: No module named 'vendored.http.client.connection'" in done.stderr


def test_a_client_asks_for_nothing_of_the_server():
    """At run time: what `connect` imports."""
    code = ("import icey, sys; loop = icey.Loop(); icey.http.WebSocket.connect(loop, 'ws://127.0.0.1:1/').abort(); loop.run();"
            "loop.close(); print([name for name in sys.modules if name.startswith('icey.http.server.')])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=True)
    assert done.stdout.strip() == b"[]"


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_one_that_is_closed_in_the_turn_of_the_answer_never_opens(host, verb):
    """Before the answer is read, and before the loop has let go of its connection."""
    ws = WebSocket.connect(host.loop, host.url)
    events = noted(ws)
    host.asked()
    ws.client.on_headers.attach(lambda conn: getattr(ws, verb)(), priority=1)
    host.answers()
    host.until(lambda: ws.closed)
    assert events == [("close", 1006, "")]
