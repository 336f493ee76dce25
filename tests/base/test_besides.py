"""A file beside the one whose place it takes: for the same people, where the system knows people."""
import os
import stat

import pytest

from icey.base.besides import open_beside

PRIVATE = 0o600


def mode(path):
    return stat.S_IMODE(os.stat(str(path)).st_mode)


def opened(folder):
    path, part = str(folder / "a"), str(folder / "a.part")
    open_beside(path, part, 0).close()
    return part


def test_of_nothing_it_is_as_any_new_file(tmp_path):
    (tmp_path / "other").write_bytes(b"")
    assert mode(opened(tmp_path)) == mode(tmp_path / "other")


@pytest.mark.needs("fork")
def test_of_a_private_one_it_is_private(tmp_path):
    (tmp_path / "a").write_bytes(b"secret")
    os.chmod(str(tmp_path / "a"), PRIVATE)
    assert mode(opened(tmp_path)) == PRIVATE


@pytest.mark.needs("fork")
def test_nobody_is_given_more_by_what_came(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    os.chmod(str(tmp_path / "a"), 0o4755)
    assert mode(opened(tmp_path)) == 0o755


def test_it_may_be_there_already(tmp_path):
    part = opened(tmp_path)
    with pytest.raises(FileExistsError):
        open_beside(str(tmp_path / "a"), part, 0)


@pytest.mark.parametrize("name", ["fchown", "chmod"])
def test_where_the_system_lets_nobody_change_that_it_is_ours(tmp_path, monkeypatch, name):
    def refused(*args):
        raise PermissionError(1, "not permitted")

    (tmp_path / "a").write_bytes(b"")
    monkeypatch.setattr(os, name, refused, raising=False)
    assert os.path.exists(opened(tmp_path))


def test_where_nobody_owns_a_file_there_is_no_owner_to_keep(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"")
    monkeypatch.delattr(os, "fchown", raising=False)
    assert os.path.exists(opened(tmp_path))
