"""Files and folders that are complete or absent, and one error for a full disk.

They are written under a hidden name, ``.NAME.PROCESS.unfinished``, and renamed when all is written.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import InputError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # the disk, the user's quota, the process's own limit


@contextmanager
def whole_or_absent(path: Path) -> Iterator[Path]:
    """Write a file beside its place, then move it there.

    Args:
        path: the file; its folder must exist.

    Yields:
        The path to write to. It becomes ``path`` when the context ends, and is removed when an exception ends it.

    Raises:
        InputError: if the disk is full.
    """
    unfinished = _beside(path)
    with report_full_disk(path):
        try:
            yield unfinished
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


@contextmanager
def whole_folder_or_absent(path: Path) -> Iterator[Path]:
    """Fill a folder beside its place, then move it there; a folder that was there before is removed first.

    Args:
        path: the folder; its parent must exist.

    Yields:
        The folder to fill, which the caller makes. It becomes ``path`` when the context ends, and is removed when an
        exception ends it.

    Raises:
        InputError: if the disk is full.
    """
    unfinished = _beside(path)
    shutil.rmtree(unfinished, ignore_errors=True)
    with report_full_disk(path):
        try:
            yield unfinished
            shutil.rmtree(path, ignore_errors=True)
            unfinished.rename(path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files and folders that killed jobs left under a folder, at any depth."""
    for unfinished in list(folder.rglob(".*.unfinished")):
        if unfinished.is_dir() and not unfinished.is_symlink():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)


@contextmanager
def report_full_disk(path: Path) -> Iterator[None]:
    """Turn the error of a full disk into one that the user can act on.

    Args:
        path: the file or folder that is written in this context.

    Raises:
        InputError: in place of the OSError of a full disk, a full quota or the process's file size limit.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise InputError(
            f"the disk is full: {path} could not be written",
            "Free some space and start the same command again: what is finished is kept. Or choose another workspace.",
        ) from error


def _beside(path: Path) -> Path:
    # The process's number: an actor that outlives its killed job must not write into the file of the next job's.
    return path.with_name(f".{path.name}.{os.getpid()}.unfinished")
