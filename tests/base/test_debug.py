"""debug: the switch, and how places in a program are named."""
import functools
import subprocess
import sys

import pytest

from icey import Loop, Timer
from icey.base import debug
from tests.support import ROOT

HERE = __file__


@pytest.mark.parametrize("value, on", [(None, False), ("", False), ("0", False), ("1", True), ("true", True)])
def test_None_asks_the_environment(monkeypatch, value, on):
    monkeypatch.delenv("ICEY_DEBUG", raising=False)
    if value is not None:
        monkeypatch.setenv("ICEY_DEBUG", value)
    assert debug.switched_on(None) is on
    assert debug.switched_on(True) is True
    assert debug.switched_on(False) is False
    assert debug.switched_on(1) is True


def test_the_stack_leaves_iceys_frames_out_the_nearest_last():
    def inner():
        return debug.stack()

    def outer():
        return inner()

    lines = outer().splitlines()
    assert lines[-1].endswith(" in inner") and lines[-1].startswith("  %s:" % HERE)
    assert lines[-2].endswith(" in outer")
    assert len(lines) <= 12


def test_a_site_names_the_programs_line_not_iceys():
    with Loop(True) as loop:
        site = Timer(loop, 1).site
    assert site.splitlines()[-1].startswith("  %s:" % HERE)
    with Loop(False) as loop:
        assert Timer(loop, 1).site is None


def test_iceys_frames_are_left_out_however_its_folder_was_spelled():
    code = ("import sys; sys.path.insert(0, %r); import icey; loop = icey.Loop(True); "
            "print(icey.Timer(loop, 1).site); loop.close()" % (ROOT + "/tests/.."))
    done = subprocess.run([sys.executable, "-S", "-E", "-c", code], stdout=subprocess.PIPE, universal_newlines=True,
                          check=True)
    assert done.stdout == "  <string>:1 in <module>\n"


def function():
    pass


class Callable:
    def __call__(self):
        pass

    def method(self):
        pass


def test_a_place_names_function_file_and_line():
    line = function.__code__.co_firstlineno
    assert debug.place(function) == "function (%s:%d)" % (HERE, line)
    assert debug.place(functools.partial(functools.partial(function), 1)) == "function (%s:%d)" % (HERE, line)
    assert debug.place(Callable().method).startswith("Callable.method (%s:" % HERE)
    assert "Callable object" in debug.place(Callable()) and HERE in debug.place(Callable())
    assert "<lambda>" in debug.place(lambda: 1)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="elsewhere they are Python functions")
def test_a_place_without_code_is_named_all_the_same():
    assert debug.place(print) == "print"
    assert debug.place([].append) == "list.append"


def test_raised_in_names_the_outermost_frame_of_the_program():
    def slot():
        deeper()

    def deeper():
        raise ValueError

    with pytest.raises(ValueError) as info:
        slot()
    trace = info.value.with_traceback(info.value.__traceback__.tb_next)
    assert debug.raised_in(trace).startswith("slot (%s:" % HERE)
    assert debug.raised_in(ValueError()) == "a callback"


def test_a_stream_left_open_at_the_end_of_the_program_makes_no_noise():
    code = "import socket, icey; near, far = socket.socketpair(); stream = icey.Stream(icey.Loop(), near)"
    done = subprocess.run([sys.executable, "-E", "-c", code], stderr=subprocess.PIPE, universal_newlines=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


# where an interrupt struck

def trace_of(fn, *args):
    try:
        fn(*args)
    except BaseException as exc:
        return exc


def raises(*args):
    raise KeyboardInterrupt


@pytest.mark.parametrize("in_debug", [False, True], ids=["release", "debug"])
def test_an_exception_of_a_slot_did_not_strike_inside(in_debug):
    with Loop(in_debug) as loop:
        loop.call_soon(raises)
        assert debug.struck_inside(trace_of(loop.run)) is False


@pytest.mark.parametrize("handler", ["lambda number, frame: [][0]", "lambda *args: [][0]"])
def test_a_handler_that_raises_strikes_where_it_was_called(handler):
    """A signal's handler has been given the frame that it struck; that one counts, not the handler's own."""
    source = "def struck():\n    handler(2, sys._getframe())\n"
    names = {"sys": sys}
    names["handler"] = eval(handler, names)
    exec(compile(source, debug.__file__, "exec"), names)
    assert debug.struck_inside(trace_of(names["struck"])) is True
    exec(compile(source, __file__, "exec"), names)
    assert debug.struck_inside(trace_of(names["struck"])) is False


def test_at_the_interpreters_end_what_was_left_open_says_nothing_odd():
    """Its modules may have lost their names by then (3.8), and its threads are daemons."""
    program = """if True:
        import icey
        loop = icey.Loop()
        listener = icey.TCPListener(loop, ("127.0.0.1", 0))
        sock, udp = icey.TCPSocket(loop), icey.UDPSocket(loop)
        sock.connect(listener.address)
        udp.bind(("127.0.0.1", 0))
        loop.run_once(0)
        class Keeper: pass
        keeper = Keeper()
        keeper.loop, keeper.itself = loop, keeper
        """
    for flags in ([], ["-X", "dev"]):
        done = subprocess.run([sys.executable] + flags + ["-W", "ignore", "-c", program], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=True)
        assert done.stdout == b""
