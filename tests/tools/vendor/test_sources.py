"""Where the files of an icey are read from."""
import os
import subprocess
import sys
import zipfile

import pytest

import icey
from icey.tools.vendor import sources
from tests.support import package, vendoring


def test_the_icey_that_runs():
    own = sources.own()
    assert own.place == package.PACKAGE and "base/loop.py" in own.paths()
    assert own.read("base/loop.py").decode() == package.text("base/loop.py")


@pytest.mark.parametrize("where", ["nowhere", "empty"])
def test_one_that_is_frozen_into_a_program_is_told(where, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(icey, "__file__", str(tmp_path / where / "__init__.py"))
    with pytest.raises(sources.Unreadable, match="the source of this icey is not at hand .*%s" % where):
        sources.own()


def test_one_inside_of_a_zip_below_a_folder(tmp_path):
    archive = str(tmp_path / "app.zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("app/__init__.py", "")
        for path in package.files():
            if path.startswith(("tools/vendor/", "tools/cli/console", "base/lazy")) or path.endswith("__init__.py"):
                file.writestr("app/icey/" + path, package.text(path))
    code = ("from app.icey.tools.vendor import sources; own = sources.own()\n"
            "print(own.place, 'base/lazy.py' in own.paths(), len(own.read('base/lazy.py')))")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    done = subprocess.run([sys.executable, "-c", code], cwd=str(tmp_path), env=dict(environ, PYTHONPATH=archive), timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.stdout.split() == [os.path.join(archive, "app", "icey"), "True", str(len(package.text("base/lazy.py")))]


def test_a_folder_has_its_files_but_no_compiled_ones(tmp_path):
    vendoring.write(tmp_path, {"a.py": "a", "b/c.py": "c", "b/__pycache__/c.pyc": "", "d/e/f.txt": "f"})
    folder = sources.Folder(str(tmp_path))
    assert folder.paths() == ["a.py", "b/c.py", "d/e/f.txt"] and folder.read("b/c.py") == b"c"
    with pytest.raises(FileNotFoundError):
        folder.read("b/d.py")


def test_a_file_that_a_zip_has_not(tmp_path):
    with zipfile.ZipFile(str(tmp_path / "a.zip"), "w") as file:
        file.writestr("icey/a.py", "a")
        file.writestr("icey/__pycache__/a.pyc", "")
    there = sources.at(str(tmp_path / "a.zip"))
    assert there.paths() == ["a.py"] and there.read("a.py") == b"a"
    with pytest.raises(FileNotFoundError, match=r"no b\.py in it"):
        there.read("b.py")
