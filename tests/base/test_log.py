"""log: through logging where it is, to stderr where it is not, never an error of its own."""
import io
import logging
import subprocess
import sys

import pytest

from icey.base import log


@pytest.mark.needs("logging")
def test_lines_go_to_the_logger_of_their_area(caplog):
    log.warning("tcp", "accept on %s: %d", "here", 5)
    log.error("loop", "100% sure")
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("icey.tcp", "WARNING", "accept on here: 5"), ("icey.loop", "ERROR", "100% sure")]
    assert caplog.records[0].exc_info is None


@pytest.mark.needs("logging")
def test_an_exception_comes_with_its_traceback(caplog):
    try:
        raise KeyError("mine")
    except KeyError as exc:
        error = exc
    log.error("loop", "oops", exc=error)
    assert caplog.records[0].exc_info == (KeyError, error, error.__traceback__)


@pytest.mark.needs("logging")
def test_levels_and_handlers_are_the_programs(caplog):
    with caplog.at_level(logging.CRITICAL, logger="icey"):
        log.error("loop", "not wanted")
    assert caplog.records == []
    assert logging.getLogger("icey").handlers == [] == logging.getLogger("icey.loop").handlers


def test_logging_is_imported_with_the_first_line_not_before():
    code = "import sys; from icey.base import log; print('logging' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-S", "-c", code], universal_newlines=True).strip() == "False"


@pytest.fixture
def without_logging(monkeypatch):
    monkeypatch.setitem(sys.modules, "logging", None)


def test_without_logging_lines_go_to_stderr(without_logging, capsys):
    log.warning("tcp", "accept on %s: %d", "here", 5)
    log.error("loop", "100% sure")
    assert capsys.readouterr().err == "icey.tcp: accept on here: 5\nicey.loop: 100% sure\n"


def test_without_logging_an_exception_is_shown_as_python_shows_it(without_logging, capsys):
    log.error("loop", "oops", exc=KeyError("mine"))
    assert capsys.readouterr().err == "icey.loop: oops\nKeyError: 'mine'\n"


class Broken:
    def __init__(self, exc):
        self.exc = exc

    def write(self, text):
        raise self.exc


@pytest.mark.parametrize("stderr", [None, Broken(BrokenPipeError()), Broken(ValueError("closed file"))],
                         ids=["none", "broken", "closed"])
def test_without_logging_and_without_a_stderr_that_works_nothing_is_said(without_logging, monkeypatch, stderr):
    monkeypatch.setattr(sys, "stderr", stderr)
    log.warning("tcp", "nobody hears")
    log.error("loop", "nobody hears", exc=KeyError("mine"))


class Raising:
    level = 0

    def handle(self, record):
        raise ArithmeticError


@pytest.fixture
def last_resort(monkeypatch):
    """No handler but that of the last resort, which writes to stderr."""
    monkeypatch.setattr(logging.getLogger("icey"), "propagate", False)


@pytest.mark.needs("logging")
def test_a_stderr_that_was_closed_ends_nothing(last_resort, monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    log.error("loop", "nobody hears", exc=KeyError("mine"))


@pytest.mark.needs("logging")
def test_where_a_handler_of_the_programs_raises_the_line_goes_to_stderr(last_resort, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger("icey"), "handlers", [Raising()])
    log.error("loop", "%d%% sure", 100, exc=KeyError("mine"))
    assert capsys.readouterr().err == "icey.loop: 100% sure\nKeyError: 'mine'\n"
