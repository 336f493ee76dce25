"""The doctor's checks: what is there, what is not, and what icey does without it."""
import errno
import json
import os
import socket
import subprocess
import sys

import pytest

from icey.base.limits import DEFAULTS
from icey.tools.doctor import checks, report
from icey.tools.vendor import command as vendor
from tests.support import lacks

STATES = {"ok", "less", "failed", "skipped"}
KEYS = {"ok", "version", "package", "path", "python", "checks", "trial"}
NAMES = {"copy", "debug", "clock", "selector", "ipv4", "ipv6", "dual_stack", "unix", "reuse_port", "sendmsg", "sendfile",
         "descriptors", "ssl", "tls13", "authorities", "threading", "signal", "logging", "zlib", "hashes", "idna"}


def found(name):
    check, state = checks.CHECKS[name]
    return checks.guarded(check, state)


def raising(exc):
    def function(*arguments, **options):
        raise exc
    return function


@pytest.fixture
def without(monkeypatch):
    """without(name): a module that the checks cannot import."""
    def take_away(name):
        real = checks._import

        def guarded(wanted):
            if wanted == name:
                raise ModuleNotFoundError("No module named %r" % name, name=name)
            return real(wanted)
        monkeypatch.setattr(checks, "_import", guarded)
    return take_away


def test_names_and_keys_are_those_that_programs_rely_on():
    told = report()
    assert set(told) == KEYS
    assert set(told["checks"]) == NAMES
    assert set(told["python"]) == {"implementation", "version", "executable", "platform", "machine", "optimized", "thread"}
    for table in (told["checks"], told["trial"]):
        for one in table.values():
            assert {"state", "value", "text", "do"} <= set(one) <= {"state", "value", "text", "do", "seconds"}
            assert one["state"] in STATES and one["text"]


@pytest.mark.parametrize("name", ["sendmsg", "sendfile", "unix", "reuse_port"])
def test_what_the_system_has(name):
    assert (found(name)["state"], found(name)["value"]) == (("less", False) if lacks(name) else ("ok", True))


class Absent:
    """Hides an inherited attribute from hasattr."""

    def __get__(self, instance, owner=None):
        raise AttributeError("not here")


@pytest.mark.parametrize("name, module, attribute", [
    ("sendfile", os, "sendfile"), ("unix", socket, "AF_UNIX"), ("reuse_port", socket, "SO_REUSEPORT"),
])
def test_what_a_system_lacks_is_told(name, module, attribute, monkeypatch):
    monkeypatch.delattr(module, attribute, raising=False)
    monkeypatch.setattr(socket.socket, "sendmsg", Absent(), raising=False)
    for one in (name, "sendmsg"):
        assert (found(one)["state"], found(one)["value"]) == ("less", False)


def test_a_system_that_does_not_say_what_machine_it_is(monkeypatch):
    monkeypatch.delattr(os, "uname", raising=False)
    monkeypatch.setenv("PROCESSOR_ARCHITECTURE", "ARM64")
    assert checks.facts()["python"]["machine"] == "ARM64"


def test_a_copy_whose_head_was_cut_off(monkeypatch):
    monkeypatch.setattr(checks, "_PACKAGE", "tests.support")
    assert checks.facts()["version"] == "unknown"


@pytest.mark.parametrize("name", ["ssl", "threading", "signal", "logging", "zlib"])
def test_a_module_that_is_missing_costs_what_is_told(name, without):
    assert found(name)["state"] == ("less" if lacks(name) else "ok")
    without(name)
    lost = found(name)
    assert (lost["state"], lost["value"]) == ("less", False)
    assert lost["text"].startswith("No module named %r: " % name) and "install" in lost["do"]


def test_without_ssl_what_it_has_is_not_asked(without):
    without("ssl")
    assert found("tls13")["state"] == found("authorities")["state"] == "skipped"


@pytest.mark.needs("ssl")
def test_authorities(monkeypatch, tmp_path):
    import ssl
    from types import SimpleNamespace

    class Context:
        def load_default_certs(self):
            pass

        def cert_store_stats(self):
            return {"x509_ca": 0}

    monkeypatch.setattr(ssl, "SSLContext", lambda protocol: Context())
    paths = SimpleNamespace()
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    for paths.capath in (None, str(tmp_path), str(tmp_path / "none")):
        assert found("authorities")["state"] == "less"
        assert "ca=" in found("authorities")["do"]
    (tmp_path / "0a1b2c3d.0").write_text("")
    paths.capath = str(tmp_path)
    assert (found("authorities")["state"], found("authorities")["value"]) == ("ok", 1)


@pytest.mark.needs("ssl")
def test_an_old_ssl_speaks_no_tls_1_3(monkeypatch):
    import ssl
    monkeypatch.setattr(ssl, "HAS_TLSv1_3", False)
    assert (found("tls13")["state"], found("tls13")["value"]) == ("less", False)


def test_where_no_thread_can_be_started(monkeypatch):
    if lacks("threading"):
        pytest.skip("no threading")
    import threading
    monkeypatch.setattr(threading.Thread, "start", raising(RuntimeError("can't start new thread")))
    told = found("threading")
    assert told["state"] == "less" and "can't start new thread" in told["text"]


class Resource:
    RLIM_INFINITY, RLIMIT_NOFILE = -1, 7

    def __init__(self, soft, hard):
        self.limits = soft, hard

    def getrlimit(self, which):
        return self.limits


@pytest.mark.parametrize("soft, hard, state, do", [
    (-1, -1, "ok", ""), (20000, 20000, "ok", ""), (1024, -1, "less", "ulimit -n %d" % (DEFAULTS.max_connections + 16)),
    (1024, 4096, "less", "ulimit -n 4096"), (1024, 1024, "less", "administrator"), (8, 8, "less", "administrator"),
])
def test_descriptors_against_the_connections_of_a_server(soft, hard, state, do, monkeypatch):
    monkeypatch.setattr(checks, "_import", lambda name: Resource(soft, hard))
    told = found("descriptors")
    assert told["state"] == state and do in told["do"] and bool(do) == bool(told["do"])
    assert told["value"] == {"soft": None if soft < 0 else soft, "hard": None if hard < 0 else hard}
    if state == "less":
        assert "some %d connections" % max(0, soft - 16) in told["text"]


def test_where_the_limit_is_not_told(without):
    without("resource")
    assert found("descriptors")["state"] == "skipped"


def test_a_selector_that_takes_few(monkeypatch):
    import selectors

    from icey.base import poller
    monkeypatch.setattr(poller, "best_poller", lambda: poller.SelectorPoller(selectors.SelectSelector()))
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.SelectSelector)
    assert (found("selector")["state"], found("selector")["value"]) == ("less", "select")


def test_another_selector_is_named(monkeypatch):
    import selectors

    from icey.base import poller
    monkeypatch.setattr(poller, "best_poller", lambda: poller.SelectorPoller(selectors.SelectSelector()))
    monkeypatch.setattr(selectors, "DefaultSelector", type("KqueueSelector", (), {}))
    assert (found("selector")["state"], found("selector")["value"]) == ("ok", "kqueue")


def test_ip_versions_that_are_not_there(monkeypatch):
    monkeypatch.setattr(socket, "socket", raising(OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")))
    for name in ("ipv4", "ipv6", "dual_stack"):
        assert (found(name)["state"], found(name)["value"]) == ("less", None)
        assert "Address family not supported" in found(name)["text"] and found(name)["do"]
    monkeypatch.setattr(socket, "has_ipv6", False)
    assert found("ipv6")["value"] is False and found("dual_stack")["value"] is False


@pytest.mark.parametrize("value, on", [("1", True), ("0", False)])
def test_debug_mode(value, on, monkeypatch):
    monkeypatch.setenv("ICEY_DEBUG", value)
    assert (found("debug")["state"], found("debug")["value"]) == ("ok", on)


def test_a_clock_that_was_never_set(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 86400.0 * 3)
    assert found("clock")["state"] == "less" and "1970-01-04" in found("clock")["text"]
    monkeypatch.setattr("time.time", lambda: 1.8e9)
    assert found("clock")["state"] == "ok"


def test_hashes_that_a_strict_system_refuses(monkeypatch):
    from icey.http.semantics import digest
    assert "SHA-256" in found("hashes")["value"]
    monkeypatch.setattr(digest, "hash_of", lambda name: None)
    assert (found("hashes")["state"], found("hashes")["value"]) == ("less", [])


def test_host_names_beyond_ascii():
    assert found("idna")["state"] == ("less" if lacks("idna") else "ok")
    if not lacks("idna"):
        source = "import sys; sys.modules['encodings.idna'] = None; from icey.tools.doctor import checks; print(checks._idna())"
        told = subprocess.run([sys.executable, "-c", source], stdout=subprocess.PIPE, timeout=60).stdout.decode()
        assert "'state': 'less'" in told and "xn--" in told


# this copy

def test_a_checkout_is_no_vendored_copy():
    assert (found("copy")["state"], found("copy")["value"]) == ("ok", None)
    assert "VENDORED" in found("copy")["text"]


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A vendored copy."""
    folder = tmp_path_factory.mktemp("host")
    assert vendor.main([str(folder), "--only", "loop", "--name", "other"], "PROG") == 0
    return folder / "other"


@pytest.mark.parametrize("spoiled, state, words", [
    ([], "ok", "as they were copied"), (["base/loop.py"], "less", "not as it was copied: changed base/loop.py"),
    (["base/%s.py" % name for name in ("handle", "loop", "signal", "state", "timer")], "less", "base/signal.py, and 2 more"),
])
def test_a_vendored_copy_is_compared(copied, spoiled, state, words, monkeypatch):
    monkeypatch.setattr(checks, "_HOME", str(copied))
    for path in spoiled:
        with open(copied / path, "ab") as file:
            file.write(b"#")
    told = found("copy")
    assert (told["state"], told["value"]) == (state, ["changed " + path for path in spoiled])
    assert words in told["text"]


@pytest.mark.slow
@pytest.mark.parametrize("flags, path", [(["--with-tools"], ""), (["--only", "doctor"], ""),
                                         (["--with-tools", "--zip"], "other.zip")])
def test_a_copy_tells_of_itself(flags, path, tmp_path):
    """As a folder and as a zip, and if that is all there is of it."""
    assert vendor.main([str(tmp_path), *flags, "--name", "other"], "PROG") == 0
    done = subprocess.run([sys.executable, "-W", "error", "-m", "other", "doctor", "--json"], stdout=subprocess.PIPE,
                          env=dict(os.environ, PYTHONPATH=str(tmp_path / path)), cwd=str(tmp_path), timeout=120)
    told = json.loads(done.stdout.decode())
    assert (told["package"], told["ok"], told["checks"]["copy"]["value"]) == ("other", True, [])
    assert {one["state"] for one in told["trial"].values()} <= {"ok", "skipped"}


def test_a_record_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "VENDORED").write_bytes(b"\xff\0")
    monkeypatch.setattr(checks, "_HOME", str(tmp_path))
    assert found("copy")["state"] == "less" and found("copy")["value"] is None


def test_a_copy_without_the_tool_that_compares(monkeypatch):
    monkeypatch.setattr(checks, "_exists", lambda name: name == "VENDORED")
    monkeypatch.setitem(sys.modules, "icey.tools.vendor.checking", None)
    assert found("copy")["state"] == "skipped" and "--check" in found("copy")["do"]


def test_files_are_found_in_a_folder_and_by_a_loader(monkeypatch):
    assert checks._exists("__main__.py") and not checks._exists("no-such-file")
    monkeypatch.delattr(checks, "__loader__")
    assert checks._exists("__main__.py") and not checks._exists("no-such-file")
