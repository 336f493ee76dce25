"""The README's first command, in a copy of the checkout, with a Python that has nothing installed."""
import os
import re
import shlex
import shutil
import sys
import urllib.request

from tests.support import ROOT


def first_command():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return re.search(r"^```sh\n(.*?)^```", file.read(), re.S | re.M).group(1).strip()


def test_it_serves_the_folder(start, folder):
    clone = os.path.join(folder, "clone")
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info"))
    program, *arguments = shlex.split(first_command())
    assert (program, arguments) == ("python3", ["-m", "icey", "serve"])
    # -S: without site-packages. Port 0, since somebody may have 8000.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    server = start(sys.executable, "-S", "-s", "-W", "error", *arguments, "--port", "0", cwd=clone, env=environment)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(server.url, timeout=20) as answer:
        assert b"README.md" in answer.read()
    with opener.open(server.url + "README.md", timeout=20) as answer, open(os.path.join(ROOT, "README.md"), "rb") as file:
        assert answer.read() == file.read()
    assert server.logged("/README.md") == [200]
