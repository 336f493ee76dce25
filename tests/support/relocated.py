"""Runs tests/smoke against icey in another place: copies that `python3 -m icey vendor` makes, or what is installed.

    python tests/support/relocated.py vendored|zip|installed [--only SET] [pytest arguments]

vendored   all of it in hostapp/_vendor/icey, imported as hostapp._vendor.icey; then each set of `vendor --list`, in debug mode
zip        all of it in _net.zip on sys.path, imported as _net; then each set, in release mode
installed  what is installed in this Python's site-packages (a wheel), and copies made by it

The smoke tests are copied out of the checkout and run there, so that nothing of it can be imported by accident. Of a set its
part of smoke/test_parts.py is run, with nothing of icey on the path but the copy of that set. --only: that set alone.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PYTEST_INI = """\
[pytest]
addopts = --strict-markers -p no:cacheprovider
filterwarnings =
    error
    ignore:assertions not in test modules or plugins will be ignored:pytest.PytestConfigWarning
"""
CLEAN = shutil.ignore_patterns("__pycache__", "*.pyc")
WHOLE = "whole"


class Place:
    """Where copies lie: `folder`. `maker`: the folder of the icey that makes them, None: what is installed."""

    def __init__(self, kind, folder, maker):
        self.kind, self.folder = kind, folder
        self._environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ICEY_MINIMAL")}
        if maker is not None:
            self._environ["PYTHONPATH"] = maker

    def vendor(self, *arguments):
        """What `python3 -m icey vendor` prints."""
        return subprocess.run([sys.executable, "-m", "icey", "vendor", *arguments], cwd=self.folder, env=self._environ,
                              check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout

    def sets(self):
        """The words of --list."""
        return [one["name"] for one in json.loads(self.vendor("--list", "--json"))["sets"]]

    def copied(self, word):
        """Makes the copy of a set, WHOLE: of everything. (the name to import, what to put on the path, the package's folder)"""
        site = os.path.join(self.folder, "sites", word)
        what = ["--with-tools"] if word == WHOLE else ["--only", word]
        if self.kind == "zip":
            self.vendor(site, *what, "--zip", "--name", "_net")
            archive = os.path.join(site, "_net.zip")
            return "_net", archive, os.path.join(archive, "_net")
        app = os.path.join(site, "hostapp")
        vendored = os.path.join(app, "_vendor")
        self.vendor(vendored, *what)
        for folder in (app, vendored):
            with open(os.path.join(folder, "__init__.py"), "w", encoding="ascii"):
                pass
        return "hostapp._vendor.icey", site, os.path.join(vendored, "icey")


def smoke(run, word, package, path, where, *arguments):
    """Runs the tests of a set in the folder `run`; the exit status."""
    environ = dict(os.environ, ICEY_PACKAGE=package, ICEY_WHERE=where, PYTHONPATH=path, PYTHONWARNINGS="error", ICEY_SET=word)
    files = ["smoke"] if word == WHOLE else ["smoke/test_parts.py"]
    if word == WHOLE:
        del environ["ICEY_SET"]
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *files, *arguments], cwd=run, env=environ).returncode


def main(arguments):
    if not arguments or arguments[0] not in ("vendored", "zip", "installed"):
        sys.exit(__doc__)
    kind, *arguments = arguments
    only = None
    if arguments[:1] == ["--only"]:
        only, arguments = arguments[1], arguments[2:]
    # realpath: the tests compare with __file__, and a temporary folder may be behind a link.
    folder = os.path.realpath(tempfile.mkdtemp(prefix="icey-%s-" % kind))
    try:
        run = os.path.join(folder, "run")
        shutil.copytree(os.path.join(ROOT, "tests", "smoke"), os.path.join(run, "smoke"), ignore=CLEAN)
        with open(os.path.join(run, "pytest.ini"), "w", encoding="ascii") as file:
            file.write(PYTEST_INI)
        place = Place(kind, folder, None if kind == "installed" else ROOT)
        failed = []
        if kind == "installed":
            import sysconfig
            there = os.path.join(sysconfig.get_path("purelib"), "icey")
            if smoke(run, WHOLE, "icey", "", there, *arguments):
                failed.append("what is installed")
        for word in [only] if only else [WHOLE] if kind == "installed" else [WHOLE, *place.sets()]:
            print("==== %s, %s" % (kind, word), flush=True)
            if word != WHOLE:
                os.environ.setdefault("ICEY_DEBUG", "1" if kind == "vendored" else "0")
            if smoke(run, word, *place.copied(word), *arguments):
                failed.append(word)
        for word in failed:
            print("failed: %s (repeat with --only %s)" % (word, word))
        return int(bool(failed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
