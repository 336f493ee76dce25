"""PyInstaller makes one file of the README's first server, and that program serves: what icey imports lazily is found."""
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.support import IN_CI, ROOT, lacks
from tests.support.programs import PATIENCE

BUILDING = 300.0  # seconds; 20 of a processor


def first_server():
    """The program, on a port that is free, and that port."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        source = re.search(r"## A server\n\n```python\n(.*?)```", file.read(), re.S).group(1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert source.count(", 8000)") == 1
    return source.replace(", 8000)", ", %d)" % port).replace(
        "    server.start()\n", "    server.start()\n    print('serving', flush=True)\n"), port


@pytest.mark.skipif(sys.platform == "win32", reason="ends it by a signal")
def test_the_first_server_as_one_file(tmp_path):
    if lacks("PyInstaller"):
        (pytest.fail if IN_CI else pytest.skip)("PyInstaller is not installed")
    source, port = first_server()
    (tmp_path / "hello.py").write_text(source)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    environ["PYINSTALLER_CONFIG_DIR"] = str(tmp_path / "config")
    done = subprocess.run([sys.executable, "-m", "PyInstaller", "--onefile", "--log-level", "WARN", "--paths", ROOT,
                           "hello.py"], cwd=str(tmp_path), env=environ, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=BUILDING)
    assert done.returncode == 0, done.stdout
    with subprocess.Popen([str(tmp_path / "dist" / "hello")], cwd="/", env=environ, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True) as program:
        try:
            assert program.stdout.readline() == "serving\n"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open("http://127.0.0.1:%d/frozen" % port, timeout=PATIENCE) as answer:
                assert answer.read() == b"Hello, /frozen\n"
            program.send_signal(signal.SIGTERM)
            said, _ = program.communicate(timeout=PATIENCE)
        finally:
            program.kill()
    assert (program.returncode, said) == (0, "")
