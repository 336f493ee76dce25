"""serve --open: a browser is asked for by a process of its own. Here it is a program that notes what it is called with."""
import os
import sys

import pytest

from icey.tools.serve import browser
from tests.support import http, lacks

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

with_processes = pytest.mark.skipif(
    os.name != "posix" or bool(lacks("subprocess") or lacks("signal")), reason="needs processes")


@pytest.fixture
def server(site):
    return site.serve(lambda exchange: exchange.respond(200, b"Hello"))


@pytest.fixture
def program(tmp_path, monkeypatch):
    """What stands for the browser: does `lines`, a shell's."""
    def program(lines):
        path = tmp_path / "browser"
        path.write_text("#!/bin/sh\n" + lines)
        path.chmod(0o755)
        monkeypatch.setenv("BROWSER", "%s %%s" % path)
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "TERM"):  # without them webbrowser knows of no other
            monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "webbrowser.py").write_text("raise SystemExit(9)")  # of the folder that is served: it is not run
    return program


def runs(loop):
    return any(type(handle).__name__ == "Process" for handle in loop.handles)


def opened(loop, server, until):
    """What is told, when `until()` is true."""
    told = []
    browser.open_browser(loop, server, "http://127.0.0.1:1/", told.append)
    while not until(told):
        loop.run_once(0.05)
    return told


@with_processes
def test_the_browser_gets_the_url(loop, server, program, tmp_path):
    program('echo "$1" > %s; \n' % (tmp_path / "seen"))
    assert opened(loop, server, lambda told: not runs(loop)) == []
    assert (tmp_path / "seen").read_text() == "http://127.0.0.1:1/\n"


@with_processes
def test_none_that_can_be_opened_is_told(loop, server, program):
    program("exit 3\n")
    assert opened(loop, server, bool) == [browser.FAILED]


@with_processes
def test_with_the_server_the_process_ends(loop, server, program):
    program("exec sleep 1\n")
    told = []
    browser.open_browser(loop, server, "http://127.0.0.1:1/", told.append)
    server.stop(0, linger=0)
    while runs(loop):
        loop.run_once(0.05)
    assert told == []


@pytest.mark.needs("webbrowser")
@pytest.mark.parametrize("result", [True, False, OSError("no"), ImportError("none")])
def test_without_processes_it_is_opened_from_here(loop, server, monkeypatch, result):
    import webbrowser

    seen, told = [], []

    def show(url):
        seen.append(url)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(webbrowser, "open", show)
    monkeypatch.setitem(sys.modules, "icey.base.process", None)
    browser.open_browser(loop, server, "http://127.0.0.1:1/", told.append)
    assert seen == ["http://127.0.0.1:1/"] and told == ([] if result is True else [browser.FAILED])
