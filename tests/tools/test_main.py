"""python3 -m icey: finds the command, and says what there is."""
import io
import os
import re
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


def test_without_a_command_it_shows_them_a_line_each(capsys):
    assert program.main([]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == "" and all("  %-10s %s" % (name, does) in lines for name, (_, does) in program.COMMANDS.items())
    assert max(map(len, lines)) < 80


def test_help_of_a_command_is_what_its_own_help_is(fake, capsys):
    assert program.main(["help", "fake"]) == 7
    assert [argv for argv, _ in fake] == [["--help"]]
    assert program.main(["help", "help"]) == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_help_of_what_is_no_command_or_of_two(fake, capsys):
    assert program.main(["help", "frob"]) == 2
    assert "no command called 'frob'. There are: " in capsys.readouterr().err
    assert program.main(["help", "fake", "serve"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), fake) == ("", 1, []) and err.endswith("not of 'fake', 'serve'\n")
    assert program.main([""]) == 2


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


def test_a_program_s_name_that_stdout_has_no_bytes_for_is_escaped(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/caf\xe9"])
    with io.TextIOWrapper(io.BytesIO(), "ascii", "strict") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert program.main(["--help"]) == 0
        assert out.buffer.getvalue().startswith(b"usage: caf\\xe9 COMMAND")


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
    assert done.stdout.splitlines()[1:] == ["['icey', 'icey.__main__', 'icey.base', 'icey.base.lazy'] False"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["get", "--help"], *(
    pytest.param(arguments, marks=pytest.mark.slow) for arguments in (
        ["--version"], ["serve", "--help"], ["ws", "--help"], ["bench", "--help"]))])
def test_help_that_cannot_be_written_is_told(arguments):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", "icey", *arguments], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert re.fullmatch(b"python[^\n]* -m icey( [a-z]+)?: cannot write to stdout: No space left on device\r?\n", done.stderr)


def test_help_that_nobody_reads():
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as out:
        done = subprocess.run([sys.executable, "-m", "icey", "ws", "--help"], stdout=out, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(os.name != "posix", reason="needs preexec_fn")
@pytest.mark.parametrize("arguments, status", [(["nope"], 2), (["help", "serve", "get"], 2), (["get"], 2),
                                               (["inspect", "http://127.0.0.1:1/", "--once"], 4)])
@pytest.mark.parametrize("err", ["closed", "full"])
def test_the_exit_status_is_the_same_where_nobody_reads_what_is_wrong(arguments, status, err):
    if err == "full" and not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full" if err == "full" else os.devnull, "wb") as out:
        done = subprocess.run([sys.executable, "-m", "icey", *arguments], stdout=subprocess.DEVNULL, stderr=out,
                              preexec_fn=lambda: os.close(2) if err == "closed" else None)
    assert done.returncode == status


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_could_not_be_written_is_not_tried_again_at_the_exit(fake, monkeypatch, name):
    """As the first line of `serve`, which goes on without a reader: Python would make 120 of the exit status."""
    def main(argv, prog):
        full.write("Serving\n")
        with pytest.raises(OSError):
            full.flush()
        return 0

    monkeypatch.setattr(sys.modules["icey.tools.fake"], "main", main)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, name, full)
        assert program.main(["fake"]) == 0
        full.flush()


def test_a_command_that_a_copy_was_made_without_is_said_how_to_add(monkeypatch, capsys):
    monkeypatch.setitem(program.LEFT_OUT, "icey vendor . --only %s", "frob nicate")
    assert program.main(["frob"]) == 2
    told = "no command called 'frob' in this copy of icey: to add it, with a whole icey: icey vendor . --only frob. There are: "
    assert told in capsys.readouterr().err
