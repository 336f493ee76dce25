"""README.md keeps its word: its commands, its table of limits, its code."""
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
from tests.support import BLOCKED, ROOT, lacks

with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
    README = file.read()


def blocks(language):
    return re.findall(r"^```%s\n(.*?)^```" % language, README, re.S | re.M)


PROGRAMS = blocks("python")
SERVERS = [source for source in PROGRAMS if "icey.run(" in source]
OTHERS = [source for source in PROGRAMS if "icey.run(" not in source]
SAID = ["hello\n", "404 Not Found\n", "said by the loop's own thread\n"]  # by those, in their order
assert len(SAID) == len(OTHERS)


def rows():
    """The lines of the table of limits, made from Limits.table()."""
    for name, default, unit, meaning in icey.Limits.table():
        shown = "%g s" % default if unit == "s" else str(default)
        for size, prefix in ((1 << 10, "KiB"), (1 << 20, "MiB")):
            if unit == "B" and default >= size and default % size == 0:
                shown = "%d %s" % (default // size, prefix)
        yield "| `%s` | %s | %s |" % (name, shown, meaning)


def test_the_table_of_limits_is_that_of_the_code():
    table = re.search(r"^\| limit .*\n\|---.*\n((?:\|.*\n)*)", README, re.M).group(1)
    assert table.splitlines() == list(rows())


def test_the_first_command_serves_and_the_second_tests():
    assert blocks("sh")[:2] == ["python3 -m icey serve\n",
                                "python3 -m pip install pytest coverage\npython3 -m pytest\n"]


def test_the_files_and_folders_it_names_are_there():
    named = set(re.findall(r"\]\(([^):]+)\)|\b((?:icey|tests|examples)/[\w/.]*)", README))
    paths = {path for pair in named for path in pair if path}
    assert len(paths) > 8
    # `cp -r icey yourproject/_vendor/icey` names a folder of the reader's
    assert [path for path in sorted(paths) if not os.path.exists(os.path.join(ROOT, path))] == []


def test_every_name_of_icey_in_it_is_public():
    for path in set(re.findall(r"\bicey\.((?:http\.|tools\.testing)?[A-Za-z_]*)", README)):
        if path.startswith("tools.") or (path == "tls" and lacks("ssl")):
            continue
        found = icey
        for part in filter(None, path.split(".")):
            found = getattr(found, part)


@pytest.mark.parametrize("source", SERVERS, ids=["server-%d" % n for n in range(len(SERVERS))])
def test_a_server_in_it_answers_and_ends_by_a_signal(source):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "8000" in source
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", source.replace("8000", str(port))], cwd=ROOT,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert ask("http://127.0.0.1:%d/files/README.md" % port, process)
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


@pytest.mark.parametrize("source, said", list(zip(OTHERS, SAID)), ids=["program-%d" % n for n in range(len(OTHERS))])
def test_a_program_in_it_runs(source, said):
    for module in re.findall(r"^import (\w+)$", source, re.M):
        if lacks(module):
            pytest.skip(lacks(module))
    done = subprocess.run([sys.executable, "-W", "error", "-c", source], cwd=ROOT, stdin=subprocess.DEVNULL, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == said


if __name__ == "__main__":  # python -m tests.test_readme prints the table of limits
    print("\n".join(rows()))
