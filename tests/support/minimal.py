"""Runs the tests once for each thing a target may lack.

    python tests/support/minimal.py [--only NAMES] [pytest arguments]
    python tests/support/minimal.py --only light        as OpenWrt's python3-light: see site/sitecustomize.py

Each run is `python -m pytest` with ICEY_MINIMAL set and site/sitecustomize.py on the path, so that the subprocesses
of the tests lack the same. Slow tests are left out unless the arguments have a -m of their own.

The whole suite runs without everything at once. Without one thing alone, and without what the system may lack ("plain"), it
is the parts that it could matter to: everything else is the same code as in that run.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RUNS = {
    "logging": ["tests/smoke", "tests/base", "tests/net", "tests/packets", "tests/tools",
                "tests/http/server/test_accesslog.py"],
    "ssl": ["tests/smoke", "tests/mqtt", "tests/tools", "tests/http/client/test_client_redirects.py",
            "tests/http/client/test_client_proxy.py", "tests/http/client/test_fetch.py", "tests/test_imports.py",
            "tests/test_minimal.py", "tests/test_examples.py"],
    "threading": ["tests/smoke", "tests/base", "tests/net", "tests/packets", "tests/tools", "tests/test_minimal.py"],
    "signal": ["tests/smoke", "tests/base/test_application.py", "tests/tools", "tests/test_minimal.py"],
    "zlib": ["tests/smoke", "tests/http/server/test_static.py", "tests/http/client/test_client_download.py",
             "tests/http/client/test_fetch.py", "tests/http/client/test_decoding.py",
             "tests/http/websocket/test_handshake.py", "tests/http/websocket/test_websocket_accept.py",
             "tests/tools/get/test_command.py", "tests/test_minimal.py"],
    "socketpair": ["tests/smoke", "tests/base", "tests/test_minimal.py"],
    "plain": ["tests/smoke", "tests/base", "tests/net", "tests/packets", "tests/contracts", "tests/mqtt",
              "tests/http/server/test_static.py", "tests/http/server/test_exchange_files.py",
              "tests/http/server/test_exchange_send.py",
              "tests/http/server/test_server_lifecycle.py", "tests/http/websocket/test_websocket_messages.py",
              "tests/test_minimal.py"],
    "logging,ssl,threading,signal,zlib,plain": [],
}
# By its name alone (tox -e light): what lacks most of the standard library.
LIGHT = ["tests/smoke", "tests/base", "tests/net", "tests/packets", "tests/http", "tests/mqtt", "tests/contracts",
         "tests/tools", "tests/test_imports.py", "tests/test_minimal.py"]

MODES = {"plain": "release", "logging,ssl,threading,signal,zlib,plain": "debug",
         "light": "release"}  # half of what runs in both modes in each


def environment(spec):
    """The environment in which a Python and all it starts lack what `spec` names."""
    paths = [os.path.join(HERE, "site")] + [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return dict(os.environ, ICEY_MINIMAL=spec, PYTHONPATH=os.pathsep.join(paths), ICEY_MODE=MODES.get(spec, ""),
                ICEY_SLOW="0")


def main(arguments):
    runs = RUNS
    if arguments[:1] == ["--only"]:
        runs, arguments = {arguments[1]: LIGHT if arguments[1] == "light" else []}, arguments[2:]
    if "-m" not in arguments:
        arguments = ["-m", "not slow", *arguments]
    failed = []
    for spec, parts in runs.items():
        print("\n==== without %s" % spec, flush=True)
        command = [sys.executable, "-m", "pytest", "-q", *arguments, *parts]
        done = subprocess.run(command, cwd=ROOT, env=environment(spec))
        if done.returncode:
            failed.append(spec)
    print("\nminimal: %d of %d runs passed" % (len(runs) - len(failed), len(runs)))
    for spec in failed:
        print("failed without %s: repeat with --only %s" % (spec, spec))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
