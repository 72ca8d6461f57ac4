"""Files: never half written, never through a link, never without end."""

import os

import pytest

from qbench.errors import StoreError
from qbench.files import locked, own_folder, read_file, write_atomically


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left on device; choose another --out"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    mine = tmp_path / "mine"
    mine.write_bytes(b"precious")
    (tmp_path / "page").symlink_to(mine)
    write_atomically(tmp_path / "page", b"new")
    assert mine.read_bytes() == b"precious"
    assert (tmp_path / "page").read_bytes() == b"new"
    (tmp_path / "figures").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="is a link"):
        own_folder(tmp_path / "figures")


def test_only_regular_files_of_some_size_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file") == b"12345"
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    for name, complaint in (
        ("link", "a link"),
        ("pipe", "no regular file"),
        ("missing", "No such file"),
    ):
        with pytest.raises(StoreError, match=complaint):
            read_file(tmp_path / name)
    with pytest.raises(StoreError, match=r"no regular file|larger"):
        read_file(type(tmp_path)("/dev/zero"))
    with pytest.raises(StoreError, match="larger than"):
        read_file(tmp_path / "file", largest=4)


def test_a_folder_is_held_once(tmp_path):
    with (
        locked(tmp_path / "zoo"),
        pytest.raises(StoreError, match="another run"),
        locked(tmp_path / "zoo"),
    ):
        pass
