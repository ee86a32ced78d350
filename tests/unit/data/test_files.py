"""Files and folders appear whole or not at all, and nothing unfinished stays."""

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from data.errors import InputError
from data.files import remove_unfinished, report_full_disk, whole_folder_or_absent, whole_or_absent


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("earlier")
    with whole_or_absent(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "earlier"
    assert path.read_text() == "new" and names(tmp_path) == ["result.json"]


def test_a_folder_appears_when_it_is_whole_and_replaces_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "earlier").touch()
    with whole_folder_or_absent(path) as unfinished:
        unfinished.mkdir()
        (unfinished / "weights").touch()
        assert names(path) == ["earlier"]
    assert names(path) == ["weights"] and names(tmp_path) == ["model"]


def test_a_folder_of_a_killed_process_of_the_same_number_is_not_mixed_in(tmp_path: Path) -> None:
    (tmp_path / f".model.{os.getpid()}.unfinished" / "deep").mkdir(parents=True)
    with whole_folder_or_absent(tmp_path / "model") as unfinished:
        unfinished.mkdir()
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES])
@pytest.mark.parametrize("whole", [whole_or_absent, whole_folder_or_absent])
def test_what_fails_leaves_the_earlier_one_and_a_full_disk_is_reported(
    tmp_path: Path, number: int, whole: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    path = tmp_path / "made"
    path.mkdir() if whole is whole_folder_or_absent else path.touch()
    expected = OSError if number == errno.EACCES else InputError
    with pytest.raises(expected, match="no room" if expected is OSError else f"the disk is full: {path}"):
        with whole(path) as unfinished:
            unfinished.mkdir() if whole is whole_folder_or_absent else unfinished.touch()
            raise OSError(number, "no room")
    assert names(tmp_path) == ["made"]


def test_another_error_of_the_system_passes(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), report_full_disk(tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_what_killed_jobs_left_is_removed_at_any_depth_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "vectors" / ".part-00000.parquet.7.unfinished").mkdir(parents=True)  # a folder, with a file in it
    (tmp_path / "vectors" / ".part-00000.parquet.7.unfinished" / ".x.7.unfinished").touch()
    (tmp_path / "vectors" / ".part-00001.parquet.7.unfinished").symlink_to(tmp_path / "vectors")
    (tmp_path / "vectors" / "part-00002.parquet").touch()
    (tmp_path / "unfinished").touch()
    remove_unfinished(tmp_path)
    assert names(tmp_path) == ["unfinished", "vectors"] and names(tmp_path / "vectors") == ["part-00002.parquet"]
