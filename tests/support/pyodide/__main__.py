"""Runs those of the tests inside Pyodide (CPython compiled for WebAssembly, in Node) that need no network.

    python tests/support/pyodide NODE_MODULES [pytest arguments]

NODE_MODULES: the folder into which `npm install pyodide` has put it. pytest is the one of this Python. Without files among the
arguments it is PARTS that run. Where Node or the package is missing that is said, and with CI set it is a failure.
Not here: the run itself (run.mjs), what is skipped in it (missing.py).
"""
import os
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
BASE = ("buffer callables debug errors handle idler limits lingering log loop loop_close loop_exceptions "
        "loop_post poll poller signal state synchronizer threadsignal timer waker watchdog watch")
WEBSOCKET = "deflate frames frames_closing frames_utf8 handshake masking"
PARTS = ["tests/support/pyodide/test_pyodide.py", "tests/packets", "tests/http/semantics", "tests/http/http1",
         "tests/conformance/test_parser.py"]


def modules(folder, names):
    return ["%s/test_%s.py" % (folder, name) for name in names.split()]


def main(arguments):
    pyodide = os.path.join(os.path.abspath(arguments[0]), "pyodide")
    node = shutil.which("node")
    reason = "node is not installed" if node is None else "npm could not install pyodide" if not os.path.isdir(pyodide) else ""
    if reason:
        print("pyodide: %s" % reason)
        return 1 if os.environ.get("CI", "").lower() in ("1", "true", "yes") else 0
    site = os.path.dirname(os.path.dirname(os.path.abspath(pytest.__file__)))
    rest = arguments[1:]
    if not any(os.path.exists(one.partition("::")[0]) for one in rest):
        rest = [*rest, *PARTS, *modules("tests/base", BASE), *modules("tests/http/websocket", WEBSOCKET)]
    return subprocess.run([node, os.path.join(HERE, "run.mjs"), pyodide, ROOT, site, "--", *rest], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
