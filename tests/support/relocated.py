"""Runs tests/smoke against icey in another place.

    python tests/support/relocated.py vendored|zip|installed [pytest arguments]

vendored   copied to hostapp/_vendor/icey, imported as hostapp._vendor.icey
zip        inside icey.zip on sys.path
installed  what is installed in this Python's site-packages (a wheel)

The smoke tests are copied out of the checkout and run there, so that nothing of it can be imported by accident.
"""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PYTEST_INI = """\
[pytest]
addopts = -ra --strict-markers -p no:cacheprovider
filterwarnings =
    error
    ignore:assertions not in test modules or plugins will be ignored:pytest.PytestConfigWarning
"""
CLEAN = shutil.ignore_patterns("__pycache__", "*.pyc")


def vendored(site):
    vendor = os.path.join(site, "hostapp", "_vendor")
    shutil.copytree(os.path.join(ROOT, "icey"), os.path.join(vendor, "icey"), ignore=CLEAN)
    for folder in (os.path.join(site, "hostapp"), vendor):
        with open(os.path.join(folder, "__init__.py"), "w", encoding="ascii"):
            pass
    return "hostapp._vendor.icey", site, os.path.join(vendor, "icey")


def zipped(site):
    shutil.copytree(os.path.join(ROOT, "icey"), os.path.join(site, "tree", "icey"), ignore=CLEAN)
    archive = shutil.make_archive(os.path.join(site, "icey"), "zip", os.path.join(site, "tree"))
    return "icey", archive, os.path.join(archive, "icey")


def installed(site):
    import sysconfig
    return "icey", "", os.path.join(sysconfig.get_path("purelib"), "icey")


KINDS = {"vendored": vendored, "zip": zipped, "installed": installed}


def main(arguments):
    if not arguments or arguments[0] not in KINDS:
        sys.exit(__doc__)
    # realpath: the tests compare with __file__, and a temporary folder may be behind a link.
    folder = os.path.realpath(tempfile.mkdtemp(prefix="icey-%s-" % arguments[0]))
    try:
        package, path, where = KINDS[arguments[0]](os.path.join(folder, "site"))
        run = os.path.join(folder, "run")
        shutil.copytree(os.path.join(ROOT, "tests", "smoke"), os.path.join(run, "smoke"), ignore=CLEAN)
        with open(os.path.join(run, "pytest.ini"), "w", encoding="ascii") as file:
            file.write(PYTEST_INI)
        environ = dict(os.environ, ICEY_PACKAGE=package, ICEY_WHERE=where, PYTHONPATH=path, PYTHONWARNINGS="error")
        command = [sys.executable, "-m", "pytest", "smoke", *arguments[1:]]
        return subprocess.run(command, cwd=run, env=environ).returncode
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
