"""python3 -m icey: finds the command, and says what there is."""
import subprocess
import sys

import pytest

import icey
from icey import __main__ as program


def run(*arguments):
    done = subprocess.run([sys.executable, "-m", "icey", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, universal_newlines=True)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def fake(monkeypatch):
    """A command `fake` that is this module; what it is called with is in the list."""
    calls = []

    def main(argv, prog):
        calls.append((argv, prog))
        return 7

    module = type(sys)("icey.tools.fake")
    module.main = main
    monkeypatch.setitem(sys.modules, "icey.tools.fake", module)
    monkeypatch.setitem(program.COMMANDS, "fake", ("tools.fake", "do nothing"))
    return calls


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(flag):
    assert run(flag) == (0, "icey %s\n" % icey.__version__, "")


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_names_every_command(flag, capsys):
    assert program.main([flag]) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: ")
    for name, (_, does) in program.COMMANDS.items():
        assert name in said and does in said


def test_without_a_command_it_says_which_there_are(capsys):
    assert program.main([]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "serve" in err


def test_an_unknown_command_is_one_line_and_status_2():
    status, out, err = run("frob")
    assert (status, out) == (2, "")
    assert err == "python3 -m icey: no command called 'frob'. There are: %s (python3 -m icey --help tells more)\n" % (
        ", ".join(program.COMMANDS))


def test_a_command_gets_its_arguments_and_its_status_is_returned(fake, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/icey", "fake", "a", "--b"])
    assert program.main() == 7
    assert program.main(("fake",)) == 7
    assert fake == [(["a", "--b"], "icey fake"), ([], "icey fake")]


def test_run_as_a_module_it_says_so(fake, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/anywhere/icey/__main__.py"])
    program.main(["fake"])
    assert fake == [([], "python3 -m icey fake")]


def test_ctrl_c_while_a_command_starts_is_130_and_no_traceback(fake, monkeypatch):
    def main(argv, prog):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["icey.tools.fake"], "main", main)
    assert program.main(["fake"]) == 130


def test_every_command_is_there():
    for name, (module, _) in program.COMMANDS.items():
        assert callable(__import__("icey." + module, fromlist=["main"]).main), name


def test_no_command_is_imported_before_it_is_called_for():
    done = subprocess.run([sys.executable, "-c", "import sys; from icey.__main__ import main; main(['--version']); "
                                                 "print(sorted(m for m in sys.modules if m.startswith('icey')), "
                                                 "'argparse' in sys.modules)"],
                          stdout=subprocess.PIPE, timeout=60, universal_newlines=True)
    assert done.stdout.splitlines()[1:] == ["['icey', 'icey.__main__'] False"]
