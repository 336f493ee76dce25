"""Every example proves with --check what it teaches, alone, with warnings as errors; so do the lessons of examples/reactor."""
import ast
import glob
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.support import ROOT, needs, tool
from tests.support.programs import Program

NEEDS = {  # what icey has to have for it
    "embed_asyncio.py": ["asyncio", "selectors"], "embed_thread.py": ["threading"], "embed_tk.py": ["selectors"],
    "https_server.py": ["ssl"], "pipeline.py": ["threading"], "proxy.py": ["ssl"], "workers.py": ["fork", "signal", "unix"],
    "ffmpeg_mjpeg.py": ["fork", "subprocess"], "process.py": ["fork", "subprocess"], "serial_monitor.py": ["termios"],
    "behind_nginx.py": ["fork", "signal", "unix"],
}
PROGRAMS = {"ffmpeg_mjpeg.py": "ffmpeg", "mqtt_pipeline.py": "mosquitto"}  # a real one, which its --check runs
FOLDER = os.path.join(ROOT, "examples")
EXAMPLES = sorted(glob.glob(os.path.join(FOLDER, "*.py")))
LESSONS = sorted(glob.glob(os.path.join(FOLDER, "reactor", "*.py")))
PAGES = sorted(glob.glob(os.path.join(FOLDER, "pages", "*")))
# What a lesson may import: nothing of icey, nothing of another lesson.
FOR_LESSONS = {"collections", "heapq", "re", "select", "socket", "sys", "threading", "time"}


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def checked(path, folder):
    """What `path --check` prints, run in `folder`."""
    done = subprocess.run([sys.executable, "-W", "error", path, "--check"], cwd=str(folder), timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def names_of(paths):
    return [os.path.basename(path) for path in paths]


def imported(path):
    """The modules that a file imports."""
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("path", EXAMPLES, ids=names_of(EXAMPLES))
def test_example_proves_itself(path, tmp_path):
    needs(*NEEDS.get(os.path.basename(path), ()))
    if os.path.basename(path) in PROGRAMS:
        tool(PROGRAMS[os.path.basename(path)])
    assert ast.get_docstring(ast.parse(text_of(path))), "an example says at its head what it teaches"
    checked(path, tmp_path)


def test_every_program_that_runs_until_it_is_stopped_can_be_inspected():
    running = [name for name in EXAMPLES if "icey.run(" in text_of(name)]
    assert len(running) > 15 and [name for name in running if '"--inspect"' not in text_of(name)] == []


ALONE = ["echo.py", "embed_asyncio.py", *(pytest.param(name, marks=pytest.mark.slow) for name in (
    "chat_ws.py", "embed_game.py", "hello_http.py", "https_server.py", "line_server.py", "mjpeg.py", "pipeline.py", "proxy.py",
    "stream_sse.py", "udp_echo.py", "upgrade_custom.py", "wsgi_app.py"))]  # those that need nothing but themselves


@pytest.mark.needs("signal", "selectors")
@pytest.mark.parametrize("name", ALONE)
def test_it_can_be_inspected(name, tmp_path):
    needs(*NEEDS.get(name, ()))
    more = ["--frames", "60000"] if name == "pipeline.py" else []
    running = Program(sys.executable, "-W", "error", os.path.join(FOLDER, name), "--inspect", "0", *more, cwd=str(tmp_path))
    try:
        url = running.expect(r"(?:is shown on|see it at) (http://127\.0\.0\.1:\d+/)").group(1)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url + "state.json", timeout=20) as answer:
            assert json.loads(answer.read())["loop"]["handles"] > 0
        running.process.send_signal(signal.SIGINT)
        assert running.wait() == 0, running.said
        assert "Traceback" not in running.said and "Warning" not in running.said
    finally:
        running.end()


@pytest.mark.parametrize("path", LESSONS, ids=names_of(LESSONS))
def test_a_lesson_shows_what_breaks_and_that_it_is_mended(path, tmp_path):
    needs("select", "threading")
    breaks, mended = checked(path, tmp_path).splitlines()
    assert breaks.startswith("breaks: ") and mended.startswith("mended: ")


@pytest.mark.parametrize("path", LESSONS, ids=names_of(LESSONS))
def test_a_lesson_is_a_page_that_stands_alone(path):
    text = text_of(path)
    head = ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= 120
    assert set(imported(path)) <= FOR_LESSONS
    assert head.startswith(os.path.basename(path)[:2] + ": ")
    assert "\n    python3 examples/reactor/%s" % os.path.basename(path) in head
    assert "\nBreaks without it: " in head and "\nIdea: " in head
    grown_up = head.splitlines()[-1]
    places = re.findall(r"\bicey/[a-z0-9/]+\.py\b", grown_up)
    assert grown_up.startswith("Grown up: ") and places
    assert [place for place in places if not os.path.isfile(os.path.join(ROOT, place))] == []


ASKED = {  # lesson: what a client sends, and what it hears
    "01": (b"hello\n", b"hello\n"), "02": (b"hello\n", b"hello\n"), "03": (b"hello\n" * 10000, b"hello\n" * 10000),
    "04": (b"hello\n", b"hello\n"), "05": (b"hello\n", b"HELLO\n"), "06": (b"hello\n", b"hello\n"),
    "07": (b"to be or\nnot\n", b"3 words\n1 words\n"),
    "08": (b"POST /a HTTP/1.1\r\ncontent-length: 2\r\n\r\nhiGET /b HTTP/1.1\r\n\r\n",
           b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n/a, and a body of 2 bytes\n"
           b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n/b, and a body of 0 bytes\n"),
    "09": (b"GET /a HTTP/1.1\r\n\r\n" * 500, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n/a" * 500),
    "10": (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n" + bytes(8 << 20)),
}


@pytest.mark.needs("select", "threading")
def test_lessons_are_servers_whose_clients_may_be_silent_or_talk_nonsense():
    servers, clients = {}, {}
    try:
        for path in LESSONS:
            servers[os.path.basename(path)[:2]] = subprocess.Popen(
                [sys.executable, path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for number, server in servers.items():
            port = int(re.search(rb"127\.0\.0\.1(?::| port )(\d+)", server.stdout.readline()).group(1))
            for first in (b"", b"hi\r\n\r\n") if number != "01" else ():
                clients[number + "%r" % first] = other = socket.create_connection(("127.0.0.1", port), 20)
                other.sendall(first)
            clients[number] = socket.create_connection(("127.0.0.1", port), 20)
            clients[number].sendall(ASKED[number][0])
        heard_of = {number: bytearray(clients[number].recv(100)) for number in servers}
        servers["10"].send_signal(signal.SIGINT)  # the last lesson stops in order: what is under way goes out
        for number, heard in heard_of.items():
            expected = ASKED[number][1]
            while len(heard) < len(expected):
                data = clients[number].recv(1 << 20)
                assert data, (number, len(heard))
                heard += data
            assert heard == expected, number
        for name in list(clients):
            clients.pop(name).close()
        assert servers["10"].wait(20) == 0
    finally:
        for client in clients.values():
            client.close()
        for server in servers.values():
            server.kill()
            server.communicate()


def test_the_lessons_are_ten():
    assert [name[:3] for name in names_of(LESSONS)] == ["%02d_" % number for number in range(1, 11)]


def test_the_contents_list_every_example_once_and_the_course_in_order():
    contents = text_of(os.path.join(FOLDER, "README.md"))
    linked = re.findall(r"\]\(([^)]*)\)", contents)
    assert [name for name in linked if not os.path.isfile(os.path.join(FOLDER, name))] == []
    assert [name for name in linked if name.startswith("reactor/")] == ["reactor/" + name for name in names_of(LESSONS)]
    assert sorted(name for name in linked if re.match(r"\w+\.py$", name)) == names_of(EXAMPLES)
    assert sorted(name for name in linked if name.startswith("pages/")) == ["pages/" + name for name in names_of(PAGES)]
    told = set(re.findall(r"`(icey/[a-z0-9/]+(?:\.py)?)`", contents))
    assert len(told) > 5 and [place for place in told if not os.path.exists(os.path.join(ROOT, place))] == []


def test_every_page_is_that_of_an_example():
    texts = [text_of(path) for path in EXAMPLES]
    assert PAGES and [name for name in names_of(PAGES) if not any('"%s"' % name in text for text in texts)] == []
