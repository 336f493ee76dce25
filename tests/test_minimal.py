"""That a minimal run takes away what it says, from icey and not from the tests: the factor would else prove nothing."""
import subprocess
import sys

import pytest

from tests.support.minimal import RUNS, environment

TOY = """
import sys, types, %(module)s
def has(package):
    module = types.ModuleType(package + ".toy")
    module.__dict__.update(__name__=package + ".toy", __package__=package)
    try:
        exec("import %(module)s", module.__dict__)
    except ModuleNotFoundError as exc:
        return False
    return True
print(has("icey"), has("icey.base"), has("iceyish"), has("tests"))
"""
PLAIN = """
import os, select, selectors, socket
near, far = socket.socketpair()
near.sendall(b"x")
assert far.recv(1) == b"x"
assert not hasattr(socket.socket, "sendmsg") and not hasattr(near, "sendmsg") and getattr(near, "sendmsg", None) is None
assert not hasattr(os, "sendfile") and not hasattr(os, "fork") and not hasattr(socket, "AF_UNIX")
assert not hasattr(select, "epoll") and not hasattr(selectors, "PollSelector")
assert selectors.DefaultSelector is selectors.SelectSelector
near.close(), far.close()
import shutil, subprocess, sys, tempfile
subprocess.run([sys.executable, "-c", ""], check=True)
with tempfile.TemporaryDirectory() as folder:
    shutil.copyfile(__import__("os").__file__, os.path.join(folder, "copy"))
print("plain")
"""


def lacking(spec, source):
    done = subprocess.run([sys.executable, "-c", source], env=environment(spec), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, timeout=60)
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


@pytest.mark.parametrize("module", [name for name in RUNS if "," not in name and name not in ("plain", "socketpair")])
def test_a_module_is_gone_for_icey_alone(module):
    assert lacking(module, TOY % {"module": module}) == "False False True True"


def test_plain_takes_the_platform_away_and_leaves_the_rest_working():
    assert lacking("plain", PLAIN) == "plain"


SOCKETPAIR = """
import socket
from icey import Loop
from icey.base.waker import PipeEnd
from icey.tools.testing import ScriptedSocket
near, far = socket.socketpair()
near.close(), far.close()
ScriptedSocket().close()
with Loop() as loop:
    print(type(loop.waker._read) is PipeEnd)
"""


def test_the_pair_of_sockets_is_gone_for_icey_alone():
    assert lacking("socketpair", SOCKETPAIR) == "True"


LIGHT = r"""
import hashlib, http, os, socket, sys
assert hashlib.sha1(b"").digest() and hashlib.new("md5", b"").name == "md5" and "_hashlib" not in sys.modules
for module in ("unicodedata", "logging", "urllib.parse", "_ssl", "ssl", "email.message"):
    try:
        __import__(module)
    except ModuleNotFoundError:
        continue
    sys.exit(module)
for fails in (lambda: eval(r"'\N{DIGIT ONE}'"), lambda: socket.getaddrinfo("localhost", 80), lambda: "x".encode("idna")):
    try:
        fails()
    except (SyntaxError, LookupError):
        continue
    sys.exit("it works")
assert sys.pycache_prefix == os.environ["ICEY_LIGHT_CACHE"]
import icey.http.server.listing, icey.tools.cli.console
from icey.http.semantics.mediatypes import UNKNOWN_TYPE, system_type
assert system_type(".csv") == UNKNOWN_TYPE  # `mimetypes` is not there, or what it leans on is not
print("light")
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="it is a CPython; others have some of it built in")
def test_light_takes_modules_away_from_icey_alone_and_from_all_that_the_tests_start(tmp_path, monkeypatch):
    monkeypatch.delenv("ICEY_LIGHT_CACHE", raising=False)
    for module in ("unicodedata", "logging", "mimetypes", "urllib", "_hashlib"):
        assert lacking("light", TOY % {"module": module}) == "False False True True"
    assert lacking("light", "import socket; print(bool(socket.getaddrinfo('127.0.0.1', 80)))") == "True"
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.setenv("ICEY_LIGHT_CACHE", str(tmp_path))
    assert lacking("light", LIGHT) == "light"


def test_a_wrong_name_is_refused():
    done = subprocess.run([sys.executable, "-c", ""], env=environment("no-such-module"), stderr=subprocess.PIPE,
                          timeout=60)
    assert done.returncode != 0
    assert b"no-such-module" in done.stderr
