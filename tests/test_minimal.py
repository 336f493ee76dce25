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


@pytest.mark.parametrize("module", [name for name in RUNS if "," not in name and name != "plain"])
def test_a_module_is_gone_for_icey_alone(module):
    assert lacking(module, TOY % {"module": module}) == "False False True True"


def test_plain_takes_the_platform_away_and_leaves_the_rest_working():
    assert lacking("plain", PLAIN) == "plain"


def test_a_wrong_name_is_refused():
    done = subprocess.run([sys.executable, "-c", ""], env=environment("no-such-module"), stderr=subprocess.PIPE,
                          timeout=60)
    assert done.returncode != 0
    assert b"no-such-module" in done.stderr
