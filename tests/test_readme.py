"""README.md and the guide, .docs/guide, keep their word: commands, the table of limits, code. So do the map, icey/README.md,
and .github."""
import ast
import glob
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

import icey
from icey.base.emitter import Emitter
from tests.support import BLOCKED, ROOT, extension, lacks, needs, package
from tests.support.programs import without_slowness


def text_of(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


README = text_of("README.md")
MAP = text_of("icey", "README.md")
GUIDE = {os.path.basename(path): text_of(path) for path in sorted(glob.glob(os.path.join(ROOT, ".docs", "guide", "*.md")))}
PAGES = {"README.md": README, **{".docs/guide/" + name: text for name, text in GUIDE.items()}}


def blocks(language, text):
    return re.findall(r"^```%s\n(.*?)^```" % language, text, re.S | re.M)


PROGRAMS = [(name, source) for name, text in PAGES.items() for source in blocks("python", text)]
SERVERS = [(name, source) for name, source in PROGRAMS if re.search(r"icey\.(workers\.)?run\(", source)]
OTHERS = [program for program in PROGRAMS if program not in SERVERS]


def ids(programs):
    return ["%s-%d" % (os.path.basename(name), number) for number, (name, _) in enumerate(programs)]


def said_by(source):
    """What a program says that it prints: `# prints: hello`, a line each."""
    return "".join(line + "\n" for line in re.findall(r"# prints: (.*)", source))


def rows():
    """The lines of the table of limits, made from Limits.table()."""
    for name, default, unit, meaning in icey.Limits.table():
        shown = "%g s" % default if unit == "s" else str(default)
        for size, prefix in ((1 << 10, "KiB"), (1 << 20, "MiB")):
            if unit == "B" and default >= size and default % size == 0:
                shown = "%d %s" % (default // size, prefix)
        yield "| `%s` | %s | %s |" % (name, shown, meaning)


def test_the_table_of_limits_is_that_of_the_code():
    table = re.search(r"^\| limit .*\n\|---.*\n((?:\|.*\n)*)", GUIDE["limits.md"], re.M).group(1)
    assert table.splitlines() == list(rows())


def test_the_first_command_serves_and_the_second_tests():
    assert blocks("sh", README)[:2] == ["python3 -m icey serve\n",
                                "python3 -m pip install pytest coverage\npython3 -m pytest\n"]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_files_and_folders_it_names_are_there(name):
    text = PAGES[name]
    linked = {os.path.join(os.path.dirname(name), path) for path in re.findall(r"\]\(([^):#]+)[^)]*\)", text)}
    named = set(re.findall(r"\b((?:icey|tests|examples)/[\w/.]*)", re.sub(r"\]\([^)]*\)|addon/_vendor/icey", "]", text)))
    assert [path for path in sorted(linked | named) if not os.path.exists(os.path.join(ROOT, path))] == []


def test_the_readme_is_a_door_to_every_page_of_the_guide():
    assert len(README.splitlines()) <= 200
    assert [name for name in GUIDE if "(.docs/guide/%s)" % name not in README] == []


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_name_of_icey_in_it_is_public(name):
    for path in set(re.findall(r"\bicey\.((?:http\.|tools\.testing)?[A-Za-z_]*)", PAGES[name])):
        if path.startswith("tools.") or (path == "tls" and lacks("ssl")):
            continue
        found = icey
        for part in filter(None, path.split(".")):
            found = getattr(found, part)


# the map of the house

def test_the_files_and_folders_that_the_map_names_are_there():
    named = {path for path in re.findall(r"`([\w/.]+)`", MAP) if path.endswith((".py", "/"))}
    assert len(named) > 40
    folders = [""] + sorted({package.room(path) + "/" for path in package.files() if package.room(path)})
    where = {path: [folder for folder in folders if os.path.exists(os.path.join(package.PACKAGE, folder + path))]
             for path in named}
    # a bare name, `loop.py`, is one of a room in the table of rooms
    assert [path for path in sorted(named) if not ("" in where[path] or ("/" not in path and where[path]))] == []


def test_the_map_has_every_room():
    rooms = {package.room(path) for path in package.files()} - {"", "http"}
    shown = set(re.findall(r"^\| `([\w/]+)/` \|", MAP, re.M))
    assert {room for room in rooms if not room.startswith("tools/")} <= shown


def extension_rows():
    """(class, name, whether it is called) of the table of the extension interface."""
    table = MAP.partition("### The extension interface")[2].partition("\n## ")[0]
    on = ""
    for cells in re.findall(r"^\| *(\w*) *\| (`.*?) \|", table, re.M):
        on = cells[0] or on
        for name, call in re.findall(r"`(\w+)(\([^`]*\))?`", cells[1]):
            yield on, name, bool(call)


def test_the_extension_interface_that_the_map_shows_is_that_of_the_code():
    classes = {"Emitter": Emitter, "Handle": icey.Handle, "Stream": icey.Stream, "Loop": icey.Loop, "Timer": icey.Timer,
               "TCPSocket": icey.TCPSocket, "Pipe": icey.Pipe, "UDPSocket": icey.UDPSocket}
    if not lacks("ssl"):
        classes["TLSSocket"] = icey.TLSSocket
    rows = list(extension_rows())
    known = {on: set(dir(cls)) | set(getattr(cls, "__annotations__", ())) for on, cls in classes.items()}
    assert [(on, name) for on, name, _ in rows if name not in known.get(on, (name,))] == []
    called = {on: {name for of, name, call in rows if call and of == on} for on in [*classes, "TLSSocket"]}
    handle = called["Emitter"] | called["Handle"]
    stream = handle | called["Stream"]
    assert handle == extension.HANDLE
    assert stream == extension.STREAM
    assert stream | called["TCPSocket"] == extension.TCP
    assert stream | called["TCPSocket"] | called["TLSSocket"] == extension.TLS
    assert handle | called["UDPSocket"] == extension.DATAGRAM
    assert handle | called["Timer"] == extension.TIMER
    assert called["Loop"] == extension.LOOP


def test_the_tables_of_states_that_the_map_names_are_there():
    named = re.findall(r"`([\w/]+\.py)`(?: and `([\w/]+\.py)`)?, ([A-Z_]+)(?: and ([A-Z_]+))?", MAP)
    assert len(named) > 8
    for *paths, one, other in named:
        for path in filter(None, paths):
            for name in filter(None, (one, other)):
                assert re.search(r"^%s\b.* = " % name, package.text(path), re.M), (path, name)


def test_the_classes_that_the_map_names_are_there():
    defined = {node.name for path in package.files() for node in ast.walk(package.tree(path)) if isinstance(node, ast.ClassDef)}
    named = set(re.findall(r"`([A-Z][a-z]+[A-Z]?\w*)(?:\.\w+)*`", MAP))
    assert len(named) > 20
    assert sorted(named - defined) == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_what_the_files_in_github_name_is_there(name):
    text = text_of(".github", name)
    paths = {os.path.normpath(os.path.join(".github", path)) for path in re.findall(r"\]\(([^):]+)\)", text)}
    paths.update(re.findall(r"`((?:icey|tests|examples|\.ci)/[\w/.]*)`", text))
    assert [path for path in sorted(paths) if not os.path.exists(os.path.join(ROOT, path))] == []


@pytest.mark.parametrize("name, source", SERVERS, ids=ids(SERVERS))
def test_a_server_in_it_answers_and_ends_by_a_signal(name, source):
    needs(*re.findall(r"^import (sqlite3)$", source, re.M), *["fork", "signal", "unix"] * ("workers" in source))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "8000" in source
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", source.replace("8000", str(port))], cwd=ROOT,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        path = (re.findall(r"# tried by: GET (\S+)", source) or ["/files/README.md"])[0]
        assert ask("http://127.0.0.1:%d%s" % (port, path), process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == (0 if "signal" not in BLOCKED else -signal.SIGTERM)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ask(url, process):
    """What there is at `url`, as soon as somebody listens there: its body, or the kind of an answer that goes on."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    overdue = time.monotonic() + 20
    while True:
        try:
            with opener.open(url, timeout=20) as answer:
                kind = answer.headers["Content-Type"]
                return kind if kind == "text/event-stream" else answer.read()
        except urllib.error.HTTPError as error:
            pytest.fail("%s: %s" % (url, error))
        except OSError:
            if process.poll() is not None or time.monotonic() > overdue:
                pytest.fail("nobody listens: " + process.communicate()[1].decode())
            time.sleep(0.02)


@pytest.mark.parametrize("name, source", OTHERS, ids=ids(OTHERS))
def test_a_program_in_it_runs_and_says_what_it_says_it_prints(name, source):
    needs(*re.findall(r"^import (\w+)$", source, re.M), *["selectors"] * ("Host(" in source),
          *["threading"] * ("AsyncPacketQueue(" in source or "ThreadHost(" in source),
          *["signal"] * ("Process(" in source),  # subprocess needs it
          *["ssl"] * ("icey.tls." in source))
    done = subprocess.run([sys.executable, "-W", "error", "-c", source], cwd=ROOT, stdin=subprocess.DEVNULL, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert (done.returncode, without_slowness(done.stderr)) == (0, "")
    assert done.stdout == said_by(source) != ""


if __name__ == "__main__":  # python -m tests.test_readme prints the table of limits
    print("\n".join(rows()))
