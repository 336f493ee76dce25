"""Copies against their record: every file that was changed, is missing, or was added is named, and nothing else is."""
import hashlib
import os
import shutil
import subprocess
import zipfile

import pytest

from icey.tools import vendor
from icey.tools.vendor import checking, sources
from tests.support import vendoring

toy, plan = vendoring.toy, vendoring.plan


@pytest.fixture
def copy(plan, tmp_path):
    return vendor.copy(plan, str(tmp_path / "dest"))


def told(path):
    return [str(one) for one in vendor.check(path)]


def test_a_copy_is_intact(copy):
    assert vendor.check(copy) == []


def test_compiled_files_are_no_addition(copy):
    vendoring.write(copy, {"base/__pycache__/loop.cpython-313.pyc": "", "__pycache__/x/y.txt": ""})
    assert vendor.check(copy) == []


def test_changed_missing_and_added_files_are_named_sorted(copy):
    with open(os.path.join(copy, "net", "tcp.py"), "a") as file:
        file.write("\n")
    os.unlink(os.path.join(copy, "base", "debug.py"))
    vendoring.write(copy, {"zz/mine.txt": "mine"})
    assert told(copy) == ["missing  base/debug.py", "changed  net/tcp.py", "added    zz/mine.txt"]


def test_every_flipped_byte_is_named(copy):
    """Of each file the first, the middle and the last byte."""
    for path, content in vendoring.contents(copy).items():
        for place in {0, len(content) // 2, len(content) - 1} if content else ():
            flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1:]
            with open(os.path.join(copy, path), "wb") as file:
                file.write(flipped)
            try:
                assert path in [one.path for one in vendor.check(copy)], (path, place)
            except vendor.NotACopy as exc:
                assert path == "VENDORED" and "VENDORED" in str(exc), (path, place)
        with open(os.path.join(copy, path), "wb") as file:
            file.write(content)
    assert vendor.check(copy) == []


def test_every_flipped_byte_of_the_record_is_told():
    content = checking.Record("1.2", ["tcp"], False, {"a.py": "0" * 64}).text()
    for place in range(len(content)):
        for bit in (1, 32, 128):
            flipped = content[:place] + bytes([content[place] ^ bit]) + content[place + 1:]
            try:
                assert not checking.Record.read(flipped).intact, (place, bit)
            except vendor.NotACopy:
                pass


def test_a_flipped_byte_in_a_zip_is_named(plan, tmp_path):
    place = vendor.copy(plan, str(tmp_path), zip=True)
    with open(place, "rb") as file:
        content = file.read()
    where = content.index(b"import ssl")
    with open(place, "wb") as file:
        file.write(content[:where] + b"I" + content[where + 1:])
    assert told(place) == ["changed  net/tls.py"]


def test_a_folder_inside_of_a_zip_is_checked(plan, tmp_path):
    place = vendor.copy(plan, str(tmp_path / "one"))
    archive = str(tmp_path / "app.zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("main.py", "")
        for path, content in vendoring.contents(place).items():
            file.writestr("app/_vendor/icey/" + path, content)
    assert vendor.check(os.path.join(archive, "app", "_vendor", "icey")) == []
    with pytest.raises(sources.Unreadable, match="one package"):
        vendor.check(archive)
    with pytest.raises(sources.Unreadable, match="no such folder"):
        vendor.check(os.path.join(archive, "app", "icey"))


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_a_link_in_the_place_of_a_folder_is_named(copy, tmp_path):
    shutil.move(os.path.join(copy, "net"), str(tmp_path / "elsewhere"))
    os.symlink(str(tmp_path / "elsewhere"), os.path.join(copy, "net"))
    assert told(copy) == ["added    net", "missing  net/__init__.py", "missing  net/tcp.py", "missing  net/tls.py"]


def test_what_vendor_did_not_make_is_no_copy(tmp_path):
    vendoring.write(tmp_path, {"icey/__init__.py": ""})
    with pytest.raises(vendor.NotACopy, match="no file VENDORED"):
        vendor.check(str(tmp_path / "icey"))


def test_the_folder_that_a_copy_was_put_into_leads_to_it(copy):
    folder, name = os.path.split(copy)
    with pytest.raises(vendor.NotACopy) as told:
        vendor.check(folder)
    assert str(told.value).endswith("no file VENDORED in %s, but in %s/%s" % (folder, folder, name))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b"# version: 1\n", b"# version: 1\n# names: icey\n",
                                     b"# names: icey\nabc  x\n"])
def test_a_record_that_says_nothing_is_an_error(copy, content):
    with open(os.path.join(copy, "VENDORED"), "wb") as file:
        file.write(content)
    with pytest.raises(vendor.NotACopy, match="damaged"):
        vendor.check(copy)


@pytest.mark.parametrize("path, error", [("nowhere", "no such folder or zip"), ("text", "is no zip"),
                                         ("text/icey", "is no zip")])
def test_what_is_not_there_is_an_oserror_that_names_it(path, error, tmp_path):
    vendoring.write(tmp_path, {"text": "no zip"})
    with pytest.raises(OSError, match=error):
        vendor.check(os.path.join(str(tmp_path), *path.split("/")))


@pytest.mark.parametrize("names, tools", [(None, False), (None, True), (["tcp", "http.Server"], False), (["serve"], True)])
def test_a_record_reads_what_it_wrote(names, tools):
    sums = {"a.py": "0" * 64, "b/c d.py": "1" * 64}
    read = checking.Record.read(checking.Record("1.2", names, tools, sums).text())
    assert (read.version, read.names, read.tools, read.sums, read.intact) == ("1.2", names, tools, sums, True)


def test_the_record_says_the_sums_of_the_files(copy):
    record = checking.record_of(sources.at(copy))
    there = vendoring.contents(copy)
    del there["VENDORED"]
    assert record.sums == {path: hashlib.sha256(content).hexdigest() for path, content in there.items()}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
@pytest.mark.parametrize("strict", [[], ["--strict", "--warn"]])
def test_sha256sum_reads_the_record(copy, strict):
    def run():
        done = subprocess.run(["sha256sum", "-c", *strict, "VENDORED"], cwd=copy, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, universal_newlines=True, env=dict(os.environ, LC_ALL="C"))
        return done.returncode, done.stdout.splitlines()

    files = sorted(set(vendoring.contents(copy)) - {"VENDORED"})
    assert run() == (0, [path + ": OK" for path in files])
    with open(os.path.join(copy, "base", "loop.py"), "a") as file:
        file.write("#")
    status, lines = run()
    assert status == 1 and "base/loop.py: FAILED" in lines


def test_a_difference_can_be_compared_and_shown():
    one = vendor.Difference("a.py", "changed")
    assert one == vendor.Difference("a.py", "changed") and len({one, vendor.Difference("a.py", "changed")}) == 1
    assert one != vendor.Difference("a.py", "added") and one != "a.py"
    assert repr(one) == "<Difference: a.py changed>"
