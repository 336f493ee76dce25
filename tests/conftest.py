"""What every test gets: the marks `needs` and `tool`, and subprocesses that see the checkout and fail on warnings."""
import gc
import os
import signal

import pytest

# Before anything imports them. Helpers assert too: rewritten, their asserts also hold under python -O.
pytest.register_assert_rewrite("tests.support")

from tests import support  # noqa: E402


def pytest_configure(config):
    # Inherited by every python that a test starts; the test process itself has filterwarnings for it.
    paths = [support.ROOT] + [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    os.environ["PYTHONWARNINGS"] = "error"
    # Started in the background, a process ignores Ctrl-C, and so would all that the tests start and send it to.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config):
    return "icey: debug %s, taken away: %s" % (
        os.environ.get("ICEY_DEBUG", "unset"), ", ".join(sorted(support.BLOCKED)) or "nothing")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        support.needs(*mark.args)
    for mark in item.iter_markers("tool"):
        for name in mark.args:
            support.tool(name)


def pytest_collection_modifyitems(config, items):
    """Which of the tests that run in both modes, release and debug, are run in which; ICEY_MODE says it.

    both: in both; release, debug: in that one, another run has the other; only-release: those alone, another run has the rest.
    Without it the higher layers' run in debug mode, which is the stricter one: the plain run is to take less than two minutes.
    """
    mode = os.environ.get("ICEY_MODE", "")
    other = {"": "release", "release": "debug", "debug": "release", "only-release": "debug"}.get(mode)
    folders = tuple(os.path.join(support.ROOT, "tests", name, "") for name in ("net", "http", "tools")) if not mode else ""

    def is_left(item):
        modes = {"release", "debug"}.intersection(getattr(getattr(item, "callspec", None), "id", "").split("-"))
        return (other in modes and str(item.path).startswith(folders)) or (mode == "only-release" and not modes)

    left = [item for item in items if is_left(item)]
    if left:
        config.hook.pytest_deselected(items=left)
        dropped = set(left)
        items[:] = [item for item in items if item not in dropped]


def pytest_collection_finish(session):
    out_of_sight()


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
