"""Helpers for the tests: what is missing here, and how to skip for it.

`needs("ssl")` at the head of a test module skips the whole module; the marker `@pytest.mark.needs("ssl")` skips one
test. Both know the modules that a `minimal` run has taken away from icey (see minimal.py), which the tests themselves
can still import.
"""
import codecs
import errno
import importlib
import importlib.util
import os
import select
import shutil
import socket
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BLOCKED = frozenset(filter(None, os.environ.get("ICEY_MINIMAL", "").split(",")))
if "light" in BLOCKED:  # which stands for many modules: site/sitecustomize.py, which this Python has begun with, says which
    BLOCKED = BLOCKED.union(sys.modules["sitecustomize"].LIGHT_LACKS, sys.modules["sitecustomize"].LIGHT_LOSES)
# The params of a fixture that is the mode, False for release, True for debug: those that ICEY_MODE has run (see conftest.py).
MODES = [pytest.param(on, id=name) for on, name in ((False, "release"), (True, "debug"))
         if os.environ.get("ICEY_MODE", "") in ("", "both", name, "only-" + name)]
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")

FEATURES = {
    "sendmsg": lambda: hasattr(socket.socket, "sendmsg"),
    "sendfile": lambda: hasattr(os, "sendfile"),
    "unix": lambda: hasattr(socket, "AF_UNIX"),
    "fork": lambda: hasattr(os, "fork"),
    "reuse_port": lambda: hasattr(socket, "SO_REUSEPORT"),
    "selectors": lambda: hasattr(select, "epoll") or hasattr(select, "poll") or hasattr(select, "kqueue"),
    "ipv6": lambda: _has_ipv6(),
    "idna": lambda: _has_codec("idna"),
    "threads": lambda: sys.platform not in ("emscripten", "wasi"),
}


def lacks(name):
    """The reason why `name` (a feature of FEATURES or a module) is missing, or None where it is there."""
    if name in FEATURES:
        return None if FEATURES[name]() else "this platform has no " + name
    if name in BLOCKED:
        return "the minimal run has taken away " + name
    return None if importlib.util.find_spec(name) else "this Python has no " + name


def needs(*names):
    """Skips the calling test, or the calling module when called at its head, where one of `names` is missing."""
    for name in names:
        reason = lacks(name)
        if reason:
            pytest.skip(reason, allow_module_level=True)


def tool(name):
    """The path of the program `name`. Skips where it is missing, but fails with CI set: CI installs them all."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        (pytest.fail if IN_CI else pytest.skip)("the program %s is not installed" % name)
    return path


def library(name):
    """The module `name` of another project, to which icey is to talk. Skips the module that asks where it is missing, but fails
    with CI set: there the tests' environment has it."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        reason = "the library %s is not installed" % name.partition(".")[0]
        if IN_CI:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason, allow_module_level=True)
    return importlib.import_module(name)


def out_of_descriptors(monkeypatch, name):
    """Has an import of the module `name` fail as it does where no descriptor is left to read it through."""
    class Finder:
        @staticmethod
        def find_spec(wanted, path=None, target=None):
            if wanted == name:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])


def _has_codec(name):
    try:
        return bool(codecs.lookup(name))
    except LookupError:
        return False


def _has_ipv6():
    if not socket.has_ipv6:
        return False
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True
