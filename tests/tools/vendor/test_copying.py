"""Writing a copy: the same bytes each time, nothing outside of DEST, nothing lost, nothing half done."""
import os
import stat
import zipfile

import pytest

from icey.tools import vendor
from icey.tools.vendor import copying
from tests.support import vendoring

toy, plan = vendoring.toy, vendoring.plan


@pytest.fixture
def dest(tmp_path):
    return str(tmp_path / "dest")


def test_a_copy_lies_in_dest_and_has_the_plans_files_and_its_record(plan, dest):
    place = vendor.copy(plan, dest)
    assert place == os.path.join(dest, "icey") and os.listdir(dest) == ["icey"]
    there = vendoring.contents(place)
    assert sorted(there) == sorted([*plan.files, "VENDORED"])
    assert all(there[path] == plan.read(path) for path in plan.files)


def test_two_copies_are_the_same(plan, dest, tmp_path):
    one, two = vendor.copy(plan, dest), vendor.copy(plan, str(tmp_path / "other"))
    assert vendoring.contents(one) == vendoring.contents(two)


def test_a_second_copy_touches_nothing(plan, dest):
    place = vendor.copy(plan, dest)
    before = os.stat(place).st_ino, os.stat(os.path.join(place, "__init__.py")).st_mtime_ns
    assert vendor.copy(plan, dest) == place
    assert (os.stat(place).st_ino, os.stat(os.path.join(place, "__init__.py")).st_mtime_ns) == before


def test_two_zips_are_the_same_whatever_the_umask_and_the_time(plan, tmp_path, monkeypatch):
    if hasattr(os, "umask"):
        before = os.umask(0o077)
    try:
        one = vendor.copy(plan, str(tmp_path / "one"), zip=True)
    finally:
        os.umask(before)
    monkeypatch.setattr("time.localtime", lambda *seconds: (2031, 2, 3, 4, 5, 6, 0, 34, 0))
    two = vendor.copy(plan, str(tmp_path / "two"), zip=True)
    with open(one, "rb") as first, open(two, "rb") as second:
        assert first.read() == second.read()
    with zipfile.ZipFile(one) as archive:
        assert sorted(archive.namelist()) == archive.namelist() == sorted("icey/" + p for p in [*plan.files, "VENDORED"])
        assert {stat.S_IMODE(info.external_attr >> 16) for info in archive.infolist()} == {0o644}
        assert archive.testzip() is None


def test_another_name(plan, dest):
    assert vendor.copy(plan, dest, name="_net") == os.path.join(dest, "_net")
    place = vendor.copy(plan, dest, name="_net", zip=True)
    assert place == os.path.join(dest, "_net.zip")
    with zipfile.ZipFile(place) as archive:
        assert "_net/__init__.py" in archive.namelist()
    assert vendor.check(place) == []


@pytest.mark.parametrize("name", ["", "a-b", "a.b", "../up", "a/b", "class", "1a", ".", "a b"])
def test_a_name_that_cannot_be_imported_is_refused(name, plan, dest):
    with pytest.raises(ValueError, match="cannot be imported"):
        vendor.copy(plan, dest, name=name)
    assert not os.path.exists(dest)


@pytest.mark.parametrize("zip", [False, True])
def test_an_intact_copy_gives_way_to_another(zip, toy, dest):
    old = vendor.copy(toy.plan(["TCPSocket"]), dest, zip=zip)
    new = vendor.copy(toy.plan(), dest, zip=zip)
    assert old == new and vendor.check(new) == [] and len(os.listdir(dest)) == 1


@pytest.mark.parametrize("zip", [False, True])
def test_a_changed_copy_stays_unless_it_is_forced(zip, toy, dest):
    place = vendor.copy(toy.plan(["TCPSocket"]), dest, zip=zip)
    if zip:
        with open(place, "rb") as file:
            content = file.read().replace(b"import weakref", b"import weakREF")
        with open(place, "wb") as file:
            file.write(content)
    else:
        vendoring.write(place, {"base/loop.py": "mine\n"})
    before = vendoring.contents(dest)
    with pytest.raises(vendor.Refused, match=r"base/loop\.py changed.*--force"):
        vendor.copy(toy.plan(), dest, zip=zip)
    assert vendoring.contents(dest) == before
    vendor.copy(toy.plan(), dest, zip=zip, force=True)
    assert vendor.check(place) == []


def test_a_copy_with_a_file_of_ones_own_stays(plan, dest):
    place = vendor.copy(plan, dest)
    vendoring.write(place, {"mine%d.txt" % number: "" for number in range(7)})
    with pytest.raises(vendor.Refused, match=r"mine0\.txt added, .*, and 2 more"):
        vendor.copy(plan, dest)


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_copy_is_never_replaced(force, plan, dest):
    vendoring.write(dest, {"icey/novel.txt": "all of my work", "icey.zip": "no zip"})
    before = vendoring.contents(dest)
    for zip in (False, True):
        with pytest.raises(vendor.Refused, match="no copy that vendor made.*move it away"):
            vendor.copy(plan, dest, zip=zip, force=force)
    assert vendoring.contents(dest) == before


def test_an_empty_folder_is_filled(plan, dest):
    os.makedirs(os.path.join(dest, "icey"))
    assert vendor.check(vendor.copy(plan, dest)) == []


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_not_followed(exists, plan, dest, tmp_path):
    os.makedirs(dest)
    elsewhere = tmp_path / "elsewhere"
    if exists:
        vendoring.write(elsewhere, {"novel.txt": "all of my work"})
    os.symlink(str(elsewhere), os.path.join(dest, "icey"))
    with pytest.raises(vendor.Refused, match="is a link"):
        vendor.copy(plan, dest, force=True)
    assert os.listdir(dest) == ["icey"] and (not exists or os.listdir(str(elsewhere)) == ["novel.txt"])


def test_a_dest_that_means_the_copy_itself_is_refused(plan, tmp_path):
    place = vendor.copy(plan, str(tmp_path / "dest"))
    with pytest.raises(vendor.Refused, match="DEST is the folder that the copy goes into"):
        vendor.copy(plan, place)
    with pytest.raises(vendor.Refused, match="DEST is the folder that the copy goes into"):
        vendor.copy(plan, str(tmp_path / "new" / "icey"))
    assert not os.path.exists(str(tmp_path / "new")) and vendor.check(place) == []


def test_a_folder_that_is_there_may_have_the_name(plan, tmp_path):
    (tmp_path / "icey").mkdir()
    assert vendor.copy(plan, str(tmp_path / "icey")) == str(tmp_path / "icey" / "icey")


def test_a_dest_that_is_a_file_is_refused(plan, tmp_path):
    vendoring.write(tmp_path, {"dest": "text"})
    with pytest.raises(vendor.Refused, match="is a file"):
        vendor.copy(plan, str(tmp_path / "dest"))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
@pytest.mark.parametrize("zip", [False, True])
@pytest.mark.parametrize("earlier", [False, True])
def test_nothing_is_left_half_done(error, zip, earlier, toy, dest, monkeypatch):
    if earlier:
        vendor.copy(toy.plan(["TCPSocket"]), dest, zip=zip)
        before = vendoring.contents(dest)
    calls = []

    def failing(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 4:
            raise error
        return kept(*arguments, **options)

    if zip:
        kept = zipfile.ZipFile.writestr
        monkeypatch.setattr(zipfile.ZipFile, "writestr", failing)
    else:
        kept = open
        monkeypatch.setattr(copying, "open", failing, raising=False)
    with pytest.raises(type(error)):
        vendor.copy(toy.plan(), dest, zip=zip)
    assert len(calls) == 4
    assert vendoring.contents(dest) == before if earlier else not os.path.exists(dest)


@pytest.mark.parametrize("late", [False, True])
def test_an_old_copy_comes_back_where_the_new_one_cannot_take_its_place(late, toy, dest, monkeypatch):
    place = vendor.copy(toy.plan(["TCPSocket"]), dest)
    before = vendoring.contents(dest)
    rename, calls = os.rename, []

    def failing(one, two):
        calls.append((one, two))
        if late and len(calls) == 1:  # done, and interrupted before it was told
            rename(one, two)
        if len(calls) == (1 if late else 2):
            raise KeyboardInterrupt
        rename(one, two)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(KeyboardInterrupt):
        vendor.copy(toy.plan(), dest)
    assert vendoring.contents(dest) == before and os.listdir(dest) == ["icey"] and vendor.check(place) == []
