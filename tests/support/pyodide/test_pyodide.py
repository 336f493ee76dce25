"""Inside Pyodide: what of icey works there, and how the rest says that it does not. Run by this folder's __main__.py alone."""
import importlib
import json
import pkgutil
import sys
import time

import missing
import pytest

import icey
from icey.__main__ import main
from icey.base.poller import PatientPoller
from icey.base.waker import PipeEnd
from icey.hosts import ThreadHost, pump

pytestmark = pytest.mark.skipif(sys.platform != "emscripten", reason="this is no Pyodide")


@pytest.fixture
def loop():
    with icey.Loop() as loop:
        yield loop


@pytest.fixture
def bare(monkeypatch):
    """Nothing is skipped: what is not there fails as it does for any program."""
    for (owner, name), function in missing.left_alone.items():
        monkeypatch.setattr(owner, name, function)


def test_every_module_imports():
    names = [module.name for module in pkgutil.walk_packages(icey.__path__, "icey.") if not module.name.endswith("__main__")]
    for name in names:
        importlib.import_module(name)
    assert len(names) > 100


def test_the_loop_is_woken_by_a_pipe_and_waits_by_itself(loop):
    assert type(loop.waker._read) is PipeEnd and type(loop.poller) is PatientPoller


def test_run_once_timers_calls_posts_and_synchronizers(loop):
    seen = []
    loop.call_soon(seen.append, "soon")
    loop.post(seen.append, "posted")
    synchronizer = icey.Synchronizer(loop, lambda: seen.append("synchronized"))
    synchronizer.unref()
    synchronizer.post()
    assert loop.run_once(0) is False
    loop.call_later(0.05, seen.append, "timer")
    assert loop.run_once(0) is True
    began = time.monotonic()
    loop.run()
    assert time.monotonic() - began > 0.02
    assert seen == ["soon", "posted", "synchronized", "timer"]


def test_the_loop_sleeps_rather_than_turning_for_ever(loop):
    turns = []
    wait = loop.poller.wait
    loop.poller.wait = lambda timeout: turns.append(timeout) or wait(timeout)
    loop.call_later(0.2, loop.stop)
    loop.run()
    assert len(turns) < 30


def test_a_pump_drives_it(loop):
    seen = []
    loop.call_soon(seen.append, 1)
    pump(loop)
    assert seen == [1]


def test_an_application_runs_and_ends(loop):
    loop.call_later(0.01, loop.stop)
    assert icey.run(loop) is None


def test_a_name_that_is_asked_for_is_answered_without_a_thread(loop, caplog):
    answers = []
    icey.resolve(loop, "example.test", 80, lambda *answer: answers.append(answer))
    while not answers:
        loop.run_once()
    assert "no thread could be started" in caplog.text


def test_what_there_is_none_of_says_so(loop, bare):
    with pytest.raises(RuntimeError, match="new thread"):
        ThreadHost(lambda loop: None).start()
    stream = icey.PacketStream()
    stream.attach(icey.AsyncPacketQueue())
    with pytest.raises(RuntimeError, match="new thread"):
        stream.start()
    with icey.UDPSocket(loop) as udp, pytest.raises(ValueError, match="reuse_address"):
        udp.bind(("127.0.0.1", 0), reuse_address=True)


def test_the_command_line_speaks(capsys):
    assert main(["--version"]) == 0
    assert icey.__version__ in capsys.readouterr().out


def test_a_listener_can_be_made_and_closed_but_nobody_comes(loop, bare):
    with icey.TCPListener(loop, ("127.0.0.1", 0)):
        pass
    loop.run_once(0)


def test_the_doctor_says_what_is_missing(capsys, bare):
    status = main(["doctor", "--json"])
    said = capsys.readouterr().out
    found = json.loads(said)
    assert status in (0, 1), said
    assert "emscripten" in said and found
