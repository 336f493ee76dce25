"""python3 -m icey vendor: its arguments, what it prints, its exit status."""
import json
import os
import subprocess
import sys

import pytest

import icey
from icey.tools import vendor
from icey.tools.vendor import command, plans, sources
from tests.support import vendoring

toy = vendoring.toy


@pytest.fixture
def run(toy, tmp_path, monkeypatch, capsys):
    """Runs the command on a small package that stands for icey: (status, stdout, stderr)."""
    monkeypatch.setattr(command, "Library", lambda: plans.Library(sources.Folder(str(tmp_path / "toy"))))
    monkeypatch.chdir(str(tmp_path))

    def run(*arguments):
        try:
            status = command.main(arguments)
        except SystemExit as exc:
            status = exc.code
        return (status, *capsys.readouterr())

    return run


def test_a_copy(run):
    status, out, err = run("dest", "--only", "http.Server", "Loop", "Loop")
    assert (status, err) == (0, "")
    assert out.startswith("%s: icey 9.8, 12 files, " % os.path.join("dest", "icey")) and vendor.check("dest/icey") == []
    assert "# names: http.Server Loop\n" in open_text("dest/icey/VENDORED")


def open_text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_a_copy_as_json(run):
    status, out, err = run("dest", "--only", "Loop", "--zip", "--name", "net", "--json")
    facts = json.loads(out)
    assert (status, err, facts["path"], facts["names"], facts["stdlib"]) == (
        0, "", os.path.join("dest", "net.zip"), ["Loop"], ["os"])
    assert facts["version"] == "9.8" and facts["size"] > 0 and "base/loop.py" in facts["files"]


def test_with_tools(run):
    assert run("dest", "--with-tools")[0] == 0
    assert os.path.isfile("dest/icey/__main__.py") and "# names: icey with tools\n" in open_text("dest/icey/VENDORED")
    assert run("--diff", "dest/icey")[:2] == (0, "")


def test_check_and_diff_tell_what_differs(run):
    run("dest")
    assert run("--check", "dest/icey") == (0, "dest/icey: icey 9.8, as it was copied\n", "")
    vendoring.write("dest/icey", {"base/loop.py": "import os\n", "mine.bin": "\x00\x1b[31m"})
    os.unlink("dest/icey/LICENSE")
    assert run("--check", "dest/icey") == (1, "missing  LICENSE\nchanged  base/loop.py\nadded    mine.bin\n", "")
    facts = json.loads(run("--check", "dest/icey", "--json")[1])
    assert facts["intact"] is False and {"path": "mine.bin", "kind": "added"} in facts["differences"]
    status, out, err = run("--diff", "dest/icey")
    assert (status, err) == (1, "")
    assert "--- icey-9.8/base/loop.py\n+++ dest/icey/base/loop.py\n@@ -1,5 +1 @@\n import os\n-\n-def f():\n" in out
    assert "--- icey-9.8/LICENSE\n+++ /dev/null\n" in out and "--- /dev/null\n+++ dest/icey/mine.bin\n" in out
    assert "\x1b" not in out
    assert [one["kind"] for one in json.loads(run("--diff", "dest/icey", "--json")[1])["differences"]] == [
        "missing", "changed", "added"]


def test_diff_says_that_the_version_is_another(run, tmp_path):
    run("dest")
    source = tmp_path / "toy" / "__init__.py"
    source.write_text(source.read_text().replace("9.8", "9.9"))
    status, out, _ = run("--diff", "dest/icey")
    assert status == 1 and out.startswith("the copy is of icey 9.8, and compared with 9.9\n") and '+__version__ = "9.8"' in out


def test_diff_with_a_name_that_is_no_more(run, tmp_path):
    run("dest", "--only", "http.Client")
    source = tmp_path / "toy" / "http" / "__init__.py"
    source.write_text(source.read_text().replace("Client", "Caller"))
    status, out, err = run("--diff", "dest/icey")
    assert (status, out) == (1, "") and "nothing to compare with" in err and "icey 9.8, this is 9.8" in err


def test_list(run):
    status, out, err = run("--list")
    assert (status, err) == (0, "") and "serve " in out and "can lack:  zlib (" in out
    sets = json.loads(run("--list", "--json")[1])["sets"]
    assert {"get", "serve"} <= {one["name"] for one in sets} and all(one["files"] and one["what"] for one in sets)


def test_sbom(run):
    run("dest")
    status, out, err = run("--sbom", "dest/icey")
    assert (status, err) == (0, "") and json.loads(out)["bomFormat"] == "CycloneDX"
    assert run("--sbom", "dest/icey", "--json")[1] == out


def test_sbom_with_a_wrong_time(run, monkeypatch):
    run("dest")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "now")
    status, out, err = run("--sbom", "dest/icey")
    assert (status, out) == (1, "") and "SOURCE_DATE_EPOCH" in err


@pytest.mark.parametrize("arguments, status, told", [
    ([], 2, "where to?"),
    (["--only", "Loop"], 2, "where to?"),
    (["dest", "--only", "Lop"], 2, "did you mean Loop?"),
    (["dest", "--only", "a\x1bb"], 2, r"'a\x1bb'"),
    (["dest", "--name", "a-b"], 2, "cannot be imported"),
    (["dest", "--check", "x"], 2, "one thing at a time"),
    (["--list", "--diff", "x"], 2, "one thing at a time"),
    (["--list", "--zip"], 2, "--zip goes with DEST, not with --list"),
    (["--check", "x", "--with-tools"], 2, "--with-tools goes with DEST"),
    (["--check", "nowhere"], 1, "no such folder or zip: nowhere"),
    (["--sbom", "toy"], 1, "no copy that vendor made"),
    (["--diff", "toy"], 1, "no copy that vendor made"),
    (["toy/LICENSE"], 1, "is a file"),
    (["new/icey"], 1, "DEST is the folder that the copy goes into"),
    (["--frob"], 2, "--frob"),
])
def test_what_is_wrong_is_one_line(arguments, status, told, run):
    got, out, err = run(*arguments)
    assert (got, out) == (status, "") and told in err and err.count("\n") == 1 and "Traceback" not in err


def test_a_copy_that_has_something_else_now_says_what_it_had(run):
    run("dest", "--only", "Loop", "--name", "net")
    assert "before, it had Loop\n" in run("dest", "--name", "net")[1]
    assert "before, it had all of icey\n" in run("dest", "--only", "Loop", "--name", "net")[1]
    assert "before" not in run("dest", "--only", "Loop", "--name", "net")[1]


def test_a_copy_in_the_current_folder_is_told(run):
    assert "from this folder Python imports icey from here now" in run(".", "--only", "Loop")[2]


def test_an_empty_dest_is_none(run):
    status, out, err = run("", "--only", "Loop")
    assert (status, out) == (2, "") and "DEST is empty" in err


def test_line_ends_that_were_changed_are_one_sentence(run):
    run("dest", "--only", "Loop")
    for name in ("VENDORED", "base/loop.py"):
        with open("dest/icey/" + name, "rb") as file:
            content = file.read()
        with open("dest/icey/" + name, "wb") as file:
            file.write(content.replace(b"\n", b"\r\n"))
    status, out, err = run("--check", "dest/icey")
    assert (status, out) == (1, "") and "autocrlf" in err and ".gitattributes" in err and err.count("\n") == 1


def test_a_changed_copy_needs_force(run):
    run("dest")
    vendoring.write("dest/icey", {"base/loop.py": "mine"})
    status, out, err = run("dest")
    assert (status, out) == (1, "") and "--force" in err
    assert run("dest", "--force")[0] == 0 and vendor.check("dest/icey") == []


def test_a_copy_that_was_changed_is_no_source_without_force(toy, tmp_path, monkeypatch, capsys):
    place = vendor.copy(toy.plan(["TCPSocket"]), str(tmp_path))
    monkeypatch.setattr(command, "Library", lambda: plans.Library(sources.Folder(place)))
    assert command.main([str(tmp_path / "one")]) == 0
    assert "this icey is a copy that has a part" in capsys.readouterr().err
    vendoring.write(place, {"base/loop.py": "import os"})
    assert command.main([str(tmp_path / "two")]) == 1
    assert "was changed (base/loop.py changed): --force" in capsys.readouterr().err
    assert command.main([str(tmp_path / "two"), "--force"]) == 0


def test_a_full_disk_and_ctrl_c(run, monkeypatch):
    def failing(exc):
        def copy(*arguments, **options):
            raise exc
        return copy

    monkeypatch.setattr(command, "copy", failing(OSError(28, "No space left on device", "dest/x")))
    assert run("dest") == (1, "", "icey vendor: No space left on device: dest/x\n")
    monkeypatch.setattr(command, "copy", failing(KeyboardInterrupt()))
    assert run("dest") == (130, "", "")


def test_the_real_one_and_its_help(tmp_path):
    def real(*arguments):
        done = subprocess.run([sys.executable, "-m", "icey", "vendor", *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, universal_newlines=True)
        return done.returncode, done.stdout

    status, said = real(str(tmp_path), "--only", "tcp")
    assert status == 0 and "icey %s" % icey.__version__ in said and "without dns files" in said
    status, said = real("--help")
    assert status == 0 and "sha256sum -c" in said and max(map(len, said.splitlines())) <= 79
