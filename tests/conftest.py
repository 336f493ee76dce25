"""What every test gets: the marks `needs` and `tool`, and subprocesses that see the checkout and fail on warnings."""
import gc
import os
import shutil
import signal
import sys
import tempfile

import pytest

# Before anything imports them. Helpers assert too: rewritten, their asserts also hold under python -O.
pytest.register_assert_rewrite("tests.support")

COMPILED = ""
if sys.dont_write_bytecode:  # nor would what the tests start: each would compile icey anew, which is half of its time
    COMPILED = sys.pycache_prefix = tempfile.mkdtemp(prefix="icey-tests-")
    sys.dont_write_bytecode = False

from icey.base import sendqueue  # noqa: E402
from tests import support  # noqa: E402
from tests.support import seeds  # noqa: E402

LONG_TABLE = 6  # cases of one test
SOURCE_ALONE = tuple(os.path.join("tests", *name.split("/")) for name in (
    "test_layout.py", "test_signatures.py", "tools/vendor/test_sets.py"))


def pytest_configure(config):
    # Inherited by every python that a test starts; the test process itself has filterwarnings for it.
    paths = [support.ROOT] + [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    os.environ["PYTHONWARNINGS"] = "error"
    if COMPILED:
        config.add_cleanup(lambda: shutil.rmtree(COMPILED, ignore_errors=True))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = COMPILED
    if "light" in support.BLOCKED:  # from here on, for all that the tests start, it is the whole process
        cache = tempfile.mkdtemp(prefix="icey-light-")
        config.add_cleanup(lambda: shutil.rmtree(cache, ignore_errors=True))
        os.environ["ICEY_LIGHT_CACHE"] = cache
        os.environ.pop("PYTHONPYCACHEPREFIX", None)
    # The system's certificates, none: the tests bring their own, and to read hundreds of them for a context takes 40 ms.
    os.environ.update(SSL_CERT_FILE=os.devnull)
    # Started in the background, a process ignores Ctrl-C, and by nohup SIGHUP; and so would all that the tests start.
    for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)


class SendQueues(dict):
    """Descriptor -> bytes, None for all others: what the system is to say of its send queues."""

    def real(self):
        """From now on the system's own word counts."""
        sendqueue._ask = sendqueue._asker()


@pytest.fixture
def send_queues(monkeypatch):
    """What the system says of its send queues. Elsewhere it says nothing: acknowledgements take real time, tests take none.

    A test that wants to have a say sets `send_queues[fd] = bytes`, or `send_queues[None]` for all; or it asks for what is
    `send_queues.real()`.
    """
    told = SendQueues()
    monkeypatch.setattr(sendqueue, "_ask", lambda fd: told.get(fd, told.get(None)))
    return told


def pytest_sessionstart(session):
    sendqueue._asked, sendqueue._ask = True, lambda fd: None


def pytest_report_header(config):
    return "icey: debug %s, taken away: %s" % (
        os.environ.get("ICEY_DEBUG", "unset"), os.environ.get("ICEY_MINIMAL") or "nothing")


def pytest_runtest_setup(item):
    for mark in item.iter_markers():
        if mark.name == "needs":
            support.needs(*mark.args)
        elif mark.name == "tool":
            for name in mark.args:
                support.tool(name)


def pytest_collection_modifyitems(config, items):
    """Which of the tests that run in both modes, release and debug, are run in which; ICEY_MODE says it.

    both: in both; release, debug: in that one, another run has the other; only-release: those alone, another run has the rest.
    Without it, in the plain run, all but those of base run in debug mode, which is the stricter one, and what is marked
    slow is left out (unless -m says what is wanted; see seeds.LONG), and two thirds of each long table of cases: the plain run
    is to take less than two minutes. Whoever names files, or words (-k), gets the tables whole. ICEY_TABLES decides it for any
    run: whole, or third, without what only reads icey's source, which other runs have. Of base, what is refused at the door is
    refused in each mode alike, and processes are real ones: there one of them will do, too.
    """
    mode = os.environ.get("ICEY_MODE", "")
    long = config.option.markexpr or seeds.LONG
    other = {"": "release", "release": "debug", "debug": "release", "only-release": "debug"}.get(mode)
    higher = [""] if mode else ["net/", "packets/", "mqtt/", "http/", "contracts/", "cases/", "conformance/", "fuzz/", "tools/",
                                "base/test_callables.py", "base/test_process.py", "base/test_application.py",
                                "test_subinterpreters.py"]
    folders = tuple(os.path.join(support.ROOT, "tests", *name.split("/")) for name in higher)

    tables = os.environ.get("ICEY_TABLES")

    def is_left(item):
        modes = {"release", "debug"}.intersection(getattr(getattr(item, "callspec", None), "id", "").split("-"))
        return ((other in modes and str(item.path).startswith(folders)) or (mode == "only-release" and not modes)
                or (not long and item.get_closest_marker("slow") is not None)
                or (tables == "third" and str(item.path).endswith(SOURCE_ALONE)))

    left = [item for item in items if is_left(item)]
    plain = not mode and not long and not tables and config.args_source is config.ArgsSource.TESTPATHS
    if (tables == "third" or plain) and not config.option.keyword:
        left += most(item for item in items if not is_left(item))
    if left:
        config.hook.pytest_deselected(items=left)
        dropped = set(left)
        items[:] = [item for item in items if item not in dropped]


def most(items):
    """Of each test that has LONG_TABLE cases or more, all but every third: from the first, second or third on, as its name has
    it, so that what is a column of many tables, such as a transport, is run whole by all of them together."""
    tables = {}
    for item in items:
        if hasattr(item, "callspec"):
            tables.setdefault(item.nodeid.partition("[")[0], []).append(item)
    return [item for name, table in tables.items() if len(table) >= LONG_TABLE
            for number, item in enumerate(table, len(name)) if number % 3]


def pytest_collection(session):
    gc.disable()  # thousands of items are made, and none of them is rubbish


def pytest_collection_finish(session):
    gc.enable()
    if hasattr(gc, "freeze"):
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    if nextitem is None or nextitem.path != item.path:
        out_of_sight()


def out_of_sight():
    """Takes what there is of pytest out of the garbage collector's sight, again after each module: its tests and their reports
    are thousands, and each test that has rubbish collected would pay for all of them."""
    gc.collect()
    if hasattr(gc, "freeze"):  # PyPy has none
        gc.freeze()
